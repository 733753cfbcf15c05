/* The arithmetic of native histograms against a naive one, on random histograms of all shapes. */
#include "support_histogram.h"

#include "tide/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#define ROUNDS 2000

static uint64_t state_of_chance;

static uint32_t below(uint32_t n)
{
    state_of_chance = state_of_chance * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(state_of_chance >> 33) % n;
}

static int begin(void **state)
{
    *state = tide_arena_new(0);
    state_of_chance = 20240607;
    return *state == NULL;
}

static int end(void **state)
{
    tide_arena_free(*state);
    return 0;
}

/* ---- Random histograms ---- */

static const struct tide_span *random_side(struct tide_arena *arena, int32_t lowest,
                                           uint32_t buckets_max, uint32_t *span_count,
                                           const double **counts, uint32_t *count, double *total)
{
    struct tide_span *spans = tide_arena_alloc(arena, 8 * sizeof(*spans));
    double *values = tide_arena_alloc(arena, 64 * sizeof(*values));
    uint32_t left = below(buckets_max + 1);

    *span_count = 0;
    *count = 0;
    while (left > 0 && *span_count < 8) {
        uint32_t length = below(left + 1); /* Perhaps none. */
        int32_t offset = *span_count == 0 ? lowest : (int32_t)below(4);

        spans[(*span_count)++] = (struct tide_span){offset, length};
        left -= length;
        for (uint32_t i = 0; i < length; i++) {
            values[*count] = below(4) == 0 ? 0 : below(1000);
            *total += values[(*count)++];
        }
    }
    *counts = values;
    return spans;
}

static struct tide_histogram *random_exponential(struct tide_arena *arena)
{
    static const double thresholds[] = {0, 0, 0.001, 0.25, 0.3, 1, 3};
    struct tide_histogram *h = tide_arena_new_array(arena, 1, sizeof(*h));

    h->schema = (int32_t)below(5) - 1;
    h->zero_threshold = thresholds[below(7)];
    h->zero_count = below(3) == 0 ? 0 : below(100);
    h->count = h->zero_count;
    h->positive_spans = random_side(arena, (int32_t)below(12) - 6, 20, &h->positive_span_count,
                                    &h->positive, &h->positive_count, &h->count);
    h->negative_spans = random_side(arena, (int32_t)below(12) - 6, 10, &h->negative_span_count,
                                    &h->negative, &h->negative_count, &h->count);
    h->sum = (double)below(10000) - 3000;
    return h;
}

static struct tide_histogram *random_custom(struct tide_arena *arena)
{
    struct tide_histogram *h = tide_arena_new_array(arena, 1, sizeof(*h));
    double *bounds = tide_arena_alloc(arena, 8 * sizeof(*bounds));
    uint32_t left;

    h->schema = TIDE_HISTOGRAM_SCHEMA_CUSTOM;
    for (int bound = -2; bound < 6; bound++)
        if (below(2) == 0)
            bounds[h->custom_count++] = bound;
    h->custom_values = bounds;
    left = h->custom_count + 1;
    h->positive_spans = random_side(arena, 0, left, &h->positive_span_count, &h->positive,
                                    &h->positive_count, &h->count);
    for (uint32_t i = 0, end_index = 0; i < h->positive_span_count; i++) {
        struct tide_span *span = (struct tide_span *)(uintptr_t)&h->positive_spans[i];

        if (end_index + (uint32_t)span->offset + span->length > left)
            span->offset = 0;
        end_index += (uint32_t)span->offset + span->length;
    }
    h->sum = below(1000);
    return h;
}

static struct tide_histogram *random_histogram(struct tide_arena *arena)
{
    return below(3) == 0 ? random_custom(arena) : random_exponential(arena);
}

/* ---- The naive form: every bucket with its bounds ---- */

struct naive {
    double lower[256];
    double upper[256];
    double count[256];
    size_t used;
};

/* All buckets that hold something; the zero bucket at its full width. */
static void naive_of(const struct tide_histogram *h, struct naive *out)
{
    struct tide__hist_side side;

    out->used = 0;
    for (int positive = 0; positive < 2; positive++) {
        for (bool more = tide__hist_side_first(h, positive != 0, &side); more;
             more = tide__hist_side_next(&side)) {
            struct tide__hist_bucket b =
                tide__hist_bucket_at(h, positive != 0, side.index, side.counts[side.at]);

            if (b.count == 0)
                continue;
            out->lower[out->used] = b.lower;
            out->upper[out->used] = b.upper;
            out->count[out->used++] = b.count;
        }
    }
    if (h->zero_count != 0) {
        out->lower[out->used] = -h->zero_threshold;
        out->upper[out->used] = h->zero_threshold;
        out->count[out->used++] = h->zero_count;
    }
}

