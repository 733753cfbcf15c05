/* Property: a matcher accepts exactly what the anchored regex accepts, and exactly the same
 * patterns are refused, except that long lists of literals never reach RE2's bound. The input is a
 * pattern, a zero byte and a value. */
#include "tide/model/matcher.h"

#include "tide/base/assert.h"

#define PATTERN_BYTES_MAX 512 /* So that RE2 compiles it in no time. */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_slice input = {data, size};
    size_t split = tide_slice_find(input, (struct tide_slice){(const uint8_t *)"", 1});
    struct tide_slice pattern = {data, split == SIZE_MAX ? size : split};
    struct tide_slice value = {0};
    struct tide_arena *arena;
    struct tide_regex *regex = NULL;
    struct tide_matcher m;
    bool valid;

    if (split != SIZE_MAX)
        value = (struct tide_slice){data + split + 1, size - split - 1};
    /* Stored values are valid UTF-8. */
    if (pattern.len > PATTERN_BYTES_MAX || !tide_slice_is_utf8(value))
        return 0;
    arena = tide_arena_new(0);
    TIDE_ASSERT(arena != NULL);
    valid = tide_regex_new(pattern, &regex, NULL) == TIDE_OK;
    TIDE_ASSERT(valid == (tide_matcher_init(&m, TIDE_MATCH_RE, TIDE_SLICE("l"), pattern, arena,
                                            NULL) == TIDE_OK));
    if (valid) {
        bool expected = tide_regex_match(regex, value);

        TIDE_ASSERT(tide_matcher_match(&m, value) == expected);
        TIDE_ASSERT(!expected || m.kind != TIDE_MATCH_REGEX || tide_slice_starts(value, m.prefix));
        tide_matcher_release(&m);
    }
    tide_regex_free(regex);
    tide_arena_free(arena);
    return 0;
}
