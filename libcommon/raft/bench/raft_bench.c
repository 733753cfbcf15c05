/* How much does the log cost? Proposals of a fixed size to several groups, a bounded number in
 * flight, checkpoints as a store would make them; then a restart with a log to replay. Baseline:
 * the same with --no-sync. Usage: raft_bench DIR [seconds] [--no-sync] */
#include "tide/base/clock.h"
#include "tide/base/hash.h"
#include "tide/base/log.h"
#include "tide/base/mem.h"
#include "tide/raft/node.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define GROUPS 4
#define IN_FLIGHT_BYTES ((size_t)1 << 20) /* Per group. */
#define CHECKPOINT_BYTES ((uint64_t)32 << 20)
#define LATENCIES_MAX (1u << 20)

struct bench_group {
    struct tide_raft_group *group;
    pthread_mutex_t lock;
    pthread_cond_t room;
    size_t in_flight;
    uint64_t applied_bytes;
    uint64_t failures;
    uint64_t index;
    uint32_t *latencies_us;
    uint32_t latency_count;
    size_t item_bytes;
    int64_t until_ns;
};

struct bench_token {
    int64_t start_ns;
};

static void fail(const char *what, enum tide_err err)
{
    fprintf(stderr, "raft_bench: %s: %s\n", what, tide_err_text(err));
    exit(1);
}

static enum tide_err on_apply(void *context, uint64_t index, struct tide_slice item, void *token)
{
    struct bench_group *bench = context;
    struct bench_token *sent = token;

    pthread_mutex_lock(&bench->lock);
    bench->index = index;
    bench->applied_bytes += item.len;
    if (sent != NULL) {
        bench->in_flight -= item.len;
        if (bench->latency_count < LATENCIES_MAX)
            bench->latencies_us[bench->latency_count++] =
                (uint32_t)((tide_clock_mono_ns() - sent->start_ns) / 1000);
    }
    pthread_mutex_unlock(&bench->lock);
    tide_mem_free(sent);
    return TIDE_OK;
}

static void on_applied(void *context, uint64_t index)
{
    struct bench_group *bench = context;

    (void)index;
    pthread_cond_signal(&bench->room);
}

static enum tide_err on_restore(void *context, uint64_t index, struct tide_slice manifest,
                                struct tide_diag *diag)
{
    (void)context, (void)index, (void)manifest, (void)diag;
    return TIDE_OK;
}

static void on_failed(void *context, void *token, enum tide_err err)
{
    struct bench_group *bench = context;

    (void)err;
    bench->failures++;
    tide_mem_free(token);
}

static void *proposer(void *context)
{
    struct bench_group *bench = context;
    uint8_t *pattern = tide_mem_alloc(bench->item_bytes);
    uint64_t seed = (uint64_t)(uintptr_t)bench;

    for (size_t i = 0; i < bench->item_bytes; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        pattern[i] = (uint8_t)(seed >> 56);
    }
    while (tide_clock_mono_ns() < bench->until_ns) {
        struct tide_buf item = {0};
        struct bench_token *token = tide_mem_new(sizeof(*token));

        tide_buf_add(&item, pattern, bench->item_bytes);
        pthread_mutex_lock(&bench->lock);
        while (bench->in_flight > 0 && bench->in_flight + bench->item_bytes > IN_FLIGHT_BYTES)
            pthread_cond_wait(&bench->room, &bench->lock);
        bench->in_flight += bench->item_bytes;
        pthread_mutex_unlock(&bench->lock);
        token->start_ns = tide_clock_mono_ns();
        tide_raft_propose(bench->group, &item, token);
    }
    tide_mem_free(pattern);
    return NULL;
}

static void *checkpointer(void *context)
{
    struct bench_group *groups = context;

    while (tide_clock_mono_ns() < groups[0].until_ns) {
        struct timespec pause = {0, 20000000};

        nanosleep(&pause, NULL);
        for (int i = 0; i < GROUPS; i++) {
            struct tide_raft_group_stats stats;

            tide_raft_group_stats(groups[i].group, &stats);
            if (stats.log_bytes > CHECKPOINT_BYTES &&
                tide_raft_checkpoint(groups[i].group, stats.applied_index, TIDE_SLICE("m")) !=
                    TIDE_OK)
                groups[i].failures++;
        }
    }
    return NULL;
}

