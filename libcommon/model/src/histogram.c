/* Native histograms: checks, copies and the stored form (docs/format/histogram.md). */
#include "tide/model/histogram.h"

#include "tide/model/sample.h"

#include <inttypes.h>
#include <math.h>

/* Far beyond what a double needs (about 2^19 at the finest schema), and sums of them still fit. */
#define INDEX_MAX (INT64_C(1) << 30)

enum flag {
    FLAG_RESET = 3, /* Two bits: enum tide_counter_reset. */
    FLAG_STALE = 4, /* Nothing follows, and no other flag is set. */
    FLAG_INTEGERS = 8
};

static bool is_custom(const struct tide_histogram *h)
{
    return h->schema == TIDE_HISTOGRAM_SCHEMA_CUSTOM;
}

static bool is_schema(int64_t schema)
{
    return schema == TIDE_HISTOGRAM_SCHEMA_CUSTOM ||
           (schema >= TIDE_HISTOGRAM_SCHEMA_MIN && schema <= TIDE_HISTOGRAM_SCHEMA_MAX);
}

bool tide_histogram_is_stale(const struct tide_histogram *h)
{
    return tide_value_is_stale(h->sum);
}

/* ---- Shape: what decoding and checking hold to ---- */

/* Where a walk along spans has come to. */
struct walk {
    int64_t next; /* Index after the last bucket. */
    uint32_t buckets;
    uint32_t spans;
};

/* Takes one span in; NULL, or what is wrong with it. */
static const char *walk_span(struct walk *w, const struct tide_histogram *h,
                             const struct tide_span *span)
{
    if (span->offset < 0 && (w->spans > 0 || is_custom(h)))
        return "a span has a negative offset";
    if (span->length > TIDE_HISTOGRAM_BUCKETS_MAX - w->buckets)
        return "it has too many buckets";
    w->next += (int64_t)span->offset + span->length;
    w->buckets += span->length;
    w->spans++;
    if (span->offset < -INDEX_MAX || w->next > INDEX_MAX)
        return "a bucket index is out of range";
    if (is_custom(h) && w->next > (int64_t)h->custom_count + 1)
        return "it has fewer custom bounds than buckets";
    return NULL;
}

/* Takes in the custom bound after before; NULL, or what is wrong with it. */
static const char *check_bound(double before, double bound)
{
    if (isnan(bound))
        return "a custom bound is NaN";
    if (bound <= before)
        return "custom bounds do not rise";
    if (isinf(bound) && bound > 0)
        return "the last custom bound is +Inf";
    return NULL;
}

/* ---- Check ---- */

static const char *check_spans(const struct tide_histogram *h, const struct tide_span *spans,
                               uint32_t span_count, uint32_t bucket_count)
{
    struct walk w = {0};

    for (uint32_t i = 0; i < span_count; i++) {
        const char *why = walk_span(&w, h, &spans[i]);

        if (why != NULL)
            return why;
    }
    return w.buckets == bucket_count ? NULL : "its spans are for another number of buckets";
}

static const char *check_counts(const double *counts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (counts[i] < 0)
            return "a bucket has a negative count";
    return NULL;
}

static const char *check_custom(const struct tide_histogram *h)
{
    if (h->zero_count != 0 || h->zero_threshold != 0)
        return "custom buckets have no zero bucket";
    if (h->negative_span_count > 0 || h->negative_count > 0)
        return "custom buckets have no negative ones";
    if (h->custom_count > TIDE_HISTOGRAM_BUCKETS_MAX)
        return "it has too many custom bounds";
    for (uint32_t i = 0; i < h->custom_count; i++) {
        const char *why;

        if (i == 0 && isinf(h->custom_values[0]) && h->custom_values[0] < 0)
            continue; /* Allowed: the first bucket then holds -Inf only. */
        why = check_bound(i == 0 ? -INFINITY : h->custom_values[i - 1], h->custom_values[i]);
        if (why != NULL)
            return why;
    }
    return NULL;
}

static const char *check_exponential(const struct tide_histogram *h)
{
    const char *why;

    if (h->custom_count > 0)
        return "custom bounds with an exponential schema";
    if (isnan(h->zero_threshold) || h->zero_threshold < 0)
        return "its zero threshold is negative or NaN";
    if (h->zero_count < 0)
        return "its zero bucket has a negative count";
    if (h->negative_count > TIDE_HISTOGRAM_BUCKETS_MAX - h->positive_count)
        return "it has too many buckets";
    why = check_spans(h, h->negative_spans, h->negative_span_count, h->negative_count);
    return why != NULL ? why : check_counts(h->negative, h->negative_count);
}

