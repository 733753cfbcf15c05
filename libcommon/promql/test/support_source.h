/* A series source in memory, for tests of the evaluator. */
#ifndef TIDE_PROMQL_SUPPORT_SOURCE_H
#define TIDE_PROMQL_SUPPORT_SOURCE_H

#include "tide/model/source.h"

struct support_series {
    struct tide_labels labels;
    int64_t *times_ms;
    double *values;
    const struct tide_histogram **histograms; /* NULL without any; NULL where there is a float. */
    size_t count;
    size_t capacity;
};

struct support_source {
    struct tide_source source; /* What queries read. */
    struct tide_arena *arena;  /* Of the labels. */
    struct support_series *series;
    size_t count;
    size_t capacity;
    bool share_times;        /* Series with equal timestamps are read with one array for all. */
    enum tide_err fail_read; /* Unless TIDE_OK: what every read answers. */
};

/* These abort when there is no memory. */
struct support_source *support_source_new(void);
void support_source_free(struct support_source *src);
/* The series with the labels in text, `up{job="a"}`; added when new. */
struct support_series *support_source_series(struct support_source *src, const char *text);
/* Adds a series without looking whether it is there. The labels are borrowed. */
struct support_series *support_source_add(struct support_source *src, struct tide_labels labels);
/* Timestamps must rise. */
void support_series_append(struct support_series *series, int64_t ts_ms, double v);

/* h is copied. */
void support_series_append_histogram(struct support_source *src, struct support_series *series,
                                     int64_t ts_ms, const struct tide_histogram *h);

#endif
