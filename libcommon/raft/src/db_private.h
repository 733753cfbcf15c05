/* The log's database: RocksDB behind what a Raft log needs. Layout: docs/format/raft-log.md.
 *
 * Threads: one writer at a time; any number of readers beside it. */
#ifndef TIDE_RAFT_DB_PRIVATE_H
#define TIDE_RAFT_DB_PRIVATE_H

#include "group_private.h"

struct tide__db;

/* Makes the directory's database when there is none. Errors: TIDE_ERR_CORRUPT, TIDE_ERR_DISK_FULL,
 * TIDE_ERR_BUSY (another process has it), TIDE_ERR_IO, with diag. */
TIDE_CHECK_RESULT enum tide_err tide__db_open(const char *dir, bool sync, struct tide__db **out,
                                              struct tide_diag *diag);
void tide__db_close(struct tide__db *db); /* NULL is allowed. */

/* Makes the operations from first up to, not including, end durable, all or none. After an error it
 * is not known which, and the database must be opened anew. */
TIDE_CHECK_RESULT enum tide_err tide__db_write(struct tide__db *db, const struct tide__op *first,
                                               const struct tide__op *end, struct tide_diag *diag);

/* What is stored of a group. */
TIDE_CHECK_RESULT enum tide_err tide__db_load(struct tide__db *db, uint32_t group,
                                              struct tide__stored *out, struct tide_diag *diag);

/* Reads entries in order, as they were when it was opened. */
struct tide__db_reader;
TIDE_CHECK_RESULT enum tide_err tide__db_reader_open(struct tide__db *db, uint32_t group,
                                                     uint64_t index, struct tide__db_reader **out);
void tide__db_reader_close(struct tide__db_reader *reader); /* NULL is allowed. */
/* The index that comes next. */
uint64_t tide__db_reader_index(const struct tide__db_reader *reader);
/* out->payload is the caller's. TIDE_END: none that was there at opening. TIDE_ERR_CORRUPT. */
TIDE_CHECK_RESULT enum tide_err tide__db_reader_next(struct tide__db_reader *reader,
                                                     struct tide__entry *out,
                                                     struct tide_diag *diag);

/* Bytes of the database's tables, without its write-ahead log. */
uint64_t tide__db_table_bytes(struct tide__db *db);
/* Rewrites the tables without what was dropped from the log. Takes as long as it takes. */
void tide__db_compact(struct tide__db *db);

#endif
