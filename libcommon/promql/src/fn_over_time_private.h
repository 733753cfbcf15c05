/* Functions that reduce each window to one number. */
#ifndef TIDE_PROMQL_FN_OVER_TIME_PRIVATE_H
#define TIDE_PROMQL_FN_OVER_TIME_PRIVATE_H

#include "fn_private.h"

void tide__fn_sum_over_time(const struct tide__range_args *args);
void tide__fn_avg_over_time(const struct tide__range_args *args);
void tide__fn_min_over_time(const struct tide__range_args *args);
void tide__fn_max_over_time(const struct tide__range_args *args);
void tide__fn_count_over_time(const struct tide__range_args *args);
void tide__fn_first_over_time(const struct tide__range_args *args);
void tide__fn_last_over_time(const struct tide__range_args *args);
void tide__fn_present_over_time(const struct tide__range_args *args);
void tide__fn_stddev_over_time(const struct tide__range_args *args);
void tide__fn_stdvar_over_time(const struct tide__range_args *args);
void tide__fn_ts_of_first_over_time(const struct tide__range_args *args);
void tide__fn_ts_of_last_over_time(const struct tide__range_args *args);
void tide__fn_ts_of_min_over_time(const struct tide__range_args *args);
void tide__fn_ts_of_max_over_time(const struct tide__range_args *args);

/* fn_quantile.c */
void tide__fn_quantile_over_time(const struct tide__range_args *args);
void tide__fn_mad_over_time(const struct tide__range_args *args);

/* fn_trend.c */
void tide__fn_resets(const struct tide__range_args *args);
void tide__fn_changes(const struct tide__range_args *args);
void tide__fn_deriv(const struct tide__range_args *args);
void tide__fn_predict_linear(const struct tide__range_args *args);
void tide__fn_smoothing(const struct tide__range_args *args);
enum tide_err tide__fn_smoothing_check(const struct tide__call *call);

#endif
