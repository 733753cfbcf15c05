/* Property: bytes with a fitting checksum are refused, or they become an index that can be searched
 * and that, written and restored once more, writes the same bytes again. */
#include "tide/base/assert.h"
#include "tide/index/index.h"

#define REF_MAX 100000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_all(const struct tide_index *index, struct tide_buf *out)
{
    struct tide_index_frozen *frozen;
    enum tide_err err = tide_index_freeze(index, &frozen);

    TIDE_ASSERT(err == TIDE_OK);
    while ((err = tide_index_frozen_next(frozen, out)) == TIDE_OK) {
    }
    TIDE_ASSERT(err == TIDE_END);
    tide_index_frozen_free(frozen);
}

static void check_searches(const struct tide_index *index)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_matcher m;
    struct tide_index_refs refs;
    struct tide_labels labels;
    enum tide_err err =
        tide_matcher_init(&m, TIDE_MATCH_RE, TIDE_SLICE("job"), TIDE_SLICE("[a-n].*"), arena, NULL);

    TIDE_ASSERT(err == TIDE_OK);
    err = tide_index_select(index, NULL, 0, NULL, &refs);
    TIDE_ASSERT(err == TIDE_OK);
    TIDE_ASSERT(refs.count == tide_index_series_count(index));
    err = tide_index_sort(index, refs.refs, refs.count, NULL);
    TIDE_ASSERT(err == TIDE_OK);
    for (size_t i = 0; i < refs.count; i++) {
        err = tide_index_labels(index, refs.refs[i], arena, &labels);
        TIDE_ASSERT(err == TIDE_OK);
        TIDE_ASSERT(i == 0 || tide_index_compare(index, refs.refs[i - 1], refs.refs[i]) < 0);
    }
    tide_index_refs_deinit(&refs, NULL);
    err = tide_index_select(index, &m, 1, NULL, &refs);
    TIDE_ASSERT(err == TIDE_OK);
    tide_index_refs_deinit(&refs, NULL);
    tide_matcher_release(&m);
    tide_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_buf bytes = {0}, first = {0}, second = {0};
    struct tide_index *index, *again;
    struct tide_reader reader;
    enum tide_err err;

    /* A changed byte must get past the checksum to reach the rest. */
    tide_buf_add(&bytes, data, size);
    tide_buf_u32(&bytes, tide_crc32c(0, (struct tide_slice){data, size}));
    reader = tide_reader(tide_buf_view(&bytes));
    err = tide_index_restore(&reader, REF_MAX, &index, NULL);
    if (err == TIDE_OK) {
        check_searches(index);
        write_all(index, &first);
        reader = tide_reader(tide_buf_view(&first));
        err = tide_index_restore(&reader, REF_MAX, &again, NULL);
        TIDE_ASSERT(err == TIDE_OK);
        write_all(again, &second);
        TIDE_ASSERT(tide_slice_eq(tide_buf_view(&first), tide_buf_view(&second)));
        tide_index_free(index);
        tide_index_free(again);
    }
    tide_buf_deinit(&bytes);
    tide_buf_deinit(&first);
    tide_buf_deinit(&second);
    return 0;
}
