/* test_mpmc.c - the bounded queue between many. */
#include "sync/mpmc.h"
#include <errno.h>
#include "support/threads.h"

#define P(n) ((void *)(uintptr_t)(n))

static void capacities_are_powers_of_two_from_two_on(void **state)
{
	(void)state;
	static const uint32_t bad[] = { 0, 1, 3, 100, 1u << 31 };
	struct mpmc *q = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(mpmc_create(&q, bad[i]), -EINVAL);
	assert_null(q);
	mpmc_destroy(NULL);
}

static void it_is_full_at_its_capacity_and_keeps_the_order(void **state)
{
	(void)state;
	static const uint32_t capacities[] = { 2, 8 };
	for (size_t k = 0; k < ARRAY_SIZE(capacities); k++) {
		struct mpmc *q;
		uint32_t cap = capacities[k];
		assert_int_equal(mpmc_create(&q, cap), 0);
		assert_null(mpmc_pop(q));
		for (uint32_t round = 0; round < 5; round++) {
			for (uint32_t i = 1; i <= cap; i++)
				assert_true(mpmc_push(q, P(i)));
			assert_false(mpmc_push(q, P(99)));
			for (uint32_t i = 1; i <= cap; i++)
				assert_ptr_equal(mpmc_pop(q), P(i));
			assert_null(mpmc_pop(q));
		}
		mpmc_destroy(q);
	}
}

#define ITEMS 20000
#define SIDES 2
struct market {
	struct mpmc *q;
	_Atomic unsigned producer, consumer, left;
	_Atomic uint8_t seen[SIDES * ITEMS];
	_Atomic unsigned disorder;
};

static void produce(void *arg)
{
	struct market *m = arg;
	uint32_t base = atomic_fetch_add(&m->producer, 1) * ITEMS;
	for (uint32_t i = 0; i < ITEMS;)
		if (mpmc_push(m->q, P(base + i + 1)))
			i++;
		else
			sched_yield();
}

static void consume(void *arg)
{
	struct market *m = arg;
	uint32_t last[SIDES] = { 0 };
	while (atomic_load(&m->left)) {
		uint32_t n = (uint32_t)(uintptr_t)mpmc_pop(m->q);
		if (!n) {
			sched_yield();
			continue;
		}
		atomic_fetch_sub(&m->left, 1);
		atomic_fetch_add(&m->seen[n - 1], 1);
		uint32_t from = (n - 1) / ITEMS;
		if (n <= last[from])
			atomic_fetch_add(&m->disorder, 1);
		last[from] = n;
	}
}

static void take_part(void *arg)
{
	struct market *m = arg;
	if (atomic_fetch_add(&m->consumer, 1) % 2)
		produce(arg);
	else
		consume(arg);
}

static void every_item_arrives_once_and_in_its_producers_order(void **state)
{
	(void)state;
	static struct market m;
	assert_int_equal(mpmc_create(&m.q, 8), 0);
	atomic_store(&m.left, SIDES * ITEMS);
	run_on(2 * SIDES, take_part, &m);
	for (size_t i = 0; i < SIDES * ITEMS; i++)
		assert_int_equal(atomic_load(&m.seen[i]), 1);
	assert_int_equal(atomic_load(&m.disorder), 0);
	assert_null(mpmc_pop(m.q));
	mpmc_destroy(m.q);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capacities_are_powers_of_two_from_two_on),
		cmocka_unit_test(it_is_full_at_its_capacity_and_keeps_the_order),
		cmocka_unit_test(every_item_arrives_once_and_in_its_producers_order),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
