#include "support_source.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"
#include "tide/promql/parse.h"

#include <stdio.h>
#include <stdlib.h>

struct memory_set {
    struct tide_series_set set;
    const struct support_source *src;
    struct tide_query_limits *limits;
    size_t *found; /* Indexes of the series. */
};

static enum tide_err memory_labels(struct tide_series_set *set, size_t i, struct tide_arena *arena,
                                   struct tide_labels *out)
{
    const struct memory_set *m = (const struct memory_set *)set;

    (void)arena;
    *out = m->src->series[m->found[i]].labels;
    return TIDE_OK;
}

static struct tide_slice memory_label(struct tide_series_set *set, size_t i, struct tide_slice name)
{
    const struct memory_set *m = (const struct memory_set *)set;

    return tide_labels_get(m->src->series[m->found[i]].labels, name);
}

static size_t first_at(const struct support_series *s, int64_t t)
{
    size_t lo = 0;
    size_t hi = s->count;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->times_ms[mid] < t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* An array equal to the samples' times that was read before in this batch, or that itself. */
static const int64_t *shared_times(const struct tide_batch *batch, size_t i, const int64_t *times,
                                   size_t count)
{
    for (size_t before = i > 8 ? i - 8 : 0; before < i; before++)
        if (batch->series[before].count == count &&
            (count == 0 ||
             memcmp(batch->series[before].times_ms, times, count * sizeof(*times)) == 0))
            return batch->series[before].times_ms;
    return times;
}

static enum tide_err memory_read(struct tide_series_set *set, size_t first, size_t count,
                                 int64_t mint_ms, int64_t maxt_ms, struct tide_batch *batch)
{
    const struct memory_set *m = (const struct memory_set *)set;
    uint64_t samples = 0;

    if (m->src->fail_read != TIDE_OK)
        return m->src->fail_read;
    tide_arena_reset(batch->arena);
    batch->count = count;
    batch->series = tide_arena_new_array(batch->arena, count, sizeof(*batch->series));
    if (batch->series == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const struct support_series *s = &m->src->series[m->found[first + i]];
        size_t from = first_at(s, mint_ms);
        size_t to = maxt_ms == INT64_MAX ? s->count : first_at(s, maxt_ms + 1);
        const int64_t *times = s->times_ms + from;

        if (to < from)
            to = from;
        if (m->src->share_times)
            times = shared_times(batch, i, times, to - from);
        batch->series[i] = (struct tide_series_samples){
            times, s->values + from, s->histograms == NULL ? NULL : s->histograms + from,
            to - from};
        samples += to - from;
    }
    return tide_query_count_samples(m->limits, samples);
}

static void memory_free(struct tide_series_set *set)
{
    struct memory_set *m = (struct memory_set *)set;

    tide_mem_free(m->found);
    tide_mem_free(m);
}

static const struct tide_series_set_ops memory_ops = {
    .labels = memory_labels, .label = memory_label, .read = memory_read, .free = memory_free};

static enum tide_err memory_select(void *context, const struct tide_select *select,
                                   struct tide_query_limits *limits, struct tide_series_set **out,
                                   struct tide_diag *diag)
{
    const struct support_source *src = context;
    struct memory_set *m = tide_mem_new(sizeof(*m));
    enum tide_err err;

    (void)diag;
    if (m == NULL)
        return TIDE_ERR_NO_MEMORY;
    m->found = tide_mem_array(src->count + 1, sizeof(*m->found));
    if (m->found == NULL) {
        tide_mem_free(m);
        return TIDE_ERR_NO_MEMORY;
    }
    m->set.ops = &memory_ops;
    m->src = src;
    m->limits = limits;
    for (size_t i = 0; i < src->count; i++) {
        const struct support_series *s = &src->series[i];
        size_t at = first_at(s, select->mint_ms);

        if (at < s->count && s->times_ms[at] <= select->maxt_ms &&
            tide_matchers_match(select->matchers, select->matcher_count, s->labels))
            m->found[m->set.count++] = i;
    }
    err = tide_query_count_series(limits, m->set.count);
    if (err != TIDE_OK) {
        memory_free(&m->set);
        return err;
    }
    *out = &m->set;
    return TIDE_OK;
}

struct support_source *support_source_new(void)
{
    struct support_source *src = calloc(1, sizeof(*src));

    TIDE_ASSERT(src != NULL);
    src->arena = tide_arena_new(0);
    TIDE_ASSERT(src->arena != NULL);
    src->source.context = src;
    src->source.select = memory_select;
    src->share_times = true;
    return src;
}

void support_source_free(struct support_source *src)
{
    for (size_t i = 0; i < src->count; i++) {
        free(src->series[i].times_ms);
        free(src->series[i].values);
        free(src->series[i].histograms);
    }
    free(src->series);
    tide_arena_free(src->arena);
    free(src);
}

struct support_series *support_source_add(struct support_source *src, struct tide_labels labels)
{
    if (src->count == src->capacity) {
        src->capacity = src->capacity == 0 ? 64 : 2 * src->capacity;
        src->series = realloc(src->series, src->capacity * sizeof(*src->series));
        TIDE_ASSERT(src->series != NULL);
    }
    src->series[src->count] = (struct support_series){.labels = labels};
    return &src->series[src->count++];
}

struct support_series *support_source_series(struct support_source *src, const char *text)
{
    struct tide_promql query;
    struct tide_diag diag = {0};
    struct tide_arena *scratch = tide_arena_new(0);
    struct tide_label pairs[32];
    struct tide_labels labels = {pairs, 0};
    struct support_series *found = NULL;

    TIDE_ASSERT(scratch != NULL);
    if (strcmp(text, "{}") != 0) {
        enum tide_err err =
            tide_promql_parse_selector(tide_slice_str(text), scratch, &query, &diag);

        if (err != TIDE_OK)
            (void)fprintf(stderr, "%s: %s\n", text, diag.text);
        TIDE_ASSERT(err == TIDE_OK);
        for (size_t i = 0; i < query.root->u.selector.matcher_count; i++) {
            const struct tide_matcher *m = &query.root->u.selector.matchers[i];

            TIDE_ASSERT(m->op == TIDE_MATCH_EQ && labels.count < 32);
            pairs[labels.count++] = (struct tide_label){m->name, m->value};
        }
        tide_labels_sort(pairs, labels.count);
    }
    for (size_t i = 0; i < src->count && found == NULL; i++)
        if (tide_labels_eq(src->series[i].labels, labels))
            found = &src->series[i];
    if (found == NULL) {
        struct tide_labels kept;
        enum tide_err err = tide_labels_copy(src->arena, labels, &kept);

        TIDE_ASSERT(err == TIDE_OK);
        found = support_source_add(src, kept);
    }
    if (strcmp(text, "{}") != 0)
        tide_promql_release(&query);
    tide_arena_free(scratch);
    return found;
}

void support_series_append_histogram(struct support_source *src, struct support_series *series,
                                     int64_t ts_ms, const struct tide_histogram *h)
{
    struct tide_histogram *copy = tide_arena_alloc(src->arena, sizeof(*copy));
    enum tide_err err;

    TIDE_ASSERT(copy != NULL);
    err = tide_histogram_copy(src->arena, h, copy);
    TIDE_ASSERT(err == TIDE_OK);
    support_series_append(series, ts_ms, 0);
    if (series->histograms == NULL) {
        series->histograms = calloc(series->capacity, sizeof(struct tide_histogram *));
        TIDE_ASSERT(series->histograms != NULL);
    }
    series->histograms[series->count - 1] = copy;
}

void support_series_append(struct support_series *series, int64_t ts_ms, double v)
{
    TIDE_ASSERT(series->count == 0 || series->times_ms[series->count - 1] < ts_ms);
    if (series->count == series->capacity) {
        series->capacity = series->capacity == 0 ? 16 : 2 * series->capacity;
        series->times_ms = realloc(series->times_ms, series->capacity * sizeof(int64_t));
        series->values = realloc(series->values, series->capacity * sizeof(double));
        TIDE_ASSERT(series->times_ms != NULL && series->values != NULL);
        if (series->histograms != NULL) {
            series->histograms =
                realloc(series->histograms, series->capacity * sizeof(struct tide_histogram *));
            TIDE_ASSERT(series->histograms != NULL);
        }
    }
    series->times_ms[series->count] = ts_ms;
    if (series->histograms != NULL)
        series->histograms[series->count] = NULL;
    series->values[series->count++] = v;
}
