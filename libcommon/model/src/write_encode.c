#include "tide/model/write_encode.h"

#include "wire_private.h"

#include "tide/base/hash.h"
#include "tide/base/mem.h"

#include <snappy-c.h>

/* ---- Fields ---- */

static size_t uvarint_bytes(uint64_t v)
{
    size_t bytes = 1;

    for (; v >= 0x80; v >>= 7)
        bytes++;
    return bytes;
}

static void put_bytes(struct tide_buf *out, uint32_t field, struct tide_slice bytes)
{
    tide_buf_uvarint(out, WIRE_TAG(field, WIRE_BYTES));
    tide_buf_bytes(out, bytes);
}

static void put_uvarint(struct tide_buf *out, uint32_t field, uint64_t v)
{
    if (v == 0) /* proto3: a zero is not sent. */
        return;
    tide_buf_uvarint(out, WIRE_TAG(field, WIRE_VARINT));
    tide_buf_uvarint(out, v);
}

static void put_double(struct tide_buf *out, uint32_t field, uint64_t bits)
{
    if (bits == 0)
        return;
    tide_buf_uvarint(out, WIRE_TAG(field, WIRE_64));
    tide_buf_u64(out, bits);
}

static size_t bytes_size(struct tide_slice bytes)
{
    return 1 + uvarint_bytes(bytes.len) + bytes.len;
}

static size_t uvarint_size(uint64_t v)
{
    return v == 0 ? 0 : 1 + uvarint_bytes(v);
}

static size_t double_size(uint64_t bits)
{
    return bits == 0 ? 0 : 9;
}

static size_t record_size(size_t content)
{
    return 1 + uvarint_bytes(content) + content;
}

static void put_record(struct tide_buf *out, uint32_t field, size_t content)
{
    tide_buf_uvarint(out, WIRE_TAG(field, WIRE_BYTES));
    tide_buf_uvarint(out, content);
}

/* ---- Shared by both versions ---- */

static size_t sample_content(const struct tide_sample *s)
{
    return double_size(s->bits) + uvarint_size((uint64_t)s->ts_ms);
}

static void put_samples(struct tide_buf *out, const struct tide_sample *samples, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        put_record(out, 2, sample_content(&samples[i]));
        put_double(out, 1, samples[i].bits);
        put_uvarint(out, 2, (uint64_t)samples[i].ts_ms);
    }
}

static size_t samples_size(const struct tide_sample *samples, size_t count)
{
    size_t size = 0;

    for (size_t i = 0; i < count; i++)
        size += record_size(sample_content(&samples[i]));
    return size;
}

static uint64_t zigzag(int64_t v)
{
    return ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
}

static void put_spans(struct tide_buf *out, uint32_t field, const struct tide_span *spans,
                      uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t offset = zigzag(spans[i].offset);

        put_record(out, field, uvarint_size(offset) + uvarint_size(spans[i].length));
        put_uvarint(out, 1, offset);
        put_uvarint(out, 2, spans[i].length);
    }
}

/* Buckets packed: differences of integers, or doubles. */
static void put_buckets(struct tide_buf *out, uint32_t delta_field, uint32_t count_field,
                        const double *counts, uint32_t count, bool integers)
{
    struct tide_buf packed = {0};
    int64_t before = 0;

    if (count == 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        if (integers)
            tide_buf_varint(&packed, (int64_t)counts[i] - before);
        else
            tide_buf_u64(&packed, tide_value_bits(counts[i]));
        before = integers ? (int64_t)counts[i] : 0;
    }
    put_bytes(out, integers ? delta_field : count_field, tide_buf_view(&packed));
    out->failed = out->failed || packed.failed;
    tide_buf_deinit(&packed);
}

