/* Reads native histograms out of a remote_write body. The record is the same in both versions.
 * Source: prompb/types.proto, prompb/io/prometheus/write/v2/types.proto (Histogram). */
#include "write_scanner_private.h"

#include "tide/base/mem.h"

#include <math.h>

enum field {
    COUNT_INT = 1, /* Or COUNT_FLOAT: which one says of what kind the buckets are. */
    COUNT_FLOAT = 2,
    SUM = 3,
    SCHEMA = 4,
    ZERO_THRESHOLD = 5,
    ZERO_COUNT_INT = 6,
    ZERO_COUNT_FLOAT = 7,
    NEGATIVE_SPANS = 8,
    NEGATIVE_DELTAS = 9,
    NEGATIVE_COUNTS = 10,
    POSITIVE_SPANS = 11,
    POSITIVE_DELTAS = 12,
    POSITIVE_COUNTS = 13,
    RESET_HINT = 14,
    TIMESTAMP = 15,
    CUSTOM_VALUES = 16,
};

/* Spans, bounds or buckets kept of one record: more are not read, and refused. */
#define ITEMS_MAX TIDE_HISTOGRAM_BUCKETS_MAX

struct doubles {
    double *items;
    size_t count;
    size_t capacity;
};
struct spans {
    struct tide_span *items;
    size_t count;
    size_t capacity;
};
/* Buckets of one sign. */
struct side {
    struct spans spans;
    struct doubles buckets;
    uint64_t last;  /* Integer buckets: the count of the last one … */
    uint64_t total; /* … and of all. */
    bool has_deltas;
    bool has_counts;
};

struct write_histogram {
    struct side positive;
    struct side negative;
    struct doubles custom;
};

void tide__write_histogram_free(struct write_histogram *room)
{
    if (room == NULL)
        return;
    tide_mem_free(room->positive.spans.items);
    tide_mem_free(room->positive.buckets.items);
    tide_mem_free(room->negative.spans.items);
    tide_mem_free(room->negative.buckets.items);
    tide_mem_free(room->custom.items);
    tide_mem_free(room);
}

/* What is read of one record beside the arrays. */
struct record {
    struct wire w;
    enum tide_err err; /* Not the record's fault. */
    uint64_t count_int;
    uint64_t zero_count_int;
    uint64_t count_bits;
    uint64_t zero_count_bits;
    uint64_t sum_bits;
    uint64_t threshold_bits;
    int64_t schema;
    uint64_t reset;
    uint64_t ts;
    bool is_float;
};

