#include "fn_range_mixed_private.h"

#include "fn_rate_private.h"
#include "stream_mixed_private.h"

/* ---- Windows ---- */

struct tide__kinds tide__window_kinds(const struct tide__range_args *args, size_t s)
{
    struct tide__kinds kinds = {false, false};

    for (uint32_t i = args->windows->lo[s]; i < args->windows->hi[s]; i++) {
        if (args->histograms[i] == NULL)
            kinds.floats = true;
        else
            kinds.histograms = true;
    }
    return kinds;
}

/* The argument that is the range vector: notes stand at its place. */
static size_t range_arg(const struct tide__call *call)
{
    size_t i = 0;

    while (i + 1 < call->arg_count && call->args[i].kind != TIDE__ARG_NONE)
        i++;
    return i;
}

void tide__warn_mixed(const struct tide__range_args *args)
{
    tide__call_warn(args->call, range_arg(args->call),
                    "encountered a mix of histograms and floats for metric name \"%.*s\"",
                    TIDE_SLICE_ARGS(args->name));
}

void tide__warn_schemas(const struct tide__range_args *args)
{
    tide__call_warn(
        args->call, range_arg(args->call),
        "vector contains a mix of histograms with exponential and custom buckets schemas "
        "for metric name \"%.*s\"",
        TIDE_SLICE_ARGS(args->name));
}

/* ---- Floats alone ---- */

/* The windows over the samples that are floats, and those samples. */
static bool float_windows(const struct tide__function *function,
                          const struct tide__range_args *args, struct tide__windows *out,
                          double **out_values)
{
    const struct tide__windows *w = args->windows;
    uint32_t *floats_before = tide_arena_alloc(args->arena, (w->count + 1) * sizeof(uint32_t));
    uint32_t *lo = tide_arena_alloc(args->arena, 2 * w->step_count * sizeof(*lo));
    uint64_t *present = tide_arena_new_array(args->arena, 2 * w->word_count, sizeof(*present));
    int64_t *times = tide_arena_alloc(args->arena, (w->count + 1) * sizeof(*times));
    double *values = tide_arena_alloc(args->arena, (w->count + 1) * sizeof(*values));
    uint32_t *hi = lo + w->step_count;
    uint32_t count = 0;

    if (floats_before == NULL || lo == NULL || present == NULL || times == NULL || values == NULL)
        return false;
    for (size_t i = 0; i < w->count; i++) {
        floats_before[i] = count;
        if (args->histograms[i] != NULL)
            continue;
        times[count] = w->times_ms[i];
        values[count++] = args->values[i];
    }
    floats_before[w->count] = count;
    for (size_t s = 0; s < w->step_count; s++) {
        lo[s] = floats_before[w->lo[s]];
        hi[s] = floats_before[w->hi[s]];
        if (hi[s] > lo[s])
            tide__bit_set(present, s);
        if (hi[s] > lo[s] + 1)
            tide__bit_set(present + w->word_count, s);
    }
    *out = *w;
    out->times_ms = times;
    out->count = count;
    out->lo = lo;
    out->hi = hi;
    out->present1 = present;
    out->present2 = present + w->word_count;
    out->prepared = NULL;
    *out_values = values;
    if (function->prepare != NULL && count > 0) {
        out->prepared = function->prepare(out, args->arena);
        if (out->prepared == NULL)
            return false;
    }
    return true;
}

static bool run_floats(const struct tide__function *function, const struct tide__range_args *args)
{
    struct tide__windows windows;
    struct tide__range_args floats = *args;
    double *values;

    if (!float_windows(function, args, &windows, &values))
        return false;
    floats.windows = &windows;
    floats.values = values;
    if (windows.count > 0)
        function->range(&floats);
    return true;
}

