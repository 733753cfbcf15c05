/* Checkpoints: what is written comes back, and nothing else is accepted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_series.h"

#include "tide/base/mem.h"

#include <stdio.h>

#define REF_MAX 1000u

static enum tide_err restore(struct tide_slice bytes, struct tide_index **out,
                             struct tide_diag *diag)
{
    struct tide_reader reader = tide_reader(bytes);

    return tide_index_restore(&reader, REF_MAX, out, diag);
}

/* Two series of three, with a removed one between them. */
static struct tide_index *small_index(struct tide_arena *arena)
{
    struct tide_index *index;
    uint32_t ref;

    assert_int_equal(tide_index_new(&index), TIDE_OK);
    support_add(index, arena, "__name__=up,job=node");
    ref = support_add(index, arena, "__name__=gone,job=node,only=here");
    support_add(index, arena, "__name__=up,instance=host:9100,job=node");
    tide_index_remove(index, &ref, 1);
    return index;
}

static void test_checkpoint__brings_series_back_under_their_references(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_index *index = small_index(arena), *restored;
    struct tide_buf buf = {0};
    struct tide_labels labels;

    (void)state;
    support_write(index, &buf);
    assert_int_equal(restore(tide_buf_view(&buf), &restored, NULL), TIDE_OK);
    assert_int_equal(tide_index_ref_count(restored), 3);
    assert_int_equal(tide_index_series_count(restored), 2);
    assert_int_equal(tide_index_labels(restored, 2, arena, &labels), TIDE_OK);
    assert_true(
        tide_labels_eq(labels, support_labels(arena, "__name__=up,instance=host:9100,job=node")));
    assert_int_equal(tide_index_labels(restored, 1, arena, &labels), TIDE_ERR_NOT_FOUND);
    /* Nothing of the removed series is left, and its reference stays used. */
    assert_int_equal(tide_index_name_id(restored, TIDE_SLICE("only")), TIDE_INDEX_NONE);
    assert_int_equal(support_add(restored, arena, "__name__=gone,job=node,only=here"), 3);
    assert_int_equal(tide_index_compare(restored, 0, 2), tide_index_compare(index, 0, 2));
    tide_index_free(index);
    tide_index_free(restored);
    tide_buf_deinit(&buf);
    tide_arena_free(arena);
}

static void test_checkpoint__has_the_layout_of_the_page(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_index *index = small_index(arena);
    struct tide_buf buf = {0}, golden = {0};
    FILE *file = fopen("test/golden/index.hex", "r");
    unsigned byte;

    (void)state;
    assert_non_null(file);
    while (fscanf(file, "%2x", &byte) == 1)
        tide_buf_byte(&golden, (uint8_t)byte);
    fclose(file);
    support_write(index, &buf);
    if (!tide_slice_eq(tide_buf_view(&buf), tide_buf_view(&golden)))
        for (size_t i = 0; i < buf.len; i++)
            printf("%02x%s", buf.ptr[i], i % 32 == 31 ? "\n" : " ");
    assert_true(tide_slice_eq(tide_buf_view(&buf), tide_buf_view(&golden)));
    tide_index_free(index);
    tide_buf_deinit(&buf);
    tide_buf_deinit(&golden);
    tide_arena_free(arena);
}

static void test_checkpoint__refuses_every_cut_and_every_changed_byte(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_index *index = small_index(arena), *restored;
    struct tide_buf buf = {0};
    struct tide_slice cut;

    (void)state;
    support_write(index, &buf);
    for (cut = tide_buf_view(&buf), cut.len--; cut.len > 0; cut.len--) {
        struct tide_diag diag = {""};

        assert_int_equal(restore(cut, &restored, &diag), TIDE_ERR_CORRUPT);
        assert_true(diag.text[0] != '\0');
    }
    for (size_t i = 0; i < buf.len; i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            buf.ptr[i] ^= (uint8_t)(1u << bit);
            assert_int_equal(restore(tide_buf_view(&buf), &restored, NULL), TIDE_ERR_CORRUPT);
            buf.ptr[i] ^= (uint8_t)(1u << bit);
        }
    }
    tide_index_free(index);
    tide_buf_deinit(&buf);
    tide_arena_free(arena);
}

static void test_checkpoint__refuses_more_references_than_the_caller_is_ready_for(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_index *index = small_index(arena), *restored;
    struct tide_buf buf = {0};
    struct tide_reader reader;

    (void)state;
    support_write(index, &buf);
    reader = tide_reader(tide_buf_view(&buf));
    assert_int_equal(tide_index_restore(&reader, 2, &restored, NULL), TIDE_ERR_CORRUPT);
    assert_int_equal(reader.rest.len, buf.len);
    assert_int_equal(tide_index_restore(&reader, 3, &restored, NULL), TIDE_OK);
    tide_index_free(restored);
    tide_index_free(index);
    tide_buf_deinit(&buf);
    tide_arena_free(arena);
}

