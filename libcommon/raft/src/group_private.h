/* One replica of one Raft group: libraft's raft_step() made safe. A pure state machine: it starts
 * no thread, reads no clock and opens no file; what it wants done it hands to hooks. The node
 * drives it with real ones, the simulator (tests/sim) with several replicas over a virtual network
 * and disks.
 *
 * Threads: one at a time per group; different groups share nothing.
 * Source: Ongaro, "Consensus: Bridging Theory and Practice" (2014); libraft 0.22.1. What the
 * library gets wrong is masked by the rules of rules_private.h. */
#ifndef TIDE_RAFT_GROUP_PRIVATE_H
#define TIDE_RAFT_GROUP_PRIVATE_H

#include "payload_private.h"

struct tide__group;

enum tide__entry_type { TIDE__ENTRY_COMMAND = 1, TIDE__ENTRY_BARRIER = 2, TIDE__ENTRY_CHANGE = 3 };

struct tide__entry {
    uint64_t term;
    enum tide__entry_type type;
    struct tide__payload *payload; /* Never NULL where an entry is passed around. */
};

/* ---- Configurations: who votes ---- */

enum tide__role { TIDE__ROLE_STANDBY = 0, TIDE__ROLE_VOTER = 1, TIDE__ROLE_SPARE = 2 };

#define TIDE__MEMBERS_MAX 16

struct tide__member {
    uint64_t id; /* Of a replica, never 0. */
    enum tide__role role;
};

struct tide__members {
    uint32_t count;
    struct tide__member list[TIDE__MEMBERS_MAX];
};

/* Encodes as the library does: a version byte, a count, then id, address and role of each. */
TIDE_CHECK_RESULT enum tide_err tide__conf_encode(const struct tide__members *members,
                                                  struct tide_buf *out);
/* False unless conf is what the library's decoder can be given: it checks little itself. */
bool tide__conf_is_valid(struct tide_slice conf);
/* conf must be valid. */
void tide__conf_decode(struct tide_slice conf, struct tide__members *out);
uint32_t tide__members_voters(const struct tide__members *members);
/* The member with this id, or NULL. */
const struct tide__member *tide__members_find(const struct tide__members *members, uint64_t id);

/* ---- Snapshots ---- */

/* Immutable and counted. The bulk of a snapshot is elsewhere; the manifest says where. */
struct tide__snapshot {
    atomic_uint_fast32_t refs;
    uint64_t index; /* Of the last entry it covers, and that entry's term. */
    uint64_t term;
    uint64_t conf_index; /* Where conf, the configuration as of index, was committed. */
    struct tide_buf conf;
    struct tide_buf manifest;
};

struct tide__snapshot *tide__snapshot_new(uint64_t index, uint64_t term, uint64_t conf_index,
                                          struct tide_slice conf, struct tide_slice manifest);
struct tide__snapshot *tide__snapshot_ref(struct tide__snapshot *snapshot);
void tide__snapshot_unref(struct tide__snapshot *snapshot); /* NULL is allowed. */

/* ---- What the log holds of a group ---- */

/* Entries from index up to the next mark have this term; the one at index has this type and no
 * later one changes the configuration. */
struct tide__mark {
    uint64_t index;
    uint64_t term;
    enum tide__entry_type type;
    struct tide__payload *payload; /* Of a configuration change, else NULL. */
};

struct tide__stored {
    uint64_t term; /* 0: the log does not know the group. */
    uint64_t vote;
    struct tide__snapshot *snapshot; /* May be NULL. */
    uint64_t first, last;            /* Entries; last == first - 1 when there are none. */
    struct tide__mark *marks;        /* The first is at first. */
    size_t mark_count;
    size_t mark_capacity;
};

void tide__stored_deinit(struct tide__stored *stored);

/* ---- What is to be made durable ---- */

enum tide__op_kind {
    TIDE__OP_META,     /* Term and vote. */
    TIDE__OP_APPEND,   /* Drop all entries from first on, then write these. */
    TIDE__OP_SNAPSHOT, /* Store a snapshot taken here and drop the entries before keep. */
    TIDE__OP_INSTALL,  /* Store a fetched snapshot and drop all entries. */
};

