#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/http/server.h"

#include "support_client.h"

static struct tide_http_server *server;
static uint16_t port;
static struct client_answer answer;

static const struct tide_slice no_body = {NULL, 0};

static void sleep_ms(int ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L};

    nanosleep(&time, NULL);
}

/* Waits up to 10 s for a counter to reach a value. */
static bool reaches(atomic_int *counter, int value)
{
    for (int i = 0; i < 2000; i++) {
        if (atomic_load(counter) >= value)
            return true;
        sleep_ms(5);
    }
    return false;
}

/* ---- Handlers ---- */

/* Answers with all it was given. */
static void echo(void *context, struct tide_http_exchange *x)
{
    struct tide_buf out = {0};
    struct tide_slice value = {NULL, 0};

    tide_buf_printf(&out, "%s %.*s %.*s arg=%.*s tenant=%.*s", (const char *)context,
                    TIDE_SLICE_ARGS(tide_http_method(x)), TIDE_SLICE_ARGS(tide_http_path(x)),
                    TIDE_SLICE_ARGS(tide_http_path_arg(x)),
                    TIDE_SLICE_ARGS(tide_http_header(x, "x-scope-orgid")));
    for (size_t i = 0; tide_http_param_nth(x, "match[]", i, &value); i++)
        tide_buf_printf(&out, " match=%.*s", TIDE_SLICE_ARGS(value));
    if (tide_http_param(x, "query", &value))
        tide_buf_printf(&out, " query=%.*s", TIDE_SLICE_ARGS(value));
    tide_buf_str(&out, " body=");
    tide_buf_slice(&out, tide_http_body(x));
    tide_http_add_header(x, "X-Echo", "yes");
    tide_http_add_header(x, "X-Forged", "a\r\nSet-Cookie: b");
    tide_http_respond(x, 200, "text/plain", &out);
}

static void no_content(void *context, struct tide_http_exchange *x)
{
    struct tide_buf none = {0};

    (void)context;
    tide_http_respond(x, 204, NULL, &none);
}

/* Holds its exchanges until they are let go. */
static struct gate {
    atomic_int entered;
    atomic_int gone;
    atomic_int open;
} gate;

static void count_gone(void *context)
{
    atomic_fetch_add(&((struct gate *)context)->gone, 1);
}

static void held(void *context, struct tide_http_exchange *x)
{
    struct tide_buf out = {0};

    (void)context;
    tide_http_on_gone(x, count_gone, &gate);
    atomic_fetch_add(&gate.entered, 1);
    while (!atomic_load(&gate.open) && !tide_http_gone(x))
        sleep_ms(2);
    tide_buf_str(&out, tide_http_gone(x) ? "gone" : "held");
    tide_http_respond(x, 200, "text/plain", &out);
}

/* Streams `bytes` bytes in writes of `piece`; `cut` ends it badly; `pause` ms lie between. */
static size_t number_param(const struct tide_http_exchange *x, const char *name)
{
    struct tide_slice text;
    char digits[24] = "0";

    if (tide_http_param(x, name, &text))
        snprintf(digits, sizeof(digits), "%.*s", TIDE_SLICE_ARGS(text));
    return strtoul(digits, NULL, 10);
}

static uint8_t pattern_at(size_t i)
{
    return (uint8_t)('a' + (i * 7 + i / 1000) % 26);
}

static atomic_int stream_canceled;

static void stream(void *context, struct tide_http_exchange *x)
{
    size_t left = number_param(x, "bytes");
    size_t piece = number_param(x, "piece");
    size_t at = 0;
    uint8_t *bytes = malloc(piece);
    enum tide_err err = TIDE_OK;

    (void)context;
    tide_http_on_gone(x, count_gone, &gate);
    tide_http_add_header(x, "X-Stream", "1");
    tide_http_begin(x, 200, "text/plain");
    atomic_fetch_add(&gate.entered, 1);
    while (at < left && err == TIDE_OK) {
        size_t now = left - at < piece ? left - at : piece;

        for (size_t i = 0; i < now; i++)
            bytes[i] = pattern_at(at + i);
        err = tide_http_write(x, (struct tide_slice){bytes, now});
        at += now;
        if (number_param(x, "pause") > 0)
            sleep_ms((int)number_param(x, "pause"));
    }
    if (err == TIDE_ERR_CANCELED)
        atomic_fetch_add(&stream_canceled, 1);
    free(bytes);
    tide_http_end(x, number_param(x, "cut") == 0);
}

