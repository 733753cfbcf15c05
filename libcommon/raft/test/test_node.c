#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_raft.h"

#include "tide/base/mem.h"

#include <stdlib.h>

static void assert_values(const struct test_app *app, uint64_t first, size_t count)
{
    assert_int_equal(app->count, count);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(app->values[i], first + i);
    for (size_t i = 1; i < count; i++)
        assert_true(app->indexes[i] >= app->indexes[i - 1]);
}

static void test_node__applies_each_proposal_once_and_in_order(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct test_app app;
    struct tide_raft_node *node;
    struct tide_raft_group *group;
    struct tide_raft_group_stats stats;

    (void)state;
    test_dir_make(dir);
    test_app_init(&app);
    node = test_node_open(dir, 1);
    group = test_group_open(node, 1, &app);
    for (uint64_t i = 0; i < 2000; i++)
        test_propose(group, i, i % 300);
    assert_true(test_app_wait(&app, 2000));
    assert_values(&app, 0, 2000);
    assert_int_equal(app.tokens, 2000);
    assert_int_equal(app.failures, 0);
    tide_raft_node_close(node);
    assert_int_equal(app.applied, app.indexes[1999]);
    assert_true(app.batches >= 1);

    /* A restart applies them again, without tokens. */
    test_app_deinit(&app);
    test_app_init(&app);
    node = test_node_open(dir, 1);
    group = test_group_open(node, 1, &app);
    assert_values(&app, 0, 2000);
    assert_int_equal(app.tokens, 0);
    assert_int_equal(app.restored_index, 0);
    tide_raft_group_stats(group, &stats);
    assert_true(stats.leads);
    assert_int_equal(stats.queue_bytes, 0);
    assert_int_equal(stats.applied_index, stats.last_index);
    assert_true(stats.log_bytes > 2000 * 8);
    test_propose(group, 2000, 0);
    assert_true(test_app_wait(&app, 1));
    assert_values(&app, 0, 2001);
    tide_raft_node_close(node);
    test_app_deinit(&app);
    test_dir_remove(dir);
}

static void test_node__starts_from_its_checkpoint(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct test_app app;
    struct tide_raft_node *node;
    struct tide_raft_group *group;
    struct tide_raft_group_stats stats;
    uint64_t index;

    (void)state;
    test_dir_make(dir);
    test_app_init(&app);
    node = test_node_open(dir, 2);
    group = test_group_open(node, 7, &app);
    for (uint64_t i = 0; i < 100; i++)
        test_propose(group, i, 1000);
    assert_true(test_app_wait(&app, 100));
    index = app.indexes[99];
    assert_int_equal(tide_raft_checkpoint(group, index + 1, TIDE_SLICE("x")), TIDE_ERR_INVALID);
    assert_int_equal(tide_raft_checkpoint(group, index, TIDE_SLICE("one")), TIDE_OK);
    tide_raft_group_stats(group, &stats);
    assert_int_equal(stats.checkpoint_index, index);
    assert_int_equal(stats.log_bytes, 0);
    assert_int_equal(tide_raft_checkpoint(group, index - 1, TIDE_SLICE("x")), TIDE_ERR_INVALID);
    /* The same index again only changes the manifest. */
    assert_int_equal(tide_raft_checkpoint(group, index, TIDE_SLICE("two")), TIDE_OK);
    for (uint64_t i = 100; i < 150; i++)
        test_propose(group, i, 10);
    assert_true(test_app_wait(&app, 150));
    tide_raft_node_close(node);

    for (int restart = 0; restart < 3; restart++) {
        test_app_deinit(&app);
        test_app_init(&app);
        node = test_node_open(dir, 2);
        group = test_group_open(node, 7, &app);
        assert_int_equal(app.restored_index, index);
        assert_memory_equal(app.restored_manifest.ptr, "two", 3);
        assert_values(&app, 100, 50);
        tide_raft_node_close(node);
    }
    test_app_deinit(&app);
    test_dir_remove(dir);
}

static void test_node__checkpoints_below_the_last_applied(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct test_app app;
    struct tide_raft_node *node;
    struct tide_raft_group *group;
    struct tide_raft_group_stats stats;
    uint64_t index;
    size_t kept = 0;

    (void)state;
    test_dir_make(dir);
    test_app_init(&app);
    node = test_node_open(dir, 1);
    group = test_group_open(node, 1, &app);
    for (uint64_t i = 0; i < 50; i++) {
        test_propose(group, i, 100);
        assert_true(test_app_wait(&app, i + 1));
    }
    index = app.indexes[19];
    for (size_t i = 0; i < 50; i++)
        kept += app.indexes[i] > index;
    assert_int_equal(tide_raft_checkpoint(group, index, TIDE_SLICE("")), TIDE_OK);
    tide_raft_group_stats(group, &stats);
    assert_int_equal(stats.log_bytes, kept * (8 + 100 + 1));
    tide_raft_node_close(node);
    test_app_deinit(&app);
    test_app_init(&app);
    node = test_node_open(dir, 1);
    (void)test_group_open(node, 1, &app);
    assert_int_equal(app.restored_index, index);
    assert_values(&app, 50 - kept, kept);
    tide_raft_node_close(node);
    test_app_deinit(&app);
    test_dir_remove(dir);
}

