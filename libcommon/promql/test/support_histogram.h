/* Histograms for tests: written down, and random ones. */
#ifndef TIDE_PROMQL_SUPPORT_HISTOGRAM_H
#define TIDE_PROMQL_SUPPORT_HISTOGRAM_H

#include "hist_private.h"

/* Reads "{{schema:0 sum:5 count:4 buckets:[1 2 1]}}"; fields besides those: offset, n_buckets,
 * n_offset, z_bucket, z_bucket_w, custom_values and hint (reset, not_reset, gauge). In arena; NULL
 * when it is not written like that. */
const struct tide_histogram *support_histogram(struct tide_slice text, struct tide_arena *arena);
/* The same observations, whatever the spans and the hint: counts and sum to the relative error. */
bool support_histogram_near(const struct tide_histogram *a, const struct tide_histogram *b,
                            double error);

#endif
