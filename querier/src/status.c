#include "querier_private.h"

#include "tide/base/clock.h"
#include "tide/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* ---- status/tsdb ---- */

struct counted {
    struct tide_slice name;
    struct tide_slice value;
    uint64_t count;
};

struct counted_list {
    struct call *call;
    struct counted *items; /* tide_mem */
    size_t count;
    size_t capacity;
    enum tide_err err;
};

static bool counted_add(void *context, struct tide_slice name, struct tide_slice value,
                        uint64_t count)
{
    struct counted_list *list = context;
    struct tide_arena *arena = list->call->arena;
    struct counted item = {tide_arena_copy(arena, name), tide_arena_copy(arena, value), count};

    /* As in tide__strings_add(): the first failure stays. */
    if (list->err != TIDE_OK)
        return false;
    list->err = tide_mem_grow((void **)&list->items, &list->capacity, list->count + 1,
                              sizeof(*list->items));
    if (list->err == TIDE_OK &&
        ((item.name.ptr == NULL && name.len > 0) || (item.value.ptr == NULL && value.len > 0)))
        list->err = tide__call_over_memory(list->call);
    if (list->err == TIDE_OK)
        list->err = tide_query_check(&list->call->limits);
    if (list->err != TIDE_OK)
        return false;
    list->items[list->count++] = item;
    return true;
}

static int compare_names(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    int order = tide_slice_cmp(x->name, y->name);

    return order != 0 ? order : tide_slice_cmp(x->value, y->value);
}

static int compare_counts(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;

    return x->count > y->count ? -1 : x->count < y->count ? 1 : compare_names(a, b);
}

/* Adds up what several shards count for the same name and value, and sorts by count. */
static void merge(struct counted_list *list)
{
    size_t kept = 0;

    if (list->count == 0)
        return;
    qsort(list->items, list->count, sizeof(*list->items), compare_names);
    for (size_t i = 1; i < list->count; i++) {
        if (compare_names(&list->items[kept], &list->items[i]) != 0)
            list->items[++kept] = list->items[i];
        else
            list->items[kept].count += list->items[i].count;
    }
    list->count = kept + 1;
    qsort(list->items, list->count, sizeof(*list->items), compare_counts);
}

/* name=value where there is a value: the API's form of a label pair. */
static void write_counted(struct answer *answer, const char *key, struct counted_list *list,
                          uint64_t limit)
{
    struct tide_json *json = &answer->json;

    merge(list);
    tide_json_key_str(json, key);
    tide_json_array_begin(json);
    for (size_t i = 0; i < list->count && i < limit; i++) {
        const struct counted *item = &list->items[i];
        struct tide_buf name = {0};

        tide_buf_slice(&name, item->name);
        if (item->name.len > 0 && item->value.len > 0)
            tide_buf_byte(&name, '=');
        tide_buf_slice(&name, item->value);
        tide_json_object_begin(json);
        tide_json_key_str(json, "name");
        tide_json_string(json, tide_buf_view(&name));
        tide_json_key_str(json, "value");
        tide_json_u64(json, item->count);
        tide_json_object_end(json);
        tide_buf_deinit(&name);
    }
    tide_json_array_end(json);
}

static enum tide_err write_cardinality(struct answer *answer, const char *key,
                                       enum tide_cardinality what, uint64_t limit)
{
    struct call *call = answer->call;
    const struct tide_source *source = call->querier->options.source;
    struct counted_list list = {.call = call};
    enum tide_err err =
        source->cardinality(source->context, call->tenant, what, counted_add, &list);

    if (err == TIDE_OK)
        err = list.err;
    if (err == TIDE_OK)
        write_counted(answer, key, &list, limit);
    tide_mem_free(list.items);
    return err;
}

/* Distinct values of each label name, and their bytes. Shards share values, so they are gathered,
 * not added up. */
static enum tide_err count_values(struct call *call, struct counted_list *counts,
                                  struct counted_list *bytes)
{
    const struct tide_source *source = call->querier->options.source;
    const struct tide_select all = {
        .tenant = call->tenant, .mint_ms = INT64_MIN, .maxt_ms = INT64_MAX};
    struct strings names = {.call = call};
    enum tide_err err = source->label_names(source->context, &all, &call->limits, tide__strings_add,
                                            &names, &call->diag);

    if (err == TIDE_OK)
        err = names.err;
    tide__strings_sort(&names);
    for (size_t i = 0; err == TIDE_OK && i < names.count; i++) {
        struct strings values = {.call = call};
        uint64_t sum = 0;

        err = source->label_values(source->context, &all, names.items[i], &call->limits,
                                   tide__strings_add, &values, &call->diag);
        if (err == TIDE_OK)
            err = values.err;
        tide__strings_sort(&values);
        for (size_t v = 0; v < values.count; v++)
            sum += values.items[v].len;
        if (err == TIDE_OK &&
            !(counted_add(counts, names.items[i], (struct tide_slice){NULL, 0}, values.count) &&
              counted_add(bytes, names.items[i], (struct tide_slice){NULL, 0}, sum)))
            err = counts->err != TIDE_OK ? counts->err : bytes->err;
        tide__strings_deinit(&values);
    }
    tide__strings_deinit(&names);
    return err;
}

