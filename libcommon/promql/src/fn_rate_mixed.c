/* rate, increase, delta, irate and idelta of native histograms. */
#include "fn_range_mixed_private.h"

#include "fn_rate_private.h"

static void warn_not_counter(const struct tide__range_args *args)
{
    tide__call_warn(args->call, 0, "this native histogram metric is not a counter: \"%.*s\"",
                    TIDE_SLICE_ARGS(args->name));
}

static void warn_not_gauge(const struct tide__range_args *args)
{
    tide__call_warn(args->call, 0, "this native histogram metric is not a gauge: \"%.*s\"",
                    TIDE_SLICE_ARGS(args->name));
}

static void info_reconciled(const struct tide__range_args *args, const char *what)
{
    tide__call_info(args->call, 0, "mismatched custom buckets were reconciled during %s", what);
}

static bool is_gauge(const struct tide_histogram *h)
{
    return h->reset == TIDE_RESET_GAUGE;
}

/* Whether there was a reset between samples i - 1 and i. */
static bool was_reset(const struct tide__range_args *args, uint32_t i)
{
    return tide__hist_is_reset(args->histograms[i], args->histograms[i - 1], args->arena);
}

/* The difference being built, and what ends it early. */
struct difference {
    const struct tide__range_args *args;
    struct tide__hist_sum sum;
    bool no_memory;
    bool incompatible;
};

static bool difference_start(struct difference *d, const struct tide_histogram *h)
{
    d->no_memory = !tide__hist_sum_init(&d->sum, d->args->arena, false, h);
    return !d->no_memory;
}

static bool difference_add(struct difference *d, const struct tide_histogram *h, double sign)
{
    struct tide__hist_outcome outcome;

    if (!tide__hist_sum_add(&d->sum, h, sign, &outcome)) {
        d->no_memory = true;
        return false;
    }
    if (outcome.incompatible) {
        tide__warn_schemas(d->args);
        d->incompatible = true;
        return false;
    }
    if (outcome.reconciled)
        info_reconciled(d->args, sign < 0 ? "subtraction" : "addition");
    return true;
}

/* ---- Extrapolated ---- */

/* Notes about the samples, and whether they can be computed with: the first one need not be looked
 * at when the counter was reset after it. */
static bool check_window(const struct tide__range_args *args, uint32_t first, uint32_t last,
                         bool is_counter, bool skip_first)
{
    bool custom = tide__hist_is_custom(args->histograms[last]);
    bool bad_kind = false;

    for (uint32_t i = first; i <= last; i++) {
        bool inner = i != first && i != last;

        if (is_counter)
            bad_kind = bad_kind || is_gauge(args->histograms[i]);
        else if (!inner)
            bad_kind = bad_kind || !is_gauge(args->histograms[i]);
        if (tide__hist_is_custom(args->histograms[i]) == custom)
            continue;
        if (i == first ? !skip_first : is_counter) {
            tide__warn_schemas(args);
            return false;
        }
    }
    if (bad_kind && is_counter)
        warn_not_counter(args);
    else if (bad_kind)
        warn_not_gauge(args);
    return true;
}

static bool window_difference(struct difference *d, uint32_t first, uint32_t last, bool is_counter)
{
    const struct tide__range_args *args = d->args;
    bool skip_first = is_counter && was_reset(args, first + 1);

    if (!check_window(args, first, last, is_counter, skip_first)) {
        d->incompatible = true;
        return false;
    }
    if (!difference_start(d, args->histograms[last]))
        return false;
    if (is_counter) /* The coarsest schema of all in between. */
        for (uint32_t i = first + 1; i < last; i++)
            tide__hist_coarsen(&d->sum, args->histograms[i]->schema);
    if (!skip_first && !difference_add(d, args->histograms[first], -1))
        return false;
    for (uint32_t i = first + (skip_first ? 2 : 1); is_counter && i <= last; i++)
        if (was_reset(args, i) && !difference_add(d, args->histograms[i - 1], 1))
            return false;
    return true;
}

