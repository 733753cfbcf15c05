/* Question: how fast is the evaluator alone, fed from arrays in memory?
 * Input: 100,000 series of 100 services, 100 scrape targets of 1,000 series each, a sample every
 * 15 s for an hour; counters with some resets, seeded. Baseline: DESIGN section 9 (a kernel over
 * shared timestamps 150-250 M series-steps/s a core; Prometheus 8 M samples/s).
 *
 * promql_bench [threads [name]]: 2 threads and all queries when left out. */
#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/promql/engine.h"

#include <stdio.h>
#include <stdlib.h>

#define SERIES 100000
#define TARGETS 100
#define SAMPLES 240
#define INTERVAL_MS 15000
#define RUNS 15

struct bench {
    struct tide_source source;
    int64_t *times; /* TARGETS x SAMPLES: each target is scraped at its own moment. */
    double *values; /* SERIES x SAMPLES */
    struct tide_label *pairs;
    size_t pair_count; /* Of each series. */
    const char *only;  /* The query asked for, or NULL. */
};

struct bench_set {
    struct tide_series_set set;
    const struct bench *bench;
    struct tide_query_limits *limits;
    uint32_t *found;
};

static struct tide_labels series_labels(const struct bench *b, size_t i)
{
    return (struct tide_labels){b->pairs + i * b->pair_count, b->pair_count};
}

static enum tide_err set_labels(struct tide_series_set *set, size_t i, struct tide_arena *arena,
                                struct tide_labels *out)
{
    const struct bench_set *s = (const struct bench_set *)set;

    (void)arena;
    *out = series_labels(s->bench, s->found[i]);
    return TIDE_OK;
}

static struct tide_slice set_label(struct tide_series_set *set, size_t i, struct tide_slice name)
{
    const struct bench_set *s = (const struct bench_set *)set;

    return tide_labels_get(series_labels(s->bench, s->found[i]), name);
}

static enum tide_err set_read(struct tide_series_set *set, size_t first, size_t count, int64_t mint,
                              int64_t maxt, struct tide_batch *batch)
{
    const struct bench_set *s = (const struct bench_set *)set;
    uint64_t samples = 0;

    tide_arena_reset(batch->arena);
    batch->count = count;
    batch->series = tide_arena_alloc(batch->arena, count * sizeof(*batch->series));
    if (batch->series == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        size_t series = s->found[first + i];
        const int64_t *times = s->bench->times + series / (SERIES / TARGETS) * SAMPLES;
        int64_t from = (mint - times[0] + INTERVAL_MS - 1) / INTERVAL_MS;
        int64_t to = maxt < times[0] ? 0 : (maxt - times[0]) / INTERVAL_MS + 1;

        from = mint <= times[0] ? 0 : from;
        to = to > SAMPLES ? SAMPLES : to;
        batch->series[i] =
            (struct tide_series_samples){.times_ms = times + from,
                                         .values = s->bench->values + series * SAMPLES + from,
                                         .count = to > from ? (size_t)(to - from) : 0};
        samples += batch->series[i].count;
    }
    return tide_query_count_samples(s->limits, samples);
}

static void set_free(struct tide_series_set *set)
{
    struct bench_set *s = (struct bench_set *)set;

    tide_mem_free(s->found);
    tide_mem_free(s);
}

static const struct tide_series_set_ops set_ops = {
    .labels = set_labels, .label = set_label, .read = set_read, .free = set_free};

static enum tide_err bench_select(void *context, const struct tide_select *select,
                                  struct tide_query_limits *limits, struct tide_series_set **out,
                                  struct tide_diag *diag)
{
    const struct bench *b = context;
    struct bench_set *s = tide_mem_new(sizeof(*s));

    (void)diag;
    TIDE_ASSERT(s != NULL);
    s->found = tide_mem_array(SERIES, sizeof(*s->found));
    TIDE_ASSERT(s->found != NULL);
    s->set.ops = &set_ops;
    s->bench = b;
    s->limits = limits;
    for (uint32_t i = 0; i < SERIES; i++)
        if (select->matcher_count == 1 ||
            tide_matchers_match(select->matchers, select->matcher_count, series_labels(b, i)))
            s->found[s->set.count++] = i;
    *out = &s->set;
    return TIDE_OK;
}

static struct tide_slice text_of(const char *format, unsigned n)
{
    char *text = malloc(32);

    TIDE_ASSERT(text != NULL);
    (void)snprintf(text, 32, format, n);
    return tide_slice_str(text);
}

