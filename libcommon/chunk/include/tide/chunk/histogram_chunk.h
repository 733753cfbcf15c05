/* Chunks of native histograms: runs of one series' histogram samples as bytes. What many histograms
 * share (schema, spans, bounds) is said once and again when it changes; counts are differences to
 * the sample before. Layout: docs/format/histogram.md. */
#ifndef TIDE_CHUNK_HISTOGRAM_CHUNK_H
#define TIDE_CHUNK_HISTOGRAM_CHUNK_H

#include "tide/model/histogram.h"

/* A chunk that is appended to. Zero-initialised is empty. Owns its memory. */
struct tide_histogram_chunk {
    struct tide_buf stream;
    uint32_t count;
    int64_t first_ms;
    int64_t last_ms;
    /* For the next sample: */
    int64_t delta_ms;
    uint64_t sum_bits;
    struct tide_buf layout; /* Encoded; empty: there was none yet. */
    double *counts;         /* Of the last sample with that layout. */
    size_t count_capacity;
    bool integers; /* What they all are. */
    /* Bytes that decoding takes, at most. */
    uint64_t decoded_bytes;
};

void tide_histogram_chunk_deinit(struct tide_histogram_chunk *chunk);
/* Appends a sample that is after the last one. Errors: TIDE_ERR_NO_MEMORY, the chunk is unusable.
 */
TIDE_CHECK_RESULT enum tide_err tide_histogram_chunk_append(struct tide_histogram_chunk *chunk,
                                                            int64_t ts_ms,
                                                            const struct tide_histogram *h);
/* Decodes the count samples of a stream: timestamps that rise strictly and histograms, whose arrays
 * are made in arena; both arrays have room. Never trusts a byte. Errors: TIDE_ERR_CORRUPT, also
 * when bytes are left over; TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_histogram_chunk_decode(struct tide_slice stream, size_t count,
                                                            struct tide_arena *arena,
                                                            int64_t *times_ms,
                                                            struct tide_histogram *out);

#endif
