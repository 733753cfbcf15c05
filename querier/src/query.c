#include "querier_private.h"

#include "tide/base/clock.h"
#include "tide/base/metrics.h"

#include <stdio.h>

TIDE_HISTOGRAM_SECONDS(instant_seconds, "tide_querier_query_seconds", "kind=\"instant\"",
                       "Time to evaluate a query, without sending the answer.");
TIDE_HISTOGRAM_SECONDS(range_seconds, "tide_querier_query_seconds", "kind=\"range\"",
                       "Time to evaluate a query, without sending the answer.");
TIDE_COUNTER(samples_read, "tide_querier_samples_read_total", "", "Samples that queries read.");

void tide__query_metrics_register(void)
{
    tide_metric_register(&instant_seconds);
    tide_metric_register(&range_seconds);
    tide_metric_register(&samples_read);
}

/* Same as Prometheus, so that a dashboard which works there works here. */
#define RANGE_POINTS_MAX 11000

static bool is_histogram(const struct tide_result_series *series, size_t i)
{
    return series->histograms != NULL && series->histograms[i] != NULL;
}

/* The float points of a series, or its histograms, under a key that stands there only if there are
 * some. */
static void write_points(struct answer *answer, const struct tide_result_series *series,
                         bool matrix, bool histograms)
{
    struct tide_json *json = &answer->json;
    bool any = false;

    for (size_t i = 0; i < series->count; i++) {
        if (!tide_result_has(series, i) || is_histogram(series, i) != histograms)
            continue;
        if (!any) {
            tide_json_key_str(json, histograms ? (matrix ? "histograms" : "histogram")
                                               : (matrix ? "values" : "value"));
            if (matrix)
                tide_json_array_begin(json);
            any = true;
        }
        if (histograms)
            tide__json_histogram(json, series->times_ms[i], series->histograms[i]);
        else
            tide_json_sample(json, series->times_ms[i], series->values[i]);
    }
    if (any && matrix)
        tide_json_array_end(json);
}

static void write_series(struct answer *answer, const struct tide_result_series *series,
                         bool matrix)
{
    struct tide_json *json = &answer->json;

    tide_json_object_begin(json);
    tide_json_key_str(json, "metric");
    tide__json_labels(json, series->labels);
    write_points(answer, series, matrix, false);
    if (series->histograms != NULL)
        write_points(answer, series, matrix, true);
    tide_json_object_end(json);
}

static void write_stats(struct tide_json *json, const struct tide_engine_result *result,
                        double seconds)
{
    tide_json_key_str(json, "stats");
    tide_json_object_begin(json);
    tide_json_key_str(json, "timings");
    tide_json_object_begin(json);
    tide_json_key_str(json, "evalTotalTime");
    tide_json_number(json, seconds);
    tide_json_key_str(json, "execTotalTime");
    tide_json_number(json, seconds);
    tide_json_object_end(json);
    tide_json_key_str(json, "samples");
    tide_json_object_begin(json);
    tide_json_key_str(json, "totalQueryableSamples");
    tide_json_u64(json, result->stats.samples);
    tide_json_key_str(json, "samplesRead");
    tide_json_u64(json, result->stats.samples);
    tide_json_key_str(json, "peakMemoryBytes");
    tide_json_u64(json, result->stats.memory_peak_bytes);
    tide_json_object_end(json);
    tide_json_object_end(json);
}

static void write_result(struct call *call, const struct tide_engine_result *result, uint64_t limit,
                         double seconds)
{
    static const char *const types[] = {[TIDE_RESULT_SCALAR] = "scalar",
                                        [TIDE_RESULT_STRING] = "string",
                                        [TIDE_RESULT_VECTOR] = "vector",
                                        [TIDE_RESULT_MATRIX] = "matrix"};
    static const struct tide_slice truncated = {(const uint8_t *)"results truncated due to limit",
                                                30};
    const size_t count =
        limit > 0 && limit < result->series_count ? (size_t)limit : result->series_count;
    const struct tide_slice *warnings = result->warnings;
    size_t warning_count = result->warning_count;
    struct tide_slice stats_wanted;
    struct answer answer;
    struct tide_json *json = &answer.json;

    tide__answer_begin(&answer, call);
    tide_json_object_begin(json);
    tide_json_key_str(json, "resultType");
    tide_json_str(json, types[result->kind]);
    tide_json_key_str(json, "result");
    if (result->kind == TIDE_RESULT_SCALAR) {
        tide_json_sample(json, result->time_ms, result->scalar);
    } else if (result->kind == TIDE_RESULT_STRING) {
        tide_json_array_begin(json);
        tide_json_timestamp(json, result->time_ms);
        tide_json_string(json, result->string);
        tide_json_array_end(json);
    } else {
        tide_json_array_begin(json);
        for (size_t i = 0; i < count; i++) {
            write_series(&answer, &result->series[i], result->kind == TIDE_RESULT_MATRIX);
            tide__answer_flush(&answer);
        }
        tide_json_array_end(json);
    }
    if (tide_http_param(call->x, "stats", &stats_wanted) && stats_wanted.len > 0)
        write_stats(json, result, seconds);
    tide_json_object_end(json);
    if (count < result->series_count) {
        struct tide_slice *more =
            tide_arena_new_array(call->arena, warning_count + 1, sizeof(*more));

        if (more != NULL) {
            if (warning_count > 0)
                memcpy(more, warnings, warning_count * sizeof(*more));
            more[warning_count++] = truncated;
            warnings = more;
        }
    }
    tide__answer_end(&answer, warnings, warning_count, result->infos, result->info_count);
}

