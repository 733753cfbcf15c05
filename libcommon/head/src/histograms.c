/* How native histograms are taken in: after the newest of their series, or among the others. */
#include "head_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

/* Histograms appended in one hold of the lock: about a millisecond. */
#define SLICE_HISTOGRAMS 512u

/* ---- One chunk, opened up ---- */

/* The samples of a chunk, with room for one more. */
struct run {
    int64_t *times_ms;
    struct tide_histogram *histograms;
    size_t count;
};

static enum tide_err decode_run(struct tide_slice stream, size_t count, struct tide_arena *arena,
                                struct run *out)
{
    out->times_ms = tide_arena_alloc(arena, (count + 1) * sizeof(*out->times_ms));
    out->histograms = tide_arena_alloc(arena, (count + 1) * sizeof(*out->histograms));
    out->count = count;
    if (out->times_ms == NULL || out->histograms == NULL)
        return TIDE_ERR_NO_MEMORY;
    return tide_histogram_chunk_decode(stream, count, arena, out->times_ms, out->histograms);
}

/* Index of the first sample that is not before ts_ms. */
static size_t position(const struct run *run, int64_t ts_ms)
{
    size_t at = 0;

    while (at < run->count && run->times_ms[at] < ts_ms)
        at++;
    return at;
}

/* An open chunk of the samples low … high-1. */
static enum tide_err encode_run(const struct run *run, size_t low, size_t high,
                                struct tide_histogram_chunk *out)
{
    for (size_t i = low; i < high; i++) {
        enum tide_err err = tide_histogram_chunk_append(out, run->times_ms[i], &run->histograms[i]);

        if (err != TIDE_OK) {
            tide_histogram_chunk_deinit(out);
            return err;
        }
    }
    return TIDE_OK;
}

/* ---- Where a timestamp is ---- */

static int64_t first_ms(const struct tide__histograms *series, size_t k)
{
    return k == series->count ? series->open.first_ms : series->chunks[k]->first_ms;
}

static struct tide_slice stream_of(const struct tide__histograms *series, size_t k, uint32_t *count)
{
    if (k == series->count) {
        *count = series->open.count;
        return tide_buf_view(&series->open.stream);
    }
    *count = series->chunks[k]->count;
    return tide__histogram_stream(series->chunks[k]);
}

/* The first chunk that ends at or after ts_ms, the open one being number count; ts_ms is not after
 * its end. */
