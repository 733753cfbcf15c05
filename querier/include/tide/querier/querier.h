/* The querier: the Prometheus HTTP API for reading, over a query engine and a series source.
 * Source: Prometheus documentation, "HTTP API"; what Grafana asks for is in docs/api.md. */
#ifndef TIDE_QUERIER_QUERIER_H
#define TIDE_QUERIER_QUERIER_H

#include "tide/http/server.h"
#include "tide/model/source.h"
#include "tide/promql/engine.h"

struct tide_querier;

struct tide_querier_options {
    struct tide_engine *engine; /* Borrowed until free, as is source. */
    const struct tide_source *source;
    /* The tenant a request is for. Errors: TIDE_ERR_INVALID with diag. */
    enum tide_err (*tenant)(const struct tide_http_exchange *x, struct tide_slice *out,
                            struct tide_diag *diag);
    int64_t timeout_ms;        /* Longest a query may take; the timeout parameter shortens it. */
    uint64_t memory_bytes_max; /* Of each query. */
    uint64_t total_memory_bytes_max; /* Of all queries together; 0: none. */
    uint64_t samples_max;            /* 0: none. */
    uint64_t series_max;             /* 0: none. */
    const char *version;             /* Of the program. Borrowed. */
};

TIDE_CHECK_RESULT enum tide_err tide_querier_new(const struct tide_querier_options *options,
                                                 struct tide_querier **out);
void tide_querier_free(struct tide_querier *querier); /* After the HTTP server has stopped. */

#define TIDE_QUERIER_ROUTES_MAX 32
/* Writes its routes and answers how many. */
size_t tide_querier_routes(struct tide_querier *querier,
                           struct tide_http_route routes[TIDE_QUERIER_ROUTES_MAX]);

/* The error envelope of the API: for errors the HTTP server itself answers. */
void tide_querier_error_body(int status, const char *message, struct tide_buf *out,
                             const char **content_type);

#endif
