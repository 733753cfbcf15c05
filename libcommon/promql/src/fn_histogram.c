/* Quantiles and fractions of classic histograms: series with a label `le` each, cumulative counts
 * up to an upper bound. Native histograms are only sorted in with them here. */
#include "fn_histogram_private.h"

#include "eval_private.h"

#include <float.h>
#include <stdlib.h>

/* A relative difference between neighbouring counts below this is rounding, not data. */
#define SMALL_DIFFERENCE 1e-12

/* ---- One histogram at one moment ---- */

/* Sums the counts of equal bounds. Buckets are in rising order of bound. */
static size_t coalesce(struct tide__bucket *buckets, size_t count)
{
    size_t last = 0;

    for (size_t i = 1; i < count; i++) {
        if (buckets[i].bound == buckets[last].bound)
            buckets[last].count += buckets[i].count;
        else
            buckets[++last] = buckets[i];
    }
    return last + 1;
}

/* Equal but for rounding. Source: floating-point-gui.de, "Comparison". */
static bool almost_equal(double a, double b)
{
    double sum = fabs(a) + fabs(b);
    double difference = fabs(a - b);

    if (isnan(a) && isnan(b))
        return true;
    if (a == b)
        return true;
    if (a == 0 || b == 0 || sum < DBL_MIN)
        return difference < SMALL_DIFFERENCE * DBL_MIN;
    return difference / (sum < DBL_MAX ? sum : DBL_MAX) < SMALL_DIFFERENCE;
}

/* Counts that fall from one bucket to the next are raised: scrapes and rules may be caught between
 * two updates of a histogram. */
static void make_monotonic(struct tide__bucket *buckets, size_t count, struct tide__forced *forced)
{
    double before = buckets[0].count;

    for (size_t i = 1; i < count; i++) {
        struct tide__bucket *b = &buckets[i];

        if (b->count == before)
            continue;
        if (almost_equal(before, b->count)) {
            b->count = before;
        } else if (b->count < before) {
            forced->bound_min = b->bound < forced->bound_min ? b->bound : forced->bound_min;
            forced->bound_max = b->bound > forced->bound_max ? b->bound : forced->bound_max;
            if (before - b->count > forced->difference_max)
                forced->difference_max = before - b->count;
            forced->is_forced = true;
            b->count = before;
        } else {
            before = b->count;
        }
    }
}

