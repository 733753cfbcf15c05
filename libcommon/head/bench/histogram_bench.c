/* Question: what does a native histogram cost a head? Input: 2,000 series scraped every 15 s, 240
 * times; 20 buckets at schema 3 around a middle, of which a scrape with some tens of observations
 * moves about half. Seeded. Baseline: the same as 22 classic series, at 13 ns an append and 2 to 4
 * bytes a sample. One JSON line a figure. */
#include "tide/base/clock.h"
#include "tide/base/mem.h"
#include "tide/head/head.h"

#include <stdio.h>
#include <stdlib.h>

#define SERIES 2000u
#define SCRAPES 240u
#define BUCKETS 20u
#define START_MS INT64_C(1700006400000)

struct client {
    double counts[BUCKETS];
    double count;
    double sum;
};

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void check(enum tide_err err)
{
    if (err != TIDE_OK) {
        fprintf(stderr, "histogram_bench: %s\n", tide_err_text(err));
        exit(1);
    }
}

static void print(const char *name, const char *unit, double value)
{
    printf("{\"bench\":\"histogram_%s\",\"unit\":\"%s\",\"value\":%.2f}\n", name, unit, value);
}

static void scrape(struct client *c, uint64_t *random, struct tide_buf *out)
{
    static const struct tide_span span = {-30, BUCKETS};
    uint64_t observations = next_random(random) % 60;
    struct tide_histogram h = {.schema = 3,
                               .zero_threshold = 0x1p-128,
                               .positive_spans = &span,
                               .positive_span_count = 1,
                               .positive = c->counts,
                               .positive_count = BUCKETS};

    for (uint64_t i = 0; i < observations; i++) {
        uint64_t bucket = (next_random(random) % BUCKETS + next_random(random) % BUCKETS) / 2;

        c->counts[bucket]++;
        c->count++;
        c->sum += (double)(next_random(random) % 1000000) / 1e6;
    }
    h.count = c->count;
    h.sum = c->sum;
    tide_histogram_encode(&h, out);
}

static void add_series(struct tide_head *head, uint32_t *refs)
{
    for (uint32_t i = 0; i < SERIES; i++) {
        char instance[32];
        struct tide_label pairs[] = {{TIDE_SLICE("__name__"), TIDE_SLICE("request_seconds")},
                                     {TIDE_SLICE("instance"), {0}},
                                     {TIDE_SLICE("job"), TIDE_SLICE("api")}};
        struct tide_labels labels = {pairs, 3};

        (void)snprintf(instance, sizeof(instance), "10.0.%u.%u:80", i / 250, i % 250);
        pairs[1].value = tide_slice_str(instance);
        check(tide_head_series(head, tide_labels_identity(TIDE_SLICE("t"), labels, 0), labels,
                               &refs[i]));
    }
}

static void append_all(struct tide_head *head, const uint32_t *refs, struct client *clients)
{
    static int64_t times[SERIES];
    static struct tide_slice slices[SERIES];
    static size_t starts[SERIES + 1];
    struct tide_head_rejects rejects = {0};
    struct tide_buf bytes = {0};
    uint64_t random = 1;
    double total_ns = 0;

    for (uint32_t s = 0; s < SCRAPES; s++) {
        int64_t start_ns;

        bytes.len = 0;
        for (uint32_t i = 0; i < SERIES; i++) {
            scrape(&clients[i], &random, &bytes);
            starts[i + 1] = bytes.len;
            times[i] = START_MS + (int64_t)s * 15000 + i % 15000;
        }
        for (uint32_t i = 0; i < SERIES; i++)
            slices[i] = (struct tide_slice){bytes.ptr + starts[i], starts[i + 1] - starts[i]};
        start_ns = tide_clock_mono_ns();
        check(tide_head_append_histograms(head, refs, times, slices, SERIES, 0, 0, &rejects));
        total_ns += (double)(tide_clock_mono_ns() - start_ns);
    }
    print("append", "ns/histogram", total_ns / SERIES / SCRAPES);
    tide_buf_deinit(&bytes);
    tide_mem_free(rejects.items);
}

static void read_all(struct tide_head *head)
{
    struct tide_select select = {.mint_ms = INT64_MIN, .maxt_ms = INT64_MAX};
    struct tide_batch batch = {.arena = tide_arena_new(0)};
    struct tide_series_set *set;
    uint64_t samples = 0;
    int64_t start_ns;

    check(tide_head_select(head, &select, NULL, &set));
    start_ns = tide_clock_mono_ns();
    for (size_t i = 0; i < set->count; i += 64) {
        size_t n = set->count - i < 64 ? set->count - i : 64;

        check(set->ops->read(set, i, n, INT64_MIN, INT64_MAX, &batch));
        for (size_t k = 0; k < n; k++)
            samples += batch.series[k].count;
    }
    print("read", "ns/histogram", (double)(tide_clock_mono_ns() - start_ns) / (double)samples);
    set->ops->free(set);
    tide_arena_free(batch.arena);
}

int main(void)
{
    static uint32_t refs[SERIES];
    static struct client clients[SERIES];
    struct tide_head *head;
    struct tide_head_stats stats;

    check(tide_head_new(&tide_head_options_default, &head));
    add_series(head, refs);
    append_all(head, refs, clients);
    tide_head_stats(head, &stats);
    print("bytes", "B/histogram", (double)stats.bytes_histograms / (double)stats.samples);
    read_all(head);
    tide_head_free(head);
    return 0;
}
