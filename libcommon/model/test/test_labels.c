#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tide/model/labels.h"

#include "support_random.h"

#include "tide/base/mem.h"

static struct tide_labels set_of(const struct tide_label *pairs, size_t count)
{
    return (struct tide_labels){pairs, count};
}

static void test_labels__get_finds_a_value_or_nothing(void **state)
{
    struct tide_label pairs[] = {label_of("__name__", "up"), label_of("job", "a")};
    struct tide_labels labels = set_of(pairs, 2);

    (void)state;
    assert_true(tide_slice_eq(tide_labels_get(labels, TIDE_SLICE("job")), TIDE_SLICE("a")));
    assert_int_equal(tide_labels_get(labels, TIDE_SLICE("jo")).len, 0);
}

static void test_labels__compare_orders_by_pair_then_by_count(void **state)
{
    struct tide_label a[] = {label_of("a", "1"), label_of("b", "1")};
    struct tide_label b[] = {label_of("a", "2")};
    struct tide_label c[] = {label_of("a", "1"), label_of("b", "2")};
    struct tide_label d[] = {label_of("b", "0")};

    (void)state;
    assert_true(tide_labels_cmp(set_of(a, 2), set_of(b, 1)) < 0);
    assert_true(tide_labels_cmp(set_of(a, 2), set_of(a, 1)) > 0);
    assert_true(tide_labels_cmp(set_of(a, 2), set_of(c, 2)) < 0);
    assert_true(tide_labels_cmp(set_of(b, 1), set_of(d, 1)) < 0);
    assert_int_equal(tide_labels_cmp(set_of(a, 2), set_of(a, 2)), 0);
    assert_true(tide_labels_eq(set_of(a, 2), set_of(a, 2)));
    assert_false(tide_labels_eq(set_of(a, 2), set_of(c, 2)));
    assert_false(tide_labels_eq(set_of(a, 2), set_of(a, 1)));
}

static void test_labels__sort_orders_any_list(void **state)
{
    static char names[200][8];
    uint64_t seed = 7;

    (void)state;
    for (size_t round = 0; round < 50; round++) {
        struct tide_label pairs[200];
        size_t count = random_below(&seed, 200) + 1;
        uint64_t sum = 0;

        for (size_t i = 0; i < count; i++) {
            snprintf(names[i], sizeof(names[i]), "%zu", random_below(&seed, 300));
            pairs[i] = label_of(names[i], names[i]);
            sum += (uint64_t)(uintptr_t)pairs[i].value.ptr;
        }
        tide_labels_sort(pairs, count);
        for (size_t i = 0; i < count; i++) {
            assert_true(i == 0 || tide_slice_cmp(pairs[i - 1].name, pairs[i].name) <= 0);
            assert_ptr_equal(pairs[i].name.ptr, pairs[i].value.ptr); /* Pairs stay together. */
            sum -= (uint64_t)(uintptr_t)pairs[i].value.ptr;
        }
        assert_int_equal(sum, 0); /* None is lost or doubled. */
    }
}

static void test_labels__identity_depends_on_every_part(void **state)
{
    struct tide_label a[] = {label_of("a", "bc"), label_of("d", "e")};
    struct tide_label moved[] = {label_of("ab", "c"), label_of("d", "e")};
    struct tide_label less[] = {label_of("a", "bc")};
    struct tide_slice tenant = TIDE_SLICE("t");
    struct tide_hash128 id = tide_labels_identity(tenant, set_of(a, 2), 1);

    (void)state;
    assert_true(tide_hash128_eq(id, tide_labels_identity(tenant, set_of(a, 2), 1)));
    assert_false(tide_hash128_eq(id, tide_labels_identity(tenant, set_of(moved, 2), 1)));
    assert_false(tide_hash128_eq(id, tide_labels_identity(tenant, set_of(less, 1), 1)));
    assert_false(tide_hash128_eq(id, tide_labels_identity(TIDE_SLICE("u"), set_of(a, 2), 1)));
    assert_false(tide_hash128_eq(id, tide_labels_identity(tenant, set_of(a, 2), 2)));
}

