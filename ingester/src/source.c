#include "ingester_private.h"

#include "tide/base/mem.h"

static enum tide_err failed(struct tide_diag *diag, enum tide_err err, const char *what)
{
    return tide_diag_err(diag, err, "%s: %s", what,
                         err == TIDE_ERR_LIMIT ? "more series or memory than a query may use "
                                                 "(query.series_max, query.memory_bytes_max)"
                                               : tide_err_text(err));
}

/* Implements tide_source.select: the shards in order of their number, so in order of identity,
 * since a shard is the top bits of that. */
static enum tide_err source_select(void *context, const struct tide_select *select,
                                   struct tide_query_limits *limits, struct tide_series_set **out,
                                   struct tide_diag *diag)
{
    struct tide_ingester *ingester = context;
    const uint32_t shard_count = ingester->options.shard_count;
    struct tide_series_set **parts = tide_mem_array(shard_count, sizeof(struct tide_series_set *));
    size_t part_count = 0;
    enum tide_err err = parts == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;

    for (uint32_t i = 0; err == TIDE_OK && i < shard_count; i++) {
        struct tenant *tenant = tide__shard_tenant(&ingester->shards[i], select->tenant);

        if (tenant == NULL)
            continue;
        err = tide_head_select(tenant->head, select, limits, &parts[part_count]);
        if (err == TIDE_OK)
            part_count++;
    }
    if (err == TIDE_OK)
        return tide__series_set_join(parts, part_count, out);
    for (size_t i = 0; i < part_count; i++)
        parts[i]->ops->free(parts[i]);
    tide_mem_free(parts);
    return failed(diag, err, "selecting series");
}

static enum tide_err source_label_names(void *context, const struct tide_select *select,
                                        struct tide_query_limits *limits, tide_string_sink sink,
                                        void *sink_context, struct tide_diag *diag)
{
    struct tide_ingester *ingester = context;

    for (uint32_t i = 0; i < ingester->options.shard_count; i++) {
        struct tenant *tenant = tide__shard_tenant(&ingester->shards[i], select->tenant);
        enum tide_err err = TIDE_OK;

        if (tenant != NULL)
            err = tide_head_label_names(tenant->head, select, limits, sink, sink_context);
        if (err != TIDE_OK)
            return failed(diag, err, "reading label names");
    }
    return TIDE_OK;
}

static enum tide_err source_label_values(void *context, const struct tide_select *select,
                                         struct tide_slice name, struct tide_query_limits *limits,
                                         tide_string_sink sink, void *sink_context,
                                         struct tide_diag *diag)
{
    struct tide_ingester *ingester = context;

    for (uint32_t i = 0; i < ingester->options.shard_count; i++) {
        struct tenant *tenant = tide__shard_tenant(&ingester->shards[i], select->tenant);
        enum tide_err err = TIDE_OK;

        if (tenant != NULL)
            err = tide_head_label_values(tenant->head, select, name, limits, sink, sink_context);
        if (err != TIDE_OK)
            return failed(diag, err, "reading label values");
    }
    return TIDE_OK;
}

static enum tide_err source_metadata(void *context, struct tide_slice tenant_name,
                                     struct tide_slice metric, tide_metadata_sink sink,
                                     void *sink_context)
{
    struct tide_ingester *ingester = context;

    for (uint32_t i = 0; i < ingester->options.shard_count; i++) {
        struct tenant *tenant = tide__shard_tenant(&ingester->shards[i], tenant_name);
        enum tide_err err = TIDE_OK;

        if (tenant != NULL)
            err = tide_metadata_store_each(tenant->metadata, metric, sink, sink_context);
        if (err != TIDE_OK)
            return err;
    }
    return TIDE_OK;
}

static enum tide_err source_stats(void *context, struct tide_slice tenant_name,
                                  struct tide_source_stats *out)
{
    struct tide_ingester *ingester = context;
    struct tide_source_stats sum = {.min_ms = INT64_MAX, .max_ms = INT64_MIN};

