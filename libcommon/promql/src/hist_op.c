/* Operations that make a new histogram of one or two, and counter resets. */
#include "hist_private.h"

static bool copy_array(const void *from, size_t count, size_t bytes_each, struct tide_arena *arena,
                       void **out)
{
    *out = NULL;
    if (count == 0)
        return true;
    *out = tide_arena_alloc(arena, count * bytes_each);
    if (*out != NULL)
        memcpy(*out, from, count * bytes_each);
    return *out != NULL;
}

/* A copy whose bucket counts are its own, to be changed by the caller. */
static struct tide_histogram *copy_whole(const struct tide_histogram *h, struct tide_arena *arena)
{
    struct tide_histogram *copy = tide_arena_alloc(arena, sizeof(*copy));
    void *arrays[5];

    if (copy == NULL ||
        !copy_array(h->positive_spans, h->positive_span_count, sizeof(struct tide_span), arena,
                    &arrays[0]) ||
        !copy_array(h->negative_spans, h->negative_span_count, sizeof(struct tide_span), arena,
                    &arrays[1]) ||
        !copy_array(h->positive, h->positive_count, sizeof(double), arena, &arrays[2]) ||
        !copy_array(h->negative, h->negative_count, sizeof(double), arena, &arrays[3]) ||
        !copy_array(h->custom_values, h->custom_count, sizeof(double), arena, &arrays[4]))
        return NULL;
    *copy = *h;
    copy->positive_spans = arrays[0];
    copy->negative_spans = arrays[1];
    copy->positive = arrays[2];
    copy->negative = arrays[3];
    copy->custom_values = arrays[4];
    return copy;
}

const struct tide_histogram *tide__hist_copy(const struct tide_histogram *h,
                                             struct tide_arena *arena)
{
    return copy_whole(h, arena);
}

const struct tide_histogram *tide__hist_with_reset(const struct tide_histogram *h,
                                                   enum tide_counter_reset reset,
                                                   struct tide_arena *arena)
{
    struct tide_histogram *copy = tide_arena_alloc(arena, sizeof(*copy));

    if (copy == NULL)
        return NULL;
    *copy = *h;
    copy->reset = reset;
    return copy;
}

static const struct tide_histogram *scaled(const struct tide_histogram *h, double v, bool divide,
                                           struct tide_arena *arena)
{
    struct tide__hist_sum sum;

    if (!tide__hist_sum_init(&sum, arena, false, h))
        return NULL;
    if (divide)
        tide__hist_sum_divide(&sum, v);
    else
        tide__hist_sum_multiply(&sum, v);
    if (v < 0)
        sum.reset = TIDE_RESET_GAUGE; /* No counter falls under zero. */
    return tide__hist_sum_finish(&sum, arena);
}

const struct tide_histogram *tide__hist_multiply(const struct tide_histogram *h, double factor,
                                                 struct tide_arena *arena)
{
    return scaled(h, factor, false, arena);
}

const struct tide_histogram *tide__hist_divide(const struct tide_histogram *h, double divisor,
                                               struct tide_arena *arena)
{
    return scaled(h, divisor, true, arena);
}

bool tide__hist_add(const struct tide_histogram *a, const struct tide_histogram *b, double sign,
                    struct tide_arena *arena, struct tide__hist_outcome *outcome,
                    const struct tide_histogram **out)
{
    struct tide__hist_sum sum;

    *out = NULL;
    if (!tide__hist_sum_init(&sum, arena, false, a) || !tide__hist_sum_add(&sum, b, sign, outcome))
        return false;
    if (outcome->incompatible)
        return true;
    if (sign < 0)
        sum.reset = TIDE_RESET_GAUGE;
    *out = tide__hist_sum_finish(&sum, arena);
    return *out != NULL;
}

