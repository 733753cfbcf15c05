#include "aggregate_private.h"

#include "fn_private.h"

#include "tide/base/assert.h"

#include <float.h>
#include <math.h>

bool tide__cell_new(enum tide_aggregate op, size_t step_count, struct tide_arena *arena,
                    struct tide__cell *cell)
{
    size_t words = tide__word_count(step_count);
    bool has_n = op == TIDE_AGG_AVG || op == TIDE_AGG_STDDEV || op == TIDE_AGG_STDVAR;
    bool has_b = has_n || op == TIDE_AGG_SUM;
    bool has_a = op != TIDE_AGG_GROUP;
    size_t arrays = (size_t)has_a + (size_t)has_b + (size_t)has_n;
    double *values = tide_arena_new_array(arena, arrays * step_count + words, sizeof(*values));

    *cell = (struct tide__cell){0};
    if (values == NULL)
        return false;
    _Static_assert(sizeof(double) == sizeof(uint64_t), "words and values share one block");
    cell->present = (uint64_t *)(void *)(values + arrays * step_count);
    if (has_a)
        cell->a = values;
    if (has_b)
        cell->b = values + step_count;
    if (has_n)
        cell->n = values + 2 * step_count;
    if (op == TIDE_AGG_AVG) {
        cell->is_mean = tide_arena_new_array(arena, step_count, 1);
        if (cell->is_mean == NULL)
            return false;
    }
    /* -0 + x is x for every x, -0 itself too; NaN gives way to any value in min and max. */
    if (op == TIDE_AGG_SUM || op == TIDE_AGG_AVG)
        for (size_t s = 0; s < step_count; s++)
            cell->a[s] = -0.0;
    if (op == TIDE_AGG_MIN || op == TIDE_AGG_MAX)
        for (size_t s = 0; s < step_count; s++)
            cell->a[s] = NAN;
    return true;
}

/* ---- One value more, at one step ---- */

static inline void sum_step(struct tide__cell *cell, size_t s, double v)
{
    struct tide__kahan k = {cell->a[s], cell->b[s]};

    tide__kahan_add(&k, v);
    cell->a[s] = k.sum;
    cell->b[s] = k.lost;
}

static void mean_start(struct tide__cell *cell, size_t s, double n)
{
    cell->is_mean[s] = 1;
    cell->a[s] /= n;
    cell->b[s] /= n;
}

/* Folds `part` values with the given mean into a mean of n values in all. */
static void mean_step(struct tide__cell *cell, size_t s, double mean, double lost, double part,
                      double n)
{
    struct tide__kahan k;
    double q = (n - part) / n;

    if (isinf(cell->a[s])) {
        /* An infinite mean stays: subtracting infinities, or adding to one, would spoil it. Only
         * NaN and the other infinity change it, to NaN. */
        if (isinf(mean) && (cell->a[s] > 0) == (mean > 0))
            return;
        if (isfinite(mean))
            return;
    }
    k = (struct tide__kahan){q * cell->a[s], q * cell->b[s]};
    tide__kahan_add(&k, part == 1 ? mean / n : mean * (part / n));
    cell->a[s] = k.sum;
    cell->b[s] = k.lost + lost * (part / n);
}

static void avg_step(struct tide__cell *cell, size_t s, double v)
{
    double n = ++cell->n[s];

    if (n == 1) {
        cell->a[s] = v;
        return;
    }
    if (!cell->is_mean[s]) {
        struct tide__kahan k = {cell->a[s], cell->b[s]};

        tide__kahan_add(&k, v);
        if (!isinf(k.sum)) {
            cell->a[s] = k.sum;
            cell->b[s] = k.lost;
            return;
        }
        mean_start(cell, s, n - 1); /* The sum would overflow: from here on the running mean. */
    }
    mean_step(cell, s, v, 0, 1, n);
}

static void deviation_step(struct tide__cell *cell, size_t s, double v)
{
    double n = ++cell->n[s];
    double delta;

    if (n == 1) {
        cell->a[s] = v;
        cell->b[s] = isfinite(v) ? 0 : NAN;
        return;
    }
    delta = v - cell->a[s];
    cell->a[s] += delta / n;
    cell->b[s] += delta * (v - cell->a[s]);
}

