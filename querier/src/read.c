/* Remote read: series with their samples, as another Prometheus asks for them. Series stand in the
 * order of their labels, as its readers want them. */
#include "querier_private.h"

#include "tide/base/mem.h"
#include "tide/model/remote_read.h"
#include "tide/model/write_encode.h"
#include "tide/model/write_request.h"

#include <stdlib.h>

/* A request is matchers: more is no request. */
#define REQUEST_BYTES_MAX (4u << 20)
/* Of one frame of a streamed answer, about: a series with more comes in several. */
#define FRAME_SAMPLES_MAX (TIDE_XOR_CHUNK_SAMPLES_MAX * 1000)
#define FLUSH_BYTES (128u << 10)

struct reading {
    struct call *call;
    struct tide_read_request request;
    struct tide_batch batch;
    uint64_t batch_charged;
    struct tide_sample *samples; /* tide_mem */
    size_t sample_capacity;
    struct tide_buf result; /* SAMPLES: of one query. */
    struct tide_buf out;    /* Frames that have gathered, or the whole answer. */
    struct tide_buf chunks; /* Scratch of frames. */
    uint64_t out_charged;   /* Of result and out. */
    bool streaming;         /* The answer has begun. */
};

struct entry {
    struct tide_labels labels;
    size_t index;
};

static int compare_entries(const void *a, const void *b)
{
    return tide_labels_cmp(((const struct entry *)a)->labels, ((const struct entry *)b)->labels);
}

/* The series of a set in the order of their labels; in the call's arena. */
static enum tide_err sort_series(struct call *call, struct tide_series_set *set, struct entry **out)
{
    struct entry *entries = tide_arena_new_array(call->arena, set->count + 1, sizeof(*entries));
    enum tide_err err = entries == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;

    for (size_t i = 0; err == TIDE_OK && i < set->count; i++) {
        entries[i].index = i;
        err = set->ops->labels(set, i, call->arena, &entries[i].labels);
        if (err == TIDE_OK && i % 1024 == 0)
            err = tide_query_check(&call->limits);
        if (err == TIDE_OK && i % 64 == 0)
            err = tide__call_charge(call);
    }
    if (err == TIDE_ERR_NO_MEMORY)
        return tide__call_over_memory(call);
    if (err == TIDE_OK && set->count > 0)
        qsort(entries, set->count, sizeof(*entries), compare_entries);
    *out = entries;
    return err;
}

/* What has been charged for memory that grows and shrinks follows it. */
static enum tide_err recharge(struct call *call, uint64_t bytes, uint64_t *charged)
{
    enum tide_err err = bytes == *charged
                            ? TIDE_OK
                            : tide_query_charge(&call->limits, (int64_t)bytes - (int64_t)*charged);

    if (err != TIDE_OK)
        return tide__call_over_memory(call);
    *charged = bytes;
    return TIDE_OK;
}

static enum tide_err flush(struct reading *r)
{
    enum tide_err err = tide_buf_ok(&r->out);

    if (err != TIDE_OK)
        return err;
    if (!r->streaming)
        tide_http_begin(r->call->x, 200,
                        "application/x-streamed-protobuf; "
                        "proto=prometheus.ChunkedReadResponse");
    r->streaming = true;
    err = tide_query_check(&r->call->limits);
    if (err == TIDE_OK && r->out.len > 0)
        err = tide_http_write(r->call->x, tide_buf_view(&r->out));
    r->out.len = 0;
    return err;
}

static enum tide_err add_frames(struct reading *r, struct tide_labels labels,
                                const struct tide_series_samples *s, size_t query)
{
    enum tide_err err = TIDE_OK;

    /* Better no answer than one without them. */
    if (s->histograms != NULL)
        return tide_diag_err(&r->call->diag, TIDE_ERR_EXECUTION,
                             "native histograms are not streamed: ask for SAMPLES");
    for (size_t i = 0; err == TIDE_OK && i < s->count; i += FRAME_SAMPLES_MAX) {
        const size_t left = s->count - i;

        tide_read_frame(labels, s->times_ms + i, s->values + i,
                        left < FRAME_SAMPLES_MAX ? left : FRAME_SAMPLES_MAX, query, &r->chunks,
                        &r->out);
        if (r->out.len >= FLUSH_BYTES)
            err = flush(r);
    }
    return err;
}

