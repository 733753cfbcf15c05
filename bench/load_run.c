#include "load_run.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/model/write_encode.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* ---- Streams ---- */

struct moment {
    int64_t time_ms;
    uint32_t target;
};

static int moment_order(const void *a, const void *b)
{
    const struct moment *x = a;
    const struct moment *y = b;

    if (x->time_ms != y->time_ms)
        return x->time_ms < y->time_ms ? -1 : 1;
    return (x->target > y->target) - (x->target < y->target);
}

enum tide_err load_stream_init(struct load_stream *stream, const struct fleet *fleet,
                               uint32_t scrape_count, uint32_t connection, uint32_t connections)
{
    uint32_t all = fleet_target_count(fleet);
    uint32_t count = all > connection ? (all - connection - 1) / connections + 1 : 0;
    struct moment *moments = tide_mem_array(count, sizeof(*moments));

    *stream = (struct load_stream){.fleet = fleet, .target_count = count};
    stream->targets = tide_mem_array(count, sizeof(*stream->targets));
    stream->first = tide_mem_array((size_t)count + 1, sizeof(*stream->first));
    if (moments == NULL || stream->targets == NULL || stream->first == NULL) {
        tide_mem_free(moments);
        load_stream_deinit(stream);
        return TIDE_ERR_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++)
        moments[i] = (struct moment){fleet_time_ms(fleet, connection + i * connections, 0),
                                     connection + i * connections};
    qsort(moments, count, sizeof(*moments), moment_order);
    for (uint32_t i = 0; i < count; i++) {
        fleet_target_init(fleet, moments[i].target, &stream->targets[i]);
        stream->first[i] = stream->scrape_samples;
        stream->scrape_samples += fleet_series_of(fleet, moments[i].target);
    }
    stream->first[count] = stream->scrape_samples;
    stream->sample_count = stream->scrape_samples * scrape_count;
    tide_mem_free(moments);
    return TIDE_OK;
}

void load_stream_deinit(struct load_stream *stream)
{
    tide_mem_free(stream->targets);
    tide_mem_free(stream->first);
}

struct load_cursor load_stream_seek(const struct load_stream *stream, uint64_t position)
{
    struct load_cursor cursor = {.scrape = (uint32_t)(position / stream->scrape_samples)};
    uint64_t rest = position % stream->scrape_samples;
    uint32_t low = 0;
    uint32_t high = stream->target_count;

    while (high - low > 1) { /* The last target whose first sample is not behind rest. */
        uint32_t middle = low + (high - low) / 2;

        if (stream->first[middle] <= rest)
            low = middle;
        else
            high = middle;
    }
    cursor.target = low;
    cursor.k = (uint32_t)(rest - stream->first[low]);
    return cursor;
}

void load_cursor_next(const struct load_stream *stream, struct load_cursor *cursor)
{
    uint64_t series = stream->first[cursor->target + 1] - stream->first[cursor->target];

    if (++cursor->k < series)
        return;
    cursor->k = 0;
    if (++cursor->target < stream->target_count)
        return;
    cursor->target = 0;
    cursor->scrape++;
}

/* ---- Requests ---- */

struct request {
    uint8_t *body;
    size_t len;
    uint64_t first; /* Positions of its samples. */
    uint32_t count;
};

struct worker {
    const struct load_options *options;
    struct crew *crew;
    uint32_t index;
    struct load_stream stream;
    uint64_t position; /* Of the next sample to prepare. */

    struct request *requests; /* Of this round. */
    size_t request_count;
    size_t request_capacity;
    uint32_t *latencies_us; /* Of acknowledged requests. */
    size_t latency_count;
    size_t latency_capacity;

    struct load_result result;
    enum tide_err err;
};

/* All workers prepare, wait, send, wait: the clock runs only while all send. */
struct crew {
    pthread_barrier_t barrier;
    bool done; /* Written by the main thread between two barriers. */
    int64_t start_ns;
    pthread_mutex_t log_lock; /* Guards the acknowledgement log. */
};

