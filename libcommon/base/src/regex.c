#include "tide/base/regex.h"

#include "tide/base/mem.h"

#include "cxx_shim_private.h"

struct tide_regex {
    void *re2;
    int group_count; /* Without group 0. */
};

/* ---- From Go's syntax to RE2's ---- */

/* Index behind the class that opens at pattern.ptr[at]; `]` right after the opening is a member,
 * and so is everything in `[:name:]`. */
static size_t class_end(struct tide_slice pattern, size_t at)
{
    at++;
    if (at < pattern.len && pattern.ptr[at] == '^')
        at++;
    if (at < pattern.len && pattern.ptr[at] == ']')
        at++;
    while (at < pattern.len && pattern.ptr[at] != ']') {
        if (pattern.ptr[at] == '\\') {
            at += 2;
            continue;
        }
        if (pattern.ptr[at] == '[' && at + 1 < pattern.len && pattern.ptr[at + 1] == ':') {
            struct tide_slice rest = {pattern.ptr + at + 2, pattern.len - at - 2};
            size_t close = tide_slice_find(rest, TIDE_SLICE(":]"));

            if (close != SIZE_MAX)
                at += close + 3; /* On the closing bracket, passed below. */
        }
        at++;
    }
    return at < pattern.len ? at + 1 : pattern.len;
}

/* Index behind the escape at pattern.ptr[at]; `\Q` takes all until `\E`. */
static size_t escape_end(struct tide_slice pattern, size_t at)
{
    struct tide_slice rest;
    size_t close;

    if (at + 1 >= pattern.len)
        return pattern.len;
    if (pattern.ptr[at + 1] != 'Q')
        return at + 2;
    rest = (struct tide_slice){pattern.ptr + at + 2, pattern.len - at - 2};
    close = tide_slice_find(rest, TIDE_SLICE("\\E"));
    return close == SIZE_MAX ? pattern.len : at + 2 + close + 2;
}

static bool opens_named_group(struct tide_slice pattern, size_t at)
{
    struct tide_slice rest = {pattern.ptr + at, pattern.len - at};

    /* (?<= and (?<! are lookbehind, which neither engine has: RE2 refuses them. */
    return tide_slice_starts(rest, TIDE_SLICE("(?<")) && rest.len > 3 && rest.ptr[3] != '=' &&
           rest.ptr[3] != '!';
}

/* This RE2 knows only (?P<name>, Go also (?<name>; RE2 knows \C, Go does not. */
static enum tide_err translate(struct tide_slice pattern, struct tide_buf *out,
                               struct tide_diag *diag)
{
    size_t at = 0;

    while (at < pattern.len) {
        size_t next = at + 1;

        if (pattern.ptr[at] == '\\') {
            if (at + 1 < pattern.len && pattern.ptr[at + 1] == 'C')
                return tide_diag_err(diag, TIDE_ERR_INVALID, "invalid escape sequence: \\C");
            next = escape_end(pattern, at);
        } else if (pattern.ptr[at] == '[') {
            next = class_end(pattern, at);
        } else if (pattern.ptr[at] == '(' && opens_named_group(pattern, at)) {
            tide_buf_str(out, "(?P<");
            at += 3;
            continue;
        }
        tide_buf_add(out, pattern.ptr + at, next - at);
        at = next;
    }
    return tide_buf_ok(out);
}

/* ---- */

enum tide_err tide_regex_new(struct tide_slice pattern, struct tide_regex **out,
                             struct tide_diag *diag)
{
    struct tide_buf translated = {0};
    struct tide_regex *regex = NULL;
    char reason[TIDE__RE2_ERROR_BYTES];
    enum tide_err err;

    if (pattern.len > TIDE_REGEX_BYTES_MAX)
        return tide_diag_err(diag, TIDE_ERR_INVALID,
                             "regular expression has %zu bytes, at most %d are accepted",
                             pattern.len, TIDE_REGEX_BYTES_MAX);
    err = translate(pattern, &translated, diag);
    if (err != TIDE_OK)
        goto done;
    regex = tide_mem_new(sizeof(*regex));
    if (regex == NULL) {
        err = TIDE_ERR_NO_MEMORY;
        goto done;
    }
    switch (tide__re2_new((const char *)translated.ptr, translated.len, &regex->re2, reason)) {
    case TIDE__RE2_OK:
        regex->group_count = tide__re2_group_count(regex->re2);
        *out = regex;
        regex = NULL;
        break;
    case TIDE__RE2_BAD_PATTERN:
        err = tide_diag_err(diag, TIDE_ERR_INVALID, "%s", reason);
        break;
    default:
        err = TIDE_ERR_NO_MEMORY;
        break;
    }

done:
    tide_buf_deinit(&translated);
    tide_regex_free(regex);
    return err;
}

