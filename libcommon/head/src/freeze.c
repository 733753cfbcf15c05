/* Freezing the head and writing what was frozen. Copied: records, open chunks, clocks, the tables
 * of slabs, columns and late samples. Read in place, because it is only ever added to while the
 * view lives (what is dropped waits in the graveyard): sealed chunks, late chunks, rows of columns.
 */
#include "checkpoint_private.h"
#include "head_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#include <stdlib.h>

struct frozen_slab {
    uint8_t *memory; /* Read only. */
    int64_t start_ms;
};

struct frozen_column {
    const uint32_t *offsets;
    uint64_t target;
    int64_t start_ms;
    uint32_t count;
    uint32_t track;
    uint32_t number; /* In the file, plus 1; 0: not written yet. */
};

/* Histograms of one series. */
struct frozen_histograms {
    uint32_t ref;
    uint32_t open_count;
    size_t count;
    struct tide__histogram_chunk **chunks; /* A copy of the array; the chunks are read only. */
    struct tide_buf open;                  /* A copy of its stream. */
};

struct tide_head_frozen {
    struct tide_head *head;
    struct tide_head_options options;
    struct tide_index_frozen *index;
    struct tide_pages records;
    struct tide_segments segments;
    struct tide_pages clocks;
    struct frozen_slab *slabs;
    struct frozen_column *columns;
    struct tide__late *late; /* Copies, by rising reference. */
    size_t late_count;
    struct frozen_histograms *histograms; /* By rising reference. */
    size_t histogram_count;
    int64_t min_ms, max_ms;
};

/* ---- Freeze ---- */

static enum tide_err copy_tables(const struct tide_head *head, struct tide_head_frozen *frozen)
{
    frozen->slabs = tide_mem_array(head->store.slab_count, sizeof(*frozen->slabs));
    frozen->columns = tide_mem_array(head->columns.count, sizeof(*frozen->columns));
    if (frozen->slabs == NULL || frozen->columns == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < head->store.slab_count; i++) {
        const struct tide__slab *slab = &head->store.slabs[i];

        if (slab->memory != NULL)
            frozen->slabs[i] = (struct frozen_slab){slab->memory, slab->partition->start_ms};
    }
    for (size_t i = 0; i < head->columns.count; i++) {
        const struct tide__column *column = head->columns.items[i];

        if (column != NULL)
            frozen->columns[i] = (struct frozen_column){.offsets = column->offsets,
                                                        .target = column->target,
                                                        .start_ms = column->start_ms,
                                                        .count = column->count,
                                                        .track = column->track};
    }
    return TIDE_OK;
}

static int compare_late(const void *a, const void *b)
{
    uint32_t x = ((const struct tide__late *)a)->ref, y = ((const struct tide__late *)b)->ref;

    return (x > y) - (x < y);
}

static enum tide_err copy_late(const struct tide__late_table *table,
                               struct tide_head_frozen *frozen)
{
    frozen->late = tide_mem_array(table->count, sizeof(*frozen->late));
    if (frozen->late == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < table->slot_count; i++) {
        const struct tide__late *late = table->slots[i];
        struct tide__late *copy;

        if (late == NULL)
            continue;
        copy = &frozen->late[frozen->late_count++];
        copy->ref = late->ref;
        copy->samples = tide_mem_array(late->count, sizeof(*copy->samples));
        copy->chunks = tide_mem_array(late->chunk_count, sizeof(struct tide__late_chunk *));
        if (copy->samples == NULL || copy->chunks == NULL)
            return TIDE_ERR_NO_MEMORY;
        copy->count = late->count;
        copy->chunk_count = late->chunk_count;
        if (late->count > 0)
            memcpy(copy->samples, late->samples, late->count * sizeof(*copy->samples));
        if (late->chunk_count > 0)
            memcpy(copy->chunks, late->chunks,
                   late->chunk_count * sizeof(struct tide__late_chunk *));
    }
    if (frozen->late_count > 0)
        qsort(frozen->late, frozen->late_count, sizeof(*frozen->late), compare_late);
    return TIDE_OK;
}

