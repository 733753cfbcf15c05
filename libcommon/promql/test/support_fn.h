/* For the tests of function kernels: a call without an evaluator around it, windows cut one by one
 * from their definition, and random series. */
#ifndef TIDE_PROMQL_TEST_SUPPORT_FN_H
#define TIDE_PROMQL_TEST_SUPPORT_FN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "eval_private.h"
#include "fn_private.h"

#include "tide/base/mem.h"

#define FN_STEPS_MAX 300
#define FN_SAMPLES_MAX 1200

/* ---- Random numbers: xorshift64*, seeded, so that a failure comes again ---- */

static uint64_t fn_random_state = 1;

static inline uint64_t fn_random(void)
{
    fn_random_state ^= fn_random_state >> 12;
    fn_random_state ^= fn_random_state << 25;
    fn_random_state ^= fn_random_state >> 27;
    return fn_random_state * 0x2545f4914f6cdd1dULL;
}
static inline uint64_t fn_random_below(uint64_t bound)
{
    return fn_random() % bound;
}
static inline double fn_random_unit(void)
{
    return (double)(fn_random() >> 11) * 0x1p-53;
}

/* ---- A call ---- */

/* A query's state, as far as kernels need it. */
struct fn_eval {
    struct tide__eval eval;
    struct tide__grid grid;
    struct tide_expr call_expr;
    struct tide_expr *arg_exprs[4];
    struct tide_expr matrix_expr;
    struct tide_expr selector_expr;
    struct tide__call call;
    struct tide__arg args[4];
    double scalars[4][FN_STEPS_MAX];
    int64_t step_ms[FN_STEPS_MAX];
};

static inline void fn_eval_init(struct fn_eval *e, size_t step_count)
{
    memset(e, 0, sizeof(*e));
    e->eval.limits = &e->eval.own_limits;
    e->eval.arena = tide_arena_new(0);
    assert_non_null(e->eval.arena);
    assert_int_equal(tide__notes_init(&e->eval.notes), TIDE_OK);
    assert_int_equal(pthread_mutex_init(&e->eval.fail_lock, NULL), 0);
    e->grid.step_count = step_count;
    e->grid.word_count = tide__word_count(step_count);
    e->grid.times_ms = e->step_ms;
    e->eval.grid = &e->grid;
    e->selector_expr.kind = TIDE_EXPR_SELECTOR;
    e->matrix_expr.kind = TIDE_EXPR_MATRIX;
    e->matrix_expr.u.matrix.selector = &e->selector_expr;
    for (size_t i = 0; i < 4; i++)
        e->arg_exprs[i] = &e->matrix_expr;
    e->call_expr.kind = TIDE_EXPR_CALL;
    e->call_expr.u.call.args = e->arg_exprs;
    e->call_expr.u.call.arg_count = 4;
    e->call = (struct tide__call){
        .eval = &e->eval,
        .expr = &e->call_expr,
        .step_count = step_count,
        .word_count = e->grid.word_count,
        .step_ms = e->step_ms,
        .args = e->args,
        .arg_count = 4,
    };
}

static inline void fn_eval_deinit(struct fn_eval *e)
{
    tide__notes_deinit(&e->eval.notes);
    pthread_mutex_destroy(&e->eval.fail_lock);
    tide_arena_free(e->eval.arena);
}

/* Makes argument i the scalar v at all steps. */
static inline void fn_set_scalar(struct fn_eval *e, size_t i, double v)
{
    for (size_t s = 0; s < FN_STEPS_MAX; s++)
        e->scalars[i][s] = v;
    e->args[i] = (struct tide__arg){.kind = TIDE__ARG_SCALAR, .scalar = e->scalars[i]};
}

static inline void fn_set_string(struct fn_eval *e, size_t i, const char *text)
{
    e->args[i] = (struct tide__arg){.kind = TIDE__ARG_STRING, .string = tide_slice_str(text)};
}

/* True when a warning or info that contains text was given. */
static inline bool fn_was_noted(const struct fn_eval *e, bool info, const char *text)
{
    for (size_t i = 0; i < e->eval.notes.count; i++)
        if (e->eval.notes.list[i].info == info &&
            tide_slice_find(e->eval.notes.list[i].text, tide_slice_str(text)) != SIZE_MAX)
            return true;
    return false;
}

