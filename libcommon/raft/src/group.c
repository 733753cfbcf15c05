/* How one raft_step() goes: the library answers what changed; here each change becomes an operation
 * for the log or a message, and then all that follows is run: the barrier of a new leader, applying
 * what is committed, telling the library of committed configurations.
 *
 * What the library owns in 0.22.1 (found by reading it; it changes in later versions, hence the
 * check of the exact one):
 * - START, CONFIGURATION, SNAPSHOT and PERSISTED_SNAPSHOT take over the configuration.
 * - START on failure frees the array of entries.
 * - A received AppendEntries: it frees entries[0].batch unless it hands the entries back. We give
 *   it one byte for that and keep the payloads by ourselves.
 * - SUBMIT frees nothing. The no-op of a new leader comes in a raft_malloc()ed buffer that is ours.
 * - A received InstallSnapshot: it takes configuration and data, and either frees them or hands
 *   them back; while an install is under way it loses them, so those messages never reach it.
 * - Messages handed out are valid until the next step. */
#include "rules_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define LIBRARY_VERSION 2201

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

void tide__group_kill(struct tide__group *group, enum tide_err err, const char *reason)
{
    if (group->dead)
        return;
    group->dead = true;
    group->dead_err = err;
    if (!group->opening)
        group->hooks.dead(group->hooks.context, err, reason);
}

/* ---- One step ---- */

static uint64_t last_index(const struct tide__group *group)
{
    /* The getter reads only; its prototype does not say so. */
    return raft_last_index((struct raft *)(uintptr_t)&group->raft);
}

enum tide_err tide__group_persist_meta(struct tide__group *group)
{
    struct tide__op *op = tide__op_new(group, TIDE__OP_META, 0);

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
    struct tide__op *op = tide__op_new(group, TIDE__OP_APPEND, update->entries.n);
    bool changes = false;
    enum tide_err err = TIDE_ERR_NO_MEMORY;

    if (op == NULL)
        return err;
    op->first = first;
    op->prev_term = first > 1 ? tide__group_term_of(group, first - 1) : 0;
    op->truncates = first <= last_before;
    tide__cache_drop_from(group, first);
    if (tide__cache_reserve(group, update->entries.n) != TIDE_OK)
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
        tide__cache_add(group, entry);
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
    tide__cache_drop_from(group, 0);
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
        err = tide__group_persist_meta(group);
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
        err = tide__confs_add(group, index, entry.payload);
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
    tide__cache_evict(group);
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

/* A new leader's first entry. */
static void append_barrier(struct tide__group *group)
{
    struct tide__payload *empty;
    enum tide_err err = TIDE_ERR_NO_MEMORY;
    uint64_t index;

    group->want_barrier = false;
    if (!tide__rule(group, TIDE__RULE_OWN_TERM))
        return;
    empty = tide__payload_copy((struct tide_slice){NULL, 0});
    if (empty != NULL)
        err = tide__group_append(group, TIDE__ENTRY_BARRIER, &empty, 1, &index);
    if (err != TIDE_OK)
        tide__payload_unref(empty);
    if (err == TIDE_ERR_NO_MEMORY)
        tide__group_kill(group, err, "a leader's barrier cannot be appended");
}

/* Runs what a step left to do. Applies at most apply_bytes_max. */
static void follow(struct tide__group *group)
{
    bool applied = false;

    while (!group->dead) {
        if (group->want_barrier) {
            append_barrier(group);
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
    tide__confs_drop_before(group, snapshot->index);
    if (snapshot->index == group->raft.trail.snapshot.index)
        return; /* Only the manifest is new. */
    if (tide__metadata_set(snapshot, &event.snapshot.metadata) != TIDE_OK) {
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
    if (tide__confs_reset(group, snapshot) != TIDE_OK ||
        tide__metadata_set(snapshot, &event.persisted_snapshot.metadata) != TIDE_OK) {
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
    op = tide__op_new(group, TIDE__OP_SNAPSHOT, 0);
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
    struct tide__op *op = group->dead ? NULL : tide__op_new(group, TIDE__OP_INSTALL, 0);

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
