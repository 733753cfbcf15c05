#include "server_private.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/mem.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

/* Bytes that libmicrohttpd asks of a stream at once. */
#define STREAM_BLOCK_BYTES ((size_t)32 << 10)

/* ---- Life ---- */

struct tide_http_exchange *tide__http_exchange_new(struct tide_http_server *server,
                                                   struct MHD_Connection *connection,
                                                   const char *uri)
{
    size_t len = strlen(uri);
    struct tide_http_exchange *x = tide_mem_alloc(sizeof(*x) + len);

    if (x == NULL)
        return NULL;
    memset(x, 0, sizeof(*x));
    memcpy(x + 1, uri, len);
    x->uri = (struct tide_slice){(const uint8_t *)(x + 1), len};
    x->server = server;
    x->connection = connection;
    x->started_ms = tide_clock_mono_ms();
    pthread_mutex_init(&x->lock, NULL);
    return x;
}

static void body_free(struct tide_http_exchange *x)
{
    tide_buf_deinit(&x->body);
    atomic_fetch_sub_explicit(&x->server->bodies_bytes, x->body_accounted, memory_order_relaxed);
    x->body_accounted = 0;
}

void tide__http_exchange_free(struct tide_http_exchange *x)
{
    body_free(x);
    tide_buf_deinit(&x->path_arg_text);
    tide_buf_deinit(&x->head);
    tide_buf_deinit(&x->why);
    tide_buf_deinit(&x->allow);
    tide_mem_free(x->params);
    tide_buf_deinit(&x->param_text);
    tide_buf_deinit(&x->headers);
    tide_buf_deinit(&x->answer);
    tide_buf_deinit(&x->pending);
    tide_buf_deinit(&x->sending);
    if (x->state == TIDE__HTTP_STREAMING)
        pthread_cond_destroy(&x->drained);
    pthread_mutex_destroy(&x->lock);
    tide_mem_free(x);
}

static void gone_locked(struct tide_http_exchange *x)
{
    if (atomic_exchange_explicit(&x->gone, true, memory_order_relaxed))
        return;
    tide_metric_add(&tide__http_clients_gone, 1);
    if (x->gone_fn != NULL)
        x->gone_fn(x->gone_context);
    x->gone_fn = NULL;
    if (x->state == TIDE__HTTP_STREAMING)
        pthread_cond_broadcast(&x->drained);
}

void tide__http_exchange_gone(struct tide_http_exchange *x)
{
    pthread_mutex_lock(&x->lock);
    gone_locked(x);
    pthread_mutex_unlock(&x->lock);
}

bool tide__http_exchange_detach(struct tide_http_exchange *x)
{
    bool handler_has_it;

    pthread_mutex_lock(&x->lock);
    TIDE_ASSERT(x->state != TIDE__HTTP_RUNNING);
    handler_has_it = x->state == TIDE__HTTP_STREAMING && !x->ended;
    x->detached = true;
    x->waiting = false;
    /* Not only a lost client: the answer to HEAD is complete before its handler is. */
    if (handler_has_it)
        gone_locked(x);
    pthread_mutex_unlock(&x->lock);
    return !handler_has_it;
}

/* The last that a handler's side does: the server may be freed right after. Release: what it did
 * before is seen by who waits for zero. */
static void disown(struct tide_http_server *server)
{
    if (!atomic_load_explicit(&server->draining, memory_order_relaxed)) {
        atomic_fetch_sub_explicit(&server->owned, 1, memory_order_release);
        return;
    }
    pthread_mutex_lock(&server->lock);
    atomic_fetch_sub_explicit(&server->owned, 1, memory_order_release);
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
}

/* ---- The request ---- */

struct tide_slice tide_http_method(const struct tide_http_exchange *x)
{
    return tide_slice_str(x->method);
}

struct tide_slice tide_http_path(const struct tide_http_exchange *x)
{
    return x->path;
}

