/* One turn of a loop: what callers want, new proposals, what became durable, ticks, then a piece of
 * each group's replay. Proposals come before what became durable, since that is applied here: the
 * log has its next batch before the application has its turn. */
#include "node_private.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/file.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/base/metrics.h"

#include <stdlib.h>

#define TICK_MS 20
#define DISK_CHECK_MS 200
/* Proposals are packed into entries up to this size; a larger one has an entry of its own. */
#define ENTRY_BYTES_MAX ((size_t)256 << 10)
#define ENTRIES_PER_SUBMIT_MAX 64
/* What a group applies before another has its turn. */
#define APPLY_BYTES_MAX ((uint64_t)4 << 20)
/* The single replica of each group, until there are more. */
#define REPLICA_ID 1
/* Of the queues: proposals of a burst go back to the system. */
#define ITEMS_KEEP 4096

TIDE_COUNTER(applied_total, "tide_raft_applied_entries_total", "", "Entries applied.");
TIDE_COUNTER(restarts_total, "tide_raft_group_restarts_total", "",
             "Groups opened again after the log had failed.");

void tide__loop_register_metrics(void)
{
    tide_metric_register(&applied_total);
    tide_metric_register(&restarts_total);
}

static uint64_t now_ms(void)
{
    return (uint64_t)tide_clock_mono_ms();
}

/* ---- Hooks of the log; on its writer thread ---- */

static void wal_done(void *context, struct tide__op *op)
{
    struct tide_raft_group *group = op->context;
    struct tide__loop *loop = group->loop;

    (void)context;
    pthread_mutex_lock(&loop->lock);
    *loop->done_next = op;
    loop->done_next = &op->next;
    pthread_mutex_unlock(&loop->lock);
}

static void wal_flushed(void *context)
{
    struct tide_raft_node *node = context;

    for (uint32_t i = 0; i < node->loop_count; i++) {
        struct tide__loop *loop = &node->loops[i];

        pthread_mutex_lock(&loop->lock);
        if (loop->done != NULL)
            pthread_cond_signal(&loop->wake);
        pthread_mutex_unlock(&loop->lock);
    }
}

static void wal_broken(void *context, enum tide_err err)
{
    struct tide_raft_node *node = context;

    atomic_store_explicit(&node->write_err, (int)err, memory_order_relaxed);
    for (uint32_t i = 0; i < node->loop_count; i++) {
        struct tide__loop *loop = &node->loops[i];

        pthread_mutex_lock(&loop->lock);
        loop->broken = true;
        loop->recovered = false;
        pthread_cond_signal(&loop->wake);
        pthread_mutex_unlock(&loop->lock);
    }
}

static void wal_recovered(void *context)
{
    struct tide_raft_node *node = context;

    atomic_store_explicit(&node->write_err, (int)TIDE_OK, memory_order_relaxed);
    for (uint32_t i = 0; i < node->loop_count; i++) {
        struct tide__loop *loop = &node->loops[i];

        pthread_mutex_lock(&loop->lock);
        loop->recovered = true;
        pthread_cond_signal(&loop->wake);
        pthread_mutex_unlock(&loop->lock);
    }
}

const struct tide__wal_hooks tide__loop_wal_hooks = {
    .done = wal_done, .flushed = wal_flushed, .broken = wal_broken, .recovered = wal_recovered};

/* ---- Queues of a group ---- */

static void pending_pop(struct tide_raft_group *group)
{
    tide__payload_unref(group->pending[group->pending_front].payload);
    group->pending_front++;
    if (group->pending_front == group->pending_count)
        group->pending_front = group->pending_count = 0;
}

/* The tokens of the entry's items will not be used. */
static void pending_fail(struct tide_raft_group *group, enum tide_err err)
{
    struct tide__payload *payload = group->pending[group->pending_front].payload;

    /* The bytes may still be on their way to the disk: they stay until the last reference goes. */
    for (uint32_t i = 0; i < payload->item_count; i++) {
        struct tide__item item = {.token = payload->items[i].token};

        tide__queue_bytes_add(group, -(int64_t)payload->items[i].data.len);
        tide__proposals_failed(group, &item, 1, err);
    }
    pending_pop(group);
}

