#include "table_private.h"

#include "tide/base/assert.h"

/* A part beyond this many slots splits: 64 KiB are moved in some 10 us. */
#define PART_SLOTS_MAX 8192u
#define PART_SLOTS_MIN 8u
/* The directory doubles only while it has at most one entry for so many ids. Fingerprints that are
 * not spread then make big parts, not a big directory. */
#define IDS_PER_DIRECTORY_ENTRY 1024u

static uint32_t directory_count(const struct tide__table *table)
{
    return (uint32_t)1 << table->depth;
}

static bool has_room(const struct tide__table_part *part)
{
    return (uint64_t)(part->count + 1) * 4 <= (uint64_t)part->capacity * 3;
}

static struct tide__table_part *part_new(uint32_t capacity, uint32_t depth)
{
    struct tide__table_part *part =
        tide_mem_new(sizeof(*part) + (size_t)capacity * sizeof(part->slots[0]));

    if (part != NULL) {
        part->capacity = capacity;
        part->depth = depth;
    }
    return part;
}

static void part_put(struct tide__table_part *part, uint64_t slot)
{
    uint32_t i = tide__table_home(part, (uint32_t)(slot >> 32));

    while (part->slots[i] != 0)
        i = i + 1 == part->capacity ? 0 : i + 1;
    part->slots[i] = slot;
    part->count++;
}

/* Lets every directory entry of old's fingerprints point to the part. */
static void publish(struct tide__table *table, uint32_t first, uint32_t depth,
                    struct tide__table_part *part)
{
    if (table->depth == 0) {
        table->parts.one = part;
        return;
    }
    for (uint32_t i = 0; i < (uint32_t)1 << (table->depth - depth); i++)
        table->parts.all[first + i] = part;
}

/* The directory index where a part of this depth begins that holds the fingerprint. */
static uint32_t first_of(const struct tide__table *table, uint32_t fingerprint, uint32_t depth)
{
    if (depth == 0)
        return 0;
    return fingerprint >> (32 - depth) << (table->depth - depth);
}

