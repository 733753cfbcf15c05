/* The index of one head (one tenant in one shard): which series there are, their labels, and which
 * of them satisfy a set of matchers. Deterministic: it reads no clock and no environment. Shapes
 * and reasons: libcommon/index/README.md; source: DESIGN section 5.
 *
 * Threads: one writer and many readers, under a read-write lock that the caller owns (the head's).
 * Each call below says which side it needs:
 *   [exclusive]  the writer, with no reader inside.
 *   [shared]     any number at once, while the writer is kept out.
 *   [none]       no lock at all: it reads only what never changes once it was published. The caller
 *                must have learned the reference or id under the lock, or from the writer. */
#ifndef TIDE_INDEX_INDEX_H
#define TIDE_INDEX_INDEX_H

#include "tide/model/source.h"

struct tide_index;

/* References are below this: the push format keeps the top bit (TIDE_PUSH_NEW). */
#define TIDE_INDEX_REF_MAX 0x7fffffffu
/* Not a name, value or reference. */
#define TIDE_INDEX_NONE 0xffffffffu

/* An empty index takes about 1 KiB: a node has shards times tenants of them.
 * Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_index_new(struct tide_index **out);
void tide_index_free(struct tide_index *index); /* NULL is allowed. */

/* ---- Series ---- */

/* [exclusive] The reference of the series with these labels, made when there is none: then *created
 * is true. References count up from 0 and are never given to another series, nor again after
 * tide_index_remove(). About 1 us for a new series of 12 labels.
 *
 * identity  tide_labels_identity() of labels. Its top 32 bits find the series (labels are compared
 *           too, so two series never become one) and order selections: they must be well spread, or
 *           each lookup compares many labels.
 * labels    Copied. Valid as struct tide_labels says.
 *
 * Errors: TIDE_ERR_LIMIT (references used up, or 4 GiB of text or of label lists),
 * TIDE_ERR_NO_MEMORY; in both cases nothing is added. The bitmap library cannot report lack of
 * memory: it ends the process. */
TIDE_CHECK_RESULT enum tide_err tide_index_add(struct tide_index *index,
                                               struct tide_hash128 identity,
                                               struct tide_labels labels, uint32_t *ref,
                                               bool *created);
/* [shared] The same without making one. Errors: TIDE_ERR_NOT_FOUND. */
TIDE_CHECK_RESULT enum tide_err tide_index_find(const struct tide_index *index,
                                                struct tide_hash128 identity,
                                                struct tide_labels labels, uint32_t *ref);

/* [exclusive] Removes series: no selection, listing or lookup finds them from now on, and values
 * left without a series are listed no more. Unknown and removed references are passed over. About 1
 * us a series: cut big removals into slices of some thousands. Their labels stay readable, because
 * readers may still hold the references; that memory (tide_index_stats: bytes_dead) goes when the
 * index is written and restored. */
void tide_index_remove(struct tide_index *index, const uint32_t *refs, size_t count);

/* [shared] */
uint32_t tide_index_ref_count(const struct tide_index *index);    /* One past the last given out. */
uint32_t tide_index_series_count(const struct tide_index *index); /* Not removed. */
bool tide_index_contains(const struct tide_index *index, uint32_t ref); /* Not removed. */

/* ---- Labels of a series ---- */

/* [none] Label set of ref, removed or not. The pairs are in arena; the slices borrow from the index
 * and live as long as it does. Errors: TIDE_ERR_NOT_FOUND: never given out, or removed before a
 * restore; TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_index_labels(const struct tide_index *index, uint32_t ref,
                                                  struct tide_arena *arena,
                                                  struct tide_labels *out);
/* [none] Value of one label, empty when the series has none; lives as long as the index. */
struct tide_slice tide_index_label(const struct tide_index *index, uint32_t ref,
                                   struct tide_slice name);

/* For grouping many series by a label: look the name up once, then ask by id. Value ids count up
 * from 0 for each name; equal ids of one name are equal values. */
/* [shared] Id of a label name, or TIDE_INDEX_NONE when no series ever had it. */
uint32_t tide_index_name_id(const struct tide_index *index, struct tide_slice name);
/* [none] Value id of the label in ref, or TIDE_INDEX_NONE. name_id may be TIDE_INDEX_NONE. */
uint32_t tide_index_value_id(const struct tide_index *index, uint32_t ref, uint32_t name_id);
/* [none] Text of a value; the empty slice for TIDE_INDEX_NONE. Lives as long as the index. */
struct tide_slice tide_index_value_text(const struct tide_index *index, uint32_t name_id,
                                        uint32_t value_id);

/* ---- Selections ---- */

/* References in memory that is charged to the limits it was made under. Zero-initialised is empty.
 */
struct tide_index_refs {
    uint32_t *refs;
    size_t count;
    uint64_t charged_bytes;
};
/* Frees and gives the charge back. limits: as when it was made. */
void tide_index_refs_deinit(struct tide_index_refs *refs, struct tide_query_limits *limits);

