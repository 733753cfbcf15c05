/* Type checks of a whole tree, after its syntax: children first, as Prometheus does, so that the
 * same of several failures is told. */
#include "parse_private.h"

#include <stdio.h>
#include <stdlib.h>

/* A type as the subquery message of Prometheus names it. */
static const char *short_type(enum tide_promql_type type)
{
    switch (type) {
    case TIDE_PROMQL_VECTOR:
        return "vector";
    case TIDE_PROMQL_MATRIX:
        return "matrix";
    default:
        return tide_promql_type_text(type);
    }
}

static bool expect_type(struct tide__parser *p, struct tide_expr *expr, enum tide_promql_type want,
                        const char *context)
{
    tide__parse_check(p, expr);
    if (p->err == TIDE_OK && expr->type != want)
        tide__parse_fail(p, expr->pos, "expected type %s in %s, got %s",
                         tide_promql_type_text(want), context, tide_promql_type_text(expr->type));
    return p->err == TIDE_OK;
}

static void check_aggregation(struct tide__parser *p, struct tide_expr *expr)
{
    struct tide_aggregation *aggregation = &expr->u.aggregation;
    enum tide_promql_type want =
        aggregation->op == TIDE_AGG_COUNT_VALUES ? TIDE_PROMQL_STRING : TIDE_PROMQL_SCALAR;

    if (expect_type(p, aggregation->expr, TIDE_PROMQL_VECTOR, "aggregation expression") &&
        aggregation->param != NULL)
        (void)expect_type(p, aggregation->param, want, "aggregation parameter");
}

/* The operator between the sides, without the blanks around it. */
static struct tide_promql_range operator_range(const struct tide__parser *p,
                                               const struct tide_expr *expr)
{
    const uint8_t *text = p->lexer.text.ptr;
    struct tide_promql_range pos = {expr->u.binary.lhs->pos.end, expr->u.binary.rhs->pos.start};

    while (pos.start < pos.end && strchr(" \t\r\n", text[pos.start]) != NULL)
        pos.start++;
    while (pos.end > pos.start && strchr(" \t\r\n", text[pos.end - 1]) != NULL)
        pos.end--;
    return pos;
}

static void check_matching(struct tide__parser *p, struct tide_expr *expr)
{
    struct tide_binary *binary = &expr->u.binary;
    struct tide_matching *matching = &binary->matching;
    bool set = tide_binary_op_is_set(binary->op);
    bool grouped =
        matching->card == TIDE_CARD_MANY_TO_ONE || matching->card == TIDE_CARD_ONE_TO_MANY;
    bool filled = matching->has_fill_left || matching->has_fill_right;

    binary->has_matching =
        binary->lhs->type == TIDE_PROMQL_VECTOR && binary->rhs->type == TIDE_PROMQL_VECTOR;
    if (binary->has_matching) {
        if (set && grouped)
            tide__parse_fail(p, expr->pos, "no grouping allowed for \"%s\" operation",
                             tide_binary_op_text(binary->op));
        if (set && filled)
            tide__parse_fail(p, expr->pos,
                             "filling in missing series not allowed for set operators");
        if (set)
            matching->card = TIDE_CARD_MANY_TO_MANY;
        return;
    }
    if (matching->label_count > 0)
        tide__parse_fail(p, expr->pos, "vector matching only allowed between instant vectors");
    if (filled)
        tide__parse_fail(p, expr->pos,
                         "filling in missing series only allowed between instant vectors");
    if (set)
        tide__parse_fail(p, expr->pos,
                         "set operator \"%s\" not allowed in binary scalar expression",
                         tide_binary_op_text(binary->op));
    *matching = (struct tide_matching){0};
}

static int compare_slices(const void *a, const void *b)
{
    return tide_slice_cmp(*(const struct tide_slice *)a, *(const struct tide_slice *)b);
}

/* A label of on(…) may not be one of group_left(…) too. Both lists may be long, so that each pair
 * is not compared. */
static void check_on_and_group(struct tide__parser *p, struct tide_expr *expr)
{
    const struct tide_matching *matching = &expr->u.binary.matching;
    size_t bytes = matching->include_count * sizeof(struct tide_slice);
    struct tide_slice *sorted;

    if (!matching->on || matching->include_count == 0)
        return;
    sorted = tide_arena_alloc(p->arena, bytes);
    if (sorted == NULL) {
        tide__parse_no_memory(p);
        return;
    }
    memcpy(sorted, matching->include, bytes);
    qsort(sorted, matching->include_count, sizeof(*sorted), compare_slices);
    for (size_t i = 0; i < matching->label_count && p->err == TIDE_OK; i++) {
        if (bsearch(&matching->labels[i], sorted, matching->include_count, sizeof(*sorted),
                    compare_slices) != NULL)
            tide__parse_fail(p, operator_range(p, expr),
                             "label %s must not occur in ON and GROUP clause at once",
                             tide__parse_quoted(p, matching->labels[i]));
    }
}

static void check_binary(struct tide__parser *p, struct tide_expr *expr)
{
    struct tide_binary *binary = &expr->u.binary;
    const struct tide_expr *sides[2] = {binary->lhs, binary->rhs};
    bool comparison = tide_binary_op_is_comparison(binary->op);

    tide__parse_check(p, binary->lhs);
    tide__parse_check(p, binary->rhs);
    if (binary->return_bool && !comparison)
        tide__parse_fail(p, operator_range(p, expr),
                         "bool modifier can only be used on comparison operators");
    if (comparison && !binary->return_bool && expr->type == TIDE_PROMQL_SCALAR)
        tide__parse_fail(p, operator_range(p, expr),
                         "comparisons between scalars must use BOOL modifier");
    check_on_and_group(p, expr);
    for (int i = 0; i < 2; i++) {
        if (sides[i]->type != TIDE_PROMQL_SCALAR && sides[i]->type != TIDE_PROMQL_VECTOR)
            tide__parse_fail(p, sides[i]->pos,
                             "binary expression must contain only scalar and instant vector types");
    }
    check_matching(p, expr);
}

