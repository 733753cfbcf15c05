/* Property: any bytes decode or are corrupt; what decodes is the same after encoding it again. */
#include "tide/model/push.h"

#include "tide/base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tide_histogram decode_histogram(struct tide_arena *arena, struct tide_slice bytes)
{
    struct tide_reader r = tide_reader(bytes);
    struct tide_histogram h;

    TIDE_ASSERT(tide_histogram_decode(&r, arena, &h) == TIDE_OK);
    TIDE_ASSERT(r.rest.len == 0);
    return h;
}

static void encode(const struct tide_push *p, struct tide_arena *arena, struct tide_buf *out)
{
    struct tide_push_builder b = {0};

    for (uint32_t i = 0; i < p->series_count; i++)
        tide_push_add_series(&b, p->series[i].identity, p->series[i].labels);
    for (uint32_t i = 0; i < p->sample_count; i++)
        tide_push_add_sample(&b, p->refs[i], p->times_ms[i], p->bits[i]);
    for (uint32_t i = 0; i < p->histogram_count; i++) {
        struct tide_histogram h = decode_histogram(arena, p->histograms[i]);

        tide_push_add_histogram(&b, p->histogram_refs[i], p->histogram_times_ms[i], &h);
    }
    for (uint32_t i = 0; i < p->exemplar_count; i++)
        tide_push_add_exemplar(&b, p->exemplars[i].ref, &p->exemplars[i].exemplar);
    for (uint32_t i = 0; i < p->metadata_count; i++)
        tide_push_add_metadata(&b, &p->metadata[i]);
    TIDE_ASSERT(tide_push_encode(&b, p->tenant, p->now_ms, out) == TIDE_OK);
    tide_push_builder_deinit(&b);
}

static void check_same(const struct tide_push *a, const struct tide_push *b,
                       struct tide_arena *arena)
{
    TIDE_ASSERT(tide_slice_eq(a->tenant, b->tenant));
    TIDE_ASSERT(a->now_ms == b->now_ms);
    TIDE_ASSERT(a->series_count == b->series_count);
    for (uint32_t i = 0; i < a->series_count; i++) {
        TIDE_ASSERT(tide_hash128_eq(a->series[i].identity, b->series[i].identity));
        TIDE_ASSERT(tide_labels_eq(a->series[i].labels, b->series[i].labels));
    }
    TIDE_ASSERT(a->sample_count == b->sample_count);
    for (uint32_t i = 0; i < a->sample_count; i++) {
        TIDE_ASSERT(a->refs[i] == b->refs[i]);
        TIDE_ASSERT(a->times_ms[i] == b->times_ms[i]);
        TIDE_ASSERT(a->bits[i] == b->bits[i]);
    }
    TIDE_ASSERT(a->histogram_count == b->histogram_count);
    for (uint32_t i = 0; i < a->histogram_count; i++) {
        struct tide_histogram x = decode_histogram(arena, a->histograms[i]);
        struct tide_histogram y = decode_histogram(arena, b->histograms[i]);

        TIDE_ASSERT(a->histogram_refs[i] == b->histogram_refs[i]);
        TIDE_ASSERT(a->histogram_times_ms[i] == b->histogram_times_ms[i]);
        TIDE_ASSERT(tide_histogram_eq(&x, &y));
    }
    TIDE_ASSERT(a->exemplar_count == b->exemplar_count);
    for (uint32_t i = 0; i < a->exemplar_count; i++) {
        TIDE_ASSERT(a->exemplars[i].ref == b->exemplars[i].ref);
        TIDE_ASSERT(a->exemplars[i].exemplar.ts_ms == b->exemplars[i].exemplar.ts_ms);
        TIDE_ASSERT(a->exemplars[i].exemplar.bits == b->exemplars[i].exemplar.bits);
        TIDE_ASSERT(
            tide_labels_eq(a->exemplars[i].exemplar.labels, b->exemplars[i].exemplar.labels));
    }
    TIDE_ASSERT(a->metadata_count == b->metadata_count);
    for (uint32_t i = 0; i < a->metadata_count; i++) {
        TIDE_ASSERT(a->metadata[i].kind == b->metadata[i].kind);
        TIDE_ASSERT(tide_slice_eq(a->metadata[i].metric, b->metadata[i].metric));
        TIDE_ASSERT(tide_slice_eq(a->metadata[i].help, b->metadata[i].help));
        TIDE_ASSERT(tide_slice_eq(a->metadata[i].unit, b->metadata[i].unit));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_buf again = {0};
    struct tide_push push;
    struct tide_push second;
    enum tide_err err;

    TIDE_ASSERT(arena != NULL);
    err = tide_push_decode((struct tide_slice){data, size}, arena, &push);
    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
    if (err == TIDE_OK) {
        encode(&push, arena, &again);
        TIDE_ASSERT(tide_push_decode(tide_buf_view(&again), arena, &second) == TIDE_OK);
        check_same(&push, &second, arena);
    }
    tide_buf_deinit(&again);
    tide_arena_free(arena);
    return 0;
}
