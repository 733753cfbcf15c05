/* Resets, changes, linear regression and double exponential smoothing over a window. */
#include "fn_over_time_private.h"

#include "fn_rate_private.h"

/* ---- Events between neighbours ---- */

static bool is_reset(double before, double v)
{
    return v < before;
}

static bool is_change(double before, double v)
{
    return v != before && !(isnan(v) && isnan(before));
}

/* Counts are exact, so that a window's count is a difference of two running counts. */
static void count_events(const struct tide__range_args *args,
                         bool (*is_event)(double before, double v))
{
    const struct tide__windows *w = args->windows;
    bool anchored = tide__extended_selector(args->call) != NULL;
    uint32_t *events = args->scratch; /* Among the first i + 1 samples. */

    memcpy(args->out_present, w->present1, w->word_count * sizeof(*w->present1));
    if (w->count == 0)
        return;
    events[0] = 0;
    for (size_t i = 1; i < w->count; i++)
        events[i] = events[i - 1] + (is_event(args->values[i - 1], args->values[i]) ? 1 : 0);
    for (size_t s = 0; s < w->step_count; s++)
        if (w->hi[s] > w->lo[s])
            args->out[s] =
                (double)(events[w->hi[s] - 1] - events[anchored ? tide__anchor(w, s) : w->lo[s]]);
}

void tide__fn_resets(const struct tide__range_args *args)
{
    count_events(args, is_reset);
}

void tide__fn_changes(const struct tide__range_args *args)
{
    count_events(args, is_change);
}

/* ---- Linear regression ---- */

struct line {
    double slope;
    double intercept; /* The value at the time given. */
};

/* Least squares over count >= 2 samples; x is seconds since at_ms. */
static struct line regression(const int64_t *times_ms, const double *values, size_t count,
                              int64_t at_ms)
{
    struct tide__kahan x = {0};
    struct tide__kahan y = {0};
    struct tide__kahan xy = {0};
    struct tide__kahan xx = {0};
    bool is_constant = true;
    double n = (double)count;
    double sum_x, sum_y, slope;

    for (size_t i = 0; i < count; i++) {
        double seconds = (double)(times_ms[i] - at_ms) / 1e3;

        if (i > 0 && values[i] != values[0])
            is_constant = false;
        tide__kahan_add(&x, seconds);
        tide__kahan_add(&y, values[i]);
        tide__kahan_add(&xy, seconds * values[i]);
        tide__kahan_add(&xx, seconds * seconds);
    }
    if (is_constant && isinf(values[0]))
        return (struct line){NAN, NAN};
    if (is_constant)
        return (struct line){0, values[0]};
    sum_x = x.sum + x.lost;
    sum_y = y.sum + y.lost;
    slope = (xy.sum + xy.lost - sum_x * sum_y / n) / (xx.sum + xx.lost - sum_x * sum_x / n);
    return (struct line){slope, sum_y / n - slope * sum_x / n};
}

void tide__fn_deriv(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    for (size_t s = 0; s < w->step_count; s++) {
        uint32_t lo = w->lo[s];

        if (!tide__bit(w->present2, s))
            continue;
        /* Times near the window keep x small and with it the rounding errors. */
        args->out[s] =
            regression(w->times_ms + lo, args->values + lo, w->hi[s] - lo, w->times_ms[lo]).slope;
        tide__bit_set(args->out_present, s);
    }
}

void tide__fn_predict_linear(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;
    const double *ahead_seconds = args->call->args[1].scalar;

    for (size_t s = 0; s < w->step_count; s++) {
        uint32_t lo = w->lo[s];
        struct line line;

        if (!tide__bit(w->present2, s))
            continue;
        line = regression(w->times_ms + lo, args->values + lo, w->hi[s] - lo, w->step_ms[s]);
        args->out[s] = line.slope * ahead_seconds[s] + line.intercept;
        tide__bit_set(args->out_present, s);
    }
}

/* ---- Double exponential smoothing ---- */

enum tide_err tide__fn_smoothing_check(const struct tide__call *call)
{
    for (size_t s = 0; s < call->step_count; s++) {
        double smoothing = call->args[1].scalar[s];
        double trend = call->args[2].scalar[s];

        if (smoothing <= 0 || smoothing >= 1)
            return tide__eval_fail(call->eval, TIDE_ERR_EXECUTION,
                                   "invalid smoothing factor. Expected: 0 < sf < 1, got: %f",
                                   smoothing);
        if (trend <= 0 || trend >= 1)
            return tide__eval_fail(call->eval, TIDE_ERR_EXECUTION,
                                   "invalid trend factor. Expected: 0 < tf < 1, got: %f", trend);
    }
    return TIDE_OK;
}

static double smooth(const double *values, size_t count, double smoothing, double trend_factor)
{
    double before = 0;
    double level = values[0];
    double trend = values[1] - values[0];

    for (size_t i = 1; i < count; i++) {
        double observed = smoothing * values[i];
        double expected;

        if (i > 1)
            trend = trend_factor * (level - before) + (1 - trend_factor) * trend;
        expected = (1 - smoothing) * (level + trend);
        before = level;
        level = observed + expected;
    }
    return level;
}

void tide__fn_smoothing(const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    for (size_t s = 0; s < w->step_count; s++) {
        if (!tide__bit(w->present2, s))
            continue;
        args->out[s] = smooth(args->values + w->lo[s], w->hi[s] - w->lo[s],
                              args->call->args[1].scalar[s], args->call->args[2].scalar[s]);
        tide__bit_set(args->out_present, s);
    }
}
