/* Functions of one value. Where Go's math and the C library agree the bits are Go's. */
#include "fn_map_private.h"

#include <stdlib.h>

/* pi as Go's math.Pi rounds to float64. */
#define PI 3.14159265358979323846264338327950288

/* One kernel per function: the loop is where the compiler can see the operation. Absent values are
 * worked on too: they are initialised memory of no meaning, and skipping them costs more. */
#define MAP(name, expression)                                                                      \
    void tide__fn_##name(const struct tide__call *call, double *values, uint64_t *present)         \
    {                                                                                              \
        (void)present;                                                                             \
        for (size_t s = 0; s < call->step_count; s++) {                                            \
            double v = values[s];                                                                  \
                                                                                                   \
            values[s] = (expression);                                                              \
        }                                                                                          \
    }

MAP(abs, fabs(v))
MAP(ceil, ceil(v))
MAP(floor, floor(v))
MAP(exp, exp(v))
MAP(ln, log(v))
MAP(log2, log2(v))
MAP(log10, log10(v))
MAP(sqrt, sqrt(v))
MAP(sin, sin(v))
MAP(cos, cos(v))
MAP(tan, tan(v))
MAP(asin, asin(v))
MAP(acos, acos(v))
MAP(atan, atan(v))
MAP(sinh, sinh(v))
MAP(cosh, cosh(v))
MAP(tanh, tanh(v))
MAP(asinh, asinh(v))
MAP(acosh, acosh(v))
MAP(atanh, atanh(v))
MAP(rad, v *PI / 180)
MAP(deg, v * 180 / PI)
MAP(sgn, v<0 ? -1 : v> 0 ? 1 : v) /* Zero keeps its sign, NaN stays. */

/* To the nearest multiple, ties up: not round(), which takes ties away from zero. */
void tide__fn_round(const struct tide__call *call, double *values, uint64_t *present)
{
    const double *to_nearest = call->arg_count > 1 ? call->args[1].scalar : NULL;

    (void)present;
    for (size_t s = 0; s < call->step_count; s++) {
        double inverse = to_nearest != NULL ? 1 / to_nearest[s] : 1;

        values[s] = floor(values[s] * inverse + 0.5) / inverse;
    }
}

/* ---- Clamping ---- */

/* Go's math.Min and Max: an infinity on the far side wins even over NaN, and -0 is under 0. */
static double least(double a, double b)
{
    if (isinf(a) && a < 0)
        return a;
    if (isinf(b) && b < 0)
        return b;
    if (isnan(a) || isnan(b))
        return NAN;
    if (a == 0 && b == 0)
        return signbit(a) ? a : b;
    return a < b ? a : b;
}

static double most(double a, double b)
{
    if (isinf(a) && a > 0)
        return a;
    if (isinf(b) && b > 0)
        return b;
    if (isnan(a) || isnan(b))
        return NAN;
    if (a == 0 && b == 0)
        return signbit(a) ? b : a;
    return a > b ? a : b;
}

static void clamp_step(double *values, uint64_t *present, size_t s, double min, double max)
{
    if (max < min)
        tide__bit_clear(present, s); /* No value can be between them. */
    else
        values[s] = most(min, least(max, values[s]));
}

void tide__fn_clamp(const struct tide__call *call, double *values, uint64_t *present)
{
    for (size_t s = 0; s < call->step_count; s++)
        clamp_step(values, present, s, call->args[1].scalar[s], call->args[2].scalar[s]);
}

void tide__fn_clamp_min(const struct tide__call *call, double *values, uint64_t *present)
{
    for (size_t s = 0; s < call->step_count; s++)
        clamp_step(values, present, s, call->args[1].scalar[s], INFINITY);
}

void tide__fn_clamp_max(const struct tide__call *call, double *values, uint64_t *present)
{
    for (size_t s = 0; s < call->step_count; s++)
        clamp_step(values, present, s, -INFINITY, call->args[1].scalar[s]);
}
