#include "store_private.h"
#include "support_model.h"

#include "tide/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define START_MS INT64_C(1700006400000) /* A multiple of 2 h. */

static struct tide_head *new_head(void)
{
    struct tide_head_options options = tide_head_options_default;
    struct tide_head *head;

    options.chunk_samples = 120; /* The numbers of chunks expected below are for this. */
    assert_int_equal(tide_head_new(&options, &head), TIDE_OK);
    return head;
}

/* Series i of a target: m<i>{instance, job}. */
static uint32_t add_series(struct tide_head *head, size_t i, unsigned target)
{
    struct model_series s = {.kind = MODEL_STEADY, .target = target};
    struct tide_labels labels = model_labels(i, &s);
    uint32_t ref;

    assert_int_equal(
        tide_head_series(head, tide_labels_identity(TIDE_SLICE("t"), labels, 0), labels, &ref),
        TIDE_OK);
    return ref;
}

static void append(struct tide_head *head, uint32_t ref, int64_t ts_ms, double v)
{
    struct tide_head_rejects rejects = {0};
    uint64_t bits = tide_value_bits(v);

    assert_int_equal(tide_head_append(head, &ref, &ts_ms, &bits, 1, INT64_MIN, &rejects), TIDE_OK);
    assert_int_equal(rejects.count, 0);
}

static enum tide_err append_why(struct tide_head *head, uint32_t ref, int64_t ts_ms, double v,
                                int64_t oldest_ms)
{
    struct tide_head_rejects rejects = {0};
    uint64_t bits = tide_value_bits(v);
    enum tide_err why = TIDE_OK;

    assert_int_equal(tide_head_append(head, &ref, &ts_ms, &bits, 1, oldest_ms, &rejects), TIDE_OK);
    if (rejects.count > 0)
        why = rejects.items[0].why;
    tide_mem_free(rejects.items);
    return why;
}

static struct tide_series_set *select_all(struct tide_head *head, struct tide_query_limits *limits)
{
    struct tide_select select = {.mint_ms = INT64_MIN, .maxt_ms = INT64_MAX};
    struct tide_series_set *set;

    assert_int_equal(tide_head_select(head, &select, limits, &set), TIDE_OK);
    return set;
}

static void test_head__gives_a_series_one_reference(void **state)
{
    struct tide_head *head = new_head();

    (void)state;
    assert_int_equal(add_series(head, 0, 0), 0);
    assert_int_equal(add_series(head, 1, 0), 1);
    assert_int_equal(add_series(head, 0, 0), 0);
    tide_head_free(head);
}

static void test_head__refuses_series_over_the_limit(void **state)
{
    struct tide_head_options options = tide_head_options_default;
    struct model_series s = {.kind = MODEL_STEADY};
    struct tide_labels labels;
    struct tide_head *head;
    uint32_t ref;

    (void)state;
    options.series_max = 2;
    assert_int_equal(tide_head_new(&options, &head), TIDE_OK);
    (void)add_series(head, 0, 0);
    (void)add_series(head, 1, 0);
    assert_int_equal(add_series(head, 1, 0), 1); /* Known ones go on. */
    labels = model_labels(2, &s);
    assert_int_equal(
        tide_head_series(head, tide_labels_identity(TIDE_SLICE("t"), labels, 0), labels, &ref),
        TIDE_ERR_LIMIT);
    tide_head_free(head);
}

static void test_head__refuses_options_out_of_range(void **state)
{
    static const struct tide_head_options bad[] = {
        {.partition_ms = 0, .chunk_samples = 120},
        {.partition_ms = (int64_t)INT32_MAX + 1, .chunk_samples = 120},
        {.partition_ms = 1000, .chunk_samples = 1},
        {.partition_ms = 1000, .chunk_samples = 1025},
    };
    struct tide_head *head;

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_int_equal(tide_head_new(&bad[i], &head), TIDE_ERR_INVALID);
}

