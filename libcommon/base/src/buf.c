#include "tide/base/slice.h"

#include "tide/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define BUF_CAPACITY_MIN 64

void tide_buf_deinit(struct tide_buf *buf)
{
    tide_mem_free(buf->ptr);
    *buf = (struct tide_buf){0};
}

static bool grow(struct tide_buf *buf, size_t bytes)
{
    size_t wanted;
    uint8_t *moved;

    if (bytes > SIZE_MAX - buf->len)
        goto fail;
    wanted = buf->capacity > SIZE_MAX / 2 ? SIZE_MAX : buf->capacity * 2;
    if (wanted < BUF_CAPACITY_MIN)
        wanted = BUF_CAPACITY_MIN;
    if (wanted < buf->len + bytes)
        wanted = buf->len + bytes;
    moved = tide_mem_realloc(buf->ptr, wanted);
    if (moved == NULL)
        goto fail;
    buf->ptr = moved;
    buf->capacity = wanted;
    return true;

fail:
    buf->failed = true;
    return false;
}

uint8_t *tide_buf_reserve(struct tide_buf *buf, size_t bytes)
{
    if (buf->failed)
        return NULL;
    if (buf->ptr == NULL || bytes > buf->capacity - buf->len)
        if (!grow(buf, bytes))
            return NULL;
    return buf->ptr + buf->len;
}

void tide_buf_add(struct tide_buf *buf, const void *bytes, size_t len)
{
    uint8_t *to;

    if (len == 0)
        return;
    to = tide_buf_reserve(buf, len);
    if (to == NULL)
        return;
    memcpy(to, bytes, len);
    buf->len += len;
}

void tide_buf_slice(struct tide_buf *buf, struct tide_slice s)
{
    tide_buf_add(buf, s.ptr, s.len);
}

void tide_buf_byte(struct tide_buf *buf, uint8_t byte)
{
    uint8_t *to = tide_buf_reserve(buf, 1);

    if (to == NULL)
        return;
    *to = byte;
    buf->len++;
}

void tide_buf_str(struct tide_buf *buf, const char *text)
{
    tide_buf_add(buf, text, strlen(text));
}

void tide_buf_printf(struct tide_buf *buf, const char *format, ...)
{
    va_list args;
    va_list again;
    uint8_t *to = tide_buf_reserve(buf, BUF_CAPACITY_MIN);
    size_t room;
    int len;

    if (to == NULL)
        return;
    va_start(args, format);
    va_copy(again, args);
    room = buf->capacity - buf->len;
    len = vsnprintf((char *)to, room, format, args);
    if (len >= 0 && (size_t)len >= room) {
        to = tide_buf_reserve(buf, (size_t)len + 1);
        if (to != NULL)
            len = vsnprintf((char *)to, (size_t)len + 1, format, again);
    }
    va_end(again);
    va_end(args);
    if (len < 0)
        buf->failed = true;
    else if (to != NULL)
        buf->len += (size_t)len;
}

void tide_buf_uvarint(struct tide_buf *buf, uint64_t v)
{
    uint8_t *to = tide_buf_reserve(buf, 10);
    size_t len = 0;

    if (to == NULL)
        return;
    while (v >= 0x80) {
        to[len++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    to[len++] = (uint8_t)v;
    buf->len += len;
}

void tide_buf_varint(struct tide_buf *buf, int64_t v)
{
    tide_buf_uvarint(buf, ((uint64_t)v << 1) ^ (v < 0 ? UINT64_MAX : 0));
}

void tide_buf_u32(struct tide_buf *buf, uint32_t v)
{
    uint8_t bytes[4];

    for (int i = 0; i < 4; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
    tide_buf_add(buf, bytes, sizeof(bytes));
}

void tide_buf_u64(struct tide_buf *buf, uint64_t v)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
    tide_buf_add(buf, bytes, sizeof(bytes));
}

void tide_buf_bytes(struct tide_buf *buf, struct tide_slice s)
{
    tide_buf_uvarint(buf, s.len);
    tide_buf_slice(buf, s);
}

enum tide_err tide_buf_ok(const struct tide_buf *buf)
{
    return buf->failed ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}
