#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/model/write_encode.h"

#include "support_random.h"

#include "tide/base/mem.h"

#include <stdio.h>

static struct tide_write_scanner *scanner_of(const struct tide_write_limits *limits)
{
    struct tide_write_scanner *scanner;

    assert_int_equal(tide_write_scanner_new(limits, &scanner), TIDE_OK);
    return scanner;
}

/* ---- Bodies of both versions against what they were made from ---- */

#define SERIES_MAX 40
#define LABELS_MAX 12
#define SAMPLES_MAX 80
#define EXEMPLARS_MAX 3

struct model_series {
    char text[LABELS_MAX][2][16];
    struct tide_label pairs[LABELS_MAX];
    struct tide_labels labels;
    struct tide_sample samples[SAMPLES_MAX];
    size_t sample_count;
    struct tide_exemplar exemplars[EXEMPLARS_MAX];
    size_t exemplar_count;
    struct tide_metadata metadata;
    bool has_metadata;
};

static void make_series(uint64_t *seed, struct model_series *s)
{
    size_t labels = random_below(seed, LABELS_MAX - 1) + 1;

    *s = (struct model_series){0};
    s->pairs[0] = label_of("__name__", "metric_sum");
    for (size_t i = 1; i < labels; i++) {
        snprintf(s->text[i][0], sizeof(s->text[i][0]), "label%02zu", i);
        snprintf(s->text[i][1], sizeof(s->text[i][1]), "v%zu", random_below(seed, 1000));
        s->pairs[i] = label_of(s->text[i][0], s->text[i][1]);
    }
    s->labels = (struct tide_labels){s->pairs, labels};
    /* Mostly one sample, as Prometheus sends; now and then more than fits the first array. */
    s->sample_count = random_below(seed, 8) == 0 ? random_below(seed, SAMPLES_MAX) : 1;
    for (size_t i = 0; i < s->sample_count; i++) {
        s->samples[i].bits = random_below(seed, 5) == 0 ? 0 : random_next(seed);
        s->samples[i].ts_ms = random_below(seed, 5) == 0
                                  ? (int64_t)random_next(seed) /* Negative ones too. */
                                  : 1700000000000 + (int64_t)random_below(seed, 1000000);
    }
    s->exemplar_count = random_below(seed, EXEMPLARS_MAX + 1);
    for (size_t i = 0; i < s->exemplar_count; i++)
        s->exemplars[i] = (struct tide_exemplar){
            {s->pairs, random_below(seed, 2) == 0 ? 0 : 1}, -5, random_next(seed)};
    s->has_metadata = random_below(seed, 2) == 0;
    if (s->has_metadata)
        s->metadata = (struct tide_metadata){TIDE_SLICE("metric"), TIDE_KIND_SUMMARY,
                                             TIDE_SLICE("Help."), TIDE_SLICE("seconds")};
}

static void check_series(struct tide_write_scanner *scanner, const struct tide_write_item *item,
                         const struct model_series *s)
{
    struct tide_labels labels;
    struct tide_diag diag = {""};

    assert_int_equal(item->kind, TIDE_WRITE_SERIES);
    assert_int_equal(item->sample_count, s->sample_count);
    for (size_t i = 0; i < s->sample_count; i++) {
        assert_int_equal(item->samples[i].ts_ms, s->samples[i].ts_ms);
        assert_int_equal(item->samples[i].bits, s->samples[i].bits);
    }
    if (tide_write_labels(scanner, item, &labels, &diag) != TIDE_OK)
        fail_msg("%s", diag.text);
    assert_true(tide_labels_eq(labels, s->labels));
    assert_int_equal(item->exemplar_count, s->exemplar_count);
    for (size_t i = s->exemplar_count; i-- > 0;) { /* Backwards, and each twice. */
        for (int twice = 0; twice < 2; twice++) {
            struct tide_exemplar e;

            assert_int_equal(tide_write_exemplar(scanner, item, i, &e, NULL), TIDE_OK);
            assert_int_equal(e.ts_ms, s->exemplars[i].ts_ms);
            assert_int_equal(e.bits, s->exemplars[i].bits);
            assert_true(tide_labels_eq(e.labels, s->exemplars[i].labels));
        }
    }
}

static void check_metadata(const struct tide_metadata *got, const struct tide_metadata *expected)
{
    assert_int_equal(got->kind, expected->kind);
    assert_true(tide_slice_eq(got->metric, expected->metric));
    assert_true(tide_slice_eq(got->help, expected->help));
    assert_true(tide_slice_eq(got->unit, expected->unit));
}

