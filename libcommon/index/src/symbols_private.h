/* Names, their values and shapes: the dictionary of one index. A value is numbered within its name,
 * so that most ids take one byte; the list of a series' names, its shape, is shared by all series
 * that have the same names. Text and records are never moved and never change once published,
 * except for what is marked below; so they are read without a lock. */
#ifndef TIDE_INDEX_SYMBOLS_PRIVATE_H
#define TIDE_INDEX_SYMBOLS_PRIVATE_H

#include "postings_private.h"
#include "table_private.h"

#include "tide/index/index.h"

#include <pthread.h>

#define TIDE__TEXT_SHIFT 10
#define TIDE__NAMES_SHIFT 2
#define TIDE__VALUES_SHIFT 1
#define TIDE__SHAPES_SHIFT 3
#define TIDE__SHAPE_IDS_SHIFT 6

/* Up to so many values a name has no table: they are compared one after the other. */
#define TIDE__VALUES_LINEAR 4u

/* Sorted orders are made for so many values at a time: the work of a reader stays near a
 * millisecond, and an offset takes two bytes. */
#define TIDE__ORDER_VALUES 8192u

struct tide__value {
    uint32_t text;     /* Position of its uvarint length and bytes. */
    uint32_t postings; /* Handle. Changes: needs the lock. */
};

/* The offsets of one run of TIDE__ORDER_VALUES values, those below sorted in order of text. */
struct tide__order {
    uint16_t *offsets;
    uint32_t sorted;
};

struct tide__name {
    struct tide_slice text;
    struct tide__vec values; /* struct tide__value */

    /* From here on fields change: they need the lock. */
    struct tide__table table; /* Hash of the text -> value id, when there are more than a few. */
    uint32_t value_count;
    uint32_t last_value;  /* Of the last series added: the next one often has the same. */
    uint32_t live_values; /* With series. */
    uint32_t live_series;
    uint64_t live_bytes; /* Of the text of live values. */

    /* Guarded by order_lock of the symbols, since readers make them. */
    struct tide__order *orders;
    uint32_t order_count;
};

struct tide__shape {
    uint32_t ids; /* Position of its name ids, in rising order of text. */
    uint32_t count;
};

struct tide__symbols {
    struct tide__vec text;
    uint64_t text_used;
    struct tide__vec names;     /* struct tide__name */
    struct tide__vec shapes;    /* struct tide__shape */
    struct tide__vec shape_ids; /* uint32_t */
    uint64_t shape_ids_used;
    struct tide__table name_table;
    struct tide__table shape_table;
    uint32_t name_count;
    uint32_t shape_count;
    /* Of the hashes of text, so that nobody can choose texts that collide: from the first identity,
     * which is keyed. 0: none yet. */
    uint64_t seed;
    uint64_t dead_bytes; /* Held for values without series. */
    /* Level 3 in docs/LOCKS.md. Shared: looks into orders; exclusive: makes them. Only tried,
     * never waited for: who does not get it does without an order. */
    pthread_rwlock_t order_lock;
};

TIDE_CHECK_RESULT enum tide_err tide__symbols_init(struct tide__symbols *symbols);
void tide__symbols_deinit(struct tide__symbols *symbols);
uint64_t tide__symbols_bytes(const struct tide__symbols *symbols);

static inline struct tide__name *tide__name_at(const struct tide__symbols *symbols, uint32_t id)
{
    return tide__vec_at(&symbols->names, id, TIDE__NAMES_SHIFT, sizeof(struct tide__name));
}
static inline struct tide__value *tide__value_at(const struct tide__name *name, uint32_t id)
{
    return tide__vec_at(&name->values, id, TIDE__VALUES_SHIFT, sizeof(struct tide__value));
}
static inline const struct tide__shape *tide__shape_at(const struct tide__symbols *symbols,
                                                       uint32_t id)
{
    return tide__vec_at(&symbols->shapes, id, TIDE__SHAPES_SHIFT, sizeof(struct tide__shape));
}
static inline const uint32_t *tide__shape_ids(const struct tide__symbols *symbols,
                                              const struct tide__shape *shape)
{
    return tide__vec_at(&symbols->shape_ids, shape->ids, TIDE__SHAPE_IDS_SHIFT, sizeof(uint32_t));
}

/* A uvarint that we wrote ourselves into our own memory. */
static inline uint32_t tide__uvarint_read(const uint8_t **at)
{
    const uint8_t *p = *at;
    uint32_t v = *p++;

    if (v >= 0x80) {
        unsigned shift = 7;

        v &= 0x7f;
        for (; *p >= 0x80; shift += 7)
            v |= (uint32_t)(*p++ & 0x7f) << shift;
        v |= (uint32_t)*p++ << shift;
    }
    *at = p;
    return v;
}
#define TIDE__UVARINT32_BYTES_MAX 5u
static inline uint8_t *tide__uvarint_write(uint8_t *at, uint32_t v)
{
    for (; v >= 0x80; v >>= 7)
        *at++ = (uint8_t)(v | 0x80);
    *at++ = (uint8_t)v;
    return at;
}

static inline struct tide_slice tide__text_at(const struct tide__symbols *symbols,
                                              uint32_t position)
{
    const uint8_t *at = tide__vec_at(&symbols->text, position, TIDE__TEXT_SHIFT, 1);
    uint32_t len = tide__uvarint_read(&at);

    return (struct tide_slice){at, len};
}
static inline struct tide_slice tide__value_text(const struct tide__symbols *symbols,
                                                 const struct tide__name *name, uint32_t id)
{
    return tide__text_at(symbols, tide__value_at(name, id)->text);
}

/* A value got its first series, or lost its last. */
void tide__value_lives(struct tide__symbols *symbols, struct tide__name *name, uint32_t id);
void tide__value_dies(struct tide__symbols *symbols, struct tide__name *name, uint32_t id);

/* The id, or TIDE_INDEX_NONE. */
uint32_t tide__name_find(const struct tide__symbols *symbols, struct tide_slice text);
uint32_t tide__value_find(const struct tide__symbols *symbols, const struct tide__name *name,
                          struct tide_slice text);
uint32_t tide__shape_find(const struct tide__symbols *symbols, const uint32_t *ids, size_t count);
/* Add what was not found. Errors: TIDE_ERR_LIMIT, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__name_add(struct tide__symbols *symbols,
                                               struct tide_slice text, uint32_t *id);
TIDE_CHECK_RESULT enum tide_err tide__value_add(struct tide__symbols *symbols,
                                                struct tide__name *name, struct tide_slice text,
                                                uint32_t *id);
TIDE_CHECK_RESULT enum tide_err tide__shape_add(struct tide__symbols *symbols, const uint32_t *ids,
                                                size_t count, uint32_t *id);

/* Takes one value id; answers other than TIDE_OK to stop. */
typedef enum tide_err (*tide__value_sink)(void *context, uint32_t id);
/* Hands all values that begin with prefix to sink, those without series too. Sorts up to one run of
 * values when nobody else is inside. */
TIDE_CHECK_RESULT enum tide_err tide__values_with_prefix(const struct tide__symbols *symbols,
                                                         const struct tide__name *name,
                                                         struct tide_slice prefix,
                                                         tide__value_sink sink, void *context);

#endif
