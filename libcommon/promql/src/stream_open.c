/* How expressions become streams, and where their samples come from. */
#include "stream_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

/* Series in a batch: enough to spread the cost of a read, few enough that a batch of long rows
 * stays in the cache. Decided by the query alone, since the borders of batches show in the last
 * bits of sums. */
#define BATCH_SERIES_MAX 256
#define BATCH_SERIES_MIN 16
#define BATCH_POINTS 262144
/* A guess at the scrape interval, for the number of samples in a row. */
#define SCRAPE_MS 15000

/* Steps of one subquery: it is evaluated whole, and each step costs at least 8 bytes a series. */
#define SUBQUERY_STEPS_MAX (64u << 20)

static int64_t add_sat(int64_t a, int64_t b)
{
    int64_t sum;

    if (__builtin_add_overflow(a, b, &sum))
        return b < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}

static int64_t sub_sat(int64_t a, int64_t b)
{
    int64_t difference;

    if (__builtin_sub_overflow(a, b, &difference))
        return b < 0 ? INT64_MAX : INT64_MIN;
    return difference;
}

int64_t tide__shifted(const struct tide_shift *shift, int64_t time_ms)
{
    return sub_sat(shift->at == TIDE_AT_NONE ? time_ms : shift->at_ms, shift->offset_ms);
}

/* ---- Where samples come from ---- */

enum tide_err tide__select(struct tide__eval *eval, const struct tide_expr *expr, int64_t mint_ms,
                           int64_t maxt_ms, struct tide_series_set **out)
{
    const struct tide_selector *selector = &expr->u.selector;
    struct tide__set_entry *entry;
    struct tide_hash128 key;
    struct tide_select select = {
        .tenant = eval->tenant,
        .matchers = selector->matchers,
        .matcher_count = selector->matcher_count,
        .mint_ms = mint_ms,
        .maxt_ms = maxt_ms,
    };
    enum tide_err err = tide__selector_hash(selector, &key);

    if (err != TIDE_OK)
        return err;
    /* Selectors that say the same share one selection. */
    for (entry = eval->sets; entry != NULL; entry = entry->next) {
        if (tide_hash128_eq(entry->key, key) && entry->mint_ms == mint_ms &&
            entry->maxt_ms == maxt_ms) {
            *out = entry->set;
            return TIDE_OK;
        }
    }
    entry = tide__eval_alloc(eval, sizeof(*entry));
    if (entry == NULL)
        return tide__eval_no_memory(eval);
    err = eval->source->select(eval->source->context, &select, eval->limits, &entry->set,
                               &eval->diag);
    if (err == TIDE_ERR_LIMIT)
        return tide__eval_fail(eval, err, "query selects more series than it may");
    if (err != TIDE_OK)
        return err;
    entry->key = key;
    entry->mint_ms = mint_ms;
    entry->maxt_ms = maxt_ms;
    entry->next = eval->sets;
    eval->sets = entry;
    *out = entry->set;
    return TIDE_OK;
}

enum tide_err tide__read(struct tide__eval *eval, struct tide_series_set *set, size_t first,
                         size_t count, int64_t mint_ms, int64_t maxt_ms, struct tide_batch *batch)
{
    enum tide_err err = set->ops->read(set, first, count, mint_ms, maxt_ms, batch);

    if (err == TIDE_ERR_LIMIT)
        return tide__eval_fail(eval, err, "query reads more samples than it may");
    return err;
}

/* The first multiple of step after t. */
static int64_t multiple_after(int64_t t, int64_t step)
{
    int64_t quotient = t / step;

    if (t % step < 0)
        quotient--;
    return add_sat(quotient * step, step);
}

