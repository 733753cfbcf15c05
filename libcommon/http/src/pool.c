#include "server_private.h"

#include "tide/base/clock.h"
#include "tide/base/mem.h"

#include <microhttpd.h>

/* By which the query pool is fair. Who it names is checked later: here it only tells apart. */
#define TENANT_HEADER "X-Scope-OrgID"

static void run(struct tide_http_exchange *x)
{
    enum tide_http_pool pool = x->route->route.pool;
    enum tide_err err;

    tide_metric_observe(&tide__http_queue_seconds[pool],
                        (double)(tide_clock_mono_ns() - x->queued_ns) * 1e-9);
    err = tide__http_params_parse(x);
    if (err == TIDE_OK) {
        x->route->route.handler(x->route->route.context, x);
        return;
    }
    tide__http_refuse(x, tide_err_http_status(err), "%s",
                      err == TIDE_ERR_INVALID ? "malformed percent-encoding in the parameters"
                                              : tide_err_text(err));
    tide__http_answer_refusal(x);
}

static void *work(void *argument)
{
    struct tide__http_pool *pool = argument;

    for (;;) {
        struct tide_http_exchange *x;

        pthread_mutex_lock(&pool->lock);
        while (pool->queue.count == 0 && !pool->stopping)
            pthread_cond_wait(&pool->arrived, &pool->lock);
        x = tide__http_queue_pop(&pool->queue);
        pthread_mutex_unlock(&pool->lock);
        if (x == NULL)
            return NULL;
        run(x);
    }
}

enum tide_err tide__http_pool_start(struct tide__http_pool *pool, uint32_t thread_count,
                                    uint32_t queue_max, bool by_tenant)
{
    enum tide_err err;

    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->arrived, NULL);
    pool->by_tenant = by_tenant;
    err = tide__http_queue_init(&pool->queue, queue_max);
    pool->threads = tide_mem_array(thread_count, sizeof(*pool->threads));
    if (err != TIDE_OK || pool->threads == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (; pool->thread_count < thread_count; pool->thread_count++)
        if (pthread_create(&pool->threads[pool->thread_count], NULL, work, pool) != 0)
            return TIDE_ERR_NO_MEMORY;
    return TIDE_OK;
}

bool tide__http_pool_push(struct tide__http_pool *pool, struct tide_http_exchange *x)
{
    const struct tide_slice key =
        pool->by_tenant ? tide_http_header(x, TENANT_HEADER) : (struct tide_slice){NULL, 0};
    bool fits;

    pthread_mutex_lock(&pool->lock);
    fits = tide__http_queue_push(&pool->queue, key, x);
    if (fits) /* Before a worker can see it: one that answers at once resumes at once. */
        MHD_suspend_connection(x->connection);
    pthread_mutex_unlock(&pool->lock);
    if (fits) /* Without the lock: the thread that wakes up wants it first thing. */
        pthread_cond_signal(&pool->arrived);
    return fits;
}

void tide__http_pool_stop(struct tide__http_pool *pool)
{
    if (pool->queue.max == 0) /* Never started. */
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->arrived);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    tide_mem_free(pool->threads);
    tide__http_queue_deinit(&pool->queue);
    pthread_cond_destroy(&pool->arrived);
    pthread_mutex_destroy(&pool->lock);
}
