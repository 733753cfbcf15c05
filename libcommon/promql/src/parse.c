/* Recursive descent over the tokens; binary operators by precedence climbing. The first failure is
 * kept and everything unwinds by NULL. Words and places of failures follow the error rules of
 * Prometheus' grammar: where it has no words of its own for a place, the nearest aggregation
 * around is named. */
#include "parse_private.h"

#include "tide/base/assert.h"
#include "tide/base/number.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum precedence { PREC_OR = 1, PREC_AND, PREC_COMPARE, PREC_ADD, PREC_MUL, PREC_POW };

static const struct {
    const char *text;
    enum precedence precedence;
} operators[TIDE_OP_COUNT] = {
    [TIDE_OP_ADD] = {"+", PREC_ADD},
    [TIDE_OP_SUB] = {"-", PREC_ADD},
    [TIDE_OP_MUL] = {"*", PREC_MUL},
    [TIDE_OP_DIV] = {"/", PREC_MUL},
    [TIDE_OP_MOD] = {"%", PREC_MUL},
    [TIDE_OP_POW] = {"^", PREC_POW},
    [TIDE_OP_ATAN2] = {"atan2", PREC_MUL},
    [TIDE_OP_EQ] = {"==", PREC_COMPARE},
    [TIDE_OP_NE] = {"!=", PREC_COMPARE},
    [TIDE_OP_GT] = {">", PREC_COMPARE},
    [TIDE_OP_LT] = {"<", PREC_COMPARE},
    [TIDE_OP_GE] = {">=", PREC_COMPARE},
    [TIDE_OP_LE] = {"<=", PREC_COMPARE},
    [TIDE_OP_TRIM_UPPER] = {"</", PREC_COMPARE},
    [TIDE_OP_TRIM_LOWER] = {">/", PREC_COMPARE},
    [TIDE_OP_AND] = {"and", PREC_AND},
    [TIDE_OP_OR] = {"or", PREC_OR},
    [TIDE_OP_UNLESS] = {"unless", PREC_AND},
};

static const char *const aggregates[TIDE_AGG_OPERATORS] = {
    [TIDE_AGG_SUM] = "sum",
    [TIDE_AGG_AVG] = "avg",
    [TIDE_AGG_COUNT] = "count",
    [TIDE_AGG_MIN] = "min",
    [TIDE_AGG_MAX] = "max",
    [TIDE_AGG_GROUP] = "group",
    [TIDE_AGG_STDDEV] = "stddev",
    [TIDE_AGG_STDVAR] = "stdvar",
    [TIDE_AGG_TOPK] = "topk",
    [TIDE_AGG_BOTTOMK] = "bottomk",
    [TIDE_AGG_QUANTILE] = "quantile",
    [TIDE_AGG_LIMITK] = "limitk",
    [TIDE_AGG_LIMIT_RATIO] = "limit_ratio",
    [TIDE_AGG_COUNT_VALUES] = "count_values",
};

static struct tide_expr *parse_binary(struct tide__parser *p, enum precedence least);

const char *tide_binary_op_text(enum tide_binary_op op)
{
    TIDE_ASSERT(op < TIDE_OP_COUNT);
    return operators[op].text;
}

const char *tide_aggregate_text(enum tide_aggregate op)
{
    TIDE_ASSERT(op < TIDE_AGG_OPERATORS);
    return aggregates[op];
}

struct tide_expr *tide_expr_child(const struct tide_expr *expr, size_t i)
{
    switch (expr->kind) {
    case TIDE_EXPR_NUMBER:
    case TIDE_EXPR_STRING:
    case TIDE_EXPR_SELECTOR:
        return NULL;
    case TIDE_EXPR_MATRIX:
        return i == 0 ? expr->u.matrix.selector : NULL;
    case TIDE_EXPR_SUBQUERY:
        return i == 0 ? expr->u.subquery.expr : NULL;
    case TIDE_EXPR_CALL:
        return i < expr->u.call.arg_count ? expr->u.call.args[i] : NULL;
    case TIDE_EXPR_AGGREGATE:
        if (expr->u.aggregation.param != NULL && i-- == 0)
            return expr->u.aggregation.param;
        return i == 0 ? expr->u.aggregation.expr : NULL;
    case TIDE_EXPR_BINARY:
        return i == 0 ? expr->u.binary.lhs : i == 1 ? expr->u.binary.rhs : NULL;
    case TIDE_EXPR_UNARY:
        return i == 0 ? expr->u.unary.expr : NULL;
    case TIDE_EXPR_PAREN:
        return i == 0 ? expr->u.paren : NULL;
    }
    return NULL;
}