/* Index of the first bucket but the last that has counted rank, else of the last. */
static size_t bucket_of(const struct tide__bucket *buckets, size_t count, double rank)
{
    size_t low = 0;
    size_t high = count - 1;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (buckets[middle].count >= rank)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

double tide__bucket_quantile(double q, struct tide__bucket *buckets, size_t count,
                             struct tide__forced *forced)
{
    double rank, start, end, within;
    size_t at;

    *forced = (struct tide__forced){.bound_min = INFINITY, .bound_max = -INFINITY};
    if (!tide__quantile_is_valid(q))
        return isnan(q) ? NAN : q < 0 ? -INFINITY : INFINITY;
    if (count == 0 || !(isinf(buckets[count - 1].bound) && buckets[count - 1].bound > 0))
        return NAN;
    count = coalesce(buckets, count);
    make_monotonic(buckets, count, forced);
    if (count < 2 || buckets[count - 1].count == 0)
        return NAN;
    rank = q * buckets[count - 1].count;
    at = bucket_of(buckets, count, rank);
    if (at == count - 1) /* Nothing is known beyond the highest finite bound. */
        return buckets[count - 2].bound;
    if (at == 0 && buckets[0].bound <= 0) /* Nor where a first bucket under zero begins. */
        return buckets[0].bound;
    start = 0;
    end = buckets[at].bound;
    within = buckets[at].count;
    if (at > 0) {
        start = buckets[at - 1].bound;
        within -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    return start + (end - start) * (rank / within);
}

/* Observations up to v in a bucket that begins at start, after below earlier ones. */
static double rank_within(double v, double start, double below, const struct tide__bucket *b)
{
    if (isinf(start))
        return b->count; /* No telling where in it they are. */
    return below + (b->count - below) * (v - start) / (b->bound - start);
}

/* Observations up to v. */
static double rank_of(double v, const struct tide__bucket *buckets, size_t count)
{
    double start = buckets[0].bound <= 0 ? -INFINITY : 0;
    double total = buckets[count - 1].count;
    double below = 0;
    double rank = total;

    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            start = buckets[i - 1].bound;
        if (start >= v) {
            rank = below;
            break;
        }
        if (buckets[i].bound > v) {
            rank = rank_within(v, start, below, &buckets[i]);
            break;
        }
        below = buckets[i].count;
    }
    return rank > total ? total : rank;
}

double tide__bucket_fraction(double lower, double upper, struct tide__bucket *buckets, size_t count)
{
    double total;

    if (count == 0 || !(isinf(buckets[count - 1].bound) && buckets[count - 1].bound > 0))
        return NAN;
    count = coalesce(buckets, count);
    total = buckets[count - 1].count;
    if (total == 0 || isnan(lower) || isnan(upper))
        return NAN;
    if (lower >= upper)
        return 0;
    return (rank_of(upper, buckets, count) - rank_of(lower, buckets, count)) / total;
}

/* ---- Histograms out of the rows of a matrix ---- */

bool tide__le_parse(struct tide_slice text, double *out)
{
    bool has_digit = false;

    /* A number too large for float64 is malformed; infinity is spelled. */
    for (size_t i = 0; i < text.len; i++)
        has_digit |= text.ptr[i] >= '0' && text.ptr[i] <= '9';
    return tide_number_parse(text, out) && !(has_digit && isinf(*out));
}

/* "name" as Go's %q writes it for the usual characters. */
static void add_quoted(struct tide_buf *out, struct tide_slice text)
{
    tide_buf_byte(out, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '\n') {
            tide_buf_str(out, "\\n");
            continue;
        }
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            tide_buf_byte(out, '\\');
        tide_buf_byte(out, text.ptr[i]);
    }
    tide_buf_byte(out, '"');
}

static void add_metric_name(struct tide_buf *out, struct tide_labels labels)
{
    struct tide_slice name = tide_labels_get(labels, TIDE_SLICE(TIDE_LABEL_METRIC));

    if (name.len == 0)
        return;
    tide_buf_str(out, " for metric name ");
    add_quoted(out, name);
}

static void warn_bad_le(const struct tide__call *call, size_t arg, struct tide_labels labels)
{
    struct tide_buf text = {0};

    tide_buf_str(&text, "bucket label \"le\" is missing or has a malformed value of ");
    add_quoted(&text, tide_labels_get(labels, TIDE_SLICE(LE)));
    add_metric_name(&text, labels);
    if (!text.failed)
        tide__call_warn(call, arg, "%.*s", TIDE_SLICE_ARGS(tide_buf_view(&text)));
    tide_buf_deinit(&text);
}

/* The histogram that row belongs to, made if need be. */
static enum tide_err histogram_of(struct tide__histograms *h, struct tide__label_map *map,
                                  struct tide_buf *pairs, const struct tide__row *row, size_t *out)
{
    struct tide_slice le = TIDE_SLICE(LE);
    struct tide_labels labels;

    /* Most rows only find their histogram: what they are looked up with is not kept. */
    pairs->len = 0;
    labels.pairs = (void *)tide_buf_reserve(pairs, (row->labels.count + 1) * sizeof(*labels.pairs));
    if (labels.pairs == NULL)
        return tide__eval_no_memory(h->eval);
    labels.count = tide__labels_filter(row->labels, &le, 1, false, TIDE__DROP_NOTHING,
                                       (struct tide_label *)(void *)pairs->ptr);
    *out = tide__label_map_put(map, labels);
    if (*out < h->count)
        return TIDE_OK;
    h->items[h->count] = (struct tide__histogram){.labels = row->labels};
    if (tide__labels_with(h->eval, row->labels, le, (struct tide_slice){NULL, 0},
                          &h->items[h->count].labels) != TIDE_OK)
        return tide__eval_no_memory(h->eval);
    map->labels[*out] = h->items[h->count++].labels;
    return TIDE_OK;
}

