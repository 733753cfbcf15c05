#include "utf8_private.h"

#include "tide/base/slice.h"

/* Length of the valid sequence at p, or 0. The second byte's range depends on the first: that
 * excludes overlong forms (E0, F0), surrogates (ED) and what lies over U+10FFFF (F4). RFC 3629,
 * section 4. */
static size_t sequence(const uint8_t *p, size_t len)
{
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    size_t need;

    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    need = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (len < need)
        return 0;
    if (p[0] == 0xe0)
        low = 0xa0;
    else if (p[0] == 0xed)
        high = 0x9f;
    else if (p[0] == 0xf0)
        low = 0x90;
    else if (p[0] == 0xf4)
        high = 0x8f;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return need;
}

size_t tide__utf8_run(const uint8_t *p, size_t len)
{
    size_t at = 0;

    while (at < len) {
        uint64_t word;
        size_t step;

        /* Label values are nearly all ASCII: eight bytes a step. */
        while (len - at >= sizeof(word)) {
            memcpy(&word, p + at, sizeof(word));
            if ((word & 0x8080808080808080U) != 0)
                break;
            at += sizeof(word);
        }
        if (at == len)
            break;
        step = sequence(p + at, len - at);
        if (step == 0)
            break;
        at += step;
    }
    return at;
}

bool tide__utf8_is_prefix(const uint8_t *p, size_t len)
{
    uint8_t whole[4] = {0};
    static const uint8_t fillers[] = {0x80, 0x90, 0xa0};

    if (len == 0 || len > 3)
        return false;
    for (size_t f = 0; f < sizeof(fillers); f++) {
        memcpy(whole, p, len);
        memset(whole + len, 0x80, sizeof(whole) - len);
        whole[len] = fillers[f];
        if (sequence(whole, sizeof(whole)) > len)
            return true;
    }
    return false;
}

bool tide_slice_is_utf8(struct tide_slice s)
{
    return s.len == 0 || tide__utf8_run(s.ptr, s.len) == s.len;
}
