/* The state of one query and what the parts of the evaluator call of each other. */
#ifndef TIDE_PROMQL_EVAL_PRIVATE_H
#define TIDE_PROMQL_EVAL_PRIVATE_H

#include "functions_private.h"
#include "pool_private.h"
#include "value_private.h"

#include "tide/model/source.h"
#include "tide/promql/engine.h"
#include "tide/promql/parse.h"

#include <pthread.h>

/* Threads that may work on one query, whatever the pool has. */
#define TIDE__SLOTS_MAX 64

/* The steps an expression is evaluated at: those of the query, of a subquery, or one alone. */
struct tide__grid {
    int64_t start_ms;
    int64_t step_ms;
    size_t step_count;
    size_t word_count;
    const int64_t *times_ms;
};

/* A selection of series, kept to the end of the query since label sets borrow from it. */
struct tide__set_entry {
    struct tide_hash128 key; /* Of the selector. */
    int64_t mint_ms;
    int64_t maxt_ms;
    struct tide_series_set *set;
    struct tide__set_entry *next;
};

/* The value of a subexpression that stands in the query more than once. */
struct tide__shared {
    struct tide_hash128 key;
    struct tide__matrix *matrix;
    struct tide__shared *next;
};

/* Warnings and infos; see notes.c. */
struct tide__note {
    bool info;
    struct tide_slice text;
};
struct tide__notes {
    pthread_mutex_t lock; /* Leaf. Guards the rest. */
    struct tide_arena *arena;
    struct tide__note *list;
    size_t count;
    size_t capacity;
    size_t omitted; /* Over the bound, repeated ones among them. */
};

struct tide__eval {
    struct tide__pool *pool;
    unsigned slot_count;
    const struct tide_source *source;
    struct tide_query_limits *limits; /* Never NULL. */
    struct tide_slice tenant;
    struct tide_promql query;
    struct tide_promql_times times;
    bool instant;
    int64_t lookback_ms;
    int64_t subquery_step_ms;

    const struct tide__grid *grid; /* Of the node being evaluated. */
    struct tide_arena *arena;
    uint64_t arena_charged;
    /* Memory of the worker threads that lives as long as the query: for label sets. */
    struct tide_arena *slot_arenas[TIDE__SLOTS_MAX];
    uint64_t slot_charged[TIDE__SLOTS_MAX];

    struct tide__set_entry *sets;
    struct tide__shared *shared;
    struct tide_hash128 *hashes; /* By node id: what the subtree says. */
    bool *is_shared;             /* By node id: worth keeping. */
    bool *is_fixed; /* By node id: all selectors in it have an `@`, so it has one value. */
    struct tide__notes notes;

    pthread_mutex_t fail_lock; /* Leaf. Guards the text of diag. */
    struct tide_diag diag;
    struct tide_query_limits own_limits;
};

/* ---- engine.c ---- */

/* An arena that holds no more than the query may use at all, for what is charged only after it was
 * allocated. Without memory in it, answer tide__arena_no_memory(). */
struct tide_arena *tide__arena_new(const struct tide__eval *eval);
enum tide_err tide__arena_no_memory(struct tide__eval *eval, const struct tide_arena *arena);
/* Memory of one worker that lives as long as the query; NULL when there is none. */
struct tide_arena *tide__slot_arena(struct tide__eval *eval, unsigned slot);
/* Charges bytes to the query's limits, before they are allocated. Errors: TIDE_ERR_LIMIT. */
TIDE_CHECK_RESULT enum tide_err tide__charge(struct tide__eval *eval, uint64_t bytes);
/* Gives charged bytes back. */
void tide__release(struct tide__eval *eval, uint64_t bytes);
/* Charges what an arena has grown by since *charged was last set. */
TIDE_CHECK_RESULT enum tide_err
tide__charge_arena(struct tide__eval *eval, const struct tide_arena *arena, uint64_t *charged);

/* ---- value.c ---- */

