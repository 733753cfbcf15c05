#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "tide/base/mem.h"
#include "tide/base/slice.h"

static uint64_t seed = 20240229;

static uint64_t next_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void test_slice__orders_bytewise_with_prefixes_first(void **state)
{
    (void)state;
    assert_int_equal(tide_slice_cmp(TIDE_SLICE(""), TIDE_SLICE("")), 0);
    assert_true(tide_slice_cmp(TIDE_SLICE("a"), TIDE_SLICE("ab")) < 0);
    assert_true(tide_slice_cmp(TIDE_SLICE("b"), TIDE_SLICE("ab")) > 0);
    assert_true(tide_slice_cmp(TIDE_SLICE("\xff"), TIDE_SLICE("a")) > 0);
    assert_true(tide_slice_eq((struct tide_slice){NULL, 0}, TIDE_SLICE("")));
    assert_false(tide_slice_eq(TIDE_SLICE("a\0b"), TIDE_SLICE("a\0c")));
}

static void test_slice__finds_starts_and_ends(void **state)
{
    struct tide_slice text = TIDE_SLICE("abcabd");

    (void)state;
    assert_int_equal(tide_slice_find(text, TIDE_SLICE("abd")), 3);
    assert_int_equal(tide_slice_find(text, TIDE_SLICE("")), 0);
    assert_int_equal(tide_slice_find(text, TIDE_SLICE("abe")), SIZE_MAX);
    assert_int_equal(tide_slice_find(text, TIDE_SLICE("abcabde")), SIZE_MAX);
    assert_int_equal(tide_slice_find((struct tide_slice){NULL, 0}, TIDE_SLICE("a")), SIZE_MAX);
    assert_true(tide_slice_starts(text, TIDE_SLICE("abc")));
    assert_false(tide_slice_starts(TIDE_SLICE("ab"), TIDE_SLICE("abc")));
    assert_true(tide_slice_ends(text, TIDE_SLICE("abd")));
    assert_false(tide_slice_ends(text, TIDE_SLICE("abc")));
}

/* Encodes any number below 2^21 by the plain scheme, surrogates and all, for the test below. */
static size_t encode(uint32_t c, size_t len, uint8_t *out)
{
    static const uint8_t marks[] = {0, 0, 0xc0, 0xe0, 0xf0};

    if (len == 1) {
        out[0] = (uint8_t)c;
        return 1;
    }
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (uint8_t)(marks[len] | c);
    return len;
}

static void test_utf8__accepts_exactly_the_scalar_values_in_shortest_form(void **state)
{
    uint8_t bytes[4];

    (void)state;
    for (uint32_t c = 0; c < 0x1fffff; c += c < 0x12000 ? 1 : 37) {
        size_t shortest = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
        bool scalar = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);

        for (size_t len = shortest; len <= 4; len++) {
            struct tide_slice s = {bytes, encode(c, len, bytes)};

            if (tide_slice_is_utf8(s) != (scalar && len == shortest))
                fail_msg("U+%04X in %zu bytes", (unsigned)c, len);
            for (size_t cut = 1; cut < len; cut++)
                assert_false(tide_slice_is_utf8((struct tide_slice){bytes, cut}));
        }
    }
    assert_true(tide_slice_is_utf8((struct tide_slice){NULL, 0}));
    assert_false(tide_slice_is_utf8(TIDE_SLICE("\x80")));
    assert_false(tide_slice_is_utf8(TIDE_SLICE("abcdefgh\xff")));
    assert_false(tide_slice_is_utf8(TIDE_SLICE("abcdefg\xc3(ijklmnop")));
    assert_true(tide_slice_is_utf8(TIDE_SLICE("abcdefg\xc3\xa9ijklmnop\0q")));
}

/* ---- Buffer and reader ---- */

static void test_buf__reader_reads_what_was_written(void **state)
{
    (void)state;
    for (int round = 0; round < 200; round++) {
        struct tide_buf buf = {0};
        uint64_t values[40];
        struct tide_reader r;

        for (int i = 0; i < 40; i++) {
            values[i] = next_random() >> (next_random() % 64);
            if (i == 7)
                values[i] = UINT64_MAX;
            switch (i % 5) {
            case 0:
                tide_buf_uvarint(&buf, values[i]);
                break;
            case 1:
                tide_buf_varint(&buf, (int64_t)values[i]);
                break;
            case 2:
                tide_buf_u32(&buf, (uint32_t)values[i]);
                break;
            case 3:
                tide_buf_u64(&buf, values[i]);
                break;
            default:
                tide_buf_bytes(&buf, (struct tide_slice){(uint8_t *)values, values[i] % 300});
                break;
            }
        }
        assert_int_equal(tide_buf_ok(&buf), TIDE_OK);
        r = tide_reader(tide_buf_view(&buf));
        for (int i = 0; i < 40; i++) {
            uint64_t u64 = 0;
            uint32_t u32 = 0;
            int64_t i64 = 0;
            struct tide_slice s = {NULL, 0};

            switch (i % 5) {
            case 0:
                assert_int_equal(tide_reader_uvarint(&r, &u64), TIDE_OK);
                assert_true(u64 == values[i]);
                break;
            case 1:
                assert_int_equal(tide_reader_varint(&r, &i64), TIDE_OK);
                assert_true(i64 == (int64_t)values[i]);
                break;
            case 2:
                assert_int_equal(tide_reader_u32(&r, &u32), TIDE_OK);
                assert_true(u32 == (uint32_t)values[i]);
                break;
            case 3:
                assert_int_equal(tide_reader_u64(&r, &u64), TIDE_OK);
                assert_true(u64 == values[i]);
                break;
            default:
                assert_int_equal(tide_reader_bytes(&r, &s), TIDE_OK);
                assert_int_equal(s.len, values[i] % 300);
                break;
            }
        }
        assert_int_equal(r.rest.len, 0);
        tide_buf_deinit(&buf);
    }
}