static enum tide_err pending_add(struct tide_raft_group *group, uint64_t index, uint64_t term,
                                 struct tide__payload *payload)
{
    size_t live = group->pending_count - group->pending_front;
    enum tide_err err;

    /* Moving the live ones down when they are few keeps both time and memory linear. */
    if (group->pending_front > 0 && live <= group->pending_count / 2) {
        memmove(group->pending, group->pending + group->pending_front,
                live * sizeof(*group->pending));
        group->pending_front = 0;
        group->pending_count = live;
    }
    err = tide_mem_grow((void **)&group->pending, &group->pending_capacity,
                        group->pending_count + 1, sizeof(*group->pending));
    if (err == TIDE_OK)
        group->pending[group->pending_count++] =
            (struct tide__pending){index, term, tide__payload_ref(payload)};
    return err;
}

static void sizes_add(struct tide_raft_group *group, uint64_t index, size_t bytes)
{
    size_t live = group->sizes_count - group->sizes_front;

    if (live == 0)
        group->sizes_first = index;
    if (group->sizes_front > 0 && live <= group->sizes_count / 2) {
        memmove(group->sizes, group->sizes + group->sizes_front, live * sizeof(*group->sizes));
        group->sizes_front = 0;
        group->sizes_count = live;
    }
    if (tide_mem_grow((void **)&group->sizes, &group->sizes_capacity, group->sizes_count + 1,
                      sizeof(*group->sizes)) != TIDE_OK)
        return; /* The statistic is off; nothing else is. */
    group->sizes[group->sizes_count++] = (uint32_t)bytes;
    atomic_fetch_add_explicit(&group->log_bytes, (uint32_t)bytes, memory_order_relaxed);
}

static void sizes_drop(struct tide_raft_group *group, uint64_t index)
{
    uint64_t bytes = 0;

    while (group->sizes_front < group->sizes_count && group->sizes_first <= index) {
        bytes += group->sizes[group->sizes_front++];
        group->sizes_first++;
    }
    atomic_fetch_sub_explicit(&group->log_bytes, bytes, memory_order_relaxed);
}

/* ---- Hooks of a group ---- */

static void hook_persist(void *context, struct tide__op *op)
{
    struct tide_raft_group *group = context;
    struct tide__loop *loop = group->loop;

    op->seq = ++loop->seq;
    op->next = NULL;
    *loop->out_next = op;
    loop->out_next = &op->next;
}

static void hook_send(void *context, const struct tide__message *message, uint64_t gate)
{
    /* A single replica has no one to talk to. */
    (void)context;
    (void)gate;
    TIDE_ASSERT(message->to == REPLICA_ID);
}

static enum tide_err hook_load(void *context, uint64_t index, struct tide__entry *out)
{
    struct tide_raft_group *group = context;
    struct tide_raft_node *node = group->node;
    struct tide_diag diag = {""};
    enum tide_err err = TIDE_END;

    for (int attempt = 0; err == TIDE_END && attempt < 2; attempt++) {
        /* A reader sees what was there when it was opened: open one anew for later entries. */
        if (group->reader == NULL || attempt > 0 || tide__db_reader_index(group->reader) != index) {
            tide__wal_reader_close(node->wal, group->reader);
            group->reader = NULL;
            err = tide__wal_reader_open(node->wal, group->life, group->id, index, &group->reader);
            if (err != TIDE_OK)
                return err;
        }
        err = tide__db_reader_next(group->reader, out, &diag);
    }
    if (err == TIDE_END) {
        tide_diag_set(&diag, "raft log: group %u: entry %llu is missing", (unsigned)group->id,
                      (unsigned long long)index);
        err = TIDE_ERR_CORRUPT;
    }
    if (err != TIDE_OK) {
        tide_log(TIDE_LOG_ERROR, "raft", "an entry cannot be read", "group=%u reason=%s",
                 (unsigned)group->id, diag.text);
        tide_diag_set(group->diag, "%s", diag.text);
    }
    return err;
}

