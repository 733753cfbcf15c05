/* Every value starts with a CRC-32C of the key and of all that follows it, so that a value that was
 * altered, cut or put under another key is found. Keys are big-endian, for their order in the
 * database; values are little-endian. */
#include "record_private.h"

#include "tide/base/hash.h"

#define CRC_BYTES 4

static void u32_put(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

static void u64_put(uint8_t *out, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(value >> (8 * i));
}

size_t tide__key_put(uint8_t out[TIDE__KEY_BYTES_MAX], enum tide__key_kind kind, uint32_t group,
                     uint64_t index)
{
    out[0] = (uint8_t)kind;
    if (kind == TIDE__KEY_FORMAT)
        return 1;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (uint8_t)(group >> (24 - 8 * i));
    if (kind != TIDE__KEY_ENTRY && kind != TIDE__KEY_MARK)
        return 5;
    for (int i = 0; i < 8; i++)
        out[5 + i] = (uint8_t)(index >> (56 - 8 * i));
    return TIDE__KEY_BYTES_MAX;
}

enum tide_err tide__key_index(struct tide_slice key, enum tide__key_kind kind, uint32_t group,
                              uint64_t *out)
{
    uint8_t prefix[TIDE__KEY_BYTES_MAX];
    uint64_t index = 0;

    (void)tide__key_put(prefix, kind, group, 0);
    if (key.len != TIDE__KEY_BYTES_MAX || memcmp(key.ptr, prefix, 5) != 0)
        return TIDE_ERR_CORRUPT;
    for (int i = 5; i < TIDE__KEY_BYTES_MAX; i++)
        index = index << 8 | key.ptr[i];
    *out = index;
    return TIDE_OK;
}

/* Checks the value's CRC; *body is what follows it. */
static enum tide_err value_open(struct tide_slice key, struct tide_slice value,
                                struct tide_reader *body)
{
    struct tide_reader reader = tide_reader(value);
    uint32_t crc;
    enum tide_err err = tide_reader_u32(&reader, &crc);

    if (err != TIDE_OK)
        return err;
    if (crc != tide_crc32c(tide_crc32c(0, key), reader.rest))
        return TIDE_ERR_CORRUPT;
    *body = reader;
    return TIDE_OK;
}

static void crc_put(uint8_t *out, struct tide_slice key, size_t body_len)
{
    struct tide_slice body = {out + CRC_BYTES, body_len};

    u32_put(out, tide_crc32c(tide_crc32c(0, key), body));
}

static enum tide_err term_and_type_get(struct tide_reader *body, uint64_t *term,
                                       enum tide__entry_type *type)
{
    uint64_t term_read;
    uint8_t type_read;
    enum tide_err err = tide_reader_u64(body, &term_read);

    if (err == TIDE_OK)
        err = tide_reader_u8(body, &type_read);
    if (err != TIDE_OK)
        return err;
    if (term_read == 0 || type_read < TIDE__ENTRY_COMMAND || type_read > TIDE__ENTRY_CHANGE)
        return TIDE_ERR_CORRUPT;
    *term = term_read;
    *type = (enum tide__entry_type)type_read;
    return TIDE_OK;
}

void tide__entry_head_put(uint8_t out[TIDE__ENTRY_HEAD_BYTES], struct tide_slice key,
                          const struct tide__entry *entry)
{
    uint32_t crc = tide_crc32c(0, key);

    u64_put(out + 4, entry->term);
    out[12] = (uint8_t)entry->type;
    crc = tide_crc32c(crc, (struct tide_slice){out + 4, 9});
    for (uint32_t i = 0; i < entry->payload->part_count; i++)
        crc = tide_crc32c(crc, entry->payload->parts[i]);
    u32_put(out, crc);
}

enum tide_err tide__entry_get(struct tide_slice key, struct tide_slice value, uint64_t *term,
                              enum tide__entry_type *type, struct tide_slice *payload)
{
    struct tide_reader body;
    enum tide_err err = value_open(key, value, &body);

    if (err == TIDE_OK)
        err = term_and_type_get(&body, term, type);
    if (err == TIDE_OK)
        *payload = body.rest;
    return err;
}

void tide__mark_put(uint8_t out[TIDE__MARK_BYTES], struct tide_slice key, uint64_t term,
                    enum tide__entry_type type)
{
    u64_put(out + 4, term);
    out[12] = (uint8_t)type;
    crc_put(out, key, 9);
}

enum tide_err tide__mark_get(struct tide_slice key, struct tide_slice value, uint64_t *term,
                             enum tide__entry_type *type)
{
    struct tide_reader body;
    enum tide_err err = value_open(key, value, &body);

    if (err == TIDE_OK && body.rest.len != TIDE__MARK_BYTES - CRC_BYTES)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err = term_and_type_get(&body, term, type);
    return err;
}

void tide__meta_put(uint8_t out[TIDE__META_BYTES], struct tide_slice key,
                    const struct tide__meta *meta)
{
    u64_put(out + 4, meta->term);
    u64_put(out + 12, meta->vote);
    u64_put(out + 20, meta->incarnation);
    crc_put(out, key, TIDE__META_BYTES - CRC_BYTES);
}

enum tide_err tide__meta_get(struct tide_slice key, struct tide_slice value, struct tide__meta *out)
{
    struct tide__meta meta;
    struct tide_reader body;
    enum tide_err err = value_open(key, value, &body);

    if (err == TIDE_OK)
        err = tide_reader_u64(&body, &meta.term);
    if (err == TIDE_OK)
        err = tide_reader_u64(&body, &meta.vote);
    if (err == TIDE_OK)
        err = tide_reader_u64(&body, &meta.incarnation);
    if (err == TIDE_OK && (body.rest.len != 0 || meta.term == 0))
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        *out = meta;
    return err;
}

void tide__snapshot_put(struct tide_buf *out, struct tide_slice key,
                        const struct tide__snapshot *snapshot)
{
    size_t start = out->len;

    tide_buf_u32(out, 0);
    tide_buf_u64(out, snapshot->index);
    tide_buf_u64(out, snapshot->term);
    tide_buf_u64(out, snapshot->conf_index);
    tide_buf_bytes(out, tide_buf_view(&snapshot->conf));
    tide_buf_bytes(out, tide_buf_view(&snapshot->manifest));
    if (tide_buf_ok(out) == TIDE_OK)
        crc_put(out->ptr + start, key, out->len - start - CRC_BYTES);
}

enum tide_err tide__snapshot_get(struct tide_slice key, struct tide_slice value,
                                 struct tide__snapshot **out)
{
    struct tide__snapshot *snapshot;
    struct tide_slice conf, manifest;
    struct tide_reader body;
    uint64_t index, term, conf_index;
    enum tide_err err = value_open(key, value, &body);

    if (err == TIDE_OK)
        err = tide_reader_u64(&body, &index);
    if (err == TIDE_OK)
        err = tide_reader_u64(&body, &term);
    if (err == TIDE_OK)
        err = tide_reader_u64(&body, &conf_index);
    if (err == TIDE_OK)
        err = tide_reader_bytes(&body, &conf);
    if (err == TIDE_OK)
        err = tide_reader_bytes(&body, &manifest);
    if (err != TIDE_OK)
        return err;
    if (body.rest.len != 0 || index == 0 || term == 0 || conf_index == 0 || conf_index > index ||
        !tide__conf_is_valid(conf))
        return TIDE_ERR_CORRUPT;
    snapshot = tide__snapshot_new(index, term, conf_index, conf, manifest);
    if (snapshot == NULL)
        return TIDE_ERR_NO_MEMORY;
    *out = snapshot;
    return TIDE_OK;
}
