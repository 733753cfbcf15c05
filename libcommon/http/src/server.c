#include "server_private.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/base/number.h"

#include <errno.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Memory of libmicrohttpd for one connection: request head, read buffer (half of it), answer head.
 * It is written only as far as it is used, until the first request is answered; see README. */
#define CONNECTION_BYTES ((size_t)32 << 10)
/* Room made for a body before any of it has come: a sender's Content-Length is only a claim. */
#define BODY_BYTES_FIRST ((size_t)16 << 10)
/* A body that nobody wants is read up to this, so that the connection can go on. */
#define DISCARD_BYTES_MAX ((size_t)1 << 20)
/* How long a stop may oversleep the end of the last exchange. */
#define STOP_LOOK_NS 10000000

/* ---- Lists ---- */

static void ring_init(struct tide__http_link *head)
{
    head->prev = head->next = head;
}

static void ring_add(struct tide__http_link *head, struct tide__http_link *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static void ring_remove(struct tide__http_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

static bool ring_empty(const struct tide__http_link *head)
{
    return head->next == head;
}

/* ---- The body ---- */

/* Room for len bytes more, growing with what really came, and accounted. False: refused. */
static bool body_room(struct tide_http_exchange *x, size_t len)
{
    size_t needed = x->body.len + len;
    size_t wanted = x->body.capacity * 2;
    uint8_t *moved;
    size_t grown;
    uint64_t before;

    if (needed <= x->body.capacity)
        return true;
    if (wanted < BODY_BYTES_FIRST)
        wanted = BODY_BYTES_FIRST;
    if (x->body_expected > 0 && wanted > x->body_expected)
        wanted = (size_t)x->body_expected;
    if (wanted > x->route->route.body_bytes_max)
        wanted = x->route->route.body_bytes_max;
    if (wanted < needed)
        wanted = needed;
    /* Not by the buffer's own doubling, which would go past what the sender announced. */
    moved = tide_mem_realloc(x->body.ptr, wanted);
    if (moved == NULL) {
        tide__http_refuse(x, 503, "out of memory");
        return false;
    }
    x->body.ptr = moved;
    x->body.capacity = wanted;
    grown = x->body.capacity - x->body_accounted;
    x->body_accounted = x->body.capacity;
    before = atomic_fetch_add_explicit(&x->server->bodies_bytes, grown, memory_order_relaxed);
    if (before + grown > x->server->options.bodies_bytes_max) {
        tide__http_refuse(x, 503, "too many request bodies are held already");
        return false;
    }
    return true;
}

/* False: cut the connection. */
static bool body_add(struct tide_http_exchange *x, const char *bytes, size_t len)
{
    if (x->refused == 0 && len > x->route->route.body_bytes_max - x->body.len)
        tide__http_refuse(x, 413, "request body has more than %zu bytes",
                          x->route->route.body_bytes_max);
    if (x->refused != 0 || !body_room(x, len)) {
        x->discarded += len;
        return x->discarded <= DISCARD_BYTES_MAX;
    }
    memcpy(x->body.ptr + x->body.len, bytes, len);
    x->body.len += len;
    return true;
}

/* ---- One request, on an event loop ---- */

static enum MHD_Result answer_now(struct tide_http_exchange *x)
{
    tide__http_answer_refusal(x);
    return tide__http_queue_answer(x) ? MHD_YES : MHD_NO;
}

/* Headers that change what a request means, and of which a request may have one. A proxy before us
 * may have gone by the other one: where the body ends, or whose data it is (RFC 9112, section 6.3).
 */
static const char *const single_headers[] = {
    "Content-Length", "Transfer-Encoding", "Host",
    "Content-Type",   "Content-Encoding",  "X-Scope-OrgID"};
#define SINGLE_HEADERS (sizeof(single_headers) / sizeof(single_headers[0]))

struct head_check {
    unsigned seen; /* A bit for each single header. */
    const char *repeated;
};

static enum MHD_Result check_header(void *context, enum MHD_ValueKind kind, const char *name,
                                    const char *value)
{
    struct head_check *check = context;

    (void)kind;
    (void)value;
    for (unsigned i = 0; i < SINGLE_HEADERS; i++) {
        if (strcasecmp(name, single_headers[i]) != 0)
            continue;
        if ((check->seen & 1u << i) != 0)
            check->repeated = single_headers[i];
        check->seen |= 1u << i;
    }
    return MHD_YES;
}

/* False: refused, and nothing that follows on the connection can be trusted. */
static bool head_is_clear(struct tide_http_exchange *x, const char *length, const char *encoding)
{
    struct head_check check = {0};

    MHD_get_connection_values(x->connection, MHD_HEADER_KIND, check_header, &check);
    if (check.repeated != NULL)
        tide__http_refuse(x, 400, "header %s stands twice", check.repeated);
    else if (length != NULL && encoding != NULL)
        tide__http_refuse(x, 400, "both Content-Length and Transfer-Encoding");
    /* Libmicrohttpd would take all that follows, up to the end of the connection, for the body. */
    else if (encoding != NULL && strcasecmp(encoding, "chunked") != 0)
        tide__http_refuse(x, 501, "transfer encoding is not supported");
    else
        return true;
    return false;
}

/* The first call: the head is there, the body not. */
static enum MHD_Result begin(struct tide_http_exchange *x, const char *method)
{
    const char *length =
        MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Content-Length");
    const char *encoding =
        MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, "Transfer-Encoding");
    int64_t expected = 0;
    size_t bytes_max;

    snprintf(x->method, sizeof(x->method), "%s", method);
    if (!head_is_clear(x, length, encoding))
        return answer_now(x);
    tide__http_route(x);
    if (atomic_load_explicit(&x->server->draining, memory_order_relaxed))
        tide__http_refuse(x, 503, "shutting down");
    if (length != NULL && !tide_number_parse_i64(tide_slice_str(length), &expected))
        expected = INT64_MAX; /* libmicrohttpd has let it pass: digits, but more than fit. */
    if (expected < 0)
        expected = 0;
    x->body_expected = (uint64_t)expected;
    bytes_max = x->route != NULL ? x->route->route.body_bytes_max : 0;
    if (x->body_expected > bytes_max)
        tide__http_refuse(x, 413, "request body has %llu bytes, at most %zu are accepted",
                          (unsigned long long)x->body_expected, bytes_max);
    if (x->body_expected + atomic_load_explicit(&x->server->bodies_bytes, memory_order_relaxed) >
        x->server->options.bodies_bytes_max)
        tide__http_refuse(x, 503, "too many request bodies are held already");
    /* An answer at this place makes libmicrohttpd close the connection after it. That is right
     * where a long body would follow; a short one is read first, and the connection goes on. */
    if (x->refused != 0 && x->body_expected > DISCARD_BYTES_MAX)
        return answer_now(x);
    return MHD_YES;
}

static enum MHD_Result add_header(void *context, enum MHD_ValueKind kind, const char *name,
                                  size_t name_len, const char *value, size_t value_len)
{
    struct tide_http_exchange *x = context;

    (void)kind;
    tide_buf_bytes(&x->head, (struct tide_slice){(const uint8_t *)name, name_len});
    tide_buf_bytes(&x->head, (struct tide_slice){(const uint8_t *)value, value_len});
    return MHD_YES;
}

/* The last call before there is an answer: the request is whole. */
static enum MHD_Result dispatch(struct tide_http_exchange *x)
{
    struct tide_http_server *server = x->server;
    enum tide_http_pool pool;

    if (x->refused != 0)
        return answer_now(x);
    /* Copied: a streaming handler may outlive the connection. */
    MHD_get_connection_values_n(x->connection, MHD_HEADER_KIND, add_header, x);
    if (tide_buf_ok(&x->head) != TIDE_OK) {
        tide__http_refuse(x, 503, "out of memory");
        return answer_now(x);
    }
    x->queued_ns = tide_clock_mono_ns();
    pthread_mutex_lock(&x->lock);
    if (x->timed_out) {
        pthread_mutex_unlock(&x->lock);
        return MHD_NO;
    }
    x->state = TIDE__HTTP_RUNNING;
    pthread_mutex_unlock(&x->lock);
    atomic_fetch_add_explicit(&server->owned, 1, memory_order_relaxed);

    pool = x->route->route.pool;
    if (tide__http_pool_push(&server->pools[pool], x))
        return MHD_YES;
    tide_metric_add(&tide__http_queue_full[pool], 1);
    atomic_fetch_sub_explicit(&server->owned, 1, memory_order_relaxed);
    pthread_mutex_lock(&x->lock);
    x->state = TIDE__HTTP_READING;
    pthread_mutex_unlock(&x->lock);
    tide__http_refuse(x, 503, "too many requests are waiting");
    return answer_now(x);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_bytes, void **request)
{
    struct tide_http_exchange *x = *request;
    size_t len = *upload_bytes;
    enum tide__http_state state;
    bool timed_out;

    (void)context;
    (void)connection;
    (void)url;
    (void)version;
    if (x == NULL) /* There was no memory for it. */
        return MHD_NO;
    pthread_mutex_lock(&x->lock);
    state = x->state;
    timed_out = x->timed_out;
    pthread_mutex_unlock(&x->lock);
    if (timed_out)
        return MHD_NO;
    if (state != TIDE__HTTP_READING)
        return tide__http_queue_answer(x) ? MHD_YES : MHD_NO;
    if (!x->begun) {
        x->begun = true;
        return begin(x, method);
    }
    if (len == 0)
        return dispatch(x);
    *upload_bytes = 0;
    return body_add(x, upload, len) ? MHD_YES : MHD_NO;
}

/* The request line is there; what is returned is handed to the other calls for this request. */
static void *on_request_line(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct tide_http_server *server = context;
    struct tide_http_exchange *x = tide__http_exchange_new(server, connection, uri);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    if (x == NULL)
        return NULL;
    x->conn = info != NULL ? info->socket_context : NULL;
    if (x->conn == NULL) {
        tide__http_exchange_free(x);
        return NULL;
    }
    pthread_mutex_lock(&server->lock);
    ring_add(&server->exchanges, &x->link);
    x->conn->busy = true;
    pthread_mutex_unlock(&server->lock);
    return x;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **request,
                         enum MHD_RequestTerminationCode how)
{
    struct tide_http_server *server = context;
    struct tide_http_exchange *x = *request;

    (void)connection;
    (void)how;
    if (x == NULL)
        return;
    *request = NULL;
    pthread_mutex_lock(&server->lock);
    ring_remove(&x->link);
    x->conn->busy = false;
    x->conn->idle_since_ms = tide_clock_mono_ms();
    if (atomic_load_explicit(&server->draining, memory_order_relaxed))
        pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);

    if (tide__http_exchange_detach(x))
        tide__http_exchange_free(x);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct tide_http_server *server = context;
    struct tide__http_conn *conn = *socket_context;
    const union MHD_ConnectionInfo *info;

    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (conn == NULL)
            return;
        pthread_mutex_lock(&server->lock);
        ring_remove(&conn->link);
        pthread_mutex_unlock(&server->lock);
        tide_mem_free(conn);
        tide_metric_add(&tide__http_connections, -1);
        return;
    }
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    conn = tide_mem_new(sizeof(*conn));
    if (conn == NULL || info == NULL) {
        tide_mem_free(conn); /* Requests on it find no context and are refused. */
        return;
    }
    conn->fd = info->connect_fd;
    conn->idle_since_ms = tide_clock_mono_ms();
    *socket_context = conn;
    pthread_mutex_lock(&server->lock);
    ring_add(&server->conns, &conn->link);
    pthread_mutex_unlock(&server->lock);
    tide_metric_add(&tide__http_connections, 1);
}

