#include "tide/base/hash.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t tide_hash64(struct tide_slice s, uint64_t seed)
{
    return XXH3_64bits_withSeed(s.ptr, s.len, seed);
}

struct tide_hash128 tide_hash128(struct tide_slice s, uint64_t seed)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(s.ptr, s.len, seed);

    return (struct tide_hash128){hash.high64, hash.low64};
}
