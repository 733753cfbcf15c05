/* Native histograms: exponential buckets (schema -4 to 8) and custom buckets (schema -53), float or
 * integer on the wire, float in memory. Source: Prometheus documentation, "Native Histograms"
 * specification; prompb/types.proto (Histogram). */
#ifndef TIDE_MODEL_HISTOGRAM_H
#define TIDE_MODEL_HISTOGRAM_H

#include "tide/base/slice.h"

#define TIDE_HISTOGRAM_SCHEMA_MIN (-4)
#define TIDE_HISTOGRAM_SCHEMA_MAX 8
#define TIDE_HISTOGRAM_SCHEMA_CUSTOM (-53)
/* Buckets of one histogram, positive and negative together, gaps of spans not counted. */
#define TIDE_HISTOGRAM_BUCKETS_MAX 10000u
/* Integers of up to this size are exact in a double. */
#define TIDE_HISTOGRAM_INTEGER_MAX (UINT64_C(1) << 53)

enum tide_counter_reset {
    TIDE_RESET_UNKNOWN,
    TIDE_RESET_YES,
    TIDE_RESET_NO,
    TIDE_RESET_GAUGE /* A gauge histogram: resets mean nothing. */
};

struct tide_span {
    int32_t offset; /* The first: index of its first bucket. Later ones: buckets skipped since the
                       one before. */
    uint32_t length;
};

/* One histogram. Arrays are borrowed: they live where the histogram was made. */
struct tide_histogram {
    enum tide_counter_reset reset;
    int32_t schema;
    double zero_threshold;
    double zero_count;
    double count;
    double sum; /* TIDE_STALE_BITS: a stale marker; nothing else then means anything. */
    const struct tide_span *positive_spans;
    const struct tide_span *negative_spans;
    uint32_t positive_span_count;
    uint32_t negative_span_count;
    const double *positive; /* Absolute bucket counts, one for each bucket of the spans. */
    const double *negative;
    uint32_t positive_count;
    uint32_t negative_count;
    const double *custom_values; /* Schema CUSTOM: rising upper bounds without +Inf. */
    uint32_t custom_count;
};

/* Checks what a sender may have got wrong: schema, span and bucket counts that agree, bucket
 * indexes in [-2^30, 2^30], bounds that rise, counts that are not negative. That the buckets add up
 * to count is checked where it is defined, for integers: tide_write_histogram(). Errors:
 * TIDE_ERR_INVALID, diag says what. */
TIDE_CHECK_RESULT enum tide_err tide_histogram_check(const struct tide_histogram *h,
                                                     struct tide_diag *diag);
/* Same bits in all that means something. */
bool tide_histogram_eq(const struct tide_histogram *a, const struct tide_histogram *b);
bool tide_histogram_is_stale(const struct tide_histogram *h);
/* Whether the bits are those of an integer from 0 to TIDE_HISTOGRAM_INTEGER_MAX; -0 is none. */
bool tide_histogram_is_integer(double count);
/* Upper bound of the positive bucket with this index; its lower one is that of index - 1. Of
 * negative buckets the same with the sign turned. CUSTOM: index -1 to custom_count. The bucket that
 * holds the largest finite numbers ends with the largest of them. Source: as above, "Schema". */
double tide_histogram_bound(const struct tide_histogram *h, int64_t index);

/* The stored form: compact, self-delimiting, one byte sequence for equal histograms. Layout:
 * docs/format/histogram.md. */
void tide_histogram_encode(const struct tide_histogram *h, struct tide_buf *out);
/* Arrays are made in arena; NULL: the bytes are checked and stepped over, and the arrays of *out
 * are not set. Never trusts a byte: what it answers passes tide_histogram_check(), but for the sign
 * of counts. Errors: TIDE_ERR_CORRUPT, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err
tide_histogram_decode(struct tide_reader *r, struct tide_arena *arena, struct tide_histogram *out);
/* Its first part only, which many histograms share: schema, zero threshold, spans, custom values.
 * Not for stale markers. Decoding sets the bucket counts, too, and the counts to zero. */
void tide_histogram_encode_layout(const struct tide_histogram *h, struct tide_buf *out);
TIDE_CHECK_RESULT enum tide_err tide_histogram_decode_layout(struct tide_reader *r,
                                                             struct tide_arena *arena,
                                                             struct tide_histogram *out);
/* Copies h and its arrays into arena. */
TIDE_CHECK_RESULT enum tide_err tide_histogram_copy(struct tide_arena *arena,
                                                    const struct tide_histogram *h,
                                                    struct tide_histogram *out);

#endif
