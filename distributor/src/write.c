#include "distributor_private.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/base/metrics.h"

#include <stdio.h>

TIDE_COUNTER(samples_ok, "tide_distributor_samples_total", "outcome=\"stored\"",
             "Samples of remote_write requests by outcome.");
TIDE_COUNTER(samples_refused, "tide_distributor_samples_total", "outcome=\"refused\"",
             "Samples of remote_write requests by outcome.");
TIDE_COUNTER(requests_ok, "tide_distributor_requests_total", "outcome=\"stored\"",
             "remote_write requests by outcome.");
TIDE_COUNTER(requests_bad, "tide_distributor_requests_total", "outcome=\"refused\"",
             "remote_write requests by outcome.");
TIDE_COUNTER(requests_failed, "tide_distributor_requests_total", "outcome=\"failed\"",
             "remote_write requests by outcome.");
TIDE_COUNTER(new_series, "tide_distributor_series_with_labels_total", "",
             "Series sent to their shard with labels, because no reference was known.");
TIDE_COUNTER(received_bytes, "tide_distributor_received_bytes_total", "",
             "Compressed bytes of remote_write bodies.");
TIDE_HISTOGRAM_SECONDS(latency, "tide_distributor_write_seconds", "",
                       "Time from a whole request to its answer.");

void tide__write_metrics_register(void)
{
    struct tide_metric *const all[] = {&samples_ok,     &samples_refused, &requests_ok,
                                       &requests_bad,   &requests_failed, &new_series,
                                       &received_bytes, &latency};

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        tide_metric_register(all[i]);
}

/* What all pushes of one request may take, encoded. A remote_write 2.0 body names texts by number,
 * so that a few bytes of it may stand for many thousands. */
#define STAGED_BYTES_MAX ((size_t)4 * TIDE_PUSH_BYTES_MAX)

/* The push of one request to one shard. */
struct shard_push {
    struct write_request *request;
    uint32_t shard;
    uint32_t
        *items; /* For each sample, then each histogram: the index of its series in the body. */
    uint32_t sample_count;
    uint32_t histogram_count;
    uint32_t exemplar_count;
    struct tide_hash128 *keys; /* For each new series. */
};

struct write_request {
    struct tide_distributor *distributor;
    struct tide_http_exchange *x;
    struct write_request *slow_next;
    struct tide_slice tenant; /* Borrowed from the exchange. */
    enum tide_write_version version;
    enum tide_write_encoding encoding;
    bool with_labels; /* Second pass: the cache is not asked. */
    int64_t started_ns;

    pthread_mutex_t lock; /* Guards the fields up to the blank line, while pushes are out. */
    uint32_t pushes_out;
    enum tide_err err;   /* The first push that failed. */
    bool reference_lost; /* A shard did not know a reference. */
    uint64_t samples_written;
    uint64_t histograms_written;
    uint64_t exemplars_written;
    uint64_t samples_refused;
    uint32_t first_refused; /* Index in the body of the first series with a refused sample;
                               UINT32_MAX: none. */
    enum tide_err refused_why;

    uint64_t series_refused; /* Their labels are bad, or they hold what is not stored. */
    struct tide_diag diag;   /* Of the first bad series, or of what ended the request. */
    size_t staged_bytes;     /* Labels, exemplars and metadata staged in this pass. */
    uint32_t push_count;
    struct shard_push *pushes;
};

struct write_request **tide__write_slow_link(struct write_request *request)
{
    return &request->slow_next;
}

static void pushes_free(struct write_request *request)
{
    for (uint32_t i = 0; i < request->push_count; i++) {
        tide_mem_free(request->pushes[i].items);
        tide_mem_free(request->pushes[i].keys);
    }
    tide_mem_free(request->pushes);
    request->pushes = NULL;
    request->push_count = 0;
}

