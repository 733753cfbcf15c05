/* parse_query: the tree of a query as JSON, for tools that draw or explain it. Source: the answers
 * of Prometheus' /api/v1/parse_query. */
#include "querier_private.h"

#include "tide/base/number.h"

/* A tree is deeper than a JSON writer nests: each node has a writer of its own, and stands in its
 * parent's as text. */
static void write_node(struct tide_buf *out, const struct tide_expr *expr);

static void write_child(struct tide_json *json, const char *key, const struct tide_expr *expr)
{
    tide_json_key_str(json, key);
    if (expr == NULL) {
        tide_json_null(json);
        return;
    }
    tide_json_raw(json, (struct tide_slice){NULL, 0});
    write_node(json->out, expr);
}

static void write_bool(struct tide_json *json, const char *key, bool v)
{
    tide_json_key_str(json, key);
    tide_json_bool(json, v);
}

static void write_text(struct tide_json *json, const char *key, const char *text)
{
    tide_json_key_str(json, key);
    tide_json_str(json, text);
}

static void write_ms(struct tide_json *json, const char *key, int64_t ms)
{
    tide_json_key_str(json, key);
    tide_json_i64(json, ms);
}

static void write_names(struct tide_json *json, const char *key, const struct tide_slice *names,
                        size_t count)
{
    tide_json_key_str(json, key);
    tide_json_array_begin(json);
    for (size_t i = 0; i < count; i++)
        tide_json_string(json, names[i]);
    tide_json_array_end(json);
}

static const char *type_text(enum tide_promql_type type)
{
    static const char *const texts[] = {[TIDE_PROMQL_NONE] = "none",
                                        [TIDE_PROMQL_SCALAR] = "scalar",
                                        [TIDE_PROMQL_VECTOR] = "vector",
                                        [TIDE_PROMQL_MATRIX] = "matrix",
                                        [TIDE_PROMQL_STRING] = "string"};

    return texts[type];
}

static void write_shift(struct tide_json *json, const struct tide_shift *shift)
{
    write_ms(json, "offset", shift->offset_ms);
    tide_json_key_str(json, "timestamp");
    if (shift->at == TIDE_AT_TIME)
        tide_json_i64(json, shift->at_ms);
    else
        tide_json_null(json);
    tide_json_key_str(json, "startOrEnd");
    if (shift->at == TIDE_AT_START || shift->at == TIDE_AT_END)
        tide_json_str(json, shift->at == TIDE_AT_START ? "start" : "end");
    else
        tide_json_null(json);
}

static void write_selector(struct tide_json *json, const struct tide_selector *selector)
{
    static const char *const types[] = {[TIDE_MATCH_EQ] = "=",
                                        [TIDE_MATCH_NE] = "!=",
                                        [TIDE_MATCH_RE] = "=~",
                                        [TIDE_MATCH_NRE] = "!~"};

    tide_json_key_str(json, "name");
    tide_json_string(json, selector->name);
    tide_json_key_str(json, "matchers");
    tide_json_array_begin(json);
    for (size_t i = 0; i < selector->matcher_count; i++) {
        const struct tide_matcher *matcher = &selector->matchers[i];

        tide_json_object_begin(json);
        tide_json_key_str(json, "name");
        tide_json_string(json, matcher->name);
        tide_json_key_str(json, "value");
        tide_json_string(json, matcher->value);
        write_text(json, "type", types[matcher->op]);
        tide_json_object_end(json);
    }
    tide_json_array_end(json);
    write_shift(json, &selector->shift);
    write_bool(json, "anchored", selector->anchored);
    write_bool(json, "smoothed", selector->smoothed);
}

static void write_call(struct tide_json *json, const struct tide_call *call)
{
    const struct tide_fn_signature signature = tide_fn_signature(call->fn);

    tide_json_key_str(json, "func");
    tide_json_object_begin(json);
    write_text(json, "name", signature.name);
    tide_json_key_str(json, "argTypes");
    tide_json_array_begin(json);
    for (int i = 0; i < signature.arg_count; i++)
        tide_json_str(json, type_text(signature.arg_types[i]));
    tide_json_array_end(json);
    write_ms(json, "variadic", signature.variadic);
    write_text(json, "returnType", type_text(signature.result));
    tide_json_object_end(json);
    tide_json_key_str(json, "args");
    tide_json_array_begin(json);
    for (size_t i = 0; i < call->arg_count; i++) {
        tide_json_raw(json, (struct tide_slice){NULL, 0});
        write_node(json->out, call->args[i]);
    }
    tide_json_array_end(json);
}

static void write_fill(struct tide_json *json, const char *key, bool has, double v)
{
    tide_json_key_str(json, key);
    if (has)
        tide_json_number(json, v);
    else
        tide_json_null(json);
}

