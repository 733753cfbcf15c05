/* Ranges, subqueries, offset, @ and the durations within; and what those durations are for a
 * query's times. */
#include "parse_private.h"

#include "tide/base/number.h"

#include <math.h>

#define DURATION_WANTED "number, duration, step(), or range()"
/* Prometheus keeps durations as int64 nanoseconds. */
#define SECONDS_MAX 9223372036.854775807
#define MS_MAX (INT64_MAX / 1000000)

enum precedence { PREC_ADD, PREC_MUL, PREC_POW, PREC_NONE = -1 };

static struct tide_duration *parse_duration(struct tide__parser *p, const char *context,
                                            enum precedence least);

/* ---- Durations as written ---- */

static struct tide_duration *new_duration(struct tide__parser *p, enum tide_duration_op op,
                                          struct tide_promql_range pos, struct tide_duration *lhs,
                                          struct tide_duration *rhs)
{
    struct tide_duration *duration = tide_arena_new_array(p->arena, 1, sizeof(*duration));

    if (duration == NULL)
        return tide__parse_no_memory(p);
    duration->op = op;
    duration->pos = pos;
    duration->lhs = lhs;
    duration->rhs = rhs;
    duration->depth = 1;
    if (lhs != NULL)
        duration->depth = lhs->depth + 1;
    if (rhs != NULL && rhs->depth >= duration->depth)
        duration->depth = rhs->depth + 1;
    if (duration->depth > TIDE_PROMQL_DEPTH_MAX)
        return tide__parse_fail(p, pos, "duration is nested deeper than %d levels",
                                TIDE_PROMQL_DEPTH_MAX);
    return duration;
}

static struct tide_duration *parse_literal(struct tide__parser *p)
{
    struct tide_duration *duration =
        new_duration(p, TIDE_DURATION_NUMBER, p->token.pos, NULL, NULL);

    if (duration == NULL)
        return NULL;
    duration->is_duration = p->token.kind == TOKEN_DURATION;
    if (!tide__parse_number(p, &duration->seconds))
        return NULL;
    /* Not a number neither: the comparison is false for it. */
    if (!(fabs(duration->seconds) <= SECONDS_MAX))
        return tide__parse_fail(p, duration->pos, "duration out of range");
    return duration;
}

/* `step()`, `range()`, `min_of(a, b)`, `max_of(a, b)`. */
static struct tide_duration *parse_word(struct tide__parser *p, const char *context)
{
    struct tide__token word = p->token;
    struct tide_duration *lhs = NULL;
    struct tide_duration *rhs = NULL;
    enum tide_duration_op op = word.kind == TOKEN_STEP     ? TIDE_DURATION_STEP
                               : word.kind == TOKEN_RANGE  ? TIDE_DURATION_RANGE
                               : word.kind == TOKEN_MIN_OF ? TIDE_DURATION_MIN
                                                           : TIDE_DURATION_MAX;

    tide__parse_advance(p);
    if (!tide__parse_expect(p, TOKEN_LEFT_PAREN, context, DURATION_WANTED))
        return NULL;
    if (op == TIDE_DURATION_MIN || op == TIDE_DURATION_MAX) {
        lhs = parse_duration(p, context, PREC_ADD);
        if (lhs == NULL || !tide__parse_expect(p, TOKEN_COMMA, context, DURATION_WANTED))
            return NULL;
        rhs = parse_duration(p, context, PREC_ADD);
        if (rhs == NULL)
            return NULL;
    }
    if (!tide__parse_expect(p, TOKEN_RIGHT_PAREN, context, DURATION_WANTED))
        return NULL;
    return new_duration(p, op, (struct tide_promql_range){word.pos.start, p->consumed_end}, lhs,
                        rhs);
}

static struct tide_duration *parse_paren(struct tide__parser *p, const char *context)
{
    uint32_t start = p->token.pos.start;
    struct tide_duration *inner;

    tide__parse_advance(p);
    inner = parse_duration(p, context, PREC_ADD);
    if (inner == NULL || !tide__parse_expect(p, TOKEN_RIGHT_PAREN, context, DURATION_WANTED))
        return NULL;
    return new_duration(p, TIDE_DURATION_PAREN, (struct tide_promql_range){start, p->consumed_end},
                        inner, NULL);
}