const struct tide_expr *tide_expr_unparen(const struct tide_expr *expr)
{
    while (expr->kind == TIDE_EXPR_PAREN)
        expr = expr->u.paren;
    return expr;
}

/* ---- Failing ---- */

void *tide__parse_no_memory(struct tide__parser *p)
{
    if (p->err == TIDE_OK)
        p->err = TIDE_ERR_NO_MEMORY;
    return NULL;
}

void *tide__parse_fail(struct tide__parser *p, struct tide_promql_range pos, const char *format,
                       ...)
{
    va_list args;
    char text[sizeof(((struct tide_diag *)NULL)->text)];

    if (p->err != TIDE_OK)
        return NULL;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    p->message = tide_arena_printf(p->arena, "%s", text);
    if (p->message == NULL)
        return tide__parse_no_memory(p);
    p->err = TIDE_ERR_INVALID;
    p->out->error = pos;
    return NULL;
}

struct tide_slice tide__parse_text(const struct tide__parser *p, struct tide_promql_range pos)
{
    return (struct tide_slice){p->lexer.text.ptr + pos.start, pos.end - pos.start};
}

const char *tide__parse_quoted(struct tide__parser *p, struct tide_slice text)
{
    struct tide_buf quoted = {0};
    char *copy = NULL;

    if (text.len > 200)
        text.len = 200;
    tide__quote(&quoted, text);
    if (!quoted.failed)
        copy = tide_arena_printf(p->arena, "%.*s", TIDE_SLICE_ARGS(tide_buf_view(&quoted)));
    tide_buf_deinit(&quoted);
    if (copy == NULL)
        tide__parse_no_memory(p);
    return copy != NULL ? copy : "";
}

/* A literal as Prometheus shows it in a message: cut after ten code points. */
static const char *quoted_short(struct tide__parser *p, struct tide_slice text)
{
    struct tide_slice rest = text;
    const char *quoted;

    if (text.len <= 10)
        return tide__parse_quoted(p, text);
    for (int i = 0; i < 10 && rest.len > 0; i++) {
        size_t width;

        (void)tide__rune(rest, &width);
        rest.ptr += width;
        rest.len -= width;
    }
    quoted = tide__parse_quoted(p, (struct tide_slice){text.ptr, text.len - rest.len});
    quoted = tide_arena_printf(p->arena, "%s...", quoted);
    return quoted != NULL ? quoted : "";
}

/* What the token looked at is called in messages. */
static const char *token_name(struct tide__parser *p)
{
    struct tide_slice text = tide__parse_text(p, p->token.pos);
    const char *name = NULL;

    switch (p->token.kind) {
    case TOKEN_EOF:
        return "end of input";
    case TOKEN_IDENTIFIER:
        name = tide_arena_printf(p->arena, "identifier %s", tide__parse_quoted(p, text));
        break;
    case TOKEN_METRIC_IDENTIFIER:
        name = tide_arena_printf(p->arena, "metric identifier %s", tide__parse_quoted(p, text));
        break;
    case TOKEN_NUMBER:
        name = tide_arena_printf(p->arena, "number %s", quoted_short(p, text));
        break;
    case TOKEN_DURATION:
        name = tide_arena_printf(p->arena, "duration %s", quoted_short(p, text));
        break;
    case TOKEN_STRING:
        name = tide_arena_printf(p->arena, "string %s", quoted_short(p, text));
        break;
    case TOKEN_OPERATOR:
    case TOKEN_AT:
    case TOKEN_EQUAL_REGEX:
    case TOKEN_NOT_REGEX:
        name = tide_arena_printf(p->arena, "<op:%.*s>", TIDE_SLICE_ARGS(text));
        break;
    case TOKEN_AGGREGATOR:
        name = tide_arena_printf(p->arena, "<aggr:%.*s>", TIDE_SLICE_ARGS(text));
        break;
    default:
        if (p->token.kind >= TOKEN_BOOL && p->token.kind <= TOKEN_WITHOUT)
            name = tide_arena_printf(p->arena, "<%.*s>", TIDE_SLICE_ARGS(text));
        else
            name = tide__parse_quoted(p, text);
        break;
    }
    if (name == NULL)
        tide__parse_no_memory(p);
    return name != NULL ? name : "";
}

