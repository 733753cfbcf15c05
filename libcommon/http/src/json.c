#include "tide/http/json.h"

#include "tide/base/assert.h"
#include "tide/base/number.h"

#include <math.h>

/* [, a timestamp of at most 21 bytes, a value of at most 26, quotes, comma, brackets. */
#define SAMPLE_BYTES_MAX 64
/* Samples for which room is made at once. */
#define SAMPLES_AT_ONCE 1024

static uint64_t bit(const struct tide_json *json)
{
    return (uint64_t)1 << (json->depth - 1);
}

/* Before each value: the comma it needs. */
static void before_value(struct tide_json *json)
{
    if (json->depth == 0)
        return;
    if ((json->is_object & bit(json)) != 0) {
        TIDE_ASSERT(json->after_key);
        json->after_key = false;
        return;
    }
    if ((json->has_items & bit(json)) != 0)
        tide_buf_byte(json->out, ',');
    json->has_items |= bit(json);
}

static void begin(struct tide_json *json, uint8_t bracket, bool is_object)
{
    before_value(json);
    TIDE_ASSERT(json->depth < TIDE_JSON_DEPTH_MAX);
    json->depth++;
    json->has_items &= ~bit(json);
    json->is_object &= ~bit(json);
    if (is_object)
        json->is_object |= bit(json);
    tide_buf_byte(json->out, bracket);
}

static void end(struct tide_json *json, uint8_t bracket, bool is_object)
{
    TIDE_ASSERT(json->depth > 0);
    TIDE_ASSERT(((json->is_object & bit(json)) != 0) == is_object);
    TIDE_ASSERT(!json->after_key);
    json->depth--;
    tide_buf_byte(json->out, bracket);
}

void tide_json_object_begin(struct tide_json *json)
{
    begin(json, '{', true);
}

void tide_json_object_end(struct tide_json *json)
{
    end(json, '}', true);
}

void tide_json_array_begin(struct tide_json *json)
{
    begin(json, '[', false);
}

void tide_json_array_end(struct tide_json *json)
{
    end(json, ']', false);
}

/* ---- Strings ---- */

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Length of the valid UTF-8 sequence at p, which does not start with an ASCII byte; 0: none. */
static size_t sequence(const uint8_t *p, size_t len)
{
    for (size_t n = 2; n <= 4 && n <= len; n++)
        if (tide_slice_is_utf8((struct tide_slice){p, n}))
            return n;
    return 0;
}

