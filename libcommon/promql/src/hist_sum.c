/* Sums of histograms. Compensated ones carry along for each count what rounding lost, as sums of
 * floats do. */
#include "hist_private.h"

#include "fn_private.h"

#include "tide/base/assert.h"

#include <float.h>
#include <math.h>

/* ---- Lists of buckets ---- */

bool tide__hist_list_make(struct tide__hist_list *list, struct tide_arena *arena, uint32_t room,
                          bool compensated)
{
    *list = (struct tide__hist_list){.room = room};
    if (room == 0)
        return true;
    list->index = tide_arena_alloc(arena, room * sizeof(*list->index));
    list->count = tide_arena_alloc(arena, room * sizeof(*list->count));
    if (compensated)
        list->lost = tide_arena_new_array(arena, room, sizeof(*list->lost));
    return list->index != NULL && list->count != NULL && (!compensated || list->lost != NULL);
}

static void add_to(double *sum, double *lost, double v)
{
    struct tide__kahan k = {*sum, *lost};

    tide__kahan_add(&k, v);
    *sum = k.sum;
    *lost = k.lost;
}

void tide__hist_list_add(struct tide__hist_list *list, uint32_t at, double v, double lost)
{
    if (list->lost == NULL) {
        list->count[at] += v + lost;
        return;
    }
    add_to(&list->count[at], &list->lost[at], v);
    list->lost[at] += lost;
}

static bool list_read(struct tide__hist_list *list, struct tide_arena *arena, bool compensated,
                      const struct tide_histogram *h, bool positive)
{
    struct tide__hist_side side;
    bool more = tide__hist_side_first(h, positive, &side);

    if (!tide__hist_list_make(list, arena, positive ? h->positive_count : h->negative_count,
                              compensated))
        return false;
    for (; more; more = tide__hist_side_next(&side)) {
        TIDE_ASSERT(list->used < list->room);
        list->index[list->used] = (int32_t)side.index;
        list->count[list->used++] = side.counts[side.at];
    }
    return true;
}

/* How many buckets both have together; sets whether list lacks some of them. */
static uint32_t union_count(const struct tide__hist_list *list, const struct tide__hist_list *other,
                            bool *lacks)
{
    uint32_t i = 0;
    uint32_t j = 0;
    uint32_t count = 0;

    while (i < list->used || j < other->used) {
        bool from_list = j >= other->used || (i < list->used && list->index[i] <= other->index[j]);
        bool from_other = i >= list->used || (j < other->used && other->index[j] <= list->index[i]);

        *lacks = *lacks || !from_list;
        i += from_list;
        j += from_other;
        count++;
    }
    return count;
}

/* Makes room in list for all buckets of other, empty ones for those it lacks. */
static bool list_unite(struct tide__hist_list *list, struct tide_arena *arena, bool compensated,
                       const struct tide__hist_list *other)
{
    bool lacks = false;
    uint32_t count = union_count(list, other, &lacks);
    struct tide__hist_list united;
    uint32_t i = 0;
    uint32_t j = 0;

    if (!lacks)
        return true;
    if (!tide__hist_list_make(&united, arena, count, compensated))
        return false;
    while (i < list->used || j < other->used) {
        uint32_t at = united.used++;

        TIDE_ASSERT(at < united.room);
        if (i < list->used && (j >= other->used || list->index[i] <= other->index[j])) {
            united.index[at] = list->index[i];
            united.count[at] = list->count[i];
            if (compensated && list->lost != NULL)
                united.lost[at] = list->lost[i];
            j += j < other->used && other->index[j] == list->index[i];
            i++;
        } else {
            united.index[at] = other->index[j++];
            united.count[at] = 0;
        }
    }
    *list = united;
    return true;
}

bool tide__hist_list_merge(struct tide__hist_list *list, struct tide_arena *arena, bool compensated,
                           const struct tide__hist_list *other, double sign)
{
    uint32_t at = 0;

    if (!list_unite(list, arena, compensated, other))
        return false;
    for (uint32_t j = 0; j < other->used; j++) {
        while (list->index[at] < other->index[j])
            at++;
        tide__hist_list_add(list, at, sign * other->count[j],
                            other->lost == NULL ? 0 : sign * other->lost[j]);
    }
    return true;
}

/* ---- Sums ---- */

