/* test_counter.c - no addition is lost. */
#include "sync/counter.h"
#include "support/threads.h"

static void add_and_take(void *arg)
{
	struct counter *c = arg;
	for (unsigned i = 0; i < 30000; i++) {
		counter_add(c, 3);
		counter_add(c, -1);
	}
}

static void the_sum_has_all_that_was_added(void **state)
{
	(void)state;
	struct counter *c;
	assert_int_equal(counter_create(&c), 0);
	assert_int_equal(counter_sum(c), 0);
	run_on(5, add_and_take, c);
	assert_int_equal(counter_sum(c), 5 * 30000 * 2);
	counter_add(c, -5 * 30000 * 2 - 7);
	assert_int_equal(counter_sum(c), -7);
	counter_destroy(c);
	counter_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sum_has_all_that_was_added),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
