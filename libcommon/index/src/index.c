/* Series: adding, finding, removing, and their labels. */
#include "index_private.h"

#include "tide/base/assert.h"

#include <roaring/roaring.h>

/* Label sets up to this many pairs are worked on without an allocation. */
#define LABELS_ON_STACK 64u

enum tide_err tide_index_new(struct tide_index **out)
{
    struct tide_index *index = tide_mem_new(sizeof(*index));
    enum tide_err err;

    if (index == NULL)
        return TIDE_ERR_NO_MEMORY;
    index->labels_used = 1; /* 0 marks a series without labels. */
    index->last_shape = TIDE_INDEX_NONE;
    err = tide__symbols_init(&index->symbols);
    if (err != TIDE_OK) {
        tide_mem_free(index);
        return err;
    }
    *out = index;
    return TIDE_OK;
}

void tide_index_free(struct tide_index *index)
{
    if (index == NULL)
        return;
    tide__symbols_deinit(&index->symbols);
    tide__vec_deinit(&index->series);
    tide__vec_deinit(&index->labels);
    tide__table_deinit(&index->series_table);
    tide__postings_deinit(&index->postings);
    if (index->dead != NULL)
        roaring_bitmap_free(index->dead);
    tide_mem_free(index);
}

/* ---- Finding ---- */

static bool labels_are(const struct tide_index *index, uint32_t ref, struct tide_labels labels)
{
    struct tide__label_list list = tide__label_list(index, ref);

    if (list.count != labels.count)
        return false;
    for (size_t i = 0; i < labels.count; i++) {
        const struct tide__name *name = tide__name_at(&index->symbols, list.name_ids[i]);
        uint32_t value = tide__uvarint_read(&list.values);

        if (!tide_slice_eq(name->text, labels.pairs[i].name) ||
            !tide_slice_eq(tide__value_text(&index->symbols, name, value), labels.pairs[i].value))
            return false;
    }
    return true;
}

static uint32_t order_key(struct tide_hash128 identity)
{
    return (uint32_t)(identity.hi >> 32);
}

static uint32_t find(const struct tide_index *index, uint32_t key, struct tide_labels labels)
{
    struct tide__table_probe probe =
        tide__table_probe(&index->series_table, tide__series_fingerprint(key));
    uint32_t ref;

    while ((ref = tide__table_next(&probe)) != TIDE__TABLE_NONE)
        if (labels_are(index, ref, labels))
            break;
    return ref;
}

enum tide_err tide_index_find(const struct tide_index *index, struct tide_hash128 identity,
                              struct tide_labels labels, uint32_t *ref)
{
    uint32_t found = find(index, order_key(identity), labels);

    if (found == TIDE_INDEX_NONE)
        return TIDE_ERR_NOT_FOUND;
    *ref = found;
    return TIDE_OK;
}

uint32_t tide__series_find(const struct tide_index *index, uint32_t key, uint32_t shape,
                           const uint32_t *values)
{
    struct tide__table_probe probe =
        tide__table_probe(&index->series_table, tide__series_fingerprint(key));
    uint32_t ref;

    while ((ref = tide__table_next(&probe)) != TIDE__TABLE_NONE) {
        struct tide__label_list list = tide__label_list(index, ref);
        bool same = list.shape == shape;

        for (uint32_t i = 0; i < list.count && same; i++)
            same = tide__uvarint_read(&list.values) == values[i];
        if (same)
            break;
    }
    return ref;
}

/* ---- Adding ---- */

/* Space for one label set. */
struct scratch {
    uint32_t *name_ids;
    uint32_t *values;
    uint32_t on_stack[2 * LABELS_ON_STACK];
};

static enum tide_err scratch_init(struct scratch *scratch, size_t count)
{
    scratch->name_ids = scratch->on_stack;
    if (count > LABELS_ON_STACK)
        scratch->name_ids = tide_mem_array(count, 2 * sizeof(uint32_t));
    if (scratch->name_ids == NULL)
        return TIDE_ERR_NO_MEMORY;
    scratch->values = scratch->name_ids + count;
    return TIDE_OK;
}

