/* Values in order of text, for prefixes. Made by readers when a prefix is asked for, for runs of
 * TIDE__ORDER_VALUES values: each run is sorted for itself and searched by itself, so that a new
 * value never moves a million others and no reader works long for the rest. */
#include "symbols_private.h"

#include <stdlib.h>

/* Fewer values than this are looked through in less time than a search takes. */
#define SCAN_VALUES_MAX 64u
/* So many new values at the end of a run are looked through too, before it is sorted again. */
#define TAIL_VALUES_MAX 256u

struct item {
    uint64_t key; /* The 8 bytes after what all texts of the run have in common, most first. */
    struct tide_slice text;
    uint16_t offset;
};

static int item_cmp(const void *a_item, const void *b_item)
{
    const struct item *a = a_item, *b = b_item;

    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return tide_slice_cmp(a->text, b->text);
}

static size_t common_len(struct tide_slice a, struct tide_slice b, size_t len)
{
    size_t i = 0;

    while (i < len && i < a.len && i < b.len && a.ptr[i] == b.ptr[i])
        i++;
    return i;
}

static uint64_t key_of(struct tide_slice text, size_t skip)
{
    uint64_t key = 0;

    for (size_t i = skip; i < skip + 8; i++)
        key = key << 8 | (i < text.len ? text.ptr[i] : 0u);
    return key;
}

static uint32_t run_count(const struct tide__name *name)
{
    return (name->value_count + TIDE__ORDER_VALUES - 1) / TIDE__ORDER_VALUES;
}

static uint32_t run_values(const struct tide__name *name, uint32_t run)
{
    uint32_t rest = name->value_count - run * TIDE__ORDER_VALUES;

    return rest < TIDE__ORDER_VALUES ? rest : TIDE__ORDER_VALUES;
}

/* Sorts one run; without memory it stays as it is. */
static void run_sort(const struct tide__symbols *symbols, struct tide__name *name, uint32_t run)
{
    uint32_t count = run_values(name, run);
    struct item *items = tide_mem_array(count, sizeof(*items));
    uint16_t *offsets = tide_mem_alloc(count * sizeof(*offsets));
    size_t common = SIZE_MAX;

    if (items == NULL || offsets == NULL) {
        tide_mem_free(items);
        tide_mem_free(offsets);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        items[i].offset = (uint16_t)i;
        items[i].text = tide__value_text(symbols, name, run * TIDE__ORDER_VALUES + i);
        common = common_len(items[0].text, items[i].text, common);
    }
    for (uint32_t i = 0; i < count; i++)
        items[i].key = key_of(items[i].text, common);
    qsort(items, count, sizeof(*items), item_cmp);
    for (uint32_t i = 0; i < count; i++)
        offsets[i] = items[i].offset;
    tide_mem_free(items);
    tide_mem_free(name->orders[run].offsets);
    name->orders[run] = (struct tide__order){offsets, count};
}

static bool orders_grow(struct tide__name *name)
{
    uint32_t runs = run_count(name);
    struct tide__order *orders;

    if (runs <= name->order_count)
        return true;
    orders = tide_mem_realloc(name->orders, runs * sizeof(*orders));
    if (orders == NULL)
        return false;
    for (uint32_t i = name->order_count; i < runs; i++)
        orders[i] = (struct tide__order){NULL, 0};
    name->orders = orders;
    name->order_count = runs;
    return true;
}

/* Sorts at most one run that needs it, when nobody else is inside. */
static void orders_improve(struct tide__symbols *symbols, struct tide__name *name)
{
    if (pthread_rwlock_trywrlock(&symbols->order_lock) != 0)
        return;
    for (uint32_t run = 0; orders_grow(name) && run < run_count(name); run++) {
        uint32_t unsorted = run_values(name, run) - name->orders[run].sorted;

        if (unsorted > (run + 1 < run_count(name) ? 0 : TAIL_VALUES_MAX)) {
            run_sort(symbols, name, run);
            break;
        }
    }
    (void)pthread_rwlock_unlock(&symbols->order_lock);
}

static enum tide_err scan(const struct tide__symbols *symbols, const struct tide__name *name,
                          uint32_t from, uint32_t to, struct tide_slice prefix,
                          tide__value_sink sink, void *context)
{
    enum tide_err err = TIDE_OK;

    for (uint32_t id = from; id < to && err == TIDE_OK; id++)
        if (tide_slice_starts(tide__value_text(symbols, name, id), prefix))
            err = sink(context, id);
    return err;
}

static enum tide_err run_search(const struct tide__symbols *symbols, const struct tide__name *name,
                                uint32_t run, struct tide_slice prefix, tide__value_sink sink,
                                void *context)
{
    const struct tide__order *order = &name->orders[run];
    uint32_t first = run * TIDE__ORDER_VALUES;
    uint32_t low = 0, high = order->sorted;
    enum tide_err err = TIDE_OK;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (tide_slice_cmp(tide__value_text(symbols, name, first + order->offsets[middle]),
                           prefix) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < order->sorted && err == TIDE_OK; low++) {
        uint32_t id = first + order->offsets[low];

        if (!tide_slice_starts(tide__value_text(symbols, name, id), prefix))
            break;
        err = sink(context, id);
    }
    if (err != TIDE_OK)
        return err;
    return scan(symbols, name, first + order->sorted, first + run_values(name, run), prefix, sink,
                context);
}

enum tide_err tide__values_with_prefix(const struct tide__symbols *symbols,
                                       const struct tide__name *name, struct tide_slice prefix,
                                       tide__value_sink sink, void *context)
{
    /* Orders are a cache behind a lock of their own: making one changes nothing a reader sees. */
    struct tide__symbols *cache = (struct tide__symbols *)symbols;
    enum tide_err err = TIDE_OK;

    if (name->value_count > SCAN_VALUES_MAX)
        orders_improve(cache, (struct tide__name *)name);
    if (name->value_count <= SCAN_VALUES_MAX || pthread_rwlock_tryrdlock(&cache->order_lock) != 0)
        return scan(symbols, name, 0, name->value_count, prefix, sink, context);
    for (uint32_t run = 0; run < run_count(name) && err == TIDE_OK; run++) {
        uint32_t first = run * TIDE__ORDER_VALUES;

        if (run < name->order_count)
            err = run_search(symbols, name, run, prefix, sink, context);
        else
            err = scan(symbols, name, first, first + run_values(name, run), prefix, sink, context);
    }
    (void)pthread_rwlock_unlock(&cache->order_lock);
    return err;
}
