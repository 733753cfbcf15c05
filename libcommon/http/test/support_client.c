#include "support_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int client_connect(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval timeout = {.tv_sec = 10};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
        return fd;
    close(fd);
    return -1;
}

bool client_send(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t put = send(fd, bytes, len, MSG_NOSIGNAL);

        if (put <= 0)
            return false;
        bytes += put;
        len -= (size_t)put;
    }
    return true;
}

bool client_send_str(int fd, const char *text)
{
    return client_send(fd, text, strlen(text));
}

static bool receive_exactly(int fd, struct tide_buf *out, size_t len)
{
    uint8_t *to = tide_buf_reserve(out, len + 1);

    while (len > 0) {
        ssize_t got = recv(fd, to, len, 0);

        if (got <= 0)
            return false;
        to += got;
        out->len += (size_t)got;
        len -= (size_t)got;
    }
    return true;
}

/* Byte by byte up to and with the ending. */
static bool receive_until(int fd, struct tide_buf *out, const char *ending)
{
    struct tide_slice wanted = tide_slice_str(ending);

    while (!tide_slice_ends(tide_buf_view(out), wanted))
        if (out->len > 100000 || !receive_exactly(fd, out, 1))
            return false;
    return true;
}

const char *client_header(const struct client_answer *answer, const char *name)
{
    static char value[512];
    size_t len = strlen(name);

    for (const char *line = (const char *)answer->head.ptr; line != NULL;
         line = strstr(line, "\r\n")) {
        if (line[0] == '\r')
            line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':') {
            line += len + 1 + strspn(line + len + 1, " ");
            snprintf(value, sizeof(value), "%.*s", (int)strcspn(line, "\r"), line);
            return value;
        }
    }
    return NULL;
}

static bool receive_chunks(int fd, struct tide_buf *out)
{
    for (;;) {
        struct tide_buf line = {0};
        size_t len;
        bool ok = receive_until(fd, &line, "\r\n");

        len = ok ? strtoul((const char *)line.ptr, NULL, 16) : 0;
        tide_buf_deinit(&line);
        if (!ok || (len > 0 && !receive_exactly(fd, out, len)))
            return false;
        ok = receive_until(fd, &line, "\r\n");
        tide_buf_deinit(&line);
        if (!ok || len == 0)
            return ok;
    }
}

void client_receive(int fd, const char *method, struct client_answer *answer)
{
    const char *length;

    client_answer_deinit(answer);
    do {
        answer->head.len = 0;
        if (!receive_until(fd, &answer->head, "\r\n\r\n"))
            return;
        tide_buf_byte(&answer->head, '\0');
        answer->head.len--;
        answer->status = atoi((const char *)answer->head.ptr + strlen("HTTP/1.1 "));
    } while (answer->status == 100);
    if (strcmp(method, "HEAD") == 0 || answer->status == 204)
        answer->complete = true;
    else if (client_header(answer, "Transfer-Encoding") != NULL)
        answer->complete = receive_chunks(fd, &answer->body);
    else if ((length = client_header(answer, "Content-Length")) != NULL)
        answer->complete = receive_exactly(fd, &answer->body, strtoul(length, NULL, 10));
    tide_buf_byte(&answer->body, '\0');
    answer->body.len--;
}

void client_call(int fd, const char *method, const char *target, const char *headers,
                 struct tide_slice body, struct client_answer *answer)
{
    struct tide_buf text = {0};

    tide_buf_printf(&text, "%s %s HTTP/1.1\r\nHost: test\r\n%s", method, target, headers);
    if (body.ptr != NULL)
        tide_buf_printf(&text, "Content-Length: %zu\r\n", body.len);
    tide_buf_str(&text, "\r\n");
    tide_buf_slice(&text, body);
    client_send(fd, (const char *)text.ptr, text.len);
    tide_buf_deinit(&text);
    client_receive(fd, method, answer);
}

bool client_closed(int fd)
{
    char byte;
    ssize_t got = recv(fd, &byte, 1, 0);

    return got == 0 || (got < 0 && errno == ECONNRESET);
}

void client_answer_deinit(struct client_answer *answer)
{
    tide_buf_deinit(&answer->head);
    tide_buf_deinit(&answer->body);
    answer->status = 0;
    answer->complete = false;
}
