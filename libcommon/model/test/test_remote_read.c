/* Remote read: requests by hand, and chunks against a decoder that is written from the format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/model/remote_read.h"

#include "tide/base/hash.h"

#include <math.h>
#include <stdio.h>

/* ---- Requests ---- */

struct fixture {
    struct tide_arena *arena;
    struct tide_read_request request;
    struct tide_diag diag;
};

static int setup(void **state)
{
    static struct fixture f;

    f = (struct fixture){.arena = tide_arena_new(1 << 20)};
    *state = &f;
    return f.arena == NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    tide_read_request_release(&f->request);
    tide_arena_free(f->arena);
    return 0;
}

static enum tide_err parse(struct fixture *f, const char *bytes, size_t len)
{
    f->diag.text[0] = '\0';
    return tide_read_request_parse((struct tide_slice){(const uint8_t *)bytes, len}, f->arena,
                                   &f->request, &f->diag);
}
#define PARSE(f, literal) parse(f, "" literal, sizeof(literal) - 1)

static void test_read_request__is_decoded(void **state)
{
    struct fixture *f = *state;
    const struct tide_read_query *query;

    /* start 1, end -1, a =~ "b|c", hints, then a query without anything; accepts 7, then 1. */
    assert_int_equal(PARSE(f, "\x0a\x1d"
                              "\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
                              "\x1a\x0a\x08\x02\x12\x01"
                              "a"
                              "\x1a\x03"
                              "b|c"
                              "\x22\x02\x08\x05"
                              "\x0a\x00\x10\x07\x10\x01\x10\x00"),
                     TIDE_OK);
    assert_int_equal(f->request.query_count, 2);
    assert_true(f->request.streamed);
    query = &f->request.queries[0];
    assert_int_equal(query->start_ms, 1);
    assert_int_equal(query->end_ms, -1);
    assert_int_equal(query->matcher_count, 1);
    assert_true(tide_matcher_match(&query->matchers[0], TIDE_SLICE("c")));
    assert_false(tide_matcher_match(&query->matchers[0], TIDE_SLICE("d")));
    assert_int_equal(f->request.queries[1].matcher_count, 0);
}

static void test_read_request__samples_unless_chunks_are_preferred(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(PARSE(f, ""), TIDE_OK);
    assert_false(f->request.streamed);
    assert_int_equal(PARSE(f, "\x12\x02\x01\x00"), TIDE_OK); /* Packed. */
    assert_true(f->request.streamed);
    assert_int_equal(PARSE(f, "\x12\x02\x00\x01"), TIDE_OK);
    assert_false(f->request.streamed);
    assert_int_equal(PARSE(f, "\x10\x07"), TIDE_ERR_INVALID);
    assert_non_null(strstr(f->diag.text, "response types"));
}

static void test_read_request__what_is_wrong_is_told(void **state)
{
    struct fixture *f = *state;
    char many[2 * (TIDE_READ_QUERIES_MAX + 1)];

    assert_int_equal(PARSE(f, "\x0a\x05\x08"), TIDE_ERR_INVALID);
    assert_non_null(strstr(f->diag.text, "malformed"));
    assert_int_equal(PARSE(f, "\x0a\x02\x0a\x00"), TIDE_ERR_INVALID); /* start as bytes. */
    assert_int_equal(PARSE(f, "\x0a\x07\x1a\x05\x08\x04\x12\x01"
                              "a"),
                     TIDE_ERR_INVALID);
    assert_non_null(strstr(f->diag.text, "unknown type"));
    assert_int_equal(PARSE(f, "\x0a\x04\x1a\x02\x08\x00"), TIDE_ERR_INVALID);
    assert_non_null(strstr(f->diag.text, "no label name"));
    assert_int_equal(PARSE(f, "\x0a\x0a\x1a\x08\x08\x02\x12\x01"
                              "a"
                              "\x1a\x01"
                              "("),
                     TIDE_ERR_INVALID);
    assert_int_equal(PARSE(f, "\x0a\x07\x1a\x05\x12\x01"
                              "a"
                              "\x1a\x00"),
                     TIDE_OK);
    assert_int_equal(PARSE(f, "\x0a\x08\x1a\x06\x12\x01"
                              "a"
                              "\x1a\x01\xff"),
                     TIDE_ERR_INVALID);
    assert_non_null(strstr(f->diag.text, "UTF-8"));
    for (size_t i = 0; i < sizeof(many); i += 2) {
        many[i] = 0x0a;
        many[i + 1] = 0;
    }
    assert_int_equal(parse(f, many, sizeof(many) - 2), TIDE_OK);
    tide_read_request_release(&f->request);
    assert_int_equal(parse(f, many, sizeof(many)), TIDE_ERR_INVALID);
    assert_non_null(strstr(f->diag.text, "more than 64 queries"));
}

