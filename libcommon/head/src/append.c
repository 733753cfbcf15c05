/* The write path: which chunk, which row of which column a sample goes to. */
#include "head_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

/* Samples appended in one hold of the lock: about a millisecond. */
#define SLICE_SAMPLES 16384u
/* Records asked for ahead of their use; a cold one takes 100 ns, a sample about 20. */
#define PREFETCH_AHEAD 12u

/* What identifies a scrape target: a hash of job and instance. Two targets with the same hash share
 * columns, which costs space and nothing else. 0: the series lacks one of both labels. */
static uint64_t target_of(const struct tide_head *head, uint32_t ref)
{
    struct tide_slice job = tide_index_label(head->index, ref, TIDE_SLICE("job"));
    struct tide_slice instance = tide_index_label(head->index, ref, TIDE_SLICE("instance"));
    uint64_t hash;

    if (job.len == 0 || instance.len == 0)
        return 0;
    hash = tide_hash64(instance, tide_hash64(job, 0));
    return hash == 0 ? 1 : hash;
}

/* ---- Chunks ---- */

/* Seals the open chunk. The record has none after it; its clock, if any, is free. */
static enum tide_err seal(struct tide_head *head, struct tide__record *r)
{
    bool timed = (r->open.owner & TIDE__TIMED) != 0;
    size_t bytes = tide_chunk_bytes(&head->segments, &r->open);
    size_t skip = timed ? sizeof(uint32_t) : 0;
    struct tide__sealed *chunk;
    uint32_t id;
    enum tide_err err = tide__store_add(&head->store, tide__open_start_ms(head, r), bytes + skip,
                                        r->count, r->sealed, &id);

    if (err != TIDE_OK)
        return err;
    chunk = tide__store_at(&head->store, id);
    if (timed) {
        const struct tide__clock *clock = tide__clock(&head->clocks, r->column);

        chunk->timed = 1;
        chunk->first = clock->first;
        memcpy(tide__sealed_data(chunk), &clock->clock.last, sizeof(uint32_t));
    } else {
        chunk->first = r->column;
        chunk->row = r->row;
    }
    (void)tide_chunk_copy(&head->segments, &r->open, tide__sealed_data(chunk) + skip, bytes);
    r->sealed = id;
    if (r->count >= TIDE__FIT_SAMPLES)
        r->misfits = 0;
    tide__open_drop(head, r);
    return TIDE_OK;
}

/* Samples at which the chunk that begins now is cut: the first one of a partition is longer or
 * shorter by the series' identity, so that a million chunks do not close in the same second. */
static uint16_t choose_cut(const struct tide_head *head, uint32_t ref, const struct tide__record *r,
                           int64_t start_ms)
{
    uint32_t samples = head->options.chunk_samples;

    if (tide__store_at(&head->store, r->sealed) != NULL &&
        tide__store_start(&head->store, r->sealed) == start_ms)
        return (uint16_t)samples;
    return (uint16_t)(samples - samples / 2 + tide_index_order_key(head->index, ref) % samples);
}

static enum tide_err begin_timed(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                 int64_t start_ms, int64_t ts_ms, uint64_t bits)
{
    struct tide__clock *clock;
    uint32_t id;
    enum tide_err err = tide__clock_take(head, &id);

    if (err != TIDE_OK)
        return err;
    clock = tide__clock(&head->clocks, id);
    *clock = (struct tide__clock){.start_ms = start_ms, .first = (uint32_t)(ts_ms - start_ms)};
    r->open.owner |= TIDE__TIMED;
    r->column = id;
    r->row = 0;
    r->count = 1;
    r->cut = choose_cut(head, ref, r, start_ms);
    head->open_samples++;
    return tide_chunk_append_timed(&head->segments, &r->open, &clock->clock, clock->first, bits);
}

static enum tide_err begin_at_row(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                  const struct tide__column *column, uint32_t row, uint64_t bits)
{
    r->column = column->id;
    r->row = (uint16_t)row;
    r->count = 1;
    r->cut = choose_cut(head, ref, r, column->start_ms);
    head->open_samples++;
    return tide_chunk_append(&head->segments, &r->open, bits);
}

