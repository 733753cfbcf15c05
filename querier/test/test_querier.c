/* The calls over a source that is a table: shapes of answers, names in paths, merging of what
 * several shards say, and errors by their kind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_querier.h"

#include <stdio.h>

static const struct tide_label pairs_a[] = {{TEXT("__name__"), TEXT("x")},
                                            {TEXT("job"), TEXT("a")}};
static const struct tide_label pairs_b[] = {{TEXT("__name__"), TEXT("x")},
                                            {TEXT("job"), TEXT("b")}};
static const struct tide_label pairs_c[] = {{TEXT("__name__"), TEXT("y.z")},
                                            {TEXT("lab el_\xc3\xbc"), TEXT("v\"1\n")}};
static const int64_t times_ms[] = {1000, 2000, 3000};
static const double values[] = {1, 2.5, -3};
static const struct memory_series series[] = {{pairs_a, 2, times_ms, values, 3},
                                              {pairs_b, 2, times_ms, values, 2},
                                              {pairs_c, 2, times_ms, values, 1}};
static const struct tide_metadata metadata[] = {
    {TEXT("x"), TIDE_KIND_COUNTER, TEXT("Help of x."), TEXT("")},
    {TEXT("y.z"), TIDE_KIND_GAUGE, TEXT("Help of y."), TEXT("bytes")}};
static const struct tide_label trace[] = {{TEXT("trace_id"), TEXT("abc")}};

struct fixture {
    struct memory_source memory;
    struct service service;
    struct tide_exemplar exemplars[2];
};

static int start(void **state, struct tide_querier_options options)
{
    static struct fixture f;

    memory_source_init(&f.memory, series, 3);
    f.memory.metadata = metadata;
    f.memory.metadata_count = 2;
    f.exemplars[0] = (struct tide_exemplar){{trace, 1}, 1500, tide_value_bits(7)};
    f.exemplars[1] = (struct tide_exemplar){{NULL, 0}, 2500, tide_value_bits(0.5)};
    f.memory.exemplars = f.exemplars;
    f.memory.exemplar_count = 2;
    service_start(&f.service, &f.memory, options);
    *state = &f;
    return 0;
}

static int setup(void **state)
{
    return start(state, (struct tide_querier_options){.timeout_ms = 0});
}

static int setup_small(void **state)
{
    return start(state, (struct tide_querier_options){.memory_bytes_max = 4096});
}

static int setup_few_samples(void **state)
{
    return start(state, (struct tide_querier_options){.samples_max = 2});
}

static int teardown(void **state)
{
    service_stop(&((struct fixture *)*state)->service);
    return 0;
}

/* ---- Queries ---- */

