/* Telling apart the regex forms that need no regex engine. */
#ifndef TIDE_MODEL_MATCHER_PRIVATE_H
#define TIDE_MODEL_MATCHER_PRIVATE_H

#include "tide/model/matcher.h"

/* Strings that a cross product of groups may have, `(a|b)(c|d)`. */
#define LITERALS_PRODUCT_MAX 256
/* Alternatives that one list may have: a dashboard's "all pods" variable is a long one. */
#define LITERALS_MAX 4096
/* Bytes that all of them may have together. */
#define LITERALS_BYTES_MAX (256u << 10)
/* Groups within groups; deeper patterns go to RE2. */
#define LITERALS_DEPTH_MAX 16

/* Sets kind, literals, prefix and needs_more of m when pattern is one of the simple forms; *simple
 * false leaves m as it was: RE2 decides then, and also says what is wrong with a bad pattern.
 * Exactly the strings that RE2 would match, anchored, are matched, for values in valid UTF-8.
 * Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__matcher_parse(struct tide_matcher *m,
                                                    struct tide_slice pattern,
                                                    struct tide_arena *arena, bool *simple);

#endif
