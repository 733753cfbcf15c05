#include "eval_private.h"

#include "hist_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#include <stdlib.h>

/* ---- Matrices ---- */

enum tide_err tide__matrix_new(struct tide__eval *eval, size_t row_count, struct tide__matrix **out)
{
    size_t steps = eval->grid->step_count;
    size_t words = eval->grid->word_count;
    size_t row_bytes = sizeof(struct tide__row) + steps * sizeof(double) + words * sizeof(uint64_t);
    struct tide__matrix *m;
    uint8_t *block;
    size_t bytes;
    enum tide_err err;

    if (row_count > (SIZE_MAX / 2 - sizeof(*m)) / row_bytes)
        return TIDE_ERR_NO_MEMORY;
    bytes = sizeof(*m) + row_count * row_bytes;
    err = tide__charge(eval, bytes);
    if (err != TIDE_OK)
        return err;
    m = tide_mem_new(sizeof(*m));
    block = m == NULL ? NULL : tide_mem_alloc(row_count * row_bytes);
    if (block == NULL) {
        tide_mem_free(m);
        tide__release(eval, bytes);
        return TIDE_ERR_NO_MEMORY;
    }
    *m = (struct tide__matrix){
        .eval = eval,
        .step_count = steps,
        .word_count = words,
        .row_count = row_count,
        .row_capacity = row_count,
        .block = block,
        .charged_bytes = bytes,
    };
    m->rows = (void *)block;
    memset(m->rows, 0, row_count * sizeof(*m->rows));
    block += row_count * sizeof(*m->rows);
    memset(block, 0, row_count * words * sizeof(uint64_t));
    for (size_t i = 0; i < row_count; i++) {
        m->rows[i].present = (uint64_t *)(void *)block + i * words;
        m->rows[i].values =
            (double *)(void *)(block + row_count * words * sizeof(uint64_t)) + i * steps;
    }
    *out = m;
    return TIDE_OK;
}

void tide__matrix_free(struct tide__matrix *m)
{
    if (m == NULL || m->cached)
        return;
    tide__release(m->eval, m->charged_bytes);
    tide_mem_free(m->block);
    tide_mem_free(m);
}

enum tide_err tide__matrix_own(struct tide__matrix *m, struct tide__matrix **out)
{
    struct tide__matrix *copy;
    enum tide_err err;

    if (!m->cached) {
        *out = m;
        return TIDE_OK;
    }
    TIDE_ASSERT(m->step_count == m->eval->grid->step_count);
    err = tide__matrix_new(m->eval, m->row_count, &copy);
    if (err != TIDE_OK)
        return err;
    for (size_t i = 0; i < m->row_count; i++) {
        copy->rows[i].labels = m->rows[i].labels;
        copy->rows[i].drop_name = m->rows[i].drop_name;
        copy->rows[i].histograms = m->rows[i].histograms;
        memcpy(copy->rows[i].values, m->rows[i].values, m->step_count * sizeof(double));
        memcpy(copy->rows[i].present, m->rows[i].present, m->word_count * sizeof(uint64_t));
    }
    *out = copy;
    return TIDE_OK;
}

enum tide_err tide__row_keep(struct tide__row *row, const struct tide_histogram *const *histograms,
                             size_t step_count, struct tide_arena *arena)
{
    const struct tide_histogram **kept;
    const struct tide_histogram *before = NULL; /* Steps in a row often show the same sample. */
    const struct tide_histogram *before_kept = NULL;

    if (arena == NULL)
        return TIDE_ERR_NO_MEMORY;
    kept = tide_arena_new_array(arena, step_count, sizeof(struct tide_histogram *));
    if (kept == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t s = 0; s < step_count; s++) {
        if (!tide__bit(row->present, s) || histograms[s] == NULL)
            continue;
        if (histograms[s] != before) {
            before = histograms[s];
            before_kept = tide__hist_copy(before, arena);
            if (before_kept == NULL)
                return TIDE_ERR_NO_MEMORY;
        }
        kept[s] = before_kept;
    }
    row->histograms = kept;
    return TIDE_OK;
}

bool tide__row_drop_histograms(struct tide__row *row, size_t step_count)
{
    bool any = false;

    if (row->histograms == NULL)
        return false;
    for (size_t s = 0; s < step_count; s++) {
        if (!tide__bit(row->present, s) || row->histograms[s] == NULL)
            continue;
        tide__bit_clear(row->present, s);
        any = true;
    }
    row->histograms = NULL;
    return any;
}

