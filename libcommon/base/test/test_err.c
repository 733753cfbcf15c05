#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "tide/base/err.h"
#include "tide/base/slice.h"

static void test_err__each_code_has_a_name_a_text_and_a_status(void **state)
{
    (void)state;
    for (int code = TIDE_ERR_BASE + 1; code <= (int)TIDE_ERR_INTERNAL; code++) {
        enum tide_err err = (enum tide_err)code;

        assert_string_not_equal(tide_err_name(err), "UNKNOWN");
        assert_string_not_equal(tide_err_text(err), "unknown error");
        assert_in_range(tide_err_http_status(err), 400, 599);
    }
    assert_string_equal(tide_err_name(TIDE_ERR_TOO_LARGE), "TOO_LARGE");
    assert_int_equal(tide_err_http_status(TIDE_OK), 200);
    assert_int_equal(tide_err_http_status(TIDE_ERR_TOO_LARGE), 413);
    assert_string_equal(tide_err_name((enum tide_err)7), "UNKNOWN");
}

static void test_diag__keeps_the_first_cause(void **state)
{
    struct tide_diag diag = {""};

    (void)state;
    tide_diag_set(NULL, "nobody listens");
    assert_int_equal(tide_diag_err(&diag, TIDE_ERR_IO, "first %d", 1), TIDE_ERR_IO);
    tide_diag_set(&diag, "second");
    assert_string_equal(diag.text, "first 1");
}

/* The text is cut at each place of a sequence of every length, and must stay whole. */
static void test_diag__is_valid_utf8_whatever_comes_in(void **state)
{
    static const char *const sequences[] = {"x", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char text[600];

    (void)state;
    for (size_t s = 0; s < 4; s++)
        for (size_t lead = 0; lead < 4; lead++) {
            struct tide_diag diag = {""};
            size_t len = lead;

            memset(text, 'a', lead);
            while (len + 4 < sizeof(text) - 1) {
                memcpy(text + len, sequences[s], strlen(sequences[s]));
                len += strlen(sequences[s]);
            }
            text[len] = '\0';
            tide_diag_set(&diag, "%s", text);
            assert_true(strlen(diag.text) > sizeof(diag.text) - 5);
            assert_true(tide_slice_is_utf8(tide_slice_str(diag.text)));
            assert_null(strchr(diag.text, '?'));
        }

    struct tide_diag diag = {""};
    tide_diag_set(&diag, "label \"%s\" is bad", "\xff\xc3");
    assert_string_equal(diag.text, "label \"\?\?\" is bad");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err__each_code_has_a_name_a_text_and_a_status),
        cmocka_unit_test(test_diag__keeps_the_first_cause),
        cmocka_unit_test(test_diag__is_valid_utf8_whatever_comes_in),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