/* We take requests apart ourselves, from the bytes as sent. */
static size_t leave_escaped(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context;
    (void)connection;
    return strlen(text);
}

/* Mostly about what clients do. */
static void on_log(void *context, const char *format, va_list args) TIDE_PRINTF(2, 0);

static void on_log(void *context, const char *format, va_list args)
{
    char text[512];

    (void)context;
    if (!tide_log_enabled(TIDE_LOG_DEBUG))
        return;
    vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\r\n")] = '\0';
    tide_log(TIDE_LOG_DEBUG, "http", "libmicrohttpd", "text=%s", text);
}

/* ---- Start and stop ---- */

/* Each connection takes a descriptor; the soft limit is often 1,024. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static enum tide_err start_daemon(struct tide_http_server *server, struct tide_diag *diag)
{
    const struct tide_http_options *options = &server->options;
    unsigned threads = options->loop_threads;
    struct MHD_OptionItem pool[] = {
        {threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END, (intptr_t)threads, NULL},
        {MHD_OPTION_END, 0, NULL},
    };

    server->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        on_request, server, MHD_OPTION_EXTERNAL_LOGGER, (MHD_LogCallback)on_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, server->listener, MHD_OPTION_URI_LOG_CALLBACK, on_request_line,
        server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server, MHD_OPTION_NOTIFY_CONNECTION,
        on_connection, server, MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)options->connections_max,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)options->idle_timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES, MHD_OPTION_ARRAY, pool,
        MHD_OPTION_END);
    if (server->daemon == NULL)
        return tide_diag_err(diag, TIDE_ERR_IO, "cannot start the HTTP event loops");
    return TIDE_OK;
}

static enum tide_err init(struct tide_http_server *server, const struct tide_http_options *options,
                          struct tide_diag *diag)
{
    size_t prefix_len = options->prefix != NULL ? strlen(options->prefix) : 0;
    enum tide_err err;

    server->options = *options;
    server->options.listen = NULL;
    server->options.prefix = NULL;
    server->options.routes = NULL;
    if (prefix_len > 0) {
        server->prefix = tide_mem_alloc(prefix_len + 1);
        if (server->prefix == NULL)
            return TIDE_ERR_NO_MEMORY;
        memcpy(server->prefix, options->prefix, prefix_len + 1);
    }
    err = tide__http_routes_init(server, options, diag);
    if (err != TIDE_OK)
        return err;
    for (int i = 0; i < TIDE_HTTP_POOL_COUNT; i++) {
        err = tide__http_pool_start(&server->pools[i], options->pool_threads[i],
                                    options->pool_queue_max[i], i == TIDE_HTTP_POOL_QUERY);
        if (err != TIDE_OK)
            return err;
    }
    if (pthread_create(&server->watcher, NULL, tide__http_watch, server) != 0)
        return TIDE_ERR_NO_MEMORY;
    server->watcher_runs = true;
    return TIDE_OK;
}

/* Takes a half-started server: what was never set is zero. */
static void destroy(struct tide_http_server *server)
{
    if (server->daemon != NULL)
        MHD_stop_daemon(server->daemon); /* Closes the connections that are left. */
    if (server->listener >= 0)
        close(server->listener);
    if (server->watcher_runs) {
        pthread_mutex_lock(&server->lock);
        server->watcher_stop = true;
        pthread_cond_broadcast(&server->watcher_wake);
        pthread_mutex_unlock(&server->lock);
        pthread_join(server->watcher, NULL);
    }
    for (int i = 0; i < TIDE_HTTP_POOL_COUNT; i++)
        tide__http_pool_stop(&server->pools[i]);
    tide__http_routes_deinit(server);
    tide_mem_free(server->prefix);
    pthread_cond_destroy(&server->changed);
    pthread_cond_destroy(&server->watcher_wake);
    pthread_mutex_destroy(&server->lock);
    tide_mem_free(server);
}

