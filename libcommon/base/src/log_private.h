/* The line of a log event, for the tests. */
#ifndef TIDE_BASE_LOG_PRIVATE_H
#define TIDE_BASE_LOG_PRIVATE_H

#include "tide/base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#define TIDE__LOG_LINE_BYTES 8192
#define TIDE__LOG_VALUE_BYTES 2048

struct tide__log_line {
    char text[TIDE__LOG_LINE_BYTES + 2]; /* The brace and newline that end a cut line too. */
    size_t len;
};

/* args is passed by address, so that each conversion goes on where the last one stopped. */
void tide__log_format(struct tide__log_line *line, int64_t wall_ms, enum tide_log_level level,
                      const char *component, const char *message, const char *pairs_format,
                      va_list *args);

#endif
