#include "ingester_private.h"

#include "tide/base/clock.h"
#include "tide/base/hash.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/base/metrics.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A shard that replays a long log may take this long before it answers. */
#define READY_TIMEOUT_MS 600000
#define CHECKPOINT_POLL_MS 500
#define TICK_MS 60000
#define SHARDS_MAX 1024u

/* ---- The store file: what may never change about a data directory ---- */

#define STORE_FILE_BYTES_MAX 4096u
#define CHECK_KEY "crc32c "

static enum tide_err random_seed(uint64_t *out, struct tide_diag *diag)
{
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, sizeof(*out));

    if (fd >= 0)
        close(fd);
    if (n != (ssize_t)sizeof(*out))
        return tide_diag_err(diag, TIDE_ERR_IO, "cannot read /dev/urandom");
    return TIDE_OK;
}

static enum tide_err store_make(const char *path, uint32_t shard_count, uint64_t *seed,
                                struct tide_diag *diag)
{
    struct tide_file_writer *writer;
    struct tide_buf text = {0};
    enum tide_err err = random_seed(seed, diag);

    if (err != TIDE_OK)
        return err;
    tide_buf_printf(&text, "tidemark-store 1\nshards %u\nidentity-seed %016llx\n", shard_count,
                    (unsigned long long)*seed);
    tide_buf_printf(&text, CHECK_KEY "%08x\n", tide_crc32c(0, tide_buf_view(&text)));
    err = tide_buf_ok(&text);
    if (err == TIDE_OK)
        err = tide_file_writer_begin(path, &writer, diag);
    if (err == TIDE_OK) {
        err = tide_file_writer_add(writer, tide_buf_view(&text), diag);
        if (err == TIDE_OK)
            err = tide_file_writer_commit(writer, diag);
        else
            tide_file_writer_abort(writer);
    }
    tide_buf_deinit(&text);
    return err;
}

/* A digit of the seed that changed would make every series a new one. Files of earlier versions
 * have no checksum. */
static bool store_check_ok(const char *text)
{
    const char *line = strstr(text, CHECK_KEY);
    unsigned crc;

    if (line == NULL)
        return true;
    /* NOLINTNEXTLINE(cert-err34-c): a number out of range is no valid checksum. */
    return sscanf(line + sizeof(CHECK_KEY) - 1, "%8x\n", &crc) == 1 &&
           crc == tide_crc32c(0, (struct tide_slice){(const uint8_t *)text, (size_t)(line - text)});
}

static enum tide_err store_parse(const char *path, const char *text, uint32_t shard_count,
                                 uint64_t *seed, struct tide_diag *diag)
{
    unsigned version, shards;
    unsigned long long value;

    /* NOLINTNEXTLINE(cert-err34-c): the counts are checked, and a number out of range is no valid
     * count. */
    if (sscanf(text, "tidemark-store %9u\nshards %9u\nidentity-seed %16llx\n", &version, &shards,
               &value) != 3 ||
        !store_check_ok(text))
        return tide_diag_err(diag, TIDE_ERR_CORRUPT, "%s: not a store file", path);
    if (version != 1)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "%s: store version %u, this program reads 1",
                             path, version);
    if (shards != shard_count)
        return tide_diag_err(diag, TIDE_ERR_INVALID,
                             "%s: the store was made with %u shards and cannot be opened with %u",
                             path, shards, shard_count);
    *seed = value;
    return TIDE_OK;
}

static enum tide_err store_open(struct tide_ingester *ingester, struct tide_diag *diag)
{
    struct tide_buf text = {0};
    struct tide_diag missing = {{0}};
    char path[4096], log_path[4096];
    enum tide_err err;