static enum tide_err write_value_counts(struct answer *answer, uint64_t limit)
{
    struct counted_list counts = {.call = answer->call};
    struct counted_list bytes = {.call = answer->call};
    enum tide_err err = count_values(answer->call, &counts, &bytes);

    if (err == TIDE_OK) {
        write_counted(answer, "labelValueCountByLabelName", &counts, limit);
        write_counted(answer, "memoryInBytesByLabelName", &bytes, limit);
    }
    tide_mem_free(counts.items);
    tide_mem_free(bytes.items);
    return err;
}

static void write_head_stats(struct tide_json *json, const struct tide_source_stats *stats)
{
    tide_json_key_str(json, "headStats");
    tide_json_object_begin(json);
    tide_json_key_str(json, "numSeries");
    tide_json_u64(json, stats->series);
    tide_json_key_str(json, "numLabelPairs");
    tide_json_u64(json, stats->label_pairs);
    tide_json_key_str(json, "numSamples");
    tide_json_u64(json, stats->samples);
    tide_json_key_str(json, "chunkCount");
    tide_json_u64(json, stats->chunks);
    tide_json_key_str(json, "minTime");
    tide_json_i64(json, stats->min_ms);
    tide_json_key_str(json, "maxTime");
    tide_json_i64(json, stats->max_ms);
    tide_json_object_end(json);
}

void tide__handle_tsdb(void *context, struct tide_http_exchange *x)
{
    struct tide_source_stats stats;
    struct answer answer;
    uint64_t limit;
    struct call call;
    enum tide_err err;

    if (tide__query_begin(&call, context, x) != TIDE_OK)
        return;
    err = tide__param_limit(&call, "limit", &limit);
    if (limit == 0)
        limit = 10;
    if (err == TIDE_OK)
        err = call.querier->options.source->stats(call.querier->options.source->context,
                                                  call.tenant, &stats);
    if (err == TIDE_OK) {
        tide__answer_begin(&answer, &call);
        tide_json_object_begin(&answer.json);
        write_head_stats(&answer.json, &stats);
        err = write_cardinality(&answer, "seriesCountByMetricName",
                                TIDE_CARDINALITY_SERIES_BY_METRIC, limit);
        if (err == TIDE_OK)
            err = write_value_counts(&answer, limit);
        if (err == TIDE_OK)
            err = write_cardinality(&answer, "seriesCountByLabelValuePair",
                                    TIDE_CARDINALITY_SERIES_BY_PAIR, limit);
        tide_json_object_end(&answer.json);
        if (err == TIDE_OK)
            tide__answer_end(&answer, NULL, 0, NULL, 0);
        else
            tide_buf_deinit(&answer.buf);
    }
    if (err != TIDE_OK)
        tide__call_fail(&call, err);
    tide__call_end(&call);
}

/* ---- What is the same for every tenant ---- */

static void write_pair(struct tide_json *json, const char *key, const char *value)
{
    tide_json_key_str(json, key);
    tide_json_str(json, value);
}

void tide__handle_buildinfo(void *context, struct tide_http_exchange *x)
{
    struct call call;
    struct answer answer;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    tide__answer_begin(&answer, &call);
    tide_json_object_begin(&answer.json);
    write_pair(&answer.json, "application", "Tidemark");
    write_pair(&answer.json, "version", call.querier->options.version);
    write_pair(&answer.json, "revision", "");
    write_pair(&answer.json, "branch", "main");
    write_pair(&answer.json, "buildUser", "");
    write_pair(&answer.json, "buildDate", "");
    write_pair(&answer.json, "goVersion", "");
    tide_json_object_end(&answer.json);
    tide__answer_end(&answer, NULL, 0, NULL, 0);
    tide__call_end(&call);
}

void tide__handle_runtimeinfo(void *context, struct tide_http_exchange *x)
{
    struct call call;
    struct answer answer;
    struct tm tm;
    time_t started;
    char text[32];

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    started = (time_t)(call.querier->started_ms / 1000);
    gmtime_r(&started, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
    tide__answer_begin(&answer, &call);
    tide_json_object_begin(&answer.json);
    write_pair(&answer.json, "startTime", text);
    tide_json_object_end(&answer.json);
    tide__answer_end(&answer, NULL, 0, NULL, 0);
    tide__call_end(&call);
}
