/* Faults of the library that random runs find rarely or never, as scripts: each must show with its
 * rule off, so that we notice when a rule is no longer needed, and must not with all rules on.
 *
 * The laboratory: replicas with instant disks and links that are there or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "rules_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define REPLICAS_MAX 5
#define INDEXES_MAX 128
#define PUMP_STEPS_MAX 20000

struct lab;

struct lab_mail {
    struct tide__message message;
    struct lab_mail *next;
};

struct lab_replica {
    struct lab *lab;
    struct tide__group *core;
    uint64_t id;
};

struct lab {
    struct lab_replica replicas[REPLICAS_MAX + 1]; /* By id. */
    bool link[REPLICAS_MAX + 1][REPLICAS_MAX + 1];
    uint64_t now_ms;
    uint64_t seq;
    struct tide__op *ops, **ops_end;
    struct lab_mail *mail, **mail_end;
    uint64_t committed_term[INDEXES_MAX]; /* As first applied. */
    bool unsafe;
    unsigned elections;
};

static void hook_persist(void *context, struct tide__op *op)
{
    struct lab *lab = ((struct lab_replica *)context)->lab;

    op->seq = ++lab->seq;
    op->next = NULL;
    *lab->ops_end = op;
    lab->ops_end = &op->next;
}

static void hook_send(void *context, const struct tide__message *message, uint64_t gate)
{
    struct lab *lab = ((struct lab_replica *)context)->lab;
    struct lab_mail *mail;

    (void)gate; /* All is durable at once. */
    if (message->to < 1 || message->to > REPLICAS_MAX || !lab->link[message->from][message->to])
        return;
    mail = tide_mem_new(sizeof(*mail));
    mail->message = *message;
    mail->message.entries = tide_mem_array(message->entry_count + 1, sizeof(struct tide__entry));
    for (uint32_t i = 0; i < message->entry_count; i++) {
        mail->message.entries[i] = message->entries[i];
        tide__payload_ref(message->entries[i].payload);
    }
    *lab->mail_end = mail;
    lab->mail_end = &mail->next;
}

static enum tide_err hook_load(void *context, uint64_t index, struct tide__entry *out)
{
    /* Crafted logs are read back only here: all their entries are empty commands of term 1. */
    (void)context;
    (void)index;
    *out = (struct tide__entry){1, TIDE__ENTRY_COMMAND, tide__payload_copy(TIDE_SLICE("\1x"))};
    return TIDE_OK;
}

static void hook_apply(void *context, uint64_t index, const struct tide__entry *entry)
{
    struct lab *lab = ((struct lab_replica *)context)->lab;

    assert_true(index < INDEXES_MAX);
    if (lab->committed_term[index] != 0 && lab->committed_term[index] != entry->term)
        lab->unsafe = true;
    lab->committed_term[index] = entry->term;
}

static void hook_snapshot(void *context, struct tide__snapshot *snapshot)
{
    (void)context, (void)snapshot;
    fail_msg("no snapshots here");
}

static void hook_state(void *context)
{
    struct lab_replica *replica = context;
    struct tide__group_status status;

    if (replica->core == NULL)
        return;
    tide__group_status(replica->core, &status);
    replica->lab->elections += status.state == TIDE__LEADER;
}

static void hook_dead(void *context, enum tide_err err, const char *reason)
{
    (void)context, (void)err, (void)reason;
}

static struct lab *lab_new(void)
{
    struct lab *lab = tide_mem_new(sizeof(*lab));

    lab->now_ms = 1000;
    lab->ops_end = &lab->ops;
    lab->mail_end = &lab->mail;
    return lab;
}

static void lab_open(struct lab *lab, uint64_t id, unsigned rules,
                     const struct tide__stored *stored, const struct tide__members *bootstrap)
{
    static const struct tide__stored nothing = {.first = 1};
    struct tide__group_options options = {
        .hooks = {.context = &lab->replicas[id],
                  .persist = hook_persist,
                  .send = hook_send,
                  .load = hook_load,
                  .apply = hook_apply,
                  .fetch = hook_snapshot,
                  .restore = hook_snapshot,
                  .state = hook_state,
                  .dead = hook_dead},
        .id = 1,
        .replica = id,
        .rules = rules,
        .seed = (unsigned)(77 + id),
        .epoch = 1,
        .apply_bytes_max = 1 << 20,
        .cache_bytes_max = 1 << 20,
    };

    lab->replicas[id] = (struct lab_replica){lab, NULL, id};
    assert_int_equal(tide__group_open(&options, stored == NULL ? &nothing : stored, bootstrap,
                                      lab->now_ms, &lab->replicas[id].core, NULL),
                     TIDE_OK);
}