    snprintf(path, sizeof(path), "%s/store", ingester->data_dir);
    snprintf(log_path, sizeof(log_path), "%s/log", ingester->data_dir);
    err = tide_file_read(path, STORE_FILE_BYTES_MAX, &text, &missing);
    /* With another seed no series would be found again. The file is made before the log is. */
    if (err == TIDE_ERR_NOT_FOUND && access(log_path, F_OK) == 0)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_ERR_NOT_FOUND)
        return store_make(path, ingester->options.shard_count, &ingester->identity_seed, diag);
    if (err != TIDE_OK) {
        tide_buf_deinit(&text);
        return tide_diag_err(diag, err, "%s", missing.text);
    }
    tide_buf_byte(&text, 0);
    err = tide_buf_ok(&text);
    if (err == TIDE_OK)
        err = store_parse(path, (const char *)text.ptr, ingester->options.shard_count,
                          &ingester->identity_seed, diag);
    tide_buf_deinit(&text);
    return err;
}

/* ---- Opening ---- */

struct shard_opening {
    struct shard *shard;
    pthread_t thread;
    bool started;
    enum tide_err err;
    struct tide_diag diag;
};

static void *shard_open_main(void *context)
{
    struct shard_opening *opening = context;
    struct shard *shard = opening->shard;
    const struct tide_raft_app app = tide__shard_app(shard);
    struct tide_raft_group_stats stats;
    char dir[4096];

    snprintf(dir, sizeof(dir), "%s/shards/%u", shard->ingester->data_dir, shard->id);
    opening->err = tide_file_mkdirs(dir, &opening->diag);
    if (opening->err == TIDE_OK)
        opening->err = tide_raft_group_open(shard->ingester->node, shard->id + 1, &app,
                                            &shard->group, &opening->diag);
    if (opening->err == TIDE_OK) {
        tide_raft_group_stats(shard->group, &stats);
        opening->err = tide__checkpoint_check(shard, stats.last_index, &opening->diag);
    }
    if (opening->err == TIDE_OK) {
        tide__checkpoint_sweep(shard);
        opening->err = tide_raft_group_wait_ready(shard->group, READY_TIMEOUT_MS);
        if (opening->err != TIDE_OK)
            tide_diag_set(&opening->diag, "shard %u does not get ready: %s", shard->id,
                          tide_err_text(opening->err));
    }
    return NULL;
}

/* All shards at once: each reads its own checkpoint and replays its own part of the log. */
static enum tide_err shards_open(struct tide_ingester *ingester, struct tide_diag *diag)
{
    const uint32_t shard_count = ingester->options.shard_count;
    struct shard_opening *openings = tide_mem_array(shard_count, sizeof(*openings));
    enum tide_err err = TIDE_OK;

    if (openings == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < shard_count; i++) {
        openings[i].shard = &ingester->shards[i];
        openings[i].started =
            pthread_create(&openings[i].thread, NULL, shard_open_main, &openings[i]) == 0;
        if (!openings[i].started)
            shard_open_main(&openings[i]);
    }
    for (uint32_t i = 0; i < shard_count; i++) {
        if (openings[i].started)
            pthread_join(openings[i].thread, NULL);
        if (openings[i].err != TIDE_OK && err == TIDE_OK)
            err = tide_diag_err(diag, openings[i].err, "%s", openings[i].diag.text);
    }
    tide_mem_free(openings);
    return err;
}

/* ---- Checkpoints ---- */

/* The log may grow to the size of the last checkpoint: then all checkpoints together cost about as
 * many writes as the log itself, however large the heads are, and a restart replays at most as much
 * as it restores. */
static bool checkpoint_due(const struct shard *shard)
{
    struct tide_raft_group_stats stats;
    uint64_t due = shard->ingester->options.checkpoint_log_bytes;

    if (due < shard->checkpoint_bytes)
        due = shard->checkpoint_bytes;
    tide_raft_group_stats(shard->group, &stats);
    return stats.log_bytes >= due;
}

static enum tide_err checkpoint_all(struct tide_ingester *ingester, bool due_only,
                                    struct tide_diag *diag)
{
    enum tide_err first = TIDE_OK;

