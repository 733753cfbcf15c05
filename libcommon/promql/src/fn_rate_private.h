/* rate, increase, delta and their kin: what fn_rate.c and fn_rate_extended.c share. */
#ifndef TIDE_PROMQL_FN_RATE_PRIVATE_H
#define TIDE_PROMQL_FN_RATE_PRIVATE_H

#include "fn_private.h"

/* Which of the three functions: all are the difference over a window. */
struct tide__rate_kind {
    bool is_counter; /* Falling values are resets. */
    bool is_rate;    /* Per second. */
};

/* Timestamps alone decide all of these, so they are worked out once for all series of a scrape
 * target. Arrays over the steps; a step with fewer than two samples has zeros. */
struct tide__rate_plan {
    uint32_t *first; /* Index of the window's first and last sample. */
    uint32_t *last;
    double *sampled;  /* Seconds between them. */
    double *to_start; /* Seconds to extrapolate before the first and after the last. */
    double *to_end;
    double *factor; /* What the difference is multiplied with unless the zero point is nearer. */
    double *limit;  /* A bound a little above to_start. */
};

void *tide__rate_prepare(const struct tide__windows *w, struct tide_arena *arena);
void *tide__increase_prepare(const struct tide__windows *w, struct tide_arena *arena);
void tide__fn_rate(const struct tide__range_args *args);
void tide__fn_increase(const struct tide__range_args *args);
void tide__fn_delta(const struct tide__range_args *args);
void tide__fn_irate(const struct tide__range_args *args);
void tide__fn_idelta(const struct tide__range_args *args);

/* The selector of the call's range vector when it is written `anchored` or `smoothed`, else NULL.
 */
const struct tide_selector *tide__extended_selector(const struct tide__call *call);
/* Index of the sample that stands for the start of window s of such a selector: the last one at or
 * before the start that the lookback still reaches, else the window's first, lo[s]. */
static inline uint32_t tide__anchor(const struct tide__windows *w, size_t s)
{
    uint32_t lo = w->lo[s];

    return lo > 0 && w->times_ms[lo - 1] > w->start_ms[s] - w->lookback_ms ? lo - 1 : lo;
}
/* What a window of an extended selector sees, as indices into the samples. */
struct tide__reach {
    uint32_t first;
    uint32_t last;
};
/* False when no sample is close enough to tell anything about window s. */
bool tide__reach_of(const struct tide__windows *w, size_t s, bool smoothed,
                    struct tide__reach *out);
/* The difference with exact borders instead of extrapolation. */
void tide__rate_extended(const struct tide__range_args *args, struct tide__rate_kind kind,
                         bool smoothed);

#endif
