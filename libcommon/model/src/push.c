/* The push codec. Decoding is on the path of every sample, so columns are copied whole; the layout
 * is in docs/format/push.md. */
#include "tide/model/push.h"

#include "tide/base/assert.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "columns are copied as they stand");

/* A push without histograms is as it was before there were any: version 1. */
#define PUSH_VERSION_FLOATS 1
#define PUSH_VERSION 2

/* How the column of timestamps stands. */
enum {
    TIMES_RUNS = 0,   /* Pairs: zigzag varint step, uvarint how many samples have that time. */
    TIMES_DELTAS = 1, /* Zigzag varint step of each sample. */
    TIMES_RAW = 2     /* 8 bytes little-endian each. */
};

/* Least bytes that one item takes, so that a count can be believed before memory is spent. */
#define SERIES_BYTES_MIN (8 + 8 + 1)
#define SAMPLE_BYTES_MIN (4 + 8)
#define HISTOGRAM_BYTES_MIN (4 + 1)
#define EXEMPLAR_BYTES_MIN (4 + 1 + 1 + 8)
#define METADATA_BYTES_MIN (1 + 1 + 1 + 1)

/* ---- Builder ---- */

uint32_t tide_push_add_series(struct tide_push_builder *b, struct tide_hash128 identity,
                              struct tide_labels labels)
{
    tide_buf_u64(&b->series, identity.hi);
    tide_buf_u64(&b->series, identity.lo);
    tide_labels_pack(labels, &b->series);
    b->decoded_bytes += sizeof(struct tide_push_series) + labels.count * sizeof(struct tide_label);
    TIDE_ASSERT(b->series_count < TIDE_PUSH_NEW - 1);
    return b->series_count++;
}

/* Appends one value of a column; a call only when the buffer is full. */
static inline void column_add(struct tide_buf *column, const void *value, size_t bytes)
{
    if (column->capacity - column->len < bytes && tide_buf_reserve(column, bytes) == NULL)
        return;
    memcpy(column->ptr + column->len, value, bytes);
    column->len += bytes;
}

void tide_push_add_sample(struct tide_push_builder *b, uint32_t ref, int64_t ts_ms, uint64_t bits)
{
    column_add(&b->refs, &ref, sizeof(ref));
    column_add(&b->times, &ts_ms, sizeof(ts_ms));
    column_add(&b->values, &bits, sizeof(bits));
    TIDE_ASSERT(b->sample_count < UINT32_MAX);
    b->sample_count++;
}

void tide_push_add_histogram(struct tide_push_builder *b, uint32_t ref, int64_t ts_ms,
                             const struct tide_histogram *h)
{
    column_add(&b->histogram_refs, &ref, sizeof(ref));
    column_add(&b->histogram_times, &ts_ms, sizeof(ts_ms));
    tide_histogram_encode(h, &b->histograms);
    TIDE_ASSERT(b->histogram_count < UINT32_MAX - b->sample_count);
    b->histogram_count++;
}

void tide_push_add_exemplar(struct tide_push_builder *b, uint32_t ref,
                            const struct tide_exemplar *e)
{
    tide_buf_u32(&b->exemplars, ref);
    tide_labels_pack(e->labels, &b->exemplars);
    tide_buf_varint(&b->exemplars, e->ts_ms);
    tide_buf_u64(&b->exemplars, e->bits);
    b->decoded_bytes +=
        sizeof(struct tide_push_exemplar) + e->labels.count * sizeof(struct tide_label);
    b->exemplar_count++;
}

void tide_push_add_metadata(struct tide_push_builder *b, const struct tide_metadata *m)
{
    tide_buf_bytes(&b->metadata, m->metric);
    tide_buf_byte(&b->metadata, (uint8_t)m->kind);
    tide_buf_bytes(&b->metadata, m->help);
    tide_buf_bytes(&b->metadata, m->unit);
    b->decoded_bytes += sizeof(*m);
    b->metadata_count++;
}

bool tide_push_builder_empty(const struct tide_push_builder *b)
{
    return b->series_count == 0 && b->sample_count == 0 && b->histogram_count == 0 &&
           b->exemplar_count == 0 && b->metadata_count == 0;
}

