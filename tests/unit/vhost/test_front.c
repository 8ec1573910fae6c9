/* test_front.c - rings, configuration, counters: the vhost-user frontend and a good server. */
#include "backend.h"
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"

#define PROTO BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define V1    BIT(VIRTIO_F_VERSION_1)
#define RESET BIT(VIRTIO_F_RING_RESET)

static bool is_readable(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	return poll(&p, 1, 0) == 1;
}

static uint64_t drain(int fd)
{
	eventfd_t n = 0;
	return is_readable(fd) && !eventfd_read(fd, &n) ? n : 0;
}

/* --- rings --- */

static void a_ring_gets_everything(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	assert_int_equal(b->got_features, (b->v.features & ~RESET) | PROTO);
	assert_int_equal(b->got_status, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
						VIRTIO_CONFIG_S_FEATURES_OK |
						VIRTIO_CONFIG_S_DRIVER_OK);
	assert_int_equal(b->mem.nr, 1);
	assert_int_equal(b->mem.r[0].len, DRIVE_RAM_BYTES);
	assert_true(b->mem_fd >= 0);
	/* the account is ours: theirs could shrink under us */
	assert_int_equal(fcntl(b->log_fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	for (unsigned i = 0; i < BACKEND_QUEUES; i++) {
		const struct backend_ring *r = &b->ring[i];
		assert_int_equal(r->num, 64);
		assert_int_equal(r->base, 0);
		assert_int_equal(r->addr.desc, b->v.q[i].ring.desc_gpa);
		assert_int_equal(r->addr.avail, b->v.q[i].ring.driver_gpa);
		assert_int_equal(r->addr.used, b->v.q[i].ring.device_gpa);
		assert_true(r->kick >= 0 && r->call >= 0 && r->err >= 0);
	}
	(void)drain(b->ring[0].kick);
	drive_kick(&b->v, 0);
	backend_works(b);
	assert_true(drain(b->ring[0].kick));
	assert_true(notifier_consume(&b->v.q[0].call)); /* straight from the server */
}

static _Atomic unsigned intx;

static void on_intx(void *ctx)
{
	(void)ctx;
	intx++;
}

static void moves_interrupts_on_that_go_to_a_function(void **state)
{
	struct backend *b = *state;
	struct notifier *call = &b->v.q[0].call;
	intx = 0;
	notifier_set_fn(call, on_intx, b);
	backend_up(b);
	assert_int_equal(eventfd_write(b->ring[0].call, 1), 0);
	drive_until(&b->v, intx == 1);
	/* MSI-X: a count is a masked vector's pending bit; nobody takes it */
	notifier_set_fn(call, NULL, NULL);
	vdev_wires_changed(b->d);
	assert_int_equal(eventfd_write(b->ring[0].call, 1), 0);
	vdev_config_write(b->d, 0, "x", 1); /* until the thread has had a turn */
	backend_until(b, VHOST_USER_SET_CONFIG, 1);
	assert_int_equal(intx, 1);
	assert_true(is_readable(call->fd));
	/* and back */
	notifier_set_fn(call, on_intx, b);
	vdev_wires_changed(b->d);
	drive_until(&b->v, intx == 2);
	assert_false(is_readable(call->fd));
}

static void a_reset_is_told(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	backend_works(b);
	drive_reset(&b->v);
	assert_int_equal(b->counts[VHOST_USER_GET_VRING_BASE], BACKEND_QUEUES);
	backend_until(b, VHOST_USER_RESET_DEVICE, 1);
	drive_up(&b->v, V1);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	assert_int_equal(b->got_features, V1 | PROTO);
	assert_int_equal(b->ring[0].base, 0);
	backend_works(b);
	assert_int_equal(b->connects, 1);
}

static void a_reset_is_told_by_status(void **state)
{
	struct backend *b = *state;
	b->protocol &= ~PROTOCOL(RESET_DEVICE);
	backend_up(b);
	drive_reset(&b->v);
	backend_until(b, VHOST_USER_SET_STATUS, 3);
	assert_int_equal(b->got_status, 0);
	assert_int_equal(b->counts[VHOST_USER_RESET_DEVICE], 0);
}

static void one_queue_is_reset_alone(void **state)
{
	struct backend *b = *state;
	struct stat before, after;
	backend_up(b);
	backend_works(b);
	assert_int_equal(fstat(b->log_fd, &before), 0);
	drive_queue_reset(&b->v, 0);
	assert_int_equal(b->counts[VHOST_USER_GET_VRING_BASE], 1);
	drive_queue_up(&b->v, 0);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, BACKEND_QUEUES + 1);
	assert_int_equal(b->ring[0].base, 0);
	assert_int_equal(fstat(b->log_fd, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	backend_works(b);
	assert_int_equal(b->counts[VHOST_USER_RESET_DEVICE], 0);
}

/* A server may be done with a ring before its requests are: the stop waits for them. */
static void a_stop_waits_for_results(void **state)
{
	struct backend *b = *state;
	b->cfg.kill = NULL; /* somebody else's */
	backend_up(b);
	(void)backend_ask(b, 0);
	b->ring[0].base = 1; /* it was taken */
	vdev_set_status(b->d, 0);
	backend_until(b, VHOST_USER_GET_VRING_BASE, 1);
	assert_int_not_equal(vdev_status(b->d), 0);
	b->v.q[0].ring.used->idx = 1; /* and is done */
	drive_reset(&b->v);
}

static void a_broken_ring_needs_a_reset(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	assert_int_equal(eventfd_write(b->ring[1].err, 1), 0);
	drive_until(&b->v, drive_needs_reset(&b->v));
	drive_until(&b->v, b->v.config_changes == 1);
	drive_reset(&b->v);
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	backend_works(b);
}

/* The driver has brought it up again before the frontend has come to tell it. */
static void what_breaks_while_it_stops_is_over_with_the_reset(void **state)
{
	struct backend *b = *state;
	int gate = eventfd(0, EFD_CLOEXEC);
	backend_up(b);
	/* those that are asked when it is made, and when it is connected */
	backend_until(b, VHOST_USER_GET_CONFIG, 2);
	b->gate = gate;
	b->breaks_late = true;
	drive_reset(&b->v);
	drive_up(&b->v, ~0ull);
	assert_int_equal(eventfd_write(gate, 1), 0);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	backend_works(b);
	assert_false(drive_needs_reset(&b->v));
	b->gate = -1;
	close(gate);
}

/* --- configuration --- */

static void tell_change(struct backend *b, uint32_t id, uint32_t flags)
{
	struct vhost_user_header h = { id, VHOST_USER_VERSION | flags, 0 };
	assert_int_equal(user_msg_send(b->backend_fd, &h, NULL, NULL, 0), 0);
}

static void a_change_of_configuration_arrives(void **state)
{
	struct backend *b = *state;
	uint8_t first = 0, generation;
	backend_up(b);
	backend_until(b, VHOST_USER_GET_CONFIG, 1);
	generation = vdev_generation(b->d);
	tell_change(b, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0); /* it did not */
	backend_until(b, VHOST_USER_GET_CONFIG, 2);
	b->config[0] = 77;
	tell_change(b, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, VHOST_USER_NEED_REPLY);
	drive_until(&b->v, b->v.config_changes == 1);
	vdev_config_read(b->d, 0, &first, 1);
	assert_int_equal(first, 77);
	assert_int_equal(vdev_generation(b->d), (uint8_t)(generation + 1));
	struct {
		struct vhost_user_header h;
		uint64_t failed;
	} ack;
	assert_int_equal(read(b->backend_fd, &ack, sizeof(ack.h) + 8), sizeof(ack.h) + 8);
	assert_int_equal(ack.h.flags, VHOST_USER_VERSION | VHOST_USER_REPLY);
	/* what a frontend cannot do is refused, and nothing more */
	tell_change(b, 3, VHOST_USER_NEED_REPLY);
	drive_until(&b->v, is_readable(b->backend_fd));
	backend_works(b);
	assert_int_equal(b->connects, 1);
}

static void a_change_of_configuration_is_seen_as_a_whole(void **state)
{
	struct backend *b = *state;
	uint8_t first = 0, generation;
	backend_up(b);
	backend_until(b, VHOST_USER_GET_CONFIG, 1);
	generation = vdev_generation(b->d);
	mutex_lock(&b->d->lock); /* a driver is in the middle of it */
	b->config[0] = 77;
	tell_change(b, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, 0);
	for (unsigned i = 0; i < 500 && first != 77; i++) {
		drive_idle(&b->v);
		b->d->ops->config_read(b->d, 0, &first, 1);
	}
	mutex_unlock(&b->d->lock);
	assert_int_not_equal(first, 77);
	drive_until(&b->v, b->v.config_changes == 1);
	vdev_config_read(b->d, 0, &first, 1);
	assert_int_equal(first, 77);
	assert_int_equal(vdev_generation(b->d), (uint8_t)(generation + 1));
}

static void a_write_of_configuration_arrives(void **state)
{
	struct backend *b = *state;
	uint8_t got[2], wce = 0;
	backend_up(b);
	vdev_config_write(b->d, 31, "\1\2", 2);
	backend_until(b, VHOST_USER_SET_CONFIG, 1);
	assert_int_equal(b->written.off, 31);
	assert_int_equal(b->written.len, 2);
	assert_memory_equal(b->written.data, "\1\2", 2);
	drive_until(&b->v, (vdev_config_read(b->d, 31, got, 2), got[0] == 1 && got[1] == 2));
	/* the driver of a disk reads the switch of the write cache back at once */
	vdev_config_write(b->d, 32, "\5", 1);
	vdev_config_read(b->d, 32, &wce, 1);
	assert_int_equal(wce, 1);
	backend_until(b, VHOST_USER_SET_CONFIG, 2);
	assert_int_equal(b->written.data[0], 5);
}

/* Nothing else would wake the thread then. */
static void a_write_arrives_while_no_ring_runs(void **state)
{
	struct backend *b = *state;
	backend_plug(b);
	drive_until(&b->v, info_of(b).is_connected);
	for (unsigned i = 1; i <= 3; i++) {
		for (unsigned nap = 0; nap < 100; nap++)
			drive_idle(&b->v);
		vdev_config_write(b->d, 31, "\1", 1);
		backend_until(b, VHOST_USER_SET_CONFIG, i);
	}
}

/* Or a disk that was to write through would begin to cache when its server is replaced. */
static void the_choice_of_a_write_cache_outlives_servers(void **state)
{
	struct backend *b = *state;
	uint8_t wce = 1;
	backend_up(b);
	vdev_config_write(b->d, 32, "", 1);
	backend_until(b, VHOST_USER_SET_CONFIG, 1);
	b->config[32] = 33;
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_KICK, BACKEND_QUEUES + 1);
	assert_int_equal(b->counts[VHOST_USER_SET_CONFIG], 2); /* before the first ring */
	assert_int_equal(b->written.off, 32);
	assert_int_equal(b->config[32], 0);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	b->config[32] = 33; /* as a reset does to a disk */
	drive_reset(&b->v);
	vdev_config_read(b->d, 32, &wce, 1);
	assert_int_equal(wce, 33);
	drive_up(&b->v, ~0ull);
	backend_works(b);
	assert_int_equal(b->counts[VHOST_USER_SET_CONFIG], 2);
}

static void what_a_server_refuses_is_not_seen(void **state)
{
	struct backend *b = *state;
	uint8_t got;
	backend_up(b);
	b->is_read_only = true;
	for (unsigned i = 0; i < 50; i++) {
		vdev_config_write(b->d, 0, "x", 1);
		vdev_config_read(b->d, 0, &got, 1);
		assert_int_equal(got, 1);
	}
	backend_until(b, VHOST_USER_SET_CONFIG, 1);
	assert_int_equal(b->v.config_changes, 0);
}

/* --- counters --- */

static void nobody_knows_what_others_count(void **state)
{
	struct backend *b = *state;
	struct vq_stats s;
	backend_plug(b);
	assert_false(vdev_queue_stats(b->d, 1, &s));
}

static void shows_what_its_servers_count(void **state)
{
	static struct vq_counters c[VDEV_MAX_QUEUES];
	struct backend *b = *state;
	struct vq_stats s;
	b->cfg.counters = c;
	backend_plug(b);
	c[1].stats = (struct vq_stats){ .requests = 9, .errors = UINT64_MAX };
	assert_true(vdev_queue_stats(b->d, 1, &s));
	assert_int_equal(s.requests, 9);
	assert_true(s.errors == UINT64_MAX);
	assert_false(vdev_queue_stats(b->d, BACKEND_QUEUES, &s));
}

#define T(f) cmocka_unit_test_setup_teardown(f, backend_setup, backend_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_ring_gets_everything),
		T(moves_interrupts_on_that_go_to_a_function),
		T(a_reset_is_told),
		T(a_reset_is_told_by_status),
		T(one_queue_is_reset_alone),
		T(a_stop_waits_for_results),
		T(a_broken_ring_needs_a_reset),
		T(what_breaks_while_it_stops_is_over_with_the_reset),
		T(a_change_of_configuration_arrives),
		T(a_change_of_configuration_is_seen_as_a_whole),
		T(a_write_of_configuration_arrives),
		T(a_write_arrives_while_no_ring_runs),
		T(the_choice_of_a_write_cache_outlives_servers),
		T(what_a_server_refuses_is_not_seen),
		T(nobody_knows_what_others_count),
		T(shows_what_its_servers_count),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
