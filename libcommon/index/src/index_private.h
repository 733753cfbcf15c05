/* The index as its own files see it. */
#ifndef TIDE_INDEX_INDEX_PRIVATE_H
#define TIDE_INDEX_INDEX_PRIVATE_H

#include "symbols_private.h"

#include "tide/base/assert.h"

#define TIDE__SERIES_SHIFT 4
#define TIDE__LABELS_SHIFT 8

struct tide__series {
    uint32_t labels; /* Position of its label list; 0: never had one. */
    uint32_t key;    /* Top 32 bits of the identity. */
};

/* A label list is: uvarint shape, then a uvarint value id for each name of the shape. */
struct tide_index {
    struct tide__symbols symbols;
    struct tide__vec series; /* struct tide__series, by reference. */
    struct tide__vec labels; /* Bytes; position 0 is not used. */
    uint64_t labels_used;
    uint32_t ref_count;
    uint32_t series_count;
    uint32_t last_shape; /* Of the last series added, or TIDE_INDEX_NONE. */
    struct tide__table series_table;
    struct tide__postings postings;
    struct roaring_bitmap_s *dead; /* References without a series; NULL: none. */
    uint64_t dead_bytes;           /* Held for removed series, values not counted. */
};

static inline struct tide__series *tide__series_at(const struct tide_index *index, uint32_t ref)
{
    return tide__vec_at(&index->series, ref, TIDE__SERIES_SHIFT, sizeof(struct tide__series));
}

/* Spreads the order key, whose leading bits all series of a shard share. Odd multiplier: 2^32 by
 * the golden ratio (Knuth, TAOCP 3, 6.4). */
static inline uint32_t tide__series_fingerprint(uint32_t key)
{
    key ^= key >> 16;
    key *= UINT32_C(0x9e3779b9);
    return key ^ key >> 15;
}

/* The label list of a series, opened: values points at the first value id. */
struct tide__label_list {
    const uint32_t *name_ids;
    uint32_t count;
    uint32_t shape;
    const uint8_t *values;
};
/* ref must have a label list. */
static inline struct tide__label_list tide__label_list(const struct tide_index *index, uint32_t ref)
{
    struct tide__label_list list;
    const struct tide__shape *shape;

    list.values =
        tide__vec_at(&index->labels, tide__series_at(index, ref)->labels, TIDE__LABELS_SHIFT, 1);
    list.shape = tide__uvarint_read(&list.values);
    shape = tide__shape_at(&index->symbols, list.shape);
    list.count = shape->count;
    list.name_ids = tide__shape_ids(&index->symbols, shape);
    return list;
}

static inline void tide__uncharge(struct tide_query_limits *limits, uint64_t bytes)
{
    enum tide_err err = tide_query_charge(limits, -(int64_t)bytes);

    TIDE_ASSERT(err == TIDE_OK); /* Giving back cannot fail. */
}

/* Whether ref was ever given a label list. Without a lock: the caller knows that it may ask. */
bool tide__series_known(const struct tide_index *index, uint32_t ref);

/* Adds the series ref, not below ref_count, with one value id for each name of the shape. It must
 * not be there yet. Errors: TIDE_ERR_LIMIT, TIDE_ERR_NO_MEMORY, nothing is added. */
TIDE_CHECK_RESULT enum tide_err tide__series_append(struct tide_index *index, uint32_t ref,
                                                    uint32_t key, uint32_t shape,
                                                    const uint32_t *values);
/* The series with this key and label list, or TIDE_INDEX_NONE. */
uint32_t tide__series_find(const struct tide_index *index, uint32_t key, uint32_t shape,
                           const uint32_t *values);

#endif
