#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_ingester.h"

#include "tide/base/log.h"
#include "tide/base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- The store ---- */

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char inner[512];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0)
            remove_tree(inner);
    }
    if (dir != NULL)
        closedir(dir);
    rmdir(path);
}

void store_init_at(struct store *store, const char *dir)
{
    *store = (struct store){.options = {.shard_count = STORE_SHARDS,
                                        .loop_threads = 2,
                                        .checkpoint_log_bytes = 64u << 20,
                                        .disk_free_bytes_min = 1,
                                        .tenants_max = 100,
                                        .exemplars_max = 100}};
    tide_log_setup(TIDE_LOG_ERROR, TIDE_LOG_LOGFMT);
    snprintf(store->dir, sizeof(store->dir), "%s", dir);
    store->options.data_dir = store->dir;
}

void store_init(struct store *store)
{
    char dir[] = "/tmp/tidemark-ingester-XXXXXX";

    assert_non_null(mkdtemp(dir));
    store_init_at(store, dir);
}

void store_deinit(struct store *store)
{
    store_close(store);
    remove_tree(store->dir);
}

void store_open(struct store *store)
{
    struct tide_diag diag = {{0}};
    enum tide_err err = tide_ingester_open(&store->options, &store->ingester, &diag);

    if (err != TIDE_OK)
        fail_msg("opening: %s: %s", tide_err_text(err), diag.text);
}

void store_close(struct store *store)
{
    tide_ingester_close(store->ingester);
    store->ingester = NULL;
}

enum tide_err store_open_err(struct store *store, struct tide_diag *diag)
{
    enum tide_err err;

    *diag = (struct tide_diag){{0}};
    err = tide_ingester_open(&store->options, &store->ingester, diag);
    assert_int_not_equal(err, TIDE_OK);
    return err;
}

/* ---- Writing ---- */

void request_init(struct request *request, struct store *store, const char *tenant)
{
    *request = (struct request){.store = store, .tenant = tenant};
}

void request_deinit(struct request *request)
{
    for (uint32_t i = 0; i < STORE_SHARDS; i++)
        tide_push_builder_deinit(&request->builders[i]);
}

uint32_t request_series(struct request *request, const char *name, int n, uint32_t *shard)
{
    char number[16];
    struct tide_label pairs[] = {{TIDE_SLICE(TIDE_LABEL_METRIC), tide_slice_str(name)},
                                 {TIDE_SLICE("n"), {NULL, 0}}};
    struct tide_labels labels = {pairs, 2};
    struct tide_hash128 identity;

    snprintf(number, sizeof(number), "%d", n);
    pairs[1].value = tide_slice_str(number);
    identity = tide_labels_identity(tide_slice_str(request->tenant), labels,
                                    tide_ingester_identity_seed(request->store->ingester));
    *shard = tide_shard_of(identity, STORE_SHARDS);
    return tide_push_add_series(&request->builders[*shard], identity, labels) | TIDE_PUSH_NEW;
}

void request_sample(struct request *request, const char *name, int n, int64_t ts_ms, double value)
{
    uint32_t shard;
    uint32_t ref = request_series(request, name, n, &shard);

    tide_push_add_sample(&request->builders[shard], ref, ts_ms, tide_value_bits(value));
}

void request_histogram(struct request *request, const char *name, int n, int64_t ts_ms,
                       double count, double sum)
{
    const struct tide_span span = {0, 1};
    const struct tide_histogram h = {.count = count,
                                     .sum = sum,
                                     .positive_spans = &span,
                                     .positive_span_count = 1,
                                     .positive = &count,
                                     .positive_count = 1};
    uint32_t shard;
    uint32_t ref = request_series(request, name, n, &shard);

    tide_push_add_histogram(&request->builders[shard], ref, ts_ms, &h);
}

struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct outcome *out;
    bool done;
};

/* One push at a time is out, so the arrays of the outcome are filled in the order of the shards. */
static void push_done(void *context, const struct tide_push_result *result)
{
    struct waiting *waiting = context;
    struct outcome *out = waiting->out;

    pthread_mutex_lock(&waiting->lock);
    if (out->err == TIDE_OK)
        out->err = result->err;
    for (uint32_t i = 0; i < result->new_ref_count && out->ref_count < 64; i++)
        out->refs[out->ref_count++] = result->new_refs[i];
    for (uint32_t i = 0; i < result->reject_count && out->reject_count < 64; i++)
        out->rejects[out->reject_count++] = result->rejects[i];
    out->exemplar_reject_count += result->exemplar_reject_count;
    waiting->done = true;
    pthread_cond_signal(&waiting->wake);
    pthread_mutex_unlock(&waiting->lock);
}

