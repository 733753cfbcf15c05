/* The world's clock: events in order of time, all else follows from them. */
#include "sim.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

#define LOAD_ENDS_BEFORE_END_MS 5000

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators" (2016). */
uint64_t sim_random(struct sim *sim, uint64_t below)
{
    sim->random ^= sim->random >> 12;
    sim->random ^= sim->random << 25;
    sim->random ^= sim->random >> 27;
    return (sim->random * 2685821657736338717u >> 11) % below;
}

/* The new part is zeroed. */
void *sim_grow(void *array, size_t *capacity, size_t count, size_t item_bytes)
{
    size_t old = *capacity;

    if (count <= old)
        return array;
    *capacity = old * 2 > count ? old * 2 : count + 64;
    array = tide_mem_realloc(array, *capacity * item_bytes);
    TIDE_ASSERT(array != NULL);
    memset((uint8_t *)array + old * item_bytes, 0, (*capacity - old) * item_bytes);
    return array;
}

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->time_ms < b->time_ms || (a->time_ms == b->time_ms && a->order < b->order);
}

static void swap(struct sim_event *a, struct sim_event *b)
{
    struct sim_event kept = *a;

    *a = *b;
    *b = kept;
}

void sim_push(struct sim *sim, uint64_t time_ms, enum sim_event_kind kind, uint32_t node,
              uint32_t group, uint64_t epoch, struct sim_held *message,
              struct tide__snapshot *snapshot)
{
    size_t at = sim->event_count++;