static void test_append__says_why_it_refuses(void **state)
{
    struct tide_head *head = new_head();
    uint32_t ref = add_series(head, 0, 0);

    (void)state;
    append(head, ref, START_MS, 1);
    assert_int_equal(append_why(head, ref, START_MS, 1, 0), TIDE_OK);
    assert_int_equal(append_why(head, ref, START_MS, 2, 0), TIDE_ERR_DUPLICATE_TIMESTAMP);
    assert_int_equal(append_why(head, ref, START_MS, -1, START_MS + 1), TIDE_ERR_TOO_OLD);
    assert_int_equal(append_why(head, ref + 1, START_MS, 1, 0), TIDE_ERR_NOT_FOUND);
    assert_int_equal(append_why(head, ref, INT64_MAX, 1, 0), TIDE_ERR_TOO_NEW);
    assert_int_equal(append_why(head, ref, INT64_MIN, 1, INT64_MIN), TIDE_ERR_TOO_OLD);
    tide_head_free(head);
}

static void test_append__takes_samples_of_any_age(void **state)
{
    static const int64_t times[] = {START_MS,     0,
                                    -1,           1,
                                    START_MS / 2, -TIDE_HEAD_TIME_MS_MAX,
                                    START_MS - 1, TIDE_HEAD_TIME_MS_MAX};
    static const size_t order[] = {5, 2, 1, 3, 4, 6, 0, 7};
    struct tide_head *head = new_head();
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_series_set *set;
    uint32_t ref = add_series(head, 0, 0);

    (void)state;
    for (size_t i = 0; i < 8; i++)
        append(head, ref, times[i], (double)i);
    set = select_all(head, NULL);
    assert_int_equal(set->count, 1);
    assert_int_equal(set->ops->read(set, 0, 1, INT64_MIN, INT64_MAX, &batch), TIDE_OK);
    assert_int_equal(batch.series[0].count, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(batch.series[0].times_ms[i], times[order[i]]);
        assert_true(batch.series[0].values[i] == (double)order[i]);
    }
    set->ops->free(set);
    tide_arena_free(batch.arena);
    tide_head_free(head);
}

static void test_read__shares_the_times_of_a_target(void **state)
{
    struct tide_head *head = new_head();
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_series_set *set;
    const int64_t *of_target[3] = {NULL, NULL, NULL};
    uint32_t refs[60];

    (void)state;
    for (size_t i = 0; i < 60; i++)
        refs[i] = add_series(head, i, (unsigned)i % 3);
    for (int64_t k = 0; k < 1000; k++) /* More than two partitions. */
        for (size_t i = 0; i < 60; i++)
            append(head, refs[i], START_MS + k * 15000 + (int64_t)(i % 3) * 1000 + k % 7,
                   (double)k);
    set = select_all(head, NULL);
    assert_int_equal(set->ops->read(set, 0, 60, START_MS + 100000, START_MS + 12000000, &batch),
                     TIDE_OK);
    for (size_t i = 0; i < 60; i++) {
        struct tide_slice instance = set->ops->label(set, i, TIDE_SLICE("instance"));
        unsigned target = (unsigned)(instance.ptr[instance.len - 1] - '0');

        if (of_target[target] == NULL)
            of_target[target] = batch.series[i].times_ms;
        assert_ptr_equal(batch.series[i].times_ms, of_target[target]);
    }
    assert_true(of_target[0] != of_target[1]);
    set->ops->free(set);
    tide_arena_free(batch.arena);
    tide_head_free(head);
}

