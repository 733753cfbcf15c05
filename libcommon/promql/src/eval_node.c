#include "stream_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#include <math.h>

enum tide_err tide__grid_new(struct tide__eval *eval, int64_t start_ms, int64_t step_ms,
                             size_t step_count, const struct tide__grid **out)
{
    struct tide__grid *grid = tide__eval_alloc(eval, sizeof(*grid));
    int64_t *times = tide__eval_alloc(eval, step_count * sizeof(*times));

    if (grid == NULL || times == NULL)
        return tide__eval_no_memory(eval);
    for (size_t s = 0; s < step_count; s++)
        times[s] = start_ms + (int64_t)s * step_ms;
    *grid = (struct tide__grid){
        .start_ms = start_ms,
        .step_ms = step_ms,
        .step_count = step_count,
        .word_count = tide__word_count(step_count),
        .times_ms = times,
    };
    *out = grid;
    return TIDE_OK;
}

/* ---- Scalars ---- */

static double *scalar_new(struct tide__eval *eval)
{
    return tide__eval_alloc(eval, eval->grid->step_count * sizeof(double));
}

static enum tide_err scalar_fill(struct tide__eval *eval, double v, const double **out)
{
    double *values = scalar_new(eval);

    if (values == NULL)
        return tide__eval_no_memory(eval);
    for (size_t s = 0; s < eval->grid->step_count; s++)
        values[s] = v;
    *out = values;
    return TIDE_OK;
}

static enum tide_err scalar_time(struct tide__eval *eval, const double **out)
{
    double *values = scalar_new(eval);

    if (values == NULL)
        return tide__eval_no_memory(eval);
    for (size_t s = 0; s < eval->grid->step_count; s++)
        values[s] = (double)eval->grid->times_ms[s] / 1000;
    *out = values;
    return TIDE_OK;
}

/* scalar(v): the value of the only element, NaN when there are more or none. */
static enum tide_err scalar_of_vector(struct tide__eval *eval, const struct tide_expr *expr,
                                      const double **out)
{
    struct tide__matrix *m = NULL;
    double *values = scalar_new(eval);
    enum tide_err err;

    if (values == NULL)
        return tide__eval_no_memory(eval);
    err = tide__eval_vector(eval, expr, &m);
    if (err != TIDE_OK)
        return err;
    TIDE_ASSERT(m != NULL);
    for (size_t s = 0; s < m->step_count; s++) {
        size_t count = 0;

        values[s] = NAN;
        for (size_t i = 0; i < m->row_count && count < 2; i++) {
            if (!tide__bit(m->rows[i].present, s) || tide__row_histogram(&m->rows[i], s) != NULL)
                continue; /* Histograms do not count. */
            values[s] = count == 0 ? m->rows[i].values[s] : NAN;
            count++;
        }
    }
    tide__matrix_free(m);
    *out = values;
    return TIDE_OK;
}

/* Go's math.Min and math.Max: NaN wins over all but the infinity that the function seeks, and -0 is
 * under 0. */
static double min_of(double a, double b)
{
    if (a == -INFINITY || b == -INFINITY)
        return -INFINITY;
    if (isnan(a) || isnan(b))
        return NAN;
    if (a == 0 && a == b)
        return signbit(a) ? a : b;
    return a < b ? a : b;
}

static double max_of(double a, double b)
{
    return -min_of(-a, -b);
}

static enum tide_err scalar_pair(struct tide__eval *eval, const struct tide_expr *expr,
                                 double (*function)(double, double), const double **out)
{
    const double *a = NULL;
    const double *b = NULL;
    double *values = scalar_new(eval);
    enum tide_err err;

    if (values == NULL)
        return tide__eval_no_memory(eval);
    err = tide__eval_scalar(eval, expr->u.call.args[0], &a);
    if (err == TIDE_OK)
        err = tide__eval_scalar(eval, expr->u.call.args[1], &b);
    if (err != TIDE_OK)
        return err;
    for (size_t s = 0; s < eval->grid->step_count; s++)
        values[s] = function(a[s], b[s]);
    *out = values;
    return TIDE_OK;
}

