/* Aggregations that fold one series after the other: they consume a stream, so that the series
 * never stand in memory together. Each batch of series gives partial states of the groups it met;
 * these are merged in batch order, so that the bits do not depend on the threads. */
#include "aggregate_private.h"
#include "stream_private.h"

#include "tide/base/mem.h"

/* Groups a thread remembers by the addresses of their label values: sources hand out the same
 * address for the same text. */
#define GROUP_CACHE_SLOTS 512
#define GROUP_CACHE_LABELS 4

struct group_cache_slot {
    struct tide_slice values[GROUP_CACHE_LABELS];
    uint32_t group_plus1; /* 0: empty. */
};

/* What one thread needs to find groups. */
struct group_finder {
    struct group_cache_slot cache[GROUP_CACHE_SLOTS];
    struct tide_arena *labels; /* Of one series. */
    struct tide_label *pairs;  /* The key being looked for. */
    size_t pair_capacity;
    uint64_t *floats; /* Steps at which a series with histograms is a float. */
};

/* The states of the groups one batch met, in the order it met them. */
struct partial {
    struct partial *next_free;
    struct partial *next_all;
    struct tide_arena *arena; /* Of the cells; reset for each batch. */
    uint64_t charged;
    size_t count;
    uint32_t *groups; /* Room for a batch. */
    bool *drop_name;
    struct tide__cell *cells;
    uint32_t *slots; /* Hash of group to index + 1. */
    size_t slot_count;
};

struct group {
    struct tide_labels labels;
    uint64_t hash;
    struct tide__cell cell; /* Set at the first commit that has it. */
    bool drop_name;
    bool seen;
};

struct aggregation {
    struct tide__eval *eval;
    const struct tide_aggregation *expr;
    enum tide_aggregate op;
    struct tide__stream *stream;
    size_t step_count;
    struct tide_slice *names; /* Sorted. */
    size_t name_count;
    struct group_finder *finders[TIDE__SLOTS_MAX];

    pthread_mutex_t lock; /* Guards all below but what commit owns; a leaf. */
    struct group **groups;
    size_t group_count;
    size_t group_capacity;
    uint32_t *table; /* Hash of labels to group + 1. */
    size_t table_size;
    struct partial *free_partials;
    struct partial *all_partials;

    /* One thread at a time commits. */
    struct tide_arena *cells;
    uint64_t cells_charged;
    uint32_t *order; /* Groups by the first series that has a point. */
    size_t order_count;
    size_t order_capacity;
};

/* ---- Groups ---- */

static enum tide_err table_grow_locked(struct aggregation *agg)
{
    size_t size = agg->table_size == 0 ? 64 : agg->table_size * 2;
    uint32_t *table = tide_mem_array(size, sizeof(*table));

    if (table == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < agg->group_count; i++) {
        size_t at = (size_t)agg->groups[i]->hash & (size - 1);

        while (table[at] != 0)
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)i + 1;
    }
    tide_mem_free(agg->table);
    agg->table = table;
    agg->table_size = size;
    return TIDE_OK;
}

static enum tide_err group_add_locked(struct aggregation *agg, struct tide_labels key,
                                      uint64_t hash, size_t at, uint32_t *out)
{
    void *groups = agg->groups;
    struct group *group = tide__eval_alloc(agg->eval, sizeof(*group));
    size_t bytes = key.count * sizeof(*key.pairs);
    struct tide_label *pairs;
    uint8_t *text;
    enum tide_err err;

    for (size_t i = 0; i < key.count; i++)
        bytes += key.pairs[i].name.len + key.pairs[i].value.len;
    pairs = tide__eval_alloc(agg->eval, bytes + 1);
    if (group == NULL || pairs == NULL)
        return tide__eval_no_memory(agg->eval);
    err =
        tide_mem_grow(&groups, &agg->group_capacity, agg->group_count + 1, sizeof(struct group *));
    if (err != TIDE_OK)
        return err;
    agg->groups = groups;
    /* Copied: the slices may live in the finder's arena. */
    text = (uint8_t *)(pairs + key.count);
    for (size_t i = 0; i < key.count; i++) {
        struct tide_slice *parts[2] = {&pairs[i].name, &pairs[i].value};

        pairs[i] = key.pairs[i];
        for (size_t p = 0; p < 2; p++) {
            memcpy(text, parts[p]->ptr, parts[p]->len);
            parts[p]->ptr = text;
            text += parts[p]->len;
        }
    }
    *group = (struct group){.labels = {pairs, key.count}, .hash = hash};
    agg->groups[agg->group_count++] = group;
    agg->table[at] = (uint32_t)agg->group_count;
    *out = (uint32_t)agg->group_count - 1;
    return TIDE_OK;
}