static void test_query__answers_each_type(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect(s, "/api/v1/query?query=x{job=%22a%22}&time=2", 200,
                   "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":["
                   "{\"metric\":{\"__name__\":\"x\",\"job\":\"a\"},\"value\":[2,\"2.5\"]}]}}");
    service_expect(s, "/api/v1/query?query=1e21&time=2", 200,
                   "{\"status\":\"success\",\"data\":{\"resultType\":\"scalar\",\"result\":"
                   "[2,\"1e+21\"]}}");
    service_expect(s, "/api/v1/query?query=%22s%22&time=2.25", 200,
                   "{\"status\":\"success\",\"data\":{\"resultType\":\"string\",\"result\":"
                   "[2.250,\"s\"]}}");
    service_expect(s, "/api/v1/query?query=x{job=%22a%22}[5s]&time=3", 200,
                   "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":["
                   "{\"metric\":{\"__name__\":\"x\",\"job\":\"a\"},\"values\":"
                   "[[1,\"1\"],[2,\"2.5\"],[3,\"-3\"]]}]}}");
    service_expect(s, "/api/v1/query_range?query=sum(x)&start=1&end=3&step=1", 200,
                   "{\"status\":\"success\",\"data\":{\"resultType\":\"matrix\",\"result\":["
                   "{\"metric\":{},\"values\":[[1,\"2\"],[2,\"5\"],[3,\"-0.5\"]]}]}}");
    service_expect(s, "/api/v1/query?query=nothing&time=2", 200,
                   "{\"status\":\"success\",\"data\":{\"resultType\":\"vector\",\"result\":[]}}");
    service_expect_part(s, "/api/v1/query?query={%22y.z%22}&time=1", 200,
                        "\"lab el_\xc3\xbc\":\"v\\\"1\\n\"");
}

static void test_query__a_limit_cuts_and_says_so(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect_part(s, "/api/v1/query?query=x&time=2&limit=1", 200,
                        "\"warnings\":[\"results truncated due to limit\"]");
    service_expect_part(s, "/api/v1/query?query=count(x)&time=2&limit=1", 200, "\"2\"]}]}}");
}

static void test_query__stats_are_told_on_request(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect_part(s, "/api/v1/query?query=x&time=2&stats=all", 200,
                        "\"totalQueryableSamples\":");
    service_get(s, "/api/v1/query?query=x&time=2");
    assert_null(strstr(s->body, "stats"));
}

static void test_query__errors_have_their_kinds(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum tide_err err;
        int status;
        const char *kind;
    } cases[] = {
        {TIDE_ERR_LIMIT, 422, "execution"},       {TIDE_ERR_EXECUTION, 422, "execution"},
        {TIDE_ERR_UNSUPPORTED, 422, "execution"}, {TIDE_ERR_TIMEOUT, 503, "timeout"},
        {TIDE_ERR_CANCELED, 503, "canceled"},     {TIDE_ERR_UNAVAILABLE, 503, "unavailable"},
        {TIDE_ERR_NO_MEMORY, 503, "unavailable"}, {TIDE_ERR_IO, 500, "internal"},
        {TIDE_ERR_CORRUPT, 500, "internal"}};
    static const char *const calls[] = {
        "query?query=x&time=2", "query_range?query=x&start=1&end=2&step=1",
        "series?match[]=x",     "labels",
        "label/job/values",     "query_exemplars?query=x&start=1&end=2"};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t k = 0; k < sizeof(calls) / sizeof(calls[0]); k++) {
            char path[128], kind[64];

            f->memory.err = cases[i].err;
            snprintf(path, sizeof(path), "/api/v1/%s", calls[k]);
            snprintf(kind, sizeof(kind), "\"errorType\":\"%s\"", cases[i].kind);
            service_expect_part(&f->service, path, cases[i].status, kind);
        }
    }
    f->memory.err = TIDE_OK;
    service_expect_part(&f->service, "/api/v1/query?query=x&time=2", 200, "success");
}

static void test_query__bad_queries_are_told_with_their_parameter(void **state)
{
    static const char *const paths[] = {"/api/v1/query?query=sum(x&time=1",
                                        "/api/v1/query",
                                        "/api/v1/query_range?query=x[5m]&start=1&end=2&step=1",
                                        "/api/v1/query_exemplars?query=(",
                                        "/api/v1/format_query?query=rate(x)",
                                        "/api/v1/series?match[]=sum(x)",
                                        "/api/v1/series?match[]=x&match[]={}",
                                        "/api/v1/series",
                                        "/api/v1/labels?match[]="};
    struct service *s = &((struct fixture *)*state)->service;

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        service_expect_part(s, paths[i], 400, "\"errorType\":\"bad_data\"");
        assert_non_null(
            strstr(s->body, strstr(paths[i], "series") != NULL || strstr(paths[i], "labels") != NULL
                                ? "match[]"
                                : "\\\"query\\\""));
    }
}

/* ---- Series and labels ---- */

static void test_series__are_the_union_sorted(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect(
        s, "/api/v1/series?match[]={job!=%22%22}&match[]=x{job=%22a%22}&match[]={%22y.z%22}", 200,
        "{\"status\":\"success\",\"data\":["
        "{\"__name__\":\"x\",\"job\":\"a\"},{\"__name__\":\"x\",\"job\":\"b\"},"
        "{\"__name__\":\"y.z\",\"lab el_\xc3\xbc\":\"v\\\"1\\n\"}]}");
    service_expect(s, "/api/v1/series?match[]=x&limit=1", 200,
                   "{\"status\":\"success\",\"data\":[{\"__name__\":\"x\",\"job\":\"a\"}],"
                   "\"warnings\":[\"results truncated due to limit\"]}");
    service_get(s, "/api/v1/series?match[]=x&limit=2");
    assert_null(strstr(s->body, "warnings"));
}

