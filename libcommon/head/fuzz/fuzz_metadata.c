/* Property: bytes are refused, or the metadata they restore to is written so that it restores to
 * the same again. */
#include "tide/base/assert.h"
#include "tide/head/metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum tide_err restore(struct tide_slice bytes, struct tide_buf *again)
{
    struct tide_metadata_store *store;
    enum tide_err err = tide_metadata_store_new(&store);

    TIDE_ASSERT(err == TIDE_OK);
    err = tide_metadata_store_restore(store, bytes);
    if (err == TIDE_OK)
        tide_metadata_store_write(store, again);
    tide_metadata_store_free(store);
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
