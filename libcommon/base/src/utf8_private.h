/* UTF-8, shared inside base. */
#ifndef TIDE_BASE_UTF8_PRIVATE_H
#define TIDE_BASE_UTF8_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How many bytes from the start are whole, valid sequences (RFC 3629). */
size_t tide__utf8_run(const uint8_t *p, size_t len);
/* Whether the bytes (fewer than 4, not a whole sequence) could start a sequence. */
bool tide__utf8_is_prefix(const uint8_t *p, size_t len);

#endif
