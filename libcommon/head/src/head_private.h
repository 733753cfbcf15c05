/* What the parts of the head share. */
#ifndef TIDE_HEAD_HEAD_PRIVATE_H
#define TIDE_HEAD_HEAD_PRIVATE_H

#include "tide/head/head.h"

#include "column_private.h"
#include "histograms_private.h"
#include "late_private.h"
#include "store_private.h"

#include "tide/index/index.h"

#include <pthread.h>

/* A chunk closed with fewer samples than this, because its column went another way, is a misfit. */
#define TIDE__MISFIT_SAMPLES 8u
/* One with at least this many takes all misfits back. */
#define TIDE__FIT_SAMPLES 32u
/* Misfits after which a series tries another column, and after which it gets timed chunks. */
#define TIDE__MISFITS_MOVE 3u
#define TIDE__MISFITS_TIMED 6u

enum tide__record_flags {
    TIDE__LIVE = 1,       /* The series is in the index. */
    TIDE__TIMED = 2,      /* The open chunk is timed: column is a clock. */
    TIDE__LATE = 4,       /* It has an entry in the late table. */
    TIDE__HISTOGRAMS = 8, /* It has an entry in the table of histograms. */
};

/* The hot state of a series. open.owner holds the flags. A live series without an open chunk has no
 * float samples at all: a chunk is sealed only when the sample that starts the next one is there.
 */
struct tide__record {
    struct tide_chunk_open open;
    uint32_t column; /* Of the open chunk; or a clock. */
    uint32_t sealed; /* Newest sealed chunk. 0: none. */
    uint16_t row;    /* Of the open chunk's first sample. */
    uint16_t count;  /* Samples in the open chunk. */
    uint16_t cut;    /* Samples at which it is sealed. */
    uint8_t misfits;
    uint8_t spare; /* Always 0. */
};
_Static_assert(sizeof(struct tide__record) == 40, "the hot record is what a series costs first");

/* The clock of an open timed chunk. */
struct tide__clock {
    int64_t start_ms; /* Of its partition. */
    uint32_t first;   /* Offset of its first sample. Of a free clock: the next free one, plus 1. */
    struct tide_chunk_clock clock;
};

/* Room to decode any one chunk into, for the writer. Allocated when it is first needed. */
struct tide__scratch {
    uint8_t bytes[TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX) + TIDE_CHUNK_PAD];
    int64_t times[TIDE_CHUNK_SAMPLES_MAX];
    double values[TIDE_CHUNK_SAMPLES_MAX];
};

struct tide_head {
    struct tide_head_options options;
    pthread_rwlock_t
        lock; /* Level 2 in docs/LOCKS.md. Writers first. Guards everything below. Only the writer
                 changes it (and who frees a frozen view), so the writer reads without. */
    struct tide_index *index;
    struct tide_pages records; /* struct tide__record by reference. */
    uint32_t *live;            /* Live series in each full page of records. */
    size_t live_capacity;
    struct tide_segments segments;
    struct tide_pages clocks; /* struct tide__clock. */
    uint32_t clock_free;      /* Plus 1; 0: none. */
    struct tide__store store;
    struct tide__columns columns;
    uint32_t epoch; /* Changes when columns are removed, and with floor_ms. */
    /* Readers see nothing before it: set while a truncation goes on in slices, so that no read
     * finds some parts of a series gone and others not yet. Else INT64_MIN. */
    int64_t floor_ms;
    struct tide__late_table late;
    struct tide__scratch *scratch;
    uint64_t open_samples;
    int64_t min_ms, max_ms; /* INT64_MAX and INT64_MIN without samples. */

    struct tide_head_frozen *frozen; /* While set, memory it may read goes to the graveyard. */
    void **graveyard;
    size_t grave_count;
    size_t grave_capacity;

    struct tide__histogram_table histograms; /* Under the lock, too. */
};

void tide__head_lock_read(struct tide_head *head);
void tide__head_lock_write(struct tide_head *head);
void tide__head_unlock(struct tide_head *head);

/* The record of ref, or NULL: never given out, or its page was dropped. */
static inline struct tide__record *tide__record(const struct tide_pages *records, uint32_t ref)
{
    if (ref >= records->count || records->pages[ref / TIDE_PAGE_ITEMS] == NULL)
        return NULL;
    return tide_pages_at(records, ref, sizeof(struct tide__record));
}