struct tide_slice tide_http_path_arg(const struct tide_http_exchange *x)
{
    return x->path_arg;
}

struct tide_slice tide_http_body(const struct tide_http_exchange *x)
{
    return tide_buf_view(&x->body);
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 0x20) : c;
}

static bool same_name(struct tide_slice a, const char *b, size_t b_len)
{
    if (a.len != b_len)
        return false;
    for (size_t i = 0; i < b_len; i++)
        if (lower(a.ptr[i]) != lower((uint8_t)b[i]))
            return false;
    return true;
}

struct tide_slice tide_http_header(const struct tide_http_exchange *x, const char *name)
{
    size_t name_len = strlen(name);
    struct tide_reader r = tide_reader(tide_buf_view(&x->head));
    struct tide_slice at;
    struct tide_slice value;

    while (tide_reader_bytes(&r, &at) == TIDE_OK && tide_reader_bytes(&r, &value) == TIDE_OK)
        if (same_name(at, name, name_len))
            return value;
    return (struct tide_slice){NULL, 0};
}

bool tide_http_gone(const struct tide_http_exchange *x)
{
    return atomic_load_explicit(&x->gone, memory_order_relaxed);
}

void tide_http_on_gone(struct tide_http_exchange *x, void (*fn)(void *context), void *context)
{
    pthread_mutex_lock(&x->lock);
    if (atomic_load_explicit(&x->gone, memory_order_relaxed)) {
        fn(context);
    } else {
        x->gone_fn = fn;
        x->gone_context = context;
    }
    pthread_mutex_unlock(&x->lock);
}

/* ---- The answer: the handler's side ---- */

static bool has_control(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 && *text != '\t')
            return true;
    return false;
}

void tide_http_add_header(struct tide_http_exchange *x, const char *name, const char *value)
{
    /* A line break in a value that came from outside would start a header of the sender's. */
    if (has_control(name) || has_control(value))
        return;
    tide_buf_add(&x->headers, name, strlen(name) + 1);
    tide_buf_add(&x->headers, value, strlen(value) + 1);
}

static void set_head(struct tide_http_exchange *x, int status, const char *content_type)
{
    TIDE_ASSERT(x->state != TIDE__HTTP_ANSWERED);
    TIDE_ASSERT(x->state != TIDE__HTTP_STREAMING);
    x->status = status;
    if (content_type != NULL)
        tide_http_add_header(x, "Content-Type", content_type);
}

void tide_http_respond(struct tide_http_exchange *x, int status, const char *content_type,
                       struct tide_buf *body)
{
    struct tide_http_server *server = x->server;
    struct MHD_Connection *connection = x->connection;

    body_free(x); /* Its memory is wanted by others while a slow client reads. */
    pthread_mutex_lock(&x->lock);
    set_head(x, status, content_type);
    x->answer = *body;
    *body = (struct tide_buf){0};
    x->gone_fn = NULL;
    x->state = TIDE__HTTP_ANSWERED;
    pthread_mutex_unlock(&x->lock);
    MHD_resume_connection(connection); /* x may be freed from here on. */
    disown(server);
}

void tide_http_begin(struct tide_http_exchange *x, int status, const char *content_type)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_lock(&x->lock);
    set_head(x, status, content_type);
    pthread_cond_init(&x->drained, &monotonic);
    x->waiting = true; /* Until there is something to send. */
    x->state = TIDE__HTTP_STREAMING;
    pthread_mutex_unlock(&x->lock);
    pthread_condattr_destroy(&monotonic);
}

static size_t stream_room(const struct tide_http_exchange *x)
{
    size_t used = x->pending.len + (x->sending.len - x->sending_at);

    return used < TIDE__HTTP_STREAM_BYTES_MAX ? TIDE__HTTP_STREAM_BYTES_MAX - used : 0;
}

