/* Files: whole reads, atomic durable writes, locks, free space. Paths are NUL-terminated. */
#ifndef TIDE_BASE_FILE_H
#define TIDE_BASE_FILE_H

#include "tide/base/slice.h"

/* All fill diag with the path and the system's reason. Errors: TIDE_ERR_NOT_FOUND,
 * TIDE_ERR_DISK_FULL (ENOSPC, EDQUOT), TIDE_ERR_TOO_LARGE, TIDE_ERR_NO_MEMORY, TIDE_ERR_IO. */

/* Appends the whole file to out; at most bytes_max. */
TIDE_CHECK_RESULT enum tide_err tide_file_read(const char *path, size_t bytes_max,
                                               struct tide_buf *out, struct tide_diag *diag);
/* mkdir -p, mode 0750. */
TIDE_CHECK_RESULT enum tide_err tide_file_mkdirs(const char *path, struct tide_diag *diag);
/* fsyncs a directory, so that names in it are durable. */
TIDE_CHECK_RESULT enum tide_err tide_file_sync_dir(const char *path, struct tide_diag *diag);
/* Free bytes for an unprivileged writer on the file system of path. */
TIDE_CHECK_RESULT enum tide_err tide_file_free_bytes(const char *path, uint64_t *out,
                                                     struct tide_diag *diag);

/* Writes a file under a temporary name ("path.tmp"); commit syncs it, renames it to path and syncs
 * the directory. Buffered; 1 MiB writes. Zero or one of commit and abort ends it. */
struct tide_file_writer;
TIDE_CHECK_RESULT enum tide_err
tide_file_writer_begin(const char *path, struct tide_file_writer **out, struct tide_diag *diag);
TIDE_CHECK_RESULT enum tide_err tide_file_writer_add(struct tide_file_writer *writer,
                                                     struct tide_slice bytes,
                                                     struct tide_diag *diag);
uint64_t tide_file_writer_bytes(const struct tide_file_writer *writer);
uint32_t
tide_file_writer_crc(const struct tide_file_writer *writer); /* CRC-32C of all bytes so far. */
TIDE_CHECK_RESULT enum tide_err tide_file_writer_commit(struct tide_file_writer *writer,
                                                        struct tide_diag *diag);
void tide_file_writer_abort(
    struct tide_file_writer *writer); /* Removes the temporary file. NULL is allowed. */

/* A read-only mapping of a whole file. */
struct tide_file_map {
    struct tide_slice bytes;
};
TIDE_CHECK_RESULT enum tide_err tide_file_map(const char *path, struct tide_file_map *out,
                                              struct tide_diag *diag);
void tide_file_unmap(struct tide_file_map *map);

/* Takes the directory's lock file ("LOCK") for this process, or TIDE_ERR_BUSY with the holder's
 * process id in diag. *out is the descriptor to pass to tide_file_unlock(). */
TIDE_CHECK_RESULT enum tide_err tide_file_lock(const char *dir, int *out, struct tide_diag *diag);
void tide_file_unlock(int lock);

#endif
