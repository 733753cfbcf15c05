#include "wal_private.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/file.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/base/metrics.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* One batch: enough that the fsync is a small part of it, small enough that its copy in memory does
 * not count. */
#define BATCH_BYTES_MAX ((size_t)4 << 20)
#define RETRY_MS 1000
/* Tables this large, and twice as large as after the last compaction, hold mostly dropped entries.
 * When nothing is written for a while, what was dropped is not left lying about either. */
#define COMPACT_BYTES_MIN ((uint64_t)32 << 20)
#define COMPACT_IDLE_BYTES_MIN ((uint64_t)4 << 20)
#define COMPACT_CHECK_MS 1000
#define COMPACT_IDLE_CHECKS 3
/* Opening writes a manifest and a new write-ahead log. RocksDB ends the process when the disk fills
 * up meanwhile, so it is not tried with less than this. The ballast sets as much aside: given up
 * when it is needed, a full disk does not keep the log from being read. */
#define OPEN_BYTES_MIN ((uint64_t)2 << 20)
#define BALLAST_BYTES ((off_t)4 << 20)
#define BALLAST_NAME "BALLAST"
#define PATH_BYTES 4096

TIDE_COUNTER(fsyncs_total, "tide_raft_log_fsyncs_total", "", "Batches made durable.");
TIDE_HISTOGRAM_SECONDS(fsync_seconds, "tide_raft_log_write_seconds", "",
                       "Time to write and fsync one batch.");
TIDE_COUNTER(bytes_total, "tide_raft_log_payload_bytes_total", "", "Payload bytes made durable.");
TIDE_COUNTER(entries_total, "tide_raft_log_entries_total", "", "Entries made durable.");
TIDE_COUNTER(failures_total, "tide_raft_log_failures_total", "", "Writes that failed.");
TIDE_COUNTER(compactions_total, "tide_raft_log_compactions_total", "",
             "Times the tables were rewritten without dropped entries.");
TIDE_GAUGE(table_bytes, "tide_raft_log_table_bytes", "",
           "Bytes of the log's tables, dropped entries included.");

struct tide__wal {
    char dir[PATH_BYTES];
    bool sync;
    uint64_t disk_free_bytes_min;
    struct tide__wal_hooks hooks;
    pthread_t writer;
    pthread_t keeper;

    pthread_mutex_t lock; /* A leaf. Guards all below. */
    pthread_cond_t work;  /* The writer has something to do. */
    pthread_cond_t keep;  /* The keeper has to stop. */
    struct tide__db *db;  /* NULL while broken and not yet open again. */
    uint32_t users;       /* Of db, beside the writer. */
    uint64_t life;
    bool broken;
    bool stopping;
    bool dropped;     /* Entries were, since the last compaction. */
    uint64_t batches; /* Written. */
    struct tide__op *first;
    struct tide__op **last_next;
};

/* ---- The ballast ---- */

static void ballast_path(const struct tide__wal *wal, char out[PATH_BYTES + 16])
{
    snprintf(out, PATH_BYTES + 16, "%s/" BALLAST_NAME, wal->dir);
}

/* Quietly does without when there is no room for it. */
static void ballast_make(const struct tide__wal *wal)
{
    char path[PATH_BYTES + 16];
    uint64_t free_bytes;
    int fd;

    if (tide_file_free_bytes(wal->dir, &free_bytes, NULL) != TIDE_OK ||
        free_bytes < 4 * (uint64_t)BALLAST_BYTES)
        return;
    ballast_path(wal, path);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        return;
    if (posix_fallocate(fd, 0, BALLAST_BYTES) != 0)
        (void)unlink(path);
    (void)close(fd);
}

static void ballast_drop(const struct tide__wal *wal)
{
    char path[PATH_BYTES + 16];

    ballast_path(wal, path);
    (void)unlink(path);
}

/* Opens the database, on a full disk with the ballast's room. */
static enum tide_err open_db(struct tide__wal *wal, struct tide_diag *diag)
{
    uint64_t free_bytes;
    enum tide_err err = tide_file_free_bytes(wal->dir, &free_bytes, diag);

    if (err == TIDE_OK && free_bytes < OPEN_BYTES_MIN) {
        ballast_drop(wal);
        err = tide_file_free_bytes(wal->dir, &free_bytes, diag);
    }
    if (err != TIDE_OK)
        return err;
    if (free_bytes < OPEN_BYTES_MIN)
        return tide_diag_err(
            diag, TIDE_ERR_DISK_FULL, "raft log: %llu bytes are free in %s, opening it needs %llu",
            (unsigned long long)free_bytes, wal->dir, (unsigned long long)OPEN_BYTES_MIN);
    err = tide__db_open(wal->dir, wal->sync, &wal->db, diag);
    if (err == TIDE_OK)
        ballast_make(wal);
    return err;
}