bool tide_push_builder_fits(const struct tide_push_builder *b)
{
    const size_t encoded = b->series.len + b->refs.len + b->values.len + b->histogram_refs.len +
                           b->histograms.len + b->exemplars.len +
                           b->metadata.len; /* And timestamps, which encoding tells. */
    const size_t decoded = b->decoded_bytes + b->refs.len + b->times.len + b->values.len +
                           b->histogram_refs.len + b->histogram_times.len +
                           b->histogram_count * sizeof(struct tide_slice);

    return encoded <= TIDE_PUSH_BYTES_MAX && decoded <= TIDE_PUSH_DECODED_BYTES_MAX;
}

static void empty_buf(struct tide_buf *buf)
{
    buf->len = 0;
    buf->failed = false;
}

void tide_push_builder_reset(struct tide_push_builder *b)
{
    empty_buf(&b->series);
    empty_buf(&b->refs);
    empty_buf(&b->times);
    empty_buf(&b->values);
    empty_buf(&b->histogram_refs);
    empty_buf(&b->histogram_times);
    empty_buf(&b->histograms);
    empty_buf(&b->exemplars);
    empty_buf(&b->metadata);
    b->series_count = 0;
    b->sample_count = 0;
    b->histogram_count = 0;
    b->exemplar_count = 0;
    b->metadata_count = 0;
    b->decoded_bytes = 0;
}

void tide_push_builder_deinit(struct tide_push_builder *b)
{
    tide_buf_deinit(&b->series);
    tide_buf_deinit(&b->refs);
    tide_buf_deinit(&b->times);
    tide_buf_deinit(&b->values);
    tide_buf_deinit(&b->histogram_refs);
    tide_buf_deinit(&b->histogram_times);
    tide_buf_deinit(&b->histograms);
    tide_buf_deinit(&b->exemplars);
    tide_buf_deinit(&b->metadata);
    *b = (struct tide_push_builder){0};
}

/* ---- Timestamps ---- */

/* Steps are differences modulo 2^64, so that any two timestamps have one. */
static int64_t time_step(int64_t from, int64_t to)
{
    return (int64_t)((uint64_t)to - (uint64_t)from);
}

static int64_t time_add(int64_t from, int64_t step)
{
    return (int64_t)((uint64_t)from + (uint64_t)step);
}

static size_t uvarint_bytes(uint64_t v)
{
    size_t bytes = 1;

    for (; v >= 0x80; v >>= 7)
        bytes++;
    return bytes;
}

static size_t step_bytes(int64_t step)
{
    return uvarint_bytes(((uint64_t)step << 1) ^ (uint64_t)(step >> 63));
}

static int64_t time_at(const struct tide_buf *times, uint32_t i)
{
    int64_t ts;

    memcpy(&ts, times->ptr + (size_t)i * sizeof(ts), sizeof(ts));
    return ts;
}

static uint32_t run_end(const struct tide_buf *times, uint32_t first, uint32_t count)
{
    int64_t ts = time_at(times, first);
    uint32_t i = first + 1;

    while (i < count && time_at(times, i) == ts)
        i++;
    return i;
}

static void encode_times(const struct tide_buf *times, uint32_t count, struct tide_buf *out)
{
    size_t runs_bytes = 0;
    size_t deltas_bytes = 0;
    size_t raw_bytes = (size_t)count * sizeof(int64_t);
    int64_t before = 0;
    uint32_t end;

    for (uint32_t i = 0; i < count; i = end) {
        size_t step = step_bytes(time_step(before, time_at(times, i)));

        end = run_end(times, i, count);
        runs_bytes += step + uvarint_bytes(end - i);
        deltas_bytes += step + (end - i - 1);
        before = time_at(times, i);
    }
    if (runs_bytes <= deltas_bytes && runs_bytes <= raw_bytes) {
        tide_buf_byte(out, TIMES_RUNS);
        before = 0;
        for (uint32_t i = 0; i < count; i = end) {
            end = run_end(times, i, count);
            tide_buf_varint(out, time_step(before, time_at(times, i)));
            tide_buf_uvarint(out, end - i);
            before = time_at(times, i);
        }
    } else if (deltas_bytes <= raw_bytes) {
        tide_buf_byte(out, TIMES_DELTAS);
        before = 0;
        for (uint32_t i = 0; i < count; i++) {
            tide_buf_varint(out, time_step(before, time_at(times, i)));
            before = time_at(times, i);
        }
    } else {
        tide_buf_byte(out, TIMES_RAW);
        tide_buf_slice(out, tide_buf_view(times));
    }
}

