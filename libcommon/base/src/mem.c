#include "tide/base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>

#ifdef TIDE_TEST_FAULTS

/* Sequentially consistent by default: only tests run this, and few threads. */
static atomic_int fail_countdown;
static atomic_bool fired;
static atomic_long live;

static bool fail_now(void)
{
    int before = atomic_load(&fail_countdown);

    if (before == 0)
        return false;
    atomic_store(&fail_countdown, before - 1);
    if (before > 1)
        return false;
    atomic_store(&fired, true);
    return true;
}

static void count_live(long delta)
{
    atomic_fetch_add_explicit(&live, delta, memory_order_relaxed);
}

void tide_test_mem_fail_nth(int nth)
{
    atomic_store(&fired, false);
    atomic_store(&fail_countdown, nth);
}

bool tide_test_mem_fired(void)
{
    atomic_store(&fail_countdown, 0);
    return atomic_exchange(&fired, false);
}

long tide_test_mem_live(void)
{
    return atomic_load(&live);
}

#else

/* Without faults nothing fires, so that the loops over all allocations end after one round. */
static bool fail_now(void)
{
    return false;
}

static void count_live(long delta)
{
    (void)delta;
}

void tide_test_mem_fail_nth(int nth)
{
    (void)nth;
}

bool tide_test_mem_fired(void)
{
    return false;
}

long tide_test_mem_live(void)
{
    return 0;
}

#endif

void *tide_mem_alloc(size_t bytes)
{
    void *memory;

    if (fail_now())
        return NULL;
    memory = malloc(bytes > 0 ? bytes : 1); /* malloc(0) may answer NULL. */
    if (memory != NULL)
        count_live(1);
    return memory;
}

void *tide_mem_new(size_t bytes)
{
    return tide_mem_array(1, bytes);
}

void *tide_mem_array(size_t count, size_t bytes_each)
{
    void *memory;

    if (fail_now())
        return NULL;
    if (count == 0 || bytes_each == 0)
        count = bytes_each = 1;
    if (count > SIZE_MAX / bytes_each)
        return NULL;
    memory = calloc(count, bytes_each);
    if (memory != NULL)
        count_live(1);
    return memory;
}

void *tide_mem_realloc(void *memory, size_t bytes)
{
    void *moved;

    if (fail_now())
        return NULL;
    moved = realloc(memory, bytes > 0 ? bytes : 1);
    if (moved != NULL && memory == NULL)
        count_live(1);
    return moved;
}

void tide_mem_free(void *memory)
{
    if (memory == NULL)
        return;
    count_live(-1);
    free(memory);
}

enum tide_err tide_mem_grow(void **array, size_t *capacity, size_t count, size_t item_bytes)
{
    size_t wanted = *capacity;
    void *moved;

    if (count <= wanted)
        return TIDE_OK;
    wanted = wanted > SIZE_MAX / 2 ? count : wanted * 2;
    if (wanted < count)
        wanted = count;
    if (wanted < 8)
        wanted = 8;
    if (wanted > SIZE_MAX / item_bytes)
        wanted = count; /* Doubling does not fit; the bare count may. */
    if (wanted > SIZE_MAX / item_bytes)
        return TIDE_ERR_NO_MEMORY;
    moved = tide_mem_realloc(*array, wanted * item_bytes);
    if (moved == NULL)
        return TIDE_ERR_NO_MEMORY;
    *array = moved;
    *capacity = wanted;
    return TIDE_OK;
}
