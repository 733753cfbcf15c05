/* Checkpoint files: the state of one shard at one log index. docs/format/checkpoint.md has the
 * layout.
 *
 * A file is written under a temporary name, synced and renamed; then its name, size and CRC-32C are
 * stored in the log as the shard's manifest, in the same batch that drops the log before it. A
 * crash leaves either the old manifest with the whole log, or the new one: files that no manifest
 * names are swept at the next start. */
#include "ingester_private.h"

#include "tide/base/clock.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/base/metrics.h"
#include "tide/base/number.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

TIDE_COUNTER(checkpoints, "tide_ingester_checkpoints_total", "", "Checkpoints taken.");
TIDE_COUNTER(checkpoint_failures, "tide_ingester_checkpoint_failures_total", "",
             "Checkpoints that failed.");
TIDE_COUNTER(checkpoint_bytes_written, "tide_ingester_checkpoint_written_bytes_total", "",
             "Bytes of checkpoints.");
TIDE_HISTOGRAM_SECONDS(freeze_seconds, "tide_ingester_checkpoint_freeze_seconds", "",
                       "How long one shard's writes waited for its state to be copied.");
TIDE_HISTOGRAM_SECONDS(checkpoint_seconds, "tide_ingester_checkpoint_seconds", "",
                       "How long a checkpoint took.");

#define MAGIC "TIDECKPT"
#define VERSION 2u
#define MANIFEST_VERSION 1u
#define NAME_PREFIX "checkpoint-"

void tide__checkpoint_metrics_register(void)
{
    tide_metric_register(&checkpoints);
    tide_metric_register(&checkpoint_failures);
    tide_metric_register(&checkpoint_bytes_written);
    tide_metric_register(&freeze_seconds);
    tide_metric_register(&checkpoint_seconds);
}

struct frozen_tenant {
    struct tide_slice name; /* The tenant's own: tenants are never freed while the shard is open. */
    struct tide_head_frozen *head;
    struct tide_buf exemplars;
    struct tide_buf metadata;
};

struct frozen_shard {
    struct shard *shard;
    struct frozen_tenant *tenants;
    size_t count;
    uint64_t index;
    int64_t now_ms, truncated_ms;
    struct shard_rules rules;
    enum tide_err err;
};

static void frozen_free(struct frozen_shard *frozen)
{
    for (size_t i = 0; i < frozen->count; i++) {
        tide_head_frozen_free(frozen->tenants[i].head);
        tide_buf_deinit(&frozen->tenants[i].exemplars);
        tide_buf_deinit(&frozen->tenants[i].metadata);
    }
    tide_mem_free(frozen->tenants);
}

static enum tide_err freeze_tenant(struct tenant *tenant, struct frozen_tenant *out)
{
    enum tide_err err;

    out->name = tenant->name;
    tide_exemplars_write(tenant->exemplars, &out->exemplars);
    tide_metadata_store_write(tenant->metadata, &out->metadata);
    err = tide_buf_ok(&out->exemplars);
    if (err == TIDE_OK)
        err = tide_buf_ok(&out->metadata);
    if (err == TIDE_OK)
        err = tide_head_freeze(tenant->head, &out->head);
    return err;
}

/* Runs on the group's loop thread, between two applies. */
static void freeze(void *context, uint64_t applied)
{
    struct frozen_shard *frozen = context;
    struct shard *shard = frozen->shard;
    const int64_t start_ns = tide_clock_mono_ns();

    frozen->index = applied;
    frozen->now_ms = shard->now_ms;
    frozen->truncated_ms = shard->truncated_ms;
    frozen->rules = shard->rules;
    frozen->tenants = tide_mem_array(shard->tenant_count, sizeof(*frozen->tenants));
    if (frozen->tenants == NULL)
        frozen->err = TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < TENANT_BUCKETS; i++) {
        for (struct tenant *t = shard->tenants[i]; t != NULL && frozen->err == TIDE_OK; t = t->next)
            frozen->err = freeze_tenant(t, &frozen->tenants[frozen->count++]);
    }
    tide_metric_observe(&freeze_seconds, (double)(tide_clock_mono_ns() - start_ns) / 1e9);
}

static enum tide_err write_section(struct tide_file_writer *writer, const struct tide_buf *section,
                                   struct tide_diag *diag)
{
    struct tide_buf length = {0};
    enum tide_err err;

    tide_buf_uvarint(&length, section->len);
    err = tide_buf_ok(&length);
    if (err == TIDE_OK)
        err = tide_file_writer_add(writer, tide_buf_view(&length), diag);
    tide_buf_deinit(&length);
    if (err == TIDE_OK)
        err = tide_file_writer_add(writer, tide_buf_view(section), diag);
    return err;
}