static inline struct tide__clock *tide__clock(const struct tide_pages *clocks, uint32_t id)
{
    return tide_pages_at(clocks, id, sizeof(struct tide__clock));
}

/* Start of the partition of a timestamp. */
static inline int64_t tide__partition_start(const struct tide_head *head, int64_t ts_ms)
{
    int64_t rest = ts_ms % head->options.partition_ms;

    return ts_ms - (rest < 0 ? rest + head->options.partition_ms : rest);
}

/* First and last timestamp of the open chunk, which has samples. */
int64_t tide__open_first_ms(const struct tide_head *head, const struct tide__record *r);
int64_t tide__open_last_ms(const struct tide_head *head, const struct tide__record *r);
/* Start of its partition. */
int64_t tide__open_start_ms(const struct tide_head *head, const struct tide__record *r);
/* First and last timestamp of a sealed chunk. */
void tide__sealed_range(const struct tide_head *head, uint32_t id, struct tide__sealed *chunk,
                        int64_t *first_ms, int64_t *last_ms);
/* Stream of a sealed chunk. */
static inline struct tide_slice tide__sealed_stream(struct tide__sealed *chunk)
{
    size_t skip = chunk->timed ? sizeof(uint32_t) : 0;

    return (struct tide_slice){tide__sealed_data(chunk) + skip, chunk->bytes - skip};
}

/* Two functions that keep the counts of live series. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__head_record_add(struct tide_head *head, uint32_t ref);
void tide__head_record_remove(struct tide_head *head, uint32_t ref);
/* A clock; the caller sets all of it. */
TIDE_CHECK_RESULT enum tide_err tide__clock_take(struct tide_head *head, uint32_t *id);
void tide__clock_give(struct tide_head *head, uint32_t id);
/* Drops the open chunk, its samples with it. */
void tide__open_drop(struct tide_head *head, struct tide__record *r);
/* Writer's scratch. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__head_scratch(struct tide_head *head,
                                                   struct tide__scratch **out);
/* Freeing what a frozen view may read: later, if there is one. Places for it are taken first, so
 * that nothing fails halfway. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__head_dig(struct tide_head *head, size_t count);
void tide__head_bury(struct tide_head *head, void *memory); /* NULL is allowed. */

/* What became of a sample. */
enum tide__outcome { TIDE__STORED, TIDE__THERE, TIDE__CONFLICT, TIDE__FULL };

/* Takes a sample older than the newest of its series. Errors: TIDE_ERR_NO_MEMORY;
 * TIDE_ERR_CORRUPT, a chunk of the series cannot be decoded (restored from a bad checkpoint). */
TIDE_CHECK_RESULT enum tide_err tide__late_append(struct tide_head *head, uint32_t ref,
                                                  struct tide__record *r, int64_t ts_ms,
                                                  uint64_t bits, enum tide__outcome *outcome);
/* Whether the series has a float sample at ts_ms. Errors: as above. */
TIDE_CHECK_RESULT enum tide_err tide__sample_there(struct tide_head *head, uint32_t ref,
                                                   const struct tide__record *r, int64_t ts_ms,
                                                   bool *there);
/* Whether it has a histogram there. Errors: as above. */
TIDE_CHECK_RESULT enum tide_err tide__histogram_there(struct tide_head *head, uint32_t ref,
                                                      int64_t ts_ms, bool *there);
/* Newest timestamp of the series, floats and histograms; false: it has no samples. */
bool tide__newest_ms(const struct tide_head *head, uint32_t ref, const struct tide__record *r,
                     int64_t *ts_ms);
TIDE_CHECK_RESULT enum tide_err tide__head_reject(struct tide_head_rejects *rejects, size_t index,
                                                  enum tide_err why);
/* Why a sample with this timestamp is not taken, or TIDE_OK. */
static inline enum tide_err tide__head_check_ms(int64_t ts_ms, int64_t oldest_ms)
{
    if (ts_ms < oldest_ms || ts_ms < -TIDE_HEAD_TIME_MS_MAX)
        return TIDE_ERR_TOO_OLD;
    return ts_ms > TIDE_HEAD_TIME_MS_MAX ? TIDE_ERR_TOO_NEW : TIDE_OK;
}
/* Drops histograms in partitions before cut_ms. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__histograms_truncate(struct tide_head *head, int64_t cut_ms);
/* Drops late samples in partitions before cut_ms. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__late_truncate(struct tide_head *head, int64_t cut_ms);

#endif
