#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/model/write_encode.h"

#include "support_histogram.h"

#include "tide/base/mem.h"

static struct tide_labels labels(void)
{
    static struct tide_label pairs[1];

    pairs[0] = label_of("__name__", "h");
    return (struct tide_labels){pairs, 1};
}

static struct tide_write_scanner *scanner_new(void)
{
    struct tide_write_scanner *scanner;

    assert_int_equal(tide_write_scanner_new(&tide_write_limits_default, &scanner), TIDE_OK);
    return scanner;
}

/* ---- What comes back ---- */

#define COUNT 12u

static void encode(enum tide_write_version version, const struct tide_write_histograms *histograms,
                   struct tide_buf *out)
{
    struct tide_write_v2_encoder *encoder;

    if (version == TIDE_WRITE_V1) {
        tide_write_encode_histograms(out, labels(), histograms);
        return;
    }
    encoder = tide_write_v2_encoder_new();
    tide_write_v2_encode_histograms(encoder, labels(), histograms);
    assert_int_equal(tide_write_v2_encode_end(encoder, out), TIDE_OK);
    tide_write_v2_encoder_free(encoder);
}

static void check_round_trip(struct tide_write_scanner *scanner, enum tide_write_version version,
                             bool integers, uint64_t *seed)
{
    struct random_histogram rooms[COUNT];
    struct tide_histogram items[COUNT];
    int64_t times[COUNT];
    struct tide_write_histograms histograms = {times, items, random_below(seed, COUNT + 1),
                                               integers};
    struct tide_write_item item;
    struct tide_buf body = {0};
    struct tide_diag diag = {""};

    for (size_t i = 0; i < COUNT; i++) {
        items[i] = random_histogram(seed, integers, &rooms[i]);
        times[i] = (int64_t)random_next(seed);
    }
    encode(version, &histograms, &body);
    assert_int_equal(tide_write_scanner_start(scanner, version, tide_buf_view(&body), NULL),
                     TIDE_OK);
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
    assert_int_equal(item.histogram_count, histograms.count);
    assert_int_equal(item.sample_count, 0);
    for (size_t n = 0; n < 2 * histograms.count; n++) { /* In order, then in any. */
        size_t k = n < histograms.count ? n : random_below(seed, histograms.count);
        struct tide_histogram h;
        int64_t ts_ms;

        if (tide_write_histogram(scanner, &item, k, &ts_ms, &h, &diag) != TIDE_OK)
            fail_msg("%s", diag.text);
        assert_int_equal(ts_ms, times[k]);
        assert_true(tide_histogram_eq(&h, &items[k]));
    }
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_END);
    tide_buf_deinit(&body);
}

static void test_write_histogram__comes_back_from_both_versions(void **state)
{
    struct tide_write_scanner *scanner = scanner_new();
    uint64_t seed = 3;

    (void)state;
    for (int i = 0; i < 800; i++)
        check_round_trip(scanner, i % 2 ? TIDE_WRITE_V1 : TIDE_WRITE_V2, i % 4 < 2, &seed);
    tide_write_scanner_free(scanner);
}

/* ---- Single records ---- */

/* The first histogram of a 1.0 series with this record. Its arrays live until the next call. */
static enum tide_err read_record(struct tide_slice record, struct tide_histogram *out,
                                 struct tide_diag *diag)
{
    static struct tide_write_scanner *scanner;
    static struct tide_buf body;
    struct tide_buf series = {0};
    struct tide_write_item item;
    int64_t ts_ms;

    tide_write_scanner_free(scanner);
    scanner = NULL;
    tide_buf_deinit(&body);
    if (record.ptr == NULL)
        return TIDE_END;
    scanner = scanner_new();
    tide_write_encode_labels(&series, labels());
    tide_buf_byte(&series, 4 << 3 | 2);
    tide_buf_bytes(&series, record);
    tide_buf_byte(&body, 1 << 3 | 2);
    tide_buf_bytes(&body, tide_buf_view(&series));
    tide_buf_deinit(&series);
    assert_int_equal(tide_write_scanner_start(scanner, TIDE_WRITE_V1, tide_buf_view(&body), NULL),
                     TIDE_OK);
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
    diag->text[0] = '\0';
    return tide_write_histogram(scanner, &item, 0, &ts_ms, out, diag);
}

static void forget(void)
{
    assert_int_equal(read_record((struct tide_slice){0}, NULL, NULL), TIDE_END);
}