static void test_checkpoint__shows_the_moment_it_was_frozen(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_index *index = small_index(arena), *restored;
    struct tide_index_frozen *frozen;
    struct tide_buf before = {0}, after = {0};
    uint32_t refs[] = {0, 2};
    enum tide_err err;

    (void)state;
    support_write(index, &before);
    assert_int_equal(tide_index_freeze(index, &frozen), TIDE_OK);
    for (uint32_t i = 0; i < 500; i++)
        support_add(index, arena, tide_arena_printf(arena, "__name__=new%u,zone=%u", i, i));
    tide_index_remove(index, refs, 2);
    while ((err = tide_index_frozen_next(frozen, &after)) == TIDE_OK) {
    }
    assert_int_equal(err, TIDE_END);
    assert_true(tide_slice_eq(tide_buf_view(&before), tide_buf_view(&after)));
    tide_index_frozen_free(frozen);
    /* And all may be gone. */
    tide_buf_deinit(&before);
    for (uint32_t i = 3; i < 503; i++)
        tide_index_remove(index, &i, 1);
    support_write(index, &before);
    assert_int_equal(restore(tide_buf_view(&before), &restored, NULL), TIDE_OK);
    assert_int_equal(tide_index_ref_count(restored), 503);
    assert_int_equal(tide_index_series_count(restored), 0);
    tide_index_free(restored);
    tide_index_free(index);
    tide_buf_deinit(&before);
    tide_buf_deinit(&after);
    tide_arena_free(arena);
}

static void test_checkpoint__comes_in_parts(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_index *index, *restored;
    struct tide_index_frozen *frozen;
    struct tide_buf buf = {0};
    struct tide_reader reader;
    size_t parts = 0, last = 0;
    enum tide_err err = TIDE_OK;

    (void)state;
    assert_int_equal(tide_index_new(&index), TIDE_OK);
    for (uint32_t i = 0; i < 30000; i++)
        support_add(index, arena,
                    tide_arena_printf(arena, "__name__=metric_%u,pod=p%u", i % 90, i));
    assert_int_equal(tide_index_freeze(index, &frozen), TIDE_OK);
    while (err == TIDE_OK) {
        err = tide_index_frozen_next(frozen, &buf);
        parts++;
        assert_in_range(buf.len - last, 1, (256 << 10) + 100);
        last = buf.len;
    }
    assert_int_equal(err, TIDE_END);
    assert_true(parts > 1);
    reader = tide_reader(tide_buf_view(&buf));
    assert_int_equal(tide_index_restore(&reader, 30000, &restored, NULL), TIDE_OK);
    assert_int_equal(tide_index_series_count(restored), 30000);
    tide_index_frozen_free(frozen);
    tide_index_free(restored);
    tide_index_free(index);
    tide_buf_deinit(&buf);
    tide_arena_free(arena);
}

static void test_checkpoint__survives_each_failed_allocation(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_index *index = small_index(arena), *restored;
    struct tide_buf buf = {0};
    long live;

    (void)state;
    support_write(index, &buf);
    live = tide_test_mem_live();
    for (int nth = 1;; nth++) {
        enum tide_err err;

        tide_test_mem_fail_nth(nth);
        err = restore(tide_buf_view(&buf), &restored, NULL);
        if (!tide_test_mem_fired()) {
            tide_index_free(restored);
            break;
        }
        assert_int_equal(err, TIDE_ERR_NO_MEMORY);
        assert_int_equal(tide_test_mem_live(), live);
    }
    for (int nth = 1;; nth++) {
        struct tide_index_frozen *frozen = NULL;
        struct tide_buf again = {0};
        enum tide_err err;

        tide_test_mem_fail_nth(nth);
        err = tide_index_freeze(index, &frozen);
        while (err == TIDE_OK)
            err = tide_index_frozen_next(frozen, &again);
        tide_index_frozen_free(frozen);
        tide_buf_deinit(&again);
        assert_int_equal(tide_test_mem_live(), live);
        if (!tide_test_mem_fired())
            break;
        assert_int_equal(err, TIDE_ERR_NO_MEMORY);
    }
    tide_index_free(index);
    tide_buf_deinit(&buf);
    tide_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint__brings_series_back_under_their_references),
        cmocka_unit_test(test_checkpoint__has_the_layout_of_the_page),
        cmocka_unit_test(test_checkpoint__refuses_every_cut_and_every_changed_byte),
        cmocka_unit_test(test_checkpoint__refuses_more_references_than_the_caller_is_ready_for),
        cmocka_unit_test(test_checkpoint__shows_the_moment_it_was_frozen),
        cmocka_unit_test(test_checkpoint__comes_in_parts),
        cmocka_unit_test(test_checkpoint__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
