/* Nodes and their replicas: hooks of the production group, starting, crashing, and the application,
 * a list of the numbers it was given. */
#include "sim.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define REOPEN_MS 50
#define LOG_REOPEN_MS 1000
#define SNAPSHOT_EVERY 40
#define SNAPSHOT_TRAILING 10
#define APPLY_BYTES_MAX 400
/* Small, so that entries for peers are often read back. */
#define CACHE_BYTES_MAX 200

/* ---- Hooks ---- */

static void hook_persist(void *context, struct tide__op *op)
{
    struct sim_replica *replica = context;

    sim_disk_queue(&replica->sim->nodes[replica->node], op);
    sim_disk_kick(replica->sim, replica->node);
}

static void hook_send(void *context, const struct tide__message *message, uint64_t gate)
{
    sim_send(context, message, gate);
}

static enum tide_err hook_load(void *context, uint64_t index, struct tide__entry *out)
{
    struct sim_replica *replica = context;
    const struct tide__entry *entry = sim_store_entry(&replica->store, index);

    replica->sim->loads++;
    if (entry == NULL)
        return TIDE_ERR_NOT_FOUND;
    *out = *entry;
    tide__payload_ref(out->payload);
    return TIDE_OK;
}

/* The number a command carries. */
static uint64_t command_value(const struct tide__payload *payload)
{
    struct tide_slice item;
    uint64_t value;

    if (payload->item_count > 0) {
        item = tide_buf_view(&payload->items[0].data);
    } else {
        struct tide_reader reader = tide_reader(payload->parts[0]);
        enum tide_err err = tide__payload_next(&reader, &item);

        TIDE_ASSERT(err == TIDE_OK);
    }
    TIDE_ASSERT(item.len == sizeof(value));
    memcpy(&value, item.ptr, sizeof(value));
    return value;
}

static void hook_apply(void *context, uint64_t index, const struct tide__entry *entry)
{
    struct sim_replica *replica = context;
    uint64_t value = entry->type == TIDE__ENTRY_COMMAND ? command_value(entry->payload) : 0;

    if (index != replica->applied + 1)
        sim_unsafe(replica->sim, replica, "an index was skipped or applied twice");
    replica->applied = index;
    if (value != 0) {
        replica->values = sim_grow(replica->values, &replica->value_capacity,
                                   replica->value_count + 1, sizeof(uint64_t));
        replica->values[replica->value_count++] = value;
    }
    sim_check_applied(replica, index, entry, value);
}

static void hook_fetch(void *context, struct tide__snapshot *snapshot)
{
    struct sim_replica *replica = context;
    struct sim *sim = replica->sim;
    bool slow = !sim->healed && sim_random(sim, 4) == 0;

    sim->installs++;
    sim_push(sim, sim->now_ms + 1 + sim_random(sim, slow ? 3000 : 50), SIM_FETCHED, replica->node,
             replica->group, replica->epoch, NULL, snapshot);
}

static void app_restore(struct sim_replica *replica, const struct tide__snapshot *snapshot)
{
    replica->value_count = snapshot->manifest.len / sizeof(uint64_t);
    replica->values =
        sim_grow(replica->values, &replica->value_capacity, replica->value_count, sizeof(uint64_t));
    if (replica->value_count > 0)
        memcpy(replica->values, snapshot->manifest.ptr, snapshot->manifest.len);
    replica->applied = snapshot->index;
    sim_check_restored(replica, snapshot->index);
}

static void hook_restore(void *context, struct tide__snapshot *snapshot)
{
    app_restore(context, snapshot);
}

static void hook_state(void *context)
{
    sim_check_leader(context);
}

static void hook_dead(void *context, enum tide_err err, const char *reason)
{
    struct sim_replica *replica = context;

    sim_say(replica->sim, replica, "dead: %s (%s)", reason, tide_err_name(err));
    if (strstr(reason, "shut") != NULL)
        sim_unsafe(replica->sim, replica, "an entry conflicts with a committed one");
    replica->dead = true;
    sim_reopen_later(replica);
}

/* ---- Starting ---- */

static void replica_open(struct sim_replica *replica, bool keeps_state)
{
    struct sim *sim = replica->sim;
    struct tide__group_options options = {
        .hooks = {.context = replica,
                  .persist = hook_persist,
                  .send = hook_send,
                  .load = hook_load,
                  .apply = hook_apply,
                  .fetch = hook_fetch,
                  .restore = hook_restore,
                  .state = hook_state,
                  .dead = hook_dead},
        .id = replica->group + 1,
        .replica = replica->node + 1,
        .rules = sim->options.rules,
        .seed = (unsigned)sim_random(sim, 1u << 30),
        .epoch = ++replica->epoch,
        .apply_bytes_max = APPLY_BYTES_MAX,
        .cache_bytes_max = CACHE_BYTES_MAX,
    };
    struct tide__members members = {.count = sim->options.voters};
    struct tide__stored stored;
    struct tide_diag diag = {""};
    enum tide_err err;

    for (uint32_t i = 0; i < members.count; i++)
        members.list[i] = (struct tide__member){i + 1, TIDE__ROLE_VOTER};
    sim_store_load(&replica->store, &stored);
    if (!keeps_state) {
        replica->value_count = 0;
        replica->applied = 0;
    }
    if (stored.snapshot != NULL && stored.snapshot->index > replica->applied)
        app_restore(replica, stored.snapshot);
    if (stored.last < replica->applied)
        sim_unsafe(sim, replica, "entries that were applied are not on disk");
    options.applied = replica->applied;
    replica->dead = false;
    err = tide__group_open(&options, &stored, replica->node < members.count ? &members : NULL,
                           sim->now_ms, &replica->core, &diag);
    tide__stored_deinit(&stored);
    if (err != TIDE_OK) {
        sim_say(sim, replica, "cannot be opened: %s", diag.text);
        sim_unsafe(sim, replica, "a replica cannot be opened");
    }
}

