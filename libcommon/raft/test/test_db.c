#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "db_private.h"
#include "record_private.h"
#include "support_raft.h"

#include "tide/base/mem.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>

static struct tide__payload *payload_of(const char *text)
{
    struct tide__payload *payload = tide__payload_copy(tide_slice_str(text));

    assert_non_null(payload);
    return payload;
}

static struct tide__payload *conf_payload(void)
{
    static const struct tide__members members = {1, {{1, TIDE__ROLE_VOTER}}};
    struct tide_buf conf = {0};
    struct tide__payload *payload;

    assert_int_equal(tide__conf_encode(&members, &conf), TIDE_OK);
    payload = tide__payload_of_buf(&conf);
    assert_non_null(payload);
    return payload;
}

/* Writes one operation; entries are freed. */
static void write_op(struct tide__db *db, struct tide__op op, struct tide__entry *entries)
{
    struct tide_diag diag = {""};

    op.entries = entries;
    if (tide__db_write(db, &op, NULL, &diag) != TIDE_OK)
        fail_msg("%s", diag.text);
    for (uint32_t i = 0; i < op.entry_count; i++)
        tide__payload_unref(entries[i].payload);
}

static void append(struct tide__db *db, uint32_t group, uint64_t first, uint64_t prev_term,
                   bool truncates, uint32_t count, struct tide__entry *entries)
{
    struct tide__op op = {.kind = TIDE__OP_APPEND,
                          .group = group,
                          .first = first,
                          .prev_term = prev_term,
                          .truncates = truncates,
                          .entry_count = count};

    write_op(db, op, entries);
}

static void meta(struct tide__db *db, uint32_t group, uint64_t term, uint64_t vote)
{
    write_op(db,
             (struct tide__op){.kind = TIDE__OP_META, .group = group, .term = term, .vote = vote},
             NULL);
}

/* Group 5: a configuration and two commands of term 1, one command of term 3. */
static void write_sample(struct tide__db *db)
{
    struct tide__entry first[] = {{1, TIDE__ENTRY_CHANGE, conf_payload()},
                                  {1, TIDE__ENTRY_COMMAND, payload_of("\3abc")},
                                  {1, TIDE__ENTRY_COMMAND, payload_of("\1d\1e")}};
    struct tide__entry second[] = {{3, TIDE__ENTRY_COMMAND, payload_of("\2fg")}};

    meta(db, 5, 3, 1);
    append(db, 5, 1, 0, false, 3, first);
    append(db, 5, 4, 1, false, 1, second);
}

static struct tide__db *db_open(const char *dir)
{
    struct tide_diag diag = {""};
    struct tide__db *db;

    if (tide__db_open(dir, true, &db, &diag) != TIDE_OK)
        fail_msg("%s", diag.text);
    return db;
}

/* The database as text, one record a line in hexadecimal, read without our code. */
static void dump(const char *dir, struct tide_buf *out)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_readoptions_t *read_options = rocksdb_readoptions_create();
    char *error = NULL;
    rocksdb_t *db = rocksdb_open_for_read_only(options, dir, 0, &error);
    rocksdb_iterator_t *it;

    assert_null(error);
    it = rocksdb_create_iterator(db, read_options);
    for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t len;
        const char *bytes = rocksdb_iter_key(it, &len);

        for (size_t i = 0; i < len; i++)
            tide_buf_printf(out, "%02x", (unsigned)(uint8_t)bytes[i]);
        tide_buf_str(out, " ");
        bytes = rocksdb_iter_value(it, &len);
        for (size_t i = 0; i < len; i++)
            tide_buf_printf(out, "%02x", (unsigned)(uint8_t)bytes[i]);
        tide_buf_str(out, "\n");
    }
    rocksdb_iter_destroy(it);
    rocksdb_close(db);
    rocksdb_readoptions_destroy(read_options);
    rocksdb_options_destroy(options);
    tide_buf_byte(out, 0);
    assert_int_equal(tide_buf_ok(out), TIDE_OK);
}

