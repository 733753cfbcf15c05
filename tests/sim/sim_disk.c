/* The disks: one log per node, one batch per fsync, as in wal.c. What a batch holds is durable as a
 * whole or not at all. */
#include "sim.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

static void store_drop_from(struct sim_store *store, uint64_t index)
{
    while (store->count > 0 && store->first + store->count > index)
        tide__payload_unref(store->entries[--store->count].payload);
}

static void store_drop_before(struct sim_store *store, uint64_t index)
{
    size_t drop = index > store->first ? (size_t)(index - store->first) : 0;

    if (drop > store->count)
        drop = store->count;
    if (drop == 0)
        return;
    for (size_t i = 0; i < drop; i++)
        tide__payload_unref(store->entries[i].payload);
    memmove(store->entries, store->entries + drop, (store->count - drop) * sizeof(*store->entries));
    store->count -= drop;
    store->first += drop;
}

static void store_append(struct sim_replica *replica, const struct tide__op *op)
{
    struct sim_store *store = &replica->store;

    if (op->truncates)
        store_drop_from(store, op->first);
    if (store->count == 0)
        store->first = op->first;
    if (op->first != store->first + store->count) {
        sim_unsafe(replica->sim, replica, "a hole in the durable log");
        return;
    }
    store->entries = sim_grow(store->entries, &store->capacity, store->count + op->entry_count,
                              sizeof(*store->entries));
    for (uint32_t i = 0; i < op->entry_count; i++) {
        store->entries[store->count] = op->entries[i];
        tide__payload_ref(store->entries[store->count++].payload);
    }
}

static void store_apply(const struct tide__op *op)
{
    struct sim_replica *replica = op->context;
    struct sim_store *store = &replica->store;

    switch (op->kind) {
    case TIDE__OP_META:
        store->term = op->term;
        store->vote = op->vote;
        return;
    case TIDE__OP_APPEND:
        store_append(replica, op);
        return;
    case TIDE__OP_SNAPSHOT:
    case TIDE__OP_INSTALL:
    default:
        tide__snapshot_unref(store->snapshot);
        store->snapshot = tide__snapshot_ref(op->snapshot);
        store_drop_before(store, op->kind == TIDE__OP_INSTALL ? UINT64_MAX : op->keep);
        return;
    }
}

void sim_disk_queue(struct sim_node *node, struct tide__op *op)
{
    op->seq = ++node->seq;
    op->next = NULL;
    *node->queue_end = op;
    node->queue_end = &op->next;
}

/* Starts an fsync when none runs. */
void sim_disk_kick(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];

    if (node->flight != NULL || node->queue == NULL || node->broken)
        return;
    node->flight = node->queue;
    node->queue = NULL;
    node->queue_end = &node->queue;
    sim_push(sim, sim->now_ms + 1 + sim_random(sim, node->fsync_ms_max), SIM_FSYNC, number, 0,
             node->log_life, NULL, NULL);
}

static void ops_free(struct tide__op *op)
{
    while (op != NULL) {
        struct tide__op *next = op->next;

        tide__op_free(op);
        op = next;
    }
}

/* The fsync that runs is over. */
void sim_disk_sync(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    struct tide__op *op = node->flight;

    node->flight = NULL;
    for (struct tide__op *durable = op; durable != NULL; durable = durable->next) {
        store_apply(durable);
        node->durable_seq = durable->seq;
    }
    sim_disk_kick(sim, number);
    sim_net_flush(sim, number);
    while (op != NULL) {
        struct sim_replica *replica = op->context;
        struct tide__op *next = op->next;

        if (replica->core != NULL && op->epoch == replica->epoch)
            tide__group_persisted(replica->core, op, sim->now_ms);
        tide__op_free(op);
        op = next;
    }
    for (uint32_t group = 0; group < sim->options.groups; group++)
        sim_maybe_snapshot(&sim->replicas[number][group]);
}

/* What was being synced is there or not; what waits is gone. */
void sim_disk_lose(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];

    if (node->flight != NULL && sim_random(sim, 2) == 0)
        for (struct tide__op *op = node->flight; op != NULL; op = op->next)
            store_apply(op);
    ops_free(node->flight);
    ops_free(node->queue);
    node->flight = NULL;
    node->queue = NULL;
    node->queue_end = &node->queue;
}

bool sim_disk_holds(const struct sim_node *node, const struct sim_replica *replica)
{
    for (const struct tide__op *op = node->flight; op != NULL; op = op->next)
        if (op->context == replica)
            return true;
    for (const struct tide__op *op = node->queue; op != NULL; op = op->next)
        if (op->context == replica)
            return true;
    return false;
}

const struct tide__entry *sim_store_entry(const struct sim_store *store, uint64_t index)
{
    if (index < store->first || index - store->first >= store->count)
        return NULL;
    return &store->entries[index - store->first];
}

/* As db.c reads it: bounds, and a mark for each entry that starts a term or changes the members. */
void sim_store_load(const struct sim_store *store, struct tide__stored *out)
{
    uint64_t covered = store->snapshot == NULL ? 0 : store->snapshot->index;

    memset(out, 0, sizeof(*out));
    out->term = store->term;
    out->vote = store->vote;
    out->snapshot = store->snapshot == NULL ? NULL : tide__snapshot_ref(store->snapshot);
    out->first = store->count > 0 ? store->first : covered + 1;
    out->last = out->first + store->count - 1;
    for (size_t i = 0; i < store->count; i++) {
        const struct tide__entry *entry = &store->entries[i];

        if (i > 0 && entry->term == store->entries[i - 1].term && entry->type != TIDE__ENTRY_CHANGE)
            continue;
        out->marks =
            sim_grow(out->marks, &out->mark_capacity, out->mark_count + 1, sizeof(*out->marks));
        out->marks[out->mark_count++] = (struct tide__mark){
            store->first + i, entry->term, entry->type,
            entry->type == TIDE__ENTRY_CHANGE ? tide__payload_ref(entry->payload) : NULL};
    }
}
