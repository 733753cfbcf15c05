#include "symbols_private.h"

#include "tide/base/assert.h"

enum tide_err tide__symbols_init(struct tide__symbols *symbols)
{
    return pthread_rwlock_init(&symbols->order_lock, NULL) == 0 ? TIDE_OK : TIDE_ERR_NO_MEMORY;
}

static void orders_free(struct tide__name *name)
{
    for (uint32_t i = 0; i < name->order_count; i++)
        tide_mem_free(name->orders[i].offsets);
    tide_mem_free(name->orders);
}

void tide__symbols_deinit(struct tide__symbols *symbols)
{
    for (uint32_t id = 0; id < symbols->name_count; id++) {
        struct tide__name *name = tide__name_at(symbols, id);

        tide__vec_deinit(&name->values);
        tide__table_deinit(&name->table);
        orders_free(name);
    }
    tide__vec_deinit(&symbols->text);
    tide__vec_deinit(&symbols->names);
    tide__vec_deinit(&symbols->shapes);
    tide__vec_deinit(&symbols->shape_ids);
    tide__table_deinit(&symbols->name_table);
    tide__table_deinit(&symbols->shape_table);
    (void)pthread_rwlock_destroy(&symbols->order_lock);
}

static uint64_t orders_bytes(struct tide__symbols *symbols, const struct tide__name *name)
{
    uint64_t sum = 0;

    /* A statistic: while somebody sorts, it goes without. */
    if (pthread_rwlock_tryrdlock(&symbols->order_lock) != 0)
        return 0;
    for (uint32_t i = 0; i < name->order_count; i++)
        sum += sizeof(name->orders[0]) + name->orders[i].sorted * sizeof(uint16_t);
    (void)pthread_rwlock_unlock(&symbols->order_lock);
    return sum;
}

uint64_t tide__symbols_bytes(const struct tide__symbols *symbols)
{
    uint64_t sum = tide__vec_bytes(&symbols->text, symbols->text_used, TIDE__TEXT_SHIFT, 1) +
                   tide__vec_bytes(&symbols->names, symbols->name_count, TIDE__NAMES_SHIFT,
                                   sizeof(struct tide__name)) +
                   tide__vec_bytes(&symbols->shapes, symbols->shape_count, TIDE__SHAPES_SHIFT,
                                   sizeof(struct tide__shape)) +
                   tide__vec_bytes(&symbols->shape_ids, symbols->shape_ids_used,
                                   TIDE__SHAPE_IDS_SHIFT, sizeof(uint32_t)) +
                   tide__table_bytes(&symbols->name_table) +
                   tide__table_bytes(&symbols->shape_table);

    for (uint32_t id = 0; id < symbols->name_count; id++) {
        const struct tide__name *name = tide__name_at(symbols, id);

        sum += tide__vec_bytes(&name->values, name->value_count, TIDE__VALUES_SHIFT,
                               sizeof(struct tide__value)) +
               tide__table_bytes(&name->table) +
               orders_bytes((struct tide__symbols *)symbols, name);
    }
    return sum;
}

static uint32_t fingerprint(const struct tide__symbols *symbols, struct tide_slice text)
{
    return (uint32_t)tide_hash64(text, symbols->seed);
}

/* Stores a uvarint length and the bytes. */
static enum tide_err text_add(struct tide__symbols *symbols, struct tide_slice text,
                              uint32_t *position)
{
    uint8_t *at;
    enum tide_err err;

    if (text.len > UINT32_MAX - TIDE__UVARINT32_BYTES_MAX)
        return TIDE_ERR_LIMIT;
    err = tide__vec_place(&symbols->text, symbols->text_used, text.len + TIDE__UVARINT32_BYTES_MAX,
                          TIDE__TEXT_SHIFT, 1, position);
    if (err != TIDE_OK)
        return err;
    at = tide__vec_at(&symbols->text, *position, TIDE__TEXT_SHIFT, 1);
    at = tide__uvarint_write(at, (uint32_t)text.len);
    if (text.len > 0)
        memcpy(at, text.ptr, text.len);
    return TIDE_OK;
}

