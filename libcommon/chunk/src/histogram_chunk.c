/* The codec of native histograms. Bytes, not bits: a histogram's cost is its buckets, and most of
 * their differences fit one byte. */
#include "tide/chunk/histogram_chunk.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"
#include "tide/model/sample.h"

enum flag {
    FLAG_RESET = 3, /* Two bits: enum tide_counter_reset. */
    FLAG_STALE = 4, /* Nothing but the time follows. */
    FLAG_INTEGERS = 8,
    FLAG_LAYOUT = 16, /* A layout stands here; counts start from zero again. */
};

static bool has_zero_bucket(const struct tide_histogram *h)
{
    return h->schema != TIDE_HISTOGRAM_SCHEMA_CUSTOM;
}

/* The counts of a histogram as they are told: count, zero bucket, positive and negative ones. */
struct parts {
    const double *items[4];
    size_t counts[4];
    size_t total;
};

static struct parts parts_of(const struct tide_histogram *h)
{
    bool zero = has_zero_bucket(h);
    struct parts parts = {.items = {&h->count, &h->zero_count, h->positive, h->negative},
                          .counts = {1, zero, h->positive_count, zero ? h->negative_count : 0}};

    for (size_t k = 0; k < 4; k++)
        parts.total += parts.counts[k];
    return parts;
}

static bool are_integers(const struct parts *parts)
{
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < parts->counts[k]; i++)
            if (!tide_histogram_is_integer(parts->items[k][i]))
                return false;
    return true;
}

/* Steps are differences modulo 2^64, so that any two timestamps have one. */
static int64_t minus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a - (uint64_t)b);
}

