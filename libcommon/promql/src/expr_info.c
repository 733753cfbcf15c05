/* What is known about the nodes of a query before it is evaluated: which say the same, and which
 * have one value for all steps. */
#include "eval_private.h"

#include "tide/base/mem.h"

#include <stdlib.h>

struct info_walk {
    struct tide__eval *eval;
    const struct tide_expr **nodes; /* By id. */
    uint32_t *parents;              /* By id; the root is its own parent. */
};

/* Functions whose value depends on the step even when their arguments do not. */
static bool depends_on_time(enum tide_fn fn, size_t arg_count)
{
    switch (fn) {
    case TIDE_FN_DAYS_IN_MONTH:
    case TIDE_FN_DAY_OF_MONTH:
    case TIDE_FN_DAY_OF_WEEK:
    case TIDE_FN_DAY_OF_YEAR:
    case TIDE_FN_HOUR:
    case TIDE_FN_MINUTE:
    case TIDE_FN_MONTH:
    case TIDE_FN_YEAR:
        return arg_count == 0;
    case TIDE_FN_PREDICT_LINEAR:
    case TIDE_FN_TIME:
    case TIDE_FN_TIMESTAMP:
        return true;
    default:
        return false;
    }
}

static void add_u64(struct tide_buf *buf, uint64_t v)
{
    tide_buf_u64(buf, v);
}

static void add_names(struct tide_buf *buf, const struct tide_slice *names, size_t count)
{
    add_u64(buf, count);
    for (size_t i = 0; i < count; i++)
        tide_buf_bytes(buf, names[i]);
}

static void add_shift(struct tide_buf *buf, const struct tide_shift *shift)
{
    add_u64(buf, shift->at != TIDE_AT_NONE);
    add_u64(buf, shift->at == TIDE_AT_NONE ? 0 : (uint64_t)shift->at_ms);
    add_u64(buf, (uint64_t)shift->offset_ms);
}

static void add_selector(struct tide_buf *buf, const struct tide_selector *selector)
{
    add_u64(buf, selector->matcher_count);
    for (size_t i = 0; i < selector->matcher_count; i++) {
        add_u64(buf, selector->matchers[i].op);
        tide_buf_bytes(buf, selector->matchers[i].name);
        tide_buf_bytes(buf, selector->matchers[i].value);
    }
    add_shift(buf, &selector->shift);
    add_u64(buf, selector->anchored);
    add_u64(buf, selector->smoothed);
}

enum tide_err tide__selector_hash(const struct tide_selector *selector, struct tide_hash128 *out)
{
    struct tide_buf buf = {0};
    enum tide_err err;

    add_selector(&buf, selector);
    err = tide_buf_ok(&buf);
    if (err == TIDE_OK)
        *out = tide_hash128(tide_buf_view(&buf), 0);
    tide_buf_deinit(&buf);
    return err;
}

static void add_binary(struct tide_buf *buf, const struct tide_binary *binary)
{
    const struct tide_matching *matching = &binary->matching;

    add_u64(buf, binary->op);
    add_u64(buf, binary->return_bool);
    add_u64(buf, binary->has_matching);
    if (!binary->has_matching)
        return;
    add_u64(buf, matching->card);
    add_u64(buf, matching->on);
    add_names(buf, matching->labels, matching->label_count);
    add_names(buf, matching->include, matching->include_count);
    add_u64(buf, matching->has_fill_left);
    add_u64(buf, matching->has_fill_right);
    add_u64(buf, matching->has_fill_left ? tide_value_bits(matching->fill_left) : 0);
    add_u64(buf, matching->has_fill_right ? tide_value_bits(matching->fill_right) : 0);
}

/* What the node says beside its children. */
static void add_node(struct tide_buf *buf, const struct tide_expr *expr)
{
    add_u64(buf, expr->kind);
    switch (expr->kind) {
    case TIDE_EXPR_NUMBER:
        add_u64(buf, tide_value_bits(expr->u.number));
        break;
    case TIDE_EXPR_STRING:
        tide_buf_bytes(buf, expr->u.string);
        break;
    case TIDE_EXPR_SELECTOR:
        add_selector(buf, &expr->u.selector);
        break;
    case TIDE_EXPR_MATRIX:
        add_u64(buf, (uint64_t)expr->u.matrix.range_ms);
        break;
    case TIDE_EXPR_SUBQUERY:
        add_u64(buf, (uint64_t)expr->u.subquery.range_ms);
        add_u64(buf, (uint64_t)expr->u.subquery.step_ms);
        add_shift(buf, &expr->u.subquery.shift);
        break;
    case TIDE_EXPR_CALL:
        add_u64(buf, expr->u.call.fn);
        break;
    case TIDE_EXPR_AGGREGATE:
        add_u64(buf, expr->u.aggregation.op);
        add_u64(buf, expr->u.aggregation.without);
        add_names(buf, expr->u.aggregation.labels, expr->u.aggregation.label_count);
        break;
    case TIDE_EXPR_BINARY:
        add_binary(buf, &expr->u.binary);
        break;
    case TIDE_EXPR_UNARY:
        add_u64(buf, expr->u.unary.negate);
        break;
    case TIDE_EXPR_PAREN:
        break;
    }
}

