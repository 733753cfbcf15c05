/* PromQL text to tree and back. Source: the grammar of Prometheus 3.14 with its experimental parts
 * (functions, duration expressions, fill modifiers, anchored and smoothed) on. */
#ifndef TIDE_PROMQL_PARSE_H
#define TIDE_PROMQL_PARSE_H

#include "tide/promql/ast.h"

/* Longest query text, in bytes. Larger ones cannot be meant by a person or a dashboard. */
#define TIDE_PROMQL_BYTES_MAX (1u << 20)
/* Deepest tree, root to leaf, everything counted: `a + a + …` adds a level per operator. Whoever
 * walks a tree may recurse. */
#define TIDE_PROMQL_DEPTH_MAX 1000

struct tide_promql {
    struct tide_slice text; /* Copied into the arena. */
    struct tide_expr *root; /* NULL after a failure. */
    uint32_t node_count;
    struct tide_expr **selectors; /* All TIDE_EXPR_SELECTOR nodes, in the order written. */
    size_t selector_count;
    struct tide_promql_range error; /* After a failure: the place diag talks about. */
};

/* Parses and type checks a query.
 *
 * text   Borrowed during the call.
 * out    Set on TIDE_OK: release it with tide_promql_release() before the arena goes. On failure
 *        root is NULL, nothing needs release, error tells the place.
 * diag   "1:5: parse error: unexpected …", position as line:column (bytes, from 1), worded as
 *        Prometheus words it.
 *
 * Errors:  TIDE_ERR_INVALID: also when too long or nested too deeply. TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_promql_parse(struct tide_slice text, struct tide_arena *arena,
                                                  struct tide_promql *out, struct tide_diag *diag);
/* Frees what the matchers hold; the nodes go with the arena. Twice is allowed. */
void tide_promql_release(struct tide_promql *query);

/* Parses one series selector, `up{job="x"}`, without offset and such: for match[] parameters.
 * Errors and release as tide_promql_parse(); root is the selector. */
TIDE_CHECK_RESULT enum tide_err tide_promql_parse_selector(struct tide_slice text,
                                                           struct tide_arena *arena,
                                                           struct tide_promql *out,
                                                           struct tide_diag *diag);

/* The query's parameters, milliseconds; an instant query has start = end and step 0. */
struct tide_promql_times {
    int64_t start_ms;
    int64_t end_ms;
    int64_t step_ms;
};

/* Computes every range, subquery step and offset, and what `@ start()` and `@ end()` mean, for
 * these parameters: afterwards range_ms, step_ms, offset_ms and at_ms hold. May be called again
 * with others.
 * Errors: TIDE_ERR_INVALID with Prometheus' words: a duration that is not above 0, division by
 * zero, out of range. */
TIDE_CHECK_RESULT enum tide_err tide_promql_resolve(struct tide_promql *query,
                                                    const struct tide_promql_times *times,
                                                    struct tide_diag *diag);

/* The canonical text on one line, as Prometheus' String(). Parses to the same tree. Check
 * tide_buf_ok() after. */
void tide_promql_print(const struct tide_expr *expr, struct tide_buf *out);
/* The text of format_query: broken over lines of about 100 bytes with two-space indents, as
 * Prometheus' Pretty(). */
void tide_promql_format(const struct tide_expr *expr, struct tide_buf *out);
/* One matcher or duration as tide_promql_print() shows it inside. */
void tide_promql_print_matcher(const struct tide_matcher *matcher, struct tide_buf *out);
void tide_promql_print_duration(const struct tide_duration *duration, struct tide_buf *out);

#endif