/* Flips one bit of the value stored under key. */
static void spoil(const char *dir, struct tide_slice key, size_t byte)
{
    rocksdb_options_t *options = rocksdb_options_create();
    rocksdb_readoptions_t *read_options = rocksdb_readoptions_create();
    rocksdb_writeoptions_t *write_options = rocksdb_writeoptions_create();
    char *error = NULL, *value;
    rocksdb_t *db = rocksdb_open(options, dir, &error);
    size_t len;

    assert_null(error);
    value = rocksdb_get(db, read_options, (const char *)key.ptr, key.len, &len, &error);
    assert_non_null(value);
    assert_true(byte < len);
    value[byte] = (char)(value[byte] ^ 0x10);
    rocksdb_put(db, write_options, (const char *)key.ptr, key.len, value, len, &error);
    assert_null(error);
    rocksdb_free(value);
    rocksdb_close(db);
    rocksdb_writeoptions_destroy(write_options);
    rocksdb_readoptions_destroy(read_options);
    rocksdb_options_destroy(options);
}

static void test_db__writes_the_documented_bytes(void **state)
{
    static const char golden[] =
        "46 01\n"
        "4c000000050000000000000001 6386e2040100000000000000"
        "03010100000000000000010000000000000031000100000000\n"
        "4c000000050000000000000002 5c7a2cf901000000000000000103616263\n"
        "4c000000050000000000000003 885009bb01000000000000000101640165\n"
        "4c000000050000000000000004 a31cc11a030000000000000001026667\n"
        "4d00000005 dc0c774d030000000000000001000000000000000000000000000000\n"
        "5300000006 56424045010000000000000001000000000000000100000000000000"
        "180101000000000000000100000000000000310001000000000468657265\n"
        "54000000050000000000000001 282a04c8010000000000000003\n"
        "54000000050000000000000004 9c8e952c030000000000000001\n";
    char dir[TEST_PATH_BYTES];
    struct tide__snapshot *snapshot;
    struct tide_buf text = {0};
    struct tide__payload *conf = conf_payload();
    struct tide__db *db;

    (void)state;
    test_dir_make(dir);
    db = db_open(dir);
    write_sample(db);
    snapshot = tide__snapshot_new(1, 1, 1, conf->parts[0], TIDE_SLICE("here"));
    assert_non_null(snapshot);
    write_op(
        db,
        (struct tide__op){.kind = TIDE__OP_SNAPSHOT, .group = 6, .snapshot = snapshot, .keep = 2},
        NULL);
    tide__snapshot_unref(snapshot);
    tide__payload_unref(conf);
    tide__db_close(db);
    dump(dir, &text);
    assert_string_equal((const char *)text.ptr, golden);
    tide_buf_deinit(&text);
    test_dir_remove(dir);
}

/* Reads group 5 from first on and returns how many entries there were. */
static uint32_t read_all(struct tide__db *db, uint64_t first, enum tide_err *err)
{
    struct tide__db_reader *reader;
    struct tide__entry entry;
    uint32_t count = 0;

    assert_int_equal(tide__db_reader_open(db, 5, first, &reader), TIDE_OK);
    while ((*err = tide__db_reader_next(reader, &entry, NULL)) == TIDE_OK) {
        tide__payload_unref(entry.payload);
        count++;
    }
    tide__db_reader_close(reader);
    return count;
}

