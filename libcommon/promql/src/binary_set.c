/* and, or, unless; and the match groups that all vector-vector operators rest on: computed once per
 * series, while presence decides per step. */
#include "eval_private.h"

#include "tide/base/mem.h"

enum tide_err tide__match_groups(struct tide__eval *eval, const struct tide_matching *matching,
                                 const struct tide__matrix *m, struct tide__label_map *map,
                                 uint32_t *groups)
{
    size_t room = 0;
    struct tide_label *pairs;

    for (size_t i = 0; i < m->row_count; i++)
        if (m->rows[i].labels.count > room)
            room = m->rows[i].labels.count;
    pairs = tide_mem_array(room + 1, sizeof(*pairs));
    if (pairs == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < m->row_count; i++) {
        struct tide_labels key = {pairs, 0};
        size_t before = map->count;

        groups[i] = UINT32_MAX;
        if (!tide__any_present(m->rows[i].present, m->word_count))
            continue;
        key.count = tide__labels_filter(m->rows[i].labels, matching->labels, matching->label_count,
                                        matching->on,
                                        matching->on ? TIDE__DROP_NOTHING : TIDE__DROP_NAME, pairs);
        groups[i] = tide__label_map_put(map, key);
        if (map->count > before) { /* New: the map keeps what it borrowed from pairs. */
            struct tide_label *kept = tide__eval_alloc(eval, (key.count + 1) * sizeof(*kept));

            if (kept == NULL) {
                tide_mem_free(pairs);
                return tide__eval_no_memory(eval);
            }
            memcpy(kept, pairs, key.count * sizeof(*kept));
            map->labels[groups[i]].pairs = kept;
        }
    }
    tide_mem_free(pairs);
    return TIDE_OK;
}

/* For each group the steps at which a row of m in it has a point. */
static void group_presence(const struct tide__matrix *m, const uint32_t *groups, uint64_t *present)
{
    for (size_t i = 0; i < m->row_count; i++)
        if (groups[i] != UINT32_MAX)
            for (size_t w = 0; w < m->word_count; w++)
                present[groups[i] * m->word_count + w] |= m->rows[i].present[w];
}

/* Copies a row, its presence cut to the steps at which the group is there (or is not). */
static bool copy_row(const struct tide__matrix *m, size_t i, const uint64_t *group, bool there,
                     struct tide__row *to)
{
    const struct tide__row *from = &m->rows[i];
    uint64_t any = 0;

    for (size_t w = 0; w < m->word_count; w++) {
        to->present[w] =
            group == NULL ? from->present[w] : from->present[w] & (there ? group[w] : ~group[w]);
        any |= to->present[w];
    }
    if (any == 0)
        return false;
    to->labels = from->labels;
    to->drop_name = from->drop_name;
    to->histograms = from->histograms;
    memcpy(to->values, from->values, m->step_count * sizeof(*to->values));
    return true;
}

static size_t copy_rows(const struct tide__matrix *m, const uint32_t *groups,
                        const uint64_t *present, bool there, struct tide__matrix *to, size_t at)
{
    for (size_t i = 0; i < m->row_count; i++) {
        if (groups[i] == UINT32_MAX)
            continue;
        if (copy_row(m, i, present == NULL ? NULL : present + groups[i] * m->word_count, there,
                     &to->rows[at]))
            at++;
    }
    return at;
}

enum tide_err tide__binary_set(struct tide__eval *eval, const struct tide_expr *expr,
                               const struct tide__matrix *lhs, const struct tide__matrix *rhs,
                               struct tide__matrix **out)
{
    const struct tide_binary *binary = &expr->u.binary;
    bool is_or = binary->op == TIDE_OP_OR;
    size_t rows = lhs->row_count + (is_or ? rhs->row_count : 0);
    struct tide__label_map map;
    struct tide__matrix *m = NULL;
    uint32_t *groups;
    uint64_t *present = NULL;
    size_t at;
    enum tide_err err = tide__label_map_init(&map, eval, lhs->row_count + rhs->row_count);

    if (err != TIDE_OK)
        return err;
    groups = tide_mem_array(lhs->row_count + rhs->row_count + 1, sizeof(*groups));
    err = groups == NULL ? TIDE_ERR_NO_MEMORY : tide__matrix_new(eval, rows, &m);
    if (err == TIDE_OK)
        err = tide__match_groups(eval, &binary->matching, lhs, &map, groups);
    if (err == TIDE_OK)
        err = tide__match_groups(eval, &binary->matching, rhs, &map, groups + lhs->row_count);
    if (err == TIDE_OK) {
        present = tide_mem_array(map.count * lhs->word_count + 1, sizeof(*present));
        err = present == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
    }
    if (err == TIDE_OK) {
        if (is_or) {
            group_presence(lhs, groups, present);
            at = copy_rows(lhs, groups, NULL, true, m, 0);
            at = copy_rows(rhs, groups + lhs->row_count, present, false, m, at);
        } else {
            group_presence(rhs, groups + lhs->row_count, present);
            at = copy_rows(lhs, groups, present, binary->op == TIDE_OP_AND, m, 0);
        }
        m->row_count = at;
        err = is_or ? tide__matrix_merge_same(m, TIDE__SAME_LABELS) : TIDE_OK;
    }
    tide_mem_free(present);
    tide_mem_free(groups);
    tide__label_map_deinit(&map);
    if (err != TIDE_OK) {
        tide__matrix_free(m);
        return err;
    }
    *out = m;
    return TIDE_OK;
}