/* ---- The writer ---- */

static void wait_ms(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ms)
{
    int64_t until_ns = tide_clock_mono_ns() + ms * 1000000;
    struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};

    (void)pthread_cond_timedwait(cond, lock, &until);
}

static size_t op_bytes(const struct tide__op *op)
{
    size_t bytes = 0;

    for (uint32_t i = 0; i < op->entry_count; i++)
        bytes += op->entries[i].payload->bytes;
    return bytes;
}

/* Takes what forms the next batch: operations of this life up to the bound. Those of an earlier
 * life come alone, to be failed. Returns their end: NULL, the list is cut there. */
static struct tide__op *take_batch_locked(struct tide__wal *wal)
{
    struct tide__op *first = wal->first;
    struct tide__op *last = first;
    bool live = !wal->broken && first->epoch == wal->life;
    size_t bytes = op_bytes(first);

    while (last->next != NULL) {
        struct tide__op *next = last->next;

        if (live != (!wal->broken && next->epoch == wal->life))
            break;
        bytes += op_bytes(next);
        if (live && bytes > BATCH_BYTES_MAX)
            break;
        last = next;
    }
    wal->first = last->next;
    if (wal->first == NULL)
        wal->last_next = &wal->first;
    last->next = NULL;
    return first;
}

static void batch_done(struct tide__wal *wal, struct tide__op *first, enum tide_err err)
{
    while (first != NULL) {
        struct tide__op *next = first->next;

        first->next = NULL;
        first->err = err;
        wal->hooks.done(wal->hooks.context, first);
        first = next;
    }
    wal->hooks.flushed(wal->hooks.context);
}

static enum tide_err batch_write(struct tide__wal *wal, const struct tide__op *first)
{
    int64_t start_ns = tide_clock_mono_ns();
    struct tide_diag diag = {""};
    enum tide_err err = tide__db_write(wal->db, first, NULL, &diag);
    int64_t bytes = 0, entries = 0;

    if (err != TIDE_OK) {
        tide_metric_add(&failures_total, 1);
        tide_log(TIDE_LOG_ERROR, "raft", "the log cannot be written", "reason=%s", diag.text);
        return err;
    }
    for (const struct tide__op *op = first; op != NULL; op = op->next) {
        entries += op->entry_count;
        bytes += (int64_t)op_bytes(op);
    }
    tide_metric_add(&fsyncs_total, 1);
    tide_metric_observe(&fsync_seconds, (double)(tide_clock_mono_ns() - start_ns) / 1e9);
    tide_metric_add(&bytes_total, bytes);
    tide_metric_add(&entries_total, entries);
    return TIDE_OK;
}

static void break_life_locked(struct tide__wal *wal)
{
    wal->broken = true;
    wal->life++;
}

/* Called with the lock held, which it gives up meanwhile. */
static void try_recover_locked(struct tide__wal *wal)
{
    struct tide_diag diag = {""};
    struct tide__db *db = wal->db;
    uint64_t free_bytes = 0;
    enum tide_err err;

    if (wal->users > 0)
        return; /* Its readers have not noticed yet. */
    wal->db = NULL;
    pthread_mutex_unlock(&wal->lock);
    tide__db_close(db);
    err = tide_file_free_bytes(wal->dir, &free_bytes, &diag);
    if (err == TIDE_OK && free_bytes < wal->disk_free_bytes_min)
        err = TIDE_ERR_DISK_FULL;
    /* No one else uses wal->db while the log is broken. */
    if (err == TIDE_OK)
        err = open_db(wal, &diag);
    if (err == TIDE_ERR_CORRUPT) {
        tide_log(TIDE_LOG_ERROR, "raft", "the log is corrupt, giving up", "reason=%s", diag.text);
        TIDE_ASSERT(err != TIDE_ERR_CORRUPT);
    }
    pthread_mutex_lock(&wal->lock);
    if (err != TIDE_OK)
        return;
    wal->broken = false;
    pthread_mutex_unlock(&wal->lock);
    tide_log(TIDE_LOG_INFO, "raft", "the log can be written again", "dir=%s", wal->dir);
    wal->hooks.recovered(wal->hooks.context);
    pthread_mutex_lock(&wal->lock);
}

