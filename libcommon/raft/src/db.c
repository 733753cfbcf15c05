/* How RocksDB is set up for a log, whose entries live for minutes:
 * - One writer, one batch per fsync; what the log needs to order is in that batch.
 * - No compression (payloads are compressed where they are made), no cache (entries are read once).
 * - Compactions never run by themselves: they would rewrite entries that are about to go. wal.c
 * asks for one when the tables hold mostly dropped entries.
 * - Opening does not flush what it recovers: it is quicker, and needs hardly any free disk space.
 * - A write-ahead log that is damaged other than at its very end is an error, never silently cut:
 *   what it holds was acknowledged. */
#include "db_private.h"

#include "record_private.h"

#include "tide/base/mem.h"

#include <rocksdb/c.h>

#include <stdio.h>
#include <stdlib.h>

/* Two of them at most are in memory: one filling, one being flushed. */
#define WRITE_BUFFER_BYTES ((size_t)16 << 20)
#define WRITE_BUFFERS_MAX 2
#define READAHEAD_BYTES ((size_t)1 << 20)
#define INFO_LOG_BYTES_MAX ((size_t)256 << 10)
#define MANIFEST_BYTES_MAX ((size_t)4 << 20)
/* A batch keeps its memory for the next one, up to this. */
#define BATCH_KEEP_BYTES ((size_t)8 << 20)
#define PARTS_KEEP 1024

/* What only the text form of the options can set. */
#define MORE_OPTIONS                                                                               \
    "avoid_flush_during_recovery=true;skip_stats_update_on_db_open=true;"                          \
    "max_file_opening_threads=1;stats_persist_period_sec=0;manifest_preallocation_size=65536;"     \
    "skip_checking_sst_file_sizes_on_db_open=true"

struct tide__db {
    rocksdb_t *rocks;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write_options;
    rocksdb_readoptions_t *read_options;
    rocksdb_writebatch_t *batch;
    size_t batch_bytes; /* The largest one yet. */
    const char **part_ptrs;
    size_t *part_lens;
    size_t part_capacity;
};

/* Takes RocksDB's error, which it frees. */
static enum tide_err rocks_err(char *text, const char *what, struct tide_diag *diag)
{
    enum tide_err err = TIDE_ERR_IO;

    if (text == NULL)
        return TIDE_OK;
    if (strncmp(text, "Corruption", 10) == 0 || strncmp(text, "Invalid argument", 16) == 0)
        err = TIDE_ERR_CORRUPT;
    else if (strstr(text, "No space left") != NULL || strstr(text, "Disk quota") != NULL)
        err = TIDE_ERR_DISK_FULL;
    else if (strstr(text, "lock ") != NULL && strstr(text, "LOCK") != NULL)
        err = TIDE_ERR_BUSY;
    tide_diag_set(diag, "raft log: %s: %s", what, text);
    rocksdb_free(text);
    return err;
}

/* ---- Opening ---- */

static rocksdb_options_t *options_new(struct tide_diag *diag)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_options_t *all = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    char *text = NULL;

    rocksdb_options_set_create_if_missing(options, 1);
    rocksdb_options_set_paranoid_checks(options, 1);
    rocksdb_options_set_compression(options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(options, WRITE_BUFFER_BYTES);
    rocksdb_options_set_max_write_buffer_number(options, WRITE_BUFFERS_MAX);
    rocksdb_options_set_disable_auto_compactions(options, 1);
    rocksdb_options_set_max_background_jobs(options, 2);
    rocksdb_options_set_allow_concurrent_memtable_write(options, 0);
    rocksdb_options_set_wal_recovery_mode(options,
                                          rocksdb_tolerate_corrupted_tail_records_recovery);
    rocksdb_options_set_stats_dump_period_sec(options, 0);
    rocksdb_options_set_info_log_level(options, 3); /* Errors only. */
    rocksdb_options_set_max_log_file_size(options, INFO_LOG_BYTES_MAX);
    rocksdb_options_set_keep_log_file_num(options, 2);
    rocksdb_options_set_max_manifest_file_size(options, MANIFEST_BYTES_MAX);
    rocksdb_options_set_bytes_per_sync(options, (uint64_t)1 << 20);
    rocksdb_block_based_options_set_no_block_cache(table, 1);
    rocksdb_options_set_block_based_table_factory(options, table);
    rocksdb_block_based_options_destroy(table);
    rocksdb_get_options_from_string(options, MORE_OPTIONS, all, &text);
    rocksdb_options_destroy(options);
    if (rocks_err(text, "options", diag) != TIDE_OK) {
        rocksdb_options_destroy(all);
        return NULL;
    }
    return all;
}

