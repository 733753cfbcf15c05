#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/model/push.h"

#include "support_histogram.h"

#include "tide/base/file.h"
#include "tide/base/mem.h"

/* ---- A push that is known ---- */

static void fill(struct tide_push_builder *b)
{
    struct tide_label pairs[] = {label_of("__name__", "up"), label_of("job", "a")};
    struct tide_label trace[] = {label_of("trace_id", "7f")};
    struct tide_exemplar exemplar = {{trace, 1}, 1700000000123, tide_value_bits(0.25)};
    struct tide_metadata metadata = {TIDE_SLICE("up"), TIDE_KIND_GAUGE, TIDE_SLICE("Is it up?"),
                                     TIDE_SLICE("")};
    uint32_t fresh = tide_push_add_series(b, (struct tide_hash128){0x1122334455667788, 0x99aabb},
                                          (struct tide_labels){pairs, 2}) |
                     TIDE_PUSH_NEW;

    tide_push_add_sample(b, fresh, 1700000000000, tide_value_bits(1.0));
    tide_push_add_sample(b, 5, 1700000000000, TIDE_STALE_BITS);
    tide_push_add_sample(b, 6, 1700000000000, tide_value_bits(42.5));
    tide_push_add_sample(b, 0x7fffffff, 1700000015000, tide_value_bits(-0.0));
    tide_push_add_exemplar(b, fresh, &exemplar);
    tide_push_add_metadata(b, &metadata);
}

static void encode_known(struct tide_buf *out)
{
    struct tide_push_builder b = {0};

    assert_true(tide_push_builder_empty(&b));
    fill(&b);
    assert_false(tide_push_builder_empty(&b));
    assert_int_equal(tide_push_encode(&b, TIDE_SLICE("anonymous"), 1700000000500, out), TIDE_OK);
    tide_push_builder_deinit(&b);
}

static void test_push__bytes_are_those_of_the_golden_file(void **state)
{
    struct tide_buf bytes = {0};
    struct tide_buf golden = {0};
    struct tide_diag diag = {""};

    (void)state;
    encode_known(&bytes);
    assert_int_equal(tide_file_read("test/golden/push.bin", 1 << 20, &golden, &diag), TIDE_OK);
    assert_int_equal(bytes.len, golden.len);
    assert_memory_equal(bytes.ptr, golden.ptr, golden.len);
    tide_buf_deinit(&bytes);
    tide_buf_deinit(&golden);
}

static void test_push__decodes_what_was_encoded(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_buf bytes = {0};
    struct tide_push p;

    (void)state;
    encode_known(&bytes);
    assert_int_equal(tide_push_decode(tide_buf_view(&bytes), arena, &p), TIDE_OK);
    assert_true(tide_slice_eq(p.tenant, TIDE_SLICE("anonymous")));
    assert_int_equal(p.now_ms, 1700000000500);
    assert_int_equal(p.series_count, 1);
    assert_true(
        tide_hash128_eq(p.series[0].identity, (struct tide_hash128){0x1122334455667788, 0x99aabb}));
    assert_true(
        tide_slice_eq(tide_labels_get(p.series[0].labels, TIDE_SLICE("job")), TIDE_SLICE("a")));
    assert_int_equal(p.sample_count, 4);
    assert_int_equal(p.refs[0], TIDE_PUSH_NEW);
    assert_int_equal(p.refs[3], 0x7fffffff);
    assert_int_equal(p.times_ms[1], 1700000000000);
    assert_int_equal(p.times_ms[3], 1700000015000);
    assert_int_equal(p.bits[1], TIDE_STALE_BITS);
    assert_int_equal(p.bits[3], tide_value_bits(-0.0));
    assert_int_equal(p.exemplar_count, 1);
    assert_int_equal(p.exemplars[0].exemplar.ts_ms, 1700000000123);
    assert_int_equal(p.exemplars[0].exemplar.labels.count, 1);
    assert_int_equal(p.metadata_count, 1);
    assert_int_equal(p.metadata[0].kind, TIDE_KIND_GAUGE);
    assert_true(tide_slice_eq(p.metadata[0].help, TIDE_SLICE("Is it up?")));
    tide_buf_deinit(&bytes);
    tide_arena_free(arena);
}

/* ---- Columns of every shape ---- */

static int64_t next_time(uint64_t *seed, int shape, int64_t before)
{
    switch (shape) {
    case 0: /* One scrape. */
        return before;
    case 1: /* Targets one after the other. */
        return random_below(seed, 20) == 0 ? before + (int64_t)random_below(seed, 5000) : before;
    case 2: /* Series one after the other, many samples each. */
        return random_below(seed, 20) == 0 ? before - 300000 : before + 15000;
    default: /* Anything, the ends of the range too. */
        return random_below(seed, 9) == 0 ? INT64_MIN : (int64_t)random_next(seed);
    }
}

