/* Trees to text, as Prometheus writes them: on one line, or broken over lines. */
#include "parse_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"
#include "tide/base/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Longer than this is broken over lines. */
#define LINE_BYTES_MAX 100
/* Deeper levels are not indented further: the text of a hostile query must not grow with the square
 * of its depth. */
#define INDENT_LEVELS_MAX 50

/* ---- Pieces ---- */

static void print_number(double value, struct tide_buf *out)
{
    char text[TIDE_NUMBER_TEXT_MAX];

    tide_buf_add(out, text, tide_number_format(value, text));
}

static void print_duration_ms(int64_t ms, struct tide_buf *out)
{
    char text[64];

    if (ms < 0)
        tide_buf_byte(out, '-');
    tide_buf_add(out, text, tide_duration_format(ms < 0 ? -ms : ms, text));
}

/* Seconds that are known to fit. */
static int64_t ms_of_seconds(double seconds)
{
    return (int64_t)trunc(round(seconds * 1e9) / 1e6);
}

static void print_duration_number(const struct tide_duration *duration, struct tide_buf *out)
{
    if (duration->is_duration)
        print_duration_ms(ms_of_seconds(duration->seconds), out);
    else
        print_number(duration->seconds, out);
}

static void print_duration(const struct tide_duration *duration, struct tide_buf *out)
{
    static const char *const operators[] = {
        [TIDE_DURATION_ADD] = " + ", [TIDE_DURATION_SUB] = " - ", [TIDE_DURATION_MUL] = " * ",
        [TIDE_DURATION_DIV] = " / ", [TIDE_DURATION_MOD] = " % ", [TIDE_DURATION_POW] = " ^ ",
    };

    switch (duration->op) {
    case TIDE_DURATION_NUMBER:
        print_duration_number(duration, out);
        return;
    case TIDE_DURATION_STEP:
        tide_buf_str(out, "step()");
        return;
    case TIDE_DURATION_RANGE:
        tide_buf_str(out, "range()");
        return;
    case TIDE_DURATION_NEGATE:
    case TIDE_DURATION_PLUS:
        tide_buf_byte(out, duration->op == TIDE_DURATION_NEGATE ? '-' : '+');
        print_duration(duration->lhs, out);
        return;
    case TIDE_DURATION_PAREN:
        tide_buf_byte(out, '(');
        print_duration(duration->lhs, out);
        tide_buf_byte(out, ')');
        return;
    case TIDE_DURATION_MIN:
    case TIDE_DURATION_MAX:
        tide_buf_str(out, duration->op == TIDE_DURATION_MIN ? "min_of(" : "max_of(");
        print_duration(duration->lhs, out);
        tide_buf_str(out, ", ");
        print_duration(duration->rhs, out);
        tide_buf_byte(out, ')');
        return;
    default:
        print_duration(duration->lhs, out);
        tide_buf_str(out, operators[duration->op]);
        print_duration(duration->rhs, out);
        return;
    }
}

/* A literal on its own is shown in units, however it was written. */
void tide_promql_print_duration(const struct tide_duration *duration, struct tide_buf *out)
{
    if (duration->op == TIDE_DURATION_NUMBER)
        print_duration_ms(ms_of_seconds(duration->seconds), out);
    else
        print_duration(duration, out);
}

void tide_promql_print_matcher(const struct tide_matcher *matcher, struct tide_buf *out)
{
    static const char *const operators[] = {[TIDE_MATCH_EQ] = "=",
                                            [TIDE_MATCH_NE] = "!=",
                                            [TIDE_MATCH_RE] = "=~",
                                            [TIDE_MATCH_NRE] = "!~"};

    if (tide__is_plain_label(matcher->name))
        tide_buf_slice(out, matcher->name);
    else
        tide__quote(out, matcher->name);
    tide_buf_str(out, operators[matcher->op]);
    tide__quote(out, matcher->value);
}

static void print_labels(const struct tide_slice *labels, size_t count, struct tide_buf *out)
{
    tide_buf_byte(out, '(');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            tide_buf_str(out, ", ");
        if (tide__is_plain_label(labels[i]))
            tide_buf_slice(out, labels[i]);
        else
            tide__quote(out, labels[i]);
    }
    tide_buf_byte(out, ')');
}

static void print_at(const struct tide_shift *shift, struct tide_buf *out)
{
    if (shift->at == TIDE_AT_TIME)
        tide_buf_printf(out, " @ %.3f", (double)shift->at_ms / 1000.0);
    else if (shift->at != TIDE_AT_NONE)
        tide_buf_str(out, shift->at == TIDE_AT_START ? " @ start()" : " @ end()");
}

