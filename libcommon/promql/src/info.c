/* info(v, {selector}): adds the labels of info series (target_info and its like) to the series of v
 * that stand for the same target, step by step. Source: Prometheus 3.14, documentation of info(),
 * whose identifying labels are instance and job. */
#include "stream_private.h"

#include "tide/base/mem.h"

struct info_join {
    struct tide__eval *eval;
    struct tide_matcher *matchers; /* Of info series. */
    size_t matcher_count;
    struct tide_slice *data_names; /* Labels asked for; all when there is none. */
    size_t data_name_count;
    bool must_join; /* Some matcher on a data label does not accept its absence. */

    struct tide__matrix *base;
    struct tide__matrix *info; /* Values: when the sample in effect was taken. */
    struct tide__label_map map;
    uint32_t *base_group; /* By identifying labels; UINT32_MAX: has none. */
    uint32_t *info_group;
    uint32_t *info_head; /* Per group: index + 1 of its first info series. */
    uint32_t *info_next;

    struct tide__row *rows; /* The result's. */
    size_t row_count;
    size_t row_capacity;
};

/* ---- Which series are info series ---- */

static bool is_positive(const struct tide_matcher *m)
{
    return m->op == TIDE_MATCH_EQ || m->op == TIDE_MATCH_RE;
}

/* The selector's matchers and, where it does not say which metric: target_info without any matcher
 * on the name, every metric ending in _info when it only says which not. */
static enum tide_err info_matchers(struct info_join *j, const struct tide_selector *selector,
                                   struct tide_matcher *extra, bool *has_extra)
{
    size_t given = selector == NULL ? 0 : selector->matcher_count;
    bool named = false;
    bool positive = false;

    j->matchers = tide__eval_alloc(j->eval, (given + 1) * sizeof(*j->matchers));
    j->data_names = tide__eval_alloc(j->eval, (given + 1) * sizeof(*j->data_names));
    if (j->matchers == NULL || j->data_names == NULL)
        return tide__eval_no_memory(j->eval);
    for (size_t i = 0; i < given; i++) {
        const struct tide_matcher *m = &selector->matchers[i];

        j->matchers[j->matcher_count++] = *m;
        if (tide__is_metric_name(m->name)) {
            named = true;
            positive = positive || is_positive(m);
        } else {
            j->data_names[j->data_name_count++] = m->name;
            j->must_join = j->must_join || !tide_matcher_matches_empty(m);
        }
    }
    if (!positive) {
        enum tide_err err = tide_matcher_init(
            extra, named ? TIDE_MATCH_RE : TIDE_MATCH_EQ, TIDE_SLICE(TIDE_LABEL_METRIC),
            named ? TIDE_SLICE(".+_info") : TIDE_SLICE("target_info"), j->eval->arena,
            &j->eval->diag);

        if (err != TIDE_OK)
            return err;
        *has_extra = true;
        j->matchers[j->matcher_count++] = *extra;
    }
    return TIDE_OK;
}

/* Info series among v are not enriched. A selector that only says what info series are not called
 * makes no series of v one. */
static bool is_info_series(const struct info_join *j, const struct tide_selector *selector,
                           struct tide_labels labels)
{
    struct tide_slice name = tide_labels_get(labels, TIDE_SLICE(TIDE_LABEL_METRIC));
    size_t matchers = selector == NULL ? j->matcher_count : selector->matcher_count;
    bool positive = false;

    for (size_t i = 0; i < j->matcher_count; i++) {
        if (!tide__is_metric_name(j->matchers[i].name))
            continue;
        if (!tide_matcher_match(&j->matchers[i], name))
            return false;
        positive = positive || (is_positive(&j->matchers[i]) && (i < matchers));
    }
    return positive;
}

/* ---- One base series ---- */

static enum tide_err new_row(struct info_join *j, const struct tide__row *base,
                             const uint32_t *infos, size_t info_count)
{
    size_t steps = j->base->step_count;
    size_t words = j->base->word_count;
    size_t room = base->labels.count;
    void *rows = j->rows;
    struct tide_label *pairs;
    struct tide__row row = {.drop_name = base->drop_name};
    enum tide_err err;

    for (size_t i = 0; i < info_count; i++)
        room += j->info->rows[infos[i]].labels.count;
    pairs = tide__eval_alloc(j->eval, (room + 1) * sizeof(*pairs));
    row.values = tide__eval_alloc(j->eval, steps * sizeof(*row.values));
    row.present = tide__eval_alloc(j->eval, words * sizeof(*row.present));
    if (pairs == NULL || row.values == NULL || row.present == NULL)
        return tide__eval_no_memory(j->eval);
    memset(row.present, 0, words * sizeof(*row.present));
    err = tide_mem_grow(&rows, &j->row_capacity, j->row_count + 1, sizeof(*j->rows));
    if (err != TIDE_OK)
        return err;
    j->rows = rows;
    row.labels.pairs = pairs;
    row.labels.count = base->labels.count;
    memcpy(pairs, base->labels.pairs, base->labels.count * sizeof(*pairs));
    for (size_t i = 0; i < info_count; i++) {
        struct tide_labels from = j->info->rows[infos[i]].labels;

        for (size_t l = 0; l < from.count; l++) {
            struct tide_slice name = from.pairs[l].name;
            struct tide_slice had;

            if (tide__is_metric_name(name) ||
                (j->data_name_count > 0 &&
                 !tide__names_have(j->data_names, j->data_name_count, name)) ||
                tide_labels_get(base->labels, name).len > 0)
                continue;
            had = tide_labels_get(row.labels, name);
            if (had.len > 0 && !tide_slice_eq(had, from.pairs[l].value))
                return tide__eval_fail(j->eval, TIDE_ERR_EXECUTION, "conflicting label: %.*s",
                                       TIDE_SLICE_ARGS(name));
            row.labels.count = tide__labels_set(pairs, row.labels.count, name, from.pairs[l].value);
        }
    }
    j->rows[j->row_count++] = row;
    return TIDE_OK;
}

