/* Warnings and infos of a query. They come from kernels in any thread, most of them again for
 * every series; each distinct text is kept once, and no more than a bound of them: a query over
 * many bad series must not answer with a page of warnings (Grafana shows each on every frame). */
#include "eval_private.h"

#include "tide/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

/* Prometheus shows 10 of each kind and says how many it left out. */
#define NOTES_MAX 40
#define NOTE_BYTES_MAX 1024

enum tide_err tide__notes_init(struct tide__notes *notes)
{
    *notes = (struct tide__notes){.arena = tide_arena_new(0)};
    if (notes->arena == NULL)
        return TIDE_ERR_NO_MEMORY;
    (void)pthread_mutex_init(&notes->lock, NULL);
    return TIDE_OK;
}

void tide__notes_deinit(struct tide__notes *notes)
{
    if (notes->arena == NULL)
        return;
    tide_arena_free(notes->arena);
    tide_mem_free(notes->list);
    (void)pthread_mutex_destroy(&notes->lock);
    notes->arena = NULL;
}

/* Line and column of a byte of the query, both from 1. */
static void note_place(struct tide_slice text, uint32_t at, unsigned *line, unsigned *column)
{
    *line = 1;
    *column = 1;
    for (uint32_t i = 0; i < at && i < text.len; i++) {
        if (text.ptr[i] == '\n') {
            (*line)++;
            *column = 1;
        } else {
            (*column)++;
        }
    }
}

static void note_add_locked(struct tide__notes *notes, bool info, struct tide_slice text)
{
    void *list = notes->list;
    struct tide_slice copy;

    for (size_t i = 0; i < notes->count; i++)
        if (notes->list[i].info == info && tide_slice_eq(notes->list[i].text, text))
            return;
    if (notes->count >= NOTES_MAX) {
        notes->omitted++;
        return;
    }
    /* Out of memory: one note fewer. The query itself will meet the lack soon enough. */
    if (tide_mem_grow(&list, &notes->capacity, notes->count + 1, sizeof(*notes->list)) != TIDE_OK)
        return;
    notes->list = list;
    copy = tide_arena_copy(notes->arena, text);
    if (copy.ptr == NULL)
        return;
    notes->list[notes->count++] = (struct tide__note){info, copy};
}

static void note_format(struct tide__eval *eval, bool info, struct tide_promql_range pos,
                        const char *format, va_list arguments) TIDE_PRINTF(4, 0);

static void note_format(struct tide__eval *eval, bool info, struct tide_promql_range pos,
                        const char *format, va_list arguments)
{
    char text[NOTE_BYTES_MAX];
    int head = snprintf(text, sizeof(text), "PromQL %s: ", info ? "info" : "warning");
    size_t len = (size_t)head;
    unsigned line;
    unsigned column;
    int more = vsnprintf(text + len, sizeof(text) - len, format, arguments);

    if (more < 0)
        return;
    len += (size_t)more;
    if (len > sizeof(text) - 32) { /* Room for the place. */
        len = sizeof(text) - 32;
        while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
            len--; /* Not in the middle of a character. */
    }
    note_place(eval->query.text, pos.start, &line, &column);
    more = snprintf(text + len, sizeof(text) - len, " (%u:%u)", line, column);
    if (more < 0)
        return;
    len += (size_t)more;
    (void)pthread_mutex_lock(&eval->notes.lock);
    note_add_locked(&eval->notes, info, (struct tide_slice){(const uint8_t *)text, len});
    (void)pthread_mutex_unlock(&eval->notes.lock);
}

void tide__note_at(struct tide__eval *eval, bool info, struct tide_promql_range pos,
                   const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    note_format(eval, info, pos, format, arguments);
    va_end(arguments);
}

static struct tide_promql_range call_pos(const struct tide__call *call, size_t arg)
{
    if (arg < call->expr->u.call.arg_count)
        return tide_expr_unparen(call->expr->u.call.args[arg])->pos; /* As Prometheus points. */
    return call->expr->pos;
}

void tide__call_warn(const struct tide__call *call, size_t arg, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    note_format(call->eval, false, call_pos(call, arg), format, arguments);
    va_end(arguments);
}

void tide__call_info(const struct tide__call *call, size_t arg, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    note_format(call->eval, true, call_pos(call, arg), format, arguments);
    va_end(arguments);
}