    for (uint32_t i = 0; i < ingester->options.shard_count; i++) {
        struct shard *shard = &ingester->shards[i];
        struct tide_diag cause = {{0}};
        enum tide_err err;

        if (due_only && !checkpoint_due(shard))
            continue;
        err = tide__checkpoint_take(shard, &cause);
        if (err == TIDE_OK)
            continue;
        tide_log(TIDE_LOG_WARN, "ingester", "checkpoint failed", "shard=%u err=%s", shard->id,
                 cause.text[0] != '\0' ? cause.text : tide_err_text(err));
        if (first == TIDE_OK)
            first = tide_diag_err(diag, err, "%s", cause.text);
    }
    return first;
}

enum tide_err tide_ingester_checkpoint(struct tide_ingester *ingester, struct tide_diag *diag)
{
    enum tide_err err;

    pthread_mutex_lock(&ingester->lock);
    err = checkpoint_all(ingester, false, diag);
    pthread_mutex_unlock(&ingester->lock);
    return err;
}

static void tick_done(void *context, const struct tide_push_result *result)
{
    (void)context;
    (void)result; /* The next one comes. */
}

/* Tells every shard the time, by a push that holds nothing else. Retention goes by the clock in the
 * log: without this it would stand still where nobody writes, and for ever once memory is so full
 * that writes are refused. */
static void tick(struct tide_ingester *ingester)
{
    const struct tide_push_builder nothing = {.series_count = 0};

    for (uint32_t i = 0; i < ingester->options.shard_count; i++) {
        struct tide_buf bytes = {0};

        if (tide_push_encode(&nothing, (struct tide_slice){NULL, 0}, tide_clock_wall_ms(),
                             &bytes) == TIDE_OK)
            tide__shard_push(ingester, i, &bytes, tick_done, NULL);
        tide_buf_deinit(&bytes);
    }
}

/* What the log would not take when it was opened, on a full disk perhaps. */
static void retry_rules(struct tide_ingester *ingester)
{
    for (uint32_t i = 0; i < ingester->options.shard_count; i++) {
        struct shard *shard = &ingester->shards[i];

        if (atomic_load_explicit(&shard->rules_failed, memory_order_relaxed))
            tide__shard_rules_propose(shard);
    }
}

static void *background_main(void *context)
{
    struct tide_ingester *ingester = context;
    int64_t tick_mono_ms = tide_clock_mono_ms();

    pthread_mutex_lock(&ingester->lock);
    while (!ingester->stopping) {
        struct timespec until;

        retry_rules(ingester);
        if (ingester->options.retention_ms > 0 && tide_clock_mono_ms() >= tick_mono_ms) {
            tick(ingester);
            tick_mono_ms += TICK_MS;
        }

        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += CHECKPOINT_POLL_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&ingester->wake, &ingester->lock, &until);
        /* A failure was logged, and the log is still there: it is tried again at the next turn. */
        if (!ingester->stopping && tide_raft_node_health(ingester->node) == TIDE_OK &&
            checkpoint_all(ingester, true, NULL) != TIDE_OK)
            continue;
    }
    pthread_mutex_unlock(&ingester->lock);
    return NULL;
}

/* ---- Metrics ---- */

