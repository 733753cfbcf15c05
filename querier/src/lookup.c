/* The calls that look something up beside samples: metadata, exemplars, and the canonical text of a
 * query. */
#include "querier_private.h"

#include "tide/base/mem.h"

#include <stdlib.h>

/* ---- metadata ---- */

struct metadata_list {
    struct call *call;
    struct tide_metadata *items; /* tide_mem */
    size_t count;
    size_t capacity;
    enum tide_err err;
};

static bool metadata_add(void *context, const struct tide_metadata *metadata)
{
    struct metadata_list *list = context;
    struct tide_arena *arena = list->call->arena;
    struct tide_metadata copy = {.kind = metadata->kind,
                                 .metric = tide_arena_copy(arena, metadata->metric),
                                 .help = tide_arena_copy(arena, metadata->help),
                                 .unit = tide_arena_copy(arena, metadata->unit)};

    /* As in tide__strings_add(): the first failure stays. */
    if (list->err != TIDE_OK)
        return false;
    list->err = tide_mem_grow((void **)&list->items, &list->capacity, list->count + 1,
                              sizeof(*list->items));
    if (list->err == TIDE_OK &&
        (copy.metric.ptr == NULL || (copy.help.ptr == NULL && metadata->help.len > 0) ||
         (copy.unit.ptr == NULL && metadata->unit.len > 0)))
        list->err = tide__call_over_memory(list->call);
    if (list->err != TIDE_OK)
        return false;
    list->items[list->count++] = copy;
    return true;
}

static int compare_metadata(const void *a, const void *b)
{
    return tide_slice_cmp(((const struct tide_metadata *)a)->metric,
                          ((const struct tide_metadata *)b)->metric);
}

static void write_metadata(struct call *call, struct metadata_list *list, uint64_t limit,
                           uint64_t per_metric)
{
    struct answer answer;
    struct tide_json *json = &answer.json;
    uint64_t metrics = 0;

    if (list->count > 0)
        qsort(list->items, list->count, sizeof(*list->items), compare_metadata);
    tide__answer_begin(&answer, call);
    tide_json_object_begin(json);
    for (size_t i = 0; i < list->count && (limit == 0 || metrics < limit); metrics++) {
        const struct tide_slice metric = list->items[i].metric;
        uint64_t n = 0;

        tide_json_key(json, metric);
        tide_json_array_begin(json);
        for (; i < list->count && tide_slice_eq(list->items[i].metric, metric); i++, n++) {
            if (per_metric > 0 && n >= per_metric)
                continue;
            tide_json_object_begin(json);
            tide_json_key_str(json, "type");
            tide_json_str(json, tide_metric_kind_text(list->items[i].kind));
            tide_json_key_str(json, "help");
            tide_json_string(json, list->items[i].help);
            tide_json_key_str(json, "unit");
            tide_json_string(json, list->items[i].unit);
            tide_json_object_end(json);
        }
        tide_json_array_end(json);
        tide__answer_flush(&answer);
    }
    tide_json_object_end(json);
    tide__answer_end(&answer, NULL, 0, NULL, 0);
}

void tide__handle_metadata(void *context, struct tide_http_exchange *x)
{
    struct tide_slice metric = {NULL, 0};
    uint64_t limit, per_metric;
    struct call call;
    struct metadata_list list = {.call = &call};
    const struct tide_source *source;
    enum tide_err err;

    if (tide__query_begin(&call, context, x) != TIDE_OK)
        return;
    source = call.querier->options.source;
    err = tide__param_limit(&call, "limit", &limit);
    if (err == TIDE_OK)
        err = tide__param_limit(&call, "limit_per_metric", &per_metric);
    if (err == TIDE_OK && !tide_http_param(x, "metric", &metric))
        metric = (struct tide_slice){NULL, 0};
    if (err == TIDE_OK)
        err = source->metadata(source->context, call.tenant, metric, metadata_add, &list);
    if (err == TIDE_OK)
        err = list.err;
    if (err == TIDE_OK)
        write_metadata(&call, &list, limit, per_metric);
    else
        tide__call_fail(&call, err);
    tide_mem_free(list.items);
    tide__call_end(&call);
}

/* ---- exemplars ---- */

