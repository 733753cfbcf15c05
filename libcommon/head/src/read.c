/* Reading samples: a slice of series at a time under the lock, in passes, so that the memory of
 * many cold series is asked for at once: records, then first segments and chunk headers, then the
 * plan (which rows of which chunks), then the rest of the segments, then decoding. */
#include "read_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define SLICE_SERIES 256u
/* A slice ends early when it has this many samples: about half a millisecond. */
#define SLICE_SAMPLES 200000u
#define WINDOWS 512u
/* Distinct timestamp columns remembered in one read. */
#define SHARED 1024u

/* Rows low … high-1 of a column lie in the time range. */
struct window {
    const struct tide__column *column;
    uint32_t count; /* Rows it had then. */
    uint32_t low;
    uint32_t high;
};

/* Consecutive rows of a column: what the timestamps of a series are put together from. */
struct range {
    uint32_t column;
    uint16_t low;
    uint16_t high;
};

/* Timestamps that were put together already. */
struct shared {
    const struct range *ranges;
    size_t range_count;
    const int64_t *times;
};

/* A part of one chunk. */
struct piece {
    const uint8_t *stream; /* NULL: the open chunk. */
    int64_t start_ms;      /* Timed: of the partition. */
    uint32_t bytes;
    uint32_t column; /* NONE: timed. */
    uint16_t row;
    uint16_t skip;  /* Samples before the first one wanted. */
    uint16_t count; /* Samples wanted; timed: all there are, as the times are not known yet. */
};

struct plan {
    const struct tide__record *r; /* NULL: nothing to read. */
    struct tide__late *late;      /* NULL: none. */
    /* Chunks histogram_low … histogram_high-1 are in the time range, the open one being number
     * count. */
    const struct tide__histograms *histograms; /* NULL: none in the range. */
    size_t histogram_low;
    size_t histogram_high;
    uint32_t histogram_samples; /* In them. */
    uint64_t histogram_bytes;   /* To decode them into. */
    uint32_t piece;             /* The first of its pieces, which run from new to old. */
    uint32_t piece_count;
    uint32_t samples; /* At most, histograms included. */
    bool has_own_times;
};

struct reader {
    struct tide_head *head;
    int64_t wanted_mint_ms;
    int64_t mint_ms; /* Not before the head's floor. */
    int64_t maxt_ms;
    struct tide_arena *arena;
    uint32_t epoch; /* head->epoch that mint_ms, windows and shared are of. */
    struct piece *pieces;
    size_t piece_count;
    size_t piece_capacity;
    struct range *ranges;
    size_t range_capacity;
    struct plan plans[SLICE_SERIES];
    struct window windows[WINDOWS];
    struct shared shared[SHARED];
    struct tide__scratch scratch;
};

/* ---- Plan ---- */

static const struct window *window_of(struct reader *rd, const struct tide__column *column)
{
    struct window *w = &rd->windows[column->id % WINDOWS];
    uint32_t low = 0, high = column->count;

    if (w->column == column && w->count == column->count)
        return w;
    if (rd->mint_ms > column->start_ms) {
        uint64_t offset = (uint64_t)rd->mint_ms - (uint64_t)column->start_ms;

        low = offset > UINT32_MAX ? high : tide__column_row(column, 0, (uint32_t)offset);
    }
    if (rd->maxt_ms < column->start_ms) {
        high = low;
    } else {
        uint64_t offset = (uint64_t)rd->maxt_ms - (uint64_t)column->start_ms;

        if (offset < UINT32_MAX)
            high = tide__column_row(column, low, (uint32_t)offset + 1);
    }
    *w = (struct window){.column = column, .count = column->count, .low = low, .high = high};
    return w;
}

static enum tide_err add_piece(struct reader *rd, struct plan *plan, const struct piece *piece)
{
    enum tide_err err = TIDE_OK;