static void step_add(enum tide_aggregate op, struct tide__cell *cell, size_t s, double v)
{
    switch (op) {
    case TIDE_AGG_SUM:
        sum_step(cell, s, v);
        break;
    case TIDE_AGG_AVG:
        avg_step(cell, s, v);
        break;
    case TIDE_AGG_COUNT:
        cell->a[s]++;
        break;
    case TIDE_AGG_MIN:
        if (cell->a[s] > v || isnan(cell->a[s]))
            cell->a[s] = v;
        break;
    case TIDE_AGG_MAX:
        if (cell->a[s] < v || isnan(cell->a[s]))
            cell->a[s] = v;
        break;
    case TIDE_AGG_GROUP:
        break;
    case TIDE_AGG_STDDEV:
    case TIDE_AGG_STDVAR:
        deviation_step(cell, s, v);
        break;
    default:
        TIDE_ASSERT(false); /* The others do not fold. */
    }
}

/* ---- 64 steps at a time, all present: loops without branches, which become vector code ---- */

static void sum_word(double *restrict a, double *restrict b, const double *restrict values)
{
    for (size_t i = 0; i < TIDE__WORD_STEPS; i++) {
        double v = values[i];
        double sum = a[i] + v;
        double lost = fabs(a[i]) >= fabs(v) ? (a[i] - sum) + v : (v - sum) + a[i];

        b[i] = fabs(sum) > DBL_MAX ? 0 : b[i] + lost;
        a[i] = sum;
    }
}

/* False, and nothing done, when some step needs the running mean. */
static bool avg_word(struct tide__cell *cell, size_t from, const double *values)
{
    unsigned odd = 0;

    for (size_t i = 0; i < TIDE__WORD_STEPS; i++) {
        double sum = cell->a[from + i] + values[i];

        odd |= (unsigned)(fabs(sum) > DBL_MAX) | cell->is_mean[from + i];
    }
    if (odd != 0)
        return false;
    sum_word(cell->a + from, cell->b + from, values);
    for (size_t i = 0; i < TIDE__WORD_STEPS; i++)
        cell->n[from + i]++;
    return true;
}

static void extreme_word(double *restrict a, const double *restrict values, bool max)
{
    for (size_t i = 0; i < TIDE__WORD_STEPS; i++) {
        double v = values[i];
        bool take = (max ? a[i] < v : a[i] > v) || a[i] != a[i];

        a[i] = take ? v : a[i];
    }
}

static bool word_add(enum tide_aggregate op, struct tide__cell *cell, size_t w,
                     const double *values)
{
    size_t from = w * TIDE__WORD_STEPS;

    switch (op) {
    case TIDE_AGG_SUM:
        sum_word(cell->a + from, cell->b + from, values + from);
        return true;
    case TIDE_AGG_AVG:
        return avg_word(cell, from, values + from);
    case TIDE_AGG_COUNT:
        for (size_t i = 0; i < TIDE__WORD_STEPS; i++)
            cell->a[from + i]++;
        return true;
    case TIDE_AGG_MIN:
    case TIDE_AGG_MAX:
        extreme_word(cell->a + from, values + from, op == TIDE_AGG_MAX);
        return true;
    case TIDE_AGG_GROUP:
        return true;
    default:
        return false;
    }
}

void tide__cell_add(enum tide_aggregate op, struct tide__cell *cell, size_t step_count,
                    const double *values, const uint64_t *present)
{
    for (size_t w = 0; w < tide__word_count(step_count); w++) {
        uint64_t bits = present[w];

        cell->present[w] |= bits;
        if (bits == UINT64_MAX && word_add(op, cell, w, values))
            continue;
        for (; bits != 0; bits &= bits - 1) {
            size_t s = w * TIDE__WORD_STEPS + (size_t)__builtin_ctzll(bits);

            step_add(op, cell, s, values[s]);
        }
    }
}

/* ---- Cells into cells ---- */

