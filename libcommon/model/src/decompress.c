/* Bodies come compressed from strangers: a size that is claimed is checked before memory is spent,
 * and memory grows only as fast as bytes really come out. */
#include "tide/model/write_request.h"

#include "tide/base/mem.h"

#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>

/* First room for output of unknown size; doubled as it fills. */
#define GROW_BYTES_MIN (64u << 10)
/* A zstd window over this is refused: it is memory that the sender chooses. 8 MiB is what the
 * format's specification (RFC 8878, 3.1.1.1.2) asks every decoder to support. */
#define ZSTD_WINDOW_LOG_MAX 23

static enum tide_err too_large(size_t bytes_max, struct tide_diag *diag)
{
    return tide_diag_err(diag, TIDE_ERR_TOO_LARGE,
                         "the body is larger than %zu bytes when decompressed", bytes_max);
}

/* No Snappy element makes more than 64 bytes out of 3 (a copy with a 2-byte offset; copies with a
 * 1-byte offset: 11 of 2, a 4-byte one: 64 of 5; literals: fewer than they take). Source: Snappy
 * format_description.txt, section 2. */
static bool snappy_plausible(size_t claimed, size_t compressed)
{
    return claimed / 64 <= compressed / 3 + 1;
}

static enum tide_err decompress_snappy(struct tide_slice body, size_t bytes_max,
                                       struct tide_buf *out, struct tide_diag *diag)
{
    const char *in = (const char *)body.ptr;
    uint8_t *to;
    size_t len;

    if (body.len == 0 || snappy_uncompressed_length(in, body.len, &len) != SNAPPY_OK)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "the body is not in Snappy block format");
    if (len > bytes_max)
        return too_large(bytes_max, diag);
    if (!snappy_plausible(len, body.len))
        return tide_diag_err(diag, TIDE_ERR_INVALID,
                             "the Snappy body of %zu bytes claims to hold %zu", body.len, len);
    to = tide_buf_reserve(out, len);
    if (to == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (snappy_uncompress(in, body.len, (char *)to, &len) != SNAPPY_OK)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "the Snappy body is broken");
    out->len += len;
    return TIDE_OK;
}

/* Room for more output: what is there, or twice as much, up to the bound. One byte over the bound
 * is given, so that output that ends exactly there is told from output that goes on. */
static enum tide_err more_room(struct tide_buf *out, size_t start, size_t bytes_max,
                               struct tide_diag *diag, uint8_t **to, size_t *room)
{
    size_t made = out->len - start;
    size_t want = made > GROW_BYTES_MIN ? made : GROW_BYTES_MIN;

    if (made > bytes_max)
        return too_large(bytes_max, diag);
    if (want - 1 > bytes_max - made)
        want = bytes_max - made + 1;
    if (want > 1u << 30) /* zlib counts in unsigned int. */
        want = 1u << 30;
    *to = tide_buf_reserve(out, want);
    *room = want;
    return *to == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}

static enum tide_err zstd_stream(ZSTD_DCtx *context, struct tide_slice body, size_t bytes_max,
                                 struct tide_buf *out, struct tide_diag *diag)
{
    ZSTD_inBuffer in = {body.ptr, body.len, 0};
    size_t start = out->len;
    size_t left = 1; /* Of the frame; 0 between frames. */

    for (;;) {
        ZSTD_outBuffer to = {0};
        uint8_t *ptr = NULL;
        size_t room = 0;
        enum tide_err err = more_room(out, start, bytes_max, diag, &ptr, &room);

        if (err != TIDE_OK)
            return err;
        to.dst = ptr;
        to.size = room;
        left = ZSTD_decompressStream(context, &to, &in);
        if (ZSTD_isError(left))
            return tide_diag_err(diag, TIDE_ERR_INVALID, "the zstd body is broken: %s",
                                 ZSTD_getErrorName(left));
        out->len += to.pos;
        if (in.pos == in.size && left == 0)
            break;
        if (in.pos == in.size && to.pos < to.size)
            return tide_diag_err(diag, TIDE_ERR_INVALID, "the zstd body is cut off");
    }
    return out->len - start > bytes_max ? too_large(bytes_max, diag) : TIDE_OK;
}