static enum tide_err copy_histograms(const struct tide__histogram_table *table,
                                     struct tide_head_frozen *frozen)
{
    frozen->histograms = tide_mem_array(table->series, sizeof(*frozen->histograms));
    if (frozen->histograms == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < table->page_count * TIDE__HISTOGRAM_PAGE; i++) {
        const struct tide__histograms *series = tide__histograms_find(table, (uint32_t)i);
        struct frozen_histograms *copy;

        if (series == NULL)
            continue;
        copy = &frozen->histograms[frozen->histogram_count++];
        copy->ref = (uint32_t)i;
        copy->chunks = tide_mem_array(series->count, sizeof(struct tide__histogram_chunk *));
        tide_buf_slice(&copy->open, tide_buf_view(&series->open.stream));
        if (copy->chunks == NULL || tide_buf_ok(&copy->open) != TIDE_OK)
            return TIDE_ERR_NO_MEMORY;
        if (series->count > 0)
            memcpy(copy->chunks, series->chunks,
                   series->count * sizeof(struct tide__histogram_chunk *));
        copy->count = series->count;
        copy->open_count = series->open.count;
    }
    return TIDE_OK;
}

static void frozen_destroy(struct tide_head_frozen *frozen)
{
    tide_index_frozen_free(frozen->index);
    tide_pages_deinit(&frozen->records);
    tide_segments_deinit(&frozen->segments);
    tide_pages_deinit(&frozen->clocks);
    for (size_t i = 0; i < frozen->late_count; i++) {
        tide_mem_free(frozen->late[i].samples);
        tide_mem_free(frozen->late[i].chunks);
    }
    tide_mem_free(frozen->late);
    for (size_t i = 0; i < frozen->histogram_count; i++) {
        tide_mem_free(frozen->histograms[i].chunks);
        tide_buf_deinit(&frozen->histograms[i].open);
    }
    tide_mem_free(frozen->histograms);
    tide_mem_free(frozen->slabs);
    tide_mem_free(frozen->columns);
    tide_mem_free(frozen);
}

enum tide_err tide_head_freeze(struct tide_head *head, struct tide_head_frozen **out)
{
    struct tide_head_frozen *frozen = tide_mem_new(sizeof(*frozen));
    enum tide_err err;

    if (frozen == NULL)
        return TIDE_ERR_NO_MEMORY;
    /* Shared: only the writer changes the head, and it is here. */
    tide__head_lock_read(head);
    TIDE_ASSERT(head->frozen == NULL);
    frozen->head = head;
    frozen->options = head->options;
    frozen->min_ms = head->min_ms;
    frozen->max_ms = head->max_ms;
    err = tide_index_freeze(head->index, &frozen->index);
    if (err == TIDE_OK)
        err = tide_pages_copy(&head->records, sizeof(struct tide__record), &frozen->records);
    if (err == TIDE_OK)
        err = tide_segments_copy(&head->segments, &frozen->segments);
    if (err == TIDE_OK)
        err = tide_pages_copy(&head->clocks, sizeof(struct tide__clock), &frozen->clocks);
    if (err == TIDE_OK)
        err = copy_tables(head, frozen);
    if (err == TIDE_OK)
        err = copy_late(&head->late, frozen);
    if (err == TIDE_OK)
        err = copy_histograms(&head->histograms, frozen);
    tide__head_unlock(head);
    if (err != TIDE_OK) {
        frozen_destroy(frozen);
        return err;
    }
    tide__head_lock_write(head);
    head->frozen = frozen;
    tide__head_unlock(head);
    *out = frozen;
    return TIDE_OK;
}

void tide_head_frozen_free(struct tide_head_frozen *frozen)
{
    struct tide_head *head;
    void **graves;
    size_t count;

    if (frozen == NULL)
        return;
    head = frozen->head;
    frozen_destroy(frozen);
    tide__head_lock_write(head);
    graves = head->graveyard;
    count = head->grave_count;
    head->graveyard = NULL;
    head->grave_count = head->grave_capacity = 0;
    head->frozen = NULL;
    tide__head_unlock(head);
    for (size_t i = 0; i < count; i++)
        tide_mem_free(graves[i]);
    tide_mem_free(graves);
}

