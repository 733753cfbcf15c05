/* The functions of PromQL by number, with their signatures: one list for the parser's type checks,
 * the printer and the evaluator. Source: Prometheus 3.14, promql/parser/functions.go. */
#ifndef TIDE_PROMQL_FNTABLE_H
#define TIDE_PROMQL_FNTABLE_H

#include "tide/base/slice.h"

/* What an expression evaluates to. */
enum tide_promql_type {
    TIDE_PROMQL_NONE, /* Unknown function, while errors are reported; never in a parsed tree. */
    TIDE_PROMQL_SCALAR,
    TIDE_PROMQL_VECTOR,
    TIDE_PROMQL_MATRIX,
    TIDE_PROMQL_STRING
};

/* "scalar", "instant vector", "range vector", "string", "none": as error messages name it. */
const char *tide_promql_type_text(enum tide_promql_type type);

/* One line a function: name as in the enum and (in lower case) in queries, argument types as
 * letters (v instant vector, m range vector, s scalar, t string), variadic, result letter,
 * experimental. variadic 0: exactly the listed arguments. Above 0: the last listed argument may be
 * left out or be given up to `variadic` times. -1: it may be left out or repeated without bound.
 * Bytewise order of the names. */
#define TIDE_PROMQL_FUNCTION_MAP(X)                                                                \
    X(ABS, abs, "v", 0, 'v', false)                                                                \
    X(ABSENT, absent, "v", 0, 'v', false)                                                          \
    X(ABSENT_OVER_TIME, absent_over_time, "m", 0, 'v', false)                                      \
    X(ACOS, acos, "v", 0, 'v', false)                                                              \
    X(ACOSH, acosh, "v", 0, 'v', false)                                                            \
    X(ASIN, asin, "v", 0, 'v', false)                                                              \
    X(ASINH, asinh, "v", 0, 'v', false)                                                            \
    X(ATAN, atan, "v", 0, 'v', false)                                                              \
    X(ATANH, atanh, "v", 0, 'v', false)                                                            \
    X(AVG_OVER_TIME, avg_over_time, "m", 0, 'v', false)                                            \
    X(CEIL, ceil, "v", 0, 'v', false)                                                              \
    X(CHANGES, changes, "m", 0, 'v', false)                                                        \
    X(CLAMP, clamp, "vss", 0, 'v', false)                                                          \
    X(CLAMP_MAX, clamp_max, "vs", 0, 'v', false)                                                   \
    X(CLAMP_MIN, clamp_min, "vs", 0, 'v', false)                                                   \
    X(COS, cos, "v", 0, 'v', false)                                                                \
    X(COSH, cosh, "v", 0, 'v', false)                                                              \
    X(COUNT_OVER_TIME, count_over_time, "m", 0, 'v', false)                                        \
    X(DAY_OF_MONTH, day_of_month, "v", 1, 'v', false)                                              \
    X(DAY_OF_WEEK, day_of_week, "v", 1, 'v', false)                                                \
    X(DAY_OF_YEAR, day_of_year, "v", 1, 'v', false)                                                \
    X(DAYS_IN_MONTH, days_in_month, "v", 1, 'v', false)                                            \
    X(DEG, deg, "v", 0, 'v', false)                                                                \
    X(DELTA, delta, "m", 0, 'v', false)                                                            \
    X(DERIV, deriv, "m", 0, 'v', false)                                                            \
    X(DOUBLE_EXPONENTIAL_SMOOTHING, double_exponential_smoothing, "mss", 0, 'v', true)             \
    X(END, end, "", 0, 's', true)                                                                  \
    X(EXP, exp, "v", 0, 'v', false)                                                                \
    X(FIRST_OVER_TIME, first_over_time, "m", 0, 'v', true)                                         \
    X(FLOOR, floor, "v", 0, 'v', false)                                                            \
    X(HISTOGRAM_AVG, histogram_avg, "v", 0, 'v', false)                                            \
    X(HISTOGRAM_COUNT, histogram_count, "v", 0, 'v', false)                                        \
    X(HISTOGRAM_FRACTION, histogram_fraction, "ssv", 0, 'v', false)                                \
    X(HISTOGRAM_QUANTILE, histogram_quantile, "sv", 0, 'v', false)                                 \
    X(HISTOGRAM_QUANTILES, histogram_quantiles, "vtss", 9, 'v', true)                              \
    X(HISTOGRAM_STDDEV, histogram_stddev, "v", 0, 'v', false)                                      \
    X(HISTOGRAM_STDVAR, histogram_stdvar, "v", 0, 'v', false)                                      \
    X(HISTOGRAM_SUM, histogram_sum, "v", 0, 'v', false)                                            \
    X(HOUR, hour, "v", 1, 'v', false)                                                              \
    X(IDELTA, idelta, "m", 0, 'v', false)                                                          \
    X(INCREASE, increase, "m", 0, 'v', false)                                                      \
    X(INFO, info, "vv", 1, 'v', true)                                                              \
    X(INTEGRAL, integral, "ms", 1, 'v', true)                                                      \
    X(IRATE, irate, "m", 0, 'v', false)                                                            \
    X(LABEL_JOIN, label_join, "vttt", -1, 'v', false)                                              \
    X(LABEL_REPLACE, label_replace, "vtttt", 0, 'v', false)                                        \
    X(LAST_OVER_TIME, last_over_time, "m", 0, 'v', false)                                          \
    X(LN, ln, "v", 0, 'v', false)                                                                  \
    X(LOG10, log10, "v", 0, 'v', false)                                                            \
    X(LOG2, log2, "v", 0, 'v', false)                                                              \
    X(MAD_OVER_TIME, mad_over_time, "m", 0, 'v', true)                                             \
    X(MAX_OF, max_of, "ss", 0, 's', true)                                                          \
    X(MAX_OVER_TIME, max_over_time, "m", 0, 'v', false)                                            \
    X(MIN_OF, min_of, "ss", 0, 's', true)                                                          \
    X(MIN_OVER_TIME, min_over_time, "m", 0, 'v', false)                                            \
    X(MINUTE, minute, "v", 1, 'v', false)                                                          \
    X(MONTH, month, "v", 1, 'v', false)                                                            \
    X(PI, pi, "", 0, 's', false)                                                                   \
    X(PREDICT_LINEAR, predict_linear, "ms", 0, 'v', false)                                         \
    X(PRESENT_OVER_TIME, present_over_time, "m", 0, 'v', false)                                    \
    X(QUANTILE_OVER_TIME, quantile_over_time, "sm", 0, 'v', false)                                 \
    X(RAD, rad, "v", 0, 'v', false)                                                                \
    X(RANGE, range, "", 0, 's', true)                                                              \
    X(RATE, rate, "m", 0, 'v', false)                                                              \
    X(RESETS, resets, "m", 0, 'v', false)                                                          \
    X(ROUND, round, "vs", 1, 'v', false)                                                           \
    X(SCALAR, scalar, "v", 0, 's', false)                                                          \
    X(SGN, sgn, "v", 0, 'v', false)                                                                \
    X(SIN, sin, "v", 0, 'v', false)                                                                \
    X(SINH, sinh, "v", 0, 'v', false)                                                              \
    X(SORT, sort, "v", 0, 'v', false)                                                              \
    X(SORT_BY_LABEL, sort_by_label, "vt", -1, 'v', true)                                           \
    X(SORT_BY_LABEL_DESC, sort_by_label_desc, "vt", -1, 'v', true)                                 \
    X(SORT_DESC, sort_desc, "v", 0, 'v', false)                                                    \
    X(SQRT, sqrt, "v", 0, 'v', false)                                                              \
    X(START, start, "", 0, 's', true)                                                              \
    X(STDDEV_OVER_TIME, stddev_over_time, "m", 0, 'v', false)                                      \
    X(STDVAR_OVER_TIME, stdvar_over_time, "m", 0, 'v', false)                                      \
    X(STEP, step, "", 0, 's', true)                                                                \
    X(SUM_OVER_TIME, sum_over_time, "m", 0, 'v', false)                                            \
    X(TAN, tan, "v", 0, 'v', false)                                                                \
    X(TANH, tanh, "v", 0, 'v', false)                                                              \
    X(TIME, time, "", 0, 's', false)                                                               \
    X(TIMESTAMP, timestamp, "v", 0, 'v', false)                                                    \
    X(TS_OF_FIRST_OVER_TIME, ts_of_first_over_time, "m", 0, 'v', true)                             \
    X(TS_OF_LAST_OVER_TIME, ts_of_last_over_time, "m", 0, 'v', true)                               \
    X(TS_OF_MAX_OVER_TIME, ts_of_max_over_time, "m", 0, 'v', true)                                 \
    X(TS_OF_MIN_OVER_TIME, ts_of_min_over_time, "m", 0, 'v', true)                                 \
    X(VECTOR, vector, "s", 0, 'v', false)                                                          \
    X(YEAR, year, "v", 1, 'v', false)

enum tide_fn {
#define TIDE_FN_ENUM(id, name, args, variadic, result, experimental) TIDE_FN_##id,
    TIDE_PROMQL_FUNCTION_MAP(TIDE_FN_ENUM)
#undef TIDE_FN_ENUM
        TIDE_FN_COUNT
};

#define TIDE_FN_ARGS_LISTED_MAX 5

struct tide_fn_signature {
    const char *name;
    enum tide_promql_type arg_types[TIDE_FN_ARGS_LISTED_MAX];
    int arg_count; /* Listed arguments. */
    int variadic;  /* As described at TIDE_PROMQL_FUNCTION_MAP. */
    enum tide_promql_type result;
    bool experimental;
};

/* The signature of fn < TIDE_FN_COUNT; the name is static. */
struct tide_fn_signature tide_fn_signature(enum tide_fn fn);
/* False when there is no function of that name. Names are case sensitive, as in Prometheus. */
bool tide_fn_find(struct tide_slice name, enum tide_fn *out);

#endif
