/* Property: whatever the sections of a checkpoint say, restoring it answers TIDE_OK or
 * TIDE_ERR_CORRUPT, and what it answers TIDE_OK to can be read, appended to, frozen and truncated,
 * at worst with TIDE_ERR_CORRUPT, without touching memory out of bounds. The input is a list of
 * sections (kind, 2 bytes of length, payload), which get right checksums and follow a sound index
 * of four series; the index has a fuzz target of its own. */
#include "tide/base/assert.h"
#include "tide/base/hash.h"
#include "tide/base/mem.h"
#include "tide/head/head.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SERIES 4u
/* A section header, and what an empty series takes: gap, misfits, sealed chunks, open chunk. */
#define SECTION_BYTES 12u
#define EMPTY_SERIES_BYTES 4u

static void add_series(struct tide_head *head)
{
    static const char *const names[SERIES] = {"m0", "m1", "m2", "m3"};

    for (uint32_t i = 0; i < SERIES; i++) {
        struct tide_label pairs[] = {
            {TIDE_SLICE("__name__"), tide_slice_str(names[i])},
            {TIDE_SLICE("instance"), TIDE_SLICE("host:1")},
            {TIDE_SLICE("job"), TIDE_SLICE("test")},
        };
        struct tide_labels labels = {pairs, i == 3 ? 2 : 3};
        uint32_t ref;

        TIDE_ASSERT(tide_head_series(head, tide_labels_identity(TIDE_SLICE("t"), labels, 0), labels,
                                     &ref) == TIDE_OK);
    }
}

/* What stands before the sections, made once. */
static struct tide_slice prefix(void)
{
    static struct tide_buf bytes;
    struct tide_head *head;
    struct tide_head_frozen *frozen;
    struct tide_file_writer *writer;
    char path[64];

    if (bytes.len == 0) {
        (void)snprintf(path, sizeof(path), "/tmp/tide-fuzz-restore-%ld", (long)getpid());
        TIDE_ASSERT(tide_head_new(&tide_head_options_default, &head) == TIDE_OK);
        add_series(head);
        TIDE_ASSERT(tide_head_freeze(head, &frozen) == TIDE_OK);
        TIDE_ASSERT(tide_file_writer_begin(path, &writer, NULL) == TIDE_OK);
        TIDE_ASSERT(tide_head_frozen_write(frozen, writer, NULL) == TIDE_OK);
        TIDE_ASSERT(tide_file_writer_commit(writer, NULL) == TIDE_OK);
        TIDE_ASSERT(tide_file_read(path, SIZE_MAX, &bytes, NULL) == TIDE_OK);
        (void)unlink(path);
        tide_head_frozen_free(frozen);
        tide_head_free(head);
        bytes.len -= 2 * SECTION_BYTES + SERIES * EMPTY_SERIES_BYTES;
    }
    return tide_buf_view(&bytes);
}

static void add_section(struct tide_buf *out, uint32_t kind, struct tide_slice payload)
{
    size_t start = out->len;
    uint32_t crc;

    tide_buf_u32(out, kind);
    tide_buf_u32(out, (uint32_t)payload.len);
    crc = tide_crc32c(0, (struct tide_slice){out->ptr + start, 8});
    tide_buf_u32(out, tide_crc32c(crc, payload));
    tide_buf_slice(out, payload);
}

static struct tide_buf assemble(const uint8_t *data, size_t size)
{
    struct tide_buf out = {0};

    tide_buf_slice(&out, prefix());
    while (size >= 3) {
        size_t len = data[1] | (size_t)data[2] << 8;
        uint8_t kind = data[0];

        data += 3;
        size -= 3;
        len = len > size ? size : len;
        add_section(&out, kind, (struct tide_slice){data, len});
        data += len;
        size -= len;
    }
    TIDE_ASSERT(tide_buf_ok(&out) == TIDE_OK);
    return out;
}

static void read_all(struct tide_head *head)
{
    struct tide_select select = {.mint_ms = INT64_MIN, .maxt_ms = INT64_MAX};
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_series_set *set;

    TIDE_ASSERT(tide_head_select(head, &select, NULL, &set) == TIDE_OK);
    for (size_t i = 0; i < set->count; i++) {
        enum tide_err err = set->ops->read(set, i, 1, INT64_MIN, INT64_MAX, &batch);

        TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
        err = set->ops->read(set, i, 1, 1700000000000, 1700000100000, &batch);
        TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
    }
    set->ops->free(set);
    tide_arena_free(batch.arena);
}

/* Some of them where there is a float, so that they are rejected. */
static enum tide_err append_histograms(struct tide_head *head, const uint32_t *refs, int64_t *times,
                                       struct tide_head_rejects *rejects)
{
    static const struct tide_span span = {0, 1};
    double count = 3;
    const struct tide_histogram h = {.count = 3,
                                     .sum = 1.5,
                                     .positive_spans = &span,
                                     .positive_span_count = 1,
                                     .positive = &count,
                                     .positive_count = 1};
    struct tide_slice histograms[SERIES];
    struct tide_buf bytes = {0};
    enum tide_err err;

    tide_histogram_encode(&h, &bytes);
    for (uint32_t i = 0; i < SERIES; i++) {
        histograms[i] = tide_buf_view(&bytes);
        times[i] += i / 2;
    }
    err = tide_head_append_histograms(head, refs, times, histograms, SERIES, SERIES, INT64_MIN,
                                      rejects);
    tide_buf_deinit(&bytes);
    return err;
}

static bool append(struct tide_head *head, int64_t ts_ms)
{
    struct tide_head_rejects rejects = {0};
    uint32_t refs[SERIES];
    int64_t times[SERIES];
    uint64_t bits[SERIES];
    enum tide_err err;

    for (uint32_t i = 0; i < SERIES; i++) {
        refs[i] = i;
        times[i] = ts_ms + i;
        bits[i] = (uint64_t)ts_ms * (i + 1);
    }
    err = tide_head_append(head, refs, times, bits, SERIES, INT64_MIN, &rejects);
    if (err == TIDE_OK)
        err = append_histograms(head, refs, times, &rejects);
    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
    tide_mem_free(rejects.items);
    return err == TIDE_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tide_buf bytes = assemble(data, size);
    struct tide_reader reader = tide_reader(tide_buf_view(&bytes));
    struct tide_head_stats stats;
    struct tide_head_frozen *frozen;
    struct tide_head *head;
    enum tide_err err = tide_head_restore(&tide_head_options_default, &reader, &head, NULL);
    bool sound = true;

    TIDE_ASSERT(err == TIDE_OK || err == TIDE_ERR_CORRUPT);
    if (err == TIDE_OK) {
        read_all(head);
        tide_head_stats(head, &stats);
        for (int64_t i = 0; i < 20 && sound; i++) /* In order, late, and around what is there. */
            sound = append(head, 1700000000000 + i * 777000) &&
                    append(head, (stats.max_ms / 2) - i * 100000);
        if (sound) {
            TIDE_ASSERT(tide_head_freeze(head, &frozen) == TIDE_OK);
            TIDE_ASSERT(tide_head_truncate(head, 1700000000000) == TIDE_OK);
            tide_head_frozen_free(frozen);
            read_all(head);
        }
        tide_head_free(head);
    }
    tide_buf_deinit(&bytes);
    return 0;
}
