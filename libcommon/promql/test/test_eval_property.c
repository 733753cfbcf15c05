/* Random queries over random samples: what must hold whatever they are. */
#include "support_generate.h"
#include "support_source.h"

#include "tide/promql/engine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

static const char *const metrics[] = {"a_total", "b", "h_bucket"};
static const char *const labels[] = {"job", "le"};
static const char *const values[] = {"0.5", "1", "+Inf", "x"};

/* More steps than a word of presence has, and not a multiple of them. */
#define RANGE_START_MS 300000
#define RANGE_STEP_MS 17000
#define RANGE_STEPS 70
#define RANGE_END_MS (RANGE_START_MS + (RANGE_STEPS - 1) * RANGE_STEP_MS)

static struct tide_engine *engine_new(unsigned threads)
{
    struct tide_engine *engine;

    assert_int_equal(tide_engine_new(&(struct tide_engine_options){.threads = threads}, &engine),
                     TIDE_OK);
    return engine;
}

static double some_value(struct generator *g)
{
    switch (generator_below(g, 24)) {
    case 0:
        return NAN;
    case 1:
        return INFINITY;
    case 2:
        return -INFINITY;
    case 3:
        return tide_value(TIDE_STALE_BITS);
    case 4:
        return -0.0;
    case 5:
        return 1e308;
    default:
        return (double)generator_below(g, 2000) / 7 - 20;
    }
}

/* A dozen series in three targets, half an hour of scrapes with gaps and resets. */
static struct support_source *some_samples(struct generator *g)
{
    struct support_source *src = support_source_new();

    for (size_t m = 0; m < 3; m++) {
        for (size_t v = 0; v < 4; v++) {
            char text[128];
            struct support_series *s;
            double counter = 0;
            int64_t phase = (int64_t)(v % 2) * 1700;

            (void)snprintf(text, sizeof(text), "%s{job=\"%s\", le=\"%s\"}", metrics[m],
                           values[v % 2], values[v]);
            s = support_source_series(src, text);
            for (int64_t i = 0; i < 120; i++) {
                if (generator_below(g, 30) == 0)
                    continue;
                counter = generator_below(g, 40) == 0 ? 0 : counter + generator_below(g, 50);
                support_series_append(s, i * 15000 + phase, m == 1 ? some_value(g) : counter);
            }
        }
    }
    return src;
}

struct answer {
    enum tide_err err;
    struct tide_diag diag;
    struct tide_engine_result *result; /* NULL after an error. */
};

static struct answer ask(struct tide_engine *engine, struct support_source *src,
                         struct tide_slice expr, int64_t start, int64_t end, int64_t step)
{
    struct answer answer = {0};
    struct tide_engine_params params = {
        .expr = expr, .instant = step == 0, .start_ms = start, .end_ms = end, .step_ms = step};

    answer.err =
        tide_engine_query(engine, &params, &src->source, NULL, &answer.result, &answer.diag);
    return answer;
}

static bool same_bits(double a, double b)
{
    return tide_value_bits(a) == tide_value_bits(b) || (isnan(a) && isnan(b));
}

static void expect_same_series(struct tide_slice expr, const struct tide_result_series *a,
                               const struct tide_result_series *b)
{
    if (!tide_labels_eq(a->labels, b->labels) || a->count != b->count)
        fail_msg("%.*s: other series", TIDE_SLICE_ARGS(expr));
    for (size_t i = 0; i < a->count; i++) {
        bool there = tide_result_has(a, i);

        if (there != tide_result_has(b, i) || a->times_ms[i] != b->times_ms[i])
            fail_msg("%.*s: step %zu is there or not", TIDE_SLICE_ARGS(expr), i);
        if (there && !same_bits(a->values[i], b->values[i]))
            fail_msg("%.*s: step %zu: %.17g and %.17g", TIDE_SLICE_ARGS(expr), i, a->values[i],
                     b->values[i]);
    }
}