static void mail_free(struct lab_mail *mail)
{
    for (uint32_t i = 0; i < mail->message.entry_count; i++)
        tide__payload_unref(mail->message.entries[i].payload);
    tide_mem_free(mail->message.entries);
    tide_mem_free(mail);
}

/* Until nothing is under way. */
static void lab_pump(struct lab *lab)
{
    for (int step = 0; lab->ops != NULL || lab->mail != NULL; step++) {
        assert_true(step < PUMP_STEPS_MAX);
        while (lab->ops != NULL) {
            struct tide__op *op = lab->ops;
            struct lab_replica *replica = op->context;

            lab->ops = op->next;
            if (lab->ops == NULL)
                lab->ops_end = &lab->ops;
            tide__group_persisted(replica->core, op, lab->now_ms);
            tide__op_free(op);
        }
        if (lab->mail != NULL) {
            struct lab_mail *mail = lab->mail;
            struct lab_replica *to = &lab->replicas[mail->message.to];

            lab->mail = mail->next;
            if (lab->mail == NULL)
                lab->mail_end = &lab->mail;
            if (to->core != NULL)
                tide__group_receive(to->core, &mail->message, lab->now_ms);
            mail_free(mail);
        }
    }
}

static void lab_free(struct lab *lab)
{
    memset(lab->link, 0, sizeof(lab->link));
    lab_pump(lab);
    for (int id = 1; id <= REPLICAS_MAX; id++)
        tide__group_close(lab->replicas[id].core);
    tide_mem_free(lab);
}

/* Only these reach each other; ids as digits. */
static void lab_links(struct lab *lab, const char *ids)
{
    memset(lab->link, 0, sizeof(lab->link));
    for (const char *a = ids; *a != '\0'; a++)
        for (const char *b = ids; *b != '\0'; b++)
            lab->link[*a - '0'][*b - '0'] = *a != *b;
}

static struct tide__group_status status_of(const struct lab *lab, int id)
{
    struct tide__group_status status;

    tide__group_status(lab->replicas[id].core, &status);
    return status;
}

/* Lets time pass for one replica only, and has those it reaches forget their leader. */
static void lab_elect(struct lab *lab, int id)
{
    for (int attempt = 0; attempt < 6 && status_of(lab, id).state != TIDE__LEADER; attempt++) {
        for (int other = 1; other <= REPLICAS_MAX; other++) {
            struct tide__group *core = lab->replicas[other].core;

            if (core != NULL && lab->link[id][other] && core->raft.state == RAFT_FOLLOWER)
                core->raft.follower_state.current_leader.id = 0;
        }
        lab->now_ms += 2500;
        tide__group_tick(lab->replicas[id].core, lab->now_ms);
        lab_pump(lab);
    }
}

static void lab_heartbeats(struct lab *lab, int id)
{
    for (int i = 0; i < 3; i++) {
        lab->now_ms += 150;
        tide__group_tick(lab->replicas[id].core, lab->now_ms);
        lab_pump(lab);
    }
}

/* Lets time pass for all. */
static void lab_run(struct lab *lab, uint64_t ms)
{
    for (uint64_t end_ms = lab->now_ms + ms; lab->now_ms < end_ms; lab->now_ms += 20) {
        for (int id = 1; id <= REPLICAS_MAX; id++)
            if (lab->replicas[id].core != NULL)
                tide__group_tick(lab->replicas[id].core, lab->now_ms);
        lab_pump(lab);
    }
}

static int lab_leader(const struct lab *lab)
{
    for (int id = 1; id <= REPLICAS_MAX; id++)
        if (lab->replicas[id].core != NULL && status_of(lab, id).state == TIDE__LEADER)
            return id;
    return 0;
}

