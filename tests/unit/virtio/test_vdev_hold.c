/* test_vdev_hold.c - queues that stop without the driver's doing, and go on where they were. */
#include "unit/virtio/vdev_fixture.h"

#define NEXT 7 /* where the queues of these tests stop */

static void hold(struct fixture *f, enum vdev_hold why)
{
	vdev_hold(f->d, why);
	for (uint16_t i = 0; i < 2; i++)
		vdev_queue_stopped_at(f->d, i, (uint16_t)(NEXT + i));
	assert_true(vdev_is_quiet(f->d));
}

static void expect_starts(const struct fixture *f, unsigned first, unsigned second)
{
	assert_int_equal(f->fake.starts[0], first);
	assert_int_equal(f->fake.starts[1], second);
}

static void expect_goes_on(const struct fixture *f, uint16_t idx, bool goes_on, uint16_t next)
{
	assert_int_equal(f->fake.setup[idx].goes_on, goes_on);
	assert_int_equal(f->fake.setup[idx].next, next);
}

static void a_held_device_goes_on_where_it_was(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	expect_goes_on(f, 0, false, 0);
	hold(f, VDEV_HOLD_OWNER);
	assert_int_equal(f->stopped[0], 1); /* the transport hears of it */
	assert_int_equal(f->stopped[1], 1);
	assert_int_equal(vdev_status(f->d), LIVE); /* the driver sees nothing of it */
	assert_true(vdev_queue_enabled(f->d, 0));
	expect_starts(f, 1, 1);
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	expect_starts(f, 2, 2);
	expect_goes_on(f, 0, true, NEXT);
	expect_goes_on(f, 1, true, NEXT + 1);
	assert_int_equal(f->fake.setup[1].size, f->gq[1].size);
	assert_int_equal(f->fake.setup[1].desc.raw, f->gq[1].desc_gpa);
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	expect_starts(f, 2, 2);
}

static void what_is_let_go_too_soon_starts_when_it_has_stopped(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_hold(f->d, VDEV_HOLD_OWNER);
	vdev_queue_stopped_at(f->d, 0, NEXT);
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	expect_starts(f, 2, 1);
	vdev_hold(f->d, VDEV_HOLD_OWNER);
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	assert_int_equal(f->fake.stops[0], 2);
	assert_int_equal(f->fake.stops[1], 1);
	vdev_queue_stopped_at(f->d, 1, NEXT);
	expect_starts(f, 2, 2);
	expect_goes_on(f, 1, true, NEXT);
}

static void everybody_has_to_let_go(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	hold(f, VDEV_HOLD_OWNER);
	vdev_hold(f->d, VDEV_HOLD_BUS);
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	expect_starts(f, 1, 1);
	vdev_let_go(f->d, VDEV_HOLD_BUS);
	expect_starts(f, 2, 2);
	hold(f, VDEV_HOLD_OWNER);
	vdev_hold(f->d, VDEV_HOLD_BUS);
	vdev_let_go(f->d, VDEV_HOLD_BUS); /* the other way round */
	expect_starts(f, 2, 2);
	vdev_hold(f->d, VDEV_HOLD_END);
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	expect_starts(f, 2, 2);
}

/* What the driver begins anew while it is held has no past. */
static void a_reset_while_held_forgets_the_place(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	hold(f, VDEV_HOLD_OWNER);
	vdev_set_status(f->d, 0);
	assert_int_equal(vdev_status(f->d), 0);
	assert_int_equal(f->fake.resets, 1);
	go_live(f, V1);
	expect_starts(f, 1, 1);
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	expect_starts(f, 2, 2);
	expect_goes_on(f, 0, false, 0);
}

static void a_queue_reset_while_held_forgets_its_place(void **state)
{
	struct fixture *f = *state;
	go_live(f, RESETTABLE);
	hold(f, VDEV_HOLD_OWNER);
	vdev_queue_reset(f->d, 0);
	assert_false(vdev_queue_resetting(f->d, 0));
	assert_false(vdev_queue_enabled(f->d, 0));
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	expect_starts(f, 1, 2);
	enable_queue(f, 0);
	expect_starts(f, 2, 2);
	expect_goes_on(f, 0, false, 0);
	/* and asked for before it has stopped */
	vdev_hold(f->d, VDEV_HOLD_OWNER);
	vdev_queue_reset(f->d, 1);
	assert_true(vdev_queue_resetting(f->d, 1));
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	vdev_queue_stopped_at(f->d, 1, NEXT);
	assert_false(vdev_queue_enabled(f->d, 1));
	expect_starts(f, 2, 2);
}

static void what_is_enabled_while_held_begins_afterwards(void **state)
{
	struct fixture *f = *state;
	negotiate(f, V1);
	vdev_hold(f->d, VDEV_HOLD_OWNER);
	enable_queue(f, 0);
	vdev_set_status(f->d, LIVE);
	enable_queue(f, 1);
	expect_starts(f, 0, 0);
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	expect_starts(f, 1, 1);
	assert_int_equal(f->fake.starts[2], 0);
	expect_goes_on(f, 0, false, 0);
}

static void a_broken_device_stays_stopped(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	hold(f, VDEV_HOLD_OWNER);
	vdev_needs_reset(f->d, "test");
	vdev_let_go(f->d, VDEV_HOLD_OWNER);
	expect_starts(f, 1, 1);
	vdev_set_status(f->d, 0);
	assert_int_equal(vdev_status(f->d), 0);
}

