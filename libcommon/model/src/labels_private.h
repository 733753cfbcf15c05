/* What the parts of the model share about printing labels. */
#ifndef TIDE_MODEL_LABELS_PRIVATE_H
#define TIDE_MODEL_LABELS_PRIVATE_H

#include "tide/model/labels.h"

/* Appends text in double quotes, escaped as Go's strconv.Quote does (PromQL strings follow it):
 * control characters and invalid UTF-8 as escapes, so that the result is always valid UTF-8. */
void tide__print_quoted(struct tide_buf *out, struct tide_slice text);

#endif