/* Values are interned as sources do it: one address for one text. */
static void make_labels(struct bench *b)
{
    static const char *const les[] = {"0.005", "0.01", "0.05", "0.1", "0.5",
                                      "1",     "2.5",  "5",    "10",  "+Inf"};
    struct tide_slice services[100];
    struct tide_slice targets[TARGETS];

    for (unsigned i = 0; i < 100; i++)
        services[i] = text_of("service-%u", i);
    for (unsigned i = 0; i < TARGETS; i++)
        targets[i] = text_of("10.0.0.%u:9100", i);
    b->pair_count = 6;
    b->pairs = calloc(SERIES * b->pair_count, sizeof(*b->pairs));
    TIDE_ASSERT(b->pairs != NULL);
    for (unsigned i = 0; i < SERIES; i++) {
        struct tide_label *p = b->pairs + (size_t)i * b->pair_count;

        p[0] = (struct tide_label){TIDE_SLICE("__name__"), TIDE_SLICE("requests_total")};
        p[1] = (struct tide_label){TIDE_SLICE("code"),
                                   i / 10 % 5 == 0 ? TIDE_SLICE("500") : TIDE_SLICE("200")};
        p[2] = (struct tide_label){TIDE_SLICE("instance"), targets[i / (SERIES / TARGETS)]};
        p[3] = (struct tide_label){TIDE_SLICE("le"), tide_slice_str(les[i % 10])};
        p[4] = (struct tide_label){TIDE_SLICE("path"), text_of("/path/%u", i / 10)};
        p[5] = (struct tide_label){TIDE_SLICE("service"), services[i / 10 % 100]};
    }
}

static void make_samples(struct bench *b)
{
    uint64_t state = 1;

    b->times = calloc((size_t)TARGETS * SAMPLES, sizeof(*b->times));
    b->values = calloc((size_t)SERIES * SAMPLES, sizeof(*b->values));
    TIDE_ASSERT(b->times != NULL && b->values != NULL);
    for (size_t t = 0; t < TARGETS; t++)
        for (size_t s = 0; s < SAMPLES; s++)
            b->times[t * SAMPLES + s] = (int64_t)(t * 137 + s * INTERVAL_MS);
    for (size_t i = 0; i < SERIES; i++) {
        double v = 0;

        for (size_t s = 0; s < SAMPLES; s++) {
            state = state * 6364136223846793005ULL + 1442695040888963407ULL;
            v = (state >> 52) == 0 ? 0 : v + (double)(state >> 58);
            b->values[i * SAMPLES + s] = v;
        }
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void run(struct bench *b, struct tide_engine *engine, const char *name, const char *expr,
                bool instant)
{
    struct tide_engine_params params = {
        .expr = tide_slice_str(expr),
        .instant = instant,
        .start_ms = instant ? SAMPLES * INTERVAL_MS - 60000 : 300000,
        .end_ms = SAMPLES * INTERVAL_MS - 60000,
        .step_ms = INTERVAL_MS,
    };
    double ms[RUNS];
    struct tide_engine_stats stats = {0};

    if (b->only != NULL && strcmp(b->only, name) != 0)
        return;
    for (size_t i = 0; i < RUNS; i++) {
        struct tide_query_limits limits = {0};
        struct tide_engine_result *result;
        struct tide_diag diag = {0};
        int64_t start = tide_clock_mono_ns();
        enum tide_err err = tide_engine_query(engine, &params, &b->source, &limits, &result, &diag);

        if (err != TIDE_OK) {
            (void)fprintf(stderr, "%s: %s\n", expr, diag.text);
            exit(1);
        }
        stats = result->stats;
        tide_engine_result_free(result);
        ms[i] = (double)(tide_clock_mono_ns() - start) / 1e6;
    }
    qsort(ms, RUNS, sizeof(*ms), by_size);
    (void)printf(
        "{\"bench\":\"promql_%s\",\"unit\":\"ms\",\"median\":%.2f,\"min\":%.2f,"
        "\"runs\":%d,\"m_series_steps_per_s\":%.0f,\"m_samples_per_s\":%.0f,"
        "\"peak_mb\":%.1f}\n",
        name, ms[RUNS / 2], ms[0], RUNS, (double)SERIES * (double)stats.steps / ms[RUNS / 2] / 1000,
        (double)stats.samples / ms[RUNS / 2] / 1000, (double)stats.memory_peak_bytes / 1e6);
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    struct tide_engine_options options = {.threads = argc > 1 ? (unsigned)atoi(argv[1]) : 2};
    struct tide_engine *engine;
    struct bench b = {.source = {.context = &b, .select = bench_select},
                      .only = argc > 2 ? argv[2] : NULL};

    if (tide_engine_new(&options, &engine) != TIDE_OK)
        return 1;
    make_labels(&b);
    make_samples(&b);
    run(&b, engine, "sum_rate", "sum by (service) (rate(requests_total[5m]))", true);
    run(&b, engine, "error_ratio",
        "sum by (service) (rate(requests_total{code=~\"5..\"}[5m])) / "
        "sum by (service) (rate(requests_total[5m]))",
        true);
    run(&b, engine, "p99",
        "histogram_quantile(0.99, sum by (service, le) (rate(requests_total[5m])))", true);
    run(&b, engine, "sum", "sum(requests_total)", true);
    run(&b, engine, "sum_without", "sum without (instance, path) (requests_total)", true);
    run(&b, engine, "rate", "rate(requests_total[5m])", true);
    run(&b, engine, "topk", "topk(10, rate(requests_total[5m]))", true);
    run(&b, engine, "division", "requests_total / requests_total", true);
    run(&b, engine, "range_sum_rate", "sum by (service) (rate(requests_total[5m]))", false);
    run(&b, engine, "range_avg", "avg by (service) (requests_total)", false);
    run(&b, engine, "range_max_over_time", "max(max_over_time(requests_total[5m]))", false);
    run(&b, engine, "range_sum_over_time", "sum(sum_over_time(requests_total[5m]))", false);
    tide_engine_free(engine);
    return 0;
}
