#include "tide/base/err.h"

#include "tide/base/assert.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "utf8_private.h"

static const struct entry {
    const char *name;
    const char *text;
    int status;
} entries[] = {
#define ERR_ENTRY(name, status, text) {#name, text, status},
    TIDE_ERR_MAP(ERR_ENTRY)
#undef ERR_ENTRY
};
static const struct entry success = {"OK", "success", 200};
static const struct entry end = {"END", "end", 500};
static const struct entry unknown = {"UNKNOWN", "unknown error", 500};

static const struct entry *entry_of(enum tide_err err)
{
    size_t index = (size_t)err - TIDE_ERR_BASE - 1; /* Wraps to a large one below the first. */

    if (err == TIDE_OK)
        return &success;
    if (err == TIDE_END)
        return &end;
    return index < sizeof(entries) / sizeof(entries[0]) ? &entries[index] : &unknown;
}

const char *tide_err_text(enum tide_err err)
{
    return entry_of(err)->text;
}

const char *tide_err_name(enum tide_err err)
{
    return entry_of(err)->name;
}

int tide_err_http_status(enum tide_err err)
{
    return entry_of(err)->status;
}

/* Makes text valid UTF-8: the sequence that vsnprintf cut at the end is dropped, bad bytes in the
 * middle (a sender's label value, say) become '?'. */
static void clean(char *text, size_t len, bool cut)
{
    size_t at = 0;

    while (at < len) {
        size_t run = tide__utf8_run((const uint8_t *)text + at, len - at);

        at += run;
        if (at == len)
            return;
        if (cut && len - at < 4 && tide__utf8_is_prefix((const uint8_t *)text + at, len - at)) {
            text[at] = '\0';
            return;
        }
        text[at++] = '?';
    }
}

static void diag_vset(struct tide_diag *diag, const char *format, va_list args)
{
    int len;

    if (diag == NULL || diag->text[0] != '\0')
        return;
    len = vsnprintf(diag->text, sizeof(diag->text), format, args);
    if (len < 0) {
        diag->text[0] = '\0';
        return;
    }
    if ((size_t)len < sizeof(diag->text))
        clean(diag->text, (size_t)len, false);
    else
        clean(diag->text, sizeof(diag->text) - 1, true);
}

void tide_diag_set(struct tide_diag *diag, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    diag_vset(diag, format, args);
    va_end(args);
}

enum tide_err tide_diag_err(struct tide_diag *diag, enum tide_err err, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    diag_vset(diag, format, args);
    va_end(args);
    return err;
}

_Noreturn void tide_assert_fail(const char *expr, const char *file, int line)
{
    fprintf(stderr, "%s:%d: assertion failed: %s\n", file, line, expr);
    abort();
}
