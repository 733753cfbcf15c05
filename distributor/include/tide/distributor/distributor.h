/* The distributor: takes remote_write requests, checks them, hashes each series to its shard and
 * answers when the shards have the samples on disk. Source: Prometheus Remote-Write 1.0 and 2.0
 * specifications; DESIGN section 4. */
#ifndef TIDE_DISTRIBUTOR_DISTRIBUTOR_H
#define TIDE_DISTRIBUTOR_DISTRIBUTOR_H

#include "tide/http/server.h"
#include "tide/model/push.h"
#include "tide/model/write_request.h"

struct tide_distributor;

/* Longest tenant name, in bytes. Same as Mimir, so that names can move here. */
#define TIDE_TENANT_BYTES_MAX 150

struct tide_distributor_options {
    const struct tide_push_sink *sink; /* Borrowed until free. */
    uint64_t identity_seed; /* The cluster's: decides identities, so it must never change. */
    struct tide_write_limits limits;
    uint32_t
        cache_series_max; /* Series whose reference is remembered. Each takes about 32 bytes. */
    /* Asked before a body is decoded. Anything but TIDE_OK refuses the request with that error;
     * diag says why. May be NULL. For memory and disk watermarks. */
    enum tide_err (*admit)(void *context, struct tide_diag *diag);
    void *admit_context;
};

TIDE_CHECK_RESULT enum tide_err tide_distributor_new(const struct tide_distributor_options *options,
                                                     struct tide_distributor **out);
/* After the HTTP server has stopped and the sink has answered all pushes. */
void tide_distributor_free(struct tide_distributor *distributor);

/* The handler of POST /api/v1/write; context is the distributor. Threads: any number at once. */
void tide_distributor_write(void *context, struct tide_http_exchange *x);

/* The tenant a request names in X-Scope-OrgID, "anonymous" when it names none.
 * Errors: TIDE_ERR_INVALID with diag: too long, or a character that is not a letter, a digit or one
 * of !-_.*'(). */
TIDE_CHECK_RESULT enum tide_err tide_tenant_of(const struct tide_http_exchange *x,
                                               struct tide_slice *out, struct tide_diag *diag);

#endif