/* Whether the event loop is to be woken; the caller does it without the lock. */
static bool wake_locked(struct tide_http_exchange *x)
{
    bool wake = x->waiting && (x->ended || x->pending.len >= TIDE__HTTP_STREAM_BYTES_WAKE);

    if (wake)
        x->waiting = false;
    return wake;
}

static struct timespec later(uint32_t seconds)
{
    int64_t ns = tide_clock_mono_ns() + (int64_t)seconds * 1000000000;

    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
}

/* Waits until the client has taken something. False: it has not for too long, and counts as
 * gone. */
static bool wait_locked(struct tide_http_exchange *x, const struct timespec *until)
{
    while (stream_room(x) == 0 && !tide_http_gone(x))
        if (pthread_cond_timedwait(&x->drained, &x->lock, until) == ETIMEDOUT &&
            stream_room(x) == 0) {
            gone_locked(x);
            return false;
        }
    return true;
}

enum tide_err tide_http_write(struct tide_http_exchange *x, struct tide_slice bytes)
{
    struct timespec until = later(x->server->options.idle_timeout_s);
    enum tide_err err = TIDE_OK;

    pthread_mutex_lock(&x->lock);
    TIDE_ASSERT(x->state == TIDE__HTTP_STREAMING);
    TIDE_ASSERT(!x->ended);
    while (bytes.len > 0 && err == TIDE_OK) {
        size_t now = stream_room(x);
        bool wake;

        if (tide_http_gone(x) || (now == 0 && !wait_locked(x, &until))) {
            err = TIDE_ERR_CANCELED;
            break;
        }
        if (now > bytes.len)
            now = bytes.len;
        tide_buf_add(&x->pending, bytes.ptr, now);
        err = tide_buf_ok(&x->pending);
        bytes = (struct tide_slice){bytes.ptr + now, bytes.len - now};
        wake = wake_locked(x);
        if (wake) {
            /* Suspended, and only we resume: connection and exchange stay. */
            pthread_mutex_unlock(&x->lock);
            MHD_resume_connection(x->connection);
            pthread_mutex_lock(&x->lock);
        }
    }
    pthread_mutex_unlock(&x->lock);
    return err;
}

void tide_http_end(struct tide_http_exchange *x, bool complete)
{
    struct tide_http_server *server = x->server;
    struct MHD_Connection *connection = x->connection;
    bool wake;
    bool detached;

    pthread_mutex_lock(&x->lock);
    TIDE_ASSERT(x->state == TIDE__HTTP_STREAMING);
    TIDE_ASSERT(!x->ended);
    x->ended = true;
    x->complete = complete && !x->pending.failed;
    x->gone_fn = NULL;
    wake = wake_locked(x);
    detached = x->detached;
    pthread_mutex_unlock(&x->lock);
    if (detached)
        tide__http_exchange_free(x);
    else if (wake)
        MHD_resume_connection(connection);
    disown(server);
}

/* ---- Answers of the server itself ---- */

void tide__http_refuse(struct tide_http_exchange *x, int status, const char *format, ...)
{
    struct tide_diag text = {""};
    va_list args;

    if (x->refused != 0)
        return;
    va_start(args, format);
    vsnprintf(text.text, sizeof(text.text), format, args);
    va_end(args);
    x->refused = status;
    tide_buf_str(&x->why, text.text);
    body_free(x);
}

/* Fills what an answer needs from refused and why. */
static const char *refusal_body(struct tide_http_exchange *x, struct tide_buf *body)
{
    const char *type = "text/plain; charset=utf-8";

    tide_buf_byte(&x->why, '\0');
    tide_buf_byte(&x->allow, '\0');
    if (x->refused == 405 && !x->allow.failed)
        tide_http_add_header(x, "Allow", (const char *)x->allow.ptr);
    if (x->refused == 503)
        tide_http_add_header(x, "Retry-After", "1");
    if (x->why.failed)
        return type;
    if (x->server->options.error_body != NULL)
        x->server->options.error_body(x->refused, (const char *)x->why.ptr, body, &type);
    else
        tide_buf_printf(body, "%s\n", (const char *)x->why.ptr);
    return type;
}

