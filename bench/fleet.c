#include "fleet.h"

#include <math.h>
#include <stdio.h>

/* ---- What an instance exposes ---- */

enum shape_kind {
    SHAPE_COUNTER,       /* Whole numbers; amount is the largest mean step a scrape. */
    SHAPE_COUNTER_CENTS, /* The same in hundredths: CPU seconds. */
    SHAPE_BUCKET,        /* Classic histogram: all of a handler follow one count. */
    SHAPE_BUCKET_SUM,
    SHAPE_BUCKET_COUNT,
    SHAPE_GAUGE,       /* Whole numbers around a middle. */
    SHAPE_GAUGE_CENTS, /* Two decimals: a slow wave with noise. */
    SHAPE_GAUGE_PAGES, /* Bytes in pages of 4 KiB. */
    SHAPE_CONSTANT
};

struct shape {
    const char *name;
    enum shape_kind kind;
    uint32_t amount;
    /* Names and values of its own labels, sorted by name; NULL ends them. */
    const char *labels[6];
    double bound;   /* Buckets: the value of le. */
    uint32_t group; /* Histograms: which one. */
};

#define REQUESTS(handler, method, code, amount)                                                    \
    {                                                                                              \
        "http_requests_total", SHAPE_COUNTER, amount,                                              \
            {"code", code, "handler", handler, "method", method}, 0, 0                             \
    }
#define REQUESTS_OF(handler, method, amount)                                                       \
    REQUESTS(handler, method, "200", amount), REQUESTS(handler, method, "404", (amount) / 20 + 2), \
        REQUESTS(handler, method, "500", (amount) / 100 + 2), REQUESTS(handler, method, "503", 2)
#define BUCKET(handler, group, text, bound)                                                        \
    {                                                                                              \
        "http_request_duration_seconds_bucket", SHAPE_BUCKET, 0,                                   \
            {"handler", handler, "le", text, NULL, NULL}, bound, group                             \
    }
#define HISTOGRAM(handler, group)                                                                  \
    BUCKET(handler, group, "0.005", 0.005), BUCKET(handler, group, "0.01", 0.01),                  \
        BUCKET(handler, group, "0.025", 0.025), BUCKET(handler, group, "0.05", 0.05),              \
        BUCKET(handler, group, "0.1", 0.1), BUCKET(handler, group, "0.25", 0.25),                  \
        BUCKET(handler, group, "0.5", 0.5), BUCKET(handler, group, "1.0", 1),                      \
        BUCKET(handler, group, "2.5", 2.5), BUCKET(handler, group, "5.0", 5),                      \
        BUCKET(handler, group, "10.0", 10),                                                        \
        BUCKET(handler, group, "+Inf", HUGE_VAL), {"http_request_duration_seconds_sum",            \
                                                   SHAPE_BUCKET_SUM,                               \
                                                   0,                                              \
                                                   {"handler", handler},                           \
                                                   0,                                              \
                                                   group},                                         \
    {                                                                                              \
        "http_request_duration_seconds_count", SHAPE_BUCKET_COUNT, 0, {"handler", handler}, 0,     \
            group                                                                                  \
    }
#define PLAIN(name, kind, amount)                                                                  \
    {                                                                                              \
        name, kind, amount, {NULL}, 0, 0                                                           \
    }
#define LABELED(name, kind, amount, label, value)                                                  \
    {                                                                                              \
        name, kind, amount, {label, value}, 0, 0                                                   \
    }

/* Sums, ratios and quantiles over these mean something: 5xx are about one request in a hundred,
 * buckets of one handler rise with le and with time. */
