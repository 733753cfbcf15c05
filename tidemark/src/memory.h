/* How much memory the process uses, by purpose, and a watermark that refuses writes before the
 * machine runs out. */
#ifndef TIDEMARK_MEMORY_H
#define TIDEMARK_MEMORY_H

#include "tide/base/err.h"

#include <stdint.h>

/* Starts the thread that looks at the resident set several times a second, and adds the memory
 * metrics. Errors: TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err memory_watch_start(uint64_t bytes_max);
void memory_watch_stop(void);
/* TIDE_OK, or TIDE_ERR_UNAVAILABLE with the reason while the resident set is over the bound. Cheap.
 */
enum tide_err memory_admit(struct tide_diag *diag);

#endif