/* What the buckets of from that lie within [lower, upper] hold; counts them as found. Those that
 * lie within a zero bucket of the width zero lie nowhere else, though buckets may overlap with it.
 */
static double naive_within(const struct naive *from, double lower, double upper, double zero,
                           size_t *found)
{
    bool is_zero = lower == -zero && upper == zero;
    double count = 0;

    for (size_t i = 0; i < from->used; i++) {
        bool in_zero = from->lower[i] >= -zero && from->upper[i] <= zero;

        if (in_zero != is_zero || from->lower[i] < lower || from->upper[i] > upper)
            continue;
        count += from->count[i];
        (*found)++;
    }
    return count;
}

/* Every bucket of the result holds what those of a and b hold that lie within it, and each of them
 * lies within one. Buckets that lie in the sum's zero bucket lie there. */
static void expect_sum(const struct tide_histogram *sum, const struct tide_histogram *a,
                       const struct tide_histogram *b, double sign)
{
    struct naive x;
    struct naive y;
    struct naive z;
    double zero = tide__hist_is_custom(sum) ? -1 : sum->zero_threshold; /* -1: there is none. */
    size_t found_x = 0;
    size_t found_y = 0;

    naive_of(a, &x);
    naive_of(b, &y);
    naive_of(sum, &z);
    for (size_t i = 0; i < z.used; i++) {
        double count = naive_within(&x, z.lower[i], z.upper[i], zero, &found_x) +
                       sign * naive_within(&y, z.lower[i], z.upper[i], zero, &found_y);

        assert_true(z.count[i] == count); /* Small integers: exact. */
    }
    assert_true(sum->schema <= a->schema && sum->schema <= b->schema);
    assert_true(sum->zero_threshold >= a->zero_threshold);
    assert_true(sum->zero_threshold >= b->zero_threshold);
    if (sign > 0) { /* Differences may come out empty, and are not there then. */
        assert_int_equal(found_x, x.used);
        assert_int_equal(found_y, y.used);
    }
    assert_true(sum->count == a->count + sign * b->count);
    assert_true(sum->sum == a->sum + sign * b->sum);
}

/* A bucket within the other's zero bucket, which Prometheus leaves out: not a case for
 * expect_sum(). */
static bool has_hidden_buckets(const struct tide_histogram *h, double threshold)
{
    struct tide__hist_side side;

    for (int positive = 0; positive < 2; positive++)
        if (tide__hist_side_first(h, positive != 0, &side) &&
            tide_histogram_bound(h, side.index) <= threshold)
            return true;
    return false;
}

/* ---- Tests ---- */

static void test_hist_add__puts_each_bucket_where_it_belongs(void **state)
{
    size_t added = 0;

    for (int round = 0; round < ROUNDS; round++) {
        struct tide_histogram *a = random_histogram(*state);
        struct tide_histogram *b = random_histogram(*state);
        double sign = below(2) == 0 ? 1 : -1;
        struct tide__hist_outcome outcome;
        const struct tide_histogram *sum;
        struct tide__hist_sum compensated;

        if (!tide__hist_is_custom(a) && !tide__hist_is_custom(b) &&
            (has_hidden_buckets(a, a->zero_threshold) || has_hidden_buckets(b, b->zero_threshold)))
            continue;
        assert_true(tide__hist_add(a, b, sign, *state, &outcome, &sum));
        assert_int_equal(outcome.incompatible, tide__hist_is_custom(a) != tide__hist_is_custom(b));
        if (outcome.incompatible) {
            assert_null(sum);
            continue;
        }
        if (sign > 0)
            assert_int_equal(tide_histogram_check(sum, &(struct tide_diag){{0}}), TIDE_OK);
        expect_sum(sum, a, b, sign);
        assert_true(tide__hist_sum_init(&compensated, *state, true, a));
        assert_true(tide__hist_sum_add(&compensated, b, sign, &outcome));
        assert_true(support_histogram_near(sum, tide__hist_sum_finish(&compensated, *state), 0));
        added++;
        if (round % 64 == 0)
            tide_arena_reset(*state);
    }
    assert_true(added > ROUNDS / 4);
}

