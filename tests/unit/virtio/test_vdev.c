/* test_vdev.c - status, features, queues and configuration of a device. */
#include "unit/virtio/vdev_fixture.h"

/* --- status --- */

static void features_ok_is_refused_unless_the_set_is_fine(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *what;
		uint64_t features;
		bool is_fine;
	} rows[] = {
		{ "nothing", 0, false },
		{ "no VERSION_1", FAKE_BIT, false },
		{ "VERSION_1", V1, true },
		{ "all of ours", V1 | FAKE_BIT | FAKE_NEEDS | VDEV_TRANSPORT_FEATURES, true },
		{ "a bit not offered", V1 | 1ull << 7, false },
		{ "a high bit not offered", V1 | 1ull << 63, false },
		{ "the packed ring, not offered", V1 | 1ull << VIRTIO_F_RING_PACKED, false },
		{ "dependency missing", V1 | FAKE_NEEDS, false },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		vdev_set_status(f->d, ACK | DRV);
		accept_bits(f, rows[i].features);
		vdev_set_status(f->d, ACK | DRV | FOK);
		if (vdev_status(f->d) != (ACK | DRV | (rows[i].is_fine ? FOK : 0)))
			fail_msg("%s", rows[i].what);
		vdev_set_status(f->d, 0);
		assert_int_equal(vdev_status(f->d), 0);
		assert_int_equal(vdev_accepted(f->d, 0), 0);
		assert_int_equal(vdev_accepted(f->d, 1), 0);
	}
}

static void features_freeze_at_features_ok(void **state)
{
	struct fixture *f = *state;
	accept_bits(f, V1 | FAKE_BIT);
	vdev_accept(f->d, 2, 0); /* there is no such word */
	assert_int_equal(vdev_accepted(f->d, 0), FAKE_BIT);
	negotiate(f, V1 | FAKE_BIT);
	accept_bits(f, V1);
	assert_int_equal(vdev_accepted(f->d, 0), FAKE_BIT);
	assert_int_equal(vdev_accepted(f->d, 1), 1);
	vdev_accept(f->d, 2, ~0u);
	assert_int_equal(vdev_accepted(f->d, 2), 0);
}

static void driver_ok_without_features_ok_starts_nothing(void **state)
{
	struct fixture *f = *state;
	vdev_set_status(f->d, ACK | DRV);
	accept_bits(f, V1);
	enable_queue(f, 0);
	vdev_set_status(f->d, ACK | DRV | DOK);
	assert_int_equal(vdev_status(f->d), ACK | DRV);
	assert_int_equal(f->fake.starts[0], 0);
}

static void status_bits_do_not_go_away_by_writing_less(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_set_status(f->d, ACK);
	assert_int_equal(vdev_status(f->d), LIVE);
	vdev_set_status(f->d, LIVE | BROKEN); /* not the driver's to set */
	assert_int_equal(vdev_status(f->d), LIVE);
	vdev_set_status(f->d, VIRTIO_CONFIG_S_FAILED);
	assert_int_equal(vdev_status(f->d), LIVE | VIRTIO_CONFIG_S_FAILED);
	assert_int_equal(f->fake.starts[0], 1);
}

/* --- queues --- */

static void driver_ok_starts_the_enabled_queues(void **state)
{
	struct fixture *f = *state;
	negotiate(f, V1 | FAKE_BIT);
	enable_queue(f, 0);
	enable_queue(f, 2);
	assert_int_equal(f->fake.starts[0], 0);
	vdev_set_status(f->d, LIVE);
	assert_int_equal(f->fake.starts[0], 1);
	assert_int_equal(f->fake.starts[1], 0);
	assert_int_equal(f->fake.starts[2], 1);
	const struct vq_setup *s = &f->fake.setup[2];
	assert_int_equal(s->size, 16);
	assert_int_equal(s->next, 0);
	assert_int_equal(s->desc.raw, f->gq[2].desc_gpa);
	assert_int_equal(s->driver.raw, f->gq[2].driver_gpa);
	assert_int_equal(s->device.raw, f->gq[2].device_gpa);
	assert_int_equal(s->features, V1 | FAKE_BIT);
	assert_ptr_equal(s->mem, f->guest.mem);
	assert_int_equal(s->kick_fd, 102);
	assert_ptr_equal(s->call, &f->call);
	enable_queue(f, 1); /* late ones start at once */
	assert_int_equal(f->fake.starts[1], 1);
	vdev_queue_enable(f->d, 1);
	assert_int_equal(f->fake.starts[1], 1);
}

