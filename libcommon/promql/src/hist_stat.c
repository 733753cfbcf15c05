/* Quantiles, fractions, deviation and trimming of one histogram. */
#include "hist_private.h"

#include "fn_private.h"

#include <math.h>

/* A zero bucket of a histogram that has buckets on one side only is taken to hold nothing on the
 * other. The first custom bucket, from -Inf on, begins at 0 when it reaches over it. */
static void narrow(const struct tide_histogram *h, struct tide__hist_bucket *b)
{
    if (tide__hist_is_custom(h)) {
        if (isinf(b->lower) && b->lower < 0 && b->upper > 0)
            b->lower = 0;
        return;
    }
    if (!b->is_zero)
        return;
    if (h->negative_count == 0 && h->positive_count > 0)
        b->lower = 0;
    else if (h->positive_count == 0 && h->negative_count > 0)
        b->upper = 0;
}

/* Where v lies in a bucket, 0 at its lower bound and 1 at the upper one. */
static double share_under(const struct tide_histogram *h, const struct tide__hist_bucket *b,
                          double v)
{
    double log_lower, log_upper, log_v;

    if (b->is_zero || tide__hist_is_custom(h))
        return (v - b->lower) / (b->upper - b->lower);
    log_lower = log2(fabs(b->lower));
    log_upper = log2(fabs(b->upper));
    log_v = log2(fabs(v));
    if (v > 0)
        return (log_v - log_lower) / (log_upper - log_lower);
    return 1 - (log_v - log_upper) / (log_lower - log_upper);
}

/* ---- Quantile ---- */

/* The value at a share of a bucket. */
static double value_at(const struct tide_histogram *h, const struct tide__hist_bucket *b,
                       double share)
{
    double log_lower, log_upper;

    if (tide__hist_is_custom(h) || (b->lower <= 0 && b->upper >= 0))
        return b->lower + (b->upper - b->lower) * share;
    log_lower = log2(fabs(b->lower));
    log_upper = log2(fabs(b->upper));
    if (b->lower > 0)
        return exp2(log_lower + (log_upper - log_lower) * share);
    return -exp2(log_upper + (log_lower - log_upper) * (1 - share));
}

double tide__hist_quantile(const struct tide_histogram *h, double q)
{
    /* Observations of NaN are in count only: then one must count from below. */
    bool from_below = isnan(h->sum) || q < 0.5;
    struct tide__hist_bucket b = {0};
    struct tide__hist_iter it;
    double count = 0;
    double rank;

    if (q < 0)
        return -INFINITY;
    if (q > 1)
        return INFINITY;
    if (h->count == 0 || isnan(q))
        return NAN;
    rank = (from_below ? q : 1 - q) * h->count;
    tide__hist_iter_init(&it, h, !from_below);
    while (tide__hist_iter_next(&it, &b)) {
        if (b.count == 0)
            continue;
        count += b.count;
        if (count >= rank)
            break;
    }
    if (tide__hist_is_custom(h)) {
        if (isinf(b.lower) && b.lower < 0) {
            if (b.upper <= 0)
                return b.upper;
        } else if (isinf(b.upper) && b.upper > 0) {
            return b.lower;
        }
    }
    narrow(h, &b);
    if (count > h->count) /* By rounding. */
        count = h->count;
    if (count < rank)
        return isnan(h->sum) ? NAN : b.upper;
    rank = from_below ? rank - (count - b.count) : count - rank;
    return value_at(h, &b, rank / b.count);
}

/* ---- Fraction ---- */

/* Observations under v, as far as the buckets tell. */
static double rank_under(const struct tide_histogram *h, double v)
{
    struct tide__hist_iter it;
    struct tide__hist_bucket b;
    double rank = 0;

    tide__hist_iter_init(&it, h, false);
    while (tide__hist_iter_next(&it, &b)) {
        narrow(h, &b);
        if (b.lower >= v)
            return rank;
        if (b.upper > v) {
            if (isinf(b.lower))
                return b.count; /* No telling where in the first custom bucket. */
            return rank + b.count * share_under(h, &b, v);
        }
        rank += b.count;
    }
    return isnan(h->sum) ? rank : h->count;
}

