/* vector op vector, one to one and with group_left or group_right. One side is the "one": at a step
 * it has at most one series in a match group; the other, the "many", may have more when grouping.
 * Groups are found once per series; everything else is decided by presence, words of 64 steps at a
 * time. */
#include "binary_mixed_private.h"

#include "tide/base/mem.h"

struct match {
    struct tide__eval *eval;
    struct tide_promql_range pos;
    const struct tide_binary *binary;
    const struct tide_matching *matching;
    const struct tide__matrix *many;
    const struct tide__matrix *one;
    bool swapped; /* The many stand on the right. */
    bool has_fill_many;
    bool has_fill_one;
    double fill_many;
    double fill_one;

    struct tide__label_map map;
    uint32_t *many_group;
    uint32_t *one_group;
    uint32_t *one_head; /* Per group: index + 1 of its first row of the one side. */
    uint32_t *one_next; /* Per row of the one side: the next in its group. */
    uint64_t *many_any; /* Per group: steps at which the many side has a point. */
    uint64_t *one_any;
    uint64_t *kept; /* Per group, one to one: steps that have a result. */
    uint64_t *active;
    struct tide__matrix *out;
};

static bool drops_name(enum tide_binary_op op)
{
    return op <= TIDE_OP_ATAN2;
}

/* The labels of a result: those of the many side, cut to what was matched when one to one, and the
 * included ones from the one side. */
static enum tide_err result_labels(struct match *m, struct tide_labels many, struct tide_labels one,
                                   struct tide_labels *out)
{
    const struct tide_matching *matching = m->matching;
    enum tide__drop drop = drops_name(m->binary->op) ? TIDE__DROP_METADATA : TIDE__DROP_NOTHING;
    struct tide_label *pairs;
    size_t count;

    pairs = tide__eval_alloc(m->eval, (many.count + matching->include_count + 1) * sizeof(*pairs));
    if (pairs == NULL)
        return tide__eval_no_memory(m->eval);
    if (matching->card == TIDE_CARD_ONE_TO_ONE)
        count = tide__labels_filter(many, matching->labels, matching->label_count, matching->on,
                                    drop, pairs);
    else
        count = tide__labels_filter(many, NULL, 0, false, drop, pairs);
    for (size_t i = 0; i < matching->include_count; i++)
        count = tide__labels_set(pairs, count, matching->include[i],
                                 tide_labels_get(one, matching->include[i]));
    *out = (struct tide_labels){pairs, count};
    return TIDE_OK;
}

/* Computes the steps of word w in both; sets out and answers those that stay. */
static uint64_t compute_word(const struct match *m, uint64_t both, size_t w, const double *many,
                             const double *one, double *out)
{
    uint64_t kept = 0;

    for (; both != 0; both &= both - 1) {
        size_t bit = (size_t)__builtin_ctzll(both);
        size_t s = w * TIDE__WORD_STEPS + bit;
        double lhs = m->swapped ? one[s] : many[s];
        double rhs = m->swapped ? many[s] : one[s];
        bool keep;
        double v = tide__binary_number(m->binary->op, lhs, rhs, &keep);

        if (m->binary->return_bool) {
            v = keep ? 1 : 0;
            keep = true;
        }
        if (keep) {
            out[s] = v;
            kept |= (uint64_t)1 << bit;
        }
    }
    return kept;
}

/* A full word of + - * /: a loop that becomes vector code. */
static bool compute_full_word(const struct match *m, size_t w, const double *many,
                              const double *one, double *out)
{
    const double *lhs = (m->swapped ? one : many) + w * TIDE__WORD_STEPS;
    const double *rhs = (m->swapped ? many : one) + w * TIDE__WORD_STEPS;

    out += w * TIDE__WORD_STEPS;
    switch (m->binary->op) {
    case TIDE_OP_ADD:
        for (size_t i = 0; i < TIDE__WORD_STEPS; i++)
            out[i] = lhs[i] + rhs[i];
        return true;
    case TIDE_OP_SUB:
        for (size_t i = 0; i < TIDE__WORD_STEPS; i++)
            out[i] = lhs[i] - rhs[i];
        return true;
    case TIDE_OP_MUL:
        for (size_t i = 0; i < TIDE__WORD_STEPS; i++)
            out[i] = lhs[i] * rhs[i];
        return true;
    case TIDE_OP_DIV:
        for (size_t i = 0; i < TIDE__WORD_STEPS; i++)
            out[i] = lhs[i] / rhs[i];
        return true;
    default:
        return false;
    }
}