static void an_enabled_queue_does_not_change(void **state)
{
	struct fixture *f = *state;
	negotiate(f, V1);
	enable_queue(f, 0);
	vdev_queue_set_size(f->d, 0, 32);
	vdev_queue_set_area(f->d, 0, VDEV_DESC, 0x5000);
	assert_int_equal(vdev_queue_size(f->d, 0), 16);
	assert_int_equal(vdev_queue_area(f->d, 0, VDEV_DESC), f->gq[0].desc_gpa);
}

static void queues_that_do_not_exist_read_zero(void **state)
{
	struct fixture *f = *state;
	static const uint16_t absent[] = { FAKE_QUEUES, VDEV_MAX_QUEUES, 0xffff };
	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
		uint16_t idx = absent[i];
		vdev_queue_set_size(f->d, idx, 16);
		vdev_queue_set_area(f->d, idx, VDEV_DRIVER, 0x1000);
		vdev_queue_enable(f->d, idx);
		vdev_queue_reset(f->d, idx);
		assert_int_equal(vdev_queue_max(f->d, idx), 0);
		assert_int_equal(vdev_queue_size(f->d, idx), 0);
		assert_int_equal(vdev_queue_area(f->d, idx, VDEV_DRIVER), 0);
		assert_false(vdev_queue_enabled(f->d, idx));
		assert_false(vdev_queue_resetting(f->d, idx));
	}
}

static void odd_sizes_are_not_taken(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(vdev_queue_size(f->d, 0), FAKE_SIZE);
	vdev_queue_set_size(f->d, 0, 0);
	assert_int_equal(vdev_queue_size(f->d, 0), FAKE_SIZE);
	vdev_queue_set_size(f->d, 0, FAKE_SIZE * 2);
	assert_int_equal(vdev_queue_size(f->d, 0), FAKE_SIZE);
	vdev_queue_set_size(f->d, 0, 12);
	assert_int_equal(vdev_queue_size(f->d, 0), FAKE_SIZE);
}

static void a_queue_that_cannot_start_breaks_the_device(void **state)
{
	struct fixture *f = *state;
	static const struct {
		const char *what;
		uint16_t size;
		uint64_t desc;
		int start_err;
		bool no_wires;
	} rows[] = {
		{ "ring unaligned", 16, 0x1001, 0, false },
		{ "ring outside RAM", 16, 0x40000000, 0, false },
		{ "body refuses", 16, 0x1000, -ENOMEM, false },
		{ "no wires", 16, 0x1000, 0, true },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		negotiate(f, V1);
		enable_queue(f, 0); /* this one would do, and is stopped again */
		set_up_queue(f, 1);
		vdev_queue_set_size(f->d, 1, rows[i].size);
		vdev_queue_set_area(f->d, 1, VDEV_DESC, rows[i].desc);
		vdev_queue_enable(f->d, 1);
		f->fake.start_err = rows[i].start_err;
		f->no_wires = rows[i].no_wires;
		f->config_irqs = 0;
		unsigned starts = f->fake.starts[0];
		vdev_set_status(f->d, LIVE);
		if (vdev_status(f->d) != (LIVE | BROKEN))
			fail_msg("%s", rows[i].what);
		assert_int_equal(f->config_irqs, 1);
		vdev_set_status(f->d, 0);
		if (f->fake.starts[0] != starts) {
			assert_int_equal(vdev_status(f->d), LIVE | BROKEN);
			vdev_queue_stopped(f->d, 0);
		}
		assert_int_equal(vdev_status(f->d), 0);
		f->fake.start_err = 0;
		f->no_wires = false;
	}
}

