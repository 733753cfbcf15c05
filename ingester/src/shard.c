#include "ingester_private.h"

#include "tide/base/assert.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/base/metrics.h"

TIDE_COUNTER(applied_samples, "tide_ingester_samples_applied_total", "",
             "Samples applied from the log, repeated and refused ones included.");
TIDE_COUNTER(applied_rejects, "tide_ingester_samples_refused_total", "",
             "Samples refused when they were applied: another value at their timestamp, too old, "
             "over a limit.");
TIDE_COUNTER(applied_pushes, "tide_ingester_pushes_applied_total", "",
             "Pushes applied from the log.");
TIDE_COUNTER(labelled_series, "tide_ingester_series_with_labels_total", "",
             "Series of pushes that came with labels: made, or found by their identity.");

/* Enough to decode any push that a distributor can make. */
#define APPLY_ARENA_BYTES_MAX (2 * TIDE_PUSH_DECODED_BYTES_MAX)

/* Samples are dropped in steps of this, so that retention costs nothing between them. */
#define TRUNCATE_STEP_MS 600000

/* Clocks of senders differ a little, and the newest counts. One that is behind by more than this
 * was set right: the newest was wrong, and would have all that comes now refused as too old. */
#define CLOCK_BACK_MS 86400000

void tide__shard_metrics_register(void)
{
    tide_metric_register(&applied_samples);
    tide_metric_register(&applied_rejects);
    tide_metric_register(&applied_pushes);
    tide_metric_register(&labelled_series);
}

/* Who waits for one push. */
struct push_token {
    tide_push_done done;
    void *context;
};

/* ---- Rules ---- */

/* The first byte of an item that holds rules; pushes begin with their version. */
#define ITEM_RULES 0x80

void tide__rules_write(const struct shard_rules *rules, struct tide_buf *out)
{
    tide_buf_varint(out, rules->retention_ms);
    tide_buf_u32(out, rules->tenants_max);
    tide_buf_u32(out, rules->series_max);
}

enum tide_err tide__rules_read(struct tide_reader *r, struct shard_rules *out)
{
    struct shard_rules rules;
    enum tide_err err = tide_reader_varint(r, &rules.retention_ms);

    if (err == TIDE_OK)
        err = tide_reader_u32(r, &rules.tenants_max);
    if (err == TIDE_OK)
        err = tide_reader_u32(r, &rules.series_max);
    if (err == TIDE_OK && rules.retention_ms < 0)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        *out = rules;
    return err;
}

/* What the options ask for. */
static struct shard_rules rules_wanted(const struct tide_ingester *ingester)
{
    const struct tide_ingester_options *options = &ingester->options;
    struct shard_rules rules = {.retention_ms = options->retention_ms,
                                .tenants_max = options->tenants_max,
                                .series_max = tide_head_options_default.series_max};

    if (options->series_per_tenant_max > 0) {
        /* Hashing spreads series evenly but not exactly: an eighth more for each shard. */
        uint64_t max = options->series_per_tenant_max / options->shard_count;

        max += max / 8 + 1;
        rules.series_max = max > UINT32_MAX ? UINT32_MAX : (uint32_t)max;
    }
    return rules;
}

static void rules_done(void *context, const struct tide_push_result *result)
{
    struct shard *shard = context;

    if (result->err != TIDE_OK)
        atomic_store_explicit(&shard->rules_failed, true, memory_order_relaxed);
}

void tide__shard_rules_propose(struct shard *shard)
{
    const struct shard_rules rules = rules_wanted(shard->ingester);
    struct tide_buf item = {0};

    atomic_store_explicit(&shard->rules_failed, false, memory_order_relaxed);
    tide_buf_byte(&item, ITEM_RULES);
    tide__rules_write(&rules, &item);
    if (tide_buf_ok(&item) == TIDE_OK)
        tide__shard_push(shard->ingester, shard->id, &item, rules_done, shard);
    else
        atomic_store_explicit(&shard->rules_failed, true, memory_order_relaxed);
    tide_buf_deinit(&item);
}

bool tide__shard_rules_differ(const struct shard *shard)
{
    const struct shard_rules wanted = rules_wanted(shard->ingester);

    return wanted.retention_ms != shard->rules.retention_ms ||
           wanted.tenants_max != shard->rules.tenants_max ||
           wanted.series_max != shard->rules.series_max;
}

static enum tide_err apply_rules(struct shard *shard, struct tide_slice item)
{
    struct tide_reader r = tide_reader(item);
    uint8_t kind;
    enum tide_err err = tide_reader_u8(&r, &kind);

