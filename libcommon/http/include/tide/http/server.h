/* HTTP/1.1 server: event loops that read requests whole, handlers on bounded worker pools, answers
 * from any thread. Wraps libmicrohttpd; no other code sees it. */
#ifndef TIDE_HTTP_SERVER_H
#define TIDE_HTTP_SERVER_H

#include "tide/base/slice.h"

struct tide_http_server;
struct tide_http_exchange; /* One request and its answer. */

/* Worker pools: each has its own threads and its own bounded queue, so that slow queries never hold
 * up writes. */
enum tide_http_pool {
    TIDE_HTTP_POOL_WRITE,
    TIDE_HTTP_POOL_QUERY,
    TIDE_HTTP_POOL_ADMIN,
    TIDE_HTTP_POOL_COUNT
};

struct tide_http_route {
    const char *methods; /* "GET,POST" */
    /* Exact path, or with one `*` segment: "/api/v1/label/x/values" matches a pattern with `*` for
     * x. */
    const char *path;
    enum tide_http_pool pool;
    size_t body_bytes_max; /* More: 413, before it is read when Content-Length says so. */
    /* Called on a pool thread with the whole body. Must answer exactly once, now or later, on any
     * thread. */
    void (*handler)(void *context, struct tide_http_exchange *x);
    void *context;
};

struct tide_http_options {
    const char *listen; /* "HOST:PORT", "[::1]:9009", ":9009"; port 0: any. */
    const char *prefix; /* Copied. Also served below this path, "/prometheus"; NULL: none. */
    uint32_t loop_threads;
    uint32_t pool_threads[TIDE_HTTP_POOL_COUNT];
    uint32_t pool_queue_max[TIDE_HTTP_POOL_COUNT]; /* Waiting exchanges; more are answered 503 with
                                                      Retry-After: 1. The query pool takes its
                                                      tenants (X-Scope-OrgID) in turn, and one that
                                                      is named may fill three quarters. */
    uint32_t connections_max;                      /* More wait in the kernel until others close. */
    uint32_t idle_timeout_s;                       /* A connection without traffic is closed. */
    uint32_t request_timeout_s; /* A request that is not read whole by then: 408. */
    uint64_t bodies_bytes_max;  /* Over all requests in flight; over it 503 with Retry-After: 1. */
    const struct tide_http_route *routes; /* Copied. */
    size_t route_count;
    /* Makes the body for errors the server itself answers (404, 405, 408, 413, 503); NULL: plain
     * text. */
    void (*error_body)(int status, const char *message, struct tide_buf *out,
                       const char **content_type);
};

/* Errors: TIDE_ERR_INVALID (listen), TIDE_ERR_BUSY (address in use), TIDE_ERR_IO,
 * TIDE_ERR_NO_MEMORY, with diag. */
TIDE_CHECK_RESULT enum tide_err tide_http_server_start(const struct tide_http_options *options,
                                                       struct tide_http_server **out,
                                                       struct tide_diag *diag);
uint16_t tide_http_server_port(const struct tide_http_server *server);
/* Stops accepting, lets exchanges in flight finish for at most grace_ms, then cuts their clients
 * off (they are gone) and returns when each handler has answered. */
void tide_http_server_stop(struct tide_http_server *server, int64_t grace_ms);

/* ---- The request: borrowed until the answer is given ---- */

struct tide_slice tide_http_method(const struct tide_http_exchange *x);
struct tide_slice
tide_http_path(const struct tide_http_exchange *x); /* Without prefix and query. */
struct tide_slice
tide_http_path_arg(const struct tide_http_exchange *x); /* What `*` matched, percent-decoded. */
struct tide_slice tide_http_header(const struct tide_http_exchange *x,
                                   const char *name); /* Empty: not there. */
struct tide_slice tide_http_body(const struct tide_http_exchange *x);
/* Parameters of the query string, then of a form body (application/x-www-form-urlencoded, POST),
 * percent-decoded. Value of the first with this name; false when there is none. */
bool tide_http_param(const struct tide_http_exchange *x, const char *name, struct tide_slice *out);
/* The nth (from 0) with this name. */
bool tide_http_param_nth(const struct tide_http_exchange *x, const char *name, size_t nth,
                         struct tide_slice *out);
/* True once the client has gone: the answer will reach nobody. */
bool tide_http_gone(const struct tide_http_exchange *x);
/* Called at most once, from another thread or before this returns, if the client goes before the
 * answer is complete; noticed within about 200 ms. Cleared by answering: fn does not run during or
 * after that. It runs under locks of the server: it must be quick and must not call the server.
 * For canceling queries. */
void tide_http_on_gone(struct tide_http_exchange *x, void (*fn)(void *context), void *context);

/* ---- The answer: exactly one of respond, or begin … end ---- */

/* Adds a header of the answer (copied). Before respond or begin. */
void tide_http_add_header(struct tide_http_exchange *x, const char *name, const char *value);
/* Takes over body (moved). The exchange must not be touched afterwards. */
void tide_http_respond(struct tide_http_exchange *x, int status, const char *content_type,
                       struct tide_buf *body);
/* To HEAD, the answer is complete before the handler is: it finds its client gone.
 *
 * Streams: each write hands over bytes and blocks while 1 MiB waits for a slow client (at most the
 * server's idle timeout). Gzip when the client accepts it is not done here. TIDE_ERR_CANCELED:
 * client gone, still call end. */
void tide_http_begin(struct tide_http_exchange *x, int status, const char *content_type);
TIDE_CHECK_RESULT enum tide_err tide_http_write(struct tide_http_exchange *x,
                                                struct tide_slice bytes);
/* complete false: cuts the connection so that the client sees a broken answer. */
void tide_http_end(struct tide_http_exchange *x, bool complete);

#endif
