#include "support_parse.h"

#include "tide/base/mem.h"

#include <stdlib.h>

struct parsed parse_text(struct tide_slice text)
{
    struct parsed parsed = {.arena = tide_arena_new(0)};

    if (parsed.arena == NULL) {
        parsed.err = TIDE_ERR_NO_MEMORY;
        return parsed;
    }
    parsed.err = tide_promql_parse(text, parsed.arena, &parsed.query, &parsed.diag);
    return parsed;
}

struct parsed parse_query(const char *text)
{
    return parse_text(tide_slice_str(text));
}

void parsed_free(struct parsed *parsed)
{
    tide_promql_release(&parsed->query);
    tide_arena_free(parsed->arena);
    parsed->arena = NULL;
}

/* ---- Trees as text ---- */

static void duration_tree(const struct tide_duration *duration, struct tide_buf *out)
{
    if (duration == NULL) {
        tide_buf_byte(out, '-');
        return;
    }
    tide_buf_printf(out, "(d%d %.17g ", (int)duration->op,
                    duration->op == TIDE_DURATION_NUMBER ? duration->seconds : 0.0);
    if (duration->op != TIDE_DURATION_NUMBER) {
        duration_tree(duration->lhs, out);
        duration_tree(duration->rhs, out);
    }
    tide_buf_byte(out, ')');
}

static void shift_tree(const struct tide_shift *shift, struct tide_buf *out)
{
    tide_buf_printf(out, " at%d %lld offset %lld ", (int)shift->at, (long long)shift->at_ms,
                    (long long)shift->offset_ms);
    if (shift->offset != NULL && shift->offset->op != TIDE_DURATION_NUMBER)
        duration_tree(shift->offset, out);
}

static int compare_matchers(const void *a, const void *b)
{
    const struct tide_matcher *x = *(const struct tide_matcher *const *)a;
    const struct tide_matcher *y = *(const struct tide_matcher *const *)b;
    int order = tide_slice_cmp(x->name, y->name);

    if (order == 0)
        order = (int)x->op - (int)y->op;
    return order != 0 ? order : tide_slice_cmp(x->value, y->value);
}

static void selector_tree(const struct tide_selector *selector, struct tide_buf *out)
{
    const struct tide_matcher **sorted =
        tide_mem_array(selector->matcher_count + 1, sizeof(struct tide_matcher *));

    if (sorted == NULL) {
        out->failed = true;
        return;
    }
    tide_buf_bytes(out, selector->name);
    for (size_t i = 0; i < selector->matcher_count; i++)
        sorted[i] = &selector->matchers[i];
    qsort(sorted, selector->matcher_count, sizeof(struct tide_matcher *), compare_matchers);
    for (size_t i = 0; i < selector->matcher_count; i++) {
        tide_buf_printf(out, " m%d ", (int)sorted[i]->op);
        tide_buf_bytes(out, sorted[i]->name);
        tide_buf_bytes(out, sorted[i]->value);
    }
    tide_buf_printf(out, " %d%d", selector->anchored, selector->smoothed);
    shift_tree(&selector->shift, out);
    tide_mem_free(sorted);
}

static void labels_tree(const struct tide_slice *labels, size_t count, struct tide_buf *out)
{
    tide_buf_printf(out, " l%zu ", count);
    for (size_t i = 0; i < count; i++)
        tide_buf_bytes(out, labels[i]);
}

static void binary_tree(const struct tide_binary *binary, struct tide_buf *out)
{
    const struct tide_matching *matching = &binary->matching;

    tide_buf_printf(out, "%s bool%d matching%d card%d on%d", tide_binary_op_text(binary->op),
                    binary->return_bool, binary->has_matching, (int)matching->card, matching->on);
    labels_tree(matching->labels, matching->label_count, out);
    labels_tree(matching->include, matching->include_count, out);
    tide_buf_printf(out, " fill%d %.17g %d %.17g", matching->has_fill_left, matching->fill_left,
                    matching->has_fill_right, matching->fill_right);
}

static void node_tree(const struct tide_expr *expr, struct tide_buf *out)
{
    switch (expr->kind) {
    case TIDE_EXPR_NUMBER:
        tide_buf_printf(out, "%.17g duration%d", expr->u.number, expr->number_is_duration);
        break;
    case TIDE_EXPR_STRING:
        tide_buf_bytes(out, expr->u.string);
        break;
    case TIDE_EXPR_SELECTOR:
        selector_tree(&expr->u.selector, out);
        break;
    case TIDE_EXPR_MATRIX:
        tide_buf_printf(out, "%lld", (long long)expr->u.matrix.range_ms);
        if (expr->u.matrix.range->op != TIDE_DURATION_NUMBER)
            duration_tree(expr->u.matrix.range, out);
        break;
    case TIDE_EXPR_SUBQUERY:
        tide_buf_printf(out, "%lld:%lld", (long long)expr->u.subquery.range_ms,
                        (long long)expr->u.subquery.step_ms);
        if (expr->u.subquery.range->op != TIDE_DURATION_NUMBER)
            duration_tree(expr->u.subquery.range, out);
        if (expr->u.subquery.step != NULL && expr->u.subquery.step->op != TIDE_DURATION_NUMBER)
            duration_tree(expr->u.subquery.step, out);
        shift_tree(&expr->u.subquery.shift, out);
        break;
    case TIDE_EXPR_CALL:
        tide_buf_str(out, tide_fn_signature(expr->u.call.fn).name);
        break;
    case TIDE_EXPR_AGGREGATE:
        tide_buf_printf(out, "%s without%d", tide_aggregate_text(expr->u.aggregation.op),
                        expr->u.aggregation.without);
        labels_tree(expr->u.aggregation.labels, expr->u.aggregation.label_count, out);
        break;
    case TIDE_EXPR_BINARY:
        binary_tree(&expr->u.binary, out);
        break;
    case TIDE_EXPR_UNARY:
        tide_buf_byte(out, expr->u.unary.negate ? '-' : '+');
        break;
    case TIDE_EXPR_PAREN:
        break;
    }
}

static void expr_tree(const struct tide_expr *expr, int level, struct tide_buf *out)
{
    const struct tide_expr *child;

    tide_buf_printf(out, "%*s%d:%d ", level, "", (int)expr->kind, (int)expr->type);
    node_tree(expr, out);
    tide_buf_byte(out, '\n');
    for (size_t i = 0; (child = tide_expr_child(expr, i)) != NULL; i++)
        expr_tree(child, level + 1, out);
}

struct tide_buf tree_text(const struct tide_expr *expr)
{
    struct tide_buf out = {0};

    expr_tree(expr, 0, &out);
    return out;
}
