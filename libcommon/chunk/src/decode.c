/* What a decoder relies on: TIDE_CHUNK_PAD readable bytes after the stream. A step starts at a bit
 * inside the stream or at its end and reads at most 4 + 32 + 13 + 64 bits from there on, in loads
 * of nine bytes: 15 bytes past the end. The position is checked once a step, and at the end. */
#include "tide/chunk/chunk.h"

/* Bits that one load has at least, whatever the position in its first byte. */
#define LOAD_BITS 57

static inline uint64_t load(const uint8_t *data, size_t pos)
{
    uint64_t word;

    memcpy(&word, data + (pos >> 3), sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word >> (pos & 7);
}

/* 64 bits from any position. */
static inline uint64_t load_wide(const uint8_t *data, size_t pos)
{
    /* Two shifts, as one by 64 is undefined. */
    return load(data, pos) | (uint64_t)data[(pos >> 3) + 8] << 1 << (63 - (pos & 7));
}

/* The XOR window. width 0: none yet. */
struct window {
    unsigned width;
    unsigned shift;
    uint64_t mask;
};

/* Reads a value that differs from the one before; word holds the stream from *pos on and its first
 * bit is 1. */
static inline bool read_changed(const uint8_t *data, size_t *pos, uint64_t word, struct window *w,
                                uint64_t *value)
{
    uint64_t xor ;

    if ((word & 2) == 0) {
        if (w->width == 0)
            return false;
        xor = w->width <= LOAD_BITS - 2 ? word >> 2 : load_wide(data, *pos + 2);
        *pos += 2 + w->width;
    } else {
        unsigned lead = (unsigned)(word >> 2) & 31;

        w->width = ((unsigned)(word >> 7) & 63) + 1;
        if (lead + w->width > 64)
            return false;
        w->shift = 64 - lead - w->width;
        w->mask = UINT64_MAX >> (64 - w->width);
        xor = w->width <= LOAD_BITS - 13 ? word >> 13 : load_wide(data, *pos + 13);
        *pos += 13 + w->width;
    }
    *value ^= (xor&w->mask) << w->shift;
    return true;
}

static inline void store(double *out, uint64_t bits)
{
    memcpy(out, &bits, sizeof(bits));
}

enum tide_err tide_chunk_decode(struct tide_slice bytes, size_t n, double *values)
{
    const uint8_t *data = bytes.ptr;
    size_t end = bytes.len * 8, pos = 64, i = 1;
    struct window w = {0};
    uint64_t value;

    if (bytes.len < 8 || n == 0)
        return TIDE_ERR_CORRUPT;
    value = load(data, 0);
    store(&values[0], value);
    while (i < n) {
        uint64_t word;

        if (pos >= end)
            return TIDE_ERR_CORRUPT;
        word = load(data, pos);
        if ((word & 1) == 0) { /* A run of equal values is a run of 0 bits. */
            size_t run = (size_t)__builtin_ctzll(word | 1ull << (LOAD_BITS - 1));

            if (run > n - i)
                run = n - i;
            for (size_t k = 0; k < run; k++)
                store(&values[i + k], value);
            i += run;
            pos += run;
            continue;
        }
        if (!read_changed(data, &pos, word, &w, &value))
            return TIDE_ERR_CORRUPT;
        store(&values[i++], value);
    }
    return pos <= end ? TIDE_OK : TIDE_ERR_CORRUPT;
}

static inline int64_t sign_extend(uint64_t v, unsigned bits)
{
    uint64_t sign = 1ull << (bits - 1);

    v &= (sign << 1) - 1;
    return (int64_t)(v ^ sign) - (int64_t)sign;
}

/* The next delta of a timed chunk; it is checked by the caller. */
static inline int64_t read_delta(const uint8_t *data, size_t *pos, int64_t delta)
{
    uint64_t word = load(data, *pos);

    if ((word & 1) == 0) {
        *pos += 1;
        return delta;
    }
    if ((word & 2) == 0) {
        *pos += 10;
        return delta + sign_extend(word >> 2, 8);
    }
    if ((word & 4) == 0) {
        *pos += 17;
        return delta + sign_extend(word >> 3, 14);
    }
    if ((word & 8) == 0) {
        *pos += 24;
        return delta + sign_extend(word >> 4, 20);
    }
    *pos += 36;
    return (int64_t)(word >> 4 & UINT32_MAX);
}

enum tide_err tide_chunk_decode_timed(struct tide_slice bytes, size_t n, int64_t base_ms,
                                      int64_t *times, double *values)
{
    const uint8_t *data = bytes.ptr;
    size_t end = bytes.len * 8, pos = 96;
    struct window w = {0};
    uint64_t value;
    int64_t offset, delta = 0;

    if (bytes.len < 12 || n == 0)
        return TIDE_ERR_CORRUPT;
    offset = (int64_t)(load(data, 0) & UINT32_MAX);
    value = load(data, 32);
    times[0] = base_ms + offset;
    store(&values[0], value);
    for (size_t i = 1; i < n; i++) {
        uint64_t word;

        if (pos >= end)
            return TIDE_ERR_CORRUPT;
        delta = read_delta(data, &pos, delta);
        offset += delta;
        if (delta <= 0 || offset > UINT32_MAX)
            return TIDE_ERR_CORRUPT;
        word = load(data, pos);
        if ((word & 1) == 0)
            pos++;
        else if (!read_changed(data, &pos, word, &w, &value))
            return TIDE_ERR_CORRUPT;
        times[i] = base_ms + offset;
        store(&values[i], value);
    }
    return pos <= end ? TIDE_OK : TIDE_ERR_CORRUPT;
}
