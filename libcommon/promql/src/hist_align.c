/* Making the buckets of two histograms comparable: the same schema, the same zero bucket, the same
 * custom bounds. Information is only ever given up, never invented. */
#include "hist_private.h"

#include <math.h>

/* The index that bucket index has in a schema coarser by `steps`. */
static int32_t coarser_index(int32_t index, int32_t steps)
{
    int64_t before = (int64_t)index - 1;

    /* Division by a power of two, rounded down. */
    for (int32_t i = 0; i < steps; i++)
        before = before >= 0 ? before / 2 : -((1 - before) / 2);
    return (int32_t)(before + 1);
}

static void list_coarsen(struct tide__hist_list *list, int32_t steps)
{
    uint32_t used = 0;

    for (uint32_t i = 0; i < list->used; i++) {
        int32_t index = coarser_index(list->index[i], steps);

        if (used > 0 && list->index[used - 1] == index) {
            list->count[used - 1] += list->count[i];
            if (list->lost != NULL)
                list->lost[used - 1] += list->lost[i];
            continue;
        }
        list->index[used] = index;
        list->count[used] = list->count[i];
        if (list->lost != NULL)
            list->lost[used] = list->lost[i];
        used++;
    }
    list->used = used;
}

void tide__hist_coarsen(struct tide__hist_sum *h, int32_t schema)
{
    if (schema >= h->schema)
        return;
    list_coarsen(&h->positive, h->schema - schema);
    list_coarsen(&h->negative, h->schema - schema);
    h->schema = schema;
}

/* ---- Zero buckets ---- */

static double bound_of(const struct tide__hist_sum *h, int64_t index)
{
    struct tide_histogram shape = {
        .schema = h->schema, .custom_values = h->custom_values, .custom_count = h->custom_count};

    return tide_histogram_bound(&shape, index);
}

/* Adds to *count what lies under *threshold on one side; true when a bucket that holds something
 * reaches over it: then it was raised to that bucket's bound. */
static bool count_under(const struct tide__hist_sum *h, const struct tide__hist_list *list,
                        double *threshold, double *count)
{
    for (uint32_t i = 0; i < list->used; i++) {
        double upper;

        if (bound_of(h, (int64_t)list->index[i] - 1) >= *threshold)
            return false;
        *count += list->count[i];
        upper = bound_of(h, list->index[i]);
        if (upper > *threshold) {
            if (list->count[i] == 0)
                return false;
            *threshold = upper;
            return true;
        }
    }
    return false;
}

double tide__hist_zero_count(const struct tide__hist_sum *h, double *threshold)
{
    double count;

    do {
        count = h->zero_count;
        if (*threshold == h->zero_threshold)
            return count;
        (void)count_under(h, &h->positive, threshold, &count);
        /* When the negative side raises the threshold the positive one must be counted again. */
    } while (count_under(h, &h->negative, threshold, &count));
    return count;
}

static void list_drop(struct tide__hist_list *list, uint32_t drop)
{
    if (drop == 0)
        return;
    for (uint32_t i = drop; i < list->used; i++) {
        list->index[i - drop] = list->index[i];
        list->count[i - drop] = list->count[i];
        if (list->lost != NULL)
            list->lost[i - drop] = list->lost[i];
    }
    list->used -= drop;
}

/* Takes the buckets under the zero threshold away; their counts are in the zero bucket already. */
static void drop_under(const struct tide__hist_sum *h, struct tide__hist_list *list, double *lost)
{
    uint32_t drop = 0;

    while (drop < list->used && bound_of(h, (int64_t)list->index[drop] - 1) < h->zero_threshold) {
        if (list->lost != NULL)
            *lost += list->lost[drop];
        drop++;
    }
    list_drop(list, drop);
}

/* Buckets wholly within the zero bucket of the sum they go to do not count: as in Prometheus. */
static void drop_within(const struct tide__hist_sum *h, struct tide__hist_list *list)
{
    uint32_t drop = 0;

    while (drop < list->used && bound_of(h, list->index[drop]) <= h->zero_threshold)
        drop++;
    list_drop(list, drop);
}

