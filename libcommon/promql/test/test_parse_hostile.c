/* Queries made to hurt: each gets an answer in little time and memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_generate.h"
#include "support_parse.h"

#include "tide/base/mem.h"

static void repeat(struct tide_buf *out, const char *text, int count)
{
    for (int i = 0; i < count; i++)
        tide_buf_str(out, text);
}

/* prefix … prefix middle suffix … suffix. */
static struct tide_buf nested(const char *prefix, const char *middle, const char *suffix, int count)
{
    struct tide_buf out = {0};

    repeat(&out, prefix, count);
    tide_buf_str(&out, middle);
    repeat(&out, suffix, count);
    return out;
}

static void expect(struct tide_buf *query, const char *message_part)
{
    struct parsed parsed = parse_text(tide_buf_view(query));

    if (message_part == NULL) {
        if (parsed.err != TIDE_OK)
            fail_msg("%s", parsed.diag.text);
    } else {
        assert_int_equal(parsed.err, TIDE_ERR_INVALID);
        if (strstr(parsed.diag.text, message_part) == NULL)
            fail_msg("%s", parsed.diag.text);
    }
    parsed_free(&parsed);
    tide_buf_deinit(query);
}

static void test_parse__bounds_every_kind_of_nesting(void **state)
{
    static const struct {
        const char *prefix, *middle, *suffix;
        int good, bad;
    } cases[] = {
        {"(", "a", ")", 990, 10000},
        {"-", "a", "", 990, 10000},
        {"- -", "1", "", 490, 10000},
        {"abs(", "a", ")", 990, 10000},
        {"sum by(x)(", "a", ")", 990, 10000},
        {"clamp_max(", "a", ",1)", 990, 10000},
        {"2^", "2", "", 990, 10000},
        {"a+", "a", "", 990, 100000},
        {"a or ", "a", "", 990, 100000},
        {"a and on() (", "a", ")", 490, 10000},
        {"max_over_time(", "a", "[1m:])", 490, 10000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct tide_buf good =
            nested(cases[i].prefix, cases[i].middle, cases[i].suffix, cases[i].good);
        struct tide_buf bad =
            nested(cases[i].prefix, cases[i].middle, cases[i].suffix, cases[i].bad);

        expect(&good, NULL);
        expect(&bad, "parse error: expression is nested deeper than 1000 levels");
    }
}

static void test_parse__bounds_nested_durations(void **state)
{
    struct tide_buf good = nested("(", "5m", ")", 900);
    struct tide_buf query = {0};

    (void)state;
    tide_buf_printf(&query, "a[%.*s]", TIDE_SLICE_ARGS(tide_buf_view(&good)));
    expect(&query, NULL);
    tide_buf_str(&query, "a[");
    repeat(&query, "(", 10000);
    expect(&query, "nested deeper than 1000 levels");
    tide_buf_str(&query, "a[5m");
    repeat(&query, "+5m", 10000);
    tide_buf_str(&query, "]");
    expect(&query, "duration is nested deeper than 1000 levels");
    tide_buf_str(&query, "a offset ");
    repeat(&query, "-", 10000);
    expect(&query, "nested deeper than 1000 levels");
    tide_buf_deinit(&good);
}

static void test_parse__answers_a_megabyte_of_anything(void **state)
{
    static const char *const texts[] = {"(",  ")",         "[",        "{",    "\"",   "a",
                                        "a ", "1",         "1 ",       "-",    "#",    " ",
                                        "a{", "sum(",      "a[1m:1m]", "\xff", "\\",   "`",
                                        "a,", "sum by(a,", "0x",       "@",    "a @ ", "a offset "};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct tide_buf query = {0};
        struct parsed parsed;

        repeat(&query, texts[i], (int)(TIDE_PROMQL_BYTES_MAX / strlen(texts[i])));
        parsed = parse_text(tide_buf_view(&query));
        assert_true(parsed.err == TIDE_ERR_INVALID || strcmp(texts[i], "a") == 0);
        assert_true(parsed.err == TIDE_OK || parsed.diag.text[0] != '\0');
        parsed_free(&parsed);
        tide_buf_deinit(&query);
    }
}

static void test_parse__takes_wide_queries(void **state)
{
    struct tide_buf query = {0};

    (void)state;
    tide_buf_str(&query, "a{");
    repeat(&query, "b!=\"\",", 100000);
    tide_buf_str(&query, "}");
    expect(&query, NULL);
    tide_buf_str(&query, "a * on(x");
    repeat(&query, ",b", 100000);
    tide_buf_str(&query, ") group_left(y");
    repeat(&query, ",c", 100000);
    tide_buf_str(&query, ") d");
    expect(&query, NULL);
    tide_buf_str(&query, "sort_by_label(a");
    repeat(&query, ",\"b\"", 100000);
    tide_buf_str(&query, ")");
    expect(&query, NULL);
}

