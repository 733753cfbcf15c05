/* The promises of the index one by one, with label sets that can be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_series.h"

#include "tide/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct fixture {
    struct tide_index *index;
    struct tide_arena *arena;
};

static int setup(void **state)
{
    struct fixture *f = tide_mem_new(sizeof(*f));

    f->arena = tide_arena_new(0);
    *state = f;
    return tide_index_new(&f->index) == TIDE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    tide_index_free(f->index);
    tide_arena_free(f->arena);
    tide_mem_free(f);
    return 0;
}

static const char *select_one(struct fixture *f, const char *name, enum tide_match_op op,
                              const char *value)
{
    struct tide_matcher m = support_matcher(f->arena, name, op, value);
    const char *found = support_select(f->index, f->arena, &m, 1);

    tide_matcher_release(&m);
    return found;
}

static void test_index__counts_references_up_and_finds_series_again(void **state)
{
    struct fixture *f = *state;
    struct tide_labels labels = support_labels(f->arena, "__name__=up,job=a");
    uint32_t ref = 99;
    bool created = true;

    assert_int_equal(tide_index_find(f->index, support_identity(labels), labels, &ref),
                     TIDE_ERR_NOT_FOUND);
    assert_int_equal(ref, 99);
    assert_int_equal(support_add(f->index, f->arena, "__name__=up,job=a"), 0);
    assert_int_equal(support_add(f->index, f->arena, "__name__=up,job=b"), 1);
    assert_int_equal(support_add(f->index, f->arena, "__name__=up"), 2);
    assert_int_equal(tide_index_add(f->index, support_identity(labels), labels, &ref, &created),
                     TIDE_OK);
    assert_int_equal(ref, 0);
    assert_false(created);
    assert_int_equal(tide_index_find(f->index, support_identity(labels), labels, &ref), TIDE_OK);
    assert_int_equal(ref, 0);
}

static void test_index__tells_series_of_one_identity_apart(void **state)
{
    struct fixture *f = *state;
    struct tide_hash128 same = {42, 42};
    const char *sets[] = {"a=1", "a=2", "a=1,b=1", "b=1", "a=11"};
    uint32_t ref;
    bool created;

    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(
            tide_index_add(f->index, same, support_labels(f->arena, sets[i]), &ref, &created),
            TIDE_OK);
        assert_true(created);
        assert_int_equal(ref, i);
    }
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(tide_index_find(f->index, same, support_labels(f->arena, sets[i]), &ref),
                         TIDE_OK);
        assert_int_equal(ref, i);
    }
}

static void test_index__never_gives_a_reference_again(void **state)
{
    struct fixture *f = *state;
    struct tide_labels labels;
    uint32_t ref;

    support_add(f->index, f->arena, "a=1");
    ref = support_add(f->index, f->arena, "a=2");
    tide_index_remove(f->index, &ref, 1);
    assert_false(tide_index_contains(f->index, 1));
    assert_int_equal(support_add(f->index, f->arena, "a=2"), 2);
    /* Who still holds the old reference still reads its labels. */
    assert_int_equal(tide_index_labels(f->index, 1, f->arena, &labels), TIDE_OK);
    assert_true(tide_labels_eq(labels, support_labels(f->arena, "a=2")));
    assert_int_equal(tide_index_labels(f->index, 3, f->arena, &labels), TIDE_ERR_NOT_FOUND);
}

static void test_index__takes_an_absent_label_as_empty(void **state)
{
    struct fixture *f = *state;

    support_add(f->index, f->arena, "__name__=up,a=x");
    support_add(f->index, f->arena, "__name__=up,a=y");
    support_add(f->index, f->arena, "__name__=up");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_EQ, "x"), "0");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_NE, "x"), "1 2");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_EQ, ""), "2");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_NE, ""), "0 1");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_RE, ".*"), "0 1 2");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_RE, ".+"), "0 1");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_NRE, ".+"), "2");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_NRE, ".*"), "");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_RE, "x|"), "0 2");
    assert_string_equal(select_one(f, "a", TIDE_MATCH_NRE, "x|"), "1");
    assert_string_equal(select_one(f, "b", TIDE_MATCH_EQ, ""), "0 1 2");
    assert_string_equal(select_one(f, "b", TIDE_MATCH_NE, ""), "");
    assert_string_equal(select_one(f, "b", TIDE_MATCH_NE, "x"), "0 1 2");
}

