#include "tide/base/slice.h"

struct tide_slice tide_slice_str(const char *text)
{
    return (struct tide_slice){(const uint8_t *)text, strlen(text)};
}

int tide_slice_cmp(struct tide_slice a, struct tide_slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.ptr, b.ptr, common) : 0;

    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

bool tide_slice_starts(struct tide_slice s, struct tide_slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

bool tide_slice_ends(struct tide_slice s, struct tide_slice suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len) == 0);
}

size_t tide_slice_find(struct tide_slice s, struct tide_slice needle)
{
    size_t at = 0;

    if (needle.len == 0)
        return 0;
    while (s.len - at >= needle.len) {
        const uint8_t *first = memchr(s.ptr + at, needle.ptr[0], s.len - at - needle.len + 1);

        if (first == NULL)
            break;
        at = (size_t)(first - s.ptr);
        if (memcmp(first, needle.ptr, needle.len) == 0)
            return at;
        at++;
    }
    return SIZE_MAX;
}
