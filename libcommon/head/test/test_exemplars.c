/* The exemplar ring: what is kept, refused, found and restored; against a plain list too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/head/exemplars.h"

#include "tide/base/mem.h"

#include <stdlib.h>

struct fixture {
    struct tide_exemplars *store;
    struct tide_arena *arena;
};

static int setup(void **state)
{
    struct fixture *f = tide_mem_new(sizeof(*f));

    f->arena = tide_arena_new(0);
    *state = f;
    return tide_exemplars_new(100, &f->store) == TIDE_OK ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    tide_exemplars_free(f->store);
    tide_arena_free(f->arena);
    tide_mem_free(f);
    return 0;
}

static struct tide_exemplar exemplar(struct tide_label *pair, const char *trace, int64_t ts_ms,
                                     uint64_t bits)
{
    *pair = (struct tide_label){TIDE_SLICE("trace_id"), tide_slice_str(trace)};
    return (struct tide_exemplar){{pair, trace[0] != '\0'}, ts_ms, bits};
}

static enum tide_err add(struct tide_exemplars *store, uint32_t ref, const char *trace,
                         int64_t ts_ms, uint64_t bits)
{
    struct tide_label pair;
    struct tide_exemplar e = exemplar(&pair, trace, ts_ms, bits);

    return tide_exemplars_add(store, ref, &e);
}

/* What is kept from mint to maxt, as "ref@ts=bits/trace ". */
static const char *kept(struct fixture *f, int64_t mint_ms, int64_t maxt_ms)
{
    const struct tide_stored_exemplar *items;
    const char *text = "";
    size_t count;

    assert_int_equal(tide_exemplars_collect(f->store, mint_ms, maxt_ms, f->arena, &items, &count),
                     TIDE_OK);
    for (size_t i = 0; i < count; i++) {
        struct tide_slice trace = tide_labels_get(items[i].exemplar.labels, TIDE_SLICE("trace_id"));

        text =
            tide_arena_printf(f->arena, "%s%u@%lld=%llu/%.*s ", text, items[i].ref,
                              (long long)items[i].exemplar.ts_ms,
                              (unsigned long long)items[i].exemplar.bits, TIDE_SLICE_ARGS(trace));
    }
    return text;
}

static void test_exemplars__are_found_by_reference_and_time(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(add(f->store, 9, "a", 10, 1), TIDE_OK);
    assert_int_equal(add(f->store, 2, "b", 30, 2), TIDE_OK);
    assert_int_equal(add(f->store, 9, "c", 20, 3), TIDE_OK);
    assert_int_equal(add(f->store, 2, "", 40, 4), TIDE_OK);
    assert_string_equal(kept(f, INT64_MIN, INT64_MAX), "2@30=2/b 2@40=4/ 9@10=1/a 9@20=3/c ");
    assert_string_equal(kept(f, 20, 30), "2@30=2/b 9@20=3/c ");
    assert_string_equal(kept(f, 11, 19), "");
}

static void test_exemplars__refuse_what_is_not_newer(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(add(f->store, 1, "a", 10, 1), TIDE_OK);
    assert_int_equal(add(f->store, 1, "a", 10, 1), TIDE_OK);
    assert_int_equal(add(f->store, 1, "b", 10, 1), TIDE_ERR_DUPLICATE_TIMESTAMP);
    assert_int_equal(add(f->store, 1, "a", 10, 2), TIDE_ERR_DUPLICATE_TIMESTAMP);
    assert_int_equal(add(f->store, 1, "a", 9, 1), TIDE_ERR_TOO_OLD);
    assert_int_equal(add(f->store, 2, "a", 9, 1), TIDE_OK);
    assert_string_equal(kept(f, INT64_MIN, INT64_MAX), "1@10=1/a 2@9=1/a ");
}