static void test_index__orders_by_content_not_by_arrival(void **state)
{
    struct fixture *f = *state;
    struct tide_index *other;
    uint32_t refs[40], other_refs[40];
    struct tide_labels a, b;

    assert_int_equal(tide_index_new(&other), TIDE_OK);
    for (uint32_t i = 0; i < 40; i++) {
        refs[i] = other_refs[i] = i;
        support_add(f->index, f->arena, tide_arena_printf(f->arena, "a=%u", i));
        support_add(other, f->arena, tide_arena_printf(f->arena, "a=%u", 39 - i));
    }
    assert_int_equal(tide_index_sort(f->index, refs, 40, NULL), TIDE_OK);
    assert_int_equal(tide_index_sort(other, other_refs, 40, NULL), TIDE_OK);
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(tide_index_labels(f->index, refs[i], f->arena, &a), TIDE_OK);
        assert_int_equal(tide_index_labels(other, other_refs[i], f->arena, &b), TIDE_OK);
        assert_true(tide_labels_eq(a, b));
        assert_true(i == 0 || tide_index_compare(f->index, refs[i - 1], refs[i]) < 0);
    }
    tide_index_free(other);
}

static void test_index__settles_equal_keys_by_labels(void **state)
{
    struct fixture *f = *state;
    uint32_t refs[2000];
    struct tide_labels before = {NULL, 0}, labels;
    bool created;

    for (uint32_t i = 0; i < 2000; i++) {
        labels = support_labels(f->arena, tide_arena_printf(f->arena, "a=%u", i * 7919 % 2000));
        assert_int_equal(
            tide_index_add(f->index, (struct tide_hash128){i % 3, 1}, labels, &refs[i], &created),
            TIDE_OK);
    }
    assert_int_equal(tide_index_sort(f->index, refs, 2000, NULL), TIDE_OK);
    for (uint32_t i = 0; i < 2000; i++) {
        assert_int_equal(tide_index_labels(f->index, refs[i], f->arena, &labels), TIDE_OK);
        assert_true(i == 0 || tide_labels_cmp(before, labels) < 0);
        before = labels;
    }
}

static void test_index__holds_long_text_and_many_labels(void **state)
{
    struct fixture *f = *state;
    const size_t len = 300000;
    uint8_t *bytes = tide_arena_alloc(f->arena, len);
    struct tide_label *pairs = tide_arena_new_array(f->arena, 3000, sizeof(*pairs));
    struct tide_labels labels = {pairs, 3000}, got;
    uint32_t ref;
    bool created;

    memset(bytes, 'x', len);
    for (uint32_t i = 0; i < 3000; i++) {
        pairs[i].name = tide_slice_str(tide_arena_printf(f->arena, "n%04u", i));
        pairs[i].value = (struct tide_slice){bytes, i == 7 ? len : 1 + i % 200};
    }
    assert_int_equal(tide_index_add(f->index, support_identity(labels), labels, &ref, &created),
                     TIDE_OK);
    support_add(f->index, f->arena, "a=1");
    assert_int_equal(tide_index_labels(f->index, ref, f->arena, &got), TIDE_OK);
    assert_true(tide_labels_eq(got, labels));
}

static void test_index__costs_little_when_it_is_empty(void **state)
{
    struct fixture *f = *state;
    struct tide_index_stats stats;

    tide_index_stats(f->index, &stats);
    assert_in_range(stats.bytes_labels + stats.bytes_postings + stats.bytes_symbols +
                        stats.bytes_table,
                    500, 2048);
}

static void test_index__says_what_removed_series_hold(void **state)
{
    struct fixture *f = *state;
    struct tide_index_stats stats;
    uint32_t refs[100];

    for (uint32_t i = 0; i < 100; i++)
        refs[i] = support_add(f->index, f->arena, tide_arena_printf(f->arena, "a=v%u,b=w", i));
    tide_index_stats(f->index, &stats);
    assert_int_equal(stats.bytes_dead, 0);
    tide_index_remove(f->index, refs, 50);
    tide_index_stats(f->index, &stats);
    assert_int_equal(stats.values, 51);
    assert_in_range(stats.bytes_dead, 50 * 25, 50 * 60);
    for (uint32_t i = 0; i < 50; i++)
        support_add(f->index, f->arena, tide_arena_printf(f->arena, "a=v%u,b=w", i));
    tide_index_stats(f->index, &stats);
    /* The values live again; the old label lists are still there. */
    assert_in_range(stats.bytes_dead, 50 * 8, 50 * 20);
}

static bool sink_stops(void *context, struct tide_slice text)
{
    (void)text;
    ++*(int *)context;
    return false;
}

static void test_index__listings_stop_when_the_sink_has_enough(void **state)
{
    struct fixture *f = *state;
    struct tide_matcher m = support_matcher(f->arena, "a", TIDE_MATCH_NE, "");
    int calls = 0;

    for (uint32_t i = 0; i < 5; i++)
        support_add(f->index, f->arena, tide_arena_printf(f->arena, "a=%u,b=1", i));
    for (size_t count = 0; count < 2; count++) {
        assert_int_equal(tide_index_label_names(f->index, &m, count, NULL, sink_stops, &calls),
                         TIDE_OK);
        assert_int_equal(
            tide_index_label_values(f->index, TIDE_SLICE("a"), &m, count, NULL, sink_stops, &calls),
            TIDE_OK);
    }
    assert_int_equal(calls, 4);
}