/* --- quiesce --- */

static void a_quiesced_device_stops_and_stays_so(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	assert_false(vdev_is_quiet(f->d));
	vdev_hold(f->d, VDEV_HOLD_END);
	vdev_hold(f->d, VDEV_HOLD_END);
	assert_int_equal(f->fake.stops[0], 1);
	enable_queue(f, 2);
	assert_int_equal(f->fake.starts[2], 0);
	vdev_queue_stopped(f->d, 0);
	assert_false(vdev_is_quiet(f->d));
	vdev_queue_stopped(f->d, 1);
	assert_true(vdev_is_quiet(f->d));
	assert_int_equal(vdev_status(f->d), LIVE); /* the driver sees nothing of it */
	vdev_set_status(f->d, 0);
	assert_int_equal(vdev_status(f->d), 0);
}

static void quiesce_meets_a_pending_reset(void **state)
{
	struct fixture *f = *state;
	go_live(f, V1);
	vdev_set_status(f->d, 0);
	vdev_hold(f->d, VDEV_HOLD_END);
	vdev_queue_stopped(f->d, 0);
	assert_false(vdev_is_quiet(f->d));
	vdev_queue_stopped(f->d, 1);
	assert_true(vdev_is_quiet(f->d));
	assert_int_equal(vdev_status(f->d), 0);
}

/* --- configuration space --- */

static void configuration_ends_where_it_ends(void **state)
{
	struct fixture *f = *state;
	uint8_t buf[8];
	memcpy(f->fake.config, "abcdefghijkl", FAKE_CONFIG);
	vdev_config_read(f->d, 8, buf, 8);
	assert_memory_equal(buf, "ijkl\0\0\0\0", 8);
	vdev_config_read(f->d, FAKE_CONFIG, buf, 4);
	assert_memory_equal(buf, "\0\0\0\0", 4);
	vdev_config_read(f->d, UINT32_MAX, buf, 4);
	assert_memory_equal(buf, "\0\0\0\0", 4);
	vdev_config_write(f->d, 10, "XYZ!", 4);
	assert_memory_equal(f->fake.config, "abcdefghijXY", FAKE_CONFIG);
	vdev_config_write(f->d, FAKE_CONFIG, "!", 1);
}

static void a_change_of_configuration_is_told(void **state)
{
	struct fixture *f = *state;
	uint8_t before = vdev_generation(f->d);
	vdev_config_begin(f->d);
	vdev_config_end(f->d, true);
	assert_int_equal(vdev_generation(f->d), (uint8_t)(before + 1));
	assert_int_equal(f->config_irqs, 0); /* no driver yet */
	go_live(f, V1);
	vdev_config_begin(f->d);
	vdev_config_end(f->d, true);
	assert_int_equal(vdev_generation(f->d), (uint8_t)(before + 2));
	assert_int_equal(f->config_irqs, 1);
}

/* A body need not have more than a start, a stop and an end, nor a transport. */
static void what_is_optional_may_be_missing(void **state)
{
	struct fixture *f = *state;
	struct vdev_ops ops = { .name = "bare",
				.start = fake_vdev_ops.start,
				.stop = fake_vdev_ops.stop,
				.destroy = fake_vdev_ops.destroy };
	struct vq_counters counters[FAKE_QUEUES];
	struct vq_stats stats = { .requests = 1 };
	uint32_t word = 1;
	f->d->ops = &ops;
	vdev_attach(f->d, NULL, NULL);
	vdev_config_write(f->d, 0, "abcd", 4);
	vdev_config_read(f->d, 0, &word, sizeof(word));
	assert_int_equal(word, 0);
	vdev_wires_changed(f->d);
	vdev_count_in(f->d, counters);
	assert_false(vdev_queue_stats(f->d, 0, &stats));
	assert_int_equal(stats.requests, 0);
	go_live(f, V1);
	assert_int_equal(f->fake.setup[0].kick_fd, -1);
	assert_null(f->fake.setup[0].call);
	vdev_config_begin(f->d);
	vdev_config_end(f->d, true);
	vdev_set_status(f->d, 0);
	vdev_queue_stopped(f->d, 0);
	vdev_queue_stopped(f->d, 1);
	assert_int_equal(vdev_status(f->d), 0);
	vdev_destroy(NULL);
	f->d->ops = &fake_vdev_ops;
}