static bool is_trim(enum tide_binary_op op)
{
    return op == TIDE_OP_TRIM_UPPER || op == TIDE_OP_TRIM_LOWER;
}

/* The histograms of a row of the result: its own array, made when first needed. */
static const struct tide_histogram **own_histograms(struct match *m, struct tide__row *row)
{
    size_t bytes = m->out->step_count * sizeof(struct tide_histogram *);
    const struct tide_histogram **histograms;

    if (row->histograms != NULL)
        return (const struct tide_histogram **)row->histograms;
    histograms = tide__eval_alloc(m->eval, bytes);
    if (histograms != NULL)
        memset(histograms, 0, bytes);
    row->histograms = histograms;
    return histograms;
}

/* As compute_word() where one side has histograms, or for what floats cannot do. */
static enum tide_err compute_mixed(struct match *m, uint64_t both, size_t w,
                                   const struct tide__row *many, const struct tide__row *one,
                                   struct tide__row *row, uint64_t *kept)
{
    const struct tide__row *left = m->swapped ? one : many;
    const struct tide__row *right = m->swapped ? many : one;

    for (; both != 0; both &= both - 1) {
        uint64_t bit = both & (0 - both);
        size_t s = w * TIDE__WORD_STEPS + (size_t)__builtin_ctzll(both);
        struct tide__operand lhs = {left->values[s], tide__row_histogram(left, s)};
        struct tide__operand rhs = {right->values[s], tide__row_histogram(right, s)};
        struct tide__operand out = {0};
        const struct tide_histogram **histograms;
        enum tide__mixed_result result;

        if (lhs.h == NULL && rhs.h == NULL && !is_trim(m->binary->op)) {
            *kept |= compute_word(m, bit, w, many->values, one->values, row->values);
            continue;
        }
        result = tide__binary_mixed(m->eval, m->pos, m->binary->op, m->eval->arena, lhs, rhs, &out);
        if (result == TIDE__MIXED_NO_MEMORY)
            return TIDE_ERR_NO_MEMORY;
        if (result == TIDE__MIXED_NOTHING)
            continue;
        if (m->binary->return_bool)
            out = (struct tide__operand){result == TIDE__MIXED_VALUE ? 1 : 0, NULL};
        else if (result == TIDE__MIXED_FALSE)
            continue;
        row->values[s] = out.v;
        if (out.h != NULL) {
            histograms = own_histograms(m, row);
            if (histograms == NULL)
                return tide__eval_no_memory(m->eval);
            histograms[s] = out.h;
        }
        *kept |= bit;
    }
    return tide__charge_arena(m->eval, m->eval->arena, &m->eval->arena_charged);
}

/* Computes the steps of `where`, one word, into the row; notes results per group when one to one.
 */
static enum tide_err compute(struct match *m, uint32_t group, size_t w, uint64_t where,
                             const struct tide__row *many, const struct tide__row *one,
                             struct tide__row *row)
{
    uint64_t kept = 0;
    uint64_t *group_kept = &m->kept[group * m->out->word_count + w];