    if (rd->piece_count == rd->piece_capacity)
        err = tide_mem_grow((void **)&rd->pieces, &rd->piece_capacity, rd->piece_count + 1,
                            sizeof(*rd->pieces));
    if (err != TIDE_OK)
        return err;
    rd->pieces[rd->piece_count++] = *piece;
    plan->piece_count++;
    plan->samples += piece->count;
    return TIDE_OK;
}

/* Plans the rows of a chunk that lie in the time range. */
static enum tide_err plan_rows(struct reader *rd, struct plan *plan,
                               const struct tide__column *column, uint32_t row, uint32_t count,
                               struct piece *piece)
{
    const struct window *w = window_of(rd, column);
    uint32_t low = row > w->low ? row : w->low;
    uint32_t high = row + count < w->high ? row + count : w->high;

    if (low >= high)
        return TIDE_OK;
    piece->column = column->id;
    piece->row = (uint16_t)low;
    piece->skip = (uint16_t)(low - row);
    piece->count = (uint16_t)(high - low);
    return add_piece(rd, plan, piece);
}

static enum tide_err plan_timed(struct reader *rd, struct plan *plan, int64_t first_ms,
                                int64_t last_ms, uint32_t count, struct piece *piece)
{
    if (first_ms > rd->maxt_ms || last_ms < rd->mint_ms)
        return TIDE_OK;
    piece->column = TIDE__COLUMN_NONE;
    piece->count = (uint16_t)count;
    plan->has_own_times = true;
    return add_piece(rd, plan, piece);
}

/* Plans the sealed chunks, from new to old until one begins before the range. */
static enum tide_err plan_sealed(struct reader *rd, struct plan *plan)
{
    const struct tide_head *head = rd->head;
    struct tide__sealed *chunk;
    enum tide_err err = TIDE_OK;

    for (uint32_t id = plan->r->sealed;
         err == TIDE_OK && (chunk = tide__store_at(&head->store, id)) != NULL; id = chunk->older) {
        struct tide_slice stream = tide__sealed_stream(chunk);
        struct piece piece = {.stream = stream.ptr, .bytes = (uint32_t)stream.len};
        int64_t first_ms, last_ms;

        tide__sealed_range(head, id, chunk, &first_ms, &last_ms);
        if (last_ms < rd->mint_ms)
            break;
        for (size_t at = 0; at < stream.len && at < 256; at += 64)
            __builtin_prefetch(stream.ptr + at);
        if (chunk->timed) {
            piece.start_ms = tide__store_start(&head->store, id);
            err = plan_timed(rd, plan, first_ms, last_ms, chunk->count, &piece);
        } else {
            err = plan_rows(rd, plan, head->columns.items[chunk->first], chunk->row, chunk->count,
                            &piece);
        }
        if (first_ms <= rd->mint_ms)
            break;
    }
    return err;
}

static bool overlaps(const struct reader *rd, const struct tide__late_chunk *chunk)
{
    return chunk->start_ms + chunk->first <= rd->maxt_ms &&
           chunk->start_ms + chunk->last >= rd->mint_ms;
}

/* The late chunks low … high-1 are of partitions that the time range touches. */
static void late_range(const struct reader *rd, const struct tide__late *late, size_t *low,
                       size_t *high)
{
    *low = rd->mint_ms < -TIDE_HEAD_TIME_MS_MAX
               ? 0
               : tide__late_chunk_at(late, tide__partition_start(rd->head, rd->mint_ms));
    *high =
        rd->maxt_ms == INT64_MAX ? late->chunk_count : tide__late_chunk_at(late, rd->maxt_ms + 1);
}