bool tide__range_floats(const struct tide__function *function, const struct tide__range_args *args)
{
    if (!run_floats(function, args))
        return false;
    for (size_t s = 0; s < args->windows->step_count; s++) {
        struct tide__kinds kinds = tide__window_kinds(args, s);

        if (!kinds.floats || !kinds.histograms)
            continue;
        tide__call_info(args->call, range_arg(args->call),
                        "ignored histograms in a range containing both floats and histograms for "
                        "metric name \"%.*s\"",
                        TIDE_SLICE_ARGS(args->name));
        break; /* The others would say the same. */
    }
    return true;
}

bool tide__pure_floats(const struct tide__function *function, const struct tide__range_args *args)
{
    if (!run_floats(function, args))
        return false;
    for (size_t s = 0; s < args->windows->step_count; s++)
        if (tide__window_kinds(args, s).histograms)
            tide__bit_clear(args->out_present, s);
    return true;
}

/* ---- Whatever the samples are ---- */

bool tide__mixed_any(const struct tide__function *function, const struct tide__range_args *args)
{
    function->range(args);
    return true;
}

bool tide__mixed_first(const struct tide__function *function, const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    function->range(args);
    for (size_t s = 0; s < w->step_count; s++)
        if (w->hi[s] > w->lo[s])
            args->out_histograms[s] = args->histograms[w->lo[s]];
    return true;
}

bool tide__mixed_last(const struct tide__function *function, const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    function->range(args);
    for (size_t s = 0; s < w->step_count; s++)
        if (w->hi[s] > w->lo[s])
            args->out_histograms[s] = args->histograms[w->hi[s] - 1];
    return true;
}

/* ---- Resets and changes ---- */

static bool is_reset(const struct tide__range_args *args, uint32_t i)
{
    const struct tide_histogram *before = args->histograms[i - 1];
    const struct tide_histogram *h = args->histograms[i];

    if (before != NULL && h != NULL)
        return tide__hist_is_reset(h, before, args->arena);
    if (before != NULL || h != NULL)
        return true;
    return args->values[i] < args->values[i - 1];
}

static bool is_change(const struct tide__range_args *args, uint32_t i)
{
    const struct tide_histogram *before = args->histograms[i - 1];
    const struct tide_histogram *h = args->histograms[i];

    if (before != NULL && h != NULL)
        return !tide__hist_equal(h, before);
    if (before != NULL || h != NULL)
        return true;
    return args->values[i] != args->values[i - 1] &&
           !(isnan(args->values[i]) && isnan(args->values[i - 1]));
}

static bool count_events(const struct tide__range_args *args,
                         bool (*is_event)(const struct tide__range_args *args, uint32_t i))
{
    const struct tide__windows *w = args->windows;
    bool anchored = tide__extended_selector(args->call) != NULL;
    uint32_t *events = args->scratch; /* Among the first i + 1 samples. */

    memcpy(args->out_present, w->present1, w->word_count * sizeof(*w->present1));
    events[0] = 0;
    for (uint32_t i = 1; i < w->count; i++)
        events[i] = events[i - 1] + (is_event(args, i) ? 1 : 0);
    for (size_t s = 0; s < w->step_count; s++)
        if (w->hi[s] > w->lo[s])
            args->out[s] =
                (double)(events[w->hi[s] - 1] - events[anchored ? tide__anchor(w, s) : w->lo[s]]);
    return true;
}

bool tide__mixed_resets(const struct tide__function *function, const struct tide__range_args *args)
{
    (void)function;
    return count_events(args, is_reset);
}

bool tide__mixed_changes(const struct tide__function *function, const struct tide__range_args *args)
{
    (void)function;
    return count_events(args, is_change);
}

/* ---- Sums and averages ---- */

/* The running average of a window: a sum until that overflows, from there on a mean. */
struct average {
    struct tide__hist_sum sum;
    bool is_mean;
};

static bool average_add(struct average *average, const struct tide_histogram *h, double n,
                        struct tide__hist_outcome *outcome)
{
    struct tide__hist_sum tried = {.arena = average->sum.arena};
    const struct tide_histogram *part;

