/* Every script in test/scripts, with one thread and with several. */
#include "support_script.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct tide_engine *engines[2];

static int setup(void **state)
{
    (void)state;
    if (tide_engine_new(&(struct tide_engine_options){.threads = 1}, &engines[0]) != TIDE_OK ||
        tide_engine_new(&(struct tide_engine_options){.threads = 3}, &engines[1]) != TIDE_OK)
        return 1;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    tide_engine_free(engines[0]);
    tide_engine_free(engines[1]);
    return 0;
}

static void run(const char *path, size_t queries_min)
{
    assert_true(support_script_run(path, engines, 2) >= queries_min);
}

static void test_selector__answers_the_last_sample_in_reach(void **state)
{
    (void)state;
    run("test/scripts/selector.txt", 20);
}

static void test_aggregation__folds_groups(void **state)
{
    (void)state;
    run("test/scripts/aggregation.txt", 25);
}

static void test_binary__matches_series(void **state)
{
    (void)state;
    run("test/scripts/binary.txt", 30);
}

static void test_subquery__evaluates_at_absolute_steps(void **state)
{
    (void)state;
    run("test/scripts/subquery.txt", 8);
}

static void test_function__is_called_by_the_evaluator(void **state)
{
    (void)state;
    run("test/scripts/function.txt", 30);
}

static void test_histogram__is_a_value_like_a_float(void **state)
{
    (void)state;
    run("test/scripts/histogram.txt", 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_selector__answers_the_last_sample_in_reach),
        cmocka_unit_test(test_aggregation__folds_groups),
        cmocka_unit_test(test_binary__matches_series),
        cmocka_unit_test(test_subquery__evaluates_at_absolute_steps),
        cmocka_unit_test(test_function__is_called_by_the_evaluator),
        cmocka_unit_test(test_histogram__is_a_value_like_a_float),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
