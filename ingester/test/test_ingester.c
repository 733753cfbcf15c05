/* What the ingester promises to those who write and read: what was answered is there, also after a
 * crash and with other limits; what is refused is told by its place; limits hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_ingester.h"

#include "tide/base/clock.h"
#include "tide/base/mem.h"

#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MINUTE_MS ((int64_t)60 * 1000)
#define HOUR_MS (60 * MINUTE_MS)

static int setup(void **state)
{
    static struct store store;

    store_init(&store);
    *state = &store;
    return 0;
}

static int teardown(void **state)
{
    store_deinit(*state);
    return 0;
}

/* ---- Writing and reading ---- */

static void test_ingester__gives_back_what_was_pushed(void **state)
{
    struct store *store = *state;
    struct request request;
    struct outcome out;
    bool used[STORE_SHARDS] = {false};

    store_open(store);
    request_init(&request, store, "a");
    for (int n = 0; n < 30; n++) {
        uint32_t shard;
        uint32_t ref = request_series(&request, "x", n, &shard);

        used[shard] = true;
        tide_push_add_sample(&request.builders[shard], ref, 1000, tide_value_bits(n));
        tide_push_add_sample(&request.builders[shard], ref, 500, tide_value_bits(-n)); /* Late. */
    }
    for (uint32_t i = 0; i < STORE_SHARDS; i++)
        assert_true(used[i]); /* Else this tests less than it says. */
    request_send(&request, 1000, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.ref_count, 30);
    assert_int_equal(out.reject_count, 0);
    request_deinit(&request);
    const char *text = read_all(store, "a", "x");
    const char *at = text;

    for (int n = 0; n < 30; n++) {
        char line[64];

        snprintf(line, sizeof(line), "x{n=\"%d\"} 500:%g 1000:%d\n", n, (double)-n, n);
        assert_non_null(strstr(text, line));
        at = strchr(at, '\n') + 1;
    }
    assert_string_equal(at, "");
    assert_string_equal(read_all(store, "b", "x"), ""); /* Another tenant has none of it. */
}

static void test_ingester__takes_samples_by_reference(void **state)
{
    struct store *store = *state;
    struct request request;
    struct outcome out;
    uint32_t shard, ref;

    store_open(store);
    request_init(&request, store, "a");
    ref = request_series(&request, "x", 1, &shard);
    tide_push_add_sample(&request.builders[shard], ref, 1000, tide_value_bits(1));
    request_send(&request, 1000, &out);
    assert_int_equal(out.ref_count, 1);
    tide_push_add_sample(&request.builders[shard], out.refs[0], 2000, tide_value_bits(2));
    request_send(&request, 2000, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.ref_count, 0);
    /* The same series with its labels again has the same reference. */
    request_series(&request, "x", 1, &shard);
    request_send(&request, 2000, &out);
    assert_int_equal(out.ref_count, 1);
    assert_int_equal(out.refs[0], ref & ~TIDE_PUSH_NEW);
    request_deinit(&request);
    assert_string_equal(read_all(store, "a", "x"), "x{n=\"1\"} 1000:1 2000:2\n");
}