static enum tide_err decode_runs(struct tide_reader *r, int64_t *out, size_t count)
{
    int64_t ts = 0;
    size_t at = 0;

    while (at < count) {
        int64_t step;
        uint64_t len;
        enum tide_err err = tide_reader_varint(r, &step);

        if (err == TIDE_OK)
            err = tide_reader_uvarint(r, &len);
        if (err != TIDE_OK)
            return err;
        if (len == 0 || len > count - at)
            return TIDE_ERR_CORRUPT;
        ts = time_add(ts, step);
        for (size_t end = at + (size_t)len; at < end; at++)
            out[at] = ts;
    }
    return TIDE_OK;
}

static enum tide_err decode_deltas(struct tide_reader *r, int64_t *out, size_t count)
{
    int64_t ts = 0;

    for (size_t i = 0; i < count; i++) {
        int64_t step;
        enum tide_err err = tide_reader_varint(r, &step);

        if (err != TIDE_OK)
            return err;
        ts = time_add(ts, step);
        out[i] = ts;
    }
    return TIDE_OK;
}

/* Copies count items of item_bytes each out of the reader. */
static enum tide_err decode_column(struct tide_reader *r, void *out, size_t count,
                                   size_t item_bytes)
{
    struct tide_slice column;
    enum tide_err err = tide_reader_take(r, (uint64_t)count * item_bytes, &column);

    if (err == TIDE_OK && count > 0)
        memcpy(out, column.ptr, column.len);
    return err;
}

static enum tide_err decode_times(struct tide_reader *r, int64_t *out, size_t count)
{
    uint8_t form;
    enum tide_err err = tide_reader_u8(r, &form);

    if (err != TIDE_OK)
        return err;
    switch (form) {
    case TIMES_RUNS:
        return decode_runs(r, out, count);
    case TIMES_DELTAS:
        return decode_deltas(r, out, count);
    case TIMES_RAW:
        return decode_column(r, out, count, sizeof(*out));
    default:
        return TIDE_ERR_CORRUPT;
    }
}

/* ---- Encoding ---- */

enum tide_err tide_push_encode(const struct tide_push_builder *b, struct tide_slice tenant,
                               int64_t now_ms, struct tide_buf *out)
{
    size_t start = out->len;

    if (b->series.failed || b->refs.failed || b->times.failed || b->values.failed ||
        b->histogram_refs.failed || b->histogram_times.failed || b->histograms.failed ||
        b->exemplars.failed || b->metadata.failed)
        return TIDE_ERR_NO_MEMORY;
    if (!tide_push_builder_fits(b))
        return TIDE_ERR_TOO_LARGE;
    /* One allocation, as near as it can be told: timestamps are mostly a few bytes. */
    if (tide_buf_reserve(out, 64 + tenant.len + b->series.len + b->refs.len + b->values.len +
                                  b->histogram_refs.len + b->histograms.len + b->exemplars.len +
                                  b->metadata.len) == NULL)
        return TIDE_ERR_NO_MEMORY;
    tide_buf_byte(out, b->histogram_count > 0 ? PUSH_VERSION : PUSH_VERSION_FLOATS);
    tide_buf_bytes(out, tenant);
    tide_buf_varint(out, now_ms);
    tide_buf_uvarint(out, b->series_count);
    tide_buf_slice(out, tide_buf_view(&b->series));
    tide_buf_uvarint(out, b->sample_count);
    if (b->sample_count > 0) {
        tide_buf_slice(out, tide_buf_view(&b->refs));
        encode_times(&b->times, b->sample_count, out);
        tide_buf_slice(out, tide_buf_view(&b->values));
    }
    tide_buf_uvarint(out, b->exemplar_count);
    tide_buf_slice(out, tide_buf_view(&b->exemplars));
    tide_buf_uvarint(out, b->metadata_count);
    tide_buf_slice(out, tide_buf_view(&b->metadata));
    if (b->histogram_count > 0) {
        tide_buf_uvarint(out, b->histogram_count);
        tide_buf_slice(out, tide_buf_view(&b->histogram_refs));
        encode_times(&b->histogram_times, b->histogram_count, out);
        tide_buf_slice(out, tide_buf_view(&b->histograms));
    }
    if (out->failed)
        return TIDE_ERR_NO_MEMORY;
    if (out->len - start > TIDE_PUSH_BYTES_MAX) {
        out->len = start;
        return TIDE_ERR_TOO_LARGE;
    }
    return TIDE_OK;
}

