#include "tide/model/labels.h"

#include "labels_private.h"

struct tide_slice tide_labels_get(struct tide_labels labels, struct tide_slice name)
{
    for (size_t i = 0; i < labels.count; i++)
        if (tide_slice_eq(labels.pairs[i].name, name))
            return labels.pairs[i].value;
    return (struct tide_slice){0};
}

bool tide_labels_eq(struct tide_labels a, struct tide_labels b)
{
    if (a.count != b.count)
        return false;
    for (size_t i = 0; i < a.count; i++)
        if (!tide_slice_eq(a.pairs[i].name, b.pairs[i].name) ||
            !tide_slice_eq(a.pairs[i].value, b.pairs[i].value))
            return false;
    return true;
}

int tide_labels_cmp(struct tide_labels a, struct tide_labels b)
{
    size_t common = a.count < b.count ? a.count : b.count;

    for (size_t i = 0; i < common; i++) {
        int order = tide_slice_cmp(a.pairs[i].name, b.pairs[i].name);

        if (order == 0)
            order = tide_slice_cmp(a.pairs[i].value, b.pairs[i].value);
        if (order != 0)
            return order;
    }
    return (a.count > b.count) - (a.count < b.count);
}

void tide_labels_sort(struct tide_label *pairs, size_t count)
{
    size_t gap = 1;

    /* Shell's sort: no memory, one pass when already sorted, and never quadratic on the long lists
     * that a hostile sender might make. */
    while (gap < count / 3)
        gap = gap * 3 + 1;
    for (; gap > 0; gap /= 3) {
        for (size_t i = gap; i < count; i++) {
            struct tide_label moving = pairs[i];
            size_t at = i;

            while (at >= gap && tide_slice_cmp(pairs[at - gap].name, moving.name) > 0) {
                pairs[at] = pairs[at - gap];
                at -= gap;
            }
            pairs[at] = moving;
        }
    }
}

/* ---- Identity ---- */

/* The bytes of a label set, hashed in blocks: a block that is full is replaced by its hash, which
 * the next bytes follow. Nearly all label sets fit one block, so this is one call of XXH3. */
#define IDENTITY_BLOCK_BYTES 2048

struct identity {
    uint64_t seed;
    size_t used;
    uint8_t block[IDENTITY_BLOCK_BYTES];
};

static void put_u32(uint8_t *to, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(v >> (8 * i));
}

static void put_u64(uint8_t *to, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(v >> (8 * i));
}

static void identity_fold(struct identity *id)
{
    struct tide_hash128 hash =
        tide_hash128((struct tide_slice){id->block, sizeof(id->block)}, id->seed);

    put_u64(id->block, hash.hi);
    put_u64(id->block + 8, hash.lo);
    id->used = 16;
}

/* Copies len bytes; names and values are mostly too short for a call of memcpy() to pay. */
static void copy_short(uint8_t *to, const uint8_t *from, size_t len)
{
    if (len > 16) {
        memcpy(to, from, len);
    } else if (len >= 8) { /* Two copies that may overlap. */
        memcpy(to, from, 8);
        memcpy(to + len - 8, from + len - 8, 8);
    } else if (len >= 4) {
        memcpy(to, from, 4);
        memcpy(to + len - 4, from + len - 4, 4);
    } else {
        for (size_t i = 0; i < len; i++)
            to[i] = from[i];
    }
}

static void identity_add(struct identity *id, const uint8_t *bytes, size_t len)
{
    while (len > 0) {
        size_t room = sizeof(id->block) - id->used;
        size_t take = len < room ? len : room;

        copy_short(id->block + id->used, bytes, take);
        id->used += take;
        bytes += take;
        len -= take;
        if (id->used == sizeof(id->block))
            identity_fold(id);
    }
}

static void identity_text(struct identity *id, struct tide_slice text)
{
    uint8_t prefix[4];

    if (sizeof(id->block) - id->used > sizeof(prefix) + text.len) { /* Nearly always. */
        put_u32(id->block + id->used, (uint32_t)text.len);
        copy_short(id->block + id->used + sizeof(prefix), text.ptr, text.len);
        id->used += sizeof(prefix) + text.len;
        return;
    }
    put_u32(prefix, (uint32_t)text.len);
    identity_add(id, prefix, sizeof(prefix));
    identity_add(id, text.ptr, text.len);
}

struct tide_hash128 tide_labels_identity(struct tide_slice tenant, struct tide_labels labels,
                                         uint64_t seed)
{
    struct identity id;

    id.seed = seed;
    id.used = 0;
    identity_text(&id, tenant);
    for (size_t i = 0; i < labels.count; i++) {
        identity_text(&id, labels.pairs[i].name);
        identity_text(&id, labels.pairs[i].value);
    }
    return tide_hash128((struct tide_slice){id.block, id.used}, seed);
}

/* ---- Text ---- */

/* Bytes of the UTF-8 sequence at the start of text when it is valid, else 0. */
static size_t utf8_sequence(struct tide_slice text)
{
    uint8_t lead = text.ptr[0];
    size_t len = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

    if (len > text.len || !tide_slice_is_utf8((struct tide_slice){text.ptr, len}))
        return 0;
    return len;
}