static void check_columns(uint64_t *seed, int shape, uint32_t count, struct tide_push_builder *b)
{
    struct tide_arena *arena = tide_arena_new(0);
    uint32_t *refs = tide_mem_array(count + 1, sizeof(*refs));
    int64_t *times = tide_mem_array(count + 1, sizeof(*times));
    uint64_t *bits = tide_mem_array(count + 1, sizeof(*bits));
    struct tide_buf bytes = {0};
    struct tide_push p;
    int64_t ts = 1700000000000;

    tide_push_builder_reset(b);
    for (uint32_t i = 0; i < count; i++) {
        ts = next_time(seed, shape, ts);
        refs[i] = (uint32_t)random_next(seed) & 0x7fffffff;
        times[i] = ts;
        bits[i] = random_next(seed);
        tide_push_add_sample(b, refs[i], times[i], bits[i]);
    }
    tide_buf_byte(&bytes, 1); /* Columns then stand at odd addresses. */
    assert_int_equal(tide_push_encode(b, TIDE_SLICE("t"), -1, &bytes), TIDE_OK);
    assert_true(bytes.len <= 32 + (size_t)count * 20); /* Never more than raw columns. */
    if (shape == 0 && count > 0)
        assert_true(bytes.len <= 32 + (size_t)count * 12);
    assert_int_equal(tide_push_decode((struct tide_slice){bytes.ptr + 1, bytes.len - 1}, arena, &p),
                     TIDE_OK);
    assert_int_equal(p.sample_count, count);
    if (count > 0) {
        assert_memory_equal(p.refs, refs, count * sizeof(*refs));
        assert_memory_equal(p.times_ms, times, count * sizeof(*times));
        assert_memory_equal(p.bits, bits, count * sizeof(*bits));
        assert_int_equal((uintptr_t)p.times_ms % _Alignof(int64_t), 0);
        assert_int_equal((uintptr_t)p.bits % _Alignof(uint64_t), 0);
    }
    tide_buf_deinit(&bytes);
    tide_mem_free(refs);
    tide_mem_free(times);
    tide_mem_free(bits);
    tide_arena_free(arena);
}

static void test_push__columns_come_back_whatever_they_hold(void **state)
{
    struct tide_push_builder b = {0};
    uint64_t seed = 17;

    (void)state;
    for (int shape = 0; shape < 4; shape++) {
        check_columns(&seed, shape, 0, &b);
        check_columns(&seed, shape, 1, &b);
        for (int i = 0; i < 20; i++)
            check_columns(&seed, shape, (uint32_t)random_below(&seed, 700), &b);
    }
    tide_push_builder_deinit(&b);
}

/* ---- Histograms ---- */

static void fill_histograms(struct tide_push_builder *b)
{
    static const struct tide_span span = {2, 2};
    static const double counts[] = {1, 2};
    const struct tide_histogram h = {.schema = 3,
                                     .count = 3,
                                     .sum = 4.5,
                                     .positive_spans = &span,
                                     .positive_span_count = 1,
                                     .positive = counts,
                                     .positive_count = 2};
    const struct tide_histogram stale = {.sum = tide_value(TIDE_STALE_BITS)};

    fill(b);
    tide_push_add_histogram(b, TIDE_PUSH_NEW, 1700000000000, &h);
    tide_push_add_histogram(b, 9, 1700000015000, &stale);
}

static void test_push__histograms_have_a_golden_file_of_their_own(void **state)
{
    struct tide_push_builder b = {0};
    struct tide_buf bytes = {0}, golden = {0};
    struct tide_diag diag = {""};

    (void)state;
    fill_histograms(&b);
    assert_int_equal(tide_push_encode(&b, TIDE_SLICE("anonymous"), 1700000000500, &bytes), TIDE_OK);
    assert_int_equal(tide_file_read("test/golden/push_histograms.bin", 1 << 20, &golden, &diag),
                     TIDE_OK);
    assert_int_equal(bytes.len, golden.len);
    assert_memory_equal(bytes.ptr, golden.ptr, golden.len);
    tide_buf_deinit(&bytes);
    tide_buf_deinit(&golden);
    tide_push_builder_deinit(&b);
}

