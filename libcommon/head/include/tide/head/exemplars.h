/* The exemplars of one tenant in one shard: a ring of the newest ones. Deterministic like the head:
 * it reads no clock. */
#ifndef TIDE_HEAD_EXEMPLARS_H
#define TIDE_HEAD_EXEMPLARS_H

#include "tide/model/sample.h"

struct tide_exemplars;

/* Label names and values of one exemplar together, in bytes. OpenMetrics says 128 code points;
 * UTF-8 takes up to four bytes for each. */
#define TIDE_EXEMPLAR_LABELS_BYTES_MAX 512

/* count_max: how many are kept. The ring grows up to that as it fills. Threads: any, it locks
 * itself. */
TIDE_CHECK_RESULT enum tide_err tide_exemplars_new(uint32_t count_max, struct tide_exemplars **out);
void tide_exemplars_free(struct tide_exemplars *store); /* NULL is allowed. */

/* Keeps an exemplar of the series ref. The series' newest one again changes nothing.
 * Errors: TIDE_ERR_TOO_OLD, older than the series' newest; TIDE_ERR_DUPLICATE_TIMESTAMP, another
 * one at its time; TIDE_ERR_TOO_LARGE, its labels; TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_exemplars_add(struct tide_exemplars *store, uint32_t ref,
                                                   const struct tide_exemplar *exemplar);

struct tide_stored_exemplar {
    uint32_t ref;
    struct tide_exemplar exemplar;
};
/* Those with mint <= ts <= maxt by rising reference, then time, copied into arena. */
TIDE_CHECK_RESULT enum tide_err tide_exemplars_collect(struct tide_exemplars *store,
                                                       int64_t mint_ms, int64_t maxt_ms,
                                                       struct tide_arena *arena,
                                                       const struct tide_stored_exemplar **out,
                                                       size_t *count);

/* Appends all for a checkpoint; the same content gives the same bytes. Check tide_buf_ok() after.
 * Layout: docs/format/checkpoint.md. */
void tide_exemplars_write(struct tide_exemplars *store, struct tide_buf *out);
/* Fills an empty store. Errors: TIDE_ERR_CORRUPT, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_exemplars_restore(struct tide_exemplars *store,
                                                       struct tide_slice bytes);

#endif