static enum tide_err add_request(struct worker *w, struct tide_slice body, uint64_t first,
                                 uint32_t count)
{
    enum tide_err err = tide_mem_grow((void **)&w->requests, &w->request_capacity,
                                      w->request_count + 1, sizeof(*w->requests));
    struct request *r;

    if (err != TIDE_OK)
        return err;
    r = &w->requests[w->request_count];
    *r = (struct request){.len = body.len, .first = first, .count = count};
    r->body = tide_mem_alloc(body.len);
    if (r->body == NULL)
        return TIDE_ERR_NO_MEMORY;
    memcpy(r->body, body.ptr, body.len);
    w->request_count++;
    return TIDE_OK;
}

/* Scratch of prepare(). */
struct scratch {
    struct tide_buf records;
    struct tide_buf raw;
    struct tide_buf body;
};

static enum tide_err prepare_request(struct worker *w, struct scratch *s, uint32_t count)
{
    struct load_cursor cursor = load_stream_seek(&w->stream, w->position);
    enum tide_err err;

    s->raw.len = 0;
    s->body.len = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct fleet_target *target = &w->stream.targets[cursor.target];
        const struct fleet *fleet = w->stream.fleet;
        struct tide_label pairs[FLEET_LABELS_MAX];
        size_t labels = fleet_labels(target, cursor.k, pairs);
        struct tide_sample sample = {
            fleet_time_ms(fleet, target->index, cursor.scrape),
            tide_value_bits(fleet_value(fleet, target, cursor.k, cursor.scrape))};

        s->records.len = 0;
        tide_write_encode_labels(&s->records, (struct tide_labels){pairs, labels});
        tide_write_encode_run(&s->raw, tide_buf_view(&s->records), &sample, 1, NULL, 0);
        load_cursor_next(&w->stream, &cursor);
    }
    if (s->records.failed || s->raw.failed)
        return TIDE_ERR_NO_MEMORY;
    err = tide_write_compress(tide_buf_view(&s->raw), &s->body);
    if (err == TIDE_OK)
        err = add_request(w, tide_buf_view(&s->body), w->position, count);
    return err;
}

/* Prepares requests until the stream ends or this worker's share of the memory is used. */
static enum tide_err prepare(struct worker *w)
{
    size_t bytes_max = w->options->memory_bytes_max / w->options->connections;
    struct scratch s = {0};
    size_t bytes = 0;
    enum tide_err err = TIDE_OK;

    while (err == TIDE_OK && w->position < w->stream.sample_count && bytes < bytes_max) {
        uint64_t left = w->stream.sample_count - w->position;
        uint32_t count = w->options->samples_per_request;

        if (count > left)
            count = (uint32_t)left;
        err = prepare_request(w, &s, count);
        if (err == TIDE_OK) {
            bytes += s.body.len;
            w->position += count;
        }
    }
    tide_buf_deinit(&s.records);
    tide_buf_deinit(&s.raw);
    tide_buf_deinit(&s.body);
    return err;
}

static void free_requests(struct worker *w)
{
    for (size_t i = 0; i < w->request_count; i++)
        tide_mem_free(w->requests[i].body);
    w->request_count = 0;
}

/* ---- Sending ---- */

static void sleep_until_ns(int64_t at_ns)
{
    int64_t left = at_ns - tide_clock_mono_ns();

    if (left > 0) {
        struct timespec wait = {.tv_sec = left / 1000000000, .tv_nsec = (long)(left % 1000000000)};

        nanosleep(&wait, NULL);
    }
}

static void log_outcome(struct worker *w, const struct request *r, bool acked)
{
    FILE *log = w->options->ack_log;

    if (log == NULL)
        return;
    pthread_mutex_lock(&w->crew->log_lock);
    fprintf(log, "%s %u %llu %u\n", acked ? "acked" : "tried", w->index,
            (unsigned long long)r->first, r->count);
    fflush(log);
    pthread_mutex_unlock(&w->crew->log_lock);
}

static void note_failure(struct worker *w, const struct http_reply *reply)
{
    w->result.failures++;
    if (w->result.failures > 1)
        return;
    w->result.failure_status = reply->status;
    snprintf(w->result.failure_message, sizeof(w->result.failure_message), "%s",
             reply->status == 0 ? "no reply" : reply->message);
}

