/* Late samples: older than the newest sample of their series. A few stand sorted in a buffer; more
 * are compressed into late chunks, which may overlap the others of the series but never repeat a
 * timestamp. Only series that have some are in the table. */
#ifndef TIDE_HEAD_LATE_PRIVATE_H
#define TIDE_HEAD_LATE_PRIVATE_H

#include "tide/chunk/chunk.h"
#include "tide/model/sample.h"

/* Samples in a series' buffer, from which on it is compressed. */
#define TIDE__LATE_BUFFER_MAX 32u
/* Late chunks of one series and partition that overlap the one before, at most: over it all of them
 * are merged. Bounds what a read has to decode for nothing. */
#define TIDE__LATE_OVERLAPS_MAX 8u

struct tide__late_chunk {
    int64_t start_ms; /* Of the partition. */
    uint32_t first;   /* Offsets of the first and last sample. */
    uint32_t last;
    uint32_t count;
    uint32_t bytes;
    uint8_t data[]; /* A timed stream, then TIDE_CHUNK_PAD bytes. */
};

struct tide__late {
    uint32_t ref;
    uint32_t count;
    uint32_t capacity;
    struct tide_sample *samples;      /* By rising time. */
    struct tide__late_chunk **chunks; /* By rising partition, then first. */
    size_t chunk_count;
    size_t chunk_capacity;
    /* The series has no sample in chunks that are not late between these two, both excluded. Saves
     * the search for each sample of a backfill. */
    int64_t gap_low_ms;
    int64_t gap_high_ms;
};

/* Zero-initialised is empty. */
struct tide__late_table {
    struct tide__late **slots; /* Hash table by reference. */
    size_t slot_count;
    size_t count;
    uint64_t bytes;
    uint64_t samples;
    uint64_t chunks;
};

struct tide__late *tide__late_find(const struct tide__late_table *table, uint32_t ref);
/* The same, made if there is none. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__late_get(struct tide__late_table *table, uint32_t ref,
                                               struct tide__late **out);
/* Removes an entry and frees it; its chunks are gone already. */
void tide__late_remove(struct tide__late_table *table, struct tide__late *late);
/* Index of the first buffered sample that is not before ts_ms. */
uint32_t tide__late_at(const struct tide__late *late, int64_t ts_ms);
/* Index of the first chunk of the partition or a later one. */
size_t tide__late_chunk_at(const struct tide__late *late, int64_t start_ms);
/* Encodes samples (rising, of one partition) as a chunk. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__late_encode(struct tide_segments *segments, int64_t start_ms,
                                                  const struct tide_sample *samples, size_t count,
                                                  struct tide__late_chunk **out);
/* Appends a chunk to the array and counts it. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__late_add_chunk(struct tide__late_table *table,
                                                     struct tide__late *late,
                                                     struct tide__late_chunk *chunk);
size_t tide__late_chunk_bytes(const struct tide__late_chunk *chunk);
/* Sorts by rising time. */
void tide__late_sort(struct tide_sample *samples, size_t count);
void tide__late_deinit(struct tide__late_table *table);

#endif
