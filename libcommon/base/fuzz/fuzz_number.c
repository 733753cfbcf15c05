/* Whatever is accepted as a number prints in all three forms so that the same bits are read back;
 * whatever is accepted as a duration prints so that the same duration is. */
#include "tide/base/number.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t (*const forms[])(double, char *) = {tide_number_format, tide_number_format_api,
                                               tide_number_format_g};
    struct tide_slice input = {data, size};
    char text[TIDE_NUMBER_TEXT_MAX];
    struct tide_slice printed = {(uint8_t *)text, 0};
    double v;
    double back;
    int64_t ms;
    int64_t ms_back;

    if (tide_number_parse(input, &v))
        for (int i = 0; i < 3; i++) {
            printed.len = forms[i](v, text);
            if (!tide_number_parse(printed, &back))
                abort();
            if (memcmp(&v, &back, sizeof(v)) != 0 && !(isnan(v) && isnan(back)))
                abort();
        }
    if (tide_duration_parse(input, &ms)) {
        printed.len = tide_duration_format(ms, text);
        if (!tide_duration_parse(printed, &ms_back) || ms_back != ms)
            abort();
    }
    return 0;
}