    if (err == TIDE_OK)
        err = tide__rules_read(&r, &shard->rules);
    if (err != TIDE_OK)
        return err;
    shard->truncated_ms = INT64_MIN; /* Under other rules, older samples may have come since. */
    for (size_t i = 0; i < TENANT_BUCKETS; i++) {
        for (struct tenant *tenant = shard->tenants[i]; tenant != NULL; tenant = tenant->next)
            tide_head_series_max_set(tenant->head, shard->rules.series_max);
    }
    return TIDE_OK;
}

struct tide_head_options tide__shard_head_options(const struct shard *shard)
{
    struct tide_head_options options = tide_head_options_default;

    options.series_max = shard->rules.series_max;
    return options;
}

/* ---- Life, tenants ---- */

enum tide_err tide__shard_init(struct shard *shard, struct tide_ingester *ingester, uint32_t id)
{
    shard->ingester = ingester;
    shard->id = id;
    /* Before the log says otherwise. */
    shard->rules = (struct shard_rules){.tenants_max = UINT32_MAX,
                                        .series_max = tide_head_options_default.series_max};
    shard->now_ms = INT64_MIN;
    shard->truncated_ms = INT64_MIN;
    shard->arena = tide_arena_new(APPLY_ARENA_BYTES_MAX);
    if (shard->arena == NULL)
        return TIDE_ERR_NO_MEMORY;
    pthread_rwlock_init(&shard->tenants_lock, NULL);
    return TIDE_OK;
}

static void tenant_free(struct tenant *tenant)
{
    if (tenant == NULL)
        return;
    tide_head_free(tenant->head);
    tide_exemplars_free(tenant->exemplars);
    tide_metadata_store_free(tenant->metadata);
    tide_mem_free(tenant);
}

void tide__shard_deinit(struct shard *shard)
{
    if (shard->arena == NULL)
        return; /* Never initialised. */
    for (size_t i = 0; i < TENANT_BUCKETS; i++) {
        while (shard->tenants[i] != NULL) {
            struct tenant *tenant = shard->tenants[i];

            shard->tenants[i] = tenant->next;
            tenant_free(tenant);
        }
    }
    pthread_rwlock_destroy(&shard->tenants_lock);
    tide_arena_free(shard->arena);
    tide_buf_deinit(&shard->refs);
    tide_buf_deinit(&shard->new_refs);
    tide_mem_free(shard->rejects.items);
}

static struct tenant **bucket_of(struct shard *shard, struct tide_slice name)
{
    return &shard->tenants[tide_hash64(name, 0) % TENANT_BUCKETS];
}

struct tenant *tide__shard_tenant(struct shard *shard, struct tide_slice name)
{
    struct tenant *tenant;

    pthread_rwlock_rdlock(&shard->tenants_lock);
    tenant = *bucket_of(shard, name);
    while (tenant != NULL && !tide_slice_eq(tenant->name, name))
        tenant = tenant->next;
    pthread_rwlock_unlock(&shard->tenants_lock);
    return tenant;
}

enum tide_err tide__shard_tenant_add(struct shard *shard, struct tide_slice name,
                                     struct tide_head *head, struct tenant **out)
{
    const struct tide_ingester *ingester = shard->ingester;
    const struct tide_head_options head_options = tide__shard_head_options(shard);
    struct tenant **bucket = bucket_of(shard, name);
    struct tenant *tenant;
    enum tide_err err;

    tenant = tide_mem_new(sizeof(*tenant) + name.len);
    if (tenant == NULL)
        return TIDE_ERR_NO_MEMORY;
    memcpy(tenant + 1, name.ptr, name.len);
    tenant->name = (struct tide_slice){(const uint8_t *)(tenant + 1), name.len};
    err = tide_exemplars_new(ingester->options.exemplars_max / ingester->options.shard_count + 1,
                             &tenant->exemplars);
    if (err == TIDE_OK)
        err = tide_metadata_store_new(&tenant->metadata);
    if (err == TIDE_OK && head == NULL)
        err = tide_head_new(&head_options, &tenant->head);
    if (err != TIDE_OK) {
        tenant_free(tenant);
        return err;
    }
    if (head != NULL)
        tenant->head = head;
    pthread_rwlock_wrlock(&shard->tenants_lock);
    tenant->next = *bucket;
    *bucket = tenant;
    shard->tenant_count++;
    pthread_rwlock_unlock(&shard->tenants_lock);
    *out = tenant;
    return TIDE_OK;
}

/* ---- Applying ---- */

static void answer(struct push_token *token, const struct tide_push_result *result)
{
    if (token == NULL)
        return; /* Replayed, or proposed by another process: nobody waits here. */
    token->done(token->context, result);
    tide_mem_free(token);
}

/* Drops what the retention no longer covers. Time comes from the log, so that every replica drops
 * the same. */