/* `min` and `max` are aggregators where brackets do not tell the lexer better. */
static enum tide__token_kind duration_token(const struct tide__token *token)
{
    if (token->kind == TOKEN_AGGREGATOR && token->op == TIDE_AGG_MIN)
        return TOKEN_MIN_OF;
    if (token->kind == TOKEN_AGGREGATOR && token->op == TIDE_AGG_MAX)
        return TOKEN_MAX_OF;
    return token->kind;
}

static struct tide_duration *parse_primary(struct tide__parser *p, const char *context)
{
    p->token.kind = duration_token(&p->token);
    switch (p->token.kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
        return parse_literal(p);
    case TOKEN_STEP:
    case TOKEN_RANGE:
    case TOKEN_MIN_OF:
    case TOKEN_MAX_OF:
        return parse_word(p, context);
    case TOKEN_LEFT_PAREN:
        return parse_paren(p, context);
    default:
        return tide__parse_unexpected(p, context, DURATION_WANTED);
    }
}

/* A sign before an operand. A signed literal is a literal. A plus is kept before parentheses only:
 * after offset they would take in the operators that follow. */
static struct tide_duration *apply_sign(struct tide__parser *p, struct tide__token sign,
                                        struct tide_duration *operand)
{
    struct tide_promql_range pos;

    if (operand == NULL)
        return NULL;
    pos = (struct tide_promql_range){sign.pos.start, operand->pos.end};
    if (operand->op == TIDE_DURATION_NUMBER) {
        if (sign.op == TIDE_OP_SUB)
            operand->seconds = -operand->seconds;
        operand->pos = pos;
        return operand;
    }
    if (sign.op == TIDE_OP_SUB)
        return new_duration(p, TIDE_DURATION_NEGATE, pos, operand, NULL);
    return operand->op == TIDE_DURATION_PAREN
               ? new_duration(p, TIDE_DURATION_PLUS, pos, operand, NULL)
               : operand;
}

static bool is_sign(const struct tide__token *token)
{
    return token->kind == TOKEN_OPERATOR && (token->op == TIDE_OP_ADD || token->op == TIDE_OP_SUB);
}

static enum precedence duration_precedence(const struct tide__token *token,
                                           enum tide_duration_op *op)
{
    if (token->kind != TOKEN_OPERATOR)
        return PREC_NONE;
    switch ((enum tide_binary_op)token->op) {
    case TIDE_OP_ADD:
        *op = TIDE_DURATION_ADD;
        return PREC_ADD;
    case TIDE_OP_SUB:
        *op = TIDE_DURATION_SUB;
        return PREC_ADD;
    case TIDE_OP_MUL:
        *op = TIDE_DURATION_MUL;
        return PREC_MUL;
    case TIDE_OP_DIV:
        *op = TIDE_DURATION_DIV;
        return PREC_MUL;
    case TIDE_OP_MOD:
        *op = TIDE_DURATION_MOD;
        return PREC_MUL;
    case TIDE_OP_POW:
        *op = TIDE_DURATION_POW;
        return PREC_POW;
    default:
        return PREC_NONE;
    }
}

/* Goes on after the left side with operators that bind at least as tightly as least. */
static struct tide_duration *parse_operators(struct tide__parser *p, const char *context,
                                             enum precedence least, struct tide_duration *lhs)
{
    while (lhs != NULL) {
        struct tide__token token = p->token;
        enum tide_duration_op op = TIDE_DURATION_ADD;
        enum precedence precedence = duration_precedence(&token, &op);
        struct tide_duration *rhs;

        if (precedence == PREC_NONE || precedence < least)
            return lhs;
        tide__parse_advance(p);
        rhs = parse_duration(
            p, context, precedence == PREC_POW ? PREC_POW : (enum precedence)((int)precedence + 1));
        if (rhs == NULL)
            return NULL;
        if ((op == TIDE_DURATION_DIV || op == TIDE_DURATION_MOD) &&
            rhs->op == TIDE_DURATION_NUMBER && rhs->seconds == 0)
            return tide__parse_fail(p, token.pos, "%s by zero",
                                    op == TIDE_DURATION_DIV ? "division" : "modulo");
        lhs =
            new_duration(p, op, (struct tide_promql_range){lhs->pos.start, rhs->pos.end}, lhs, rhs);
    }
    return NULL;
}

