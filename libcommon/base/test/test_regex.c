#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tide/base/mem.h"
#include "tide/base/regex.h"

static struct tide_regex *compile(const char *pattern)
{
    struct tide_regex *regex = NULL;
    struct tide_diag diag = {""};

    if (tide_regex_new(tide_slice_str(pattern), &regex, &diag) != TIDE_OK)
        fail_msg("%s: %s", pattern, diag.text);
    return regex;
}

static bool matches(const char *pattern, const char *text)
{
    struct tide_regex *regex = compile(pattern);
    bool matched = tide_regex_match(regex, tide_slice_str(text));

    tide_regex_free(regex);
    return matched;
}

static void test_regex__is_anchored_and_dot_matches_newline(void **state)
{
    (void)state;
    assert_true(matches("a.c", "abc"));
    assert_true(matches("a.c", "a\nc"));
    assert_false(matches("a.c", "xabc"));
    assert_false(matches("a.c", "abcx"));
    assert_false(matches("a|b", "ab"));
    assert_true(matches("", ""));
    assert_false(matches("", "a"));
    assert_true(matches(".*", ""));
    assert_false(matches(".+", ""));
    assert_true(matches("(?i)PROD", "prod"));
    assert_true(matches("^a$", "a"));
    assert_true(matches("a(b)?", "ab"));
    assert_true(matches("caf\xc3\xa9.", "caf\xc3\xa9\xf0\x9f\x98\x80"));
    assert_true(matches("[\\]]+", "]]"));
    assert_true(matches("[](?<x>]+", "(?<x>]"));
    assert_true(matches("[[:alpha:](?<]+", "a(?<b"));
    assert_true(matches("\\Q(?<\\C\\E", "(?<\\C"));
    assert_true(matches("\\(?<", "(<"));
}

static void test_regex__takes_text_that_is_not_utf8(void **state)
{
    (void)state;
    assert_false(matches("ab", "\xff\xfe"));
    assert_true(matches("(?:\\x00|.*)b", "ab"));
    (void)matches(".*", "\xff\xfe\x80"); /* Either answer, but no crash. */
}

static void test_regex__knows_both_forms_of_named_groups(void **state)
{
    (void)state;
    assert_true(matches("(?P<x>a)(?<y>b)", "ab"));
}

static void test_regex__refuses_with_a_reason(void **state)
{
    static const char *const bad[] = {"(",      "a)(b",
                                      "[a",     "*",
                                      "\\",     "(?<=a)b",
                                      "\\C",    "(a)\\1",
                                      "(?=a)",  "a{1001}",
                                      "(?<a",   "[b-a]",

                                      "\xff",   "((a{1,100}){1,100}){1,100}",
                                      "(?P=x)", "x\\"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tide_regex *regex = NULL;
        struct tide_diag diag = {""};

        if (tide_regex_new(tide_slice_str(bad[i]), &regex, &diag) != TIDE_ERR_INVALID)
            fail_msg("accepted %s", bad[i]);
        assert_null(regex);
        assert_string_not_equal(diag.text, "");
        assert_true(tide_slice_is_utf8(tide_slice_str(diag.text)));
    }
}

static void test_regex__refuses_patterns_over_the_bound(void **state)
{
    static uint8_t pattern[TIDE_REGEX_BYTES_MAX + 1];
    struct tide_regex *regex = NULL;

    (void)state;
    memset(pattern, 'a', sizeof(pattern));
    assert_int_equal(tide_regex_new((struct tide_slice){pattern, sizeof(pattern)}, &regex, NULL),
                     TIDE_ERR_INVALID);
    assert_int_equal(
        tide_regex_new((struct tide_slice){pattern, sizeof(pattern) - 1}, &regex, NULL), TIDE_OK);
    assert_true(tide_regex_match(regex, (struct tide_slice){pattern, sizeof(pattern) - 1}));
    tide_regex_free(regex);
    tide_regex_free(NULL);
}

static void expect_expand(const char *pattern, const char *text, const char *template_text,
                          const char *expected)
{
    struct tide_regex *regex = compile(pattern);
    struct tide_buf out = {0};

    assert_true(
        tide_regex_expand(regex, tide_slice_str(text), tide_slice_str(template_text), &out));
    if (!tide_slice_eq(tide_buf_view(&out), tide_slice_str(expected)))
        fail_msg("%s: got %.*s", template_text, TIDE_SLICE_ARGS(tide_buf_view(&out)));
    tide_buf_deinit(&out);
    tide_regex_free(regex);
}

