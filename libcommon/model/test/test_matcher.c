#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tide/model/matcher.h"

#include "support_random.h"

#include "tide/base/mem.h"

static struct tide_matcher matcher_of(enum tide_match_op op, struct tide_slice value,
                                      struct tide_arena *arena)
{
    struct tide_matcher m;
    struct tide_diag diag = {""};

    if (tide_matcher_init(&m, op, TIDE_SLICE("l"), value, arena, &diag) != TIDE_OK)
        fail_msg("%.*s: %s", TIDE_SLICE_ARGS(value), diag.text);
    return m;
}

static void test_matcher__tells_the_simple_forms(void **state)
{
    static const struct {
        const char *pattern;
        enum tide_match_kind kind;
        const char *prefix;
        size_t literal_count;
    } cases[] = {
        {"", TIDE_MATCH_LITERALS, "", 1},
        {"a", TIDE_MATCH_LITERALS, "", 1},
        {"^a$", TIDE_MATCH_LITERALS, "", 1},
        {"a\\.b\\|c", TIDE_MATCH_LITERALS, "", 1},
        {"a|b|a", TIDE_MATCH_LITERALS, "", 2},
        {"(a|b)", TIDE_MATCH_LITERALS, "", 2},
        {"(?:a|b)-(c|d|)", TIDE_MATCH_LITERALS, "", 6},
        {"x(a(b|c)|d)y|z", TIDE_MATCH_LITERALS, "", 4},
        {"(0|1|2|3)(0|1|2|3)(0|1|2|3)(0|1|2|3)", TIDE_MATCH_LITERALS, "", 256},
        {"(0|1|2|3)(0|1|2|3)(0|1|2|3)(0|1|2|3)(0|1)", TIDE_MATCH_REGEX, "", 0},
        {".*", TIDE_MATCH_ALL, "", 0},
        {"^.*$", TIDE_MATCH_ALL, "", 0},
        {".+", TIDE_MATCH_NONEMPTY, "", 0},
        {"api-.*", TIDE_MATCH_PREFIX, "api-", 0},
        {"api-.+", TIDE_MATCH_PREFIX, "api-", 0},
        {".*error.*", TIDE_MATCH_CONTAINS, "error", 0},
        {".*\\.error", TIDE_MATCH_SUFFIX, ".error", 0},
        {".+error", TIDE_MATCH_REGEX, "", 0},
        {"ab+", TIDE_MATCH_REGEX, "ab", 0},
        {"ab*", TIDE_MATCH_REGEX, "a", 0},
        {"foo.bar", TIDE_MATCH_REGEX, "foo", 0},
        {"node_(cpu|disk)_.*", TIDE_MATCH_REGEX, "node_", 0},
        {"(?i)abc", TIDE_MATCH_REGEX, "", 0},
        {"a^b", TIDE_MATCH_REGEX, NULL, 0},
        {"a\\$", TIDE_MATCH_LITERALS, "", 1},
        {"a\\\\$", TIDE_MATCH_LITERALS, "", 1},
        {"(a)?", TIDE_MATCH_REGEX, "", 0},
        {"5..", TIDE_MATCH_REGEX, "5", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tide_arena *arena = tide_arena_new(0);
        struct tide_matcher m = matcher_of(TIDE_MATCH_RE, tide_slice_str(cases[i].pattern), arena);

        if (m.kind != cases[i].kind || m.literal_count != cases[i].literal_count)
            fail_msg("%s: kind %d, %zu literals", cases[i].pattern, m.kind, m.literal_count);
        if (cases[i].prefix != NULL && !tide_slice_eq(m.prefix, tide_slice_str(cases[i].prefix)))
            fail_msg("%s: prefix %.*s", cases[i].pattern, TIDE_SLICE_ARGS(m.prefix));
        for (size_t k = 1; k < m.literal_count; k++)
            assert_true(tide_slice_cmp(m.literals[k - 1], m.literals[k]) < 0);
        tide_matcher_release(&m);
        tide_arena_free(arena);
    }
}

/* ---- Against RE2 ---- */

static const char *const pieces[] = {"a",   "b",   "ab",   "-",    "\xc3\xa9", "\\.", "\\|",
                                     "\\$", "(",   "(?:",  ")",    "|",        ".*",  ".+",
                                     ".",   "*",   "+",    "?",    "^",        "$",   "[ab]",
                                     "\\d", "{2}", "(?i)", "\\\\", "(a|b)",    "\n"};
static const char *const simple_pieces[] = {"a", "b",  "ab", "-",     "\xc3\xa9", "\\.",
                                            "|", ".*", ".+", "(a|b)", "(a|)",     "(?:b|-a)"};
static const char *const texts[] = {"a", "b", "-", ".", "|", "$", "\xc3\xa9", "\n", "A", "\\", "1"};

static size_t pick(uint64_t *seed, const char *const *from, size_t count, size_t max, char *out)
{
    size_t len = 0;

    for (size_t i = random_below(seed, max + 1); i > 0; i--) {
        struct tide_slice piece = tide_slice_str(from[random_below(seed, count)]);

        memcpy(out + len, piece.ptr, piece.len);
        len += piece.len;
    }
    return len;
}

/* Compares the matcher with the anchored regex on random values and on the pattern itself. */
static void check_same(struct tide_slice pattern, uint64_t *seed, size_t *simple)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_regex *regex = NULL;
    struct tide_matcher m;
    struct tide_matcher negated;
    bool valid = tide_regex_new(pattern, &regex, NULL) == TIDE_OK;
    enum tide_err err = tide_matcher_init(&m, TIDE_MATCH_RE, TIDE_SLICE("l"), pattern, arena, NULL);

    if (valid != (err == TIDE_OK))
        fail_msg("\"%.*s\" is %s", TIDE_SLICE_ARGS(pattern), valid ? "refused" : "accepted");
    if (valid) {
        assert_int_equal(
            tide_matcher_init(&negated, TIDE_MATCH_NRE, TIDE_SLICE("l"), pattern, arena, NULL),
            TIDE_OK);
        *simple += m.kind != TIDE_MATCH_REGEX;
        for (int i = 0; i < 30; i++) {
            char text[64];
            struct tide_slice value = {
                (const uint8_t *)text,
                pick(seed, texts, sizeof(texts) / sizeof(texts[0]), (size_t)i / 3, text)};
            bool expected = tide_regex_match(regex, value);

            if (tide_matcher_match(&m, value) != expected ||
                tide_matcher_match(&negated, value) == expected)
                fail_msg("pattern \"%.*s\", value \"%.*s\": RE2 says %d", TIDE_SLICE_ARGS(pattern),
                         TIDE_SLICE_ARGS(value), expected);
            if (expected)
                assert_true(m.kind != TIDE_MATCH_REGEX || tide_slice_starts(value, m.prefix));
        }
        assert_int_equal(tide_matcher_matches_empty(&m),
                         tide_regex_match(regex, (struct tide_slice){0}));
        for (size_t i = 0; i < m.literal_count; i++)
            assert_true(tide_regex_match(regex, m.literals[i]));
        tide_matcher_release(&m);
        tide_matcher_release(&negated);
    }
    tide_regex_free(regex);
    tide_arena_free(arena);
}

