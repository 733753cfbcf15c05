#include "querier_private.h"

#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/base/metrics.h"

#define JSON_TYPE "application/json"
#define FLUSH_BYTES (128u << 10)

TIDE_COUNTER(answers_ok, "tide_querier_requests_total", "outcome=\"success\"",
             "API requests by outcome.");
TIDE_COUNTER(answers_bad, "tide_querier_requests_total", "outcome=\"refused\"",
             "API requests by outcome.");
TIDE_COUNTER(answers_failed, "tide_querier_requests_total", "outcome=\"failed\"",
             "API requests by outcome.");

void tide__answer_metrics_register(void)
{
    tide_metric_register(&answers_ok);
    tide_metric_register(&answers_bad);
    tide_metric_register(&answers_failed);
}

/* ---- Errors ---- */

struct error_kind {
    const char *type; /* errorType of the API. */
    int status;
};

static struct error_kind kind_of(enum tide_err err)
{
    switch (err) {
    case TIDE_ERR_INVALID:
    case TIDE_ERR_TOO_LARGE:
        return (struct error_kind){"bad_data", 400};
    case TIDE_ERR_EXECUTION:
    case TIDE_ERR_UNSUPPORTED:
    case TIDE_ERR_LIMIT:
        return (struct error_kind){"execution", 422};
    case TIDE_ERR_TIMEOUT:
        return (struct error_kind){"timeout", 503};
    case TIDE_ERR_CANCELED:
        return (struct error_kind){"canceled", 503};
    case TIDE_ERR_NOT_FOUND:
        return (struct error_kind){"not_found", 404};
    case TIDE_ERR_NO_MEMORY:
    case TIDE_ERR_UNAVAILABLE:
    case TIDE_ERR_DISK_FULL:
    case TIDE_ERR_BUSY:
        return (struct error_kind){"unavailable", 503};
    default:
        return (struct error_kind){"internal", 500};
    }
}

static void write_error(struct tide_buf *out, const char *type, const char *message)
{
    struct tide_json json = tide_json(out);

    tide_json_object_begin(&json);
    tide_json_key_str(&json, "status");
    tide_json_str(&json, "error");
    tide_json_key_str(&json, "errorType");
    tide_json_str(&json, type);
    tide_json_key_str(&json, "error");
    tide_json_str(&json, message);
    tide_json_object_end(&json);
}

void tide_querier_error_body(int status, const char *message, struct tide_buf *out,
                             const char **content_type)
{
    write_error(out,
                status == 404                   ? "not_found"
                : status >= 400 && status < 500 ? "bad_data"
                : status == 503                 ? "unavailable"
                                                : "internal",
                message);
    *content_type = JSON_TYPE;
}

static void respond_error(struct tide_http_exchange *x, enum tide_err err, const char *message)
{
    const struct error_kind kind = kind_of(err);
    struct tide_buf body = {0};

    write_error(&body, kind.type, message[0] != '\0' ? message : tide_err_text(err));
    tide_metric_add(kind.status < 500 ? &answers_bad : &answers_failed, 1);
    if (kind.status == 503)
        tide_http_add_header(x, "Retry-After", "1");
    tide_http_respond(x, kind.status, JSON_TYPE, &body);
}

void tide__call_fail(struct call *call, enum tide_err err)
{
    respond_error(call->x, err, call->diag.text);
}

enum tide_err tide__call_over_memory(struct call *call)
{
    enum tide_err err = tide_diag_err(&call->diag, TIDE_ERR_LIMIT,
                                      "the answer needs more memory than a query may use");

    tide__call_add_bill(call);
    return err;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / (1 << 20);
}

void tide__call_add_bill(struct call *call)
{
    const struct tide_query_limits *limits = &call->limits;
    const struct tide_diag why = call->diag;
    uint64_t asked = atomic_load_explicit(&limits->refused_bytes, memory_order_relaxed);
    uint64_t all = atomic_load_explicit(&limits->refused_budget_bytes, memory_order_relaxed);
    uint64_t peak = atomic_load_explicit(&limits->memory_peak_bytes, memory_order_relaxed);

    if (asked == 0)
        return;
    call->diag.text[0] = '\0';
    tide_diag_set(&call->diag,
                  "%s: it held %.1f MiB of %.1f (query.memory_bytes_max) and asked for %.1f more; "
                  "all queries held %.1f MiB of %.1f (query.total_memory_bytes_max)",
                  why.text, mib(peak), mib(limits->memory_bytes_max), mib(asked), mib(all),
                  mib(limits->budget->memory_bytes_max));
}

enum tide_err tide__call_charge(struct call *call)
{
    const uint64_t bytes = tide_arena_bytes(call->arena);
    enum tide_err err = TIDE_OK;

    if (bytes > call->arena_charged)
        err = tide_query_charge(&call->limits, (int64_t)(bytes - call->arena_charged));
    if (err != TIDE_OK)
        return tide__call_over_memory(call);
    if (bytes > call->arena_charged)
        call->arena_charged = bytes;
    return TIDE_OK;
}

