/* absent() and absent_over_time(). */
#include "stream_private.h"

#include <pthread.h>

struct absent_any {
    pthread_mutex_t lock; /* Guards any; a leaf. */
    uint64_t *any;        /* Steps at which some series has a point. */
    size_t word_count;
};

static enum tide_err absent_batch(void *context, struct tide__batch_run *run, void **partial)
{
    struct absent_any *any = context;
    const double *values;
    const uint64_t *present;

    (void)partial;
    for (size_t k = 0; k < run->count; k++) {
        enum tide_err err = tide__stream_row(run, k, NULL, NULL, &values, &present);

        if (err != TIDE_OK)
            return err;
        (void)pthread_mutex_lock(&any->lock);
        for (size_t w = 0; w < any->word_count; w++)
            any->any[w] |= present[w];
        (void)pthread_mutex_unlock(&any->lock);
    }
    return TIDE_OK;
}

/* The labels the selector's equality matchers ask for. A label matched in any other way too is left
 * out; as in Prometheus, also when it is matched twice for the same value. */
static enum tide_err absent_labels(struct tide__eval *eval, const struct tide_expr *arg,
                                   struct tide_labels *out)
{
    const struct tide_selector *selector;
    struct tide_label *pairs;
    size_t count = 0;

    *out = (struct tide_labels){0};
    arg = tide_expr_unparen(arg);
    if (arg->kind == TIDE_EXPR_MATRIX)
        arg = arg->u.matrix.selector;
    if (arg->kind != TIDE_EXPR_SELECTOR)
        return TIDE_OK;
    selector = &arg->u.selector;
    pairs = tide__eval_alloc(eval, (selector->matcher_count + 1) * sizeof(*pairs));
    if (pairs == NULL)
        return tide__eval_no_memory(eval);
    for (size_t i = 0; i < selector->matcher_count; i++) {
        const struct tide_matcher *m = &selector->matchers[i];
        bool again = false;

        if (tide__is_metric_name(m->name))
            continue;
        for (size_t before = 0; before < i && !again; before++)
            again = selector->matchers[before].op == TIDE_MATCH_EQ &&
                    tide_slice_eq(selector->matchers[before].name, m->name);
        count = tide__labels_set(pairs, count, m->name,
                                 m->op == TIDE_MATCH_EQ && !again ? m->value : TIDE_SLICE(""));
    }
    *out = (struct tide_labels){pairs, count};
    return TIDE_OK;
}

static enum tide_err absent_stream(struct tide__eval *eval, const struct tide_expr *expr,
                                   struct tide__stream **out)
{
    struct tide__matrix *m;
    enum tide_err err;

    if (expr->u.call.fn == TIDE_FN_ABSENT_OVER_TIME)
        return tide__stream_range(eval, expr, tide__function(TIDE_FN_PRESENT_OVER_TIME), out);
    err = tide__stream_open(eval, expr->u.call.args[0], out);
    if (err != TIDE_OK || *out != NULL)
        return err;
    err = tide__eval_vector(eval, expr->u.call.args[0], &m);
    return err != TIDE_OK ? err : tide__stream_of(eval, m, out);
}

enum tide_err tide__absent(struct tide__eval *eval, const struct tide_expr *expr,
                           struct tide__matrix **out)
{
    struct tide__stream *stream;
    struct tide__matrix *m;
    struct absent_any any;
    enum tide_err err = tide__matrix_new(eval, 1, &m);

    if (err != TIDE_OK)
        return err;
    err = absent_stream(eval, expr, &stream);
    if (err != TIDE_OK) {
        tide__matrix_free(m);
        return err;
    }
    any = (struct absent_any){.any = m->rows[0].present, .word_count = m->word_count};
    (void)pthread_mutex_init(&any.lock, NULL);
    err = tide__stream_run(stream, &any, absent_batch, NULL);
    (void)pthread_mutex_destroy(&any.lock);
    tide__stream_close(stream);
    if (err == TIDE_OK)
        err = absent_labels(eval, expr->u.call.args[0], &m->rows[0].labels);
    if (err != TIDE_OK) {
        tide__matrix_free(m);
        return err;
    }
    for (size_t w = 0; w < m->word_count; w++)
        any.any[w] = ~any.any[w];
    any.any[m->word_count - 1] &= tide__last_word_mask(m->step_count);
    for (size_t s = 0; s < m->step_count; s++)
        m->rows[0].values[s] = 1;
    *out = m;
    return TIDE_OK;
}
