#include "querier_private.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/mem.h"

/* Forms with a query in them: a query may be 1 MiB, which is up to 3 MiB percent-encoded. */
#define FORM_BYTES_MAX (4u << 20)

enum tide_err tide_querier_new(const struct tide_querier_options *options,
                               struct tide_querier **out)
{
    struct tide_querier *querier = tide_mem_new(sizeof(*querier));

    if (querier == NULL)
        return TIDE_ERR_NO_MEMORY;
    querier->options = *options;
    querier->started_ms = tide_clock_wall_ms();
    querier->budget.memory_bytes_max = options->total_memory_bytes_max;
    tide__active_init(querier);
    tide__answer_metrics_register();
    tide__query_metrics_register();
    *out = querier;
    return TIDE_OK;
}

void tide_querier_free(struct tide_querier *querier)
{
    if (querier == NULL)
        return;
    tide__active_deinit(querier);
    tide_mem_free(querier);
}

size_t tide_querier_routes(struct tide_querier *querier,
                           struct tide_http_route routes[TIDE_QUERIER_ROUTES_MAX])
{
    static const struct {
        const char *methods;
        const char *path;
        enum tide_http_pool pool;
        void (*handler)(void *context, struct tide_http_exchange *x);
    } table[] = {
        {"GET,POST", "/api/v1/query", TIDE_HTTP_POOL_QUERY, tide__handle_query},
        {"GET,POST", "/api/v1/query_range", TIDE_HTTP_POOL_QUERY, tide__handle_query_range},
        {"GET,POST", "/api/v1/query_exemplars", TIDE_HTTP_POOL_QUERY, tide__handle_exemplars},
        {"GET,POST", "/api/v1/format_query", TIDE_HTTP_POOL_ADMIN, tide__handle_format},
        {"GET,POST", "/api/v1/parse_query", TIDE_HTTP_POOL_ADMIN, tide__handle_parse},
        {"POST", "/api/v1/read", TIDE_HTTP_POOL_QUERY, tide__handle_read},
        {"GET,POST", "/api/v1/series", TIDE_HTTP_POOL_QUERY, tide__handle_series},
        {"GET,POST", "/api/v1/labels", TIDE_HTTP_POOL_QUERY, tide__handle_labels},
        {"GET", "/api/v1/label/*/values", TIDE_HTTP_POOL_QUERY, tide__handle_label_values},
        {"GET", "/api/v1/metadata", TIDE_HTTP_POOL_QUERY, tide__handle_metadata},
        {"GET", "/api/v1/status/buildinfo", TIDE_HTTP_POOL_ADMIN, tide__handle_buildinfo},
        {"GET", "/api/v1/status/runtimeinfo", TIDE_HTTP_POOL_ADMIN, tide__handle_runtimeinfo},
        {"GET", "/api/v1/status/active_queries", TIDE_HTTP_POOL_ADMIN, tide__handle_active},
        {"DELETE,POST", "/api/v1/status/active_queries/*", TIDE_HTTP_POOL_ADMIN,
         tide__handle_cancel},
        {"GET", "/api/v1/status/tsdb", TIDE_HTTP_POOL_QUERY, tide__handle_tsdb},
        {"GET", "/api/v1/rules", TIDE_HTTP_POOL_ADMIN, tide__handle_rules},
        {"GET", "/api/v1/alerts", TIDE_HTTP_POOL_ADMIN, tide__handle_alerts},
        {"GET", "/api/v1/alertmanagers", TIDE_HTTP_POOL_ADMIN, tide__handle_alertmanagers},
        {"GET", "/api/v1/targets", TIDE_HTTP_POOL_ADMIN, tide__handle_targets},
        {"GET", "/api/v1/targets/metadata", TIDE_HTTP_POOL_ADMIN, tide__handle_targets_metadata},
        {"GET", "/api/v1/scrape_pools", TIDE_HTTP_POOL_ADMIN, tide__handle_scrape_pools},
        {"GET", "/api/v1/status/config", TIDE_HTTP_POOL_ADMIN, tide__handle_config},
        {"GET", "/api/v1/status/walreplay", TIDE_HTTP_POOL_ADMIN, tide__handle_walreplay},
        {"GET", "/api/v1/features", TIDE_HTTP_POOL_ADMIN, tide__handle_features},
    };
    const size_t count = sizeof(table) / sizeof(table[0]);

    _Static_assert(sizeof(table) / sizeof(table[0]) <= TIDE_QUERIER_ROUTES_MAX, "too many routes");
    for (size_t i = 0; i < count; i++)
        routes[i] = (struct tide_http_route){.methods = table[i].methods,
                                             .path = table[i].path,
                                             .pool = table[i].pool,
                                             .body_bytes_max = FORM_BYTES_MAX,
                                             .handler = table[i].handler,
                                             .context = querier};
    return count;
}