static enum tide_err write_tenant(struct tide_file_writer *writer,
                                  const struct frozen_tenant *tenant, struct tide_diag *diag)
{
    struct tide_buf name = {0};
    enum tide_err err;

    tide_buf_slice(&name, tenant->name);
    err = tide_buf_ok(&name);
    if (err == TIDE_OK)
        err = write_section(writer, &name, diag);
    tide_buf_deinit(&name);
    if (err == TIDE_OK)
        err = write_section(writer, &tenant->exemplars, diag);
    if (err == TIDE_OK)
        err = write_section(writer, &tenant->metadata, diag);
    if (err == TIDE_OK)
        err = tide_head_frozen_write(tenant->head, writer, diag);
    return err;
}

static enum tide_err write_file(const struct frozen_shard *frozen, struct tide_file_writer *writer,
                                struct tide_diag *diag)
{
    struct tide_buf header = {0};
    enum tide_err err;

    tide_buf_slice(&header, TIDE_SLICE(MAGIC));
    tide_buf_u32(&header, VERSION);
    tide_buf_u32(&header, frozen->shard->id);
    tide_buf_u64(&header, frozen->index);
    tide_buf_u64(&header, (uint64_t)frozen->now_ms);
    tide_buf_u64(&header, (uint64_t)frozen->truncated_ms);
    tide__rules_write(&frozen->rules, &header);
    tide_buf_uvarint(&header, frozen->count);
    err = tide_buf_ok(&header);
    if (err == TIDE_OK)
        err = tide_file_writer_add(writer, tide_buf_view(&header), diag);
    tide_buf_deinit(&header);
    for (size_t i = 0; err == TIDE_OK && i < frozen->count; i++)
        err = write_tenant(writer, &frozen->tenants[i], diag);
    return err;
}

static void shard_path(const struct shard *shard, const char *name, char *path, size_t path_bytes)
{
    snprintf(path, path_bytes, "%s/shards/%u/%s", shard->ingester->data_dir, shard->id, name);
}

/* Stores the manifest; then the file before this one is no longer needed. */
static enum tide_err adopt(struct shard *shard, uint64_t index, const char *name, uint64_t bytes,
                           uint32_t crc)
{
    struct tide_buf manifest = {0};
    char path[4096];
    enum tide_err err;

    tide_buf_uvarint(&manifest, MANIFEST_VERSION);
    tide_buf_bytes(&manifest, tide_slice_str(name));
    tide_buf_u64(&manifest, bytes);
    tide_buf_u32(&manifest, crc);
    err = tide_buf_ok(&manifest);
    if (err == TIDE_OK)
        err = tide_raft_checkpoint(shard->group, index, tide_buf_view(&manifest));
    tide_buf_deinit(&manifest);
    if (err != TIDE_OK) {
        shard->leftovers = true; /* The manifest may be durable all the same: the file stays. */
        return err;
    }
    if (shard->checkpoint_name[0] != '\0' && strcmp(shard->checkpoint_name, name) != 0) {
        shard_path(shard, shard->checkpoint_name, path, sizeof(path));
        unlink(path);
    }
    snprintf(shard->checkpoint_name, sizeof(shard->checkpoint_name), "%s", name);
    shard->checkpoint_bytes = bytes;
    if (shard->leftovers)
        tide__checkpoint_sweep(shard);
    shard->leftovers = false;
    return TIDE_OK;
}

static enum tide_err take(struct shard *shard, struct frozen_shard *frozen, struct tide_diag *diag)
{
    struct tide_file_writer *writer;
    uint64_t bytes;
    uint32_t crc;
    char name[64], path[4096];
    enum tide_err err = tide_raft_group_call(shard->group, freeze, frozen);

    if (err == TIDE_OK)
        err = frozen->err;
    if (err != TIDE_OK)
        return tide_diag_err(diag, err, "freezing shard %u: %s", shard->id, tide_err_text(err));
    snprintf(name, sizeof(name), NAME_PREFIX "%020llu", (unsigned long long)frozen->index);
    if (strcmp(name, shard->checkpoint_name) == 0)
        return TIDE_OK; /* Nothing was written since. */
    shard_path(shard, name, path, sizeof(path));
    err = tide_file_writer_begin(path, &writer, diag);
    if (err != TIDE_OK)
        return err;
    err = write_file(frozen, writer, diag);
    if (err != TIDE_OK) {
        tide_file_writer_abort(writer);
        return err;
    }
    bytes = tide_file_writer_bytes(writer);
    crc = tide_file_writer_crc(writer);
    err = tide_file_writer_commit(writer, diag);
    if (err == TIDE_OK)
        err = adopt(shard, frozen->index, name, bytes, crc);
    if (err == TIDE_OK)
        tide_metric_add(&checkpoint_bytes_written, (int64_t)bytes);
    return err;
}

