/* Reads the regexes that dashboards really send: alternations of literals, and one literal with
 * `.*` or `.+` around it. All else is left to RE2. */
#include "matcher_private.h"

#include <stdlib.h>

/* A set of strings: what a part of a pattern without wildcards matches. */
struct literals {
    struct tide_slice *items;
    size_t count;
    size_t capacity;
    size_t bytes;
};

struct parser {
    struct tide_slice pattern;
    size_t at;
    struct tide_arena *arena;
    bool no_memory;
};

static bool give_up(struct parser *p, bool no_memory)
{
    p->no_memory = p->no_memory || no_memory;
    return false;
}

static bool literals_add(struct parser *p, struct literals *set, struct tide_slice text)
{
    if (set->count >= LITERALS_MAX || text.len > LITERALS_BYTES_MAX - set->bytes)
        return give_up(p, false);
    if (set->count == set->capacity) {
        size_t capacity = set->capacity == 0 ? 1 : set->capacity * 2;
        struct tide_slice *items = tide_arena_alloc(p->arena, capacity * sizeof(*items));

        if (items == NULL)
            return give_up(p, true);
        if (set->count > 0)
            memcpy(items, set->items, set->count * sizeof(*items));
        set->items = items;
        set->capacity = capacity;
    }
    set->items[set->count++] = text;
    set->bytes += text.len;
    return true;
}

static bool join(struct parser *p, struct tide_slice a, struct tide_slice b, struct tide_slice *out)
{
    uint8_t *text;

    if (a.len == 0 || b.len == 0) {
        *out = a.len == 0 ? b : a;
        return true;
    }
    text = tide_arena_alloc(p->arena, a.len + b.len);
    if (text == NULL)
        return give_up(p, true);
    memcpy(text, a.ptr, a.len);
    memcpy(text + a.len, b.ptr, b.len);
    *out = (struct tide_slice){text, a.len + b.len};
    return true;
}

/* *set becomes every string of *set followed by every one of tail. */
static bool literals_product(struct parser *p, struct literals *set, const struct literals *tail)
{
    struct literals product = {0};

    if (set->count == 1 && set->items[0].len == 0) { /* Nothing in front: no need to copy. */
        *set = *tail;
        return true;
    }
    if (set->count * tail->count > LITERALS_PRODUCT_MAX &&
        !(tail->count == 1 && tail->items[0].len == 0))
        return give_up(p, false);
    for (size_t i = 0; i < set->count; i++) {
        for (size_t k = 0; k < tail->count; k++) {
            struct tide_slice text;

            if (!join(p, set->items[i], tail->items[k], &text) || !literals_add(p, &product, text))
                return false;
        }
    }
    *set = product;
    return true;
}

static bool at_end(const struct parser *p)
{
    return p->at == p->pattern.len;
}

static uint8_t peek(const struct parser *p)
{
    return at_end(p) ? 0 : p->pattern.ptr[p->at];
}

static bool is_one_of(uint8_t c, const char *set)
{
    return c != 0 && strchr(set, c) != NULL;
}

/* A repetition behind what was just read: not a simple form. */
static bool repetition_follows(const struct parser *p)
{
    return is_one_of(peek(p), "*+?{");
}

static bool alternation(struct parser *p, unsigned depth, struct literals *out);

/* A run of plain and escaped characters, up to what ends or changes it. */
static bool literal_run(struct parser *p, struct tide_slice *out)
{
    size_t start = p->at;
    size_t escapes = 0;
    uint8_t *text;
    size_t len = 0;

    while (!at_end(p) && !is_one_of(peek(p), "|().*+?[]{}^$")) {
        if (peek(p) == '\\') {
            escapes++;
            p->at++;
            /* Escaped punctuation is itself; letters and digits are classes, `_` RE2 refuses. */
            if (!is_one_of(peek(p), "!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~ "))
                return give_up(p, false);
        }
        p->at++;
    }
    if (p->at == start || repetition_follows(p))
        return false;
    *out = (struct tide_slice){p->pattern.ptr + start, p->at - start};
    if (escapes == 0)
        return true;
    text = tide_arena_alloc(p->arena, out->len - escapes);
    if (text == NULL)
        return give_up(p, true);
    for (size_t i = 0; i < out->len; i++) {
        if (out->ptr[i] == '\\')
            i++;
        text[len++] = out->ptr[i];
    }
    *out = (struct tide_slice){text, len};
    return true;
}

/* A group, behind its opening parenthesis. */
static bool group(struct parser *p, unsigned depth, struct literals *out)
{
    if (depth >= LITERALS_DEPTH_MAX)
        return give_up(p, false);
    if (peek(p) == '?') {
        if (p->pattern.len - p->at < 2 || p->pattern.ptr[p->at + 1] != ':')
            return give_up(p, false); /* Flags and names. */
        p->at += 2;
    }
    if (!alternation(p, depth + 1, out) || peek(p) != ')')
        return false;
    p->at++;
    return !repetition_follows(p);
}