/* ---- Decoding ---- */

static enum tide_err decode_series(struct tide_reader *r, struct tide_arena *arena,
                                   struct tide_push *out)
{
    struct tide_push_series *series;
    size_t count;
    enum tide_err err = tide_reader_count(r, SERIES_BYTES_MIN, &count);

    if (err != TIDE_OK)
        return err;
    series = tide_arena_alloc(arena, count * sizeof(*series));
    if (series == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        err = tide_reader_u64(r, &series[i].identity.hi);
        if (err == TIDE_OK)
            err = tide_reader_u64(r, &series[i].identity.lo);
        if (err == TIDE_OK)
            err = tide_labels_unpack(r, arena, &series[i].labels);
        if (err != TIDE_OK)
            return err;
    }
    out->series = series;
    out->series_count = (uint32_t)count;
    return TIDE_OK;
}

/* A reference of a new series must be one of this push. */
static bool ref_ok(const struct tide_push *push, uint32_t ref)
{
    return ref < TIDE_PUSH_NEW + push->series_count;
}

static bool refs_ok(const struct tide_push *push, const uint32_t *refs, size_t count)
{
    uint32_t highest = 0;

    for (size_t i = 0; i < count; i++) /* No branch: a maximum over the column. */
        highest = refs[i] > highest ? refs[i] : highest;
    return ref_ok(push, highest);
}

static enum tide_err decode_samples(struct tide_reader *r, struct tide_arena *arena,
                                    struct tide_push *out)
{
    uint32_t *refs;
    int64_t *times;
    uint64_t *bits;
    size_t count;
    enum tide_err err = tide_reader_count(r, SAMPLE_BYTES_MIN, &count);

    if (err != TIDE_OK || count == 0)
        return err;
    refs = tide_arena_alloc(arena, count * sizeof(*refs));
    times = tide_arena_alloc(arena, count * sizeof(*times));
    bits = tide_arena_alloc(arena, count * sizeof(*bits));
    if (refs == NULL || times == NULL || bits == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = decode_column(r, refs, count, sizeof(*refs));
    if (err == TIDE_OK)
        err = decode_times(r, times, count);
    if (err == TIDE_OK)
        err = decode_column(r, bits, count, sizeof(*bits));
    if (err != TIDE_OK)
        return err;
    if (!refs_ok(out, refs, count))
        return TIDE_ERR_CORRUPT;
    out->refs = refs;
    out->times_ms = times;
    out->bits = bits;
    out->sample_count = (uint32_t)count;
    return TIDE_OK;
}

/* The histograms themselves stay encoded: they are decoded one by one when they are applied, so
 * that a push takes little more memory than its bytes. */
static enum tide_err decode_histograms(struct tide_reader *r, struct tide_arena *arena,
                                       struct tide_push *out)
{
    struct tide_slice *histograms;
    uint32_t *refs;
    int64_t *times;
    size_t count;
    enum tide_err err = tide_reader_count(r, HISTOGRAM_BYTES_MIN, &count);