static struct tide_duration *parse_duration(struct tide__parser *p, const char *context,
                                            enum precedence least)
{
    struct tide_duration *lhs;

    if (!tide__parse_enter(p))
        return NULL;
    if (is_sign(&p->token)) {
        struct tide__token sign = p->token;

        tide__parse_advance(p);
        lhs = apply_sign(p, sign, parse_duration(p, context, PREC_POW));
    } else {
        lhs = parse_primary(p, context);
    }
    lhs = parse_operators(p, context, least, lhs);
    tide__parse_leave(p);
    return p->err == TIDE_OK ? lhs : NULL;
}

/* After offset only one operand belongs to the duration, with a sign: `a offset 5m + 1` adds to
 * the selector. Parentheses without a sign may go on, as in Prometheus' grammar. */
static struct tide_duration *parse_offset_duration(struct tide__parser *p)
{
    struct tide__token sign = p->token;
    bool bare_paren = p->token.kind == TOKEN_LEFT_PAREN;
    struct tide_duration *duration;

    if (is_sign(&sign)) {
        tide__parse_advance(p);
        if (is_sign(&p->token))
            return apply_sign(p, sign, parse_duration(p, "offset", PREC_POW));
        return apply_sign(p, sign, parse_primary(p, "offset"));
    }
    duration = parse_primary(p, "offset");
    return bare_paren ? parse_operators(p, "offset", PREC_ADD, duration) : duration;
}

/* ---- Values ---- */

/* The value in seconds; words of the failure in *problem, which it leaves alone otherwise. */
static double duration_seconds(const struct tide_duration *duration,
                               const struct tide_promql_times *times, const char **problem,
                               struct tide_promql_range *pos)
{
    double lhs = 0;
    double rhs = 0;

    if (duration->lhs != NULL)
        lhs = duration_seconds(duration->lhs, times, problem, pos);
    if (duration->rhs != NULL)
        rhs = duration_seconds(duration->rhs, times, problem, pos);
    switch (duration->op) {
    case TIDE_DURATION_NUMBER:
        return duration->seconds;
    case TIDE_DURATION_STEP:
        return (double)times->step_ms / 1000.0;
    case TIDE_DURATION_RANGE:
        return (double)(times->end_ms - times->start_ms) / 1000.0;
    case TIDE_DURATION_NEGATE:
        return -lhs;
    case TIDE_DURATION_PLUS:
    case TIDE_DURATION_PAREN:
        return lhs;
    case TIDE_DURATION_ADD:
        return lhs + rhs;
    case TIDE_DURATION_SUB:
        return lhs - rhs;
    case TIDE_DURATION_MUL:
        return lhs * rhs;
    case TIDE_DURATION_DIV:
    case TIDE_DURATION_MOD:
        if (rhs == 0 && *problem == NULL) {
            *problem = duration->op == TIDE_DURATION_DIV ? "division by zero" : "modulo by zero";
            *pos = duration->pos;
        }
        return duration->op == TIDE_DURATION_DIV ? lhs / rhs : fmod(lhs, rhs);
    case TIDE_DURATION_POW:
        return pow(lhs, rhs);
    case TIDE_DURATION_MIN:
        return isnan(lhs) || lhs < rhs ? lhs : rhs;
    case TIDE_DURATION_MAX:
        return isnan(lhs) || lhs > rhs ? lhs : rhs;
    }
    return 0;
}

static bool depends_on_times(const struct tide_duration *duration)
{
    return duration != NULL &&
           (duration->op == TIDE_DURATION_STEP || duration->op == TIDE_DURATION_RANGE ||
            depends_on_times(duration->lhs) || depends_on_times(duration->rhs));
}

