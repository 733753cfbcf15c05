#include "fn_rate_private.h"

/* The smallest scaled difference that the cheap test below is trusted with: far above the
 * subnormal numbers, where a relative error bound no longer holds. */
#define SCALED_MIN 1e-290

/* ---- Extrapolation ---- */

/* What a difference between the first and last sample is multiplied with to cover the window. */
static double extrapolation(double sampled, double to_start, double to_end, bool is_rate,
                            double range_seconds)
{
    double factor = (sampled + to_start + to_end) / sampled;

    return is_rate ? factor / range_seconds : factor;
}

static void plan_step(const struct tide__windows *w, size_t s, bool is_rate, double range_seconds,
                      struct tide__rate_plan *plan)
{
    uint32_t first = w->lo[s];
    uint32_t last = w->hi[s] - 1;
    double sampled = (double)(w->times_ms[last] - w->times_ms[first]) / 1000;
    double between = sampled / (double)(last - first);
    /* A border is near when it is no more than a tenth beyond the usual distance: the series is
     * taken to reach it. Else it is taken to begin or end half a distance away. */
    double near = between * 1.1;
    double to_start = (double)(w->times_ms[first] - w->start_ms[s]) / 1000;
    double to_end = (double)(w->end_ms[s] - w->times_ms[last]) / 1000;

    if (to_start >= near)
        to_start = between / 2;
    if (to_end >= near)
        to_end = between / 2;
    plan->first[s] = first;
    plan->last[s] = last;
    plan->sampled[s] = sampled;
    plan->to_start[s] = to_start;
    plan->to_end[s] = to_end;
    plan->factor[s] = extrapolation(sampled, to_start, to_end, is_rate, range_seconds);
    plan->limit[s] = to_start * (1 + 1e-9);
}

static void *prepare(const struct tide__windows *w, struct tide_arena *arena, bool is_rate)
{
    size_t n = w->step_count;
    struct tide__rate_plan *plan = tide_arena_alloc(arena, sizeof(*plan));
    double *doubles = tide_arena_new_array(arena, n, 5 * sizeof(*doubles));
    uint32_t *indices = tide_arena_new_array(arena, n, 2 * sizeof(*indices));
    double range_seconds = tide__seconds(w->range_ms);

    if (plan == NULL || doubles == NULL || indices == NULL)
        return NULL;
    *plan = (struct tide__rate_plan){.first = indices,
                                     .last = indices + n,
                                     .sampled = doubles,
                                     .to_start = doubles + n,
                                     .to_end = doubles + 2 * n,
                                     .factor = doubles + 3 * n,
                                     .limit = doubles + 4 * n};
    for (size_t s = 0; s < n; s++)
        if (tide__bit(w->present2, s))
            plan_step(w, s, is_rate, range_seconds, plan);
    return plan;
}

void *tide__rate_prepare(const struct tide__windows *w, struct tide_arena *arena)
{
    return prepare(w, arena, true);
}

void *tide__increase_prepare(const struct tide__windows *w, struct tide_arena *arena)
{
    return prepare(w, arena, false);
}

/* A counter is never negative: where its line through the window reaches zero before the window's
 * start, extrapolation stops there. */
static double counter_factor(const struct tide__rate_plan *plan, size_t s, double first,
                             double growth, bool is_rate, double range_seconds)
{
    double to_start = plan->to_start[s];
    double to_zero = plan->sampled[s] * (first / growth);

    if (to_zero < to_start)
        to_start = to_zero;
    return extrapolation(plan->sampled[s], to_start, plan->to_end[s], is_rate, range_seconds);
}

static inline double counter_step(const struct tide__rate_plan *plan, size_t s, double first,
                                  double growth, bool is_rate, double range_seconds)
{
    double scaled = plan->limit[s] * growth;

    /* Two multiplications instead of two divisions: sampled * first / growth is surely not below
     * to_start when it is above the slightly larger limit. In doubt the definition decides. */
    if (growth > 0 && first >= 0 && !(scaled >= SCALED_MIN && plan->sampled[s] * first > scaled))
        return growth * counter_factor(plan, s, first, growth, is_rate, range_seconds);
    return growth * plan->factor[s];
}

/* ---- Counters ---- */

