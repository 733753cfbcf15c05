#include "tide/chunk/segment.h"

enum tide_err tide_segments_take(struct tide_segments *pool, uint32_t *id)
{
    struct tide_segment *segment;

    if (pool->free != 0) {
        *id = pool->free;
        segment = tide_segment_at(pool, *id);
        pool->free = segment->next;
    } else {
        enum tide_err err = tide_pages_add(&pool->pages, sizeof(struct tide_segment));

        if (err != TIDE_OK)
            return err;
        *id = pool->pages.count;
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
    out->free = pool->free;
    return tide_pages_copy(&pool->pages, sizeof(struct tide_segment), &out->pages);
}

size_t tide_segments_bytes(const struct tide_segments *pool)
{
    return tide_pages_bytes(&pool->pages, sizeof(struct tide_segment));
}

void tide_segments_deinit(struct tide_segments *pool)
{
    tide_pages_deinit(&pool->pages);
    pool->free = 0;
}
