/* Arithmetic on native histograms: what the operators and functions of the language need.
 * Histograms (struct tide_histogram) are never changed once made; sums are built in a mutable form,
 * struct tide__hist_sum, whose buckets stand in a sorted list instead of spans. Source: Prometheus
 * documentation, "Native Histograms" specification. */
#ifndef TIDE_PROMQL_HIST_PRIVATE_H
#define TIDE_PROMQL_HIST_PRIVATE_H

#include "tide/model/histogram.h"
#include "tide/model/sample.h"

static inline bool tide__hist_is_stale(const struct tide_histogram *h)
{
    return tide_value_is_stale(h->sum);
}
static inline bool tide__hist_is_custom(const struct tide_histogram *h)
{
    return h->schema == TIDE_HISTOGRAM_SCHEMA_CUSTOM;
}

/* ---- Buckets (hist_bucket.c) ---- */

struct tide__hist_bucket {
    double lower;
    double upper;
    double count;
    bool is_zero; /* The zero bucket. */
    bool lower_inclusive;
    bool upper_inclusive;
};

/* One side of a histogram while it is walked in either direction. */
struct tide__hist_side {
    const struct tide_span *spans;
    uint32_t span_count;
    const double *counts;
    uint32_t count;
    uint32_t span; /* Where at is. */
    uint32_t within;
    int64_t index; /* Of bucket at. */
    uint32_t at;   /* Into counts; count: past the end. */
};

/* Stands at the first bucket, or at the last. False when there is none. */
bool tide__hist_side_first(const struct tide_histogram *h, bool positive,
                           struct tide__hist_side *side);
bool tide__hist_side_last(const struct tide_histogram *h, bool positive,
                          struct tide__hist_side *side);
bool tide__hist_side_next(struct tide__hist_side *side);
bool tide__hist_side_previous(struct tide__hist_side *side);
/* The bounds of bucket index on one side, the overlap with the zero bucket not cut off. */
struct tide__hist_bucket tide__hist_bucket_at(const struct tide_histogram *h, bool positive,
                                              int64_t index, double count);

/* All buckets with rising bounds, or falling ones; empty buckets too, but for the zero bucket. */
struct tide__hist_iter {
    const struct tide_histogram *h;
    bool falling;
    int phase;
    bool started;
    struct tide__hist_side side;
    bool unclipped; /* Buckets reach into the zero bucket as their index says. Set after init. */
};
void tide__hist_iter_init(struct tide__hist_iter *it, const struct tide_histogram *h, bool falling);
bool tide__hist_iter_next(struct tide__hist_iter *it, struct tide__hist_bucket *out);

/* Same bits in all but the reset hint, empty buckets included; spans may be cut differently. */
bool tide__hist_equal(const struct tide_histogram *a, const struct tide_histogram *b);
/* "{count:2, sum:3, (1,2]:2}", as count_values() shows a histogram. */
void tide__hist_print(const struct tide_histogram *h, struct tide_buf *out);

/* ---- Sums (hist_sum.c, hist_align.c) ---- */

/* Buckets by rising index, each index once, used of at most room. lost is what rounding lost, NULL
 * when that is not kept. */
struct tide__hist_list {
    int32_t *index;
    double *count;
    double *lost;
    uint32_t used;
    uint32_t room;
};

struct tide__hist_sum {
    struct tide_arena *arena;
    struct tide_arena *scratch; /* For what an addition needs only while it runs; NULL: arena. */
    bool compensated;
    enum tide_counter_reset reset;
    int32_t schema;
    double zero_threshold;
    double zero_count, zero_lost;
    double count, count_lost;
    double sum, sum_lost;
    struct tide__hist_list positive;
    struct tide__hist_list negative;
    const double *custom_values;
    uint32_t custom_count;
};

/* What an addition met. */
struct tide__hist_outcome {
    bool incompatible; /* Exponential and custom buckets do not add up: nothing was done. */
    bool collision;    /* One knew of a counter reset, the other that there was none. */
    bool reconciled;   /* Custom bounds differed: both were cut to the common ones. */
};

/* All of these answer false when there is no memory. Arrays are made in arena. */
bool tide__hist_sum_init(struct tide__hist_sum *sum, struct tide_arena *arena, bool compensated,
                         const struct tide_histogram *h);
/* Adds sign (1 or -1) times h. The coarser schema and the wider zero bucket of both win. */
bool tide__hist_sum_add(struct tide__hist_sum *sum, const struct tide_histogram *h, double sign,
                        struct tide__hist_outcome *outcome);
