#include "node_private.h"

#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/base/metrics.h"

#define QUEUE_BYTES_MAX_DEFAULT ((uint64_t)32 << 20)
#define GROUP_ID_MAX (1u << 20)
#define MANIFEST_BYTES_MAX ((size_t)64 << 10)

TIDE_COUNTER(proposals_total, "tide_raft_proposals_total", "", "Proposals handed in.");
TIDE_COUNTER(proposal_failures_total, "tide_raft_proposal_failures_total", "",
             "Proposals refused, or of unknown outcome.");
TIDE_GAUGE(queue_bytes, "tide_raft_queue_bytes", "", "Bytes of proposals waiting or in flight.");

/* ---- Opening and closing ---- */

static enum tide_err options_check(const struct tide_raft_options *options, struct tide_diag *diag)
{
    if (!tide__group_library_is_right())
        return tide_diag_err(diag, TIDE_ERR_UNSUPPORTED,
                             "raft: linked with a libraft other than 0.22.1");
    if (options->loop_threads < 1 || options->loop_threads > TIDE__LOOPS_MAX)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "raft: loop_threads must be 1 to %d",
                             TIDE__LOOPS_MAX);
    return TIDE_OK;
}

enum tide_err tide_raft_node_open(const struct tide_raft_options *options,
                                  struct tide_raft_node **out, struct tide_diag *diag)
{
    struct tide__wal_options wal_options = {.dir = options->dir,
                                            .sync = options->sync,
                                            .disk_free_bytes_min = options->disk_free_bytes_min,
                                            .hooks = tide__loop_wal_hooks};
    enum tide_err err = options_check(options, diag);
    struct tide_raft_node *node;

    if (err != TIDE_OK)
        return err;
    node = tide_mem_new(sizeof(*node));
    if (node == NULL)
        return TIDE_ERR_NO_MEMORY;
    node->options = *options;
    node->options.dir = NULL; /* The caller's; the log has a copy. */
    if (node->options.queue_bytes_max == 0)
        node->options.queue_bytes_max = QUEUE_BYTES_MAX_DEFAULT;
    atomic_init(&node->closing, false);
    atomic_init(&node->disk_full, false);
    atomic_init(&node->write_err, TIDE_OK);
    tide_metric_register(&proposals_total);
    tide_metric_register(&proposal_failures_total);
    tide_metric_register(&queue_bytes);
    tide__loop_register_metrics();
    wal_options.hooks.context = node;
    err = tide__wal_open(&wal_options, &node->wal, diag);
    if (err != TIDE_OK) {
        tide_mem_free(node);
        return err;
    }
    pthread_mutex_init(&node->lock, NULL);
    for (uint32_t i = 0; err == TIDE_OK && i < options->loop_threads; i++)
        err = tide__loop_start(node, i);
    if (err != TIDE_OK) {
        tide_raft_node_close(node);
        return err;
    }
    *out = node;
    return TIDE_OK;
}

void tide_raft_node_close(struct tide_raft_node *node)
{
    if (node == NULL)
        return;
    atomic_store_explicit(&node->closing, true, memory_order_relaxed);
    /* The log first: what it still writes is then applied, and answered, by the loops. */
    tide__wal_stop(node->wal);
    for (uint32_t i = 0; i < node->loop_count; i++)
        tide__loop_stop(&node->loops[i]);
    tide__wal_close(node->wal);
    for (uint32_t i = 0; i < node->loop_count; i++)
        tide__loop_deinit(&node->loops[i]);
    pthread_mutex_destroy(&node->lock);
    tide_mem_free(node->ids.list);
    tide_mem_free(node);
}

/* Takes id for this caller; TIDE_ERR_EXISTS. */
static enum tide_err id_take(struct tide_raft_node *node, uint32_t id)
{
    struct tide__ids *ids = &node->ids;
    enum tide_err err = TIDE_OK;

    pthread_mutex_lock(&node->lock);
    for (size_t i = 0; i < ids->count; i++)
        if (ids->list[i] == id)
            err = TIDE_ERR_EXISTS;
    if (err == TIDE_OK)
        err =
            tide_mem_grow((void **)&ids->list, &ids->capacity, ids->count + 1, sizeof(*ids->list));
    if (err == TIDE_OK)
        ids->list[ids->count++] = id;
    pthread_mutex_unlock(&node->lock);
    return err;
}