enum tide_err tide__subquery(struct tide__eval *eval, const struct tide_expr *expr,
                             int64_t start_ms, int64_t end_ms, const struct tide__grid **grid,
                             struct tide__matrix **out)
{
    const struct tide_subquery *subquery = &expr->u.subquery;
    const struct tide__grid *outer = eval->grid;
    const struct tide__grid *inner;
    int64_t step = subquery->step == NULL ? eval->subquery_step_ms : subquery->step_ms;
    int64_t first;
    uint64_t steps;
    enum tide_err err;

    TIDE_ASSERT(step > 0);
    first = multiple_after(start_ms, step);
    if (first > end_ms || first < start_ms) {
        *grid = NULL;
        return tide__matrix_new(eval, 0, out);
    }
    steps = (uint64_t)(end_ms - first) / (uint64_t)step + 1;
    if (steps > SUBQUERY_STEPS_MAX)
        return tide__eval_fail(eval, TIDE_ERR_EXECUTION,
                               "subquery has too many steps: %llu, at most %u are possible",
                               (unsigned long long)steps, SUBQUERY_STEPS_MAX);
    err = tide__grid_new(eval, first, step, (size_t)steps, &inner);
    if (err != TIDE_OK)
        return err;
    eval->grid = inner;
    err = tide__eval_vector(eval, subquery->expr, out);
    eval->grid = outer;
    *grid = inner;
    return err;
}

/* ---- Streams ---- */

static enum tide_err stream_new(struct tide__eval *eval, enum tide__stream_kind kind,
                                struct tide__stream **out)
{
    struct tide__stream *stream = tide_mem_new(sizeof(*stream));

    if (stream == NULL)
        return TIDE_ERR_NO_MEMORY;
    stream->eval = eval;
    stream->grid = eval->grid;
    stream->kind = kind;
    stream->batch_series = BATCH_SERIES_MAX;
    *out = stream;
    return TIDE_OK;
}

void tide__stream_close(struct tide__stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->owns_rows)
        tide__matrix_free(stream->rows);
    tide__call_deinit(&stream->call);
    for (size_t i = 0; i < stream->op_count; i++)
        tide__call_deinit(&stream->ops[i].call);
    tide_mem_free(stream);
}

static void choose_batch(struct tide__stream *stream)
{
    size_t points = stream->grid->step_count;
    uint64_t samples = 0;

    if (stream->maxt_ms > stream->mint_ms)
        samples = ((uint64_t)stream->maxt_ms - (uint64_t)stream->mint_ms) / SCRAPE_MS;
    if (samples > points)
        points = samples > BATCH_POINTS ? BATCH_POINTS : (size_t)samples;
    stream->batch_series = BATCH_POINTS / (points + 1);
    if (stream->batch_series > BATCH_SERIES_MAX)
        stream->batch_series = BATCH_SERIES_MAX;
    if (stream->batch_series < BATCH_SERIES_MIN)
        stream->batch_series = BATCH_SERIES_MIN;
}

enum tide_err tide__stream_of(struct tide__eval *eval, struct tide__matrix *m,
                              struct tide__stream **out)
{
    enum tide_err err = stream_new(eval, TIDE__STREAM_ROWS, out);

    if (err != TIDE_OK) {
        tide__matrix_free(m);
        return err;
    }
    (*out)->rows = m;
    (*out)->owns_rows = true;
    (*out)->series_count = m->row_count;
    choose_batch(*out);
    return TIDE_OK;
}

/* The windows (t - range, t] of all steps, t moved by the shift. */
static enum tide_err set_windows(struct tide__stream *stream, const struct tide_shift *shift,
                                 int64_t range_ms)
{
    const struct tide__grid *grid = stream->grid;
    int64_t *start = tide__eval_alloc(stream->eval, 2 * grid->step_count * sizeof(*start));
    int64_t *end = start + grid->step_count;

    if (start == NULL)
        return tide__eval_no_memory(stream->eval);
    for (size_t s = 0; s < grid->step_count; s++) {
        end[s] = tide__shifted(shift, grid->times_ms[s]);
        start[s] = sub_sat(end[s], range_ms);
    }
    stream->range_ms = range_ms;
    stream->start_ms = start;
    stream->end_ms = end;
    stream->mint_ms = add_sat(start[0], 1);
    stream->maxt_ms = end[grid->step_count - 1];
    return TIDE_OK;
}