static const struct shape shapes[] = {
    PLAIN("up", SHAPE_CONSTANT, 1),
    REQUESTS_OF("/api/items", "GET", 900),
    REQUESTS_OF("/api/items", "POST", 200),
    REQUESTS_OF("/api/orders", "GET", 400),
    REQUESTS_OF("/api/orders", "POST", 120),
    REQUESTS_OF("/healthz", "GET", 8),
    HISTOGRAM("/api/items", 0),
    HISTOGRAM("/api/orders", 1),
    PLAIN("process_cpu_seconds_total", SHAPE_COUNTER_CENTS, 700),
    PLAIN("process_resident_memory_bytes", SHAPE_GAUGE_PAGES, 60000),
    PLAIN("process_virtual_memory_bytes", SHAPE_CONSTANT, 2000000000),
    PLAIN("process_open_fds", SHAPE_GAUGE, 60),
    PLAIN("process_max_fds", SHAPE_CONSTANT, 1048576),
    PLAIN("process_start_time_seconds", SHAPE_CONSTANT, 1700000000),
    PLAIN("go_goroutines", SHAPE_GAUGE, 120),
    PLAIN("go_threads", SHAPE_GAUGE, 6),
    PLAIN("go_memstats_alloc_bytes", SHAPE_GAUGE_PAGES, 20000),
    PLAIN("go_memstats_alloc_bytes_total", SHAPE_COUNTER, 90000000),
    PLAIN("go_memstats_heap_inuse_bytes", SHAPE_GAUGE_PAGES, 24000),
    PLAIN("go_memstats_heap_objects", SHAPE_GAUGE, 400000),
    PLAIN("go_memstats_mallocs_total", SHAPE_COUNTER, 900000),
    PLAIN("go_memstats_frees_total", SHAPE_COUNTER, 890000),
    PLAIN("go_memstats_next_gc_bytes", SHAPE_GAUGE_PAGES, 30000),
    LABELED("go_gc_duration_seconds", SHAPE_GAUGE_CENTS, 3, "quantile", "0.5"),
    LABELED("go_gc_duration_seconds", SHAPE_GAUGE_CENTS, 9, "quantile", "1"),
    LABELED("cache_requests_total", SHAPE_COUNTER, 2000, "result", "hit"),
    LABELED("cache_requests_total", SHAPE_COUNTER, 150, "result", "miss"),
    PLAIN("cache_entries", SHAPE_GAUGE, 5000),
    LABELED("queue_depth", SHAPE_GAUGE, 30, "queue", "default"),
    LABELED("queue_depth", SHAPE_GAUGE, 5, "queue", "priority"),
    LABELED("queue_jobs_total", SHAPE_COUNTER, 300, "queue", "default"),
    LABELED("queue_jobs_total", SHAPE_COUNTER, 40, "queue", "priority"),
    LABELED("db_connections", SHAPE_GAUGE, 18, "state", "active"),
    LABELED("db_connections", SHAPE_GAUGE, 10, "state", "idle"),
    LABELED("db_queries_total", SHAPE_COUNTER, 800, "operation", "select"),
    LABELED("db_queries_total", SHAPE_COUNTER, 90, "operation", "update"),
    LABELED("db_query_duration_seconds_sum", SHAPE_COUNTER_CENTS, 400, "operation", "select"),
    LABELED("db_query_duration_seconds_sum", SHAPE_COUNTER_CENTS, 90, "operation", "update"),
    PLAIN("service_load_ratio", SHAPE_GAUGE_CENTS, 80),
    PLAIN("service_saturation_percent", SHAPE_GAUGE_CENTS, 6000),
    LABELED("container_network_receive_bytes_total", SHAPE_COUNTER, 5000000, "interface", "eth0"),
    LABELED("container_network_transmit_bytes_total", SHAPE_COUNTER, 7000000, "interface", "eth0"),
    LABELED("container_fs_writes_bytes_total", SHAPE_COUNTER, 400000, "device", "nvme0n1"),
    PLAIN("container_memory_working_set_bytes", SHAPE_GAUGE_PAGES, 70000),
    PLAIN("container_cpu_usage_seconds_total", SHAPE_COUNTER_CENTS, 800),
    PLAIN("container_cpu_cfs_throttled_periods_total", SHAPE_COUNTER, 3),
    LABELED("kafka_consumer_lag", SHAPE_GAUGE, 200, "topic", "orders"),
    LABELED("kafka_messages_total", SHAPE_COUNTER, 600, "topic", "orders"),
    LABELED("log_lines_total", SHAPE_COUNTER, 500, "level", "info"),
    LABELED("log_lines_total", SHAPE_COUNTER, 6, "level", "error"),
    LABELED("build_info", SHAPE_CONSTANT, 1, "version", "1.24.3"),
};
#define SHAPE_COUNT ((uint32_t)(sizeof(shapes) / sizeof(shapes[0])))