static enum tide_err truncate_old(struct shard *shard, int64_t now_ms)
{
    const int64_t retention_ms = shard->rules.retention_ms;
    int64_t before_ms;

    if (shard->now_ms >= INT64_MIN + CLOCK_BACK_MS && now_ms < shard->now_ms - CLOCK_BACK_MS)
        shard->truncated_ms = INT64_MIN;
    else if (now_ms <= shard->now_ms)
        return TIDE_OK;
    shard->now_ms = now_ms;
    if (retention_ms == 0 || now_ms < INT64_MIN + retention_ms)
        return TIDE_OK;
    before_ms = now_ms - retention_ms;
    before_ms -= before_ms % TRUNCATE_STEP_MS;
    if (before_ms <= shard->truncated_ms)
        return TIDE_OK;
    shard->truncated_ms = before_ms;
    for (size_t i = 0; i < TENANT_BUCKETS; i++) {
        for (struct tenant *tenant = shard->tenants[i]; tenant != NULL; tenant = tenant->next) {
            enum tide_err err = tide_head_truncate(tenant->head, before_ms);

            if (err != TIDE_OK)
                return err;
        }
    }
    return TIDE_OK;
}

/* The two reference columns of a push. */
struct resolved {
    const uint32_t *samples;
    const uint32_t *histograms;
};

static void resolve_column(const uint32_t *refs, uint32_t count, const uint32_t *new_refs,
                           uint32_t *out)
{
    for (uint32_t i = 0; i < count; i++)
        out[i] = (refs[i] & TIDE_PUSH_NEW) != 0 ? new_refs[refs[i] & ~TIDE_PUSH_NEW] : refs[i];
}

/* Gives every new series its reference; *out gets the columns with those in place of
 * TIDE_PUSH_NEW. */