static void evaluate(struct call *call, struct tide_engine_params *params, uint64_t limit)
{
    const int64_t start_ns = tide_clock_mono_ns();
    struct tide_engine_result *result;
    struct tide_diag diag = {{0}};
    double seconds;
    enum tide_err err;

    params->tenant = call->tenant;
    err = tide_engine_query(call->querier->options.engine, params, call->querier->options.source,
                            &call->limits, &result, &diag);
    seconds = (double)(tide_clock_mono_ns() - start_ns) / 1e9;
    tide_metric_observe(params->instant ? &instant_seconds : &range_seconds, seconds);
    /* It is the query that is too large, not the machine that is too small. */
    if (err == TIDE_ERR_NO_MEMORY && atomic_load(&call->limits.refused_bytes) > 0)
        err = TIDE_ERR_LIMIT;
    if (err != TIDE_OK) {
        if (err == TIDE_ERR_INVALID)
            tide_diag_set(&call->diag, "invalid parameter \"query\": %s", diag.text);
        else if (err == TIDE_ERR_TIMEOUT)
            tide_diag_set(&call->diag, "query timed out in expression evaluation");
        else if (err == TIDE_ERR_CANCELED)
            tide_diag_set(&call->diag, "query was canceled in expression evaluation");
        else
            call->diag = diag;
        if (err == TIDE_ERR_LIMIT)
            tide__call_add_bill(call);
        tide__call_fail(call, err);
        return;
    }
    tide_metric_add(&samples_read, (int64_t)result->stats.samples);
    write_result(call, result, limit, seconds);
    tide_engine_result_free(result);
}

static enum tide_err common_params(struct call *call, struct tide_engine_params *params,
                                   uint64_t *limit)
{
    enum tide_err err = tide__param_limit(call, "limit", limit);

    if (err == TIDE_OK)
        err = tide__param_duration(call, "lookback_delta", false, 0, &params->lookback_ms);
    if (err == TIDE_OK && params->lookback_ms < 0)
        err = tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                            "invalid parameter \"lookback_delta\": must be above zero");
    if (err == TIDE_OK && !tide_http_param(call->x, "query", &params->expr))
        params->expr = (struct tide_slice){NULL, 0};
    return err;
}

void tide__handle_query(void *context, struct tide_http_exchange *x)
{
    struct tide_engine_params params = {.instant = true};
    struct call call;
    uint64_t limit;
    enum tide_err err;

    if (tide__query_begin(&call, context, x) != TIDE_OK)
        return;
    err = common_params(&call, &params, &limit);
    if (err == TIDE_OK)
        err = tide__param_time(&call, "time", false, tide_clock_wall_ms(), &params.start_ms);
    params.end_ms = params.start_ms;
    if (err == TIDE_OK)
        evaluate(&call, &params, limit);
    else
        tide__call_fail(&call, err);
    tide__call_end(&call);
}

static enum tide_err range_params(struct call *call, struct tide_engine_params *params)
{
    enum tide_err err = tide__param_time(call, "start", true, 0, &params->start_ms);

    if (err == TIDE_OK)
        err = tide__param_time(call, "end", true, 0, &params->end_ms);
    if (err == TIDE_OK && params->end_ms < params->start_ms)
        err =
            tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                          "invalid parameter \"end\": end timestamp must not be before start time");
    if (err == TIDE_OK)
        err = tide__param_duration(call, "step", true, 0, &params->step_ms);
    if (err == TIDE_OK && params->step_ms <= 0)
        err = tide_diag_err(&call->diag, TIDE_ERR_INVALID,
                            "invalid parameter \"step\": zero or negative query resolution step "
                            "widths are not accepted. "
                            "Try a positive integer");
    if (err == TIDE_OK && (params->end_ms - params->start_ms) / params->step_ms > RANGE_POINTS_MAX)
        err = tide_diag_err(
            &call->diag, TIDE_ERR_INVALID,
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query "
            "resolution (?step=XX)");
    return err;
}

void tide__handle_query_range(void *context, struct tide_http_exchange *x)
{
    struct tide_engine_params params = {.instant = false};
    struct call call;
    uint64_t limit;
    enum tide_err err;

    if (tide__query_begin(&call, context, x) != TIDE_OK)
        return;
    err = range_params(&call, &params);
    if (err == TIDE_OK)
        err = common_params(&call, &params, &limit);
    if (err == TIDE_OK)
        evaluate(&call, &params, limit);
    else
        tide__call_fail(&call, err);
    tide__call_end(&call);
}
