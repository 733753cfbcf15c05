#include "tide/model/matcher.h"

#include "matcher_private.h"

/* Lists up to here are searched in order: shorter than the jumps of a binary search. */
#define LINEAR_LITERALS_MAX 6

static enum tide_err one_literal(struct tide_matcher *m, struct tide_arena *arena)
{
    m->kind = TIDE_MATCH_LITERALS;
    m->literals = tide_arena_alloc(arena, sizeof(*m->literals));
    if (m->literals == NULL)
        return TIDE_ERR_NO_MEMORY;
    m->literals[0] = m->value;
    m->literal_count = 1;
    return TIDE_OK;
}

/* What every match of the regex starts with: any string between the two ends of its range starts
 * with what both ends start with. */
static enum tide_err regex_prefix(struct tide_matcher *m, struct tide_arena *arena)
{
    struct tide_buf low = {0};
    struct tide_buf high = {0};
    enum tide_err err = TIDE_OK;

    if (tide_regex_range(m->regex, &low, &high)) {
        size_t len = 0;

        while (len < low.len && len < high.len && low.ptr[len] == high.ptr[len])
            len++;
        m->prefix = tide_arena_copy(arena, (struct tide_slice){low.ptr, len});
        if (m->prefix.ptr == NULL && len > 0)
            err = TIDE_ERR_NO_MEMORY;
    }
    if (low.failed || high.failed)
        err = TIDE_ERR_NO_MEMORY;
    tide_buf_deinit(&low);
    tide_buf_deinit(&high);
    return err;
}

enum tide_err tide_matcher_init(struct tide_matcher *m, enum tide_match_op op,
                                struct tide_slice name, struct tide_slice value,
                                struct tide_arena *arena, struct tide_diag *diag)
{
    struct tide_matcher matcher = {.op = op};
    bool simple = false;
    enum tide_err err;

    matcher.name = tide_arena_copy(arena, name);
    matcher.value = tide_arena_copy(arena, value);
    if ((matcher.name.ptr == NULL && name.len > 0) || (matcher.value.ptr == NULL && value.len > 0))
        return TIDE_ERR_NO_MEMORY;
    if (op == TIDE_MATCH_EQ || op == TIDE_MATCH_NE) {
        err = one_literal(&matcher, arena);
    } else {
        err = tide__matcher_parse(&matcher, matcher.value, arena, &simple);
        if (err == TIDE_OK && !simple) {
            matcher.kind = TIDE_MATCH_REGEX;
            err = tide_regex_new(matcher.value, &matcher.regex, diag);
            if (err == TIDE_OK)
                err = regex_prefix(&matcher, arena);
        }
    }
    if (err != TIDE_OK) {
        tide_matcher_release(&matcher);
        return err;
    }
    *m = matcher;
    return TIDE_OK;
}

void tide_matcher_release(struct tide_matcher *m)
{
    tide_regex_free(m->regex);
    m->regex = NULL;
}

static bool literals_have(const struct tide_matcher *m, struct tide_slice value)
{
    size_t low = 0;
    size_t high = m->literal_count;

    if (high <= LINEAR_LITERALS_MAX) {
        for (size_t i = 0; i < high; i++)
            if (tide_slice_eq(m->literals[i], value))
                return true;
        return false;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = tide_slice_cmp(m->literals[middle], value);

        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* Whether the pattern, or the text of = and !=, matches; negation not applied. */
static bool pattern_matches(const struct tide_matcher *m, struct tide_slice value)
{
    switch (m->kind) {
    case TIDE_MATCH_LITERALS:
        return literals_have(m, value);
    case TIDE_MATCH_ALL:
        return true;
    case TIDE_MATCH_NONEMPTY:
        return value.len > 0;
    case TIDE_MATCH_PREFIX:
        return value.len >= m->prefix.len + m->needs_more && tide_slice_starts(value, m->prefix);
    case TIDE_MATCH_CONTAINS:
        return tide_slice_find(value, m->prefix) != SIZE_MAX;
    case TIDE_MATCH_SUFFIX:
        return tide_slice_ends(value, m->prefix);
    case TIDE_MATCH_REGEX:
        return tide_slice_starts(value, m->prefix) && tide_regex_match(m->regex, value);
    }
    return false;
}

bool tide_matcher_match(const struct tide_matcher *m, struct tide_slice value)
{
    bool negated = m->op == TIDE_MATCH_NE || m->op == TIDE_MATCH_NRE;

    return pattern_matches(m, value) != negated;
}

bool tide_matcher_matches_empty(const struct tide_matcher *m)
{
    return tide_matcher_match(m, (struct tide_slice){0});
}

bool tide_matchers_match(const struct tide_matcher *m, size_t count, struct tide_labels labels)
{
    for (size_t i = 0; i < count; i++)
        if (!tide_matcher_match(&m[i], tide_labels_get(labels, m[i].name)))
            return false;
    return true;
}
