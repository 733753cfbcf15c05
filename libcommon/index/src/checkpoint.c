/* Writing the series of one moment and reading them back. Layout: docs/format/index.md. A reader
 * relies on: names and values are written once each and numbered in order; shapes name known names,
 * in rising order of text; series stand in rising reference and name known shapes and values; no
 * name, value, shape or series stands twice; the CRC covers all before it. */
#include "index_private.h"

#include <roaring/roaring.h>
#include <stdlib.h>

#define MAGIC UINT32_C(0x58444954) /* "TIDX" */
#define VERSION 1u
#define PART_BYTES ((size_t)256 << 10)

/* ---- Writing ---- */

/* What one name's values are called in the file: their new id + 1, 0 when no series has them. */
struct renumbered {
    uint32_t *values;
    uint32_t value_count; /* When it was frozen. */
    uint32_t used;
    uint32_t id; /* Of the name itself, when used > 0. */
};

enum stage { STAGE_NUMBER, STAGE_DICTIONARY, STAGE_SHAPES, STAGE_SERIES, STAGE_DONE };

struct tide_index_frozen {
    const struct tide_index *index;
    roaring_bitmap_t *dead; /* NULL: none. */
    uint32_t ref_count;
    uint32_t series_count;
    uint32_t name_count;
    uint32_t shape_count;
    uint64_t seed;
    struct renumbered *names;
    uint32_t *shapes; /* As renumbered.values. */

    enum stage stage;
    uint32_t next; /* Of what the stage counts through. */
    uint32_t next_value;
    uint32_t last_ref; /* One past it. */
    uint32_t shapes_used;
    uint32_t names_used;
    uint32_t crc;
};

enum tide_err tide_index_freeze(const struct tide_index *index, struct tide_index_frozen **out)
{
    struct tide_index_frozen *frozen = tide_mem_new(sizeof(*frozen));

    if (frozen == NULL)
        return TIDE_ERR_NO_MEMORY;
    frozen->index = index;
    frozen->ref_count = index->ref_count;
    frozen->series_count = index->series_count;
    frozen->name_count = index->symbols.name_count;
    frozen->shape_count = index->symbols.shape_count;
    frozen->seed = index->symbols.seed;
    frozen->names = tide_mem_array(frozen->name_count, sizeof(*frozen->names));
    frozen->shapes = tide_mem_array(frozen->shape_count, sizeof(*frozen->shapes));
    if (index->dead != NULL)
        frozen->dead = roaring_bitmap_copy(index->dead);
    if (frozen->names == NULL || frozen->shapes == NULL ||
        (index->dead != NULL && frozen->dead == NULL)) {
        tide_index_frozen_free(frozen);
        return TIDE_ERR_NO_MEMORY;
    }
    for (uint32_t id = 0; id < frozen->name_count; id++)
        frozen->names[id].value_count = tide__name_at(&index->symbols, id)->value_count;
    *out = frozen;
    return TIDE_OK;
}

void tide_index_frozen_free(struct tide_index_frozen *frozen)
{
    if (frozen == NULL)
        return;
    for (uint32_t id = 0; frozen->names != NULL && id < frozen->name_count; id++)
        tide_mem_free(frozen->names[id].values);
    if (frozen->dead != NULL)
        roaring_bitmap_free(frozen->dead);
    tide_mem_free(frozen->names);
    tide_mem_free(frozen->shapes);
    tide_mem_free(frozen);
}

static bool is_dead(const struct tide_index_frozen *frozen, uint32_t ref)
{
    return frozen->dead != NULL && roaring_bitmap_contains(frozen->dead, ref);
}

/* Marks what the series use, then numbers it. */
static enum tide_err number(struct tide_index_frozen *frozen)
{
    for (uint32_t id = 0; id < frozen->name_count; id++) {
        struct renumbered *name = &frozen->names[id];

        name->values = tide_mem_array(name->value_count, sizeof(*name->values));
        if (name->values == NULL)
            return TIDE_ERR_NO_MEMORY;
    }
    for (uint32_t ref = 0; ref < frozen->ref_count; ref++) {
        struct tide__label_list list;

        if (is_dead(frozen, ref))
            continue;
        list = tide__label_list(frozen->index, ref);
        frozen->shapes[list.shape] = 1;
        for (uint32_t i = 0; i < list.count; i++)
            frozen->names[list.name_ids[i]].values[tide__uvarint_read(&list.values)] = 1;
    }
    for (uint32_t id = 0; id < frozen->name_count; id++) {
        struct renumbered *name = &frozen->names[id];

        for (uint32_t value = 0; value < name->value_count; value++)
            if (name->values[value] != 0)
                name->values[value] = ++name->used;
        if (name->used > 0)
            name->id = frozen->names_used++;
    }
    for (uint32_t shape = 0; shape < frozen->shape_count; shape++)
        if (frozen->shapes[shape] != 0)
            frozen->shapes[shape] = ++frozen->shapes_used;
    return TIDE_OK;
}

