#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tide/base/file.h"
#include "tide/base/hash.h"
#include "tide/base/mem.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/tide_file_XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void write_file(const char *path, struct tide_slice bytes)
{
    struct tide_file_writer *writer = NULL;

    assert_int_equal(tide_file_writer_begin(path, &writer, NULL), TIDE_OK);
    assert_int_equal(tide_file_writer_add(writer, bytes, NULL), TIDE_OK);
    assert_int_equal(tide_file_writer_commit(writer, NULL), TIDE_OK);
}

static void expect_content(const char *path, struct tide_slice expected)
{
    struct tide_buf got = {0};

    assert_int_equal(tide_file_read(path, 1 << 30, &got, NULL), TIDE_OK);
    assert_true(tide_slice_eq(tide_buf_view(&got), expected));
    tide_buf_deinit(&got);
}

static void test_file_writer__old_content_stands_until_commit(void **state)
{
    const char *path = in_folder("atomic");
    struct tide_file_writer *writer = NULL;

    (void)state;
    write_file(path, TIDE_SLICE("old"));
    assert_int_equal(tide_file_writer_begin(path, &writer, NULL), TIDE_OK);
    assert_int_equal(tide_file_writer_add(writer, TIDE_SLICE("new"), NULL), TIDE_OK);
    expect_content(path, TIDE_SLICE("old"));
    assert_int_equal(tide_file_writer_commit(writer, NULL), TIDE_OK);
    expect_content(path, TIDE_SLICE("new"));
    assert_int_equal(access(in_folder("atomic.tmp"), F_OK), -1);

    assert_int_equal(tide_file_writer_begin(path, &writer, NULL), TIDE_OK);
    assert_int_equal(tide_file_writer_add(writer, TIDE_SLICE("never"), NULL), TIDE_OK);
    tide_file_writer_abort(writer);
    tide_file_writer_abort(NULL);
    expect_content(path, TIDE_SLICE("new"));
    assert_int_equal(access(in_folder("atomic.tmp"), F_OK), -1);
}

/* Pieces of many sizes around the buffer's, against one array. */
static void test_file_writer__joins_pieces_and_sums_them(void **state)
{
    static const size_t sizes[] = {1, 1000000, 48576, 0, 1048576, 1048577, 3000000, 7};
    static uint8_t bytes[8000000];
    struct tide_file_writer *writer = NULL;
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 2654435761U >> 24);
    assert_int_equal(tide_file_writer_begin(in_folder("pieces"), &writer, NULL), TIDE_OK);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct tide_slice piece = {bytes + at, sizes[i]};

        assert_int_equal(tide_file_writer_add(writer, piece, NULL), TIDE_OK);
        at += sizes[i];
        assert_true(tide_file_writer_bytes(writer) == at);
    }
    assert_int_equal(tide_file_writer_crc(writer), tide_crc32c(0, (struct tide_slice){bytes, at}));
    assert_int_equal(tide_file_writer_commit(writer, NULL), TIDE_OK);
    expect_content(in_folder("pieces"), (struct tide_slice){bytes, at});
}

static void test_file_writer__tells_a_full_disk(void **state)
{
    static uint8_t bytes[3 << 20];
    struct tide_file_writer *writer = NULL;
    struct tide_diag diag = {""};

    (void)state;
    /* The temporary name leads to a device that is always full. */
    assert_int_equal(symlink("/dev/full", in_folder("full.tmp")), 0);
    assert_int_equal(tide_file_writer_begin(in_folder("full"), &writer, NULL), TIDE_OK);
    assert_int_equal(tide_file_writer_add(writer, (struct tide_slice){bytes, sizeof(bytes)}, &diag),
                     TIDE_ERR_DISK_FULL);
    assert_non_null(strstr(diag.text, "full.tmp"));
    assert_int_equal(tide_file_writer_commit(writer, NULL), TIDE_ERR_IO);
    assert_int_equal(access(in_folder("full"), F_OK), -1);
    assert_int_equal(access(in_folder("full.tmp"), F_OK), -1);
}

static void test_file__failures_name_the_path(void **state)
{
    struct tide_buf out = {0};
    struct tide_file_map map;
    struct tide_file_writer *writer = NULL;
    struct tide_diag diag = {""};
    uint64_t free_bytes = 0;

    (void)state;
    tide_buf_str(&out, "kept");
    assert_int_equal(tide_file_read(in_folder("none"), 10, &out, &diag), TIDE_ERR_NOT_FOUND);
    assert_non_null(strstr(diag.text, "none"));
    assert_int_equal(tide_file_map(in_folder("none"), &map, NULL), TIDE_ERR_NOT_FOUND);
    assert_int_equal(tide_file_writer_begin(in_folder("no/such/folder"), &writer, NULL),
                     TIDE_ERR_NOT_FOUND);
    assert_int_equal(tide_file_free_bytes(in_folder("none"), &free_bytes, NULL),
                     TIDE_ERR_NOT_FOUND);
    assert_int_equal(tide_file_sync_dir(in_folder("none"), NULL), TIDE_ERR_NOT_FOUND);
    write_file(in_folder("eleven"), TIDE_SLICE("01234567890"));
    assert_int_equal(tide_file_read(in_folder("eleven"), 10, &out, NULL), TIDE_ERR_TOO_LARGE);
    assert_true(tide_slice_eq(tide_buf_view(&out), TIDE_SLICE("kept")));
    assert_int_equal(tide_file_read(in_folder("eleven"), 11, &out, NULL), TIDE_OK);
    assert_true(tide_slice_eq(tide_buf_view(&out), TIDE_SLICE("kept01234567890")));
    assert_int_equal(tide_file_free_bytes(folder, &free_bytes, NULL), TIDE_OK);
    assert_true(free_bytes > 0);
    tide_buf_deinit(&out);
}

