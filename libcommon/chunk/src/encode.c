#include "tide/chunk/chunk.h"

#include "tide/base/assert.h"

#define WORDS (TIDE_SEGMENT_DATA_BYTES / 4)
/* Leading zeros stand in 5 bits. */
#define LEAD_MAX 31
/* Bits of a window's description: lead and width. */
#define WINDOW_BITS 11

static void store_le32(uint8_t *out, uint32_t v)
{
    out[0] = (uint8_t)v;
    out[1] = (uint8_t)(v >> 8);
    out[2] = (uint8_t)(v >> 16);
    out[3] = (uint8_t)(v >> 24);
}

/* Moves one full word of the accumulator to the tail segment. */
static enum tide_err flush(struct tide_segments *pool, struct tide_chunk_open *chunk, uint32_t word,
                           unsigned bits_left)
{
    size_t words = chunk->fill >> 5;

    if (words == WORDS || chunk->head == 0) {
        uint32_t id;
        enum tide_err err = tide_segments_take(pool, &id);

        if (err != TIDE_OK)
            return err;
        if (chunk->head == 0)
            chunk->head = id;
        else
            tide_segment_at(pool, chunk->tail)->next = id;
        chunk->tail = id;
        words = 0;
    }
    store_le32(&tide_segment_at(pool, chunk->tail)->data[words * 4], word);
    chunk->fill = (uint8_t)((words + 1) << 5 | bits_left);
    return TIDE_OK;
}

/* Appends the low count bits of v, the others being 0; count <= 32. */
static inline enum tide_err put(struct tide_segments *pool, struct tide_chunk_open *chunk,
                                uint64_t v, unsigned count)
{
    unsigned have = chunk->fill & 31;
    uint64_t acc = chunk->acc | v << have;

    have += count;
    if (have < 32) {
        chunk->acc = (uint32_t)acc;
        chunk->fill = (uint8_t)((chunk->fill & ~31u) | have);
        return TIDE_OK;
    }
    chunk->acc = (uint32_t)(acc >> 32);
    return flush(pool, chunk, (uint32_t)acc, have - 32);
}

static inline enum tide_err put_wide(struct tide_segments *pool, struct tide_chunk_open *chunk,
                                     uint64_t v, unsigned count)
{
    if (count > 32) {
        enum tide_err err = put(pool, chunk, v & UINT32_MAX, 32);

        if (err != TIDE_OK)
            return err;
        v >>= 32;
        count -= 32;
    }
    return put(pool, chunk, v, count);
}

/* Gorilla, section 4.1.2: '0' the same value; '10' the bits of the XOR inside the window of before;
 * '11' a new window, then its bits. A window that is too wide by more than the description of a
 * new one is left, which the paper does not do. */
static enum tide_err put_value(struct tide_segments *pool, struct tide_chunk_open *chunk,
                               uint64_t bits)
{
    uint64_t xor = bits ^ chunk->last;
    unsigned lead, trail, width, low;
    enum tide_err err;

    if (xor == 0)
        return put(pool, chunk, 0, 1);
    chunk->last = bits;
    lead = (unsigned)__builtin_clzll(xor);
    trail = (unsigned)__builtin_ctzll(xor);
    if (lead > LEAD_MAX)
        lead = LEAD_MAX;
    width = 64 - lead - trail;
    low = 64u - chunk->lead - chunk->width; /* Trailing zeros of the window of before. */
    if (chunk->width != 0 && lead >= chunk->lead && trail >= low &&
        chunk->width <= width + WINDOW_BITS) {
        xor >>= low;
        width = chunk->width;
        if (width <= 30)
            return put(pool, chunk, xor << 2 | 1, width + 2);
        err = put(pool, chunk, 1, 2);
    } else {
        chunk->lead = (uint8_t)lead;
        chunk->width = (uint8_t)width;
        xor >>= trail;
        if (width <= 32 - 2 - WINDOW_BITS)
            return put(pool, chunk, xor << 13 | (uint64_t)(width - 1) << 7 | lead << 2 | 3,
                       width + 13);
        err = put(pool, chunk, (width - 1) << 7 | lead << 2 | 3, 13);
    }
    if (err != TIDE_OK)
        return err;
    return put_wide(pool, chunk, xor, width);
}

static enum tide_err put_first(struct tide_segments *pool, struct tide_chunk_open *chunk,
                               uint64_t bits)
{
    chunk->last = bits;
    chunk->width = 0;
    return put_wide(pool, chunk, bits, 64);
}

enum tide_err tide_chunk_append(struct tide_segments *pool, struct tide_chunk_open *chunk,
                                uint64_t bits)
{
    if (chunk->head == 0)
        return put_first(pool, chunk, bits);
    return put_value(pool, chunk, bits);
}

/* Gorilla, section 4.1.1, with the classes wider since we count milliseconds: '0' the same delta;
 * '10', '110', '1110' a delta of deltas in 8, 14 or 20 bits; '1111' the delta itself in 32. */