/* Two of what is refused and two of what is not, in one push: told in the order of the samples. */
static void test_ingester__refusals_name_their_samples_in_order(void **state)
{
    struct store *store = *state;
    struct request request;
    struct outcome out;
    uint32_t shard, ref;

    store_open(store);
    write_one(store, "a", "x", 1, 1000, 1);
    request_init(&request, store, "a");
    ref = request_series(&request, "x", 1, &shard);
    struct tide_push_builder *builder = &request.builders[shard];

    tide_push_add_sample(builder, ref, 3000, tide_value_bits(3));
    tide_push_add_sample(builder, ref, 1000, tide_value_bits(7));   /* Another value. */
    tide_push_add_sample(builder, 12345, 3000, tide_value_bits(1)); /* A reference nobody gave. */
    tide_push_add_sample(builder, ref, 1000, tide_value_bits(1));   /* The same again. */
    tide_push_add_sample(builder, ref, 2000, tide_value_bits(2));   /* Late. */
    tide_push_add_sample(builder, ref, 2000, tide_value_bits(9));   /* Another value in one push. */
    request_send(&request, 3000, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.reject_count, 3);
    assert_int_equal(out.rejects[0].index, 1);
    assert_int_equal(out.rejects[0].why, TIDE_ERR_DUPLICATE_TIMESTAMP);
    assert_int_equal(out.rejects[1].index, 2);
    assert_int_equal(out.rejects[1].why, TIDE_ERR_NOT_FOUND);
    assert_int_equal(out.rejects[2].index, 5);
    assert_int_equal(out.rejects[2].why, TIDE_ERR_DUPLICATE_TIMESTAMP);
    request_deinit(&request);
    assert_string_equal(read_all(store, "a", "x"), "x{n=\"1\"} 1000:1 2000:2 3000:3\n");
}

/* ---- Native histograms ---- */

/* Refused histograms are counted after the samples of their push. */
static void test_ingester__histograms_are_samples_like_others(void **state)
{
    static const uint32_t refused[] = {0, 2, 3};
    struct store *store = *state;
    struct request request;
    struct outcome out;

    store_open(store);
    request_init(&request, store, "a");
    request_histogram(&request, "x", 1, 2000, 3, 1.5);
    request_sample(&request, "x", 1, 1000, 7);
    request_sample(&request, "x", 1, 3000, 8);
    request_histogram(&request, "x", 1, 4000, 4, 2.5);
    request_send(&request, 4000, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.reject_count, 0);
    request_sample(&request, "x", 1, 2000, 9); /* Where there is a histogram. */
    request_histogram(&request, "x", 1, 2000, 3, 1.5);
    request_histogram(&request, "x", 1, 4000, 4, 9.5); /* Another one. */
    request_histogram(&request, "x", 1, 3000, 4, 2.5); /* Where there is a float. */
    request_send(&request, 4000, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.reject_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(out.rejects[i].index, refused[i]);
        assert_int_equal(out.rejects[i].why, TIDE_ERR_DUPLICATE_TIMESTAMP);
    }
    request_deinit(&request);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(read_all(store, "a", "x"),
                            "x{n=\"1\"} 1000:7 2000:{3,1.5} 3000:8 4000:{4,2.5}\n");
        store_close(store);
        store_open(store);
    }
}

/* ---- Coming back ---- */

static void test_ingester__a_clean_restart_has_everything_and_replays_nothing(void **state)
{
    struct store *store = *state;
    char before[4096];

    store_open(store);
    for (int n = 0; n < 12; n++)
        write_one(store, n % 2 == 0 ? "even" : "odd", "x", n, 1000 + n, n);
    assert_true(log_bytes(store) > 0);
    snprintf(before, sizeof(before), "%s", read_all(store, "even", "x"));
    for (int round = 0; round < 3; round++) {
        store_close(store);
        store_open(store);
        assert_int_equal(log_bytes(store), 0);
        assert_string_equal(read_all(store, "even", "x"), before);
    }
    assert_non_null(strstr(read_all(store, "odd", "x"), "x{n=\"11\"} 1011:11\n"));
    write_one(store, "even", "x", 0, 5000, 5); /* And goes on. */
    assert_non_null(strstr(read_all(store, "even", "x"), "x{n=\"0\"} 1000:0 5000:5\n"));
}

/* The child of the crash test: writes, checkpoints in the middle, and dies without closing. */
static void crash_child(const char *dir)
{
    struct store store;
    struct tide_diag diag = {{0}};

    store_init_at(&store, dir);
    store_open(&store);
    for (int n = 0; n < 10; n++)
        write_one(&store, "a", "x", n, 1000, n);
    assert_int_equal(tide_ingester_checkpoint(store.ingester, &diag), TIDE_OK);
    for (int n = 5; n < 15; n++)
        write_one(&store, "a", "x", n, 2000, n);
    raise(SIGKILL);
}