static int compare_bounds(const void *a, const void *b)
{
    const struct tide__bucket_row *x = a;
    const struct tide__bucket_row *y = b;

    if (x->histogram != y->histogram)
        return x->histogram < y->histogram ? -1 : 1;
    if (x->bound < y->bound)
        return -1;
    if (x->bound > y->bound)
        return 1;
    return x->row < y->row ? -1 : x->row > y->row; /* Equal bounds: in the order of the rows. */
}

/* Which kinds of points a row has. */
static void row_kinds(const struct tide__row *row, size_t step_count, bool *floats, bool *native)
{
    *floats = row->histograms == NULL;
    *native = false;
    for (size_t s = 0; row->histograms != NULL && s < step_count; s++) {
        if (!tide__bit(row->present, s))
            continue;
        *floats = *floats || row->histograms[s] == NULL;
        *native = *native || row->histograms[s] != NULL;
    }
}

/* Fills h->items and h->rows; rows in any order. */
static enum tide_err sort_out(const struct tide__call *call, size_t arg, struct tide__histograms *h,
                              struct tide__label_map *map, size_t *bucket_count)
{
    const struct tide__matrix *m = call->args[arg].matrix;
    struct tide_buf pairs = {0};
    enum tide_err err = TIDE_OK;

    for (size_t i = 0; err == TIDE_OK && i < m->row_count; i++) {
        const struct tide__row *row = &m->rows[i];
        struct tide__bucket_row *bucket = &h->rows[*bucket_count];
        size_t item = 0;
        bool floats;
        bool native;

        if (!tide__any_present(row->present, m->word_count))
            continue;
        row_kinds(row, m->step_count, &floats, &native);
        if (native)
            err = histogram_of(h, map, &pairs, row, &item);
        if (native && err == TIDE_OK)
            h->items[item].native = row;
        if (!floats || err != TIDE_OK)
            continue;
        bucket->row = row;
        if (!tide__le_parse(tide_labels_get(row->labels, TIDE_SLICE(LE)), &bucket->bound)) {
            warn_bad_le(call, arg, row->labels);
            continue;
        }
        err = histogram_of(h, map, &pairs, row, &bucket->histogram);
        ++*bucket_count;
    }
    tide_buf_deinit(&pairs);
    return err;
}

enum tide_err tide__histograms_group(const struct tide__call *call, size_t arg,
                                     struct tide__histograms *h)
{
    size_t row_count = call->args[arg].matrix->row_count;
    struct tide__label_map map;
    size_t bucket_count = 0;
    enum tide_err err = tide__label_map_init(&map, call->eval, row_count);

    if (err != TIDE_OK)
        return err;
    *h = (struct tide__histograms){
        .eval = call->eval,
        .items = tide__eval_alloc(call->eval, (row_count + 1) * sizeof(*h->items)),
        .rows = tide__eval_alloc(call->eval, (row_count + 1) * sizeof(*h->rows)),
        .scratch = tide__eval_alloc(call->eval, (row_count + 1) * sizeof(*h->scratch)),
    };
    if (h->items == NULL || h->rows == NULL || h->scratch == NULL)
        err = tide__eval_no_memory(call->eval);
    else
        err = sort_out(call, arg, h, &map, &bucket_count);
    tide__label_map_deinit(&map);
    if (err != TIDE_OK)
        return err;
    if (bucket_count > 0)
        qsort(h->rows, bucket_count, sizeof(*h->rows), compare_bounds);
    for (size_t i = bucket_count; i-- > 0;) {
        struct tide__histogram *histogram = &h->items[h->rows[i].histogram];

        histogram->rows = &h->rows[i];
        histogram->row_count++;
    }
    return TIDE_OK;
}

size_t tide__histogram_at(const struct tide__histogram *histogram, size_t step,
                          struct tide__bucket *buckets)
{
    size_t count = 0;

    for (size_t i = 0; i < histogram->row_count; i++) {
        const struct tide__row *row = histogram->rows[i].row;

        if (tide__bit(row->present, step) && tide__row_histogram(row, step) == NULL)
            buckets[count++] = (struct tide__bucket){histogram->rows[i].bound, row->values[step]};
    }
    return count;
}
