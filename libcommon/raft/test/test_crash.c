/* A child process proposes numbers and tells which were acknowledged; it is killed at random
 * moments. Then every acknowledged number must have been applied, once and in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_raft.h"

#include "tide/base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define GROUP_COUNT 3
#define ROUND_COUNT 25
#define IN_FLIGHT_MAX 64
#define CHECKPOINT_EVERY 500

struct ack {
    uint32_t group;
    uint64_t value;
};

/* One group as the child or, after the kill, the parent sees it. Values are 0, 1, 2, …. */
struct counter {
    struct tide_raft_group *group;
    uint32_t number;
    pthread_mutex_t lock;
    uint64_t next;  /* Values below are applied. */
    uint64_t index; /* Of the last one. */
    bool wrong;
    int in_flight;
    int ack_fd;
};

static enum tide_err counter_apply(void *context, uint64_t index, struct tide_slice item,
                                   void *token)
{
    struct counter *counter = context;
    struct ack ack = {counter->number, 0};

    memcpy(&ack.value, item.ptr, sizeof(ack.value));
    pthread_mutex_lock(&counter->lock);
    counter->wrong = counter->wrong || ack.value != counter->next;
    counter->next = ack.value + 1;
    counter->index = index;
    counter->in_flight -= token != NULL;
    pthread_mutex_unlock(&counter->lock);
    if (token != NULL && write(counter->ack_fd, &ack, sizeof(ack)) != (ssize_t)sizeof(ack))
        _exit(4);
    return TIDE_OK;
}

static enum tide_err counter_restore(void *context, uint64_t index, struct tide_slice manifest,
                                     struct tide_diag *diag)
{
    struct counter *counter = context;

    (void)diag;
    memcpy(&counter->next, manifest.ptr, sizeof(counter->next));
    counter->index = index;
    return TIDE_OK;
}

static void counter_failed(void *context, void *token, enum tide_err err)
{
    (void)context, (void)token, (void)err;
}

static enum tide_err counters_open(const char *dir, struct counter *counters, int ack_fd,
                                   struct tide_raft_node **node)
{
    struct tide_raft_options options = {.dir = dir, .loop_threads = 2, .sync = true};
    struct tide_diag diag = {""};
    enum tide_err err = tide_raft_node_open(&options, node, &diag);

    for (uint32_t i = 0; err == TIDE_OK && i < GROUP_COUNT; i++) {
        struct tide_raft_app app = {&counters[i], counter_apply, NULL, counter_restore,
                                    counter_failed};

        counters[i].number = i;
        counters[i].ack_fd = ack_fd;
        pthread_mutex_init(&counters[i].lock, NULL);
        err = tide_raft_group_open(*node, i + 1, &app, &counters[i].group, &diag);
        if (err == TIDE_OK)
            err = tide_raft_group_wait_ready(counters[i].group, 20000);
    }
    if (err != TIDE_OK)
        fprintf(stderr, "%s: %s\n", tide_err_text(err), diag.text);
    return err;
}

struct cut {
    struct counter *counter;
    uint64_t next;
    uint64_t index;
};

static void cut_here(void *context, uint64_t applied)
{
    struct cut *cut = context;

    cut->next = cut->counter->next;
    cut->index = applied;
}

static enum tide_err checkpoint(struct counter *counter)
{
    struct cut cut = {.counter = counter};
    enum tide_err err = tide_raft_group_call(counter->group, cut_here, &cut);
    struct tide_slice manifest = {(const uint8_t *)&cut.next, sizeof(cut.next)};

    return err != TIDE_OK ? err : tide_raft_checkpoint(counter->group, cut.index, manifest);
}

