/* Samples, exemplars and metric metadata. */
#ifndef TIDE_MODEL_SAMPLE_H
#define TIDE_MODEL_SAMPLE_H

#include "tide/model/labels.h"

/* The NaN that marks a series as stale. Values are kept and moved as bits, since a signalling NaN
 * may not survive a float register; source: Prometheus model/value/value.go. */
#define TIDE_STALE_BITS 0x7ff0000000000002ULL
/* The NaN that arithmetic makes. */
#define TIDE_NAN_BITS 0x7ff8000000000001ULL

static inline uint64_t tide_value_bits(double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof(bits));
    return bits;
}
static inline double tide_value(uint64_t bits)
{
    double v;
    memcpy(&v, &bits, sizeof(v));
    return v;
}
static inline bool tide_value_is_stale(double v)
{
    return tide_value_bits(v) == TIDE_STALE_BITS;
}

struct tide_sample {
    int64_t ts_ms;
    uint64_t bits; /* float64 bits. */
};

struct tide_exemplar {
    struct tide_labels labels; /* In the sender's order sorted by name; may be empty. */
    int64_t ts_ms;
    uint64_t bits;
};

enum tide_metric_kind {
    TIDE_KIND_UNKNOWN,
    TIDE_KIND_COUNTER,
    TIDE_KIND_GAUGE,
    TIDE_KIND_HISTOGRAM,
    TIDE_KIND_GAUGE_HISTOGRAM,
    TIDE_KIND_SUMMARY,
    TIDE_KIND_INFO,
    TIDE_KIND_STATESET,
    TIDE_KIND_COUNT
};
/* "counter", "gaugehistogram", …: the type strings of the Prometheus metadata API. */
const char *tide_metric_kind_text(enum tide_metric_kind kind);

struct tide_metadata {
    struct tide_slice metric; /* Family name. */
    enum tide_metric_kind kind;
    struct tide_slice help;
    struct tide_slice unit;
};

#endif
