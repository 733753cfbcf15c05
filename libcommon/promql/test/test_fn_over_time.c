/* *_over_time: against definitions written another way, and known results. */
#include "support_fn.h"

#include <stdlib.h>

/* ---- Definitions ---- */

/* Neumaier's sum, the error term by Knuth's TwoSum, which is as exact. */
static void add(double *sum, double *lost, double v)
{
    double t = *sum + v;
    double z = t - *sum;

    *lost = isinf(t) ? 0 : *lost + ((*sum - (t - z)) + (v - z));
    *sum = t;
}

static bool sum(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    double total = 0;
    double lost = 0;

    (void)e;
    for (size_t i = f->lo[s]; i < f->hi[s]; i++)
        add(&total, &lost, f->values[i]);
    *out = isinf(total) ? total : total + lost;
    return f->hi[s] > f->lo[s];
}

static bool avg(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    bool incremental = false;
    double n = 0;
    double total = 0;
    double mean = 0;
    double lost = 0;

    (void)e;
    for (size_t i = f->lo[s]; i < f->hi[s]; i++) {
        double new_total = total;
        double new_lost = lost;

        n++;
        if (n == 1) {
            total = f->values[i];
            continue;
        }
        if (!incremental) {
            add(&new_total, &new_lost, f->values[i]);
            if (!isinf(new_total)) {
                total = new_total;
                lost = new_lost;
                continue;
            }
            incremental = true;
            mean = total / (n - 1);
            lost /= n - 1;
        }
        mean *= (n - 1) / n;
        lost *= (n - 1) / n;
        add(&mean, &lost, f->values[i] / n);
    }
    *out = incremental ? mean + lost : total / n + lost / n;
    return f->hi[s] > f->lo[s];
}

static int compare_ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The window without NaN, in order; answers how many. */
static size_t numbers(const struct fn_series *f, size_t s, double *out)
{
    size_t count = 0;

    for (size_t i = f->lo[s]; i < f->hi[s]; i++)
        if (!isnan(f->values[i]))
            out[count++] = f->values[i];
    qsort(out, count, sizeof(*out), compare_ascending);
    return count;
}

/* Zeros of both signs are equal: which one comes out is the oldest. */
static double oldest_equal(const struct fn_series *f, size_t s, double v)
{
    for (size_t i = f->lo[s]; i < f->hi[s]; i++)
        if (f->values[i] == v)
            return f->values[i];
    return v;
}

static bool min(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    double sorted[FN_SAMPLES_MAX];
    size_t count = numbers(f, s, sorted);

    (void)e;
    *out = count == 0 ? NAN : oldest_equal(f, s, sorted[0]);
    return f->hi[s] > f->lo[s];
}

static bool max(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    double sorted[FN_SAMPLES_MAX];
    size_t count = numbers(f, s, sorted);

    (void)e;
    *out = count == 0 ? NAN : oldest_equal(f, s, sorted[count - 1]);
    return f->hi[s] > f->lo[s];
}

/* The last sample that equals the extreme; all NaN: the last sample. */
static double last_time_of(const struct fn_series *f, size_t s, double v)
{
    for (size_t i = f->hi[s]; i > f->lo[s]; i--)
        if (f->values[i - 1] == v || isnan(v))
            return (double)f->times_ms[i - 1] / 1000;
    return -1;
}

static bool ts_of_min(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    bool present = min(f, e, s, out);

    *out = last_time_of(f, s, *out);
    return present;
}

static bool ts_of_max(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    bool present = max(f, e, s, out);

    *out = last_time_of(f, s, *out);
    return present;
}

static bool count(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    *out = 0;
    for (size_t i = 0; i < f->count; i++)
        *out += f->times_ms[i] > f->start_ms[s] && f->times_ms[i] <= f->end_ms[s];
    return *out > 0;
}

static bool present(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    bool any = count(f, e, s, out);

    *out = 1;
    return any;
}

static bool first(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    *out = f->values[f->lo[s] < f->count ? f->lo[s] : 0];
    return f->hi[s] > f->lo[s];
}