/* Answers from a thread of its own, after the handler has returned. */
static void *answer_later(void *argument)
{
    struct tide_buf out = {0};

    sleep_ms(20);
    tide_buf_str(&out, "later");
    tide_http_respond(argument, 200, "text/plain", &out);
    return NULL;
}

static void later(void *context, struct tide_http_exchange *x)
{
    pthread_t thread;

    (void)context;
    if (pthread_create(&thread, NULL, answer_later, x) == 0)
        pthread_detach(thread);
}

/* ---- The server under test ---- */

static void error_body(int status, const char *message, struct tide_buf *out,
                       const char **content_type)
{
    *content_type = "application/json";
    tide_buf_printf(out, "{\"status\":%d,\"error\":\"%s\"}", status, message);
}

static struct tide_http_route routes[] = {
    {"GET,POST", "/echo", TIDE_HTTP_POOL_QUERY, 1000, echo, (void *)(uintptr_t) "echo"},
    {"GET", "/label/*/values", TIDE_HTTP_POOL_QUERY, 0, echo, (void *)(uintptr_t) "values"},
    {"POST", "/write", TIDE_HTTP_POOL_WRITE, 4 << 20, no_content, NULL},
    {"DELETE", "/write", TIDE_HTTP_POOL_ADMIN, 0, no_content, NULL},
    {"POST", "/big", TIDE_HTTP_POOL_QUERY, 4 << 20, echo, (void *)(uintptr_t) "big"},
    {"GET", "/held", TIDE_HTTP_POOL_QUERY, 0, held, NULL},
    {"GET,POST", "/stream", TIDE_HTTP_POOL_QUERY, 1000, stream, NULL},
    {"GET", "/later", TIDE_HTTP_POOL_ADMIN, 0, later, NULL},
};

static struct tide_http_options options_base(void)
{
    return (struct tide_http_options){
        .listen = "127.0.0.1:0",
        .prefix = "/prometheus",
        .loop_threads = 2,
        .pool_threads = {2, 2, 1},
        .pool_queue_max = {16, 2, 16},
        .connections_max = 2000,
        .idle_timeout_s = 30,
        .request_timeout_s = 30,
        .bodies_bytes_max = 6 << 20,
        .routes = routes,
        .route_count = sizeof(routes) / sizeof(routes[0]),
        .error_body = error_body,
    };
}

static void start(const struct tide_http_options *options)
{
    struct tide_diag diag = {""};

    gate.entered = gate.gone = gate.open = 0;
    stream_canceled = 0;
    if (tide_http_server_start(options, &server, &diag) != TIDE_OK)
        fail_msg("%s", diag.text);
    port = tide_http_server_port(server);
    assert_int_not_equal(port, 0);
}

static int setup(void **state)
{
    struct tide_http_options options = options_base();

    (void)state;
    start(&options);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    atomic_store(&gate.open, 1);
    if (server != NULL)
        tide_http_server_stop(server, 5000);
    server = NULL;
    client_answer_deinit(&answer);
    assert_int_equal(tide_test_mem_live(), 0);
    return 0;
}

static void expect_body(const char *expected)
{
    assert_string_equal((const char *)answer.body.ptr, expected);
}

/* The server still serves, once what was sent before has left its queue. */
static void expect_alive(void)
{
    int fd = client_connect(port);

    client_call(fd, "GET", "/echo", "", no_body, &answer);
    for (int i = 0; i < 200 && answer.status == 503; i++) {
        sleep_ms(5);
        client_call(fd, "GET", "/echo", "", no_body, &answer);
    }
    assert_int_equal(answer.status, 200);
    close(fd);
}

/* ---- Requests ---- */