/* Labels that all series of an instance have; sorted. */
static const char *const target_labels[] = {"cluster",   "env", "instance", "job",
                                            "namespace", "pod", "service"};
#define TARGET_LABEL_COUNT (sizeof(target_labels) / sizeof(target_labels[0]))

/* ---- Shape of the fleet ---- */

uint32_t fleet_target_series(void)
{
    return SHAPE_COUNT;
}

uint32_t fleet_target_count(const struct fleet *fleet)
{
    return (fleet->series_count + SHAPE_COUNT - 1) / SHAPE_COUNT;
}

uint32_t fleet_series_of(const struct fleet *fleet, uint32_t target)
{
    uint32_t before = target * SHAPE_COUNT;

    return fleet->series_count - before < SHAPE_COUNT ? fleet->series_count - before : SHAPE_COUNT;
}

/* splitmix64's last step: a number for a place. */
static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t z = a + (b + 1) * 0x9e3779b97f4a7c15ULL;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

void fleet_target_init(const struct fleet *fleet, uint32_t target, struct fleet_target *out)
{
    static const char *const words[] = {"checkout", "catalog", "payment", "search",   "profile",
                                        "basket",   "mail",    "billing", "shipping", "report"};
    uint32_t service = target % fleet->service_count;
    uint32_t instance = target / fleet->service_count;
    const char *word = words[service % 10];
    uint64_t pod = mix(fleet->seed, target);
    char name[32];

    snprintf(name, sizeof(name), "%s-%u", word, service / 10);
    out->index = target;
    out->service = service;
    snprintf(out->text[0], sizeof(out->text[0]), "eu-west-%u", service % 3 + 1);
    snprintf(out->text[1], sizeof(out->text[1]), "%s", service % 5 == 4 ? "staging" : "production");
    snprintf(out->text[2], sizeof(out->text[2]), "10.%u.%u.%u:8080", target >> 16 & 255,
             target >> 8 & 255, target & 255);
    snprintf(out->text[3], sizeof(out->text[3]), "kubernetes-pods/%s", name);
    snprintf(out->text[4], sizeof(out->text[4]), "team-%s", word);
    snprintf(out->text[5], sizeof(out->text[5]), "%s-%08x-%u", name, (unsigned)(pod & 0xffffffffU),
             instance);
    snprintf(out->text[6], sizeof(out->text[6]), "%s", name);
}

size_t fleet_labels(const struct fleet_target *target, uint32_t k,
                    struct tide_label pairs[FLEET_LABELS_MAX])
{
    const struct shape *shape = &shapes[k];
    size_t count = 0;
    size_t own = 0;

    pairs[count++] =
        (struct tide_label){TIDE_SLICE(TIDE_LABEL_METRIC), tide_slice_str(shape->name)};
    for (size_t i = 0; i <= TARGET_LABEL_COUNT; i++) {
        /* Its own labels that sort before the next common one. */
        while (own < sizeof(shape->labels) / sizeof(shape->labels[0]) &&
               shape->labels[own] != NULL &&
               (i == TARGET_LABEL_COUNT || strcmp(shape->labels[own], target_labels[i]) < 0)) {
            pairs[count++] = (struct tide_label){tide_slice_str(shape->labels[own]),
                                                 tide_slice_str(shape->labels[own + 1])};
            own += 2;
        }
        if (i < TARGET_LABEL_COUNT)
            pairs[count++] = (struct tide_label){tide_slice_str(target_labels[i]),
                                                 tide_slice_str(target->text[i])};
    }
    return count;
}

