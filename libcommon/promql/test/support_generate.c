#include "support_generate.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

static const char *const some_metrics[] = {"up", "http_requests_total", "job:rate:5m",
                                           "node_load1"};
static const char *const some_labels[] = {"job", "instance", "le", "path", "offset", "by"};
static const char *const some_values[] = {"a", "b", "", "x y", "\\\"q\\\"", "0.5"};
static const char *const some_patterns[] = {".*",  ".+",     "a|b", "a.*",
                                            ".*b", "[a-c]+", "",    "(a|b)c?"};

uint32_t generator_below(struct generator *g, uint32_t below)
{
    /* splitmix64 */
    uint64_t z = (g->state += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (uint32_t)((z >> 32) * below >> 32);
}

static bool chance(struct generator *g, uint32_t percent)
{
    return generator_below(g, 100) < percent;
}

static const char *pick(struct generator *g, const char *const *texts, size_t count)
{
    return texts[generator_below(g, (uint32_t)count)];
}

static const char *pick_label(struct generator *g)
{
    return g->labels != NULL ? pick(g, g->labels, g->label_count)
                             : pick(g, some_labels, COUNT_OF(some_labels));
}

static const char *pick_metric(struct generator *g)
{
    return g->metrics != NULL ? pick(g, g->metrics, g->metric_count)
                              : pick(g, some_metrics, COUNT_OF(some_metrics));
}

static const char *pick_value(struct generator *g)
{
    return g->values != NULL ? pick(g, g->values, g->value_count)
                             : pick(g, some_values, COUNT_OF(some_values));
}

/* A blank, or what means the same. */
static void blank(struct generator *g, struct tide_buf *out)
{
    static const char *const odd[] = {" ", "\n", "\t ", "  ", " # a comment (\n"};

    tide_buf_str(out, g->odd_spelling ? pick(g, odd, COUNT_OF(odd)) : " ");
}

/* ---- Literals ---- */

static void number(struct generator *g, struct tide_buf *out)
{
    static const char *const odd[] = {"0x1f", "1_000", "1e3", ".5",    "017",   "1E-3",
                                      "Inf",  "NaN",   "5m",  "1h30m", "100ms", "0"};

    if (g->odd_spelling && chance(g, 40))
        tide_buf_str(out, pick(g, odd, COUNT_OF(odd)));
    else if (chance(g, 70))
        tide_buf_printf(out, "%u", (unsigned)generator_below(g, 12));
    else
        tide_buf_printf(out, "%u.%u", (unsigned)generator_below(g, 100),
                        (unsigned)generator_below(g, 1000));
}

static void text_literal(struct generator *g, const char *text, struct tide_buf *out)
{
    bool raw = g->odd_spelling && chance(g, 20) && strpbrk(text, "\\`") == NULL;

    tide_buf_printf(out, raw ? "`%s`" : "\"%s\"", text);
}

static void duration_literal(struct generator *g, struct tide_buf *out)
{
    static const char *const texts[] = {"1m", "5m", "30s", "2m", "10m", "1h", "90s"};
    static const char *const odd[] = {"300", "1h30m", "1d", "60.5", "5m500ms", "0x3c"};

    tide_buf_str(out, g->odd_spelling && chance(g, 30) ? pick(g, odd, COUNT_OF(odd))
                                                       : pick(g, texts, COUNT_OF(texts)));
}

/* A duration that may be written in parentheses. */
static void duration_expression(struct generator *g, int depth, struct tide_buf *out)
{
    static const char *const operators[] = {"+", "*", "-", "/", "%", "^"};

    if (depth <= 0 || chance(g, 40)) {
        if (chance(g, 70))
            duration_literal(g, out);
        else
            tide_buf_str(out, chance(g, 50) ? "step()" : "range()");
        return;
    }
    switch (generator_below(g, 4)) {
    case 0:
        tide_buf_str(out, chance(g, 50) ? "min_of(" : "max_of(");
        duration_expression(g, depth - 1, out);
        tide_buf_str(out, ", ");
        duration_expression(g, depth - 1, out);
        tide_buf_byte(out, ')');
        break;
    case 1:
        tide_buf_str(out, chance(g, 50) ? "-(" : "(");
        duration_expression(g, depth - 1, out);
        tide_buf_byte(out, ')');
        break;
    default:
        duration_expression(g, depth - 1, out);
        tide_buf_printf(out, " %s ", pick(g, operators, COUNT_OF(operators)));
        duration_expression(g, depth - 1, out);
        break;
    }
}

static void range(struct generator *g, struct tide_buf *out)
{
    if (g->duration_expressions && chance(g, 30))
        duration_expression(g, 2, out);
    else
        duration_literal(g, out);
}

/* ---- Selectors ---- */

static void label_name(struct generator *g, struct tide_buf *out)
{
    const char *name = g->odd_spelling && chance(g, 10) ? "a.dotted name" : pick_label(g);

    if (g->odd_spelling && (chance(g, 20) || strchr(name, '.') != NULL))
        tide_buf_printf(out, "\"%s\"", name);
    else
        tide_buf_str(out, name);
}

static void matcher(struct generator *g, struct tide_buf *out)
{
    bool regex = chance(g, 35);

    label_name(g, out);
    if (regex) {
        tide_buf_str(out, chance(g, 60) ? "=~" : "!~");
        text_literal(g, pick(g, some_patterns, COUNT_OF(some_patterns)), out);
    } else {
        tide_buf_str(out, chance(g, 60) ? "=" : "!=");
        text_literal(g, pick_value(g), out);
    }
}

static void matchers(struct generator *g, struct tide_buf *out)
{
    uint32_t count = generator_below(g, 3);

    tide_buf_byte(out, '{');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            tide_buf_byte(out, ',');
        matcher(g, out);
    }
    if (count > 0 && g->odd_spelling && chance(g, 10))
        tide_buf_byte(out, ',');
    tide_buf_byte(out, '}');
}

