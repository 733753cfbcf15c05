/* The parts of the ingester: opening and closing (ingester.c), one shard and how it applies its log
 * (shard.c), its checkpoint files (checkpoint.c), and reading over all shards (source.c,
 * series_set.c). */
#ifndef TIDE_INGESTER_PRIVATE_H
#define TIDE_INGESTER_PRIVATE_H

#include "tide/head/exemplars.h"
#include "tide/head/head.h"
#include "tide/head/metadata.h"
#include "tide/ingester/ingester.h"
#include "tide/raft/node.h"

#include <pthread.h>
#include <stdatomic.h>

/* What one shard holds of one tenant. Made when the log first mentions it; lives as long as the
 * shard. */
struct tenant {
    struct tenant *next; /* In its bucket. */
    struct tide_slice name;
    struct tide_head *head;
    struct tide_exemplars *exemplars;
    struct tide_metadata_store *metadata;
};

#define TENANT_BUCKETS 256u

/* What decides about a push beside the push itself. It stands in the log, where it changes, and in
 * checkpoints: so a replay decides as the first time did, whatever the options are by then. Series
 * are numbered as they are made, and the log goes by these numbers. */
struct shard_rules {
    int64_t retention_ms; /* 0: none. */
    uint32_t tenants_max;
    uint32_t series_max; /* Of one tenant in this shard. */
};

struct shard {
    struct tide_ingester *ingester;
    uint32_t id; /* From 0; its Raft group is id + 1. */
    struct tide_raft_group *group;

    pthread_rwlock_t tenants_lock; /* Level 1 in docs/LOCKS.md. The applier writes, readers read. */
    struct tenant *tenants[TENANT_BUCKETS];
    uint32_t tenant_count;

    /* The applier's own: its loop thread, or whoever opens the shard before that. */
    struct tide_arena *arena;
    struct tide_buf refs;     /* uint32_t */
    struct tide_buf new_refs; /* uint32_t */
    struct tide_head_rejects rejects;
    struct shard_rules rules;
    int64_t now_ms;       /* Newest sender's clock in the log. */
    int64_t truncated_ms; /* Everything before it has been dropped. */

    _Atomic bool rules_failed; /* The options' rules did not get into the log. Relaxed: a wish. */

    /* The checkpointing thread's own. */
    uint64_t checkpoint_bytes; /* Size of the last file. */
    char checkpoint_name[64];  /* "" when there is none. */
    bool leftovers;            /* A file was written, but it is not known whether it was named. */
};

struct tide_ingester {
    struct tide_ingester_options options;
    char *data_dir;
    uint64_t identity_seed;
    struct tide_raft_node *node;
    struct shard *shards; /* options.shard_count */
    struct tide_push_sink sink;
    struct tide_source source;

    pthread_mutex_t lock; /* Level 0: held while a checkpoint is taken; guards the fields up to the
                             blank line. */
    bool stopping;

    pthread_cond_t wake;
    pthread_t background; /* Checkpoints that are due, and the time where nobody tells it. */
    bool background_runs;
};

/* ---- shard.c ---- */

TIDE_CHECK_RESULT enum tide_err tide__shard_init(struct shard *shard,
                                                 struct tide_ingester *ingester, uint32_t id);
void tide__shard_deinit(struct shard *shard);
/* Its callbacks for the Raft group. */
struct tide_raft_app tide__shard_app(struct shard *shard);
/* The tenant, or NULL when the shard has nothing of it. Threads: any. */
struct tenant *tide__shard_tenant(struct shard *shard, struct tide_slice name);
/* Adds a tenant that is not there yet; how many there may be is the caller's business. head: NULL
 * makes an empty one; else it is taken over on TIDE_OK. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__shard_tenant_add(struct shard *shard, struct tide_slice name,
                                                       struct tide_head *head, struct tenant **out);
struct tide_head_options tide__shard_head_options(const struct shard *shard);
/* Whether the options ask for other rules than those in force. Only before anything is pushed. */
bool tide__shard_rules_differ(const struct shard *shard);
/* Puts the options' rules into the log: what is pushed later is decided by them. */
void tide__shard_rules_propose(struct shard *shard);
/* Decodes what tide__rules_write() wrote. Errors: TIDE_ERR_CORRUPT. */
TIDE_CHECK_RESULT enum tide_err tide__rules_read(struct tide_reader *r, struct shard_rules *out);
void tide__rules_write(const struct shard_rules *rules, struct tide_buf *out);
/* Exposes what shard.c counts before there is anything to count. */
void tide__shard_metrics_register(void);
/* Implements tide_push_sink.push; context is the ingester. */
void tide__shard_push(void *context, uint32_t shard, struct tide_buf *bytes, tide_push_done done,
                      void *done_context);

/* ---- checkpoint.c ---- */

/* Writes a checkpoint of the shard's state at its applied index and drops the log before it. Under
 * ingester->lock. */
TIDE_CHECK_RESULT enum tide_err tide__checkpoint_take(struct shard *shard, struct tide_diag *diag);
/* As tide__shard_metrics_register(). */
void tide__checkpoint_metrics_register(void);
/* Implements tide_raft_app.restore; context is the shard. */
enum tide_err tide__checkpoint_restore(void *context, uint64_t index, struct tide_slice manifest,
                                       struct tide_diag *diag);
/* Refuses with TIDE_ERR_CORRUPT when a checkpoint is there that is newer than the log: its entries
 * were durable before it was taken. Before the sweep, which would take it for a leftover. */
TIDE_CHECK_RESULT enum tide_err tide__checkpoint_check(const struct shard *shard,
                                                       uint64_t last_index, struct tide_diag *diag);
/* Removes checkpoint files that no manifest names: left by a crash between writing one and naming
 * it. */
void tide__checkpoint_sweep(const struct shard *shard);

/* ---- source.c, series_set.c ---- */

struct tide_source tide__source(struct tide_ingester *ingester);
/* One set over the sets of all shards. Takes over the parts, also when it fails. */
TIDE_CHECK_RESULT enum tide_err tide__series_set_join(struct tide_series_set **parts,
                                                      size_t part_count,
                                                      struct tide_series_set **out);

#endif
