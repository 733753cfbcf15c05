#include "eval_private.h"
#include "hist_private.h"
#include "stream_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define LOOKBACK_MS_DEFAULT INT64_C(300000)
#define SUBQUERY_STEP_MS_DEFAULT INT64_C(60000)
/* Notes of a kind in an answer, as many as Prometheus shows. */
#define NOTES_SHOWN_MAX 10

struct tide_engine {
    struct tide__pool *pool;
    int64_t lookback_ms;
    int64_t subquery_step_ms;
};

/* The answer in front, for the caller; all that it points into behind. */
struct engine_result {
    struct tide_engine_result answer;
    struct tide__eval eval;
    struct tide__matrix *matrix;
    struct tide_arena *raw; /* Samples of a range vector at the top. */
    uint64_t raw_charged;
};

enum tide_err tide_engine_new(const struct tide_engine_options *options, struct tide_engine **out)
{
    struct tide_engine *engine = tide_mem_new(sizeof(*engine));
    unsigned threads = options->threads == 0 ? 1 : options->threads;
    enum tide_err err;

    if (engine == NULL)
        return TIDE_ERR_NO_MEMORY;
    engine->lookback_ms = options->lookback_ms > 0 ? options->lookback_ms : LOOKBACK_MS_DEFAULT;
    engine->subquery_step_ms =
        options->subquery_step_ms > 0 ? options->subquery_step_ms : SUBQUERY_STEP_MS_DEFAULT;
    err = tide__pool_new(threads > TIDE__SLOTS_MAX ? TIDE__SLOTS_MAX : threads, &engine->pool);
    if (err != TIDE_OK) {
        tide_mem_free(engine);
        return err;
    }
    *out = engine;
    return TIDE_OK;
}

void tide_engine_free(struct tide_engine *engine)
{
    if (engine == NULL)
        return;
    tide__pool_free(engine->pool);
    tide_mem_free(engine);
}

/* ---- Services for the parts of the evaluator ---- */

enum tide_err tide__charge(struct tide__eval *eval, uint64_t bytes)
{
    enum tide_err err =
        bytes > INT64_MAX ? TIDE_ERR_LIMIT : tide_query_charge(eval->limits, (int64_t)bytes);

    if (err != TIDE_OK)
        return tide__eval_fail(eval, err, "query needs more memory than it may use");
    return TIDE_OK;
}

void tide__release(struct tide__eval *eval, uint64_t bytes)
{
    enum tide_err err = tide_query_charge(eval->limits, -(int64_t)bytes);

    TIDE_ASSERT(err == TIDE_OK); /* Giving back is never over a limit. */
}

enum tide_err tide__charge_arena(struct tide__eval *eval, const struct tide_arena *arena,
                                 uint64_t *charged)
{
    uint64_t bytes = tide_arena_bytes(arena);

    if (bytes < *charged) {
        tide__release(eval, *charged - bytes);
    } else if (bytes > *charged) {
        enum tide_err err = tide__charge(eval, bytes - *charged);

        if (err != TIDE_OK)
            return err;
    }
    *charged = bytes;
    return TIDE_OK;
}

void *tide__eval_alloc(struct tide__eval *eval, size_t bytes)
{
    void *memory = tide_arena_alloc(eval->arena, bytes);

    if (memory == NULL || tide__charge_arena(eval, eval->arena, &eval->arena_charged) != TIDE_OK)
        return NULL;
    return memory;
}

bool tide__eval_over_limit(struct tide__eval *eval)
{
    bool limited;

    (void)pthread_mutex_lock(&eval->fail_lock);
    limited = eval->diag.text[0] != '\0'; /* Charging says so; a lack of memory says nothing. */
    (void)pthread_mutex_unlock(&eval->fail_lock);
    return limited;
}

struct tide_arena *tide__arena_new(const struct tide__eval *eval)
{
    return tide_arena_new((size_t)eval->limits->memory_bytes_max);
}

enum tide_err tide__arena_no_memory(struct tide__eval *eval, const struct tide_arena *arena)
{
    uint64_t most = eval->limits->memory_bytes_max;