static void test_labels__are_merged_and_sorted(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect(s, "/api/v1/labels", 200,
                   "{\"status\":\"success\",\"data\":[\"__name__\",\"job\",\"lab el_\xc3\xbc\"]}");
    service_expect(s, "/api/v1/labels?match[]=x&match[]=nothing", 200,
                   "{\"status\":\"success\",\"data\":[\"__name__\",\"job\"]}");
    service_expect(s, "/api/v1/label/__name__/values", 200,
                   "{\"status\":\"success\",\"data\":[\"x\",\"y.z\"]}");
    service_expect(s, "/api/v1/label/job/values?limit=1", 200,
                   "{\"status\":\"success\",\"data\":[\"a\"],"
                   "\"warnings\":[\"results truncated due to limit\"]}");
    service_expect(s, "/api/v1/label/nothing/values", 200, "{\"status\":\"success\",\"data\":[]}");
}

static void test_label_values__names_may_be_escaped(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path;
        const char *name;
    } cases[] = {
        {"job", "job"},
        {"__name__", "__name__"},
        {"lab%20el_%C3%BC", "lab el_\xc3\xbc"},
        {"U__lab_20_el___fc_", "lab el_\xc3\xbc"},
        {"U__lab_20_el___FC_", "lab el_\xc3\xbc"},
        {"U__a__b", "a_b"},
        {"U____", "_"},
        {"U__snow_2603_man", "snow\xe2\x98\x83man"},
        {"U___1f600_", "\xf0\x9f\x98\x80"},
        {"U___10ffff_", "\xf4\x8f\xbf\xbf"},
        {"U__plain", "plain"},
        /* No escapes: taken as they stand. */
        {"U_", "U_"},
        {"U__a_", "U__a_"},
        {"U__a_zz_", "U__a_zz_"},
        {"U__a_20", "U__a_20"},
        {"U___110000_", "U___110000_"},
        {"U___123456789_", "U___123456789_"},
        {"u__a__b", "u__a__b"},
        {"a_20_b", "a_20_b"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[128];

        snprintf(path, sizeof(path), "/api/v1/label/%s/values", cases[i].path);
        if (service_get(&f->service, path) != 200)
            fail_msg("%s: %s", path, f->service.body);
        if (!tide_slice_eq(f->memory.asked_name, tide_slice_str(cases[i].name)))
            fail_msg("%s: \"%.*s\", not \"%s\"", cases[i].path,
                     TIDE_SLICE_ARGS(f->memory.asked_name), cases[i].name);
    }
    service_expect_part(&f->service, "/api/v1/label/U__/values", 400, "invalid label name");
    service_expect_part(&f->service, "/api/v1/label/%FF/values", 400, "invalid label name");
    service_expect_part(&f->service, "/api/v1/label/U___d800_/values", 400, "invalid label name");
    service_expect_part(&f->service, "/api/v1/label//values", 404, "not_found");
}

/* ---- Metadata, exemplars, text ---- */

static void test_metadata__by_metric_and_limit(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect(s, "/api/v1/metadata", 200,
                   "{\"status\":\"success\",\"data\":{"
                   "\"x\":[{\"type\":\"counter\",\"help\":\"Help of x.\",\"unit\":\"\"}],"
                   "\"y.z\":[{\"type\":\"gauge\",\"help\":\"Help of y.\",\"unit\":\"bytes\"}]}}");
    service_expect(s, "/api/v1/metadata?metric=y.z", 200,
                   "{\"status\":\"success\",\"data\":{"
                   "\"y.z\":[{\"type\":\"gauge\",\"help\":\"Help of y.\",\"unit\":\"bytes\"}]}}");
    service_expect(s, "/api/v1/metadata?limit=1", 200,
                   "{\"status\":\"success\",\"data\":{"
                   "\"x\":[{\"type\":\"counter\",\"help\":\"Help of x.\",\"unit\":\"\"}]}}");
    service_expect(s, "/api/v1/metadata?metric=nothing", 200,
                   "{\"status\":\"success\",\"data\":{}}");
}

static void test_exemplars__of_each_selector(void **state)
{
    static const char one[] =
        "{\"seriesLabels\":{\"__name__\":\"x\",\"job\":\"a\"},\"exemplars\":["
        "{\"labels\":{\"trace_id\":\"abc\"},\"value\":\"7\",\"timestamp\":1.500},"
        "{\"labels\":{},\"value\":\"0.5\",\"timestamp\":2.500}]}";
    struct service *s = &((struct fixture *)*state)->service;
    char expected[1024];

    snprintf(expected, sizeof(expected), "{\"status\":\"success\",\"data\":[%s]}", one);
    service_expect(s, "/api/v1/query_exemplars?query=rate(x[5m])&start=1&end=3", 200, expected);
    snprintf(expected, sizeof(expected), "{\"status\":\"success\",\"data\":[%s,%s]}", one, one);
    service_expect(s, "/api/v1/query_exemplars?query=x%2Bx&start=1&end=3", 200, expected);
    service_expect(s, "/api/v1/query_exemplars?query=1&start=1&end=3", 200,
                   "{\"status\":\"success\",\"data\":[]}");
}

