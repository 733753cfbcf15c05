#include "server_private.h"

/* Labels are made of the pool and the class of the status. The last row is for what no route took.
 */
#define POOL_ROW(pool_)                                                                            \
    {                                                                                              \
        REQUESTS(pool_, "2xx"), REQUESTS(pool_, "3xx"), REQUESTS(pool_, "4xx"),                    \
            REQUESTS(pool_, "5xx")                                                                 \
    }
#define REQUESTS(pool_, code_)                                                                     \
    {                                                                                              \
        .name = "tide_http_requests_total", .labels = "pool=\"" pool_ "\",code=\"" code_ "\"",     \
        .help = "HTTP requests answered.", .type = TIDE_METRIC_COUNTER                             \
    }
#define CLASS_COUNT 4

static struct tide_metric requests[TIDE_HTTP_POOL_COUNT + 1][CLASS_COUNT] = {
    POOL_ROW("write"),
    POOL_ROW("query"),
    POOL_ROW("admin"),
    POOL_ROW("none"),
};

#define QUEUE_FULL(pool_)                                                                          \
    {                                                                                              \
        .name = "tide_http_queue_full_total", .labels = "pool=\"" pool_ "\"",                      \
        .help = "HTTP requests answered 503 because their pool's queue was full.",                 \
        .type = TIDE_METRIC_COUNTER                                                                \
    }
#define QUEUE_SECONDS(pool_)                                                                       \
    {                                                                                              \
        .name = "tide_http_queue_seconds", .labels = "pool=\"" pool_ "\"",                         \
        .help = "Time from the last byte of an HTTP request to its handler.",                      \
        .type = TIDE_METRIC_HISTOGRAM, .bounds = tide_metric_seconds,                              \
        .bound_count = TIDE_METRIC_SECONDS_COUNT                                                   \
    }

struct tide_metric tide__http_queue_full[TIDE_HTTP_POOL_COUNT] = {
    QUEUE_FULL("write"), QUEUE_FULL("query"), QUEUE_FULL("admin")};
struct tide_metric tide__http_queue_seconds[TIDE_HTTP_POOL_COUNT] = {
    QUEUE_SECONDS("write"), QUEUE_SECONDS("query"), QUEUE_SECONDS("admin")};
struct tide_metric tide__http_connections = {.name = "tide_http_connections",
                                             .labels = "",
                                             .help = "Open HTTP connections.",
                                             .type = TIDE_METRIC_GAUGE};
struct tide_metric tide__http_timeouts = {
    .name = "tide_http_request_timeouts_total",
    .labels = "",
    .help = "HTTP connections cut because a request did not come whole in time.",
    .type = TIDE_METRIC_COUNTER};
struct tide_metric tide__http_clients_gone = {
    .name = "tide_http_clients_gone_total",
    .labels = "",
    .help = "HTTP clients that went before their answer was complete.",
    .type = TIDE_METRIC_COUNTER};

void tide__http_metrics_register(void)
{
    for (int pool = 0; pool <= TIDE_HTTP_POOL_COUNT; pool++)
        for (int class = 0; class < CLASS_COUNT; class ++)
            tide_metric_register(&requests[pool][class]);
    for (int pool = 0; pool < TIDE_HTTP_POOL_COUNT; pool++) {
        tide_metric_register(&tide__http_queue_full[pool]);
        tide_metric_register(&tide__http_queue_seconds[pool]);
    }
    tide_metric_register(&tide__http_connections);
    tide_metric_register(&tide__http_timeouts);
    tide_metric_register(&tide__http_clients_gone);
}

void tide__http_count_answer(const struct tide_http_exchange *x, int status)
{
    int row = x->route == NULL ? TIDE_HTTP_POOL_COUNT : (int)x->route->route.pool;
    int column = status / 100 - 2;

    if (column >= 0 && column < CLASS_COUNT)
        tide_metric_add(&requests[row][column], 1);
}
