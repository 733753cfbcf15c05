/* Functions of one value, and of dates. */
#include "support_fn.h"

#include <time.h>

/* The value of a map function at one step; NAN with *present false when it was dropped. */
static double map(struct fn_eval *e, enum tide_fn fn, double v, bool *present)
{
    const struct tide__function *function = tide__function(fn);
    uint64_t bits = 1;

    assert_non_null(function);
    assert_non_null(function->map);
    function->map(&e->call, &v, &bits);
    *present = bits != 0;
    assert_int_equal(bits & ~(uint64_t)1, 0);
    return v;
}

struct known {
    enum tide_fn fn;
    double v;
    double want;
};

static void test_fn_math__answers_known_examples(void **state)
{
    static const struct known known[] = {
        {TIDE_FN_ABS, -2.5, 2.5},
        {TIDE_FN_ABS, -0.0, 0},
        {TIDE_FN_CEIL, -2.5, -2},
        {TIDE_FN_CEIL, INFINITY, INFINITY},
        {TIDE_FN_FLOOR, -2.5, -3},
        {TIDE_FN_SGN, -7, -1},
        {TIDE_FN_SGN, 7, 1},
        {TIDE_FN_SGN, -0.0, -0.0},
        {TIDE_FN_SGN, NAN, NAN},
        {TIDE_FN_SQRT, -1, NAN},
        {TIDE_FN_SQRT, 2, 1.4142135623730951},
        {TIDE_FN_EXP, 0, 1},
        {TIDE_FN_EXP, -INFINITY, 0},
        {TIDE_FN_LN, -10, NAN},
        {TIDE_FN_LN, 0, -INFINITY},
        {TIDE_FN_LN, 10, 2.302585092994046},
        {TIDE_FN_LOG2, 8, 3},
        {TIDE_FN_LOG2, -1, NAN},
        {TIDE_FN_LOG10, 0.01, -2},
        {TIDE_FN_LOG10, INFINITY, INFINITY},
        {TIDE_FN_SIN, INFINITY, NAN},
        {TIDE_FN_COS, 10, -0.8390715290764524},
        {TIDE_FN_TAN, 0, 0},
        {TIDE_FN_ASIN, 1.5, NAN},
        {TIDE_FN_ACOS, 1, 0},
        {TIDE_FN_ATAN, 10, 1.4711276743037345},
        {TIDE_FN_SINH, 0, 0},
        {TIDE_FN_COSH, 0, 1},
        {TIDE_FN_TANH, INFINITY, 1},
        {TIDE_FN_ASINH, 10, 2.99822295029797},
        {TIDE_FN_ACOSH, 0.5, NAN},
        {TIDE_FN_ATANH, 1, INFINITY},
        {TIDE_FN_RAD, 10, 0.17453292519943295},
        {TIDE_FN_DEG, 10, 572.9577951308232},
    };
    struct fn_eval e;

    (void)state;
    fn_eval_init(&e, 1);
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        bool present;
        double got = map(&e, known[i].fn, known[i].v, &present);

        assert_true(present);
        /* The C library's last bit may be another than Go's. */
        if (!isfinite(known[i].want) || known[i].want == 0)
            fn_assert_same(got, known[i].want);
        else
            assert_true(fabs(got - known[i].want) <= fabs(known[i].want) * 0x1p-51);
    }
    fn_eval_deinit(&e);
}

static void test_fn_math__rounds_ties_up_to_any_multiple(void **state)
{
    static const struct {
        double v;
        double to;
        double want;
    } examples[] = {
        {2.5, 1, 3},      {-2.5, 1, -2},     {0.49999999999999994, 1, 1},
        {-0.0, 1, 0},     {1234, 100, 1200}, {5, 2, 6},
        {0.65, 0.1, 0.7}, {NAN, 1, NAN},     {INFINITY, 5, INFINITY},
        {7, 0, NAN},
    };
    struct fn_eval e;

    (void)state;
    fn_eval_init(&e, 1);
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        bool present;

        fn_set_scalar(&e, 1, examples[i].to);
        fn_assert_same(map(&e, TIDE_FN_ROUND, examples[i].v, &present), examples[i].want);
    }
    e.call.arg_count = 1;
    for (size_t i = 0; i < 4; i++) {
        bool present;

        fn_assert_same(map(&e, TIDE_FN_ROUND, examples[i].v, &present), examples[i].want);
    }
    fn_eval_deinit(&e);
}