static void apply_item(struct tide_raft_group *group, uint64_t index, struct tide_slice item,
                       void *token)
{
    enum tide_err err = group->app.apply(group->app.context, index, item, token);

    if (err == TIDE_OK)
        return;
    tide_log(TIDE_LOG_ERROR, "raft", "an entry cannot be applied, stopping",
             "group=%u index=%llu error=%s", (unsigned)group->id, (unsigned long long)index,
             tide_err_text(err));
    abort();
}

static void apply_whole(struct tide_raft_group *group, uint64_t index,
                        const struct tide__payload *payload)
{
    struct tide_reader reader =
        tide_reader(payload->part_count > 0 ? payload->parts[0] : (struct tide_slice){NULL, 0});
    struct tide_slice item;
    enum tide_err err;

    while ((err = tide__payload_next(&reader, &item)) == TIDE_OK)
        apply_item(group, index, item, NULL);
    if (err == TIDE_END)
        return;
    /* Its checksum was right: it was written so. */
    tide_log(TIDE_LOG_ERROR, "raft", "an entry cannot be taken apart, stopping",
             "group=%u index=%llu", (unsigned)group->id, (unsigned long long)index);
    abort();
}

static void hook_apply(void *context, uint64_t index, const struct tide__entry *entry)
{
    struct tide_raft_group *group = context;
    struct tide__payload *payload = entry->payload;
    bool ours = false;

    while (group->pending_front < group->pending_count) {
        const struct tide__pending *head = &group->pending[group->pending_front];

        if (head->index > index)
            break;
        ours = head->index == index && head->term == entry->term;
        if (ours)
            break;
        pending_fail(group, TIDE_ERR_UNAVAILABLE);
    }
    TIDE_ASSERT(index == group->applied + 1);
    group->applied = index;
    group->applied_some = true;
    tide_metric_add(&applied_total, 1);
    sizes_add(group, index, payload->bytes);
    if (entry->type != TIDE__ENTRY_COMMAND)
        return;
    if (payload->item_count == 0) {
        apply_whole(group, index, payload);
        return;
    }
    for (uint32_t i = 0; i < payload->item_count; i++) {
        const struct tide__item *item = &payload->items[i];

        if (ours)
            tide__queue_bytes_add(group, -(int64_t)item->data.len);
        apply_item(group, index, tide_buf_view(&item->data), ours ? item->token : NULL);
    }
    if (ours)
        pending_pop(group);
}

/* Also for restore: snapshots come from other replicas only. */
static void hook_fetch(void *context, struct tide__snapshot *snapshot)
{
    (void)context;
    TIDE_ASSERT(snapshot == NULL);
}

static void hook_dead(void *context, enum tide_err err, const char *reason)
{
    struct tide_raft_group *group = context;

    tide_log(TIDE_LOG_ERROR, "raft", "a group failed", "group=%u error=%s reason=%s",
             (unsigned)group->id, tide_err_text(err), reason);
    group->dead = true;
    pthread_mutex_lock(&group->lock);
    if (err == TIDE_ERR_CORRUPT && group->failed == TIDE_OK)
        group->failed = TIDE_ERR_CORRUPT;
    pthread_cond_broadcast(&group->changed);
    pthread_mutex_unlock(&group->lock);
}

/* ---- Life of a group on its loop ---- */

static void waiting_take(struct tide_raft_group *group)
{
    pthread_mutex_lock(&group->lock);
    struct tide__item *items = group->waiting;
    size_t capacity = group->waiting_capacity;

    group->taken_count = group->waiting_count;
    group->waiting = group->taken;
    group->waiting_capacity = group->taken_capacity;
    group->waiting_count = 0;
    pthread_mutex_unlock(&group->lock);
    group->taken = items;
    group->taken_capacity = capacity;
}

