/* Labels, exemplars and metadata of one remote_write record: read when asked for, checked fully. */
#include "labels_private.h"
#include "write_scanner_private.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

/* Most bytes of a label set, and of one name, that a message quotes. */
#define QUOTE_LABELS_BYTES_MAX 200
#define QUOTE_NAME_BYTES_MAX 64

/* ---- Records ---- */

/* Reads a Label: name = 1, value = 2. */
static bool read_label(struct wire *w, struct tide_label *out)
{
    struct tide_slice record;
    struct wire m;

    if (!wire_bytes(w, &record))
        return false;
    *out = (struct tide_label){0};
    m = wire_of(record);
    while (m.at < m.end) {
        uint32_t tag;
        bool ok = wire_tag(&m, &tag);

        if (ok && tag == WIRE_TAG(1, WIRE_BYTES))
            ok = wire_bytes(&m, &out->name);
        else if (ok && tag == WIRE_TAG(2, WIRE_BYTES))
            ok = wire_bytes(&m, &out->value);
        else if (ok)
            ok = wire_other(&m, tag, 2);
        if (!ok)
            return wire_fail(w, m.why);
    }
    return true;
}

static bool add_ref(struct write_refs *refs, uint64_t ref, size_t keep_max, enum tide_err *err)
{
    refs->count++;
    if (refs->kept >= keep_max)
        return true;
    if (refs->kept == refs->capacity) {
        *err =
            tide_mem_grow((void **)&refs->refs, &refs->capacity, refs->kept + 1, sizeof(uint32_t));
        if (*err != TIDE_OK)
            return false;
    }
    /* What is over 32 bits is over any symbol table too. */
    refs->refs[refs->kept++] = ref > UINT32_MAX ? UINT32_MAX : (uint32_t)ref;
    return true;
}

bool tide__write_refs_add(struct wire *w, uint32_t tag, struct write_refs *refs, size_t keep_max,
                          enum tide_err *err)
{
    struct tide_slice packed;
    struct wire m;
    uint64_t ref;

    if ((tag & 7) == WIRE_VARINT)
        return wire_uvarint(w, &ref) && add_ref(refs, ref, keep_max, err);
    if (!wire_bytes(w, &packed))
        return false;
    m = wire_of(packed);
    while (m.at < m.end) {
        if (!wire_uvarint(&m, &ref)) {
            w->at = m.at;
            return wire_fail(w, m.why);
        }
        if (!add_ref(refs, ref, keep_max, err))
            return false;
    }
    return true;
}

/* ---- Messages ---- */

/* Cuts text to bytes_max without parting a UTF-8 sequence. */
static struct tide_slice cut(struct tide_slice text, size_t bytes_max)
{
    if (text.len <= bytes_max)
        return text;
    text.len = bytes_max;
    while (text.len > 0 && (text.ptr[text.len] & 0xc0) == 0x80)
        text.len--;
    return text;
}

/* What a message about labels speaks of. */
struct subject {
    uint32_t series;
    const size_t *exemplar;    /* Its index, or NULL when the series itself is meant. */
    struct tide_labels so_far; /* Those read without fault. */
};

/* "series 3 {job="a"}: label "b" is repeated": text in front of and behind the quoted name; no name
 * is quoted when it is NULL. */
static enum tide_err bad_label(const struct subject *subject, struct tide_diag *diag,
                               const struct tide_slice *name, const char *what)
{
    struct tide_buf labels = {0};
    struct tide_buf text = {0};
    struct tide_slice shown;

    /* The first failure stays; putting others into words would only cost the reader's time, and a
     * body may hold many thousands. */
    if (diag == NULL || diag->text[0] != '\0')
        return TIDE_ERR_INVALID;
    tide_labels_print(subject->so_far, &labels);
    shown = cut(tide_buf_view(&labels), QUOTE_LABELS_BYTES_MAX);
    tide_buf_printf(&text, "series %u ", subject->series);
    tide_buf_slice(&text, shown);
    if (shown.len < labels.len)
        tide_buf_str(&text, "...");
    if (subject->exemplar != NULL)
        tide_buf_printf(&text, ", exemplar %zu", *subject->exemplar);
    tide_buf_str(&text, ": ");
    if (name != NULL) {
        tide_buf_str(&text, "label ");
        tide__print_quoted(&text, cut(*name, QUOTE_NAME_BYTES_MAX));
        tide_buf_byte(&text, ' ');
    }
    tide_buf_str(&text, what);
    if (tide_buf_ok(&text) == TIDE_OK)
        tide_diag_set(diag, "%.*s", TIDE_SLICE_ARGS(tide_buf_view(&text)));
    else
        tide_diag_set(diag, "series %u: %s", subject->series, what);
    tide_buf_deinit(&labels);
    tide_buf_deinit(&text);
    return TIDE_ERR_INVALID;
}

