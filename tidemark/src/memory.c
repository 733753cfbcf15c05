#include "memory.h"

#include "tide/base/file.h"
#include "tide/base/log.h"
#include "tide/base/metrics.h"
#include "tide/base/number.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#ifdef TIDE_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

#define POLL_MS 200

static struct {
    uint64_t bytes_max;
    _Atomic uint64_t resident; /* Relaxed: a reading, it orders nothing. */
    pthread_t thread;
    pthread_mutex_t lock; /* Guards stopping. */
    pthread_cond_t wake;
    bool stopping;
} watch = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static uint64_t resident_bytes(void)
{
    struct tide_buf text = {0};
    struct tide_slice field;
    int64_t pages = 0;
    const uint8_t *blank;

    /* /proc/self/statm: size, resident, … in pages. */
    if (tide_file_read("/proc/self/statm", 256, &text, NULL) == TIDE_OK) {
        blank = memchr(text.ptr, ' ', text.len);
        if (blank != NULL) {
            field = (struct tide_slice){blank + 1, (size_t)(text.ptr + text.len - blank - 1)};
            blank = memchr(field.ptr, ' ', field.len);
            if (blank != NULL)
                field.len = (size_t)(blank - field.ptr);
            if (!tide_number_parse_i64(field, &pages))
                pages = 0;
        }
    }
    tide_buf_deinit(&text);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void *watch_main(void *context)
{
    bool over = false;

    (void)context;
    pthread_mutex_lock(&watch.lock);
    while (!watch.stopping) {
        uint64_t resident = resident_bytes();
        struct timespec until;

        atomic_store_explicit(&watch.resident, resident, memory_order_relaxed);
        if ((resident > watch.bytes_max) != over) {
            over = !over;
            tide_log(over ? TIDE_LOG_WARN : TIDE_LOG_INFO, "memory",
                     over ? "over the limit, refusing writes" : "under the limit, accepting writes",
                     "resident_bytes=%llu limit_bytes=%llu", (unsigned long long)resident,
                     (unsigned long long)watch.bytes_max);
        }
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += POLL_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L;
        until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&watch.wake, &watch.lock, &until);
    }
    pthread_mutex_unlock(&watch.lock);
    return NULL;
}

#ifdef TIDE_JEMALLOC
static double allocator_bytes(const char *name)
{
    size_t value = 0;
    size_t size = sizeof(value);

    return mallctl(name, &value, &size, NULL, 0) == 0 ? (double)value : 0;
}
#endif

static void collect(void *context, struct tide_buf *out)
{
    (void)context;
    tide_metrics_family(out, "tide_memory_limit_bytes", "gauge",
                        "Resident memory over which writes are refused.");
    tide_metrics_sample(out, "tide_memory_limit_bytes", "", (double)watch.bytes_max);
#ifdef TIDE_JEMALLOC
    uint64_t epoch = 1;
    size_t size = sizeof(epoch);

    mallctl("epoch", &epoch, &size, &epoch, size); /* Refreshes the allocator's figures. */
    tide_metrics_family(out, "tide_allocator_bytes", "gauge", "Memory of the allocator by state.");
    tide_metrics_sample(out, "tide_allocator_bytes", "state=\"allocated\"",
                        allocator_bytes("stats.allocated"));
    tide_metrics_sample(out, "tide_allocator_bytes", "state=\"active\"",
                        allocator_bytes("stats.active"));
    tide_metrics_sample(out, "tide_allocator_bytes", "state=\"resident\"",
                        allocator_bytes("stats.resident"));
    tide_metrics_sample(out, "tide_allocator_bytes", "state=\"retained\"",
                        allocator_bytes("stats.retained"));
#endif
}

enum tide_err memory_watch_start(uint64_t bytes_max)
{
    watch.bytes_max = bytes_max;
    watch.stopping = false;
    if (pthread_create(&watch.thread, NULL, watch_main, NULL) != 0)
        return TIDE_ERR_NO_MEMORY;
    tide_metrics_collector_add(collect, NULL);
    return TIDE_OK;
}

void memory_watch_stop(void)
{
    tide_metrics_collector_remove(collect, NULL);
    pthread_mutex_lock(&watch.lock);
    watch.stopping = true;
    pthread_cond_signal(&watch.wake);
    pthread_mutex_unlock(&watch.lock);
    pthread_join(watch.thread, NULL);
}

enum tide_err memory_admit(struct tide_diag *diag)
{
    uint64_t resident = atomic_load_explicit(&watch.resident, memory_order_relaxed);

    if (resident <= watch.bytes_max)
        return TIDE_OK;
    return tide_diag_err(
        diag, TIDE_ERR_UNAVAILABLE,
        "memory: %llu MiB are in use, the limit (storage.memory_bytes_max) is %llu MiB",
        (unsigned long long)(resident >> 20), (unsigned long long)(watch.bytes_max >> 20));
}
