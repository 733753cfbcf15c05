#include "tide/chunk/chunk.h"

#include "tide/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* splitmix64: seeded, the same everywhere. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static uint64_t bits_of(double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

/* Values as they come in life and the ones that break codecs. */
static uint64_t make_value(uint64_t *random, unsigned kind, uint64_t before)
{
    static const uint64_t special[] = {0x7ff0000000000002u,
                                       0x7ff8000000000001u,
                                       0xfff8000000000000u,
                                       0x7ff0000000000000u,
                                       0xfff0000000000000u,
                                       0x8000000000000000u,
                                       0u,
                                       1u,
                                       0x000fffffffffffffu,
                                       0x7fefffffffffffffu,
                                       0xffffffffffffffffu,
                                       0x7ff4000000000000u};
    uint64_t r = next_random(random);
    double v;

    memcpy(&v, &before, sizeof(v));
    switch (kind) {
    case 0: /* Constant with rare steps. */
        return r % 64 == 0 ? bits_of((double)(r >> 50)) : before;
    case 1: /* Counter. */
        return bits_of((v == v && v < 1e15 && v >= 0 ? v : 0) + (double)(r % 1000));
    case 2: /* Decimal gauge. */
        return bits_of((double)(r % 100000) / 100);
    case 3: /* Anything. */
        return r;
    case 4:
        return special[r % (sizeof(special) / sizeof(special[0]))];
    default: /* One bit differs: widths and leads of all sizes. */
        return before ^ (r | 1) << (next_random(random) & 63) >> (next_random(random) & 63);
    }
}

struct sample_run {
    uint64_t bits[TIDE_CHUNK_SAMPLES_MAX];
    uint32_t offsets[TIDE_CHUNK_SAMPLES_MAX];
    size_t n;
    double values[TIDE_CHUNK_SAMPLES_MAX];
    int64_t times[TIDE_CHUNK_SAMPLES_MAX];
};

static void make_run(struct sample_run *run, uint64_t *random)
{
    unsigned kind = (unsigned)(next_random(random) % 6),
             clock = (unsigned)(next_random(random) % 4);
    uint64_t value = make_value(random, kind == 5 ? 3 : kind, 0);
    uint64_t offset = next_random(random) % 1000;

    run->n = 1 + (size_t)(next_random(random) % (next_random(random) % 8 == 0 ? 2048 : 200));
    for (size_t i = 0; i < run->n; i++) {
        static const uint64_t spread[] = {1, 5, 100000, 2000000};
        run->bits[i] = value;
        run->offsets[i] = (uint32_t)offset;
        value = make_value(random, kind, value);
        offset += (clock == 3 ? 1 : 15000) + next_random(random) % spread[clock];
        if (offset > UINT32_MAX - 1) {
            run->n = i + 1;
            break;
        }
    }
}

static void assert_same_bits(const struct sample_run *run, size_t n)
{
    assert_memory_equal(run->values, run->bits, n * sizeof(run->bits[0]));
}

/* A copy in memory of exactly the allowed size, so that the sanitizer sees every read too far. */
static struct tide_slice copy_padded(const uint8_t *bytes, size_t len, uint8_t **memory)
{
    *memory = tide_mem_alloc(len + TIDE_CHUNK_PAD);
    assert_non_null(*memory);
    memcpy(*memory, bytes, len);
    memset(*memory + len, 0xff, TIDE_CHUNK_PAD);
    return (struct tide_slice){*memory, len};
}

