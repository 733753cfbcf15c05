/* What a group remembers: the entries that are not to be read back from the disk yet, the terms of
 * all of them, and the committed configurations that a snapshot may ask for. */
#include "state_private.h"

#include "tide/base/mem.h"

#define CACHE_CAPACITY_MIN 64

/* ---- Entries ---- */

static struct tide__entry *cache_at(struct tide__group *group, size_t i)
{
    return &group->cache[(group->cache_front + i) & (group->cache_capacity - 1)];
}

struct tide__entry *tide__group_cached(struct tide__group *group, uint64_t index)
{
    if (index < group->cache_first || index - group->cache_first >= group->cache_count)
        return NULL;
    return cache_at(group, (size_t)(index - group->cache_first));
}

enum tide_err tide__cache_reserve(struct tide__group *group, size_t count)
{
    size_t capacity = group->cache_capacity > 0 ? group->cache_capacity : CACHE_CAPACITY_MIN;
    struct tide__entry *cache;

    if (group->cache_count + count <= group->cache_capacity)
        return TIDE_OK;
    while (capacity < group->cache_count + count)
        capacity *= 2;
    cache = tide_mem_array(capacity, sizeof(*cache));
    if (cache == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < group->cache_count; i++)
        cache[i] = *cache_at(group, i);
    tide_mem_free(group->cache);
    group->cache = cache;
    group->cache_capacity = capacity;
    group->cache_front = 0;
    return TIDE_OK;
}

void tide__cache_drop_from(struct tide__group *group, uint64_t index)
{
    while (group->cache_count > 0 && group->cache_first + group->cache_count > index) {
        struct tide__entry *last = cache_at(group, --group->cache_count);

        group->cache_bytes -= last->payload->bytes;
        tide__payload_unref(last->payload);
    }
    if (group->cache_count == 0)
        group->cache_first = index;
}

void tide__cache_add(struct tide__group *group, struct tide__entry entry)
{
    *cache_at(group, group->cache_count++) = entry;
    group->cache_bytes += entry.payload->bytes;
}

void tide__cache_evict(struct tide__group *group)
{
    uint64_t stored = group->raft.last_stored;
    uint64_t limit = group->applied < stored ? group->applied : stored;

    while (group->cache_count > 0 && group->cache_first <= limit) {
        struct tide__entry *oldest = cache_at(group, 0);

        if (group->cache_bytes_max > 0 && group->cache_bytes <= group->cache_bytes_max)
            break;
        group->cache_bytes -= oldest->payload->bytes;
        tide__payload_unref(oldest->payload);
        group->cache_front = (group->cache_front + 1) & (group->cache_capacity - 1);
        group->cache_count--;
        group->cache_first++;
    }
}

/* ---- Terms and configurations ---- */

/* The library's trail keeps, per term, the index of the last entry of that term. */
uint64_t tide__group_term_of(const struct tide__group *group, uint64_t index)
{
    const struct raft_trail *trail = &group->raft.trail;
    unsigned count =
        trail->size == 0 ? 0 : (trail->size + trail->back - trail->front) % trail->size;

    if (index > trail->offset) {
        for (unsigned i = 0; i < count; i++) {
            unsigned at = (trail->front + i) % trail->size;

            if (index <= trail->records[at].index)
                return trail->records[at].term;
        }
    }
    return index != 0 && index == trail->snapshot.index ? trail->snapshot.term : 0;
}

enum tide_err tide__confs_add(struct tide__group *group, uint64_t index, struct tide__payload *conf)
{
    enum tide_err err = tide_mem_grow((void **)&group->confs, &group->conf_capacity,
                                      group->conf_count + 1, sizeof(*group->confs));

    if (err == TIDE_OK)
        group->confs[group->conf_count++] = (struct tide__conf_at){index, tide__payload_ref(conf)};
    return err;
}

void tide__confs_drop_before(struct tide__group *group, uint64_t index)
{
    size_t drop = 0;

    while (drop + 1 < group->conf_told && group->confs[drop + 1].index <= index)
        drop++;
    if (drop == 0)
        return;
    for (size_t i = 0; i < drop; i++)
        tide__payload_unref(group->confs[i].conf);
    memmove(group->confs, group->confs + drop, (group->conf_count - drop) * sizeof(*group->confs));
    group->conf_count -= drop;
    group->conf_told -= drop;
}

enum tide_err tide__confs_reset(struct tide__group *group, const struct tide__snapshot *snapshot)
{
    struct tide__payload *conf;
    enum tide_err err;

    for (size_t i = 0; i < group->conf_count; i++)
        tide__payload_unref(group->confs[i].conf);
    group->conf_count = 0;
    group->conf_told = 0;
    if (snapshot == NULL)
        return TIDE_OK;
    conf = tide__payload_copy(tide_buf_view(&snapshot->conf));
    if (conf == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = tide__confs_add(group, snapshot->conf_index, conf);
    group->conf_told = group->conf_count;
    tide__payload_unref(conf);
    return err;
}

enum tide_err tide__metadata_set(const struct tide__snapshot *snapshot,
                                 struct raft_snapshot_metadata *out)
{
    out->index = snapshot->index;
    out->term = snapshot->term;
    out->configuration_index = snapshot->conf_index;
    return tide__group_err(tide__conf_to_raft(tide_buf_view(&snapshot->conf), &out->configuration));
}
