/* Checkpoint files: they bound the log, name themselves in it, and are believed in nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_ingester.h"

#include "tide/base/clock.h"
#include "tide/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

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

static void fill(struct store *store, int64_t ts_ms)
{
    for (int n = 0; n < 9; n++) {
        write_one(store, "a", "x", n, ts_ms, n);
        write_one(store, "b", "y", n, ts_ms - 500, n);
    }
}

/* ---- In a running store ---- */

static void test_checkpoint__drops_the_log_and_the_file_before_it(void **state)
{
    struct store *store = *state;
    struct tide_diag diag = {{0}};
    char first[512], second[512];

    store_open(store);
    fill(store, 1000);
    assert_int_equal(tide_ingester_checkpoint(store->ingester, &diag), TIDE_OK);
    assert_int_equal(log_bytes(store), 0);
    shard_file(store, 0, "checkpoint-", first, sizeof(first));
    assert_string_not_equal(first, "");
    /* Nothing new: the same file stays. */
    assert_int_equal(tide_ingester_checkpoint(store->ingester, &diag), TIDE_OK);
    shard_file(store, 0, "checkpoint-", second, sizeof(second));
    assert_string_equal(first, second);
    fill(store, 2000);
    assert_int_equal(tide_ingester_checkpoint(store->ingester, &diag), TIDE_OK);
    shard_file(store, 0, "checkpoint-", second, sizeof(second));
    assert_string_not_equal(first, second);
    assert_int_not_equal(access(first, F_OK), 0);
}

static void test_checkpoint__is_taken_when_the_log_has_grown(void **state)
{
    struct store *store = *state;
    const struct timespec pause = {0, 10000000};
    int64_t deadline_ms;

    store->options.checkpoint_log_bytes = 1;
    store_open(store);
    fill(store, 1000);
    deadline_ms = tide_clock_mono_ms() + 30000;
    while (log_bytes(store) > 0 && tide_clock_mono_ms() < deadline_ms)
        nanosleep(&pause, NULL);
    assert_int_equal(log_bytes(store), 0);
}

static void touch(const char *dir, const char *name)
{
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/shards/1/%s", dir, name);
    file = fopen(path, "we");
    assert_non_null(file);
    fclose(file);
}

static void test_checkpoint__files_no_manifest_names_are_swept(void **state)
{
    struct store *store = *state;
    char path[512];

    store_open(store);
    fill(store, 1000);
    store_close(store);
    touch(store->dir, "checkpoint-00000000000000000001");
    touch(store->dir, "checkpoint-00000000000000000099.tmp");
    touch(store->dir, "somebody's");
    store_open(store);
    shard_file(store, 1, "checkpoint-00000000000000000001", path, sizeof(path));
    assert_string_equal(path, "");
    shard_file(store, 1, "checkpoint-00000000000000000099", path, sizeof(path));
    assert_string_equal(path, "");
    shard_file(store, 1, "somebody's", path, sizeof(path));
    assert_string_not_equal(path, "");
    assert_non_null(strstr(read_all(store, "a", "x"), "x{n=\"8\"} 1000:8\n"));
}

/* A log that was deleted, or is another directory's, must not make checkpoints look like leftovers.
 */
static void test_checkpoint__without_its_log_it_keeps_the_store_from_opening(void **state)
{
    struct store *store = *state;
    struct tide_diag diag;
    char log[128], aside[128], path[512];

    store_open(store);
    fill(store, 1000);
    store_close(store);
    snprintf(log, sizeof(log), "%s/log", store->dir);
    snprintf(aside, sizeof(aside), "%s/aside", store->dir);
    assert_int_equal(rename(log, aside), 0);
    for (int round = 0; round < 2;
         round++) { /* The empty log that the first try made is no help. */
        assert_int_equal(store_open_err(store, &diag), TIDE_ERR_CORRUPT);
        assert_non_null(strstr(diag.text, "checkpoint-"));
    }
    shard_file(store, 1, "checkpoint-", path, sizeof(path));
    assert_string_not_equal(path, "");
    snprintf(path, sizeof(path), "%s/wrong", store->dir);
    assert_int_equal(rename(log, path), 0);
    assert_int_equal(rename(aside, log), 0);
    store_open(store);
    assert_non_null(strstr(read_all(store, "a", "x"), "x{n=\"8\"} 1000:8\n"));
}

