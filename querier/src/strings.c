#include "querier_private.h"

#include "tide/base/mem.h"

#include <stdlib.h>

bool tide__strings_add(void *context, struct tide_slice text)
{
    struct strings *strings = context;
    struct tide_slice copy;

    /* A source of several shards asks each of them: the first failure stays. */
    if (strings->err != TIDE_OK)
        return false;
    strings->err = tide_mem_grow((void **)&strings->items, &strings->capacity, strings->count + 1,
                                 sizeof(*strings->items));
    if (strings->err != TIDE_OK)
        return false;
    copy = tide_arena_copy(strings->call->arena, text);
    if (copy.ptr == NULL && text.len > 0) {
        strings->err = tide__call_over_memory(strings->call);
        return false;
    }
    strings->err = tide__call_charge(strings->call);
    if (strings->err != TIDE_OK)
        return false;
    strings->items[strings->count++] = copy;
    return true;
}

static int compare(const void *a, const void *b)
{
    return tide_slice_cmp(*(const struct tide_slice *)a, *(const struct tide_slice *)b);
}

void tide__strings_sort(struct strings *strings)
{
    size_t kept = 0;

    if (strings->count == 0)
        return;
    qsort(strings->items, strings->count, sizeof(*strings->items), compare);
    for (size_t i = 1; i < strings->count; i++) {
        if (!tide_slice_eq(strings->items[i], strings->items[kept]))
            strings->items[++kept] = strings->items[i];
    }
    strings->count = kept + 1;
}

void tide__strings_deinit(struct strings *strings)
{
    tide_mem_free(strings->items);
    strings->items = NULL;
    strings->count = strings->capacity = 0;
}