static void selector(struct generator *g, struct tide_buf *out)
{
    if (g->odd_spelling && chance(g, 15)) {
        tide_buf_printf(out, "{\"%s\", ", chance(g, 50) ? "a metric" : pick_metric(g));
        matcher(g, out);
        tide_buf_byte(out, '}');
        return;
    }
    tide_buf_str(out, pick_metric(g));
    if (chance(g, 40))
        matchers(g, out);
}

static void offset(struct generator *g, struct tide_buf *out)
{
    static const char *const signs[] = {" offset ", " offset -", " offset +"};

    if (g->duration_expressions && chance(g, 30)) {
        /* Without a sign the operator after the selector would go on with the duration. */
        tide_buf_printf(out, "%s(", signs[1 + generator_below(g, 2)]);
        duration_expression(g, 2, out);
        tide_buf_byte(out, ')');
    } else {
        tide_buf_str(out, signs[generator_below(g, 3)]);
        duration_literal(g, out);
    }
}

static void at(struct generator *g, struct tide_buf *out)
{
    switch (generator_below(g, 3)) {
    case 0:
        tide_buf_str(out, " @ start()");
        break;
    case 1:
        tide_buf_str(out, " @ end()");
        break;
    default:
        tide_buf_printf(out, " @ %u.%u", (unsigned)generator_below(g, 10000),
                        (unsigned)generator_below(g, 10));
        break;
    }
}

static void shift(struct generator *g, struct tide_buf *out)
{
    bool at_first = chance(g, 50);
    bool has_at = chance(g, 10);

    if (has_at && at_first)
        at(g, out);
    if (chance(g, 15))
        offset(g, out);
    if (has_at && !at_first)
        at(g, out);
}

/* ---- Expressions ---- */

static void query_in_parens(struct generator *g, enum tide_promql_type type, int depth,
                            struct tide_buf *out)
{
    tide_buf_byte(out, '(');
    generator_query(g, type, depth, out);
    tide_buf_byte(out, ')');
}

static void label_list(struct generator *g, struct tide_buf *out)
{
    uint32_t count = generator_below(g, 3);

    tide_buf_str(out, " (");
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            tide_buf_str(out, ", ");
        label_name(g, out);
    }
    tide_buf_str(out, ") ");
}