    if (!average->is_mean && !tide__hist_sum_is_large(&average->sum) && !tide__hist_is_large(h))
        return tide__hist_sum_add(&average->sum, h, 1, outcome);
    if (!average->is_mean) {
        if (!tide__hist_sum_copy(&tried, &average->sum) ||
            !tide__hist_sum_add(&tried, h, 1, outcome))
            return false;
        if (outcome->incompatible || !tide__hist_sum_overflows(&tried)) {
            average->sum = tried;
            return true;
        }
        average->is_mean = true;
        tide__hist_sum_divide(&average->sum, n - 1);
    }
    tide__hist_sum_multiply(&average->sum, (n - 1) / n);
    part = tide__hist_divide(h, n, average->sum.arena);
    return part != NULL && tide__hist_sum_add(&average->sum, part, 1, outcome);
}

/* What was met on the way through a window. */
struct met {
    bool reset;
    bool no_reset;
    bool reconciled;
};

static void meet(struct met *met, const struct tide_histogram *h)
{
    met->reset = met->reset || h->reset == TIDE_RESET_YES;
    met->no_reset = met->no_reset || h->reset == TIDE_RESET_NO;
}

static void tell(const struct tide__range_args *args, const struct met *met)
{
    size_t arg = range_arg(args->call);

    if (met->reset && met->no_reset)
        tide__call_warn(args->call, arg, "conflicting counter resets during histogram aggregation");
    if (met->reconciled)
        tide__call_info(args->call, arg,
                        "mismatched custom buckets were reconciled during aggregation");
}

/* A window of histograms; *out is NULL when they are incompatible. */
static bool reduce_window(const struct tide__range_args *args, size_t s, bool is_avg,
                          const struct tide_histogram **out)
{
    const struct tide__windows *w = args->windows;
    struct average average = {.is_mean = false};
    struct met met = {0};

    *out = NULL;
    if (!tide__hist_sum_init(&average.sum, args->arena, true, args->histograms[w->lo[s]]))
        return false;
    meet(&met, args->histograms[w->lo[s]]);
    for (uint32_t i = w->lo[s] + 1; i < w->hi[s]; i++) {
        const struct tide_histogram *h = args->histograms[i];
        struct tide__hist_outcome outcome = {0};
        double n = (double)(i - w->lo[s] + 1);

        meet(&met, h);
        if (!(is_avg ? average_add(&average, h, n, &outcome)
                     : tide__hist_sum_add(&average.sum, h, 1, &outcome)))
            return false;
        if (outcome.incompatible) {
            tide__warn_schemas(args);
            return true;
        }
        met.reconciled = met.reconciled || outcome.reconciled;
    }
    tell(args, &met);
    if (is_avg && !average.is_mean)
        tide__hist_sum_divide(&average.sum, (double)(w->hi[s] - w->lo[s]));
    *out = tide__hist_sum_finish(&average.sum, args->arena);
    return *out != NULL;
}

static bool reduce(const struct tide__function *function, const struct tide__range_args *args,
                   bool is_avg)
{
    if (!tide__pure_floats(function, args))
        return false;
    for (size_t s = 0; s < args->windows->step_count; s++) {
        struct tide__kinds kinds = tide__window_kinds(args, s);

        if (kinds.floats && kinds.histograms)
            tide__warn_mixed(args);
        if (kinds.floats || !kinds.histograms)
            continue;
        if (!reduce_window(args, s, is_avg, &args->out_histograms[s]))
            return false;
        if (args->out_histograms[s] != NULL)
            tide__bit_set(args->out_present, s);
    }
    return true;
}

bool tide__mixed_sum(const struct tide__function *function, const struct tide__range_args *args)
{
    return reduce(function, args, false);
}

bool tide__mixed_avg(const struct tide__function *function, const struct tide__range_args *args)
{
    return reduce(function, args, true);
}
