#include "tide/head/exemplars.h"

#include "tide/base/mem.h"

#include <pthread.h>
#include <stdlib.h>

#define RING_MIN 64u
#define NONE UINT32_MAX

/* An exemplar in the ring. Entries of series that hash alike form a chain, newest first. The ring
 * overwrites its oldest entry, which is the last of its chain. */
struct entry {
    uint32_t ref;
    uint32_t older; /* Indexes in the ring; NONE ends. */
    uint32_t newer;
    uint32_t labels_bytes;
    uint8_t *labels; /* Packed. */
    int64_t ts_ms;
    uint64_t bits;
};

struct tide_exemplars {
    pthread_mutex_t lock; /* Level 4 in docs/LOCKS.md. Guards all. */
    struct entry *ring;
    uint32_t *chains; /* As many as the ring has room: the newest entry of each. */
    uint32_t capacity;
    uint32_t count_max;
    uint32_t count;
    uint32_t next; /* Where the next entry goes. Until the ring is full, equal to count. */
};

enum tide_err tide_exemplars_new(uint32_t count_max, struct tide_exemplars **out)
{
    struct tide_exemplars *store = tide_mem_new(sizeof(*store));

    if (store == NULL)
        return TIDE_ERR_NO_MEMORY;
    store->count_max = count_max > 0 ? count_max : 1;
    pthread_mutex_init(&store->lock, NULL);
    *out = store;
    return TIDE_OK;
}

void tide_exemplars_free(struct tide_exemplars *store)
{
    if (store == NULL)
        return;
    for (uint32_t i = 0; i < store->count; i++)
        tide_mem_free(store->ring[i].labels);
    pthread_mutex_destroy(&store->lock);
    tide_mem_free(store->ring);
    tide_mem_free(store->chains);
    tide_mem_free(store);
}

static uint32_t *chain_of(const struct tide_exemplars *store, uint32_t ref)
{
    /* Knuth's multiplicative hash: references are dense, so the high half is spread evenly. */
    return &store->chains[((uint64_t)(ref * 2654435769u) * store->capacity) >> 32];
}

static void link_newest(struct tide_exemplars *store, uint32_t at)
{
    uint32_t *chain = chain_of(store, store->ring[at].ref);

    store->ring[at].newer = NONE;
    store->ring[at].older = *chain;
    if (*chain != NONE)
        store->ring[*chain].newer = at;
    *chain = at;
}

static enum tide_err grow(struct tide_exemplars *store)
{
    uint32_t capacity = store->capacity > 0 ? store->capacity * 2 : RING_MIN;
    struct entry *ring;
    uint32_t *chains;

    if (capacity > store->count_max)
        capacity = store->count_max;
    chains = tide_mem_array(capacity, sizeof(*chains));
    ring = chains == NULL ? NULL : tide_mem_realloc(store->ring, capacity * sizeof(*ring));
    if (ring == NULL) {
        tide_mem_free(chains);
        return TIDE_ERR_NO_MEMORY;
    }
    tide_mem_free(store->chains);
    store->ring = ring;
    store->chains = chains;
    store->capacity = capacity;
    memset(chains, 0xff, capacity * sizeof(*chains)); /* NONE */
    for (uint32_t i = 0; i < store->count; i++)
        link_newest(store, i);
    return TIDE_OK;
}

static const struct entry *newest(const struct tide_exemplars *store, uint32_t ref)
{
    uint32_t at = store->capacity > 0 ? *chain_of(store, ref) : NONE;

    while (at != NONE && store->ring[at].ref != ref)
        at = store->ring[at].older;
    return at == NONE ? NULL : &store->ring[at];
}

/* Frees the place of the next entry when the ring is full. */
static void evict(struct tide_exemplars *store)
{
    struct entry *oldest = &store->ring[store->next];

    if (oldest->newer != NONE)
        store->ring[oldest->newer].older = NONE;
    else
        *chain_of(store, oldest->ref) = NONE;
    tide_mem_free(oldest->labels);
}

