/* How one raft_step() goes: the library answers what changed; here each change becomes an operation
 * for the log or a message, and then all that follows is run: the barrier of a new leader, applying
 * what is committed, telling the library of committed configurations.
 *
 * What the library owns in 0.22.1 (found by reading it; it changes in later versions, hence the
 * check of the exact one):
 * - START, CONFIGURATION, SNAPSHOT and PERSISTED_SNAPSHOT take over the configuration.
 * - START on failure frees the array of entries.
 * - A received AppendEntries: it frees entries[0].batch unless it hands the entries back. We give
 * it one byte for that and keep the payloads by ourselves.
 * - SUBMIT frees nothing. The no-op of a new leader comes in a raft_malloc()ed buffer that is ours.
 * - A received InstallSnapshot: it takes configuration and data, and either frees them or hands
 *   them back; while an install is under way it loses them, so those messages never reach it.
 * - Messages handed out are valid until the next step. */
#include "rules_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define LIBRARY_VERSION 2201
#define MAX_INFLIGHT_ENTRIES 64
/* Fetching a snapshot takes as long as its bulk takes. */
#define INSTALL_TIMEOUT_MS 600000
#define CACHE_CAPACITY_MIN 64

/* What an event brought with it, to find again in the update. */
struct step_input {
    struct tide__entry *entries; /* Payloads of the entries that may be handed back … */
    uint64_t first;              /* … the first of which has this index. */
    uint32_t count;
};

bool tide__group_library_is_right(void)
{
    return raft_version_number() == LIBRARY_VERSION;
}

enum tide_err tide__group_err(int raft_code)
{
    switch (raft_code) {
    case 0:
        return TIDE_OK;
    case RAFT_NOMEM:
        return TIDE_ERR_NO_MEMORY;
    case RAFT_NOTLEADER:
    case RAFT_LEADERSHIPLOST:
    case RAFT_CANTCHANGE:
    case RAFT_BUSY:
        return TIDE_ERR_UNAVAILABLE;
    case RAFT_MALFORMED:
    case RAFT_CORRUPT:
        return TIDE_ERR_CORRUPT;
    default:
        return TIDE_ERR_INVALID;
    }
}

/* ---- Small objects ---- */

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

static struct tide__op *op_new(struct tide__group *group, enum tide__op_kind kind, uint32_t entries)
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

void tide__group_kill(struct tide__group *group, enum tide_err err, const char *reason)
{
    if (group->dead)
        return;
    group->dead = true;
    group->dead_err = err;
    if (!group->opening)
        group->hooks.dead(group->hooks.context, err, reason);
}

/* ---- The cache of entries ---- */

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

static enum tide_err cache_reserve(struct tide__group *group, size_t count)
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

static void cache_drop_from(struct tide__group *group, uint64_t index)
{
    while (group->cache_count > 0 && group->cache_first + group->cache_count > index) {
        struct tide__entry *last = cache_at(group, --group->cache_count);

        group->cache_bytes -= last->payload->bytes;
        tide__payload_unref(last->payload);
    }
    if (group->cache_count == 0)
        group->cache_first = index;
}

/* Takes over the payload's reference. Room has been reserved. */
static void cache_add(struct tide__group *group, struct tide__entry entry)
{
    *cache_at(group, group->cache_count++) = entry;
    group->cache_bytes += entry.payload->bytes;
}

/* Entries that are applied and durable can be read back: they go, down to the bound. */
static void cache_evict(struct tide__group *group)
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

static uint64_t last_index(const struct tide__group *group)
{
    /* The getter reads only; its prototype does not say so. */
    return raft_last_index((struct raft *)(uintptr_t)&group->raft);
}

/* conf is borrowed. */
static enum tide_err confs_add(struct tide__group *group, uint64_t index,
                               struct tide__payload *conf)
{
    enum tide_err err = tide_mem_grow((void **)&group->confs, &group->conf_capacity,
                                      group->conf_count + 1, sizeof(*group->confs));

    if (err == TIDE_OK)
        group->confs[group->conf_count++] = (struct tide__conf_at){index, tide__payload_ref(conf)};
    return err;
}

/* Forgets those that no snapshot after index can ask for. */
static void confs_drop_before(struct tide__group *group, uint64_t index)
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

/* All there is to know about configurations is the one of this snapshot. */
static enum tide_err confs_reset(struct tide__group *group, const struct tide__snapshot *snapshot)
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
    err = confs_add(group, snapshot->conf_index, conf);
    group->conf_told = group->conf_count;
    tide__payload_unref(conf);
    return err;
}

static enum tide_err metadata_set(const struct tide__snapshot *snapshot,
                                  struct raft_snapshot_metadata *out)
{
    out->index = snapshot->index;
    out->term = snapshot->term;
    out->configuration_index = snapshot->conf_index;
    return tide__group_err(tide__conf_to_raft(tide_buf_view(&snapshot->conf), &out->configuration));
}

/* ---- One step ---- */

static enum tide_err persist_meta(struct tide__group *group)
{
    struct tide__op *op = op_new(group, TIDE__OP_META, 0);

    if (op == NULL)
        return TIDE_ERR_NO_MEMORY;
    op->term = group->raft.current_term;
    op->vote = group->raft.voted_for;
    group->hooks.persist(group->hooks.context, op);
    group->gate = op->seq;
    return TIDE_OK;
}

