/* Property: bytes are refused, or the exemplars they restore to are written so that they restore to
 * the same again. */
#include "tide/base/assert.h"
#include "tide/head/exemplars.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Small, so that inputs overflow the ring. */
#define COUNT_MAX 4u

static enum tide_err restore(struct tide_slice bytes, struct tide_buf *again)
{
    struct tide_arena *arena = tide_arena_new(0);
    const struct tide_stored_exemplar *items;
    struct tide_exemplars *store;
    size_t count;
    enum tide_err err = tide_exemplars_new(COUNT_MAX, &store);

    TIDE_ASSERT(err == TIDE_OK);
    err = tide_exemplars_restore(store, bytes);
    if (err == TIDE_OK) {
        err = tide_exemplars_collect(store, INT64_MIN, INT64_MAX, arena, &items, &count);
        TIDE_ASSERT(err == TIDE_OK);
        TIDE_ASSERT(count <= COUNT_MAX);
        for (size_t i = 1; i < count; i++)
            TIDE_ASSERT(items[i - 1].ref < items[i].ref ||
                        (items[i - 1].ref == items[i].ref &&
                         items[i - 1].exemplar.ts_ms < items[i].exemplar.ts_ms));
        tide_exemplars_write(store, again);
    }
    tide_exemplars_free(store);
    tide_arena_free(arena);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_buf first = {0}, second = {0};
    enum tide_err err;

    if (restore((struct tide_slice){data, size}, &first) == TIDE_OK) {
        err = restore(tide_buf_view(&first), &second);
        TIDE_ASSERT(err == TIDE_OK);
        TIDE_ASSERT(tide_slice_eq(tide_buf_view(&first), tide_buf_view(&second)));
    }
    tide_buf_deinit(&first);
    tide_buf_deinit(&second);
    return 0;
}