static enum tide_err open_selector(struct tide__eval *eval, const struct tide_expr *expr,
                                   enum tide__stream_kind kind, struct tide__stream **out)
{
    const struct tide_selector *selector = &expr->u.selector;
    struct tide__stream *stream;
    enum tide_err err = stream_new(eval, kind, &stream);

    if (err != TIDE_OK)
        return err;
    if (selector->anchored)
        err = tide__eval_fail(eval, TIDE_ERR_EXECUTION,
                              "anchored modifier can only be used with a range vector");
    stream->smoothed = selector->smoothed;
    stream->drop_name = kind == TIDE__STREAM_TIMESTAMP;
    if (err == TIDE_OK)
        err = set_windows(stream, &selector->shift, eval->lookback_ms);
    if (err == TIDE_OK && stream->smoothed)
        stream->maxt_ms = add_sat(stream->maxt_ms, eval->lookback_ms);
    if (err == TIDE_OK)
        err = tide__select(eval, expr, stream->mint_ms, stream->maxt_ms, &stream->set);
    if (err != TIDE_OK) {
        tide__stream_close(stream);
        return err;
    }
    stream->series_count = stream->set->count;
    choose_batch(stream);
    *out = stream;
    return TIDE_OK;
}

enum tide_err tide__stream_times(struct tide__eval *eval, const struct tide_expr *selector,
                                 struct tide__matrix **out)
{
    struct tide__stream *stream;
    enum tide_err err = open_selector(eval, selector, TIDE__STREAM_TIMESTAMP, &stream);

    if (err != TIDE_OK)
        return err;
    stream->floats_only = true;
    return tide__stream_collect(stream, out);
}

static const struct tide_expr *range_argument(const struct tide_expr *call, size_t *index)
{
    for (size_t i = 0; i < call->u.call.arg_count; i++) {
        if (call->u.call.args[i]->type == TIDE_PROMQL_MATRIX) {
            *index = i;
            return tide_expr_unparen(call->u.call.args[i]);
        }
    }
    TIDE_ASSERT(false); /* The type check lets no call without one pass. */
    return NULL;
}

/* Only functions that know how to look past the borders of a window take the extended forms. */
static enum tide_err check_extended(struct tide__eval *eval, const struct tide_selector *selector,
                                    enum tide_fn fn)
{
    bool smoothed = fn == TIDE_FN_DELTA || fn == TIDE_FN_INCREASE || fn == TIDE_FN_RATE;
    bool anchored = smoothed || fn == TIDE_FN_CHANGES || fn == TIDE_FN_RESETS;

    if (selector->smoothed && !smoothed)
        return tide__eval_fail(eval, TIDE_ERR_EXECUTION,
                               "smoothed modifier can only be used with: delta, increase, rate - "
                               "not with %s",
                               tide_fn_signature(fn).name);
    if (selector->anchored && !anchored)
        return tide__eval_fail(eval, TIDE_ERR_EXECUTION,
                               "anchored modifier can only be used with: changes, delta, increase, "
                               "rate, resets - not with %s",
                               tide_fn_signature(fn).name);
    return TIDE_OK;
}

static enum tide_err open_range_samples(struct tide__stream *stream, const struct tide_expr *range)
{
    struct tide__eval *eval = stream->eval;
    const struct tide_expr *selector;
    enum tide_err err;

