/* Property: taking an entry's payload apart reads nothing past its end; what comes out, packed
 * again, comes out the same. */
#include "payload_private.h"

#include "tide/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ITEMS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_reader reader = tide_reader((struct tide_slice){data, size});
    struct tide__item items[ITEMS_MAX] = {{{0}, NULL}};
    struct tide_slice slices[ITEMS_MAX], item;
    struct tide__payload *payload;
    struct tide_buf packed = {0};
    uint32_t count = 0;
    size_t bytes = 0;

    while (count < ITEMS_MAX && tide__payload_next(&reader, &item) == TIDE_OK) {
        slices[count] = item;
        tide_buf_slice(&items[count].data, item);
        TIDE_ASSERT(tide_buf_ok(&items[count].data) == TIDE_OK);
        bytes += tide__payload_item_bytes(item.len);
        count++;
    }
    if (count == 0)
        return 0;
    payload = tide__payload_of_items(items, count);
    TIDE_ASSERT(payload != NULL);
    TIDE_ASSERT(payload->bytes == bytes);
    for (uint32_t i = 0; i < payload->part_count; i++)
        tide_buf_slice(&packed, payload->parts[i]);
    TIDE_ASSERT(packed.len == bytes);
    reader = tide_reader(tide_buf_view(&packed));
    for (uint32_t i = 0; i < count; i++) {
        TIDE_ASSERT(tide__payload_next(&reader, &item) == TIDE_OK);
        TIDE_ASSERT(tide_slice_eq(item, slices[i]));
    }
    TIDE_ASSERT(tide__payload_next(&reader, &item) == TIDE_END);
    tide_buf_deinit(&packed);
    tide__payload_unref(payload);
    return 0;
}
