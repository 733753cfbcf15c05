#include "column_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define SLOTS_MIN 8u
#define ROWS_MIN 4u

static size_t slot_of(const struct tide__columns *columns, uint64_t target, int64_t start_ms)
{
    uint64_t h = (target ^ (uint64_t)start_ms * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;

    return (size_t)(h >> 32) & (columns->slot_count - 1);
}

static bool is_of(const struct tide__column *column, uint64_t target, int64_t start_ms)
{
    return column->target == target && column->start_ms == start_ms;
}

/* The slot of the target's columns, or the empty one where it would stand. */
static size_t probe(const struct tide__columns *columns, uint64_t target, int64_t start_ms)
{
    size_t slot = slot_of(columns, target, start_ms);

    while (columns->slots[slot] != 0 &&
           !is_of(columns->items[columns->slots[slot] - 1], target, start_ms))
        slot = (slot + 1) & (columns->slot_count - 1);
    return slot;
}

struct tide__column *tide__columns_find(const struct tide__columns *columns, uint64_t target,
                                        int64_t start_ms)
{
    uint32_t id;

    if (columns->slot_count == 0)
        return NULL;
    id = columns->slots[probe(columns, target, start_ms)];
    return id == 0 ? NULL : columns->items[id - 1];
}

static enum tide_err grow_slots(struct tide__columns *columns)
{
    size_t count = columns->slot_count == 0 ? SLOTS_MIN : columns->slot_count * 2;
    size_t old_count = columns->slot_count;
    uint32_t *old = columns->slots;
    uint32_t *slots = tide_mem_array(count, sizeof(*slots));

    if (slots == NULL)
        return TIDE_ERR_NO_MEMORY;
    columns->slots = slots;
    columns->slot_count = count;
    for (size_t i = 0; i < old_count; i++)
        if (old[i] != 0) {
            const struct tide__column *column = columns->items[old[i] - 1];

            slots[probe(columns, column->target, column->start_ms)] = old[i];
        }
    tide_mem_free(old);
    return TIDE_OK;
}

enum tide_err tide__columns_add(struct tide__columns *columns, uint64_t target, int64_t start_ms,
                                uint32_t track, uint32_t rows, struct tide__column **out)
{
    struct tide__column *column, *before = NULL;
    size_t slot;
    uint32_t next;
    enum tide_err err = TIDE_OK;

    if (columns->slot_used * 4 >= columns->slot_count * 3)
        err = grow_slots(columns);
    if (err == TIDE_OK && columns->free_count == 0)
        err = tide_mem_grow((void **)&columns->items, &columns->capacity, columns->count + 1,
                            sizeof(struct tide__column *));
    if (err != TIDE_OK)
        return err;
    slot = probe(columns, target, start_ms);
    next = columns->slots[slot] == 0 ? TIDE__COLUMN_NONE : columns->slots[slot] - 1;
    while (next != TIDE__COLUMN_NONE && columns->items[next]->track < track) {
        before = columns->items[next];
        next = before->next_track;
    }
    if (next != TIDE__COLUMN_NONE && columns->items[next]->track == track)
        return TIDE_ERR_EXISTS;
    column = tide_mem_new(sizeof(*column));
    if (column == NULL)
        return TIDE_ERR_NO_MEMORY;
    *column = (struct tide__column){
        .start_ms = start_ms, .target = target, .next_track = next, .track = track};
    if (rows > 0) {
        column->offsets = tide_mem_alloc(rows * sizeof(*column->offsets));
        if (column->offsets == NULL) {
            tide_mem_free(column);
            return TIDE_ERR_NO_MEMORY;
        }
        column->capacity = rows;
    }
    column->id = columns->free_count > 0 ? columns->free_ids[--columns->free_count]
                                         : (uint32_t)columns->count++;
    columns->items[column->id] = column;
    if (columns->slots[slot] == 0)
        columns->slot_used++;
    if (before == NULL)
        columns->slots[slot] = column->id + 1;
    else
        before->next_track = column->id;
    columns->bytes += sizeof(*column) + rows * sizeof(*column->offsets);
    *out = column;
    return TIDE_OK;
}

enum tide_err tide__columns_add_row(struct tide__columns *columns, struct tide__column *column,
                                    uint32_t offset, void **old)
{
    *old = NULL;
    TIDE_ASSERT(column->count < TIDE__COLUMN_ROWS_MAX);
    TIDE_ASSERT(column->count == 0 || offset > column->offsets[column->count - 1]);
    if (column->count == column->capacity) {
        /* By a half: the rows of many small targets are a good part of all memory. */
        uint32_t capacity = column->capacity + column->capacity / 2 + ROWS_MIN;
        uint32_t *offsets = tide_mem_alloc(capacity * sizeof(*offsets));

        if (offsets == NULL)
            return TIDE_ERR_NO_MEMORY;
        if (column->count > 0)
            memcpy(offsets, column->offsets, column->count * sizeof(*offsets));
        *old = column->offsets;
        columns->bytes += (capacity - column->capacity) * sizeof(*offsets);
        column->offsets = offsets;
        column->capacity = capacity;
    }
    column->offsets[column->count++] = offset;
    return TIDE_OK;
}

/* Empties a slot and moves those up that stood behind it only because it was taken. */
static void clear_slot(struct tide__columns *columns, size_t slot)
{
    size_t mask = columns->slot_count - 1, hole = slot;

    columns->slots[hole] = 0;
    for (size_t i = (slot + 1) & mask; columns->slots[i] != 0; i = (i + 1) & mask) {
        const struct tide__column *column = columns->items[columns->slots[i] - 1];
        size_t home = slot_of(columns, column->target, column->start_ms);

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            columns->slots[hole] = columns->slots[i];
            columns->slots[i] = 0;
            hole = i;
        }
    }
    columns->slot_used--;
}

enum tide_err tide__columns_remove(struct tide__columns *columns, uint32_t id, void **rows)
{
    struct tide__column *column = columns->items[id];
    size_t slot = probe(columns, column->target, column->start_ms);
    enum tide_err err = tide_mem_grow((void **)&columns->free_ids, &columns->free_capacity,
                                      columns->free_count + 1, sizeof(*columns->free_ids));

    if (err != TIDE_OK)
        return err;
    TIDE_ASSERT(columns->slots[slot] != 0);
    if (columns->slots[slot] == id + 1) {
        if (column->next_track == TIDE__COLUMN_NONE)
            clear_slot(columns, slot);
        else
            columns->slots[slot] = column->next_track + 1;
    } else {
        struct tide__column *before = columns->items[columns->slots[slot] - 1];

        while (before->next_track != id)
            before = columns->items[before->next_track];
        before->next_track = column->next_track;
    }
    columns->free_ids[columns->free_count++] = id;
    columns->items[id] = NULL;
    columns->bytes -= sizeof(*column) + column->capacity * sizeof(*column->offsets);
    *rows = column->offsets;
    tide_mem_free(column);
    return TIDE_OK;
}

void tide__columns_deinit(struct tide__columns *columns)
{
    for (size_t i = 0; i < columns->count; i++)
        if (columns->items[i] != NULL) {
            tide_mem_free(columns->items[i]->offsets);
            tide_mem_free(columns->items[i]);
        }
    tide_mem_free(columns->items);
    tide_mem_free(columns->free_ids);
    tide_mem_free(columns->slots);
    *columns = (struct tide__columns){0};
}
