#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_querier.h"

#include "tide/base/mem.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- The source ---- */

struct memory_set {
    struct tide_series_set set;
    const struct memory_series **series;
    struct tide_query_limits *limits;
};

static struct tide_labels labels_of(const struct memory_series *series)
{
    return (struct tide_labels){series->pairs, series->pair_count};
}

static enum tide_err set_labels(struct tide_series_set *set, size_t i, struct tide_arena *arena,
                                struct tide_labels *out)
{
    (void)arena;
    *out = labels_of(((const struct memory_set *)set)->series[i]);
    return TIDE_OK;
}

static struct tide_slice set_label(struct tide_series_set *set, size_t i, struct tide_slice name)
{
    return tide_labels_get(labels_of(((const struct memory_set *)set)->series[i]), name);
}

static enum tide_err set_read(struct tide_series_set *set, size_t first, size_t count,
                              int64_t mint_ms, int64_t maxt_ms, struct tide_batch *batch)
{
    const struct memory_set *memory = (const struct memory_set *)set;
    enum tide_err err = tide_query_check(memory->limits);

    tide_arena_reset(batch->arena);
    batch->series = tide_arena_new_array(batch->arena, count, sizeof(*batch->series));
    batch->count = count;
    assert_non_null(batch->series);
    for (size_t i = 0; i < count && err == TIDE_OK; i++) {
        const struct memory_series *s = memory->series[first + i];
        size_t from = 0, n = 0;

        while (from < s->count && s->times_ms[from] < mint_ms)
            from++;
        while (from + n < s->count && s->times_ms[from + n] <= maxt_ms)
            n++;
        batch->series[i] = (struct tide_series_samples){
            .times_ms = s->times_ms + from, .values = s->values + from, .count = n};
        err = tide_query_count_samples(memory->limits, n);
    }
    return err;
}

static void set_free(struct tide_series_set *set)
{
    tide_mem_free(((struct memory_set *)set)->series);
    tide_mem_free(set);
}

static const struct tide_series_set_ops set_ops = {
    .labels = set_labels, .label = set_label, .read = set_read, .free = set_free};

static bool selected(const struct tide_select *select, const struct memory_series *series)
{
    return series->times_ms[series->count - 1] >= select->mint_ms &&
           series->times_ms[0] <= select->maxt_ms &&
           tide_matchers_match(select->matchers, select->matcher_count, labels_of(series));
}

/* What a call was asked for is kept for the test, which has a thread of its own. */
static enum tide_err enter(struct memory_source *memory, const struct tide_select *select,
                           struct tide_slice name, struct tide_diag *diag)
{
    enum tide_err err;

    pthread_mutex_lock(&memory->lock);
    if (select != NULL)
        memory->asked = *select;
    assert_true(name.len < sizeof(memory->asked_text));
    if (name.len > 0)
        memcpy(memory->asked_text, name.ptr, name.len);
    memory->asked_name = (struct tide_slice){(const uint8_t *)memory->asked_text, name.len};
    err = memory->err;
    pthread_mutex_unlock(&memory->lock);
    return err == TIDE_OK ? err : tide_diag_err(diag, err, "the source says no");
}

static enum tide_err source_select(void *context, const struct tide_select *select,
                                   struct tide_query_limits *limits, struct tide_series_set **out,
                                   struct tide_diag *diag)
{
    struct memory_source *memory = context;
    struct memory_set *set;
    enum tide_err err = enter(memory, select, (struct tide_slice){NULL, 0}, diag);

    if (err != TIDE_OK)
        return err;
    set = tide_mem_new(sizeof(*set));
    assert_non_null(set);
    *set = (struct memory_set){
        .set = {.ops = &set_ops},
        .series = tide_mem_array(memory->series_count, sizeof(struct memory_series *)),
        .limits = limits};
    assert_non_null(set->series);
    for (size_t i = 0; i < memory->series_count; i++) {
        if (selected(select, &memory->series[i]))
            set->series[set->set.count++] = &memory->series[i];
    }
    *out = &set->set;
    return TIDE_OK;
}

/* From the last series to the first, each with all its labels: the caller sorts and merges. */
static enum tide_err source_label_names(void *context, const struct tide_select *select,
                                        struct tide_query_limits *limits, tide_string_sink sink,
                                        void *sink_context, struct tide_diag *diag)
{
    struct memory_source *memory = context;
    enum tide_err err = enter(memory, select, (struct tide_slice){NULL, 0}, diag);

    (void)limits;
    if (err != TIDE_OK)
        return err;
    for (size_t i = memory->series_count; i-- > 0;) {
        const struct memory_series *s = &memory->series[i];

        for (size_t k = 0; k < s->pair_count && selected(select, s); k++)
            sink(sink_context, s->pairs[k].name);
    }
    return TIDE_OK;
}

