/* Snapshots, what is stored, operations: the objects that a group and its environment hand to each
 * other. */
#include "state_private.h"

#include "tide/base/mem.h"

struct tide__snapshot *tide__snapshot_new(uint64_t index, uint64_t term, uint64_t conf_index,
                                          struct tide_slice conf, struct tide_slice manifest)
{
    struct tide__snapshot *snapshot = tide_mem_new(sizeof(*snapshot));

    if (snapshot == NULL)
        return NULL;
    atomic_init(&snapshot->refs, 1);
    snapshot->index = index;
    snapshot->term = term;
    snapshot->conf_index = conf_index;
    tide_buf_slice(&snapshot->conf, conf);
    tide_buf_slice(&snapshot->manifest, manifest);
    if (tide_buf_ok(&snapshot->conf) != TIDE_OK || tide_buf_ok(&snapshot->manifest) != TIDE_OK) {
        tide__snapshot_unref(snapshot);
        return NULL;
    }
    return snapshot;
}

struct tide__snapshot *tide__snapshot_ref(struct tide__snapshot *snapshot)
{
    /* Relaxed: who takes a reference holds one already. */
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    return snapshot;
}

void tide__snapshot_unref(struct tide__snapshot *snapshot)
{
    /* acq_rel: the thread that drops the last reference sees what all others wrote. */
    if (snapshot == NULL || atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) > 1)
        return;
    tide_buf_deinit(&snapshot->conf);
    tide_buf_deinit(&snapshot->manifest);
    tide_mem_free(snapshot);
}

void tide__stored_deinit(struct tide__stored *stored)
{
    for (size_t i = 0; i < stored->mark_count; i++)
        tide__payload_unref(stored->marks[i].payload);
    tide_mem_free(stored->marks);
    tide__snapshot_unref(stored->snapshot);
    memset(stored, 0, sizeof(*stored));
}

void tide__op_free(struct tide__op *op)
{
    if (op == NULL)
        return;
    for (uint32_t i = 0; i < op->entry_count; i++)
        tide__payload_unref(op->entries[i].payload);
    tide__snapshot_unref(op->snapshot);
    tide_mem_free(op);
}

struct tide__op *tide__op_new(struct tide__group *group, enum tide__op_kind kind, uint32_t entries)
{
    struct tide__op *op = tide_mem_new(sizeof(*op) + entries * sizeof(struct tide__entry));

    if (op == NULL)
        return NULL;
    op->kind = kind;
    op->group = group->id;
    op->epoch = group->epoch;
    op->context = group->hooks.context;
    op->entries = (struct tide__entry *)(void *)(op + 1);
    return op;
}
