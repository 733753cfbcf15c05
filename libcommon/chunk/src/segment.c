#include "tide/chunk/segment.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define FIRST_CAPACITY_MIN 8u

/* Room for one more segment after the used ones. */
static enum tide_err grow(struct tide_segments *pool)
{
    void *page;
    enum tide_err err;

    if (pool->used > 0 && pool->used < TIDE_SEGMENT_PAGE_COUNT) {
        uint32_t capacity = pool->first_capacity * 2;

        page = tide_mem_realloc(pool->pages[0], capacity * sizeof(struct tide_segment));
        if (page == NULL)
            return TIDE_ERR_NO_MEMORY;
        pool->pages[0] = page;
        pool->first_capacity = capacity;
        return TIDE_OK;
    }
    if (pool->used > UINT32_MAX - TIDE_SEGMENT_PAGE_COUNT) /* Ids end: 128 GiB of segments. */
        return TIDE_ERR_NO_MEMORY;
    err = tide_mem_grow((void **)&pool->pages, &pool->page_capacity, pool->page_count + 1,
                        sizeof(*pool->pages));
    if (err != TIDE_OK)
        return err;
    page = tide_mem_alloc((pool->page_count == 0 ? FIRST_CAPACITY_MIN : TIDE_SEGMENT_PAGE_COUNT) *
                          sizeof(struct tide_segment));
    if (page == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (pool->page_count == 0)
        pool->first_capacity = FIRST_CAPACITY_MIN;
    pool->pages[pool->page_count++] = page;
    return TIDE_OK;
}

enum tide_err tide_segments_take(struct tide_segments *pool, uint32_t *id)
{
    struct tide_segment *segment;

    if (pool->free != 0) {
        *id = pool->free;
        segment = tide_segment_at(pool, *id);
        pool->free = segment->next;
    } else {
        bool full = pool->used == 0 || pool->used % TIDE_SEGMENT_PAGE_COUNT == 0 ||
                    pool->used == pool->first_capacity;

        if (full) {
            enum tide_err err = grow(pool);

            if (err != TIDE_OK)
                return err;
        }
        *id = ++pool->used;
        segment = tide_segment_at(pool, *id);
    }
    segment->next = 0;
    return TIDE_OK;
}

void tide_segments_give(struct tide_segments *pool, uint32_t head, uint32_t tail)
{
    if (head == 0)
        return;
    tide_segment_at(pool, tail)->next = pool->free;
    pool->free = head;
}

enum tide_err tide_segments_copy(const struct tide_segments *pool, struct tide_segments *out)
{
    TIDE_ASSERT(out->page_count == 0);
    if (pool->page_count == 0)
        return TIDE_OK;
    out->pages = tide_mem_array(pool->page_count, sizeof(*out->pages));
    if (out->pages == NULL)
        return TIDE_ERR_NO_MEMORY;
    out->page_capacity = pool->page_count;
    for (size_t i = 0; i < pool->page_count; i++) {
        uint32_t count = pool->used - (uint32_t)i * TIDE_SEGMENT_PAGE_COUNT;

        if (count > TIDE_SEGMENT_PAGE_COUNT)
            count = TIDE_SEGMENT_PAGE_COUNT;
        out->pages[i] = tide_mem_alloc(count * sizeof(struct tide_segment));
        if (out->pages[i] == NULL)
            return TIDE_ERR_NO_MEMORY;
        out->page_count++;
        memcpy(out->pages[i], pool->pages[i], count * sizeof(struct tide_segment));
    }
    out->first_capacity =
        pool->used < TIDE_SEGMENT_PAGE_COUNT ? pool->used : TIDE_SEGMENT_PAGE_COUNT;
    out->used = pool->used;
    out->free = pool->free;
    return TIDE_OK;
}

size_t tide_segments_bytes(const struct tide_segments *pool)
{
    size_t count = pool->first_capacity;

    if (pool->page_count > 1)
        count += (pool->page_count - 1) * TIDE_SEGMENT_PAGE_COUNT;
    return count * sizeof(struct tide_segment) + pool->page_capacity * sizeof(*pool->pages);
}

void tide_segments_deinit(struct tide_segments *pool)
{
    for (size_t i = 0; i < pool->page_count; i++)
        tide_mem_free(pool->pages[i]);
    tide_mem_free(pool->pages);
    *pool = (struct tide_segments){0};
}