static void check_v1(struct tide_write_scanner *scanner, const struct model_series *series,
                     size_t count)
{
    struct tide_buf body = {0};
    struct tide_buf records = {0};
    struct tide_write_item item;

    for (size_t i = 0; i < count; i++) {
        tide_write_encode_series(&body, series[i].labels, series[i].samples, series[i].sample_count,
                                 series[i].exemplars, series[i].exemplar_count);
        if (series[i].has_metadata)
            tide_write_encode_metadata(&body, &series[i].metadata);
    }
    assert_int_equal(tide_write_scanner_start(scanner, TIDE_WRITE_V1, tide_buf_view(&body), NULL),
                     TIDE_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
        assert_int_equal(item.index, i);
        check_series(scanner, &item, &series[i]);
        records.len = 0;
        tide_write_encode_labels(&records, series[i].labels);
        assert_true(tide_slice_eq(item.wire_labels, tide_buf_view(&records)));
        if (series[i].has_metadata) {
            assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
            assert_int_equal(item.kind, TIDE_WRITE_METADATA);
            check_metadata(&item.metadata, &series[i].metadata);
        }
    }
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_END);
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_END);
    tide_buf_deinit(&body);
    tide_buf_deinit(&records);
}

static void check_v2(struct tide_write_scanner *scanner, struct tide_write_v2_encoder *encoder,
                     const struct model_series *series, size_t count)
{
    struct tide_buf body = {0};
    struct tide_write_item item;

    for (size_t i = 0; i < count; i++)
        tide_write_v2_encode_series(encoder, series[i].labels, series[i].samples,
                                    series[i].sample_count, series[i].exemplars,
                                    series[i].exemplar_count,
                                    series[i].has_metadata ? &series[i].metadata : NULL);
    assert_int_equal(tide_write_v2_encode_end(encoder, &body), TIDE_OK);
    assert_int_equal(tide_write_scanner_start(scanner, TIDE_WRITE_V2, tide_buf_view(&body), NULL),
                     TIDE_OK);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
        assert_int_equal(item.index, i);
        assert_int_equal(item.wire_labels.len, 0);
        check_series(scanner, &item, &series[i]);
        assert_int_equal(item.has_metadata, series[i].has_metadata);
        if (item.has_metadata) /* "metric_sum" of a summary belongs to "metric". */
            check_metadata(&item.metadata, &series[i].metadata);
    }
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_END);
    tide_buf_deinit(&body);
}

static void test_write_request__reads_what_was_written_in_both_versions(void **state)
{
    static struct model_series series[SERIES_MAX];
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);
    struct tide_write_v2_encoder *encoder = tide_write_v2_encoder_new();
    uint64_t seed = 37;

    (void)state;
    for (int round = 0; round < 60; round++) {
        size_t count = random_below(&seed, SERIES_MAX);

        for (size_t i = 0; i < count; i++)
            make_series(&seed, &series[i]);
        check_v1(scanner, series, count);
        check_v2(scanner, encoder, series, count);
    }
    tide_write_v2_encoder_free(encoder);
    tide_write_scanner_free(scanner);
}

/* ---- Wire forms ---- */

/* A body as text: bytes in a string literal. */
#define BODY(literal) TIDE_SLICE(literal)

static void start(struct tide_write_scanner *scanner, enum tide_write_version version,
                  struct tide_slice body)
{
    struct tide_diag diag = {""};

    if (tide_write_scanner_start(scanner, version, body, &diag) != TIDE_OK)
        fail_msg("%s", diag.text);
}

#define NAME_A                                                                                     \
    "\x0a\x0d\x0a\x08"                                                                             \
    "__name__\x12\x01"                                                                             \
    "a"
#define LABEL_BC                                                                                   \
    "\x0a\x06\x0a\x01"                                                                             \
    "b\x12\x01"                                                                                    \
    "c"
#define SAMPLE_1_AT_2 "\x12\x0b\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x10\x02"

