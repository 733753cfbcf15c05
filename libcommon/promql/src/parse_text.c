/* Code points, quoting and unquoting, with the rules of Go that Prometheus inherits. */
#include "parse_private.h"

#include <stdio.h>

uint32_t tide__rune(struct tide_slice s, size_t *width)
{
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    uint32_t rune = s.ptr[0];
    size_t len = rune < 0x80 ? 1 : rune >= 0xf0 ? 4 : rune >= 0xe0 ? 3 : 2;

    *width = 1;
    if (rune < 0x80)
        return rune;
    if (rune < 0xc2 || rune > 0xf4 || len > s.len)
        return TIDE__RUNE_BAD;
    rune &= 0xffu >> (len + 1);
    for (size_t i = 1; i < len; i++) {
        if ((s.ptr[i] & 0xc0) != 0x80)
            return TIDE__RUNE_BAD;
        rune = rune << 6 | (s.ptr[i] & 0x3fu);
    }
    if (rune < least[len] || rune > 0x10ffff || (rune >= 0xd800 && rune <= 0xdfff))
        return TIDE__RUNE_BAD;
    *width = len;
    return rune;
}

/* Whether Go prints a code point as it is: not controls, formats, private use and blanks other than
 * the plain one. Code points without a meaning yet are printed too; both forms read back alike. */
static bool is_printable(uint32_t rune)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {{0x0000, 0x001f},   {0x007f, 0x00a0},   {0x00ad, 0x00ad},   {0x0600, 0x0605},
                  {0x061c, 0x061c},   {0x06dd, 0x06dd},   {0x070f, 0x070f},   {0x1680, 0x1680},
                  {0x180e, 0x180e},   {0x2000, 0x200f},   {0x2028, 0x202f},   {0x205f, 0x206f},
                  {0x3000, 0x3000},   {0xd800, 0xf8ff},   {0xfeff, 0xfeff},   {0xfff0, 0xfffb},
                  {0xfffe, 0xffff},   {0x110bd, 0x110bd}, {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff},
                  {0xf0000, 0x10ffff}};

    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        if (rune >= hidden[i].first && rune <= hidden[i].last)
            return false;
    }
    return true;
}

/* The letter that follows the backslash, or 0 when the code point has no short escape. */
static char short_escape(uint32_t rune)
{
    static const char letters[] = "abtnvfr"; /* Of the controls 7 to 13. */

    if (rune >= 7 && rune <= 13)
        return letters[rune - 7];
    return rune == '\\' ? '\\' : '\0';
}

void tide__quote(struct tide_buf *out, struct tide_slice s)
{
    tide_buf_byte(out, '"');
    while (s.len > 0) {
        size_t width;
        uint32_t rune = tide__rune(s, &width);
        char escape = short_escape(rune);

        if (rune == '"')
            tide_buf_str(out, "\\\"");
        else if (escape != '\0')
            tide_buf_printf(out, "\\%c", escape);
        else if (rune == TIDE__RUNE_BAD && width == 1)
            tide_buf_printf(out, "\\x%02x", (unsigned)s.ptr[0]);
        else if (is_printable(rune))
            tide_buf_add(out, s.ptr, width);
        else
            tide_buf_printf(out,
                            rune < 0x80      ? "\\x%02x"
                            : rune < 0x10000 ? "\\u%04x"
                                             : "\\U%08x",
                            (unsigned)rune);
        s.ptr += width;
        s.len -= width;
    }
    tide_buf_byte(out, '"');
}

void tide__quote_rune(uint32_t rune, char *text, size_t text_bytes)
{
    char escape = short_escape(rune);

    if (rune == '\'')
        snprintf(text, text_bytes, "'\\''");
    else if (escape != '\0')
        snprintf(text, text_bytes, "'\\%c'", escape);
    else if (!is_printable(rune))
        snprintf(text, text_bytes, rune < 0x80 ? "'\\x%02x'" : "'\\u%04x'", (unsigned)rune);
    else if (rune < 0x80)
        snprintf(text, text_bytes, "'%c'", (int)rune);
    else if (rune < 0x800)
        snprintf(text, text_bytes, "'%c%c'", (int)(0xc0 | rune >> 6), (int)(0x80 | (rune & 0x3f)));
    else if (rune < 0x10000)
        snprintf(text, text_bytes, "'%c%c%c'", (int)(0xe0 | rune >> 12),
                 (int)(0x80 | (rune >> 6 & 0x3f)), (int)(0x80 | (rune & 0x3f)));
    else
        snprintf(text, text_bytes, "'%c%c%c%c'", (int)(0xf0 | rune >> 18),
                 (int)(0x80 | (rune >> 12 & 0x3f)), (int)(0x80 | (rune >> 6 & 0x3f)),
                 (int)(0x80 | (rune & 0x3f)));
}

