/* The whole index against a plain list of label sets: random series, removals, matchers of all
 * kinds, listings, order, and a trip through a checkpoint in between. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_series.h"

#include "tide/base/mem.h"

#include <stdio.h>
#include <stdlib.h>

#define SERIES_MAX 20000u
#define NAMES 6u

static const char *const names[NAMES] = {"__name__", "code", "host", "job", "le", "pod"};
/* How many values each name draws from: one, a few, more than a scan takes, more than a run holds.
 */
static const uint32_t value_counts[NAMES] = {40, 5, 300, 12, 1, 9500};

struct model {
    struct tide_index *index;
    struct tide_arena *arena;
    struct tide_labels *sets; /* By reference. */
    bool *there;
    uint32_t count;
    uint32_t live;
    uint64_t seed;
};

static struct tide_slice value_of(struct model *m, uint32_t name)
{
    static const char *const stems[] = {"api", "web-", "x", "db/", ""};
    uint32_t v = support_below(&m->seed, value_counts[name]);
    char *text = tide_arena_printf(m->arena, "%s%u", stems[v % 5], v / 3);

    return tide_slice_str(text);
}

static struct tide_labels random_labels(struct model *m)
{
    struct tide_label *pairs = tide_arena_new_array(m->arena, NAMES, sizeof(*pairs));
    size_t count = 0;

    for (uint32_t i = 0; i < NAMES; i++) {
        if (i > 0 && support_below(&m->seed, 4) == 0)
            continue;
        pairs[count].name = tide_slice_str(names[i]);
        pairs[count++].value = value_of(m, i);
    }
    return (struct tide_labels){pairs, count};
}

static uint32_t naive_find(const struct model *m, struct tide_labels labels)
{
    for (uint32_t ref = 0; ref < m->count; ref++)
        if (m->there[ref] && tide_labels_eq(m->sets[ref], labels))
            return ref;
    return TIDE_INDEX_NONE;
}

static void add_series(struct model *m, uint32_t count)
{
    for (uint32_t i = 0; i < count && m->count < SERIES_MAX; i++) {
        struct tide_labels labels = random_labels(m);
        struct tide_hash128 identity = support_identity(labels);
        uint32_t ref, found = TIDE_INDEX_NONE;
        bool created;

        /* The naive search is slow: it looks at one in ten and the others only at their result. */
        if (i % 10 == 0)
            found = naive_find(m, labels);
        assert_int_equal(tide_index_add(m->index, identity, labels, &ref, &created), TIDE_OK);
        if (created) {
            assert_int_equal(found, TIDE_INDEX_NONE);
            assert_int_equal(ref, m->count);
            m->sets[m->count] = labels;
            m->there[m->count++] = true;
            m->live++;
        } else {
            assert_true(m->there[ref]);
            assert_true(tide_labels_eq(m->sets[ref], labels));
        }
    }
}

static void remove_series(struct model *m, uint32_t one_in)
{
    uint32_t *refs = tide_mem_array(m->count + 1, sizeof(*refs));
    size_t count = 0;

    for (uint32_t ref = 0; ref < m->count; ref++)
        if (support_below(&m->seed, one_in) == 0) {
            refs[count++] = ref;
            m->live -= m->there[ref];
            m->there[ref] = false;
        }
    refs[count++] = m->count + 5; /* Never given out. */
    tide_index_remove(m->index, refs, count);
    tide_mem_free(refs);
}

static struct tide_matcher random_matcher(struct model *m)
{
    static const char *const patterns[] = {
        "",         ".*",     ".+",        "api.*",      "api.+",
        "web-1.*",  ".*7.*",  ".*0",       "x1|x2|",     "api3|x4|web-0",
        "x?",       "x[0-9]", "db/[0-9]+", "(api|x)1.*", ".*[13]",
        "web-1.?3", "no",     "x.*5.*",    "|api.*"};
    uint32_t name = support_below(&m->seed, NAMES + 1);
    enum tide_match_op op = (enum tide_match_op)support_below(&m->seed, 4);
    const char *label = name == NAMES ? "absent" : names[name];
    char *value;

    if (op == TIDE_MATCH_RE || op == TIDE_MATCH_NRE)
        return support_matcher(
            m->arena, label, op,
            patterns[support_below(&m->seed, sizeof(patterns) / sizeof(patterns[0]))]);
    if (name == NAMES || support_below(&m->seed, 5) == 0)
        return support_matcher(m->arena, label, op, "");
    value = tide_arena_printf(m->arena, "%.*s", TIDE_SLICE_ARGS(value_of(m, name)));
    return support_matcher(m->arena, label, op, value);
}

