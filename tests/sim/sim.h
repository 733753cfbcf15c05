/* A deterministic simulator of the Raft groups of several nodes: the production code of
 * libcommon/raft (group.c and what it calls) over a virtual clock, network and disks. All that
 * happens follows from one seed.
 *
 * Faults: messages dropped, delayed, reordered and duplicated; links cut one way or both; disks
 * that are slow; crashes that lose what was not synced; disk errors, after which a node stops or
 * opens its log again; snapshot fetches that take long or fail; membership changes and leadership
 * transfers. After heal_ms there are no faults, and all must come to rest.
 *
 * Checks: sim_check.c. */
#ifndef TIDE_SIM_H
#define TIDE_SIM_H

#include "group_private.h"

#define SIM_NODES_MAX 6
#define SIM_GROUPS_MAX 8

struct sim_options {
    uint32_t voters; /* Nodes 1 … voters start as voters of every group. */
    uint32_t groups;
    uint32_t voters_min; /* Membership changes leave at least this many. */
    unsigned rules;
    bool reorder; /* Late and duplicated messages; else links keep the order. */
    bool members; /* Membership changes, among all SIM_NODES_MAX nodes. */
    bool disk_errors;
    uint64_t heal_ms;
    uint64_t end_ms;
    bool verbose;
};

/* What a seed runs by default: chosen by the seed, so that many seeds cover all combinations. */
void sim_options_of_seed(uint64_t seed, struct sim_options *out);

/* Bits of what sim_run() answers. */
#define SIM_UNSAFE 1u /* Replicas disagree, two leaders in one term, logs that do not match. */
#define SIM_LOST 2u   /* An acknowledged command is gone. */
#define SIM_STUCK 4u  /* After healing, a group has no leader or a replica does not catch up. */
#define SIM_WEDGED 8u /* A membership change neither ended nor was undone. */

unsigned sim_run(uint64_t seed, const struct sim_options *options);

/* ---- Inside ---- */

struct sim;

/* What is durable of a replica. */
struct sim_store {
    uint64_t term, vote;
    struct tide__snapshot *snapshot;
    uint64_t first; /* Of entries. */
    struct tide__entry *entries;
    size_t count, capacity;
};

struct sim_replica {
    struct sim *sim;
    uint32_t node, group;
    struct tide__group *core; /* NULL: crashed, or about to be opened again. */
    uint64_t epoch;
    struct sim_store store;
    bool reopening;
    bool dead;

    uint64_t *values; /* The application: commands applied, in order. */
    size_t value_count, value_capacity;
    uint64_t applied;
};

struct sim_held {
    struct tide__message message; /* Owns references to its payloads and snapshot. */
    uint32_t group;
    uint64_t gate;
    struct sim_held *next;
};

struct sim_node {
    bool alive;
    bool broken;       /* Its log is being opened again. */
    uint64_t epoch;    /* Of the process: up by one at each crash. */
    uint64_t log_life; /* Up by one when the log breaks. */
    struct tide__op *queue, **queue_end, *flight;
    uint64_t seq, durable_seq;
    struct sim_held *held, **held_end;
    uint32_t fsync_ms_max;
};

enum sim_event_kind {
    SIM_TICK,
    SIM_MESSAGE,
    SIM_FSYNC,
    SIM_FAULT,
    SIM_LOAD,
    SIM_FETCHED,
    SIM_MEMBERS,
    SIM_REOPEN,
    SIM_LOG_OPENED,
};

struct sim_event {
    uint64_t time_ms, order;
    enum sim_event_kind kind;
    uint32_t node, group;
    uint64_t epoch;
    struct sim_held *message;
    struct tide__snapshot *snapshot;
};

/* One applied entry, as the first replica to apply it saw it. */
struct sim_canon {
    uint64_t term;
    uint64_t value; /* 0: not a command. */
};

struct sim_command {
    uint32_t node, group;
    uint64_t epoch; /* Of the replica that took it. */
    bool acked;
    bool applied;
};

