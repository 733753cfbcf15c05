/* remote_write request bodies: a single-pass scanner over the protobuf wire bytes. Nothing is
 * copied; nothing but small reused scratch arrays is allocated. Source: Prometheus Remote-Write 1.0
 * and 2.0 specifications (prometheus.WriteRequest, io.prometheus.write.v2.Request). */
#ifndef TIDE_MODEL_WRITE_REQUEST_H
#define TIDE_MODEL_WRITE_REQUEST_H

#include "tide/model/histogram.h"
#include "tide/model/sample.h"

enum tide_write_version { TIDE_WRITE_V1, TIDE_WRITE_V2 };

struct tide_write_limits {
    size_t decoded_bytes_max;       /* Default 64 MiB. */
    uint32_t series_max;            /* In one body. */
    uint32_t labels_per_series_max; /* Default 64. */
    uint32_t label_name_bytes_max;  /* Default 1024. */
    uint32_t label_value_bytes_max; /* Default 4096. */
    uint32_t symbols_max;           /* 2.0: entries of the symbol table. */
    uint32_t samples_max;           /* In one body, native histograms included. */
};
extern const struct tide_write_limits tide_write_limits_default;

enum tide_write_encoding {
    TIDE_ENCODING_SNAPPY,
    TIDE_ENCODING_ZSTD,
    TIDE_ENCODING_GZIP,
    TIDE_ENCODING_IDENTITY
};

/* Decompresses a body into out (appended), never more than bytes_max: the size is checked before
 * memory is spent (Snappy, zstd frame header) and while it grows (gzip, zstd without size). Errors:
 * TIDE_ERR_INVALID (diag: what is broken), TIDE_ERR_TOO_LARGE, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_write_decompress(enum tide_write_encoding encoding,
                                                      struct tide_slice body, size_t bytes_max,
                                                      struct tide_buf *out, struct tide_diag *diag);

enum tide_write_item_kind { TIDE_WRITE_SERIES, TIDE_WRITE_METADATA };

/* One TimeSeries or metadata record. All borrowed until the next call. */
struct tide_write_item {
    enum tide_write_item_kind kind;
    uint32_t index; /* Of the series (or of the metadata record) in the body, for messages. */
    /* The label records as they stand on the wire when they are one run (V1), as a key for caches;
     * else empty. */
    struct tide_slice wire_labels;
    const struct tide_sample *samples;
    size_t sample_count;
    size_t exemplar_count;
    size_t histogram_count; /* Native histograms: tide_write_histogram(). */
    struct tide_metadata
        metadata; /* METADATA; V2: also with a series that carries any (has_metadata). */
    bool has_metadata;
    /* Private to the scanner: where the records of this series stand. */
    struct tide_slice message;
};

struct tide_write_scanner;

TIDE_CHECK_RESULT enum tide_err tide_write_scanner_new(const struct tide_write_limits *limits,
                                                       struct tide_write_scanner **out);
void tide_write_scanner_free(struct tide_write_scanner *scanner);
/* Starts on a decompressed body, borrowed until the next start. V2: reads the symbol table first.
 * Errors: TIDE_ERR_INVALID with position, TIDE_ERR_TOO_LARGE, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_write_scanner_start(struct tide_write_scanner *scanner,
                                                         enum tide_write_version version,
                                                         struct tide_slice body,
                                                         struct tide_diag *diag);
/* Next item, TIDE_END after the last. TIDE_ERR_INVALID: the body is malformed from here on (diag
 * says at which byte and in which series); the whole request is then refused. */
TIDE_CHECK_RESULT enum tide_err tide_write_next(struct tide_write_scanner *scanner,
                                                struct tide_write_item *out,
                                                struct tide_diag *diag);
/* The checked label set of the item just read: sorted, unique, non-empty names and values, valid
 * UTF-8, within the limits, with a metric name. Unsorted, repeated or empty: refused, as the
 * specifications say (empty values: refused). Errors: TIDE_ERR_INVALID: this series is bad, the
 * rest may be good. diag names the label. */
TIDE_CHECK_RESULT enum tide_err tide_write_labels(struct tide_write_scanner *scanner,
                                                  const struct tide_write_item *item,
                                                  struct tide_labels *out, struct tide_diag *diag);
/* Exemplar k of the item just read; its labels stay valid until the next call for an exemplar. */
TIDE_CHECK_RESULT enum tide_err tide_write_exemplar(struct tide_write_scanner *scanner,
                                                    const struct tide_write_item *item, size_t k,
                                                    struct tide_exemplar *out,
                                                    struct tide_diag *diag);
/* Native histogram k of the item just read, checked by tide_histogram_check(); its arrays stay
 * valid until the next call for a histogram. Integers come as floats; integer buckets must add up
 * to the count (be at most it when the sum is NaN). A stale marker has nothing but its sum. Errors:
 * TIDE_ERR_INVALID: this histogram is bad, the rest may be good; diag says what is wrong with it.
 */
TIDE_CHECK_RESULT enum tide_err tide_write_histogram(struct tide_write_scanner *scanner,
                                                     const struct tide_write_item *item, size_t k,
                                                     int64_t *ts_ms, struct tide_histogram *out,
                                                     struct tide_diag *diag);

#endif