void sim_boot(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];

    node->alive = true;
    node->broken = false;
    node->durable_seq = node->seq;
    for (uint32_t group = 0; group < sim->options.groups; group++) {
        struct sim_replica *replica = &sim->replicas[number][group];

        replica->reopening = false;
        replica_open(replica, false);
    }
    sim_push(sim, sim->now_ms + 20, SIM_TICK, number, 0, node->epoch, NULL, NULL);
}

static void close_all(struct sim *sim, uint32_t number)
{
    sim_net_lose(&sim->nodes[number]);
    for (uint32_t group = 0; group < sim->options.groups; group++) {
        struct sim_replica *replica = &sim->replicas[number][group];

        tide__group_close(replica->core);
        replica->core = NULL;
        replica->epoch++;
    }
}

void sim_crash(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];

    sim->crashes++;
    sim_disk_lose(sim, number);
    node->alive = false;
    node->broken = false;
    node->epoch++;
    node->log_life++;
    close_all(sim, number);
}

/* As wal.c and loop.c do: all groups are closed, the application stays, the log is opened again. */
void sim_log_fails(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];

    sim->log_failures++;
    sim_disk_lose(sim, number);
    node->broken = true;
    node->log_life++;
    close_all(sim, number);
    sim_push(sim, sim->now_ms + LOG_REOPEN_MS, SIM_LOG_OPENED, number, 0, node->log_life, NULL,
             NULL);
}

void sim_log_opened(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];

    node->broken = false;
    node->durable_seq = node->seq;
    for (uint32_t group = 0; group < sim->options.groups; group++) {
        struct sim_replica *replica = &sim->replicas[number][group];

        replica->reopening = false;
        replica_open(replica, true);
    }
}

void sim_reopen_later(struct sim_replica *replica)
{
    struct sim *sim = replica->sim;

    if (replica->reopening)
        return;
    replica->reopening = true;
    sim_push(sim, sim->now_ms + REOPEN_MS, SIM_REOPEN, replica->node, replica->group,
             sim->nodes[replica->node].log_life, NULL, NULL);
}

/* Closes the group, and opens it again once nothing of it is on its way to the disk. */
void sim_reopen(struct sim_replica *replica)
{
    struct sim *sim = replica->sim;

    if (replica->core != NULL) {
        tide__group_close(replica->core);
        replica->core = NULL;
        replica->epoch++;
    }
    if (sim_disk_holds(&sim->nodes[replica->node], replica)) {
        sim_push(sim, sim->now_ms + 20, SIM_REOPEN, replica->node, replica->group,
                 sim->nodes[replica->node].log_life, NULL, NULL);
        return;
    }
    sim->reopens++;
    replica->reopening = false;
    replica_open(replica, sim_random(sim, 2) == 0);
}

void sim_maybe_snapshot(struct sim_replica *replica)
{
    struct tide__group_status status;
    struct tide_slice manifest = {(const uint8_t *)replica->values,
                                  replica->value_count * sizeof(uint64_t)};

    if (replica->core == NULL || replica->dead)
        return;
    tide__group_status(replica->core, &status);
    if (replica->applied <= status.snapshot_index + SNAPSHOT_EVERY)
        return;
    /* Refused while one is under way. */
    enum tide_err err =
        tide__group_snapshot(replica->core, replica->applied, manifest, SNAPSHOT_TRAILING);

    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_BUSY);
}

/* One to three commands, to whom leads. */
void sim_submit(struct sim *sim, struct sim_replica *replica)
{
    uint32_t count = 1 + (uint32_t)sim_random(sim, 3);
    struct tide__payload *payloads[3];
    uint64_t index;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = ++sim->command_count;
        struct tide__item item = {{0}, NULL};

        sim->commands = sim_grow(sim->commands, &sim->command_capacity, sim->command_count,
                                 sizeof(*sim->commands));
        sim->commands[value - 1] =
            (struct sim_command){replica->node, replica->group, replica->epoch, false, false};
        tide_buf_add(&item.data, &value, sizeof(value));
        payloads[i] = tide__payload_of_items(&item, 1);
        TIDE_ASSERT(payloads[i] != NULL);
    }
    if (tide__group_submit(replica->core, payloads, count, sim->now_ms, &index) != TIDE_OK)
        for (uint32_t i = 0; i < count; i++)
            tide__payload_unref(payloads[i]);
}
