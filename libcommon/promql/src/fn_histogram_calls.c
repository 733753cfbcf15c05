/* histogram_quantile, histogram_quantiles and histogram_fraction; histogram_count and its like. */
#include "fn_histogram_private.h"

#include <time.h>

/* ---- The info about counts that fell ---- */

/* Gathered over the steps of one histogram. */
struct forced_info {
    struct tide__forced all;
    size_t sample_count;
    int64_t first_ms;
    int64_t last_ms;
};

static void gather(struct forced_info *info, const struct tide__forced *forced, int64_t step_ms)
{
    if (!forced->is_forced)
        return;
    if (info->sample_count == 0) {
        info->all = *forced;
        info->first_ms = step_ms;
    }
    info->all.bound_min = fmin(info->all.bound_min, forced->bound_min);
    info->all.bound_max = fmax(info->all.bound_max, forced->bound_max);
    info->all.difference_max = fmax(info->all.difference_max, forced->difference_max);
    info->last_ms = step_ms;
    info->sample_count++;
}

static void add_number(struct tide_buf *out, double v)
{
    char text[TIDE_NUMBER_TEXT_MAX];

    tide_buf_add(out, text, tide_number_format_g(v, text));
}

static void add_time(struct tide_buf *out, int64_t ms)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[64];

    if (gmtime_r(&seconds, &tm) != NULL &&
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
        tide_buf_str(out, text);
}

static void report(const struct tide__call *call, size_t arg, struct tide_labels labels,
                   const struct forced_info *info)
{
    struct tide_slice name = tide_labels_get(labels, TIDE_SLICE(TIDE_LABEL_METRIC));
    struct tide_buf text = {0};

    if (info->sample_count == 0)
        return;
    if (name.len > 0)
        tide_buf_printf(&text, " for metric name \"%.*s\"", TIDE_SLICE_ARGS(name));
    tide_buf_str(&text, ", from buckets ");
    add_number(&text, info->all.bound_min);
    tide_buf_str(&text, " to ");
    add_number(&text, info->all.bound_max);
    tide_buf_printf(&text, ", with a max diff of %.2g, over %zu samples from ",
                    info->all.difference_max, info->sample_count);
    add_time(&text, info->first_ms);
    tide_buf_str(&text, " to ");
    add_time(&text, info->last_ms);
    if (!text.failed)
        tide__call_info(call, arg,
                        "input to histogram_quantile needed to be fixed for monotonicity (see "
                        "https://prometheus.io/docs/prometheus/latest/querying/functions/"
                        "#histogram_quantile)%.*s",
                        TIDE_SLICE_ARGS(tide_buf_view(&text)));
    tide_buf_deinit(&text);
}

/* ---- Rows of the answer ---- */

static struct tide__row *add_row(struct tide__matrix *out, struct tide_labels labels)
{
    struct tide__row *row = &out->rows[out->row_count++];

    row->labels = labels;
    row->drop_name = true;
    return row;
}

/* ---- Native histograms ---- */

double tide__fn_histogram_count(const struct tide_histogram *h)
{
    return h->count;
}

double tide__fn_histogram_sum(const struct tide_histogram *h)
{
    return h->sum;
}

double tide__fn_histogram_avg(const struct tide_histogram *h)
{
    return h->sum / h->count;
}

double tide__fn_histogram_stddev(const struct tide_histogram *h)
{
    return sqrt(tide__hist_variance(h));
}

/* What a histogram is at a step: classic buckets, a native one, or, with a warning, both. */
enum what { NOTHING, CLASSIC, NATIVE };

static enum what look(const struct tide__call *call, size_t arg,
                      const struct tide__histogram *histogram, size_t s,
                      struct tide__bucket *buckets, size_t *count)
{
    const struct tide__row *native = histogram->native;

    *count = tide__histogram_at(histogram, s, buckets);
    if (native == NULL || !tide__bit(native->present, s) || native->histograms[s] == NULL)
        return *count > 0 ? CLASSIC : NOTHING;
    if (*count == 0)
        return NATIVE;
    tide__call_warn(
        call, arg,
        "vector contains a mix of classic and native histograms for metric name "
        "\"%.*s\"",
        TIDE_SLICE_ARGS(tide_labels_get(histogram->labels, TIDE_SLICE(TIDE_LABEL_METRIC))));
    return NOTHING;
}