static enum tide_err part_grow(struct tide__table *table, struct tide__table_part *part,
                               uint32_t fingerprint)
{
    uint32_t capacity = part == NULL ? PART_SLOTS_MIN : part->capacity + part->capacity / 4;
    struct tide__table_part *bigger = part_new(capacity, part == NULL ? 0 : part->depth);

    if (bigger == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (part != NULL)
        for (uint32_t i = 0; i < part->capacity; i++)
            if (part->slots[i] != 0)
                part_put(bigger, part->slots[i]);
    publish(table, first_of(table, fingerprint, bigger->depth), bigger->depth, bigger);
    tide_mem_free(part);
    return TIDE_OK;
}

static enum tide_err directory_double(struct tide__table *table)
{
    uint32_t count = directory_count(table);
    struct tide__table_part **all = tide_mem_array((size_t)count * 2, sizeof(void *));

    if (all == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        all[2 * i] = all[2 * i + 1] = table->depth == 0 ? table->parts.one : table->parts.all[i];
    if (table->depth > 0)
        tide_mem_free(table->parts.all);
    table->parts.all = all;
    table->depth++;
    return TIDE_OK;
}

/* Two parts of one bit more, each as big as its share needs. */
static enum tide_err part_split(struct tide__table *table, struct tide__table_part *part,
                                uint32_t fingerprint)
{
    uint32_t depth = part->depth + 1;
    struct tide__table_part *halves[2] = {NULL, NULL};
    uint32_t counts[2] = {0, 0};
    uint32_t first;
    enum tide_err err;

    for (uint32_t i = 0; i < part->capacity; i++)
        if (part->slots[i] != 0)
            counts[part->slots[i] >> (64 - depth) & 1]++;
    for (int half = 0; half < 2; half++) {
        /* A 60 % load, as after growing; one more for the entry to come. */
        halves[half] = part_new(PART_SLOTS_MIN + counts[half] / 3 * 5, depth);
        if (halves[half] == NULL) {
            err = TIDE_ERR_NO_MEMORY;
            goto fail;
        }
    }
    if (part->depth == table->depth) {
        err = directory_double(table);
        if (err != TIDE_OK)
            goto fail;
    }
    for (uint32_t i = 0; i < part->capacity; i++)
        if (part->slots[i] != 0)
            part_put(halves[part->slots[i] >> (64 - depth) & 1], part->slots[i]);
    first = first_of(table, fingerprint, part->depth);
    publish(table, first, depth, halves[0]);
    publish(table, first + ((uint32_t)1 << (table->depth - depth)), depth, halves[1]);
    tide_mem_free(part);
    return TIDE_OK;

fail:
    tide_mem_free(halves[0]);
    tide_mem_free(halves[1]);
    return err;
}

enum tide_err tide__table_reserve(struct tide__table *table, uint32_t fingerprint)
{
    for (;;) {
        struct tide__table_part *part = tide__table_part_of(table, fingerprint);
        bool may_split;
        enum tide_err err;

        if (part != NULL && has_room(part))
            return TIDE_OK;
        may_split = part != NULL && part->capacity >= PART_SLOTS_MAX && part->depth < 32 &&
                    (part->depth < table->depth ||
                     (uint64_t)directory_count(table) * IDS_PER_DIRECTORY_ENTRY <= table->count);
        err =
            may_split ? part_split(table, part, fingerprint) : part_grow(table, part, fingerprint);
        if (err != TIDE_OK)
            return err;
    }
}

void tide__table_insert(struct tide__table *table, uint32_t fingerprint, uint32_t id)
{
    struct tide__table_part *part = tide__table_part_of(table, fingerprint);

    TIDE_ASSERT(part != NULL);
    TIDE_ASSERT(has_room(part));
    part_put(part, (uint64_t)fingerprint << 32 | (id + 1));
    table->count++;
}

void tide__table_remove(struct tide__table *table, uint32_t fingerprint, uint32_t id)
{
    struct tide__table_part *part = tide__table_part_of(table, fingerprint);
    uint64_t slot = (uint64_t)fingerprint << 32 | (id + 1);
    uint32_t hole;

    TIDE_ASSERT(part != NULL);
    hole = tide__table_home(part, fingerprint);
    while (part->slots[hole] != slot) {
        TIDE_ASSERT(part->slots[hole] != 0);
        hole = hole + 1 == part->capacity ? 0 : hole + 1;
    }
    /* Closes the hole: an entry behind it moves in unless its home lies between the two. */
    for (uint32_t i = hole;;) {
        uint32_t home;

        i = i + 1 == part->capacity ? 0 : i + 1;
        if (part->slots[i] == 0)
            break;
        home = tide__table_home(part, (uint32_t)(part->slots[i] >> 32));
        if (hole <= i ? (home <= hole || home > i) : (home <= hole && home > i)) {
            part->slots[hole] = part->slots[i];
            hole = i;
        }
    }
    part->slots[hole] = 0;
    part->count--;
    table->count--;
}

static uint64_t part_bytes(const struct tide__table_part *part)
{
    return sizeof(*part) + (uint64_t)part->capacity * sizeof(part->slots[0]);
}

uint64_t tide__table_bytes(const struct tide__table *table)
{
    uint64_t sum;

    if (table->depth == 0)
        return table->parts.one == NULL ? 0 : part_bytes(table->parts.one);
    sum = directory_count(table) * sizeof(void *);
    for (uint32_t i = 0; i < directory_count(table); i++)
        if (i == 0 || table->parts.all[i] != table->parts.all[i - 1])
            sum += part_bytes(table->parts.all[i]);
    return sum;
}

void tide__table_deinit(struct tide__table *table)
{
    if (table->depth == 0) {
        tide_mem_free(table->parts.one);
    } else {
        for (uint32_t i = directory_count(table); i-- > 0;)
            if (i == 0 || table->parts.all[i] != table->parts.all[i - 1])
                tide_mem_free(table->parts.all[i]);
        tide_mem_free(table->parts.all);
    }
    *table = (struct tide__table){.count = 0};
}
