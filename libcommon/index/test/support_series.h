/* What the tests of the index share: seeded randomness and label sets made from text. */
#ifndef TIDE_INDEX_TEST_SUPPORT_SERIES_H
#define TIDE_INDEX_TEST_SUPPORT_SERIES_H

#include "tide/index/index.h"

/* splitmix64 (Steele, Lea, Flood 2014). */
uint64_t support_random(uint64_t *state);
uint32_t support_below(uint64_t *state, uint32_t bound);

/* "a=1,b=2" as a label set in arena; the pairs must be sorted. */
struct tide_labels support_labels(struct tide_arena *arena, const char *text);
/* The identity that tests give a label set. */
struct tide_hash128 support_identity(struct tide_labels labels);
/* Adds the series and checks that it is new; its reference. */
uint32_t support_add(struct tide_index *index, struct tide_arena *arena, const char *text);
struct tide_matcher support_matcher(struct tide_arena *arena, const char *name,
                                    enum tide_match_op op, const char *value);
/* The references that satisfy one or two matchers, as "0 2 5"; in arena. */
const char *support_select(struct tide_index *index, struct tide_arena *arena,
                           const struct tide_matcher *matchers, size_t count);
/* All parts of a frozen index. */
void support_write(const struct tide_index *index, struct tide_buf *out);

#endif