struct sim {
    struct sim_options options;
    uint64_t random;
    uint64_t now_ms;
    bool healed;
    uint32_t node_count;
    uint32_t drop_per_mille;
    bool cut[SIM_NODES_MAX][SIM_NODES_MAX];
    uint64_t link_last_ms[SIM_NODES_MAX][SIM_NODES_MAX][SIM_GROUPS_MAX];
    struct sim_node nodes[SIM_NODES_MAX];
    struct sim_replica replicas[SIM_NODES_MAX][SIM_GROUPS_MAX];
    struct sim_event *events; /* A heap. */
    size_t event_count, event_capacity;
    uint64_t event_order;

    struct sim_canon *canon[SIM_GROUPS_MAX]; /* By index. */
    size_t canon_count[SIM_GROUPS_MAX], canon_capacity[SIM_GROUPS_MAX];
    size_t canon_commands[SIM_GROUPS_MAX];
    uint64_t *leaders[SIM_GROUPS_MAX]; /* Node + 1 by term. */
    size_t leader_capacity[SIM_GROUPS_MAX];
    struct sim_command *commands; /* By value - 1. */
    size_t command_count, command_capacity;
    unsigned unsafe;

    uint64_t elections, crashes, installs, reopens, changes, transfers, log_failures, acks, loads;
};

uint64_t sim_random(struct sim *sim, uint64_t below);
void sim_push(struct sim *sim, uint64_t time_ms, enum sim_event_kind kind, uint32_t node,
              uint32_t group, uint64_t epoch, struct sim_held *message,
              struct tide__snapshot *snapshot);
bool sim_pop(struct sim *sim, struct sim_event *out);
void sim_say(struct sim *sim, const struct sim_replica *replica, const char *format, ...)
    TIDE_PRINTF(3, 4);
void sim_unsafe(struct sim *sim, const struct sim_replica *replica, const char *what);
void *sim_grow(void *array, size_t *capacity, size_t count, size_t item_bytes);

/* sim_disk.c */
void sim_disk_queue(struct sim_node *node, struct tide__op *op);
void sim_disk_kick(struct sim *sim, uint32_t node);
void sim_disk_sync(struct sim *sim, uint32_t node);
void sim_disk_lose(struct sim *sim, uint32_t node);
void sim_store_load(const struct sim_store *store, struct tide__stored *out);
const struct tide__entry *sim_store_entry(const struct sim_store *store, uint64_t index);
bool sim_disk_holds(const struct sim_node *node, const struct sim_replica *replica);

/* sim_net.c */
void sim_send(struct sim_replica *replica, const struct tide__message *message, uint64_t gate);
void sim_net_flush(struct sim *sim, uint32_t node);
void sim_net_lose(struct sim_node *node);
void sim_deliver(struct sim *sim, struct sim_event *event);
void sim_held_free(struct sim_held *held);

/* sim_node.c */
void sim_boot(struct sim *sim, uint32_t node);
void sim_crash(struct sim *sim, uint32_t node);
void sim_log_fails(struct sim *sim, uint32_t node);
void sim_log_opened(struct sim *sim, uint32_t node);
void sim_reopen_later(struct sim_replica *replica);
void sim_reopen(struct sim_replica *replica);
void sim_maybe_snapshot(struct sim_replica *replica);
void sim_submit(struct sim *sim, struct sim_replica *replica);

/* sim_faults.c */
void sim_fault(struct sim *sim);
void sim_members(struct sim *sim);
void sim_heal(struct sim *sim);

/* sim_check.c */
void sim_check_applied(struct sim_replica *replica, uint64_t index, const struct tide__entry *entry,
                       uint64_t value);
void sim_check_restored(struct sim_replica *replica, uint64_t index);
void sim_check_leader(struct sim_replica *replica);
unsigned sim_check_end(struct sim *sim);

#endif
