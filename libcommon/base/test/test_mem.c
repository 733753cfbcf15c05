#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tide/base/mem.h"

static void test_mem__refuses_a_product_that_overflows(void **state)
{
    (void)state;
    assert_null(tide_mem_array(SIZE_MAX / 2, 3));
}

static void test_mem__answers_memory_for_no_bytes(void **state)
{
    void *a = tide_mem_alloc(0);
    void *b = tide_mem_array(0, 8);

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    b = tide_mem_realloc(b, 0);
    assert_non_null(b);
    tide_mem_free(a);
    tide_mem_free(b);
    tide_mem_free(NULL);
    assert_int_equal(tide_test_mem_live(), 0);
}

static void test_mem__new_memory_is_zero(void **state)
{
    static const uint8_t zeros[4096];
    uint8_t *memory;

    (void)state;
    memory = tide_mem_alloc(sizeof(zeros));
    memset(memory, 0xa5, sizeof(zeros));
    tide_mem_free(memory);
    memory = tide_mem_new(sizeof(zeros));
    assert_memory_equal(memory, zeros, sizeof(zeros));
    tide_mem_free(memory);
}

static void test_mem_grow__keeps_items_and_capacity_rules(void **state)
{
    uint32_t *items = NULL;
    size_t capacity = 0;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(tide_mem_grow((void **)&items, &capacity, i + 1, sizeof(*items)), TIDE_OK);
        assert_true(capacity > i);
        items[i] = i * 3;
    }
    for (uint32_t i = 0; i < 1000; i++)
        assert_int_equal(items[i], i * 3);
    assert_int_equal(capacity, 1024);
    assert_int_equal(tide_mem_grow((void **)&items, &capacity, SIZE_MAX / 2, sizeof(*items)),
                     TIDE_ERR_NO_MEMORY);
    assert_int_equal(capacity, 1024);
    assert_int_equal(items[999], 2997);
    tide_mem_free(items);
}

#ifdef TIDE_TEST_FAULTS
static void test_mem__fails_the_nth_allocation_only(void **state)
{
    void *memory[4];

    (void)state;
    tide_test_mem_fail_nth(3);
    for (int i = 0; i < 4; i++)
        memory[i] = tide_mem_alloc(8);
    assert_true(tide_test_mem_fired());
    assert_false(tide_test_mem_fired());
    for (int i = 0; i < 4; i++)
        assert_true((memory[i] == NULL) == (i == 2));
    assert_int_equal(tide_test_mem_live(), 3);
    for (int i = 0; i < 4; i++)
        tide_mem_free(memory[i]);
    tide_test_mem_fail_nth(2);
    tide_mem_free(tide_mem_alloc(1));
    assert_false(tide_test_mem_fired()); /* And is off now. */
    tide_mem_free(tide_mem_alloc(1));
    assert_int_equal(tide_test_mem_live(), 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mem__answers_memory_for_no_bytes),
        cmocka_unit_test(test_mem__new_memory_is_zero),
        cmocka_unit_test(test_mem_grow__keeps_items_and_capacity_rules),
        cmocka_unit_test(test_mem__refuses_a_product_that_overflows),
#ifdef TIDE_TEST_FAULTS
        cmocka_unit_test(test_mem__fails_the_nth_allocation_only),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