static void test_server__keeps_connections_and_gives_handlers_all(void **state)
{
    int fd = client_connect(port);

    (void)state;
    client_call(fd, "GET", "/echo?query=up%7Ba%3D%22b+c%22%7D&match[]=x&match%5B%5D=y&z", "",
                no_body, &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(client_header(&answer, "X-Echo"), "yes");
    assert_string_equal(client_header(&answer, "Content-Type"), "text/plain");
    assert_null(client_header(&answer, "Set-Cookie"));
    expect_body("echo GET /echo arg= tenant= match=x match=y query=up{a=\"b c\"} body=");

    client_call(fd, "POST", "/prometheus/echo?match[]=url&query=one",
                "X-Scope-OrgID: team-a\r\nContent-Type: application/x-www-form-urlencoded; "
                "charset=utf-8\r\n",
                TIDE_SLICE("match[]=form&query=two"), &answer);
    expect_body("echo POST /echo arg= tenant=team-a match=url match=form query=one "
                "body=match[]=form&query=two");
    /* No form: no parameters. */
    client_call(fd, "POST", "/echo", "Content-Type: text/plain\r\n", TIDE_SLICE("query=%zz"),
                &answer);
    expect_body("echo POST /echo arg= tenant= body=query=%zz");
    client_call(fd, "GET", "/label/na%2Fme%20x/values", "", no_body, &answer);
    expect_body("values GET /label/na%2Fme%20x/values arg=na/me x tenant= body=");
    client_call(fd, "GET", "http://somewhere:80/echo?query=1", "", no_body, &answer);
    expect_body("echo GET /echo arg= tenant= query=1 body=");
    client_call(fd, "HEAD", "/echo", "", no_body, &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, 0);
    client_call(fd, "GET", "/later", "", no_body, &answer);
    expect_body("later");
    client_call(fd, "POST", "/write", "", TIDE_SLICE("x"), &answer);
    assert_int_equal(answer.status, 204);
    close(fd);
}

static void test_server__tells_wrong_paths_and_methods(void **state)
{
    int fd = client_connect(port);

    (void)state;
    client_call(fd, "GET", "/none", "", no_body, &answer);
    assert_int_equal(answer.status, 404);
    assert_string_equal(client_header(&answer, "Content-Type"), "application/json");
    expect_body("{\"status\":404,\"error\":\"not found\"}");
    client_call(fd, "GET", "/write", "", no_body, &answer);
    assert_int_equal(answer.status, 405);
    assert_string_equal(client_header(&answer, "Allow"), "POST,DELETE");
    client_call(fd, "VERYLONGMETHODNAME", "/echo", "", no_body, &answer);
    assert_int_equal(answer.status, 405);
    client_call(fd, "GET", "/label//values", "", no_body, &answer);
    assert_int_equal(answer.status, 404);
    client_call(fd, "GET", "/label/a/b/values", "", no_body, &answer);
    assert_int_equal(answer.status, 404);
    client_call(fd, "GET", "/prometheusx/echo", "", no_body, &answer);
    assert_int_equal(answer.status, 404);
    client_call(fd, "GET", "*", "", no_body, &answer);
    assert_int_equal(answer.status, 404);
    /* A body that nobody wants does not break the connection. */
    client_call(fd, "POST", "/none", "", TIDE_SLICE("some body"), &answer);
    assert_int_equal(answer.status, 404);
    client_call(fd, "GET", "/echo", "", no_body, &answer);
    assert_int_equal(answer.status, 200);
    close(fd);
}

static void test_server__takes_long_targets_and_refuses_huge_ones(void **state)
{
    static char target[1100000];
    int fd = client_connect(port);

    (void)state;
    memset(target, 'x', sizeof(target));
    memcpy(target, "/echo?query=", 12);
    target[12000] = '\0';
    client_call(fd, "GET", target, "", no_body, &answer);
    assert_int_equal(answer.status, 200);
    assert_true(answer.body.len > 11988);
    target[12000] = 'x';
    target[sizeof(target) - 1] = '\0';
    client_send_str(fd, "GET ");
    client_send_str(fd, target); /* May be cut off before its end. */
    client_receive(fd, "GET", &answer);
    assert_true(answer.status == 414 || answer.status == 0);
    close(fd);
    expect_alive();
}

static void test_server__refuses_malformed_percent_encoding(void **state)
{
    static const char *const bad[] = {"/echo?query=%",    "/echo?query=%4", "/echo?query=%zz",
                                      "/echo?%=1",        "/echo?a=1&b=%1", "/label/%/values",
                                      "/label/%g0/values"};
    int fd = client_connect(port);

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        client_call(fd, "GET", bad[i], "", no_body, &answer);
        assert_int_equal(answer.status, 400);
        assert_non_null(strstr((const char *)answer.body.ptr, "percent-encoding"));
    }
    client_call(fd, "POST", "/echo", "Content-Type: application/x-www-form-urlencoded\r\n",
                TIDE_SLICE("query=%e"), &answer);
    assert_int_equal(answer.status, 400);
    client_call(fd, "GET", "/echo?&&=&a=b=c&query=%00%ff", "", no_body, &answer);
    assert_int_equal(answer.status, 200);
    close(fd);
}

