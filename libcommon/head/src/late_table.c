#include "late_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#include <stdlib.h>

#define SLOTS_MIN 8u

static size_t slot_of(const struct tide__late_table *table, uint32_t ref)
{
    return (size_t)(ref * 0x9e3779b97f4a7c15u >> 32) & (table->slot_count - 1);
}

static size_t probe(const struct tide__late_table *table, uint32_t ref)
{
    size_t slot = slot_of(table, ref);

    while (table->slots[slot] != NULL && table->slots[slot]->ref != ref)
        slot = (slot + 1) & (table->slot_count - 1);
    return slot;
}

struct tide__late *tide__late_find(const struct tide__late_table *table, uint32_t ref)
{
    return table->slot_count == 0 ? NULL : table->slots[probe(table, ref)];
}

static enum tide_err grow(struct tide__late_table *table)
{
    size_t old_count = table->slot_count;
    struct tide__late **old = table->slots;
    size_t count = old_count == 0 ? SLOTS_MIN : old_count * 2;
    struct tide__late **slots = tide_mem_array(count, sizeof(struct tide__late *));

    if (slots == NULL)
        return TIDE_ERR_NO_MEMORY;
    table->slots = slots;
    table->slot_count = count;
    table->bytes += (count - old_count) * sizeof(struct tide__late *);
    for (size_t i = 0; i < old_count; i++)
        if (old[i] != NULL)
            slots[probe(table, old[i]->ref)] = old[i];
    tide_mem_free(old);
    return TIDE_OK;
}

enum tide_err tide__late_get(struct tide__late_table *table, uint32_t ref, struct tide__late **out)
{
    struct tide__late *late = tide__late_find(table, ref);

    if (late == NULL) {
        if (table->count * 4 >= table->slot_count * 3) {
            enum tide_err err = grow(table);

            if (err != TIDE_OK)
                return err;
        }
        late = tide_mem_new(sizeof(*late));
        if (late == NULL)
            return TIDE_ERR_NO_MEMORY;
        late->ref = ref;
        table->slots[probe(table, ref)] = late;
        table->count++;
        table->bytes += sizeof(*late);
    }
    *out = late;
    return TIDE_OK;
}

void tide__late_remove(struct tide__late_table *table, struct tide__late *late)
{
    size_t mask = table->slot_count - 1, hole = probe(table, late->ref);

    TIDE_ASSERT(late->chunk_count == 0);
    table->slots[hole] = NULL;
    /* Moves those up that stood behind it only because its slot was taken. */
    for (size_t i = (hole + 1) & mask; table->slots[i] != NULL; i = (i + 1) & mask) {
        size_t home = slot_of(table, table->slots[i]->ref);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            table->slots[hole] = table->slots[i];
            table->slots[i] = NULL;
            hole = i;
        }
    }
    table->count--;
    table->samples -= late->count;
    table->bytes -= sizeof(*late) + late->capacity * sizeof(*late->samples);
    tide_mem_free(late->samples);
    tide_mem_free(late->chunks);
    tide_mem_free(late);
}

uint32_t tide__late_at(const struct tide__late *late, int64_t ts_ms)
{
    uint32_t low = 0, high = late->count;

    if (high > 0 && late->samples[high - 1].ts_ms < ts_ms) /* A backfill in order. */
        return high;
    while (low < high) {
        uint32_t mid = low + (high - low) / 2;

        if (late->samples[mid].ts_ms < ts_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

size_t tide__late_chunk_at(const struct tide__late *late, int64_t start_ms)
{
    size_t low = 0, high = late->chunk_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (late->chunks[mid]->start_ms < start_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

size_t tide__late_chunk_bytes(const struct tide__late_chunk *chunk)
{
    return sizeof(*chunk) + chunk->bytes + TIDE_CHUNK_PAD;
}

enum tide_err tide__late_encode(struct tide_segments *segments, int64_t start_ms,
                                const struct tide_sample *samples, size_t count,
                                struct tide__late_chunk **out)
{
    struct tide_chunk_open open = {0};
    struct tide_chunk_clock clock = {0};
    struct tide__late_chunk *chunk;
    size_t bytes;

    TIDE_ASSERT(count > 0);
    for (size_t i = 0; i < count; i++) {
        enum tide_err err = tide_chunk_append_timed(
            segments, &open, &clock, (uint32_t)(samples[i].ts_ms - start_ms), samples[i].bits);

        if (err != TIDE_OK) {
            tide_chunk_drop(segments, &open);
            return err;
        }
    }
    bytes = tide_chunk_bytes(segments, &open);
    chunk = tide_mem_new(sizeof(*chunk) + bytes + TIDE_CHUNK_PAD);
    if (chunk != NULL) {
        chunk->start_ms = start_ms;
        chunk->first = (uint32_t)(samples[0].ts_ms - start_ms);
        chunk->last = clock.last;
        chunk->count = (uint32_t)count;
        chunk->bytes = (uint32_t)bytes;
        (void)tide_chunk_copy(segments, &open, chunk->data, bytes);
    }
    tide_chunk_drop(segments, &open);
    if (chunk == NULL)
        return TIDE_ERR_NO_MEMORY;
    *out = chunk;
    return TIDE_OK;
}

enum tide_err tide__late_add_chunk(struct tide__late_table *table, struct tide__late *late,
                                   struct tide__late_chunk *chunk)
{
    enum tide_err err = tide_mem_grow((void **)&late->chunks, &late->chunk_capacity,
                                      late->chunk_count + 1, sizeof(struct tide__late_chunk *));

    if (err != TIDE_OK)
        return err;
    late->chunks[late->chunk_count++] = chunk;
    table->chunks++;
    table->samples += chunk->count;
    table->bytes += tide__late_chunk_bytes(chunk);
    return TIDE_OK;
}

static int compare_samples(const void *a, const void *b)
{
    int64_t x = ((const struct tide_sample *)a)->ts_ms, y = ((const struct tide_sample *)b)->ts_ms;

    return (x > y) - (x < y);
}

void tide__late_sort(struct tide_sample *samples, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (samples[i - 1].ts_ms > samples[i].ts_ms) {
            qsort(samples, count, sizeof(*samples), compare_samples);
            return;
        }
}

void tide__late_deinit(struct tide__late_table *table)
{
    for (size_t i = 0; i < table->slot_count; i++) {
        struct tide__late *late = table->slots[i];

        if (late == NULL)
            continue;
        for (size_t k = 0; k < late->chunk_count; k++)
            tide_mem_free(late->chunks[k]);
        tide_mem_free(late->samples);
        tide_mem_free(late->chunks);
        tide_mem_free(late);
    }
    tide_mem_free(table->slots);
    *table = (struct tide__late_table){0};
}