/* Operations of one node become durable in the order they were handed in; completions come in that
 * order too. */
struct tide__op {
    enum tide__op_kind kind;
    uint32_t group;
    uint64_t epoch; /* Of the group when it was made: completions of an earlier life are dropped. */
    uint64_t seq;   /* Set by the hook: rising over the node. */
    void *context;  /* The hooks' context. */

    uint64_t term, vote;  /* META. */
    uint64_t first;       /* APPEND. */
    uint64_t prev_term;   /* Of the entry before first; 0 when it is not known. */
    bool truncates;       /* Entries from first on may be there. */
    uint32_t entry_count; /* APPEND. */
    struct tide__entry *entries;
    struct tide__snapshot *snapshot; /* SNAPSHOT, INSTALL. */
    uint64_t keep;

    enum tide_err err; /* For the environment: how it ended. */
    struct tide__op *next;
};

void tide__op_free(struct tide__op *op);

/* ---- Messages between replicas ---- */

enum tide__message_type {
    TIDE__APPEND = 1,
    TIDE__APPEND_RESULT,
    TIDE__VOTE,
    TIDE__VOTE_RESULT,
    TIDE__INSTALL_SNAPSHOT,
    TIDE__TIMEOUT_NOW,
};

struct tide__message {
    enum tide__message_type type;
    uint64_t from, to; /* Replica ids. */
    uint64_t term;
    uint64_t log_index; /* APPEND: of the entry before. VOTE, TIMEOUT_NOW, APPEND_RESULT: last. */
    uint64_t log_term;
    uint64_t commit;   /* APPEND. */
    uint64_t rejected; /* APPEND_RESULT: 0 or the refused index. */
    bool pre_vote, granted, disrupt;
    uint32_t entry_count;
    struct tide__entry *entries;     /* APPEND. */
    struct tide__snapshot *snapshot; /* INSTALL_SNAPSHOT. */
};

/* ---- The group ---- */

enum tide__state { TIDE__FOLLOWER = 1, TIDE__CANDIDATE, TIDE__LEADER };

struct tide__group_hooks {
    void *context;
    /* Makes op durable and later hands it to tide__group_persisted(), then frees it. Takes it over.
     */
    void (*persist)(void *context, struct tide__op *op);
    /* message is borrowed. It may leave once all operations up to seq gate are durable. */
    void (*send)(void *context, const struct tide__message *message, uint64_t gate);
    /* Reads a durable entry back; out->payload is the caller's. */
    enum tide_err (*load)(void *context, uint64_t index, struct tide__entry *out);
    /* A committed entry, in order; entry is borrowed. Every index comes once, whatever its type. */
    void (*apply)(void *context, uint64_t index, const struct tide__entry *entry);
    /* Brings the bulk of a snapshot here, then calls tide__group_fetched(); or re-opens the group
     * when that fails. Owns one reference. */
    void (*fetch)(void *context, struct tide__snapshot *snapshot);
    /* The fetched snapshot is durable: start from it. Borrowed. */
    void (*restore)(void *context, struct tide__snapshot *snapshot);
    /* We became leader, candidate or follower. May be NULL. */
    void (*state)(void *context);
    /* This object is of no more use: free it and open the group again from what is durable. */
    void (*dead)(void *context, enum tide_err err, const char *reason);
};

/* Of rules_private.h. */
#define TIDE__RULES_ALL 4095u

struct tide__group_options {
    struct tide__group_hooks hooks;
    uint32_t id;
    uint64_t replica; /* Ours, never 0. */
    unsigned rules;   /* TIDE__RULES_ALL but in ablation tests. */
    unsigned seed;    /* Of the election timers. */
    uint64_t epoch;
    uint64_t applied; /* What the application holds already; 0 or at least the snapshot's index. */
    uint64_t apply_bytes_max; /* Applied per call, so that other groups get their turn. */
    uint64_t cache_bytes_max; /* Applied payload kept in memory for peers that lag. */
};

/* Opens a group from what is stored. With bootstrap, a group that stored does not know starts with
 * these voters; without it, such a group waits for a leader. Hooks are called before this returns,
 * persist among them; dead is not: that is the answer then. now_ms: of a monotonic clock, > 0.
 * Errors: TIDE_ERR_NO_MEMORY, TIDE_ERR_CORRUPT, with diag. */