void *tide__parse_unexpected(struct tide__parser *p, const char *context, const char *expected)
{
    if (context[0] == '\0' && p->aggregations > 0)
        context = "aggregation";
    return tide__parse_fail(p, p->token.pos, "unexpected %s%s%s%s%s", token_name(p),
                            context[0] != '\0' ? " in " : "", context,
                            expected[0] != '\0' ? ", expected " : "", expected);
}

/* ---- Steps ---- */

void tide__parse_advance(struct tide__parser *p)
{
    p->consumed_end = p->token.pos.end;
    tide__lex_next(&p->lexer, &p->token);
    if (p->token.kind != TOKEN_ERROR)
        return;
    tide__parse_fail(p, p->token.pos, "%s", p->lexer.message);
    /* What comes next fails too, and is not heard. */
    p->token = (struct tide__token){
        TOKEN_EOF, 0, {(uint32_t)p->lexer.text.len, (uint32_t)p->lexer.text.len}};
}

bool tide__parse_expect(struct tide__parser *p, enum tide__token_kind kind, const char *context,
                        const char *expected)
{
    if (p->token.kind != kind) {
        tide__parse_unexpected(p, context, expected);
        return false;
    }
    tide__parse_advance(p);
    return true;
}

bool tide__parse_enter(struct tide__parser *p)
{
    if (p->err != TIDE_OK)
        return false;
    if (p->nesting >= TIDE_PROMQL_DEPTH_MAX) {
        tide__parse_fail(p, p->token.pos, "expression is nested deeper than %d levels",
                         TIDE_PROMQL_DEPTH_MAX);
        return false;
    }
    p->nesting++;
    return true;
}

void tide__parse_leave(struct tide__parser *p)
{
    TIDE_ASSERT(p->nesting > 0);
    p->nesting--;
}

bool tide__parse_push(struct tide__parser *p, struct tide__array *array, const void *item,
                      size_t item_bytes)
{
    if (array->count == array->capacity) {
        size_t more = array->capacity == 0 ? 4 : array->capacity * 2;
        void *grown = tide_arena_alloc(p->arena, more * item_bytes);

        if (grown == NULL) {
            tide__parse_no_memory(p);
            return false;
        }
        if (array->count > 0)
            memcpy(grown, array->items, array->count * item_bytes);
        array->items = grown;
        array->capacity = more;
    }
    memcpy((uint8_t *)array->items + array->count * item_bytes, item, item_bytes);
    array->count++;
    return true;
}

struct tide_expr *tide__parse_node(struct tide__parser *p, enum tide_expr_kind kind,
                                   struct tide_promql_range pos)
{
    struct tide_expr *expr = tide_arena_new_array(p->arena, 1, sizeof(*expr));

    if (expr == NULL)
        return tide__parse_no_memory(p);
    expr->kind = kind;
    expr->pos = pos;
    expr->id = p->out->node_count++;
    expr->depth = 1;
    return expr;
}

bool tide__parse_depth(struct tide__parser *p, struct tide_expr *expr)
{
    const struct tide_expr *child;

    for (size_t i = 0; (child = tide_expr_child(expr, i)) != NULL; i++) {
        if (child->depth >= expr->depth)
            expr->depth = child->depth + 1;
    }
    if (expr->depth > TIDE_PROMQL_DEPTH_MAX) {
        tide__parse_fail(p, (struct tide_promql_range){p->consumed_end, p->token.pos.end},
                         "expression is nested deeper than %d levels", TIDE_PROMQL_DEPTH_MAX);
        return false;
    }
    return true;
}

/* ---- Numbers ---- */