/* Milliseconds; NULL, or what is wrong at *pos. */
static const char *duration_ms(const struct tide_duration *duration,
                               const struct tide_promql_times *times, bool may_be_negative,
                               int64_t *out, struct tide_promql_range *pos)
{
    const char *problem = NULL;
    double seconds = duration_seconds(duration, times, &problem, pos);
    double ms;

    if (problem != NULL)
        return problem;
    *pos = duration->pos;
    if (!may_be_negative && seconds <= 0)
        return "duration must be greater than 0";
    /* A literal is rounded to nanoseconds first, an expression is cut to milliseconds. */
    if (duration->op == TIDE_DURATION_NUMBER)
        ms = trunc(round(seconds * 1e9) / 1e6);
    else
        ms = trunc(seconds * 1000.0);
    if (!(fabs(ms) <= (double)MS_MAX))
        return "duration is out of range";
    if (!may_be_negative && ms < 1)
        return "duration must be greater than 0";
    *out = (int64_t)ms;
    return NULL;
}

/* Sets *out when the value is the same for every query; a failure shows when it is resolved. */
static void fold(const struct tide_duration *duration, bool may_be_negative, int64_t *out)
{
    static const struct tide_promql_times no_times = {0};
    struct tide_promql_range pos;

    if (!depends_on_times(duration) &&
        duration_ms(duration, &no_times, may_be_negative, out, &pos) != NULL)
        *out = 0;
}

/* ---- Postfixes ---- */

/* A range or step: a literal is checked at once. */
static struct tide_duration *parse_positive(struct tide__parser *p)
{
    struct tide_duration *duration = parse_duration(p, "subquery or range selector", PREC_ADD);

    if (duration != NULL && duration->op == TIDE_DURATION_NUMBER && duration->seconds <= 0)
        return tide__parse_fail(p, duration->pos, "duration must be greater than 0");
    return duration;
}

static bool starts_duration(const struct tide__token *token)
{
    return token->kind == TOKEN_NUMBER || token->kind == TOKEN_DURATION ||
           token->kind == TOKEN_LEFT_PAREN || is_sign(token) ||
           (token->kind >= TOKEN_STEP && token->kind <= TOKEN_MAX_OF);
}

static struct tide_expr *parse_subquery(struct tide__parser *p, struct tide_expr *expr,
                                        struct tide_duration *range)
{
    struct tide_expr *node = tide__parse_node(p, TIDE_EXPR_SUBQUERY, expr->pos);
    struct tide_subquery *subquery;

    if (node == NULL)
        return NULL;
    subquery = &node->u.subquery;
    node->type = TIDE_PROMQL_MATRIX;
    subquery->expr = expr;
    subquery->range = range;
    fold(range, false, &subquery->range_ms);
    tide__parse_advance(p);
    if (starts_duration(&p->token)) {
        subquery->step = parse_positive(p);
        if (subquery->step == NULL)
            return NULL;
        fold(subquery->step, false, &subquery->step_ms);
        if (p->token.kind != TOKEN_RIGHT_BRACKET)
            return tide__parse_unexpected(p, "subquery selector", "\"]\"");
    } else if (p->token.kind != TOKEN_RIGHT_BRACKET) {
        return tide__parse_unexpected(p, "subquery selector",
                                      "number, duration, step(), range(), or \"]\"");
    }
    tide__parse_advance(p);
    node->pos.end = p->consumed_end;
    return tide__parse_depth(p, node) ? node : NULL;
}

static struct tide_expr *parse_brackets(struct tide__parser *p, struct tide_expr *expr)
{
    struct tide_promql_range brackets = p->token.pos;
    struct tide_duration *range;
    struct tide_expr *node;
    const struct tide_shift *shift = &expr->u.selector.shift;

    tide__parse_advance(p);
    range = parse_positive(p);
    if (range == NULL)
        return NULL;
    if (p->token.kind == TOKEN_COLON)
        return parse_subquery(p, expr, range);
    if (!tide__parse_expect(p, TOKEN_RIGHT_BRACKET, "subquery or range", "\":\" or \"]\""))
        return NULL;
    brackets.end = p->consumed_end;
    if (expr->kind != TIDE_EXPR_SELECTOR)
        return tide__parse_fail(p, brackets, "ranges only allowed for vector selectors");
    if (shift->offset != NULL)
        return tide__parse_fail(p, brackets, "no offset modifiers allowed before range");
    if (shift->at != TIDE_AT_NONE)
        return tide__parse_fail(p, brackets, "no @ modifiers allowed before range");
    node = tide__parse_node(p, TIDE_EXPR_MATRIX,
                            (struct tide_promql_range){expr->pos.start, brackets.end});
    if (node == NULL)
        return NULL;
    node->type = TIDE_PROMQL_MATRIX;
    node->u.matrix.selector = expr;
    node->u.matrix.range = range;
    fold(range, false, &node->u.matrix.range_ms);
    return tide__parse_depth(p, node) ? node : NULL;
}