    /* One allocation is small beside the limit of a query, and chunks of an arena double at most.
     */
    if (most != 0 && arena != NULL && tide_arena_bytes(arena) >= most / 4)
        return tide__eval_fail(eval, TIDE_ERR_LIMIT, "query needs more memory than it may use");
    return TIDE_ERR_NO_MEMORY;
}

struct tide_arena *tide__slot_arena(struct tide__eval *eval, unsigned slot)
{
    if (eval->slot_arenas[slot] == NULL)
        eval->slot_arenas[slot] = tide__arena_new(eval);
    return eval->slot_arenas[slot];
}

enum tide_err tide__eval_fail(struct tide__eval *eval, enum tide_err err, const char *format, ...)
{
    char text[sizeof(eval->diag.text)];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)pthread_mutex_lock(&eval->fail_lock);
    tide_diag_set(&eval->diag, "%s", text);
    (void)pthread_mutex_unlock(&eval->fail_lock);
    return err;
}

enum tide_err tide__eval_check(struct tide__eval *eval)
{
    enum tide_err err = tide_query_check(eval->limits);

    if (err == TIDE_ERR_TIMEOUT)
        return tide__eval_fail(eval, err, "query timed out in expression evaluation");
    if (err == TIDE_ERR_CANCELED)
        return tide__eval_fail(eval, err, "query was canceled in expression evaluation");
    return err;
}

/* ---- Setting up and tearing down ---- */

void tide_engine_result_free(struct tide_engine_result *answer)
{
    struct engine_result *result = (struct engine_result *)(void *)answer;
    struct tide__eval *eval;

    if (result == NULL)
        return;
    eval = &result->eval;
    tide__matrix_free(result->matrix);
    for (struct tide__shared *shared = eval->shared; shared != NULL; shared = shared->next) {
        shared->matrix->cached = false;
        tide__matrix_free(shared->matrix);
    }
    for (struct tide__set_entry *entry = eval->sets; entry != NULL; entry = entry->next)
        entry->set->ops->free(entry->set);
    tide_promql_release(&eval->query);
    tide__notes_deinit(&eval->notes);
    for (size_t slot = 0; slot < TIDE__SLOTS_MAX; slot++) {
        tide_arena_free(eval->slot_arenas[slot]);
        tide__release(eval, eval->slot_charged[slot]);
    }
    tide_arena_free(result->raw);
    tide__release(eval, eval->arena_charged + result->raw_charged);
    tide_arena_free(eval->arena);
    (void)pthread_mutex_destroy(&eval->fail_lock);
    tide_mem_free(result);
}

static enum tide_err result_new(struct tide_engine *engine, const struct tide_engine_params *params,
                                const struct tide_source *source, struct tide_query_limits *limits,
                                struct engine_result **out)
{
    struct engine_result *result = tide_mem_new(sizeof(*result));
    struct tide__eval *eval;
    enum tide_err err;

    if (result == NULL)
        return TIDE_ERR_NO_MEMORY;
    eval = &result->eval;
    *eval = (struct tide__eval){
        .pool = engine->pool,
        .slot_count = tide__pool_threads(engine->pool),
        .source = source,
        .tenant = params->tenant,
        .instant = params->instant,
        .lookback_ms = params->lookback_ms > 0 ? params->lookback_ms : engine->lookback_ms,
        .subquery_step_ms = engine->subquery_step_ms,
        .times = {params->start_ms, params->instant ? params->start_ms : params->end_ms,
                  params->instant ? 0 : params->step_ms},
    };
    eval->limits = limits != NULL ? limits : &eval->own_limits;
    (void)pthread_mutex_init(&eval->fail_lock, NULL);
    err = tide__notes_init(&eval->notes);
    eval->arena = tide_arena_new(0);
    if (err != TIDE_OK || eval->arena == NULL) {
        tide_engine_result_free(&result->answer);
        return TIDE_ERR_NO_MEMORY;
    }
    *out = result;
    return TIDE_OK;
}

static enum tide_err prepare(struct tide__eval *eval, const struct tide_engine_params *params)
{
    size_t steps = 1;
    enum tide_err err = tide_promql_parse(params->expr, eval->arena, &eval->query, &eval->diag);