static void request_free(struct write_request *request)
{
    pushes_free(request);
    pthread_mutex_destroy(&request->lock);
    tide_mem_free(request);
}

static void add_count_header(struct tide_http_exchange *x, const char *name, uint64_t count)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)count);
    tide_http_add_header(x, name, text);
}

/* Answers with a plain text message, as Prometheus does on this path, and ends the request. */
static void answer(struct write_request *request, int status, const char *text)
{
    struct tide_http_exchange *x = request->x;
    struct tide_buf body = {0};

    if (status >= 500 || status == 429)
        tide_http_add_header(x, "Retry-After", "1");
    add_count_header(x, "X-Prometheus-Remote-Write-Samples-Written", request->samples_written);
    add_count_header(x, "X-Prometheus-Remote-Write-Histograms-Written",
                     request->histograms_written);
    add_count_header(x, "X-Prometheus-Remote-Write-Exemplars-Written", request->exemplars_written);
    if (text != NULL) {
        tide_buf_str(&body, text);
        tide_buf_byte(&body, '\n');
    }
    tide_metric_add(status < 300   ? &requests_ok
                    : status < 500 ? &requests_bad
                                   : &requests_failed,
                    1);
    tide_metric_add(&samples_ok, (int64_t)(request->samples_written + request->histograms_written));
    tide_metric_add(&samples_refused, (int64_t)request->samples_refused);
    tide_metric_observe(&latency, (double)(tide_clock_mono_ns() - request->started_ns) / 1e9);
    request_free(request);
    tide_http_respond(x, status, "text/plain; charset=utf-8", &body);
}

static void answer_err(struct write_request *request, enum tide_err err)
{
    char text[sizeof(request->diag.text)];

    snprintf(text, sizeof(text), "%s",
             request->diag.text[0] != '\0' ? request->diag.text : tide_err_text(err));
    answer(request, tide_err_http_status(err), text);
}

/* ---- One pass over the body ---- */

/* Finds shard and reference of a series: from the cache if it is known there, else its labels are
 * checked and staged. key is the hash of its labels as they stand on the wire, when they stand in
 * one run. Errors: TIDE_ERR_INVALID, this series is bad. */
static enum tide_err locate(struct write_request *request, struct write_scratch *scratch,
                            const struct tide_write_item *item, struct tide_hash128 key,
                            uint32_t *shard, uint32_t *ref, struct tide_diag *diag)
{
    const struct tide_distributor *distributor = request->distributor;
    const bool on_wire = item->wire_labels.len > 0;
    struct tide_hash128 identity;
    struct tide_labels labels;
    struct shard_stage *stage;
    size_t before;
    enum tide_err err;

    if (on_wire && !request->with_labels &&
        tide__ref_cache_get(distributor->cache, key, shard, ref))
        return TIDE_OK;
    err = tide_write_labels(scratch->scanner, item, &labels, diag);
    if (err != TIDE_OK)
        return err;
    identity = tide_labels_identity(request->tenant, labels, distributor->options.identity_seed);
    if (!on_wire) {
        key = identity;
        if (!request->with_labels && tide__ref_cache_get(distributor->cache, key, shard, ref))
            return TIDE_OK;
    }
    *shard = tide_shard_of(identity, distributor->options.sink->shard_count);
    stage = &scratch->stages[*shard];
    before = stage->builder.series.len;
    *ref = TIDE_PUSH_NEW | tide_push_add_series(&stage->builder, identity, labels);
    request->staged_bytes += stage->builder.series.len - before;
    tide_buf_add(&stage->keys, &key, sizeof(key));
    return TIDE_OK;
}

/* After each addition, so that what does not fit is refused before memory was spent on it. */
static enum tide_err check_fits(struct write_request *request, const struct shard_stage *stage)
{
    if (tide_push_builder_fits(&stage->builder) && request->staged_bytes <= STAGED_BYTES_MAX)
        return TIDE_OK;
    request->diag.text[0] = '\0';
    return tide_diag_err(&request->diag, TIDE_ERR_TOO_LARGE,
                         "the labels, samples, exemplars and metadata of this request take more "
                         "than a shard accepts at once: send fewer in one request");
}