static void members_of(struct tide__members *out, uint32_t voters)
{
    out->count = voters;
    for (uint32_t i = 0; i < voters; i++)
        out->list[i] = (struct tide__member){i + 1, TIDE__ROLE_VOTER};
}

static struct tide__payload *conf_payload(uint32_t voters)
{
    struct tide__members members;
    struct tide_buf conf = {0};
    struct tide__payload *payload;

    members_of(&members, voters);
    assert_int_equal(tide__conf_encode(&members, &conf), TIDE_OK);
    payload = tide__payload_of_buf(&conf);
    assert_non_null(payload);
    return payload;
}

/* A log of a configuration and empty commands of term 1. */
static void craft(struct tide__stored *out, uint64_t term, uint64_t last, uint32_t voters)
{
    *out = (struct tide__stored){.term = term, .first = 1, .last = last, .mark_count = 1};
    out->marks = tide_mem_array(1, sizeof(*out->marks));
    out->marks[0] = (struct tide__mark){1, 1, TIDE__ENTRY_CHANGE, conf_payload(voters)};
}

/* Four voters; the first leader promotes a fifth where only that one hears it, the second one
 * removes the first where only one voter hears it, then the first comes back: two majorities
 * without a common member (Ongaro, 2015). */
static bool own_term_script(unsigned rules)
{
    struct lab *lab = lab_new();
    struct tide__members members;
    enum tide_err removed;
    bool unsafe;

    members_of(&members, 4);
    for (uint64_t id = 1; id <= 5; id++) {
        lab_open(lab, id, rules, NULL, id < 5 ? &members : NULL);
        raft_set_pre_vote(&lab->replicas[id].core->raft, false);
    }
    lab_links(lab, "12345");
    lab_elect(lab, 1);
    lab_heartbeats(lab, 1);
    assert_int_equal(
        tide__group_change(lab->replicas[1].core, 5, TIDE__ADD_STANDBY, 1, lab->now_ms), TIDE_OK);
    lab_pump(lab);
    lab_heartbeats(lab, 1);
    lab_links(lab, "15");
    assert_int_equal(tide__group_change(lab->replicas[1].core, 5, TIDE__PROMOTE, 1, lab->now_ms),
                     TIDE_OK);
    lab_pump(lab);
    lab_links(lab, "234");
    lab_elect(lab, 2);
    lab_links(lab, "23");
    removed = tide__group_change(lab->replicas[2].core, 1, TIDE__REMOVE, 1, lab->now_ms);
    lab_pump(lab);
    lab_heartbeats(lab, 2);
    lab_links(lab, "145");
    /* The first leader notices that it leads no one any more, then is elected by the others. */
    lab->now_ms += 3000;
    tide__group_tick(lab->replicas[1].core, lab->now_ms);
    lab_pump(lab);
    lab_elect(lab, 1);
    lab_heartbeats(lab, 1);
    unsafe = lab->unsafe;
    if ((rules & TIDE__RULE_OWN_TERM) != 0)
        assert_int_equal(status_of(lab, 2).uncommitted_conf_index, 0);
    (void)removed;
    lab_free(lab);
    return unsafe;
}

static void test_rule_own_term__keeps_two_majorities_from_disagreeing(void **state)
{
    (void)state;
    assert_true(own_term_script(TIDE__RULES_ALL & ~TIDE__RULE_OWN_TERM));
    assert_false(own_term_script(TIDE__RULES_ALL));
}

/* A change that comes behind a command, and is overwritten by the next leader. Returns the members
 * that the follower sees then. */