static bool node_is_fixed(const struct tide__eval *eval, const struct tide_expr *expr)
{
    const struct tide_expr *child;

    switch (expr->kind) {
    case TIDE_EXPR_SELECTOR:
        return expr->u.selector.shift.at != TIDE_AT_NONE;
    case TIDE_EXPR_SUBQUERY:
        return expr->u.subquery.shift.at != TIDE_AT_NONE;
    case TIDE_EXPR_CALL:
        if (depends_on_time(expr->u.call.fn, expr->u.call.arg_count))
            return false;
        break;
    default:
        break;
    }
    for (size_t i = 0; (child = tide_expr_child(expr, i)) != NULL; i++)
        if (!eval->is_fixed[child->id])
            return false;
    return true;
}

static enum tide_err walk(struct info_walk *w, const struct tide_expr *expr, uint32_t parent,
                          struct tide_buf *buf)
{
    const struct tide_expr *child;

    w->nodes[expr->id] = expr;
    w->parents[expr->id] = parent;
    for (size_t i = 0; (child = tide_expr_child(expr, i)) != NULL; i++) {
        enum tide_err err = walk(w, child, expr->id, buf);

        if (err != TIDE_OK)
            return err;
    }
    w->eval->is_fixed[expr->id] = node_is_fixed(w->eval, expr);
    if (expr->kind == TIDE_EXPR_PAREN) { /* Says what its inside says. */
        w->eval->hashes[expr->id] = w->eval->hashes[expr->u.paren->id];
        return TIDE_OK;
    }
    buf->len = 0;
    add_node(buf, expr);
    for (size_t i = 0; (child = tide_expr_child(expr, i)) != NULL; i++) {
        add_u64(buf, w->eval->hashes[child->id].hi);
        add_u64(buf, w->eval->hashes[child->id].lo);
    }
    w->eval->hashes[expr->id] = tide_hash128(tide_buf_view(buf), 0);
    return tide_buf_ok(buf);
}

struct counted {
    struct tide_hash128 hash;
    uint32_t id;
    uint32_t count;
};

static int counted_by_hash(const void *a, const void *b)
{
    const struct counted *x = a;
    const struct counted *y = b;

    if (x->hash.hi != y->hash.hi)
        return x->hash.hi < y->hash.hi ? -1 : 1;
    if (x->hash.lo != y->hash.lo)
        return x->hash.lo < y->hash.lo ? -1 : 1;
    return 0;
}

/* A node is worth keeping when it stands in the query more often than the node above it: else that
 * one is kept, and this is computed once anyway. Parentheses do not count as nodes. */
static void mark_shared(const struct info_walk *w, struct counted *counted, uint32_t *counts)
{
    struct tide__eval *eval = w->eval;
    uint32_t n = 0;

    for (uint32_t id = 0; id < eval->query.node_count; id++)
        if (w->nodes[id] != NULL && w->nodes[id]->kind != TIDE_EXPR_PAREN)
            counted[n++] = (struct counted){eval->hashes[id], id, 0};
    if (n > 0)
        qsort(counted, n, sizeof(*counted), counted_by_hash);
    for (uint32_t from = 0; from < n;) {
        uint32_t to = from;

        while (to < n && tide_hash128_eq(counted[from].hash, counted[to].hash))
            to++;
        for (uint32_t i = from; i < to; i++)
            counts[counted[i].id] = to - from;
        from = to;
    }
    for (uint32_t id = 0; id < eval->query.node_count; id++) {
        const struct tide_expr *expr = w->nodes[id];
        uint32_t parent;

        if (expr == NULL || expr->type != TIDE_PROMQL_VECTOR || counts[id] < 2)
            continue;
        parent = w->parents[id];
        while (parent != id && w->nodes[parent]->kind == TIDE_EXPR_PAREN &&
               w->parents[parent] != parent)
            parent = w->parents[parent];
        eval->is_shared[id] = parent == id || counts[id] > counts[parent];
    }
}

enum tide_err tide__expr_info(struct tide__eval *eval)
{
    uint32_t count = eval->query.node_count;
    struct info_walk w = {.eval = eval};
    struct tide_buf buf = {0};
    struct counted *counted = tide_mem_array(count, sizeof(*counted));
    uint32_t *counts = tide_mem_array(count, sizeof(*counts));
    enum tide_err err = TIDE_ERR_NO_MEMORY;

    /* NOLINTNEXTLINE(bugprone-sizeof-expression): an array of pointers. */
    w.nodes = tide_mem_array(count, sizeof(*w.nodes));
    w.parents = tide_mem_array(count, sizeof(*w.parents));
    eval->hashes = tide__eval_alloc(eval, count * sizeof(*eval->hashes));
    eval->is_shared = tide__eval_alloc(eval, count * sizeof(*eval->is_shared));
    eval->is_fixed = tide__eval_alloc(eval, count * sizeof(*eval->is_fixed));
    if (counted != NULL && counts != NULL && w.nodes != NULL && w.parents != NULL &&
        eval->hashes != NULL && eval->is_shared != NULL && eval->is_fixed != NULL) {
        memset(eval->is_shared, 0, count * sizeof(*eval->is_shared));
        err = walk(&w, eval->query.root, eval->query.root->id, &buf);
    }
    if (err == TIDE_OK)
        mark_shared(&w, counted, counts);
    tide_buf_deinit(&buf);
    tide_mem_free(counted);
    tide_mem_free(counts);
    tide_mem_free(w.nodes);
    tide_mem_free(w.parents);
    return err;
}
