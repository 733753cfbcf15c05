/* tidemark-load: offers a fleet's samples to a remote_write 1.0 endpoint and prints what came of it
 * as one line of JSON; or tells from an acknowledgement log which samples must be stored. */
#include "load_run.h"

#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/base/number.h"

#include <stdlib.h>

#define LOG_HEADER                                                                                 \
    "tidemark-load 1 seed=%llu series=%u services=%u scrapes=%u start_ms=%lld interval_ms=%lld "   \
    "connections=%u\n"

static const char usage[] =
    "usage: tidemark-load --url URL [options]\n"
    "       tidemark-load --expect FILE\n"
    "\n"
    "  --url URL            http://host:port/path of a remote_write 1.0 receiver\n"
    "  --series N           series of the fleet (default 100000)\n"
    "  --services N         services they belong to (default 100)\n"
    "  --scrapes N          scrapes of each series (default 120)\n"
    "  --interval DURATION  between two scrapes (default 15s)\n"
    "  --start-ms T         time of the first scrape, milliseconds since 1970 (default: now)\n"
    "  --backdate           let the last scrape be now\n"
    "  --per-request N      samples in one request (default 2000)\n"
    "  --connections N      each sends a fixed part of the series in time order (default 4)\n"
    "  --rate N             samples per second (default: as fast as they go)\n"
    "  --seed N             another fleet with other values (default 1)\n"
    "  --tenant NAME        sent as X-Scope-OrgID\n"
    "  --retry              send again after 429, 5xx and lost connections\n"
    "  --retry-for SECONDS  give a request up after that long (default 300)\n"
    "  --timeout SECONDS    for one reply (default 60)\n"
    "  --memory-mib N       bound of prepared bodies; more go in rounds (default 1024)\n"
    "  --ack-log FILE       write which requests were acknowledged\n"
    "  --expect FILE        print the samples of such a log: state, series, time, value\n";

struct arguments {
    struct load_options options;
    const char *url;
    const char *ack_log;
    const char *expect;
    const char *tenant;
    bool backdate;
    bool has_start;
};

/* ---- Options ---- */

enum option_kind { OPTION_U32, OPTION_U64, OPTION_INT, OPTION_FLAG, OPTION_TEXT, OPTION_OTHER };

struct option {
    const char *name;
    enum option_kind kind;
    void *to;
};

static bool parse_number(const char *text, int64_t min, int64_t max, int64_t *out)
{
    return tide_number_parse_i64(tide_slice_str(text), out) && *out >= min && *out <= max;
}

/* Options that are no plain number, text or flag. */
static bool parse_other(struct arguments *a, const char *name, const char *value)
{
    int64_t number;

    if (strcmp(name, "--interval") == 0)
        return tide_duration_parse(tide_slice_str(value), &a->options.fleet.interval_ms) &&
               a->options.fleet.interval_ms > 0;
    if (strcmp(name, "--rate") == 0)
        return tide_number_parse(tide_slice_str(value), &a->options.rate) && a->options.rate > 0;
    if (strcmp(name, "--start-ms") == 0) {
        a->has_start = true;
        return tide_number_parse_i64(tide_slice_str(value), &a->options.fleet.start_ms);
    }
    if (strcmp(name, "--memory-mib") == 0 && parse_number(value, 1, 1 << 20, &number)) {
        a->options.memory_bytes_max = (size_t)number << 20;
        return true;
    }
    return false;
}

static bool parse_value(struct arguments *a, const struct option *option, const char *value)
{
    int64_t number;

    switch (option->kind) {
    case OPTION_U32:
        if (!parse_number(value, 1, INT32_MAX, &number))
            return false;
        *(uint32_t *)option->to = (uint32_t)number;
        return true;
    case OPTION_U64:
        if (!parse_number(value, 0, INT64_MAX, &number))
            return false;
        *(uint64_t *)option->to = (uint64_t)number;
        return true;
    case OPTION_INT:
        if (!parse_number(value, 1, 1000000, &number))
            return false;
        *(int *)option->to = (int)number;
        return true;
    case OPTION_TEXT:
        *(const char **)option->to = value;
        return true;
    default:
        return parse_other(a, option->name, value);
    }
}