static enum tide_err fail_twice(struct info_join *j, uint32_t a, uint32_t b, size_t s)
{
    struct tide_buf text = {0};
    enum tide_err err;

    tide_buf_str(&text, "found duplicate series for info metric: existing ");
    tide__labels_print(j->info->rows[a].labels, &text);
    tide_buf_printf(&text, " @ %lld, new ", (long long)(j->info->rows[a].values[s] * 1000));
    tide__labels_print(j->info->rows[b].labels, &text);
    tide_buf_printf(&text, " @ %lld", (long long)(j->info->rows[b].values[s] * 1000));
    err = tide_buf_ok(&text);
    if (err == TIDE_OK)
        err = tide__eval_fail(j->eval, TIDE_ERR_EXECUTION, "%.*s",
                              TIDE_SLICE_ARGS(tide_buf_view(&text)));
    tide_buf_deinit(&text);
    return err;
}

static struct tide_slice info_name(const struct info_join *j, uint32_t info)
{
    return tide_labels_get(j->info->rows[info].labels, TIDE_SLICE(TIDE_LABEL_METRIC));
}

/* The info series of a group in effect at step s: of each name the one with the newest sample. */
static enum tide_err infos_at(struct info_join *j, uint32_t group, size_t s, uint32_t *infos,
                              size_t *count)
{
    *count = 0;
    for (uint32_t at = j->info_head[group]; at != 0; at = j->info_next[at - 1]) {
        uint32_t info = at - 1;
        const struct tide__row *row = &j->info->rows[info];
        size_t same = 0;

        if (!tide__bit(row->present, s))
            continue;
        while (same < *count && !tide_slice_eq(info_name(j, infos[same]), info_name(j, info)))
            same++;
        if (same == *count) {
            infos[(*count)++] = info;
            continue;
        }
        if (row->values[s] == j->info->rows[infos[same]].values[s])
            return fail_twice(j, infos[same], info, s);
        if (row->values[s] > j->info->rows[infos[same]].values[s])
            infos[same] = info;
    }
    return TIDE_OK;
}

/* A row begins where other info series come into effect; rows that turn out to have the same labels
 * are merged in the end. */
static enum tide_err join_series(struct info_join *j, size_t i, bool is_info, uint32_t *infos,
                                 uint32_t *before)
{
    const struct tide__row *base = &j->base->rows[i];
    size_t before_count = SIZE_MAX; /* No step yet. */

    for (size_t s = 0; s < j->base->step_count; s++) {
        size_t count = 0;
        enum tide_err err = TIDE_OK;

        if (!tide__bit(base->present, s))
            continue;
        if (!is_info && j->base_group[i] != UINT32_MAX)
            err = infos_at(j, j->base_group[i], s, infos, &count);
        if (err != TIDE_OK)
            return err;
        if (count == 0 && j->must_join && !is_info)
            continue;
        if (count != before_count || memcmp(infos, before, count * sizeof(*infos)) != 0) {
            err = new_row(j, base, infos, count);
            if (err != TIDE_OK)
                return err;
            before_count = count;
            memcpy(before, infos, count * sizeof(*infos));
        }
        j->rows[j->row_count - 1].values[s] = base->values[s];
        j->rows[j->row_count - 1].histograms = base->histograms;
        tide__bit_set(j->rows[j->row_count - 1].present, s);
    }
    return TIDE_OK;
}

/* ---- All of them ---- */

static const struct tide_slice identifying[] = {
    {(const uint8_t *)"instance", 8},
    {(const uint8_t *)"job", 3},
};

static bool has_identity(struct tide_labels labels)
{
    return tide_labels_get(labels, identifying[0]).len > 0 ||
           tide_labels_get(labels, identifying[1]).len > 0;
}

