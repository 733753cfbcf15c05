#include "fn_labels_private.h"

#include "eval_private.h"

#include "tide/base/regex.h"

/* ---- Label sets ---- */

enum tide_err tide__labels_with(struct tide__eval *eval, struct tide_labels labels,
                                struct tide_slice name, struct tide_slice value,
                                struct tide_labels *out)
{
    struct tide_label *pairs = tide__eval_alloc(eval, (labels.count + 1) * sizeof(*pairs));

    if (pairs == NULL)
        return tide__eval_no_memory(eval);
    if (labels.count > 0)
        memcpy(pairs, labels.pairs, labels.count * sizeof(*pairs));
    *out = (struct tide_labels){pairs, tide__labels_set(pairs, labels.count, name, value)};
    return TIDE_OK;
}

bool tide__label_name_is_valid(struct tide_slice name)
{
    return name.len > 0 && tide_slice_is_utf8(name);
}

static enum tide_err set_row_label(struct tide__eval *eval, struct tide__row *row,
                                   struct tide_slice name, const struct tide_buf *value)
{
    struct tide_slice copy = {NULL, value->len};

    if (value->len > 0) {
        uint8_t *bytes = tide__eval_alloc(eval, value->len);

        if (bytes == NULL)
            return tide__eval_no_memory(eval);
        memcpy(bytes, value->ptr, value->len);
        copy.ptr = bytes;
    }
    /* A name that was set on purpose is not removed at the end of the query. */
    if (tide__is_metric_name(name))
        row->drop_name = false;
    return tide__labels_with(eval, row->labels, name, copy, &row->labels);
}

/* Frees the copy that tide__matrix_own() may have made of argument 0. */
static void discard(const struct tide__call *call, struct tide__matrix *matrix)
{
    if (matrix != call->args[0].matrix)
        tide__matrix_free(matrix);
}

/* ---- label_replace(v, dst, replacement, src, regex) ---- */

static enum tide_err compile(const struct tide__call *call, struct tide_regex **out)
{
    struct tide_slice pattern = call->args[4].string;
    enum tide_err err = tide_regex_new(pattern, out, NULL);

    if (err == TIDE_ERR_NO_MEMORY)
        return tide__eval_no_memory(call->eval);
    if (err != TIDE_OK)
        return tide__eval_fail(call->eval, TIDE_ERR_EXECUTION,
                               "invalid regular expression in label_replace(): %.*s",
                               TIDE_SLICE_ARGS(pattern));
    return TIDE_OK;
}

enum tide_err tide__fn_label_replace_check(const struct tide__call *call)
{
    struct tide_slice dst = call->args[1].string;
    struct tide_regex *regex;
    enum tide_err err = compile(call, &regex);

    if (err != TIDE_OK)
        return err;
    tide_regex_free(regex);
    if (!tide__label_name_is_valid(dst))
        return tide__eval_fail(call->eval, TIDE_ERR_EXECUTION,
                               "invalid destination label name in label_replace(): %.*s",
                               TIDE_SLICE_ARGS(dst));
    return TIDE_OK;
}

enum tide_err tide__fn_label_replace(const struct tide__call *call, struct tide__matrix **out)
{
    struct tide_slice dst = call->args[1].string;
    struct tide_slice replacement = call->args[2].string;
    struct tide_slice src = call->args[3].string;
    struct tide_regex *regex = NULL;
    struct tide__matrix *matrix;
    struct tide_buf value = {0};
    enum tide_err err = tide__matrix_own(call->args[0].matrix, &matrix);

    if (err != TIDE_OK)
        return err;
    err = compile(call, &regex);
    for (size_t i = 0; err == TIDE_OK && i < matrix->row_count; i++) {
        struct tide__row *row = &matrix->rows[i];

        value.len = 0;
        if (tide_regex_expand(regex, tide_labels_get(row->labels, src), replacement, &value))
            err = value.failed ? tide__eval_no_memory(call->eval)
                               : set_row_label(call->eval, row, dst, &value);
    }
    tide_buf_deinit(&value);
    tide_regex_free(regex);
    if (err != TIDE_OK) {
        discard(call, matrix);
        return err;
    }
    *out = matrix;
    return TIDE_OK;
}

/* ---- label_join(v, dst, separator, src…) ---- */

enum tide_err tide__fn_label_join_check(const struct tide__call *call)
{
    struct tide_slice dst = call->args[1].string;

    for (size_t i = 3; i < call->arg_count; i++)
        if (!tide__label_name_is_valid(call->args[i].string))
            return tide__eval_fail(call->eval, TIDE_ERR_EXECUTION,
                                   "invalid source label name in label_join(): %.*s",
                                   TIDE_SLICE_ARGS(call->args[i].string));
    if (!tide__label_name_is_valid(dst))
        return tide__eval_fail(call->eval, TIDE_ERR_EXECUTION,
                               "invalid destination label name in label_join(): %.*s",
                               TIDE_SLICE_ARGS(dst));
    return TIDE_OK;
}

enum tide_err tide__fn_label_join(const struct tide__call *call, struct tide__matrix **out)
{
    struct tide__matrix *matrix;
    struct tide_buf value = {0};
    enum tide_err err = tide__matrix_own(call->args[0].matrix, &matrix);

    if (err != TIDE_OK)
        return err;
    for (size_t i = 0; err == TIDE_OK && i < matrix->row_count; i++) {
        struct tide__row *row = &matrix->rows[i];

        value.len = 0;
        for (size_t a = 3; a < call->arg_count; a++) {
            if (a > 3)
                tide_buf_slice(&value, call->args[2].string);
            tide_buf_slice(&value, tide_labels_get(row->labels, call->args[a].string));
        }
        err = value.failed ? tide__eval_no_memory(call->eval)
                           : set_row_label(call->eval, row, call->args[1].string, &value);
    }
    tide_buf_deinit(&value);
    if (err != TIDE_OK) {
        discard(call, matrix);
        return err;
    }
    *out = matrix;
    return TIDE_OK;
}