/* Runs a child of this program on the store's folder until it has killed itself. */
static void crash(struct store *store, char *kind)
{
    extern char **environ;
    char *arguments[] = {kind, store->dir, NULL};
    pid_t child;
    int status;

    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static void test_ingester__a_killed_process_loses_nothing(void **state)
{
    struct store *store = *state;

    crash(store, (char[]){"crash"});
    store_open(store);
    const char *text = read_all(store, "a", "x");

    for (int n = 0; n < 15; n++) {
        char line[64];

        snprintf(line, sizeof(line),
                 n < 5    ? "x{n=\"%d\"} 1000:%d\n"
                 : n < 10 ? "x{n=\"%d\"} 1000:%d 2000:%d\n"
                          : "x{n=\"%d\"} 2000:%d\n",
                 n, n, n);
        assert_non_null(strstr(text, line));
    }
}

static void test_ingester__the_identity_seed_is_drawn_once(void **state)
{
    struct store *store = *state;
    uint64_t seed;

    store_open(store);
    seed = tide_ingester_identity_seed(store->ingester);
    store_close(store);
    store_open(store);
    assert_true(tide_ingester_identity_seed(store->ingester) == seed);
}

static void test_ingester__another_shard_count_is_refused(void **state)
{
    struct store *store = *state;
    struct tide_diag diag;

    store_open(store);
    store_close(store);
    store->options.shard_count = STORE_SHARDS + 1;
    assert_int_equal(store_open_err(store, &diag), TIDE_ERR_INVALID);
    assert_non_null(strstr(diag.text, "3 shards"));
    for (int bad = 0; bad < 2; bad++) {
        store->options.shard_count = bad == 0 ? 0 : 1025;
        assert_int_equal(store_open_err(store, &diag), TIDE_ERR_INVALID);
    }
    store->options.shard_count = STORE_SHARDS;
    store_open(store);
}

static void test_ingester__a_store_file_that_is_none_is_refused_by_name(void **state)
{
    static const char *const texts[] = {"", "x", "tidemark-store 2\nshards 3\nidentity-seed 1\n",
                                        "tidemark-store 1\nshards x\n"};
    struct store *store = *state;
    struct tide_diag diag;
    char path[128];

    snprintf(path, sizeof(path), "%s/store", store->dir);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        FILE *file = fopen(path, "we");

        assert_non_null(file);
        fputs(texts[i], file);
        fclose(file);
        store_open_err(store, &diag);
        assert_non_null(strstr(diag.text, "/store"));
    }
}

/* With another seed every series would be a new one. */
static void test_ingester__a_store_file_with_a_changed_byte_is_refused(void **state)
{
    struct store *store = *state;
    struct tide_diag diag;
    char path[128];

    store_open(store);
    store_close(store);
    snprintf(path, sizeof(path), "%s/store", store->dir);
    for (long at = 0; at < 54; at++) {
        FILE *file = fopen(path, "r+be");
        int byte;

        assert_non_null(file);
        fseek(file, at, SEEK_SET);
        byte = fgetc(file);
        fseek(file, at, SEEK_SET);
        fputc(byte ^ 1, file); /* A digit becomes another one. */
        fflush(file);
        store_open_err(store, &diag);
        assert_non_null(strstr(diag.text, "/store"));
        fseek(file, at, SEEK_SET);
        fputc(byte, file);
        fclose(file);
    }
    store_open(store);
}