static void write_matching(struct tide_json *json, const struct tide_matching *matching)
{
    static const char *const cards[] = {[TIDE_CARD_ONE_TO_ONE] = "one-to-one",
                                        [TIDE_CARD_MANY_TO_ONE] = "many-to-one",
                                        [TIDE_CARD_ONE_TO_MANY] = "one-to-many",
                                        [TIDE_CARD_MANY_TO_MANY] = "many-to-many"};

    tide_json_object_begin(json);
    write_text(json, "card", cards[matching->card]);
    write_names(json, "labels", matching->labels, matching->label_count);
    write_bool(json, "on", matching->on);
    write_names(json, "include", matching->include, matching->include_count);
    tide_json_key_str(json, "fillValues");
    tide_json_object_begin(json);
    write_fill(json, "lhs", matching->has_fill_left, matching->fill_left);
    write_fill(json, "rhs", matching->has_fill_right, matching->fill_right);
    tide_json_object_end(json);
    tide_json_object_end(json);
}

static void write_binary(struct tide_json *json, const struct tide_binary *binary)
{
    write_text(json, "op", tide_binary_op_text(binary->op));
    write_child(json, "lhs", binary->lhs);
    write_child(json, "rhs", binary->rhs);
    tide_json_key_str(json, "matching");
    if (binary->has_matching)
        write_matching(json, &binary->matching);
    else
        tide_json_null(json);
    write_bool(json, "bool", binary->return_bool);
}

static void write_aggregation(struct tide_json *json, const struct tide_aggregation *aggregation)
{
    write_text(json, "op", tide_aggregate_text(aggregation->op));
    write_child(json, "expr", aggregation->expr);
    write_child(json, "param", aggregation->param);
    write_names(json, "grouping", aggregation->labels, aggregation->label_count);
    write_bool(json, "without", aggregation->without);
}

static void write_fields(struct tide_json *json, const struct tide_expr *expr)
{
    char number[TIDE_NUMBER_TEXT_MAX];

    switch (expr->kind) {
    case TIDE_EXPR_NUMBER:
        tide_json_key_str(json, "val");
        tide_json_string(json, (struct tide_slice){(const uint8_t *)number,
                                                   tide_number_format(expr->u.number, number)});
        break;
    case TIDE_EXPR_STRING:
        tide_json_key_str(json, "val");
        tide_json_string(json, expr->u.string);
        break;
    case TIDE_EXPR_SELECTOR:
        write_selector(json, &expr->u.selector);
        break;
    case TIDE_EXPR_MATRIX:
        write_ms(json, "range", expr->u.matrix.range_ms);
        write_selector(json, &expr->u.matrix.selector->u.selector);
        break;
    case TIDE_EXPR_SUBQUERY:
        write_child(json, "expr", expr->u.subquery.expr);
        write_ms(json, "range", expr->u.subquery.range_ms);
        write_ms(json, "step", expr->u.subquery.step_ms);
        write_shift(json, &expr->u.subquery.shift);
        break;
    case TIDE_EXPR_CALL:
        write_call(json, &expr->u.call);
        break;
    case TIDE_EXPR_AGGREGATE:
        write_aggregation(json, &expr->u.aggregation);
        break;
    case TIDE_EXPR_BINARY:
        write_binary(json, &expr->u.binary);
        break;
    case TIDE_EXPR_UNARY:
        write_text(json, "op", expr->u.unary.negate ? "-" : "+");
        write_child(json, "expr", expr->u.unary.expr);
        break;
    case TIDE_EXPR_PAREN:
        write_child(json, "expr", expr->u.paren);
        break;
    }
}

static void write_node(struct tide_buf *out, const struct tide_expr *expr)
{
    static const char *const types[] = {
        [TIDE_EXPR_NUMBER] = "numberLiteral",    [TIDE_EXPR_STRING] = "stringLiteral",
        [TIDE_EXPR_SELECTOR] = "vectorSelector", [TIDE_EXPR_MATRIX] = "matrixSelector",
        [TIDE_EXPR_SUBQUERY] = "subquery",       [TIDE_EXPR_CALL] = "call",
        [TIDE_EXPR_AGGREGATE] = "aggregation",   [TIDE_EXPR_BINARY] = "binaryExpr",
        [TIDE_EXPR_UNARY] = "unaryExpr",         [TIDE_EXPR_PAREN] = "parenExpr"};
    struct tide_json json = tide_json(out);

    tide_json_object_begin(&json);
    write_text(&json, "type", types[expr->kind]);
    write_fields(&json, expr);
    tide_json_object_end(&json);
}

void tide__handle_parse(void *context, struct tide_http_exchange *x)
{
    struct tide_slice text = {NULL, 0};
    struct tide_promql query = {.root = NULL};
    struct tide_diag diag = {{0}};
    struct answer answer;
    struct call call;
    enum tide_err err;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    if (!tide_http_param(x, "query", &text))
        text = (struct tide_slice){NULL, 0};
    err = tide_promql_parse(text, call.arena, &query, &diag);
    if (err == TIDE_OK) {
        tide__answer_begin(&answer, &call);
        tide_json_raw(&answer.json, (struct tide_slice){NULL, 0});
        write_node(&answer.buf, query.root);
        tide__answer_end(&answer, NULL, 0, NULL, 0);
    } else {
        tide_diag_set(&call.diag, "invalid parameter \"query\": %s", diag.text);
        tide__call_fail(&call, err);
    }
    tide_promql_release(&query);
    tide__call_end(&call);
}