/* Where `offset` and `@` of an expression go; NULL when it takes none. */
static struct tide_shift *shift_of(struct tide_expr *expr)
{
    switch (expr->kind) {
    case TIDE_EXPR_SELECTOR:
        return &expr->u.selector.shift;
    case TIDE_EXPR_MATRIX:
        return &expr->u.matrix.selector->u.selector.shift;
    case TIDE_EXPR_SUBQUERY:
        return &expr->u.subquery.shift;
    default:
        return NULL;
    }
}

static struct tide_expr *parse_offset(struct tide__parser *p, struct tide_expr *expr)
{
    struct tide_shift *shift = shift_of(expr);
    struct tide_duration *offset;

    tide__parse_advance(p);
    offset = parse_offset_duration(p);
    if (offset == NULL)
        return NULL;
    if (shift == NULL)
        return tide__parse_fail(p, expr->pos,
                                "offset modifier must be preceded by an instant vector selector or "
                                "range vector selector or a subquery");
    if (shift->offset != NULL &&
        (shift->offset->op != TIDE_DURATION_NUMBER || shift->offset->seconds != 0))
        return tide__parse_fail(p, expr->pos, "offset may not be set multiple times");
    shift->offset = offset;
    fold(offset, true, &shift->offset_ms);
    expr->pos.end = p->consumed_end;
    return expr;
}

/* The number after `@`, in seconds. */
static bool parse_at_time(struct tide__parser *p, double *out)
{
    bool negate = false;

    if (is_sign(&p->token)) {
        negate = p->token.op == TIDE_OP_SUB;
        tide__parse_advance(p);
    }
    if (p->token.kind != TOKEN_NUMBER && p->token.kind != TOKEN_DURATION) {
        tide__parse_unexpected(p, "@", "timestamp");
        return false;
    }
    if (!tide__parse_number(p, out))
        return false;
    if (negate)
        *out = -*out;
    return true;
}

/* Go writes infinities and what is no number in its own way. */
static struct tide_expr *at_out_of_bounds(struct tide__parser *p, const struct tide_expr *expr,
                                          double seconds)
{
    static const char message[] = "timestamp out of bounds for @ modifier";

    if (isnan(seconds))
        return tide__parse_fail(p, expr->pos, "%s: NaN", message);
    if (isinf(seconds))
        return tide__parse_fail(p, expr->pos, "%s: %cInf", message, seconds > 0 ? '+' : '-');
    return tide__parse_fail(p, expr->pos, "%s: %f", message, seconds);
}

static struct tide_expr *parse_at(struct tide__parser *p, struct tide_expr *expr)
{
    struct tide_shift *shift = shift_of(expr);
    enum tide_at at = TIDE_AT_TIME;
    double seconds = 0;

    tide__parse_advance(p);
    if (p->token.kind == TOKEN_START || p->token.kind == TOKEN_END) {
        at = p->token.kind == TOKEN_START ? TIDE_AT_START : TIDE_AT_END;
        tide__parse_advance(p);
        if (!tide__parse_expect(p, TOKEN_LEFT_PAREN, "@", "timestamp") ||
            !tide__parse_expect(p, TOKEN_RIGHT_PAREN, "@", "timestamp"))
            return NULL;
    } else {
        if (!parse_at_time(p, &seconds))
            return NULL;
        /* The bound is of the milliseconds that are kept; false for a NaN too. */
        if (!(fabs(seconds) < (double)INT64_MAX / 1000.0))
            return at_out_of_bounds(p, expr, seconds);
    }
    if (shift == NULL)
        return tide__parse_fail(p, expr->pos,
                                "@ modifier must be preceded by an instant vector selector or "
                                "range vector selector or a subquery");
    if (shift->at != TIDE_AT_NONE)
        return tide__parse_fail(p, expr->pos, "@ <timestamp> may not be set multiple times");
    shift->at = at;
    shift->at_ms = (int64_t)round(seconds * 1000.0);
    expr->pos.end = p->consumed_end;
    return expr;
}