static enum tide_err add_row(struct tide_head *head, struct tide__column *column, uint32_t offset)
{
    void *old = NULL;
    enum tide_err err = TIDE_OK;

    if (column->count == column->capacity)
        err = tide__head_dig(head, 1);
    if (err == TIDE_OK)
        err = tide__columns_add_row(&head->columns, column, offset, &old);
    if (old != NULL)
        tide__head_bury(head, old);
    return err;
}

/* ---- Where a chunk begins ---- */

/* The row of the column that a chunk beginning with this offset may take: there already, or to be
 * added at the end (then it is count). ROWS_MAX: none. */
static uint32_t row_for(const struct tide__column *column, uint32_t offset, bool may_add)
{
    uint32_t row;

    if (column->count > 0 && column->offsets[column->count - 1] == offset)
        return column->count - 1;
    if (column->count == 0 || column->offsets[column->count - 1] < offset)
        return may_add ? column->count : TIDE__COLUMN_ROWS_MAX;
    row = tide__column_row(column, 0, offset);
    return column->offsets[row] == offset ? row : TIDE__COLUMN_ROWS_MAX;
}

/* Begins a chunk in a column of the target that has the timestamp as a row; else in the one of the
 * given track, if the timestamp may follow its rows; else in a new track; else as a timed chunk.
 *
 * avoid  A column that the series has just left, or NONE. */
static enum tide_err begin_in_columns(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                      uint64_t target, uint32_t track, uint32_t avoid,
                                      int64_t start_ms, int64_t ts_ms, uint64_t bits)
{
    uint32_t offset = (uint32_t)(ts_ms - start_ms), row, row_of_track = 0, used = 0;
    struct tide__column *column = NULL, *of_track = NULL;
    enum tide_err err;

    if (r->misfits <= TIDE__MISFITS_TIMED)
        column = tide__columns_find(&head->columns, target, start_ms);
    while (column != NULL) {
        used |= 1u << column->track;
        if (column->id != avoid) {
            row = row_for(column, offset, column->track == track);
            if (row < column->count)
                return begin_at_row(head, ref, r, column, row, bits);
            if (row < TIDE__COLUMN_ROWS_MAX) {
                of_track = column;
                row_of_track = row;
            }
        }
        column = column->next_track == TIDE__COLUMN_NONE ? NULL
                                                         : head->columns.items[column->next_track];
    }
    if (r->misfits >= TIDE__MISFITS_TIMED)
        return begin_timed(head, ref, r, start_ms, ts_ms, bits);
    if (of_track == NULL) {
        if (track >= TIDE__TRACKS_MAX || used >> track & 1)
            track = (uint32_t)__builtin_ctz(~used);
        if (track >= TIDE__TRACKS_MAX)
            return begin_timed(head, ref, r, start_ms, ts_ms, bits);
        err = tide__columns_add(&head->columns, target, start_ms, track, 0, &of_track);
        if (err != TIDE_OK)
            return err;
    }
    err = add_row(head, of_track, offset);
    return err == TIDE_OK ? begin_at_row(head, ref, r, of_track, row_of_track, bits) : err;
}

/* Begins a chunk of a series that follows no column now. */
static enum tide_err begin_anew(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                int64_t ts_ms, uint64_t bits)
{
    int64_t start_ms = tide__partition_start(head, ts_ms);
    uint64_t target = target_of(head, ref);

    if (target == 0)
        return begin_timed(head, ref, r, start_ms, ts_ms, bits);
    return begin_in_columns(head, ref, r, target, 0, TIDE__COLUMN_NONE, start_ms, ts_ms, bits);
}

/* ---- The next sample of a series ---- */

/* ts_ms is after the newest sample; the open chunk is timed. */
static enum tide_err append_timed(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                  int64_t ts_ms, uint64_t bits)
{
    struct tide__clock *clock = tide__clock(&head->clocks, r->column);
    int64_t start_ms = clock->start_ms;
    enum tide_err err;