static uint32_t split_script(unsigned rules)
{
    struct lab *lab = lab_new();
    struct tide__payload *conf = conf_payload(5);
    struct tide__payload *command = tide__payload_copy(TIDE_SLICE("\1x"));
    struct tide__entry entries[] = {{2, TIDE__ENTRY_COMMAND, command},
                                    {2, TIDE__ENTRY_CHANGE, conf}};
    struct tide__entry other = {3, TIDE__ENTRY_COMMAND, command};
    struct tide__message message = {.type = TIDE__APPEND,
                                    .from = 1,
                                    .to = 3,
                                    .term = 2,
                                    .log_index = 1,
                                    .log_term = 1,
                                    .commit = 1,
                                    .entry_count = 2,
                                    .entries = entries};
    struct tide__members members;
    uint32_t count;

    members_of(&members, 3);
    lab_open(lab, 3, rules, NULL, &members);
    lab_pump(lab);
    tide__group_receive(lab->replicas[3].core, &message, lab->now_ms);
    lab_pump(lab);
    tide__group_members(lab->replicas[3].core, &members);
    assert_int_equal(members.count, 5);
    message.from = 2;
    message.term = 3;
    message.log_index = 2;
    message.log_term = 2;
    message.entry_count = 1;
    message.entries = &other;
    tide__group_receive(lab->replicas[3].core, &message, lab->now_ms);
    lab_pump(lab);
    tide__group_members(lab->replicas[3].core, &members);
    count = members.count;
    lab_free(lab);
    tide__payload_unref(conf);
    tide__payload_unref(command);
    return count;
}

static void test_rule_split__undoes_a_change_that_is_overwritten(void **state)
{
    (void)state;
    assert_int_equal(split_script(TIDE__RULES_ALL & ~TIDE__RULE_SPLIT), 5);
    assert_int_equal(split_script(TIDE__RULES_ALL), 3);
}

/* Of three voters, the longer a log the lower its node's term. */
static int pre_vote_script(unsigned rules)
{
    static const struct {
        uint64_t term, last;
    } states[] = {{0, 0}, {2, 30}, {9, 20}, {16, 10}};
    struct lab *lab = lab_new();
    int leader;

    for (uint64_t id = 1; id <= 3; id++) {
        struct tide__stored stored;

        craft(&stored, states[id].term, states[id].last, 3);
        lab_open(lab, id, rules, &stored, NULL);
        tide__stored_deinit(&stored);
    }
    lab_links(lab, "123");
    lab_run(lab, 60000);
    leader = lab_leader(lab);
    lab_free(lab);
    return leader;
}

static void test_rule_pre_vote__lets_three_that_disagree_elect(void **state)
{
    (void)state;
    assert_int_equal(pre_vote_script(TIDE__RULES_ALL & ~TIDE__RULE_PRE_VOTE), 0);
    assert_int_not_equal(pre_vote_script(TIDE__RULES_ALL), 0);
}

/* The third of three voters was told to take over, then removed without hearing of it. Returns how
 * many elections the other two need in a minute. */
static unsigned retry_script(unsigned rules)
{
    struct lab *lab = lab_new();
    struct tide__stored stored;
    struct tide__message take_over = {
        .type = TIDE__TIMEOUT_NOW, .from = 1, .to = 3, .term = 1, .log_index = 5, .log_term = 1};
    unsigned elections;

    for (uint64_t id = 1; id <= 2; id++) {
        craft(&stored, 1, 20, 2);
        lab_open(lab, id, rules, &stored, NULL);
        tide__stored_deinit(&stored);
    }
    craft(&stored, 1, 5, 3);
    lab_open(lab, 3, rules, &stored, NULL);
    tide__stored_deinit(&stored);
    lab_links(lab, "123");
    /* It knows the first as its leader, who tells it. */
    lab->replicas[3].core->raft.follower_state.current_leader.id = 1;
    tide__group_receive(lab->replicas[3].core, &take_over, lab->now_ms);
    lab_run(lab, 60000);
    elections = lab->elections;
    assert_int_not_equal(elections, 0);
    lab_free(lab);
    return elections;
}

static void test_rule_retry__lets_a_removed_server_disturb_only_once(void **state)
{
    (void)state;
    assert_true(retry_script(TIDE__RULES_ALL & ~TIDE__RULE_RETRY) > 5);
    assert_true(retry_script(TIDE__RULES_ALL) <= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule_own_term__keeps_two_majorities_from_disagreeing),
        cmocka_unit_test(test_rule_split__undoes_a_change_that_is_overwritten),
        cmocka_unit_test(test_rule_pre_vote__lets_three_that_disagree_elect),
        cmocka_unit_test(test_rule_retry__lets_a_removed_server_disturb_only_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
