/* label_replace and label_join. */
#include "support_fn.h"

static struct tide__matrix *matrix_of(struct fn_eval *e, const char *src)
{
    struct tide_label *pairs = tide_arena_new_array(e->eval.arena, 3, sizeof(*pairs));
    struct tide__matrix *m;

    assert_non_null(pairs);
    pairs[0] = (struct tide_label){TIDE_SLICE("__name__"), TIDE_SLICE("m")};
    pairs[1] = (struct tide_label){TIDE_SLICE("dst"), TIDE_SLICE("old")};
    pairs[2] = (struct tide_label){TIDE_SLICE("src"), tide_slice_str(src)};
    assert_int_equal(tide__matrix_new(&e->eval, 1, &m), TIDE_OK);
    m->rows[0].labels = (struct tide_labels){pairs, src[0] == '\0' ? 2 : 3};
    m->rows[0].drop_name = true;
    m->rows[0].values[0] = 42;
    m->rows[0].present[0] = 1;
    e->args[0] = (struct tide__arg){.kind = TIDE__ARG_MATRIX, .matrix = m};
    return m;
}

/* The labels of the only row, as text. */
static void assert_labels(const struct tide__matrix *m, const char *want)
{
    struct tide_buf text = {0};

    tide_labels_print(m->rows[0].labels, &text);
    tide_buf_byte(&text, 0);
    assert_false(text.failed);
    assert_string_equal((const char *)text.ptr, want);
    tide_buf_deinit(&text);
}