/* ---- Series and windows ---- */

struct fn_series {
    int64_t times_ms[FN_SAMPLES_MAX];
    double values[FN_SAMPLES_MAX];
    size_t count;

    struct tide__windows windows;
    uint32_t lo[FN_STEPS_MAX];
    uint32_t hi[FN_STEPS_MAX];
    int64_t start_ms[FN_STEPS_MAX];
    int64_t end_ms[FN_STEPS_MAX];
    int64_t step_ms[FN_STEPS_MAX];
    uint64_t present1[FN_STEPS_MAX / 64 + 1];
    uint64_t present2[FN_STEPS_MAX / 64 + 1];

    double out[FN_STEPS_MAX];
    uint64_t out_present[FN_STEPS_MAX / 64 + 1];
    double scratch[4 * FN_SAMPLES_MAX + 8];
};

/* Cuts the windows (end - range, end], end at first, first + step, … moved back by offset. */
static inline void fn_cut(struct fn_series *f, size_t step_count, int64_t first_ms, int64_t step_ms,
                          int64_t range_ms, int64_t offset_ms)
{
    assert_true(step_count <= FN_STEPS_MAX);
    memset(f->present1, 0, sizeof(f->present1));
    memset(f->present2, 0, sizeof(f->present2));
    for (size_t s = 0; s < step_count; s++) {
        uint32_t lo = 0;
        uint32_t hi;

        f->step_ms[s] = first_ms + (int64_t)s * step_ms;
        f->end_ms[s] = f->step_ms[s] - offset_ms;
        f->start_ms[s] = f->end_ms[s] - range_ms;
        while (lo < f->count && f->times_ms[lo] <= f->start_ms[s])
            lo++;
        hi = lo;
        while (hi < f->count && f->times_ms[hi] <= f->end_ms[s])
            hi++;
        f->lo[s] = lo;
        f->hi[s] = hi;
        tide__bit_assign(f->present1, s, hi - lo >= 1);
        tide__bit_assign(f->present2, s, hi - lo >= 2);
    }
    f->windows = (struct tide__windows){
        .times_ms = f->times_ms,
        .count = f->count,
        .step_count = step_count,
        .word_count = tide__word_count(step_count),
        .lo = f->lo,
        .hi = f->hi,
        .start_ms = f->start_ms,
        .end_ms = f->end_ms,
        .step_ms = f->step_ms,
        .range_ms = range_ms,
        .lookback_ms = 300000,
        .present1 = f->present1,
        .present2 = f->present2,
    };
}

/* Runs a range function over the windows; the answer is in out and out_present. */
static inline void fn_run(struct fn_series *f, struct fn_eval *e, enum tide_fn fn)
{
    const struct tide__function *function = tide__function(fn);
    struct tide_arena *arena = tide_arena_new(0);

    assert_non_null(function);
    assert_non_null(function->range);
    assert_non_null(arena);
    memset(f->out_present, 0, sizeof(f->out_present));
    memset(f->out, 0x55, sizeof(f->out));
    memset(f->scratch, 0x55, sizeof(f->scratch));
    f->windows.prepared = NULL;
    if (function->prepare != NULL) {
        f->windows.prepared = function->prepare(&f->windows, arena);
        assert_non_null(f->windows.prepared);
    }
    function->range(&(struct tide__range_args){
        .call = &e->call,
        .windows = &f->windows,
        .values = f->values,
        .scratch = f->scratch,
        .out = f->out,
        .out_present = f->out_present,
    });
    for (size_t s = f->windows.step_count; s < f->windows.word_count * 64; s++)
        assert_false(tide__bit(f->out_present, s));
    tide_arena_free(arena);
}

