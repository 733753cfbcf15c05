/* Label matchers: =, !=, =~ and !~ on one label, with the regex forms that need no regex engine
 * told apart. */
#ifndef TIDE_MODEL_MATCHER_H
#define TIDE_MODEL_MATCHER_H

#include "tide/base/regex.h"
#include "tide/model/labels.h"

enum tide_match_op { TIDE_MATCH_EQ, TIDE_MATCH_NE, TIDE_MATCH_RE, TIDE_MATCH_NRE };

/* How the pattern of RE and NRE is decided, cheapest first. */
enum tide_match_kind {
    TIDE_MATCH_LITERALS, /* EQ, NE, and regexes that are an alternation of literals (cross products
                            of literal groups too, up to 256): literals, sorted. */
    TIDE_MATCH_ALL,      /* `.*`: every value, the empty one too. */
    TIDE_MATCH_NONEMPTY, /* `.+`. */
    TIDE_MATCH_PREFIX,   /* `literal.*` (any_suffix_empty) or `literal.+`. */
    TIDE_MATCH_CONTAINS, /* `.*literal.*`: one memmem. */
    TIDE_MATCH_SUFFIX,   /* `.*literal`. */
    TIDE_MATCH_REGEX /* RE2; prefix holds the literal prefix when there is one (may be empty). */
};

struct tide_matcher {
    enum tide_match_op op;
    struct tide_slice name;  /* Copied into the arena. */
    struct tide_slice value; /* As written. Copied. */
    enum tide_match_kind kind;
    struct tide_slice *literals; /* LITERALS: sorted, distinct. */
    size_t literal_count;
    struct tide_slice
        prefix; /* PREFIX, CONTAINS, SUFFIX: the literal. REGEX: what every match starts with. */
    bool needs_more;          /* PREFIX of the `.+` form: at least one byte must follow. */
    struct tide_regex *regex; /* REGEX only; freed by tide_matcher_release(). */
};

/* Compiles one matcher into arena.
 * Errors: TIDE_ERR_INVALID (diag: the pattern and why), TIDE_ERR_NO_MEMORY. On success the caller
 * calls tide_matcher_release() before the arena goes. */
TIDE_CHECK_RESULT enum tide_err tide_matcher_init(struct tide_matcher *m, enum tide_match_op op,
                                                  struct tide_slice name, struct tide_slice value,
                                                  struct tide_arena *arena, struct tide_diag *diag);
void tide_matcher_release(struct tide_matcher *m);
/* Whether the label's value (empty when the series has no such label) satisfies the matcher,
 * negation included. */
bool tide_matcher_match(const struct tide_matcher *m, struct tide_slice value);
/* Whether the empty value satisfies it: then series without the label match too. */
bool tide_matcher_matches_empty(const struct tide_matcher *m);
/* Whether all matchers accept the label set. */
bool tide_matchers_match(const struct tide_matcher *m, size_t count, struct tide_labels labels);

#endif
