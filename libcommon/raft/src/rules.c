#include "rules_private.h"

static const struct raft_server *own_server(const struct tide__group *group)
{
    const struct raft_configuration *conf = &group->raft.configuration;

    for (unsigned i = 0; i < conf->n; i++)
        if (conf->servers[i].id == group->raft.id)
            return &conf->servers[i];
    return NULL;
}

bool tide__rule_drops_append(const struct tide__group *group, const struct tide__message *message)
{
    return tide__rule(group, TIDE__RULE_OWN_APPEND) && group->raft.state == RAFT_LEADER &&
           message->term == group->raft.current_term;
}

void tide__rule_trim_append(const struct tide__group *group, struct tide__message *message)
{
    uint64_t snapshot_index = group->raft.trail.snapshot.index;
    uint64_t below;

    if (!tide__rule(group, TIDE__RULE_TRIM) || message->log_index >= snapshot_index ||
        message->term < group->raft.current_term)
        return;
    /* What a snapshot covers is committed, so these entries are the ones we have. */
    below = snapshot_index - message->log_index;
    if (below >= message->entry_count) {
        message->entry_count = 0;
    } else {
        message->entries += below;
        message->entry_count -= (uint32_t)below;
    }
    message->log_index = snapshot_index;
    message->log_term = group->raft.trail.snapshot.term;
}

uint32_t tide__rule_append_count(const struct tide__group *group,
                                 const struct tide__message *message)
{
    if (!tide__rule(group, TIDE__RULE_SPLIT))
        return message->entry_count;
    for (uint32_t i = 1; i < message->entry_count; i++)
        if (message->entries[i].type == TIDE__ENTRY_CHANGE)
            return i;
    return message->entry_count;
}

bool tide__rule_votes_without_role(struct tide__group *group, const struct tide__message *message,
                                   uint64_t now_ms)
{
    const struct raft_server *own = own_server(group);

    if (!tide__rule(group, TIDE__RULE_ROLE) || message->type != TIDE__VOTE ||
        group->raft.state == RAFT_LEADER)
        return false;
    if (own != NULL && own->role == RAFT_VOTER)
        return false;
    /* The library never lets a non-voter forget its leader, and who has one refuses to vote. */
    if (group->raft.state == RAFT_FOLLOWER &&
        now_ms - group->last_lead_ms >= group->raft.election_timeout)
        group->raft.follower_state.current_leader.id = 0;
    return true;
}

void tide__rule_correct_vote_result(const struct tide__group *group, struct tide__message *message)
{
    if (!tide__rule(group, TIDE__RULE_PRE_VOTE) || message->type != TIDE__VOTE_RESULT)
        return;
    if (message->pre_vote && !message->granted && message->term < group->raft.current_term)
        message->term = group->raft.current_term;
}

void tide__rule_retry_politely(struct tide__group *group)
{
    if (!tide__rule(group, TIDE__RULE_RETRY) || group->raft.state != RAFT_CANDIDATE)
        return;
    group->raft.candidate_state.disrupt_leader = false;
    group->raft.candidate_state.in_pre_vote = group->raft.pre_vote;
}

bool tide__rule_raises_term(const struct tide__group *group)
{
    const struct raft *raft = &group->raft;
    const struct raft_server *own = own_server(group);
    unsigned voters = 0;

    if (!tide__rule(group, TIDE__RULE_SINGLE) || raft->state != RAFT_FOLLOWER ||
        group->installing || own == NULL || own->role != RAFT_VOTER)
        return false;
    for (unsigned i = 0; i < raft->configuration.n; i++)
        voters += raft->configuration.servers[i].role == RAFT_VOTER;
    return voters == 1 && raft->last_stored == raft_last_index((struct raft *)(uintptr_t)raft);
}
