/* The calls over series and labels: each takes any number of match[] selectors and answers the
 * union. */
#include "querier_private.h"

#include "tide/base/mem.h"

#include <stdlib.h>

static const struct tide_slice truncated = {(const uint8_t *)"results truncated due to limit", 30};

/* One selection of the call: those of the nth match[], or of everything when there is none. */
struct selection {
    struct tide_promql query; /* Released by selection_end(). */
    struct tide_select select;
};

/* TIDE_END when there is no nth selection. */
static enum tide_err selection_begin(struct call *call, size_t n, int64_t start_ms, int64_t end_ms,
                                     bool required, struct selection *out)
{
    struct tide_slice text;
    enum tide_err err;

    *out = (struct selection){
        .select = {.tenant = call->tenant, .mint_ms = start_ms, .maxt_ms = end_ms}};
    if (!tide_http_param_nth(call->x, "match[]", n, &text)) {
        if (n > 0)
            return TIDE_END;
        return required
                   ? tide_diag_err(&call->diag, TIDE_ERR_INVALID, "no match[] parameter provided")
                   : TIDE_OK;
    }
    err = tide_promql_parse_selector(text, call->arena, &out->query, &call->diag);
    if (err != TIDE_OK) {
        struct tide_diag cause = call->diag;

        call->diag.text[0] = '\0';
        return tide_diag_err(&call->diag, err, "invalid parameter \"match[]\": %s", cause.text);
    }
    out->select.matchers = out->query.root->u.selector.matchers;
    out->select.matcher_count = out->query.root->u.selector.matcher_count;
    return TIDE_OK;
}

static void selection_end(struct selection *selection)
{
    tide_promql_release(&selection->query);
}

/* ---- series ---- */

struct label_sets {
    struct tide_labels *items; /* tide_mem */
    size_t count;
    size_t capacity;
};

static int compare_labels(const void *a, const void *b)
{
    return tide_labels_cmp(*(const struct tide_labels *)a, *(const struct tide_labels *)b);
}

static enum tide_err gather_series(struct call *call, const struct tide_select *select,
                                   struct label_sets *sets)
{
    const struct tide_source *source = call->querier->options.source;
    struct tide_series_set *set;
    enum tide_err err = source->select(source->context, select, &call->limits, &set, &call->diag);

    if (err != TIDE_OK)
        return err;
    err = tide_mem_grow((void **)&sets->items, &sets->capacity, sets->count + set->count,
                        sizeof(*sets->items));
    for (size_t i = 0; err == TIDE_OK && i < set->count; i++) {
        struct tide_labels labels;

        /* Copied, since the set goes before the answer is written. */
        err = set->ops->labels(set, i, call->arena, &labels);
        if (err == TIDE_OK)
            err = tide_labels_copy(call->arena, labels, &sets->items[sets->count]);
        if (err == TIDE_OK)
            sets->count++;
        if (err == TIDE_ERR_NO_MEMORY)
            err = tide__call_over_memory(call);
        if (err == TIDE_OK)
            err = tide__call_charge(call);
        if (err == TIDE_OK && i % 1024 == 0)
            err = tide_query_check(&call->limits);
    }
    set->ops->free(set);
    return err;
}

static void write_series(struct call *call, struct label_sets *sets, uint64_t limit)
{
    struct answer answer;
    size_t written = 0;
    bool cut = false;

    if (sets->count > 0)
        qsort(sets->items, sets->count, sizeof(*sets->items), compare_labels);
    tide__answer_begin(&answer, call);
    tide_json_array_begin(&answer.json);
    for (size_t i = 0; i < sets->count && !cut; i++) {
        if (i > 0 && tide_labels_eq(sets->items[i], sets->items[i - 1]))
            continue;
        cut = limit > 0 && written == limit;
        if (cut)
            break;
        tide__json_labels(&answer.json, sets->items[i]);
        tide__answer_flush(&answer);
        written++;
    }
    tide_json_array_end(&answer.json);
    tide__answer_end(&answer, &truncated, cut ? 1 : 0, NULL, 0);
}

void tide__handle_series(void *context, struct tide_http_exchange *x)
{
    struct label_sets sets = {NULL, 0, 0};
    struct selection selection;
    int64_t start_ms, end_ms;
    uint64_t limit = 0;
    struct call call;
    enum tide_err err;

    if (tide__query_begin(&call, context, x) != TIDE_OK)
        return;
    err = tide__param_range(&call, &start_ms, &end_ms);
    if (err == TIDE_OK)
        err = tide__param_limit(&call, "limit", &limit);
    for (size_t n = 0; err == TIDE_OK; n++) {
        err = selection_begin(&call, n, start_ms, end_ms, true, &selection);
        if (err == TIDE_OK) {
            err = gather_series(&call, &selection.select, &sets);
            selection_end(&selection);
        }
    }
    if (err == TIDE_END)
        write_series(&call, &sets, limit);
    else
        tide__call_fail(&call, err);
    tide_mem_free(sets.items);
    tide__call_end(&call);
}

