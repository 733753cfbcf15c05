/* Any bytes become one JSON string: valid UTF-8, closed only at its end, without raw control
 * characters, and each backslash starts an escape that JSON knows. */
#include "tide/http/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_buf out = {0};
    struct tide_json json = tide_json(&out);

    tide_json_string(&json, (struct tide_slice){data, size});
    if (!tide_slice_is_utf8(tide_buf_view(&out)) || out.len < 2 || out.ptr[0] != '"' ||
        out.ptr[out.len - 1] != '"')
        abort();
    for (size_t i = 1; i < out.len - 1; i++) {
        if (out.ptr[i] < 0x20 || out.ptr[i] == '"')
            abort();
        if (out.ptr[i] != '\\')
            continue;
        i++;
        if (i == out.len - 1 || out.ptr[i] == '\0' || strchr("\"\\bfnrtu", out.ptr[i]) == NULL)
            abort();
    }
    tide_buf_deinit(&out);
    return 0;
}