static enum tide_err group_of_key(struct aggregation *agg, struct tide_labels key, uint32_t *out)
{
    uint64_t hash = tide__labels_hash(key);
    enum tide_err err = TIDE_OK;
    size_t at;

    (void)pthread_mutex_lock(&agg->lock);
    if (agg->table_size < 2 * (agg->group_count + 1))
        err = table_grow_locked(agg);
    if (err == TIDE_OK) {
        bool found = false;

        at = (size_t)hash & (agg->table_size - 1);
        for (; agg->table[at] != 0; at = (at + 1) & (agg->table_size - 1)) {
            const struct group *group = agg->groups[agg->table[at] - 1];

            if (group->hash == hash && tide_labels_eq(group->labels, key)) {
                *out = agg->table[at] - 1;
                found = true;
                break;
            }
        }
        if (!found)
            err = group_add_locked(agg, key, hash, at, out);
    }
    (void)pthread_mutex_unlock(&agg->lock);
    return err;
}

static enum tide_err finder_of(struct aggregation *agg, unsigned slot, struct group_finder **out)
{
    struct group_finder *finder = agg->finders[slot];

    if (finder == NULL) {
        finder = tide_mem_new(sizeof(*finder));
        if (finder == NULL)
            return TIDE_ERR_NO_MEMORY;
        agg->finders[slot] = finder;
        finder->labels = tide_arena_new(0);
        finder->pair_capacity = agg->name_count;
        finder->pairs = tide_mem_array(agg->name_count + 1, sizeof(*finder->pairs));
        finder->floats = tide_mem_array(tide__word_count(agg->step_count), sizeof(uint64_t));
        if (finder->labels == NULL || finder->pairs == NULL || finder->floats == NULL)
            return TIDE_ERR_NO_MEMORY;
    }
    *out = finder;
    return TIDE_OK;
}

/* by (names): the values of the labels are the key; no label set is built. */
static enum tide_err group_by(struct aggregation *agg, struct group_finder *finder, size_t i,
                              uint32_t *out)
{
    struct tide_slice values[GROUP_CACHE_LABELS] = {{0}};
    struct group_cache_slot *slot = NULL;
    struct tide_labels key = {finder->pairs, 0};
    uint64_t hash = 0;
    enum tide_err err;

    for (size_t l = 0; l < agg->name_count; l++) {
        struct tide_slice value = tide__stream_label(agg->stream, i, agg->names[l]);

        if (value.len > 0)
            finder->pairs[key.count++] = (struct tide_label){agg->names[l], value};
        if (l < GROUP_CACHE_LABELS)
            values[l] = value;
        hash = (hash ^ (uintptr_t)value.ptr ^ value.len << 48) * 0x9e3779b97f4a7c15ULL;
    }
    if (agg->name_count <= GROUP_CACHE_LABELS) {
        bool hit;

        slot = &finder->cache[(hash >> 40) % GROUP_CACHE_SLOTS];
        hit = slot->group_plus1 != 0;
        for (size_t l = 0; l < agg->name_count && hit; l++)
            hit = slot->values[l].ptr == values[l].ptr && slot->values[l].len == values[l].len;
        if (hit) {
            *out = slot->group_plus1 - 1;
            return TIDE_OK;
        }
    }
    err = group_of_key(agg, key, out);
    if (err == TIDE_OK && slot != NULL) {
        memcpy(slot->values, values, agg->name_count * sizeof(*values));
        slot->group_plus1 = *out + 1;
    }
    return err;
}

