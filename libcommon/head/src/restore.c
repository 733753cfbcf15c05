/* Reading a checkpoint into a new head. Each section's CRC is checked before its content; what the
 * content says is checked all the same: counts, bounds and order. Streams of chunks are not
 * decoded, as every decoder bears any bytes. */
#include "checkpoint_private.h"
#include "head_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

struct input {
    struct tide_head *head;
    struct tide_diag *diag;
    uint32_t *columns; /* Id of each number. */
    size_t column_count;
    size_t column_capacity;
    uint32_t next_ref; /* One past the last series read. */
    uint32_t series_count;
    uint32_t next_late;
    uint32_t next_histograms;
    struct tide_arena *arena; /* For one chunk of histograms. */
};

static enum tide_err corrupt(struct input *in, const char *what)
{
    return tide_diag_err(in->diag, TIDE_ERR_CORRUPT, "head checkpoint: %s", what);
}

/* A uvarint that is at most max. */
static enum tide_err read_u32(struct tide_reader *r, uint32_t max, uint32_t *out)
{
    uint64_t v;
    enum tide_err err = tide_reader_uvarint(r, &v);

    if (err != TIDE_OK)
        return err;
    if (v > max)
        return TIDE_ERR_CORRUPT;
    *out = (uint32_t)v;
    return TIDE_OK;
}

/* A partition's number; answers its start. */
static enum tide_err read_start(struct input *in, struct tide_reader *r, int64_t *start_ms)
{
    int64_t number, partition_ms = in->head->options.partition_ms;
    enum tide_err err = tide_reader_varint(r, &number);

    if (err != TIDE_OK)
        return err;
    if (number > TIDE_HEAD_TIME_MS_MAX / partition_ms ||
        number < -TIDE_HEAD_TIME_MS_MAX / partition_ms - 1)
        return TIDE_ERR_CORRUPT;
    *start_ms = number * partition_ms;
    return TIDE_OK;
}

static enum tide_err read_offset(struct input *in, struct tide_reader *r, uint32_t *offset)
{
    return read_u32(r, (uint32_t)in->head->options.partition_ms - 1, offset);
}

/* ---- Columns ---- */

static enum tide_err read_column(struct input *in, struct tide_reader *r)
{
    int64_t start_ms = 0, delta = 0, change;
    uint64_t target = 0, offset;
    uint8_t track = 0;
    uint32_t count = 0, first = 0;
    struct tide__column *column;
    void *old;
    enum tide_err err = read_start(in, r, &start_ms);

    if (err == TIDE_OK)
        err = tide_reader_u64(r, &target);
    if (err == TIDE_OK)
        err = tide_reader_u8(r, &track);
    if (err == TIDE_OK)
        err = read_u32(r, TIDE__COLUMN_ROWS_MAX, &count);
    if (err == TIDE_OK)
        err = read_offset(in, r, &first);
    if (err != TIDE_OK)
        return err;
    if (target == 0 || track >= TIDE__TRACKS_MAX || count == 0 || count - 1 > r->rest.len)
        return TIDE_ERR_CORRUPT;
    err = tide_mem_grow((void **)&in->columns, &in->column_capacity, in->column_count + 1,
                        sizeof(*in->columns));
    if (err == TIDE_OK)
        err = tide__columns_add(&in->head->columns, target, start_ms, track, count, &column);
    if (err != TIDE_OK)
        return err == TIDE_ERR_EXISTS ? TIDE_ERR_CORRUPT : err;
    in->columns[in->column_count++] = column->id;
    err = tide__columns_add_row(&in->head->columns, column, first, &old);
    offset = first;
    for (uint32_t row = 1; row < count && err == TIDE_OK; row++) {
        err = tide_reader_varint(r, &change);
        if (err != TIDE_OK)
            break;
        if (change > INT32_MAX || change < -(int64_t)INT32_MAX)
            return TIDE_ERR_CORRUPT;
        delta += change;
        if (delta <= 0 || delta > in->head->options.partition_ms)
            return TIDE_ERR_CORRUPT;
        offset += (uint64_t)delta;
        if (offset >= (uint64_t)in->head->options.partition_ms)
            return TIDE_ERR_CORRUPT;
        err = tide__columns_add_row(&in->head->columns, column, (uint32_t)offset, &old);
    }
    return err;
}

