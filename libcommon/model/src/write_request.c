/* Walks a remote_write body. The hot path is one 1.0 series of one label run and one sample: the
 * run's record headers are stepped over, the sample is read, nothing else is touched. */
#include "tide/model/write_request.h"

#include "write_scanner_private.h"

#include "tide/base/mem.h"

const struct tide_write_limits tide_write_limits_default = {
    .decoded_bytes_max = 64u << 20,
    .series_max = 200000,
    .labels_per_series_max = 64,
    .label_name_bytes_max = 1024,
    .label_value_bytes_max = 4096,
    .symbols_max = 500000,
    .samples_max = 1000000,
};

/* Fields of the two requests. */
enum { V1_TIMESERIES = 1, V1_METADATA = 3, V2_SYMBOLS = 4, V2_TIMESERIES = 5 };

/* Room for samples that is there from the start: nearly all series bring one. */
#define SAMPLES_FIRST 64

enum tide_err tide_write_scanner_new(const struct tide_write_limits *limits,
                                     struct tide_write_scanner **out)
{
    struct tide_write_scanner *scanner = tide_mem_new(sizeof(*scanner));
    enum tide_err err;

    if (scanner == NULL)
        return TIDE_ERR_NO_MEMORY;
    scanner->limits = *limits;
    err = tide_mem_grow((void **)&scanner->samples, &scanner->sample_capacity, SAMPLES_FIRST,
                        sizeof(*scanner->samples));
    if (err != TIDE_OK) {
        tide_write_scanner_free(scanner);
        return err;
    }
    *out = scanner;
    return TIDE_OK;
}

void tide_write_scanner_free(struct tide_write_scanner *scanner)
{
    if (scanner == NULL)
        return;
    tide_mem_free(scanner->samples);
    tide_mem_free(scanner->pairs);
    tide_mem_free(scanner->exemplar_pairs);
    tide_mem_free(scanner->symbols);
    tide_mem_free(scanner->refs.refs);
    tide_mem_free(scanner->exemplar_refs.refs);
    tide__write_histogram_free(scanner->histogram);
    tide_mem_free(scanner);
}

/* ---- Start ---- */

static enum tide_err malformed(const struct tide_write_scanner *scanner, const struct wire *w,
                               struct tide_diag *diag)
{
    return tide_diag_err(diag, TIDE_ERR_INVALID, "malformed body at byte %zu: %s",
                         (size_t)(w->at - scanner->body.ptr), w->why);
}

static enum tide_err add_symbol(struct tide_write_scanner *scanner, struct tide_slice text,
                                struct tide_diag *diag)
{
    enum tide_err err;

    if (scanner->symbol_count >= scanner->limits.symbols_max)
        return tide_diag_err(diag, TIDE_ERR_TOO_LARGE, "more than %u symbols in one body",
                             scanner->limits.symbols_max);
    err = tide_mem_grow((void **)&scanner->symbols, &scanner->symbol_capacity,
                        scanner->symbol_count + 1, sizeof(*scanner->symbols));
    if (err != TIDE_OK)
        return err;
    scanner->symbols[scanner->symbol_count++] = (struct write_symbol){
        .ptr = text.ptr, .len = (uint32_t)text.len, .is_utf8 = tide_slice_is_utf8(text)};
    return TIDE_OK;
}

/* The symbols may stand anywhere among the series: one walk over the records' headers. */
static enum tide_err read_symbols(struct tide_write_scanner *scanner, struct tide_diag *diag)
{
    struct wire w = wire_of(scanner->body);

    while (w.at < w.end) {
        struct tide_slice text;
        uint32_t tag;
        enum tide_err err;

        if (!wire_tag(&w, &tag))
            return malformed(scanner, &w, diag);
        if (tag != WIRE_TAG(V2_SYMBOLS, WIRE_BYTES)) {
            if (!wire_skip(&w, tag))
                return malformed(scanner, &w, diag);
            continue;
        }
        if (!wire_bytes(&w, &text))
            return malformed(scanner, &w, diag);
        err = add_symbol(scanner, text, diag);
        if (err != TIDE_OK)
            return err;
    }
    if (scanner->symbol_count > 0 && scanner->symbols[0].len != 0)
        return tide_diag_err(diag, TIDE_ERR_INVALID,
                             "malformed body: the first symbol must be the empty string");
    return TIDE_OK;
}