static void test_write_request__takes_fields_in_any_order(void **state)
{
    const struct {
        struct tide_slice body;
        bool one_run;
    } cases[] = {
        {BODY("\x0a\x24" NAME_A LABEL_BC SAMPLE_1_AT_2), true},
        {BODY("\x0a\x24" SAMPLE_1_AT_2 NAME_A LABEL_BC), true},
        {BODY("\x0a\x24" NAME_A SAMPLE_1_AT_2 LABEL_BC), false},
        /* The tag of the first label in two bytes. */
        {BODY("\x0a\x25\x8a\x00\x0d\x0a\x08__name__\x12\x01"
              "a" LABEL_BC SAMPLE_1_AT_2),
         false},
        /* Unknown fields of each wire type, in the series and in the request. */
        {BODY("\x78\x01\x0a\x3b\x78\x80\x01\x79________\x7a\x02__\x7d____" NAME_A LABEL_BC
              "\x78\x01" SAMPLE_1_AT_2),
         true},
        /* Value and timestamp twice: the last ones count; time first. */
        {BODY("\x0a\x2f" NAME_A LABEL_BC "\x12\x16\x10\x07\x09________\x09\x00\x00\x00\x00\x00\x00"
              "\xf0\x3f\x10\x02"),
         true},
        /* Names and values twice, value first. */
        {BODY("\x0a\x2a" NAME_A "\x0a\x0c\x12\x01x\x0a\x01x\x0a\x01"
              "b\x12\x01"
              "c" SAMPLE_1_AT_2),
         true},
    };
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tide_write_item item;
        struct tide_labels labels;
        struct tide_diag diag = {""};

        start(scanner, TIDE_WRITE_V1, cases[i].body);
        if (tide_write_next(scanner, &item, &diag) != TIDE_OK)
            fail_msg("case %zu: %s", i, diag.text);
        assert_int_equal(item.sample_count, 1);
        assert_int_equal(item.samples[0].ts_ms, 2);
        assert_true(tide_value(item.samples[0].bits) == 1.0);
        assert_int_equal(item.wire_labels.len > 0, cases[i].one_run);
        if (tide_write_labels(scanner, &item, &labels, &diag) != TIDE_OK)
            fail_msg("case %zu: %s", i, diag.text);
        assert_int_equal(labels.count, 2);
        assert_true(tide_slice_eq(tide_labels_get(labels, TIDE_SLICE("b")), TIDE_SLICE("c")));
        assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_END);
    }
    tide_write_scanner_free(scanner);
}

static void test_write_request__counts_histograms_and_reads_defaults(void **state)
{
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);
    struct tide_write_item item;

    (void)state;
    start(scanner, TIDE_WRITE_V1, BODY("\x0a\x06\x22\x02__\x12\x00"));
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
    assert_int_equal(item.histogram_count, 1);
    assert_int_equal(item.sample_count, 1);
    assert_int_equal(item.samples[0].ts_ms, 0);
    assert_int_equal(item.samples[0].bits, 0);
    start(scanner, TIDE_WRITE_V1, (struct tide_slice){0});
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_END);
    start(scanner, TIDE_WRITE_V2, (struct tide_slice){0});
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_END);
    tide_write_scanner_free(scanner);
}

/* V2 table: "", __name__, a, b, c, and bytes that are not UTF-8. */
#define SYMBOLS                                                                                    \
    "\x22\x00\x22\x08__name__\x22\x01"                                                             \
    "a\x22\x01"                                                                                    \
    "b\x22\x01"                                                                                    \
    "c\x22\x02\xff\xfe"

static void test_write_request__v2_takes_references_packed_or_not(void **state)
{
    const struct tide_slice cases[] = {
        BODY(SYMBOLS "\x2a\x13\x0a\x04\x01\x02\x03\x04" SAMPLE_1_AT_2),
        BODY(SYMBOLS "\x2a\x15\x08\x01\x08\x02\x08\x03\x08\x04" SAMPLE_1_AT_2),
        BODY(SYMBOLS "\x2a\x15\x0a\x02\x01\x02" SAMPLE_1_AT_2 "\x0a\x02\x03\x04"),
        /* Symbols behind the series. */
        BODY("\x2a\x13\x0a\x04\x01\x02\x03\x04" SAMPLE_1_AT_2 SYMBOLS),
        /* Start and created timestamps are skipped. */
        BODY(SYMBOLS "\x2a\x17\x0a\x04\x01\x02\x03\x04\x12\x0d\x09\x00\x00\x00\x00\x00\x00\xf0\x3f"
                     "\x10\x02\x18\x05\x30\x07"),
    };
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tide_write_item item;
        struct tide_labels labels = {0};
        struct tide_diag diag = {""};

        start(scanner, TIDE_WRITE_V2, cases[i]);
        if (tide_write_next(scanner, &item, &diag) != TIDE_OK ||
            tide_write_labels(scanner, &item, &labels, &diag) != TIDE_OK)
            fail_msg("case %zu: %s", i, diag.text);
        assert_int_equal(item.sample_count, 1);
        assert_int_equal(item.samples[0].ts_ms, 2);
        assert_true(tide_slice_eq(tide_labels_get(labels, TIDE_SLICE("b")), TIDE_SLICE("c")));
    }
    tide_write_scanner_free(scanner);
}

/* ---- Bad series ---- */

