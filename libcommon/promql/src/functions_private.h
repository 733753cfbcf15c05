/* How functions plug into the evaluator. The evaluator walks the tree, reads the series, cuts
 * windows, evaluates arguments and keeps names; a function is a kernel over plain arrays.
 *
 * A function is one row of the table that tide__function() looks in (fn_table.c). What the
 * evaluator does by itself has no row: time, scalar, vector, absent, absent_over_time, sort,
 * sort_desc, sort_by_label(_desc), timestamp, info, pi, start, end, step, range, min_of, max_of. A
 * function with no row that the evaluator does not know either is refused with a clear error. */
#ifndef TIDE_PROMQL_FUNCTIONS_PRIVATE_H
#define TIDE_PROMQL_FUNCTIONS_PRIVATE_H

#include "value_private.h"

#include "tide/promql/ast.h"

/* ---- The call ---- */

/* The value of an argument at all steps. Range vectors are no arguments here: their samples come
 * to the range kernel; their place in the list is TIDE__ARG_NONE. */
enum tide__arg_kind { TIDE__ARG_NONE, TIDE__ARG_SCALAR, TIDE__ARG_STRING, TIDE__ARG_MATRIX };
struct tide__arg {
    enum tide__arg_kind kind;
    const double *scalar;        /* SCALAR: step_count values. */
    struct tide_slice string;    /* STRING. */
    struct tide__matrix *matrix; /* MATRIX. */
};

struct tide__call {
    struct tide__eval *eval;
    const struct tide_expr *expr; /* The call node. */
    size_t step_count;
    size_t word_count;
    const int64_t *step_ms; /* The evaluation time of each step, whatever offset and @ say. */
    const struct tide__arg *args;
    size_t arg_count;
};

/* Adds "PromQL warning: <text> (line:col)" or "PromQL info: …" to the answer, with the position of
 * argument arg (SIZE_MAX: of the call). Repeated ones are kept once. Threads: any. */
void tide__call_warn(const struct tide__call *call, size_t arg, const char *format, ...)
    TIDE_PRINTF(3, 4);
void tide__call_info(const struct tide__call *call, size_t arg, const char *format, ...)
    TIDE_PRINTF(3, 4);

/* ---- Functions over a range vector ---- */

/* The windows of all steps over one array of timestamps. Series that share the array share this:
 * it is made once, with whatever the function's prepare adds. */
struct tide__windows {
    const int64_t *times_ms; /* Rising; no staleness markers among them. */
    size_t count;
    size_t step_count;
    size_t word_count;
    const uint32_t *lo;      /* Step s has the samples lo[s] <= i < hi[s], those in (start, end]. */
    const uint32_t *hi;      /* lo and hi never fall from one step to the next. */
    const int64_t *start_ms; /* Per step: end_ms - range_ms. */
    const int64_t *end_ms;   /* Per step: the step's time moved by offset and @. */
    const int64_t *step_ms;  /* Per step: the evaluation time itself (predict_linear). */
    int64_t range_ms;
    /* The query's lookback. times_ms and values reach beyond the windows (before lo of the first
     * step, past hi of the last): by the lookback on the left for an anchored selector, on both
     * sides for a smoothed one; for others by whatever was read. */
    int64_t lookback_ms;
    const uint64_t *present1; /* Steps with at least one sample. Bits past step_count are zero. */
    const uint64_t *present2; /* Steps with at least two. */
    void *prepared;           /* What prepare made; NULL without prepare. */
};

struct tide__range_args {
    const struct tide__call *call; /* args: scalars, by their place in the PromQL call. */
    const struct tide__windows *windows;
    const double *values; /* windows->count values, aligned with times_ms. */
    /* At least 32 * windows->count + 64 bytes, 16-byte aligned, contents of no meaning. */
    void *scratch;
    double *out;           /* step_count values to set where present. */
    uint64_t *out_present; /* word_count words, all zero: the kernel sets (or copies) the bits. */

    /* Only where there are histograms among the samples, for the kernel mixed: */
    const struct tide_histogram *const *histograms; /* One a sample, NULL where it is a float. */
    const struct tide_histogram **out_histograms;   /* step_count NULLs: those of the answer. */
    struct tide_arena *arena;                       /* For the answer and on the way to it. */
    struct tide_slice name;                         /* The metric name. */
};

/* ---- The table ---- */

enum tide__function_flags {
    TIDE__FN_KEEP_NAME = 1,    /* The metric name stays (last_over_time, label_replace). */
    TIDE__FN_COUNTER = 2,      /* The info "metric might not be a counter…" applies. */
    TIDE__FN_DEFAULT_TIME = 4, /* Without arguments it works on vector(time()). */
};

/* Exactly one of range, map, of_histogram and matrix is set. */
struct tide__function {
    unsigned flags;

    /* A range vector in, one value per step out; called once per series for all its steps, from
     * several threads at once. */
    void (*range)(const struct tide__range_args *args);
    /* Optional, with range: work on the timestamps alone, once per distinct array. Answers what
     * goes to windows->prepared, from arena, or NULL when there is no memory. */
    void *(*prepare)(const struct tide__windows *windows, struct tide_arena *arena);
    /* Optional, with range: what is called instead for series with histograms among their samples.
     * False when there is no memory. Without it histograms are left out, with an info where there
     * are floats beside them (tide__range_floats in fn_range_mixed.c). */
    bool (*mixed)(const struct tide__function *function, const struct tide__range_args *args);

    /* Element by element: values (step_count of them) and present of one row are changed in place.
     * Clearing a present bit drops the element. Scalar arguments are in call->args at their
     * place; the vector argument is the first MATRIX one. Several threads at once. */
    void (*map)(const struct tide__call *call, double *values, uint64_t *present);
    /* Or, element by element: a number out of each histogram; floats are dropped. Without it
     * histograms are dropped. */
    double (*of_histogram)(const struct tide_histogram *h);

    /* On whole matrices: label_replace, histogram_quantile. *out is a new matrix, or
     * the argument's own when args[i].matrix->cached is false and it was changed in place. Two rows
     * with the same labels are found by the evaluator afterwards. One thread. */
    enum tide_err (*matrix)(const struct tide__call *call, struct tide__matrix **out);

    /* Optional: refuses bad parameters before any kernel runs (tide__eval_fail, EXECUTION). */
    enum tide_err (*check)(const struct tide__call *call);
};

/* The function, or NULL when there is no row for it. */
const struct tide__function *tide__function(enum tide_fn fn);

#endif