static void test_hist_sum__does_not_depend_on_how_it_is_split(void **state)
{
    for (int round = 0; round < 300; round++) {
        struct tide__hist_sum whole;
        struct tide__hist_sum left;
        struct tide__hist_sum right;
        struct tide__hist_outcome outcome;
        struct tide_histogram *parts[6];
        bool custom = below(2) == 0;

        for (size_t i = 0; i < 6; i++)
            parts[i] = custom ? random_custom(*state) : random_exponential(*state);
        for (size_t i = 0; i < 6; i++) /* Hidden buckets would get lost at another time. */
            parts[i]->zero_threshold = 0;
        assert_true(tide__hist_sum_init(&whole, *state, true, parts[0]));
        for (size_t i = 1; i < 6; i++)
            assert_true(tide__hist_sum_add(&whole, parts[i], 1, &outcome));
        assert_true(tide__hist_sum_init(&left, *state, true, parts[0]));
        assert_true(tide__hist_sum_add(&left, parts[1], 1, &outcome));
        assert_true(tide__hist_sum_init(&right, *state, true, parts[2]));
        for (size_t i = 3; i < 6; i++)
            assert_true(tide__hist_sum_add(&right, parts[i], 1, &outcome));
        assert_true(tide__hist_sum_merge(&left, &right, &outcome));
        assert_true(support_histogram_near(tide__hist_sum_finish(&left, *state),
                                           tide__hist_sum_finish(&whole, *state), 0));
        tide_arena_reset(*state);
    }
}

static void test_hist_sum__loses_nothing_to_rounding(void **state)
{
    const struct tide_histogram *big = support_histogram(
        TIDE_SLICE("{{count:1e16 sum:1e16 z_bucket:1e16 buckets:[1e16]}}"), *state);
    const struct tide_histogram *one =
        support_histogram(TIDE_SLICE("{{count:1 sum:1 z_bucket:1 buckets:[1]}}"), *state);
    struct tide__hist_outcome outcome;
    struct tide__hist_sum sum;

    assert_true(tide__hist_sum_init(&sum, *state, true, one));
    assert_true(tide__hist_sum_add(&sum, big, 1, &outcome));
    for (int i = 0; i < 9; i++)
        assert_true(tide__hist_sum_add(&sum, one, 1, &outcome));
    assert_true(tide__hist_sum_add(&sum, big, -1, &outcome));
    assert_true(support_histogram_near(
        tide__hist_sum_finish(&sum, *state),
        support_histogram(TIDE_SLICE("{{count:10 sum:10 z_bucket:10 buckets:[10]}}"), *state), 0));
}

static void test_hist_add__combines_what_is_known_of_resets(void **state)
{
    static const enum tide_counter_reset U = TIDE_RESET_UNKNOWN, Y = TIDE_RESET_YES,
                                         N = TIDE_RESET_NO, G = TIDE_RESET_GAUGE;
    const struct {
        enum tide_counter_reset a, b, sum;
        bool collision;
    } cases[] = {{U, U, U, false}, {Y, Y, Y, false}, {N, N, N, false},
                 {G, N, G, false}, {Y, G, G, false}, {U, Y, U, false},
                 {N, U, U, false}, {Y, N, U, true},  {N, Y, U, true}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct tide_histogram a = {.reset = cases[i].a, .count = 1};
        struct tide_histogram b = {.reset = cases[i].b, .count = 1};
        struct tide__hist_outcome outcome;
        const struct tide_histogram *sum;

        assert_true(tide__hist_add(&a, &b, 1, *state, &outcome, &sum));
        assert_int_equal(sum->reset, cases[i].sum);
        assert_int_equal(outcome.collision, cases[i].collision);
        assert_true(tide__hist_add(&a, &b, -1, *state, &outcome, &sum));
        assert_int_equal(sum->reset, G);
    }
}

static void test_hist_scale__scales_each_count(void **state)
{
    for (int round = 0; round < 500; round++) {
        struct tide_histogram *h = random_histogram(*state);
        const struct tide_histogram *twice = tide__hist_multiply(h, 2, *state);

        assert_true(support_histogram_near(tide__hist_divide(twice, 2, *state), h, 0));
        assert_true(twice->count == 2 * h->count);
        assert_true(twice->sum == 2 * h->sum);
        assert_int_equal(tide__hist_multiply(h, -1, *state)->reset, TIDE_RESET_GAUGE);
        tide_arena_reset(*state);
    }
}

static void test_hist_divide__by_zero_leaves_no_buckets(void **state)
{
    const struct tide_histogram *h = tide__hist_divide(
        support_histogram(TIDE_SLICE("{{count:3 sum:-1 buckets:[1 2]}}"), *state), 0, *state);

    assert_true(isinf(h->count) && h->count > 0);
    assert_true(isinf(h->sum) && h->sum < 0);
    assert_int_equal(h->positive_count, 0);
}