enum tide_err tide_histogram_check(const struct tide_histogram *h, struct tide_diag *diag)
{
    const char *why = NULL;

    if (tide_histogram_is_stale(h))
        return TIDE_OK;
    if (!is_schema(h->schema))
        return tide_diag_err(diag, TIDE_ERR_INVALID, "histogram: its schema %" PRId32 " is unknown",
                             h->schema);
    if (h->count < 0)
        why = "its count is negative";
    else if (h->positive_span_count > TIDE_HISTOGRAM_BUCKETS_MAX ||
             h->negative_span_count > TIDE_HISTOGRAM_BUCKETS_MAX)
        why = "it has too many spans";
    else if (h->positive_count > TIDE_HISTOGRAM_BUCKETS_MAX)
        why = "it has too many buckets";
    if (why == NULL)
        why = is_custom(h) ? check_custom(h) : check_exponential(h);
    if (why == NULL)
        why = check_spans(h, h->positive_spans, h->positive_span_count, h->positive_count);
    if (why == NULL)
        why = check_counts(h->positive, h->positive_count);
    return why == NULL ? TIDE_OK : tide_diag_err(diag, TIDE_ERR_INVALID, "histogram: %s", why);
}

/* ---- Equality ---- */

static bool same_bits(double a, double b)
{
    return tide_value_bits(a) == tide_value_bits(b);
}

static bool same_values(const double *a, uint32_t a_count, const double *b, uint32_t b_count)
{
    return a_count == b_count && (a_count == 0 || memcmp(a, b, a_count * sizeof(*a)) == 0);
}

static bool same_spans(const struct tide_span *a, uint32_t a_count, const struct tide_span *b,
                       uint32_t b_count)
{
    if (a_count != b_count)
        return false;
    for (uint32_t i = 0; i < a_count; i++)
        if (a[i].offset != b[i].offset || a[i].length != b[i].length)
            return false;
    return true;
}

bool tide_histogram_eq(const struct tide_histogram *a, const struct tide_histogram *b)
{
    if (tide_histogram_is_stale(a) || tide_histogram_is_stale(b))
        return tide_histogram_is_stale(a) == tide_histogram_is_stale(b);
    if (a->reset != b->reset || a->schema != b->schema || !same_bits(a->count, b->count) ||
        !same_bits(a->sum, b->sum) ||
        !same_spans(a->positive_spans, a->positive_span_count, b->positive_spans,
                    b->positive_span_count) ||
        !same_values(a->positive, a->positive_count, b->positive, b->positive_count))
        return false;
    if (is_custom(a))
        return same_values(a->custom_values, a->custom_count, b->custom_values, b->custom_count);
    return same_bits(a->zero_threshold, b->zero_threshold) &&
           same_bits(a->zero_count, b->zero_count) &&
           same_spans(a->negative_spans, a->negative_span_count, b->negative_spans,
                      b->negative_span_count) &&
           same_values(a->negative, a->negative_count, b->negative, b->negative_count);
}

/* ---- Copy ---- */

static const void *copy_array(struct tide_arena *arena, const void *items, size_t bytes, bool *ok)
{
    void *copy;

    if (bytes == 0)
        return NULL;
    copy = tide_arena_alloc(arena, bytes);
    if (copy == NULL)
        *ok = false;
    else
        memcpy(copy, items, bytes);
    return copy;
}

enum tide_err tide_histogram_copy(struct tide_arena *arena, const struct tide_histogram *h,
                                  struct tide_histogram *out)
{
    struct tide_histogram copy = *h;
    bool ok = true;

    copy.positive_spans = copy_array(arena, h->positive_spans,
                                     h->positive_span_count * sizeof(*h->positive_spans), &ok);
    copy.negative_spans = copy_array(arena, h->negative_spans,
                                     h->negative_span_count * sizeof(*h->negative_spans), &ok);
    copy.positive = copy_array(arena, h->positive, h->positive_count * sizeof(*h->positive), &ok);
    copy.negative = copy_array(arena, h->negative, h->negative_count * sizeof(*h->negative), &ok);
    copy.custom_values =
        copy_array(arena, h->custom_values, h->custom_count * sizeof(*h->custom_values), &ok);
    if (!ok)
        return TIDE_ERR_NO_MEMORY;
    *out = copy;
    return TIDE_OK;
}

/* ---- Encode ---- */

static void put_spans(const struct tide_span *spans, uint32_t count, struct tide_buf *out)
{
    tide_buf_uvarint(out, count);
    for (uint32_t i = 0; i < count; i++) {
        tide_buf_varint(out, spans[i].offset);
        tide_buf_uvarint(out, spans[i].length);
    }
}