static void refuse_series(struct write_request *request, const struct tide_write_item *item)
{
    request->series_refused++;
    request->samples_refused += item->sample_count + item->histogram_count;
}

/* A histogram that cannot be stored, of a series that can. */
static void refuse_histogram(struct write_request *request, struct write_scratch *scratch,
                             const struct tide_write_item *item, const struct tide_diag *diag)
{
    struct tide_labels labels;
    struct tide_buf text = {0};

    request->series_refused++;
    request->samples_refused++;
    if (request->diag.text[0] != '\0')
        return; /* The first is told. */
    if (tide_write_labels(scratch->scanner, item, &labels, NULL) == TIDE_OK)
        tide_labels_print(labels, &text);
    tide_diag_set(&request->diag, "series %u %.*s: %s", item->index,
                  (int)(text.len > 300 ? 300 : text.len), (const char *)text.ptr, diag->text);
    tide_buf_deinit(&text);
}

/* stage is NULL when it is known that none can be stored. */
static enum tide_err stage_histograms(struct write_request *request, struct write_scratch *scratch,
                                      const struct tide_write_item *item, struct shard_stage *stage,
                                      uint32_t ref)
{
    for (size_t i = 0; i < item->histogram_count; i++) {
        struct tide_diag diag = {{0}};
        struct tide_histogram histogram;
        size_t before;
        int64_t ts_ms;
        /* Only the first fault of a request is put into words. */
        enum tide_err err = tide_write_histogram(scratch->scanner, item, i, &ts_ms, &histogram,
                                                 request->diag.text[0] == '\0' ? &diag : NULL);

        if (err == TIDE_ERR_INVALID) {
            refuse_histogram(request, scratch, item, &diag);
            continue;
        }
        if (err != TIDE_OK)
            return err;
        TIDE_ASSERT(stage != NULL);
        before = stage->builder.histograms.len;
        tide_push_add_histogram(&stage->builder, ref, ts_ms, &histogram);
        tide_buf_add(&stage->histogram_items, &item->index, sizeof(item->index));
        request->staged_bytes += stage->builder.histograms.len - before;
        err = check_fits(request, stage);
        if (err != TIDE_OK)
            return err;
    }
    return TIDE_OK;
}

static enum tide_err stage_exemplar(struct write_request *request, struct write_scratch *scratch,
                                    const struct tide_write_item *item, size_t k,
                                    struct shard_stage *stage, uint32_t ref)
{
    const size_t before = stage->builder.exemplars.len;
    struct tide_exemplar exemplar;
    enum tide_err err = tide_write_exemplar(scratch->scanner, item, k, &exemplar, &request->diag);

    if (err != TIDE_OK)
        return err == TIDE_ERR_INVALID ? TIDE_OK : err;
    tide_push_add_exemplar(&stage->builder, ref, &exemplar);
    request->staged_bytes += stage->builder.exemplars.len - before;
    return check_fits(request, stage);
}

/* Samples, exemplars and histograms of a series that has some. */
static enum tide_err stage_points(struct write_request *request, struct write_scratch *scratch,
                                  const struct tide_write_item *item, struct tide_hash128 key)
{
    struct shard_stage *stage;
    uint32_t shard, ref;
    enum tide_err err = locate(request, scratch, item, key, &shard, &ref, &request->diag);

    if (err != TIDE_OK)
        return err;
    stage = &scratch->stages[shard];
    for (size_t i = 0; i < item->sample_count; i++) {
        tide_push_add_sample(&stage->builder, ref, item->samples[i].ts_ms, item->samples[i].bits);
        tide_buf_add(&stage->items, &item->index, sizeof(item->index));
    }
    err = check_fits(request, stage);
    for (size_t i = 0; err == TIDE_OK && i < item->exemplar_count; i++)
        err = stage_exemplar(request, scratch, item, i, stage, ref);
    if (err == TIDE_OK && item->histogram_count > 0)
        err = stage_histograms(request, scratch, item, stage, ref);
    return err;
}

