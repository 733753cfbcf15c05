/* The order of selections: by key, then by labels. */
#include "index_private.h"

#define RADIX_BITS 11u
#define RADIX ((size_t)1 << RADIX_BITS)
/* Below this a merge sort is faster than clearing three counter arrays. */
#define RADIX_COUNT_MIN 512u

static int labels_cmp(const struct tide_index *index, uint32_t a, uint32_t b)
{
    struct tide__label_list x = tide__label_list(index, a), y = tide__label_list(index, b);

    for (uint32_t i = 0; i < x.count && i < y.count; i++) {
        const struct tide__name *name = tide__name_at(&index->symbols, x.name_ids[i]);
        uint32_t x_value = tide__uvarint_read(&x.values), y_value = tide__uvarint_read(&y.values);
        int order;

        if (x.name_ids[i] != y.name_ids[i])
            return tide_slice_cmp(name->text, tide__name_at(&index->symbols, y.name_ids[i])->text);
        if (x_value == y_value)
            continue;
        order = tide_slice_cmp(tide__value_text(&index->symbols, name, x_value),
                               tide__value_text(&index->symbols, name, y_value));
        if (order != 0)
            return order;
    }
    return x.count < y.count ? -1 : x.count > y.count;
}

static uint64_t item_of(const struct tide_index *index, uint32_t ref)
{
    return (uint64_t)tide__series_at(index, ref)->key << 32 | ref;
}

static int item_cmp(const struct tide_index *index, uint64_t a, uint64_t b)
{
    if (a >> 32 != b >> 32)
        return a < b ? -1 : 1;
    return (uint32_t)a == (uint32_t)b ? 0 : labels_cmp(index, (uint32_t)a, (uint32_t)b);
}

int tide_index_compare(const struct tide_index *index, uint32_t a, uint32_t b)
{
    return item_cmp(index, item_of(index, a), item_of(index, b));
}

/* Bottom up; the result is in items. */
static void merge_sort(const struct tide_index *index, uint64_t *items, uint64_t *spare,
                       size_t count)
{
    for (size_t width = 1; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t middle = start + width < count ? start + width : count;
            size_t end = start + 2 * width < count ? start + 2 * width : count;
            size_t left = start, right = middle;

            for (size_t i = start; i < end; i++) {
                bool take_left = left < middle &&
                                 (right == end || item_cmp(index, items[left], items[right]) <= 0);

                spare[i] = take_left ? items[left++] : items[right++];
            }
        }
        memcpy(items, spare, count * sizeof(*items));
    }
}

/* By the key alone, stable, least digit first; the result is in items. */
static void radix_sort(uint64_t *items, uint64_t *spare, size_t count)
{
    uint64_t *from = items, *to = spare;

    for (unsigned shift = 32; shift < 64; shift += RADIX_BITS) {
        size_t starts[RADIX] = {0};
        size_t sum = 0;
        uint64_t *swap;

        for (size_t i = 0; i < count; i++)
            starts[from[i] >> shift & (RADIX - 1)]++;
        /* All in one bucket: the leading bits, which are those of the shard. */
        if (starts[from[0] >> shift & (RADIX - 1)] == count)
            continue;
        for (size_t digit = 0; digit < RADIX; digit++) {
            size_t here = starts[digit];

            starts[digit] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++)
            to[starts[from[i] >> shift & (RADIX - 1)]++] = from[i];
        swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, count * sizeof(*items));
}

/* Settles runs of equal keys. */
static void sort_ties(const struct tide_index *index, uint64_t *items, uint64_t *spare,
                      size_t count)
{
    for (size_t start = 0, end; start < count; start = end) {
        for (end = start + 1; end < count && items[end] >> 32 == items[start] >> 32;)
            end++;
        if (end - start > 1)
            merge_sort(index, items + start, spare, end - start);
    }
}

enum tide_err tide_index_sort(const struct tide_index *index, uint32_t *refs, size_t count,
                              struct tide_query_limits *limits)
{
    int64_t bytes = (int64_t)(2 * count * sizeof(uint64_t));
    uint64_t *items, *spare;
    enum tide_err err;

    if (count < 2)
        return TIDE_OK;
    err = tide_query_charge(limits, bytes);
    if (err != TIDE_OK)
        return err;
    items = tide_mem_alloc((size_t)bytes);
    if (items == NULL) {
        err = TIDE_ERR_NO_MEMORY;
        goto out;
    }
    spare = items + count;
    for (size_t i = 0; i < count; i++)
        items[i] = item_of(index, refs[i]);
    if (count < RADIX_COUNT_MIN) {
        merge_sort(index, items, spare, count);
    } else {
        radix_sort(items, spare, count);
        sort_ties(index, items, spare, count);
    }
    for (size_t i = 0; i < count; i++)
        refs[i] = (uint32_t)items[i];
    tide_mem_free(items);
out:
    tide__uncharge(limits, (uint64_t)bytes);
    return err;
}
