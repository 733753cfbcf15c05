/* Metrics about ourselves, exposed in the Prometheus text format on /metrics. */
#ifndef TIDE_BASE_METRICS_H
#define TIDE_BASE_METRICS_H

#include "tide/base/slice.h"

#include <stdatomic.h>

/* A metric is a static object of its module, registered on first use; all live as long as the
 * process. Names: tide_<component>_<what>_<unit>, counters end in _total. labels is "" or the text
 * between the braces, `outcome="ok"`. Threads: any. */
enum tide_metric_type { TIDE_METRIC_COUNTER, TIDE_METRIC_GAUGE, TIDE_METRIC_HISTOGRAM };

#define TIDE_METRIC_BUCKETS_MAX 20

struct tide_metric {
    const char *name;
    const char *labels;
    const char *help;
    enum tide_metric_type type;
    const double *bounds; /* Histograms: rising upper bounds, without +Inf; bound_count of them. */
    int bound_count;
    /* Relaxed: statistics, they order nothing. A gauge or counter is value; histograms use all. */
    _Atomic int64_t value;
    _Atomic int64_t buckets[TIDE_METRIC_BUCKETS_MAX + 1];
    _Atomic uint64_t sum_bits; /* float64 bits of the sum of what was observed. */
    struct tide_metric *next;
    atomic_bool registered;
};

#define TIDE_COUNTER(var, name_, labels_, help_)                                                   \
    static struct tide_metric var = {                                                              \
        .name = (name_), .labels = (labels_), .help = (help_), .type = TIDE_METRIC_COUNTER}
#define TIDE_GAUGE(var, name_, labels_, help_)                                                     \
    static struct tide_metric var = {                                                              \
        .name = (name_), .labels = (labels_), .help = (help_), .type = TIDE_METRIC_GAUGE}
/* In seconds: 100 us to about 100 s. */
#define TIDE_HISTOGRAM_SECONDS(var, name_, labels_, help_)                                         \
    static struct tide_metric var = {.name = (name_),                                              \
                                     .labels = (labels_),                                          \
                                     .help = (help_),                                              \
                                     .type = TIDE_METRIC_HISTOGRAM,                                \
                                     .bounds = tide_metric_seconds,                                \
                                     .bound_count = TIDE_METRIC_SECONDS_COUNT}
#define TIDE_METRIC_SECONDS_COUNT 16
extern const double tide_metric_seconds[TIDE_METRIC_SECONDS_COUNT];

/* Registers so that it is exposed with value 0 before its first event. Idempotent. */
void tide_metric_register(struct tide_metric *metric);
void tide_metric_add(struct tide_metric *metric, int64_t delta);
void tide_metric_set(struct tide_metric *metric, int64_t value);
void tide_metric_observe(struct tide_metric *metric, double value);

/* For values that are read when asked for (memory, head sizes): called at each exposition and
 * prints with tide_metrics_sample(). At most 32 collectors. */
typedef void (*tide_metrics_collector)(void *context, struct tide_buf *out);
void tide_metrics_collector_add(tide_metrics_collector collector, void *context);
void tide_metrics_collector_remove(tide_metrics_collector collector, void *context);
/* One family: "# HELP" and "# TYPE" lines; then tide_metrics_sample() for each label set. */
void tide_metrics_family(struct tide_buf *out, const char *name, const char *type,
                         const char *help);
void tide_metrics_sample(struct tide_buf *out, const char *name, const char *labels, double value);

/* Appends the whole exposition, families together, with the process_* and build metrics. */
void tide_metrics_write(struct tide_buf *out);

#endif