/* The payload of an entry that the library hands out: one that we gave it, or its own no-op. */
static struct tide__payload *entry_payload(const struct step_input *input, uint64_t index,
                                           const struct raft_entry *entry)
{
    if (input->count == 0) {
        TIDE_ASSERT(entry->type == RAFT_BARRIER);
        return tide__payload_copy((struct tide_slice){NULL, 0});
    }
    TIDE_ASSERT(index >= input->first);
    TIDE_ASSERT(index - input->first < input->count);
    TIDE_ASSERT(input->entries[index - input->first].term == entry->term);
    return tide__payload_ref(input->entries[index - input->first].payload);
}

static enum tide_err persist_entries(struct tide__group *group, const struct raft_update *update,
                                     const struct step_input *input, uint64_t last_before)
{
    uint64_t first = update->entries.index;
    struct tide__op *op = op_new(group, TIDE__OP_APPEND, update->entries.n);
    bool changes = false;
    enum tide_err err = TIDE_ERR_NO_MEMORY;

    if (op == NULL)
        return err;
    op->first = first;
    op->prev_term = first > 1 ? tide__group_term_of(group, first - 1) : 0;
    op->truncates = first <= last_before;
    cache_drop_from(group, first);
    if (cache_reserve(group, update->entries.n) != TIDE_OK)
        goto fail;
    if (op->truncates) {
        err = tide_mem_grow((void **)&group->cuts, &group->cut_capacity, group->cut_count + 1,
                            sizeof(*group->cuts));
        if (err != TIDE_OK)
            goto fail;
    }
    for (uint32_t i = 0; i < update->entries.n; i++) {
        const struct raft_entry *from = &update->entries.batch[i];
        struct tide__entry entry = {from->term, (enum tide__entry_type)from->type, NULL};

        entry.payload = entry_payload(input, first + i, from);
        if (entry.payload == NULL) {
            err = TIDE_ERR_NO_MEMORY;
            goto fail;
        }
        op->entries[op->entry_count++] = entry;
        tide__payload_ref(entry.payload);
        cache_add(group, entry);
        changes = changes || entry.type == TIDE__ENTRY_CHANGE;
    }
    bool truncates = op->truncates;

    group->hooks.persist(group->hooks.context, op);
    if (truncates)
        group->cuts[group->cut_count++] = (struct tide__cut){op->seq, first};
    if (tide__rule(group, TIDE__RULE_SINGLE) && changes && group->raft.state == RAFT_LEADER)
        group->gate = op->seq;
    return TIDE_OK;

fail:
    tide__op_free(op);
    return err;
}

/* The library wants to start from a peer's snapshot. */
static enum tide_err start_install(struct tide__group *group, struct raft_update *update)
{
    struct raft_snapshot_metadata *metadata = &update->snapshot.metadata;
    struct tide_slice manifest = {update->snapshot.chunk.base, update->snapshot.chunk.len};
    struct tide__snapshot *snapshot = NULL;
    struct raft_buffer conf;
    int code = raft_configuration_encode(&metadata->configuration, &conf);

    if (code == 0) {
        struct tide_slice conf_bytes = {conf.base, conf.len};

        snapshot = tide__snapshot_new(metadata->index, metadata->term,
                                      metadata->configuration_index, conf_bytes, manifest);
        raft_free(conf.base);
    }
    raft_configuration_close(&metadata->configuration);
    raft_free(update->snapshot.chunk.base);
    if (snapshot == NULL)
        return TIDE_ERR_NO_MEMORY;
    group->installing = true;
    cache_drop_from(group, 0);
    group->cache_first = snapshot->index + 1;
    group->hooks.fetch(group->hooks.context, snapshot);
    return TIDE_OK;
}

/* Fills in what the library leaves to us and sends. A message that cannot be filled in is left out:
 * the library asks again. */
static void send_message(struct tide__group *group, const struct raft_message *from)
{
    struct tide__message message;
    uint32_t filled = 0, loaded_count = 0;
    struct tide__payload **loaded = NULL;
    bool complete = true;

    tide__message_from_raft(from, group->raft.id, &message);
    tide__rule_correct_vote_result(group, &message);
    if (message.type == TIDE__INSTALL_SNAPSHOT) {
        if (group->snapshot == NULL || group->snapshot->index < message.log_index)
            return;
        message.snapshot = group->snapshot;
        message.log_index = group->snapshot->index;
        message.log_term = group->snapshot->term;
    }
    if (message.type == TIDE__APPEND && message.entry_count > 0) {
        message.entries = tide_mem_array(message.entry_count, sizeof(*message.entries));
        loaded = tide_mem_array(message.entry_count, sizeof(struct tide__payload *));
        complete = message.entries != NULL && loaded != NULL;
        for (; complete && filled < message.entry_count; filled++) {
            uint64_t index = message.log_index + 1 + filled;
            const struct tide__entry *cached = tide__group_cached(group, index);

            if (cached != NULL) {
                message.entries[filled] = *cached;
                continue;
            }
            complete =
                group->hooks.load(group->hooks.context, index, &message.entries[filled]) == TIDE_OK;
            if (complete)
                loaded[loaded_count++] = message.entries[filled].payload;
        }
    }
    if (complete)
        group->hooks.send(group->hooks.context, &message,
                          tide__rule(group, TIDE__RULE_GATE) ? group->gate : 0);
    for (uint32_t i = 0; i < loaded_count; i++)
        tide__payload_unref(loaded[i]);
    tide_mem_free(loaded);
    tide_mem_free(message.entries);
}