static void plan_histograms(struct reader *rd, uint32_t ref, struct plan *plan)
{
    const struct tide__histograms *series = tide__histograms_find(&rd->head->histograms, ref);
    const struct tide_histogram_chunk *open = &series->open;
    size_t low = series->count, high = series->count;

    while (low > 0 && series->chunks[low - 1]->last_ms >= rd->mint_ms)
        low--;
    while (high > low && series->chunks[high - 1]->first_ms > rd->maxt_ms)
        high--;
    for (size_t k = low; k < high; k++) {
        plan->histogram_samples += series->chunks[k]->count;
        plan->histogram_bytes += series->chunks[k]->decoded_bytes;
    }
    if (open->first_ms <= rd->maxt_ms && open->last_ms >= rd->mint_ms) {
        plan->histogram_samples += open->count;
        plan->histogram_bytes += open->decoded_bytes;
        high++;
    }
    if (plan->histogram_samples == 0)
        return;
    plan->histograms = series;
    plan->histogram_low = low;
    plan->histogram_high = high;
    plan->samples += plan->histogram_samples;
    plan->has_own_times = true;
}

static enum tide_err plan_series(struct reader *rd, uint32_t ref, struct plan *plan)
{
    const struct tide_head *head = rd->head;
    const struct tide__record *r = plan->r;
    struct piece piece = {0};
    int64_t first_ms;
    size_t low, high;
    enum tide_err err;

    if (r == NULL)
        return TIDE_OK;
    if (r->open.owner & TIDE__HISTOGRAMS)
        plan_histograms(rd, ref, plan);
    if (r->count == 0)
        return TIDE_OK;
    first_ms = tide__open_first_ms(head, r);
    if (r->open.owner & TIDE__TIMED) {
        piece.start_ms = tide__open_start_ms(head, r);
        err = plan_timed(rd, plan, first_ms, tide__open_last_ms(head, r), r->count, &piece);
    } else {
        err = plan_rows(rd, plan, head->columns.items[r->column], r->row, r->count, &piece);
    }
    if (err == TIDE_OK && first_ms > rd->mint_ms)
        err = plan_sealed(rd, plan);
    if (err == TIDE_OK && r->open.owner & TIDE__LATE) {
        plan->late = tide__late_find(&head->late, ref);
        plan->has_own_times = true;
        plan->samples += plan->late->count;
        late_range(rd, plan->late, &low, &high);
        for (size_t i = low; i < high; i++)
            if (overlaps(rd, plan->late->chunks[i]))
                plan->samples += plan->late->chunks[i]->count;
    }
    return err;
}

/* ---- Decode ---- */

static struct tide_slice stream_of(struct reader *rd, const struct plan *plan,
                                   const struct piece *piece)
{
    if (piece->stream != NULL)
        return (struct tide_slice){piece->stream, piece->bytes};
    return (struct tide_slice){
        rd->scratch.bytes, tide_chunk_copy(&rd->head->segments, &plan->r->open, rd->scratch.bytes,
                                           sizeof(rd->scratch.bytes) - TIDE_CHUNK_PAD)};
}

static enum tide_err decode_rows(struct reader *rd, const struct plan *plan,
                                 const struct piece *piece, double *values)
{
    struct tide_slice stream = stream_of(rd, plan, piece);
    enum tide_err err;

    if (piece->skip == 0)
        return tide_chunk_decode(stream, piece->count, values);
    err = tide_chunk_decode(stream, (size_t)piece->skip + piece->count, rd->scratch.values);
    if (err == TIDE_OK)
        memcpy(values, rd->scratch.values + piece->skip, piece->count * sizeof(*values));
    return err;
}

/* Decodes what of a timed chunk lies in the time range. */
static enum tide_err decode_timed(struct reader *rd, struct tide_slice stream, size_t count,
                                  int64_t start_ms, int64_t *times, double *values, size_t *n)
{
    struct tide__scratch *s = &rd->scratch;
    size_t low = 0;
    enum tide_err err = tide_chunk_decode_timed(stream, count, start_ms, s->times, s->values);

    if (err != TIDE_OK)
        return err;
    while (low < count && s->times[low] < rd->mint_ms)
        low++;
    while (count > low && s->times[count - 1] > rd->maxt_ms)
        count--;
    memcpy(times, s->times + low, (count - low) * sizeof(*times));
    memcpy(values, s->values + low, (count - low) * sizeof(*values));
    *n += count - low;
    return TIDE_OK;
}

