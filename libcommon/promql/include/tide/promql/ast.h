/* The tree of a parsed PromQL query. All nodes, slices and arrays live in the arena given to the
 * parser; matchers hold compiled regexes and are released by tide_promql_release(). */
#ifndef TIDE_PROMQL_AST_H
#define TIDE_PROMQL_AST_H

#include "tide/model/matcher.h"
#include "tide/promql/fntable.h"

/* Bytes [start, end) of the query text. */
struct tide_promql_range {
    uint32_t start;
    uint32_t end;
};

enum tide_expr_kind {
    TIDE_EXPR_NUMBER,
    TIDE_EXPR_STRING,
    TIDE_EXPR_SELECTOR, /* Instant vector selector. */
    TIDE_EXPR_MATRIX,   /* selector[range]. */
    TIDE_EXPR_SUBQUERY, /* expr[range:step]. */
    TIDE_EXPR_CALL,
    TIDE_EXPR_AGGREGATE,
    TIDE_EXPR_BINARY,
    TIDE_EXPR_UNARY,
    TIDE_EXPR_PAREN
};

enum tide_aggregate {
    TIDE_AGG_SUM,
    TIDE_AGG_AVG,
    TIDE_AGG_COUNT,
    TIDE_AGG_MIN,
    TIDE_AGG_MAX,
    TIDE_AGG_GROUP,
    TIDE_AGG_STDDEV,
    TIDE_AGG_STDVAR,
    TIDE_AGG_TOPK, /* With a scalar parameter, as the next four. */
    TIDE_AGG_BOTTOMK,
    TIDE_AGG_QUANTILE,
    TIDE_AGG_LIMITK,
    TIDE_AGG_LIMIT_RATIO,
    TIDE_AGG_COUNT_VALUES, /* With a string parameter. */
    TIDE_AGG_OPERATORS     /* How many there are. */
};

enum tide_binary_op {
    TIDE_OP_ADD,
    TIDE_OP_SUB,
    TIDE_OP_MUL,
    TIDE_OP_DIV,
    TIDE_OP_MOD,
    TIDE_OP_POW,
    TIDE_OP_ATAN2,
    TIDE_OP_EQ, /* EQ to LE: comparisons. */
    TIDE_OP_NE,
    TIDE_OP_GT,
    TIDE_OP_LT,
    TIDE_OP_GE,
    TIDE_OP_LE,
    TIDE_OP_TRIM_UPPER, /* `</` and `>/`: cut the buckets of a native histogram. */
    TIDE_OP_TRIM_LOWER,
    TIDE_OP_AND, /* AND, OR, UNLESS: set operators, always many to many. */
    TIDE_OP_OR,
    TIDE_OP_UNLESS,
    TIDE_OP_COUNT
};
/* "+", "==", "unless", …, as in queries; static. */
const char *tide_binary_op_text(enum tide_binary_op op);
/* "sum", "topk", …; static. */
const char *tide_aggregate_text(enum tide_aggregate op);
static inline bool tide_binary_op_is_comparison(enum tide_binary_op op)
{
    return op >= TIDE_OP_EQ && op <= TIDE_OP_LE;
}
static inline bool tide_binary_op_is_set(enum tide_binary_op op)
{
    return op >= TIDE_OP_AND && op <= TIDE_OP_UNLESS;
}

/* ---- Times ---- */

enum tide_duration_op {
    TIDE_DURATION_NUMBER, /* A literal: `5m`, `300`. */
    TIDE_DURATION_STEP,   /* step(). */
    TIDE_DURATION_RANGE,  /* range(): end - start of the query. */
    TIDE_DURATION_NEGATE, /* -lhs. */
    TIDE_DURATION_PLUS,   /* +(lhs): only before parentheses does a plus leave a trace. */
    TIDE_DURATION_PAREN,  /* (lhs). */
    TIDE_DURATION_ADD,
    TIDE_DURATION_SUB,
    TIDE_DURATION_MUL,
    TIDE_DURATION_DIV,
    TIDE_DURATION_MOD,
    TIDE_DURATION_POW,
    TIDE_DURATION_MIN, /* min_of(lhs, rhs), also written min(). */
    TIDE_DURATION_MAX
};

