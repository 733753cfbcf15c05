/* Which kernel computes which function. */
#include "fn_histogram_private.h"
#include "fn_map_private.h"
#include "fn_over_time_private.h"
#include "fn_range_mixed_private.h"
#include "fn_rate_private.h"

#define MATH_ROW(id, name) [TIDE_FN_##id] = {.map = tide__fn_##name},
#define DATE_ROW(id, name)                                                                         \
    [TIDE_FN_##id] = {.flags = TIDE__FN_DEFAULT_TIME, .map = tide__fn_##name},
#define RANGE_ROW(id, name) [TIDE_FN_##id] = {.range = tide__fn_##name}
#define MIXED_ROW(id, name, kernel)                                                                \
    [TIDE_FN_##id] = {.range = tide__fn_##name, .mixed = tide__mixed_##kernel}

static const struct tide__function table[TIDE_FN_COUNT] = {
    TIDE__FN_MATH_MAP(MATH_ROW) TIDE__FN_DATE_MAP(DATE_ROW)

        [TIDE_FN_RATE] = {.flags = TIDE__FN_COUNTER,
                          .range = tide__fn_rate,
                          .mixed = tide__mixed_rate,
                          .prepare = tide__rate_prepare},
    [TIDE_FN_INCREASE] = {.flags = TIDE__FN_COUNTER,
                          .range = tide__fn_increase,
                          .mixed = tide__mixed_increase,
                          .prepare = tide__increase_prepare},
    [TIDE_FN_DELTA] = {.range = tide__fn_delta,
                       .mixed = tide__mixed_delta,
                       .prepare = tide__increase_prepare},
    [TIDE_FN_DOUBLE_EXPONENTIAL_SMOOTHING] = {.range = tide__fn_smoothing,
                                              .check = tide__fn_smoothing_check},
    [TIDE_FN_FIRST_OVER_TIME] = {.flags = TIDE__FN_KEEP_NAME,
                                 .range = tide__fn_first_over_time,
                                 .mixed = tide__mixed_first},
    [TIDE_FN_LAST_OVER_TIME] = {.flags = TIDE__FN_KEEP_NAME,
                                .range = tide__fn_last_over_time,
                                .mixed = tide__mixed_last},
    MIXED_ROW(IRATE, irate, irate),
    MIXED_ROW(IDELTA, idelta, idelta),
    MIXED_ROW(RESETS, resets, resets),
    MIXED_ROW(CHANGES, changes, changes),
    MIXED_ROW(SUM_OVER_TIME, sum_over_time, sum),
    MIXED_ROW(AVG_OVER_TIME, avg_over_time, avg),
    MIXED_ROW(COUNT_OVER_TIME, count_over_time, any),
    MIXED_ROW(PRESENT_OVER_TIME, present_over_time, any),
    MIXED_ROW(TS_OF_FIRST_OVER_TIME, ts_of_first_over_time, any),
    MIXED_ROW(TS_OF_LAST_OVER_TIME, ts_of_last_over_time, any),
    RANGE_ROW(DERIV, deriv),
    RANGE_ROW(PREDICT_LINEAR, predict_linear),
    RANGE_ROW(MIN_OVER_TIME, min_over_time),
    RANGE_ROW(MAX_OVER_TIME, max_over_time),
    RANGE_ROW(STDDEV_OVER_TIME, stddev_over_time),
    RANGE_ROW(STDVAR_OVER_TIME, stdvar_over_time),
    RANGE_ROW(QUANTILE_OVER_TIME, quantile_over_time),
    RANGE_ROW(MAD_OVER_TIME, mad_over_time),
    RANGE_ROW(TS_OF_MIN_OVER_TIME, ts_of_min_over_time),
    RANGE_ROW(TS_OF_MAX_OVER_TIME, ts_of_max_over_time),

    [TIDE_FN_HISTOGRAM_COUNT] = {.of_histogram = tide__fn_histogram_count},
    [TIDE_FN_HISTOGRAM_SUM] = {.of_histogram = tide__fn_histogram_sum},
    [TIDE_FN_HISTOGRAM_AVG] = {.of_histogram = tide__fn_histogram_avg},
    [TIDE_FN_HISTOGRAM_STDDEV] = {.of_histogram = tide__fn_histogram_stddev},
    [TIDE_FN_HISTOGRAM_STDVAR] = {.of_histogram = tide__hist_variance},

    [TIDE_FN_LABEL_REPLACE] = {.flags = TIDE__FN_KEEP_NAME,
                               .matrix = tide__fn_label_replace,
                               .check = tide__fn_label_replace_check},
    [TIDE_FN_LABEL_JOIN] = {.flags = TIDE__FN_KEEP_NAME,
                            .matrix = tide__fn_label_join,
                            .check = tide__fn_label_join_check},
    [TIDE_FN_HISTOGRAM_QUANTILE] = {.matrix = tide__fn_histogram_quantile},
    [TIDE_FN_HISTOGRAM_QUANTILES] = {.matrix = tide__fn_histogram_quantiles,
                                     .check = tide__fn_histogram_quantiles_check},
    [TIDE_FN_HISTOGRAM_FRACTION] = {.matrix = tide__fn_histogram_fraction},
};

const struct tide__function *tide__function(enum tide_fn fn)
{
    const struct tide__function *function = &table[fn];
    bool has_kernel = function->range != NULL || function->map != NULL ||
                      function->of_histogram != NULL || function->matrix != NULL;

    return has_kernel ? function : NULL;
}