/* ---- Series ---- */

/* The part that sealed and open chunks share: where their times come from, how many there are. */
struct chunk_head {
    bool timed;
    const struct tide__column *column;
    uint32_t row;
    int64_t start_ms;
    uint32_t first;
    uint32_t last;
    uint32_t delta; /* Open timed chunks only. */
    uint32_t count;
    int64_t first_ms;
    int64_t last_ms;
};

static enum tide_err read_chunk_head(struct input *in, struct tide_reader *r, bool open,
                                     struct chunk_head *out)
{
    uint8_t timed = 0;
    uint32_t number = 0;
    enum tide_err err = tide_reader_u8(r, &timed);

    *out = (struct chunk_head){0};
    if (err != TIDE_OK)
        return err;
    if (timed > 1)
        return TIDE_ERR_CORRUPT;
    out->timed = timed == 1;
    if (out->timed) {
        err = read_start(in, r, &out->start_ms);
        if (err == TIDE_OK)
            err = read_offset(in, r, &out->first);
        if (err == TIDE_OK)
            err = read_offset(in, r, &out->last);
        if (err == TIDE_OK && open)
            err = read_offset(in, r, &out->delta);
    } else {
        err = read_u32(r, UINT32_MAX, &number);
        if (err == TIDE_OK)
            err = read_u32(r, TIDE__COLUMN_ROWS_MAX, &out->row);
    }
    if (err == TIDE_OK)
        err = read_u32(r, TIDE_CHUNK_SAMPLES_MAX, &out->count);
    if (err != TIDE_OK)
        return err;
    if (out->count == 0)
        return TIDE_ERR_CORRUPT;
    if (out->timed) {
        if (out->last < out->first || out->last - out->first < out->count - 1 ||
            (out->count == 1 && out->last != out->first))
            return TIDE_ERR_CORRUPT;
        out->first_ms = out->start_ms + out->first;
        out->last_ms = out->start_ms + out->last;
        return TIDE_OK;
    }
    if (number >= in->column_count)
        return TIDE_ERR_CORRUPT;
    out->column = in->head->columns.items[in->columns[number]];
    if (out->row + out->count > out->column->count)
        return TIDE_ERR_CORRUPT;
    out->start_ms = out->column->start_ms;
    out->first_ms = tide__column_ms(out->column, out->row);
    out->last_ms = tide__column_ms(out->column, out->row + out->count - 1);
    return TIDE_OK;
}

static enum tide_err read_sealed(struct input *in, struct tide_reader *r,
                                 struct tide__record *record, int64_t *last_ms)
{
    struct chunk_head c;
    struct tide_slice stream = {0};
    struct tide__sealed *chunk;
    uint32_t id;
    enum tide_err err = read_chunk_head(in, r, false, &c);

    if (err == TIDE_OK)
        err = tide_reader_bytes(r, &stream);
    if (err != TIDE_OK)
        return err;
    if (c.first_ms <= *last_ms || stream.len > TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX))
        return TIDE_ERR_CORRUPT;
    err =
        tide__store_add(&in->head->store, c.start_ms, stream.len + (c.timed ? sizeof(uint32_t) : 0),
                        c.count, record->sealed, &id);
    if (err != TIDE_OK)
        return err;
    chunk = tide__store_at(&in->head->store, id);
    if (c.timed) {
        chunk->timed = 1;
        chunk->first = c.first;
        memcpy(tide__sealed_data(chunk), &c.last, sizeof(uint32_t));
    } else {
        chunk->first = c.column->id;
        chunk->row = (uint16_t)c.row;
    }
    if (stream.len > 0)
        memcpy(tide__sealed_data(chunk) + (c.timed ? sizeof(uint32_t) : 0), stream.ptr, stream.len);
    record->sealed = id;
    *last_ms = c.last_ms;
    return TIDE_OK;
}