static void test_exemplars__refuse_long_labels(void **state)
{
    struct fixture *f = *state;
    char trace[TIDE_EXEMPLAR_LABELS_BYTES_MAX + 1];

    memset(trace, 'x', sizeof(trace));
    trace[TIDE_EXEMPLAR_LABELS_BYTES_MAX - sizeof("trace_id") + 2] = '\0';
    assert_int_equal(add(f->store, 1, trace, 1, 1), TIDE_ERR_TOO_LARGE);
    trace[TIDE_EXEMPLAR_LABELS_BYTES_MAX - sizeof("trace_id") + 1] = '\0';
    assert_int_equal(add(f->store, 1, trace, 1, 1), TIDE_OK);
}

/* ---- Against a list ---- */

#define MODEL_ADDS 5000u

struct item {
    uint32_t ref;
    int64_t ts_ms;
    uint64_t bits;
};

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static int item_cmp(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (x->ref != y->ref)
        return x->ref < y->ref ? -1 : 1;
    return (x->ts_ms > y->ts_ms) - (x->ts_ms < y->ts_ms);
}

static void check_model(struct tide_exemplars *store, const struct item *newest, size_t count)
{
    struct item *want = tide_mem_array(count + 1, sizeof(*want));
    struct tide_arena *arena = tide_arena_new(0);
    const struct tide_stored_exemplar *items;
    size_t found;

    if (count > 0) {
        memcpy(want, newest, count * sizeof(*want));
        qsort(want, count, sizeof(*want), item_cmp);
    }
    assert_int_equal(tide_exemplars_collect(store, INT64_MIN, INT64_MAX, arena, &items, &found),
                     TIDE_OK);
    assert_int_equal(found, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(items[i].ref, want[i].ref);
        assert_int_equal(items[i].exemplar.ts_ms, want[i].ts_ms);
        assert_int_equal(items[i].exemplar.bits, want[i].bits);
    }
    tide_arena_free(arena);
    tide_mem_free(want);
}

/* What the store must answer: the list holds all that were accepted, the ring the last of them. */
static enum tide_err model_answer(const struct item *list, size_t first, size_t count,
                                  const struct item *item)
{
    for (size_t i = count; i-- > first;) {
        if (list[i].ref != item->ref)
            continue;
        if (item->ts_ms < list[i].ts_ms)
            return TIDE_ERR_TOO_OLD;
        if (item->ts_ms > list[i].ts_ms)
            return TIDE_OK;
        return item->bits == list[i].bits ? TIDE_END : TIDE_ERR_DUPLICATE_TIMESTAMP;
    }
    return TIDE_OK;
}

static void run_model(uint32_t count_max, uint64_t seed)
{
    struct item *list = tide_mem_array(MODEL_ADDS, sizeof(*list));
    struct tide_exemplars *store;
    size_t count = 0;

    assert_int_equal(tide_exemplars_new(count_max, &store), TIDE_OK);
    for (uint32_t i = 0; i < MODEL_ADDS; i++) {
        struct item item = {.ref = (uint32_t)(random_next(&seed) % 23),
                            .ts_ms = i / 4 + (int64_t)(random_next(&seed) % 3),
                            .bits = random_next(&seed) % 2};
        size_t first = count < count_max ? 0 : count - count_max;
        enum tide_err want = model_answer(list, first, count, &item);

        assert_int_equal(add(store, item.ref, "t", item.ts_ms, item.bits),
                         want == TIDE_END ? TIDE_OK : want);
        if (want == TIDE_OK)
            list[count++] = item;
        if (i % 500 == 499) {
            first = count < count_max ? 0 : count - count_max;
            check_model(store, list + first, count - first);
        }
    }
    tide_exemplars_free(store);
    tide_mem_free(list);
}

static void test_exemplars__agree_with_a_list(void **state)
{
    (void)state;
    run_model(1, 1);
    run_model(7, 2);
    run_model(200, 3);
    run_model(MODEL_ADDS, 4);
}

/* ---- Checkpoints ---- */