void tide__matrix_compact(struct tide__matrix *m)
{
    size_t kept = 0;

    for (size_t i = 0; i < m->row_count; i++)
        if (tide__any_present(m->rows[i].present, m->word_count))
            m->rows[kept++] = m->rows[i];
    m->row_count = kept;
}

/* An array of to's histograms that may be changed. */
static enum tide_err merge_histograms(struct tide__eval *eval, struct tide__row *to,
                                      const struct tide__row *from, size_t step_count)
{
    const struct tide_histogram **merged;

    if (to->histograms == NULL && from->histograms == NULL)
        return TIDE_OK;
    merged = tide__eval_alloc(eval, step_count * sizeof(struct tide_histogram *));
    if (merged == NULL)
        return tide__eval_no_memory(eval);
    for (size_t s = 0; s < step_count; s++)
        merged[s] = tide__row_histogram(tide__bit(from->present, s) ? from : to, s);
    to->histograms = merged;
    return TIDE_OK;
}

static enum tide_err merge_row(struct tide__matrix *m, struct tide__row *to,
                               const struct tide__row *from, const char *conflict)
{
    size_t step_count = m->step_count;
    enum tide_err err;

    for (size_t w = 0; w < m->word_count; w++)
        if ((to->present[w] & from->present[w]) != 0)
            return tide__eval_fail(m->eval, TIDE_ERR_EXECUTION, "%s", conflict);
    err = merge_histograms(m->eval, to, from, step_count);
    if (err != TIDE_OK)
        return err;
    for (size_t s = 0; s < step_count; s++) {
        if (tide__bit(from->present, s)) {
            to->values[s] = from->values[s];
            tide__bit_set(to->present, s);
        }
    }
    return TIDE_OK;
}

enum tide_err tide__matrix_merge_same(struct tide__matrix *m, const char *conflict)
{
    struct tide__label_map map;
    size_t kept = 0;
    enum tide_err err;

    if (m->row_count < 2)
        return TIDE_OK;
    err = tide__label_map_init(&map, m->eval, m->row_count);
    if (err != TIDE_OK)
        return err;
    for (size_t i = 0; i < m->row_count; i++) {
        uint32_t at;

        if (!tide__any_present(m->rows[i].present, m->word_count))
            continue;
        at = tide__label_map_put_tagged(&map, m->rows[i].labels, m->rows[i].drop_name);
        if (at == kept)
            m->rows[kept++] = m->rows[i];
        else
            err = merge_row(m, &m->rows[at], &m->rows[i], conflict);
        if (err != TIDE_OK)
            break;
    }
    if (err == TIDE_OK)
        m->row_count = kept;
    tide__label_map_deinit(&map);
    return err;
}

/* ---- Label sets ---- */

bool tide__is_metric_name(struct tide_slice name)
{
    return tide_slice_eq(name, TIDE_SLICE(TIDE_LABEL_METRIC));
}

uint64_t tide__labels_hash(struct tide_labels labels)
{
    uint64_t hash = labels.count;

    for (size_t i = 0; i < labels.count; i++) {
        hash = tide_hash64(labels.pairs[i].name, hash);
        hash = tide_hash64(labels.pairs[i].value, hash);
    }
    return hash;
}

static int name_order(const void *a, const void *b)
{
    return tide_slice_cmp(*(const struct tide_slice *)a, *(const struct tide_slice *)b);
}

enum tide_err tide__names_sorted(struct tide__eval *eval, const struct tide_slice *names,
                                 size_t count, struct tide_slice **out, size_t *out_count)
{
    struct tide_slice *sorted = tide__eval_alloc(eval, (count + 1) * sizeof(*sorted));
    size_t kept = 0;

    if (sorted == NULL)
        return tide__eval_no_memory(eval);
    if (count > 0)
        memcpy(sorted, names, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), name_order);
    for (size_t i = 0; i < count; i++)
        if (kept == 0 || !tide_slice_eq(sorted[kept - 1], sorted[i]))
            sorted[kept++] = sorted[i];
    *out = sorted;
    *out_count = kept;
    return TIDE_OK;
}

bool tide__names_have(const struct tide_slice *sorted, size_t count, struct tide_slice name)
{
    for (size_t i = 0; i < count; i++)
        if (tide_slice_eq(sorted[i], name))
            return true;
    return false;
}