/* Takes the text just added for good; before, a failure after it costs nothing. */
static struct tide_slice text_keep(struct tide__symbols *symbols, uint32_t position)
{
    struct tide_slice text = tide__text_at(symbols, position);
    const uint8_t *start = tide__vec_at(&symbols->text, position, TIDE__TEXT_SHIFT, 1);

    symbols->text_used = position + (uint64_t)(text.ptr - start) + text.len;
    return text;
}

uint32_t tide__name_find(const struct tide__symbols *symbols, struct tide_slice text)
{
    struct tide__table_probe probe =
        tide__table_probe(&symbols->name_table, fingerprint(symbols, text));
    uint32_t id;

    while ((id = tide__table_next(&probe)) != TIDE__TABLE_NONE)
        if (tide_slice_eq(tide__name_at(symbols, id)->text, text))
            break;
    return id;
}

enum tide_err tide__name_add(struct tide__symbols *symbols, struct tide_slice text, uint32_t *id)
{
    uint32_t position;
    enum tide_err err;

    if (symbols->name_count == TIDE_INDEX_NONE)
        return TIDE_ERR_LIMIT;
    err = text_add(symbols, text, &position);
    if (err == TIDE_OK)
        err = tide__vec_reserve(&symbols->names, symbols->name_count, TIDE__NAMES_SHIFT,
                                sizeof(struct tide__name));
    if (err == TIDE_OK)
        err = tide__table_reserve(&symbols->name_table, fingerprint(symbols, text));
    if (err != TIDE_OK)
        return err;
    *id = symbols->name_count++;
    *tide__name_at(symbols, *id) = (struct tide__name){.text = text_keep(symbols, position)};
    tide__table_insert(&symbols->name_table, fingerprint(symbols, text), *id);
    return TIDE_OK;
}

uint32_t tide__value_find(const struct tide__symbols *symbols, const struct tide__name *name,
                          struct tide_slice text)
{
    struct tide__table_probe probe;
    uint32_t id;

    if (name->value_count <= TIDE__VALUES_LINEAR) {
        for (id = 0; id < name->value_count; id++)
            if (tide_slice_eq(tide__value_text(symbols, name, id), text))
                return id;
        return TIDE_INDEX_NONE;
    }
    probe = tide__table_probe(&name->table, fingerprint(symbols, text));
    while ((id = tide__table_next(&probe)) != TIDE__TABLE_NONE)
        if (tide_slice_eq(tide__value_text(symbols, name, id), text))
            break;
    return id;
}

/* Before value_count goes above TIDE__VALUES_LINEAR: all that are there enter the table. */
static enum tide_err table_begin(const struct tide__symbols *symbols, struct tide__name *name)
{
    for (uint32_t id = name->table.count; id < name->value_count; id++) {
        uint32_t hash = fingerprint(symbols, tide__value_text(symbols, name, id));
        enum tide_err err = tide__table_reserve(&name->table, hash);

        if (err != TIDE_OK)
            return err;
        tide__table_insert(&name->table, hash, id);
    }
    return TIDE_OK;
}

/* Memory that a value takes: text, record and slot. */
static uint64_t value_bytes(struct tide_slice text)
{
    return text.len + 1 + sizeof(struct tide__value) + sizeof(uint64_t);
}

enum tide_err tide__value_add(struct tide__symbols *symbols, struct tide__name *name,
                              struct tide_slice text, uint32_t *id)
{
    bool in_table = name->value_count >= TIDE__VALUES_LINEAR;
    uint32_t hash = in_table ? fingerprint(symbols, text) : 0;
    uint32_t position;
    enum tide_err err;

