#include "server_private.h"

#include "tide/base/mem.h"

/* One key may fill three quarters of the queue, so that another finds a place. */
static uint32_t share(const struct tide__http_queue *queue)
{
    return queue->max - queue->max / 4;
}

enum tide_err tide__http_queue_init(struct tide__http_queue *queue, uint32_t max)
{
    *queue = (struct tide__http_queue){.max = max > 0 ? max : 1};
    queue->lanes = tide_mem_array(queue->max, sizeof(*queue->lanes));
    return queue->lanes == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}

void tide__http_queue_deinit(struct tide__http_queue *queue)
{
    tide_mem_free(queue->lanes);
    queue->lanes = NULL;
}

static struct tide__http_lane *lane_at(const struct tide__http_queue *queue, uint32_t i)
{
    return &queue->lanes[(queue->first + i) % queue->max];
}

bool tide__http_queue_push(struct tide__http_queue *queue, struct tide_slice key,
                           struct tide_http_exchange *x)
{
    struct tide__http_lane *lane = NULL;

    if (queue->count == queue->max)
        return false;
    /* There are as many lanes as tenants that wait: few, or all of them one request long. */
    for (uint32_t i = 0; i < queue->lane_count && lane == NULL; i++) {
        if (tide_slice_eq(lane_at(queue, i)->key, key))
            lane = lane_at(queue, i);
    }
    x->queue_key = key;
    x->queue_next = NULL;
    if (lane == NULL) {
        lane = lane_at(queue, queue->lane_count++);
        *lane = (struct tide__http_lane){.key = key, .head = x, .tail = x, .count = 1};
    } else {
        if (key.len > 0 && lane->count >= share(queue))
            return false;
        lane->tail->queue_next = x;
        lane->tail = x;
        lane->count++;
    }
    queue->count++;
    return true;
}

struct tide_http_exchange *tide__http_queue_pop(struct tide__http_queue *queue)
{
    struct tide__http_lane lane;

    if (queue->count == 0)
        return NULL;
    lane = *lane_at(queue, 0);
    queue->first = (queue->first + 1) % queue->max;
    queue->lane_count--;
    queue->count--;
    if (lane.count > 1) { /* To the end: the others have their turn first. */
        *lane_at(queue, queue->lane_count++) =
            (struct tide__http_lane){.key = lane.head->queue_next->queue_key,
                                     .head = lane.head->queue_next,
                                     .tail = lane.tail,
                                     .count = lane.count - 1};
    }
    return lane.head;
}
