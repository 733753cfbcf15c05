/* The engine's worker threads: a job is a function that any number of threads run at once, each
 * taking pieces of work until there is none. The thread that asks works too, so that a busy pool
 * delays nobody. */
#ifndef TIDE_PROMQL_POOL_PRIVATE_H
#define TIDE_PROMQL_POOL_PRIVATE_H

#include "tide/base/err.h"

struct tide__pool;

/* threads >= 1: those that may work on one job, the asking one included.
 * Errors: TIDE_ERR_NO_MEMORY, TIDE_ERR_UNAVAILABLE. */
TIDE_CHECK_RESULT enum tide_err tide__pool_new(unsigned threads, struct tide__pool **out);
void tide__pool_free(struct tide__pool *pool);
unsigned tide__pool_threads(const struct tide__pool *pool);

/* Runs job(context, slot) in this thread as slot 0 and, when free, in others with other slots below
 * threads_max; returns when all have returned. A job that returns has found no work left. */
void tide__pool_run(struct tide__pool *pool, unsigned threads_max,
                    void (*job)(void *context, unsigned slot), void *context);

#endif
