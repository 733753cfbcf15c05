#include "fn_over_time_private.h"

/* From here on sliding a window beats looking at all of it again. */
#define EXTREME_SLIDE_MIN 64

/* ---- One window ---- */

static double window_sum(const double *values, size_t count)
{
    struct tide__kahan k = {0};

    for (size_t i = 0; i < count; i++)
        tide__kahan_add(&k, values[i]);
    return isinf(k.sum) ? k.sum : k.sum + k.lost;
}

/* The sum divided by the count; from the sample on where the sum would overflow, the mean is
 * carried along instead. */
static double window_avg(const double *values, size_t count)
{
    struct tide__kahan sum = {values[0], 0};
    struct tide__kahan mean;
    size_t i = 1;
    double n;

    for (; i < count; i++) {
        struct tide__kahan next = sum;

        tide__kahan_add(&next, values[i]);
        if (isinf(next.sum))
            break;
        sum = next;
    }
    n = (double)i;
    if (i == count)
        return sum.sum / n + sum.lost / n;
    mean = (struct tide__kahan){sum.sum / n, sum.lost / n};
    for (; i < count; i++) {
        double share;

        n = (double)(i + 1);
        share = (n - 1) / n;
        mean = (struct tide__kahan){share * mean.sum, share * mean.lost};
        tide__kahan_add(&mean, values[i] / n);
    }
    return mean.sum + mean.lost;
}

/* NaN counts only where there is nothing else. */
static double window_min(const double *values, size_t count)
{
    double least = values[0];

    for (size_t i = 0; i < count; i++)
        least = values[i] < least || isnan(least) ? values[i] : least;
    return least;
}

static double window_max(const double *values, size_t count)
{
    double most = values[0];

    for (size_t i = 0; i < count; i++)
        most = values[i] > most || isnan(most) ? values[i] : most;
    return most;
}

double tide__window_reduce(enum tide__reduction reduction, const double *values, size_t count)
{
    switch (reduction) {
    case TIDE__REDUCE_SUM:
        return window_sum(values, count);
    case TIDE__REDUCE_AVG:
        return window_avg(values, count);
    case TIDE__REDUCE_MIN:
        return window_min(values, count);
    case TIDE__REDUCE_MAX:
        break;
    }
    return window_max(values, count);
}

/* Welford's method, both running values compensated. */
static double window_variance(const double *values, size_t count)
{
    struct tide__kahan mean = {0};
    struct tide__kahan squares = {0};

    for (size_t i = 0; i < count; i++) {
        double difference = values[i] - (mean.sum + mean.lost);

        tide__kahan_add(&mean, difference / (double)(i + 1));
        tide__kahan_add(&squares, difference * (values[i] - (mean.sum + mean.lost)));
    }
    return (squares.sum + squares.lost) / (double)count;
}

/* ---- All windows ---- */

static void set_present1(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    memcpy(args->out_present, w->present1, w->word_count * sizeof(*w->present1));
}

static void reduce(const struct tide__range_args *args, enum tide__reduction reduction)
{
    const struct tide__windows *w = args->windows;

    set_present1(args);
    if (tide__windows_reduce_avx2(reduction, w, args->values, args->out))
        return;
    for (size_t s = 0; s < w->step_count; s++)
        if (w->hi[s] > w->lo[s])
            args->out[s] =
                tide__window_reduce(reduction, args->values + w->lo[s], w->hi[s] - w->lo[s]);
}

void tide__fn_sum_over_time(const struct tide__range_args *args)
{
    reduce(args, TIDE__REDUCE_SUM);
}

void tide__fn_avg_over_time(const struct tide__range_args *args)
{
    reduce(args, TIDE__REDUCE_AVG);
}

/* The candidates of a sliding extreme: indices whose values strictly fall (for the maximum) from
 * the window's extreme on; among equal values the oldest is the answer, so that -0 and +0 come out
 * as the plain loop has them. NaN is never a candidate. */
