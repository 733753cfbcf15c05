/* Property: any bytes decode or are corrupt, however many samples they are said to hold; what
 * decodes comes back from the encoder. First byte: how many samples. */
#include "tide/chunk/histogram_chunk.h"

#include "tide/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SAMPLES_MAX 256u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct tide_histogram out[SAMPLES_MAX], again[SAMPLES_MAX];
    static int64_t times[SAMPLES_MAX], times_again[SAMPLES_MAX];
    struct tide_histogram_chunk chunk = {0};
    struct tide_arena *arena;
    size_t count;
    enum tide_err err;

    if (size == 0)
        return 0;
    arena = tide_arena_new(0);
    TIDE_ASSERT(arena != NULL);
    count = data[0];
    err = tide_histogram_chunk_decode((struct tide_slice){data + 1, size - 1}, count, arena, times,
                                      out);
    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
    if (err == TIDE_OK) {
        for (size_t i = 0; i < count; i++)
            TIDE_ASSERT(tide_histogram_chunk_append(&chunk, times[i], &out[i]) == TIDE_OK);
        TIDE_ASSERT(tide_histogram_chunk_decode(tide_buf_view(&chunk.stream), count, arena,
                                                times_again, again) == TIDE_OK);
        for (size_t i = 0; i < count; i++) {
            TIDE_ASSERT(times[i] == times_again[i]);
            TIDE_ASSERT(tide_histogram_eq(&out[i], &again[i]));
        }
    }
    tide_histogram_chunk_deinit(&chunk);
    tide_arena_free(arena);
    return 0;
}