/* Both answers are the same in every bit; frees them. */
static void expect_same(struct tide_slice expr, struct answer a, struct answer b)
{
    if (a.err != b.err)
        fail_msg("%.*s: %s %s, but %s %s", TIDE_SLICE_ARGS(expr), tide_err_name(a.err), a.diag.text,
                 tide_err_name(b.err), b.diag.text);
    if (a.err == TIDE_OK) {
        if (a.result->kind != b.result->kind || a.result->series_count != b.result->series_count ||
            a.result->warning_count != b.result->warning_count ||
            a.result->info_count != b.result->info_count)
            fail_msg("%.*s: other shape", TIDE_SLICE_ARGS(expr));
        if (a.result->kind == TIDE_RESULT_SCALAR)
            assert_true(same_bits(a.result->scalar, b.result->scalar));
        for (size_t i = 0; i < a.result->series_count; i++)
            expect_same_series(expr, &a.result->series[i], &b.result->series[i]);
    }
    tide_engine_result_free(a.result);
    tide_engine_result_free(b.result);
}

static bool any_function(enum tide_fn fn)
{
    (void)fn;
    return true;
}

/* Functions and forms whose value is meant to depend on the query's parameters. */
static bool no_parameters(enum tide_fn fn)
{
    switch (fn) {
    case TIDE_FN_START:
    case TIDE_FN_END:
    case TIDE_FN_STEP:
    case TIDE_FN_RANGE:
    case TIDE_FN_SORT:
    case TIDE_FN_SORT_DESC:
    case TIDE_FN_SORT_BY_LABEL:
    case TIDE_FN_SORT_BY_LABEL_DESC:
        return false;
    default:
        return true;
    }
}

static struct generator generator_of(uint64_t seed, bool (*allowed)(enum tide_fn))
{
    return (struct generator){
        .state = seed,
        .metrics = metrics,
        .metric_count = 3,
        .labels = labels,
        .label_count = 2,
        .values = values,
        .value_count = 4,
        .fn_allowed = allowed,
    };
}

/* The threads, and whether series share timestamp arrays, show nowhere. */
static void test_query__answers_the_same_with_any_threads_and_sharing(void **state)
{
    struct tide_engine *one = engine_new(1);
    struct tide_engine *three = engine_new(3);
    struct generator g = generator_of(1, any_function);
    struct support_source *src = some_samples(&g);
    size_t answered = 0;

    (void)state;
    for (int i = 0; i < 3000; i++) {
        struct tide_buf expr = {0};
        struct answer a;
        struct answer b;

        generator_query(&g, TIDE_PROMQL_VECTOR, 1 + i % 4, &expr);
        src->share_times = true;
        a = ask(one, src, tide_buf_view(&expr), 100000, 1700000, 16100);
        src->share_times = false;
        b = ask(three, src, tide_buf_view(&expr), 100000, 1700000, 16100);
        answered += a.err == TIDE_OK && a.result->series_count > 0;
        expect_same(tide_buf_view(&expr), a, b);
        tide_buf_deinit(&expr);
    }
    assert_true(answered > 300);
    support_source_free(src);
    tide_engine_free(one);
    tide_engine_free(three);
}

static const struct tide_result_series *find_series(const struct tide_engine_result *result,
                                                    struct tide_labels of)
{
    for (size_t i = 0; i < result->series_count; i++)
        if (tide_labels_eq(result->series[i].labels, of))
            return &result->series[i];
    return NULL;
}

/* Compares step s of a range answer with the instant answer at its time. */
static void expect_step(struct tide_slice expr, const struct tide_engine_result *range, size_t s,
                        const struct tide_engine_result *instant)
{
    size_t there = 0;

    for (size_t i = 0; i < range->series_count; i++) {
        const struct tide_result_series *r = &range->series[i];
        const struct tide_result_series *v;

        if (!tide_result_has(r, s))
            continue;
        there++;
        v = find_series(instant, r->labels);
        if (v == NULL)
            fail_msg("%.*s: step %zu has a series more", TIDE_SLICE_ARGS(expr), s);
        else if (!same_bits(r->values[s], v->values[0]))
            fail_msg("%.*s: step %zu is %.17g, alone %.17g", TIDE_SLICE_ARGS(expr), s, r->values[s],
                     v->values[0]);
    }
    if (there != instant->series_count)
        fail_msg("%.*s: step %zu has %zu series, alone %zu", TIDE_SLICE_ARGS(expr), s, there,
                 instant->series_count);
}

