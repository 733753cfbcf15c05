/* Heap memory. All of Tidemark allocates through here, so that tests can fail any allocation. */
#ifndef TIDE_BASE_MEM_H
#define TIDE_BASE_MEM_H

#include "tide/base/err.h"

#include <stddef.h>
#include <stdint.h>

/* NULL when there is no memory. bytes may be 0. tide_mem_new() zeroes. */
void *tide_mem_alloc(size_t bytes);
void *tide_mem_new(size_t bytes);
/* count * bytes_each zeroed; NULL when the product overflows too. */
void *tide_mem_array(size_t count, size_t bytes_each);
/* NULL keeps the old memory, as realloc() does. */
void *tide_mem_realloc(void *memory, size_t bytes);
/* NULL is allowed. */
void tide_mem_free(void *memory);

/* Grows *array, of *capacity items of item_bytes each, to hold at least count items, by doubling.
 * Errors: TIDE_ERR_NO_MEMORY, the array is as it was. */
TIDE_CHECK_RESULT enum tide_err tide_mem_grow(void **array, size_t *capacity, size_t count,
                                              size_t item_bytes);

/* Tests only; built with TIDE_TEST_FAULTS (dev, asan, tsan). The nth allocation from now on fails,
 * counted from 1; 0 switches off. One process-wide counter: for single-threaded tests. */
void tide_test_mem_fail_nth(int nth);
/* True when the failure asked for has happened; switches off. */
bool tide_test_mem_fired(void);
/* Allocations that live now. */
long tide_test_mem_live(void);

#endif