/* A sum may outlive the histograms it is made of. */
static bool copy_bounds(const double *bounds, uint32_t count, struct tide_arena *arena,
                        const double **out)
{
    double *copy;

    *out = NULL;
    if (count == 0)
        return true;
    copy = tide_arena_alloc(arena, count * sizeof(*copy));
    if (copy == NULL)
        return false;
    memcpy(copy, bounds, count * sizeof(*copy));
    *out = copy;
    return true;
}

bool tide__hist_sum_init(struct tide__hist_sum *sum, struct tide_arena *arena, bool compensated,
                         const struct tide_histogram *h)
{
    *sum = (struct tide__hist_sum){
        .arena = arena,
        .compensated = compensated,
        .reset = h->reset,
        .schema = h->schema,
        .zero_threshold = h->zero_threshold,
        .zero_count = h->zero_count,
        .count = h->count,
        .sum = h->sum,
        .custom_count = h->custom_count,
    };
    return copy_bounds(h->custom_values, h->custom_count, arena, &sum->custom_values) &&
           list_read(&sum->positive, arena, compensated, h, true) &&
           list_read(&sum->negative, arena, compensated, h, false);
}

static bool list_copy(struct tide__hist_list *to, struct tide_arena *arena,
                      const struct tide__hist_list *from)
{
    if (!tide__hist_list_make(to, arena, from->used, from->lost != NULL))
        return false;
    to->used = from->used;
    if (from->used == 0)
        return true;
    memcpy(to->index, from->index, from->used * sizeof(*to->index));
    memcpy(to->count, from->count, from->used * sizeof(*to->count));
    if (from->lost != NULL)
        memcpy(to->lost, from->lost, from->used * sizeof(*to->lost));
    return true;
}

bool tide__hist_sum_copy(struct tide__hist_sum *to, const struct tide__hist_sum *from)
{
    struct tide_arena *arena = to->arena;
    struct tide_arena *scratch = to->scratch;

    *to = *from;
    to->arena = arena;
    to->scratch = scratch;
    return copy_bounds(from->custom_values, from->custom_count, arena, &to->custom_values) &&
           list_copy(&to->positive, arena, &from->positive) &&
           list_copy(&to->negative, arena, &from->negative);
}

/* The hint of a sum: a gauge when one is a gauge, else unknown unless both say the same. */
static void combine_resets(struct tide__hist_sum *sum, enum tide_counter_reset other,
                           bool *collision)
{
    if (sum->reset == other || sum->reset == TIDE_RESET_GAUGE)
        return;
    if (other == TIDE_RESET_GAUGE) {
        sum->reset = TIDE_RESET_GAUGE;
        return;
    }
    *collision = sum->reset != TIDE_RESET_UNKNOWN && other != TIDE_RESET_UNKNOWN;
    sum->reset = TIDE_RESET_UNKNOWN;
}

static void add_field(const struct tide__hist_sum *sum, double *value, double *lost, double v,
                      double v_lost)
{
    if (!sum->compensated) {
        *value += v + v_lost;
        return;
    }
    add_to(value, lost, v);
    *lost += v_lost;
}

/* Adds what has been aligned. */
static bool add_aligned(struct tide__hist_sum *sum, const struct tide__hist_sum *other, double sign)
{
    add_field(sum, &sum->zero_count, &sum->zero_lost, sign * other->zero_count,
              sign * other->zero_lost);
    add_field(sum, &sum->count, &sum->count_lost, sign * other->count, sign * other->count_lost);
    add_field(sum, &sum->sum, &sum->sum_lost, sign * other->sum, sign * other->sum_lost);
    return tide__hist_list_merge(&sum->positive, sum->arena, sum->compensated, &other->positive,
                                 sign) &&
           tide__hist_list_merge(&sum->negative, sum->arena, sum->compensated, &other->negative,
                                 sign);
}

static bool is_compatible(const struct tide__hist_sum *sum, int32_t schema,
                          struct tide__hist_outcome *outcome)
{
    outcome->incompatible =
        (sum->schema == TIDE_HISTOGRAM_SCHEMA_CUSTOM) != (schema == TIDE_HISTOGRAM_SCHEMA_CUSTOM);
    return !outcome->incompatible;
}

