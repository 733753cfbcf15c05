/* The parts of the distributor: set-up (distributor.c), one request (write.c), the reference cache.
 */
#ifndef TIDE_DISTRIBUTOR_PRIVATE_H
#define TIDE_DISTRIBUTOR_PRIVATE_H

#include "ref_cache_private.h"
#include "tide/distributor/distributor.h"

#include <pthread.h>

/* What one request stages for one shard. */
struct shard_stage {
    struct tide_push_builder builder;
    struct tide_buf items; /* uint32_t for each sample: the index of its series in the body. */
    struct tide_buf histogram_items; /* The same for each histogram. */
    struct tide_buf keys; /* struct tide_hash128 for each new series: its key in the cache. */
};

/* A series whose cache line has been asked for. wire_labels borrows from the body. */
struct lookup {
    struct tide_hash128 key;
    struct tide_slice wire_labels;
    struct tide_sample sample;
    uint32_t index; /* Of the series in the body. */
};

#define LOOKUPS_MAX 16u

/* Memory that a worker reuses from request to request. */
struct write_scratch {
    struct write_scratch *next;
    struct tide_write_scanner *scanner;
    struct tide_buf body;
    struct shard_stage *stages; /* One for each shard. */
    struct lookup lookups[LOOKUPS_MAX];
    unsigned lookup_count;
};

struct write_request;

struct tide_distributor {
    struct tide_distributor_options options;
    uint64_t wire_seed;
    struct tide_ref_cache *cache;

    pthread_mutex_t lock; /* Guards the fields up to the blank line. */
    struct write_scratch *idle;
    struct write_request
        *slow_first; /* Requests whose end takes more than an answer, for the slow thread. */
    struct write_request *slow_last;
    bool stopping;

    pthread_cond_t slow_wake;
    pthread_t slow_thread;
};

/* Ends a request that must be read again: to name a refused sample, or to send its labels. */
void tide__write_finish_slow(struct write_request *request);

/* Scratch memory for one pass over a body, and back. NULL: no memory. */
struct write_scratch *tide__scratch_take(struct tide_distributor *distributor);
void tide__scratch_give(struct tide_distributor *distributor, struct write_scratch *scratch);
/* Queues a request for tide__write_finish_slow() on the slow thread. */
void tide__slow_add(struct tide_distributor *distributor, struct write_request *request);
/* Exposes what write.c counts before there is anything to count. */
void tide__write_metrics_register(void);
/* The link of that queue. */
struct write_request **tide__write_slow_link(struct write_request *request);

#endif
