#include "set_private.h"

#include "tide/base/assert.h"

#include <roaring/roaring.h>
#include <stdlib.h>

/* A set this small is handled one by one, as an array. */
#define FEW_REFS 2048u
/* Up to so many values, each candidate is looked for in the postings of each. */
#define FEW_VALUES 4u

enum tide_err tide__set_charge(struct tide__set *set, uint64_t bytes)
{
    enum tide_err err = tide_query_charge(set->limits, (int64_t)bytes);

    if (err == TIDE_OK)
        set->charged_bytes += bytes;
    return err;
}

static void content_free(struct tide__set *set)
{
    if (set->owned != NULL)
        roaring_bitmap_free(set->owned);
    tide_mem_free(set->refs);
    set->bitmap = set->owned = NULL;
    set->refs = NULL;
    set->count = 0;
}

void tide__set_deinit(struct tide__set *set)
{
    content_free(set);
    tide__uncharge(set->limits, set->charged_bytes);
    set->charged_bytes = 0;
}

static void own(struct tide__set *set, roaring_bitmap_t *bitmap)
{
    content_free(set);
    set->bitmap = set->owned = bitmap;
}

/* A bitmap of count ids: 2 bytes an id at most, and a bit for each reference when dense. */
static enum tide_err charge_bitmap(struct tide__set *set, uint64_t count)
{
    uint64_t dense = set->index->ref_count / 8 + 8192;

    return tide__set_charge(set, 2 * count < dense ? 2 * count : dense);
}

static enum tide_err refs_new(struct tide__set *set, uint64_t count, uint32_t **out)
{
    enum tide_err err = tide__set_charge(set, count * sizeof(**out));

    if (err != TIDE_OK)
        return err;
    *out = tide_mem_alloc(count * sizeof(**out));
    return *out == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}

enum tide_err tide__set_all(struct tide__set *set)
{
    const struct tide_index *index = set->index;
    enum tide_err err = charge_bitmap(set, index->series_count);
    roaring_bitmap_t *all;

    if (err != TIDE_OK)
        return err;
    all = roaring_bitmap_from_range(0, index->ref_count, 1);
    if (all == NULL)
        all = roaring_bitmap_create(); /* An empty range. */
    if (all == NULL)
        return TIDE_ERR_NO_MEMORY;
    if (index->dead != NULL)
        roaring_bitmap_andnot_inplace(all, index->dead);
    own(set, all);
    return TIDE_OK;
}

size_t tide__set_count(const struct tide__set *set)
{
    return set->bitmap == NULL ? set->count : (size_t)roaring_bitmap_get_cardinality(set->bitmap);
}

enum tide_err tide__set_to_refs(struct tide__set *set)
{
    size_t count;
    uint32_t *refs;
    enum tide_err err;

    if (set->bitmap == NULL)
        return TIDE_OK;
    count = tide__set_count(set);
    err = refs_new(set, count, &refs);
    if (err != TIDE_OK)
        return err;
    roaring_bitmap_to_uint32_array(set->bitmap, refs);
    content_free(set);
    set->refs = refs;
    set->count = count;
    return TIDE_OK;
}

/* ---- Unions of the values of one name ---- */

static void view_at(const struct tide__set *set, const struct tide__values *values, size_t i,
                    struct tide__postings_view *view)
{
    tide__postings_view(&set->index->postings,
                        tide__value_at(values->name, values->ids[i])->postings, view);
}

static int ref_cmp(const void *a_ref, const void *b_ref)
{
    uint32_t a, b;

    memcpy(&a, a_ref, sizeof(a));
    memcpy(&b, b_ref, sizeof(b));
    return a < b ? -1 : a > b;
}

/* Distinct references into rising order: many by a bit for each reference there is. */
static enum tide_err refs_order(struct tide__set *set, uint32_t *refs, size_t count)
{
    size_t words = set->index->ref_count / 64 + 1;
    size_t next = 0;
    uint64_t *bits;
    enum tide_err err;