static enum tide_err note_latency(struct worker *w, int64_t ns)
{
    enum tide_err err = tide_mem_grow((void **)&w->latencies_us, &w->latency_capacity,
                                      w->latency_count + 1, sizeof(*w->latencies_us));

    if (err == TIDE_OK)
        w->latencies_us[w->latency_count++] = (uint32_t)(ns / 1000);
    return err;
}

/* Sends one request until it is acknowledged, refused for good, or given up. */
static enum tide_err send_request(struct worker *w, struct http_connection *c,
                                  const struct request *r)
{
    int64_t give_up_ns = tide_clock_mono_ns() + (int64_t)w->options->retry_for_s * 1000000000;
    int64_t pause_ms = 50;

    for (;;) {
        struct http_reply reply;
        bool reused = c->fd >= 0;
        int64_t start_ns = tide_clock_mono_ns();
        enum tide_err err = http_post(c, (struct tide_slice){r->body, r->len}, &reply);
        bool again;

        if (err == TIDE_OK && reply.status / 100 == 2) {
            w->result.acked_samples += r->count;
            log_outcome(w, r, true);
            return note_latency(w, tide_clock_mono_ns() - start_ns);
        }
        if (err != TIDE_OK && reused) { /* An idle connection that the server closed. */
            w->result.retries++;
            continue;
        }
        again = err != TIDE_OK || reply.status == 429 || reply.status / 100 == 5;
        if (!again || !w->options->retry || tide_clock_mono_ns() > give_up_ns) {
            note_failure(w, &reply);
            log_outcome(w, r, false);
            return TIDE_OK;
        }
        w->result.retries++;
        if (reply.retry_after_s > 0)
            pause_ms = (int64_t)reply.retry_after_s * 1000;
        sleep_until_ns(tide_clock_mono_ns() + pause_ms * 1000000);
        pause_ms = pause_ms < 2500 ? pause_ms * 2 : 5000;
    }
}

static enum tide_err send_all_requests(struct worker *w, struct http_connection *c)
{
    double share = w->options->rate * (double)w->stream.scrape_samples /
                   (double)w->options->fleet.series_count;
    double samples = 0;
    enum tide_err err = TIDE_OK;

    for (size_t i = 0; err == TIDE_OK && i < w->request_count; i++) {
        const struct request *r = &w->requests[i];

        if (share > 0)
            sleep_until_ns(w->crew->start_ns + (int64_t)(samples / share * 1e9));
        samples += r->count;
        w->result.requests++;
        w->result.samples += r->count;
        w->result.bytes += r->len;
        err = send_request(w, c, r);
    }
    return err;
}

