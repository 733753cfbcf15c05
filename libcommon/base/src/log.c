#include "tide/base/log.h"

#include "tide/base/clock.h"
#include "tide/base/slice.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "log_private.h"
#include "utf8_private.h"

/* Set before any thread starts. */
static enum tide_log_level level_min = TIDE_LOG_INFO;
static enum tide_log_format line_format = TIDE_LOG_LOGFMT;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void tide_log_setup(enum tide_log_level level, enum tide_log_format format)
{
    level_min = level;
    line_format = format;
}

bool tide_log_enabled(enum tide_log_level level)
{
    return level >= level_min;
}

/* ---- Into a bounded buffer; what does not fit is cut off ---- */

static void put(struct tide__log_line *line, const char *bytes, size_t len)
{
    size_t room = TIDE__LOG_LINE_BYTES - line->len;

    if (len > room)
        len = room;
    memcpy(line->text + line->len, bytes, len);
    line->len += len;
}

static void put_str(struct tide__log_line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* Between quotes, escaped as JSON has it; logfmt readers take the same. */
static void put_quoted(struct tide__log_line *line, const char *text, size_t len)
{
    const uint8_t *p = (const uint8_t *)text;
    size_t at = 0;
    char escaped[8];

    put(line, "\"", 1);
    while (at < len) {
        size_t valid = tide__utf8_run(p + at, len - at);
        size_t end = at + valid;

        while (at < end) {
            size_t plain = at;

            while (plain < end && p[plain] >= 0x20 && p[plain] != '"' && p[plain] != '\\' &&
                   p[plain] != 0x7f)
                plain++;
            put(line, text + at, plain - at);
            at = plain;
            if (at == end)
                break;
            if (p[at] == '"' || p[at] == '\\') {
                escaped[0] = '\\';
                escaped[1] = text[at];
                put(line, escaped, 2);
            } else if (p[at] == '\n') {
                put(line, "\\n", 2);
            } else {
                snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)p[at]);
                put(line, escaped, 6);
            }
            at++;
        }
        if (at < len) {
            put(line, "\\ufffd", 6);
            at++;
        }
    }
    put(line, "\"", 1);
}

static bool needs_quotes(const char *text, size_t len)
{
    if (len == 0)
        return true;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] <= ' ' || text[i] == '"' || text[i] == '=' || text[i] == '\\' ||
            (unsigned char)text[i] >= 0x7f)
            return true;
    return false;
}

/* bare: the value is a number, which JSON has unquoted. */
static void put_pair(struct tide__log_line *line, const char *key, size_t key_len,
                     const char *value, size_t value_len, bool bare)
{
    if (line_format == TIDE_LOG_JSON) {
        put_str(line, line->len > 0 ? "," : "{");
        put_quoted(line, key, key_len);
        put(line, ":", 1);
        if (bare)
            put(line, value, value_len);
        else
            put_quoted(line, value, value_len);
        return;
    }
    if (line->len > 0)
        put(line, " ", 1);
    put(line, key, key_len);
    put(line, "=", 1);
    if (needs_quotes(value, value_len))
        put_quoted(line, value, value_len);
    else
        put(line, value, value_len);
}

static void put_text_pair(struct tide__log_line *line, const char *key, const char *value)
{
    put_pair(line, key, strlen(key), value, strlen(value), false);
}

/* ---- One value after another ----
 *
 * The format is walked by hand, one conversion at a time: values come from outside, so that no mark
 * put into the text could tell where one ends. */

struct value {
    char text[TIDE__LOG_VALUE_BYTES];
    size_t len;
    int conversions;
    bool number; /* The only thing in it is one number. */
};

static void value_append(struct value *value, const char *bytes, size_t len)
{
    size_t room = sizeof(value->text) - value->len;

    if (len > room)
        len = room;
    memcpy(value->text + value->len, bytes, len);
    value->len += len;
}

enum length { LENGTH_INT, LENGTH_LONG, LENGTH_LONG_LONG, LENGTH_SIZE, LENGTH_MAX, LENGTH_PTRDIFF };

struct conversion {
    char spec[32]; /* "%-5.3ld", NUL-terminated; `*` replaced by the argument. */
    size_t spec_len;
    enum length length;
    char type;
};

/* Reads the conversion at *format, which stands on '%'. False: one that this code does not know,
 * which is a defect of the caller. Pulls the arguments of `*` from args. */
static bool conversion_read(const char **format, struct conversion *out, va_list *args)
{
    const char *at = *format;

    *out = (struct conversion){.length = LENGTH_INT};
    do {
        if (out->spec_len + 12 >= sizeof(out->spec) || *at == '\0')
            return false;
        if (*at == '*') {
            int len = snprintf(out->spec + out->spec_len, 12, "%d", va_arg(*args, int));

            out->spec_len += (size_t)len;
        } else {
            out->spec[out->spec_len++] = *at;
            if (*at == 'l')
                out->length = out->length == LENGTH_LONG ? LENGTH_LONG_LONG : LENGTH_LONG;
            else if (*at == 'z')
                out->length = LENGTH_SIZE;
            else if (*at == 'j')
                out->length = LENGTH_MAX;
            else if (*at == 't')
                out->length = LENGTH_PTRDIFF;
        }
        at++;
    } while (strchr("diouxXcsfFeEgGp%", at[-1]) == NULL || at - *format == 1);
    out->type = at[-1];
    *format = at;
    return true;
}

