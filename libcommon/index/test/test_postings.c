/* Postings in their three forms against a plain set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "postings_private.h"
#include "support_series.h"

#define HANDLES 40u
#define REFS 3000u

static void check(struct tide__postings *postings, uint32_t handle, const uint8_t *there)
{
    struct tide__postings_view view;
    uint32_t count = 0, next = 0;

    for (uint32_t ref = 0; ref < REFS; ref++) {
        count += there[ref];
        assert_int_equal(tide__postings_contains(postings, handle, ref), there[ref]);
    }
    assert_int_equal(tide__postings_count(postings, handle), count);
    tide__postings_view(postings, handle, &view);
    assert_int_equal(view.count, count);
    for (uint32_t ref = 0; ref < REFS && view.bitmap == NULL; ref++)
        if (there[ref])
            assert_int_equal(view.refs[next++], ref);
}

static void test_postings__agree_with_a_set(void **state)
{
    struct tide__postings postings = {.list_count = 0};
    uint32_t handles[HANDLES] = {0};
    uint8_t(*there)[REFS] = tide_mem_array(HANDLES, REFS);
    uint64_t seed = 5;

    (void)state;
    for (uint32_t ref = 0; ref < REFS; ref++) {
        for (uint32_t h = 0; h < HANDLES; h++) {
            /* From almost every reference to one in a thousand. */
            if (support_below(&seed, 1 + h * h) != 0)
                continue;
            assert_int_equal(tide__postings_prepare(&postings, &handles[h]), TIDE_OK);
            tide__postings_append(&postings, &handles[h], ref);
            there[h][ref] = 1;
        }
    }
    for (uint32_t h = 0; h < HANDLES; h++)
        check(&postings, handles[h], there[h]);
    for (uint32_t part = 0; part < 4; part++) {
        for (uint32_t ref = 0; ref < REFS; ref++) {
            for (uint32_t h = 0; h < HANDLES; h++) {
                if (support_below(&seed, 3) == 0 && part < 3)
                    continue;
                tide__postings_remove(&postings, &handles[h], ref);
                there[h][ref] = 0;
            }
        }
        for (uint32_t h = 0; h < HANDLES; h++)
            check(&postings, handles[h], there[h]);
    }
    for (uint32_t h = 0; h < HANDLES; h++)
        assert_int_equal(handles[h], 0);
    tide__postings_deinit(&postings);
    tide_mem_free(there);
}

static void test_postings__reuse_lists_that_were_emptied(void **state)
{
    struct tide__postings postings = {.list_count = 0};

    (void)state;
    for (uint32_t round = 0; round < 100; round++) {
        uint32_t handle = 0;

        for (uint32_t ref = 0; ref < 50; ref++) {
            assert_int_equal(tide__postings_prepare(&postings, &handle), TIDE_OK);
            tide__postings_append(&postings, &handle, ref);
        }
        for (uint32_t ref = 0; ref < 50; ref++)
            tide__postings_remove(&postings, &handle, ref);
        assert_int_equal(handle, 0);
    }
    assert_int_equal(postings.list_count, 1);
    tide__postings_deinit(&postings);
}

static void test_postings__cost_nothing_for_one_reference(void **state)
{
    struct tide__postings postings = {.list_count = 0};
    uint32_t handle = 0;

    (void)state;
    assert_int_equal(tide__postings_prepare(&postings, &handle), TIDE_OK);
    tide__postings_append(&postings, &handle, 77);
    assert_int_equal(tide__postings_bytes(&postings), 0);
    assert_true(tide__postings_contains(&postings, handle, 77));
    tide__postings_deinit(&postings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_postings__agree_with_a_set),
        cmocka_unit_test(test_postings__reuse_lists_that_were_emptied),
        cmocka_unit_test(test_postings__cost_nothing_for_one_reference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
