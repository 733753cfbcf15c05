/* Whatever the bytes: a query is refused with a reason and a place in it, or what is printed of it
 * parses and prints as the same text again; and it can be formatted and resolved. */
#include "tide/promql/parse.h"

#include "tide/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tree(struct tide_promql *query, struct tide_arena *arena)
{
    static const struct tide_promql_times times = {1000000, 2000000, 15000};
    struct tide_buf text = {0};
    struct tide_buf again = {0};
    struct tide_promql reparsed;
    struct tide_diag diag = {0};
    enum tide_err err = tide_promql_resolve(query, &times, &diag);

    TIDE_ASSERT(err == TIDE_OK || diag.text[0] != '\0');
    tide_promql_format(query->root, &text);
    TIDE_ASSERT(!text.failed);
    text.len = 0;
    tide_promql_print(query->root, &text);
    /* The canonical text may be longer than a query may be. Durations under a millisecond print as
     * zero, which is refused as one. */
    if (text.len <= TIDE_PROMQL_BYTES_MAX &&
        tide_promql_parse(tide_buf_view(&text), arena, &reparsed, &diag) == TIDE_OK) {
        tide_promql_print(reparsed.root, &again);
        TIDE_ASSERT(tide_slice_eq(tide_buf_view(&text), tide_buf_view(&again)));
        tide_promql_release(&reparsed);
    } else {
        TIDE_ASSERT(text.len > TIDE_PROMQL_BYTES_MAX ||
                    strstr(diag.text, "duration must be greater than 0") != NULL);
    }
    tide_buf_deinit(&again);
    tide_buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_promql query;
    struct tide_diag diag = {0};
    enum tide_err err;

    TIDE_ASSERT(arena != NULL);
    err = tide_promql_parse((struct tide_slice){data, size}, arena, &query, &diag);
    if (err == TIDE_OK) {
        check_tree(&query, arena);
    } else {
        TIDE_ASSERT(err == TIDE_ERR_INVALID);
        TIDE_ASSERT(diag.text[0] != '\0');
        TIDE_ASSERT(query.root == NULL);
        TIDE_ASSERT(query.error.start <= query.error.end);
        TIDE_ASSERT(query.error.end <= size);
    }
    tide_promql_release(&query);
    tide_arena_free(arena);
    return 0;
}
