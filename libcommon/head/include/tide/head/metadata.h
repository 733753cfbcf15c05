/* What metrics mean, as one tenant's senders tell one shard: kind, help and unit of each metric
 * family; the last word counts. Deterministic like the head. */
#ifndef TIDE_HEAD_METADATA_H
#define TIDE_HEAD_METADATA_H

#include "tide/model/source.h"

struct tide_metadata_store;

/* Metrics kept for a tenant in one shard. A fleet has some thousands of names over all its shards.
 */
#define TIDE_METADATA_COUNT_MAX 100000u
/* Help and unit are cut to this many bytes, at the end of a UTF-8 sequence. */
#define TIDE_METADATA_TEXT_BYTES_MAX 1024u

/* Threads: any, it locks itself. */
TIDE_CHECK_RESULT enum tide_err tide_metadata_store_new(struct tide_metadata_store **out);
void tide_metadata_store_free(struct tide_metadata_store *store); /* NULL is allowed. */

/* Errors: TIDE_ERR_LIMIT, too many metrics; TIDE_ERR_TOO_LARGE, the name; TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_metadata_store_set(struct tide_metadata_store *store,
                                                        const struct tide_metadata *metadata);
/* Hands out the metric's record, or every metric's when metric is empty, in no order. */
TIDE_CHECK_RESULT enum tide_err tide_metadata_store_each(struct tide_metadata_store *store,
                                                         struct tide_slice metric,
                                                         tide_metadata_sink sink, void *context);

/* Appends all for a checkpoint, sorted by name. Check tide_buf_ok() after. Layout:
 * docs/format/checkpoint.md. */
void tide_metadata_store_write(struct tide_metadata_store *store, struct tide_buf *out);
/* Fills an empty store. Errors: TIDE_ERR_CORRUPT, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_metadata_store_restore(struct tide_metadata_store *store,
                                                            struct tide_slice bytes);

#endif