static enum tide_err insert(struct tide_exemplars *store, uint32_t ref, int64_t ts_ms,
                            uint64_t bits, struct tide_slice packed)
{
    uint8_t *labels;

    if (store->count == store->capacity && store->capacity < store->count_max &&
        grow(store) != TIDE_OK)
        return TIDE_ERR_NO_MEMORY;
    labels = tide_mem_alloc(packed.len);
    if (labels == NULL)
        return TIDE_ERR_NO_MEMORY;
    memcpy(labels, packed.ptr, packed.len);
    if (store->count == store->capacity)
        evict(store);
    else
        store->count++;
    store->ring[store->next] = (struct entry){.ref = ref,
                                              .labels_bytes = (uint32_t)packed.len,
                                              .labels = labels,
                                              .ts_ms = ts_ms,
                                              .bits = bits};
    link_newest(store, store->next);
    store->next = store->next + 1 == store->count_max ? 0 : store->next + 1;
    return TIDE_OK;
}

static enum tide_err add_locked(struct tide_exemplars *store, uint32_t ref, int64_t ts_ms,
                                uint64_t bits, struct tide_slice packed)
{
    const struct entry *last = newest(store, ref);

    if (last != NULL && ts_ms < last->ts_ms)
        return TIDE_ERR_TOO_OLD;
    if (last != NULL && ts_ms == last->ts_ms) {
        const struct tide_slice labels = {last->labels, last->labels_bytes};

        return bits == last->bits && tide_slice_eq(labels, packed) ? TIDE_OK
                                                                   : TIDE_ERR_DUPLICATE_TIMESTAMP;
    }
    return insert(store, ref, ts_ms, bits, packed);
}

enum tide_err tide_exemplars_add(struct tide_exemplars *store, uint32_t ref,
                                 const struct tide_exemplar *exemplar)
{
    struct tide_buf packed = {0};
    size_t bytes = 0;
    enum tide_err err;

    for (size_t i = 0; i < exemplar->labels.count; i++)
        bytes += exemplar->labels.pairs[i].name.len + exemplar->labels.pairs[i].value.len;
    if (bytes > TIDE_EXEMPLAR_LABELS_BYTES_MAX)
        return TIDE_ERR_TOO_LARGE;
    tide_labels_pack(exemplar->labels, &packed);
    err = tide_buf_ok(&packed);
    if (err == TIDE_OK) {
        pthread_mutex_lock(&store->lock);
        err = add_locked(store, ref, exemplar->ts_ms, exemplar->bits, tide_buf_view(&packed));
        pthread_mutex_unlock(&store->lock);
    }
    tide_buf_deinit(&packed);
    return err;
}

static int compare(const void *a, const void *b)
{
    const struct tide_stored_exemplar *x = a;
    const struct tide_stored_exemplar *y = b;

    if (x->ref != y->ref)
        return x->ref < y->ref ? -1 : 1;
    return x->exemplar.ts_ms < y->exemplar.ts_ms ? -1 : x->exemplar.ts_ms > y->exemplar.ts_ms;
}

static enum tide_err collect_locked(const struct tide_exemplars *store, int64_t mint_ms,
                                    int64_t maxt_ms, struct tide_arena *arena,
                                    struct tide_stored_exemplar **out, size_t *count)
{
    struct tide_stored_exemplar *items = tide_arena_new_array(arena, store->count, sizeof(*items));
    size_t n = 0;