static void write_one_batch_locked(struct tide__wal *wal)
{
    struct tide__op *batch = take_batch_locked(wal);
    bool live = !wal->broken && batch->epoch == wal->life;
    enum tide_err err = TIDE_ERR_UNAVAILABLE;

    wal->batches++;
    for (const struct tide__op *op = batch; op != NULL; op = op->next)
        wal->dropped = wal->dropped || op->kind == TIDE__OP_SNAPSHOT;
    pthread_mutex_unlock(&wal->lock);
    if (live) {
        err = batch_write(wal, batch);
        if (err != TIDE_OK) {
            pthread_mutex_lock(&wal->lock);
            break_life_locked(wal);
            pthread_mutex_unlock(&wal->lock);
            wal->hooks.broken(wal->hooks.context, err);
        }
    }
    batch_done(wal, batch, err);
    pthread_mutex_lock(&wal->lock);
}

static void *writer_main(void *context)
{
    struct tide__wal *wal = context;

    pthread_mutex_lock(&wal->lock);
    while (!wal->stopping) {
        if (wal->first != NULL) {
            write_one_batch_locked(wal);
        } else if (wal->broken) {
            wait_ms(&wal->work, &wal->lock, RETRY_MS);
            if (!wal->stopping && wal->first == NULL)
                try_recover_locked(wal);
        } else {
            pthread_cond_wait(&wal->work, &wal->lock);
        }
    }
    pthread_mutex_unlock(&wal->lock);
    return NULL;
}

/* ---- The keeper: gives disk space back ---- */

struct keeper {
    uint64_t compacted_bytes; /* What the last compaction left. */
    uint64_t batches;         /* As last seen … */
    int idle_checks;          /* … this often in a row. */
};

static void keep_locked(struct tide__wal *wal, struct keeper *keeper)
{
    struct tide__db *db = wal->db;
    bool dropped = wal->dropped;
    bool compacts;
    uint64_t bytes;

    keeper->idle_checks = wal->batches == keeper->batches ? keeper->idle_checks + 1 : 0;
    keeper->batches = wal->batches;
    wal->users++;
    pthread_mutex_unlock(&wal->lock);
    bytes = tide__db_table_bytes(db);
    compacts = bytes >= COMPACT_BYTES_MIN && bytes >= 2 * keeper->compacted_bytes;
    if (dropped && keeper->idle_checks >= COMPACT_IDLE_CHECKS)
        compacts = compacts || bytes >= COMPACT_IDLE_BYTES_MIN;
    if (compacts) {
        tide__db_compact(db);
        bytes = tide__db_table_bytes(db);
        keeper->compacted_bytes = bytes;
        tide_metric_add(&compactions_total, 1);
    }
    tide_metric_set(&table_bytes, (int64_t)bytes);
    pthread_mutex_lock(&wal->lock);
    if (compacts)
        wal->dropped = false;
    wal->users--;
}

static void *keeper_main(void *context)
{
    struct tide__wal *wal = context;
    struct keeper keeper = {0};

    pthread_mutex_lock(&wal->lock);
    while (!wal->stopping) {
        wait_ms(&wal->keep, &wal->lock, COMPACT_CHECK_MS);
        if (!wal->stopping && !wal->broken)
            keep_locked(wal, &keeper);
    }
    pthread_mutex_unlock(&wal->lock);
    return NULL;
}

/* ---- Opening and closing ---- */

static void register_metrics(void)
{
    tide_metric_register(&fsyncs_total);
    tide_metric_register(&fsync_seconds);
    tide_metric_register(&bytes_total);
    tide_metric_register(&entries_total);
    tide_metric_register(&failures_total);
    tide_metric_register(&compactions_total);
    tide_metric_register(&table_bytes);
}

enum tide_err tide__wal_open(const struct tide__wal_options *options, struct tide__wal **out,
                             struct tide_diag *diag)
{
    struct tide__wal *wal;
    pthread_condattr_t attr;
    enum tide_err err;

    if (strlen(options->dir) >= PATH_BYTES)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "raft log: the directory's name is too long");
    err = tide_file_mkdirs(options->dir, diag);
    if (err != TIDE_OK)
        return err;
    wal = tide_mem_new(sizeof(*wal));
    if (wal == NULL)
        return TIDE_ERR_NO_MEMORY;
    snprintf(wal->dir, sizeof(wal->dir), "%s", options->dir);
    wal->sync = options->sync;
    wal->disk_free_bytes_min = options->disk_free_bytes_min;
    wal->hooks = options->hooks;
    wal->life = 1;
    wal->last_next = &wal->first;
    err = open_db(wal, diag);
    if (err != TIDE_OK) {
        tide_mem_free(wal);
        return err;
    }
    pthread_mutex_init(&wal->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&wal->work, &attr);
    pthread_cond_init(&wal->keep, &attr);
    pthread_condattr_destroy(&attr);
    register_metrics();
    if (pthread_create(&wal->writer, NULL, writer_main, wal) != 0) {
        tide__db_close(wal->db);
        tide_mem_free(wal);
        return TIDE_ERR_NO_MEMORY;
    }
    if (pthread_create(&wal->keeper, NULL, keeper_main, wal) != 0) {
        wal->keeper = wal->writer; /* Only the writer is there to be joined. */
        tide__wal_stop(wal);
        tide__wal_close(wal);
        return TIDE_ERR_NO_MEMORY;
    }
    *out = wal;
    return TIDE_OK;
}

