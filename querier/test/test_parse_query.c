/* parse_query: each kind of node has Prometheus' fields, and depth is no obstacle. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_querier.h"

#include <stdio.h>

#define OK(tree) "{\"status\":\"success\",\"data\":" tree "}"
#define SHIFT "\"offset\":0,\"timestamp\":null,\"startOrEnd\":null"
#define NAME(x) "{\"name\":\"__name__\",\"value\":\"" x "\",\"type\":\"=\"}"
#define VECTOR(x)                                                                                  \
    "{\"type\":\"vectorSelector\",\"name\":\"" x                                                   \
    "\",\"matchers\":[" NAME(x) "]," SHIFT ",\"anchored\":false,\"smoothed\":false}"
#define NUMBER(v) "{\"type\":\"numberLiteral\",\"val\":\"" v "\"}"

static struct memory_source memory;
static struct service service;

static int setup(void **state)
{
    (void)state;
    memory_source_init(&memory, NULL, 0);
    service_start(&service, &memory, (struct tide_querier_options){.timeout_ms = 0});
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    service_stop(&service);
    return 0;
}

static void test_parse_query__each_node_has_its_fields(void **state)
{
    static const struct {
        const char *query;
        const char *body;
    } cases[] = {
        {"1e21", OK(NUMBER("1000000000000000000000"))},
        {"%22s%22", OK("{\"type\":\"stringLiteral\",\"val\":\"s\"}")},
        {"(-a)", OK("{\"type\":\"parenExpr\",\"expr\":{\"type\":\"unaryExpr\",\"op\":\"-\","
                    "\"expr\":" VECTOR("a") "}}")},
        {"a{b!~%22c%22}%20@%2010%20offset%205m",
         OK("{\"type\":\"vectorSelector\",\"name\":\"a\",\"matchers\":[{\"name\":\"b\",\"value\":"
            "\"c\",\"type\":\"!~\"}," NAME(
                "a") "],\"offset\":300000,\"timestamp\":10000,"
                     "\"startOrEnd\":null,\"anchored\":false,\"smoothed\":false}")},
        {"rate(a[1m]%20@%20end())",
         OK("{\"type\":\"call\",\"func\":{\"name\":\"rate\",\"argTypes\":[\"matrix\"],\"variadic\":"
            "0,"
            "\"returnType\":\"vector\"},\"args\":[{\"type\":\"matrixSelector\",\"range\":60000,"
            "\"name\":\"a\",\"matchers\":[" NAME(
                "a") "],\"offset\":0,\"timestamp\":null,"
                     "\"startOrEnd\":\"end\",\"anchored\":false,\"smoothed\":false}]}")},
        {"a[1h:5m]",
         OK("{\"type\":\"subquery\",\"expr\":" VECTOR("a") ",\"range\":3600000,"
                                                           "\"step\":300000," SHIFT "}")},
        {"topk%20by(b)(3,a)",
         OK("{\"type\":\"aggregation\",\"op\":\"topk\",\"expr\":" VECTOR("a") ",\"param\":" NUMBER(
             "3") ",\"grouping\":[\"b\"],\"without\":false}")},
        {"sum%20without()(a)", OK("{\"type\":\"aggregation\",\"op\":\"sum\",\"expr\":" VECTOR(
                                   "a") ",\"param\":null,\"grouping\":[],\"without\":true}")},
        {"a%20==%20bool%20on(x)%20group_left(y)%20b",
         OK("{\"type\":\"binaryExpr\",\"op\":\"==\",\"lhs\":" VECTOR("a") ",\"rhs\":" VECTOR(
             "b") ",\"matching\":{\"card\":\"many-to-one\",\"labels\":[\"x\"],\"on\":true,"
                  "\"include\":"
                  "[\"y\"],\"fillValues\":{\"lhs\":null,\"rhs\":null}},\"bool\":true}")}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char path[256];

        snprintf(path, sizeof(path), "/api/v1/parse_query?query=%s", cases[i].query);
        service_expect(&service, path, 200, cases[i].body);
    }
    service_expect(&service, "/api/v1/parse_query?query=1%2Ba", 200,
                   OK("{\"type\":\"binaryExpr\",\"op\":\"+\",\"lhs\":" NUMBER(
                       "1") ",\"rhs\":" VECTOR("a") ",\"matching\":null,\"bool\":false}"));
}

static void test_parse_query__deep_trees_are_written_whole(void **state)
{
    enum { LEVELS = 900 };
    char path[3 * LEVELS + 64] = "/api/v1/parse_query?query=";
    const char *at;
    size_t levels = 0;

    (void)state;
    for (int i = 0; i < LEVELS; i++)
        strcat(path, "(");
    strcat(path, "a");
    for (int i = 0; i < LEVELS; i++)
        strcat(path, ")");
    assert_int_equal(service_get(&service, path), 200);
    for (at = service.body; (at = strstr(at, "parenExpr")) != NULL; at++)
        levels++;
    assert_int_equal(levels, LEVELS);
    assert_non_null(strstr(service.body, "vectorSelector"));
}

static void test_parse_query__what_is_no_query_is_refused(void **state)
{
    (void)state;
    service_expect_part(&service, "/api/v1/parse_query?query=a%2B", 400, "parse error");
    service_expect_part(&service, "/api/v1/parse_query", 400, "bad_data");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_parse_query__each_node_has_its_fields, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_parse_query__deep_trees_are_written_whole, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_parse_query__what_is_no_query_is_refused, setup,
                                        teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
