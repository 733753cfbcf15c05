/* Range functions on series with native histograms among their samples. Each takes the place of the
 * float kernel for such a series; see struct tide__function, mixed. */
#ifndef TIDE_PROMQL_FN_RANGE_MIXED_PRIVATE_H
#define TIDE_PROMQL_FN_RANGE_MIXED_PRIVATE_H

#include "fn_private.h"
#include "hist_private.h"

/* fn_range_mixed.c */

/* count, present, ts_of_first, ts_of_last: what a sample is does not matter. */
bool tide__mixed_any(const struct tide__function *function, const struct tide__range_args *args);
/* first_over_time and last_over_time: the sample itself. */
bool tide__mixed_first(const struct tide__function *function, const struct tide__range_args *args);
bool tide__mixed_last(const struct tide__function *function, const struct tide__range_args *args);
bool tide__mixed_sum(const struct tide__function *function, const struct tide__range_args *args);
bool tide__mixed_avg(const struct tide__function *function, const struct tide__range_args *args);
bool tide__mixed_resets(const struct tide__function *function, const struct tide__range_args *args);
bool tide__mixed_changes(const struct tide__function *function,
                         const struct tide__range_args *args);

/* What the samples of a window are. */
struct tide__kinds {
    bool floats;
    bool histograms;
};
struct tide__kinds tide__window_kinds(const struct tide__range_args *args, size_t s);
void tide__warn_mixed(const struct tide__range_args *args);
void tide__warn_schemas(const struct tide__range_args *args);
/* The function on the floats of the windows without a histogram; silent about the others. */
bool tide__pure_floats(const struct tide__function *function, const struct tide__range_args *args);

/* fn_rate_mixed.c */

bool tide__mixed_rate(const struct tide__function *function, const struct tide__range_args *args);
bool tide__mixed_increase(const struct tide__function *function,
                          const struct tide__range_args *args);
bool tide__mixed_delta(const struct tide__function *function, const struct tide__range_args *args);
bool tide__mixed_irate(const struct tide__function *function, const struct tide__range_args *args);
bool tide__mixed_idelta(const struct tide__function *function, const struct tide__range_args *args);

#endif