static void test_matcher__agrees_with_re2_on_random_patterns(void **state)
{
    uint64_t seed = 11;
    size_t simple = 0;

    (void)state;
    for (int i = 0; i < 6000; i++) {
        char pattern[128];
        bool easy = i % 2 == 0;
        size_t len = easy ? pick(&seed, simple_pieces,
                                 sizeof(simple_pieces) / sizeof(simple_pieces[0]), 5, pattern)
                          : pick(&seed, pieces, sizeof(pieces) / sizeof(pieces[0]), 6, pattern);

        check_same((struct tide_slice){(const uint8_t *)pattern, len}, &seed, &simple);
    }
    assert_true(simple > 1000); /* The fast forms were really compared. */
}

static void test_matcher__equality_and_negation(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_matcher eq = matcher_of(TIDE_MATCH_EQ, TIDE_SLICE("a.*"), arena);
    struct tide_matcher ne = matcher_of(TIDE_MATCH_NE, TIDE_SLICE("a"), arena);
    struct tide_matcher empty = matcher_of(TIDE_MATCH_EQ, TIDE_SLICE(""), arena);
    struct tide_matcher some = matcher_of(TIDE_MATCH_NE, TIDE_SLICE(""), arena);
    struct tide_label pairs[] = {label_of("l", "b")};

    (void)state;
    assert_true(tide_matcher_match(&eq, TIDE_SLICE("a.*"))); /* Not a pattern. */
    assert_false(tide_matcher_match(&eq, TIDE_SLICE("ab")));
    assert_true(tide_matcher_match(&ne, TIDE_SLICE("b")));
    assert_true(tide_matcher_matches_empty(&ne));
    assert_true(tide_matcher_matches_empty(&empty));
    assert_false(tide_matcher_matches_empty(&some));
    assert_true(tide_matchers_match(&ne, 1, (struct tide_labels){pairs, 1}));
    assert_true(tide_matchers_match(&some, 1, (struct tide_labels){pairs, 1}));
    assert_false(tide_matchers_match(&some, 1, (struct tide_labels){0}));
    assert_false(tide_matchers_match(&empty, 1, (struct tide_labels){pairs, 1}));
    assert_true(tide_matchers_match(NULL, 0, (struct tide_labels){pairs, 1}));
    tide_arena_free(arena);
}