static enum tide_err decompress_zstd(struct tide_slice body, size_t bytes_max, struct tide_buf *out,
                                     struct tide_diag *diag)
{
    unsigned long long claimed =
        body.len == 0 ? ZSTD_CONTENTSIZE_ERROR : ZSTD_getFrameContentSize(body.ptr, body.len);
    ZSTD_DCtx *context;
    enum tide_err err;

    if (claimed == ZSTD_CONTENTSIZE_ERROR)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "the body is not a zstd frame");
    if (claimed != ZSTD_CONTENTSIZE_UNKNOWN && claimed > bytes_max)
        return too_large(bytes_max, diag);
    context = ZSTD_createDCtx();
    if (context == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG_MAX)))
        err = TIDE_ERR_INTERNAL;
    else
        err = zstd_stream(context, body, bytes_max, out, diag);
    ZSTD_freeDCtx(context);
    return err;
}

static void *gzip_alloc(void *unused, unsigned items, unsigned size)
{
    (void)unused;
    return tide_mem_array(items, size);
}

static void gzip_free(void *unused, void *memory)
{
    (void)unused;
    tide_mem_free(memory);
}

static enum tide_err gzip_stream(z_stream *z, size_t bytes_max, struct tide_buf *out,
                                 struct tide_diag *diag)
{
    size_t start = out->len;

    for (;;) {
        uint8_t *to = NULL;
        size_t room = 0;
        int status;
        enum tide_err err = more_room(out, start, bytes_max, diag, &to, &room);

        if (err != TIDE_OK)
            return err;
        z->next_out = to;
        z->avail_out = (uInt)room;
        status = inflate(z, Z_NO_FLUSH);
        out->len += room - z->avail_out;
        if (status == Z_MEM_ERROR)
            return TIDE_ERR_NO_MEMORY;
        if (status == Z_STREAM_END) {
            if (z->avail_in == 0)
                break;
            if (inflateReset(z) != Z_OK) /* RFC 1952, 2.2: members follow each other. */
                return TIDE_ERR_INTERNAL;
        } else if (status != Z_OK) {
            return tide_diag_err(diag, TIDE_ERR_INVALID, "the gzip body is %s",
                                 status == Z_BUF_ERROR ? "cut off" : "broken");
        }
    }
    return out->len - start > bytes_max ? too_large(bytes_max, diag) : TIDE_OK;
}

static enum tide_err decompress_gzip(struct tide_slice body, size_t bytes_max, struct tide_buf *out,
                                     struct tide_diag *diag)
{
    z_stream z = {.zalloc = gzip_alloc, .zfree = gzip_free};
    enum tide_err err;

    if (body.len > UINT32_MAX)
        return tide_diag_err(diag, TIDE_ERR_TOO_LARGE, "the gzip body is over 4 GiB");
    z.next_in = (z_const Bytef *)body.ptr;
    z.avail_in = (uInt)body.len;
    if (inflateInit2(&z, 15 + 16) != Z_OK) /* The largest window, gzip header only. */
        return TIDE_ERR_NO_MEMORY;
    err = gzip_stream(&z, bytes_max, out, diag);
    inflateEnd(&z);
    return err;
}

enum tide_err tide_write_decompress(enum tide_write_encoding encoding, struct tide_slice body,
                                    size_t bytes_max, struct tide_buf *out, struct tide_diag *diag)
{
    switch (encoding) {
    case TIDE_ENCODING_SNAPPY:
        return decompress_snappy(body, bytes_max, out, diag);
    case TIDE_ENCODING_ZSTD:
        return decompress_zstd(body, bytes_max, out, diag);
    case TIDE_ENCODING_GZIP:
        return decompress_gzip(body, bytes_max, out, diag);
    case TIDE_ENCODING_IDENTITY:
        break;
    }
    if (body.len > bytes_max)
        return too_large(bytes_max, diag);
    tide_buf_slice(out, body);
    return tide_buf_ok(out);
}