static bool parse_arguments(int argc, char **argv, struct arguments *a)
{
    struct load_options *o = &a->options;
    const struct option options[] = {
        {"--url", OPTION_TEXT, &a->url},
        {"--series", OPTION_U32, &o->fleet.series_count},
        {"--services", OPTION_U32, &o->fleet.service_count},
        {"--scrapes", OPTION_U32, &o->scrape_count},
        {"--interval", OPTION_OTHER, NULL},
        {"--start-ms", OPTION_OTHER, NULL},
        {"--backdate", OPTION_FLAG, &a->backdate},
        {"--per-request", OPTION_U32, &o->samples_per_request},
        {"--connections", OPTION_U32, &o->connections},
        {"--rate", OPTION_OTHER, NULL},
        {"--seed", OPTION_U64, &o->fleet.seed},
        {"--tenant", OPTION_TEXT, &a->tenant},
        {"--retry", OPTION_FLAG, &o->retry},
        {"--retry-for", OPTION_INT, &o->retry_for_s},
        {"--timeout", OPTION_INT, &o->timeout_s},
        {"--memory-mib", OPTION_OTHER, NULL},
        {"--ack-log", OPTION_TEXT, &a->ack_log},
        {"--expect", OPTION_TEXT, &a->expect},
    };

    for (int i = 1; i < argc; i++) {
        const struct option *option = NULL;

        for (size_t k = 0; k < sizeof(options) / sizeof(options[0]); k++)
            if (strcmp(argv[i], options[k].name) == 0)
                option = &options[k];
        if (option == NULL) {
            fprintf(stderr, "tidemark-load: unknown option %s\n%s", argv[i], usage);
            return false;
        }
        if (option->kind == OPTION_FLAG) {
            *(bool *)option->to = true;
            continue;
        }
        if (i + 1 == argc || !parse_value(a, option, argv[i + 1])) {
            fprintf(stderr, "tidemark-load: bad value of %s\n", argv[i]);
            return false;
        }
        i++;
    }
    return true;
}

/* What follows from the options; false with a message. */
static bool complete(struct arguments *a)
{
    struct load_options *o = &a->options;
    int64_t now_ms = tide_clock_wall_ms();
    int len;

    if (a->url == NULL || http_target_parse(a->url, &o->target) != TIDE_OK) {
        fprintf(stderr, "tidemark-load: --url must be http://host[:port][/path]\n");
        return false;
    }
    if (o->connections > fleet_target_count(&o->fleet))
        o->connections = fleet_target_count(&o->fleet);
    if (!a->has_start)
        o->fleet.start_ms =
            a->backdate ? now_ms - (int64_t)o->scrape_count * o->fleet.interval_ms : now_ms;
    len = snprintf(o->headers, sizeof(o->headers),
                   "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n"
                   "X-Prometheus-Remote-Write-Version: 0.1.0\r\nUser-Agent: tidemark-load\r\n"
                   "%s%s%s",
                   a->tenant == NULL ? "" : "X-Scope-OrgID: ", a->tenant == NULL ? "" : a->tenant,
                   a->tenant == NULL ? "" : "\r\n");
    if (len < 0 || (size_t)len >= sizeof(o->headers)) {
        fprintf(stderr, "tidemark-load: --tenant is too long\n");
        return false;
    }
    return true;
}

/* ---- Expected samples ---- */

static void print_sample(const struct load_stream *stream, const struct load_cursor *cursor,
                         const char *state, struct tide_buf *line)
{
    const struct fleet_target *target = &stream->targets[cursor->target];
    struct tide_label pairs[FLEET_LABELS_MAX];
    size_t count = fleet_labels(target, cursor->k, pairs);
    char number[TIDE_NUMBER_TEXT_MAX];
    size_t digits = tide_number_format_api(
        fleet_value(stream->fleet, target, cursor->k, cursor->scrape), number);

    line->len = 0;
    tide_labels_print((struct tide_labels){pairs, count}, line);
    printf("%s\t%.*s\t%lld\t%.*s\n", state, TIDE_SLICE_ARGS(tide_buf_view(line)),
           (long long)fleet_time_ms(stream->fleet, target->index, cursor->scrape), (int)digits,
           number);
}

static bool read_log_header(FILE *log, struct fleet *fleet, uint32_t *scrapes,
                            uint32_t *connections)
{
    unsigned long long seed;
    long long start_ms;
    long long interval_ms;

    if (log == NULL || fscanf(log, LOG_HEADER, &seed, &fleet->series_count, &fleet->service_count,
                              scrapes, &start_ms, &interval_ms, connections) != 7)
        return false;
    fleet->seed = seed;
    fleet->start_ms = start_ms;
    fleet->interval_ms = interval_ms;
    return fleet->series_count > 0 && fleet->service_count > 0 && interval_ms > 0 &&
           *connections > 0 && *connections <= fleet_target_count(fleet);
}

