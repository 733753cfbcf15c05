/* Which samples lie in which step's window: once per array of timestamps. */
#ifndef TIDE_PROMQL_WINDOWS_PRIVATE_H
#define TIDE_PROMQL_WINDOWS_PRIVATE_H

#include "stream_private.h"

/* The windows of the stream's steps over times, in arena, with what the stream's function prepares.
 * NULL when there is no memory. */
struct tide__windows *tide__windows_make(const struct tide__stream *stream, const int64_t *times_ms,
                                         size_t count, struct tide_arena *arena);

/* ---- Instant selectors: out and present of one series ---- */

void tide__pick_last(const struct tide__windows *w, const double *values, double *out,
                     uint64_t *present);
void tide__pick_time(const struct tide__windows *w, const double *values, double *out,
                     uint64_t *present);
/* The straight line between the samples around each step; values hold no staleness markers. */
void tide__pick_smoothed(const struct tide__windows *w, const double *values, double *out,
                         uint64_t *present);

/* The last sample of series with histograms: which it is goes to picked, NULL for a float. */
void tide__pick_last_mixed(const struct tide__windows *w, const struct tide_series_samples *samples,
                           double *out, uint64_t *present, const struct tide_histogram **picked);

/* Whether there is a staleness marker among values. */
bool tide__have_stale(const double *values, size_t count);

#endif
