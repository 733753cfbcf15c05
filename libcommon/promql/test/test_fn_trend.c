/* resets, changes, deriv, predict_linear, double_exponential_smoothing, quantile_over_time and
 * mad_over_time. */
#include "support_fn.h"

#include <stdlib.h>

/* ---- Events ---- */

static bool resets(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    *out = 0;
    for (size_t i = f->lo[s] + 1; i < f->hi[s]; i++)
        *out += f->values[i] < f->values[i - 1];
    return f->hi[s] > f->lo[s];
}

static bool changes(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    *out = 0;
    for (size_t i = f->lo[s] + 1; i < f->hi[s]; i++)
        if (!(f->values[i] == f->values[i - 1] || (isnan(f->values[i]) && isnan(f->values[i - 1]))))
            *out += 1;
    return f->hi[s] > f->lo[s];
}

static void test_fn_trend__counts_events_as_the_definition(void **state)
{
    struct fn_eval e;

    (void)state;
    fn_eval_init(&e, FN_STEPS_MAX);
    fn_check_random(&e, TIDE_FN_RESETS, resets, 150);
    fn_check_random(&e, TIDE_FN_CHANGES, changes, 150);
    fn_eval_deinit(&e);
}

/* ---- Regression: the textbook's formula around the means, in long double ---- */

static void line_through(const struct fn_series *f, size_t s, int64_t at_ms, long double *slope,
                         long double *intercept)
{
    long double n = f->hi[s] - f->lo[s];
    long double mean_x = 0;
    long double mean_y = 0;
    long double xy = 0;
    long double xx = 0;

    for (size_t i = f->lo[s]; i < f->hi[s]; i++) {
        mean_x += (long double)(f->times_ms[i] - at_ms) / 1000 / n;
        mean_y += (long double)f->values[i] / n;
    }
    for (size_t i = f->lo[s]; i < f->hi[s]; i++) {
        long double x = (long double)(f->times_ms[i] - at_ms) / 1000 - mean_x;

        xy += x * ((long double)f->values[i] - mean_y);
        xx += x * x;
    }
    *slope = xy / xx;
    *intercept = mean_y - *slope * mean_x;
}

static void test_fn_trend__regression_is_close_to_the_textbook(void **state)
{
    struct fn_series *f = tide_mem_new(sizeof(*f));
    struct fn_eval e;

    (void)state;
    assert_non_null(f);
    fn_eval_init(&e, FN_STEPS_MAX);
    fn_set_scalar(&e, 1, 3600);
    fn_random_state = 5;
    for (size_t round = 0; round < 100; round++) {
        fn_random_series(f, round % 2 == 0 ? FN_COUNTER : FN_GAUGE);
        fn_random_cut(f);
        fn_run(f, &e, TIDE_FN_DERIV);
        for (size_t s = 0; s < f->windows.step_count; s++) {
            long double slope, intercept;

            assert_int_equal(tide__bit(f->out_present, s), f->hi[s] - f->lo[s] >= 2);
            if (f->hi[s] - f->lo[s] < 2)
                continue;
            line_through(f, s, f->times_ms[f->lo[s]], &slope, &intercept);
            assert_true(fabsl(f->out[s] - slope) <= 1e-7L * (fabsl(slope) + 1));
        }
        fn_run(f, &e, TIDE_FN_PREDICT_LINEAR);
        for (size_t s = 0; s < f->windows.step_count; s++) {
            long double slope, intercept;

            assert_int_equal(tide__bit(f->out_present, s), f->hi[s] - f->lo[s] >= 2);
            if (f->hi[s] - f->lo[s] < 2)
                continue;
            line_through(f, s, f->step_ms[s], &slope, &intercept);
            intercept += slope * 3600;
            assert_true(fabsl(f->out[s] - intercept) <= 1e-6L * (fabsl(intercept) + 1e5L));
        }
    }
    fn_eval_deinit(&e);
    tide_mem_free(f);
}