/* Reads the first item and its labels; answers the message. */
static void check_bad_labels(struct tide_write_scanner *scanner, enum tide_write_version version,
                             struct tide_slice body, const char *message)
{
    struct tide_write_item item;
    struct tide_labels labels;
    struct tide_diag diag = {""};

    start(scanner, version, body);
    assert_int_equal(tide_write_next(scanner, &item, &diag), TIDE_OK);
    assert_int_equal(tide_write_labels(scanner, &item, &labels, &diag), TIDE_ERR_INVALID);
    assert_string_equal(diag.text, message);
}

static void test_write_request__names_the_label_that_is_bad(void **state)
{
    const struct {
        struct tide_label pairs[3];
        size_t count;
        const char *message;
    } cases[] = {
        {{{TIDE_SLICE("job"), TIDE_SLICE("a")}},
         1,
         "series 0 {job=\"a\"}: has no metric name (label __name__)"},
        {{{TIDE_SLICE("__name__"), TIDE_SLICE("x")},
          {TIDE_SLICE("b"), TIDE_SLICE("1")},
          {TIDE_SLICE("b"), TIDE_SLICE("2")}},
         3,
         "series 0 x{b=\"1\"}: label \"b\" is repeated"},
        {{{TIDE_SLICE("__name__"), TIDE_SLICE("x")}, {TIDE_SLICE("A"), TIDE_SLICE("1")}},
         2,
         "series 0 x: label \"A\" is out of order: labels must be sorted by name"},
        {{{TIDE_SLICE("__name__"), TIDE_SLICE("")}},
         1,
         "series 0 {}: label \"__name__\" has an empty value"},
        {{{TIDE_SLICE("__name__"), TIDE_SLICE("x")}, {TIDE_SLICE(""), TIDE_SLICE("1")}},
         2,
         "series 0 x: a label has an empty name"},
        {{{TIDE_SLICE("__name__"), TIDE_SLICE("x")}, {TIDE_SLICE("b"), TIDE_SLICE("\xff")}},
         2,
         "series 0 x: label \"b\" has a value that is not valid UTF-8"},
        {{{TIDE_SLICE("__name__"), TIDE_SLICE("x")}, {TIDE_SLICE("b\xc3"), TIDE_SLICE("y")}},
         2,
         "series 0 x: label \"b\\xc3\" has a name that is not valid UTF-8"},
        {{{TIDE_SLICE("__name__"), TIDE_SLICE("x")}, {TIDE_SLICE("bbbbbbbbb"), TIDE_SLICE("y")}},
         2,
         "series 0 x: label \"bbbbbbbbb\" has a name that is too long"},
        {{{TIDE_SLICE("__name__"), TIDE_SLICE("123456789")}},
         1,
         "series 0 {}: label \"__name__\" has a value that is too long"},
        {{{TIDE_SLICE("__name__"), TIDE_SLICE("x")},
          {TIDE_SLICE("b"), TIDE_SLICE("1")},
          {TIDE_SLICE("c"), TIDE_SLICE("2")}},
         3,
         "series 0 x{b=\"1\"}: has more labels than are accepted"},
    };
    struct tide_write_limits limits = tide_write_limits_default;
    struct tide_write_scanner *scanner;
    struct tide_write_v2_encoder *encoder = tide_write_v2_encoder_new();

    (void)state;
    limits.label_name_bytes_max = 8;
    limits.label_value_bytes_max = 8;
    limits.labels_per_series_max = 2;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tide_labels labels = {cases[i].pairs, cases[i].count};
        struct tide_buf v1 = {0};
        struct tide_buf v2 = {0};

        /* The one about too many labels needs the bound; the others must not meet it first. */
        limits.labels_per_series_max = i + 1 == sizeof(cases) / sizeof(cases[0]) ? 2 : 64;
        scanner = scanner_of(&limits);
        tide_write_encode_series(&v1, labels, NULL, 0, NULL, 0);
        check_bad_labels(scanner, TIDE_WRITE_V1, tide_buf_view(&v1), cases[i].message);
        tide_write_v2_encode_series(encoder, labels, NULL, 0, NULL, 0, NULL);
        assert_int_equal(tide_write_v2_encode_end(encoder, &v2), TIDE_OK);
        if (i + 1 < sizeof(cases) / sizeof(cases[0]))
            check_bad_labels(scanner, TIDE_WRITE_V2, tide_buf_view(&v2), cases[i].message);
        else /* Told before any label is read. */
            check_bad_labels(scanner, TIDE_WRITE_V2, tide_buf_view(&v2),
                             "series 0 {}: has more labels than are accepted");
        tide_buf_deinit(&v1);
        tide_buf_deinit(&v2);
        tide_write_scanner_free(scanner);
    }
    tide_write_v2_encoder_free(encoder);
}

