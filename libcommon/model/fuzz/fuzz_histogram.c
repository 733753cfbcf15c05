/* Property: any bytes decode or are corrupt, the same with and without memory for the arrays; what
 * decodes is the same after encoding it again, and passes the check but for the sign of counts. */
#include "tide/model/histogram.h"

#include "tide/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_reader r = tide_reader((struct tide_slice){data, size});
    struct tide_reader stepped = r, again;
    struct tide_histogram h, skipped, second;
    struct tide_diag diag = {""};
    struct tide_buf bytes = {0};
    enum tide_err err, skip_err;

    TIDE_ASSERT(arena != NULL);
    err = tide_histogram_decode(&r, arena, &h);
    skip_err = tide_histogram_decode(&stepped, NULL, &skipped);
    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
    TIDE_ASSERT(err == skip_err);
    TIDE_ASSERT(r.rest.len == stepped.rest.len);
    if (err == TIDE_OK) {
        TIDE_ASSERT(tide_histogram_check(&h, &diag) == TIDE_OK ||
                    strstr(diag.text, "negative") != NULL);
        tide_histogram_encode(&h, &bytes);
        again = tide_reader(tide_buf_view(&bytes));
        TIDE_ASSERT(tide_histogram_decode(&again, arena, &second) == TIDE_OK);
        TIDE_ASSERT(again.rest.len == 0);
        TIDE_ASSERT(tide_histogram_eq(&h, &second));
    }
    tide_buf_deinit(&bytes);
    tide_arena_free(arena);
    return 0;
}
