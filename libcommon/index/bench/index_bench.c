/* Question: what do a million series cost in the index, and how long do its operations take? Input:
 * series of 12 labels as a fleet of services makes them, target by target (or "interleaved"): 1,000
 * targets with 1,000 series each; pod and instance are the target's own, slot is unique to
 * the series. Seeded by construction: there is no randomness. Baseline: DESIGN section 5 (20 B of
 * labels, 17 B of table, 5 B of postings a series). */
#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/index/index.h"

#include <stdio.h>
#include <stdlib.h>

#define TARGETS 1000u
#define SERIES_PER_TARGET 1000u
#define PAIRS 12

struct bench {
    struct tide_index *index;
    struct tide_arena *arena;
    struct tide_labels *sets; /* Prepared before the clock starts. */
    struct tide_hash128 *identities;
    uint32_t count;
};

static struct tide_slice text(struct tide_arena *arena, const char *format, unsigned a, unsigned b)
{
    char buffer[96];
    int len = snprintf(buffer, sizeof(buffer), format, a, b);

    TIDE_ASSERT(len > 0);
    return tide_arena_copy(arena, (struct tide_slice){(const uint8_t *)buffer, (size_t)len});
}

static struct tide_labels make(struct tide_arena *arena, unsigned target, unsigned series)
{
    struct tide_label *pairs = tide_arena_alloc(arena, PAIRS * sizeof(*pairs));
    static const char *const names[PAIRS] = {"__name__",  "cluster", "code", "container",
                                             "instance",  "job",     "le",   "method",
                                             "namespace", "node",    "pod",  "slot"};
    unsigned service = target / 10;
    unsigned metric = series / 20;

    TIDE_ASSERT(pairs != NULL);
    for (size_t i = 0; i < PAIRS; i++)
        pairs[i].name = tide_slice_str(names[i]);
    pairs[0].value = text(arena, "http_server_metric_%u_seconds_bucket", metric, 0);
    pairs[1].value = text(arena, "eu-west-%u", target % 3, 0);
    pairs[2].value = text(arena, "%u", 200 + series % 5 * 100 + series / 5 % 3, 0);
    pairs[3].value = text(arena, "container-%u", service, 0);
    pairs[4].value = text(arena, "10.1.%u.%u:9090", target / 250, target % 250);
    pairs[5].value = text(arena, "service-%u", service, 0);
    pairs[6].value = text(arena, "0.%u", series % 12, 0);
    pairs[7].value = text(arena, "M%u", series % 4, 0);
    pairs[8].value = text(arena, "team-%u", service % 12, 0);
    pairs[9].value = text(arena, "node-%u.example", target % 200, 0);
    pairs[10].value = text(arena, "service-pod-%x-%u", target * 2654435761u, target);
    pairs[11].value = text(arena, "slot-%u-%u", target, series);
    return (struct tide_labels){pairs, PAIRS};
}

static void print(const char *name, const char *unit, double value)
{
    printf("{\"bench\":\"%s\",\"unit\":\"%s\",\"median\":%.2f,\"runs\":1}\n", name, unit, value);
}

static double now_ms(void)
{
    return (double)tide_clock_mono_ns() / 1e6;
}

/* Target by target, or every target's first series, then every target's second: the worst order for
 * the postings of a target's labels. */
static void prepare(struct bench *b, bool interleaved)
{
    b->count = TARGETS * SERIES_PER_TARGET;
    b->arena = tide_arena_new(0);
    b->sets = tide_mem_array(b->count, sizeof(*b->sets));
    b->identities = tide_mem_array(b->count, sizeof(*b->identities));
    TIDE_ASSERT(b->arena != NULL);
    TIDE_ASSERT(b->sets != NULL);
    TIDE_ASSERT(b->identities != NULL);
    for (uint32_t i = 0; i < b->count; i++) {
        b->sets[i] = interleaved ? make(b->arena, i % TARGETS, i / TARGETS)
                                 : make(b->arena, i / SERIES_PER_TARGET, i % SERIES_PER_TARGET);
        b->identities[i] = tide_labels_identity(TIDE_SLICE("bench"), b->sets[i], 42);
    }
}

static void add_all(struct bench *b, const char *name)
{
    double start = now_ms();

    for (uint32_t i = 0; i < b->count; i++) {
        uint32_t ref;
        bool created;

        if (tide_index_add(b->index, b->identities[i], b->sets[i], &ref, &created) != TIDE_OK)
            abort();
        TIDE_ASSERT(ref == i);
    }
    print(name, "ns/series", (now_ms() - start) * 1e6 / b->count);
}

static void memory(const struct bench *b)
{
    struct tide_index_stats stats;
    double count = b->count;

    tide_index_stats(b->index, &stats);
    print("memory_labels", "B/series", (double)stats.bytes_labels / count);
    print("memory_table", "B/series", (double)stats.bytes_table / count);
    print("memory_symbols", "B/series", (double)stats.bytes_symbols / count);
    print("memory_postings", "B/series", (double)stats.bytes_postings / count);
}

