#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_generate.h"
#include "support_parse.h"

/* What was printed of a query means the same as the query. */
static void expect_same(const struct parsed *query, const struct tide_buf *source,
                        const struct tide_buf *printed)
{
    struct parsed again = parse_text(tide_buf_view(printed));
    struct tide_buf tree = tree_text(query->query.root);
    struct tide_buf tree_again = {0};

    assert_false(printed->failed);
    if (again.err != TIDE_OK)
        fail_msg("%.*s\nwas printed as\n%.*s\n%s", TIDE_SLICE_ARGS(tide_buf_view(source)),
                 TIDE_SLICE_ARGS(tide_buf_view(printed)), again.diag.text);
    tree_again = tree_text(again.query.root);
    if (!tide_slice_eq(tide_buf_view(&tree), tide_buf_view(&tree_again)))
        fail_msg("%.*s\nwas printed as\n%.*s\ntrees\n%.*s\n%.*s",
                 TIDE_SLICE_ARGS(tide_buf_view(source)), TIDE_SLICE_ARGS(tide_buf_view(printed)),
                 TIDE_SLICE_ARGS(tide_buf_view(&tree)),
                 TIDE_SLICE_ARGS(tide_buf_view(&tree_again)));
    tide_buf_deinit(&tree);
    tide_buf_deinit(&tree_again);
    parsed_free(&again);
}

static void test_print__reads_back_as_the_same_tree(void **state)
{
    static const enum tide_promql_type types[] = {TIDE_PROMQL_VECTOR, TIDE_PROMQL_VECTOR,
                                                  TIDE_PROMQL_SCALAR, TIDE_PROMQL_MATRIX,
                                                  TIDE_PROMQL_STRING};
    struct generator generator = {.state = 20240531, .duration_expressions = true};
    size_t bytes = 0;

    (void)state;
    for (int i = 0; i < 12000; i++) {
        struct tide_buf source = {0};
        struct tide_buf printed = {0};
        struct parsed parsed;

        generator.odd_spelling = i % 2 == 0;
        generator_query(&generator, types[i % 5], i % 7, &source);
        parsed = parse_text(tide_buf_view(&source));
        if (parsed.err != TIDE_OK)
            fail_msg("%.*s\n%s", TIDE_SLICE_ARGS(tide_buf_view(&source)), parsed.diag.text);
        tide_promql_print(parsed.query.root, &printed);
        expect_same(&parsed, &source, &printed);
        printed.len = 0;
        tide_promql_format(parsed.query.root, &printed);
        expect_same(&parsed, &source, &printed);
        bytes += source.len;
        tide_buf_deinit(&printed);
        tide_buf_deinit(&source);
        parsed_free(&parsed);
    }
    assert_true(bytes > 100000); /* The generator has not fallen silent. */
}

static void expect_format(const char *query, const char *wanted)
{
    struct parsed parsed = parse_query(query);
    struct tide_buf text = {0};

    assert_int_equal(parsed.err, TIDE_OK);
    tide_promql_format(parsed.query.root, &text);
    tide_buf_byte(&text, 0);
    assert_string_equal(text.ptr, wanted);
    tide_buf_deinit(&text);
    parsed_free(&parsed);
}

#define LONG_NAME "a_metric_name_that_is_rather_long_so_that_two_of_them_do_not_fit"

static void test_format__keeps_what_fits_on_one_line(void **state)
{
    (void)state;
    expect_format("sum( rate(a[5m]) )by(x)", "sum by (x) (rate(a[5m]))");
}

static void test_format__breaks_binary_operations(void **state)
{
    (void)state;
    expect_format(LONG_NAME "+on(x)" LONG_NAME, "  " LONG_NAME "\n+ on (x)\n  " LONG_NAME);
}

static void test_format__breaks_aggregations_and_calls(void **state)
{
    (void)state;
    expect_format("topk by (x) (3, clamp(" LONG_NAME " + " LONG_NAME ", 1, 2))",
                  "topk by (x) (\n"
                  "  3,\n"
                  "  clamp(\n"
                  "      " LONG_NAME "\n"
                  "    +\n"
                  "      " LONG_NAME ",\n"
                  "    1,\n"
                  "    2\n"
                  "  )\n"
                  ")");
}

static void test_format__breaks_parentheses_signs_and_subqueries(void **state)
{
    (void)state;
    expect_format("-(" LONG_NAME " + " LONG_NAME ")", "-(\n"
                                                      "    " LONG_NAME "\n"
                                                      "  +\n"
                                                      "    " LONG_NAME "\n"
                                                      ")");
    expect_format("max_over_time((" LONG_NAME " + " LONG_NAME ")[5m:1m] offset 1m)",
                  "max_over_time(\n"
                  "  (\n"
                  "      " LONG_NAME "\n"
                  "    +\n"
                  "      " LONG_NAME "\n"
                  "  )[5m:1m] offset 1m\n"
                  ")");
}

static void test_format__takes_time_in_proportion_to_the_text(void **state)
{
    struct tide_buf source = {0};
    struct tide_buf text = {0};
    struct parsed parsed;

    (void)state;
    /* A long string below many levels, all of which have to be broken. */
    for (int i = 0; i < 900; i++)
        tide_buf_str(&source, "abs(");
    tide_buf_str(&source, "up{a=\"");
    for (int i = 0; i < 100000; i++)
        tide_buf_str(&source, "x");
    tide_buf_str(&source, "\"}");
    for (int i = 0; i < 900; i++)
        tide_buf_str(&source, ")");
    parsed = parse_text(tide_buf_view(&source));
    assert_int_equal(parsed.err, TIDE_OK);
    tide_promql_format(parsed.query.root, &text);
    assert_false(text.failed);
    assert_in_range(text.len, 100000, 100000 + 2 * 900 * 110);
    tide_buf_deinit(&text);
    tide_buf_deinit(&source);
    parsed_free(&parsed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print__reads_back_as_the_same_tree),
        cmocka_unit_test(test_format__keeps_what_fits_on_one_line),
        cmocka_unit_test(test_format__breaks_binary_operations),
        cmocka_unit_test(test_format__breaks_aggregations_and_calls),
        cmocka_unit_test(test_format__breaks_parentheses_signs_and_subqueries),
        cmocka_unit_test(test_format__takes_time_in_proportion_to_the_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