static void print_samples(const struct load_stream *stream, const char *state, uint64_t first,
                          uint32_t count)
{
    struct load_cursor cursor = load_stream_seek(stream, first);
    struct tide_buf line = {0};

    for (uint32_t i = 0; i < count; i++) {
        print_sample(stream, &cursor, state, &line);
        load_cursor_next(stream, &cursor);
    }
    tide_buf_deinit(&line);
}

static int print_expected(const char *path)
{
    FILE *log = fopen(path, "r");
    struct fleet fleet = {0};
    struct load_stream *streams = NULL;
    uint32_t scrapes = 0;
    uint32_t connections = 0;
    uint32_t ready = 0;
    char state[8];
    uint32_t connection;
    unsigned long long first;
    uint32_t count;
    int status = 2;

    if (!read_log_header(log, &fleet, &scrapes, &connections)) {
        fprintf(stderr, "tidemark-load: %s is no acknowledgement log\n", path);
        goto out;
    }
    streams = tide_mem_array(connections, sizeof(*streams));
    if (streams == NULL)
        goto out;
    for (; ready < connections; ready++)
        if (load_stream_init(&streams[ready], &fleet, scrapes, ready, connections) != TIDE_OK)
            goto out;
    while (fscanf(log, "%7s %u %llu %u\n", state, &connection, &first, &count) == 4)
        if (connection < connections && first < streams[connection].sample_count &&
            count <= streams[connection].sample_count - first)
            print_samples(&streams[connection], state, first, count);
    status = 0;

out:
    for (uint32_t i = 0; i < ready; i++)
        load_stream_deinit(&streams[i]);
    tide_mem_free(streams);
    if (log != NULL)
        fclose(log);
    return status;
}

/* ---- Main ---- */

static void print_result(const struct load_options *o, const struct load_result *r)
{
    printf("{\"bench\":\"load\",\"series\":%u,\"scrapes\":%u,\"connections\":%u,"
           "\"start_ms\":%lld,\"requests\":%llu,\"samples\":%llu,\"samples_acked\":%llu,"
           "\"bytes\":%llu,\"prepare_seconds\":%.3f,\"seconds\":%.3f,\"samples_per_second\":%.0f,"
           "\"cpu_seconds\":%.3f,\"failures\":%llu,\"retries\":%llu,\"latency_p50_ms\":%.3f,"
           "\"latency_p99_ms\":%.3f}\n",
           o->fleet.series_count, o->scrape_count, o->connections, (long long)o->fleet.start_ms,
           (unsigned long long)r->requests, (unsigned long long)r->samples,
           (unsigned long long)r->acked_samples, (unsigned long long)r->bytes, r->prepare_seconds,
           r->seconds, r->seconds > 0 ? (double)r->acked_samples / r->seconds : 0, r->cpu_seconds,
           (unsigned long long)r->failures, (unsigned long long)r->retries, r->latency_p50_ms,
           r->latency_p99_ms);
    if (r->failures > 0)
        fprintf(stderr, "tidemark-load: first failure: status %d: %s\n", r->failure_status,
                r->failure_message);
}

int main(int argc, char **argv)
{
    static struct arguments a = {.options = {.fleet = {.seed = 1,
                                                       .series_count = 100000,
                                                       .service_count = 100,
                                                       .interval_ms = 15000},
                                             .scrape_count = 120,
                                             .samples_per_request = 2000,
                                             .connections = 4,
                                             .retry_for_s = 300,
                                             .timeout_s = 60,
                                             .memory_bytes_max = (size_t)1 << 30}};
    struct load_options *o = &a.options;
    struct load_result result;
    enum tide_err err;

    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        fputs(usage, stdout);
        return 0;
    }
    if (!parse_arguments(argc, argv, &a))
        return 2;
    if (a.expect != NULL)
        return print_expected(a.expect);
    if (!complete(&a))
        return 2;
    if (a.ack_log != NULL) {
        o->ack_log = fopen(a.ack_log, "w");
        if (o->ack_log == NULL) {
            fprintf(stderr, "tidemark-load: cannot write %s\n", a.ack_log);
            return 2;
        }
        fprintf(o->ack_log, LOG_HEADER, (unsigned long long)o->fleet.seed, o->fleet.series_count,
                o->fleet.service_count, o->scrape_count, (long long)o->fleet.start_ms,
                (long long)o->fleet.interval_ms, o->connections);
        fflush(o->ack_log);
    }
    err = load_run(o, &result);
    if (o->ack_log != NULL)
        fclose(o->ack_log);
    if (err != TIDE_OK) {
        fprintf(stderr, "tidemark-load: %s\n", tide_err_text(err));
        return 2;
    }
    print_result(o, &result);
    return result.failures == 0 ? 0 : 1;
}
