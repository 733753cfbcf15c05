#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/model/write_encode.h"

#include "support_histogram.h"

#include "tide/base/file.h"
#include "tide/base/mem.h"

#include <float.h>
#include <math.h>

/* ---- Check ---- */

static const struct tide_span two_and_one[] = {{-1, 2}, {3, 1}};
static const double three[] = {1, 2, 3};

/* A valid one with three positive buckets. */
static struct tide_histogram valid(void)
{
    return (struct tide_histogram){.schema = 1,
                                   .zero_threshold = 0.001,
                                   .zero_count = 4,
                                   .count = 10,
                                   .sum = 12.5,
                                   .positive_spans = two_and_one,
                                   .positive_span_count = 2,
                                   .positive = three,
                                   .positive_count = 3};
}

static void refuse(struct tide_histogram h, const char *why)
{
    struct tide_diag diag = {""};

    assert_int_equal(tide_histogram_check(&h, &diag), TIDE_ERR_INVALID);
    assert_non_null(strstr(diag.text, why));
}

static void test_histogram__refuses_what_makes_no_sense(void **state)
{
    static const struct tide_span overlapping[] = {{0, 2}, {-1, 1}};
    static const struct tide_span far[] = {{INT32_MAX - 1, 3}};
    static const struct tide_span huge[] = {{0, 3}, {0, UINT32_MAX}};
    static const double falling[] = {2, 1}, with_nan[] = {1, NAN}, with_inf[] = {1, INFINITY};
    static const double negative[] = {1, -2, 3};
    struct tide_histogram h = valid();

    (void)state;
    assert_int_equal(tide_histogram_check(&h, NULL), TIDE_OK);
    for (int32_t schema = -60; schema < 60; schema++) {
        h.schema = schema;
        if (schema != TIDE_HISTOGRAM_SCHEMA_CUSTOM && (schema < -4 || schema > 8))
            refuse(h, "schema");
    }
    h = valid();
    h.count = -1;
    refuse(h, "count is negative");
    h = valid();
    h.zero_count = -1;
    refuse(h, "zero bucket");
    h = valid();
    h.zero_threshold = NAN;
    refuse(h, "zero threshold");
    h = valid();
    h.positive_count = 2;
    refuse(h, "another number of buckets");
    h.positive_count = TIDE_HISTOGRAM_BUCKETS_MAX + 1;
    refuse(h, "too many buckets");
    h = valid();
    h.positive = negative;
    refuse(h, "negative count");
    h = valid();
    h.positive_spans = overlapping;
    refuse(h, "negative offset");
    h.positive_spans = huge;
    refuse(h, "too many buckets");
    h.positive_spans = far;
    h.positive_span_count = 1;
    refuse(h, "out of range");
    h = valid();
    h.custom_values = three;
    h.custom_count = 3;
    refuse(h, "exponential");

    h.schema = TIDE_HISTOGRAM_SCHEMA_CUSTOM;
    refuse(h, "no zero bucket");
    h.zero_count = h.zero_threshold = 0;
    refuse(h, "negative offset");
    h.positive_spans = two_and_one + 1; /* Bucket 3 of bounds 1, 2, 3: the one up to +Inf. */
    h.positive_span_count = h.positive_count = 1;
    assert_int_equal(tide_histogram_check(&h, NULL), TIDE_OK);
    h.custom_count = 2;
    refuse(h, "fewer custom bounds");
    h.custom_values = falling;
    refuse(h, "do not rise");
    h.custom_values = with_nan;
    refuse(h, "NaN");
    h.custom_values = with_inf;
    refuse(h, "+Inf");
    h.custom_values = three;
    h.custom_count = 3;
    h.negative_spans = two_and_one;
    h.negative_span_count = 1;
    refuse(h, "negative ones");
}

