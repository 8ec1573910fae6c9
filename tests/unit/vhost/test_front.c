/* test_front.c - the vhost-user frontend and servers that keep to the protocol, or die. */
#include "backend.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/err.h"
#include "base/le.h"
#include "base/log.h"
#include "base/num.h"

#define PROTO     BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define V1        BIT(VIRTIO_F_VERSION_1)
#define RESET     BIT(VIRTIO_F_RING_RESET)
#define ANSWER_MS 1500 /* only servers that keep silent should come to feel it */

static struct vhost_front_info info_of(struct backend *b)
{
	struct vhost_front_info i;
	vhost_front_info(b->d, &i);
	return i;
}

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

/* --- introductions --- */

static void says_what_the_server_can(void **state)
{
	struct backend *b = *state;
	uint8_t config[BACKEND_BYTES];
	b->cfg.hidden = BIT(3);
	backend_plug(b);
	uint64_t f = vdev_offered(b->d);
	assert_int_equal(f & BIT(3), 0);
	assert_int_equal(f & (BIT(16) | BIT(17)), 0); /* would need more configuration */
	assert_int_equal(f & (PROTO | BIT(24) | BIT(26) | BIT(27) | BIT(33) | BIT(38)), 0);
	assert_int_equal(f & (V1 | RESET | BIT(0) | BIT(28) | BIT(29)),
			 V1 | RESET | BIT(0) | BIT(28) | BIT(29));
	assert_int_equal(b->d->nr_queues, BACKEND_QUEUES);
	assert_int_equal(b->d->config_bytes, BACKEND_BYTES);
	vdev_config_read(b->d, 0, config, sizeof(config));
	assert_int_equal(le_load(config + 34, 2), BACKEND_QUEUES);
	config[34] = 35;
	config[35] = 36;
	assert_memory_equal(config, b->config, sizeof(config));
	backend_until(b, VHOST_USER_SET_OWNER, 1);
	assert_int_equal(b->got_protocol, PROTOCOL(MQ) | PROTOCOL(REPLY_ACK) |
						  PROTOCOL(BACKEND_REQ) | PROTOCOL(CONFIG) |
						  PROTOCOL(INFLIGHT_SHMFD) |
						  PROTOCOL(RESET_DEVICE) | PROTOCOL(STATUS));
}

static void packed_rings_want_an_account(void **state)
{
	struct backend *b = *state;
	b->features |= BIT(VIRTIO_F_RING_PACKED);
	b->protocol &= ~PROTOCOL(INFLIGHT_SHMFD);
	backend_plug(b);
	assert_int_equal(vdev_offered(b->d) & BIT(VIRTIO_F_RING_PACKED), 0);
}

/* Nothing but features: one queue, no configuration, rings that start by themselves. */
static void needs_little(void **state)
{
	struct backend *b = *state;
	b->features = V1;
	b->cfg.id = VIRTIO_ID_RNG;
	backend_plug(b);
	assert_int_equal(b->d->nr_queues, 1);
	assert_int_equal(b->d->config_bytes, 0);
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_VRING_KICK, 1);
	assert_int_equal(b->got_features, V1);
	backend_works(b);
	drive_reset(&b->v);
	assert_int_equal(b->counts[VHOST_USER_SET_VRING_ENABLE], 0);
	assert_int_equal(b->counts[VHOST_USER_RESET_DEVICE], 0);
	assert_int_equal(b->counts[VHOST_USER_SET_STATUS], 0);
	drive_up(&b->v, ~0ull);
	backend_works(b);
}

static void takes_the_owner_at_its_word(void **state)
{
	struct backend *b = *state;
	const uint8_t config[12] = { 2, 0, 0, 0, 0, 1 };
	uint8_t got[12];
	b->cfg.id = VIRTIO_ID_NET;
	b->cfg.nr_queues = 2;
	b->cfg.own = BIT(VIRTIO_NET_F_MAC);
	b->cfg.config = config;
	b->cfg.config_bytes = sizeof(config);
	b->features &= ~BIT(VIRTIO_NET_F_MAC);
	b->nr_queues = 1; /* pairs */
	backend_plug(b);
	assert_int_equal(vdev_offered(b->d) & (BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_CTRL_VQ) |
					       BIT(VIRTIO_NET_F_MQ)),
			 BIT(VIRTIO_NET_F_MAC));
	vdev_config_read(b->d, 0, got, sizeof(got));
	assert_memory_equal(got, config, sizeof(got));
	vdev_config_write(b->d, 0, "x", 1);
	vdev_config_read(b->d, 0, got, sizeof(got));
	assert_memory_equal(got, config, sizeof(got));
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2);
	assert_int_equal(b->got_features & BIT(VIRTIO_NET_F_MAC), 0);
	assert_int_equal(b->counts[VHOST_USER_GET_CONFIG], 0);
	assert_int_equal(b->counts[VHOST_USER_SET_CONFIG], 0);
}