TIDE_CHECK_RESULT enum tide_err tide__group_open(const struct tide__group_options *options,
                                                 const struct tide__stored *stored,
                                                 const struct tide__members *bootstrap,
                                                 uint64_t now_ms, struct tide__group **out,
                                                 struct tide_diag *diag);
void tide__group_close(struct tide__group *group); /* NULL is allowed. */

/* Each of these may call any hook. All do nothing once dead was called. */
void tide__group_tick(struct tide__group *group, uint64_t now_ms);
/* Takes a message from a peer; it is borrowed. */
void tide__group_receive(struct tide__group *group, const struct tide__message *message,
                         uint64_t now_ms);
/* Operations are handed back in order, successful ones only. */
void tide__group_persisted(struct tide__group *group, const struct tide__op *op, uint64_t now_ms);
/* Goes on applying; true when there is more to do: call again soon. */
bool tide__group_work(struct tide__group *group, uint64_t now_ms);
/* Appends payloads as commands; takes over their references on success only. *index is the first
 * one's. TIDE_ERR_UNAVAILABLE: we do not lead. */
TIDE_CHECK_RESULT enum tide_err tide__group_submit(struct tide__group *group,
                                                   struct tide__payload **payloads, uint32_t count,
                                                   uint64_t now_ms, uint64_t *index);
/* The application's state up to index is durable elsewhere. trailing: entries before index that
 * stay for peers that lag. TIDE_ERR_INVALID: index is not applied or older than the last one;
 * TIDE_ERR_BUSY: one is under way. */
TIDE_CHECK_RESULT enum tide_err tide__group_snapshot(struct tide__group *group, uint64_t index,
                                                     struct tide_slice manifest, uint64_t trailing);
/* The bulk of the snapshot given to fetch is here and durable. Takes over the reference. */
void tide__group_fetched(struct tide__group *group, struct tide__snapshot *snapshot);

/* ---- Membership; on the leader ---- */

enum tide__change {
    TIDE__ADD_STANDBY,
    TIDE__PROMOTE,
    TIDE__TO_STANDBY,
    TIDE__TO_SPARE,
    TIDE__REMOVE
};

/* Proposes to change one member. TIDE_ERR_UNAVAILABLE: not now (we do not lead, a change or a
 * transfer is under way, no entry of our term is committed); TIDE_ERR_INVALID: it makes no sense,
 * leaves fewer than voters_min voters, or would take away our own vote: transfer first. */
TIDE_CHECK_RESULT enum tide_err tide__group_change(struct tide__group *group, uint64_t replica,
                                                   enum tide__change change, uint32_t voters_min,
                                                   uint64_t now_ms);
/* Brings a standby up to date and then promotes it by itself. Errors: as above. */
TIDE_CHECK_RESULT enum tide_err tide__group_promote(struct tide__group *group, uint64_t replica,
                                                    uint32_t voters_min, uint64_t now_ms);
/* Hands leadership to replica, or to whom the library chooses when it is 0. */
TIDE_CHECK_RESULT enum tide_err tide__group_transfer(struct tide__group *group, uint64_t replica,
                                                     uint64_t now_ms);

/* ---- Looking ---- */

struct tide__group_status {
    enum tide__state state;
    uint64_t term;
    uint64_t leader; /* 0: not known. */
    uint64_t last_index, stored_index, commit_index, applied_index, snapshot_index;
    uint64_t uncommitted_conf_index; /* 0: no change is under way. */
    bool own_term_committed;         /* We lead and an entry of our term is committed. */
    bool installing;
    bool dead;
    uint64_t cache_bytes;
};

void tide__group_status(const struct tide__group *group, struct tide__group_status *out);
/* The configuration in force. */
void tide__group_members(const struct tide__group *group, struct tide__members *out);
/* Term of an entry that is in the log or the snapshot's last; else 0. */
uint64_t tide__group_term_of(const struct tide__group *group, uint64_t index);
/* The library's version is the one whose ownership rules this code keeps. */
bool tide__group_library_is_right(void);

#endif