static void test_format_query__prints_the_canonical_text(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect(s, "/api/v1/format_query?query=sum%20%20by(a)%20(rate(x[60s]))", 200,
                   "{\"status\":\"success\",\"data\":\"sum by (a) (rate(x[1m]))\"}");
}

/* ---- Status ---- */

static void test_status__counts_over_all_shards(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect(
        s, "/api/v1/status/tsdb", 200,
        "{\"status\":\"success\",\"data\":{\"headStats\":{\"numSeries\":3,"
        "\"numLabelPairs\":0,\"numSamples\":0,\"chunkCount\":0,\"minTime\":1,\"maxTime\":2},"
        "\"seriesCountByMetricName\":[{\"name\":\"x\",\"value\":2},"
        "{\"name\":\"y.z\",\"value\":1}],"
        "\"labelValueCountByLabelName\":[{\"name\":\"__name__\",\"value\":2},"
        "{\"name\":\"job\",\"value\":2},{\"name\":\"lab el_\xc3\xbc\",\"value\":1}],"
        "\"memoryInBytesByLabelName\":[{\"name\":\"__name__\",\"value\":4},"
        "{\"name\":\"lab el_\xc3\xbc\",\"value\":4},{\"name\":\"job\",\"value\":2}],"
        "\"seriesCountByLabelValuePair\":[{\"name\":\"__name__=x\",\"value\":2},"
        "{\"name\":\"__name__=y.z\",\"value\":1},{\"name\":\"job=a\",\"value\":1},"
        "{\"name\":\"job=b\",\"value\":1},"
        "{\"name\":\"lab el_\xc3\xbc=v\\\"1\\n\",\"value\":1}]}}");
    service_get(s, "/api/v1/status/tsdb?limit=1");
    assert_null(strstr(s->body, "job"));
}

static void test_status__tells_what_clients_ask_for(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect_part(s, "/api/v1/status/buildinfo", 200, "\"version\":\"1.2.3\"");
    service_expect_part(s, "/api/v1/status/runtimeinfo", 200, "\"startTime\":\"20");
    service_expect(s, "/api/v1/rules", 200, "{\"status\":\"success\",\"data\":{\"groups\":[]}}");
    service_expect(s, "/api/v1/alerts", 200, "{\"status\":\"success\",\"data\":{\"alerts\":[]}}");
    service_expect(s, "/api/v1/alertmanagers", 200,
                   "{\"status\":\"success\",\"data\":{\"activeAlertmanagers\":[],"
                   "\"droppedAlertmanagers\":[]}}");
    service_expect(s, "/api/v1/targets?state=active", 200,
                   "{\"status\":\"success\",\"data\":{\"activeTargets\":[],"
                   "\"droppedTargets\":[],\"droppedTargetCounts\":{}}}");
    service_expect(s, "/api/v1/targets/metadata?limit=1", 200,
                   "{\"status\":\"success\",\"data\":[]}");
    service_expect(s, "/api/v1/scrape_pools", 200,
                   "{\"status\":\"success\",\"data\":{\"scrapePools\":[]}}");
    service_expect(s, "/api/v1/status/config", 200,
                   "{\"status\":\"success\",\"data\":{\"yaml\":\"\"}}");
    service_expect(s, "/api/v1/status/walreplay", 200,
                   "{\"status\":\"success\",\"data\":{\"min\":0,\"max\":0,\"current\":0}}");
    /* Any answer of 200 here would make Grafana take us for something else. */
    assert_int_equal(service_get(s, "/api/v1/status/flags"), 404);
    service_expect(s, "/api/v1/nothing", 404,
                   "{\"status\":\"error\",\"errorType\":\"not_found\",\"error\":\"not found\"}");
}

/* ---- Limits ---- */

