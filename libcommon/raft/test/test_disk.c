/* What happens when the disk is full: on a small tmpfs of our own, so as root only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_raft.h"

#include "tide/base/clock.h"
#include "tide/base/file.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#define FILLER_CHUNK ((off_t)256 << 10)

static bool disk_make(char dir[TEST_PATH_BYTES], const char *options)
{
    test_dir_make(dir);
    if (mount("tmpfs", dir, "tmpfs", 0, options) == 0)
        return true;
    rmdir(dir);
    print_message("skipped: a tmpfs cannot be mounted by this user\n");
    return false;
}

static void disk_remove(const char *dir)
{
    assert_int_equal(umount(dir), 0);
    rmdir(dir);
}

/* Fills the disk until only this much is free; frees it again with 0 left to fill. */
static void fill(const char *dir, uint64_t leave)
{
    char path[TEST_PATH_BYTES + 16];
    uint64_t free_bytes;
    off_t size = 0;
    int fd;

    snprintf(path, sizeof(path), "%s/filler", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    for (;;) {
        assert_int_equal(tide_file_free_bytes(dir, &free_bytes, NULL), TIDE_OK);
        if (free_bytes <= leave)
            break;
        off_t more = (off_t)(free_bytes - leave);

        more = more > FILLER_CHUNK ? FILLER_CHUNK : more;
        if (posix_fallocate(fd, size, more) != 0)
            break;
        size += more;
    }
    close(fd);
}

static void unfill(const char *dir)
{
    char path[TEST_PATH_BYTES + 16];

    snprintf(path, sizeof(path), "%s/filler", dir);
    assert_int_equal(unlink(path), 0);
}

static bool wait_health(const struct tide_raft_node *node, bool well)
{
    int64_t until_ms = tide_clock_mono_ms() + 10000;

    while ((tide_raft_node_health(node) == TIDE_OK) != well) {
        struct timespec pause = {0, 10000000};

        if (tide_clock_mono_ms() > until_ms)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

static struct tide_raft_node *open_limited(const char *log_dir, uint64_t disk_free_bytes_min)
{
    struct tide_raft_options options = {.dir = log_dir,
                                        .loop_threads = 1,
                                        .disk_free_bytes_min = disk_free_bytes_min,
                                        .sync = true};
    struct tide_diag diag = {""};
    struct tide_raft_node *node = NULL;

    if (tide_raft_node_open(&options, &node, &diag) != TIDE_OK)
        fail_msg("%s", diag.text);
    return node;
}

static void test_disk__refuses_under_the_limit_and_recovers(void **state)
{
    char dir[TEST_PATH_BYTES], log_dir[TEST_PATH_BYTES + 8];
    struct tide_raft_node *node;
    struct tide_raft_group *group;
    struct test_app app;

    (void)state;
    if (!disk_make(dir, "size=32m"))
        return;
    snprintf(log_dir, sizeof(log_dir), "%s/log", dir);
    test_app_init(&app);
    node = open_limited(log_dir, 8 << 20);
    group = test_group_open(node, 1, &app);
    test_propose(group, 0, 100);
    assert_true(test_app_wait(&app, 1));
    assert_int_equal(app.tokens, 1);
    fill(dir, 4 << 20);
    assert_true(wait_health(node, false));
    assert_int_equal(tide_raft_node_health(node), TIDE_ERR_DISK_FULL);
    test_propose(group, 1, 100);
    assert_true(test_app_wait(&app, 2));
    assert_int_equal(app.last_failure, TIDE_ERR_DISK_FULL);
    unfill(dir);
    assert_true(wait_health(node, true));
    test_propose(group, 2, 100);
    assert_true(test_app_wait(&app, 3));
    assert_int_equal(app.tokens, 2);
    tide_raft_node_close(node);
    test_app_deinit(&app);
    disk_remove(dir);
}

static void note_applied(void *context, uint64_t applied)
{
    *(uint64_t *)context = applied;
}

/* What was acknowledged must be there; what failed may be there; nothing twice, all in order. */
static void check_values(const struct test_app *app, const bool *acked, size_t count)
{
    size_t at = 0;

    for (size_t value = 0; value < count; value++) {
        if (at < app->count && app->values[at] == value)
            at++;
        else
            assert_false(acked[value]);
    }
    assert_int_equal(at, app->count);
}

#define VALUE_COUNT 3000

static void test_disk__survives_a_log_that_cannot_be_written(void **state)
{
    static bool acked[VALUE_COUNT + 1];
    char dir[TEST_PATH_BYTES], log_dir[TEST_PATH_BYTES + 8];
    struct tide_raft_node *node;
    struct tide_raft_group *group;
    struct test_app app, again;
    uint64_t applied = 0;
    size_t count = 0;

    (void)state;
    if (!disk_make(dir, "size=40m"))
        return;
    snprintf(log_dir, sizeof(log_dir), "%s/log", dir);
    test_app_init(&app);
    node = open_limited(log_dir, 0);
    group = test_group_open(node, 1, &app);
    memset(acked, 0, sizeof(acked));
    fill(dir, 1 << 20);
    while (count < VALUE_COUNT && app.failures == 0) {
        size_t before = app.tokens;

        test_propose(group, count, 20000);
        assert_true(test_app_wait(&app, count + 1));
        acked[count++] = app.tokens > before;
    }
    assert_true(app.failures > 0);
    assert_true(app.tokens > 0);
    assert_true(app.last_failure == TIDE_ERR_DISK_FULL || app.last_failure == TIDE_ERR_UNAVAILABLE);
    assert_int_not_equal(tide_raft_node_health(node), TIDE_OK);
    /* It goes on answering. */
    assert_int_equal(tide_raft_group_call(group, note_applied, &applied), TIDE_OK);
    assert_int_equal(applied, app.applied);
    test_propose(group, count, 10);
    assert_true(test_app_wait(&app, count + 1));
    acked[count++] = false;
    assert_int_equal(app.failures, 2);
    unfill(dir);
    assert_true(wait_health(node, true));
    /* The loops open their groups in their own time. */
    for (int attempt = 0; attempt < 100; attempt++) {
        size_t before = app.tokens;

        test_propose(group, count, 10);
        assert_true(test_app_wait(&app, count + 1));
        acked[count++] = app.tokens > before;
        if (acked[count - 1])
            break;
    }
    assert_true(acked[count - 1]);
    check_values(&app, acked, count);
    tide_raft_node_close(node);

    test_app_init(&again);
    node = open_limited(log_dir, 0);
    (void)test_group_open(node, 1, &again);
    tide_raft_node_close(node);
    check_values(&again, acked, count);
    assert_int_equal(again.count, app.count);
    test_app_deinit(&again);
    test_app_deinit(&app);
    disk_remove(dir);
}

static void test_disk__opens_on_a_full_disk(void **state)
{
    char dir[TEST_PATH_BYTES], log_dir[TEST_PATH_BYTES + 8];
    struct tide_raft_options options = {.loop_threads = 1, .sync = true};
    struct tide_raft_app hooks;
    struct tide_raft_node *node;
    struct tide_raft_group *group;
    struct test_app app;

    (void)state;
    if (!disk_make(dir, "size=40m"))
        return;
    snprintf(log_dir, sizeof(log_dir), "%s/log", dir);
    options.dir = log_dir;
    test_app_init(&app);
    hooks = test_app_hooks(&app);
    node = open_limited(log_dir, 0);
    group = test_group_open(node, 1, &app);
    for (uint64_t i = 0; i < 100; i++)
        test_propose(group, i, 1000);
    assert_true(test_app_wait(&app, 100));
    tide_raft_node_close(node);
    fill(dir, 0);
    test_app_deinit(&app);
    test_app_init(&app);
    assert_int_equal(tide_raft_node_open(&options, &node, NULL), TIDE_OK);
    assert_int_equal(tide_raft_group_open(node, 1, &hooks, &group, NULL), TIDE_OK);
    tide_raft_node_close(node);
    assert_int_equal(app.count, 100);
    test_app_deinit(&app);
    unfill(dir);
    disk_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disk__refuses_under_the_limit_and_recovers),
        cmocka_unit_test(test_disk__survives_a_log_that_cannot_be_written),
        cmocka_unit_test(test_disk__opens_on_a_full_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