/* Two servers write the same targets at different times: both keep columns that are shared. */
static void test_append__gives_each_sender_of_a_target_its_own_column(void **state)
{
    struct tide_head *head = new_head();
    struct tide_head_stats stats;
    uint32_t refs[40];

    (void)state;
    for (size_t i = 0; i < 40; i++)
        refs[i] = add_series(head, i, 0);
    for (int64_t k = 0; k < INT64_C(480) * 3; k++)
        for (size_t i = 0; i < 40; i++)
            append(head, refs[i], START_MS + k * 15000 + (i < 20 ? 0 : 7000) + k % 5, (double)k);
    tide_head_stats(head, &stats);
    assert_int_equal(stats.samples, 40 * 1440);
    /* Full chunks, but for the few until they were apart. */
    assert_true(stats.chunks < (uint64_t)40 * (1440 / 120 + 8));
    /* Two columns a partition, 4 bytes a row; not a clock for each series. */
    assert_true(stats.bytes_columns < (uint64_t)2 * 1440 * 4 * 2 + 4096);
    tide_head_free(head);
}

static void test_append__ends_alternation_of_short_chunks(void **state)
{
    struct tide_head *head = new_head();
    struct tide_head_stats stats;
    uint32_t refs[10];
    uint64_t random = 5;

    (void)state;
    for (size_t i = 0; i < 10; i++)
        refs[i] = add_series(head, i, 0);
    for (int64_t k = 0; k < INT64_C(480) * 4; k++) /* All at their own times. */
        for (size_t i = 0; i < 10; i++)
            append(head, refs[i], START_MS + k * 15000 + (int64_t)(model_random(&random) % 10000),
                   (double)k);
    tide_head_stats(head, &stats);
    assert_true(stats.chunks < (uint64_t)10 * (1920 / 120 + 16));
    tide_head_free(head);
}

static void test_append__backfills_in_little_time_and_memory(void **state)
{
    struct tide_head *head = new_head();
    struct tide_head_stats stats;
    uint32_t ref = add_series(head, 0, 0);

    (void)state;
    append(head, ref, START_MS, 0);
    for (int64_t k = 100000; k > 0; k--) /* 17 days before it, in order: 100,000 samples. */
        append(head, ref, START_MS - k * 15000, (double)k);
    tide_head_stats(head, &stats);
    assert_int_equal(stats.samples, 100001);
    assert_true(stats.chunks < 100000 / 60);
    assert_true(stats.bytes_late < (uint64_t)100000 * 5);
    tide_head_free(head);
}

static void test_truncate__gives_the_memory_back(void **state)
{
    struct tide_head *head = new_head();
    struct tide_head_stats before, after;
    uint32_t refs[20];

    (void)state;
    for (size_t i = 0; i < 20; i++)
        refs[i] = add_series(head, i, (unsigned)i % 2);
    for (int64_t k = 0; k < INT64_C(480) * 4; k++)
        for (size_t i = 0; i < (k < 480 ? 20u : 10u); i++) /* Half of them end. */
            append(head, refs[i], START_MS + k * 15000, (double)(k * k));
    tide_head_stats(head, &before);
    assert_int_equal(tide_head_truncate(head, START_MS + INT64_C(7200000) * 3 + 1), TIDE_OK);
    tide_head_stats(head, &after);
    assert_int_equal(after.series, 10);
    assert_int_equal(after.samples, 480 * 10);
    assert_true(after.bytes_sealed < before.bytes_sealed / 2);
    assert_true(after.bytes_columns < before.bytes_columns / 2);
    assert_int_equal(append_why(head, refs[15], START_MS + INT64_C(7200000) * 4, 1, 0),
                     TIDE_ERR_NOT_FOUND);
    assert_int_equal(tide_head_truncate(head, INT64_MAX), TIDE_OK);
    tide_head_stats(head, &after);
    assert_int_equal(after.series, 0);
    assert_int_equal(after.samples, 0);
    assert_true(after.min_ms == INT64_MAX);
    assert_int_equal(add_series(head, 0, 0), 20); /* References are not given again. */
    tide_head_free(head);
}