    if (ts_ms - start_ms < head->options.partition_ms && r->count < r->cut) {
        r->count++;
        head->open_samples++;
        return tide_chunk_append_timed(&head->segments, &r->open, &clock->clock,
                                       (uint32_t)(ts_ms - start_ms), bits);
    }
    err = seal(head, r);
    if (err != TIDE_OK)
        return err;
    if (ts_ms - start_ms < head->options.partition_ms)
        return begin_timed(head, ref, r, start_ms, ts_ms, bits);
    /* A new partition: its siblings may be in step again. One misfit more sends it back. */
    if (r->misfits > TIDE__MISFITS_TIMED)
        r->misfits = TIDE__MISFITS_TIMED;
    return begin_anew(head, ref, r, ts_ms, bits);
}

/* ts_ms is after the newest sample; the open chunk follows a column, but the next row is not there
 * for the taking. */
static enum tide_err append_beside(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                   int64_t ts_ms, uint64_t bits)
{
    struct tide__column *column = head->columns.items[r->column];
    uint32_t next = (uint32_t)r->row + r->count, row, offset;
    uint64_t target = column->target;
    bool is_short = r->count < TIDE__MISFIT_SAMPLES;
    enum tide_err err = seal(head, r);

    if (err != TIDE_OK)
        return err;
    if (ts_ms - column->start_ms >= head->options.partition_ms)
        return begin_in_columns(head, ref, r, target, column->track, TIDE__COLUMN_NONE,
                                tide__partition_start(head, ts_ms), ts_ms, bits);
    offset = (uint32_t)(ts_ms - column->start_ms);
    row = row_for(column, offset, true);
    if (row != next && is_short && r->misfits < UINT8_MAX)
        r->misfits++;
    if (row == TIDE__COLUMN_ROWS_MAX ||
        (row != next && is_short && r->misfits >= TIDE__MISFITS_MOVE))
        return begin_in_columns(head, ref, r, target, UINT32_MAX, column->id, column->start_ms,
                                ts_ms, bits);
    if (row == column->count) {
        err = add_row(head, column, offset);
        if (err != TIDE_OK)
            return err;
    }
    return begin_at_row(head, ref, r, column, row, bits);
}

static enum tide_err append_slow(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                 int64_t ts_ms, uint64_t bits, enum tide__outcome *outcome)
{
    int64_t last_ms;

    *outcome = TIDE__STORED;
    if (r->count == 0)
        return begin_anew(head, ref, r, ts_ms, bits);
    last_ms = tide__open_last_ms(head, r);
    if (ts_ms < last_ms)
        return tide__late_append(head, ref, r, ts_ms, bits, outcome);
    if (ts_ms == last_ms) {
        *outcome = bits == r->open.last ? TIDE__THERE : TIDE__CONFLICT;
        return TIDE_OK;
    }
    /* It may have to be sealed now. */
    if (!tide__store_accepts(&head->store, tide__open_start_ms(head, r))) {
        *outcome = TIDE__FULL;
        return TIDE_OK;
    }
    return r->open.owner & TIDE__TIMED ? append_timed(head, ref, r, ts_ms, bits)
                                       : append_beside(head, ref, r, ts_ms, bits);
}

/* The common case: the series goes on at the next row of its column, which a sibling has made or
 * which it makes itself. */
static inline enum tide_err append_one(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                       int64_t ts_ms, uint64_t bits, enum tide__outcome *outcome)
{
    if (r->count > 0 && r->count < r->cut && (r->open.owner & TIDE__TIMED) == 0) {
        struct tide__column *column = head->columns.items[r->column];
        uint32_t row = (uint32_t)r->row + r->count;
        uint64_t offset = (uint64_t)ts_ms - (uint64_t)column->start_ms;

        if (row == column->count && offset < (uint64_t)head->options.partition_ms &&
            offset > column->offsets[row - 1] && row < TIDE__COLUMN_ROWS_MAX) {
            enum tide_err err = add_row(head, column, (uint32_t)offset);

            if (err != TIDE_OK)
                return err;
        }
        if (row < column->count && offset == column->offsets[row]) {
            r->count++;
            head->open_samples++;
            *outcome = TIDE__STORED;
            return tide_chunk_append(&head->segments, &r->open, bits);
        }
    }
    return append_slow(head, ref, r, ts_ms, bits, outcome);
}