/* Go's rule: an underscore stands between two digits, or after the base. */
static bool underscores_fit(struct tide_slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        bool before;

        if (text.ptr[i] != '_')
            continue;
        before = i > 0 && ((text.ptr[i - 1] >= '0' && text.ptr[i - 1] <= '9') ||
                           strchr("abcdefABCDEFxX", text.ptr[i - 1]) != NULL);
        if (!before || i + 1 == text.len || text.ptr[i + 1] == '_' || text.ptr[i + 1] == '.')
            return false;
    }
    return true;
}

/* An integer of a base from its digits; false when a byte is no digit or it exceeds int64. */
static bool parse_integer(struct tide_slice digits, uint64_t base, double *out)
{
    uint64_t value = 0;

    for (size_t i = 0; i < digits.len; i++) {
        uint8_t c = digits.ptr[i];
        uint64_t digit =
            c >= '0' && c <= '9' ? (uint64_t)(c - '0') : (uint64_t)((c | 0x20) - 'a') + 10;

        if (digit >= base || value > ((uint64_t)INT64_MAX - digit) / base)
            return false;
        value = value * base + digit;
    }
    *out = (double)value;
    return digits.len > 0;
}

/* Go reads an integer in base 16 after 0x and in base 8 after 0, and else a decimal number. */
static bool number_value(struct tide__parser *p, struct tide_slice text, double *out)
{
    struct tide_slice plain = {NULL, 0};
    uint8_t *bytes = tide_arena_alloc(p->arena, text.len + 1);
    bool hex;

    if (bytes == NULL) {
        tide__parse_no_memory(p);
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] != '_')
            bytes[plain.len++] = text.ptr[i];
    }
    plain.ptr = bytes;
    hex = plain.len > 1 && bytes[0] == '0' && (bytes[1] | 0x20) == 'x';
    if (underscores_fit(text)) {
        struct tide_slice rest = {bytes + (hex ? 2 : 1), plain.len - (hex ? 2 : 1)};

        if (hex && parse_integer(rest, 16, out))
            return true;
        if (!hex && rest.len > 0 && bytes[0] == '0' && parse_integer(rest, 8, out))
            return true;
        if (!hex && tide_number_parse(plain, out)) {
            if (!isinf(*out) || (bytes[0] | 0x20) == 'i')
                return true;
            tide__parse_fail(p, p->token.pos,
                             "error parsing number: strconv.ParseFloat: parsing %s: value out of "
                             "range",
                             tide__parse_quoted(p, text));
            return false;
        }
    }
    tide__parse_fail(p, p->token.pos,
                     "error parsing number: strconv.ParseFloat: parsing %s: invalid syntax",
                     tide__parse_quoted(p, text));
    return false;
}

/* Whether the units of a duration token fall: then a duration that cannot be read is too long. */
static bool units_fall(struct tide_slice text)
{
    static const char *const units[] = {"y", "w", "d", "h", "m", "s", "ms"};
    size_t next = 0;

    for (size_t i = 0; i < text.len;) {
        size_t start;
        size_t unit = next;

        while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9')
            i++;
        for (start = i; i < text.len && (text.ptr[i] < '0' || text.ptr[i] > '9');)
            i++;
        while (unit < sizeof(units) / sizeof(units[0]) &&
               !tide_slice_eq((struct tide_slice){text.ptr + start, i - start},
                              tide_slice_str(units[unit])))
            unit++;
        if (unit == sizeof(units) / sizeof(units[0]))
            return false;
        next = unit + 1;
    }
    return true;
}

bool tide__parse_number(struct tide__parser *p, double *out)
{
    struct tide_slice text = tide__parse_text(p, p->token.pos);
    int64_t ms;

    if (p->token.kind == TOKEN_NUMBER) {
        if (!number_value(p, text, out))
            return false;
    } else {
        if (!tide_duration_parse(text, &ms)) {
            if (units_fall(text))
                tide__parse_fail(p, p->token.pos, "duration out of range");
            else
                tide__parse_fail(p, p->token.pos, "not a valid duration string: %s",
                                 tide__parse_quoted(p, text));
            return false;
        }
        *out = (double)ms / 1000.0;
    }
    tide__parse_advance(p);
    return true;
}

/* ---- Calls and aggregations ---- */

