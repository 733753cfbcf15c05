/* Aggregations that need all series of a group at a step: topk, bottomk, limitk, limit_ratio,
 * quantile and count_values. */
#include "eval_private.h"

#include "fn_private.h"
#include "hist_private.h"

#include "tide/base/mem.h"
#include "tide/base/number.h"

#include <math.h>
#include <stdlib.h>

struct whole {
    struct tide__eval *eval;
    const struct tide_expr *expr;
    const struct tide_aggregation *agg;
    struct tide__matrix *in;
    const double *param; /* Per step; NULL for count_values. */
    struct tide_slice *names;
    size_t name_count;

    struct tide__label_map map; /* The groups. */
    uint32_t *row_group;
    uint32_t *members; /* Rows, group after group, in their order. */
    uint32_t *first;   /* Per group, and one past the last: where its members start. */
};

/* ---- Groups ---- */

static enum tide_err find_groups(struct whole *w)
{
    struct tide_matching matching = {
        .on = !w->agg->without, .labels = w->names, .label_count = w->name_count};
    enum tide_err err;

    w->row_group = tide_mem_array(w->in->row_count + 1, sizeof(*w->row_group));
    w->members = tide_mem_array(w->in->row_count + 1, sizeof(*w->members));
    if (w->row_group == NULL || w->members == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = tide__match_groups(w->eval, &matching, w->in, &w->map, w->row_group);
    if (err != TIDE_OK)
        return err;
    w->first = tide_mem_array(w->map.count + 2, sizeof(*w->first));
    if (w->first == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < w->in->row_count; i++)
        if (w->row_group[i] != UINT32_MAX)
            w->first[w->row_group[i] + 2]++;
    for (size_t g = 2; g < w->map.count + 2; g++)
        w->first[g] += w->first[g - 1];
    for (size_t i = 0; i < w->in->row_count; i++)
        if (w->row_group[i] != UINT32_MAX)
            w->members[w->first[w->row_group[i] + 1]++] = (uint32_t)i;
    return TIDE_OK;
}

/* ---- topk, bottomk, limitk ---- */

struct pick {
    double v;
    uint32_t row;
};

/* Whether a is to be kept rather than b. NaN loses against everything; of equals the earlier wins.
 */
static bool better(bool top, struct pick a, struct pick b)
{
    if (isnan(a.v) || isnan(b.v)) {
        if (isnan(a.v) && isnan(b.v))
            return a.row < b.row;
        return isnan(b.v);
    }
    if (a.v == b.v)
        return a.row < b.row;
    return top ? a.v > b.v : a.v < b.v;
}

/* Heap of picks with the worst at its root. */
static void sift_down(bool top, struct pick *heap, size_t count, size_t at)
{
    for (;;) {
        size_t worst = at;
        struct pick swap;

        for (size_t child = 2 * at + 1; child < count && child <= 2 * at + 2; child++)
            if (better(top, heap[worst], heap[child]))
                worst = child;
        if (worst == at)
            return;
        swap = heap[at];
        heap[at] = heap[worst];
        heap[worst] = swap;
        at = worst;
    }
}

/* Moves the k best to the front; best first when sorted. */
static size_t select_best(bool top, struct pick *picks, size_t count, size_t k, bool sorted)
{
    if (k > count)
        k = count;
    if (k == 0)
        return 0;
    for (size_t i = k / 2; i-- > 0;)
        sift_down(top, picks, k, i);
    for (size_t i = k; i < count; i++) {
        if (better(top, picks[i], picks[0])) {
            picks[0] = picks[i];
            sift_down(top, picks, k, 0);
        }
    }
    for (size_t left = k; sorted && left > 1; left--) {
        struct pick worst = picks[0];

        picks[0] = picks[left - 1];
        picks[left - 1] = worst;
        sift_down(top, picks, left - 1, 0);
    }
    return k;
}

/* The parameter of topk and its like at one step: as Go converts it. */
static enum tide_err count_param(struct whole *w, size_t s, size_t *out)
{
    double k = w->param[s];

