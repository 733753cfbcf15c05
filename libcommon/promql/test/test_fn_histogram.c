/* Classic histograms: quantiles, fractions, what is warned about. */
#include "fn_histogram_private.h"
#include "support_fn.h"

/* ---- Buckets ---- */

#define BUCKETS_MAX 12

struct example {
    double q_or_lower;
    double upper;
    double want;
};

static size_t copy_buckets(const struct tide__bucket *from, struct tide__bucket *to)
{
    size_t count = 0;

    do
        to[count] = from[count];
    while (!isinf(from[count++].bound));
    return count;
}

static void check_quantiles(const struct tide__bucket *buckets, const struct example *examples,
                            size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct tide__bucket copy[BUCKETS_MAX];
        struct tide__forced forced;
        size_t n = copy_buckets(buckets, copy);
        double got = tide__bucket_quantile(examples[i].q_or_lower, copy, n, &forced);

        if (isnan(got) != isnan(examples[i].want) || fabs(got - examples[i].want) > 1e-9)
            fail_msg("quantile %g: %.17g, want %g", examples[i].q_or_lower, got, examples[i].want);
    }
}

static void test_fn_histogram__quantiles_interpolate(void **state)
{
    static const struct tide__bucket positive[] = {{0.1, 50}, {0.2, 70}, {1, 110}, {INFINITY, 120}};
    static const struct example of_positive[] = {
        {0, 0, 0}, {0.2, 0, 0.048}, {0.5, 0, 0.15}, {1, 0, 1}, {NAN, 0, NAN}};
    static const struct tide__bucket negative[] = {
        {-0.2, 10}, {-0.1, 20}, {0.3, 20}, {INFINITY, 30}};
    static const struct example of_negative[] = {
        {0, 0, -0.2}, {0.2, 0, -0.2}, {0.5, 0, -0.15}, {1, 0, 0.3}};
    static const struct tide__bucket repeated[] = {
        {0.1, 1}, {0.2, 1}, {0.2, 1}, {0.2, 1}, {INFINITY, 4}};
    static const struct example of_repeated[] = {{0.5, 0, 0.15}, {1, 0, 0.2}};
    static const struct tide__bucket empty[] = {{0.1, 0}, {INFINITY, 0}};
    static const struct tide__bucket lonely[] = {{INFINITY, 5}};
    static const struct example nothing[] = {{0.5, 0, NAN}};

    (void)state;
    check_quantiles(positive, of_positive, 5);
    check_quantiles(negative, of_negative, 4);
    check_quantiles(repeated, of_repeated, 2);
    check_quantiles(empty, nothing, 1);
    check_quantiles(lonely, nothing, 1);
}

static void test_fn_histogram__quantiles_out_of_range_are_infinite(void **state)
{
    struct tide__bucket buckets[] = {{1, 1}, {INFINITY, 2}};
    struct tide__forced forced;

    (void)state;
    fn_assert_same(tide__bucket_quantile(-0.1, buckets, 2, &forced), -INFINITY);
    fn_assert_same(tide__bucket_quantile(1.1, buckets, 2, &forced), INFINITY);
    fn_assert_same(tide__bucket_quantile(0.5, buckets, 1, &forced), NAN); /* No +Inf. */
    fn_assert_same(tide__bucket_quantile(0.5, buckets, 0, &forced), NAN);
}

static void test_fn_histogram__falling_counts_are_raised_and_told(void **state)
{
    struct tide__bucket buckets[] = {{0.1, 20}, {1, 10},    {10, 50},
                                     {100, 40}, {1000, 90}, {INFINITY, 80}};
    struct tide__bucket rounded[] = {{1, 10}, {2, 10 - 1e-12}, {INFINITY, 10 + 1e-13}};
    struct tide__forced forced;

    (void)state;
    assert_true(fabs(tide__bucket_quantile(0.5, buckets, 6, &forced) - 8.5) < 1e-9);
    assert_true(forced.is_forced);
    fn_assert_same(forced.bound_min, 1);
    fn_assert_same(forced.bound_max, INFINITY);
    fn_assert_same(forced.difference_max, 10);
    /* What rounding alone explains is put right without a word. */
    fn_assert_same(tide__bucket_quantile(1, rounded, 3, &forced), 1);
    assert_false(forced.is_forced);
}

