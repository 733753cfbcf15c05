#include "querier_private.h"

#include "tide/base/number.h"

#include <math.h>

/* Times beyond this many milliseconds are cut to it: sums of a time, a range and an offset must not
 * overflow. */
#define TIME_MS_MAX (INT64_MAX / 4)

static bool digits(struct tide_slice *rest, size_t count, int64_t max, int64_t *out)
{
    int64_t v = 0;

    if (rest->len < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (rest->ptr[i] < '0' || rest->ptr[i] > '9')
            return false;
        v = v * 10 + (rest->ptr[i] - '0');
    }
    *rest = (struct tide_slice){rest->ptr + count, rest->len - count};
    *out = v;
    return v <= max;
}

static bool byte(struct tide_slice *rest, char a, char b)
{
    if (rest->len == 0 || (rest->ptr[0] != (uint8_t)a && rest->ptr[0] != (uint8_t)b))
        return false;
    *rest = (struct tide_slice){rest->ptr + 1, rest->len - 1};
    return true;
}

/* Days from 1970-01-01 in the proleptic Gregorian calendar. Years are counted from March, so that
 * the leap day is the last of a year, in eras of 400 years. */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    const int64_t y = month <= 2 ? year - 1 : year;
    const int64_t era = (y >= 0 ? y : y - 399) / 400;
    const int64_t of_era = y - era * 400;
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool fraction_ms(struct tide_slice *rest, int64_t *out)
{
    int64_t scale = 100;

    *out = 0;
    if (!byte(rest, '.', '.'))
        return true;
    if (rest->len == 0 || rest->ptr[0] < '0' || rest->ptr[0] > '9')
        return false;
    while (rest->len > 0 && rest->ptr[0] >= '0' && rest->ptr[0] <= '9') {
        *out += (rest->ptr[0] - '0') * scale;
        scale /= 10;
        *rest = (struct tide_slice){rest->ptr + 1, rest->len - 1};
    }
    return true;
}

static int64_t days_of_month(int64_t year, int64_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap);
}

/* Source: RFC 3339, section 5.6. */
static bool rfc3339_parse(struct tide_slice rest, int64_t *out_ms)
{
    int64_t year, month, day, hour, minute, second, ms, zone_hour = 0, zone_minute = 0;
    bool west = false;

    if (!digits(&rest, 4, 9999, &year) || !byte(&rest, '-', '-') || !digits(&rest, 2, 12, &month) ||
        month == 0 || !byte(&rest, '-', '-') ||
        !digits(&rest, 2, days_of_month(year, month), &day) || day == 0 || !byte(&rest, 'T', 't') ||
        !digits(&rest, 2, 23, &hour) || !byte(&rest, ':', ':') || !digits(&rest, 2, 59, &minute) ||
        !byte(&rest, ':', ':') || !digits(&rest, 2, 59, &second) || !fraction_ms(&rest, &ms))
        return false;
    if (!byte(&rest, 'Z', 'z')) {
        west = rest.len > 0 && rest.ptr[0] == '-';
        if (!byte(&rest, '+', '-') || !digits(&rest, 2, 23, &zone_hour) || !byte(&rest, ':', ':') ||
            !digits(&rest, 2, 59, &zone_minute))
            return false;
    }
    if (rest.len > 0)
        return false;
    second += (days_from_civil(year, month, day) * 24 + hour) * 3600 + minute * 60;
    second -= (west ? -1 : 1) * (zone_hour * 3600 + zone_minute * 60);
    *out_ms = second * 1000 + ms;
    return true;
}

static int64_t seconds_to_ms(double seconds)
{
    const double ms = round(seconds * 1000);

    return ms >= (double)TIME_MS_MAX    ? TIME_MS_MAX
           : ms <= -(double)TIME_MS_MAX ? -TIME_MS_MAX
                                        : (int64_t)ms;
}

bool tide__time_parse(struct tide_slice text, int64_t *out_ms)
{
    double seconds;

    if (tide_number_parse(text, &seconds)) {
        if (isnan(seconds))
            return false;
        *out_ms = seconds_to_ms(seconds);
        return true;
    }
    return rfc3339_parse(text, out_ms);
}

enum tide_err tide__param_time(struct call *call, const char *name, bool required,
                               int64_t fallback_ms, int64_t *out_ms)
{
    struct tide_slice text = {NULL, 0};

    if ((!tide_http_param(call->x, name, &text) || text.len == 0) && !required) {
        *out_ms = fallback_ms;
        return TIDE_OK;
    }
    if (!tide__time_parse(text, out_ms))
        return tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                             "invalid parameter \"%s\": cannot parse \"%.*s\" to a valid timestamp",
                             name, (int)(text.len > 100 ? 100 : text.len), (const char *)text.ptr);
    return TIDE_OK;
}

enum tide_err tide__param_duration(struct call *call, const char *name, bool required,
                                   int64_t fallback_ms, int64_t *out_ms)
{
    struct tide_slice text = {NULL, 0};
    double seconds;

    if ((!tide_http_param(call->x, name, &text) || text.len == 0) && !required) {
        *out_ms = fallback_ms;
        return TIDE_OK;
    }
    if (tide_number_parse(text, &seconds)) {
        if (fabs(seconds) * 1e9 > (double)INT64_MAX || isnan(seconds))
            return tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                                 "invalid parameter \"%s\": cannot parse \"%.*s\" to a valid "
                                 "duration. It overflows int64",
                                 name, (int)(text.len > 100 ? 100 : text.len),
                                 (const char *)text.ptr);
        *out_ms = seconds_to_ms(seconds);
        /* A step under a millisecond would become none. */
        if (*out_ms == 0 && seconds > 0)
            *out_ms = 1;
        return TIDE_OK;
    }
    if (tide_duration_parse(text, out_ms))
        return TIDE_OK;
    return tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                         "invalid parameter \"%s\": cannot parse \"%.*s\" to a valid duration",
                         name, (int)(text.len > 100 ? 100 : text.len), (const char *)text.ptr);
}

enum tide_err tide__param_limit(struct call *call, const char *name, uint64_t *out)
{
    struct tide_slice text = {NULL, 0};
    int64_t limit;

    *out = 0;
    if (!tide_http_param(call->x, name, &text) || text.len == 0)
        return TIDE_OK;
    if (!tide_number_parse_i64(text, &limit))
        return tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                             "invalid parameter \"%s\": cannot parse \"%.*s\" to a number", name,
                             (int)(text.len > 100 ? 100 : text.len), (const char *)text.ptr);
    if (limit < 0)
        return tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                             "invalid parameter \"%s\": limit must be non-negative", name);
    *out = (uint64_t)limit;
    return TIDE_OK;
}

enum tide_err tide__param_range(struct call *call, int64_t *start_ms, int64_t *end_ms)
{
    enum tide_err err = tide__param_time(call, "start", false, -TIME_MS_MAX, start_ms);

    if (err == TIDE_OK)
        err = tide__param_time(call, "end", false, TIME_MS_MAX, end_ms);
    if (err == TIDE_OK && *end_ms < *start_ms)
        err = tide_diag_err(
            &call->diag, TIDE_ERR_INVALID,
            "invalid parameter \"end\": end timestamp must not be before start timestamp");
    return err;
}