    if (where == 0)
        return TIDE_OK;
    if (many->histograms != NULL || one->histograms != NULL || is_trim(m->binary->op)) {
        enum tide_err err = compute_mixed(m, where, w, many, one, row, &kept);

        if (err != TIDE_OK)
            return err;
    } else if (where == UINT64_MAX &&
               compute_full_word(m, w, many->values, one->values, row->values)) {
        kept = where;
    } else {
        kept = compute_word(m, where, w, many->values, one->values, row->values);
    }
    row->present[w] |= kept;
    if (m->matching->card != TIDE_CARD_ONE_TO_ONE)
        return TIDE_OK;
    if ((*group_kept & kept) != 0)
        return tide__eval_fail(m->eval, TIDE_ERR_EXECUTION,
                               "multiple matches for labels: many-to-one matching must be explicit "
                               "(group_left/group_right)");
    *group_kept |= kept;
    return TIDE_OK;
}

static enum tide_err fail_duplicate(struct match *m, uint32_t group, const struct tide__row *a,
                                    const struct tide__row *b)
{
    struct tide_buf text = {0};
    enum tide_err err;

    tide_buf_str(&text, "found duplicate series for the match group ");
    tide__labels_print(m->map.labels[group], &text);
    tide_buf_printf(&text, " on the %s hand-side of the operation: [",
                    m->swapped ? "left" : "right");
    tide__labels_print(b->labels, &text);
    tide_buf_str(&text, ", ");
    tide__labels_print(a->labels, &text);
    tide_buf_str(&text,
                 "];many-to-many matching not allowed: matching labels must be unique on one "
                 "side");
    err = tide_buf_ok(&text);
    if (err == TIDE_OK)
        err = tide__eval_fail(m->eval, TIDE_ERR_EXECUTION, "%.*s",
                              TIDE_SLICE_ARGS(tide_buf_view(&text)));
    tide_buf_deinit(&text);
    return err;
}

/* At a step where the other side is empty nothing is looked at, not even duplicates. */
static void set_active(struct match *m)
{
    for (size_t w = 0; w < m->many->word_count; w++) {
        uint64_t many = 0;
        uint64_t one = 0;

        for (size_t i = 0; i < m->many->row_count; i++)
            many |= m->many->rows[i].present[w];
        for (size_t i = 0; i < m->one->row_count; i++)
            one |= m->one->rows[i].present[w];
        m->active[w] = m->has_fill_many || m->has_fill_one ? many | one : many & one;
    }
}

static enum tide_err index_one_side(struct match *m)
{
    size_t words = m->one->word_count;

    for (size_t i = m->one->row_count; i-- > 0;) {
        uint32_t group = m->one_group[i];

        if (group == UINT32_MAX)
            continue;
        m->one_next[i] = m->one_head[group];
        m->one_head[group] = (uint32_t)i + 1;
    }
    for (size_t i = 0; i < m->one->row_count; i++) {
        const struct tide__row *row = &m->one->rows[i];
        uint32_t group = m->one_group[i];

        for (size_t w = 0; group != UINT32_MAX && w < words; w++) {
            uint64_t *any = &m->one_any[group * words + w];
            uint64_t twice = *any & row->present[w] & m->active[w];

            *any |= row->present[w];
            if (twice == 0)
                continue;
            for (uint32_t at = m->one_head[group]; at != 0; at = m->one_next[at - 1])
                if ((m->one->rows[at - 1].present[w] & twice) != 0)
                    return fail_duplicate(m, group, &m->one->rows[at - 1], row);
        }
    }
    for (size_t i = 0; i < m->many->row_count; i++)
        for (size_t w = 0; m->many_group[i] != UINT32_MAX && w < words; w++)
            m->many_any[m->many_group[i] * words + w] |= m->many->rows[i].present[w];
    return TIDE_OK;
}

static bool rows_meet(const struct match *m, const struct tide__row *a, const struct tide__row *b)
{
    for (size_t w = 0; w < m->many->word_count; w++)
        if ((a->present[w] & b->present[w]) != 0)
            return true;
    return false;
}