static bool starts_expression(const struct tide__token *token)
{
    switch (token->kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
    case TOKEN_STRING:
    case TOKEN_LEFT_PAREN:
    case TOKEN_LEFT_BRACE:
        return true;
    case TOKEN_OPERATOR:
        if (token->op == TIDE_OP_ADD || token->op == TIDE_OP_SUB)
            return true;
        break;
    default:
        break;
    }
    return tide__token_is_metric_name(token);
}

/* The arguments (struct tide_expr *) from the left parenthesis on, through the right one. */
static bool parse_args(struct tide__parser *p, struct tide__array *args)
{
    tide__parse_advance(p);
    if (p->token.kind == TOKEN_RIGHT_PAREN) {
        tide__parse_advance(p);
        return p->err == TIDE_OK;
    }
    for (;;) {
        struct tide_expr *arg = parse_binary(p, PREC_OR);
        struct tide_promql_range comma = p->token.pos;

        if (arg == NULL || !tide__parse_push(p, args, &arg, sizeof(struct tide_expr *)))
            return false;
        if (p->token.kind != TOKEN_COMMA)
            break;
        tide__parse_advance(p);
        if (!starts_expression(&p->token)) {
            tide__parse_fail(p, comma, "trailing commas not allowed in function call args");
            return false;
        }
    }
    return tide__parse_expect(p, TOKEN_RIGHT_PAREN, "", "");
}

static struct tide_expr *parse_call(struct tide__parser *p, struct tide__token name)
{
    struct tide_slice text = tide__parse_text(p, name.pos);
    struct tide_expr *expr = tide__parse_node(p, TIDE_EXPR_CALL, name.pos);
    struct tide__array args = {0};
    struct tide_call *call;

    if (expr == NULL || !parse_args(p, &args))
        return NULL;
    call = &expr->u.call;
    call->args = args.items;
    call->arg_count = args.count;
    if (!tide_fn_find(text, &call->fn))
        return tide__parse_fail(p, name.pos, "unknown function with name %s",
                                tide__parse_quoted(p, text));
    expr->pos.end = p->consumed_end;
    expr->type = tide_fn_signature(call->fn).result;
    return tide__parse_depth(p, expr) ? expr : NULL;
}

static bool parse_aggregate_modifier(struct tide__parser *p, struct tide_aggregation *out)
{
    if (p->token.kind != TOKEN_BY && p->token.kind != TOKEN_WITHOUT)
        return true;
    out->without = p->token.kind == TOKEN_WITHOUT;
    tide__parse_advance(p);
    return tide__parse_grouping(p, &out->labels, &out->label_count);
}

static struct tide_expr *parse_aggregate(struct tide__parser *p, struct tide__token op)
{
    struct tide_expr *expr = tide__parse_node(p, TIDE_EXPR_AGGREGATE, op.pos);
    struct tide_aggregation *aggregation;
    struct tide__array args = {0};
    size_t wanted;
    bool modifier_first = p->token.kind != TOKEN_LEFT_PAREN;

    if (expr == NULL)
        return NULL;
    expr->type = TIDE_PROMQL_VECTOR;
    aggregation = &expr->u.aggregation;
    aggregation->op = (enum tide_aggregate)op.op;
    p->aggregations++;
    if (!parse_aggregate_modifier(p, aggregation))
        return NULL;
    if (p->token.kind != TOKEN_LEFT_PAREN)
        return tide__parse_unexpected(p, "aggregation", "");
    if (!parse_args(p, &args))
        return NULL;
    if (!modifier_first && !parse_aggregate_modifier(p, aggregation))
        return NULL;
    p->aggregations--;
    expr->pos.end = p->consumed_end;
    if (args.count == 0)
        return tide__parse_fail(p, expr->pos, "no arguments for aggregate expression provided");
    wanted = aggregation->op >= TIDE_AGG_TOPK ? 2 : 1;
    if (args.count != wanted)
        return tide__parse_fail(p, expr->pos,
                                "wrong number of arguments for aggregate expression provided, "
                                "expected %zu, got %zu",
                                wanted, args.count);
    aggregation->expr = ((struct tide_expr **)args.items)[wanted - 1];
    if (wanted == 2)
        aggregation->param = ((struct tide_expr **)args.items)[0];
    return tide__parse_depth(p, expr) ? expr : NULL;
}

/* ---- Primaries and unaries ---- */