/* ---- Label sets ---- */

/* Where the next label comes from: records of a 1.0 message, or references of 2.0. */
struct label_source {
    struct wire wire; /* 1.0: the rest of the message. */
    const struct tide_write_scanner *scanner;
    const struct write_refs *refs; /* 2.0: the references, NULL for 1.0. */
    size_t next;
    bool is_ascii;     /* 1.0: all bytes are, so that no text needs a look of its own. */
    bool name_is_utf8; /* Of the label just read. */
    bool value_is_utf8;
};

/* Eight bytes a step: one look at a whole run of records is cheaper than one at each text. */
static bool is_ascii(struct tide_slice s)
{
    uint64_t bits = 0;
    size_t i = 0;

    for (; s.len - i >= 8; i += 8)
        bits |= wire_load64(s.ptr + i);
    for (; i < s.len; i++)
        bits |= s.ptr[i];
    return (bits & 0x8080808080808080U) == 0;
}

/* The next label as it stands. TIDE_END after the last; TIDE_ERR_INVALID with *why. */
static enum tide_err source_next(struct label_source *source, struct tide_label *out,
                                 const char **why)
{
    const struct tide_write_scanner *scanner = source->scanner;

    if (source->refs == NULL) {
        struct wire *w = &source->wire;

        while (w->at < w->end) {
            uint32_t tag;

            if (!wire_tag(w, &tag) ||
                (tag == WIRE_TAG(V1_SERIES_LABELS, WIRE_BYTES) ? !read_label(w, out)
                                                               : !wire_skip(w, tag))) {
                *why = w->why;
                return TIDE_ERR_INVALID;
            }
            if (tag == WIRE_TAG(V1_SERIES_LABELS, WIRE_BYTES)) {
                source->name_is_utf8 = source->is_ascii || tide_slice_is_utf8(out->name);
                source->value_is_utf8 = source->is_ascii || tide_slice_is_utf8(out->value);
                return TIDE_OK;
            }
        }
        return TIDE_END;
    }
    if (source->refs->count % 2 != 0) {
        *why = "has an odd number of label references";
        return TIDE_ERR_INVALID;
    }
    if (source->refs->count > source->refs->kept) {
        *why = "has more labels than are accepted";
        return TIDE_ERR_INVALID;
    }
    if (source->next == source->refs->count)
        return TIDE_END;
    for (size_t i = 0; i < 2; i++) {
        uint32_t ref = source->refs->refs[source->next + i];
        const struct write_symbol *symbol;

        if (ref >= scanner->symbol_count) {
            *why = "has a label reference past the end of the symbol table";
            return TIDE_ERR_INVALID;
        }
        symbol = &scanner->symbols[ref];
        if (i == 0) {
            out->name = (struct tide_slice){symbol->ptr, symbol->len};
            source->name_is_utf8 = symbol->is_utf8;
        } else {
            out->value = (struct tide_slice){symbol->ptr, symbol->len};
            source->value_is_utf8 = symbol->is_utf8;
        }
    }
    source->next += 2;
    return TIDE_OK;
}

/* What is wrong with one label by itself, NULL when nothing is. */
static const char *label_fault(const struct label_source *source, struct tide_label label)
{
    const struct tide_write_limits *limits = &source->scanner->limits;

    if (label.name.len > limits->label_name_bytes_max)
        return "has a name that is too long";
    if (!source->name_is_utf8)
        return "has a name that is not valid UTF-8";
    if (label.value.len > limits->label_value_bytes_max)
        return "has a value that is too long";
    if (!source->value_is_utf8)
        return "has a value that is not valid UTF-8";
    return NULL;
}

/* The same, with its place behind the one before it. */
static const char *series_label_fault(const struct label_source *source, struct tide_labels before,
                                      struct tide_label label)
{
    const char *fault = label_fault(source, label);
    int order;