static enum tide_err resolve(struct shard *shard, struct tenant *tenant,
                             const struct tide_push *push, struct resolved *out)
{
    uint32_t *new_refs, *column;

    shard->new_refs.len = 0;
    *out = (struct resolved){push->refs, push->histogram_refs};
    if (push->series_count == 0)
        return TIDE_OK;
    shard->refs.len = 0;
    new_refs = (uint32_t *)(void *)tide_buf_reserve(&shard->new_refs,
                                                    push->series_count * sizeof(uint32_t));
    column = (uint32_t *)(void *)tide_buf_reserve(
        &shard->refs, ((size_t)push->sample_count + push->histogram_count) * sizeof(uint32_t) + 1);
    if (new_refs == NULL || column == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (uint32_t i = 0; i < push->series_count; i++) {
        enum tide_err err = tide_head_series(tenant->head, push->series[i].identity,
                                             push->series[i].labels, &new_refs[i]);

        if (err == TIDE_ERR_LIMIT)
            new_refs[i] = TIDE_PUSH_NEW;
        else if (err != TIDE_OK)
            return err;
    }
    shard->new_refs.len = push->series_count * sizeof(uint32_t);
    tide_metric_add(&labelled_series, push->series_count);
    resolve_column(push->refs, push->sample_count, new_refs, column);
    resolve_column(push->histogram_refs, push->histogram_count, new_refs,
                   column + push->sample_count);
    *out = (struct resolved){column, column + push->sample_count};
    return TIDE_OK;
}

/* The head knows no reference TIDE_PUSH_NEW and answers NOT_FOUND for it: these samples are over
 * the series limit. */
static void relabel_limit(struct shard *shard, const struct tide_push *push,
                          const struct resolved *refs)
{
    for (size_t i = 0; i < shard->rejects.count; i++) {
        struct tide_push_reject *reject = &shard->rejects.items[i];
        uint32_t ref = reject->index < push->sample_count
                           ? refs->samples[reject->index]
                           : refs->histograms[reject->index - push->sample_count];

        if (ref == TIDE_PUSH_NEW)
            reject->why = TIDE_ERR_LIMIT;
    }
}

static enum tide_err apply_exemplars(struct shard *shard, struct tenant *tenant,
                                     const struct tide_push *push, uint32_t *rejected)
{
    const uint32_t *new_refs = (const uint32_t *)(const void *)shard->new_refs.ptr;

    for (uint32_t i = 0; i < push->exemplar_count; i++) {
        uint32_t ref = push->exemplars[i].ref;
        enum tide_err err;

        if ((ref & TIDE_PUSH_NEW) != 0)
            ref = new_refs[ref & ~TIDE_PUSH_NEW];
        if (ref == TIDE_PUSH_NEW) {
            (*rejected)++;
            continue;
        }
        err = tide_exemplars_add(tenant->exemplars, ref, &push->exemplars[i].exemplar);
        if (err == TIDE_ERR_NO_MEMORY)
            return err;
        if (err != TIDE_OK)
            (*rejected)++;
    }
    return TIDE_OK;
}

/* A metric's metadata that does not fit is dropped: it is help for people, not data. */
static enum tide_err apply_metadata(struct tenant *tenant, const struct tide_push *push)
{
    for (uint32_t i = 0; i < push->metadata_count; i++) {
        enum tide_err err = tide_metadata_store_set(tenant->metadata, &push->metadata[i]);

        if (err == TIDE_ERR_NO_MEMORY)
            return err;
    }
    return TIDE_OK;
}

static enum tide_err apply_push(struct shard *shard, struct tenant *tenant,
                                const struct tide_push *push, struct tide_push_result *result)
{
    const int64_t retention_ms = shard->rules.retention_ms;
    const int64_t oldest_ms = retention_ms == 0 ? INT64_MIN : shard->now_ms - retention_ms;
    struct resolved refs;
    enum tide_err err = resolve(shard, tenant, push, &refs);

    shard->rejects.count = 0;
    if (err == TIDE_OK)
        err = tide_head_append(tenant->head, refs.samples, push->times_ms, push->bits,
                               push->sample_count, oldest_ms, &shard->rejects);
    if (err == TIDE_OK)
        err = tide_head_append_histograms(tenant->head, refs.histograms, push->histogram_times_ms,
                                          push->histograms, push->histogram_count,
                                          push->sample_count, oldest_ms, &shard->rejects);
    if (err == TIDE_OK)
        err = apply_exemplars(shard, tenant, push, &result->exemplar_reject_count);
    if (err == TIDE_OK)
        err = apply_metadata(tenant, push);
    if (err != TIDE_OK)
        return err;
    relabel_limit(shard, push, &refs);
    result->new_refs = (const uint32_t *)(const void *)shard->new_refs.ptr;
    result->new_ref_count = push->series_count;
    result->rejects = shard->rejects.items;
    result->reject_count = (uint32_t)shard->rejects.count;
    tide_metric_add(&applied_samples, (int64_t)push->sample_count + push->histogram_count);
    tide_metric_add(&applied_rejects, (int64_t)shard->rejects.count);
    tide_metric_add(&applied_pushes, 1);
    return TIDE_OK;
}

/* Implements tide_raft_app.apply. */
static enum tide_err shard_apply(void *context, uint64_t index, struct tide_slice item, void *token)
{
    struct shard *shard = context;
    struct tide_push_result result = {.err = TIDE_OK};
    struct tenant *tenant;
    struct tide_push push;
    enum tide_err err;

    (void)index;
    if (item.len > 0 && item.ptr[0] == ITEM_RULES) {
        err = apply_rules(shard, item);
        if (err == TIDE_OK)
            answer(token, &result);
        return err;
    }
    tide_arena_reset(shard->arena);
    err = tide_push_decode(item, shard->arena, &push);
    if (err == TIDE_OK)
        err = truncate_old(shard, push.now_ms);
    if (err != TIDE_OK)
        return err;
    if (push.tenant.len == 0) { /* It brought the time and nothing else. */
        answer(token, &result);
        return TIDE_OK;
    }
    tenant = tide__shard_tenant(shard, push.tenant);
    if (tenant == NULL && shard->tenant_count >= shard->rules.tenants_max) {
        result.err = TIDE_ERR_LIMIT;
        answer(token, &result);
        return TIDE_OK;
    }
    if (tenant == NULL) {
        err = tide__shard_tenant_add(shard, push.tenant, NULL, &tenant);
        if (err != TIDE_OK)
            return err;
    }
    err = apply_push(shard, tenant, &push, &result);
    if (err != TIDE_OK)
        return err;
    answer(token, &result);
    return TIDE_OK;
}

/* Implements tide_raft_app.failed. */
static void shard_failed(void *context, void *token, enum tide_err err)
{
    const struct tide_push_result result = {.err = err};

    (void)context;
    answer(token, &result);
}

struct tide_raft_app tide__shard_app(struct shard *shard)
{
    return (struct tide_raft_app){.context = shard,
                                  .apply = shard_apply,
                                  .restore = tide__checkpoint_restore,
                                  .failed = shard_failed};
}

void tide__shard_push(void *context, uint32_t shard, struct tide_buf *bytes, tide_push_done done,
                      void *done_context)
{
    struct tide_ingester *ingester = context;
    struct push_token *token = tide_mem_alloc(sizeof(*token));

    TIDE_ASSERT(shard < ingester->options.shard_count);
    if (token == NULL) {
        const struct tide_push_result result = {.err = TIDE_ERR_NO_MEMORY};

        tide_buf_deinit(bytes);
        done(done_context, &result);
        return;
    }
    *token = (struct push_token){done, done_context};
    tide_raft_propose(ingester->shards[shard].group, bytes, token);
}
