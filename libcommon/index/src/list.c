/* Names, values and figures. */
#include "set_private.h"

/* A bit for each of count things; NULL when there is no memory. */
static uint8_t *bits_new(size_t count)
{
    return tide_mem_new(count / 8 + 1);
}

/* Sets the bit; whether it was not set before. */
static bool bit_take(uint8_t *bits, uint32_t i)
{
    uint8_t bit = (uint8_t)(1u << (i % 8));
    bool fresh = (bits[i / 8] & bit) == 0;

    bits[i / 8] |= bit;
    return fresh;
}

static void all_names(const struct tide_index *index, tide_string_sink sink, void *context)
{
    for (uint32_t id = 0; id < index->symbols.name_count; id++) {
        const struct tide__name *name = tide__name_at(&index->symbols, id);

        if (name->live_series > 0 && !sink(context, name->text))
            return;
    }
}

/* Names of some series: series share shapes, so few shapes are looked into. */
static enum tide_err names_of(const struct tide_index *index, const struct tide_index_refs *refs,
                              tide_string_sink sink, void *context)
{
    uint8_t *shapes = bits_new(index->symbols.shape_count);
    uint8_t *names = bits_new(index->symbols.name_count);
    bool go_on = true;
    enum tide_err err = shapes == NULL || names == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;

    for (size_t i = 0; err == TIDE_OK && i < refs->count && go_on; i++) {
        struct tide__label_list list = tide__label_list(index, refs->refs[i]);

        if (!bit_take(shapes, list.shape))
            continue;
        for (uint32_t k = 0; k < list.count && go_on; k++)
            if (bit_take(names, list.name_ids[k]))
                go_on = sink(context, tide__name_at(&index->symbols, list.name_ids[k])->text);
    }
    tide_mem_free(shapes);
    tide_mem_free(names);
    return err;
}

enum tide_err tide_index_label_names(const struct tide_index *index,
                                     const struct tide_matcher *matchers, size_t count,
                                     struct tide_query_limits *limits, tide_string_sink sink,
                                     void *context)
{
    struct tide_index_refs refs;
    enum tide_err err;

    if (count == 0) {
        all_names(index, sink, context);
        return TIDE_OK;
    }
    err = tide_index_select(index, matchers, count, limits, &refs);
    if (err != TIDE_OK)
        return err;
    err = names_of(index, &refs, sink, context);
    tide_index_refs_deinit(&refs, limits);
    return err;
}

static void all_values(const struct tide_index *index, const struct tide__name *name,
                       tide_string_sink sink, void *context)
{
    for (uint32_t id = 0; id < name->value_count; id++)
        if (tide__value_at(name, id)->postings != 0 &&
            !sink(context, tide__value_text(&index->symbols, name, id)))
            return;
}

static enum tide_err values_of(const struct tide_index *index, const struct tide_index_refs *refs,
                               uint32_t name_id, tide_string_sink sink, void *context)
{
    const struct tide__name *name = tide__name_at(&index->symbols, name_id);
    uint8_t *seen = bits_new(name->value_count);
    bool go_on = true;

    if (seen == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < refs->count && go_on; i++) {
        uint32_t id = tide_index_value_id(index, refs->refs[i], name_id);

        if (id != TIDE_INDEX_NONE && bit_take(seen, id))
            go_on = sink(context, tide__value_text(&index->symbols, name, id));
    }
    tide_mem_free(seen);
    return TIDE_OK;
}

enum tide_err tide_index_label_values(const struct tide_index *index, struct tide_slice name,
                                      const struct tide_matcher *matchers, size_t count,
                                      struct tide_query_limits *limits, tide_string_sink sink,
                                      void *context)
{
    uint32_t name_id = tide__name_find(&index->symbols, name);
    struct tide_index_refs refs;
    enum tide_err err;

    if (name_id == TIDE_INDEX_NONE)
        return TIDE_OK;
    if (count == 0) {
        all_values(index, tide__name_at(&index->symbols, name_id), sink, context);
        return TIDE_OK;
    }
    err = tide_index_select(index, matchers, count, limits, &refs);
    if (err != TIDE_OK)
        return err;
    err = values_of(index, &refs, name_id, sink, context);
    tide_index_refs_deinit(&refs, limits);
    return err;
}

/* False when the sink has enough. */
static bool pairs_of(const struct tide_index *index, const struct tide__name *name,
                     tide_index_pair_sink sink, void *context)
{
    for (uint32_t id = 0; id < name->value_count; id++) {
        const struct tide__value *value = tide__value_at(name, id);
        uint32_t series = tide__postings_count(&index->postings, value->postings);

        if (series > 0 &&
            !sink(context, name->text, tide__text_at(&index->symbols, value->text), series))
            return false;
    }
    return true;
}

void tide_index_each_pair(const struct tide_index *index, struct tide_slice name,
                          tide_index_pair_sink sink, void *context)
{
    uint32_t only = name.len == 0 ? TIDE_INDEX_NONE : tide__name_find(&index->symbols, name);

    if (only != TIDE_INDEX_NONE)
        (void)pairs_of(index, tide__name_at(&index->symbols, only), sink, context);
    for (uint32_t id = 0; name.len == 0 && id < index->symbols.name_count; id++)
        if (!pairs_of(index, tide__name_at(&index->symbols, id), sink, context))
            return;
}

void tide_index_each_name(const struct tide_index *index, tide_index_name_sink sink, void *context)
{
    for (uint32_t id = 0; id < index->symbols.name_count; id++) {
        const struct tide__name *name = tide__name_at(&index->symbols, id);
        struct tide_index_name_stats stats = {.name = name->text,
                                              .values = name->live_values,
                                              .series = name->live_series,
                                              .bytes = name->live_bytes};

        if (stats.series > 0 && !sink(context, &stats))
            return;
    }
}

void tide_index_stats(const struct tide_index *index, struct tide_index_stats *out)
{
    struct tide_index_stats stats = {.series = index->series_count};

    for (uint32_t id = 0; id < index->symbols.name_count; id++) {
        const struct tide__name *name = tide__name_at(&index->symbols, id);

        stats.names += name->live_series > 0;
        stats.values += name->live_values;
    }
    stats.bytes_labels = tide__vec_bytes(&index->series, index->ref_count, TIDE__SERIES_SHIFT,
                                         sizeof(struct tide__series)) +
                         tide__vec_bytes(&index->labels, index->labels_used, TIDE__LABELS_SHIFT, 1);
    stats.bytes_table = tide__table_bytes(&index->series_table);
    stats.bytes_symbols = sizeof(*index) + tide__symbols_bytes(&index->symbols);
    stats.bytes_postings = tide__postings_bytes(&index->postings);
    stats.bytes_dead = index->dead_bytes + index->symbols.dead_bytes;
    *out = stats;
}
