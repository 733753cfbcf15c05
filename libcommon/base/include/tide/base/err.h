/* Error codes: one list, which also says what the sender of a request should do about each. */
#ifndef TIDE_BASE_ERR_H
#define TIDE_BASE_ERR_H

#include <stdbool.h>

#define TIDE_CHECK_RESULT __attribute__((warn_unused_result))
#define TIDE_PRINTF(format_index, args_index)                                                      \
    __attribute__((format(printf, format_index, args_index)))

/* One line per error: name, HTTP status of the reply, text for people. 4xx: the sender must not
 * send the same again; 429 and 5xx: it may, later. */
#define TIDE_ERR_MAP(X)                                                                            \
    X(NO_MEMORY, 503, "out of memory")                                                             \
    X(IO, 500, "input or output failed")                                                           \
    X(CORRUPT, 500, "stored data is corrupt")                                                      \
    X(INVALID, 400, "invalid input")                                                               \
    X(UNSUPPORTED, 400, "not supported")                                                           \
    X(TOO_LARGE, 413, "too large")                                                                 \
    X(MEDIA_TYPE, 415, "unsupported media type or encoding")                                       \
    X(NOT_FOUND, 404, "not found")                                                                 \
    X(EXISTS, 409, "exists already")                                                               \
    X(DUPLICATE_TIMESTAMP, 400, "duplicate sample for timestamp with another value")               \
    X(TOO_OLD, 400, "sample is older than the retention")                                          \
    X(TOO_NEW, 400, "sample is too far in the future")                                             \
    X(LIMIT, 429, "over a limit")                                                                  \
    X(EXECUTION, 422, "query cannot be executed")                                                  \
    X(CANCELED, 503, "canceled")                                                                   \
    X(TIMEOUT, 503, "deadline passed")                                                             \
    X(UNAVAILABLE, 503, "not available now")                                                       \
    X(DISK_FULL, 503, "no disk space left")                                                        \
    X(BUSY, 503, "in use by another process")                                                      \
    X(INTERNAL, 500, "internal error")

enum tide_err {
    TIDE_OK = 0,
    TIDE_END = 1, /* An iterator has no more; not an error. */
    TIDE_ERR_BASE = 100,
#define TIDE_ERR_ENUM(name, status, text) TIDE_ERR_##name,
    TIDE_ERR_MAP(TIDE_ERR_ENUM)
#undef TIDE_ERR_ENUM
};

/* The text of an error for people; never NULL, static. */
const char *tide_err_text(enum tide_err err);
/* The identifier, "NO_MEMORY"; never NULL, static. */
const char *tide_err_name(enum tide_err err);
/* The HTTP status that answers it; 200 for TIDE_OK. */
int tide_err_http_status(enum tide_err err);

/* What is wrong and where, for the sender of bad input. The caller owns it; a NULL diag is allowed
 * everywhere and keeps nothing. */
struct tide_diag {
    char text[512]; /* NUL-terminated valid UTF-8; "" when nothing was said. */
};

/* Sets the text when there is none yet: the first cause is the one kept. Cuts at the bound, never
 * in the middle of a UTF-8 sequence. */
void tide_diag_set(struct tide_diag *diag, const char *format, ...) TIDE_PRINTF(2, 3);
/* The same and returns err, so that a failing function can say why in one line. */
enum tide_err tide_diag_err(struct tide_diag *diag, enum tide_err err, const char *format, ...)
    TIDE_PRINTF(3, 4);

#endif
