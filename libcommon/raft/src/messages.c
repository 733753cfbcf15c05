/* Our messages and configurations, and the library's. */
#include "state_private.h"

#include "tide/base/assert.h"

#include <stdio.h>

#define CONF_VERSION 1
#define CONF_ADDRESS_BYTES_MAX 64 /* With its NUL. */

_Static_assert((int)TIDE__ROLE_STANDBY == (int)RAFT_STANDBY, "roles are the library's");
_Static_assert((int)TIDE__ROLE_VOTER == (int)RAFT_VOTER, "roles are the library's");
_Static_assert((int)TIDE__ROLE_SPARE == (int)RAFT_SPARE, "roles are the library's");
_Static_assert((int)TIDE__ENTRY_COMMAND == (int)RAFT_COMMAND, "types are the library's");
_Static_assert((int)TIDE__ENTRY_BARRIER == (int)RAFT_BARRIER, "types are the library's");
_Static_assert((int)TIDE__ENTRY_CHANGE == (int)RAFT_CHANGE, "types are the library's");

void tide__address(uint64_t replica, char out[TIDE__ADDRESS_BYTES])
{
    snprintf(out, TIDE__ADDRESS_BYTES, "%llu", (unsigned long long)replica);
}

enum tide_err tide__conf_encode(const struct tide__members *members, struct tide_buf *out)
{
    struct raft_configuration conf;
    struct raft_buffer encoded;
    int code = 0;

    raft_configuration_init(&conf);
    for (uint32_t i = 0; code == 0 && i < members->count; i++) {
        char address[TIDE__ADDRESS_BYTES];

        tide__address(members->list[i].id, address);
        code =
            raft_configuration_add(&conf, members->list[i].id, address, (int)members->list[i].role);
    }
    if (code == 0)
        code = raft_configuration_encode(&conf, &encoded);
    raft_configuration_close(&conf);
    if (code != 0)
        return tide__group_err(code);
    tide_buf_add(out, encoded.base, encoded.len);
    raft_free(encoded.base);
    return tide_buf_ok(out);
}

/* Reads conf; false when it is not sound. */
static bool conf_read(struct tide_slice conf, struct tide__members *out)
{
    struct tide_reader reader = tide_reader(conf);
    uint64_t count;
    uint8_t version;

    if (tide_reader_u8(&reader, &version) != TIDE_OK || version != CONF_VERSION)
        return false;
    if (tide_reader_u64(&reader, &count) != TIDE_OK || count > TIDE__MEMBERS_MAX)
        return false;
    out->count = (uint32_t)count;
    for (uint32_t i = 0; i < out->count; i++) {
        struct tide__member *member = &out->list[i];
        const uint8_t *end;
        struct tide_slice address;
        uint8_t role;

        if (tide_reader_u64(&reader, &member->id) != TIDE_OK || member->id == 0)
            return false;
        if (reader.rest.len == 0)
            return false;
        end = memchr(reader.rest.ptr, 0, reader.rest.len);
        if (end == NULL || end == reader.rest.ptr ||
            end - reader.rest.ptr >= CONF_ADDRESS_BYTES_MAX)
            return false;
        if (tide_reader_take(&reader, (uint64_t)(end - reader.rest.ptr) + 1, &address) != TIDE_OK)
            return false;
        if (tide_reader_u8(&reader, &role) != TIDE_OK || role > TIDE__ROLE_SPARE)
            return false;
        member->role = (enum tide__role)role;
        for (uint32_t j = 0; j < i; j++)
            if (out->list[j].id == member->id)
                return false;
    }
    return reader.rest.len < sizeof(uint64_t); /* The library pads to eight bytes. */
}

bool tide__conf_is_valid(struct tide_slice conf)
{
    struct tide__members members;

    return conf_read(conf, &members);
}

void tide__conf_decode(struct tide_slice conf, struct tide__members *out)
{
    bool valid = conf_read(conf, out);

    TIDE_ASSERT(valid);
}

int tide__conf_to_raft(struct tide_slice conf, struct raft_configuration *out)
{
    /* The library takes a pointer to bytes that it does not write. */
    struct raft_buffer buf = {(void *)(uintptr_t)conf.ptr, conf.len};

    TIDE_ASSERT(tide__conf_is_valid(conf));
    return raft_configuration_decode(&buf, out);
}

uint32_t tide__members_voters(const struct tide__members *members)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < members->count; i++)
        count += members->list[i].role == TIDE__ROLE_VOTER;
    return count;
}

