#include "store_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

/* Index of the first partition that does not start before start_ms. */
static size_t lower_bound(const struct tide__store *store, int64_t start_ms)
{
    size_t low = 0, high = store->partition_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (store->partitions[mid]->start_ms < start_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static enum tide_err find_partition(struct tide__store *store, int64_t start_ms,
                                    struct tide__partition **out)
{
    struct tide__partition *partition = store->recent;
    size_t at;
    enum tide_err err;

    if (partition == NULL || partition->start_ms != start_ms) {
        at = lower_bound(store, start_ms);
        if (at == store->partition_count || store->partitions[at]->start_ms != start_ms) {
            err = tide_mem_grow((void **)&store->partitions, &store->partition_capacity,
                                store->partition_count + 1, sizeof(struct tide__partition *));
            if (err != TIDE_OK)
                return err;
            partition = tide_mem_new(sizeof(*partition));
            if (partition == NULL)
                return TIDE_ERR_NO_MEMORY;
            partition->start_ms = start_ms;
            memmove(&store->partitions[at + 1], &store->partitions[at],
                    (store->partition_count - at) * sizeof(struct tide__partition *));
            store->partitions[at] = partition;
            store->partition_count++;
        }
        partition = store->recent = store->partitions[at];
    }
    *out = partition;
    return TIDE_OK;
}

/* Slabs grow with the partition, so that a partition with one old sample takes little. */
static enum tide_err add_slab(struct tide__store *store, struct tide__partition *partition,
                              size_t bytes_min)
{
    size_t bytes = TIDE__SLAB_BYTES_MIN;
    uint32_t number = store->free;
    struct tide__slab *slab;
    uint8_t *memory;
    enum tide_err err;

    while (bytes < TIDE__SLAB_BYTES_MAX && (bytes < partition->bytes || bytes < bytes_min))
        bytes *= 2;
    TIDE_ASSERT(bytes >= bytes_min);
    if (number == 0) {
        if (store->slab_count >= TIDE__SLABS_MAX)
            return TIDE_ERR_NO_MEMORY;
        err = tide_mem_grow((void **)&store->slabs, &store->slab_capacity, store->slab_count + 2,
                            sizeof(*store->slabs));
        if (err != TIDE_OK)
            return err;
        if (store->slab_count == 0)
            store->slabs[store->slab_count++] = (struct tide__slab){0};
    }
    memory = tide_mem_alloc(bytes);
    if (memory == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (number == 0)
        number = (uint32_t)store->slab_count++;
    else
        store->free = store->slabs[number].next;
    slab = &store->slabs[number];
    *slab = (struct tide__slab){.memory = memory,
                                .partition = partition,
                                .next = partition->slab,
                                .bytes = (uint32_t)bytes};
    partition->slab = number;
    partition->used = 0;
    partition->bytes += bytes;
    store->bytes += bytes;
    return TIDE_OK;
}

bool tide__store_accepts(const struct tide__store *store, int64_t start_ms)
{
    size_t at;

    if (store->free == 0 && store->slab_count >= TIDE__SLABS_FILL_MAX)
        return false;
    if (store->partition_count < TIDE__PARTITIONS_MAX)
        return true;
    at = lower_bound(store, start_ms);
    return at < store->partition_count && store->partitions[at]->start_ms == start_ms;
}

enum tide_err tide__store_add(struct tide__store *store, int64_t start_ms, size_t bytes,
                              uint32_t count, uint32_t older, uint32_t *id)
{
    /* The next chunk starts at a multiple of 8; the padding may be what follows. */
    size_t need = (sizeof(struct tide__sealed) + bytes + 7) & ~(size_t)7;
    struct tide__partition *partition = NULL;
    struct tide__sealed *chunk;
    enum tide_err err = find_partition(store, start_ms, &partition);

    if (err != TIDE_OK)
        return err;
    if (partition->slab == 0 ||
        need + TIDE_CHUNK_PAD > store->slabs[partition->slab].bytes - partition->used) {
        err = add_slab(store, partition, need + TIDE_CHUNK_PAD);
        if (err != TIDE_OK)
            return err;
    }
    *id = partition->slab << TIDE__SLAB_OFFSET_BITS | partition->used / 8;
    partition->used += (uint32_t)need;
    partition->samples += count;
    partition->chunks++;
    store->samples += count;
    store->chunks++;
    chunk = tide__store_at(store, *id);
    *chunk =
        (struct tide__sealed){.older = older, .count = (uint16_t)count, .bytes = (uint16_t)bytes};
    return TIDE_OK;
}

enum tide_err tide__store_drop(struct tide__store *store, int64_t cut_ms, void ***slabs,
                               size_t *count)
{
    size_t partitions = lower_bound(store, cut_ms), capacity = 0, n = 0;
    void **memory = NULL;
    enum tide_err err;

    for (size_t i = 0; i < partitions; i++)
        for (uint32_t s = store->partitions[i]->slab; s != 0; s = store->slabs[s].next)
            n++;
    err = tide_mem_grow((void **)&memory, &capacity, n + 1, sizeof(*memory));
    if (err != TIDE_OK)
        return err;
    n = 0;
    for (size_t i = 0; i < partitions; i++) {
        struct tide__partition *partition = store->partitions[i];
        uint32_t next;

        for (uint32_t s = partition->slab; s != 0; s = next) {
            next = store->slabs[s].next;
            memory[n++] = store->slabs[s].memory;
            store->slabs[s] = (struct tide__slab){.next = store->dead};
            store->dead = s;
            store->dead_count++;
        }
        store->bytes -= partition->bytes;
        store->samples -= partition->samples;
        store->chunks -= partition->chunks;
        tide_mem_free(partition);
    }
    store->partition_count -= partitions;
    if (partitions > 0)
        memmove(store->partitions, &store->partitions[partitions],
                store->partition_count * sizeof(struct tide__partition *));
    store->recent = NULL;
    *slabs = memory;
    *count = n;
    return TIDE_OK;
}

void tide__store_revive(struct tide__store *store)
{
    uint32_t next;

    for (uint32_t s = store->dead; s != 0; s = next) {
        next = store->slabs[s].next;
        store->slabs[s].next = store->free;
        store->free = s;
    }
    store->dead = 0;
    store->dead_count = 0;
}

void tide__store_deinit(struct tide__store *store)
{
    for (size_t i = 0; i < store->slab_count; i++)
        tide_mem_free(store->slabs[i].memory);
    for (size_t i = 0; i < store->partition_count; i++)
        tide_mem_free(store->partitions[i]);
    tide_mem_free(store->partitions);
    tide_mem_free(store->slabs);
    *store = (struct tide__store){0};
}