static void test_write_request__a_bad_series_leaves_the_others_good(void **state)
{
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);
    struct tide_write_item item;
    struct tide_labels labels;

    (void)state;
    /* The first series has a label record whose inside is broken. */
    start(scanner, TIDE_WRITE_V1,
          BODY("\x0a\x04\x0a\x02\x0a\x7f\x0a\x24" NAME_A LABEL_BC SAMPLE_1_AT_2));
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
    assert_int_equal(tide_write_labels(scanner, &item, &labels, NULL), TIDE_ERR_INVALID);
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
    assert_int_equal(tide_write_labels(scanner, &item, &labels, NULL), TIDE_OK);
    tide_write_scanner_free(scanner);
}

static void test_write_request__v2_names_bad_references(void **state)
{
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);

    (void)state;
    check_bad_labels(scanner, TIDE_WRITE_V2, BODY(SYMBOLS "\x2a\x05\x0a\x03\x01\x02\x03"),
                     "series 0 {}: has an odd number of label references");
    check_bad_labels(scanner, TIDE_WRITE_V2, BODY(SYMBOLS "\x2a\x06\x0a\x04\x01\x02\x03\x06"),
                     "series 0 a: has a label reference past the end of the symbol table");
    check_bad_labels(scanner, TIDE_WRITE_V2,
                     BODY(SYMBOLS "\x2a\x0b\x0a\x09\x01\x02\x03\x81\x80\x80\x80\x80\x01"),
                     "series 0 a: has a label reference past the end of the symbol table");
    check_bad_labels(scanner, TIDE_WRITE_V2, BODY(SYMBOLS "\x2a\x06\x0a\x04\x01\x02\x03\x05"),
                     "series 0 a: label \"b\" has a value that is not valid UTF-8");
    check_bad_labels(scanner, TIDE_WRITE_V2,
                     BODY(SYMBOLS "\x2a\x08\x0a\x02\x01\x02\x2a\x02\x18\x09"),
                     "series 0 a: has a metadata reference past the end of the symbol table");
    check_bad_labels(scanner, TIDE_WRITE_V2,
                     BODY(SYMBOLS "\x2a\x08\x0a\x02\x01\x02\x2a\x02\x20\x05"),
                     "series 0 a: has metadata that is not valid UTF-8");
    tide_write_scanner_free(scanner);
}

static void test_write_request__messages_are_cut_but_stay_utf8(void **state)
{
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);
    struct tide_buf body = {0};
    struct tide_buf value = {0};
    struct tide_label pairs[2];
    struct tide_write_item item;
    struct tide_labels labels;
    struct tide_diag diag = {""};

    (void)state;
    for (int i = 0; i < 1000; i++)
        tide_buf_str(&value, "\xc3\xa9");
    pairs[0] = (struct tide_label){TIDE_SLICE("a"), tide_buf_view(&value)};
    pairs[1] = (struct tide_label){{value.ptr, 1000}, {0}};
    tide_write_encode_series(&body, (struct tide_labels){pairs, 2}, NULL, 0, NULL, 0);
    start(scanner, TIDE_WRITE_V1, tide_buf_view(&body));
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
    assert_int_equal(tide_write_labels(scanner, &item, &labels, &diag), TIDE_ERR_INVALID);
    assert_true(tide_slice_is_utf8(tide_slice_str(diag.text)));
    assert_non_null(strstr(diag.text, "has an empty value"));
    assert_true(strlen(diag.text) < 320);
    tide_buf_deinit(&body);
    tide_buf_deinit(&value);
    tide_write_scanner_free(scanner);
}

/* ---- Exemplars ---- */

static void check_exemplar(struct tide_labels labels, enum tide_err expected, const char *message)
{
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);
    struct tide_label pairs[] = {label_of("__name__", "x")};
    struct tide_exemplar e = {labels, 7, 0};
    struct tide_buf body = {0};
    struct tide_write_item item;
    struct tide_exemplar out;
    struct tide_diag diag = {""};

    tide_write_encode_series(&body, (struct tide_labels){pairs, 1}, NULL, 0, &e, 1);
    start(scanner, TIDE_WRITE_V1, tide_buf_view(&body));
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
    assert_int_equal(tide_write_exemplar(scanner, &item, 0, &out, &diag), expected);
    assert_string_equal(diag.text, message);
    if (expected == TIDE_OK)
        for (size_t i = 1; i < out.labels.count; i++)
            assert_true(tide_slice_cmp(out.labels.pairs[i - 1].name, out.labels.pairs[i].name) < 0);
    tide_buf_deinit(&body);
    tide_write_scanner_free(scanner);
}