static void id_give_back(struct tide_raft_node *node, uint32_t id)
{
    struct tide__ids *ids = &node->ids;

    pthread_mutex_lock(&node->lock);
    for (size_t i = 0; i < ids->count; i++) {
        if (ids->list[i] == id) {
            ids->list[i] = ids->list[--ids->count];
            break;
        }
    }
    pthread_mutex_unlock(&node->lock);
}

static struct tide_raft_group *group_new(struct tide_raft_node *node, uint32_t id,
                                         const struct tide_raft_app *app)
{
    struct tide_raft_group *group = tide_mem_new(sizeof(*group));
    pthread_condattr_t attr;

    if (group == NULL)
        return NULL;
    group->node = node;
    group->id = id;
    group->loop = &node->loops[id % node->loop_count];
    group->app = *app;
    pthread_mutex_init(&group->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&group->changed, &attr);
    pthread_condattr_destroy(&attr);
    return group;
}

enum tide_err tide_raft_group_open(struct tide_raft_node *node, uint32_t id,
                                   const struct tide_raft_app *app, struct tide_raft_group **out,
                                   struct tide_diag *diag)
{
    struct tide__call call = {.kind = TIDE__CALL_ATTACH, .diag = diag};
    struct tide__stored stored = {0};
    struct tide_raft_group *group = NULL;
    enum tide_err err;

    if (id < 1 || id > GROUP_ID_MAX)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "raft: group ids are 1 to %u", GROUP_ID_MAX);
    err = id_take(node, id);
    if (err != TIDE_OK)
        return tide_diag_err(diag, err, "raft: group %u: %s", (unsigned)id, tide_err_text(err));
    group = group_new(node, id, app);
    if (group == NULL) {
        err = TIDE_ERR_NO_MEMORY;
        goto fail;
    }
    group->life = tide__wal_life(node->wal);
    err = tide__wal_load(node->wal, group->life, id, &stored, diag);
    if (err != TIDE_OK)
        goto fail;
    if (stored.snapshot != NULL) {
        group->applied = stored.snapshot->index;
        err = app->restore(app->context, stored.snapshot->index,
                           tide_buf_view(&stored.snapshot->manifest), diag);
        if (err != TIDE_OK)
            goto fail;
    }
    call.group = group;
    call.stored = &stored;
    err = tide__loop_call(group->loop, &call);
    if (err != TIDE_OK)
        goto fail;
    tide__stored_deinit(&stored);
    *out = group;
    return TIDE_OK;

fail:
    tide__stored_deinit(&stored);
    if (group != NULL && !group->attached) {
        pthread_mutex_destroy(&group->lock);
        pthread_cond_destroy(&group->changed);
        tide_mem_free(group);
    }
    id_give_back(node, id);
    return err;
}

enum tide_err tide_raft_group_wait_ready(struct tide_raft_group *group, int64_t timeout_ms)
{
    int64_t until_ns = tide_clock_mono_ns() + timeout_ms * 1000000;
    struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
    enum tide_err err = TIDE_OK;
    int timed_out = 0;

    pthread_mutex_lock(&group->lock);
    while (!group->ready && group->failed == TIDE_OK && timed_out == 0)
        timed_out = pthread_cond_timedwait(&group->changed, &group->lock, &until);
    if (group->failed != TIDE_OK)
        err = group->failed;
    else if (!group->ready)
        err = TIDE_ERR_TIMEOUT;
    pthread_mutex_unlock(&group->lock);
    return err;
}

/* ---- Proposals ---- */

void tide__queue_bytes_add(struct tide_raft_group *group, int64_t bytes)
{
    atomic_fetch_add_explicit(&group->queue_bytes, (uint_fast64_t)bytes, memory_order_relaxed);
    tide_metric_add(&queue_bytes, bytes);
}

void tide__proposals_failed(struct tide_raft_group *group, struct tide__item *items, size_t count,
                            enum tide_err err)
{
    for (size_t i = 0; i < count; i++) {
        void *token = items[i].token;

        tide__queue_bytes_add(group, -(int64_t)items[i].data.len);
        tide_buf_deinit(&items[i].data);
        tide_metric_add(&proposal_failures_total, 1);
        group->app.failed(group->app.context, token, err);
    }
}

