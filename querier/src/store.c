/* What a store that neither scrapes nor evaluates rules answers to the calls about that: the shapes
 * of Prometheus, empty. And what it can do, for those who ask before they try. */
#include "querier_private.h"

static void write_empty(struct tide_json *json, const char *key)
{
    tide_json_key_str(json, key);
    tide_json_array_begin(json);
    tide_json_array_end(json);
}

/* An object of empty lists, which is what asks the least of a client that shows them. */
static void answer_empty(struct call *call, const char *const *keys, size_t count)
{
    struct answer answer;

    tide__answer_begin(&answer, call);
    tide_json_object_begin(&answer.json);
    for (size_t i = 0; i < count; i++)
        write_empty(&answer.json, keys[i]);
    tide_json_object_end(&answer.json);
    tide__answer_end(&answer, NULL, 0, NULL, 0);
}

/* ---- Rules and alerts ---- */

/* What Go's strconv.ParseBool takes. */
static bool is_bool(struct tide_slice text)
{
    static const char *const words[] = {"1", "t", "T", "TRUE",  "true",  "True",
                                        "0", "f", "F", "FALSE", "false", "False"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (tide_slice_eq(text, tide_slice_str(words[i])))
            return true;
    }
    return false;
}

/* A caller that pages or filters must hear about its mistakes here as it would where there are
 * rules. */
static enum tide_err check_rule_params(struct call *call)
{
    struct tide_slice text;
    uint64_t limit;
    enum tide_err err = TIDE_OK;

    if (tide_http_param(call->x, "type", &text) && text.len > 0 &&
        !tide_slice_eq(text, TIDE_SLICE("alert")) && !tide_slice_eq(text, TIDE_SLICE("record")))
        return tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                             "invalid parameter \"type\": not supported value \"%.*s\"",
                             (int)(text.len > 100 ? 100 : text.len), (const char *)text.ptr);
    if (tide_http_param(call->x, "exclude_alerts", &text) && text.len > 0 && !is_bool(text))
        return tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                             "invalid parameter \"exclude_alerts\": neither true nor false");
    err = tide__param_limit(call, "group_limit", &limit);
    if (err == TIDE_OK && limit == 0 && tide_http_param(call->x, "group_next_token", &text) &&
        text.len > 0)
        return tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                             "invalid parameter \"group_next_token\": group_limit needs to be "
                             "present in order to paginate over the groups");
    for (size_t i = 0; err == TIDE_OK && tide_http_param_nth(call->x, "match[]", i, &text); i++) {
        struct tide_promql query = {.root = NULL};
        struct tide_diag diag = {{0}};

        err = tide_promql_parse_selector(text, call->arena, &query, &diag);
        if (err != TIDE_OK)
            tide_diag_set(&call->diag, "invalid parameter \"match[]\": %s", diag.text);
        tide_promql_release(&query);
    }
    return err;
}

void tide__handle_rules(void *context, struct tide_http_exchange *x)
{
    static const char *const keys[] = {"groups"};
    struct call call;
    enum tide_err err;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    err = check_rule_params(&call);
    if (err == TIDE_OK)
        answer_empty(&call, keys, 1);
    else
        tide__call_fail(&call, err);
    tide__call_end(&call);
}

static void handle_empty(void *context, struct tide_http_exchange *x, const char *const *keys,
                         size_t count)
{
    struct call call;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    answer_empty(&call, keys, count);
    tide__call_end(&call);
}

void tide__handle_alerts(void *context, struct tide_http_exchange *x)
{
    static const char *const keys[] = {"alerts"};

    handle_empty(context, x, keys, 1);
}

void tide__handle_alertmanagers(void *context, struct tide_http_exchange *x)
{
    static const char *const keys[] = {"activeAlertmanagers", "droppedAlertmanagers"};

    handle_empty(context, x, keys, 2);
}

/* ---- Scraping ---- */

void tide__handle_targets(void *context, struct tide_http_exchange *x)
{
    struct call call;
    struct answer answer;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    tide__answer_begin(&answer, &call);
    tide_json_object_begin(&answer.json);
    write_empty(&answer.json, "activeTargets");
    write_empty(&answer.json, "droppedTargets");
    tide_json_key_str(&answer.json, "droppedTargetCounts");
    tide_json_object_begin(&answer.json);
    tide_json_object_end(&answer.json);
    tide_json_object_end(&answer.json);
    tide__answer_end(&answer, NULL, 0, NULL, 0);
    tide__call_end(&call);
}

void tide__handle_targets_metadata(void *context, struct tide_http_exchange *x)
{
    struct call call;
    struct answer answer;
    uint64_t limit;
    enum tide_err err;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    err = tide__param_limit(&call, "limit", &limit);
    if (err == TIDE_OK) {
        tide__answer_begin(&answer, &call);
        tide_json_array_begin(&answer.json);
        tide_json_array_end(&answer.json);
        tide__answer_end(&answer, NULL, 0, NULL, 0);
    } else {
        tide__call_fail(&call, err);
    }
    tide__call_end(&call);
}