static void call_end(struct tide__loop *loop, struct tide__call *call, enum tide_err err)
{
    pthread_mutex_lock(&loop->lock);
    call->err = err;
    call->done = true;
    pthread_cond_broadcast(&loop->call_done);
    pthread_mutex_unlock(&loop->lock);
}

/* Fails all that waits, except what is handed in after this. */
static void group_fail_all(struct tide_raft_group *group, enum tide_err err)
{
    while (group->pending_front < group->pending_count)
        pending_fail(group, err);
    waiting_take(group);
    tide__proposals_failed(group, group->taken, group->taken_count, err);
    group->taken_count = 0;
    if (group->checkpoint != NULL)
        call_end(group->loop, group->checkpoint, err);
    group->checkpoint = NULL;
}

static void group_shut(struct tide_raft_group *group, enum tide_err err)
{
    tide__wal_reader_close(group->node->wal, group->reader);
    group->reader = NULL;
    tide__group_close(group->core);
    group->core = NULL;
    group->has_work = false;
    atomic_store_explicit(&group->leads, false, memory_order_relaxed);
    group_fail_all(group, err);
}

/* After each call into the core: what others may see of it, and what it asks for. */
static void group_after(struct tide_raft_group *group)
{
    struct tide__group_status status;

    tide__group_status(group->core, &status);
    atomic_store_explicit(&group->term, status.term, memory_order_relaxed);
    atomic_store_explicit(&group->last_index, status.last_index, memory_order_relaxed);
    atomic_store_explicit(&group->commit_index, status.commit_index, memory_order_relaxed);
    atomic_store_explicit(&group->applied_index, group->applied, memory_order_relaxed);
    atomic_store_explicit(&group->checkpoint_index, status.snapshot_index, memory_order_relaxed);
    atomic_store_explicit(&group->leads, status.state == TIDE__LEADER, memory_order_relaxed);
    group->has_work = group->applied < status.commit_index &&
                      group->applied < status.stored_index && !group->dead;
    while (status.state != TIDE__LEADER && group->pending_front < group->pending_count)
        pending_fail(group, TIDE_ERR_UNAVAILABLE); /* Another leader decides about them. */
    if (group->applied_some) {
        group->applied_some = false;
        if (group->app.applied != NULL)
            group->app.applied(group->app.context, group->applied);
    }
    if (!group->has_work && group->reader != NULL) {
        tide__wal_reader_close(group->node->wal, group->reader);
        group->reader = NULL;
    }
    if (status.state == TIDE__LEADER && group->applied >= group->ready_index) {
        pthread_mutex_lock(&group->lock);
        if (!group->ready) {
            group->ready = true;
            pthread_cond_broadcast(&group->changed);
        }
        pthread_mutex_unlock(&group->lock);
    }
    if (group->dead) {
        enum tide_err failed = group->failed; /* Set by this thread only. */

        if (failed == TIDE_ERR_CORRUPT && group->ready) {
            tide_log(TIDE_LOG_ERROR, "raft", "the log is corrupt, stopping", "group=%u",
                     (unsigned)group->id);
            abort();
        }
        group_shut(group, failed == TIDE_OK ? TIDE_ERR_UNAVAILABLE : failed);
        if (failed == TIDE_OK)
            tide__wal_fail(group->node->wal, group->life);
    }
}