enum tide_err tide__head_reject(struct tide_head_rejects *rejects, size_t index, enum tide_err why)
{
    enum tide_err err = tide_mem_grow((void **)&rejects->items, &rejects->capacity,
                                      rejects->count + 1, sizeof(*rejects->items));

    if (err == TIDE_OK)
        rejects->items[rejects->count++] =
            (struct tide_push_reject){.index = (uint32_t)index, .why = why};
    return err;
}

static void prefetch_record(const struct tide_head *head, uint32_t ref)
{
    const struct tide__record *r = tide__record(&head->records, ref);

    if (r != NULL) {
        __builtin_prefetch(r, 1);
        __builtin_prefetch((const uint8_t *)(r + 1) - 1, 1); /* 40 bytes may cross a line. */
    }
}

/* Why a sample is refused whose series is not there or has histograms, or whose timestamp is not
 * taken; TIDE_OK: it is not. */
static enum tide_err check_odd(struct tide_head *head, uint32_t ref, const struct tide__record *r,
                               int64_t ts_ms, int64_t oldest_ms, enum tide_err *why)
{
    bool there = false;
    enum tide_err err = TIDE_OK;

    *why = TIDE_ERR_NOT_FOUND;
    if (r != NULL && (r->open.owner & TIDE__LIVE) != 0)
        *why = tide__head_check_ms(ts_ms, oldest_ms);
    if (*why == TIDE_OK)
        err = tide__histogram_there(head, ref, ts_ms, &there);
    if (there)
        *why = TIDE_ERR_DUPLICATE_TIMESTAMP;
    return err;
}

static enum tide_err append_slice(struct tide_head *head, const uint32_t *refs,
                                  const int64_t *times_ms, const uint64_t *bits, size_t first,
                                  size_t end, int64_t oldest_ms, struct tide_head_rejects *rejects)
{
    enum tide_err err = TIDE_OK;

    if (oldest_ms < -TIDE_HEAD_TIME_MS_MAX)
        oldest_ms = -TIDE_HEAD_TIME_MS_MAX;
    for (size_t i = first; i < end && err == TIDE_OK; i++) {
        struct tide__record *r = tide__record(&head->records, refs[i]);
        enum tide__outcome outcome;
        enum tide_err why;

        if (i + PREFETCH_AHEAD < end)
            prefetch_record(head, refs[i + PREFETCH_AHEAD]);
        if (r == NULL || (r->open.owner & (TIDE__LIVE | TIDE__HISTOGRAMS)) != TIDE__LIVE ||
            times_ms[i] < oldest_ms || times_ms[i] > TIDE_HEAD_TIME_MS_MAX) {
            err = check_odd(head, refs[i], r, times_ms[i], oldest_ms, &why);
            if (err == TIDE_OK && why != TIDE_OK) {
                err = tide__head_reject(rejects, i, why);
                continue;
            }
            if (err != TIDE_OK)
                break;
        }
        err = append_one(head, refs[i], r, times_ms[i], bits[i], &outcome);
        if (err != TIDE_OK)
            break;
        if (outcome == TIDE__STORED) {
            head->min_ms = times_ms[i] < head->min_ms ? times_ms[i] : head->min_ms;
            head->max_ms = times_ms[i] > head->max_ms ? times_ms[i] : head->max_ms;
        } else if (outcome != TIDE__THERE) {
            err = tide__head_reject(
                rejects, i, outcome == TIDE__FULL ? TIDE_ERR_LIMIT : TIDE_ERR_DUPLICATE_TIMESTAMP);
        }
    }
    return err;
}

enum tide_err tide_head_append(struct tide_head *head, const uint32_t *refs,
                               const int64_t *times_ms, const uint64_t *bits, size_t count,
                               int64_t oldest_ms, struct tide_head_rejects *rejects)
{
    enum tide_err err = TIDE_OK;

    for (size_t first = 0; first < count && err == TIDE_OK; first += SLICE_SAMPLES) {
        size_t end = count - first < SLICE_SAMPLES ? count : first + SLICE_SAMPLES;

        tide__head_lock_write(head);
        err = append_slice(head, refs, times_ms, bits, first, end, oldest_ms, rejects);
        tide__head_unlock(head);
    }
    return err;
}