    if (isnan(k))
        return tide__eval_fail(w->eval, TIDE_ERR_EXECUTION, "Parameter value is NaN");
    if (k >= 9223372036854775808.0)
        return tide__eval_fail(w->eval, TIDE_ERR_EXECUTION, "Scalar value %g overflows int64", k);
    if (k <= -9223372036854775808.0)
        return tide__eval_fail(w->eval, TIDE_ERR_EXECUTION, "Scalar value %g underflows int64", k);
    *out = k < 1 ? 0 : (size_t)k;
    return TIDE_OK;
}

static size_t group_picks(const struct whole *w, size_t group, size_t s, struct pick *picks)
{
    size_t count = 0;

    for (size_t m = w->first[group]; m < w->first[group + 1]; m++) {
        uint32_t row = w->members[m];

        if (tide__bit(w->in->rows[row].present, s))
            picks[count++] = (struct pick){w->in->rows[row].values[s], row};
    }
    return count;
}

/* Chosen steps of each row: word_count words a row. At one step the rows are also put in the order
 * of the answer: group after group, the best first. */
static enum tide_err pick_rows(struct whole *w, uint64_t *chosen, struct pick *picks,
                               struct tide__row *ordered, size_t *ordered_count)
{
    enum tide_aggregate op = w->agg->op;

    for (size_t s = 0; s < w->in->step_count; s++) {
        size_t k = 0;
        enum tide_err err = count_param(w, s, &k);

        if (err == TIDE_OK)
            err = tide__eval_check(w->eval);
        if (err != TIDE_OK)
            return err;
        for (size_t g = 0; g < w->map.count; g++) {
            size_t count = group_picks(w, g, s, picks);

            if (op == TIDE_AGG_LIMITK)
                count = k < count ? k : count; /* The first ones. */
            else
                count = select_best(op == TIDE_AGG_TOPK, picks, count, k, w->in->step_count == 1);
            for (size_t i = 0; i < count; i++) {
                tide__bit_set(chosen + picks[i].row * w->in->word_count, s);
                if (w->in->step_count == 1)
                    ordered[(*ordered_count)++] = w->in->rows[picks[i].row];
            }
        }
    }
    return TIDE_OK;
}

static enum tide_err whole_pick(struct whole *w)
{
    struct tide__matrix *m = w->in;
    uint64_t *chosen = tide_mem_array(m->row_count * m->word_count + 1, sizeof(*chosen));
    struct pick *picks = tide_mem_array(m->row_count + 1, sizeof(*picks));
    struct tide__row *ordered = tide_mem_array(m->row_count + 1, sizeof(*ordered));
    size_t ordered_count = 0;
    enum tide_err err = TIDE_ERR_NO_MEMORY;

    if (chosen != NULL && picks != NULL && ordered != NULL)
        err = pick_rows(w, chosen, picks, ordered, &ordered_count);
    if (err == TIDE_OK && m->step_count == 1) {
        memcpy(m->rows, ordered, ordered_count * sizeof(*ordered));
        m->row_count = ordered_count;
    } else if (err == TIDE_OK) {
        for (size_t i = 0; i < m->row_count; i++)
            for (size_t word = 0; word < m->word_count; word++)
                m->rows[i].present[word] &= chosen[i * m->word_count + word];
    }
    tide_mem_free(chosen);
    tide_mem_free(picks);
    tide_mem_free(ordered);
    return err;
}

/* ---- limit_ratio ---- */

/* Where a series stands in [0, 1], by the hash of its labels: the same at every step and in every
 * query. */
static double ratio_place(struct tide_labels labels)
{
    return (double)tide__labels_hash(labels) / 18446744073709551615.0;
}

static enum tide_err ratio_param(struct whole *w, size_t s, double *out)
{
    double ratio = w->param[s];

    if (isnan(ratio))
        return tide__eval_fail(w->eval, TIDE_ERR_EXECUTION, "Ratio value is NaN");
    if (ratio < -1 || ratio > 1) {
        char text[TIDE_NUMBER_TEXT_MAX];
        size_t len = tide_number_format_g(ratio, text);

        tide__note_at(w->eval, false, tide_expr_unparen(w->agg->param)->pos,
                      "ratio value should be between -1 and 1, got %.*s, capping to %d", (int)len,
                      text, ratio < 0 ? -1 : 1);
        ratio = ratio < 0 ? -1 : 1;
    }
    *out = ratio;
    return TIDE_OK;
}

static enum tide_err whole_ratio(struct whole *w)
{
    struct tide__matrix *m = w->in;
    double *ratios = tide_mem_array(m->step_count, sizeof(*ratios));
    enum tide_err err = ratios == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;

