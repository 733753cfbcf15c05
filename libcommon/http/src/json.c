#include "tide/http/json.h"

#include "tide/base/number.h"

/* Longest text of a point: time (20 digits, sign, point), value, brackets, quotes, comma. */
#define POINT_BYTES_MAX (TIDE_NUMBER_TEXT_MAX + 40)

static void comma(struct tide_json *j)
{
    if (j->comma)
        tide_buf_byte(j->out, ',');
    j->comma = true;
}

void tide_json_object_begin(struct tide_json *j)
{
    comma(j);
    tide_buf_byte(j->out, '{');
    j->comma = false;
}

void tide_json_object_end(struct tide_json *j)
{
    tide_buf_byte(j->out, '}');
    j->comma = true;
}

void tide_json_array_begin(struct tide_json *j)
{
    comma(j);
    tide_buf_byte(j->out, '[');
    j->comma = false;
}

void tide_json_array_end(struct tide_json *j)
{
    tide_buf_byte(j->out, ']');
    j->comma = true;
}

void tide_json_key(struct tide_json *j, const char *key)
{
    tide_json_key_slice(j, tide_slice_str(key));
}

void tide_json_key_slice(struct tide_json *j, struct tide_slice key)
{
    tide_json_string(j, key);
    tide_buf_byte(j->out, ':');
    j->comma = false;
}

/* Bytes of the UTF-8 sequence at text[0], 0 when it is none. */
static size_t sequence_bytes(struct tide_slice text)
{
    const uint8_t c = text.ptr[0];
    const size_t len = c < 0x80 ? 1 : (c & 0xe0) == 0xc0 ? 2 : (c & 0xf0) == 0xe0 ? 3 : 4;

    if (len > text.len || !tide_slice_is_utf8((struct tide_slice){text.ptr, len}))
        return 0;
    return len;
}

static bool is_line_separator(const uint8_t *s)
{
    return s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9);
}

static void escape_ascii(struct tide_buf *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', (char)c};
    size_t len = 2;

    switch (c) {
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    case '"':
    case '\\':
        break;
    default:
        memcpy(text, "\\u00", 4);
        text[4] = hex[c >> 4];
        text[5] = hex[c & 15];
        len = 6;
    }
    tide_buf_add(out, text, len);
}

void tide_json_string(struct tide_json *j, struct tide_slice text)
{
    size_t plain = 0; /* Start of what needs no escape and is not written yet. */
    size_t i = 0;

    comma(j);
    tide_buf_byte(j->out, '"');
    while (i < text.len) {
        const uint8_t c = text.ptr[i];
        size_t len = 1;

        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
            i++;
            continue;
        }
        if (c >= 0x80) {
            len = sequence_bytes((struct tide_slice){text.ptr + i, text.len - i});
            if (len > 0 && !(len == 3 && is_line_separator(text.ptr + i))) {
                i += len;
                continue;
            }
        } else if (c == 0x7f) {
            i++;
            continue;
        }
        tide_buf_add(j->out, text.ptr + plain, i - plain);
        if (c < 0x80)
            escape_ascii(j->out, c);
        else if (len == 0)
            tide_buf_str(j->out, "\\ufffd");
        else
            tide_buf_str(j->out, text.ptr[i + 2] == 0xa8 ? "\\u2028" : "\\u2029");
        i += len > 0 ? len : 1;
        plain = i;
    }
    if (plain < text.len)
        tide_buf_add(j->out, text.ptr + plain, text.len - plain);
    tide_buf_byte(j->out, '"');
}

void tide_json_str(struct tide_json *j, const char *text)
{
    tide_json_string(j, tide_slice_str(text));
}

static size_t put_u64(char *text, uint64_t v)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    for (size_t i = 0; i < n; i++)
        text[i] = digits[n - 1 - i];
    return n;
}

void tide_json_u64(struct tide_json *j, uint64_t v)
{
    char text[20];

    comma(j);
    tide_buf_add(j->out, text, put_u64(text, v));
}

void tide_json_i64(struct tide_json *j, int64_t v)
{
    char text[21] = "-";
    const size_t sign = v < 0;

    comma(j);
    tide_buf_add(j->out, text,
                 sign + put_u64(text + sign, sign != 0 ? 0 - (uint64_t)v : (uint64_t)v));
}

void tide_json_bool(struct tide_json *j, bool v)
{
    comma(j);
    tide_buf_str(j->out, v ? "true" : "false");
}

void tide_json_double(struct tide_json *j, double v)
{
    char text[TIDE_NUMBER_TEXT_MAX];

    comma(j);
    if (v - v != 0) /* NaN or infinite. */
        tide_buf_str(j->out, "null");
    else
        tide_buf_add(j->out, text, tide_number_format_api(v, text));
}

static size_t put_time(char *text, int64_t ms)
{
    const uint64_t magnitude = ms < 0 ? 0 - (uint64_t)ms : (uint64_t)ms;
    const unsigned fraction = (unsigned)(magnitude % 1000);
    size_t n = 0;

    if (ms < 0)
        text[n++] = '-';
    n += put_u64(text + n, magnitude / 1000);
    if (fraction == 0)
        return n;
    text[n++] = '.';
    text[n++] = (char)('0' + fraction / 100);
    text[n++] = (char)('0' + fraction / 10 % 10);
    text[n++] = (char)('0' + fraction % 10);
    while (text[n - 1] == '0')
        n--;
    return n;
}

void tide_json_time(struct tide_json *j, int64_t ms)
{
    char text[32];

    comma(j);
    tide_buf_add(j->out, text, put_time(text, ms));
}

void tide_json_value(struct tide_json *j, double v)
{
    char text[TIDE_NUMBER_TEXT_MAX + 2] = "\"";
    size_t n = 1 + tide_number_format_api(v, text + 1);

    comma(j);
    text[n++] = '"';
    tide_buf_add(j->out, text, n);
}

void tide_json_point(struct tide_json *j, int64_t ms, double v)
{
    char *text = (char *)tide_buf_reserve(j->out, POINT_BYTES_MAX);
    size_t n = 0;

    if (text == NULL)
        return;
    if (j->comma)
        text[n++] = ',';
    text[n++] = '[';
    n += put_time(text + n, ms);
    text[n++] = ',';
    text[n++] = '"';
    n += tide_number_format_api(v, text + n);
    text[n++] = '"';
    text[n++] = ']';
    j->out->len += n;
    j->comma = true;
}