static void slide_extreme(const struct tide__range_args *args, double sign)
{
    const struct tide__windows *w = args->windows;
    const double *values = args->values;
    uint32_t *queue = args->scratch;
    size_t head = 0;
    size_t tail = 0;
    uint32_t next = 0;

    for (size_t s = 0; s < w->step_count; s++) {
        if (w->hi[s] <= w->lo[s])
            continue;
        if (next < w->lo[s])
            next = w->lo[s];
        for (; next < w->hi[s]; next++) {
            if (isnan(values[next]))
                continue;
            while (tail > head && sign * values[queue[tail - 1]] < sign * values[next])
                tail--;
            queue[tail++] = next;
        }
        while (head < tail && queue[head] < w->lo[s])
            head++;
        args->out[s] = head < tail ? values[queue[head]] : values[w->hi[s] - 1];
    }
    set_present1(args);
}

static bool windows_are_long(const struct tide__windows *w)
{
    size_t middle = w->step_count / 2;

    return w->step_count > 1 && w->hi[middle] - w->lo[middle] >= EXTREME_SLIDE_MIN;
}

void tide__fn_min_over_time(const struct tide__range_args *args)
{
    if (windows_are_long(args->windows))
        slide_extreme(args, -1);
    else
        reduce(args, TIDE__REDUCE_MIN);
}

void tide__fn_max_over_time(const struct tide__range_args *args)
{
    if (windows_are_long(args->windows))
        slide_extreme(args, 1);
    else
        reduce(args, TIDE__REDUCE_MAX);
}

void tide__fn_count_over_time(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    for (size_t s = 0; s < w->step_count; s++)
        args->out[s] = (double)(w->hi[s] - w->lo[s]);
    set_present1(args);
}

void tide__fn_first_over_time(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    for (size_t s = 0; s < w->step_count; s++)
        if (w->hi[s] > w->lo[s])
            args->out[s] = args->values[w->lo[s]];
    set_present1(args);
}

void tide__fn_last_over_time(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    for (size_t s = 0; s < w->step_count; s++)
        if (w->hi[s] > w->lo[s])
            args->out[s] = args->values[w->hi[s] - 1];
    set_present1(args);
}

void tide__fn_present_over_time(const struct tide__range_args *args)
{
    for (size_t s = 0; s < args->windows->step_count; s++)
        args->out[s] = 1;
    set_present1(args);
}

static void variance(const struct tide__range_args *args, bool root)
{
    const struct tide__windows *w = args->windows;

    set_present1(args);
    for (size_t s = 0; s < w->step_count; s++) {
        double v;

        if (w->hi[s] <= w->lo[s])
            continue;
        v = window_variance(args->values + w->lo[s], w->hi[s] - w->lo[s]);
        args->out[s] = root ? sqrt(v) : v;
    }
}

void tide__fn_stdvar_over_time(const struct tide__range_args *args)
{
    variance(args, false);
}

void tide__fn_stddev_over_time(const struct tide__range_args *args)
{
    variance(args, true);
}

/* ---- When ---- */

static double seconds_at(const struct tide__windows *w, uint32_t i)
{
    return (double)w->times_ms[i] / 1000;
}

void tide__fn_ts_of_first_over_time(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    for (size_t s = 0; s < w->step_count; s++)
        if (w->hi[s] > w->lo[s])
            args->out[s] = seconds_at(w, w->lo[s]);
    set_present1(args);
}

void tide__fn_ts_of_last_over_time(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    for (size_t s = 0; s < w->step_count; s++)
        if (w->hi[s] > w->lo[s])
            args->out[s] = seconds_at(w, w->hi[s] - 1);
    set_present1(args);
}

/* The last among equals, unlike min_over_time() itself. */
static void ts_of_extreme(const struct tide__range_args *args, double sign)
{
    const struct tide__windows *w = args->windows;

    for (size_t s = 0; s < w->step_count; s++) {
        uint32_t best = w->lo[s];

        if (w->hi[s] <= w->lo[s])
            continue;
        for (uint32_t i = best; i < w->hi[s]; i++)
            if (sign * args->values[i] >= sign * args->values[best] || isnan(args->values[best]))
                best = i;
        args->out[s] = seconds_at(w, best);
    }
    set_present1(args);
}

void tide__fn_ts_of_min_over_time(const struct tide__range_args *args)
{
    ts_of_extreme(args, -1);
}

void tide__fn_ts_of_max_over_time(const struct tide__range_args *args)
{
    ts_of_extreme(args, 1);
}