/* The same as for floats: see plan_step() and counter_factor() in fn_rate.c. */
static double extrapolate(const struct tide__windows *w, size_t s, struct tide__rate_kind kind,
                          double first_count, double growth)
{
    uint32_t first = w->lo[s];
    uint32_t last = w->hi[s] - 1;
    double sampled = (double)(w->times_ms[last] - w->times_ms[first]) / 1000;
    double between = sampled / (double)(last - first);
    double to_start = (double)(w->times_ms[first] - w->start_ms[s]) / 1000;
    double to_end = (double)(w->end_ms[s] - w->times_ms[last]) / 1000;
    double factor;

    if (to_start >= between * 1.1)
        to_start = between / 2;
    if (kind.is_counter && growth > 0 && first_count >= 0) {
        double to_zero = sampled * (first_count / growth);

        if (to_zero < to_start)
            to_start = to_zero;
    }
    if (to_end >= between * 1.1)
        to_end = between / 2;
    factor = (sampled + to_start + to_end) / sampled;
    return kind.is_rate ? factor / tide__seconds(w->range_ms) : factor;
}

static bool finish(struct difference *d, double factor, size_t s)
{
    const struct tide__range_args *args = d->args;

    d->sum.reset = TIDE_RESET_GAUGE;
    tide__hist_sum_multiply(&d->sum, factor);
    args->out_histograms[s] = tide__hist_sum_finish(&d->sum, args->arena);
    tide__bit_set(args->out_present, s);
    return args->out_histograms[s] != NULL;
}

static bool extrapolated(const struct tide__range_args *args, size_t s, struct tide__rate_kind kind)
{
    const struct tide__windows *w = args->windows;
    struct difference d = {.args = args};

    if (w->hi[s] - w->lo[s] < 2)
        return true;
    if (!window_difference(&d, w->lo[s], w->hi[s] - 1, kind.is_counter))
        return !d.no_memory;
    return finish(&d, extrapolate(w, s, kind, args->histograms[w->lo[s]]->count, d.sum.count), s);
}

/* ---- Anchored and smoothed: see fn_rate_extended.c ---- */

/* The value on the line from sample i to the next; a counter that was reset between them has risen
 * from nothing. *out is NULL when they are incompatible. */
static bool interpolate(const struct tide__range_args *args, uint32_t i, int64_t at_ms,
                        bool is_counter, const struct tide_histogram **out)
{
    const int64_t *t = args->windows->times_ms + i;
    double part = (double)(at_ms - t[0]) / (double)(t[1] - t[0]);

    if (is_counter && was_reset(args, i + 1)) {
        *out = tide__hist_multiply(args->histograms[i + 1], part, args->arena);
        return *out != NULL;
    }
    return tide__hist_between(args->histograms[i], args->histograms[i + 1], part, args->arena, out);
}

static bool extended_difference(struct difference *d, size_t s, struct tide__reach reach,
                                bool is_counter, bool smoothed)
{
    const struct tide__range_args *args = d->args;
    const struct tide__windows *w = args->windows;
    const struct tide_histogram *left = args->histograms[reach.first];
    const struct tide_histogram *right = args->histograms[reach.last];
    bool cuts_left = smoothed && w->times_ms[reach.first] < w->start_ms[s];
    bool cuts_right = smoothed && w->times_ms[reach.last] > w->end_ms[s];

    if (!check_window(args, reach.first, reach.last, is_counter, false)) {
        d->incompatible = true;
        return false;
    }
    if ((cuts_left && !interpolate(args, reach.first, w->start_ms[s], is_counter, &left)) ||
        (cuts_right && !interpolate(args, reach.last - 1, w->end_ms[s], is_counter, &right))) {
        d->no_memory = true;
        return false;
    }
    if (left == NULL || right == NULL) {
        tide__warn_schemas(args);
        d->incompatible = true;
        return false;
    }
    if (!difference_start(d, right) || !difference_add(d, left, -1))
        return false;
    /* An interpolated left end lies after a reset between it and the next sample already. */
    for (uint32_t i = reach.first + (cuts_left ? 2 : 1); is_counter && i <= reach.last; i++)
        if (was_reset(args, i) && !difference_add(d, args->histograms[i - 1], 1))
            return false;
    return true;
}