static void print_offset(const struct tide_shift *shift, struct tide_buf *out)
{
    if (shift->offset == NULL ||
        (shift->offset->op == TIDE_DURATION_NUMBER && shift->offset->seconds == 0))
        return;
    tide_buf_str(out, " offset ");
    tide_promql_print_duration(shift->offset, out);
}

static void print_extension(const struct tide_selector *selector, struct tide_buf *out)
{
    if (selector->anchored)
        tide_buf_str(out, " anchored");
    else if (selector->smoothed)
        tide_buf_str(out, " smoothed");
}

/* ---- Selectors ---- */

static int compare_slices(const void *a, const void *b)
{
    return tide_slice_cmp(*(const struct tide_slice *)a, *(const struct tide_slice *)b);
}

/* Name and matchers; those are sorted by their text. */
static void print_matchers(const struct tide_selector *selector, struct tide_buf *out)
{
    struct tide_buf texts = {0};
    struct tide_slice *slices = tide_mem_array(selector->matcher_count + 1, sizeof(*slices));
    size_t count = 0;

    tide_buf_slice(out, selector->name);
    for (size_t i = 0; slices != NULL && i < selector->matcher_count; i++) {
        const struct tide_matcher *matcher = &selector->matchers[i];
        size_t start = texts.len;

        if (selector->name.len > 0 && matcher->op == TIDE_MATCH_EQ &&
            tide_slice_eq(matcher->name, TIDE_SLICE(TIDE_LABEL_METRIC)) &&
            tide_slice_eq(matcher->value, selector->name))
            continue;
        tide_promql_print_matcher(matcher, &texts);
        slices[count++].len = texts.len - start;
    }
    if (slices == NULL || texts.failed) {
        out->failed = true;
    } else if (count > 0 || selector->name.len == 0) {
        size_t start = 0;

        for (size_t i = 0; i < count; i++) { /* The buffer moves no more. */
            slices[i].ptr = texts.ptr + start;
            start += slices[i].len;
        }
        qsort(slices, count, sizeof(*slices), compare_slices);
        tide_buf_byte(out, '{');
        for (size_t i = 0; i < count; i++) {
            if (i > 0)
                tide_buf_byte(out, ',');
            tide_buf_slice(out, slices[i]);
        }
        tide_buf_byte(out, '}');
    }
    tide_mem_free(slices);
    tide_buf_deinit(&texts);
}

static void print_selector(const struct tide_selector *selector, struct tide_buf *out)
{
    print_matchers(selector, out);
    print_at(&selector->shift, out);
    print_extension(selector, out);
    print_offset(&selector->shift, out);
}

static void print_matrix(const struct tide_matrix *matrix, struct tide_buf *out)
{
    const struct tide_selector *selector = &matrix->selector->u.selector;

    print_matchers(selector, out);
    tide_buf_byte(out, '[');
    tide_promql_print_duration(matrix->range, out);
    tide_buf_byte(out, ']');
    print_extension(selector, out);
    print_at(&selector->shift, out);
    print_offset(&selector->shift, out);
}

/* ---- Expressions ---- */

static void print_subquery_suffix(const struct tide_subquery *subquery, struct tide_buf *out)
{
    tide_buf_byte(out, '[');
    tide_promql_print_duration(subquery->range, out);
    tide_buf_byte(out, ':');
    if (subquery->step != NULL)
        tide_promql_print_duration(subquery->step, out);
    tide_buf_byte(out, ']');
    print_at(&subquery->shift, out);
    print_offset(&subquery->shift, out);
}

static void print_aggregate_head(const struct tide_aggregation *aggregation, struct tide_buf *out)
{
    tide_buf_str(out, tide_aggregate_text(aggregation->op));
    if (!aggregation->without && aggregation->label_count == 0)
        return;
    tide_buf_str(out, aggregation->without ? " without " : " by ");
    print_labels(aggregation->labels, aggregation->label_count, out);
    tide_buf_byte(out, ' ');
}

static void print_fill(const char *word, double value, struct tide_buf *out)
{
    char text[TIDE_NUMBER_TEXT_MAX];

    tide_buf_str(out, word);
    tide_buf_add(out, text, tide_number_format_g(value, text));
    tide_buf_byte(out, ')');
}

