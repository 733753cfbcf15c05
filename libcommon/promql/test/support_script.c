#include "support_script.h"

#include "support_histogram.h"

#include "tide/base/number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define POINTS_MAX 4096
#define LINE_MAX_BYTES 8192
#define EXPECTED_MAX 256

/* What stands at one step. */
struct point {
    double v;
    const struct tide_histogram *h;
    bool present;
};

struct expected_series {
    struct tide_labels labels;
    struct point points[64];
    size_t count;
    bool found;
};

struct query {
    int line;
    char expr[LINE_MAX_BYTES];
    struct tide_engine_params params;
    struct expected_series series[EXPECTED_MAX];
    size_t series_count;
    bool ordered;
    bool is_scalar;
    double scalar;
    char string[256];
    char error[512];
    char warning[512];
    char info[512];
};

struct script {
    const char *path;
    int line;
    struct support_source *src;
    struct support_source *names; /* Holds the label sets of expectations. */
    int64_t interval_ms;          /* Of the load block. */
    bool loading;
    struct query *query; /* Being read. */
    struct tide_engine **engines;
    size_t engine_count;
    size_t asked;
};

static void fail_at(const struct script *s, int line, const char *format, ...) TIDE_PRINTF(3, 4);

static void fail_at(const struct script *s, int line, const char *format, ...)
{
    char text[2048];
    va_list arguments;

    va_start(arguments, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is started above. */
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fail_msg("%s:%d: %s", s->path, line, text);
}

/* ---- Reading ---- */

static bool word(const char **at, const char *expect)
{
    size_t len = strlen(expect);

    if (strncmp(*at, expect, len) != 0 || ((*at)[len] != ' ' && (*at)[len] != '\0'))
        return false;
    *at += len;
    while (**at == ' ')
        (*at)++;
    return true;
}

static struct tide_slice token(const char **at)
{
    const char *start = *at;
    struct tide_slice found;

    while (**at != ' ' && **at != '\0')
        (*at)++;
    found = (struct tide_slice){(const uint8_t *)start, (size_t)(*at - start)};
    while (**at == ' ')
        (*at)++;
    return found;
}

static int64_t duration(const struct script *s, const char **at)
{
    bool negative = **at == '-';
    int64_t ms;

    *at += negative;
    if (!tide_duration_parse(token(at), &ms))
        fail_at(s, s->line, "bad duration");
    return negative ? -ms : ms;
}

/* The label set before the values: ends at a blank outside of braces and quotes. */
static void metric(const struct script *s, const char **at, char *text, size_t room)
{
    size_t len = 0;
    bool quoted = false;
    bool braces = false;

    for (; **at != '\0' && (quoted || braces || **at != ' '); (*at)++) {
        if (len + 1 >= room)
            fail_at(s, s->line, "label set too long");
        if (**at == '"' && (*at)[-1] != '\\')
            quoted = !quoted;
        if (!quoted && **at == '{')
            braces = true;
        if (!quoted && **at == '}')
            braces = false;
        text[len++] = **at;
    }
    text[len] = '\0';
    while (**at == ' ')
        (*at)++;
}

static double number(const struct script *s, const char *text, size_t len)
{
    double v;

    if (len == 5 && memcmp(text, "stale", 5) == 0)
        return tide_value(TIDE_STALE_BITS);
    if (!tide_number_parse((struct tide_slice){(const uint8_t *)text, len}, &v))
        fail_at(s, s->line, "bad number %.*s", (int)len, text);
    return v;
}

/* Takes `x3` off the end of an item. */
static size_t repetition(const struct script *s, struct tide_slice *item)
{
    const uint8_t *x = item->len == 0 ? NULL : item->ptr + item->len - 1;
    int64_t n;

    while (x > item->ptr && *x >= '0' && *x <= '9')
        x--;
    if (x <= item->ptr || *x != 'x')
        return 0;
    if (!tide_number_parse_i64((struct tide_slice){x + 1, (size_t)(item->ptr + item->len - x) - 1},
                               &n))
        fail_at(s, s->line, "bad repetition");
    item->len = (size_t)(x - item->ptr);
    return (size_t)n;
}

/* Expands `{{…}}`, `{{…}}x3` or `{{…}}+{{…}}x3`. */
static size_t expand_histogram(const struct script *s, struct tide_slice item, struct point *points)
{
    struct tide_arena *arena = s->names->arena;
    size_t times = repetition(s, &item);
    size_t plus = tide_slice_find(item, TIDE_SLICE("+{{"));
    struct tide_slice first = {item.ptr, plus == SIZE_MAX ? item.len : plus};
    const struct tide_histogram *h = support_histogram(first, arena);
    const struct tide_histogram *add = NULL;

    if (plus != SIZE_MAX)
        add =
            support_histogram((struct tide_slice){item.ptr + plus + 1, item.len - plus - 1}, arena);
    if (h == NULL || (add == NULL && plus != SIZE_MAX))
        fail_at(s, s->line, "bad histogram");
    for (size_t i = 0; i <= times; i++) {
        struct tide__hist_outcome outcome;

        if (i > 0 && add != NULL && !tide__hist_add(h, add, 1, arena, &outcome, &h))
            fail_at(s, s->line, "no memory");
        points[i] = (struct point){0, h, true};
    }
    return times + 1;
}

/* Expands one item, `5`, `0+10x3`, `1x4`, `_`, `_x3`, into points. */
static size_t expand(const struct script *s, struct tide_slice item, struct point *points)
{
    size_t times = repetition(s, &item);
    const char *text = (const char *)item.ptr;
    size_t len = item.len;
    double start = 0;
    double add = 0;
    bool there = text[0] != '_';

    if (there) {
        size_t split = len;

        for (size_t i = 1; i < len; i++)
            if ((text[i] == '+' || text[i] == '-') && text[i - 1] != 'e')
                split = i;
        start = number(s, text, split);
        if (split < len)
            add = number(s, text + split, len - split);
    } else if (times > 0) {
        times--; /* _x3 is three, 1x3 is four. */
    }
    for (size_t i = 0; i <= times; i++) {
        double v = i == 0 || tide_value_is_stale(start) ? start : points[i - 1].v + add;

        points[i] = (struct point){v, NULL, there};
    }
    return times + 1;
}

/* A token that may hold blanks between braces. */
static struct tide_slice histogram_token(const char **at)
{
    const char *start = *at;
    struct tide_slice found;
    bool braces = false;

    for (; **at != '\0' && (braces || **at != ' '); (*at)++)
        braces = **at == '{' || (braces && **at != '}');
    found = (struct tide_slice){(const uint8_t *)start, (size_t)(*at - start)};
    while (**at == ' ')
        (*at)++;
    return found;
}

static size_t read_values(const struct script *s, const char *at, struct point *points, size_t room)
{
    size_t count = 0;

    while (*at != '\0') {
        if (count + 512 > room && room > 512)
            fail_at(s, s->line, "too many values");
        if (*at == '{')
            count += expand_histogram(s, histogram_token(&at), points + count);
        else
            count += expand(s, token(&at), points + count);
    }
    return count;
}

static void load_line(struct script *s, const char *at)
{
    static struct point points[POINTS_MAX];
    char text[1024];
    struct support_series *series;
    size_t count;

    metric(s, &at, text, sizeof(text));
    series = support_source_series(s->src, text);
    count = read_values(s, at, points, POINTS_MAX);
    for (size_t i = 0; i < count; i++) {
        int64_t ts_ms = (int64_t)i * s->interval_ms;

        if (points[i].present && points[i].h == NULL)
            support_series_append(series, ts_ms, points[i].v);
        else if (points[i].present)
            support_series_append_histogram(s->src, series, ts_ms, points[i].h);
    }
}

static void copy_rest(char *to, size_t room, const char *from)
{
    (void)snprintf(to, room, "%s", from);
}

static void expect_line(struct script *s, const char *at)
{
    struct query *q = s->query;
    struct expected_series *e;
    char text[1024];

    if (word(&at, "error")) {
        copy_rest(q->error, sizeof(q->error), at);
    } else if (word(&at, "warning")) {
        copy_rest(q->warning, sizeof(q->warning), at);
    } else if (word(&at, "info")) {
        copy_rest(q->info, sizeof(q->info), at);
    } else if (word(&at, "string")) {
        copy_rest(q->string, sizeof(q->string), at);
    } else if (word(&at, "ordered")) {
        q->ordered = true;
    } else if (word(&at, "scalar")) {
        q->is_scalar = true;
        q->scalar = number(s, at, strlen(at));
    } else {
        if (q->series_count == EXPECTED_MAX)
            fail_at(s, s->line, "too many series expected");
        e = &q->series[q->series_count++];
        metric(s, &at, text, sizeof(text));
        e->labels = support_source_series(s->names, text)->labels;
        e->count = read_values(s, at, e->points, 64);
        e->found = false;
    }
}

/* ---- Comparing ---- */

static bool same(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) && isnan(b);
    return a == b || fabs(a - b) <= 1e-12 * fmax(fabs(a), fabs(b));
}

