/* Property: whatever the bytes, the scanner ends with TIDE_END, INVALID or TOO_LARGE; label sets it
 * gives are sorted, unique and named; every slice lies inside the body. The first byte's lowest bit
 * chooses the version. */
#include "tide/model/write_request.h"

#include "tide/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct tide_slice body, struct tide_slice s)
{
    if (s.len == 0)
        return;
    TIDE_ASSERT(s.ptr >= body.ptr);
    TIDE_ASSERT(s.ptr + s.len <= body.ptr + body.len);
}

static void check_labels(struct tide_slice body, struct tide_labels labels)
{
    for (size_t i = 0; i < labels.count; i++) {
        check_inside(body, labels.pairs[i].name);
        check_inside(body, labels.pairs[i].value);
        TIDE_ASSERT(labels.pairs[i].name.len > 0);
        TIDE_ASSERT(labels.pairs[i].value.len > 0);
        TIDE_ASSERT(tide_slice_is_utf8(labels.pairs[i].name));
        TIDE_ASSERT(tide_slice_is_utf8(labels.pairs[i].value));
        TIDE_ASSERT(i == 0 || tide_slice_cmp(labels.pairs[i - 1].name, labels.pairs[i].name) < 0);
    }
}

static void check_item(struct tide_write_scanner *scanner, struct tide_slice body,
                       const struct tide_write_item *item)
{
    struct tide_diag diag = {""};
    struct tide_labels labels;
    enum tide_err err;

    check_inside(body, item->message);
    check_inside(item->message, item->wire_labels);
    check_inside(body, item->metadata.metric);
    check_inside(body, item->metadata.help);
    check_inside(body, item->metadata.unit);
    if (item->kind == TIDE_WRITE_METADATA)
        return;
    err = tide_write_labels(scanner, item, &labels, &diag);
    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_INVALID);
    if (err == TIDE_OK) {
        check_labels(body, labels);
        TIDE_ASSERT(tide_labels_get(labels, TIDE_SLICE(TIDE_LABEL_METRIC)).len > 0);
    } else {
        TIDE_ASSERT(diag.text[0] != '\0');
        TIDE_ASSERT(tide_slice_is_utf8(tide_slice_str(diag.text)));
    }
    for (size_t k = 0; k < item->exemplar_count; k++) {
        struct tide_exemplar exemplar;

        err = tide_write_exemplar(scanner, item, k, &exemplar, NULL);
        TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_INVALID);
        if (err == TIDE_OK)
            check_labels(body, exemplar.labels);
    }
    for (size_t k = 0; k < item->histogram_count; k++) {
        struct tide_histogram h;
        int64_t ts_ms;

        err = tide_write_histogram(scanner, item, k, &ts_ms, &h, NULL);
        TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_INVALID);
        if (err == TIDE_OK)
            TIDE_ASSERT(tide_histogram_check(&h, NULL) == TIDE_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_write_limits limits = tide_write_limits_default;
    struct tide_write_scanner *scanner;
    struct tide_write_item item;
    struct tide_slice body;
    enum tide_err err;

    if (size == 0)
        return 0;
    limits.series_max = 100;
    limits.symbols_max = 100;
    limits.samples_max = 100;
    if (tide_write_scanner_new(&limits, &scanner) != TIDE_OK)
        return 0;
    body = (struct tide_slice){data + 1, size - 1};
    err = tide_write_scanner_start(scanner, (data[0] & 1) == 0 ? TIDE_WRITE_V1 : TIDE_WRITE_V2,
                                   body, NULL);
    while (err == TIDE_OK) {
        err = tide_write_next(scanner, &item, NULL);
        if (err == TIDE_OK)
            check_item(scanner, body, &item);
    }
    TIDE_ASSERT(err == TIDE_END || err == TIDE_ERR_INVALID || err == TIDE_ERR_TOO_LARGE);
    tide_write_scanner_free(scanner);
    return 0;
}
