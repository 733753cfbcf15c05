#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "tide/base/mem.h"
#include "tide/http/json.h"

static struct tide_buf out;

static void expect(const char *expected)
{
    if (!tide_slice_eq(tide_buf_view(&out), tide_slice_str(expected)))
        fail_msg("got %.*s, expected %s", TIDE_SLICE_ARGS(tide_buf_view(&out)), expected);
    tide_buf_deinit(&out);
}

static void test_json__sets_commas_by_itself(void **state)
{
    struct tide_json json = tide_json(&out);

    (void)state;
    tide_json_object_begin(&json);
    tide_json_key_str(&json, "a");
    tide_json_array_begin(&json);
    tide_json_array_end(&json);
    tide_json_key_str(&json, "b");
    tide_json_array_begin(&json);
    tide_json_i64(&json, INT64_MIN);
    tide_json_u64(&json, UINT64_MAX);
    tide_json_object_begin(&json);
    tide_json_object_end(&json);
    tide_json_object_begin(&json);
    tide_json_key_str(&json, "c");
    tide_json_bool(&json, true);
    tide_json_key_str(&json, "d");
    tide_json_null(&json);
    tide_json_object_end(&json);
    tide_json_raw(&json, TIDE_SLICE("[1]"));
    tide_json_number(&json, 1.5);
    tide_json_number(&json, (double)NAN);
    tide_json_bool(&json, false);
    tide_json_array_end(&json);
    tide_json_key_str(&json, "e");
    tide_json_str(&json, "");
    tide_json_object_end(&json);
    expect("{\"a\":[],\"b\":[-9223372036854775808,18446744073709551615,{},"
           "{\"c\":true,\"d\":null},[1],1.5,null,false],\"e\":\"\"}");
}

static void test_json__escapes_as_go_does(void **state)
{
    struct tide_json json = tide_json(&out);

    (void)state;
    tide_json_string(&json, TIDE_SLICE("plain <>& \x7f"));
    expect("\"plain <>& \x7f\"");
    tide_json_string(&json, TIDE_SLICE("\"\\\b\f\n\r\t/\x01\x1f\0"));
    expect("\"\\\"\\\\\\b\\f\\n\\r\\t/\\u0001\\u001f\\u0000\"");
    tide_json_string(&json, TIDE_SLICE("\xc3\xa9\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"
                                       "\xf0\x9f\x98\x80"));
    expect("\"\xc3\xa9\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa\xf0\x9f\x98\x80\"");
    tide_json_string(&json, TIDE_SLICE("a\xff\xc3(\xed\xa0\x80\xe2\x80"));
    expect("\"a\\ufffd\\ufffd(\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\"");
}

static void test_json__writes_times_values_and_samples(void **state)
{
    static const int64_t times[] = {1435781451781, 0, -1500, 1, 20, 1000, INT64_MIN, INT64_MAX};
    static const double values[] = {
        1, -0.0, 0.1, 1e21, 1e-7, 5e-324, -1.7976931348623157e308, -1.2345678901234567e-6};
    struct tide_json json = tide_json(&out);

    (void)state;
    tide_json_array_begin(&json);
    tide_json_samples(&json, times, values, 8);
    tide_json_sample(&json, 2000, (double)NAN);
    tide_json_samples(&json, times, values, 0);
    tide_json_timestamp(&json, 100);
    tide_json_value(&json, -(double)INFINITY);
    tide_json_array_end(&json);
    expect("[[1435781451.781,\"1\"],[0,\"-0\"],[-1.500,\"0.1\"],[0.001,\"1e+21\"],"
           "[0.020,\"1e-07\"],[1,\"5e-324\"],"
           "[-9223372036854775.808,\"-1.7976931348623157e+308\"],"
           "[9223372036854775.807,\"-0.0000012345678901234567\"],[2,\"NaN\"],0.100,\"-Inf\"]");
}

/* In pieces of all sizes around the block's, against one at a time. */
static void test_json__many_samples_equal_single_ones(void **state)
{
    static int64_t times[5000];
    static double values[5000];

    (void)state;
    for (int i = 0; i < 5000; i++) {
        times[i] = 1700000000000 + i * 137;
        values[i] = i * 0.37 - 100;
    }
    for (size_t count = 0; count < 5000; count += count < 3 ? 1 : 1019) {
        struct tide_buf singles = {0};
        struct tide_json one = tide_json(&singles);
        struct tide_json json = tide_json(&out);

        tide_json_array_begin(&json);
        tide_json_samples(&json, times, values, count);
        tide_json_array_end(&json);
        tide_json_array_begin(&one);
        for (size_t i = 0; i < count; i++) {
            tide_json_array_begin(&one);
            tide_json_timestamp(&one, times[i]);
            tide_json_value(&one, values[i]);
            tide_json_array_end(&one);
        }
        tide_json_array_end(&one);
        assert_true(tide_slice_eq(tide_buf_view(&out), tide_buf_view(&singles)));
        tide_buf_deinit(&out);
        tide_buf_deinit(&singles);
    }
}

#ifdef TIDE_TEST_FAULTS
static void test_json__a_failed_allocation_is_kept_by_the_buffer(void **state)
{
    (void)state;
    for (int nth = 1;; nth++) {
        struct tide_json json = tide_json(&out);
        bool fired;

        tide_test_mem_fail_nth(nth);
        tide_json_array_begin(&json);
        for (int i = 0; i < 100; i++)
            tide_json_sample(&json, i, i);
        tide_json_array_end(&json);
        fired = tide_test_mem_fired();
        assert_int_equal(tide_buf_ok(&out), fired ? TIDE_ERR_NO_MEMORY : TIDE_OK);
        tide_buf_deinit(&out);
        if (!fired)
            break;
    }
    assert_int_equal(tide_test_mem_live(), 0);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json__sets_commas_by_itself),
        cmocka_unit_test(test_json__escapes_as_go_does),
        cmocka_unit_test(test_json__writes_times_values_and_samples),
        cmocka_unit_test(test_json__many_samples_equal_single_ones),
#ifdef TIDE_TEST_FAULTS
        cmocka_unit_test(test_json__a_failed_allocation_is_kept_by_the_buffer),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