static void write_names(struct tide_index_frozen *frozen, struct tide_buf *buf, size_t end)
{
    const struct tide__symbols *symbols = &frozen->index->symbols;

    while (frozen->next < frozen->name_count && buf->len < end && !buf->failed) {
        const struct renumbered *name = &frozen->names[frozen->next];
        const struct tide__name *record = tide__name_at(symbols, frozen->next);

        if (name->used > 0 && frozen->next_value == 0) {
            tide_buf_bytes(buf, record->text);
            tide_buf_uvarint(buf, name->used);
        }
        while (frozen->next_value < name->value_count && buf->len < end && !buf->failed) {
            if (name->values[frozen->next_value] != 0)
                tide_buf_bytes(buf, tide__value_text(symbols, record, frozen->next_value));
            frozen->next_value++;
        }
        if (frozen->next_value == name->value_count) {
            frozen->next_value = 0;
            frozen->next++;
        }
    }
}

static void write_shapes(struct tide_index_frozen *frozen, struct tide_buf *buf, size_t end)
{
    const struct tide__symbols *symbols = &frozen->index->symbols;

    for (; frozen->next < frozen->shape_count && buf->len < end && !buf->failed; frozen->next++) {
        const struct tide__shape *shape = tide__shape_at(symbols, frozen->next);
        const uint32_t *ids = tide__shape_ids(symbols, shape);

        if (frozen->shapes[frozen->next] == 0)
            continue;
        tide_buf_uvarint(buf, shape->count);
        for (uint32_t i = 0; i < shape->count; i++)
            tide_buf_uvarint(buf, frozen->names[ids[i]].id);
    }
}

static void write_one_series(struct tide_index_frozen *frozen, struct tide_buf *buf, uint32_t ref)
{
    struct tide__label_list list = tide__label_list(frozen->index, ref);
    size_t bytes_max = 4 + ((size_t)list.count + 2) * TIDE__UVARINT32_BYTES_MAX;
    uint8_t *start = tide_buf_reserve(buf, bytes_max);
    uint8_t *at = start;
    uint32_t key = tide__series_at(frozen->index, ref)->key;

    if (start == NULL)
        return;
    at = tide__uvarint_write(at, ref - frozen->last_ref);
    for (unsigned shift = 0; shift < 32; shift += 8)
        *at++ = (uint8_t)(key >> shift);
    at = tide__uvarint_write(at, frozen->shapes[list.shape] - 1);
    for (uint32_t i = 0; i < list.count; i++) {
        const uint32_t *renumbered = frozen->names[list.name_ids[i]].values;

        at = tide__uvarint_write(at, renumbered[tide__uvarint_read(&list.values)] - 1);
    }
    buf->len += (size_t)(at - start);
    frozen->last_ref = ref + 1;
}

static void write_series(struct tide_index_frozen *frozen, struct tide_buf *buf, size_t end)
{
    for (; frozen->next < frozen->ref_count && buf->len < end && !buf->failed; frozen->next++)
        if (!is_dead(frozen, frozen->next))
            write_one_series(frozen, buf, frozen->next);
}

/* Goes to the next stage when this one has counted through. */
static void advance(struct tide_index_frozen *frozen, uint32_t count)
{
    if (frozen->next < count)
        return;
    frozen->next = 0;
    frozen->stage++;
}

static enum tide_err write_some(struct tide_index_frozen *frozen, struct tide_buf *buf, size_t end)
{
    enum tide_err err;

    switch (frozen->stage) {
    case STAGE_NUMBER:
        err = number(frozen);
        if (err != TIDE_OK)
            return err;
        tide_buf_u32(buf, MAGIC);
        tide_buf_byte(buf, VERSION);
        tide_buf_u64(buf, frozen->seed);
        tide_buf_uvarint(buf, frozen->names_used);
        frozen->stage = STAGE_DICTIONARY;
        break;
    case STAGE_DICTIONARY:
        write_names(frozen, buf, end);
        advance(frozen, frozen->name_count);
        if (frozen->stage == STAGE_SHAPES)
            tide_buf_uvarint(buf, frozen->shapes_used);
        break;
    case STAGE_SHAPES:
        write_shapes(frozen, buf, end);
        advance(frozen, frozen->shape_count);
        if (frozen->stage == STAGE_SERIES) {
            tide_buf_uvarint(buf, frozen->ref_count);
            tide_buf_uvarint(buf, frozen->series_count);
        }
        break;
    case STAGE_SERIES:
        write_series(frozen, buf, end);
        advance(frozen, frozen->ref_count);
        break;
    case STAGE_DONE:
        break;
    }
    return tide_buf_ok(buf);
}