    if (fault != NULL)
        return fault;
    if (label.value.len == 0)
        return "has an empty value";
    if (before.count == 0)
        return NULL;
    order = tide_slice_cmp(before.pairs[before.count - 1].name, label.name);
    if (order == 0)
        return "is repeated";
    return order > 0 ? "is out of order: labels must be sorted by name" : NULL;
}

enum tide_err tide_write_labels(struct tide_write_scanner *scanner,
                                const struct tide_write_item *item, struct tide_labels *out,
                                struct tide_diag *diag)
{
    bool v1 = scanner->version == TIDE_WRITE_V1;
    struct label_source source = {
        .wire = wire_of(item->wire_labels.len > 0 ? item->wire_labels : item->message),
        .scanner = scanner,
        .refs = v1 ? NULL : &scanner->refs,
        .is_ascii = v1 && item->wire_labels.len > 0 && is_ascii(item->wire_labels)};
    struct subject subject = {.series = item->index};
    struct tide_labels *pairs = &subject.so_far;
    struct tide_slice metric = TIDE_SLICE(TIDE_LABEL_METRIC);
    bool named = false;

    for (;;) {
        struct tide_label label;
        const char *fault = NULL;
        enum tide_err err = source_next(&source, &label, &fault);

        if (err == TIDE_END)
            break;
        if (err != TIDE_OK)
            return bad_label(&subject, diag, NULL, fault);
        if (label.name.len == 0)
            return bad_label(&subject, diag, NULL, "a label has an empty name");
        fault = series_label_fault(&source, *pairs, label);
        if (fault != NULL)
            return bad_label(&subject, diag, &label.name, fault);
        if (pairs->count >= scanner->limits.labels_per_series_max)
            return bad_label(&subject, diag, NULL, "has more labels than are accepted");
        if (pairs->count == scanner->pair_capacity) {
            err = tide_mem_grow((void **)&scanner->pairs, &scanner->pair_capacity, pairs->count + 1,
                                sizeof(*scanner->pairs));
            if (err != TIDE_OK)
                return err;
        }
        scanner->pairs[pairs->count++] = label;
        pairs->pairs = scanner->pairs;
        named = named || tide_slice_eq(label.name, metric);
    }
    if (!named)
        return bad_label(&subject, diag, NULL, "has no metric name (label __name__)");
    if (!v1 && scanner->metadata_fault != NULL)
        return bad_label(&subject, diag, NULL, scanner->metadata_fault);
    *out = *pairs;
    return TIDE_OK;
}

/* ---- Exemplars ---- */

static size_t utf8_chars(struct tide_slice text)
{
    size_t chars = 0;

    for (size_t i = 0; i < text.len; i++)
        chars += (text.ptr[i] & 0xc0) != 0x80;
    return chars;
}

/* Labels of an exemplar: any order, sorted here; an empty value is no label. */
static enum tide_err exemplar_labels(struct tide_write_scanner *scanner,
                                     struct label_source *source, struct subject *subject,
                                     struct tide_labels *out, struct tide_diag *diag)
{
    size_t count = 0;
    size_t chars = 0;

    for (;;) {
        struct tide_label label;
        const char *fault = NULL;
        enum tide_err err = source_next(source, &label, &fault);

        if (err == TIDE_END)
            break;
        if (err != TIDE_OK)
            return bad_label(subject, diag, NULL, fault);
        if (label.name.len == 0)
            return bad_label(subject, diag, NULL, "a label has an empty name");
        fault = label_fault(source, label);
        if (fault != NULL)
            return bad_label(subject, diag, &label.name, fault);
        if (label.value.len == 0)
            continue;
        chars += utf8_chars(label.name) + utf8_chars(label.value);
        if (chars > EXEMPLAR_CHARS_MAX)
            return bad_label(subject, diag, NULL, "labels are longer than 128 characters");
        err = tide_mem_grow((void **)&scanner->exemplar_pairs, &scanner->exemplar_pair_capacity,
                            count + 1, sizeof(*scanner->exemplar_pairs));
        if (err != TIDE_OK)
            return err;
        scanner->exemplar_pairs[count++] = label;
    }
    tide_labels_sort(scanner->exemplar_pairs, count);
    for (size_t i = 1; i < count; i++)
        if (tide_slice_eq(scanner->exemplar_pairs[i - 1].name, scanner->exemplar_pairs[i].name))
            return bad_label(subject, diag, &scanner->exemplar_pairs[i].name, "is repeated");
    *out = (struct tide_labels){scanner->exemplar_pairs, count};
    return TIDE_OK;
}