    if (name->value_count == TIDE_INDEX_NONE)
        return TIDE_ERR_LIMIT;
    err = text_add(symbols, text, &position);
    if (err == TIDE_OK)
        err = tide__vec_reserve(&name->values, name->value_count, TIDE__VALUES_SHIFT,
                                sizeof(struct tide__value));
    if (err == TIDE_OK && in_table)
        err = table_begin(symbols, name);
    if (err == TIDE_OK && in_table)
        err = tide__table_reserve(&name->table, hash);
    if (err != TIDE_OK)
        return err;
    (void)text_keep(symbols, position);
    *id = name->value_count++;
    *tide__value_at(name, *id) = (struct tide__value){.text = position};
    symbols->dead_bytes += value_bytes(text); /* Until it has a series. */
    if (in_table)
        tide__table_insert(&name->table, hash, *id);
    return TIDE_OK;
}

void tide__value_lives(struct tide__symbols *symbols, struct tide__name *name, uint32_t id)
{
    struct tide_slice text = tide__value_text(symbols, name, id);

    name->live_values++;
    name->live_bytes += text.len;
    symbols->dead_bytes -= value_bytes(text);
}

void tide__value_dies(struct tide__symbols *symbols, struct tide__name *name, uint32_t id)
{
    struct tide_slice text = tide__value_text(symbols, name, id);

    name->live_values--;
    name->live_bytes -= text.len;
    symbols->dead_bytes += value_bytes(text);
}

static uint32_t shape_fingerprint(const struct tide__symbols *symbols, const uint32_t *ids,
                                  size_t count)
{
    return fingerprint(symbols, (struct tide_slice){(const uint8_t *)ids, count * sizeof(ids[0])});
}

static bool shape_is(const struct tide__symbols *symbols, uint32_t id, const uint32_t *ids,
                     size_t count)
{
    const struct tide__shape *shape = tide__shape_at(symbols, id);

    return shape->count == count &&
           memcmp(tide__shape_ids(symbols, shape), ids, count * sizeof(ids[0])) == 0;
}

uint32_t tide__shape_find(const struct tide__symbols *symbols, const uint32_t *ids, size_t count)
{
    struct tide__table_probe probe =
        tide__table_probe(&symbols->shape_table, shape_fingerprint(symbols, ids, count));
    uint32_t id;

    while ((id = tide__table_next(&probe)) != TIDE__TABLE_NONE)
        if (shape_is(symbols, id, ids, count))
            break;
    return id;
}

enum tide_err tide__shape_add(struct tide__symbols *symbols, const uint32_t *ids, size_t count,
                              uint32_t *id)
{
    uint32_t hash = shape_fingerprint(symbols, ids, count);
    uint32_t position;
    enum tide_err err;

    if (symbols->shape_count == TIDE_INDEX_NONE)
        return TIDE_ERR_LIMIT;
    /* One more than needed, so that a shape of no names has a place too. */
    err = tide__vec_place(&symbols->shape_ids, symbols->shape_ids_used, count + 1,
                          TIDE__SHAPE_IDS_SHIFT, sizeof(uint32_t), &position);
    if (err == TIDE_OK)
        err = tide__vec_reserve(&symbols->shapes, symbols->shape_count, TIDE__SHAPES_SHIFT,
                                sizeof(struct tide__shape));
    if (err == TIDE_OK)
        err = tide__table_reserve(&symbols->shape_table, hash);
    if (err != TIDE_OK)
        return err;
    memcpy(tide__vec_at(&symbols->shape_ids, position, TIDE__SHAPE_IDS_SHIFT, sizeof(uint32_t)),
           ids, count * sizeof(ids[0]));
    symbols->shape_ids_used = (uint64_t)position + count;
    *id = symbols->shape_count++;
    *(struct tide__shape *)tide__vec_at(&symbols->shapes, *id, TIDE__SHAPES_SHIFT,
                                        sizeof(struct tide__shape)) =
        (struct tide__shape){position, (uint32_t)count};
    tide__table_insert(&symbols->shape_table, hash, *id);
    return TIDE_OK;
}
