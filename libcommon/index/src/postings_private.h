/* Postings: the rising references of the series that have one label pair. A pair of one series (an
 * instance id, a pod) keeps the reference in its 4-byte handle and nothing else; up to 32 are a
 * plain array, since the smallest bitmap costs 144 bytes; more are a roaring bitmap. */
#ifndef TIDE_INDEX_POSTINGS_PRIVATE_H
#define TIDE_INDEX_POSTINGS_PRIVATE_H

#include "vec_private.h"

struct roaring_bitmap_s;

#define TIDE__POSTINGS_ARRAY_MAX 32u
/* In a handle: the rest is the only reference. Else it is 0, no series, or 1 + the index of a list.
 */
#define TIDE__POSTINGS_ONE 0x80000000u

#define TIDE__LISTS_SHIFT 3
struct tide__list {
    uint32_t count;    /* Of a free list: the next free one, 1 + its index. */
    uint32_t capacity; /* Of refs. 0: a bitmap. */
    union {
        uint32_t *refs;
        struct roaring_bitmap_s *bitmap;
    } in;
};

/* All lists of one index. Zero-initialised is empty. */
struct tide__postings {
    struct tide__vec lists;
    uint32_t list_count;
    uint32_t free_list; /* 1 + index, 0: none. */
};

/* What a handle stands for, to read: the array refs, or the bitmap when it is not NULL. */
struct tide__postings_view {
    const struct roaring_bitmap_s *bitmap;
    const uint32_t *refs;
    uint32_t count;
    uint32_t one; /* Backs refs: use the view where it stands. */
};

/* Makes room for one more reference, so that tide__postings_append() cannot fail.
 * Errors: TIDE_ERR_LIMIT, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__postings_prepare(struct tide__postings *postings,
                                                       uint32_t *handle);
/* ref is above all that are in it. */
void tide__postings_append(struct tide__postings *postings, uint32_t *handle, uint32_t ref);
/* Passes over a ref that is not there. */
void tide__postings_remove(struct tide__postings *postings, uint32_t *handle, uint32_t ref);
uint32_t tide__postings_count(const struct tide__postings *postings, uint32_t handle);
bool tide__postings_contains(const struct tide__postings *postings, uint32_t handle, uint32_t ref);
void tide__postings_view(const struct tide__postings *postings, uint32_t handle,
                         struct tide__postings_view *out);
uint64_t tide__postings_bytes(const struct tide__postings *postings);
void tide__postings_deinit(struct tide__postings *postings);

#endif
