/* A hash table of 8-byte slots {32-bit fingerprint, id + 1} in parts that grow by a quarter and
 * split one at a time: no insertion moves more than one part (some 10 us), the table is never there
 * twice, and it stays between 60 and 75 % full. What an id stands for is the caller's: equal
 * fingerprints are candidates that it compares. Fingerprints must be well spread. */
#ifndef TIDE_INDEX_TABLE_PRIVATE_H
#define TIDE_INDEX_TABLE_PRIVATE_H

#include "tide/base/mem.h"

#define TIDE__TABLE_NONE 0xffffffffu

struct tide__table_part {
    uint32_t count;
    uint32_t capacity; /* Slots; at least one is empty. */
    uint32_t depth;    /* Leading bits of the fingerprint that all of its entries share. */
    uint32_t unused;   /* Keeps the slots aligned to 16. */
    uint64_t slots[];  /* 0: empty. Linear probing from home(). */
};

/* Zero-initialised is empty and holds no memory. */
struct tide__table {
    union {
        struct tide__table_part *one;  /* depth 0; NULL when empty. */
        struct tide__table_part **all; /* 1 << depth; a part of a lesser depth stands in several
                                          neighbours. */
    } parts;
    uint32_t count;
    uint32_t depth;
};

static inline uint32_t tide__table_home(const struct tide__table_part *part, uint32_t fingerprint)
{
    /* Rising with the fingerprint, for any capacity. */
    return (uint32_t)((((uint64_t)fingerprint << part->depth & UINT32_MAX) * part->capacity) >> 32);
}

static inline struct tide__table_part *tide__table_part_of(const struct tide__table *table,
                                                           uint32_t fingerprint)
{
    if (table->depth == 0)
        return table->parts.one;
    return table->parts.all[fingerprint >> (32 - table->depth)];
}

/* A walk over the ids that share a fingerprint. */
struct tide__table_probe {
    const struct tide__table_part *part;
    uint32_t fingerprint;
    uint32_t next;
};
static inline struct tide__table_probe tide__table_probe(const struct tide__table *table,
                                                         uint32_t fingerprint)
{
    struct tide__table_probe probe = {tide__table_part_of(table, fingerprint), fingerprint, 0};

    if (probe.part != NULL)
        probe.next = tide__table_home(probe.part, fingerprint);
    return probe;
}
/* The next id, or TIDE__TABLE_NONE. */
static inline uint32_t tide__table_next(struct tide__table_probe *probe)
{
    if (probe->part == NULL)
        return TIDE__TABLE_NONE;
    for (;;) {
        uint64_t slot = probe->part->slots[probe->next];

        if (slot == 0)
            return TIDE__TABLE_NONE;
        if (++probe->next == probe->part->capacity)
            probe->next = 0;
        if (slot >> 32 == probe->fingerprint)
            return (uint32_t)slot - 1;
    }
}

/* Makes room for one more entry with this fingerprint, so that tide__table_insert() cannot fail.
 * Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__table_reserve(struct tide__table *table,
                                                    uint32_t fingerprint);
/* The id must not be there yet. */
void tide__table_insert(struct tide__table *table, uint32_t fingerprint, uint32_t id);
/* The entry must be there. */
void tide__table_remove(struct tide__table *table, uint32_t fingerprint, uint32_t id);
uint64_t tide__table_bytes(const struct tide__table *table);
void tide__table_deinit(struct tide__table *table);

#endif