static void test_fn_math__clamps_as_go_does(void **state)
{
    static const struct {
        double v;
        double min;
        double max;
        double want; /* 99: dropped. */
    } examples[] = {
        {5, 0, 3, 3},
        {-5, 0, 3, 0},
        {2, 0, 3, 2},
        {2, 3, 0, 99},
        {2, NAN, 3, NAN},
        {2, 0, NAN, NAN},
        {NAN, 0, 3, NAN},
        {INFINITY, 0, 3, 3},
        {-0.0, 0, 3, 0},
        {0.0, -1, -0.0, -0.0},
        {NAN, INFINITY, INFINITY, INFINITY},
    };
    struct fn_eval e;

    (void)state;
    fn_eval_init(&e, 1);
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        bool present;
        double got;

        fn_set_scalar(&e, 1, examples[i].min);
        fn_set_scalar(&e, 2, examples[i].max);
        got = map(&e, TIDE_FN_CLAMP, examples[i].v, &present);
        assert_int_equal(present, examples[i].want != 99);
        if (present)
            fn_assert_same(got, examples[i].want);
    }
    fn_set_scalar(&e, 1, 4);
    for (int i = 0; i < 8; i++) {
        double v = i;
        bool present;

        fn_assert_same(map(&e, TIDE_FN_CLAMP_MIN, v, &present), v < 4 ? 4 : v);
        assert_true(present);
        fn_assert_same(map(&e, TIDE_FN_CLAMP_MAX, v, &present), v > 4 ? 4 : v);
        assert_true(present);
    }
    fn_eval_deinit(&e);
}

/* ---- Dates ---- */

static void check_date(struct fn_eval *e, int64_t seconds)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    time_t t = (time_t)seconds;
    struct tm tm;
    bool present;
    int year;
    bool leap;

    assert_non_null(gmtime_r(&t, &tm));
    year = tm.tm_year + 1900;
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    fn_assert_same(map(e, TIDE_FN_MINUTE, (double)seconds, &present), tm.tm_min);
    fn_assert_same(map(e, TIDE_FN_HOUR, (double)seconds, &present), tm.tm_hour);
    fn_assert_same(map(e, TIDE_FN_DAY_OF_WEEK, (double)seconds, &present), tm.tm_wday);
    fn_assert_same(map(e, TIDE_FN_DAY_OF_MONTH, (double)seconds, &present), tm.tm_mday);
    fn_assert_same(map(e, TIDE_FN_DAY_OF_YEAR, (double)seconds, &present), tm.tm_yday + 1);
    fn_assert_same(map(e, TIDE_FN_MONTH, (double)seconds, &present), tm.tm_mon + 1);
    fn_assert_same(map(e, TIDE_FN_YEAR, (double)seconds, &present), year);
    fn_assert_same(map(e, TIDE_FN_DAYS_IN_MONTH, (double)seconds, &present),
                   lengths[tm.tm_mon] + (tm.tm_mon == 1 && leap ? 1 : 0));
}

static void test_fn_date__equals_the_c_library(void **state)
{
    struct fn_eval e;

    (void)state;
    fn_eval_init(&e, 1);
    fn_random_state = 3;
    /* Each day of two cycles of the calendar around 1970, then any second of years -20000 to
     * 20000. */
    for (int64_t day = -146097; day < 146097; day += 1 + (int64_t)fn_random_below(3))
        check_date(&e, day * 86400 + (int64_t)fn_random_below(86400));
    for (size_t i = 0; i < 20000; i++)
        check_date(&e, (int64_t)fn_random_below(1260000000000) - 630000000000);
    fn_eval_deinit(&e);
}

/* What no calendar has is what Go makes of it. */
static void test_fn_date__answers_for_every_float(void **state)
{
    static const double values[] = {NAN, INFINITY, -INFINITY, 1e300, -0x1p63};
    struct fn_eval e;
    bool present;

    (void)state;
    fn_eval_init(&e, 1);
    for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
        fn_assert_same(map(&e, TIDE_FN_YEAR, values[i], &present), 292277026596);
        assert_true(present);
    }
    fn_assert_same(map(&e, TIDE_FN_YEAR, 9223372036854774784.0, &present), 292277026596);
    fn_assert_same(map(&e, TIDE_FN_MINUTE, -0.9, &present), 0);
    fn_assert_same(map(&e, TIDE_FN_MINUTE, 119.9, &present), 1);
    fn_eval_deinit(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fn_math__answers_known_examples),
        cmocka_unit_test(test_fn_math__rounds_ties_up_to_any_multiple),
        cmocka_unit_test(test_fn_math__clamps_as_go_does),
        cmocka_unit_test(test_fn_date__equals_the_c_library),
        cmocka_unit_test(test_fn_date__answers_for_every_float),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
