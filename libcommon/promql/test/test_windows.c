/* Windows against their definition, on random timestamps and steps. */
#include "windows_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define STEPS_MAX 150
#define TIMES_MAX 400

static uint32_t below(uint64_t *state, uint32_t n)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (uint32_t)(*state >> 33) % n;
}

static void expect_windows(const struct tide__windows *w)
{
    for (size_t s = 0; s < w->step_count; s++) {
        uint32_t lo = 0;
        uint32_t hi = 0;

        for (uint32_t i = 0; i < w->count; i++) {
            lo += w->times_ms[i] <= w->start_ms[s];
            hi += w->times_ms[i] <= w->end_ms[s];
        }
        assert_int_equal(w->lo[s], lo);
        assert_int_equal(w->hi[s], hi);
        assert_int_equal(tide__bit(w->present1, s), hi > lo);
        assert_int_equal(tide__bit(w->present2, s), hi > lo + 1);
    }
}

static void test_windows__hold_what_is_after_start_and_not_after_end(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    uint64_t seed = 1;

    (void)state;
    assert_non_null(arena);
    for (int round = 0; round < 2000; round++) {
        int64_t times[TIMES_MAX];
        int64_t start[STEPS_MAX];
        int64_t end[STEPS_MAX];
        struct tide__eval eval = {.lookback_ms = 5};
        size_t steps = 1 + below(&seed, STEPS_MAX);
        size_t count = below(&seed, below(&seed, 2) == 0 ? 40 : TIMES_MAX);
        struct tide__grid grid = {
            .step_count = steps, .word_count = tide__word_count(steps), .times_ms = end};
        struct tide__stream stream = {
            .eval = &eval, .grid = &grid, .start_ms = start, .end_ms = end};
        int64_t step = below(&seed, 60); /* 0: the same window at every step. */
        int64_t range = below(&seed, 200);
        int64_t t = (int64_t)below(&seed, 500) - 250;
        struct tide__windows *w;

        for (size_t i = 0; i < count; i++)
            times[i] = i == 0 ? 0 : times[i - 1] + 1 + below(&seed, 1 + below(&seed, 40));
        for (size_t s = 0; s < steps; s++) {
            end[s] = t + (int64_t)s * step;
            start[s] = end[s] - range;
        }
        tide_arena_reset(arena);
        w = tide__windows_make(&stream, times, count, arena);
        assert_non_null(w);
        expect_windows(w);
    }
    tide_arena_free(arena);
}

static void test_pick__ends_a_series_at_a_staleness_marker(void **state)
{
    int64_t times[] = {10, 20, 30};
    double values[] = {1, tide_value(TIDE_STALE_BITS), 3};
    int64_t start[] = {4, 14, 24, 29};
    int64_t end[] = {10, 20, 30, 35};
    struct tide__eval eval = {.lookback_ms = 6};
    struct tide__grid grid = {.step_count = 4, .word_count = 1, .times_ms = end};
    struct tide__stream stream = {.eval = &eval, .grid = &grid, .start_ms = start, .end_ms = end};
    struct tide_arena *arena = tide_arena_new(0);
    struct tide__windows *w = tide__windows_make(&stream, times, 3, arena);
    double out[4];
    uint64_t present;

    (void)state;
    assert_non_null(w);
    tide__pick_last(w, values, out, &present);
    assert_int_equal(present, 13);
    assert_true(out[0] == 1 && out[2] == 3 && out[3] == 3);
    tide__pick_time(w, values, out, &present);
    assert_int_equal(present, 13);
    assert_true(out[3] == 0.03);
    assert_true(tide__have_stale(values, 3));
    assert_false(tide__have_stale(values, 1));
    tide_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows__hold_what_is_after_start_and_not_after_end),
        cmocka_unit_test(test_pick__ends_a_series_at_a_staleness_marker),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
