/* What must hold, whatever happens:
 * - every replica applies the same entry at an index, and each index once, in order;
 * - no term has two leaders;
 * - durable logs that hold the same index and term hold the same entry there;
 * - an acknowledged command stays;
 * and after the faults have ended: every group has a leader, its members catch up, no membership
 * change hangs. */
#include "sim.h"

#include "tide/base/mem.h"

#define LAG_MAX 200 /* Commands that a replica may be behind at the end. */

void sim_check_applied(struct sim_replica *replica, uint64_t index, const struct tide__entry *entry,
                       uint64_t value)
{
    struct sim *sim = replica->sim;
    uint32_t group = replica->group;
    struct sim_canon *canon;

    sim->canon[group] = sim_grow(sim->canon[group], &sim->canon_capacity[group], index + 1,
                                 sizeof(struct sim_canon));
    canon = &sim->canon[group][index];
    if (index >= sim->canon_count[group]) {
        if (index > sim->canon_count[group] && sim->canon_count[group] > 0)
            sim_unsafe(sim, replica, "an index was applied before the one below it");
        sim->canon_count[group] = index + 1;
        *canon = (struct sim_canon){entry->term, value};
        sim->canon_commands[group] += value != 0;
    } else if (canon->term != entry->term || canon->value != value) {
        sim_say(sim, replica, "index %llu: term %llu value %llu, elsewhere term %llu value %llu",
                (unsigned long long)index, (unsigned long long)entry->term,
                (unsigned long long)value, (unsigned long long)canon->term,
                (unsigned long long)canon->value);
        sim_unsafe(sim, replica, "two replicas applied different entries at one index");
    }
    if (value != 0 && value <= sim->command_count) {
        struct sim_command *command = &sim->commands[value - 1];

        command->applied = true;
        /* The one that took it tells the client. */
        if (command->node == replica->node && command->group == group &&
            command->epoch == replica->epoch && !command->acked) {
            command->acked = true;
            sim->acks++;
        }
    }
}

void sim_check_restored(struct sim_replica *replica, uint64_t index)
{
    struct sim *sim = replica->sim;
    uint32_t group = replica->group;
    size_t at = 0;

    for (uint64_t i = 1; i <= index && i < sim->canon_count[group]; i++) {
        uint64_t value = sim->canon[group][i].value;

        if (value == 0)
            continue;
        if (at >= replica->value_count || replica->values[at] != value) {
            sim_unsafe(sim, replica, "a snapshot holds another state");
            return;
        }
        at++;
    }
    if (at != replica->value_count)
        sim_unsafe(sim, replica, "a snapshot holds too much");
}

void sim_check_leader(struct sim_replica *replica)
{
    struct sim *sim = replica->sim;
    uint32_t group = replica->group;
    struct tide__group_status status;

    /* While it is being opened there is nothing to look at yet; it is looked at when it ticks. */
    if (replica->core == NULL)
        return;
    tide__group_status(replica->core, &status);
    if (status.state != TIDE__LEADER)
        return;
    sim->leaders[group] = sim_grow(sim->leaders[group], &sim->leader_capacity[group],
                                   status.term + 1, sizeof(uint64_t));
    if (sim->leaders[group][status.term] == 0) {
        sim->elections++;
        sim_say(sim, replica, "leads term %llu", (unsigned long long)status.term);
    } else if (sim->leaders[group][status.term] != replica->node + 1) {
        sim_unsafe(sim, replica, "two leaders in one term");
    }
    sim->leaders[group][status.term] = replica->node + 1;
}

static bool same_bytes(const struct tide__payload *a, const struct tide__payload *b)
{
    struct tide_buf left = {0}, right = {0};
    bool same;

    for (uint32_t i = 0; i < a->part_count; i++)
        tide_buf_slice(&left, a->parts[i]);
    for (uint32_t i = 0; i < b->part_count; i++)
        tide_buf_slice(&right, b->parts[i]);
    same = tide_slice_eq(tide_buf_view(&left), tide_buf_view(&right));
    tide_buf_deinit(&left);
    tide_buf_deinit(&right);
    return same;
}

static void check_log_matching(struct sim *sim, uint32_t group)
{
    for (uint32_t a = 0; a < sim->node_count; a++) {
        const struct sim_store *left = &sim->replicas[a][group].store;

        for (uint32_t b = 0; b < a; b++) {
            const struct sim_store *right = &sim->replicas[b][group].store;

            for (size_t i = 0; i < left->count; i++) {
                const struct tide__entry *there = sim_store_entry(right, left->first + i);
                const struct tide__entry *here = &left->entries[i];

                if (there != NULL && there->term == here->term &&
                    !same_bytes(there->payload, here->payload)) {
                    sim_unsafe(sim, &sim->replicas[a][group], "durable logs do not match");
                    return;
                }
            }
        }
    }
}