enum tide_err tide_write_scanner_start(struct tide_write_scanner *scanner,
                                       enum tide_write_version version, struct tide_slice body,
                                       struct tide_diag *diag)
{
    scanner->version = version;
    scanner->body = body;
    scanner->wire = wire_of(body);
    scanner->series_index = 0;
    scanner->metadata_index = 0;
    scanner->sample_total = 0;
    scanner->symbol_count = 0;
    scanner->exemplar_cursor = (struct write_cursor){0};
    scanner->histogram_cursor = (struct write_cursor){0};
    if (body.len > scanner->limits.decoded_bytes_max || body.len > UINT32_MAX) {
        scanner->wire.end = scanner->wire.at;
        return tide_diag_err(diag, TIDE_ERR_TOO_LARGE,
                             "a body of %zu bytes, at most %zu are accepted", body.len,
                             scanner->limits.decoded_bytes_max);
    }
    if (version == TIDE_WRITE_V1)
        return TIDE_OK;
    return read_symbols(scanner, diag);
}

/* ---- One series ---- */

/* Reads a Sample record: value = 1, timestamp = 2; 2.0 also has start_timestamp = 3, not kept. */
static bool read_sample(struct wire *w, enum tide_write_version version, struct tide_sample *out)
{
    struct tide_slice record;
    struct wire m;
    uint64_t bits = 0;
    uint64_t ts = 0;

    if (!wire_bytes(w, &record))
        return false;
    m = wire_of(record);
    while (m.at < m.end) {
        uint32_t tag;
        bool ok = wire_tag(&m, &tag);

        if (ok && tag == WIRE_TAG(1, WIRE_64))
            ok = wire_fixed64(&m, &bits);
        else if (ok && tag == WIRE_TAG(2, WIRE_VARINT))
            ok = wire_uvarint(&m, &ts);
        else if (ok && tag == WIRE_TAG(3, WIRE_VARINT) && version == TIDE_WRITE_V2)
            ok = wire_uvarint(&m, &(uint64_t){0});
        else if (ok)
            ok = wire_other(&m, tag, version == TIDE_WRITE_V2 ? 3 : 2);
        if (!ok) {
            w->at = m.at;
            return wire_fail(w, m.why);
        }
    }
    out->bits = bits;
    out->ts_ms = (int64_t)ts;
    return true;
}

static enum tide_err count_sample(struct tide_write_scanner *scanner, struct tide_diag *diag)
{
    if (scanner->sample_total >= scanner->limits.samples_max)
        return tide_diag_err(diag, TIDE_ERR_TOO_LARGE, "more than %u samples in one body",
                             scanner->limits.samples_max);
    scanner->sample_total++;
    return TIDE_OK;
}

/* Makes room for one more sample. */
static enum tide_err grow_samples(struct tide_write_scanner *scanner, size_t count,
                                  struct tide_diag *diag)
{
    enum tide_err err = count_sample(scanner, diag);

    if (err != TIDE_OK)
        return err;
    if (count < scanner->sample_capacity)
        return TIDE_OK;
    return tide_mem_grow((void **)&scanner->samples, &scanner->sample_capacity, count + 1,
                         sizeof(*scanner->samples));
}

/* Steps over label records that stand one after the other. */
static bool skip_label_run(struct wire *m)
{
    const uint8_t *at = m->at;
    const uint8_t *end = m->end;

    do {
        uint64_t len;

        at++;
        if (at < end && *at < 0x80) {
            len = *at++;
        } else {
            m->at = at;
            if (!wire_uvarint(m, &len))
                return false;
            at = m->at;
        }
        if (len > (size_t)(end - at)) {
            m->at = at;
            return wire_fail(m, "a length goes past the end");
        }
        at += len;
    } while (at < end && *at == WIRE_TAG(V1_SERIES_LABELS, WIRE_BYTES));
    m->at = at;
    return true;
}

/* Walks one TimeSeries of a 1.0 body. False: m->why, or *err when it is not the body's fault. */
static bool scan_series_v1(struct tide_write_scanner *scanner, struct wire *m,
                           struct tide_write_item *out, enum tide_err *err, struct tide_diag *diag)
{
    const uint8_t *run = NULL;
    const uint8_t *run_end = NULL;
    bool one_run = true;
    size_t sample_count = 0;