/* The same with another sum and what it lost. Other is brought to the layout of both. */
bool tide__hist_sum_merge(struct tide__hist_sum *sum, struct tide__hist_sum *other,
                          struct tide__hist_outcome *outcome);
void tide__hist_sum_multiply(struct tide__hist_sum *sum, double factor);
/* Division by zero leaves no buckets. */
void tide__hist_sum_divide(struct tide__hist_sum *sum, double divisor);
/* Adds what was lost, leaves out empty buckets and makes spans; NULL when there is no memory. The
 * result lives in arena and shares nothing with the sum. */
const struct tide_histogram *tide__hist_sum_finish(const struct tide__hist_sum *sum,
                                                   struct tide_arena *arena);
/* Whether a count or the sum became infinite. */
bool tide__hist_sum_overflows(const struct tide__hist_sum *sum);
/* False when adding what is not large either surely does not overflow: what an average asks before
 * it keeps a copy. */
bool tide__hist_sum_is_large(const struct tide__hist_sum *sum);
bool tide__hist_is_large(const struct tide_histogram *h);
bool tide__hist_sum_copy(struct tide__hist_sum *to, const struct tide__hist_sum *from);

/* For hist_sum.c: */
bool tide__hist_list_make(struct tide__hist_list *list, struct tide_arena *arena, uint32_t room,
                          bool compensated);
void tide__hist_list_add(struct tide__hist_list *list, uint32_t at, double v, double lost);
/* Adds list with sign; false when there is no memory. */
bool tide__hist_list_merge(struct tide__hist_list *list, struct tide_arena *arena, bool compensated,
                           const struct tide__hist_list *other, double sign);
/* Brings both to the schema, zero threshold or custom bounds that both can have. */
bool tide__hist_align(struct tide__hist_sum *a, struct tide__hist_sum *b, bool *reconciled);
/* The zero count h would have if its threshold were larger, and the threshold that is then needed:
 * a bucket that holds something is never cut. */
double tide__hist_zero_count(const struct tide__hist_sum *h, double *threshold);
/* Cuts the buckets of an exponential histogram to a coarser schema. */
void tide__hist_coarsen(struct tide__hist_sum *h, int32_t schema);

/* ---- One histogram (hist_op.c) ---- */

const struct tide_histogram *tide__hist_copy(const struct tide_histogram *h,
                                             struct tide_arena *arena);
/* With another reset hint; the arrays are shared. */
const struct tide_histogram *tide__hist_with_reset(const struct tide_histogram *h,
                                                   enum tide_counter_reset reset,
                                                   struct tide_arena *arena);
const struct tide_histogram *tide__hist_multiply(const struct tide_histogram *h, double factor,
                                                 struct tide_arena *arena);
const struct tide_histogram *tide__hist_divide(const struct tide_histogram *h, double divisor,
                                               struct tide_arena *arena);
/* a + sign * b; *out is NULL when they are incompatible. False when there is no memory. */
bool tide__hist_add(const struct tide_histogram *a, const struct tide_histogram *b, double sign,
                    struct tide_arena *arena, struct tide__hist_outcome *outcome,
                    const struct tide_histogram **out);
/* The straight line from before to after, at part of the way; *out is NULL when they are
 * incompatible. False when there is no memory. */
bool tide__hist_between(const struct tide_histogram *before, const struct tide_histogram *after,
                        double part, struct tide_arena *arena, const struct tide_histogram **out);
/* Whether a counter was reset between before and h: by h's hint, else when something fell. False
 * positives only when there is no memory in scratch. */
bool tide__hist_is_reset(const struct tide_histogram *h, const struct tide_histogram *before,
                         struct tide_arena *scratch);

/* ---- Statistics (hist_stat.c) ---- */

/* The value under which the share q of observations lies: interpolated in the logarithm within
 * exponential buckets, linearly in custom ones and the zero bucket. */
double tide__hist_quantile(const struct tide_histogram *h, double q);
/* The share of observations in (lower, upper). */
double tide__hist_fraction(const struct tide_histogram *h, double lower, double upper);
double tide__hist_variance(const struct tide_histogram *h);
/* What lies under at (upper), or over it; buckets that at cuts are interpolated. */
const struct tide_histogram *tide__hist_trim(const struct tide_histogram *h, double at, bool upper,
                                             struct tide_arena *arena);

#endif
