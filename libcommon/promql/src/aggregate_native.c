/* sum() and avg() of native histograms. */
#include "aggregate_private.h"

static struct tide__native *native_at(struct tide__cell *cell, size_t step_count, size_t s,
                                      struct tide_arena *arena, bool *is_new)
{
    if (cell->native == NULL) {
        cell->native = tide_arena_new_array(arena, step_count, sizeof(struct tide__native *));
        if (cell->native == NULL)
            return NULL;
    }
    *is_new = cell->native[s] == NULL;
    if (*is_new)
        cell->native[s] = tide_arena_new_array(arena, 1, sizeof(struct tide__native));
    return cell->native[s];
}

static void take_outcome(struct tide__native *native, const struct tide__hist_outcome *outcome)
{
    native->incompatible = native->incompatible || outcome->incompatible;
    native->reconciled = native->reconciled || outcome->reconciled;
}

static void start_mean(struct tide__native *native)
{
    if (native->is_mean)
        return;
    tide__hist_sum_divide(&native->sum, native->n);
    native->is_mean = true;
}

/* Adds other, a sum of n histograms or their mean, which is changed. */
static bool add_sum(enum tide_aggregate op, struct tide__native *native,
                    struct tide__hist_sum *other, double n, bool other_is_mean)
{
    struct tide__hist_outcome outcome;
    double all = native->n + n;
    bool overflows = false;

    if (op == TIDE_AGG_AVG && !native->is_mean && !other_is_mean &&
        (tide__hist_sum_is_large(&native->sum) || tide__hist_sum_is_large(other))) {
        struct tide__hist_sum tried = {.arena = native->sum.arena};

        if (!tide__hist_sum_copy(&tried, &native->sum) ||
            !tide__hist_sum_merge(&tried, other, &outcome))
            return false; /* What was aligned in other stays right for a second try. */
        if (outcome.incompatible || !tide__hist_sum_overflows(&tried)) {
            take_outcome(native, &outcome);
            native->sum = tried;
            native->n = all;
            return true;
        }
        overflows = true;
    }
    if (op == TIDE_AGG_AVG && (native->is_mean || other_is_mean || overflows)) {
        start_mean(native);
        if (!other_is_mean)
            tide__hist_sum_divide(other, n);
        tide__hist_sum_multiply(&native->sum, native->n / all);
        tide__hist_sum_multiply(other, n / all);
    }
    native->n = all;
    if (!tide__hist_sum_merge(&native->sum, other, &outcome))
        return false;
    take_outcome(native, &outcome);
    return true;
}

static bool add_one(enum tide_aggregate op, struct tide__native *native,
                    const struct tide_histogram *h)
{
    struct tide__hist_outcome outcome;
    struct tide__hist_sum other;

    if (op == TIDE_AGG_AVG &&
        (native->is_mean || tide__hist_sum_is_large(&native->sum) || tide__hist_is_large(h)))
        return tide__hist_sum_init(&other, native->sum.scratch, false, h) &&
               add_sum(op, native, &other, 1, false);
    native->n++;
    if (!tide__hist_sum_add(&native->sum, h, 1, &outcome))
        return false;
    take_outcome(native, &outcome);
    return true;
}

bool tide__native_add(enum tide_aggregate op, struct tide__cell *cell, size_t step_count,
                      const uint64_t *present, const struct tide_histogram *const *histograms,
                      struct tide_slice name, struct tide_arena *arena, struct tide_arena *scratch)
{
    for (size_t s = 0; s < step_count; s++) {
        struct tide__native *native;
        bool is_new;

        if (!tide__bit(present, s) || histograms[s] == NULL)
            continue;
        native = native_at(cell, step_count, s, arena, &is_new);
        if (native == NULL)
            return false;
        native->name = name;
        native->reset = native->reset || histograms[s]->reset == TIDE_RESET_YES;
        native->no_reset = native->no_reset || histograms[s]->reset == TIDE_RESET_NO;
        if (is_new) {
            native->n = 1;
            if (!tide__hist_sum_init(&native->sum, arena, true, histograms[s]))
                return false;
            native->sum.scratch = scratch;
        } else if (!native->incompatible && !add_one(op, native, histograms[s])) {
            return false;
        }
    }
    return true;
}

bool tide__native_merge(enum tide_aggregate op, struct tide__cell *cell, size_t step_count,
                        const struct tide__cell *other, struct tide_arena *arena)
{
    for (size_t s = 0; other->native != NULL && s < step_count; s++) {
        struct tide__native *from = other->native[s];
        struct tide__native *native;
        bool is_new;

        if (from == NULL)
            continue;
        native = native_at(cell, step_count, s, arena, &is_new);
        if (native == NULL)
            return false;
        if (is_new) {
            *native = *from;
            native->sum = (struct tide__hist_sum){.arena = arena};
            if (!tide__hist_sum_copy(&native->sum, &from->sum))
                return false;
            continue;
        }
        native->name = from->name;
        native->reset = native->reset || from->reset;
        native->no_reset = native->no_reset || from->no_reset;
        native->incompatible = native->incompatible || from->incompatible;
        native->reconciled = native->reconciled || from->reconciled;
        if (!native->incompatible && !add_sum(op, native, &from->sum, from->n, from->is_mean))
            return false;
    }
    return true;
}

/* False where there is no result. */
static bool tell(struct tide__eval *eval, struct tide_promql_range pos, bool has_float,
                 const struct tide__native *native)
{
    if (native->incompatible)
        tide__note_at(eval, false, pos,
                      "vector contains a mix of histograms with exponential and custom buckets "
                      "schemas for metric name \"%.*s\"",
                      TIDE_SLICE_ARGS(native->name));
    if (has_float)
        tide__note_at(eval, false, pos,
                      "encountered a mix of histograms and floats for aggregation");
    if (native->reset && native->no_reset)
        tide__note_at(eval, false, pos, "conflicting counter resets during histogram aggregation");
    if (native->reconciled)
        tide__note_at(eval, true, pos,
                      "mismatched custom buckets were reconciled during aggregation");
    return !native->incompatible && !has_float;
}

enum tide_err tide__native_finish(struct tide__eval *eval, struct tide_promql_range pos,
                                  enum tide_aggregate op, const struct tide__cell *cell,
                                  struct tide__row *row)
{
    size_t steps = eval->grid->step_count;
    const struct tide_histogram **histograms;
    enum tide_err err;

    if (cell->native == NULL)
        return TIDE_OK;
    histograms = tide__eval_alloc(eval, steps * sizeof(struct tide_histogram *));
    if (histograms == NULL)
        return tide__eval_no_memory(eval);
    memset(histograms, 0, steps * sizeof(struct tide_histogram *));
    for (size_t s = 0; s < steps; s++) {
        struct tide__native *native = cell->native[s];

        if (native == NULL)
            continue;
        if (!tell(eval, pos, tide__bit(row->present, s), native)) {
            tide__bit_clear(row->present, s);
            continue;
        }
        if (op == TIDE_AGG_AVG)
            start_mean(native);
        histograms[s] = tide__hist_sum_finish(&native->sum, eval->arena);
        if (histograms[s] == NULL)
            return TIDE_ERR_NO_MEMORY;
        err = tide__charge_arena(eval, eval->arena, &eval->arena_charged);
        if (err != TIDE_OK)
            return err;
        tide__bit_set(row->present, s);
    }
    row->histograms = histograms;
    return TIDE_OK;
}