/* --- the bus master's bit --- */

static void no_master_waits_for_its_driver(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_set_master(f->d, false);
	assert_int_equal(f->fake.stops[0], 1);
	assert_int_equal(vdev_status(f->d), LIVE & ~DOK);
	vdev_set_master(f->d, false);
	vdev_queue_stopped_at(f->d, 0, NEXT);
	vdev_queue_stopped_at(f->d, 1, NEXT);
	vdev_set_master(f->d, true); /* by whoever: it may not know these rings */
	expect_starts(f, 1, 1);
	assert_int_equal(vdev_status(f->d), LIVE & ~DOK);
	vdev_set_status(f->d, LIVE);
	expect_starts(f, 2, 2);
	expect_goes_on(f, 0, true, NEXT);
	/* the other way round, and before they have stopped */
	vdev_set_master(f->d, false);
	vdev_set_status(f->d, LIVE);
	assert_int_equal(vdev_status(f->d), LIVE);
	vdev_queue_stopped_at(f->d, 0, NEXT + 1);
	expect_starts(f, 2, 2);
	vdev_set_master(f->d, true);
	expect_starts(f, 3, 2);
	expect_goes_on(f, 0, true, NEXT + 1);
	vdev_queue_stopped_at(f->d, 1, NEXT + 1);
	expect_starts(f, 3, 3);
}

static void no_master_may_be_reset(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_set_status(f->d, 0);
	vdev_set_master(f->d, false);
	assert_int_equal(vdev_status(f->d), LIVE); /* until it is over */
	vdev_queue_stopped(f->d, 0);
	vdev_queue_stopped(f->d, 1);
	assert_int_equal(vdev_status(f->d), 0);
	vdev_set_master(f->d, true);
	assert_int_equal(vdev_status(f->d), 0);
	expect_starts(f, 1, 1);
	go_live(f, V1);
	expect_starts(f, 2, 2);
	expect_goes_on(f, 0, false, 0);
}

/* The interrupt of a changed configuration is for a driver that is there. VIRTIO 1.2 §2.1.2 */
static void no_master_tells_nothing(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_set_master(f->d, false);
	vdev_config_begin(f->d);
	vdev_config_end(f->d, true);
	assert_int_equal(f->config_irqs, 0);
	vdev_set_status(f->d, LIVE);
	vdev_config_begin(f->d);
	vdev_config_end(f->d, true);
	assert_int_equal(f->config_irqs, 1);
}

/* --- while a worker stops them --- */

static struct race {
	struct fixture *f;
	_Atomic bool wants[FAKE_QUEUES], is_over;
	_Atomic unsigned running[FAKE_QUEUES];
} race;

static int race_start(struct vdev *d, uint16_t idx, const struct vq_setup *s)
{
	(void)d;
	assert_int_equal(atomic_fetch_add(&race.running[idx], 1), 0);
	assert_int_equal(s->next, s->goes_on ? NEXT : 0);
	return 0;
}

static void race_stop(struct vdev *d, uint16_t idx)
{
	(void)d;
	atomic_store(&race.wants[idx], true);
}

static void *race_worker(void *arg)
{
	(void)arg;
	while (!atomic_load(&race.is_over)) {
		for (uint16_t i = 0; i < FAKE_QUEUES; i++)
			if (atomic_exchange(&race.wants[i], false)) {
				atomic_fetch_sub(&race.running[i], 1);
				vdev_queue_stopped_at(race.f->d, i, NEXT);
			}
		sched_yield();
	}
	return NULL;
}

static void holds_and_upcalls_may_meet(void **state)
{
	struct fixture *f = *state;
	static struct vdev_ops ops;
	ops = fake_vdev_ops;
	ops.start = race_start;
	ops.stop = race_stop;
	f->d->ops = &ops;
	race = (struct race){ .f = f };
	pthread_t worker;
	assert_int_equal(pthread_create(&worker, NULL, race_worker, NULL), 0);
	go_live(f, V1);
	for (unsigned round = 0; round < 2000; round++) {
		enum vdev_hold why = round & 1 ? VDEV_HOLD_OWNER : VDEV_HOLD_BUS;
		vdev_hold(f->d, why);
		while (round % 3 == 0 && !vdev_is_quiet(f->d))
			sched_yield();
		vdev_let_go(f->d, why);
	}
	for (uint16_t i = 0; i < 2; i++)
		while (!atomic_load(&race.running[i]) || atomic_load(&race.wants[i]))
			sched_yield();
	vdev_set_status(f->d, 0);
	while (vdev_status(f->d))
		sched_yield();
	atomic_store(&race.is_over, true);
	pthread_join(worker, NULL);
	assert_int_equal(race.running[0] + race.running[1], 0);
	f->d->ops = &fake_vdev_ops;
}

int main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_held_device_goes_on_where_it_was),
		T(what_is_let_go_too_soon_starts_when_it_has_stopped),
		T(everybody_has_to_let_go),
		T(a_reset_while_held_forgets_the_place),
		T(a_queue_reset_while_held_forgets_its_place),
		T(what_is_enabled_while_held_begins_afterwards),
		T(a_broken_device_stays_stopped),
		T(no_master_waits_for_its_driver),
		T(no_master_may_be_reset),
		T(no_master_tells_nothing),
		T(holds_and_upcalls_may_meet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