static size_t chunk_at(const struct tide__histograms *series, int64_t ts_ms)
{
    size_t low = 0, high = series->count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (series->chunks[mid]->last_ms < ts_ms)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Whether chunk k may take a sample at ts_ms, outside its range, in. */
static bool has_room(const struct tide_head *head, const struct tide__histograms *series, size_t k,
                     int64_t ts_ms)
{
    uint32_t count;
    struct tide_slice stream = stream_of(series, k, &count);

    return count < TIDE__HISTOGRAM_SAMPLES && stream.len < TIDE__HISTOGRAM_BYTES &&
           tide__partition_start(head, first_ms(series, k)) == tide__partition_start(head, ts_ms);
}

enum tide_err tide__histogram_there(struct tide_head *head, uint32_t ref, int64_t ts_ms,
                                    bool *there)
{
    const struct tide__histograms *series = tide__histograms_find(&head->histograms, ref);
    struct tide_arena *arena;
    struct tide_slice stream;
    struct run run;
    uint32_t count;
    size_t k;
    enum tide_err err;

    TIDE_ASSERT(series != NULL);
    *there = false;
    if (ts_ms > series->open.last_ms)
        return TIDE_OK;
    k = chunk_at(series, ts_ms);
    if (ts_ms < first_ms(series, k))
        return TIDE_OK;
    arena = tide__histogram_arena(&head->histograms);
    if (arena == NULL)
        return TIDE_ERR_NO_MEMORY;
    stream = stream_of(series, k, &count);
    err = decode_run(stream, count, arena, &run);
    if (err == TIDE_OK)
        *there = run.times_ms[position(&run, ts_ms)] == ts_ms;
    return err;
}

bool tide__newest_ms(const struct tide_head *head, uint32_t ref, const struct tide__record *r,
                     int64_t *ts_ms)
{
    if (r->count > 0)
        *ts_ms = tide__open_last_ms(head, r);
    if (r->open.owner & TIDE__HISTOGRAMS) {
        int64_t newest_ms = tide__histograms_find(&head->histograms, ref)->open.last_ms;

        if (r->count == 0 || newest_ms > *ts_ms)
            *ts_ms = newest_ms;
        return true;
    }
    return r->count > 0;
}

/* ---- Among the others ---- */

/* Puts a chunk of the run's samples low … high-1 at place k of the sealed ones. */
static enum tide_err insert_sealed(struct tide_head *head, struct tide__histograms *series,
                                   size_t k, const struct run *run, size_t low, size_t high)
{
    struct tide_histogram_chunk open = {0};
    struct tide__histogram_chunk *chunk;
    enum tide_err err = encode_run(run, low, high, &open);

    if (err != TIDE_OK)
        return err;
    chunk = tide__histogram_chunk_new(&open);
    tide_histogram_chunk_deinit(&open);
    if (chunk == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = tide__histograms_insert(&head->histograms, series, k, chunk);
    if (err != TIDE_OK)
        tide_mem_free(chunk);
    return err;
}

/* Replaces chunk k by one of the run's samples, or two when they are too many. */
static enum tide_err replace(struct tide_head *head, struct tide__histograms *series, size_t k,
                             const struct run *run)
{
    size_t half = run->count > TIDE__HISTOGRAM_SAMPLES ? run->count / 2 : 0;
    struct tide__histogram_chunk *old;
    struct tide_histogram_chunk open = {0};
    enum tide_err err;

    if (k == series->count) {
        err = half > 0 ? insert_sealed(head, series, k, run, 0, half) : TIDE_OK;
        if (err == TIDE_OK)
            err = encode_run(run, half, run->count, &open);
        if (err == TIDE_OK)
            tide__histograms_set_open(&head->histograms, series, &open);
        return err;
    }
    err = tide__head_dig(head, 1);
    if (err != TIDE_OK)
        return err;
    old = series->chunks[k];
    tide__histograms_take(&head->histograms, series, k, 1);
    tide__head_bury(head, old);
    err = insert_sealed(head, series, k, run, half, run->count);
    if (err == TIDE_OK && half > 0)
        err = insert_sealed(head, series, k, run, 0, half);
    return err;
}

/* Takes a histogram that is not after the newest one. */
static enum tide_err insert(struct tide_head *head, struct tide__histograms *series, int64_t ts_ms,
                            const struct tide_histogram *h, struct tide_arena *arena,
                            enum tide__outcome *outcome)
{
    size_t k = chunk_at(series, ts_ms), at;
    struct tide_slice stream;
    struct run run;
    uint32_t count;
    enum tide_err err;

    if (ts_ms < first_ms(series, k) && k > 0 && has_room(head, series, k - 1, ts_ms))
        k--;
    else if (ts_ms < first_ms(series, k) && !has_room(head, series, k, ts_ms)) {
        struct tide_histogram copy = *h;

        run = (struct run){&ts_ms, &copy, 1};
        return insert_sealed(head, series, k, &run, 0, 1);
    }
    stream = stream_of(series, k, &count);
    err = decode_run(stream, count, arena, &run);
    if (err != TIDE_OK)
        return err;
    at = position(&run, ts_ms);
    if (at < count && run.times_ms[at] == ts_ms) {
        *outcome = tide_histogram_eq(&run.histograms[at], h) ? TIDE__THERE : TIDE__CONFLICT;
        return TIDE_OK;
    }
    memmove(&run.times_ms[at + 1], &run.times_ms[at], (count - at) * sizeof(*run.times_ms));
    memmove(&run.histograms[at + 1], &run.histograms[at], (count - at) * sizeof(*run.histograms));
    run.times_ms[at] = ts_ms;
    run.histograms[at] = *h;
    run.count++;
    return replace(head, series, k, &run);
}

/* ---- Append ---- */

static enum tide_err append_one(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                int64_t ts_ms, const struct tide_histogram *h,
                                struct tide_arena *arena, enum tide__outcome *outcome)
{
    struct tide__histogram_table *table = &head->histograms;
    struct tide__histograms *series;
    bool there;
    enum tide_err err = tide__sample_there(head, ref, r, ts_ms, &there);

    *outcome = there ? TIDE__CONFLICT : TIDE__STORED;
    if (err != TIDE_OK || there)
        return err;
    err = tide__histograms_get(table, ref, &series);
    if (err != TIDE_OK)
        return err;
    if (series->open.count > 0 && ts_ms <= series->open.last_ms)
        return insert(head, series, ts_ms, h, arena, outcome);
    if (series->open.count > 0 &&
        tide__partition_start(head, series->open.last_ms) != tide__partition_start(head, ts_ms))
        err = tide__histograms_seal(table, series);
    if (err == TIDE_OK)
        err = tide__histograms_add(table, series, ts_ms, h);
    if (err == TIDE_OK)
        r->open.owner |= TIDE__HISTOGRAMS;
    return err;
}

/* Decodes and appends one; *why: it is rejected. */
static enum tide_err take(struct tide_head *head, uint32_t ref, int64_t ts_ms,
                          struct tide_slice bytes, int64_t oldest_ms, enum tide_err *why)
{
    struct tide__record *r = tide__record(&head->records, ref);
    struct tide_arena *arena;
    struct tide_reader reader = tide_reader(bytes);
    struct tide_histogram h;
    enum tide__outcome outcome;
    enum tide_err err;

    *why = TIDE_ERR_NOT_FOUND;
    if (r != NULL && (r->open.owner & TIDE__LIVE) != 0)
        *why = tide__head_check_ms(ts_ms, oldest_ms);
    if (*why != TIDE_OK)
        return TIDE_OK;
    arena = tide__histogram_arena(&head->histograms);
    if (arena == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = tide_histogram_decode(&reader, arena, &h);
    if (err == TIDE_OK && reader.rest.len > 0)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err = append_one(head, ref, r, ts_ms, &h, arena, &outcome);
    if (err != TIDE_OK)
        return err;
    if (outcome == TIDE__CONFLICT)
        *why = TIDE_ERR_DUPLICATE_TIMESTAMP;
    if (outcome == TIDE__STORED) {
        head->min_ms = ts_ms < head->min_ms ? ts_ms : head->min_ms;
        head->max_ms = ts_ms > head->max_ms ? ts_ms : head->max_ms;
    }
    return TIDE_OK;
}

enum tide_err tide_head_append_histograms(struct tide_head *head, const uint32_t *refs,
                                          const int64_t *times_ms,
                                          const struct tide_slice *histograms, size_t count,
                                          size_t first_index, int64_t oldest_ms,
                                          struct tide_head_rejects *rejects)
{
    enum tide_err err = TIDE_OK;

    for (size_t i = 0; i < count && err == TIDE_OK;) {
        size_t end = count - i < SLICE_HISTOGRAMS ? count : i + SLICE_HISTOGRAMS;

        tide__head_lock_write(head);
        for (; i < end && err == TIDE_OK; i++) {
            enum tide_err why;

            err = take(head, refs[i], times_ms[i], histograms[i], oldest_ms, &why);
            if (err == TIDE_OK && why != TIDE_OK)
                err = tide__head_reject(rejects, first_index + i, why);
        }
        tide__head_unlock(head);
    }
    return err;
}

/* ---- Truncate ---- */

/* Drops what is before cut_ms of one series; all its histograms: the series' entry, too. */
static enum tide_err truncate_one(struct tide_head *head, uint32_t ref,
                                  struct tide__histograms *series, int64_t cut_ms)
{
    size_t gone = 0;
    enum tide_err err;

    while (gone < series->count && series->chunks[gone]->first_ms < cut_ms)
        gone++;
    err = tide__head_dig(head, gone);
    if (err != TIDE_OK)
        return err;
    for (size_t i = 0; i < gone; i++) { /* One by one: taking a chunk out reads it. */
        struct tide__histogram_chunk *chunk = series->chunks[gone - 1 - i];

        tide__histograms_take(&head->histograms, series, gone - 1 - i, 1);
        tide__head_bury(head, chunk);
    }
    if (series->count == 0 && series->open.first_ms < cut_ms) {
        struct tide__record *r = tide__record(&head->records, ref);

        TIDE_ASSERT(r != NULL);
        r->open.owner &= (uint8_t)~TIDE__HISTOGRAMS;
        tide__histograms_remove(&head->histograms, ref);
    }
    return TIDE_OK;
}

enum tide_err tide__histograms_truncate(struct tide_head *head, int64_t cut_ms)
{
    struct tide__histogram_table *table = &head->histograms;

    for (size_t page = 0; page < table->page_count; page++) {
        for (uint32_t i = 0; i < TIDE__HISTOGRAM_PAGE && table->pages[page] != NULL; i++) {
            uint32_t ref = (uint32_t)page * TIDE__HISTOGRAM_PAGE + i;
            struct tide__histograms *series = table->pages[page]->items[i];
            enum tide_err err = series == NULL ? TIDE_OK : truncate_one(head, ref, series, cut_ms);

            if (err != TIDE_OK)
                return err;
        }
    }
    return TIDE_OK;
}
