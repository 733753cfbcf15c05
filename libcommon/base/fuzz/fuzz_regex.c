/* Up to the first NUL the input is a pattern, behind it a text. A refused pattern comes with a
 * reason; a match lies in the range told for the pattern; expanding agrees with matching. */
#include "tide/base/regex.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct tide_regex *regex, struct tide_slice text)
{
    struct tide_buf low = {0};
    struct tide_buf high = {0};
    struct tide_buf out = {0};
    bool matched = tide_regex_match(regex, text);

    /* The bound holds for texts that RE2 sees as such: it cuts long bounds, never short ones. */
    if (tide_regex_range(regex, &low, &high) && matched)
        if (tide_slice_cmp(text, tide_buf_view(&low)) < 0 ||
            tide_slice_cmp(text, tide_buf_view(&high)) > 0)
            abort();
    if (tide_regex_expand(regex, text, TIDE_SLICE("<$0|$1|${x}>"), &out) != matched)
        abort();
    if (!matched && out.len > 0)
        abort();
    tide_buf_deinit(&low);
    tide_buf_deinit(&high);
    tide_buf_deinit(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size > 0 ? memchr(data, '\0', size) : NULL;
    size_t len = nul != NULL ? (size_t)(nul - data) : size;
    struct tide_slice text = {NULL, 0};
    struct tide_regex *regex = NULL;
    struct tide_diag diag = {""};

    if (nul != NULL)
        text = (struct tide_slice){nul + 1, size - len - 1};
    switch (tide_regex_new((struct tide_slice){data, len}, &regex, &diag)) {
    case TIDE_OK:
        check(regex, text);
        break;
    case TIDE_ERR_INVALID:
        if (diag.text[0] == '\0' || !tide_slice_is_utf8(tide_slice_str(diag.text)))
            abort();
        break;
    default:
        abort();
    }
    tide_regex_free(regex);
    return 0;
}
