/* Seeded native histograms for tests: valid ones of all kinds. */
#ifndef TIDE_MODEL_SUPPORT_HISTOGRAM_H
#define TIDE_MODEL_SUPPORT_HISTOGRAM_H

#include "support_random.h"

#include "tide/model/histogram.h"
#include "tide/model/sample.h"

#define RANDOM_SPANS 5u
#define RANDOM_BUCKETS (RANDOM_SPANS * 4u)

/* The arrays of one random histogram. */
struct random_histogram {
    struct tide_span spans[2][RANDOM_SPANS];
    double buckets[2][RANDOM_BUCKETS];
    double custom[RANDOM_BUCKETS * 2];
};

static inline double random_count(uint64_t *seed, bool integers)
{
    if (integers)
        return (double)(random_next(seed) >> (11 + random_below(seed, 53)));
    switch (random_below(seed, 6)) {
    case 0:
        return tide_value(TIDE_NAN_BITS);
    case 1:
        return -0.0;
    case 2:
        return (double)random_below(seed, 100);
    default:
        return (double)(random_next(seed) >> 11) / 1e9;
    }
}

static inline uint32_t random_spans(uint64_t *seed, struct tide_span *spans, bool custom,
                                    uint32_t *buckets, int64_t *end)
{
    uint32_t count = (uint32_t)random_below(seed, RANDOM_SPANS + 1);

    *buckets = 0;
    *end = 0;
    for (uint32_t i = 0; i < count; i++) {
        spans[i].offset = (int32_t)random_below(seed, 4);
        if (i == 0 && !custom)
            spans[i].offset = (int32_t)random_below(seed, 4000) - 2000;
        spans[i].length = (uint32_t)random_below(seed, 5);
        *buckets += spans[i].length;
        *end += spans[i].offset + (int64_t)spans[i].length;
    }
    return count;
}

/* A histogram that passes the check; one in ten is a stale marker. With integers its buckets add up
 * to its count. */
static inline struct tide_histogram random_histogram(uint64_t *seed, bool integers,
                                                     struct random_histogram *r)
{
    bool custom = random_below(seed, 4) == 0;
    struct tide_histogram h = {.reset = (enum tide_counter_reset)random_below(seed, 4)};
    int64_t end;

    if (random_below(seed, 10) == 0)
        return (struct tide_histogram){.sum = tide_value(TIDE_STALE_BITS)};
    h.positive_spans = r->spans[0];
    h.positive = r->buckets[0];
    h.positive_span_count = random_spans(seed, r->spans[0], custom, &h.positive_count, &end);
    h.sum = random_below(seed, 5) == 0 ? tide_value(TIDE_NAN_BITS)
                                       : (double)random_below(seed, 1000) / 8 - 50;
    if (custom) {
        h.schema = TIDE_HISTOGRAM_SCHEMA_CUSTOM;
        h.custom_values = r->custom;
        h.custom_count = (uint32_t)end;
        for (uint32_t i = 0; i < h.custom_count; i++)
            r->custom[i] = (double)i * 1.25 - 3;
    } else {
        h.schema = (int32_t)random_below(seed, 13) - 4;
        h.zero_threshold = random_below(seed, 2) ? 0x1p-128 : 0;
        h.zero_count = random_count(seed, integers);
        h.negative_spans = r->spans[1];
        h.negative = r->buckets[1];
        h.negative_span_count = random_spans(seed, r->spans[1], false, &h.negative_count, &end);
    }
    h.count = integers ? 0 : random_count(seed, false);
    for (uint32_t side = 0; side < 2; side++)
        for (uint32_t i = 0; i < (side == 0 ? h.positive_count : h.negative_count); i++)
            r->buckets[side][i] = random_count(seed, integers);
    if (integers) { /* Small enough that sums are exact. */
        h.zero_count = (double)((uint64_t)h.zero_count & 0xffffffffu);
        h.count = h.zero_count;
        for (uint32_t side = 0; side < 2; side++)
            for (uint32_t i = 0; i < (side == 0 ? h.positive_count : h.negative_count); i++) {
                r->buckets[side][i] = (double)((uint64_t)r->buckets[side][i] & 0xffffffffu);
                h.count += r->buckets[side][i];
            }
    }
    return h;
}

#endif
