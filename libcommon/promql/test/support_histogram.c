#include "support_histogram.h"

#include "tide/base/assert.h"
#include "tide/base/number.h"

#include <math.h>

#define BUCKETS_MAX 64

static bool read_list(struct tide_slice text, struct tide_arena *arena, const double **out,
                      uint32_t *out_count)
{
    double *values = tide_arena_alloc(arena, BUCKETS_MAX * sizeof(*values));
    uint32_t count = 0;
    size_t at = 1;

    TIDE_ASSERT(values != NULL);
    if (text.len < 2 || text.ptr[0] != '[' || text.ptr[text.len - 1] != ']')
        return false;
    while (at < text.len - 1) {
        size_t end = at;

        while (end < text.len - 1 && text.ptr[end] != ' ')
            end++;
        if (end > at &&
            (count == BUCKETS_MAX ||
             !tide_number_parse((struct tide_slice){text.ptr + at, end - at}, &values[count++])))
            return false;
        at = end + 1;
    }
    *out = values;
    *out_count = count;
    return true;
}

static bool set_field(struct tide_histogram *h, struct tide_slice name, struct tide_slice value,
                      int32_t offsets[2], struct tide_arena *arena)
{
    static const char *const hints[] = {"unknown", "reset", "not_reset", "gauge"};
    double v = 0;

    if (tide_slice_eq(name, TIDE_SLICE("buckets")))
        return read_list(value, arena, &h->positive, &h->positive_count);
    if (tide_slice_eq(name, TIDE_SLICE("n_buckets")))
        return read_list(value, arena, &h->negative, &h->negative_count);
    if (tide_slice_eq(name, TIDE_SLICE("custom_values")))
        return read_list(value, arena, &h->custom_values, &h->custom_count);
    if (tide_slice_eq(name, TIDE_SLICE("hint"))) {
        for (unsigned i = 0; i < 4; i++)
            if (tide_slice_eq(value, tide_slice_str(hints[i])))
                h->reset = (enum tide_counter_reset)i;
        return true;
    }
    if (!tide_number_parse(value, &v))
        return false;
    if (tide_slice_eq(name, TIDE_SLICE("schema")))
        h->schema = (int32_t)v;
    else if (tide_slice_eq(name, TIDE_SLICE("count")))
        h->count = v;
    else if (tide_slice_eq(name, TIDE_SLICE("sum")))
        h->sum = v;
    else if (tide_slice_eq(name, TIDE_SLICE("z_bucket")))
        h->zero_count = v;
    else if (tide_slice_eq(name, TIDE_SLICE("z_bucket_w")))
        h->zero_threshold = v;
    else if (tide_slice_eq(name, TIDE_SLICE("offset")))
        offsets[0] = (int32_t)v;
    else if (tide_slice_eq(name, TIDE_SLICE("n_offset")))
        offsets[1] = (int32_t)v;
    else
        return false;
    return true;
}

static const struct tide_span *one_span(int32_t offset, uint32_t length, struct tide_arena *arena)
{
    struct tide_span *span = tide_arena_alloc(arena, sizeof(*span));

    TIDE_ASSERT(span != NULL);
    *span = (struct tide_span){offset, length};
    return span;
}

const struct tide_histogram *support_histogram(struct tide_slice text, struct tide_arena *arena)
{
    struct tide_histogram *h = tide_arena_new_array(arena, 1, sizeof(*h));
    int32_t offsets[2] = {0, 0};
    size_t at = 2;

    TIDE_ASSERT(h != NULL);
    if (text.len < 4 || memcmp(text.ptr, "{{", 2) != 0 ||
        memcmp(text.ptr + text.len - 2, "}}", 2) != 0)
        return NULL;
    text.len -= 2;
    while (at < text.len) {
        size_t colon = at;
        size_t end;
        bool in_list = false;

        while (colon < text.len && text.ptr[colon] != ':')
            colon++;
        for (end = colon; end < text.len && (in_list || text.ptr[end] != ' '); end++)
            in_list = text.ptr[end] == '[' || (in_list && text.ptr[end] != ']');
        if (colon == text.len ||
            !set_field(h, (struct tide_slice){text.ptr + at, colon - at},
                       (struct tide_slice){text.ptr + colon + 1, end - colon - 1}, offsets, arena))
            return NULL;
        at = end + 1;
    }
    if (h->positive_count > 0) {
        h->positive_spans = one_span(offsets[0], h->positive_count, arena);
        h->positive_span_count = 1;
    }
    if (h->negative_count > 0) {
        h->negative_spans = one_span(offsets[1], h->negative_count, arena);
        h->negative_span_count = 1;
    }
    return h;
}

static bool near(double a, double b, double error)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= error * fmax(fabs(a), fabs(b));
}

static bool next_filled(struct tide__hist_iter *it, struct tide__hist_bucket *b)
{
    while (tide__hist_iter_next(it, b))
        if (b->count != 0)
            return true;
    return false;
}

bool support_histogram_near(const struct tide_histogram *a, const struct tide_histogram *b,
                            double error)
{
    struct tide__hist_iter x;
    struct tide__hist_iter y;
    struct tide__hist_bucket p;
    struct tide__hist_bucket q;
    bool more;

    if (a->schema != b->schema || a->custom_count != b->custom_count ||
        a->zero_threshold != b->zero_threshold || !near(a->count, b->count, error) ||
        !near(a->sum, b->sum, error) || !near(a->zero_count, b->zero_count, error))
        return false;
    for (uint32_t i = 0; i < a->custom_count; i++)
        if (a->custom_values[i] != b->custom_values[i])
            return false;
    tide__hist_iter_init(&x, a, false);
    tide__hist_iter_init(&y, b, false);
    do {
        more = next_filled(&x, &p);
        if (next_filled(&y, &q) != more)
            return false;
        if (more && (p.lower != q.lower || p.upper != q.upper || !near(p.count, q.count, error)))
            return false;
    } while (more);
    return true;
}