/* What two readers of the same bytes may understand differently is refused, and the connection
 * ends: what follows may be a body to one and a request to the other. */
static void test_server__refuses_heads_that_are_ambiguous(void **state)
{
    static const char *const heads[] = {
        "Content-Length: 3\r\nContent-Length: 0\r\n",
        "Content-Length: 3\r\ncontent-length: 3\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "X-Scope-OrgID: a\r\nX-Scope-OrgID: b\r\nContent-Length: 3\r\n",
        "Host: u\r\nContent-Length: 3\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        int fd = client_connect(port);
        char request[256];

        snprintf(request, sizeof(request),
                 "POST /echo HTTP/1.1\r\nHost: t\r\n%s\r\nabcGET /echo HTTP/1.1\r\nHost: t\r\n\r\n",
                 heads[i]);
        client_send_str(fd, request);
        client_receive(fd, "POST", &answer);
        assert_int_equal(answer.status, 400);
        assert_true(client_closed(fd));
        close(fd);
    }
}

static void test_server__reads_chunked_uploads(void **state)
{
    struct tide_slice expected = TIDE_SLICE("big POST /big arg= tenant= body=hello, world");
    static char chunk[70000];
    int fd = client_connect(port);

    (void)state;
    client_send_str(fd, "POST /big HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "5\r\nhello\r\n2;x=y\r\n, \r\n5\r\n");
    sleep_ms(20);
    client_send_str(fd, "world\r\n0\r\n\r\n");
    client_receive(fd, "POST", &answer);
    assert_int_equal(answer.status, 200);
    assert_true(tide_slice_eq(tide_buf_view(&answer.body), expected));

    memset(chunk, 'x', sizeof(chunk));
    client_send_str(fd, "POST /big HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 40; i++) {
        client_send_str(fd, "11170\r\n");
        client_send(fd, chunk, sizeof(chunk));
        client_send_str(fd, "\r\n");
    }
    client_send_str(fd, "0\r\n\r\n");
    client_receive(fd, "POST", &answer);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, 40 * sizeof(chunk) + expected.len - strlen("hello, world"));
    close(fd);
}

static void test_server__refuses_other_transfer_encodings(void **state)
{
    int fd = client_connect(port);

    (void)state;
    client_send_str(fd, "POST /big HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip\r\n\r\nabc");
    client_receive(fd, "POST", &answer);
    assert_int_equal(answer.status, 501);
    assert_true(client_closed(fd));
    close(fd);
}

static void test_server__continues_when_the_client_expects_it(void **state)
{
    int fd = client_connect(port);
    char text[64] = "";

    (void)state;
    client_send_str(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n"
                        "Expect: 100-continue\r\n\r\n");
    assert_int_equal(recv(fd, text, 25, MSG_WAITALL), 25);
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
    client_send_str(fd, "abc");
    client_receive(fd, "POST", &answer);
    expect_body("echo POST /echo arg= tenant= body=abc");
    /* And is spared the sending of what is too large. */
    client_send_str(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 30000000\r\n"
                        "Expect: 100-continue\r\n\r\n");
    client_receive(fd, "POST", &answer);
    assert_int_equal(answer.status, 413);
    assert_true(client_closed(fd));
    close(fd);
}

