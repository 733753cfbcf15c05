/* An array that grows by pages, so that growing neither copies it nor doubles its memory for a
 * moment. Only the first page grows by doubling: an empty array costs nothing, a small one little.
 */
#ifndef TIDE_CHUNK_PAGES_H
#define TIDE_CHUNK_PAGES_H

#include "tide/base/slice.h"

#define TIDE_PAGE_ITEMS 2048u

/* Zero-initialised is empty. All calls for one array pass the same item_bytes. An item keeps its
 * index, not its address: the first page moves as it grows. */
struct tide_pages {
    uint8_t **pages; /* NULL: dropped. */
    size_t page_count;
    size_t page_capacity;
    uint32_t first_capacity; /* Items that pages[0] has room for. */
    uint32_t count;
};

static inline void *tide_pages_at(const struct tide_pages *array, uint32_t index, size_t item_bytes)
{
    return array->pages[index / TIDE_PAGE_ITEMS] + index % TIDE_PAGE_ITEMS * item_bytes;
}

/* Adds an item at index count, not zeroed. Errors: TIDE_ERR_NO_MEMORY (UINT32_MAX items too), the
 * array is as it was. */
TIDE_CHECK_RESULT enum tide_err tide_pages_add(struct tide_pages *array, size_t item_bytes);
/* Sets count to a greater one; pages for which no item is asked yet stay dropped. */
TIDE_CHECK_RESULT enum tide_err tide_pages_extend(struct tide_pages *array, uint32_t count);
/* Allocates the dropped page of index, all its items zeroed; nothing when it is there. */
TIDE_CHECK_RESULT enum tide_err tide_pages_fill(struct tide_pages *array, uint32_t index,
                                                size_t item_bytes);
/* Frees a full page; its items are no more. */
void tide_pages_drop(struct tide_pages *array, size_t page);
/* Copies into the empty *out, as big as needed and no bigger. Errors: TIDE_ERR_NO_MEMORY; *out is
 * to be freed in any case. */
TIDE_CHECK_RESULT enum tide_err tide_pages_copy(const struct tide_pages *array, size_t item_bytes,
                                                struct tide_pages *out);
size_t tide_pages_bytes(const struct tide_pages *array, size_t item_bytes);
void tide_pages_deinit(struct tide_pages *array);

#endif