static enum tide_err source_label_values(void *context, const struct tide_select *select,
                                         struct tide_slice name, struct tide_query_limits *limits,
                                         tide_string_sink sink, void *sink_context,
                                         struct tide_diag *diag)
{
    struct memory_source *memory = context;
    enum tide_err err = enter(memory, select, name, diag);

    (void)limits;
    if (err != TIDE_OK)
        return err;
    for (size_t i = memory->series_count; i-- > 0;) {
        struct tide_slice value = tide_labels_get(labels_of(&memory->series[i]), name);

        if (value.len > 0 && selected(select, &memory->series[i]))
            sink(sink_context, value);
    }
    return TIDE_OK;
}

static enum tide_err source_exemplars(void *context, const struct tide_select *select,
                                      struct tide_query_limits *limits, tide_exemplar_sink sink,
                                      void *sink_context, struct tide_diag *diag)
{
    struct memory_source *memory = context;
    enum tide_err err = enter(memory, select, (struct tide_slice){NULL, 0}, diag);

    (void)limits;
    if (err != TIDE_OK)
        return err;
    if (memory->exemplar_count > 0 &&
        tide_matchers_match(select->matchers, select->matcher_count, labels_of(&memory->series[0])))
        sink(sink_context, labels_of(&memory->series[0]), memory->exemplars,
             memory->exemplar_count);
    return TIDE_OK;
}

static enum tide_err source_metadata(void *context, struct tide_slice tenant,
                                     struct tide_slice metric, tide_metadata_sink sink,
                                     void *sink_context)
{
    struct memory_source *memory = context;
    enum tide_err err = enter(memory, NULL, (struct tide_slice){NULL, 0}, NULL);

    (void)tenant;
    for (size_t i = memory->metadata_count; i-- > 0;) {
        if (metric.len == 0 || tide_slice_eq(metric, memory->metadata[i].metric))
            sink(sink_context, &memory->metadata[i]);
    }
    return err;
}

static enum tide_err source_stats(void *context, struct tide_slice tenant,
                                  struct tide_source_stats *out)
{
    struct memory_source *memory = context;
    enum tide_err err = enter(memory, NULL, (struct tide_slice){NULL, 0}, NULL);

    (void)tenant;
    *out = (struct tide_source_stats){.series = memory->series_count, .min_ms = 1, .max_ms = 2};
    return err;
}

/* Each series by itself: the caller adds. */
static enum tide_err source_cardinality(void *context, struct tide_slice tenant,
                                        enum tide_cardinality what, tide_cardinality_sink sink,
                                        void *sink_context)
{
    const struct memory_source *memory = context;

    (void)tenant;
    for (size_t i = 0; i < memory->series_count; i++) {
        const struct memory_series *s = &memory->series[i];

        if (what == TIDE_CARDINALITY_SERIES_BY_METRIC) {
            sink(sink_context, tide_labels_get(labels_of(s), TIDE_SLICE(TIDE_LABEL_METRIC)),
                 (struct tide_slice){NULL, 0}, 1);
            continue;
        }
        for (size_t k = 0; k < s->pair_count; k++)
            sink(sink_context, s->pairs[k].name, s->pairs[k].value, 1);
    }
    return TIDE_OK;
}

void memory_source_init(struct memory_source *memory, const struct memory_series *series,
                        size_t series_count)
{
    *memory = (struct memory_source){.series = series,
                                     .series_count = series_count,
                                     .source = {.context = memory,
                                                .select = source_select,
                                                .label_names = source_label_names,
                                                .label_values = source_label_values,
                                                .exemplars = source_exemplars,
                                                .metadata = source_metadata,
                                                .stats = source_stats,
                                                .cardinality = source_cardinality}};
    pthread_mutex_init(&memory->lock, NULL);
}

/* ---- The service ---- */

static enum tide_err any_tenant(const struct tide_http_exchange *x, struct tide_slice *out,
                                struct tide_diag *diag)
{
    *out = tide_http_header(x, "X-Scope-OrgID");
    if (tide_slice_eq(*out, TIDE_SLICE("other")))
        return TIDE_OK;
    if (out->len > 0)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "no such tenant");
    *out = TIDE_SLICE("t");
    return TIDE_OK;
}