static const struct sim_replica *leader_find(const struct sim *sim, uint32_t group)
{
    const struct sim_replica *leader = NULL;
    uint64_t term = 0;

    for (uint32_t node = 0; node < sim->node_count; node++) {
        const struct sim_replica *replica = &sim->replicas[node][group];
        struct tide__group_status status;

        if (replica->core == NULL)
            continue;
        tide__group_status(replica->core, &status);
        if (!status.dead && status.state == TIDE__LEADER && status.term > term) {
            leader = replica;
            term = status.term;
        }
    }
    return leader;
}

/* Members catch up, and no change of them hangs. */
static unsigned check_members(struct sim *sim, const struct sim_replica *leader)
{
    struct tide__group_status status;
    struct tide__members members;
    unsigned result = 0;

    tide__group_status(leader->core, &status);
    if (leader->value_count + LAG_MAX < sim->canon_commands[leader->group]) {
        sim_say(sim, leader, "leads, and is behind at the end");
        result |= SIM_STUCK;
    }
    tide__group_members(leader->core, &members);
    for (uint32_t i = 0; i < members.count; i++) {
        const struct sim_replica *replica = &sim->replicas[members.list[i].id - 1][leader->group];

        if (members.list[i].role != TIDE__ROLE_SPARE &&
            replica->value_count + LAG_MAX < leader->value_count) {
            sim_say(sim, replica, "is behind at the end: %zu of %zu", replica->value_count,
                    leader->value_count);
            result |= SIM_STUCK;
        }
    }
    if (status.uncommitted_conf_index != 0 &&
        status.uncommitted_conf_index + LAG_MAX < status.applied_index) {
        sim_say(sim, leader, "a membership change hangs");
        result |= SIM_WEDGED;
    }
    return result;
}

static void say_states(struct sim *sim, uint32_t group)
{
    for (uint32_t node = 0; node < sim->node_count; node++) {
        const struct sim_replica *replica = &sim->replicas[node][group];
        struct tide__group_status status;
        struct tide__members members;
        struct tide_buf text = {0};

        if (replica->core == NULL) {
            sim_say(sim, replica, "closed");
            continue;
        }
        tide__group_status(replica->core, &status);
        tide__group_members(replica->core, &members);
        for (uint32_t i = 0; i < members.count; i++)
            tide_buf_printf(&text, " %llu%c", (unsigned long long)members.list[i].id,
                            "svx"[members.list[i].role]);
        sim_say(sim, replica,
                "state %d term %llu leader %llu last %llu stored %llu commit %llu applied %llu "
                "snapshot %llu uncommitted %llu installing %d dead %d members%.*s",
                (int)status.state, (unsigned long long)status.term,
                (unsigned long long)status.leader, (unsigned long long)status.last_index,
                (unsigned long long)status.stored_index, (unsigned long long)status.commit_index,
                (unsigned long long)status.applied_index, (unsigned long long)status.snapshot_index,
                (unsigned long long)status.uncommitted_conf_index, status.installing, status.dead,
                TIDE_SLICE_ARGS(tide_buf_view(&text)));
        tide_buf_deinit(&text);
    }
}

/* Who leads at the end holds all that was ever acknowledged: the load has stopped some time ago. */
static unsigned check_acked(struct sim *sim, const struct sim_replica *leader)
{
    uint8_t *kept = tide_mem_array(sim->command_count + 1, 1);
    unsigned result = 0;

    for (size_t i = 0; i < leader->value_count; i++)
        kept[leader->values[i] - 1] = 1;
    for (size_t i = 0; i < sim->command_count; i++) {
        if (sim->commands[i].group == leader->group && sim->commands[i].acked && !kept[i]) {
            sim_say(sim, leader, "command %zu was acknowledged and is gone", i + 1);
            result = SIM_LOST;
        }
    }
    tide_mem_free(kept);
    return result;
}

unsigned sim_check_end(struct sim *sim)
{
    unsigned result = 0;

    for (uint32_t group = 0; group < sim->options.groups; group++) {
        const struct sim_replica *leader = leader_find(sim, group);

        check_log_matching(sim, group);
        if (leader == NULL) {
            sim_say(sim, NULL, "no leader of group %u at the end", group + 1);
            say_states(sim, group);
            result |= SIM_STUCK;
        } else {
            result |= check_acked(sim, leader) | check_members(sim, leader);
        }
    }
    return result | sim->unsafe;
}
