/* How late samples are taken in: is the timestamp there already, where does the sample go, when is
 * the buffer compressed. */
#include "head_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

/* What is known about a timestamp: the bits there, or the gap without samples around it. */
struct lookup {
    bool found;
    uint64_t bits;
    int64_t gap_low_ms;
    int64_t gap_high_ms;
};

static uint64_t bits_at(const double *values, size_t i)
{
    uint64_t bits;

    memcpy(&bits, &values[i], sizeof(bits));
    return bits;
}

/* Looks ts_ms up in a chunk's rows of a column; the values are decoded only when it is there. */
static enum tide_err look_in_rows(struct tide__scratch *scratch, const struct tide__column *column,
                                  uint32_t first, uint32_t count, struct tide_slice stream,
                                  int64_t ts_ms, struct lookup *out)
{
    uint32_t row = tide__column_row(column, first, (uint32_t)(ts_ms - column->start_ms));
    enum tide_err err;

    TIDE_ASSERT(row < first + count);
    if (tide__column_ms(column, row) != ts_ms) {
        TIDE_ASSERT(row > first);
        out->gap_low_ms = tide__column_ms(column, row - 1);
        out->gap_high_ms = tide__column_ms(column, row);
        return TIDE_OK;
    }
    err = tide_chunk_decode(stream, row - first + 1, scratch->values);
    out->found = true;
    out->bits = bits_at(scratch->values, row - first);
    return err;
}

static enum tide_err look_in_timed(struct tide__scratch *scratch, int64_t start_ms, size_t count,
                                   struct tide_slice stream, int64_t ts_ms, struct lookup *out)
{
    size_t i = 0;
    enum tide_err err =
        tide_chunk_decode_timed(stream, count, start_ms, scratch->times, scratch->values);

    if (err != TIDE_OK)
        return err;
    while (i < count && scratch->times[i] < ts_ms)
        i++;
    out->found = i < count && scratch->times[i] == ts_ms;
    if (out->found)
        out->bits = bits_at(scratch->values, i);
    else if (i == 0 || i == count) /* Not the range its owner told: from a bad checkpoint. */
        return TIDE_ERR_CORRUPT;
    if (!out->found) {
        out->gap_low_ms = scratch->times[i - 1];
        out->gap_high_ms = scratch->times[i];
    }
    return TIDE_OK;
}

/* Looks ts_ms, which is before the newest sample, up in the chunks that are not late. */
static enum tide_err look_up(struct tide_head *head, const struct tide__record *r, int64_t ts_ms,
                             struct lookup *out)
{
    struct tide__scratch *scratch;
    struct tide__sealed *chunk;
    int64_t first_ms = tide__open_first_ms(head, r), last_ms;
    enum tide_err err = tide__head_scratch(head, &scratch);

    if (err != TIDE_OK)
        return err;
    if (ts_ms >= first_ms) {
        struct tide_slice stream = {scratch->bytes,
                                    tide_chunk_copy(&head->segments, &r->open, scratch->bytes,
                                                    sizeof(scratch->bytes) - TIDE_CHUNK_PAD)};

        if (r->open.owner & TIDE__TIMED)
            return look_in_timed(scratch, tide__clock(&head->clocks, r->column)->start_ms, r->count,
                                 stream, ts_ms, out);
        return look_in_rows(scratch, head->columns.items[r->column], r->row, r->count, stream,
                            ts_ms, out);
    }
    out->gap_high_ms = first_ms;
    for (uint32_t id = r->sealed; (chunk = tide__store_at(&head->store, id)) != NULL;
         id = chunk->older) {
        tide__sealed_range(head, id, chunk, &first_ms, &last_ms);
        if (ts_ms > last_ms) {
            out->gap_low_ms = last_ms;
            return TIDE_OK;
        }
        if (ts_ms >= first_ms) {
            if (chunk->timed)
                return look_in_timed(scratch, tide__store_start(&head->store, id), chunk->count,
                                     tide__sealed_stream(chunk), ts_ms, out);
            return look_in_rows(scratch, head->columns.items[chunk->first], chunk->row,
                                chunk->count, tide__sealed_stream(chunk), ts_ms, out);
        }
        out->gap_high_ms = first_ms;
    }
    out->gap_low_ms = INT64_MIN;
    return TIDE_OK;
}

