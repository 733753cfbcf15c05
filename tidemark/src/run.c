#include "run.h"

#include "memory.h"
#include "tide/base/clock.h"
#include "tide/base/file.h"
#include "tide/base/log.h"
#include "tide/base/metrics.h"
#include "tide/distributor/distributor.h"
#include "tide/ingester/ingester.h"
#include "tide/querier/querier.h"
#include "tide/web/web.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* How long requests in flight may take to end after SIGTERM. */
#define DRAIN_MS 15000
/* References the distributor remembers: 16-byte slots, so at most 1 GiB. */
#define CACHE_SERIES_MAX (32u << 20)
#define ROUTES_MAX (TIDE_QUERIER_ROUTES_MAX + 32)

struct process {
    const struct config *config;
    int lock;
    struct tide_ingester *ingester;
    struct tide_distributor *distributor;
    struct tide_engine *engine;
    struct tide_querier *querier;
    struct tide_http_server *server;
    bool memory_watched;
};

/* ---- Handlers of the process itself ---- */

static void respond_text(struct tide_http_exchange *x, int status, const char *text)
{
    struct tide_buf body = {0};

    tide_buf_str(&body, text);
    tide_http_respond(x, status, "text/plain; charset=utf-8", &body);
}

static void handle_healthy(void *context, struct tide_http_exchange *x)
{
    (void)context;
    respond_text(x, 200, "Tidemark is healthy.\n");
}

static void handle_ready(void *context, struct tide_http_exchange *x)
{
    const struct process *process = context;
    enum tide_err err = tide_ingester_health(process->ingester);
    struct tide_buf body = {0};

    if (err == TIDE_OK) {
        respond_text(x, 200, "Tidemark is ready.\n");
        return;
    }
    /* Queries are answered; what is not ready is writing. */
    tide_buf_printf(&body, "Tidemark answers queries but refuses writes: %s\n", tide_err_text(err));
    tide_http_respond(x, 503, "text/plain; charset=utf-8", &body);
}