/* The format's version, written with the first batch of a new database. */
static enum tide_err format_check(struct tide__db *db, struct tide_diag *diag)
{
    uint8_t key[TIDE__KEY_BYTES_MAX];
    size_t key_len = tide__key_put(key, TIDE__KEY_FORMAT, 0, 0);
    char version = TIDE__FORMAT_VERSION;
    char *text = NULL;
    size_t len = 0;
    char *value = rocksdb_get(db->rocks, db->read_options, (const char *)key, key_len, &len, &text);
    enum tide_err err = rocks_err(text, "format", diag);

    if (err == TIDE_OK && value == NULL) {
        text = NULL;
        rocksdb_put(db->rocks, db->write_options, (const char *)key, key_len, &version, 1, &text);
        err = rocks_err(text, "format", diag);
    } else if (err == TIDE_OK && (len != 1 || value[0] != TIDE__FORMAT_VERSION)) {
        err = tide_diag_err(diag, TIDE_ERR_UNSUPPORTED,
                            "raft log: its format is not version %d, which this program reads",
                            TIDE__FORMAT_VERSION);
    }
    rocksdb_free(value);
    return err;
}

enum tide_err tide__db_open(const char *dir, bool sync, struct tide__db **out,
                            struct tide_diag *diag)
{
    struct tide__db *db = tide_mem_new(sizeof(*db));
    enum tide_err err = TIDE_ERR_IO;
    char *text = NULL;

    if (db == NULL)
        return TIDE_ERR_NO_MEMORY;
    db->options = options_new(diag);
    if (db->options == NULL)
        goto fail;
    db->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(db->write_options, sync);
    db->read_options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(db->read_options, 1);
    rocksdb_readoptions_set_fill_cache(db->read_options, 0);
    db->batch = rocksdb_writebatch_create();
    db->rocks = rocksdb_open(db->options, dir, &text);
    err = rocks_err(text, "open", diag);
    if (err != TIDE_OK)
        goto fail;
    err = format_check(db, diag);
    if (err != TIDE_OK)
        goto fail;
    *out = db;
    return TIDE_OK;

fail:
    tide__db_close(db);
    return err;
}

void tide__db_close(struct tide__db *db)
{
    if (db == NULL)
        return;
    if (db->rocks != NULL) {
        rocksdb_cancel_all_background_work(db->rocks, 1);
        rocksdb_close(db->rocks);
    }
    if (db->batch != NULL)
        rocksdb_writebatch_destroy(db->batch);
    if (db->read_options != NULL)
        rocksdb_readoptions_destroy(db->read_options);
    if (db->write_options != NULL)
        rocksdb_writeoptions_destroy(db->write_options);
    if (db->options != NULL)
        rocksdb_options_destroy(db->options);
    tide_mem_free(db->part_ptrs);
    tide_mem_free(db->part_lens);
    tide_mem_free(db);
}

/* ---- Writing ---- */

static void put(struct tide__db *db, const uint8_t *key, size_t key_len, const uint8_t *value,
                size_t len)
{
    rocksdb_writebatch_put(db->batch, (const char *)key, key_len, (const char *)value, len);
}

