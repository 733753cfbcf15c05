/* rate, increase, delta, irate, idelta: examples by hand, and every bit against the definition. */
#include "support_fn.h"

/* ---- The definition: one window at a time, nothing prepared ---- */

static bool extrapolated(const struct fn_series *f, size_t s, bool counter, bool per_second,
                         double *out)
{
    const double *v = f->values + f->lo[s];
    const int64_t *t = f->times_ms + f->lo[s];
    size_t n = f->hi[s] - f->lo[s];
    double result, to_start, to_end, sampled, average, factor;

    if (n < 2)
        return false;
    result = v[n - 1] - v[0];
    for (size_t i = 1; counter && i < n; i++)
        if (v[i] < v[i - 1])
            result += v[i - 1];
    to_start = (double)(t[0] - f->start_ms[s]) / 1000;
    to_end = (double)(f->end_ms[s] - t[n - 1]) / 1000;
    sampled = (double)(t[n - 1] - t[0]) / 1000;
    average = sampled / (double)(n - 1);
    if (to_start >= average * 1.1)
        to_start = average / 2;
    if (counter && result > 0 && v[0] >= 0 && sampled * (v[0] / result) < to_start)
        to_start = sampled * (v[0] / result);
    if (to_end >= average * 1.1)
        to_end = average / 2;
    factor = (sampled + to_start + to_end) / sampled;
    if (per_second)
        factor /= (double)f->windows.range_ms / 1000;
    *out = result * factor;
    return true;
}

static bool rate(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    return extrapolated(f, s, true, true, out);
}

static bool increase(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    return extrapolated(f, s, true, false, out);
}

static bool delta(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    return extrapolated(f, s, false, false, out);
}

static bool irate(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    uint32_t last = f->hi[s] - 1;
    double rise;

    (void)e;
    if (f->hi[s] - f->lo[s] < 2)
        return false;
    rise = f->values[last] - f->values[last - 1];
    if (f->values[last] < f->values[last - 1])
        rise = f->values[last];
    *out = rise / ((double)(f->times_ms[last] - f->times_ms[last - 1]) / 1000);
    return true;
}

static bool idelta(const struct fn_series *f, const struct fn_eval *e, size_t s, double *out)
{
    (void)e;
    if (f->hi[s] - f->lo[s] < 2)
        return false;
    *out = f->values[f->hi[s] - 1] - f->values[f->hi[s] - 2];
    return true;
}

static void check(enum tide_fn fn, fn_definition definition)
{
    struct fn_eval e;

    fn_eval_init(&e, FN_STEPS_MAX);
    fn_check_random(&e, fn, definition, 300);
    fn_eval_deinit(&e);
}

static void test_fn_rate__equals_the_definition_to_the_bit(void **state)
{
    (void)state;
    check(TIDE_FN_RATE, rate);
    check(TIDE_FN_INCREASE, increase);
    check(TIDE_FN_DELTA, delta);
    check(TIDE_FN_IRATE, irate);
    check(TIDE_FN_IDELTA, idelta);
}

/* Counters that begin at nearly nothing in nearly every window, so that the zero point decides. */
static void test_fn_rate__clamps_at_the_zero_point_as_the_definition(void **state)
{
    struct fn_series *f = tide_mem_new(sizeof(*f));
    struct fn_eval e;

    (void)state;
    assert_non_null(f);
    fn_eval_init(&e, FN_STEPS_MAX);
    for (size_t round = 0; round < 300; round++) {
        fn_random_series(f, FN_COUNTER);
        for (size_t i = 0; i < f->count; i++)
            f->values[i] = i % 6 == 0 ? ldexp(fn_random_unit(), -(int)fn_random_below(1070))
                                      : f->values[i - 1] +
                                            ldexp(fn_random_unit(), 4 - (int)fn_random_below(1070));
        fn_random_cut(f);
        fn_run(f, &e, TIDE_FN_RATE);
        fn_check(f, &e, rate);
        fn_run(f, &e, TIDE_FN_INCREASE);
        fn_check(f, &e, increase);
    }
    fn_eval_deinit(&e);
    tide_mem_free(f);
}

