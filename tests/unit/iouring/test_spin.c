/* test_spin.c - when spinning is thought to pay, and that a spinning reactor misses nothing. */
#include "rig.h"
#include <sys/eventfd.h>
#include <unistd.h>

#define BUDGET_NS 50000ull

static void no_budget_means_no_spinning(void **state)
{
	(void)state;
	struct spin s;
	spin_init(&s, 0);
	assert_false(spin_begin(&s, false));
	spin_slept(&s);
	assert_false(spin_begin(&s, false));
}

static void always_means_always(void **state)
{
	(void)state;
	struct spin s;
	spin_init(&s, REACTOR_SPIN_ALWAYS);
	for (unsigned i = 0; i < 100; i++) {
		assert_true(spin_begin(&s, false));
		assert_false(spin_is_over(&s));
		spin_hit(&s);
	}
}

static void long_gaps_stop_it_and_short_ones_bring_it_back(void **state)
{
	(void)state;
	struct spin s;
	spin_init(&s, BUDGET_NS);
	assert_true(spin_begin(&s, false));
	unsigned slept = 0;
	while (spin_begin(&s, false) && slept < 100) { /* each gap far beyond the budget */
		s.idle_since_ns -= 1000 * BUDGET_NS;
		spin_slept(&s);
		slept++;
	}
	assert_in_range(slept, 1, 10);
	unsigned short_gaps = 0;
	while (!spin_begin(&s, false) &&
	       short_gaps < 100) { /* a wake-up's worth of sleep: no gap */
		spin_slept(&s);
		short_gaps++;
	}
	assert_in_range(short_gaps, 1, 40);
}

/* Depth 1 on a disk: the driver answers at once, the disk takes its time. */
static void gaps_of_the_disk_are_told_from_those_of_the_driver(void **state)
{
	(void)state;
	struct spin s;
	spin_init(&s, BUDGET_NS);
	unsigned in_vain = 0;
	for (unsigned i = 0; i < 100; i++) {
		if (spin_begin(&s, true)) {
			in_vain++;
			spin_miss(&s);
		}
		s.idle_since_ns -= 3 * BUDGET_NS;
		spin_slept(&s);
		assert_true(spin_begin(&s, false));
		spin_hit(&s);
	}
	assert_in_range(in_vain, 1, 10);
}

/* What was waited for came just after each spin: without the wake-up the gap looks like none. */
static void spins_in_vain_end_though_the_gaps_look_short(void **state)
{
	(void)state;
	struct spin s;
	spin_init(&s, BUDGET_NS);
	unsigned in_vain = 0;
	for (unsigned i = 0; i < 100; i++) {
		if (spin_begin(&s, false)) {
			in_vain++;
			spin_miss(&s);
		}
		s.idle_since_ns -= BUDGET_NS;
		spin_slept(&s);
	}
	assert_in_range(in_vain, 1, 60);
}

static void the_budget_ends(void **state)
{
	(void)state;
	struct spin s;
	spin_init(&s, BUDGET_NS);
	assert_true(spin_begin(&s, false));
	s.idle_since_ns -= BUDGET_NS;
	assert_true(spin_is_over(&s));
}

static void who_shares_its_cpu_gives_way(void **state)
{
	(void)state;
	struct spin s;
	spin_init(&s, BUDGET_NS);
	s.crowd.is_shared = true;
	assert_false(spin_begin(&s, false));
	assert_false(spin_may_hold(&s));
	s.crowd.is_shared = false;
	assert_true(spin_begin(&s, false));
	assert_true(spin_may_hold(&s));
}

static void without_a_budget_it_never_asks_for_company(void **state)
{
	(void)state;
	struct spin s;
	spin_init(&s, 0);
	spin_sleeps(&s);
	assert_int_equal(s.crowd.next_ns, 0);
	assert_false(spin_may_hold(&s));
	spin_init(&s, BUDGET_NS);
	spin_sleeps(&s);
	assert_true(s.crowd.next_ns > 0);
}

static void a_sleep_is_measured_within_reason(void **state)
{
	(void)state;
	assert_in_range(reactor_measure_sleep_ns(), 64000, 200000);
}

static void an_automatic_budget_is_measured_after_some_sleeps(void **state)
{
	(void)state;
	struct spin s, late;
	spin_init(&s, REACTOR_SPIN_AUTO);
	assert_null(s.calibrator);
	uint64_t guess_ns = s.budget_ns;
	assert_in_range(guess_ns, 64000, 200000);
	unsigned sleeps = 0;
	while (!s.calibrator && sleeps < 1000) {
		assert_int_equal(s.budget_ns, guess_ns);
		(void)spin_begin(&s, false);
		spin_slept(&s);
		sleeps++;
	}
	assert_in_range(sleeps, 8, 100); /* not at once: a start must not pay for it */
	spin_fini(&s);                   /* waits for the result */
	for (sleeps = 0; s.calibrate_in && sleeps < 1000; sleeps++)
		spin_slept(&s);
	assert_in_range(s.budget_ns, 64000, 200000);
	assert_null(s.calibrator);
	spin_init(&late, REACTOR_SPIN_AUTO); /* another of this process: no second measurement */
	for (sleeps = 0; late.calibrate_in && sleeps < 1000; sleeps++)
		spin_slept(&late);
	assert_null(late.calibrator);
	assert_int_equal(late.budget_ns, s.budget_ns);
}