static enum tide_err group_start(struct tide_raft_group *group, const struct tide__stored *stored,
                                 struct tide_diag *diag)
{
    static const struct tide__members self = {1, {{REPLICA_ID, TIDE__ROLE_VOTER}}};
    struct tide__group_options options = {
        .hooks = {.context = group,
                  .persist = hook_persist,
                  .send = hook_send,
                  .load = hook_load,
                  .apply = hook_apply,
                  .fetch = hook_fetch,
                  .restore = hook_fetch,
                  .dead = hook_dead},
        .id = group->id,
        .replica = REPLICA_ID,
        .rules = TIDE__RULES_ALL,
        .seed = group->id,
        .epoch = group->life,
        .applied = group->applied,
        .apply_bytes_max = APPLY_BYTES_MAX,
    };
    enum tide_err err;

    if (stored->last < group->applied)
        return tide_diag_err(diag, TIDE_ERR_CORRUPT,
                             "raft log: group %u: entries up to %llu were applied, but only those "
                             "up to %llu are there",
                             (unsigned)group->id, (unsigned long long)group->applied,
                             (unsigned long long)stored->last);
    group->dead = false;
    group->diag = diag;
    err = tide__group_open(&options, stored, &self, now_ms(), &group->core, diag);
    group->diag = NULL;
    if (err == TIDE_OK) {
        struct tide__group_status status;

        tide__group_status(group->core, &status);
        group->ready_index = status.last_index;
        group_after(group);
    }
    return err;
}

static void group_reopen(struct tide_raft_group *group)
{
    struct tide_raft_node *node = group->node;
    struct tide__stored stored = {0};
    struct tide_diag diag = {""};
    enum tide_err err;

    group->life = tide__wal_life(node->wal);
    err = tide__wal_load(node->wal, group->life, group->id, &stored, &diag);
    if (err == TIDE_OK) {
        err = group_start(group, &stored, &diag);
        tide__stored_deinit(&stored);
    }
    if (err == TIDE_OK) {
        tide_metric_add(&restarts_total, 1);
        return;
    }
    tide_log(TIDE_LOG_ERROR, "raft", "a group cannot be opened again", "group=%u reason=%s",
             (unsigned)group->id, diag.text);
    if (err == TIDE_ERR_CORRUPT)
        abort();
    tide__wal_fail(node->wal, group->life); /* And try once more. */
}

/* ---- Events of a turn ---- */

/* Packs items from *next on into one entry. */
static struct tide__payload *pack_entry(struct tide_raft_group *group, size_t *next)
{
    size_t start = *next;
    size_t end = start;
    size_t bytes = 0;
    struct tide__payload *payload;

    while (end < group->taken_count) {
        size_t more = tide__payload_item_bytes(group->taken[end].data.len);

        if (end > start && bytes + more > ENTRY_BYTES_MAX)
            break;
        bytes += more;
        end++;
    }
    payload = tide__payload_of_items(group->taken + start, (uint32_t)(end - start));
    if (payload == NULL)
        tide__proposals_failed(group, group->taken + start, end - start, TIDE_ERR_NO_MEMORY);
    *next = end;
    return payload;
}

/* Submits the payloads. On failure their items fail. */
static void submit_some(struct tide_raft_group *group, struct tide__payload **payloads,
                        uint32_t count)
{
    struct tide__payload *kept[ENTRIES_PER_SUBMIT_MAX];
    struct tide__group_status status;
    enum tide_err err = TIDE_OK;
    uint64_t index;

    tide__group_status(group->core, &status);
    for (uint32_t i = 0; i < count; i++)
        kept[i] = tide__payload_ref(payloads[i]);
    err = tide__group_submit(group->core, payloads, count, now_ms(), &index);
    if (err != TIDE_OK)
        for (uint32_t i = 0; i < count; i++)
            tide__payload_unref(payloads[i]);
    for (uint32_t i = 0; i < count; i++) {
        bool pends =
            err == TIDE_OK && pending_add(group, index + i, status.term, kept[i]) == TIDE_OK;

        for (uint32_t j = 0; !pends && j < kept[i]->item_count; j++) {
            struct tide__item item = {.token = kept[i]->items[j].token};

            tide__queue_bytes_add(group, -(int64_t)kept[i]->items[j].data.len);
            tide__proposals_failed(group, &item, 1, TIDE_ERR_UNAVAILABLE);
        }
        tide__payload_unref(kept[i]);
    }
}