/* The operator and what modifies it. */
static void print_operator(const struct tide_binary *binary, struct tide_buf *out)
{
    const struct tide_matching *matching = &binary->matching;
    bool grouped =
        matching->card == TIDE_CARD_MANY_TO_ONE || matching->card == TIDE_CARD_ONE_TO_MANY;

    tide_buf_str(out, tide_binary_op_text(binary->op));
    if (binary->return_bool)
        tide_buf_str(out, " bool");
    if (!binary->has_matching)
        return;
    if (matching->label_count > 0 || matching->on || grouped) {
        tide_buf_str(out, matching->on ? " on " : " ignoring ");
        print_labels(matching->labels, matching->label_count, out);
    }
    if (grouped) {
        tide_buf_str(out,
                     matching->card == TIDE_CARD_MANY_TO_ONE ? " group_left " : " group_right ");
        print_labels(matching->include, matching->include_count, out);
    }
    if (matching->has_fill_left && matching->has_fill_right &&
        matching->fill_left == matching->fill_right) {
        print_fill(" fill (", matching->fill_left, out);
        return;
    }
    if (matching->has_fill_left)
        print_fill(" fill_left (", matching->fill_left, out);
    if (matching->has_fill_right)
        print_fill(" fill_right (", matching->fill_right, out);
}

static void print_literal(const struct tide_expr *expr, struct tide_buf *out)
{
    if (expr->kind == TIDE_EXPR_STRING)
        tide__quote(out, expr->u.string);
    else if (expr->number_is_duration)
        print_duration_ms(ms_of_seconds(expr->u.number), out);
    else
        print_number(expr->u.number, out);
}

static void print_expr(const struct tide_expr *expr, bool children, struct tide_buf *out);

static void print_child(const struct tide_expr *expr, bool wanted, struct tide_buf *out)
{
    if (wanted)
        print_expr(expr, true, out);
}

/* `+Inf ^ x` would be +(Inf ^ x). */
static void print_left(const struct tide_binary *binary, bool wanted, struct tide_buf *out)
{
    const struct tide_expr *lhs = binary->lhs;
    bool infinite = lhs->kind == TIDE_EXPR_NUMBER && isinf(lhs->u.number) && lhs->u.number > 0;

    if (wanted && infinite && binary->op == TIDE_OP_POW)
        tide_buf_str(out, "Inf");
    else
        print_child(lhs, wanted, out);
}

/* Without its children only what the node itself adds to the text is printed. */
static void print_expr(const struct tide_expr *expr, bool children, struct tide_buf *out)
{
    const struct tide_aggregation *aggregation = &expr->u.aggregation;

    switch (expr->kind) {
    case TIDE_EXPR_NUMBER:
    case TIDE_EXPR_STRING:
        print_literal(expr, out);
        break;
    case TIDE_EXPR_SELECTOR:
        print_selector(&expr->u.selector, out);
        break;
    case TIDE_EXPR_MATRIX:
        print_matrix(&expr->u.matrix, out);
        break;
    case TIDE_EXPR_SUBQUERY:
        print_child(expr->u.subquery.expr, children, out);
        print_subquery_suffix(&expr->u.subquery, out);
        break;
    case TIDE_EXPR_CALL:
        tide_buf_str(out, tide_fn_signature(expr->u.call.fn).name);
        tide_buf_byte(out, '(');
        for (size_t i = 0; i < expr->u.call.arg_count; i++) {
            if (i > 0)
                tide_buf_str(out, ", ");
            print_child(expr->u.call.args[i], children, out);
        }
        tide_buf_byte(out, ')');
        break;
    case TIDE_EXPR_AGGREGATE:
        print_aggregate_head(aggregation, out);
        tide_buf_byte(out, '(');
        if (aggregation->param != NULL) {
            print_child(aggregation->param, children, out);
            tide_buf_str(out, ", ");
        }
        print_child(aggregation->expr, children, out);
        tide_buf_byte(out, ')');
        break;
    case TIDE_EXPR_BINARY:
        print_left(&expr->u.binary, children, out);
        tide_buf_byte(out, ' ');
        print_operator(&expr->u.binary, out);
        tide_buf_byte(out, ' ');
        print_child(expr->u.binary.rhs, children, out);
        break;
    case TIDE_EXPR_UNARY:
        tide_buf_byte(out, expr->u.unary.negate ? '-' : '+');
        print_child(expr->u.unary.expr, children, out);
        break;
    case TIDE_EXPR_PAREN:
        tide_buf_byte(out, '(');
        print_child(expr->u.paren, children, out);
        tide_buf_byte(out, ')');
        break;
    }
}

void tide_promql_print(const struct tide_expr *expr, struct tide_buf *out)
{
    print_expr(expr, true, out);
}

/* ---- Broken over lines ---- */

/* An expression that fits a line is printed on it; else its parts go on lines of their own. */
struct formatter {
    struct tide_buf *out;
    size_t *lengths;  /* Of the text of each node on one line, by its id. */
    bool skip_indent; /* The next indent is left out: the text goes on after a sign. */
};