static void collect(void *context, struct tide_buf *out)
{
    static const struct {
        const char *label;
        size_t offset;
    } purposes[] = {
        {"purpose=\"records\"", offsetof(struct tide_head_stats, bytes_records)},
        {"purpose=\"open_chunks\"", offsetof(struct tide_head_stats, bytes_open)},
        {"purpose=\"sealed_chunks\"", offsetof(struct tide_head_stats, bytes_sealed)},
        {"purpose=\"timestamp_columns\"", offsetof(struct tide_head_stats, bytes_columns)},
        {"purpose=\"late_samples\"", offsetof(struct tide_head_stats, bytes_late)},
        {"purpose=\"histograms\"", offsetof(struct tide_head_stats, bytes_histograms)},
        {"purpose=\"labels\"", offsetof(struct tide_head_stats, bytes_labels)},
        {"purpose=\"postings\"", offsetof(struct tide_head_stats, bytes_postings)}};
    struct tide_ingester *ingester = context;
    struct tide_head_stats sum = {0};
    uint64_t tenants = 0, log_bytes = 0, queue_bytes = 0;

    for (uint32_t i = 0; i < ingester->options.shard_count; i++) {
        struct shard *shard = &ingester->shards[i];
        struct tide_raft_group_stats raft;

        tide_raft_group_stats(shard->group, &raft);
        log_bytes += raft.log_bytes;
        queue_bytes += raft.queue_bytes;
        pthread_rwlock_rdlock(&shard->tenants_lock);
        tenants = shard->tenant_count > tenants ? shard->tenant_count : tenants;
        for (size_t b = 0; b < TENANT_BUCKETS; b++) {
            for (struct tenant *t = shard->tenants[b]; t != NULL; t = t->next) {
                struct tide_head_stats stats;

                tide_head_stats(t->head, &stats);
                sum.series += stats.series;
                sum.samples += stats.samples;
                sum.chunks += stats.chunks;
                for (size_t p = 0; p < sizeof(purposes) / sizeof(purposes[0]); p++)
                    *(uint64_t *)(void *)((char *)&sum + purposes[p].offset) +=
                        *(uint64_t *)(void *)((char *)&stats + purposes[p].offset);
            }
        }
        pthread_rwlock_unlock(&shard->tenants_lock);
    }
    tide_metrics_family(out, "tide_head_series", "gauge", "Series in the heads.");
    tide_metrics_sample(out, "tide_head_series", "", (double)sum.series);
    tide_metrics_family(out, "tide_head_samples", "gauge", "Samples in the heads.");
    tide_metrics_sample(out, "tide_head_samples", "", (double)sum.samples);
    tide_metrics_family(out, "tide_head_chunks", "gauge", "Sealed chunks in the heads.");
    tide_metrics_sample(out, "tide_head_chunks", "", (double)sum.chunks);
    tide_metrics_family(out, "tide_head_memory_bytes", "gauge", "Memory of the heads by purpose.");
    for (size_t p = 0; p < sizeof(purposes) / sizeof(purposes[0]); p++)
        tide_metrics_sample(out, "tide_head_memory_bytes", purposes[p].label,
                            (double)*(uint64_t *)(void *)((char *)&sum + purposes[p].offset));
    tide_metrics_family(out, "tide_ingester_tenants", "gauge",
                        "Tenants, as the shard with most of them has it.");
    tide_metrics_sample(out, "tide_ingester_tenants", "", (double)tenants);
    tide_metrics_family(out, "tide_ingester_log_bytes", "gauge", "Log after the last checkpoints.");
    tide_metrics_sample(out, "tide_ingester_log_bytes", "", (double)log_bytes);
    tide_metrics_family(out, "tide_ingester_queue_bytes", "gauge", "Pushes that wait for the log.");
    tide_metrics_sample(out, "tide_ingester_queue_bytes", "", (double)queue_bytes);
}

/* ---- Life ---- */

static void destroy(struct tide_ingester *ingester)
{
    tide_metrics_collector_remove(collect, ingester);
    if (ingester->node != NULL)
        tide_raft_node_close(ingester->node);
    for (uint32_t i = 0; ingester->shards != NULL && i < ingester->options.shard_count; i++)
        tide__shard_deinit(&ingester->shards[i]);
    tide_mem_free(ingester->shards);
    pthread_cond_destroy(&ingester->wake);
    pthread_mutex_destroy(&ingester->lock);
    tide_mem_free(ingester->data_dir);
    tide_mem_free(ingester);
}

static enum tide_err open_all(struct tide_ingester *ingester, struct tide_diag *diag)
{
    const struct tide_ingester_options *options = &ingester->options;
    char log_dir[4096];
    const struct tide_raft_options raft_options = {.dir = log_dir,
                                                   .loop_threads = options->loop_threads,
                                                   .disk_free_bytes_min =
                                                       options->disk_free_bytes_min,
                                                   .queue_bytes_max = 32u << 20,
                                                   .sync = true};
    enum tide_err err = store_open(ingester, diag);