static void test_reader__leaves_all_untouched_when_bytes_are_short(void **state)
{
    static const uint8_t endless[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t over[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'a'};
    struct tide_reader r;
    struct tide_slice s = {endless, 77};
    uint64_t u64 = 77;
    uint32_t u32 = 77;
    uint8_t u8 = 77;
    int64_t i64 = 77;
    size_t count = 77;

    (void)state;
    r = tide_reader((struct tide_slice){NULL, 0});
    assert_int_equal(tide_reader_u8(&r, &u8), TIDE_ERR_CORRUPT);
    assert_int_equal(tide_reader_uvarint(&r, &u64), TIDE_ERR_CORRUPT);
    assert_int_equal(tide_reader_bytes(&r, &s), TIDE_ERR_CORRUPT);
    r = tide_reader((struct tide_slice){endless, 3});
    assert_int_equal(tide_reader_u32(&r, &u32), TIDE_ERR_CORRUPT);
    r = tide_reader((struct tide_slice){endless, 7});
    assert_int_equal(tide_reader_u64(&r, &u64), TIDE_ERR_CORRUPT);
    r = tide_reader((struct tide_slice){endless, sizeof(endless)});
    assert_int_equal(tide_reader_uvarint(&r, &u64), TIDE_ERR_CORRUPT);
    r = tide_reader((struct tide_slice){over, sizeof(over)});
    assert_int_equal(tide_reader_varint(&r, &i64), TIDE_ERR_CORRUPT);
    /* A length near 2^64 must not wrap around. */
    r = tide_reader((struct tide_slice){huge, sizeof(huge)});
    assert_int_equal(tide_reader_bytes(&r, &s), TIDE_ERR_CORRUPT);
    assert_ptr_equal(r.rest.ptr, huge);
    assert_int_equal(tide_reader_count(&r, 16, &count), TIDE_ERR_CORRUPT);
    assert_ptr_equal(r.rest.ptr, huge);
    assert_int_equal(r.rest.len, sizeof(huge));
    assert_true(u8 == 77 && u32 == 77 && u64 == 77 && i64 == 77 && count == 77);
    assert_int_equal(s.len, 77);
}

static void test_reader_count__fits_the_rest(void **state)
{
    static const uint8_t bytes[] = {3, 1, 2, 3, 4, 5, 6};
    struct tide_reader r = tide_reader((struct tide_slice){bytes, sizeof(bytes)});
    size_t count = 0;

    (void)state;
    assert_int_equal(tide_reader_count(&r, 3, &count), TIDE_ERR_CORRUPT);
    assert_int_equal(tide_reader_count(&r, 2, &count), TIDE_OK);
    assert_int_equal(count, 3);
    assert_int_equal(r.rest.len, 6);
}

static void test_buf__printf_grows_as_needed(void **state)
{
    struct tide_buf buf = {0};
    char text[1001];

    (void)state;
    memset(text, 'x', 1000);
    text[1000] = '\0';
    tide_buf_printf(&buf, "%d", 42);
    tide_buf_printf(&buf, "<%s>", text);
    assert_int_equal(buf.len, 1004);
    assert_memory_equal(buf.ptr, "42<x", 4);
    assert_memory_equal(buf.ptr + 1001, "xx>", 3);
    tide_buf_deinit(&buf);
    tide_buf_str(&buf, "again");
    assert_true(tide_slice_eq(tide_buf_view(&buf), TIDE_SLICE("again")));
    tide_buf_deinit(&buf);
}

static void test_buf__an_impossible_size_fails(void **state)
{
    struct tide_buf buf = {0};

    (void)state;
    tide_buf_str(&buf, "abc");
    assert_null(tide_buf_reserve(&buf, SIZE_MAX - 1));
    assert_int_equal(tide_buf_ok(&buf), TIDE_ERR_NO_MEMORY);
    tide_buf_deinit(&buf);
}

#ifdef TIDE_TEST_FAULTS
static void test_buf__keeps_what_stood_before_a_failed_append(void **state)
{
    struct tide_buf buf = {0};

    (void)state;
    tide_buf_str(&buf, "first");
    tide_test_mem_fail_nth(1);
    for (int i = 0; i < 100; i++)
        tide_buf_str(&buf, "0123456789");
    assert_true(tide_test_mem_fired());
    assert_int_equal(tide_buf_ok(&buf), TIDE_ERR_NO_MEMORY);
    assert_int_equal(buf.len, 55); /* What fitted into the first 64 bytes, and nothing after. */
    tide_buf_uvarint(&buf, 1);
    tide_buf_byte(&buf, 1);
    tide_buf_printf(&buf, "x");
    assert_int_equal(buf.len, 55);
    tide_buf_deinit(&buf);
    assert_int_equal(tide_test_mem_live(), 0);
}
#endif

/* ---- Arena ---- */

static void test_arena__memory_is_apart_aligned_and_stays(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);

    (void)state;
    for (int round = 0; round < 3; round++) {
        struct {
            uint8_t *ptr;
            size_t len;
            uint8_t fill;
        } kept[500];

        for (int i = 0; i < 500; i++) {
            kept[i].len = next_random() % (i % 50 == 0 ? 200000 : 700);
            kept[i].fill = (uint8_t)next_random();
            kept[i].ptr = tide_arena_alloc(arena, kept[i].len);
            assert_non_null(kept[i].ptr);
            assert_int_equal((uintptr_t)kept[i].ptr % 16, 0);
            if (kept[i].len > 0)
                memset(kept[i].ptr, kept[i].fill, kept[i].len);
        }
        for (int i = 0; i < 500; i++)
            for (size_t at = 0; at < kept[i].len; at += 61)
                assert_int_equal(kept[i].ptr[at], kept[i].fill);
        tide_arena_reset(arena);
        assert_true(tide_arena_bytes(arena) <= 65536);
    }
    tide_arena_free(arena);
    tide_arena_free(NULL);
    assert_int_equal(tide_test_mem_live(), 0);
}