static void indent(struct formatter *f, int level)
{
    if (!f->skip_indent) {
        for (int i = 0; i < level && i < INDENT_LEVELS_MAX; i++)
            tide_buf_str(f->out, "  ");
    }
    f->skip_indent = false;
}

static bool needs_split(const struct formatter *f, const struct tide_expr *expr)
{
    return f->lengths[expr->id] > LINE_BYTES_MAX;
}

static uint32_t id_max(const struct tide_expr *expr)
{
    const struct tide_expr *child;
    uint32_t most = expr->id;

    for (size_t i = 0; (child = tide_expr_child(expr, i)) != NULL; i++) {
        uint32_t below = id_max(child);

        if (below > most)
            most = below;
    }
    return most;
}

/* Each node is measured once, so that the whole takes time in proportion to the text. A range
 * prints its selector as its own. */
static size_t measure(size_t *lengths, const struct tide_expr *expr, struct tide_buf *scratch)
{
    const struct tide_expr *child;
    size_t length;

    scratch->len = 0;
    print_expr(expr, false, scratch);
    length = scratch->len;
    for (size_t i = 0; expr->kind != TIDE_EXPR_MATRIX && (child = tide_expr_child(expr, i)) != NULL;
         i++)
        length += measure(lengths, child, scratch);
    lengths[expr->id] = length;
    return length;
}

static void format(struct formatter *f, const struct tide_expr *expr, int level);

static void format_line(struct formatter *f, const struct tide_expr *expr, int level)
{
    format(f, expr, level);
    tide_buf_byte(f->out, '\n');
}

static void format_split(struct formatter *f, const struct tide_expr *expr, int level)
{
    const struct tide_aggregation *aggregation = &expr->u.aggregation;
    struct tide_buf *out = f->out;

    switch (expr->kind) {
    case TIDE_EXPR_AGGREGATE:
        indent(f, level);
        print_aggregate_head(aggregation, out);
        tide_buf_str(out, "(\n");
        if (aggregation->param != NULL) {
            format(f, aggregation->param, level + 1);
            tide_buf_str(out, ",\n");
        }
        format_line(f, aggregation->expr, level + 1);
        break;
    case TIDE_EXPR_CALL:
        indent(f, level);
        tide_buf_str(out, tide_fn_signature(expr->u.call.fn).name);
        tide_buf_str(out, "(\n");
        for (size_t i = 0; i < expr->u.call.arg_count; i++) {
            format(f, expr->u.call.args[i], level + 1);
            tide_buf_str(out, i + 1 < expr->u.call.arg_count ? ",\n" : "\n");
        }
        break;
    default:
        TIDE_ASSERT(expr->kind == TIDE_EXPR_PAREN);
        indent(f, level);
        tide_buf_str(out, "(\n");
        format_line(f, expr->u.paren, level + 1);
        break;
    }
    indent(f, level);
    tide_buf_byte(out, ')');
}

static void format(struct formatter *f, const struct tide_expr *expr, int level)
{
    struct tide_buf *out = f->out;

    switch (expr->kind) {
    case TIDE_EXPR_AGGREGATE:
    case TIDE_EXPR_CALL:
    case TIDE_EXPR_PAREN:
        if (needs_split(f, expr)) {
            format_split(f, expr, level);
            return;
        }
        break;
    case TIDE_EXPR_BINARY:
        if (needs_split(f, expr)) {
            format_line(f, expr->u.binary.lhs, level + 1);
            indent(f, level);
            print_operator(&expr->u.binary, out);
            tide_buf_byte(out, '\n');
            format(f, expr->u.binary.rhs, level + 1);
            return;
        }
        break;
    case TIDE_EXPR_SUBQUERY:
        if (needs_split(f, expr)) {
            format(f, expr->u.subquery.expr, level);
            print_subquery_suffix(&expr->u.subquery, out);
            return;
        }
        level = 0; /* Prometheus does not indent one that fits. */
        break;
    case TIDE_EXPR_UNARY:
        indent(f, level);
        tide_buf_byte(out, expr->u.unary.negate ? '-' : '+');
        f->skip_indent = true;
        format(f, expr->u.unary.expr, level);
        return;
    default:
        break;
    }
    indent(f, level);
    print_expr(expr, true, out);
}

void tide_promql_format(const struct tide_expr *expr, struct tide_buf *out)
{
    struct formatter f = {.out = out};
    struct tide_buf scratch = {0};

    f.lengths = tide_mem_array((size_t)id_max(expr) + 1, sizeof(*f.lengths));
    if (f.lengths != NULL)
        (void)measure(f.lengths, expr, &scratch);
    if (f.lengths == NULL || scratch.failed)
        out->failed = true;
    else
        format(&f, expr, 0);
    tide_buf_deinit(&scratch);
    tide_mem_free(f.lengths);
}
