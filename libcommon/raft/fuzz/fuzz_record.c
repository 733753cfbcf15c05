/* Property: whatever bytes stand in the database, decoding them reads nothing past their end, and
 * what is accepted is encoded to the same bytes again. A configuration that is called valid is one
 * that the library decodes too, to the same members.
 *
 * Input: the kind of key, four bytes of group, eight of index, then the value without its checksum,
 * which is put in front here: otherwise nothing would ever be accepted. */
#include "record_private.h"
#include "state_private.h"

#include "tide/base/assert.h"
#include "tide/base/hash.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_conf(struct tide_slice conf)
{
    struct raft_configuration decoded;
    struct tide__members members;

    if (!tide__conf_is_valid(conf))
        return;
    tide__conf_decode(conf, &members);
    if (tide__conf_to_raft(conf, &decoded) != 0)
        return;
    TIDE_ASSERT(decoded.n == members.count);
    for (uint32_t i = 0; i < members.count; i++) {
        TIDE_ASSERT(decoded.servers[i].id == members.list[i].id);
        TIDE_ASSERT(decoded.servers[i].role == (int)members.list[i].role);
    }
    raft_configuration_close(&decoded);
}

static void check_entry(struct tide_slice key, struct tide_slice value)
{
    struct tide__entry entry;
    struct tide_slice payload;
    uint8_t head[TIDE__ENTRY_HEAD_BYTES];

    if (tide__entry_get(key, value, &entry.term, &entry.type, &payload) != TIDE_OK)
        return;
    entry.payload = tide__payload_copy(payload);
    TIDE_ASSERT(entry.payload != NULL);
    tide__entry_head_put(head, key, &entry);
    TIDE_ASSERT(memcmp(head, value.ptr, sizeof(head)) == 0);
    tide__payload_unref(entry.payload);
    check_conf(payload);
}

static void check_snapshot(struct tide_slice key, struct tide_slice value)
{
    struct tide__snapshot *snapshot;
    struct tide_buf again = {0};
    struct tide__snapshot *read_again;

    if (tide__snapshot_get(key, value, &snapshot) != TIDE_OK)
        return;
    /* Lengths may have been written in more bytes than they need: compare what is read. */
    tide__snapshot_put(&again, key, snapshot);
    TIDE_ASSERT(tide__snapshot_get(key, tide_buf_view(&again), &read_again) == TIDE_OK);
    TIDE_ASSERT(read_again->index == snapshot->index);
    TIDE_ASSERT(
        tide_slice_eq(tide_buf_view(&read_again->manifest), tide_buf_view(&snapshot->manifest)));
    check_conf(tide_buf_view(&snapshot->conf));
    tide__snapshot_unref(read_again);
    tide__snapshot_unref(snapshot);
    tide_buf_deinit(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_slice key = {data, TIDE__KEY_BYTES_MAX};
    struct tide_slice body = {data + TIDE__KEY_BYTES_MAX, size - TIDE__KEY_BYTES_MAX};
    enum tide__entry_type type;
    struct tide__meta meta;
    struct tide_buf value = {0};
    uint8_t mark[TIDE__MARK_BYTES], meta_bytes[TIDE__META_BYTES];
    uint64_t index, term;

    if (size < TIDE__KEY_BYTES_MAX)
        return 0;
    if (tide__key_index(key, TIDE__KEY_ENTRY, 1, &index) == TIDE_OK) {
        uint8_t again[TIDE__KEY_BYTES_MAX];

        TIDE_ASSERT(tide__key_put(again, TIDE__KEY_ENTRY, 1, index) == key.len);
        TIDE_ASSERT(memcmp(again, key.ptr, key.len) == 0);
    }
    tide_buf_u32(&value, tide_crc32c(tide_crc32c(0, key), body));
    tide_buf_slice(&value, body);
    TIDE_ASSERT(tide_buf_ok(&value) == TIDE_OK);
    check_entry(key, tide_buf_view(&value));
    check_snapshot(key, tide_buf_view(&value));
    check_conf(body);
    if (tide__mark_get(key, tide_buf_view(&value), &term, &type) == TIDE_OK) {
        tide__mark_put(mark, key, term, type);
        TIDE_ASSERT(tide_slice_eq(tide_buf_view(&value), (struct tide_slice){mark, sizeof(mark)}));
    }
    if (tide__meta_get(key, tide_buf_view(&value), &meta) == TIDE_OK) {
        tide__meta_put(meta_bytes, key, &meta);
        TIDE_ASSERT(tide_slice_eq(tide_buf_view(&value),
                                  (struct tide_slice){meta_bytes, sizeof(meta_bytes)}));
    }
    tide_buf_deinit(&value);
    return 0;
}
