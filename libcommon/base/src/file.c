#include "tide/base/file.h"

#include "tide/base/assert.h"
#include "tide/base/hash.h"
#include "tide/base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define WRITE_BYTES ((size_t)1 << 20)
#define READ_BYTES_MIN ((size_t)4096)
#define DIR_MODE 0750
#define FILE_MODE 0640

static enum tide_err failure(struct tide_diag *diag, const char *what, const char *path, int error)
{
    enum tide_err err = TIDE_ERR_IO;

    if (error == ENOENT || error == ENOTDIR)
        err = TIDE_ERR_NOT_FOUND;
    else if (error == ENOSPC || error == EDQUOT)
        err = TIDE_ERR_DISK_FULL;
    else if (error == EFBIG)
        err = TIDE_ERR_TOO_LARGE;
    else if (error == ENOMEM)
        err = TIDE_ERR_NO_MEMORY;
    return tide_diag_err(diag, err, "cannot %s %s: %s", what, path, strerror(error));
}

/* Opens a descriptor that is closed on exec. */
static int open_again(const char *path, int flags)
{
    int fd;

    do {
        fd = open(path, flags | O_CLOEXEC, FILE_MODE);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

/* ---- Reading ---- */

static enum tide_err read_all(int fd, const char *path, size_t bytes_max, struct tide_buf *out,
                              struct tide_diag *diag)
{
    size_t start = out->len;

    for (;;) {
        size_t room = out->capacity - out->len;
        uint8_t *to = tide_buf_reserve(out, room > READ_BYTES_MIN ? room : READ_BYTES_MIN);
        ssize_t got;

        if (to == NULL)
            return tide_diag_err(diag, TIDE_ERR_NO_MEMORY, "cannot read %s: out of memory", path);
        got = read(fd, to, out->capacity - out->len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failure(diag, "read", path, errno);
        if (got == 0)
            return TIDE_OK;
        out->len += (size_t)got;
        if (out->len - start > bytes_max)
            return tide_diag_err(diag, TIDE_ERR_TOO_LARGE, "%s has more than %zu bytes", path,
                                 bytes_max);
    }
}

enum tide_err tide_file_read(const char *path, size_t bytes_max, struct tide_buf *out,
                             struct tide_diag *diag)
{
    size_t len_before = out->len;
    struct stat info;
    enum tide_err err;
    int fd = open_again(path, O_RDONLY);

    if (fd < 0)
        return failure(diag, "open", path, errno);
    /* The size is only a hint: files under /proc say 0, and a file may grow. */
    if (fstat(fd, &info) == 0 && info.st_size > 0 && (uint64_t)info.st_size <= bytes_max)
        tide_buf_reserve(out, (size_t)info.st_size + READ_BYTES_MIN + 1);
    err = read_all(fd, path, bytes_max, out, diag);
    close(fd);
    if (err != TIDE_OK)
        out->len = len_before;
    return err;
}

enum tide_err tide_file_map(const char *path, struct tide_file_map *out, struct tide_diag *diag)
{
    struct stat info;
    void *mapped = NULL;
    enum tide_err err = TIDE_OK;
    int fd = open_again(path, O_RDONLY);

    if (fd < 0)
        return failure(diag, "open", path, errno);
    if (fstat(fd, &info) != 0) {
        err = failure(diag, "inspect", path, errno);
        goto done;
    }
    if ((uint64_t)info.st_size > SIZE_MAX) {
        err = failure(diag, "map", path, EFBIG);
        goto done;
    }
    if (info.st_size > 0) { /* An empty mapping is an error to mmap(). */
        mapped = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (mapped == MAP_FAILED) {
            err = failure(diag, "map", path, errno);
            goto done;
        }
    }
    out->bytes = (struct tide_slice){mapped, (size_t)info.st_size};

done:
    close(fd);
    return err;
}

void tide_file_unmap(struct tide_file_map *map)
{
    if (map->bytes.len > 0)
        munmap((void *)(uintptr_t)map->bytes.ptr, map->bytes.len);
    map->bytes = (struct tide_slice){NULL, 0};
}

/* ---- Directories ---- */

/* The path up to len, NUL-terminated. NULL: no memory. */
static char *path_copy(const char *path, size_t len, const char *suffix)
{
    size_t suffix_len = strlen(suffix);
    char *copy = tide_mem_alloc(len + suffix_len + 1);

    if (copy == NULL)
        return NULL;
    memcpy(copy, path, len);
    memcpy(copy + len, suffix, suffix_len + 1);
    return copy;
}

enum tide_err tide_file_sync_dir(const char *path, struct tide_diag *diag)
{
    enum tide_err err = TIDE_OK;
    int fd = open_again(path, O_RDONLY | O_DIRECTORY);

    if (fd < 0)
        return failure(diag, "open directory", path, errno);
    if (fsync(fd) != 0)
        err = failure(diag, "sync directory", path, errno);
    close(fd);
    return err;
}

static enum tide_err sync_parent(const char *path, struct tide_diag *diag)
{
    const char *slash = strrchr(path, '/');
    char *parent;
    enum tide_err err;

    if (slash == NULL)
        return tide_file_sync_dir(".", diag);
    if (slash == path)
        return tide_file_sync_dir("/", diag);
    parent = path_copy(path, (size_t)(slash - path), "");
    if (parent == NULL)
        return tide_diag_err(diag, TIDE_ERR_NO_MEMORY, "cannot write %s: out of memory", path);
    err = tide_file_sync_dir(parent, diag);
    tide_mem_free(parent);
    return err;
}

/* One directory of the path. What exists and is a directory is fine. */
static enum tide_err make_dir(const char *path, struct tide_diag *diag)
{
    struct stat info;
    int error;

    if (mkdir(path, DIR_MODE) == 0)
        return sync_parent(path, diag); /* Else what is synced in it may be gone with it. */
    error = errno;
    if (error == EEXIST && stat(path, &info) == 0)
        return S_ISDIR(info.st_mode) ? TIDE_OK : failure(diag, "make directory", path, EEXIST);
    return failure(diag, "make directory", path, error);
}

enum tide_err tide_file_mkdirs(const char *path, struct tide_diag *diag)
{
    size_t len = strlen(path);
    char *copy = path_copy(path, len, "");
    enum tide_err err = TIDE_OK;

    if (copy == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 1; i < len && err == TIDE_OK; i++) {
        if (copy[i] != '/' || copy[i - 1] == '/')
            continue;
        copy[i] = '\0';
        err = make_dir(copy, diag);
        copy[i] = '/';
    }
    if (err == TIDE_OK)
        err = make_dir(copy, diag);
    tide_mem_free(copy);
    return err;
}

enum tide_err tide_file_free_bytes(const char *path, uint64_t *out, struct tide_diag *diag)
{
    struct statvfs info;

    if (statvfs(path, &info) != 0)
        return failure(diag, "inspect", path, errno);
    *out = (uint64_t)info.f_bavail * info.f_frsize;
    return TIDE_OK;
}

/* ---- Atomic writing ---- */

struct tide_file_writer {
    int fd;
    uint32_t crc;
    uint64_t bytes; /* Handed over by the caller, buffered ones included. */
    char *path;
    char *path_tmp;
    size_t used; /* Of buffer. */
    uint8_t *buffer;
    bool broken; /* A write has failed: the file has a hole, commit must not succeed. */
};

static void writer_free(struct tide_file_writer *writer)
{
    if (writer->fd >= 0)
        close(writer->fd);
    tide_mem_free(writer->path);
    tide_mem_free(writer->path_tmp);
    tide_mem_free(writer->buffer);
    tide_mem_free(writer);
}

enum tide_err tide_file_writer_begin(const char *path, struct tide_file_writer **out,
                                     struct tide_diag *diag)
{
    struct tide_file_writer *writer = tide_mem_new(sizeof(*writer));
    enum tide_err err;

    if (writer == NULL)
        return tide_diag_err(diag, TIDE_ERR_NO_MEMORY, "cannot write %s: out of memory", path);
    writer->fd = -1;
    writer->path = path_copy(path, strlen(path), "");
    writer->path_tmp = path_copy(path, strlen(path), ".tmp");
    writer->buffer = tide_mem_alloc(WRITE_BYTES);
    if (writer->path == NULL || writer->path_tmp == NULL || writer->buffer == NULL) {
        err = tide_diag_err(diag, TIDE_ERR_NO_MEMORY, "cannot write %s: out of memory", path);
        goto fail;
    }
    writer->fd = open_again(writer->path_tmp, O_WRONLY | O_CREAT | O_TRUNC);
    if (writer->fd < 0) {
        err = failure(diag, "create", writer->path_tmp, errno);
        goto fail;
    }
    *out = writer;
    return TIDE_OK;

fail:
    writer_free(writer);
    return err;
}

static enum tide_err write_all(struct tide_file_writer *writer, const uint8_t *bytes, size_t len,
                               struct tide_diag *diag)
{
    while (len > 0) {
        ssize_t put = write(writer->fd, bytes, len < WRITE_BYTES ? len : WRITE_BYTES);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            writer->broken = true;
            return failure(diag, "write", writer->path_tmp, errno);
        }
        bytes += put;
        len -= (size_t)put;
    }
    return TIDE_OK;
}

static enum tide_err flush(struct tide_file_writer *writer, struct tide_diag *diag)
{
    size_t used = writer->used;

    writer->used = 0;
    return write_all(writer, writer->buffer, used, diag);
}

enum tide_err tide_file_writer_add(struct tide_file_writer *writer, struct tide_slice bytes,
                                   struct tide_diag *diag)
{
    enum tide_err err;

    if (writer->broken)
        return tide_diag_err(diag, TIDE_ERR_IO, "cannot write %s: an earlier write failed",
                             writer->path_tmp);
    writer->crc = tide_crc32c(writer->crc, bytes);
    writer->bytes += bytes.len;
    if (bytes.len > WRITE_BYTES - writer->used) {
        err = flush(writer, diag);
        if (err != TIDE_OK)
            return err;
        if (bytes.len >= WRITE_BYTES)
            return write_all(writer, bytes.ptr, bytes.len, diag);
    }
    if (bytes.len > 0)
        memcpy(writer->buffer + writer->used, bytes.ptr, bytes.len);
    writer->used += bytes.len;
    return TIDE_OK;
}

uint64_t tide_file_writer_bytes(const struct tide_file_writer *writer)
{
    return writer->bytes;
}

uint32_t tide_file_writer_crc(const struct tide_file_writer *writer)
{
    return writer->crc;
}

static enum tide_err seal(struct tide_file_writer *writer, struct tide_diag *diag)
{
    enum tide_err err;
    int fd = writer->fd;

    if (writer->broken)
        return tide_diag_err(diag, TIDE_ERR_IO, "cannot write %s: an earlier write failed",
                             writer->path_tmp);
    err = flush(writer, diag);
    if (err != TIDE_OK)
        return err;
    if (fsync(fd) != 0)
        return failure(diag, "sync", writer->path_tmp, errno);
    writer->fd = -1;
    if (close(fd) != 0)
        return failure(diag, "close", writer->path_tmp, errno);
    if (rename(writer->path_tmp, writer->path) != 0)
        return failure(diag, "rename", writer->path_tmp, errno);
    return sync_parent(writer->path, diag);
}

enum tide_err tide_file_writer_commit(struct tide_file_writer *writer, struct tide_diag *diag)
{
    enum tide_err err = seal(writer, diag);

    if (err != TIDE_OK)
        unlink(writer->path_tmp); /* Not there any more when only the directory failed to sync. */
    writer_free(writer);
    return err;
}

void tide_file_writer_abort(struct tide_file_writer *writer)
{
    if (writer == NULL)
        return;
    unlink(writer->path_tmp);
    writer_free(writer);
}

/* ---- The lock ---- */

/* flock() and not fcntl(): it also keeps out a second opening by the same process, and closing
 * another descriptor of the file does not drop it. */
enum tide_err tide_file_lock(const char *dir, int *out, struct tide_diag *diag)
{
    char *path = path_copy(dir, strlen(dir), "/LOCK");
    enum tide_err err = TIDE_OK;
    char pid[32] = "";
    ssize_t got;
    int len;
    int fd;

    if (path == NULL)
        return tide_diag_err(diag, TIDE_ERR_NO_MEMORY, "cannot lock %s: out of memory", dir);
    fd = open_again(path, O_RDWR | O_CREAT);
    if (fd < 0) {
        err = failure(diag, "open", path, errno);
        goto done;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK) {
            err = failure(diag, "lock", path, errno);
            goto done;
        }
        got = pread(fd, pid, sizeof(pid) - 1, 0);
        pid[got > 0 ? got : 0] = '\0';
        pid[strcspn(pid, "\n")] = '\0';
        err = tide_diag_err(diag, TIDE_ERR_BUSY, "%s is in use by process %s", dir,
                            pid[0] != '\0' ? pid : "(unknown)");
        goto done;
    }
    len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) != 0 || pwrite(fd, pid, (size_t)len, 0) != len) {
        err = failure(diag, "write", path, errno);
        goto done;
    }
    *out = fd;

done:
    if (err != TIDE_OK && fd >= 0)
        close(fd);
    tide_mem_free(path);
    return err;
}

void tide_file_unlock(int lock)
{
    TIDE_ASSERT(lock >= 0);
    close(lock);
}