static void test_push__histograms_come_back(void **state)
{
    struct tide_push_builder b = {0};
    struct tide_arena *arena = tide_arena_new(0);
    uint64_t seed = 31;

    (void)state;
    for (int round = 0; round < 50; round++) {
        uint32_t count = (uint32_t)random_below(&seed, 40);
        struct random_histogram rooms[40];
        struct tide_histogram sent[40];
        struct tide_buf bytes = {0};
        struct tide_push p;

        tide_push_builder_reset(&b);
        assert_true(tide_push_builder_empty(&b));
        for (uint32_t i = 0; i < count; i++) {
            sent[i] = random_histogram(&seed, i % 2 == 0, &rooms[i]);
            tide_push_add_histogram(&b, i, (int64_t)i * 7 - 9, &sent[i]);
        }
        assert_int_equal(tide_push_encode(&b, TIDE_SLICE("t"), 5, &bytes), TIDE_OK);
        assert_int_equal(tide_push_decode(tide_buf_view(&bytes), arena, &p), TIDE_OK);
        assert_int_equal(p.sample_count, 0);
        assert_int_equal(p.histogram_count, count);
        for (uint32_t i = 0; i < count; i++) {
            struct tide_reader r = tide_reader(p.histograms[i]);
            struct tide_histogram h;

            assert_int_equal(p.histogram_refs[i], i);
            assert_int_equal(p.histogram_times_ms[i], (int64_t)i * 7 - 9);
            assert_int_equal(tide_histogram_decode(&r, arena, &h), TIDE_OK);
            assert_int_equal(r.rest.len, 0);
            assert_true(tide_histogram_eq(&h, &sent[i]));
        }
        tide_buf_deinit(&bytes);
        tide_arena_reset(arena);
    }
    tide_push_builder_deinit(&b);
    tide_arena_free(arena);
}

/* ---- Bad bytes ---- */

static enum tide_err decode(struct tide_slice bytes)
{
    struct tide_arena *arena = tide_arena_new(1 << 20);
    struct tide_push p;
    enum tide_err err = tide_push_decode(bytes, arena, &p);

    tide_arena_free(arena);
    return err;
}

static void check_cuts(void (*make)(struct tide_push_builder *b))
{
    struct tide_push_builder b = {0};
    struct tide_buf bytes = {0};

    make(&b);
    assert_int_equal(tide_push_encode(&b, TIDE_SLICE("anonymous"), 1700000000500, &bytes), TIDE_OK);
    tide_push_builder_deinit(&b);
    for (size_t len = 0; len < bytes.len; len++) {
        /* Exactly so many bytes, so that the sanitizer sees a read behind them. */
        uint8_t *copy = tide_mem_alloc(len);

        memcpy(copy, bytes.ptr, len);
        assert_int_equal(decode((struct tide_slice){copy, len}), TIDE_ERR_CORRUPT);
        tide_mem_free(copy);
    }
    tide_buf_byte(&bytes, 0); /* Left over. */
    assert_int_equal(decode(tide_buf_view(&bytes)), TIDE_ERR_CORRUPT);
    tide_buf_deinit(&bytes);
}

static void test_push__every_cut_is_corrupt(void **state)
{
    (void)state;
    check_cuts(fill);
    check_cuts(fill_histograms);
}