static void test_server__refuses_bodies_over_the_routes_bound(void **state)
{
    static char body[1100000];
    int fd = client_connect(port);

    (void)state;
    memset(body, 'x', sizeof(body));
    client_call(fd, "POST", "/echo", "", (struct tide_slice){(uint8_t *)body, 1000}, &answer);
    assert_int_equal(answer.status, 200);
    client_call(fd, "POST", "/echo", "", (struct tide_slice){(uint8_t *)body, 1001}, &answer);
    assert_int_equal(answer.status, 413);
    expect_body("{\"status\":413,\"error\":\"request body has 1001 bytes, at most 1000 are "
                "accepted\"}");
    /* In chunks, where no length warns. */
    client_send_str(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "186a0\r\n");
    client_send(fd, body, 100000);
    client_send_str(fd, "\r\n0\r\n\r\n");
    client_receive(fd, "POST", &answer);
    assert_int_equal(answer.status, 413);
    /* The connection goes on after all of these. */
    client_call(fd, "GET", "/echo", "", no_body, &answer);
    assert_int_equal(answer.status, 200);
    /* Sent whole without waiting: cut off after a while, but never kept. */
    client_send_str(fd, "POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 100; i++)
        if (!client_send_str(fd, "10c8e0\r\n") || !client_send(fd, body, sizeof(body)) ||
            !client_send_str(fd, "\r\n"))
            break;
    assert_true(client_closed(fd));
    close(fd);
    /* A length that no number holds. */
    fd = client_connect(port);
    client_send_str(fd, "POST /echo HTTP/1.1\r\nHost: t\r\n"
                        "Content-Length: 99999999999999999999999999\r\n\r\n");
    client_receive(fd, "POST", &answer);
    assert_in_range(answer.status, 400, 413);
    close(fd);
    expect_alive();
}

static void test_server__bounds_all_bodies_together(void **state)
{
    int fds[3];
    static char body[3 << 20];
    int refused = 0;

    (void)state;
    memset(body, 'x', sizeof(body));
    /* Three times 3 MiB of which 6 MiB may be held; the last byte is kept back. */
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(port);
        client_send_str(fds[i],
                        "POST /write HTTP/1.1\r\nHost: t\r\nContent-Length: 3145728\r\n\r\n");
        client_send(fds[i], body, sizeof(body) - 1);
        sleep_ms(100);
    }
    for (int i = 0; i < 3; i++) {
        client_send(fds[i], body, 1);
        client_receive(fds[i], "POST", &answer);
        if (answer.status == 503) {
            assert_string_equal(client_header(&answer, "Retry-After"), "1");
            refused++;
        } else {
            assert_int_equal(answer.status, 204);
        }
        close(fds[i]);
    }
    assert_int_equal(refused, 1);
    /* What was held has been given back. */
    for (int i = 0; i < 5; i++) {
        int fd = client_connect(port);

        client_call(fd, "POST", "/write", "", (struct tide_slice){(uint8_t *)body, sizeof(body)},
                    &answer);
        assert_int_equal(answer.status, 204);
        close(fd);
    }
}

static void test_server__answers_pipelined_requests_in_order(void **state)
{
    int fd = client_connect(port);

    (void)state;
    client_send_str(fd, "GET /echo?query=1 HTTP/1.1\r\nHost: t\r\n\r\n"
                        "POST /echo?query=2 HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\nab"
                        "GET /echo?query=3 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
                        "GET /echo?query=4 HTTP/1.1\r\nHost: t\r\n\r\n");
    for (int i = 1; i <= 3; i++) {
        char expected[32];

        snprintf(expected, sizeof(expected), " query=%d ", i);
        client_receive(fd, "GET", &answer);
        assert_int_equal(answer.status, 200);
        assert_non_null(strstr((const char *)answer.body.ptr, expected));
    }
    assert_true(client_closed(fd));
    close(fd);
}

static void test_server__answers_503_when_a_queue_is_full(void **state)
{
    int fds[6];
    int full = 0;

    (void)state;
    for (int i = 0; i < 6; i++) {
        fds[i] = client_connect(port);
        client_send_str(fds[i], "GET /held HTTP/1.1\r\nHost: t\r\n\r\n");
        if (i < 2) /* On the two threads, not in the queue. */
            assert_true(reaches(&gate.entered, i + 1));
    }
    /* Other pools are not held up. */
    {
        int fd = client_connect(port);

        client_call(fd, "POST", "/write", "", TIDE_SLICE("x"), &answer);
        assert_int_equal(answer.status, 204);
        close(fd);
    }
    sleep_ms(100);
    atomic_store(&gate.open, 1);
    for (int i = 0; i < 6; i++) {
        client_receive(fds[i], "GET", &answer);
        if (answer.status == 503) {
            assert_string_equal(client_header(&answer, "Retry-After"), "1");
            full++;
        } else {
            assert_int_equal(answer.status, 200);
            expect_body("held");
        }
    }
    assert_int_equal(full, 2); /* Two ran, two waited. */
    /* Refused or not, the connection goes on. Not before all have ended: the queue may be full
     * still. */
    for (int i = 0; i < 6; i++) {
        client_call(fds[i], "GET", "/echo", "", no_body, &answer);
        assert_int_equal(answer.status, 200);
        close(fds[i]);
    }
}

