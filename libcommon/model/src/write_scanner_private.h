/* The remote_write scanner's state, shared by its two halves: write_request.c walks the body,
 * write_labels.c reads labels, exemplars and metadata out of one record. */
#ifndef TIDE_MODEL_WRITE_SCANNER_PRIVATE_H
#define TIDE_MODEL_WRITE_SCANNER_PRIVATE_H

#include "tide/model/write_request.h"
#include "wire_private.h"

/* Fields of prometheus.TimeSeries (1.0) and io.prometheus.write.v2.TimeSeries (2.0). */
enum {
    V1_SERIES_LABELS = 1,
    V1_SERIES_SAMPLES = 2,
    V1_SERIES_EXEMPLARS = 3,
    V1_SERIES_HISTOGRAMS = 4,
    V2_SERIES_LABELS_REFS = 1,
    V2_SERIES_SAMPLES = 2,
    V2_SERIES_HISTOGRAMS = 3,
    V2_SERIES_EXEMPLARS = 4,
    V2_SERIES_METADATA = 5,
    V2_SERIES_CREATED = 6
};

/* Longest exemplar label set, in characters of all names and values together. Source: OpenMetrics
 * 1.0, "Exemplars"; Prometheus refuses longer ones too. */
#define EXEMPLAR_CHARS_MAX 128

/* One entry of the 2.0 symbol table. Bodies are under 4 GiB. */
struct write_symbol {
    const uint8_t *ptr;
    uint32_t len;
    bool is_utf8;
};

/* References of one 2.0 label list. Only as many are kept as a label set may have, so that a
 * hostile list costs no memory. */
struct write_refs {
    uint32_t *refs;
    size_t capacity;
    size_t kept;
    size_t count; /* All that stood there. */
};

/* Where the record after the last one asked for stands, so that reading all is linear. */
struct write_cursor {
    const uint8_t *message;
    const uint8_t *at;
    size_t next;
};

/* Room for the arrays of one histogram: write_histogram.c. */
struct write_histogram;

struct tide_write_scanner {
    struct tide_write_limits limits;
    enum tide_write_version version;
    struct tide_slice body;
    struct wire wire; /* The top level of the body. */
    uint32_t series_index;
    uint32_t metadata_index;
    size_t sample_total; /* In the body so far. */

    struct tide_sample *samples; /* Of the item just read. */
    size_t sample_capacity;
    struct tide_label *pairs; /* Its labels, once asked for. */
    size_t pair_capacity;
    struct tide_label *exemplar_pairs;
    size_t exemplar_pair_capacity;

    struct write_symbol *symbols;
    size_t symbol_capacity;
    size_t symbol_count;
    struct write_refs refs; /* Of the item just read. */
    struct write_refs exemplar_refs;
    const char *metadata_fault; /* 2.0: what is wrong with the item's metadata, or NULL. */

    struct write_cursor exemplar_cursor;
    struct write_cursor histogram_cursor;
    struct write_histogram *histogram; /* Made when the first one is asked for. */
};

/* Record k of those with the tag wanted in the item's message, which has more than k. */
struct tide_slice tide__write_record(struct write_cursor *cursor,
                                     const struct tide_write_item *item, uint32_t wanted, size_t k);
void tide__write_histogram_free(struct write_histogram *room); /* NULL is allowed. */
/* Adds the reference or references of one labels_refs field, packed or not. */
bool tide__write_refs_add(struct wire *w, uint32_t tag, struct write_refs *refs, size_t keep_max,
                          enum tide_err *err);
/* MetricMetadata of a 1.0 body. *why is what is wrong with its content, NULL when nothing is. */
bool tide__write_metadata_v1(const struct tide_write_limits *limits, struct wire *w,
                             struct tide_metadata *out, const char **why);
/* Metadata of a 2.0 series, merged into out; faults of content go to scanner->metadata_fault. */
bool tide__write_metadata_v2(struct tide_write_scanner *scanner, struct wire *w,
                             struct tide_metadata *out);
/* The metric family that a 2.0 series with metadata belongs to, from its references. */
struct tide_slice tide__write_family_v2(const struct tide_write_scanner *scanner,
                                        enum tide_metric_kind kind);

#endif
