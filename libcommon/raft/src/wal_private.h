/* The log of a node: one database, one writer thread. What is handed in while a batch is written
 * becomes the next batch: one fsync for all groups, without any wait when the log is idle.
 *
 * When a write fails it is not known what is durable. The log then fails all operations, closes the
 * database and tries every second to open it again; its life goes up by one, and operations of an
 * earlier life never reach the database. Groups must be opened again in the new life.
 *
 *     open --> running --(write failed)--> broken --(opened again)--> running, life + 1
 *
 * Threads: all functions may be called from any, close after all others. */
#ifndef TIDE_RAFT_WAL_PRIVATE_H
#define TIDE_RAFT_WAL_PRIVATE_H

#include "db_private.h"

struct tide__wal;

/* Called on the writer thread, except done for operations that come after the stop. */
struct tide__wal_hooks {
    void *context;
    /* One operation ended, op->err says how. Takes it over. In the order of handing in. */
    void (*done)(void *context, struct tide__op *op);
    /* A batch's operations were all handed out. */
    void (*flushed)(void *context);
    /* The life ended; every group must be closed, then opened again after recovered. */
    void (*broken)(void *context, enum tide_err err);
    void (*recovered)(void *context);
};

struct tide__wal_options {
    const char *dir;
    bool sync;
    uint64_t disk_free_bytes_min; /* A broken log is opened again only when this much is free. */
    struct tide__wal_hooks hooks;
};

TIDE_CHECK_RESULT enum tide_err tide__wal_open(const struct tide__wal_options *options,
                                               struct tide__wal **out, struct tide_diag *diag);
/* Ends the writer thread: the batch being written is finished, all other operations fail. */
void tide__wal_stop(struct tide__wal *wal);
/* After tide__wal_stop(); all readers are closed. NULL is allowed. */
void tide__wal_close(struct tide__wal *wal);

/* Takes over the operations from first to last, linked by next. */
void tide__wal_submit(struct tide__wal *wal, struct tide__op *first, struct tide__op *last);
/* Of the current life; operations carry it as their epoch. */
uint64_t tide__wal_life(struct tide__wal *wal);
/* Gives up the life, as after a failed write. */
void tide__wal_fail(struct tide__wal *wal, uint64_t life);

/* Free bytes where the log is. */
TIDE_CHECK_RESULT enum tide_err tide__wal_free_bytes(const struct tide__wal *wal, uint64_t *out);

/* Reading; TIDE_ERR_UNAVAILABLE when life is over. */
TIDE_CHECK_RESULT enum tide_err tide__wal_load(struct tide__wal *wal, uint64_t life, uint32_t group,
                                               struct tide__stored *out, struct tide_diag *diag);
TIDE_CHECK_RESULT enum tide_err tide__wal_reader_open(struct tide__wal *wal, uint64_t life,
                                                      uint32_t group, uint64_t index,
                                                      struct tide__db_reader **out);
void tide__wal_reader_close(struct tide__wal *wal, struct tide__db_reader *reader);

#endif