static void info_nan(const struct tide__call *call, size_t arg,
                     const struct tide__histogram *histogram, const char *what)
{
    struct tide_slice name = tide_labels_get(histogram->labels, TIDE_SLICE(TIDE_LABEL_METRIC));

    if (name.len == 0)
        tide__call_info(call, arg, "%s", what);
    else
        tide__call_info(call, arg, "%s for metric name \"%.*s\"", what, TIDE_SLICE_ARGS(name));
}

static double native_quantile(const struct tide__call *call, size_t arg,
                              const struct tide__histogram *histogram, size_t s, double q)
{
    const struct tide_histogram *h = histogram->native->histograms[s];
    double v = tide__hist_quantile(h, q);

    if (isnan(h->sum) && h->count != 0 && tide__quantile_is_valid(q))
        info_nan(call, arg, histogram,
                 isnan(v) ? "input to histogram_quantile has NaN observations, result is NaN"
                          : "input to histogram_quantile has NaN observations, result is skewed "
                            "higher");
    return v;
}

static double native_fraction(const struct tide__call *call, size_t arg,
                              const struct tide__histogram *histogram, size_t s, double lower,
                              double upper)
{
    const struct tide_histogram *h = histogram->native->histograms[s];

    if (isnan(h->sum) && h->count != 0 && lower < upper)
        info_nan(call, arg, histogram,
                 "input to histogram_fraction has NaN observations, which are excluded from all "
                 "fractions");
    return tide__hist_fraction(h, lower, upper);
}

/* ---- histogram_quantile(q, v) ---- */

static void warn_quantiles(const struct tide__call *call, size_t arg)
{
    const double *q = call->args[arg].scalar;

    for (size_t s = 0; s < call->step_count; s++) {
        bool repeated = s > 0 && tide_value_bits(q[s]) == tide_value_bits(q[s - 1]);

        if (!repeated && !tide__quantile_is_valid(q[s]))
            tide__quantile_warn(call, arg, q[s]);
    }
}

/* Sets the quantiles q of one histogram at the steps where q is only, or at all when only is NULL.
 */
static void fill_quantiles(const struct tide__call *call, size_t matrix_arg, const double *q,
                           const double *only, struct tide__bucket *scratch,
                           const struct tide__histogram *histogram, struct tide__row *row)
{
    struct forced_info info = {0};

    for (size_t s = 0; s < call->step_count; s++) {
        struct tide__forced forced;
        size_t count;
        enum what what;

        if (only != NULL && tide_value_bits(q[s]) != tide_value_bits(*only))
            continue;
        what = look(call, matrix_arg, histogram, s, scratch, &count);
        if (what == NOTHING)
            continue;
        tide__bit_set(row->present, s);
        if (what == NATIVE) {
            row->values[s] = native_quantile(call, matrix_arg, histogram, s, q[s]);
            continue;
        }
        row->values[s] = tide__bucket_quantile(q[s], scratch, count, &forced);
        gather(&info, &forced, call->step_ms[s]);
    }
    report(call, matrix_arg, histogram->labels, &info);
}

enum tide_err tide__fn_histogram_quantile(const struct tide__call *call, struct tide__matrix **out)
{
    struct tide__histograms h;
    struct tide__matrix *matrix;
    enum tide_err err;

    warn_quantiles(call, 0);
    err = tide__histograms_group(call, 1, &h);
    if (err != TIDE_OK)
        return err;
    err = tide__matrix_new(call->eval, h.count, &matrix);
    if (err != TIDE_OK)
        return err;
    matrix->row_count = 0;
    for (size_t i = 0; i < h.count; i++)
        fill_quantiles(call, 1, call->args[0].scalar, NULL, h.scratch, &h.items[i],
                       add_row(matrix, h.items[i].labels));
    *out = matrix;
    return TIDE_OK;
}

/* ---- histogram_quantiles(v, label, q…) ---- */

enum tide_err tide__fn_histogram_quantiles_check(const struct tide__call *call)
{
    struct tide_slice name = call->args[1].string;

    if (!tide__label_name_is_valid(name))
        return tide__eval_fail(call->eval, TIDE_ERR_EXECUTION,
                               "invalid label name in histogram_quantiles(): %.*s",
                               TIDE_SLICE_ARGS(name));
    return TIDE_OK;
}