static void test_hist_iter__walks_back_as_it_walks_on(void **state)
{
    for (int round = 0; round < 500; round++) {
        struct tide_histogram *h = random_histogram(*state);
        struct tide__hist_bucket rising[128];
        struct tide__hist_bucket b;
        struct tide__hist_iter it;
        size_t count = 0;

        tide__hist_iter_init(&it, h, false);
        while (tide__hist_iter_next(&it, &rising[count])) {
            if (count > 0 && !has_hidden_buckets(h, h->zero_threshold))
                assert_true(rising[count - 1].lower <= rising[count].lower);
            count++;
        }
        assert_int_equal(count,
                         h->positive_count + h->negative_count + (h->zero_count > 0 ? 1 : 0));
        tide__hist_iter_init(&it, h, true);
        while (tide__hist_iter_next(&it, &b)) {
            count--;
            assert_true(b.lower == rising[count].lower && b.upper == rising[count].upper);
            assert_true(b.count == rising[count].count);
        }
        assert_int_equal(count, 0);
        tide_arena_reset(*state);
    }
}

/* Growing never looks like a reset; a bucket that falls does, wherever it is. */
static void test_hist_is_reset__sees_what_falls(void **state)
{
    for (int round = 0; round < 1000; round++) {
        struct tide_histogram *before = random_histogram(*state);
        struct tide_histogram *grown = (struct tide_histogram *)(uintptr_t)tide__hist_copy(
            tide__hist_multiply(before, 2, *state), *state);
        double *counts = (double *)(uintptr_t)grown->positive;

        assert_false(tide__hist_is_reset(grown, before, *state));
        assert_int_equal(tide__hist_is_reset(before, grown, *state), before->count > 0);
        if (grown->positive_count > 0 && before->zero_threshold == 0) {
            uint32_t at = below(grown->positive_count);

            counts[at] = counts[at] / 2 - 0.5;
            assert_true(tide__hist_is_reset(grown, before, *state));
            grown->reset = TIDE_RESET_NO;
            assert_false(tide__hist_is_reset(grown, before, *state));
        }
        grown->reset = TIDE_RESET_YES;
        assert_true(tide__hist_is_reset(grown, before, *state));
        tide_arena_reset(*state);
    }
}

static void test_hist_is_reset__allows_a_coarser_layout_only(void **state)
{
    const struct tide_histogram *fine =
        support_histogram(TIDE_SLICE("{{schema:1 count:10 sum:1 buckets:[1 2 3 4]}}"), *state);
    const struct tide_histogram *rough =
        support_histogram(TIDE_SLICE("{{schema:0 count:10 sum:1 buckets:[1 5 4]}}"), *state);
    const struct tide_histogram *rough_less =
        support_histogram(TIDE_SLICE("{{schema:0 count:10 sum:1 buckets:[2 4 4]}}"), *state);
    const struct tide_histogram *wide = support_histogram(
        TIDE_SLICE("{{count:10 sum:1 z_bucket:3 z_bucket_w:1 offset:1 buckets:[7]}}"), *state);
    const struct tide_histogram *narrow = support_histogram(
        TIDE_SLICE("{{count:10 sum:1 z_bucket:1 z_bucket_w:0.5 buckets:[2 7]}}"), *state);
    const struct tide_histogram *custom = support_histogram(
        TIDE_SLICE("{{schema:-53 count:10 custom_values:[1 2] buckets:[5 5]}}"), *state);
    const struct tide_histogram *custom_fewer = support_histogram(
        TIDE_SLICE("{{schema:-53 count:10 custom_values:[2] buckets:[10]}}"), *state);

    assert_false(tide__hist_is_reset(rough, fine, *state));
    assert_true(tide__hist_is_reset(fine, rough, *state));
    assert_true(tide__hist_is_reset(rough_less, fine, *state));
    assert_false(tide__hist_is_reset(wide, narrow, *state));
    assert_true(tide__hist_is_reset(narrow, wide, *state));
    assert_false(tide__hist_is_reset(custom_fewer, custom, *state));
    assert_false(tide__hist_is_reset(custom, custom_fewer, *state));
    assert_true(tide__hist_is_reset(custom, rough, *state));
}