static void test_chunk__gives_back_every_bit(void **state)
{
    static struct sample_run run;
    static uint8_t bytes[TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX)];
    struct tide_segments pool = {0};
    uint64_t random = 1;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        bool timed = round % 2 == 1;
        struct tide_chunk_open chunk = {.owner = 7};
        struct tide_chunk_clock clock = {0};
        struct tide_slice stream;
        uint8_t *memory;
        size_t len, n;

        make_run(&run, &random);
        for (size_t i = 0; i < run.n; i++)
            assert_int_equal(
                timed ? tide_chunk_append_timed(&pool, &chunk, &clock, run.offsets[i], run.bits[i])
                      : tide_chunk_append(&pool, &chunk, run.bits[i]),
                TIDE_OK);
        len = tide_chunk_copy(&pool, &chunk, bytes, TIDE_CHUNK_BYTES_MAX(run.n));
        assert_int_equal(len, tide_chunk_bytes(&pool, &chunk));
        stream = copy_padded(bytes, len, &memory);
        for (int part = 0; part < 2; part++) { /* All, then a prefix. */
            n = part == 0 ? run.n : 1 + (size_t)(next_random(&random) % run.n);
            if (timed) {
                assert_int_equal(tide_chunk_decode_timed(stream, n, -5, run.times, run.values),
                                 TIDE_OK);
                for (size_t i = 0; i < n; i++)
                    assert_int_equal(run.times[i], (int64_t)run.offsets[i] - 5);
            } else {
                assert_int_equal(tide_chunk_decode(stream, n, run.values), TIDE_OK);
            }
            assert_same_bits(&run, n);
        }
        if (len > 1 && run.n > 1) { /* One byte short is noticed. */
            stream.len--;
            assert_int_equal(timed
                                 ? tide_chunk_decode_timed(stream, run.n, 0, run.times, run.values)
                                 : tide_chunk_decode(stream, run.n, run.values),
                             TIDE_ERR_CORRUPT);
        }
        tide_mem_free(memory);
        tide_chunk_drop(&pool, &chunk);
        assert_int_equal(chunk.owner, 7);
        assert_int_equal(chunk.head, 0);
    }
    /* All segments came back: the pool is no bigger than the biggest chunk. */
    assert_true(pool.pages.count <= sizeof(bytes) / TIDE_SEGMENT_DATA_BYTES + 1);
    tide_segments_deinit(&pool);
}

static void test_chunk__goes_on_after_loading(void **state)
{
    static struct sample_run run;
    static uint8_t bytes[TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX) + TIDE_CHUNK_PAD];
    static uint8_t again[TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX)];
    struct tide_segments pool = {0};
    uint64_t random = 2;

    (void)state;
    for (int round = 0; round < 500; round++) {
        bool timed = round % 2 == 1;
        struct tide_chunk_open whole = {0}, chunk = {0};
        struct tide_chunk_clock whole_clock = {0}, clock = {0};
        size_t half, len;

        make_run(&run, &random);
        half = 1 + (size_t)(next_random(&random) % run.n);
        for (size_t i = 0; i < run.n; i++) {
            if (i == half) {
                len = tide_chunk_copy(&pool, &whole, bytes, sizeof(bytes) - TIDE_CHUNK_PAD);
                chunk.last = whole.last;
                chunk.lead = whole.lead;
                chunk.width = whole.width;
                clock = whole_clock;
                bytes[len] = 0xff; /* Not part of it. */
                assert_int_equal(tide_chunk_load(&pool, (struct tide_slice){bytes, len},
                                                 tide_chunk_bits(&pool, &whole), &chunk),
                                 TIDE_OK);
            }
            for (int k = 0; k < (i >= half ? 2 : 1); k++) {
                struct tide_chunk_open *c = k == 0 ? &whole : &chunk;
                assert_int_equal(timed ? tide_chunk_append_timed(&pool, c,
                                                                 k == 0 ? &whole_clock : &clock,
                                                                 run.offsets[i], run.bits[i])
                                       : tide_chunk_append(&pool, c, run.bits[i]),
                                 TIDE_OK);
            }
        }
        if (half < run.n) {
            len = tide_chunk_copy(&pool, &whole, bytes, sizeof(bytes));
            assert_int_equal(tide_chunk_copy(&pool, &chunk, again, sizeof(again)), len);
            assert_memory_equal(bytes, again, len);
        }
        tide_chunk_drop(&pool, &whole);
        tide_chunk_drop(&pool, &chunk);
    }
    tide_segments_deinit(&pool);
}

static void test_chunk__decodes_any_bytes_without_harm(void **state)
{
    static struct sample_run run;
    uint64_t random = 3;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[96];
        uint8_t *memory;
        size_t len = (size_t)(next_random(&random) % sizeof(bytes));
        struct tide_slice stream;

        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)(next_random(&random) & next_random(&random));
        stream = copy_padded(bytes, len, &memory);
        (void)!tide_chunk_decode(stream, 1 + (size_t)(round % 300), run.values);
        if (tide_chunk_decode_timed(stream, 1 + (size_t)(round % 300), 0, run.times, run.values) ==
            TIDE_OK)
            for (int i = 1; i <= round % 300; i++)
                assert_true(run.times[i] > run.times[i - 1]);
        tide_mem_free(memory);
    }
    assert_int_equal(tide_chunk_decode((struct tide_slice){0}, 1, run.values), TIDE_ERR_CORRUPT);
}