/* The fields of a Histogram record. A zero count is sent: it tells the kind. */
static void put_histogram(struct tide_buf *out, int64_t ts_ms, const struct tide_histogram *h,
                          bool integers)
{
    struct tide_buf custom = {0};

    if (integers) {
        tide_buf_uvarint(out, WIRE_TAG(1, WIRE_VARINT));
        tide_buf_uvarint(out, (uint64_t)h->count);
    } else {
        tide_buf_uvarint(out, WIRE_TAG(2, WIRE_64));
        tide_buf_u64(out, tide_value_bits(h->count));
    }
    put_double(out, 3, tide_value_bits(h->sum));
    put_uvarint(out, 4, zigzag(h->schema));
    put_double(out, 5, tide_value_bits(h->zero_threshold));
    if (integers)
        put_uvarint(out, 6, (uint64_t)h->zero_count);
    else
        put_double(out, 7, tide_value_bits(h->zero_count));
    put_spans(out, 8, h->negative_spans, h->negative_span_count);
    put_buckets(out, 9, 10, h->negative, h->negative_count, integers);
    put_spans(out, 11, h->positive_spans, h->positive_span_count);
    put_buckets(out, 12, 13, h->positive, h->positive_count, integers);
    put_uvarint(out, 14, h->reset);
    put_uvarint(out, 15, (uint64_t)ts_ms);
    for (uint32_t i = 0; i < h->custom_count; i++)
        tide_buf_u64(&custom, tide_value_bits(h->custom_values[i]));
    if (custom.len > 0)
        put_bytes(out, 16, tide_buf_view(&custom));
    out->failed = out->failed || custom.failed;
    tide_buf_deinit(&custom);
}

static void put_histograms(struct tide_buf *out, uint32_t field,
                           const struct tide_write_histograms *histograms)
{
    struct tide_buf record = {0};

    for (size_t i = 0; i < histograms->count; i++) {
        record.len = 0;
        put_histogram(&record, histograms->times_ms[i], &histograms->items[i],
                      histograms->integers);
        put_bytes(out, field, tide_buf_view(&record));
    }
    out->failed = out->failed || record.failed;
    tide_buf_deinit(&record);
}

/* ---- 1.0 ---- */

static size_t label_content(const struct tide_label *label)
{
    return bytes_size(label->name) + bytes_size(label->value);
}

static size_t labels_size(struct tide_labels labels)
{
    size_t size = 0;

    for (size_t i = 0; i < labels.count; i++)
        size += record_size(label_content(&labels.pairs[i]));
    return size;
}

void tide_write_encode_labels(struct tide_buf *out, struct tide_labels labels)
{
    for (size_t i = 0; i < labels.count; i++) {
        put_record(out, 1, label_content(&labels.pairs[i]));
        put_bytes(out, 1, labels.pairs[i].name);
        put_bytes(out, 2, labels.pairs[i].value);
    }
}

static size_t exemplar_content_v1(const struct tide_exemplar *e)
{
    return labels_size(e->labels) + double_size(e->bits) + uvarint_size((uint64_t)e->ts_ms);
}

void tide_write_encode_run(struct tide_buf *body, struct tide_slice label_records,
                           const struct tide_sample *samples, size_t sample_count,
                           const struct tide_exemplar *exemplars, size_t exemplar_count)
{
    size_t content = label_records.len + samples_size(samples, sample_count);

    for (size_t i = 0; i < exemplar_count; i++)
        content += record_size(exemplar_content_v1(&exemplars[i]));
    put_record(body, 1, content);
    tide_buf_slice(body, label_records);
    put_samples(body, samples, sample_count);
    for (size_t i = 0; i < exemplar_count; i++) {
        put_record(body, 3, exemplar_content_v1(&exemplars[i]));
        tide_write_encode_labels(body, exemplars[i].labels);
        put_double(body, 2, exemplars[i].bits);
        put_uvarint(body, 3, (uint64_t)exemplars[i].ts_ms);
    }
}

void tide_write_encode_series(struct tide_buf *body, struct tide_labels labels,
                              const struct tide_sample *samples, size_t sample_count,
                              const struct tide_exemplar *exemplars, size_t exemplar_count)
{
    struct tide_buf records = {0};

    tide_write_encode_labels(&records, labels);
    tide_write_encode_run(body, tide_buf_view(&records), samples, sample_count, exemplars,
                          exemplar_count);
    body->failed = body->failed || records.failed;
    tide_buf_deinit(&records);
}

void tide_write_encode_histograms(struct tide_buf *body, struct tide_labels labels,
                                  const struct tide_write_histograms *histograms)
{
    struct tide_buf series = {0};

    tide_write_encode_labels(&series, labels);
    put_histograms(&series, 4, histograms);
    put_bytes(body, 1, tide_buf_view(&series));
    body->failed = body->failed || series.failed;
    tide_buf_deinit(&series);
}

