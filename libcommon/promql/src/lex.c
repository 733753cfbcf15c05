/* Text to tokens. As in Prometheus the rules differ by place: braces hold matchers, where no word
 * is a keyword; brackets hold durations; elsewhere any word may be a keyword, in any case. Messages
 * and where they point follow Prometheus' lexer. */
#include "parse_private.h"

#include <stdio.h>
#include <strings.h>

#define RUNE_EOF UINT32_MAX

static const struct {
    const char *text;
    enum tide__token_kind kind;
    int op;
} keywords[] = {
    {"and", TOKEN_OPERATOR, TIDE_OP_AND},
    {"or", TOKEN_OPERATOR, TIDE_OP_OR},
    {"unless", TOKEN_OPERATOR, TIDE_OP_UNLESS},
    {"atan2", TOKEN_OPERATOR, TIDE_OP_ATAN2},
    {"sum", TOKEN_AGGREGATOR, TIDE_AGG_SUM},
    {"avg", TOKEN_AGGREGATOR, TIDE_AGG_AVG},
    {"count", TOKEN_AGGREGATOR, TIDE_AGG_COUNT},
    {"min", TOKEN_AGGREGATOR, TIDE_AGG_MIN},
    {"max", TOKEN_AGGREGATOR, TIDE_AGG_MAX},
    {"group", TOKEN_AGGREGATOR, TIDE_AGG_GROUP},
    {"stddev", TOKEN_AGGREGATOR, TIDE_AGG_STDDEV},
    {"stdvar", TOKEN_AGGREGATOR, TIDE_AGG_STDVAR},
    {"topk", TOKEN_AGGREGATOR, TIDE_AGG_TOPK},
    {"bottomk", TOKEN_AGGREGATOR, TIDE_AGG_BOTTOMK},
    {"count_values", TOKEN_AGGREGATOR, TIDE_AGG_COUNT_VALUES},
    {"quantile", TOKEN_AGGREGATOR, TIDE_AGG_QUANTILE},
    {"limitk", TOKEN_AGGREGATOR, TIDE_AGG_LIMITK},
    {"limit_ratio", TOKEN_AGGREGATOR, TIDE_AGG_LIMIT_RATIO},
    {"offset", TOKEN_OFFSET, 0},
    {"smoothed", TOKEN_SMOOTHED, 0},
    {"anchored", TOKEN_ANCHORED, 0},
    {"by", TOKEN_BY, 0},
    {"without", TOKEN_WITHOUT, 0},
    {"on", TOKEN_ON, 0},
    {"ignoring", TOKEN_IGNORING, 0},
    {"group_left", TOKEN_GROUP_LEFT, 0},
    {"group_right", TOKEN_GROUP_RIGHT, 0},
    {"fill", TOKEN_FILL, 0},
    {"fill_left", TOKEN_FILL_LEFT, 0},
    {"fill_right", TOKEN_FILL_RIGHT, 0},
    {"bool", TOKEN_BOOL, 0},
    {"start", TOKEN_START, 0},
    {"end", TOKEN_END, 0},
    {"step", TOKEN_STEP, 0},
    {"range", TOKEN_RANGE, 0},
    {"min_of", TOKEN_MIN_OF, 0},
    {"max_of", TOKEN_MAX_OF, 0},
    {"inf", TOKEN_NUMBER, 0},
    {"nan", TOKEN_NUMBER, 0},
};

/* The words that mean something within brackets; Prometheus 3.5 had min and max there. */
static const struct {
    const char *text;
    enum tide__token_kind kind;
} duration_words[] = {
    {"step", TOKEN_STEP},  {"range", TOKEN_RANGE},   {"min_of", TOKEN_MIN_OF},
    {"min", TOKEN_MIN_OF}, {"max_of", TOKEN_MAX_OF}, {"max", TOKEN_MAX_OF},
};