static int64_t plus(int64_t a, int64_t b)
{
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

/* The integer that a difference is taken from. integers: all of that sample were. */
static int64_t base_of(double before, bool integers)
{
    return integers || tide_histogram_is_integer(before) ? (int64_t)before : 0;
}

/* ---- Append ---- */

void tide_histogram_chunk_deinit(struct tide_histogram_chunk *chunk)
{
    tide_buf_deinit(&chunk->stream);
    tide_buf_deinit(&chunk->layout);
    tide_mem_free(chunk->counts);
    *chunk = (struct tide_histogram_chunk){0};
}

/* The bytes of x without the zero ones at both ends. */
static void put_xor(struct tide_buf *out, uint64_t x)
{
    unsigned lead, len, trail;

    if (x == 0) {
        tide_buf_byte(out, 0);
        return;
    }
    lead = (unsigned)__builtin_clzll(x) / 8;
    trail = (unsigned)__builtin_ctzll(x) / 8;
    len = 8 - lead - trail;
    tide_buf_byte(out, (uint8_t)(lead << 4 | len));
    for (x >>= 8 * trail; len > 0; len--, x >>= 8)
        tide_buf_byte(out, (uint8_t)x);
}

/* Appends the histogram's layout unless it is the one there is. Sets *fresh. */
static enum tide_err put_layout(struct tide_histogram_chunk *chunk, const struct tide_histogram *h,
                                size_t count_count, bool *fresh)
{
    struct tide_buf *out = &chunk->stream;
    size_t start = out->len;
    struct tide_slice layout;
    enum tide_err err;

    tide_histogram_encode_layout(h, out);
    err = tide_buf_ok(out);
    if (err != TIDE_OK)
        return err;
    layout = (struct tide_slice){out->ptr + start, out->len - start};
    *fresh = !tide_slice_eq(layout, tide_buf_view(&chunk->layout));
    if (!*fresh) {
        out->len = start;
        return TIDE_OK;
    }
    tide_buf_deinit(&chunk->layout);
    tide_buf_slice(&chunk->layout, layout);
    err = tide_buf_ok(&chunk->layout);
    if (err == TIDE_OK)
        err = tide_mem_grow((void **)&chunk->counts, &chunk->count_capacity, count_count,
                            sizeof(*chunk->counts));
    if (err != TIDE_OK)
        return err;
    for (size_t i = 0; i < count_count; i++)
        chunk->counts[i] = 0;
    chunk->integers = true;
    chunk->decoded_bytes +=
        (h->positive_span_count + h->negative_span_count) * sizeof(*h->positive_spans) +
        h->custom_count * sizeof(*h->custom_values);
    return TIDE_OK;
}

static enum tide_err put_histogram(struct tide_histogram_chunk *chunk, int64_t step,
                                   const struct tide_histogram *h)
{
    struct tide_buf *out = &chunk->stream;
    const struct parts parts = parts_of(h);
    const bool integers = are_integers(&parts);
    const size_t start = out->len;
    double *before;
    bool fresh = false;
    enum tide_err err;

    tide_buf_byte(out, 0); /* The flags, once they are known. */
    tide_buf_varint(out, step);
    err = put_layout(chunk, h, parts.total, &fresh);
    if (err != TIDE_OK)
        return err;
    out->ptr[start] = (uint8_t)((unsigned)h->reset | (integers ? FLAG_INTEGERS : 0u) |
                                (fresh ? FLAG_LAYOUT : 0u));
    put_xor(out, tide_value_bits(h->sum) ^ chunk->sum_bits);
    chunk->sum_bits = tide_value_bits(h->sum);
    before = chunk->counts;
    for (size_t k = 0; k < 4; k++)
        for (size_t i = 0; i < parts.counts[k]; i++, before++) {
            double count = parts.items[k][i];

            if (integers)
                tide_buf_varint(out, (int64_t)count - base_of(*before, chunk->integers));
            else
                put_xor(out, tide_value_bits(count) ^ tide_value_bits(*before));
            *before = count;
        }
    chunk->integers = integers;
    chunk->decoded_bytes += parts.total * sizeof(*before);
    return TIDE_OK;
}

enum tide_err tide_histogram_chunk_append(struct tide_histogram_chunk *chunk, int64_t ts_ms,
                                          const struct tide_histogram *h)
{
    int64_t delta_ms = chunk->count == 0 ? ts_ms : minus(ts_ms, chunk->last_ms);
    int64_t step = minus(delta_ms, chunk->delta_ms);
    enum tide_err err = TIDE_OK;

    TIDE_ASSERT(chunk->count == 0 || ts_ms > chunk->last_ms);
    if (tide_histogram_is_stale(h)) {
        tide_buf_byte(&chunk->stream, FLAG_STALE);
        tide_buf_varint(&chunk->stream, step);
    } else {
        err = put_histogram(chunk, step, h);
    }
    if (err == TIDE_OK)
        err = tide_buf_ok(&chunk->stream);
    if (err != TIDE_OK)
        return err;
    /* The delta of the second sample is told in full: a timestamp tells nothing about it. */
    chunk->delta_ms = chunk->count == 0 ? 0 : delta_ms;
    if (chunk->count == 0)
        chunk->first_ms = ts_ms;
    chunk->last_ms = ts_ms;
    chunk->count++;
    /* The histogram, its address in a column, its time. */
    chunk->decoded_bytes += sizeof(*h) + sizeof(void *) + sizeof(ts_ms);
    return TIDE_OK;
}

/* ---- Decode ---- */

static enum tide_err read_xor(struct tide_reader *r, uint64_t *out)
{
    struct tide_slice bytes;
    uint64_t x = 0;
    uint8_t head;
    unsigned lead, len;
    enum tide_err err = tide_reader_u8(r, &head);

    *out = 0;
    if (err != TIDE_OK || head == 0)
        return err;
    lead = head >> 4;
    len = head & 15;
    if (len == 0 || lead + len > 8)
        return TIDE_ERR_CORRUPT;
    err = tide_reader_take(r, len, &bytes);
    if (err != TIDE_OK)
        return err;
    for (unsigned i = 0; i < len; i++)
        x |= (uint64_t)bytes.ptr[i] << (8 * i);
    *out = x << (8 * (8 - lead - len));
    return TIDE_OK;
}

/* A difference: nearly always one byte. */
static inline enum tide_err read_difference(struct tide_reader *r, int64_t *out)
{
    if (r->rest.len > 0 && *r->rest.ptr < 0x80) {
        unsigned v = *r->rest.ptr;

        *out = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
        r->rest.ptr++;
        r->rest.len--;
        return TIDE_OK;
    }
    return tide_reader_varint(r, out);
}

/* Integers; before_integers: all those before were, too. */
static enum tide_err read_integers(struct tide_reader *r, const double *before,
                                   bool before_integers, size_t count, double *out)
{
    for (size_t i = 0; i < count; i++) {
        int64_t base = before == NULL ? 0 : base_of(before[i], before_integers), difference;
        enum tide_err err = read_difference(r, &difference);

        if (err != TIDE_OK)
            return err;
        /* Compared before they are added: both ends of the range are far from overflow. */
        if (difference < -base || difference > (int64_t)TIDE_HISTOGRAM_INTEGER_MAX - base)
            return TIDE_ERR_CORRUPT;
        out[i] = (double)(base + difference);
    }
    return TIDE_OK;
}

static enum tide_err read_floats(struct tide_reader *r, const double *before, size_t count,
                                 double *out)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t x;
        enum tide_err err = read_xor(r, &x);

        if (err != TIDE_OK)
            return err;
        out[i] = tide_value(x ^ (before == NULL ? 0 : tide_value_bits(before[i])));
    }
    return TIDE_OK;
}