static void check_point(const struct script *s, const struct tide_result_series *r, size_t i,
                        const struct point *expected, const char *series)
{
    const struct tide_histogram *h = r->histograms == NULL ? NULL : r->histograms[i];
    struct tide_buf text = {0};

    if (h == NULL && expected->h == NULL) {
        if (!same(r->values[i], expected->v))
            fail_at(s, s->query->line, "%s: step %zu is %.17g, not %.17g", series, i, r->values[i],
                    expected->v);
        return;
    }
    if (h != NULL && expected->h != NULL && support_histogram_near(h, expected->h, 1e-12))
        return;
    if (h != NULL)
        tide__hist_print(h, &text);
    tide_buf_byte(&text, '\0');
    fail_at(s, s->query->line, "%s: step %zu is another: %s", series, i, (const char *)text.ptr);
}

static void check_notes(const struct script *s, const char *kind, const char *expected,
                        const struct tide_slice *notes, size_t count)
{
    if (expected[0] == '\0' && count > 0)
        fail_at(s, s->query->line, "%s not expected: %.*s", kind, TIDE_SLICE_ARGS(notes[0]));
    for (size_t i = 0; i < count; i++)
        if (tide_slice_find(notes[i], tide_slice_str(expected)) != SIZE_MAX)
            return;
    if (expected[0] != '\0')
        fail_at(s, s->query->line, "no %s says: %s; %zu others do", kind, expected, count);
}