#define THREAD_COUNT 6
#define GROUP_COUNT 9
#define PER_THREAD 200

struct writer {
    struct tide_raft_group **groups;
    uint64_t number;
};

static void *writer_main(void *context)
{
    struct writer *writer = context;

    for (uint64_t i = 0; i < PER_THREAD; i++)
        for (int g = 0; g < GROUP_COUNT; g++)
            test_propose(writer->groups[g], writer->number << 32 | i, i % 50);
    return NULL;
}

static void test_node__keeps_each_threads_order_in_many_groups(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct test_app apps[GROUP_COUNT];
    struct tide_raft_group *groups[GROUP_COUNT];
    struct writer writers[THREAD_COUNT];
    pthread_t threads[THREAD_COUNT];
    struct tide_raft_node *node;

    (void)state;
    test_dir_make(dir);
    node = test_node_open(dir, 3);
    for (uint32_t g = 0; g < GROUP_COUNT; g++) {
        test_app_init(&apps[g]);
        groups[g] = test_group_open(node, g + 1, &apps[g]);
    }
    for (uint64_t t = 0; t < THREAD_COUNT; t++) {
        writers[t] = (struct writer){groups, t};
        assert_int_equal(pthread_create(&threads[t], NULL, writer_main, &writers[t]), 0);
    }
    for (int t = 0; t < THREAD_COUNT; t++)
        pthread_join(threads[t], NULL);
    for (int g = 0; g < GROUP_COUNT; g++)
        assert_true(test_app_wait(&apps[g], THREAD_COUNT * PER_THREAD));
    tide_raft_node_close(node);
    for (int g = 0; g < GROUP_COUNT; g++) {
        uint64_t next[THREAD_COUNT] = {0};

        assert_int_equal(apps[g].tokens, THREAD_COUNT * PER_THREAD);
        for (size_t i = 0; i < apps[g].count; i++) {
            uint64_t thread = apps[g].values[i] >> 32;

            assert_true(thread < THREAD_COUNT);
            assert_int_equal(apps[g].values[i] & 0xffffffff, next[thread]);
            next[thread]++;
        }
        test_app_deinit(&apps[g]);
    }
    test_dir_remove(dir);
}

static void test_node__bounds_what_waits(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct tide_raft_options options = {
        .dir = dir, .loop_threads = 1, .sync = true, .queue_bytes_max = 100000};
    struct tide_raft_group_stats stats;
    struct tide_raft_node *node;
    struct tide_raft_group *group;
    struct test_app app;

    (void)state;
    test_dir_make(dir);
    test_app_init(&app);
    assert_int_equal(tide_raft_node_open(&options, &node, NULL), TIDE_OK);
    group = test_group_open(node, 1, &app);
    test_app_block(&app, true);
    for (uint64_t i = 0; i < 25; i++)
        test_propose(group, i, 9992);
    tide_raft_group_stats(group, &stats);
    assert_true(stats.queue_bytes <= 100000);
    assert_int_equal(app.failures, 15);
    assert_int_equal(app.last_failure, TIDE_ERR_UNAVAILABLE);
    test_app_block(&app, false);
    assert_true(test_app_wait(&app, 25));
    assert_values(&app, 0, 10);
    tide_raft_group_stats(group, &stats);
    assert_int_equal(stats.queue_bytes, 0);
    /* There is room again; but never for one that is too large by itself. */
    test_propose(group, 10, 0);
    test_propose(group, 11, 100000);
    assert_true(test_app_wait(&app, 27));
    assert_values(&app, 0, 11);
    tide_raft_node_close(node);
    test_app_deinit(&app);
    test_dir_remove(dir);
}

static void check_applied(void *context, uint64_t applied)
{
    struct test_app *app = context;

    /* Runs between two applies: what was told is all there is. */
    app->restored_index = applied;
}

