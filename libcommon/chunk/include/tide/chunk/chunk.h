/* Chunks: runs of one series' samples as bits. Two encodings: values only (the timestamps stand in
 * a column that many series share) and timed (each sample's timestamp before its value).
 * Layout: docs/format/chunk.md. Source: Pelkonen et al., Gorilla, VLDB 2015, section 4.1, with the
 * bits in rising order of significance so that one unaligned load serves a little-endian machine.
 */
#ifndef TIDE_CHUNK_CHUNK_H
#define TIDE_CHUNK_CHUNK_H

#include "tide/chunk/segment.h"

/* Bytes after a chunk that decoders may read (and ignore). */
#define TIDE_CHUNK_PAD 16
/* Samples of a chunk, at most. */
#define TIDE_CHUNK_SAMPLES_MAX 2048u
/* Bytes of an encoded chunk of n samples, at most: 4 + 8 for the first sample; 36 bits of time and
 * 77 of value for each other one. */
#define TIDE_CHUNK_BYTES_MAX(n) (16u + (n)*113u / 8u)

/* The end of a chunk that is being written. Zero-initialised is empty. The stream stands in a chain
 * of segments, its last bits, fewer than 32, in acc. */
struct tide_chunk_open {
    uint64_t last; /* Bits of the newest value. */
    uint32_t acc;
    uint32_t head; /* First segment. 0: the chunk is empty. */
    uint32_t tail;
    uint8_t fill;  /* High 3 bits: words in the tail segment. Low 5: bits in acc. */
    uint8_t lead;  /* The XOR window: leading zeros, */
    uint8_t width; /* and meaningful bits; 0: no window yet. */
    uint8_t owner; /* Free for the owner of the chunk, since it fills the hole. */
};
_Static_assert(sizeof(struct tide_chunk_open) == 24, "it is most of the head's hot record");

/* What a timed chunk remembers more. Offsets are milliseconds from a base that the owner knows;
 * they rise strictly. */
struct tide_chunk_clock {
    uint32_t last;
    uint32_t delta;
};

/* Appends a value. Errors: TIDE_ERR_NO_MEMORY, the chunk is unusable. */
TIDE_CHECK_RESULT enum tide_err tide_chunk_append(struct tide_segments *pool,
                                                  struct tide_chunk_open *chunk, uint64_t bits);
/* Appends a sample of a timed chunk; offset is greater than that of the one before. */
TIDE_CHECK_RESULT enum tide_err tide_chunk_append_timed(struct tide_segments *pool,
                                                        struct tide_chunk_open *chunk,
                                                        struct tide_chunk_clock *clock,
                                                        uint32_t offset, uint64_t bits);
/* Bytes of the stream, whole bytes. */
size_t tide_chunk_bytes(const struct tide_segments *pool, const struct tide_chunk_open *chunk);
/* Copies the stream to out, which has room for bytes_max: tide_chunk_bytes(), or what
 * TIDE_CHUNK_BYTES_MAX says for the samples in it. Answers how many bytes. */
size_t tide_chunk_copy(const struct tide_segments *pool, const struct tide_chunk_open *chunk,
                       uint8_t *out, size_t bytes_max);
/* Gives the segments back; the chunk is empty after it (owner is kept). */
void tide_chunk_drop(struct tide_segments *pool, struct tide_chunk_open *chunk);
/* Bits of the stream; tide_chunk_bytes() rounds them up. */
size_t tide_chunk_bits(const struct tide_segments *pool, const struct tide_chunk_open *chunk);
/* The reverse of tide_chunk_copy(): an open chunk whose stream is the first bit_count bits of
 * bytes, to go on with appends. chunk has last, lead and width (and owner) set. The stream is not
 * decoded: if it does not fit them, reading it later ends in TIDE_ERR_CORRUPT or other values.
 * Errors: TIDE_ERR_CORRUPT (a window that cannot be, fewer than 64 bits, sizes that disagree),
 * TIDE_ERR_NO_MEMORY; the chunk is empty then. */
TIDE_CHECK_RESULT enum tide_err tide_chunk_load(struct tide_segments *pool, struct tide_slice bytes,
                                                size_t bit_count, struct tide_chunk_open *chunk);

/* Decodes the first n values, n > 0, of a values-only chunk. bytes is followed by TIDE_CHUNK_PAD
 * readable bytes whose content does not matter. Any bytes are safe.
 * Errors: TIDE_ERR_CORRUPT: the stream ends too early or is none; values is scratch then. */
TIDE_CHECK_RESULT enum tide_err tide_chunk_decode(struct tide_slice bytes, size_t n,
                                                  double *values);
/* The same for a timed chunk; times are base_ms plus the offsets and rise strictly.
 * base_ms + UINT32_MAX does not overflow. */
TIDE_CHECK_RESULT enum tide_err tide_chunk_decode_timed(struct tide_slice bytes, size_t n,
                                                        int64_t base_ms, int64_t *times,
                                                        double *values);

#endif