void tide__http_answer_refusal(struct tide_http_exchange *x)
{
    struct tide_buf body = {0};
    const char *type = refusal_body(x, &body);

    pthread_mutex_lock(&x->lock);
    if (x->state == TIDE__HTTP_RUNNING) {
        pthread_mutex_unlock(&x->lock);
        tide_http_respond(x, x->refused, type, &body);
        return;
    }
    set_head(x, x->refused, type);
    x->answer = body;
    x->state = TIDE__HTTP_ANSWERED;
    pthread_mutex_unlock(&x->lock);
}

/* ---- The answer: the event loop's side ---- */

/* What libmicrohttpd calls when it can send more. */
static ssize_t stream_read(void *context, uint64_t position, char *to, size_t bytes_max)
{
    struct tide_http_exchange *x = context;
    size_t now;

    (void)position;
    pthread_mutex_lock(&x->lock);
    if (x->sending_at == x->sending.len && x->pending.len > 0) {
        struct tide_buf empty = x->sending;

        x->sending = x->pending;
        x->sending_at = 0;
        empty.len = 0;
        x->pending = empty;
        x->sending.failed = false;
    }
    now = x->sending.len - x->sending_at;
    if (now == 0) {
        ssize_t end =
            x->complete ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;

        if (!x->ended) {
            MHD_suspend_connection(x->connection);
            x->waiting = true;
            end = 0;
        }
        pthread_mutex_unlock(&x->lock);
        return end;
    }
    if (now > bytes_max)
        now = bytes_max;
    memcpy(to, x->sending.ptr + x->sending_at, now);
    x->sending_at += now;
    pthread_cond_signal(&x->drained);
    pthread_mutex_unlock(&x->lock);
    return (ssize_t)now;
}

static struct MHD_Response *whole_response(struct tide_http_exchange *x)
{
    struct MHD_Response *response;

    if (x->answer.failed) {
        tide_buf_deinit(&x->answer);
        x->status = 503;
        tide_http_add_header(x, "Retry-After", "1");
    }
    if (x->answer.len == 0)
        return MHD_create_response_from_buffer(0, (void *)(uintptr_t) "", MHD_RESPMEM_PERSISTENT);
    response = MHD_create_response_from_buffer_with_free_callback(x->answer.len, x->answer.ptr,
                                                                  tide_mem_free);
    if (response != NULL)
        x->answer = (struct tide_buf){0};
    return response;
}

static bool add_headers(struct tide_http_exchange *x, struct MHD_Response *response)
{
    const char *at = (const char *)x->headers.ptr;
    const char *end = at + x->headers.len;

    if (x->headers.failed)
        return false;
    while (at < end) {
        const char *value = at + strlen(at) + 1;

        if (MHD_add_response_header(response, at, value) != MHD_YES)
            return false;
        at = value + strlen(value) + 1;
    }
    /* To HEAD, libmicrohttpd 0.9.75 sends the end mark of the chunks that it leaves out; a client
     * would take it for the start of the next answer. */
    if (atomic_load_explicit(&x->server->draining, memory_order_relaxed) ||
        (x->state == TIDE__HTTP_STREAMING && strcmp(x->method, "HEAD") == 0))
        return MHD_add_response_header(response, "Connection", "close") == MHD_YES;
    return true;
}

bool tide__http_queue_answer(struct tide_http_exchange *x)
{
    struct MHD_Response *response;
    bool queued;

    if (x->state == TIDE__HTTP_STREAMING)
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK_BYTES,
                                                     stream_read, x, NULL);
    else
        response = whole_response(x);
    if (response == NULL)
        return false;
    tide__http_count_answer(x, x->status);
    queued = add_headers(x, response) &&
             MHD_queue_response(x->connection, (unsigned)x->status, response) == MHD_YES;
    MHD_destroy_response(response);
    return queued;
}