static void test_ingester__a_lost_store_file_is_not_made_up(void **state)
{
    struct store *store = *state;
    struct tide_diag diag;
    char path[128], hidden[136];

    store_open(store);
    write_one(store, "a", "x", 1, 1000, 1);
    store_close(store);
    snprintf(path, sizeof(path), "%s/store", store->dir);
    snprintf(hidden, sizeof(hidden), "%s.hidden", path);
    assert_int_equal(rename(path, hidden), 0);
    assert_int_equal(store_open_err(store, &diag), TIDE_ERR_CORRUPT);
    assert_non_null(strstr(diag.text, path));
    assert_int_equal(rename(hidden, path), 0);
    store_open(store);
    assert_string_equal(read_all(store, "a", "x"), "x{n=\"1\"} 1000:1\n");
}

/* ---- Limits ---- */

/* A clock of senders that is ahead of this machine's, which the ingester tells its shards too. */
static int64_t clock_ahead_ms(void)
{
    return tide_clock_wall_ms() + 10 * HOUR_MS;
}

static void test_ingester__samples_before_the_retention_are_refused(void **state)
{
    struct store *store = *state;
    const int64_t now_ms = clock_ahead_ms();
    struct request request;
    struct outcome out;
    uint32_t shard, ref;

    store->options.retention_ms = HOUR_MS;
    store_open(store);
    request_init(&request, store, "a");
    ref = request_series(&request, "x", 1, &shard);
    tide_push_add_sample(&request.builders[shard], ref, now_ms - HOUR_MS - 1, tide_value_bits(1));
    tide_push_add_sample(&request.builders[shard], ref, now_ms - HOUR_MS, tide_value_bits(2));
    tide_push_add_sample(&request.builders[shard], ref, now_ms + HOUR_MS, tide_value_bits(3));
    request_send(&request, now_ms, &out);
    assert_int_equal(out.reject_count, 1);
    assert_int_equal(out.rejects[0].index, 0);
    assert_int_equal(out.rejects[0].why, TIDE_ERR_TOO_OLD);
    request_deinit(&request);
}

static void test_ingester__what_the_retention_leaves_behind_is_dropped(void **state)
{
    struct store *store = *state;
    const int64_t start_ms = clock_ahead_ms();
    struct request request;
    struct outcome out;
    uint32_t shard;

    store->options.retention_ms = HOUR_MS;
    store_open(store);
    write_one(store, "a", "x", 1, start_ms, 1);
    /* Every shard learns the time from pushes of its own: write to all of them. */
    for (int n = 100; n < 130; n++)
        write_one(store, "b", "y", n, start_ms + 10 * HOUR_MS, 1);
    assert_string_equal(read_all(store, "a", "x"), "");
    /* Its old reference is unknown now: the sender is asked for the labels. */
    request_init(&request, store, "a");
    request_series(&request, "x", 1, &shard);
    tide_push_builder_reset(&request.builders[shard]);
    tide_push_add_sample(&request.builders[shard], 0, start_ms + 10 * HOUR_MS, tide_value_bits(1));
    request_send(&request, start_ms + 10 * HOUR_MS, &out);
    assert_int_equal(out.reject_count, 1);
    assert_int_equal(out.rejects[0].why, TIDE_ERR_NOT_FOUND);
    request_deinit(&request);
    /* With labels it begins anew, and a restart does not bring the old sample back. */
    write_one(store, "a", "x", 1, start_ms + 10 * HOUR_MS, 2);
    store_close(store);
    store_open(store);
    char line[64];

    snprintf(line, sizeof(line), "x{n=\"1\"} %lld:2\n", (long long)(start_ms + 10 * HOUR_MS));
    assert_string_equal(read_all(store, "a", "x"), line);
}

static void test_ingester__a_retention_that_comes_back_drops_what_came_without_it(void **state)
{
    struct store *store = *state;
    const int64_t now_ms = clock_ahead_ms();
    struct request request;
    struct outcome out;

    for (int round = 0; round < 3; round++) {
        store->options.retention_ms = round == 1 ? 0 : HOUR_MS;
        store_open(store);
        request_init(&request, store, "a");
        request_sample(&request, "x", 1, now_ms + round, round);
        if (round == 1)
            request_sample(&request, "x", 1, now_ms - 10 * HOUR_MS, 7);
        request_send(&request, now_ms + round, &out);
        assert_int_equal(out.reject_count, 0);
        request_deinit(&request);
        assert_true((strstr(read_all(store, "a", "x"), ":7") != NULL) == (round == 1));
        store_close(store);
    }
}