static void scratch_deinit(struct scratch *scratch)
{
    if (scratch->name_ids != scratch->on_stack)
        tide_mem_free(scratch->name_ids);
}

/* Name ids of the labels. Most series have nearly the names of the one before: both lists are
 * sorted, so a walk along the last shape finds them without hashing. */
static enum tide_err resolve_names(struct tide_index *index, struct tide_labels labels,
                                   uint32_t *ids)
{
    struct tide__symbols *symbols = &index->symbols;
    const struct tide__shape *shape =
        index->last_shape == TIDE_INDEX_NONE ? NULL : tide__shape_at(symbols, index->last_shape);
    const uint32_t *hints = shape == NULL ? NULL : tide__shape_ids(symbols, shape);
    uint32_t hint_count = shape == NULL ? 0 : shape->count;
    uint32_t hint = 0;

    for (size_t i = 0; i < labels.count; i++) {
        struct tide_slice text = labels.pairs[i].name;
        uint32_t id = TIDE_INDEX_NONE;
        enum tide_err err;

        while (hint < hint_count && id == TIDE_INDEX_NONE) {
            struct tide_slice hint_text = tide__name_at(symbols, hints[hint])->text;

            if (tide_slice_eq(hint_text, text))
                id = hints[hint];
            else if (tide_slice_cmp(hint_text, text) > 0)
                break;
            hint++;
        }
        if (id == TIDE_INDEX_NONE)
            id = tide__name_find(symbols, text);
        if (id == TIDE_INDEX_NONE) {
            err = tide__name_add(symbols, text, &id);
            if (err != TIDE_OK)
                return err;
        }
        ids[i] = id;
    }
    return TIDE_OK;
}

static enum tide_err resolve_shape(struct tide_index *index, const uint32_t *ids, size_t count,
                                   uint32_t *out)
{
    struct tide__symbols *symbols = &index->symbols;
    enum tide_err err;

    if (index->last_shape != TIDE_INDEX_NONE) {
        const struct tide__shape *last = tide__shape_at(symbols, index->last_shape);

        if (last->count == count &&
            memcmp(tide__shape_ids(symbols, last), ids, count * sizeof(ids[0])) == 0) {
            *out = index->last_shape;
            return TIDE_OK;
        }
    }
    *out = tide__shape_find(symbols, ids, count);
    if (*out == TIDE_INDEX_NONE) {
        err = tide__shape_add(symbols, ids, count, out);
        if (err != TIDE_OK)
            return err;
    }
    index->last_shape = *out;
    return TIDE_OK;
}

static enum tide_err resolve_value(struct tide_index *index, struct tide__name *name,
                                   struct tide_slice text, uint32_t *out)
{
    struct tide__symbols *symbols = &index->symbols;
    enum tide_err err;

    if (name->last_value < name->value_count &&
        tide_slice_eq(tide__value_text(symbols, name, name->last_value), text)) {
        *out = name->last_value;
        return TIDE_OK;
    }
    *out = tide__value_find(symbols, name, text);
    if (*out == TIDE_INDEX_NONE) {
        err = tide__value_add(symbols, name, text, out);
        if (err != TIDE_OK)
            return err;
    }
    name->last_value = *out;
    return TIDE_OK;
}