static void test_checkpoint__a_damaged_or_missing_file_keeps_the_store_from_opening(void **state)
{
    struct store *store = *state;
    struct tide_diag diag;
    char path[512], moved[540];
    FILE *file;
    int byte;

    store_open(store);
    fill(store, 1000);
    store_close(store);
    shard_file(store, 2, "checkpoint-", path, sizeof(path));
    for (int round = 0; round < 2; round++) { /* Flips one bit, then flips it back. */
        file = fopen(path, "r+be");
        assert_non_null(file);
        fseek(file, 60, SEEK_SET);
        byte = fgetc(file);
        fseek(file, 60, SEEK_SET);
        fputc(byte ^ 1, file);
        fclose(file);
        if (round == 0) {
            assert_int_equal(store_open_err(store, &diag), TIDE_ERR_CORRUPT);
            assert_non_null(strstr(diag.text, path));
        }
    }
    snprintf(moved, sizeof(moved), "%s/hidden", store->dir);
    assert_int_equal(rename(path, moved), 0);
    store_open_err(store, &diag);
    assert_non_null(strstr(diag.text, path));
    assert_int_equal(rename(moved, path), 0);
    store_open(store);
}

/* ---- Reading one file, without a log ---- */

/* A shard with nothing running, for tide__checkpoint_restore(). */
struct bench_shard {
    struct tide_ingester ingester;
    struct shard shard;
};

static void bench_shard_init(struct bench_shard *b, struct store *store, uint32_t id)
{
    *b = (struct bench_shard){.ingester = {.options = store->options, .data_dir = store->dir}};
    assert_int_equal(tide__shard_init(&b->shard, &b->ingester, id), TIDE_OK);
}

static void manifest_write(struct tide_buf *out, const char *name, uint64_t bytes, uint32_t crc)
{
    out->len = 0;
    tide_buf_uvarint(out, 1);
    tide_buf_bytes(out, tide_slice_str(name));
    tide_buf_u64(out, bytes);
    tide_buf_u32(out, crc);
    assert_int_equal(tide_buf_ok(out), TIDE_OK);
}

/* Puts the bytes into the shard's folder with a manifest that agrees, and restores from them. */
static enum tide_err restore_bytes(struct store *store, uint32_t id, uint64_t index,
                                   struct tide_slice bytes, struct tide_diag *diag)
{
    struct tide_buf manifest = {0};
    struct bench_shard b;
    char path[512];
    FILE *file;
    enum tide_err err;

    snprintf(path, sizeof(path), "%s/shards/%u/checkpoint-test", store->dir, id);
    file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes.ptr, 1, bytes.len, file), bytes.len);
    fclose(file);
    manifest_write(&manifest, "checkpoint-test", bytes.len, tide_crc32c(0, bytes));
    bench_shard_init(&b, store, id);
    *diag = (struct tide_diag){{0}};
    err = tide__checkpoint_restore(&b.shard, index, tide_buf_view(&manifest), diag);
    tide__shard_deinit(&b.shard);
    tide_buf_deinit(&manifest);
    unlink(path);
    return err;
}

/* A checkpoint of two tenants with exemplars and metadata; the store is closed. *index is its. */
static struct tide_buf some_checkpoint(struct store *store, uint32_t *id, uint64_t *index)
{
    const struct tide_metadata metadata = {TIDE_SLICE("x"), TIDE_KIND_GAUGE, TIDE_SLICE("Help."),
                                           TIDE_SLICE("")};
    const struct tide_exemplar exemplar = {{NULL, 0}, 1000, tide_value_bits(5)};
    struct tide_buf bytes = {0};
    struct request request;
    struct outcome out;
    char path[512];
    uint32_t ref;

    store_open(store);
    request_init(&request, store, "a");
    ref = request_series(&request, "x", 1, id);
    tide_push_add_sample(&request.builders[*id], ref, 1000, tide_value_bits(1));
    tide_push_add_sample(&request.builders[*id], ref, 10, tide_value_bits(2));
    tide_push_add_exemplar(&request.builders[*id], ref, &exemplar);
    tide_push_add_metadata(&request.builders[*id], &metadata);
    request_send(&request, 1000, &out);
    assert_int_equal(out.err, TIDE_OK);
    request_deinit(&request);
    fill(store, 1000);
    store_close(store);
    shard_file(store, *id, "checkpoint-", path, sizeof(path));
    *index = strtoull(strrchr(path, '-') + 1, NULL, 10);
    assert_int_equal(tide_file_read(path, 1 << 20, &bytes, NULL), TIDE_OK);
    return bytes;
}

static void test_checkpoint__restores_what_was_written(void **state)
{
    struct store *store = *state;
    struct tide_diag diag;
    struct tide_buf bytes;
    uint64_t index;
    uint32_t id;

    bytes = some_checkpoint(store, &id, &index);
    assert_int_equal(restore_bytes(store, id, index, tide_buf_view(&bytes), &diag), TIDE_OK);
    /* Another shard's, or of another index: nothing that belongs here. */
    assert_int_equal(
        restore_bytes(store, (id + 1) % STORE_SHARDS, index, tide_buf_view(&bytes), &diag),
        TIDE_ERR_CORRUPT);
    assert_non_null(strstr(diag.text, "expected shard"));
    assert_int_equal(restore_bytes(store, id, index + 1, tide_buf_view(&bytes), &diag),
                     TIDE_ERR_CORRUPT);
    tide_buf_deinit(&bytes);
}