enum tide_err tide_index_frozen_next(struct tide_index_frozen *frozen, struct tide_buf *buf)
{
    size_t start = buf->len;
    enum tide_err err = TIDE_OK;

    while (err == TIDE_OK && frozen->stage != STAGE_DONE && buf->len - start < PART_BYTES)
        err = write_some(frozen, buf, start + PART_BYTES);
    if (err != TIDE_OK)
        return err;
    frozen->crc = tide_crc32c(frozen->crc, (struct tide_slice){buf->ptr + start, buf->len - start});
    if (frozen->stage != STAGE_DONE)
        return TIDE_OK;
    tide_buf_u32(buf, frozen->crc);
    err = tide_buf_ok(buf);
    return err == TIDE_OK ? TIDE_END : err;
}

/* ---- Reading ---- */

struct restore {
    struct tide_reader *reader;
    struct tide_index *index;
    struct tide_diag *diag;
    uint32_t *ids; /* Space for one shape or series. */
    size_t ids_capacity;
};

static enum tide_err corrupt(const struct restore *r, const char *what)
{
    return tide_diag_err(r->diag, TIDE_ERR_CORRUPT, "index: %s", what);
}

static enum tide_err ids_grow(struct restore *r, size_t count)
{
    void *ids = r->ids;
    enum tide_err err = tide_mem_grow(&ids, &r->ids_capacity, count, sizeof(*r->ids));

    r->ids = ids;
    return err;
}

/* A number below the bound. */
static enum tide_err read_below(struct restore *r, uint64_t bound, const char *what, uint32_t *out)
{
    uint64_t v;

    if (tide_reader_uvarint(r->reader, &v) != TIDE_OK || v >= bound || v >= TIDE_INDEX_NONE)
        return corrupt(r, what);
    *out = (uint32_t)v;
    return TIDE_OK;
}

static enum tide_err read_count(struct restore *r, size_t item_bytes_min, const char *what,
                                size_t *out)
{
    if (tide_reader_count(r->reader, item_bytes_min, out) != TIDE_OK || *out >= TIDE_INDEX_NONE)
        return corrupt(r, what);
    return TIDE_OK;
}

static enum tide_err read_values(struct restore *r, struct tide__name *name)
{
    struct tide__symbols *symbols = &r->index->symbols;
    size_t count;
    enum tide_err err = read_count(r, 2, "a name's values are cut off", &count);

    for (size_t i = 0; err == TIDE_OK && i < count; i++) {
        struct tide_slice text;
        uint32_t id;

        if (tide_reader_bytes(r->reader, &text) != TIDE_OK)
            return corrupt(r, "a value is cut off");
        if (text.len == 0)
            return corrupt(r, "a value is empty");
        if (tide__value_find(symbols, name, text) != TIDE_INDEX_NONE)
            return corrupt(r, "a value stands twice");
        err = tide__value_add(symbols, name, text, &id);
    }
    return err;
}

static enum tide_err read_dictionary(struct restore *r)
{
    struct tide__symbols *symbols = &r->index->symbols;
    size_t count;
    enum tide_err err = read_count(r, 2, "the names are cut off", &count);

    /* 0 would be replaced by the next series, and no name found again. */
    if (err == TIDE_OK && count > 0 && symbols->seed == 0)
        return corrupt(r, "there is no seed");
    for (size_t i = 0; err == TIDE_OK && i < count; i++) {
        struct tide_slice text;
        uint32_t id;

        if (tide_reader_bytes(r->reader, &text) != TIDE_OK)
            return corrupt(r, "a name is cut off");
        if (tide__name_find(symbols, text) != TIDE_INDEX_NONE)
            return corrupt(r, "a name stands twice");
        err = tide__name_add(symbols, text, &id);
        if (err == TIDE_OK)
            err = read_values(r, tide__name_at(symbols, id));
    }
    return err;
}

static enum tide_err read_shape(struct restore *r)
{
    struct tide__symbols *symbols = &r->index->symbols;
    uint32_t id;
    size_t count;
    enum tide_err err = read_count(r, 1, "a shape is cut off", &count);

    if (err == TIDE_OK)
        err = ids_grow(r, count + 1);
    for (size_t i = 0; err == TIDE_OK && i < count; i++) {
        err = read_below(r, symbols->name_count, "a shape has an unknown name", &r->ids[i]);
        if (err == TIDE_OK && i > 0 &&
            tide_slice_cmp(tide__name_at(symbols, r->ids[i - 1])->text,
                           tide__name_at(symbols, r->ids[i])->text) >= 0)
            return corrupt(r, "the names of a shape are out of order");
    }
    if (err != TIDE_OK)
        return err;
    if (tide__shape_find(symbols, r->ids, count) != TIDE_INDEX_NONE)
        return corrupt(r, "a shape stands twice");
    return tide__shape_add(symbols, r->ids, count, &id);
}