static void test_db__loads_terms_and_configurations_without_the_entries(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct tide__stored stored;
    struct tide__db *db;
    enum tide_err err;

    (void)state;
    test_dir_make(dir);
    db = db_open(dir);
    assert_int_equal(tide__db_load(db, 5, &stored, NULL), TIDE_OK);
    assert_int_equal(stored.term, 0);
    assert_int_equal(stored.last, 0);
    tide__stored_deinit(&stored);
    write_sample(db);
    for (int reopened = 0; reopened < 2; reopened++) {
        assert_int_equal(tide__db_load(db, 5, &stored, NULL), TIDE_OK);
        assert_int_equal(stored.term, 3);
        assert_int_equal(stored.vote, 1);
        assert_int_equal(stored.first, 1);
        assert_int_equal(stored.last, 4);
        assert_int_equal(stored.mark_count, 2);
        assert_int_equal(stored.marks[0].type, TIDE__ENTRY_CHANGE);
        assert_non_null(stored.marks[0].payload);
        assert_int_equal(stored.marks[1].index, 4);
        assert_int_equal(stored.marks[1].term, 3);
        tide__stored_deinit(&stored);
        assert_int_equal(read_all(db, 2, &err), 3);
        assert_int_equal(err, TIDE_END);
        tide__db_close(db);
        db = db_open(dir);
    }
    tide__db_close(db);
    test_dir_remove(dir);
}

static void test_db__truncates_and_drops_in_the_batch_that_appends(void **state)
{
    struct tide__entry newer[] = {{4, TIDE__ENTRY_COMMAND, payload_of("\1x")}};
    struct tide__payload *conf = conf_payload();
    struct tide__snapshot *snapshot = tide__snapshot_new(2, 1, 1, conf->parts[0], TIDE_SLICE(""));
    char dir[TEST_PATH_BYTES];
    struct tide__stored stored;
    struct tide__db *db;
    enum tide_err err;

    (void)state;
    test_dir_make(dir);
    db = db_open(dir);
    write_sample(db);
    meta(db, 5, 4, 0);
    append(db, 5, 3, 1, true, 1, newer);
    assert_int_equal(tide__db_load(db, 5, &stored, NULL), TIDE_OK);
    assert_int_equal(stored.last, 3);
    assert_int_equal(stored.mark_count, 2);
    assert_int_equal(stored.marks[1].index, 3);
    assert_int_equal(stored.marks[1].term, 4);
    tide__stored_deinit(&stored);
    write_op(
        db,
        (struct tide__op){.kind = TIDE__OP_SNAPSHOT, .group = 5, .snapshot = snapshot, .keep = 3},
        NULL);
    tide__db_compact(db);
    assert_int_equal(tide__db_load(db, 5, &stored, NULL), TIDE_OK);
    assert_int_equal(stored.first, 3);
    assert_int_equal(stored.last, 3);
    assert_int_equal(stored.mark_count, 1);
    assert_int_equal(stored.marks[0].term, 4);
    assert_int_equal(stored.snapshot->index, 2);
    tide__stored_deinit(&stored);
    assert_int_equal(read_all(db, 3, &err), 1);
    write_op(db, (struct tide__op){.kind = TIDE__OP_INSTALL, .group = 5, .snapshot = snapshot},
             NULL);
    assert_int_equal(tide__db_load(db, 5, &stored, NULL), TIDE_OK);
    assert_int_equal(stored.first, 3);
    assert_int_equal(stored.last, 2);
    assert_int_equal(stored.mark_count, 0);
    tide__stored_deinit(&stored);
    tide__db_close(db);
    tide__snapshot_unref(snapshot);
    tide__payload_unref(conf);
    test_dir_remove(dir);
}

static void test_db__refuses_every_spoiled_byte(void **state)
{
    static const struct {
        enum tide__key_kind kind;
        uint64_t index;
        size_t len;
        bool at_load; /* Else when the entry is read. */
    } records[] = {
        {TIDE__KEY_META, 0, TIDE__META_BYTES, true},
        {TIDE__KEY_MARK, 4, TIDE__MARK_BYTES, true},
        {TIDE__KEY_ENTRY, 1, TIDE__ENTRY_HEAD_BYTES + 9, true},
        {TIDE__KEY_ENTRY, 2, TIDE__ENTRY_HEAD_BYTES + 4, false},
    };
    char dir[TEST_PATH_BYTES];
    struct tide__stored stored;
    struct tide__db *db;

    (void)state;
    test_dir_make(dir);
    db = db_open(dir);
    write_sample(db);
    tide__db_close(db);
    for (size_t r = 0; r < sizeof(records) / sizeof(records[0]); r++) {
        uint8_t bytes[TIDE__KEY_BYTES_MAX];
        struct tide_slice key = {bytes, tide__key_put(bytes, records[r].kind, 5, records[r].index)};

        for (size_t byte = 0; byte < records[r].len; byte += 3) {
            struct tide_diag diag = {""};
            enum tide_err err;

            spoil(dir, key, byte);
            db = db_open(dir);
            err = tide__db_load(db, 5, &stored, &diag);
            if (records[r].at_load) {
                assert_int_equal(err, TIDE_ERR_CORRUPT);
                assert_non_null(strstr(diag.text, "group 5"));
            } else {
                assert_int_equal(err, TIDE_OK);
                tide__stored_deinit(&stored);
                assert_int_equal(read_all(db, 2, &err), 0);
                assert_int_equal(err, TIDE_ERR_CORRUPT);
            }
            tide__db_close(db);
            spoil(dir, key, byte);
        }
    }
    test_dir_remove(dir);
}

