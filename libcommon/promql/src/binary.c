/* The operators on numbers, and vector op scalar. */
#include "eval_private.h"

#include "tide/base/assert.h"

#include <math.h>

double tide__binary_number(enum tide_binary_op op, double lhs, double rhs, bool *keep)
{
    *keep = true;
    switch (op) {
    case TIDE_OP_ADD:
        return lhs + rhs;
    case TIDE_OP_SUB:
        return lhs - rhs;
    case TIDE_OP_MUL:
        return lhs * rhs;
    case TIDE_OP_DIV:
        return lhs / rhs;
    case TIDE_OP_MOD:
        return fmod(lhs, rhs);
    case TIDE_OP_POW:
        return pow(lhs, rhs);
    case TIDE_OP_ATAN2:
        return atan2(lhs, rhs);
    case TIDE_OP_EQ:
        *keep = lhs == rhs;
        return lhs;
    case TIDE_OP_NE:
        *keep = lhs != rhs;
        return lhs;
    case TIDE_OP_GT:
        *keep = lhs > rhs;
        return lhs;
    case TIDE_OP_LT:
        *keep = lhs < rhs;
        return lhs;
    case TIDE_OP_GE:
        *keep = lhs >= rhs;
        return lhs;
    case TIDE_OP_LE:
        *keep = lhs <= rhs;
        return lhs;
    default:
        TIDE_ASSERT(false); /* The others are no operators between numbers. */
        return NAN;
    }
}

/* The arithmetic of whole rows, without looking at presence: what is absent stays so. Loops that a
 * compiler turns into vector code. */
static bool arithmetic_row(enum tide_binary_op op, bool swapped, const double *scalar,
                           size_t step_count, double *values)
{
    switch (op) {
    case TIDE_OP_ADD:
        for (size_t s = 0; s < step_count; s++)
            values[s] = values[s] + scalar[s];
        return true;
    case TIDE_OP_MUL:
        for (size_t s = 0; s < step_count; s++)
            values[s] = values[s] * scalar[s];
        return true;
    case TIDE_OP_SUB:
        for (size_t s = 0; s < step_count; s++)
            values[s] = swapped ? scalar[s] - values[s] : values[s] - scalar[s];
        return true;
    case TIDE_OP_DIV:
        for (size_t s = 0; s < step_count; s++)
            values[s] = swapped ? scalar[s] / values[s] : values[s] / scalar[s];
        return true;
    default:
        return false;
    }
}

void tide__binary_row(enum tide_binary_op op, bool return_bool, bool swapped, const double *scalar,
                      size_t step_count, double *values, uint64_t *present)
{
    if (arithmetic_row(op, swapped, scalar, step_count, values))
        return;
    for (size_t s = 0; s < step_count; s++) {
        bool keep;
        double v;

        if (!tide__bit(present, s))
            continue;
        v = swapped ? tide__binary_number(op, scalar[s], values[s], &keep)
                    : tide__binary_number(op, values[s], scalar[s], &keep);
        if (!tide_binary_op_is_comparison(op))
            values[s] = v;
        else if (return_bool)
            values[s] = keep ? 1 : 0;
        else if (!keep) /* A comparison keeps the vector's value, on whichever side it stands. */
            tide__bit_clear(present, s);
    }
}
