/* The head: all series of one tenant in one shard, in memory. Deterministic: it reads no clock and
 * no environment, so that every replica that applies the same log holds the same state. Layout and
 * reasons: libcommon/head/README.md; source: DESIGN section 5. */
#ifndef TIDE_HEAD_HEAD_H
#define TIDE_HEAD_HEAD_H

#include "tide/base/file.h"
#include "tide/model/push.h"
#include "tide/model/source.h"

struct tide_head;

struct tide_head_options {
    int64_t partition_ms; /* Chunks never cross a multiple of this; 1 to INT32_MAX. Default 2 h. */
    uint32_t chunk_samples; /* Samples after which a chunk is cut, about: staggered by series.
                               2 to 1,024. Default 60. */
    uint32_t series_max;    /* Series this head may hold; more are refused with TIDE_ERR_LIMIT. */
};
extern const struct tide_head_options tide_head_options_default;

/* Samples with timestamps farther from 1970 than this (146 million years) are refused. */
#define TIDE_HEAD_TIME_MS_MAX ((int64_t)1 << 62)

/* Threads: one writer (the shard's applier) and any number of readers at once; the head locks
 * itself (docs/LOCKS.md). No call holds the lock for longer than a slice of work of about a
 * millisecond, except tide_head_freeze(). An empty head takes a few KiB: a node has shards times
 * tenants of them. */
/* Errors: TIDE_ERR_INVALID (an option out of range), TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_head_new(const struct tide_head_options *options,
                                              struct tide_head **out);
void tide_head_free(struct tide_head *head);

/* ---- Writer ---- */

/* The reference of the series with this identity, made if there is none. References count up from 0
 * and are never given to another series. Errors: TIDE_ERR_LIMIT (series_max), TIDE_ERR_NO_MEMORY.
 */
TIDE_CHECK_RESULT enum tide_err tide_head_series(struct tide_head *head,
                                                 struct tide_hash128 identity,
                                                 struct tide_labels labels, uint32_t *ref);

/* Changes options.series_max. Series over it that are there stay. */
void tide_head_series_max_set(struct tide_head *head, uint32_t series_max);

struct tide_head_rejects {
    struct tide_push_reject *items; /* Owned by the caller: tide_mem_free(). */
    size_t count;
    size_t capacity;
};

/* Appends count samples given as columns. A sample that is there already with the same bits is
 * accepted and changes nothing; one with other bits at the same timestamp is rejected
 * (DUPLICATE_TIMESTAMP), one with a timestamp before oldest_ms too (TOO_OLD), one with an unknown
 * reference too (NOT_FOUND), one that would make more than 300,000 partitions, or close
 * a chunk when there is no room for it (28 GiB), too (LIMIT). Any order of time is accepted. The
 * lock is given away now and then: readers may see the first part of a call. Errors:
 * TIDE_ERR_NO_MEMORY; TIDE_ERR_CORRUPT, only after restoring a checkpoint that nobody sound wrote.
 * Then the head is unusable and the process must end. */
TIDE_CHECK_RESULT enum tide_err tide_head_append(struct tide_head *head, const uint32_t *refs,
                                                 const int64_t *times_ms, const uint64_t *bits,
                                                 size_t count, int64_t oldest_ms,
                                                 struct tide_head_rejects *rejects);

/* The same for native histograms, each as tide_histogram_encode() made it. What is rejected has
 * first_index added to its index. A histogram where there is a float is rejected like one where
 * there is another histogram, and the other way round. Errors: as above; TIDE_ERR_CORRUPT also for
 * bytes that do not decode. */
TIDE_CHECK_RESULT enum tide_err
tide_head_append_histograms(struct tide_head *head, const uint32_t *refs, const int64_t *times_ms,
                            const struct tide_slice *histograms, size_t count, size_t first_index,
                            int64_t oldest_ms, struct tide_head_rejects *rejects);

/* Drops the partitions that end at or before before_ms, with all their samples, and the series left
 * without any. A before_ms inside a partition drops nothing of it. Errors: TIDE_ERR_NO_MEMORY, as
 * above. */