static enum tide_err read_open(struct input *in, struct tide_reader *r, struct tide__record *record,
                               int64_t last_ms)
{
    struct tide_head *head = in->head;
    struct chunk_head c;
    struct tide_slice stream = {0};
    uint32_t cut = 0, bits = 0, clock;
    enum tide_err err = read_chunk_head(in, r, true, &c);

    if (err == TIDE_OK)
        err = read_u32(r, TIDE_CHUNK_SAMPLES_MAX, &cut);
    if (err == TIDE_OK)
        err = tide_reader_u64(r, &record->open.last);
    if (err == TIDE_OK)
        err = tide_reader_u8(r, &record->open.lead);
    if (err == TIDE_OK)
        err = tide_reader_u8(r, &record->open.width);
    if (err == TIDE_OK)
        err = read_u32(r, 8 * TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX), &bits);
    if (err == TIDE_OK)
        err = tide_reader_take(r, (bits + 7) / 8, &stream);
    if (err != TIDE_OK)
        return err;
    /* Appends may go on up to cut: the stream must not outgrow the room that is for them. */
    if (c.first_ms <= last_ms || c.count > cut || bits > 8 * TIDE_CHUNK_BYTES_MAX(c.count))
        return TIDE_ERR_CORRUPT;
    err = tide_chunk_load(&head->segments, stream, bits, &record->open);
    if (err != TIDE_OK)
        return err;
    if (c.timed) {
        err = tide__clock_take(head, &clock);
        if (err != TIDE_OK)
            return err;
        *tide__clock(&head->clocks, clock) = (struct tide__clock){
            .start_ms = c.start_ms, .first = c.first, .clock = {.last = c.last, .delta = c.delta}};
        record->column = clock;
        record->open.owner |= TIDE__TIMED;
    } else {
        record->column = c.column->id;
        record->row = (uint16_t)c.row;
    }
    record->count = (uint16_t)c.count;
    record->cut = (uint16_t)cut;
    head->open_samples += c.count;
    return TIDE_OK;
}

static enum tide_err read_series(struct input *in, struct tide_reader *r)
{
    struct tide_head *head = in->head;
    struct tide__record *record;
    uint32_t gap = 0, ref, sealed = 0;
    uint8_t misfits = 0, open = 0;
    int64_t last_ms = INT64_MIN;
    enum tide_err err = read_u32(r, UINT32_MAX, &gap);

    if (err == TIDE_OK)
        err = tide_reader_u8(r, &misfits);
    if (err == TIDE_OK)
        err = read_u32(r, UINT32_MAX, &sealed);
    if (err != TIDE_OK)
        return err;
    if (gap >= head->records.count - in->next_ref)
        return TIDE_ERR_CORRUPT;
    ref = in->next_ref + gap;
    if (!tide_index_contains(head->index, ref))
        return TIDE_ERR_CORRUPT;
    err = tide_pages_fill(&head->records, ref, sizeof(*record));
    if (err != TIDE_OK)
        return err;
    record = tide__record(&head->records, ref);
    record->open.owner = TIDE__LIVE;
    record->misfits = misfits;
    head->live[ref / TIDE_PAGE_ITEMS]++;
    in->next_ref = ref + 1;
    in->series_count++;
    for (uint32_t i = 0; i < sealed && err == TIDE_OK; i++)
        err = read_sealed(in, r, record, &last_ms);
    if (err == TIDE_OK)
        err = tide_reader_u8(r, &open);
    if (err != TIDE_OK)
        return err;
    if (open > 1 || (open == 0 && sealed > 0))
        return TIDE_ERR_CORRUPT;
    return open == 1 ? read_open(in, r, record, last_ms) : TIDE_OK;
}

/* ---- Late samples ---- */

static enum tide_err read_late_samples(struct input *in, struct tide_reader *r,
                                       struct tide__late *late, int64_t newest_ms)
{
    size_t count = 0;
    int64_t ts_ms = 0;
    enum tide_err err = tide_reader_count(r, 9, &count);

