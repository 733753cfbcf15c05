/* The parts of the querier: parameters (params.c), answers (answer.c), and the calls: queries
 * (query.c), series and labels (series.c), metadata, exemplars and text (lookup.c), trees
 * (parse_query.c), remote read (read.c), status (status.c), what a store has nothing of (store.c),
 * and the list of what runs (active.c). */
#ifndef TIDE_QUERIER_PRIVATE_H
#define TIDE_QUERIER_PRIVATE_H

#include "tide/http/json.h"
#include "tide/promql/parse.h"
#include "tide/querier/querier.h"

#include <pthread.h>

struct call;

struct tide_querier {
    struct tide_querier_options options;
    int64_t started_ms;
    struct tide_query_budget budget; /* Of all calls. */
    pthread_mutex_t active_lock;     /* Guards what follows, and the list's links. */
    struct call *active;
    uint64_t last_id;
};

/* What every call works with; lives from the handler's begin to its end. */
struct call {
    struct tide_querier *querier;
    struct tide_http_exchange *x;
    struct tide_slice tenant;
    struct tide_arena *arena;
    struct tide_query_limits limits;
    struct tide_diag diag;
    uint64_t arena_charged;

    /* Of a query, in the list of those that run: see active.c. */
    uint64_t id; /* 0: not in it. */
    struct call *prev, *next;
    int64_t begun_mono_ms, begun_wall_ms;
    struct tide_buf about; /* Tenant, path, and the beginning of the query. */
    size_t about_tenant;   /* Where they end. */
    size_t about_path;
};

/* Fills in the call: tenant, arena, deadline from the timeout parameter, cancellation when the
 * client goes. On failure it has answered, and nothing is left to do. */
TIDE_CHECK_RESULT enum tide_err tide__call_begin(struct call *call, struct tide_querier *querier,
                                                 struct tide_http_exchange *x);
/* The same for a call that may take long: it is in the list of those that run. */
TIDE_CHECK_RESULT enum tide_err tide__query_begin(struct call *call, struct tide_querier *querier,
                                                  struct tide_http_exchange *x);
/* Frees what begin made. After the answer. */
void tide__call_end(struct call *call);
/* Answers with the error envelope: call->diag, or the error's own text. */
void tide__call_fail(struct call *call, enum tide_err err);
/* Charges what the call's arena has grown by. Errors: TIDE_ERR_LIMIT, told in call->diag. */
TIDE_CHECK_RESULT enum tide_err tide__call_charge(struct call *call);
/* For a full arena: TIDE_ERR_LIMIT, told in call->diag. It is the query that is too large, not the
 * machine that is too small. */
enum tide_err tide__call_over_memory(struct call *call);
/* Adds to call->diag what the call and all others hold, if it is memory that was refused. */
void tide__call_add_bill(struct call *call);

/* Expose what answer.c and query.c count before there is anything to count. */
void tide__answer_metrics_register(void);
void tide__query_metrics_register(void);

/* ---- active.c ---- */

void tide__active_init(struct tide_querier *querier);
void tide__active_deinit(struct tide_querier *querier);
void tide__active_remove(struct call *call); /* Also what has never been in the list. */

/* ---- params.c ---- */

/* A time parameter: float seconds or RFC 3339. Absent: fallback_ms, or an error when required.
 * Errors: TIDE_ERR_INVALID with Prometheus' words in call->diag. */
TIDE_CHECK_RESULT enum tide_err tide__param_time(struct call *call, const char *name, bool required,
                                                 int64_t fallback_ms, int64_t *out_ms);
/* A duration parameter: float seconds or "5m". Above zero is not checked here. */
TIDE_CHECK_RESULT enum tide_err tide__param_duration(struct call *call, const char *name,
                                                     bool required, int64_t fallback_ms,
                                                     int64_t *out_ms);