/* ---- The frame of a call ---- */

static void cancel(void *context)
{
    struct call *call = context;

    atomic_store_explicit(&call->limits.canceled, true, memory_order_relaxed);
}

enum tide_err tide__call_begin(struct call *call, struct tide_querier *querier,
                               struct tide_http_exchange *x)
{
    const struct tide_querier_options *options = &querier->options;
    int64_t timeout_ms;
    enum tide_err err;

    *call = (struct call){.querier = querier, .x = x};
    err = options->tenant(x, &call->tenant, &call->diag);
    if (err == TIDE_OK)
        err = tide__param_duration(call, "timeout", false, options->timeout_ms, &timeout_ms);
    if (err == TIDE_OK) {
        call->arena = tide_arena_new(options->memory_bytes_max);
        err = call->arena == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
    }
    if (err != TIDE_OK) {
        tide__call_fail(call, err);
        return err;
    }
    if (timeout_ms > options->timeout_ms)
        timeout_ms = options->timeout_ms;
    call->limits.deadline_mono_ms = tide_clock_mono_ms() + timeout_ms;
    call->limits.memory_bytes_max = options->memory_bytes_max;
    call->limits.budget = &querier->budget;
    call->limits.samples_max = options->samples_max;
    call->limits.series_max = options->series_max;
    tide_http_on_gone(x, cancel, call);
    return TIDE_OK;
}

void tide__call_end(struct call *call)
{
    /* What is charged for the arena, and whatever a failure has left. */
    uint64_t left = atomic_load_explicit(&call->limits.memory_bytes, memory_order_relaxed);

    tide_arena_free(call->arena);
    if (left > 0 && tide_query_charge(&call->limits, -(int64_t)left) != TIDE_OK)
        call->limits.memory_bytes = 0;
    tide__active_remove(call);
}

/* ---- Success ---- */

void tide__answer_begin(struct answer *answer, struct call *call)
{
    *answer = (struct answer){.call = call};
    answer->json = tide_json(&answer->buf);
    tide_json_object_begin(&answer->json);
    tide_json_key_str(&answer->json, "status");
    tide_json_str(&answer->json, "success");
    tide_json_key_str(&answer->json, "data");
}

/* Sends all that has gathered. */
static void send(struct answer *answer)
{
    if (tide_buf_ok(&answer->buf) != TIDE_OK)
        answer->err = TIDE_ERR_NO_MEMORY;
    if (answer->err == TIDE_OK && !answer->streaming) {
        tide_http_begin(answer->call->x, 200, JSON_TYPE);
        answer->streaming = true;
    }
    if (answer->err == TIDE_OK)
        answer->err = tide_http_write(answer->call->x, tide_buf_view(&answer->buf));
    answer->buf.len = 0;
}

void tide__answer_flush(struct answer *answer)
{
    if (answer->buf.len < FLUSH_BYTES)
        return;
    if (answer->streaming && answer->err == TIDE_OK &&
        atomic_load_explicit(&answer->call->limits.canceled, memory_order_relaxed))
        answer->err = TIDE_ERR_CANCELED;
    send(answer);
}

static void write_notes(struct answer *answer, const char *key, const struct tide_slice *notes,
                        size_t count)
{
    if (count == 0)
        return;
    tide_json_key_str(&answer->json, key);
    tide_json_array_begin(&answer->json);
    for (size_t i = 0; i < count; i++)
        tide_json_string(&answer->json, notes[i]);
    tide_json_array_end(&answer->json);
}

void tide__answer_end(struct answer *answer, const struct tide_slice *warnings,
                      size_t warning_count, const struct tide_slice *infos, size_t info_count)
{
    write_notes(answer, "warnings", warnings, warning_count);
    write_notes(answer, "infos", infos, info_count);
    tide_json_object_end(&answer->json);
    if (answer->streaming) {
        send(answer);
        tide_metric_add(answer->err == TIDE_OK ? &answers_ok : &answers_failed, 1);
        tide_http_end(answer->call->x, answer->err == TIDE_OK);
        tide_buf_deinit(&answer->buf);
    } else if (tide_buf_ok(&answer->buf) != TIDE_OK) {
        tide_buf_deinit(&answer->buf);
        respond_error(answer->call->x, TIDE_ERR_NO_MEMORY, "");
    } else {
        tide_metric_add(&answers_ok, 1);
        tide_http_respond(answer->call->x, 200, JSON_TYPE, &answer->buf);
    }
}

void tide__answer_count(bool complete)
{
    tide_metric_add(complete ? &answers_ok : &answers_failed, 1);
}

void tide__json_labels(struct tide_json *json, struct tide_labels labels)
{
    tide_json_object_begin(json);
    for (size_t i = 0; i < labels.count; i++) {
        tide_json_key(json, labels.pairs[i].name);
        tide_json_string(json, labels.pairs[i].value);
    }
    tide_json_object_end(json);
}
