/* A blocking HTTP/1.1 client connection for POST with keep-alive: two system calls a request. */
#ifndef TIDE_BENCH_LOAD_HTTP_H
#define TIDE_BENCH_LOAD_HTTP_H

#include "tide/base/slice.h"

/* Where to send: from http://host[:port][/path]. */
struct http_target {
    char host[256];
    char port[8];
    char path[512];
};
TIDE_CHECK_RESULT enum tide_err http_target_parse(const char *url, struct http_target *out);

struct http_connection {
    const struct http_target *target;
    const char *headers; /* Header lines for every request, each ended by CRLF. */
    int timeout_s;
    int fd; /* -1: not open. */
    char *head;
};

struct http_reply {
    int status;
    int retry_after_s; /* -1: none. */
    char message[256]; /* Start of the body, one line. */
};

TIDE_CHECK_RESULT enum tide_err http_connection_init(struct http_connection *c,
                                                     const struct http_target *target,
                                                     const char *headers, int timeout_s);
void http_connection_deinit(struct http_connection *c);
/* Sends one body and reads the reply, connecting first when needed. Errors: TIDE_ERR_UNAVAILABLE
 * (cannot connect, connection lost, no reply in time: whether the body was taken is not known); the
 * connection is then closed. */
TIDE_CHECK_RESULT enum tide_err http_post(struct http_connection *c, struct tide_slice body,
                                          struct http_reply *out);

#endif