static void check_select(struct model *m)
{
    struct tide_matcher matchers[3];
    size_t count = 1 + support_below(&m->seed, 3), next = 0;
    struct tide_query_limits limits = {.memory_bytes_max = 64 << 20};
    struct tide_index_refs refs;

    for (size_t i = 0; i < count; i++)
        matchers[i] = random_matcher(m);
    assert_int_equal(tide_index_select(m->index, matchers, count, &limits, &refs), TIDE_OK);
    for (uint32_t ref = 0; ref < m->count; ref++) {
        if (!m->there[ref] || !tide_matchers_match(matchers, count, m->sets[ref]))
            continue;
        if (next >= refs.count || refs.refs[next] != ref) {
            for (size_t i = 0; i < count; i++)
                printf("%.*s op %d '%.*s'\n", TIDE_SLICE_ARGS(matchers[i].name),
                       (int)matchers[i].op, TIDE_SLICE_ARGS(matchers[i].value));
            fail_msg("series %u is missing, or one before it is too much", ref);
        }
        next++;
    }
    assert_int_equal(next, refs.count);
    assert_int_equal(limits.memory_bytes, refs.charged_bytes);
    assert_int_equal(refs.charged_bytes, refs.count * sizeof(uint32_t));
    tide_index_refs_deinit(&refs, &limits);
    assert_int_equal(limits.memory_bytes, 0);
    for (size_t i = 0; i < count; i++)
        tide_matcher_release(&matchers[i]);
}

static void check_order(struct model *m)
{
    struct tide_index_refs refs;

    assert_int_equal(tide_index_select(m->index, NULL, 0, NULL, &refs), TIDE_OK);
    assert_int_equal(refs.count, m->live);
    assert_int_equal(tide_index_sort(m->index, refs.refs, refs.count, NULL), TIDE_OK);
    for (size_t i = 0; i < refs.count; i++)
        assert_true(m->there[refs.refs[i]]);
    for (size_t i = 1; i < refs.count; i++) {
        struct tide_labels a = m->sets[refs.refs[i - 1]], b = m->sets[refs.refs[i]];
        uint64_t x = support_identity(a).hi >> 32, y = support_identity(b).hi >> 32;

        assert_true(x < y || (x == y && tide_labels_cmp(a, b) < 0));
    }
    tide_index_refs_deinit(&refs, NULL);
}

static void check_labels(struct model *m)
{
    uint32_t ids[NAMES];
    struct tide_arena *arena = tide_arena_new(0);

    for (uint32_t i = 0; i < NAMES; i++)
        ids[i] = tide_index_name_id(m->index, tide_slice_str(names[i]));
    for (uint32_t ref = 0; ref < m->count; ref += 7) {
        struct tide_labels labels;

        assert_int_equal(tide_index_contains(m->index, ref), m->there[ref]);
        if (!m->there[ref])
            continue;
        assert_int_equal(tide_index_labels(m->index, ref, arena, &labels), TIDE_OK);
        assert_true(tide_labels_eq(labels, m->sets[ref]));
        for (uint32_t i = 0; i < NAMES; i++) {
            struct tide_slice name = tide_slice_str(names[i]);
            struct tide_slice value = tide_labels_get(m->sets[ref], name);
            uint32_t id = tide_index_value_id(m->index, ref, ids[i]);

            assert_true(tide_slice_eq(tide_index_label(m->index, ref, name), value));
            assert_true(tide_slice_eq(tide_index_value_text(m->index, ids[i], id), value));
        }
        tide_arena_reset(arena);
    }
    tide_arena_free(arena);
}

/* Text of a listing, once each. */
struct listing {
    struct tide_slice *items;
    size_t count;
    size_t capacity;
};

static bool listing_add(void *context, struct tide_slice text)
{
    struct listing *listing = context;
    void *items = listing->items;

    assert_int_equal(
        tide_mem_grow(&items, &listing->capacity, listing->count + 1, sizeof(*listing->items)),
        TIDE_OK);
    listing->items = items;
    listing->items[listing->count++] = text;
    return true;
}

static int slice_cmp(const void *a, const void *b)
{
    const struct tide_slice *x = a, *y = b;

    return tide_slice_cmp(*x, *y);
}

static void listing_distinct(struct listing *listing)
{
    size_t kept = 0;

    if (listing->count > 0)
        qsort(listing->items, listing->count, sizeof(*listing->items), slice_cmp);
    for (size_t i = 0; i < listing->count; i++)
        if (kept == 0 || !tide_slice_eq(listing->items[kept - 1], listing->items[i]))
            listing->items[kept++] = listing->items[i];
    listing->count = kept;
}

static void check_same_listing(struct listing *got, struct listing *want)
{
    size_t distinct = got->count;

    listing_distinct(got);
    listing_distinct(want);
    assert_int_equal(got->count, distinct); /* The index lists each once. */
    assert_int_equal(got->count, want->count);
    for (size_t i = 0; i < got->count; i++)
        assert_true(tide_slice_eq(got->items[i], want->items[i]));
    tide_mem_free(got->items);
    tide_mem_free(want->items);
}