static void check_arg_count(struct tide__parser *p, const struct tide_expr *expr,
                            const struct tide_fn_signature *signature)
{
    size_t got = expr->u.call.arg_count;
    size_t listed = (size_t)signature->arg_count;

    if (signature->variadic == 0) {
        if (got != listed)
            tide__parse_fail(p, expr->pos, "expected %zu argument(s) in call to \"%s\", got %zu",
                             listed, signature->name, got);
        return;
    }
    if (got < listed - 1)
        tide__parse_fail(p, expr->pos,
                         "expected at least %zu argument(s) in call to \"%s\", got %zu", listed - 1,
                         signature->name, got);
    else if (signature->variadic > 0 && got > listed - 1 + (size_t)signature->variadic)
        tide__parse_fail(p, expr->pos,
                         "expected at most %zu argument(s) in call to \"%s\", got %zu",
                         listed - 1 + (size_t)signature->variadic, signature->name, got);
}

/* The second argument of info() is only the matchers of a selector: it may be empty. */
static void check_info(struct tide__parser *p, const struct tide_expr *expr)
{
    const struct tide_expr *labels = expr->u.call.args[1];

    if (labels->type != TIDE_PROMQL_VECTOR)
        tide__parse_fail(p, expr->pos, "expected type %s in call to function \"info\", got %s",
                         tide_promql_type_text(TIDE_PROMQL_VECTOR),
                         tide_promql_type_text(labels->type));
    else if (labels->kind != TIDE_EXPR_SELECTOR)
        tide__parse_fail(p, labels->pos, "expected label selectors only");
    else if (labels->u.selector.name.len > 0)
        tide__parse_fail(p, labels->pos,
                         "expected label selectors only, got vector selector instead");
}

static void check_call(struct tide__parser *p, struct tide_expr *expr)
{
    const struct tide_call *call = &expr->u.call;
    struct tide_fn_signature signature = tide_fn_signature(call->fn);
    bool is_info = call->fn == TIDE_FN_INFO && call->arg_count > 1;
    char context[64];

    check_arg_count(p, expr, &signature);
    if (is_info)
        check_info(p, expr);
    snprintf(context, sizeof(context), "call to function \"%s\"", signature.name);
    for (size_t i = 0; i < call->arg_count && p->err == TIDE_OK; i++) {
        size_t listed = (size_t)signature.arg_count;

        if (is_info && i == 1)
            continue;
        (void)expect_type(p, call->args[i], signature.arg_types[i < listed ? i : listed - 1],
                          context);
    }
}

static void check_selector(struct tide__parser *p, struct tide_expr *expr)
{
    const struct tide_selector *selector = &expr->u.selector;
    bool not_empty = false;

    if (selector->name.len > 0) {
        /* The last matcher is the name before the braces. */
        for (size_t i = 0; i + 1 < selector->matcher_count && p->err == TIDE_OK; i++) {
            if (tide_slice_eq(selector->matchers[i].name, TIDE_SLICE(TIDE_LABEL_METRIC)))
                tide__parse_fail(p, expr->pos, "metric name must not be set twice: %s or %s",
                                 tide__parse_quoted(p, selector->name),
                                 tide__parse_quoted(p, selector->matchers[i].value));
        }
        return;
    }
    for (size_t i = 0; i < selector->matcher_count && !not_empty; i++)
        not_empty = !tide_matcher_matches_empty(&selector->matchers[i]);
    if (!not_empty)
        tide__parse_fail(p, expr->pos,
                         "vector selector must contain at least one non-empty matcher");
}

void tide__parse_check(struct tide__parser *p, struct tide_expr *root)
{
    if (p->err != TIDE_OK)
        return;
    switch (root->kind) {
    case TIDE_EXPR_NUMBER:
    case TIDE_EXPR_STRING:
        break;
    case TIDE_EXPR_SELECTOR:
        check_selector(p, root);
        break;
    case TIDE_EXPR_MATRIX:
        tide__parse_check(p, root->u.matrix.selector);
        break;
    case TIDE_EXPR_SUBQUERY:
        tide__parse_check(p, root->u.subquery.expr);
        if (root->u.subquery.expr->type != TIDE_PROMQL_VECTOR)
            tide__parse_fail(p, root->pos,
                             "subquery is only allowed on instant vector, got %s instead",
                             short_type(root->u.subquery.expr->type));
        break;
    case TIDE_EXPR_CALL:
        check_call(p, root);
        break;
    case TIDE_EXPR_AGGREGATE:
        check_aggregation(p, root);
        break;
    case TIDE_EXPR_BINARY:
        check_binary(p, root);
        break;
    case TIDE_EXPR_UNARY:
        tide__parse_check(p, root->u.unary.expr);
        if (root->type != TIDE_PROMQL_SCALAR && root->type != TIDE_PROMQL_VECTOR)
            tide__parse_fail(p, root->pos,
                             "unary expression only allowed on expressions of type scalar or "
                             "instant vector, got \"%s\"",
                             tide_promql_type_text(root->type));
        break;
    case TIDE_EXPR_PAREN:
        tide__parse_check(p, root->u.paren);
        break;
    }
}
