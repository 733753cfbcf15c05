/* What the files of the server share. No file outside this library sees it.
 *
 * An exchange goes through the states of enum tide__http_state:
 *
 *   READING --body whole--> RUNNING --respond--> ANSWERED --sent--> freed by the event loop
 *      |                       '------begin----> STREAMING --end and sent--> freed by the later one
 *      '--refused, client gone, too slow--> answered or freed by the event loop
 *
 * While RUNNING its connection is suspended: the event loop does not touch it, and the handler owns
 * the exchange. While STREAMING both use it, under its lock.
 *
 * Locks, in the order they are taken: server->lock, then exchange->lock, then libmicrohttpd's own.
 * A pool's lock is taken alone, or before libmicrohttpd's. */
#ifndef TIDE_HTTP_SERVER_PRIVATE_H
#define TIDE_HTTP_SERVER_PRIVATE_H

#include "tide/base/metrics.h"
#include "tide/http/server.h"

#include <pthread.h>
#include <stdatomic.h>

/* Bytes of answer that wait for a slow client. */
#define TIDE__HTTP_STREAM_BYTES_MAX ((size_t)1 << 20)
/* The event loop is woken once so many bytes wait, not for each small write. */
#define TIDE__HTTP_STREAM_BYTES_WAKE ((size_t)64 << 10)

struct MHD_Connection;
struct MHD_Daemon;

struct tide__http_link {
    struct tide__http_link *prev;
    struct tide__http_link *next;
};

/* One socket; lives from accept to close. Guarded by server->lock. */
struct tide__http_conn {
    struct tide__http_link link; /* First: of server->conns. */
    int fd;
    bool busy;             /* A request line has come whose answer is not complete. */
    int64_t idle_since_ms; /* Monotonic; when busy became false. */
};

enum tide__http_state {
    TIDE__HTTP_READING,
    TIDE__HTTP_RUNNING,
    TIDE__HTTP_ANSWERED,
    TIDE__HTTP_STREAMING
};

struct tide__http_param {
    struct tide_slice name;
    struct tide_slice value;
};

struct tide__http_route {
    struct tide_http_route route; /* Its strings are copies, in server->route_text. */
    struct tide_slice before;     /* The pattern up to its `*`; all of it when it has none. */
    struct tide_slice after;
    bool has_star;
};

struct tide_http_exchange {
    struct tide__http_link link; /* First: of server->exchanges. Guarded by server->lock. */
    struct tide_http_server *server;
    struct MHD_Connection *connection;
    struct tide__http_conn *conn;
    int64_t started_ms; /* Monotonic. */
    int64_t queued_ns;
    struct tide_slice queue_key;           /* While it waits: guarded by the pool's lock. */
    struct tide_http_exchange *queue_next; /* Of the same key. */

    /* The request. Written by the event loop before RUNNING, then read only. */
    char method[16];
    struct tide_slice uri; /* As sent; the bytes follow this struct. */
    struct tide_slice path;
    struct tide_slice query;
    struct tide_slice path_arg;
    struct tide_buf path_arg_text;
    const struct tide__http_route *route; /* NULL: none. */
    struct tide_buf head;                 /* Headers: two lengths, name, value. */
    struct tide_buf body;
    uint64_t body_expected; /* Content-Length; 0: not told. */
    size_t body_accounted;  /* Against server->bodies_bytes. */
    size_t discarded;
    bool begun;          /* The first call for this request has been made. */
    int refused;         /* The status to answer when the body has been read; 0: none. */
    struct tide_buf why; /* Text for that. */
    struct tide_buf allow;
    struct tide__http_param *params;
    size_t param_count;
    struct tide_buf param_text;

    atomic_bool gone; /* Relaxed: it only makes somebody stop early. */

    pthread_mutex_t lock; /* Guards what follows. */
    enum tide__http_state state;
    bool timed_out; /* Answered 408 behind libmicrohttpd's back; it must not write any more. */
    void (*gone_fn)(void *context);
    void *gone_context;
    int status;
    struct tide_buf headers; /* Of the answer: name NUL value NUL, repeated. */
    struct tide_buf answer;  /* ANSWERED: the body. */

    /* STREAMING. */
    pthread_cond_t drained;  /* The client has taken bytes, or has gone. */
    struct tide_buf pending; /* Appended to by the handler. */
    struct tide_buf sending; /* Read by the event loop, from sending_at on. */
    size_t sending_at;
    bool waiting;  /* The connection is suspended until there is more. */
    bool ended;    /* The handler is done. */
    bool complete; /* As tide_http_end() was told. */
    bool detached; /* The connection is closed; whoever ends frees. */
};

/* The waiting exchanges of one key, first come first served. */
struct tide__http_lane {
    struct tide_slice key; /* Borrowed from head. */
    struct tide_http_exchange *head;
    struct tide_http_exchange *tail;
    uint32_t count; /* Above 0. */
};

/* A bounded queue that takes its keys in turn. */
struct tide__http_queue {
    struct tide__http_lane *lanes; /* A ring of max: there are never more lanes than exchanges. */
    uint32_t max;
    uint32_t first;
    uint32_t lane_count;
    uint32_t count; /* Exchanges. */
};

struct tide__http_pool {
    pthread_mutex_t lock; /* Guards the fields up to the blank line. */
    pthread_cond_t arrived;
    struct tide__http_queue queue;
    bool by_tenant; /* Not changed after the start. */
    bool stopping;

