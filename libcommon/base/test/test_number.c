#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tide/base/number.h"

static uint64_t seed = 987654321;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint64_t bits_of(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

static double from_bits(uint64_t bits)
{
    double v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static struct tide_slice formatted(size_t (*format)(double, char *), double v)
{
    static char text[TIDE_NUMBER_TEXT_MAX];

    return (struct tide_slice){(uint8_t *)text, format(v, text)};
}

static void expect(size_t (*format)(double, char *), double v, const char *expected)
{
    struct tide_slice got = formatted(format, v);

    if (!tide_slice_eq(got, tide_slice_str(expected)))
        fail_msg("%a: got %.*s, expected %s", v, TIDE_SLICE_ARGS(got), expected);
}

/* Value, then Go's FormatFloat 'f', the API's form, and 'g', each with the shortest precision. */
static const struct {
    double v;
    const char *plain;
    const char *api;
    const char *g;
} known[] = {
    {0.0, "0", "0", "0"},
    {-0.0, "-0", "-0", "-0"},
    {1.0, "1", "1", "1"},
    {-1.0, "-1", "-1", "-1"},
    {0.1, "0.1", "0.1", "0.1"},
    {0.3, "0.3", "0.3", "0.3"},
    {0.1 + 0.2, "0.30000000000000004", "0.30000000000000004", "0.30000000000000004"},
    {1.5, "1.5", "1.5", "1.5"},
    {100, "100", "100", "100"},
    {123456, "123456", "123456", "123456"},
    {999999, "999999", "999999", "999999"},
    {1e6, "1000000", "1000000", "1e+06"},
    {-1e6, "-1000000", "-1000000", "-1e+06"},
    {1234567, "1234567", "1234567", "1.234567e+06"},
    {1234567.5, "1234567.5", "1234567.5", "1.2345675e+06"},
    {999999.5, "999999.5", "999999.5", "999999.5"},
    {0.0001, "0.0001", "0.0001", "0.0001"},
    {0.00001, "0.00001", "0.00001", "1e-05"},
    {0.000123, "0.000123", "0.000123", "0.000123"},
    {1e-6, "0.000001", "0.000001", "1e-06"},
    {9.99e-7, "0.000000999", "9.99e-07", "9.99e-07"},
    {1e-7, "0.0000001", "1e-07", "1e-07"},
    {-1e-7, "-0.0000001", "-1e-07", "-1e-07"},
    {1e15, "1000000000000000", "1000000000000000", "1e+15"},
    {1e20, "100000000000000000000", "100000000000000000000", "1e+20"},
    {999999999999999900000.0, "999999999999999900000", "999999999999999900000",
     "9.999999999999999e+20"},
    {1e21, "1000000000000000000000", "1e+21", "1e+21"},
    {1.5e21, "1500000000000000000000", "1.5e+21", "1.5e+21"},
    {1e23, "100000000000000000000000", "1e+23", "1e+23"},
    {9007199254740992.0, "9007199254740992", "9007199254740992", "9.007199254740992e+15"},
    {9007199254740993.0, "9007199254740992", "9007199254740992", "9.007199254740992e+15"},
    {1435781451.781, "1435781451.781", "1435781451.781", "1.435781451781e+09"},
    {3.141592653589793, "3.141592653589793", "3.141592653589793", "3.141592653589793"},
    {2.2250738585072014e-308, NULL, "2.2250738585072014e-308", "2.2250738585072014e-308"},
    {2.225073858507201e-308, NULL, "2.225073858507201e-308", "2.225073858507201e-308"},
    {5e-324, NULL, "5e-324", "5e-324"},
    {1.7976931348623157e308, NULL, "1.7976931348623157e+308", "1.7976931348623157e+308"},
    {1e100, NULL, "1e+100", "1e+100"},
    {1e-100, NULL, "1e-100", "1e-100"},
    {123e45, NULL, "1.23e+47", "1.23e+47"},
    {4.35, "4.35", "4.35", "4.35"},
    {4.349999999999999, "4.349999999999999", "4.349999999999999", "4.349999999999999"},
    {32.0 / 3, "10.666666666666666", "10.666666666666666", "10.666666666666666"},
    {1.0 / 3, "0.3333333333333333", "0.3333333333333333", "0.3333333333333333"},
    {2.0 / 3, "0.6666666666666666", "0.6666666666666666", "0.6666666666666666"},
    {5e-5, "0.00005", "0.00005", "5e-05"},
    {33554431.25, "33554431.25", "33554431.25", "3.355443125e+07"},
    {18446744073709551616.0, "18446744073709552000", "18446744073709552000",
     "1.8446744073709552e+19"},
    {9223372036854775808.0, "9223372036854776000", "9223372036854776000", "9.223372036854776e+18"},
    {INFINITY, "+Inf", "+Inf", "+Inf"},
    {-INFINITY, "-Inf", "-Inf", "-Inf"},
};

static void test_number__formats_as_go_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].plain != NULL)
            expect(tide_number_format, known[i].v, known[i].plain);
        expect(tide_number_format_api, known[i].v, known[i].api);
        expect(tide_number_format_g, known[i].v, known[i].g);
    }
    expect(tide_number_format, (double)NAN, "NaN");
    expect(tide_number_format_api, from_bits(0x7ff0000000000002), "NaN");
    expect(tide_number_format_g, -(double)NAN, "NaN");
    assert_int_equal(formatted(tide_number_format, 1.7976931348623157e308).len, 309);
    assert_int_equal(formatted(tide_number_format, -5e-324).len, 327);
    assert_int_equal(formatted(tide_number_format, -2.2250738585072014e-308).len, 327);
    assert_in_range(formatted(tide_number_format, -1.2250738585072014e-308).len, 320,
                    TIDE_NUMBER_TEXT_MAX);
}