static void test_write_request__exemplar_labels_are_sorted_and_bounded(void **state)
{
    char longest[127] = "";
    struct tide_label unsorted[] = {label_of("b", "1"), label_of("c", ""), label_of("a", "2")};
    struct tide_label twice[] = {label_of("b", "1"), label_of("a", "1"), label_of("b", "2")};
    struct tide_label nameless[] = {label_of("", "1")};
    struct tide_label full[] = {label_of("id", longest)};
    struct tide_label over[] = {label_of("id", longest), label_of("b", "1")};

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    full[0].value = tide_slice_str(longest);
    over[0].value = tide_slice_str(longest);
    check_exemplar((struct tide_labels){unsorted, 3}, TIDE_OK, "");
    check_exemplar((struct tide_labels){full, 1}, TIDE_OK, "");
    check_exemplar((struct tide_labels){twice, 3}, TIDE_ERR_INVALID,
                   "series 0 {}, exemplar 0: label \"b\" is repeated");
    check_exemplar((struct tide_labels){nameless, 1}, TIDE_ERR_INVALID,
                   "series 0 {}, exemplar 0: a label has an empty name");
    check_exemplar((struct tide_labels){over, 2}, TIDE_ERR_INVALID,
                   "series 0 {}, exemplar 0: labels are longer than 128 characters");
}

/* ---- Malformed bodies ---- */

/* Walks the whole body and reads all there is; answers the first error of the walk itself. */
static enum tide_err walk(struct tide_write_scanner *scanner, enum tide_write_version version,
                          struct tide_slice body, struct tide_diag *diag)
{
    struct tide_write_item item;
    enum tide_err err = tide_write_scanner_start(scanner, version, body, diag);

    while (err == TIDE_OK) {
        struct tide_labels labels;
        struct tide_exemplar exemplar;

        err = tide_write_next(scanner, &item, diag);
        if (err != TIDE_OK)
            break;
        if (item.kind == TIDE_WRITE_SERIES) {
            enum tide_err label_err = tide_write_labels(scanner, &item, &labels, NULL);

            assert_true(label_err == TIDE_OK || label_err == TIDE_ERR_INVALID);
        }
        for (size_t k = 0; k < item.exemplar_count; k++)
            (void)!tide_write_exemplar(scanner, &item, k, &exemplar, NULL);
    }
    return err;
}

static void test_write_request__says_where_a_body_is_malformed(void **state)
{
    const struct {
        enum tide_write_version version;
        struct tide_slice body;
        const char *message;
    } cases[] = {
        {TIDE_WRITE_V1, BODY("\x0a"), "malformed body at byte 1: a varint is cut off"},
        {TIDE_WRITE_V1, BODY("\x0a\x05\x0a"),
         "malformed body at byte 1: a length goes past the end"},
        {TIDE_WRITE_V1, BODY("\x0a\x02\x0a\x05"),
         "malformed body at byte 4, in series 0: a length goes past the end"},
        {TIDE_WRITE_V1, BODY("\x0a\x00\x0a\x03\x12\x01\x09"),
         "malformed body at byte 7, in series 1: a 64-bit value is cut off"},
        {TIDE_WRITE_V1, BODY("\x0a\x04\x12\x02\x10\x80"),
         "malformed body at byte 5, in series 0: a varint is cut off"},
        {TIDE_WRITE_V1, BODY("\x0a\x0e\x12\x0c\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"),
         "malformed body at byte 5, in series 0: a varint is longer than 64 bits"},
        {TIDE_WRITE_V1, BODY("\x0a\x0d\x12\x0b\x10\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02"),
         "malformed body at byte 5, in series 0: a varint is longer than 64 bits"},
        {TIDE_WRITE_V1, BODY("\x08\x01"),
         "malformed body at byte 1: a field has the wrong wire type"},
        {TIDE_WRITE_V1, BODY("\x0a\x02\x10\x01"),
         "malformed body at byte 3, in series 0: a field has the wrong wire type"},
        {TIDE_WRITE_V1, BODY("\x0a\x02\x08\x01"),
         "malformed body at byte 3, in series 0: a field has the wrong wire type"},
        {TIDE_WRITE_V1, BODY("\x02\x00"),
         "malformed body at byte 1: a field number is out of range"},
        {TIDE_WRITE_V1, BODY("\x7b\x7c"),
         "malformed body at byte 1: a field has a wire type that is not supported"},
        {TIDE_WRITE_V1, BODY("\x7e"),
         "malformed body at byte 1: a field has a wire type that is not supported"},
        {TIDE_WRITE_V1, BODY("\x1a\x02\x08\x80"),
         "malformed body at byte 3, in metadata record 0: a varint is cut off"},
        {TIDE_WRITE_V1, BODY("\x1a\x00"), "metadata record 0: no metric name"},
        {TIDE_WRITE_V1, BODY("\x1a\x03\x12\x01\xff"),
         "metadata record 0: text that is not valid UTF-8"},
        {TIDE_WRITE_V2,
         BODY("\x22\x01"
              "a"),
         "malformed body: the first symbol must be the empty string"},
        {TIDE_WRITE_V2, BODY("\x22\x00\x20\x01"),
         "malformed body at byte 3: a field has the wrong wire type"},
        {TIDE_WRITE_V2, BODY("\x2a\x03\x0a\x01\x80"),
         "malformed body at byte 4, in series 0: a varint is cut off"},
        {TIDE_WRITE_V2, BODY("\x2a\x04\x2a\x02\x18\x80"),
         "malformed body at byte 5, in series 0: a varint is cut off"},
    };
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tide_diag diag = {""};

        if (walk(scanner, cases[i].version, cases[i].body, &diag) != TIDE_ERR_INVALID)
            fail_msg("case %zu is accepted", i);
        assert_string_equal(diag.text, cases[i].message);
    }
    tide_write_scanner_free(scanner);
}

