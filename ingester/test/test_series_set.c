/* Reading over the sets of several shards gives the same as reading each: against a plain list of
 * series, with parts of any size, empty ones too, and reads that cross from one into the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ingester_private.h"

#include "tide/base/mem.h"

#include <stdio.h>

#define SERIES_MAX 40u
#define SAMPLES_MAX 12u

/* A series of the model: number i has the label n="i" and samples at times[0 … count). */
struct plain_series {
    char number[12];
    struct tide_label label;
    size_t column; /* Which timestamps it has; the same number means shared ones. */
    size_t count;
    double values[SAMPLES_MAX];
};

struct plain {
    struct plain_series series[SERIES_MAX];
    int64_t columns[SERIES_MAX][SAMPLES_MAX];
};

/* One part: the series first … first+count-1 of the model. */
struct plain_set {
    struct tide_series_set set;
    const struct plain *plain;
    size_t first;
    bool *freed;
    enum tide_err err; /* What its read answers. */
};

static enum tide_err plain_labels(struct tide_series_set *set, size_t i, struct tide_arena *arena,
                                  struct tide_labels *out)
{
    const struct plain_set *part = (const struct plain_set *)set;

    (void)arena;
    assert_true(i < set->count);
    *out = (struct tide_labels){&part->plain->series[part->first + i].label, 1};
    return TIDE_OK;
}

static struct tide_slice plain_label(struct tide_series_set *set, size_t i, struct tide_slice name)
{
    const struct plain_set *part = (const struct plain_set *)set;

    assert_true(i < set->count);
    return tide_labels_get((struct tide_labels){&part->plain->series[part->first + i].label, 1},
                           name);
}

static size_t in_range(const int64_t *times, size_t count, int64_t mint_ms, int64_t maxt_ms,
                       size_t *from)
{
    size_t end;

    for (*from = 0; *from < count && times[*from] < mint_ms; (*from)++)
        ;
    for (end = *from; end < count && times[end] <= maxt_ms; end++)
        ;
    return end - *from;
}

/* Series with the same column get the same pointer, if they are neighbours. */
static enum tide_err plain_read(struct tide_series_set *set, size_t first, size_t count,
                                int64_t mint_ms, int64_t maxt_ms, struct tide_batch *batch)
{
    const struct plain_set *part = (const struct plain_set *)set;
    const struct plain_series *before = NULL;

    assert_true(first < set->count);
    assert_true(count <= set->count - first);
    if (part->err != TIDE_OK)
        return part->err;
    tide_arena_reset(batch->arena);
    batch->series = tide_arena_new_array(batch->arena, count, sizeof(*batch->series));
    batch->count = count;
    if (batch->series == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        const struct plain_series *s = &part->plain->series[part->first + first + i];
        const int64_t *column = part->plain->columns[s->column];
        size_t from, n = in_range(column, s->count, mint_ms, maxt_ms, &from);
        int64_t *times = NULL;
        double *values = tide_arena_alloc(batch->arena, n * sizeof(*values) + 1);

        if (before == NULL || before->column != s->column || before->count < s->count)
            times = tide_arena_alloc(batch->arena, n * sizeof(*times) + 1);
        if (values == NULL)
            return TIDE_ERR_NO_MEMORY;
        if (times != NULL) {
            memcpy(times, column + from, n * sizeof(*times));
            before = s;
        } else if (before == NULL || before->column != s->column || before->count < s->count) {
            return TIDE_ERR_NO_MEMORY;
        }
        memcpy(values, s->values + from, n * sizeof(*values));
        batch->series[i] = (struct tide_series_samples){
            .times_ms = times != NULL ? times : batch->series[i - 1].times_ms,
            .values = values,
            .count = n};
    }
    return TIDE_OK;
}

static void plain_free(struct tide_series_set *set)
{
    struct plain_set *part = (struct plain_set *)set;

    *part->freed = true;
    tide_mem_free(part);
}

static const struct tide_series_set_ops plain_ops = {
    .labels = plain_labels, .label = plain_label, .read = plain_read, .free = plain_free};

