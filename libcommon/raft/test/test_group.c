/* The group by itself, with one replica, a disk that obeys at once or not at all, and time passed
 * in. Several replicas: tests/sim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "group_private.h"

#include "tide/base/mem.h"

#define APPLIED_MAX 64
#define MARKS_MAX 8

/* What a real environment would be: a log kept in memory, and what was applied. */
struct world {
    struct tide__group *group;
    struct tide__op *first, **next;
    uint64_t seq;
    struct tide__entry log[APPLIED_MAX]; /* By index. */
    uint64_t last;
    uint64_t term, vote;
    uint64_t applied[APPLIED_MAX];
    size_t applied_count;
    size_t loads;
    bool dead;
};

static void hook_persist(void *context, struct tide__op *op)
{
    struct world *world = context;

    op->seq = ++world->seq;
    op->next = NULL;
    *world->next = op;
    world->next = &op->next;
}

static void hook_send(void *context, const struct tide__message *message, uint64_t gate)
{
    (void)context, (void)message, (void)gate;
    fail_msg("there is no one to send to");
}

static enum tide_err hook_load(void *context, uint64_t index, struct tide__entry *out)
{
    struct world *world = context;

    if (index > world->last)
        return TIDE_ERR_NOT_FOUND;
    world->loads++;
    *out = world->log[index];
    tide__payload_ref(out->payload);
    return TIDE_OK;
}

static void hook_apply(void *context, uint64_t index, const struct tide__entry *entry)
{
    struct world *world = context;

    assert_true(entry->term > 0);
    assert_true(world->applied_count < APPLIED_MAX);
    world->applied[world->applied_count++] = index;
}

static void hook_snapshot(void *context, struct tide__snapshot *snapshot)
{
    (void)context, (void)snapshot;
    fail_msg("there is no one to fetch from");
}

static void hook_dead(void *context, enum tide_err err, const char *reason)
{
    struct world *world = context;

    (void)err, (void)reason;
    world->dead = true;
}

static void world_init(struct world *world)
{
    memset(world, 0, sizeof(*world));
    world->next = &world->first;
}

/* Makes durable what was handed out, and tells the group. */
static void world_sync(struct world *world)
{
    while (world->first != NULL) {
        struct tide__op *op = world->first;

        world->first = op->next;
        if (world->first == NULL)
            world->next = &world->first;
        if (op->kind == TIDE__OP_META) {
            world->term = op->term;
            world->vote = op->vote;
        }
        for (uint32_t i = 0; i < op->entry_count; i++) {
            uint64_t index = op->first + i;

            assert_true(index < APPLIED_MAX);
            tide__payload_unref(world->log[index].payload);
            world->log[index] = op->entries[i];
            tide__payload_ref(op->entries[i].payload);
            world->last = index;
        }
        if (world->group != NULL)
            tide__group_persisted(world->group, op, 1000);
        tide__op_free(op);
    }
}

static void world_deinit(struct world *world)
{
    tide__group_close(world->group);
    world->group = NULL;
    world_sync(world);
    for (uint64_t index = 0; index < APPLIED_MAX; index++)
        tide__payload_unref(world->log[index].payload);
}

static enum tide_err world_open(struct world *world, uint64_t applied, uint64_t apply_bytes_max)
{
    static const struct tide__members self = {1, {{1, TIDE__ROLE_VOTER}}};
    struct tide__group_options options = {
        .hooks = {.context = world,
                  .persist = hook_persist,
                  .send = hook_send,
                  .load = hook_load,
                  .apply = hook_apply,
                  .fetch = hook_snapshot,
                  .restore = hook_snapshot,
                  .dead = hook_dead},
        .id = 1,
        .replica = 1,
        .rules = TIDE__RULES_ALL,
        .epoch = 1,
        .applied = applied,
        .apply_bytes_max = apply_bytes_max,
    };
    struct tide__mark marks[MARKS_MAX];
    struct tide__stored stored = {
        .term = world->term, .vote = world->vote, .first = 1, .last = world->last, .marks = marks};

