/* Keys and values of the log's database: docs/format/raft-log.md. Everything here is checked when
 * it is read, since it comes from a disk. */
#ifndef TIDE_RAFT_RECORD_PRIVATE_H
#define TIDE_RAFT_RECORD_PRIVATE_H

#include "group_private.h"

/* The first byte of a key. */
enum tide__key_kind {
    TIDE__KEY_FORMAT = 'F', /* The format's version. */
    TIDE__KEY_ENTRY = 'L',  /* A log entry. */
    TIDE__KEY_META = 'M',   /* Term and vote of a group. */
    TIDE__KEY_SNAPSHOT = 'S',
    TIDE__KEY_MARK = 'T', /* An entry that starts a term or changes the configuration. */
};

#define TIDE__KEY_BYTES_MAX 13
#define TIDE__ENTRY_HEAD_BYTES 13
#define TIDE__META_BYTES 28
#define TIDE__MARK_BYTES 13
#define TIDE__FORMAT_VERSION 1

/* Writes the key and returns its length: 1 for a format, 5 for group records, 13 for entries and
 * marks. */
size_t tide__key_put(uint8_t out[TIDE__KEY_BYTES_MAX], enum tide__key_kind kind, uint32_t group,
                     uint64_t index);
/* The index in an entry's or mark's key. TIDE_ERR_CORRUPT when it is none of kind and group. */
TIDE_CHECK_RESULT enum tide_err tide__key_index(struct tide_slice key, enum tide__key_kind kind,
                                                uint32_t group, uint64_t *out);

/* What stands before an entry's payload in its value. */
void tide__entry_head_put(uint8_t out[TIDE__ENTRY_HEAD_BYTES], struct tide_slice key,
                          const struct tide__entry *entry);
/* *payload is borrowed from value. The checksum has been verified. */
TIDE_CHECK_RESULT enum tide_err tide__entry_get(struct tide_slice key, struct tide_slice value,
                                                uint64_t *term, enum tide__entry_type *type,
                                                struct tide_slice *payload);

void tide__mark_put(uint8_t out[TIDE__MARK_BYTES], struct tide_slice key, uint64_t term,
                    enum tide__entry_type type);
TIDE_CHECK_RESULT enum tide_err tide__mark_get(struct tide_slice key, struct tide_slice value,
                                               uint64_t *term, enum tide__entry_type *type);

struct tide__meta {
    uint64_t term;
    uint64_t vote;
    uint64_t incarnation; /* Reserved for replica ids that are never used twice; 0 now. */
};
void tide__meta_put(uint8_t out[TIDE__META_BYTES], struct tide_slice key,
                    const struct tide__meta *meta);
TIDE_CHECK_RESULT enum tide_err tide__meta_get(struct tide_slice key, struct tide_slice value,
                                               struct tide__meta *out);

void tide__snapshot_put(struct tide_buf *out, struct tide_slice key,
                        const struct tide__snapshot *snapshot);
/* *out has one reference. Errors: TIDE_ERR_CORRUPT, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__snapshot_get(struct tide_slice key, struct tide_slice value,
                                                   struct tide__snapshot **out);

#endif