    if (err != TIDE_OK)
        return err;
    if (count >= TIDE__LATE_BUFFER_MAX)
        return TIDE_ERR_CORRUPT;
    late->samples = tide_mem_array(count + 1, sizeof(*late->samples));
    if (late->samples == NULL)
        return TIDE_ERR_NO_MEMORY;
    late->capacity = (uint32_t)count + 1;
    in->head->late.bytes += late->capacity * sizeof(*late->samples);
    for (size_t i = 0; i < count; i++) {
        int64_t delta;
        uint64_t bits = 0;

        err = tide_reader_varint(r, &delta);
        if (err == TIDE_OK)
            err = tide_reader_u64(r, &bits);
        if (err != TIDE_OK)
            return err;
        /* Compared without the sum, which may overflow. */
        if (i == 0 ? delta < -TIDE_HEAD_TIME_MS_MAX || delta >= newest_ms
                   : delta <= 0 || (uint64_t)delta >= (uint64_t)newest_ms - (uint64_t)ts_ms)
            return TIDE_ERR_CORRUPT;
        ts_ms += delta;
        late->samples[i] = (struct tide_sample){.ts_ms = ts_ms, .bits = bits};
        late->count++;
        in->head->late.samples++;
    }
    return TIDE_OK;
}

static enum tide_err read_late_chunk(struct input *in, struct tide_reader *r,
                                     struct tide__late *late, int64_t newest_ms)
{
    struct tide__late_chunk *chunk, *before;
    struct tide_slice stream = {0};
    int64_t start_ms = 0;
    uint32_t first = 0, last = 0, count = 0;
    enum tide_err err = read_start(in, r, &start_ms);

    if (err == TIDE_OK)
        err = read_offset(in, r, &first);
    if (err == TIDE_OK)
        err = read_offset(in, r, &last);
    if (err == TIDE_OK)
        err = read_u32(r, TIDE_CHUNK_SAMPLES_MAX, &count);
    if (err == TIDE_OK)
        err = tide_reader_bytes(r, &stream);
    if (err != TIDE_OK)
        return err;
    before = late->chunk_count == 0 ? NULL : late->chunks[late->chunk_count - 1];
    if (count == 0 || last < first || start_ms + last >= newest_ms ||
        stream.len > TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX) ||
        (before != NULL &&
         (before->start_ms > start_ms || (before->start_ms == start_ms && before->first >= first))))
        return TIDE_ERR_CORRUPT;
    chunk = tide_mem_new(sizeof(*chunk) + stream.len + TIDE_CHUNK_PAD);
    if (chunk == NULL)
        return TIDE_ERR_NO_MEMORY;
    chunk->start_ms = start_ms;
    chunk->first = first;
    chunk->last = last;
    chunk->count = count;
    chunk->bytes = (uint32_t)stream.len;
    if (stream.len > 0)
        memcpy(chunk->data, stream.ptr, stream.len);
    err = tide__late_add_chunk(&in->head->late, late, chunk);
    if (err != TIDE_OK)
        tide_mem_free(chunk);
    return err;
}

static enum tide_err read_late(struct input *in, struct tide_reader *r)
{
    struct tide_head *head = in->head;
    struct tide__record *record;
    struct tide__late *late;
    uint32_t gap = 0, ref;
    size_t chunks = 0;
    int64_t newest_ms;
    enum tide_err err = read_u32(r, UINT32_MAX, &gap);

    if (err != TIDE_OK)
        return err;
    if (gap >= head->records.count - in->next_late)
        return TIDE_ERR_CORRUPT;
    ref = in->next_late + gap;
    in->next_late = ref + 1;
    record = tide__record(&head->records, ref);
    if (record == NULL || record->count == 0)
        return TIDE_ERR_CORRUPT;
    newest_ms = tide__open_last_ms(head, record);
    err = tide__late_get(&head->late, ref, &late);
    if (err != TIDE_OK)
        return err;
    record->open.owner |= TIDE__LATE;
    err = read_late_samples(in, r, late, newest_ms);
    if (err == TIDE_OK)
        err = tide_reader_count(r, 5, &chunks);
    for (size_t i = 0; i < chunks && err == TIDE_OK; i++)
        err = read_late_chunk(in, r, late, newest_ms);
    if (err == TIDE_OK && late->count == 0 && late->chunk_count == 0)
        return TIDE_ERR_CORRUPT;
    return err;
}

/* ---- Histograms ---- */

/* Decodes a chunk and makes it the open one: what reads and appends rely on is made anew rather
 * than believed. */
static enum tide_err read_histogram_chunk(struct input *in, struct tide_reader *r,
                                          struct tide__histograms *series)
{
    struct tide_head *head = in->head;
    struct tide_slice stream = {0};
    struct tide_histogram_chunk open = {0};
    struct tide_histogram *histograms;
    int64_t *times;
    uint32_t count = 0;
    enum tide_err err = read_u32(r, TIDE__HISTOGRAM_SAMPLES, &count);