/* ---- Chunks ---- */

struct bit_reader {
    const uint8_t *bytes;
    size_t at;
    size_t end;
};

static uint64_t bits(struct bit_reader *r, unsigned count)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < count; i++, r->at++) {
        assert_true(r->at < r->end);
        v = v << 1 | (r->bytes[r->at / 8] >> (7 - r->at % 8) & 1);
    }
    return v;
}

static uint64_t uvarint(struct bit_reader *r)
{
    uint64_t v = 0, byte;
    unsigned shift = 0;

    do {
        byte = bits(r, 8);
        v |= (byte & 0x7f) << shift;
        shift += 7;
    } while (byte >= 0x80);
    return v;
}

/* The change of a distance: values over half of a width's range are negative. */
static uint64_t change(struct bit_reader *r)
{
    static const unsigned widths[] = {0, 14, 17, 20, 64};
    unsigned ones = 0;
    uint64_t v;

    while (ones < 4 && bits(r, 1) == 1)
        ones++;
    v = bits(r, widths[ones]);
    if (ones > 0 && ones < 4 && v > (uint64_t)1 << (widths[ones] - 1))
        v -= (uint64_t)1 << widths[ones];
    return v;
}

static void decode(struct tide_slice chunk, const int64_t *times_ms, const double *values,
                   size_t count)
{
    struct bit_reader r = {chunk.ptr, 0, 8 * chunk.len};
    uint64_t time = 0, distance = 0, value = 0;
    unsigned leading = 0, width = 0;

    assert_int_equal(bits(&r, 16), count);
    for (size_t i = 0; i < count; i++) {
        if (i == 0) {
            time = uvarint(&r);
            time = time >> 1 ^ (0 - (time & 1));
            value = bits(&r, 64);
        } else {
            distance = i == 1 ? uvarint(&r) : distance + change(&r);
            time += distance;
            if (bits(&r, 1) == 1) {
                if (bits(&r, 1) == 1) {
                    leading = (unsigned)bits(&r, 5);
                    width = (unsigned)bits(&r, 6);
                    if (width == 0)
                        width = 64;
                }
                value ^= bits(&r, width) << (64 - leading - width);
            }
        }
        assert_int_equal((int64_t)time, times_ms[i]);
        assert_int_equal(value, tide_value_bits(values[i]));
    }
    assert_true(r.end - r.at < 8); /* Nothing behind. */
}

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void test_xor_chunk__a_decoder_reads_the_same_back(void **state)
{
    static const double odd[] = {0, -0.0, 1, 1e300, 5e-324, INFINITY, -INFINITY};
    struct tide_buf out = {0};
    uint64_t seed = 20261124;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        const size_t count = 1 + next(&seed) % TIDE_XOR_CHUNK_SAMPLES_MAX;
        const unsigned kind = (unsigned)(next(&seed) % 5);
        const unsigned jitter = (unsigned)(next(&seed) % 24);
        int64_t times[TIDE_XOR_CHUNK_SAMPLES_MAX];
        double values[TIDE_XOR_CHUNK_SAMPLES_MAX];
        int64_t time = (int64_t)(next(&seed) >> 20) - ((int64_t)1 << 43);

        for (size_t i = 0; i < count; i++) {
            times[i] = time;
            time += 15000 + (int64_t)(next(&seed) >> (63 - jitter));
            if (round % 50 == 0 && i == 5)
                time += (int64_t)1 << 61; /* As far apart as times can be. */
            values[i] = kind == 0   ? (double)i
                        : kind == 1 ? odd[next(&seed) % 7]
                        : kind == 2 ? tide_value(next(&seed))
                        : kind == 3 ? 42.5
                                    : (double)(next(&seed) % 1000) / 7;
        }
        out.len = 0;
        tide_xor_chunk_encode(times, values, count, &out);
        assert_int_equal(tide_buf_ok(&out), TIDE_OK);
        assert_true(out.len <= 2 + 20 * count);
        decode(tide_buf_view(&out), times, values, count);
    }
    tide_buf_deinit(&out);
}