    for (size_t s = 0; err == TIDE_OK && s < m->step_count; s++)
        err = ratio_param(w, s, &ratios[s]);
    for (size_t i = 0; err == TIDE_OK && i < m->row_count; i++) {
        double place = ratio_place(m->rows[i].labels);

        for (size_t s = 0; s < m->step_count; s++) {
            double r = ratios[s];
            /* A negative ratio is the complement of 1 + ratio. */
            bool keep = (r > 0 && (place < r || r == 1)) || (r < 0 && place >= 1 + r);

            if (!keep)
                tide__bit_clear(m->rows[i].present, s);
        }
    }
    tide_mem_free(ratios);
    return err;
}

/* ---- quantile ---- */

/* topk, bottomk and quantile look at floats alone. */
static void ignore_histograms(struct whole *w)
{
    bool any = false;

    for (size_t i = 0; i < w->in->row_count; i++)
        any = tide__row_drop_histograms(&w->in->rows[i], w->in->step_count) || any;
    if (any)
        tide__note_at(w->eval, true, w->agg->expr->pos, "ignored histogram in %s aggregation",
                      tide_aggregate_text(w->agg->op));
}

static void quantile_warn(const struct whole *w, double q)
{
    char text[TIDE_NUMBER_TEXT_MAX];
    size_t len = tide_number_format_g(q, text);

    tide__note_at(w->eval, false, tide_expr_unparen(w->agg->param)->pos,
                  "quantile value should be between 0 and 1, got %.*s", (int)len, text);
}

static enum tide_err whole_quantile(struct whole *w, struct tide__matrix **out)
{
    struct tide__matrix *m = NULL;
    double *values = tide_mem_array(w->in->row_count + 1, sizeof(*values));
    enum tide_err err =
        values == NULL ? TIDE_ERR_NO_MEMORY : tide__matrix_new(w->eval, w->map.count, &m);

    for (size_t s = 0; err == TIDE_OK && s < w->in->step_count; s++) {
        if (!tide__quantile_is_valid(w->param[s]))
            quantile_warn(w, w->param[s]);
        for (size_t g = 0; g < w->map.count; g++) {
            size_t count = 0;

            for (size_t i = w->first[g]; i < w->first[g + 1]; i++)
                if (tide__bit(w->in->rows[w->members[i]].present, s))
                    values[count++] = w->in->rows[w->members[i]].values[s];
            if (count == 0)
                continue;
            m->rows[g].values[s] = tide__quantile(w->param[s], values, count);
            tide__bit_set(m->rows[g].present, s);
        }
        err = tide__eval_check(w->eval);
    }
    for (size_t g = 0; err == TIDE_OK && g < w->map.count; g++) {
        m->rows[g].labels = w->map.labels[g];
        for (size_t i = w->first[g]; i < w->first[g + 1]; i++)
            m->rows[g].drop_name = m->rows[g].drop_name || w->in->rows[w->members[i]].drop_name;
    }
    tide_mem_free(values);
    if (err != TIDE_OK) {
        tide__matrix_free(m);
        return err;
    }
    *out = m;
    return TIDE_OK;
}

/* ---- count_values ---- */

/* A group with one value: the row of the result it counts in. */
struct value_slot {
    uint64_t bits; /* Of the value, or a hash of a histogram's text. */
    bool is_histogram;
    uint32_t group;
    uint32_t row_plus1; /* 0: free. */
};

struct value_counts {
    struct whole *w;
    struct tide_slice label;
    bool label_dropped; /* `without` takes the label away again. */
    struct value_slot *slots;
    size_t slot_count;
    struct tide__row *rows;
    size_t row_count;
    size_t row_capacity;
};

/* What is counted: as a number and, as the label has it, as text. */
struct counted {
    uint64_t bits;
    bool is_histogram;
    struct tide_slice text;
};

static size_t value_slot_of(const struct value_counts *c, uint32_t group, uint64_t bits,
                            bool is_histogram)
{
    uint64_t hash = (bits ^ (uint64_t)group * 0xff51afd7ed558ccdULL) * 0x9e3779b97f4a7c15ULL;
    size_t at = (size_t)(hash >> 32) & (c->slot_count - 1);

    while (c->slots[at].row_plus1 != 0 &&
           (c->slots[at].bits != bits || c->slots[at].is_histogram != is_histogram ||
            c->slots[at].group != group))
        at = (at + 1) & (c->slot_count - 1);
    return at;
}

static enum tide_err value_slots_grow(struct value_counts *c)
{
    struct value_slot *old = c->slots;
    size_t old_count = c->slot_count;