static void aggregation(struct generator *g, int depth, struct tide_buf *out)
{
    enum tide_aggregate op = (enum tide_aggregate)generator_below(g, TIDE_AGG_OPERATORS);
    const char *modifier = chance(g, 50) ? "by" : "without";
    uint32_t place = generator_below(g, 3);

    tide_buf_str(out, tide_aggregate_text(op));
    if (place == 1) {
        blank(g, out);
        tide_buf_str(out, modifier);
        label_list(g, out);
    }
    tide_buf_byte(out, '(');
    if (op == TIDE_AGG_COUNT_VALUES) {
        text_literal(g, "value", out);
        tide_buf_str(out, ", ");
    } else if (op == TIDE_AGG_LIMIT_RATIO || op == TIDE_AGG_QUANTILE) {
        tide_buf_printf(out, "0.%u, ", (unsigned)generator_below(g, 10));
    } else if (op >= TIDE_AGG_TOPK) {
        generator_query(g, TIDE_PROMQL_SCALAR, depth > 2 ? 1 : 0, out);
        tide_buf_str(out, ", ");
    }
    generator_query(g, TIDE_PROMQL_VECTOR, depth - 1, out);
    tide_buf_byte(out, ')');
    if (place == 2) {
        blank(g, out);
        tide_buf_str(out, modifier);
        label_list(g, out);
    }
}

static void string_args(struct generator *g, enum tide_fn fn, int depth, struct tide_buf *out)
{
    generator_query(g, TIDE_PROMQL_VECTOR, depth - 1, out);
    if (fn == TIDE_FN_LABEL_REPLACE)
        tide_buf_printf(out, ", \"new\", \"$1-x\", \"%s\", \"(.*)\"", pick_label(g));
    else if (fn == TIDE_FN_LABEL_JOIN)
        tide_buf_printf(out, ", \"new\", \"-\", \"%s\", \"%s\"", pick_label(g), pick_label(g));
    else if (fn == TIDE_FN_HISTOGRAM_QUANTILES)
        tide_buf_str(out, ", \"q\", 0.5, 0.9");
    else
        tide_buf_printf(out, ", \"%s\"", pick_label(g));
}

static void call(struct generator *g, enum tide_fn fn, int depth, struct tide_buf *out)
{
    struct tide_fn_signature signature = tide_fn_signature(fn);
    int arg_count = signature.arg_count;

    tide_buf_printf(out, "%s(", signature.name);
    if (fn == TIDE_FN_INFO) {
        generator_query(g, TIDE_PROMQL_VECTOR, depth - 1, out);
        if (chance(g, 50)) {
            tide_buf_str(out, ", ");
            matchers(g, out);
        }
    } else if (arg_count > 1 && signature.arg_types[1] == TIDE_PROMQL_STRING) {
        string_args(g, fn, depth, out);
    } else {
        if (signature.variadic != 0 && chance(g, 50))
            arg_count--;
        for (int i = 0; i < arg_count; i++) {
            if (i > 0)
                tide_buf_byte(out, ',');
            if (i > 0)
                blank(g, out);
            generator_query(g, signature.arg_types[i], depth - 1, out);
        }
    }
    tide_buf_byte(out, ')');
}

/* A function with this result, or false when none of some tries was allowed. */
static bool some_call(struct generator *g, enum tide_promql_type type, int depth,
                      struct tide_buf *out)
{
    for (int i = 0; i < 20; i++) {
        enum tide_fn fn = (enum tide_fn)generator_below(g, TIDE_FN_COUNT);

        if (tide_fn_signature(fn).result != type || (g->fn_allowed != NULL && !g->fn_allowed(fn)))
            continue;
        call(g, fn, depth, out);
        return true;
    }
    return false;
}

static void matching(struct generator *g, bool set, struct tide_buf *out)
{
    bool on = chance(g, 50);

    tide_buf_str(out, on ? " on" : " ignoring");
    label_list(g, out);
    if (set)
        return;
    if (chance(g, 40)) {
        tide_buf_str(out, chance(g, 50) ? " group_left" : " group_right");
        if (!on && chance(g, 50))
            label_list(g, out);
        else
            tide_buf_str(out, " () ");
    }
    if (chance(g, 15)) {
        static const char *const fills[] = {" fill (0) ", " fill_left(1.5)",
                                            " fill_right (-1)fill_left(2) "};

        tide_buf_str(out, pick(g, fills, COUNT_OF(fills)));
    }
}