/* Buckets of h on one side that lie within the zero bucket of the sum do not count: as in
 * Prometheus. */
static bool skips_bucket(const struct tide_histogram *h, int64_t index)
{
    return !tide__hist_is_custom(h) && tide_histogram_bound(h, index) <= h->zero_threshold;
}

/* The usual case without copies: the sum has all buckets of h. False when it has not; then nothing
 * was done. */
static bool has_all_buckets(const struct tide__hist_list *list, const struct tide_histogram *h,
                            bool positive)
{
    struct tide__hist_side side;
    uint32_t at = 0;

    for (bool more = tide__hist_side_first(h, positive, &side); more;
         more = tide__hist_side_next(&side)) {
        while (at < list->used && list->index[at] < side.index)
            at++;
        if (at >= list->used || list->index[at] != side.index)
            return false;
    }
    return true;
}

static void add_side(struct tide__hist_list *list, const struct tide_histogram *h, bool positive,
                     double sign)
{
    struct tide__hist_side side;
    uint32_t at = 0;
    bool skipping = true;

    for (bool more = tide__hist_side_first(h, positive, &side); more;
         more = tide__hist_side_next(&side)) {
        skipping = skipping && skips_bucket(h, side.index);
        if (skipping)
            continue;
        while (list->index[at] < side.index)
            at++;
        tide__hist_list_add(list, at, sign * side.counts[side.at], 0);
    }
}

static bool same_shape(const struct tide__hist_sum *sum, const struct tide_histogram *h)
{
    if (sum->schema != h->schema || sum->zero_threshold != h->zero_threshold ||
        sum->custom_count != h->custom_count)
        return false;
    for (uint32_t i = 0; i < h->custom_count; i++)
        if (sum->custom_values[i] != h->custom_values[i])
            return false;
    return has_all_buckets(&sum->positive, h, true) && has_all_buckets(&sum->negative, h, false);
}

bool tide__hist_sum_add(struct tide__hist_sum *sum, const struct tide_histogram *h, double sign,
                        struct tide__hist_outcome *outcome)
{
    struct tide__hist_sum other;

    *outcome = (struct tide__hist_outcome){0};
    if (!is_compatible(sum, h->schema, outcome))
        return true;
    combine_resets(sum, h->reset, &outcome->collision);
    if (same_shape(sum, h)) {
        add_field(sum, &sum->zero_count, &sum->zero_lost, sign * h->zero_count, 0);
        add_field(sum, &sum->count, &sum->count_lost, sign * h->count, 0);
        add_field(sum, &sum->sum, &sum->sum_lost, sign * h->sum, 0);
        add_side(&sum->positive, h, true, sign);
        add_side(&sum->negative, h, false, sign);
        return true;
    }
    return tide__hist_sum_init(&other, sum->scratch == NULL ? sum->arena : sum->scratch, false,
                               h) &&
           tide__hist_align(sum, &other, &outcome->reconciled) && add_aligned(sum, &other, sign);
}

bool tide__hist_sum_merge(struct tide__hist_sum *sum, struct tide__hist_sum *other,
                          struct tide__hist_outcome *outcome)
{
    *outcome = (struct tide__hist_outcome){0};
    if (!is_compatible(sum, other->schema, outcome))
        return true;
    combine_resets(sum, other->reset, &outcome->collision);
    return tide__hist_align(sum, other, &outcome->reconciled) && add_aligned(sum, other, 1);
}

static void list_scale(struct tide__hist_list *list, double v, bool divide)
{
    for (uint32_t i = 0; i < list->used; i++) {
        list->count[i] = divide ? list->count[i] / v : list->count[i] * v;
        if (list->lost != NULL)
            list->lost[i] = divide ? list->lost[i] / v : list->lost[i] * v;
    }
}

static void scale(struct tide__hist_sum *sum, double v, bool divide)
{
    double *fields[] = {&sum->zero_count, &sum->zero_lost, &sum->count,
                        &sum->count_lost, &sum->sum,       &sum->sum_lost};

    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
        *fields[i] = divide ? *fields[i] / v : *fields[i] * v;
    list_scale(&sum->positive, v, divide);
    list_scale(&sum->negative, v, divide);
}

void tide__hist_sum_multiply(struct tide__hist_sum *sum, double factor)
{
    scale(sum, factor, false);
}