static void fill_times(const struct tide__column *column, uint32_t low, uint32_t high,
                       int64_t *times)
{
    for (uint32_t row = low; row < high; row++)
        *times++ = tide__column_ms(column, row);
}

/* Merges late samples into the n that are there; the arrays have room. */
static enum tide_err merge_late(struct reader *rd, const struct plan *plan, int64_t *times,
                                double *values, size_t *n)
{
    const struct tide__late *late = plan->late;
    size_t capacity = plan->samples, count = 0, at, low, high;
    struct tide_sample *samples = tide_arena_alloc(rd->arena, capacity * sizeof(*samples));
    int64_t *late_times = tide_arena_alloc(rd->arena, capacity * sizeof(*late_times));
    double *late_values = tide_arena_alloc(rd->arena, capacity * sizeof(*late_values));
    enum tide_err err = TIDE_OK;

    if (samples == NULL || late_times == NULL || late_values == NULL)
        return TIDE_ERR_NO_MEMORY;
    late_range(rd, late, &low, &high);
    for (size_t i = low; i < high && err == TIDE_OK; i++) {
        const struct tide__late_chunk *chunk = late->chunks[i];
        size_t got = 0;

        if (!overlaps(rd, chunk))
            continue;
        err = decode_timed(rd, (struct tide_slice){chunk->data, chunk->bytes}, chunk->count,
                           chunk->start_ms, late_times, late_values, &got);
        for (size_t k = 0; k < got; k++) {
            samples[count].ts_ms = late_times[k];
            memcpy(&samples[count++].bits, &late_values[k], sizeof(uint64_t));
        }
    }
    if (err != TIDE_OK)
        return err;
    for (uint32_t i = tide__late_at(late, rd->mint_ms);
         i < late->count && late->samples[i].ts_ms <= rd->maxt_ms; i++)
        samples[count++] = late->samples[i];
    tide__late_sort(samples, count);
    at = *n + count;
    TIDE_ASSERT(at <= capacity);
    for (size_t i = *n, k = count; k > 0;) { /* From the end, in place. */
        at--;
        if (i > 0 && times[i - 1] > samples[k - 1].ts_ms) {
            i--;
            times[at] = times[i];
            memcpy(&values[at], &values[i], sizeof(*values));
        } else {
            k--;
            times[at] = samples[k].ts_ms;
            memcpy(&values[at], &samples[k].bits, sizeof(*values));
        }
    }
    *n += count;
    return TIDE_OK;
}

/* Decodes the histograms in the time range: their times and addresses, *n of them. */
static enum tide_err decode_histograms(struct reader *rd, const struct plan *plan, int64_t *times,
                                       const struct tide_histogram **histograms, size_t *n)
{
    const struct tide__histograms *series = plan->histograms;

    for (size_t k = plan->histogram_low; k < plan->histogram_high; k++) {
        bool is_open = k == series->count;
        size_t count = is_open ? series->open.count : series->chunks[k]->count;
        struct tide_slice stream = is_open ? tide_buf_view(&series->open.stream)
                                           : tide__histogram_stream(series->chunks[k]);
        struct tide_histogram *items = tide_arena_alloc(rd->arena, count * sizeof(*items));
        size_t low = 0, high = count;
        enum tide_err err = items == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;

        if (err == TIDE_OK)
            err = tide_histogram_chunk_decode(stream, count, rd->arena, times + *n, items);
        if (err != TIDE_OK)
            return err;
        while (low < high && times[*n + low] < rd->mint_ms)
            low++;
        while (high > low && times[*n + high - 1] > rd->maxt_ms)
            high--;
        memmove(times + *n, times + *n + low, (high - low) * sizeof(*times));
        for (size_t i = low; i < high; i++)
            histograms[(*n)++] = &items[i];
    }
    return TIDE_OK;
}