void request_send(struct request *request, int64_t now_ms, struct outcome *out)
{
    const struct tide_push_sink *sink = tide_ingester_sink(request->store->ingester);
    struct waiting waiting = {.out = out};

    pthread_mutex_init(&waiting.lock, NULL);
    pthread_cond_init(&waiting.wake, NULL);
    *out = (struct outcome){.err = TIDE_OK};
    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        struct tide_buf bytes = {0};

        if (tide_push_builder_empty(&request->builders[i]))
            continue;
        assert_int_equal(tide_push_encode(&request->builders[i], tide_slice_str(request->tenant),
                                          now_ms, &bytes),
                         TIDE_OK);
        tide_push_builder_reset(&request->builders[i]);
        waiting.done = false;
        sink->push(sink->context, i, &bytes, push_done, &waiting);
        pthread_mutex_lock(&waiting.lock);
        while (!waiting.done)
            pthread_cond_wait(&waiting.wake, &waiting.lock);
        pthread_mutex_unlock(&waiting.lock);
    }
    pthread_cond_destroy(&waiting.wake);
    pthread_mutex_destroy(&waiting.lock);
}

void write_one(struct store *store, const char *tenant, const char *name, int n, int64_t ts_ms,
               double value)
{
    struct request request;
    struct outcome out;

    request_init(&request, store, tenant);
    request_sample(&request, name, n, ts_ms, value);
    request_send(&request, ts_ms, &out);
    assert_int_equal(out.err, TIDE_OK);
    assert_int_equal(out.reject_count, 0);
    request_deinit(&request);
}

/* ---- Reading ---- */

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *series_line(struct tide_series_set *set, size_t i, const struct tide_batch *batch,
                         struct tide_arena *arena)
{
    const struct tide_series_samples *samples = &batch->series[i];
    struct tide_buf text = {0};
    struct tide_labels labels;
    char *line;

    assert_int_equal(set->ops->labels(set, i, arena, &labels), TIDE_OK);
    tide_labels_print(labels, &text);
    for (size_t k = 0; k < samples->count; k++) {
        const struct tide_histogram *h =
            samples->histograms == NULL ? NULL : samples->histograms[k];

        tide_buf_printf(&text, " %lld:", (long long)samples->times_ms[k]);
        if (h != NULL)
            tide_buf_printf(&text, "{%g,%g}", h->count, h->sum);
        else
            tide_buf_printf(&text, "%g", samples->values[k]);
    }
    line = tide_arena_printf(arena, "%.*s\n", TIDE_SLICE_ARGS(tide_buf_view(&text)));
    assert_non_null(line);
    tide_buf_deinit(&text);
    return line;
}

const char *read_all(struct store *store, const char *tenant, const char *name)
{
    static char text[1 << 16];
    const struct tide_source *source = tide_ingester_source(store->ingester);
    struct tide_query_limits limits = {.deadline_mono_ms = 0};
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_matcher matcher;
    struct tide_series_set *set;
    struct tide_diag diag = {{0}};
    char **lines;
    size_t len = 0;

    assert_int_equal(tide_matcher_init(&matcher, TIDE_MATCH_EQ, TIDE_SLICE(TIDE_LABEL_METRIC),
                                       tide_slice_str(name), arena, &diag),
                     TIDE_OK);
    const struct tide_select select = {.tenant = tide_slice_str(tenant),
                                       .matchers = &matcher,
                                       .matcher_count = 1,
                                       .mint_ms = INT64_MIN / 4,
                                       .maxt_ms = INT64_MAX / 4};

    assert_int_equal(source->select(source->context, &select, &limits, &set, &diag), TIDE_OK);
    lines = tide_arena_new_array(arena, set->count + 1, sizeof(*lines));
    assert_non_null(lines);
    if (set->count > 0)
        assert_int_equal(set->ops->read(set, 0, set->count, select.mint_ms, select.maxt_ms, &batch),
                         TIDE_OK);
    for (size_t i = 0; i < set->count; i++)
        lines[i] = series_line(set, i, &batch, arena);
    qsort(lines, set->count, sizeof(*lines), compare_lines);
    text[0] = '\0';
    for (size_t i = 0; i < set->count; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", lines[i]);
    assert_true(len < sizeof(text));
    set->ops->free(set);
    tide_matcher_release(&matcher);
    tide_arena_free(batch.arena);
    tide_arena_free(arena);
    return text;
}

uint64_t log_bytes(struct store *store)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < STORE_SHARDS; i++) {
        struct tide_raft_group_stats stats;

        tide_raft_group_stats(store->ingester->shards[i].group, &stats);
        sum += stats.log_bytes;
    }
    return sum;
}

void shard_file(const struct store *store, uint32_t shard, const char *prefix, char *path,
                size_t path_bytes)
{
    char folder[256];
    const struct dirent *entry;
    DIR *dir;

    path[0] = '\0';
    snprintf(folder, sizeof(folder), "%s/shards/%u", store->dir, shard);
    dir = opendir(folder);
    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) == 0)
            snprintf(path, path_bytes, "%s/%s", folder, entry->d_name);
    }
    closedir(dir);
}
