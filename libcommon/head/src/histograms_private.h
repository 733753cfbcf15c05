/* Native histograms of a head, beside the float samples: chunks of at most HISTOGRAM_SAMPLES, in
 * time order and apart from each other, each within one time partition. The last one of a series is
 * open. Only series that have some are in the table; a series may have floats too, but never both
 * at one timestamp. */
#ifndef TIDE_HEAD_HISTOGRAMS_PRIVATE_H
#define TIDE_HEAD_HISTOGRAMS_PRIVATE_H

#include "tide/chunk/histogram_chunk.h"

/* Samples of a chunk, and bytes from which on it is sealed before it has so many. */
#define TIDE__HISTOGRAM_SAMPLES 120u
#define TIDE__HISTOGRAM_BYTES 65536u
#define TIDE__HISTOGRAM_PAGE 64u

struct tide__histogram_chunk {
    int64_t first_ms;
    int64_t last_ms;
    uint64_t decoded_bytes;
    uint32_t count;
    uint32_t bytes;
    uint8_t data[];
};

/* The histograms of one series. It has an open chunk with samples, always. */
struct tide__histograms {
    struct tide__histogram_chunk **chunks; /* Sealed, by rising time. */
    size_t count;
    size_t capacity;
    struct tide_histogram_chunk open;
};

struct tide__histogram_page {
    uint32_t used;
    struct tide__histograms *items[TIDE__HISTOGRAM_PAGE];
};

/* By reference, in pages: references count up from 0, and series with histograms stand together.
 * Zero-initialised is empty. */
struct tide__histogram_table {
    struct tide__histogram_page **pages;
    size_t page_count;
    uint64_t series;
    uint64_t samples;
    uint64_t chunks; /* Sealed. */
    uint64_t bytes;
    struct tide_arena *arena; /* Of the writer: one histogram or chunk at a time. */
};

static inline struct tide__histograms *
tide__histograms_find(const struct tide__histogram_table *table, uint32_t ref)
{
    size_t page = ref / TIDE__HISTOGRAM_PAGE;

    if (page >= table->page_count || table->pages[page] == NULL)
        return NULL;
    return table->pages[page]->items[ref % TIDE__HISTOGRAM_PAGE];
}

static inline struct tide_slice tide__histogram_stream(const struct tide__histogram_chunk *chunk)
{
    return (struct tide_slice){chunk->data, chunk->bytes};
}

/* The writer's arena, empty. NULL: no memory. */
struct tide_arena *tide__histogram_arena(struct tide__histogram_table *table);
/* The same as find, made if there is none. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__histograms_get(struct tide__histogram_table *table,
                                                     uint32_t ref, struct tide__histograms **out);
/* Removes an entry without sealed chunks, and its open chunk with it. */
void tide__histograms_remove(struct tide__histogram_table *table, uint32_t ref);
/* A sealed chunk of what an open one holds; NULL: no memory. */
struct tide__histogram_chunk *tide__histogram_chunk_new(const struct tide_histogram_chunk *open);
/* Puts a sealed chunk at this place. Errors: TIDE_ERR_NO_MEMORY, the chunk is still the caller's.
 */
TIDE_CHECK_RESULT enum tide_err tide__histograms_insert(struct tide__histogram_table *table,
                                                        struct tide__histograms *series, size_t at,
                                                        struct tide__histogram_chunk *chunk);
/* Takes count sealed chunks out; the caller frees them, and has their pointers. */
void tide__histograms_take(struct tide__histogram_table *table, struct tide__histograms *series,
                           size_t at, size_t count);
/* Replaces the open chunk by another one, which is taken over and emptied. */
void tide__histograms_set_open(struct tide__histogram_table *table, struct tide__histograms *series,
                               struct tide_histogram_chunk *open);
/* Seals the open chunk. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__histograms_seal(struct tide__histogram_table *table,
                                                      struct tide__histograms *series);
/* Appends to the open chunk, which is sealed before if it has enough. Errors: TIDE_ERR_NO_MEMORY.
 */
TIDE_CHECK_RESULT enum tide_err tide__histograms_add(struct tide__histogram_table *table,
                                                     struct tide__histograms *series, int64_t ts_ms,
                                                     const struct tide_histogram *h);
void tide__histograms_deinit(struct tide__histogram_table *table);

#endif
