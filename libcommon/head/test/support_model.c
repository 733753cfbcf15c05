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
        m->series[i].kind = below(m, 2) ? MODEL_STEADY : (enum model_kind)below(m, MODEL_KINDS);
    }
    assert_int_equal(tide_head_new(&m->options, &m->head), TIDE_OK);
}

void model_deinit(struct model *m)
{
    for (size_t i = 0; i < m->count; i++)
        tide_mem_free(m->series[i].samples);
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

/* What the head should say to a sample. */
static enum tide_err store(struct model *m, struct model_series *s, int64_t ts_ms, uint64_t bits)
{
    size_t at = position(s, ts_ms);

    if (ts_ms < m->oldest_ms)
        return TIDE_ERR_TOO_OLD;
    if (at < s->count && s->samples[at].ts_ms == ts_ms)
        return s->samples[at].bits == bits ? TIDE_OK : TIDE_ERR_DUPLICATE_TIMESTAMP;
    assert_int_equal(
        tide_mem_grow((void **)&s->samples, &s->capacity, s->count + 1, sizeof(*s->samples)),
        TIDE_OK);
    memmove(&s->samples[at + 1], &s->samples[at], (s->count - at) * sizeof(*s->samples));
    s->samples[at] = (struct tide_sample){.ts_ms = ts_ms, .bits = bits};
    s->count++;
    return TIDE_OK;
}

/* ---- Appending to both ---- */

struct batch {
    uint32_t refs[BATCH_MAX];
    int64_t times[BATCH_MAX];
    uint64_t bits[BATCH_MAX];
    size_t count;
    struct tide_push_reject expected[BATCH_MAX];
    size_t expected_count;
};

static void add_with_ref(struct batch *b, uint32_t ref, int64_t ts_ms, uint64_t bits,
                         enum tide_err expected)
{
    if (b->count == BATCH_MAX)
        return;
    if (expected != TIDE_OK)
        b->expected[b->expected_count++] =
            (struct tide_push_reject){.index = (uint32_t)b->count, .why = expected};
    b->refs[b->count] = ref;
    b->times[b->count] = ts_ms;
    b->bits[b->count++] = bits;
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
    if (b->count < BATCH_MAX)
        add_with_ref(b, s->ref, ts_ms, bits, store(m, s, ts_ms, bits));
}

static void send_batch(struct model *m, struct batch *b)
{
    struct tide_head_rejects rejects = {0};

    assert_int_equal(
        tide_head_append(m->head, b->refs, b->times, b->bits, b->count, m->oldest_ms, &rejects),
        TIDE_OK);
    assert_int_equal(rejects.count, b->expected_count);
    for (size_t i = 0; i < rejects.count; i++) {
        assert_int_equal(rejects.items[i].index, b->expected[i].index);
        assert_int_equal(rejects.items[i].why, b->expected[i].why);
    }
    tide_mem_free(rejects.items);
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

    b.count = b.expected_count = 0;
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
        add_with_ref(&b, 0x7ffffff0u, m->now_ms, 0, TIDE_ERR_NOT_FOUND);
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

    b.count = b.expected_count = 0;
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

        s->count -= gone;
        if (gone > 0)
            memmove(s->samples, &s->samples[gone], s->count * sizeof(*s->samples));
        if (s->count == 0 && s->exists) {
            static struct batch b;

            s->exists = false;
            b.count = b.expected_count = 0;
            add_with_ref(&b, s->ref, m->now_ms, 0, TIDE_ERR_NOT_FOUND);
            send_batch(m, &b);
        }
    }
}

/* ---- Comparing ---- */

static void compare_series(const struct model_series *s, const struct tide_series_samples *got,
                           int64_t mint_ms, int64_t maxt_ms)
{
    size_t low = position(s, mint_ms), high = low;

    while (high < s->count && s->samples[high].ts_ms <= maxt_ms)
        high++;
    assert_int_equal(got->count, high - low);
    for (size_t i = 0; i < got->count; i++) {
        assert_int_equal(got->times_ms[i], s->samples[low + i].ts_ms);
        assert_memory_equal(&got->values[i], &s->samples[low + i].bits, sizeof(uint64_t));
    }
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
        samples += m->series[i].count;
    }
    tide_head_stats(m->head, &stats);
    assert_int_equal(stats.series, series);
    assert_int_equal(stats.samples, samples);
    for (size_t i = 0; i < m->count; i++)
        if (m->series[i].count > 0) {
            assert_true(stats.min_ms <= m->series[i].samples[0].ts_ms);
            assert_true(stats.max_ms >= m->series[i].samples[m->series[i].count - 1].ts_ms);
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
