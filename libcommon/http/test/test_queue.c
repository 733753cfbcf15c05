/* The queue of a pool against a model: each key in order, keys in turn, bounded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "server_private.h"

#define WAITING 8

static struct tide_http_exchange exchanges[512];

static void push(struct tide__http_queue *queue, const char *key, int n)
{
    assert_true(tide__http_queue_push(queue, (struct tide_slice){(const uint8_t *)key, strlen(key)},
                                      &exchanges[n]));
}

static void pop(struct tide__http_queue *queue, int n)
{
    assert_ptr_equal(tide__http_queue_pop(queue), &exchanges[n]);
}

static void test_queue__takes_keys_in_turn(void **state)
{
    struct tide__http_queue queue;

    (void)state;
    assert_int_equal(tide__http_queue_init(&queue, 16), TIDE_OK);
    for (int i = 0; i < 5; i++)
        push(&queue, "greedy", i);
    push(&queue, "late", 10);
    pop(&queue, 0);
    push(&queue, "later", 20);
    pop(&queue, 10); /* Before what the greedy one asked for long before. */
    pop(&queue, 1);
    pop(&queue, 20);
    push(&queue, "late", 11);
    pop(&queue, 2);
    pop(&queue, 11);
    pop(&queue, 3);
    pop(&queue, 4);
    assert_null(tide__http_queue_pop(&queue));
    tide__http_queue_deinit(&queue);
}

static void test_queue__one_key_leaves_room_for_others(void **state)
{
    const struct tide_slice greedy = TIDE_SLICE("greedy");
    struct tide__http_queue queue;

    (void)state;
    assert_int_equal(tide__http_queue_init(&queue, WAITING), TIDE_OK);
    for (int i = 0; i < 6; i++)
        push(&queue, "greedy", i);
    assert_false(tide__http_queue_push(&queue, greedy, &exchanges[6]));
    push(&queue, "other", 7);
    push(&queue, "third", 8);
    assert_false(tide__http_queue_push(&queue, TIDE_SLICE("fourth"), &exchanges[9]));
    pop(&queue, 0);
    push(&queue, "greedy", 6);
    tide__http_queue_deinit(&queue);

    /* Without names there is nobody to leave room for. */
    assert_int_equal(tide__http_queue_init(&queue, WAITING), TIDE_OK);
    for (int i = 0; i < WAITING; i++)
        push(&queue, "", i);
    assert_false(tide__http_queue_push(&queue, TIDE_SLICE(""), &exchanges[WAITING]));
    for (int i = 0; i < WAITING; i++)
        pop(&queue, i);
    tide__http_queue_deinit(&queue);
}

/* Naively: whose turn it is stands in a list of keys. */
struct model {
    int waiting[4][WAITING];
    int count[4];
    int turns[4];
    int turn_count;
};

static int model_pop(struct model *model)
{
    int key, n;

    if (model->turn_count == 0)
        return -1;
    key = model->turns[0];
    n = model->waiting[key][0];
    memmove(model->turns, model->turns + 1, sizeof(model->turns) - sizeof(model->turns[0]));
    memmove(model->waiting[key], model->waiting[key] + 1,
            sizeof(model->waiting[key]) - sizeof(model->waiting[key][0]));
    model->count[key]--;
    if (model->count[key] > 0)
        model->turns[model->turn_count - 1] = key;
    else
        model->turn_count--;
    return n;
}

static void test_queue__agrees_with_a_model(void **state)
{
    static const char *const keys[] = {"", "a", "b", "tenant"};
    struct model model = {.turn_count = 0};
    struct tide__http_queue queue;
    uint32_t seed = 4711;
    int total = 0;

    (void)state;
    assert_int_equal(tide__http_queue_init(&queue, WAITING), TIDE_OK);
    for (int i = 0; i < 20000; i++) {
        const int n = i % 512; /* At most 8 of them wait. */
        int key;

        seed = seed * 1664525 + 1013904223;
        key = (int)(seed >> 24) % 4;
        if ((seed >> 16) % 2 == 0) {
            const int expected = model_pop(&model);
            struct tide_http_exchange *got = tide__http_queue_pop(&queue);

            total -= expected >= 0;
            assert_ptr_equal(got, expected >= 0 ? &exchanges[expected] : NULL);
        } else {
            const bool fits =
                total < WAITING && (key == 0 || model.count[key] < WAITING - WAITING / 4);

            assert_int_equal(tide__http_queue_push(
                                 &queue,
                                 (struct tide_slice){(const uint8_t *)keys[key], strlen(keys[key])},
                                 &exchanges[n]),
                             fits);
            if (fits) {
                if (model.count[key] == 0)
                    model.turns[model.turn_count++] = key;
                model.waiting[key][model.count[key]++] = n;
                total++;
            }
        }
        assert_int_equal(queue.count, total);
    }
    tide__http_queue_deinit(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queue__takes_keys_in_turn),
        cmocka_unit_test(test_queue__one_key_leaves_room_for_others),
        cmocka_unit_test(test_queue__agrees_with_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