static void avg_merge(struct tide__cell *cell, size_t s, const struct tide__cell *other)
{
    double n = cell->n[s] + other->n[s];
    double mean = other->a[s];
    double lost = other->b[s];

    if (!cell->is_mean[s] && !other->is_mean[s]) {
        struct tide__kahan k = {cell->a[s], cell->b[s]};

        tide__kahan_add(&k, other->a[s]);
        if (!isinf(k.sum)) {
            cell->a[s] = k.sum;
            cell->b[s] = k.lost + other->b[s];
            cell->n[s] = n;
            return;
        }
    }
    if (!cell->is_mean[s])
        mean_start(cell, s, cell->n[s]);
    if (!other->is_mean[s]) {
        mean /= other->n[s];
        lost /= other->n[s];
    }
    mean_step(cell, s, mean, lost, other->n[s], n);
    cell->n[s] = n;
}

/* T. Chan, G. Golub, R. LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
 * Variances" (1979). */
static void deviation_merge(struct tide__cell *cell, size_t s, const struct tide__cell *other)
{
    double n = cell->n[s] + other->n[s];
    double delta = other->a[s] - cell->a[s];

    cell->a[s] += delta * (other->n[s] / n);
    cell->b[s] += other->b[s] + delta * delta * (cell->n[s] * other->n[s] / n);
    cell->n[s] = n;
}

static void step_merge(enum tide_aggregate op, struct tide__cell *cell, size_t s,
                       const struct tide__cell *other)
{
    switch (op) {
    case TIDE_AGG_SUM:
        sum_step(cell, s, other->a[s]);
        cell->b[s] += other->b[s];
        break;
    case TIDE_AGG_AVG:
        avg_merge(cell, s, other);
        break;
    case TIDE_AGG_COUNT:
        cell->a[s] += other->a[s];
        break;
    case TIDE_AGG_STDDEV:
    case TIDE_AGG_STDVAR:
        deviation_merge(cell, s, other);
        break;
    case TIDE_AGG_GROUP:
        break;
    default:
        step_add(op, cell, s, other->a[s]);
    }
}

static void step_copy(struct tide__cell *cell, size_t s, const struct tide__cell *other)
{
    if (cell->a != NULL)
        cell->a[s] = other->a[s];
    if (cell->b != NULL)
        cell->b[s] = other->b[s];
    if (cell->n != NULL)
        cell->n[s] = other->n[s];
    if (cell->is_mean != NULL)
        cell->is_mean[s] = other->is_mean[s];
}

void tide__cell_merge(enum tide_aggregate op, struct tide__cell *cell, size_t step_count,
                      const struct tide__cell *other)
{
    for (size_t w = 0; w < tide__word_count(step_count); w++) {
        uint64_t bits = other->present[w];

        for (; bits != 0; bits &= bits - 1) {
            size_t s = w * TIDE__WORD_STEPS + (size_t)__builtin_ctzll(bits);

            if (tide__bit(cell->present, s))
                step_merge(op, cell, s, other);
            else
                step_copy(cell, s, other);
        }
        cell->present[w] |= other->present[w];
    }
}

void tide__cell_finish(enum tide_aggregate op, const struct tide__cell *cell, size_t step_count,
                       double *out)
{
    for (size_t s = 0; s < step_count; s++) {
        if (!tide__bit(cell->present, s))
            continue;
        switch (op) {
        case TIDE_AGG_SUM:
            out[s] = cell->a[s] + cell->b[s];
            break;
        case TIDE_AGG_AVG:
            if (cell->is_mean[s])
                out[s] = cell->a[s] + cell->b[s];
            else
                out[s] = cell->a[s] / cell->n[s] + cell->b[s] / cell->n[s];
            break;
        case TIDE_AGG_GROUP:
            out[s] = 1;
            break;
        case TIDE_AGG_STDVAR:
            out[s] = cell->b[s] / cell->n[s];
            break;
        case TIDE_AGG_STDDEV:
            out[s] = sqrt(cell->b[s] / cell->n[s]);
            break;
        default:
            out[s] = cell->a[s];
        }
    }
}