/* A machine that comes up in 2099 and is set right later. */
static void test_ingester__a_clock_that_is_set_back_ends_no_writes(void **state)
{
    struct store *store = *state;
    const int64_t start_ms = clock_ahead_ms(), wrong_ms = start_ms + 100000 * HOUR_MS;
    char line[64];

    store->options.retention_ms = HOUR_MS;
    store_open(store);
    write_one(store, "a", "x", 1, wrong_ms, 1);
    for (int round = 0; round < 2; round++) {
        write_one(store, "a", "x", 2, start_ms + round, 2);
        snprintf(line, sizeof(line), " %lld:2", (long long)start_ms + round);
        assert_non_null(strstr(read_all(store, "a", "x"), line));
        store_close(store); /* Nor does the wrong time come back. */
        store_open(store);
    }
    /* Retention goes on from there: the partition of start_ms goes. */
    write_one(store, "a", "x", 2, start_ms + 10 * HOUR_MS, 3);
    assert_null(strstr(read_all(store, "a", "x"), line));
}

/* As when writes are refused because memory is full: then retention is what frees some. */
static void test_ingester__the_retention_goes_on_where_nobody_writes(void **state)
{
    struct store *store = *state;
    const struct timespec pause = {0, 10000000};
    int64_t deadline_ms;

    store_open(store);
    for (int n = 0; n < 9; n++)
        write_one(store, "a", "x", n, 1000, n);
    store_close(store);
    store->options.retention_ms = HOUR_MS;
    store_open(store);
    deadline_ms = tide_clock_mono_ms() + 30000;
    while (read_all(store, "a", "x")[0] != '\0' && tide_clock_mono_ms() < deadline_ms)
        nanosleep(&pause, NULL);
    assert_string_equal(read_all(store, "a", "x"), "");
    /* The push that told the time made no tenant. */
    for (uint32_t i = 0; i < STORE_SHARDS; i++)
        assert_null(tide__shard_tenant(&store->ingester->shards[i], TIDE_SLICE("")));
}

static void test_ingester__tenants_over_the_limit_are_refused_and_others_are_not(void **state)
{
    struct store *store = *state;
    struct request request;
    struct outcome out;

    store->options.tenants_max = 2;
    store_open(store);
    /* The same series in one shard for all tenants: limits are per shard. */
    for (int t = 0; t < 3; t++) {
        const char *const tenants[] = {"a", "b", "c"};
        uint32_t shard = STORE_SHARDS;

        request_init(&request, store, tenants[t]);
        for (int n = 0; shard != 0; n++) {
            uint32_t ref = request_series(&request, "x", n, &shard);

            tide_push_add_sample(&request.builders[shard], ref, 1000, tide_value_bits(1));
            if (shard != 0)
                tide_push_builder_reset(&request.builders[shard]);
        }
        request_send(&request, 1000, &out);
        assert_int_equal(out.err, t < 2 ? TIDE_OK : TIDE_ERR_LIMIT);
        request_deinit(&request);
    }
    assert_string_not_equal(read_all(store, "b", "x"), "");
    assert_string_equal(read_all(store, "c", "x"), "");
    write_one(store, "a", "y", 1, 1000, 1);
}

/* One sample of a series of the first shard, with labels, or by its reference. */
static uint32_t write_first(struct store *store, const char *name, int64_t now_ms)
{
    uint32_t shard = STORE_SHARDS, ref = 0;
    struct request request;
    struct outcome out;

    request_init(&request, store, "a");
    for (int n = 0; shard != 0; n++) {
        ref = request_series(&request, name, n, &shard);
        if (shard != 0)
            tide_push_builder_reset(&request.builders[shard]);
    }
    tide_push_add_sample(&request.builders[0], ref, now_ms, tide_value_bits(1));
    request_send(&request, now_ms, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.reject_count, 0);
    assert_int_equal(out.ref_count, 1);
    request_deinit(&request);
    return out.refs[0];
}