static void handle_metrics(void *context, struct tide_http_exchange *x)
{
    struct tide_buf body = {0};

    (void)context;
    tide_metrics_write(&body);
    if (tide_buf_ok(&body) != TIDE_OK) {
        tide_buf_deinit(&body);
        respond_text(x, 503, "out of memory\n");
        return;
    }
    tide_http_respond(x, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static void handle_web(void *context, struct tide_http_exchange *x)
{
    const struct tide_web_file *file = context;
    struct tide_buf body = {0};

    tide_buf_add(&body, file->bytes, file->len);
    tide_http_add_header(x, "Cache-Control", "no-cache");
    tide_http_respond(x, 200, file->content_type, &body);
}

/* ---- Starting ---- */

static enum tide_err admit(void *context, struct tide_diag *diag)
{
    const struct process *process = context;
    enum tide_err err = memory_admit(diag);

    if (err == TIDE_OK) {
        err = tide_ingester_health(process->ingester);
        if (err != TIDE_OK)
            tide_diag_set(diag, "writes are refused: %s", tide_err_text(err));
    }
    return err;
}

static enum tide_err open_store(struct process *process, struct tide_diag *diag)
{
    const struct config *c = process->config;
    const struct tide_ingester_options options = {.data_dir = c->data_dir,
                                                  .shard_count = c->shards,
                                                  .loop_threads =
                                                      c->query_threads < 4 ? c->query_threads : 4,
                                                  .retention_ms = c->retention_ms,
                                                  .checkpoint_log_bytes = c->checkpoint_log_bytes,
                                                  .disk_free_bytes_min = c->disk_free_bytes_min,
                                                  .tenants_max = c->tenants_max,
                                                  .series_per_tenant_max = c->series_per_tenant_max,
                                                  .exemplars_max = c->exemplars_per_tenant_max};
    enum tide_err err = tide_file_mkdirs(c->data_dir, diag);

    if (err == TIDE_OK)
        err = tide_file_lock(c->data_dir, &process->lock, diag);
    if (err == TIDE_OK)
        err = tide_ingester_open(&options, &process->ingester, diag);
    return err;
}

static enum tide_err make_roles(struct process *process)
{
    const struct config *c = process->config;
    struct tide_distributor_options distributor = {
        .sink = tide_ingester_sink(process->ingester),
        .identity_seed = tide_ingester_identity_seed(process->ingester),
        .limits = tide_write_limits_default,
        .cache_series_max = CACHE_SERIES_MAX,
        .admit = admit,
        .admit_context = process};
    const struct tide_engine_options engine = {.threads = c->query_threads,
                                               .lookback_ms = c->query_lookback_ms};
    struct tide_querier_options querier = {.source = tide_ingester_source(process->ingester),
                                           .tenant = tide_tenant_of,
                                           .timeout_ms = c->query_timeout_ms,
                                           .memory_bytes_max = c->query_memory_bytes_max,
                                           .total_memory_bytes_max =
                                               c->query_total_memory_bytes_max,
                                           .samples_max = c->query_samples_max,
                                           .series_max = c->query_series_max,
                                           .version = TIDE_VERSION};
    enum tide_err err;

    distributor.limits.decoded_bytes_max = c->write_decoded_bytes_max;
    distributor.limits.labels_per_series_max = c->labels_per_series_max;
    distributor.limits.label_name_bytes_max = c->label_name_bytes_max;
    distributor.limits.label_value_bytes_max = c->label_value_bytes_max;
    err = tide_distributor_new(&distributor, &process->distributor);
    if (err == TIDE_OK)
        err = tide_engine_new(&engine, &process->engine);
    querier.engine = process->engine;
    if (err == TIDE_OK)
        err = tide_querier_new(&querier, &process->querier);
    return err;
}

static enum tide_err start_server(struct process *process, struct tide_diag *diag)
{
    const struct config *c = process->config;
    struct tide_http_route routes[ROUTES_MAX] = {
        {"POST", "/api/v1/write", TIDE_HTTP_POOL_WRITE, c->write_body_bytes_max,
         tide_distributor_write, process->distributor},
        {"POST", "/api/v1/push", TIDE_HTTP_POOL_WRITE, c->write_body_bytes_max,
         tide_distributor_write, process->distributor},
        {"GET,HEAD", "/-/healthy", TIDE_HTTP_POOL_ADMIN, 0, handle_healthy, NULL},
        {"GET,HEAD", "/-/ready", TIDE_HTTP_POOL_ADMIN, 0, handle_ready, process},
        {"GET", "/metrics", TIDE_HTTP_POOL_ADMIN, 0, handle_metrics, NULL},
    };
    size_t count = 5;
    uint32_t cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    struct tide_http_options options = {
        .listen = c->http_listen,
        .prefix = "/prometheus",
        .loop_threads = c->http_threads,
        .pool_threads = {[TIDE_HTTP_POOL_WRITE] = cores < 2 ? 1 : cores,
                         [TIDE_HTTP_POOL_QUERY] = c->query_concurrent_max,
                         [TIDE_HTTP_POOL_ADMIN] = 1},
        .pool_queue_max = {[TIDE_HTTP_POOL_WRITE] = 1024,
                           [TIDE_HTTP_POOL_QUERY] = 1024,
                           [TIDE_HTTP_POOL_ADMIN] = 256},
        .connections_max = c->http_connections_max,
        .idle_timeout_s = c->http_idle_timeout_s,
        .request_timeout_s = c->http_request_timeout_s,
        .bodies_bytes_max = c->write_in_flight_bytes_max,
        .error_body = tide_querier_error_body};

    count += tide_querier_routes(process->querier, &routes[count]);
    for (const struct tide_web_file *file = tide_web_files;
         file->path != NULL && count < ROUTES_MAX; file++)
        routes[count++] = (struct tide_http_route){"GET,HEAD", file->path, TIDE_HTTP_POOL_ADMIN,
                                                   0,          handle_web, (void *)(uintptr_t)file};
    options.routes = routes;
    options.route_count = count;
    return tide_http_server_start(&options, &process->server, diag);
}

static void stop_all(struct process *process)
{
    if (process->server != NULL)
        tide_http_server_stop(process->server, DRAIN_MS);
    tide_querier_free(process->querier);
    tide_engine_free(process->engine);
    tide_distributor_free(process->distributor);
    tide_ingester_close(process->ingester);
    if (process->memory_watched)
        memory_watch_stop();
    if (process->lock >= 0)
        tide_file_unlock(process->lock);
}

/* A second signal while the first one drains: the operator does not want to wait. What was
 * acknowledged is on disk. */
static void *second_signal_main(void *context)
{
    int signal_number;

    sigwait(context, &signal_number);
    tide_log(TIDE_LOG_WARN, "tidemark", "second signal, ending at once", "signal=%d",
             signal_number);
    _exit(1);
}

enum tide_err run(const struct config *config, struct tide_diag *diag)
{
    struct process process = {.config = config, .lock = -1};
    static sigset_t signals; /* Read by a thread that nobody joins. */
    int signal_number;
    pthread_t second;
    enum tide_err err;

    tide_log_setup((enum tide_log_level)config->log_level,
                   (enum tide_log_format)config->log_format);
    /* All threads inherit the mask: the signals come to sigwait() only. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);

    err = memory_watch_start(config->memory_bytes_max);
    process.memory_watched = err == TIDE_OK;
    if (err == TIDE_OK)
        err = open_store(&process, diag);
    if (err == TIDE_OK)
        err = make_roles(&process);
    if (err == TIDE_OK)
        err = start_server(&process, diag);
    if (err == TIDE_OK) {
        tide_log(TIDE_LOG_INFO, "tidemark", "ready", "version=%s data_dir=%s listen=%s port=%u",
                 TIDE_VERSION, config->data_dir, config->http_listen,
                 tide_http_server_port(process.server));
        sigwait(&signals, &signal_number);
        tide_log(TIDE_LOG_INFO, "tidemark", "draining", "signal=%d", signal_number);
        if (pthread_create(&second, NULL, second_signal_main, &signals) == 0)
            pthread_detach(second);
    }
    stop_all(&process);
    if (err == TIDE_OK)
        tide_log(TIDE_LOG_INFO, "tidemark", "stopped", "reason=%s", "signal");
    return err;
}
