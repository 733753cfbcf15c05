/* Decoded text is never longer than what was sent; escaped in full again, it decodes to itself. */
#include "server_private.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int plus = 0; plus < 2; plus++) {
        struct tide_buf decoded = {0};
        struct tide_buf escaped = {0};
        struct tide_buf again = {0};

        if (tide__http_decode((struct tide_slice){data, size}, plus != 0, &decoded)) {
            if (decoded.len > size)
                abort();
            for (size_t i = 0; i < decoded.len; i++)
                tide_buf_printf(&escaped, "%%%02X", (unsigned)decoded.ptr[i]);
            if (!tide__http_decode(tide_buf_view(&escaped), plus != 0, &again) ||
                !tide_slice_eq(tide_buf_view(&decoded), tide_buf_view(&again)))
                abort();
        } else if (size == 0 || memchr(data, '%', size) == NULL) {
            abort();
        }
        tide_buf_deinit(&decoded);
        tide_buf_deinit(&escaped);
        tide_buf_deinit(&again);
    }
    return 0;
}
