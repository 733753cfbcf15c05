/* Opening a group: what is durable becomes the library's state. A group without a log starts with a
 * configuration as its first entry; a single voter raises its term first. */
#include "rules_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define MAX_INFLIGHT_ENTRIES 64
/* Fetching a snapshot takes as long as its bulk takes. */
#define INSTALL_TIMEOUT_MS 600000

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
    return tide__group_persist_meta(group);
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
    struct tide__op *op = tide__op_new(group, TIDE__OP_APPEND, 1);

    if (op == NULL || tide__cache_reserve(group, 1) != TIDE_OK) {
        tide__op_free(op);
        return TIDE_ERR_NO_MEMORY;
    }
    op->first = 1;
    op->entries[0] = entry;
    op->entry_count = 1;
    tide__payload_ref(entry.payload);
    group->cache_first = 1;
    tide__cache_add(group, entry);
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
        err = tide__metadata_set(stored->snapshot, &metadata);
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
    err = tide__confs_reset(group, stored->snapshot);
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
    tide__cache_drop_from(group, 0);
    tide_mem_free(group->cache);
    for (size_t i = 0; i < group->conf_count; i++)
        tide__payload_unref(group->confs[i].conf);
    tide_mem_free(group->confs);
    tide_mem_free(group->cuts);
    tide_mem_free(group->changes_at_open);
    tide__snapshot_unref(group->snapshot);
    tide_mem_free(group);
}