    while (m->at < m->end) {
        struct tide_slice record;
        uint32_t tag;

        if (*m->at == WIRE_TAG(V1_SERIES_LABELS, WIRE_BYTES)) {
            one_run = run == NULL;
            run = m->at;
            if (!skip_label_run(m))
                return false;
            run_end = m->at;
            continue;
        }
        if (!wire_tag(m, &tag))
            return false;
        switch (tag) {
        case WIRE_TAG(V1_SERIES_SAMPLES, WIRE_BYTES):
            *err = grow_samples(scanner, sample_count, diag);
            if (*err != TIDE_OK || !read_sample(m, TIDE_WRITE_V1, &scanner->samples[sample_count]))
                return false;
            sample_count++;
            break;
        case WIRE_TAG(V1_SERIES_LABELS, WIRE_BYTES): /* The tag in more bytes than it needs. */
            one_run = false;
            run = m->at;
            if (!wire_bytes(m, &record))
                return false;
            break;
        case WIRE_TAG(V1_SERIES_EXEMPLARS, WIRE_BYTES):
            out->exemplar_count++;
            if (!wire_bytes(m, &record))
                return false;
            break;
        case WIRE_TAG(V1_SERIES_HISTOGRAMS, WIRE_BYTES):
            *err = count_sample(scanner, diag);
            if (*err != TIDE_OK || !wire_bytes(m, &record))
                return false;
            out->histogram_count++;
            break;
        default:
            if (!wire_other(m, tag, V1_SERIES_HISTOGRAMS))
                return false;
        }
    }
    if (one_run && run != NULL)
        out->wire_labels = (struct tide_slice){run, (size_t)(run_end - run)};
    out->samples = scanner->samples;
    out->sample_count = sample_count;
    return true;
}

/* The same for 2.0, where labels are references into the symbol table. */
static bool scan_series_v2(struct tide_write_scanner *scanner, struct wire *m,
                           struct tide_write_item *out, enum tide_err *err, struct tide_diag *diag)
{
    size_t keep_max = 2 * (size_t)scanner->limits.labels_per_series_max;

    scanner->refs.kept = 0;
    scanner->refs.count = 0;
    scanner->metadata_fault = NULL;
    while (m->at < m->end) {
        struct tide_slice record;
        struct wire inner;
        uint32_t tag;

        if (!wire_tag(m, &tag))
            return false;
        switch (tag) {
        case WIRE_TAG(V2_SERIES_LABELS_REFS, WIRE_BYTES):
        case WIRE_TAG(V2_SERIES_LABELS_REFS, WIRE_VARINT):
            if (!tide__write_refs_add(m, tag, &scanner->refs, keep_max, err))
                return false;
            break;
        case WIRE_TAG(V2_SERIES_SAMPLES, WIRE_BYTES):
            *err = grow_samples(scanner, out->sample_count, diag);
            if (*err != TIDE_OK ||
                !read_sample(m, TIDE_WRITE_V2, &scanner->samples[out->sample_count]))
                return false;
            out->sample_count++;
            break;
        case WIRE_TAG(V2_SERIES_EXEMPLARS, WIRE_BYTES):
            out->exemplar_count++;
            if (!wire_bytes(m, &record))
                return false;
            break;
        case WIRE_TAG(V2_SERIES_HISTOGRAMS, WIRE_BYTES):
            *err = count_sample(scanner, diag);
            if (*err != TIDE_OK || !wire_bytes(m, &record))
                return false;
            out->histogram_count++;
            break;
        case WIRE_TAG(V2_SERIES_METADATA, WIRE_BYTES):
            if (!wire_bytes(m, &record))
                return false;
            inner = wire_of(record);
            if (!tide__write_metadata_v2(scanner, &inner, &out->metadata)) {
                m->at = inner.at;
                return wire_fail(m, inner.why);
            }
            out->has_metadata = true;
            break;
        case WIRE_TAG(V2_SERIES_CREATED, WIRE_VARINT):
            if (!wire_skip(m, tag))
                return false;
            break;
        default:
            if (!wire_other(m, tag, V2_SERIES_CREATED))
                return false;
        }
    }
    out->samples = scanner->samples;
    if (out->has_metadata) {
        out->metadata.metric = tide__write_family_v2(scanner, out->metadata.kind);
        /* Prometheus sends the record always; one that says nothing is none. */
        if (scanner->metadata_fault != NULL || out->metadata.metric.len == 0 ||
            (out->metadata.kind == TIDE_KIND_UNKNOWN && out->metadata.help.len == 0 &&
             out->metadata.unit.len == 0))
            out->has_metadata = false;
    }
    return true;
}