void tide__print_quoted(struct tide_buf *out, struct tide_slice text)
{
    static const char named[] = "abtnvfr"; /* Escapes of the bytes 7 to 13. */
    size_t i = 0;

    tide_buf_byte(out, '"');
    while (i < text.len) {
        uint8_t byte = text.ptr[i];
        size_t len = utf8_sequence((struct tide_slice){text.ptr + i, text.len - i});

        if (byte == '"' || byte == '\\')
            tide_buf_printf(out, "\\%c", byte);
        else if (byte >= 7 && byte <= 13)
            tide_buf_printf(out, "\\%c", named[byte - 7]);
        else if (len == 0 || byte < 0x20 || byte == 0x7f)
            tide_buf_printf(out, "\\x%02x", byte);
        else if (byte == 0xc2 && text.ptr[i + 1] < 0xa0) /* C1 controls, U+0080 to U+009F. */
            tide_buf_printf(out, "\\u%04x", text.ptr[i + 1]);
        else
            tide_buf_add(out, text.ptr + i, len);
        i += len > 0 ? len : 1;
    }
    tide_buf_byte(out, '"');
}

/* Names that PromQL reads without quotes: letters, digits after the first, underscores; colons too
 * in metric names. */
static bool is_plain_name(struct tide_slice name, bool colons)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool digit = c >= '0' && c <= '9';

        if (!letter && !(digit && i > 0) && !(colons && c == ':'))
            return false;
    }
    return name.len > 0;
}

void tide_labels_print(struct tide_labels labels, struct tide_buf *out)
{
    struct tide_slice metric_name = TIDE_SLICE(TIDE_LABEL_METRIC);
    struct tide_slice metric = tide_labels_get(labels, metric_name);
    bool plain = is_plain_name(metric, true);
    bool open = false;

    if (plain)
        tide_buf_slice(out, metric);
    if (metric.len > 0 && !plain) { /* {"my metric", a="b"}. */
        tide_buf_byte(out, '{');
        tide__print_quoted(out, metric);
        open = true;
    }
    for (size_t i = 0; i < labels.count; i++) {
        struct tide_label pair = labels.pairs[i];

        if (metric.len > 0 && tide_slice_eq(pair.name, metric_name))
            continue;
        tide_buf_str(out, open ? ", " : "{");
        open = true;
        if (is_plain_name(pair.name, false))
            tide_buf_slice(out, pair.name);
        else
            tide__print_quoted(out, pair.name);
        tide_buf_byte(out, '=');
        tide__print_quoted(out, pair.value);
    }
    if (open)
        tide_buf_byte(out, '}');
    else if (metric.len == 0)
        tide_buf_str(out, "{}");
}

/* ---- Packed form ---- */

/* A length byte and one more, for a name and for a value: neither is empty. */
#define PACKED_PAIR_BYTES_MIN 4

void tide_labels_pack(struct tide_labels labels, struct tide_buf *out)
{
    tide_buf_uvarint(out, labels.count);
    for (size_t i = 0; i < labels.count; i++) {
        tide_buf_bytes(out, labels.pairs[i].name);
        tide_buf_bytes(out, labels.pairs[i].value);
    }
}

enum tide_err tide_labels_unpack(struct tide_reader *r, struct tide_arena *arena,
                                 struct tide_labels *out)
{
    struct tide_reader reader = *r; /* The caller's moves on success only. */
    struct tide_label *pairs;
    size_t count;
    enum tide_err err = tide_reader_count(&reader, PACKED_PAIR_BYTES_MIN, &count);

    if (err != TIDE_OK)
        return err;
    pairs = tide_arena_alloc(arena, count * sizeof(*pairs));
    if (pairs == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        err = tide_reader_bytes(&reader, &pairs[i].name);
        if (err == TIDE_OK)
            err = tide_reader_bytes(&reader, &pairs[i].value);
        if (err != TIDE_OK)
            return err;
        if (pairs[i].name.len == 0 || pairs[i].value.len == 0)
            return TIDE_ERR_CORRUPT;
        if (i > 0 && tide_slice_cmp(pairs[i - 1].name, pairs[i].name) >= 0)
            return TIDE_ERR_CORRUPT;
    }
    *r = reader;
    *out = (struct tide_labels){pairs, count};
    return TIDE_OK;
}

static struct tide_slice copy_text(uint8_t **to, struct tide_slice text)
{
    struct tide_slice copy = {*to, text.len};

    if (text.len > 0)
        memcpy(*to, text.ptr, text.len);
    *to += text.len;
    return copy;
}

enum tide_err tide_labels_copy(struct tide_arena *arena, struct tide_labels labels,
                               struct tide_labels *out)
{
    size_t bytes = labels.count * sizeof(struct tide_label);
    struct tide_label *pairs;
    uint8_t *text;

    for (size_t i = 0; i < labels.count; i++)
        bytes += labels.pairs[i].name.len + labels.pairs[i].value.len;
    pairs = tide_arena_alloc(arena, bytes);
    if (pairs == NULL)
        return TIDE_ERR_NO_MEMORY;
    text = (uint8_t *)(pairs + labels.count);
    for (size_t i = 0; i < labels.count; i++) {
        pairs[i].name = copy_text(&text, labels.pairs[i].name);
        pairs[i].value = copy_text(&text, labels.pairs[i].value);
    }
    *out = (struct tide_labels){pairs, labels.count};
    return TIDE_OK;
}