/* Entries and marks from first up to end, not including it. */
static void delete_range(struct tide__db *db, uint32_t group, uint64_t first, uint64_t end)
{
    static const enum tide__key_kind kinds[] = {TIDE__KEY_ENTRY, TIDE__KEY_MARK};

    for (int i = 0; i < 2; i++) {
        uint8_t from[TIDE__KEY_BYTES_MAX], to[TIDE__KEY_BYTES_MAX];
        size_t len = tide__key_put(from, kinds[i], group, first);

        (void)tide__key_put(to, kinds[i], group, end);
        rocksdb_writebatch_delete_range(db->batch, (const char *)from, len, (const char *)to, len);
    }
}

static enum tide_err parts_reserve(struct tide__db *db, size_t count)
{
    const char **ptrs;
    size_t *lens;

    if (count <= db->part_capacity)
        return TIDE_OK;
    if (count < PARTS_KEEP)
        count = PARTS_KEEP;
    ptrs = tide_mem_array(count, sizeof(*ptrs));
    lens = tide_mem_array(count, sizeof(*lens));
    if (ptrs == NULL || lens == NULL) {
        tide_mem_free(ptrs);
        tide_mem_free(lens);
        return TIDE_ERR_NO_MEMORY;
    }
    tide_mem_free(db->part_ptrs);
    tide_mem_free(db->part_lens);
    db->part_ptrs = ptrs;
    db->part_lens = lens;
    db->part_capacity = count;
    return TIDE_OK;
}

static enum tide_err add_entry(struct tide__db *db, uint32_t group, uint64_t index,
                               const struct tide__entry *entry)
{
    const struct tide__payload *payload = entry->payload;
    uint8_t key[TIDE__KEY_BYTES_MAX], head[TIDE__ENTRY_HEAD_BYTES];
    size_t key_len = tide__key_put(key, TIDE__KEY_ENTRY, group, index);
    const char *key_ptr = (const char *)key;
    enum tide_err err = parts_reserve(db, payload->part_count + 1);

    if (err != TIDE_OK)
        return err;
    tide__entry_head_put(head, (struct tide_slice){key, key_len}, entry);
    db->part_ptrs[0] = (const char *)head;
    db->part_lens[0] = sizeof(head);
    for (uint32_t i = 0; i < payload->part_count; i++) {
        db->part_ptrs[i + 1] = (const char *)payload->parts[i].ptr;
        db->part_lens[i + 1] = payload->parts[i].len;
    }
    rocksdb_writebatch_putv(db->batch, 1, &key_ptr, &key_len, (int)payload->part_count + 1,
                            db->part_ptrs, db->part_lens);
    return TIDE_OK;
}

static void add_mark(struct tide__db *db, uint32_t group, uint64_t index,
                     const struct tide__entry *entry)
{
    uint8_t key[TIDE__KEY_BYTES_MAX], value[TIDE__MARK_BYTES];
    size_t key_len = tide__key_put(key, TIDE__KEY_MARK, group, index);

    tide__mark_put(value, (struct tide_slice){key, key_len}, entry->term, entry->type);
    put(db, key, key_len, value, sizeof(value));
}

static enum tide_err add_append(struct tide__db *db, const struct tide__op *op)
{
    uint64_t term = op->prev_term;
    enum tide_err err = TIDE_OK;

    if (op->truncates)
        delete_range(db, op->group, op->first, UINT64_MAX);
    for (uint32_t i = 0; err == TIDE_OK && i < op->entry_count; i++) {
        const struct tide__entry *entry = &op->entries[i];

        err = add_entry(db, op->group, op->first + i, entry);
        if (entry->term != term || entry->type == TIDE__ENTRY_CHANGE)
            add_mark(db, op->group, op->first + i, entry);
        term = entry->term;
    }
    return err;
}

