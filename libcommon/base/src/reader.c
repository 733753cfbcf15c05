#include "tide/base/slice.h"

static void advance(struct tide_reader *r, size_t len)
{
    r->rest.ptr += len;
    r->rest.len -= len;
}

enum tide_err tide_reader_u8(struct tide_reader *r, uint8_t *out)
{
    if (r->rest.len < 1)
        return TIDE_ERR_CORRUPT;
    *out = r->rest.ptr[0];
    advance(r, 1);
    return TIDE_OK;
}

static uint64_t little_endian(const uint8_t *p, size_t len)
{
    uint64_t v = 0;

    for (size_t i = 0; i < len; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

enum tide_err tide_reader_u32(struct tide_reader *r, uint32_t *out)
{
    if (r->rest.len < 4)
        return TIDE_ERR_CORRUPT;
    *out = (uint32_t)little_endian(r->rest.ptr, 4);
    advance(r, 4);
    return TIDE_OK;
}

enum tide_err tide_reader_u64(struct tide_reader *r, uint64_t *out)
{
    if (r->rest.len < 8)
        return TIDE_ERR_CORRUPT;
    *out = little_endian(r->rest.ptr, 8);
    advance(r, 8);
    return TIDE_OK;
}

enum tide_err tide_reader_uvarint(struct tide_reader *r, uint64_t *out)
{
    uint64_t v = 0;

    for (size_t i = 0; i < 10 && i < r->rest.len; i++) {
        uint8_t byte = r->rest.ptr[i];

        if (i == 9 && byte > 1) /* Bits over 64. */
            return TIDE_ERR_CORRUPT;
        v |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *out = v;
            advance(r, i + 1);
            return TIDE_OK;
        }
    }
    return TIDE_ERR_CORRUPT;
}

enum tide_err tide_reader_varint(struct tide_reader *r, int64_t *out)
{
    uint64_t v;
    enum tide_err err = tide_reader_uvarint(r, &v);

    if (err != TIDE_OK)
        return err;
    v = (v >> 1) ^ ((v & 1) != 0 ? UINT64_MAX : 0);
    memcpy(out, &v, sizeof(v)); /* The cast is implementation-defined over INT64_MAX. */
    return TIDE_OK;
}

enum tide_err tide_reader_take(struct tide_reader *r, uint64_t len, struct tide_slice *out)
{
    if (len > r->rest.len) /* Before any arithmetic on len, which the sender chose. */
        return TIDE_ERR_CORRUPT;
    *out = (struct tide_slice){r->rest.ptr, (size_t)len};
    if (len > 0)
        advance(r, (size_t)len);
    return TIDE_OK;
}

enum tide_err tide_reader_bytes(struct tide_reader *r, struct tide_slice *out)
{
    struct tide_reader start = *r;
    uint64_t len;
    enum tide_err err = tide_reader_uvarint(r, &len);

    if (err != TIDE_OK)
        return err;
    err = tide_reader_take(r, len, out);
    if (err != TIDE_OK)
        *r = start;
    return err;
}

enum tide_err tide_reader_count(struct tide_reader *r, size_t item_bytes_min, size_t *out)
{
    struct tide_reader start = *r;
    uint64_t count;
    enum tide_err err = tide_reader_uvarint(r, &count);

    if (err != TIDE_OK)
        return err;
    if (item_bytes_min == 0)
        item_bytes_min = 1;
    if (count > r->rest.len / item_bytes_min) {
        *r = start;
        return TIDE_ERR_CORRUPT;
    }
    *out = (size_t)count;
    return TIDE_OK;
}
