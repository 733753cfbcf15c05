#include "tide/head/metadata.h"

#include "tide/base/mem.h"

#include <pthread.h>
#include <stdlib.h>

#define BUCKETS_MIN 16u

/* One allocation: the record, then its name, help and unit. */
struct record {
    struct record *next;
    uint64_t hash;
    struct tide_metadata metadata;
};

struct tide_metadata_store {
    pthread_mutex_t lock; /* Level 4 in docs/LOCKS.md. Guards all. */
    struct record **buckets;
    size_t bucket_count; /* A power of two. */
    size_t count;
};

enum tide_err tide_metadata_store_new(struct tide_metadata_store **out)
{
    struct tide_metadata_store *store = tide_mem_new(sizeof(*store));

    if (store == NULL)
        return TIDE_ERR_NO_MEMORY;
    store->bucket_count = BUCKETS_MIN;
    store->buckets = tide_mem_array(store->bucket_count, sizeof(struct record *));
    if (store->buckets == NULL) {
        tide_mem_free(store);
        return TIDE_ERR_NO_MEMORY;
    }
    pthread_mutex_init(&store->lock, NULL);
    *out = store;
    return TIDE_OK;
}

void tide_metadata_store_free(struct tide_metadata_store *store)
{
    if (store == NULL)
        return;
    for (size_t i = 0; i < store->bucket_count; i++) {
        while (store->buckets[i] != NULL) {
            struct record *record = store->buckets[i];

            store->buckets[i] = record->next;
            tide_mem_free(record);
        }
    }
    pthread_mutex_destroy(&store->lock);
    tide_mem_free(store->buckets);
    tide_mem_free(store);
}

/* Where the link to the metric's record stands, or the link at the end of its bucket. */
static struct record **find(struct tide_metadata_store *store, struct tide_slice metric,
                            uint64_t hash)
{
    struct record **link = &store->buckets[hash & (store->bucket_count - 1)];

    while (*link != NULL &&
           ((*link)->hash != hash || !tide_slice_eq((*link)->metadata.metric, metric)))
        link = &(*link)->next;
    return link;
}

/* Without memory the buckets stay as they are: only slower. */
static void grow(struct tide_metadata_store *store)
{
    const size_t bucket_count = store->bucket_count * 2;
    struct record **buckets = tide_mem_array(bucket_count, sizeof(struct record *));

    if (buckets == NULL)
        return;
    for (size_t i = 0; i < store->bucket_count; i++) {
        while (store->buckets[i] != NULL) {
            struct record *record = store->buckets[i];
            struct record **bucket = &buckets[record->hash & (bucket_count - 1)];

            store->buckets[i] = record->next;
            record->next = *bucket;
            *bucket = record;
        }
    }
    tide_mem_free(store->buckets);
    store->buckets = buckets;
    store->bucket_count = bucket_count;
}

static struct tide_slice cut(struct tide_slice text)
{
    if (text.len <= TIDE_METADATA_TEXT_BYTES_MAX)
        return text;
    text.len = TIDE_METADATA_TEXT_BYTES_MAX;
    while (text.len > 0 && (text.ptr[text.len] & 0xc0) == 0x80)
        text.len--;
    return text;
}

static struct tide_slice place(uint8_t **at, struct tide_slice text)
{
    struct tide_slice copy = {*at, text.len};

    if (text.len > 0)
        memcpy(*at, text.ptr, text.len);
    *at += text.len;
    return copy;
}

static struct record *record_new(const struct tide_metadata *metadata, uint64_t hash)
{
    const struct tide_slice help = cut(metadata->help);
    const struct tide_slice unit = cut(metadata->unit);
    struct record *record =
        tide_mem_new(sizeof(*record) + metadata->metric.len + help.len + unit.len);
    uint8_t *at = (uint8_t *)(record + 1);

    if (record == NULL)
        return NULL;
    record->hash = hash;
    record->metadata.kind = metadata->kind;
    record->metadata.metric = place(&at, metadata->metric);
    record->metadata.help = place(&at, help);
    record->metadata.unit = place(&at, unit);
    return record;
}

static bool same(const struct tide_metadata *a, const struct tide_metadata *b)
{
    return a->kind == b->kind && tide_slice_eq(a->help, cut(b->help)) &&
           tide_slice_eq(a->unit, cut(b->unit));
}

