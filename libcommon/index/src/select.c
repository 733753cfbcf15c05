/* Matchers to series. A matcher that the empty value does not satisfy wants one of a set of values;
 * one that it does satisfy takes out the series with one of the other values. So each becomes a set
 * of values of its name, to keep or to take out, and series without the label come right by
 * themselves. The sets that can be looked up narrow the candidates down first, smallest first; the
 * others are found out from the dictionary or from the candidates, whichever are fewer. */
#include "set_private.h"

#include <stdlib.h>

/* The values of names up to this size are always listed: it takes microseconds. */
#define SMALL_DICTIONARY 64u
/* A look at a candidate's label costs about as much as so many at values of the dictionary. */
#define CANDIDATE_COST 4u

struct term {
    const struct tide_matcher *matcher;
    bool take_out; /* The empty value satisfies the matcher. */
    bool listed;
    struct tide__values values;
};

struct gather {
    struct tide__set *set;
    struct term *term;
    uint32_t work;
};

/* Whether a value belongs to the term's set. */
static bool wanted(const struct term *term, struct tide_slice value)
{
    return tide_matcher_match(term->matcher, value) != term->take_out;
}

/* Whether the set is that of the pattern itself, not what the pattern leaves. */
static bool is_pattern(const struct term *term)
{
    bool negative = term->matcher->op == TIDE_MATCH_NE || term->matcher->op == TIDE_MATCH_NRE;

    return negative == term->take_out;
}

static enum tide_err gather_add(struct gather *gather, uint32_t id)
{
    struct tide__values *values = &gather->term->values;
    uint32_t postings = tide__value_at(values->name, id)->postings;
    size_t before = values->capacity;
    void *ids = values->ids;
    enum tide_err err;

    if (postings == 0)
        return TIDE_OK;
    if (values->count == values->capacity) {
        err = tide_mem_grow(&ids, &values->capacity, values->count + 1, sizeof(*values->ids));
        values->ids = ids;
        if (err == TIDE_OK)
            err = tide__set_charge(gather->set, (values->capacity - before) * sizeof(*values->ids));
        if (err != TIDE_OK)
            return err;
    }
    values->ids[values->count++] = id;
    values->series += tide__postings_count(&gather->set->index->postings, postings);
    return TIDE_OK;
}

/* tide__value_sink: takes the value if it is wanted. */
static enum tide_err gather_value(void *context, uint32_t id)
{
    struct gather *gather = context;
    enum tide_err err;

    if (++gather->work % TIDE__CHECK_EVERY == 0) {
        err = tide_query_check(gather->set->limits);
        if (err != TIDE_OK)
            return err;
    }
    if (!wanted(gather->term,
                tide__value_text(&gather->set->index->symbols, gather->term->values.name, id)))
        return TIDE_OK;
    return gather_add(gather, id);
}

static int id_cmp(const void *a_id, const void *b_id)
{
    uint32_t a, b;

    memcpy(&a, a_id, sizeof(a));
    memcpy(&b, b_id, sizeof(b));
    return a < b ? -1 : a > b;
}

/* Finds out the values of the term. */
static enum tide_err list_values(struct tide__set *set, struct term *term)
{
    const struct tide_matcher *m = term->matcher;
    const struct tide__symbols *symbols = &set->index->symbols;
    const struct tide__name *name = term->values.name;
    struct gather gather = {.set = set, .term = term};
    bool sorted = true;
    enum tide_err err = TIDE_OK;

    term->listed = true;
    if (is_pattern(term) && m->kind == TIDE_MATCH_LITERALS) {
        sorted = m->literal_count < 2;
        for (size_t i = 0; i < m->literal_count && err == TIDE_OK; i++) {
            uint32_t id = tide__value_find(symbols, name, m->literals[i]);

            if (id != TIDE_INDEX_NONE)
                err = gather_add(&gather, id);
        }
    } else if (is_pattern(term) && m->prefix.len > 0 &&
               (m->kind == TIDE_MATCH_PREFIX || m->kind == TIDE_MATCH_REGEX)) {
        sorted = false;
        err = tide__values_with_prefix(symbols, name, m->prefix, gather_value, &gather);
    } else {
        for (uint32_t id = 0; id < name->value_count && err == TIDE_OK; id++)
            err = gather_value(&gather, id);
    }
    if (err == TIDE_OK && !sorted && term->values.count > 1)
        qsort(term->values.ids, term->values.count, sizeof(*term->values.ids), id_cmp);
    return err;
}

/* Keeps the candidates whose label satisfies the matcher. What was decided about a value is noted,
 * so that a regex sees each value once. */
static enum tide_err filter(struct tide__set *set, const struct term *term)
{
    enum { UNKNOWN, NO, YES };
    const struct tide_index *index = set->index;
    const struct tide__name *name = term->values.name;
    uint8_t *decided;
    size_t kept = 0;
    enum tide_err err = tide__set_to_refs(set);

