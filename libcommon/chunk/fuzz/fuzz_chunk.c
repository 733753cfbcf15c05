/* Property: decoding any bytes reads nothing outside them and their padding; and samples made of
 * the same bytes come back from both encodings bit for bit. */
#include "tide/chunk/chunk.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const uint8_t *data, size_t size)
{
    static uint8_t bytes[TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX) + TIDE_CHUNK_PAD];
    static double values[TIDE_CHUNK_SAMPLES_MAX];
    static int64_t times[TIDE_CHUNK_SAMPLES_MAX];
    struct tide_segments pool = {0};
    struct tide_chunk_open plain = {0}, timed = {0};
    struct tide_chunk_clock clock = {0};
    uint32_t offset = 0;
    size_t n = size / 10, len;

    if (n > TIDE_CHUNK_SAMPLES_MAX)
        n = TIDE_CHUNK_SAMPLES_MAX;
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++) {
        uint64_t bits;

        memcpy(&bits, data + i * 10, sizeof(bits));
        offset += 1u + data[i * 10 + 8] + 256u * data[i * 10 + 9];
        TIDE_ASSERT(tide_chunk_append(&pool, &plain, bits) == TIDE_OK);
        TIDE_ASSERT(tide_chunk_append_timed(&pool, &timed, &clock, offset, bits) == TIDE_OK);
    }
    len = tide_chunk_copy(&pool, &plain, bytes, TIDE_CHUNK_BYTES_MAX(n));
    TIDE_ASSERT(tide_chunk_decode((struct tide_slice){bytes, len}, n, values) == TIDE_OK);
    for (size_t i = 0; i < n; i++)
        TIDE_ASSERT(memcmp(&values[i], data + i * 10, sizeof(values[i])) == 0);
    len = tide_chunk_copy(&pool, &timed, bytes, TIDE_CHUNK_BYTES_MAX(n));
    TIDE_ASSERT(tide_chunk_decode_timed((struct tide_slice){bytes, len}, n, 0, times, values) ==
                TIDE_OK);
    for (size_t i = 0; i < n; i++)
        TIDE_ASSERT(memcmp(&values[i], data + i * 10, sizeof(values[i])) == 0);
    TIDE_ASSERT(times[n - 1] == offset);
    tide_segments_deinit(&pool);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static double values[512];
    static int64_t times[512];
    uint8_t *memory = tide_mem_alloc(size + TIDE_CHUNK_PAD);
    size_t n = size == 0 ? 1 : 1 + data[size - 1] * 2u;

    if (memory == NULL)
        return 0;
    if (size > 0)
        memcpy(memory, data, size);
    memset(memory + size, 0xff, TIDE_CHUNK_PAD);
    (void)!tide_chunk_decode((struct tide_slice){memory, size}, n, values);
    if (tide_chunk_decode_timed((struct tide_slice){memory, size}, n, -1, times, values) == TIDE_OK)
        for (size_t i = 1; i < n; i++)
            TIDE_ASSERT(times[i] > times[i - 1]);
    tide_mem_free(memory);
    check_round_trip(data, size);
    return 0;
}
