/* The bytes of one log entry, shared between a group, the log writer and the application.
 *
 * A payload is either whole (a message from a peer, an entry read back, a configuration) or a batch
 * of proposals: then its parts are the length and the bytes of each item in turn, still in the
 * memory they were proposed in. Both are the same bytes in the log: docs/format/raft-log.md. */
#ifndef TIDE_RAFT_PAYLOAD_PRIVATE_H
#define TIDE_RAFT_PAYLOAD_PRIVATE_H

#include "tide/base/slice.h"

#include <stdatomic.h>

/* One proposal. */
struct tide__item {
    struct tide_buf data;
    void *token;
};

struct tide__payload {
    atomic_uint_fast32_t refs;
    uint32_t item_count; /* 0: whole, in one part or none. */
    uint32_t part_count;
    size_t bytes; /* Of all parts. */
    struct tide_slice *parts;
    struct tide__item *items;
    struct tide_buf whole;
};

/* Moves the items; they are untouched on failure. NULL: no memory. count >= 1. */
struct tide__payload *tide__payload_of_items(struct tide__item *items, uint32_t count);
/* Moves whole; untouched on failure. */
struct tide__payload *tide__payload_of_buf(struct tide_buf *whole);
struct tide__payload *tide__payload_copy(struct tide_slice bytes);
struct tide__payload *tide__payload_ref(struct tide__payload *payload);
void tide__payload_unref(struct tide__payload *payload); /* NULL is allowed. */

/* Bytes that a proposal of len bytes takes in an entry. */
size_t tide__payload_item_bytes(size_t len);
/* Takes the next item of a whole payload. TIDE_END after the last; TIDE_ERR_CORRUPT. */
TIDE_CHECK_RESULT enum tide_err tide__payload_next(struct tide_reader *reader,
                                                   struct tide_slice *out);

#endif
