/* test_crowd.c - when a reactor thinks that its CPU is shared, and where it goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/num.h"
#include "iouring/crowd_priv.h"

#define ALONE_NS   400ull
#define COMPANY_NS 300000ull

/* The next look, as soon as it is due. */
static enum crowd_move look(struct crowd *c, uint64_t *now_ns, uint64_t took_ns)
{
	*now_ns = c->next_ns;
	assert_true(crowd_is_due(c, *now_ns));
	enum crowd_move move = crowd_note(c, *now_ns, took_ns);
	assert_false(crowd_is_due(c, *now_ns + took_ns));
	return move;
}

static void alone_it_stays_and_looks_now_and_then(void **state)
{
	(void)state;
	struct crowd c;
	uint64_t now_ns = 0;
	crowd_init(&c);
	for (unsigned i = 0; i < 50; i++) {
		assert_int_equal(look(&c, &now_ns, ALONE_NS), CROWD_STAY);
		assert_false(c.is_shared);
		assert_in_range(c.next_ns - now_ns, NSEC_PER_MSEC, 20 * NSEC_PER_MSEC);
	}
}

static void a_visitor_is_no_reason_to_move(void **state)
{
	(void)state;
	struct crowd c;
	uint64_t now_ns = 0;
	crowd_init(&c);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(look(&c, &now_ns, COMPANY_NS), CROWD_STAY);
		assert_true(c.is_shared); /* but no reason to spin either */
		assert_int_equal(look(&c, &now_ns, ALONE_NS), CROWD_STAY);
		assert_false(c.is_shared);
	}
}

static void company_that_stays_is_left(void **state)
{
	(void)state;
	struct crowd c;
	uint64_t now_ns = 0;
	crowd_init(&c);
	assert_int_equal(look(&c, &now_ns, COMPANY_NS), CROWD_STAY);
	assert_int_equal(look(&c, &now_ns, COMPANY_NS), CROWD_MOVE);
	assert_false(c.is_shared);
	assert_int_equal(look(&c, &now_ns, ALONE_NS), CROWD_STAY);
	/* and so each time anew */
	assert_int_equal(look(&c, &now_ns, COMPANY_NS), CROWD_STAY);
	assert_int_equal(look(&c, &now_ns, COMPANY_NS), CROWD_MOVE);
}

/* Company on both CPUs: the better of the two, and a long time until it tries again. */
static void shared_everywhere(uint64_t here_ns, uint64_t there_ns, enum crowd_move last)
{
	struct crowd c;
	uint64_t now_ns = 0, pause_ns = 0;
	crowd_init(&c);
	for (unsigned i = 0; i < 12; i++) {
		(void)look(&c, &now_ns, here_ns);
		if (!i || !c.has_moved)
			assert_int_equal(look(&c, &now_ns, here_ns), CROWD_MOVE);
		assert_int_equal(look(&c, &now_ns, there_ns), CROWD_STAY);
		assert_int_equal(look(&c, &now_ns, there_ns), last);
		assert_true(c.is_shared);
		assert_true(c.next_ns - now_ns >= pause_ns);
		pause_ns = c.next_ns - now_ns;
		assert_in_range(pause_ns, NSEC_PER_MSEC, NSEC_PER_SEC);
		c.is_shared = false; /* the pause is over: another turn */
	}
	assert_int_equal(pause_ns, NSEC_PER_SEC);
}

static void with_company_everywhere_it_settles_where_there_is_less(void **state)
{
	(void)state;
	shared_everywhere(COMPANY_NS, COMPANY_NS / 2, CROWD_STAY);
	shared_everywhere(COMPANY_NS, COMPANY_NS * 2, CROWD_MOVE);
}

static void the_next_cpu_is_one_it_may_use(void **state)
{
	(void)state;
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(3, &set);
	assert_int_equal(crowd_next_cpu(&set, 3), 3);
	assert_int_equal(crowd_next_cpu(&set, 0), 3);
	CPU_SET(7, &set);
	CPU_SET(CPU_SETSIZE - 1, &set);
	assert_int_equal(crowd_next_cpu(&set, 3), 7);
	assert_int_equal(crowd_next_cpu(&set, 7), CPU_SETSIZE - 1);
	assert_int_equal(crowd_next_cpu(&set, CPU_SETSIZE - 1), 3);
}

static void a_look_leaves_the_affinity_as_it_was(void **state)
{
	(void)state;
	struct crowd c;
	cpu_set_t before, after;
	crowd_init(&c);
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	for (unsigned i = 0; i < 200; i++)
		crowd_look(&c, 0); /* since "0": each finds company */
	assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
	assert_true(CPU_EQUAL(&before, &after));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(alone_it_stays_and_looks_now_and_then),
		cmocka_unit_test(a_visitor_is_no_reason_to_move),
		cmocka_unit_test(company_that_stays_is_left),
		cmocka_unit_test(with_company_everywhere_it_settles_where_there_is_less),
		cmocka_unit_test(the_next_cpu_is_one_it_may_use),
		cmocka_unit_test(a_look_leaves_the_affinity_as_it_was),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