/* A count; absent or 0: none. */
TIDE_CHECK_RESULT enum tide_err tide__param_limit(struct call *call, const char *name,
                                                  uint64_t *out);
/* start and end of a series or label call: absent means everything. */
TIDE_CHECK_RESULT enum tide_err tide__param_range(struct call *call, int64_t *start_ms,
                                                  int64_t *end_ms);
/* Float seconds or RFC 3339 text as milliseconds. */
bool tide__time_parse(struct tide_slice text, int64_t *out_ms);

/* ---- answer.c ---- */

/* A success answer that is streamed once it grows: {"status":"success","data": … }. */
struct answer {
    struct call *call;
    struct tide_buf buf;
    struct tide_json json; /* Stands where data is to be written. */
    bool streaming;
    enum tide_err err; /* The client has gone, or there was no memory: the rest is not written. */
};

void tide__answer_begin(struct answer *answer, struct call *call);
/* To be called between items: sends what has gathered. */
void tide__answer_flush(struct answer *answer);
/* Warnings and infos may be NULL with count 0. */
void tide__answer_end(struct answer *answer, const struct tide_slice *warnings,
                      size_t warning_count, const struct tide_slice *infos, size_t info_count);
/* Counts an answer that was not written by the above. */
void tide__answer_count(bool complete);
/* {"a":"b",…} */
void tide__json_labels(struct tide_json *json, struct tide_labels labels);

/* ---- histogram_json.c ---- */

/* [1435781451.781,{"count":"3","sum":"1.5","buckets":[[0,"0.5","1","3"]]}] */
void tide__json_histogram(struct tide_json *json, int64_t ts_ms, const struct tide_histogram *h);

/* ---- strings.c ---- */

/* Gathers strings and hands them out sorted, each once. In the call's arena. */
struct strings {
    struct call *call;
    struct tide_slice *items; /* tide_mem */
    size_t count;
    size_t capacity;
    enum tide_err err;
};
bool tide__strings_add(void *strings, struct tide_slice text); /* A tide_string_sink. */
void tide__strings_sort(struct strings *strings);
void tide__strings_deinit(struct strings *strings);

/* ---- The calls: handlers of routes; context is the querier ---- */

void tide__handle_query(void *context, struct tide_http_exchange *x);
void tide__handle_query_range(void *context, struct tide_http_exchange *x);
void tide__handle_read(void *context, struct tide_http_exchange *x);
void tide__handle_series(void *context, struct tide_http_exchange *x);
void tide__handle_labels(void *context, struct tide_http_exchange *x);
void tide__handle_label_values(void *context, struct tide_http_exchange *x);
void tide__handle_metadata(void *context, struct tide_http_exchange *x);
void tide__handle_exemplars(void *context, struct tide_http_exchange *x);
void tide__handle_format(void *context, struct tide_http_exchange *x);
void tide__handle_parse(void *context, struct tide_http_exchange *x);
void tide__handle_buildinfo(void *context, struct tide_http_exchange *x);
void tide__handle_runtimeinfo(void *context, struct tide_http_exchange *x);
void tide__handle_active(void *context, struct tide_http_exchange *x);
void tide__handle_cancel(void *context, struct tide_http_exchange *x);
void tide__handle_tsdb(void *context, struct tide_http_exchange *x);
void tide__handle_rules(void *context, struct tide_http_exchange *x);
void tide__handle_alerts(void *context, struct tide_http_exchange *x);
void tide__handle_alertmanagers(void *context, struct tide_http_exchange *x);
void tide__handle_targets(void *context, struct tide_http_exchange *x);
void tide__handle_targets_metadata(void *context, struct tide_http_exchange *x);
void tide__handle_scrape_pools(void *context, struct tide_http_exchange *x);
void tide__handle_config(void *context, struct tide_http_exchange *x);
void tide__handle_walreplay(void *context, struct tide_http_exchange *x);
void tide__handle_features(void *context, struct tide_http_exchange *x);

#endif
