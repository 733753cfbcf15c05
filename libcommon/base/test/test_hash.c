#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/base/hash.h"

#include "crc32c_private.h"

static void test_hash__is_xxh3(void **state)
{
    struct tide_hash128 a = tide_hash128(TIDE_SLICE(""), 0);

    (void)state;
    /* Known values of the xxHash 0.8 specification's empty input, and of "abc" by xxhsum -H3. */
    assert_true(tide_hash64(TIDE_SLICE(""), 0) == 0x2d06800538d394c2U);
    assert_true(a.hi == 0x99aa06d3014798d8U);
    assert_true(a.lo == 0x6001c324468d497fU);
    assert_true(tide_hash64(TIDE_SLICE("abc"), 0) == 0x78af5f94892f3950U);
    assert_false(tide_hash64(TIDE_SLICE("abc"), 1) == tide_hash64(TIDE_SLICE("abc"), 0));
    assert_true(tide_hash128_eq(a, tide_hash128(TIDE_SLICE(""), 0)));
    assert_false(tide_hash128_eq(a, tide_hash128(TIDE_SLICE(""), 1)));
}

static void test_crc32c__gives_the_values_of_rfc_3720(void **state)
{
    uint8_t bytes[32];

    (void)state;
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(tide_crc32c(0, (struct tide_slice){bytes, 32}), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(tide_crc32c(0, (struct tide_slice){bytes, 32}), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    assert_int_equal(tide_crc32c(0, (struct tide_slice){bytes, 32}), 0x46dd794e);
    assert_int_equal(tide_crc32c(0, TIDE_SLICE("123456789")), 0xe3069283);
    assert_int_equal(tide__crc32c_portable(0, TIDE_SLICE("123456789")), 0xe3069283);
    assert_int_equal(tide_crc32c(77, (struct tide_slice){NULL, 0}), 77);
}

/* Sizes around every switch between lanes, at every alignment, whole and in two parts. */
static void test_crc32c__hardware_and_tables_agree(void **state)
{
    static uint8_t bytes[20000];
    uint32_t random = 12345;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        random = random * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(random >> 24);
    }
    for (size_t len = 0; len < 9000; len += len < 1000 ? 1 : 97) {
        struct tide_slice s = {bytes + len % 8, len};
        size_t cut = len / 3;
        uint32_t expected = tide__crc32c_portable(0, s);

        assert_int_equal(tide_crc32c(0, s), expected);
        assert_int_equal(tide_crc32c(tide_crc32c(0, (struct tide_slice){s.ptr, cut}),
                                     (struct tide_slice){s.ptr + cut, len - cut}),
                         expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash__is_xxh3),
        cmocka_unit_test(test_crc32c__gives_the_values_of_rfc_3720),
        cmocka_unit_test(test_crc32c__hardware_and_tables_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