static int64_t unzigzag(uint64_t v)
{
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static bool add_double(struct record *r, struct doubles *list, double v)
{
    if (list->count >= ITEMS_MAX)
        return wire_fail(&r->w, "it has too many buckets");
    r->err = tide_mem_grow((void **)&list->items, &list->capacity, list->count + 1,
                           sizeof(*list->items));
    if (r->err != TIDE_OK)
        return false;
    list->items[list->count++] = v;
    return true;
}

/* Buckets of integer histograms are differences to the bucket before. */
static bool add_delta(struct record *r, struct side *side, uint64_t wire)
{
    int64_t delta = unzigzag(wire);
    uint64_t magnitude = delta < 0 ? -(uint64_t)delta : (uint64_t)delta;

    if (delta < 0 ? magnitude > side->last : magnitude > UINT64_MAX - side->last)
        return wire_fail(&r->w, delta < 0 ? "a bucket has a negative count" : "a bucket overflows");
    side->last += (uint64_t)delta;
    if (side->last > UINT64_MAX - side->total)
        return wire_fail(&r->w, "its buckets overflow");
    side->total += side->last;
    return add_double(r, &side->buckets, (double)side->last);
}

/* One field of deltas: packed or a single one. */
static bool read_deltas(struct record *r, uint32_t tag, struct side *side)
{
    struct tide_slice packed;
    struct wire p;
    uint64_t v;

    side->has_deltas = true;
    if ((tag & 7) == WIRE_VARINT)
        return wire_uvarint(&r->w, &v) && add_delta(r, side, v);
    if (!wire_bytes(&r->w, &packed))
        return false;
    p = wire_of(packed);
    while (p.at < p.end) {
        if (!wire_uvarint(&p, &v))
            return wire_fail(&r->w, p.why);
        if (!add_delta(r, side, v))
            return false;
    }
    return true;
}

static bool read_doubles(struct record *r, uint32_t tag, struct doubles *list)
{
    struct tide_slice packed;
    uint64_t bits;

    if ((tag & 7) == WIRE_64)
        return wire_fixed64(&r->w, &bits) && add_double(r, list, tide_value(bits));
    if (!wire_bytes(&r->w, &packed))
        return false;
    if (packed.len % 8 != 0)
        return wire_fail(&r->w, "a list of doubles is cut off");
    for (size_t at = 0; at < packed.len; at += 8)
        if (!add_double(r, list, tide_value(wire_load64(packed.ptr + at))))
            return false;
    return true;
}

/* BucketSpan: offset = 1 (sint32), length = 2 (uint32). */
static bool read_span(struct record *r, struct spans *list)
{
    struct tide_slice bytes;
    struct wire m;
    uint64_t offset = 0, length = 0;

    if (!wire_bytes(&r->w, &bytes))
        return false;
    m = wire_of(bytes);
    while (m.at < m.end) {
        uint32_t tag;
        bool ok = wire_tag(&m, &tag);

        if (ok && tag == WIRE_TAG(1, WIRE_VARINT))
            ok = wire_uvarint(&m, &offset);
        else if (ok && tag == WIRE_TAG(2, WIRE_VARINT))
            ok = wire_uvarint(&m, &length);
        else if (ok)
            ok = wire_other(&m, tag, 2);
        if (!ok)
            return wire_fail(&r->w, m.why);
    }
    if (unzigzag(offset) < INT32_MIN || unzigzag(offset) > INT32_MAX || length > UINT32_MAX)
        return wire_fail(&r->w, "a span is out of range");
    if (list->count >= ITEMS_MAX)
        return wire_fail(&r->w, "it has too many spans");
    r->err = tide_mem_grow((void **)&list->items, &list->capacity, list->count + 1,
                           sizeof(*list->items));
    if (r->err != TIDE_OK)
        return false;
    list->items[list->count++] = (struct tide_span){(int32_t)unzigzag(offset), (uint32_t)length};
    return true;
}

/* Whether a field of repeated numbers stands there, packed or not. */
static bool is_list(uint32_t tag, enum field field, enum wire_type item)
{
    return tag == WIRE_TAG(field, WIRE_BYTES) || tag == WIRE_TAG(field, item);
}

/* The numbers; the lists are read by read_field(). */
static bool read_number(struct record *r, uint32_t tag)
{
    uint64_t v = 0;

    switch (tag) {
    case WIRE_TAG(COUNT_INT, WIRE_VARINT):
        r->is_float = false;
        return wire_uvarint(&r->w, &r->count_int);
    case WIRE_TAG(COUNT_FLOAT, WIRE_64):
        r->is_float = true;
        return wire_fixed64(&r->w, &r->count_bits);
    case WIRE_TAG(SUM, WIRE_64):
        return wire_fixed64(&r->w, &r->sum_bits);
    case WIRE_TAG(SCHEMA, WIRE_VARINT):
        if (!wire_uvarint(&r->w, &v))
            return false;
        r->schema = unzigzag(v);
        return true;
    case WIRE_TAG(ZERO_THRESHOLD, WIRE_64):
        return wire_fixed64(&r->w, &r->threshold_bits);
    case WIRE_TAG(ZERO_COUNT_INT, WIRE_VARINT):
        return wire_uvarint(&r->w, &r->zero_count_int);
    case WIRE_TAG(ZERO_COUNT_FLOAT, WIRE_64):
        return wire_fixed64(&r->w, &r->zero_count_bits);
    case WIRE_TAG(RESET_HINT, WIRE_VARINT):
        return wire_uvarint(&r->w, &r->reset);
    case WIRE_TAG(TIMESTAMP, WIRE_VARINT):
        return wire_uvarint(&r->w, &r->ts);
    default:
        return wire_other(&r->w, tag, CUSTOM_VALUES);
    }
}

static bool read_field(struct record *r, uint32_t tag, struct write_histogram *room)
{
    if (tag == WIRE_TAG(NEGATIVE_SPANS, WIRE_BYTES))
        return read_span(r, &room->negative.spans);
    if (tag == WIRE_TAG(POSITIVE_SPANS, WIRE_BYTES))
        return read_span(r, &room->positive.spans);
    if (is_list(tag, NEGATIVE_DELTAS, WIRE_VARINT))
        return read_deltas(r, tag, &room->negative);
    if (is_list(tag, POSITIVE_DELTAS, WIRE_VARINT))
        return read_deltas(r, tag, &room->positive);
    if (is_list(tag, NEGATIVE_COUNTS, WIRE_64)) {
        room->negative.has_counts = true;
        return read_doubles(r, tag, &room->negative.buckets);
    }
    if (is_list(tag, POSITIVE_COUNTS, WIRE_64)) {
        room->positive.has_counts = true;
        return read_doubles(r, tag, &room->positive.buckets);
    }
    if (is_list(tag, CUSTOM_VALUES, WIRE_64))
        return read_doubles(r, tag, &room->custom);
    return read_number(r, tag);
}

static void side_reset(struct side *side)
{
    side->spans.count = 0;
    side->buckets.count = 0;
    side->last = side->total = 0;
    side->has_deltas = side->has_counts = false;
}

/* What is wrong with the counts of the record, or NULL. */
static const char *check_kinds(const struct record *r, const struct write_histogram *room)
{
    const struct side *positive = &room->positive, *negative = &room->negative;
    uint64_t left;

    if (r->is_float)
        return positive->has_deltas || negative->has_deltas
                   ? "its count is a float and its buckets are integers"
                   : NULL;
    if (positive->has_counts || negative->has_counts)
        return "its count is an integer and its buckets are floats";
    /* Subtracted one by one, as their sum may overflow. */
    left = r->count_int;
    if (positive->total > left || negative->total > left - positive->total ||
        r->zero_count_int > left - positive->total - negative->total)
        return "its buckets hold more than its count";
    if (!isnan(tide_value(r->sum_bits)) &&
        left - positive->total - negative->total != r->zero_count_int)
        return "its buckets hold less than its count";
    return NULL;
}

static struct tide_histogram histogram_of(const struct record *r,
                                          const struct write_histogram *room)
{
    return (struct tide_histogram){
        .reset =
            r->reset <= TIDE_RESET_GAUGE ? (enum tide_counter_reset)r->reset : TIDE_RESET_UNKNOWN,
        .schema = (int32_t)r->schema,
        .zero_threshold = tide_value(r->threshold_bits),
        .zero_count = r->is_float ? tide_value(r->zero_count_bits) : (double)r->zero_count_int,
        .count = r->is_float ? tide_value(r->count_bits) : (double)r->count_int,
        .sum = tide_value(r->sum_bits),
        .positive_spans = room->positive.spans.items,
        .negative_spans = room->negative.spans.items,
        .positive_span_count = (uint32_t)room->positive.spans.count,
        .negative_span_count = (uint32_t)room->negative.spans.count,
        .positive = room->positive.buckets.items,
        .negative = room->negative.buckets.items,
        .positive_count = (uint32_t)room->positive.buckets.count,
        .negative_count = (uint32_t)room->negative.buckets.count,
        .custom_values = room->custom.items,
        .custom_count = (uint32_t)room->custom.count,
    };
}

enum tide_err tide_write_histogram(struct tide_write_scanner *scanner,
                                   const struct tide_write_item *item, size_t k, int64_t *ts_ms,
                                   struct tide_histogram *out, struct tide_diag *diag)
{
    const bool v1 = scanner->version == TIDE_WRITE_V1;
    struct tide_slice bytes = tide__write_record(
        &scanner->histogram_cursor, item,
        WIRE_TAG(v1 ? V1_SERIES_HISTOGRAMS : V2_SERIES_HISTOGRAMS, WIRE_BYTES), k);
    struct record r = {.w = wire_of(bytes)};
    struct write_histogram *room = scanner->histogram;
    struct tide_histogram h;
    const char *why = NULL;
    enum tide_err err;

    if (room == NULL) {
        room = scanner->histogram = tide_mem_new(sizeof(*room));
        if (room == NULL)
            return TIDE_ERR_NO_MEMORY;
    }
    side_reset(&room->positive);
    side_reset(&room->negative);
    room->custom.count = 0;
    while (r.w.at < r.w.end) {
        uint32_t tag;

        if (!wire_tag(&r.w, &tag) || !read_field(&r, tag, room)) {
            if (r.err != TIDE_OK)
                return r.err;
            why = r.w.why;
            break;
        }
    }
    if (why == NULL && tide_value_is_stale(tide_value(r.sum_bits))) {
        *out = (struct tide_histogram){.sum = tide_value(TIDE_STALE_BITS)};
        *ts_ms = (int64_t)r.ts;
        return TIDE_OK;
    }
    if (why == NULL && (r.schema < INT32_MIN || r.schema > INT32_MAX))
        why = "its schema is out of range";
    if (why == NULL)
        why = check_kinds(&r, room);
    if (why != NULL)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "histogram %zu: %s", k, why);
    h = histogram_of(&r, room);
    err = tide_histogram_check(&h, diag);
    if (err != TIDE_OK)
        return err;
    *out = h;
    *ts_ms = (int64_t)r.ts;
    return TIDE_OK;
}