static void group_submit_waiting(struct tide_raft_group *group)
{
    size_t next = 0;

    waiting_take(group);
    while (next < group->taken_count && group->core != NULL) {
        struct tide__payload *payloads[ENTRIES_PER_SUBMIT_MAX];
        uint32_t count = 0;

        while (next < group->taken_count && count < ENTRIES_PER_SUBMIT_MAX) {
            payloads[count] = pack_entry(group, &next);
            if (payloads[count] != NULL)
                count++;
        }
        if (count > 0)
            submit_some(group, payloads, count);
        group_after(group);
    }
    if (next < group->taken_count) {
        enum tide_err err = tide__node_write_err(group->node);

        tide__proposals_failed(group, group->taken + next, group->taken_count - next,
                               err == TIDE_OK ? TIDE_ERR_UNAVAILABLE : err);
    }
    group->taken_count = 0;
    if (group->taken_capacity > ITEMS_KEEP) {
        tide_mem_free(group->taken);
        group->taken = NULL;
        group->taken_capacity = 0;
    }
}

static void op_ended(struct tide__op *op)
{
    struct tide_raft_group *group = op->context;

    /* A failed one ends the life of the log, which ends the group: nothing to do for it here. */
    if (op->err == TIDE_OK && group->core != NULL && op->epoch == group->life) {
        struct tide__call *checkpoint = op->kind == TIDE__OP_SNAPSHOT ? group->checkpoint : NULL;

        tide__group_persisted(group->core, op, now_ms());
        if (op->kind == TIDE__OP_SNAPSHOT) {
            group->checkpoint = NULL;
            sizes_drop(group, op->snapshot->index);
        }
        group_after(group);
        if (checkpoint != NULL) /* Last: its caller may look at the statistics. */
            call_end(group->loop, checkpoint, TIDE_OK);
    }
    tide__op_free(op);
}

static void call_run(struct tide__loop *loop, struct tide__call *call)
{
    struct tide_raft_group *group = call->group;
    enum tide_err err = TIDE_OK;

    switch (call->kind) {
    case TIDE__CALL_ATTACH:
        /* Also when it fails: operations of its may be on their way. */
        group->attached = true;
        group->next = loop->groups;
        loop->groups = group;
        /* A life that ended meanwhile has been announced already: it must not be waited for. */
        err = group->life == tide__wal_life(loop->node->wal)
                  ? group_start(group, call->stored, call->diag)
                  : TIDE_ERR_UNAVAILABLE;
        if (err != TIDE_OK) {
            group->failed = err;
            group_shut(group, err);
        }
        break;
    case TIDE__CALL_RUN:
        call->fn(call->context, group->applied);
        break;
    case TIDE__CALL_CHECKPOINT:
        if (group->core == NULL) {
            err = TIDE_ERR_UNAVAILABLE;
            break;
        }
        if (group->checkpoint != NULL) {
            err = TIDE_ERR_BUSY;
            break;
        }
        err = tide__group_snapshot(group->core, call->index, call->manifest, 0);
        if (err == TIDE_OK) {
            group->checkpoint = call;
            return; /* Ends when it is durable. */
        }
        break;
    }
    call_end(loop, call, err);
}

static void check_disk(struct tide__loop *loop)
{
    struct tide_raft_node *node = loop->node;
    uint64_t free_bytes;
    bool full, was_full;

    if (tide__wal_free_bytes(node->wal, &free_bytes) != TIDE_OK)
        return;
    full = free_bytes < node->options.disk_free_bytes_min;
    was_full = atomic_exchange_explicit(&node->disk_full, full, memory_order_relaxed);
    if (full != was_full)
        tide_log(TIDE_LOG_WARN, "raft",
                 full ? "free disk space is under the limit, writes are refused"
                      : "free disk space is over the limit again",
                 "free_bytes=%llu limit_bytes=%llu", (unsigned long long)free_bytes,
                 (unsigned long long)node->options.disk_free_bytes_min);
}