void tide_regex_free(struct tide_regex *regex)
{
    if (regex == NULL)
        return;
    tide__re2_free(regex->re2);
    tide_mem_free(regex);
}

bool tide_regex_match(const struct tide_regex *regex, struct tide_slice text)
{
    return tide__re2_match(regex->re2, (const char *)text.ptr, text.len);
}

/* ---- Templates ---- */

static bool is_word(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* The name after a `$`; *used is how many bytes of text it and its braces take. False: malformed,
 * the `$` stands for itself. */
static bool reference(struct tide_slice text, struct tide_slice *name, size_t *used)
{
    bool braces = text.len > 0 && text.ptr[0] == '{';
    size_t start = braces ? 1 : 0;
    size_t end = start;

    while (end < text.len && is_word(text.ptr[end]))
        end++;
    if (end == start || (braces && (end == text.len || text.ptr[end] != '}')))
        return false;
    *name = (struct tide_slice){text.ptr + start, end - start};
    *used = braces ? end + 1 : end;
    return true;
}

/* The group that a name means, or -1. A number without leading zeros is an index. */
static int group_of(const struct tide_regex *regex, struct tide_slice name)
{
    int index = 0;

    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < '0' || name.ptr[i] > '9' || index >= 100000000)
            return tide__re2_group_index(regex->re2, (const char *)name.ptr, name.len);
        index = index * 10 + (name.ptr[i] - '0');
    }
    if (name.len > 1 && name.ptr[0] == '0')
        return -1;
    return index <= regex->group_count ? index : -1;
}

static void expand(const struct tide_regex *regex, const struct tide__re2_text *groups,
                   struct tide_slice rest, struct tide_buf *out)
{
    while (rest.len > 0) {
        const uint8_t *dollar = memchr(rest.ptr, '$', rest.len);
        size_t plain = dollar == NULL ? rest.len : (size_t)(dollar - rest.ptr);
        struct tide_slice name;
        size_t used;
        int group;

        tide_buf_add(out, rest.ptr, plain);
        if (dollar == NULL)
            return;
        rest = (struct tide_slice){dollar + 1, rest.len - plain - 1};
        if (rest.len > 0 && rest.ptr[0] == '$') {
            used = 1;
            tide_buf_byte(out, '$');
        } else if (reference(rest, &name, &used)) {
            group = group_of(regex, name);
            if (group >= 0 && groups[group].ptr != NULL)
                tide_buf_add(out, groups[group].ptr, groups[group].len);
        } else {
            used = 0;
            tide_buf_byte(out, '$');
        }
        rest = (struct tide_slice){rest.ptr + used, rest.len - used};
    }
}

bool tide_regex_expand(const struct tide_regex *regex, struct tide_slice text,
                       struct tide_slice template_text, struct tide_buf *out)
{
    size_t count = (size_t)regex->group_count + 1;
    struct tide__re2_text few[16];
    struct tide__re2_text *groups = few;
    bool matched;

    if (count > sizeof(few) / sizeof(few[0])) {
        groups = tide_mem_array(count, sizeof(*groups));
        if (groups == NULL) {
            out->failed = true;
            return false;
        }
    }
    matched =
        tide__re2_match_groups(regex->re2, (const char *)text.ptr, text.len, groups, (int)count);
    if (matched)
        expand(regex, groups, template_text, out);
    if (groups != few)
        tide_mem_free(groups);
    return matched;
}

bool tide_regex_range(const struct tide_regex *regex, struct tide_buf *low, struct tide_buf *high)
{
    char low_text[TIDE__RE2_RANGE_BYTES_MAX];
    char high_text[TIDE__RE2_RANGE_BYTES_MAX];
    size_t low_len;
    size_t high_len;

    if (!tide__re2_range(regex->re2, low_text, &low_len, high_text, &high_len))
        return false;
    /* From the first to the last code point there is: that tells nothing. */
    if ((low_len == 0 || low_text[0] == '\0') && high_len > 0 && (uint8_t)high_text[0] >= 0xf4)
        return false;
    tide_buf_add(low, low_text, low_len);
    tide_buf_add(high, high_text, high_len);
    return true;
}
