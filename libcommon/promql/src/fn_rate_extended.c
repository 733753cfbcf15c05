/* rate, increase and delta of `anchored` and `smoothed` selectors: nothing is extrapolated, the
 * borders of the window are reached from samples outside of it. Anchored: the last sample at or
 * before the start stands for the start. Smoothed: both borders are interpolated.
 * Source: Prometheus proposal PROM-52. */
#include "fn_rate_private.h"

bool tide__reach_of(const struct tide__windows *w, size_t s, bool smoothed, struct tide__reach *out)
{
    uint32_t lo = w->lo[s];
    uint32_t hi = w->hi[s]; /* The first sample after the end. */
    bool before = tide__anchor(w, s) < lo;
    bool after = smoothed && hi < w->count && w->times_ms[hi] <= w->end_ms[s] + w->lookback_ms;
    bool ends_on_sample = hi > lo && w->times_ms[hi - 1] == w->end_ms[s];

    if (hi == lo && !(before && after))
        return false;
    out->first = tide__anchor(w, s);
    out->last = after && !ends_on_sample ? hi : hi - 1;
    return true;
}

/* The value on the line from sample i to the next one; a counter that was reset between them has
 * risen from 0. */
static double interpolate(const struct tide__range_args *args, uint32_t i, int64_t at_ms,
                          bool is_counter)
{
    const int64_t *t = args->windows->times_ms + i;
    double from = args->values[i];
    double to = args->values[i + 1];

    if (is_counter && to < from)
        from = 0;
    return from + (to - from) * (double)(at_ms - t[0]) / (double)(t[1] - t[0]);
}

/* What resets took away on the way from left over the samples [first, end) to right. */
static double lost_to_resets(const double *values, uint32_t first, uint32_t end, double left,
                             double right)
{
    double lost = 0;
    double before = left;

    for (uint32_t i = first; i < end; i++) {
        if (values[i] < before)
            lost += before;
        before = values[i];
    }
    return right < before ? lost + before : lost;
}

static double difference(const struct tide__range_args *args, size_t s, struct tide__reach reach,
                         struct tide__rate_kind kind, bool smoothed)
{
    const struct tide__windows *w = args->windows;
    const int64_t *t = w->times_ms;
    bool starts_inside = t[reach.first] > w->start_ms[s];
    bool ends_inside = t[reach.last] < w->end_ms[s];
    double left = args->values[reach.first];
    double right = args->values[reach.last];

    if (smoothed && t[reach.first] < w->start_ms[s])
        left = interpolate(args, reach.first, w->start_ms[s], kind.is_counter);
    if (smoothed && t[reach.last] > w->end_ms[s])
        right = interpolate(args, reach.last - 1, w->end_ms[s], kind.is_counter);
    if (!kind.is_counter)
        return right - left;
    return right - left +
           lost_to_resets(args->values, starts_inside ? reach.first : reach.first + 1,
                          ends_inside ? reach.last + 1 : reach.last, left, right);
}

void tide__rate_extended(const struct tide__range_args *args, struct tide__rate_kind kind,
                         bool smoothed)
{
    const struct tide__windows *w = args->windows;
    double range_seconds = tide__seconds(w->range_ms);

    for (size_t s = 0; s < w->step_count; s++) {
        struct tide__reach reach;
        double v;

        if (!tide__reach_of(w, s, smoothed, &reach))
            continue;
        v = difference(args, s, reach, kind, smoothed);
        args->out[s] = kind.is_rate ? v / range_seconds : v;
        tide__bit_set(args->out_present, s);
    }
}