static void test_chunk__stores_a_constant_in_a_bit_a_sample(void **state)
{
    struct tide_segments pool = {0};
    struct tide_chunk_open chunk = {0};

    (void)state;
    for (int i = 0; i < 121; i++)
        assert_int_equal(tide_chunk_append(&pool, &chunk, bits_of(42)), TIDE_OK);
    assert_int_equal(tide_chunk_bytes(&pool, &chunk), 8 + 120 / 8);
    tide_segments_deinit(&pool);
}

static void test_chunk__refuses_to_load_what_cannot_be(void **state)
{
    static const uint8_t bytes[64];
    struct tide_segments pool = {0};
    struct tide_chunk_open chunk = {0};

    (void)state;
    assert_int_equal(tide_chunk_load(&pool, (struct tide_slice){bytes, 7}, 56, &chunk),
                     TIDE_ERR_CORRUPT);
    assert_int_equal(tide_chunk_load(&pool, (struct tide_slice){bytes, 9}, 64, &chunk),
                     TIDE_ERR_CORRUPT);
    assert_int_equal(tide_chunk_load(&pool, (struct tide_slice){bytes, 8}, 65, &chunk),
                     TIDE_ERR_CORRUPT);
    chunk.lead = 31;
    chunk.width = 34;
    assert_int_equal(tide_chunk_load(&pool, (struct tide_slice){bytes, 8}, 64, &chunk),
                     TIDE_ERR_CORRUPT);
    chunk.lead = 32;
    chunk.width = 1;
    assert_int_equal(tide_chunk_load(&pool, (struct tide_slice){bytes, 8}, 64, &chunk),
                     TIDE_ERR_CORRUPT);
    chunk.lead = 31;
    assert_int_equal(tide_chunk_load(&pool, (struct tide_slice){bytes, 8}, 64, &chunk), TIDE_OK);
    tide_segments_deinit(&pool);
}

static void test_segments__copies_are_independent(void **state)
{
    struct tide_segments pool = {0}, copy = {0};
    uint32_t id;

    (void)state;
    assert_int_equal(tide_segments_copy(&pool, &copy), TIDE_OK);
    for (uint32_t i = 1; i <= 5000; i++) { /* Over two pages. */
        assert_int_equal(tide_segments_take(&pool, &id), TIDE_OK);
        assert_int_equal(id, i);
        memset(tide_segment_at(&pool, id)->data, (int)(i & 0xff), TIDE_SEGMENT_DATA_BYTES);
    }
    tide_segments_give(&pool, 4000, 4000);
    assert_int_equal(tide_segments_copy(&pool, &copy), TIDE_OK);
    for (uint32_t i = 1; i <= 5000; i++) {
        assert_int_equal(tide_segment_at(&copy, i)->data[27], i & 0xff);
        tide_segment_at(&pool, i)->data[27] = 0;
    }
    assert_int_equal(tide_segment_at(&copy, 1234)->data[27], 1234 & 0xff);
    assert_int_equal(tide_segments_take(&pool, &id), TIDE_OK);
    assert_int_equal(id, 4000);
    assert_true(tide_segments_bytes(&pool) >= (size_t)5000 * 32);
    tide_segments_deinit(&pool);
    tide_segments_deinit(&copy);
}

#ifdef TIDE_TEST_FAULTS
static void test_chunk__survives_each_failed_allocation(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct tide_segments pool = {0}, copy = {0};
        struct tide_chunk_open chunk = {0};
        long live = tide_test_mem_live();
        uint64_t random = 4;
        enum tide_err err = TIDE_OK;
        bool fired;

        tide_test_mem_fail_nth(nth);
        for (int i = 0; i < 10000 && err == TIDE_OK; i++)
            err = tide_chunk_append(&pool, &chunk, next_random(&random));
        if (err == TIDE_OK)
            err = tide_segments_copy(&pool, &copy);
        fired = tide_test_mem_fired();
        assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
        tide_segments_deinit(&pool);
        tide_segments_deinit(&copy);
        assert_int_equal(tide_test_mem_live(), live);
        if (!fired)
            break;
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunk__gives_back_every_bit),
        cmocka_unit_test(test_chunk__goes_on_after_loading),
        cmocka_unit_test(test_chunk__decodes_any_bytes_without_harm),
        cmocka_unit_test(test_chunk__stores_a_constant_in_a_bit_a_sample),
        cmocka_unit_test(test_chunk__refuses_to_load_what_cannot_be),
        cmocka_unit_test(test_segments__copies_are_independent),
#ifdef TIDE_TEST_FAULTS
        cmocka_unit_test(test_chunk__survives_each_failed_allocation),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