struct tide_slice tide__write_record(struct write_cursor *cursor,
                                     const struct tide_write_item *item, uint32_t wanted, size_t k)
{
    struct wire w = wire_of(item->message);
    struct tide_slice record = {0};
    size_t at = 0;

    if (cursor->message == item->message.ptr && cursor->next <= k) {
        w.at = cursor->at;
        at = cursor->next;
    }
    while (at <= k) {
        uint32_t tag;
        bool ok = wire_tag(&w, &tag);

        ok = ok && (tag == wanted ? wire_bytes(&w, &record) : wire_skip(&w, tag));
        TIDE_ASSERT(ok); /* tide_write_next() walked the same bytes. */
        at += tag == wanted;
    }
    *cursor = (struct write_cursor){item->message.ptr, w.at, at};
    return record;
}

enum tide_err tide_write_exemplar(struct tide_write_scanner *scanner,
                                  const struct tide_write_item *item, size_t k,
                                  struct tide_exemplar *out, struct tide_diag *diag)
{
    bool v1 = scanner->version == TIDE_WRITE_V1;
    struct tide_slice record =
        tide__write_record(&scanner->exemplar_cursor, item,
                           WIRE_TAG(v1 ? V1_SERIES_EXEMPLARS : V2_SERIES_EXEMPLARS, WIRE_BYTES), k);
    struct wire w = wire_of(record);
    struct subject subject = {.series = item->index, .exemplar = &k};
    struct label_source source = {
        .wire = w, .scanner = scanner, .refs = v1 ? NULL : &scanner->exemplar_refs};
    size_t keep_max = 2 * (size_t)scanner->limits.labels_per_series_max;
    struct tide_exemplar exemplar = {0};
    uint64_t ts = 0;
    enum tide_err err = TIDE_OK;

    scanner->exemplar_refs.kept = 0;
    scanner->exemplar_refs.count = 0;
    while (w.at < w.end) {
        uint32_t tag;
        bool ok = wire_tag(&w, &tag);

        if (ok && tag == WIRE_TAG(2, WIRE_64))
            ok = wire_fixed64(&w, &exemplar.bits);
        else if (ok && tag == WIRE_TAG(3, WIRE_VARINT))
            ok = wire_uvarint(&w, &ts);
        else if (ok && v1 && tag == WIRE_TAG(1, WIRE_BYTES))
            ok = wire_skip(&w, tag); /* Read below. */
        else if (ok && !v1 && WIRE_FIELD(tag) == 1 &&
                 ((tag & 7) == WIRE_BYTES || (tag & 7) == WIRE_VARINT))
            ok = tide__write_refs_add(&w, tag, &scanner->exemplar_refs, keep_max, &err);
        else if (ok)
            ok = wire_other(&w, tag, 3);
        if (err != TIDE_OK)
            return err;
        if (!ok)
            return bad_label(&subject, diag, NULL, w.why);
    }
    err = exemplar_labels(scanner, &source, &subject, &exemplar.labels, diag);
    if (err != TIDE_OK)
        return err;
    exemplar.ts_ms = (int64_t)ts;
    *out = exemplar;
    return TIDE_OK;
}

/* ---- Metadata ---- */

static enum tide_metric_kind metric_kind(uint64_t wire)
{
    /* The numbers of MetricType are those of enum tide_metric_kind; an open enum, so that a newer
     * sender's kind is unknown and no error. */
    return wire < TIDE_KIND_COUNT ? (enum tide_metric_kind)wire : TIDE_KIND_UNKNOWN;
}

bool tide__write_metadata_v1(const struct tide_write_limits *limits, struct wire *w,
                             struct tide_metadata *out, const char **why)
{
    uint64_t kind = 0;