/* Does what the update says, in the order in which it must become durable. */
static enum tide_err carry_out(struct tide__group *group, struct raft_update *update,
                               const struct step_input *input, uint64_t last_before)
{
    enum tide_err err = TIDE_OK;

    if ((update->flags & (RAFT_UPDATE_CURRENT_TERM)) != 0 ||
        (update->flags & (RAFT_UPDATE_VOTED_FOR)) != 0)
        err = persist_meta(group);
    if (err == TIDE_OK && (update->flags & (RAFT_UPDATE_ENTRIES)) != 0)
        err = persist_entries(group, update, input, last_before);
    if (err == TIDE_OK && (update->flags & (RAFT_UPDATE_SNAPSHOT)) != 0)
        err = start_install(group, update);
    if (err != TIDE_OK)
        return err;
    if ((update->flags & (RAFT_UPDATE_STATE)) != 0) {
        group->promoting = 0;
        group->want_barrier =
            group->raft.state == RAFT_LEADER && (update->flags & (RAFT_UPDATE_ENTRIES)) == 0;
        if (group->hooks.state != NULL)
            group->hooks.state(group->hooks.context);
    }
    if ((update->flags & (RAFT_UPDATE_MESSAGES)) != 0)
        for (unsigned i = 0; i < update->messages.n; i++)
            send_message(group, &update->messages.batch[i]);
    return TIDE_OK;
}

/* Returns the library's code. A refused submission or transfer leaves the group as it was; any
 * other failure ends it. */
static int step_once(struct tide__group *group, struct raft_event *event,
                     const struct step_input *input)
{
    uint64_t commit_before = group->raft.commit_index;
    uint64_t last_before = last_index(group);
    struct raft_update update;
    enum tide_err err;
    int code;

    memset(&update, 0, sizeof(update));
    event->time = group->now_ms;
    event->capacity = 0;
    code = raft_step(&group->raft, event, &update);
    if (code != 0) {
        if (event->type != RAFT_SUBMIT && event->type != RAFT_TRANSFER)
            tide__group_kill(group, tide__group_err(code), raft_strerror(code));
        return code;
    }
    if (tide__rule(group, TIDE__RULE_COMMIT) && group->raft.commit_index < commit_before)
        group->raft.commit_index = commit_before;
    err = carry_out(group, &update, input, last_before);
    if ((update.flags & (RAFT_UPDATE_ENTRIES)) != 0 && event->type != RAFT_SUBMIT) {
        /* Ours once it is handed back: the one byte of a received batch, or the no-op's bytes. */
        if (input->count > 0)
            raft_free(update.entries.batch[0].batch);
        else
            raft_free(update.entries.batch[0].buf.base);
    }
    if (err != TIDE_OK) {
        tide__group_kill(group, err, "an update could not be carried out");
        return RAFT_NOMEM;
    }
    return 0;
}

/* ---- Applying ---- */

/* Before applied_at_open only configuration changes are of interest: the application has the rest.
 * Returns the next index to apply, or 0 when there is none up to limit. */
static uint64_t next_to_apply(struct tide__group *group, uint64_t limit)
{
    uint64_t skip_end = group->applied_at_open < limit ? group->applied_at_open : limit;

    if (group->applied >= group->applied_at_open)
        return group->applied < limit ? group->applied + 1 : 0;
    if (group->change_next < group->change_count &&
        group->changes_at_open[group->change_next] <= skip_end)
        return group->changes_at_open[group->change_next++];
    if (group->applied < skip_end)
        group->applied = skip_end;
    return group->applied < limit ? group->applied + 1 : 0;
}

static enum tide_err apply_one(struct tide__group *group, uint64_t index, size_t *bytes)
{
    const struct tide__entry *cached = tide__group_cached(group, index);
    struct tide__entry entry;
    enum tide_err err = TIDE_OK;

    if (cached != NULL) {
        entry = *cached;
        tide__payload_ref(entry.payload);
    } else {
        err = group->hooks.load(group->hooks.context, index, &entry);
        if (err != TIDE_OK)
            return err;
        if (entry.term != tide__group_term_of(group, index)) {
            tide__payload_unref(entry.payload);
            return TIDE_ERR_CORRUPT;
        }
    }
    if (entry.type == TIDE__ENTRY_CHANGE)
        err = confs_add(group, index, entry.payload);
    if (err == TIDE_OK) {
        group->applied = index;
        *bytes += entry.payload->bytes;
        if (index > group->applied_at_open)
            group->hooks.apply(group->hooks.context, index, &entry);
    }
    tide__payload_unref(entry.payload);
    return err;
}

/* Up to where entries may be applied. */
static uint64_t apply_limit(const struct tide__group *group)
{
    if (group->installing || group->bootstrapping)
        return 0;
    if (tide__rule(group, TIDE__RULE_APPLY) && group->raft.last_stored < group->raft.commit_index)
        return group->raft.last_stored;
    return group->raft.commit_index;
}

/* True when something was applied. */
static bool apply_some(struct tide__group *group)
{
    uint64_t limit = apply_limit(group);
    uint64_t before = group->applied;
    enum tide_err err = TIDE_OK;
    size_t bytes = 0;
    uint64_t index;

    if (group->dead)
        return false;
    while (err == TIDE_OK && bytes < group->apply_bytes_max &&
           (index = next_to_apply(group, limit)) != 0)
        err = apply_one(group, index, &bytes);
    if (err != TIDE_OK)
        tide__group_kill(group, err, "a committed entry cannot be read");
    if (group->applied == before)
        return false;
    cache_evict(group);
    return true;
}