static struct tide_expr *parse_number_literal(struct tide__parser *p)
{
    struct tide_expr *expr = tide__parse_node(p, TIDE_EXPR_NUMBER, p->token.pos);

    if (expr == NULL)
        return NULL;
    expr->type = TIDE_PROMQL_SCALAR;
    expr->number_is_duration = p->token.kind == TOKEN_DURATION;
    return tide__parse_number(p, &expr->u.number) ? expr : NULL;
}

static struct tide_expr *parse_string_literal(struct tide__parser *p)
{
    struct tide_expr *expr = tide__parse_node(p, TIDE_EXPR_STRING, p->token.pos);

    if (expr == NULL)
        return NULL;
    expr->type = TIDE_PROMQL_STRING;
    if (tide__unquote(tide__parse_text(p, p->token.pos), p->arena, &expr->u.string) != TIDE_OK)
        return tide__parse_no_memory(p); /* The lexer has checked the escapes. */
    tide__parse_advance(p);
    return expr;
}

static struct tide_expr *parse_paren(struct tide__parser *p)
{
    struct tide_expr *expr = tide__parse_node(p, TIDE_EXPR_PAREN, p->token.pos);

    if (expr == NULL)
        return NULL;
    tide__parse_advance(p);
    expr->u.paren = parse_binary(p, PREC_OR);
    if (expr->u.paren == NULL || !tide__parse_expect(p, TOKEN_RIGHT_PAREN, "", ""))
        return NULL;
    expr->type = expr->u.paren->type;
    expr->pos.end = p->consumed_end;
    return tide__parse_depth(p, expr) ? expr : NULL;
}

static struct tide_expr *parse_primary(struct tide__parser *p)
{
    struct tide__token word = p->token;

    switch (p->token.kind) {
    case TOKEN_NUMBER:
    case TOKEN_DURATION:
        return parse_number_literal(p);
    case TOKEN_STRING:
        return parse_string_literal(p);
    case TOKEN_LEFT_PAREN:
        return parse_paren(p);
    case TOKEN_LEFT_BRACE:
        return tide__parse_selector(p, NULL);
    default:
        break;
    }
    if (!tide__token_is_metric_name(&word))
        return tide__parse_unexpected(p, "", "");
    tide__parse_advance(p);
    if (word.kind == TOKEN_AGGREGATOR &&
        (p->token.kind == TOKEN_LEFT_PAREN || p->token.kind == TOKEN_BY ||
         p->token.kind == TOKEN_WITHOUT))
        return parse_aggregate(p, word);
    if (p->token.kind == TOKEN_LEFT_PAREN &&
        (word.kind == TOKEN_IDENTIFIER || (word.kind >= TOKEN_START && word.kind <= TOKEN_MAX_OF)))
        return parse_call(p, word);
    return tide__parse_selector(p, &word.pos);
}

static struct tide_expr *parse_unary(struct tide__parser *p)
{
    struct tide_expr *expr;
    struct tide_expr *operand;
    struct tide__token op = p->token;
    bool negate = op.op == TIDE_OP_SUB;

    if (op.kind != TOKEN_OPERATOR || (op.op != TIDE_OP_ADD && op.op != TIDE_OP_SUB)) {
        expr = parse_primary(p);
        return expr == NULL ? NULL : tide__parse_postfix(p, expr);
    }
    tide__parse_advance(p);
    /* -2 ^ 2 is -(2 ^ 2), and -2 * 3 is (-2) * 3. */
    operand = parse_binary(p, PREC_POW);
    if (operand == NULL)
        return NULL;
    if (operand->kind == TIDE_EXPR_NUMBER) {
        if (negate && !isnan(operand->u.number)) /* A NaN keeps its bits. */
            operand->u.number = -operand->u.number;
        operand->pos.start = op.pos.start;
        return operand;
    }
    expr = tide__parse_node(p, TIDE_EXPR_UNARY,
                            (struct tide_promql_range){op.pos.start, operand->pos.end});
    if (expr == NULL)
        return NULL;
    expr->type = operand->type;
    expr->u.unary = (struct tide_unary){negate, operand};
    return tide__parse_depth(p, expr) ? expr : NULL;
}

/* ---- Binary operations ---- */