static void test_arena__never_holds_more_than_its_bound(void **state)
{
    struct tide_arena *arena = tide_arena_new(100000);
    size_t total = 0;

    (void)state;
    assert_null(tide_arena_alloc(arena, 100001));
    assert_null(tide_arena_alloc(arena, SIZE_MAX));
    assert_null(tide_arena_alloc(arena, SIZE_MAX - 40));
    assert_null(tide_arena_new_array(arena, SIZE_MAX / 4, 8));
    while (tide_arena_alloc(arena, 100) != NULL) {
        total += 112;
        assert_true(tide_arena_bytes(arena) <= 100000);
    }
    assert_true(total > 95000);
    tide_arena_reset(arena);
    assert_non_null(tide_arena_alloc(arena, 60000));
    tide_arena_free(arena);
}

static void test_arena__copies_prints_and_zeroes(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_slice copy = tide_arena_copy(arena, TIDE_SLICE("abc"));
    uint64_t *zeros;

    (void)state;
    assert_true(tide_slice_eq(copy, TIDE_SLICE("abc")));
    assert_int_equal(tide_arena_copy(arena, TIDE_SLICE("")).len, 0);
    assert_string_equal(tide_arena_printf(arena, "%s=%d", "x", 7), "x=7");
    memset(tide_arena_alloc(arena, 1000), 0xff, 1000);
    tide_arena_reset(arena);
    zeros = tide_arena_new_array(arena, 100, 8);
    for (int i = 0; i < 100; i++)
        assert_true(zeros[i] == 0);
    tide_arena_free(arena);
}

#ifdef TIDE_TEST_FAULTS
static void test_arena__survives_each_failed_allocation(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct tide_arena *arena;

        tide_test_mem_fail_nth(nth);
        arena = tide_arena_new(0);
        if (arena != NULL) {
            int missing = 0;

            for (int i = 0; i < 5; i++)
                missing += tide_arena_alloc(arena, 40000) == NULL;
            assert_true(missing <= 1);
            tide_arena_free(arena);
        }
        assert_int_equal(tide_test_mem_live(), 0);
        if (!tide_test_mem_fired())
            break;
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slice__orders_bytewise_with_prefixes_first),
        cmocka_unit_test(test_slice__finds_starts_and_ends),
        cmocka_unit_test(test_utf8__accepts_exactly_the_scalar_values_in_shortest_form),
        cmocka_unit_test(test_buf__reader_reads_what_was_written),
        cmocka_unit_test(test_reader__leaves_all_untouched_when_bytes_are_short),
        cmocka_unit_test(test_reader_count__fits_the_rest),
        cmocka_unit_test(test_buf__printf_grows_as_needed),
        cmocka_unit_test(test_buf__an_impossible_size_fails),
        cmocka_unit_test(test_arena__memory_is_apart_aligned_and_stays),
        cmocka_unit_test(test_arena__never_holds_more_than_its_bound),
        cmocka_unit_test(test_arena__copies_prints_and_zeroes),
#ifdef TIDE_TEST_FAULTS
        cmocka_unit_test(test_buf__keeps_what_stood_before_a_failed_append),
        cmocka_unit_test(test_arena__survives_each_failed_allocation),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
