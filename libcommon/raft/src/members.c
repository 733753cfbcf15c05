/* Changes of a group's membership. The library takes whatever configuration it is given; what makes
 * a change safe is checked here: one member at a time, an entry of our own term committed before, a
 * leader that keeps its own vote. */
#include "rules_private.h"

static const struct raft_server *server_find(const struct tide__group *group, uint64_t replica)
{
    const struct raft_configuration *conf = &group->raft.configuration;

    for (unsigned i = 0; i < conf->n; i++)
        if (conf->servers[i].id == replica)
            return &conf->servers[i];
    return NULL;
}

static enum tide_err may_change(const struct tide__group *group)
{
    const struct raft *raft = &group->raft;

    if (group->dead || raft->state != RAFT_LEADER || raft_transferee(raft) != 0 ||
        raft->configuration_uncommitted_index != 0 || raft->leader_state.promotee_id != 0)
        return TIDE_ERR_UNAVAILABLE;
    if (tide__rule(group, TIDE__RULE_OWN_TERM) &&
        tide__group_term_of(group, raft->commit_index) != raft->current_term)
        return TIDE_ERR_UNAVAILABLE;
    return TIDE_OK;
}

/* Applies the change to members. */
static enum tide_err members_change(struct tide__members *members, uint64_t replica,
                                    enum tide__change change)
{
    struct tide__member *found = NULL;

    for (uint32_t i = 0; i < members->count; i++)
        if (members->list[i].id == replica)
            found = &members->list[i];
    if (change == TIDE__ADD_STANDBY) {
        if (found != NULL || replica == 0 || members->count == TIDE__MEMBERS_MAX)
            return TIDE_ERR_INVALID;
        members->list[members->count++] = (struct tide__member){replica, TIDE__ROLE_STANDBY};
        return TIDE_OK;
    }
    if (found == NULL)
        return TIDE_ERR_INVALID;
    switch (change) {
    case TIDE__PROMOTE:
        found->role = TIDE__ROLE_VOTER;
        break;
    case TIDE__TO_STANDBY:
        found->role = TIDE__ROLE_STANDBY;
        break;
    case TIDE__TO_SPARE:
        found->role = TIDE__ROLE_SPARE;
        break;
    case TIDE__REMOVE:
    default:
        memmove(found, found + 1,
                (size_t)(members->list + members->count - (found + 1)) * sizeof(*found));
        members->count--;
        break;
    }
    return TIDE_OK;
}

/* Without the checks of may_change(). */
static enum tide_err submit_change(struct tide__group *group, uint64_t replica,
                                   enum tide__change change, uint32_t voters_min)
{
    struct tide__members members;
    struct tide__payload *payload;
    struct tide_buf conf = {0};
    uint64_t index;
    enum tide_err err;

    tide__group_members(group, &members);
    err = members_change(&members, replica, change);
    if (err == TIDE_OK && tide__members_voters(&members) < voters_min)
        err = TIDE_ERR_INVALID;
    if (err == TIDE_OK && tide__rule(group, TIDE__RULE_SINGLE)) {
        const struct tide__member *own = tide__members_find(&members, group->raft.id);

        if (own == NULL || own->role != TIDE__ROLE_VOTER)
            err = TIDE_ERR_INVALID;
    }
    if (err == TIDE_OK)
        err = tide__conf_encode(&members, &conf);
    if (err != TIDE_OK) {
        tide_buf_deinit(&conf);
        return err;
    }
    payload = tide__payload_of_buf(&conf);
    tide_buf_deinit(&conf);
    if (payload == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = tide__group_append(group, TIDE__ENTRY_CHANGE, &payload, 1, &index);
    if (err != TIDE_OK)
        tide__payload_unref(payload);
    return err;
}

enum tide_err tide__group_change(struct tide__group *group, uint64_t replica,
                                 enum tide__change change, uint32_t voters_min, uint64_t now_ms)
{
    enum tide_err err = may_change(group);

    group->now_ms = now_ms;
    if (err == TIDE_OK)
        err = submit_change(group, replica, change, voters_min);
    (void)tide__group_work(group, now_ms);
    return err;
}

enum tide_err tide__group_promote(struct tide__group *group, uint64_t replica, uint32_t voters_min,
                                  uint64_t now_ms)
{
    const struct raft_server *server = server_find(group, replica);
    struct raft_event event = {.type = RAFT_CATCH_UP};
    enum tide_err err = may_change(group);
    raft_index match;

    if (err != TIDE_OK)
        return err;
    if (server == NULL || server->role == RAFT_VOTER)
        return TIDE_ERR_INVALID;
    if (raft_match_index(&group->raft, replica, &match) != 0)
        return TIDE_ERR_INVALID;
    /* The library's catch-up of a server that lacks nothing never ends. */
    if (match == raft_last_index(&group->raft))
        return tide__group_change(group, replica, TIDE__PROMOTE, voters_min, now_ms);
    group->now_ms = now_ms;
    group->promoting = replica;
    group->promoting_voters_min = voters_min;
    event.catch_up.server_id = replica;
    return tide__group_err(tide__group_step(group, &event));
}

void tide__group_promotion_work(struct tide__group *group)
{
    uint64_t replica = group->promoting;
    int status;

    if (replica == 0)
        return;
    if (group->raft.state != RAFT_LEADER || server_find(group, replica) == NULL ||
        raft_catch_up(&group->raft, replica, &status) != 0) {
        group->promoting = 0;
        return;
    }
    if (status == RAFT_CATCH_UP_RUNNING)
        return;
    group->promoting = 0;
    /* A refusal means that something came between: who asked for it sees that and asks again. */
    if (status == RAFT_CATCH_UP_FINISHED && may_change(group) == TIDE_OK &&
        submit_change(group, replica, TIDE__PROMOTE, group->promoting_voters_min) == TIDE_OK)
        (void)tide__group_work(group, group->now_ms);
}

enum tide_err tide__group_transfer(struct tide__group *group, uint64_t replica, uint64_t now_ms)
{
    struct raft_event event = {.type = RAFT_TRANSFER};

    if (group->dead || group->raft.state != RAFT_LEADER)
        return TIDE_ERR_UNAVAILABLE;
    group->now_ms = now_ms;
    event.transfer.server_id = replica;
    return tide__group_err(tide__group_step(group, &event));
}
