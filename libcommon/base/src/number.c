#include "tide/base/number.h"

#include "tide/base/assert.h"

#include <math.h>

#include "cxx_shim_private.h"

/* ---- float64 to text ---- */

/* A finite value as 0.DDDD times 10^point. */
struct digits {
    char text[20]; /* 1 to 17 digits; neither the first nor the last is '0', but for zero itself. */
    int count;
    int point;
};

static void digits_of(double magnitude, struct digits *out)
{
    char text[32];
    size_t len = tide__double_to_text(magnitude, text);
    size_t at = 0;
    int exponent = 0;
    bool negative;

    out->count = 0;
    for (; text[at] != 'e'; at++)
        if (text[at] != '.')
            out->text[out->count++] = text[at];
    at++;
    negative = text[at++] == '-';
    for (; at < len; at++)
        exponent = exponent * 10 + (text[at] - '0');
    out->point = (negative ? -exponent : exponent) + 1;
}

static char *put_uint(char *to, uint64_t v)
{
    char reversed[20];
    int count = 0;

    do {
        reversed[count++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    while (count > 0)
        *to++ = reversed[--count];
    return to;
}

static char *put_zeros(char *to, int count)
{
    if (count > 0) {
        memset(to, '0', (size_t)count);
        to += count;
    }
    return to;
}

static char *put_digits(char *to, const struct digits *digits, int from, int until)
{
    memcpy(to, digits->text + from, (size_t)(until - from));
    return to + (until - from);
}

static char *put_plain(char *to, const struct digits *digits)
{
    if (digits->point <= 0) {
        *to++ = '0';
        *to++ = '.';
        to = put_zeros(to, -digits->point);
        return put_digits(to, digits, 0, digits->count);
    }
    if (digits->point >= digits->count) {
        to = put_digits(to, digits, 0, digits->count);
        return put_zeros(to, digits->point - digits->count);
    }
    to = put_digits(to, digits, 0, digits->point);
    *to++ = '.';
    return put_digits(to, digits, digits->point, digits->count);
}

static char *put_exponent(char *to, const struct digits *digits)
{
    int exponent = digits->point - 1;

    *to++ = digits->text[0];
    if (digits->count > 1) {
        *to++ = '.';
        to = put_digits(to, digits, 1, digits->count);
    }
    *to++ = 'e';
    *to++ = exponent < 0 ? '-' : '+';
    if (exponent < 0)
        exponent = -exponent;
    if (exponent < 10)
        *to++ = '0';
    return put_uint(to, (uint64_t)exponent);
}

static size_t put_special(double v, char *text)
{
    struct tide_slice special = TIDE_SLICE("NaN");

    if (isinf(v))
        special = v > 0 ? TIDE_SLICE("+Inf") : TIDE_SLICE("-Inf");
    memcpy(text, special.ptr, special.len);
    return special.len;
}

/* Exponents (of the first digit) under low or from high on are written with an 'e'. */
static size_t format(double v, char *text, int exponent_low, int exponent_high)
{
    char *to = text;
    double magnitude = fabs(v);
    struct digits digits = {.count = 0};
    int exponent;

    if (!isfinite(v))
        return put_special(v, text);
    if (signbit(v))
        *to++ = '-';
    /* Whole numbers under 10^15 are most counters: their digits are exact. Zero included. */
    if (magnitude < 1e15 && (exponent_high >= 15 || magnitude < 1e6)) {
        uint64_t whole = (uint64_t)magnitude;

        if ((double)whole == magnitude)
            return (size_t)(put_uint(to, whole) - text);
    }
    digits_of(magnitude, &digits);
    exponent = digits.point - 1;
    if (exponent < exponent_low || exponent >= exponent_high)
        to = put_exponent(to, &digits);
    else
        to = put_plain(to, &digits);
    TIDE_ASSERT(to - text <= TIDE_NUMBER_TEXT_MAX);
    return (size_t)(to - text);
}

size_t tide_number_format(double v, char *text)
{
    return format(v, text, -400, 400);
}

size_t tide_number_format_api(double v, char *text)
{
    return format(v, text, -6, 21);
}

size_t tide_number_format_g(double v, char *text)
{
    return format(v, text, -4, 6);
}

/* ---- Text to numbers ---- */

static bool equals_in_any_case(const uint8_t *text, size_t len, const char *lower)
{
    if (len != strlen(lower))
        return false;
    for (size_t i = 0; i < len; i++)
        if ((text[i] | 0x20) != lower[i])
            return false;
    return true;
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Which side an out-of-range text is out on: the exponent of its first digit that is not 0. Text
 * has been found well-formed. */
static double overflow_or_zero(const uint8_t *text, size_t len)
{
    int64_t first = 0; /* Power of ten of the first nonzero digit, plus 1; before the exponent. */
    int64_t exponent = 0;
    bool seen_point = false;
    bool seen_digit = false;
    bool negative = false;
    size_t at = 0;

    for (; at < len && (is_digit(text[at]) || text[at] == '.'); at++) {
        if (text[at] == '.') {
            seen_point = true;
            continue;
        }
        seen_digit = seen_digit || text[at] != '0';
        if (!seen_point && seen_digit)
            first++;
        else if (seen_point && !seen_digit)
            first--;
    }
    if (at < len) { /* 'e' */
        at++;
        negative = text[at] == '-';
        if (!is_digit(text[at]))
            at++;
        for (; at < len; at++)
            if (exponent < INT64_MAX / 100)
                exponent = exponent * 10 + (text[at] - '0');
    }
    return (negative ? first - exponent : first + exponent) > 0 ? (double)INFINITY : 0.0;
}

bool tide_number_parse(struct tide_slice text, double *out)
{
    const uint8_t *at = text.ptr;
    size_t len = text.len;
    bool has_sign = len > 0 && (at[0] == '+' || at[0] == '-');
    bool negative = has_sign && at[0] == '-';
    double v;

    if (has_sign) {
        at++;
        len--;
    }
    if (len == 0)
        return false;
    if (equals_in_any_case(at, len, "inf") || equals_in_any_case(at, len, "infinity")) {
        v = (double)INFINITY;
    } else if (!has_sign && equals_in_any_case(at, len, "nan")) {
        uint64_t bits = 0x7ff8000000000001U; /* Go's math.NaN(), Prometheus' normal NaN. */

        memcpy(&v, &bits, sizeof(v));
    } else {
        if (!is_digit(at[0]) && at[0] != '.')
            return false;
        switch (tide__double_from_text((const char *)at, len, &v)) {
        case TIDE__DOUBLE_OK:
            break;
        case TIDE__DOUBLE_OUT_OF_RANGE:
            v = overflow_or_zero(at, len);
            break;
        default:
            return false;
        }
    }
    *out = negative ? -v : v;
    return true;
}

bool tide_number_parse_i64(struct tide_slice text, int64_t *out)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    size_t at = text.len > 0 && (text.ptr[0] == '-' || text.ptr[0] == '+') ? 1 : 0;
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    uint64_t v = 0;

    if (at == text.len)
        return false;
    for (; at < text.len; at++) {
        uint64_t digit = (uint64_t)text.ptr[at] - '0';

        if (!is_digit(text.ptr[at]) || v > (limit - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    if (negative)
        *out = v == limit ? INT64_MIN : -(int64_t)v;
    else
        *out = (int64_t)v;
    return true;
}

/* ---- Durations ---- */

static const struct unit {
    const char *name;
    int64_t ms;
    bool exact; /* Printed only when nothing is left over: 90d reads better than 12w6d. */
} units[] = {
    {"y", 365LL * 86400000, true},
    {"w", 7LL * 86400000, true},
    {"d", 86400000, false},
    {"h", 3600000, false},
    {"m", 60000, false},
    {"s", 1000, false},
    {"ms", 1, false},
};
#define UNIT_COUNT (sizeof(units) / sizeof(units[0]))

/* Prometheus holds durations in nanoseconds: about 292 years. */
#define DURATION_MS_MAX (INT64_MAX / 1000000)

bool tide_duration_parse(struct tide_slice text, int64_t *out_ms)
{
    int64_t total = 0;
    size_t next_unit = 0;
    size_t at = 0;

    if (text.len == 0)
        return false;
    if (text.len == 1 && text.ptr[0] == '0') {
        *out_ms = 0;
        return true;
    }
    while (at < text.len) {
        size_t name_at = at;
        size_t name_end;
        int64_t count;
        size_t unit;

        while (name_at < text.len && is_digit(text.ptr[name_at]))
            name_at++;
        name_end = name_at;
        while (name_end < text.len && !is_digit(text.ptr[name_end]))
            name_end++;
        if (!tide_number_parse_i64((struct tide_slice){text.ptr + at, name_at - at}, &count))
            return false;
        for (unit = next_unit; unit < UNIT_COUNT; unit++)
            if (tide_slice_eq((struct tide_slice){text.ptr + name_at, name_end - name_at},
                              tide_slice_str(units[unit].name)))
                break;
        if (unit == UNIT_COUNT || count > (DURATION_MS_MAX - total) / units[unit].ms)
            return false;
        total += count * units[unit].ms;
        next_unit = unit + 1;
        at = name_end;
    }
    *out_ms = total;
    return true;
}

size_t tide_duration_format(int64_t ms, char *text)
{
    char *to = text;

    TIDE_ASSERT(ms >= 0);
    for (size_t i = 0; i < UNIT_COUNT && ms > 0; i++) {
        int64_t count = ms / units[i].ms;

        if (count == 0 || (units[i].exact && ms % units[i].ms != 0))
            continue;
        to = put_uint(to, (uint64_t)count);
        for (const char *name = units[i].name; *name != '\0'; name++)
            *to++ = *name;
        ms -= count * units[i].ms;
    }
    if (to == text) {
        *to++ = '0';
        *to++ = 's';
    }
    return (size_t)(to - text);
}