/* ---- Write ---- */

struct output {
    struct tide_head_frozen *frozen;
    struct tide_file_writer *writer;
    struct tide_diag *diag;
    struct tide_buf columns; /* Sections being collected. */
    struct tide_buf series;
    uint32_t column_count;
    uint32_t *ids; /* Chunks of the series in hand, from new to old. */
    size_t id_capacity;
    uint8_t scratch[TIDE_CHUNK_BYTES_MAX(TIDE_CHUNK_SAMPLES_MAX) + TIDE_CHUNK_PAD];
};

static enum tide_err write_section(struct output *out, enum tide__section kind,
                                   struct tide_buf *payload)
{
    struct tide_buf header = {0};
    uint32_t crc;
    enum tide_err err = tide_buf_ok(payload);

    tide_buf_u32(&header, kind);
    tide_buf_u32(&header, (uint32_t)payload->len);
    crc = tide_crc32c(tide_crc32c(0, tide_buf_view(&header)), tide_buf_view(payload));
    tide_buf_u32(&header, crc);
    if (err == TIDE_OK)
        err = tide_buf_ok(&header);
    if (err == TIDE_OK)
        err = tide_file_writer_add(out->writer, tide_buf_view(&header), out->diag);
    if (err == TIDE_OK)
        err = tide_file_writer_add(out->writer, tide_buf_view(payload), out->diag);
    tide_buf_deinit(&header);
    payload->len = 0;
    return err;
}

/* Columns go before the series that mention them. */
static enum tide_err flush(struct output *out)
{
    enum tide_err err = TIDE_OK;

    if (out->columns.len > 0)
        err = write_section(out, TIDE__SECTION_COLUMNS, &out->columns);
    if (err == TIDE_OK && out->series.len > 0)
        err = write_section(out, TIDE__SECTION_SERIES, &out->series);
    return err;
}

static int64_t partition_number(const struct output *out, int64_t start_ms)
{
    return start_ms / out->frozen->options.partition_ms;
}

/* The number of a column in the file; it is written when it is met first, so that the numbers tell
 * nothing about the past either. */
static uint32_t column_number(struct output *out, uint32_t id)
{
    struct frozen_column *column = &out->frozen->columns[id];
    struct tide_buf *buf = &out->columns;
    int64_t delta = 0;

    if (column->number != 0)
        return column->number - 1;
    column->number = ++out->column_count;
    tide_buf_varint(buf, partition_number(out, column->start_ms));
    tide_buf_u64(buf, column->target);
    tide_buf_byte(buf, (uint8_t)column->track);
    tide_buf_uvarint(buf, column->count);
    tide_buf_uvarint(buf, column->offsets[0]);
    for (uint32_t row = 1; row < column->count; row++) {
        int64_t next = (int64_t)column->offsets[row] - column->offsets[row - 1];

        tide_buf_varint(buf, next - delta);
        delta = next;
    }
    return column->number - 1;
}

static void write_sealed(struct output *out, uint32_t id)
{
    const struct frozen_slab *slab = &out->frozen->slabs[id >> TIDE__SLAB_OFFSET_BITS];
    struct tide__sealed *chunk = tide__slab_chunk(slab->memory, id);
    struct tide_slice stream = tide__sealed_stream(chunk);
    struct tide_buf *buf = &out->series;

    tide_buf_byte(buf, (uint8_t)chunk->timed);
    if (chunk->timed) {
        uint32_t last;

        memcpy(&last, tide__sealed_data(chunk), sizeof(last));
        tide_buf_varint(buf, partition_number(out, slab->start_ms));
        tide_buf_uvarint(buf, chunk->first);
        tide_buf_uvarint(buf, last);
    } else {
        tide_buf_uvarint(buf, column_number(out, chunk->first));
        tide_buf_uvarint(buf, chunk->row);
    }
    tide_buf_uvarint(buf, chunk->count);
    tide_buf_bytes(buf, stream);
}

