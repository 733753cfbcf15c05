#include "support_model.h"

#include "tide/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define BATCH_MAX 1024u

uint64_t model_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t below(struct model *m, uint64_t bound)
{
    return model_random(&m->random) % bound;
}

static struct tide_slice text(char *out, size_t bytes, const char *prefix, size_t number)
{
    int len = snprintf(out, bytes, "%s%zu", prefix, number);

    return (struct tide_slice){(const uint8_t *)out, (size_t)len};
}

struct tide_labels model_labels(size_t i, const struct model_series *s)
{
    static struct tide_label pairs[4];
    static char id[32], instance[32];
    size_t n = 0;

    pairs[n++] = (struct tide_label){TIDE_SLICE("__name__"), text(id, sizeof(id), "m", i)};
    if (s->kind != MODEL_LONE)
        pairs[n++] = (struct tide_label){TIDE_SLICE("instance"),
                                         text(instance, sizeof(instance), "host:", s->target)};
    pairs[n++] = (struct tide_label){TIDE_SLICE("job"), TIDE_SLICE("test")};
    return (struct tide_labels){pairs, n};
}

void model_init(struct model *m, uint64_t seed)
{
    *m = (struct model){.random = seed};
    m->options = tide_head_options_default;
    m->options.partition_ms = (int64_t)(60000 * (1 + below(m, 20)));
    m->options.chunk_samples = (uint32_t)(2 + below(m, 40));
    m->count = 8 + (size_t)below(m, MODEL_SERIES_MAX - 8);
    m->now_ms = below(m, 2) ? 1700000000000 : -400000;
    m->oldest_ms = m->now_ms - 50 * m->options.partition_ms;
    for (size_t i = 0; i < m->count; i++) {
        m->series[i].target = (unsigned)below(m, 3);
        m->series[i].histogram_percent =
            (unsigned)below(m, 3) == 0 ? (unsigned)below(m, 3) * 50 : 0;
        m->series[i].kind = below(m, 2) ? MODEL_STEADY : (enum model_kind)below(m, MODEL_KINDS);
    }
    assert_int_equal(tide_head_new(&m->options, &m->head), TIDE_OK);
}

static void drop_histograms(struct model_series *s, size_t count)
{
    for (size_t i = 0; i < count; i++)
        tide_buf_deinit(&s->histograms[i].bytes);
    s->histogram_count -= count;
    if (count > 0)
        memmove(s->histograms, &s->histograms[count], s->histogram_count * sizeof(*s->histograms));
}

void model_deinit(struct model *m)
{
    for (size_t i = 0; i < m->count; i++) {
        drop_histograms(&m->series[i], m->series[i].histogram_count);
        tide_mem_free(m->series[i].histograms);
        tide_mem_free(m->series[i].samples);
    }
    tide_head_free(m->head);
}

/* ---- The model's side ---- */

