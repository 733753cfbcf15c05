/* Question: how many windows a second does each range function reduce, without the evaluator?
 * Input: one series of 260 samples 15 s apart, 240 steps of 15 s, windows of 5 minutes (20
 * samples), values and times in the cache; prepared once, as for the series of one scrape target.
 * Baseline: DESIGN section 9, 150-250 M series-steps/s a core for rate. */
#include "fn_private.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"

#include <stdio.h>
#include <stdlib.h>

#define STEPS 240
#define WINDOW 20
#define SAMPLES (STEPS + WINDOW)
#define INTERVAL_MS 15000
#define RUNS 9
#define RUN_NS 20000000
#define CALLS 100 /* Between two looks at the clock. */

struct input {
    struct tide__windows windows;
    int64_t times_ms[SAMPLES];
    double values[SAMPLES];
    uint32_t lo[STEPS];
    uint32_t hi[STEPS];
    int64_t start_ms[STEPS];
    int64_t end_ms[STEPS];
    uint64_t present[STEPS / 64 + 1];
    double out[STEPS];
    uint64_t out_present[STEPS / 64 + 1];
    double scratch[4 * SAMPLES + 8];
    double quantile[STEPS];
};

/* A counter that is reset every resets_every samples; 0: never. */
static void init(struct input *in, size_t resets_every)
{
    double v = 1e6;

    for (size_t i = 0; i < SAMPLES; i++) {
        in->times_ms[i] = (int64_t)i * INTERVAL_MS + 7;
        v = resets_every > 0 && i % resets_every == 0 ? 0 : v + (double)(i * 7919 % 101);
        in->values[i] = v;
    }
    for (size_t s = 0; s < STEPS; s++) {
        in->lo[s] = (uint32_t)s;
        in->hi[s] = (uint32_t)s + WINDOW;
        in->end_ms[s] = (int64_t)(s + WINDOW) * INTERVAL_MS;
        in->start_ms[s] = in->end_ms[s] - (int64_t)WINDOW * INTERVAL_MS;
        in->quantile[s] = 0.9;
        tide__bit_set(in->present, s);
    }
    in->windows = (struct tide__windows){
        .times_ms = in->times_ms,
        .count = SAMPLES,
        .step_count = STEPS,
        .word_count = tide__word_count(STEPS),
        .lo = in->lo,
        .hi = in->hi,
        .start_ms = in->start_ms,
        .end_ms = in->end_ms,
        .step_ms = in->end_ms,
        .range_ms = (int64_t)WINDOW * INTERVAL_MS,
        .present1 = in->present,
        .present2 = in->present,
    };
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void bench(struct input *in, const struct tide__call *call, enum tide_fn fn,
                  const char *what)
{
    const struct tide__function *function = tide__function(fn);
    struct tide_arena *arena = tide_arena_new(0);
    struct tide__range_args args = {
        .call = call,
        .windows = &in->windows,
        .values = in->values,
        .scratch = in->scratch,
        .out = in->out,
        .out_present = in->out_present,
    };
    double rates[RUNS];

    TIDE_ASSERT(arena != NULL);
    in->windows.prepared =
        function->prepare == NULL ? NULL : function->prepare(&in->windows, arena);
    for (size_t run = 0; run < RUNS; run++) {
        int64_t begun = tide_clock_mono_ns();
        int64_t passed;
        double steps = 0;

        do {
            for (size_t i = 0; i < CALLS; i++)
                function->range(&args);
            steps += (double)CALLS * STEPS;
            passed = tide_clock_mono_ns() - begun;
        } while (passed < RUN_NS);
        rates[run] = steps / (double)passed * 1e3;
    }
    qsort(rates, RUNS, sizeof(*rates), compare);
    printf("{\"bench\":\"promql_fn_%s\",\"unit\":\"M series-steps/s\",\"median\":%.0f,"
           "\"max\":%.0f,\"runs\":%d}\n",
           what, rates[RUNS / 2], rates[RUNS - 1], RUNS);
    tide_arena_free(arena);
}

int main(void)
{
    static struct input in;
    struct tide_expr selector = {.kind = TIDE_EXPR_SELECTOR};
    struct tide_expr matrix = {.kind = TIDE_EXPR_MATRIX, .u.matrix.selector = &selector};
    struct tide_expr *exprs[2] = {&matrix, &matrix};
    struct tide_expr expr = {.kind = TIDE_EXPR_CALL, .u.call = {.args = exprs, .arg_count = 2}};
    struct tide__arg q = {.kind = TIDE__ARG_SCALAR, .scalar = in.quantile};
    struct tide__arg args[2] = {q, q};
    struct tide__call call = {.expr = &expr,
                              .step_count = STEPS,
                              .word_count = tide__word_count(STEPS),
                              .step_ms = in.end_ms,
                              .args = args,
                              .arg_count = 2};
    static const enum tide_fn functions[] = {
        TIDE_FN_RATE,
        TIDE_FN_INCREASE,
        TIDE_FN_DELTA,
        TIDE_FN_IRATE,
        TIDE_FN_CHANGES,
        TIDE_FN_SUM_OVER_TIME,
        TIDE_FN_AVG_OVER_TIME,
        TIDE_FN_MIN_OVER_TIME,
        TIDE_FN_MAX_OVER_TIME,
        TIDE_FN_COUNT_OVER_TIME,
        TIDE_FN_LAST_OVER_TIME,
        TIDE_FN_QUANTILE_OVER_TIME,
        TIDE_FN_STDDEV_OVER_TIME,
        TIDE_FN_DERIV,
    };

    init(&in, 0);
    for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++)
        bench(&in, &call, functions[i], tide_fn_signature(functions[i]).name);
    init(&in, 37);
    bench(&in, &call, TIDE_FN_RATE, "rate_with_resets");
    return 0;
}
