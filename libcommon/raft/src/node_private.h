/* The inside of a node, for node.c (what callers see) and loop.c (what the loop threads do).
 *
 * Locks: group->lock and loop->lock are leaves; none is held while a hook or another lock is taken.
 * What is not under a lock belongs to the group's loop thread. */
#ifndef TIDE_RAFT_NODE_PRIVATE_H
#define TIDE_RAFT_NODE_PRIVATE_H

#include "tide/raft/node.h"
#include "wal_private.h"

#include <pthread.h>

#define TIDE__LOOPS_MAX 16

/* Something that a caller waits for on a loop thread. */
enum tide__call_kind { TIDE__CALL_ATTACH, TIDE__CALL_RUN, TIDE__CALL_CHECKPOINT };

struct tide__call {
    enum tide__call_kind kind;
    struct tide_raft_group *group;
    void (*fn)(void *context, uint64_t applied); /* RUN. */
    void *context;
    uint64_t index; /* CHECKPOINT. */
    struct tide_slice manifest;
    const struct tide__stored *stored; /* ATTACH. */
    struct tide_diag *diag;

    enum tide_err err;
    bool done; /* Guarded by the loop's lock, as next. */
    struct tide__call *next;
};

/* An entry of ours that is on its way. */
struct tide__pending {
    uint64_t index;
    uint64_t term;
    struct tide__payload *payload;
};

struct tide_raft_group {
    struct tide_raft_node *node;
    struct tide__loop *loop;
    struct tide_raft_app app;
    uint32_t id;

    pthread_mutex_t lock; /* Guards up to the blank line. */
    pthread_cond_t changed;
    struct tide__item *waiting;
    size_t waiting_count;
    size_t waiting_capacity;
    bool ready;
    enum tide_err failed; /* The group is of no use: why. */

    /* Statistics and bounds; relaxed, they order nothing. */
    atomic_uint_fast64_t queue_bytes;
    atomic_uint_fast64_t term, last_index, commit_index, applied_index, checkpoint_index;
    atomic_uint_fast64_t log_bytes;
    atomic_bool leads;

    struct tide__group *core; /* NULL: closed, to be opened again. */
    uint64_t life;
    struct tide_diag *diag;   /* Of who opens it, while it is being opened. */
    uint64_t applied;         /* What the application holds. */
    uint64_t ready_index;     /* Applied this far, the group is ready. */
    struct tide__item *taken; /* Swapped with waiting. */
    size_t taken_count;
    size_t taken_capacity;
    struct tide__pending *pending; /* A queue: pending_front … pending_count. */
    size_t pending_front;
    size_t pending_count;
    size_t pending_capacity;
    struct tide__db_reader *reader;
    uint32_t *sizes; /* Payload bytes of entries checkpoint + 1 … applied, as pending. */
    size_t sizes_front;
    size_t sizes_count;
    size_t sizes_capacity;
    uint64_t sizes_first; /* Index of the one at sizes_front. */
    struct tide__call *checkpoint;

    struct tide_raft_group *next; /* On its loop. */
    bool attached;                /* Its loop has it, and frees it. */
    bool dead;                    /* The core said so. */
    bool has_work;                /* Committed entries wait to be applied. */
    bool applied_some;

    bool listed; /* Guarded by the loop's lock, as next_ready. */
    struct tide_raft_group *next_ready;
};

struct tide__loop {
    struct tide_raft_node *node;
    pthread_t thread;
    bool started;
    uint32_t number;

    pthread_mutex_t lock; /* Guards up to the blank line. */
    pthread_cond_t wake;
    pthread_cond_t call_done;
    struct tide__op *done;
    struct tide__op **done_next;
    struct tide_raft_group *ready;
    struct tide__call *calls;
    struct tide__call **calls_next;
    bool flushed;   /* A batch is through: look at done. */
    bool broken;    /* The log's life is over. */
    bool recovered; /* It has a new one. */
    bool stopping;
    bool stopped;

    struct tide_raft_group *groups;
    struct tide__op *out; /* Operations of this turn. */
    struct tide__op **out_next;
    uint64_t seq;
};

struct tide_raft_node {
    struct tide_raft_options options;
    struct tide__wal *wal;
    struct tide__loop loops[TIDE__LOOPS_MAX];
    uint32_t loop_count;

    pthread_mutex_t lock; /* Guards groups: ids that are taken. */
    struct tide__ids {
        uint32_t *list;
        size_t count, capacity;
    } ids;

    /* Release and acquire are not needed: what they guard is checked again on the loop thread. */
    atomic_bool closing;
    atomic_bool disk_full;
    atomic_int write_err; /* Why the log cannot be written, or TIDE_OK. */
};

/* loop.c */
TIDE_CHECK_RESULT enum tide_err tide__loop_start(struct tide_raft_node *node, uint32_t number);
/* Ends the thread; the log has been stopped. Its groups' proposals are applied or failed. */
void tide__loop_stop(struct tide__loop *loop);
/* Frees the loop's groups. */
void tide__loop_deinit(struct tide__loop *loop);
void tide__loop_wake_group(struct tide__loop *loop, struct tide_raft_group *group);
/* Hands call to the loop and waits for its end. */
enum tide_err tide__loop_call(struct tide__loop *loop, struct tide__call *call);
extern const struct tide__wal_hooks tide__loop_wal_hooks; /* Without their context. */
void tide__loop_register_metrics(void);

/* node.c */
void tide__proposals_failed(struct tide_raft_group *group, struct tide__item *items, size_t count,
                            enum tide_err err);
void tide__queue_bytes_add(struct tide_raft_group *group, int64_t bytes);
enum tide_err tide__node_write_err(const struct tide_raft_node *node);

#endif
