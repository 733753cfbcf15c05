#include "tide/model/remote_read.h"

#include "wire_private.h"

#include "tide/base/hash.h"

/* Sums of a time and a lookback must not overflow. */
#define TIME_MS_MAX (INT64_MAX / 4)

enum response_type { RESPONSE_SAMPLES = 0, RESPONSE_STREAMED_XOR_CHUNKS = 1 };

/* ---- Requests ---- */

/* How often a field of bytes stands in a message. False: w->why. */
static bool count_fields(struct wire w, uint32_t field, size_t *out, const char **why)
{
    struct tide_slice bytes;
    uint32_t tag;

    *out = 0;
    while (w.at < w.end) {
        if (!wire_tag(&w, &tag) ||
            !(tag == WIRE_TAG(field, WIRE_BYTES) ? wire_bytes(&w, &bytes) : wire_skip(&w, tag))) {
            *why = w.why;
            return false;
        }
        *out += tag == WIRE_TAG(field, WIRE_BYTES);
    }
    return true;
}

static enum tide_err malformed(const char *why, struct tide_diag *diag)
{
    return tide_diag_err(diag, TIDE_ERR_INVALID, "the read request is malformed: %s", why);
}

static enum tide_err parse_matcher(struct tide_slice message, struct tide_arena *arena,
                                   struct tide_matcher *out, struct tide_diag *diag)
{
    static const enum tide_match_op ops[] = {TIDE_MATCH_EQ, TIDE_MATCH_NE, TIDE_MATCH_RE,
                                             TIDE_MATCH_NRE};
    struct tide_slice name = {NULL, 0}, value = {NULL, 0};
    struct wire w = wire_of(message);
    uint64_t type = 0;
    uint32_t tag;
    bool ok = true;

    while (ok && w.at < w.end) {
        ok = wire_tag(&w, &tag);
        if (!ok)
            break;
        switch (tag) {
        case WIRE_TAG(1, WIRE_VARINT):
            ok = wire_uvarint(&w, &type);
            break;
        case WIRE_TAG(2, WIRE_BYTES):
            ok = wire_bytes(&w, &name);
            break;
        case WIRE_TAG(3, WIRE_BYTES):
            ok = wire_bytes(&w, &value);
            break;
        default:
            ok = wire_other(&w, tag, 3);
            break;
        }
    }
    if (!ok)
        return malformed(w.why, diag);
    if (type >= sizeof(ops) / sizeof(ops[0]))
        return tide_diag_err(diag, TIDE_ERR_INVALID, "a matcher has an unknown type");
    if (name.len == 0)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "a matcher has no label name");
    if (!tide_slice_is_utf8(name) || !tide_slice_is_utf8(value))
        return tide_diag_err(diag, TIDE_ERR_INVALID, "a matcher is not UTF-8");
    return tide_matcher_init(out, ops[type], name, value, arena, diag);
}

static int64_t within(uint64_t bits)
{
    const int64_t ms = (int64_t)bits;

    return ms > TIME_MS_MAX ? TIME_MS_MAX : ms < -TIME_MS_MAX ? -TIME_MS_MAX : ms;
}

/* Matchers that are made are counted in out, also when a later one fails. */
static enum tide_err parse_query(struct tide_slice message, struct tide_arena *arena,
                                 struct tide_read_query *out, struct tide_diag *diag)
{
    struct wire w = wire_of(message);
    struct tide_slice bytes;
    const char *why;
    size_t count;
    uint64_t v;
    uint32_t tag;
    enum tide_err err = TIDE_OK;

