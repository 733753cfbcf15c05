#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/model/write_encode.h"

#include "support_random.h"

#include "tide/base/mem.h"

#include <zlib.h>
#include <zstd.h>

/* Bytes that compress somewhat. */
static void make_plain(struct tide_buf *out, size_t len)
{
    uint64_t seed = 29;

    while (out->len < len) {
        tide_buf_printf(out, "http_requests_total%zu", random_below(&seed, 1000));
        tide_buf_byte(out, (uint8_t)random_next(&seed));
    }
    out->len = len;
}

static void compress_zstd(struct tide_slice in, bool with_size, struct tide_buf *out)
{
    size_t bound = ZSTD_compressBound(in.len);
    uint8_t *to = tide_buf_reserve(out, bound);
    ZSTD_CCtx *context = ZSTD_createCCtx();
    size_t made;

    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, with_size)));
    made = ZSTD_compress2(context, to, bound, in.ptr, in.len);
    assert_false(ZSTD_isError(made));
    ZSTD_freeCCtx(context);
    out->len += made;
}

static void compress_gzip(struct tide_slice in, struct tide_buf *out)
{
    z_stream z = {0};
    size_t bound = in.len + in.len / 100 + 1000;
    uint8_t *to = tide_buf_reserve(out, bound);

    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (z_const Bytef *)in.ptr;
    z.avail_in = (uInt)in.len;
    z.next_out = to;
    z.avail_out = (uInt)bound;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out->len += bound - z.avail_out;
    deflateEnd(&z);
}

/* Number of ways a body can be compressed: the encodings, zstd with and without its size. */
#define WAYS 5

static enum tide_write_encoding make_body(int way, struct tide_slice in, struct tide_buf *out)
{
    switch (way) {
    case 0:
        assert_int_equal(tide_write_compress(in, out), TIDE_OK);
        return TIDE_ENCODING_SNAPPY;
    case 1:
    case 2:
        compress_zstd(in, way == 1, out);
        return TIDE_ENCODING_ZSTD;
    case 3:
        compress_gzip(in, out);
        return TIDE_ENCODING_GZIP;
    default:
        tide_buf_slice(out, in);
        return TIDE_ENCODING_IDENTITY;
    }
}

static void test_decompress__each_encoding_gives_the_body_back(void **state)
{
    static const size_t lens[] = {1, 100, 65536, 65537, 300000};

    (void)state;
    for (int way = 0; way < WAYS; way++) {
        for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
            struct tide_buf plain = {0};
            struct tide_buf body = {0};
            struct tide_buf out = {0};
            enum tide_write_encoding encoding;

            make_plain(&plain, lens[i]);
            encoding = make_body(way, tide_buf_view(&plain), &body);
            tide_buf_byte(&out, 'x'); /* Appended behind what is there. */
            assert_int_equal(
                tide_write_decompress(encoding, tide_buf_view(&body), lens[i], &out, NULL),
                TIDE_OK);
            assert_int_equal(out.len, lens[i] + 1);
            assert_memory_equal(out.ptr + 1, plain.ptr, lens[i]);
            /* One byte more than is accepted. */
            assert_int_equal(
                tide_write_decompress(encoding, tide_buf_view(&body), lens[i] - 1, &out, NULL),
                TIDE_ERR_TOO_LARGE);
            tide_buf_deinit(&plain);
            tide_buf_deinit(&body);
            tide_buf_deinit(&out);
        }
    }
}

static void test_decompress__cut_and_changed_bodies_are_invalid(void **state)
{
    uint64_t seed = 31;

    (void)state;
    for (int way = 0; way < WAYS - 1; way++) { /* An identity body is whole by itself. */
        struct tide_buf plain = {0};
        struct tide_buf body = {0};
        enum tide_write_encoding encoding;

        make_plain(&plain, 3000);
        encoding = make_body(way, tide_buf_view(&plain), &body);
        for (size_t len = 0; len < body.len; len += 7) {
            struct tide_buf out = {0};
            struct tide_diag diag = {""};

            assert_int_equal(tide_write_decompress(encoding, (struct tide_slice){body.ptr, len},
                                                   1 << 20, &out, &diag),
                             TIDE_ERR_INVALID);
            assert_true(strlen(diag.text) > 0);
            tide_buf_deinit(&out);
        }
        for (int i = 0; i < 2000; i++) {
            struct tide_buf out = {0};
            size_t at = random_below(&seed, body.len);
            uint8_t before = body.ptr[at];
            enum tide_err err;

            body.ptr[at] = (uint8_t)random_next(&seed);
            err = tide_write_decompress(encoding, tide_buf_view(&body), 1 << 20, &out, NULL);
            assert_true(err == TIDE_OK || err == TIDE_ERR_INVALID || err == TIDE_ERR_TOO_LARGE);
            assert_true(out.len <= (1 << 20) + 1);
            body.ptr[at] = before;
            tide_buf_deinit(&out);
        }
        tide_buf_deinit(&plain);
        tide_buf_deinit(&body);
    }
}