/* Rows with equal labels, which agree on dropping the name, become one where their points lie at
 * different steps; else the query fails with the message conflict. Rows without a point go. Keeps
 * the order. */
#define TIDE__SAME_LABELS "vector cannot contain metrics with the same labelset"
TIDE_CHECK_RESULT enum tide_err tide__matrix_merge_same(struct tide__matrix *m,
                                                        const char *conflict);
/* A matrix that may be changed: m itself, or a copy when m is cached. Takes m. */
TIDE_CHECK_RESULT enum tide_err tide__matrix_own(struct tide__matrix *m, struct tide__matrix **out);
/* Gives row copies of the histograms at the steps where it has points, in arena. */
TIDE_CHECK_RESULT enum tide_err tide__row_keep(struct tide__row *row,
                                               const struct tide_histogram *const *histograms,
                                               size_t step_count, struct tide_arena *arena);
/* Takes the points that are histograms away; true when there was one. The row's own presence words
 * are changed. */
bool tide__row_drop_histograms(struct tide__row *row, size_t step_count);
/* Removes rows without a point. */
void tide__matrix_compact(struct tide__matrix *m);
/* Sorted distinct copy of names, in the eval's arena. */
TIDE_CHECK_RESULT enum tide_err tide__names_sorted(struct tide__eval *eval,
                                                   const struct tide_slice *names, size_t count,
                                                   struct tide_slice **out, size_t *out_count);
bool tide__names_have(const struct tide_slice *sorted, size_t count, struct tide_slice name);
/* Labels as Prometheus' errors show a series: {__name__="x", a="b"}. */
void tide__labels_print(struct tide_labels labels, struct tide_buf *out);
/* What beside the names asked for leaves a label set: the metric name, or with it the labels that
 * describe the metric (__type__, __unit__), which are gone once its values mean something else. */
enum tide__drop { TIDE__DROP_NOTHING, TIDE__DROP_NAME, TIDE__DROP_METADATA };
/* Writes to pairs (room for labels.count) the labels whose name is in names (keep), or not in
 * names, except those dropped. Answers how many. */
size_t tide__labels_filter(struct tide_labels labels, const struct tide_slice *names, size_t count,
                           bool keep, enum tide__drop drop, struct tide_label *pairs);
/* Sets name to value in pairs (sorted, room for one more); an empty value removes it. Answers the
 * new count. */
size_t tide__labels_set(struct tide_label *pairs, size_t count, struct tide_slice name,
                        struct tide_slice value);
bool tide__is_metric_name(struct tide_slice name);

/* A map from label sets, each with a tag of one bit, to small numbers; open addressing. */
struct tide__label_map {
    struct tide__eval *eval;
    uint32_t *slots; /* Index + 1 into the entries, 0: free. */
    size_t slot_count;
    struct tide_labels *labels;
    uint64_t *hashes; /* Of labels and tag: the tag is in the lowest bit. */
    size_t count;
    size_t charged_bytes;
};
/* Room for count_max entries. Errors: TIDE_ERR_NO_MEMORY, TIDE_ERR_LIMIT. */
TIDE_CHECK_RESULT enum tide_err tide__label_map_init(struct tide__label_map *map,
                                                     struct tide__eval *eval, size_t count_max);
void tide__label_map_deinit(struct tide__label_map *map);
/* The number of labels (borrowed) and tag, a new one (map->count before) when it was not there. */
uint32_t tide__label_map_put_tagged(struct tide__label_map *map, struct tide_labels labels,
                                    bool tag);
static inline uint32_t tide__label_map_put(struct tide__label_map *map, struct tide_labels labels)
{
    return tide__label_map_put_tagged(map, labels, false);
}

/* ---- notes.c ---- */

void tide__note_at(struct tide__eval *eval, bool info, struct tide_promql_range pos,
                   const char *format, ...) TIDE_PRINTF(4, 5);
enum tide_err tide__notes_init(struct tide__notes *notes);
void tide__notes_deinit(struct tide__notes *notes);

