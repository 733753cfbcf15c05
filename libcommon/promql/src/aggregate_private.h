/* The running state of one group of an aggregation at every step, folded from rows and from other
 * states: what the threads that work on one aggregation exchange. */
#ifndef TIDE_PROMQL_AGGREGATE_PRIVATE_H
#define TIDE_PROMQL_AGGREGATE_PRIVATE_H

#include "eval_private.h"

/* Arrays over the steps; which of them an operator has: see tide__cell_new(). A step without its
 * presence bit has the neutral value. */
struct tide__cell {
    double *a;         /* sum: the sum; avg: sum or mean; min, max, count; stddev: the mean. */
    double *b;         /* sum, avg: what rounding lost; stddev: the sum of squares of deviations. */
    double *n;         /* avg, stddev: how many. */
    uint8_t *is_mean;  /* avg: a is a mean, since the sum would overflow. */
    uint64_t *present; /* Words over the steps. */
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
/* The values of the group, where present. */
void tide__cell_finish(enum tide_aggregate op, const struct tide__cell *cell, size_t step_count,
                       double *out);

#endif