/* The indices i with values[i] < values[i - 1], ended by UINT32_MAX. */
static size_t find_resets(const double *values, size_t count, uint32_t *resets)
{
    size_t reset_count = 0;

    for (size_t i = 1; i < count; i++) {
        resets[reset_count] = (uint32_t)i; /* Kept only if counted: no branch to mispredict. */
        reset_count += values[i] < values[i - 1];
    }
    resets[reset_count] = UINT32_MAX;
    return reset_count;
}

static void counter(const struct tide__range_args *args, bool is_rate)
{
    const struct tide__windows *w = args->windows;
    const struct tide__rate_plan *plan = w->prepared;
    const double *values = args->values;
    uint32_t *resets = args->scratch;
    size_t at = 0; /* The first reset behind the window's first sample. */
    double range_seconds = tide__seconds(w->range_ms);

    memcpy(args->out_present, w->present2, w->word_count * sizeof(*w->present2));
    if (w->count < 2)
        return;
    if (find_resets(values, w->count, resets) == 0) {
        for (size_t s = 0; s < w->step_count; s++) {
            double first = values[plan->first[s]];

            args->out[s] =
                counter_step(plan, s, first, values[plan->last[s]] - first, is_rate, range_seconds);
        }
        return;
    }
    for (size_t s = 0; s < w->step_count; s++) {
        double first = values[plan->first[s]];
        double growth = values[plan->last[s]] - first;

        while (resets[at] <= plan->first[s])
            at++;
        /* Added one by one: sums of sums would round differently. */
        for (size_t r = at; resets[r] <= plan->last[s]; r++)
            growth += values[resets[r] - 1];
        args->out[s] = counter_step(plan, s, first, growth, is_rate, range_seconds);
    }
}

/* ---- The functions ---- */

const struct tide_selector *tide__extended_selector(const struct tide__call *call)
{
    const struct tide_expr *arg = tide_expr_unparen(call->expr->u.call.args[0]);
    const struct tide_selector *selector;

    if (arg->kind != TIDE_EXPR_MATRIX)
        return NULL;
    selector = &arg->u.matrix.selector->u.selector;
    return selector->anchored || selector->smoothed ? selector : NULL;
}

void tide__fn_rate(const struct tide__range_args *args)
{
    const struct tide_selector *extended = tide__extended_selector(args->call);

    if (extended != NULL)
        tide__rate_extended(args, (struct tide__rate_kind){true, true}, extended->smoothed);
    else
        counter(args, true);
}

void tide__fn_increase(const struct tide__range_args *args)
{
    const struct tide_selector *extended = tide__extended_selector(args->call);

    if (extended != NULL)
        tide__rate_extended(args, (struct tide__rate_kind){true, false}, extended->smoothed);
    else
        counter(args, false);
}

void tide__fn_delta(const struct tide__range_args *args)
{
    const struct tide_selector *extended = tide__extended_selector(args->call);
    const struct tide__windows *w = args->windows;
    const struct tide__rate_plan *plan = w->prepared;

    if (extended != NULL) {
        tide__rate_extended(args, (struct tide__rate_kind){false, false}, extended->smoothed);
        return;
    }
    memcpy(args->out_present, w->present2, w->word_count * sizeof(*w->present2));
    if (w->count < 2)
        return;
    for (size_t s = 0; s < w->step_count; s++)
        args->out[s] =
            (args->values[plan->last[s]] - args->values[plan->first[s]]) * plan->factor[s];
}

/* The last two samples of each window. */
static void instant(const struct tide__range_args *args, bool is_rate)
{
    const struct tide__windows *w = args->windows;

    for (size_t s = 0; s < w->step_count; s++) {
        double before, last, difference;
        int64_t between_ms;

        if (!tide__bit(w->present2, s))
            continue;
        before = args->values[w->hi[s] - 2];
        last = args->values[w->hi[s] - 1];
        between_ms = w->times_ms[w->hi[s] - 1] - w->times_ms[w->hi[s] - 2];
        /* After a reset a counter has grown from 0. A NaN is no reset. */
        difference = is_rate && last < before ? last : last - before;
        args->out[s] = is_rate ? difference / ((double)between_ms / 1000) : difference;
        tide__bit_set(args->out_present, s);
    }
}

void tide__fn_irate(const struct tide__range_args *args)
{
    instant(args, true);
}

void tide__fn_idelta(const struct tide__range_args *args)
{
    instant(args, false);
}
