/* The engine under limits, failures and hostile queries. */
#include "support_source.h"

#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/promql/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

static struct tide_engine *engine;
static struct support_source *src;

/* Ten series of histograms with 300 buckets each. */
static void add_histograms(void)
{
    static double counts[300];
    static const struct tide_span span = {-100, 300};
    struct tide_histogram h = {.positive_spans = &span,
                               .positive_span_count = 1,
                               .positive = counts,
                               .positive_count = 300};

    h.schema = 3;
    for (unsigned i = 0; i < 10; i++) {
        char text[64];
        struct support_series *s;

        (void)snprintf(text, sizeof(text), "h{i=\"%u\"}", i);
        s = support_source_series(src, text);
        memset(counts, 0, sizeof(counts));
        for (int64_t t = 0; t < 30; t++) {
            for (size_t b = 0; b < 300; b++)
                counts[b] += (double)(b % 7 + i);
            h.count += 300;
            h.sum += 1;
            support_series_append_histogram(src, s, t * 15000, &h);
        }
    }
}

static int setup(void **state)
{
    (void)state;
    src = support_source_new();
    for (unsigned i = 0; i < 600; i++) {
        char text[64];
        struct support_series *s;

        (void)snprintf(text, sizeof(text), "m_total{job=\"%u\", i=\"%u\"}", i % 5, i);
        s = support_source_series(src, text);
        for (int64_t t = 0; t < 30; t++)
            support_series_append(s, t * 15000, (double)(t * i));
    }
    add_histograms();
    return tide_engine_new(&(struct tide_engine_options){.threads = 1}, &engine) != TIDE_OK;
}

static int teardown(void **state)
{
    (void)state;
    tide_engine_free(engine);
    support_source_free(src);
    return 0;
}

static enum tide_err ask(const char *expr, int64_t step, struct tide_query_limits *limits,
                         struct tide_diag *diag, struct tide_engine_result **out)
{
    struct tide_engine_params params = {.expr = tide_slice_str(expr),
                                        .instant = step == 0,
                                        .start_ms = 300000,
                                        .end_ms = 420000,
                                        .step_ms = step};

    return tide_engine_query(engine, &params, &src->source, limits, out, diag);
}

static void expect_error(const char *expr, int64_t step, struct tide_query_limits *limits,
                         enum tide_err expected, const char *text)
{
    struct tide_diag diag = {0};
    struct tide_engine_result *result = NULL;
    enum tide_err err = ask(expr, step, limits, &diag, &result);

    assert_int_equal(err, expected);
    assert_non_null(strstr(diag.text, text));
    assert_null(result);
    if (limits != NULL)
        assert_int_equal(limits->memory_bytes, 0);
}

static void test_query__stops_at_its_deadline(void **state)
{
    struct tide_query_limits limits = {.deadline_mono_ms = tide_clock_mono_ms() - 1};

    (void)state;
    expect_error("sum(m_total)", 0, &limits, TIDE_ERR_TIMEOUT, "timed out");
}

static void test_query__stops_when_canceled(void **state)
{
    struct tide_query_limits limits = {.canceled = true};

    (void)state;
    expect_error("m_total / m_total", 0, &limits, TIDE_ERR_CANCELED, "canceled");
}

static void test_query__keeps_to_its_limits(void **state)
{
    struct tide_query_limits memory = {.memory_bytes_max = 100000};
    struct tide_query_limits samples = {.samples_max = 5000};
    struct tide_query_limits series = {.series_max = 599};

    (void)state;
    expect_error("m_total * m_total", 1000, &memory, TIDE_ERR_LIMIT, "memory");
    expect_error("sum_over_time((m_total)[100m:10ms])", 0, &memory, TIDE_ERR_LIMIT, "memory");
    expect_error("count_values(\"v\", m_total)", 1000, &memory, TIDE_ERR_LIMIT, "memory");
    expect_error("h * 2", 1000, &memory, TIDE_ERR_LIMIT, "memory");
    expect_error("rate(h[5m])", 1000, &memory, TIDE_ERR_LIMIT, "memory");
    expect_error("h - h", 1000, &memory, TIDE_ERR_LIMIT, "memory");
    expect_error("sum(rate(h[5m]))", 1000, &memory, TIDE_ERR_LIMIT, "memory");
    expect_error("sum(rate(m_total[5m]))", 0, &samples, TIDE_ERR_LIMIT, "samples");
    expect_error("m_total[5m]", 0, &samples, TIDE_ERR_LIMIT, "samples");
    expect_error("m_total", 0, &series, TIDE_ERR_LIMIT, "series");
}

static void test_query__streams_in_little_memory(void **state)
{
    struct tide_query_limits limits = {.memory_bytes_max = 1u << 20};
    struct tide_diag diag = {0};
    struct tide_engine_result *result;

    (void)state;
    assert_int_equal(ask("sum by (job) (rate(m_total[1m]))", 1000, &limits, &diag, &result),
                     TIDE_OK);
    assert_int_equal(result->series_count, 5);
    assert_int_equal(result->series[0].count, 121);
    tide_engine_result_free(result);
    assert_int_equal(limits.memory_bytes, 0);
}

static void test_query__passes_on_what_the_source_says(void **state)
{
    (void)state;
    src->fail_read = TIDE_ERR_UNAVAILABLE;
    expect_error("sum(m_total)", 0, NULL, TIDE_ERR_UNAVAILABLE, "not available now");
    expect_error("m_total", 1000, NULL, TIDE_ERR_UNAVAILABLE, "not available now");
    src->fail_read = TIDE_OK;
}

