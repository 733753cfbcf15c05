/* The list of running queries, canceling one by its id, and the memory that all of them share. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_querier.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct tide_label pairs[] = {{TEXT("__name__"), TEXT("x")}};
static const int64_t times_ms[] = {1000, 2000, 3000};
static const double values[] = {1, 2.5, -3};
static const struct memory_series series[] = {{pairs, 1, times_ms, values, 3}};

static struct memory_source memory;
static struct service service;

/* A selection that goes on until its query is given up. */
static enum tide_err endless(void *context, const struct tide_select *select,
                             struct tide_query_limits *limits, struct tide_series_set **out,
                             struct tide_diag *diag)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    enum tide_err err = TIDE_OK;

    (void)context;
    (void)select;
    (void)out;
    (void)diag;
    while (err == TIDE_OK) {
        nanosleep(&pause, NULL);
        err = tide_query_check(limits);
    }
    return err;
}

static int setup(void **state)
{
    (void)state;
    memory_source_init(&memory, series, 1);
    service_start(&service, &memory, (struct tide_querier_options){.timeout_ms = 0});
    return 0;
}

static int setup_endless(void **state)
{
    (void)state;
    memory_source_init(&memory, series, 1);
    memory.source.select = endless;
    service_start(&service, &memory, (struct tide_querier_options){.timeout_ms = 0});
    return 0;
}

static int setup_little_memory(void **state)
{
    (void)state;
    memory_source_init(&memory, series, 1);
    service_start(&service, &memory, (struct tide_querier_options){.total_memory_bytes_max = 1000});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    service_stop(&service);
    return 0;
}

/* A query is out of the list a moment after its answer. */
static void wait_until_idle(void)
{
    int tries = 0;

    do {
        assert_true(tries++ < 10000);
        assert_int_equal(service_get(&service, "/api/v1/status/active_queries"), 200);
    } while (strcmp(service.body, "{\"status\":\"success\",\"data\":[]}") != 0);
}

struct asker {
    struct service service;
    const char *path;
    int status;
};

static void *ask(void *context)
{
    struct asker *asker = context;

    asker->status = service_get(&asker->service, asker->path);
    return NULL;
}

/* The id of the one query that runs, once it does. */
static unsigned long wait_for_query(void)
{
    const struct timespec pause = {.tv_nsec = 5000000};
    const char *id;

    for (int i = 0; i < 2000; i++) {
        assert_int_equal(service_get(&service, "/api/v1/status/active_queries"), 200);
        id = strstr(service.body, "\"id\":\"");
        if (id != NULL)
            return strtoul(id + 6, NULL, 10);
        nanosleep(&pause, NULL);
    }
    fail_msg("the query is not in the list");
    return 0;
}

static void cancels(const char *query_path, const char *call, const char *method)
{
    struct asker asker = {.service = service, .path = query_path};
    pthread_t thread;
    char path[128];

    asker.service.body = NULL;
    assert_int_equal(pthread_create(&thread, NULL, ask, &asker), 0);
    snprintf(path, sizeof(path), "/api/v1/status/active_queries/%lu", wait_for_query());
    assert_non_null(strstr(service.body, call));
    assert_non_null(strstr(service.body, "\"tenant\":\"t\""));
    assert_non_null(strstr(service.body, "\"query\":\"x\""));

    /* Not for others to see or to end. */
    assert_int_equal(service_ask(&service, "GET", "other", "/api/v1/status/active_queries"), 200);
    assert_string_equal(service.body, "{\"status\":\"success\",\"data\":[]}");
    assert_int_equal(service_ask(&service, method, "other", path), 404);
    assert_int_equal(service_ask(&service, method, NULL, "/api/v1/status/active_queries/99999"),
                     404);
    assert_int_equal(service_ask(&service, method, NULL, "/api/v1/status/active_queries/a"), 404);

    assert_int_equal(service_ask(&service, method, NULL, path), 200);
    pthread_join(thread, NULL);
    assert_int_equal(asker.status, 503);
    assert_non_null(strstr(asker.service.body, "\"errorType\":\"canceled\""));
    free(asker.service.body);
    wait_until_idle();
    assert_int_equal(service_ask(&service, method, NULL, path), 404);
}

static void test_active_queries__are_listed_and_canceled(void **state)
{
    (void)state;
    cancels("/api/v1/query?query=x&time=2", "\"call\":\"/api/v1/query\"", "DELETE");
    cancels("/api/v1/query_range?query=x&start=1&end=2&step=1", "\"call\":\"/api/v1/query_range\"",
            "POST");
    cancels("/api/v1/series?match[]=x", "\"call\":\"/api/v1/series\"", "POST");
}

static void test_memory__over_the_budget_of_all_a_query_gets_its_bill(void **state)
{
    (void)state;
    service_expect_part(&service, "/api/v1/query?query=x&time=2", 422, "\"execution\"");
    assert_non_null(strstr(service.body, "query needs more memory than it may use: it held 0.0 MiB "
                                         "of 16.0 (query.memory_bytes_max) and asked for "));
    assert_non_null(strstr(service.body, "(query.total_memory_bytes_max)"));
    service_expect_part(&service, "/api/v1/series?match[]=x", 422,
                        "(query.total_memory_bytes_max)");
    wait_until_idle();
    assert_int_equal(atomic_load(&service.querier->budget.memory_bytes), 0);
}

static void test_memory__is_given_back(void **state)
{
    (void)state;
    service_expect_part(&service, "/api/v1/query?query=x&time=2", 200, "2.5");
    service_expect_part(&service, "/api/v1/labels", 200, "__name__");
    service_expect_part(&service, "/api/v1/series?match[]=x", 200, "__name__");
    wait_until_idle();
    assert_int_equal(atomic_load(&service.querier->budget.memory_bytes), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_active_queries__are_listed_and_canceled, setup_endless,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_memory__over_the_budget_of_all_a_query_gets_its_bill,
                                        setup_little_memory, teardown),
        cmocka_unit_test_setup_teardown(test_memory__is_given_back, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