    if (err != TIDE_OK)
        return err;
    if (!params->instant) {
        if (params->step_ms <= 0 || params->end_ms < params->start_ms)
            return tide__eval_fail(eval, TIDE_ERR_INVALID,
                                   "a range query needs a step above 0 and an end not before its "
                                   "start");
        steps = (size_t)(((uint64_t)params->end_ms - (uint64_t)params->start_ms) /
                             (uint64_t)params->step_ms +
                         1);
        if (eval->query.root->type != TIDE_PROMQL_VECTOR &&
            eval->query.root->type != TIDE_PROMQL_SCALAR)
            return tide__eval_fail(
                eval, TIDE_ERR_INVALID,
                "invalid expression type \"%s\" for range query, must be Scalar or instant Vector",
                tide_promql_type_text(eval->query.root->type));
    }
    err = tide_promql_resolve(&eval->query, &eval->times, &eval->diag);
    if (err == TIDE_OK)
        err = tide__expr_info(eval);
    if (err == TIDE_OK)
        err = tide__grid_new(eval, params->start_ms, params->instant ? 1 : params->step_ms, steps,
                             &eval->grid);
    return err;
}

/* ---- Answers ---- */

/* Now the names that were to be dropped go; two series that differed by name alone are an error.
 * Rows of a matrix differ: when all lose the same name, and nothing else, they still do. */
static enum tide_err drop_names(struct tide__matrix *m)
{
    struct tide_slice first = {0};
    bool alike = true;
    size_t dropped = 0;

    for (size_t i = 0; i < m->row_count; i++) {
        struct tide__row *row = &m->rows[i];
        struct tide_slice name;
        struct tide_label *pairs;
        size_t kept;

        if (!row->drop_name)
            continue;
        pairs = tide__eval_alloc(m->eval, (row->labels.count + 1) * sizeof(*pairs));
        if (pairs == NULL)
            return tide__eval_no_memory(m->eval);
        name = tide_labels_get(row->labels, TIDE_SLICE(TIDE_LABEL_METRIC));
        kept = tide__labels_filter(row->labels, NULL, 0, false, TIDE__DROP_METADATA, pairs);
        if (dropped++ == 0)
            first = name;
        alike = alike && tide_slice_eq(name, first) && kept + (name.len > 0) == row->labels.count;
        row->labels.count = kept;
        row->labels.pairs = pairs;
        row->drop_name = false; /* Done. */
    }
    if (dropped == 0 || (dropped == m->row_count && alike))
        return TIDE_OK;
    return tide__matrix_merge_same(m, TIDE__SAME_LABELS);
}

static int series_order(const void *a, const void *b)
{
    const struct tide_result_series *x = a;
    const struct tide_result_series *y = b;

    return tide_labels_cmp(x->labels, y->labels);
}

static enum tide_err answer_rows(struct engine_result *result, bool sorted)
{
    struct tide__eval *eval = &result->eval;
    struct tide__matrix *m = result->matrix;
    struct tide_result_series *series;
    enum tide_err err = drop_names(m);

    if (err != TIDE_OK)
        return err;
    tide__matrix_compact(m);
    series = tide__eval_alloc(eval, (m->row_count + 1) * sizeof(*series));
    if (series == NULL)
        return tide__eval_no_memory(eval);
    for (size_t i = 0; i < m->row_count; i++)
        series[i] = (struct tide_result_series){
            .labels = m->rows[i].labels,
            .times_ms = eval->grid->times_ms,
            .values = m->rows[i].values,
            .histograms = m->rows[i].histograms,
            .present = m->rows[i].present,
            .count = m->step_count,
        };
    if (sorted && m->row_count > 1)
        qsort(series, m->row_count, sizeof(*series), series_order);
    result->answer.series = series;
    result->answer.series_count = m->row_count;
    return TIDE_OK;
}

static enum tide_err answer_vector(struct engine_result *result)
{
    struct tide__eval *eval = &result->eval;
    struct tide__matrix *m;
    enum tide_err err = tide__eval_vector(eval, eval->query.root, &m);

