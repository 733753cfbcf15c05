/* Evaluation of PromQL queries over a series source, as Prometheus 3.x defines them (left-open
 * ranges and lookback, staleness, delayed removal of metric names), floats and native histograms.
 * Source: Prometheus 3.14 documentation, querying/basics, operators, functions. */
#ifndef TIDE_PROMQL_ENGINE_H
#define TIDE_PROMQL_ENGINE_H

#include "tide/model/source.h"
#include "tide/promql/ast.h"

struct tide_engine_options {
    unsigned threads;         /* That work on one query at most, the caller's included; 0: 1. */
    int64_t lookback_ms;      /* 0: 5 minutes. */
    int64_t subquery_step_ms; /* Resolution of `[1h:]`; 0: 1 minute. */
};

/* The worker threads that all queries of a process share. */
struct tide_engine;

/* Errors: TIDE_ERR_NO_MEMORY, TIDE_ERR_UNAVAILABLE (a thread could not be started). */
TIDE_CHECK_RESULT enum tide_err tide_engine_new(const struct tide_engine_options *options,
                                                struct tide_engine **out);
/* No query may run. NULL is allowed. */
void tide_engine_free(struct tide_engine *engine);

struct tide_engine_params {
    struct tide_slice expr;
    struct tide_slice tenant;
    bool instant; /* At start_ms; end_ms and step_ms mean nothing. */
    int64_t start_ms;
    int64_t end_ms;      /* Not before start_ms. */
    int64_t step_ms;     /* Above 0. The number of steps is the caller's to bound. */
    int64_t lookback_ms; /* 0: the engine's. */
};

enum tide_result_kind {
    TIDE_RESULT_SCALAR, /* Instant only: a scalar in a range query is a matrix of one series. */
    TIDE_RESULT_STRING, /* Instant only. */
    TIDE_RESULT_VECTOR, /* Instant only: one point a series, at start_ms. */
    TIDE_RESULT_MATRIX
};

/* The points of one series: index i is one where present is NULL or has the bit (i % 64) of word
 * (i / 64) set. */
struct tide_result_series {
    struct tide_labels labels;
    const int64_t *times_ms;
    const double *values; /* Where there is a histogram: 0. */
    /* NULL when all points are floats; else one for each point, NULL where it is a float. */
    const struct tide_histogram *const *histograms;
    const uint64_t *present;
    size_t count; /* Length of times_ms, values and histograms. */
};
static inline bool tide_result_has(const struct tide_result_series *series, size_t i)
{
    return series->present == NULL || ((series->present[i / 64] >> (i % 64)) & 1) != 0;
}

struct tide_engine_stats {
    uint64_t series;  /* Read from the source. */
    uint64_t samples; /* Read from the source. */
    uint64_t memory_peak_bytes;
    uint64_t steps;
};

/* An answer. Everything it points to lives until tide_engine_result_free(). */
struct tide_engine_result {
    enum tide_result_kind kind;
    int64_t time_ms;          /* Of a scalar or string. */
    double scalar;            /* SCALAR. */
    struct tide_slice string; /* STRING. */
    /* VECTOR: in the order the engine found them, or that of sort(), topk() and their like.
     * MATRIX: sorted by labels. No series is without a point. */
    const struct tide_result_series *series;
    size_t series_count;
    /* "PromQL warning: … (1:6)", "PromQL info: …", each once, bounded: see notes.c. */
    const struct tide_slice *warnings;
    size_t warning_count;
    const struct tide_slice *infos;
    size_t info_count;
    struct tide_engine_stats stats;
};

/* Parses and evaluates one query.
 *
 * source  Borrowed until the result is freed.
 * limits  Deadline, cancellation, memory, samples and series of the query. It must outlive the
 *         result: the result's memory is charged to it. NULL: none.
 * out     Set on TIDE_OK.
 * diag    The message for the one who asked.
 *
 * Errors: TIDE_ERR_INVALID, the text is no query or its parameters are bad; TIDE_ERR_EXECUTION, as
 * Prometheus' execution errors; TIDE_ERR_UNSUPPORTED, something of PromQL that is not built yet;
 * TIDE_ERR_TIMEOUT, TIDE_ERR_CANCELED, TIDE_ERR_LIMIT, TIDE_ERR_NO_MEMORY; and what the source
 * answers.
 * Threads: any, several at once. */
TIDE_CHECK_RESULT enum tide_err
tide_engine_query(struct tide_engine *engine, const struct tide_engine_params *params,
                  const struct tide_source *source, struct tide_query_limits *limits,
                  struct tide_engine_result **out, struct tide_diag *diag);
void tide_engine_result_free(struct tide_engine_result *result); /* NULL is allowed. */

#endif