void tide_histogram_encode_layout(const struct tide_histogram *h, struct tide_buf *out)
{
    tide_buf_varint(out, h->schema);
    if (is_custom(h)) {
        tide_buf_uvarint(out, h->custom_count);
        for (uint32_t i = 0; i < h->custom_count; i++)
            tide_buf_u64(out, tide_value_bits(h->custom_values[i]));
    } else {
        tide_buf_u64(out, tide_value_bits(h->zero_threshold));
    }
    put_spans(h->positive_spans, h->positive_span_count, out);
    if (!is_custom(h))
        put_spans(h->negative_spans, h->negative_span_count, out);
}

bool tide_histogram_is_integer(double count)
{
    return count >= 0 && count <= (double)TIDE_HISTOGRAM_INTEGER_MAX &&
           same_bits((double)(uint64_t)count, count);
}

static bool are_integers(const double *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (!tide_histogram_is_integer(values[i]))
            return false;
    return true;
}

static void put_counts(const double *counts, uint32_t count, bool integers, struct tide_buf *out)
{
    for (uint32_t i = 0; i < count; i++) {
        if (integers)
            tide_buf_uvarint(out, (uint64_t)counts[i]);
        else
            tide_buf_u64(out, tide_value_bits(counts[i]));
    }
}

void tide_histogram_encode(const struct tide_histogram *h, struct tide_buf *out)
{
    bool integers;

    if (tide_histogram_is_stale(h)) {
        tide_buf_byte(out, FLAG_STALE);
        return;
    }
    integers = tide_histogram_is_integer(h->count) &&
               (is_custom(h) || tide_histogram_is_integer(h->zero_count)) &&
               are_integers(h->positive, h->positive_count) &&
               (is_custom(h) || are_integers(h->negative, h->negative_count));
    tide_buf_byte(out, (uint8_t)((unsigned)h->reset | (integers ? FLAG_INTEGERS : 0u)));
    tide_histogram_encode_layout(h, out);
    tide_buf_u64(out, tide_value_bits(h->sum));
    put_counts(&h->count, 1, integers, out);
    if (!is_custom(h))
        put_counts(&h->zero_count, 1, integers, out);
    put_counts(h->positive, h->positive_count, integers, out);
    if (!is_custom(h))
        put_counts(h->negative, h->negative_count, integers, out);
}

/* ---- Decode ---- */

/* Room for an array that is read next: NULL without an arena. */
static enum tide_err make_array(struct tide_arena *arena, size_t count, size_t bytes_each,
                                void **out)
{
    *out = NULL;
    if (arena == NULL || count == 0)
        return TIDE_OK;
    *out = tide_arena_alloc(arena, count * bytes_each);
    return *out == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}

static enum tide_err read_double(struct tide_reader *r, double *out)
{
    uint64_t bits;
    enum tide_err err = tide_reader_u64(r, &bits);

    if (err == TIDE_OK)
        *out = tide_value(bits);
    return err;
}

static enum tide_err read_bounds(struct tide_reader *r, struct tide_arena *arena,
                                 struct tide_histogram *out)
{
    double *values, before = -INFINITY;
    void *memory;
    size_t count = 0;
    enum tide_err err = tide_reader_count(r, sizeof(uint64_t), &count);

    if (err == TIDE_OK && count > TIDE_HISTOGRAM_BUCKETS_MAX)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err = make_array(arena, count, sizeof(*values), &memory);
    if (err != TIDE_OK)
        return err;
    values = memory;
    for (size_t i = 0; i < count; i++) {
        double bound = 0;

        err = read_double(r, &bound);
        if (err == TIDE_OK && !(i == 0 && isinf(bound) && bound < 0) &&
            check_bound(before, bound) != NULL)
            err = TIDE_ERR_CORRUPT;
        if (err != TIDE_OK)
            return err;
        if (values != NULL)
            values[i] = bound;
        before = bound;
    }
    out->custom_values = values;
    out->custom_count = (uint32_t)count;
    return TIDE_OK;
}

