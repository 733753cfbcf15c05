/* What a distributor sends to a shard: one push, which is also an item of the shard's log. Columns
 * of (reference, timestamp, value or native histogram) with labels only for series the sender has
 * no reference for. Layout: docs/format/push.md. */
#ifndef TIDE_MODEL_PUSH_H
#define TIDE_MODEL_PUSH_H

#include "tide/model/histogram.h"
#include "tide/model/sample.h"

/* References are 31 bits. A reference column entry with this bit set is an index into the push's
 * new series. */
#define TIDE_PUSH_NEW 0x80000000u
/* Encoded bytes of one push, at most: it must fit a log entry and a frame. */
#define TIDE_PUSH_BYTES_MAX (32u << 20)
/* Memory that decoding one push takes, at most. Short labels and metadata take many times the bytes
 * they are encoded in, and a shard that cannot decode what its log holds can never start again. */
#define TIDE_PUSH_DECODED_BYTES_MAX ((size_t)128 << 20)

/* Encoder: collects the parts, then writes them once. Zero-initialised is empty; reused between
 * pushes by tide_push_builder_reset(). One thread. */
struct tide_push_builder {
    struct tide_buf series; /* Packed: identity hi, lo, then the labels, for each new series. */
    uint32_t series_count;
    struct tide_buf refs;   /* uint32_t[sample_count], host order until encoded. */
    struct tide_buf times;  /* int64_t[sample_count] */
    struct tide_buf values; /* uint64_t[sample_count] */
    uint32_t sample_count;
    struct tide_buf histogram_refs;  /* uint32_t[histogram_count] */
    struct tide_buf histogram_times; /* int64_t[histogram_count] */
    struct tide_buf histograms;      /* Encoded, one after the other. */
    uint32_t histogram_count;
    struct tide_buf exemplars; /* Packed. */
    uint32_t exemplar_count;
    struct tide_buf metadata; /* Packed. */
    uint32_t metadata_count;
    size_t decoded_bytes; /* What decoding takes, beside the columns of samples. */
};

/* Adds a series without a reference; the result | TIDE_PUSH_NEW is what its samples use. */
uint32_t tide_push_add_series(struct tide_push_builder *b, struct tide_hash128 identity,
                              struct tide_labels labels);
void tide_push_add_sample(struct tide_push_builder *b, uint32_t ref, int64_t ts_ms, uint64_t bits);
void tide_push_add_histogram(struct tide_push_builder *b, uint32_t ref, int64_t ts_ms,
                             const struct tide_histogram *h);
void tide_push_add_exemplar(struct tide_push_builder *b, uint32_t ref,
                            const struct tide_exemplar *e);
void tide_push_add_metadata(struct tide_push_builder *b, const struct tide_metadata *m);
bool tide_push_builder_empty(const struct tide_push_builder *b);
/* False: over one of the two bounds above, tide_push_encode() will refuse it. Who adds on behalf of
 * a stranger asks after each addition: a few bytes of a remote_write 2.0 body may stand for many.
 */
bool tide_push_builder_fits(const struct tide_push_builder *b);
void tide_push_builder_reset(struct tide_push_builder *b); /* Keeps the memory. */
void tide_push_builder_deinit(struct tide_push_builder *b);
/* Appends the encoded push, CRC not included (the log has its own).
 * now_ms is the sender's wall clock, which travels in the push so that applying it is
 * deterministic. Errors: TIDE_ERR_NO_MEMORY (also if an add failed), TIDE_ERR_TOO_LARGE: over a
 * bound above. */
TIDE_CHECK_RESULT enum tide_err tide_push_encode(const struct tide_push_builder *b,
                                                 struct tide_slice tenant, int64_t now_ms,
                                                 struct tide_buf *out);

struct tide_push_series {
    struct tide_hash128 identity;
    struct tide_labels labels;
};
struct tide_push_exemplar {
    uint32_t ref; /* As in the reference column. */
    struct tide_exemplar exemplar;
};

/* A decoded push. Slices borrow from the bytes; arrays are in the arena. */
struct tide_push {
    struct tide_slice tenant;
    int64_t now_ms;
    const struct tide_push_series *series;
    uint32_t series_count;
    const uint32_t *refs; /* sample_count of each of the three columns. */
    const int64_t *times_ms;
    const uint64_t *bits;
    uint32_t sample_count;
    const uint32_t *histogram_refs; /* histogram_count of each of the three columns. */
    const int64_t *histogram_times_ms;
    const struct tide_slice *histograms; /* Each decodes with tide_histogram_decode(). */
    uint32_t histogram_count;
    const struct tide_push_exemplar *exemplars;
    uint32_t exemplar_count;
    const struct tide_metadata *metadata;
    uint32_t metadata_count;
};

/* Errors: TIDE_ERR_CORRUPT (bounds, unsorted labels, a new index past series_count, bytes left
 * over), TIDE_ERR_NO_MEMORY. An arena that may hold 2 * TIDE_PUSH_DECODED_BYTES_MAX is enough for
 * what tide_push_encode() made, the ends of its chunks included. */
TIDE_CHECK_RESULT enum tide_err tide_push_decode(struct tide_slice bytes, struct tide_arena *arena,
                                                 struct tide_push *out);

/* ---- Where pushes go ---- */

/* Why one sample was refused. */
struct tide_push_reject {
    uint32_t index; /* Of the sample in the push; native histograms are counted after the samples,
                       from sample_count on. */
    enum tide_err why; /* DUPLICATE_TIMESTAMP, TOO_OLD, TOO_NEW, LIMIT; NOT_FOUND: unknown
                          reference, send labels. */
};

/* The outcome of one push, valid during the callback. */
struct tide_push_result {
    enum tide_err err; /* TIDE_OK: applied, durable. Else nothing is known to be stored: the whole
                          push may be sent again. */
    const uint32_t *new_refs; /* The reference given to each new series, series_count of them.
                                 TIDE_PUSH_NEW: refused (limit). */
    uint32_t new_ref_count;
    const struct tide_push_reject *rejects; /* In rising index. */
    uint32_t reject_count;
    uint32_t exemplar_reject_count;
};
typedef void (*tide_push_done)(void *context, const struct tide_push_result *result);

/* A sink of pushes: the shards of this process, or of others by RPC. */
struct tide_push_sink {
    void *context;
    uint32_t shard_count;
    /* Takes over bytes (tide_buf is moved). done is called exactly once, from any thread, perhaps
     * before this returns. Bounded: over the bound it is done with TIDE_ERR_UNAVAILABLE. */
    void (*push)(void *context, uint32_t shard, struct tide_buf *bytes, tide_push_done done,
                 void *done_context);
};

#endif