static bool is_digit(uint32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alpha(uint32_t c)
{
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(uint32_t c)
{
    return is_alpha(c) || is_digit(c);
}

static bool is_space(uint32_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The byte at the place, RUNE_EOF at the end. Enough wherever only ASCII is asked for. */
static uint32_t peek(const struct tide__lexer *lexer)
{
    return lexer->pos < lexer->text.len ? lexer->text.ptr[lexer->pos] : RUNE_EOF;
}

/* The code point at the place, passed over. */
static uint32_t next_rune(struct tide__lexer *lexer)
{
    struct tide_slice rest = {lexer->text.ptr + lexer->pos, lexer->text.len - lexer->pos};
    size_t width;
    uint32_t rune;

    if (rest.len == 0)
        return RUNE_EOF;
    rune = tide__rune(rest, &width);
    lexer->pos += (uint32_t)width;
    return rune;
}

/* Passes over a byte that is in the set. */
static bool accept(struct tide__lexer *lexer, const char *set)
{
    uint32_t c = peek(lexer);

    if (c == RUNE_EOF || c == 0 || c > 0x7f || strchr(set, (int)c) == NULL)
        return false;
    lexer->pos++;
    return true;
}

static bool is_next(const struct tide__lexer *lexer, const char *set)
{
    uint32_t c = peek(lexer);

    return c != RUNE_EOF && c != 0 && c <= 0x7f && strchr(set, (int)c) != NULL;
}

static struct tide_slice token_text(const struct tide__lexer *lexer)
{
    return (struct tide_slice){lexer->text.ptr + lexer->start, lexer->pos - lexer->start};
}

static void emit(struct tide__lexer *lexer, enum tide__token_kind kind, int op,
                 struct tide__token *out)
{
    *out = (struct tide__token){kind, op, {lexer->start, lexer->pos}};
}

/* An error: from the start of the token to the end of the text, as Prometheus has it. */
static void fail(struct tide__lexer *lexer, const char *message, struct tide__token *out)
{
    snprintf(lexer->message, sizeof(lexer->message), "%s", message);
    *out = (struct tide__token){TOKEN_ERROR, 0, {lexer->start, (uint32_t)lexer->text.len}};
}

static void fail_rune(struct tide__lexer *lexer, const char *message, uint32_t rune,
                      struct tide__token *out)
{
    char quoted[24];

    tide__quote_rune(rune == RUNE_EOF ? TIDE__RUNE_BAD : rune, quoted, sizeof(quoted));
    snprintf(lexer->message, sizeof(lexer->message), "%s: %s", message, quoted);
    *out = (struct tide__token){TOKEN_ERROR, 0, {lexer->start, (uint32_t)lexer->text.len}};
}

/* ---- Numbers and durations ---- */

/* Scans what may be a number; the parser decides whether it is one. False when it cannot be: the
 * place is then where that was seen. */
static bool scan_number(struct tide__lexer *lexer)
{
    bool hex = accept(lexer, "0") && accept(lexer, "xX");
    const char *digits = hex ? "0123456789abcdefABCDEF" : "0123456789";
    const char *not_after = hex ? "._" : "._eE";
    bool got_dot = false;
    bool got_exponent = false;

    if (hex)
        (void)accept(lexer, "_");
    (void)accept(lexer, ".");
    for (;;) {
        if (accept(lexer, digits))
            continue;
        if (accept(lexer, ".")) {
            if (got_dot || accept(lexer, "_.") || hex)
                return false;
            got_dot = true;
        } else if (accept(lexer, "eE")) {
            if (got_exponent)
                return false;
            got_exponent = true;
            (void)accept(lexer, "+-");
            if (accept(lexer, "._eE") || peek(lexer) == RUNE_EOF)
                return false;
        } else if (accept(lexer, "_")) {
            if (accept(lexer, not_after) || peek(lexer) == RUNE_EOF)
                return false;
        } else {
            break;
        }
    }
    return lexer->pos > lexer->start && !is_alnum(peek(lexer));
}

/* Scans the rest of a duration after its first digits. */
static bool scan_duration(struct tide__lexer *lexer)
{
    if (!accept(lexer, "smhdwy"))
        return false;
    (void)accept(lexer, "s"); /* The s of ms; hs and such are caught by who reads the value. */
    while (accept(lexer, "0123456789")) {
        while (accept(lexer, "0123456789"))
            ;
        if (!accept(lexer, "smhdw"))
            return false;
        (void)accept(lexer, "s");
    }
    if (!is_alnum(peek(lexer)))
        return true;
    lexer->pos++;
    return false;
}

static void lex_number_or_duration(struct tide__lexer *lexer, struct tide__token *out)
{
    struct tide_buf quoted = {0};
    struct tide_slice text;

    if (scan_number(lexer)) {
        emit(lexer, TOKEN_NUMBER, 0, out);
        return;
    }
    if (scan_duration(lexer)) {
        emit(lexer, TOKEN_DURATION, 0, out);
        return;
    }
    text = token_text(lexer);
    if (text.len > 100)
        text.len = 100;
    tide__quote(&quoted, text);
    tide_buf_byte(&quoted, 0);
    snprintf(lexer->message, sizeof(lexer->message), "bad number or duration syntax: %s",
             quoted.failed ? "" : (const char *)quoted.ptr);
    tide_buf_deinit(&quoted);
    *out = (struct tide__token){TOKEN_ERROR, 0, {lexer->start, (uint32_t)lexer->text.len}};
}

/* ---- Strings ---- */

/* `#U` of Go: U+0078 'x'. */
static void fail_escape(struct tide__lexer *lexer, const char *before, uint32_t rune,
                        const char *after, struct tide__token *out)
{
    char quoted[24];

    tide__quote_rune(rune, quoted, sizeof(quoted));
    snprintf(lexer->message, sizeof(lexer->message), "%s U+%04X %s%s", before, (unsigned)rune,
             quoted, after);
    *out = (struct tide__token){TOKEN_ERROR, 0, {lexer->start, (uint32_t)lexer->text.len}};
}

/* Checks the escape after a backslash. False: out is the error. */
static bool lex_escape(struct tide__lexer *lexer, uint32_t quote, struct tide__token *out)
{
    uint32_t rune = next_rune(lexer);
    uint32_t base = 16;
    uint32_t value_max = 0x10ffff;
    uint32_t value = 0;
    int digits;

    if (rune == RUNE_EOF) {
        fail(lexer, "escape sequence not terminated", out);
        return false;
    }
    if (rune == quote || rune == '\\' || (rune < 0x80 && rune > 0 && strchr("abfnrtv", (int)rune)))
        return true;
    if (rune >= '0' && rune <= '7') {
        digits = 3;
        base = 8;
        value_max = 255;
        lexer->pos--;
    } else if (rune == 'x') {
        digits = 2;
        value_max = 255;
    } else if (rune == 'u') {
        digits = 4;
    } else if (rune == 'U') {
        digits = 8;
    } else {
        fail_escape(lexer, "unknown escape sequence", rune, "", out);
        return false;
    }
    for (; digits > 0; digits--) {
        uint32_t digit = 16;

        rune = next_rune(lexer);
        if (is_digit(rune))
            digit = rune - '0';
        else if (rune >= 'a' && rune <= 'f')
            digit = rune - 'a' + 10;
        else if (rune >= 'A' && rune <= 'F')
            digit = rune - 'A' + 10;
        if (rune == RUNE_EOF) {
            fail(lexer, "escape sequence not terminated", out);
            return false;
        }
        if (digit >= base) {
            fail_escape(lexer, "illegal character", rune, " in escape sequence", out);
            return false;
        }
        value = value * base + digit; /* At most 8 hexadecimal digits: it fits. */
    }
    if (value > value_max || (value >= 0xd800 && value < 0xe000)) {
        fail(lexer, "escape sequence is an invalid Unicode code point", out);
        return false;
    }
    return true;
}

static void lex_string(struct tide__lexer *lexer, uint32_t quote, struct tide__token *out)
{
    bool raw = quote == '`';

    for (;;) {
        uint32_t rune = next_rune(lexer);

        if (rune == TIDE__RUNE_BAD) {
            fail(lexer, "invalid UTF-8 rune", out);
            return;
        }
        if (rune == RUNE_EOF || (rune == '\n' && !raw)) {
            fail(lexer, raw ? "unterminated raw string" : "unterminated quoted string", out);
            return;
        }
        if (rune == quote)
            break;
        if (rune == '\\' && !raw && !lex_escape(lexer, quote, out))
            return;
    }
    emit(lexer, TOKEN_STRING, 0, out);
}

/* ---- Words ---- */

static bool word_is(struct tide_slice word, const char *keyword)
{
    return word.len == strlen(keyword) &&
           strncasecmp((const char *)word.ptr, keyword, word.len) == 0;
}

/* `fill`, `fill_left` and `fill_right` are keywords only before a parenthesis, so that metrics of
 * these names still work. */
static bool paren_follows(const struct tide__lexer *lexer)
{
    uint32_t pos = lexer->pos;

    while (pos < lexer->text.len && is_space(lexer->text.ptr[pos]))
        pos++;
    return pos < lexer->text.len && lexer->text.ptr[pos] == '(';
}

static void lex_word(struct tide__lexer *lexer, struct tide__token *out)
{
    struct tide_slice word;

    while (is_alnum(peek(lexer)) || peek(lexer) == ':')
        lexer->pos++;
    word = token_text(lexer);
    for (size_t i = 0; i < sizeof(keywords) / sizeof(keywords[0]); i++) {
        if (!word_is(word, keywords[i].text))
            continue;
        if (keywords[i].kind >= TOKEN_FILL && keywords[i].kind <= TOKEN_FILL_RIGHT &&
            !paren_follows(lexer))
            break;
        emit(lexer, keywords[i].kind, keywords[i].op, out);
        return;
    }
    emit(lexer,
         memchr(word.ptr, ':', word.len) == NULL ? TOKEN_IDENTIFIER : TOKEN_METRIC_IDENTIFIER, 0,
         out);
}

/* A word within brackets, its first letter at start. False: it means nothing there. */
static bool lex_duration_word(struct tide__lexer *lexer, struct tide__token *out)
{
    struct tide_slice word;

    while (is_alpha(peek(lexer)))
        lexer->pos++;
    word = token_text(lexer);
    for (size_t i = 0; i < sizeof(duration_words) / sizeof(duration_words[0]); i++) {
        if (word_is(word, duration_words[i].text)) {
            emit(lexer, duration_words[i].kind, 0, out);
            return true;
        }
    }
    return false;
}

/* ---- Places ---- */

static void lex_in_braces(struct tide__lexer *lexer, struct tide__token *out)
{
    uint32_t rune = next_rune(lexer);

    switch (rune) {
    case RUNE_EOF:
        fail(lexer, "unexpected end of input inside braces", out);
        return;
    case ',':
        emit(lexer, TOKEN_COMMA, 0, out);
        return;
    case '"':
    case '\'':
    case '`':
        lex_string(lexer, rune, out);
        return;
    case '=':
        emit(lexer, accept(lexer, "~") ? TOKEN_EQUAL_REGEX : TOKEN_EQUAL, 0, out);
        return;
    case '!':
        if (accept(lexer, "~"))
            emit(lexer, TOKEN_NOT_REGEX, 0, out);
        else if (accept(lexer, "="))
            emit(lexer, TOKEN_OPERATOR, TIDE_OP_NE, out);
        else
            fail_rune(lexer, "unexpected character after '!' inside braces", next_rune(lexer), out);
        return;
    case '{':
        fail(lexer, "unexpected left brace '{'", out);
        return;
    case '}':
        lexer->in_braces = false;
        emit(lexer, TOKEN_RIGHT_BRACE, 0, out);
        return;
    default:
        break;
    }
    if (!is_alpha(rune)) {
        fail_rune(lexer, "unexpected character inside braces", rune, out);
        return;
    }
    while (is_alnum(peek(lexer)))
        lexer->pos++;
    emit(lexer, TOKEN_IDENTIFIER, 0, out);
}

/* The arithmetic and punctuation that mean the same within brackets and outside. */
static bool lex_arithmetic(struct tide__lexer *lexer, uint32_t rune, struct tide__token *out)
{
    switch (rune) {
    case ',':
        emit(lexer, TOKEN_COMMA, 0, out);
        return true;
    case '+':
        emit(lexer, TOKEN_OPERATOR, TIDE_OP_ADD, out);
        return true;
    case '-':
        emit(lexer, TOKEN_OPERATOR, TIDE_OP_SUB, out);
        return true;
    case '*':
        emit(lexer, TOKEN_OPERATOR, TIDE_OP_MUL, out);
        return true;
    case '/':
        emit(lexer, TOKEN_OPERATOR, TIDE_OP_DIV, out);
        return true;
    case '%':
        emit(lexer, TOKEN_OPERATOR, TIDE_OP_MOD, out);
        return true;
    case '^':
        emit(lexer, TOKEN_OPERATOR, TIDE_OP_POW, out);
        return true;
    case '(':
        lexer->paren_depth++;
        emit(lexer, TOKEN_LEFT_PAREN, 0, out);
        return true;
    case ')':
        if (lexer->paren_depth == 0) {
            lexer->start = lexer->pos; /* Prometheus points behind it. */
            fail(lexer, "unexpected right parenthesis ')'", out);
            return true;
        }
        lexer->paren_depth--;
        emit(lexer, TOKEN_RIGHT_PAREN, 0, out);
        return true;
    case ']':
        if (!lexer->in_brackets) {
            fail(lexer, "unexpected right bracket ']'", out);
            return true;
        }
        lexer->in_brackets = false;
        lexer->before_number = false;
        emit(lexer, TOKEN_RIGHT_BRACKET, 0, out);
        return true;
    default:
        return false;
    }
}

/* Between the bracket and the first number. */
static void lex_before_number(struct tide__lexer *lexer, struct tide__token *out)
{
    uint32_t rune = next_rune(lexer);

    if (lex_arithmetic(lexer, rune, out))
        return;
    if (rune == RUNE_EOF) {
        fail(lexer, "unexpected end of input in duration expression", out);
    } else if (rune == ':') {
        if (!lexer->got_duration || lexer->got_colon) {
            lexer->start = lexer->pos;
            fail(lexer,
                 lexer->got_colon ? "unexpected repeated colon in duration expression"
                                  : "unexpected colon before duration in duration expression",
                 out);
            return;
        }
        lexer->got_colon = true;
        emit(lexer, TOKEN_COLON, 0, out);
    } else if (is_digit(rune) || (rune == '.' && is_digit(peek(lexer)))) {
        lexer->pos = lexer->start;
        lexer->before_number = false;
        lexer->got_duration = true;
        lex_number_or_duration(lexer, out);
    } else if (is_alpha(rune) && lex_duration_word(lexer, out)) {
        lexer->got_duration = true;
    } else {
        fail_rune(lexer, "unexpected character in duration expression", rune, out);
    }
}

static void lex_comparison(struct tide__lexer *lexer, uint32_t rune, struct tide__token *out)
{
    bool less = rune == '<';

    if (accept(lexer, "="))
        emit(lexer, TOKEN_OPERATOR, less ? TIDE_OP_LE : TIDE_OP_GE, out);
    else if (accept(lexer, "/"))
        emit(lexer, TOKEN_OPERATOR, less ? TIDE_OP_TRIM_UPPER : TIDE_OP_TRIM_LOWER, out);
    else
        emit(lexer, TOKEN_OPERATOR, less ? TIDE_OP_LT : TIDE_OP_GT, out);
}

static void lex_word_or_colon(struct tide__lexer *lexer, uint32_t rune, struct tide__token *out)
{
    char quoted[24];

    if (!lexer->in_brackets) {
        lex_word(lexer, out);
    } else if (rune == ':') {
        if (lexer->got_colon) {
            fail(lexer, "unexpected colon ':'", out);
            return;
        }
        lexer->got_colon = true;
        emit(lexer, TOKEN_COLON, 0, out);
    } else if (!lex_duration_word(lexer, out)) {
        tide__quote_rune(rune, quoted, sizeof(quoted));
        snprintf(lexer->message, sizeof(lexer->message), "unexpected character: %s, expected ':'",
                 quoted);
        *out = (struct tide__token){TOKEN_ERROR, 0, {lexer->start, (uint32_t)lexer->text.len}};
    }
}

static void lex_statement(struct tide__lexer *lexer, struct tide__token *out)
{
    uint32_t rune = next_rune(lexer);

    if (lex_arithmetic(lexer, rune, out))
        return;
    switch (rune) {
    case RUNE_EOF:
        if (lexer->paren_depth > 0)
            fail(lexer, "unclosed left parenthesis", out);
        else if (lexer->in_brackets)
            fail(lexer, "unclosed left bracket", out);
        else
            emit(lexer, TOKEN_EOF, 0, out);
        return;
    case '=':
        if (accept(lexer, "="))
            emit(lexer, TOKEN_OPERATOR, TIDE_OP_EQ, out);
        else if (is_next(lexer, "~"))
            fail_rune(lexer, "unexpected character after '='", '~', out);
        else
            emit(lexer, TOKEN_EQUAL, 0, out);
        return;
    case '!':
        if (accept(lexer, "="))
            emit(lexer, TOKEN_OPERATOR, TIDE_OP_NE, out);
        else
            fail_rune(lexer, "unexpected character after '!'", next_rune(lexer), out);
        return;
    case '<':
    case '>':
        lex_comparison(lexer, rune, out);
        return;
    case '"':
    case '\'':
    case '`':
        lex_string(lexer, rune, out);
        return;
    case '{':
        lexer->in_braces = true;
        emit(lexer, TOKEN_LEFT_BRACE, 0, out);
        return;
    case '[':
        if (lexer->in_brackets) {
            fail(lexer, "unexpected left bracket '['", out);
            return;
        }
        lexer->in_brackets = true;
        lexer->before_number = true;
        lexer->got_colon = false;
        lexer->got_duration = false;
        emit(lexer, TOKEN_LEFT_BRACKET, 0, out);
        return;
    case '@':
        emit(lexer, TOKEN_AT, 0, out);
        return;
    default:
        break;
    }
    if (is_digit(rune) || (rune == '.' && is_digit(peek(lexer)))) {
        lexer->pos = lexer->start;
        lex_number_or_duration(lexer, out);
    } else if (is_alpha(rune) || rune == ':') {
        lex_word_or_colon(lexer, rune, out);
    } else {
        fail_rune(lexer, "unexpected character", rune, out);
    }
}

void tide__lex_next(struct tide__lexer *lexer, struct tide__token *out)
{
    for (;;) {
        while (is_space(peek(lexer)))
            lexer->pos++;
        if (peek(lexer) != '#')
            break;
        while (peek(lexer) != RUNE_EOF && peek(lexer) != '\n' && peek(lexer) != '\r')
            lexer->pos++;
    }
    lexer->start = lexer->pos;
    if (lexer->in_braces)
        lex_in_braces(lexer, out);
    else if (lexer->before_number)
        lex_before_number(lexer, out);
    else
        lex_statement(lexer, out);
}