static void a_card_without_configuration_has_no_features_of_it(void **state)
{
	struct backend *b = *state;
	b->cfg.id = VIRTIO_ID_NET;
	b->cfg.nr_queues = 2;
	b->protocol &= ~PROTOCOL(CONFIG);
	backend_plug(b);
	assert_int_equal(b->d->config_bytes, 0);
	assert_int_equal(vdev_offered(b->d) & (BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |
					       BIT(VIRTIO_NET_F_MTU)),
			 0);
}

static void says_why_it_cannot_be(void **state)
{
	struct backend *b = *state;
	struct vdev *d = NULL;
	b->protocol &= ~PROTOCOL(CONFIG);
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -ENODATA);
	b->protocol = ~0ull;
	b->cfg.nr_queues = BACKEND_QUEUES + 1;
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -EPROTO);
	b->cfg.nr_queues = 0;
	b->cfg.queue_size = 63;
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -EINVAL);
	b->cfg.queue_size = 64;
	b->features = PROTO;
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -EPROTO);
	b->refuse = -EAGAIN;
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -EAGAIN);
	assert_null(d);
}

/* --- memory in parts --- */

/* The guest's memory again, in @nr parts, @step bytes from the start of one to that of the next. */
static int memory_in_parts(struct backend *b, struct gmem **out, unsigned nr, uint64_t step)
{
	const struct gmem_region *whole = gmem_region_at(b->v.mem, 0);
	struct gmem_region r[16];
	int fd = dup(whole->fd);
	for (unsigned i = 0; i < nr; i++)
		r[i] = (struct gmem_region){ i * step, MIB, fd, i * step };
	return gmem_create_from(out, r, nr);
}

static void parts_beside_each_other_are_one(void **state)
{
	struct backend *b = *state;
	struct gmem *mem, *guest = b->v.mem;
	assert_int_equal(memory_in_parts(b, &mem, DRIVE_RAM_BYTES / MIB, MIB), 0);
	b->v.mem = mem;
	backend_plug(b);
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_MEM_TABLE, 1);
	assert_int_equal(gmem_nr_regions(mem), 12);
	assert_int_equal(b->mem.nr, 1);
	assert_int_equal(b->mem.r[0].len, DRIVE_RAM_BYTES);
	drive_reset(&b->v);
	drive_unplug(&b->v);
	b->v.mem = guest;
	gmem_destroy(mem);
}

