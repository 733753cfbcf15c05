#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_raft.h"

#include "tide/base/mem.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void test_dir_make(char out[TEST_PATH_BYTES])
{
    const char *base = getenv("TMPDIR");

    snprintf(out, TEST_PATH_BYTES, "%s/tide-raft-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(out));
}

void test_dir_remove(const char *dir)
{
    DIR *open_dir = opendir(dir);
    struct dirent *entry;
    char path[2 * TEST_PATH_BYTES + 256];

    if (open_dir == NULL)
        return;
    while ((entry = readdir(open_dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        if (unlink(path) != 0)
            test_dir_remove(path);
    }
    closedir(open_dir);
    rmdir(dir);
}

void test_app_init(struct test_app *app)
{
    memset(app, 0, sizeof(*app));
    pthread_mutex_init(&app->lock, NULL);
    pthread_cond_init(&app->changed, NULL);
}

void test_app_deinit(struct test_app *app)
{
    pthread_mutex_destroy(&app->lock);
    pthread_cond_destroy(&app->changed);
    free(app->values);
    free(app->indexes);
    tide_buf_deinit(&app->restored_manifest);
}

static enum tide_err app_apply(void *context, uint64_t index, struct tide_slice item, void *token)
{
    struct test_app *app = context;
    uint64_t value = 0;

    pthread_mutex_lock(&app->lock);
    while (app->blocked)
        pthread_cond_wait(&app->changed, &app->lock);
    if (app->count == app->capacity) {
        app->capacity = app->capacity * 2 + 64;
        app->values = realloc(app->values, app->capacity * sizeof(uint64_t));
        app->indexes = realloc(app->indexes, app->capacity * sizeof(uint64_t));
    }
    memcpy(&value, item.ptr, sizeof(value));
    app->values[app->count] = value;
    app->indexes[app->count++] = index;
    app->tokens += token != NULL;
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
    free(token);
    return TIDE_OK;
}

static void app_applied(void *context, uint64_t index)
{
    struct test_app *app = context;

    pthread_mutex_lock(&app->lock);
    app->batches++;
    app->applied = index;
    pthread_mutex_unlock(&app->lock);
}

static enum tide_err app_restore(void *context, uint64_t index, struct tide_slice manifest,
                                 struct tide_diag *diag)
{
    struct test_app *app = context;

    (void)diag;
    app->restored_index = index;
    tide_buf_slice(&app->restored_manifest, manifest);
    return TIDE_OK;
}

static void app_failed(void *context, void *token, enum tide_err err)
{
    struct test_app *app = context;

    pthread_mutex_lock(&app->lock);
    app->failures++;
    app->last_failure = err;
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
    free(token);
}

struct tide_raft_app test_app_hooks(struct test_app *app)
{
    return (struct tide_raft_app){app, app_apply, app_applied, app_restore, app_failed};
}

void test_propose(struct tide_raft_group *group, uint64_t value, size_t pad)
{
    struct tide_buf item = {0};
    uint8_t *more;

    tide_buf_add(&item, &value, sizeof(value));
    more = tide_buf_reserve(&item, pad);
    assert_non_null(more);
    memset(more, 0x5a, pad);
    item.len += pad;
    tide_raft_propose(group, &item, malloc(1));
    assert_null(item.ptr);
}

bool test_app_wait(struct test_app *app, size_t ended)
{
    struct timespec until;
    int timed_out = 0;
    bool reached;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&app->lock);
    while (app->tokens + app->failures < ended && timed_out == 0)
        timed_out = pthread_cond_timedwait(&app->changed, &app->lock, &until);
    reached = app->tokens + app->failures >= ended;
    pthread_mutex_unlock(&app->lock);
    return reached;
}

void test_app_block(struct test_app *app, bool blocked)
{
    pthread_mutex_lock(&app->lock);
    app->blocked = blocked;
    pthread_cond_broadcast(&app->changed);
    pthread_mutex_unlock(&app->lock);
}

struct tide_raft_node *test_node_open(const char *dir, uint32_t loops)
{
    struct tide_raft_options options = {.dir = dir, .loop_threads = loops, .sync = true};
    struct tide_raft_node *node = NULL;
    struct tide_diag diag = {""};
    enum tide_err err = tide_raft_node_open(&options, &node, &diag);

    if (err != TIDE_OK)
        print_error("%s: %s\n", tide_err_text(err), diag.text);
    assert_int_equal(err, TIDE_OK);
    return node;
}

struct tide_raft_group *test_group_open(struct tide_raft_node *node, uint32_t id,
                                        struct test_app *app)
{
    struct tide_raft_app hooks = test_app_hooks(app);
    struct tide_raft_group *group = NULL;
    struct tide_diag diag = {""};
    enum tide_err err = tide_raft_group_open(node, id, &hooks, &group, &diag);

    if (err != TIDE_OK)
        print_error("%s: %s\n", tide_err_text(err), diag.text);
    assert_int_equal(err, TIDE_OK);
    assert_int_equal(tide_raft_group_wait_ready(group, 10000), TIDE_OK);
    return group;
}
