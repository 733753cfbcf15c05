/* The segmented hash table against a plain array. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_series.h"
#include "table_private.h"

static bool has(const struct tide__table *table, uint32_t fingerprint, uint32_t id)
{
    struct tide__table_probe probe = tide__table_probe(table, fingerprint);
    uint32_t found;

    while ((found = tide__table_next(&probe)) != TIDE__TABLE_NONE)
        if (found == id)
            return true;
    return false;
}

static void run(uint64_t seed, uint32_t fingerprint_mask, uint32_t ids)
{
    struct tide__table table = {.count = 0};
    uint32_t *fingerprints = tide_mem_array(ids, sizeof(*fingerprints));
    uint8_t *there = tide_mem_new(ids);
    uint32_t count = 0;

    for (uint32_t i = 0; i < ids; i++)
        fingerprints[i] = (uint32_t)support_random(&seed) & fingerprint_mask;
    for (uint32_t step = 0; step < 3 * ids; step++) {
        uint32_t id = support_below(&seed, ids);

        assert_int_equal(has(&table, fingerprints[id], id), there[id]);
        if (there[id] && step % 3 == 0) {
            tide__table_remove(&table, fingerprints[id], id);
            there[id] = 0;
            count--;
        } else if (!there[id]) {
            assert_int_equal(tide__table_reserve(&table, fingerprints[id]), TIDE_OK);
            tide__table_insert(&table, fingerprints[id], id);
            there[id] = 1;
            count++;
        }
        assert_int_equal(table.count, count);
    }
    for (uint32_t i = 0; i < ids; i++)
        assert_int_equal(has(&table, fingerprints[i], i), there[i]);
    /* The promise of the memory figure: at least about half full, since it only ever grew here. */
    if (fingerprint_mask == UINT32_MAX)
        assert_true(tide__table_bytes(&table) < (uint64_t)count * 20);
    tide__table_deinit(&table);
    tide_mem_free(fingerprints);
    tide_mem_free(there);
}

static void test_table__agrees_with_an_array(void **state)
{
    (void)state;
    run(1, UINT32_MAX, 60000);
}

static void test_table__survives_fingerprints_that_share_their_leading_bits(void **state)
{
    (void)state;
    run(2, 0x000fffff, 4000);
}

static void test_table__survives_each_failed_allocation(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct tide__table table = {.count = 0};
        uint64_t seed = 3;
        uint32_t id = 0;
        enum tide_err err = TIDE_OK;

        tide_test_mem_fail_nth(nth);
        for (; id < 8000 && err == TIDE_OK; id++) {
            uint32_t fingerprint = (uint32_t)support_random(&seed);

            err = tide__table_reserve(&table, fingerprint);
            if (err == TIDE_OK)
                tide__table_insert(&table, fingerprint, id);
        }
        if (!tide_test_mem_fired()) {
            tide__table_deinit(&table);
            break;
        }
        assert_int_equal(err, TIDE_ERR_NO_MEMORY);
        seed = 3; /* What went in before the failure is still there. */
        for (uint32_t i = 0; i + 1 < id; i++)
            assert_true(has(&table, (uint32_t)support_random(&seed), i));
        tide__table_deinit(&table);
    }
    assert_int_equal(tide_test_mem_live(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table__agrees_with_an_array),
        cmocka_unit_test(test_table__survives_fingerprints_that_share_their_leading_bits),
        cmocka_unit_test(test_table__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
