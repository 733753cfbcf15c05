#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/model/source.h"

#include "tide/base/clock.h"

#include <pthread.h>

static void test_query_limits__no_limits_allow_all(void **state)
{
    struct tide_query_limits none = {0};

    (void)state;
    assert_int_equal(tide_query_check(NULL), TIDE_OK);
    assert_int_equal(tide_query_charge(NULL, INT64_MAX), TIDE_OK);
    assert_int_equal(tide_query_count_samples(NULL, UINT64_MAX), TIDE_OK);
    assert_int_equal(tide_query_count_series(NULL, UINT64_MAX), TIDE_OK);
    assert_int_equal(tide_query_check(&none), TIDE_OK);
    assert_int_equal(tide_query_charge(&none, INT64_MAX), TIDE_OK);
    assert_int_equal(tide_query_count_samples(&none, 1u << 30), TIDE_OK);
}

static void test_query_limits__stop_a_query_that_is_late_or_canceled(void **state)
{
    struct tide_query_limits limits = {.deadline_mono_ms = tide_clock_mono_ms() + 100000};

    (void)state;
    assert_int_equal(tide_query_check(&limits), TIDE_OK);
    limits.deadline_mono_ms = tide_clock_mono_ms() - 1;
    assert_int_equal(tide_query_check(&limits), TIDE_ERR_TIMEOUT);
    atomic_store(&limits.canceled, true);
    assert_int_equal(tide_query_check(&limits), TIDE_ERR_CANCELED);
}

static void test_query_limits__charge_up_to_the_bound_and_keep_the_peak(void **state)
{
    struct tide_query_limits limits = {.memory_bytes_max = 100};

    (void)state;
    assert_int_equal(tide_query_charge(&limits, 60), TIDE_OK);
    assert_int_equal(tide_query_charge(&limits, 41), TIDE_ERR_LIMIT); /* Charges nothing. */
    assert_int_equal(tide_query_charge(&limits, INT64_MAX), TIDE_ERR_LIMIT);
    assert_int_equal(limits.memory_bytes, 60);
    assert_int_equal(tide_query_charge(&limits, 40), TIDE_OK);
    assert_int_equal(tide_query_charge(&limits, -90), TIDE_OK);
    assert_int_equal(limits.memory_bytes, 10);
    assert_int_equal(limits.memory_peak_bytes, 100);
    assert_int_equal(tide_query_charge(&limits, 20), TIDE_OK);
    assert_int_equal(limits.memory_peak_bytes, 100);
}

static void test_query_limits__charge_what_all_queries_share(void **state)
{
    struct tide_query_budget budget = {.memory_bytes_max = 100};
    struct tide_query_limits a = {.memory_bytes_max = 80, .budget = &budget};
    struct tide_query_limits b = {.budget = &budget};

    (void)state;
    assert_int_equal(tide_query_charge(&a, 70), TIDE_OK);
    assert_int_equal(tide_query_charge(&b, 31), TIDE_ERR_LIMIT); /* Charges neither. */
    assert_int_equal(b.memory_bytes, 0);
    assert_int_equal(b.memory_peak_bytes, 0);
    assert_int_equal(budget.memory_bytes, 70);
    assert_int_equal(b.refused_bytes, 31);
    assert_int_equal(b.refused_budget_bytes, 70);
    assert_int_equal(tide_query_charge(&b, 30), TIDE_OK);
    assert_int_equal(tide_query_charge(&a, -70), TIDE_OK);
    assert_int_equal(budget.memory_bytes, 30);
    assert_int_equal(tide_query_charge(&a, 81), TIDE_ERR_LIMIT); /* Its own bound. */
    assert_int_equal(budget.memory_bytes, 30);
    assert_int_equal(tide_query_charge(&b, 70), TIDE_OK);
    assert_int_equal(budget.memory_bytes, 100);
}

static void test_query_limits__count_samples_and_series(void **state)
{
    struct tide_query_limits limits = {.samples_max = 10, .series_max = 2};

    (void)state;
    assert_int_equal(tide_query_count_samples(&limits, 10), TIDE_OK);
    assert_int_equal(tide_query_count_samples(&limits, 1), TIDE_ERR_LIMIT);
    assert_int_equal(tide_query_count_series(&limits, 2), TIDE_OK);
    assert_int_equal(tide_query_count_series(&limits, 1), TIDE_ERR_LIMIT);
    assert_int_equal(limits.samples, 11);
}

static void *charge_often(void *context)
{
    struct tide_query_limits *limits = context;

    for (int i = 0; i < 20000; i++)
        if (tide_query_charge(limits, 3) == TIDE_OK && tide_query_charge(limits, -3) != TIDE_OK)
            return context;
    return NULL;
}

static void test_query_limits__threads_share_one_budget(void **state)
{
    struct tide_query_limits limits = {.memory_bytes_max = 8};
    pthread_t threads[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, charge_often, &limits), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;

        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(limits.memory_bytes, 0);
    assert_true(limits.memory_peak_bytes <= 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query_limits__no_limits_allow_all),
        cmocka_unit_test(test_query_limits__stop_a_query_that_is_late_or_canceled),
        cmocka_unit_test(test_query_limits__charge_up_to_the_bound_and_keep_the_peak),
        cmocka_unit_test(test_query_limits__charge_what_all_queries_share),
        cmocka_unit_test(test_query_limits__count_samples_and_series),
        cmocka_unit_test(test_query_limits__threads_share_one_budget),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