static void select_one(struct bench *b, const char *what, const struct tide_matcher *matchers,
                       size_t count)
{
    struct tide_index_refs refs;
    double best = 1e9, sort_best = 1e9;
    size_t found = 0;

    for (int run = 0; run < 7; run++) {
        double start = now_ms();

        if (tide_index_select(b->index, matchers, count, NULL, &refs) != TIDE_OK)
            abort();
        found = refs.count;
        if (now_ms() - start < best)
            best = now_ms() - start;
        start = now_ms();
        if (tide_index_sort(b->index, refs.refs, refs.count, NULL) != TIDE_OK)
            abort();
        if (now_ms() - start < sort_best)
            sort_best = now_ms() - start;
        tide_index_refs_deinit(&refs, NULL);
    }
    printf("{\"bench\":\"select\",\"what\":\"%s\",\"series\":%zu,\"unit\":\"us\",\"min\":%.1f,"
           "\"sort\":%.1f,\"runs\":7}\n",
           what, found, best * 1000, sort_best * 1000);
}

static void checkpoint(struct bench *b)
{
    struct tide_index_frozen *frozen;
    struct tide_index *restored;
    struct tide_buf buf = {0};
    struct tide_reader reader;
    double start = now_ms();

    if (tide_index_freeze(b->index, &frozen) != TIDE_OK)
        abort();
    print("freeze", "ms", now_ms() - start);
    start = now_ms();
    while (tide_index_frozen_next(frozen, &buf) == TIDE_OK) {
    }
    print("write", "ms", now_ms() - start);
    print("checkpoint", "B/series", (double)buf.len / b->count);
    tide_index_frozen_free(frozen);
    reader = tide_reader(tide_buf_view(&buf));
    start = now_ms();
    if (tide_index_restore(&reader, b->count, &restored, NULL) != TIDE_OK)
        abort();
    print("restore", "ms", now_ms() - start);
    tide_index_free(b->index);
    b->index = restored;
    tide_buf_deinit(&buf);
}

static void remove_half(struct bench *b)
{
    uint32_t *refs = tide_mem_array(b->count, sizeof(*refs));
    uint32_t count = 0;
    double start;

    TIDE_ASSERT(refs != NULL);
    for (uint32_t ref = 0; ref < b->count; ref++)
        if (ref / SERIES_PER_TARGET % 2 == 0)
            refs[count++] = ref;
    start = now_ms();
    tide_index_remove(b->index, refs, count);
    print("remove", "ns/series", (now_ms() - start) * 1e6 / count);
    tide_mem_free(refs);
}

static struct tide_matcher matcher(struct bench *b, enum tide_match_op op, const char *name,
                                   const char *value)
{
    struct tide_matcher m;

    if (tide_matcher_init(&m, op, tide_slice_str(name), tide_slice_str(value), b->arena, NULL) !=
        TIDE_OK)
        abort();
    return m;
}

static void selects(struct bench *b)
{
    struct tide_matcher m[] = {
        matcher(b, TIDE_MATCH_EQ, "__name__", "http_server_metric_7_seconds_bucket"),
        matcher(b, TIDE_MATCH_EQ, "job", "service-5"),
        matcher(b, TIDE_MATCH_RE, "code", "5.."),
        matcher(b, TIDE_MATCH_NE, "code", "200"),
        matcher(b, TIDE_MATCH_RE, "slot", "slot-77-.*"),
        matcher(b, TIDE_MATCH_RE, "slot", ".*-77-5.*"),
        matcher(b, TIDE_MATCH_RE, "slot", "slot-[78]+-5.?"),
        matcher(b, TIDE_MATCH_RE, "cluster", "eu-west-1|eu-west-2")};

    select_one(b, "all", m, 0);
    select_one(b, "name", m, 1);
    select_one(b, "job and code=~5..", m + 1, 2);
    select_one(b, "name, code!=200", (struct tide_matcher[]){m[0], m[3]}, 2);
    select_one(b, "prefix of 1M values, unsorted", m + 4, 1);
    for (int i = 0; i < 150; i++) {
        struct tide_index_refs refs;

        if (tide_index_select(b->index, m + 4, 1, NULL, &refs) != TIDE_OK)
            abort();
        tide_index_refs_deinit(&refs, NULL);
    }
    select_one(b, "prefix of 1M values, sorted", m + 4, 1);
    select_one(b, "contains in 1M values", m + 5, 1);
    select_one(b, "regex in 1M values", m + 6, 1);
    select_one(b, "name, regex in 1M values", (struct tide_matcher[]){m[0], m[6]}, 2);
    select_one(b, "cluster alternation", m + 7, 1);
    for (size_t i = 0; i < sizeof(m) / sizeof(m[0]); i++)
        tide_matcher_release(&m[i]);
}

int main(int argc, char **argv)
{
    struct bench b = {.count = 0};

    prepare(&b, argc > 1 && strcmp(argv[1], "interleaved") == 0);
    if (tide_index_new(&b.index) != TIDE_OK)
        return 1;
    add_all(&b, "add");
    add_all(&b, "find");
    memory(&b);
    selects(&b);
    checkpoint(&b);
    memory(&b);
    remove_half(&b);
    tide_index_free(b.index);
    tide_arena_free(b.arena);
    tide_mem_free(b.sets);
    tide_mem_free(b.identities);
    return 0;
}