/* Notes the references from the first up to the one before the end as having no series. */
static enum tide_err skip_refs(struct tide_index *index, uint32_t first, uint32_t end)
{
    if (first == end)
        return TIDE_OK;
    if (index->dead == NULL)
        index->dead = roaring_bitmap_create();
    if (index->dead == NULL)
        return TIDE_ERR_NO_MEMORY;
    roaring_bitmap_add_range(index->dead, first, end);
    return TIDE_OK;
}

static enum tide_err read_one_series(struct restore *r, uint32_t ref_count)
{
    struct tide_index *index = r->index;
    const struct tide__shape *shape;
    const uint32_t *name_ids;
    uint32_t gap = 0, ref, key, shape_id = 0;
    enum tide_err err =
        read_below(r, ref_count - index->ref_count, "a reference is too high", &gap);

    if (err != TIDE_OK)
        return err;
    if (tide_reader_u32(r->reader, &key) != TIDE_OK)
        return corrupt(r, "a series is cut off");
    err = read_below(r, index->symbols.shape_count, "a series has an unknown shape", &shape_id);
    if (err != TIDE_OK)
        return err;
    shape = tide__shape_at(&index->symbols, shape_id);
    name_ids = tide__shape_ids(&index->symbols, shape);
    err = ids_grow(r, (size_t)shape->count + 1);
    for (uint32_t i = 0; err == TIDE_OK && i < shape->count; i++)
        err = read_below(r, tide__name_at(&index->symbols, name_ids[i])->value_count,
                         "a series has an unknown value", &r->ids[i]);
    if (err != TIDE_OK)
        return err;
    if (tide__series_find(index, key, shape_id, r->ids) != TIDE_INDEX_NONE)
        return corrupt(r, "a series stands twice");
    ref = index->ref_count + gap;
    err = skip_refs(index, index->ref_count, ref);
    if (err != TIDE_OK)
        return err;
    return tide__series_append(index, ref, key, shape_id, r->ids);
}

static enum tide_err read_series(struct restore *r, uint32_t ref_max)
{
    struct tide_index *index = r->index;
    uint32_t ref_count = 0;
    size_t count = 0;
    enum tide_err err =
        read_below(r, (uint64_t)ref_max + 1, "there are too many references", &ref_count);

    if (err == TIDE_OK && ref_count > TIDE_INDEX_REF_MAX)
        return corrupt(r, "there are too many references");
    if (err == TIDE_OK)
        err = read_count(r, 6, "the series are cut off", &count);
    for (size_t i = 0; err == TIDE_OK && i < count; i++)
        err = read_one_series(r, ref_count);
    if (err != TIDE_OK)
        return err;
    err = skip_refs(index, index->ref_count, ref_count);
    index->ref_count = ref_count;
    return err;
}

static enum tide_err read_all(struct restore *r, uint32_t ref_max)
{
    struct tide_slice whole = r->reader->rest;
    uint32_t magic, crc;
    uint8_t version;
    size_t count;
    enum tide_err err;

    if (tide_reader_u32(r->reader, &magic) != TIDE_OK || magic != MAGIC)
        return corrupt(r, "this is no index");
    if (tide_reader_u8(r->reader, &version) != TIDE_OK || version != VERSION)
        return corrupt(r, "its version is not known");
    if (tide_reader_u64(r->reader, &r->index->symbols.seed) != TIDE_OK)
        return corrupt(r, "the seed is cut off");
    err = read_dictionary(r);
    if (err == TIDE_OK)
        err = read_count(r, 1, "the shapes are cut off", &count);
    for (size_t i = 0; err == TIDE_OK && i < count; i++)
        err = read_shape(r);
    if (err == TIDE_OK)
        err = read_series(r, ref_max);
    if (err != TIDE_OK)
        return err;
    whole.len -= r->reader->rest.len;
    if (tide_reader_u32(r->reader, &crc) != TIDE_OK || crc != tide_crc32c(0, whole))
        return corrupt(r, "the checksum does not fit");
    return TIDE_OK;
}

enum tide_err tide_index_restore(struct tide_reader *reader, uint32_t ref_max,
                                 struct tide_index **out, struct tide_diag *diag)
{
    struct restore r = {.reader = reader, .diag = diag};
    struct tide_reader before = *reader;
    enum tide_err err = tide_index_new(&r.index);

    if (err != TIDE_OK)
        return err;
    err = read_all(&r, ref_max);
    tide_mem_free(r.ids);
    if (err == TIDE_ERR_LIMIT)
        err = corrupt(&r, "it is bigger than an index can be");
    if (err != TIDE_OK) {
        *reader = before;
        tide_index_free(r.index);
        return err;
    }
    *out = r.index;
    return TIDE_OK;
}