static bool parse_fill_value(struct tide__parser *p, double *out)
{
    bool negate = false;

    tide__parse_advance(p);
    if (!tide__parse_expect(p, TOKEN_LEFT_PAREN, "", ""))
        return false;
    if (p->token.kind == TOKEN_OPERATOR &&
        (p->token.op == TIDE_OP_ADD || p->token.op == TIDE_OP_SUB)) {
        negate = p->token.op == TIDE_OP_SUB;
        tide__parse_advance(p);
    }
    if (p->token.kind != TOKEN_NUMBER && p->token.kind != TOKEN_DURATION) {
        tide__parse_unexpected(p, "", "");
        return false;
    }
    if (!tide__parse_number(p, out))
        return false;
    if (negate && !isnan(*out))
        *out = -*out;
    return tide__parse_expect(p, TOKEN_RIGHT_PAREN, "", "");
}

/* fill(x), or fill_left(x) and fill_right(y) in either order. */
static bool parse_fill(struct tide__parser *p, struct tide_matching *matching)
{
    double value;

    if (p->token.kind == TOKEN_FILL) {
        if (!parse_fill_value(p, &value))
            return false;
        matching->has_fill_left = matching->has_fill_right = true;
        matching->fill_left = matching->fill_right = value;
        return true;
    }
    for (;;) {
        if (p->token.kind == TOKEN_FILL_LEFT && !matching->has_fill_left) {
            if (!parse_fill_value(p, &matching->fill_left))
                return false;
            matching->has_fill_left = true;
        } else if (p->token.kind == TOKEN_FILL_RIGHT && !matching->has_fill_right) {
            if (!parse_fill_value(p, &matching->fill_right))
                return false;
            matching->has_fill_right = true;
        } else {
            return true;
        }
    }
}

/* What may stand between the operator and its right side. */
static bool parse_modifiers(struct tide__parser *p, struct tide_binary *binary)
{
    struct tide_matching *matching = &binary->matching;

    if (p->token.kind == TOKEN_BOOL) {
        binary->return_bool = true;
        tide__parse_advance(p);
    }
    if (p->token.kind == TOKEN_ON || p->token.kind == TOKEN_IGNORING) {
        matching->on = p->token.kind == TOKEN_ON;
        tide__parse_advance(p);
        if (!tide__parse_grouping(p, &matching->labels, &matching->label_count))
            return false;
        if (p->token.kind == TOKEN_GROUP_LEFT || p->token.kind == TOKEN_GROUP_RIGHT) {
            matching->card =
                p->token.kind == TOKEN_GROUP_LEFT ? TIDE_CARD_MANY_TO_ONE : TIDE_CARD_ONE_TO_MANY;
            tide__parse_advance(p);
            if (p->token.kind == TOKEN_LEFT_PAREN &&
                !tide__parse_grouping(p, &matching->include, &matching->include_count))
                return false;
        }
    }
    return parse_fill(p, matching);
}

static struct tide_expr *parse_operation(struct tide__parser *p, struct tide_expr *lhs)
{
    enum tide_binary_op op = (enum tide_binary_op)p->token.op;
    enum precedence precedence = operators[op].precedence;
    struct tide_expr *expr = tide__parse_node(p, TIDE_EXPR_BINARY, lhs->pos);
    struct tide_binary *binary;

    if (expr == NULL)
        return NULL;
    binary = &expr->u.binary;
    binary->op = op;
    binary->lhs = lhs;
    tide__parse_advance(p);
    if (!parse_modifiers(p, binary))
        return NULL;
    binary->rhs =
        parse_binary(p, op == TIDE_OP_POW ? PREC_POW : (enum precedence)((int)precedence + 1));
    if (binary->rhs == NULL)
        return NULL;
    expr->pos.end = binary->rhs->pos.end;
    expr->type = lhs->type == TIDE_PROMQL_SCALAR && binary->rhs->type == TIDE_PROMQL_SCALAR
                     ? TIDE_PROMQL_SCALAR
                     : TIDE_PROMQL_VECTOR;
    return tide__parse_depth(p, expr) ? expr : NULL;
}

/* Operators that bind at least as tightly as least. */
static struct tide_expr *parse_binary(struct tide__parser *p, enum precedence least)
{
    struct tide_expr *expr;

