#include "postings_private.h"

#include "tide/base/assert.h"

#include <roaring/roaring.h>

#define ARRAY_MIN 4u
/* A bitmap that shrinks to so few becomes an array again; below ARRAY_MAX, so that a list at the
 * border does not change its form each time. */
#define BITMAP_MIN 16u

static struct tide__list *list_at(const struct tide__postings *postings, uint32_t handle)
{
    return tide__vec_at(&postings->lists, handle - 1, TIDE__LISTS_SHIFT, sizeof(struct tide__list));
}

static bool is_one(uint32_t handle)
{
    return (handle & TIDE__POSTINGS_ONE) != 0;
}

/* A list that holds the one reference of the handle. */
static enum tide_err list_new(struct tide__postings *postings, uint32_t *handle)
{
    uint32_t *refs;
    struct tide__list *list;
    uint32_t index = postings->free_list;
    enum tide_err err;

    if (index == 0) {
        if (postings->list_count + 1 >= TIDE__POSTINGS_ONE)
            return TIDE_ERR_LIMIT;
        err = tide__vec_reserve(&postings->lists, postings->list_count, TIDE__LISTS_SHIFT,
                                sizeof(*list));
        if (err != TIDE_OK)
            return err;
        index = postings->list_count + 1;
    }
    refs = tide_mem_alloc(ARRAY_MIN * sizeof(*refs));
    if (refs == NULL)
        return TIDE_ERR_NO_MEMORY;
    refs[0] = *handle & ~TIDE__POSTINGS_ONE;
    list = list_at(postings, index);
    if (index == postings->free_list)
        postings->free_list = list->count;
    else
        postings->list_count++;
    *list = (struct tide__list){.count = 1, .capacity = ARRAY_MIN, .in.refs = refs};
    *handle = index;
    return TIDE_OK;
}

static void list_free(struct tide__postings *postings, uint32_t index)
{
    struct tide__list *list = list_at(postings, index);

    if (list->capacity == 0)
        roaring_bitmap_free(list->in.bitmap);
    else
        tide_mem_free(list->in.refs);
    *list = (struct tide__list){.count = postings->free_list, .capacity = 1, .in.refs = NULL};
    postings->free_list = index;
}

enum tide_err tide__postings_prepare(struct tide__postings *postings, uint32_t *handle)
{
    struct tide__list *list;
    roaring_bitmap_t *bitmap;
    uint32_t *refs;

    if (*handle == 0)
        return TIDE_OK;
    if (is_one(*handle))
        return list_new(postings, handle);
    list = list_at(postings, *handle);
    if (list->capacity == 0 || list->count < list->capacity)
        return TIDE_OK;
    if (list->capacity < TIDE__POSTINGS_ARRAY_MAX) {
        refs = tide_mem_realloc(list->in.refs, (size_t)list->capacity * 2 * sizeof(*refs));
        if (refs == NULL)
            return TIDE_ERR_NO_MEMORY;
        list->in.refs = refs;
        list->capacity *= 2;
        return TIDE_OK;
    }
    bitmap = roaring_bitmap_of_ptr(list->count, list->in.refs);
    if (bitmap == NULL)
        return TIDE_ERR_NO_MEMORY;
    tide_mem_free(list->in.refs);
    list->in.bitmap = bitmap;
    list->capacity = 0;
    return TIDE_OK;
}

void tide__postings_append(struct tide__postings *postings, uint32_t *handle, uint32_t ref)
{
    struct tide__list *list;

    if (*handle == 0) {
        *handle = ref | TIDE__POSTINGS_ONE;
        return;
    }
    list = list_at(postings, *handle);
    if (list->capacity != 0) {
        TIDE_ASSERT(list->count < list->capacity);
        TIDE_ASSERT_SLOW(list->in.refs[list->count - 1] < ref);
        list->in.refs[list->count++] = ref;
        return;
    }
    roaring_bitmap_add(list->in.bitmap, ref);
    list->count++;
    /* At each doubling: runs where series came target by target, and no slack. Between two of them
     * the containers grow in steps of a quarter, so this is paid for by what was added since. */
    if ((list->count & (list->count - 1)) == 0) {
        roaring_bitmap_run_optimize(list->in.bitmap);
        roaring_bitmap_shrink_to_fit(list->in.bitmap);
    }
}

/* Index of the first of count sorted references that is not below ref. */
static uint32_t lower_bound(const uint32_t *refs, uint32_t count, uint32_t ref)
{
    uint32_t low = 0;

    while (low < count) {
        uint32_t middle = low + (count - low) / 2;

        if (refs[middle] < ref)
            low = middle + 1;
        else
            count = middle;
    }
    return low;
}

