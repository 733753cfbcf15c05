/* Labels: what identifies a series. */
#ifndef TIDE_MODEL_LABELS_H
#define TIDE_MODEL_LABELS_H

#include "tide/base/hash.h"

/* Names: Prometheus 3 allows any UTF-8. */
#define TIDE_LABEL_METRIC "__name__"

struct tide_label {
    struct tide_slice name;
    struct tide_slice value;
};

/* A label set: pairs in rising bytewise order of name, no name twice, no empty value. Borrowed. */
struct tide_labels {
    const struct tide_label *pairs;
    size_t count;
};

/* The value of name, or the empty slice when there is none. Linear: label sets are short. */
struct tide_slice tide_labels_get(struct tide_labels labels, struct tide_slice name);
bool tide_labels_eq(struct tide_labels a, struct tide_labels b);
/* Prometheus' labels.Compare: pair by pair, name before value, fewer pairs first. */
int tide_labels_cmp(struct tide_labels a, struct tide_labels b);
/* Sorts pairs by name in place. */
void tide_labels_sort(struct tide_label *pairs, size_t count);

/* The identity of a series: XXH3 128 bit over the tenant and the length-prefixed pairs, keyed with
 * the cluster's seed. Source: DESIGN section 4, point 3. The shard of a series is hash.hi modulo
 * the number of shards by its top bits: tide_shard_of(). */
struct tide_hash128 tide_labels_identity(struct tide_slice tenant, struct tide_labels labels,
                                         uint64_t seed);
static inline uint32_t tide_shard_of(struct tide_hash128 identity, uint32_t shard_count)
{
    return (uint32_t)(((identity.hi >> 32) * shard_count) >> 32);
}

/* {a="b", __name__="x"} as Prometheus prints a metric: x{a="b"}, quoted and escaped as PromQL does.
 */
void tide_labels_print(struct tide_labels labels, struct tide_buf *out);

/* Packed form for logs and checkpoints: uvarint count, then name and value as length-prefixed bytes
 * each. */
void tide_labels_pack(struct tide_labels labels, struct tide_buf *out);
/* Reads the packed form. The slices borrow from the reader's bytes; the pairs are in arena.
 * Errors: TIDE_ERR_CORRUPT also when not sorted, repeated or empty; TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide_labels_unpack(struct tide_reader *r, struct tide_arena *arena,
                                                   struct tide_labels *out);
/* Copies the pairs and all bytes into arena. */
TIDE_CHECK_RESULT enum tide_err
tide_labels_copy(struct tide_arena *arena, struct tide_labels labels, struct tide_labels *out);

#endif