/* The fraction under a quantile is the quantile's share again. */
static void test_hist_quantile__is_the_inverse_of_the_fraction(void **state)
{
    size_t asked = 0;

    for (int round = 0; round < ROUNDS; round++) {
        struct tide_histogram *h = random_histogram(*state);
        double q = (double)(1 + below(98)) / 100;
        double v = tide__hist_quantile(h, q);
        double share = tide__hist_fraction(h, -INFINITY, v);

        if (h->count == 0) {
            assert_true(isnan(v) && isnan(share));
            continue;
        }
        if (tide__hist_is_custom(h)) /* Its outer buckets have no inside. */
            continue;
        if (h->zero_threshold == 0 && v == 0)
            continue;
        if (h->zero_threshold > 0)
            continue; /* Buckets may overlap the zero bucket. */
        assert_true(fabs(share - q) < 1e-9);
        asked++;
        tide_arena_reset(*state);
    }
    assert_true(asked > ROUNDS / 8);
}

static void test_hist_trim__keeps_the_fraction(void **state)
{
    for (int round = 0; round < ROUNDS; round++) {
        struct tide_histogram *h = random_exponential(*state);
        double at = ((double)below(4000) - 1500) / 100;
        const struct tide_histogram *under = tide__hist_trim(h, at, true, *state);
        const struct tide_histogram *over = tide__hist_trim(h, at, false, *state);

        if (h->count == 0 || h->zero_threshold > 0)
            continue;
        assert_true(fabs(under->count - tide__hist_fraction(h, -INFINITY, at) * h->count) < 1e-9);
        assert_true(fabs(under->count + over->count - h->count) < 1e-9 ||
                    (at == 0 && h->zero_count > 0));
        tide_arena_reset(*state);
    }
}

static void test_hist_trim__at_infinity_keeps_all_or_nothing(void **state)
{
    for (int round = 0; round < 300; round++) {
        struct tide_histogram *h = random_histogram(*state);

        assert_true(tide__hist_trim(h, INFINITY, true, *state) == h);
        assert_true(tide__hist_trim(h, -INFINITY, false, *state) == h);
        assert_true(tide__hist_trim(h, -INFINITY, true, *state)->count == 0 || h->count == 0);
        assert_true(tide__hist_trim(h, INFINITY, false, *state)->count == 0 || h->count == 0);
        tide_arena_reset(*state);
    }
}

static void test_hist_equal__does_not_mind_how_spans_are_cut(void **state)
{
    static const struct tide_span whole[] = {{1, 4}};
    static const struct tide_span cut[] = {{0, 0}, {1, 2}, {0, 1}, {0, 0}, {0, 1}};
    static const double counts[] = {1, 2, 3, 4};
    struct tide_histogram a = {.count = 10,
                               .positive_spans = whole,
                               .positive_span_count = 1,
                               .positive = counts,
                               .positive_count = 4};
    struct tide_histogram b = a;

    (void)state;
    b.positive_spans = cut;
    b.positive_span_count = 5;
    assert_true(tide__hist_equal(&a, &b));
    b.sum = -0.0;
    assert_false(tide__hist_equal(&a, &b));
}

static void test_hist_add__survives_each_failed_allocation(void **state)
{
    struct tide_histogram *a = random_exponential(*state);
    struct tide_histogram *b = random_exponential(*state);

    for (int nth = 1;; nth++) {
        struct tide_arena *arena = tide_arena_new(0);
        struct tide__hist_outcome outcome;
        const struct tide_histogram *sum = NULL;
        bool ok;

        assert_non_null(arena);
        tide_test_mem_fail_nth(nth);
        ok = tide__hist_add(a, b, 1, arena, &outcome, &sum);
        if (!tide_test_mem_fired()) {
            assert_true(ok);
            tide_arena_free(arena);
            break;
        }
        assert_false(ok && sum != NULL);
        tide_arena_free(arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hist_add__puts_each_bucket_where_it_belongs, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_hist_sum__does_not_depend_on_how_it_is_split, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_hist_sum__loses_nothing_to_rounding, begin, end),
        cmocka_unit_test_setup_teardown(test_hist_add__combines_what_is_known_of_resets, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_hist_scale__scales_each_count, begin, end),
        cmocka_unit_test_setup_teardown(test_hist_divide__by_zero_leaves_no_buckets, begin, end),
        cmocka_unit_test_setup_teardown(test_hist_iter__walks_back_as_it_walks_on, begin, end),
        cmocka_unit_test_setup_teardown(test_hist_is_reset__sees_what_falls, begin, end),
        cmocka_unit_test_setup_teardown(test_hist_is_reset__allows_a_coarser_layout_only, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_hist_quantile__is_the_inverse_of_the_fraction, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_hist_trim__keeps_the_fraction, begin, end),
        cmocka_unit_test_setup_teardown(test_hist_trim__at_infinity_keeps_all_or_nothing, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_hist_equal__does_not_mind_how_spans_are_cut, begin,
                                        end),
        cmocka_unit_test_setup_teardown(test_hist_add__survives_each_failed_allocation, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
