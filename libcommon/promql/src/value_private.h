/* What evaluation passes between nodes: a matrix, that is the value of one expression at all steps
 * of the query at once. Rows are dense over the steps with a presence bitmap beside them, so that
 * every operator is a loop over plain arrays. */
#ifndef TIDE_PROMQL_VALUE_PRIVATE_H
#define TIDE_PROMQL_VALUE_PRIVATE_H

#include "tide/model/histogram.h"
#include "tide/model/labels.h"
#include "tide/model/sample.h"

/* One evaluation of one query; see eval_private.h. */
struct tide__eval;

/* Steps per word of a presence bitmap: bit (step % 64) of word (step / 64). */
#define TIDE__WORD_STEPS 64

static inline size_t tide__word_count(size_t step_count)
{
    return (step_count + TIDE__WORD_STEPS - 1) / TIDE__WORD_STEPS;
}
static inline bool tide__bit(const uint64_t *words, size_t step)
{
    return (words[step / TIDE__WORD_STEPS] >> (step % TIDE__WORD_STEPS)) & 1;
}
static inline void tide__bit_set(uint64_t *words, size_t step)
{
    words[step / TIDE__WORD_STEPS] |= (uint64_t)1 << (step % TIDE__WORD_STEPS);
}
static inline void tide__bit_clear(uint64_t *words, size_t step)
{
    words[step / TIDE__WORD_STEPS] &= ~((uint64_t)1 << (step % TIDE__WORD_STEPS));
}
static inline void tide__bit_assign(uint64_t *words, size_t step, bool on)
{
    if (on)
        tide__bit_set(words, step);
    else
        tide__bit_clear(words, step);
}
/* Bits past step_count are always zero, so that words can be counted and compared whole. */
static inline uint64_t tide__last_word_mask(size_t step_count)
{
    size_t rest = step_count % TIDE__WORD_STEPS;

    return rest == 0 ? UINT64_MAX : ((uint64_t)1 << rest) - 1;
}
static inline bool tide__any_present(const uint64_t *words, size_t word_count)
{
    for (size_t i = 0; i < word_count; i++)
        if (words[i] != 0)
            return true;
    return false;
}

/* One series of a matrix. */
struct tide__row {
    /* The full label set, the metric name included even when drop_name is set: the name is removed
     * only at the end of the query ("delayed name removal"). Lives as long as the query. */
    struct tide_labels labels;
    bool drop_name;
    double *values;    /* step_count values; meaningless where absent. */
    uint64_t *present; /* word_count words. */
    /* NULL when all points are floats; else one for each step, meaningless where absent, NULL where
     * the point is a float. Neither the array nor a histogram is changed once it stands here, so
     * rows may share them; they live as long as the query. */
    const struct tide_histogram *const *histograms;
};
/* The histogram of a point that is present, or NULL. */
static inline const struct tide_histogram *tide__row_histogram(const struct tide__row *row,
                                                               size_t step)
{
    return row->histograms == NULL ? NULL : row->histograms[step];
}

/* Owned by one place; freed by tide__matrix_free(), which gives its memory back to the query's
 * limits. */
struct tide__matrix {
    struct tide__eval *eval;
    size_t step_count;
    size_t word_count;
    size_t row_count; /* Used. May be lowered by whoever fills the matrix. */
    size_t row_capacity;
    struct tide__row *rows;
    bool cached; /* A common subexpression that will be read again: not to be changed in place. */

    /* Private. */
    void *block;
    uint64_t charged_bytes;
};

/* A matrix of row_count rows of eval's step count: values unset, nothing present, labels empty.
 * row_count may be an upper bound; the caller lowers matrix->row_count when fewer came out.
 * Errors: TIDE_ERR_NO_MEMORY, TIDE_ERR_LIMIT. */
TIDE_CHECK_RESULT enum tide_err tide__matrix_new(struct tide__eval *eval, size_t row_count,
                                                 struct tide__matrix **out);
void tide__matrix_free(struct tide__matrix *m); /* NULL is allowed. */

/* Memory that lives as long as the query, charged to its limits: for label sets. NULL when there
 * is none or over the limit: answer tide__eval_no_memory(eval). Only the thread that evaluates the
 * tree may call it, that is not the range and map kernels. */
void *tide__eval_alloc(struct tide__eval *eval, size_t bytes);
bool tide__eval_over_limit(struct tide__eval *eval);
static inline enum tide_err tide__eval_no_memory(struct tide__eval *eval)
{
    return tide__eval_over_limit(eval) ? TIDE_ERR_LIMIT : TIDE_ERR_NO_MEMORY;
}
/* Refuses the query with a message: sets the error's text when there is none yet. */
enum tide_err tide__eval_fail(struct tide__eval *eval, enum tide_err err, const char *format, ...)
    TIDE_PRINTF(3, 4);
/* TIDE_OK, or canceled or past the deadline: called once per batch of rows. */
TIDE_CHECK_RESULT enum tide_err tide__eval_check(struct tide__eval *eval);

/* The hash of a label set, for maps by label set. */
uint64_t tide__labels_hash(struct tide_labels labels);

#endif