    if (err == TIDE_OK)
        err = tide__set_charge(set, name->value_count);
    if (err != TIDE_OK)
        return err;
    decided = tide_mem_new(name->value_count);
    if (decided == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < set->count && err == TIDE_OK; i++) {
        uint32_t value = tide_index_value_id(index, set->refs[i], term->values.name_id);
        bool yes = term->take_out;

        if (i % TIDE__CHECK_EVERY == 0)
            err = tide_query_check(set->limits);
        if (value != TIDE_INDEX_NONE) {
            if (decided[value] == UNKNOWN)
                decided[value] = tide_matcher_match(term->matcher,
                                                    tide__value_text(&index->symbols, name, value))
                                     ? YES
                                     : NO;
            yes = decided[value] == YES;
        }
        if (yes)
            set->refs[kept++] = set->refs[i];
    }
    set->count = kept;
    tide_mem_free(decided);
    return err;
}

/* By kind of work: lists to keep by size, lists to take out, the rest from cheap to dear. */
static int term_cmp(const void *a_term, const void *b_term)
{
    const struct term *a = a_term, *b = b_term;

    if (a->listed != b->listed)
        return a->listed ? -1 : 1;
    if (!a->listed)
        return (a->matcher->kind > b->matcher->kind) - (a->matcher->kind < b->matcher->kind);
    if (a->take_out != b->take_out)
        return a->take_out ? 1 : -1;
    return (a->values.series > b->values.series) - (a->values.series < b->values.series);
}

static enum tide_err apply(struct tide__set *set, struct term *term)
{
    size_t candidates = tide__set_count(set);
    enum tide_err err;

    if (candidates == 0)
        return TIDE_OK;
    if (!term->listed) {
        if (candidates < (uint64_t)CANDIDATE_COST * term->values.name->value_count)
            return filter(set, term);
        err = list_values(set, term);
        if (err != TIDE_OK)
            return err;
    }
    return term->take_out ? tide__set_and_not(set, &term->values)
                          : tide__set_and(set, &term->values);
}

/* Makes the terms. False when nothing can satisfy the matchers. */
static bool terms_init(const struct tide_index *index, const struct tide_matcher *matchers,
                       size_t count, struct term *terms, size_t *term_count)
{
    *term_count = 0;
    for (size_t i = 0; i < count; i++) {
        bool empty = tide_matcher_matches_empty(&matchers[i]);
        uint32_t name_id = tide__name_find(&index->symbols, matchers[i].name);

        if (name_id != TIDE_INDEX_NONE && tide__name_at(&index->symbols, name_id)->live_series == 0)
            name_id = TIDE_INDEX_NONE;
        if (name_id == TIDE_INDEX_NONE && !empty)
            return false;
        if (name_id == TIDE_INDEX_NONE)
            continue; /* No series has the label: all satisfy it. */
        terms[(*term_count)++] = (struct term){
            .matcher = &matchers[i],
            .take_out = empty,
            .values = {.name = tide__name_at(&index->symbols, name_id), .name_id = name_id}};
    }
    return true;
}

/* Whether the values of the term can be had for little, whatever the candidates are. */
static bool is_cheap(const struct term *term)
{
    if (term->values.name->value_count <= SMALL_DICTIONARY)
        return true;
    return is_pattern(term) &&
           (term->matcher->kind == TIDE_MATCH_LITERALS || term->matcher->kind == TIDE_MATCH_PREFIX);
}

static enum tide_err run(struct tide__set *set, struct term *terms, size_t count)
{
    size_t next = 0;
    enum tide_err err = tide_query_check(set->limits);

    for (size_t i = 0; i < count && err == TIDE_OK; i++)
        if (is_cheap(&terms[i]))
            err = list_values(set, &terms[i]);
    if (err != TIDE_OK)
        return err;
    qsort(terms, count, sizeof(*terms), term_cmp);
    if (count > 0 && terms[0].listed && !terms[0].take_out)
        err = tide__set_of_values(set, &terms[next++].values);
    else
        err = tide__set_all(set);
    for (; next < count && err == TIDE_OK; next++)
        err = apply(set, &terms[next]);
    return err == TIDE_OK ? tide__set_to_refs(set) : err;
}

enum tide_err tide_index_select(const struct tide_index *index, const struct tide_matcher *matchers,
                                size_t count, struct tide_query_limits *limits,
                                struct tide_index_refs *out)
{
    struct tide__set set = {.index = index, .limits = limits};
    struct term *terms = tide_mem_array(count + 1, sizeof(*terms));
    size_t term_count;
    enum tide_err err = TIDE_OK;

    if (terms == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (terms_init(index, matchers, count, terms, &term_count))
        err = run(&set, terms, term_count);
    for (size_t i = 0; i < term_count; i++)
        tide_mem_free(terms[i].values.ids);
    tide_mem_free(terms);
    if (err == TIDE_OK) {
        uint64_t held = set.count * sizeof(set.refs[0]);
        uint32_t *fitting = tide_mem_realloc(set.refs, held + 1);

        if (fitting != NULL)
            set.refs = fitting;
        /* What stays charged is the result. */
        if (held > set.charged_bytes)
            held = set.charged_bytes;
        *out = (struct tide_index_refs){set.refs, set.count, held};
        set.refs = NULL;
        set.charged_bytes -= held;
    }
    tide__set_deinit(&set);
    return err;
}

void tide_index_refs_deinit(struct tide_index_refs *refs, struct tide_query_limits *limits)
{
    tide_mem_free(refs->refs);
    tide__uncharge(limits, refs->charged_bytes);
    *refs = (struct tide_index_refs){NULL, 0, 0};
}