    world->applied_count = 0;
    for (uint64_t index = 1; index <= world->last; index++) {
        const struct tide__entry *entry = &world->log[index];

        if (index > 1 && entry->term == world->log[index - 1].term &&
            entry->type != TIDE__ENTRY_CHANGE)
            continue;
        assert_true(stored.mark_count < MARKS_MAX);
        marks[stored.mark_count++] =
            (struct tide__mark){index, entry->term, entry->type,
                                entry->type == TIDE__ENTRY_CHANGE ? entry->payload : NULL};
    }
    return tide__group_open(&options, &stored, &self, 1000, &world->group, NULL);
}

static enum tide_err submit(struct world *world, uint32_t count)
{
    struct tide__payload *payloads[8];
    enum tide_err err = TIDE_OK;
    uint32_t made = 0;
    uint64_t index;

    while (err == TIDE_OK && made < count) {
        payloads[made] = tide__payload_copy(TIDE_SLICE("\1x"));
        if (payloads[made] == NULL)
            err = TIDE_ERR_NO_MEMORY;
        else
            made++;
    }
    if (err == TIDE_OK)
        err = tide__group_submit(world->group, payloads, count, 1000, &index);
    if (err != TIDE_OK)
        for (uint32_t i = 0; i < made; i++)
            tide__payload_unref(payloads[i]);
    return err;
}

static void test_group__leads_at_once_in_a_new_term(void **state)
{
    struct tide__group_status status;
    struct world world;

    (void)state;
    world_init(&world);
    for (uint64_t life = 1; life <= 3; life++) {
        assert_int_equal(world_open(&world, 0, 1 << 20), TIDE_OK);
        tide__group_status(world.group, &status);
        assert_int_equal(status.state, TIDE__LEADER);
        assert_int_equal(status.term, life + 1);
        assert_false(status.own_term_committed);
        world_sync(&world);
        assert_int_equal(world.term, life + 1);
        assert_int_equal(world.vote, 1);
        tide__group_status(world.group, &status);
        assert_true(status.own_term_committed);
        /* The configuration, then the barrier of each life. */
        assert_int_equal(status.applied_index, life + 1);
        assert_int_equal(world.applied_count, life + 1);
        tide__group_close(world.group);
        world.group = NULL;
    }
    world_deinit(&world);
}

static void test_group__applies_nothing_that_is_not_durable(void **state)
{
    struct world world;

    (void)state;
    world_init(&world);
    assert_int_equal(world_open(&world, 0, 1 << 20), TIDE_OK);
    assert_int_equal(world.applied_count, 0);
    world_sync(&world);
    assert_int_equal(world.applied_count, 2);
    assert_int_equal(submit(&world, 3), TIDE_OK);
    assert_int_equal(world.applied_count, 2);
    world_sync(&world);
    assert_int_equal(world.applied_count, 5);
    assert_int_equal(world.loads, 0);
    world_deinit(&world);
}

static void test_group__applies_a_piece_at_a_time(void **state)
{
    struct world world;
    size_t calls = 0;

    (void)state;
    world_init(&world);
    assert_int_equal(world_open(&world, 0, 1 << 20), TIDE_OK);
    world_sync(&world);
    for (int i = 0; i < 5; i++)
        assert_int_equal(submit(&world, 8), TIDE_OK);
    world_sync(&world);
    tide__group_close(world.group);
    world.group = NULL;
    assert_int_equal(world_open(&world, 0, 10), TIDE_OK);
    world_sync(&world);
    while (tide__group_work(world.group, 1000))
        calls++;
    assert_true(calls > 4);
    assert_int_equal(world.applied_count, 43);
    for (size_t i = 0; i < world.applied_count; i++)
        assert_int_equal(world.applied[i], i + 1);
    world_deinit(&world);
}

