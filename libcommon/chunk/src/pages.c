#include "tide/chunk/pages.h"

#include "tide/base/assert.h"
#include "tide/base/mem.h"

#define FIRST_CAPACITY_MIN 8u

static enum tide_err add_page(struct tide_pages *array, void *page)
{
    enum tide_err err = tide_mem_grow((void **)&array->pages, &array->page_capacity,
                                      array->page_count + 1, sizeof(*array->pages));

    if (err == TIDE_OK)
        array->pages[array->page_count++] = page;
    return err;
}

static enum tide_err grow_first(struct tide_pages *array, size_t item_bytes)
{
    uint32_t capacity = array->first_capacity * 2;
    void *page = tide_mem_realloc(array->pages[0], capacity * item_bytes);

    if (page == NULL)
        return TIDE_ERR_NO_MEMORY;
    array->pages[0] = page;
    array->first_capacity = capacity;
    return TIDE_OK;
}

enum tide_err tide_pages_add(struct tide_pages *array, size_t item_bytes)
{
    enum tide_err err = TIDE_OK;

    if (array->count == UINT32_MAX)
        return TIDE_ERR_NO_MEMORY;
    if (array->count % TIDE_PAGE_ITEMS == 0) {
        uint32_t capacity = array->count == 0 ? FIRST_CAPACITY_MIN : TIDE_PAGE_ITEMS;
        void *page = tide_mem_alloc(capacity * item_bytes);

        if (page == NULL)
            return TIDE_ERR_NO_MEMORY;
        err = add_page(array, page);
        if (err != TIDE_OK) {
            tide_mem_free(page);
            return err;
        }
        if (array->count == 0)
            array->first_capacity = capacity;
    } else if (array->count == array->first_capacity && array->page_count == 1) {
        err = grow_first(array, item_bytes);
    } else {
        err = tide_pages_fill(array, array->count, item_bytes); /* Extended, or dropped. */
    }
    if (err == TIDE_OK)
        array->count++;
    return err;
}

enum tide_err tide_pages_extend(struct tide_pages *array, uint32_t count)
{
    TIDE_ASSERT(array->count == 0);
    while (array->page_count < ((size_t)count + TIDE_PAGE_ITEMS - 1) / TIDE_PAGE_ITEMS) {
        enum tide_err err = add_page(array, NULL);

        if (err != TIDE_OK)
            return err;
    }
    if (count > 0)
        array->first_capacity = TIDE_PAGE_ITEMS;
    array->count = count;
    return TIDE_OK;
}

enum tide_err tide_pages_fill(struct tide_pages *array, uint32_t index, size_t item_bytes)
{
    uint8_t **page = &array->pages[index / TIDE_PAGE_ITEMS];

    if (*page == NULL)
        *page = tide_mem_array(TIDE_PAGE_ITEMS, item_bytes);
    return *page == NULL ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}

void tide_pages_drop(struct tide_pages *array, size_t page)
{
    tide_mem_free(array->pages[page]);
    array->pages[page] = NULL;
    if (page == 0)
        array->first_capacity = TIDE_PAGE_ITEMS;
}

enum tide_err tide_pages_copy(const struct tide_pages *array, size_t item_bytes,
                              struct tide_pages *out)
{
    TIDE_ASSERT(out->page_count == 0);
    for (size_t i = 0; i < array->page_count; i++) {
        size_t count = array->count - i * TIDE_PAGE_ITEMS;
        uint8_t *page = NULL;
        enum tide_err err;

        if (count > TIDE_PAGE_ITEMS)
            count = TIDE_PAGE_ITEMS;
        if (array->pages[i] != NULL) {
            page = tide_mem_alloc(count * item_bytes);
            if (page == NULL)
                return TIDE_ERR_NO_MEMORY;
            memcpy(page, array->pages[i], count * item_bytes);
        }
        err = add_page(out, page);
        if (err != TIDE_OK) {
            tide_mem_free(page);
            return err;
        }
    }
    out->count = array->count;
    out->first_capacity = array->count < TIDE_PAGE_ITEMS ? array->count : TIDE_PAGE_ITEMS;
    return TIDE_OK;
}

size_t tide_pages_bytes(const struct tide_pages *array, size_t item_bytes)
{
    size_t bytes = array->page_capacity * sizeof(*array->pages);

    for (size_t i = 0; i < array->page_count; i++)
        if (array->pages[i] != NULL)
            bytes += (i == 0 ? array->first_capacity : TIDE_PAGE_ITEMS) * item_bytes;
    return bytes;
}

void tide_pages_deinit(struct tide_pages *array)
{
    for (size_t i = 0; i < array->page_count; i++)
        tide_mem_free(array->pages[i]);
    tide_mem_free(array->pages);
    *array = (struct tide_pages){0};
}
