/* What the ingester's tests share: a store in a folder of its own, pushes that wait for their
 * outcome, and reading back as text. All failures end the test. */
#ifndef SUPPORT_INGESTER_H
#define SUPPORT_INGESTER_H

#include "ingester_private.h"

/* As many shards as a test needs to have series on several of them. */
#define STORE_SHARDS 3u

struct store {
    char dir[64];
    struct tide_ingester_options options;
    struct tide_ingester *ingester; /* NULL: closed. */
};

/* Makes the folder; options are small, retention and limits off. */
void store_init(struct store *store);
/* On a folder that is there: it is not removed in the end. */
void store_init_at(struct store *store, const char *dir);
/* Closes and removes the folder. */
void store_deinit(struct store *store);
void store_open(struct store *store);
void store_close(struct store *store);
/* Opens and expects a failure; diag tells it. */
enum tide_err store_open_err(struct store *store, struct tide_diag *diag);

/* ---- Writing ---- */

/* A request of one tenant: staged for each shard, then sent to all of them. */
struct request {
    struct store *store;
    const char *tenant;
    struct tide_push_builder builders[STORE_SHARDS];
};

/* What came of it. */
struct outcome {
    enum tide_err err; /* The first push's that failed. */
    uint32_t refs[64]; /* Of the new series, by shard, then in the order they were added. */
    uint32_t ref_count;
    struct tide_push_reject rejects[64]; /* By shard. */
    uint32_t reject_count;
    uint32_t exemplar_reject_count;
};

void request_init(struct request *request, struct store *store, const char *tenant);
/* A new series {__name__="name", n="n"}. Answers what its samples use; *shard is where it lives. */
uint32_t request_series(struct request *request, const char *name, int n, uint32_t *shard);
/* One sample of such a series. */
void request_sample(struct request *request, const char *name, int n, int64_t ts_ms, double value);
/* One histogram of it, with a bucket. */
void request_histogram(struct request *request, const char *name, int n, int64_t ts_ms,
                       double count, double sum);
/* Sends, waits for all shards and empties the request. */
void request_send(struct request *request, int64_t now_ms, struct outcome *out);
void request_deinit(struct request *request);

/* One sample, stored: the short way. */
void write_one(struct store *store, const char *tenant, const char *name, int n, int64_t ts_ms,
               double value);

/* ---- Reading ---- */

/* All series of the tenant named name, sorted, with their samples: `a{n="1"} 1000:5 2000:6\n`; a
 * histogram is `3000:{count,sum}`.
 * Valid until the next call. */
const char *read_all(struct store *store, const char *tenant, const char *name);
/* Bytes of all logs after their checkpoints. */
uint64_t log_bytes(struct store *store);
/* The path of a file of the shard whose name starts with prefix; "" when there is none. */
void shard_file(const struct store *store, uint32_t shard, const char *prefix, char *path,
                size_t path_bytes);

#endif
