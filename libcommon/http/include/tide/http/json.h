/* A JSON writer onto a buffer, without a tree: calls in the order of the text. Commas are put where
 * they belong; that begin and end pair up is the caller's. Check tide_buf_ok() at the end. */
#ifndef TIDE_HTTP_JSON_H
#define TIDE_HTTP_JSON_H

#include "tide/base/slice.h"

struct tide_json {
    struct tide_buf *out; /* Borrowed. */
    bool comma;           /* The next value follows another one. */
};

static inline struct tide_json tide_json(struct tide_buf *out)
{
    return (struct tide_json){out, false};
}

void tide_json_object_begin(struct tide_json *j);
void tide_json_object_end(struct tide_json *j);
void tide_json_array_begin(struct tide_json *j);
void tide_json_array_end(struct tide_json *j);
void tide_json_key(struct tide_json *j, const char *key); /* key needs no escapes. */
void tide_json_key_slice(struct tide_json *j, struct tide_slice key);
/* Escaped as Go's encoding/json without HTML escapes does: control bytes, quotes, backslashes,
 * U+2028 and U+2029; bytes that are not UTF-8 become U+FFFD. */
void tide_json_string(struct tide_json *j, struct tide_slice text);
void tide_json_str(struct tide_json *j, const char *text);
void tide_json_u64(struct tide_json *j, uint64_t v);
void tide_json_i64(struct tide_json *j, int64_t v);
void tide_json_bool(struct tide_json *j, bool v);
void tide_json_double(struct tide_json *j, double v); /* A number; null when it is not finite. */
/* Milliseconds as a number of seconds with at most three decimals: 1435781451.781, 0, -1.5. */
void tide_json_time(struct tide_json *j, int64_t ms);
/* A sample value as the Prometheus API has it: quoted. */
void tide_json_value(struct tide_json *j, double v);
/* [seconds,"value"]: the fast path of query answers. */
void tide_json_point(struct tide_json *j, int64_t ms, double v);

#endif