    if (range->kind == TIDE_EXPR_SUBQUERY) {
        err = set_windows(stream, &range->u.subquery.shift, range->u.subquery.range_ms);
        if (err != TIDE_OK)
            return err;
        err = tide__subquery(eval, range, stream->start_ms[0], stream->maxt_ms, &stream->rows_grid,
                             &stream->rows);
        if (err != TIDE_OK)
            return err;
        stream->owns_rows = true;
        stream->series_count = stream->rows->row_count;
        return TIDE_OK;
    }
    TIDE_ASSERT(range->kind == TIDE_EXPR_MATRIX);
    selector = range->u.matrix.selector;
    err = check_extended(eval, &selector->u.selector, stream->call.expr->u.call.fn);
    if (err != TIDE_OK)
        return err;
    err = set_windows(stream, &selector->u.selector.shift, range->u.matrix.range_ms);
    if (err != TIDE_OK)
        return err;
    if (selector->u.selector.anchored || selector->u.selector.smoothed)
        stream->mint_ms = sub_sat(stream->mint_ms, eval->lookback_ms);
    if (selector->u.selector.smoothed)
        stream->maxt_ms = add_sat(stream->maxt_ms, eval->lookback_ms);
    err = tide__select(eval, selector, stream->mint_ms, stream->maxt_ms, &stream->set);
    if (err != TIDE_OK)
        return err;
    stream->series_count = stream->set->count;
    stream->counter_one_name = selector->u.selector.name.len > 0;
    return TIDE_OK;
}

enum tide_err tide__stream_range(struct tide__eval *eval, const struct tide_expr *call,
                                 const struct tide__function *function, struct tide__stream **out)
{
    struct tide__stream *stream;
    size_t range_index = 0;
    const struct tide_expr *range = range_argument(call, &range_index);
    enum tide_err err = stream_new(eval, TIDE__STREAM_RANGE, &stream);

    if (err != TIDE_OK)
        return err;
    stream->function = function;
    stream->drop_name = (function->flags & TIDE__FN_KEEP_NAME) == 0;
    atomic_init(&stream->counter_check, (function->flags & TIDE__FN_COUNTER) != 0);
    stream->counter_pos = call->u.call.args[range_index]->pos;
    err = tide__call_init(eval, call, true, &stream->call);
    if (err == TIDE_OK)
        err = open_range_samples(stream, range);
    if (err == TIDE_OK && function->check != NULL && stream->series_count > 0)
        err = function->check(&stream->call);
    if (err != TIDE_OK) {
        tide__stream_close(stream);
        return err;
    }
    choose_batch(stream);
    *out = stream;
    return TIDE_OK;
}

/* A stream of the operand of an element-wise node with room for one step more. */
static enum tide_err open_operand(struct tide__eval *eval, const struct tide_expr *expr,
                                  struct tide__stream **out)
{
    struct tide__matrix *m;
    enum tide_err err;

    *out = NULL;
    if (!eval->is_shared[expr->id]) {
        err = tide__stream_open(eval, expr, out);
        if (err != TIDE_OK)
            return err;
        if (*out != NULL && (*out)->op_count < TIDE__STREAM_OPS_MAX)
            return TIDE_OK;
    }
    err = *out == NULL ? tide__eval_vector(eval, expr, &m) : tide__stream_collect(*out, &m);
    return err != TIDE_OK ? err : tide__stream_of(eval, m, out);
}

static enum tide_err open_map(struct tide__eval *eval, const struct tide_expr *expr,
                              const struct tide__function *function, struct tide__stream **out)
{
    const struct tide_call *call = &expr->u.call;
    const struct tide_expr *operand = NULL;
    struct tide__row_op op = {.kind = TIDE__ROW_MAP, .function = function};
    enum tide_err err;

    for (size_t i = 0; i < call->arg_count && operand == NULL; i++)
        if (call->args[i]->type == TIDE_PROMQL_VECTOR)
            operand = call->args[i];
    if (operand == NULL) {
        *out = NULL; /* hour() and its like without an argument: eval_node.c makes one. */
        return TIDE_OK;
    }
    err = open_operand(eval, operand, out);
    if (err != TIDE_OK)
        return err;
    err = tide__call_init(eval, expr, true, &op.call);
    if (err == TIDE_OK && function->check != NULL)
        err = function->check(&op.call);
    if (err != TIDE_OK) {
        tide__call_deinit(&op.call);
        tide__stream_close(*out);
        return err;
    }
    (*out)->ops[(*out)->op_count++] = op;
    if ((function->flags & TIDE__FN_KEEP_NAME) == 0)
        (*out)->drop_name = true;
    return TIDE_OK;
}