    for (next = 1; next < count && refs[next - 1] < refs[next];)
        next++;
    if (next >= count)
        return TIDE_OK;
    if (count <= FEW_REFS) {
        qsort(refs, count, sizeof(*refs), ref_cmp);
        return TIDE_OK;
    }
    err = tide__set_charge(set, words * sizeof(*bits));
    if (err != TIDE_OK)
        return err;
    bits = tide_mem_array(words, sizeof(*bits));
    if (bits == NULL)
        return TIDE_ERR_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        bits[refs[i] / 64] |= UINT64_C(1) << (refs[i] % 64);
    next = 0;
    for (size_t word = 0; word < words; word++)
        for (uint64_t rest = bits[word]; rest != 0; rest &= rest - 1)
            refs[next++] = (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(rest);
    tide_mem_free(bits);
    TIDE_ASSERT(next == count);
    return TIDE_OK;
}

/* The references of the small lists among the values, rising; how many values have a bitmap. */
static enum tide_err collect_small(struct tide__set *set, const struct tide__values *values,
                                   uint32_t **out, size_t *count, size_t *bitmaps)
{
    struct tide__postings_view view;
    uint64_t total = 0;
    enum tide_err err;

    *bitmaps = 0;
    *count = 0;
    for (size_t i = 0; i < values->count; i++) {
        view_at(set, values, i, &view);
        if (view.bitmap != NULL)
            ++*bitmaps;
        else
            total += view.count;
    }
    err = refs_new(set, total, out);
    if (err != TIDE_OK)
        return err;
    for (size_t i = 0; i < values->count; i++) {
        view_at(set, values, i, &view);
        if (view.bitmap != NULL)
            continue;
        memcpy(*out + *count, view.refs, view.count * sizeof(**out));
        *count += view.count;
    }
    err = refs_order(set, *out, *count);
    if (err != TIDE_OK)
        tide_mem_free(*out);
    return err;
}

static enum tide_err union_bitmaps(struct tide__set *set, const struct tide__values *values,
                                   size_t bitmaps, roaring_bitmap_t **out)
{
    const roaring_bitmap_t **all = tide_mem_array(bitmaps, sizeof(void *));
    struct tide__postings_view view;
    size_t next = 0;
    enum tide_err err;

    if (all == NULL)
        return TIDE_ERR_NO_MEMORY;
    err = charge_bitmap(set, values->series);
    if (err == TIDE_OK) {
        for (size_t i = 0; i < values->count; i++) {
            view_at(set, values, i, &view);
            if (view.bitmap != NULL)
                all[next++] = view.bitmap;
        }
        *out = roaring_bitmap_or_many(bitmaps, all);
        if (*out == NULL)
            err = TIDE_ERR_NO_MEMORY;
    }
    tide_mem_free(all);
    return err;
}

enum tide_err tide__set_of_values(struct tide__set *set, const struct tide__values *values)
{
    struct tide__postings_view view;
    roaring_bitmap_t *bitmap;
    uint32_t *refs;
    size_t count, bitmaps;
    enum tide_err err;

    TIDE_ASSERT(set->bitmap == NULL);
    TIDE_ASSERT(set->refs == NULL);
    if (values->count == 1) {
        view_at(set, values, 0, &view);
        if (view.bitmap != NULL) {
            set->bitmap = view.bitmap;
            return TIDE_OK;
        }
    }
    err = collect_small(set, values, &refs, &count, &bitmaps);
    if (err != TIDE_OK)
        return err;
    if (bitmaps == 0) {
        set->refs = refs;
        set->count = count;
        return TIDE_OK;
    }
    err = union_bitmaps(set, values, bitmaps, &bitmap);
    if (err == TIDE_OK) {
        roaring_bitmap_add_many(bitmap, count, refs);
        own(set, bitmap);
    }
    tide_mem_free(refs);
    return err;
}

/* ---- Narrowing ---- */

static int id_cmp(const void *key, const void *item)
{
    return ref_cmp(key, item);
}

static bool has_value(const struct tide__set *set, const struct tide__values *values, uint32_t ref)
{
    uint32_t id;

    if (values->count <= FEW_VALUES) {
        for (size_t i = 0; i < values->count; i++)
            if (tide__postings_contains(&set->index->postings,
                                        tide__value_at(values->name, values->ids[i])->postings,
                                        ref))
                return true;
        return false;
    }
    id = tide_index_value_id(set->index, ref, values->name_id);
    return id != TIDE_INDEX_NONE &&
           bsearch(&id, values->ids, values->count, sizeof(id), id_cmp) != NULL;
}

static enum tide_err retain(struct tide__set *set, const struct tide__values *values, bool keep)
{
    size_t kept = 0;

