/* test_vdev_reset.c - resets of a device and of one queue, faults, with a body that stops when told
 * to. */
#include "unit/virtio/vdev_fixture.h"

/* --- reset --- */

static void a_reset_is_done_when_the_last_queue_has_stopped(void **state)
{
	struct fixture *f = *state;
	for (unsigned round = 1; round <= 3; round++) {
		go_live(f, V1 | FAKE_BIT);
		assert_int_equal(f->fake.starts[0], round);
		vdev_set_status(f->d, 0);
		assert_int_equal(f->fake.stops[0], round);
		assert_int_equal(f->fake.stops[1], round);
		assert_int_equal(f->fake.stops[2], 0);
		assert_int_equal(vdev_status(f->d), LIVE);
		vdev_queue_stopped(f->d, 1);
		assert_int_equal(vdev_status(f->d), LIVE);
		assert_int_equal(f->fake.resets, round - 1);
		vdev_queue_stopped(f->d, 0);
		assert_int_equal(vdev_status(f->d), 0);
		assert_int_equal(f->fake.resets, round);
		assert_int_equal(f->resets_done, round);
		assert_int_equal(f->status_at_reset_done, LIVE); /* not 0 before we forgot */
		assert_false(vdev_queue_enabled(f->d, 0));
		assert_int_equal(vdev_queue_size(f->d, 0), FAKE_SIZE);
		assert_int_equal(vdev_queue_area(f->d, 0, VDEV_DESC), 0);
		assert_int_equal(vdev_accepted(f->d, 0), 0);
	}
}

static void a_reset_before_anything_runs_is_done_at_once(void **state)
{
	struct fixture *f = *state;
	vdev_set_status(f->d, 0);
	assert_int_equal(f->resets_done, 1);
	negotiate(f, V1);
	enable_queue(f, 0);
	vdev_set_status(f->d, 0);
	assert_int_equal(vdev_status(f->d), 0);
	assert_false(vdev_queue_enabled(f->d, 0));
	assert_int_equal(f->fake.stops[0], 0);
}

static void writes_during_a_pending_reset_are_ignored(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_set_status(f->d, 0);
	vdev_set_status(f->d, 0); /* again: still one reset */
	vdev_set_status(f->d, ACK);
	vdev_set_status(f->d, LIVE);
	vdev_set_status(f->d, LIVE | VIRTIO_CONFIG_S_FAILED);
	assert_int_equal(vdev_status(f->d), LIVE);
	accept_bits(f, V1 | FAKE_BIT);
	enable_queue(f, 2);
	vdev_queue_reset(f->d, 1);
	vdev_config_write(f->d, 0, "\1", 1);
	assert_false(vdev_queue_enabled(f->d, 2));
	assert_false(vdev_queue_resetting(f->d, 1));
	assert_int_equal(f->fake.config[0], 0);
	assert_int_equal(f->fake.stops[0], 1);
	vdev_queue_stopped(f->d, 0);
	vdev_queue_stopped(f->d, 1);
	assert_int_equal(vdev_status(f->d), 0);
	assert_int_equal(f->resets_done, 1);
	assert_false(f->is_quiet_at_reset_done); /* it is not over yet */
	assert_true(vdev_is_quiet(f->d));
	assert_int_equal(vdev_accepted(f->d, 0), 0);
	go_live(f, V1);
	assert_int_equal(f->fake.starts[0], 2);
}

static void a_fault_stops_the_queues_and_tells_the_driver(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_needs_reset(f->d, "scripted");
	vdev_needs_reset(f->d, "scripted again");
	assert_int_equal(vdev_status(f->d), LIVE | BROKEN);
	assert_int_equal(f->config_irqs, 1);
	assert_int_equal(f->fake.stops[0], 1);
	assert_int_equal(f->fake.stops[1], 1);
	assert_true(vdev_queue_enabled(f->d, 0));
	enable_queue(f, 2);
	assert_int_equal(f->fake.starts[2], 0);
	vdev_queue_stopped(f->d, 0);
	assert_true(vdev_queue_enabled(f->d, 0)); /* until the reset */
	vdev_set_status(f->d, 0);
	assert_int_equal(vdev_status(f->d), LIVE | BROKEN);
	vdev_queue_stopped(f->d, 1);
	assert_int_equal(vdev_status(f->d), 0);
	go_live(f, V1);
	assert_int_equal(vdev_status(f->d), LIVE);
}

static void a_fault_without_a_driver_is_nothing(void **state)
{
	struct fixture *f = *state;
	vdev_needs_reset(f->d, "scripted");
	assert_int_equal(vdev_status(f->d), 0);
	negotiate(f, V1);
	vdev_needs_reset(f->d, "scripted");
	assert_int_equal(vdev_status(f->d), ACK | DRV | FOK | BROKEN);
	assert_int_equal(f->config_irqs, 0); /* not before DRIVER_OK */
}

