/* The metadata store: the last word counts, within bounds, and survives a checkpoint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/head/metadata.h"

#include "tide/base/mem.h"

#include <stdio.h>

struct fixture {
    struct tide_metadata_store *store;
    struct tide_arena *arena;
};

static int setup(void **state)
{
    struct fixture *f = tide_mem_new(sizeof(*f));

    f->arena = tide_arena_new(0);
    *state = f;
    return tide_metadata_store_new(&f->store) == TIDE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    tide_metadata_store_free(f->store);
    tide_arena_free(f->arena);
    tide_mem_free(f);
    return 0;
}

static enum tide_err set(struct tide_metadata_store *store, const char *metric,
                         enum tide_metric_kind kind, const char *help, const char *unit)
{
    struct tide_metadata m = {tide_slice_str(metric), kind, tide_slice_str(help),
                              tide_slice_str(unit)};

    return tide_metadata_store_set(store, &m);
}

struct collected {
    struct tide_arena *arena;
    const char *text; /* "metric kind help unit;" */
    size_t count;
    size_t stop_at; /* 0: never. */
};

static bool collect(void *context, const struct tide_metadata *m)
{
    struct collected *c = context;

    c->text =
        tide_arena_printf(c->arena, "%s%.*s %d %.*s %.*s;", c->text, TIDE_SLICE_ARGS(m->metric),
                          (int)m->kind, TIDE_SLICE_ARGS(m->help), TIDE_SLICE_ARGS(m->unit));
    return ++c->count != c->stop_at;
}

static const char *record_of(struct fixture *f, const char *metric)
{
    struct collected c = {.arena = f->arena, .text = ""};

    assert_int_equal(tide_metadata_store_each(f->store, tide_slice_str(metric), collect, &c),
                     TIDE_OK);
    return c.text;
}

static void test_metadata__keeps_the_last_word(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(set(f->store, "up", TIDE_KIND_GAUGE, "first", ""), TIDE_OK);
    assert_int_equal(set(f->store, "ups", TIDE_KIND_COUNTER, "other", "s"), TIDE_OK);
    assert_string_equal(record_of(f, "up"), "up 2 first ;");
    assert_int_equal(set(f->store, "up", TIDE_KIND_COUNTER, "second", "bytes"), TIDE_OK);
    assert_string_equal(record_of(f, "up"), "up 1 second bytes;");
    assert_string_equal(record_of(f, "ups"), "ups 1 other s;");
    assert_string_equal(record_of(f, "u"), "");
}

static void test_metadata__hands_out_each_metric_once(void **state)
{
    struct fixture *f = *state;
    struct collected all = {.arena = f->arena, .text = ""};
    struct collected some = {.arena = f->arena, .text = "", .stop_at = 7};

    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < 300; i++)
            assert_int_equal(set(f->store, tide_arena_printf(f->arena, "m%u", i), TIDE_KIND_GAUGE,
                                 round == 0 ? "a" : "b", ""),
                             TIDE_OK);
    assert_int_equal(
        tide_metadata_store_each(f->store, (struct tide_slice){NULL, 0}, collect, &all), TIDE_OK);
    assert_int_equal(all.count, 300);
    assert_int_equal(
        tide_metadata_store_each(f->store, (struct tide_slice){NULL, 0}, collect, &some), TIDE_OK);
    assert_int_equal(some.count, 7);
}

static void test_metadata__is_bounded(void **state)
{
    struct fixture *f = *state;
    char metric[TIDE_METADATA_TEXT_BYTES_MAX + 2];
    char name[32];

    memset(metric, 'm', sizeof(metric));
    metric[TIDE_METADATA_TEXT_BYTES_MAX + 1] = '\0';
    assert_int_equal(set(f->store, metric, TIDE_KIND_GAUGE, "", ""), TIDE_ERR_TOO_LARGE);
    metric[TIDE_METADATA_TEXT_BYTES_MAX] = '\0';
    assert_int_equal(set(f->store, metric, TIDE_KIND_GAUGE, "", ""), TIDE_OK);
    for (unsigned i = 1; i < TIDE_METADATA_COUNT_MAX; i++) {
        (void)snprintf(name, sizeof(name), "m%u", i);
        assert_int_equal(set(f->store, name, TIDE_KIND_GAUGE, "", ""), TIDE_OK);
    }
    assert_int_equal(set(f->store, "one_more", TIDE_KIND_GAUGE, "", ""), TIDE_ERR_LIMIT);
    /* Those that are there may still change. */
    assert_int_equal(set(f->store, "m5", TIDE_KIND_SUMMARY, "x", ""), TIDE_OK);
    assert_string_equal(record_of(f, "m5"),
                        tide_arena_printf(f->arena, "m5 %d x ;", (int)TIDE_KIND_SUMMARY));
}