static struct tide_expr *parse_extension(struct tide__parser *p, struct tide_expr *expr)
{
    bool anchored = p->token.kind == TOKEN_ANCHORED;
    const char *name = anchored ? "anchored" : "smoothed";
    struct tide_expr *owner = expr->kind == TIDE_EXPR_MATRIX ? expr->u.matrix.selector : expr;
    struct tide_selector *selector = &owner->u.selector;

    if (owner->kind == TIDE_EXPR_SUBQUERY)
        return tide__parse_fail(p, expr->pos, "%s modifier is not supported for subqueries", name);
    if (owner->kind != TIDE_EXPR_SELECTOR)
        return tide__parse_fail(p, expr->pos, "%s modifier not implemented", name);
    if (anchored ? selector->smoothed : selector->anchored)
        return tide__parse_fail(p, expr->pos,
                                "anchored and smoothed modifiers cannot be used together");
    if (anchored)
        selector->anchored = true;
    else
        selector->smoothed = true;
    tide__parse_advance(p);
    return expr;
}

struct tide_expr *tide__parse_postfix(struct tide__parser *p, struct tide_expr *expr)
{
    while (expr != NULL) {
        switch (p->token.kind) {
        case TOKEN_LEFT_BRACKET:
            expr = parse_brackets(p, expr);
            break;
        case TOKEN_OFFSET:
            expr = parse_offset(p, expr);
            break;
        case TOKEN_AT:
            expr = parse_at(p, expr);
            break;
        case TOKEN_ANCHORED:
        case TOKEN_SMOOTHED:
            expr = parse_extension(p, expr);
            break;
        default:
            return expr;
        }
    }
    return NULL;
}

/* ---- For a query's times ---- */

static enum tide_err resolve_duration(const struct tide_duration *duration,
                                      const struct tide_promql_times *times, bool may_be_negative,
                                      int64_t *out, struct tide_diag *diag)
{
    struct tide_promql_range pos;
    const char *problem;

    if (duration == NULL)
        return TIDE_OK;
    problem = duration_ms(duration, times, may_be_negative, out, &pos);
    if (problem == NULL)
        return TIDE_OK;
    return tide_diag_err(diag, TIDE_ERR_INVALID, "%u:%u: %s", (unsigned)pos.start,
                         (unsigned)pos.end, problem);
}

static enum tide_err resolve_shift(struct tide_shift *shift, const struct tide_promql_times *times,
                                   struct tide_diag *diag)
{
    if (shift->at == TIDE_AT_START)
        shift->at_ms = times->start_ms;
    else if (shift->at == TIDE_AT_END)
        shift->at_ms = times->end_ms;
    return resolve_duration(shift->offset, times, true, &shift->offset_ms, diag);
}

/* The depth of a tree is bounded. */
static enum tide_err resolve(struct tide_expr *expr, const struct tide_promql_times *times,
                             struct tide_diag *diag)
{
    struct tide_expr *child;
    enum tide_err err = TIDE_OK;

    switch (expr->kind) {
    case TIDE_EXPR_SELECTOR:
        err = resolve_shift(&expr->u.selector.shift, times, diag);
        break;
    case TIDE_EXPR_MATRIX:
        err = resolve_duration(expr->u.matrix.range, times, false, &expr->u.matrix.range_ms, diag);
        break;
    case TIDE_EXPR_SUBQUERY:
        err = resolve_shift(&expr->u.subquery.shift, times, diag);
        if (err == TIDE_OK)
            err = resolve_duration(expr->u.subquery.step, times, false, &expr->u.subquery.step_ms,
                                   diag);
        if (err == TIDE_OK)
            err = resolve_duration(expr->u.subquery.range, times, false, &expr->u.subquery.range_ms,
                                   diag);
        break;
    default:
        break;
    }
    for (size_t i = 0; err == TIDE_OK && (child = tide_expr_child(expr, i)) != NULL; i++)
        err = resolve(child, times, diag);
    return err;
}

enum tide_err tide_promql_resolve(struct tide_promql *query, const struct tide_promql_times *times,
                                  struct tide_diag *diag)
{
    return resolve(query->root, times, diag);
}