/* Whether the series brings anything that can be stored. */
static bool has_points(struct write_scratch *scratch, const struct tide_write_item *item)
{
    struct tide_histogram histogram;
    int64_t ts_ms;

    if (item->sample_count > 0 || item->exemplar_count > 0)
        return true;
    for (size_t i = 0; i < item->histogram_count; i++)
        if (tide_write_histogram(scratch->scanner, item, i, &ts_ms, &histogram, NULL) !=
            TIDE_ERR_INVALID)
            return true;
    return false;
}

static enum tide_err stage_series(struct write_request *request, struct write_scratch *scratch,
                                  const struct tide_write_item *item, struct tide_hash128 key)
{
    struct tide_labels labels;
    enum tide_err err;

    if (has_points(scratch, item)) {
        err = stage_points(request, scratch, item, key);
    } else { /* It is not made for nothing, but told when it is bad. */
        err = tide_write_labels(scratch->scanner, item, &labels, &request->diag);
        if (err == TIDE_OK)
            err = stage_histograms(request, scratch, item, NULL, 0);
    }
    if (err == TIDE_ERR_INVALID) {
        refuse_series(request, item);
        return TIDE_OK;
    }
    return err;
}

/* Metadata belongs to a metric, not to a series; one shard, found by the name, keeps it. */
static enum tide_err stage_metadata(struct write_request *request, struct write_scratch *scratch,
                                    const struct tide_metadata *metadata)
{
    const struct tide_label pair = {TIDE_SLICE(TIDE_LABEL_METRIC), metadata->metric};
    const struct tide_distributor *distributor = request->distributor;
    struct tide_hash128 identity = tide_labels_identity(
        request->tenant, (struct tide_labels){&pair, 1}, distributor->options.identity_seed);
    uint32_t shard = tide_shard_of(identity, distributor->options.sink->shard_count);
    struct shard_stage *stage = &scratch->stages[shard];
    const size_t before = stage->builder.metadata.len;

    tide_push_add_metadata(&stage->builder, metadata);
    request->staged_bytes += stage->builder.metadata.len - before;
    return check_fits(request, stage);
}

static void stages_reset(struct write_request *request, struct write_scratch *scratch)
{
    scratch->lookup_count = 0;
    for (uint32_t i = 0; i < request->distributor->options.sink->shard_count; i++) {
        tide_push_builder_reset(&scratch->stages[i].builder);
        scratch->stages[i].items.len = 0;
        scratch->stages[i].histogram_items.len = 0;
        scratch->stages[i].keys.len = 0;
    }
}

/* Decompresses the body and starts the scanner on it. */
static enum tide_err body_open(struct write_request *request, struct write_scratch *scratch)
{
    enum tide_err err;

    scratch->body.len = 0;
    err = tide_write_decompress(request->encoding, tide_http_body(request->x),
                                request->distributor->options.limits.decoded_bytes_max,
                                &scratch->body, &request->diag);
    if (err != TIDE_OK)
        return err;
    return tide_write_scanner_start(scratch->scanner, request->version,
                                    tide_buf_view(&scratch->body), &request->diag);
}

/* Stages the series whose lookups were begun. */
static enum tide_err stage_lookups(struct write_request *request, struct write_scratch *scratch)
{
    enum tide_err err = TIDE_OK;

