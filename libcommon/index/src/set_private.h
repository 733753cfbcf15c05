/* The candidates of a selection while it is narrowed down: an array while they are few or were put
 * together from small lists, a roaring bitmap while they are many. */
#ifndef TIDE_INDEX_SET_PRIVATE_H
#define TIDE_INDEX_SET_PRIVATE_H

#include "index_private.h"

/* Work between two looks at the deadline. */
#define TIDE__CHECK_EVERY 16384u

struct tide__set {
    const struct tide_index *index;
    struct tide_query_limits *limits;
    uint64_t charged_bytes; /* Everything held for the selection. */

    const struct roaring_bitmap_s *bitmap; /* NULL: refs. */
    struct roaring_bitmap_s *owned;        /* The same, when it is ours to change. */
    uint32_t *refs;                        /* Rising. */
    size_t count;
};

/* Some values of one name, in rising id. */
struct tide__values {
    const struct tide__name *name;
    uint32_t name_id;
    uint32_t *ids;
    size_t count;
    size_t capacity;
    uint64_t series; /* Of all of them; a series has one value of a name. */
};

/* All calls: TIDE_ERR_LIMIT, TIDE_ERR_NO_MEMORY, and TIDE_ERR_TIMEOUT and TIDE_ERR_CANCELED where
 * the work is long. After one the set can only be freed. */
TIDE_CHECK_RESULT enum tide_err tide__set_charge(struct tide__set *set, uint64_t bytes);
void tide__set_deinit(struct tide__set *set); /* Frees and gives all charges back. */

/* Fills a set that is empty. */
TIDE_CHECK_RESULT enum tide_err tide__set_all(struct tide__set *set);
TIDE_CHECK_RESULT enum tide_err tide__set_of_values(struct tide__set *set,
                                                    const struct tide__values *values);
size_t tide__set_count(const struct tide__set *set);
/* Keeps what has one of the values. */
TIDE_CHECK_RESULT enum tide_err tide__set_and(struct tide__set *set,
                                              const struct tide__values *values);
/* Takes out what has one of the values. */
TIDE_CHECK_RESULT enum tide_err tide__set_and_not(struct tide__set *set,
                                                  const struct tide__values *values);
/* Turns it into an array: refs and count. */
TIDE_CHECK_RESULT enum tide_err tide__set_to_refs(struct tide__set *set);

#endif
