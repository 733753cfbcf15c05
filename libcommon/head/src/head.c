#include "head_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

const struct tide_head_options tide_head_options_default = {
    .partition_ms = INT64_C(2) * 60 * 60 * 1000,
    .chunk_samples = 60,
    .series_max = 10u * 1000 * 1000,
};

/* ---- Lock ---- */

void tide__head_lock_read(struct tide_head *head)
{
    int rc = pthread_rwlock_rdlock(&head->lock);

    TIDE_ASSERT(rc == 0);
}

void tide__head_lock_write(struct tide_head *head)
{
    int rc = pthread_rwlock_wrlock(&head->lock);

    TIDE_ASSERT(rc == 0);
}

void tide__head_unlock(struct tide_head *head)
{
    int rc = pthread_rwlock_unlock(&head->lock);

    TIDE_ASSERT(rc == 0);
}

/* Readers come in slices all the time; with the default kind they would keep the writer out for
 * good. No thread takes the lock twice. */
static enum tide_err lock_init(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;
    int rc = pthread_rwlockattr_init(&attr);

    if (rc != 0)
        return TIDE_ERR_NO_MEMORY;
#ifdef __GLIBC__
    rc = pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    TIDE_ASSERT(rc == 0);
#endif
    rc = pthread_rwlock_init(lock, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
    return rc == 0 ? TIDE_OK : TIDE_ERR_NO_MEMORY;
}

/* ---- Life ---- */

static bool are_valid(const struct tide_head_options *options)
{
    return options->partition_ms > 0 && options->partition_ms <= INT32_MAX &&
           options->chunk_samples >= 2 && options->chunk_samples <= TIDE_CHUNK_SAMPLES_MAX / 2;
}

enum tide_err tide_head_new(const struct tide_head_options *options, struct tide_head **out)
{
    struct tide_head *head;
    enum tide_err err;

    if (!are_valid(options))
        return TIDE_ERR_INVALID;
    head = tide_mem_new(sizeof(*head));
    if (head == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = lock_init(&head->lock);
    if (err != TIDE_OK) {
        tide_mem_free(head);
        return err;
    }
    head->options = *options;
    head->epoch = 1;
    head->floor_ms = INT64_MIN;
    head->min_ms = INT64_MAX;
    head->max_ms = INT64_MIN;
    err = tide_index_new(&head->index);
    if (err != TIDE_OK) {
        tide_head_free(head);
        return err;
    }
    *out = head;
    return TIDE_OK;
}

void tide_head_free(struct tide_head *head)
{
    if (head == NULL)
        return;
    TIDE_ASSERT(head->frozen == NULL);
    for (size_t i = 0; i < head->grave_count; i++)
        tide_mem_free(head->graveyard[i]);
    tide_mem_free(head->graveyard);
    tide__late_deinit(&head->late);
    tide__histograms_deinit(&head->histograms);
    tide__columns_deinit(&head->columns);
    tide__store_deinit(&head->store);
    tide_segments_deinit(&head->segments);
    tide_pages_deinit(&head->clocks);
    tide_pages_deinit(&head->records);
    tide_mem_free(head->live);
    tide_mem_free(head->scratch);
    tide_index_free(head->index);
    (void)pthread_rwlock_destroy(&head->lock);
    tide_mem_free(head);
}

enum tide_err tide__head_scratch(struct tide_head *head, struct tide__scratch **out)
{
    if (head->scratch == NULL)
        head->scratch = tide_mem_new(sizeof(*head->scratch));
    *out = head->scratch;
    return head->scratch == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}

enum tide_err tide__head_dig(struct tide_head *head, size_t count)
{
    if (head->frozen == NULL)
        return TIDE_OK;
    return tide_mem_grow((void **)&head->graveyard, &head->grave_capacity,
                         head->grave_count + count, sizeof(*head->graveyard));
}

void tide__head_bury(struct tide_head *head, void *memory)
{
    if (head->frozen == NULL || memory == NULL) {
        tide_mem_free(memory);
        return;
    }
    TIDE_ASSERT(head->grave_count < head->grave_capacity);
    head->graveyard[head->grave_count++] = memory;
}

/* ---- Records and clocks ---- */

enum tide_err tide__head_record_add(struct tide_head *head, uint32_t ref)
{
    struct tide__record *r;
    enum tide_err err = tide_mem_grow((void **)&head->live, &head->live_capacity,
                                      ref / TIDE_PAGE_ITEMS + 1, sizeof(*head->live));

    TIDE_ASSERT(ref == head->records.count);
    if (err == TIDE_OK)
        err = tide_pages_add(&head->records, sizeof(struct tide__record));
    if (err != TIDE_OK)
        return err;
    r = tide__record(&head->records, ref);
    *r = (struct tide__record){.open.owner = TIDE__LIVE};
    if (ref % TIDE_PAGE_ITEMS == 0)
        head->live[ref / TIDE_PAGE_ITEMS] = 0;
    head->live[ref / TIDE_PAGE_ITEMS]++;
    return TIDE_OK;
}

void tide__head_record_remove(struct tide_head *head, uint32_t ref)
{
    uint32_t page = ref / TIDE_PAGE_ITEMS;
    struct tide__record *r = tide__record(&head->records, ref);

    TIDE_ASSERT(r != NULL);
    TIDE_ASSERT(r->count == 0);
    TIDE_ASSERT(head->live[page] > 0);
    *r = (struct tide__record){0};
    /* References are never given again: a page of dead ones can go once no more are added to it. */
    if (--head->live[page] == 0 && (page + 1) * TIDE_PAGE_ITEMS <= head->records.count)
        tide_pages_drop(&head->records, page);
}

enum tide_err tide__clock_take(struct tide_head *head, uint32_t *id)
{
    if (head->clock_free != 0) {
        *id = head->clock_free - 1;
        head->clock_free = tide__clock(&head->clocks, *id)->first;
        return TIDE_OK;
    }
    *id = head->clocks.count;
    return tide_pages_add(&head->clocks, sizeof(struct tide__clock));
}

void tide__clock_give(struct tide_head *head, uint32_t id)
{
    *tide__clock(&head->clocks, id) = (struct tide__clock){.first = head->clock_free};
    head->clock_free = id + 1;
}

void tide__open_drop(struct tide_head *head, struct tide__record *r)
{
    if (r->open.owner & TIDE__TIMED)
        tide__clock_give(head, r->column);
    r->open.owner &= (uint8_t)~TIDE__TIMED;
    tide_chunk_drop(&head->segments, &r->open);
    head->open_samples -= r->count;
    r->count = 0;
    r->column = 0;
}

/* ---- Times of chunks ---- */

int64_t tide__open_start_ms(const struct tide_head *head, const struct tide__record *r)
{
    return r->open.owner & TIDE__TIMED ? tide__clock(&head->clocks, r->column)->start_ms
                                       : head->columns.items[r->column]->start_ms;
}

int64_t tide__open_first_ms(const struct tide_head *head, const struct tide__record *r)
{
    const struct tide__clock *clock;

    if ((r->open.owner & TIDE__TIMED) == 0)
        return tide__column_ms(head->columns.items[r->column], r->row);
    clock = tide__clock(&head->clocks, r->column);
    return clock->start_ms + clock->first;
}

int64_t tide__open_last_ms(const struct tide_head *head, const struct tide__record *r)
{
    const struct tide__clock *clock;

    if ((r->open.owner & TIDE__TIMED) == 0)
        return tide__column_ms(head->columns.items[r->column], r->row + r->count - 1u);
    clock = tide__clock(&head->clocks, r->column);
    return clock->start_ms + clock->clock.last;
}

void tide__sealed_range(const struct tide_head *head, uint32_t id, struct tide__sealed *chunk,
                        int64_t *first_ms, int64_t *last_ms)
{
    if (chunk->timed) {
        int64_t start_ms = tide__store_start(&head->store, id);
        uint32_t last;

        memcpy(&last, tide__sealed_data(chunk), sizeof(last));
        *first_ms = start_ms + chunk->first;
        *last_ms = start_ms + last;
    } else {
        const struct tide__column *column = head->columns.items[chunk->first];

        *first_ms = tide__column_ms(column, chunk->row);
        *last_ms = tide__column_ms(column, chunk->row + chunk->count - 1u);
    }
}

/* ---- Series, labels, statistics ---- */

enum tide_err tide_head_series(struct tide_head *head, struct tide_hash128 identity,
                               struct tide_labels labels, uint32_t *ref)
{
    bool created = false;
    enum tide_err err;

    if (tide_index_series_count(head->index) >= head->options.series_max)
        return tide_index_find(head->index, identity, labels, ref) == TIDE_OK ? TIDE_OK
                                                                              : TIDE_ERR_LIMIT;
    tide__head_lock_write(head);
    err = tide_index_add(head->index, identity, labels, ref, &created);
    if (err == TIDE_OK && created)
        err = tide__head_record_add(head, *ref);
    tide__head_unlock(head);
    return err;
}

void tide_head_series_max_set(struct tide_head *head, uint32_t series_max)
{
    head->options.series_max = series_max; /* Only the writer looks at it. */
}

enum tide_err tide_head_labels(struct tide_head *head, uint32_t ref, struct tide_arena *arena,
                               struct tide_labels *out)
{
    struct tide_labels labels;
    enum tide_err err = TIDE_ERR_NOT_FOUND;

    tide__head_lock_read(head);
    if (tide_index_contains(head->index, ref))
        err = tide_index_labels(head->index, ref, arena, &labels);
    tide__head_unlock(head);
    return err == TIDE_OK ? tide_labels_copy(arena, labels, out) : err;
}

void tide_head_stats(struct tide_head *head, struct tide_head_stats *out)
{
    struct tide_index_stats index;

    tide__head_lock_read(head);
    tide_index_stats(head->index, &index);
    *out = (struct tide_head_stats){
        .series = index.series,
        .samples = head->open_samples + head->store.samples + head->late.samples +
                   head->histograms.samples,
        .chunks = head->store.chunks + head->late.chunks + head->histograms.chunks,
        .label_pairs = index.values,
        .min_ms = head->min_ms,
        .max_ms = head->max_ms,
        .bytes_records = tide_pages_bytes(&head->records, sizeof(struct tide__record)) +
                         sizeof(*head) + head->live_capacity * sizeof(*head->live),
        .bytes_open = tide_segments_bytes(&head->segments) +
                      tide_pages_bytes(&head->clocks, sizeof(struct tide__clock)),
        .bytes_sealed = head->store.bytes + head->store.slab_capacity * sizeof(*head->store.slabs),
        .bytes_columns = head->columns.bytes +
                         head->columns.capacity * sizeof(struct tide__column *) +
                         head->columns.slot_count * sizeof(*head->columns.slots),
        .bytes_late = head->late.bytes,
        .bytes_histograms = head->histograms.bytes,
        .bytes_labels = index.bytes_labels + index.bytes_table + index.bytes_symbols,
        .bytes_postings = index.bytes_postings,
    };
    tide__head_unlock(head);
}

struct cardinality {
    enum tide_head_cardinality what;
    tide_head_cardinality_sink sink;
    void *context;
};

static bool give_pair(void *context, struct tide_slice name, struct tide_slice value,
                      uint64_t series)
{
    struct cardinality *c = context;

    if (c->what == TIDE_CARD_SERIES_BY_METRIC)
        name = (struct tide_slice){0};
    return c->sink(c->context, name, value, series);
}

static bool give_name(void *context, const struct tide_index_name_stats *stats)
{
    struct cardinality *c = context;

    return c->sink(c->context, stats->name, (struct tide_slice){0},
                   c->what == TIDE_CARD_VALUES_BY_NAME ? stats->values : stats->bytes);
}

enum tide_err tide_head_cardinality(struct tide_head *head, enum tide_head_cardinality what,
                                    tide_head_cardinality_sink sink, void *context)
{
    struct cardinality c = {what, sink, context};

    tide__head_lock_read(head);
    if (what == TIDE_CARD_SERIES_BY_METRIC)
        tide_index_each_pair(head->index, TIDE_SLICE(TIDE_LABEL_METRIC), give_pair, &c);
    else if (what == TIDE_CARD_SERIES_BY_PAIR)
        tide_index_each_pair(head->index, (struct tide_slice){0}, give_pair, &c);
    else
        tide_index_each_name(head->index, give_name, &c);
    tide__head_unlock(head);
    return TIDE_OK;
}

enum tide_err tide_head_label_names(struct tide_head *head, const struct tide_select *select,
                                    struct tide_query_limits *limits, tide_string_sink sink,
                                    void *sink_context)
{
    enum tide_err err;

    tide__head_lock_read(head);
    err = tide_index_label_names(head->index, select->matchers, select->matcher_count, limits, sink,
                                 sink_context);
    tide__head_unlock(head);
    return err;
}

enum tide_err tide_head_label_values(struct tide_head *head, const struct tide_select *select,
                                     struct tide_slice name, struct tide_query_limits *limits,
                                     tide_string_sink sink, void *sink_context)
{
    enum tide_err err;

    tide__head_lock_read(head);
    err = tide_index_label_values(head->index, name, select->matchers, select->matcher_count,
                                  limits, sink, sink_context);
    tide__head_unlock(head);
    return err;
}