static enum tide_err group_without(struct aggregation *agg, struct group_finder *finder, size_t i,
                                   uint32_t *out)
{
    struct tide_labels labels;
    struct tide_labels key;
    enum tide_err err;

    tide_arena_reset(finder->labels);
    err = tide__stream_labels_in(agg->stream, finder->labels, i, &labels);
    if (err != TIDE_OK)
        return err;
    if (labels.count > finder->pair_capacity) {
        tide_mem_free(finder->pairs);
        finder->pair_capacity = labels.count;
        finder->pairs = tide_mem_array(labels.count + 1, sizeof(*finder->pairs));
        if (finder->pairs == NULL)
            return TIDE_ERR_NO_MEMORY;
    }
    key =
        (struct tide_labels){finder->pairs, tide__labels_filter(labels, agg->names, agg->name_count,
                                                                false, true, finder->pairs)};
    return group_of_key(agg, key, out);
}

/* ---- Partial states ---- */

static void partial_free(struct partial *partial)
{
    tide_arena_free(partial->arena);
    tide_mem_free(partial->groups);
    tide_mem_free(partial->drop_name);
    tide_mem_free(partial->cells);
    tide_mem_free(partial->slots);
    tide_mem_free(partial);
}

static struct partial *partial_new(const struct tide__eval *eval, size_t room)
{
    struct partial *partial = tide_mem_new(sizeof(*partial));

    if (partial == NULL)
        return NULL;
    partial->slot_count = 32;
    while (partial->slot_count < 2 * room)
        partial->slot_count *= 2;
    partial->arena = tide__arena_new(eval);
    partial->groups = tide_mem_array(room, sizeof(*partial->groups));
    partial->drop_name = tide_mem_array(room, sizeof(*partial->drop_name));
    partial->cells = tide_mem_array(room, sizeof(*partial->cells));
    partial->slots = tide_mem_array(partial->slot_count, sizeof(*partial->slots));
    if (partial->arena == NULL || partial->groups == NULL || partial->drop_name == NULL ||
        partial->cells == NULL || partial->slots == NULL) {
        partial_free(partial);
        return NULL;
    }
    return partial;
}

static struct partial *partial_take(struct aggregation *agg)
{
    struct partial *partial;

    (void)pthread_mutex_lock(&agg->lock);
    partial = agg->free_partials;
    if (partial != NULL)
        agg->free_partials = partial->next_free;
    (void)pthread_mutex_unlock(&agg->lock);
    if (partial != NULL)
        return partial;
    partial = partial_new(agg->eval, agg->stream->batch_series);
    if (partial == NULL)
        return NULL;
    (void)pthread_mutex_lock(&agg->lock);
    partial->next_all = agg->all_partials;
    agg->all_partials = partial;
    (void)pthread_mutex_unlock(&agg->lock);
    return partial;
}

/* The index of a group in the partial state, a new neutral one when the batch had none of it. */
static enum tide_err partial_cell(struct aggregation *agg, struct partial *partial, uint32_t group,
                                  size_t *out)
{
    size_t at = ((size_t)group * 0x9e3779b1U) & (partial->slot_count - 1);

    for (; partial->slots[at] != 0; at = (at + 1) & (partial->slot_count - 1)) {
        if (partial->groups[partial->slots[at] - 1] == group) {
            *out = partial->slots[at] - 1;
            return TIDE_OK;
        }
    }
    if (!tide__cell_new(agg->op, agg->step_count, partial->arena, &partial->cells[partial->count]))
        return TIDE_ERR_NO_MEMORY;
    partial->groups[partial->count] = group;
    partial->drop_name[partial->count] = false;
    *out = partial->count++;
    partial->slots[at] = (uint32_t)partial->count;
    return TIDE_OK;
}