    if (err == TIDE_OK)
        err = tide_reader_bytes(r, &stream);
    if (err != TIDE_OK)
        return err;
    if (count == 0)
        return TIDE_ERR_CORRUPT;
    tide_arena_reset(in->arena);
    histograms = tide_arena_alloc(in->arena, count * sizeof(*histograms));
    times = tide_arena_alloc(in->arena, count * sizeof(*times));
    if (histograms == NULL || times == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = tide_histogram_chunk_decode(stream, count, in->arena, times, histograms);
    if (err != TIDE_OK)
        return err;
    if (times[0] < -TIDE_HEAD_TIME_MS_MAX || times[count - 1] > TIDE_HEAD_TIME_MS_MAX ||
        tide__partition_start(head, times[0]) != tide__partition_start(head, times[count - 1]) ||
        (series->open.count > 0 && times[0] <= series->open.last_ms))
        return TIDE_ERR_CORRUPT;
    if (series->open.count > 0)
        err = tide__histograms_seal(&head->histograms, series);
    for (uint32_t i = 0; i < count && err == TIDE_OK; i++)
        err = tide_histogram_chunk_append(&open, times[i], &histograms[i]);
    if (err == TIDE_OK)
        tide__histograms_set_open(&head->histograms, series, &open);
    else
        tide_histogram_chunk_deinit(&open);
    return err;
}

static enum tide_err read_histograms(struct input *in, struct tide_reader *r)
{
    struct tide_head *head = in->head;
    struct tide__record *record;
    struct tide__histograms *series;
    uint32_t gap = 0, ref;
    size_t chunks = 0;
    enum tide_err err = read_u32(r, UINT32_MAX, &gap);

    if (err == TIDE_OK)
        err = tide_reader_count(r, 4, &chunks);
    if (err != TIDE_OK)
        return err;
    if (chunks == 0 || gap >= head->records.count - in->next_histograms)
        return TIDE_ERR_CORRUPT;
    ref = in->next_histograms + gap;
    in->next_histograms = ref + 1;
    record = tide__record(&head->records, ref);
    if (record == NULL || (record->open.owner & TIDE__LIVE) == 0)
        return TIDE_ERR_CORRUPT;
    if (in->arena == NULL)
        in->arena = tide_arena_new(0);
    if (in->arena == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = tide__histograms_get(&head->histograms, ref, &series);
    for (size_t i = 0; i < chunks && err == TIDE_OK; i++)
        err = read_histogram_chunk(in, r, series);
    if (err == TIDE_OK)
        record->open.owner |= TIDE__HISTOGRAMS;
    return err;
}

/* ---- Sections ---- */

static enum tide_err read_section(struct input *in, struct tide_reader *r, uint32_t *kind,
                                  struct tide_reader *payload)
{
    const uint8_t *start = r->rest.ptr;
    uint32_t len = 0, crc = 0;
    struct tide_slice bytes = {0};
    enum tide_err err = tide_reader_u32(r, kind);

    if (err == TIDE_OK)
        err = tide_reader_u32(r, &len);
    if (err == TIDE_OK)
        err = tide_reader_u32(r, &crc);
    if (err == TIDE_OK)
        err = tide_reader_take(r, len, &bytes);
    if (err != TIDE_OK)
        return corrupt(in, "a section is cut off");
    if (crc != tide_crc32c(tide_crc32c(0, (struct tide_slice){start, 8}), bytes))
        return corrupt(in, "a section's checksum does not match");
    *payload = tide_reader(bytes);
    return TIDE_OK;
}

static enum tide_err read_meta(struct input *in, struct tide_reader *r)
{
    struct tide_head *head = in->head;
    struct tide_reader payload;
    uint32_t kind, partition_ms = 0;
    enum tide_err err = read_section(in, r, &kind, &payload);