static void test_decompress__a_claimed_size_costs_no_memory(void **state)
{
    /* 64 MiB claimed in front of one literal byte: more than Snappy can make of 6 bytes. */
    static const uint8_t snappy[] = {0x80, 0x80, 0x80, 0x20, 0x00, 'a'};
    struct tide_buf out = {0};
    struct tide_diag diag = {""};

    (void)state;
    assert_int_equal(tide_write_decompress(TIDE_ENCODING_SNAPPY,
                                           (struct tide_slice){snappy, sizeof(snappy)}, 64u << 20,
                                           &out, &diag),
                     TIDE_ERR_INVALID);
    assert_int_equal(out.capacity, 0);
    assert_int_equal(tide_write_decompress(TIDE_ENCODING_SNAPPY,
                                           (struct tide_slice){snappy, sizeof(snappy)}, 1u << 20,
                                           &out, &diag),
                     TIDE_ERR_TOO_LARGE);
    assert_int_equal(out.capacity, 0);
}

static void test_decompress__a_bomb_stops_at_the_bound(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS - 1; way++) {
        struct tide_buf plain = {0};
        struct tide_buf body = {0};
        struct tide_buf out = {0};
        enum tide_write_encoding encoding;

        memset(tide_buf_reserve(&plain, 32u << 20), 0, 32u << 20);
        plain.len = 32u << 20;
        encoding = make_body(way, tide_buf_view(&plain), &body);
        assert_int_equal(
            tide_write_decompress(encoding, tide_buf_view(&body), 1u << 20, &out, NULL),
            TIDE_ERR_TOO_LARGE);
        assert_true(out.capacity <= 2u << 20);
        tide_buf_deinit(&plain);
        tide_buf_deinit(&body);
        tide_buf_deinit(&out);
    }
}

static void test_decompress__frames_that_follow_each_other_are_one_body(void **state)
{
    (void)state;
    for (int way = 1; way <= 3; way++) {
        struct tide_buf body = {0};
        struct tide_buf out = {0};
        enum tide_write_encoding encoding;

        encoding = make_body(way, TIDE_SLICE("first "), &body);
        make_body(way, TIDE_SLICE("second"), &body);
        assert_int_equal(tide_write_decompress(encoding, tide_buf_view(&body), 12, &out, NULL),
                         TIDE_OK);
        assert_true(tide_slice_eq(tide_buf_view(&out), TIDE_SLICE("first second")));
        tide_buf_byte(&body, 'x'); /* Rubbish behind it. */
        assert_int_equal(tide_write_decompress(encoding, tide_buf_view(&body), 100, &out, NULL),
                         TIDE_ERR_INVALID);
        tide_buf_deinit(&body);
        tide_buf_deinit(&out);
    }
}

static void test_decompress__survives_each_failed_allocation(void **state)
{
    struct tide_buf plain = {0};

    (void)state;
    make_plain(&plain, 200000);
    for (int way = 0; way < WAYS; way++) {
        struct tide_buf body = {0};
        enum tide_write_encoding encoding = make_body(way, tide_buf_view(&plain), &body);

        for (int nth = 1;; nth++) {
            struct tide_buf out = {0};
            enum tide_err err;
            bool fired;

            tide_test_mem_fail_nth(nth);
            err = tide_write_decompress(encoding, tide_buf_view(&body), 1 << 20, &out, NULL);
            fired = tide_test_mem_fired();
            tide_test_mem_fail_nth(0);
            assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
            tide_buf_deinit(&out);
            if (!fired)
                break;
        }
        tide_buf_deinit(&body);
    }
    tide_buf_deinit(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decompress__each_encoding_gives_the_body_back),
        cmocka_unit_test(test_decompress__cut_and_changed_bodies_are_invalid),
        cmocka_unit_test(test_decompress__a_claimed_size_costs_no_memory),
        cmocka_unit_test(test_decompress__a_bomb_stops_at_the_bound),
        cmocka_unit_test(test_decompress__frames_that_follow_each_other_are_one_body),
        cmocka_unit_test(test_decompress__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