/* Adds a series with histograms. */
static enum tide_err add_mixed(const struct aggregation *agg, const struct group_finder *finder,
                               const struct tide__batch_run *run, size_t i, struct partial *partial,
                               size_t at, const double *values, const uint64_t *present)
{
    bool any = false;

    tide_arena_reset(finder->labels); /* Its work is done. */
    if (agg->op == TIDE_AGG_COUNT || agg->op == TIDE_AGG_GROUP) {
        tide__cell_add(agg->op, &partial->cells[at], agg->step_count, values, present);
        return TIDE_OK;
    }
    memcpy(finder->floats, present, tide__word_count(agg->step_count) * sizeof(*present));
    for (size_t s = 0; s < agg->step_count; s++) {
        if (!tide__bit(present, s) || run->histograms[s] == NULL)
            continue;
        tide__bit_clear(finder->floats, s);
        any = true;
    }
    tide__cell_add(agg->op, &partial->cells[at], agg->step_count, values, finder->floats);
    if (agg->op != TIDE_AGG_SUM && agg->op != TIDE_AGG_AVG) {
        if (any)
            tide__note_at(agg->eval, true, agg->expr->expr->pos,
                          "ignored histogram in %s aggregation", tide_aggregate_text(agg->op));
        return TIDE_OK;
    }
    if (!tide__native_add(agg->op, &partial->cells[at], agg->step_count, present, run->histograms,
                          tide__stream_label(agg->stream, i, TIDE_SLICE(TIDE_LABEL_METRIC)),
                          partial->arena, finder->labels))
        return tide__arena_no_memory(agg->eval, partial->arena);
    return tide__charge_arena(agg->eval, partial->arena, &partial->charged);
}

static enum tide_err aggregate_batch(void *context, struct tide__batch_run *run, void **out)
{
    struct aggregation *agg = context;
    struct partial *partial = partial_take(agg);
    struct group_finder *finder;
    enum tide_err err = finder_of(agg, run->slot, &finder);

    if (partial == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (err != TIDE_OK)
        return err;
    partial->count = 0;
    memset(partial->slots, 0, partial->slot_count * sizeof(*partial->slots));
    tide_arena_reset(partial->arena);
    for (size_t k = 0; k < run->count; k++) {
        const double *values;
        const uint64_t *present;
        uint32_t group = 0;
        size_t at = 0;

        err = tide__stream_row(run, k, NULL, NULL, &values, &present);
        if (err != TIDE_OK)
            return err;
        if (!tide__any_present(present, agg->stream->grid->word_count))
            continue;
        err = agg->expr->without ? group_without(agg, finder, run->first + k, &group)
                                 : group_by(agg, finder, run->first + k, &group);
        if (err == TIDE_OK)
            err = partial_cell(agg, partial, group, &at);
        if (err != TIDE_OK)
            return err;
        if (tide__stream_drops_name(agg->stream, run->first + k))
            partial->drop_name[at] = true;
        if (run->histograms == NULL)
            tide__cell_add(agg->op, &partial->cells[at], agg->step_count, values, present);
        else
            err = add_mixed(agg, finder, run, run->first + k, partial, at, values, present);
        if (err != TIDE_OK)
            return err;
    }
    *out = partial;
    return tide__charge_arena(agg->eval, partial->arena, &partial->charged);
}

static enum tide_err aggregate_commit(void *context, void *from)
{
    struct aggregation *agg = context;
    struct partial *partial = from;

    for (size_t i = 0; i < partial->count; i++) {
        struct group *group;
        void *order = agg->order;

        (void)pthread_mutex_lock(&agg->lock); /* The array of groups may be growing. */
        group = agg->groups[partial->groups[i]];
        (void)pthread_mutex_unlock(&agg->lock);
        if (!group->seen) {
            enum tide_err err = tide_mem_grow(&order, &agg->order_capacity, agg->order_count + 1,
                                              sizeof(*agg->order));

            if (err != TIDE_OK)
                return err;
            agg->order = order;
            if (!tide__cell_new(agg->op, agg->step_count, agg->cells, &group->cell))
                return TIDE_ERR_NO_MEMORY;
            agg->order[agg->order_count++] = partial->groups[i];
            group->seen = true;
        }
        group->drop_name = group->drop_name || partial->drop_name[i];
        tide__cell_merge(agg->op, &group->cell, agg->step_count, &partial->cells[i]);
        if (!tide__native_merge(agg->op, &group->cell, agg->step_count, &partial->cells[i],
                                agg->cells))
            return tide__arena_no_memory(agg->eval, agg->cells);
    }
    (void)pthread_mutex_lock(&agg->lock);
    partial->next_free = agg->free_partials;
    agg->free_partials = partial;
    (void)pthread_mutex_unlock(&agg->lock);
    return tide__charge_arena(agg->eval, agg->cells, &agg->cells_charged);
}

/* ---- The whole ---- */

static enum tide_err aggregate_result(struct aggregation *agg, struct tide__matrix **out)
{
    enum tide_err err = tide__matrix_new(agg->eval, agg->order_count, out);

