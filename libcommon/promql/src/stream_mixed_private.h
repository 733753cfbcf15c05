/* Streams over series with native histograms among their samples. */
#ifndef TIDE_PROMQL_STREAM_MIXED_PRIVATE_H
#define TIDE_PROMQL_STREAM_MIXED_PRIVATE_H

#include "hist_private.h"
#include "stream_private.h"

/* Makes samples ready: without staleness markers when drop_stale (then *dropped tells whether there
 * were any), and with the reset hints worked out where the sender gave none. Samples of a subquery
 * have skipped others, so what is known of resets between those does not hold.
 * False when there is no memory. */
bool tide__mixed_samples(struct tide_series_samples *samples, bool drop_stale, bool of_subquery,
                         struct tide_arena *arena, bool *dropped);
/* A smoothed instant selector: between two floats or two histograms the straight line, else the
 * last sample. False when there is no memory. */
bool tide__pick_smoothed_mixed(struct tide__eval *eval, struct tide_promql_range pos,
                               const struct tide__range_args *args);
/* Takes one element-wise step on a row with histograms. False when there is no memory. */
bool tide__row_op_mixed(struct tide__eval *eval, const struct tide__row_op *op,
                        struct tide_arena *arena, size_t step_count, double *values,
                        uint64_t *present, const struct tide_histogram *const **histograms);
static inline bool tide__is_trim(enum tide_binary_op op)
{
    return op == TIDE_OP_TRIM_UPPER || op == TIDE_OP_TRIM_LOWER;
}
/* Floats cannot be trimmed: they go, with an info. */
void tide__trim_floats(struct tide__eval *eval, const struct tide__row_op *op, size_t word_count,
                       uint64_t *present);

/* Runs the range kernel of a function on the floats alone; an info where there are histograms
 * beside them. False when there is no memory. */
bool tide__range_floats(const struct tide__function *function, const struct tide__range_args *args);

#endif
