/* The inside of a group, for the files that make it up: group.c, open.c, memory.c, objects.c,
 * rules.c, members.c, messages.c. */
#ifndef TIDE_RAFT_STATE_PRIVATE_H
#define TIDE_RAFT_STATE_PRIVATE_H

#include "group_private.h"

#include <raft.h>

#define TIDE__ADDRESS_BYTES 24

/* A committed configuration that may be asked for by a snapshot. */
struct tide__conf_at {
    uint64_t index;
    struct tide__payload *conf;
};

/* An append on its way to the disk that cuts the log at first. */
struct tide__cut {
    uint64_t seq;
    uint64_t first;
};

struct tide__group {
    struct raft raft;
    struct tide__group_hooks hooks;
    uint32_t id;
    unsigned rules;
    uint64_t epoch;
    uint64_t now_ms;
    uint64_t apply_bytes_max;
    uint64_t cache_bytes_max;
    bool opening;
    bool dead;
    enum tide_err dead_err;

    /* Entries cache_first … cache_first + cache_count - 1, a ring; those before are on disk only.
     */
    struct tide__entry *cache;
    size_t cache_capacity; /* A power of two, or 0. */
    size_t cache_front;
    size_t cache_count;
    uint64_t cache_first;
    uint64_t cache_bytes;

    uint64_t applied; /* Considered so far; the application may be ahead when it was kept. */
    uint64_t applied_at_open;
    uint64_t *changes_at_open; /* Indexes of the configuration changes up to applied_at_open. */
    size_t change_count;
    size_t change_next;

    struct tide__conf_at
        *confs; /* Committed, in order; the first is the snapshot's or the oldest. */
    size_t conf_count;
    size_t conf_capacity;
    size_t conf_told; /* How many of confs the library was told about. */

    struct tide__snapshot *snapshot; /* The last durable one, or NULL. */
    bool installing;
    bool taking;
    bool bootstrapping; /* The first entry is not durable yet, though the library thinks so. */

    uint64_t gate; /* Messages wait for this operation. */
    struct tide__cut *cuts;
    size_t cut_count;
    size_t cut_capacity;

    bool want_barrier;
    uint64_t promoting; /* A replica that catches up, to be promoted then. */
    uint32_t promoting_voters_min;
    uint64_t last_lead_ms; /* When a leader was last heard. */
};

/* Runs one event and all that follows from it. Returns the library's code. */
int tide__group_step(struct tide__group *group, struct raft_event *event);
void tide__group_kill(struct tide__group *group, enum tide_err err, const char *reason);
/* Appends one entry as leader. */
TIDE_CHECK_RESULT enum tide_err tide__group_append(struct tide__group *group,
                                                   enum tide__entry_type type,
                                                   struct tide__payload **payloads, uint32_t count,
                                                   uint64_t *index);
enum tide_err tide__group_err(int raft_code);
/* Hands out the term and vote that the library has now. */
TIDE_CHECK_RESULT enum tide_err tide__group_persist_meta(struct tide__group *group);
/* Room for entries; NULL: no memory. */
struct tide__op *tide__op_new(struct tide__group *group, enum tide__op_kind kind, uint32_t entries);

/* The cached entry, or NULL. */
struct tide__entry *tide__group_cached(struct tide__group *group, uint64_t index);
TIDE_CHECK_RESULT enum tide_err tide__cache_reserve(struct tide__group *group, size_t count);
/* Takes over the payload's reference. Room has been reserved. */
void tide__cache_add(struct tide__group *group, struct tide__entry entry);
void tide__cache_drop_from(struct tide__group *group, uint64_t index);
/* Entries that are applied and durable can be read back: they go, down to the bound. */
void tide__cache_evict(struct tide__group *group);

/* conf is borrowed. */
TIDE_CHECK_RESULT enum tide_err tide__confs_add(struct tide__group *group, uint64_t index,
                                                struct tide__payload *conf);
/* Forgets those that no snapshot after index can ask for. */
void tide__confs_drop_before(struct tide__group *group, uint64_t index);
/* All there is to know about configurations is the one of this snapshot; NULL: nothing. */
TIDE_CHECK_RESULT enum tide_err tide__confs_reset(struct tide__group *group,
                                                  const struct tide__snapshot *snapshot);
TIDE_CHECK_RESULT enum tide_err tide__metadata_set(const struct tide__snapshot *snapshot,
                                                   struct raft_snapshot_metadata *out);

/* Goes on with a promotion when its catch-up is over. */
void tide__group_promotion_work(struct tide__group *group);

/* Conversion of messages. out's entries and snapshot are set up by the caller. */
void tide__message_to_raft(const struct tide__message *message, struct raft_message *out,
                           char address[TIDE__ADDRESS_BYTES]);
void tide__message_from_raft(const struct raft_message *message, uint64_t from,
                             struct tide__message *out);
void tide__address(uint64_t replica, char out[TIDE__ADDRESS_BYTES]);
TIDE_CHECK_RESULT int tide__conf_to_raft(struct tide_slice conf, struct raft_configuration *out);

#endif