static void test_push__changed_bytes_never_break_the_decoder(void **state)
{
    struct tide_push_builder b = {0};
    struct tide_buf bytes = {0};
    uint64_t seed = 23;

    (void)state;
    fill_histograms(&b);
    assert_int_equal(tide_push_encode(&b, TIDE_SLICE("t"), 0, &bytes), TIDE_OK);
    tide_push_builder_deinit(&b);
    for (int i = 0; i < 20000; i++) {
        size_t at = random_below(&seed, bytes.len);
        uint8_t before = bytes.ptr[at];
        enum tide_err err;

        bytes.ptr[at] = (uint8_t)random_next(&seed);
        err = decode(tide_buf_view(&bytes));
        assert_true(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
        bytes.ptr[at] = before;
    }
    tide_buf_deinit(&bytes);
}

enum where { SAMPLE, EXEMPLAR, HISTOGRAM };

static void check_bad_ref(uint32_t ref, enum where where)
{
    const struct tide_histogram stale = {.sum = tide_value(TIDE_STALE_BITS)};
    struct tide_push_builder b = {0};
    struct tide_buf bytes = {0};
    struct tide_exemplar e = {0};

    fill(&b);
    if (where == EXEMPLAR)
        tide_push_add_exemplar(&b, ref, &e);
    else if (where == HISTOGRAM)
        tide_push_add_histogram(&b, ref, 0, &stale);
    else
        tide_push_add_sample(&b, ref, 0, 0);
    assert_int_equal(tide_push_encode(&b, TIDE_SLICE("t"), 0, &bytes), TIDE_OK);
    assert_int_equal(decode(tide_buf_view(&bytes)), TIDE_ERR_CORRUPT);
    tide_buf_deinit(&bytes);
    tide_push_builder_deinit(&b);
}

static void test_push__refuses_new_series_that_it_does_not_bring(void **state)
{
    (void)state;
    check_bad_ref(TIDE_PUSH_NEW | 1, SAMPLE);
    check_bad_ref(UINT32_MAX, SAMPLE);
    check_bad_ref(TIDE_PUSH_NEW | 1, EXEMPLAR);
    check_bad_ref(TIDE_PUSH_NEW | 1, HISTOGRAM);
}

static void test_push__refuses_a_count_that_the_bytes_cannot_hold(void **state)
{
    /* Version, tenant "", now 0, no series, 2^31 samples. */
    static const uint8_t bytes[] = {1, 0, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x08, 1, 2, 3};

    (void)state;
    assert_int_equal(decode((struct tide_slice){bytes, sizeof(bytes)}), TIDE_ERR_CORRUPT);
}

static void test_push__refuses_to_encode_what_no_frame_holds(void **state)
{
    struct tide_push_builder b = {0};
    struct tide_buf bytes = {0};

    (void)state;
    for (uint32_t i = 0; i < TIDE_PUSH_BYTES_MAX / 12; i++)
        tide_push_add_sample(&b, i & 0x7fffffff, 0, 0);
    tide_buf_byte(&bytes, 9);
    assert_int_equal(tide_push_encode(&b, TIDE_SLICE("t"), 0, &bytes), TIDE_ERR_TOO_LARGE);
    assert_int_equal(bytes.len, 1);
    tide_buf_deinit(&bytes);
    tide_push_builder_deinit(&b);
}

/* Metadata of one-letter metrics: 5 bytes each, and over ten times that when decoded. */
static void test_push__refuses_to_encode_what_cannot_be_decoded(void **state)
{
    struct tide_metadata metadata = {.metric = TIDE_SLICE("a")};
    struct tide_arena *arena = tide_arena_new(2 * TIDE_PUSH_DECODED_BYTES_MAX);
    struct tide_push_builder b = {0};
    struct tide_buf out = {0};
    struct tide_push push;

    (void)state;
    assert_non_null(arena);
    while (tide_push_builder_fits(&b))
        tide_push_add_metadata(&b, &metadata);
    assert_true(b.metadata.len < TIDE_PUSH_BYTES_MAX / 2);
    assert_int_equal(tide_push_encode(&b, TIDE_SLICE("t"), 0, &out), TIDE_ERR_TOO_LARGE);
    assert_int_equal(out.len, 0);

    tide_push_builder_reset(&b);
    for (size_t i = 0; i < TIDE_PUSH_DECODED_BYTES_MAX / sizeof(metadata); i++)
        tide_push_add_metadata(&b, &metadata);
    assert_int_equal(tide_push_encode(&b, TIDE_SLICE("t"), 0, &out), TIDE_OK);
    assert_int_equal(tide_push_decode(tide_buf_view(&out), arena, &push), TIDE_OK);
    tide_push_builder_deinit(&b);
    tide_buf_deinit(&out);
    tide_arena_free(arena);
}

static void test_push__survives_each_failed_allocation(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct tide_push_builder b = {0};
        struct tide_buf bytes = {0};
        struct tide_arena *arena = tide_arena_new(0);
        struct tide_push p;
        enum tide_err err;
        bool fired;

        tide_test_mem_fail_nth(nth);
        fill_histograms(&b);
        err = tide_push_encode(&b, TIDE_SLICE("t"), 0, &bytes);
        if (err == TIDE_OK)
            err = tide_push_decode(tide_buf_view(&bytes), arena, &p);
        fired = tide_test_mem_fired();
        tide_test_mem_fail_nth(0);
        assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
        tide_buf_deinit(&bytes);
        tide_push_builder_deinit(&b);
        tide_arena_free(arena);
        if (!fired)
            break;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_push__bytes_are_those_of_the_golden_file),
        cmocka_unit_test(test_push__decodes_what_was_encoded),
        cmocka_unit_test(test_push__columns_come_back_whatever_they_hold),
        cmocka_unit_test(test_push__histograms_have_a_golden_file_of_their_own),
        cmocka_unit_test(test_push__histograms_come_back),
        cmocka_unit_test(test_push__every_cut_is_corrupt),
        cmocka_unit_test(test_push__changed_bytes_never_break_the_decoder),
        cmocka_unit_test(test_push__refuses_new_series_that_it_does_not_bring),
        cmocka_unit_test(test_push__refuses_a_count_that_the_bytes_cannot_hold),
        cmocka_unit_test(test_push__refuses_to_encode_what_no_frame_holds),
        cmocka_unit_test(test_push__refuses_to_encode_what_cannot_be_decoded),
        cmocka_unit_test(test_push__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
