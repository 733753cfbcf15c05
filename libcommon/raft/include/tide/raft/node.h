/* Many Raft groups on one node: one RocksDB log with one fsync stream for all of them.
 * Source: DESIGN section 6. libraft and RocksDB are seen by this library only. */
#ifndef TIDE_RAFT_NODE_H
#define TIDE_RAFT_NODE_H

#include "tide/base/slice.h"

struct tide_raft_node;
struct tide_raft_group;

struct tide_raft_options {
    const char *dir;              /* Of the RocksDB log; made when it is not there. */
    uint32_t loop_threads;        /* A group lives on loop (id modulo this). 1 … 16. */
    uint64_t disk_free_bytes_min; /* Under it proposals are refused with TIDE_ERR_DISK_FULL. */
    uint64_t queue_bytes_max; /* Proposals waiting per group; over it TIDE_ERR_UNAVAILABLE. Default
                                 32 MiB. */
    bool sync;                /* false only in benchmarks that ask what fsync costs. */
};

/* What a group does with its log. All are called on the group's loop thread, never two at once for
 * one group. */
struct tide_raft_app {
    void *context;
    /* One committed proposal, in log order. token: the one given to tide_raft_propose() when this
     * process proposed it in this life, else NULL. Must succeed: an error stops the process, since
     * the replica would differ from then on. item is borrowed during the call. */
    enum tide_err (*apply)(void *context, uint64_t index, struct tide_slice item, void *token);
    /* The last apply of a batch was called: a good moment to answer. May be NULL. */
    void (*applied)(void *context, uint64_t index);
    /* Start from this checkpoint: manifest as given to tide_raft_checkpoint(). Called in
     * tide_raft_group_open() when there is one, before any apply; may then run on the opening
     * thread. */
    enum tide_err (*restore)(void *context, uint64_t index, struct tide_slice manifest,
                             struct tide_diag *diag);
    /* A proposal will not be applied by this token, or it is not known whether it will be. */
    void (*failed)(void *context, void *token, enum tide_err err);
};

/* Opens the log and starts the threads. Errors: TIDE_ERR_CORRUPT, TIDE_ERR_IO, TIDE_ERR_DISK_FULL,
 * TIDE_ERR_NO_MEMORY, with diag. */
TIDE_CHECK_RESULT enum tide_err tide_raft_node_open(const struct tide_raft_options *options,
                                                    struct tide_raft_node **out,
                                                    struct tide_diag *diag);
/* Stops: proposals not yet durable fail with TIDE_ERR_UNAVAILABLE, all threads end, the log is
 * closed. */
void tide_raft_node_close(struct tide_raft_node *node);

/* Opens group id (1 … 2^20), bootstrapping it with this node as its only voter when the log does
 * not know it. Several threads may open different groups at once. Errors: as node_open, and what
 * restore answers. */
TIDE_CHECK_RESULT enum tide_err tide_raft_group_open(struct tide_raft_node *node, uint32_t id,
                                                     const struct tide_raft_app *app,
                                                     struct tide_raft_group **out,
                                                     struct tide_diag *diag);
/* Blocks until the group leads and has applied all that its log held at opening, or timeout_ms
 * passed (TIDE_ERR_TIMEOUT). */
TIDE_CHECK_RESULT enum tide_err tide_raft_group_wait_ready(struct tide_raft_group *group,
                                                           int64_t timeout_ms);

/* Hands in a proposal; takes over item (moved, emptied). Then exactly one of app.apply with this
 * token and app.failed follows, perhaps before this returns. token must not be NULL. Threads: any.
 */
void tide_raft_propose(struct tide_raft_group *group, struct tide_buf *item, void *token);

/* Runs fn on the group's loop thread between two applies and waits for it; applied is the index of
 * the last applied entry. For taking a checkpoint of exactly that index. */
TIDE_CHECK_RESULT enum tide_err tide_raft_group_call(struct tide_raft_group *group,
                                                     void (*fn)(void *context, uint64_t applied),
                                                     void *context);
/* The application's state up to and with index is durable elsewhere, described by manifest (at most
 * 64 KiB): stores that and drops the log up to index. Waits until durable. */
TIDE_CHECK_RESULT enum tide_err tide_raft_checkpoint(struct tide_raft_group *group, uint64_t index,
                                                     struct tide_slice manifest);

struct tide_raft_group_stats {
    uint64_t term, last_index, commit_index, applied_index, checkpoint_index;
    uint64_t log_bytes;   /* Payload bytes after the checkpoint. */
    uint64_t queue_bytes; /* Proposals that wait or are in flight. */
    bool leads;
};
void tide_raft_group_stats(const struct tide_raft_group *group, struct tide_raft_group_stats *out);
/* TIDE_OK, TIDE_ERR_DISK_FULL under the watermark, TIDE_ERR_IO while the log cannot be written. */
enum tide_err tide_raft_node_health(const struct tide_raft_node *node);

#endif
