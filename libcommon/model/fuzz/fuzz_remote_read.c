/* Property: whatever the bytes, a read request is refused as invalid or becomes queries within the
 * bounds whose matchers can be asked; decoding it twice gives the same. */
#include "tide/model/remote_read.h"

#include "tide/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum tide_err parse(struct tide_slice body, struct tide_arena *arena,
                           struct tide_read_request *out)
{
    struct tide_diag diag = {""};
    enum tide_err err = tide_read_request_parse(body, arena, out, &diag);

    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_INVALID || err == TIDE_ERR_NO_MEMORY);
    TIDE_ASSERT(err != TIDE_ERR_INVALID || diag.text[0] != '\0');
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct tide_slice body = {data, size};
    struct tide_arena *arena = tide_arena_new(16u << 20);
    struct tide_read_request a, b;

    if (arena == NULL)
        return 0;
    if (parse(body, arena, &a) == TIDE_OK) {
        TIDE_ASSERT(a.query_count <= TIDE_READ_QUERIES_MAX);
        for (size_t i = 0; i < a.query_count; i++) {
            TIDE_ASSERT(a.queries[i].matcher_count <= TIDE_READ_MATCHERS_MAX);
            for (size_t m = 0; m < a.queries[i].matcher_count; m++)
                (void)tide_matcher_match(&a.queries[i].matchers[m], TIDE_SLICE("value"));
        }
        if (parse(body, arena, &b) == TIDE_OK) {
            TIDE_ASSERT(a.query_count == b.query_count && a.streamed == b.streamed);
            tide_read_request_release(&b);
        }
        tide_read_request_release(&a);
    }
    tide_arena_free(arena);
    return 0;
}