    pthread_t *threads;
    uint32_t thread_count;
};

struct tide_http_server {
    struct tide_http_options options; /* Its pointers are copies or NULL. */
    char *prefix;
    struct tide__http_route *routes;
    char *route_text;
    uint16_t port;
    int listener;
    struct MHD_Daemon *daemon;
    struct tide__http_pool pools[TIDE_HTTP_POOL_COUNT];
    pthread_t watcher;
    bool watcher_runs;
    atomic_uint_fast64_t bodies_bytes; /* Relaxed: a budget. */
    atomic_bool draining;              /* Relaxed: each request sees it sooner or later. */
    atomic_uint owned;                 /* Exchanges that a handler has yet to answer. */

    pthread_mutex_t lock;             /* Guards what follows. */
    pthread_cond_t changed;           /* While draining: an exchange has ended. */
    pthread_cond_t watcher_wake;      /* watcher_stop has been set. */
    struct tide__http_link conns;     /* Ring with this head. */
    struct tide__http_link exchanges; /* Ring: begun, and not yet completed by the event loop. */
    bool watcher_stop;
};

/* ---- listen.c ---- */

/* A listening, non-blocking socket for "HOST:PORT"; its port in *port. */
TIDE_CHECK_RESULT enum tide_err tide__http_listen(const char *address, int *out, uint16_t *port,
                                                  struct tide_diag *diag);

/* ---- route.c ---- */

/* Copies the routes of the options and takes the patterns apart. */
TIDE_CHECK_RESULT enum tide_err tide__http_routes_init(struct tide_http_server *server,
                                                       const struct tide_http_options *options,
                                                       struct tide_diag *diag);
void tide__http_routes_deinit(struct tide_http_server *server);
/* Fills path, query, path_arg and route from uri and method. When none fits, refused says with what
 * to answer, and allow has the methods for 405. */
void tide__http_route(struct tide_http_exchange *x);

/* ---- form.c ---- */

/* Appends the text with %XX decoded, and '+' as blank if plus_is_blank. False: malformed. */
bool tide__http_decode(struct tide_slice text, bool plus_is_blank, struct tide_buf *out);
/* Parses the query string and, of a POSTed form, the body. Errors: TIDE_ERR_INVALID,
 * TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__http_params_parse(struct tide_http_exchange *x);

/* ---- queue.c ---- */

TIDE_CHECK_RESULT enum tide_err tide__http_queue_init(struct tide__http_queue *queue, uint32_t max);
void tide__http_queue_deinit(struct tide__http_queue *queue);
/* The key is borrowed as long as x waits. False: full, or this key (unless it is empty) has its
 * share of the queue already. */
bool tide__http_queue_push(struct tide__http_queue *queue, struct tide_slice key,
                           struct tide_http_exchange *x);
/* The oldest of the key whose turn it is; NULL: empty. */
struct tide_http_exchange *tide__http_queue_pop(struct tide__http_queue *queue);

/* ---- pool.c ---- */

TIDE_CHECK_RESULT enum tide_err tide__http_pool_start(struct tide__http_pool *pool,
                                                      uint32_t thread_count, uint32_t queue_max,
                                                      bool by_tenant);
/* Suspends the connection and queues the exchange; false, with nothing done, when the queue is
 * full. */
bool tide__http_pool_push(struct tide__http_pool *pool, struct tide_http_exchange *x);
/* Waits for the threads; the queue must have run empty. */
void tide__http_pool_stop(struct tide__http_pool *pool);

/* ---- exchange.c ---- */

struct tide_http_exchange *tide__http_exchange_new(struct tide_http_server *server,
                                                   struct MHD_Connection *connection,
                                                   const char *uri);
void tide__http_exchange_free(struct tide_http_exchange *x);
/* Marks the client as gone, calls who wants to know and wakes a blocked writer. Takes the lock. */
void tide__http_exchange_gone(struct tide_http_exchange *x);
/* The event loop is done with the exchange. True: the caller frees it. False: a handler is still
 * streaming; it hears that the client has gone, and frees it at its end. Takes the lock. */
bool tide__http_exchange_detach(struct tide_http_exchange *x);
/* Sets what refused and why are; the first refusal stays. */
void tide__http_refuse(struct tide_http_exchange *x, int status, const char *format, ...)
    TIDE_PRINTF(3, 4);
/* Makes the answer out of refused and why. The state becomes ANSWERED. */
void tide__http_answer_refusal(struct tide_http_exchange *x);
/* Gives libmicrohttpd the answer; on the event loop, in state ANSWERED or STREAMING. */
bool tide__http_queue_answer(struct tide_http_exchange *x);

/* ---- watch.c ---- */

void *tide__http_watch(void *server);

/* ---- metrics ---- */

extern struct tide_metric tide__http_connections;
extern struct tide_metric tide__http_timeouts;
extern struct tide_metric tide__http_clients_gone;
extern struct tide_metric tide__http_queue_full[TIDE_HTTP_POOL_COUNT];
extern struct tide_metric tide__http_queue_seconds[TIDE_HTTP_POOL_COUNT];
void tide__http_metrics_register(void);
void tide__http_count_answer(const struct tide_http_exchange *x, int status);

#endif