/* ---- Items ---- */

static enum tide_err next_series(struct tide_write_scanner *scanner, struct tide_write_item *out,
                                 struct tide_diag *diag)
{
    struct tide_slice message;
    struct wire m;
    enum tide_err err = TIDE_OK;
    bool ok;

    if (scanner->series_index >= scanner->limits.series_max)
        return tide_diag_err(diag, TIDE_ERR_TOO_LARGE, "more than %u series in one body",
                             scanner->limits.series_max);
    if (!wire_bytes(&scanner->wire, &message))
        return malformed(scanner, &scanner->wire, diag);
    *out = (struct tide_write_item){
        .kind = TIDE_WRITE_SERIES, .index = scanner->series_index, .message = message};
    m = wire_of(message);
    ok = scanner->version == TIDE_WRITE_V1 ? scan_series_v1(scanner, &m, out, &err, diag)
                                           : scan_series_v2(scanner, &m, out, &err, diag);
    if (ok) {
        scanner->series_index++;
        return TIDE_OK;
    }
    if (err != TIDE_OK)
        return err;
    return tide_diag_err(diag, TIDE_ERR_INVALID, "malformed body at byte %zu, in series %u: %s",
                         (size_t)(m.at - scanner->body.ptr), scanner->series_index, m.why);
}

static enum tide_err next_metadata(struct tide_write_scanner *scanner, struct tide_write_item *out,
                                   struct tide_diag *diag)
{
    struct tide_slice message;
    struct wire m;
    const char *why = NULL;

    if (!wire_bytes(&scanner->wire, &message))
        return malformed(scanner, &scanner->wire, diag);
    *out = (struct tide_write_item){.kind = TIDE_WRITE_METADATA,
                                    .index = scanner->metadata_index,
                                    .message = message,
                                    .has_metadata = true};
    m = wire_of(message);
    if (!tide__write_metadata_v1(&scanner->limits, &m, &out->metadata, &why))
        return tide_diag_err(diag, TIDE_ERR_INVALID,
                             "malformed body at byte %zu, in metadata record %u: %s",
                             (size_t)(m.at - scanner->body.ptr), scanner->metadata_index, m.why);
    if (why != NULL)
        return tide_diag_err(diag, TIDE_ERR_INVALID, "metadata record %u: %s",
                             scanner->metadata_index, why);
    scanner->metadata_index++;
    return TIDE_OK;
}

enum tide_err tide_write_next(struct tide_write_scanner *scanner, struct tide_write_item *out,
                              struct tide_diag *diag)
{
    struct wire *w = &scanner->wire;
    bool v1 = scanner->version == TIDE_WRITE_V1;

    while (w->at < w->end) {
        uint32_t tag;

        if (!wire_tag(w, &tag))
            return malformed(scanner, w, diag);
        if (tag == WIRE_TAG(v1 ? V1_TIMESERIES : V2_TIMESERIES, WIRE_BYTES))
            return next_series(scanner, out, diag);
        if (v1 && tag == WIRE_TAG(V1_METADATA, WIRE_BYTES))
            return next_metadata(scanner, out, diag);
        if ((v1 && (WIRE_FIELD(tag) == V1_TIMESERIES || WIRE_FIELD(tag) == V1_METADATA)) ||
            (!v1 && (WIRE_FIELD(tag) == V2_TIMESERIES ||
                     (WIRE_FIELD(tag) == V2_SYMBOLS && tag != WIRE_TAG(V2_SYMBOLS, WIRE_BYTES))))) {
            w->why = "a field has the wrong wire type";
            return malformed(scanner, w, diag);
        }
        if (!wire_skip(w, tag))
            return malformed(scanner, w, diag);
    }
    return TIDE_END;
}