    for (unsigned i = 0; err == TIDE_OK && i < scratch->lookup_count; i++) {
        const struct lookup *lookup = &scratch->lookups[i];
        const struct tide_write_item item = {.kind = TIDE_WRITE_SERIES,
                                             .index = lookup->index,
                                             .wire_labels = lookup->wire_labels,
                                             .samples = &lookup->sample,
                                             .sample_count = 1};

        err = stage_series(request, scratch, &item, lookup->key);
    }
    scratch->lookup_count = 0;
    return err;
}

/* The common series, labels in one run and one sample, is looked up in company: with 100,000 series
 * the cache's lines come from far, and fetching 16 of them at once takes about as long as fetching
 * one. */
static enum tide_err begin_series(struct write_request *request, struct write_scratch *scratch,
                                  const struct tide_write_item *item, uint64_t wire_seed)
{
    struct tide_hash128 key = {0, 0};
    enum tide_err err;

    if (item->wire_labels.len > 0)
        key = tide_hash128(item->wire_labels, wire_seed);
    if (item->wire_labels.len == 0 || item->sample_count != 1 || item->exemplar_count > 0 ||
        item->histogram_count > 0) {
        err = stage_lookups(request, scratch);
        return err == TIDE_OK ? stage_series(request, scratch, item, key) : err;
    }
    tide__ref_cache_prefetch(request->distributor->cache, key);
    scratch->lookups[scratch->lookup_count++] =
        (struct lookup){key, item->wire_labels, item->samples[0], item->index};
    return scratch->lookup_count == LOOKUPS_MAX ? stage_lookups(request, scratch) : TIDE_OK;
}

static enum tide_err stage_body(struct write_request *request, struct write_scratch *scratch)
{
    const uint64_t wire_seed = tide_hash64(request->tenant, request->distributor->wire_seed);
    struct tide_diag diag = {{0}};
    struct tide_write_item item;
    enum tide_err err = body_open(request, scratch);

    request->staged_bytes = 0;
    if (err != TIDE_OK)
        return err;
    tide__ref_cache_begin(request->distributor->cache);
    while ((err = tide_write_next(scratch->scanner, &item, &diag)) == TIDE_OK) {
        if (item.kind == TIDE_WRITE_SERIES)
            err = begin_series(request, scratch, &item, wire_seed);
        if (err == TIDE_OK && (item.kind == TIDE_WRITE_METADATA || item.has_metadata) &&
            item.metadata.metric.len > 0)
            err = stage_metadata(request, scratch, &item.metadata);
        if (err != TIDE_OK)
            break;
    }
    if (err == TIDE_END) {
        err = stage_lookups(request, scratch);
        if (err == TIDE_OK)
            err = TIDE_END;
    }
    tide__ref_cache_end(request->distributor->cache);
    if (err == TIDE_END)
        return TIDE_OK;
    /* What ends the request is told rather than what was wrong with one series before. */
    if (diag.text[0] != '\0')
        request->diag = diag;
    return err;
}

static void push_done(void *context, const struct tide_push_result *result);

/* Moves what is staged for one shard into a push. */
static enum tide_err push_prepare(struct write_request *request, struct shard_stage *stage,
                                  uint32_t shard, struct shard_push *push, struct tide_buf *bytes)
{
    enum tide_err err =
        tide_push_encode(&stage->builder, request->tenant, tide_clock_wall_ms(), bytes);

    if (err == TIDE_OK &&
        (tide_buf_ok(&stage->items) != TIDE_OK || tide_buf_ok(&stage->histogram_items) != TIDE_OK ||
         tide_buf_ok(&stage->keys) != TIDE_OK))
        err = TIDE_ERR_NO_MEMORY;
    if (err != TIDE_OK)
        return err;
    *push = (struct shard_push){.request = request,
                                .shard = shard,
                                .sample_count = stage->builder.sample_count,
                                .histogram_count = stage->builder.histogram_count,
                                .exemplar_count = stage->builder.exemplar_count};
    push->items = tide_mem_alloc(stage->items.len + stage->histogram_items.len);
    push->keys = tide_mem_alloc(stage->keys.len);
    if (push->items == NULL || push->keys == NULL) {
        tide_mem_free(push->items);
        tide_mem_free(push->keys);
        return TIDE_ERR_NO_MEMORY;
    }
    if (stage->items.len > 0)
        memcpy(push->items, stage->items.ptr, stage->items.len);
    if (stage->histogram_items.len > 0)
        memcpy(push->items + push->sample_count, stage->histogram_items.ptr,
               stage->histogram_items.len);
    if (stage->keys.len > 0)
        memcpy(push->keys, stage->keys.ptr, stage->keys.len);
    tide_metric_add(&new_series, stage->builder.series_count);
    return TIDE_OK;
}