static void test_fn_trend__regression_answers_known_examples(void **state)
{
    static const double reset[] = {0, 10, 20, 30, 40, 0, 10, 20, 30, 40, 50};
    static const double infinite[] = {-INFINITY, 0, 80};
    static const double only_infinite[] = {INFINITY, INFINITY};
    static const double constant[] = {0.1, 0.1, 0.1};
    struct fn_series *f = tide_mem_new(sizeof(*f));
    struct fn_eval e;

    (void)state;
    assert_non_null(f);
    fn_eval_init(&e, 1);
    fn_set_scalar(&e, 1, 3600);
    /* Every 5 minutes, the script's example; fn_over() uses 10 s. */
    f->count = 11;
    for (size_t i = 0; i < f->count; i++) {
        f->times_ms[i] = (int64_t)i * 300000;
        f->values[i] = reset[i];
    }
    fn_cut(f, 1, 3000000, 1000, 6000000, 0);
    fn_run(f, &e, TIDE_FN_DERIV);
    assert_true(fabs(f->out[0] - 0.010606060606060607) < 1e-15);
    fn_run(f, &e, TIDE_FN_PREDICT_LINEAR);
    assert_true(fabs(f->out[0] - 76.81818181818181) < 1e-9);
    assert_true(isnan(fn_over(f, &e, TIDE_FN_DERIV, infinite, 3)));
    assert_true(isnan(fn_over(f, &e, TIDE_FN_DERIV, only_infinite, 2)));
    assert_true(isnan(fn_over(f, &e, TIDE_FN_PREDICT_LINEAR, only_infinite, 2)));
    fn_assert_same(fn_over(f, &e, TIDE_FN_DERIV, constant, 3), 0);
    fn_assert_same(fn_over(f, &e, TIDE_FN_PREDICT_LINEAR, constant, 3), 0.1);
    fn_eval_deinit(&e);
    tide_mem_free(f);
}

/* ---- Smoothing: the recurrence with all levels and trends kept ---- */

static bool smoothing(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    const double *x = f->values + f->lo[s];
    size_t n = f->hi[s] - f->lo[s];
    double sf = e->scalars[1][s];
    double tf = e->scalars[2][s];
    double level[FN_SAMPLES_MAX];
    double trend[FN_SAMPLES_MAX];

    if (n < 2)
        return false;
    level[0] = x[0];
    trend[0] = x[1] - x[0];
    for (size_t i = 1; i < n; i++) {
        trend[i] = i == 1 ? trend[0] : tf * (level[i - 1] - level[i - 2]) + (1 - tf) * trend[i - 1];
        level[i] = sf * x[i] + (1 - sf) * (level[i - 1] + trend[i]);
    }
    *out = level[n - 1];
    return true;
}

static void test_fn_trend__smoothing_equals_the_recurrence(void **state)
{
    struct fn_eval e;

    (void)state;
    fn_eval_init(&e, FN_STEPS_MAX);
    fn_set_scalar(&e, 1, 0.3);
    fn_set_scalar(&e, 2, 0.7);
    fn_check_random(&e, TIDE_FN_DOUBLE_EXPONENTIAL_SMOOTHING, smoothing, 60);
    fn_eval_deinit(&e);
}

static void test_fn_trend__smoothing_refuses_factors_out_of_range(void **state)
{
    const struct tide__function *function = tide__function(TIDE_FN_DOUBLE_EXPONENTIAL_SMOOTHING);
    struct fn_eval e;

    (void)state;
    fn_eval_init(&e, 3);
    fn_set_scalar(&e, 1, 0.5);
    fn_set_scalar(&e, 2, 0.5);
    assert_int_equal(function->check(&e.call), TIDE_OK);
    e.scalars[2][2] = 1;
    assert_int_equal(function->check(&e.call), TIDE_ERR_EXECUTION);
    assert_string_equal(e.eval.diag.text,
                        "invalid trend factor. Expected: 0 < tf < 1, got: 1.000000");
    fn_eval_deinit(&e);
}

