/* A stream: the rows of an expression that needs no more than one series at a time (a selector, a
 * function over a range, and element-wise work on them), computed in batches by several threads
 * and handed to a consumer without ever standing in memory together.
 *
 * Batches have the same borders whatever the number of threads, and consumers fold them in their
 * order: so the answer has the same bits for any number of threads. */
#ifndef TIDE_PROMQL_STREAM_PRIVATE_H
#define TIDE_PROMQL_STREAM_PRIVATE_H

#include "eval_private.h"

/* Element-wise steps a stream can take on its rows. */
#define TIDE__STREAM_OPS_MAX 8

/* One element-wise step: a function's map, vector op scalar, or the unary minus. */
struct tide__row_op {
    enum { TIDE__ROW_MAP, TIDE__ROW_BINARY, TIDE__ROW_NEGATE } kind;
    struct tide_promql_range pos;          /* BINARY: of the operation. */
    const struct tide__function *function; /* MAP. */
    struct tide__call call;                /* MAP. */
    enum tide_binary_op op;                /* BINARY. */
    bool return_bool;
    bool swapped;
    const double *scalar;
};

enum tide__stream_kind {
    TIDE__STREAM_INSTANT,   /* The last sample of each step's lookback window. */
    TIDE__STREAM_TIMESTAMP, /* Its time: timestamp(selector). */
    TIDE__STREAM_RANGE,     /* A function over each step's window. */
    TIDE__STREAM_ROWS       /* The rows of a matrix as they are. */
};

struct tide__stream {
    struct tide__eval *eval;
    const struct tide__grid *grid;
    enum tide__stream_kind kind;
    size_t series_count;
    size_t batch_series;
    bool drop_name;

    /* Where the samples come from: a selection, or the rows of a subquery (or, ROWS, any matrix).
     */
    struct tide_series_set *set;
    struct tide__matrix *rows;
    bool owns_rows;
    const struct tide__grid *rows_grid; /* Of a subquery. */

    int64_t mint_ms; /* What to read. */
    int64_t maxt_ms;
    int64_t range_ms;
    const int64_t *start_ms; /* Per step: the window (start, end]. */
    const int64_t *end_ms;
    bool smoothed;    /* INSTANT: interpolate. */
    bool floats_only; /* Of info series: a histogram among the samples in effect is an error. */
    const struct tide__function *function;
    struct tide__call call;

    /* Whether the info "metric might not be a counter" may be due. Relaxed: at worst it is given
     * twice, which shows once. */
    _Atomic bool counter_check;
    bool counter_one_name; /* All series have the same name: once is enough. */
    struct tide_promql_range counter_pos;

    struct tide__row_op ops[TIDE__STREAM_OPS_MAX];
    size_t op_count;
};

/* What one thread needs to compute rows. */
struct tide__stream_worker;

/* Opens a stream for expr when its root can be one; *out is NULL on TIDE_OK otherwise. */
TIDE_CHECK_RESULT enum tide_err
tide__stream_open(struct tide__eval *eval, const struct tide_expr *expr, struct tide__stream **out);
/* The rows of m as a stream. Takes m, also on failure. */
TIDE_CHECK_RESULT enum tide_err tide__stream_of(struct tide__eval *eval, struct tide__matrix *m,
                                                struct tide__stream **out);
/* For a selector of info series, in the tree or not: when the sample in effect at each step was
 * taken. Errors: TIDE_ERR_EXECUTION, it is a histogram. */
TIDE_CHECK_RESULT enum tide_err tide__stream_times(struct tide__eval *eval,
                                                   const struct tide_expr *selector,
                                                   struct tide__matrix **out);
/* The windows of a range vector argument under a function, whatever the call's own is. */
TIDE_CHECK_RESULT enum tide_err tide__stream_range(struct tide__eval *eval,
                                                   const struct tide_expr *call,
                                                   const struct tide__function *function,
                                                   struct tide__stream **out);
/* The series a selector matches, those with samples in [mint, maxt]; the eval owns it. */
TIDE_CHECK_RESULT enum tide_err tide__select(struct tide__eval *eval, const struct tide_expr *expr,
                                             int64_t mint_ms, int64_t maxt_ms,
                                             struct tide_series_set **out);
/* Reads a run of series, with a message when that is over a limit. */
TIDE_CHECK_RESULT enum tide_err tide__read(struct tide__eval *eval, struct tide_series_set *set,
                                           size_t first, size_t count, int64_t mint_ms,
                                           int64_t maxt_ms, struct tide_batch *batch);
/* The time a selector or subquery looks at from time_ms: `@` and offset applied. */
int64_t tide__shifted(const struct tide_shift *shift, int64_t time_ms);
/* Evaluates the inside of a subquery at all its steps from start (exclusive) to end; *grid tells
 * them. A matrix without rows, and a NULL grid, when there is no step. */
TIDE_CHECK_RESULT enum tide_err tide__subquery(struct tide__eval *eval,
                                               const struct tide_expr *expr, int64_t start_ms,
                                               int64_t end_ms, const struct tide__grid **grid,
                                               struct tide__matrix **out);
void tide__stream_close(struct tide__stream *stream);

/* One batch in one thread. read it first, then its rows in order. values and present are those of
 * the row, valid until the next row: written to out and out_present when the caller gives them. */
struct tide__batch_run {
    struct tide__stream *stream;
    struct tide__stream_worker *worker;
    unsigned slot;
    size_t batch;
    size_t first;
    size_t count;
    /* Set by tide__stream_row(): as in struct tide__row, but valid until the next row only. */
    const struct tide_histogram *const *histograms;
};
/* Computes row k of the batch. out (step_count values) and out_present (word_count words) are where
 * to, or NULL: then *values and *present point to memory of the worker's or the matrix's. */
enum tide_err tide__stream_row(struct tide__batch_run *run, size_t k, double *out,
                               uint64_t *out_present, const double **values,
                               const uint64_t **present);
struct tide_slice tide__stream_label(const struct tide__stream *stream, size_t i,
                                     struct tide_slice name);
bool tide__stream_drops_name(const struct tide__stream *stream, size_t i);
/* Labels of series i; in arena, in the slot's arena, or in the stream's source. */
enum tide_err tide__stream_labels_in(const struct tide__stream *stream, struct tide_arena *arena,
                                     size_t i, struct tide_labels *out);
enum tide_err tide__stream_labels(const struct tide__stream *stream, unsigned slot, size_t i,
                                  struct tide_labels *out);

/* Runs consume(context, run) for every batch, in several threads, in any order. commit, when given,
 * is called after it for each batch in batch order, one at a time: what consume answered in
 * *partial goes to it. Stops at the first error. */
TIDE_CHECK_RESULT enum tide_err tide__stream_run(
    struct tide__stream *stream, void *context,
    enum tide_err (*consume)(void *context, struct tide__batch_run *run, void **partial),
    enum tide_err (*commit)(void *context, void *partial));

/* All rows as a matrix; closes the stream, also on failure. */
TIDE_CHECK_RESULT enum tide_err tide__stream_collect(struct tide__stream *stream,
                                                     struct tide__matrix **out);

#endif