enum tide_err tide_http_server_start(const struct tide_http_options *options,
                                     struct tide_http_server **out, struct tide_diag *diag)
{
    struct tide_http_server *server = tide_mem_new(sizeof(*server));
    pthread_condattr_t monotonic;
    enum tide_err err;

    if (server == NULL)
        return TIDE_ERR_NO_MEMORY;
    server->listener = -1;
    pthread_mutex_init(&server->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->changed, &monotonic);
    pthread_cond_init(&server->watcher_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    ring_init(&server->conns);
    ring_init(&server->exchanges);
    signal(SIGPIPE, SIG_IGN); /* A client that has gone is an error of send(), not our end. */
    raise_descriptor_limit();
    tide__http_metrics_register();

    err = init(server, options, diag);
    if (err == TIDE_OK)
        err = tide__http_listen(options->listen, &server->listener, &server->port, diag);
    if (err == TIDE_OK)
        err = start_daemon(server, diag);
    if (err != TIDE_OK) {
        destroy(server);
        return err;
    }
    *out = server;
    return TIDE_OK;
}

uint16_t tide_http_server_port(const struct tide_http_server *server)
{
    return server->port;
}

static struct timespec time_of(int64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
}

/* Waits until no handler has an exchange any more; before the deadline, also until all are sent.
 * Looks again from time to time: an exchange that was about to end when draining began may not
 * have told. */
static void wait_idle_locked(struct tide_http_server *server, int64_t until_ns)
{
    for (;;) {
        int64_t now_ns = tide_clock_mono_ns();
        struct timespec soon = time_of(now_ns + STOP_LOOK_NS);
        bool owned = atomic_load_explicit(&server->owned, memory_order_acquire) > 0;

        if (!owned && (now_ns >= until_ns || ring_empty(&server->exchanges)))
            return;
        if (now_ns >= until_ns && until_ns > 0)
            return;
        pthread_cond_timedwait(&server->changed, &server->lock, &soon);
    }
}

void tide_http_server_stop(struct tide_http_server *server, int64_t grace_ms)
{
    int64_t until_ns = tide_clock_mono_ns() + grace_ms * 1000000;

    atomic_store_explicit(&server->draining, true, memory_order_relaxed);
    /* New clients are turned away by the kernel. libmicrohttpd's threads may use the descriptor
     * until they have ended, so it is closed later. */
    MHD_quiesce_daemon(server->daemon);
    shutdown(server->listener, SHUT_RDWR);

    pthread_mutex_lock(&server->lock);
    wait_idle_locked(server, until_ns);
    /* Who is still at it has to stop: their clients are cut off, and they are told. */
    for (struct tide__http_link *at = server->exchanges.next; at != &server->exchanges;
         at = at->next) {
        struct tide_http_exchange *x = (struct tide_http_exchange *)at;

        shutdown(x->conn->fd, SHUT_RDWR);
        tide__http_exchange_gone(x);
    }
    wait_idle_locked(server, 0);
    pthread_mutex_unlock(&server->lock);
    destroy(server);
}
