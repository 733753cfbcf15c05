/* The pool of 32-byte segments that open chunks grow in: a chunk is a chain of them, so that a
 * million chunks of slowly rising size waste half a segment each and never copy. */
#ifndef TIDE_CHUNK_SEGMENT_H
#define TIDE_CHUNK_SEGMENT_H

#include "tide/chunk/pages.h"

#define TIDE_SEGMENT_DATA_BYTES 28

struct tide_segment {
    uint32_t next; /* Id of the one after it, 0: none. */
    uint8_t data[TIDE_SEGMENT_DATA_BYTES];
};
_Static_assert(sizeof(struct tide_segment) == 32, "two segments fill a cache line");

/* Zero-initialised is empty. Ids count from 1. Threads: one at a time; readers of segments together
 * while nobody changes the pool. */
struct tide_segments {
    struct tide_pages pages;
    uint32_t free; /* Head of the chain of free segments, 0: none. */
};

static inline struct tide_segment *tide_segment_at(const struct tide_segments *pool, uint32_t id)
{
    return tide_pages_at(&pool->pages, id - 1, sizeof(struct tide_segment));
}

/* A segment with next 0. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_segments_take(struct tide_segments *pool, uint32_t *id);
/* Gives back a chain from head to tail; 0 for no chain. */
void tide_segments_give(struct tide_segments *pool, uint32_t head, uint32_t tail);
/* Copies all segments into the empty pool *out, same ids. Errors: TIDE_ERR_NO_MEMORY; *out is to be
 * freed in any case. */
TIDE_CHECK_RESULT enum tide_err tide_segments_copy(const struct tide_segments *pool,
                                                   struct tide_segments *out);
size_t tide_segments_bytes(const struct tide_segments *pool);
void tide_segments_deinit(struct tide_segments *pool);

#endif
