/* sort(), sort_desc(), sort_by_label(), sort_by_label_desc(). */
#include "eval_private.h"

#include "tide/base/number.h"

#include <math.h>
#include <stdlib.h>

struct sort_item {
    struct tide__row row;
    size_t index; /* Before sorting: equal ones keep their order. */
    const struct tide__arg *labels;
    size_t label_count;
    bool descending;
};

static int by_index(const struct sort_item *a, const struct sort_item *b)
{
    return a->index < b->index ? -1 : a->index > b->index;
}

/* NaN stands last in both directions. */
static int by_value(const void *x, const void *y)
{
    const struct sort_item *a = x;
    const struct sort_item *b = y;
    double va = a->row.values[0];
    double vb = b->row.values[0];

    if (isnan(va) || isnan(vb)) {
        if (isnan(va) && isnan(vb))
            return by_index(a, b);
        return isnan(va) ? 1 : -1;
    }
    if (va == vb)
        return by_index(a, b);
    return (va < vb) == a->descending ? 1 : -1;
}

/* The leading run of digits, or of anything else. */
static struct tide_slice next_chunk(struct tide_slice *rest)
{
    size_t len = 1;
    bool digits = rest->ptr[0] >= '0' && rest->ptr[0] <= '9';
    struct tide_slice chunk;

    while (len < rest->len && (rest->ptr[len] >= '0' && rest->ptr[len] <= '9') == digits)
        len++;
    chunk = (struct tide_slice){rest->ptr, len};
    *rest = (struct tide_slice){rest->ptr + len, rest->len - len};
    return chunk;
}

/* Natural order: runs of digits compare as numbers, "node2" before "node10". */
static int natural_order(struct tide_slice a, struct tide_slice b)
{
    while (a.len > 0 && b.len > 0) {
        struct tide_slice ca = next_chunk(&a);
        struct tide_slice cb = next_chunk(&b);
        int64_t na;
        int64_t nb;
        int order;

        if (tide_number_parse_i64(ca, &na) && tide_number_parse_i64(cb, &nb)) {
            if (na != nb)
                return na < nb ? -1 : 1;
            continue;
        }
        order = tide_slice_cmp(ca, cb);
        if (order != 0)
            return order;
    }
    if (a.len == 0 && b.len == 0)
        return 0;
    return a.len == 0 ? -1 : 1;
}

static int by_label(const void *x, const void *y)
{
    const struct sort_item *a = x;
    const struct sort_item *b = y;
    int order = 0;

    for (size_t i = 0; i < a->label_count && order == 0; i++) {
        struct tide_slice va = tide_labels_get(a->row.labels, a->labels[i].string);
        struct tide_slice vb = tide_labels_get(b->row.labels, a->labels[i].string);

        if (tide_slice_eq(va, vb))
            continue;
        order = natural_order(va, vb);
        if (order == 0) /* "01" and "1": equal as numbers, not as text. */
            order = tide_slice_cmp(va, vb);
    }
    if (order == 0)
        order = tide_labels_cmp(a->row.labels, b->row.labels);
    if (order == 0)
        return by_index(a, b);
    return a->descending ? -order : order;
}

static bool sorts_by_label(enum tide_fn fn)
{
    return fn == TIDE_FN_SORT_BY_LABEL || fn == TIDE_FN_SORT_BY_LABEL_DESC;
}

static enum tide_err sort_rows(struct tide__eval *eval, const struct tide__call *call,
                               struct tide__matrix *m)
{
    enum tide_fn fn = call->expr->u.call.fn;
    struct sort_item *items;

    items = tide__eval_alloc(eval, (m->row_count + 1) * sizeof(*items));
    if (items == NULL)
        return tide__eval_no_memory(eval);
    for (size_t i = 0; i < m->row_count; i++)
        items[i] = (struct sort_item){
            .row = m->rows[i],
            .index = i,
            .labels = call->args + 1,
            .label_count = call->arg_count - 1,
            .descending = fn == TIDE_FN_SORT_DESC || fn == TIDE_FN_SORT_BY_LABEL_DESC,
        };
    qsort(items, m->row_count, sizeof(*items), sorts_by_label(fn) ? by_label : by_value);
    for (size_t i = 0; i < m->row_count; i++)
        m->rows[i] = items[i].row;
    return TIDE_OK;
}

enum tide_err tide__sort(struct tide__eval *eval, const struct tide_expr *expr,
                         struct tide__matrix **out)
{
    struct tide__call call;
    struct tide__matrix *m;
    enum tide_err err = tide__call_init(eval, expr, true, &call);

    if (err != TIDE_OK)
        return err;
    if (!eval->instant)
        tide__call_warn(&call, SIZE_MAX,
                        "sort is ineffective for range queries since results are always ordered by "
                        "labels");
    err = tide__eval_vector(eval, expr->u.call.args[0], &m);
    if (err == TIDE_OK)
        err = tide__matrix_own(m, &m);
    if (err != TIDE_OK)
        return err;
    /* Histograms have no order by value: they go, whether the order shows or not. */
    for (size_t i = 0; !sorts_by_label(expr->u.call.fn) && i < m->row_count; i++)
        (void)tide__row_drop_histograms(&m->rows[i], m->step_count);
    tide__matrix_compact(m);
    /* At many steps, that is in a range query or a subquery, the order shows nowhere. */
    if (m->step_count == 1)
        err = sort_rows(eval, &call, m);
    if (err != TIDE_OK) {
        tide__matrix_free(m);
        return err;
    }
    *out = m;
    return TIDE_OK;
}