static void tell_configuration(struct tide__group *group)
{
    const struct tide__conf_at *told = &group->confs[group->conf_told++];
    struct raft_event event = {.type = RAFT_CONFIGURATION};
    struct step_input input = {0};
    int code = tide__conf_to_raft(told->conf->parts[0], &event.configuration.conf);

    event.configuration.index = told->index;
    if (code != 0)
        tide__group_kill(group, tide__group_err(code), "a configuration cannot be decoded");
    else
        (void)step_once(group, &event, &input);
}

/* Runs what a step left to do. Applies at most apply_bytes_max. */
static void follow(struct tide__group *group)
{
    bool applied = false;

    while (!group->dead) {
        if (group->want_barrier) {
            struct tide__payload *empty = tide__payload_copy((struct tide_slice){NULL, 0});
            uint64_t index;

            group->want_barrier = false;
            if (!tide__rule(group, TIDE__RULE_OWN_TERM) || empty == NULL ||
                tide__group_append(group, TIDE__ENTRY_BARRIER, &empty, 1, &index) != TIDE_OK)
                tide__payload_unref(empty);
        } else if (group->conf_told < group->conf_count) {
            tell_configuration(group);
        } else if (!applied) {
            applied = true;
            (void)apply_some(group);
        } else {
            return;
        }
    }
}

int tide__group_step(struct tide__group *group, struct raft_event *event)
{
    struct step_input input = {0};
    int code = step_once(group, event, &input);

    follow(group);
    return code;
}

static bool may_run(struct tide__group *group, uint64_t now_ms)
{
    group->now_ms = now_ms;
    return !group->dead;
}

bool tide__group_work(struct tide__group *group, uint64_t now_ms)
{
    if (!may_run(group, now_ms))
        return false;
    follow(group);
    return !group->dead && group->applied < apply_limit(group);
}

/* ---- Events ---- */

enum tide_err tide__group_append(struct tide__group *group, enum tide__entry_type type,
                                 struct tide__payload **payloads, uint32_t count, uint64_t *index)
{
    struct tide__entry *entries = tide_mem_array(count, sizeof(*entries));
    struct raft_entry *batch = tide_mem_array(count, sizeof(*batch));
    struct raft_event event = {.type = RAFT_SUBMIT};
    struct step_input input = {entries, last_index(group) + 1, count};
    enum tide_err err = TIDE_ERR_NO_MEMORY;

    if (entries == NULL || batch == NULL)
        goto out;
    for (uint32_t i = 0; i < count; i++) {
        entries[i] = (struct tide__entry){group->raft.current_term, type, payloads[i]};
        batch[i].term = entries[i].term;
        batch[i].type = (enum raft_entry_type)type;
        batch[i].batch = payloads[i];
        if (type == TIDE__ENTRY_CHANGE)
            batch[i].buf = (struct raft_buffer){(void *)(uintptr_t)payloads[i]->parts[0].ptr,
                                                payloads[i]->parts[0].len};
    }
    event.submit.entries = batch;
    event.submit.n = count;
    err = tide__group_err(step_once(group, &event, &input));
    if (err == TIDE_OK) {
        *index = input.first;
        for (uint32_t i = 0; i < count; i++)
            tide__payload_unref(payloads[i]);
    }
out:
    tide_mem_free(batch);
    tide_mem_free(entries);
    return err;
}

enum tide_err tide__group_submit(struct tide__group *group, struct tide__payload **payloads,
                                 uint32_t count, uint64_t now_ms, uint64_t *index)
{
    enum tide_err err;

    TIDE_ASSERT(count > 0);
    if (!may_run(group, now_ms) || group->raft.state != RAFT_LEADER)
        return TIDE_ERR_UNAVAILABLE;
    err = tide__group_append(group, TIDE__ENTRY_COMMAND, payloads, count, index);
    follow(group);
    return err;
}

void tide__group_tick(struct tide__group *group, uint64_t now_ms)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};

    if (!may_run(group, now_ms))
        return;
    tide__group_promotion_work(group);
    if (group->dead || now_ms < raft_timeout(&group->raft))
        return;
    tide__rule_retry_politely(group);
    if (tide__rule_raises_term(group)) {
        /* A request for a vote that is never granted: it only raises our term, which the library
         * would not do before a single voter elects itself. */
        struct raft_message request = {.type = RAFT_REQUEST_VOTE,
                                       .server_id = group->raft.id,
                                       .server_address = group->raft.address};
        struct raft_event raise = {.type = RAFT_RECEIVE};

        request.request_vote.version = 2;
        request.request_vote.term = group->raft.current_term + 1;
        request.request_vote.candidate_id = UINT64_MAX;
        request.request_vote.disrupt_leader = true;
        raise.receive.message = &request;
        (void)tide__group_step(group, &raise);
        if (group->dead)
            return;
    }
    (void)tide__group_step(group, &event);
}