static bool last(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    *out = f->values[f->hi[s] > 0 ? f->hi[s] - 1 : 0];
    return f->hi[s] > f->lo[s];
}

static bool ts_of_first(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    *out = (double)f->times_ms[f->lo[s] < f->count ? f->lo[s] : 0] / 1000;
    return f->hi[s] > f->lo[s];
}

static bool ts_of_last(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    *out = (double)f->times_ms[f->hi[s] > 0 ? f->hi[s] - 1 : 0] / 1000;
    return f->hi[s] > f->lo[s];
}

static bool stdvar(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    double n = 0;
    double mean = 0;
    double mean_lost = 0;
    double squares = 0;
    double squares_lost = 0;

    (void)e;
    for (size_t i = f->lo[s]; i < f->hi[s]; i++) {
        double from_mean = f->values[i] - (mean + mean_lost);

        n++;
        add(&mean, &mean_lost, from_mean / n);
        add(&squares, &squares_lost, from_mean * (f->values[i] - (mean + mean_lost)));
    }
    *out = (squares + squares_lost) / n;
    return f->hi[s] > f->lo[s];
}

static bool stddev(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    bool any = stdvar(f, e, s, out);

    *out = sqrt(*out);
    return any;
}

static void test_fn_over_time__equals_the_definition_to_the_bit(void **state)
{
    static const struct {
        enum tide_fn fn;
        fn_definition definition;
    } functions[] = {
        {TIDE_FN_SUM_OVER_TIME, sum},
        {TIDE_FN_AVG_OVER_TIME, avg},
        {TIDE_FN_MIN_OVER_TIME, min},
        {TIDE_FN_MAX_OVER_TIME, max},
        {TIDE_FN_COUNT_OVER_TIME, count},
        {TIDE_FN_PRESENT_OVER_TIME, present},
        {TIDE_FN_FIRST_OVER_TIME, first},
        {TIDE_FN_LAST_OVER_TIME, last},
        {TIDE_FN_STDVAR_OVER_TIME, stdvar},
        {TIDE_FN_STDDEV_OVER_TIME, stddev},
        {TIDE_FN_TS_OF_FIRST_OVER_TIME, ts_of_first},
        {TIDE_FN_TS_OF_LAST_OVER_TIME, ts_of_last},
        {TIDE_FN_TS_OF_MIN_OVER_TIME, ts_of_min},
        {TIDE_FN_TS_OF_MAX_OVER_TIME, ts_of_max},
    };
    struct fn_eval e;

    (void)state;
    fn_eval_init(&e, FN_STEPS_MAX);
    for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++)
        fn_check_random(&e, functions[i].fn, functions[i].definition, 60);
    fn_eval_deinit(&e);
}

/* Four windows at a time against one at a time, all values float64 has. */
static void test_fn_over_time__avx2_equals_scalar_to_the_bit(void **state)
{
    struct fn_series *f = tide_mem_new(sizeof(*f));

    (void)state;
    assert_non_null(f);
    fn_random_state = 77;
    for (size_t round = 0; round < 400; round++) {
        fn_random_series(f, (enum fn_shape)(round % FN_SHAPES));
        fn_random_cut(f);
        for (int r = TIDE__REDUCE_SUM; r <= TIDE__REDUCE_MAX; r++) {
            if (!tide__windows_reduce_avx2((enum tide__reduction)r, &f->windows, f->values,
                                           f->out)) {
                tide_mem_free(f);
                skip(); /* This processor has none. */
            }
            for (size_t s = 0; s < f->windows.step_count; s++)
                if (f->hi[s] > f->lo[s])
                    fn_assert_same(f->out[s],
                                   tide__window_reduce((enum tide__reduction)r,
                                                       f->values + f->lo[s], f->hi[s] - f->lo[s]));
        }
    }
    tide_mem_free(f);
}

/* ---- Known results ---- */

struct known {
    enum tide_fn fn;
    double want;
    size_t count;
    double values[12];
};