static void write_open(struct output *out, const struct tide__record *r)
{
    struct tide_head_frozen *frozen = out->frozen;
    struct tide_buf *buf = &out->series;
    size_t len;

    if (r->open.owner & TIDE__TIMED) {
        const struct tide__clock *clock = tide__clock(&frozen->clocks, r->column);

        tide_buf_byte(buf, 1);
        tide_buf_varint(buf, partition_number(out, clock->start_ms));
        tide_buf_uvarint(buf, clock->first);
        tide_buf_uvarint(buf, clock->clock.last);
        tide_buf_uvarint(buf, clock->clock.delta);
    } else {
        tide_buf_byte(buf, 0);
        tide_buf_uvarint(buf, column_number(out, r->column));
        tide_buf_uvarint(buf, r->row);
    }
    tide_buf_uvarint(buf, r->count);
    tide_buf_uvarint(buf, r->cut);
    tide_buf_u64(buf, r->open.last);
    tide_buf_byte(buf, r->open.lead);
    tide_buf_byte(buf, r->open.width);
    tide_buf_uvarint(buf, tide_chunk_bits(&frozen->segments, &r->open));
    len = tide_chunk_copy(&frozen->segments, &r->open, out->scratch,
                          sizeof(out->scratch) - TIDE_CHUNK_PAD);
    tide_buf_add(buf, out->scratch, len);
}

static enum tide_err write_record(struct output *out, const struct tide__record *r, uint32_t gap)
{
    const struct frozen_slab *slab;
    size_t count = 0;
    uint32_t id = r->sealed;

    while (id != 0 && (slab = &out->frozen->slabs[id >> TIDE__SLAB_OFFSET_BITS])->memory != NULL) {
        enum tide_err err =
            tide_mem_grow((void **)&out->ids, &out->id_capacity, count + 1, sizeof(*out->ids));

        if (err != TIDE_OK)
            return err;
        out->ids[count++] = id;
        id = tide__slab_chunk(slab->memory, id)->older;
    }
    tide_buf_uvarint(&out->series, gap);
    tide_buf_byte(&out->series, r->misfits);
    tide_buf_uvarint(&out->series, count);
    while (count-- > 0)
        write_sealed(out, out->ids[count]);
    tide_buf_byte(&out->series, r->count > 0);
    if (r->count > 0)
        write_open(out, r);
    if (out->columns.len < TIDE__SECTION_BYTES && out->series.len < TIDE__SECTION_BYTES)
        return TIDE_OK;
    return flush(out);
}

static enum tide_err write_records(struct output *out)
{
    const struct tide_pages *records = &out->frozen->records;
    uint32_t next = 0; /* One past the last one written. */

    for (uint32_t ref = 0; ref < records->count; ref++) {
        const struct tide__record *r = tide__record(records, ref);
        enum tide_err err;

        if (r == NULL || (r->open.owner & TIDE__LIVE) == 0)
            continue;
        err = write_record(out, r, ref - next);
        if (err != TIDE_OK)
            return err;
        next = ref + 1;
    }
    return flush(out);
}

static enum tide_err write_late(struct output *out)
{
    const struct tide_head_frozen *frozen = out->frozen;
    struct tide_buf *buf = &out->series; /* Empty by now. */
    uint32_t next = 0;

    for (size_t i = 0; i < frozen->late_count; i++) {
        const struct tide__late *late = &frozen->late[i];
        int64_t last_ms = 0;

        tide_buf_uvarint(buf, late->ref - next);
        next = late->ref + 1;
        tide_buf_uvarint(buf, late->count);
        for (uint32_t k = 0; k < late->count; k++) {
            tide_buf_varint(buf, late->samples[k].ts_ms - last_ms);
            tide_buf_u64(buf, late->samples[k].bits);
            last_ms = late->samples[k].ts_ms;
        }
        tide_buf_uvarint(buf, late->chunk_count);
        for (size_t k = 0; k < late->chunk_count; k++) {
            const struct tide__late_chunk *chunk = late->chunks[k];

            tide_buf_varint(buf, partition_number(out, chunk->start_ms));
            tide_buf_uvarint(buf, chunk->first);
            tide_buf_uvarint(buf, chunk->last);
            tide_buf_uvarint(buf, chunk->count);
            tide_buf_bytes(buf, (struct tide_slice){chunk->data, chunk->bytes});
        }
        if (buf->len >= TIDE__SECTION_BYTES) {
            enum tide_err err = write_section(out, TIDE__SECTION_LATE, buf);

            if (err != TIDE_OK)
                return err;
        }
    }
    return buf->len > 0 ? write_section(out, TIDE__SECTION_LATE, buf) : TIDE_OK;
}