static void write_by_reference(struct store *store, uint32_t ref, int64_t now_ms, double value)
{
    struct request request;
    struct outcome out;

    request_init(&request, store, "a");
    tide_push_add_sample(&request.builders[0], ref, now_ms, tide_value_bits(value));
    request_send(&request, now_ms, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.reject_count, 0);
    request_deinit(&request);
}

/* The child: the retention drops a series, which then comes again and gets another number. */
static void crash_child_with_rules(const char *dir)
{
    const int64_t start_ms = clock_ahead_ms(), later_ms = start_ms + 10 * HOUR_MS;
    struct store store;
    uint32_t c, d;

    store_init_at(&store, dir);
    store.options.retention_ms = HOUR_MS;
    store_open(&store);
    write_first(&store, "a", start_ms);
    write_first(&store, "b", later_ms);
    write_first(&store, "a", later_ms);
    c = write_first(&store, "c", later_ms);
    d = write_first(&store, "d", later_ms);
    write_by_reference(&store, c, later_ms + 1, 33);
    write_by_reference(&store, d, later_ms + 1, 44);
    write_one(&store, "b", "x", 1, later_ms, 55);
    raise(SIGKILL);
}

/* The log is replayed under the rules it was written under: else references would shift, and
 * samples that were answered would be gone or, worse, another series'. */
static void
test_ingester__other_options_after_a_crash_change_nothing_that_was_answered(void **state)
{
    struct store *store = *state;

    crash(store, (char[]){"crash with rules"});
    store->options.series_per_tenant_max = 3;
    store->options.tenants_max = 1;
    store_open(store);
    for (int round = 0; round < 2; round++) { /* From the log, then from a checkpoint. */
        assert_non_null(strstr(read_all(store, "a", "c"), ":33\n"));
        assert_non_null(strstr(read_all(store, "a", "d"), ":44\n"));
        assert_non_null(strstr(read_all(store, "b", "x"), ":55\n"));
        store_close(store);
        store_open(store);
    }
}

/* Lowering a limit keeps new things out. What is stored already is not in question. */
static void test_ingester__lower_limits_never_keep_a_store_from_opening(void **state)
{
    struct store *store = *state;

    store_open(store);
    for (int n = 0; n < 20; n++) {
        write_one(store, "a", "x", n, 1000, n);
        write_one(store, "b", "x", n, 1000, n);
    }
    store_close(store);
    store->options.tenants_max = 1;
    store->options.series_per_tenant_max = 1;
    store->options.exemplars_max = 1;
    store_open(store);
    assert_non_null(strstr(read_all(store, "a", "x"), "x{n=\"19\"} 1000:19\n"));
    assert_non_null(strstr(read_all(store, "b", "x"), "x{n=\"19\"} 1000:19\n"));
    write_one(store, "b", "x", 7, 2000, 8); /* A series that is there goes on. */
}

static void test_ingester__series_over_the_limit_are_refused_one_by_one(void **state)
{
    struct store *store = *state;
    struct request request;
    struct outcome out;
    uint32_t refused = 0, accepted = 0;

    store->options.series_per_tenant_max = 12; /* 4 in each of 3 shards, and a little. */
    store_open(store);
    request_init(&request, store, "a");
    for (int n = 0; n < 60; n++)
        request_sample(&request, "x", n, 1000, n);
    request_send(&request, 1000, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.ref_count, 60);
    for (uint32_t i = 0; i < out.ref_count; i++) {
        refused += out.refs[i] == TIDE_PUSH_NEW;
        accepted += out.refs[i] != TIDE_PUSH_NEW;
    }
    assert_int_equal(accepted, 3 * 5);
    assert_int_equal(out.reject_count, refused);
    for (uint32_t i = 0; i < out.reject_count; i++)
        assert_int_equal(out.rejects[i].why, TIDE_ERR_LIMIT);
    for (int n = 60; n < 80; n++)
        request_histogram(&request, "x", n, 1000, n, n);
    request_send(&request, 1000, &out);
    assert_int_equal(out.reject_count, 20);
    for (uint32_t i = 0; i < out.reject_count; i++)
        assert_int_equal(out.rejects[i].why, TIDE_ERR_LIMIT);
    request_deinit(&request);
    /* Another tenant has a limit of its own. */
    write_one(store, "b", "x", 1, 1000, 1);
}