    for (uint32_t i = 0; err == TIDE_OK && i < options->shard_count; i++)
        err = tide__shard_init(&ingester->shards[i], ingester, i);
    if (err != TIDE_OK)
        return err;
    snprintf(log_dir, sizeof(log_dir), "%s/log", ingester->data_dir);
    err = tide_raft_node_open(&raft_options, &ingester->node, diag);
    if (err == TIDE_OK)
        err = shards_open(ingester, diag);
    if (err != TIDE_OK)
        return err;
    for (uint32_t i = 0; i < options->shard_count; i++) {
        if (tide__shard_rules_differ(&ingester->shards[i]))
            tide__shard_rules_propose(&ingester->shards[i]);
    }
    tide__shard_metrics_register();
    tide__checkpoint_metrics_register();
    tide_metrics_collector_add(collect, ingester);
    ingester->background_runs =
        pthread_create(&ingester->background, NULL, background_main, ingester) == 0;
    return ingester->background_runs ? TIDE_OK : TIDE_ERR_NO_MEMORY;
}

enum tide_err tide_ingester_open(const struct tide_ingester_options *options,
                                 struct tide_ingester **out, struct tide_diag *diag)
{
    const int64_t start_ns = tide_clock_mono_ns();
    struct tide_ingester *ingester;
    enum tide_err err;

    if (options->shard_count == 0 || options->shard_count > SHARDS_MAX)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "%u shards: 1 to %u are possible",
                             options->shard_count, SHARDS_MAX);
    ingester = tide_mem_new(sizeof(*ingester));
    if (ingester == NULL)
        return TIDE_ERR_NO_MEMORY;
    pthread_mutex_init(&ingester->lock, NULL);
    pthread_cond_init(&ingester->wake, NULL);
    ingester->options = *options;
    ingester->data_dir = tide_mem_alloc(strlen(options->data_dir) + 1);
    ingester->shards = tide_mem_array(options->shard_count, sizeof(*ingester->shards));
    if (ingester->data_dir == NULL || ingester->shards == NULL) {
        destroy(ingester);
        return TIDE_ERR_NO_MEMORY;
    }
    memcpy(ingester->data_dir, options->data_dir, strlen(options->data_dir) + 1);
    ingester->options.data_dir = ingester->data_dir;
    ingester->sink = (struct tide_push_sink){ingester, options->shard_count, tide__shard_push};
    ingester->source = tide__source(ingester);
    err = open_all(ingester, diag);
    if (err != TIDE_OK) {
        destroy(ingester);
        return err;
    }
    tide_log(TIDE_LOG_INFO, "ingester", "shards are open", "shards=%u seconds=%.3f",
             options->shard_count, (double)(tide_clock_mono_ns() - start_ns) / 1e9);
    *out = ingester;
    return TIDE_OK;
}

void tide_ingester_close(struct tide_ingester *ingester)
{
    if (ingester == NULL)
        return;
    pthread_mutex_lock(&ingester->lock);
    ingester->stopping = true;
    pthread_cond_signal(&ingester->wake);
    pthread_mutex_unlock(&ingester->lock);
    if (ingester->background_runs)
        pthread_join(ingester->background, NULL);
    /* Without this checkpoint the next start replays the log instead: nothing is lost. */
    if (tide_raft_node_health(ingester->node) == TIDE_OK &&
        tide_ingester_checkpoint(ingester, NULL) != TIDE_OK)
        tide_log(TIDE_LOG_WARN, "ingester", "closing without a last checkpoint", "reason=%s",
                 "see above");
    destroy(ingester);
}

uint64_t tide_ingester_identity_seed(const struct tide_ingester *ingester)
{
    return ingester->identity_seed;
}

const struct tide_push_sink *tide_ingester_sink(const struct tide_ingester *ingester)
{
    return &ingester->sink;
}

const struct tide_source *tide_ingester_source(const struct tide_ingester *ingester)
{
    return &ingester->source;
}

enum tide_err tide_ingester_health(const struct tide_ingester *ingester)
{
    return tide_raft_node_health(ingester->node);
}
