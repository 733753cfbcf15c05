/* quantile_over_time and mad_over_time. */
#include "fn_over_time_private.h"

#include "tide/base/number.h"

#include <stdlib.h>

/* Up to here insertion sort beats qsort(). */
#define INSERTION_SORT_MAX 24

/* ---- Quantiles ---- */

/* NaN before everything. */
static bool precedes(double a, double b)
{
    return isnan(a) ? !isnan(b) : a < b;
}

static int compare(const void *a, const void *b)
{
    double x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return precedes(x, y) ? -1 : precedes(y, x) ? 1 : 0;
}

static void sort(double *values, size_t count)
{
    if (count > INSERTION_SORT_MAX) {
        qsort(values, count, sizeof(*values), compare);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        double v = values[i];
        size_t at = i;

        for (; at > 0 && precedes(v, values[at - 1]); at--)
            values[at] = values[at - 1];
        values[at] = v;
    }
}

double tide__quantile_sorted(double q, const double *sorted, size_t count)
{
    double rank = q * (double)(count - 1);
    double lower = floor(rank);
    double weight = rank - lower;
    size_t low = (size_t)lower;
    size_t high = low + 1 < count ? low + 1 : count - 1;

    return sorted[low] * (1 - weight) + sorted[high] * weight;
}

/* What q alone decides: true and *out for what is no quantile. */
static bool decided_by_q(double q, double *out)
{
    if (tide__quantile_is_valid(q))
        return false;
    *out = isnan(q) ? NAN : q < 0 ? -INFINITY : INFINITY;
    return true;
}

double tide__quantile(double q, double *values, size_t count)
{
    double out;

    if (count == 0)
        return NAN;
    if (decided_by_q(q, &out))
        return out;
    sort(values, count);
    return tide__quantile_sorted(q, values, count);
}

void tide__quantile_warn(const struct tide__call *call, size_t arg, double q)
{
    char text[TIDE_NUMBER_TEXT_MAX];
    size_t len = tide_number_format_g(q, text);

    tide__call_warn(call, arg, "quantile value should be between 0 and 1, got %.*s", (int)len,
                    text);
}

/* ---- quantile_over_time ---- */

/* The window's values in order, kept while it slides. */
struct sorted_window {
    double *sorted;
    uint32_t lo;
    uint32_t hi;
};

/* Index of the first value that v does not follow. */
static size_t lower_bound(const double *sorted, size_t count, double v)
{
    size_t low = 0;

    while (count > 0) {
        size_t half = count / 2;

        if (precedes(sorted[low + half], v)) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

/* Moves the window to [lo, hi). Neither bound ever falls. */
static void slide(struct sorted_window *window, const double *values, uint32_t lo, uint32_t hi)
{
    size_t count = window->hi - window->lo;

    /* Inserting one by one is quadratic: only while most of the window stays. */
    if (lo >= window->hi || (lo - window->lo) + (hi - window->hi) > count / 4 + 1) {
        memcpy(window->sorted, values + lo, (hi - lo) * sizeof(*values));
        sort(window->sorted, hi - lo);
    } else {
        for (uint32_t i = window->lo; i < lo; i++, count--) {
            size_t at = lower_bound(window->sorted, count, values[i]);

            memmove(window->sorted + at, window->sorted + at + 1,
                    (count - at - 1) * sizeof(*values));
        }
        for (uint32_t i = window->hi; i < hi; i++, count++) {
            size_t at = lower_bound(window->sorted, count, values[i]);

            memmove(window->sorted + at + 1, window->sorted + at, (count - at) * sizeof(*values));
            window->sorted[at] = values[i];
        }
    }
    window->lo = lo;
    window->hi = hi;
}

void tide__fn_quantile_over_time(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;
    const double *q = args->call->args[0].scalar;
    struct sorted_window window = {.sorted = args->scratch};
    const double *warned = NULL;

    for (size_t s = 0; s < w->step_count; s++) {
        if (w->hi[s] <= w->lo[s])
            continue;
        if (decided_by_q(q[s], &args->out[s])) {
            if (warned == NULL || tide_value_bits(*warned) != tide_value_bits(q[s]))
                tide__quantile_warn(args->call, 0, q[s]);
            warned = &q[s];
            continue;
        }
        slide(&window, args->values, w->lo[s], w->hi[s]);
        args->out[s] = tide__quantile_sorted(q[s], window.sorted, w->hi[s] - w->lo[s]);
    }
    memcpy(args->out_present, w->present1, w->word_count * sizeof(*w->present1));
}

/* ---- mad_over_time: the median of the distances from the median ---- */

void tide__fn_mad_over_time(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;
    struct sorted_window window = {.sorted = args->scratch};
    double *distances = window.sorted + w->count;

    for (size_t s = 0; s < w->step_count; s++) {
        size_t count = w->hi[s] - w->lo[s];
        double median;

        if (w->hi[s] <= w->lo[s])
            continue;
        slide(&window, args->values, w->lo[s], w->hi[s]);
        median = tide__quantile_sorted(0.5, window.sorted, count);
        for (size_t i = 0; i < count; i++)
            distances[i] = fabs(args->values[w->lo[s] + i] - median);
        args->out[s] = tide__quantile(0.5, distances, count);
    }
    memcpy(args->out_present, w->present1, w->word_count * sizeof(*w->present1));
}