/* What follows the labels in the TimeSeries that stands alone in a buffer. */
static struct tide_slice after_labels(struct tide_slice series, size_t label_bytes)
{
    struct tide_reader reader = tide_reader(series);
    struct tide_slice content = {NULL, 0};
    uint8_t tag;

    if (tide_reader_u8(&reader, &tag) != TIDE_OK ||
        tide_reader_bytes(&reader, &content) != TIDE_OK || content.len < label_bytes)
        return (struct tide_slice){NULL, 0};
    return (struct tide_slice){content.ptr + label_bytes, content.len - label_bytes};
}

/* A series with both kinds of samples is still one TimeSeries. */
static void put_series(struct reading *r, struct tide_labels labels, size_t floats,
                       const struct tide_write_histograms *histograms)
{
    struct tide_buf other = {0}, head = {0};
    struct tide_slice a, b;

    r->chunks.len = 0;
    tide_write_encode_labels(&head, labels);
    tide_write_encode_series(&r->chunks, labels, r->samples, floats, NULL, 0);
    tide_write_encode_histograms(&other, labels, histograms);
    a = after_labels(tide_buf_view(&r->chunks), head.len);
    b = after_labels(tide_buf_view(&other), head.len);
    tide_buf_byte(&r->result, 1 << 3 | 2);
    tide_buf_uvarint(&r->result, head.len + a.len + b.len);
    tide_buf_slice(&r->result, tide_buf_view(&head));
    tide_buf_slice(&r->result, a);
    tide_buf_slice(&r->result, b);
    if (tide_buf_ok(&r->chunks) != TIDE_OK || tide_buf_ok(&head) != TIDE_OK ||
        tide_buf_ok(&other) != TIDE_OK)
        r->result.failed = true;
    tide_buf_deinit(&other);
    tide_buf_deinit(&head);
}

static enum tide_err add_samples(struct reading *r, struct tide_labels labels,
                                 const struct tide_series_samples *s)
{
    struct tide_write_histograms histograms = {.integers = false};
    struct tide_histogram *items = NULL;
    int64_t *times_ms = NULL;
    size_t floats = 0;
    enum tide_err err =
        tide_mem_grow((void **)&r->samples, &r->sample_capacity, s->count, sizeof(*r->samples));

    if (err == TIDE_OK && s->histograms != NULL) {
        items = tide_mem_array(s->count, sizeof(*items));
        times_ms = tide_mem_array(s->count, sizeof(*times_ms));
        err = items == NULL || times_ms == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
    }
    for (size_t i = 0; err == TIDE_OK && i < s->count; i++) {
        if (s->histograms != NULL && s->histograms[i] != NULL) {
            items[histograms.count] = *s->histograms[i];
            times_ms[histograms.count++] = s->times_ms[i];
        } else {
            r->samples[floats++] = (struct tide_sample){.ts_ms = s->times_ms[i],
                                                        .bits = tide_value_bits(s->values[i])};
        }
    }
    histograms.items = items;
    histograms.times_ms = times_ms;
    if (err == TIDE_OK && histograms.count > 0)
        put_series(r, labels, floats, &histograms);
    else if (err == TIDE_OK)
        tide_write_encode_series(&r->result, labels, r->samples, floats, NULL, 0);
    tide_mem_free(items);
    tide_mem_free(times_ms);
    if (err == TIDE_OK)
        err = tide_buf_ok(&r->result);
    /* Compressing it will take as much again. */
    if (err == TIDE_OK)
        err = recharge(r->call, 2 * (r->result.len + r->out.len), &r->out_charged);
    return err;
}

static enum tide_err read_series(struct reading *r, struct tide_series_set *set, size_t query)
{
    const struct tide_read_query *asked = &r->request.queries[query];
    struct entry *entries = NULL;
    enum tide_err err = sort_series(r->call, set, &entries);