static void a_fault_during_a_reset_is_forgotten(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_set_status(f->d, 0);
	vdev_needs_reset(f->d, "scripted");
	assert_int_equal(vdev_status(f->d), LIVE); /* the old one stands */
	vdev_queue_stopped(f->d, 0);
	vdev_queue_stopped(f->d, 1);
	assert_int_equal(vdev_status(f->d), 0);
	assert_int_equal(f->config_irqs, 0);
}

/* The driver that asked for it wants no interrupt any more, and the next one none of the past. */
static void a_change_of_configuration_during_a_reset_raises_nothing(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_set_status(f->d, 0);
	vdev_config_begin(f->d);
	vdev_config_end(f->d, true);
	assert_int_equal(f->config_irqs, 0);
	vdev_queue_stopped(f->d, 0);
	vdev_queue_stopped(f->d, 1);
	assert_int_equal(vdev_status(f->d), 0);
	go_live(f, V1);
	assert_int_equal(f->config_irqs, 0);
}

/* --- reset of one queue --- */

static void one_queue_resets_and_comes_back(void **state)
{
	struct fixture *f = *state;
	go_live(f, RESETTABLE);
	for (unsigned round = 1; round <= 3; round++) {
		vdev_queue_reset(f->d, 0);
		assert_int_equal(f->fake.stops[0], round);
		assert_true(vdev_queue_resetting(f->d, 0));
		assert_true(vdev_queue_enabled(f->d, 0));
		vdev_queue_reset(f->d, 0);
		vdev_queue_enable(f->d, 0);
		assert_int_equal(f->fake.stops[0], round);
		vdev_queue_stopped(f->d, 0);
		assert_false(vdev_queue_resetting(f->d, 0));
		assert_false(vdev_queue_enabled(f->d, 0));
		assert_int_equal(vdev_queue_size(f->d, 0), FAKE_SIZE);
		assert_int_equal(f->fake.stops[1], 0);
		assert_int_equal(vdev_status(f->d), LIVE);
		enable_queue(f, 0);
		assert_int_equal(f->fake.starts[0], round + 1);
		assert_false(vdev_queue_resetting(f->d, 0));
	}
	assert_int_equal(f->fake.resets, 0);
}

static void a_queue_that_does_not_run_resets_at_once(void **state)
{
	struct fixture *f = *state;
	negotiate(f, RESETTABLE);
	enable_queue(f, 0);
	vdev_queue_reset(f->d, 0);
	assert_false(vdev_queue_enabled(f->d, 0));
	assert_false(vdev_queue_resetting(f->d, 0));
	vdev_queue_reset(f->d, 2);
	assert_false(vdev_queue_resetting(f->d, 2));
}

static void queue_reset_needs_its_feature(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_queue_reset(f->d, 0);
	assert_int_equal(f->fake.stops[0], 0);
	assert_true(vdev_queue_enabled(f->d, 0));
}

static void a_device_reset_overtakes_a_queue_reset(void **state)
{
	struct fixture *f = *state;
	go_live(f, RESETTABLE);
	vdev_queue_reset(f->d, 0);
	vdev_set_status(f->d, 0);
	assert_int_equal(f->fake.stops[0], 1);
	vdev_queue_stopped(f->d, 1);
	assert_int_equal(vdev_status(f->d), LIVE);
	vdev_queue_stopped(f->d, 0);
	assert_int_equal(vdev_status(f->d), 0);
	assert_false(vdev_queue_resetting(f->d, 0));
}

static void a_queue_reset_after_a_fault_waits_for_the_stop(void **state)
{
	struct fixture *f = *state;
	go_live(f, RESETTABLE);
	vdev_needs_reset(f->d, "scripted");
	vdev_queue_reset(f->d, 0);
	assert_true(vdev_queue_resetting(f->d, 0));
	assert_int_equal(f->fake.stops[0], 1);
	vdev_queue_stopped(f->d, 0);
	assert_false(vdev_queue_enabled(f->d, 0));
	enable_queue(f, 0);
	assert_int_equal(f->fake.starts[0], 1); /* the device is still broken */
}

int main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(a_reset_is_done_when_the_last_queue_has_stopped),
		T(a_reset_before_anything_runs_is_done_at_once),
		T(writes_during_a_pending_reset_are_ignored),
		T(a_fault_stops_the_queues_and_tells_the_driver),
		T(a_fault_without_a_driver_is_nothing),
		T(a_fault_during_a_reset_is_forgotten),
		T(a_change_of_configuration_during_a_reset_raises_nothing),
		T(one_queue_resets_and_comes_back),
		T(a_queue_that_does_not_run_resets_at_once),
		T(queue_reset_needs_its_feature),
		T(a_device_reset_overtakes_a_queue_reset),
		T(a_queue_reset_after_a_fault_waits_for_the_stop),
	};
	return cmocka_run_group_tests_name("virtio/vdev", tests, NULL, NULL);
}
