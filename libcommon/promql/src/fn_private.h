/* What the function kernels share: the compensated sum of Prometheus, and one declaration per
 * kernel for the table in fn_table.c. Each kernel follows the definition of its function in
 * Prometheus 3.14, promql/functions.go, to the bit: the same operations in the same order. */
#ifndef TIDE_PROMQL_FN_PRIVATE_H
#define TIDE_PROMQL_FN_PRIVATE_H

#include "functions_private.h"

#include <math.h>

/* Kahan summation with Neumaier's improvement: the sum so far and what rounding lost of it.
 * Source: A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen",
 * ZAMM 54 (1974). An infinite sum has lost nothing, or inf - inf would spoil it. */
struct tide__kahan {
    double sum;
    double lost;
};

static inline void tide__kahan_add(struct tide__kahan *k, double v)
{
    double sum = k->sum + v;

    if (isinf(sum))
        k->lost = 0;
    else if (fabs(k->sum) >= fabs(v))
        k->lost += (k->sum - sum) + v;
    else
        k->lost += (v - sum) + k->sum;
    k->sum = sum;
}

/* Milliseconds in seconds as Go's Duration.Seconds() rounds them. */
static inline double tide__seconds(int64_t ms)
{
    int64_t whole = ms / 1000;
    int64_t nanoseconds = ms % 1000 * 1000000;

    return (double)whole + (double)nanoseconds / 1e9;
}

/* The quantile q in [0, 1] of count > 0 values in rising order, NaN first: linear interpolation
 * between the two nearest ranks. */
double tide__quantile_sorted(double q, const double *sorted, size_t count);
/* The same for any q and any order: NaN for NaN, -Inf under 0, +Inf over 1. Sorts values. */
double tide__quantile(double q, double *values, size_t count);
static inline bool tide__quantile_is_valid(double q)
{
    return q >= 0 && q <= 1; /* False for NaN. */
}
/* Warns that q is no quantile. */
void tide__quantile_warn(const struct tide__call *call, size_t arg, double q);

/* ---- Windows of plain reductions ---- */

enum tide__reduction { TIDE__REDUCE_SUM, TIDE__REDUCE_AVG, TIDE__REDUCE_MIN, TIDE__REDUCE_MAX };

/* Reduces one window of count > 0 values: the definition. */
double tide__window_reduce(enum tide__reduction reduction, const double *values, size_t count);

/* The same for all windows that are not empty, four at a time; bit for bit, but for the payload of
 * a NaN. False, with nothing done, where the processor has no AVX2. */
bool tide__windows_reduce_avx2(enum tide__reduction reduction, const struct tide__windows *w,
                               const double *values, double *out);

#endif
