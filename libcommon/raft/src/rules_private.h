/* What libraft 0.22.1 needs from outside to be safe and live. Each rule has a bit, so that the
 * simulator can show what goes wrong without it; production has all of them on (TIDE__RULES_ALL).
 */
#ifndef TIDE_RAFT_RULES_PRIVATE_H
#define TIDE_RAFT_RULES_PRIVATE_H

#include "state_private.h"

/* A new leader commits an entry of its own term before it accepts a configuration change (Ongaro,
 * raft-dev, "bug in single-server membership changes", 2015). The library appends a no-op only when
 * its tail is uncommitted, and checks nothing. */
#define TIDE__RULE_OWN_TERM 1u
/* A configuration change is always the first new entry of an AppendEntries. The library notes the
 * index of the batch's first entry as that of the change. */
#define TIDE__RULE_SPLIT 2u
/* AppendEntries that start below our snapshot are cut to it: with prev_log_index 0 the library
 * skips the consistency check on a compacted log. */
#define TIDE__RULE_TRIM 4u
/* The commit index never goes back; a follower's may in the library. */
#define TIDE__RULE_COMMIT 8u
/* A single voter elects itself in a new term (the library keeps the old one), a leader neither
 * removes nor demotes itself, and a configuration leaves the leader only when its own disk has it.
 */
#define TIDE__RULE_SINGLE 16u
/* A leader ignores AppendEntries of its own term, which would write a follower's fields over a
 * leader's. Cannot happen while elections are safe. */
#define TIDE__RULE_OWN_APPEND 32u
/* Messages wait until the term and vote they speak for are durable. */
#define TIDE__RULE_GATE 64u
/* Entries count as persisted only while no later truncation is on its way to the disk. */
#define TIDE__RULE_PERSISTED 128u
/* Only what is durable here is applied. */
#define TIDE__RULE_APPLY 256u
/* A refused pre-vote is answered with our real term: the library echoes the request's, and three
 * nodes whose terms and logs disagree never elect. */
#define TIDE__RULE_PRE_VOTE 512u
/* Votes are granted whatever our own role says, which may be out of date, and a non-voter forgets a
 * leader it has not heard from for an election timeout. */
#define TIDE__RULE_ROLE 1024u
/* Each further round of an election starts with a pre-vote and disrupts no one. In the library a
 * server that was once told to take over goes on to raise the term and to unseat leaders in every
 * round; when it was removed meanwhile, it never wins and never stops. */
#define TIDE__RULE_RETRY 2048u

static inline bool tide__rule(const struct tide__group *group, unsigned rule)
{
    return (group->rules & rule) != 0;
}

/* Rules about a message that came in; it is a copy whose entries may be cut at the front. */
bool tide__rule_drops_append(const struct tide__group *group, const struct tide__message *message);
void tide__rule_trim_append(const struct tide__group *group, struct tide__message *message);
/* How many of the entries one raft_step() may take. */
uint32_t tide__rule_append_count(const struct tide__group *group,
                                 const struct tide__message *message);
/* Votes: true when the step must run with a configuration in which only we vote. */
bool tide__rule_votes_without_role(struct tide__group *group, const struct tide__message *message,
                                   uint64_t now_ms);
/* About a message that goes out. */
void tide__rule_correct_vote_result(const struct tide__group *group, struct tide__message *message);
/* Before the timeout of a candidate. */
void tide__rule_retry_politely(struct tide__group *group);
/* A follower that is the only voter must raise its term before it elects itself. */
bool tide__rule_raises_term(const struct tide__group *group);

#endif