static void test_histogram__a_stale_marker_is_nothing_but_that(void **state)
{
    struct tide_histogram stale = {.sum = tide_value(TIDE_STALE_BITS), .schema = 99};
    struct tide_histogram h = valid();
    struct tide_buf bytes = {0};

    (void)state;
    assert_true(tide_histogram_is_stale(&stale));
    assert_false(tide_histogram_is_stale(&h));
    assert_int_equal(tide_histogram_check(&stale, NULL), TIDE_OK);
    assert_false(tide_histogram_eq(&stale, &h));
    h.sum = tide_value(TIDE_STALE_BITS);
    assert_true(tide_histogram_eq(&stale, &h));
    tide_histogram_encode(&h, &bytes);
    assert_int_equal(bytes.len, 1);
    tide_buf_deinit(&bytes);
}

/* ---- Bounds ---- */

static void test_histogram__bounds_are_powers_of_two(void **state)
{
    struct tide_histogram h = {.schema = 0};

    (void)state;
    assert_true(tide_histogram_bound(&h, 0) == 1);
    assert_true(tide_histogram_bound(&h, 3) == 8);
    assert_true(tide_histogram_bound(&h, -2) == 0.25);
    assert_true(tide_histogram_bound(&h, 1023) == 0x1p1023);
    assert_true(tide_histogram_bound(&h, 1024) == DBL_MAX);
    assert_true(isinf(tide_histogram_bound(&h, 1025)));
    assert_true(tide_histogram_bound(&h, -1074) == 0x1p-1074);
    assert_true(tide_histogram_bound(&h, -5000) == 0);
    h.schema = 1;
    assert_true(tide_histogram_bound(&h, 2) == 2);
    assert_true(fabs(tide_histogram_bound(&h, 1) - sqrt(2)) < 1e-15);
    assert_true(fabs(tide_histogram_bound(&h, -1) - sqrt(0.5)) < 1e-15);
    /* Each schema has every other bound of the next one; all rise. */
    for (h.schema = 1; h.schema < TIDE_HISTOGRAM_SCHEMA_MAX; h.schema++)
        for (int64_t i = -600; i < 600; i++) {
            struct tide_histogram finer = {.schema = h.schema + 1};
            double bound = tide_histogram_bound(&h, i);

            assert_true(bound == tide_histogram_bound(&finer, 2 * i));
            assert_true(bound < tide_histogram_bound(&finer, 2 * i + 1));
            assert_true(fabs(bound / exp2((double)i / exp2(h.schema)) - 1) < 1e-15);
        }
    h.schema = -4;
    assert_true(tide_histogram_bound(&h, 1) == 65536);
    assert_true(tide_histogram_bound(&h, -1) == 1.0 / 65536);
    assert_true(tide_histogram_bound(&h, 64) == DBL_MAX);
    h.schema = TIDE_HISTOGRAM_SCHEMA_CUSTOM;
    h.custom_values = three;
    h.custom_count = 3;
    assert_true(isinf(tide_histogram_bound(&h, -1)) && tide_histogram_bound(&h, -1) < 0);
    assert_true(tide_histogram_bound(&h, 1) == 2);
    assert_true(isinf(tide_histogram_bound(&h, 3)) && tide_histogram_bound(&h, 3) > 0);
}

/* ---- The stored form ---- */

static void put_golden(struct tide_buf *out)
{
    static const double bounds[] = {0.5, 1};
    static const struct tide_span last[] = {{2, 1}};
    struct tide_histogram h = valid();

    h.reset = TIDE_RESET_NO;
    tide_histogram_encode(&h, out);
    h.count = 10.5;
    h.reset = TIDE_RESET_GAUGE;
    tide_histogram_encode(&h, out);
    h = (struct tide_histogram){.schema = TIDE_HISTOGRAM_SCHEMA_CUSTOM,
                                .count = 3,
                                .sum = 1,
                                .custom_values = bounds,
                                .custom_count = 2,
                                .positive_spans = last,
                                .positive_span_count = 1,
                                .positive = three,
                                .positive_count = 1};
    tide_histogram_encode(&h, out);
    h.sum = tide_value(TIDE_STALE_BITS);
    tide_histogram_encode(&h, out);
}