enum tide_err tide__checkpoint_take(struct shard *shard, struct tide_diag *diag)
{
    struct frozen_shard frozen = {.shard = shard};
    const int64_t start_ns = tide_clock_mono_ns();
    enum tide_err err = take(shard, &frozen, diag);

    frozen_free(&frozen);
    tide_metric_add(err == TIDE_OK ? &checkpoints : &checkpoint_failures, 1);
    tide_metric_observe(&checkpoint_seconds, (double)(tide_clock_mono_ns() - start_ns) / 1e9);
    if (err == TIDE_OK)
        tide_log(TIDE_LOG_DEBUG, "ingester", "checkpoint taken", "shard=%u index=%llu bytes=%llu",
                 shard->id, (unsigned long long)frozen.index,
                 (unsigned long long)shard->checkpoint_bytes);
    return err;
}

/* ---- Restoring ---- */

static enum tide_err restore_tenant(struct shard *shard, struct tide_reader *r,
                                    struct tide_diag *diag)
{
    const struct tide_head_options head_options = tide__shard_head_options(shard);
    struct tide_slice name, exemplars, metadata;
    struct tide_head *head;
    struct tenant *tenant;
    enum tide_err err = tide_reader_bytes(r, &name);

    if (err == TIDE_OK)
        err = tide_reader_bytes(r, &exemplars);
    if (err == TIDE_OK)
        err = tide_reader_bytes(r, &metadata);
    if (err != TIDE_OK)
        return err;
    if (tide__shard_tenant(shard, name) != NULL)
        return tide_diag_err(diag, TIDE_ERR_CORRUPT, "tenant %.*s stands twice",
                             TIDE_SLICE_ARGS(name));
    err = tide_head_restore(&head_options, r, &head, diag);
    if (err != TIDE_OK)
        return err;
    err = tide__shard_tenant_add(shard, name, head, &tenant);
    if (err != TIDE_OK) {
        tide_head_free(head);
        return err;
    }
    err = tide_exemplars_restore(tenant->exemplars, exemplars);
    if (err == TIDE_OK)
        err = tide_metadata_store_restore(tenant->metadata, metadata);
    return err;
}

static enum tide_err restore_file(struct shard *shard, uint64_t index, struct tide_slice bytes,
                                  struct tide_diag *diag)
{
    struct tide_reader r = tide_reader(bytes);
    struct tide_slice magic;
    uint32_t version, id;
    uint64_t file_index, now_ms, truncated_ms;
    size_t tenant_count;
    enum tide_err err = tide_reader_take(&r, sizeof(MAGIC) - 1, &magic);

    if (err != TIDE_OK || !tide_slice_eq(magic, TIDE_SLICE(MAGIC)))
        return tide_diag_err(diag, TIDE_ERR_CORRUPT, "not a checkpoint: wrong magic");
    err = tide_reader_u32(&r, &version);
    if (err == TIDE_OK && version != VERSION)
        return tide_diag_err(diag, TIDE_ERR_CORRUPT, "checkpoint version %u, this program reads %u",
                             version, VERSION);
    if (err == TIDE_OK)
        err = tide_reader_u32(&r, &id);
    if (err == TIDE_OK)
        err = tide_reader_u64(&r, &file_index);
    if (err == TIDE_OK)
        err = tide_reader_u64(&r, &now_ms);
    if (err == TIDE_OK)
        err = tide_reader_u64(&r, &truncated_ms);
    if (err == TIDE_OK)
        err = tide__rules_read(&r, &shard->rules);
    if (err == TIDE_OK)
        err = tide_reader_count(&r, 1, &tenant_count);
    if (err == TIDE_OK && (id != shard->id || file_index != index))
        return tide_diag_err(diag, TIDE_ERR_CORRUPT,
                             "checkpoint of shard %u at index %llu, expected shard %u at %llu", id,
                             (unsigned long long)file_index, shard->id, (unsigned long long)index);
    for (size_t i = 0; err == TIDE_OK && i < tenant_count; i++)
        err = restore_tenant(shard, &r, diag);
    if (err == TIDE_OK && r.rest.len > 0)
        err = TIDE_ERR_CORRUPT;
    if (err != TIDE_OK)
        return tide_diag_err(diag, err, "damaged at byte %zu: %s", bytes.len - r.rest.len,
                             tide_err_text(err));
    shard->now_ms = (int64_t)now_ms;
    shard->truncated_ms = (int64_t)truncated_ms;
    return TIDE_OK;
}

