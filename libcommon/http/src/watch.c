/* The watcher: one thread that looks at what the event loops do not. They leave suspended
 * connections alone, so a client that goes during a long query would not be noticed; and they start
 * their timeout anew with each byte, so a client that sends one byte a second could go on forever.
 *
 * A descriptor is used here only under server->lock while its connection is listed: the event loop
 * takes the connection off the list, under the same lock, before it closes the descriptor. */
#include "server_private.h"

#include "tide/base/clock.h"

#include <errno.h>
#include <sys/socket.h>
#include <time.h>

#define ROUND_MS 100
/* Connections without a request are looked at once in so many rounds. */
#define ROUNDS_PER_SCAN 10
/* Exchanges younger than this are left alone: most are answered before. */
#define AGE_MIN_NS 100000000

static bool client_has_gone(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);

    if (got < 0)
        return errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR;
    return got == 0;
}

/* Answers for libmicrohttpd, which cannot take an answer in the middle of a body, and cuts the
 * connection: it sees the end and cleans up. */
static void cut_slow_sender(struct tide_http_exchange *x)
{
    const char *type = "text/plain; charset=utf-8";
    struct tide_buf body = {0};
    struct tide_buf text = {0};
    const char *message = "the request did not come whole in time";

    if (x->server->options.error_body != NULL)
        x->server->options.error_body(408, message, &body, &type);
    else
        tide_buf_str(&body, message);
    tide_buf_printf(&text,
                    "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: %s\r\n"
                    "Content-Length: %zu\r\n\r\n",
                    type, body.len);
    tide_buf_slice(&text, tide_buf_view(&body));
    if (tide_buf_ok(&text) == TIDE_OK && tide_buf_ok(&body) == TIDE_OK)
        (void)send(x->conn->fd, text.ptr, text.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(x->conn->fd, SHUT_RDWR);
    tide_buf_deinit(&text);
    tide_buf_deinit(&body);
    tide_metric_add(&tide__http_timeouts, 1);
    tide__http_count_answer(x, 408);
}

static void look_at(struct tide_http_exchange *x, int64_t now_ns)
{
    int64_t timeout_ms = (int64_t)x->server->options.request_timeout_s * 1000;
    enum tide__http_state state;
    bool cut = false;

    pthread_mutex_lock(&x->lock);
    state = x->state;
    if (state == TIDE__HTTP_READING && !x->timed_out &&
        now_ns / 1000000 - x->started_ms > timeout_ms)
        cut = x->timed_out = true;
    pthread_mutex_unlock(&x->lock);

    if (cut)
        cut_slow_sender(x);
    else if ((state == TIDE__HTTP_RUNNING || state == TIDE__HTTP_STREAMING) &&
             now_ns - x->queued_ns > AGE_MIN_NS && !tide_http_gone(x) &&
             client_has_gone(x->conn->fd))
        tide__http_exchange_gone(x);
}

/* Between requests libmicrohttpd's timeout rules, but a client that trickles a header is none of
 * the idle: the time it may take in all is bounded here. */
static void cut_slow_headers(struct tide_http_server *server, int64_t now_ms)
{
    int64_t timeout_ms =
        ((int64_t)server->options.idle_timeout_s + server->options.request_timeout_s) * 1000;

    for (struct tide__http_link *at = server->conns.next; at != &server->conns; at = at->next) {
        struct tide__http_conn *conn = (struct tide__http_conn *)at;

        if (conn->busy || now_ms - conn->idle_since_ms <= timeout_ms)
            continue;
        shutdown(conn->fd, SHUT_RDWR);
        conn->idle_since_ms = now_ms; /* Once is enough. */
        tide_metric_add(&tide__http_timeouts, 1);
    }
}

static struct timespec deadline(int64_t ns)
{
    return (struct timespec){.tv_sec = (time_t)(ns / 1000000000),
                             .tv_nsec = (long)(ns % 1000000000)};
}

void *tide__http_watch(void *argument)
{
    struct tide_http_server *server = argument;
    int64_t next_ns = tide_clock_mono_ns();
    unsigned round = 0;

    pthread_mutex_lock(&server->lock);
    while (!server->watcher_stop) {
        struct timespec until;
        int64_t now_ns = tide_clock_mono_ns();

        if (now_ns < next_ns) {
            until = deadline(next_ns);
            pthread_cond_timedwait(&server->watcher_wake, &server->lock, &until);
            continue;
        }
        next_ns = now_ns + ROUND_MS * (int64_t)1000000;
        for (struct tide__http_link *at = server->exchanges.next; at != &server->exchanges;
             at = at->next)
            look_at((struct tide_http_exchange *)at, now_ns);
        if (++round % ROUNDS_PER_SCAN == 0)
            cut_slow_headers(server, now_ns / 1000000);
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}