/* What a turn works on, taken under the lock. */
struct turn {
    struct tide__op *done;
    struct tide_raft_group *ready;
    struct tide__call *calls;
    bool broken;
    bool recovered;
    bool stopping;
};

static bool has_work(const struct tide__loop *loop)
{
    for (const struct tide_raft_group *group = loop->groups; group != NULL; group = group->next)
        if (group->has_work)
            return true;
    return false;
}

static void turn_take(struct tide__loop *loop, bool wait, struct turn *turn)
{
    pthread_mutex_lock(&loop->lock);
    if (wait && loop->done == NULL && loop->ready == NULL && loop->calls == NULL && !loop->broken &&
        !loop->recovered && !loop->stopping) {
        int64_t until_ns = tide_clock_mono_ns() + (int64_t)TICK_MS * 1000000;
        struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};

        (void)pthread_cond_timedwait(&loop->wake, &loop->lock, &until);
    }
    *turn = (struct turn){loop->done,   loop->ready,     loop->calls,
                          loop->broken, loop->recovered, loop->stopping};
    loop->done = NULL;
    loop->done_next = &loop->done;
    loop->ready = NULL;
    for (struct tide_raft_group *group = turn->ready; group != NULL; group = group->next_ready)
        group->listed = false;
    loop->calls = NULL;
    loop->calls_next = &loop->calls;
    loop->broken = false;
    loop->recovered = false;
    pthread_mutex_unlock(&loop->lock);
}

static void hand_out(struct tide__loop *loop)
{
    struct tide__op *first = loop->out;
    struct tide__op *last = first;

    if (first == NULL)
        return;
    while (last->next != NULL)
        last = last->next;
    loop->out = NULL;
    loop->out_next = &loop->out;
    tide__wal_submit(loop->node->wal, first, last);
}

static void turn_run(struct tide__loop *loop, struct turn *turn, bool tick)
{
    struct tide_raft_group *ready = turn->ready;

    if (turn->broken)
        for (struct tide_raft_group *group = loop->groups; group != NULL; group = group->next)
            group_shut(group, tide__node_write_err(loop->node) == TIDE_ERR_DISK_FULL
                                  ? TIDE_ERR_DISK_FULL
                                  : TIDE_ERR_UNAVAILABLE);
    if (turn->recovered)
        for (struct tide_raft_group *group = loop->groups; group != NULL; group = group->next)
            if (group->core == NULL && group->failed == TIDE_OK)
                group_reopen(group);
    while (turn->calls != NULL) {
        struct tide__call *call = turn->calls;

        turn->calls = call->next;
        call_run(loop, call);
    }
    while (ready != NULL) {
        struct tide_raft_group *group = ready;

        ready = group->next_ready;
        group_submit_waiting(group);
    }
    hand_out(loop);
    while (turn->done != NULL) {
        struct tide__op *op = turn->done;

        turn->done = op->next;
        op_ended(op);
    }
    for (struct tide_raft_group *group = loop->groups; group != NULL; group = group->next) {
        if (group->core == NULL)
            continue;
        if (tick) {
            tide__group_tick(group->core, now_ms());
            group_after(group);
        }
        if (group->core != NULL && group->has_work) {
            (void)tide__group_work(group->core, now_ms());
            group_after(group);
        }
    }
    hand_out(loop);
}

static void *loop_main(void *context)
{
    struct tide__loop *loop = context;
    uint64_t tick_ms = 0, disk_ms = 0;
    struct turn turn;

    do {
        uint64_t now;
        bool tick;

        turn_take(loop, !has_work(loop), &turn);
        now = now_ms();
        tick = now - tick_ms >= TICK_MS;
        if (tick)
            tick_ms = now;
        if (loop->number == 0 && now - disk_ms >= DISK_CHECK_MS) {
            disk_ms = now;
            check_disk(loop);
        }
        turn_run(loop, &turn, tick);
    } while (!turn.stopping);
    for (struct tide_raft_group *group = loop->groups; group != NULL; group = group->next)
        group_shut(group, TIDE_ERR_UNAVAILABLE);
    return NULL;
}

