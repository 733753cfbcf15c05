/* Remote read: requests decoded, and the pieces of answers. Source: Prometheus' prompb/remote.proto
 * and types.proto; the chunk format of its tsdb ("XOR", Gorilla). */
#ifndef TIDE_MODEL_REMOTE_READ_H
#define TIDE_MODEL_REMOTE_READ_H

#include "tide/model/matcher.h"
#include "tide/model/sample.h"

#define TIDE_READ_QUERIES_MAX 64
#define TIDE_READ_MATCHERS_MAX 256 /* Of one query. */

/* One query; an empty range (start after end) is allowed. Hints are not read. */
struct tide_read_query {
    int64_t start_ms; /* Both inclusive; within a quarter of the range of int64. */
    int64_t end_ms;
    struct tide_matcher *matchers;
    size_t matcher_count;
};

struct tide_read_request {
    struct tide_read_query *queries;
    size_t query_count;
    bool streamed; /* STREAMED_XOR_CHUNKS is what the client would rather have; else SAMPLES. */
};

/* Decodes an uncompressed ReadRequest into arena.
 * Errors: TIDE_ERR_INVALID (diag says what is wrong, also when there are more queries or matchers
 * than the bounds above, or when no accepted response type is known), TIDE_ERR_NO_MEMORY. On
 * success the caller calls tide_read_request_release() before the arena goes; after a failure
 * there is nothing to release. */
TIDE_CHECK_RESULT enum tide_err tide_read_request_parse(struct tide_slice body,
                                                        struct tide_arena *arena,
                                                        struct tide_read_request *out,
                                                        struct tide_diag *diag);
void tide_read_request_release(struct tide_read_request *request); /* Twice is allowed. */

/* Most samples of one chunk: what Prometheus makes, and what its readers expect. */
#define TIDE_XOR_CHUNK_SAMPLES_MAX 120

/* Appends count samples, 1 to TIDE_XOR_CHUNK_SAMPLES_MAX with rising times, as one chunk of
 * encoding XOR. At most 2 + 20 * count bytes. Check tide_buf_ok() after. */
void tide_xor_chunk_encode(const int64_t *times_ms, const double *values, size_t count,
                           struct tide_buf *out);

/* Appends one frame of a streamed answer: length, checksum, and a ChunkedReadResponse of one
 * series of query query_index with all samples given. Check tide_buf_ok() after.
 * chunks  Scratch: emptied at the start. */
void tide_read_frame(struct tide_labels labels, const int64_t *times_ms, const double *values,
                     size_t count, size_t query_index, struct tide_buf *chunks,
                     struct tide_buf *out);

#endif