void tide__wal_stop(struct tide__wal *wal)
{
    struct tide__op *rest;

    pthread_mutex_lock(&wal->lock);
    wal->stopping = true;
    pthread_cond_signal(&wal->work);
    pthread_cond_signal(&wal->keep);
    pthread_mutex_unlock(&wal->lock);
    pthread_join(wal->writer, NULL);
    if (!pthread_equal(wal->writer, wal->keeper))
        pthread_join(wal->keeper, NULL);
    pthread_mutex_lock(&wal->lock);
    rest = wal->first;
    wal->first = NULL;
    wal->last_next = &wal->first;
    pthread_mutex_unlock(&wal->lock);
    batch_done(wal, rest, TIDE_ERR_UNAVAILABLE);
}

void tide__wal_close(struct tide__wal *wal)
{
    if (wal == NULL)
        return;
    TIDE_ASSERT(wal->users == 0);
    TIDE_ASSERT(wal->first == NULL);
    tide__db_close(wal->db);
    pthread_cond_destroy(&wal->work);
    pthread_cond_destroy(&wal->keep);
    pthread_mutex_destroy(&wal->lock);
    tide_mem_free(wal);
}

/* ---- For the groups ---- */

void tide__wal_submit(struct tide__wal *wal, struct tide__op *first, struct tide__op *last)
{
    bool stopping;

    last->next = NULL;
    pthread_mutex_lock(&wal->lock);
    stopping = wal->stopping;
    if (!stopping) {
        *wal->last_next = first;
        wal->last_next = &last->next;
        pthread_cond_signal(&wal->work);
    }
    pthread_mutex_unlock(&wal->lock);
    if (stopping)
        batch_done(wal, first, TIDE_ERR_UNAVAILABLE);
}

uint64_t tide__wal_life(struct tide__wal *wal)
{
    uint64_t life;

    pthread_mutex_lock(&wal->lock);
    life = wal->life;
    pthread_mutex_unlock(&wal->lock);
    return life;
}

void tide__wal_fail(struct tide__wal *wal, uint64_t life)
{
    bool fails;

    pthread_mutex_lock(&wal->lock);
    fails = !wal->broken && wal->life == life;
    if (fails)
        break_life_locked(wal);
    pthread_cond_signal(&wal->work);
    pthread_mutex_unlock(&wal->lock);
    if (fails)
        wal->hooks.broken(wal->hooks.context, TIDE_ERR_IO);
}

enum tide_err tide__wal_free_bytes(const struct tide__wal *wal, uint64_t *out)
{
    return tide_file_free_bytes(wal->dir, out, NULL);
}

static bool use_begin(struct tide__wal *wal, uint64_t life, struct tide__db **db)
{
    bool usable;

    pthread_mutex_lock(&wal->lock);
    usable = !wal->broken && !wal->stopping && wal->life == life;
    if (usable) {
        wal->users++;
        *db = wal->db;
    }
    pthread_mutex_unlock(&wal->lock);
    return usable;
}

static void use_end(struct tide__wal *wal)
{
    pthread_mutex_lock(&wal->lock);
    wal->users--;
    pthread_mutex_unlock(&wal->lock);
}

enum tide_err tide__wal_load(struct tide__wal *wal, uint64_t life, uint32_t group,
                             struct tide__stored *out, struct tide_diag *diag)
{
    struct tide__db *db;
    enum tide_err err;

    if (!use_begin(wal, life, &db))
        return tide_diag_err(diag, TIDE_ERR_UNAVAILABLE, "raft log: it cannot be read now");
    err = tide__db_load(db, group, out, diag);
    use_end(wal);
    return err;
}

enum tide_err tide__wal_reader_open(struct tide__wal *wal, uint64_t life, uint32_t group,
                                    uint64_t index, struct tide__db_reader **out)
{
    struct tide__db *db;
    enum tide_err err;

    if (!use_begin(wal, life, &db))
        return TIDE_ERR_UNAVAILABLE;
    err = tide__db_reader_open(db, group, index, out);
    if (err != TIDE_OK)
        use_end(wal);
    return err;
}

void tide__wal_reader_close(struct tide__wal *wal, struct tide__db_reader *reader)
{
    if (reader == NULL)
        return;
    tide__db_reader_close(reader);
    use_end(wal);
}