static enum tide_err add_snapshot(struct tide__db *db, const struct tide__op *op)
{
    uint8_t key[TIDE__KEY_BYTES_MAX];
    size_t key_len = tide__key_put(key, TIDE__KEY_SNAPSHOT, op->group, 0);
    struct tide_buf value = {0};
    enum tide_err err;

    tide__snapshot_put(&value, (struct tide_slice){key, key_len}, op->snapshot);
    err = tide_buf_ok(&value);
    if (err == TIDE_OK) {
        put(db, key, key_len, value.ptr, value.len);
        delete_range(db, op->group, 0, op->kind == TIDE__OP_INSTALL ? UINT64_MAX : op->keep);
    }
    tide_buf_deinit(&value);
    return err;
}

static enum tide_err add_op(struct tide__db *db, const struct tide__op *op)
{
    const struct tide__meta meta = {op->term, op->vote, 0};
    uint8_t key[TIDE__KEY_BYTES_MAX], value[TIDE__META_BYTES];
    size_t key_len;

    switch (op->kind) {
    case TIDE__OP_META:
        key_len = tide__key_put(key, TIDE__KEY_META, op->group, 0);
        tide__meta_put(value, (struct tide_slice){key, key_len}, &meta);
        put(db, key, key_len, value, sizeof(value));
        return TIDE_OK;
    case TIDE__OP_APPEND:
        return add_append(db, op);
    case TIDE__OP_SNAPSHOT:
    case TIDE__OP_INSTALL:
    default:
        return add_snapshot(db, op);
    }
}

enum tide_err tide__db_write(struct tide__db *db, const struct tide__op *first,
                             const struct tide__op *end, struct tide_diag *diag)
{
    enum tide_err err = TIDE_OK;
    char *text = NULL;
    size_t bytes;

    rocksdb_writebatch_clear(db->batch);
    for (const struct tide__op *op = first; err == TIDE_OK && op != end; op = op->next)
        err = add_op(db, op);
    if (err != TIDE_OK)
        return tide_diag_err(diag, err, "raft log: %s", tide_err_text(err));
    (void)rocksdb_writebatch_data(db->batch, &bytes);
    rocksdb_write(db->rocks, db->write_options, db->batch, &text);
    if (bytes > BATCH_KEEP_BYTES) {
        rocksdb_writebatch_destroy(db->batch);
        db->batch = rocksdb_writebatch_create();
    }
    return rocks_err(text, "write", diag);
}

/* ---- Reading ---- */

/* value stays valid until pinned is destroyed. An absent key has pinned NULL. */
static enum tide_err get(struct tide__db *db, struct tide_slice key,
                         rocksdb_pinnableslice_t **pinned, struct tide_slice *value,
                         struct tide_diag *diag)
{
    char *text = NULL;
    size_t len = 0;
    const char *ptr;

    *pinned =
        rocksdb_get_pinned(db->rocks, db->read_options, (const char *)key.ptr, key.len, &text);
    if (*pinned == NULL)
        return rocks_err(text, "read", diag);
    ptr = rocksdb_pinnableslice_value(*pinned, &len);
    *value = (struct tide_slice){(const uint8_t *)ptr, len};
    return TIDE_OK;
}

/* An iterator over the entries or marks of one group, with what it borrows. */
struct range {
    rocksdb_iterator_t *iterator;
    rocksdb_readoptions_t *options;
    uint8_t lower[TIDE__KEY_BYTES_MAX], upper[TIDE__KEY_BYTES_MAX];
    size_t key_len;
    enum tide__key_kind kind;
    uint32_t group;
};