static void test_regex_expand__follows_gos_templates(void **state)
{
    (void)state;
    expect_expand("(.*):(.*)", "host:9090", "$1", "host");
    expect_expand("(.*):(.*)", "host:9090", "${2}-$1!", "9090-host!");
    expect_expand("(.*):(.*)", "host:9090", "$0", "host:9090");
    expect_expand("(.*):(.*)", "host:9090", "$1x", "");  /* The group "1x". */
    expect_expand("(.*):(.*)", "host:9090", "$3$9", ""); /* No such groups. */
    expect_expand("(.*):(.*)", "host:9090", "$01", "");
    expect_expand("(.*):(.*)", "host:9090", "$$1 $", "$1 $");
    expect_expand("(.*):(.*)", "host:9090", "${1", "${1");
    expect_expand("(.*):(.*)", "host:9090", "${}", "${}");
    expect_expand("(.*):(.*)", "host:9090", "$-", "$-");
    expect_expand("(.*):(.*)", "host:9090", "", "");
    expect_expand("(?P<h>.*):(?<p>.*)", "host:9090", "$p/${h}/$none", "9090/host/");
    expect_expand("(a)|(b)", "b", "<$1|$2>", "<|b>");
    expect_expand("(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(a)(b)", "aaaaaaaaaaaaaaaaab",
                  "$18", "b");
    expect_expand("", "", "x", "x");
}

static void test_regex_expand__adds_nothing_without_a_match(void **state)
{
    struct tide_regex *regex = compile("a(.*)");
    struct tide_buf out = {0};

    (void)state;
    assert_false(tide_regex_expand(regex, TIDE_SLICE("b"), TIDE_SLICE("x$1"), &out));
    assert_int_equal(out.len, 0);
    tide_regex_free(regex);
}

static void test_regex_range__holds_every_match(void **state)
{
    struct tide_regex *regex = compile("node_(cpu|memory|disk)_.*_total");
    struct tide_buf low = {0};
    struct tide_buf high = {0};

    (void)state;
    assert_true(tide_regex_range(regex, &low, &high));
    assert_true(tide_slice_cmp(tide_buf_view(&low), TIDE_SLICE("node_cpu_x_total")) <= 0);
    assert_true(tide_slice_starts(tide_buf_view(&low), TIDE_SLICE("node_")));
    assert_true(tide_slice_cmp(tide_buf_view(&high), TIDE_SLICE("node_memory_x_total")) >= 0);
    assert_true(tide_slice_starts(tide_buf_view(&high), TIDE_SLICE("node_")));
    tide_regex_free(regex);
    tide_buf_deinit(&low);
    tide_buf_deinit(&high);
    regex = compile(".*x");
    assert_false(tide_regex_range(regex, &low, &high));
    tide_regex_free(regex);
    regex = compile("\\Qopen"); /* The quotation swallows what is put around it. */
    assert_false(tide_regex_range(regex, &low, &high));
    assert_true(tide_regex_match(regex, TIDE_SLICE("open")));
    tide_regex_free(regex);
    /* A match of the alternation's longer branch lies in the range too. */
    regex = compile("a|aa|ab");
    assert_true(tide_regex_range(regex, &low, &high));
    assert_true(tide_slice_cmp(tide_buf_view(&high), TIDE_SLICE("ab")) >= 0);
    assert_true(tide_slice_cmp(tide_buf_view(&low), TIDE_SLICE("a")) <= 0);
    tide_regex_free(regex);
    tide_buf_deinit(&low);
    tide_buf_deinit(&high);
}

#ifdef TIDE_TEST_FAULTS
static void test_regex__survives_each_failed_allocation(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct tide_regex *regex = NULL;
        enum tide_err err;

        tide_test_mem_fail_nth(nth);
        err = tide_regex_new(TIDE_SLICE("(a)b"), &regex, NULL);
        if (!tide_test_mem_fired()) {
            assert_int_equal(err, TIDE_OK);
            tide_regex_free(regex);
            break;
        }
        assert_int_equal(err, TIDE_ERR_NO_MEMORY);
        assert_null(regex);
        assert_int_equal(tide_test_mem_live(), 0);
    }
    assert_int_equal(tide_test_mem_live(), 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regex__is_anchored_and_dot_matches_newline),
        cmocka_unit_test(test_regex__takes_text_that_is_not_utf8),
        cmocka_unit_test(test_regex__knows_both_forms_of_named_groups),
        cmocka_unit_test(test_regex__refuses_with_a_reason),
        cmocka_unit_test(test_regex__refuses_patterns_over_the_bound),
        cmocka_unit_test(test_regex_expand__follows_gos_templates),
        cmocka_unit_test(test_regex_expand__adds_nothing_without_a_match),
        cmocka_unit_test(test_regex_range__holds_every_match),
#ifdef TIDE_TEST_FAULTS
        cmocka_unit_test(test_regex__survives_each_failed_allocation),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