/* ---- By hand ---- */

static void load(struct fn_series *f, int64_t step_ms, const double *values, size_t count)
{
    f->count = 0;
    for (size_t i = 0; i < count; i++) {
        if (isnan(values[i]))
            continue; /* A gap. */
        f->times_ms[f->count] = (int64_t)i * step_ms;
        f->values[f->count++] = values[i];
    }
}

enum reach { PLAIN, ANCHORED, SMOOTHED };

struct example {
    enum tide_fn fn;
    enum reach reach;
    int64_t at_ms;
    int64_t range_ms;
    double want; /* NaN: no answer. */
};

static void check_examples(int64_t step_ms, const double *values, size_t count,
                           const struct example *examples, size_t example_count)
{
    struct fn_series *f = tide_mem_new(sizeof(*f));
    struct fn_eval e;

    assert_non_null(f);
    fn_eval_init(&e, 1);
    load(f, step_ms, values, count);
    for (size_t i = 0; i < example_count; i++) {
        const struct example *x = &examples[i];
        bool present;

        e.selector_expr.u.selector.anchored = x->reach == ANCHORED;
        e.selector_expr.u.selector.smoothed = x->reach == SMOOTHED;
        fn_cut(f, 1, x->at_ms, 1000, x->range_ms, 0);
        fn_run(f, &e, x->fn);
        present = tide__bit(f->out_present, 0);
        if (present == isnan(x->want) || (present && fabs(f->out[0] - x->want) > 1e-6))
            fail_msg("example %zu: %d %.17g", i, present, f->out[0]);
    }
    fn_eval_deinit(&e);
    tide_mem_free(f);
}

#define CHECK_EXAMPLES(step_ms, values, examples)                                                  \
    check_examples(step_ms, values, sizeof(values) / sizeof(*(values)), examples,                  \
                   sizeof(examples) / sizeof(*(examples)))

static void test_fn_rate__answers_known_examples(void **state)
{
    static const double whole[] = {1, 2, 3, 4, 5, 9, 10, 11, 12, 13};
    static const struct example of_whole[] = {
        {TIDE_FN_INCREASE, PLAIN, 5000, 60000, NAN},
        {TIDE_FN_INCREASE, PLAIN, 35000, 60000, 2.833333333},
        {TIDE_FN_INCREASE, PLAIN, 65000, 60000, 4},
        {TIDE_FN_INCREASE, PLAIN, 95000, 60000, 8},
        {TIDE_FN_INCREASE, PLAIN, 125000, 60000, 4},
    };
    static const double gaps[] = {1, 2, 3, NAN, NAN, 9, 10, 11, 12, 13};
    static const struct example of_gaps[] = {
        {TIDE_FN_INCREASE, PLAIN, 65000, 60000, 2.166666666},
        {TIDE_FN_INCREASE, PLAIN, 95000, 60000, 1.833333333},
        {TIDE_FN_INCREASE, PLAIN, 125000, 60000, 4},
    };

    (void)state;
    CHECK_EXAMPLES(15000, whole, of_whole);
    CHECK_EXAMPLES(15000, gaps, of_gaps);
}