static enum tide_err read_spans(struct tide_reader *r, struct tide_arena *arena,
                                const struct tide_histogram *h, const struct tide_span **spans,
                                uint32_t *span_count, uint32_t *bucket_count)
{
    struct tide_span *items;
    void *memory;
    struct walk w = {0};
    size_t count = 0;
    enum tide_err err = tide_reader_count(r, 2, &count);

    if (err == TIDE_OK && count > TIDE_HISTOGRAM_BUCKETS_MAX)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err = make_array(arena, count, sizeof(*items), &memory);
    if (err != TIDE_OK)
        return err;
    items = memory;
    for (size_t i = 0; i < count; i++) {
        struct tide_span span;
        int64_t offset = 0;
        uint64_t length = 0;

        err = tide_reader_varint(r, &offset);
        if (err == TIDE_OK)
            err = tide_reader_uvarint(r, &length);
        if (err != TIDE_OK)
            return err;
        if (offset < INT32_MIN || offset > INT32_MAX || length > UINT32_MAX)
            return TIDE_ERR_CORRUPT;
        span = (struct tide_span){(int32_t)offset, (uint32_t)length};
        if (walk_span(&w, h, &span) != NULL)
            return TIDE_ERR_CORRUPT;
        if (items != NULL)
            items[i] = span;
    }
    *spans = items;
    *span_count = (uint32_t)count;
    *bucket_count = w.buckets;
    return TIDE_OK;
}

enum tide_err tide_histogram_decode_layout(struct tide_reader *r, struct tide_arena *arena,
                                           struct tide_histogram *out)
{
    struct tide_histogram h = {0};
    int64_t schema;
    enum tide_err err = tide_reader_varint(r, &schema);

    if (err != TIDE_OK)
        return err;
    if (!is_schema(schema))
        return TIDE_ERR_CORRUPT;
    h.schema = (int32_t)schema;
    if (is_custom(&h))
        err = read_bounds(r, arena, &h);
    else
        err = read_double(r, &h.zero_threshold);
    if (err == TIDE_OK && !(h.zero_threshold >= 0))
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err =
            read_spans(r, arena, &h, &h.positive_spans, &h.positive_span_count, &h.positive_count);
    if (err == TIDE_OK && !is_custom(&h))
        err =
            read_spans(r, arena, &h, &h.negative_spans, &h.negative_span_count, &h.negative_count);
    if (err == TIDE_OK && h.negative_count > TIDE_HISTOGRAM_BUCKETS_MAX - h.positive_count)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        *out = h;
    return err;
}

static enum tide_err read_count(struct tide_reader *r, bool integers, double *out)
{
    uint64_t v;
    enum tide_err err;

    if (!integers)
        return read_double(r, out);
    err = tide_reader_uvarint(r, &v);
    if (err != TIDE_OK)
        return err;
    if (v > TIDE_HISTOGRAM_INTEGER_MAX)
        return TIDE_ERR_CORRUPT;
    *out = (double)v;
    return TIDE_OK;
}

static enum tide_err read_counts(struct tide_reader *r, struct tide_arena *arena, bool integers,
                                 uint32_t count, const double **out)
{
    double *values;
    void *memory;
    enum tide_err err = make_array(arena, count, sizeof(*values), &memory);

    values = memory;
    for (uint32_t i = 0; i < count && err == TIDE_OK; i++) {
        double v = 0;

        err = read_count(r, integers, &v);
        if (values != NULL)
            values[i] = v;
    }
    if (err == TIDE_OK)
        *out = values;
    return err;
}

enum tide_err tide_histogram_decode(struct tide_reader *r, struct tide_arena *arena,
                                    struct tide_histogram *out)
{
    struct tide_reader at = *r;
    struct tide_histogram h = {0};
    bool integers;
    uint8_t flags;
    enum tide_err err = tide_reader_u8(&at, &flags);

    if (err != TIDE_OK)
        return err;
    if (flags == FLAG_STALE) {
        *out = (struct tide_histogram){.sum = tide_value(TIDE_STALE_BITS)};
        *r = at;
        return TIDE_OK;
    }
    if ((flags & ~(unsigned)(FLAG_RESET | FLAG_INTEGERS)) != 0)
        return TIDE_ERR_CORRUPT;
    integers = (flags & FLAG_INTEGERS) != 0;
    err = tide_histogram_decode_layout(&at, arena, &h);
    if (err == TIDE_OK)
        err = read_double(&at, &h.sum);
    if (err == TIDE_OK && tide_histogram_is_stale(&h)) /* There is another form for it. */
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err = read_count(&at, integers, &h.count);
    if (err == TIDE_OK && !is_custom(&h))
        err = read_count(&at, integers, &h.zero_count);
    if (err == TIDE_OK)
        err = read_counts(&at, arena, integers, h.positive_count, &h.positive);
    if (err == TIDE_OK && !is_custom(&h))
        err = read_counts(&at, arena, integers, h.negative_count, &h.negative);
    if (err != TIDE_OK)
        return err;
    h.reset = (enum tide_counter_reset)(flags & FLAG_RESET);
    *r = at;
    *out = h;
    return TIDE_OK;
}
