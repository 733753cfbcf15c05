/* Property: no body makes more than the bound, whatever it claims; errors are INVALID or TOO_LARGE.
 * The first byte chooses the encoding. */
#include "tide/model/write_request.h"

#include "tide/base/assert.h"

#define BYTES_MAX ((size_t)256 << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_buf out = {0};
    enum tide_err err;

    if (size == 0)
        return 0;
    err = tide_write_decompress((enum tide_write_encoding)(data[0] % 4),
                                (struct tide_slice){data + 1, size - 1}, BYTES_MAX, &out, NULL);
    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_INVALID || err == TIDE_ERR_TOO_LARGE);
    TIDE_ASSERT(err != TIDE_OK || out.len <= BYTES_MAX);
    TIDE_ASSERT(out.capacity <= 2 * BYTES_MAX);
    tide_buf_deinit(&out);
    return 0;
}