static void test_histogram__bytes_are_those_of_the_golden_file(void **state)
{
    struct tide_buf bytes = {0}, golden = {0};
    struct tide_diag diag = {""};

    (void)state;
    put_golden(&bytes);
    assert_int_equal(tide_file_read("test/golden/histogram.bin", 1 << 20, &golden, &diag), TIDE_OK);
    assert_int_equal(bytes.len, golden.len);
    assert_memory_equal(bytes.ptr, golden.ptr, golden.len);
    tide_buf_deinit(&bytes);
    tide_buf_deinit(&golden);
}

static void test_histogram__comes_back_from_bytes_and_copies(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    uint64_t seed = 5;

    (void)state;
    for (int i = 0; i < 4000; i++) {
        struct random_histogram room;
        struct tide_histogram h = random_histogram(&seed, i % 2 == 0, &room), back, copy, skipped;
        struct tide_buf bytes = {0};
        struct tide_reader r, again;

        assert_int_equal(tide_histogram_check(&h, NULL), TIDE_OK);
        tide_histogram_encode(&h, &bytes);
        tide_buf_byte(&bytes, 77); /* The form ends itself. */
        r = again = tide_reader(tide_buf_view(&bytes));
        assert_int_equal(tide_histogram_decode(&r, arena, &back), TIDE_OK);
        assert_int_equal(r.rest.len, 1);
        assert_true(tide_histogram_eq(&h, &back));
        assert_int_equal(tide_histogram_decode(&again, NULL, &skipped), TIDE_OK);
        assert_int_equal(again.rest.len, 1);
        assert_int_equal(tide_histogram_copy(arena, &h, &copy), TIDE_OK);
        assert_true(tide_histogram_eq(&copy, &back));
        if (h.positive_count > 0) {
            room.buckets[0][h.positive_count - 1] += 1;
            assert_true(tide_histogram_eq(&copy, &back)); /* A copy shares nothing. */
            assert_true(!tide_histogram_eq(&h, &back) || isnan(h.positive[h.positive_count - 1]) ||
                        h.positive[h.positive_count - 1] > 0x1p52);
        }
        tide_buf_deinit(&bytes);
        tide_arena_reset(arena);
    }
    tide_arena_free(arena);
}

static void test_histogram__every_cut_is_corrupt(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_buf bytes = {0};
    struct tide_histogram h = valid(), back;

    (void)state;
    tide_histogram_encode(&h, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        uint8_t *copy = tide_mem_alloc(len); /* So that the sanitizer sees a read behind it. */
        struct tide_reader r = tide_reader((struct tide_slice){copy, len});

        memcpy(copy, bytes.ptr, len);
        assert_int_equal(tide_histogram_decode(&r, arena, &back), TIDE_ERR_CORRUPT);
        assert_int_equal(r.rest.len, len);
        tide_mem_free(copy);
    }
    tide_buf_deinit(&bytes);
    tide_arena_free(arena);
}

static void test_histogram__survives_each_failed_allocation(void **state)
{
    struct tide_histogram h = valid();
    struct tide_buf bytes = {0};

    (void)state;
    tide_histogram_encode(&h, &bytes);
    for (int nth = 1;; nth++) {
        struct tide_arena *arena;
        struct tide_reader r = tide_reader(tide_buf_view(&bytes));
        struct tide_histogram back, copy;
        enum tide_err err = TIDE_ERR_NO_MEMORY;
        bool fired;

        tide_test_mem_fail_nth(nth);
        arena = tide_arena_new(0);
        if (arena != NULL)
            err = tide_histogram_decode(&r, arena, &back);
        if (err == TIDE_OK)
            err = tide_histogram_copy(arena, &back, &copy);
        fired = tide_test_mem_fired();
        tide_test_mem_fail_nth(0);
        assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
        tide_arena_free(arena);
        if (!fired)
            break;
    }
    tide_buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_histogram__refuses_what_makes_no_sense),
        cmocka_unit_test(test_histogram__a_stale_marker_is_nothing_but_that),
        cmocka_unit_test(test_histogram__bounds_are_powers_of_two),
        cmocka_unit_test(test_histogram__bytes_are_those_of_the_golden_file),
        cmocka_unit_test(test_histogram__comes_back_from_bytes_and_copies),
        cmocka_unit_test(test_histogram__every_cut_is_corrupt),
        cmocka_unit_test(test_histogram__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