static enum tide_err scalar_call(struct tide__eval *eval, const struct tide_expr *expr,
                                 const double **out)
{
    const struct tide_promql_times *times = &eval->times;

    switch (expr->u.call.fn) {
    case TIDE_FN_TIME:
        return scalar_time(eval, out);
    case TIDE_FN_PI:
        return scalar_fill(eval, 3.14159265358979323846, out);
    case TIDE_FN_START:
        return scalar_fill(eval, (double)times->start_ms / 1000, out);
    case TIDE_FN_END:
        return scalar_fill(eval, (double)times->end_ms / 1000, out);
    case TIDE_FN_STEP:
        return scalar_fill(eval, (double)times->step_ms / 1000, out);
    case TIDE_FN_RANGE:
        return scalar_fill(eval, (double)(times->end_ms - times->start_ms) / 1000, out);
    case TIDE_FN_SCALAR:
        return scalar_of_vector(eval, expr->u.call.args[0], out);
    case TIDE_FN_MIN_OF:
        return scalar_pair(eval, expr, min_of, out);
    case TIDE_FN_MAX_OF:
        return scalar_pair(eval, expr, max_of, out);
    default:
        (void)tide__eval_fail(eval, TIDE_ERR_UNSUPPORTED, "function %s is not available",
                              tide_fn_signature(expr->u.call.fn).name);
        return TIDE_ERR_UNSUPPORTED;
    }
}

static enum tide_err scalar_binary(struct tide__eval *eval, const struct tide_expr *expr,
                                   const double **out)
{
    const struct tide_binary *binary = &expr->u.binary;
    const double *lhs = NULL;
    const double *rhs = NULL;
    double *values = scalar_new(eval);
    enum tide_err err;

    if (values == NULL)
        return tide__eval_no_memory(eval);
    if (binary->op == TIDE_OP_TRIM_UPPER || binary->op == TIDE_OP_TRIM_LOWER)
        return tide__eval_fail(eval, TIDE_ERR_EXECUTION,
                               "operator \"%s\" not allowed for Scalar operations",
                               tide_binary_op_text(binary->op));
    err = tide__eval_scalar(eval, binary->lhs, &lhs);
    if (err == TIDE_OK)
        err = tide__eval_scalar(eval, binary->rhs, &rhs);
    if (err != TIDE_OK)
        return err;
    TIDE_ASSERT(lhs != NULL);
    TIDE_ASSERT(rhs != NULL);
    for (size_t s = 0; s < eval->grid->step_count; s++) {
        bool keep;

        values[s] = tide__binary_number(binary->op, lhs[s], rhs[s], &keep);
        if (tide_binary_op_is_comparison(binary->op))
            values[s] = keep ? 1 : 0;
    }
    *out = values;
    return TIDE_OK;
}

static enum tide_err scalar_unary(struct tide__eval *eval, const struct tide_expr *expr,
                                  const double **out)
{
    const double *inner = NULL;
    double *values;
    enum tide_err err = tide__eval_scalar(eval, expr->u.unary.expr, &inner);

    if (err != TIDE_OK)
        return err;
    TIDE_ASSERT(inner != NULL);
    if (!expr->u.unary.negate) {
        *out = inner;
        return TIDE_OK;
    }
    values = scalar_new(eval);
    if (values == NULL)
        return tide__eval_no_memory(eval);
    for (size_t s = 0; s < eval->grid->step_count; s++)
        values[s] = -inner[s];
    *out = values;
    return TIDE_OK;
}

enum tide_err tide__eval_scalar(struct tide__eval *eval, const struct tide_expr *expr,
                                const double **out)
{
    expr = tide_expr_unparen(expr);
    switch (expr->kind) {
    case TIDE_EXPR_NUMBER:
        return scalar_fill(eval, expr->u.number, out);
    case TIDE_EXPR_UNARY:
        return scalar_unary(eval, expr, out);
    case TIDE_EXPR_BINARY:
        return scalar_binary(eval, expr, out);
    case TIDE_EXPR_CALL:
        return scalar_call(eval, expr, out);
    default:
        TIDE_ASSERT(false); /* The type check lets no other kind pass. */
        return TIDE_ERR_INTERNAL;
    }
}