static void check_series(const struct script *s, const struct tide_result_series *r, size_t at)
{
    struct query *q = s->query;
    struct expected_series *e = NULL;
    struct tide_buf text = {0};
    size_t steps = q->params.instant
                       ? 1
                       : (size_t)((q->params.end_ms - q->params.start_ms) / q->params.step_ms) + 1;

    tide_labels_print(r->labels, &text);
    tide_buf_byte(&text, '\0');
    for (size_t i = 0; i < q->series_count && e == NULL; i++)
        if (tide_labels_eq(q->series[i].labels, r->labels))
            e = &q->series[i];
    if (e == NULL) {
        fail_at(s, q->line, "series not expected: %s (first value %g)", (const char *)text.ptr,
                r->values[0]);
        return;
    }
    if (e->found)
        fail_at(s, q->line, "series twice: %s", (const char *)text.ptr);
    if (q->ordered && e != &q->series[at])
        fail_at(s, q->line, "series at another place, %zu: %s", at, (const char *)text.ptr);
    e->found = true;
    if (r->count != steps || e->count > steps)
        fail_at(s, q->line, "%s: %zu steps, %zu expected", (const char *)text.ptr, r->count,
                e->count);
    for (size_t i = 0; i < steps; i++) {
        bool there = i < e->count && e->points[i].present;

        if (tide_result_has(r, i) != there)
            fail_at(s, q->line, "%s: step %zu is %s", (const char *)text.ptr, i,
                    there ? "missing" : "too many");
        if (there)
            check_point(s, r, i, &e->points[i], (const char *)text.ptr);
    }
    tide_buf_deinit(&text);
}

