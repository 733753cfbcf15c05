/* Kernels that work element by element; see struct tide__function, map. */
#ifndef TIDE_PROMQL_FN_MAP_PRIVATE_H
#define TIDE_PROMQL_FN_MAP_PRIVATE_H

#include "fn_private.h"

/* Those of fn_math.c and fn_date.c: X(id in enum tide_fn, name). */
#define TIDE__FN_MATH_MAP(X)                                                                       \
    X(ABS, abs)                                                                                    \
    X(CEIL, ceil)                                                                                  \
    X(FLOOR, floor)                                                                                \
    X(EXP, exp)                                                                                    \
    X(LN, ln)                                                                                      \
    X(LOG2, log2)                                                                                  \
    X(LOG10, log10)                                                                                \
    X(SQRT, sqrt)                                                                                  \
    X(SIN, sin)                                                                                    \
    X(COS, cos)                                                                                    \
    X(TAN, tan)                                                                                    \
    X(ASIN, asin)                                                                                  \
    X(ACOS, acos)                                                                                  \
    X(ATAN, atan)                                                                                  \
    X(SINH, sinh)                                                                                  \
    X(COSH, cosh)                                                                                  \
    X(TANH, tanh)                                                                                  \
    X(ASINH, asinh)                                                                                \
    X(ACOSH, acosh)                                                                                \
    X(ATANH, atanh)                                                                                \
    X(RAD, rad)                                                                                    \
    X(DEG, deg)                                                                                    \
    X(SGN, sgn)                                                                                    \
    X(ROUND, round)                                                                                \
    X(CLAMP, clamp)                                                                                \
    X(CLAMP_MIN, clamp_min)                                                                        \
    X(CLAMP_MAX, clamp_max)
#define TIDE__FN_DATE_MAP(X)                                                                       \
    X(MINUTE, minute)                                                                              \
    X(HOUR, hour)                                                                                  \
    X(DAY_OF_WEEK, day_of_week)                                                                    \
    X(DAY_OF_MONTH, day_of_month)                                                                  \
    X(DAY_OF_YEAR, day_of_year)                                                                    \
    X(DAYS_IN_MONTH, days_in_month)                                                                \
    X(MONTH, month)                                                                                \
    X(YEAR, year)

#define TIDE__FN_MAP_DECLARE(id, name)                                                             \
    void tide__fn_##name(const struct tide__call *call, double *values, uint64_t *present);
TIDE__FN_MATH_MAP(TIDE__FN_MAP_DECLARE)
TIDE__FN_DATE_MAP(TIDE__FN_MAP_DECLARE)

#endif
