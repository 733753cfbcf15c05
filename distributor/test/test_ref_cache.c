#include "ref_cache_private.h"

#include "tide/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

static struct tide_hash128 key(uint32_t n)
{
    return tide_hash128((struct tide_slice){(const uint8_t *)&n, sizeof(n)}, 7);
}

static bool get(struct tide_ref_cache *cache, struct tide_hash128 k, uint32_t *shard, uint32_t *ref)
{
    bool found;

    tide__ref_cache_begin(cache);
    found = tide__ref_cache_get(cache, k, shard, ref);
    tide__ref_cache_end(cache);
    return found;
}

static void test_ref_cache__keeps_every_entry_while_it_grows(void **state)
{
    struct tide_ref_cache *cache;
    uint32_t shard, ref;

    (void)state;
    assert_int_equal(tide__ref_cache_new(1u << 20, &cache), TIDE_OK);
    for (uint32_t n = 0; n < 50000; n++) {
        assert_false(get(cache, key(n), &shard, &ref));
        tide__ref_cache_put(cache, key(n), n % TIDE_REF_CACHE_SHARDS_MAX, n * 3);
    }
    for (uint32_t n = 0; n < 50000; n++) {
        assert_true(get(cache, key(n), &shard, &ref));
        assert_int_equal(shard, n % TIDE_REF_CACHE_SHARDS_MAX);
        assert_int_equal(ref, n * 3);
    }
    assert_int_equal(tide__ref_cache_count(cache), 50000);
    tide__ref_cache_free(cache);
}

static void test_ref_cache__a_later_put_replaces(void **state)
{
    struct tide_ref_cache *cache;
    uint32_t shard, ref;

    (void)state;
    assert_int_equal(tide__ref_cache_new(100, &cache), TIDE_OK);
    tide__ref_cache_put(cache, key(1), 1, 10);
    tide__ref_cache_put(cache, key(1), 2, 20);
    assert_true(get(cache, key(1), &shard, &ref));
    assert_int_equal(shard, 2);
    assert_int_equal(ref, 20);
    assert_int_equal(tide__ref_cache_count(cache), 1);
    tide__ref_cache_free(cache);
}

static void test_ref_cache__tells_keys_apart_that_share_a_tag(void **state)
{
    const struct tide_hash128 a = {42, 1ULL << 63}, b = {42, 1ULL << 62}, zero = {0, 0},
                              one = {1, 1ULL << 50};
    struct tide_ref_cache *cache;
    uint32_t shard, ref;

    (void)state;
    assert_int_equal(tide__ref_cache_new(100, &cache), TIDE_OK);
    tide__ref_cache_put(cache, a, 1, 10);
    assert_false(get(cache, b, &shard, &ref));
    tide__ref_cache_put(cache, b, 2, 20);
    tide__ref_cache_put(cache, zero, 3, 30);
    assert_false(get(cache, one, &shard, &ref));
    assert_true(get(cache, a, &shard, &ref));
    assert_int_equal(ref, 10);
    assert_true(get(cache, b, &shard, &ref));
    assert_int_equal(ref, 20);
    assert_true(get(cache, zero, &shard, &ref));
    assert_int_equal(ref, 30);
    tide__ref_cache_free(cache);
}

static void test_ref_cache__is_bounded(void **state)
{
    struct tide_ref_cache *cache;
    uint32_t shard, ref;

    (void)state;
    assert_int_equal(tide__ref_cache_new(1000, &cache), TIDE_OK);
    for (uint32_t n = 0; n < 100000; n++) {
        tide__ref_cache_put(cache, key(n), 0, n);
        assert_true(get(cache, key(n), &shard, &ref));
        assert_true(tide__ref_cache_count(cache) <= 1000);
    }
    assert_true(tide__ref_cache_bytes(cache) <= 2048 * 16);
    tide__ref_cache_free(cache);
}

static void test_ref_cache__works_on_without_memory_to_grow(void **state)
{
#ifdef TIDE_TEST_FAULTS
    struct tide_ref_cache *cache;
    uint32_t shard, ref, known = 0;

    assert_int_equal(tide__ref_cache_new(1u << 20, &cache), TIDE_OK);
    for (uint32_t n = 0; n < 3000; n++) {
        tide_test_mem_fail_nth(1);
        tide__ref_cache_put(cache, key(n), 0, n);
        (void)tide_test_mem_fired();
    }
    for (uint32_t n = 0; n < 3000; n++) {
        if (get(cache, key(n), &shard, &ref)) {
            assert_int_equal(ref, n);
            known++;
        }
    }
    assert_int_equal(known, 1023);
    tide__ref_cache_free(cache);
#endif
    (void)state;
}

/* Keys that all begin at the same slot: a miss ends where the next one is put. */
static struct tide_hash128 crowded(uint32_t n)
{
    return (struct tide_hash128){(uint64_t)(n + 1) << 32, (uint64_t)n << 44};
}

struct race {
    struct tide_ref_cache *cache;
    atomic_bool stop;
    atomic_uint inserted;
    atomic_uint wrong;
};

static void *read_main(void *context)
{
    struct race *race = context;
    uint32_t shard, ref;

    while (!atomic_load(&race->stop)) {
        /* Always a little ahead of the inserter: a miss that ends at a slot which is being filled.
         */
        uint32_t from = atomic_load(&race->inserted);

        for (uint32_t n = from; n < from + 3; n++) {
            if (get(race->cache, crowded(n), &shard, &ref) && (ref != n + 1 || shard != n % 4))
                atomic_fetch_add(&race->wrong, 1);
        }
    }
    return NULL;
}

static void test_ref_cache__readers_see_whole_entries_while_it_fills(void **state)
{
    struct race race = {.stop = false};
    pthread_t readers[2];

    (void)state;
    assert_int_equal(tide__ref_cache_new(100, &race.cache), TIDE_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_main, &race), 0);
    for (uint32_t n = 0; n < 1200000; n++) {
        tide__ref_cache_put(race.cache, crowded(n), n % 4, n + 1);
        atomic_store(&race.inserted, n);
    }
    atomic_store(&race.stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&race.wrong), 0);
    tide__ref_cache_free(race.cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref_cache__keeps_every_entry_while_it_grows),
        cmocka_unit_test(test_ref_cache__a_later_put_replaces),
        cmocka_unit_test(test_ref_cache__tells_keys_apart_that_share_a_tag),
        cmocka_unit_test(test_ref_cache__is_bounded),
        cmocka_unit_test(test_ref_cache__works_on_without_memory_to_grow),
        cmocka_unit_test(test_ref_cache__readers_see_whole_entries_while_it_fills),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
