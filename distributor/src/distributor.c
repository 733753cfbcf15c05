#include "distributor_private.h"

#include "tide/base/mem.h"

static void scratch_free(struct write_scratch *scratch, uint32_t shard_count)
{
    if (scratch == NULL)
        return;
    for (uint32_t i = 0; scratch->stages != NULL && i < shard_count; i++) {
        tide_push_builder_deinit(&scratch->stages[i].builder);
        tide_buf_deinit(&scratch->stages[i].items);
        tide_buf_deinit(&scratch->stages[i].histogram_items);
        tide_buf_deinit(&scratch->stages[i].keys);
    }
    tide_mem_free(scratch->stages);
    tide_buf_deinit(&scratch->body);
    tide_write_scanner_free(scratch->scanner);
    tide_mem_free(scratch);
}

struct write_scratch *tide__scratch_take(struct tide_distributor *distributor)
{
    const uint32_t shard_count = distributor->options.sink->shard_count;
    struct write_scratch *scratch;

    pthread_mutex_lock(&distributor->lock);
    scratch = distributor->idle;
    if (scratch != NULL)
        distributor->idle = scratch->next;
    pthread_mutex_unlock(&distributor->lock);
    if (scratch != NULL)
        return scratch;

    scratch = tide_mem_new(sizeof(*scratch));
    if (scratch == NULL)
        return NULL;
    scratch->stages = tide_mem_array(shard_count, sizeof(*scratch->stages));
    if (scratch->stages == NULL ||
        tide_write_scanner_new(&distributor->options.limits, &scratch->scanner) != TIDE_OK) {
        scratch_free(scratch, shard_count);
        return NULL;
    }
    return scratch;
}

/* A body that was far larger than usual must not keep its memory for the life of the process. */
#define SCRATCH_KEEP_BYTES (4u << 20)

void tide__scratch_give(struct tide_distributor *distributor, struct write_scratch *scratch)
{
    bool large = scratch->body.capacity > SCRATCH_KEEP_BYTES;

    for (uint32_t i = 0; i < distributor->options.sink->shard_count; i++) {
        const struct tide_push_builder *b = &scratch->stages[i].builder;

        large = large ||
                b->series.capacity + b->refs.capacity + b->times.capacity + b->values.capacity >
                    SCRATCH_KEEP_BYTES;
    }
    if (large) {
        scratch_free(scratch, distributor->options.sink->shard_count);
        return;
    }
    scratch->body.len = 0;
    pthread_mutex_lock(&distributor->lock);
    scratch->next = distributor->idle;
    distributor->idle = scratch;
    pthread_mutex_unlock(&distributor->lock);
}

void tide__slow_add(struct tide_distributor *distributor, struct write_request *request)
{
    *tide__write_slow_link(request) = NULL;
    pthread_mutex_lock(&distributor->lock);
    if (distributor->slow_last != NULL)
        *tide__write_slow_link(distributor->slow_last) = request;
    else
        distributor->slow_first = request;
    distributor->slow_last = request;
    pthread_cond_signal(&distributor->slow_wake);
    pthread_mutex_unlock(&distributor->lock);
}

/* Naming a refused sample means reading its body again. The thread that answers pushes applies the
 * log too and must not wait for that. The queue holds exchanges in flight, which the HTTP server
 * bounds. */
static void *slow_main(void *context)
{
    struct tide_distributor *distributor = context;

    pthread_mutex_lock(&distributor->lock);
    for (;;) {
        struct write_request *request = distributor->slow_first;

        if (request == NULL && distributor->stopping)
            break;
        if (request == NULL) {
            pthread_cond_wait(&distributor->slow_wake, &distributor->lock);
            continue;
        }
        distributor->slow_first = *tide__write_slow_link(request);
        if (distributor->slow_first == NULL)
            distributor->slow_last = NULL;
        pthread_mutex_unlock(&distributor->lock);
        tide__write_finish_slow(request);
        pthread_mutex_lock(&distributor->lock);
    }
    pthread_mutex_unlock(&distributor->lock);
    return NULL;
}

enum tide_err tide_distributor_new(const struct tide_distributor_options *options,
                                   struct tide_distributor **out)
{
    struct tide_distributor *distributor;
    enum tide_err err;

    if (options->sink->shard_count == 0 || options->sink->shard_count > TIDE_REF_CACHE_SHARDS_MAX)
        return TIDE_ERR_INVALID;
    distributor = tide_mem_new(sizeof(*distributor));
    if (distributor == NULL)
        return TIDE_ERR_NO_MEMORY;
    distributor->options = *options;
    /* Another seed than that of identities: the two kinds of keys share one table. */
    distributor->wire_seed =
        tide_hash64(TIDE_SLICE("remote_write wire labels"), options->identity_seed);
    err = tide__ref_cache_new(options->cache_series_max, &distributor->cache);
    if (err != TIDE_OK) {
        tide_mem_free(distributor);
        return err;
    }
    pthread_mutex_init(&distributor->lock, NULL);
    pthread_cond_init(&distributor->slow_wake, NULL);
    if (pthread_create(&distributor->slow_thread, NULL, slow_main, distributor) != 0) {
        pthread_cond_destroy(&distributor->slow_wake);
        pthread_mutex_destroy(&distributor->lock);
        tide__ref_cache_free(distributor->cache);
        tide_mem_free(distributor);
        return TIDE_ERR_NO_MEMORY;
    }
    tide__write_metrics_register();
    *out = distributor;
    return TIDE_OK;
}

void tide_distributor_free(struct tide_distributor *distributor)
{
    if (distributor == NULL)
        return;
    pthread_mutex_lock(&distributor->lock);
    distributor->stopping = true;
    pthread_cond_signal(&distributor->slow_wake);
    pthread_mutex_unlock(&distributor->lock);
    pthread_join(distributor->slow_thread, NULL);

    while (distributor->idle != NULL) {
        struct write_scratch *scratch = distributor->idle;

        distributor->idle = scratch->next;
        scratch_free(scratch, distributor->options.sink->shard_count);
    }
    tide__ref_cache_free(distributor->cache);
    pthread_cond_destroy(&distributor->slow_wake);
    pthread_mutex_destroy(&distributor->lock);
    tide_mem_free(distributor);
}
