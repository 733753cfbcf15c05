#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/chunk/histogram_chunk.h"

#include "tide/base/file.h"
#include "tide/base/mem.h"
#include "tide/model/sample.h"

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t below(uint64_t *state, uint64_t bound)
{
    return next_random(state) % bound;
}

/* ---- A client's histogram, as time goes by ---- */

#define BUCKETS 20u
#define SAMPLES 120u

struct client {
    struct tide_span span;
    double counts[BUCKETS];
    double count;
    double sum;
};

static struct tide_histogram observe(struct client *c, uint64_t *seed, uint64_t observations)
{
    for (uint64_t i = 0; i < observations; i++) {
        uint64_t bucket = below(seed, 10) + below(seed, 10); /* Near the middle mostly. */

        c->counts[bucket]++;
        c->count++;
        c->sum += (double)bucket * 0.37;
    }
    return (struct tide_histogram){.schema = 3,
                                   .zero_threshold = 0x1p-128,
                                   .count = c->count,
                                   .sum = c->sum,
                                   .positive_spans = &c->span,
                                   .positive_span_count = 1,
                                   .positive = c->counts,
                                   .positive_count = c->span.length};
}

struct record {
    int64_t ts_ms;
    struct tide_buf bytes; /* The histogram, encoded by itself. */
};

static void put(struct tide_histogram_chunk *chunk, struct record *record, int64_t ts_ms,
                const struct tide_histogram *h)
{
    record->ts_ms = ts_ms;
    record->bytes = (struct tide_buf){0};
    tide_histogram_encode(h, &record->bytes);
    assert_int_equal(tide_histogram_chunk_append(chunk, ts_ms, h), TIDE_OK);
}

static void check(const struct tide_histogram_chunk *chunk, struct record *records)
{
    static struct tide_histogram out[SAMPLES];
    static int64_t times[SAMPLES];
    struct tide_arena *arena = tide_arena_new(0);

    assert_int_equal(
        tide_histogram_chunk_decode(tide_buf_view(&chunk->stream), chunk->count, arena, times, out),
        TIDE_OK);
    assert_true(tide_arena_bytes(arena) == 0 || chunk->decoded_bytes > 0);
    for (uint32_t i = 0; i < chunk->count; i++) {
        struct tide_buf bytes = {0};

        tide_histogram_encode(&out[i], &bytes);
        assert_int_equal(times[i], records[i].ts_ms);
        assert_true(tide_slice_eq(tide_buf_view(&bytes), tide_buf_view(&records[i].bytes)));
        tide_buf_deinit(&bytes);
        tide_buf_deinit(&records[i].bytes);
    }
    tide_arena_free(arena);
}

static void test_histogram_chunk__bytes_are_those_of_the_golden_file(void **state)
{
    static const struct tide_span spans[] = {{-1, 2}, {3, 1}};
    double counts[] = {1, 2, 3};
    struct tide_histogram h = {.reset = TIDE_RESET_NO,
                               .schema = 1,
                               .zero_threshold = 0.001,
                               .zero_count = 4,
                               .count = 10,
                               .sum = 12.5,
                               .positive_spans = spans,
                               .positive_span_count = 2,
                               .positive = counts,
                               .positive_count = 3};
    struct tide_histogram_chunk chunk = {0};
    struct tide_buf golden = {0};
    struct tide_diag diag = {""};

    (void)state;
    assert_int_equal(tide_histogram_chunk_append(&chunk, 1000, &h), TIDE_OK);
    h.count = 11;
    h.sum = 13;
    counts[1] = 3;
    assert_int_equal(tide_histogram_chunk_append(&chunk, 16000, &h), TIDE_OK);
    h.sum = tide_value(TIDE_STALE_BITS);
    assert_int_equal(tide_histogram_chunk_append(&chunk, 31000, &h), TIDE_OK);
    assert_int_equal(tide_file_read("test/golden/histogram_chunk.bin", 1 << 20, &golden, &diag),
                     TIDE_OK);
    assert_int_equal(chunk.stream.len, golden.len);
    assert_memory_equal(chunk.stream.ptr, golden.ptr, golden.len);
    tide_buf_deinit(&golden);
    tide_histogram_chunk_deinit(&chunk);
}

static void test_histogram_chunk__a_scraped_histogram_takes_few_bytes(void **state)
{
    struct tide_histogram_chunk chunk = {0};
    struct client c = {.span = {-5, BUCKETS}};
    struct record records[SAMPLES];
    uint64_t seed = 1;

    (void)state;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        struct tide_histogram h = observe(&c, &seed, below(&seed, 200));

        put(&chunk, &records[i], 1700000000000 + 15000 * (int64_t)i, &h);
    }
    assert_true(chunk.stream.len / SAMPLES < BUCKETS + 16);
    check(&chunk, records);
    tide_histogram_chunk_deinit(&chunk);
}

