/* test_spsc.c - the bounded queue between two threads. */
#include "sync/spsc.h"
#include <errno.h>
#include "support/threads.h"

#define P(n) ((void *)(uintptr_t)(n))

static void capacities_are_powers_of_two(void **state)
{
	(void)state;
	static const uint32_t bad[] = { 0, 3, 6, 100, 1u << 31 };
	struct spsc *q = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(spsc_create(&q, bad[i]), -EINVAL);
	assert_null(q);
	spsc_destroy(NULL);
}

static void it_is_full_at_its_capacity_and_keeps_the_order(void **state)
{
	(void)state;
	static const uint32_t capacities[] = { 1, 2, 8 };
	for (size_t k = 0; k < ARRAY_SIZE(capacities); k++) {
		struct spsc *q;
		uint32_t cap = capacities[k];
		assert_int_equal(spsc_create(&q, cap), 0);
		assert_null(spsc_pop(q));
		for (uint32_t round = 0; round < 5; round++) {
			for (uint32_t i = 1; i <= cap; i++) {
				assert_true(spsc_push(q, P(i)));
				assert_int_equal(spsc_len(q), i);
			}
			assert_false(spsc_push(q, P(99)));
			for (uint32_t i = 1; i <= cap; i++)
				assert_ptr_equal(spsc_pop(q), P(i));
			assert_null(spsc_pop(q));
			assert_int_equal(spsc_len(q), 0);
		}
		spsc_destroy(q);
	}
}

static void the_counters_may_wrap(void **state)
{
	(void)state;
	struct spsc *q;
	assert_int_equal(spsc_create(&q, 4), 0);
	uint32_t near = UINT32_MAX - 1;
	atomic_store(&q->head, near);
	atomic_store(&q->tail, near);
	q->head_seen = q->tail_seen = near;
	for (uint32_t i = 1; i <= 4; i++)
		assert_true(spsc_push(q, P(i)));
	assert_false(spsc_push(q, P(5)));
	assert_int_equal(spsc_len(q), 4);
	for (uint32_t i = 1; i <= 4; i++)
		assert_ptr_equal(spsc_pop(q), P(i));
	assert_null(spsc_pop(q));
	spsc_destroy(q);
}

#define ITEMS 50000

static void push_all(void *arg)
{
	struct spsc *q = arg;
	for (uint32_t i = 1; i <= ITEMS;)
		if (spsc_push(q, P(i)))
			i++;
		else
			sched_yield();
}

static void two_threads_hand_over_everything_in_order(void **state)
{
	(void)state;
	struct spsc *q;
	assert_int_equal(spsc_create(&q, 16), 0);
	struct thread *t = start(push_all, q);
	for (uint32_t next = 1; next <= ITEMS;) {
		assert_true(spsc_len(q) <= 16);
		void *item = spsc_pop(q);
		if (!item) {
			sched_yield();
			continue;
		}
		assert_ptr_equal(item, P(next));
		next++;
	}
	thread_join(t);
	spsc_destroy(q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capacities_are_powers_of_two),
		cmocka_unit_test(it_is_full_at_its_capacity_and_keeps_the_order),
		cmocka_unit_test(the_counters_may_wrap),
		cmocka_unit_test(two_threads_hand_over_everything_in_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