static double cpu_seconds(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint64_t bytes_written(void)
{
    FILE *file = fopen("/proc/self/io", "r");
    char line[128];
    unsigned long long bytes = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL)
        if (sscanf(line, "write_bytes: %llu", &bytes) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return bytes;
}

static int compare(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

static struct tide_raft_node *open_all(const char *dir, bool sync, struct bench_group *groups)
{
    struct tide_raft_options options = {.dir = dir, .loop_threads = 2, .sync = sync};
    struct tide_raft_node *node;
    struct tide_diag diag = {""};
    enum tide_err err = tide_raft_node_open(&options, &node, &diag);

    for (int i = 0; err == TIDE_OK && i < GROUPS; i++) {
        struct tide_raft_app app = {&groups[i], on_apply, on_applied, on_restore, on_failed};

        err = tide_raft_group_open(node, (uint32_t)i + 1, &app, &groups[i].group, &diag);
    }
    for (int i = 0; err == TIDE_OK && i < GROUPS; i++)
        err = tide_raft_group_wait_ready(groups[i].group, 60000);
    if (err != TIDE_OK)
        fail(diag.text, err);
    return node;
}

static void run(const char *dir, bool sync, bool keep, size_t item_bytes, double seconds)
{
    struct bench_group *groups = tide_mem_array(GROUPS, sizeof(*groups));
    pthread_t threads[GROUPS], keeper;
    uint32_t *latencies = tide_mem_array((size_t)GROUPS * LATENCIES_MAX, sizeof(*latencies));
    size_t count = 0;
    uint64_t bytes = 0, failures = 0, replayed = 0;
    struct tide_raft_node *node;
    struct rusage usage;
    double cpu, elapsed, replay_seconds;
    uint64_t written;
    int64_t start_ns;

    for (int i = 0; i < GROUPS; i++) {
        pthread_mutex_init(&groups[i].lock, NULL);
        pthread_cond_init(&groups[i].room, NULL);
        groups[i].item_bytes = item_bytes;
        groups[i].latencies_us = latencies + (size_t)i * LATENCIES_MAX;
    }
    node = open_all(dir, sync, groups);
    cpu = cpu_seconds();
    written = bytes_written();
    start_ns = tide_clock_mono_ns();
    for (int i = 0; i < GROUPS; i++) {
        groups[i].until_ns = start_ns + (int64_t)(seconds * 1e9);
        groups[i].applied_bytes = 0;
    }
    for (int i = 0; i < GROUPS; i++)
        pthread_create(&threads[i], NULL, proposer, &groups[i]);
    if (!keep)
        pthread_create(&keeper, NULL, checkpointer, groups);
    for (int i = 0; i < GROUPS; i++)
        pthread_join(threads[i], NULL);
    if (!keep)
        pthread_join(keeper, NULL);
    for (int i = 0; i < GROUPS; i++) {
        pthread_mutex_lock(&groups[i].lock);
        while (groups[i].in_flight > 0)
            pthread_cond_wait(&groups[i].room, &groups[i].lock);
        pthread_mutex_unlock(&groups[i].lock);
    }
    elapsed = (double)(tide_clock_mono_ns() - start_ns) / 1e9;
    cpu = cpu_seconds() - cpu;
    written = bytes_written() - written;
    getrusage(RUSAGE_SELF, &usage);
    for (int i = 0; i < GROUPS; i++) {
        memmove(latencies + count, groups[i].latencies_us,
                groups[i].latency_count * sizeof(*latencies));
        count += groups[i].latency_count;
        bytes += groups[i].applied_bytes;
        failures += groups[i].failures;
        groups[i].applied_bytes = 0;
    }
    qsort(latencies, count, sizeof(*latencies), compare);
    tide_raft_node_close(node);
    start_ns = tide_clock_mono_ns();
    node = open_all(dir, sync, groups);
    replay_seconds = (double)(tide_clock_mono_ns() - start_ns) / 1e9;
    for (int i = 0; i < GROUPS; i++)
        replayed += groups[i].applied_bytes;
    tide_raft_node_close(node);
    printf("{\"bench\":\"raft_log\",\"groups\":%d,\"item_bytes\":%zu,\"sync\":%s,\"mb_per_s\":%.1f,"
           "\"cpu_ms_per_mb\":%.2f,\"written_per_byte\":%.2f,\"p50_ms\":%.2f,\"p99_ms\":%.2f,"
           "\"rss_max_mb\":%ld,\"failures\":%llu,\"restart_ms\":%.0f,\"replayed_mb\":%.1f}\n",
           GROUPS, item_bytes, sync ? "true" : "false", (double)bytes / 1e6 / elapsed,
           cpu * 1e3 / ((double)bytes / 1e6), (double)written / (double)bytes,
           (double)latencies[count / 2] / 1e3, (double)latencies[count * 99 / 100] / 1e3,
           usage.ru_maxrss / 1024, (unsigned long long)failures, replay_seconds * 1e3,
           (double)replayed / 1e6);
    fflush(stdout);
    for (int i = 0; i < GROUPS; i++) {
        pthread_mutex_destroy(&groups[i].lock);
        pthread_cond_destroy(&groups[i].room);
    }
    tide_mem_free(latencies);
    tide_mem_free(groups);
}

int main(int argc, char **argv)
{
    double seconds = argc > 2 ? atof(argv[2]) : 5;
    bool keep = argc > 3 && strcmp(argv[3], "--keep") == 0;
    bool sync = !(argc > 3 && strcmp(argv[3], "--no-sync") == 0);
    static const size_t sizes[] = {16384, 65536};

    if (argc < 2) {
        fprintf(stderr, "usage: raft_bench DIR [seconds] [--no-sync | --keep]\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char dir[4096];

        snprintf(dir, sizeof(dir), "%s/raft-bench-%zu-%ld", argv[1], sizes[i], (long)getpid());
        run(dir, sync, keep, sizes[i], seconds);
    }
    return 0;
}