void tide__labels_print(struct tide_labels labels, struct tide_buf *out)
{
    tide_buf_byte(out, '{');
    for (size_t i = 0; i < labels.count; i++) {
        if (i > 0)
            tide_buf_str(out, ", ");
        tide_promql_print_matcher(&(struct tide_matcher){.op = TIDE_MATCH_EQ,
                                                         .name = labels.pairs[i].name,
                                                         .value = labels.pairs[i].value},
                                  out);
    }
    tide_buf_byte(out, '}');
}

static bool is_dropped(struct tide_slice name, enum tide__drop drop)
{
    if (drop == TIDE__DROP_NOTHING || name.len < 2 || name.ptr[0] != '_')
        return false;
    if (tide__is_metric_name(name))
        return true;
    return drop == TIDE__DROP_METADATA && (tide_slice_eq(name, TIDE_SLICE("__type__")) ||
                                           tide_slice_eq(name, TIDE_SLICE("__unit__")));
}

size_t tide__labels_filter(struct tide_labels labels, const struct tide_slice *names, size_t count,
                           bool keep, enum tide__drop drop, struct tide_label *pairs)
{
    size_t kept = 0;

    for (size_t i = 0; i < labels.count; i++) {
        if (tide__names_have(names, count, labels.pairs[i].name) != keep)
            continue;
        if (is_dropped(labels.pairs[i].name, drop))
            continue;
        pairs[kept++] = labels.pairs[i];
    }
    return kept;
}

size_t tide__labels_set(struct tide_label *pairs, size_t count, struct tide_slice name,
                        struct tide_slice value)
{
    size_t at = 0;

    while (at < count && tide_slice_cmp(pairs[at].name, name) < 0)
        at++;
    if (at < count && tide_slice_eq(pairs[at].name, name)) {
        if (value.len > 0) {
            pairs[at].value = value;
            return count;
        }
        memmove(&pairs[at], &pairs[at + 1], (count - at - 1) * sizeof(*pairs));
        return count - 1;
    }
    if (value.len == 0)
        return count;
    memmove(&pairs[at + 1], &pairs[at], (count - at) * sizeof(*pairs));
    pairs[at] = (struct tide_label){name, value};
    return count + 1;
}

/* ---- Maps by label set ---- */

static size_t label_map_bytes(size_t slot_count, size_t count_max)
{
    return slot_count * sizeof(uint32_t) +
           count_max * (sizeof(struct tide_labels) + sizeof(uint64_t));
}

enum tide_err tide__label_map_init(struct tide__label_map *map, struct tide__eval *eval,
                                   size_t count_max)
{
    size_t slot_count = 16;
    enum tide_err err;

    TIDE_ASSERT(count_max < UINT32_MAX / 2);
    while (slot_count < count_max * 2)
        slot_count *= 2;
    *map = (struct tide__label_map){.eval = eval, .slot_count = slot_count};
    err = tide__charge(eval, label_map_bytes(slot_count, count_max));
    if (err != TIDE_OK)
        return err;
    map->slots = tide_mem_array(slot_count, sizeof(*map->slots));
    map->labels = tide_mem_array(count_max, sizeof(*map->labels));
    map->hashes = tide_mem_array(count_max, sizeof(*map->hashes));
    map->charged_bytes = label_map_bytes(slot_count, count_max);
    if (map->slots == NULL || map->labels == NULL || map->hashes == NULL) {
        tide__label_map_deinit(map);
        return TIDE_ERR_NO_MEMORY;
    }
    return TIDE_OK;
}

void tide__label_map_deinit(struct tide__label_map *map)
{
    tide__release(map->eval, map->charged_bytes);
    tide_mem_free(map->slots);
    tide_mem_free(map->labels);
    tide_mem_free(map->hashes);
    map->slots = NULL;
    map->labels = NULL;
    map->hashes = NULL;
    map->charged_bytes = 0;
}

uint32_t tide__label_map_put_tagged(struct tide__label_map *map, struct tide_labels labels,
                                    bool tag)
{
    uint64_t hash = (tide__labels_hash(labels) & ~(uint64_t)1) | tag;
    size_t at = (size_t)(hash >> 1) & (map->slot_count - 1);

    for (; map->slots[at] != 0; at = (at + 1) & (map->slot_count - 1)) {
        uint32_t i = map->slots[at] - 1;

        if (map->hashes[i] == hash && tide_labels_eq(map->labels[i], labels))
            return i;
    }
    map->labels[map->count] = labels;
    map->hashes[map->count] = hash;
    map->slots[at] = (uint32_t)++map->count;
    return (uint32_t)(map->count - 1);
}