#define FORMAT_AS(type) snprintf(text, room, spec, va_arg(*args, type))

static int format_integer(char *text, size_t room, const struct conversion *conversion,
                          va_list *args)
{
    const char *spec = conversion->spec;

    /* Signed and unsigned arguments of one size are passed alike where the value fits both; the
     * conversion in spec reads them as what they are. */
    switch (conversion->length) {
    /* NOLINTNEXTLINE(bugprone-branch-clone): the types differ. */
    case LENGTH_LONG:
        return FORMAT_AS(long);
    case LENGTH_LONG_LONG:
        return FORMAT_AS(long long);
    case LENGTH_SIZE:
        return FORMAT_AS(size_t);
    case LENGTH_MAX:
        return FORMAT_AS(intmax_t);
    case LENGTH_PTRDIFF:
        return FORMAT_AS(ptrdiff_t);
    default:
        return FORMAT_AS(int);
    }
}

static void value_convert(struct value *value, const struct conversion *conversion, va_list *args)
{
    char *text = value->text + value->len;
    size_t room = sizeof(value->text) - value->len;
    const char *spec = conversion->spec;
    bool number = false;
    double v;
    int len;

    switch (conversion->type) {
    case 'd':
    case 'i':
    case 'u':
    case 'o':
    case 'x':
    case 'X':
    case 'c':
        number = strchr("diu", conversion->type) != NULL;
        len = format_integer(text, room, conversion, args);
        break;
    case 's':
    case 'p': /* A pointer either way. */
        len = FORMAT_AS(const void *);
        break;
    case '%':
        len = snprintf(text, room, "%%");
        break;
    default:
        v = va_arg(*args, double);
        number = isfinite(v);
        len = snprintf(text, room, spec, v);
        break;
    }
    if (len < 0)
        return;
    value->len += (size_t)len < room ? (size_t)len : room > 0 ? room - 1 : 0;
    value->number = number && value->conversions == 0 && text == value->text;
    value->conversions++;
}

/* Whether a blank of the format is followed by the next "key=". */
static bool starts_key(const char *at)
{
    size_t len = strcspn(at, " =%");

    return len > 0 && at[len] == '=';
}

static void put_pairs(struct tide__log_line *line, const char *format, va_list *args)
{
    while (*format != '\0') {
        const char *key = format;
        size_t key_len = strcspn(format, "=");
        struct value value;

        if (format[key_len] == '\0') /* Not a pair. */
            return;
        value.len = 0;
        value.conversions = 0;
        value.number = false;
        format += key_len + 1;
        while (*format != '\0' && !(*format == ' ' && starts_key(format + 1))) {
            struct conversion conversion;

            if (*format != '%') {
                value_append(&value, format++, 1);
                value.number = false;
            } else if (conversion_read(&format, &conversion, args)) {
                value_convert(&value, &conversion, args);
            } else {
                return;
            }
        }
        if (*format == ' ')
            format++;
        put_pair(line, key, key_len, value.text, value.len, value.number);
    }
}

static void put_time(struct tide__log_line *line, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    char text[64];

    gmtime_r(&seconds, &parts);
    snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", parts.tm_year + 1900,
             parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
             (int)(wall_ms % 1000));
    put_text_pair(line, "ts", text);
}

void tide__log_format(struct tide__log_line *line, int64_t wall_ms, enum tide_log_level level,
                      const char *component, const char *message, const char *pairs_format,
                      va_list *args)
{
    line->len = 0;
    put_time(line, wall_ms);
    put_text_pair(line, "level", level_names[level]);
    put_text_pair(line, "component", component);
    put_text_pair(line, "msg", message);
    put_pairs(line, pairs_format, args);
    if (line_format == TIDE_LOG_JSON)
        line->text[line->len++] = '}';
    line->text[line->len++] = '\n';
}

void tide_log(enum tide_log_level level, const char *component, const char *message,
              const char *pairs_format, ...)
{
    struct tide__log_line line;
    va_list args;

    if (!tide_log_enabled(level))
        return;
    va_start(args, pairs_format);
    tide__log_format(&line, tide_clock_wall_ms(), level, component, message, pairs_format, &args);
    va_end(args);
    /* One write() a line: lines of several threads never mix. A log that cannot be written has
     * nobody to be told to. */
    while (write(STDERR_FILENO, line.text, line.len) < 0 && errno == EINTR)
        continue;
}
