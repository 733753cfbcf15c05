#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_parse.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

struct accepted {
    const char *query;
    const char *printed; /* NULL: as the query. */
};

static void expect_accepted(const struct accepted *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct parsed parsed = parse_query(cases[i].query);
        struct tide_buf printed = {0};

        if (parsed.err != TIDE_OK)
            fail_msg("%s: %s", cases[i].query, parsed.diag.text);
        tide_promql_print(parsed.query.root, &printed);
        tide_buf_byte(&printed, 0);
        assert_false(printed.failed);
        assert_string_equal(printed.ptr,
                            cases[i].printed != NULL ? cases[i].printed : cases[i].query);
        tide_buf_deinit(&printed);
        parsed_free(&parsed);
    }
}

struct refused {
    const char *query;
    const char *message; /* Position included. */
};

static void expect_refused(const struct refused *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct parsed parsed = parse_query(cases[i].query);

        if (parsed.err != TIDE_ERR_INVALID)
            fail_msg("%s: was accepted", cases[i].query);
        assert_null(parsed.query.root);
        assert_string_equal(parsed.diag.text, cases[i].message);
        parsed_free(&parsed);
    }
}

static void test_parse__accepts_literals(void **state)
{
    static const struct accepted cases[] = {
        {"1", NULL},
        {"1_000_000", "1000000"},
        {"0x1F", "31"},
        {"0XaBe", "2750"},
        {"017", "15"},
        {"09", "9"},
        {".5", "0.5"},
        {"5.", "5"},
        {"1e3", "1000"},
        {"1E-7", "0.0000001"},
        {"2.5e+2", "250"},
        {"Inf", "+Inf"},
        {"-inF", "-Inf"},
        {"nan", "NaN"},
        {"+1", "1"},
        {"--1", "1"},
        {"-0", "-0"},
        {"9223372036854775808", "9223372036854776000"},
        {"5m", NULL},
        {"1h30m", NULL},
        {"90m", "1h30m"},
        {"-1w", NULL},
        {"100ms", NULL},
        {"\"a\"", NULL},
        {"'a\"b'", "\"a\\\"b\""},
        {"`a\\b\n`", "\"a\\\\b\\n\""},
        {"\"\\x41\\101\\u00e9\\U0001F600\\n\\t\\\\\"", "\"AA\xc3\xa9\xf0\x9f\x98\x80\\n\\t\\\\\""},
        {"\"\\xff\"", NULL},
        {"\"\\a\\b\\f\\r\\v\"", NULL},
        {"# only the second line counts\n1 # and not this", "1"},
    };

    (void)state;
    expect_accepted(cases, COUNT_OF(cases));
}

static void test_parse__accepts_selectors(void **state)
{
    static const struct accepted cases[] = {
        {"up", NULL},
        {"up{}", "up"},
        {"job:rate:5m", NULL},
        {":x", NULL},
        {"up{job=\"a\",x!=\"b\",y=~\"c.*\",z!~\"d\"}", NULL},
        {"up{z=\"1\", a=\"2\",}", "up{a=\"2\",z=\"1\"}"},
        {"{__name__=\"up\"}", NULL},
        {"{__name__=~\"up.*\"}", NULL},
        {"{\"metric.name\", \"label.name\"='x'}",
         "{\"label.name\"=\"x\",__name__=\"metric.name\"}"},
        {"up{\"a\"!~`x`}", "up{a!~\"x\"}"},
        {"sum{x=\"y\"}", NULL},
        {"by + and or unless unless or", "by + and or unless unless or"},
        {"offset offset 5m", NULL},
        {"start + end + step + range", NULL},
        {"Sum + MAX", NULL},
        {"fill + fill", NULL},
        {"up{on=\"x\",by=\"y\",inf=\"z\"}", "up{by=\"y\",inf=\"z\",on=\"x\"}"},
        {"up[5m]", NULL},
        {"up[300]", "up[5m]"},
        {"up[1d12h]", NULL},
        {"up[5m] offset 1h", NULL},
        {"up offset -1h", NULL},
        {"up offset 0s", "up"},
        {"up @ 123", "up @ 123.000"},
        {"up @ -1.5", "up @ -1.500"},
        {"up @ 1h", "up @ 3600.000"},
        {"up @ start()", NULL},
        {"up[5m] @ end() offset 5m", NULL},
        {"up offset 5m @ 1", "up @ 1.000 offset 5m"},
        {"rate(up[5m] anchored)", NULL},
        {"rate(up[5m] smoothed offset 1m)", NULL},
        {"up anchored @ 1", "up @ 1.000 anchored"},
        {"up[5m:1m]", NULL},
        {"up[5m:]", NULL},
        {"up[5m:1m] @ start() offset 5m", NULL},
        {"rate(up[5m])[1h:1m]", NULL},
        {"up[5m:1m] offset 5m @ end()", "up[5m:1m] @ end() offset 5m"},
    };

    (void)state;
    expect_accepted(cases, COUNT_OF(cases));
}