void service_start(struct service *service, struct memory_source *memory,
                   struct tide_querier_options options)
{
    const struct tide_engine_options engine = {.threads = 1};
    struct tide_http_route routes[TIDE_QUERIER_ROUTES_MAX];
    struct tide_diag diag = {{0}};
    struct tide_http_options http = {.listen = "127.0.0.1:0",
                                     .loop_threads = 1,
                                     .pool_threads = {1, 1, 1},
                                     .pool_queue_max = {4, 4, 4},
                                     .connections_max = 16,
                                     .idle_timeout_s = 60,
                                     .request_timeout_s = 60,
                                     .bodies_bytes_max = 1 << 20,
                                     .routes = routes,
                                     .error_body = tide_querier_error_body};

    *service = (struct service){.memory = memory};
    assert_int_equal(tide_engine_new(&engine, &service->engine), TIDE_OK);
    options.engine = service->engine;
    options.source = &memory->source;
    options.tenant = any_tenant;
    options.version = "1.2.3";
    if (options.timeout_ms == 0)
        options.timeout_ms = 60000;
    if (options.memory_bytes_max == 0)
        options.memory_bytes_max = 16 << 20;
    assert_int_equal(tide_querier_new(&options, &service->querier), TIDE_OK);
    http.route_count = tide_querier_routes(service->querier, routes);
    if (tide_http_server_start(&http, &service->server, &diag) != TIDE_OK)
        fail_msg("%s", diag.text);
    service->port = tide_http_server_port(service->server);
}

void service_stop(struct service *service)
{
    tide_http_server_stop(service->server, 1000);
    tide_querier_free(service->querier);
    tide_engine_free(service->engine);
    free(service->body);
}

/* ---- The client ---- */

static int client_connect(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Removes the sizes of chunks, in place. */
static void unchunk(char *body)
{
    char *from = body, *to = body;

    for (;;) {
        char *end;
        unsigned long len = strtoul(from, &end, 16);

        assert_true(end > from);
        if (len == 0)
            break;
        memmove(to, end + 2, len);
        to += len;
        from = end + 2 + len + 2;
    }
    *to = '\0';
}

/* Between what the test sets or reads and what the source reads or sets, which TCP orders, but not
 * for a thread sanitizer. */
static void meet(struct memory_source *memory)
{
    pthread_mutex_lock(&memory->lock);
    pthread_mutex_unlock(&memory->lock);
}

int service_get(struct service *service, const char *path)
{
    return service_ask(service, "GET", NULL, path);
}

int service_ask(struct service *service, const char *method, const char *tenant, const char *path)
{
    int fd = client_connect(service->port);
    struct tide_buf text = {0};
    int status;

    meet(service->memory);
    tide_buf_printf(&text, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", method, path);
    if (tenant != NULL)
        tide_buf_printf(&text, "X-Scope-OrgID: %s\r\n", tenant);
    tide_buf_str(&text, "Content-Length: 0\r\n\r\n");
    assert_int_equal(send(fd, text.ptr, text.len, 0), text.len);
    text.len = 0;
    for (;;) {
        uint8_t *to = tide_buf_reserve(&text, 65536);
        ssize_t got = recv(fd, to, 65535, 0);

        assert_true(got >= 0);
        if (got == 0)
            break;
        text.len += (size_t)got;
    }
    close(fd);
    tide_buf_byte(&text, 0);
    status = atoi((const char *)text.ptr + 9);
    const char *body = strstr((const char *)text.ptr, "\r\n\r\n");

    assert_non_null(body);
    free(service->body);
    service->body = strdup(body + 4);
    if (strstr((const char *)text.ptr, "chunked") != NULL)
        unchunk(service->body);
    tide_buf_deinit(&text);
    meet(service->memory);
    return status;
}

void service_expect(struct service *service, const char *path, int status, const char *body)
{
    int got = service_get(service, path);

    if (got != status || strcmp(service->body, body) != 0)
        fail_msg("%s\n     %d %s\nnot  %d %s", path, got, service->body, status, body);
}

void service_expect_part(struct service *service, const char *path, int status, const char *part)
{
    int got = service_get(service, path);

    if (got != status || strstr(service->body, part) == NULL)
        fail_msg("%s\n     %d %s\nnot  %d … %s", path, got, service->body, status, part);
}
