/* The queries that run: which there are, and how one is ended from outside. */
#include "querier_private.h"

#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/base/metrics.h"
#include "tide/base/number.h"

#include <stdio.h>

/* Of a query's text, in the list: who looks at it wants to recognise it. */
#define TEXT_BYTES_MAX 4096

TIDE_COUNTER(canceled, "tide_querier_canceled_total", "",
             "Queries that were canceled by their id.");

static void collect(void *context, struct tide_buf *out)
{
    struct tide_querier *querier = context;
    size_t count = 0;

    pthread_mutex_lock(&querier->active_lock);
    for (const struct call *call = querier->active; call != NULL; call = call->next)
        count++;
    pthread_mutex_unlock(&querier->active_lock);
    tide_metrics_family(out, "tide_querier_active_queries", "gauge", "Queries that run.");
    tide_metrics_sample(out, "tide_querier_active_queries", "", (double)count);
    tide_metrics_family(out, "tide_querier_memory_bytes", "gauge", "Memory that queries hold.");
    tide_metrics_sample(
        out, "tide_querier_memory_bytes", "",
        (double)atomic_load_explicit(&querier->budget.memory_bytes, memory_order_relaxed));
}

void tide__active_init(struct tide_querier *querier)
{
    pthread_mutex_init(&querier->active_lock, NULL);
    tide_metric_register(&canceled);
    tide_metrics_collector_add(collect, querier);
}

void tide__active_deinit(struct tide_querier *querier)
{
    tide_metrics_collector_remove(collect, querier);
    pthread_mutex_destroy(&querier->active_lock);
}

/* The list is read after the exchange has been answered too: it has copies of what it shows. */
static enum tide_err describe(struct call *call)
{
    struct tide_slice text;

    if (!tide_http_param(call->x, "query", &text) && !tide_http_param(call->x, "match[]", &text))
        text = (struct tide_slice){NULL, 0};
    if (text.len > TEXT_BYTES_MAX)
        text.len = TEXT_BYTES_MAX;
    tide_buf_slice(&call->about, call->tenant);
    call->about_tenant = call->about.len;
    tide_buf_slice(&call->about, tide_http_path(call->x));
    call->about_path = call->about.len;
    tide_buf_slice(&call->about, text);
    return tide_buf_ok(&call->about);
}

enum tide_err tide__query_begin(struct call *call, struct tide_querier *querier,
                                struct tide_http_exchange *x)
{
    enum tide_err err = tide__call_begin(call, querier, x);

    if (err != TIDE_OK)
        return err;
    err = describe(call);
    if (err != TIDE_OK) {
        tide__call_fail(call, err);
        tide__call_end(call);
        return err;
    }
    call->begun_mono_ms = tide_clock_mono_ms();
    call->begun_wall_ms = tide_clock_wall_ms();
    pthread_mutex_lock(&querier->active_lock);
    call->id = ++querier->last_id;
    call->next = querier->active;
    if (call->next != NULL)
        call->next->prev = call;
    querier->active = call;
    pthread_mutex_unlock(&querier->active_lock);
    return TIDE_OK;
}

void tide__active_remove(struct call *call)
{
    struct tide_querier *querier = call->querier;

    if (call->id != 0) {
        pthread_mutex_lock(&querier->active_lock);
        if (call->prev != NULL)
            call->prev->next = call->next;
        else
            querier->active = call->next;
        if (call->next != NULL)
            call->next->prev = call->prev;
        pthread_mutex_unlock(&querier->active_lock);
    }
    tide_buf_deinit(&call->about);
}

static struct tide_slice part(const struct call *call, size_t from, size_t to)
{
    return (struct tide_slice){call->about.ptr + from, to - from};
}

static bool is_of(const struct call *call, struct tide_slice tenant)
{
    return tide_slice_eq(part(call, 0, call->about_tenant), tenant);
}

static void write_id(struct tide_json *json, uint64_t id)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%llu", (unsigned long long)id);

    tide_json_key_str(json, "id");
    tide_json_string(json, (struct tide_slice){(const uint8_t *)text, (size_t)n});
}

static void write_u64(struct tide_json *json, const char *key, const _Atomic uint64_t *value)
{
    tide_json_key_str(json, key);
    tide_json_u64(json, atomic_load_explicit(value, memory_order_relaxed));
}

static void write_query(struct tide_json *json, const struct call *call, int64_t now_ms)
{
    tide_json_object_begin(json);
    write_id(json, call->id);
    tide_json_key_str(json, "tenant");
    tide_json_string(json, part(call, 0, call->about_tenant));
    tide_json_key_str(json, "call");
    tide_json_string(json, part(call, call->about_tenant, call->about_path));
    tide_json_key_str(json, "query");
    tide_json_string(json, part(call, call->about_path, call->about.len));
    tide_json_key_str(json, "start");
    tide_json_timestamp(json, call->begun_wall_ms);
    tide_json_key_str(json, "elapsedSeconds");
    tide_json_number(json, (double)(now_ms - call->begun_mono_ms) / 1000);
    write_u64(json, "series", &call->limits.series);
    write_u64(json, "samples", &call->limits.samples);
    write_u64(json, "memoryBytes", &call->limits.memory_bytes);
    write_u64(json, "memoryPeakBytes", &call->limits.memory_peak_bytes);
    tide_json_object_end(json);
}

void tide__handle_active(void *context, struct tide_http_exchange *x)
{
    struct tide_querier *querier = context;
    struct call call;
    struct answer answer;

    if (tide__call_begin(&call, querier, x) != TIDE_OK)
        return;
    tide__answer_begin(&answer, &call);
    tide_json_array_begin(&answer.json);
    /* Written whole under the lock, and sent after: as many as there are query threads at most. */
    pthread_mutex_lock(&querier->active_lock);
    for (const struct call *c = querier->active; c != NULL; c = c->next) {
        if (is_of(c, call.tenant))
            write_query(&answer.json, c, tide_clock_mono_ms());
    }
    pthread_mutex_unlock(&querier->active_lock);
    tide_json_array_end(&answer.json);
    tide__answer_end(&answer, NULL, 0, NULL, 0);
    tide__call_end(&call);
}

/* Another tenant's query is not found either: its id says nothing. */
static bool cancel(struct tide_querier *querier, struct tide_slice tenant, uint64_t id)
{
    bool found = false;

    pthread_mutex_lock(&querier->active_lock);
    for (struct call *c = querier->active; c != NULL && !found; c = c->next) {
        if (c->id == id && is_of(c, tenant)) {
            atomic_store_explicit(&c->limits.canceled, true, memory_order_relaxed);
            found = true;
        }
    }
    pthread_mutex_unlock(&querier->active_lock);
    return found;
}

void tide__handle_cancel(void *context, struct tide_http_exchange *x)
{
    struct call call;
    struct answer answer;
    int64_t id;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    if (tide_number_parse_i64(tide_http_path_arg(x), &id) && id > 0 &&
        cancel(call.querier, call.tenant, (uint64_t)id)) {
        tide_metric_add(&canceled, 1);
        tide__answer_begin(&answer, &call);
        tide_json_object_begin(&answer.json);
        write_id(&answer.json, (uint64_t)id);
        tide_json_object_end(&answer.json);
        tide__answer_end(&answer, NULL, 0, NULL, 0);
    } else {
        tide__call_fail(&call, tide_diag_err(&call.diag, TIDE_ERR_NOT_FOUND,
                                             "no query of this tenant with this id runs"));
    }
    tide__call_end(&call);
}
