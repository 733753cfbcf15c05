/* Property: any bytes unpack or are corrupt; a set that unpacks is sorted without empty parts,
 * packs to a set equal to it, and prints as valid UTF-8. */
#include "tide/model/labels.h"

#include "tide/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_reader r = tide_reader((struct tide_slice){data, size});
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_buf packed = {0};
    struct tide_buf text = {0};
    struct tide_labels labels;
    struct tide_labels again;
    enum tide_err err;

    TIDE_ASSERT(arena != NULL);
    err = tide_labels_unpack(&r, arena, &labels);
    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
    if (err == TIDE_OK) {
        for (size_t i = 0; i < labels.count; i++) {
            TIDE_ASSERT(labels.pairs[i].name.len > 0);
            TIDE_ASSERT(labels.pairs[i].value.len > 0);
            TIDE_ASSERT(i == 0 ||
                        tide_slice_cmp(labels.pairs[i - 1].name, labels.pairs[i].name) < 0);
        }
        tide_labels_pack(labels, &packed);
        r = tide_reader(tide_buf_view(&packed));
        TIDE_ASSERT(tide_labels_unpack(&r, arena, &again) == TIDE_OK);
        TIDE_ASSERT(r.rest.len == 0);
        TIDE_ASSERT(tide_labels_eq(labels, again));
        tide_labels_print(labels, &text);
        TIDE_ASSERT(tide_slice_is_utf8(tide_buf_view(&text)));
    }
    tide_buf_deinit(&packed);
    tide_buf_deinit(&text);
    tide_arena_free(arena);
    return 0;
}