/* [shared] Series that satisfy all matchers, in rising reference. A label that is absent counts as
 * empty, as in Prometheus: {a!="x"} takes series without a, {a=""} only those. No matchers: all.
 * Sets of literals are looked up, prefixes found by binary search, the other kinds decided by
 * scanning the dictionary of the label or the label of the candidates left, whichever is less.
 *
 * limits  May be NULL. The result and what it takes to find it are charged; series are not counted.
 * out     Set on TIDE_OK only.
 *
 * Errors: TIDE_ERR_LIMIT, TIDE_ERR_TIMEOUT, TIDE_ERR_CANCELED, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_index_select(const struct tide_index *index,
                                                  const struct tide_matcher *matchers, size_t count,
                                                  struct tide_query_limits *limits,
                                                  struct tide_index_refs *out);

/* [none] Sorts references into an order that depends on the series' content only, not on when they
 * came: by the top 32 bits of their identity, then by labels. Since a shard is a range of those
 * bits, the sorted selections of all shards, one after the other in order of shard, are in this
 * order too. 1 M take some 20 ms. Errors: TIDE_ERR_LIMIT, TIDE_ERR_NO_MEMORY: refs are as they
 * were. */
TIDE_CHECK_RESULT enum tide_err tide_index_sort(const struct tide_index *index, uint32_t *refs,
                                                size_t count, struct tide_query_limits *limits);
/* [none] The order of two references as tide_index_sort() has it: <0, 0 (the same series), >0. */
int tide_index_compare(const struct tide_index *index, uint32_t a, uint32_t b);
/* [none] The 32 bits of the identity that order ref. */
uint32_t tide_index_order_key(const struct tide_index *index, uint32_t ref);

/* ---- Listings ---- */

/* [shared] Distinct label names, or values of name, of the series that satisfy the matchers, in no
 * particular order; TIDE_OK too when the sink stopped it. The slices live as long as the index.
 * Errors: as tide_index_select(). */
TIDE_CHECK_RESULT enum tide_err tide_index_label_names(const struct tide_index *index,
                                                       const struct tide_matcher *matchers,
                                                       size_t count,
                                                       struct tide_query_limits *limits,
                                                       tide_string_sink sink, void *context);
TIDE_CHECK_RESULT enum tide_err
tide_index_label_values(const struct tide_index *index, struct tide_slice name,
                        const struct tide_matcher *matchers, size_t count,
                        struct tide_query_limits *limits, tide_string_sink sink, void *context);

/* [shared] Calls sink with each pair that has series and how many it has, until it answers false.
 * name: only pairs of this name; the empty slice: of all. */
typedef bool (*tide_index_pair_sink)(void *context, struct tide_slice name, struct tide_slice value,
                                     uint64_t series);
void tide_index_each_pair(const struct tide_index *index, struct tide_slice name,
                          tide_index_pair_sink sink, void *context);
/* [shared] Calls sink with each name that has series: how many values and how many bytes of value
 * text it has, and the sum of the series of its values. */
struct tide_index_name_stats {
    struct tide_slice name;
    uint32_t values;
    uint32_t series;
    uint64_t bytes;
};
typedef bool (*tide_index_name_sink)(void *context, const struct tide_index_name_stats *stats);
void tide_index_each_name(const struct tide_index *index, tide_index_name_sink sink, void *context);

/* [shared] Counts and memory by purpose, in bytes held from the allocator (of big blocks only the
 * part in use). */
struct tide_index_stats {
    uint64_t series;        /* Not removed. */
    uint64_t names, values; /* With series. */
    uint64_t bytes_labels;  /* References and label lists. */
    uint64_t bytes_table;   /* Series hash table. */
    uint64_t bytes_symbols; /* Names, values, their tables and orders. */
    uint64_t bytes_postings;
    uint64_t bytes_dead; /* Part of labels and symbols that removed series hold, about. */
};
void tide_index_stats(const struct tide_index *index, struct tide_index_stats *out);

/* ---- Checkpoints ---- */

/* A view of the series at one moment that is written while the writer goes on. Values without
 * series are left out of it. Layout: docs/format/index.md. */
struct tide_index_frozen;
/* [shared] Microseconds: it notes the count of references and copies the set of removed ones. The
 * index must outlive it. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_index_freeze(const struct tide_index *index,
                                                  struct tide_index_frozen **out);
/* [none] Appends the next part, about 256 KiB, to buf. TIDE_OK: there is more; TIDE_END: this was
 * the last. Errors: TIDE_ERR_NO_MEMORY; then it can only be freed. */
TIDE_CHECK_RESULT enum tide_err tide_index_frozen_next(struct tide_index_frozen *frozen,
                                                       struct tide_buf *buf);
void tide_index_frozen_free(struct tide_index_frozen *frozen); /* NULL is allowed. */
/* Reads what the parts of a frozen index are together into a new index, with the same references.
 * Tables and postings are rebuilt: 1 M series take about a second. The bytes are not trusted and
 * not kept.
 *
 * ref_max  The most references the caller is ready for; more are TIDE_ERR_CORRUPT.
 *
 * Errors: TIDE_ERR_CORRUPT (diag says what), TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_index_restore(struct tide_reader *reader, uint32_t ref_max,
                                                   struct tide_index **out, struct tide_diag *diag);

#endif