bool tide__hist_between(const struct tide_histogram *before, const struct tide_histogram *after,
                        double part, struct tide_arena *arena, const struct tide_histogram **out)
{
    struct tide__hist_outcome outcome;
    struct tide__hist_sum sum;

    *out = NULL;
    if (!tide__hist_sum_init(&sum, arena, false, after) ||
        !tide__hist_sum_add(&sum, before, -1, &outcome))
        return false;
    if (outcome.incompatible)
        return true;
    tide__hist_sum_multiply(&sum, part);
    if (!tide__hist_sum_add(&sum, before, 1, &outcome))
        return false;
    sum.reset = before->reset == TIDE_RESET_GAUGE ? TIDE_RESET_GAUGE : TIDE_RESET_UNKNOWN;
    *out = tide__hist_sum_finish(&sum, arena);
    return *out != NULL;
}

/* ---- Counter resets ---- */

/* Whether a bucket on one side fell or is gone. Both have the same schema and thresholds. */
static bool side_fell(const struct tide_histogram *h, const struct tide_histogram *before,
                      bool positive)
{
    struct tide__hist_side now;
    struct tide__hist_side then;
    bool more = tide__hist_side_first(h, positive, &now);

    for (bool more_then = tide__hist_side_first(before, positive, &then); more_then;
         more_then = tide__hist_side_next(&then)) {
        double count = then.counts[then.at];

        while (more && now.index < then.index)
            more = tide__hist_side_next(&now);
        if (more && now.index == then.index ? now.counts[now.at] < count : count != 0)
            return true;
    }
    return false;
}

static bool list_fell(const struct tide__hist_list *now, const struct tide__hist_list *then)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < then->used; i++) {
        while (at < now->used && now->index[at] < then->index[i])
            at++;
        if (at < now->used && now->index[at] == then->index[i] ? now->count[at] < then->count[i]
                                                               : then->count[i] != 0)
            return true;
    }
    return false;
}

static bool same_custom(const struct tide_histogram *a, const struct tide_histogram *b)
{
    if (a->custom_count != b->custom_count)
        return false;
    for (uint32_t i = 0; i < a->custom_count; i++)
        if (a->custom_values[i] != b->custom_values[i])
            return false;
    return true;
}

/* As above when the layouts differ: a coarser schema, a wider zero bucket and other custom bounds
 * are no resets by themselves. */
static bool fell_aligned(const struct tide_histogram *h, const struct tide_histogram *before,
                         struct tide_arena *scratch)
{
    struct tide__hist_sum now;
    struct tide__hist_sum then;
    double threshold = h->zero_threshold;
    bool reconciled;

    if (!tide__hist_sum_init(&now, scratch, false, h) ||
        !tide__hist_sum_init(&then, scratch, false, before))
        return true;
    if (!tide__hist_is_custom(h) && threshold != before->zero_threshold) {
        double zero_count = tide__hist_zero_count(&then, &threshold);

        /* The new threshold lies within a bucket that holds something. */
        if (threshold != h->zero_threshold || h->zero_count < zero_count)
            return true;
    } else if (h->zero_count < before->zero_count) {
        return true;
    }
    if (!tide__hist_align(&now, &then, &reconciled))
        return true;
    return list_fell(&now.positive, &then.positive) || list_fell(&now.negative, &then.negative);
}

bool tide__hist_is_reset(const struct tide_histogram *h, const struct tide_histogram *before,
                         struct tide_arena *scratch)
{
    if (h->reset == TIDE_RESET_YES)
        return true;
    if (h->reset == TIDE_RESET_NO)
        return false;
    if (h->count < before->count || tide__hist_is_custom(h) != tide__hist_is_custom(before))
        return true;
    /* Only a restart makes a histogram finer. */
    if (h->schema > before->schema || h->zero_threshold < before->zero_threshold)
        return true;
    if (h->schema != before->schema || h->zero_threshold != before->zero_threshold ||
        !same_custom(h, before))
        return fell_aligned(h, before, scratch);
    return h->zero_count < before->zero_count || side_fell(h, before, true) ||
           side_fell(h, before, false);
}
