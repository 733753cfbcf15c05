/* Regular expressions as PromQL has them: RE2 syntax, fully anchored, dot matches newline. */
#ifndef TIDE_BASE_REGEX_H
#define TIDE_BASE_REGEX_H

#include "tide/base/slice.h"

/* Longest pattern accepted, in bytes: RE2's compile time grows with it. */
#define TIDE_REGEX_BYTES_MAX 8192

struct tide_regex;

/* Compiles pattern (copied) anchored at both ends. Go's `(?<name>…)` is accepted; `\C` is not, as
 * in Go. Errors: TIDE_ERR_INVALID, diag has RE2's reason; TIDE_ERR_NO_MEMORY. Threads: a compiled
 * regex may be used by many at once. */
TIDE_CHECK_RESULT enum tide_err tide_regex_new(struct tide_slice pattern, struct tide_regex **out,
                                               struct tide_diag *diag);
void tide_regex_free(struct tide_regex *regex);
bool tide_regex_match(const struct tide_regex *regex, struct tide_slice text);
/* If text matches, appends template to out with $1, ${1}, $name, ${name} and $$ replaced as Go's
 * Regexp.ExpandString does, and answers true. */
bool tide_regex_expand(const struct tide_regex *regex, struct tide_slice text,
                       struct tide_slice template_text, struct tide_buf *out);
/* The range [low, high] that every match lies in, bytewise; false when there is none to tell.
 * Appends to the buffers. */
bool tide_regex_range(const struct tide_regex *regex, struct tide_buf *low, struct tide_buf *high);

#endif
