/* Remembers which shard and reference a series has, keyed by a 128-bit hash, so that its labels are
 * neither parsed nor sent again. A lost or wrong-generation entry costs one push with labels; a
 * false hit would store a sample in the wrong series: 84 bits of a keyed hash are compared, so
 * among 10 million series one is expected in 4e11 such tables.
 *
 * A table of 16-byte slots with linear probing. Many readers look up without a lock of their own
 * between tide__ref_cache_begin() and _end(), while one inserter at a time stores slots. */
#ifndef TIDE_DISTRIBUTOR_REF_CACHE_PRIVATE_H
#define TIDE_DISTRIBUTOR_REF_CACHE_PRIVATE_H

#include "tide/base/hash.h"

/* Shards fit 12 bits of a slot. */
#define TIDE_REF_CACHE_SHARDS_MAX 4096u

struct tide_ref_cache;

/* series_max bounds what it holds: when full it is emptied and fills again. */
TIDE_CHECK_RESULT enum tide_err tide__ref_cache_new(uint32_t series_max,
                                                    struct tide_ref_cache **out);
void tide__ref_cache_free(struct tide_ref_cache *cache);

void tide__ref_cache_begin(struct tide_ref_cache *cache);
void tide__ref_cache_end(struct tide_ref_cache *cache);
/* Between begin and end. False: not known. */
bool tide__ref_cache_get(const struct tide_ref_cache *cache, struct tide_hash128 key,
                         uint32_t *shard, uint32_t *ref);
/* Fetches the slot's cache line, a few lookups ahead of the get. */
void tide__ref_cache_prefetch(const struct tide_ref_cache *cache, struct tide_hash128 key);
/* Not between begin and end. Without memory the entry is not kept, which is allowed. */
void tide__ref_cache_put(struct tide_ref_cache *cache, struct tide_hash128 key, uint32_t shard,
                         uint32_t ref);
size_t tide__ref_cache_bytes(struct tide_ref_cache *cache);
size_t tide__ref_cache_count(struct tide_ref_cache *cache);

#endif
