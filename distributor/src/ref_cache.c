#include "ref_cache_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#include <pthread.h>
#include <stdatomic.h>

#define SLOTS_MIN 1024u

/* tag 0 is an empty slot; else it is the high half of the key, which also chooses the slot. packed:
 * 20 bits of the low half, 12 of the shard, 32 of the reference. A slot is written packed first,
 * then tag with release, and never given to another key, so a reader that sees the tag sees a
 * packed word of that same key. */
struct slot {
    atomic_uint_fast64_t tag;
    atomic_uint_fast64_t packed;
};

struct tide_ref_cache {
    pthread_rwlock_t table_lock; /* Read: slots may be probed. Write: the table is replaced. */
    struct slot *slots;
    size_t mask;

    pthread_mutex_t insert_lock; /* Taken before table_lock. One inserter at a time. */
    size_t count;
    size_t count_max;
};

static uint64_t tag_of(struct tide_hash128 key)
{
    return key.hi != 0 ? key.hi : 1;
}

/* The 20 bits of the low half that a slot keeps. */
#define CHECK_MASK (UINT64_MAX << 44)

enum tide_err tide__ref_cache_new(uint32_t series_max, struct tide_ref_cache **out)
{
    struct tide_ref_cache *cache = tide_mem_new(sizeof(*cache));

    if (cache == NULL)
        return TIDE_ERR_NO_MEMORY;
    cache->slots = tide_mem_array(SLOTS_MIN, sizeof(*cache->slots));
    if (cache->slots == NULL) {
        tide_mem_free(cache);
        return TIDE_ERR_NO_MEMORY;
    }
    cache->mask = SLOTS_MIN - 1;
    cache->count_max = series_max;
    pthread_rwlock_init(&cache->table_lock, NULL);
    pthread_mutex_init(&cache->insert_lock, NULL);
    *out = cache;
    return TIDE_OK;
}

void tide__ref_cache_free(struct tide_ref_cache *cache)
{
    if (cache == NULL)
        return;
    pthread_mutex_destroy(&cache->insert_lock);
    pthread_rwlock_destroy(&cache->table_lock);
    tide_mem_free(cache->slots);
    tide_mem_free(cache);
}

void tide__ref_cache_begin(struct tide_ref_cache *cache)
{
    pthread_rwlock_rdlock(&cache->table_lock);
}

void tide__ref_cache_end(struct tide_ref_cache *cache)
{
    pthread_rwlock_unlock(&cache->table_lock);
}

/* The slot of the key, and *packed what it held when its tag was seen; or the empty slot where the
 * key would go, and false. That slot may be another key's a moment later, so whoever reads must not
 * look at it again. The table is never full. */
static bool find(struct slot *slots, size_t mask, struct tide_hash128 key, struct slot **slot,
                 uint64_t *packed)
{
    const uint64_t tag = tag_of(key);

    for (size_t i = (size_t)tag & mask;; i = (i + 1) & mask) {
        /* Acquire pairs with the release in put(): packed belongs to the tag that was seen. */
        uint64_t seen = atomic_load_explicit(&slots[i].tag, memory_order_acquire);

        *slot = &slots[i];
        if (seen == 0)
            return false;
        if (seen != tag)
            continue;
        *packed = atomic_load_explicit(&slots[i].packed, memory_order_relaxed);
        if (((*packed ^ key.lo) & CHECK_MASK) == 0)
            return true;
    }
}

bool tide__ref_cache_get(const struct tide_ref_cache *cache, struct tide_hash128 key,
                         uint32_t *shard, uint32_t *ref)
{
    struct slot *slot;
    uint64_t packed;

    if (!find(cache->slots, cache->mask, key, &slot, &packed))
        return false;
    *shard = (uint32_t)(packed >> 32) & (TIDE_REF_CACHE_SHARDS_MAX - 1);
    *ref = (uint32_t)packed;
    return true;
}

void tide__ref_cache_prefetch(const struct tide_ref_cache *cache, struct tide_hash128 key)
{
    __builtin_prefetch(&cache->slots[(size_t)tag_of(key) & cache->mask]);
}

/* Doubles the table, or empties it when it holds all it may. Without memory the table stays as it
 * is. */
static void grow_locked(struct tide_ref_cache *cache)
{
    const bool full = cache->count >= cache->count_max;
    const size_t slot_count = full ? SLOTS_MIN : (cache->mask + 1) * 2;
    struct slot *slots = tide_mem_array(slot_count, sizeof(*slots));
    struct slot *old;

    if (slots == NULL)
        return;
    for (size_t i = 0; !full && i <= cache->mask; i++) {
        uint64_t tag = atomic_load_explicit(&cache->slots[i].tag, memory_order_relaxed);
        size_t at = (size_t)tag & (slot_count - 1);

        if (tag == 0)
            continue;
        while (atomic_load_explicit(&slots[at].tag, memory_order_relaxed) != 0)
            at = (at + 1) & (slot_count - 1);
        atomic_store_explicit(&slots[at].packed,
                              atomic_load_explicit(&cache->slots[i].packed, memory_order_relaxed),
                              memory_order_relaxed);
        atomic_store_explicit(&slots[at].tag, tag, memory_order_relaxed);
    }
    pthread_rwlock_wrlock(&cache->table_lock);
    old = cache->slots;
    cache->slots = slots;
    cache->mask = slot_count - 1;
    pthread_rwlock_unlock(&cache->table_lock);
    tide_mem_free(old);
    if (full)
        cache->count = 0;
}

void tide__ref_cache_put(struct tide_ref_cache *cache, struct tide_hash128 key, uint32_t shard,
                         uint32_t ref)
{
    struct slot *slot;
    uint64_t packed;

    TIDE_ASSERT(shard < TIDE_REF_CACHE_SHARDS_MAX);
    pthread_mutex_lock(&cache->insert_lock);
    if ((cache->count + 1) * 4 > (cache->mask + 1) * 3 || cache->count >= cache->count_max)
        grow_locked(cache);
    /* Without memory to grow, the table fills to all but one slot, which ends every probe. */
    if (cache->count < cache->mask) {
        if (!find(cache->slots, cache->mask, key, &slot, &packed))
            cache->count++;
        atomic_store_explicit(&slot->packed, (key.lo & CHECK_MASK) | ((uint64_t)shard << 32) | ref,
                              memory_order_relaxed);
        /* Release: whoever sees the tag sees the packed word of the same key. */
        atomic_store_explicit(&slot->tag, tag_of(key), memory_order_release);
    }
    pthread_mutex_unlock(&cache->insert_lock);
}

size_t tide__ref_cache_bytes(struct tide_ref_cache *cache)
{
    size_t bytes;

    pthread_mutex_lock(&cache->insert_lock);
    bytes = (cache->mask + 1) * sizeof(*cache->slots);
    pthread_mutex_unlock(&cache->insert_lock);
    return bytes;
}

size_t tide__ref_cache_count(struct tide_ref_cache *cache)
{
    size_t count;

    pthread_mutex_lock(&cache->insert_lock);
    count = cache->count;
    pthread_mutex_unlock(&cache->insert_lock);
    return count;
}