TIDE_CHECK_RESULT enum tide_err tide_head_truncate(struct tide_head *head, int64_t before_ms);

/* ---- Readers ---- */

/* Series that satisfy all matchers, in an order that depends on the content only (rising identity).
 * Series whose newest sample is before mint_ms are left out. Implements tide_source.select for one
 * head, which must outlive the set. */
TIDE_CHECK_RESULT enum tide_err tide_head_select(struct tide_head *head,
                                                 const struct tide_select *select,
                                                 struct tide_query_limits *limits,
                                                 struct tide_series_set **out);
TIDE_CHECK_RESULT enum tide_err tide_head_label_names(struct tide_head *head,
                                                      const struct tide_select *select,
                                                      struct tide_query_limits *limits,
                                                      tide_string_sink sink, void *sink_context);
TIDE_CHECK_RESULT enum tide_err tide_head_label_values(struct tide_head *head,
                                                       const struct tide_select *select,
                                                       struct tide_slice name,
                                                       struct tide_query_limits *limits,
                                                       tide_string_sink sink, void *sink_context);
/* Labels of a reference, copied to arena. TIDE_ERR_NOT_FOUND. */
TIDE_CHECK_RESULT enum tide_err tide_head_labels(struct tide_head *head, uint32_t ref,
                                                 struct tide_arena *arena, struct tide_labels *out);

struct tide_head_stats {
    uint64_t series;
    uint64_t samples; /* Held now, late ones and histograms included. */
    uint64_t chunks;  /* Sealed. */
    uint64_t label_pairs;
    int64_t min_ms, max_ms; /* INT64_MAX, INT64_MIN when empty. After tide_head_truncate() min_ms
                               may be as early as the oldest partition left. */
    /* Memory by purpose, in bytes. */
    uint64_t bytes_records, bytes_open, bytes_sealed, bytes_columns, bytes_late, bytes_histograms,
        bytes_labels, bytes_postings;
};
void tide_head_stats(struct tide_head *head, struct tide_head_stats *out);
/* For status/tsdb: series per value of __name__, per label pair, values per name and bytes of
 * values per name. name or value empty slices where they do not apply. sink answers false to stop.
 */
enum tide_head_cardinality {
    TIDE_CARD_SERIES_BY_METRIC,
    TIDE_CARD_SERIES_BY_PAIR,
    TIDE_CARD_VALUES_BY_NAME,
    TIDE_CARD_BYTES_BY_NAME
};
typedef bool (*tide_head_cardinality_sink)(void *context, struct tide_slice name,
                                           struct tide_slice value, uint64_t count);
TIDE_CHECK_RESULT enum tide_err tide_head_cardinality(struct tide_head *head,
                                                      enum tide_head_cardinality what,
                                                      tide_head_cardinality_sink sink,
                                                      void *context);

/* ---- Checkpoints ---- */

/* A frozen view of the head: copies what changes (open chunks, records, late samples) and pins what
 * does not (sealed chunks, labels), so that the writer goes on while it is written out. Called by
 * the writer, between two appends: milliseconds per 100,000 series. One frozen view at a time. */
struct tide_head_frozen;
TIDE_CHECK_RESULT enum tide_err tide_head_freeze(struct tide_head *head,
                                                 struct tide_head_frozen **out);
/* Writes it, once; any thread. The same state gives the same bytes, whatever led to it. Layout:
 * docs/format/checkpoint.md. */
TIDE_CHECK_RESULT enum tide_err tide_head_frozen_write(struct tide_head_frozen *frozen,
                                                       struct tide_file_writer *writer,
                                                       struct tide_diag *diag);
void tide_head_frozen_free(struct tide_head_frozen *frozen); /* Any thread; before the head. */
/* Reads what frozen_write wrote into a new head; the reader then stands after it. The partitions
 * are as long as they were, whatever options say. Indexes are rebuilt. Never trusts a byte, and
 * keeps none. Errors: TIDE_ERR_CORRUPT with diag, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_head_restore(const struct tide_head_options *options,
                                                  struct tide_reader *reader,
                                                  struct tide_head **out, struct tide_diag *diag);

#endif
