#include "stream_mixed_private.h"

#include "binary_mixed_private.h"

/* ---- Samples ---- */

static bool is_stale(const struct tide_series_samples *samples, size_t i)
{
    const struct tide_histogram *h = samples->histograms[i];

    return h == NULL ? tide_value_is_stale(samples->values[i]) : tide__hist_is_stale(h);
}

static bool without_stale(struct tide_series_samples *samples, struct tide_arena *arena,
                          bool *dropped)
{
    size_t kept = 0;
    int64_t *times;
    double *values;
    const struct tide_histogram **histograms;

    while (kept < samples->count && !is_stale(samples, kept))
        kept++;
    *dropped = kept < samples->count;
    if (!*dropped)
        return true;
    times = tide_arena_alloc(arena, samples->count * sizeof(*times));
    values = tide_arena_alloc(arena, samples->count * sizeof(*values));
    histograms = tide_arena_alloc(arena, samples->count * sizeof(struct tide_histogram *));
    if (times == NULL || values == NULL || histograms == NULL)
        return false;
    kept = 0;
    for (size_t i = 0; i < samples->count; i++) {
        if (is_stale(samples, i))
            continue;
        times[kept] = samples->times_ms[i];
        values[kept] = samples->values[i];
        histograms[kept++] = samples->histograms[i];
    }
    *samples = (struct tide_series_samples){times, values, histograms, kept};
    return true;
}

/* The hint of a histogram after the sample before it, which may be NULL. */
static enum tide_counter_reset hint(const struct tide_histogram *h,
                                    const struct tide_histogram *before, bool of_subquery,
                                    struct tide_arena *arena)
{
    struct tide_histogram plain = *h;

    if (h->reset == TIDE_RESET_GAUGE || tide__hist_is_stale(h))
        return h->reset;
    if (h->reset != TIDE_RESET_UNKNOWN && !of_subquery)
        return h->reset;
    if (before == NULL || tide__hist_is_stale(before))
        return TIDE_RESET_UNKNOWN;
    plain.reset = TIDE_RESET_UNKNOWN;
    return tide__hist_is_reset(&plain, before, arena) ? TIDE_RESET_YES : TIDE_RESET_NO;
}

bool tide__mixed_samples(struct tide_series_samples *samples, bool drop_stale, bool of_subquery,
                         struct tide_arena *arena, bool *dropped)
{
    const struct tide_histogram **hinted;

    if (drop_stale && !without_stale(samples, arena, dropped))
        return false;
    hinted = tide_arena_alloc(arena, (samples->count + 1) * sizeof(struct tide_histogram *));
    if (hinted == NULL)
        return false;
    for (size_t i = 0; i < samples->count; i++) {
        const struct tide_histogram *h = samples->histograms[i];
        enum tide_counter_reset reset;

        hinted[i] = h;
        if (h == NULL)
            continue;
        reset = hint(h, i == 0 ? NULL : samples->histograms[i - 1], of_subquery, arena);
        if (reset != h->reset)
            hinted[i] = tide__hist_with_reset(h, reset, arena);
        if (hinted[i] == NULL)
            return false;
    }
    samples->histograms = hinted;
    return true;
}

/* ---- Smoothed instant selectors ---- */

bool tide__pick_smoothed_mixed(struct tide__eval *eval, struct tide_promql_range pos,
                               const struct tide__range_args *args)
{
    const struct tide__windows *w = args->windows;

    memcpy(args->out_present, w->present1, w->word_count * sizeof(*w->present1));
    for (size_t s = 0; s < w->step_count; s++) {
        uint32_t before = w->hi[s] - 1;
        uint32_t after = w->hi[s];
        int64_t t = w->end_ms[s];
        bool between;
        double part;

        if (!tide__bit(w->present1, s))
            continue;
        args->out[s] = args->values[before];
        args->out_histograms[s] = args->histograms[before];
        between = w->times_ms[before] != t && after < w->count &&
                  w->times_ms[after] < t + w->lookback_ms &&
                  (args->histograms[before] == NULL) == (args->histograms[after] == NULL);
        if (!between)
            continue;
        part =
            (double)(t - w->times_ms[before]) / (double)(w->times_ms[after] - w->times_ms[before]);
        if (args->histograms[before] == NULL) {
            args->out[s] =
                args->values[before] + (args->values[after] - args->values[before]) * part;
            continue;
        }
        if (!tide__hist_between(args->histograms[before], args->histograms[after], part,
                                args->arena, &args->out_histograms[s]))
            return false;
        if (args->out_histograms[s] == NULL) {
            tide__note_at(eval, false, pos,
                          "vector contains a mix of histograms with exponential and custom buckets "
                          "schemas for metric name \"%.*s\"",
                          TIDE_SLICE_ARGS(args->name));
            tide__bit_clear(args->out_present, s);
        }
    }
    return true;
}