static void range_open(struct tide__db *db, struct range *range, enum tide__key_kind kind,
                       uint32_t group, uint64_t first, size_t readahead)
{
    range->kind = kind;
    range->group = group;
    range->key_len = tide__key_put(range->lower, kind, group, first);
    (void)tide__key_put(range->upper, kind, group, UINT64_MAX);
    range->options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(range->options, 1);
    rocksdb_readoptions_set_fill_cache(range->options, 0);
    rocksdb_readoptions_set_readahead_size(range->options, readahead);
    rocksdb_readoptions_set_iterate_lower_bound(range->options, (const char *)range->lower,
                                                range->key_len);
    rocksdb_readoptions_set_iterate_upper_bound(range->options, (const char *)range->upper,
                                                range->key_len);
    range->iterator = rocksdb_create_iterator(db->rocks, range->options);
}

static void range_close(struct range *range)
{
    rocksdb_iter_destroy(range->iterator);
    rocksdb_readoptions_destroy(range->options);
}

/* TIDE_END when the iterator stands on nothing. */
static enum tide_err range_at(struct range *range, uint64_t *index, struct tide_slice *key,
                              struct tide_slice *value, struct tide_diag *diag)
{
    char *text = NULL;
    size_t len;
    const char *ptr;

    if (!rocksdb_iter_valid(range->iterator)) {
        enum tide_err err;

        rocksdb_iter_get_error(range->iterator, &text);
        err = rocks_err(text, "read", diag);
        return err == TIDE_OK ? TIDE_END : err;
    }
    ptr = rocksdb_iter_key(range->iterator, &len);
    *key = (struct tide_slice){(const uint8_t *)ptr, len};
    ptr = rocksdb_iter_value(range->iterator, &len);
    *value = (struct tide_slice){(const uint8_t *)ptr, len};
    return tide__key_index(*key, range->kind, range->group, index);
}

static enum tide_err corrupt(struct tide_diag *diag, uint32_t group, const char *what,
                             uint64_t index)
{
    return tide_diag_err(diag, TIDE_ERR_CORRUPT, "raft log: group %u: %s %llu is corrupt",
                         (unsigned)group, what, (unsigned long long)index);
}

static enum tide_err corrupt_record(struct tide_diag *diag, uint32_t group, const char *what)
{
    return tide_diag_err(diag, TIDE_ERR_CORRUPT, "raft log: group %u: its %s record is corrupt",
                         (unsigned)group, what);
}

static enum tide_err load_records(struct tide__db *db, uint32_t group, struct tide__stored *out,
                                  struct tide_diag *diag)
{
    uint8_t key_bytes[TIDE__KEY_BYTES_MAX];
    struct tide_slice key = {key_bytes, tide__key_put(key_bytes, TIDE__KEY_META, group, 0)};
    rocksdb_pinnableslice_t *pinned;
    struct tide__meta meta;
    struct tide_slice value;
    enum tide_err err = get(db, key, &pinned, &value, diag);

    if (err != TIDE_OK)
        return err;
    if (pinned != NULL) {
        err = tide__meta_get(key, value, &meta);
        rocksdb_pinnableslice_destroy(pinned);
        if (err != TIDE_OK)
            return corrupt_record(diag, group, "term");
        out->term = meta.term;
        out->vote = meta.vote;
    }
    key.len = tide__key_put(key_bytes, TIDE__KEY_SNAPSHOT, group, 0);
    err = get(db, key, &pinned, &value, diag);
    if (err != TIDE_OK || pinned == NULL)
        return err;
    err = tide__snapshot_get(key, value, &out->snapshot);
    rocksdb_pinnableslice_destroy(pinned);
    return err == TIDE_ERR_CORRUPT ? corrupt_record(diag, group, "checkpoint") : err;
}

static enum tide_err load_bounds(struct tide__db *db, uint32_t group, struct tide__stored *out,
                                 struct tide_diag *diag)
{
    uint64_t covered = out->snapshot == NULL ? 0 : out->snapshot->index;
    struct tide_slice key, value;
    struct range range;
    enum tide_err err;

