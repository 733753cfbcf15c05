#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_parse.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const struct tide_promql_times times = {50000, 60000, 5000};

/* The range of the one matrix in the query, or its offset. */
static enum tide_err resolve(const char *query, int64_t *range_ms, int64_t *offset_ms,
                             struct tide_diag *diag)
{
    struct parsed parsed = parse_query(query);
    enum tide_err err;

    assert_int_equal(parsed.err, TIDE_OK);
    err = tide_promql_resolve(&parsed.query, &times, diag);
    if (parsed.query.root->kind == TIDE_EXPR_MATRIX)
        *range_ms = parsed.query.root->u.matrix.range_ms;
    *offset_ms = parsed.query.selectors[0]->u.selector.shift.offset_ms;
    parsed_free(&parsed);
    return err;
}

static void test_resolve__computes_ranges_and_offsets(void **state)
{
    static const struct {
        const char *query;
        int64_t range_ms, offset_ms;
    } cases[] = {
        {"a[5m]", 300000, 0},
        {"a[1.5]", 1500, 0},
        {"a[5m*2+1]", 601000, 0},
        {"a[1h30m % 1h]", 1800000, 0},
        {"a[2 ^ 3 ^ 2 / 512]", 1000, 0},
        {"a[-5m+35m]", 1800000, 0},
        {"a[step()+1ms]", 5001, 0},
        {"a[1+(STep()-5)*2]", 1000, 0},
        {"a[range()]", 10000, 0},
        {"a[min_of(step(), 3s)]", 3000, 0},
        {"a[max_of(step(), 3s)]", 5000, 0},
        {"a[5m] offset -(5m*2)", 300000, -600000},
        {"a offset step()", 0, 5000},
        {"a offset -step()", 0, -5000},
        {"a offset (-step()*2)", 0, -10000},
        {"a offset +min_of(step(), 1s)", 0, 1000},
        {"a offset -(20*(((((8 - 2) / 3) * 7s) % 4) + 8000ms))", 0, -200000},
        {"a offset 5m * 2", 0, 300000},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t range_ms = 0;
        int64_t offset_ms = 0;
        struct tide_diag diag = {0};

        assert_int_equal(resolve(cases[i].query, &range_ms, &offset_ms, &diag), TIDE_OK);
        assert_int_equal(range_ms, cases[i].range_ms);
        assert_int_equal(offset_ms, cases[i].offset_ms);
    }
}

static void test_resolve__refuses_what_cannot_be_a_duration(void **state)
{
    static const struct {
        const char *query;
        const char *message;
    } cases[] = {
        {"a[step()-5]", "2:10: duration must be greater than 0"},
        {"a[5m-10m]", "2:8: duration must be greater than 0"},
        {"a[1/2000]", "2:8: duration must be greater than 0"},
        {"a[5m/(step()-5)]", "2:15: division by zero"},
        {"a[5m%(step()-5)]", "2:15: modulo by zero"},
        {"a[10^300]", "2:8: duration is out of range"},
        {"a[(0-1)^0.5]", "2:11: duration is out of range"},
        {"a offset (10^300)", "9:17: duration is out of range"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        int64_t range_ms;
        int64_t offset_ms;
        struct tide_diag diag = {0};

        assert_int_equal(resolve(cases[i].query, &range_ms, &offset_ms, &diag), TIDE_ERR_INVALID);
        assert_string_equal(diag.text, cases[i].message);
    }
}

static void test_resolve__places_at_start_and_end(void **state)
{
    struct parsed parsed = parse_query("a @ start() + b @ end() + max_over_time(c[5m:1m] @ 7.5)");
    const struct tide_expr *call = parsed.query.root->u.binary.rhs;

    (void)state;
    assert_int_equal(parsed.err, TIDE_OK);
    assert_int_equal(tide_promql_resolve(&parsed.query, &times, NULL), TIDE_OK);
    assert_int_equal(parsed.query.selectors[0]->u.selector.shift.at_ms, 50000);
    assert_int_equal(parsed.query.selectors[1]->u.selector.shift.at_ms, 60000);
    assert_int_equal(call->u.call.args[0]->u.subquery.shift.at_ms, 7500);
    assert_int_equal(call->u.call.args[0]->u.subquery.range_ms, 300000);
    assert_int_equal(call->u.call.args[0]->u.subquery.step_ms, 60000);
    parsed_free(&parsed);
}

static void test_resolve__may_be_repeated_for_other_times(void **state)
{
    static const struct tide_promql_times others = {0, 0, 1000};
    struct parsed parsed = parse_query("a[step()] @ end()");

    (void)state;
    assert_int_equal(parsed.err, TIDE_OK);
    assert_int_equal(tide_promql_resolve(&parsed.query, &times, NULL), TIDE_OK);
    assert_int_equal(parsed.query.root->u.matrix.range_ms, 5000);
    assert_int_equal(tide_promql_resolve(&parsed.query, &others, NULL), TIDE_OK);
    assert_int_equal(parsed.query.root->u.matrix.range_ms, 1000);
    assert_int_equal(parsed.query.selectors[0]->u.selector.shift.at_ms, 0);
    parsed_free(&parsed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve__computes_ranges_and_offsets),
        cmocka_unit_test(test_resolve__refuses_what_cannot_be_a_duration),
        cmocka_unit_test(test_resolve__places_at_start_and_end),
        cmocka_unit_test(test_resolve__may_be_repeated_for_other_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
