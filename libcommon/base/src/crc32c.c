/* CRC-32C, three ways to the same value:
 * - the CPU's instruction over three lanes at once, since one instruction takes three cycles but
 *   one can start each cycle; the lanes are joined by carry-less multiplication (Gopal and others,
 *   "Fast CRC computation for iSCSI polynomial using CRC32 instruction", Intel, 2011);
 * - tables, eight bytes a step (Kounavis and Berry, "A systematic approach to building high
 *   performance software-based CRC generators", ISCC 2005), where the CPU has no instruction. */
#include "crc32c_private.h"

#include <pthread.h>

#define POLYNOMIAL 0x82f63b78U /* Castagnoli's, lowest bit first. */

static pthread_once_t table_once = PTHREAD_ONCE_INIT;
static uint32_t table[8][256];

static void table_init(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;

        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ ((crc & 1) != 0 ? POLYNOMIAL : 0);
        table[0][byte] = crc;
    }
    for (int row = 1; row < 8; row++)
        for (int byte = 0; byte < 256; byte++)
            table[row][byte] = (table[row - 1][byte] >> 8) ^ table[0][table[row - 1][byte] & 0xff];
}

uint32_t tide__crc32c_portable(uint32_t crc, struct tide_slice s)
{
    const uint8_t *p = s.ptr;
    size_t len = s.len;

    pthread_once(&table_once, table_init);
    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                              (uint32_t)p[3] << 24);

        crc = table[7][low & 0xff] ^ table[6][(low >> 8) & 0xff] ^ table[5][(low >> 16) & 0xff] ^
              table[4][low >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
              table[0][p[7]];
    }
    for (; len > 0; p++, len--)
        crc = (crc >> 8) ^ table[0][(crc ^ *p) & 0xff];
    return ~crc;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define HARDWARE __attribute__((target("sse4.2,pclmul")))

/* x^(8n - 33) modulo the polynomial for n bytes: a carry-less product of two 32-bit values that
 * stand lowest bit first, pushed through the instruction, gains 33 bits. */
struct lanes {
    size_t bytes;
    uint32_t shift_1; /* Past one lane. */
    uint32_t shift_2; /* Past two. */
};
static const struct lanes lanes_long = {1024, 0x170076fa, 0xa51b6135};
static const struct lanes lanes_short = {128, 0x0d3b6092, 0xb9e02b86};

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

HARDWARE static inline uint64_t multiply(uint64_t crc, uint32_t by)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)crc), _mm_cvtsi32_si128((int)by), 0);

    return (uint64_t)_mm_cvtsi128_si64(product);
}

/* One step over three lanes, *p moved past them. */
HARDWARE static inline uint64_t step(uint64_t crc, const uint8_t **p, const struct lanes *lanes)
{
    const uint8_t *at = *p;
    const uint8_t *end = at + lanes->bytes;
    uint64_t second = 0;
    uint64_t third = 0;

    for (; at < end; at += 8) {
        crc = _mm_crc32_u64(crc, load64(at));
        second = _mm_crc32_u64(second, load64(at + lanes->bytes));
        third = _mm_crc32_u64(third, load64(at + 2 * lanes->bytes));
    }
    *p += 3 * lanes->bytes;
    return third ^
           _mm_crc32_u64(0, multiply(crc, lanes->shift_2) ^ multiply(second, lanes->shift_1));
}

HARDWARE static uint32_t hardware(uint32_t start, struct tide_slice s)
{
    const uint8_t *p = s.ptr;
    const uint8_t *end = p + s.len;
    uint64_t crc = (uint32_t)~start;

    while ((size_t)(end - p) >= 3 * lanes_long.bytes)
        crc = step(crc, &p, &lanes_long);
    while ((size_t)(end - p) >= 3 * lanes_short.bytes)
        crc = step(crc, &p, &lanes_short);
    for (; end - p >= 8; p += 8)
        crc = _mm_crc32_u64(crc, load64(p));
    for (; p < end; p++)
        crc = _mm_crc32_u8((uint32_t)crc, *p);
    return ~(uint32_t)crc;
}

uint32_t tide_crc32c(uint32_t crc, struct tide_slice s)
{
    if (s.len == 0)
        return crc;
    if (__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul"))
        return hardware(crc, s);
    return tide__crc32c_portable(crc, s);
}

#else

uint32_t tide_crc32c(uint32_t crc, struct tide_slice s)
{
    return tide__crc32c_portable(crc, s);
}

#endif
