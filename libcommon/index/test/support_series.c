#include "support_series.h"

#include "tide/base/assert.h"

#include <stdio.h>

uint64_t support_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t support_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)((support_random(state) >> 32) * bound >> 32);
}

struct tide_labels support_labels(struct tide_arena *arena, const char *text)
{
    struct tide_slice rest = tide_arena_copy(arena, tide_slice_str(text));
    struct tide_label *pairs = tide_arena_new_array(arena, rest.len + 1, sizeof(*pairs));
    size_t count = 0;

    TIDE_ASSERT(pairs != NULL);
    while (rest.len > 0) {
        size_t comma = tide_slice_find(rest, TIDE_SLICE(","));
        struct tide_slice pair = rest;
        size_t equals;

        if (comma != SIZE_MAX)
            pair.len = comma;
        rest.ptr += pair.len;
        rest.len -= pair.len;
        if (comma != SIZE_MAX) {
            rest.ptr++;
            rest.len--;
        }
        equals = tide_slice_find(pair, TIDE_SLICE("="));
        TIDE_ASSERT(equals != SIZE_MAX);
        pairs[count].name = (struct tide_slice){pair.ptr, equals};
        pairs[count++].value = (struct tide_slice){pair.ptr + equals + 1, pair.len - equals - 1};
    }
    return (struct tide_labels){pairs, count};
}

struct tide_hash128 support_identity(struct tide_labels labels)
{
    return tide_labels_identity(TIDE_SLICE("test"), labels, 7);
}

uint32_t support_add(struct tide_index *index, struct tide_arena *arena, const char *text)
{
    struct tide_labels labels = support_labels(arena, text);
    uint32_t ref;
    bool created;
    enum tide_err err = tide_index_add(index, support_identity(labels), labels, &ref, &created);

    TIDE_ASSERT(err == TIDE_OK);
    TIDE_ASSERT(created);
    return ref;
}

struct tide_matcher support_matcher(struct tide_arena *arena, const char *name,
                                    enum tide_match_op op, const char *value)
{
    struct tide_matcher m;
    enum tide_err err =
        tide_matcher_init(&m, op, tide_slice_str(name), tide_slice_str(value), arena, NULL);

    TIDE_ASSERT(err == TIDE_OK);
    return m;
}

const char *support_select(struct tide_index *index, struct tide_arena *arena,
                           const struct tide_matcher *matchers, size_t count)
{
    struct tide_index_refs refs;
    const char *text = "";
    enum tide_err err = tide_index_select(index, matchers, count, NULL, &refs);

    TIDE_ASSERT(err == TIDE_OK);
    for (size_t i = 0; i < refs.count; i++)
        text = tide_arena_printf(arena, "%s%s%u", text, i > 0 ? " " : "", refs.refs[i]);
    tide_index_refs_deinit(&refs, NULL);
    return text;
}

void support_write(const struct tide_index *index, struct tide_buf *out)
{
    struct tide_index_frozen *frozen;
    enum tide_err err = tide_index_freeze(index, &frozen);

    TIDE_ASSERT(err == TIDE_OK);
    while ((err = tide_index_frozen_next(frozen, out)) == TIDE_OK) {
    }
    TIDE_ASSERT(err == TIDE_END);
    tide_index_frozen_free(frozen);
}
