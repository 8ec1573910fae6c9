/* test_coalesce.c - which interrupts are held, for how long, and what is learnt of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "dev/coalesce.h"

static void it_ends_with_enough_results(void **state)
{
	(void)state;
	struct coalesce c = { 0 };
	uint64_t shown = 0;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 1; i < COALESCE_MAX; i++)
			assert_true(coalesce_holds(&c, ++shown, i));
		assert_false(coalesce_holds(&c, ++shown, COALESCE_MAX));
		coalesce_sent(&c, shown);
	}
	assert_false(coalesce_holds(&c, shown + COALESCE_MAX, 0)); /* a batch is enough at once */
}

static void it_ends_in_time(void **state)
{
	(void)state;
	struct coalesce c = { 0 };
	assert_true(coalesce_holds(&c, 1, 1000));
	assert_true(coalesce_holds(&c, 1, 1000 + COALESCE_MAX_NS - 1));
	assert_false(coalesce_holds(&c, 1, 1000 + COALESCE_MAX_NS));
}

/* What a predecessor owed: an interrupt for no result of ours. */
static void it_ends_in_time_without_any_result(void **state)
{
	(void)state;
	struct coalesce c = { 0 };
	assert_true(coalesce_holds(&c, 0, 1000));
	assert_true(coalesce_holds(&c, 0, 2000));
	assert_false(coalesce_holds(&c, 0, 1000 + COALESCE_MAX_NS));
}

/* So many of the next @nr single results wait before their interrupt is sent. */
static unsigned held_of(struct coalesce *c, uint64_t *shown, unsigned nr)
{
	unsigned held = 0;
	while (nr--) {
		held += coalesce_holds(c, ++*shown, 0);
		coalesce_sent(c, *shown);
	}
	return held;
}

static void who_waits_for_each_is_soon_left_alone(void **state)
{
	(void)state;
	struct coalesce c = { 0 };
	uint64_t shown = 0;
	assert_in_range(held_of(&c, &shown, 100), 1, 6);
	assert_in_range(held_of(&c, &shown, 6500), 50, 110); /* one of 65: has that changed? */
}

static void gain_brings_it_back(void **state)
{
	(void)state;
	struct coalesce c = { 0 };
	uint64_t shown = 0;
	(void)held_of(&c, &shown, 1000);
	while (!coalesce_holds(&c, ++shown, 0))
		coalesce_sent(&c, shown);
	assert_true(coalesce_holds(&c, ++shown, 0)); /* another one came */
	coalesce_sent(&c, shown);
	assert_true(coalesce_holds(&c, ++shown, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_ends_with_enough_results),
		cmocka_unit_test(it_ends_in_time),
		cmocka_unit_test(it_ends_in_time_without_any_result),
		cmocka_unit_test(who_waits_for_each_is_soon_left_alone),
		cmocka_unit_test(gain_brings_it_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
