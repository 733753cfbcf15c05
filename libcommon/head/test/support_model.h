/* A head next to a naive model of it: arrays of samples and of encoded histograms. Random
 * operations are done to both, and every answer is compared. */
#ifndef TIDE_HEAD_TEST_SUPPORT_MODEL_H
#define TIDE_HEAD_TEST_SUPPORT_MODEL_H

#include "tide/head/head.h"

#define MODEL_SERIES_MAX 64u

/* splitmix64: seeded, the same everywhere. */
uint64_t model_random(uint64_t *state);

/* How a series' timestamps come about. */
enum model_kind {
    MODEL_STEADY,  /* With its target, sometimes a scrape is missing. */
    MODEL_FLAPPY,  /* Missing every other scrape or so. */
    MODEL_OWN,     /* Its own timestamps, though it has job and instance. */
    MODEL_LONE,    /* No instance. */
    MODEL_REPLICA, /* The same job and instance as the steady ones, written by a second sender. */
    MODEL_KINDS
};

struct model_histogram {
    int64_t ts_ms;
    struct tide_buf bytes;
};

struct model_series {
    enum model_kind kind;
    unsigned target;
    bool exists; /* Has a reference now. */
    uint32_t ref;
    struct tide_sample *samples; /* By rising time. */
    size_t count;
    size_t capacity;
    unsigned histogram_percent; /* Of its samples. */
    unsigned layout;            /* Of its next histogram; changes now and then. */
    uint64_t observations;
    struct model_histogram *histograms; /* By rising time. */
    size_t histogram_count;
    size_t histogram_capacity;
};

struct model {
    struct tide_head_options options;
    struct tide_head *head;
    struct model_series series[MODEL_SERIES_MAX];
    size_t count;
    uint64_t random;
    int64_t now_ms;
    int64_t oldest_ms; /* Samples before it are refused. */
};

void model_init(struct model *m, uint64_t seed);
void model_deinit(struct model *m);
/* Labels of series i; storage is static, until the next call. */
struct tide_labels model_labels(size_t i, const struct model_series *s);
/* One scrape of all targets, with late samples, duplicates and conflicts among it, in one call. */
void model_scrape(struct model *m);
/* An ascending backfill of one series. */
void model_backfill(struct model *m);
void model_truncate(struct model *m, int64_t before_ms);
/* Reads all series in a random time range, all at once and some in part. */
void model_compare(struct model *m);
/* The bytes of a checkpoint. The caller frees the buffer. */
struct tide_buf model_checkpoint(struct tide_head *head);
/* Replaces the head by one restored from its checkpoint; that one's checkpoint has the same bytes.
 */
void model_restart(struct model *m);
/* Writes a frozen view to a file and reads the file. */
struct tide_buf model_write(struct tide_head_frozen *frozen);

#endif