static void test_file__reads_files_without_a_size(void **state)
{
    struct tide_buf out = {0};

    (void)state;
    assert_int_equal(tide_file_read("/proc/self/status", 1 << 20, &out, NULL), TIDE_OK);
    assert_true(out.len > 100);
    tide_buf_deinit(&out);
}

static void test_file__maps_whole_files(void **state)
{
    struct tide_file_map map = {{NULL, 1}};

    (void)state;
    write_file(in_folder("mapped"), TIDE_SLICE("bytes"));
    assert_int_equal(tide_file_map(in_folder("mapped"), &map, NULL), TIDE_OK);
    assert_true(tide_slice_eq(map.bytes, TIDE_SLICE("bytes")));
    tide_file_unmap(&map);
    write_file(in_folder("empty"), TIDE_SLICE(""));
    assert_int_equal(tide_file_map(in_folder("empty"), &map, NULL), TIDE_OK);
    assert_int_equal(map.bytes.len, 0);
    tide_file_unmap(&map);
}

static void test_file__makes_folders_down_the_path(void **state)
{
    struct stat info;
    struct tide_diag diag = {""};

    (void)state;
    assert_int_equal(tide_file_mkdirs(in_folder("a/b//c/"), NULL), TIDE_OK);
    assert_int_equal(tide_file_mkdirs(in_folder("a/b/c"), NULL), TIDE_OK);
    assert_int_equal(stat(in_folder("a/b/c"), &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    assert_int_equal(info.st_mode & 0777 & 0027, 0);
    write_file(in_folder("a/file"), TIDE_SLICE("x"));
    assert_int_not_equal(tide_file_mkdirs(in_folder("a/file"), &diag), TIDE_OK);
    assert_int_not_equal(tide_file_mkdirs(in_folder("a/file/d"), NULL), TIDE_OK);
    assert_int_equal(tide_file_sync_dir(in_folder("a"), NULL), TIDE_OK);
}

static void test_file__a_lock_has_one_holder(void **state)
{
    struct tide_diag diag = {""};
    char pid[32];
    int lock = -1;
    int second = -1;

    (void)state;
    assert_int_equal(tide_file_lock(folder, &lock, NULL), TIDE_OK);
    assert_int_equal(tide_file_lock(folder, &second, &diag), TIDE_ERR_BUSY);
    snprintf(pid, sizeof(pid), "process %ld", (long)getpid());
    assert_non_null(strstr(diag.text, pid));
    assert_int_equal(second, -1);
    tide_file_unlock(lock);
    assert_int_equal(tide_file_lock(folder, &second, NULL), TIDE_OK);
    tide_file_unlock(second);
    assert_int_equal(tide_file_lock(in_folder("none"), &lock, NULL), TIDE_ERR_NOT_FOUND);
}

#ifdef TIDE_TEST_FAULTS
static void test_file__survives_each_failed_allocation(void **state)
{
    (void)state;
    write_file(in_folder("faults"), TIDE_SLICE("old"));
    for (int nth = 1;; nth++) {
        struct tide_file_writer *writer = NULL;
        struct tide_buf content = {0};
        int lock = -1;
        enum tide_err err;
        bool fired;

        tide_test_mem_fail_nth(nth);
        err = tide_file_writer_begin(in_folder("faults"), &writer, NULL);
        if (err == TIDE_OK)
            err = tide_file_writer_add(writer, TIDE_SLICE("new"), NULL);
        if (writer != NULL && err == TIDE_OK)
            err = tide_file_writer_commit(writer, NULL);
        if (err == TIDE_OK)
            err = tide_file_read(in_folder("faults"), 100, &content, NULL);
        if (err == TIDE_OK)
            err = tide_file_lock(folder, &lock, NULL);
        if (err == TIDE_OK)
            err = tide_file_mkdirs(in_folder("faults_dir"), NULL);
        fired = tide_test_mem_fired();
        assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
        if (lock >= 0)
            tide_file_unlock(lock);
        tide_buf_deinit(&content);
        assert_int_equal(tide_test_mem_live(), 0);
        assert_int_equal(access(in_folder("faults.tmp"), F_OK), -1);
        if (!fired)
            break;
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_writer__old_content_stands_until_commit),
        cmocka_unit_test(test_file_writer__joins_pieces_and_sums_them),
        cmocka_unit_test(test_file_writer__tells_a_full_disk),
        cmocka_unit_test(test_file__failures_name_the_path),
        cmocka_unit_test(test_file__reads_files_without_a_size),
        cmocka_unit_test(test_file__maps_whole_files),
        cmocka_unit_test(test_file__makes_folders_down_the_path),
        cmocka_unit_test(test_file__a_lock_has_one_holder),
#ifdef TIDE_TEST_FAULTS
        cmocka_unit_test(test_file__survives_each_failed_allocation),
#endif
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