static void test_write_request__changed_and_cut_bodies_never_break_it(void **state)
{
    static struct model_series series[8];
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);
    struct tide_write_v2_encoder *encoder = tide_write_v2_encoder_new();
    struct tide_buf bodies[2] = {0};
    uint64_t seed = 41;

    (void)state;
    for (size_t i = 0; i < 8; i++) {
        make_series(&seed, &series[i]);
        tide_write_encode_series(&bodies[0], series[i].labels, series[i].samples,
                                 series[i].sample_count, series[i].exemplars,
                                 series[i].exemplar_count);
        tide_write_encode_metadata(&bodies[0], &series[i].metadata);
        tide_write_v2_encode_series(encoder, series[i].labels, series[i].samples,
                                    series[i].sample_count, series[i].exemplars,
                                    series[i].exemplar_count, &series[i].metadata);
    }
    assert_int_equal(tide_write_v2_encode_end(encoder, &bodies[1]), TIDE_OK);
    for (int i = 0; i < 20000; i++) {
        const struct tide_buf *body = &bodies[i % 2];
        size_t len = i % 3 == 0 ? random_below(&seed, body->len + 1) : body->len;
        uint8_t *copy = tide_mem_alloc(len); /* Exact, so that a read behind it is seen. */
        enum tide_err err;

        memcpy(copy, body->ptr, len);
        for (size_t k = random_below(&seed, 4); len > 0 && k > 0; k--)
            copy[random_below(&seed, len)] = (uint8_t)random_next(&seed);
        err = walk(scanner, i % 2 == 0 ? TIDE_WRITE_V1 : TIDE_WRITE_V2,
                   (struct tide_slice){copy, len}, NULL);
        assert_true(err == TIDE_END || err == TIDE_ERR_INVALID);
        tide_mem_free(copy);
    }
    tide_buf_deinit(&bodies[0]);
    tide_buf_deinit(&bodies[1]);
    tide_write_v2_encoder_free(encoder);
    tide_write_scanner_free(scanner);
}

/* ---- Limits ---- */

static void check_too_large(const struct tide_write_limits *limits, enum tide_write_version version,
                            struct tide_slice body)
{
    struct tide_write_scanner *scanner = scanner_of(limits);
    struct tide_diag diag = {""};

    assert_int_equal(walk(scanner, version, body, &diag), TIDE_ERR_TOO_LARGE);
    assert_true(strlen(diag.text) > 0);
    tide_write_scanner_free(scanner);
}

static void test_write_request__limits_bound_a_body(void **state)
{
    struct tide_write_limits limits = tide_write_limits_default;

    (void)state;
    limits.series_max = 1;
    check_too_large(&limits, TIDE_WRITE_V1, BODY("\x0a\x00\x0a\x00"));
    check_too_large(&limits, TIDE_WRITE_V2, BODY("\x2a\x00\x2a\x00"));
    limits = tide_write_limits_default;
    limits.samples_max = 2;
    check_too_large(&limits, TIDE_WRITE_V1, BODY("\x0a\x04\x12\x00\x12\x00\x0a\x02\x12\x00"));
    check_too_large(&limits, TIDE_WRITE_V2, BODY("\x2a\x06\x12\x00\x12\x00\x12\x00"));
    limits = tide_write_limits_default;
    limits.symbols_max = 1;
    check_too_large(&limits, TIDE_WRITE_V2,
                    BODY("\x22\x00\x22\x01"
                         "a"));
    limits = tide_write_limits_default;
    limits.decoded_bytes_max = 1;
    check_too_large(&limits, TIDE_WRITE_V1, BODY("\x0a\x00"));
}