/* ---- Making them ---- */

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static void plain_fill(struct plain *plain, uint64_t *seed)
{
    for (size_t c = 0; c < SERIES_MAX; c++) {
        int64_t t = -20;

        for (size_t k = 0; k < SAMPLES_MAX; k++)
            plain->columns[c][k] = t += 1 + next_random(seed) % 9;
    }
    for (size_t i = 0; i < SERIES_MAX; i++) {
        struct plain_series *s = &plain->series[i];

        snprintf(s->number, sizeof(s->number), "%zu", i);
        s->label = (struct tide_label){TIDE_SLICE("n"), tide_slice_str(s->number)};
        s->column = i > 0 && next_random(seed) % 3 > 0 ? plain->series[i - 1].column : i;
        s->count = next_random(seed) % (SAMPLES_MAX + 1);
        for (size_t k = 0; k < s->count; k++)
            s->values[k] = (double)next_random(seed);
    }
}

/* Cuts the model into part_count parts; *total is how many series they have. */
static struct tide_series_set **parts_make(const struct plain *plain, uint64_t *seed,
                                           size_t part_count, bool *freed, size_t *total)
{
    struct tide_series_set **parts = tide_mem_array(part_count, sizeof(*parts));

    assert_non_null(parts);
    *total = 0;
    for (size_t i = 0; i < part_count; i++) {
        struct plain_set *part = tide_mem_new(sizeof(*part));
        size_t count = next_random(seed) % (SERIES_MAX / part_count + 1);

        assert_non_null(part);
        freed[i] = false;
        *part = (struct plain_set){
            .set = {&plain_ops, count}, .plain = plain, .first = *total, .freed = &freed[i]};
        parts[i] = &part->set;
        *total += count;
    }
    return parts;
}

/* ---- Comparing ---- */

static void assert_read(struct tide_series_set *set, const struct plain *plain, size_t first,
                        size_t count, int64_t mint_ms, int64_t maxt_ms, struct tide_batch *batch)
{
    assert_int_equal(set->ops->read(set, first, count, mint_ms, maxt_ms, batch), TIDE_OK);
    assert_int_equal(batch->count, count);
    for (size_t i = 0; i < count; i++) {
        const struct plain_series *s = &plain->series[first + i];
        const int64_t *column = plain->columns[s->column];
        size_t from, n = in_range(column, s->count, mint_ms, maxt_ms, &from);

        assert_int_equal(batch->series[i].count, n);
        for (size_t k = 0; k < n; k++) {
            assert_true(batch->series[i].times_ms[k] == column[from + k]);
            assert_true(batch->series[i].values[k] == s->values[from + k]);
        }
    }
}

static void test_series_set__reads_like_a_plain_list(void **state)
{
    static struct plain plain;
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    uint64_t seed = 1;
    bool freed[8];

    (void)state;
    for (int round = 0; round < 60; round++) {
        size_t part_count = 1 + next_random(&seed) % 8, total;
        struct tide_series_set *set;

        plain_fill(&plain, &seed);
        struct tide_series_set **parts = parts_make(&plain, &seed, part_count, freed, &total);

        assert_int_equal(tide__series_set_join(parts, part_count, &set), TIDE_OK);
        assert_int_equal(set->count, total);
        for (size_t i = 0; i < total; i++) {
            struct tide_labels labels;

            assert_int_equal(set->ops->labels(set, i, batch.arena, &labels), TIDE_OK);
            assert_ptr_equal(labels.pairs, &plain.series[i].label);
            assert_true(tide_slice_eq(set->ops->label(set, i, TIDE_SLICE("n")),
                                      plain.series[i].label.value));
            assert_int_equal(set->ops->label(set, i, TIDE_SLICE("m")).len, 0);
        }
        for (int k = 0; k < 40 && total > 0; k++) {
            size_t first = next_random(&seed) % total;
            size_t count = 1 + next_random(&seed) % (total - first);
            int64_t mint_ms = (int64_t)(next_random(&seed) % 80) - 30;

            assert_read(set, &plain, first, count, mint_ms, mint_ms + next_random(&seed) % 60,
                        &batch);
        }
        set->ops->free(set);
        for (size_t i = 0; i < part_count; i++)
            assert_true(freed[i]);
    }
    tide_arena_free(batch.arena);
}