    if (err == TIDE_OK)
        err = tide__matrix_own(m, &m);
    if (err != TIDE_OK)
        return err;
    result->matrix = m;
    result->answer.kind = eval->instant ? TIDE_RESULT_VECTOR : TIDE_RESULT_MATRIX;
    return answer_rows(result, !eval->instant);
}

static enum tide_err answer_scalar(struct engine_result *result)
{
    struct tide__eval *eval = &result->eval;
    struct tide_result_series *series;
    const double *values;
    enum tide_err err = tide__eval_scalar(eval, eval->query.root, &values);

    if (err != TIDE_OK)
        return err;
    if (eval->instant) {
        result->answer.kind = TIDE_RESULT_SCALAR;
        result->answer.scalar = values[0];
        return TIDE_OK;
    }
    series = tide__eval_alloc(eval, sizeof(*series));
    if (series == NULL)
        return tide__eval_no_memory(eval);
    *series = (struct tide_result_series){
        .times_ms = eval->grid->times_ms, .values = values, .count = eval->grid->step_count};
    result->answer.kind = TIDE_RESULT_MATRIX;
    result->answer.series = series;
    result->answer.series_count = 1;
    return TIDE_OK;
}

static bool is_stale_sample(const struct tide_series_samples *samples, size_t i)
{
    const struct tide_histogram *h = samples->histograms == NULL ? NULL : samples->histograms[i];

    return h == NULL ? tide_value_is_stale(samples->values[i]) : tide__hist_is_stale(h);
}

/* `up[5m]`: the samples themselves. */
static enum tide_err answer_samples(struct engine_result *result, const struct tide_expr *range)
{
    struct tide__eval *eval = &result->eval;
    const struct tide_expr *selector = range->u.matrix.selector;
    int64_t end = tide__shifted(&selector->u.selector.shift, eval->times.start_ms);
    struct tide_series_set *set;
    struct tide_batch batch = {0};
    struct tide_result_series *series;
    size_t kept = 0;
    enum tide_err err;

    if (selector->u.selector.anchored || selector->u.selector.smoothed)
        return tide__eval_fail(eval, TIDE_ERR_UNSUPPORTED,
                               "anchored and smoothed ranges can only be arguments of functions");
    err = tide__select(eval, selector, end - range->u.matrix.range_ms + 1, end, &set);
    if (err != TIDE_OK)
        return err;
    result->raw = tide_arena_new(0);
    series = tide__eval_alloc(eval, (set->count + 1) * sizeof(*series));
    if (result->raw == NULL || series == NULL)
        return tide__eval_no_memory(eval);
    batch.arena = result->raw;
    if (set->count > 0)
        err = tide__read(eval, set, 0, set->count, end - range->u.matrix.range_ms + 1, end, &batch);
    if (err == TIDE_OK)
        err = tide__charge_arena(eval, result->raw, &result->raw_charged);
    for (size_t i = 0; err == TIDE_OK && i < set->count; i++) {
        const struct tide_series_samples *samples = &batch.series[i];
        size_t words = tide__word_count(samples->count);
        uint64_t *present = tide__eval_alloc(eval, (words + 1) * sizeof(*present));

        if (present == NULL)
            return tide__eval_no_memory(eval);
        memset(present, 0, (words + 1) * sizeof(*present));
        for (size_t s = 0; s < samples->count; s++)
            if (!is_stale_sample(samples, s))
                tide__bit_set(present, s);
        if (!tide__any_present(present, words))
            continue;
        series[kept] = (struct tide_result_series){.times_ms = samples->times_ms,
                                                   .values = samples->values,
                                                   .histograms = samples->histograms,
                                                   .present = present,
                                                   .count = samples->count};
        err = set->ops->labels(set, i, eval->arena, &series[kept++].labels);
    }
    if (err != TIDE_OK)
        return err;
    qsort(series, kept, sizeof(*series), series_order);
    result->answer.series = series;
    result->answer.series_count = kept;
    return TIDE_OK;
}

static enum tide_err answer_range(struct engine_result *result)
{
    struct tide__eval *eval = &result->eval;
    const struct tide_expr *range = tide_expr_unparen(eval->query.root);
    const struct tide__grid *grid;
    int64_t end;
    enum tide_err err;

