/* An array whose items never move: segments of 1, 4, 16, … times the first one's size. Readers may
 * therefore look at items they know of while the writer adds others, and growing copies nothing. Of
 * a big segment only the pages in use cost memory. */
#ifndef TIDE_INDEX_VEC_PRIVATE_H
#define TIDE_INDEX_VEC_PRIVATE_H

#include "tide/base/mem.h"

/* With a first segment of 2 items the last one ends past 2^32. */
#define TIDE__VEC_SEGMENTS 17

/* Zero-initialised is empty. shift and item_bytes are the same in every call for one vec: the first
 * segment holds 1 << shift items. */
struct tide__vec {
    uint8_t *segments[TIDE__VEC_SEGMENTS];
};

static inline unsigned tide__vec_segment(uint64_t item, unsigned shift)
{
    /* Segment k begins at (4^k - 1) / 3 firsts, so 3 * firsts + 1 has k for half its top bit. */
    return (63u - (unsigned)__builtin_clzll(3 * (item >> shift) + 1)) / 2;
}
static inline uint64_t tide__vec_start(unsigned segment, unsigned shift)
{
    return (((UINT64_C(1) << (2 * segment)) - 1) / 3) << shift;
}
static inline void *tide__vec_at(const struct tide__vec *vec, uint32_t item, unsigned shift,
                                 size_t item_bytes)
{
    unsigned segment = tide__vec_segment(item, shift);

    return vec->segments[segment] + (item - tide__vec_start(segment, shift)) * item_bytes;
}

/* Makes room for the item, zeroed when it is new. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__vec_reserve(struct tide__vec *vec, uint32_t item,
                                                  unsigned shift, size_t item_bytes);
/* Where count items that must stand side by side go when the first used ones are taken: in *at,
 * reserved. Errors: TIDE_ERR_LIMIT (past 2^32 items), TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__vec_place(struct tide__vec *vec, uint64_t used, size_t count,
                                                unsigned shift, size_t item_bytes, uint32_t *at);
/* Bytes held for the first used items. */
uint64_t tide__vec_bytes(const struct tide__vec *vec, uint64_t used, unsigned shift,
                         size_t item_bytes);
void tide__vec_deinit(struct tide__vec *vec);

#endif
