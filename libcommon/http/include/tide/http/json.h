/* JSON text onto a buffer, as answers of the Prometheus HTTP API have it. */
#ifndef TIDE_HTTP_JSON_H
#define TIDE_HTTP_JSON_H

#include "tide/base/slice.h"

/* Deepest nesting of objects and arrays. */
#define TIDE_JSON_DEPTH_MAX 64

/* A writer sets the commas itself; what it is asked to write must make sense (a key in an object
 * before each value, as many ends as begins): that is asserted. Failed memory is remembered by the
 * buffer. The buffer may be taken away and emptied between calls, to stream. One thread at a
 * time. */
struct tide_json {
    struct tide_buf *out; /* Borrowed. */
    uint64_t has_items;   /* Bit d: the container at depth d has an item already. */
    uint64_t is_object;   /* Bit d: that container is an object. */
    uint32_t depth;
    bool after_key;
};

static inline struct tide_json tide_json(struct tide_buf *out)
{
    return (struct tide_json){.out = out};
}

void tide_json_object_begin(struct tide_json *json);
void tide_json_object_end(struct tide_json *json);
void tide_json_array_begin(struct tide_json *json);
void tide_json_array_end(struct tide_json *json);

/* Strings as Go's encoding/json writes them without its HTML escapes: invalid UTF-8 becomes \ufffd,
 * U+2028 and U+2029 are escaped. A key is escaped too. */
void tide_json_key(struct tide_json *json, struct tide_slice key);
void tide_json_key_str(struct tide_json *json, const char *key);
void tide_json_string(struct tide_json *json, struct tide_slice text);
void tide_json_str(struct tide_json *json, const char *text);
void tide_json_i64(struct tide_json *json, int64_t v);
void tide_json_u64(struct tide_json *json, uint64_t v);
/* A JSON number; NaN and the infinities, which JSON lacks, become null. */
void tide_json_number(struct tide_json *json, double v);
void tide_json_bool(struct tide_json *json, bool v);
void tide_json_null(struct tide_json *json);
/* Text that is JSON already. */
void tide_json_raw(struct tide_json *json, struct tide_slice text);

/* A time in milliseconds as seconds: 1435781451.781, 0, -1.500. Three decimals or none, as
 * Prometheus has it. */
void tide_json_timestamp(struct tide_json *json, int64_t ms);
/* A sample value as a string: "1.5", "NaN", "+Inf", "1e+21". */
void tide_json_value(struct tide_json *json, double v);
/* [1435781451.781,"1.5"] */
void tide_json_sample(struct tide_json *json, int64_t ms, double v);
/* count samples, one after another in the open array. 18 ns each for whole values, 63 ns for
 * fractions. */
void tide_json_samples(struct tide_json *json, const int64_t *ms, const double *v, size_t count);

#endif
