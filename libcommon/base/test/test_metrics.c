#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "tide/base/clock.h"
#include "tide/base/metrics.h"
#include "tide/base/number.h"

TIDE_COUNTER(writes_ok, "tide_test_writes_total", "outcome=\"ok\"", "Writes.");
TIDE_COUNTER(writes_bad, "tide_test_writes_total", "outcome=\"bad\"", "Writes.");
TIDE_GAUGE(level, "tide_test_level", "", "A level.");
TIDE_HISTOGRAM_SECONDS(seconds, "tide_test_seconds", "", "Durations.");

static char *exposition(void)
{
    struct tide_buf out = {0};

    tide_metrics_write(&out);
    tide_buf_byte(&out, '\0');
    assert_int_equal(tide_buf_ok(&out), TIDE_OK);
    return (char *)out.ptr;
}

static double value_of(const char *text, const char *sample)
{
    const char *at = strstr(text, sample);
    double v = -1;

    while (at != NULL && at != text && at[-1] != '\n')
        at = strstr(at + 1, sample);
    if (at == NULL)
        fail_msg("no sample %s", sample);
    at += strlen(sample);
    assert_int_equal(*at, ' ');
    at++;
    assert_true(tide_number_parse((struct tide_slice){(const uint8_t *)at, strcspn(at, "\n")}, &v));
    return v;
}

static int count_of(const char *text, const char *needle)
{
    int count = 0;

    for (; (text = strstr(text, needle)) != NULL; text++)
        count++;
    return count;
}

static void test_metrics__families_stand_together(void **state)
{
    char *text;

    (void)state;
    tide_metric_add(&writes_ok, 3);
    tide_metric_register(&level);
    tide_metric_register(&writes_bad);
    tide_metric_register(&writes_bad);
    text = exposition();
    assert_int_equal(count_of(text, "# TYPE tide_test_writes_total counter\n"), 1);
    assert_int_equal(count_of(text, "tide_test_writes_total{outcome=\"bad\"} 0\n"
                                    "tide_test_writes_total{outcome=\"ok\"} 3\n"),
                     1);
    assert_int_equal(count_of(text,
                              "# HELP tide_test_level A level.\n# TYPE tide_test_level gauge\n"
                              "tide_test_level 0\n"),
                     1);
    tide_metric_set(&level, -7);
    free(text);
    text = exposition();
    assert_true(value_of(text, "tide_test_level") == -7);
    free(text);
}

static void test_metrics__histograms_are_cumulative(void **state)
{
    char *text;

    (void)state;
    tide_metric_observe(&seconds, 0.00005);
    tide_metric_observe(&seconds, 0.0001); /* On the bound: belongs to it. */
    tide_metric_observe(&seconds, 0.2);
    tide_metric_observe(&seconds, 1000);
    text = exposition();
    assert_true(value_of(text, "tide_test_seconds_bucket{le=\"0.0001\"}") == 2);
    assert_true(value_of(text, "tide_test_seconds_bucket{le=\"0.1\"}") == 2);
    assert_true(value_of(text, "tide_test_seconds_bucket{le=\"0.25\"}") == 3);
    assert_true(value_of(text, "tide_test_seconds_bucket{le=\"100\"}") == 3);
    assert_true(value_of(text, "tide_test_seconds_bucket{le=\"+Inf\"}") == 4);
    assert_true(value_of(text, "tide_test_seconds_count") == 4);
    assert_true(value_of(text, "tide_test_seconds_sum") == 0.00005 + 0.0001 + 0.2 + 1000);
    free(text);
}

static void test_metrics__tells_of_the_process(void **state)
{
    char *text = exposition();
    double now = (double)tide_clock_wall_ms() / 1000;

    (void)state;
    assert_true(value_of(text, "process_cpu_seconds_total") >= 0);
    assert_true(value_of(text, "process_resident_memory_bytes") > 100000);
    assert_true(value_of(text, "process_virtual_memory_bytes") > 1000000);
    assert_true(value_of(text, "process_open_fds") >= 3);
    assert_true(value_of(text, "process_max_fds") >= value_of(text, "process_open_fds"));
    assert_true(value_of(text, "process_threads") >= 1);
    assert_true(value_of(text, "process_start_time_seconds") > now - 3600);
    assert_true(value_of(text, "process_start_time_seconds") < now + 5);
    assert_int_equal(count_of(text, "tide_build_info{version=\""), 1);
    free(text);
}

static void collect(void *context, struct tide_buf *out)
{
    tide_metrics_family(out, "tide_test_asked", "gauge", "Asked for.");
    tide_metrics_sample(out, "tide_test_asked", "shard=\"1\"", *(double *)context);
}

static void test_metrics__collectors_run_until_removed(void **state)
{
    double value = 1.5;
    char *text;

    (void)state;
    tide_metrics_collector_add(collect, &value);
    text = exposition();
    assert_true(value_of(text, "tide_test_asked{shard=\"1\"}") == 1.5);
    free(text);
    tide_metrics_collector_remove(collect, &value);
    tide_metrics_collector_remove(collect, &value);
    text = exposition();
    assert_null(strstr(text, "tide_test_asked"));
    free(text);
}

TIDE_COUNTER(raced, "tide_test_raced_total", "", "Counted by many.");
TIDE_HISTOGRAM_SECONDS(raced_seconds, "tide_test_raced_seconds", "", "Observed by many.");

static void *race(void *unused)
{
    for (int i = 0; i < 20000; i++) {
        tide_metric_add(&raced, 1);
        tide_metric_observe(&raced_seconds, 0.5);
    }
    return unused;
}

static void test_metrics__loses_nothing_between_threads(void **state)
{
    pthread_t threads[4];
    char *text;

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race, NULL), 0);
    free(exposition());
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    text = exposition();
    assert_true(value_of(text, "tide_test_raced_total") == 80000);
    assert_true(value_of(text, "tide_test_raced_seconds_sum") == 40000);
    assert_true(value_of(text, "tide_test_raced_seconds_count") == 80000);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics__families_stand_together),
        cmocka_unit_test(test_metrics__histograms_are_cumulative),
        cmocka_unit_test(test_metrics__tells_of_the_process),
        cmocka_unit_test(test_metrics__collectors_run_until_removed),
        cmocka_unit_test(test_metrics__loses_nothing_between_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