static void test_metadata__cuts_help_between_two_characters(void **state)
{
    struct fixture *f = *state;
    char help[TIDE_METADATA_TEXT_BYTES_MAX + 3];
    const char *got;

    /* The last character that begins inside the bound ends outside of it. */
    memset(help, 'h', sizeof(help));
    memcpy(help + TIDE_METADATA_TEXT_BYTES_MAX - 1, "\xe2\x82\xac", 4);
    assert_int_equal(set(f->store, "up", TIDE_KIND_GAUGE, help, ""), TIDE_OK);
    got = record_of(f, "up");
    assert_int_equal(strlen(got), strlen("up 2  ;") + TIDE_METADATA_TEXT_BYTES_MAX - 1);
    assert_true(tide_slice_is_utf8(tide_slice_str(got)));
    /* The same long text again is no change, and neither an error. */
    assert_int_equal(set(f->store, "up", TIDE_KIND_GAUGE, help, ""), TIDE_OK);
}

static void write_to(struct tide_metadata_store *store, struct tide_buf *out)
{
    tide_metadata_store_write(store, out);
    assert_int_equal(tide_buf_ok(out), TIDE_OK);
}

static void test_metadata__writes_the_same_bytes_for_the_same_content(void **state)
{
    struct fixture *f = *state;
    struct tide_metadata_store *other, *restored;
    struct tide_buf a = {0}, b = {0}, c = {0};

    assert_int_equal(tide_metadata_store_new(&other), TIDE_OK);
    assert_int_equal(tide_metadata_store_new(&restored), TIDE_OK);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(set(f->store, tide_arena_printf(f->arena, "m%u", i),
                             (enum tide_metric_kind)(i % TIDE_KIND_COUNT), "help", "unit"),
                         TIDE_OK);
        assert_int_equal(set(other, tide_arena_printf(f->arena, "m%u", 99 - i),
                             (enum tide_metric_kind)((99 - i) % TIDE_KIND_COUNT), "help", "unit"),
                         TIDE_OK);
    }
    write_to(f->store, &a);
    write_to(other, &b);
    assert_true(tide_slice_eq(tide_buf_view(&a), tide_buf_view(&b)));
    assert_int_equal(tide_metadata_store_restore(restored, tide_buf_view(&a)), TIDE_OK);
    write_to(restored, &c);
    assert_true(tide_slice_eq(tide_buf_view(&a), tide_buf_view(&c)));
    tide_metadata_store_free(other);
    tide_metadata_store_free(restored);
    tide_buf_deinit(&a);
    tide_buf_deinit(&b);
    tide_buf_deinit(&c);
}

static void test_metadata__refuses_a_checkpoint_that_is_not_whole(void **state)
{
    struct fixture *f = *state;
    struct tide_buf buf = {0};
    struct tide_slice cut;

    assert_int_equal(set(f->store, "up", TIDE_KIND_GAUGE, "help", ""), TIDE_OK);
    assert_int_equal(set(f->store, "zz", TIDE_KIND_COUNTER, "", "s"), TIDE_OK);
    write_to(f->store, &buf);
    for (cut = tide_buf_view(&buf), cut.len--; cut.len > 0; cut.len--) {
        struct tide_metadata_store *store;

        assert_int_equal(tide_metadata_store_new(&store), TIDE_OK);
        assert_int_equal(tide_metadata_store_restore(store, cut), TIDE_ERR_CORRUPT);
        tide_metadata_store_free(store);
    }
    buf.ptr[4] = TIDE_KIND_COUNT; /* Count, length, "up", kind. */
    assert_int_equal(tide_metadata_store_restore(f->store, tide_buf_view(&buf)), TIDE_ERR_CORRUPT);
    buf.ptr[4] = TIDE_KIND_GAUGE;
    tide_buf_byte(&buf, 0);
    assert_int_equal(tide_metadata_store_restore(f->store, tide_buf_view(&buf)), TIDE_ERR_CORRUPT);
    tide_buf_deinit(&buf);
}

static void test_metadata__survives_each_failed_allocation(void **state)
{
    long live = tide_test_mem_live();

    (void)state;
    for (int nth = 1;; nth++) {
        struct tide_metadata_store *store = NULL;
        struct tide_buf buf = {0};
        unsigned failures = 0;
        bool fired;

        tide_test_mem_fail_nth(nth);
        if (tide_metadata_store_new(&store) == TIDE_OK) {
            for (unsigned i = 0; i < 40; i++) {
                char name[16];

                (void)snprintf(name, sizeof(name), "m%u", i);
                failures += set(store, name, TIDE_KIND_GAUGE, "h", "u") != TIDE_OK;
            }
            tide_metadata_store_write(store, &buf);
            assert_true(failures < 2);
            if (!buf.failed)
                assert_int_equal(buf.ptr[0], 40 - failures);
        }
        fired = tide_test_mem_fired();
        tide_metadata_store_free(store);
        tide_buf_deinit(&buf);
        assert_int_equal(tide_test_mem_live(), live);
        if (!fired)
            break;
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_metadata__keeps_the_last_word),
        TEST(test_metadata__hands_out_each_metric_once),
        TEST(test_metadata__is_bounded),
        TEST(test_metadata__cuts_help_between_two_characters),
        TEST(test_metadata__writes_the_same_bytes_for_the_same_content),
        TEST(test_metadata__refuses_a_checkpoint_that_is_not_whole),
        cmocka_unit_test(test_metadata__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
