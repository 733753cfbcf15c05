/* Label sets made by functions, and the functions that only make those. */
#ifndef TIDE_PROMQL_FN_LABELS_PRIVATE_H
#define TIDE_PROMQL_FN_LABELS_PRIVATE_H

#include "fn_private.h"

/* labels with name set to value, or without it when value is empty. The pairs live as long as the
 * query; name and value are borrowed.
 * Errors: as tide__eval_no_memory(). */
TIDE_CHECK_RESULT enum tide_err tide__labels_with(struct tide__eval *eval,
                                                  struct tide_labels labels, struct tide_slice name,
                                                  struct tide_slice value, struct tide_labels *out);
/* What Prometheus 3 takes for a label name: UTF-8, not empty. */
bool tide__label_name_is_valid(struct tide_slice name);

enum tide_err tide__fn_label_replace(const struct tide__call *call, struct tide__matrix **out);
enum tide_err tide__fn_label_join(const struct tide__call *call, struct tide__matrix **out);
enum tide_err tide__fn_label_replace_check(const struct tide__call *call);
enum tide_err tide__fn_label_join_check(const struct tide__call *call);

#endif