/* True when no earlier step has the q of this one: it needs rows of its own. */
static bool is_new(const double *q, size_t step)
{
    for (size_t s = step; s-- > 0;)
        if (tide_value_bits(q[s]) == tide_value_bits(q[step]))
            return false;
    return true;
}

/* q as OpenMetrics writes it: never without a point or exponent. */
static enum tide_err quantile_text(struct tide__eval *eval, double q, struct tide_slice *out)
{
    char text[TIDE_NUMBER_TEXT_MAX + 2];
    size_t len = tide_number_format_g(q, text);
    uint8_t *copy;

    if (isfinite(q) && memchr(text, '.', len) == NULL && memchr(text, 'e', len) == NULL) {
        text[len++] = '.';
        text[len++] = '0';
    }
    copy = tide__eval_alloc(eval, len);
    if (copy == NULL)
        return tide__eval_no_memory(eval);
    memcpy(copy, text, len);
    *out = (struct tide_slice){copy, len};
    return TIDE_OK;
}

/* The rows of all histograms for the quantile q[step], at all steps that have the same one. */
static enum tide_err add_quantile(const struct tide__call *call, const struct tide__histograms *h,
                                  const double *q, size_t step, struct tide__matrix *out)
{
    struct tide_slice text = {NULL, 0};
    enum tide_err err = quantile_text(call->eval, q[step], &text);

    for (size_t i = 0; err == TIDE_OK && i < h->count; i++) {
        struct tide_labels labels;

        err =
            tide__labels_with(call->eval, h->items[i].labels, call->args[1].string, text, &labels);
        if (err == TIDE_OK)
            fill_quantiles(call, 0, q, &q[step], h->scratch, &h->items[i], add_row(out, labels));
    }
    return err;
}

enum tide_err tide__fn_histogram_quantiles(const struct tide__call *call, struct tide__matrix **out)
{
    struct tide__histograms h;
    struct tide__matrix *matrix;
    size_t quantile_count = 0;
    enum tide_err err;

    for (size_t a = 2; a < call->arg_count; a++) {
        warn_quantiles(call, a);
        for (size_t s = 0; s < call->step_count; s++)
            quantile_count += is_new(call->args[a].scalar, s);
    }
    err = tide__histograms_group(call, 0, &h);
    if (err != TIDE_OK)
        return err;
    err = tide__matrix_new(call->eval, h.count * quantile_count, &matrix);
    if (err != TIDE_OK)
        return err;
    matrix->row_count = 0;
    for (size_t a = 2; a < call->arg_count; a++)
        for (size_t s = 0; err == TIDE_OK && s < call->step_count; s++)
            if (is_new(call->args[a].scalar, s))
                err = add_quantile(call, &h, call->args[a].scalar, s, matrix);
    if (err != TIDE_OK) {
        tide__matrix_free(matrix);
        return err;
    }
    *out = matrix;
    return TIDE_OK;
}

/* ---- histogram_fraction(lower, upper, v) ---- */

enum tide_err tide__fn_histogram_fraction(const struct tide__call *call, struct tide__matrix **out)
{
    const double *lower = call->args[0].scalar;
    const double *upper = call->args[1].scalar;
    struct tide__histograms h;
    struct tide__matrix *matrix;
    enum tide_err err = tide__histograms_group(call, 2, &h);

    if (err != TIDE_OK)
        return err;
    err = tide__matrix_new(call->eval, h.count, &matrix);
    if (err != TIDE_OK)
        return err;
    matrix->row_count = 0;
    for (size_t i = 0; i < h.count; i++) {
        struct tide__row *row = add_row(matrix, h.items[i].labels);

        for (size_t s = 0; s < call->step_count; s++) {
            size_t count;
            enum what what = look(call, 2, &h.items[i], s, h.scratch, &count);

            if (what == NOTHING)
                continue;
            tide__bit_set(row->present, s);
            row->values[s] = what == NATIVE
                                 ? native_fraction(call, 2, &h.items[i], s, lower[s], upper[s])
                                 : tide__bucket_fraction(lower[s], upper[s], h.scratch, count);
        }
    }
    *out = matrix;
    return TIDE_OK;
}
