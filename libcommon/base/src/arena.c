#include "tide/base/slice.h"

#include "tide/base/mem.h"

#include <stdarg.h>
#include <stdio.h>

/* The first chunk stays under malloc's mmap threshold: an arena a request costs two cheap calls.
 * Later ones double, so that big queries take few. */
#define CHUNK_BYTES_FIRST ((size_t)32 << 10)
#define CHUNK_BYTES_MAX ((size_t)1 << 20)
#define ALIGN_BYTES ((size_t)16)

/* A chunk's memory follows it. */
struct chunk {
    struct chunk *next;
    size_t bytes; /* Of the whole chunk, with this header. */
};
_Static_assert(sizeof(struct chunk) % ALIGN_BYTES == 0, "what follows must be aligned");

struct tide_arena {
    uint8_t *at; /* Free space of the current chunk: [at, end). */
    uint8_t *end;
    struct chunk *chunks; /* Newest first; the first chunk of all is the last of the list. */
    size_t bytes;
    size_t bytes_max;
};

static bool add_chunk(struct tide_arena *arena, size_t bytes_min)
{
    size_t wanted = arena->chunks == NULL ? CHUNK_BYTES_FIRST : arena->chunks->bytes * 2;
    size_t left = arena->bytes_max - arena->bytes;
    struct chunk *chunk;

    if (bytes_min > SIZE_MAX - sizeof(*chunk))
        return false;
    bytes_min += sizeof(*chunk);
    if (bytes_min > left)
        return false;
    if (wanted > CHUNK_BYTES_MAX)
        wanted = CHUNK_BYTES_MAX;
    if (wanted > left)
        wanted = left;
    if (wanted < bytes_min)
        wanted = bytes_min;
    chunk = tide_mem_alloc(wanted);
    if (chunk == NULL)
        return false;
    chunk->next = arena->chunks;
    chunk->bytes = wanted;
    arena->chunks = chunk;
    arena->bytes += wanted;
    arena->at = (uint8_t *)(chunk + 1);
    arena->end = (uint8_t *)chunk + wanted;
    return true;
}

struct tide_arena *tide_arena_new(size_t bytes_max)
{
    struct tide_arena *arena = tide_mem_new(sizeof(*arena));

    if (arena == NULL)
        return NULL;
    arena->bytes_max = bytes_max > 0 ? bytes_max : SIZE_MAX;
    return arena;
}

void tide_arena_free(struct tide_arena *arena)
{
    if (arena == NULL)
        return;
    while (arena->chunks != NULL) {
        struct chunk *chunk = arena->chunks;

        arena->chunks = chunk->next;
        tide_mem_free(chunk);
    }
    tide_mem_free(arena);
}

void tide_arena_reset(struct tide_arena *arena)
{
    struct chunk *first = arena->chunks;

    if (first == NULL)
        return;
    while (first->next != NULL) {
        struct chunk *chunk = first;

        first = chunk->next;
        tide_mem_free(chunk);
    }
    arena->chunks = first;
    arena->bytes = first->bytes;
    arena->at = (uint8_t *)(first + 1);
    arena->end = (uint8_t *)first + first->bytes;
}

void *tide_arena_alloc(struct tide_arena *arena, size_t bytes)
{
    void *memory;

    if (bytes > SIZE_MAX - ALIGN_BYTES)
        return NULL;
    bytes = bytes == 0 ? ALIGN_BYTES : (bytes + (ALIGN_BYTES - 1)) & ~(ALIGN_BYTES - 1);
    if (arena->at == NULL || bytes > (size_t)(arena->end - arena->at))
        if (!add_chunk(arena, bytes))
            return NULL;
    memory = arena->at;
    arena->at += bytes;
    return memory;
}

void *tide_arena_new_array(struct tide_arena *arena, size_t count, size_t bytes_each)
{
    void *memory;

    if (bytes_each > 0 && count > SIZE_MAX / bytes_each)
        return NULL;
    memory = tide_arena_alloc(arena, count * bytes_each);
    if (memory != NULL)
        memset(memory, 0, count * bytes_each);
    return memory;
}

struct tide_slice tide_arena_copy(struct tide_arena *arena, struct tide_slice s)
{
    uint8_t *copy;

    if (s.len == 0)
        return (struct tide_slice){NULL, 0};
    copy = tide_arena_alloc(arena, s.len);
    if (copy == NULL)
        return (struct tide_slice){NULL, 0};
    memcpy(copy, s.ptr, s.len);
    return (struct tide_slice){copy, s.len};
}

char *tide_arena_printf(struct tide_arena *arena, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    int len;

    va_start(args, format);
    len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len < 0)
        return NULL;
    text = tide_arena_alloc(arena, (size_t)len + 1);
    if (text == NULL)
        return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)len + 1, format, args);
    va_end(args);
    return text;
}

size_t tide_arena_bytes(const struct tide_arena *arena)
{
    return arena->bytes;
}