static void test_write_request__a_long_reference_list_costs_no_memory(void **state)
{
    struct tide_write_scanner *scanner = scanner_of(&tide_write_limits_default);
    struct tide_buf body = {0};
    size_t count = 1000000;
    struct tide_write_item item;
    struct tide_labels labels;
    struct tide_diag diag = {""};

    (void)state;
    tide_buf_str(&body, "\x2a");
    tide_buf_uvarint(&body, count + 4);
    tide_buf_str(&body, "\x0a");
    tide_buf_uvarint(&body, count);
    memset(tide_buf_reserve(&body, count), 1, count);
    body.len += count;
    start(scanner, TIDE_WRITE_V2, tide_buf_view(&body));
    tide_test_mem_fail_nth(9); /* Doubling up to 128 references takes fewer. */
    assert_int_equal(tide_write_next(scanner, &item, NULL), TIDE_OK);
    assert_false(tide_test_mem_fired());
    tide_test_mem_fail_nth(0);
    assert_int_equal(tide_write_labels(scanner, &item, &labels, &diag), TIDE_ERR_INVALID);
    assert_string_equal(diag.text, "series 0 {}: has more labels than are accepted");
    tide_buf_deinit(&body);
    tide_write_scanner_free(scanner);
}

static void test_write_request__survives_each_failed_allocation(void **state)
{
    static struct model_series series;
    uint64_t seed = 43;
    struct tide_buf bodies[2] = {0};
    struct tide_write_v2_encoder *encoder = tide_write_v2_encoder_new();

    (void)state;
    make_series(&seed, &series);
    series.sample_count = SAMPLES_MAX; /* More than fit at first. */
    tide_write_encode_series(&bodies[0], series.labels, series.samples, series.sample_count, NULL,
                             0);
    tide_write_v2_encode_series(encoder, series.labels, series.samples, series.sample_count, NULL,
                                0, NULL);
    assert_int_equal(tide_write_v2_encode_end(encoder, &bodies[1]), TIDE_OK);
    tide_write_v2_encoder_free(encoder);
    for (int version = 0; version < 2; version++) {
        for (int nth = 1;; nth++) {
            struct tide_write_scanner *scanner = NULL;
            struct tide_write_item item;
            struct tide_labels labels;
            enum tide_err err;
            bool fired;

            tide_test_mem_fail_nth(nth);
            err = tide_write_scanner_new(&tide_write_limits_default, &scanner);
            if (err == TIDE_OK)
                err = tide_write_scanner_start(scanner, (enum tide_write_version)version,
                                               tide_buf_view(&bodies[version]), NULL);
            if (err == TIDE_OK)
                err = tide_write_next(scanner, &item, NULL);
            if (err == TIDE_OK)
                err = tide_write_labels(scanner, &item, &labels, NULL);
            fired = tide_test_mem_fired();
            tide_test_mem_fail_nth(0);
            assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
            tide_write_scanner_free(scanner);
            if (!fired)
                break;
        }
    }
    tide_buf_deinit(&bodies[0]);
    tide_buf_deinit(&bodies[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_request__reads_what_was_written_in_both_versions),
        cmocka_unit_test(test_write_request__takes_fields_in_any_order),
        cmocka_unit_test(test_write_request__counts_histograms_and_reads_defaults),
        cmocka_unit_test(test_write_request__v2_takes_references_packed_or_not),
        cmocka_unit_test(test_write_request__names_the_label_that_is_bad),
        cmocka_unit_test(test_write_request__a_bad_series_leaves_the_others_good),
        cmocka_unit_test(test_write_request__v2_names_bad_references),
        cmocka_unit_test(test_write_request__messages_are_cut_but_stay_utf8),
        cmocka_unit_test(test_write_request__exemplar_labels_are_sorted_and_bounded),
        cmocka_unit_test(test_write_request__says_where_a_body_is_malformed),
        cmocka_unit_test(test_write_request__changed_and_cut_bodies_never_break_it),
        cmocka_unit_test(test_write_request__limits_bound_a_body),
        cmocka_unit_test(test_write_request__a_long_reference_list_costs_no_memory),
        cmocka_unit_test(test_write_request__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
