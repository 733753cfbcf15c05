#include "support_model.h"

#include "tide/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static enum tide_err restore(struct tide_slice bytes, const struct tide_head_options *options)
{
    struct tide_reader reader = tide_reader(bytes);
    struct tide_diag diag = {0};
    struct tide_head *head;
    enum tide_err err = tide_head_restore(options, &reader, &head, &diag);

    if (err == TIDE_OK)
        tide_head_free(head);
    else
        assert_true(diag.text[0] != '\0');
    return err;
}

static void fill(struct model *m, uint64_t seed, int scrapes)
{
    model_init(m, seed);
    for (int i = 0; i < scrapes; i++) {
        model_scrape(m);
        if (i % 16 == 0)
            model_backfill(m);
    }
}

static void test_checkpoint__of_an_empty_head_restores(void **state)
{
    struct model m;

    (void)state;
    model_init(&m, 1);
    model_restart(&m);
    model_compare(&m);
    model_deinit(&m);
}

/* Two heads that apply the same log hold the same bytes, also when one of them was restarted. */
static void test_checkpoint__is_the_same_for_the_same_log(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct model a, b;
        struct tide_buf bytes_a, bytes_b;

        model_init(&a, seed);
        model_init(&b, seed);
        for (int i = 0; i < 150; i++) {
            model_scrape(&a);
            model_scrape(&b);
            if (i % 20 == 0) {
                model_backfill(&a);
                model_backfill(&b);
            }
            if (i % 30 == 7)
                model_restart(&b);
            if (i % 50 == 49) {
                model_truncate(&a, a.now_ms - 3 * a.options.partition_ms);
                model_truncate(&b, b.now_ms - 3 * b.options.partition_ms);
            }
        }
        bytes_a = model_checkpoint(a.head);
        bytes_b = model_checkpoint(b.head);
        assert_int_equal(bytes_a.len, bytes_b.len);
        assert_memory_equal(bytes_a.ptr, bytes_b.ptr, bytes_a.len);
        tide_buf_deinit(&bytes_a);
        tide_buf_deinit(&bytes_b);
        model_deinit(&a);
        model_deinit(&b);
    }
}

static void test_checkpoint__shows_the_moment_of_the_freeze(void **state)
{
    (void)state;
    for (uint64_t seed = 20; seed < 28; seed++) {
        struct model m;
        struct tide_head_frozen *frozen;
        struct tide_buf at_once, later;

        fill(&m, seed, 100);
        at_once = model_checkpoint(m.head);
        assert_int_equal(tide_head_freeze(m.head, &frozen), TIDE_OK);
        for (int i = 0; i < 100; i++) { /* Rows move, late chunks merge, partitions go. */
            model_scrape(&m);
            model_backfill(&m);
            if (i % 25 == 24)
                model_truncate(&m, m.now_ms - 2 * m.options.partition_ms);
        }
        later = model_write(frozen);
        assert_int_equal(later.len, at_once.len);
        assert_memory_equal(later.ptr, at_once.ptr, later.len);
        tide_head_frozen_free(frozen);
        model_compare(&m);
        tide_buf_deinit(&at_once);
        tide_buf_deinit(&later);
        model_deinit(&m);
    }
}

static void test_checkpoint__refuses_every_cut_and_changed_bytes(void **state)
{
    struct model m;
    struct tide_buf bytes;
    uint64_t random = 3;

    (void)state;
    fill(&m, 40, 40);
    bytes = model_checkpoint(m.head);
    for (size_t len = 0; len < bytes.len; len += 1 + len / 64)
        assert_int_equal(restore((struct tide_slice){bytes.ptr, len}, &m.options),
                         TIDE_ERR_CORRUPT);
    for (int i = 0; i < 600 && bytes.len > 0; i++) {
        size_t at = (size_t)(model_random(&random) % bytes.len);
        uint8_t bit = (uint8_t)(1u << model_random(&random) % 8);

        bytes.ptr[at] ^= bit;
        assert_int_equal(restore(tide_buf_view(&bytes), &m.options), TIDE_ERR_CORRUPT);
        bytes.ptr[at] ^= bit;
    }
    assert_int_equal(restore(tide_buf_view(&bytes), &m.options), TIDE_OK);
    tide_buf_deinit(&bytes);
    model_deinit(&m);
}

static void test_checkpoint__keeps_its_partitions_whatever_the_options_say(void **state)
{
    struct tide_head_options options;
    struct tide_buf bytes, again;
    struct tide_reader reader;
    struct tide_head *head;
    struct model m;

    (void)state;
    fill(&m, 50, 60);
    bytes = model_checkpoint(m.head);
    options = m.options;
    options.partition_ms = 12345;
    options.chunk_samples = 77;
    reader = tide_reader(tide_buf_view(&bytes));
    assert_int_equal(tide_head_restore(&options, &reader, &head, NULL), TIDE_OK);
    again = model_checkpoint(head);
    assert_int_equal(again.len, bytes.len);
    assert_memory_equal(again.ptr, bytes.ptr, bytes.len);
    tide_head_free(m.head);
    m.head = head;
    for (int i = 0; i < 60; i++)
        model_scrape(&m);
    model_compare(&m);
    tide_buf_deinit(&bytes);
    tide_buf_deinit(&again);
    model_deinit(&m);
}

#ifdef TIDE_TEST_FAULTS
static void test_checkpoint__survives_each_failed_allocation(void **state)
{
    struct model m;
    struct tide_buf bytes;

    (void)state;
    fill(&m, 60, 20);
    bytes = model_checkpoint(m.head);
    for (int nth = 1;; nth++) {
        long live = tide_test_mem_live();
        struct tide_reader reader = tide_reader(tide_buf_view(&bytes));
        struct tide_head *head;
        enum tide_err err;
        bool fired;

        tide_test_mem_fail_nth(nth);
        err = tide_head_restore(&m.options, &reader, &head, NULL);
        fired = tide_test_mem_fired();
        if (err == TIDE_OK)
            tide_head_free(head);
        else
            assert_int_equal(err, TIDE_ERR_NO_MEMORY);
        assert_int_equal(tide_test_mem_live(), live);
        if (!fired)
            break;
    }
    tide_buf_deinit(&bytes);
    model_deinit(&m);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint__of_an_empty_head_restores),
        cmocka_unit_test(test_checkpoint__is_the_same_for_the_same_log),
        cmocka_unit_test(test_checkpoint__shows_the_moment_of_the_freeze),
        cmocka_unit_test(test_checkpoint__refuses_every_cut_and_changed_bytes),
        cmocka_unit_test(test_checkpoint__keeps_its_partitions_whatever_the_options_say),
#ifdef TIDE_TEST_FAULTS
        cmocka_unit_test(test_checkpoint__survives_each_failed_allocation),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