/* All forms read back as the same bits, by our reader and by the C library's. Values of all
 * magnitudes, and round decimals, whose shortest form must be the decimal itself. */
static void test_number__reads_back_every_form(void **state)
{
    size_t (*const forms[])(double, char *) = {tide_number_format, tide_number_format_api,
                                               tide_number_format_g};

    (void)state;
    for (int i = 0; i < 30000; i++) {
        double v =
            i % 2 == 0 ? from_bits(next_random()) : (double)(int64_t)(next_random() >> 20) / 1000.0;

        if (!isfinite(v))
            continue;
        for (int form = 0; form < 3; form++) {
            char text[TIDE_NUMBER_TEXT_MAX + 1];
            size_t len = forms[form](v, text);
            double back = 0;

            text[len] = '\0';
            assert_true(tide_number_parse((struct tide_slice){(uint8_t *)text, len}, &back));
            if (bits_of(back) != bits_of(v) || bits_of(strtod(text, NULL)) != bits_of(v))
                fail_msg("%a became %s", v, text);
            if (form == 2) {
                char shorter[40];
                int digits = 1;

                /* No text with fewer digits does. */
                while (snprintf(shorter, sizeof(shorter), "%.*e", digits - 1, v) > 0 &&
                       bits_of(strtod(shorter, NULL)) != bits_of(v))
                    digits++;
                len = 0;
                for (const char *at = text; *at != '\0' && *at != 'e'; at++)
                    len += *at >= '0' && *at <= '9' && (len > 0 || *at != '0');
                if (v != 0 && i % 2 == 0 && len != (size_t)digits && strchr(text, 'e') != NULL)
                    fail_msg("%s has %zu digits, %d do", text, len, digits);
            }
        }
    }
}

static void expect_parse(const char *text, double expected)
{
    double v = 77;

    if (!tide_number_parse(tide_slice_str(text), &v) || bits_of(v) != bits_of(expected))
        fail_msg("%s: got %a", text, v);
}

static void test_number__parses_gos_syntax(void **state)
{
    static const char *const bad[] = {
        "",    "+",    "-",   ".",     "e5",    "1e",     "1e+",  "--1",       "+-1",  " 1",
        "1 ",  "0x10", "1_0", "1.2.3", "infi",  "+nan",   "-nan", "infinityy", "na",   "1f",
        "+ 1", "1e5x", ".e1", "Inf1",  "0x1p4", "nan(1)", "-.",   "e",         "1e5.5"};
    double v = 77;
    char digits[2000];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (tide_number_parse(tide_slice_str(bad[i]), &v))
            fail_msg("accepted %s", bad[i]);
    assert_true(v == 77);
    expect_parse("0", 0.0);
    expect_parse("-0", -0.0);
    expect_parse("+1", 1);
    expect_parse(".5", 0.5);
    expect_parse("5.", 5);
    expect_parse("1e5", 1e5);
    expect_parse("1E+05", 1e5);
    expect_parse("-1.5e-3", -1.5e-3);
    expect_parse("00012", 12);
    expect_parse("inf", (double)INFINITY);
    expect_parse("+Inf", (double)INFINITY);
    expect_parse("-INFINITY", -(double)INFINITY);
    expect_parse("nan", from_bits(0x7ff8000000000001));
    expect_parse("NaN", from_bits(0x7ff8000000000001));
    expect_parse("1e309", (double)INFINITY);
    expect_parse("-1e309", -(double)INFINITY);
    expect_parse("1e99999999999999999999", (double)INFINITY);
    expect_parse("1e-99999999999999999999", 0.0);
    expect_parse("-1e-400", -0.0);
    expect_parse("0e999999", 0.0);
    expect_parse("0.0000001e400", (double)INFINITY);
    expect_parse("1797693134862315800000000000000e290", (double)INFINITY);
    expect_parse("5e-324", 5e-324);
    expect_parse("2.4703282292062327e-324", 0.0);
    expect_parse("2.4703282292062328e-324", 5e-324);
    expect_parse("179769313486231570814527423731704356798070e267", 1.7976931348623157e308);
    expect_parse("9007199254740993", 9007199254740992);
    expect_parse("9007199254740993.00000000000000000000000000000000001", 9007199254740994);
    memset(digits, '1', sizeof(digits));
    assert_true(tide_number_parse((struct tide_slice){(uint8_t *)digits, sizeof(digits)}, &v));
    assert_true(isinf(v));
    digits[0] = '.';
    assert_true(tide_number_parse((struct tide_slice){(uint8_t *)digits, sizeof(digits)}, &v));
    assert_true(v == 0.1111111111111111);
    memset(digits, '0', sizeof(digits));
    digits[1] = '.';
    digits[1999] = '1';
    assert_true(tide_number_parse((struct tide_slice){(uint8_t *)digits, sizeof(digits)}, &v));
    assert_true(v == 0);
}