static void test_node__calls_between_two_applies(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct tide_raft_node *node;
    struct tide_raft_group *group;
    struct test_app app;

    (void)state;
    test_dir_make(dir);
    test_app_init(&app);
    node = test_node_open(dir, 1);
    group = test_group_open(node, 1, &app);
    for (uint64_t i = 0; i < 300; i++) {
        test_propose(group, i, 100);
        if (i % 30 == 0) {
            assert_int_equal(tide_raft_group_call(group, check_applied, &app), TIDE_OK);
            assert_true(app.restored_index >= 1);
        }
    }
    assert_true(test_app_wait(&app, 300));
    assert_int_equal(tide_raft_group_call(group, check_applied, &app), TIDE_OK);
    assert_int_equal(app.restored_index, app.indexes[299]);
    tide_raft_node_close(node);
    test_app_deinit(&app);
    test_dir_remove(dir);
}

static void test_node__refuses_what_it_cannot_open(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct tide_raft_options options = {.dir = dir, .loop_threads = 0, .sync = true};
    struct tide_raft_node *node, *second;
    struct tide_raft_group *group;
    struct tide_diag diag = {""};
    struct test_app app;
    struct tide_raft_app hooks;

    (void)state;
    test_dir_make(dir);
    test_app_init(&app);
    hooks = test_app_hooks(&app);
    assert_int_equal(tide_raft_node_open(&options, &node, &diag), TIDE_ERR_INVALID);
    node = test_node_open(dir, 1);
    options.loop_threads = 1;
    diag.text[0] = 0;
    assert_int_equal(tide_raft_node_open(&options, &second, &diag), TIDE_ERR_BUSY);
    assert_true(diag.text[0] != 0);
    group = test_group_open(node, 3, &app);
    assert_non_null(group);
    assert_int_equal(tide_raft_group_open(node, 3, &hooks, &group, NULL), TIDE_ERR_EXISTS);
    assert_int_equal(tide_raft_group_open(node, 0, &hooks, &group, NULL), TIDE_ERR_INVALID);
    assert_int_equal(tide_raft_node_health(node), TIDE_OK);
    tide_raft_node_close(node);
    test_app_deinit(&app);
    test_dir_remove(dir);
}

static enum tide_err refuse_restore(void *context, uint64_t index, struct tide_slice manifest,
                                    struct tide_diag *diag)
{
    (void)context, (void)index, (void)manifest;
    return tide_diag_err(diag, TIDE_ERR_CORRUPT, "the checkpoint is gone");
}

static void test_node__passes_on_what_restore_answers(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct tide_raft_node *node;
    struct tide_raft_group *group;
    struct tide_diag diag = {""};
    struct tide_raft_app hooks;
    struct test_app app;

    (void)state;
    test_dir_make(dir);
    test_app_init(&app);
    node = test_node_open(dir, 1);
    group = test_group_open(node, 1, &app);
    test_propose(group, 0, 0);
    assert_true(test_app_wait(&app, 1));
    assert_int_equal(tide_raft_checkpoint(group, app.indexes[0], TIDE_SLICE("m")), TIDE_OK);
    tide_raft_node_close(node);
    node = test_node_open(dir, 1);
    hooks = test_app_hooks(&app);
    hooks.restore = refuse_restore;
    assert_int_equal(tide_raft_group_open(node, 1, &hooks, &group, &diag), TIDE_ERR_CORRUPT);
    assert_string_equal(diag.text, "the checkpoint is gone");
    /* The id is free again. */
    (void)test_group_open(node, 1, &app);
    tide_raft_node_close(node);
    test_app_deinit(&app);
    test_dir_remove(dir);
}

static void test_node__leaks_nothing_over_many_lives(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct test_app app;
    long live = 0;

    (void)state;
    test_dir_make(dir);
    test_app_init(&app);
    for (uint64_t life = 0; life < 8; life++) {
        struct tide_raft_node *node = test_node_open(dir, 2);
        struct tide_raft_group *group = test_group_open(node, 1, &app);

        /* Not waited for: some end when the node is closed. */
        for (uint64_t i = 0; i < 50; i++)
            test_propose(group, i, 100);
        tide_raft_node_close(node);
        assert_int_equal(app.tokens + app.failures, (life + 1) * 50);
        if (life == 0)
            live = tide_test_mem_live();
        assert_int_equal(tide_test_mem_live(), live);
    }
    test_app_deinit(&app);
    test_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_node__applies_each_proposal_once_and_in_order),
        cmocka_unit_test(test_node__starts_from_its_checkpoint),
        cmocka_unit_test(test_node__checkpoints_below_the_last_applied),
        cmocka_unit_test(test_node__keeps_each_threads_order_in_many_groups),
        cmocka_unit_test(test_node__bounds_what_waits),
        cmocka_unit_test(test_node__calls_between_two_applies),
        cmocka_unit_test(test_node__refuses_what_it_cannot_open),
        cmocka_unit_test(test_node__passes_on_what_restore_answers),
        cmocka_unit_test(test_node__leaks_nothing_over_many_lives),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
