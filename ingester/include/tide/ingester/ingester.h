/* The ingester: holds shards. A shard is one Raft group whose log is a sequence of pushes; applying
 * it makes the heads of the shard's tenants. Checkpoints of the heads bound the log. Source: DESIGN
 * sections 4 to 6. */
#ifndef TIDE_INGESTER_INGESTER_H
#define TIDE_INGESTER_INGESTER_H

#include "tide/model/push.h"
#include "tide/model/source.h"

struct tide_ingester;

struct tide_ingester_options {
    const char *data_dir; /* Existing. Gets log/ and shards/. */
    uint32_t
        shard_count; /* Fixed when the directory is first used; another number later is refused. */
    uint32_t loop_threads;         /* For the Raft groups. */
    int64_t retention_ms;          /* Older samples are refused and dropped. 0: kept for ever. */
    uint64_t checkpoint_log_bytes; /* A shard whose log has grown by this much, and by as much as
                                      its last checkpoint holds, is checkpointed. */
    uint64_t disk_free_bytes_min;  /* Under it writes are refused. */
    uint32_t tenants_max;
    uint32_t series_per_tenant_max; /* Over all shards, about: divided among them. 0: none. */
    uint32_t exemplars_max;         /* Kept for each tenant, over all shards. */
};

/* Opens all shards: reads their checkpoints and replays their logs, then answers. Errors with diag:
 * TIDE_ERR_CORRUPT, TIDE_ERR_IO, TIDE_ERR_DISK_FULL, TIDE_ERR_INVALID (shard_count),
 * TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_ingester_open(const struct tide_ingester_options *options,
                                                   struct tide_ingester **out,
                                                   struct tide_diag *diag);
/* Checkpoints all shards, so that the next start replays nothing, and closes. No push may be under
 * way, no set of the source may live. */
void tide_ingester_close(struct tide_ingester *ingester);

/* A random number drawn when the directory was made: the seed of all identities in it. */
uint64_t tide_ingester_identity_seed(const struct tide_ingester *ingester);
/* Live as long as the ingester. Threads: any. */
const struct tide_push_sink *tide_ingester_sink(const struct tide_ingester *ingester);
const struct tide_source *tide_ingester_source(const struct tide_ingester *ingester);
/* TIDE_OK when writes are accepted; else why not. Cheap. */
enum tide_err tide_ingester_health(const struct tide_ingester *ingester);
/* Checkpoints every shard now and waits for it. */
TIDE_CHECK_RESULT enum tide_err tide_ingester_checkpoint(struct tide_ingester *ingester,
                                                         struct tide_diag *diag);

#endif