/* Rows of the result at most. */
static size_t count_results(const struct match *m)
{
    size_t count = m->has_fill_many ? m->one->row_count : 0;

    for (size_t i = 0; i < m->many->row_count; i++) {
        uint32_t group = m->many_group[i];

        if (group == UINT32_MAX)
            continue;
        if (m->matching->include_count == 0) {
            count++;
            continue;
        }
        count += m->has_fill_one;
        for (uint32_t at = m->one_head[group]; at != 0; at = m->one_next[at - 1])
            count += rows_meet(m, &m->many->rows[i], &m->one->rows[at - 1]);
    }
    return count;
}

/* A result row, new unless the one before serves: without included labels the partner does not show
 * in the labels. */
static enum tide_err result_row(struct match *m, const struct tide__row *many,
                                struct tide_labels one, struct tide__row **row)
{
    if (*row != NULL && m->matching->include_count == 0)
        return TIDE_OK;
    *row = &m->out->rows[m->out->row_count++];
    /* Prometheus forgets here that a function took the name away: rate(x) > y has x's name again.
     * Arithmetic drops it at once, with the labels below. */
    (*row)->drop_name = m->binary->return_bool;
    return result_labels(m, many->labels, one, &(*row)->labels);
}

static enum tide_err fill_one(struct match *m, const struct tide__row *many, uint32_t group,
                              const struct tide__row *fill, struct tide__row *row)
{
    size_t words = m->out->word_count;
    enum tide_err err = result_row(m, many, m->map.labels[group], &row);

    for (size_t w = 0; err == TIDE_OK && w < words; w++)
        err = compute(m, group, w, many->present[w] & ~m->one_any[group * words + w], many, fill,
                      row);
    return err;
}

static enum tide_err match_many_row(struct match *m, size_t i, const struct tide__row *fill)
{
    const struct tide__row *many = &m->many->rows[i];
    uint32_t group = m->many_group[i];
    struct tide__row *row = NULL;
    enum tide_err err = TIDE_OK;

    for (uint32_t at = m->one_head[group]; err == TIDE_OK && at != 0; at = m->one_next[at - 1]) {
        const struct tide__row *one = &m->one->rows[at - 1];

        if (!rows_meet(m, many, one))
            continue;
        err = result_row(m, many, one->labels, &row);
        for (size_t w = 0; err == TIDE_OK && w < m->out->word_count; w++)
            err = compute(m, group, w, many->present[w] & one->present[w], many, one, row);
    }
    if (err == TIDE_OK && m->has_fill_one)
        err = fill_one(m, many, group, fill, row);
    return err;
}

/* Rows of the one side whose group has none of the many at a step. */
static enum tide_err fill_many(struct match *m, double *fill)
{
    size_t words = m->out->word_count;

    for (size_t i = 0; i < m->one->row_count; i++) {
        const struct tide__row *one = &m->one->rows[i];
        struct tide__row many = {.values = fill};
        uint32_t group = m->one_group[i];
        struct tide__row *row = NULL;
        enum tide_err err;

        if (group == UINT32_MAX)
            continue;
        many.labels = m->map.labels[group];
        err = result_row(m, &many, one->labels, &row);
        for (size_t w = 0; err == TIDE_OK && w < words; w++)
            err = compute(m, group, w, one->present[w] & ~m->many_any[group * words + w], &many,
                          one, row);
        if (err != TIDE_OK)
            return err;
    }
    return TIDE_OK;
}

static double *filled(size_t step_count, double v)
{
    double *values = tide_mem_array(step_count, sizeof(*values));

    for (size_t s = 0; values != NULL && s < step_count; s++)
        values[s] = v;
    return values;
}

static enum tide_err match_rows(struct match *m)
{
    double *fill_of_one = filled(m->out->step_count, m->fill_one);
    double *fill_of_many = filled(m->out->step_count, m->fill_many);
    struct tide__row fill_row = {.values = fill_of_one};
    enum tide_err err = fill_of_one == NULL || fill_of_many == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;

