/* Times, durations and limits as clients send them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_querier.h"

#include <stdio.h>
#include <time.h>

static void test_time_parse__reads_seconds_and_rfc_3339(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"0", 0},
        {"1435781451.781", 1435781451781},
        {"1435781451.7814", 1435781451781},
        {"1435781451.7815", 1435781451782},
        {"-1.5", -1500},
        {"1e3", 1000000},
        {"+5", 5000},
        {".25", 250},
        {"Inf", INT64_MAX / 4},
        {"-Inf", -(INT64_MAX / 4)},
        {"1e300", INT64_MAX / 4},
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2015-07-01T20:10:51.781Z", 1435781451781},
        {"2015-07-01T20:10:51.781999999Z", 1435781451781},
        {"2015-07-01t20:10:51z", 1435781451000},
        {"2015-07-01T22:10:51+02:00", 1435781451000},
        {"2015-07-01T14:40:51-05:30", 1435781451000},
        {"2015-07-01T20:10:51-00:00", 1435781451000},
        {"2000-02-29T00:00:00Z", 951782400000},
        {"2024-02-29T23:59:59Z", 1709251199000},
        {"0000-01-01T00:00:00Z", -62167219200000},
        {"9999-12-31T23:59:59Z", 253402300799000},
        {"1900-03-01T00:00:00Z", -2203891200000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = 42;

        if (!tide__time_parse(tide_slice_str(cases[i].text), &ms) || ms != cases[i].ms)
            fail_msg("%s: %lld, not %lld", cases[i].text, (long long)ms, (long long)cases[i].ms);
    }
}

static void test_time_parse__refuses_what_is_no_time(void **state)
{
    static const char *const cases[] = {
        "",
        " ",
        "now",
        "NaN",
        "1s",
        "0x10",
        "1 ",
        "1,5",
        "2015-07-01",
        "2015-07-01T20:10:51",
        "2015-07-01 20:10:51Z",
        "2015-07-01T20:10:51.Z",
        "2015-07-01T20:10Z",
        "2015-7-01T20:10:51Z",
        "2015-00-01T00:00:00Z",
        "2015-13-01T00:00:00Z",
        "2015-01-00T00:00:00Z",
        "2015-01-32T00:00:00Z",
        "2015-04-31T00:00:00Z",
        "2015-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2000-02-30T00:00:00Z",
        "2015-07-01T24:00:00Z",
        "2015-07-01T20:60:00Z",
        "2015-07-01T20:10:60Z",
        "2015-07-01T20:10:51+24:00",
        "2015-07-01T20:10:51+02:60",
        "2015-07-01T20:10:51+0200",
        "2015-07-01T20:10:51+02",
        "2015-07-01T20:10:51Zulu",
        "-015-07-01T20:10:51Z",
        "02015-07-01T20:10:51Z",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms;

        if (tide__time_parse(tide_slice_str(cases[i]), &ms))
            fail_msg("\"%s\" was taken for %lld", cases[i], (long long)ms);
    }
}

/* Every first of a month and the day before it over 400 years, against the system's calendar. */
static void test_time_parse__knows_the_calendar(void **state)
{
    (void)state;
    for (int year = 1800; year < 2200; year++) {
        for (int month = 0; month < 12; month++) {
            struct tm first = {.tm_year = year - 1900, .tm_mon = month, .tm_mday = 1};
            int64_t expected = 0, ms = 0, before = 0;
            char text[40];
            struct tm last;
            time_t seconds;

            snprintf(text, sizeof(text), "%04d-%02d-01T00:00:00Z", year, month + 1);
            assert_true(tide__time_parse(tide_slice_str(text), &ms));
            seconds = (time_t)(ms / 1000);
            assert_non_null(gmtime_r(&seconds, &last));
            assert_int_equal(last.tm_year, first.tm_year);
            assert_int_equal(last.tm_mon, first.tm_mon);
            assert_int_equal(last.tm_mday, 1);
            assert_int_equal(last.tm_hour, 0);
            expected = ms - INT64_C(86400000);
            seconds -= 86400;
            assert_non_null(gmtime_r(&seconds, &last));
            strftime(text, sizeof(text), "%Y-%m-%dT00:00:00Z", &last);
            assert_true(tide__time_parse(tide_slice_str(text), &before));
            assert_int_equal(before, expected);
        }
    }
}

/* ---- Through requests ---- */

static const struct tide_label pairs[] = {{TEXT("__name__"), TEXT("x")}};
static const int64_t times_ms[] = {1000, 2000};
static const double values[] = {1, 2};
static const struct memory_series series[] = {{pairs, 1, times_ms, values, 2}};

