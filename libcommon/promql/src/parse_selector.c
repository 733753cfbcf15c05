/* Vector selectors and label lists. */
#include "parse_private.h"

bool tide__token_is_metric_name(const struct tide__token *token)
{
    switch (token->kind) {
    case TOKEN_IDENTIFIER:
    case TOKEN_METRIC_IDENTIFIER:
    case TOKEN_AGGREGATOR:
    case TOKEN_BY:
    case TOKEN_WITHOUT:
    case TOKEN_OFFSET:
    case TOKEN_ANCHORED:
    case TOKEN_SMOOTHED:
    case TOKEN_FILL:
    case TOKEN_FILL_LEFT:
    case TOKEN_FILL_RIGHT:
        return true;
    case TOKEN_OPERATOR:
        return tide_binary_op_is_set((enum tide_binary_op)token->op);
    default:
        return token->kind >= TOKEN_START && token->kind <= TOKEN_MAX_OF;
    }
}

/* A word that may be a label in by(…): all keywords may. */
static bool is_label(const struct tide__token *token)
{
    return tide__token_is_metric_name(token) ||
           (token->kind == TOKEN_OPERATOR && token->op == TIDE_OP_ATAN2) ||
           (token->kind >= TOKEN_BOOL && token->kind <= TOKEN_WITHOUT);
}

static bool parse_grouping_label(struct tide__parser *p, struct tide_slice *out)
{
    if (is_label(&p->token)) {
        *out = tide__parse_text(p, p->token.pos);
        tide__parse_advance(p);
        return true;
    }
    if (p->token.kind != TOKEN_STRING) {
        tide__parse_unexpected(p, "grouping opts", "label");
        return false;
    }
    if (tide__unquote(tide__parse_text(p, p->token.pos), p->arena, out) != TIDE_OK) {
        tide__parse_no_memory(p);
        return false;
    }
    if (out->len == 0 || !tide_slice_is_utf8(*out)) {
        tide__parse_fail(p, p->token.pos, "invalid label name for grouping: %s",
                         tide__parse_quoted(p, *out));
        return false;
    }
    tide__parse_advance(p);
    return true;
}

bool tide__parse_grouping(struct tide__parser *p, struct tide_slice **labels, size_t *count)
{
    struct tide__array array = {0};

    if (!tide__parse_expect(p, TOKEN_LEFT_PAREN, "grouping opts", "\"(\""))
        return false;
    while (p->token.kind != TOKEN_RIGHT_PAREN || array.count == 0) {
        struct tide_slice label;

        if (p->token.kind == TOKEN_RIGHT_PAREN)
            break;
        if (!parse_grouping_label(p, &label) || !tide__parse_push(p, &array, &label, sizeof(label)))
            return false;
        if (p->token.kind == TOKEN_RIGHT_PAREN)
            break;
        if (!tide__parse_expect(p, TOKEN_COMMA, "grouping opts", "\",\" or \")\""))
            return false;
    }
    *labels = array.items;
    *count = array.count;
    tide__parse_advance(p);
    return p->err == TIDE_OK;
}

/* The operator between label and value. */
static bool match_op(const struct tide__token *token, enum tide_match_op *out)
{
    switch (token->kind) {
    case TOKEN_EQUAL:
        *out = TIDE_MATCH_EQ;
        return true;
    case TOKEN_EQUAL_REGEX:
        *out = TIDE_MATCH_RE;
        return true;
    case TOKEN_NOT_REGEX:
        *out = TIDE_MATCH_NRE;
        return true;
    case TOKEN_OPERATOR:
        *out = TIDE_MATCH_NE;
        return token->op == TIDE_OP_NE;
    default:
        return false;
    }
}

/* Compiles a matcher into the array, where it is released from. */
static bool add_matcher(struct tide__parser *p, struct tide__array *matchers,
                        struct tide_promql_range pos, enum tide_match_op op, struct tide_slice name,
                        struct tide_slice value)
{
    struct tide_matcher matcher;
    struct tide_diag diag = {0};
    enum tide_err err = tide_matcher_init(&matcher, op, name, value, p->arena, &diag);