void tide__hist_sum_divide(struct tide__hist_sum *sum, double divisor)
{
    if (divisor == 0) {
        /* 0/0 of what was lost would make a NaN out of an infinity. */
        sum->zero_lost = sum->count_lost = sum->sum_lost = divisor;
        sum->zero_count /= divisor;
        sum->count /= divisor;
        sum->sum /= divisor;
        sum->positive.used = 0;
        sum->negative.used = 0;
        return;
    }
    scale(sum, divisor, true);
}

static bool list_overflows(const struct tide__hist_list *list)
{
    for (uint32_t i = 0; i < list->used; i++)
        if (isinf(list->count[i]))
            return true;
    return false;
}

bool tide__hist_sum_overflows(const struct tide__hist_sum *sum)
{
    return isinf(sum->zero_count) || isinf(sum->count) || isinf(sum->sum) ||
           list_overflows(&sum->positive) || list_overflows(&sum->negative);
}

/* Two numbers of that size or less do not add up to an infinity, nor do four. NaN is large. */
static bool is_large(double v)
{
    return !(fabs(v) < DBL_MAX / 4);
}

static bool any_large(const double *counts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (is_large(counts[i]))
            return true;
    return false;
}

bool tide__hist_sum_is_large(const struct tide__hist_sum *sum)
{
    return is_large(sum->zero_count) || is_large(sum->count) || is_large(sum->sum) ||
           any_large(sum->positive.count, sum->positive.used) ||
           any_large(sum->negative.count, sum->negative.used);
}

bool tide__hist_is_large(const struct tide_histogram *h)
{
    return is_large(h->zero_count) || is_large(h->count) || is_large(h->sum) ||
           any_large(h->positive, h->positive_count) || any_large(h->negative, h->negative_count);
}

/* ---- Sums to histograms ---- */

static double total(double v, double lost)
{
    return isinf(v) ? v : v + lost;
}

struct side_out {
    struct tide_span *spans;
    double *counts;
    uint32_t span_count;
    uint32_t count;
};

static bool list_finish(const struct tide__hist_list *list, struct tide_arena *arena,
                        struct side_out *out)
{
    int64_t next = 0; /* The index after the last bucket written. */

    *out = (struct side_out){0};
    if (list->used == 0)
        return true;
    out->spans = tide_arena_alloc(arena, list->used * sizeof(*out->spans));
    out->counts = tide_arena_alloc(arena, list->used * sizeof(*out->counts));
    if (out->spans == NULL || out->counts == NULL)
        return false;
    for (uint32_t i = 0; i < list->used; i++) {
        double count = total(list->count[i], list->lost == NULL ? 0 : list->lost[i]);

        if (count == 0)
            continue;
        if (out->count > 0 && list->index[i] == next)
            out->spans[out->span_count - 1].length++;
        else
            out->spans[out->span_count++] =
                (struct tide_span){.offset = (int32_t)(list->index[i] - next), .length = 1};
        out->counts[out->count++] = count;
        next = (int64_t)list->index[i] + 1;
    }
    return true;
}

const struct tide_histogram *tide__hist_sum_finish(const struct tide__hist_sum *sum,
                                                   struct tide_arena *arena)
{
    struct tide_histogram *h = tide_arena_alloc(arena, sizeof(*h));
    struct side_out positive;
    struct side_out negative;
    const double *bounds;

    if (h == NULL || !list_finish(&sum->positive, arena, &positive) ||
        !list_finish(&sum->negative, arena, &negative) ||
        !copy_bounds(sum->custom_values, sum->custom_count, arena, &bounds))
        return NULL;
    *h = (struct tide_histogram){
        .reset = sum->reset,
        .schema = sum->schema,
        .zero_threshold = sum->zero_threshold,
        .zero_count = total(sum->zero_count, sum->zero_lost),
        .count = total(sum->count, sum->count_lost),
        .sum = total(sum->sum, sum->sum_lost),
        .positive_spans = positive.spans,
        .positive_span_count = positive.span_count,
        .positive = positive.counts,
        .positive_count = positive.count,
        .negative_spans = negative.spans,
        .negative_span_count = negative.span_count,
        .negative = negative.counts,
        .negative_count = negative.count,
        .custom_values = bounds,
        .custom_count = sum->custom_count,
    };
    return h;
}