void tide_write_encode_metadata(struct tide_buf *body, const struct tide_metadata *metadata)
{
    put_record(body, 3,
               uvarint_size(metadata->kind) + bytes_size(metadata->metric) +
                   bytes_size(metadata->help) + bytes_size(metadata->unit));
    put_uvarint(body, 1, metadata->kind);
    put_bytes(body, 2, metadata->metric);
    put_bytes(body, 4, metadata->help);
    put_bytes(body, 5, metadata->unit);
}

/* ---- 2.0 ---- */

/* A symbol: where its text stands in the encoder's text buffer. */
struct v2_symbol {
    size_t at;
    size_t len;
};

struct tide_write_v2_encoder {
    struct tide_buf text;
    struct v2_symbol *symbols;
    size_t symbol_count;
    size_t symbol_capacity;
    uint32_t *slots; /* Symbol + 1 by hash, 0 empty; slot_count is a power of two. */
    size_t slot_count;
    struct tide_buf series; /* Finished TimeSeries records. */
    struct tide_buf record; /* The one at work. */
    struct tide_buf refs;
    bool failed;
};

struct tide_write_v2_encoder *tide_write_v2_encoder_new(void)
{
    return tide_mem_new(sizeof(struct tide_write_v2_encoder));
}

void tide_write_v2_encoder_free(struct tide_write_v2_encoder *encoder)
{
    if (encoder == NULL)
        return;
    tide_buf_deinit(&encoder->text);
    tide_buf_deinit(&encoder->series);
    tide_buf_deinit(&encoder->record);
    tide_buf_deinit(&encoder->refs);
    tide_mem_free(encoder->symbols);
    tide_mem_free(encoder->slots);
    tide_mem_free(encoder);
}

static struct tide_slice symbol_text(const struct tide_write_v2_encoder *encoder, size_t symbol)
{
    const struct v2_symbol *s = &encoder->symbols[symbol];

    if (s->len == 0)
        return (struct tide_slice){0};
    return (struct tide_slice){encoder->text.ptr + s->at, s->len};
}

/* The slot of text, or the empty one where it belongs. */
static uint32_t *find_slot(const struct tide_write_v2_encoder *encoder, struct tide_slice text)
{
    size_t mask = encoder->slot_count - 1;
    size_t at = (size_t)tide_hash64(text, 0) & mask;

    while (encoder->slots[at] != 0 &&
           !tide_slice_eq(symbol_text(encoder, encoder->slots[at] - 1), text))
        at = (at + 1) & mask;
    return &encoder->slots[at];
}

static bool grow_slots(struct tide_write_v2_encoder *encoder)
{
    size_t count = encoder->slot_count == 0 ? 64 : encoder->slot_count * 2;
    uint32_t *slots = tide_mem_array(count, sizeof(*slots));

    if (slots == NULL)
        return false;
    tide_mem_free(encoder->slots);
    encoder->slots = slots;
    encoder->slot_count = count;
    for (size_t i = 0; i < encoder->symbol_count; i++)
        *find_slot(encoder, symbol_text(encoder, i)) = (uint32_t)i + 1;
    return true;
}

static bool add_symbol(struct tide_write_v2_encoder *encoder, struct tide_slice text)
{
    if (tide_mem_grow((void **)&encoder->symbols, &encoder->symbol_capacity,
                      encoder->symbol_count + 1, sizeof(*encoder->symbols)) != TIDE_OK)
        return false;
    encoder->symbols[encoder->symbol_count] = (struct v2_symbol){encoder->text.len, text.len};
    tide_buf_slice(&encoder->text, text);
    if (encoder->text.failed)
        return false;
    encoder->symbol_count++;
    return true;
}