/* ---- Element by element ---- */

static void map_mixed(const struct tide__row_op *op, size_t step_count, double *values,
                      uint64_t *present, const struct tide_histogram *const *histograms)
{
    for (size_t s = 0; s < step_count; s++) {
        if (!tide__bit(present, s))
            continue;
        if (op->function->of_histogram == NULL) {
            if (histograms[s] != NULL)
                tide__bit_clear(present, s);
        } else if (histograms[s] == NULL) {
            tide__bit_clear(present, s);
        } else {
            values[s] = op->function->of_histogram(histograms[s]);
        }
    }
    if (op->function->of_histogram == NULL)
        op->function->map(&op->call, values, present);
}

/* One element with the scalar. */
static bool binary_element(struct tide__eval *eval, const struct tide__row_op *op,
                           struct tide_arena *arena, size_t s, double *value, uint64_t *present,
                           const struct tide_histogram **histogram)
{
    struct tide__operand element = {*value, *histogram};
    struct tide__operand scalar = {op->scalar[s], NULL};
    struct tide__operand out = {0};
    enum tide__mixed_result result;

    if (element.h == NULL && !tide__is_trim(op->op)) {
        tide__binary_row(op->op, op->return_bool, op->swapped, &op->scalar[s], 1, value, present);
        return true;
    }
    result = tide__binary_mixed(eval, op->pos, op->op, arena, op->swapped ? scalar : element,
                                op->swapped ? element : scalar, &out);
    *histogram = NULL;
    *present = result == TIDE__MIXED_VALUE;
    if (result == TIDE__MIXED_VALUE) {
        *value = out.v;
        *histogram = out.h;
    }
    return result != TIDE__MIXED_NO_MEMORY;
}

bool tide__row_op_mixed(struct tide__eval *eval, const struct tide__row_op *op,
                        struct tide_arena *arena, size_t step_count, double *values,
                        uint64_t *present, const struct tide_histogram *const **histograms)
{
    const struct tide_histogram **out;

    if (op->kind == TIDE__ROW_MAP) {
        map_mixed(op, step_count, values, present, *histograms);
        *histograms = NULL;
        return true;
    }
    out = tide_arena_new_array(arena, step_count, sizeof(struct tide_histogram *));
    if (out == NULL)
        return false;
    for (size_t s = 0; s < step_count; s++) {
        uint64_t there = 1;

        if (!tide__bit(present, s))
            continue;
        out[s] = (*histograms)[s];
        if (op->kind == TIDE__ROW_BINARY) {
            if (!binary_element(eval, op, arena, s, &values[s], &there, &out[s]))
                return false;
            tide__bit_assign(present, s, there != 0);
        } else if (out[s] == NULL) {
            values[s] = -values[s];
        } else {
            out[s] = tide__hist_multiply(out[s], -1, arena);
            if (out[s] == NULL)
                return false;
        }
    }
    *histograms = out;
    return true;
}

void tide__trim_floats(struct tide__eval *eval, const struct tide__row_op *op, size_t word_count,
                       uint64_t *present)
{
    struct tide__operand none = {0};
    struct tide__operand out;

    if (!tide__any_present(present, word_count))
        return;
    (void)tide__binary_mixed(eval, op->pos, op->op, NULL, none, none, &out);
    memset(present, 0, word_count * sizeof(*present));
}
