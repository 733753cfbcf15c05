#ifndef TIDE_HEAD_READ_PRIVATE_H
#define TIDE_HEAD_READ_PRIVATE_H

#include "head_private.h"

/* Reads count series, as tide_series_set_ops.read says. Unknown and removed ones have no samples.
 * Takes the lock itself. Errors: those of the limits (NULL: none), TIDE_ERR_NO_MEMORY (also the
 * arena's bound), TIDE_ERR_CORRUPT (restored from a bad checkpoint). */
TIDE_CHECK_RESULT enum tide_err tide__head_read(struct tide_head *head, const uint32_t *refs,
                                                size_t count, int64_t mint_ms, int64_t maxt_ms,
                                                struct tide_query_limits *limits,
                                                struct tide_batch *batch);

#endif
