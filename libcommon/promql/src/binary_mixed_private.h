/* Operators with a native histogram on one side or both. */
#ifndef TIDE_PROMQL_BINARY_MIXED_PRIVATE_H
#define TIDE_PROMQL_BINARY_MIXED_PRIVATE_H

#include "eval_private.h"

/* A float, or a histogram when h is set. */
struct tide__operand {
    double v;
    const struct tide_histogram *h;
};

enum tide__mixed_result {
    TIDE__MIXED_VALUE,   /* There is one; of a comparison that holds, the left side. */
    TIDE__MIXED_FALSE,   /* The comparison does not hold. */
    TIDE__MIXED_NOTHING, /* The two do not go together: a note says so. */
    TIDE__MIXED_NO_MEMORY,
};

/* Any operator but the set operators, on anything but two floats that are not trimmed. Notes stand
 * at pos, the place of the operation. Histograms are made in arena. Threads: any. */
enum tide__mixed_result tide__binary_mixed(struct tide__eval *eval, struct tide_promql_range pos,
                                           enum tide_binary_op op, struct tide_arena *arena,
                                           struct tide__operand lhs, struct tide__operand rhs,
                                           struct tide__operand *out);

#endif