static void test_index__respects_the_limits_of_a_query(void **state)
{
    struct fixture *f = *state;
    struct tide_query_limits limits = {.memory_bytes_max = 1000};
    struct tide_matcher m = support_matcher(f->arena, "b", TIDE_MATCH_RE, "1");
    struct tide_matcher slow = support_matcher(f->arena, "a", TIDE_MATCH_RE, ".*[0-4]");
    struct tide_index_refs refs = {.count = 77};
    uint32_t order[2000];

    for (uint32_t i = 0; i < 2000; i++)
        order[i] = support_add(f->index, f->arena, tide_arena_printf(f->arena, "a=%u,b=1", i));
    assert_int_equal(tide_index_select(f->index, &m, 1, &limits, &refs), TIDE_ERR_LIMIT);
    assert_int_equal(tide_index_select(f->index, &slow, 1, &limits, &refs), TIDE_ERR_LIMIT);
    assert_int_equal(tide_index_sort(f->index, order, 2000, &limits), TIDE_ERR_LIMIT);
    assert_int_equal(refs.count, 77);
    assert_int_equal(limits.memory_bytes, 0);
    limits.memory_bytes_max = 0;
    limits.canceled = true;
    assert_int_equal(tide_index_select(f->index, &slow, 1, &limits, &refs), TIDE_ERR_CANCELED);
    assert_int_equal(limits.memory_bytes, 0);
    tide_matcher_release(&slow);
}

/* Series with everything: new names, shapes, values, tables and postings of all forms. */
static enum tide_err add_some(struct tide_index *index, struct tide_arena *arena, uint32_t *added)
{
    for (*added = 0; *added < 70; ++*added) {
        struct tide_labels labels =
            support_labels(arena, tide_arena_printf(arena, "__name__=m%u,a=%u%s,job=x", *added % 3,
                                                    *added, *added % 7 == 0 ? ",extra=1" : ""));
        uint32_t ref;
        bool created;
        enum tide_err err;

        tide_labels_sort((struct tide_label *)labels.pairs, labels.count);
        err = tide_index_add(index, support_identity(labels), labels, &ref, &created);
        if (err != TIDE_OK)
            return err;
        assert_true(created);
        assert_int_equal(ref, *added);
    }
    return TIDE_OK;
}

static void test_index_add__survives_each_failed_allocation(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    long live = tide_test_mem_live();
    uint32_t added, again;

    (void)state;
    for (int nth = 1;; nth++) {
        struct tide_index *index = NULL;
        struct tide_matcher m;
        enum tide_err err;

        tide_test_mem_fail_nth(0);
        /* The arena must not be what fails. */
        (void)tide_arena_alloc(arena, 1 << 16);
        tide_arena_reset(arena);
        m = support_matcher(arena, "job", TIDE_MATCH_EQ, "x");
        if (tide_index_new(&index) != TIDE_OK)
            fail();
        tide_test_mem_fail_nth(nth);
        err = add_some(index, arena, &added);
        if (!tide_test_mem_fired()) {
            tide_index_free(index);
            break;
        }
        assert_int_equal(err, TIDE_ERR_NO_MEMORY);
        /* What went wrong left nothing behind: the rest can still be added, and all is found. */
        assert_int_equal(tide_index_series_count(index), added);
        for (uint32_t i = 0; i < 2; i++) {
            const char *found = support_select(index, arena, &m, 1);
            size_t spaces = 0;

            for (const char *c = found; *c != '\0'; c++)
                spaces += *c == ' ';
            assert_int_equal(spaces + (added > 0), added);
        }
        tide_index_free(index);
        assert_int_equal(tide_index_new(&index), TIDE_OK);
        assert_int_equal(add_some(index, arena, &again), TIDE_OK);
        tide_index_free(index);
    }
    tide_arena_free(arena);
    assert_true(tide_test_mem_live() < live);
}