/* ---- Calls ---- */

enum tide_err tide__call_init(struct tide__eval *eval, const struct tide_expr *expr,
                              bool skip_vectors, struct tide__call *out)
{
    const struct tide_call *call = &expr->u.call;
    struct tide__arg *args = tide__eval_alloc(eval, (call->arg_count + 1) * sizeof(*args));

    if (args == NULL)
        return tide__eval_no_memory(eval);
    memset(args, 0, (call->arg_count + 1) * sizeof(*args));
    *out = (struct tide__call){
        .eval = eval,
        .expr = expr,
        .step_count = eval->grid->step_count,
        .word_count = eval->grid->word_count,
        .step_ms = eval->grid->times_ms,
        .args = args,
        .arg_count = call->arg_count,
    };
    for (size_t i = 0; i < call->arg_count; i++) {
        enum tide_err err = TIDE_OK;

        switch (call->args[i]->type) {
        case TIDE_PROMQL_SCALAR:
            args[i].kind = TIDE__ARG_SCALAR;
            err = tide__eval_scalar(eval, call->args[i], &args[i].scalar);
            break;
        case TIDE_PROMQL_STRING:
            args[i].kind = TIDE__ARG_STRING;
            args[i].string = tide_expr_unparen(call->args[i])->u.string;
            break;
        case TIDE_PROMQL_VECTOR:
            if (skip_vectors)
                break;
            err = tide__eval_vector(eval, call->args[i], &args[i].matrix);
            args[i].kind = TIDE__ARG_MATRIX;
            break;
        default:
            break;
        }
        if (err != TIDE_OK) {
            args[i].kind = TIDE__ARG_NONE;
            return err;
        }
    }
    return TIDE_OK;
}

void tide__call_deinit(struct tide__call *call)
{
    for (size_t i = 0; i < call->arg_count; i++)
        if (call->args[i].kind == TIDE__ARG_MATRIX)
            tide__matrix_free(call->args[i].matrix);
    call->arg_count = 0;
}

/* vector(s). */
static enum tide_err vector_of(struct tide__eval *eval, const double *scalar,
                               struct tide__matrix **out)
{
    enum tide_err err = tide__matrix_new(eval, 1, out);

    if (err != TIDE_OK)
        return err;
    memcpy((*out)->rows[0].values, scalar, (*out)->step_count * sizeof(*scalar));
    for (size_t s = 0; s < (*out)->step_count; s++)
        tide__bit_set((*out)->rows[0].present, s);
    return TIDE_OK;
}

/* timestamp() of what is no selector: the time of the step. */
static enum tide_err timestamp_of(struct tide__eval *eval, const struct tide_expr *arg,
                                  struct tide__matrix **out)
{
    struct tide__matrix *m;
    enum tide_err err = tide__eval_vector(eval, arg, &m);

    if (err != TIDE_OK)
        return err;
    err = tide__matrix_own(m, out);
    if (err != TIDE_OK)
        return err;
    for (size_t i = 0; i < (*out)->row_count; i++) {
        (*out)->rows[i].drop_name = true;
        (*out)->rows[i].histograms = NULL;
        for (size_t s = 0; s < (*out)->step_count; s++)
            (*out)->rows[i].values[s] = (double)eval->grid->times_ms[s] / 1000;
    }
    return TIDE_OK;
}

/* hour() and its like: on vector(time()). */
static enum tide_err map_of_time(struct tide__eval *eval, const struct tide_expr *expr,
                                 const struct tide__function *function, struct tide__matrix **out)
{
    const double *time = NULL;
    struct tide__call call = {0};
    enum tide_err err = scalar_time(eval, &time);

    if (err == TIDE_OK)
        err = tide__call_init(eval, expr, true, &call);
    if (err == TIDE_OK)
        err = vector_of(eval, time, out);
    if (err == TIDE_OK)
        function->map(&call, (*out)->rows[0].values, (*out)->rows[0].present);
    tide__call_deinit(&call);
    return err;
}