static void finish(struct write_request *request);

/* Sends what the stages hold. Nothing is sent unless everything could be prepared. */
static void send_stages(struct write_request *request, struct write_scratch *scratch)
{
    const struct tide_push_sink *sink = request->distributor->options.sink;
    struct tide_buf *bytes = tide_mem_array(sink->shard_count, sizeof(*bytes));
    enum tide_err err = TIDE_OK;
    uint32_t count = 0;

    request->pushes = tide_mem_array(sink->shard_count, sizeof(*request->pushes));
    if (bytes == NULL || request->pushes == NULL)
        err = TIDE_ERR_NO_MEMORY;
    for (uint32_t i = 0; err == TIDE_OK && i < sink->shard_count; i++) {
        if (tide_push_builder_empty(&scratch->stages[i].builder))
            continue;
        err = push_prepare(request, &scratch->stages[i], i, &request->pushes[count], &bytes[count]);
        if (err == TIDE_OK)
            request->push_count = ++count;
    }
    stages_reset(request, scratch);
    tide__scratch_give(request->distributor, scratch);
    if (err != TIDE_OK || count == 0) {
        for (uint32_t i = 0; bytes != NULL && i < sink->shard_count; i++)
            tide_buf_deinit(&bytes[i]);
        tide_mem_free(bytes);
        request->err = err;
        finish(request);
        return;
    }
    request->pushes_out = count;
    /* The last push may end the request before this loop does: what it needs is kept here. */
    struct shard_push *pushes = request->pushes;

    for (uint32_t i = 0; i < count; i++)
        sink->push(sink->context, pushes[i].shard, &bytes[i], push_done, &pushes[i]);
    tide_mem_free(bytes);
}

static void run(struct write_request *request)
{
    struct write_scratch *scratch = tide__scratch_take(request->distributor);
    enum tide_err err;

    if (scratch == NULL) {
        answer_err(request, TIDE_ERR_NO_MEMORY);
        return;
    }
    err = stage_body(request, scratch);
    if (err != TIDE_OK) {
        stages_reset(request, scratch);
        tide__scratch_give(request->distributor, scratch);
        request->samples_written = 0;
        answer_err(request, err);
        return;
    }
    send_stages(request, scratch);
}

/* ---- The answers of the shards ---- */

static void count_refused(struct write_request *request, const struct shard_push *push,
                          const struct tide_push_result *result)
{
    uint32_t histograms_refused = 0;

    for (uint32_t i = 0; i < result->reject_count; i++) {
        const struct tide_push_reject *reject = &result->rejects[i];

        histograms_refused += reject->index >= push->sample_count;
        if (reject->why == TIDE_ERR_NOT_FOUND) {
            request->reference_lost = true;
        } else if (push->items[reject->index] < request->first_refused) {
            request->first_refused = push->items[reject->index];
            request->refused_why = reject->why;
        }
    }
    request->samples_refused += result->reject_count;
    request->samples_written += push->sample_count - (result->reject_count - histograms_refused);
    request->histograms_written += push->histogram_count - histograms_refused;
    request->exemplars_written += push->exemplar_count - result->exemplar_reject_count;
}