void tide__handle_scrape_pools(void *context, struct tide_http_exchange *x)
{
    static const char *const keys[] = {"scrapePools"};

    handle_empty(context, x, keys, 1);
}

/* ---- The rest of status ---- */

/* Of a scraper there is nothing to configure; our own configuration is nobody's business who can
 * reach the port. */
void tide__handle_config(void *context, struct tide_http_exchange *x)
{
    struct call call;
    struct answer answer;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    tide__answer_begin(&answer, &call);
    tide_json_object_begin(&answer.json);
    tide_json_key_str(&answer.json, "yaml");
    tide_json_str(&answer.json, "");
    tide_json_object_end(&answer.json);
    tide__answer_end(&answer, NULL, 0, NULL, 0);
    tide__call_end(&call);
}

/* The log has been replayed before the port is open: nothing is left. */
void tide__handle_walreplay(void *context, struct tide_http_exchange *x)
{
    static const char *const keys[] = {"min", "max", "current"};
    struct call call;
    struct answer answer;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    tide__answer_begin(&answer, &call);
    tide_json_object_begin(&answer.json);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        tide_json_key_str(&answer.json, keys[i]);
        tide_json_u64(&answer.json, 0);
    }
    tide_json_object_end(&answer.json);
    tide__answer_end(&answer, NULL, 0, NULL, 0);
    tide__call_end(&call);
}

/* ---- features ---- */

struct feature {
    const char *name;
    bool there;
};

static void write_features(struct tide_json *json, const char *category,
                           const struct feature *features, size_t count)
{
    tide_json_key_str(json, category);
    tide_json_object_begin(json);
    for (size_t i = 0; i < count; i++) {
        tide_json_key_str(json, features[i].name);
        tide_json_bool(json, features[i].there);
    }
    tide_json_object_end(json);
}

static void write_true(struct tide_json *json, const char *key)
{
    tide_json_key_str(json, key);
    tide_json_bool(json, true);
}

static void write_language(struct tide_json *json)
{
    tide_json_key_str(json, "promql_functions");
    tide_json_object_begin(json);
    for (int fn = 0; fn < TIDE_FN_COUNT; fn++)
        write_true(json, tide_fn_signature((enum tide_fn)fn).name);
    tide_json_object_end(json);
    tide_json_key_str(json, "promql_operators");
    tide_json_object_begin(json);
    for (int op = 0; op < TIDE_OP_COUNT; op++)
        write_true(json, tide_binary_op_text((enum tide_binary_op)op));
    write_true(json, "=~");
    write_true(json, "!~");
    write_true(json, "@");
    for (int op = 0; op < TIDE_AGG_OPERATORS; op++)
        write_true(json, tide_aggregate_text((enum tide_aggregate)op));
    tide_json_object_end(json);
}

void tide__handle_features(void *context, struct tide_http_exchange *x)
{
    static const struct feature api[] = {
        {"admin", false},           {"exclude_alerts", true},        {"label_values_match", true},
        {"lifecycle", false},       {"otlp_write_receiver", false},  {"query_stats", true},
        {"query_warnings", true},   {"remote_write_receiver", true}, {"time_range_labels", false},
        {"time_range_series", true}};
    static const struct feature promql[] = {{"anchored", true},
                                            {"at_modifier", true},
                                            {"bool", true},
                                            {"by", true},
                                            {"delayed_name_removal", true},
                                            {"duration_expr", true},
                                            {"fill", true},
                                            {"fill_left", true},
                                            {"fill_right", true},
                                            {"group_left", true},
                                            {"group_right", true},
                                            {"ignoring", true},
                                            {"negative_offset", true},
                                            {"offset", true},
                                            {"on", true},
                                            {"per_query_lookback_delta", true},
                                            {"per_step_stats", false},
                                            {"smoothed", true},
                                            {"subqueries", true},
                                            {"type_and_unit_labels", false},
                                            {"without", true}};
    static const struct feature tsdb[] = {{"exemplar_storage", true}, {"native_histograms", true}};
    struct call call;
    struct answer answer;

    if (tide__call_begin(&call, context, x) != TIDE_OK)
        return;
    tide__answer_begin(&answer, &call);
    tide_json_object_begin(&answer.json);
    write_features(&answer.json, "api", api, sizeof(api) / sizeof(api[0]));
    write_features(&answer.json, "promql", promql, sizeof(promql) / sizeof(promql[0]));
    write_language(&answer.json);
    write_features(&answer.json, "tsdb", tsdb, sizeof(tsdb) / sizeof(tsdb[0]));
    tide_json_object_end(&answer.json);
    tide__answer_end(&answer, NULL, 0, NULL, 0);
    tide__call_end(&call);
}