enum tide_err tide__node_write_err(const struct tide_raft_node *node)
{
    int err = atomic_load_explicit(&node->write_err, memory_order_relaxed);

    if (err == TIDE_OK)
        return TIDE_OK;
    return err == TIDE_ERR_DISK_FULL ? TIDE_ERR_DISK_FULL : TIDE_ERR_UNAVAILABLE;
}

/* Why a proposal cannot be taken now. */
static enum tide_err refusal(const struct tide_raft_group *group, size_t len)
{
    const struct tide_raft_node *node = group->node;

    if (atomic_load_explicit(&node->closing, memory_order_relaxed))
        return TIDE_ERR_UNAVAILABLE;
    if (atomic_load_explicit(&node->disk_full, memory_order_relaxed))
        return TIDE_ERR_DISK_FULL;
    if (tide__node_write_err(node) != TIDE_OK)
        return tide__node_write_err(node);
    if (len > node->options.queue_bytes_max ||
        atomic_load_explicit(&group->queue_bytes, memory_order_relaxed) >
            node->options.queue_bytes_max - len)
        return TIDE_ERR_UNAVAILABLE;
    return TIDE_OK;
}

void tide_raft_propose(struct tide_raft_group *group, struct tide_buf *item, void *token)
{
    struct tide__item taken = {*item, token};
    enum tide_err err = refusal(group, item->len);
    bool first = false;

    TIDE_ASSERT(token != NULL);
    memset(item, 0, sizeof(*item));
    tide_metric_add(&proposals_total, 1);
    tide__queue_bytes_add(group, (int64_t)taken.data.len);
    if (err == TIDE_OK) {
        pthread_mutex_lock(&group->lock);
        err = group->failed;
        if (err == TIDE_OK)
            err = tide_mem_grow((void **)&group->waiting, &group->waiting_capacity,
                                group->waiting_count + 1, sizeof(*group->waiting));
        if (err == TIDE_OK) {
            first = group->waiting_count == 0;
            group->waiting[group->waiting_count++] = taken;
        }
        pthread_mutex_unlock(&group->lock);
    }
    if (err != TIDE_OK)
        tide__proposals_failed(group, &taken, 1, err);
    else if (first)
        tide__loop_wake_group(group->loop, group);
}

/* ---- Calls ---- */

enum tide_err tide_raft_group_call(struct tide_raft_group *group,
                                   void (*fn)(void *context, uint64_t applied), void *context)
{
    struct tide__call call = {.kind = TIDE__CALL_RUN, .group = group, .fn = fn, .context = context};

    return tide__loop_call(group->loop, &call);
}

enum tide_err tide_raft_checkpoint(struct tide_raft_group *group, uint64_t index,
                                   struct tide_slice manifest)
{
    struct tide__call call = {
        .kind = TIDE__CALL_CHECKPOINT, .group = group, .index = index, .manifest = manifest};

    if (manifest.len > MANIFEST_BYTES_MAX)
        return TIDE_ERR_TOO_LARGE;
    return tide__loop_call(group->loop, &call);
}

void tide_raft_group_stats(const struct tide_raft_group *group, struct tide_raft_group_stats *out)
{
    out->term = atomic_load_explicit(&group->term, memory_order_relaxed);
    out->last_index = atomic_load_explicit(&group->last_index, memory_order_relaxed);
    out->commit_index = atomic_load_explicit(&group->commit_index, memory_order_relaxed);
    out->applied_index = atomic_load_explicit(&group->applied_index, memory_order_relaxed);
    out->checkpoint_index = atomic_load_explicit(&group->checkpoint_index, memory_order_relaxed);
    out->log_bytes = atomic_load_explicit(&group->log_bytes, memory_order_relaxed);
    out->queue_bytes = atomic_load_explicit(&group->queue_bytes, memory_order_relaxed);
    out->leads = atomic_load_explicit(&group->leads, memory_order_relaxed);
}

enum tide_err tide_raft_node_health(const struct tide_raft_node *node)
{
    enum tide_err err = tide__node_write_err(node);

    if (atomic_load_explicit(&node->disk_full, memory_order_relaxed) || err == TIDE_ERR_DISK_FULL)
        return TIDE_ERR_DISK_FULL;
    return err == TIDE_OK ? TIDE_OK : TIDE_ERR_IO;
}