    if (err != TIDE_OK)
        return err;
    if (count == 0 || count > UINT32_MAX - out->sample_count)
        return TIDE_ERR_CORRUPT;
    refs = tide_arena_alloc(arena, count * sizeof(*refs));
    times = tide_arena_alloc(arena, count * sizeof(*times));
    histograms = tide_arena_alloc(arena, count * sizeof(*histograms));
    if (refs == NULL || times == NULL || histograms == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = decode_column(r, refs, count, sizeof(*refs));
    if (err == TIDE_OK)
        err = decode_times(r, times, count);
    for (size_t i = 0; i < count && err == TIDE_OK; i++) {
        struct tide_histogram h;
        const uint8_t *start = r->rest.ptr;

        err = tide_histogram_decode(r, NULL, &h);
        histograms[i] = (struct tide_slice){start, (size_t)(r->rest.ptr - start)};
    }
    if (err != TIDE_OK)
        return err;
    if (!refs_ok(out, refs, count))
        return TIDE_ERR_CORRUPT;
    out->histogram_refs = refs;
    out->histogram_times_ms = times;
    out->histograms = histograms;
    out->histogram_count = (uint32_t)count;
    return TIDE_OK;
}

static enum tide_err decode_exemplars(struct tide_reader *r, struct tide_arena *arena,
                                      struct tide_push *out)
{
    struct tide_push_exemplar *exemplars;
    size_t count;
    enum tide_err err = tide_reader_count(r, EXEMPLAR_BYTES_MIN, &count);

    if (err != TIDE_OK)
        return err;
    exemplars = tide_arena_alloc(arena, count * sizeof(*exemplars));
    if (exemplars == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        struct tide_exemplar *e = &exemplars[i].exemplar;

        err = tide_reader_u32(r, &exemplars[i].ref);
        if (err == TIDE_OK && !ref_ok(out, exemplars[i].ref))
            err = TIDE_ERR_CORRUPT;
        if (err == TIDE_OK)
            err = tide_labels_unpack(r, arena, &e->labels);
        if (err == TIDE_OK)
            err = tide_reader_varint(r, &e->ts_ms);
        if (err == TIDE_OK)
            err = tide_reader_u64(r, &e->bits);
        if (err != TIDE_OK)
            return err;
    }
    out->exemplars = exemplars;
    out->exemplar_count = (uint32_t)count;
    return TIDE_OK;
}

static enum tide_err decode_metadata(struct tide_reader *r, struct tide_arena *arena,
                                     struct tide_push *out)
{
    struct tide_metadata *metadata;
    size_t count;
    enum tide_err err = tide_reader_count(r, METADATA_BYTES_MIN, &count);

    if (err != TIDE_OK)
        return err;
    metadata = tide_arena_alloc(arena, count * sizeof(*metadata));
    if (metadata == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        uint8_t kind;

        err = tide_reader_bytes(r, &metadata[i].metric);
        if (err == TIDE_OK)
            err = tide_reader_u8(r, &kind);
        if (err == TIDE_OK && kind >= TIDE_KIND_COUNT)
            err = TIDE_ERR_CORRUPT;
        if (err == TIDE_OK)
            err = tide_reader_bytes(r, &metadata[i].help);
        if (err == TIDE_OK)
            err = tide_reader_bytes(r, &metadata[i].unit);
        if (err != TIDE_OK)
            return err;
        metadata[i].kind = (enum tide_metric_kind)kind;
    }
    out->metadata = metadata;
    out->metadata_count = (uint32_t)count;
    return TIDE_OK;
}

enum tide_err tide_push_decode(struct tide_slice bytes, struct tide_arena *arena,
                               struct tide_push *out)
{
    struct tide_reader r = tide_reader(bytes);
    struct tide_push push = {0};
    uint8_t version;
    enum tide_err err;

    if (bytes.len > TIDE_PUSH_BYTES_MAX)
        return TIDE_ERR_CORRUPT;
    err = tide_reader_u8(&r, &version);
    if (err == TIDE_OK && version != PUSH_VERSION_FLOATS && version != PUSH_VERSION)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err = tide_reader_bytes(&r, &push.tenant);
    if (err == TIDE_OK)
        err = tide_reader_varint(&r, &push.now_ms);
    if (err == TIDE_OK)
        err = decode_series(&r, arena, &push);
    if (err == TIDE_OK)
        err = decode_samples(&r, arena, &push);
    if (err == TIDE_OK)
        err = decode_exemplars(&r, arena, &push);
    if (err == TIDE_OK)
        err = decode_metadata(&r, arena, &push);
    if (err == TIDE_OK && version == PUSH_VERSION)
        err = decode_histograms(&r, arena, &push);
    if (err == TIDE_OK && r.rest.len > 0)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        *out = push;
    return err;
}
