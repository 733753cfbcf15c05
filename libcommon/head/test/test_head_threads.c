/* One writer, several readers, and a thread that writes frozen views: what readers see is a prefix
 * of what was written. Run under the thread sanitizer by the tsan preset. */
#include "support_model.h"

#include "tide/base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <cmocka.h>

#define SERIES 60u
#define SCRAPES 4000
#define STEP_MS 15000
#define READERS 3

struct shared {
    struct tide_head *head;
    uint32_t refs[SERIES];
    _Atomic int64_t written_ms; /* All series have all samples up to here. */
    _Atomic int64_t dropped_ms; /* What is before it may be gone. */
    atomic_bool over;
};

/* The value of a sample follows from its time, so that a reader can tell what is right. */
static uint64_t bits_at(int64_t ts_ms, uint32_t series)
{
    return tide_value_bits((double)((uint64_t)ts_ms * (series % 7)));
}

/* Some series have histograms, whose sums are these values. */
static bool has_histograms(uint32_t series)
{
    return series % 6 == 5;
}

static double value_at(const struct tide_series_samples *s, size_t i, uint32_t series)
{
    if (!has_histograms(series))
        return s->histograms == NULL ? s->values[i] : -1;
    return s->histograms != NULL && s->histograms[i]->positive[1] == 2 ? s->histograms[i]->sum : -1;
}

static void check_series(const struct tide_series_samples *s, uint32_t series, int64_t mint_ms,
                         int64_t maxt_ms)
{
    int64_t next_ms = -1;

    for (size_t i = 0; i < s->count; i++) {
        if (next_ms >= 0 && s->times_ms[i] != next_ms)
            abort();
        if (tide_value_bits(value_at(s, i, series)) != bits_at(s->times_ms[i], series))
            abort();
        next_ms = s->times_ms[i] + STEP_MS;
    }
    if (s->count == 0 && mint_ms <= maxt_ms)
        abort();
    if (s->count > 0 && (s->times_ms[0] > mint_ms || s->times_ms[s->count - 1] < maxt_ms))
        abort();
}

static void *read_all(void *context)
{
    struct shared *shared = context;
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_query_limits limits = {0};

    while (!atomic_load(&shared->over)) {
        int64_t maxt_ms = atomic_load(&shared->written_ms), mint_ms;
        struct tide_select select = {.mint_ms = 0, .maxt_ms = maxt_ms};
        struct tide_series_set *set;
        struct tide_head_stats stats;

        if (tide_head_select(shared->head, &select, &limits, &set) != TIDE_OK ||
            set->ops->read(set, 0, set->count, 0, maxt_ms, &batch) != TIDE_OK)
            abort();
        mint_ms = atomic_load(&shared->dropped_ms);
        if (maxt_ms > 0 && set->count != SERIES)
            abort();
        for (size_t i = 0; i < set->count; i++) {
            struct tide_slice name = set->ops->label(set, i, TIDE_SLICE("__name__"));
            char digits[16] = {0};

            memcpy(digits, name.ptr + 1, name.len - 1);
            check_series(&batch.series[i], (uint32_t)strtoul(digits, NULL, 10), mint_ms, maxt_ms);
        }
        set->ops->free(set);
        tide_head_stats(shared->head, &stats);
    }
    tide_arena_free(batch.arena);
    return NULL;
}

static void *write_frozen(void *context)
{
    struct tide_buf bytes = model_write(context);

    tide_buf_deinit(&bytes);
    tide_head_frozen_free(context);
    return NULL;
}

static void write_scrape(struct shared *shared, int64_t ts_ms)
{
    static const struct tide_span span = {0, 2};
    static const double counts[] = {1, 2};
    struct tide_head_rejects rejects = {0};
    struct tide_buf encoded[SERIES] = {{0}};
    struct tide_slice histograms[SERIES];
    uint32_t refs[SERIES], histogram_refs[SERIES];
    int64_t times[SERIES];
    uint64_t bits[SERIES];
    size_t floats = 0, others = 0;

    for (uint32_t i = 0; i < SERIES; i++) {
        struct tide_histogram h = {.count = 3,
                                   .sum = tide_value(bits_at(ts_ms, i)),
                                   .positive_spans = &span,
                                   .positive_span_count = 1,
                                   .positive = counts,
                                   .positive_count = 2};

        times[i] = ts_ms;
        if (has_histograms(i)) {
            tide_histogram_encode(&h, &encoded[others]);
            histogram_refs[others] = shared->refs[i];
            histograms[others] = tide_buf_view(&encoded[others]);
            others++;
        } else {
            refs[floats] = shared->refs[i];
            bits[floats++] = bits_at(ts_ms, i);
        }
    }
    assert_int_equal(tide_head_append(shared->head, refs, times, bits, floats, 0, &rejects),
                     TIDE_OK);
    assert_int_equal(tide_head_append_histograms(shared->head, histogram_refs, times, histograms,
                                                 others, floats, 0, &rejects),
                     TIDE_OK);
    assert_int_equal(rejects.count, 0);
    for (size_t i = 0; i < others; i++)
        tide_buf_deinit(&encoded[i]);
}

static void test_head__lets_readers_in_while_it_is_written(void **state)
{
    static struct shared shared;
    struct tide_head_options options = tide_head_options_default;
    pthread_t readers[READERS], freezer;
    bool freezing = false;
    int64_t dropped_ms = 0;

    (void)state;
    options.partition_ms = INT64_C(100) * STEP_MS;
    options.chunk_samples = 20;
    assert_int_equal(tide_head_new(&options, &shared.head), TIDE_OK);
    for (uint32_t i = 0; i < SERIES; i++) {
        struct model_series s = {.kind = i % 5 == 0 ? MODEL_LONE : MODEL_STEADY, .target = i % 3};
        struct tide_labels labels = model_labels(i, &s);

        assert_int_equal(tide_head_series(shared.head,
                                          tide_labels_identity(TIDE_SLICE("t"), labels, 0), labels,
                                          &shared.refs[i]),
                         TIDE_OK);
    }
    write_scrape(&shared, STEP_MS);
    atomic_store(&shared.dropped_ms, STEP_MS);
    atomic_store(&shared.written_ms, STEP_MS);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_all, &shared), 0);
    for (int64_t k = 2; k < SCRAPES; k++) {
        if (k % 10 == 5) { /* Two in the wrong order: late samples. */
            write_scrape(&shared, (k + 1) * STEP_MS);
            write_scrape(&shared, k * STEP_MS);
            k++;
        } else {
            write_scrape(&shared, k * STEP_MS);
        }
        atomic_store(&shared.written_ms, k * STEP_MS);
        if (k % 100 == 50) {
            struct tide_head_frozen *frozen;

            if (freezing)
                assert_int_equal(pthread_join(freezer, NULL), 0);
            assert_int_equal(tide_head_freeze(shared.head, &frozen), TIDE_OK);
            assert_int_equal(pthread_create(&freezer, NULL, write_frozen, frozen), 0);
            freezing = true;
        }
        if (k % 200 == 60 && k > 200) {
            /* Told before it is done, since readers look after they have read. */
            dropped_ms = (k - 150) / 100 * options.partition_ms;
            atomic_store(&shared.dropped_ms, dropped_ms);
            assert_int_equal(tide_head_truncate(shared.head, dropped_ms), TIDE_OK);
        }
    }
    atomic_store(&shared.over, true);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    if (freezing)
        assert_int_equal(pthread_join(freezer, NULL), 0);
    tide_head_free(shared.head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head__lets_readers_in_while_it_is_written),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
