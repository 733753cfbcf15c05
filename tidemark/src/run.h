/* All roles in one process, from opening the data directory to the last checkpoint. */
#ifndef TIDEMARK_RUN_H
#define TIDEMARK_RUN_H

#include "config.h"

/* Runs until SIGTERM or SIGINT, then drains: answers what is in flight, checkpoints, closes. A
 * second signal ends at once. Errors, before anything was served: with diag, such as TIDE_ERR_BUSY
 * when the directory or the address is in use. */
TIDE_CHECK_RESULT enum tide_err run(const struct config *config, struct tide_diag *diag);

#endif
