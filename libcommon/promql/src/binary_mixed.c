#include "binary_mixed_private.h"

#include "hist_private.h"

static enum tide__mixed_result made(const struct tide_histogram *h, struct tide__operand *out)
{
    if (h == NULL)
        return TIDE__MIXED_NO_MEMORY;
    *out = (struct tide__operand){0, h};
    return TIDE__MIXED_VALUE;
}

static enum tide__mixed_result incompatible(struct tide__eval *eval, struct tide_promql_range pos,
                                            enum tide_binary_op op, struct tide__operand lhs,
                                            struct tide__operand rhs)
{
    tide__note_at(eval, true, pos,
                  "incompatible sample types encountered for binary operator \"%s\": %s %s %s",
                  tide_binary_op_text(op), lhs.h == NULL ? "float" : "histogram",
                  tide_binary_op_text(op), rhs.h == NULL ? "float" : "histogram");
    return TIDE__MIXED_NOTHING;
}

static enum tide__mixed_result add(struct tide__eval *eval, struct tide_promql_range pos,
                                   enum tide_binary_op op, struct tide_arena *arena,
                                   struct tide__operand lhs, struct tide__operand rhs,
                                   struct tide__operand *out)
{
    const char *what = op == TIDE_OP_ADD ? "addition" : "subtraction";
    struct tide__hist_outcome outcome;
    const struct tide_histogram *h;

    if (!tide__hist_add(lhs.h, rhs.h, op == TIDE_OP_ADD ? 1 : -1, arena, &outcome, &h))
        return TIDE__MIXED_NO_MEMORY;
    if (outcome.incompatible) {
        tide__note_at(eval, false, pos,
                      "incompatible bucket layout encountered for binary operator %s",
                      tide_binary_op_text(op));
        return TIDE__MIXED_NOTHING;
    }
    if (outcome.collision)
        tide__note_at(eval, false, pos, "conflicting counter resets during histogram %s", what);
    if (outcome.reconciled)
        tide__note_at(eval, true, pos, "mismatched custom buckets were reconciled during %s", what);
    return made(h, out);
}

static enum tide__mixed_result two_histograms(struct tide__eval *eval, struct tide_promql_range pos,
                                              enum tide_binary_op op, struct tide_arena *arena,
                                              struct tide__operand lhs, struct tide__operand rhs,
                                              struct tide__operand *out)
{
    switch (op) {
    case TIDE_OP_ADD:
    case TIDE_OP_SUB:
        return add(eval, pos, op, arena, lhs, rhs, out);
    case TIDE_OP_EQ:
    case TIDE_OP_NE:
        *out = lhs;
        return tide__hist_equal(lhs.h, rhs.h) == (op == TIDE_OP_EQ) ? TIDE__MIXED_VALUE
                                                                    : TIDE__MIXED_FALSE;
    default:
        return incompatible(eval, pos, op, lhs, rhs);
    }
}

enum tide__mixed_result tide__binary_mixed(struct tide__eval *eval, struct tide_promql_range pos,
                                           enum tide_binary_op op, struct tide_arena *arena,
                                           struct tide__operand lhs, struct tide__operand rhs,
                                           struct tide__operand *out)
{
    if (lhs.h != NULL && rhs.h != NULL)
        return two_histograms(eval, pos, op, arena, lhs, rhs, out);
    if (op == TIDE_OP_MUL && lhs.h != NULL)
        return made(tide__hist_multiply(lhs.h, rhs.v, arena), out);
    if (op == TIDE_OP_MUL && rhs.h != NULL)
        return made(tide__hist_multiply(rhs.h, lhs.v, arena), out);
    if (op == TIDE_OP_DIV && lhs.h != NULL)
        return made(tide__hist_divide(lhs.h, rhs.v, arena), out);
    if ((op == TIDE_OP_TRIM_UPPER || op == TIDE_OP_TRIM_LOWER) && lhs.h != NULL)
        return made(tide__hist_trim(lhs.h, rhs.v, op == TIDE_OP_TRIM_UPPER, arena), out);
    return incompatible(eval, pos, op, lhs, rhs);
}
