/* Hashes and checksums. */
#ifndef TIDE_BASE_HASH_H
#define TIDE_BASE_HASH_H

#include "tide/base/slice.h"

struct tide_hash128 {
    uint64_t hi;
    uint64_t lo;
};

static inline bool tide_hash128_eq(struct tide_hash128 a, struct tide_hash128 b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

/* XXH3 (xxhash 0.8), 64 and 128 bits, with a seed. */
uint64_t tide_hash64(struct tide_slice s, uint64_t seed);
struct tide_hash128 tide_hash128(struct tide_slice s, uint64_t seed);

/* CRC-32C (Castagnoli), as in RFC 3720; start with crc 0 and pass the last result to go on. Uses
 * the CPU's instruction where it has one. */
uint32_t tide_crc32c(uint32_t crc, struct tide_slice s);

#endif