double tide__hist_fraction(const struct tide_histogram *h, double lower, double upper)
{
    double under_lower, under_upper;

    if (h->count == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    under_lower = rank_under(h, lower);
    under_upper = rank_under(h, upper);
    if (under_lower > h->count)
        under_lower = h->count;
    if (under_upper > h->count)
        under_upper = h->count;
    return (under_upper - under_lower) / h->count;
}

/* ---- Deviation ---- */

double tide__hist_variance(const struct tide_histogram *h)
{
    double mean = h->sum / h->count;
    struct tide__kahan k = {0};
    struct tide__hist_iter it;
    struct tide__hist_bucket b;

    tide__hist_iter_init(&it, h, false);
    while (tide__hist_iter_next(&it, &b)) {
        double v;

        if (b.count == 0)
            continue;
        if (tide__hist_is_custom(h))
            v = (b.upper + b.lower) / 2;
        else if (b.lower <= 0 && b.upper >= 0)
            v = 0;
        else
            v = b.upper < 0 ? -sqrt(b.upper * b.lower) : sqrt(b.upper * b.lower);
        tide__kahan_add(&k, b.count * (v - mean) * (v - mean));
    }
    return (k.sum + k.lost) / h->count;
}

/* ---- Trimming ---- */

/* What is kept of a bucket: how many observations, and the value they are taken to have. */
struct kept {
    double count;
    double middle;
};

static double middle_of(const struct tide_histogram *h, const struct tide__hist_bucket *b,
                        double lower, double upper)
{
    if (b->is_zero || tide__hist_is_custom(h))
        return (lower + upper) / 2;
    return upper > 0 ? sqrt(lower * upper) : -sqrt(lower * upper);
}

/* A custom bucket from -Inf to a bound that is not above 0, or from one to +Inf, or both: what lies
 * within it cannot be interpolated. */
static struct kept trim_endless(const struct tide__hist_bucket *b, double at, bool upper)
{
    bool to_infinity = isinf(b->upper) && b->upper > 0;
    double middle = isinf(b->lower) ? 0 : b->lower;

    if (isinf(at)) /* All or nothing. */
        return (struct kept){(at > 0) == upper ? b->count : 0, to_infinity ? middle : b->upper};
    if (to_infinity) {
        /* Nothing in it is surely under a bound. */
        if (upper || isinf(b->lower))
            return (struct kept){0, 0};
        return (struct kept){b->count, at > b->lower ? at : b->lower};
    }
    if (upper)
        return (struct kept){b->count, at < b->upper ? at : b->upper};
    return (struct kept){0, 0};
}

static struct kept trim_bucket(const struct tide_histogram *h, struct tide__hist_bucket *b,
                               double at, bool upper)
{
    bool endless = isinf(b->lower) && b->lower < 0;
    double lower, share;

    if (!(endless && isinf(b->upper)))
        narrow(h, b);
    if (tide__hist_is_custom(h) && (isinf(b->lower) || isinf(b->upper)))
        return trim_endless(b, at, upper);
    /* There may be observations under 0 after all: who asks for those over a bound there does not
     * get this bucket. */
    if (endless && !upper && at < 0 && !isinf(at))
        return (struct kept){0, 0};
    lower = b->lower;
    if (upper ? at >= b->upper : at <= lower)
        return (struct kept){b->count, middle_of(h, b, lower, b->upper)};
    if (upper ? at <= lower : at >= b->upper)
        return (struct kept){0, 0};
    share = share_under(h, b, at);
    return upper ? (struct kept){b->count * share, middle_of(h, b, lower, at)}
                 : (struct kept){b->count * (1 - share), middle_of(h, b, at, b->upper)};
}

/* The buckets of one side in their order; what is kept of them goes to counts. */
static bool trim_side(const struct tide_histogram *h, bool positive, double at, bool upper,
                      double *counts, struct kept *total)
{
    struct tide__hist_side side;
    bool trimmed = false;

    for (bool more = tide__hist_side_first(h, positive, &side); more;
         more = tide__hist_side_next(&side)) {
        double count = side.counts[side.at];
        struct tide__hist_bucket b = tide__hist_bucket_at(h, positive, side.index, count);
        struct kept kept = {0, 0};

        if (count != 0)
            kept = trim_bucket(h, &b, at, upper);
        counts[side.at] = kept.count;
        total->count += kept.count;
        if (kept.count != 0)
            total->middle += kept.middle * kept.count;
        trimmed = trimmed || kept.count != count;
    }
    return trimmed;
}

const struct tide_histogram *tide__hist_trim(const struct tide_histogram *h, double at, bool upper,
                                             struct tide_arena *arena)
{
    struct tide_histogram trimmed = *h;
    double *positive = tide_arena_alloc(arena, h->positive_count * sizeof(*positive) + 1);
    double *negative = tide_arena_alloc(arena, h->negative_count * sizeof(*negative) + 1);
    struct kept total = {0, 0};
    struct tide__hist_sum sum;
    bool changed;

    if (positive == NULL || negative == NULL)
        return NULL;
    changed = trim_side(h, true, at, upper, positive, &total);
    changed = trim_side(h, false, at, upper, negative, &total) || changed;
    if (h->zero_count > 0) {
        struct tide__hist_bucket b = {.lower = -h->zero_threshold,
                                      .upper = h->zero_threshold,
                                      .count = h->zero_count,
                                      .is_zero = true};
        struct kept kept = trim_bucket(h, &b, at, upper);

        changed = changed || kept.count != h->zero_count;
        trimmed.zero_count = kept.count;
        total.count += kept.count;
        total.middle += kept.middle * kept.count;
    }
    if (!changed)
        return h;
    trimmed.positive = positive;
    trimmed.negative = negative;
    trimmed.count = total.count;
    trimmed.sum = total.middle;
    if (!tide__hist_sum_init(&sum, arena, false, &trimmed))
        return NULL;
    return tide__hist_sum_finish(&sum, arena);
}