/* ---- Exemplars and metadata ---- */

static bool print_exemplars(void *context, struct tide_labels series,
                            const struct tide_exemplar *exemplars, size_t count)
{
    struct tide_buf *text = context;

    tide_labels_print(series, text);
    for (size_t i = 0; i < count; i++) {
        tide_buf_printf(text, " %lld:%g", (long long)exemplars[i].ts_ms,
                        tide_value(exemplars[i].bits));
        tide_labels_print(exemplars[i].labels, text);
    }
    tide_buf_byte(text, '\n');
    return true;
}

static bool print_metadata(void *context, const struct tide_metadata *metadata)
{
    tide_buf_printf(context, "%.*s %s %.*s %.*s\n", TIDE_SLICE_ARGS(metadata->metric),
                    tide_metric_kind_text(metadata->kind), TIDE_SLICE_ARGS(metadata->help),
                    TIDE_SLICE_ARGS(metadata->unit));
    return true;
}

/* Both, of tenant a, from mint_ms on; allocated: tide_buf_deinit(). */
static struct tide_buf read_side(struct store *store, int64_t mint_ms)
{
    const struct tide_source *source = tide_ingester_source(store->ingester);
    struct tide_query_limits limits = {.deadline_mono_ms = 0};
    const struct tide_select select = {
        .tenant = TIDE_SLICE("a"), .mint_ms = mint_ms, .maxt_ms = INT64_MAX / 4};
    struct tide_diag diag = {{0}};
    struct tide_buf text = {0};

    assert_int_equal(
        source->exemplars(source->context, &select, &limits, print_exemplars, &text, &diag),
        TIDE_OK);
    assert_int_equal(source->metadata(source->context, select.tenant, (struct tide_slice){NULL, 0},
                                      print_metadata, &text),
                     TIDE_OK);
    tide_buf_byte(&text, 0);
    assert_int_equal(tide_buf_ok(&text), TIDE_OK);
    return text;
}

static void test_ingester__exemplars_and_metadata_come_back_after_a_restart(void **state)
{
    static const char expected[] = "x{n=\"1\"} 1000:5{trace_id=\"t1\"} 2000:6{trace_id=\"t2\"}\n"
                                   "x counter How many. things\n";
    const struct tide_metadata metadata = {TIDE_SLICE("x"), TIDE_KIND_COUNTER,
                                           TIDE_SLICE("How many."), TIDE_SLICE("things")};
    struct tide_label trace[] = {{TIDE_SLICE("trace_id"), TIDE_SLICE("t1")},
                                 {TIDE_SLICE("trace_id"), TIDE_SLICE("t2")}};
    const struct tide_exemplar exemplars[] = {{{&trace[0], 1}, 1000, tide_value_bits(5)},
                                              {{&trace[1], 1}, 2000, tide_value_bits(6)},
                                              {{&trace[0], 1}, 1500, tide_value_bits(7)}};
    struct store *store = *state;
    struct request request;
    struct outcome out;
    struct tide_buf text;
    uint32_t shard, ref;

    store_open(store);
    request_init(&request, store, "a");
    ref = request_series(&request, "x", 1, &shard);
    for (size_t i = 0; i < 3; i++)
        tide_push_add_exemplar(&request.builders[shard], ref, &exemplars[i]);
    tide_push_add_metadata(&request.builders[shard], &metadata);
    request_send(&request, 1000, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.exemplar_reject_count, 1); /* The last is older than the one before. */
    request_deinit(&request);
    for (int round = 0; round < 2; round++) {
        text = read_side(store, 0);
        assert_string_equal((const char *)text.ptr, expected);
        tide_buf_deinit(&text);
        store_close(store);
        store_open(store);
    }
    text = read_side(store, 1001);
    assert_non_null(strstr((const char *)text.ptr, "x{n=\"1\"} 2000:6{trace_id=\"t2\"}\n"));
    tide_buf_deinit(&text);
}