    if (!count_fields(w, 3, &count, &why))
        return malformed(why, diag);
    if (count > TIDE_READ_MATCHERS_MAX)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "a query has more than %d matchers",
                             TIDE_READ_MATCHERS_MAX);
    out->matchers = tide_arena_new_array(arena, count + 1, sizeof(*out->matchers));
    if (out->matchers == NULL)
        return TIDE_ERR_NO_MEMORY;
    while (err == TIDE_OK && w.at < w.end) {
        bool ok = wire_tag(&w, &tag);

        if (ok && tag == WIRE_TAG(1, WIRE_VARINT)) {
            ok = wire_uvarint(&w, &v);
            if (ok)
                out->start_ms = within(v);
        } else if (ok && tag == WIRE_TAG(2, WIRE_VARINT)) {
            ok = wire_uvarint(&w, &v);
            if (ok)
                out->end_ms = within(v);
        } else if (ok && tag == WIRE_TAG(3, WIRE_BYTES)) {
            ok = wire_bytes(&w, &bytes);
            if (ok)
                err = parse_matcher(bytes, arena, &out->matchers[out->matcher_count], diag);
            out->matcher_count += ok && err == TIDE_OK;
        } else if (ok) {
            ok = wire_other(&w, tag, 3);
        }
        if (!ok)
            err = malformed(w.why, diag);
    }
    return err;
}

/* What the client accepts, in the order it prefers; a type it does not tell is SAMPLES. */
struct accepted {
    bool any;
    bool chosen;
    bool streamed;
};

static void accept(struct accepted *accepted, uint64_t type)
{
    accepted->any = true;
    if (accepted->chosen || (type != RESPONSE_SAMPLES && type != RESPONSE_STREAMED_XOR_CHUNKS))
        return;
    accepted->chosen = true;
    accepted->streamed = type == RESPONSE_STREAMED_XOR_CHUNKS;
}

static bool accept_packed(struct accepted *accepted, struct tide_slice bytes, const char **why)
{
    struct wire w = wire_of(bytes);
    uint64_t type;

    while (w.at < w.end) {
        if (!wire_uvarint(&w, &type)) {
            *why = w.why;
            return false;
        }
        accept(accepted, type);
    }
    return true;
}

static enum tide_err parse_request(struct wire w, struct tide_arena *arena,
                                   struct tide_read_request *out, struct tide_diag *diag)
{
    struct accepted accepted = {.any = false};
    struct tide_slice bytes;
    uint64_t type;
    uint32_t tag;
    enum tide_err err = TIDE_OK;

    while (err == TIDE_OK && w.at < w.end) {
        bool ok = wire_tag(&w, &tag);

        if (ok && tag == WIRE_TAG(1, WIRE_BYTES)) {
            ok = wire_bytes(&w, &bytes);
            if (ok)
                err = parse_query(bytes, arena, &out->queries[out->query_count++], diag);
        } else if (ok && tag == WIRE_TAG(2, WIRE_VARINT)) {
            ok = wire_uvarint(&w, &type);
            if (ok)
                accept(&accepted, type);
        } else if (ok && tag == WIRE_TAG(2, WIRE_BYTES)) {
            ok = wire_bytes(&w, &bytes) && accept_packed(&accepted, bytes, &w.why);
        } else if (ok) {
            ok = wire_other(&w, tag, 2);
        }
        if (!ok)
            err = malformed(w.why, diag);
    }
    if (err == TIDE_OK && accepted.any && !accepted.chosen)
        err = tide_diag_err(diag, TIDE_ERR_INVALID, "none of the accepted response types is known");
    out->streamed = accepted.streamed;
    return err;
}

enum tide_err tide_read_request_parse(struct tide_slice body, struct tide_arena *arena,
                                      struct tide_read_request *out, struct tide_diag *diag)
{
    const char *why;
    size_t count;
    enum tide_err err;

    *out = (struct tide_read_request){.queries = NULL};
    if (!count_fields(wire_of(body), 1, &count, &why))
        return malformed(why, diag);
    if (count > TIDE_READ_QUERIES_MAX)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "the request has more than %d queries",
                             TIDE_READ_QUERIES_MAX);
    out->queries = tide_arena_new_array(arena, count + 1, sizeof(*out->queries));
    if (out->queries == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = parse_request(wire_of(body), arena, out, diag);
    if (err != TIDE_OK)
        tide_read_request_release(out);
    return err;
}