/* ---- eval_node.c ---- */

/* The value of an instant vector expression; the caller frees it. */
TIDE_CHECK_RESULT enum tide_err
tide__eval_vector(struct tide__eval *eval, const struct tide_expr *expr, struct tide__matrix **out);
/* The value of a scalar expression at the steps of the grid. */
TIDE_CHECK_RESULT enum tide_err tide__eval_scalar(struct tide__eval *eval,
                                                  const struct tide_expr *expr, const double **out);
/* Evaluates the arguments of a call. Range vectors are left NONE. */
TIDE_CHECK_RESULT enum tide_err tide__call_init(struct tide__eval *eval,
                                                const struct tide_expr *expr, bool skip_vectors,
                                                struct tide__call *out);
void tide__call_deinit(struct tide__call *call); /* Frees the matrices among the arguments. */
/* Makes a grid of step_count steps in the eval's arena. */
TIDE_CHECK_RESULT enum tide_err tide__grid_new(struct tide__eval *eval, int64_t start_ms,
                                               int64_t step_ms, size_t step_count,
                                               const struct tide__grid **out);

/* ---- expr_info.c ---- */

/* What a selector says, as a hash. */
TIDE_CHECK_RESULT enum tide_err tide__selector_hash(const struct tide_selector *selector,
                                                    struct tide_hash128 *out);
/* Fills eval->hashes, is_shared and is_fixed. */
TIDE_CHECK_RESULT enum tide_err tide__expr_info(struct tide__eval *eval);

/* ---- Operators ---- */

/* Arithmetic or a filtering comparison of two numbers; *keep is false where a comparison does not
 * hold. The value of a comparison is the left one. */
double tide__binary_number(enum tide_binary_op op, double lhs, double rhs, bool *keep);
/* vector op scalar (swapped: scalar op vector) on one row in place. */
void tide__binary_row(enum tide_binary_op op, bool return_bool, bool swapped, const double *scalar,
                      size_t step_count, double *values, uint64_t *present);
/* vector op vector. Borrows both sides. */
TIDE_CHECK_RESULT enum tide_err tide__binary_match(struct tide__eval *eval,
                                                   const struct tide_expr *expr,
                                                   const struct tide__matrix *lhs,
                                                   const struct tide__matrix *rhs,
                                                   struct tide__matrix **out);
TIDE_CHECK_RESULT enum tide_err tide__binary_set(struct tide__eval *eval,
                                                 const struct tide_expr *expr,
                                                 const struct tide__matrix *lhs,
                                                 const struct tide__matrix *rhs,
                                                 struct tide__matrix **out);
/* The number of each row's match group: rows whose labels agree under matching. */
TIDE_CHECK_RESULT enum tide_err tide__match_groups(struct tide__eval *eval,
                                                   const struct tide_matching *matching,
                                                   const struct tide__matrix *m,
                                                   struct tide__label_map *map, uint32_t *groups);

TIDE_CHECK_RESULT enum tide_err
tide__aggregate(struct tide__eval *eval, const struct tide_expr *expr, struct tide__matrix **out);
/* topk, bottomk, limitk, limit_ratio, quantile and count_values: on whole matrices. Takes m. */
TIDE_CHECK_RESULT enum tide_err tide__aggregate_whole(struct tide__eval *eval,
                                                      const struct tide_expr *expr,
                                                      struct tide__matrix *m,
                                                      struct tide__matrix **out);
/* sort, sort_desc, sort_by_label(_desc). */
TIDE_CHECK_RESULT enum tide_err tide__sort(struct tide__eval *eval, const struct tide_expr *expr,
                                           struct tide__matrix **out);
TIDE_CHECK_RESULT enum tide_err tide__info(struct tide__eval *eval, const struct tide_expr *expr,
                                           struct tide__matrix **out);
TIDE_CHECK_RESULT enum tide_err tide__absent(struct tide__eval *eval, const struct tide_expr *expr,
                                             struct tide__matrix **out);

#endif
