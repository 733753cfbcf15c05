/* One run of the load generator: streams of samples, prepared as requests, sent, accounted for. */
#ifndef TIDE_BENCH_LOAD_RUN_H
#define TIDE_BENCH_LOAD_RUN_H

#include "fleet.h"
#include "load_http.h"

#include <stdio.h>

/* ---- The samples of one connection, in the order of their time ---- */

/* As Prometheus' shards do, a connection always sends the same series: every n-th instance. A
 * sample's position counts from 0 through all scrapes. */
struct load_stream {
    const struct fleet *fleet;
    struct fleet_target *targets; /* In the order of their moment in the interval. */
    uint64_t *first;              /* Position of each target's first sample in a scrape. */
    uint32_t target_count;
    uint64_t scrape_samples; /* Samples of one scrape. */
    uint64_t sample_count;   /* Of all scrapes. */
};

TIDE_CHECK_RESULT enum tide_err load_stream_init(struct load_stream *stream,
                                                 const struct fleet *fleet, uint32_t scrape_count,
                                                 uint32_t connection, uint32_t connections);
void load_stream_deinit(struct load_stream *stream);

/* What stands at a position; moved on by load_cursor_next(). */
struct load_cursor {
    uint32_t scrape;
    uint32_t target; /* Index into stream->targets. */
    uint32_t k;      /* Series of the target. */
};
struct load_cursor load_stream_seek(const struct load_stream *stream, uint64_t position);
void load_cursor_next(const struct load_stream *stream, struct load_cursor *cursor);

/* ---- The run ---- */

struct load_options {
    struct fleet fleet;
    uint32_t scrape_count;
    uint32_t samples_per_request;
    uint32_t connections;
    struct http_target target;
    char headers[1024];
    double rate;     /* Samples per second over all connections; 0: as fast as they go. */
    bool retry;      /* 429, 5xx and lost connections are sent again, */
    int retry_for_s; /* for so long. */
    int timeout_s;
    size_t
        memory_bytes_max; /* For prepared bodies: more are sent in rounds, clock stopped between. */
    FILE *ack_log;        /* NULL: none. */
};

struct load_result {
    uint64_t requests;
    uint64_t samples; /* Offered. */
    uint64_t acked_samples;
    uint64_t bytes;    /* Of compressed bodies. */
    uint64_t failures; /* Requests not acknowledged in the end. */
    uint64_t retries;
    double prepare_seconds;
    double seconds;     /* Of sending. */
    double cpu_seconds; /* Own, while sending. */
    double latency_p50_ms;
    double latency_p99_ms;
    int failure_status;        /* Of the first request that failed; 0: no reply. */
    char failure_message[256]; /* "" when none failed. */
};

TIDE_CHECK_RESULT enum tide_err load_run(const struct load_options *options,
                                         struct load_result *out);

#endif
