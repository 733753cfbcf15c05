#include "support_model.h"

#include "tide/base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SEEDS 24

/* Random work on head and model; restarts decides whether the head is written and restored, too. */
static void work(struct model *m, int steps, bool restarts)
{
    for (int step = 0; step < steps; step++) {
        uint64_t choice = model_random(&m->random) % 64;

        if (choice < 1)
            model_truncate(m, m->now_ms - (int64_t)(model_random(&m->random) % 8) *
                                              m->options.partition_ms);
        else if (choice < 3)
            model_backfill(m);
        else if (choice < 4 && restarts)
            model_restart(m);
        else if (choice < 10)
            model_compare(m);
        else
            model_scrape(m);
    }
    model_compare(m);
}

static void test_head__equals_arrays_of_samples(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct model m;

        print_message("seed %d\n", (int)seed);
        model_init(&m, seed);
        work(&m, 400, true);
        model_truncate(&m, INT64_MAX);
        model_compare(&m);
        model_deinit(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head__equals_arrays_of_samples),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
