/* Sealed chunks: in slabs of memory that each belong to one time partition, so that dropping a
 * partition frees whole slabs. A chunk is found by a 32-bit id. */
#ifndef TIDE_HEAD_STORE_PRIVATE_H
#define TIDE_HEAD_STORE_PRIVATE_H

#include "tide/chunk/chunk.h"

/* Id: slab number in the high bits, offset in units of 8 bytes in the low ones. 0: no chunk. */
#define TIDE__SLAB_OFFSET_BITS 13
#define TIDE__SLAB_BYTES_MAX (8u << TIDE__SLAB_OFFSET_BITS)
#define TIDE__SLAB_BYTES_MIN 512u
#define TIDE__SLABS_MAX (1u << (32 - TIDE__SLAB_OFFSET_BITS))
/* No new slabs after so many, so that a checkpoint, which is restored series by series and may so
 * be packed less well, can always be restored. */
#define TIDE__SLABS_FILL_MAX (TIDE__SLABS_MAX - TIDE__SLABS_MAX / 8)
/* Partitions with sealed chunks, at most: 68 years of 2 h, that is 1970 to now. A partition takes
 * at least one slab, so that senders of scattered old samples would use all numbers up. */
#define TIDE__PARTITIONS_MAX 300000u
_Static_assert(TIDE__PARTITIONS_MAX < TIDE__SLABS_FILL_MAX - TIDE__SLABS_MAX / 4,
               "most slabs are for data");

/* A sealed chunk; the stream follows it. Timed chunks: first is the offset of the first sample from
 * the start of the partition, and the stream is preceded by the offset of the last one (4 bytes in
 * host order). Others: first is the column, whose rows row … row+count-1 are the timestamps. */
struct tide__sealed {
    uint32_t older; /* The chunk of the same series before it. */
    uint32_t first;
    uint16_t row;
    uint16_t count;
    uint16_t bytes; /* After this header. */
    uint16_t timed;
};
_Static_assert(sizeof(struct tide__sealed) == 16, "the overhead of a chunk");
_Static_assert(TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX) + 4 <= UINT16_MAX,
               "bytes is too narrow");

struct tide__partition {
    int64_t start_ms;
    uint32_t slab; /* The newest; they are linked. */
    uint32_t used; /* Bytes of it. */
    uint64_t samples;
    uint64_t chunks;
    uint64_t bytes; /* Of all its slabs. */
};

struct tide__slab {
    uint8_t *memory; /* NULL: number not in use, or its partition was dropped. */
    struct tide__partition *partition;
    uint32_t next; /* Slab of the partition before it, or next free number; 0: none. */
    uint32_t bytes;
};

/* Zero-initialised is empty. */
struct tide__store {
    struct tide__slab *slabs; /* Number 0 is not used. */
    size_t slab_count;
    size_t slab_capacity;
    uint32_t free; /* Numbers that no chain mentions. */
    uint32_t dead; /* Numbers that chains may still mention, though the slab is gone: linked. */
    uint32_t dead_count;
    struct tide__partition **partitions; /* In rising start. */
    size_t partition_count;
    size_t partition_capacity;
    struct tide__partition *recent; /* The one used last, NULL: none. */
    uint64_t bytes;
    uint64_t samples;
    uint64_t chunks;
};

/* The slab an id stands in; its memory is NULL when the chunk was dropped with its partition. */
static inline const struct tide__slab *tide__store_slab(const struct tide__store *store,
                                                        uint32_t id)
{
    return &store->slabs[id >> TIDE__SLAB_OFFSET_BITS];
}

static inline struct tide__sealed *tide__slab_chunk(uint8_t *memory, uint32_t id)
{
    return (struct tide__sealed *)(void *)(memory +
                                           (size_t)(id & ((1u << TIDE__SLAB_OFFSET_BITS) - 1)) * 8);
}

/* The chunk, or NULL when there is none any more. Chains end where this answers NULL. */
static inline struct tide__sealed *tide__store_at(const struct tide__store *store, uint32_t id)
{
    const struct tide__slab *slab;

    if (id == 0)
        return NULL;
    slab = tide__store_slab(store, id);
    return slab->memory == NULL ? NULL : tide__slab_chunk(slab->memory, id);
}

static inline uint8_t *tide__sealed_data(struct tide__sealed *chunk)
{
    return (uint8_t *)(chunk + 1);
}

/* Start of the partition of a chunk that is there. */
static inline int64_t tide__store_start(const struct tide__store *store, uint32_t id)
{
    return tide__store_slab(store, id)->partition->start_ms;
}

/* Whether a chunk of the partition may be added: not if that made too many partitions, nor when no
 * slab number is left, which tide__store_add() could not tell from a lack of memory. */
bool tide__store_accepts(const struct tide__store *store, int64_t start_ms);
/* Room for a chunk with bytes after its header, in the partition that starts at start_ms. The
 * header's bytes, count and older are set; the caller fills the rest at once. Errors:
 * TIDE_ERR_NO_MEMORY, also when all slab numbers are in use (32 GiB). */
TIDE_CHECK_RESULT enum tide_err tide__store_add(struct tide__store *store, int64_t start_ms,
                                                size_t bytes, uint32_t count, uint32_t older,
                                                uint32_t *id);

/* Drops the partitions that start before cut_ms: their chunks are gone at once, the memory of their
 * slabs goes to *slabs, an array of *count blocks for the caller to free. Errors:
 * TIDE_ERR_NO_MEMORY, nothing is dropped. */
TIDE_CHECK_RESULT enum tide_err tide__store_drop(struct tide__store *store, int64_t cut_ms,
                                                 void ***slabs, size_t *count);
/* All dead numbers may be used again: the caller has cut the chains that mentioned them. */
void tide__store_revive(struct tide__store *store);
void tide__store_deinit(struct tide__store *store);

#endif