/* Looks ts_ms up among the late samples of the series. */
static enum tide_err look_up_late(struct tide_head *head, const struct tide__late *late,
                                  int64_t ts_ms, struct lookup *out)
{
    int64_t start_ms = tide__partition_start(head, ts_ms);
    uint32_t offset = (uint32_t)(ts_ms - start_ms), at = tide__late_at(late, ts_ms);
    struct tide__scratch *scratch;
    enum tide_err err;

    if (at < late->count && late->samples[at].ts_ms == ts_ms) {
        *out = (struct lookup){.found = true, .bits = late->samples[at].bits};
        return TIDE_OK;
    }
    for (size_t i = tide__late_chunk_at(late, start_ms); i < late->chunk_count; i++) {
        const struct tide__late_chunk *chunk = late->chunks[i];

        if (chunk->start_ms != start_ms || chunk->first > offset)
            break;
        if (chunk->last < offset)
            continue;
        err = tide__head_scratch(head, &scratch);
        if (err == TIDE_OK)
            err = look_in_timed(scratch, start_ms, chunk->count,
                                (struct tide_slice){chunk->data, chunk->bytes}, ts_ms, out);
        if (err != TIDE_OK || out->found)
            return err;
    }
    return TIDE_OK;
}

static enum tide_err decode_late(struct tide__scratch *scratch,
                                 const struct tide__late_chunk *chunk, struct tide_sample *out)
{
    enum tide_err err =
        tide_chunk_decode_timed((struct tide_slice){chunk->data, chunk->bytes}, chunk->count,
                                chunk->start_ms, scratch->times, scratch->values);

    for (size_t i = 0; i < chunk->count && err == TIDE_OK; i++)
        out[i] =
            (struct tide_sample){.ts_ms = scratch->times[i], .bits = bits_at(scratch->values, i)};
    return err;
}

/* Takes the late chunks low … high-1 out and frees them. */
static enum tide_err remove_chunks(struct tide_head *head, struct tide__late *late, size_t low,
                                   size_t high)
{
    enum tide_err err = tide__head_dig(head, high - low);

    if (err != TIDE_OK || high == low)
        return err;
    for (size_t i = low; i < high; i++) {
        struct tide__late_chunk *chunk = late->chunks[i];

        head->late.chunks--;
        head->late.samples -= chunk->count;
        head->late.bytes -= tide__late_chunk_bytes(chunk);
        tide__head_bury(head, chunk);
    }
    memmove(&late->chunks[low], &late->chunks[high],
            (late->chunk_count - high) * sizeof(struct tide__late_chunk *));
    late->chunk_count -= high - low;
    return TIDE_OK;
}

/* Moves the chunks from index added on, which were added at the end, to where they belong. */
static void sort_in(struct tide__late *late, size_t added)
{
    for (size_t i = added; i < late->chunk_count; i++) {
        struct tide__late_chunk *chunk = late->chunks[i];
        size_t k = i;

        for (; k > 0 && (late->chunks[k - 1]->start_ms > chunk->start_ms ||
                         (late->chunks[k - 1]->start_ms == chunk->start_ms &&
                          late->chunks[k - 1]->first > chunk->first));
             k--)
            late->chunks[k] = late->chunks[k - 1];
        late->chunks[k] = chunk;
    }
}

/* Replaces the late chunks low … high-1, all of one partition, by chunks of their samples and the
 * run's. */