/* ---- Quantiles: sorted by the C library, NaN first ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    if (isnan(x) || isnan(y))
        return isnan(y) - isnan(x);
    return x < y ? -1 : x > y;
}

static double quantile_of(double q, const double *values, size_t count)
{
    double sorted[FN_SAMPLES_MAX];
    double rank = q * (double)(count - 1);
    double part = rank - floor(rank);
    size_t low = (size_t)rank;

    memcpy(sorted, values, count * sizeof(*values));
    qsort(sorted, count, sizeof(*sorted), compare);
    return sorted[low] * (1 - part) + sorted[low + 1 < count ? low + 1 : count - 1] * part;
}

static bool quantile(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    if (f->hi[s] > f->lo[s])
        *out = quantile_of(e->scalars[0][s], f->values + f->lo[s], f->hi[s] - f->lo[s]);
    return f->hi[s] > f->lo[s];
}

static bool mad(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    double distances[FN_SAMPLES_MAX];
    size_t n = f->hi[s] - f->lo[s];
    double median;

    (void)e;
    if (f->hi[s] <= f->lo[s])
        return false;
    median = quantile_of(0.5, f->values + f->lo[s], n);
    for (size_t i = 0; i < n; i++)
        distances[i] = fabs(f->values[f->lo[s] + i] - median);
    *out = quantile_of(0.5, distances, n);
    return true;
}

/* Zeros of both signs may change places: compare as numbers. */
static void check_quantiles(struct fn_series *f, struct fn_eval *e, enum tide_fn fn,
                            fn_definition definition)
{
    fn_run(f, e, fn);
    for (size_t s = 0; s < f->windows.step_count; s++) {
        double want = 0;
        bool present = definition(f, e, s, &want);

        assert_int_equal(tide__bit(f->out_present, s), present);
        if (present && f->out[s] != want)
            fn_assert_same(f->out[s], want);
    }
}

static void test_fn_trend__sliding_quantiles_equal_sorting_each_window(void **state)
{
    static const double quantiles[] = {0, 0.1, 0.5, 0.99, 1};
    struct fn_series *f = tide_mem_new(sizeof(*f));
    struct fn_eval e;

    (void)state;
    assert_non_null(f);
    fn_eval_init(&e, FN_STEPS_MAX);
    fn_random_state = 11;
    for (size_t round = 0; round < 60; round++) {
        fn_set_scalar(&e, 0, quantiles[round % 5]);
        fn_random_series(f, (enum fn_shape)(round % FN_SHAPES));
        fn_random_cut(f);
        check_quantiles(f, &e, TIDE_FN_QUANTILE_OVER_TIME, quantile);
        check_quantiles(f, &e, TIDE_FN_MAD_OVER_TIME, mad);
    }
    assert_int_equal(e.eval.notes.count, 0);
    fn_eval_deinit(&e);
    tide_mem_free(f);
}

static void test_fn_trend__quantile_warns_of_what_is_none(void **state)
{
    static const double values[] = {0, 1, 4};
    static const struct {
        double q;
        double want;
        const char *text;
    } examples[] = {
        {-1, -INFINITY, "quantile value should be between 0 and 1, got -1"},
        {2, INFINITY, "quantile value should be between 0 and 1, got 2"},
        {NAN, NAN, "quantile value should be between 0 and 1, got NaN"},
        {INFINITY, INFINITY, "quantile value should be between 0 and 1, got +Inf"},
    };
    struct fn_series *f = tide_mem_new(sizeof(*f));

    (void)state;
    assert_non_null(f);
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        struct fn_eval e;

        fn_eval_init(&e, 1);
        fn_set_scalar(&e, 0, examples[i].q);
        fn_assert_same(fn_over(f, &e, TIDE_FN_QUANTILE_OVER_TIME, values, 3), examples[i].want);
        assert_true(fn_was_noted(&e, false, examples[i].text));
        fn_eval_deinit(&e);
    }
    tide_mem_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fn_trend__counts_events_as_the_definition),
        cmocka_unit_test(test_fn_trend__regression_is_close_to_the_textbook),
        cmocka_unit_test(test_fn_trend__regression_answers_known_examples),
        cmocka_unit_test(test_fn_trend__smoothing_equals_the_recurrence),
        cmocka_unit_test(test_fn_trend__smoothing_refuses_factors_out_of_range),
        cmocka_unit_test(test_fn_trend__sliding_quantiles_equal_sorting_each_window),
        cmocka_unit_test(test_fn_trend__quantile_warns_of_what_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