/* ---- labels and label values ---- */

static void write_strings(struct call *call, struct strings *strings, uint64_t limit)
{
    struct answer answer;
    size_t count;

    tide__strings_sort(strings);
    count = limit > 0 && limit < strings->count ? (size_t)limit : strings->count;
    tide__answer_begin(&answer, call);
    tide_json_array_begin(&answer.json);
    for (size_t i = 0; i < count; i++) {
        tide_json_string(&answer.json, strings->items[i]);
        tide__answer_flush(&answer);
    }
    tide_json_array_end(&answer.json);
    tide__answer_end(&answer, &truncated, count < strings->count ? 1 : 0, NULL, 0);
}

/* Label names, or the values of *name. */
static void answer_strings(struct call *call, const struct tide_slice *name)
{
    const struct tide_source *source = call->querier->options.source;
    struct strings strings = {.call = call};
    struct selection selection;
    int64_t start_ms, end_ms;
    uint64_t limit = 0;
    enum tide_err err = tide__param_range(call, &start_ms, &end_ms);

    if (err == TIDE_OK)
        err = tide__param_limit(call, "limit", &limit);
    for (size_t n = 0; err == TIDE_OK; n++) {
        err = selection_begin(call, n, start_ms, end_ms, false, &selection);
        if (err != TIDE_OK)
            break;
        if (name == NULL)
            err = source->label_names(source->context, &selection.select, &call->limits,
                                      tide__strings_add, &strings, &call->diag);
        else
            err = source->label_values(source->context, &selection.select, *name, &call->limits,
                                       tide__strings_add, &strings, &call->diag);
        selection_end(&selection);
        if (err == TIDE_OK)
            err = strings.err;
    }
    if (err == TIDE_END)
        write_strings(call, &strings, limit);
    else
        tide__call_fail(call, err);
    tide__strings_deinit(&strings);
}

void tide__handle_labels(void *context, struct tide_http_exchange *x)
{
    struct call call;

    if (tide__query_begin(&call, context, x) != TIDE_OK)
        return;
    answer_strings(&call, NULL);
    tide__call_end(&call);
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void put_utf8(struct tide_buf *out, uint32_t c)
{
    if (c < 0x80) {
        tide_buf_byte(out, (uint8_t)c);
    } else if (c < 0x800) {
        tide_buf_byte(out, (uint8_t)(0xc0 | c >> 6));
        tide_buf_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        tide_buf_byte(out, (uint8_t)(0xe0 | c >> 12));
        tide_buf_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        tide_buf_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        tide_buf_byte(out, (uint8_t)(0xf0 | c >> 18));
        tide_buf_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        tide_buf_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        tide_buf_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

/* Names that are not [a-zA-Z_][a-zA-Z0-9_]* stand in a path as U__ and escapes: __ for _, _HEX_ for
 * the code point. What is no such escape is taken as it stands. Source: Prometheus documentation,
 * "UTF-8 in Prometheus". */
static struct tide_slice unescape(struct call *call, struct tide_slice name)
{
    struct tide_buf out = {0};
    struct tide_slice plain = name;
    size_t i = 3;
    bool good = tide_slice_starts(name, TIDE_SLICE("U__"));

    while (good && i < name.len) {
        uint32_t point = 0;
        size_t j = i + 1;

        if (name.ptr[i] != '_') {
            tide_buf_byte(&out, name.ptr[i++]);
            continue;
        }
        while (j < name.len && j < i + 8 && hex_digit(name.ptr[j]) >= 0)
            point = point * 16 + (uint32_t)hex_digit(name.ptr[j++]);
        good = j < name.len && name.ptr[j] == '_' && point <= 0x10ffff;
        put_utf8(&out, j == i + 1 ? '_' : point);
        i = j + 1;
    }
    if (good && tide_buf_ok(&out) == TIDE_OK)
        plain = tide_arena_copy(call->arena, tide_buf_view(&out));
    tide_buf_deinit(&out);
    return plain;
}

void tide__handle_label_values(void *context, struct tide_http_exchange *x)
{
    struct tide_slice name;
    struct call call;

    if (tide__query_begin(&call, context, x) != TIDE_OK)
        return;
    name = unescape(&call, tide_http_path_arg(x));
    if (name.len == 0 || !tide_slice_is_utf8(name)) {
        tide_diag_set(&call.diag, "invalid label name: \"%.*s\"",
                      (int)(name.len > 200 ? 200 : name.len), (const char *)name.ptr);
        tide__call_fail(&call, TIDE_ERR_INVALID);
    } else {
        answer_strings(&call, &name);
    }
    tide__call_end(&call);
}