/* ---- Many at once ---- */

struct writer {
    struct store *store;
    int number;
    pthread_t thread;
};

static void *writer_main(void *context)
{
    struct writer *writer = context;
    char name[16];

    snprintf(name, sizeof(name), "w%d", writer->number);
    for (int i = 0; i < 40; i++)
        write_one(writer->store, "a", name, i % 5, 1000 * (i + 1), i);
    return NULL;
}

static void test_ingester__writers_and_checkpoints_at_once_lose_nothing(void **state)
{
    struct store *store = *state;
    struct writer writers[4];
    struct tide_diag diag = {{0}};

    store_open(store);
    for (int w = 0; w < 4; w++) {
        writers[w] = (struct writer){store, w, 0};
        assert_int_equal(pthread_create(&writers[w].thread, NULL, writer_main, &writers[w]), 0);
    }
    for (int i = 0; i < 10; i++)
        assert_int_equal(tide_ingester_checkpoint(store->ingester, &diag), TIDE_OK);
    for (int w = 0; w < 4; w++)
        pthread_join(writers[w].thread, NULL);
    for (int round = 0; round < 2; round++) {
        for (int w = 0; w < 4; w++) {
            char name[16];
            size_t samples = 0;

            snprintf(name, sizeof(name), "w%d", w);
            for (const char *at = read_all(store, "a", name); (at = strchr(at, ':')) != NULL; at++)
                samples++;
            assert_int_equal(samples, 40);
        }
        store_close(store);
        store_open(store);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_ingester__##name, setup, teardown)
        TEST(gives_back_what_was_pushed),
        TEST(takes_samples_by_reference),
        TEST(refusals_name_their_samples_in_order),
        TEST(histograms_are_samples_like_others),
        TEST(a_clean_restart_has_everything_and_replays_nothing),
        TEST(a_killed_process_loses_nothing),
        TEST(the_identity_seed_is_drawn_once),
        TEST(another_shard_count_is_refused),
        TEST(a_store_file_that_is_none_is_refused_by_name),
        TEST(a_store_file_with_a_changed_byte_is_refused),
        TEST(a_lost_store_file_is_not_made_up),
        TEST(samples_before_the_retention_are_refused),
        TEST(what_the_retention_leaves_behind_is_dropped),
        TEST(a_retention_that_comes_back_drops_what_came_without_it),
        TEST(a_clock_that_is_set_back_ends_no_writes),
        TEST(the_retention_goes_on_where_nobody_writes),
        TEST(tenants_over_the_limit_are_refused_and_others_are_not),
        TEST(other_options_after_a_crash_change_nothing_that_was_answered),
        TEST(lower_limits_never_keep_a_store_from_opening),
        TEST(series_over_the_limit_are_refused_one_by_one),
        TEST(exemplars_and_metadata_come_back_after_a_restart),
        TEST(writers_and_checkpoints_at_once_lose_nothing),
    };

    if (argc == 2 && strcmp(argv[0], "crash") == 0)
        crash_child(argv[1]);
    if (argc == 2 && strcmp(argv[0], "crash with rules") == 0)
        crash_child_with_rules(argv[1]);
    return cmocka_run_group_tests_name("ingester", tests, NULL, NULL);
}