/* Merges the histograms into the n floats that are there; the arrays have room. */
static enum tide_err merge_histograms(struct reader *rd, const struct plan *plan, int64_t *times,
                                      double *values, size_t *n,
                                      const struct tide_histogram *const **out)
{
    size_t capacity = plan->samples, count = 0, at;
    const struct tide_histogram **merged =
        tide_arena_new_array(rd->arena, capacity, sizeof(struct tide_histogram *));
    const struct tide_histogram **histograms =
        tide_arena_alloc(rd->arena, plan->histogram_samples * sizeof(struct tide_histogram *));
    int64_t *histogram_times =
        tide_arena_alloc(rd->arena, plan->histogram_samples * sizeof(*histogram_times));
    enum tide_err err;

    if (merged == NULL || histograms == NULL || histogram_times == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = decode_histograms(rd, plan, histogram_times, histograms, &count);
    if (err != TIDE_OK || count == 0)
        return err;
    at = *n + count;
    TIDE_ASSERT(at <= capacity);
    for (size_t i = *n, k = count; k > 0;) { /* From the end, in place. */
        at--;
        if (i > 0 && times[i - 1] > histogram_times[k - 1]) {
            i--;
            times[at] = times[i];
            memcpy(&values[at], &values[i], sizeof(*values));
        } else {
            k--;
            times[at] = histogram_times[k];
            values[at] = 0;
            merged[at] = histograms[k];
        }
    }
    *n += count;
    *out = merged;
    return TIDE_OK;
}

static enum tide_err decode_own(struct reader *rd, const struct plan *plan, int64_t *times,
                                double *values, size_t *n)
{
    enum tide_err err = TIDE_OK;

    for (uint32_t i = plan->piece_count; i-- > 0 && err == TIDE_OK;) {
        const struct piece *piece = &rd->pieces[plan->piece + i];

        if (piece->column == TIDE__COLUMN_NONE) {
            err = decode_timed(rd, stream_of(rd, plan, piece), piece->count, piece->start_ms,
                               times + *n, values + *n, n);
        } else {
            err = decode_rows(rd, plan, piece, values + *n);
            fill_times(rd->head->columns.items[piece->column], piece->row,
                       (uint32_t)piece->row + piece->count, times + *n);
            *n += piece->count;
        }
    }
    return err == TIDE_OK && plan->late != NULL ? merge_late(rd, plan, times, values, n) : err;
}

/* The timestamps of a series all of whose pieces are rows: the same array for the same rows. */
static enum tide_err share_times(struct reader *rd, const struct plan *plan, size_t n,
                                 const int64_t **out)
{
    size_t count = 0;
    uint64_t hash = 0;
    struct shared *shared;
    struct range *ranges;
    int64_t *times;
    enum tide_err err;

    if (rd->range_capacity < plan->piece_count) {
        err = tide_mem_grow((void **)&rd->ranges, &rd->range_capacity, plan->piece_count,
                            sizeof(*rd->ranges));
        if (err != TIDE_OK)
            return err;
    }
    for (uint32_t i = plan->piece_count; i-- > 0;) {
        const struct piece *piece = &rd->pieces[plan->piece + i];
        struct range *before = count > 0 ? &rd->ranges[count - 1] : NULL;
        uint16_t high = (uint16_t)(piece->row + piece->count);

        if (before != NULL && before->column == piece->column && before->high == piece->row)
            before->high = high;
        else
            rd->ranges[count++] =
                (struct range){.column = piece->column, .low = piece->row, .high = high};
    }
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ (uint64_t)rd->ranges[i].column << 32 ^ (uint64_t)rd->ranges[i].low << 16 ^
                rd->ranges[i].high) *
               0x9e3779b97f4a7c15u;
    shared = &rd->shared[(hash >> 32) % SHARED];
    if (shared->range_count == count && count > 0 &&
        memcmp(shared->ranges, rd->ranges, count * sizeof(*ranges)) == 0) {
        *out = shared->times;
        return TIDE_OK;
    }
    ranges = tide_arena_alloc(rd->arena, count * sizeof(*ranges));
    times = tide_arena_alloc(rd->arena, n * sizeof(*times));
    if (ranges == NULL || times == NULL)
        return TIDE_ERR_NO_MEMORY;
    n = 0;
    for (size_t i = 0; i < count; i++) {
        ranges[i] = rd->ranges[i];
        fill_times(rd->head->columns.items[ranges[i].column], ranges[i].low, ranges[i].high,
                   times + n);
        n += (size_t)ranges[i].high - ranges[i].low;
    }
    *shared = (struct shared){.ranges = ranges, .range_count = count, .times = times};
    *out = times;
    return TIDE_OK;
}

