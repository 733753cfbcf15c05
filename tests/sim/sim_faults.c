/* What goes wrong, and who may vote. */
#include "sim.h"

static void cut_both(struct sim *sim, uint32_t a, uint32_t b)
{
    if (a != b)
        sim->cut[a][b] = sim->cut[b][a] = true;
}

void sim_fault(struct sim *sim)
{
    static const uint32_t fsync_ms[] = {2, 10, 50, 400, 2500};
    static const uint32_t drops[] = {0, 5, 50, 150};
    uint32_t a = (uint32_t)sim_random(sim, sim->node_count);
    uint32_t b = (uint32_t)sim_random(sim, sim->node_count);

    if (sim->healed)
        return;
    switch (sim_random(sim, 9)) {
    case 0:
    case 1:
        sim->cut[a][b] = a != b;
        break;
    case 2:
        cut_both(sim, a, b);
        break;
    case 3:
        for (uint32_t other = 0; other < sim->node_count; other++)
            cut_both(sim, a, other);
        break;
    case 4:
        memset(sim->cut, 0, sizeof(sim->cut));
        break;
    case 5:
        sim->nodes[a].fsync_ms_max = fsync_ms[sim_random(sim, 5)];
        break;
    case 6:
        sim->drop_per_mille = drops[sim_random(sim, 4)];
        break;
    case 7:
        if (sim->nodes[a].alive)
            sim_crash(sim, a);
        break;
    default:
        for (uint32_t node = 0; node < sim->node_count; node++)
            if (!sim->nodes[node].alive)
                sim_boot(sim, node);
        break;
    }
    sim_push(sim, sim->now_ms + 100 + sim_random(sim, 900), SIM_FAULT, 0, 0, 0, NULL, NULL);
}

void sim_heal(struct sim *sim)
{
    sim->healed = true;
    sim->drop_per_mille = 0;
    memset(sim->cut, 0, sizeof(sim->cut));
    for (uint32_t node = 0; node < sim->node_count; node++) {
        sim->nodes[node].fsync_ms_max = 5;
        if (!sim->nodes[node].alive)
            sim_boot(sim, node);
    }
}

/* One random step of a leader: bring a stranger in, promote, demote, remove, or hand over. */
static void members_step(struct sim *sim, struct sim_replica *replica)
{
    uint32_t voters_min = sim->options.voters_min;
    uint64_t id = 1 + sim_random(sim, sim->node_count);
    const struct tide__member *member;
    struct tide__members members;
    enum tide__change change;
    enum tide_err err;

    tide__group_members(replica->core, &members);
    member = tide__members_find(&members, id);
    if (member == NULL) {
        change = TIDE__ADD_STANDBY;
    } else if (member->role != TIDE__ROLE_VOTER) {
        if (sim_random(sim, 4) == 0) {
            change = member->role == TIDE__ROLE_SPARE ? TIDE__TO_STANDBY : TIDE__TO_SPARE;
        } else if (sim_random(sim, 5) == 0) {
            change = TIDE__REMOVE;
        } else {
            if (member->role == TIDE__ROLE_STANDBY &&
                tide__group_promote(replica->core, id, voters_min, sim->now_ms) == TIDE_OK)
                sim->changes++;
            return;
        }
    } else if (sim_random(sim, 2) == 0 ||
               (id == replica->node + 1 && (sim->options.rules & 16) != 0)) {
        err = tide__group_transfer(replica->core, sim_random(sim, 3) == 0 ? 0 : id, sim->now_ms);
        sim->transfers += err == TIDE_OK;
        return;
    } else if (sim_random(sim, 2) == 0) {
        change = TIDE__REMOVE;
    } else {
        change = sim_random(sim, 2) == 0 ? TIDE__TO_STANDBY : TIDE__TO_SPARE;
    }
    err = tide__group_change(replica->core, id, change, voters_min, sim->now_ms);
    sim->changes += err == TIDE_OK;
}

void sim_members(struct sim *sim)
{
    if (sim->healed)
        return;
    for (uint32_t node = 0; node < sim->node_count; node++) {
        for (uint32_t group = 0; group < sim->options.groups; group++) {
            struct sim_replica *replica = &sim->replicas[node][group];
            struct tide__group_status status;

            if (replica->core == NULL)
                continue;
            tide__group_status(replica->core, &status);
            if (!status.dead && status.state == TIDE__LEADER)
                members_step(sim, replica);
        }
    }
    sim_push(sim, sim->now_ms + 100 + sim_random(sim, 600), SIM_MEMBERS, 0, 0, 0, NULL, NULL);
}