    c->slot_count = old_count == 0 ? 256 : 2 * old_count;
    c->slots = tide_mem_array(c->slot_count, sizeof(*c->slots));
    if (c->slots == NULL) {
        c->slots = old;
        return TIDE_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < old_count; i++)
        if (old[i].row_plus1 != 0)
            c->slots[value_slot_of(c, old[i].group, old[i].bits, old[i].is_histogram)] = old[i];
    tide_mem_free(old);
    return TIDE_OK;
}

static enum tide_err value_row_new(struct value_counts *c, uint32_t group, struct tide_slice text)
{
    struct tide__eval *eval = c->w->eval;
    struct tide_labels from = c->w->map.labels[group];
    size_t steps = c->w->in->step_count;
    size_t words = c->w->in->word_count;
    void *rows = c->rows;
    struct tide_label *pairs = tide__eval_alloc(eval, (from.count + 1) * sizeof(*pairs) + text.len);
    double *values = tide__eval_alloc(eval, steps * sizeof(*values));
    uint64_t *present = tide__eval_alloc(eval, words * sizeof(*present));
    uint8_t *value;
    size_t count = from.count;
    enum tide_err err;

    if (pairs == NULL || values == NULL || present == NULL)
        return tide__eval_no_memory(eval);
    err = tide_mem_grow(&rows, &c->row_capacity, c->row_count + 1, sizeof(*c->rows));
    if (err != TIDE_OK)
        return err;
    c->rows = rows;
    value = (uint8_t *)(pairs + from.count + 1);
    memcpy(value, text.ptr, text.len);
    memset(values, 0, steps * sizeof(*values));
    memset(present, 0, words * sizeof(*present));
    memcpy(pairs, from.pairs, from.count * sizeof(*pairs));
    if (!c->label_dropped)
        count = tide__labels_set(pairs, count, c->label, (struct tide_slice){value, text.len});
    c->rows[c->row_count++] =
        (struct tide__row){.labels = {pairs, count}, .values = values, .present = present};
    return TIDE_OK;
}

static enum tide_err count_value(struct value_counts *c, uint32_t group, size_t s,
                                 const struct counted *v)
{
    /* Without their label all values of a group count in one row. */
    uint64_t bits = c->label_dropped ? 0 : v->bits;
    bool is_histogram = !c->label_dropped && v->is_histogram;
    struct value_slot *slot;
    enum tide_err err;

    if (c->slot_count < 2 * (c->row_count + 1)) {
        err = value_slots_grow(c);
        if (err != TIDE_OK)
            return err;
    }
    slot = &c->slots[value_slot_of(c, group, bits, is_histogram)];
    if (slot->row_plus1 == 0) {
        err = value_row_new(c, group, v->text);
        if (err != TIDE_OK)
            return err;
        *slot = (struct value_slot){bits, is_histogram, group, (uint32_t)c->row_count};
    }
    c->rows[slot->row_plus1 - 1].values[s]++;
    tide__bit_set(c->rows[slot->row_plus1 - 1].present, s);
    return TIDE_OK;
}

static enum tide_err count_point(struct value_counts *c, size_t i, size_t s)
{
    const struct tide__row *row = &c->w->in->rows[i];
    const struct tide_histogram *h = tide__row_histogram(row, s);
    char number[TIDE_NUMBER_TEXT_MAX];
    struct tide_buf text = {0};
    struct counted v = {.is_histogram = h != NULL};
    enum tide_err err;

    if (h == NULL) {
        v.bits = isnan(row->values[s]) ? TIDE_NAN_BITS : tide_value_bits(row->values[s]);
        v.text = (struct tide_slice){(const uint8_t *)number,
                                     tide_number_format(row->values[s], number)};
        return count_value(c, c->w->row_group[i], s, &v);
    }
    tide__hist_print(h, &text);
    err = tide_buf_ok(&text);
    if (err == TIDE_OK) {
        v.text = tide_buf_view(&text);
        v.bits = tide_hash64(v.text, 0);
        err = count_value(c, c->w->row_group[i], s, &v);
    }
    tide_buf_deinit(&text);
    return err;
}

static enum tide_err count_all(struct value_counts *c)
{
    const struct tide__matrix *in = c->w->in;
    enum tide_err err = TIDE_OK;