static void array_remove(struct tide__postings *postings, uint32_t *handle, uint32_t ref)
{
    struct tide__list *list = list_at(postings, *handle);
    uint32_t *refs = list->in.refs;
    uint32_t at = lower_bound(refs, list->count, ref);
    uint32_t index = *handle;

    if (at == list->count || refs[at] != ref)
        return;
    list->count--;
    memmove(refs + at, refs + at + 1, (list->count - at) * sizeof(*refs));
    if (list->count > 1)
        return;
    *handle = list->count == 0 ? 0 : refs[0] | TIDE__POSTINGS_ONE;
    list_free(postings, index);
}

static void bitmap_remove(struct tide__postings *postings, uint32_t *handle, uint32_t ref)
{
    struct tide__list *list = list_at(postings, *handle);
    uint32_t index = *handle;
    uint32_t *refs;

    if (!roaring_bitmap_remove_checked(list->in.bitmap, ref))
        return;
    list->count--;
    if (list->count == 0) {
        *handle = 0;
        list_free(postings, index);
        return;
    }
    if (list->count > BITMAP_MIN)
        return;
    refs = tide_mem_alloc(TIDE__POSTINGS_ARRAY_MAX * sizeof(*refs));
    if (refs == NULL)
        return; /* A bitmap of so few is only bigger; the next removal tries again. */
    roaring_bitmap_to_uint32_array(list->in.bitmap, refs);
    roaring_bitmap_free(list->in.bitmap);
    list->in.refs = refs;
    list->capacity = TIDE__POSTINGS_ARRAY_MAX;
}

void tide__postings_remove(struct tide__postings *postings, uint32_t *handle, uint32_t ref)
{
    if (*handle == 0)
        return;
    if (is_one(*handle)) {
        if (*handle == (ref | TIDE__POSTINGS_ONE))
            *handle = 0;
        return;
    }
    if (list_at(postings, *handle)->capacity == 0)
        bitmap_remove(postings, handle, ref);
    else
        array_remove(postings, handle, ref);
}

uint32_t tide__postings_count(const struct tide__postings *postings, uint32_t handle)
{
    if (handle == 0 || is_one(handle))
        return handle != 0;
    return list_at(postings, handle)->count;
}

bool tide__postings_contains(const struct tide__postings *postings, uint32_t handle, uint32_t ref)
{
    struct tide__postings_view view;
    uint32_t at;

    tide__postings_view(postings, handle, &view);
    if (view.bitmap != NULL)
        return roaring_bitmap_contains(view.bitmap, ref);
    at = lower_bound(view.refs, view.count, ref);
    return at < view.count && view.refs[at] == ref;
}

void tide__postings_view(const struct tide__postings *postings, uint32_t handle,
                         struct tide__postings_view *out)
{
    const struct tide__list *list;

    *out = (struct tide__postings_view){.refs = &out->one};
    if (handle == 0)
        return;
    if (is_one(handle)) {
        out->one = handle & ~TIDE__POSTINGS_ONE;
        out->count = 1;
        return;
    }
    list = list_at(postings, handle);
    out->count = list->count;
    if (list->capacity == 0)
        out->bitmap = list->in.bitmap;
    else
        out->refs = list->in.refs;
}

/* What the allocator gave a bitmap, about: 2 bytes an id, 4 a run, 8 KiB a dense container, and per
 * container its header, key and type. */
static uint64_t bitmap_bytes(const roaring_bitmap_t *bitmap)
{
    const uint64_t container_bytes = 16 + sizeof(void *) + 2 + 1;
    roaring_statistics_t stats;

    roaring_bitmap_statistics(bitmap, &stats);
    return sizeof(*bitmap) + stats.n_containers * container_bytes + stats.n_bytes_array_containers +
           stats.n_bytes_run_containers + stats.n_bytes_bitset_containers;
}

uint64_t tide__postings_bytes(const struct tide__postings *postings)
{
    uint64_t sum = tide__vec_bytes(&postings->lists, postings->list_count, TIDE__LISTS_SHIFT,
                                   sizeof(struct tide__list));

    for (uint32_t handle = 1; handle <= postings->list_count; handle++) {
        const struct tide__list *list = list_at(postings, handle);

        if (list->capacity == 0)
            sum += bitmap_bytes(list->in.bitmap);
        else if (list->in.refs != NULL)
            sum += list->capacity * sizeof(list->in.refs[0]);
    }
    return sum;
}

void tide__postings_deinit(struct tide__postings *postings)
{
    for (uint32_t handle = 1; handle <= postings->list_count; handle++) {
        const struct tide__list *list = list_at(postings, handle);

        if (list->capacity == 0)
            roaring_bitmap_free(list->in.bitmap);
        else
            tide_mem_free(list->in.refs);
    }
    tide__vec_deinit(&postings->lists);
    *postings = (struct tide__postings){.list_count = 0};
}