static void widen_zero(struct tide__hist_sum *h, double threshold)
{
    h->zero_count = tide__hist_zero_count(h, &threshold);
    h->zero_threshold = threshold;
    drop_under(h, &h->positive, &h->zero_lost);
    drop_under(h, &h->negative, &h->zero_lost);
}

static void align_zero(struct tide__hist_sum *a, struct tide__hist_sum *b)
{
    while (a->zero_threshold != b->zero_threshold) {
        if (isnan(a->zero_threshold) || isnan(b->zero_threshold))
            return; /* Not from checked histograms. */
        if (a->zero_threshold > b->zero_threshold)
            widen_zero(b, a->zero_threshold);
        if (b->zero_threshold > a->zero_threshold)
            widen_zero(a, b->zero_threshold);
    }
}

/* ---- Custom bounds ---- */

static bool same_bounds(const struct tide__hist_sum *a, const struct tide__hist_sum *b)
{
    if (a->custom_count != b->custom_count)
        return false;
    if (a->custom_values == b->custom_values)
        return true;
    for (uint32_t i = 0; i < a->custom_count; i++)
        if (a->custom_values[i] != b->custom_values[i])
            return false;
    return true;
}

/* Moves each bucket to the first of the fewer bounds that is not under its own. */
static void list_rebound(struct tide__hist_list *list, const double *from, uint32_t from_count,
                         const double *to, uint32_t to_count)
{
    uint32_t used = 0;
    uint32_t target = 0;

    for (uint32_t i = 0; i < list->used; i++) {
        int32_t index = (int32_t)to_count; /* The bucket up to +Inf. */

        if (list->index[i] >= 0 && (uint32_t)list->index[i] < from_count) {
            while (target < to_count && to[target] < from[list->index[i]])
                target++;
            index = (int32_t)target;
        }
        if (used > 0 && list->index[used - 1] == index) {
            list->count[used - 1] += list->count[i];
            if (list->lost != NULL)
                list->lost[used - 1] += list->lost[i];
            continue;
        }
        list->index[used] = index;
        list->count[used] = list->count[i];
        if (list->lost != NULL)
            list->lost[used] = list->lost[i];
        used++;
    }
    list->used = used;
}

static bool align_custom(struct tide__hist_sum *a, struct tide__hist_sum *b, bool *reconciled)
{
    uint32_t room = a->custom_count < b->custom_count ? a->custom_count : b->custom_count;
    double *common;
    uint32_t count = 0;
    uint32_t j = 0;

    if (same_bounds(a, b))
        return true;
    common = tide_arena_alloc(a->arena, ((size_t)room + 1) * sizeof(*common));
    if (common == NULL)
        return false;
    for (uint32_t i = 0; i < a->custom_count && j < b->custom_count; i++) {
        while (j < b->custom_count && b->custom_values[j] < a->custom_values[i])
            j++;
        if (j < b->custom_count && b->custom_values[j] == a->custom_values[i])
            common[count++] = a->custom_values[i];
    }
    list_rebound(&a->positive, a->custom_values, a->custom_count, common, count);
    list_rebound(&b->positive, b->custom_values, b->custom_count, common, count);
    a->custom_values = common;
    a->custom_count = count;
    b->custom_values = common;
    b->custom_count = count;
    *reconciled = true;
    return true;
}

bool tide__hist_align(struct tide__hist_sum *a, struct tide__hist_sum *b, bool *reconciled)
{
    if (a->schema == TIDE_HISTOGRAM_SCHEMA_CUSTOM)
        return align_custom(a, b, reconciled);
    align_zero(a, b);
    tide__hist_coarsen(a, b->schema);
    tide__hist_coarsen(b, a->schema);
    drop_within(b, &b->positive);
    drop_within(b, &b->negative);
    return true;
}
