/* A raw HTTP client for the tests: what it sends is what the test says, byte for byte. */
#ifndef TIDE_HTTP_TEST_SUPPORT_CLIENT_H
#define TIDE_HTTP_TEST_SUPPORT_CLIENT_H

#include "tide/base/slice.h"

struct client_answer {
    int status;
    struct tide_buf head; /* Up to the blank line; NUL-terminated. */
    struct tide_buf body; /* Chunks put together; NUL-terminated, not counted in len. */
    bool complete;        /* The connection did not end before the answer. */
};

/* A connected socket; reads give up after 10 s. */
int client_connect(uint16_t port);
/* Sends all; false when the peer has closed. */
bool client_send(int fd, const char *bytes, size_t len);
bool client_send_str(int fd, const char *text);
/* Reads one answer, to a request of the given method, and frees what answer held before. */
void client_receive(int fd, const char *method, struct client_answer *answer);
/* One request and its answer. body may be NULL. */
void client_call(int fd, const char *method, const char *target, const char *headers,
                 struct tide_slice body, struct client_answer *answer);
/* The value of an answer's header, or NULL; overwritten by the next call. */
const char *client_header(const struct client_answer *answer, const char *name);
/* True when the peer closes (or resets) within 10 s, and sends nothing more. */
bool client_closed(int fd);
void client_answer_deinit(struct client_answer *answer);

#endif