/* The sums agree in all of these: what the bytes say must be refused, or be good, by itself. */
static void test_checkpoint__cut_or_altered_bytes_do_no_harm(void **state)
{
    struct store *store = *state;
    struct tide_diag diag;
    struct tide_buf bytes;
    uint64_t index;
    uint32_t id;
    enum tide_err err;

    bytes = some_checkpoint(store, &id, &index);
    for (size_t len = 0; len < bytes.len; len++) {
        const struct tide_slice cut = {bytes.ptr, len};

        assert_int_equal(restore_bytes(store, id, index, cut, &diag), TIDE_ERR_CORRUPT);
        assert_string_not_equal(diag.text, "");
    }
    for (size_t at = 0; at < bytes.len; at++) {
        for (int bit = 0; bit < 8; bit += 7) {
            bytes.ptr[at] ^= (uint8_t)(1 << bit);
            err = restore_bytes(store, id, index, tide_buf_view(&bytes), &diag);
            assert_true(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
            bytes.ptr[at] ^= (uint8_t)(1 << bit);
        }
    }
    tide_buf_byte(&bytes, 0); /* Something behind the end. */
    assert_int_equal(restore_bytes(store, id, index, tide_buf_view(&bytes), &diag),
                     TIDE_ERR_CORRUPT);
    tide_buf_deinit(&bytes);
}

static void test_checkpoint__a_damaged_manifest_is_refused(void **state)
{
    static const char *const names[] = {"", "checkpoint-1/../../store", "other-1",
                                        ("checkpoint-111111111111111111111111111111111111111111111"
                                         "1111111111111111111")};
    struct store *store = *state;
    struct tide_buf manifest = {0};
    struct tide_diag diag = {{0}};
    struct bench_shard b;

    bench_shard_init(&b, store, 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        manifest_write(&manifest, names[i], 1, 1);
        assert_int_equal(tide__checkpoint_restore(&b.shard, 1, tide_buf_view(&manifest), &diag),
                         TIDE_ERR_CORRUPT);
    }
    manifest_write(&manifest, "checkpoint-1", 1, 1);
    for (size_t len = 0; len < manifest.len; len++) {
        const struct tide_slice cut = {manifest.ptr, len};

        assert_int_equal(tide__checkpoint_restore(&b.shard, 1, cut, &diag), TIDE_ERR_CORRUPT);
    }
    manifest.ptr[0] = 2; /* A version that does not exist. */
    assert_int_equal(tide__checkpoint_restore(&b.shard, 1, tide_buf_view(&manifest), &diag),
                     TIDE_ERR_CORRUPT);
    assert_non_null(strstr(diag.text, "shard 0"));
    tide__shard_deinit(&b.shard);
    tide_buf_deinit(&manifest);
}

static void test_checkpoint__restoring_survives_each_failed_allocation(void **state)
{
    struct store *store = *state;
    struct tide_buf bytes, manifest = {0};
    struct tide_diag diag = {{0}};
    struct bench_shard b;
    char path[512];
    uint64_t index;
    uint32_t id;
    enum tide_err err = TIDE_ERR_NO_MEMORY;

    bytes = some_checkpoint(store, &id, &index);
    shard_file(store, id, "checkpoint-", path, sizeof(path));
    manifest_write(&manifest, strrchr(path, '/') + 1, bytes.len,
                   tide_crc32c(0, tide_buf_view(&bytes)));
    for (int nth = 1; err != TIDE_OK; nth++) {
        long live;

        bench_shard_init(&b, store, id);
        live = tide_test_mem_live();
        tide_test_mem_fail_nth(nth);
        err = tide__checkpoint_restore(&b.shard, index, tide_buf_view(&manifest), &diag);
        if (tide_test_mem_fired())
            assert_int_equal(err, TIDE_ERR_NO_MEMORY);
        else
            assert_int_equal(err, TIDE_OK);
        assert_true(live > 0);
        tide__shard_deinit(&b.shard);
    }
    tide_buf_deinit(&bytes);
    tide_buf_deinit(&manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_checkpoint__##name, setup, teardown)
        TEST(drops_the_log_and_the_file_before_it),
        TEST(is_taken_when_the_log_has_grown),
        TEST(files_no_manifest_names_are_swept),
        TEST(without_its_log_it_keeps_the_store_from_opening),
        TEST(a_damaged_or_missing_file_keeps_the_store_from_opening),
        TEST(restores_what_was_written),
        TEST(cut_or_altered_bytes_do_no_harm),
        TEST(a_damaged_manifest_is_refused),
        TEST(restoring_survives_each_failed_allocation),
    };

    return cmocka_run_group_tests_name("checkpoint", tests, NULL, NULL);
}