static void test_query__refuses_bad_queries(void **state)
{
    struct tide_diag diag = {0};
    struct tide_engine_result *result;
    struct tide_engine_params params = {
        .expr = TIDE_SLICE("up"), .start_ms = 10, .end_ms = 9, .step_ms = 1};

    (void)state;
    expect_error("sum(", 0, NULL, TIDE_ERR_INVALID, "parse error");
    expect_error("m_total[1m:1m]", 1000, NULL, TIDE_ERR_INVALID, "range query");
    expect_error("sum_over_time(vector(1)[100y:1ms])", 0, NULL, TIDE_ERR_EXECUTION, "steps");
    expect_error("max_over_time(m_total[5m] smoothed)", 0, NULL, TIDE_ERR_EXECUTION,
                 "smoothed modifier can only be used with");
    assert_int_equal(tide_engine_query(engine, &params, &src->source, NULL, &result, &diag),
                     TIDE_ERR_INVALID);
}

static void test_query__bounds_its_notes(void **state)
{
    struct tide_diag diag = {0};
    struct tide_engine_result *result;
    struct tide_buf expr = {0};

    (void)state;
    for (int i = 0; i < 60; i++)
        tide_buf_printf(&expr, "%squantile(%d, m_total)", i == 0 ? "" : " + ", i + 2);
    tide_buf_byte(&expr, '\0');
    assert_int_equal(ask((const char *)expr.ptr, 0, NULL, &diag, &result), TIDE_OK);
    assert_int_equal(result->warning_count, 11);
    assert_non_null(strstr((const char *)result->warnings[10].ptr, "annotations omitted"));
    tide_engine_result_free(result);
    tide_buf_deinit(&expr);
}

static void test_query__survives_each_failed_allocation(void **state)
{
    static const char *const exprs[] = {
        "sum by (job) (rate(m_total{i=~\"1.\"}[5m]))",
        "m_total{i=~\"1.\"} * on(i) group_left(job) m_total{i=~\"1.\"} or vector(1)",
        "topk(2, sum without (i) (max_over_time((m_total{i=~\"1.\"} + 1)[2m:30s])))",
        "sort_desc(count_values by (job) (\"v\", m_total{i=~\"1.\"} > 3)) unless absent(m_total)",
        "quantile(0.5, m_total{i=~\"1.\"} @ 300)",
        "histogram_quantile(0.9, sum(rate(h{i=~\"[12]\"}[2m]))) or histogram_count(-h{i=\"1\"})",
        "h{i=\"1\"} - on() h{i=\"2\"} != avg_over_time((h{i=\"1\"} </ 2)[1m:30s])",
        "count_values(\"v\", h{i=\"1\"} @ 300) or delta(h{i=\"1\"}[2m]) or (h{i=\"1\"} smoothed)",
    };

    (void)state;
    for (size_t e = 0; e < sizeof(exprs) / sizeof(*exprs); e++) {
        for (int nth = 1;; nth++) {
            struct tide_query_limits limits = {0};
            struct tide_diag diag = {0};
            struct tide_engine_result *result = NULL;
            long live = tide_test_mem_live();
            enum tide_err err;

            tide_test_mem_fail_nth(nth);
            err = ask(exprs[e], 15000, &limits, &diag, &result);
            if (err == TIDE_OK)
                tide_engine_result_free(result);
            assert_int_equal(tide_test_mem_live(), live);
            assert_int_equal(limits.memory_bytes, 0);
            if (!tide_test_mem_fired()) {
                assert_int_equal(err, TIDE_OK);
                break;
            }
            if (err != TIDE_OK) /* A note may be lost without failing the query. */
                assert_int_equal(err, TIDE_ERR_NO_MEMORY);
        }
    }
}

static void test_result__points_at_the_samples_of_a_range_vector(void **state)
{
    struct tide_diag diag = {0};
    struct tide_engine_result *result;

    (void)state;
    assert_int_equal(ask("m_total{i=\"7\"}[31s]", 0, NULL, &diag, &result), TIDE_OK);
    assert_int_equal(result->kind, TIDE_RESULT_MATRIX);
    assert_int_equal(result->series_count, 1);
    assert_int_equal(result->series[0].count, 3);
    assert_int_equal(result->series[0].times_ms[0], 270000);
    assert_true(result->series[0].values[2] == 7 * 20);
    tide_engine_result_free(result);
    assert_int_equal(ask("m_total{i=\"7\"}[1m:20s]", 0, NULL, &diag, &result), TIDE_OK);
    assert_int_equal(result->series[0].count, 3);
    assert_int_equal(result->series[0].times_ms[0], 260000);
    assert_true(result->series[0].values[0] == 7 * 17);
    tide_engine_result_free(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query__stops_at_its_deadline),
        cmocka_unit_test(test_query__stops_when_canceled),
        cmocka_unit_test(test_query__keeps_to_its_limits),
        cmocka_unit_test(test_query__streams_in_little_memory),
        cmocka_unit_test(test_query__passes_on_what_the_source_says),
        cmocka_unit_test(test_query__refuses_bad_queries),
        cmocka_unit_test(test_query__bounds_its_notes),
        cmocka_unit_test(test_query__survives_each_failed_allocation),
        cmocka_unit_test(test_result__points_at_the_samples_of_a_range_vector),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