static void test_parse__accepts_durations_that_are_computed(void **state)
{
    static const struct accepted cases[] = {
        {"a[5m*2]", "a[5m * 2]"},
        {"a[-5m+35m]", "a[-5m + 35m]"},
        {"a[1h30m % 1h]", NULL},
        {"a[(9m30s+30s)*3]", "a[(9m30s + 30s) * 3]"},
        {"a[2^3^2]", "a[2 ^ 3 ^ 2]"},
        {"a[step()]", NULL},
        {"a[STEP() + range()]", "a[step() + range()]"},
        {"a[min(1m, 2m)]", "a[min_of(1m, 2m)]"},
        {"a[max_of(step()+1,(1h))]", "a[max_of(step() + 1, (1h))]"},
        {"a[5m+1:step()/2]", "a[5m + 1:step() / 2]"},
        {"a[ 5m : 1m ]", "a[5m:1m]"},
        {"a[5m # comment\n]", "a[5m]"},
        {"a offset step()", NULL},
        {"a offset -step()", NULL},
        {"a offset +step()", "a offset step()"},
        {"a offset (1h+step())", "a offset (1h + step())"},
        {"a offset -(5m*2)", "a offset -(5m * 2)"},
        {"a offset +(5m) * 2", NULL},
        /* Only one operand belongs to the offset, but parentheses go on. */
        {"a offset (5m) * 2", NULL},
        {"a offset 5m * 2", "a offset 5m * 2"},
        {"a offset 2 ^ 2", "a offset 2s ^ 2"},
        {"a offset min_of(step(),1s)+8", "a offset min_of(step(), 1s) + 8"},
        {"a offset max(1m,2m)", "a offset max_of(1m, 2m)"},
    };

    (void)state;
    expect_accepted(cases, COUNT_OF(cases));
}

static void test_parse__accepts_aggregations_and_calls(void **state)
{
    static const struct accepted cases[] = {
        {"sum(a)", NULL},
        {"SUM BY(x)(a)", "sum by (x) (a)"},
        {"sum(a) by (x, y)", "sum by (x, y) (a)"},
        {"sum by () (a)", "sum(a)"},
        {"sum without () (a)", NULL},
        {"sum by (x,) (a)", "sum by (x) (a)"},
        {"sum by (\"a.b\", 'c', on, by, bool, atan2, sum, start) (a)",
         "sum by (\"a.b\", c, on, by, bool, atan2, sum, start) (a)"},
        {"topk(3, a) by (x)", "topk by (x) (3, a)"},
        {"count_values(\"v\", a)", NULL},
        {"limitk(2, a) + limit_ratio(0.1, a)", NULL},
        {"quantile(0.9, a)", NULL},
        {"rate(a[5m])", NULL},
        {"time()", NULL},
        {"round(a)", NULL},
        {"round(a,5)", "round(a, 5)"},
        {"hour()", NULL},
        {"label_join(a, \"d\", \",\")", NULL},
        {"label_join(a, \"d\", \",\", \"x\", \"y\", \"z\")", NULL},
        {"sort_by_label(a)", NULL},
        {"sort_by_label_desc(a, \"x\", \"y\")", NULL},
        {"info(a)", NULL},
        {"info(a, {})", NULL},
        {"info(a, {b=\"c\"})", NULL},
        {"histogram_quantiles(a, \"q\", 0.5, 0.9, 0.99)", NULL},
        {"start() + end() + step() + range()", NULL},
        {"min_of(1, max_of(2, 3))", NULL},
        {"vector(1)", NULL},
    };

    (void)state;
    expect_accepted(cases, COUNT_OF(cases));
}

