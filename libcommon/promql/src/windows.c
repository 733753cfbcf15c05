#include "windows_private.h"

#include "hist_private.h"

/* First index whose time is after t. */
static uint32_t first_after(const int64_t *times_ms, size_t count, int64_t t)
{
    size_t lo = 0;
    size_t hi = count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (times_ms[mid] <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return (uint32_t)lo;
}

/* The index at or after from of the first time after t: near from when the steps are dense, so look
 * there first. */
static uint32_t next_after(const int64_t *times_ms, size_t count, uint32_t from, int64_t t)
{
    uint32_t at = from;
    uint32_t near = (uint32_t)(count - from > 16 ? from + 16 : count);

    while (at < near && times_ms[at] <= t)
        at++;
    if (at == near && at < count && times_ms[at] <= t)
        at += first_after(times_ms + at, count - at, t);
    return at;
}

struct tide__windows *tide__windows_make(const struct tide__stream *stream, const int64_t *times_ms,
                                         size_t count, struct tide_arena *arena)
{
    const struct tide__grid *grid = stream->grid;
    size_t steps = grid->step_count;
    size_t words = grid->word_count;
    struct tide__windows *w = tide_arena_alloc(arena, sizeof(*w));
    uint32_t *lo = tide_arena_alloc(arena, 2 * steps * sizeof(*lo));
    uint64_t *present = tide_arena_new_array(arena, 2 * words, sizeof(*present));
    uint32_t *hi = lo + steps;

    if (w == NULL || lo == NULL || present == NULL)
        return NULL;
    for (size_t s = 0; s < steps; s++) {
        lo[s] = next_after(times_ms, count, s == 0 ? 0 : lo[s - 1], stream->start_ms[s]);
        hi[s] = next_after(times_ms, count, s == 0 ? lo[0] : hi[s - 1], stream->end_ms[s]);
        if (hi[s] > lo[s])
            tide__bit_set(present, s);
        if (hi[s] > lo[s] + 1)
            tide__bit_set(present + words, s);
    }
    *w = (struct tide__windows){
        .times_ms = times_ms,
        .count = count,
        .step_count = steps,
        .word_count = words,
        .lo = lo,
        .hi = hi,
        .start_ms = stream->start_ms,
        .end_ms = stream->end_ms,
        .step_ms = grid->times_ms,
        .range_ms = stream->range_ms,
        .lookback_ms = stream->eval->lookback_ms,
        .present1 = present,
        .present2 = present + words,
    };
    if (stream->function != NULL && stream->function->prepare != NULL) {
        w->prepared = stream->function->prepare(w, arena);
        if (w->prepared == NULL)
            return NULL;
    }
    return w;
}

/* A loop without a branch, which compilers turn into vector code. */
static bool have_nan(const double *values, size_t count)
{
    unsigned nan = 0;

    for (size_t i = 0; i < count; i++)
        nan |= (unsigned)(values[i] != values[i]);
    return nan != 0;
}

bool tide__have_stale(const double *values, size_t count)
{
    if (!have_nan(values, count))
        return false;
    for (size_t i = 0; i < count; i++)
        if (tide_value_is_stale(values[i]))
            return true;
    return false;
}

void tide__pick_last(const struct tide__windows *w, const double *values, double *out,
                     uint64_t *present)
{
    memcpy(present, w->present1, w->word_count * sizeof(*present));
    if (w->count == 0)
        return;
    for (size_t s = 0; s < w->step_count; s++) {
        uint32_t hi = w->hi[s];

        out[s] =
            values[hi == 0 ? 0 : hi - 1]; /* Without a branch; absent steps may hold anything. */
    }
    if (!have_nan(out, w->step_count))
        return;
    for (size_t s = 0; s < w->step_count; s++)
        if (tide_value_is_stale(out[s]))
            tide__bit_clear(present, s);
}

void tide__pick_last_mixed(const struct tide__windows *w, const struct tide_series_samples *samples,
                           double *out, uint64_t *present, const struct tide_histogram **picked)
{
    tide__pick_last(w, samples->values, out, present);
    for (size_t s = 0; s < w->step_count; s++) {
        if (!tide__bit(present, s))
            continue;
        picked[s] = samples->histograms[w->hi[s] - 1];
        if (picked[s] != NULL && tide__hist_is_stale(picked[s]))
            tide__bit_clear(present, s);
    }
}

void tide__pick_time(const struct tide__windows *w, const double *values, double *out,
                     uint64_t *present)
{
    tide__pick_last(w, values, out, present);
    for (size_t s = 0; s < w->step_count; s++)
        if (tide__bit(present, s))
            out[s] = (double)w->times_ms[w->hi[s] - 1] / 1000;
}

void tide__pick_smoothed(const struct tide__windows *w, const double *values, double *out,
                         uint64_t *present)
{
    memcpy(present, w->present1, w->word_count * sizeof(*present));
    for (size_t s = 0; s < w->step_count; s++) {
        uint32_t before = w->hi[s] - 1;
        uint32_t after = w->hi[s];
        int64_t t = w->end_ms[s];

        if (!tide__bit(present, s))
            continue;
        out[s] = values[before];
        if (w->times_ms[before] != t && after < w->count &&
            w->times_ms[after] < t + w->lookback_ms) {
            double part = (double)(t - w->times_ms[before]) /
                          (double)(w->times_ms[after] - w->times_ms[before]);

            out[s] = values[before] + (values[after] - values[before]) * part;
        }
    }
}
