/* Parsing for tests: one query in an arena of its own. */
#ifndef TIDE_PROMQL_SUPPORT_PARSE_H
#define TIDE_PROMQL_SUPPORT_PARSE_H

#include "tide/promql/parse.h"

struct parsed {
    struct tide_arena *arena;
    struct tide_promql query;
    struct tide_diag diag;
    enum tide_err err;
};

struct parsed parse_text(struct tide_slice text);
struct parsed parse_query(const char *text);
void parsed_free(struct parsed *parsed);

/* The whole tree but for positions and ids, as text: two trees mean the same when it is the same.
 * The caller frees. */
struct tide_buf tree_text(const struct tide_expr *expr);

#endif