static void test_parse__accepts_operators_and_their_modifiers(void **state)
{
    static const struct accepted cases[] = {
        {"a+b", "a + b"},
        {"a == bool b", NULL},
        {"a * on(x) b", "a * on (x) b"},
        {"a * on() b", "a * on () b"},
        {"a * ignoring() b", "a * b"},
        {"a / ignoring(x,y) group_left b", "a / ignoring (x, y) group_left () b"},
        {"a / on (x) group_right(z) b", "a / on (x) group_right (z) b"},
        {"a and on(x) b", "a and on (x) b"},
        {"a > bool ignoring (x) b", NULL},
        {"a + fill(0) b", "a + fill (0) b"},
        {"a + fill_right(2) fill_left(-1e30) b", "a + fill_left (-1e+30) fill_right (2) b"},
        {"a + on(x) group_left(y) fill_left(NaN) b", "a + on (x) group_left (y) fill_left (NaN) b"},
        {"a + fill_left(1) fill_right(1) b", "a + fill (1) b"},
        {"1 > bool 2", NULL},
        {"a </ 1", NULL},
        {"a >/ Inf", "a >/ +Inf"},
        {"a atan2 b", NULL},
        {"a ATAN2 b", "a atan2 b"},
        {"-a", NULL},
        {"+a", NULL},
        {"- -a", "--a"},
    };

    (void)state;
    expect_accepted(cases, COUNT_OF(cases));
}

/* Appends the tree with all brackets. */
static void bracket(const struct tide_expr *expr, struct tide_buf *out)
{
    switch (expr->kind) {
    case TIDE_EXPR_BINARY:
        tide_buf_byte(out, '(');
        bracket(expr->u.binary.lhs, out);
        tide_buf_str(out, tide_binary_op_text(expr->u.binary.op));
        bracket(expr->u.binary.rhs, out);
        tide_buf_byte(out, ')');
        break;
    case TIDE_EXPR_UNARY:
        tide_buf_str(out, "(-");
        bracket(expr->u.unary.expr, out);
        tide_buf_byte(out, ')');
        break;
    default:
        tide_promql_print(expr, out);
        break;
    }
}