    sim->events =
        sim_grow(sim->events, &sim->event_capacity, sim->event_count, sizeof(*sim->events));
    sim->events[at] = (struct sim_event){
        time_ms, sim->event_order++, kind, node, group, epoch, message, snapshot};
    while (at > 0 && before(&sim->events[at], &sim->events[(at - 1) / 2])) {
        swap(&sim->events[at], &sim->events[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

bool sim_pop(struct sim *sim, struct sim_event *out)
{
    size_t at = 0;

    if (sim->event_count == 0)
        return false;
    *out = sim->events[0];
    sim->events[0] = sim->events[--sim->event_count];
    for (;;) {
        size_t child = 2 * at + 1;

        if (child >= sim->event_count)
            return true;
        if (child + 1 < sim->event_count && before(&sim->events[child + 1], &sim->events[child]))
            child++;
        if (!before(&sim->events[child], &sim->events[at]))
            return true;
        swap(&sim->events[child], &sim->events[at]);
        at = child;
    }
}

void sim_say(struct sim *sim, const struct sim_replica *replica, const char *format, ...)
{
    va_list args;

    if (!sim->options.verbose)
        return;
    printf("  %llu ms", (unsigned long long)sim->now_ms);
    if (replica != NULL)
        printf(" node %u group %u", replica->node + 1, replica->group + 1);
    printf(": ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
}

void sim_unsafe(struct sim *sim, const struct sim_replica *replica, const char *what)
{
    sim->unsafe |= SIM_UNSAFE;
    sim_say(sim, replica, "UNSAFE: %s", what);
}

void sim_options_of_seed(uint64_t seed, struct sim_options *out)
{
    static const uint32_t groups[] = {1, 1, 1, 2, 3, 1, 4, 1};

    *out = (struct sim_options){
        .voters = seed % 3 == 2 ? 5 : 3,
        .groups = groups[seed / 3 % 8],
        .voters_min = seed % 4 == 3 ? 1 : 2,
        .rules = TIDE__RULES_ALL,
        .reorder = seed % 2 == 1,
        .members = seed / 2 % 3 != 0,
        .disk_errors = seed / 4 % 3 != 0,
        .heal_ms = 60000,
        .end_ms = 100000,
    };
}

static void start(struct sim *sim, uint64_t seed)
{
    sim->random = seed * 0x9e3779b97f4a7c15u + 1;
    sim->now_ms = 1;
    sim->drop_per_mille = 5;
    sim->node_count = sim->options.members ? SIM_NODES_MAX : sim->options.voters;
    for (int i = 0; i < 20; i++)
        (void)sim_random(sim, 2);
    for (uint32_t number = 0; number < sim->node_count; number++) {
        struct sim_node *node = &sim->nodes[number];

        node->queue_end = &node->queue;
        node->held_end = &node->held;
        node->fsync_ms_max = 5;
        for (uint32_t group = 0; group < sim->options.groups; group++) {
            struct sim_replica *replica = &sim->replicas[number][group];

            replica->sim = sim;
            replica->node = number;
            replica->group = group;
        }
        sim_boot(sim, number);
    }
    sim_push(sim, 500, SIM_FAULT, 0, 0, 0, NULL, NULL);
    sim_push(sim, 1000, SIM_LOAD, 0, 0, 0, NULL, NULL);
    if (sim->options.members)
        sim_push(sim, 2000, SIM_MEMBERS, 0, 0, 0, NULL, NULL);
}

static void tick(struct sim *sim, const struct sim_event *event)
{
    if (sim->nodes[event->node].epoch != event->epoch)
        return;
    for (uint32_t group = 0; group < sim->options.groups; group++) {
        struct sim_replica *replica = &sim->replicas[event->node][group];

        if (replica->core == NULL)
            continue;
        tide__group_tick(replica->core, sim->now_ms);
        if (replica->core != NULL)
            (void)tide__group_work(replica->core, sim->now_ms);
        sim_check_leader(replica);
    }
    sim_push(sim, sim->now_ms + 20, SIM_TICK, event->node, 0, event->epoch, NULL, NULL);
}

static void load(struct sim *sim)
{
    for (uint32_t node = 0; node < sim->node_count; node++) {
        for (uint32_t group = 0; group < sim->options.groups; group++) {
            struct sim_replica *replica = &sim->replicas[node][group];
            struct tide__group_status status;

            if (replica->core == NULL)
                continue;
            tide__group_status(replica->core, &status);
            if (!status.dead && status.state == TIDE__LEADER && sim_random(sim, 3) == 0)
                sim_submit(sim, replica);
        }
    }
    if (sim->now_ms + LOAD_ENDS_BEFORE_END_MS < sim->options.end_ms)
        sim_push(sim, sim->now_ms + 3 + sim_random(sim, 20), SIM_LOAD, 0, 0, 0, NULL, NULL);
}

static void fetched(struct sim *sim, const struct sim_event *event)
{
    struct sim_replica *replica = &sim->replicas[event->node][event->group];

    if (replica->core == NULL || replica->epoch != event->epoch || replica->dead) {
        tide__snapshot_unref(event->snapshot);
    } else if (!sim->healed && sim_random(sim, 10) == 0) {
        tide__snapshot_unref(event->snapshot);
        sim_reopen_later(replica); /* What is done when a fetch fails. */
    } else {
        tide__group_fetched(replica->core, event->snapshot);
    }
}

static void fsynced(struct sim *sim, const struct sim_event *event)
{
    if (sim->nodes[event->node].log_life != event->epoch)
        return;
    if (sim->options.disk_errors && !sim->healed && sim_random(sim, 3000) == 0) {
        if (sim_random(sim, 2) == 0)
            sim_crash(sim, event->node);
        else
            sim_log_fails(sim, event->node);
        return;
    }
    sim_disk_sync(sim, event->node);
}

static void handle(struct sim *sim, struct sim_event *event)
{
    bool same_life = sim->nodes[event->node].log_life == event->epoch;

    switch (event->kind) {
    case SIM_TICK:
        tick(sim, event);
        break;
    case SIM_MESSAGE:
        sim_deliver(sim, event);
        break;
    case SIM_FSYNC:
        fsynced(sim, event);
        break;
    case SIM_FAULT:
        sim_fault(sim);
        break;
    case SIM_LOAD:
        load(sim);
        break;
    case SIM_FETCHED:
        fetched(sim, event);
        break;
    case SIM_MEMBERS:
        sim_members(sim);
        break;
    case SIM_REOPEN:
        if (same_life)
            sim_reopen(&sim->replicas[event->node][event->group]);
        break;
    case SIM_LOG_OPENED:
        if (same_life)
            sim_log_opened(sim, event->node);
        break;
    }
}

static void finish(struct sim *sim)
{
    struct sim_event event;

    while (sim_pop(sim, &event)) {
        sim_held_free(event.message);
        tide__snapshot_unref(event.snapshot);
    }
    tide_mem_free(sim->events);
    tide_mem_free(sim->commands);
    for (uint32_t number = 0; number < sim->node_count; number++) {
        sim_net_lose(&sim->nodes[number]);
        sim_disk_lose(sim, number);
        for (uint32_t group = 0; group < sim->options.groups; group++) {
            struct sim_replica *replica = &sim->replicas[number][group];
            struct sim_store *store = &replica->store;

            tide__group_close(replica->core);
            for (size_t i = 0; i < store->count; i++)
                tide__payload_unref(store->entries[i].payload);
            tide_mem_free(store->entries);
            tide__snapshot_unref(store->snapshot);
            tide_mem_free(replica->values);
        }
    }
    for (uint32_t group = 0; group < sim->options.groups; group++) {
        tide_mem_free(sim->canon[group]);
        tide_mem_free(sim->leaders[group]);
    }
}

unsigned sim_run(uint64_t seed, const struct sim_options *options)
{
    struct sim *sim = tide_mem_new(sizeof(*sim));
    struct sim_event event = {0};
    unsigned result;

    TIDE_ASSERT(sim != NULL);
    sim->options = *options;
    start(sim, seed);
    /* There is always a next event: nodes tick. */
    while (sim->events[0].time_ms <= options->end_ms && sim_pop(sim, &event)) {
        sim->now_ms = event.time_ms;
        if (!sim->healed && sim->now_ms > options->heal_ms)
            sim_heal(sim);
        handle(sim, &event);
    }
    result = sim_check_end(sim);
    if (result != 0 || options->verbose)
        printf(
            "seed %llu: voters %u groups %u voters_min %u reorder %d members %d disk errors %d: "
            "commands %zu acked %llu elections %llu crashes %llu log failures %llu installs %llu "
            "reopens %llu changes %llu transfers %llu read back %llu:%s%s%s%s%s\n",
            (unsigned long long)seed, options->voters, options->groups, options->voters_min,
            options->reorder, options->members, options->disk_errors, sim->command_count,
            (unsigned long long)sim->acks, (unsigned long long)sim->elections,
            (unsigned long long)sim->crashes, (unsigned long long)sim->log_failures,
            (unsigned long long)sim->installs, (unsigned long long)sim->reopens,
            (unsigned long long)sim->changes, (unsigned long long)sim->transfers,
            (unsigned long long)sim->loads, result == 0 ? " well" : "",
            (result & SIM_UNSAFE) != 0 ? " UNSAFE" : "", (result & SIM_LOST) != 0 ? " LOST" : "",
            (result & SIM_STUCK) != 0 ? " STUCK" : "", (result & SIM_WEDGED) != 0 ? " WEDGED" : "");
    fflush(stdout);
    finish(sim);
    tide_mem_free(sim);
    return result;
}
