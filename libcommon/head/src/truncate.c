#include "head_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

/* Series looked at, or removed, in one hold of the lock. */
#define SLICE_SERIES 8192u
#define SLICE_REMOVED 512u
/* Dead slab numbers from which on chains are cut, so that the numbers can be used again. Rare: it
 * takes a walk along all chains. */
#define DEAD_SLABS_MAX (TIDE__SLABS_MAX / 4)

/* Drops the sealed chunks; the memory is freed outside the lock, as nothing leads to it any more.
 */
static enum tide_err drop_sealed(struct tide_head *head, int64_t cut_ms)
{
    void **slabs = NULL;
    size_t count = 0;
    enum tide_err err;

    tide__head_lock_write(head);
    err = tide__head_dig(head, head->store.slab_count);
    if (err == TIDE_OK)
        err = tide__store_drop(&head->store, cut_ms, &slabs, &count);
    if (head->frozen != NULL) {
        for (size_t i = 0; i < count; i++)
            tide__head_bury(head, slabs[i]);
        count = 0;
    }
    tide__head_unlock(head);
    for (size_t i = 0; i < count; i++)
        tide_mem_free(slabs[i]);
    tide_mem_free(slabs);
    return err;
}

/* Drops open chunks before cut_ms, and with them their series: all other chunks of a series are
 * older than its open one. Stops once SLICE_REMOVED are gone. */
static uint32_t drop_open(struct tide_head *head, uint32_t first, uint32_t end, int64_t cut_ms)
{
    uint32_t removed[SLICE_REMOVED];
    size_t count = 0;
    uint32_t ref = first;

    for (; ref < end && count < SLICE_REMOVED; ref++) {
        struct tide__record *r = tide__record(&head->records, ref);

        if (r == NULL || (r->open.owner & TIDE__LIVE) == 0)
            continue;
        if (r->count > 0) {
            if (tide__open_start_ms(head, r) >= cut_ms)
                continue;
            TIDE_ASSERT((r->open.owner & TIDE__LATE) == 0);
            TIDE_ASSERT(tide__store_at(&head->store, r->sealed) == NULL);
            tide__open_drop(head, r);
            r->sealed = 0;
        }
        if (r->open.owner & TIDE__HISTOGRAMS) /* Newer ones: its floats are gone. */
            continue;
        tide__head_record_remove(head, ref);
        removed[count++] = ref;
    }
    tide_index_remove(head->index, removed, count);
    return ref;
}

static enum tide_err drop_columns(struct tide_head *head, int64_t cut_ms)
{
    for (size_t i = 0; i < head->columns.count; i++) {
        void *rows;
        enum tide_err err;

        if (head->columns.items[i] == NULL || head->columns.items[i]->start_ms >= cut_ms)
            continue;
        err = tide__head_dig(head, 1);
        if (err == TIDE_OK)
            err = tide__columns_remove(&head->columns, (uint32_t)i, &rows);
        if (err != TIDE_OK)
            return err;
        tide__head_bury(head, rows);
    }
    return TIDE_OK;
}

/* Ends the chains of sealed chunks where they lead to dropped slabs. */
static void cut_chains(struct tide_head *head, uint32_t first, uint32_t end)
{
    for (uint32_t ref = first; ref < end; ref++) {
        struct tide__record *r = tide__record(&head->records, ref);
        struct tide__sealed *chunk;
        uint32_t *link;

        if (r == NULL)
            continue;
        for (link = &r->sealed; (chunk = tide__store_at(&head->store, *link)) != NULL;
             link = &chunk->older)
            ;
        *link = 0;
    }
}

enum tide_err tide_head_truncate(struct tide_head *head, int64_t before_ms)
{
    int64_t cut_ms;
    enum tide_err err;

    if (before_ms > TIDE_HEAD_TIME_MS_MAX)
        before_ms = TIDE_HEAD_TIME_MS_MAX;
    if (before_ms < -TIDE_HEAD_TIME_MS_MAX)
        return TIDE_OK;
    cut_ms = tide__partition_start(head, before_ms);
    /* Late samples and histograms first: a series is removed when nothing is left, and it has late
     * samples only while it has a newer open chunk. */
    tide__head_lock_write(head);
    head->floor_ms = cut_ms;
    head->epoch++;
    err = tide__late_truncate(head, cut_ms);
    if (err == TIDE_OK)
        err = tide__histograms_truncate(head, cut_ms);
    tide__head_unlock(head);
    if (err == TIDE_OK)
        err = drop_sealed(head, cut_ms);
    for (uint32_t ref = 0; ref < head->records.count && err == TIDE_OK;) {
        uint32_t end =
            head->records.count - ref < SLICE_SERIES ? head->records.count : ref + SLICE_SERIES;

        tide__head_lock_write(head);
        ref = drop_open(head, ref, end, cut_ms);
        tide__head_unlock(head);
    }
    if (err != TIDE_OK)
        return err;
    tide__head_lock_write(head);
    err = drop_columns(head, cut_ms);
    head->floor_ms = INT64_MIN; /* Samples of any age may come again. */
    head->epoch++;
    if (head->open_samples == 0 && head->histograms.series == 0) {
        head->min_ms = INT64_MAX;
        head->max_ms = INT64_MIN;
    } else if (head->min_ms < cut_ms) {
        head->min_ms = cut_ms;
    }
    tide__head_unlock(head);
    if (err != TIDE_OK || head->store.dead_count < DEAD_SLABS_MAX || head->frozen != NULL)
        return err;
    for (uint32_t ref = 0; ref < head->records.count;) {
        uint32_t end =
            head->records.count - ref < SLICE_SERIES ? head->records.count : ref + SLICE_SERIES;

        tide__head_lock_write(head);
        cut_chains(head, ref, end);
        if (end == head->records.count)
            tide__store_revive(&head->store);
        tide__head_unlock(head);
        ref = end;
    }
    return TIDE_OK;
}