static bool extended(const struct tide__range_args *args, size_t s, struct tide__rate_kind kind,
                     bool smoothed)
{
    struct difference d = {.args = args};
    struct tide__reach reach;

    if (!tide__reach_of(args->windows, s, smoothed, &reach))
        return true;
    for (uint32_t i = reach.first; i <= reach.last; i++) {
        if (args->histograms[i] == NULL) {
            tide__warn_mixed(args);
            return true;
        }
    }
    if (!extended_difference(&d, s, reach, kind.is_counter, smoothed))
        return !d.no_memory;
    return finish(&d, kind.is_rate ? 1 / tide__seconds(args->windows->range_ms) : 1, s);
}

/* ---- rate, increase, delta ---- */

/* Whether a window, with what an extended one reaches beyond it, holds a histogram. */
static bool reaches_histogram(const struct tide__range_args *args, size_t s, bool smoothed)
{
    struct tide__reach reach;

    if (!tide__reach_of(args->windows, s, smoothed, &reach))
        return false;
    for (uint32_t i = reach.first; i <= reach.last; i++)
        if (args->histograms[i] != NULL)
            return true;
    return false;
}

static bool rate(const struct tide__function *function, const struct tide__range_args *args,
                 struct tide__rate_kind kind)
{
    const struct tide_selector *selector = tide__extended_selector(args->call);

    if (!tide__pure_floats(function, args))
        return false;
    for (size_t s = 0; s < args->windows->step_count; s++) {
        struct tide__kinds kinds = tide__window_kinds(args, s);

        if (selector != NULL) {
            if (!reaches_histogram(args, s, selector->smoothed))
                continue;
            tide__bit_clear(args->out_present, s);
            if (!extended(args, s, kind, selector->smoothed))
                return false;
            continue;
        }
        if (kinds.floats && kinds.histograms)
            tide__warn_mixed(args);
        else if (kinds.histograms && !extrapolated(args, s, kind))
            return false;
    }
    return true;
}

bool tide__mixed_rate(const struct tide__function *function, const struct tide__range_args *args)
{
    return rate(function, args, (struct tide__rate_kind){true, true});
}

bool tide__mixed_increase(const struct tide__function *function,
                          const struct tide__range_args *args)
{
    return rate(function, args, (struct tide__rate_kind){true, false});
}

bool tide__mixed_delta(const struct tide__function *function, const struct tide__range_args *args)
{
    return rate(function, args, (struct tide__rate_kind){false, false});
}

/* ---- irate, idelta: the last two samples ---- */

static bool instant_step(const struct tide__range_args *args, size_t s, bool is_rate)
{
    const struct tide__windows *w = args->windows;
    uint32_t last = w->hi[s] - 1;
    const struct tide_histogram *h = args->histograms[last];
    const struct tide_histogram *before = args->histograms[last - 1];
    double seconds = (double)(w->times_ms[last] - w->times_ms[last - 1]) / 1000;
    struct difference d = {.args = args};

    if (h == NULL && before == NULL)
        return true; /* The float kernel has done it. */
    tide__bit_clear(args->out_present, s);
    if (h == NULL || before == NULL) {
        tide__warn_mixed(args);
        return true;
    }
    if (is_rate && (is_gauge(h) || is_gauge(before)))
        warn_not_counter(args);
    if (!is_rate && (!is_gauge(h) || !is_gauge(before)))
        warn_not_gauge(args);
    if (!difference_start(&d, h))
        return false;
    if (!(is_rate && was_reset(args, last)) && !difference_add(&d, before, -1))
        return !d.no_memory;
    if (is_rate)
        tide__hist_sum_divide(&d.sum, seconds);
    return finish(&d, 1, s);
}

static bool instant(const struct tide__function *function, const struct tide__range_args *args,
                    bool is_rate)
{
    function->range(args); /* Right where the last two are floats. */
    for (size_t s = 0; s < args->windows->step_count; s++)
        if (tide__bit(args->windows->present2, s) && !instant_step(args, s, is_rate))
            return false;
    return true;
}

bool tide__mixed_irate(const struct tide__function *function, const struct tide__range_args *args)
{
    return instant(function, args, true);
}

bool tide__mixed_idelta(const struct tide__function *function, const struct tide__range_args *args)
{
    return instant(function, args, false);
}
