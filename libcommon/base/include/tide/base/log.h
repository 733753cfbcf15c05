/* Structured logs on standard error: logfmt or JSON, one line an event. */
#ifndef TIDE_BASE_LOG_H
#define TIDE_BASE_LOG_H

#include "tide/base/err.h"

enum tide_log_level { TIDE_LOG_DEBUG, TIDE_LOG_INFO, TIDE_LOG_WARN, TIDE_LOG_ERROR };
enum tide_log_format { TIDE_LOG_LOGFMT, TIDE_LOG_JSON };

/* Before any thread starts. Default: info, logfmt. */
void tide_log_setup(enum tide_log_level level, enum tide_log_format format);
bool tide_log_enabled(enum tide_log_level level);

/* One event: component and message, then pairs from the format, "key=%d other=%s", separated by
 * single blanks. Each value is what stands between `=` and the next ` key=` of the format; it is
 * quoted and escaped as needed. Threads: any; a line is written by one write(). */
void tide_log(enum tide_log_level level, const char *component, const char *message,
              const char *pairs_format, ...) TIDE_PRINTF(4, 5);

#endif
