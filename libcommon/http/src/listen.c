#include "server_private.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* Connections that the kernel holds until the event loop takes them: a restart of a thousand
 * clients at once must not see resets. The kernel cuts it at net.core.somaxconn. */
#define BACKLOG 4096

/* "HOST:PORT" in two; brackets around an IPv6 host are dropped. */
static bool split(const char *address, char *host, size_t host_size, const char **port)
{
    const char *colon = strrchr(address, ':');
    size_t len;

    if (colon == NULL || colon[1] == '\0')
        return false;
    len = (size_t)(colon - address);
    if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    } else if (memchr(address, ':', len) != NULL) {
        return false;
    }
    if (len >= host_size)
        return false;
    memcpy(host, address, len);
    host[len] = '\0';
    *port = colon + 1;
    return true;
}

/* -1 with errno set. */
static int open_listener(const struct addrinfo *info)
{
    int one = 1;
    int zero = 0;
    int error;
    int fd = socket(info->ai_family, info->ai_socktype, info->ai_protocol);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (info->ai_family == AF_INET6) /* "[::]" and ":9009" take IPv4 too. */
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) == 0 &&
        bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof(address);
    struct sockaddr_in in;
    struct sockaddr_in6 in6;

    if (getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        return 0;
    if (address.ss_family == AF_INET6) {
        memcpy(&in6, &address, sizeof(in6));
        return ntohs(in6.sin6_port);
    }
    memcpy(&in, &address, sizeof(in));
    return ntohs(in.sin_port);
}

enum tide_err tide__http_listen(const char *address, int *out, uint16_t *port,
                                struct tide_diag *diag)
{
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char host[256];
    const char *service;
    int error = EADDRNOTAVAIL;
    int fd = -1;
    int failed;

    if (!split(address, host, sizeof(host), &service))
        return tide_diag_err(diag, TIDE_ERR_INVALID,
                             "listen address \"%s\" is not HOST:PORT, [IPV6]:PORT or :PORT",
                             address);
    failed = getaddrinfo(host[0] != '\0' ? host : NULL, service, &hints, &found);
    if (failed != 0)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "listen address \"%s\": %s", address,
                             gai_strerror(failed));
    /* IPv6 first, where the host may be either: it takes both. */
    for (int pass = 0; pass < 2 && fd < 0; pass++)
        for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next) {
            if ((at->ai_family == AF_INET6) != (pass == 0))
                continue;
            fd = open_listener(at);
            if (fd < 0)
                error = errno;
            if (fd < 0 && error == EADDRINUSE)
                goto done;
        }

done:
    freeaddrinfo(found);
    if (fd < 0)
        return tide_diag_err(diag, error == EADDRINUSE ? TIDE_ERR_BUSY : TIDE_ERR_IO,
                             "cannot listen on %s: %s", address, strerror(error));
    *port = port_of(fd);
    *out = fd;
    return TIDE_OK;
}