    out->first = covered + 1;
    out->last = covered;
    range_open(db, &range, TIDE__KEY_ENTRY, group, 0, 0);
    rocksdb_iter_seek_to_first(range.iterator);
    err = range_at(&range, &out->first, &key, &value, diag);
    if (err == TIDE_OK) {
        rocksdb_iter_seek_to_last(range.iterator);
        err = range_at(&range, &out->last, &key, &value, diag);
    }
    range_close(&range);
    if (err != TIDE_OK && err != TIDE_END)
        return err == TIDE_ERR_CORRUPT ? corrupt(diag, group, "a key near entry", out->first) : err;
    if (out->first == 0 || out->first > covered + 1 || out->last < covered ||
        (out->term == 0 && (out->last > 0 || out->snapshot != NULL)))
        return tide_diag_err(diag, TIDE_ERR_CORRUPT,
                             "raft log: group %u: entries %llu to %llu do not follow the "
                             "checkpoint at %llu",
                             (unsigned)group, (unsigned long long)out->first,
                             (unsigned long long)out->last, (unsigned long long)covered);
    return TIDE_OK;
}

/* The mark of an entry, with its payload when it changes the configuration. term and type 0: as the
 * entry says. */
static enum tide_err load_mark(struct tide__db *db, uint32_t group, uint64_t index, uint64_t term,
                               enum tide__entry_type type, struct tide__stored *out,
                               struct tide_diag *diag)
{
    uint8_t key_bytes[TIDE__KEY_BYTES_MAX];
    struct tide_slice key = {key_bytes, tide__key_put(key_bytes, TIDE__KEY_ENTRY, group, index)};
    struct tide__mark mark = {.index = index, .term = term, .type = type};
    rocksdb_pinnableslice_t *pinned = NULL;
    struct tide_slice value, payload = {NULL, 0};
    enum tide_err err = tide_mem_grow((void **)&out->marks, &out->mark_capacity,
                                      out->mark_count + 1, sizeof(*out->marks));

    if (err != TIDE_OK)
        return err;
    if (term == 0 || type == TIDE__ENTRY_CHANGE) {
        uint64_t entry_term;
        enum tide__entry_type entry_type;

        err = get(db, key, &pinned, &value, diag);
        if (err != TIDE_OK)
            return err;
        if (pinned == NULL ||
            tide__entry_get(key, value, &entry_term, &entry_type, &payload) != TIDE_OK ||
            (term != 0 && (term != entry_term || type != entry_type)))
            err = TIDE_ERR_CORRUPT;
        if (err == TIDE_OK) {
            mark.term = entry_term;
            mark.type = entry_type;
        }
    }
    if (err == TIDE_OK && mark.type == TIDE__ENTRY_CHANGE) {
        if (!tide__conf_is_valid(payload))
            err = TIDE_ERR_CORRUPT;
        else if ((mark.payload = tide__payload_copy(payload)) == NULL)
            err = TIDE_ERR_NO_MEMORY;
    }
    if (pinned != NULL)
        rocksdb_pinnableslice_destroy(pinned);
    if (err == TIDE_ERR_CORRUPT)
        return corrupt(diag, group, "entry", index);
    if (err == TIDE_OK)
        out->marks[out->mark_count++] = mark;
    return err;
}

static enum tide_err load_marks(struct tide__db *db, uint32_t group, struct tide__stored *out,
                                struct tide_diag *diag)
{
    struct tide_slice key, value;
    struct range range;
    enum tide_err err;

