/* Seeded numbers and a few shapes for the tests of the model. */
#ifndef TIDE_MODEL_SUPPORT_RANDOM_H
#define TIDE_MODEL_SUPPORT_RANDOM_H

#include "tide/model/labels.h"

/* splitmix64. */
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static inline size_t random_below(uint64_t *state, size_t bound)
{
    return bound == 0 ? 0 : (size_t)(random_next(state) % bound);
}

static inline struct tide_label label_of(const char *name, const char *value)
{
    return (struct tide_label){tide_slice_str(name), tide_slice_str(value)};
}

/* The bytes of s as a test string. */
static inline const char *text_of(struct tide_buf *buf)
{
    tide_buf_byte(buf, 0);
    return (const char *)buf->ptr;
}

#endif