static enum tide_err put_offset(struct tide_segments *pool, struct tide_chunk_open *chunk,
                                struct tide_chunk_clock *clock, uint32_t offset)
{
    uint32_t delta = offset - clock->last;
    int64_t change = (int64_t)delta - clock->delta;
    enum tide_err err;

    TIDE_ASSERT(offset > clock->last);
    clock->last = offset;
    clock->delta = delta;
    if (change == 0)
        return put(pool, chunk, 0, 1);
    if (change >= -(1 << 7) && change < 1 << 7)
        return put(pool, chunk, ((uint64_t)change & 0xff) << 2 | 1, 10);
    if (change >= -(1 << 13) && change < 1 << 13)
        return put(pool, chunk, ((uint64_t)change & 0x3fff) << 3 | 3, 17);
    if (change >= -(1 << 19) && change < 1 << 19)
        return put(pool, chunk, ((uint64_t)change & 0xfffff) << 4 | 7, 24);
    err = put(pool, chunk, 15, 4);
    if (err != TIDE_OK)
        return err;
    return put(pool, chunk, delta, 32);
}

enum tide_err tide_chunk_append_timed(struct tide_segments *pool, struct tide_chunk_open *chunk,
                                      struct tide_chunk_clock *clock, uint32_t offset,
                                      uint64_t bits)
{
    enum tide_err err;

    if (chunk->head == 0) {
        *clock = (struct tide_chunk_clock){.last = offset};
        err = put(pool, chunk, offset, 32);
        return err != TIDE_OK ? err : put_first(pool, chunk, bits);
    }
    err = put_offset(pool, chunk, clock, offset);
    return err != TIDE_OK ? err : put_value(pool, chunk, bits);
}

size_t tide_chunk_bits(const struct tide_segments *pool, const struct tide_chunk_open *chunk)
{
    size_t full = 0;

    for (uint32_t id = chunk->head; id != chunk->tail; id = tide_segment_at(pool, id)->next)
        full++;
    return full * TIDE_SEGMENT_DATA_BYTES * 8 + (size_t)(chunk->fill >> 5) * 32 +
           (chunk->fill & 31);
}

size_t tide_chunk_bytes(const struct tide_segments *pool, const struct tide_chunk_open *chunk)
{
    return (tide_chunk_bits(pool, chunk) + 7) / 8;
}

size_t tide_chunk_copy(const struct tide_segments *pool, const struct tide_chunk_open *chunk,
                       uint8_t *out, size_t bytes_max)
{
    size_t len = 0;
    uint32_t acc = chunk->acc;

    for (uint32_t id = chunk->head; id != 0;) {
        const struct tide_segment *segment = tide_segment_at(pool, id);
        size_t bytes = id == chunk->tail ? (size_t)(chunk->fill >> 5) * 4 : TIDE_SEGMENT_DATA_BYTES;

        TIDE_ASSERT(bytes <= bytes_max - len);
        memcpy(out + len, segment->data, bytes);
        len += bytes;
        id = id == chunk->tail ? 0 : segment->next;
    }
    for (unsigned bits = chunk->fill & 31; bits > 0; bits -= bits < 8 ? bits : 8) {
        TIDE_ASSERT(len < bytes_max);
        out[len++] = (uint8_t)acc;
        acc >>= 8;
    }
    return len;
}

void tide_chunk_drop(struct tide_segments *pool, struct tide_chunk_open *chunk)
{
    tide_segments_give(pool, chunk->head, chunk->tail);
    *chunk = (struct tide_chunk_open){.owner = chunk->owner};
}

enum tide_err tide_chunk_load(struct tide_segments *pool, struct tide_slice bytes, size_t bit_count,
                              struct tide_chunk_open *chunk)
{
    size_t words = bit_count / 32, pos = 0;

    chunk->head = chunk->tail = chunk->acc = 0;
    chunk->fill = 0;
    if (bit_count < 64 || bytes.len != (bit_count + 7) / 8 || chunk->lead > LEAD_MAX ||
        chunk->lead + chunk->width > 64)
        return TIDE_ERR_CORRUPT;
    for (; words > 0; words--, pos += 4) {
        uint32_t word = (uint32_t)bytes.ptr[pos] | (uint32_t)bytes.ptr[pos + 1] << 8 |
                        (uint32_t)bytes.ptr[pos + 2] << 16 | (uint32_t)bytes.ptr[pos + 3] << 24;
        enum tide_err err = flush(pool, chunk, word, 0);

        if (err != TIDE_OK) {
            tide_chunk_drop(pool, chunk);
            return err;
        }
    }
    for (unsigned shift = 0; pos < bytes.len; pos++, shift += 8)
        chunk->acc |= (uint32_t)bytes.ptr[pos] << shift;
    /* What lies past the last bit must be 0, as appends add to it. */
    chunk->acc &= (uint32_t)((1ull << (bit_count % 32)) - 1);
    chunk->fill = (uint8_t)(chunk->fill | bit_count % 32);
    return TIDE_OK;
}