/* The answer of a single window over all samples given, with times 0, 10 s, 20 s, …. */
static inline double fn_over(struct fn_series *f, struct fn_eval *e, enum tide_fn fn,
                             const double *values, size_t count)
{
    f->count = count;
    for (size_t i = 0; i < count; i++) {
        f->times_ms[i] = (int64_t)i * 10000;
        f->values[i] = values[i];
    }
    fn_cut(f, 1, 120000, 1000, 240000, 0);
    fn_run(f, e, fn);
    assert_true(tide__bit(f->out_present, 0));
    return f->out[0];
}

enum fn_shape { FN_COUNTER, FN_GAUGE, FN_WILD, FN_SHAPES };

/* A random series with gaps and jitter: a counter with resets, a gauge with repeated values, or
 * anything float64 can hold. */
static inline void fn_random_series(struct fn_series *f, enum fn_shape shape)
{
    static const double odd[] = {NAN, INFINITY, -INFINITY, 0.0, -0.0, 1e308, -1e308, 5e-324};
    double counter = fn_random_unit() * 1e6;
    int64_t t = (int64_t)fn_random_below(50000);
    bool regular = fn_random_below(2) == 0;

    f->count = fn_random_below(12) == 0 ? fn_random_below(4) : 50 + fn_random_below(400);
    for (size_t i = 0; i < f->count; i++) {
        f->times_ms[i] = t;
        t += regular ? 15000 : 14000 + (int64_t)fn_random_below(2000);
        if (fn_random_below(40) == 0)
            t += (int64_t)fn_random_below(400000);
        counter += fn_random_below(3) == 0 ? 0 : fn_random_unit() * 100;
        if (fn_random_below(30) == 0)
            counter = fn_random_below(2) == 0 ? 0 : fn_random_unit();
        if (shape == FN_COUNTER)
            f->values[i] = counter;
        else
            f->values[i] = fn_random_below(3) == 0 ? (double)fn_random_below(5)
                                                   : (fn_random_unit() - 0.5) * 1e3;
        if (shape == FN_WILD && fn_random_below(8) == 0)
            f->values[i] = odd[fn_random_below(sizeof(odd) / sizeof(*odd))];
    }
}

/* Random windows over the series: short and long ranges, some before and after all samples. */
static inline void fn_random_cut(struct fn_series *f)
{
    static const int64_t steps[] = {1000, 15000, 15000, 60000, 61234};
    static const int64_t ranges[] = {1000, 60000, 300000, 300000, 1234567, 3600000};

    fn_cut(f, 1 + fn_random_below(FN_STEPS_MAX - 1), (int64_t)fn_random_below(900000) - 300000,
           steps[fn_random_below(5)], ranges[fn_random_below(6)],
           (int64_t)fn_random_below(2) * 60000);
}

/* Same bits, or both NaN. */
static inline void fn_assert_same(double got, double want)
{
    if (isnan(got) && isnan(want))
        return;
    if (tide_value_bits(got) != tide_value_bits(want))
        fail_msg("got %.17g, want %.17g", got, want);
}

/* Answers whether want holds for window s, with *out set if so; the definition, window by window.
 */
typedef bool (*fn_definition)(const struct fn_series *f, const struct fn_eval *e, size_t s,
                              double *out);

/* Compares all steps of the last run with the definition. */
static inline void fn_check(const struct fn_series *f, const struct fn_eval *e,
                            fn_definition definition)
{
    for (size_t s = 0; s < f->windows.step_count; s++) {
        double want = 0;
        bool present = definition(f, e, s, &want);

        assert_int_equal(tide__bit(f->out_present, s), present);
        if (present)
            fn_assert_same(f->out[s], want);
    }
}

/* Random series of all shapes against the definition. */
static inline void fn_check_random(struct fn_eval *e, enum tide_fn fn, fn_definition definition,
                                   size_t rounds)
{
    struct fn_series *f = tide_mem_new(sizeof(*f));

    assert_non_null(f);
    fn_random_state = 0x9e3779b97f4a7c15ULL + (uint64_t)fn;
    for (size_t i = 0; i < rounds; i++) {
        fn_random_series(f, (enum fn_shape)(i % FN_SHAPES));
        fn_random_cut(f);
        fn_run(f, e, fn);
        fn_check(f, e, definition);
    }
    tide_mem_free(f);
}

#endif