static void test_histogram_chunk__keeps_every_bit(void **state)
{
    uint64_t seed = 2;

    (void)state;
    for (int round = 0; round < 200; round++) {
        struct tide_histogram_chunk chunk = {0};
        struct client c = {.span = {3, 4}};
        struct record records[SAMPLES];
        int64_t ts_ms = (int64_t)next_random(&seed) >> 2;

        for (uint32_t i = 0; i < SAMPLES; i++) {
            struct tide_histogram h;

            if (below(&seed, 10) == 0) /* A bucket more or less. */
                c.span.length = (uint32_t)below(&seed, BUCKETS + 1);
            h = observe(&c, &seed, below(&seed, 20));
            h.reset = (enum tide_counter_reset)below(&seed, 4);
            switch (below(&seed, 16)) {
            case 0:
                h.sum = tide_value(TIDE_STALE_BITS);
                break;
            case 1:
                c.counts[below(&seed, BUCKETS)] = tide_value(next_random(&seed));
                break;
            case 2:
                c.counts[below(&seed, BUCKETS)] = 7;
                h.sum = tide_value(TIDE_NAN_BITS);
                break;
            case 3:
                h.count = -0.0;
                break;
            case 4:
                h.negative = c.counts;
                h.negative_spans = &c.span;
                h.negative_span_count = 1;
                h.negative_count = c.span.length;
                break;
            case 5:
                h.schema = TIDE_HISTOGRAM_SCHEMA_CUSTOM;
                h.zero_threshold = 0;
                h.positive_span_count = h.positive_count = 0;
                break;
            default:
                break;
            }
            ts_ms += below(&seed, 8) == 0 ? 1 + (int64_t)below(&seed, 1u << 30) : 15000;
            put(&chunk, &records[i], ts_ms, &h);
        }
        check(&chunk, records);
        tide_histogram_chunk_deinit(&chunk);
    }
}

static void test_histogram_chunk__every_cut_and_change_is_borne(void **state)
{
    struct tide_histogram_chunk chunk = {0};
    struct client c = {.span = {-5, 6}};
    uint64_t seed = 4;

    (void)state;
    for (int64_t i = 0; i < 10; i++) {
        struct tide_histogram h = observe(&c, &seed, 9);

        h.sum += 0.1;
        h.zero_count = i % 3 == 0 ? 0.5 : 0;
        assert_int_equal(tide_histogram_chunk_append(&chunk, i * 7, &h), TIDE_OK);
    }
    for (size_t n = 0; n < chunk.stream.len + 5000; n++) {
        size_t len = n < chunk.stream.len ? n : chunk.stream.len;
        uint8_t *copy = tide_mem_alloc(len);
        struct tide_arena *arena = tide_arena_new(0);
        struct tide_histogram out[10];
        int64_t times[10];
        enum tide_err err;

        memcpy(copy, chunk.stream.ptr, len);
        if (n >= chunk.stream.len)
            copy[below(&seed, len)] = (uint8_t)next_random(&seed);
        err = tide_histogram_chunk_decode((struct tide_slice){copy, len}, 10, arena, times, out);
        if (n < chunk.stream.len)
            assert_int_equal(err, TIDE_ERR_CORRUPT);
        assert_true(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
        tide_arena_free(arena);
        tide_mem_free(copy);
    }
    tide_histogram_chunk_deinit(&chunk);
}

static void test_histogram_chunk__survives_each_failed_allocation(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct tide_histogram_chunk chunk = {0};
        struct client c = {.span = {0, 3}};
        uint64_t seed = 5;
        enum tide_err err = TIDE_OK;
        bool fired;

        tide_test_mem_fail_nth(nth);
        for (int64_t i = 0; i < 6 && err == TIDE_OK; i++) {
            struct tide_histogram h;

            c.span.length = 3 + (i > 3);
            h = observe(&c, &seed, 5);
            err = tide_histogram_chunk_append(&chunk, i, &h);
        }
        fired = tide_test_mem_fired();
        tide_test_mem_fail_nth(0);
        assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
        tide_histogram_chunk_deinit(&chunk);
        assert_int_equal(tide_test_mem_live(), 0);
        if (!fired)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram_chunk__bytes_are_those_of_the_golden_file),
        cmocka_unit_test(test_histogram_chunk__a_scraped_histogram_takes_few_bytes),
        cmocka_unit_test(test_histogram_chunk__keeps_every_bit),
        cmocka_unit_test(test_histogram_chunk__every_cut_and_change_is_borne),
        cmocka_unit_test(test_histogram_chunk__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