static enum tide_err rewrite(struct tide_head *head, struct tide__late *late, size_t low,
                             size_t high, int64_t start_ms, const struct tide_sample *run,
                             size_t run_count)
{
    size_t total = run_count, n = 0, added;
    struct tide_sample *all;
    struct tide__scratch *scratch;
    enum tide_err err = tide__head_scratch(head, &scratch);

    if (err != TIDE_OK)
        return err;
    for (size_t i = low; i < high; i++)
        total += late->chunks[i]->count;
    all = tide_mem_array(total, sizeof(*all));
    if (all == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = low; i < high && err == TIDE_OK; i++) {
        err = decode_late(scratch, late->chunks[i], all + n);
        n += late->chunks[i]->count;
    }
    if (run_count > 0)
        memcpy(all + n, run, run_count * sizeof(*run));
    if (err == TIDE_OK) {
        tide__late_sort(all, total);
        for (size_t i = 1; i < total && err == TIDE_OK; i++)
            if (all[i - 1].ts_ms == all[i].ts_ms)
                err = TIDE_ERR_CORRUPT; /* No sample stands twice in a sound head. */
    }
    if (err == TIDE_OK)
        err = remove_chunks(head, late, low, high);
    added = late->chunk_count;
    for (size_t i = 0; i < total && err == TIDE_OK; i += head->options.chunk_samples) {
        size_t part =
            total - i < head->options.chunk_samples ? total - i : head->options.chunk_samples;
        struct tide__late_chunk *chunk;

        err = tide__late_encode(&head->segments, start_ms, all + i, part, &chunk);
        if (err != TIDE_OK)
            break;
        err = tide__late_add_chunk(&head->late, late, chunk);
        if (err != TIDE_OK)
            tide_mem_free(chunk);
    }
    sort_in(late, added);
    tide_mem_free(all);
    return err;
}

/* Compresses a run of buffered samples of one partition: into a chunk that has room, so that few
 * small ones come about, or else into one of its own. */
static enum tide_err compress_run(struct tide_head *head, struct tide__late *late, int64_t start_ms,
                                  const struct tide_sample *run, size_t run_count)
{
    size_t low = tide__late_chunk_at(late, start_ms), high = low, into, overlaps = 0;
    uint32_t last = 0;
    enum tide_err err;

    while (high < late->chunk_count && late->chunks[high]->start_ms == start_ms)
        high++;
    into = high;
    while (into > low && late->chunks[into - 1]->count + run_count > head->options.chunk_samples)
        into--;
    if (into > low)
        err = rewrite(head, late, into - 1, into, start_ms, run, run_count);
    else
        err = rewrite(head, late, low, low, start_ms, run, run_count);
    if (err != TIDE_OK)
        return err;
    for (high = low; high < late->chunk_count && late->chunks[high]->start_ms == start_ms; high++) {
        if (high > low && late->chunks[high]->first <= last)
            overlaps++;
        if (late->chunks[high]->last > last)
            last = late->chunks[high]->last;
    }
    if (overlaps <= TIDE__LATE_OVERLAPS_MAX)
        return TIDE_OK;
    return rewrite(head, late, low, high, start_ms, NULL, 0);
}

static enum tide_err compress_buffer(struct tide_head *head, struct tide__late *late)
{
    for (uint32_t i = 0; i < late->count;) {
        int64_t start_ms = tide__partition_start(head, late->samples[i].ts_ms);
        uint32_t end = i + 1;
        enum tide_err err;

        while (end < late->count &&
               late->samples[end].ts_ms - start_ms < head->options.partition_ms)
            end++;
        err = compress_run(head, late, start_ms, late->samples + i, end - i);
        if (err != TIDE_OK)
            return err;
        i = end;
    }
    head->late.samples -= late->count;
    late->count = 0;
    return TIDE_OK;
}

static enum tide_err insert(struct tide_head *head, struct tide__late *late, int64_t ts_ms,
                            uint64_t bits)
{
    uint32_t at = tide__late_at(late, ts_ms);

    if (late->count == late->capacity) {
        uint32_t capacity = late->capacity == 0 ? 4 : late->capacity * 2;
        struct tide_sample *samples =
            tide_mem_realloc(late->samples, capacity * sizeof(*late->samples));

        if (samples == NULL)
            return TIDE_ERR_NO_MEMORY;
        head->late.bytes += (capacity - late->capacity) * sizeof(*late->samples);
        late->samples = samples;
        late->capacity = capacity;
    }
    memmove(&late->samples[at + 1], &late->samples[at],
            (late->count - at) * sizeof(*late->samples));
    late->samples[at] = (struct tide_sample){.ts_ms = ts_ms, .bits = bits};
    late->count++;
    head->late.samples++;
    return late->count < TIDE__LATE_BUFFER_MAX ? TIDE_OK : compress_buffer(head, late);
}