    if (!tide__parse_enter(p))
        return NULL;
    expr = parse_unary(p);
    while (expr != NULL && p->token.kind == TOKEN_OPERATOR &&
           operators[p->token.op].precedence >= least)
        expr = parse_operation(p, expr);
    tide__parse_leave(p);
    return p->err == TIDE_OK ? expr : NULL;
}

/* ---- The whole ---- */

/* Line and column, from 1, of a byte, as Prometheus counts: columns in bytes. */
static void tell(const struct tide__parser *p, struct tide_diag *diag)
{
    struct tide_slice text = p->lexer.text;
    uint32_t at = p->out->error.start;
    uint32_t line = 1;
    uint32_t line_start = 0;

    if (p->err == TIDE_ERR_NO_MEMORY) {
        tide_diag_set(diag, "out of memory while parsing the query");
        return;
    }
    if (text.len == 0) {
        tide_diag_set(diag, "unknown position: parse error: %s", p->message);
        return;
    }
    for (uint32_t i = 0; i < at && i < text.len; i++) {
        if (text.ptr[i] == '\n') {
            line++;
            line_start = i + 1;
        }
    }
    tide_diag_set(diag, "%u:%u: parse error: %s", (unsigned)line, (unsigned)(at - line_start + 1),
                  p->message);
}

static enum tide_err parse(struct tide_slice text, struct tide_arena *arena,
                           struct tide_promql *out, struct tide_diag *diag, bool only_selector)
{
    struct tide__parser p = {.arena = arena, .out = out};
    struct tide_expr *root = NULL;

    *out = (struct tide_promql){0};
    if (text.len > TIDE_PROMQL_BYTES_MAX)
        return tide_diag_err(diag, TIDE_ERR_INVALID,
                             "query is %zu bytes long; at most %u are accepted", text.len,
                             TIDE_PROMQL_BYTES_MAX);
    out->text = tide_arena_copy(arena, text);
    if (out->text.ptr == NULL && text.len > 0)
        return tide_diag_err(diag, TIDE_ERR_NO_MEMORY, "out of memory while parsing the query");
    p.lexer.text = text.len > 0 ? out->text : TIDE_SLICE(""); /* Never a null pointer. */
    tide__parse_advance(&p);
    if (p.err == TIDE_OK && p.token.kind == TOKEN_EOF && !only_selector) {
        tide__parse_fail(&p, (struct tide_promql_range){0, 0}, "no expression found in input");
    } else if (p.err == TIDE_OK && only_selector) {
        struct tide_promql_range name = p.token.pos;
        bool has_name = tide__token_is_metric_name(&p.token);

        if (has_name)
            tide__parse_advance(&p);
        if (has_name || p.token.kind == TOKEN_LEFT_BRACE)
            root = tide__parse_selector(&p, has_name ? &name : NULL);
        else
            tide__parse_unexpected(&p, "", "");
    } else if (p.err == TIDE_OK) {
        root = parse_binary(&p, PREC_OR);
    }
    if (p.err == TIDE_OK && p.token.kind != TOKEN_EOF)
        tide__parse_unexpected(&p, "", "");
    if (p.err == TIDE_OK)
        tide__parse_check(&p, root);
    out->selectors = p.selectors.items;
    out->selector_count = p.selectors.count;
    if (p.err == TIDE_OK) {
        out->root = root;
        return TIDE_OK;
    }
    tell(&p, diag);
    tide_promql_release(out);
    return p.err;
}

enum tide_err tide_promql_parse(struct tide_slice text, struct tide_arena *arena,
                                struct tide_promql *out, struct tide_diag *diag)
{
    return parse(text, arena, out, diag, false);
}

enum tide_err tide_promql_parse_selector(struct tide_slice text, struct tide_arena *arena,
                                         struct tide_promql *out, struct tide_diag *diag)
{
    return parse(text, arena, out, diag, true);
}

void tide_promql_release(struct tide_promql *query)
{
    for (size_t i = 0; i < query->selector_count; i++) {
        struct tide_selector *selector = &query->selectors[i]->u.selector;

        for (size_t k = 0; k < selector->matcher_count; k++)
            tide_matcher_release(&selector->matchers[k]);
        selector->matcher_count = 0;
    }
    query->selector_count = 0;
    query->root = NULL;
}