static size_t encode_rune(uint32_t rune, uint8_t *out)
{
    if (rune < 0x80) {
        out[0] = (uint8_t)rune;
        return 1;
    }
    if (rune < 0x800) {
        out[0] = (uint8_t)(0xc0 | rune >> 6);
        out[1] = (uint8_t)(0x80 | (rune & 0x3f));
        return 2;
    }
    if (rune < 0x10000) {
        out[0] = (uint8_t)(0xe0 | rune >> 12);
        out[1] = (uint8_t)(0x80 | (rune >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (rune & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | rune >> 18);
    out[1] = (uint8_t)(0x80 | (rune >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (rune >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (rune & 0x3f));
    return 4;
}

static int digit_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
}

/* Reads the escape after a backslash at s[0]; answers its length, 0 when it is none. \x and octal
 * escapes give a byte, \u and \U a code point. */
static size_t unescape(struct tide_slice s, uint32_t *value, bool *is_byte)
{
    static const char names[] = "abtnvfr";
    const char *name;
    size_t digits;
    size_t skip = 1;
    uint32_t base = 16;

    *is_byte = false;
    if (s.len == 0)
        return 0;
    name = s.ptr[0] == '\0' ? NULL : strchr(names, s.ptr[0]);
    if (name != NULL) {
        *value = 7 + (uint32_t)(name - names);
        return 1;
    }
    switch (s.ptr[0]) {
    case 'x':
        digits = 2;
        *is_byte = true;
        break;
    case 'u':
        digits = 4;
        break;
    case 'U':
        digits = 8;
        break;
    case '\\':
    case '"':
    case '\'':
        *value = s.ptr[0];
        return 1;
    default:
        digits = 3;
        base = 8;
        skip = 0;
        *is_byte = true;
        break;
    }
    if (s.len < skip + digits)
        return 0;
    *value = 0;
    for (size_t i = skip; i < skip + digits; i++) {
        uint32_t digit = (uint32_t)digit_value(s.ptr[i]);

        if (digit >= base || *value > 0x10ffff)
            return 0;
        *value = *value * base + digit;
    }
    if (*value > (*is_byte ? 0xffu : 0x10ffffu) || (*value >= 0xd800 && *value <= 0xdfff))
        return 0;
    return skip + digits;
}

enum tide_err tide__unquote(struct tide_slice quoted, struct tide_arena *arena,
                            struct tide_slice *out)
{
    struct tide_slice s;
    uint8_t *bytes;
    size_t len = 0;

    if (quoted.len < 2 || quoted.ptr[0] != quoted.ptr[quoted.len - 1])
        return TIDE_ERR_INVALID;
    s = (struct tide_slice){quoted.ptr + 1, quoted.len - 2};
    /* An escape is never shorter than what it stands for. */
    bytes = tide_arena_alloc(arena, s.len > 0 ? s.len : 1);
    if (bytes == NULL)
        return TIDE_ERR_NO_MEMORY;
    while (s.len > 0) {
        size_t step = 1;

        if (s.ptr[0] == '\\' && quoted.ptr[0] != '`') {
            struct tide_slice rest = {s.ptr + 1, s.len - 1};
            uint32_t value;
            bool is_byte;
            size_t escape = unescape(rest, &value, &is_byte);

            if (escape == 0)
                return TIDE_ERR_INVALID;
            step += escape;
            if (is_byte)
                bytes[len++] = (uint8_t)value;
            else
                len += encode_rune(value, bytes + len);
        } else {
            bytes[len++] = s.ptr[0];
        }
        s.ptr += step;
        s.len -= step;
    }
    *out = (struct tide_slice){bytes, len};
    return TIDE_OK;
}

bool tide__is_plain_label(struct tide_slice name)
{
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.ptr[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return name.len > 0;
}
