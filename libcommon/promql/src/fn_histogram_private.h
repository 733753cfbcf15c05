/* The functions histogram_…(): classic buckets at one moment (fn_histogram.c), the functions on
 * classic and native histograms (fn_histogram_calls.c). */
#ifndef TIDE_PROMQL_FN_HISTOGRAM_PRIVATE_H
#define TIDE_PROMQL_FN_HISTOGRAM_PRIVATE_H

#include "fn_labels_private.h"
#include "hist_private.h"

#include "tide/base/number.h"

/* The label that holds a bucket's upper bound. */
#define LE "le"

/* ---- One histogram at one moment ---- */

struct tide__bucket {
    double bound; /* Upper, inclusive. */
    double count; /* Of all observations up to it. */
};

/* What was done to counts that fell. */
struct tide__forced {
    bool is_forced;
    double bound_min; /* The lowest and highest bound of a raised bucket. */
    double bound_max;
    double difference_max;
};

/* The value under which the share q of observations lies, interpolated linearly within a bucket;
 * the first one begins at 0 unless its bound is not above 0. NaN without a bucket to +Inf, with
 * that one only, or without observations; infinite for q outside of 0 to 1.
 * buckets  In rising order of bound, perhaps repeated; changed. */
double tide__bucket_quantile(double q, struct tide__bucket *buckets, size_t count,
                             struct tide__forced *forced);
/* The share of observations above lower and up to upper, interpolated in the same way. NaN as
 * above, and for NaN bounds. */
double tide__bucket_fraction(double lower, double upper, struct tide__bucket *buckets,
                             size_t count);
/* Reads a value of the label le; false when it is malformed. */
bool tide__le_parse(struct tide_slice text, double *out);

/* ---- The histograms of a matrix ---- */

struct tide__bucket_row {
    double bound;
    const struct tide__row *row;
    size_t histogram; /* Index. */
};

struct tide__histogram {
    struct tide_labels labels;           /* Without le; with the metric name. */
    const struct tide__bucket_row *rows; /* In rising order of bound. */
    size_t row_count;
    /* The row that is a native histogram at some steps, or NULL. */
    const struct tide__row *native;
};

/* All memory is the query's. */
struct tide__histograms {
    struct tide__eval *eval;
    struct tide__histogram *items; /* In the order of their first rows. */
    size_t count;
    struct tide__bucket *scratch; /* Room for the buckets of any of them. */

    /* Private. */
    struct tide__bucket_row *rows;
};

/* Groups the rows of argument arg by their labels without le; warns about rows whose le is no
 * number and leaves them out. */
TIDE_CHECK_RESULT enum tide_err tide__histograms_group(const struct tide__call *call, size_t arg,
                                                       struct tide__histograms *h);
/* The buckets that are present at a step; answers how many. */
size_t tide__histogram_at(const struct tide__histogram *histogram, size_t step,
                          struct tide__bucket *buckets);

/* ---- The functions ---- */

double tide__fn_histogram_count(const struct tide_histogram *h);
double tide__fn_histogram_sum(const struct tide_histogram *h);
double tide__fn_histogram_avg(const struct tide_histogram *h);
double tide__fn_histogram_stddev(const struct tide_histogram *h);
enum tide_err tide__fn_histogram_quantile(const struct tide__call *call, struct tide__matrix **out);
enum tide_err tide__fn_histogram_quantiles(const struct tide__call *call,
                                           struct tide__matrix **out);
enum tide_err tide__fn_histogram_fraction(const struct tide__call *call, struct tide__matrix **out);
enum tide_err tide__fn_histogram_quantiles_check(const struct tide__call *call);

#endif
