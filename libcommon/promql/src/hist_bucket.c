/* Walking the buckets of a histogram. */
#include "hist_private.h"

#include "tide/base/number.h"

#include <math.h>

/* ---- One side ---- */

static void side_init(const struct tide_histogram *h, bool positive, struct tide__hist_side *side)
{
    *side = (struct tide__hist_side){
        .spans = positive ? h->positive_spans : h->negative_spans,
        .span_count = positive ? h->positive_span_count : h->negative_span_count,
        .counts = positive ? h->positive : h->negative,
        .count = positive ? h->positive_count : h->negative_count,
    };
}

bool tide__hist_side_first(const struct tide_histogram *h, bool positive,
                           struct tide__hist_side *side)
{
    side_init(h, positive, side);
    if (side->count == 0)
        return false;
    side->index = side->spans[0].offset;
    while (side->spans[side->span].length == 0) /* Spans without a bucket are allowed. */
        side->index += side->spans[++side->span].offset;
    return true;
}

bool tide__hist_side_next(struct tide__hist_side *side)
{
    if (++side->at >= side->count)
        return false;
    side->index++;
    side->within++;
    while (side->within >= side->spans[side->span].length) {
        side->within = 0;
        side->index += side->spans[++side->span].offset;
    }
    return true;
}

bool tide__hist_side_last(const struct tide_histogram *h, bool positive,
                          struct tide__hist_side *side)
{
    side_init(h, positive, side);
    if (side->count == 0)
        return false;
    for (uint32_t i = 0; i < side->span_count; i++)
        side->index += (int64_t)side->spans[i].offset + side->spans[i].length;
    side->index--;
    side->span = side->span_count - 1;
    while (side->spans[side->span].length == 0)
        side->index -= side->spans[side->span--].offset;
    side->within = side->spans[side->span].length - 1;
    side->at = side->count - 1;
    return true;
}

bool tide__hist_side_previous(struct tide__hist_side *side)
{
    if (side->at == 0)
        return false;
    side->at--;
    side->index--;
    if (side->within > 0) {
        side->within--;
        return true;
    }
    do
        side->index -= side->spans[side->span--].offset;
    while (side->spans[side->span].length == 0);
    side->within = side->spans[side->span].length - 1;
    return true;
}

struct tide__hist_bucket tide__hist_bucket_at(const struct tide_histogram *h, bool positive,
                                              int64_t index, double count)
{
    double outer = tide_histogram_bound(h, index);
    double inner = tide_histogram_bound(h, index - 1);
    struct tide__hist_bucket b = {.count = count};

    b.lower = positive ? inner : -outer;
    b.upper = positive ? outer : -inner;
    b.lower_inclusive = tide__hist_is_custom(h) ? index == 0 : b.lower < 0;
    b.upper_inclusive = tide__hist_is_custom(h) || b.upper > 0;
    return b;
}

/* ---- All buckets ---- */

/* Phases of a walk: the side it begins with, the zero bucket, the other side. */
enum { PHASE_BEGIN, PHASE_ZERO, PHASE_END, PHASE_DONE };

void tide__hist_iter_init(struct tide__hist_iter *it, const struct tide_histogram *h, bool falling)
{
    *it = (struct tide__hist_iter){.h = h, .falling = falling, .phase = PHASE_BEGIN};
}

static bool iter_side(struct tide__hist_iter *it)
{
    bool begin = it->phase == PHASE_BEGIN;
    bool positive = begin == it->falling;

    if (it->started)
        return begin ? tide__hist_side_previous(&it->side) : tide__hist_side_next(&it->side);
    it->started = true;
    return begin ? tide__hist_side_last(it->h, positive, &it->side)
                 : tide__hist_side_first(it->h, positive, &it->side);
}

bool tide__hist_iter_next(struct tide__hist_iter *it, struct tide__hist_bucket *out)
{
    const struct tide_histogram *h = it->h;

    while (it->phase != PHASE_DONE) {
        bool positive = (it->phase == PHASE_BEGIN) == it->falling;

        if (it->phase == PHASE_ZERO) {
            it->phase = PHASE_END;
            it->started = false;
            if (h->zero_count > 0) {
                *out = (struct tide__hist_bucket){.lower = -h->zero_threshold,
                                                  .upper = h->zero_threshold,
                                                  .count = h->zero_count,
                                                  .is_zero = true,
                                                  .lower_inclusive = true,
                                                  .upper_inclusive = true};
                return true;
            }
            continue;
        }
        if (!iter_side(it)) {
            it->phase++;
            continue;
        }
        *out = tide__hist_bucket_at(h, positive, it->side.index, it->side.counts[it->side.at]);
        if (it->unclipped)
            return true;
        if (out->lower > 0 && out->lower < h->zero_threshold)
            out->lower = h->zero_threshold;
        else if (out->upper < 0 && out->upper > -h->zero_threshold)
            out->upper = -h->zero_threshold;
        return true;
    }
    return false;
}

/* ---- Whole ---- */

static bool same_bits(double a, double b)
{
    return tide_value_bits(a) == tide_value_bits(b);
}

static bool equal_sides(const struct tide_histogram *a, const struct tide_histogram *b,
                        bool positive)
{
    struct tide__hist_side x;
    struct tide__hist_side y;
    bool more_x = tide__hist_side_first(a, positive, &x);
    bool more_y = tide__hist_side_first(b, positive, &y);

    while (more_x && more_y) {
        if (x.index != y.index || !same_bits(x.counts[x.at], y.counts[y.at]))
            return false;
        more_x = tide__hist_side_next(&x);
        more_y = tide__hist_side_next(&y);
    }
    return more_x == more_y;
}

bool tide__hist_equal(const struct tide_histogram *a, const struct tide_histogram *b)
{
    if (a->schema != b->schema || !same_bits(a->count, b->count) || !same_bits(a->sum, b->sum) ||
        a->zero_threshold != b->zero_threshold || !same_bits(a->zero_count, b->zero_count))
        return false;
    if (a->custom_count != b->custom_count)
        return false;
    for (uint32_t i = 0; i < a->custom_count; i++)
        if (!same_bits(a->custom_values[i], b->custom_values[i]))
            return false;
    return equal_sides(a, b, true) && equal_sides(a, b, false);
}

static void add_number(struct tide_buf *out, double v)
{
    char text[TIDE_NUMBER_TEXT_MAX];

    tide_buf_add(out, text, tide_number_format_g(v, text));
}

void tide__hist_print(const struct tide_histogram *h, struct tide_buf *out)
{
    struct tide__hist_iter it;
    struct tide__hist_bucket b;

    tide_buf_str(out, "{count:");
    add_number(out, h->count);
    tide_buf_str(out, ", sum:");
    add_number(out, h->sum);
    tide__hist_iter_init(&it, h, false);
    it.unclipped = true; /* As Prometheus prints a histogram, unlike its JSON. */
    while (tide__hist_iter_next(&it, &b)) {
        if (b.count == 0)
            continue;
        tide_buf_str(out, b.lower_inclusive ? ", [" : ", (");
        add_number(out, b.lower);
        tide_buf_byte(out, ',');
        add_number(out, b.upper);
        tide_buf_str(out, b.upper_inclusive ? "]:" : "):");
        add_number(out, b.count);
    }
    tide_buf_byte(out, '}');
}