static void test_db__refuses_a_format_it_does_not_know(void **state)
{
    char dir[TEST_PATH_BYTES];
    struct tide_diag diag = {""};
    struct tide__db *db;

    (void)state;
    test_dir_make(dir);
    tide__db_close(db_open(dir));
    spoil(dir, TIDE_SLICE("F"), 0);
    assert_int_equal(tide__db_open(dir, true, &db, &diag), TIDE_ERR_UNSUPPORTED);
    assert_true(diag.text[0] != 0);
    test_dir_remove(dir);
}

/* Entry 10 of 20 is spoiled. With large entries it is found only while the log is replayed. */
static void spoiled_entry(size_t pad, bool found_at_open)
{
    uint8_t bytes[TIDE__KEY_BYTES_MAX];
    char dir[TEST_PATH_BYTES];
    struct tide_raft_group *group;
    struct tide_raft_node *node;
    struct tide_diag diag = {""};
    struct tide_raft_app hooks;
    struct test_app app;
    uint64_t index;

    test_dir_make(dir);
    test_app_init(&app);
    node = test_node_open(dir, 1);
    group = test_group_open(node, 1, &app);
    for (uint64_t i = 0; i < 20; i++) {
        test_propose(group, i, pad);
        assert_true(test_app_wait(&app, i + 1));
    }
    index = app.indexes[10];
    tide_raft_node_close(node);
    spoil(dir, (struct tide_slice){bytes, tide__key_put(bytes, TIDE__KEY_ENTRY, 1, index)}, 60);
    test_app_deinit(&app);
    test_app_init(&app);
    hooks = test_app_hooks(&app);
    node = test_node_open(dir, 1);
    if (found_at_open) {
        assert_int_equal(tide_raft_group_open(node, 1, &hooks, &group, &diag), TIDE_ERR_CORRUPT);
        assert_non_null(strstr(diag.text, "is corrupt"));
    } else {
        assert_int_equal(tide_raft_group_open(node, 1, &hooks, &group, &diag), TIDE_OK);
        assert_int_equal(tide_raft_group_wait_ready(group, 10000), TIDE_ERR_CORRUPT);
        /* It takes no proposals either. */
        test_propose(group, 99, 0);
        assert_true(test_app_wait(&app, 1));
        assert_int_equal(app.failures, 1);
    }
    assert_int_equal(app.count, 10);
    tide_raft_node_close(node);
    test_app_deinit(&app);
    test_dir_remove(dir);
}

static void test_node__applies_nothing_of_a_spoiled_entry(void **state)
{
    (void)state;
    spoiled_entry(100, true);
    spoiled_entry(600000, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_db__writes_the_documented_bytes),
        cmocka_unit_test(test_db__loads_terms_and_configurations_without_the_entries),
        cmocka_unit_test(test_db__truncates_and_drops_in_the_batch_that_appends),
        cmocka_unit_test(test_db__refuses_every_spoiled_byte),
        cmocka_unit_test(test_db__refuses_a_format_it_does_not_know),
        cmocka_unit_test(test_node__applies_nothing_of_a_spoiled_entry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