static void push_done(void *context, const struct tide_push_result *result)
{
    struct shard_push *push = context;
    struct write_request *request = push->request;
    bool last;

    for (uint32_t i = 0; i < result->new_ref_count; i++) {
        if (result->new_refs[i] != TIDE_PUSH_NEW)
            tide__ref_cache_put(request->distributor->cache, push->keys[i], push->shard,
                                result->new_refs[i]);
    }
    pthread_mutex_lock(&request->lock);
    if (result->err == TIDE_OK)
        count_refused(request, push, result);
    else if (request->err == TIDE_OK)
        request->err = result->err;
    last = --request->pushes_out == 0;
    pthread_mutex_unlock(&request->lock);
    if (last)
        finish(request);
}

/* All shards have answered. */
static void finish(struct write_request *request)
{
    const bool again = request->reference_lost && !request->with_labels;

    /* Limits of series refuse samples; what refuses a whole push is this one. */
    if (request->err == TIDE_ERR_LIMIT) {
        request->diag.text[0] = '\0';
        tide_diag_set(&request->diag, "no more tenants are accepted (limits.tenants_max)");
    }
    if (request->err != TIDE_OK)
        answer_err(request, request->err);
    else if (again || request->first_refused != UINT32_MAX)
        tide__slow_add(request->distributor, request);
    else if (request->series_refused > 0 || request->diag.text[0] != '\0')
        answer_err(request, TIDE_ERR_INVALID);
    else
        answer(request, 204, NULL);
}

/* Says which series the first refused sample belongs to, by reading the body again up to it. */
static void name_refused(struct write_request *request)
{
    struct write_scratch *scratch = tide__scratch_take(request->distributor);
    struct tide_diag diag = {{0}};
    struct tide_write_item item;
    struct tide_labels labels;
    struct tide_buf name = {0};
    const uint64_t samples =
        request->samples_refused + request->samples_written + request->histograms_written;
    enum tide_err err = TIDE_ERR_NO_MEMORY;

    if (scratch != NULL)
        err = body_open(request, scratch);
    while (err == TIDE_OK && (err = tide_write_next(scratch->scanner, &item, &diag)) == TIDE_OK &&
           (item.kind != TIDE_WRITE_SERIES || item.index != request->first_refused))
        ;
    if (err == TIDE_OK && tide_write_labels(scratch->scanner, &item, &labels, &diag) == TIDE_OK)
        tide_labels_print(labels, &name);
    request->diag.text[0] = '\0';
    tide_diag_set(&request->diag, "%llu of %llu samples refused; first in series %u %.*s: %s",
                  (unsigned long long)request->samples_refused, (unsigned long long)samples,
                  request->first_refused, (int)(name.len > 300 ? 300 : name.len),
                  (const char *)name.ptr,
                  request->refused_why == TIDE_ERR_LIMIT
                      ? "no more series (limits.series_per_tenant_max), or no room for "
                        "samples of so many times"
                      : tide_err_text(request->refused_why));
    tide_buf_deinit(&name);
    if (scratch != NULL)
        tide__scratch_give(request->distributor, scratch);
}

void tide__write_finish_slow(struct write_request *request)
{
    if (request->reference_lost && !request->with_labels) {
        /* A shard forgot a series that had no samples left. All is sent again, with labels: what
         * was stored by the first pass is the same sample again, which changes nothing. */
        pushes_free(request);
        request->with_labels = true;
        request->reference_lost = false;
        request->samples_written = request->histograms_written = 0;
        request->exemplars_written = request->samples_refused = 0;
        request->series_refused = 0;
        request->first_refused = UINT32_MAX;
        request->diag.text[0] = '\0';
        run(request);
        return;
    }
    name_refused(request);
    answer_err(request, request->refused_why);
}

/* ---- The request's head ---- */