/* So many slabs are dropped that their numbers come around. */
static void test_truncate__uses_numbers_of_slabs_again(void **state)
{
    struct tide_head_options options = tide_head_options_default;
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_head *head;
    struct tide_head_stats first, second;
    struct tide_series_set *set;
    uint32_t ref;
    const int64_t count = 140000;

    (void)state;
    options.partition_ms = 1000;
    assert_int_equal(tide_head_new(&options, &head), TIDE_OK);
    ref = add_series(head, 0, 0);
    for (int64_t k = 0; k < count;
         k++) /* Each sample seals the one before, in a slab of its own. */
        append(head, ref, k * 1000, (double)k);
    assert_int_equal(tide_head_truncate(head, (count - 10) * 1000), TIDE_OK);
    tide_head_stats(head, &first);
    for (int64_t k = count; k < 2 * count; k++)
        append(head, ref, k * 1000, (double)k);
    set = select_all(head, NULL);
    assert_int_equal(set->ops->read(set, 0, 1, INT64_MIN, INT64_MAX, &batch), TIDE_OK);
    assert_int_equal(batch.series[0].count, count + 10);
    for (int64_t k = 0; k < count + 10; k++)
        assert_true(batch.series[0].values[k] == (double)(k + count - 10));
    set->ops->free(set);
    assert_int_equal(tide_head_truncate(head, (2 * count - 10) * 1000), TIDE_OK);
    tide_head_stats(head, &second);
    assert_int_equal(second.bytes_sealed, first.bytes_sealed);
    tide_arena_free(batch.arena);
    tide_head_free(head);
}

/* Filling all slabs for real would take 28 GiB. */
static void test_store__accepts_nothing_that_it_could_not_restore(void **state)
{
    struct tide__store store = {.slab_count = TIDE__SLABS_FILL_MAX - 1};

    (void)state;
    assert_true(tide__store_accepts(&store, START_MS));
    store.slab_count++;
    assert_false(tide__store_accepts(&store, START_MS));
    store.free = 7; /* Retention gave some back. */
    assert_true(tide__store_accepts(&store, START_MS));
}

static void test_append__bounds_the_partitions(void **state)
{
    struct tide_head_options options = tide_head_options_default;
    struct tide_head *head;
    uint32_t ref;

    (void)state;
    options.partition_ms = 10;
    assert_int_equal(tide_head_new(&options, &head), TIDE_OK);
    ref = add_series(head, 0, 0);
    for (int64_t k = 0; k <= 300000; k++)
        append(head, ref, k * 10, 1);
    assert_int_equal(append_why(head, ref, INT64_C(3000010), 1, 0), TIDE_ERR_LIMIT);
    assert_int_equal(tide_head_truncate(head, 10), TIDE_OK);
    assert_int_equal(append_why(head, ref, INT64_C(3000010), 1, 0), TIDE_OK);
    tide_head_free(head);
}

static void test_head__is_small_when_empty(void **state)
{
    struct tide_head *head = new_head();
    struct tide_head_stats stats;

    (void)state;
    append(head, add_series(head, 0, 0), START_MS, 1);
    tide_head_stats(head, &stats);
    assert_true(stats.bytes_records + stats.bytes_open + stats.bytes_sealed + stats.bytes_columns +
                    stats.bytes_late <
                2048);
    tide_head_free(head);
}