int64_t fleet_time_ms(const struct fleet *fleet, uint32_t target, uint32_t scrape)
{
    int64_t offset = (int64_t)(mix(fleet->seed ^ 0x5c4a9e, target) % (uint64_t)fleet->interval_ms);

    return fleet->start_ms + (int64_t)scrape * fleet->interval_ms + offset;
}

/* ---- Values ---- */

/* A counter with random steps, told without adding them up: the mean step times the scrapes, and a
 * part of one step that is drawn anew for each scrape. */
static uint64_t count_at(uint64_t series, uint64_t mean_step, uint32_t scrape)
{
    uint64_t start = mix(series, 1) % (mean_step * 5000 + 1);

    return start + scrape * mean_step + mix(series ^ 0xc0, scrape) % mean_step;
}

/* Mean step of a series' counter: up to amount, busier in some services than in others. */
static uint64_t step_of(const struct fleet *fleet, const struct fleet_target *target,
                        uint64_t series, uint32_t amount)
{
    uint64_t load = mix(fleet->seed ^ 0x10ad, target->service) % 8 + 1;

    return 1 + mix(series, 2) % amount * load / 8;
}

/* Requests a handler has answered, and their distribution: log-logistic around the service's median
 * time, whose share under a bound needs no library function. */
static uint64_t handler_count(const struct fleet *fleet, const struct fleet_target *target,
                              uint32_t group, uint32_t scrape)
{
    uint64_t series = mix(mix(fleet->seed ^ 0xb0c4e7, target->index), group);

    return count_at(series, step_of(fleet, target, series, 900), scrape);
}

static double handler_median_seconds(const struct fleet *fleet, const struct fleet_target *target,
                                     uint32_t group)
{
    return (double)(mix(mix(fleet->seed ^ 0x3ed, target->service), group) % 190 + 10) / 1000.0;
}

double fleet_value(const struct fleet *fleet, const struct fleet_target *target, uint32_t k,
                   uint32_t scrape)
{
    const struct shape *shape = &shapes[k];
    uint64_t series = mix(mix(fleet->seed, target->index), k);
    uint64_t noise = mix(series ^ 0x9a, scrape);
    uint64_t phase = (scrape + mix(series, 4)) % 240;
    uint64_t whole;
    double ratio;

    switch (shape->kind) {
    case SHAPE_COUNTER:
        return (double)count_at(series, step_of(fleet, target, series, shape->amount), scrape);
    case SHAPE_COUNTER_CENTS:
        return (double)count_at(series, step_of(fleet, target, series, shape->amount), scrape) /
               100.0;
    case SHAPE_BUCKET:
        ratio = handler_median_seconds(fleet, target, shape->group) / shape->bound;
        return floor((double)handler_count(fleet, target, shape->group, scrape) /
                     (1.0 + ratio * ratio));
    case SHAPE_BUCKET_SUM:
        return (double)handler_count(fleet, target, shape->group, scrape) *
               handler_median_seconds(fleet, target, shape->group) * 1.5707963267948966;
    case SHAPE_BUCKET_COUNT:
        return (double)handler_count(fleet, target, shape->group, scrape);
    case SHAPE_GAUGE:
        return (double)(mix(series, 3) % shape->amount + noise % (shape->amount / 4 + 1));
    case SHAPE_GAUGE_CENTS: /* A wave of 240 scrapes. */
        whole = shape->amount * (phase < 120 ? phase : 240 - phase) / 120;
        whole += noise % (shape->amount / 10 + 3);
        return (double)whole / 100.0;
    case SHAPE_GAUGE_PAGES:
        whole = mix(series, 5) % shape->amount + shape->amount / 2;
        whole += noise % (shape->amount / 50 + 1);
        return 4096.0 * (double)whole;
    case SHAPE_CONSTANT:
        break;
    }
    return (double)shape->amount;
}