static void write_to(struct tide_exemplars *store, struct tide_buf *out)
{
    tide_exemplars_write(store, out);
    assert_int_equal(tide_buf_ok(out), TIDE_OK);
}

static void test_exemplars__come_back_from_a_checkpoint(void **state)
{
    (void)state;
    /* Half full, full, and well past it. */
    for (uint32_t adds = 50; adds <= 250; adds += 50) {
        struct tide_exemplars *first, *second;
        struct tide_buf a = {0}, b = {0};

        assert_int_equal(tide_exemplars_new(100, &first), TIDE_OK);
        assert_int_equal(tide_exemplars_new(100, &second), TIDE_OK);
        for (uint32_t i = 0; i < adds; i++)
            assert_int_equal(add(first, i % 9, i % 2 == 0 ? "x" : "", i, i), TIDE_OK);
        write_to(first, &a);
        assert_int_equal(tide_exemplars_restore(second, tide_buf_view(&a)), TIDE_OK);
        /* Both go on alike: the same one is overwritten next. */
        assert_int_equal(add(first, 77, "new", 1, 1), TIDE_OK);
        assert_int_equal(add(second, 77, "new", 1, 1), TIDE_OK);
        a.len = 0;
        write_to(first, &a);
        write_to(second, &b);
        assert_true(tide_slice_eq(tide_buf_view(&a), tide_buf_view(&b)));
        tide_exemplars_free(first);
        tide_exemplars_free(second);
        tide_buf_deinit(&a);
        tide_buf_deinit(&b);
    }
}

static void test_exemplars__refuse_a_checkpoint_that_is_cut(void **state)
{
    struct fixture *f = *state;
    struct tide_buf buf = {0};
    struct tide_slice cut;

    assert_int_equal(add(f->store, 1, "abc", 10, 1), TIDE_OK);
    assert_int_equal(add(f->store, 2, "", 11, 2), TIDE_OK);
    write_to(f->store, &buf);
    for (cut = tide_buf_view(&buf), cut.len--; cut.len > 0; cut.len--) {
        struct tide_exemplars *store;

        assert_int_equal(tide_exemplars_new(100, &store), TIDE_OK);
        assert_int_equal(tide_exemplars_restore(store, cut), TIDE_ERR_CORRUPT);
        tide_exemplars_free(store);
    }
    tide_buf_byte(&buf, 0);
    assert_int_equal(tide_exemplars_restore(f->store, tide_buf_view(&buf)), TIDE_ERR_CORRUPT);
    tide_buf_deinit(&buf);
}

static void test_exemplars__survive_each_failed_allocation(void **state)
{
    long live = tide_test_mem_live();

    (void)state;
    for (int nth = 1;; nth++) {
        struct tide_exemplars *store = NULL;
        struct tide_buf buf = {0};
        enum tide_err err;
        uint32_t kept_count = 0;
        bool fired;

        tide_test_mem_fail_nth(nth);
        err = tide_exemplars_new(100, &store);
        for (; err == TIDE_OK && kept_count < 200; kept_count++) {
            err = add(store, kept_count % 5, "trace", kept_count, 1);
            if (err != TIDE_OK)
                break;
        }
        fired = tide_test_mem_fired();
        assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
        if (store != NULL) {
            /* All before the failure are there, and it goes on. */
            assert_int_equal(add(store, 9, "after", 1000, 1), TIDE_OK);
            write_to(store, &buf);
            assert_int_equal(buf.ptr[0], kept_count >= 100 ? 100 : kept_count + 1);
        }
        tide_exemplars_free(store);
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
        TEST(test_exemplars__are_found_by_reference_and_time),
        TEST(test_exemplars__refuse_what_is_not_newer),
        TEST(test_exemplars__refuse_long_labels),
        cmocka_unit_test(test_exemplars__agree_with_a_list),
        TEST(test_exemplars__come_back_from_a_checkpoint),
        TEST(test_exemplars__refuse_a_checkpoint_that_is_cut),
        cmocka_unit_test(test_exemplars__survive_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