/* ---- A slice ---- */

/* Looks the records up and asks for what the plan reads. */
static void prepare(struct reader *rd, const uint32_t *refs, size_t count)
{
    const struct tide_head *head = rd->head;

    for (size_t i = 0; i < count; i++) {
        const struct tide__record *r = tide__record(&head->records, refs[i]);

        rd->plans[i] = (struct plan){.r = r};
        if (r != NULL) {
            __builtin_prefetch(r);
            __builtin_prefetch((const uint8_t *)(r + 1) - 1);
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct tide__record *r = rd->plans[i].r;
        const struct tide__slab *slab;

        if (r == NULL)
            continue;
        if (r->count == 0) { /* Removed since, or no float sample yet. */
            if ((r->open.owner & TIDE__HISTOGRAMS) == 0)
                rd->plans[i].r = NULL;
            continue;
        }
        __builtin_prefetch(tide_segment_at(&head->segments, r->open.head));
        if (r->sealed == 0 || tide__open_first_ms(head, r) <= rd->mint_ms)
            continue;
        slab = tide__store_slab(&head->store, r->sealed);
        if (slab->memory != NULL)
            __builtin_prefetch(tide__slab_chunk(slab->memory, r->sealed));
    }
}

/* Walks the segments of all open chunks that will be decoded in step, so that their misses overlap.
 */
static void prefetch_segments(const struct reader *rd, size_t count)
{
    const struct tide_segments *pool = &rd->head->segments;
    uint32_t chains[SLICE_SERIES];
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        const struct plan *plan = &rd->plans[i];

        if (plan->piece_count > 0 && rd->pieces[plan->piece].stream == NULL)
            chains[n++] = plan->r->open.head;
    }
    while (n > 0) {
        size_t left = 0;

        for (size_t i = 0; i < n; i++) {
            uint32_t next = tide_segment_at(pool, chains[i])->next;

            if (next != 0) {
                __builtin_prefetch(tide_segment_at(pool, next));
                chains[left++] = next;
            }
        }
        n = left;
    }
}

static enum tide_err decode_slice(struct reader *rd, size_t count, size_t values_count,
                                  size_t times_count, struct tide_series_samples *out,
                                  uint64_t *total)
{
    double *values = tide_arena_alloc(rd->arena, values_count * sizeof(*values));
    int64_t *times = tide_arena_alloc(rd->arena, times_count * sizeof(*times));
    enum tide_err err = TIDE_OK;

    if (values == NULL || times == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count && err == TIDE_OK; i++) {
        const struct plan *plan = &rd->plans[i];
        size_t n = 0;

        out[i] = (struct tide_series_samples){0};
        if (plan->samples == 0)
            continue;
        out[i].values = values;
        if (plan->has_own_times) {
            out[i].times_ms = times;
            err = decode_own(rd, plan, times, values, &n);
            if (err == TIDE_OK && plan->histograms != NULL)
                err = merge_histograms(rd, plan, times, values, &n, &out[i].histograms);
            times += plan->samples;
        } else {
            for (uint32_t k = plan->piece_count; k-- > 0 && err == TIDE_OK;) {
                err = decode_rows(rd, plan, &rd->pieces[plan->piece + k], values + n);
                n += rd->pieces[plan->piece + k].count;
            }
            if (err == TIDE_OK)
                err = share_times(rd, plan, n, &out[i].times_ms);
        }
        out[i].count = n;
        values += plan->samples;
        *total += n;
    }
    return err;
}