static void test_parse__follows_precedence_and_associativity(void **state)
{
    static const struct accepted cases[] = {
        {"a+b*c", "(a+(b*c))"},
        {"a*b+c", "((a*b)+c)"},
        {"a-b-c", "((a-b)-c)"},
        {"a/b*c%d", "(((a/b)*c)%d)"},
        {"a^b^c", "(a^(b^c))"},
        {"-a^b", "(-(a^b))"},
        {"-1^2", "(-(1^2))"},
        {"-a*b", "((-a)*b)"},
        {"-1*2", "(-1*2)"},
        {"a^-b*c", "((a^(-b))*c)"},
        {"2^-3^4", "(2^(-(3^4)))"},
        {"a or b and c", "(aor(bandc))"},
        {"a and b or c unless d", "((aandb)or(cunlessd))"},
        {"a>b==c", "((a>b)==c)"},
        {"a+b>c*d", "((a+b)>(c*d))"},
        {"a atan2 b*c", "((aatan2b)*c)"},
        {"a == b or c", "((a==b)orc)"},
        {"-a offset 5m", "(-a offset 5m)"},
        {"a + b offset 5m", "(a+b offset 5m)"},
        {"a </ b + c", "(a</(b+c))"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct parsed parsed = parse_query(cases[i].query);
        struct tide_buf text = {0};

        assert_int_equal(parsed.err, TIDE_OK);
        bracket(parsed.query.root, &text);
        tide_buf_byte(&text, 0);
        assert_string_equal(text.ptr, cases[i].printed);
        tide_buf_deinit(&text);
        parsed_free(&parsed);
    }
}

static void test_parse__refuses_bad_tokens(void **state)
{
    static const struct refused cases[] = {
        {"", "unknown position: parse error: no expression found in input"},
        {"  # nothing", "1:1: parse error: no expression found in input"},
        {"(a", "1:3: parse error: unclosed left parenthesis"},
        {"a)", "1:3: parse error: unexpected right parenthesis ')'"},
        {"a[5m", "1:5: parse error: unclosed left bracket"},
        {"a]", "1:2: parse error: unexpected right bracket ']'"},
        {"a[", "1:3: parse error: unexpected end of input in duration expression"},
        {"a[b]", "1:3: parse error: unexpected character in duration expression: 'b'"},
        {"a[5m b]", "1:6: parse error: unexpected character: 'b', expected ':'"},
        {"a[:]", "1:4: parse error: unexpected colon before duration in duration expression"},
        {"a[5m:1m:]", "1:8: parse error: unexpected colon ':'"},
        {"a[5m[", "1:5: parse error: unexpected left bracket '['"},
        {"a{", "1:3: parse error: unexpected end of input inside braces"},
        {"a{b{", "1:4: parse error: unexpected left brace '{'"},
        {"a{b!c}", "1:4: parse error: unexpected character after '!' inside braces: 'c'"},
        {"a{b==\"c\"}", "1:5: parse error: unexpected \"=\" in label matching, expected string"},
        {"a{1}", "1:3: parse error: unexpected character inside braces: '1'"},
        {"a ! b", "1:3: parse error: unexpected character after '!': ' '"},
        {"a =~ b", "1:3: parse error: unexpected character after '=': '~'"},
        {"a & b", "1:3: parse error: unexpected character: '&'"},
        {"a \xc3\xa9", "1:3: parse error: unexpected character: '\xc3\xa9'"},
        {"a \xff", "1:3: parse error: unexpected character: '\xef\xbf\xbd'"},
        {"\"abc", "1:1: parse error: unterminated quoted string"},
        {"`abc", "1:1: parse error: unterminated raw string"},
        {"\"a\nb\"", "1:1: parse error: unterminated quoted string"},
        {"\"\\q\"", "1:1: parse error: unknown escape sequence U+0071 'q'"},
        {"\"\\'\"", "1:1: parse error: unknown escape sequence U+0027 '\\''"},
        {"\"\\x4g\"", "1:1: parse error: illegal character U+0067 'g' in escape sequence"},
        {"\"\\400\"", "1:1: parse error: escape sequence is an invalid Unicode code point"},
        {"\"\\ud800\"", "1:1: parse error: escape sequence is an invalid Unicode code point"},
        {"\"\\U00110000\"", "1:1: parse error: escape sequence is an invalid Unicode code point"},
        {"\"\\x4", "1:1: parse error: escape sequence not terminated"},
        {"\"\xff\"", "1:1: parse error: invalid UTF-8 rune"},
        {"1a", "1:1: parse error: bad number or duration syntax: \"1\""},
        {"5m5", "1:1: parse error: bad number or duration syntax: \"5m5\""},
        {"1e", "1:1: parse error: bad number or duration syntax: \"1e\""},
        {"1__0", "1:1: parse error: bad number or duration syntax: \"1__\""},
        {"1h1d", "1:1: parse error: not a valid duration string: \"1h1d\""},
        {"300y", "1:1: parse error: duration out of range"},
        {"0x", "1:1: parse error: error parsing number: strconv.ParseFloat: parsing \"0x\": "
               "invalid syntax"},
        {"1e999", "1:1: parse error: error parsing number: strconv.ParseFloat: parsing "
                  "\"1e999\": value out of range"},
        {"a +\n  b c", "2:5: parse error: unexpected identifier \"c\""},
    };

    (void)state;
    expect_refused(cases, COUNT_OF(cases));
}

static void test_parse__refuses_what_stands_in_the_wrong_place(void **state)
{
    static const struct refused cases[] = {
        {"a b", "1:3: parse error: unexpected identifier \"b\""},
        {"a a:b", "1:3: parse error: unexpected metric identifier \"a:b\""},
        {"a 5", "1:3: parse error: unexpected number \"5\""},
        {"a 5m", "1:3: parse error: unexpected duration \"5m\""},
        {"a \"s\"", "1:3: parse error: unexpected string \"\\\"s\\\"\""},
        {"a \"a long string\"", "1:3: parse error: unexpected string \"\\\"a long st\"..."},
        {"a {b=\"c\"} {d=\"e\"}", "1:11: parse error: unexpected \"{\""},
        {"a = b", "1:3: parse error: unexpected \"=\""},
        {"a by", "1:3: parse error: unexpected <by>"},
        {"a start", "1:3: parse error: unexpected \"start\""},
        {"a sum", "1:3: parse error: unexpected <aggr:sum>"},
        {"a @", "1:4: parse error: unexpected end of input in @, expected timestamp"},
        {"a @ b", "1:5: parse error: unexpected identifier \"b\" in @, expected timestamp"},
        {"a @ start", "1:10: parse error: unexpected end of input in @, expected timestamp"},
        {"* a", "1:1: parse error: unexpected <op:*>"},
        {"a +", "1:4: parse error: unexpected end of input"},
        {"a + * b", "1:5: parse error: unexpected <op:*>"},
        {"bool", "1:1: parse error: unexpected <bool>"},
        {"a + group_left b", "1:5: parse error: unexpected <group_left>"},
        {"a + on b",
         "1:8: parse error: unexpected identifier \"b\" in grouping opts, expected \"(\""},
        {"a + on(b c) d", "1:10: parse error: unexpected identifier \"c\" in grouping opts, "
                          "expected \",\" or \")\""},
        {"a + on(5) d",
         "1:8: parse error: unexpected number \"5\" in grouping opts, expected label"},
        {"sum by (,) (a)", "1:9: parse error: unexpected \",\" in grouping opts, expected label"},
        {"sum by (\"\") (a)", "1:9: parse error: invalid label name for grouping: \"\""},
        {"sum by (x)", "1:11: parse error: unexpected end of input in aggregation"},
        {"sum(a b)", "1:7: parse error: unexpected identifier \"b\" in aggregation"},
        {"sum(abs(a b))", "1:11: parse error: unexpected identifier \"b\" in aggregation"},
        {"sum(a) b", "1:8: parse error: unexpected identifier \"b\""},
        {"sum a", "1:5: parse error: unexpected identifier \"a\""},
        {"a offset", "1:9: parse error: unexpected end of input in offset, expected number, "
                     "duration, step(), or range()"},
        {"a offset b", "1:10: parse error: unexpected identifier \"b\" in offset, expected "
                       "number, duration, step(), or range()"},
        {"a[5m,", "1:5: parse error: unexpected \",\" in subquery or range, expected \":\" or "
                  "\"]\""},
        {"a[*5m]", "1:3: parse error: unexpected <op:*> in subquery or range selector, expected "
                   "number, duration, step(), or range()"},
        {"a[5m:*]", "1:6: parse error: unexpected <op:*> in subquery selector, expected number, "
                    "duration, step(), range(), or \"]\""},
        {"a[5m:1m,]", "1:8: parse error: unexpected \",\" in subquery selector, expected \"]\""},
        {"a{b}", "1:4: parse error: unexpected \"}\" in label matching, expected label matching "
                 "operator"},
        {"a{b=c}", "1:5: parse error: unexpected identifier \"c\" in label matching, expected "
                   "string"},
        {"a{b=\"c\" d=\"e\"}", "1:9: parse error: unexpected identifier \"d\" in label "
                               "matching, expected \",\" or \"}\""},
        {"a{,}", "1:3: parse error: unexpected \",\" in label matching, expected identifier or "
                 "\"}\""},
        {"f(a,)", "1:4: parse error: trailing commas not allowed in function call args"},
        {"sum(a,,b)", "1:6: parse error: trailing commas not allowed in function call args"},
        {"()", "1:2: parse error: unexpected \")\""},
        {"nosuch(a)", "1:1: parse error: unknown function with name \"nosuch\""},
        {"RATE(a[5m])", "1:1: parse error: unknown function with name \"RATE\""},
        {"holt_winters(a[5m], 1, 1)",
         "1:1: parse error: unknown function with name \"holt_winters\""},
    };

    (void)state;
    expect_refused(cases, COUNT_OF(cases));
}

static void test_parse__refuses_wrong_types_and_counts(void **state)
{
    static const struct refused cases[] = {
        {"{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"},
        {"sum({a=~\".*\"})",
         "1:5: parse error: vector selector must contain at least one non-empty matcher"},
        {"{a!=\"b\"}",
         "1:1: parse error: vector selector must contain at least one non-empty matcher"},
        {"a{__name__=\"b\"}",
         "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""},
        {"a{\"b\"}", "1:1: parse error: metric name must not be set twice: \"a\" or \"b\""},
        {"rate(a)", "1:6: parse error: expected type range vector in call to function \"rate\", "
                    "got instant vector"},
        {"abs(a[5m])", "1:5: parse error: expected type instant vector in call to function "
                       "\"abs\", got range vector"},
        {"clamp(a, \"x\", 1)", "1:10: parse error: expected type scalar in call to function "
                               "\"clamp\", got string"},
        {"label_join(a, \"b\", \"c\", d)", "1:25: parse error: expected type string in call to "
                                           "function \"label_join\", got instant vector"},
        {"rate(a[5m], 1)", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2"},
        {"time(1)", "1:1: parse error: expected 0 argument(s) in call to \"time\", got 1"},
        {"round()", "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got "
                    "0"},
        {"hour(a, a)", "1:1: parse error: expected at most 1 argument(s) in call to \"hour\", "
                       "got 2"},
        {"label_join(a, \"b\")",
         "1:1: parse error: expected at least 3 argument(s) in call to \"label_join\", got 2"},
        {"info(a, b)", "1:9: parse error: expected label selectors only, got vector selector "
                       "instead"},
        {"info(a, abs({b=\"c\"}))", "1:9: parse error: expected label selectors only"},
        {"info(a, 1)", "1:1: parse error: expected type instant vector in call to function "
                       "\"info\", got scalar"},
        {"sum()", "1:1: parse error: no arguments for aggregate expression provided"},
        {"topk(a)", "1:1: parse error: wrong number of arguments for aggregate expression "
                    "provided, expected 2, got 1"},
        {"sum(a, b)", "1:1: parse error: wrong number of arguments for aggregate expression "
                      "provided, expected 1, got 2"},
        {"sum(1)", "1:5: parse error: expected type instant vector in aggregation expression, "
                   "got scalar"},
        {"topk(a, b)", "1:6: parse error: expected type scalar in aggregation parameter, got "
                       "instant vector"},
        {"count_values(1, a)", "1:14: parse error: expected type string in aggregation "
                               "parameter, got scalar"},
        {"1 > 2", "1:3: parse error: comparisons between scalars must use BOOL modifier"},
        {"a + bool b", "1:3: parse error: bool modifier can only be used on comparison operators"},
        {"a and bool b",
         "1:3: parse error: bool modifier can only be used on comparison operators"},
        {"a and 1", "1:1: parse error: set operator \"and\" not allowed in binary scalar "
                    "expression"},
        {"1 or 1", "1:1: parse error: set operator \"or\" not allowed in binary scalar "
                   "expression"},
        {"a or on(x) group_left b", "1:1: parse error: no grouping allowed for \"or\" operation"},
        {"a * on(x) group_left(y, x) b",
         "1:3: parse error: label \"x\" must not occur in ON and GROUP clause at once"},
        {"a + on(x) 1", "1:1: parse error: vector matching only allowed between instant vectors"},
        {"1 + fill(1) a",
         "1:1: parse error: filling in missing series only allowed between instant vectors"},
        {"a or fill(1) b",
         "1:1: parse error: filling in missing series not allowed for set operators"},
        {"a[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant "
                      "vector types"},
        {"1 + \"a\"", "1:5: parse error: binary expression must contain only scalar and instant "
                      "vector types"},
        {"-\"a\"", "1:1: parse error: unary expression only allowed on expressions of type "
                   "scalar or instant vector, got \"string\""},
        {"-a[5m]", "1:1: parse error: unary expression only allowed on expressions of type "
                   "scalar or instant vector, got \"range vector\""},
        {"1[5m:]", "1:1: parse error: subquery is only allowed on instant vector, got scalar "
                   "instead"},
        {"a[5m][5m:]", "1:1: parse error: subquery is only allowed on instant vector, got matrix "
                       "instead"},
        {"a{b=~\"(\"}", "1:3: parse error: error parsing regexp: missing ): ("},
    };

    (void)state;
    expect_refused(cases, COUNT_OF(cases));
}

static void test_parse__refuses_bad_times(void **state)
{
    static const struct refused cases[] = {
        {"a[0]", "1:3: parse error: duration must be greater than 0"},
        {"a[5m:0s]", "1:6: parse error: duration must be greater than 0"},
        {"a[-5m]", "1:3: parse error: duration must be greater than 0"},
        {"a[5m/0]", "1:5: parse error: division by zero"},
        {"a[5m%0]", "1:5: parse error: modulo by zero"},
        {"a[1e30]", "1:3: parse error: duration out of range"},
        {"a offset 1e30", "1:10: parse error: duration out of range"},
        {"a[5m][5m]", "1:6: parse error: ranges only allowed for vector selectors"},
        {"(a)[5m]", "1:4: parse error: ranges only allowed for vector selectors"},
        {"a offset 5m[5m]", "1:12: parse error: no offset modifiers allowed before range"},
        {"a @ 1[5m]", "1:6: parse error: no @ modifiers allowed before range"},
        {"a offset 1m offset 2m", "1:1: parse error: offset may not be set multiple times"},
        {"a @ 1 @ start()", "1:1: parse error: @ <timestamp> may not be set multiple times"},
        {"a @ Inf", "1:1: parse error: timestamp out of bounds for @ modifier: +Inf"},
        {"a @ 1e30", "1:1: parse error: timestamp out of bounds for @ modifier: "
                     "1000000000000000019884624838656.000000"},
        {"abs(a) offset 5m",
         "1:1: parse error: offset modifier must be preceded by an instant vector selector or "
         "range vector selector or a subquery"},
        {"1 @ 2", "1:1: parse error: @ modifier must be preceded by an instant vector selector "
                  "or range vector selector or a subquery"},
        {"a anchored smoothed",
         "1:1: parse error: anchored and smoothed modifiers cannot be used together"},
        {"a[5m:] smoothed", "1:1: parse error: smoothed modifier is not supported for subqueries"},
        {"1 anchored", "1:1: parse error: anchored modifier not implemented"},
    };

    (void)state;
    expect_refused(cases, COUNT_OF(cases));
}

static void test_parse__gives_nodes_their_bytes(void **state)
{
    const char *query = " sum by (x) (rate(up{a=\"b\"}[5m] offset 1m)) + -(1) ";
    struct parsed parsed = parse_query(query);
    const struct tide_expr *root = parsed.query.root;
    const struct tide_expr *node = root;
    static const struct tide_promql_range wanted[] = {
        {1, 50}, {1, 43}, {13, 42}, {18, 41}, {18, 27}};

    (void)state;
    assert_int_equal(parsed.err, TIDE_OK);
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        assert_int_equal(node->pos.start, wanted[i].start);
        assert_int_equal(node->pos.end, wanted[i].end);
        node = tide_expr_child(node, 0);
    }
    assert_null(node);
    assert_int_equal(root->u.binary.rhs->pos.start, 46);
    assert_int_equal(root->u.binary.rhs->pos.end, 50);
    assert_int_equal(root->type, TIDE_PROMQL_VECTOR);
    assert_int_equal(parsed.query.selector_count, 1);
    assert_int_equal(parsed.query.node_count, 8);
    assert_int_equal(root->depth, 5);
    parsed_free(&parsed);
}

static void test_parse__keeps_the_place_of_a_failure(void **state)
{
    struct parsed parsed = parse_query("a +\n rate(b)");

    (void)state;
    assert_int_equal(parsed.err, TIDE_ERR_INVALID);
    assert_int_equal(parsed.query.error.start, 10);
    assert_int_equal(parsed.query.error.end, 11);
    parsed_free(&parsed);
}

static void test_parse__puts_the_name_last_among_matchers(void **state)
{
    struct parsed parsed = parse_query("up{a=\"b\"}");
    const struct tide_selector *selector = &parsed.query.selectors[0]->u.selector;

    (void)state;
    assert_int_equal(selector->matcher_count, 2);
    assert_true(tide_slice_eq(selector->name, TIDE_SLICE("up")));
    assert_true(tide_slice_eq(selector->matchers[1].name, TIDE_SLICE("__name__")));
    assert_true(tide_slice_eq(selector->matchers[1].value, TIDE_SLICE("up")));
    parsed_free(&parsed);
}

static void test_parse_selector__takes_selectors_only(void **state)
{
    static const char *const good[] = {"up", "{a=\"b\"}", "up{a=\"b\"}", "{\"a b\"}", "sum"};
    static const struct refused bad[] = {
        {"up + 1", "1:4: parse error: unexpected <op:+>"},
        {"up[5m]", "1:3: parse error: unexpected \"[\""},
        {"1", "1:1: parse error: unexpected number \"1\""},
        {"", "unknown position: parse error: unexpected end of input"},
        {"{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(good) + COUNT_OF(bad); i++) {
        const char *text = i < COUNT_OF(good) ? good[i] : bad[i - COUNT_OF(good)].query;
        struct tide_arena *arena = tide_arena_new(0);
        struct tide_promql query;
        struct tide_diag diag = {0};
        enum tide_err err = tide_promql_parse_selector(tide_slice_str(text), arena, &query, &diag);

        if (i < COUNT_OF(good)) {
            assert_int_equal(err, TIDE_OK);
            assert_int_equal(query.root->kind, TIDE_EXPR_SELECTOR);
        } else {
            assert_int_equal(err, TIDE_ERR_INVALID);
            assert_string_equal(diag.text, bad[i - COUNT_OF(good)].message);
        }
        tide_promql_release(&query);
        tide_arena_free(arena);
    }
}

static void test_fn_find__knows_each_function_of_the_list(void **state)
{
    enum tide_fn fn;

    (void)state;
    for (int i = 0; i < TIDE_FN_COUNT; i++) {
        assert_true(tide_fn_find(tide_slice_str(tide_fn_signature((enum tide_fn)i).name), &fn));
        assert_int_equal(fn, i);
    }
    assert_false(tide_fn_find(TIDE_SLICE("rat"), &fn));
    assert_false(tide_fn_find(TIDE_SLICE(""), &fn));
    assert_false(tide_fn_find(TIDE_SLICE("zzz"), &fn));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse__accepts_literals),
        cmocka_unit_test(test_parse__accepts_selectors),
        cmocka_unit_test(test_parse__accepts_durations_that_are_computed),
        cmocka_unit_test(test_parse__accepts_aggregations_and_calls),
        cmocka_unit_test(test_parse__accepts_operators_and_their_modifiers),
        cmocka_unit_test(test_parse__follows_precedence_and_associativity),
        cmocka_unit_test(test_parse__refuses_bad_tokens),
        cmocka_unit_test(test_parse__refuses_what_stands_in_the_wrong_place),
        cmocka_unit_test(test_parse__refuses_wrong_types_and_counts),
        cmocka_unit_test(test_parse__refuses_bad_times),
        cmocka_unit_test(test_parse__gives_nodes_their_bytes),
        cmocka_unit_test(test_parse__keeps_the_place_of_a_failure),
        cmocka_unit_test(test_parse__puts_the_name_last_among_matchers),
        cmocka_unit_test(test_parse_selector__takes_selectors_only),
        cmocka_unit_test(test_fn_find__knows_each_function_of_the_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
