/* The running state of one group of an aggregation at every step, folded from rows and from other
 * states: what the threads that work on one aggregation exchange. */
#ifndef TIDE_PROMQL_AGGREGATE_PRIVATE_H
#define TIDE_PROMQL_AGGREGATE_PRIVATE_H

#include "eval_private.h"
#include "hist_private.h"

/* What sum and avg know of the native histograms of a group at one step. */
struct tide__native {
    struct tide__hist_sum sum;
    double n;
    bool is_mean;      /* avg: sum is a mean, since the sum would overflow. */
    bool reset;        /* Some histogram knew of a counter reset … */
    bool no_reset;     /* … some that there was none. */
    bool incompatible; /* Exponential and custom buckets met: there is no result. */
    bool reconciled;
    struct tide_slice name; /* A metric name, for the note about incompatible ones. */
};

/* Arrays over the steps; which of them an operator has: see tide__cell_new(). A step without its
 * presence bit has the neutral value. */
struct tide__cell {
    double *a;         /* sum: the sum; avg: sum or mean; min, max, count; stddev: the mean. */
    double *b;         /* sum, avg: what rounding lost; stddev: the sum of squares of deviations. */
    double *n;         /* avg, stddev: how many. */
    uint8_t *is_mean;  /* avg: a is a mean, since the sum would overflow. */
    uint64_t *present; /* Words over the steps. */
    /* sum, avg: NULL without histograms; else one for each step, NULL where there is none. Floats
     * are in the arrays above. */
    struct tide__native **native;
};

/* A neutral cell in arena. False when there is no memory. */
bool tide__cell_new(enum tide_aggregate op, size_t step_count, struct tide_arena *arena,
                    struct tide__cell *cell);
/* Adds one series. */
void tide__cell_add(enum tide_aggregate op, struct tide__cell *cell, size_t step_count,
                    const double *values, const uint64_t *present);
/* Adds all that other holds, as if its series came after those of cell. */
void tide__cell_merge(enum tide_aggregate op, struct tide__cell *cell, size_t step_count,
                      const struct tide__cell *other);
/* ---- Histograms of sum and avg: aggregate_native.c. False when there is no memory. ---- */

/* Adds those of one series, of the metric name, at the steps where it has points. scratch may be
 * reset once it is done. */
bool tide__native_add(enum tide_aggregate op, struct tide__cell *cell, size_t step_count,
                      const uint64_t *present, const struct tide_histogram *const *histograms,
                      struct tide_slice name, struct tide_arena *arena, struct tide_arena *scratch);
/* Adds those of other, which are changed and whose memory may be reused afterwards. */
bool tide__native_merge(enum tide_aggregate op, struct tide__cell *cell, size_t step_count,
                        const struct tide__cell *other, struct tide_arena *arena);
/* Adds the histograms of the group to its row, in which the floats stand already; notes at pos. */
TIDE_CHECK_RESULT enum tide_err
tide__native_finish(struct tide__eval *eval, struct tide_promql_range pos, enum tide_aggregate op,
                    const struct tide__cell *cell, struct tide__row *row);

/* ---- Floats ---- */

/* The values of the group, where present. */
void tide__cell_finish(enum tide_aggregate op, const struct tide__cell *cell, size_t step_count,
                       double *out);

#endif
