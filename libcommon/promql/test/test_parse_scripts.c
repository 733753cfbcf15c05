/* Every query of the PromQL acceptance scripts parses, and prints as itself, unless the script says
 * that it fails. Skipped where the scripts are not at hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support_parse.h"

#include "tide/base/file.h"

#include <dirent.h>
#include <stdio.h>

#define SCRIPTS "../../../shared/promqltest"

static struct tide_slice next_line(struct tide_slice *rest)
{
    const uint8_t *end = memchr(rest->ptr, '\n', rest->len);
    size_t len = end != NULL ? (size_t)(end - rest->ptr) : rest->len;
    struct tide_slice line = {rest->ptr, len};
    size_t used = end != NULL ? len + 1 : len;

    *rest = (struct tide_slice){rest->ptr + used, rest->len - used};
    return line;
}

static struct tide_slice next_word(struct tide_slice *line)
{
    struct tide_slice word;

    while (line->len > 0 && strchr(" \t\r", line->ptr[0]) != NULL) {
        line->ptr++;
        line->len--;
    }
    word = (struct tide_slice){line->ptr, 0};
    while (word.len < line->len && strchr(" \t\r", line->ptr[word.len]) == NULL)
        word.len++;
    line->ptr += word.len;
    line->len -= word.len;
    return word;
}

/* The query of `eval instant at T QUERY`, `eval range from A to B step C QUERY`. */
static bool query_of(struct tide_slice line, struct tide_slice *query, bool *may_fail)
{
    struct tide_slice verb = next_word(&line);
    struct tide_slice kind;
    int words = 0;

    if (!tide_slice_starts(verb, TIDE_SLICE("eval")))
        return false;
    *may_fail = tide_slice_eq(verb, TIDE_SLICE("eval_fail"));
    kind = next_word(&line);
    if (tide_slice_eq(kind, TIDE_SLICE("instant")))
        words = 2;
    else if (tide_slice_eq(kind, TIDE_SLICE("range")))
        words = 6;
    while (words-- > 0)
        (void)next_word(&line);
    *query = line;
    return true;
}

/* Whether the block of lines after an eval expects a failure. */
static bool expects_failure(struct tide_slice rest)
{
    while (rest.len > 0) {
        struct tide_slice line = next_line(&rest);
        struct tide_slice word = next_word(&line);

        if (word.len == 0)
            return false;
        if (tide_slice_eq(word, TIDE_SLICE("expect")) &&
            tide_slice_eq(next_word(&line), TIDE_SLICE("fail")))
            return true;
    }
    return false;
}

static void expect_parses(const char *path, struct tide_slice query)
{
    struct parsed parsed = parse_text(query);
    struct parsed again;
    struct tide_buf printed = {0};
    struct tide_buf tree;
    struct tide_buf tree_again;

    if (parsed.err != TIDE_OK)
        fail_msg("%s: %.*s\n%s", path, TIDE_SLICE_ARGS(query), parsed.diag.text);
    tide_promql_print(parsed.query.root, &printed);
    again = parse_text(tide_buf_view(&printed));
    if (again.err != TIDE_OK)
        fail_msg("%s: %.*s\n%s", path, TIDE_SLICE_ARGS(tide_buf_view(&printed)), again.diag.text);
    tree = tree_text(parsed.query.root);
    tree_again = tree_text(again.query.root);
    assert_true(tide_slice_eq(tide_buf_view(&tree), tide_buf_view(&tree_again)));
    tide_buf_deinit(&tree);
    tide_buf_deinit(&tree_again);
    tide_buf_deinit(&printed);
    parsed_free(&again);
    parsed_free(&parsed);
}

static int run_script(const char *path)
{
    struct tide_buf script = {0};
    struct tide_slice rest;
    int count = 0;

    assert_int_equal(tide_file_read(path, 16u << 20, &script, NULL), TIDE_OK);
    rest = tide_buf_view(&script);
    while (rest.len > 0) {
        struct tide_slice query;
        bool may_fail;

        if (!query_of(next_line(&rest), &query, &may_fail))
            continue;
        if (may_fail || expects_failure(rest))
            continue;
        expect_parses(path, query);
        count++;
    }
    tide_buf_deinit(&script);
    return count;
}

static void test_parse__takes_every_query_of_the_acceptance_scripts(void **state)
{
    DIR *dir = opendir(SCRIPTS);
    struct dirent *entry;
    int count = 0;

    (void)state;
    if (dir == NULL) {
        skip();
        return;
    }
    while ((entry = readdir(dir)) != NULL) {
        char path[1024];

        if (!tide_slice_ends(tide_slice_str(entry->d_name), TIDE_SLICE(".test")))
            continue;
        snprintf(path, sizeof(path), "%s/%s", SCRIPTS, entry->d_name);
        count += run_script(path);
    }
    closedir(dir);
    print_message("%d queries\n", count);
    assert_true(count > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse__takes_every_query_of_the_acceptance_scripts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