static void more_parts_than_can_be_told_are_refused(void **state)
{
	struct backend *b = *state;
	struct gmem *mem;
	struct vdev *d = NULL;
	assert_int_equal(memory_in_parts(b, &mem, VHOST_FRONT_REGIONS + 1, 5 * MIB / 4), 0);
	assert_int_equal(vhost_front_create(&d, mem, &b->cfg), -E2BIG);
	assert_int_equal(b->tries, 0); /* nobody was asked */
	gmem_destroy(mem);
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

/* --- death --- */

static void the_next_goes_on_where_one_was(void **state)
{
	struct backend *b = *state;
	struct stat before, after;
	backend_up(b);
	for (unsigned i = 0; i < 5; i++)
		backend_works(b);
	(void)notifier_consume(&b->v.q[0].call);
	assert_int_equal(fstat(b->log_fd, &before), 0);
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	assert_int_equal(b->connects, 2);
	assert_int_equal(b->ring[0].base, 5);
	assert_int_equal(b->ring[1].base, 0);
	assert_int_equal(fstat(b->log_fd, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(b->counts[VHOST_USER_GET_INFLIGHT_FD], 1);
	backend_works(b);
	drive_until(&b->v, notifier_consume(&b->v.q[1].call)); /* one may have been lost */
	drive_until(&b->v, info_of(b).restarts == 1);
	assert_int_equal(info_of(b).outages, 1);
	assert_int_equal(b->v.config_changes, 0);
}

static void an_operator_changes_servers_in_order(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	backend_works(b);
	vhost_front_restart(b->d);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	assert_int_equal(b->counts[VHOST_USER_GET_VRING_BASE], BACKEND_QUEUES);
	assert_int_equal(b->kills, 1);
	assert_int_equal(b->ring[0].base, 1);
	backend_works(b);
	assert_int_equal(info_of(b).deaths, 0);
}

/* Without an account: nothing in flight, or in order, goes on; what nobody knows needs a reset. */
static void without_an_account_it_must_be_in_order(void **state)
{
	struct backend *b = *state;
	uint16_t head;
	uint32_t len;
	b->protocol &= ~PROTOCOL(INFLIGHT_SHMFD);
	backend_up(b);
	backend_works(b);
	for (unsigned i = 0; i < 3; i++)
		(void)backend_ask(b, 0);
	backend_serve(b, 0, 3, 1); /* the first of three */
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	assert_int_equal(b->ring[0].base, 2);
	backend_serve(b, 0, 2, 3);
	for (unsigned i = 0; i < 3; i++)
		(void)drive_wait(&b->v, 0, NULL);
	assert_false(drive_used(&b->v, 0, &head, &len));
	for (unsigned i = 0; i < 3; i++)
		(void)backend_ask(b, 0);
	backend_serve(b, 0, 3, 2); /* the second of three */
	backend_die(b);
	drive_until(&b->v, drive_needs_reset(&b->v));
	drive_reset(&b->v);
	drive_up(&b->v, ~0ull);
	backend_works(b);
}

static void gives_up_after_eight_in_a_row(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	(void)backend_ask(b, 0);
	b->die_first = 1000;
	backend_die(b);
	drive_until(&b->v, drive_needs_reset(&b->v));
	/* the first, seven more, and one whose coming shows that no I/O is left */
	drive_until(&b->v, info_of(b).is_given_up);
	assert_int_equal(info_of(b).deaths, 8);
	assert_int_equal(b->connects, 9);
	b->die_first = 0;
	drive_reset(&b->v);
	drive_up(&b->v, ~0ull);
	backend_works(b);
	assert_false(info_of(b).is_given_up);
}

static void progress_makes_up_for_deaths(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	for (unsigned i = 1; i <= 20; i++) {
		(void)backend_ask(b, 0);
		backend_until(b, VHOST_USER_SET_VRING_ENABLE, i * BACKEND_QUEUES);
		(void)backend_ask(b, 0);
		backend_serve(b, 0, 1, 1);
		backend_die(b);
	}
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 21 * BACKEND_QUEUES);
	assert_false(drive_needs_reset(&b->v));
}

/* One that dies with nothing to do is replaced for ever. */
static void idle_deaths_do_not_count(void **state)
{
	struct backend *b = *state;
	backend_plug(b);
	for (unsigned i = 1; i <= 10; i++) {
		drive_until(&b->v, info_of(b).is_connected && b->connects == i);
		backend_die(b);
	}
	drive_until(&b->v, b->connects == 11);
	assert_false(info_of(b).is_given_up);
}

static void a_successor_must_be_able_to_do_as_much(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	(void)backend_ask(b, 0);
	b->features &= ~BIT(0);
	backend_die(b);
	drive_until(&b->v, drive_needs_reset(&b->v));
	drive_reset(&b->v);
}

static void stops_wait_for_io_but_not_for_servers(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	(void)backend_ask(b, 0);
	b->refuse = -EBUSY; /* the dead one may still write to the guest */
	backend_die(b);
	vdev_set_status(b->d, 0);
	drive_until(&b->v, b->tries > 4);
	assert_int_not_equal(vdev_status(b->d), 0);
	b->refuse = -EAGAIN;
	drive_until(&b->v, !vdev_status(b->d));
	assert_int_equal(b->connects, 1);
	b->refuse = 0;
	drive_up(&b->v, ~0ull);
	backend_works(b);
}

/* Somebody else's server that hangs must not keep the VM from its end. */
static void a_stop_does_not_wait_for_who_keeps_silent(void **state)
{
	struct backend *b = *state;
	b->cfg.kill = NULL;
	b->cfg.answer_ms = ANSWER_MS;
	backend_up(b);
	(void)backend_ask(b, 0);
	b->is_mute = true;
	backend_die(b);
	drive_reset(&b->v);
	assert_false(info_of(b).is_given_up);
	b->is_mute = false;
	drive_up(&b->v, ~0ull);
	backend_works(b);
}

static void an_owner_may_say_never(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	(void)backend_ask(b, 0);
	b->refuse = -EPERM;
	backend_die(b);
	drive_until(&b->v, drive_needs_reset(&b->v));
	drive_until(&b->v, info_of(b).is_given_up);
	unsigned tries = b->tries;
	b->refuse = 0;
	drive_reset(&b->v);
	drive_up(&b->v, ~0ull);
	backend_works(b);
	assert_int_equal(b->tries, tries + 1);
}

static void waits_for_who_is_not_there_yet(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	b->refuse = -EAGAIN;
	backend_die(b);
	drive_until(&b->v, b->tries > 5);
	b->refuse = 0;
	backend_works(b);
	assert_false(drive_needs_reset(&b->v));
}

/* Resets at every step of a frontend's life. */
static void a_reset_ends_in_every_state(void **state)
{
	struct backend *b = *state;
	backend_plug(b);
	for (unsigned i = 0; i < 60; i++) {
		drive_up(&b->v, ~0ull);
		if (i % 3 == 1)
			(void)backend_ask(b, 0);
		if (i % 4 == 1)
			backend_die(b);
		if (i % 5 == 1)
			vhost_front_restart(b->d);
		if (i % 6 == 1)
			b->die_first = 1;
		if (i % 7 < 3)
			drive_idle(&b->v);
		drive_reset(&b->v);
	}
	b->die_first = 0;
	drive_up(&b->v, ~0ull);
	backend_works(b);
}

static void who_does_not_answer_is_ended(void **state)
{
	static const struct lie silence = {
		"", VHOST_USER_GET_FEATURES, LIE_SILENCE, 0, 0, 0, { 0 }, 0
	};
	struct backend *b = *state;
	b->cfg.answer_ms = ANSWER_MS;
	backend_up(b);
	b->lie = &silence;
	(void)backend_ask(b, 0); /* and nothing happens */
	drive_until(&b->v, b->kills >= 1);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	backend_serve(b, 0, 1, 1);
	(void)drive_wait(&b->v, 0, NULL);
}

#define T(f) cmocka_unit_test_setup_teardown(f, backend_setup, backend_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(says_what_the_server_can),
		T(packed_rings_want_an_account),
		T(needs_little),
		T(takes_the_owner_at_its_word),
		T(a_card_without_configuration_has_no_features_of_it),
		T(says_why_it_cannot_be),
		T(parts_beside_each_other_are_one),
		T(more_parts_than_can_be_told_are_refused),
		T(a_ring_gets_everything),
		T(moves_interrupts_on_that_go_to_a_function),
		T(a_reset_is_told),
		T(a_reset_is_told_by_status),
		T(one_queue_is_reset_alone),
		T(a_stop_waits_for_results),
		T(a_broken_ring_needs_a_reset),
		T(a_change_of_configuration_arrives),
		T(a_write_of_configuration_arrives),
		T(the_choice_of_a_write_cache_outlives_servers),
		T(what_a_server_refuses_is_not_seen),
		T(the_next_goes_on_where_one_was),
		T(an_operator_changes_servers_in_order),
		T(without_an_account_it_must_be_in_order),
		T(gives_up_after_eight_in_a_row),
		T(progress_makes_up_for_deaths),
		T(idle_deaths_do_not_count),
		T(a_successor_must_be_able_to_do_as_much),
		T(stops_wait_for_io_but_not_for_servers),
		T(a_stop_does_not_wait_for_who_keeps_silent),
		T(an_owner_may_say_never),
		T(waits_for_who_is_not_there_yet),
		T(a_reset_ends_in_every_state),
		T(who_does_not_answer_is_ended),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