static void test_index_select__survives_each_failed_allocation(void **state)
{
    struct fixture *f = *state;
    struct tide_matcher m[] = {support_matcher(f->arena, "job", TIDE_MATCH_EQ, "x"),
                               support_matcher(f->arena, "a", TIDE_MATCH_RE, ".*[0-7]"),
                               support_matcher(f->arena, "__name__", TIDE_MATCH_RE, "m1|m2"),
                               support_matcher(f->arena, "extra", TIDE_MATCH_EQ, "")};
    struct tide_query_limits limits = {.series_max = 0};
    uint32_t added;
    long live;

    assert_int_equal(add_some(f->index, f->arena, &added), TIDE_OK);
    live = tide_test_mem_live();
    for (int nth = 1;; nth++) {
        struct tide_index_refs refs;
        enum tide_err err;

        tide_test_mem_fail_nth(nth);
        err = tide_index_select(f->index, m, 4, &limits, &refs);
        if (!tide_test_mem_fired()) {
            assert_int_equal(err, TIDE_OK);
            tide_index_refs_deinit(&refs, &limits);
            break;
        }
        /* Shrinking the result may fail too, which is no error. */
        if (err == TIDE_OK)
            tide_index_refs_deinit(&refs, &limits);
        else
            assert_int_equal(err, TIDE_ERR_NO_MEMORY);
        assert_int_equal(tide_test_mem_live(), live);
        assert_int_equal(limits.memory_bytes, 0);
    }
    tide_matcher_release(&m[1]);
}

/* ---- Threads ---- */

#define THREAD_SERIES 6000u

struct shared {
    struct tide_index *index;
    pthread_rwlock_t lock;
    atomic_bool done; /* Release and acquire: the writer has added all. */
};

static void *reader_main(void *context)
{
    struct shared *s = context;
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_matcher prefix = support_matcher(arena, "pod", TIDE_MATCH_RE, "p1.*");
    bool done = false;

    while (!done) {
        struct tide_index_refs refs;
        struct tide_index_frozen *frozen;
        struct tide_buf buf = {0};
        uint32_t name_id;

        done = atomic_load_explicit(&s->done, memory_order_acquire);
        (void)pthread_rwlock_rdlock(&s->lock);
        if (tide_index_select(s->index, &prefix, 1, NULL, &refs) != TIDE_OK ||
            tide_index_freeze(s->index, &frozen) != TIDE_OK)
            abort();
        name_id = tide_index_name_id(s->index, TIDE_SLICE("pod"));
        (void)pthread_rwlock_unlock(&s->lock);
        /* From here on the writer may be at work. */
        if (tide_index_sort(s->index, refs.refs, refs.count, NULL) != TIDE_OK)
            abort();
        for (size_t i = 0; i < refs.count; i++) {
            struct tide_labels labels;
            uint32_t id = tide_index_value_id(s->index, refs.refs[i], name_id);
            struct tide_slice value = tide_index_value_text(s->index, name_id, id);

            if (tide_index_labels(s->index, refs.refs[i], arena, &labels) != TIDE_OK ||
                !tide_matcher_match(&prefix, value) ||
                !tide_slice_eq(tide_labels_get(labels, TIDE_SLICE("pod")), value))
                abort();
        }
        while (tide_index_frozen_next(frozen, &buf) == TIDE_OK) {
        }
        tide_index_frozen_free(frozen);
        tide_buf_deinit(&buf);
        tide_index_refs_deinit(&refs, NULL);
    }
    tide_matcher_release(&prefix);
    tide_arena_free(arena);
    return NULL;
}

static void test_index__is_read_without_a_lock_while_it_grows(void **state)
{
    struct fixture *f = *state;
    struct shared s = {.index = f->index};
    pthread_t readers[2];

    assert_int_equal(pthread_rwlock_init(&s.lock, NULL), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, reader_main, &s), 0);
    for (uint32_t i = 0; i < THREAD_SERIES; i++) {
        struct tide_labels labels =
            support_labels(f->arena, tide_arena_printf(f->arena, "job=j%u,pod=p%u", i % 9, i));
        uint32_t ref;
        bool created;

        (void)pthread_rwlock_wrlock(&s.lock);
        assert_int_equal(tide_index_add(s.index, support_identity(labels), labels, &ref, &created),
                         TIDE_OK);
        if (i % 5 == 0 && i > 100) {
            ref = i - 100;
            tide_index_remove(s.index, &ref, 1);
        }
        (void)pthread_rwlock_unlock(&s.lock);
    }
    atomic_store_explicit(&s.done, true, memory_order_release);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    (void)pthread_rwlock_destroy(&s.lock);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_index__counts_references_up_and_finds_series_again),
        TEST(test_index__tells_series_of_one_identity_apart),
        TEST(test_index__never_gives_a_reference_again),
        TEST(test_index__takes_an_absent_label_as_empty),
        TEST(test_index__orders_by_content_not_by_arrival),
        TEST(test_index__settles_equal_keys_by_labels),
        TEST(test_index__holds_long_text_and_many_labels),
        TEST(test_index__costs_little_when_it_is_empty),
        TEST(test_index__says_what_removed_series_hold),
        TEST(test_index__listings_stop_when_the_sink_has_enough),
        TEST(test_index__respects_the_limits_of_a_query),
        cmocka_unit_test(test_index_add__survives_each_failed_allocation),
        TEST(test_index_select__survives_each_failed_allocation),
        TEST(test_index__is_read_without_a_lock_while_it_grows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