static void test_matcher__takes_a_long_list_of_literals(void **state)
{
    struct tide_arena *arena = tide_arena_new(0);
    struct tide_buf pattern = {0};
    struct tide_matcher m;

    (void)state;
    for (int i = 0; i < 3000; i++) /* Longer than RE2 is given. */
        tide_buf_printf(&pattern, "%spod-%d", i == 0 ? "" : "|", i);
    m = matcher_of(TIDE_MATCH_RE, tide_buf_view(&pattern), arena);
    assert_int_equal(m.kind, TIDE_MATCH_LITERALS);
    assert_int_equal(m.literal_count, 3000);
    assert_true(tide_matcher_match(&m, TIDE_SLICE("pod-0")));
    assert_true(tide_matcher_match(&m, TIDE_SLICE("pod-2999")));
    assert_false(tide_matcher_match(&m, TIDE_SLICE("pod-3000")));
    /* A hostile one costs memory in proportion to itself only. */
    assert_true(tide_arena_bytes(arena) < 40 * pattern.len);
    tide_buf_deinit(&pattern);
    tide_arena_free(arena);
}

static void test_matcher__says_what_is_wrong_with_a_pattern(void **state)
{
    static const char *const bad[] = {"(", "a)", "[a", "a**", "(?<!a)", "\\", "a\xff", "(a|b"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct tide_arena *arena = tide_arena_new(0);
        struct tide_diag diag = {""};
        struct tide_matcher m;

        assert_int_equal(tide_matcher_init(&m, TIDE_MATCH_RE, TIDE_SLICE("l"),
                                           tide_slice_str(bad[i]), arena, &diag),
                         TIDE_ERR_INVALID);
        assert_true(strlen(diag.text) > 0);
        tide_arena_free(arena);
    }
}

static void test_matcher__survives_each_failed_allocation(void **state)
{
    static const char *const patterns[] = {"a\\.b|c(d|e)", "ab*", "x.*"};

    (void)state;
    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        for (int nth = 1;; nth++) {
            struct tide_arena *arena = tide_arena_new(0);
            struct tide_matcher m;
            enum tide_err err;
            bool fired;

            tide_test_mem_fail_nth(nth);
            err = tide_matcher_init(&m, TIDE_MATCH_RE, TIDE_SLICE("l"), tide_slice_str(patterns[i]),
                                    arena, NULL);
            fired = tide_test_mem_fired();
            tide_test_mem_fail_nth(0);
            assert_int_equal(err, fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
            if (err == TIDE_OK)
                tide_matcher_release(&m);
            tide_arena_free(arena);
            if (!fired)
                break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matcher__tells_the_simple_forms),
        cmocka_unit_test(test_matcher__agrees_with_re2_on_random_patterns),
        cmocka_unit_test(test_matcher__equality_and_negation),
        cmocka_unit_test(test_matcher__takes_a_long_list_of_literals),
        cmocka_unit_test(test_matcher__says_what_is_wrong_with_a_pattern),
        cmocka_unit_test(test_matcher__survives_each_failed_allocation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
