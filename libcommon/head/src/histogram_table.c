#include "histograms_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

struct tide_arena *tide__histogram_arena(struct tide__histogram_table *table)
{
    if (table->arena == NULL)
        table->arena = tide_arena_new(0);
    else
        tide_arena_reset(table->arena);
    return table->arena;
}

static enum tide_err grow(struct tide__histogram_table *table, size_t page)
{
    size_t capacity = table->page_count, old = table->page_count;
    enum tide_err err = tide_mem_grow((void **)&table->pages, &capacity, page + 1,
                                      sizeof(struct tide__histogram_page *));

    if (err != TIDE_OK)
        return err;
    for (size_t i = old; i < capacity; i++)
        table->pages[i] = NULL;
    table->page_count = capacity;
    table->bytes += (capacity - old) * sizeof(struct tide__histogram_page *);
    return TIDE_OK;
}

enum tide_err tide__histograms_get(struct tide__histogram_table *table, uint32_t ref,
                                   struct tide__histograms **out)
{
    size_t number = ref / TIDE__HISTOGRAM_PAGE;
    struct tide__histogram_page *page;
    struct tide__histograms *series;

    if (number >= table->page_count) {
        enum tide_err err = grow(table, number);

        if (err != TIDE_OK)
            return err;
    }
    page = table->pages[number];
    if (page == NULL) {
        page = table->pages[number] = tide_mem_new(sizeof(*page));
        if (page == NULL)
            return TIDE_ERR_NO_MEMORY;
        table->bytes += sizeof(*page);
    }
    series = page->items[ref % TIDE__HISTOGRAM_PAGE];
    if (series == NULL) {
        series = tide_mem_new(sizeof(*series));
        if (series == NULL)
            return TIDE_ERR_NO_MEMORY;
        page->items[ref % TIDE__HISTOGRAM_PAGE] = series;
        page->used++;
        table->series++;
        table->bytes += sizeof(*series);
    }
    *out = series;
    return TIDE_OK;
}

/* Bytes of an open chunk beside its struct. */
static uint64_t open_bytes(const struct tide_histogram_chunk *open)
{
    return open->stream.capacity + open->layout.capacity +
           open->count_capacity * sizeof(*open->counts);
}

static void open_drop(struct tide__histogram_table *table, struct tide__histograms *series)
{
    table->samples -= series->open.count;
    table->bytes -= open_bytes(&series->open);
    tide_histogram_chunk_deinit(&series->open);
}

void tide__histograms_remove(struct tide__histogram_table *table, uint32_t ref)
{
    size_t number = ref / TIDE__HISTOGRAM_PAGE;
    struct tide__histograms *series = tide__histograms_find(table, ref);

    TIDE_ASSERT(series != NULL);
    TIDE_ASSERT(series->count == 0);
    open_drop(table, series);
    table->series--;
    table->bytes -= sizeof(*series) + series->capacity * sizeof(struct tide__histogram_chunk *);
    tide_mem_free(series->chunks);
    tide_mem_free(series);
    table->pages[number]->items[ref % TIDE__HISTOGRAM_PAGE] = NULL;
    if (--table->pages[number]->used == 0) {
        tide_mem_free(table->pages[number]);
        table->pages[number] = NULL;
        table->bytes -= sizeof(struct tide__histogram_page);
    }
}

struct tide__histogram_chunk *tide__histogram_chunk_new(const struct tide_histogram_chunk *open)
{
    struct tide__histogram_chunk *chunk = tide_mem_alloc(sizeof(*chunk) + open->stream.len);

    TIDE_ASSERT(open->count > 0);
    if (chunk == NULL)
        return NULL;
    chunk->first_ms = open->first_ms;
    chunk->last_ms = open->last_ms;
    chunk->decoded_bytes = open->decoded_bytes;
    chunk->count = open->count;
    chunk->bytes = (uint32_t)open->stream.len;
    memcpy(chunk->data, open->stream.ptr, open->stream.len);
    return chunk;
}

enum tide_err tide__histograms_insert(struct tide__histogram_table *table,
                                      struct tide__histograms *series, size_t at,
                                      struct tide__histogram_chunk *chunk)
{
    size_t capacity = series->capacity;
    enum tide_err err = tide_mem_grow((void **)&series->chunks, &series->capacity,
                                      series->count + 1, sizeof(struct tide__histogram_chunk *));

    if (err != TIDE_OK)
        return err;
    memmove(&series->chunks[at + 1], &series->chunks[at],
            (series->count - at) * sizeof(struct tide__histogram_chunk *));
    series->chunks[at] = chunk;
    series->count++;
    table->chunks++;
    table->samples += chunk->count;
    table->bytes += sizeof(*chunk) + chunk->bytes +
                    (series->capacity - capacity) * sizeof(struct tide__histogram_chunk *);
    return TIDE_OK;
}

void tide__histograms_take(struct tide__histogram_table *table, struct tide__histograms *series,
                           size_t at, size_t count)
{
    for (size_t i = at; i < at + count; i++) {
        const struct tide__histogram_chunk *chunk = series->chunks[i];

        table->chunks--;
        table->samples -= chunk->count;
        table->bytes -= sizeof(*chunk) + chunk->bytes;
    }
    series->count -= count;
    memmove(&series->chunks[at], &series->chunks[at + count],
            (series->count - at) * sizeof(struct tide__histogram_chunk *));
}

void tide__histograms_set_open(struct tide__histogram_table *table, struct tide__histograms *series,
                               struct tide_histogram_chunk *open)
{
    open_drop(table, series);
    series->open = *open;
    table->samples += open->count;
    table->bytes += open_bytes(open);
    *open = (struct tide_histogram_chunk){0};
}

enum tide_err tide__histograms_seal(struct tide__histogram_table *table,
                                    struct tide__histograms *series)
{
    struct tide__histogram_chunk *chunk = tide__histogram_chunk_new(&series->open);
    enum tide_err err;

    if (chunk == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = tide__histograms_insert(table, series, series->count, chunk);
    if (err != TIDE_OK)
        tide_mem_free(chunk);
    else
        open_drop(table, series);
    return err;
}

enum tide_err tide__histograms_add(struct tide__histogram_table *table,
                                   struct tide__histograms *series, int64_t ts_ms,
                                   const struct tide_histogram *h)
{
    enum tide_err err = TIDE_OK;

    if (series->open.count >= TIDE__HISTOGRAM_SAMPLES ||
        series->open.stream.len >= TIDE__HISTOGRAM_BYTES)
        err = tide__histograms_seal(table, series);
    if (err != TIDE_OK)
        return err;
    table->bytes -= open_bytes(&series->open);
    err = tide_histogram_chunk_append(&series->open, ts_ms, h);
    table->bytes += open_bytes(&series->open);
    if (err == TIDE_OK)
        table->samples++;
    return err;
}

void tide__histograms_deinit(struct tide__histogram_table *table)
{
    for (size_t i = 0; i < table->page_count; i++) {
        struct tide__histogram_page *page = table->pages[i];

        for (size_t k = 0; page != NULL && k < TIDE__HISTOGRAM_PAGE; k++) {
            struct tide__histograms *series = page->items[k];

            if (series == NULL)
                continue;
            for (size_t c = 0; c < series->count; c++)
                tide_mem_free(series->chunks[c]);
            tide_histogram_chunk_deinit(&series->open);
            tide_mem_free(series->chunks);
            tide_mem_free(series);
        }
        tide_mem_free(page);
    }
    tide_mem_free(table->pages);
    tide_arena_free(table->arena);
    *table = (struct tide__histogram_table){0};
}