/* ---- From other threads ---- */

enum tide_err tide__loop_start(struct tide_raft_node *node, uint32_t number)
{
    struct tide__loop *loop = &node->loops[number];
    pthread_condattr_t attr;

    loop->node = node;
    loop->number = number;
    loop->done_next = &loop->done;
    loop->calls_next = &loop->calls;
    loop->out_next = &loop->out;
    pthread_mutex_init(&loop->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&loop->wake, &attr);
    pthread_cond_init(&loop->call_done, &attr);
    pthread_condattr_destroy(&attr);
    node->loop_count = number + 1;
    loop->started = pthread_create(&loop->thread, NULL, loop_main, loop) == 0;
    return loop->started ? TIDE_OK : TIDE_ERR_NO_MEMORY;
}

void tide__loop_stop(struct tide__loop *loop)
{
    struct turn rest;

    pthread_mutex_lock(&loop->lock);
    loop->stopping = true;
    pthread_cond_signal(&loop->wake);
    pthread_mutex_unlock(&loop->lock);
    if (loop->started)
        pthread_join(loop->thread, NULL);
    pthread_mutex_lock(&loop->lock);
    loop->stopped = true;
    pthread_mutex_unlock(&loop->lock);
    /* What came after its last turn. */
    turn_take(loop, false, &rest);
    while (rest.calls != NULL) {
        struct tide__call *call = rest.calls;

        rest.calls = call->next;
        call_end(loop, call, TIDE_ERR_UNAVAILABLE);
    }
    for (struct tide_raft_group *group = loop->groups; group != NULL; group = group->next)
        group_fail_all(group, TIDE_ERR_UNAVAILABLE);
    while (rest.done != NULL) {
        struct tide__op *op = rest.done;

        rest.done = op->next;
        tide__op_free(op);
    }
}

void tide__loop_deinit(struct tide__loop *loop)
{
    while (loop->groups != NULL) {
        struct tide_raft_group *group = loop->groups;

        loop->groups = group->next;
        pthread_mutex_destroy(&group->lock);
        pthread_cond_destroy(&group->changed);
        tide_mem_free(group->waiting);
        tide_mem_free(group->taken);
        tide_mem_free(group->pending);
        tide_mem_free(group->sizes);
        tide_mem_free(group);
    }
    pthread_mutex_destroy(&loop->lock);
    pthread_cond_destroy(&loop->wake);
    pthread_cond_destroy(&loop->call_done);
}

void tide__loop_wake_group(struct tide__loop *loop, struct tide_raft_group *group)
{
    pthread_mutex_lock(&loop->lock);
    if (!group->listed) {
        group->listed = true;
        group->next_ready = loop->ready;
        loop->ready = group;
        pthread_cond_signal(&loop->wake);
    }
    pthread_mutex_unlock(&loop->lock);
}

enum tide_err tide__loop_call(struct tide__loop *loop, struct tide__call *call)
{
    TIDE_ASSERT(!pthread_equal(pthread_self(), loop->thread)); /* It would wait for itself. */
    call->next = NULL;
    pthread_mutex_lock(&loop->lock);
    if (loop->stopping) {
        pthread_mutex_unlock(&loop->lock);
        return TIDE_ERR_UNAVAILABLE;
    }
    *loop->calls_next = call;
    loop->calls_next = &call->next;
    pthread_cond_signal(&loop->wake);
    while (!call->done)
        pthread_cond_wait(&loop->call_done, &loop->lock);
    pthread_mutex_unlock(&loop->lock);
    return call->err;
}
