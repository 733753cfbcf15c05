/* Native histograms in answers. Source: Prometheus 3 documentation, querying/api, "Native
 * histograms". */
#include "querier_private.h"

/* One bucket, as it is written. */
struct bucket {
    double lower;
    double upper;
    bool lower_inclusive;
    bool upper_inclusive;
    double count;
};

/* Buckets are told by their bounds and how these belong to them: 0, open to the left (lower,upper];
 * 1, open to the right; 2, open; 3, closed. The key stands there only when there is a bucket. */
static void write_bucket(struct tide_json *json, const struct bucket *b, bool *any)
{
    if (b->count == 0)
        return;
    if (!*any) {
        tide_json_key_str(json, "buckets");
        tide_json_array_begin(json);
        *any = true;
    }
    tide_json_array_begin(json);
    tide_json_u64(json,
                  b->lower_inclusive ? (b->upper_inclusive ? 3 : 1) : (b->upper_inclusive ? 0 : 2));
    tide_json_value(json, b->lower);
    tide_json_value(json, b->upper);
    tide_json_value(json, b->count);
    tide_json_array_end(json);
}

static bool is_custom(const struct tide_histogram *h)
{
    return h->schema == TIDE_HISTOGRAM_SCHEMA_CUSTOM;
}

static void write_positive(struct tide_json *json, const struct tide_histogram *h, bool *any)
{
    int64_t index = 0;
    uint32_t at = 0;

    for (uint32_t i = 0; i < h->positive_span_count; i++) {
        index += h->positive_spans[i].offset;
        for (uint32_t k = 0; k < h->positive_spans[i].length; k++, index++) {
            struct bucket b = {.lower = tide_histogram_bound(h, index - 1),
                               .upper = tide_histogram_bound(h, index),
                               .count = h->positive[at++]};

            b.lower_inclusive = is_custom(h) ? index == 0 : false;
            b.upper_inclusive = is_custom(h) || b.upper > 0;
            if (!is_custom(h) && b.lower < h->zero_threshold) /* The zero bucket holds the rest. */
                b.lower = h->zero_threshold;
            write_bucket(json, &b, any);
        }
    }
}

/* From the one farthest from zero: bounds rise over all buckets. */
static void write_negative(struct tide_json *json, const struct tide_histogram *h, bool *any)
{
    int64_t index = 0;
    uint32_t at = h->negative_count;

    for (uint32_t i = 0; i < h->negative_span_count; i++)
        index += (int64_t)h->negative_spans[i].offset + h->negative_spans[i].length;
    for (uint32_t i = h->negative_span_count; i-- > 0; index -= h->negative_spans[i].offset) {
        for (uint32_t k = 0; k < h->negative_spans[i].length; k++) {
            struct bucket b;

            index--;
            at--;
            b = (struct bucket){.lower = -tide_histogram_bound(h, index),
                                .upper = -tide_histogram_bound(h, index - 1),
                                .count = h->negative[at]};
            b.lower_inclusive = b.lower < 0;
            if (b.upper > -h->zero_threshold)
                b.upper = -h->zero_threshold;
            write_bucket(json, &b, any);
        }
    }
}

void tide__json_histogram(struct tide_json *json, int64_t ts_ms, const struct tide_histogram *h)
{
    const struct bucket zero = {-h->zero_threshold, h->zero_threshold, true, true, h->zero_count};
    bool any = false;

    tide_json_array_begin(json);
    tide_json_timestamp(json, ts_ms);
    tide_json_object_begin(json);
    tide_json_key_str(json, "count");
    tide_json_value(json, h->count);
    tide_json_key_str(json, "sum");
    tide_json_value(json, h->sum);
    if (!is_custom(h)) {
        write_negative(json, h, &any);
        if (h->zero_count > 0)
            write_bucket(json, &zero, &any);
    }
    write_positive(json, h, &any);
    if (any)
        tide_json_array_end(json);
    tide_json_object_end(json);
    tide_json_array_end(json);
}
