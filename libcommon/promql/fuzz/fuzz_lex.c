/* Whatever the bytes: tokens come in order, do not overlap, lie within the text, and end. */
#include "parse_private.h"

#include "tide/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide__lexer lexer = {.text = {data, size}};
    struct tide__token token = {0};
    uint32_t end = 0;

    if (size > TIDE_PROMQL_BYTES_MAX)
        return 0;
    do {
        tide__lex_next(&lexer, &token);
        TIDE_ASSERT(token.pos.start >= end);
        TIDE_ASSERT(token.pos.start <= token.pos.end);
        TIDE_ASSERT(token.pos.end <= size);
        TIDE_ASSERT(token.pos.end > token.pos.start || token.kind == TOKEN_EOF ||
                    token.kind == TOKEN_ERROR);
        end = token.pos.end;
    } while (token.kind != TOKEN_EOF && token.kind != TOKEN_ERROR);
    TIDE_ASSERT(token.kind != TOKEN_ERROR || lexer.message[0] != '\0');
    return 0;
}
