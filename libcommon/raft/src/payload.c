#include "payload_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define UVARINT_BYTES_MAX 10

static size_t uvarint_put(uint8_t *out, uint64_t value)
{
    size_t len = 0;

    while (value >= 0x80) {
        out[len++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    out[len++] = (uint8_t)value;
    return len;
}

size_t tide__payload_item_bytes(size_t len)
{
    uint8_t head[UVARINT_BYTES_MAX];

    return uvarint_put(head, len) + len;
}

struct tide__payload *tide__payload_of_items(struct tide__item *items, uint32_t count)
{
    struct tide__payload *payload;
    size_t parts_at = sizeof(*payload);
    size_t items_at = parts_at + (size_t)count * 2 * sizeof(struct tide_slice);
    size_t heads_at = items_at + (size_t)count * sizeof(struct tide__item);
    uint8_t *head;

    TIDE_ASSERT(count > 0);
    payload = tide_mem_alloc(heads_at + (size_t)count * UVARINT_BYTES_MAX);
    if (payload == NULL)
        return NULL;
    memset(payload, 0, sizeof(*payload));
    atomic_init(&payload->refs, 1);
    /* All offsets are multiples of 8: the structs before them are. */
    payload->parts = (struct tide_slice *)(void *)((uint8_t *)payload + parts_at);
    payload->items = (struct tide__item *)(void *)((uint8_t *)payload + items_at);
    payload->item_count = count;
    payload->part_count = 2 * count;
    head = (uint8_t *)payload + heads_at;
    for (uint32_t i = 0; i < count; i++) {
        size_t head_len = uvarint_put(head, items[i].data.len);

        payload->items[i] = items[i];
        payload->parts[2 * (size_t)i] = (struct tide_slice){head, head_len};
        payload->parts[2 * (size_t)i + 1] = tide_buf_view(&items[i].data);
        payload->bytes += head_len + items[i].data.len;
        memset(&items[i], 0, sizeof(items[i]));
        head += head_len;
    }
    return payload;
}

struct tide__payload *tide__payload_of_buf(struct tide_buf *whole)
{
    struct tide__payload *payload = tide_mem_new(sizeof(*payload) + sizeof(struct tide_slice));

    if (payload == NULL)
        return NULL;
    atomic_init(&payload->refs, 1);
    payload->parts = (struct tide_slice *)(void *)(payload + 1);
    payload->whole = *whole;
    payload->bytes = whole->len;
    payload->parts[0] = tide_buf_view(whole);
    payload->part_count = whole->len > 0 ? 1 : 0;
    memset(whole, 0, sizeof(*whole));
    return payload;
}

struct tide__payload *tide__payload_copy(struct tide_slice bytes)
{
    struct tide_buf whole = {0};
    struct tide__payload *payload = NULL;

    tide_buf_slice(&whole, bytes);
    if (tide_buf_ok(&whole) == TIDE_OK)
        payload = tide__payload_of_buf(&whole);
    tide_buf_deinit(&whole);
    return payload;
}

struct tide__payload *tide__payload_ref(struct tide__payload *payload)
{
    /* Relaxed: who takes a reference holds one already. */
    atomic_fetch_add_explicit(&payload->refs, 1, memory_order_relaxed);
    return payload;
}

void tide__payload_unref(struct tide__payload *payload)
{
    uint_fast32_t before;

    if (payload == NULL)
        return;
    /* acq_rel: the thread that drops the last reference sees what all others did with the bytes. */
    before = atomic_fetch_sub_explicit(&payload->refs, 1, memory_order_acq_rel);
    TIDE_ASSERT(before > 0);
    if (before > 1)
        return;
    for (uint32_t i = 0; i < payload->item_count; i++)
        tide_buf_deinit(&payload->items[i].data);
    tide_buf_deinit(&payload->whole);
    tide_mem_free(payload);
}

enum tide_err tide__payload_next(struct tide_reader *reader, struct tide_slice *out)
{
    if (reader->rest.len == 0)
        return TIDE_END;
    return tide_reader_bytes(reader, out);
}
