/* Selections: references from the index, in the order of their content. */
#include "read_private.h"

#include "tide/base/mem.h"

/* References looked at in one hold of the lock. */
#define SLICE_REFS 32768u
#define PREFETCH_AHEAD 16u

struct set {
    struct tide_series_set base;
    struct tide_head *head;
    struct tide_query_limits *limits;
    struct tide_index_refs refs;
};

static struct set *set_of(struct tide_series_set *set)
{
    return (struct set *)set; /* base is its first member. */
}

static enum tide_err set_labels(struct tide_series_set *set, size_t i, struct tide_arena *arena,
                                struct tide_labels *out)
{
    return tide_index_labels(set_of(set)->head->index, set_of(set)->refs.refs[i], arena, out);
}

static struct tide_slice set_label(struct tide_series_set *set, size_t i, struct tide_slice name)
{
    return tide_index_label(set_of(set)->head->index, set_of(set)->refs.refs[i], name);
}

static enum tide_err set_read(struct tide_series_set *set, size_t first, size_t count,
                              int64_t mint_ms, int64_t maxt_ms, struct tide_batch *batch)
{
    struct set *s = set_of(set);

    return tide__head_read(s->head, s->refs.refs + first, count, mint_ms, maxt_ms, s->limits,
                           batch);
}

static void set_free(struct tide_series_set *set)
{
    struct set *s = set_of(set);

    if (s == NULL)
        return;
    tide_index_refs_deinit(&s->refs, s->limits);
    tide_mem_free(s);
}

static const struct tide_series_set_ops set_ops = {
    .labels = set_labels,
    .label = set_label,
    .read = set_read,
    .free = set_free,
};

/* Leaves out series whose newest sample is before mint_ms: those that ended. */
static void keep_living(struct tide_head *head, struct tide_index_refs *refs, int64_t mint_ms)
{
    size_t kept = 0;

    for (size_t first = 0; first < refs->count; first += SLICE_REFS) {
        size_t end = refs->count - first < SLICE_REFS ? refs->count : first + SLICE_REFS;

        tide__head_lock_read(head);
        for (size_t i = first; i < end; i++) {
            const struct tide__record *r = tide__record(&head->records, refs->refs[i]);
            int64_t newest_ms;

            if (i + PREFETCH_AHEAD < end) {
                const struct tide__record *later =
                    tide__record(&head->records, refs->refs[i + PREFETCH_AHEAD]);

                if (later != NULL)
                    __builtin_prefetch(&later->column);
            }
            if (r != NULL && tide__newest_ms(head, refs->refs[i], r, &newest_ms) &&
                newest_ms >= mint_ms)
                refs->refs[kept++] = refs->refs[i];
        }
        tide__head_unlock(head);
    }
    refs->count = kept;
}

enum tide_err tide_head_select(struct tide_head *head, const struct tide_select *select,
                               struct tide_query_limits *limits, struct tide_series_set **out)
{
    struct set *set = tide_mem_new(sizeof(*set));
    enum tide_err err;

    if (set == NULL)
        return TIDE_ERR_NO_MEMORY;
    *set = (struct set){.base.ops = &set_ops, .head = head, .limits = limits};
    tide__head_lock_read(head);
    err =
        tide_index_select(head->index, select->matchers, select->matcher_count, limits, &set->refs);
    tide__head_unlock(head);
    if (err == TIDE_OK) {
        keep_living(head, &set->refs, select->mint_ms);
        err = tide_index_sort(head->index, set->refs.refs, set->refs.count, limits);
    }
    if (err == TIDE_OK) {
        if (select->limit > 0 && set->refs.count > select->limit)
            set->refs.count = select->limit;
        err = tide_query_count_series(limits, set->refs.count);
    }
    if (err != TIDE_OK) {
        set_free(&set->base);
        return err;
    }
    set->base.count = set->refs.count;
    *out = &set->base;
    return TIDE_OK;
}
