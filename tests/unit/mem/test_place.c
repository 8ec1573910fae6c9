/* test_place.c - nodes and their CPUs, and what is a choice among them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/num.h"
#include "mem/place.h"

static cpu_set_t set_of(int a, int b)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET((size_t)a, &set);
	CPU_SET((size_t)b, &set);
	return set;
}

static void the_cpus_of_a_node_say_that_they_are_of_it(void **state)
{
	(void)state;
	cpu_set_t set;
	if (!place_cpus_of_node(0, &set))
		skip(); /* no NUMA here */
	assert_true(CPU_COUNT(&set) > 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET((size_t)cpu, &set))
			assert_int_equal(place_node_of_cpu(cpu), 0);
}

static void a_node_that_is_not_there_has_none(void **state)
{
	(void)state;
	cpu_set_t set;
	assert_false(place_cpus_of_node(PLACE_NODE_ANY, &set));
	assert_false(place_cpus_of_node(100000, &set));
	assert_int_equal(CPU_COUNT(&set), 0);
}

static void only_some_of_what_is_allowed_is_a_choice(void **state)
{
	(void)state;
	cpu_set_t allowed = set_of(2, 3), set = set_of(1, 2);
	assert_true(place_narrow(&set, &allowed));
	assert_int_equal(CPU_COUNT(&set), 1);
	assert_true(CPU_ISSET(2, &set));
	set = set_of(2, 3); /* all of it */
	assert_false(place_narrow(&set, &allowed));
	set = set_of(0, 1); /* nothing of it */
	assert_false(place_narrow(&set, &allowed));
}

static void huge_pages_are_counted_where_they_are_wanted(void **state)
{
	(void)state;
	char dir[PLACE_DIR_BYTES];
	place_hugepages_dir(dir, 2 * MIB, PLACE_NODE_ANY);
	assert_string_equal(dir, "/sys/kernel/mm/hugepages/hugepages-2048kB");
	place_hugepages_dir(dir, GIB, 3);
	assert_string_equal(dir, "/sys/devices/system/node/node3/hugepages/hugepages-1048576kB");
	long all = place_free_hugepages(2 * MIB, PLACE_NODE_ANY);
	assert_true(place_free_hugepages(2 * MIB, 0) <= all);
	assert_int_equal(place_free_hugepages(2 * MIB, 100000), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_cpus_of_a_node_say_that_they_are_of_it),
		cmocka_unit_test(a_node_that_is_not_there_has_none),
		cmocka_unit_test(only_some_of_what_is_allowed_is_a_choice),
		cmocka_unit_test(huge_pages_are_counted_where_they_are_wanted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