enum tide_err tide__series_append(struct tide_index *index, uint32_t ref, uint32_t key,
                                  uint32_t shape_id, const uint32_t *values)
{
    struct tide__symbols *symbols = &index->symbols;
    const struct tide__shape *shape = tide__shape_at(symbols, shape_id);
    const uint32_t *ids = tide__shape_ids(symbols, shape);
    uint32_t fingerprint = tide__series_fingerprint(key);
    uint32_t position;
    uint8_t *start, *at;
    enum tide_err err;

    TIDE_ASSERT(ref >= index->ref_count);
    /* Everything that can fail comes first. */
    err = tide__vec_place(&index->labels, index->labels_used,
                          ((size_t)shape->count + 1) * TIDE__UVARINT32_BYTES_MAX,
                          TIDE__LABELS_SHIFT, 1, &position);
    if (err == TIDE_OK)
        err =
            tide__vec_reserve(&index->series, ref, TIDE__SERIES_SHIFT, sizeof(struct tide__series));
    if (err == TIDE_OK)
        err = tide__table_reserve(&index->series_table, fingerprint);
    for (uint32_t i = 0; i < shape->count && err == TIDE_OK; i++)
        err = tide__postings_prepare(
            &index->postings, &tide__value_at(tide__name_at(symbols, ids[i]), values[i])->postings);
    if (err != TIDE_OK)
        return err;

    start = tide__vec_at(&index->labels, position, TIDE__LABELS_SHIFT, 1);
    at = tide__uvarint_write(start, shape_id);
    for (uint32_t i = 0; i < shape->count; i++) {
        struct tide__name *name = tide__name_at(symbols, ids[i]);
        struct tide__value *value = tide__value_at(name, values[i]);

        at = tide__uvarint_write(at, values[i]);
        if (value->postings == 0)
            tide__value_lives(symbols, name, values[i]);
        name->live_series++;
        tide__postings_append(&index->postings, &value->postings, ref);
    }
    index->labels_used = position + (uint64_t)(at - start);
    *tide__series_at(index, ref) = (struct tide__series){position, key};
    tide__table_insert(&index->series_table, fingerprint, ref);
    index->ref_count = ref + 1;
    index->series_count++;
    return TIDE_OK;
}

static enum tide_err add(struct tide_index *index, uint32_t key, struct tide_labels labels)
{
    struct scratch scratch;
    uint32_t shape;
    enum tide_err err = scratch_init(&scratch, labels.count);

    if (err != TIDE_OK)
        return err;
    err = resolve_names(index, labels, scratch.name_ids);
    if (err == TIDE_OK)
        err = resolve_shape(index, scratch.name_ids, labels.count, &shape);
    for (size_t i = 0; i < labels.count && err == TIDE_OK; i++)
        err = resolve_value(index, tide__name_at(&index->symbols, scratch.name_ids[i]),
                            labels.pairs[i].value, &scratch.values[i]);
    if (err == TIDE_OK)
        err = tide__series_append(index, index->ref_count, key, shape, scratch.values);
    scratch_deinit(&scratch);
    return err;
}

enum tide_err tide_index_add(struct tide_index *index, struct tide_hash128 identity,
                             struct tide_labels labels, uint32_t *ref, bool *created)
{
    uint32_t key = order_key(identity);
    uint32_t found = find(index, key, labels);
    enum tide_err err;

    if (found != TIDE_INDEX_NONE) {
        *ref = found;
        *created = false;
        return TIDE_OK;
    }
    if (index->ref_count >= TIDE_INDEX_REF_MAX || labels.count >= TIDE_INDEX_NONE)
        return TIDE_ERR_LIMIT;
    if (index->symbols.seed == 0)
        index->symbols.seed = identity.lo == 0 ? 1 : identity.lo;
    err = add(index, key, labels);
    if (err != TIDE_OK)
        return err;
    *ref = index->ref_count - 1;
    *created = true;
    return TIDE_OK;
}

/* ---- Removing ---- */

static void remove_one(struct tide_index *index, uint32_t ref)
{
    struct tide__symbols *symbols = &index->symbols;
    struct tide__label_list list = tide__label_list(index, ref);
    const uint8_t *start = list.values;

    for (uint32_t i = 0; i < list.count; i++) {
        struct tide__name *name = tide__name_at(symbols, list.name_ids[i]);
        uint32_t id = tide__uvarint_read(&list.values);
        struct tide__value *value = tide__value_at(name, id);

        tide__postings_remove(&index->postings, &value->postings, ref);
        name->live_series--;
        if (value->postings == 0)
            tide__value_dies(symbols, name, id);
    }
    index->dead_bytes += sizeof(struct tide__series) + 1 + (uint64_t)(list.values - start);
    tide__table_remove(&index->series_table,
                       tide__series_fingerprint(tide__series_at(index, ref)->key), ref);
    index->series_count--;
}