/* Literals and groups one after the other: *set grows by them. Stops at what it does not know. */
static bool sequence(struct parser *p, unsigned depth, struct literals *set)
{
    while (!at_end(p) && !is_one_of(peek(p), "|).$")) {
        struct literals part = {0};
        struct tide_slice text = {0};

        if (peek(p) == '(') {
            p->at++;
            if (!group(p, depth, &part))
                return false;
        } else if (!literal_run(p, &text) || !literals_add(p, &part, text)) {
            return false;
        }
        if (!literals_product(p, set, &part))
            return false;
    }
    return true;
}

static bool alternation(struct parser *p, unsigned depth, struct literals *out)
{
    for (;;) {
        struct literals branch = {0};

        if (!literals_add(p, &branch, (struct tide_slice){0}) || !sequence(p, depth, &branch))
            return false;
        for (size_t i = 0; i < branch.count; i++)
            if (!literals_add(p, out, branch.items[i]))
                return false;
        if (peek(p) != '|')
            return true;
        p->at++;
    }
}

static int slice_order(const void *a, const void *b)
{
    struct tide_slice x;
    struct tide_slice y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return tide_slice_cmp(x, y);
}

static void sort_distinct(struct literals *set)
{
    size_t kept = 0;

    if (set->count < 2)
        return;
    qsort(set->items, set->count, sizeof(*set->items), slice_order);
    for (size_t i = 0; i < set->count; i++)
        if (kept == 0 || !tide_slice_eq(set->items[kept - 1], set->items[i]))
            set->items[kept++] = set->items[i];
    set->count = kept;
}

/* Reads `.*` or `.+`; *any tells which. */
static bool wildcard(struct parser *p, bool *any)
{
    uint8_t sign;

    if (p->pattern.len - p->at < 2 || peek(p) != '.')
        return false;
    sign = p->pattern.ptr[p->at + 1];
    if (sign != '*' && sign != '+')
        return false;
    p->at += 2;
    *any = sign == '*';
    return !repetition_follows(p); /* `.*?` too: the same strings, but rare. */
}

/* `^` in front and `$` behind say what anchoring says anyway. They bind closer than `|`, but the
 * outermost ones of the whole pattern do so to the first and the last branch, at the very places
 * where anchoring puts them. */
static void strip_anchors(struct parser *p)
{
    size_t slashes = 0;

    if (peek(p) == '^')
        p->at++;
    if (p->pattern.len <= p->at || p->pattern.ptr[p->pattern.len - 1] != '$')
        return;
    while (slashes + 1 < p->pattern.len - p->at &&
           p->pattern.ptr[p->pattern.len - 2 - slashes] == '\\')
        slashes++;
    if (slashes % 2 == 0)
        p->pattern.len--;
}

static bool one_literal(struct parser *p, struct tide_slice *out)
{
    struct literals set = {0};

    if (!literals_add(p, &set, (struct tide_slice){0}) || !sequence(p, 0, &set) || set.count != 1)
        return false;
    *out = set.items[0];
    return true;
}

/* `.*`, `.+`, `.*literal`, `.*literal.*`. */
static bool starts_wild(struct parser *p, struct tide_matcher *m)
{
    struct tide_slice literal = {0};
    bool any;
    bool any_behind;

    if (!wildcard(p, &any))
        return false;
    if (at_end(p)) {
        m->kind = any ? TIDE_MATCH_ALL : TIDE_MATCH_NONEMPTY;
        return true;
    }
    if (!any || !one_literal(p, &literal) || literal.len == 0)
        return false;
    if (at_end(p)) {
        m->kind = TIDE_MATCH_SUFFIX;
    } else {
        if (!wildcard(p, &any_behind) || !any_behind || !at_end(p))
            return false;
        m->kind = TIDE_MATCH_CONTAINS;
    }
    m->prefix = literal;
    return true;
}

/* `literal.*`, `literal.+`, or an alternation of literals. */
static bool starts_literal(struct parser *p, struct tide_matcher *m)
{
    size_t start = p->at;
    struct tide_slice literal = {0};
    struct literals set = {0};
    bool any;

    if (one_literal(p, &literal) && peek(p) == '.') {
        if (!wildcard(p, &any) || !at_end(p))
            return false;
        m->kind = TIDE_MATCH_PREFIX;
        m->prefix = literal;
        m->needs_more = !any;
        return true;
    }
    p->at = start;
    if (!alternation(p, 0, &set) || !at_end(p))
        return false;
    sort_distinct(&set);
    m->kind = TIDE_MATCH_LITERALS;
    m->literals = set.items;
    m->literal_count = set.count;
    return true;
}

enum tide_err tide__matcher_parse(struct tide_matcher *m, struct tide_slice pattern,
                                  struct tide_arena *arena, bool *simple)
{
    struct parser p = {.pattern = pattern, .arena = arena};

    *simple = false;
    if (!tide_slice_is_utf8(pattern)) /* RE2 refuses it. */
        return TIDE_OK;
    strip_anchors(&p);
    *simple = peek(&p) == '.' ? starts_wild(&p, m) : starts_literal(&p, m);
    return p.no_memory ? TIDE_ERR_NO_MEMORY : TIDE_OK;
}
