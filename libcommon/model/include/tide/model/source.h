/* A source of series: what the query engine and the series calls read from, be it the heads of this
 * process, blocks, or other nodes. */
#ifndef TIDE_MODEL_SOURCE_H
#define TIDE_MODEL_SOURCE_H

#include "tide/model/histogram.h"
#include "tide/model/matcher.h"
#include "tide/model/sample.h"

#include <stdatomic.h>

/* What all queries of a process may hold together. Threads: any. */
struct tide_query_budget {
    uint64_t memory_bytes_max; /* 0: none. */
    _Atomic uint64_t memory_bytes;
};

/* What bounds one query; shared by all that work for it. Threads: any. */
struct tide_query_limits {
    int64_t deadline_mono_ms;      /* tide_clock_mono_ms() after which TIDE_ERR_TIMEOUT; 0: none. */
    _Atomic bool canceled;         /* Set by whoever gives up on it. */
    uint64_t memory_bytes_max;     /* 0: none. */
    _Atomic uint64_t memory_bytes; /* Charged now. */
    _Atomic uint64_t memory_peak_bytes;
    struct tide_query_budget *budget; /* Charged too; NULL: none. */
    /* The charge that was refused last, and what all queries held then: for the bill. 0: none. */
    _Atomic uint64_t refused_bytes;
    _Atomic uint64_t refused_budget_bytes;
    uint64_t samples_max; /* Samples read over all; 0: none. */
    _Atomic uint64_t samples;
    uint64_t series_max; /* Series selected over all; 0: none. */
    _Atomic uint64_t series;
};

/* TIDE_OK, or TIDE_ERR_CANCELED or TIDE_ERR_TIMEOUT. Cheap: called once per batch. */
TIDE_CHECK_RESULT enum tide_err tide_query_check(const struct tide_query_limits *limits);
/* Charges bytes (negative gives back) to the query and its budget: TIDE_ERR_LIMIT with nothing
 * charged when either is over. NULL limits: TIDE_OK. */
TIDE_CHECK_RESULT enum tide_err tide_query_charge(struct tide_query_limits *limits, int64_t bytes);
TIDE_CHECK_RESULT enum tide_err tide_query_count_samples(struct tide_query_limits *limits,
                                                         uint64_t samples);
TIDE_CHECK_RESULT enum tide_err tide_query_count_series(struct tide_query_limits *limits,
                                                        uint64_t series);

/* The samples of a run of series in columns: rising timestamps, both bounds inclusive, stale
 * markers included. Series that were scraped together share one timestamp array: then times_ms is
 * the same pointer, so that work on timestamps is done once. Valid until the next read with the
 * same batch. */
struct tide_series_samples {
    const int64_t *times_ms;
    const double *values; /* Bits preserved. Where there is a histogram: 0. */
    /* NULL when all samples are floats; else one for each sample, NULL where it is a float. */
    const struct tide_histogram *const *histograms;
    size_t count;
};
struct tide_batch {
    struct tide_series_samples *series; /* One per series asked for. */
    size_t count;
    struct tide_arena *arena; /* Holds the columns; the reader resets it at each read. */
};

/* The series a selection matched; index 0 to count-1 in an order that is the same for the same
 * data. Threads: all calls may be made by several at once, with a batch each. */
struct tide_series_set;
struct tide_series_set_ops {
    /* Label set of series i. Slices and pairs live as long as the set, or in arena. */
    enum tide_err (*labels)(struct tide_series_set *set, size_t i, struct tide_arena *arena,
                            struct tide_labels *out);
    /* Value of one label of series i, empty when it has none; lives as long as the set. Fast: for
     * grouping. */
    struct tide_slice (*label)(struct tide_series_set *set, size_t i, struct tide_slice name);
    /* Reads the samples of series first … first+count-1 with mint <= ts <= maxt into batch. Counts
     * samples and checks the limits given to select. */
    enum tide_err (*read)(struct tide_series_set *set, size_t first, size_t count, int64_t mint_ms,
                          int64_t maxt_ms, struct tide_batch *batch);
    void (*free)(struct tide_series_set *set);
};
struct tide_series_set {
    const struct tide_series_set_ops *ops;
    size_t count;
};

struct tide_select {
    struct tide_slice tenant;
    const struct tide_matcher *matchers;
    size_t matcher_count;
    int64_t mint_ms; /* Series without any sample in [mint, maxt] may be left out. */
    int64_t maxt_ms;
    size_t limit; /* At most so many series, 0: all. */
};

/* Adds one string; answers false to stop. The slice is borrowed during the call. */
typedef bool (*tide_string_sink)(void *context, struct tide_slice text);

/* The exemplars of one series, in rising time. Answers false to stop. Borrowed during the call. */
typedef bool (*tide_exemplar_sink)(void *context, struct tide_labels series,
                                   const struct tide_exemplar *exemplars, size_t count);
typedef bool (*tide_metadata_sink)(void *context, const struct tide_metadata *metadata);

/* What status/tsdb counts: name and value are empty slices where they do not apply. */
enum tide_cardinality { TIDE_CARDINALITY_SERIES_BY_METRIC, TIDE_CARDINALITY_SERIES_BY_PAIR };
typedef bool (*tide_cardinality_sink)(void *context, struct tide_slice name,
                                      struct tide_slice value, uint64_t count);

/* What is held of one tenant. */
struct tide_source_stats {
    uint64_t series;
    uint64_t samples;
    uint64_t chunks;
    uint64_t label_pairs;
    int64_t min_ms, max_ms; /* INT64_MAX, INT64_MIN when there is nothing. */
};

struct tide_source {
    void *context;
    /* *out is the caller's, freed by its ops. The series are sorted by labels only if sorted is set
     * (series call). Errors: TIDE_ERR_LIMIT, TIDE_ERR_TIMEOUT, TIDE_ERR_CANCELED,
     * TIDE_ERR_NO_MEMORY, TIDE_ERR_UNAVAILABLE. */
    enum tide_err (*select)(void *context, const struct tide_select *select,
                            struct tide_query_limits *limits, struct tide_series_set **out,
                            struct tide_diag *diag);
    /* Distinct label names, or values of name, of the matching series (all when matcher_count is
     * 0), in any order, perhaps repeated: the caller sorts and merges. */
    enum tide_err (*label_names)(void *context, const struct tide_select *select,
                                 struct tide_query_limits *limits, tide_string_sink sink,
                                 void *sink_context, struct tide_diag *diag);
    enum tide_err (*label_values)(void *context, const struct tide_select *select,
                                  struct tide_slice name, struct tide_query_limits *limits,
                                  tide_string_sink sink, void *sink_context,
                                  struct tide_diag *diag);
    /* Exemplars of the matching series with mint <= ts <= maxt, each series once. */
    enum tide_err (*exemplars)(void *context, const struct tide_select *select,
                               struct tide_query_limits *limits, tide_exemplar_sink sink,
                               void *sink_context, struct tide_diag *diag);
    /* Metadata of the tenant's metrics (of one when metric is not empty), each once, in any order.
     */
    enum tide_err (*metadata)(void *context, struct tide_slice tenant, struct tide_slice metric,
                              tide_metadata_sink sink, void *sink_context);
    enum tide_err (*stats)(void *context, struct tide_slice tenant, struct tide_source_stats *out);
    /* The same name and value may come several times: the caller adds. */
    enum tide_err (*cardinality)(void *context, struct tide_slice tenant,
                                 enum tide_cardinality what, tide_cardinality_sink sink,
                                 void *sink_context);
};

#endif
