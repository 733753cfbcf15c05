#include "pool_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#include <pthread.h>

struct pool_job {
    void (*run)(void *context, unsigned slot);
    void *context;
    unsigned slot_next; /* The slot of the next thread that joins. */
    unsigned slot_end;  /* No thread joins at this slot. */
    unsigned active;    /* Threads of the pool in run() now. */
    struct pool_job *next;
};

struct tide__pool {
    pthread_mutex_t lock; /* Guards all below; a leaf in docs/LOCKS.md. */
    pthread_cond_t work;  /* A job came, or stop. */
    pthread_cond_t done;  /* Some job's active fell. */
    struct pool_job *jobs;
    bool stop;

    unsigned thread_count; /* Started; without the asking one. */
    pthread_t *threads;
};

static struct pool_job *open_job_locked(struct tide__pool *pool)
{
    for (struct pool_job *job = pool->jobs; job != NULL; job = job->next)
        if (job->slot_next < job->slot_end)
            return job;
    return NULL;
}

static void *pool_thread(void *argument)
{
    struct tide__pool *pool = argument;

    (void)pthread_mutex_lock(&pool->lock);
    while (!pool->stop) {
        struct pool_job *job = open_job_locked(pool);
        unsigned slot;

        if (job == NULL) {
            (void)pthread_cond_wait(&pool->work, &pool->lock);
            continue;
        }
        slot = job->slot_next++;
        job->active++;
        (void)pthread_mutex_unlock(&pool->lock);
        job->run(job->context, slot);
        (void)pthread_mutex_lock(&pool->lock);
        job->slot_end = job->slot_next; /* It found no work left: nobody else need look. */
        job->active--;
        if (job->active == 0)
            (void)pthread_cond_broadcast(&pool->done);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

enum tide_err tide__pool_new(unsigned threads, struct tide__pool **out)
{
    struct tide__pool *pool = tide_mem_new(sizeof(*pool));

    if (pool == NULL)
        return TIDE_ERR_NO_MEMORY;
    pool->threads = tide_mem_array(threads, sizeof(*pool->threads));
    if (pool->threads == NULL) {
        tide_mem_free(pool);
        return TIDE_ERR_NO_MEMORY;
    }
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    (void)pthread_cond_init(&pool->done, NULL);
    for (unsigned i = 0; i + 1 < threads; i++) {
        if (pthread_create(&pool->threads[i], NULL, pool_thread, pool) != 0) {
            tide__pool_free(pool);
            return TIDE_ERR_UNAVAILABLE;
        }
        pool->thread_count++;
    }
    *out = pool;
    return TIDE_OK;
}

void tide__pool_free(struct tide__pool *pool)
{
    if (pool == NULL)
        return;
    TIDE_ASSERT(pool->jobs == NULL);
    (void)pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++)
        (void)pthread_join(pool->threads[i], NULL);
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_cond_destroy(&pool->done);
    (void)pthread_mutex_destroy(&pool->lock);
    tide_mem_free(pool->threads);
    tide_mem_free(pool);
}

unsigned tide__pool_threads(const struct tide__pool *pool)
{
    return pool->thread_count + 1;
}

void tide__pool_run(struct tide__pool *pool, unsigned threads_max,
                    void (*job)(void *context, unsigned slot), void *context)
{
    struct pool_job mine = {
        .run = job, .context = context, .slot_next = 1, .slot_end = threads_max};
    struct pool_job **at;

    if (threads_max <= 1 || pool->thread_count == 0) {
        job(context, 0);
        return;
    }
    (void)pthread_mutex_lock(&pool->lock);
    mine.next = pool->jobs;
    pool->jobs = &mine;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);

    job(context, 0);

    (void)pthread_mutex_lock(&pool->lock);
    for (at = &pool->jobs; *at != &mine; at = &(*at)->next)
        continue;
    *at = mine.next;
    while (mine.active > 0)
        (void)pthread_cond_wait(&pool->done, &pool->lock);
    (void)pthread_mutex_unlock(&pool->lock);
}