static enum tide_err negotiate(struct write_request *request)
{
    static const struct tide_slice v1 = {(const uint8_t *)"prometheus.WriteRequest", 23};
    static const struct tide_slice v2 = {(const uint8_t *)"io.prometheus.write.v2.Request", 30};
    struct tide_slice type = tide_http_header(request->x, "Content-Type");
    struct tide_slice encoding = tide_http_header(request->x, "Content-Encoding");
    struct tide_slice proto;
    size_t end = tide_slice_find(type, TIDE_SLICE(";"));
    struct tide_slice media = {type.ptr, end == SIZE_MAX ? type.len : end};
    size_t at;

    while (media.len > 0 && media.ptr[media.len - 1] == ' ')
        media.len--;
    /* Old senders name neither; they send what version 1.0 defines. */
    if (type.len > 0 && !tide_slice_eq(media, TIDE_SLICE("application/x-protobuf")))
        return tide_diag_err(&request->diag, TIDE_ERR_MEDIA_TYPE,
                             "Content-Type %.*s is not accepted: send application/x-protobuf",
                             TIDE_SLICE_ARGS(type));
    at = tide_slice_find(type, TIDE_SLICE("proto="));
    request->version = TIDE_WRITE_V1;
    if (at != SIZE_MAX) {
        proto = (struct tide_slice){type.ptr + at + 6, type.len - at - 6};
        at = tide_slice_find(proto, TIDE_SLICE(";"));
        if (at != SIZE_MAX)
            proto.len = at;
        if (proto.len >= 2 && proto.ptr[0] == '"' && proto.ptr[proto.len - 1] == '"')
            proto = (struct tide_slice){proto.ptr + 1, proto.len - 2};
        if (tide_slice_eq(proto, v2))
            request->version = TIDE_WRITE_V2;
        else if (!tide_slice_eq(proto, v1))
            return tide_diag_err(&request->diag, TIDE_ERR_MEDIA_TYPE,
                                 "protobuf message %.*s is not accepted: send %.*s or %.*s",
                                 TIDE_SLICE_ARGS(proto), TIDE_SLICE_ARGS(v1), TIDE_SLICE_ARGS(v2));
    }
    if (encoding.len == 0 || tide_slice_eq(encoding, TIDE_SLICE("snappy")))
        request->encoding = TIDE_ENCODING_SNAPPY;
    else if (tide_slice_eq(encoding, TIDE_SLICE("zstd")))
        request->encoding = TIDE_ENCODING_ZSTD;
    else if (tide_slice_eq(encoding, TIDE_SLICE("gzip")))
        request->encoding = TIDE_ENCODING_GZIP;
    else
        return tide_diag_err(&request->diag, TIDE_ERR_MEDIA_TYPE,
                             "Content-Encoding %.*s is not accepted: send snappy, zstd or gzip",
                             TIDE_SLICE_ARGS(encoding));
    return TIDE_OK;
}

void tide_distributor_write(void *context, struct tide_http_exchange *x)
{
    struct tide_distributor *distributor = context;
    struct write_request *request = tide_mem_new(sizeof(*request));
    enum tide_err err;

    if (request == NULL) {
        struct tide_buf empty = {0};

        tide_http_add_header(x, "Retry-After", "1");
        tide_http_respond(x, 503, "text/plain; charset=utf-8", &empty);
        return;
    }
    request->distributor = distributor;
    request->x = x;
    request->first_refused = UINT32_MAX;
    request->started_ns = tide_clock_mono_ns();
    pthread_mutex_init(&request->lock, NULL);
    tide_metric_add(&received_bytes, (int64_t)tide_http_body(x).len);

    err = tide_tenant_of(x, &request->tenant, &request->diag);
    if (err == TIDE_OK)
        err = negotiate(request);
    if (err == TIDE_OK && distributor->options.admit != NULL)
        err = distributor->options.admit(distributor->options.admit_context, &request->diag);
    if (err != TIDE_OK) {
        answer_err(request, err);
        return;
    }
    run(request);
}
