#include "vec_private.h"

#include "tide/base/assert.h"

/* Blocks from here on come from the system in pages, which cost nothing before they are touched. */
#define LAZY_BYTES (64u << 10)
#define PAGE_BYTES 4096u

static size_t segment_bytes(unsigned segment, unsigned shift, size_t item_bytes)
{
    return ((size_t)1 << (2 * segment + shift)) * item_bytes;
}

enum tide_err tide__vec_reserve(struct tide__vec *vec, uint32_t item, unsigned shift,
                                size_t item_bytes)
{
    unsigned segment = tide__vec_segment(item, shift);

    TIDE_ASSERT(segment < TIDE__VEC_SEGMENTS);
    if (vec->segments[segment] == NULL)
        vec->segments[segment] = tide_mem_new(segment_bytes(segment, shift, item_bytes));
    return vec->segments[segment] == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}

enum tide_err tide__vec_place(struct tide__vec *vec, uint64_t used, size_t count, unsigned shift,
                              size_t item_bytes, uint32_t *at)
{
    uint64_t place = used;
    unsigned segment = tide__vec_segment(place, shift);
    enum tide_err err;

    if (count > UINT32_MAX)
        return TIDE_ERR_LIMIT;
    while (place + count > tide__vec_start(segment + 1, shift))
        place = tide__vec_start(++segment, shift);
    if (place + count > UINT32_MAX)
        return TIDE_ERR_LIMIT;
    err = tide__vec_reserve(vec, (uint32_t)place, shift, item_bytes);
    if (err == TIDE_OK)
        *at = (uint32_t)place;
    return err;
}

uint64_t tide__vec_bytes(const struct tide__vec *vec, uint64_t used, unsigned shift,
                         size_t item_bytes)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < TIDE__VEC_SEGMENTS; i++) {
        uint64_t bytes = segment_bytes(i, shift, item_bytes);
        uint64_t start = tide__vec_start(i, shift);
        uint64_t taken = used <= start ? 0 : (used - start) * item_bytes;

        if (vec->segments[i] == NULL)
            continue;
        if (bytes >= LAZY_BYTES && taken < bytes)
            bytes = (taken + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
        sum += bytes;
    }
    return sum;
}

void tide__vec_deinit(struct tide__vec *vec)
{
    for (unsigned i = 0; i < TIDE__VEC_SEGMENTS; i++) {
        tide_mem_free(vec->segments[i]);
        vec->segments[i] = NULL;
    }
}