static enum tide_err open_scalar_binary(struct tide__eval *eval, const struct tide_expr *expr,
                                        struct tide__stream **out)
{
    const struct tide_binary *binary = &expr->u.binary;
    bool swapped = binary->lhs->type == TIDE_PROMQL_SCALAR;
    struct tide__row_op op = {.kind = TIDE__ROW_BINARY,
                              .pos = expr->pos,
                              .op = binary->op,
                              .return_bool = binary->return_bool,
                              .swapped = swapped};
    enum tide_err err = tide__eval_scalar(eval, swapped ? binary->lhs : binary->rhs, &op.scalar);

    if (err == TIDE_OK)
        err = open_operand(eval, swapped ? binary->rhs : binary->lhs, out);
    if (err != TIDE_OK)
        return err;
    (*out)->ops[(*out)->op_count++] = op;
    /* Comparisons and trims select: what they keep is still the metric. */
    if (binary->op <= TIDE_OP_ATAN2 || binary->return_bool)
        (*out)->drop_name = true;
    return TIDE_OK;
}

static enum tide_err open_call(struct tide__eval *eval, const struct tide_expr *expr,
                               struct tide__stream **out)
{
    const struct tide_call *call = &expr->u.call;
    const struct tide__function *function = tide__function(call->fn);

    if (call->fn == TIDE_FN_TIMESTAMP) {
        const struct tide_expr *arg = tide_expr_unparen(call->args[0]);

        if (arg->kind == TIDE_EXPR_SELECTOR && !arg->u.selector.smoothed)
            return open_selector(eval, arg, TIDE__STREAM_TIMESTAMP, out);
    }
    if (function != NULL && function->range != NULL && call->fn != TIDE_FN_ABSENT_OVER_TIME)
        return tide__stream_range(eval, expr, function, out);
    if (function != NULL && (function->map != NULL || function->of_histogram != NULL))
        return open_map(eval, expr, function, out);
    *out = NULL;
    return TIDE_OK;
}

enum tide_err tide__stream_open(struct tide__eval *eval, const struct tide_expr *expr,
                                struct tide__stream **out)
{
    enum tide_err err;

    *out = NULL;
    expr = tide_expr_unparen(expr);
    /* What is the same at all steps is computed at one, by tide__eval_vector(). */
    if (eval->is_fixed[expr->id] && eval->grid->step_count > 1)
        return TIDE_OK;
    switch (expr->kind) {
    case TIDE_EXPR_SELECTOR:
        return open_selector(eval, expr, TIDE__STREAM_INSTANT, out);
    case TIDE_EXPR_CALL:
        return open_call(eval, expr, out);
    case TIDE_EXPR_UNARY:
        if (!expr->u.unary.negate)
            return tide__stream_open(eval, expr->u.unary.expr, out);
        err = open_operand(eval, expr->u.unary.expr, out);
        if (err != TIDE_OK)
            return err;
        (*out)->ops[(*out)->op_count++] = (struct tide__row_op){.kind = TIDE__ROW_NEGATE};
        (*out)->drop_name = true;
        return TIDE_OK;
    case TIDE_EXPR_BINARY:
        if (expr->type != TIDE_PROMQL_VECTOR || expr->u.binary.has_matching ||
            tide_binary_op_is_set(expr->u.binary.op))
            return TIDE_OK;
        return open_scalar_binary(eval, expr, out);
    default:
        return TIDE_OK;
    }
}