/* --- with a reactor --- */

struct ping {
	struct reactor_source s;
	_Atomic unsigned asked, seen;
};

static bool ping_poll(struct reactor_source *s)
{
	struct ping *p = container_of(s, struct ping, s);
	unsigned asked = atomic_load(&p->asked);
	if (asked == atomic_load(&p->seen))
		return false;
	atomic_store(&p->seen, asked);
	return true;
}

static void a_reactor_that_always_spins_sees_work_without_being_told(void **state)
{
	(void)state;
	static struct uring_sys sys;
	struct rig g;
	struct ping p = { .s.poll = ping_poll };
	struct reactor_config cfg = { .entries = 8, .spin_ns = REACTOR_SPIN_ALWAYS };
	sys = uring_sys_real;
	rig_make_with(&g, &cfg, &sys);
	reactor_add_source(g.r, &p.s);
	rig_start(&g);
	for (unsigned i = 1; i <= 50; i++) {
		atomic_store(&p.asked, i);
		while (atomic_load(&p.seen) != i) /* never notified: only a spinner sees it */
			sched_yield();
	}
	assert_int_equal(atomic_load(&reactor_stats_of(g.r)->sleeps), 0);
	rig_end(&g);
}

static void touch(struct reactor *r, void *arg)
{
	(void)r;
	(*(unsigned *)arg)++;
}

static void a_reactor_that_spins_a_while_still_sleeps_and_wakes(void **state)
{
	(void)state;
	static struct uring_sys sys;
	struct rig g;
	unsigned touched = 0;
	struct reactor_config cfg = { .entries = 8, .spin_ns = 20000 };
	sys = uring_sys_real;
	rig_make_with(&g, &cfg, &sys);
	rig_start(&g);
	for (unsigned i = 0; i < 300; i++) {
		rig_call(&g, touch, &touched);
		if (i % 10 == 0)
			usleep(300);
	}
	const struct reactor_stats *st = reactor_stats_of(g.r);
	assert_true(atomic_load(&st->spins) > 0);
	assert_true(atomic_load(&st->sleeps) > 0);
	assert_true(atomic_load(&st->spin_hits) <= atomic_load(&st->spins));
	rig_end(&g);
	assert_int_equal(touched, 300);
}

static void an_adaptive_reactor_with_rare_work_does_not_spin(void **state)
{
	(void)state;
	static struct uring_sys sys;
	struct rig g;
	unsigned touched = 0;
	struct reactor_config cfg = { .entries = 8, .spin_ns = REACTOR_SPIN_AUTO };
	sys = uring_sys_real;
	rig_make_with(&g, &cfg, &sys);
	rig_start(&g);
	for (unsigned i = 0; i < 60; i++) {
		rig_call(&g, touch, &touched);
		usleep(2000); /* ten times the largest budget */
	}
	const struct reactor_stats *st = reactor_stats_of(g.r);
	assert_in_range(atomic_load(&st->spins), 0, 15); /* the first few, until it knows better */
	assert_true(atomic_load(&st->sleeps) >= 40);
	rig_end(&g);
	assert_int_equal(touched, 60);
}

int main(void)
{
	const struct CMUnitTest rules[] = {
		cmocka_unit_test(no_budget_means_no_spinning),
		cmocka_unit_test(always_means_always),
		cmocka_unit_test(long_gaps_stop_it_and_short_ones_bring_it_back),
		cmocka_unit_test(gaps_of_the_disk_are_told_from_those_of_the_driver),
		cmocka_unit_test(spins_in_vain_end_though_the_gaps_look_short),
		cmocka_unit_test(the_budget_ends),
		cmocka_unit_test(who_shares_its_cpu_gives_way),
		cmocka_unit_test(without_a_budget_it_never_asks_for_company),
		cmocka_unit_test(a_sleep_is_measured_within_reason),
		cmocka_unit_test(an_automatic_budget_is_measured_after_some_sleeps),
	};
	const struct CMUnitTest reactors[] = {
		cmocka_unit_test(a_reactor_that_always_spins_sees_work_without_being_told),
		cmocka_unit_test(a_reactor_that_spins_a_while_still_sleeps_and_wakes),
		cmocka_unit_test(an_adaptive_reactor_with_rare_work_does_not_spin),
	};
	return cmocka_run_group_tests(rules, NULL, NULL) + rig_run_all(reactors);
}