enum tide_err tide__late_append(struct tide_head *head, uint32_t ref, struct tide__record *r,
                                int64_t ts_ms, uint64_t bits, enum tide__outcome *outcome)
{
    struct tide__late *late = NULL;
    struct lookup lookup = {0};
    enum tide_err err = TIDE_OK;

    if (r->open.owner & TIDE__LATE) {
        late = tide__late_find(&head->late, ref);
        TIDE_ASSERT(late != NULL);
        err = look_up_late(head, late, ts_ms, &lookup);
    }
    if (err == TIDE_OK && !lookup.found &&
        (late == NULL || ts_ms <= late->gap_low_ms || ts_ms >= late->gap_high_ms)) {
        err = look_up(head, r, ts_ms, &lookup);
        if (err == TIDE_OK && !lookup.found) {
            err = tide__late_get(&head->late, ref, &late);
            if (err == TIDE_OK) {
                r->open.owner |= TIDE__LATE;
                late->gap_low_ms = lookup.gap_low_ms;
                late->gap_high_ms = lookup.gap_high_ms;
            }
        }
    }
    if (err != TIDE_OK)
        return err;
    if (lookup.found) {
        *outcome = lookup.bits == bits ? TIDE__THERE : TIDE__CONFLICT;
        return TIDE_OK;
    }
    *outcome = TIDE__STORED;
    return insert(head, late, ts_ms, bits);
}

/* Drops what is before cut_ms of one series. */
static enum tide_err truncate_one(struct tide_head *head, struct tide__late *late, int64_t cut_ms)
{
    size_t chunks = 0;
    uint32_t samples = tide__late_at(late, cut_ms);

    while (chunks < late->chunk_count && late->chunks[chunks]->start_ms < cut_ms)
        chunks++;
    late->count -= samples;
    head->late.samples -= samples;
    if (samples > 0)
        memmove(late->samples, &late->samples[samples], late->count * sizeof(*late->samples));
    return remove_chunks(head, late, 0, chunks);
}

enum tide_err tide__late_truncate(struct tide_head *head, int64_t cut_ms)
{
    struct tide__late_table *table = &head->late;

    for (size_t i = 0; i < table->slot_count; i++)
        if (table->slots[i] != NULL) {
            enum tide_err err = truncate_one(head, table->slots[i], cut_ms);

            if (err != TIDE_OK)
                return err;
        }
    for (size_t i = 0; i < table->slot_count; i++)
        /* Removing one may move another one here, but none that is not empty to where we were. */
        while (table->slots[i] != NULL && table->slots[i]->chunk_count == 0 &&
               table->slots[i]->count == 0) {
            struct tide__record *r = tide__record(&head->records, table->slots[i]->ref);

            TIDE_ASSERT(r != NULL);
            r->open.owner &= (uint8_t)~TIDE__LATE;
            tide__late_remove(table, table->slots[i]);
        }
    return TIDE_OK;
}

enum tide_err tide__sample_there(struct tide_head *head, uint32_t ref, const struct tide__record *r,
                                 int64_t ts_ms, bool *there)
{
    struct lookup lookup = {0};
    int64_t last_ms;
    enum tide_err err = TIDE_OK;

    *there = false;
    if (r->count == 0)
        return TIDE_OK;
    last_ms = tide__open_last_ms(head, r);
    if (ts_ms >= last_ms) {
        *there = ts_ms == last_ms;
        return TIDE_OK;
    }
    if (r->open.owner & TIDE__LATE)
        err = look_up_late(head, tide__late_find(&head->late, ref), ts_ms, &lookup);
    if (err == TIDE_OK && !lookup.found)
        err = look_up(head, r, ts_ms, &lookup);
    *there = lookup.found;
    return err;
}