    if (out->last < out->first)
        return TIDE_OK;
    err = load_mark(db, group, out->first, 0, TIDE__ENTRY_COMMAND, out, diag);
    if (err != TIDE_OK)
        return err;
    range_open(db, &range, TIDE__KEY_MARK, group, out->first + 1, 0);
    for (rocksdb_iter_seek_to_first(range.iterator);; rocksdb_iter_next(range.iterator)) {
        enum tide__entry_type type = TIDE__ENTRY_COMMAND;
        uint64_t index = 0, term = 0;

        err = range_at(&range, &index, &key, &value, diag);
        if (err == TIDE_END) {
            err = TIDE_OK;
            break;
        }
        if (err == TIDE_OK)
            err = tide__mark_get(key, value, &term, &type);
        if (err == TIDE_OK &&
            (index > out->last || term < out->marks[out->mark_count - 1].term || term > out->term))
            err = TIDE_ERR_CORRUPT;
        if (err == TIDE_ERR_CORRUPT)
            err = corrupt(diag, group, "a mark after entry", out->marks[out->mark_count - 1].index);
        if (err == TIDE_OK)
            err = load_mark(db, group, index, term, type, out, diag);
        if (err != TIDE_OK)
            break;
    }
    range_close(&range);
    return err;
}

enum tide_err tide__db_load(struct tide__db *db, uint32_t group, struct tide__stored *out,
                            struct tide_diag *diag)
{
    struct tide__stored stored = {0};
    enum tide_err err = load_records(db, group, &stored, diag);

    if (err == TIDE_OK)
        err = load_bounds(db, group, &stored, diag);
    if (err == TIDE_OK)
        err = load_marks(db, group, &stored, diag);
    /* A log without a checkpoint starts with the configuration. */
    if (err == TIDE_OK && stored.snapshot == NULL && stored.mark_count > 0 &&
        stored.marks[0].type != TIDE__ENTRY_CHANGE)
        err = corrupt(diag, group, "entry", stored.first);
    if (err != TIDE_OK) {
        tide__stored_deinit(&stored);
        return err;
    }
    *out = stored;
    return TIDE_OK;
}

struct tide__db_reader {
    struct range range;
    uint64_t index;
};

enum tide_err tide__db_reader_open(struct tide__db *db, uint32_t group, uint64_t index,
                                   struct tide__db_reader **out)
{
    struct tide__db_reader *reader = tide_mem_new(sizeof(*reader));

    if (reader == NULL)
        return TIDE_ERR_NO_MEMORY;
    reader->index = index;
    range_open(db, &reader->range, TIDE__KEY_ENTRY, group, index, READAHEAD_BYTES);
    rocksdb_iter_seek_to_first(reader->range.iterator);
    *out = reader;
    return TIDE_OK;
}

void tide__db_reader_close(struct tide__db_reader *reader)
{
    if (reader == NULL)
        return;
    range_close(&reader->range);
    tide_mem_free(reader);
}

uint64_t tide__db_reader_index(const struct tide__db_reader *reader)
{
    return reader->index;
}

enum tide_err tide__db_reader_next(struct tide__db_reader *reader, struct tide__entry *out,
                                   struct tide_diag *diag)
{
    uint32_t group = reader->range.group;
    struct tide_slice key, value, payload;
    struct tide__entry entry;
    uint64_t index;
    enum tide_err err = range_at(&reader->range, &index, &key, &value, diag);

    if (err == TIDE_END)
        return err;
    if (err == TIDE_OK && index != reader->index)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err = tide__entry_get(key, value, &entry.term, &entry.type, &payload);
    if (err == TIDE_ERR_CORRUPT)
        return corrupt(diag, group, "entry", reader->index);
    if (err != TIDE_OK)
        return err;
    entry.payload = tide__payload_copy(payload);
    if (entry.payload == NULL)
        return TIDE_ERR_NO_MEMORY;
    reader->index++;
    rocksdb_iter_next(reader->range.iterator);
    *out = entry;
    return TIDE_OK;
}

/* ---- Housekeeping ---- */

uint64_t tide__db_table_bytes(struct tide__db *db)
{
    uint64_t bytes = 0;

    if (rocksdb_property_int(db->rocks, "rocksdb.total-sst-files-size", &bytes) != 0)
        return 0;
    return bytes;
}

void tide__db_compact(struct tide__db *db)
{
    rocksdb_compact_range(db->rocks, NULL, 0, NULL, 0);
}