void tide_index_remove(struct tide_index *index, const uint32_t *refs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!tide_index_contains(index, refs[i]))
            continue;
        remove_one(index, refs[i]);
        if (index->dead == NULL)
            index->dead = roaring_bitmap_create();
        TIDE_ASSERT(index->dead != NULL);
        roaring_bitmap_add(index->dead, refs[i]);
    }
    if (index->dead != NULL)
        roaring_bitmap_run_optimize(index->dead);
}

uint32_t tide_index_ref_count(const struct tide_index *index)
{
    return index->ref_count;
}

uint32_t tide_index_series_count(const struct tide_index *index)
{
    return index->series_count;
}

bool tide_index_contains(const struct tide_index *index, uint32_t ref)
{
    return ref < index->ref_count &&
           (index->dead == NULL || !roaring_bitmap_contains(index->dead, ref));
}

/* ---- Labels ---- */

bool tide__series_known(const struct tide_index *index, uint32_t ref)
{
    /* Not against ref_count, which the writer may be changing: the record itself tells. */
    unsigned segment;

    if (ref >= TIDE_INDEX_REF_MAX)
        return false;
    segment = tide__vec_segment(ref, TIDE__SERIES_SHIFT);
    return index->series.segments[segment] != NULL && tide__series_at(index, ref)->labels != 0;
}

enum tide_err tide_index_labels(const struct tide_index *index, uint32_t ref,
                                struct tide_arena *arena, struct tide_labels *out)
{
    struct tide__label_list list;
    struct tide_label *pairs;

    if (!tide__series_known(index, ref))
        return TIDE_ERR_NOT_FOUND;
    list = tide__label_list(index, ref);
    /* One more than needed: an empty set is no failure. */
    pairs = tide_arena_alloc(arena, ((size_t)list.count + 1) * sizeof(*pairs));
    if (pairs == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < list.count; i++) {
        const struct tide__name *name = tide__name_at(&index->symbols, list.name_ids[i]);
        uint32_t value = tide__uvarint_read(&list.values);

        pairs[i] = (struct tide_label){name->text, tide__value_text(&index->symbols, name, value)};
    }
    *out = (struct tide_labels){pairs, list.count};
    return TIDE_OK;
}

struct tide_slice tide_index_label(const struct tide_index *index, uint32_t ref,
                                   struct tide_slice text)
{
    struct tide__label_list list;

    if (!tide__series_known(index, ref))
        return (struct tide_slice){NULL, 0};
    list = tide__label_list(index, ref);
    for (uint32_t i = 0; i < list.count; i++) {
        const struct tide__name *name = tide__name_at(&index->symbols, list.name_ids[i]);
        uint32_t value = tide__uvarint_read(&list.values);

        if (tide_slice_eq(name->text, text))
            return tide__value_text(&index->symbols, name, value);
    }
    return (struct tide_slice){NULL, 0};
}

uint32_t tide_index_name_id(const struct tide_index *index, struct tide_slice name)
{
    return tide__name_find(&index->symbols, name);
}

uint32_t tide_index_value_id(const struct tide_index *index, uint32_t ref, uint32_t name_id)
{
    struct tide__label_list list;

    if (!tide__series_known(index, ref))
        return TIDE_INDEX_NONE;
    list = tide__label_list(index, ref);
    for (uint32_t i = 0; i < list.count; i++) {
        uint32_t value = tide__uvarint_read(&list.values);

        if (list.name_ids[i] == name_id)
            return value;
    }
    return TIDE_INDEX_NONE;
}

struct tide_slice tide_index_value_text(const struct tide_index *index, uint32_t name_id,
                                        uint32_t value_id)
{
    if (value_id == TIDE_INDEX_NONE)
        return (struct tide_slice){NULL, 0};
    return tide__value_text(&index->symbols, tide__name_at(&index->symbols, name_id), value_id);
}

uint32_t tide_index_order_key(const struct tide_index *index, uint32_t ref)
{
    return tide__series_at(index, ref)->key;
}