static enum tide_err write_histograms(struct output *out)
{
    const struct tide_head_frozen *frozen = out->frozen;
    struct tide_buf *buf = &out->series; /* Empty by now. */
    uint32_t next = 0;

    for (size_t i = 0; i < frozen->histogram_count; i++) {
        const struct frozen_histograms *series = &frozen->histograms[i];

        tide_buf_uvarint(buf, series->ref - next);
        next = series->ref + 1;
        tide_buf_uvarint(buf, series->count + 1);
        for (size_t k = 0; k < series->count; k++) {
            tide_buf_uvarint(buf, series->chunks[k]->count);
            tide_buf_bytes(buf, tide__histogram_stream(series->chunks[k]));
        }
        tide_buf_uvarint(buf, series->open_count);
        tide_buf_bytes(buf, tide_buf_view(&series->open));
        if (buf->len >= TIDE__SECTION_BYTES) {
            enum tide_err err = write_section(out, TIDE__SECTION_HISTOGRAMS, buf);

            if (err != TIDE_OK)
                return err;
        }
    }
    return buf->len > 0 ? write_section(out, TIDE__SECTION_HISTOGRAMS, buf) : TIDE_OK;
}

static enum tide_err write_start(struct output *out)
{
    struct tide_buf *buf = &out->series;
    enum tide_err err;

    tide_buf_str(buf, TIDE__CHECKPOINT_MAGIC);
    tide_buf_u32(buf, TIDE__CHECKPOINT_VERSION);
    err = tide_buf_ok(buf);
    if (err == TIDE_OK)
        err = tide_file_writer_add(out->writer, tide_buf_view(buf), out->diag);
    if (err != TIDE_OK)
        return err;
    buf->len = 0;
    tide_buf_uvarint(buf, (uint64_t)out->frozen->options.partition_ms);
    tide_buf_varint(buf, out->frozen->min_ms);
    tide_buf_varint(buf, out->frozen->max_ms);
    return write_section(out, TIDE__SECTION_META, buf);
}

static enum tide_err write_index(struct output *out)
{
    enum tide_err err, more;

    do {
        more = tide_index_frozen_next(out->frozen->index, &out->series);
        if (more != TIDE_OK && more != TIDE_END)
            return more;
        err = tide_file_writer_add(out->writer, tide_buf_view(&out->series), out->diag);
        if (err != TIDE_OK)
            return err;
        out->series.len = 0;
    } while (more == TIDE_OK);
    return TIDE_OK;
}

enum tide_err tide_head_frozen_write(struct tide_head_frozen *frozen,
                                     struct tide_file_writer *writer, struct tide_diag *diag)
{
    struct output *out = tide_mem_new(sizeof(*out));
    enum tide_err err;

    if (out == NULL)
        return TIDE_ERR_NO_MEMORY;
    out->frozen = frozen;
    out->writer = writer;
    out->diag = diag;
    err = write_start(out);
    if (err == TIDE_OK)
        err = write_index(out);
    if (err == TIDE_OK)
        err = write_records(out);
    if (err == TIDE_OK)
        err = write_late(out);
    if (err == TIDE_OK)
        err = write_histograms(out);
    if (err == TIDE_OK)
        err = write_section(out, TIDE__SECTION_END, &out->series);
    tide_buf_deinit(&out->columns);
    tide_buf_deinit(&out->series);
    tide_mem_free(out->ids);
    tide_mem_free(out);
    return err;
}