/* ---- Clients that go, or are slow ---- */

static void test_server__notices_a_client_that_goes_during_a_query(void **state)
{
    int fd = client_connect(port);
    int64_t start_ms;

    (void)state;
    client_send_str(fd, "GET /held HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_true(reaches(&gate.entered, 1));
    sleep_ms(150);
    assert_int_equal(gate.gone, 0);
    start_ms = tide_clock_mono_ms();
    close(fd);
    assert_true(reaches(&gate.gone, 1));
    assert_true(tide_clock_mono_ms() - start_ms < 2000);
    expect_alive();
    assert_int_equal(gate.gone, 1);
}

static void test_server__streams_answers_whole(void **state)
{
    static const struct {
        size_t bytes;
        size_t piece;
    } cases[] = {{0, 1}, {1, 1}, {5000, 7}, {65536, 65536}, {3000000, 10007}, {5000000, 5000000}};
    int fd = client_connect(port);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char target[100];

        snprintf(target, sizeof(target), "/stream?bytes=%zu&piece=%zu", cases[i].bytes,
                 cases[i].piece);
        client_call(fd, "GET", target, "", no_body, &answer);
        assert_int_equal(answer.status, 200);
        assert_string_equal(client_header(&answer, "X-Stream"), "1");
        assert_true(answer.complete);
        assert_int_equal(answer.body.len, cases[i].bytes);
        for (size_t at = 0; at < answer.body.len; at++)
            if (answer.body.ptr[at] != pattern_at(at))
                fail_msg("byte %zu differs", at);
    }
    client_call(fd, "HEAD", "/stream?bytes=5000000&piece=1000", "", no_body, &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(client_header(&answer, "Connection"), "close");
    close(fd);
}

static void test_server__a_broken_stream_is_seen_as_broken(void **state)
{
    int fd = client_connect(port);

    (void)state;
    client_call(fd, "GET", "/stream?bytes=200000&piece=1000&cut=1", "", no_body, &answer);
    assert_int_equal(answer.status, 200);
    assert_false(answer.complete);
    close(fd);
    expect_alive();
}

static void test_server__a_slow_reader_holds_the_writer_back(void **state)
{
    int fd = client_connect(port);
    int small = 65536;
    size_t total = 0;
    static char bytes[200000];
    ssize_t got;

    (void)state;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_send_str(fd, "GET /stream?bytes=8000000&piece=50000 HTTP/1.0\r\nHost: t\r\n\r\n");
    assert_true(reaches(&gate.entered, 1));
    sleep_ms(300);
    while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0)
        total += (size_t)got;
    assert_true(total > 8000000);
    assert_true(total < 8001000);
    assert_int_equal(stream_canceled, 0);
    close(fd);
}

