/* What the files of the parser share: tokens, the parser's state, text helpers. */
#ifndef TIDE_PROMQL_PARSE_PRIVATE_H
#define TIDE_PROMQL_PARSE_PRIVATE_H

#include "tide/promql/parse.h"

/* ---- Text (parse_text.c) ---- */

/* What stands for bytes that are no UTF-8, as in Go. */
#define TIDE__RUNE_BAD 0xfffdu

/* Decodes the first code point of a non-empty slice; TIDE__RUNE_BAD of width 1 when it is none. */
uint32_t tide__rune(struct tide_slice s, size_t *width);
/* Appends s in double quotes with Go's escapes: reads back as the same bytes. */
void tide__quote(struct tide_buf *out, struct tide_slice s);
/* 'x' as Go's %q shows a rune; at most 16 bytes and a NUL. */
void tide__quote_rune(uint32_t rune, char *text, size_t text_bytes);
/* The value of a quoted literal that the lexer accepted, its quotes included. Errors:
 * TIDE_ERR_INVALID, TIDE_ERR_NO_MEMORY. */
TIDE_CHECK_RESULT enum tide_err tide__unquote(struct tide_slice quoted, struct tide_arena *arena,
                                              struct tide_slice *out);
/* [a-zA-Z_][a-zA-Z0-9_]*: needs no quotes as a label name. */
bool tide__is_plain_label(struct tide_slice name);

/* ---- Tokens (lex.c) ---- */

enum tide__token_kind {
    TOKEN_EOF,
    TOKEN_ERROR, /* The lexer's message says what. */
    TOKEN_IDENTIFIER,
    TOKEN_METRIC_IDENTIFIER, /* With a colon. */
    TOKEN_NUMBER,
    TOKEN_DURATION,
    TOKEN_STRING, /* Quotes included. */
    TOKEN_LEFT_PAREN,
    TOKEN_RIGHT_PAREN,
    TOKEN_LEFT_BRACE,
    TOKEN_RIGHT_BRACE,
    TOKEN_LEFT_BRACKET,
    TOKEN_RIGHT_BRACKET,
    TOKEN_COMMA,
    TOKEN_COLON,
    TOKEN_EQUAL,
    TOKEN_EQUAL_REGEX,
    TOKEN_NOT_REGEX,
    TOKEN_AT,
    TOKEN_OPERATOR,   /* op: enum tide_binary_op; `!=` too. */
    TOKEN_AGGREGATOR, /* op: enum tide_aggregate. */
    TOKEN_BOOL,       /* BOOL to WITHOUT: keywords. */
    TOKEN_BY,
    TOKEN_GROUP_LEFT,
    TOKEN_GROUP_RIGHT,
    TOKEN_FILL,
    TOKEN_FILL_LEFT,
    TOKEN_FILL_RIGHT,
    TOKEN_IGNORING,
    TOKEN_OFFSET,
    TOKEN_SMOOTHED,
    TOKEN_ANCHORED,
    TOKEN_ON,
    TOKEN_WITHOUT,
    TOKEN_START, /* START to MAX_OF: functions of the query's times. */
    TOKEN_END,
    TOKEN_STEP,
    TOKEN_RANGE,
    TOKEN_MIN_OF,
    TOKEN_MAX_OF
};

struct tide__token {
    enum tide__token_kind kind;
    int op;
    struct tide_promql_range pos;
};

struct tide__lexer {
    struct tide_slice text; /* At most UINT32_MAX bytes. */
    uint32_t start;         /* Of the token being read. */
    uint32_t pos;
    uint32_t paren_depth;
    bool in_braces;
    bool in_brackets;
    bool before_number; /* In brackets, and no number was read since the bracket or colon. */
    bool got_colon;
    bool got_duration;
    char message[256]; /* Of TOKEN_ERROR; NUL-terminated. */
};

/* Reads the next token; blanks and comments are passed over. After TOKEN_ERROR and TOKEN_EOF it
 * must not be called again. */
void tide__lex_next(struct tide__lexer *lexer, struct tide__token *out);

/* ---- Parser ---- */

/* Most regular expressions one query may have the engine compile: each costs kilobytes. */
#define TIDE__REGEXES_MAX 1000

/* A growing array in the arena. */
struct tide__array {
    void *items;
    size_t count;
    size_t capacity;
};

struct tide__parser {
    struct tide__lexer lexer;
    struct tide__token token; /* The one looked at. */
    uint32_t consumed_end;    /* Where the last token before it ended. */
    struct tide_arena *arena;
    struct tide_promql *out;
    struct tide__array selectors; /* Of struct tide_expr *. */
    uint32_t nesting;             /* Of the recursion; at most TIDE_PROMQL_DEPTH_MAX. */
    uint32_t aggregations;        /* How many the place is in: errors there say so. */
    uint32_t regex_count;

    enum tide_err err; /* The first failure, with its place in out->error and its words. */
    const char *message;
};

/* Notes a failure at a place: the first one is kept. Always answers NULL, for returning. */
void *tide__parse_fail(struct tide__parser *p, struct tide_promql_range pos, const char *format,
                       ...) TIDE_PRINTF(3, 4);
/* No memory in the arena. */
void *tide__parse_no_memory(struct tide__parser *p);
/* The token looked at has no place here: "unexpected X in context, expected Y". An empty context
 * is the aggregation around, if any. */
void *tide__parse_unexpected(struct tide__parser *p, const char *context, const char *expected);
void tide__parse_advance(struct tide__parser *p);
/* Passes over a token of this kind, else fails as above and answers false. */
bool tide__parse_expect(struct tide__parser *p, enum tide__token_kind kind, const char *context,
                        const char *expected);
/* One level more of recursion; false (and a failure) when it is too deep. Each true is paired with
 * tide__parse_leave(). */
bool tide__parse_enter(struct tide__parser *p);
void tide__parse_leave(struct tide__parser *p);
/* text in quotes, cut when long, for a message. Never NULL. */
const char *tide__parse_quoted(struct tide__parser *p, struct tide_slice text);
struct tide_slice tide__parse_text(const struct tide__parser *p, struct tide_promql_range pos);
/* NULL and a failure when there is no memory. */
struct tide_expr *tide__parse_node(struct tide__parser *p, enum tide_expr_kind kind,
                                   struct tide_promql_range pos);
/* Sets the depth of a node from its children; false and a failure when it is too deep. */
bool tide__parse_depth(struct tide__parser *p, struct tide_expr *expr);
/* Value of TOKEN_NUMBER or TOKEN_DURATION (in seconds), which is passed over. */
bool tide__parse_number(struct tide__parser *p, double *out);

/* Appends a copy of an item; false and a failure on no memory. */
bool tide__parse_push(struct tide__parser *p, struct tide__array *array, const void *item,
                      size_t item_bytes);

/* parse_selector.c: at the name (already passed over: name_pos) or at the left brace when name_pos
 * is NULL. */
struct tide_expr *tide__parse_selector(struct tide__parser *p,
                                       const struct tide_promql_range *name_pos);
/* `(a, "b")` of by, on and such. */
bool tide__parse_grouping(struct tide__parser *p, struct tide_slice **labels, size_t *count);
bool tide__token_is_metric_name(const struct tide__token *token);

/* parse_time.c: the postfix at the token: [range], [range:step], offset, @, anchored, smoothed. */
struct tide_expr *tide__parse_postfix(struct tide__parser *p, struct tide_expr *expr);

/* parse_check.c: type checks the whole tree. */
void tide__parse_check(struct tide__parser *p, struct tide_expr *root);

#endif