static int setup(void **state)
{
    static struct memory_source memory;
    static struct service service;

    memory_source_init(&memory, series, 1);
    service_start(&service, &memory, (struct tide_querier_options){.timeout_ms = 0});
    *state = &service;
    return 0;
}

static int teardown(void **state)
{
    service_stop(*state);
    return 0;
}

static void test_params__times_of_a_query(void **state)
{
    struct service *service = *state;

    service_expect_part(service, "/api/v1/query?query=x&time=2", 200, "[2,\"2\"]");
    service_expect_part(service, "/api/v1/query?query=x&time=1970-01-01T00:00:01.5Z", 200,
                        "[1.500,\"1\"]");
    service_expect_part(service, "/api/v1/query?query=time()", 200, "\"scalar\""); /* Now. */
    service_expect(service, "/api/v1/query?query=x&time=never", 400,
                   "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"invalid parameter "
                   "\\\"time\\\": cannot parse \\\"never\\\" to a valid timestamp\"}");
}

static void test_params__ranges_are_checked(void **state)
{
    static const struct {
        const char *params;
        const char *message;
    } cases[] = {
        {"", "\\\"start\\\""},
        {"&start=0", "\\\"end\\\""},
        {"&start=0&end=1", "\\\"step\\\""},
        {"&start=x&end=1&step=1", "\\\"start\\\""},
        {"&start=2&end=1&step=1", "end timestamp must not be before start time"},
        {"&start=0&end=1&step=0", "zero or negative"},
        {"&start=0&end=1&step=-5", "zero or negative"},
        {"&start=0&end=1&step=1e99", "overflows int64"},
        {"&start=0&end=1&step=NaN", "overflows int64"},
        {"&start=0&end=1&step=often", "valid duration"},
        {"&start=0&end=11001&step=1", "11,000 points"},
        {"&start=-Inf&end=Inf&step=1y", "11,000 points"},
        {"&start=0&end=1&step=1&lookback_delta=-1", "lookback_delta"},
        {"&start=0&end=1&step=1&limit=-1", "non-negative"},
        {"&start=0&end=1&step=1&limit=some", "to a number"},
        {"&start=0&end=1&step=1&timeout=soon", "timeout"},
    };
    struct service *service = *state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[256];

        snprintf(path, sizeof(path), "/api/v1/query_range?query=x%s", cases[i].params);
        service_expect_part(service, path, 400, cases[i].message);
    }
    service_expect_part(service, "/api/v1/query_range?query=1&start=0&end=11000&step=1", 200,
                        "[11000,\"1\"]");
    /* Under a millisecond it is one, not none. */
    service_expect_part(service, "/api/v1/query_range?query=1&start=0&end=0.002&step=0.0001", 200,
                        "[[0,\"1\"],[0.001,\"1\"],[0.002,\"1\"]]");
    service_expect_part(service, "/api/v1/query_range?query=x&start=1&end=61&step=1m", 200,
                        "[[1,\"1\"],[61,\"2\"]]");
}

static void test_params__series_are_asked_for_all_time_without_a_range(void **state)
{
    struct service *service = *state;

    service_expect_part(service, "/api/v1/series?match[]=x", 200, "\"x\"");
    assert_true(service->memory->asked.mint_ms < -(INT64_MAX / 8));
    assert_true(service->memory->asked.maxt_ms > INT64_MAX / 8);
    service_expect_part(service, "/api/v1/series?match[]=x&start=1.5&end=10", 200, "\"x\"");
    assert_true(service->memory->asked.mint_ms == 1500);
    assert_true(service->memory->asked.maxt_ms == 10000);
    service_expect_part(service, "/api/v1/labels?start=2&end=1", 400, "end timestamp");
}

static void test_params__a_timeout_of_nothing_has_passed(void **state)
{
    struct service *service = *state;

    service_expect_part(service, "/api/v1/query?query=x&time=2&timeout=-1", 503,
                        "\"errorType\":\"timeout\"");
    service_expect_part(service, "/api/v1/query?query=x&time=2&timeout=1y", 200, "\"success\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_parse__reads_seconds_and_rfc_3339),
        cmocka_unit_test(test_time_parse__refuses_what_is_no_time),
        cmocka_unit_test(test_time_parse__knows_the_calendar),
        cmocka_unit_test_setup_teardown(test_params__times_of_a_query, setup, teardown),
        cmocka_unit_test_setup_teardown(test_params__ranges_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_params__series_are_asked_for_all_time_without_a_range,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_params__a_timeout_of_nothing_has_passed, setup,
                                        teardown),
    };

    return cmocka_run_group_tests_name("params", tests, NULL, NULL);
}