static void test_server__a_writer_hears_that_its_client_has_gone(void **state)
{
    int fd = client_connect(port);

    (void)state;
    /* Blocked on a client that does not read. */
    client_send_str(fd, "GET /stream?bytes=90000000&piece=50000 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_true(reaches(&gate.entered, 1));
    sleep_ms(100);
    close(fd);
    assert_true(reaches(&stream_canceled, 1));
    assert_int_equal(gate.gone, 1);
    /* Between writes, with nothing to send. */
    fd = client_connect(port);
    client_send_str(fd,
                    "GET /stream?bytes=200000&piece=1000&pause=100 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_true(reaches(&gate.entered, 2));
    close(fd);
    assert_true(reaches(&stream_canceled, 2));
    assert_int_equal(gate.gone, 2);
    expect_alive();
}

static void test_server__cuts_slow_senders(void **state)
{
    struct tide_http_options options = options_base();
    int body;
    int head;
    int64_t start_ms = tide_clock_mono_ms();
    char text[16] = "";

    (void)state;
    options.request_timeout_s = 1;
    options.idle_timeout_s = 1;
    start(&options);
    body = client_connect(port);
    head = client_connect(port);
    client_send_str(body, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 500\r\n\r\n");
    client_send_str(head, "GET /ec");
    /* A byte now and then keeps both from being idle. */
    for (int i = 0; i < 100; i++) {
        if (recv(body, text, 12, MSG_PEEK | MSG_DONTWAIT) >= 12)
            break;
        client_send_str(body, "x");
        client_send_str(head, "x");
        sleep_ms(100);
    }
    assert_true(tide_clock_mono_ms() - start_ms < 8000);
    client_receive(body, "POST", &answer);
    assert_int_equal(answer.status, 408);
    expect_body("{\"status\":408,\"error\":\"the request did not come whole in time\"}");
    assert_true(client_closed(body));
    close(body);
    for (int i = 0; i < 100 && client_send_str(head, "x"); i++)
        sleep_ms(100);
    assert_true(tide_clock_mono_ms() - start_ms < 8000);
    assert_true(client_closed(head));
    close(head);
    expect_alive();
}

static void test_server__closes_idle_connections_but_not_busy_ones(void **state)
{
    struct tide_http_options options = options_base();
    int idle;
    int busy;

    (void)state;
    options.idle_timeout_s = 1;
    start(&options);
    idle = client_connect(port);
    busy = client_connect(port);
    client_send_str(busy, "GET /held HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_true(reaches(&gate.entered, 1));
    assert_true(client_closed(idle));
    sleep_ms(1500);
    atomic_store(&gate.open, 1);
    client_receive(busy, "GET", &answer);
    assert_int_equal(answer.status, 200);
    close(idle);
    close(busy);
}

static void test_server__holds_many_idle_connections(void **state)
{
    int fds[400];

    (void)state;
    for (int i = 0; i < 400; i++) {
        fds[i] = client_connect(port);
        assert_true(fds[i] >= 0);
    }
    for (int i = 0; i < 400; i += 7) {
        client_call(fds[i], "POST", "/write", "", TIDE_SLICE("x"), &answer);
        assert_int_equal(answer.status, 204);
    }
    for (int i = 0; i < 400; i++)
        close(fds[i]);
    expect_alive();
}

/* Random bytes, broken requests, connections cut at any place. */
static void test_server__survives_garbage(void **state)
{
    static const char whole[] = "POST /echo?query=%41 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: "
                                "chunked\r\nX-A: b\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    struct tide_http_options options = options_base();
    uint32_t random = 4711;

    (void)state;
    /* Of some broken endings libmicrohttpd does not see the end of the connection. */
    options.request_timeout_s = 1;
    start(&options);
    for (size_t cut = 0; cut < sizeof(whole) - 1; cut++) {
        int fd = client_connect(port);

        client_send(fd, whole, cut);
        close(fd);
    }
    for (int round = 0; round < 200; round++) {
        char text[sizeof(whole)];
        int fd = client_connect(port);

        memcpy(text, whole, sizeof(whole));
        for (int i = 0; i < 4; i++) {
            random = random * 1664525 + 1013904223;
            text[(random >> 8) % (sizeof(whole) - 1)] = (char)(random >> 24);
        }
        client_send(fd, text, sizeof(whole) - 1);
        shutdown(fd, SHUT_WR);
        close(fd);
    }
    expect_alive();
}

/* ---- Start and stop ---- */

static void test_server__stop_lets_exchanges_finish(void **state)
{
    struct tide_http_server *stopping = server;
    int fd = client_connect(port);

    (void)state;
    client_send_str(fd,
                    "GET /stream?bytes=500000&piece=50000&pause=20 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_true(reaches(&gate.entered, 1));
    server = NULL;
    tide_http_server_stop(stopping, 10000);
    client_receive(fd, "GET", &answer);
    assert_true(answer.complete);
    assert_int_equal(answer.body.len, 500000);
    assert_true(client_closed(fd));
    close(fd);
    assert_int_equal(client_connect(port), -1);
}

static void test_server__stop_cuts_what_takes_too_long(void **state)
{
    struct tide_http_server *stopping = server;
    int64_t start_ms = tide_clock_mono_ms();
    int held_fd = client_connect(port);
    int stream_fd = client_connect(port);
    int half_fd = client_connect(port);

    (void)state;
    client_send_str(held_fd, "GET /held HTTP/1.1\r\nHost: t\r\n\r\n");
    client_send_str(stream_fd,
                    "GET /stream?bytes=90000000&piece=50000 HTTP/1.1\r\nHost: t\r\n\r\n");
    client_send_str(half_fd, "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\nx");
    assert_true(reaches(&gate.entered, 2));
    server = NULL;
    tide_http_server_stop(stopping, 200);
    assert_true(tide_clock_mono_ms() - start_ms < 5000);
    assert_int_equal(gate.gone, 2);
    assert_int_equal(stream_canceled, 1);
    close(held_fd);
    close(stream_fd);
    close(half_fd);
}

static void test_server__start_tells_what_is_wrong(void **state)
{
    static const char *const bad[] = {
        "", "127.0.0.1", "127.0.0.1:", "::1:9009", "127.0.0.1:x", "[::1:9", "nosuchhost.invalid:1"};
    struct tide_http_options options = options_base();
    struct tide_http_server *other = NULL;
    struct tide_diag diag = {""};
    char taken[32];

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        diag.text[0] = '\0';
        options.listen = bad[i];
        assert_int_equal(tide_http_server_start(&options, &other, &diag), TIDE_ERR_INVALID);
        assert_string_not_equal(diag.text, "");
    }
    snprintf(taken, sizeof(taken), "127.0.0.1:%u", (unsigned)port);
    options.listen = taken;
    assert_int_equal(tide_http_server_start(&options, &other, &diag), TIDE_ERR_BUSY);
    assert_null(other);
    options.listen = ":0";
    options.loop_threads = 1;
    options.prefix = NULL;
    options.error_body = NULL;
    assert_int_equal(tide_http_server_start(&options, &other, NULL), TIDE_OK);
    {
        int fd = client_connect(tide_http_server_port(other));

        client_call(fd, "GET", "/prometheus/echo", "", no_body, &answer);
        assert_int_equal(answer.status, 404);
        expect_body("not found\n");
        close(fd);
    }
    tide_http_server_stop(other, 1000);
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

/* An argument, a pattern with `*`, picks tests. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_server__keeps_connections_and_gives_handlers_all),
        WITH_SERVER(test_server__tells_wrong_paths_and_methods),
        WITH_SERVER(test_server__takes_long_targets_and_refuses_huge_ones),
        WITH_SERVER(test_server__refuses_malformed_percent_encoding),
        WITH_SERVER(test_server__refuses_heads_that_are_ambiguous),
        WITH_SERVER(test_server__reads_chunked_uploads),
        WITH_SERVER(test_server__refuses_other_transfer_encodings),
        WITH_SERVER(test_server__continues_when_the_client_expects_it),
        WITH_SERVER(test_server__refuses_bodies_over_the_routes_bound),
        WITH_SERVER(test_server__bounds_all_bodies_together),
        WITH_SERVER(test_server__answers_pipelined_requests_in_order),
        WITH_SERVER(test_server__answers_503_when_a_queue_is_full),
        WITH_SERVER(test_server__notices_a_client_that_goes_during_a_query),
        WITH_SERVER(test_server__streams_answers_whole),
        WITH_SERVER(test_server__a_broken_stream_is_seen_as_broken),
        WITH_SERVER(test_server__a_slow_reader_holds_the_writer_back),
        WITH_SERVER(test_server__a_writer_hears_that_its_client_has_gone),
        cmocka_unit_test_teardown(test_server__cuts_slow_senders, teardown),
        cmocka_unit_test_teardown(test_server__closes_idle_connections_but_not_busy_ones, teardown),
        WITH_SERVER(test_server__holds_many_idle_connections),
        cmocka_unit_test_teardown(test_server__survives_garbage, teardown),
        WITH_SERVER(test_server__stop_lets_exchanges_finish),
        WITH_SERVER(test_server__stop_cuts_what_takes_too_long),
        WITH_SERVER(test_server__start_tells_what_is_wrong),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