static void test_fn_rate__anchored_and_smoothed_reach_outside_the_window(void **state)
{
    static const double whole[] = {1, 2, 3, 4, 5, 9, 10, 11, 12, 13};
    static const struct example of_whole[] = {
        {TIDE_FN_INCREASE, ANCHORED, 20000, 60000, 1},
        {TIDE_FN_INCREASE, ANCHORED, 50000, 60000, 3},
        {TIDE_FN_INCREASE, ANCHORED, 80000, 60000, 7},
        {TIDE_FN_INCREASE, ANCHORED, 110000, 60000, 7},
        {TIDE_FN_INCREASE, SMOOTHED, 5000, 60000, 0.333333333},
        {TIDE_FN_INCREASE, SMOOTHED, 35000, 60000, 2.333333333},
        {TIDE_FN_INCREASE, SMOOTHED, 65000, 60000, 5},
        {TIDE_FN_INCREASE, SMOOTHED, 95000, 60000, 7},
        {TIDE_FN_INCREASE, SMOOTHED, 125000, 60000, 6},
    };
    static const double gaps[] = {1, 2, 3, NAN, NAN, 9, 10, 11, 12, 13};
    static const struct example of_gaps[] = {
        {TIDE_FN_INCREASE, ANCHORED, 50000, 60000, 2},
        {TIDE_FN_INCREASE, ANCHORED, 80000, 60000, 7},
        {TIDE_FN_INCREASE, ANCHORED, 110000, 60000, 8},
        {TIDE_FN_INCREASE, SMOOTHED, 35000, 60000, 2.666666666},
        {TIDE_FN_INCREASE, SMOOTHED, 65000, 60000, 6.333333333},
        {TIDE_FN_INCREASE, SMOOTHED, 95000, 60000, 6.666666666},
        {TIDE_FN_INCREASE, SMOOTHED, 125000, 60000, 4.666666666},
    };
    static const double reset[] = {100, 10};
    static const struct example of_reset[] = {
        {TIDE_FN_RATE, SMOOTHED, 12000, 10000, 0.666666666666667},
    };
    static const double falling[] = {9, 8, 5, 4};
    static const struct example of_falling[] = {
        {TIDE_FN_INCREASE, SMOOTHED, 135000, 120000, 12},
        {TIDE_FN_DELTA, ANCHORED, 90000, 60000, -1},
    };
    static const double late[] = {NAN, 5, 6, 7, 8, 9};
    static const struct example of_late[] = {
        {TIDE_FN_RATE, SMOOTHED, 5000, 5000, NAN},
        {TIDE_FN_INCREASE, SMOOTHED, 15000, 10000, 0.5},
        {TIDE_FN_RATE, SMOOTHED, 60000, 5000, NAN},
    };
    static const double events[] = {2, 1, 2, 1, 2, 1};
    static const struct example of_events[] = {
        {TIDE_FN_RESETS, ANCHORED, 180000, 60000, 1},
        {TIDE_FN_CHANGES, ANCHORED, 180000, 60000, 1},
        {TIDE_FN_RESETS, PLAIN, 180000, 60000, 0},
        {TIDE_FN_CHANGES, ANCHORED, 1000000, 60000, NAN},
    };

    (void)state;
    CHECK_EXAMPLES(15000, whole, of_whole);
    CHECK_EXAMPLES(15000, gaps, of_gaps);
    CHECK_EXAMPLES(15000, reset, of_reset);
    CHECK_EXAMPLES(60000, falling, of_falling);
    CHECK_EXAMPLES(10000, late, of_late);
    CHECK_EXAMPLES(60000, events, of_events);
}

/* A sample farther before the window than the lookback says nothing about its start. */
static void test_fn_rate__anchored_does_not_reach_past_the_lookback(void **state)
{
    struct fn_series *f = tide_mem_new(sizeof(*f));
    struct fn_eval e;

    (void)state;
    assert_non_null(f);
    fn_eval_init(&e, 1);
    e.selector_expr.u.selector.anchored = true;
    f->count = 2;
    f->times_ms[1] = 1000000;
    f->values[1] = 7;
    fn_cut(f, 1, 1000000, 1000, 60000, 0);
    f->times_ms[0] = 940000 - 300000;
    fn_run(f, &e, TIDE_FN_INCREASE);
    fn_assert_same(f->out[0], 0);
    f->times_ms[0]++;
    fn_run(f, &e, TIDE_FN_INCREASE);
    fn_assert_same(f->out[0], 7);
    fn_eval_deinit(&e);
    tide_mem_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fn_rate__equals_the_definition_to_the_bit),
        cmocka_unit_test(test_fn_rate__clamps_at_the_zero_point_as_the_definition),
        cmocka_unit_test(test_fn_rate__answers_known_examples),
        cmocka_unit_test(test_fn_rate__anchored_and_smoothed_reach_outside_the_window),
        cmocka_unit_test(test_fn_rate__anchored_does_not_reach_past_the_lookback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