static void test_xor_chunk__edges_of_each_width(void **state)
{
    static const int64_t changes[] = {0,       1,       -8191,  8192,  -8192,   8193,
                                      -65535,  65536,   -65536, 65537, 524288,  524289,
                                      -524287, -524288, 600000, -1,    1000000, -999};
    int64_t times[2 + sizeof(changes) / sizeof(changes[0])] = {0, 2000000};
    double values[2 + sizeof(changes) / sizeof(changes[0])] = {0};
    const size_t count = sizeof(times) / sizeof(times[0]);
    struct tide_buf out = {0};
    int64_t distance = 2000000;

    (void)state;
    for (size_t i = 2; i < count; i++) {
        distance += changes[i - 2];
        times[i] = times[i - 1] + distance;
    }
    tide_xor_chunk_encode(times, values, count, &out);
    decode(tide_buf_view(&out), times, values, count);
    tide_buf_deinit(&out);
}

static void test_frame__has_length_checksum_and_chunks(void **state)
{
    static const struct tide_label pair = {{(const uint8_t *)"a", 1}, {(const uint8_t *)"b", 1}};
    int64_t times[TIDE_XOR_CHUNK_SAMPLES_MAX + 1];
    double values[TIDE_XOR_CHUNK_SAMPLES_MAX + 1];
    struct tide_buf out = {0}, chunks = {0};
    struct tide_slice message;
    uint32_t crc;
    size_t at = 1;

    (void)state;
    for (size_t i = 0; i < TIDE_XOR_CHUNK_SAMPLES_MAX + 1; i++) {
        times[i] = (int64_t)i * 1000;
        values[i] = 1;
    }
    tide_read_frame((struct tide_labels){&pair, 1}, times, values, TIDE_XOR_CHUNK_SAMPLES_MAX + 1,
                    3, &chunks, &out);
    assert_int_equal(tide_buf_ok(&out), TIDE_OK);
    if (out.ptr[0] >= 0x80)
        at = 2;
    message = (struct tide_slice){out.ptr + at + 4, out.len - at - 4};
    crc = tide_crc32c(0, message);
    assert_int_equal(at == 2 ? (out.ptr[0] & 0x7f) | out.ptr[1] << 7 : out.ptr[0], message.len);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(out.ptr[at + i], crc >> (24 - 8 * i) & 0xff);
    assert_int_equal(message.ptr[message.len - 2], 0x10); /* query_index */
    assert_int_equal(message.ptr[message.len - 1], 3);
    tide_buf_deinit(&out);
    tide_buf_deinit(&chunks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read_request__is_decoded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_request__samples_unless_chunks_are_preferred,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_request__what_is_wrong_is_told, setup, teardown),
        cmocka_unit_test(test_xor_chunk__a_decoder_reads_the_same_back),
        cmocka_unit_test(test_xor_chunk__edges_of_each_width),
        cmocka_unit_test(test_frame__has_length_checksum_and_chunks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