/* What decoding carries from sample to sample. */
struct state {
    struct tide_reader r;
    struct tide_arena *arena;
    struct tide_histogram layout;
    bool has_layout;
    const double *counts; /* Of the last histogram with that layout; NULL: zeros. */
    bool integers;        /* What they all are. */
    uint64_t sum_bits;
};

static enum tide_err read_histogram(struct state *s, uint8_t flags, struct tide_histogram *out)
{
    struct tide_histogram h;
    double *counts;
    uint64_t x = 0;
    size_t count;
    enum tide_err err = TIDE_OK;

    if (flags & FLAG_LAYOUT) {
        err = tide_histogram_decode_layout(&s->r, s->arena, &s->layout);
        s->has_layout = true;
        s->counts = NULL;
    }
    if (err == TIDE_OK && !s->has_layout)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err = read_xor(&s->r, &x);
    if (err != TIDE_OK)
        return err;
    s->sum_bits ^= x;
    h = s->layout;
    count = parts_of(&h).total;
    if (count > s->r.rest.len) /* Each takes a byte: before memory is spent on them. */
        return TIDE_ERR_CORRUPT;
    counts = tide_arena_alloc(s->arena, count * sizeof(*counts));
    if (counts == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = flags & FLAG_INTEGERS ? read_integers(&s->r, s->counts, s->integers, count, counts)
                                : read_floats(&s->r, s->counts, count, counts);
    if (err != TIDE_OK)
        return err;
    s->counts = counts;
    s->integers = (flags & FLAG_INTEGERS) != 0;
    h.reset = (enum tide_counter_reset)(flags & FLAG_RESET);
    h.sum = tide_value(s->sum_bits);
    h.count = *counts++;
    if (has_zero_bucket(&h))
        h.zero_count = *counts++;
    h.positive = counts;
    h.negative = counts + h.positive_count;
    if (tide_histogram_is_stale(&h)) /* There is another form for it. */
        return TIDE_ERR_CORRUPT;
    *out = h;
    return TIDE_OK;
}

enum tide_err tide_histogram_chunk_decode(struct tide_slice stream, size_t count,
                                          struct tide_arena *arena, int64_t *times_ms,
                                          struct tide_histogram *out)
{
    struct state s = {.r = tide_reader(stream), .arena = arena};
    int64_t delta_ms = 0;

    for (size_t i = 0; i < count; i++) {
        uint8_t flags;
        int64_t step;
        enum tide_err err = tide_reader_u8(&s.r, &flags);

        if (err == TIDE_OK)
            err = tide_reader_varint(&s.r, &step);
        if (err != TIDE_OK)
            return err;
        if (i == 0) {
            times_ms[0] = step;
        } else {
            delta_ms = plus(delta_ms, step);
            times_ms[i] = plus(times_ms[i - 1], delta_ms);
            if (times_ms[i] <= times_ms[i - 1])
                return TIDE_ERR_CORRUPT;
        }
        if (flags == FLAG_STALE) {
            out[i] = (struct tide_histogram){.sum = tide_value(TIDE_STALE_BITS)};
            continue;
        }
        if ((flags & ~(unsigned)(FLAG_RESET | FLAG_INTEGERS | FLAG_LAYOUT)) != 0)
            return TIDE_ERR_CORRUPT;
        err = read_histogram(&s, flags, &out[i]);
        if (err != TIDE_OK)
            return err;
    }
    return s.r.rest.len == 0 ? TIDE_OK : TIDE_ERR_CORRUPT;
}
