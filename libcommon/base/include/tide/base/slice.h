/* Bytes: borrowed slices, a growable buffer, a bounds-checked reader and an arena. */
#ifndef TIDE_BASE_SLICE_H
#define TIDE_BASE_SLICE_H

#include "tide/base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes, passed by value, not NUL-terminated. ptr may be NULL when len is 0. */
struct tide_slice {
    const uint8_t *ptr;
    size_t len;
};

/* A slice of a string literal. */
#define TIDE_SLICE(literal)                                                                        \
    ((struct tide_slice){(const uint8_t *)("" literal), sizeof(literal) - 1})
/* The two arguments of "%.*s". Cuts at INT_MAX. */
#define TIDE_SLICE_ARGS(slice)                                                                     \
    (int)((slice).len > 0x7fffffff ? 0x7fffffff : (slice).len), (const char *)(slice).ptr

struct tide_slice tide_slice_str(const char *text); /* Borrows text up to its NUL. */

static inline bool tide_slice_eq(struct tide_slice a, struct tide_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Bytewise order, a prefix first: <0, 0, >0. */
int tide_slice_cmp(struct tide_slice a, struct tide_slice b);
bool tide_slice_starts(struct tide_slice s, struct tide_slice prefix);
bool tide_slice_ends(struct tide_slice s, struct tide_slice suffix);
/* Index of the first needle in s, or SIZE_MAX. */
size_t tide_slice_find(struct tide_slice s, struct tide_slice needle);
/* Valid UTF-8 as RFC 3629 defines it: no surrogates, no overlong forms. The empty slice is valid.
 */
bool tide_slice_is_utf8(struct tide_slice s);

/* ---- Growable buffer ---- */

/* Zero-initialised is empty. Owns its memory. After a failed append, failed is set, the bytes
 * before it remain and all further appends are ignored: check once at the end with tide_buf_ok().
 */
struct tide_buf {
    uint8_t *ptr;
    size_t len;
    size_t capacity;
    bool failed;
};

void tide_buf_deinit(struct tide_buf *buf); /* Frees and empties; may be used again. */
/* Room for bytes more; NULL and failed on no memory. The caller adds what it wrote to len. */
uint8_t *tide_buf_reserve(struct tide_buf *buf, size_t bytes);
void tide_buf_add(struct tide_buf *buf, const void *bytes, size_t len);
void tide_buf_slice(struct tide_buf *buf, struct tide_slice s);
void tide_buf_byte(struct tide_buf *buf, uint8_t byte);
void tide_buf_str(struct tide_buf *buf, const char *text);
void tide_buf_printf(struct tide_buf *buf, const char *format, ...) TIDE_PRINTF(2, 3);
void tide_buf_uvarint(struct tide_buf *buf, uint64_t v); /* LEB128, 1 to 10 bytes. */
void tide_buf_varint(struct tide_buf *buf, int64_t v);   /* Zigzag, then LEB128. */
void tide_buf_u32(struct tide_buf *buf, uint32_t v);     /* Little-endian. */
void tide_buf_u64(struct tide_buf *buf, uint64_t v);
/* A uvarint length, then the bytes. */
void tide_buf_bytes(struct tide_buf *buf, struct tide_slice s);
TIDE_CHECK_RESULT enum tide_err
tide_buf_ok(const struct tide_buf *buf); /* TIDE_ERR_NO_MEMORY when failed. */
static inline struct tide_slice tide_buf_view(const struct tide_buf *buf)
{
    return (struct tide_slice){buf->ptr, buf->len};
}

/* ---- Bounds-checked reader ---- */

/* Reads what tide_buf_* wrote. Each call answers TIDE_ERR_CORRUPT, *out and the reader untouched,
 * when the bytes are too few or not canonical enough to be safe (a varint over 10 bytes). */
struct tide_reader {
    struct tide_slice rest;
};

static inline struct tide_reader tide_reader(struct tide_slice s)
{
    return (struct tide_reader){s};
}
TIDE_CHECK_RESULT enum tide_err tide_reader_u8(struct tide_reader *r, uint8_t *out);
TIDE_CHECK_RESULT enum tide_err tide_reader_u32(struct tide_reader *r, uint32_t *out);
TIDE_CHECK_RESULT enum tide_err tide_reader_u64(struct tide_reader *r, uint64_t *out);
TIDE_CHECK_RESULT enum tide_err tide_reader_uvarint(struct tide_reader *r, uint64_t *out);
TIDE_CHECK_RESULT enum tide_err tide_reader_varint(struct tide_reader *r, int64_t *out);
/* len bytes as they stand. */
TIDE_CHECK_RESULT enum tide_err tide_reader_take(struct tide_reader *r, uint64_t len,
                                                 struct tide_slice *out);
/* A uvarint length, then the bytes. */
TIDE_CHECK_RESULT enum tide_err tide_reader_bytes(struct tide_reader *r, struct tide_slice *out);
/* A count of items that take at least item_bytes_min each; TIDE_ERR_CORRUPT when the rest cannot
 * hold them, so that the caller may allocate count items. */
TIDE_CHECK_RESULT enum tide_err tide_reader_count(struct tide_reader *r, size_t item_bytes_min,
                                                  size_t *out);

/* ---- Arena ---- */

/* Memory that is freed all at once; a request or query lives in one. One thread at a time. */
struct tide_arena;

/* bytes_max bounds all it may ever hold (0: no bound); over it tide_arena_alloc() answers NULL.
 * Errors: NULL when there is no memory. */
struct tide_arena *tide_arena_new(size_t bytes_max);
void tide_arena_free(struct tide_arena *arena); /* NULL is allowed. */
/* Frees all allocations but keeps the first chunk for reuse. */
void tide_arena_reset(struct tide_arena *arena);
void *tide_arena_alloc(struct tide_arena *arena,
                       size_t bytes); /* 16-byte aligned, not zeroed. NULL: none left. */
void *tide_arena_new_array(struct tide_arena *arena, size_t count, size_t bytes_each); /* Zeroed. */
/* Copies s; ptr is NULL when there is no memory and s is not empty. */
struct tide_slice tide_arena_copy(struct tide_arena *arena, struct tide_slice s);
/* A NUL-terminated formatted string, or NULL. */
char *tide_arena_printf(struct tide_arena *arena, const char *format, ...) TIDE_PRINTF(2, 3);
size_t tide_arena_bytes(const struct tide_arena *arena); /* Held now. */

#endif