    for (size_t i = 0; i < set->count; i++) {
        if (i % TIDE__CHECK_EVERY == 0) {
            enum tide_err err = tide_query_check(set->limits);

            if (err != TIDE_OK)
                return err;
        }
        if (has_value(set, values, set->refs[i]) == keep)
            set->refs[kept++] = set->refs[i];
    }
    set->count = kept;
    return TIDE_OK;
}

/* Keeps of the array other, which it takes over, what is in the set's bitmap. */
static void intersect_refs(struct tide__set *set, struct tide__set *other)
{
    size_t kept = 0;

    for (size_t i = 0; i < other->count; i++)
        if (roaring_bitmap_contains(set->bitmap, other->refs[i]))
            other->refs[kept++] = other->refs[i];
    content_free(set);
    set->refs = other->refs;
    set->count = kept;
    other->refs = NULL;
}

/* bitmap and other, or bitmap without other; both bitmaps. */
static enum tide_err combine(struct tide__set *set, const roaring_bitmap_t *other, bool keep)
{
    roaring_bitmap_t *result;
    enum tide_err err;

    if (set->owned != NULL) {
        if (keep)
            roaring_bitmap_and_inplace(set->owned, other);
        else
            roaring_bitmap_andnot_inplace(set->owned, other);
        return TIDE_OK;
    }
    err = charge_bitmap(set, tide__set_count(set));
    if (err != TIDE_OK)
        return err;
    result =
        keep ? roaring_bitmap_and(set->bitmap, other) : roaring_bitmap_andnot(set->bitmap, other);
    if (result == NULL)
        return TIDE_ERR_NO_MEMORY;
    own(set, result);
    return TIDE_OK;
}

static enum tide_err narrow_bitmap(struct tide__set *set, const struct tide__values *values,
                                   bool keep)
{
    struct tide__set other = {.index = set->index, .limits = set->limits};
    roaring_bitmap_t *bitmap;
    enum tide_err err = tide__set_of_values(&other, values);

    if (err != TIDE_OK)
        goto out;
    if (other.bitmap != NULL) {
        err = combine(set, other.bitmap, keep);
    } else if (keep) {
        /* The array moves over, and with it what it is charged. */
        set->charged_bytes += other.charged_bytes;
        other.charged_bytes = 0;
        intersect_refs(set, &other);
    } else {
        err = charge_bitmap(&other, other.count);
        if (err != TIDE_OK)
            goto out;
        bitmap = roaring_bitmap_of_ptr(other.count, other.refs);
        if (bitmap == NULL) {
            err = TIDE_ERR_NO_MEMORY;
            goto out;
        }
        err = combine(set, bitmap, false);
        roaring_bitmap_free(bitmap);
    }
out:
    tide__set_deinit(&other);
    return err;
}

static enum tide_err narrow(struct tide__set *set, const struct tide__values *values, bool keep)
{
    enum tide_err err;

    if (set->bitmap != NULL && tide__set_count(set) <= FEW_REFS) {
        err = tide__set_to_refs(set);
        if (err != TIDE_OK)
            return err;
    }
    if (set->bitmap == NULL)
        return retain(set, values, keep);
    return narrow_bitmap(set, values, keep);
}

enum tide_err tide__set_and(struct tide__set *set, const struct tide__values *values)
{
    return narrow(set, values, true);
}

enum tide_err tide__set_and_not(struct tide__set *set, const struct tide__values *values)
{
    return narrow(set, values, false);
}