void tide_read_request_release(struct tide_read_request *request)
{
    for (size_t i = 0; i < request->query_count; i++) {
        struct tide_read_query *query = &request->queries[i];

        for (size_t m = 0; m < query->matcher_count; m++)
            tide_matcher_release(&query->matchers[m]);
    }
    request->query_count = 0;
}

/* ---- Chunks ---- */

/* Bits from the most significant on. */
struct bits {
    struct tide_buf *out;
    uint64_t pending; /* The low `count` bits wait. */
    unsigned count;   /* Under 8 between calls. */
};

static void put_bits(struct bits *bits, uint64_t v, unsigned count)
{
    while (count > 0) {
        const unsigned room = 8 - bits->count;
        const unsigned n = count < room ? count : room;

        bits->pending = (bits->pending << n) | ((v >> (count - n)) & ((1u << n) - 1));
        bits->count += n;
        count -= n;
        if (bits->count == 8) {
            tide_buf_byte(bits->out, (uint8_t)bits->pending);
            bits->pending = 0;
            bits->count = 0;
        }
    }
}

static void put_uvarint(struct bits *bits, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        put_bits(bits, (v & 0x7f) | 0x80, 8);
    put_bits(bits, v, 8);
}

static bool fits(int64_t v, unsigned bits)
{
    const int64_t half = (int64_t)1 << (bits - 1);

    return -(half - 1) <= v && v <= half;
}

/* The change of the distance between timestamps. */
static void put_change(struct bits *bits, int64_t change)
{
    if (change == 0) {
        put_bits(bits, 0, 1);
    } else if (fits(change, 14)) {
        put_bits(bits, 2, 2);
        put_bits(bits, (uint64_t)change, 14);
    } else if (fits(change, 17)) {
        put_bits(bits, 6, 3);
        put_bits(bits, (uint64_t)change, 17);
    } else if (fits(change, 20)) {
        put_bits(bits, 14, 4);
        put_bits(bits, (uint64_t)change, 20);
    } else {
        put_bits(bits, 15, 4);
        put_bits(bits, (uint64_t)change, 64);
    }
}

static unsigned leading_zeros(uint64_t v) /* v is not 0. */
{
    unsigned n = 0;

    for (uint64_t bit = (uint64_t)1 << 63; (v & bit) == 0; bit >>= 1)
        n++;
    return n;
}

static unsigned trailing_zeros(uint64_t v) /* v is not 0. */
{
    unsigned n = 0;

    for (; (v & 1) == 0; v >>= 1)
        n++;
    return n;
}

/* The window of bits that differed last. */
struct window {
    bool set;
    unsigned leading;
    unsigned trailing;
};

static void put_value(struct bits *bits, struct window *window, uint64_t before, uint64_t value)
{
    const uint64_t changed = before ^ value;
    unsigned leading, trailing, width;

    if (changed == 0) {
        put_bits(bits, 0, 1);
        return;
    }
    put_bits(bits, 1, 1);
    leading = leading_zeros(changed);
    trailing = trailing_zeros(changed);
    if (leading > 31) /* Five bits tell it. */
        leading = 31;
    if (window->set && leading >= window->leading && trailing >= window->trailing) {
        put_bits(bits, 0, 1);
    } else {
        *window = (struct window){true, leading, trailing};
        width = 64 - leading - trailing;
        put_bits(bits, 1, 1);
        put_bits(bits, leading, 5);
        put_bits(bits, width & 63, 6); /* 64 does not fit: it is told as 0. */
    }
    put_bits(bits, changed >> window->trailing, 64 - window->leading - window->trailing);
}

void tide_xor_chunk_encode(const int64_t *times_ms, const double *values, size_t count,
                           struct tide_buf *out)
{
    struct bits bits = {.out = out};
    struct window window = {.set = false};
    uint64_t distance = 0;