static size_t position(const struct model_series *s, int64_t ts_ms)
{
    size_t low = 0, high = s->count;

    while (low < high) {
        size_t mid = (low + high) / 2;

        if (s->samples[mid].ts_ms < ts_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static size_t histogram_position(const struct model_series *s, int64_t ts_ms)
{
    size_t at = 0;

    while (at < s->histogram_count && s->histograms[at].ts_ms < ts_ms)
        at++;
    return at;
}

static bool has_float(const struct model_series *s, int64_t ts_ms)
{
    size_t at = position(s, ts_ms);

    return at < s->count && s->samples[at].ts_ms == ts_ms;
}

static bool has_histogram(const struct model_series *s, int64_t ts_ms)
{
    size_t at = histogram_position(s, ts_ms);

    return at < s->histogram_count && s->histograms[at].ts_ms == ts_ms;
}

/* What the head should say to a sample. */
static enum tide_err store(struct model *m, struct model_series *s, int64_t ts_ms, uint64_t bits)
{
    size_t at = position(s, ts_ms);

    if (ts_ms < m->oldest_ms)
        return TIDE_ERR_TOO_OLD;
    if (has_histogram(s, ts_ms))
        return TIDE_ERR_DUPLICATE_TIMESTAMP;
    if (has_float(s, ts_ms))
        return s->samples[at].bits == bits ? TIDE_OK : TIDE_ERR_DUPLICATE_TIMESTAMP;
    assert_int_equal(
        tide_mem_grow((void **)&s->samples, &s->capacity, s->count + 1, sizeof(*s->samples)),
        TIDE_OK);
    memmove(&s->samples[at + 1], &s->samples[at], (s->count - at) * sizeof(*s->samples));
    s->samples[at] = (struct tide_sample){.ts_ms = ts_ms, .bits = bits};
    s->count++;
    return TIDE_OK;
}

/* The same for a histogram. */
static enum tide_err store_histogram(struct model *m, struct model_series *s, int64_t ts_ms,
                                     struct tide_slice bytes)
{
    size_t at = histogram_position(s, ts_ms);

    if (ts_ms < m->oldest_ms)
        return TIDE_ERR_TOO_OLD;
    if (has_float(s, ts_ms))
        return TIDE_ERR_DUPLICATE_TIMESTAMP;
    if (has_histogram(s, ts_ms))
        return tide_slice_eq(tide_buf_view(&s->histograms[at].bytes), bytes)
                   ? TIDE_OK
                   : TIDE_ERR_DUPLICATE_TIMESTAMP;
    assert_int_equal(tide_mem_grow((void **)&s->histograms, &s->histogram_capacity,
                                   s->histogram_count + 1, sizeof(*s->histograms)),
                     TIDE_OK);
    memmove(&s->histograms[at + 1], &s->histograms[at],
            (s->histogram_count - at) * sizeof(*s->histograms));
    s->histograms[at] = (struct model_histogram){.ts_ms = ts_ms};
    tide_buf_slice(&s->histograms[at].bytes, bytes);
    s->histogram_count++;
    return TIDE_OK;
}

/* ---- Histograms ---- */

static double make_count(struct model *m, struct model_series *s)
{
    s->observations += below(m, 5);
    switch (below(m, 300)) {
    case 0:
        return 0.5 + (double)below(m, 100);
    case 1:
        return (double)(model_random(&m->random) >> 11);
    case 2:
        return tide_value(TIDE_NAN_BITS);
    default:
        return (double)(s->observations + below(m, 3));
    }
}

/* One of a few layouts, as they come from a client whose buckets grow; its encoded bytes. */
static struct tide_buf make_histogram(struct model *m, struct model_series *s)
{
    static const struct tide_span spans[] = {{-3, 2}, {4, 3}, {1, 1}, {0, 0}};
    static const double bounds[] = {0.25, 1, 10, 100};
    double counts[12];
    struct tide_histogram h = {.reset = (enum tide_counter_reset)below(m, 4)};
    struct tide_buf bytes = {0};

    if (below(m, 20) == 0)
        s->layout = (unsigned)below(m, 6);
    for (size_t i = 0; i < 12; i++)
        counts[i] = make_count(m, s);
    h.count = make_count(m, s);
    h.sum = below(m, 15) == 0 ? tide_value(TIDE_STALE_BITS) : (double)below(m, 1000) / 8;
    h.positive = counts;
    if (s->layout == 5) {
        h.schema = TIDE_HISTOGRAM_SCHEMA_CUSTOM;
        h.custom_values = bounds;
        h.custom_count = 4;
        h.positive_spans = &spans[2];
        h.positive_span_count = h.positive_count = 1;
    } else {
        h.schema = (int32_t)s->layout - 1;
        h.zero_threshold = 0.001;
        h.zero_count = make_count(m, s);
        h.positive_spans = spans;
        h.positive_span_count = s->layout < 2 ? s->layout : 4;
        h.positive_count = s->layout == 0 ? 0 : s->layout == 1 ? 2 : 6;
        h.negative_spans = spans;
        h.negative_span_count = s->layout > 3;
        h.negative_count = s->layout > 3 ? 2 : 0;
        h.negative = counts + 6;
    }
    tide_histogram_encode(&h, &bytes);
    return bytes;
}

/* ---- Appending to both ---- */

struct item {
    struct model_series *series; /* NULL: one with a reference that is not known. */
    int64_t ts_ms;
    struct tide_buf bytes; /* Of a histogram. */
};
struct batch {
    uint32_t refs[BATCH_MAX];
    int64_t times[BATCH_MAX];
    uint64_t bits[BATCH_MAX];
    struct item items[BATCH_MAX];
    size_t count;
    uint32_t histogram_refs[BATCH_MAX];
    int64_t histogram_times[BATCH_MAX];
    struct tide_slice histograms[BATCH_MAX];
    struct item histogram_items[BATCH_MAX];
    size_t histogram_count;
};

static void add_float(struct batch *b, struct model_series *s, uint32_t ref, int64_t ts_ms,
                      uint64_t bits)
{
    if (b->count == BATCH_MAX)
        return;
    b->refs[b->count] = ref;
    b->times[b->count] = ts_ms;
    b->items[b->count] = (struct item){.series = s, .ts_ms = ts_ms};
    b->bits[b->count++] = bits;
}

/* Takes bytes over. */
static void add_histogram(struct batch *b, struct model_series *s, uint32_t ref, int64_t ts_ms,
                          struct tide_buf bytes)
{
    if (b->histogram_count == BATCH_MAX) {
        tide_buf_deinit(&bytes);
        return;
    }
    b->histogram_refs[b->histogram_count] = ref;
    b->histogram_times[b->histogram_count] = ts_ms;
    b->histograms[b->histogram_count] = tide_buf_view(&bytes);
    b->histogram_items[b->histogram_count++] = (struct item){s, ts_ms, bytes};
}

static void add(struct model *m, struct batch *b, struct model_series *s, int64_t ts_ms,
                uint64_t bits)
{
    if (!s->exists) {
        size_t i = (size_t)(s - m->series);
        struct tide_labels labels = model_labels(i, s);
        struct tide_hash128 identity = tide_labels_identity(TIDE_SLICE("t"), labels, 9);

        assert_int_equal(tide_head_series(m->head, identity, labels, &s->ref), TIDE_OK);
        s->exists = true;
    }
    if (below(m, 100) < s->histogram_percent)
        add_histogram(b, s, s->ref, ts_ms, make_histogram(m, s));
    else
        add_float(b, s, s->ref, ts_ms, bits);
}

static void expect(struct tide_head_rejects *expected, size_t index, enum tide_err why)
{
    if (why == TIDE_OK)
        return;
    assert_int_equal(tide_mem_grow((void **)&expected->items, &expected->capacity,
                                   expected->count + 1, sizeof(*expected->items)),
                     TIDE_OK);
    expected->items[expected->count++] =
        (struct tide_push_reject){.index = (uint32_t)index, .why = why};
}

/* Appends to both, floats first, and empties the batch. */
static void send_batch(struct model *m, struct batch *b)
{
    struct tide_head_rejects rejects = {0}, expected = {0};

    for (size_t i = 0; i < b->count; i++)
        expect(&expected, i,
               b->items[i].series == NULL
                   ? TIDE_ERR_NOT_FOUND
                   : store(m, b->items[i].series, b->items[i].ts_ms, b->bits[i]));
    for (size_t i = 0; i < b->histogram_count; i++) {
        struct item *item = &b->histogram_items[i];

        expect(&expected, b->count + i,
               item->series == NULL
                   ? TIDE_ERR_NOT_FOUND
                   : store_histogram(m, item->series, item->ts_ms, b->histograms[i]));
    }
    assert_int_equal(
        tide_head_append(m->head, b->refs, b->times, b->bits, b->count, m->oldest_ms, &rejects),
        TIDE_OK);
    assert_int_equal(tide_head_append_histograms(m->head, b->histogram_refs, b->histogram_times,
                                                 b->histograms, b->histogram_count, b->count,
                                                 m->oldest_ms, &rejects),
                     TIDE_OK);
    assert_int_equal(rejects.count, expected.count);
    for (size_t i = 0; i < rejects.count; i++) {
        assert_int_equal(rejects.items[i].index, expected.items[i].index);
        assert_int_equal(rejects.items[i].why, expected.items[i].why);
    }
    tide_mem_free(rejects.items);
    tide_mem_free(expected.items);
    for (size_t i = 0; i < b->histogram_count; i++)
        tide_buf_deinit(&b->histogram_items[i].bytes);
    b->count = b->histogram_count = 0;
}

static uint64_t make_bits(struct model *m, const struct model_series *s)
{
    static const uint64_t special[] = {
        TIDE_STALE_BITS, TIDE_NAN_BITS, 0x8000000000000000u, 0x7ff0000000000000u, 1, 0};

    switch (below(m, 8)) {
    case 0:
        return special[below(m, 6)];
    case 1:
        return model_random(&m->random);
    case 2:
    case 3:
        return s->count > 0 ? s->samples[s->count - 1].bits : tide_value_bits(7);
    default:
        return tide_value_bits((double)below(m, 100000) / 8);
    }
}

/* A sample of the past: old, or there already, perhaps with another value. */
static void add_odd(struct model *m, struct batch *b, struct model_series *s)
{
    int64_t span_ms = (int64_t)below(m, 3) * 2 * m->options.partition_ms + 100000;
    uint64_t choice = below(m, 4);

    if (choice < 2 && s->histogram_count > 0) { /* A histogram there again. */
        const struct model_histogram *old = &s->histograms[below(m, s->histogram_count)];
        struct tide_buf again = {0};

        tide_buf_slice(&again, tide_buf_view(&old->bytes));
        add_histogram(b, s, s->ref, old->ts_ms, again);
        add_float(b, s, s->ref, old->ts_ms, 1);
        return;
    }
    if (choice == 0 || s->count == 0) {
        add(m, b, s, m->now_ms - (int64_t)below(m, (uint64_t)span_ms), make_bits(m, s));
    } else if (choice == 1) { /* The newest again. */
        struct tide_sample old = s->samples[s->count - 1];

        add(m, b, s, old.ts_ms, old.bits ^ (below(m, 3) == 0));
    } else {
        struct tide_sample old = s->samples[below(m, s->count)];

        add(m, b, s, old.ts_ms, old.bits ^ (below(m, 3) == 0));
    }
}

void model_scrape(struct model *m)
{
    static struct batch b;
    int64_t times[3];

    m->now_ms += below(m, 200) == 0 ? (int64_t)below(m, 4 * (uint64_t)m->options.partition_ms)
                                    : 14990 + (int64_t)below(m, 20);
    for (size_t t = 0; t < 3; t++)
        times[t] = m->now_ms + (int64_t)below(m, 5000);
    for (size_t k = 0; k < m->count; k++) {
        size_t i = below(m, 4) == 0 ? (size_t)below(m, m->count) : k;
        struct model_series *s = &m->series[i];
        int64_t ts_ms = times[s->target];

        if (below(m, s->kind == MODEL_FLAPPY ? 2 : 40) == 0)
            continue;
        if (s->kind == MODEL_OWN || s->kind == MODEL_LONE)
            ts_ms += (int64_t)below(m, 3000);
        if (s->kind == MODEL_REPLICA)
            ts_ms += 4321;
        add(m, &b, s, ts_ms, make_bits(m, s));
        if (below(m, 30) == 0)
            add_odd(m, &b, s);
    }
    if (below(m, 10) == 0)
        add_float(&b, NULL, 0x7ffffff0u, m->now_ms, 0);
    if (below(m, 10) == 0 && m->series[0].exists)
        add(m, &b, &m->series[0], m->oldest_ms - 1, 0);
    send_batch(m, &b);
}

void model_backfill(struct model *m)
{
    static struct batch b;
    struct model_series *s = &m->series[below(m, m->count)];
    int64_t ts_ms = m->now_ms - (int64_t)below(m, 10) * m->options.partition_ms;
    bool ascends = below(m, 2) == 0;
    size_t count = (size_t)below(m, 300);

    for (size_t i = 0; i < count; i++) {
        add(m, &b, s, ts_ms, make_bits(m, s));
        ts_ms += ascends ? 15000 : (int64_t)below(m, 400000) - 200000;
    }
    send_batch(m, &b);
}

void model_truncate(struct model *m, int64_t before_ms)
{
    int64_t rest = before_ms % m->options.partition_ms;
    int64_t cut_ms = before_ms - (rest < 0 ? rest + m->options.partition_ms : rest);

    assert_int_equal(tide_head_truncate(m->head, before_ms), TIDE_OK);
    for (size_t i = 0; i < m->count; i++) {
        struct model_series *s = &m->series[i];
        size_t gone = position(s, cut_ms);

        drop_histograms(s, histogram_position(s, cut_ms));
        s->count -= gone;
        if (gone > 0)
            memmove(s->samples, &s->samples[gone], s->count * sizeof(*s->samples));
        if (s->count == 0 && s->histogram_count == 0 && s->exists) {
            static struct batch b;

            s->exists = false;
            add_float(&b, NULL, s->ref, m->now_ms, 0);
            add_histogram(&b, NULL, s->ref, m->now_ms, make_histogram(m, s));
            send_batch(m, &b);
        }
    }
}

/* ---- Comparing ---- */

static void compare_histogram(const struct tide_histogram *got, const struct model_histogram *h)
{
    struct tide_buf bytes = {0};

    assert_non_null(got);
    tide_histogram_encode(got, &bytes);
    assert_int_equal(bytes.len, h->bytes.len);
    assert_memory_equal(bytes.ptr, h->bytes.ptr, bytes.len);
    tide_buf_deinit(&bytes);
}

static void compare_series(const struct model_series *s, const struct tide_series_samples *got,
                           int64_t mint_ms, int64_t maxt_ms)
{
    size_t f = position(s, mint_ms), h = histogram_position(s, mint_ms), n = 0;
    bool any = false;

    while ((f < s->count && s->samples[f].ts_ms <= maxt_ms) ||
           (h < s->histogram_count && s->histograms[h].ts_ms <= maxt_ms)) {
        assert_true(n < got->count);
        if (f == s->count ||
            (h < s->histogram_count && s->histograms[h].ts_ms < s->samples[f].ts_ms)) {
            assert_int_equal(got->times_ms[n], s->histograms[h].ts_ms);
            assert_int_equal(tide_value_bits(got->values[n]), 0);
            assert_non_null(got->histograms);
            compare_histogram(got->histograms[n++], &s->histograms[h++]);
            any = true;
        } else {
            assert_int_equal(got->times_ms[n], s->samples[f].ts_ms);
            assert_true(got->histograms == NULL || got->histograms[n] == NULL);
            assert_memory_equal(&got->values[n++], &s->samples[f++].bits, sizeof(uint64_t));
        }
    }
    assert_int_equal(got->count, n);
    assert_int_equal(got->histograms != NULL, any);
}

static const struct model_series *find_series(struct model *m, struct tide_series_set *set,
                                              size_t i)
{
    struct tide_slice name = set->ops->label(set, i, TIDE_SLICE("__name__"));
    char digits[16] = {0};

    assert_true(name.len > 1 && name.len < sizeof(digits));
    memcpy(digits, name.ptr + 1, name.len - 1);
    return &m->series[strtoul(digits, NULL, 10)];
}

static void compare_stats(struct model *m)
{
    struct tide_head_stats stats;
    uint64_t series = 0, samples = 0;

    for (size_t i = 0; i < m->count; i++) {
        series += m->series[i].exists;
        samples += m->series[i].count + m->series[i].histogram_count;
    }
    tide_head_stats(m->head, &stats);
    assert_int_equal(stats.series, series);
    assert_int_equal(stats.samples, samples);
    for (size_t i = 0; i < m->count; i++) {
        const struct model_series *s = &m->series[i];

        if (s->histogram_count > 0) {
            assert_true(stats.min_ms <= s->histograms[0].ts_ms);
            assert_true(stats.max_ms >= s->histograms[s->histogram_count - 1].ts_ms);
        }
        if (m->series[i].count > 0) {
            assert_true(stats.min_ms <= m->series[i].samples[0].ts_ms);
            assert_true(stats.max_ms >= m->series[i].samples[m->series[i].count - 1].ts_ms);
        }
    }
}

void model_compare(struct model *m)
{
    int64_t span_ms = below(m, 2) ? 300000 : 12 * m->options.partition_ms;
    int64_t mint_ms = m->now_ms - (int64_t)below(m, (uint64_t)span_ms);
    int64_t maxt_ms = mint_ms + (int64_t)below(m, (uint64_t)span_ms);
    struct tide_select select = {.mint_ms = mint_ms, .maxt_ms = maxt_ms};
    struct tide_query_limits limits = {0};
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_batch batch = {.arena = arena};
    struct tide_series_set *set;
    bool seen[MODEL_SERIES_MAX] = {false};
    size_t first;

    if (below(m, 4) == 0) {
        select.mint_ms = mint_ms = INT64_MIN;
        select.maxt_ms = maxt_ms = INT64_MAX;
    }
    compare_stats(m);
    assert_int_equal(tide_head_select(m->head, &select, &limits, &set), TIDE_OK);
    assert_int_equal(set->ops->read(set, 0, set->count, mint_ms, maxt_ms, &batch), TIDE_OK);
    assert_int_equal(batch.count, set->count);
    for (size_t i = 0; i < set->count; i++) {
        const struct model_series *s = find_series(m, set, i);

        seen[s - m->series] = true;
        compare_series(s, &batch.series[i], mint_ms, maxt_ms);
    }
    for (size_t i = 0; i < m->count; i++) /* What is left out has nothing. */
        if (!seen[i])
            compare_series(&m->series[i], &(struct tide_series_samples){0}, mint_ms, INT64_MAX);
    if (set->count > 0) {
        first = (size_t)below(m, set->count);
        assert_int_equal(set->ops->read(set, first, 1, mint_ms, maxt_ms, &batch), TIDE_OK);
        compare_series(find_series(m, set, first), &batch.series[0], mint_ms, maxt_ms);
    }
    set->ops->free(set);
    assert_int_equal(limits.memory_bytes, 0);
    tide_arena_free(arena);
}

/* ---- Checkpoints ---- */

struct tide_buf model_write(struct tide_head_frozen *frozen)
{
    const char *folder = getenv("TMPDIR");
    char path[512];
    struct tide_file_writer *writer;
    struct tide_buf bytes = {0};

    (void)snprintf(path, sizeof(path), "%s/tide-head-test-%ld", folder != NULL ? folder : "/tmp",
                   (long)getpid());
    assert_int_equal(tide_file_writer_begin(path, &writer, NULL), TIDE_OK);
    assert_int_equal(tide_head_frozen_write(frozen, writer, NULL), TIDE_OK);
    assert_int_equal(tide_file_writer_commit(writer, NULL), TIDE_OK);
    assert_int_equal(tide_file_read(path, SIZE_MAX, &bytes, NULL), TIDE_OK);
    assert_int_equal(unlink(path), 0);
    return bytes;
}

struct tide_buf model_checkpoint(struct tide_head *head)
{
    struct tide_head_frozen *frozen;
    struct tide_buf bytes;

    assert_int_equal(tide_head_freeze(head, &frozen), TIDE_OK);
    bytes = model_write(frozen);
    tide_head_frozen_free(frozen);
    return bytes;
}

void model_restart(struct model *m)
{
    struct tide_buf before = model_checkpoint(m->head), after;
    struct tide_reader reader = tide_reader(tide_buf_view(&before));
    struct tide_diag diag = {0};
    struct tide_head *head;
    enum tide_err err = tide_head_restore(&m->options, &reader, &head, &diag);

    if (err != TIDE_OK)
        print_error("restore: %s\n", diag.text);
    assert_int_equal(err, TIDE_OK);
    assert_int_equal(reader.rest.len, 0);
    tide_head_free(m->head);
    m->head = head;
    after = model_checkpoint(head);
    assert_int_equal(after.len, before.len);
    assert_memory_equal(after.ptr, before.ptr, before.len);
    tide_buf_deinit(&before);
    tide_buf_deinit(&after);
}
