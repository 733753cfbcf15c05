#include "tide/promql/fntable.h"

#include "tide/base/assert.h"

/* Argument and result types are one letter each in the list. */
static enum tide_promql_type type_of_letter(char letter)
{
    switch (letter) {
    case 'v':
        return TIDE_PROMQL_VECTOR;
    case 'm':
        return TIDE_PROMQL_MATRIX;
    case 's':
        return TIDE_PROMQL_SCALAR;
    case 't':
        return TIDE_PROMQL_STRING;
    default:
        return TIDE_PROMQL_NONE;
    }
}

const char *tide_promql_type_text(enum tide_promql_type type)
{
    switch (type) {
    case TIDE_PROMQL_SCALAR:
        return "scalar";
    case TIDE_PROMQL_VECTOR:
        return "instant vector";
    case TIDE_PROMQL_MATRIX:
        return "range vector";
    case TIDE_PROMQL_STRING:
        return "string";
    case TIDE_PROMQL_NONE:
        break;
    }
    return "none";
}

struct fn_row {
    const char *name;
    const char *args;
    int variadic;
    char result;
    bool experimental;
};

static const struct fn_row fn_rows[TIDE_FN_COUNT] = {
#define FN_ROW(id, name, args, variadic, result, experimental)                                     \
    {#name, args, variadic, result, experimental},
    TIDE_PROMQL_FUNCTION_MAP(FN_ROW)
#undef FN_ROW
};

struct tide_fn_signature tide_fn_signature(enum tide_fn fn)
{
    const struct fn_row *row;
    struct tide_fn_signature signature = {0};

    TIDE_ASSERT(fn < TIDE_FN_COUNT);
    row = &fn_rows[fn];
    signature.name = row->name;
    signature.variadic = row->variadic;
    signature.result = type_of_letter(row->result);
    signature.experimental = row->experimental;
    for (const char *letter = row->args; *letter != '\0'; letter++) {
        TIDE_ASSERT(signature.arg_count < TIDE_FN_ARGS_LISTED_MAX);
        signature.arg_types[signature.arg_count++] = type_of_letter(*letter);
    }
    return signature;
}

/* The list is alphabetical, so that a binary search finds a name. */
bool tide_fn_find(struct tide_slice name, enum tide_fn *out)
{
    int low = 0;
    int high = TIDE_FN_COUNT;

    while (low < high) {
        int middle = low + (high - low) / 2;
        int order = tide_slice_cmp(name, tide_slice_str(fn_rows[middle].name));

        if (order == 0) {
            *out = (enum tide_fn)middle;
            return true;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}