static void test_parse__refuses_longer_queries_unread(void **state)
{
    struct tide_buf query = {0};

    (void)state;
    repeat(&query, " ", (int)TIDE_PROMQL_BYTES_MAX + 1);
    expect(&query, "query is 1048577 bytes long; at most 1048576 are accepted");
}

static void test_parse__bounds_the_regular_expressions(void **state)
{
    struct tide_buf query = {0};

    (void)state;
    tide_buf_str(&query, "a{");
    repeat(&query, "b=~\"x[yz]+\",", 1001);
    tide_buf_str(&query, "}");
    expect(&query, "more than 1000 regular expressions in one query");
    tide_buf_str(&query, "a{b=~\"");
    repeat(&query, "(", 10000);
    tide_buf_str(&query, "\"}");
    expect(&query, "1:3: parse error: error parsing regexp: ");
}

static void test_parse__stays_within_its_arena(void **state)
{
    const size_t bytes_max = 256u << 10;
    struct tide_arena *arena = tide_arena_new(bytes_max);
    struct tide_buf query = {0};
    struct tide_promql parsed;
    struct tide_diag diag = {0};

    (void)state;
    repeat(&query, "a{b=\"c\"}[5m:][5m:]", 1);
    tide_buf_str(&query, " + sum(");
    repeat(&query, "a,", 50000);
    assert_int_equal(tide_promql_parse(tide_buf_view(&query), arena, &parsed, &diag),
                     TIDE_ERR_NO_MEMORY);
    assert_true(tide_arena_bytes(arena) <= bytes_max);
    tide_arena_free(arena);
    tide_buf_deinit(&query);
}

static void test_parse__survives_each_failed_allocation(void **state)
{
    static const char *const queries[] = {
        ("sum by (a, \"b\") (rate(up{x=~\"a[bc]+\",y=\"z\"}[5m*2] offset 1m)) / on(a) "
         "group_left(b) "
         "topk(3, label_join(c, \"d\", \",\", 'e\\n')) + 1_000"),
        "up{a=~\"(\"}",
        "nosuch(a)",
        "a \"quite a long string\"",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        for (int nth = 1;; nth++) {
            long live = tide_test_mem_live();
            struct parsed parsed;
            bool fired;

            tide_test_mem_fail_nth(nth);
            parsed = parse_query(queries[i]);
            fired = tide_test_mem_fired();
            if (fired)
                assert_int_equal(parsed.err, TIDE_ERR_NO_MEMORY);
            parsed_free(&parsed);
            assert_int_equal(tide_test_mem_live(), live);
            if (!fired)
                break;
        }
    }
}

/* Queries with a byte changed, left out or doubled: whatever the answer, it is one. */
static void test_parse__answers_spoiled_queries(void **state)
{
    struct generator generator = {.state = 7, .odd_spelling = true, .duration_expressions = true};

    (void)state;
    for (int i = 0; i < 5000; i++) {
        struct tide_buf query = {0};
        struct parsed parsed;
        uint32_t at;

        generator_query(&generator, TIDE_PROMQL_VECTOR, i % 5, &query);
        at = generator_below(&generator, (uint32_t)query.len);
        switch (generator_below(&generator, 3)) {
        case 0:
            query.ptr[at] = (uint8_t)generator_below(&generator, 256);
            break;
        case 1:
            query.len = at;
            break;
        default:
            query.ptr[at] = query.ptr[generator_below(&generator, (uint32_t)query.len)];
            break;
        }
        parsed = parse_text(tide_buf_view(&query));
        assert_true(parsed.err == TIDE_OK || parsed.err == TIDE_ERR_INVALID);
        assert_true(parsed.err == TIDE_OK || parsed.query.error.start <= query.len);
        assert_true(parsed.err == TIDE_OK || tide_slice_is_utf8(tide_slice_str(parsed.diag.text)));
        parsed_free(&parsed);
        tide_buf_deinit(&query);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse__bounds_every_kind_of_nesting),
        cmocka_unit_test(test_parse__bounds_nested_durations),
        cmocka_unit_test(test_parse__answers_a_megabyte_of_anything),
        cmocka_unit_test(test_parse__takes_wide_queries),
        cmocka_unit_test(test_parse__refuses_longer_queries_unread),
        cmocka_unit_test(test_parse__bounds_the_regular_expressions),
        cmocka_unit_test(test_parse__stays_within_its_arena),
        cmocka_unit_test(test_parse__survives_each_failed_allocation),
        cmocka_unit_test(test_parse__answers_spoiled_queries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