/* A duration as written; its value in seconds may depend on the query's step and range. */
struct tide_duration {
    enum tide_duration_op op;
    struct tide_promql_range pos;
    uint32_t depth;   /* Levels below and with it. */
    double seconds;   /* NUMBER, its sign included. */
    bool is_duration; /* NUMBER: written with units. */
    struct tide_duration *lhs;
    struct tide_duration *rhs;
};

enum tide_at { TIDE_AT_NONE, TIDE_AT_TIME, TIDE_AT_START, TIDE_AT_END };

/* `@` and `offset` of a selector or subquery. After tide_promql_resolve() offset_ms and (unless at
 * is TIDE_AT_NONE) at_ms hold for every form; before it only those that do not depend on the
 * query's times. */
struct tide_shift {
    enum tide_at at;
    int64_t at_ms;                /* Milliseconds since 1970. */
    int64_t offset_ms;            /* Positive: into the past. */
    struct tide_duration *offset; /* NULL when none is written. */
};

/* ---- Nodes ---- */

struct tide_expr;

struct tide_selector {
    /* The metric name before the braces, else empty (`{"up"}` has none). It also stands as an EQ
     * matcher on __name__, the last of matchers. */
    struct tide_slice name;
    struct tide_matcher *matchers; /* In the order written. */
    size_t matcher_count;
    struct tide_shift shift;
    bool anchored;
    bool smoothed;
};

struct tide_matrix {
    struct tide_expr *selector; /* TIDE_EXPR_SELECTOR; its shift is the one of the whole. */
    struct tide_duration *range;
    int64_t range_ms; /* Above 0 after tide_promql_resolve(). */
};

struct tide_subquery {
    struct tide_expr *expr;
    struct tide_duration *range;
    int64_t range_ms;
    struct tide_duration *step; /* NULL: `[1h:]`, the server's default resolution; step_ms is 0. */
    int64_t step_ms;
    struct tide_shift shift;
};

struct tide_call {
    enum tide_fn fn;
    struct tide_expr **args;
    size_t arg_count;
};

struct tide_aggregation {
    enum tide_aggregate op;
    bool without;
    struct tide_slice *labels; /* In the order written, perhaps repeated. */
    size_t label_count;
    struct tide_expr *expr;
    struct tide_expr *param; /* NULL where the operator has none. */
};

enum tide_card {
    TIDE_CARD_ONE_TO_ONE,
    TIDE_CARD_MANY_TO_ONE,
    TIDE_CARD_ONE_TO_MANY,
    TIDE_CARD_MANY_TO_MANY
};

/* How vectors meet; set for vector-vector operations only (has_matching of the binary). */
struct tide_matching {
    enum tide_card card; /* MANY_TO_ONE is group_left, ONE_TO_MANY group_right. */
    bool on;             /* on(labels), else ignoring(labels), which may be empty and unwritten. */
    struct tide_slice *labels;
    size_t label_count;
    struct tide_slice *include; /* group_left(include). */
    size_t include_count;
    bool has_fill_left; /* fill_left(value) or fill(value). */
    bool has_fill_right;
    double fill_left;
    double fill_right;
};

struct tide_binary {
    enum tide_binary_op op;
    bool return_bool;
    bool has_matching; /* Both sides are instant vectors. */
    struct tide_matching matching;
    struct tide_expr *lhs;
    struct tide_expr *rhs;
};

struct tide_unary {
    bool negate; /* false: a plus. */
    struct tide_expr *expr;
};

struct tide_expr {
    enum tide_expr_kind kind;
    enum tide_promql_type type; /* Of its value; never NONE. */
    struct tide_promql_range pos;
    uint32_t id;    /* 0 … node_count-1, distinct within the query: an index for side tables. */
    uint32_t depth; /* Levels below and with it, at most TIDE_PROMQL_DEPTH_MAX. */
    bool number_is_duration; /* NUMBER: written with units, `5m`. */
    union {
        double number;
        struct tide_slice string; /* Unquoted. */
        struct tide_selector selector;
        struct tide_matrix matrix;
        struct tide_subquery subquery;
        struct tide_call call;
        struct tide_aggregation aggregation;
        struct tide_binary binary;
        struct tide_unary unary;
        struct tide_expr *paren;
    } u;
};

/* Child i of a node in the order written (aggregation: the parameter, when there is one, before the
 * expression), or NULL past the last. */
struct tide_expr *tide_expr_child(const struct tide_expr *expr, size_t i);
/* The expression inside any parentheses around it. */
const struct tide_expr *tide_expr_unparen(const struct tide_expr *expr);

#endif