static void test_fn_over_time__answers_known_examples(void **state)
{
    static const struct known known[] = {
        {TIDE_FN_SUM_OVER_TIME, 2, 4, {1, 1e100, 1, -1e100}},
        {TIDE_FN_AVG_OVER_TIME, 0.5, 4, {1, 1e100, 1, -1e100}},
        {TIDE_FN_AVG_OVER_TIME, 0, 2, {1.7e308, -1.7e308}},
        {TIDE_FN_AVG_OVER_TIME, 1.7e308, 3, {1.7e308, 1.7e308, 1.7e308}},
        {TIDE_FN_AVG_OVER_TIME, INFINITY, 3, {1, INFINITY, 2}},
        {TIDE_FN_AVG_OVER_TIME, NAN, 3, {INFINITY, 1, -INFINITY}},
        {TIDE_FN_SUM_OVER_TIME, INFINITY, 3, {1e308, 1e308, -1e308}},
        {TIDE_FN_AVG_OVER_TIME,
         0,
         10,
         {-2.258E+220, -1.78264E+219, 0.76342771, 1.9592258, 2.3757689E+217, -2.3757689E+217,
          2.258E+220, 7.69805412, 1.78264E+219, -458.90154}},
        {TIDE_FN_STDVAR_OVER_TIME, 10.56, 5, {0, 8, 8, 2, 3}},
        {TIDE_FN_STDDEV_OVER_TIME,
         0,
         3,
         {1.5990505637277868, 1.5990505637277868, 1.5990505637277868}},
        {TIDE_FN_MIN_OVER_TIME, 0, 3, {NAN, 0, 1}},
        {TIDE_FN_MAX_OVER_TIME, 2, 3, {2, NAN, 1}},
        {TIDE_FN_MAX_OVER_TIME, NAN, 3, {NAN, NAN, NAN}},
        {TIDE_FN_TS_OF_MIN_OVER_TIME, 30, 5, {1, 0, 3, 0, 5}},
        {TIDE_FN_TS_OF_MAX_OVER_TIME, 20, 4, {1, 6, 6, 2}},
        {TIDE_FN_RESETS, 3, 10, {1, 2, 3, 0, 1, 0, 0, 1, 2, 0}},
        {TIDE_FN_CHANGES, 7, 9, {2, 3, 0, 1, 0, 0, 1, 2, 0}},
        {TIDE_FN_CHANGES, 2, 5, {NAN, NAN, 1, NAN, NAN}},
        {TIDE_FN_RESETS, 0, 3, {2, NAN, 1}},
    };
    struct fn_series *f = tide_mem_new(sizeof(*f));
    struct fn_eval e;

    (void)state;
    assert_non_null(f);
    fn_eval_init(&e, 1);
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        double got = fn_over(f, &e, known[i].fn, known[i].values, known[i].count);

        if (known[i].fn == TIDE_FN_RESETS || known[i].fn == TIDE_FN_CHANGES ||
            known[i].fn == TIDE_FN_STDVAR_OVER_TIME)
            assert_true(fabs(got - known[i].want) < 1e-12);
        else
            fn_assert_same(got, known[i].want);
    }
    fn_eval_deinit(&e);
    tide_mem_free(f);
}

/* The compensated mean of one number repeated is that number. */
static void test_fn_over_time__mean_of_equal_values_is_exact(void **state)
{
    struct fn_series *f = tide_mem_new(sizeof(*f));
    struct fn_eval e;

    (void)state;
    assert_non_null(f);
    fn_eval_init(&e, 1);
    for (size_t n = 1; n <= 12; n++) {
        double values[12];

        for (size_t i = 0; i < n; i++)
            values[i] = 52;
        fn_assert_same(fn_over(f, &e, TIDE_FN_AVG_OVER_TIME, values, n), 52);
    }
    fn_eval_deinit(&e);
    tide_mem_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fn_over_time__equals_the_definition_to_the_bit),
        cmocka_unit_test(test_fn_over_time__avx2_equals_scalar_to_the_bit),
        cmocka_unit_test(test_fn_over_time__answers_known_examples),
        cmocka_unit_test(test_fn_over_time__mean_of_equal_values_is_exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