    while (w->at < w->end) {
        uint32_t tag;
        bool ok = wire_tag(w, &tag);

        if (ok && tag == WIRE_TAG(1, WIRE_VARINT))
            ok = wire_uvarint(w, &kind);
        else if (ok && tag == WIRE_TAG(2, WIRE_BYTES))
            ok = wire_bytes(w, &out->metric);
        else if (ok && tag == WIRE_TAG(4, WIRE_BYTES))
            ok = wire_bytes(w, &out->help);
        else if (ok && tag == WIRE_TAG(5, WIRE_BYTES))
            ok = wire_bytes(w, &out->unit);
        else if (ok && WIRE_FIELD(tag) == 3) /* Not defined. */
            ok = wire_skip(w, tag);
        else if (ok)
            ok = wire_other(w, tag, 5);
        if (!ok)
            return false;
    }
    out->kind = metric_kind(kind);
    if (out->metric.len == 0)
        *why = "no metric name";
    else if (out->metric.len > limits->label_value_bytes_max)
        *why = "the metric name is too long";
    else if (!tide_slice_is_utf8(out->metric) || !tide_slice_is_utf8(out->help) ||
             !tide_slice_is_utf8(out->unit))
        *why = "text that is not valid UTF-8";
    out->help = cut(out->help, limits->label_value_bytes_max);
    out->unit = cut(out->unit, limits->label_value_bytes_max);
    return true;
}

/* A symbol as metadata text, cut to the limit. */
static struct tide_slice metadata_symbol(struct tide_write_scanner *scanner, uint64_t ref)
{
    const struct write_symbol *symbol;

    if (ref == 0)
        return (struct tide_slice){0};
    if (ref >= scanner->symbol_count) {
        scanner->metadata_fault = "has a metadata reference past the end of the symbol table";
        return (struct tide_slice){0};
    }
    symbol = &scanner->symbols[ref];
    if (!symbol->is_utf8) {
        scanner->metadata_fault = "has metadata that is not valid UTF-8";
        return (struct tide_slice){0};
    }
    return cut((struct tide_slice){symbol->ptr, symbol->len},
               scanner->limits.label_value_bytes_max);
}

bool tide__write_metadata_v2(struct tide_write_scanner *scanner, struct wire *w,
                             struct tide_metadata *out)
{
    uint64_t v;

    while (w->at < w->end) {
        uint32_t tag;
        bool ok = wire_tag(w, &tag);

        if (ok && (tag == WIRE_TAG(1, WIRE_VARINT) || tag == WIRE_TAG(3, WIRE_VARINT) ||
                   tag == WIRE_TAG(4, WIRE_VARINT))) {
            ok = wire_uvarint(w, &v);
            if (ok && WIRE_FIELD(tag) == 1)
                out->kind = metric_kind(v);
            else if (ok && WIRE_FIELD(tag) == 3)
                out->help = metadata_symbol(scanner, v);
            else if (ok)
                out->unit = metadata_symbol(scanner, v);
        } else if (ok && WIRE_FIELD(tag) == 2) { /* Not defined. */
            ok = wire_skip(w, tag);
        } else if (ok) {
            ok = wire_other(w, tag, 4);
        }
        if (!ok)
            return false;
    }
    return true;
}

struct tide_slice tide__write_family_v2(const struct tide_write_scanner *scanner,
                                        enum tide_metric_kind kind)
{
    /* Series of one histogram or summary share a family whose name has no such ending. */
    static const struct {
        const char *ending;
        bool histogram, summary, gauge_histogram;
    } endings[] = {{"_bucket", true, false, true},
                   {"_count", true, true, false},
                   {"_sum", true, true, false},
                   {"_gcount", false, false, true},
                   {"_gsum", false, false, true}};
    const struct write_refs *refs = &scanner->refs;
    struct tide_slice metric = {0};

    for (size_t i = 0; i + 1 < refs->kept; i += 2) {
        const struct write_symbol *name;
        const struct write_symbol *value;

        if (refs->refs[i] >= scanner->symbol_count || refs->refs[i + 1] >= scanner->symbol_count)
            return metric;
        name = &scanner->symbols[refs->refs[i]];
        value = &scanner->symbols[refs->refs[i + 1]];
        if (tide_slice_eq((struct tide_slice){name->ptr, name->len},
                          TIDE_SLICE(TIDE_LABEL_METRIC)) &&
            value->is_utf8)
            metric = (struct tide_slice){value->ptr, value->len};
    }
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        struct tide_slice ending = tide_slice_str(endings[i].ending);
        bool applies = (kind == TIDE_KIND_HISTOGRAM && endings[i].histogram) ||
                       (kind == TIDE_KIND_SUMMARY && endings[i].summary) ||
                       (kind == TIDE_KIND_GAUGE_HISTOGRAM && endings[i].gauge_histogram);

        if (applies && metric.len > ending.len && tide_slice_ends(metric, ending)) {
            metric.len -= ending.len;
            break;
        }
    }
    return metric;
}