static enum tide_err matrix_call(struct tide__eval *eval, const struct tide_expr *expr,
                                 const struct tide__function *function, struct tide__matrix **out)
{
    struct tide__call call = {0};
    struct tide__matrix *m = NULL;
    enum tide_err err = tide__call_init(eval, expr, false, &call);

    if (err == TIDE_OK && function->check != NULL)
        err = function->check(&call);
    if (err == TIDE_OK)
        err = function->matrix(&call, &m);
    if (m != NULL) /* It may be an argument changed in place, which is not freed then. */
        for (size_t i = 0; i < call.arg_count; i++)
            if (call.args[i].kind == TIDE__ARG_MATRIX && call.args[i].matrix == m)
                ((struct tide__arg *)call.args)[i].matrix = NULL;
    tide__call_deinit(&call);
    if (err == TIDE_OK)
        err = tide__matrix_merge_same(m, TIDE__SAME_LABELS);
    if (err != TIDE_OK) {
        tide__matrix_free(m);
        return err;
    }
    *out = m;
    return TIDE_OK;
}

static enum tide_err eval_call(struct tide__eval *eval, const struct tide_expr *expr,
                               struct tide__matrix **out)
{
    const struct tide_call *call = &expr->u.call;
    const struct tide__function *function;
    const double *scalar;
    enum tide_err err;

    switch (call->fn) {
    case TIDE_FN_VECTOR:
        err = tide__eval_scalar(eval, call->args[0], &scalar);
        return err != TIDE_OK ? err : vector_of(eval, scalar, out);
    case TIDE_FN_TIMESTAMP:
        return timestamp_of(eval, call->args[0], out);
    case TIDE_FN_ABSENT:
    case TIDE_FN_ABSENT_OVER_TIME:
        return tide__absent(eval, expr, out);
    case TIDE_FN_INFO:
        return tide__info(eval, expr, out);
    case TIDE_FN_SORT:
    case TIDE_FN_SORT_DESC:
    case TIDE_FN_SORT_BY_LABEL:
    case TIDE_FN_SORT_BY_LABEL_DESC:
        return tide__sort(eval, expr, out);
    default:
        break;
    }
    function = tide__function(call->fn);
    if (function != NULL && function->matrix != NULL)
        return matrix_call(eval, expr, function, out);
    if (function != NULL && function->map != NULL && (function->flags & TIDE__FN_DEFAULT_TIME) != 0)
        return map_of_time(eval, expr, function, out);
    return tide__eval_fail(eval, TIDE_ERR_UNSUPPORTED, "function %s is not available yet",
                           tide_fn_signature(call->fn).name);
}

/* ---- Vectors ---- */

static enum tide_err eval_binary(struct tide__eval *eval, const struct tide_expr *expr,
                                 struct tide__matrix **out)
{
    const struct tide_binary *binary = &expr->u.binary;
    struct tide__matrix *lhs;
    struct tide__matrix *rhs;
    enum tide_err err;

    err = tide__eval_vector(eval, binary->lhs, &lhs);
    if (err != TIDE_OK)
        return err;
    err = tide__eval_vector(eval, binary->rhs, &rhs);
    if (err == TIDE_OK) {
        if (tide_binary_op_is_set(binary->op))
            err = tide__binary_set(eval, expr, lhs, rhs, out);
        else
            err = tide__binary_match(eval, expr, lhs, rhs, out);
        tide__matrix_free(rhs);
    }
    tide__matrix_free(lhs);
    return err;
}

static enum tide_err eval_plain(struct tide__eval *eval, const struct tide_expr *expr,
                                struct tide__matrix **out)
{
    struct tide__stream *stream;
    enum tide_err err = tide__eval_check(eval);

    if (err == TIDE_OK)
        err = tide__stream_open(eval, expr, &stream);
    if (err != TIDE_OK)
        return err;
    if (stream != NULL)
        return tide__stream_collect(stream, out);
    switch (expr->kind) {
    case TIDE_EXPR_CALL:
        return eval_call(eval, expr, out);
    case TIDE_EXPR_AGGREGATE:
        return tide__aggregate(eval, expr, out);
    case TIDE_EXPR_BINARY:
        return eval_binary(eval, expr, out);
    case TIDE_EXPR_UNARY: /* A plus: the minus is a stream. */
        return tide__eval_vector(eval, expr->u.unary.expr, out);
    default:
        TIDE_ASSERT(false); /* The type check lets no other kind pass. */
        return TIDE_ERR_INTERNAL;
    }
}