#define RECORD(text) TIDE_SLICE(text)
#define DOUBLE_ONE "\x00\x00\x00\x00\x00\x00\xf0\x3f"
#define DOUBLE_TWO "\x00\x00\x00\x00\x00\x00\x00\x40"
#define SPAN_OF_TWO "\x5a\x04\x08\x00\x10\x02" /* positive_spans: {0, 2} */

static void test_write_histogram__integers_become_absolute(void **state)
{
    struct tide_histogram h;
    struct tide_diag diag;

    (void)state;
    /* count 5, buckets 3 and 2 as the differences 3, -1. Packed; then one by one. */
    assert_int_equal(read_record(RECORD("\x08\x05" SPAN_OF_TWO "\x62\x02\x06\x01"), &h, &diag),
                     TIDE_OK);
    assert_true(h.count == 5 && h.positive[0] == 3 && h.positive[1] == 2);
    assert_int_equal(read_record(RECORD("\x60\x06" SPAN_OF_TWO "\x60\x01\x08\x05"), &h, &diag),
                     TIDE_OK);
    assert_true(h.count == 5 && h.positive[0] == 3 && h.positive[1] == 2);
    /* Floats, one by one. A start timestamp and other fields unknown here are stepped over. */
    assert_int_equal(read_record(RECORD("\x11" DOUBLE_TWO SPAN_OF_TWO "\x69" DOUBLE_ONE
                                        "\x69" DOUBLE_TWO "\x88\x01\x07\x9a\x06\x01x"),
                                 &h, &diag),
                     TIDE_OK);
    assert_true(h.count == 2 && h.positive[0] == 1 && h.positive[1] == 2);
    /* Nothing at all: no observation. */
    assert_int_equal(read_record(RECORD("\x08\x00"), &h, &diag), TIDE_OK);
    assert_true(h.count == 0 && h.positive_count == 0);
    /* A kind of reset that is not known here says nothing. */
    assert_int_equal(read_record(RECORD("\x08\x00\x70\x09"), &h, &diag), TIDE_OK);
    assert_int_equal(h.reset, TIDE_RESET_UNKNOWN);
    assert_int_equal(read_record(RECORD("\x08\x00\x70\x03"), &h, &diag), TIDE_OK);
    assert_int_equal(h.reset, TIDE_RESET_GAUGE);
    forget();
}

