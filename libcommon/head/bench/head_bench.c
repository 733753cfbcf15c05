/* Question: what does a head cost a sample and a series? Input: targets of 700 series each, scraped
 * every 15 s with some jitter, in target order as Prometheus sends them, 2,000 samples a call; of
 * the series 4 in 10 are constant, 3 are counters, 2 move now and then, 1 is noise. Seeded.
 * Usage: head_bench [series] [scrapes]. Baseline: DESIGN section 5 (7-17 ns an append in target
 * order, 170-280 B a series before sealed data). One JSON line a figure. */
#include "tide/base/assert.h"
#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/head/head.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SERIES_PER_TARGET 700u
#define CALL_SAMPLES 2000u
#define START_MS INT64_C(1700006400000)
#define READ_BATCH 1024u

struct bench {
    struct tide_head *head;
    uint32_t series;
    uint32_t scrapes;
    uint32_t *refs;
    int64_t *times;
    uint64_t *bits; /* Of the scrape in hand. */
    uint64_t random;
};

static uint64_t next_random(struct bench *b)
{
    uint64_t z = b->random += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void print(const char *name, const char *unit, double value)
{
    printf("{\"bench\":\"head_%s\",\"unit\":\"%s\",\"value\":%.2f}\n", name, unit, value);
}

static void check(enum tide_err err)
{
    if (err != TIDE_OK) {
        fprintf(stderr, "head_bench: %s\n", tide_err_text(err));
        exit(1);
    }
}

static double since_ns(int64_t start_ns)
{
    return (double)(tide_clock_mono_ns() - start_ns);
}

static void add_series(struct bench *b)
{
    int64_t start_ns = tide_clock_mono_ns();

    for (uint32_t i = 0; i < b->series; i++) {
        unsigned target = i / SERIES_PER_TARGET;
        char text[4][64];
        struct tide_label pairs[] = {
            {TIDE_SLICE("__name__"), {0}},
            {TIDE_SLICE("code"), {0}},
            {TIDE_SLICE("instance"), {0}},
            {TIDE_SLICE("job"), {0}},
        };
        struct tide_labels labels = {pairs, 4};

        (void)snprintf(text[0], sizeof(text[0]), "metric_%u_total", i % SERIES_PER_TARGET / 10);
        (void)snprintf(text[1], sizeof(text[1]), "%u", i % SERIES_PER_TARGET % 10);
        (void)snprintf(text[2], sizeof(text[2]), "10.0.%u.%u:9100", target / 250, target % 250);
        (void)snprintf(text[3], sizeof(text[3]), "job-%u", target / 10);
        for (size_t k = 0; k < 4; k++)
            pairs[k].value = tide_slice_str(text[k]);
        check(tide_head_series(b->head, tide_labels_identity(TIDE_SLICE("t"), labels, 0), labels,
                               &b->refs[i]));
    }
    print("series", "ns/series", since_ns(start_ns) / b->series);
}

static void next_scrape(struct bench *b, uint32_t scrape)
{
    for (uint32_t i = 0; i < b->series; i++) {
        double v = tide_value(b->bits[i]);
        uint64_t r = next_random(b);

        if (scrape == 0)
            v = (double)(r % 100000);
        else if (i % 10 == 9)
            v = (double)(r % 100000) / 1000;
        else if (i % 10 >= 7)
            v += r % 8 == 0 ? (double)(r >> 60) : 0;
        else if (i % 10 >= 4)
            v += (double)(r % 50);
        b->bits[i] = tide_value_bits(v);
        if (i % SERIES_PER_TARGET == 0)
            r = next_random(b) % 3;
        b->times[i] = i % SERIES_PER_TARGET == 0
                          ? START_MS + (int64_t)scrape * 15000 +
                                (int64_t)(i / SERIES_PER_TARGET) * 37 % 15000 + (int64_t)r
                          : b->times[i - 1];
    }
}

static void append_all(struct bench *b)
{
    double total_ns = 0;
    struct tide_head_rejects rejects = {0};

    for (uint32_t scrape = 0; scrape < b->scrapes; scrape++) {
        int64_t start_ns;

        next_scrape(b, scrape);
        start_ns = tide_clock_mono_ns();
        for (uint32_t i = 0; i < b->series; i += CALL_SAMPLES) {
            uint32_t n = b->series - i < CALL_SAMPLES ? b->series - i : CALL_SAMPLES;

            check(
                tide_head_append(b->head, b->refs + i, b->times + i, b->bits + i, n, 0, &rejects));
        }
        total_ns += since_ns(start_ns);
    }
    TIDE_ASSERT(rejects.count == 0);
    print("append", "ns/sample", total_ns / b->series / b->scrapes);
}

static void print_memory(struct bench *b)
{
    struct tide_head_stats s;
    double n = b->series;

    tide_head_stats(b->head, &s);
    print("records", "B/series", (double)s.bytes_records / n);
    print("open", "B/series", (double)s.bytes_open / n);
    print("sealed", "B/series", (double)s.bytes_sealed / n);
    print("sealed_sample", "B/sample", (double)s.bytes_sealed / (double)s.samples);
    print("columns", "B/series", (double)s.bytes_columns / n);
    print("labels", "B/series", (double)s.bytes_labels / n);
    print("postings", "B/series", (double)s.bytes_postings / n);
}

static void read_range(struct bench *b, const char *name, int64_t mint_ms, int64_t maxt_ms)
{
    struct tide_select select = {.mint_ms = mint_ms, .maxt_ms = maxt_ms};
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_series_set *set;
    int64_t start_ns = tide_clock_mono_ns();
    uint64_t samples = 0;
    double ns;
    char text[64];

    check(tide_head_select(b->head, &select, NULL, &set));
    (void)snprintf(text, sizeof(text), "select_%s", name);
    print(text, "ns/series", since_ns(start_ns) / (double)set->count);
    start_ns = tide_clock_mono_ns();
    for (size_t i = 0; i < set->count; i += READ_BATCH) {
        size_t n = set->count - i < READ_BATCH ? set->count - i : READ_BATCH;

        check(set->ops->read(set, i, n, mint_ms, maxt_ms, &batch));
        for (size_t k = 0; k < n; k++)
            samples += batch.series[k].count;
    }
    ns = since_ns(start_ns);
    (void)snprintf(text, sizeof(text), "read_%s", name);
    print(text, "series/us", (double)set->count * 1000 / ns);
    print(text, "Msamples/s", (double)samples * 1000 / ns);
    set->ops->free(set);
    tide_arena_free(batch.arena);
}

static void checkpoint(struct bench *b)
{
    const char *folder = getenv("TMPDIR");
    char path[512];
    struct tide_head_frozen *frozen;
    struct tide_file_writer *writer;
    struct tide_file_map map;
    struct tide_reader reader;
    struct tide_head *head;
    int64_t start_ns = tide_clock_mono_ns();

    (void)snprintf(path, sizeof(path), "%s/head-bench-%ld", folder != NULL ? folder : "/tmp",
                   (long)getpid());
    check(tide_head_freeze(b->head, &frozen));
    print("freeze", "ms", since_ns(start_ns) / 1e6);
    start_ns = tide_clock_mono_ns();
    check(tide_file_writer_begin(path, &writer, NULL));
    check(tide_head_frozen_write(frozen, writer, NULL));
    print("checkpoint", "B/series", (double)tide_file_writer_bytes(writer) / b->series);
    check(tide_file_writer_commit(writer, NULL));
    print("write", "ms", since_ns(start_ns) / 1e6);
    tide_head_frozen_free(frozen);
    tide_head_free(b->head);
    b->head = NULL;
    check(tide_file_map(path, &map, NULL));
    start_ns = tide_clock_mono_ns();
    reader = tide_reader(map.bytes);
    check(tide_head_restore(&tide_head_options_default, &reader, &head, NULL));
    print("restore", "ms", since_ns(start_ns) / 1e6);
    tide_file_unmap(&map);
    (void)unlink(path);
    tide_head_free(head);
}

int main(int argc, char **argv)
{
    struct bench b = {.series = 100000, .scrapes = 60, .random = 1};
    int64_t end_ms;

    if (argc > 1)
        b.series = (uint32_t)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        b.scrapes = (uint32_t)strtoul(argv[2], NULL, 10);
    b.refs = tide_mem_array(b.series, sizeof(*b.refs));
    b.times = tide_mem_array(b.series, sizeof(*b.times));
    b.bits = tide_mem_array(b.series, sizeof(*b.bits));
    if (b.refs == NULL || b.times == NULL || b.bits == NULL)
        return 1;
    check(tide_head_new(&tide_head_options_default, &b.head));
    add_series(&b);
    append_all(&b);
    print_memory(&b);
    end_ms = START_MS + (int64_t)b.scrapes * 15000;
    read_range(&b, "5m", end_ms - 300000, end_ms);
    read_range(&b, "all", START_MS, end_ms);
    checkpoint(&b);
    tide_mem_free(b.refs);
    tide_mem_free(b.times);
    tide_mem_free(b.bits);
    return 0;
}
