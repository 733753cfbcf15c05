#include "server_private.h"

#include "tide/base/mem.h"

static struct tide_slice from(struct tide_slice s, size_t at)
{
    return (struct tide_slice){s.ptr + at, s.len - at};
}

static struct tide_slice until(struct tide_slice s, size_t at)
{
    return (struct tide_slice){s.ptr, at};
}

/* ---- The table ---- */

static const char *copy_text(char **to, const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = *to;

    memcpy(copy, text, bytes);
    *to += bytes;
    return copy;
}

enum tide_err tide__http_routes_init(struct tide_http_server *server,
                                     const struct tide_http_options *options,
                                     struct tide_diag *diag)
{
    size_t bytes = 1;
    char *to;

    for (size_t i = 0; i < options->route_count; i++) {
        const struct tide_http_route *route = &options->routes[i];

        if (route->path[0] != '/' || route->handler == NULL ||
            (unsigned)route->pool >= TIDE_HTTP_POOL_COUNT)
            return tide_diag_err(diag, TIDE_ERR_INVALID, "route \"%s\" is not usable", route->path);
        bytes += strlen(route->path) + strlen(route->methods) + 2;
    }
    server->routes = tide_mem_array(options->route_count, sizeof(*server->routes));
    server->route_text = tide_mem_alloc(bytes);
    if (server->routes == NULL || server->route_text == NULL)
        return TIDE_ERR_NO_MEMORY;
    to = server->route_text;
    for (size_t i = 0; i < options->route_count; i++) {
        struct tide__http_route *route = &server->routes[i];
        struct tide_slice path;
        size_t star;

        route->route = options->routes[i];
        route->route.path = copy_text(&to, options->routes[i].path);
        route->route.methods = copy_text(&to, options->routes[i].methods);
        path = tide_slice_str(route->route.path);
        star = tide_slice_find(path, TIDE_SLICE("/*"));
        route->has_star = star != SIZE_MAX;
        route->before = route->has_star ? until(path, star + 1) : path;
        route->after = route->has_star ? from(path, star + 2) : TIDE_SLICE("");
    }
    return TIDE_OK;
}

void tide__http_routes_deinit(struct tide_http_server *server)
{
    tide_mem_free(server->routes);
    tide_mem_free(server->route_text);
}

/* ---- One request ---- */

/* Whether the path fits; *arg is what stands for the `*`. */
static bool path_fits(const struct tide__http_route *route, struct tide_slice path,
                      struct tide_slice *arg)
{
    *arg = (struct tide_slice){NULL, 0};
    if (!route->has_star)
        return tide_slice_eq(route->before, path);
    if (path.len <= route->before.len + route->after.len ||
        !tide_slice_starts(path, route->before) || !tide_slice_ends(path, route->after))
        return false;
    *arg = (struct tide_slice){path.ptr + route->before.len,
                               path.len - route->before.len - route->after.len};
    return memchr(arg->ptr, '/', arg->len) == NULL;
}

/* Whether "GET,POST" names the method; HEAD goes where GET goes. */
static bool method_fits(const char *methods, const char *method)
{
    size_t len;

    if (strcmp(method, "HEAD") == 0)
        method = "GET";
    len = strlen(method);
    while (*methods != '\0') {
        size_t name_len = strcspn(methods, ",");

        if (name_len == len && memcmp(methods, method, len) == 0)
            return true;
        methods += name_len;
        if (*methods == ',')
            methods++;
    }
    return false;
}

/* The request target may also be a whole URL (RFC 9112, section 3.2.2). */
static struct tide_slice path_and_query(struct tide_slice uri)
{
    size_t at;
    const uint8_t *slash;

    if (uri.len == 0 || uri.ptr[0] == '/')
        return uri;
    at = tide_slice_find(uri, TIDE_SLICE("://"));
    if (at == SIZE_MAX)
        return uri;
    uri = from(uri, at + 3);
    slash = uri.len > 0 ? memchr(uri.ptr, '/', uri.len) : NULL;
    return slash == NULL ? TIDE_SLICE("/") : from(uri, (size_t)(slash - uri.ptr));
}

static struct tide_slice without_prefix(const char *prefix, struct tide_slice path)
{
    struct tide_slice p;

    if (prefix == NULL)
        return path;
    p = tide_slice_str(prefix);
    if (!tide_slice_starts(path, p))
        return path;
    if (path.len == p.len)
        return TIDE_SLICE("/");
    return path.ptr[p.len] == '/' ? from(path, p.len) : path;
}

void tide__http_route(struct tide_http_exchange *x)
{
    struct tide_slice target = path_and_query(x->uri);
    const uint8_t *question = target.len > 0 ? memchr(target.ptr, '?', target.len) : NULL;
    struct tide_slice raw_arg;

    x->path = target;
    if (question != NULL) {
        x->path = until(target, (size_t)(question - target.ptr));
        x->query = from(target, x->path.len + 1);
    }
    x->path = without_prefix(x->server->prefix, x->path);

    for (size_t i = 0; i < x->server->options.route_count; i++) {
        const struct tide__http_route *route = &x->server->routes[i];

        if (!path_fits(route, x->path, &raw_arg))
            continue;
        if (!method_fits(route->route.methods, x->method)) {
            if (x->allow.len > 0)
                tide_buf_byte(&x->allow, ',');
            tide_buf_str(&x->allow, route->route.methods);
            continue;
        }
        x->route = route;
        if (raw_arg.len == 0)
            return;
        if (!tide__http_decode(raw_arg, false, &x->path_arg_text))
            tide__http_refuse(x, 400, "malformed percent-encoding in the path");
        else if (tide_buf_ok(&x->path_arg_text) != TIDE_OK)
            tide__http_refuse(x, 503, "out of memory");
        x->path_arg = tide_buf_view(&x->path_arg_text);
        return;
    }
    if (x->allow.len > 0)
        tide__http_refuse(x, 405, "method not allowed");
    else
        tide__http_refuse(x, 404, "not found");
}