static void test_labels__identity_reads_every_byte_of_a_long_set(void **state)
{
    static uint8_t value[9000];
    struct tide_label pair = {TIDE_SLICE("a"), {value, 0}};
    uint64_t seed = 3;

    (void)state;
    for (size_t i = 0; i < sizeof(value); i++)
        value[i] = (uint8_t)random_next(&seed);
    /* Around the block size and its multiples; each length and each changed byte differs. */
    for (size_t len = 2000; len < 2100; len++) {
        struct tide_hash128 id;
        size_t at = random_below(&seed, len);

        pair.value.len = len;
        id = tide_labels_identity(TIDE_SLICE("t"), set_of(&pair, 1), 1);
        value[at] ^= 1;
        assert_false(
            tide_hash128_eq(id, tide_labels_identity(TIDE_SLICE("t"), set_of(&pair, 1), 1)));
        value[at] ^= 1;
        pair.value.len = len + 1;
        assert_false(
            tide_hash128_eq(id, tide_labels_identity(TIDE_SLICE("t"), set_of(&pair, 1), 1)));
    }
    pair.value.len = sizeof(value);
    for (size_t at = 0; at < sizeof(value); at += 97) {
        struct tide_hash128 id = tide_labels_identity(TIDE_SLICE("t"), set_of(&pair, 1), 1);

        value[at] ^= 0x80;
        assert_false(
            tide_hash128_eq(id, tide_labels_identity(TIDE_SLICE("t"), set_of(&pair, 1), 1)));
    }
}

static void check_shards(uint32_t count)
{
    uint32_t seen[64] = {0};
    uint64_t seed = 5;

    for (int i = 0; i < 10000; i++) {
        struct tide_hash128 id = {random_next(&seed), 0};

        assert_true(tide_shard_of(id, count) < count);
        seen[tide_shard_of(id, count)]++;
    }
    for (uint32_t i = 0; i < count; i++)
        assert_true(seen[i] > 10000 / count / 2);
}

static void test_labels__shards_are_even(void **state)
{
    (void)state;
    check_shards(1);
    check_shards(4);
    check_shards(7);
    check_shards(64);
}

static void check_print(const char *expected, const struct tide_label *pairs, size_t count)
{
    struct tide_buf out = {0};

    tide_labels_print(set_of(pairs, count), &out);
    assert_string_equal(text_of(&out), expected);
    tide_buf_deinit(&out);
}

static void test_labels__print_as_promql(void **state)
{
    struct tide_label plain[] = {label_of("__name__", "http:up"), label_of("a", "b"),
                                 label_of("c", "d")};
    struct tide_label odd[] = {label_of("__name__", "a b"), label_of("x.y", "z")};
    struct tide_label escaped[] = {label_of("a", "\"\\\n\t\x01\x7f\xc2\x85\xc3\xa9\xff\xe2\x82")};

    (void)state;
    check_print("http:up{a=\"b\", c=\"d\"}", plain, 3);
    check_print("http:up", plain, 1);
    check_print("{a=\"b\", c=\"d\"}", plain + 1, 2);
    check_print("{}", plain, 0);
    check_print("{\"a b\", \"x.y\"=\"z\"}", odd, 2);
    check_print("{a=\"\\\"\\\\\\n\\t\\x01\\x7f\\u0085\xc3\xa9\\xff\\xe2\\x82\"}", escaped, 1);
}