static void *work(void *context)
{
    struct worker *w = context;
    struct http_connection c = {.fd = -1};

    w->err =
        http_connection_init(&c, &w->options->target, w->options->headers, w->options->timeout_s);
    do {
        if (w->err == TIDE_OK)
            w->err = prepare(w);
        pthread_barrier_wait(&w->crew->barrier); /* All are prepared. */
        pthread_barrier_wait(&w->crew->barrier); /* The clock runs. */
        if (w->err == TIDE_OK)
            w->err = send_all_requests(w, &c);
        pthread_barrier_wait(&w->crew->barrier); /* All have sent. */
        free_requests(w);
        pthread_barrier_wait(&w->crew->barrier); /* done is decided. */
    } while (!w->crew->done);
    http_connection_deinit(&c);
    return NULL;
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool all_done(const struct worker *workers, uint32_t count)
{
    bool done = true;

    for (uint32_t i = 0; i < count; i++) {
        if (workers[i].err != TIDE_OK)
            return true;
        done = done && workers[i].position >= workers[i].stream.sample_count;
    }
    return done;
}

static void conduct(struct crew *crew, const struct worker *workers, uint32_t count,
                    struct load_result *out)
{
    do {
        int64_t prepare_ns = tide_clock_mono_ns();
        int64_t cpu;

        pthread_barrier_wait(&crew->barrier);
        crew->start_ns = tide_clock_mono_ns();
        out->prepare_seconds += (double)(crew->start_ns - prepare_ns) / 1e9;
        cpu = cpu_ns();
        pthread_barrier_wait(&crew->barrier);
        pthread_barrier_wait(&crew->barrier);
        out->seconds += (double)(tide_clock_mono_ns() - crew->start_ns) / 1e9;
        out->cpu_seconds += (double)(cpu_ns() - cpu) / 1e9;
        crew->done = all_done(workers, count);
        pthread_barrier_wait(&crew->barrier);
    } while (!crew->done);
}

/* ---- Result ---- */

static int latency_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

static enum tide_err add_latencies(const struct worker *workers, uint32_t count,
                                   struct load_result *out)
{
    size_t total = 0;
    size_t at = 0;
    uint32_t *all;

    for (uint32_t i = 0; i < count; i++)
        total += workers[i].latency_count;
    if (total == 0)
        return TIDE_OK;
    all = tide_mem_array(total, sizeof(*all));
    if (all == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        if (workers[i].latency_count > 0)
            memcpy(all + at, workers[i].latencies_us, workers[i].latency_count * sizeof(*all));
        at += workers[i].latency_count;
    }
    qsort(all, total, sizeof(*all), latency_order);
    at = total / 2;
    out->latency_p50_ms = all[at] / 1000.0;
    at = total - 1 - total / 100;
    out->latency_p99_ms = all[at] / 1000.0;
    tide_mem_free(all);
    return TIDE_OK;
}

static void add_result(struct load_result *out, const struct load_result *worker)
{
    out->requests += worker->requests;
    out->samples += worker->samples;
    out->acked_samples += worker->acked_samples;
    out->bytes += worker->bytes;
    out->retries += worker->retries;
    if (out->failures == 0 && worker->failures > 0) {
        out->failure_status = worker->failure_status;
        memcpy(out->failure_message, worker->failure_message, sizeof(out->failure_message));
    }
    out->failures += worker->failures;
}

enum tide_err load_run(const struct load_options *options, struct load_result *out)
{
    struct worker *workers = tide_mem_array(options->connections, sizeof(*workers));
    pthread_t *threads = tide_mem_array(options->connections, sizeof(*threads));
    struct crew crew = {.log_lock = PTHREAD_MUTEX_INITIALIZER};
    enum tide_err err = TIDE_OK;

    *out = (struct load_result){0};
    if (workers == NULL || threads == NULL ||
        pthread_barrier_init(&crew.barrier, NULL, options->connections + 1) != 0) {
        err = TIDE_ERR_NO_MEMORY;
        goto out;
    }
    for (uint32_t i = 0; err == TIDE_OK && i < options->connections; i++) {
        workers[i].options = options;
        workers[i].crew = &crew;
        workers[i].index = i;
        err = load_stream_init(&workers[i].stream, &options->fleet, options->scrape_count, i,
                               options->connections);
    }
    if (err != TIDE_OK)
        goto out;
    for (uint32_t i = 0; i < options->connections; i++) {
        /* The others wait at the barrier for it: no way on without all. */
        if (pthread_create(&threads[i], NULL, work, &workers[i]) != 0)
            TIDE_ASSERT(!"cannot start a thread");
    }
    conduct(&crew, workers, options->connections, out);
    for (uint32_t i = 0; i < options->connections; i++) {
        pthread_join(threads[i], NULL);
        add_result(out, &workers[i].result);
        if (err == TIDE_OK)
            err = workers[i].err;
    }
    if (err == TIDE_OK)
        err = add_latencies(workers, options->connections, out);
    pthread_barrier_destroy(&crew.barrier);

out:
    for (uint32_t i = 0; workers != NULL && i < options->connections; i++) {
        load_stream_deinit(&workers[i].stream);
        tide_mem_free(workers[i].requests);
        tide_mem_free(workers[i].latencies_us);
    }
    tide_mem_free(workers);
    tide_mem_free(threads);
    return err;
}