static void test_read__counts_against_the_limits(void **state)
{
    struct tide_head *head = new_head();
    struct tide_query_limits limits = {.series_max = 5};
    struct tide_select select = {.mint_ms = INT64_MIN, .maxt_ms = INT64_MAX};
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_series_set *set;

    (void)state;
    for (size_t i = 0; i < 6; i++)
        for (int64_t k = 0; k < 10; k++)
            append(head, add_series(head, i, 0), START_MS + k, 1);
    assert_int_equal(tide_head_select(head, &select, &limits, &set), TIDE_ERR_LIMIT);
    assert_int_equal(limits.memory_bytes, 0);
    limits.series = 0;
    select.limit = 5;
    limits.samples_max = 49;
    assert_int_equal(tide_head_select(head, &select, &limits, &set), TIDE_OK);
    assert_int_equal(set->count, 5);
    assert_int_equal(set->ops->read(set, 0, 4, 0, INT64_MAX, &batch), TIDE_OK);
    assert_int_equal(limits.samples, 40);
    assert_int_equal(set->ops->read(set, 0, 1, 0, INT64_MAX, &batch), TIDE_ERR_LIMIT);
    limits.samples_max = 0;
    limits.canceled = true;
    assert_int_equal(set->ops->read(set, 0, 1, 0, INT64_MAX, &batch), TIDE_ERR_CANCELED);
    limits.canceled = false;
    limits.memory_bytes_max = limits.memory_bytes + 8;
    assert_int_equal(set->ops->read(set, 0, 1, 0, INT64_MAX, &batch), TIDE_ERR_LIMIT);
    set->ops->free(set);
    assert_int_equal(limits.memory_bytes, 0);
    tide_arena_free(batch.arena);
    tide_head_free(head);
}

static void test_select__leaves_out_series_that_ended(void **state)
{
    struct tide_head *head = new_head();
    struct tide_select select = {.mint_ms = START_MS + 1, .maxt_ms = INT64_MAX};
    struct tide_series_set *set;

    (void)state;
    append(head, add_series(head, 0, 0), START_MS, 1);
    append(head, add_series(head, 1, 0), START_MS + 1, 1);
    (void)add_series(head, 2, 0);
    assert_int_equal(tide_head_select(head, &select, NULL, &set), TIDE_OK);
    assert_int_equal(set->count, 1);
    assert_true(tide_slice_eq(set->ops->label(set, 0, TIDE_SLICE("__name__")), TIDE_SLICE("m1")));
    set->ops->free(set);
    tide_head_free(head);
}

static bool count_text(void *context, struct tide_slice text)
{
    (void)text;
    ++*(size_t *)context;
    return true;
}

static bool count_cardinality(void *context, struct tide_slice name, struct tide_slice value,
                              uint64_t count)
{
    (void)name;
    (void)value;
    *(uint64_t *)context += count;
    return true;
}

static void test_head__lists_labels(void **state)
{
    struct tide_head *head = new_head();
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_select all = {.maxt_ms = INT64_MAX};
    struct tide_labels labels;
    size_t names = 0, values = 0;
    uint64_t sums[4] = {0};

    (void)state;
    for (size_t i = 0; i < 6; i++)
        append(head, add_series(head, i, (unsigned)i % 2), START_MS, 1);
    assert_int_equal(tide_head_label_names(head, &all, NULL, count_text, &names), TIDE_OK);
    assert_int_equal(names, 3);
    assert_int_equal(
        tide_head_label_values(head, &all, TIDE_SLICE("instance"), NULL, count_text, &values),
        TIDE_OK);
    assert_int_equal(values, 2);
    assert_int_equal(tide_head_labels(head, 3, arena, &labels), TIDE_OK);
    assert_true(tide_slice_eq(tide_labels_get(labels, TIDE_SLICE("__name__")), TIDE_SLICE("m3")));
    assert_int_equal(tide_head_labels(head, 6, arena, &labels), TIDE_ERR_NOT_FOUND);
    for (int what = TIDE_CARD_SERIES_BY_METRIC; what <= TIDE_CARD_BYTES_BY_NAME; what++)
        assert_int_equal(tide_head_cardinality(head, (enum tide_head_cardinality)what,
                                               count_cardinality, &sums[what]),
                         TIDE_OK);
    assert_int_equal(sums[TIDE_CARD_SERIES_BY_METRIC], 6);
    assert_int_equal(sums[TIDE_CARD_SERIES_BY_PAIR], 18);
    assert_int_equal(sums[TIDE_CARD_VALUES_BY_NAME], 6 + 2 + 1);
    assert_int_equal(sums[TIDE_CARD_BYTES_BY_NAME], 6 * 2 + 2 * 6 + 4);
    tide_arena_free(arena);
    tide_head_free(head);
}