    if (err != TIDE_OK)
        return err;
    if (kind != TIDE__SECTION_META)
        return corrupt(in, "it does not start with its properties");
    err = read_u32(&payload, INT32_MAX, &partition_ms);
    if (err == TIDE_OK)
        err = tide_reader_varint(&payload, &head->min_ms);
    if (err == TIDE_OK)
        err = tide_reader_varint(&payload, &head->max_ms);
    if (err != TIDE_OK || partition_ms == 0 || payload.rest.len > 0)
        return corrupt(in, "its properties are malformed");
    head->options.partition_ms = partition_ms;
    return TIDE_OK;
}

static enum tide_err read_index(struct input *in, struct tide_reader *r)
{
    struct tide_head *head = in->head;
    struct tide_index *index;
    uint32_t refs;
    size_t pages;
    enum tide_err err = tide_index_restore(r, TIDE_INDEX_REF_MAX, &index, in->diag);

    if (err != TIDE_OK)
        return err;
    tide_index_free(head->index);
    head->index = index;
    refs = tide_index_ref_count(index);
    pages = refs / TIDE_PAGE_ITEMS + 1;
    err = tide_mem_grow((void **)&head->live, &head->live_capacity, pages, sizeof(*head->live));
    if (err != TIDE_OK)
        return err;
    memset(head->live, 0, head->live_capacity * sizeof(*head->live));
    return tide_pages_extend(&head->records, refs);
}

static enum tide_err read_items(struct input *in, uint32_t kind, struct tide_reader *payload)
{
    enum tide_err err = TIDE_OK;

    while (payload->rest.len > 0 && err == TIDE_OK)
        err = kind == TIDE__SECTION_COLUMNS  ? read_column(in, payload)
              : kind == TIDE__SECTION_SERIES ? read_series(in, payload)
              : kind == TIDE__SECTION_LATE   ? read_late(in, payload)
                                             : read_histograms(in, payload);
    if (err == TIDE_ERR_CORRUPT)
        return corrupt(in, kind == TIDE__SECTION_COLUMNS  ? "a timestamp column is malformed"
                           : kind == TIDE__SECTION_SERIES ? "a series is malformed"
                           : kind == TIDE__SECTION_LATE   ? "late samples are malformed"
                                                          : "histograms are malformed");
    return err;
}

static enum tide_err read_all(struct input *in, struct tide_reader *r)
{
    struct tide_slice magic = {0};
    uint32_t version = 0, kind = 0;
    enum tide_err err = tide_reader_take(r, TIDE__CHECKPOINT_MAGIC_BYTES, &magic);

    if (err == TIDE_OK)
        err = tide_reader_u32(r, &version);
    if (err != TIDE_OK || !tide_slice_eq(magic, TIDE_SLICE(TIDE__CHECKPOINT_MAGIC)))
        return corrupt(in, "it is none");
    if (version != TIDE__CHECKPOINT_VERSION)
        return corrupt(in, "its version is not known");
    err = read_meta(in, r);
    if (err == TIDE_OK)
        err = read_index(in, r);
    while (err == TIDE_OK && kind != TIDE__SECTION_END) {
        struct tide_reader payload;
        uint32_t before = kind;

        err = read_section(in, r, &kind, &payload);
        if (err != TIDE_OK)
            break;
        if (kind < TIDE__SECTION_COLUMNS || kind > TIDE__SECTION_HISTOGRAMS ||
            (before == TIDE__SECTION_LATE && kind < before) ||
            (before == TIDE__SECTION_HISTOGRAMS && kind < TIDE__SECTION_END))
            return corrupt(in, "a section is of an unknown kind, or out of order");
        if (kind == TIDE__SECTION_END && payload.rest.len > 0)
            return corrupt(in, "the last section is not empty");
        err = read_items(in, kind, &payload);
    }
    if (err == TIDE_OK && in->series_count != tide_index_series_count(in->head->index))
        return corrupt(in, "series are missing");
    return err;
}

enum tide_err tide_head_restore(const struct tide_head_options *options, struct tide_reader *reader,
                                struct tide_head **out, struct tide_diag *diag)
{
    struct input in = {.diag = diag};
    struct tide_reader r = *reader;
    enum tide_err err = tide_head_new(options, &in.head);

    if (err != TIDE_OK)
        return err;
    err = read_all(&in, &r);
    tide_mem_free(in.columns);
    tide_arena_free(in.arena);
    if (err != TIDE_OK) {
        tide_head_free(in.head);
        return err;
    }
    *reader = r;
    *out = in.head;
    return TIDE_OK;
}