static void test_group__applies_only_what_the_application_lacks(void **state)
{
    struct tide__group_status status;
    struct world world;

    (void)state;
    world_init(&world);
    assert_int_equal(world_open(&world, 0, 1 << 20), TIDE_OK);
    world_sync(&world);
    assert_int_equal(submit(&world, 8), TIDE_OK);
    world_sync(&world);
    tide__group_close(world.group);
    world.group = NULL;
    assert_int_equal(world_open(&world, 7, 1 << 20), TIDE_OK);
    tide__group_status(world.group, &status);
    assert_int_equal(status.applied_index, 10);
    assert_int_equal(world.applied_count, 3);
    assert_int_equal(world.applied[0], 8);
    /* The configuration is known all the same: a snapshot needs it. */
    world_sync(&world);
    assert_int_equal(tide__group_snapshot(world.group, 9, TIDE_SLICE("m"), 0), TIDE_OK);
    assert_int_equal(tide__group_snapshot(world.group, 10, TIDE_SLICE("m"), 0), TIDE_ERR_BUSY);
    world_sync(&world);
    tide__group_status(world.group, &status);
    assert_int_equal(status.snapshot_index, 9);
    world_deinit(&world);
}

static void test_group__survives_each_failed_allocation(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct world world;
        enum tide_err err;
        bool fired;

        world_init(&world);
        tide_test_mem_fail_nth(nth);
        err = world_open(&world, 0, 1 << 20);
        if (err == TIDE_OK) {
            world_sync(&world);
            err = submit(&world, 3);
            world_sync(&world);
        }
        if (err == TIDE_OK)
            err = tide__group_snapshot(world.group, world.applied_count, TIDE_SLICE("m"), 0);
        world_sync(&world);
        fired = tide_test_mem_fired();
        world_deinit(&world);
        assert_int_equal(tide_test_mem_live(), 0);
        if (!fired)
            break;
        /* It says so, or calls for being opened again. */
        assert_true(err == TIDE_ERR_NO_MEMORY || world.dead);
    }
}

static void test_conf__refuses_what_the_library_would_misread(void **state)
{
    struct tide__members members = {
        3, {{1, TIDE__ROLE_VOTER}, {2, TIDE__ROLE_STANDBY}, {3, TIDE__ROLE_SPARE}}};
    struct tide__members decoded;
    struct tide_buf conf = {0};

    (void)state;
    assert_int_equal(tide__conf_encode(&members, &conf), TIDE_OK);
    assert_true(tide__conf_is_valid(tide_buf_view(&conf)));
    tide__conf_decode(tide_buf_view(&conf), &decoded);
    assert_int_equal(decoded.count, 3);
    assert_int_equal(tide__members_voters(&decoded), 1);
    assert_int_equal(tide__members_find(&decoded, 2)->role, TIDE__ROLE_STANDBY);
    assert_null(tide__members_find(&decoded, 4));
    for (size_t len = 0; len + 8 <= conf.len; len++)
        assert_false(tide__conf_is_valid((struct tide_slice){conf.ptr, len}));
    conf.ptr[1] = 0xff; /* The count. */
    assert_false(tide__conf_is_valid(tide_buf_view(&conf)));
    conf.ptr[1] = 3;
    conf.ptr[9] = 2; /* The first id is the second's too. */
    assert_false(tide__conf_is_valid(tide_buf_view(&conf)));
    tide_buf_deinit(&conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group__leads_at_once_in_a_new_term),
        cmocka_unit_test(test_group__applies_nothing_that_is_not_durable),
        cmocka_unit_test(test_group__applies_a_piece_at_a_time),
        cmocka_unit_test(test_group__applies_only_what_the_application_lacks),
        cmocka_unit_test(test_group__survives_each_failed_allocation),
        cmocka_unit_test(test_conf__refuses_what_the_library_would_misread),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