    result->answer.kind = TIDE_RESULT_MATRIX;
    if (range->kind == TIDE_EXPR_MATRIX)
        return answer_samples(result, range);
    TIDE_ASSERT(range->kind == TIDE_EXPR_SUBQUERY);
    end = tide__shifted(&range->u.subquery.shift, eval->times.start_ms);
    err =
        tide__subquery(eval, range, end - range->u.subquery.range_ms, end, &grid, &result->matrix);
    if (err != TIDE_OK || grid == NULL)
        return err;
    eval->grid = grid;
    err = tide__matrix_own(result->matrix, &result->matrix);
    if (err != TIDE_OK)
        return err;
    return answer_rows(result, true);
}

/* Warnings or infos, the first in bytewise order, so that the answer does not depend on threads. */
static int note_order(const void *a, const void *b)
{
    return tide_slice_cmp(*(const struct tide_slice *)a, *(const struct tide_slice *)b);
}

static enum tide_err answer_notes(struct tide__eval *eval, bool info, const struct tide_slice **out,
                                  size_t *out_count)
{
    struct tide__notes *notes = &eval->notes;
    struct tide_slice *list = tide__eval_alloc(eval, (notes->count + 1) * sizeof(*list));
    size_t count = 0;
    char *more;

    if (list == NULL)
        return tide__eval_no_memory(eval);
    for (size_t i = 0; i < notes->count; i++)
        if (notes->list[i].info == info)
            list[count++] = notes->list[i].text;
    qsort(list, count, sizeof(*list), note_order);
    if (count > NOTES_SHOWN_MAX) {
        more = tide_arena_printf(eval->arena, "%zu more %s annotations omitted",
                                 count - NOTES_SHOWN_MAX, info ? "info" : "warning");
        if (more == NULL)
            return TIDE_ERR_NO_MEMORY;
        list[NOTES_SHOWN_MAX] = tide_slice_str(more);
        count = NOTES_SHOWN_MAX + 1;
    }
    *out = list;
    *out_count = count;
    return TIDE_OK;
}

static enum tide_err evaluate(struct engine_result *result)
{
    struct tide__eval *eval = &result->eval;
    struct tide_engine_result *answer = &result->answer;
    enum tide_err err;

    answer->time_ms = eval->times.start_ms;
    switch (eval->query.root->type) {
    case TIDE_PROMQL_STRING:
        answer->kind = TIDE_RESULT_STRING;
        answer->string = tide_expr_unparen(eval->query.root)->u.string;
        err = TIDE_OK;
        break;
    case TIDE_PROMQL_SCALAR:
        err = answer_scalar(result);
        break;
    case TIDE_PROMQL_MATRIX:
        err = answer_range(result);
        break;
    default:
        err = answer_vector(result);
        break;
    }
    if (err == TIDE_OK)
        err = answer_notes(eval, false, &answer->warnings, &answer->warning_count);
    if (err == TIDE_OK)
        err = answer_notes(eval, true, &answer->infos, &answer->info_count);
    answer->stats = (struct tide_engine_stats){
        .series = atomic_load(&eval->limits->series),
        .samples = atomic_load(&eval->limits->samples),
        .memory_peak_bytes = atomic_load(&eval->limits->memory_peak_bytes),
        .steps = eval->instant ? 1 : eval->grid->step_count,
    };
    return err;
}

enum tide_err tide_engine_query(struct tide_engine *engine, const struct tide_engine_params *params,
                                const struct tide_source *source, struct tide_query_limits *limits,
                                struct tide_engine_result **out, struct tide_diag *diag)
{
    struct engine_result *result;
    enum tide_err err = result_new(engine, params, source, limits, &result);

    if (err != TIDE_OK)
        return err;
    err = prepare(&result->eval, params);
    if (err == TIDE_OK)
        err = evaluate(result);
    if (err != TIDE_OK) {
        tide_diag_set(diag, "%s",
                      result->eval.diag.text[0] != '\0' ? result->eval.diag.text
                                                        : tide_err_text(err));
        tide_engine_result_free(&result->answer);
        return err;
    }
    *out = &result->answer;
    return TIDE_OK;
}