static bool exemplars_write(void *context, struct tide_labels series,
                            const struct tide_exemplar *exemplars, size_t count)
{
    struct answer *answer = context;
    struct tide_json *json = &answer->json;

    tide_json_object_begin(json);
    tide_json_key_str(json, "seriesLabels");
    tide__json_labels(json, series);
    tide_json_key_str(json, "exemplars");
    tide_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        tide_json_object_begin(json);
        tide_json_key_str(json, "labels");
        tide__json_labels(json, exemplars[i].labels);
        tide_json_key_str(json, "value");
        tide_json_value(json, tide_value(exemplars[i].bits));
        tide_json_key_str(json, "timestamp");
        tide_json_timestamp(json, exemplars[i].ts_ms);
        tide_json_object_end(json);
    }
    tide_json_array_end(json);
    tide_json_object_end(json);
    return answer->err == TIDE_OK;
}

/* Two selectors of one query may match the same series: it is then answered for both, as the order
 * of the query has it. */
static enum tide_err answer_exemplars(struct call *call, const struct tide_promql *query,
                                      int64_t start_ms, int64_t end_ms, struct answer *answer)
{
    const struct tide_source *source = call->querier->options.source;
    enum tide_err err = TIDE_OK;

    for (size_t i = 0; err == TIDE_OK && i < query->selector_count; i++) {
        const struct tide_select select = {.tenant = call->tenant,
                                           .matchers = query->selectors[i]->u.selector.matchers,
                                           .matcher_count =
                                               query->selectors[i]->u.selector.matcher_count,
                                           .mint_ms = start_ms,
                                           .maxt_ms = end_ms};

        err = source->exemplars(source->context, &select, &call->limits, exemplars_write, answer,
                                &call->diag);
    }
    return err;
}

void tide__handle_exemplars(void *context, struct tide_http_exchange *x)
{
    struct tide_slice text = {NULL, 0};
    struct tide_promql query = {.root = NULL};
    struct tide_diag diag = {{0}};
    int64_t start_ms, end_ms;
    struct answer answer;
    struct call call;
    enum tide_err err;

    if (tide__query_begin(&call, context, x) != TIDE_OK)
        return;
    err = tide__param_range(&call, &start_ms, &end_ms);
    if (err == TIDE_OK && !tide_http_param(x, "query", &text))
        text = (struct tide_slice){NULL, 0};
    if (err == TIDE_OK) {
        err = tide_promql_parse(text, call.arena, &query, &diag);
        if (err != TIDE_OK)
            tide_diag_set(&call.diag, "invalid parameter \"query\": %s", diag.text);
    }
    if (err == TIDE_OK) {
        tide__answer_begin(&answer, &call);
        tide_json_array_begin(&answer.json);
        err = answer_exemplars(&call, &query, start_ms, end_ms, &answer);
        if (err == TIDE_OK) {
            tide_json_array_end(&answer.json);
            tide__answer_end(&answer, NULL, 0, NULL, 0);
        } else {
            tide_buf_deinit(&answer.buf);
        }
    }
    if (err != TIDE_OK)
        tide__call_fail(&call, err);
    tide_promql_release(&query);
    tide__call_end(&call);
}

/* ---- format_query ---- */

void tide__handle_format(void *context, struct tide_http_exchange *x)
{
    struct tide_slice text = {NULL, 0};
    struct tide_promql query = {.root = NULL};
    struct tide_diag diag = {{0}};
    struct tide_buf formatted = {0};
    struct answer answer;
    struct call call;
    enum tide_err err;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    if (!tide_http_param(x, "query", &text))
        text = (struct tide_slice){NULL, 0};
    err = tide_promql_parse(text, call.arena, &query, &diag);
    if (err != TIDE_OK) {
        tide_diag_set(&call.diag, "invalid parameter \"query\": %s", diag.text);
    } else {
        tide_promql_format(query.root, &formatted);
        err = tide_buf_ok(&formatted);
    }
    if (err == TIDE_OK) {
        tide__answer_begin(&answer, &call);
        tide_json_string(&answer.json, tide_buf_view(&formatted));
        tide__answer_end(&answer, NULL, 0, NULL, 0);
    } else {
        tide__call_fail(&call, err);
    }
    tide_buf_deinit(&formatted);
    tide_promql_release(&query);
    tide__call_end(&call);
}
