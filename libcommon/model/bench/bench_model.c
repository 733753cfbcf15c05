/* What do one sample's steps through the model cost? Bodies of 2,000 series with 11 labels and one
 * sample each, as a Prometheus in Kubernetes sends them; the baseline of the scanner is the
 * prototype of 80 ns a sample. */
#include "tide/model/push.h"
#include "tide/model/write_encode.h"

#include "tide/base/clock.h"
#include "tide/base/hash.h"

#include <stdio.h>
#include <stdlib.h>

#define SERIES 2000
#define RUNS 15
#define ROUNDS 40 /* In one run. */

struct input {
    struct tide_buf v1;
    struct tide_buf v2;
    struct tide_buf snappy;
    struct tide_buf push;
    struct tide_write_scanner *scanner;
    struct tide_arena *arena;
    struct tide_push_builder builder;
    uint64_t sink; /* Keeps results alive. */
};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static struct tide_labels make_labels(uint32_t i, char text[6][48], struct tide_label *pairs)
{
    static const char *const names[] = {"__name__", "cluster",  "code",   "env",
                                        "handler",  "instance", "job",    "namespace",
                                        "pod",      "region",   "service"};
    const char *values[] = {text[0], "eu-west-1", text[1], "production", "/api/v1/items", text[2],
                            text[3], "shop",      text[4], "eu-west",    "checkout"};

    snprintf(text[0], sizeof(text[0]), "node_network_receive_bytes_%u_total", i % 40);
    snprintf(text[1], sizeof(text[1]), "%u", 200 + i % 4);
    snprintf(text[2], sizeof(text[2]), "10.42.%u.%u:9100", i / 250, i % 250);
    snprintf(text[3], sizeof(text[3]), "kubernetes-pods");
    snprintf(text[4], sizeof(text[4]), "checkout-7d9f8b6c5d-%05u", i);
    for (size_t k = 0; k < 11; k++)
        pairs[k] = (struct tide_label){tide_slice_str(names[k]), tide_slice_str(values[k])};
    return (struct tide_labels){pairs, 11};
}

static void make_input(struct input *in)
{
    struct tide_write_v2_encoder *v2 = tide_write_v2_encoder_new();

    must(v2 != NULL);
    for (uint32_t i = 0; i < SERIES; i++) {
        char text[6][48];
        struct tide_label pairs[11];
        struct tide_labels labels = make_labels(i, text, pairs);
        struct tide_sample sample = {1700000000000 + (i / 100) * 37, tide_value_bits(i * 1.5)};

        tide_write_encode_series(&in->v1, labels, &sample, 1, NULL, 0);
        tide_write_v2_encode_series(v2, labels, &sample, 1, NULL, 0, NULL);
        tide_push_add_sample(&in->builder, i, sample.ts_ms, sample.bits);
    }
    must(tide_write_v2_encode_end(v2, &in->v2) == TIDE_OK);
    tide_write_v2_encoder_free(v2);
    must(tide_write_compress(tide_buf_view(&in->v1), &in->snappy) == TIDE_OK);
    must(tide_push_encode(&in->builder, TIDE_SLICE("anonymous"), 0, &in->push) == TIDE_OK);
    must(tide_write_scanner_new(&tide_write_limits_default, &in->scanner) == TIDE_OK);
    in->arena = tide_arena_new(0);
    must(in->arena != NULL);
}

/* ---- The steps ---- */

static void scan(struct input *in, enum tide_write_version version, bool hash, bool labels)
{
    const struct tide_buf *body = version == TIDE_WRITE_V1 ? &in->v1 : &in->v2;
    struct tide_write_item item;
    enum tide_err err = tide_write_scanner_start(in->scanner, version, tide_buf_view(body), NULL);

    while (err == TIDE_OK && (err = tide_write_next(in->scanner, &item, NULL)) == TIDE_OK) {
        in->sink += item.samples[0].bits;
        if (hash)
            in->sink += tide_hash128(item.wire_labels, 1).lo;
        if (labels) {
            struct tide_labels set;

            must(tide_write_labels(in->scanner, &item, &set, NULL) == TIDE_OK);
            in->sink += tide_labels_identity(TIDE_SLICE("anonymous"), set, 1).lo;
        }
    }
    must(err == TIDE_END);
}

static void scan_v1(struct input *in)
{
    scan(in, TIDE_WRITE_V1, false, false);
}

static void scan_v1_hash(struct input *in)
{
    scan(in, TIDE_WRITE_V1, true, false);
}

static void scan_v1_labels(struct input *in)
{
    scan(in, TIDE_WRITE_V1, false, true);
}

static void scan_v2_labels(struct input *in)
{
    scan(in, TIDE_WRITE_V2, false, true);
}

static void uncompress(struct input *in)
{
    static struct tide_buf out;

    out.len = 0;
    must(tide_write_decompress(TIDE_ENCODING_SNAPPY, tide_buf_view(&in->snappy), 64u << 20, &out,
                               NULL) == TIDE_OK);
}

static void push_build(struct input *in)
{
    static struct tide_buf out;

    tide_push_builder_reset(&in->builder);
    for (uint32_t i = 0; i < SERIES; i++)
        tide_push_add_sample(&in->builder, i, 1700000000000 + (i / 100) * 37, i);
    out.len = 0;
    must(tide_push_encode(&in->builder, TIDE_SLICE("anonymous"), 0, &out) == TIDE_OK);
}

static void push_decode(struct input *in)
{
    struct tide_push push;

    tide_arena_reset(in->arena);
    must(tide_push_decode(tide_buf_view(&in->push), in->arena, &push) == TIDE_OK);
    in->sink += push.bits[push.sample_count - 1];
}

static int order(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(const char *name, void (*step)(struct input *), struct input *in)
{
    double ns[RUNS];

    step(in); /* Warm. */
    for (int run = 0; run < RUNS; run++) {
        int64_t start = tide_clock_mono_ns();

        for (int i = 0; i < ROUNDS; i++)
            step(in);
        ns[run] = (double)(tide_clock_mono_ns() - start) / ROUNDS / SERIES;
    }
    qsort(ns, RUNS, sizeof(ns[0]), order);
    printf("{\"bench\":\"%s\",\"unit\":\"ns/sample\",\"median\":%.1f,\"min\":%.1f,\"runs\":%d}\n",
           name, ns[RUNS / 2], ns[0], RUNS);
}

int main(void)
{
    static struct input in;

    make_input(&in);
    printf("{\"bench\":\"model\",\"series\":%d,\"v1_bytes\":%zu,\"v2_bytes\":%zu,"
           "\"snappy_bytes\":%zu,\"push_bytes\":%zu}\n",
           SERIES, in.v1.len, in.v2.len, in.snappy.len, in.push.len);
    measure("snappy_uncompress", uncompress, &in);
    measure("scan_v1", scan_v1, &in);
    measure("scan_v1_xxh3_of_wire_labels", scan_v1_hash, &in);
    measure("scan_v1_labels_identity", scan_v1_labels, &in);
    measure("scan_v2_labels_identity", scan_v2_labels, &in);
    measure("push_build_and_encode", push_build, &in);
    measure("push_decode", push_decode, &in);
    return in.sink == 1;
}