static void test_fn_histogram__fractions_interpolate(void **state)
{
    static const struct tide__bucket positive[] = {{1, 1}, {2, 3}, {3, 6}, {INFINITY, 100}};
    static const struct example of_positive[] = {
        {0, 1.5, 0.02},
        {-INFINITY, INFINITY, 1},
        {4, 5, 0},
        {2, 5, 0.03},
        {400, INFINITY, 0.94},
        {2, 2, 0},
        {3, 2, 0},
        {2, 3.5, 0.03},
        {0.5, 2, 0.025},
        {1, 3, 0.05},
        {-10, -5, 0},
        {NAN, 1, NAN},
        {0, NAN, NAN},
    };
    static const struct tide__bucket negative[] = {{-3, 10}, {-2, 12}, {-1, 15}, {INFINITY, 100}};
    static const struct example of_negative[] = {
        {-4, -2, 0.02}, {-INFINITY, -1.5, 0.135}, {-INFINITY, INFINITY, 1}, {0, 1, 0}};
    static const struct tide__bucket crossing[] = {
        {-2, 5}, {-1, 10}, {0, 15}, {1, 20}, {INFINITY, 100}};
    static const struct example of_crossing[] = {{-1, 1, 0.1}};
    static const struct tide__bucket lonely[] = {{INFINITY, 100}};
    static const struct example of_lonely[] = {{0, 1, 0}};
    static const struct tide__bucket empty[] = {{1, 0}, {INFINITY, 0}};
    static const struct example of_empty[] = {{0, 5, NAN}};
    static const struct {
        const struct tide__bucket *buckets;
        const struct example *examples;
        size_t count;
    } all[] = {{positive, of_positive, 13},
               {negative, of_negative, 4},
               {crossing, of_crossing, 1},
               {lonely, of_lonely, 1},
               {empty, of_empty, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        for (size_t k = 0; k < all[i].count; k++) {
            const struct example *x = &all[i].examples[k];
            struct tide__bucket copy[BUCKETS_MAX];
            size_t n = copy_buckets(all[i].buckets, copy);
            double got = tide__bucket_fraction(x->q_or_lower, x->upper, copy, n);

            if (isnan(got) != isnan(x->want) || fabs(got - x->want) > 1e-12)
                fail_msg("set %zu, example %zu: %.17g, want %g", i, k, got, x->want);
        }
}

/* The quantile of a histogram filled with known observations lies in the bucket of the observation
 * of that rank. */
static void test_fn_histogram__quantile_is_in_the_bucket_of_its_rank(void **state)
{
    (void)state;
    fn_random_state = 21;
    for (size_t round = 0; round < 500; round++) {
        struct tide__bucket buckets[BUCKETS_MAX] = {0};
        double observations[200];
        size_t n = 1 + fn_random_below(200);
        double q = fn_random_unit();
        struct tide__forced forced;
        size_t rank, at;
        double got;

        for (size_t i = 0; i < BUCKETS_MAX; i++)
            buckets[i].bound = i + 1 == BUCKETS_MAX ? INFINITY : (double)(i + 1);
        for (size_t i = 0; i < n; i++) {
            observations[i] = fn_random_unit() * (BUCKETS_MAX + 1);
            for (size_t b = 0; b < BUCKETS_MAX; b++)
                buckets[b].count += observations[i] <= buckets[b].bound;
        }
        rank = (size_t)ceil(q * (double)n);
        for (at = 0; buckets[at].count < (double)rank; at++)
            ;
        got = tide__bucket_quantile(q, buckets, BUCKETS_MAX, &forced);
        assert_false(forced.is_forced);
        if (at + 1 == BUCKETS_MAX)
            fn_assert_same(got, buckets[at - 1].bound);
        else
            assert_true(got >= (double)at && got <= buckets[at].bound);
    }
}

/* ---- The label le ---- */

static void test_fn_histogram__reads_bounds_as_go_does(void **state)
{
    double v;

    (void)state;
    assert_true(tide__le_parse(TIDE_SLICE("+Inf"), &v));
    fn_assert_same(v, INFINITY);
    assert_true(tide__le_parse(TIDE_SLICE(".2"), &v));
    fn_assert_same(v, 0.2);
    assert_true(tide__le_parse(TIDE_SLICE("2.0e-1"), &v));
    fn_assert_same(v, 0.2);
    assert_false(tide__le_parse(TIDE_SLICE("1e999"), &v));
    assert_false(tide__le_parse(TIDE_SLICE("Hello World"), &v));
    assert_false(tide__le_parse(TIDE_SLICE(""), &v));
}

/* ---- Whole matrices ---- */

static void set_row(struct fn_eval *e, struct tide__row *row, const char *name, const char *job,
                    const char *le)
{
    struct tide_label *pairs = tide_arena_new_array(e->eval.arena, 3, sizeof(*pairs));
    size_t count = 0;

    assert_non_null(pairs);
    pairs[count++] = (struct tide_label){TIDE_SLICE("__name__"), tide_slice_str(name)};
    pairs[count++] = (struct tide_label){TIDE_SLICE("job"), tide_slice_str(job)};
    if (le != NULL)
        pairs[count++] = (struct tide_label){TIDE_SLICE("le"), tide_slice_str(le)};
    row->labels = (struct tide_labels){pairs, count};
}

static struct tide__matrix *histogram_matrix(struct fn_eval *e)
{
    static const struct {
        const char *job;
        const char *le;
        double values[2];
    } rows[] = {
        {"a", "0.2", {5, 7}}, {"b", "+Inf", {4, 4}}, {"a", "0.1", {2, 3}}, {"a", "+Inf", {6, 8}},
        {"b", "1", {4, 4}},   {"a", "oops", {1, 1}}, {"c", NULL, {1, 1}},
    };
    size_t count = sizeof(rows) / sizeof(*rows);
    struct tide__matrix *m;

    assert_int_equal(tide__matrix_new(&e->eval, count, &m), TIDE_OK);
    for (size_t i = 0; i < count; i++) {
        set_row(e, &m->rows[i], "x_bucket", rows[i].job, rows[i].le);
        memcpy(m->rows[i].values, rows[i].values, sizeof(rows[i].values));
        m->rows[i].present[0] = i == 4 ? 2 : 3; /* b has no finite bucket at first. */
    }
    return m;
}

static void test_fn_histogram_quantile__groups_by_all_labels_but_le(void **state)
{
    struct fn_eval e;
    struct tide__matrix *in, *out;

    (void)state;
    fn_eval_init(&e, 2);
    in = histogram_matrix(&e);
    fn_set_scalar(&e, 0, 0.5);
    e.scalars[0][1] = 7;
    e.args[1] = (struct tide__arg){.kind = TIDE__ARG_MATRIX, .matrix = in};
    assert_int_equal(tide__function(TIDE_FN_HISTOGRAM_QUANTILE)->matrix(&e.call, &out), TIDE_OK);
    assert_int_equal(out->row_count, 2);
    assert_int_equal(out->rows[0].labels.count, 2);
    assert_true(out->rows[0].drop_name);
    assert_int_equal(out->rows[0].present[0], 3);
    assert_true(fabs(out->rows[0].values[0] - (0.1 + 0.1 / 3)) < 1e-12);
    fn_assert_same(out->rows[0].values[1], INFINITY);
    assert_int_equal(out->rows[1].present[0], 3);
    fn_assert_same(out->rows[1].values[0], NAN);
    assert_true(fn_was_noted(&e, false, "quantile value should be between 0 and 1, got 7"));
    assert_true(fn_was_noted(&e, false,
                             "bucket label \"le\" is missing or has a malformed value of \"oops\" "
                             "for metric name \"x_bucket\""));
    assert_true(fn_was_noted(&e, false, "malformed value of \"\" for metric name"));
    tide__matrix_free(out);
    tide__matrix_free(in);
    fn_eval_deinit(&e);
}

static void test_fn_histogram_quantiles__make_a_row_for_each(void **state)
{
    struct fn_eval e;
    struct tide__matrix *in, *out;

    (void)state;
    fn_eval_init(&e, 2);
    in = histogram_matrix(&e);
    e.args[0] = (struct tide__arg){.kind = TIDE__ARG_MATRIX, .matrix = in};
    fn_set_string(&e, 1, "q");
    fn_set_scalar(&e, 2, 1);
    fn_set_scalar(&e, 3, 0.25);
    e.scalars[3][1] = 0.5;
    assert_int_equal(tide__function(TIDE_FN_HISTOGRAM_QUANTILES)->check(&e.call), TIDE_OK);
    assert_int_equal(tide__function(TIDE_FN_HISTOGRAM_QUANTILES)->matrix(&e.call, &out), TIDE_OK);
    assert_int_equal(out->row_count, 6);
    for (size_t i = 0; i < 6; i++) {
        static const char *const texts[] = {"1.0", "0.25", "0.5"};
        static const uint64_t present[] = {3, 1, 2};

        assert_true(tide_slice_eq(tide_labels_get(out->rows[i].labels, TIDE_SLICE("q")),
                                  tide_slice_str(texts[i / 2])));
        assert_int_equal(out->rows[i].present[0], present[i / 2]);
    }
    fn_assert_same(out->rows[0].values[0], 0.2);
    tide__matrix_free(out);
    fn_set_string(&e, 1, "");
    assert_int_equal(tide__function(TIDE_FN_HISTOGRAM_QUANTILES)->check(&e.call),
                     TIDE_ERR_EXECUTION);
    tide__matrix_free(in);
    fn_eval_deinit(&e);
}

static void test_fn_histogram_fraction__works_per_step(void **state)
{
    struct fn_eval e;
    struct tide__matrix *in, *out;

    (void)state;
    fn_eval_init(&e, 2);
    in = histogram_matrix(&e);
    fn_set_scalar(&e, 0, 0);
    fn_set_scalar(&e, 1, 0.1);
    e.scalars[1][1] = 0.2;
    e.args[2] = (struct tide__arg){.kind = TIDE__ARG_MATRIX, .matrix = in};
    assert_int_equal(tide__function(TIDE_FN_HISTOGRAM_FRACTION)->matrix(&e.call, &out), TIDE_OK);
    assert_int_equal(out->row_count, 2);
    fn_assert_same(out->rows[0].values[0], 2.0 / 6);
    fn_assert_same(out->rows[0].values[1], 7.0 / 8);
    tide__matrix_free(out);
    tide__matrix_free(in);
    fn_eval_deinit(&e);
}

static void test_fn_histogram_quantile__tells_of_falling_counts_once(void **state)
{
    struct fn_eval e;
    struct tide__matrix *in, *out;

    (void)state;
    fn_eval_init(&e, 2);
    assert_int_equal(tide__matrix_new(&e.eval, 3, &in), TIDE_OK);
    for (size_t i = 0; i < 3; i++) {
        static const char *const bounds[] = {"1", "2", "+Inf"};
        static const double counts[] = {5, 3, 9};

        set_row(&e, &in->rows[i], "x", "a", bounds[i]);
        in->rows[i].values[0] = in->rows[i].values[1] = counts[i];
        in->rows[i].present[0] = 3;
    }
    e.step_ms[0] = 60000;
    e.step_ms[1] = 120000;
    fn_set_scalar(&e, 0, 0.5);
    e.args[1] = (struct tide__arg){.kind = TIDE__ARG_MATRIX, .matrix = in};
    assert_int_equal(tide__function(TIDE_FN_HISTOGRAM_QUANTILE)->matrix(&e.call, &out), TIDE_OK);
    assert_int_equal(e.eval.notes.count, 1);
    assert_true(fn_was_noted(&e, true,
                             " for metric name \"x\", from buckets 2 to 2, with a max diff of 2, "
                             "over 2 samples from 1970-01-01T00:01:00Z to 1970-01-01T00:02:00Z"));
    tide__matrix_free(out);
    tide__matrix_free(in);
    fn_eval_deinit(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fn_histogram__quantiles_interpolate),
        cmocka_unit_test(test_fn_histogram__quantiles_out_of_range_are_infinite),
        cmocka_unit_test(test_fn_histogram__falling_counts_are_raised_and_told),
        cmocka_unit_test(test_fn_histogram__fractions_interpolate),
        cmocka_unit_test(test_fn_histogram__quantile_is_in_the_bucket_of_its_rank),
        cmocka_unit_test(test_fn_histogram__reads_bounds_as_go_does),
        cmocka_unit_test(test_fn_histogram_quantile__groups_by_all_labels_but_le),
        cmocka_unit_test(test_fn_histogram_quantiles__make_a_row_for_each),
        cmocka_unit_test(test_fn_histogram_fraction__works_per_step),
        cmocka_unit_test(test_fn_histogram_quantile__tells_of_falling_counts_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