    if (err == TIDE_ERR_NO_MEMORY) {
        tide__parse_no_memory(p);
        return false;
    }
    if (err != TIDE_OK) {
        tide__parse_fail(p, pos, "error parsing regexp: %s", diag.text);
        return false;
    }
    if (matcher.kind == TIDE_MATCH_REGEX && ++p->regex_count > TIDE__REGEXES_MAX) {
        tide_matcher_release(&matcher);
        tide__parse_fail(p, pos, "more than %d regular expressions in one query",
                         TIDE__REGEXES_MAX);
        return false;
    }
    if (tide__parse_push(p, matchers, &matcher, sizeof(matcher)))
        return true;
    tide_matcher_release(&matcher);
    return false;
}

/* `label="value"`, `"label"="value"`, or `"metric"`. */
static bool parse_matcher(struct tide__parser *p, struct tide__array *matchers)
{
    bool quoted = p->token.kind == TOKEN_STRING;
    struct tide_promql_range pos = p->token.pos;
    struct tide_slice name = tide__parse_text(p, pos);
    struct tide_slice value;
    enum tide_match_op op;

    if (!quoted && p->token.kind != TOKEN_IDENTIFIER) {
        tide__parse_unexpected(p, "label matching", "identifier or \"}\"");
        return false;
    }
    if (quoted && tide__unquote(name, p->arena, &name) != TIDE_OK) {
        tide__parse_no_memory(p);
        return false;
    }
    tide__parse_advance(p);
    if (!match_op(&p->token, &op)) {
        if (quoted)
            return add_matcher(p, matchers, pos, TIDE_MATCH_EQ, TIDE_SLICE(TIDE_LABEL_METRIC),
                               name);
        tide__parse_unexpected(p, "label matching", "label matching operator");
        return false;
    }
    tide__parse_advance(p);
    if (p->token.kind != TOKEN_STRING) {
        tide__parse_unexpected(p, "label matching", "string");
        return false;
    }
    if (tide__unquote(tide__parse_text(p, p->token.pos), p->arena, &value) != TIDE_OK) {
        tide__parse_no_memory(p);
        return false;
    }
    pos.end = p->token.pos.end;
    tide__parse_advance(p);
    return add_matcher(p, matchers, pos, op, name, value);
}

/* From the left brace through the right one. */
static bool parse_matchers(struct tide__parser *p, struct tide__array *matchers)
{
    tide__parse_advance(p);
    while (p->token.kind != TOKEN_RIGHT_BRACE) {
        if (!parse_matcher(p, matchers))
            return false;
        if (p->token.kind == TOKEN_RIGHT_BRACE)
            break;
        if (!tide__parse_expect(p, TOKEN_COMMA, "label matching", "\",\" or \"}\""))
            return false;
    }
    tide__parse_advance(p);
    return p->err == TIDE_OK;
}

struct tide_expr *tide__parse_selector(struct tide__parser *p,
                                       const struct tide_promql_range *name_pos)
{
    struct tide_promql_range pos = name_pos != NULL ? *name_pos : p->token.pos;
    struct tide_expr *expr = tide__parse_node(p, TIDE_EXPR_SELECTOR, pos);
    struct tide__array matchers = {0};
    struct tide_selector *selector;
    bool ok;

    /* Listed first: whatever happens then, what its matchers hold is released. */
    if (expr == NULL || !tide__parse_push(p, &p->selectors, &expr, sizeof(struct tide_expr *)))
        return NULL;
    expr->type = TIDE_PROMQL_VECTOR;
    selector = &expr->u.selector;
    ok = p->token.kind != TOKEN_LEFT_BRACE || parse_matchers(p, &matchers);
    if (ok && name_pos != NULL) {
        selector->name = tide__parse_text(p, *name_pos);
        ok = add_matcher(p, &matchers, pos, TIDE_MATCH_EQ, TIDE_SLICE(TIDE_LABEL_METRIC),
                         selector->name);
    }
    expr->pos.end = p->consumed_end;
    selector->matchers = matchers.items;
    selector->matcher_count = matchers.count;
    return ok && p->err == TIDE_OK ? expr : NULL;
}