static enum tide_err group_by_identity(struct info_join *j, const struct tide__matrix *m,
                                       uint32_t *groups)
{
    struct tide_slice names[2] = {identifying[0], identifying[1]};
    struct tide_matching matching = {.on = true, .labels = names, .label_count = 2};
    enum tide_err err = tide__match_groups(j->eval, &matching, m, &j->map, groups);

    for (size_t i = 0; err == TIDE_OK && i < m->row_count; i++)
        if (!has_identity(m->rows[i].labels))
            groups[i] = UINT32_MAX;
    return err;
}

static enum tide_err join_all(struct info_join *j, const struct tide_selector *selector)
{
    uint32_t *infos = tide__eval_alloc(j->eval, (j->info->row_count + 1) * sizeof(*infos));
    uint32_t *before = tide__eval_alloc(j->eval, (j->info->row_count + 1) * sizeof(*before));
    enum tide_err err;

    j->base_group = tide__eval_alloc(j->eval, (j->base->row_count + 1) * sizeof(*j->base_group));
    j->info_group = tide__eval_alloc(j->eval, (j->info->row_count + 1) * sizeof(*j->info_group));
    j->info_next = tide__eval_alloc(j->eval, (j->info->row_count + 1) * sizeof(*j->info_next));
    if (infos == NULL || before == NULL || j->base_group == NULL || j->info_group == NULL ||
        j->info_next == NULL)
        return tide__eval_no_memory(j->eval);
    err = group_by_identity(j, j->base, j->base_group);
    if (err == TIDE_OK)
        err = group_by_identity(j, j->info, j->info_group);
    if (err != TIDE_OK)
        return err;
    j->info_head = tide__eval_alloc(j->eval, (j->map.count + 1) * sizeof(*j->info_head));
    if (j->info_head == NULL)
        return tide__eval_no_memory(j->eval);
    memset(j->info_head, 0, (j->map.count + 1) * sizeof(*j->info_head));
    for (size_t i = j->info->row_count; i-- > 0;) {
        if (j->info_group[i] == UINT32_MAX)
            continue;
        j->info_next[i] = j->info_head[j->info_group[i]];
        j->info_head[j->info_group[i]] = (uint32_t)i + 1;
    }
    for (size_t i = 0; err == TIDE_OK && i < j->base->row_count; i++)
        err =
            join_series(j, i, is_info_series(j, selector, j->base->rows[i].labels), infos, before);
    return err;
}

static enum tide_err result_matrix(struct info_join *j, struct tide__matrix **out)
{
    enum tide_err err = tide__matrix_new(j->eval, j->row_count, out);

    if (err != TIDE_OK)
        return err;
    for (size_t i = 0; i < j->row_count; i++) {
        struct tide__row *row = &(*out)->rows[i];

        row->labels = j->rows[i].labels;
        row->drop_name = j->rows[i].drop_name;
        row->histograms = j->rows[i].histograms;
        memcpy(row->values, j->rows[i].values, (*out)->step_count * sizeof(*row->values));
        memcpy(row->present, j->rows[i].present, (*out)->word_count * sizeof(*row->present));
    }
    err = tide__matrix_merge_same(*out, TIDE__SAME_LABELS);
    if (err != TIDE_OK)
        tide__matrix_free(*out);
    return err;
}

enum tide_err tide__info(struct tide__eval *eval, const struct tide_expr *expr,
                         struct tide__matrix **out)
{
    const struct tide_call *call = &expr->u.call;
    const struct tide_expr *given = call->arg_count < 2 ? NULL : tide_expr_unparen(call->args[1]);
    const struct tide_selector *selector = given == NULL ? NULL : &given->u.selector;
    struct tide_expr infos = {.kind = TIDE_EXPR_SELECTOR, .type = TIDE_PROMQL_VECTOR};
    struct info_join j = {.eval = eval};
    struct tide_matcher extra;
    bool has_extra = false;
    enum tide_err err;

    if (given != NULL && given->kind != TIDE_EXPR_SELECTOR)
        return tide__eval_fail(eval, TIDE_ERR_EXECUTION,
                               "the second argument of info must be a label selector");
    err = info_matchers(&j, selector, &extra, &has_extra);
    infos.u.selector.matchers = j.matchers;
    infos.u.selector.matcher_count = j.matcher_count;
    if (err == TIDE_OK)
        err = tide__eval_vector(eval, call->args[0], &j.base);
    if (err == TIDE_OK)
        err = tide__stream_times(eval, &infos, &j.info);
    if (err == TIDE_OK)
        err = tide__label_map_init(&j.map, eval, j.base->row_count + j.info->row_count);
    if (err == TIDE_OK) {
        err = join_all(&j, selector);
        tide__label_map_deinit(&j.map);
    }
    if (err == TIDE_OK)
        err = result_matrix(&j, out);
    if (has_extra)
        tide_matcher_release(&extra);
    tide_mem_free(j.rows);
    tide__matrix_free(j.base);
    tide__matrix_free(j.info);
    return err;
}