static void test_labels__pack_and_unpack_are_inverse(void **state)
{
    struct tide_label pairs[] = {label_of("__name__", "up"), label_of("job", "a"),
                                 label_of("zone", "\x01\xff")};
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_buf packed = {0};
    struct tide_labels out;
    struct tide_labels copy;

    (void)state;
    for (size_t count = 0; count <= 3; count++) {
        struct tide_reader r;

        packed.len = 0;
        tide_labels_pack(set_of(pairs, count), &packed);
        tide_buf_byte(&packed, 0x55); /* What follows is left alone. */
        r = tide_reader(tide_buf_view(&packed));
        assert_int_equal(tide_labels_unpack(&r, arena, &out), TIDE_OK);
        assert_true(tide_labels_eq(out, set_of(pairs, count)));
        assert_int_equal(r.rest.len, 1);
        assert_int_equal(tide_labels_copy(arena, out, &copy), TIDE_OK);
        memset(packed.ptr, 0, packed.len); /* The copy borrows nothing. */
        assert_true(tide_labels_eq(copy, set_of(pairs, count)));
    }
    tide_buf_deinit(&packed);
    tide_arena_free(arena);
}

static void check_corrupt(const char *bytes, size_t len)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_slice s = {(const uint8_t *)bytes, len};
    struct tide_reader r = tide_reader(s);
    struct tide_labels out;

    assert_int_equal(tide_labels_unpack(&r, arena, &out), TIDE_ERR_CORRUPT);
    assert_ptr_equal(r.rest.ptr, bytes);
    tide_arena_free(arena);
}

#define CHECK_CORRUPT(literal) check_corrupt(literal, sizeof(literal) - 1)

static void test_labels__unpack_refuses_what_pack_cannot_make(void **state)
{
    (void)state;
    CHECK_CORRUPT("");
    CHECK_CORRUPT("\x01");
    CHECK_CORRUPT("\x01\x01"
                  "a\x02"
                  "b");
    CHECK_CORRUPT("\x01\x00\x01" /* Empty name. */
                  "b");
    CHECK_CORRUPT("\x01\x01" /* Empty value. */
                  "a\x00");
    CHECK_CORRUPT("\x02\x01" /* Repeated. */
                  "a\x01"
                  "b\x01"
                  "a\x01"
                  "b");
    CHECK_CORRUPT("\x02\x01" /* Unsorted. */
                  "b\x01"
                  "b\x01"
                  "a\x01"
                  "b");
    CHECK_CORRUPT("\xff\xff\xff\xff\x0f\x01" /* A count that the bytes cannot hold. */
                  "a\x01"
                  "b");
}

static void test_labels__survive_each_failed_allocation(void **state)
{
    struct tide_label pairs[] = {label_of("__name__", "up"), label_of("job", "a")};
    struct tide_buf packed = {0};

    (void)state;
    tide_labels_pack(set_of(pairs, 2), &packed);
    for (int nth = 1;; nth++) {
        struct tide_arena *arena = tide_arena_new(0);
        struct tide_reader r = tide_reader(tide_buf_view(&packed));
        struct tide_labels out;
        enum tide_err err;

        tide_test_mem_fail_nth(nth);
        err = tide_labels_unpack(&r, arena, &out);
        if (err == TIDE_OK)
            err = tide_labels_copy(arena, out, &out);
        tide_arena_free(arena);
        if (!tide_test_mem_fired()) {
            assert_int_equal(err, TIDE_OK);
            break;
        }
        assert_int_equal(err, TIDE_ERR_NO_MEMORY);
    }
    tide_test_mem_fail_nth(0);
    tide_buf_deinit(&packed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels__get_finds_a_value_or_nothing),
        cmocka_unit_test(test_labels__compare_orders_by_pair_then_by_count),
        cmocka_unit_test(test_labels__sort_orders_any_list),
        cmocka_unit_test(test_labels__identity_depends_on_every_part),
        cmocka_unit_test(test_labels__identity_reads_every_byte_of_a_long_set),
        cmocka_unit_test(test_labels__shards_are_even),
        cmocka_unit_test(test_labels__print_as_promql),
        cmocka_unit_test(test_labels__pack_and_unpack_are_inverse),
        cmocka_unit_test(test_labels__unpack_refuses_what_pack_cannot_make),
        cmocka_unit_test(test_labels__survive_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