const struct tide__member *tide__members_find(const struct tide__members *members, uint64_t id)
{
    for (uint32_t i = 0; i < members->count; i++)
        if (members->list[i].id == id)
            return &members->list[i];
    return NULL;
}

void tide__message_to_raft(const struct tide__message *message, struct raft_message *out,
                           char address[TIDE__ADDRESS_BYTES])
{
    memset(out, 0, sizeof(*out));
    tide__address(message->from, address);
    out->server_id = message->from;
    out->server_address = address;
    switch (message->type) {
    case TIDE__APPEND:
        out->type = RAFT_APPEND_ENTRIES;
        out->append_entries.term = message->term;
        out->append_entries.prev_log_index = message->log_index;
        out->append_entries.prev_log_term = message->log_term;
        out->append_entries.leader_commit = message->commit;
        break;
    case TIDE__APPEND_RESULT:
        out->type = RAFT_APPEND_ENTRIES_RESULT;
        out->append_entries_result.version = 1;
        out->append_entries_result.term = message->term;
        out->append_entries_result.rejected = message->rejected;
        out->append_entries_result.last_log_index = message->log_index;
        break;
    case TIDE__VOTE:
        out->type = RAFT_REQUEST_VOTE;
        out->request_vote.version = 2;
        out->request_vote.term = message->term;
        out->request_vote.candidate_id = message->from;
        out->request_vote.last_log_index = message->log_index;
        out->request_vote.last_log_term = message->log_term;
        out->request_vote.disrupt_leader = message->disrupt;
        out->request_vote.pre_vote = message->pre_vote;
        break;
    case TIDE__VOTE_RESULT:
        out->type = RAFT_REQUEST_VOTE_RESULT;
        out->request_vote_result.version = 2;
        out->request_vote_result.term = message->term;
        out->request_vote_result.vote_granted = message->granted;
        out->request_vote_result.pre_vote = message->pre_vote;
        break;
    case TIDE__INSTALL_SNAPSHOT:
        out->type = RAFT_INSTALL_SNAPSHOT;
        out->install_snapshot.term = message->term;
        out->install_snapshot.last_index = message->log_index;
        out->install_snapshot.last_term = message->log_term;
        break;
    case TIDE__TIMEOUT_NOW:
        out->type = RAFT_TIMEOUT_NOW;
        out->timeout_now.term = message->term;
        out->timeout_now.last_log_index = message->log_index;
        out->timeout_now.last_log_term = message->log_term;
        break;
    }
}

void tide__message_from_raft(const struct raft_message *message, uint64_t from,
                             struct tide__message *out)
{
    memset(out, 0, sizeof(*out));
    out->from = from;
    out->to = message->server_id;
    switch (message->type) {
    case RAFT_APPEND_ENTRIES:
        out->type = TIDE__APPEND;
        out->term = message->append_entries.term;
        out->log_index = message->append_entries.prev_log_index;
        out->log_term = message->append_entries.prev_log_term;
        out->commit = message->append_entries.leader_commit;
        out->entry_count = message->append_entries.n_entries;
        break;
    case RAFT_APPEND_ENTRIES_RESULT:
        out->type = TIDE__APPEND_RESULT;
        out->term = message->append_entries_result.term;
        out->rejected = message->append_entries_result.rejected;
        out->log_index = message->append_entries_result.last_log_index;
        break;
    case RAFT_REQUEST_VOTE:
        out->type = TIDE__VOTE;
        out->term = message->request_vote.term;
        out->log_index = message->request_vote.last_log_index;
        out->log_term = message->request_vote.last_log_term;
        out->disrupt = message->request_vote.disrupt_leader;
        out->pre_vote = message->request_vote.pre_vote;
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        out->type = TIDE__VOTE_RESULT;
        out->term = message->request_vote_result.term;
        out->granted = message->request_vote_result.vote_granted;
        out->pre_vote = message->request_vote_result.pre_vote;
        break;
    case RAFT_INSTALL_SNAPSHOT:
        out->type = TIDE__INSTALL_SNAPSHOT;
        out->term = message->install_snapshot.term;
        out->log_index = message->install_snapshot.last_index;
        out->log_term = message->install_snapshot.last_term;
        break;
    case RAFT_TIMEOUT_NOW:
        out->type = TIDE__TIMEOUT_NOW;
        out->term = message->timeout_now.term;
        out->log_index = message->timeout_now.last_log_index;
        out->log_term = message->timeout_now.last_log_term;
        break;
    }
}