static void test_fn_label_replace__replaces_where_the_regex_matches(void **state)
{
    static const struct {
        const char *src_value;
        const char *dst;
        const char *replacement;
        const char *src;
        const char *regex;
        const char *want;
        bool drop_name;
    } examples[] = {
        {"source-value-10", "dst", "destination-value-$1", "src", "source-value-(.*)",
         "m{dst=\"destination-value-10\", src=\"source-value-10\"}", true},
        {"a", "dst", "${1}x$$", "src", "(?P<all>.*)", "m{dst=\"ax$\", src=\"a\"}", true},
        {"ab", "dst", "x", "src", "a", "m{dst=\"old\", src=\"ab\"}", true}, /* Anchored. */
        {"a", "dst", "", "src", ".*", "m{src=\"a\"}", true},
        {"a", "dst", "$2", "src", "(a)", "m{src=\"a\"}", true},
        {"a", "new", "n", "missing", "", "m{dst=\"old\", new=\"n\", src=\"a\"}", true},
        {"a", "__name__", "other", "src", "a", "other{dst=\"old\", src=\"a\"}", false},
        {"a\nb", "dst", "$1", "src", "a.(b)", "m{dst=\"b\", src=\"a\\nb\"}", true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        const struct tide__function *function = tide__function(TIDE_FN_LABEL_REPLACE);
        struct fn_eval e;
        struct tide__matrix *in, *out;
        struct tide__arg args[5];

        fn_eval_init(&e, 1);
        in = matrix_of(&e, examples[i].src_value);
        fn_set_string(&e, 1, examples[i].dst);
        fn_set_string(&e, 2, examples[i].replacement);
        fn_set_string(&e, 3, examples[i].src);
        memcpy(args, e.args, sizeof(e.args));
        args[4] = (struct tide__arg){.kind = TIDE__ARG_STRING,
                                     .string = tide_slice_str(examples[i].regex)};
        e.call.args = args;
        e.call.arg_count = 5;
        assert_int_equal(function->check(&e.call), TIDE_OK);
        assert_int_equal(function->matrix(&e.call, &out), TIDE_OK);
        assert_ptr_equal(out, in);
        assert_labels(out, examples[i].want);
        assert_int_equal(out->rows[0].drop_name, examples[i].drop_name);
        fn_assert_same(out->rows[0].values[0], 42);
        tide__matrix_free(in);
        fn_eval_deinit(&e);
    }
}

static void test_fn_label_replace__refuses_bad_parameters(void **state)
{
    const struct tide__function *function = tide__function(TIDE_FN_LABEL_REPLACE);
    struct fn_eval e;
    struct tide__arg args[5] = {{.kind = TIDE__ARG_NONE}};

    (void)state;
    fn_eval_init(&e, 1);
    for (size_t i = 1; i < 5; i++)
        args[i] = (struct tide__arg){.kind = TIDE__ARG_STRING, .string = TIDE_SLICE("x")};
    e.call.args = args;
    e.call.arg_count = 5;
    args[4].string = TIDE_SLICE("(.*");
    assert_int_equal(function->check(&e.call), TIDE_ERR_EXECUTION);
    assert_string_equal(e.eval.diag.text, "invalid regular expression in label_replace(): (.*");
    args[4].string = TIDE_SLICE(".*");
    e.eval.diag.text[0] = '\0';
    args[1].string = TIDE_SLICE("\xff");
    assert_int_equal(function->check(&e.call), TIDE_ERR_EXECUTION);
    args[1].string = TIDE_SLICE("");
    e.eval.diag.text[0] = '\0';
    assert_int_equal(function->check(&e.call), TIDE_ERR_EXECUTION);
    assert_string_equal(e.eval.diag.text, "invalid destination label name in label_replace(): ");
    fn_eval_deinit(&e);
}

/* A value that is read again elsewhere in the query stays as it is. */
static void test_fn_label_replace__leaves_a_cached_matrix_alone(void **state)
{
    struct fn_eval e;
    struct tide__matrix *in, *out;
    struct tide__arg args[5];

    (void)state;
    fn_eval_init(&e, 1);
    in = matrix_of(&e, "a");
    in->cached = true;
    fn_set_string(&e, 1, "dst");
    fn_set_string(&e, 2, "new");
    fn_set_string(&e, 3, "src");
    memcpy(args, e.args, sizeof(e.args));
    args[4] = (struct tide__arg){.kind = TIDE__ARG_STRING, .string = TIDE_SLICE(".*")};
    e.call.args = args;
    e.call.arg_count = 5;
    assert_int_equal(tide__function(TIDE_FN_LABEL_REPLACE)->matrix(&e.call, &out), TIDE_OK);
    assert_ptr_not_equal(out, in);
    assert_labels(in, "m{dst=\"old\", src=\"a\"}");
    assert_labels(out, "m{dst=\"new\", src=\"a\"}");
    fn_assert_same(out->rows[0].values[0], 42);
    assert_int_equal(out->rows[0].present[0], 1);
    tide__matrix_free(out);
    in->cached = false;
    tide__matrix_free(in);
    fn_eval_deinit(&e);
}

static void test_fn_label_join__joins_in_order(void **state)
{
    const struct tide__function *function = tide__function(TIDE_FN_LABEL_JOIN);
    struct fn_eval e;
    struct tide__matrix *in, *out;
    struct tide__arg args[6];

    (void)state;
    fn_eval_init(&e, 1);
    in = matrix_of(&e, "a");
    args[0] = e.args[0];
    for (size_t i = 1; i < 6; i++)
        args[i].kind = TIDE__ARG_STRING;
    args[1].string = TIDE_SLICE("dst");
    args[2].string = TIDE_SLICE("-");
    args[3].string = TIDE_SLICE("src");
    args[4].string = TIDE_SLICE("missing");
    args[5].string = TIDE_SLICE("dst");
    e.call.args = args;
    e.call.arg_count = 6;
    assert_int_equal(function->check(&e.call), TIDE_OK);
    assert_int_equal(function->matrix(&e.call, &out), TIDE_OK);
    assert_labels(out, "m{dst=\"a--old\", src=\"a\"}");
    e.call.arg_count = 3; /* Nothing to join: the label goes. */
    assert_int_equal(function->matrix(&e.call, &out), TIDE_OK);
    assert_labels(out, "m{src=\"a\"}");
    e.call.arg_count = 4;
    args[3].string = TIDE_SLICE("");
    assert_int_equal(function->check(&e.call), TIDE_ERR_EXECUTION);
    assert_string_equal(e.eval.diag.text, "invalid source label name in label_join(): ");
    tide__matrix_free(in);
    fn_eval_deinit(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fn_label_replace__replaces_where_the_regex_matches),
        cmocka_unit_test(test_fn_label_replace__refuses_bad_parameters),
        cmocka_unit_test(test_fn_label_replace__leaves_a_cached_matrix_alone),
        cmocka_unit_test(test_fn_label_join__joins_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