    m->out->row_count = 0;
    for (size_t i = 0; err == TIDE_OK && i < m->many->row_count; i++) {
        if (m->many_group[i] != UINT32_MAX)
            err = match_many_row(m, i, &fill_row);
        if (err == TIDE_OK && i % 1024 == 0)
            err = tide__eval_check(m->eval);
    }
    if (err == TIDE_OK && m->has_fill_many)
        err = fill_many(m, fill_of_many);
    tide_mem_free(fill_of_one);
    tide_mem_free(fill_of_many);
    if (err != TIDE_OK)
        return err;
    return tide__matrix_merge_same(m->out,
                                   m->matching->card == TIDE_CARD_ONE_TO_ONE
                                       ? TIDE__SAME_LABELS
                                       : "multiple matches for labels: grouping labels must ensure "
                                         "unique matches");
}

static enum tide_err match_all(struct match *m)
{
    size_t words = m->many->word_count;
    enum tide_err err = tide__match_groups(m->eval, m->matching, m->many, &m->map, m->many_group);

    if (err == TIDE_OK)
        err = tide__match_groups(m->eval, m->matching, m->one, &m->map, m->one_group);
    if (err != TIDE_OK)
        return err;
    m->one_head = tide_mem_array(m->map.count + 1, sizeof(*m->one_head));
    m->one_next = tide_mem_array(m->one->row_count + 1, sizeof(*m->one_next));
    m->many_any = tide_mem_array(m->map.count * words + 1, sizeof(*m->many_any));
    m->one_any = tide_mem_array(m->map.count * words + 1, sizeof(*m->one_any));
    m->kept = tide_mem_array(m->map.count * words + 1, sizeof(*m->kept));
    m->active = tide_mem_array(words, sizeof(*m->active));
    if (m->one_head == NULL || m->one_next == NULL || m->many_any == NULL || m->one_any == NULL ||
        m->kept == NULL || m->active == NULL)
        return TIDE_ERR_NO_MEMORY;
    set_active(m);
    err = index_one_side(m);
    if (err == TIDE_OK)
        err = tide__matrix_new(m->eval, count_results(m), &m->out);
    if (err == TIDE_OK)
        err = match_rows(m);
    return err;
}

enum tide_err tide__binary_match(struct tide__eval *eval, const struct tide_expr *expr,
                                 const struct tide__matrix *lhs, const struct tide__matrix *rhs,
                                 struct tide__matrix **out)
{
    const struct tide_binary *binary = &expr->u.binary;
    const struct tide_matching *matching = &binary->matching;
    bool swapped = matching->card == TIDE_CARD_ONE_TO_MANY;
    struct match m = {
        .eval = eval,
        .pos = expr->pos,
        .binary = binary,
        .matching = matching,
        .many = swapped ? rhs : lhs,
        .one = swapped ? lhs : rhs,
        .swapped = swapped,
        .has_fill_many = swapped ? matching->has_fill_right : matching->has_fill_left,
        .has_fill_one = swapped ? matching->has_fill_left : matching->has_fill_right,
        .fill_many = swapped ? matching->fill_right : matching->fill_left,
        .fill_one = swapped ? matching->fill_left : matching->fill_right,
    };
    enum tide_err err = tide__label_map_init(&m.map, eval, lhs->row_count + rhs->row_count);

    if (err != TIDE_OK)
        return err;
    m.many_group = tide_mem_array(m.many->row_count + 1, sizeof(*m.many_group));
    m.one_group = tide_mem_array(m.one->row_count + 1, sizeof(*m.one_group));
    err = m.many_group == NULL || m.one_group == NULL ? TIDE_ERR_NO_MEMORY : match_all(&m);
    tide__label_map_deinit(&m.map);
    tide_mem_free(m.many_group);
    tide_mem_free(m.one_group);
    tide_mem_free(m.one_head);
    tide_mem_free(m.one_next);
    tide_mem_free(m.many_any);
    tide_mem_free(m.one_any);
    tide_mem_free(m.kept);
    tide_mem_free(m.active);
    if (err != TIDE_OK) {
        tide__matrix_free(m.out);
        return err;
    }
    *out = m.out;
    return TIDE_OK;
}