#ifdef TIDE_TEST_FAULTS
static enum tide_err exercise(struct tide_head *head, struct tide_batch *batch)
{
    struct tide_select select = {.mint_ms = INT64_MIN, .maxt_ms = INT64_MAX};
    struct tide_head_rejects rejects = {0};
    struct tide_head_frozen *frozen = NULL;
    struct tide_series_set *set;
    enum tide_err err = TIDE_OK;

    for (size_t i = 0; i < 4 && err == TIDE_OK; i++) {
        struct model_series s = {.kind = i == 3 ? MODEL_LONE : MODEL_STEADY};
        struct tide_labels labels = model_labels(i, &s);
        uint32_t ref;

        err =
            tide_head_series(head, tide_labels_identity(TIDE_SLICE("t"), labels, 0), labels, &ref);
        for (int64_t k = 0; k < 300 && err == TIDE_OK; k++) {
            int64_t ts_ms = START_MS + (k % 10 == 9 ? -k : k) * 60000;
            uint64_t bits = (uint64_t)k;

            err = tide_head_append(head, &ref, &ts_ms, &bits, 1, 0, &rejects);
        }
    }
    tide_mem_free(rejects.items);
    if (err == TIDE_OK)
        err = tide_head_freeze(head, &frozen);
    if (err == TIDE_OK)
        err = tide_head_truncate(head, START_MS + INT64_C(3) * 7200000);
    tide_head_frozen_free(frozen);
    if (err == TIDE_OK)
        err = tide_head_select(head, &select, NULL, &set);
    if (err == TIDE_OK) {
        err = set->ops->read(set, 0, set->count, INT64_MIN, INT64_MAX, batch);
        set->ops->free(set);
    }
    return err;
}

static void test_head__survives_each_failed_allocation(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        long live = tide_test_mem_live();
        struct tide_batch batch = {.arena = tide_arena_new(0)};
        struct tide_head *head;
        enum tide_err err;
        bool fired;

        tide_test_mem_fail_nth(nth);
        err = tide_head_new(&tide_head_options_default, &head);
        if (err == TIDE_OK) {
            err = exercise(head, &batch);
            tide_head_free(head);
        }
        fired = tide_test_mem_fired();
        if (err != TIDE_OK) /* The index can do without some. */
            assert_int_equal(err, TIDE_ERR_NO_MEMORY);
        if (!fired)
            assert_int_equal(err, TIDE_OK);
        tide_arena_free(batch.arena);
        assert_int_equal(tide_test_mem_live(), live);
        if (!fired)
            break;
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head__gives_a_series_one_reference),
        cmocka_unit_test(test_head__refuses_series_over_the_limit),
        cmocka_unit_test(test_head__refuses_options_out_of_range),
        cmocka_unit_test(test_append__says_why_it_refuses),
        cmocka_unit_test(test_append__takes_samples_of_any_age),
        cmocka_unit_test(test_read__shares_the_times_of_a_target),
        cmocka_unit_test(test_append__gives_each_sender_of_a_target_its_own_column),
        cmocka_unit_test(test_append__ends_alternation_of_short_chunks),
        cmocka_unit_test(test_append__backfills_in_little_time_and_memory),
        cmocka_unit_test(test_truncate__gives_the_memory_back),
        cmocka_unit_test(test_truncate__uses_numbers_of_slabs_again),
        cmocka_unit_test(test_store__accepts_nothing_that_it_could_not_restore),
        cmocka_unit_test(test_append__bounds_the_partitions),
        cmocka_unit_test(test_head__is_small_when_empty),
        cmocka_unit_test(test_read__counts_against_the_limits),
        cmocka_unit_test(test_select__leaves_out_series_that_ended),
        cmocka_unit_test(test_head__lists_labels),
#ifdef TIDE_TEST_FAULTS
        cmocka_unit_test(test_head__survives_each_failed_allocation),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