/* Forgets what was remembered: a column may have the address of an old one. */
static void begin_epoch(struct reader *rd)
{
    rd->epoch = rd->head->epoch;
    rd->mint_ms = rd->wanted_mint_ms > rd->head->floor_ms ? rd->wanted_mint_ms : rd->head->floor_ms;
    memset(rd->windows, 0, sizeof(rd->windows));
    memset(rd->shared, 0, sizeof(rd->shared));
}

/* Reads some of the count series, at least one; *done says how many. */
static enum tide_err read_slice(struct reader *rd, const uint32_t *refs, size_t count,
                                struct tide_query_limits *limits, struct tide_series_samples *out,
                                size_t *done, int64_t *charged)
{
    size_t values = 0, times = 0, n = 0;
    uint64_t total = 0, histogram_bytes = 0;
    int64_t bytes;
    enum tide_err err = TIDE_OK;

    if (count > SLICE_SERIES)
        count = SLICE_SERIES;
    tide__head_lock_read(rd->head);
    if (rd->epoch != rd->head->epoch)
        begin_epoch(rd);
    prepare(rd, refs, count);
    rd->piece_count = 0;
    while (n < count && values + histogram_bytes / sizeof(double) < SLICE_SAMPLES &&
           err == TIDE_OK) {
        struct plan *plan = &rd->plans[n];

        plan->piece = (uint32_t)rd->piece_count;
        err = plan_series(rd, refs[n], plan);
        values += plan->samples;
        times += plan->has_own_times ? plan->samples : 0;
        histogram_bytes += plan->histogram_bytes;
        n++;
    }
    bytes = (int64_t)((values + times) * sizeof(double) + histogram_bytes);
    if (err == TIDE_OK)
        err = tide_query_charge(limits, bytes);
    if (err == TIDE_OK) {
        *charged += bytes;
        prefetch_segments(rd, n);
        err = decode_slice(rd, n, values, times, out, &total);
    }
    tide__head_unlock(rd->head);
    *done = n;
    return err == TIDE_OK ? tide_query_count_samples(limits, total) : err;
}

enum tide_err tide__head_read(struct tide_head *head, const uint32_t *refs, size_t count,
                              int64_t mint_ms, int64_t maxt_ms, struct tide_query_limits *limits,
                              struct tide_batch *batch)
{
    struct reader *rd;
    int64_t charged = 0;
    size_t done = 0;
    enum tide_err err = TIDE_OK;

    tide_arena_reset(batch->arena);
    batch->series = tide_arena_new_array(batch->arena, count, sizeof(*batch->series));
    batch->count = count;
    if (batch->series == NULL)
        return TIDE_ERR_NO_MEMORY;
    /* Not zeroed as a whole: most of it is scratch. */
    rd = tide_mem_alloc(sizeof(*rd));
    if (rd == NULL)
        return TIDE_ERR_NO_MEMORY;
    rd->head = head;
    rd->wanted_mint_ms = mint_ms;
    rd->maxt_ms = maxt_ms;
    rd->arena = batch->arena;
    rd->epoch = 0; /* Never the head's. */
    rd->pieces = NULL;
    rd->piece_count = rd->piece_capacity = 0;
    rd->ranges = NULL;
    rd->range_capacity = 0;
    while (done < count && err == TIDE_OK && mint_ms <= maxt_ms) {
        size_t n = 0;

        if (limits != NULL)
            err = tide_query_check(limits);
        if (err == TIDE_OK)
            err = read_slice(rd, refs + done, count - done, limits, batch->series + done, &n,
                             &charged);
        done += n;
    }
    /* From now on the arena is its owner's to account for. */
    if (charged > 0) {
        enum tide_err freed = tide_query_charge(limits, -charged);

        TIDE_ASSERT(freed == TIDE_OK);
    }
    tide_mem_free(rd->pieces);
    tide_mem_free(rd->ranges);
    tide_mem_free(rd);
    return err;
}
