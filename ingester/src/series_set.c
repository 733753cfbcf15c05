#include "ingester_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

/* The sets of the shards one after the other. starts has one more than part_count: where each
 * begins, and the end. */
struct joined_set {
    struct tide_series_set set;
    struct tide_series_set **parts;
    size_t *starts;
    size_t part_count;
};

static void parts_free(struct tide_series_set **parts, size_t part_count)
{
    for (size_t i = 0; i < part_count; i++)
        parts[i]->ops->free(parts[i]);
    tide_mem_free(parts);
}

/* The part that series i is in; *i becomes its index there. Linear: there are as many parts as
 * shards. */
static struct tide_series_set *part_of(const struct joined_set *joined, size_t *i)
{
    size_t part = 0;

    while (*i >= joined->starts[part + 1])
        part++;
    *i -= joined->starts[part];
    return joined->parts[part];
}

static enum tide_err joined_labels(struct tide_series_set *set, size_t i, struct tide_arena *arena,
                                   struct tide_labels *out)
{
    struct tide_series_set *part = part_of((struct joined_set *)set, &i);

    return part->ops->labels(part, i, arena, out);
}

static struct tide_slice joined_label(struct tide_series_set *set, size_t i, struct tide_slice name)
{
    struct tide_series_set *part = part_of((struct joined_set *)set, &i);

    return part->ops->label(part, i, name);
}

static enum tide_err copy_histograms(struct tide_arena *arena, const struct tide_series_samples *s,
                                     const struct tide_histogram *const **out)
{
    const struct tide_histogram **copies =
        tide_arena_new_array(arena, s->count, sizeof(struct tide_histogram *));

    if (copies == NULL)
        return TIDE_ERR_LIMIT;
    for (size_t i = 0; i < s->count; i++) {
        struct tide_histogram *copy;

        if (s->histograms[i] == NULL)
            continue;
        copy = tide_arena_alloc(arena, sizeof(*copy));
        if (copy == NULL || tide_histogram_copy(arena, s->histograms[i], copy) != TIDE_OK)
            return TIDE_ERR_LIMIT;
        copies[i] = copy;
    }
    *out = copies;
    return TIDE_OK;
}

/* Copies what was read of one part behind what is in the batch. Series that share timestamps go on
 * sharing them. */
static enum tide_err batch_copy(struct tide_batch *batch, size_t at, const struct tide_batch *from)
{
    const int64_t *shared_from = NULL;
    const int64_t *shared_to = NULL;
    size_t shared_count = 0;

    for (size_t i = 0; i < from->count; i++) {
        const struct tide_series_samples *s = &from->series[i];
        double *values = tide_arena_alloc(batch->arena, s->count * sizeof(*values));

        if (values == NULL)
            return TIDE_ERR_LIMIT;
        if (s->times_ms != shared_from || s->count > shared_count) {
            int64_t *times = tide_arena_alloc(batch->arena, s->count * sizeof(*times));

            if (times == NULL)
                return TIDE_ERR_LIMIT;
            if (s->count > 0) {
                TIDE_ASSERT(s->times_ms != NULL);
                memcpy(times, s->times_ms, s->count * sizeof(*times));
            }
            shared_from = s->times_ms;
            shared_to = times;
            shared_count = s->count;
        }
        if (s->count > 0)
            memcpy(values, s->values, s->count * sizeof(*values));
        batch->series[at + i] = (struct tide_series_samples){
            .times_ms = shared_to, .values = values, .count = s->count};
        if (s->histograms != NULL) {
            enum tide_err err = copy_histograms(batch->arena, s, &batch->series[at + i].histograms);

            if (err != TIDE_OK)
                return err;
        }
    }
    return TIDE_OK;
}

/* A read that crosses from one part into the next: each is read by itself and copied together. */
static enum tide_err read_across(struct joined_set *joined, size_t first, size_t count,
                                 int64_t mint_ms, int64_t maxt_ms, struct tide_batch *batch)
{
    struct tide_batch piece = {.arena = tide_arena_new(0)};
    size_t done = 0;
    enum tide_err err = TIDE_OK;

    tide_arena_reset(batch->arena);
    batch->series = tide_arena_new_array(batch->arena, count, sizeof(*batch->series));
    batch->count = count;
    if (piece.arena == NULL || batch->series == NULL)
        err = TIDE_ERR_NO_MEMORY;
    while (err == TIDE_OK && done < count) {
        size_t at = first + done;
        struct tide_series_set *part = part_of(joined, &at);
        size_t here = part->count - at < count - done ? part->count - at : count - done;

        err = part->ops->read(part, at, here, mint_ms, maxt_ms, &piece);
        if (err == TIDE_OK)
            err = batch_copy(batch, done, &piece);
        done += here;
    }
    tide_arena_free(piece.arena);
    return err;
}

static enum tide_err joined_read(struct tide_series_set *set, size_t first, size_t count,
                                 int64_t mint_ms, int64_t maxt_ms, struct tide_batch *batch)
{
    struct joined_set *joined = (struct joined_set *)set;
    size_t at = first;
    struct tide_series_set *part = part_of(joined, &at);

    if (at + count > part->count)
        return read_across(joined, first, count, mint_ms, maxt_ms, batch);
    return part->ops->read(part, at, count, mint_ms, maxt_ms, batch);
}

static void joined_free(struct tide_series_set *set)
{
    struct joined_set *joined = (struct joined_set *)set;

    parts_free(joined->parts, joined->part_count);
    tide_mem_free(joined->starts);
    tide_mem_free(joined);
}

static const struct tide_series_set_ops joined_ops = {
    .labels = joined_labels, .label = joined_label, .read = joined_read, .free = joined_free};

enum tide_err tide__series_set_join(struct tide_series_set **parts, size_t part_count,
                                    struct tide_series_set **out)
{
    struct joined_set *joined = tide_mem_new(sizeof(*joined));
    size_t *starts = tide_mem_array(part_count + 1, sizeof(*starts));

    if (joined == NULL || starts == NULL) {
        tide_mem_free(joined);
        tide_mem_free(starts);
        parts_free(parts, part_count);
        return TIDE_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < part_count; i++)
        starts[i + 1] = starts[i] + parts[i]->count;
    *joined = (struct joined_set){.set = {.ops = &joined_ops, .count = starts[part_count]},
                                  .parts = parts,
                                  .starts = starts,
                                  .part_count = part_count};
    *out = &joined->set;
    return TIDE_OK;
}