    if (items == NULL && store->count > 0)
        return TIDE_ERR_LIMIT;
    for (uint32_t i = 0; i < store->count; i++) {
        const struct entry *entry = &store->ring[i];
        struct tide_slice packed = {entry->labels, entry->labels_bytes};
        struct tide_reader r;
        enum tide_err err;

        if (entry->ts_ms < mint_ms || entry->ts_ms > maxt_ms)
            continue;
        /* The entry may be overwritten as soon as the lock is gone. */
        packed = tide_arena_copy(arena, packed);
        if (packed.ptr == NULL)
            return TIDE_ERR_LIMIT;
        r = tide_reader(packed);
        items[n] =
            (struct tide_stored_exemplar){entry->ref, {.ts_ms = entry->ts_ms, .bits = entry->bits}};
        err = tide_labels_unpack(&r, arena, &items[n].exemplar.labels);
        if (err != TIDE_OK)
            return err;
        n++;
    }
    *out = items;
    *count = n;
    return TIDE_OK;
}

enum tide_err tide_exemplars_collect(struct tide_exemplars *store, int64_t mint_ms, int64_t maxt_ms,
                                     struct tide_arena *arena,
                                     const struct tide_stored_exemplar **out, size_t *count)
{
    struct tide_stored_exemplar *items = NULL;
    enum tide_err err;

    pthread_mutex_lock(&store->lock);
    err = collect_locked(store, mint_ms, maxt_ms, arena, &items, count);
    pthread_mutex_unlock(&store->lock);
    if (err != TIDE_OK)
        return err;
    if (*count > 0)
        qsort(items, *count, sizeof(*items), compare);
    *out = items;
    return TIDE_OK;
}

void tide_exemplars_write(struct tide_exemplars *store, struct tide_buf *out)
{
    pthread_mutex_lock(&store->lock);
    tide_buf_uvarint(out, store->count);
    for (uint32_t i = 0; i < store->count; i++) {
        /* Oldest first, so that reading them back in order fills the ring as it is. */
        const struct entry *entry =
            &store->ring[(store->count < store->count_max ? i : (store->next + i) % store->count)];

        tide_buf_u32(out, entry->ref);
        tide_buf_u64(out, (uint64_t)entry->ts_ms);
        tide_buf_u64(out, entry->bits);
        tide_buf_bytes(out, (struct tide_slice){entry->labels, entry->labels_bytes});
    }
    pthread_mutex_unlock(&store->lock);
}

static enum tide_err restore_one(struct tide_exemplars *store, struct tide_reader *r,
                                 struct tide_arena *arena)
{
    struct tide_labels labels;
    struct tide_slice packed;
    struct tide_reader pairs;
    uint32_t ref;
    uint64_t ts, bits;
    enum tide_err err = tide_reader_u32(r, &ref);

    if (err == TIDE_OK)
        err = tide_reader_u64(r, &ts);
    if (err == TIDE_OK)
        err = tide_reader_u64(r, &bits);
    if (err == TIDE_OK)
        err = tide_reader_bytes(r, &packed);
    if (err != TIDE_OK)
        return err;
    /* Checked now, since collect() trusts what it kept. */
    pairs = tide_reader(packed);
    tide_arena_reset(arena);
    err = tide_labels_unpack(&pairs, arena, &labels);
    if (err == TIDE_OK && pairs.rest.len > 0)
        err = TIDE_ERR_CORRUPT;
    if (err == TIDE_OK)
        err = add_locked(store, ref, (int64_t)ts, bits, packed);
    return err == TIDE_OK || err == TIDE_ERR_NO_MEMORY ? err : TIDE_ERR_CORRUPT;
}

enum tide_err tide_exemplars_restore(struct tide_exemplars *store, struct tide_slice bytes)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_reader r = tide_reader(bytes);
    size_t count;
    enum tide_err err = arena == NULL ? TIDE_ERR_NO_MEMORY : tide_reader_count(&r, 21, &count);

    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; err == TIDE_OK && i < count; i++)
        err = restore_one(store, &r, arena);
    pthread_mutex_unlock(&store->lock);
    tide_arena_free(arena);
    return err == TIDE_OK && r.rest.len > 0 ? TIDE_ERR_CORRUPT : err;
}