static enum tide_err repeat_histogram(struct tide__eval *eval, const struct tide_histogram *h,
                                      struct tide__row *row)
{
    size_t steps = eval->grid->step_count;
    const struct tide_histogram **histograms =
        tide__eval_alloc(eval, steps * sizeof(struct tide_histogram *));

    if (histograms == NULL)
        return tide__eval_no_memory(eval);
    for (size_t s = 0; s < steps; s++)
        histograms[s] = h;
    row->histograms = histograms;
    return TIDE_OK;
}

/* Evaluates at one step and repeats the value at all. */
static enum tide_err eval_fixed(struct tide__eval *eval, const struct tide_expr *expr,
                                struct tide__matrix **out)
{
    const struct tide__grid *grid = eval->grid;
    const struct tide__grid *single = NULL;
    struct tide__matrix *one = NULL;
    enum tide_err err = tide__grid_new(eval, grid->start_ms, grid->step_ms, 1, &single);

    if (err != TIDE_OK)
        return err;
    eval->grid = single;
    err = eval_plain(eval, expr, &one);
    eval->grid = grid;
    if (err != TIDE_OK)
        return err;
    TIDE_ASSERT(one != NULL);
    err = tide__matrix_new(eval, one->row_count, out);
    for (size_t i = 0; err == TIDE_OK && i < one->row_count; i++) {
        struct tide__row *row = &(*out)->rows[i];

        row->labels = one->rows[i].labels;
        row->drop_name = one->rows[i].drop_name;
        if (!tide__bit(one->rows[i].present, 0))
            continue;
        memset(row->present, 0xff, grid->word_count * sizeof(*row->present));
        row->present[grid->word_count - 1] = tide__last_word_mask(grid->step_count);
        for (size_t s = 0; s < grid->step_count; s++)
            row->values[s] = one->rows[i].values[0];
        if (one->rows[i].histograms != NULL)
            err = repeat_histogram(eval, one->rows[i].histograms[0], row);
    }
    tide__matrix_free(one);
    return err;
}

static struct tide_hash128 shared_key(const struct tide__eval *eval, const struct tide_expr *expr)
{
    struct {
        struct tide_hash128 hash;
        int64_t start_ms;
        int64_t step_ms;
        uint64_t step_count;
    } key = {eval->hashes[expr->id], eval->grid->start_ms, eval->grid->step_ms,
             eval->grid->step_count};

    return tide_hash128((struct tide_slice){(const uint8_t *)&key, sizeof(key)}, 0);
}

enum tide_err tide__eval_vector(struct tide__eval *eval, const struct tide_expr *expr,
                                struct tide__matrix **out)
{
    struct tide__shared *shared;
    struct tide_hash128 key = {0};
    enum tide_err err;

    expr = tide_expr_unparen(expr);
    if (eval->is_shared[expr->id]) {
        key = shared_key(eval, expr);
        for (shared = eval->shared; shared != NULL; shared = shared->next) {
            if (tide_hash128_eq(shared->key, key)) {
                *out = shared->matrix;
                return TIDE_OK;
            }
        }
    }
    if (eval->is_fixed[expr->id] && eval->grid->step_count > 1)
        err = eval_fixed(eval, expr, out);
    else
        err = eval_plain(eval, expr, out);
    /* What is kept already is so under its own key too: it may have come from inside. */
    if (err != TIDE_OK)
        return err;
    TIDE_ASSERT(*out != NULL);
    if (!eval->is_shared[expr->id] || (*out)->cached)
        return TIDE_OK;
    shared = tide__eval_alloc(eval, sizeof(*shared));
    if (shared == NULL)
        return TIDE_OK; /* Then it is computed again. */
    *shared = (struct tide__shared){.key = key, .matrix = *out, .next = eval->shared};
    eval->shared = shared;
    (*out)->cached = true;
    return TIDE_OK;
}
