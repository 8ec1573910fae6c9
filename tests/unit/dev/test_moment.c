/* test_moment.c - hosts of several kinds played, and what is learnt of each. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/compiler.h"
#include "base/num.h"
#include "dev/moment.h"

#define MANY 100000u /* results: several comparisons with each delay */

/* From a result to the next request, its interrupt delayed by so much. */
typedef uint64_t (*host)(uint64_t delay_ns);

/* A vCPU halts after 3 us; before, an interrupt throws it out of the guest. */
static uint64_t halts_soon(uint64_t delay_ns)
{
	return delay_ns < 3000 ? delay_ns + 17000 : delay_ns + 9000;
}

/* An interrupt reaches a vCPU that runs for nothing. */
static uint64_t posts_interrupts(uint64_t delay_ns)
{
	return delay_ns + 5000;
}

/* Nobody waits: the driver has other things to do. */
static uint64_t is_idle(uint64_t delay_ns)
{
	return delay_ns + 5000000;
}

static uint32_t seed;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)seed * n >> 32);
}

/* Times that have nothing to do with us. */
static uint64_t is_moody(uint64_t delay_ns)
{
	return delay_ns + 10000 + random_below(30000);
}

/* As halts_soon(), but one in four requests goes round the slow way. */
static uint64_t halts_soon_mostly(uint64_t delay_ns)
{
	return halts_soon(delay_ns) + random_below(3000) + (random_below(4) ? 0 : 45000);
}

/* @nr results on @h; the mean delay. */
static uint64_t run(struct moment *m, host h, unsigned nr)
{
	static uint64_t now_ns = 1000000;
	uint64_t all_ns = 0;
	for (unsigned i = 0; i < nr; i++) {
		uint64_t delay_ns = moment_delay_ns(m, now_ns);
		all_ns += delay_ns;
		now_ns += h(delay_ns);
		if (m->is_timed)
			moment_came(m, now_ns);
	}
	return all_ns / nr;
}

static void it_waits_until_the_vcpu_has_halted(void **state)
{
	(void)state;
	static const host hosts[] = { halts_soon, halts_soon_mostly };
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct moment m = { 0 };
		seed = 1;
		(void)run(&m, hosts[i], MANY / 10); /* finds it out within a tenth of a second */
		assert_in_range(run(&m, hosts[i], MANY), 3950, 4050);
	}
}

static void it_does_not_wait_for_nothing(void **state)
{
	(void)state;
	static const host hosts[] = { posts_interrupts, is_idle };
	for (size_t i = 0; i < ARRAY_SIZE(hosts); i++) {
		struct moment m = { 0 };
		(void)run(&m, hosts[i], MANY / 10);
		assert_in_range(run(&m, hosts[i], MANY), 0,
				20); /* to see whether that has changed */
	}
}

static void chance_does_not_lead_it_astray(void **state)
{
	(void)state;
	uint64_t all_ns = 0;
	for (seed = 0; seed < 50; seed++) {
		struct moment m = { 0 };
		uint32_t mine = seed;
		all_ns += run(&m, is_moody, MANY);
		seed = mine;
	}
	assert_in_range(all_ns / 50, 0, 300); /* of 25 us */
}

static void it_notices_that_the_host_has_changed(void **state)
{
	(void)state;
	struct moment m = { 0 };
	(void)run(&m, halts_soon, MANY);
	assert_int_equal(m.level, 2);
	(void)run(&m, posts_interrupts, MANY);
	assert_int_equal(m.level, 0);
	(void)run(&m, halts_soon, MANY);
	assert_int_equal(m.level, 2);
}

/* Results without a request in between: their times say nothing. */
static void a_sample_that_does_not_end_is_none(void **state)
{
	(void)state;
	struct moment m = { 0 };
	while (!m.is_timed)
		(void)moment_delay_ns(&m, 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(moment_delay_ns(&m, 1000 * i), 0);
	assert_int_equal(m.nr, 0);
	moment_came(&m, 1000000);
	assert_int_equal(m.nr, 1);
	assert_int_equal(m.gap_ns[0][0], 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_waits_until_the_vcpu_has_halted),
		cmocka_unit_test(it_does_not_wait_for_nothing),
		cmocka_unit_test(chance_does_not_lead_it_astray),
		cmocka_unit_test(it_notices_that_the_host_has_changed),
		cmocka_unit_test(a_sample_that_does_not_end_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