    for (size_t i = 0; err == TIDE_OK && i < set->count; i++) {
        err = set->ops->read(set, entries[i].index, 1, asked->start_ms, asked->end_ms, &r->batch);
        if (err == TIDE_OK)
            err = recharge(r->call, tide_arena_bytes(r->batch.arena), &r->batch_charged);
        if (err != TIDE_OK || r->batch.series[0].count == 0)
            continue;
        err = r->request.streamed ? add_frames(r, entries[i].labels, &r->batch.series[0], query)
                                  : add_samples(r, entries[i].labels, &r->batch.series[0]);
    }
    return err;
}

static enum tide_err read_query(struct reading *r, size_t query)
{
    struct call *call = r->call;
    const struct tide_source *source = call->querier->options.source;
    const struct tide_read_query *asked = &r->request.queries[query];
    const struct tide_select select = {.tenant = call->tenant,
                                       .matchers = asked->matchers,
                                       .matcher_count = asked->matcher_count,
                                       .mint_ms = asked->start_ms,
                                       .maxt_ms = asked->end_ms};
    struct tide_series_set *set;
    enum tide_err err = TIDE_OK;

    if (asked->start_ms <= asked->end_ms) {
        err = source->select(source->context, &select, &call->limits, &set, &call->diag);
        if (err != TIDE_OK) {
            tide__call_add_bill(call);
            return err;
        }
        err = read_series(r, set, query);
        set->ops->free(set);
    }
    if (err == TIDE_OK && !r->request.streamed) {
        /* ReadResponse.results: field 1, of bytes. */
        tide_buf_byte(&r->out, 1 << 3 | 2);
        tide_buf_bytes(&r->out, tide_buf_view(&r->result));
        r->result.len = 0;
        err = tide_buf_ok(&r->out);
    }
    return err;
}

static void answer(struct reading *r)
{
    struct call *call = r->call;
    struct tide_buf body = {0};
    enum tide_err err = TIDE_OK;

    for (size_t i = 0; err == TIDE_OK && i < r->request.query_count; i++)
        err = read_query(r, i);
    if (err == TIDE_OK && r->request.streamed)
        err = flush(r);
    if (r->streaming) {
        tide__answer_count(err == TIDE_OK);
        tide_http_end(call->x, err == TIDE_OK);
        return;
    }
    if (err == TIDE_OK)
        err = tide_write_compress(tide_buf_view(&r->out), &body);
    if (err != TIDE_OK) {
        if (err == TIDE_ERR_LIMIT && call->diag.text[0] == '\0')
            err = atomic_load(&call->limits.refused_bytes) > 0
                      ? tide__call_over_memory(call)
                      : tide_diag_err(&call->diag, TIDE_ERR_LIMIT,
                                      "query reads more samples or series than it may");
        tide_buf_deinit(&body);
        tide__call_fail(call, err);
        return;
    }
    tide__answer_count(true);
    tide_http_add_header(call->x, "Content-Encoding", "snappy");
    tide_http_respond(call->x, 200, "application/x-protobuf", &body);
}

void tide__handle_read(void *context, struct tide_http_exchange *x)
{
    struct tide_buf body = {0};
    struct call call;
    struct reading r = {.call = &call};
    enum tide_err err;

    if (tide__query_begin(&call, context, x) != TIDE_OK)
        return;
    r.batch.arena = tide_arena_new(call.limits.memory_bytes_max);
    err = r.batch.arena == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
    if (err == TIDE_OK)
        err = tide_write_decompress(TIDE_ENCODING_SNAPPY, tide_http_body(x), REQUEST_BYTES_MAX,
                                    &body, &call.diag);
    if (err == TIDE_OK)
        err = tide_read_request_parse(tide_buf_view(&body), call.arena, &r.request, &call.diag);
    if (err == TIDE_OK) {
        answer(&r);
        tide_read_request_release(&r.request);
    } else {
        tide__call_fail(&call, err);
    }
    tide_arena_free(r.batch.arena);
    tide_mem_free(r.samples);
    tide_buf_deinit(&r.result);
    tide_buf_deinit(&r.out);
    tide_buf_deinit(&r.chunks);
    tide_buf_deinit(&body);
    tide__call_end(&call);
}