static enum tide_err set_locked(struct tide_metadata_store *store,
                                const struct tide_metadata *metadata)
{
    const uint64_t hash = tide_hash64(metadata->metric, 0);
    struct record **link = find(store, metadata->metric, hash);
    struct record *old = *link;
    struct record *record;

    if (old != NULL && same(&old->metadata, metadata))
        return TIDE_OK;
    if (old == NULL && store->count >= TIDE_METADATA_COUNT_MAX)
        return TIDE_ERR_LIMIT;
    record = record_new(metadata, hash);
    if (record == NULL)
        return TIDE_ERR_NO_MEMORY;
    record->next = old != NULL ? old->next : NULL;
    *link = record;
    tide_mem_free(old);
    if (old == NULL && ++store->count > store->bucket_count)
        grow(store);
    return TIDE_OK;
}

enum tide_err tide_metadata_store_set(struct tide_metadata_store *store,
                                      const struct tide_metadata *metadata)
{
    enum tide_err err;

    if (metadata->metric.len > TIDE_METADATA_TEXT_BYTES_MAX)
        return TIDE_ERR_TOO_LARGE;
    pthread_mutex_lock(&store->lock);
    err = set_locked(store, metadata);
    pthread_mutex_unlock(&store->lock);
    return err;
}

enum tide_err tide_metadata_store_each(struct tide_metadata_store *store, struct tide_slice metric,
                                       tide_metadata_sink sink, void *context)
{
    bool more = true;

    pthread_mutex_lock(&store->lock);
    if (metric.len > 0) {
        const struct record *record = *find(store, metric, tide_hash64(metric, 0));

        if (record != NULL)
            sink(context, &record->metadata);
        more = false;
    }
    for (size_t i = 0; more && i < store->bucket_count; i++) {
        for (const struct record *record = store->buckets[i]; more && record != NULL;
             record = record->next)
            more = sink(context, &record->metadata);
    }
    pthread_mutex_unlock(&store->lock);
    return TIDE_OK;
}

static int compare(const void *a, const void *b)
{
    const struct record *const *x = a;
    const struct record *const *y = b;

    return tide_slice_cmp((*x)->metadata.metric, (*y)->metadata.metric);
}

static void write_locked(const struct tide_metadata_store *store, struct tide_buf *out)
{
    const struct record **sorted = tide_mem_array(store->count, sizeof(void *));
    size_t count = 0;

    if (sorted == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < store->bucket_count; i++) {
        for (const struct record *record = store->buckets[i]; record != NULL; record = record->next)
            sorted[count++] = record;
    }
    qsort(sorted, count, sizeof(void *), compare);
    tide_buf_uvarint(out, count);
    for (size_t i = 0; i < count; i++) {
        tide_buf_bytes(out, sorted[i]->metadata.metric);
        tide_buf_byte(out, (uint8_t)sorted[i]->metadata.kind);
        tide_buf_bytes(out, sorted[i]->metadata.help);
        tide_buf_bytes(out, sorted[i]->metadata.unit);
    }
    tide_mem_free(sorted);
}

void tide_metadata_store_write(struct tide_metadata_store *store, struct tide_buf *out)
{
    pthread_mutex_lock(&store->lock);
    write_locked(store, out);
    pthread_mutex_unlock(&store->lock);
}

enum tide_err tide_metadata_store_restore(struct tide_metadata_store *store,
                                          struct tide_slice bytes)
{
    struct tide_reader r = tide_reader(bytes);
    size_t count;
    enum tide_err err = tide_reader_count(&r, 4, &count);

    for (size_t i = 0; err == TIDE_OK && i < count; i++) {
        struct tide_metadata metadata;
        uint8_t kind = 0;

        err = tide_reader_bytes(&r, &metadata.metric);
        if (err == TIDE_OK)
            err = tide_reader_u8(&r, &kind);
        if (err == TIDE_OK)
            err = tide_reader_bytes(&r, &metadata.help);
        if (err == TIDE_OK)
            err = tide_reader_bytes(&r, &metadata.unit);
        if (err == TIDE_OK && kind >= TIDE_KIND_COUNT)
            err = TIDE_ERR_CORRUPT;
        metadata.kind = (enum tide_metric_kind)kind;
        if (err == TIDE_OK)
            err = tide_metadata_store_set(store, &metadata);
        if (err == TIDE_ERR_LIMIT || err == TIDE_ERR_TOO_LARGE)
            err = TIDE_ERR_CORRUPT; /* It was not written so. */
    }
    return err == TIDE_OK && r.rest.len > 0 ? TIDE_ERR_CORRUPT : err;
}
