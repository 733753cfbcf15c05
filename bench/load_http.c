#include "load_http.h"

#include "tide/base/mem.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD_BYTES_MAX 16384

enum tide_err http_target_parse(const char *url, struct http_target *out)
{
    const char *host = url + strlen("http://");
    size_t host_len;
    const char *rest;

    if (strncmp(url, "http://", strlen("http://")) != 0)
        return TIDE_ERR_INVALID;
    host_len = strcspn(host, ":/");
    if (host_len == 0 || host_len >= sizeof(out->host))
        return TIDE_ERR_INVALID;
    memcpy(out->host, host, host_len);
    out->host[host_len] = '\0';
    rest = host + host_len;
    snprintf(out->port, sizeof(out->port), "80");
    if (*rest == ':') {
        size_t port_len = strcspn(++rest, "/");

        if (port_len == 0 || port_len >= sizeof(out->port))
            return TIDE_ERR_INVALID;
        memcpy(out->port, rest, port_len);
        out->port[port_len] = '\0';
        rest += port_len;
    }
    if (strlen(rest) >= sizeof(out->path))
        return TIDE_ERR_INVALID;
    snprintf(out->path, sizeof(out->path), "%s", *rest == '\0' ? "/" : rest);
    return TIDE_OK;
}

enum tide_err http_connection_init(struct http_connection *c, const struct http_target *target,
                                   const char *headers, int timeout_s)
{
    *c = (struct http_connection){
        .target = target, .headers = headers, .timeout_s = timeout_s, .fd = -1};
    c->head = tide_mem_alloc(HEAD_BYTES_MAX + 1);
    return c->head == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}

static void disconnect(struct http_connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

void http_connection_deinit(struct http_connection *c)
{
    disconnect(c);
    tide_mem_free(c->head);
}

static bool connect_to(struct http_connection *c)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct timeval timeout = {.tv_sec = c->timeout_s};
    int on = 1;

    if (getaddrinfo(c->target->host, c->target->port, &hints, &found) != 0)
        return false;
    for (struct addrinfo *a = found; a != NULL && c->fd < 0; a = a->ai_next) {
        c->fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (c->fd >= 0 && connect(c->fd, a->ai_addr, a->ai_addrlen) != 0)
            disconnect(c);
    }
    freeaddrinfo(found);
    if (c->fd < 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    return true;
}

static bool send_all(int fd, struct iovec *parts, size_t count)
{
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        while (count > 0 && (size_t)sent >= parts->iov_len) {
            sent -= (ssize_t)parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + sent;
            parts->iov_len -= (size_t)sent;
        }
    }
    return true;
}

static ssize_t receive(int fd, char *to, size_t room)
{
    ssize_t got;

    do
        got = recv(fd, to, room, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

/* The value of a header line, or NULL. */
static const char *header(const char *head, const char *name)
{
    size_t len = strlen(name);

    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            return line + len + 1 + strspn(line + len + 1, " ");
    }
    return NULL;
}

static void keep_message(struct http_reply *reply, const char *body, size_t len)
{
    size_t kept = len < sizeof(reply->message) - 1 ? len : sizeof(reply->message) - 1;

    memcpy(reply->message, body, kept);
    reply->message[kept] = '\0';
    reply->message[strcspn(reply->message, "\r\n")] = '\0';
}

static bool read_reply(struct http_connection *c, struct http_reply *out)
{
    size_t len = 0;
    char *end = NULL;
    const char *value;
    long body_len = 0;
    long body_got;
    bool last;

    while (end == NULL) {
        ssize_t got;

        if (len == HEAD_BYTES_MAX)
            return false;
        got = receive(c->fd, c->head + len, HEAD_BYTES_MAX - len);
        if (got <= 0)
            return false;
        len += (size_t)got;
        c->head[len] = '\0';
        end = strstr(c->head, "\r\n\r\n");
    }
    if (len < 12 || strncmp(c->head, "HTTP/1.", 7) != 0)
        return false;
    out->status = (int)strtol(c->head + 9, NULL, 10);
    body_got = (long)(len - (size_t)(end + 4 - c->head));
    keep_message(out, end + 4, (size_t)body_got);
    *end = '\0'; /* Headers only. */
    value = header(c->head, "Retry-After");
    out->retry_after_s = value == NULL ? -1 : (int)strtol(value, NULL, 10);
    value = header(c->head, "Connection");
    last = value != NULL && strncasecmp(value, "close", 5) == 0;
    value = header(c->head, "Content-Length");
    if (value != NULL)
        body_len = strtol(value, NULL, 10);
    else if (out->status != 204)
        last = true; /* Its end cannot be told, or only by parsing chunks. */
    while (body_got < body_len) {
        ssize_t got = receive(c->fd, c->head, HEAD_BYTES_MAX);

        if (got <= 0)
            return false;
        if (body_got == 0)
            keep_message(out, c->head, (size_t)got);
        body_got += got;
    }
    if (last)
        disconnect(c);
    return true;
}

enum tide_err http_post(struct http_connection *c, struct tide_slice body, struct http_reply *out)
{
    char head[2048];
    struct iovec parts[2];
    int len;

    *out = (struct http_reply){.retry_after_s = -1};
    if (c->fd < 0 && !connect_to(c))
        return TIDE_ERR_UNAVAILABLE;
    len = snprintf(head, sizeof(head),
                   "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Length: %zu\r\n%s\r\n",
                   c->target->path, c->target->host, c->target->port, body.len, c->headers);
    if (len < 0 || (size_t)len >= sizeof(head))
        return TIDE_ERR_INVALID;
    parts[0] = (struct iovec){head, (size_t)len};
    parts[1] = (struct iovec){(void *)(uintptr_t)body.ptr, body.len};
    if (send_all(c->fd, parts, 2) && read_reply(c, out))
        return TIDE_OK;
    disconnect(c);
    return TIDE_ERR_UNAVAILABLE;
}