/* What shares timestamps in a part shares them after a read over two parts too: work on them is
 * done once. */
static void test_series_set__shared_timestamps_stay_shared_across_parts(void **state)
{
    static struct plain plain;
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_series_set **parts = tide_mem_array(2, sizeof(*parts));
    struct tide_series_set *set;
    bool freed[2] = {false};
    uint64_t seed = 2;

    (void)state;
    plain_fill(&plain, &seed);
    for (size_t i = 0; i < 8; i++) {
        plain.series[i].column = 0;
        plain.series[i].count = SAMPLES_MAX;
    }
    for (size_t i = 0; i < 2; i++) {
        struct plain_set *part = tide_mem_new(sizeof(*part));

        *part = (struct plain_set){
            .set = {&plain_ops, 4}, .plain = &plain, .first = i * 4, .freed = &freed[i]};
        parts[i] = &part->set;
    }
    assert_int_equal(tide__series_set_join(parts, 2, &set), TIDE_OK);
    assert_read(set, &plain, 1, 6, INT64_MIN / 4, INT64_MAX / 4, &batch);
    for (size_t i = 1; i < 6; i++) {
        if (i != 3) /* The first series of the second part. */
            assert_ptr_equal(batch.series[i].times_ms, batch.series[i - 1].times_ms);
    }
    set->ops->free(set);
    tide_arena_free(batch.arena);
}

static void test_series_set__an_error_of_a_part_is_passed_on(void **state)
{
    static struct plain plain;
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_series_set **parts = tide_mem_array(2, sizeof(*parts));
    struct tide_series_set *set;
    bool freed[2] = {false};
    uint64_t seed = 3;

    (void)state;
    plain_fill(&plain, &seed);
    for (size_t i = 0; i < 2; i++) {
        struct plain_set *part = tide_mem_new(sizeof(*part));

        *part = (struct plain_set){.set = {&plain_ops, 4},
                                   .plain = &plain,
                                   .first = i * 4,
                                   .freed = &freed[i],
                                   .err = i == 1 ? TIDE_ERR_TIMEOUT : TIDE_OK};
        parts[i] = &part->set;
    }
    assert_int_equal(tide__series_set_join(parts, 2, &set), TIDE_OK);
    assert_int_equal(set->ops->read(set, 0, 4, 0, 10, &batch), TIDE_OK);
    assert_int_equal(set->ops->read(set, 2, 4, 0, 10, &batch), TIDE_ERR_TIMEOUT);
    assert_int_equal(set->ops->read(set, 4, 4, 0, 10, &batch), TIDE_ERR_TIMEOUT);
    set->ops->free(set);
    tide_arena_free(batch.arena);
}

static void test_series_set__survives_each_failed_allocation(void **state)
{
    static struct plain plain;
    uint64_t seed = 4;
    long live = tide_test_mem_live();
    bool fired = true;

    (void)state;
    plain_fill(&plain, &seed);
    for (int nth = 1; fired; nth++) {
        struct tide_batch batch = {.arena = tide_arena_new(0)};
        struct tide_series_set **parts, *set;
        bool freed[4];
        uint64_t cut = 5;
        size_t total;
        enum tide_err err;

        parts = parts_make(&plain, &cut, 4, freed, &total);
        tide_test_mem_fail_nth(nth);
        err = tide__series_set_join(parts, 4, &set);
        if (err == TIDE_OK) {
            err = set->ops->read(set, 0, total, 0, 100, &batch);
            fired = tide_test_mem_fired();
            set->ops->free(set);
        } else {
            fired = tide_test_mem_fired();
        }
        assert_int_equal(err == TIDE_OK, !fired);
        for (size_t i = 0; i < 4; i++)
            assert_true(freed[i]);
        tide_arena_free(batch.arena);
        assert_int_equal(tide_test_mem_live(), live);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_series_set__reads_like_a_plain_list),
        cmocka_unit_test(test_series_set__shared_timestamps_stay_shared_across_parts),
        cmocka_unit_test(test_series_set__an_error_of_a_part_is_passed_on),
        cmocka_unit_test(test_series_set__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests_name("series_set", tests, NULL, NULL);
}