    if (err != TIDE_OK)
        return err;
    for (size_t i = 0; i < agg->order_count; i++) {
        const struct group *group = agg->groups[agg->order[i]];
        struct tide__row *row = &(*out)->rows[i];

        row->labels = group->labels;
        row->drop_name = group->drop_name;
        memcpy(row->present, group->cell.present, (*out)->word_count * sizeof(*row->present));
        tide__cell_finish(agg->op, &group->cell, agg->step_count, row->values);
        err = tide__native_finish(agg->eval, agg->expr->expr->pos, agg->op, &group->cell, row);
        if (err != TIDE_OK) {
            tide__matrix_free(*out);
            return err;
        }
    }
    return TIDE_OK;
}

static void aggregation_deinit(struct aggregation *agg)
{
    struct partial *partial = agg->all_partials;

    while (partial != NULL) {
        struct partial *next = partial->next_all;

        tide__release(agg->eval, partial->charged);
        partial_free(partial);
        partial = next;
    }
    for (unsigned slot = 0; slot < TIDE__SLOTS_MAX; slot++) {
        if (agg->finders[slot] == NULL)
            continue;
        tide_arena_free(agg->finders[slot]->labels);
        tide_mem_free(agg->finders[slot]->pairs);
        tide_mem_free(agg->finders[slot]->floats);
        tide_mem_free(agg->finders[slot]);
    }
    tide__release(agg->eval, agg->cells_charged);
    tide_arena_free(agg->cells);
    tide_mem_free(agg->groups);
    tide_mem_free(agg->table);
    tide_mem_free(agg->order);
    tide__stream_close(agg->stream);
    (void)pthread_mutex_destroy(&agg->lock);
}

static enum tide_err aggregate_stream(struct tide__eval *eval, const struct tide_expr *expr,
                                      struct tide__stream *stream, struct tide__matrix **out)
{
    struct aggregation agg = {
        .eval = eval,
        .expr = &expr->u.aggregation,
        .op = expr->u.aggregation.op,
        .stream = stream,
        .step_count = eval->grid->step_count,
    };
    enum tide_err err;

    (void)pthread_mutex_init(&agg.lock, NULL);
    agg.cells = tide__arena_new(eval);
    err = agg.cells == NULL ? TIDE_ERR_NO_MEMORY
                            : tide__names_sorted(eval, agg.expr->labels, agg.expr->label_count,
                                                 &agg.names, &agg.name_count);
    if (err == TIDE_OK)
        err = tide__stream_run(stream, &agg, aggregate_batch, aggregate_commit);
    if (err == TIDE_OK)
        err = aggregate_result(&agg, out);
    aggregation_deinit(&agg);
    return err;
}

enum tide_err tide__aggregate(struct tide__eval *eval, const struct tide_expr *expr,
                              struct tide__matrix **out)
{
    const struct tide_expr *operand = expr->u.aggregation.expr;
    struct tide__stream *stream = NULL;
    struct tide__matrix *m;
    enum tide_err err;

    if (expr->u.aggregation.op >= TIDE_AGG_TOPK) {
        err = tide__eval_vector(eval, operand, &m);
        return err != TIDE_OK ? err : tide__aggregate_whole(eval, expr, m, out);
    }
    err = tide__stream_open(eval, operand, &stream);
    if (err != TIDE_OK)
        return err;
    if (stream == NULL) {
        err = tide__eval_vector(eval, operand, &m);
        if (err == TIDE_OK)
            err = tide__stream_of(eval, m, &stream);
        if (err != TIDE_OK)
            return err;
    }
    return aggregate_stream(eval, expr, stream, out);
}
