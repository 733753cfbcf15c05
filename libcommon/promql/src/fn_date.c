/* Calendar functions: what UTC says at a time in seconds since 1970. */
#include "fn_map_private.h"

#define DAY_SECONDS 86400u
/* The proleptic Gregorian calendar repeats after 400 years. */
#define CYCLE_DAYS 146097u
/* Days are counted from March 1 of year ZERO_YEAR, long before any time an int64 of seconds can
 * name, so that all arithmetic is unsigned: a cycle starts there, and the leap day ends a year. */
#define ZERO_YEAR (-292277022400)
#define ZERO_CYCLES 730692556u
/* March 1 of year 0 to January 1 1970. */
#define EPOCH_DAYS 719468u

struct date {
    double year;
    unsigned month;    /* 1 to 12. */
    unsigned day;      /* 1 to 31. */
    unsigned year_day; /* 1 to 366. */
    unsigned week_day; /* 0 is Sunday. */
    unsigned month_days;
    unsigned hour;
    unsigned minute;
};

/* Seconds are cut towards zero; what int64 cannot hold is its least value, which is what Go's
 * conversion gives on the processors Prometheus is mostly run on. */
static int64_t whole_seconds(double v)
{
    return v >= -0x1p63 && v < 0x1p63 ? (int64_t)v : INT64_MIN;
}

static bool is_leap(unsigned year_of_cycle)
{
    return year_of_cycle % 4 == 0 && (year_of_cycle % 100 != 0 || year_of_cycle == 0);
}

static struct date date_at(double v)
{
    static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint64_t seconds = (uint64_t)whole_seconds(v) +
                       ((uint64_t)ZERO_CYCLES * CYCLE_DAYS + EPOCH_DAYS) * DAY_SECONDS;
    uint64_t days = seconds / DAY_SECONDS;
    uint64_t cycle = days / CYCLE_DAYS;
    unsigned second = (unsigned)(seconds % DAY_SECONDS);
    unsigned day_of_cycle = (unsigned)(days % CYCLE_DAYS);
    /* Years of the cycle that start in March: take the leap days out of the count first. */
    unsigned year =
        (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36524 - day_of_cycle / 146096) / 365;
    unsigned day_of_year = day_of_cycle - (365 * year + year / 4 - year / 100);
    /* Months from March on have 31 30 31 30 31 days, twice, and the rest: 153 per five. */
    unsigned month = (5 * day_of_year + 2) / 153;
    struct date d;

    d.day = day_of_year - (153 * month + 2) / 5 + 1;
    d.month = month < 10 ? month + 3 : month - 9;
    if (d.month <= 2)
        year++;
    d.year = (double)(ZERO_YEAR + (int64_t)cycle * 400 + (int64_t)year);
    d.month_days = month_days[d.month - 1] + (d.month == 2 && is_leap(year % 400) ? 1u : 0u);
    d.year_day = d.day;
    for (unsigned m = 1; m < d.month; m++)
        d.year_day += month_days[m - 1] + (m == 2 && is_leap(year % 400) ? 1u : 0u);
    /* March 1 of a cycle's first year is a Wednesday, as in the year 2000. */
    d.week_day = (unsigned)((day_of_cycle + 3) % 7);
    d.hour = second / 3600;
    d.minute = second / 60 % 60;
    return d;
}

#define MAP_DATE(name, expression)                                                                 \
    void tide__fn_##name(const struct tide__call *call, double *values, uint64_t *present)         \
    {                                                                                              \
        for (size_t s = 0; s < call->step_count; s++) {                                            \
            struct date d;                                                                         \
                                                                                                   \
            if (!tide__bit(present, s))                                                            \
                continue;                                                                          \
            d = date_at(values[s]);                                                                \
            values[s] = (expression);                                                              \
        }                                                                                          \
    }

MAP_DATE(minute, d.minute)
MAP_DATE(hour, d.hour)
MAP_DATE(day_of_week, d.week_day)
MAP_DATE(day_of_month, d.day)
MAP_DATE(day_of_year, d.year_day)
MAP_DATE(days_in_month, d.month_days)
MAP_DATE(month, d.month)
MAP_DATE(year, d.year)