static void a_body_hears_of_other_wires(void **state)
{
	struct fixture *f = *state;
	vdev_wires_changed(f->d);
	assert_int_equal(f->fake.wires_changes, 1);
}

/* --- threads: a worker stops queues while the driver resets and a fault is reported --- */

struct race {
	struct fixture *f;
	_Atomic unsigned pending[FAKE_QUEUES]; /* stops the worker has not answered */
	_Atomic bool is_over;
};
static struct race race;

static void race_stop(struct vdev *d, uint16_t idx)
{
	(void)d;
	atomic_fetch_add(&race.pending[idx], 1);
}

static void *race_worker(void *arg)
{
	struct race *r = arg;
	unsigned faults = 0;
	while (!atomic_load(&r->is_over)) {
		for (uint16_t i = 0; i < FAKE_QUEUES; i++) {
			if (!atomic_load(&r->pending[i]))
				continue;
			atomic_fetch_sub(&r->pending[i], 1);
			vdev_queue_stopped(r->f->d, i);
		}
		if (++faults % 64 == 0)
			vdev_needs_reset(r->f->d, "scripted");
		if (faults % 16)
			continue;
		vdev_config_begin(r->f->d);
		vdev_config_end(r->f->d, true);
	}
	return NULL;
}

static void resets_and_upcalls_may_meet(void **state)
{
	struct fixture *f = *state;
	static struct vdev_ops ops;
	ops = fake_vdev_ops;
	ops.stop = race_stop;
	f->d->ops = &ops;
	race = (struct race){ .f = f };
	pthread_t worker;
	assert_int_equal(pthread_create(&worker, NULL, race_worker, &race), 0);
	for (unsigned round = 0; round < 300; round++) {
		vdev_set_status(f->d, ACK | DRV);
		accept_bits(f, RESETTABLE);
		vdev_set_status(f->d, ACK | DRV | FOK);
		for (uint16_t i = 0; i < FAKE_QUEUES; i++)
			enable_queue(f, i);
		vdev_set_status(f->d, LIVE);
		vdev_queue_reset(f->d, (uint16_t)(round % FAKE_QUEUES));
		vdev_set_status(f->d, 0);
		while (vdev_status(f->d))
			sched_yield();
	}
	atomic_store(&race.is_over, true);
	pthread_join(worker, NULL);
	assert_true(vdev_is_quiet(f->d));
	assert_int_equal(f->resets_done, 300);
}

int main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(features_ok_is_refused_unless_the_set_is_fine),
		T(features_freeze_at_features_ok),
		T(driver_ok_without_features_ok_starts_nothing),
		T(status_bits_do_not_go_away_by_writing_less),
		T(driver_ok_starts_the_enabled_queues),
		T(an_enabled_queue_does_not_change),
		T(queues_that_do_not_exist_read_zero),
		T(odd_sizes_are_not_taken),
		T(a_queue_that_cannot_start_breaks_the_device),
		T(a_quiesced_device_stops_and_stays_so),
		T(quiesce_meets_a_pending_reset),
		T(configuration_ends_where_it_ends),
		T(a_change_of_configuration_is_told),
		T(what_is_optional_may_be_missing),
		T(a_body_hears_of_other_wires),
		T(resets_and_upcalls_may_meet),
	};
	return cmocka_run_group_tests_name("virtio/vdev", tests, NULL, NULL);
}
