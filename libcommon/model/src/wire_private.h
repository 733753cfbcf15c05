/* The protobuf wire format, read in place. Source: protobuf.dev, "Encoding".
 *
 * A reader relies on: `at` never passes `end`, and every length is compared with what is left
 * before it is added to anything. A failed read sets `why` and leaves `at` where the fault is. */
#ifndef TIDE_MODEL_WIRE_PRIVATE_H
#define TIDE_MODEL_WIRE_PRIVATE_H

#include "tide/base/slice.h"

enum wire_type {
    WIRE_VARINT = 0,
    WIRE_64 = 1,
    WIRE_BYTES = 2,
    WIRE_GROUP_START = 3,
    WIRE_GROUP_END = 4,
    WIRE_32 = 5
};

#define WIRE_TAG(field, type) (((uint32_t)(field) << 3) | (uint32_t)(type))
#define WIRE_FIELD(tag) ((tag) >> 3)
/* Longest varint that is read: 64 bits in groups of 7. */
#define WIRE_VARINT_BYTES_MAX 10

struct wire {
    const uint8_t *at;
    const uint8_t *end;
    const char *why; /* Static text; NULL while nothing failed. */
};

static inline struct wire wire_of(struct tide_slice s)
{
    /* An empty slice may be NULL, which must not be added to. */
    return (struct wire){s.ptr, s.len > 0 ? s.ptr + s.len : s.ptr, NULL};
}

static inline bool wire_fail(struct wire *w, const char *why)
{
    w->why = why;
    return false;
}

static inline bool wire_uvarint(struct wire *w, uint64_t *out)
{
    const uint8_t *at = w->at;
    uint64_t v = 0;

    if (at < w->end && *at < 0x80) { /* Nearly all lengths and tags. */
        *out = *at;
        w->at = at + 1;
        return true;
    }
    for (unsigned i = 0; i < WIRE_VARINT_BYTES_MAX; i++, at++) {
        if (at == w->end)
            return wire_fail(w, "a varint is cut off");
        if (i == WIRE_VARINT_BYTES_MAX - 1 && *at > 1)
            break;
        v |= (uint64_t)(*at & 0x7f) << (7 * i);
        if (*at < 0x80) {
            *out = v;
            w->at = at + 1;
            return true;
        }
    }
    return wire_fail(w, "a varint is longer than 64 bits");
}

static inline bool wire_tag(struct wire *w, uint32_t *out)
{
    uint64_t v;

    if (!wire_uvarint(w, &v))
        return false;
    if (v > UINT32_MAX || WIRE_FIELD((uint32_t)v) == 0)
        return wire_fail(w, "a field number is out of range");
    *out = (uint32_t)v;
    return true;
}

static inline bool wire_bytes(struct wire *w, struct tide_slice *out)
{
    const uint8_t *start = w->at;
    uint64_t len;

    if (!wire_uvarint(w, &len))
        return false;
    if (len > (size_t)(w->end - w->at)) {
        w->at = start;
        return wire_fail(w, "a length goes past the end");
    }
    *out = (struct tide_slice){w->at, (size_t)len};
    w->at += len;
    return true;
}

static inline uint64_t wire_load64(const uint8_t *p)
{
    uint64_t v = 0;

    for (int i = 0; i < 8; i++) /* Compilers make one load of it. */
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static inline bool wire_fixed64(struct wire *w, uint64_t *out)
{
    if (w->end - w->at < 8)
        return wire_fail(w, "a 64-bit value is cut off");
    *out = wire_load64(w->at);
    w->at += 8;
    return true;
}

/* Skips the value of a field that is unknown here. Groups are refused: nobody sends them, and their
 * nesting would need a bound. */
static inline bool wire_skip(struct wire *w, uint32_t tag)
{
    struct tide_slice bytes;
    uint64_t v;

    switch (tag & 7) {
    case WIRE_VARINT:
        return wire_uvarint(w, &v);
    case WIRE_64:
        return wire_fixed64(w, &v);
    case WIRE_BYTES:
        return wire_bytes(w, &bytes);
    case WIRE_32:
        if (w->end - w->at < 4)
            return wire_fail(w, "a 32-bit value is cut off");
        w->at += 4;
        return true;
    default:
        return wire_fail(w, "a field has a wire type that is not supported");
    }
}

/* What to do with a tag that no case took: a known field with the wrong wire type is an error. */
static inline bool wire_other(struct wire *w, uint32_t tag, uint32_t known_fields_max)
{
    if (WIRE_FIELD(tag) <= known_fields_max)
        return wire_fail(w, "a field has the wrong wire type");
    return wire_skip(w, tag);
}

#endif