/* Steps one AppendEntries whose entries the library may take as they are. */
static void receive_append_part(struct tide__group *group, const struct tide__message *message,
                                uint32_t count)
{
    struct step_input input = {message->entries, message->log_index + 1, count};
    struct raft_event event = {.type = RAFT_RECEIVE};
    char address[TIDE__ADDRESS_BYTES];
    struct raft_message converted;
    struct raft_entry *entries = NULL;
    void *batch = NULL;

    tide__message_to_raft(message, &converted, address);
    if (count > 0) {
        entries = tide_mem_array(count, sizeof(*entries));
        batch = raft_malloc(1);
        if (entries == NULL || batch == NULL) {
            /* As if the network had lost it. */
            tide_mem_free(entries);
            raft_free(batch);
            return;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct tide__entry *entry = &message->entries[i];

        entries[i].term = entry->term;
        entries[i].type = (enum raft_entry_type)entry->type;
        entries[i].batch = batch;
        if (entry->type == TIDE__ENTRY_CHANGE)
            entries[i].buf = (struct raft_buffer){(void *)(uintptr_t)entry->payload->parts[0].ptr,
                                                  entry->payload->parts[0].len};
    }
    converted.append_entries.entries = entries;
    converted.append_entries.n_entries = count;
    event.receive.message = &converted;
    (void)step_once(group, &event, &input);
    follow(group);
    tide_mem_free(entries);
}

static void receive_append(struct tide__group *group, const struct tide__message *received)
{
    struct tide__message message = *received;

    if (tide__rule_drops_append(group, &message))
        return;
    tide__rule_trim_append(group, &message);
    do {
        uint32_t count = tide__rule_append_count(group, &message);

        receive_append_part(group, &message, count);
        if (count == 0)
            break;
        message.log_index += count;
        message.log_term = message.entries[count - 1].term;
        message.entries += count;
        message.entry_count -= count;
    } while (message.entry_count > 0 && !group->dead);
}

/* The library takes over the configuration and the data. */
static void receive_snapshot(struct tide__group *group, const struct tide__message *message)
{
    const struct tide__snapshot *snapshot = message->snapshot;
    struct raft_event event = {.type = RAFT_RECEIVE};
    char address[TIDE__ADDRESS_BYTES];
    struct raft_message converted;
    size_t len = snapshot->manifest.len;

    if (group->installing)
        return; /* The library would lose its memory. The leader asks again. */
    tide__message_to_raft(message, &converted, address);
    converted.install_snapshot.conf_index = snapshot->conf_index;
    converted.install_snapshot.data.base = raft_malloc(len > 0 ? len : 1);
    converted.install_snapshot.data.len = len;
    if (converted.install_snapshot.data.base == NULL)
        return;
    if (len > 0)
        memcpy(converted.install_snapshot.data.base, snapshot->manifest.ptr, len);
    if (tide__conf_to_raft(tide_buf_view(&snapshot->conf), &converted.install_snapshot.conf) != 0) {
        raft_free(converted.install_snapshot.data.base);
        return;
    }
    event.receive.message = &converted;
    (void)tide__group_step(group, &event);
}

/* False for what no replica of ours would send: the library would not notice. */
static bool message_is_sound(const struct tide__group *group, const struct tide__message *message)
{
    if (message->from == 0 || message->from == group->raft.id || message->term == 0)
        return false;
    if (message->type == TIDE__INSTALL_SNAPSHOT)
        return message->snapshot != NULL && message->log_index == message->snapshot->index &&
               message->log_index > 0 && message->log_term == message->snapshot->term &&
               message->log_term > 0;
    if (message->type != TIDE__APPEND)
        return message->type >= TIDE__APPEND && message->type <= TIDE__TIMEOUT_NOW;
    if ((message->log_index == 0) != (message->log_term == 0))
        return false;
    for (uint32_t i = 0; i < message->entry_count; i++) {
        const struct tide__entry *entry = &message->entries[i];

        if (entry->term == 0 || entry->term > message->term)
            return false;
        if (entry->type == TIDE__ENTRY_CHANGE &&
            (entry->payload->part_count != 1 || !tide__conf_is_valid(entry->payload->parts[0])))
            return false;
    }
    return true;
}

void tide__group_receive(struct tide__group *group, const struct tide__message *message,
                         uint64_t now_ms)
{
    struct raft_event event = {.type = RAFT_RECEIVE};
    char address[TIDE__ADDRESS_BYTES];
    struct raft_message converted;

    if (!may_run(group, now_ms) || !message_is_sound(group, message))
        return;
    if ((message->type == TIDE__APPEND || message->type == TIDE__INSTALL_SNAPSHOT) &&
        message->term >= group->raft.current_term)
        group->last_lead_ms = now_ms;
    if (message->type == TIDE__APPEND) {
        receive_append(group, message);
        return;
    }
    if (message->type == TIDE__INSTALL_SNAPSHOT) {
        receive_snapshot(group, message);
        return;
    }
    tide__message_to_raft(message, &converted, address);
    event.receive.message = &converted;
    if (tide__rule_votes_without_role(group, message, now_ms)) {
        struct raft_configuration saved = group->raft.configuration;
        struct raft_server self = {group->raft.id, group->raft.address, RAFT_VOTER};
        struct step_input input = {0};

        group->raft.configuration.servers = &self;
        group->raft.configuration.n = 1;
        (void)step_once(group, &event, &input);
        group->raft.configuration = saved;
        follow(group);
        return;
    }
    (void)tide__group_step(group, &event);
}

/* ---- What became durable ---- */

static void append_persisted(struct tide__group *group, const struct tide__op *op)
{
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
    uint64_t end = op->first + op->entry_count;
    size_t kept = 0;

    for (size_t i = 0; i < group->cut_count; i++) {
        const struct tide__cut cut = group->cuts[i];

        if (cut.seq <= op->seq)
            continue;
        if (tide__rule(group, TIDE__RULE_PERSISTED) && cut.first < end)
            end = cut.first;
        group->cuts[kept++] = cut;
    }
    group->cut_count = kept;
    if (op->first == 1 && group->bootstrapping) {
        group->bootstrapping = false;
        follow(group);
    }
    if (group->installing || end <= op->first || end - 1 <= group->raft.last_stored)
        return;
    event.persisted_entries.index = end - 1;
    (void)tide__group_step(group, &event);
}

static void snapshot_persisted(struct tide__group *group, const struct tide__op *op)
{
    struct raft_event event = {.type = RAFT_SNAPSHOT};
    struct tide__snapshot *snapshot = op->snapshot;

    group->taking = false;
    if (group->installing || snapshot->index < group->raft.trail.snapshot.index)
        return;
    tide__snapshot_unref(group->snapshot);
    group->snapshot = tide__snapshot_ref(snapshot);
    confs_drop_before(group, snapshot->index);
    if (snapshot->index == group->raft.trail.snapshot.index)
        return; /* Only the manifest is new. */
    if (metadata_set(snapshot, &event.snapshot.metadata) != TIDE_OK) {
        tide__group_kill(group, TIDE_ERR_NO_MEMORY, "a configuration cannot be decoded");
        return;
    }
    event.snapshot.trailing = (unsigned)(snapshot->index - op->keep + 1);
    (void)tide__group_step(group, &event);
}

static void install_persisted(struct tide__group *group, const struct tide__op *op)
{
    struct raft_event event = {.type = RAFT_PERSISTED_SNAPSHOT};
    struct tide__snapshot *snapshot = op->snapshot;

    group->installing = false;
    tide__snapshot_unref(group->snapshot);
    group->snapshot = tide__snapshot_ref(snapshot);
    group->applied = snapshot->index;
    group->cut_count = 0;
    if (confs_reset(group, snapshot) != TIDE_OK ||
        metadata_set(snapshot, &event.persisted_snapshot.metadata) != TIDE_OK) {
        tide__group_kill(group, TIDE_ERR_NO_MEMORY, "a configuration cannot be decoded");
        return;
    }
    group->hooks.restore(group->hooks.context, snapshot);
    event.persisted_snapshot.last = true;
    (void)tide__group_step(group, &event);
}

void tide__group_persisted(struct tide__group *group, const struct tide__op *op, uint64_t now_ms)
{
    if (!may_run(group, now_ms) || op->epoch != group->epoch)
        return;
    switch (op->kind) {
    case TIDE__OP_META:
        break;
    case TIDE__OP_APPEND:
        append_persisted(group, op);
        break;
    case TIDE__OP_SNAPSHOT:
        snapshot_persisted(group, op);
        break;
    case TIDE__OP_INSTALL:
        install_persisted(group, op);
        break;
    }
}

enum tide_err tide__group_snapshot(struct tide__group *group, uint64_t index,
                                   struct tide_slice manifest, uint64_t trailing)
{
    uint64_t first = group->raft.trail.offset + 1;
    const struct tide__conf_at *conf = NULL;
    struct tide__op *op;

    if (group->dead)
        return TIDE_ERR_UNAVAILABLE;
    if (group->taking || group->installing)
        return TIDE_ERR_BUSY;
    if (index == 0 || index < group->raft.trail.snapshot.index ||
        (index > group->applied && index > group->applied_at_open))
        return TIDE_ERR_INVALID;
    if (index > group->applied)
        return TIDE_ERR_BUSY; /* The configurations up to there are not known yet. */
    for (size_t i = 0; i < group->conf_count && group->confs[i].index <= index; i++)
        conf = &group->confs[i];
    if (conf == NULL || tide__group_term_of(group, index) == 0)
        return TIDE_ERR_INVALID;
    op = op_new(group, TIDE__OP_SNAPSHOT, 0);
    if (op == NULL)
        return TIDE_ERR_NO_MEMORY;
    op->snapshot = tide__snapshot_new(index, tide__group_term_of(group, index), conf->index,
                                      conf->conf->parts[0], manifest);
    if (op->snapshot == NULL) {
        tide__op_free(op);
        return TIDE_ERR_NO_MEMORY;
    }
    op->keep = index > trailing ? index - trailing + 1 : 1;
    if (op->keep < first)
        op->keep = first;
    if (op->keep > index + 1)
        op->keep = index + 1;
    group->taking = true;
    group->hooks.persist(group->hooks.context, op);
    return TIDE_OK;
}

void tide__group_fetched(struct tide__group *group, struct tide__snapshot *snapshot)
{
    struct tide__op *op = group->dead ? NULL : op_new(group, TIDE__OP_INSTALL, 0);

    if (op == NULL) {
        tide__snapshot_unref(snapshot);
        tide__group_kill(group, TIDE_ERR_NO_MEMORY, "a fetched snapshot cannot be stored");
        return;
    }
    op->snapshot = snapshot;
    group->hooks.persist(group->hooks.context, op);
}

/* ---- Looking ---- */

void tide__group_status(const struct tide__group *group, struct tide__group_status *out)
{
    const struct raft *raft = &group->raft;

    out->state = (enum tide__state)raft->state;
    out->term = raft->current_term;
    out->leader = raft->state == RAFT_LEADER     ? raft->id
                  : raft->state == RAFT_FOLLOWER ? raft->follower_state.current_leader.id
                                                 : 0;
    out->last_index = last_index(group);
    out->stored_index = raft->last_stored;
    out->commit_index = raft->commit_index;
    out->applied_index =
        group->applied > group->applied_at_open ? group->applied : group->applied_at_open;
    out->snapshot_index = group->snapshot == NULL ? 0 : group->snapshot->index;
    out->uncommitted_conf_index = raft->configuration_uncommitted_index;
    out->own_term_committed = raft->state == RAFT_LEADER &&
                              tide__group_term_of(group, raft->commit_index) == raft->current_term;
    out->installing = group->installing;
    out->dead = group->dead;
    out->cache_bytes = group->cache_bytes;
}

void tide__group_members(const struct tide__group *group, struct tide__members *out)
{
    const struct raft_configuration *conf = &group->raft.configuration;

    out->count = conf->n < TIDE__MEMBERS_MAX ? conf->n : TIDE__MEMBERS_MAX;
    for (uint32_t i = 0; i < out->count; i++) {
        out->list[i].id = conf->servers[i].id;
        out->list[i].role = (enum tide__role)conf->servers[i].role;
    }
}

/* ---- Opening ---- */

/* The configuration at the end of what is stored; false when there is none. */
static bool stored_members(const struct tide__stored *stored, struct tide__members *out)
{
    for (size_t i = stored->mark_count; i > 0; i--) {
        if (stored->marks[i - 1].type == TIDE__ENTRY_CHANGE) {
            tide__conf_decode(stored->marks[i - 1].payload->parts[0], out);
            return true;
        }
    }
    if (stored->snapshot == NULL)
        return false;
    tide__conf_decode(tide_buf_view(&stored->snapshot->conf), out);
    return true;
}

static bool only_we_vote(const struct tide__group *group, const struct tide__members *members)
{
    const struct tide__member *own = tide__members_find(members, group->raft.id);

    return own != NULL && own->role == TIDE__ROLE_VOTER && tide__members_voters(members) == 1;
}

/* Makes term and vote durable before the library starts with them; they are in order with all that
 * follows. */
static enum tide_err open_meta(struct tide__group *group, uint64_t term, uint64_t vote)
{
    group->raft.current_term = term;
    group->raft.voted_for = vote;
    return persist_meta(group);
}

/* What a new group holds: the configuration as its first entry. */
static enum tide_err bootstrap_make(const struct tide__members *members, uint64_t term,
                                    struct tide__stored *out)
{
    struct tide_buf conf = {0};
    enum tide_err err = tide__conf_encode(members, &conf);
    struct tide__payload *payload = err == TIDE_OK ? tide__payload_of_buf(&conf) : NULL;

    tide_buf_deinit(&conf);
    if (payload == NULL)
        return err == TIDE_OK ? TIDE_ERR_NO_MEMORY : err;
    err = tide_mem_grow((void **)&out->marks, &out->mark_capacity, 1, sizeof(*out->marks));
    if (err != TIDE_OK) {
        tide__payload_unref(payload);
        return err;
    }
    out->marks[0] = (struct tide__mark){1, 1, TIDE__ENTRY_CHANGE, payload};
    out->mark_count = 1;
    out->term = term > 0 ? term : 1;
    out->first = 1;
    out->last = 1;
    return TIDE_OK;
}

/* After the term: a log that has entries but no term is corrupt. To the library the entry is stored
 * and committed from the start; it is not applied before it is durable. */
static enum tide_err bootstrap_persist(struct tide__group *group, const struct tide__stored *fresh)
{
    struct tide__entry entry = {1, TIDE__ENTRY_CHANGE, fresh->marks[0].payload};
    struct tide__op *op = op_new(group, TIDE__OP_APPEND, 1);

    if (op == NULL || cache_reserve(group, 1) != TIDE_OK) {
        tide__op_free(op);
        return TIDE_ERR_NO_MEMORY;
    }
    op->first = 1;
    op->entries[0] = entry;
    op->entry_count = 1;
    tide__payload_ref(entry.payload);
    group->cache_first = 1;
    cache_add(group, entry);
    tide__payload_ref(entry.payload);
    group->bootstrapping = true;
    group->hooks.persist(group->hooks.context, op);
    group->gate = op->seq;
    return TIDE_OK;
}

/* The library wants one record per entry; it keeps one per term. */
static struct raft_entry *start_entries(const struct tide__stored *stored, size_t count)
{
    struct raft_entry *entries = raft_calloc(count, sizeof(*entries));
    size_t mark = 0;

    if (entries == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const struct tide__mark *at;

        if (mark + 1 < stored->mark_count && stored->marks[mark + 1].index <= stored->first + i)
            mark++;
        at = &stored->marks[mark];
        entries[i].term = at->term;
        entries[i].type = RAFT_COMMAND;
        if (at->type == TIDE__ENTRY_CHANGE && at->index == stored->first + i) {
            entries[i].type = RAFT_CHANGE;
            entries[i].buf = (struct raft_buffer){(void *)(uintptr_t)at->payload->parts[0].ptr,
                                                  at->payload->parts[0].len};
        }
    }
    return entries;
}

static enum tide_err open_start(struct tide__group *group, const struct tide__stored *stored,
                                uint64_t term, uint64_t vote)
{
    size_t count = (size_t)(stored->last + 1 - stored->first);
    struct raft_event event = {.type = RAFT_START};
    struct raft_snapshot_metadata metadata;
    struct raft_entry *entries = NULL;
    enum tide_err err;

    event.start.term = term;
    event.start.voted_for = vote;
    event.start.start_index = stored->first;
    if (count > 0) {
        entries = start_entries(stored, count);
        if (entries == NULL)
            return TIDE_ERR_NO_MEMORY;
        event.start.entries = entries;
        event.start.n_entries = (unsigned)count;
    }
    if (stored->snapshot != NULL) {
        err = metadata_set(stored->snapshot, &metadata);
        if (err != TIDE_OK) {
            raft_free(entries);
            return err;
        }
        event.start.metadata = &metadata;
    }
    if (tide__group_step(group, &event) == 0)
        raft_free(entries); /* On failure the library has freed them. */
    return group->dead ? group->dead_err : TIDE_OK;
}

/* Configuration changes among the entries that the application holds. */
static enum tide_err open_changes(struct tide__group *group, const struct tide__stored *stored)
{
    group->changes_at_open = tide_mem_array(stored->mark_count + 1, sizeof(uint64_t));
    if (group->changes_at_open == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < stored->mark_count; i++) {
        const struct tide__mark *mark = &stored->marks[i];

        if (mark->type == TIDE__ENTRY_CHANGE && mark->index <= group->applied_at_open &&
            mark->index > group->applied)
            group->changes_at_open[group->change_count++] = mark->index;
    }
    return TIDE_OK;
}

static enum tide_err open_all(struct tide__group *group, const struct tide__stored *given,
                              const struct tide__members *bootstrap, struct tide__stored *fresh)
{
    const struct tide__stored *stored = given;
    struct tide__members members;
    uint64_t term, vote;
    enum tide_err err;

    if (bootstrap != NULL && stored->last == 0 && stored->snapshot == NULL) {
        err = bootstrap_make(bootstrap, stored->term, fresh);
        if (err != TIDE_OK)
            return err;
        fresh->vote = stored->vote;
        stored = fresh;
    }
    if (stored->snapshot != NULL) {
        group->snapshot = tide__snapshot_ref(stored->snapshot);
        group->applied = stored->snapshot->index;
    }
    group->cache_first = stored->last + 1;
    term = stored->term;
    vote = stored->vote;
    err = confs_reset(group, stored->snapshot);
    if (err == TIDE_OK)
        err = open_changes(group, stored);
    if (err != TIDE_OK)
        return err;
    if (term > 0 && tide__rule(group, TIDE__RULE_SINGLE) && stored_members(stored, &members) &&
        only_we_vote(group, &members)) {
        term++;
        vote = group->raft.id;
    }
    if (term != given->term) {
        err = open_meta(group, term, vote);
        if (err != TIDE_OK)
            return err;
    }
    if (stored == fresh) {
        err = bootstrap_persist(group, fresh);
        if (err != TIDE_OK)
            return err;
    }
    return open_start(group, stored, term, vote);
}

enum tide_err tide__group_open(const struct tide__group_options *options,
                               const struct tide__stored *stored,
                               const struct tide__members *bootstrap, uint64_t now_ms,
                               struct tide__group **out, struct tide_diag *diag)
{
    struct tide__group *group = tide_mem_new(sizeof(*group));
    struct tide__stored fresh = {.first = 1};
    char address[TIDE__ADDRESS_BYTES];
    enum tide_err err;

    TIDE_ASSERT(options->replica != 0);
    TIDE_ASSERT(now_ms > 0);
    if (group == NULL)
        return TIDE_ERR_NO_MEMORY;
    group->hooks = options->hooks;
    group->id = options->id;
    group->rules = options->rules;
    group->epoch = options->epoch;
    group->apply_bytes_max = options->apply_bytes_max;
    group->cache_bytes_max = options->cache_bytes_max;
    group->applied_at_open = options->applied;
    group->now_ms = now_ms;
    group->last_lead_ms = now_ms;
    group->opening = true;
    tide__address(options->replica, address);
    if (raft_init(&group->raft, NULL, NULL, options->replica, address) != 0) {
        tide_mem_free(group);
        return TIDE_ERR_NO_MEMORY;
    }
    /* The default tracer formats every step into one static buffer, for all threads. */
    group->raft.tracer = NULL;
    group->raft.now = now_ms;
    raft_seed(&group->raft, options->seed);
    raft_set_pre_vote(&group->raft, true);
    raft_set_max_inflight_entries(&group->raft, MAX_INFLIGHT_ENTRIES);
    raft_set_install_snapshot_timeout(&group->raft, INSTALL_TIMEOUT_MS);
    err = open_all(group, stored, bootstrap, &fresh);
    tide__stored_deinit(&fresh);
    group->opening = false;
    if (err != TIDE_OK) {
        tide__group_close(group);
        return tide_diag_err(diag, err, "raft group %u: %s", (unsigned)options->id,
                             tide_err_text(err));
    }
    *out = group;
    return TIDE_OK;
}

void tide__group_close(struct tide__group *group)
{
    if (group == NULL)
        return;
    raft_close(&group->raft, NULL);
    cache_drop_from(group, 0);
    tide_mem_free(group->cache);
    for (size_t i = 0; i < group->conf_count; i++)
        tide__payload_unref(group->confs[i].conf);
    tide_mem_free(group->confs);
    tide_mem_free(group->cuts);
    tide_mem_free(group->changes_at_open);
    tide__snapshot_unref(group->snapshot);
    tide_mem_free(group);
}