static void test_write_histogram__refuses_bad_ones_with_a_reason(void **state)
{
    const struct {
        struct tide_slice record;
        const char *why;
    } cases[] = {
        {RECORD("\x08\x06" SPAN_OF_TWO "\x62\x02\x06\x01"), "less than its count"},
        {RECORD("\x08\x04" SPAN_OF_TWO "\x62\x02\x06\x01"), "more than its count"},
        {RECORD("\x08\x05\x30\x01" SPAN_OF_TWO "\x62\x02\x06\x01"), "more than its count"},
        {RECORD("\x08\x05" SPAN_OF_TWO "\x62\x02\x06\x09"), "negative count"},
        {RECORD("\x08\x05" SPAN_OF_TWO "\x62\x01\x0a"), "another number of buckets"},
        {RECORD("\x08\x05" SPAN_OF_TWO "\x6a\x08" DOUBLE_ONE), "buckets are floats"},
        {RECORD("\x11" DOUBLE_TWO SPAN_OF_TWO "\x62\x02\x06\x01"), "buckets are integers"},
        {RECORD("\x11" DOUBLE_TWO SPAN_OF_TWO "\x6a\x07_______"), "cut off"},
        {RECORD("\x11" DOUBLE_TWO SPAN_OF_TWO "\x62\x01\xff"), "varint"},
        {RECORD("\x11"), "cut off"},
        {RECORD("\x08\x00\x20\x12"), "schema"},
        {RECORD("\x08\x00\x20\xfe\xff\xff\xff\xff\x01"), "schema is out of range"},
        {RECORD("\x0d____"), "wire type"},
        {RECORD("\x08\x00\x5a\x06\x08\xfe\xff\xff\xff\x1f"), "out of range"},
        {RECORD("\x08\x00\x5a\x02\x0d_"), "wire type"},
        {RECORD("\x08\x00\x5a\x03\x10\x91\x4e"), "too many buckets"},
        {RECORD("\x62\x16\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\xfe\xff\xff\xff\xff\xff\xff\xff"
                "\xff\x01\x02\x02"),
         "overflow"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tide_histogram h;
        struct tide_diag diag;
        enum tide_err err = read_record(cases[i].record, &h, &diag);

        if (err != TIDE_ERR_INVALID || strstr(diag.text, cases[i].why) == NULL)
            fail_msg("case %zu: %s", i, diag.text);
    }
    forget();
}

static void test_write_histogram__buckets_may_be_less_than_a_count_with_nan(void **state)
{
    struct tide_histogram h;
    struct tide_diag diag;

    (void)state;
    assert_int_equal(read_record(RECORD("\x08\x06\x19\x01\x00\x00\x00\x00\x00\xf8\x7f" SPAN_OF_TWO
                                        "\x62\x02\x06\x01"),
                                 &h, &diag),
                     TIDE_OK);
    assert_int_equal(read_record(RECORD("\x08\x04\x19\x01\x00\x00\x00\x00\x00\xf8\x7f" SPAN_OF_TWO
                                        "\x62\x02\x06\x01"),
                                 &h, &diag),
                     TIDE_ERR_INVALID);
    forget();
}

static void test_write_histogram__a_stale_marker_needs_nothing_else(void **state)
{
    struct tide_histogram h;
    struct tide_diag diag;

    (void)state;
    /* Even with buckets that do not add up. */
    assert_int_equal(read_record(RECORD("\x19\x02\x00\x00\x00\x00\x00\xf0\x7f" SPAN_OF_TWO
                                        "\x62\x02\x06\x01\x78\x05"),
                                 &h, &diag),
                     TIDE_OK);
    assert_true(tide_histogram_is_stale(&h));
    assert_int_equal(h.positive_count, 0);
    forget();
}

static void test_write_histogram__count_against_the_samples_of_a_body(void **state)
{
    struct tide_write_limits limits = tide_write_limits_default;
    struct tide_histogram items[4] = {{0}};
    int64_t times[4] = {1, 2, 3, 4};
    struct tide_write_histograms histograms = {times, items, 4, true};
    struct tide_write_scanner *scanner;
    struct tide_write_item item;

    (void)state;
    limits.samples_max = 3;
    assert_int_equal(tide_write_scanner_new(&limits, &scanner), TIDE_OK);
    for (int version = TIDE_WRITE_V1; version <= TIDE_WRITE_V2; version++) {
        struct tide_buf body = {0};

        encode((enum tide_write_version)version, &histograms, &body);
        assert_int_equal(tide_write_scanner_start(scanner, (enum tide_write_version)version,
                                                  tide_buf_view(&body), NULL),
                         TIDE_OK);
        assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_ERR_TOO_LARGE);
        tide_buf_deinit(&body);
    }
    tide_write_scanner_free(scanner);
}

static void test_write_histogram__survives_each_failed_allocation(void **state)
{
    uint64_t seed = 8;
    struct random_histogram room;
    struct tide_histogram sent = random_histogram(&seed, false, &room);
    int64_t ts_ms = 7;
    struct tide_write_histograms histograms = {&ts_ms, &sent, 1, false};
    struct tide_buf body = {0};

    (void)state;
    encode(TIDE_WRITE_V1, &histograms, &body);
    for (int nth = 1;; nth++) {
        struct tide_write_scanner *scanner = scanner_new();
        struct tide_write_item item;
        struct tide_histogram h;
        enum tide_err err;
        bool fired;

        assert_int_equal(
            tide_write_scanner_start(scanner, TIDE_WRITE_V1, tide_buf_view(&body), NULL), TIDE_OK);
        assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
        tide_test_mem_fail_nth(nth);
        err = tide_write_histogram(scanner, &item, 0, &ts_ms, &h, NULL);
        fired = tide_test_mem_fired();
        tide_test_mem_fail_nth(0);
        assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
        tide_write_scanner_free(scanner);
        if (!fired)
            break;
    }
    tide_buf_deinit(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_histogram__comes_back_from_both_versions),
        cmocka_unit_test(test_write_histogram__integers_become_absolute),
        cmocka_unit_test(test_write_histogram__refuses_bad_ones_with_a_reason),
        cmocka_unit_test(test_write_histogram__buckets_may_be_less_than_a_count_with_nan),
        cmocka_unit_test(test_write_histogram__a_stale_marker_needs_nothing_else),
        cmocka_unit_test(test_write_histogram__count_against_the_samples_of_a_body),
        cmocka_unit_test(test_write_histogram__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