    for (uint32_t i = 0; i < ingester->options.shard_count; i++) {
        struct tenant *tenant = tide__shard_tenant(&ingester->shards[i], tenant_name);
        struct tide_head_stats stats;

        if (tenant == NULL)
            continue;
        tide_head_stats(tenant->head, &stats);
        sum.series += stats.series;
        sum.samples += stats.samples;
        sum.chunks += stats.chunks;
        sum.label_pairs += stats.label_pairs;
        sum.min_ms = stats.min_ms < sum.min_ms ? stats.min_ms : sum.min_ms;
        sum.max_ms = stats.max_ms > sum.max_ms ? stats.max_ms : sum.max_ms;
    }
    *out = sum;
    return TIDE_OK;
}

static enum tide_err source_cardinality(void *context, struct tide_slice tenant_name,
                                        enum tide_cardinality what, tide_cardinality_sink sink,
                                        void *sink_context)
{
    struct tide_ingester *ingester = context;

    for (uint32_t i = 0; i < ingester->options.shard_count; i++) {
        struct tenant *tenant = tide__shard_tenant(&ingester->shards[i], tenant_name);
        enum tide_err err = TIDE_OK;

        if (tenant != NULL)
            err = tide_head_cardinality(tenant->head, (enum tide_head_cardinality)what, sink,
                                        sink_context);
        if (err != TIDE_OK)
            return err;
    }
    return TIDE_OK;
}

/* Hands out the exemplars of one shard, those of each matching series in one call. */
static enum tide_err shard_exemplars(struct tenant *tenant, const struct tide_select *select,
                                     struct tide_query_limits *limits, struct tide_arena *arena,
                                     tide_exemplar_sink sink, void *sink_context)
{
    const struct tide_stored_exemplar *stored;
    struct tide_exemplar *run;
    size_t count;
    enum tide_err err = tide_exemplars_collect(tenant->exemplars, select->mint_ms, select->maxt_ms,
                                               arena, &stored, &count);

    if (err != TIDE_OK)
        return err;
    run = tide_arena_new_array(arena, count, sizeof(*run));
    if (run == NULL && count > 0)
        return TIDE_ERR_LIMIT;
    for (size_t i = 0, end; i < count; i = end) {
        struct tide_labels labels;

        for (end = i; end < count && stored[end].ref == stored[i].ref; end++)
            run[end - i] = stored[end].exemplar;
        err = tide_query_check(limits);
        if (err == TIDE_OK)
            err = tide_head_labels(tenant->head, stored[i].ref, arena, &labels);
        if (err == TIDE_ERR_NOT_FOUND)
            continue; /* The retention has dropped the series. */
        if (err != TIDE_OK)
            return err;
        if (tide_matchers_match(select->matchers, select->matcher_count, labels) &&
            !sink(sink_context, labels, run, end - i))
            break;
    }
    return TIDE_OK;
}

static enum tide_err source_exemplars(void *context, const struct tide_select *select,
                                      struct tide_query_limits *limits, tide_exemplar_sink sink,
                                      void *sink_context, struct tide_diag *diag)
{
    struct tide_ingester *ingester = context;
    struct tide_arena *arena = tide_arena_new(limits->memory_bytes_max);
    enum tide_err err = arena == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;

    for (uint32_t i = 0; err == TIDE_OK && i < ingester->options.shard_count; i++) {
        struct tenant *tenant = tide__shard_tenant(&ingester->shards[i], select->tenant);

        if (tenant != NULL)
            err = shard_exemplars(tenant, select, limits, arena, sink, sink_context);
    }
    tide_arena_free(arena);
    if (err != TIDE_OK)
        return failed(diag, err, "reading exemplars");
    return TIDE_OK;
}

struct tide_source tide__source(struct tide_ingester *ingester)
{
    return (struct tide_source){.context = ingester,
                                .select = source_select,
                                .label_names = source_label_names,
                                .label_values = source_label_values,
                                .exemplars = source_exemplars,
                                .metadata = source_metadata,
                                .stats = source_stats,
                                .cardinality = source_cardinality};
}