    put_bits(&bits, count, 16);
    for (size_t i = 0; i < count; i++) {
        const uint64_t time = (uint64_t)times_ms[i];

        if (i == 0) {
            /* Zigzag. */
            put_uvarint(&bits, (time << 1) ^ (times_ms[0] < 0 ? UINT64_MAX : 0));
            put_bits(&bits, tide_value_bits(values[0]), 64);
            continue;
        }
        if (i == 1)
            put_uvarint(&bits, time - (uint64_t)times_ms[0]);
        else
            put_change(&bits, (int64_t)(time - (uint64_t)times_ms[i - 1] - distance));
        distance = time - (uint64_t)times_ms[i - 1];
        put_value(&bits, &window, tide_value_bits(values[i - 1]), tide_value_bits(values[i]));
    }
    if (bits.count > 0)
        put_bits(&bits, 0, 8 - bits.count);
}

/* ---- Frames ---- */

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

static void put_number(struct tide_buf *out, uint32_t field, uint64_t v)
{
    tide_buf_uvarint(out, WIRE_TAG(field, WIRE_VARINT));
    tide_buf_uvarint(out, v);
}

static size_t bytes_field(size_t len)
{
    return 1 + uvarint_bytes(len) + len;
}

static void put_labels(struct tide_buf *out, struct tide_labels labels)
{
    for (size_t i = 0; i < labels.count; i++) {
        const struct tide_label *pair = &labels.pairs[i];

        tide_buf_uvarint(out, WIRE_TAG(1, WIRE_BYTES));
        tide_buf_uvarint(out, bytes_field(pair->name.len) + bytes_field(pair->value.len));
        put_bytes(out, 1, pair->name);
        put_bytes(out, 2, pair->value);
    }
}

static void put_chunk(struct tide_buf *out, const int64_t *times_ms, const double *values,
                      size_t count)
{
    struct tide_buf data = {0};
    size_t len;

    tide_xor_chunk_encode(times_ms, values, count, &data);
    len = 1 + uvarint_bytes((uint64_t)times_ms[0]) + 1 +
          uvarint_bytes((uint64_t)times_ms[count - 1]) + 2 + bytes_field(data.len);
    tide_buf_uvarint(out, WIRE_TAG(2, WIRE_BYTES));
    tide_buf_uvarint(out, len);
    put_number(out, 1, (uint64_t)times_ms[0]);
    put_number(out, 2, (uint64_t)times_ms[count - 1]);
    put_number(out, 3, 1); /* XOR. */
    put_bytes(out, 4, tide_buf_view(&data));
    if (tide_buf_ok(&data) != TIDE_OK)
        out->failed = true;
    tide_buf_deinit(&data);
}

void tide_read_frame(struct tide_labels labels, const int64_t *times_ms, const double *values,
                     size_t count, size_t query_index, struct tide_buf *chunks,
                     struct tide_buf *out)
{
    struct tide_buf message = {0};
    uint32_t crc;

    chunks->len = 0;
    put_labels(chunks, labels);
    for (size_t i = 0; i < count; i += TIDE_XOR_CHUNK_SAMPLES_MAX) {
        const size_t left = count - i;

        put_chunk(chunks, times_ms + i, values + i,
                  left < TIDE_XOR_CHUNK_SAMPLES_MAX ? left : TIDE_XOR_CHUNK_SAMPLES_MAX);
    }
    put_bytes(&message, 1, tide_buf_view(chunks));
    if (query_index > 0)
        put_number(&message, 2, query_index);
    tide_buf_uvarint(out, message.len);
    crc = tide_crc32c(0, tide_buf_view(&message));
    for (int shift = 24; shift >= 0; shift -= 8)
        tide_buf_byte(out, (uint8_t)(crc >> shift));
    tide_buf_slice(out, tide_buf_view(&message));
    if (tide_buf_ok(chunks) != TIDE_OK || tide_buf_ok(&message) != TIDE_OK)
        out->failed = true;
    tide_buf_deinit(&message);
}