    for (size_t i = 0; err == TIDE_OK && i < in->row_count; i++) {
        err = tide__eval_check(c->w->eval);
        for (size_t s = 0; err == TIDE_OK && s < in->step_count; s++)
            if (tide__bit(in->rows[i].present, s))
                err = count_point(c, i, s);
    }
    return err;
}

static enum tide_err whole_count_values(struct whole *w, struct tide__matrix **out)
{
    struct value_counts c = {.w = w, .label = tide_expr_unparen(w->agg->param)->u.string};
    struct tide__matrix *m = NULL;
    enum tide_err err;

    if (c.label.len == 0 || !tide_slice_is_utf8(c.label))
        return tide__eval_fail(w->eval, TIDE_ERR_EXECUTION, "invalid label name \"%.*s\"",
                               TIDE_SLICE_ARGS(c.label));
    c.label_dropped =
        w->agg->without && (tide__names_have(w->agg->labels, w->agg->label_count, c.label) ||
                            tide__is_metric_name(c.label));
    err = count_all(&c);
    if (err == TIDE_OK)
        err = tide__matrix_new(w->eval, c.row_count, &m);
    for (size_t i = 0; err == TIDE_OK && i < c.row_count; i++) {
        m->rows[i].labels = c.rows[i].labels;
        memcpy(m->rows[i].values, c.rows[i].values, m->step_count * sizeof(double));
        memcpy(m->rows[i].present, c.rows[i].present, m->word_count * sizeof(uint64_t));
    }
    tide_mem_free(c.slots);
    tide_mem_free(c.rows);
    *out = m;
    return err;
}

/* The value takes the place of the label before series are grouped: what the label said before
 * neither joins nor parts them. */
static enum tide_err value_names(struct whole *w)
{
    struct tide_slice label = tide_expr_unparen(w->agg->param)->u.string;
    size_t count = w->agg->label_count;
    struct tide_slice *names = tide__eval_alloc(w->eval, (count + 1) * sizeof(*names));
    size_t kept = 0;

    if (names == NULL)
        return tide__eval_no_memory(w->eval);
    for (size_t i = 0; i < count; i++)
        if (!tide_slice_eq(w->agg->labels[i], label))
            names[kept++] = w->agg->labels[i];
    if (w->agg->without)
        names[kept++] = label;
    return tide__names_sorted(w->eval, names, kept, &w->names, &w->name_count);
}

/* ---- The whole ---- */

static enum tide_err whole_run(struct whole *w, struct tide__matrix **out)
{
    enum tide_err err;

    switch (w->agg->op) {
    case TIDE_AGG_QUANTILE:
        return whole_quantile(w, out);
    case TIDE_AGG_COUNT_VALUES:
        return whole_count_values(w, out);
    case TIDE_AGG_LIMIT_RATIO:
        err = whole_ratio(w);
        break;
    default:
        err = whole_pick(w);
        break;
    }
    if (err != TIDE_OK)
        return err;
    *out = w->in; /* Cut in place. */
    w->in = NULL;
    return TIDE_OK;
}

enum tide_err tide__aggregate_whole(struct tide__eval *eval, const struct tide_expr *expr,
                                    struct tide__matrix *m, struct tide__matrix **out)
{
    struct whole w = {.eval = eval, .expr = expr, .agg = &expr->u.aggregation, .in = m};
    bool in_place = w.agg->op != TIDE_AGG_COUNT_VALUES;
    bool floats_only = w.agg->op == TIDE_AGG_QUANTILE || w.agg->op == TIDE_AGG_TOPK ||
                       w.agg->op == TIDE_AGG_BOTTOMK;
    enum tide_err err = in_place ? tide__matrix_own(m, &w.in) : TIDE_OK;

    if (err == TIDE_OK && floats_only)
        ignore_histograms(&w);
    if (err == TIDE_OK)
        err = tide__label_map_init(&w.map, eval, w.in->row_count);
    if (err != TIDE_OK) {
        tide__matrix_free(w.in);
        return err;
    }
    if (w.agg->op == TIDE_AGG_COUNT_VALUES)
        err = value_names(&w);
    else
        err = tide__names_sorted(eval, w.agg->labels, w.agg->label_count, &w.names, &w.name_count);
    if (err == TIDE_OK && w.agg->op != TIDE_AGG_COUNT_VALUES)
        err = tide__eval_scalar(eval, w.agg->param, &w.param);
    if (err == TIDE_OK)
        err = find_groups(&w);
    if (err == TIDE_OK)
        err = whole_run(&w, out);
    tide__label_map_deinit(&w.map);
    tide_mem_free(w.row_group);
    tide_mem_free(w.members);
    tide_mem_free(w.first);
    tide__matrix_free(w.in);
    return err;
}
