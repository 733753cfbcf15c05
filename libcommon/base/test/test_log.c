#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tide/base/slice.h"

#include "log_private.h"

#define START_LOGFMT "ts=2026-11-24T14:12:59.007Z level=warn component=http msg=\"slow reader\""
#define WALL_MS 1795529579007

static struct tide__log_line line;

static void make(const char *pairs_format, ...) TIDE_PRINTF(1, 2);

static void make(const char *pairs_format, ...)
{
    va_list args;

    va_start(args, pairs_format);
    tide__log_format(&line, WALL_MS, TIDE_LOG_WARN, "http", "slow reader", pairs_format, &args);
    va_end(args);
    line.text[line.len] = '\0';
}

static void expect(const char *expected)
{
    assert_string_equal(line.text, expected);
}

static void test_log__writes_logfmt(void **state)
{
    (void)state;
    tide_log_setup(TIDE_LOG_INFO, TIDE_LOG_LOGFMT);
    make("%s", "");
    expect(START_LOGFMT "\n");
    make("count=%d", 7);
    expect(START_LOGFMT " count=7\n");
    make("a=%s b=%zu c=%.3f d=%lld e=%c", "x", (size_t)8, 1.5, -9LL, 'z');
    expect(START_LOGFMT " a=x b=8 c=1.500 d=-9 e=z\n");
    make("a=%d/%d b=plain c=%5.2f%%", 1, 2, 99.5);
    expect(START_LOGFMT " a=1/2 b=plain c=99.50%\n");
    make("a=%.*s b=%*d|", 2, "xyz", 4, 7);
    expect(START_LOGFMT " a=xy b=\"   7|\"\n");
    make("a=two words b=%lu c=%x d=%"
         "ju",
         5UL, 255U, (uintmax_t)UINT64_MAX);
    expect(START_LOGFMT " a=\"two words\" b=5 c=ff d=18446744073709551615\n");
}

/* What a value holds never makes a new key. */
static void test_log__values_cannot_forge_pairs_or_lines(void **state)
{
    (void)state;
    tide_log_setup(TIDE_LOG_INFO, TIDE_LOG_LOGFMT);
    make("tenant=%s next=%d", "x next=9 \"y\\\n\x01\xff", 1);
    expect(START_LOGFMT " tenant=\"x next=9 \\\"y\\\\\\n\\u0001\\ufffd\" next=1\n");
    make("tenant=%s next=%d", "", 1);
    expect(START_LOGFMT " tenant=\"\" next=1\n");
}

static void test_log__writes_json(void **state)
{
    (void)state;
    tide_log_setup(TIDE_LOG_INFO, TIDE_LOG_JSON);
    make("count=%d share=%.2f text=%s mixed=%dms odd=%f", 7, 0.25, "5", 9, strtod("nan", NULL));
    expect("{\"ts\":\"2026-11-24T14:12:59.007Z\",\"level\":\"warn\",\"component\":\"http\","
           "\"msg\":\"slow reader\",\"count\":7,\"share\":0.25,\"text\":\"5\",\"mixed\":\"9ms\","
           "\"odd\":\"nan\"}\n");
    tide_log_setup(TIDE_LOG_INFO, TIDE_LOG_LOGFMT);
}

static void test_log__cuts_what_is_too_long(void **state)
{
    static char text[20000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    make("a=%s b=%s c=%s d=%s e=%s last=%d", text, text, text, text, text, 1);
    assert_true(line.len <= TIDE__LOG_LINE_BYTES + 2);
    assert_int_equal(line.text[line.len - 1], '\n');
    make("a=%s last=%d", text, 1);
    assert_non_null(strstr(line.text, " last=1\n"));
}

static void test_log__levels_are_kept(void **state)
{
    (void)state;
    tide_log_setup(TIDE_LOG_WARN, TIDE_LOG_LOGFMT);
    assert_false(tide_log_enabled(TIDE_LOG_INFO));
    assert_true(tide_log_enabled(TIDE_LOG_ERROR));
    tide_log(TIDE_LOG_INFO, "test", "not to be seen", "%s", "");
    tide_log_setup(TIDE_LOG_INFO, TIDE_LOG_LOGFMT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__writes_logfmt),
        cmocka_unit_test(test_log__values_cannot_forge_pairs_or_lines),
        cmocka_unit_test(test_log__writes_json),
        cmocka_unit_test(test_log__cuts_what_is_too_long),
        cmocka_unit_test(test_log__levels_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