static void test_number__parses_integers_in_range_only(void **state)
{
    static const char *const bad[] = {"",
                                      "-",
                                      "+",
                                      "1.0",
                                      "1e3",
                                      " 1",
                                      "1 ",
                                      "--1",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      "99999999999999999999999"};
    int64_t v = 77;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(tide_number_parse_i64(tide_slice_str(bad[i]), &v));
    assert_int_equal(v, 77);
    assert_true(tide_number_parse_i64(TIDE_SLICE("9223372036854775807"), &v));
    assert_true(v == INT64_MAX);
    assert_true(tide_number_parse_i64(TIDE_SLICE("-9223372036854775808"), &v));
    assert_true(v == INT64_MIN);
    assert_true(tide_number_parse_i64(TIDE_SLICE("+007"), &v));
    assert_int_equal(v, 7);
    assert_true(tide_number_parse_i64(TIDE_SLICE("-0"), &v));
    assert_int_equal(v, 0);
}

static void test_duration__parses_falling_units(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},
                {"0s", 0},
                {"324ms", 324},
                {"3s", 3000},
                {"5m", 300000},
                {"1h", 3600000},
                {"4d", 345600000},
                {"4d1h", 349200000},
                {"14d", 1209600000},
                {"3w", 1814400000},
                {"3w2d1h", 1990800000},
                {"10y", 315360000000},
                {"1h30m", 5400000},
                {"1y2w3d4h5m6s7ms", 33019506007},
                {"1m500ms", 60500},
                {"292y", 292LL * 365 * 86400000}};
    static const char *const bad[] = {"",
                                      "1",
                                      "1x",
                                      "1s1m",
                                      "1m1m",
                                      "-1s",
                                      "+1s",
                                      "1.5h",
                                      " 1s",
                                      "1s ",
                                      "s",
                                      "1h 1m",
                                      "00",
                                      "294y",
                                      "1msx",
                                      "1ms1s",
                                      "9223372036854775807y",
                                      "99999999999999999999s"};
    int64_t ms = 77;

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!tide_duration_parse(tide_slice_str(good[i].text), &ms) || ms != good[i].ms)
            fail_msg("%s: got %lld", good[i].text, (long long)ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (tide_duration_parse(tide_slice_str(bad[i]), &ms))
            fail_msg("accepted %s", bad[i]);
}

static void test_duration__prints_what_it_parses(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } printed[] = {{0, "0s"},          {324, "324ms"},           {3000, "3s"},
                   {90000, "1m30s"},   {604800000, "1w"},        {90LL * 86400000, "90d"},
                   {93600000, "1d2h"}, {365LL * 86400000, "1y"}, {366LL * 86400000, "366d"},
                   {1001, "1s1ms"}};
    char text[64];

    (void)state;
    for (size_t i = 0; i < sizeof(printed) / sizeof(printed[0]); i++) {
        struct tide_slice got = {(uint8_t *)text, tide_duration_format(printed[i].ms, text)};

        if (!tide_slice_eq(got, tide_slice_str(printed[i].text)))
            fail_msg("%s: got %.*s", printed[i].text, TIDE_SLICE_ARGS(got));
    }
    for (int i = 0; i < 10000; i++) {
        int64_t ms = (int64_t)(next_random() >> (21 + next_random() % 40));
        int64_t back = -1;

        assert_true(tide_duration_parse(
            (struct tide_slice){(uint8_t *)text, tide_duration_format(ms, text)}, &back));
        assert_true(back == ms);
    }
    assert_in_range(tide_duration_format(INT64_MAX, text), 1, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number__formats_as_go_does),
        cmocka_unit_test(test_number__reads_back_every_form),
        cmocka_unit_test(test_number__parses_gos_syntax),
        cmocka_unit_test(test_number__parses_integers_in_range_only),
        cmocka_unit_test(test_duration__parses_falling_units),
        cmocka_unit_test(test_duration__prints_what_it_parses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