static bool name_ok(struct tide_slice name)
{
    return tide_slice_starts(name, TIDE_SLICE(NAME_PREFIX)) &&
           name.len < sizeof(((struct shard *)0)->checkpoint_name) &&
           memchr(name.ptr, '/', name.len) == NULL;
}

enum tide_err tide__checkpoint_restore(void *context, uint64_t index, struct tide_slice manifest,
                                       struct tide_diag *diag)
{
    struct shard *shard = context;
    struct tide_reader r = tide_reader(manifest);
    struct tide_file_map map;
    struct tide_diag cause = {{0}};
    struct tide_slice name;
    uint64_t version, bytes;
    uint32_t crc;
    char path[4096];
    enum tide_err err = tide_reader_uvarint(&r, &version);

    if (err == TIDE_OK && version == MANIFEST_VERSION)
        err = tide_reader_bytes(&r, &name);
    if (err == TIDE_OK)
        err = tide_reader_u64(&r, &bytes);
    if (err == TIDE_OK)
        err = tide_reader_u32(&r, &crc);
    if (err != TIDE_OK || version != MANIFEST_VERSION || !name_ok(name))
        return tide_diag_err(diag, TIDE_ERR_CORRUPT, "shard %u: its checkpoint manifest is damaged",
                             shard->id);
    snprintf(shard->checkpoint_name, sizeof(shard->checkpoint_name), "%.*s", TIDE_SLICE_ARGS(name));
    shard->checkpoint_bytes = bytes;
    shard_path(shard, shard->checkpoint_name, path, sizeof(path));
    err = tide_file_map(path, &map, diag);
    if (err != TIDE_OK)
        return err;
    if (map.bytes.len != bytes || tide_crc32c(0, map.bytes) != crc)
        err = tide_diag_err(&cause, TIDE_ERR_CORRUPT,
                            "size or CRC-32C is not what was written (%zu bytes)", map.bytes.len);
    else
        err = restore_file(shard, index, map.bytes, &cause);
    tide_file_unmap(&map);
    if (err != TIDE_OK)
        return tide_diag_err(diag, err, "%s: %s", path, cause.text);
    return TIDE_OK;
}

enum tide_err tide__checkpoint_check(const struct shard *shard, uint64_t last_index,
                                     struct tide_diag *diag)
{
    enum tide_err err = TIDE_OK;
    char path[4096];
    DIR *dir;
    const struct dirent *entry;

    shard_path(shard, "", path, sizeof(path));
    dir = opendir(path);
    if (dir == NULL)
        return tide_diag_err(diag, TIDE_ERR_IO, "cannot open %s", path);
    while (err == TIDE_OK && (entry = readdir(dir)) != NULL) {
        struct tide_slice name = tide_slice_str(entry->d_name);
        int64_t index;

        if (!tide_slice_starts(name, TIDE_SLICE(NAME_PREFIX)))
            continue;
        name = (struct tide_slice){name.ptr + sizeof(NAME_PREFIX) - 1,
                                   name.len - (sizeof(NAME_PREFIX) - 1)};
        if (tide_number_parse_i64(name, &index) && index >= 0 && (uint64_t)index > last_index)
            err =
                tide_diag_err(diag, TIDE_ERR_CORRUPT,
                              "shard %u: the log ends at %llu, but %s%s is there: the log was lost "
                              "or is not the one of this directory",
                              shard->id, (unsigned long long)last_index, path, entry->d_name);
    }
    closedir(dir);
    return err;
}

void tide__checkpoint_sweep(const struct shard *shard)
{
    char path[4096];
    DIR *dir;
    const struct dirent *entry;

    shard_path(shard, "", path, sizeof(path));
    dir = opendir(path);
    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL) {
        if (!tide_slice_starts(tide_slice_str(entry->d_name), TIDE_SLICE(NAME_PREFIX)) ||
            strcmp(entry->d_name, shard->checkpoint_name) == 0)
            continue;
        shard_path(shard, entry->d_name, path, sizeof(path));
        if (unlink(path) == 0)
            tide_log(TIDE_LOG_INFO, "ingester", "removed a checkpoint that no log names", "path=%s",
                     path);
    }
    closedir(dir);
}
