/* Random PromQL queries that type check, from a seed: for round trips of the printer and for
 * comparing evaluators. */
#ifndef TIDE_PROMQL_SUPPORT_GENERATE_H
#define TIDE_PROMQL_SUPPORT_GENERATE_H

#include "tide/promql/parse.h"

struct generator {
    uint64_t state; /* The seed. */
    /* What selectors and grouping choose from; NULL: some names of no meaning. */
    const char *const *metrics;
    size_t metric_count;
    const char *const *labels;
    size_t label_count;
    const char *const *values; /* Of labels. */
    size_t value_count;
    /* Forms that only the parser cares about: odd blanks, comments, quoted names, all spellings of
     * numbers. */
    bool odd_spelling;
    bool duration_expressions;
    /* NULL: all functions. */
    bool (*fn_allowed)(enum tide_fn fn);
};

/* A number from 0 to below. */
uint32_t generator_below(struct generator *g, uint32_t below);
/* Appends a query of this type (not NONE) with about depth levels, at most 8. */
void generator_query(struct generator *g, enum tide_promql_type type, int depth,
                     struct tide_buf *out);

#endif