static void check_listings(struct model *m)
{
    struct tide_matcher matcher = random_matcher(m);
    size_t count = support_below(&m->seed, 2);
    struct tide_slice name = tide_slice_str(names[support_below(&m->seed, NAMES)]);
    struct listing got = {.count = 0}, want = {.count = 0};
    struct listing got_values = {.count = 0}, want_values = {.count = 0};

    for (uint32_t ref = 0; ref < m->count; ref++) {
        struct tide_labels labels = m->sets[ref];

        if (!m->there[ref] || !tide_matchers_match(&matcher, count, labels))
            continue;
        for (size_t i = 0; i < labels.count; i++)
            listing_add(&want, labels.pairs[i].name);
        if (tide_labels_get(labels, name).len > 0)
            listing_add(&want_values, tide_labels_get(labels, name));
    }
    assert_int_equal(tide_index_label_names(m->index, &matcher, count, NULL, listing_add, &got),
                     TIDE_OK);
    assert_int_equal(
        tide_index_label_values(m->index, name, &matcher, count, NULL, listing_add, &got_values),
        TIDE_OK);
    check_same_listing(&got, &want);
    check_same_listing(&got_values, &want_values);
    tide_matcher_release(&matcher);
}

struct name_check {
    struct model *m;
    uint32_t names;
    uint64_t pair_series;
    uint64_t pairs;
};

static bool check_name(void *context, const struct tide_index_name_stats *stats)
{
    struct name_check *check = context;
    struct listing values = {.count = 0};
    uint64_t bytes = 0;

    for (uint32_t ref = 0; ref < check->m->count; ref++)
        if (check->m->there[ref] && tide_labels_get(check->m->sets[ref], stats->name).len > 0)
            listing_add(&values, tide_labels_get(check->m->sets[ref], stats->name));
    assert_int_equal(stats->series, values.count);
    listing_distinct(&values);
    assert_int_equal(stats->values, values.count);
    for (size_t i = 0; i < values.count; i++)
        bytes += values.items[i].len;
    assert_int_equal(stats->bytes, bytes);
    check->names++;
    tide_mem_free(values.items);
    return true;
}

static bool check_pair(void *context, struct tide_slice name, struct tide_slice value,
                       uint64_t series)
{
    struct name_check *check = context;
    uint64_t count = 0;

    check->pair_series += series;
    if (check->pairs++ % 500 != 0)
        return true;
    for (uint32_t ref = 0; ref < check->m->count; ref++)
        count += check->m->there[ref] &&
                 tide_slice_eq(tide_labels_get(check->m->sets[ref], name), value);
    assert_int_equal(series, count);
    return true;
}

static void check_figures(struct model *m)
{
    struct name_check check = {.m = m};
    struct tide_index_stats stats;
    uint64_t pair_series = 0;

    tide_index_stats(m->index, &stats);
    assert_int_equal(stats.series, m->live);
    assert_int_equal(tide_index_series_count(m->index), m->live);
    assert_int_equal(tide_index_ref_count(m->index), m->count);
    tide_index_each_name(m->index, check_name, &check);
    assert_int_equal(stats.names, check.names);
    tide_index_each_pair(m->index, (struct tide_slice){NULL, 0}, check_pair, &check);
    assert_int_equal(stats.values, check.pairs);
    for (uint32_t ref = 0; ref < m->count; ref++)
        pair_series += m->there[ref] ? m->sets[ref].count : 0;
    assert_int_equal(check.pair_series, pair_series);
}

static void check_all(struct model *m)
{
    for (int i = 0; i < 120; i++)
        check_select(m);
    for (int i = 0; i < 6; i++)
        check_listings(m);
    check_order(m);
    check_labels(m);
    check_figures(m);
}

static void pass_through_checkpoint(struct model *m)
{
    struct tide_buf buf = {0}, again = {0};
    struct tide_index *restored;
    struct tide_reader reader;

    support_write(m->index, &buf);
    reader = tide_reader(tide_buf_view(&buf));
    assert_int_equal(tide_index_restore(&reader, SERIES_MAX, &restored, NULL), TIDE_OK);
    assert_int_equal(reader.rest.len, 0);
    support_write(restored, &again);
    assert_true(tide_slice_eq(tide_buf_view(&buf), tide_buf_view(&again)));
    tide_index_free(m->index);
    m->index = restored;
    tide_buf_deinit(&buf);
    tide_buf_deinit(&again);
}

static void run(uint64_t seed, uint32_t step)
{
    struct model m = {.seed = seed, .arena = tide_arena_new(0)};

    m.sets = tide_mem_array(SERIES_MAX, sizeof(*m.sets));
    m.there = tide_mem_array(SERIES_MAX, sizeof(*m.there));
    assert_int_equal(tide_index_new(&m.index), TIDE_OK);
    check_all(&m);
    for (int round = 0; round < 4; round++) {
        add_series(&m, step);
        check_all(&m);
        remove_series(&m, round == 3 ? 1 : 2 + (uint32_t)round * 8);
        check_all(&m);
        if (round % 2 == 1)
            pass_through_checkpoint(&m);
        add_series(&m, step / 4);
        check_all(&m);
    }
    tide_index_free(m.index);
    tide_arena_free(m.arena);
    tide_mem_free(m.sets);
    tide_mem_free(m.there);
    assert_int_equal(tide_test_mem_live(), 0);
}

static void test_index__agrees_with_a_list_of_few_series(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++)
        run(seed, 60);
}

static void test_index__agrees_with_a_list_of_many_series(void **state)
{
    (void)state;
    run(11, 3500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index__agrees_with_a_list_of_few_series),
        cmocka_unit_test(test_index__agrees_with_a_list_of_many_series),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