static void binary(struct generator *g, enum tide_promql_type type, int depth, struct tide_buf *out)
{
    enum tide_promql_type lhs = type;
    enum tide_promql_type rhs = type;
    uint32_t op_count = type == TIDE_PROMQL_VECTOR ? TIDE_OP_COUNT : TIDE_OP_TRIM_UPPER;
    enum tide_binary_op op = (enum tide_binary_op)generator_below(g, op_count);
    bool set = tide_binary_op_is_set(op);
    bool matches;

    if (type == TIDE_PROMQL_VECTOR && !set && chance(g, 50)) {
        if (chance(g, 50))
            lhs = TIDE_PROMQL_SCALAR;
        else
            rhs = TIDE_PROMQL_SCALAR;
    }
    matches = lhs == TIDE_PROMQL_VECTOR && rhs == TIDE_PROMQL_VECTOR && chance(g, 60);
    /* Labels must not come to stand beside a scalar by precedence. */
    if (matches || chance(g, 40))
        query_in_parens(g, lhs, depth - 1, out);
    else
        generator_query(g, lhs, depth - 1, out);
    blank(g, out);
    tide_buf_str(out, tide_binary_op_text(op));
    if (tide_binary_op_is_comparison(op) && (type == TIDE_PROMQL_SCALAR || chance(g, 30)))
        tide_buf_str(out, " bool");
    if (matches)
        matching(g, set, out);
    blank(g, out);
    /* `3 > 2 > x` would compare two scalars. */
    if (matches || set || tide_binary_op_is_comparison(op) || chance(g, 40))
        query_in_parens(g, rhs, depth - 1, out);
    else
        generator_query(g, rhs, depth - 1, out);
}

static void vector_query(struct generator *g, int depth, struct tide_buf *out)
{
    switch (depth <= 0 ? 0 : generator_below(g, 8)) {
    case 0:
        selector(g, out);
        shift(g, out);
        break;
    case 1:
    case 2:
        aggregation(g, depth, out);
        break;
    case 3:
    case 4:
        if (!some_call(g, TIDE_PROMQL_VECTOR, depth, out))
            selector(g, out);
        break;
    case 5:
        tide_buf_str(out, chance(g, 80) ? "-" : "+");
        query_in_parens(g, TIDE_PROMQL_VECTOR, depth - 1, out);
        break;
    default:
        binary(g, TIDE_PROMQL_VECTOR, depth, out);
        break;
    }
}

static void scalar_query(struct generator *g, int depth, struct tide_buf *out)
{
    switch (depth <= 0 ? 0 : generator_below(g, 5)) {
    case 0:
    case 1:
        if (chance(g, 15))
            tide_buf_byte(out, '-');
        number(g, out);
        break;
    case 2:
        if (!some_call(g, TIDE_PROMQL_SCALAR, depth, out))
            number(g, out);
        break;
    case 3:
        query_in_parens(g, TIDE_PROMQL_SCALAR, depth - 1, out);
        break;
    default:
        binary(g, TIDE_PROMQL_SCALAR, depth, out);
        break;
    }
}

static void matrix_query(struct generator *g, int depth, struct tide_buf *out)
{
    if (depth <= 1 || chance(g, 70)) {
        selector(g, out);
        tide_buf_byte(out, '[');
        range(g, out);
        tide_buf_byte(out, ']');
    } else {
        query_in_parens(g, TIDE_PROMQL_VECTOR, depth - 1, out);
        tide_buf_byte(out, '[');
        range(g, out);
        tide_buf_byte(out, ':');
        if (chance(g, 60))
            range(g, out);
        tide_buf_byte(out, ']');
    }
    shift(g, out);
}

void generator_query(struct generator *g, enum tide_promql_type type, int depth,
                     struct tide_buf *out)
{
    if (depth > 8)
        depth = 8;
    switch (type) {
    case TIDE_PROMQL_VECTOR:
        vector_query(g, depth, out);
        break;
    case TIDE_PROMQL_MATRIX:
        matrix_query(g, depth, out);
        break;
    case TIDE_PROMQL_STRING:
        text_literal(g, pick_value(g), out);
        break;
    default:
        scalar_query(g, depth, out);
        break;
    }
}