static void put_ascii(struct tide_buf *out, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    char escaped[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

    switch (c) {
    case '"':
    case '\\':
        escaped[1] = (char)c;
        break;
    case '\b':
        escaped[1] = 'b';
        break;
    case '\f':
        escaped[1] = 'f';
        break;
    case '\n':
        escaped[1] = 'n';
        break;
    case '\r':
        escaped[1] = 'r';
        break;
    case '\t':
        escaped[1] = 't';
        break;
    case 0x7f: /* Go leaves it as it is. */
        tide_buf_byte(out, c);
        return;
    default:
        tide_buf_add(out, escaped, 6);
        return;
    }
    tide_buf_add(out, escaped, 2);
}

static void put_string(struct tide_buf *out, struct tide_slice text)
{
    size_t at = 0;

    tide_buf_byte(out, '"');
    while (at < text.len) {
        const uint8_t *p = text.ptr + at;
        size_t rest = text.len - at;
        size_t n = 0;

        while (n < rest && is_plain(p[n]))
            n++;
        tide_buf_add(out, p, n);
        at += n;
        if (n == rest)
            break;
        p += n;
        rest -= n;
        if (*p < 0x80) {
            put_ascii(out, *p);
            at++;
            continue;
        }
        n = sequence(p, rest);
        if (n == 0) {
            tide_buf_str(out, "\\ufffd");
            n = 1;
        } else if (n == 3 && p[0] == 0xe2 && p[1] == 0x80 && (p[2] & 0xfe) == 0xa8) {
            tide_buf_str(out, (p[2] & 1) != 0 ? "\\u2029" : "\\u2028");
        } else {
            tide_buf_add(out, p, n);
        }
        at += n;
    }
    tide_buf_byte(out, '"');
}

void tide_json_key(struct tide_json *json, struct tide_slice key)
{
    TIDE_ASSERT(json->depth > 0);
    TIDE_ASSERT((json->is_object & bit(json)) != 0);
    TIDE_ASSERT(!json->after_key);
    if ((json->has_items & bit(json)) != 0)
        tide_buf_byte(json->out, ',');
    json->has_items |= bit(json);
    json->after_key = true;
    put_string(json->out, key);
    tide_buf_byte(json->out, ':');
}

void tide_json_key_str(struct tide_json *json, const char *key)
{
    tide_json_key(json, tide_slice_str(key));
}

void tide_json_string(struct tide_json *json, struct tide_slice text)
{
    before_value(json);
    put_string(json->out, text);
}

void tide_json_str(struct tide_json *json, const char *text)
{
    tide_json_string(json, tide_slice_str(text));
}

/* ---- Other values ---- */

static char *put_u64(char *to, uint64_t v)
{
    char reversed[20];
    int count = 0;

    do {
        reversed[count++] = (char)('0' + v % 10);
        v /= 10;
    } while (v > 0);
    while (count > 0)
        *to++ = reversed[--count];
    return to;
}

static uint64_t magnitude(int64_t v)
{
    return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

void tide_json_i64(struct tide_json *json, int64_t v)
{
    char text[24];
    char *to = text;

    if (v < 0)
        *to++ = '-';
    to = put_u64(to, magnitude(v));
    before_value(json);
    tide_buf_add(json->out, text, (size_t)(to - text));
}

void tide_json_u64(struct tide_json *json, uint64_t v)
{
    char text[24];

    before_value(json);
    tide_buf_add(json->out, text, (size_t)(put_u64(text, v) - text));
}

void tide_json_number(struct tide_json *json, double v)
{
    char text[TIDE_NUMBER_TEXT_MAX];

    if (!isfinite(v)) {
        tide_json_null(json);
        return;
    }
    before_value(json);
    tide_buf_add(json->out, text, tide_number_format_api(v, text));
}

void tide_json_bool(struct tide_json *json, bool v)
{
    tide_json_raw(json, v ? TIDE_SLICE("true") : TIDE_SLICE("false"));
}

void tide_json_null(struct tide_json *json)
{
    tide_json_raw(json, TIDE_SLICE("null"));
}

void tide_json_raw(struct tide_json *json, struct tide_slice text)
{
    before_value(json);
    tide_buf_slice(json->out, text);
}

/* ---- Samples ---- */

static char *put_timestamp(char *to, int64_t ms)
{
    uint64_t left = magnitude(ms);
    unsigned fraction = (unsigned)(left % 1000);

    if (ms < 0)
        *to++ = '-';
    to = put_u64(to, left / 1000);
    if (fraction != 0) {
        *to++ = '.';
        *to++ = (char)('0' + fraction / 100);
        *to++ = (char)('0' + fraction / 10 % 10);
        *to++ = (char)('0' + fraction % 10);
    }
    return to;
}

static char *put_value(char *to, double v)
{
    *to++ = '"';
    to += tide_number_format_api(v, to);
    *to++ = '"';
    return to;
}

static char *put_sample(char *to, int64_t ms, double v)
{
    *to++ = '[';
    to = put_timestamp(to, ms);
    *to++ = ',';
    to = put_value(to, v);
    *to++ = ']';
    return to;
}

void tide_json_timestamp(struct tide_json *json, int64_t ms)
{
    char text[SAMPLE_BYTES_MAX];

    before_value(json);
    tide_buf_add(json->out, text, (size_t)(put_timestamp(text, ms) - text));
}

void tide_json_value(struct tide_json *json, double v)
{
    char text[SAMPLE_BYTES_MAX];

    before_value(json);
    tide_buf_add(json->out, text, (size_t)(put_value(text, v) - text));
}

void tide_json_sample(struct tide_json *json, int64_t ms, double v)
{
    tide_json_samples(json, &ms, &v, 1);
}

void tide_json_samples(struct tide_json *json, const int64_t *ms, const double *v, size_t count)
{
    while (count > 0) {
        size_t now = count < SAMPLES_AT_ONCE ? count : SAMPLES_AT_ONCE;
        char *start;
        char *to;

        before_value(json);
        start = to = (char *)tide_buf_reserve(json->out, now * SAMPLE_BYTES_MAX);
        if (to == NULL)
            return;
        for (size_t i = 0; i < now; i++) {
            if (i > 0)
                *to++ = ',';
            to = put_sample(to, ms[i], v[i]);
        }
        json->out->len += (size_t)(to - start);
        ms += now;
        v += now;
        count -= now;
    }
}
