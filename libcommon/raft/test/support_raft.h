/* An application that remembers what was applied, and directories for tests. */
#ifndef TIDE_RAFT_TEST_SUPPORT_H
#define TIDE_RAFT_TEST_SUPPORT_H

#include "tide/raft/node.h"

#include <pthread.h>

#define TEST_PATH_BYTES 256

/* A fresh directory under TMPDIR; removed with all in it by test_dir_remove(). */
void test_dir_make(char out[TEST_PATH_BYTES]);
void test_dir_remove(const char *dir);

/* Counts what became of proposals; items are numbers. */
struct test_app {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t *values;  /* Applied, in order. */
    uint64_t *indexes; /* Of the entries they came in. */
    size_t count, capacity;
    size_t tokens;   /* Applied with a token. */
    size_t failures; /* Of proposals. */
    enum tide_err last_failure;
    size_t batches;   /* Calls of applied. */
    uint64_t applied; /* As last told. */
    uint64_t restored_index;
    struct tide_buf restored_manifest;
    bool blocked; /* apply waits while this is set. */
};

void test_app_init(struct test_app *app);
void test_app_deinit(struct test_app *app);
struct tide_raft_app test_app_hooks(struct test_app *app);
/* Proposes value; pad more bytes after it. */
void test_propose(struct tide_raft_group *group, uint64_t value, size_t pad);
/* Waits until as many proposals as this ended, applied or failed; false after ten seconds. */
bool test_app_wait(struct test_app *app, size_t ended);
void test_app_block(struct test_app *app, bool blocked);

struct tide_raft_node *test_node_open(const char *dir, uint32_t loops);
struct tide_raft_group *test_group_open(struct tide_raft_node *node, uint32_t id,
                                        struct test_app *app);

#endif
