/* The network: a message leaves its node when the operations it speaks for are durable, then may be
 * lost, late, doubled, or in order, as the options say. Payloads are flattened as a wire would. */
#include "sim.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define LATE_PER_MILLE 50
#define DOUBLE_PER_MILLE 50

void sim_held_free(struct sim_held *held)
{
    if (held == NULL)
        return;
    for (uint32_t i = 0; i < held->message.entry_count; i++)
        tide__payload_unref(held->message.entries[i].payload);
    tide_mem_free(held->message.entries);
    tide__snapshot_unref(held->message.snapshot);
    tide_mem_free(held);
}

static struct tide__payload *flatten(const struct tide__payload *payload)
{
    struct tide_buf whole = {0};
    struct tide__payload *flat;

    for (uint32_t i = 0; i < payload->part_count; i++)
        tide_buf_slice(&whole, payload->parts[i]);
    flat = tide__payload_of_buf(&whole);
    TIDE_ASSERT(flat != NULL);
    return flat;
}

/* Shares payloads that are whole already. */
static struct sim_held *held_copy(const struct tide__message *message, uint32_t group,
                                  uint64_t gate)
{
    struct sim_held *held = tide_mem_new(sizeof(*held));

    TIDE_ASSERT(held != NULL);
    held->message = *message;
    held->group = group;
    held->gate = gate;
    if (message->snapshot != NULL)
        tide__snapshot_ref(message->snapshot);
    held->message.entries = NULL;
    if (message->entry_count == 0)
        return held;
    held->message.entries = tide_mem_array(message->entry_count, sizeof(*message->entries));
    TIDE_ASSERT(held->message.entries != NULL);
    for (uint32_t i = 0; i < message->entry_count; i++) {
        struct tide__payload *payload = message->entries[i].payload;

        held->message.entries[i] = message->entries[i];
        held->message.entries[i].payload =
            payload->item_count > 0 ? flatten(payload) : tide__payload_ref(payload);
    }
    return held;
}

static void transmit(struct sim *sim, uint32_t from, struct sim_held *held)
{
    uint32_t to = (uint32_t)held->message.to - 1;
    uint64_t *last = &sim->link_last_ms[from][to][held->group];
    uint64_t at =
        sim->now_ms + 1 + sim_random(sim, sim_random(sim, 1000) < LATE_PER_MILLE ? 400 : 25);

    if (sim_random(sim, 1000) < sim->drop_per_mille) {
        sim_held_free(held);
        return;
    }
    if (!sim->options.reorder) {
        if (at < *last)
            at = *last;
        *last = at;
    }
    sim_push(sim, at, SIM_MESSAGE, from, held->group, 0, held, NULL);
}

void sim_send(struct sim_replica *replica, const struct tide__message *message, uint64_t gate)
{
    struct sim *sim = replica->sim;
    struct sim_node *node = &sim->nodes[replica->node];
    struct sim_held *held;

    if (message->to == 0 || message->to > sim->node_count || message->to == replica->node + 1)
        return;
    held = held_copy(message, replica->group, gate);
    if (gate <= node->durable_seq && node->held == NULL) {
        transmit(sim, replica->node, held);
        return;
    }
    held->next = NULL;
    *node->held_end = held;
    node->held_end = &held->next;
}

/* Sends what no longer has to wait. */
void sim_net_flush(struct sim *sim, uint32_t number)
{
    struct sim_node *node = &sim->nodes[number];
    struct sim_held **at = &node->held;

    while (*at != NULL) {
        struct sim_held *held = *at;

        if (held->gate > node->durable_seq) {
            at = &held->next;
            continue;
        }
        *at = held->next;
        transmit(sim, number, held);
    }
    node->held_end = at;
}

void sim_net_lose(struct sim_node *node)
{
    while (node->held != NULL) {
        struct sim_held *held = node->held;

        node->held = held->next;
        sim_held_free(held);
    }
    node->held_end = &node->held;
}

void sim_deliver(struct sim *sim, struct sim_event *event)
{
    struct sim_held *held = event->message;
    uint32_t to = (uint32_t)held->message.to - 1;
    struct sim_replica *replica = &sim->replicas[to][held->group];

    if (sim->nodes[to].alive && !sim->cut[event->node][to]) {
        if (sim->options.reorder && sim_random(sim, 1000) < DOUBLE_PER_MILLE)
            sim_push(sim, sim->now_ms + 1 + sim_random(sim, 500), SIM_MESSAGE, event->node,
                     held->group, 0, held_copy(&held->message, held->group, 0), NULL);
        if (replica->core != NULL)
            tide__group_receive(replica->core, &held->message, sim->now_ms);
    }
    sim_held_free(held);
}