static void test_limits__an_answer_larger_than_its_memory_is_refused(void **state)
{
    struct fixture *f = *state;
    static struct memory_series many[500];
    static struct tide_label labels[2 * 500];
    static char texts[500][16];
    static const char *const calls[] = {"series?match[]=x", "label/n/values", "status/tsdb"};

    for (size_t i = 0; i < 500; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%zu", i);
        labels[2 * i] = pairs_a[0];
        labels[2 * i + 1] = (struct tide_label){TEXT("n"), tide_slice_str(texts[i])};
        many[i] = (struct memory_series){&labels[2 * i], 2, times_ms, values, 1};
    }
    f->memory.series = many;
    f->memory.series_count = 500;
    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        char path[64];

        snprintf(path, sizeof(path), "/api/v1/%s", calls[i]);
        service_expect_part(&f->service, path, 422, "more memory than a query may use");
    }
    service_expect_part(&f->service, "/api/v1/format_query?query=x", 200, "\"x\"");
}

static void test_limits__samples_read_are_bounded(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect_part(s, "/api/v1/query?query=count_over_time(x{job=%22a%22}[10s])&time=3", 422,
                        "execution");
    service_expect_part(s, "/api/v1/query?query=count_over_time(x{job=%22b%22}[10s])&time=3", 200,
                        "\"2\"");
}

static void test_error_body__has_the_kind_of_its_status(void **state)
{
    static const struct {
        int status;
        const char *kind;
    } cases[] = {{400, "bad_data"}, {404, "not_found"},   {405, "bad_data"}, {408, "bad_data"},
                 {413, "bad_data"}, {503, "unavailable"}, {500, "internal"}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tide_buf body = {0};
        const char *type = "";
        char expected[128];

        tide_querier_error_body(cases[i].status, "why \"not\"", &body, &type);
        tide_buf_byte(&body, 0);
        snprintf(expected, sizeof(expected),
                 "{\"status\":\"error\",\"errorType\":\"%s\",\"error\":\"why \\\"not\\\"\"}",
                 cases[i].kind);
        assert_string_equal((const char *)body.ptr, expected);
        assert_string_equal(type, "application/json");
        tide_buf_deinit(&body);
    }
}

static void test_rules__mistakes_in_parameters_are_told(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect(s,
                   "/api/v1/rules?type=alert&exclude_alerts=true&group_limit=5&group_next_token=a"
                   "&rule_name[]=b&match[]=x",
                   200, "{\"status\":\"success\",\"data\":{\"groups\":[]}}");
    service_expect_part(s, "/api/v1/rules?type=other", 400, "not supported value \\\"other\\\"");
    service_expect_part(s, "/api/v1/rules?exclude_alerts=perhaps", 400, "exclude_alerts");
    service_expect_part(s, "/api/v1/rules?group_next_token=a", 400, "group_limit");
    service_expect_part(s, "/api/v1/rules?group_limit=a", 400, "group_limit");
    service_expect_part(s, "/api/v1/rules?match[]=1", 400, "match[]");
}

static void test_features__tell_what_is_there(void **state)
{
    struct service *s = &((struct fixture *)*state)->service;

    service_expect_part(s, "/api/v1/features", 200, "\"remote_write_receiver\":true");
    service_expect_part(s, "/api/v1/features", 200, "\"admin\":false");
    service_expect_part(s, "/api/v1/features", 200, "\"rate\":true");
    service_expect_part(s, "/api/v1/features", 200, "\"limit_ratio\":true");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
#define TEST_FEW(name) cmocka_unit_test_setup_teardown(test_##name, setup_few_samples, teardown)
#define TEST_SMALL(name) cmocka_unit_test_setup_teardown(test_##name, setup_small, teardown)
        TEST(query__answers_each_type),
        TEST(query__a_limit_cuts_and_says_so),
        TEST(query__stats_are_told_on_request),
        TEST(query__errors_have_their_kinds),
        TEST(query__bad_queries_are_told_with_their_parameter),
        TEST(series__are_the_union_sorted),
        TEST(labels__are_merged_and_sorted),
        TEST(label_values__names_may_be_escaped),
        TEST(metadata__by_metric_and_limit),
        TEST(exemplars__of_each_selector),
        TEST(format_query__prints_the_canonical_text),
        TEST(status__counts_over_all_shards),
        TEST(status__tells_what_clients_ask_for),
        TEST(rules__mistakes_in_parameters_are_told),
        TEST(features__tell_what_is_there),
        TEST_SMALL(limits__an_answer_larger_than_its_memory_is_refused),
        TEST_FEW(limits__samples_read_are_bounded),
        cmocka_unit_test(test_error_body__has_the_kind_of_its_status),
    };

    return cmocka_run_group_tests_name("querier", tests, NULL, NULL);
}