/* The reference of text, 0 when it is empty or cannot be added. */
static uint64_t symbol_ref(struct tide_write_v2_encoder *encoder, struct tide_slice text)
{
    uint32_t *slot;

    if (encoder->failed)
        return 0;
    if (encoder->symbol_count * 2 >= encoder->slot_count && !grow_slots(encoder))
        goto fail;
    if (encoder->symbol_count == 0) { /* Symbol 0 is the empty string. */
        if (!add_symbol(encoder, (struct tide_slice){0}))
            goto fail;
        *find_slot(encoder, (struct tide_slice){0}) = 1;
    }
    slot = find_slot(encoder, text);
    if (*slot == 0) {
        if (!add_symbol(encoder, text))
            goto fail;
        *slot = (uint32_t)encoder->symbol_count;
    }
    return *slot - 1;

fail:
    encoder->failed = true;
    return 0;
}

/* labels_refs, packed. */
static void put_refs(struct tide_write_v2_encoder *encoder, struct tide_buf *out,
                     struct tide_labels labels)
{
    encoder->refs.len = 0;
    for (size_t i = 0; i < labels.count; i++) {
        tide_buf_uvarint(&encoder->refs, symbol_ref(encoder, labels.pairs[i].name));
        tide_buf_uvarint(&encoder->refs, symbol_ref(encoder, labels.pairs[i].value));
    }
    put_bytes(out, 1, tide_buf_view(&encoder->refs));
}

void tide_write_v2_encode_series(struct tide_write_v2_encoder *encoder, struct tide_labels labels,
                                 const struct tide_sample *samples, size_t sample_count,
                                 const struct tide_exemplar *exemplars, size_t exemplar_count,
                                 const struct tide_metadata *metadata)
{
    struct tide_buf *record = &encoder->record;
    struct tide_buf inner = {0};

    record->len = 0;
    put_refs(encoder, record, labels);
    put_samples(record, samples, sample_count);
    for (size_t i = 0; i < exemplar_count; i++) {
        inner.len = 0;
        put_refs(encoder, &inner, exemplars[i].labels);
        put_double(&inner, 2, exemplars[i].bits);
        put_uvarint(&inner, 3, (uint64_t)exemplars[i].ts_ms);
        put_bytes(record, 4, tide_buf_view(&inner));
    }
    if (metadata != NULL) {
        inner.len = 0;
        put_uvarint(&inner, 1, metadata->kind);
        put_uvarint(&inner, 3, symbol_ref(encoder, metadata->help));
        put_uvarint(&inner, 4, symbol_ref(encoder, metadata->unit));
        put_bytes(record, 5, tide_buf_view(&inner));
    }
    put_bytes(&encoder->series, 5, tide_buf_view(record));
    encoder->failed = encoder->failed || inner.failed || record->failed || encoder->series.failed ||
                      encoder->refs.failed;
    tide_buf_deinit(&inner);
}

void tide_write_v2_encode_histograms(struct tide_write_v2_encoder *encoder,
                                     struct tide_labels labels,
                                     const struct tide_write_histograms *histograms)
{
    encoder->record.len = 0;
    put_refs(encoder, &encoder->record, labels);
    put_histograms(&encoder->record, 3, histograms);
    put_bytes(&encoder->series, 5, tide_buf_view(&encoder->record));
    encoder->failed =
        encoder->failed || encoder->record.failed || encoder->series.failed || encoder->refs.failed;
}

enum tide_err tide_write_v2_encode_end(struct tide_write_v2_encoder *encoder, struct tide_buf *out)
{
    (void)symbol_ref(encoder, (struct tide_slice){0}); /* The table is never empty. */
    for (size_t i = 0; i < encoder->symbol_count; i++)
        put_bytes(out, 4, symbol_text(encoder, i));
    tide_buf_slice(out, tide_buf_view(&encoder->series));
    if (encoder->failed || out->failed)
        return TIDE_ERR_NO_MEMORY;
    encoder->series.len = 0;
    encoder->text.len = 0;
    encoder->symbol_count = 0;
    memset(encoder->slots, 0, encoder->slot_count * sizeof(*encoder->slots));
    return TIDE_OK;
}

/* ---- Snappy ---- */

enum tide_err tide_write_compress(struct tide_slice body, struct tide_buf *out)
{
    size_t len = snappy_max_compressed_length(body.len);
    uint8_t *to = tide_buf_reserve(out, len);

    if (to == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (snappy_compress((const char *)body.ptr, body.len, (char *)to, &len) != SNAPPY_OK)
        return TIDE_ERR_INTERNAL;
    out->len += len;
    return TIDE_OK;
}