static void check_answer(const struct script *s, const struct tide_engine_result *r)
{
    struct query *q = s->query;

    if (q->error[0] != '\0')
        fail_at(s, q->line, "no error, where one was expected");
    check_notes(s, "warning", q->warning, r->warnings, r->warning_count);
    check_notes(s, "info", q->info, r->infos, r->info_count);
    if (q->is_scalar) {
        if (r->kind != TIDE_RESULT_SCALAR || !same(r->scalar, q->scalar))
            fail_at(s, q->line, "scalar %.17g", r->scalar);
        return;
    }
    if (q->string[0] != '\0') {
        if (r->kind != TIDE_RESULT_STRING || !tide_slice_eq(r->string, tide_slice_str(q->string)))
            fail_at(s, q->line, "another string");
        return;
    }
    for (size_t i = 0; i < q->series_count; i++)
        q->series[i].found = false;
    for (size_t i = 0; i < r->series_count; i++)
        check_series(s, &r->series[i], i);
    for (size_t i = 0; i < q->series_count; i++)
        if (!q->series[i].found)
            fail_at(s, q->line, "expected series %zu is missing", i);
}

static void ask(const struct script *s, struct tide_engine *engine)
{
    struct query *q = s->query;
    struct tide_query_limits limits = {0};
    struct tide_engine_result *result;
    struct tide_diag diag = {0};
    enum tide_err err;

    q->params.expr = tide_slice_str(q->expr);
    err = tide_engine_query(engine, &q->params, &s->src->source, &limits, &result, &diag);
    if (err == TIDE_OK) {
        check_answer(s, result);
        tide_engine_result_free(result);
    } else if (q->error[0] == '\0' || strstr(diag.text, q->error) == NULL) {
        fail_at(s, q->line, "error %s: %s", tide_err_name(err), diag.text);
    }
    if (limits.memory_bytes != 0)
        fail_at(s, q->line, "%llu bytes stay charged", (unsigned long long)limits.memory_bytes);
}

static void finish_query(struct script *s)
{
    if (s->query->line == 0)
        return;
    for (size_t i = 0; i < s->engine_count; i++) {
        s->src->share_times = true;
        ask(s, s->engines[i]);
        s->src->share_times = false;
        ask(s, s->engines[i]);
    }
    s->asked++;
    memset(s->query, 0, sizeof(*s->query));
}

/* ---- Commands ---- */

static void command(struct script *s, const char *at)
{
    struct query *q = s->query;

    finish_query(s);
    s->loading = false;
    if (word(&at, "load")) {
        s->interval_ms = duration(s, &at);
        s->loading = true;
    } else if (word(&at, "clear")) {
        support_source_free(s->src);
        s->src = support_source_new();
    } else if (word(&at, "at")) {
        q->line = s->line;
        q->params.instant = true;
        q->params.start_ms = duration(s, &at);
        copy_rest(q->expr, sizeof(q->expr), at);
    } else if (word(&at, "from")) {
        q->line = s->line;
        q->params.start_ms = duration(s, &at);
        if (!word(&at, "to"))
            fail_at(s, s->line, "from … to … by …");
        q->params.end_ms = duration(s, &at);
        if (!word(&at, "by"))
            fail_at(s, s->line, "from … to … by …");
        q->params.step_ms = duration(s, &at);
        copy_rest(q->expr, sizeof(q->expr), at);
    } else {
        fail_at(s, s->line, "unknown command: %s", at);
    }
}

size_t support_script_run(const char *path, struct tide_engine **engines, size_t engine_count)
{
    static struct query query;
    static char line[LINE_MAX_BYTES];
    struct script s = {
        .path = path, .query = &query, .engines = engines, .engine_count = engine_count};
    FILE *file = fopen(path, "r");

    if (file == NULL)
        fail_msg("%s: cannot be read", path);
    memset(&query, 0, sizeof(query));
    s.src = support_source_new();
    s.names = support_source_new();
    while (fgets(line, sizeof(line), file) != NULL) {
        const char *at = line;
        size_t len = strlen(line);

        s.line++;
        while (len > 0 && isspace((unsigned char)line[len - 1]))
            line[--len] = '\0';
        while (*at == ' ')
            at++;
        if (*at == '\0' || *at == '#')
            continue;
        if (at == line)
            command(&s, at);
        else if (s.loading)
            load_line(&s, at);
        else
            expect_line(&s, at);
    }
    finish_query(&s);
    (void)fclose(file);
    support_source_free(s.src);
    support_source_free(s.names);
    return s.asked;
}