static void propose_next(struct counter *counter, uint64_t *next)
{
    static const uint8_t pad[700];
    struct tide_buf item = {0};
    bool busy;

    pthread_mutex_lock(&counter->lock);
    busy = counter->in_flight >= IN_FLIGHT_MAX;
    counter->in_flight += !busy;
    pthread_mutex_unlock(&counter->lock);
    if (busy)
        return;
    tide_buf_add(&item, next, sizeof(*next));
    tide_buf_add(&item, pad, (size_t)(*next * 37 % sizeof(pad)));
    (*next)++;
    tide_raft_propose(counter->group, &item, counter);
}

/* Goes on until it is killed. */
static int child_main(const char *dir, int ack_fd)
{
    static struct counter counters[GROUP_COUNT];
    struct ack ready = {UINT32_MAX, 0};
    uint64_t next[GROUP_COUNT];
    struct tide_raft_node *node;

    if (counters_open(dir, counters, ack_fd, &node) != TIDE_OK)
        return 3;
    for (int i = 0; i < GROUP_COUNT; i++) {
        if (counters[i].wrong)
            return 6;
        next[i] = counters[i].next;
    }
    if (write(ack_fd, &ready, sizeof(ready)) != (ssize_t)sizeof(ready))
        return 4;
    for (uint64_t turn = 1;; turn++) {
        for (int i = 0; i < GROUP_COUNT; i++)
            propose_next(&counters[i], &next[i]);
        if (turn % CHECKPOINT_EVERY == 0 && checkpoint(&counters[turn % GROUP_COUNT]) != TIDE_OK)
            return 5;
    }
}

/* Starts a child, kills it some time after it was ready, and notes what it acknowledged: acked[i]
 * is one more than the highest of group i. */
static void run_and_kill(const char *dir, unsigned run_ms, uint64_t acked[GROUP_COUNT])
{
    char fd_text[16];
    struct ack ack;
    int64_t kill_at_ms = INT64_MAX;
    int pipe_fds[2], status;
    pid_t child;

    assert_int_equal(pipe(pipe_fds), 0);
    snprintf(fd_text, sizeof(fd_text), "%d", pipe_fds[1]);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pipe_fds[0]);
        execl("/proc/self/exe", "test_crash", "--child", dir, fd_text, (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    while (read(pipe_fds[0], &ack, sizeof(ack)) == (ssize_t)sizeof(ack)) {
        if (ack.group == UINT32_MAX) {
            kill_at_ms = tide_clock_mono_ms() + run_ms;
        } else {
            assert_true(ack.group < GROUP_COUNT);
            assert_true(ack.value >= acked[ack.group]); /* In order. */
            acked[ack.group] = ack.value + 1;
        }
        if (tide_clock_mono_ms() >= kill_at_ms) {
            kill(child, SIGKILL);
            kill_at_ms = INT64_MAX;
        }
    }
    close(pipe_fds[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

static void test_crash__loses_and_repeats_nothing_acknowledged(void **state)
{
    char dir[TEST_PATH_BYTES];
    uint64_t acked[GROUP_COUNT] = {0};
    uint64_t seed = 20240611;

    (void)state;
    test_dir_make(dir);
    for (int round = 0; round < ROUND_COUNT; round++) {
        struct counter counters[GROUP_COUNT];
        struct tide_raft_node *node;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        run_and_kill(dir, (unsigned)(seed >> 33) % 60, acked);
        /* Every third time only: a child must find its way by itself too. */
        if (round % 3 != 2)
            continue;
        memset(counters, 0, sizeof(counters));
        assert_int_equal(counters_open(dir, counters, -1, &node), TIDE_OK);
        for (int i = 0; i < GROUP_COUNT; i++) {
            assert_false(counters[i].wrong);
            assert_true(counters[i].next >= acked[i]);
        }
        tide_raft_node_close(node);
    }
    for (int i = 0; i < GROUP_COUNT; i++)
        assert_true(acked[i] > 0);
    test_dir_remove(dir);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crash__loses_and_repeats_nothing_acknowledged),
    };

    if (argc == 4 && strcmp(argv[1], "--child") == 0)
        return child_main(argv[2], atoi(argv[3]));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