/* A range query is the instant query at each of its steps. */
static void test_range__is_the_instant_query_at_each_step(void **state)
{
    struct tide_engine *engine = engine_new(1);
    struct generator g = generator_of(2, no_parameters);
    struct support_source *src = some_samples(&g);
    size_t compared = 0;

    (void)state;
    for (int i = 0; i < 1500; i++) {
        struct tide_buf expr = {0};
        struct answer range;

        generator_query(&g, TIDE_PROMQL_VECTOR, 1 + i % 4, &expr);
        range = ask(engine, src, tide_buf_view(&expr), RANGE_START_MS, RANGE_END_MS, RANGE_STEP_MS);
        for (size_t s = 0; range.err == TIDE_OK && s < RANGE_STEPS; s += 13) {
            struct answer one;

            if (tide_slice_find(tide_buf_view(&expr), TIDE_SLICE("start()")) != SIZE_MAX ||
                tide_slice_find(tide_buf_view(&expr), TIDE_SLICE("end()")) != SIZE_MAX)
                break;
            one = ask(engine, src, tide_buf_view(&expr),
                      RANGE_START_MS + (int64_t)s * RANGE_STEP_MS, 0, 0);
            if (one.err != TIDE_OK)
                fail_msg("%.*s: %s", TIDE_SLICE_ARGS(tide_buf_view(&expr)), one.diag.text);
            expect_step(tide_buf_view(&expr), range.result, s, one.result);
            tide_engine_result_free(one.result);
            compared++;
        }
        tide_engine_result_free(range.result);
        tide_buf_deinit(&expr);
    }
    assert_true(compared > 1500);
    support_source_free(src);
    tide_engine_free(engine);
}

/* Folding a stream of many batches gives the bits of folding the whole matrix. */
static void test_aggregation__streams_without_changing_a_bit(void **state)
{
    static const char *const folds[] = {"sum", "avg", "min", "max", "count", "stddev", "stdvar"};
    static const char *const groups[] = {"", "by (job)", "by (job, i)", "without (i)"};
    static const char *const inner[] = {"m", "rate(m[2m])", "m * 3 + 1", "abs(-m)",
                                        "max_over_time(m[1m])"};
    struct tide_engine *one = engine_new(1);
    struct tide_engine *four = engine_new(4);
    struct support_source *src = support_source_new();
    struct generator g = generator_of(3, any_function);

    (void)state;
    for (unsigned i = 0; i < 1500; i++) {
        char text[64];
        struct support_series *s;

        (void)snprintf(text, sizeof(text), "m{job=\"%u\", i=\"%u\"}", i % 7, i);
        s = support_source_series(src, text);
        for (int64_t t = 0; t < 40; t++)
            support_series_append(s, t * 15000 + (int64_t)(i % 3) * 100,
                                  (double)generator_below(&g, 1000000) / 3 * 1e-3);
    }
    for (size_t f = 0; f < sizeof(folds) / sizeof(*folds); f++) {
        for (size_t n = 0; n < 20; n++) { /* 4 groups by 5 inner ones. */
            char streamed[128];
            char whole[192];
            struct answer a;
            struct answer b;

            (void)snprintf(streamed, sizeof(streamed), "%s %s (%s)", folds[f], groups[n % 4],
                           inner[n / 4]);
            (void)snprintf(whole, sizeof(whole), "%s %s ((%s) unless nosuch)", folds[f],
                           groups[n % 4], inner[n / 4]);
            a = ask(four, src, tide_slice_str(streamed), 200000, 500000, 3000);
            b = ask(one, src, tide_slice_str(whole), 200000, 500000, 3000);
            assert_int_equal(a.err, TIDE_OK);
            assert_true(a.result->series_count > 0);
            if (a.result->info_count > 0) /* Told of rate only; both tell it. */
                assert_int_equal(a.result->info_count, b.result->info_count);
            expect_same(tide_slice_str(streamed), a, b);
        }
    }
    support_source_free(src);
    tide_engine_free(one);
    tide_engine_free(four);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_query__answers_the_same_with_any_threads_and_sharing),
        cmocka_unit_test(test_range__is_the_instant_query_at_each_step),
        cmocka_unit_test(test_aggregation__streams_without_changing_a_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
