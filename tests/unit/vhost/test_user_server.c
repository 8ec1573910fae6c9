/* test_user_server.c - the vhost-user server against a frontend that keeps to the protocol. */
#include "frontend.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "support/open_fds.h"
#include "../../../virtio/vhost/user_priv.h"

#define REPLY_ACK (1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK)

static void go_live(struct rig *r, uint64_t features)
{
	fe_negotiate(r, features);
	assert_true(fe_set_mem(r));
}

static uint64_t drain(int fd)
{
	eventfd_t v = 0;
	return eventfd_read(fd, &v) ? 0 : v;
}

static void offers_what_the_device_has_and_the_protocol_can(void **state)
{
	struct rig *r = *state;
	uint64_t f = fe_get(r, VHOST_USER_GET_FEATURES);
	uint64_t all = BODY_BIT | PROTO | V1 | GUEST_PACKED | 1ull << 26;
	assert_int_equal(f & all, all);
	assert_int_equal(f & 1ull << VIRTIO_F_RING_RESET, 0);
	uint64_t p = fe_get(r, VHOST_USER_GET_PROTOCOL_FEATURES);
	assert_int_equal(p, 1ull << 0 | 1ull << 1 | 1ull << 3 | 1ull << 5 | 1ull << 9 | 1ull << 12 |
				    1ull << 13 | 1ull << 15 | 1ull << 16);
	assert_int_equal(fe_get(r, VHOST_USER_GET_QUEUE_NUM), BODY_QUEUES);
	assert_int_equal(fe_get(r, VHOST_USER_GET_MAX_MEM_SLOTS), GMEM_MAX_REGIONS);
}

/* The last of the things a ring needs starts it, whichever it is. */
static void a_ring_starts_when_nothing_is_missing(void **state)
{
	struct rig *r = *state;
	fe_negotiate(r, V1);
	for (unsigned last = 0; last < 5; last++) {
		unsigned before = r->body->starts[0];
		for (unsigned step = 1; step <= 5; step++) {
			assert_int_equal(r->body->starts[0], before);
			switch ((last + step) % 5) {
			case 0:
				assert_true(fe_set_mem(r));
				break;
			case 1:
				assert_true(fe_set_state(r, VHOST_USER_SET_VRING_NUM, 0, 16));
				break;
			case 2:
				assert_true(fe_set_addr(r, 0));
				break;
			case 3:
				assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
				break;
			case 4:
				assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
			}
		}
		assert_int_equal(r->body->starts[0], before + 1);
		struct vhost_user_mem_table none = { 0 };
		assert_true(fe_ack(r, VHOST_USER_RESET_DEVICE, NULL, 0, -1));
		assert_true(fe_ack(r, VHOST_USER_SET_MEM_TABLE, &none, 8, -1));
	}
}

static void the_device_gets_the_ring_as_the_frontend_said(void **state)
{
	struct rig *r = *state;
	go_live(r, V1 | BODY_BIT);
	fe_start_ring(r, 1, 7);
	const struct vq_setup *s = &r->body->setup[1];
	assert_int_equal(s->size, 16);
	assert_int_equal(s->next, 7);
	assert_int_equal(s->features, V1 | BODY_BIT);
	assert_int_equal(s->desc.raw, r->gq[1].desc_gpa);
	assert_int_equal(s->driver.raw, r->gq[1].driver_gpa);
	assert_int_equal(s->device.raw, r->gq[1].device_gpa);
	assert_null(s->log);
	struct stat ours, theirs;
	assert_int_equal(fstat(r->kick[1], &ours) | fstat(s->kick_fd, &theirs), 0);
	assert_int_equal(eventfd_write(r->kick[1], 3), 0);
	assert_int_equal(drain(s->kick_fd), 3);
}

static void get_base_waits_for_what_is_in_flight(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	fe_start_ring(r, 0, 5);
	r->body->is_held = true;
	r->body->next[0] = 9;
	struct vhost_user_vring_state s = { 0, 0 };
	fe_send(r, VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION, &s, sizeof(s), NULL, 0);
	wait_for(&r->body->stops[0], 1);
	assert_false(fe_has_answer(r, 20));
	r->body->is_held = false;
	assert_int_equal(fe_recv(r, VHOST_USER_GET_VRING_BASE, &s, sizeof(s), NULL), sizeof(s));
	assert_int_equal(s.num, 9);
	/* stopped: a new kick descriptor is needed, and the base is kept */
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(r->body->starts[0], 1);
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->setup[0].next, 9);
}

static void packed_bases_carry_the_wrap_counter(void **state)
{
	struct rig *r = *state;
	go_live(r, V1 | GUEST_PACKED);
	fe_start_ring(r, 0, 0x80048004); /* descriptor 4, first turn */
	assert_int_equal(r->body->setup[0].next, 4);
	r->body->next[0] = 0x8002; /* descriptor 2, second turn */
	assert_int_equal(fe_get_base(r, 0), 0x00020002);
	fe_start_ring(r, 0, 0x00020002);
	assert_int_equal(r->body->setup[0].next, 0x8002);
}

static void disabling_stops_and_enabling_goes_on(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	fe_start_ring(r, 0, 0);
	r->body->next[0] = 33;
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 0));
	assert_int_equal(r->body->stops[0], 1);
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->setup[0].next, 33);
	assert_int_equal(r->body->resets, 1); /* only the one before the first start */
}

static void without_protocol_features_rings_start_enabled(void **state)
{
	struct rig *r = *state;
	uint64_t p = REPLY_ACK;
	fe_send(r, VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_VERSION, &p, sizeof(p), NULL, 0);
	assert_true(fe_set(r, VHOST_USER_SET_FEATURES, V1));
	assert_true(fe_set_mem(r));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_NUM, 0, 16));
	assert_true(fe_set_addr(r, 0));
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
	assert_int_equal(r->body->starts[0], 1);
}

static void new_memory_stops_the_rings_and_lets_them_go_on(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	fe_start_ring(r, 0, 0);
	fe_start_ring(r, 2, 0);
	r->body->next[0] = 11;
	r->body->next[2] = 12;
	struct gmem *before = r->body->setup[0].mem;
	struct vhost_user_mem_reg reg = { 0, { 64 * MIB, MIB, USER_BASE + 64 * MIB, 0 } };
	int fd = memfd_create("more", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, MIB), 0);
	assert_true(fe_ack(r, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg), fd));
	assert_int_equal(r->body->starts[0] + r->body->starts[1] + r->body->starts[2], 4);
	assert_int_equal(r->body->setup[0].next, 11);
	assert_int_equal(r->body->setup[2].next, 12);
	assert_ptr_not_equal(r->body->setup[0].mem, before);
	assert_non_null(gmem_host(r->body->setup[0].mem, gpa(64 * MIB), MIB));
	assert_true(fe_ack(r, VHOST_USER_REM_MEM_REG, &reg, sizeof(reg), -1));
	assert_null(gmem_host(r->body->setup[0].mem, gpa(64 * MIB), 1));
	assert_int_equal(r->body->starts[0], 3);
	/* one that is not there: an error, and the rings run on */
	assert_false(fe_ack(r, VHOST_USER_REM_MEM_REG, &reg, sizeof(reg), -1));
	assert_int_equal(r->body->starts[0], 4);
	fd_close(fd);
}

/* Only the ring that lay there waits, for memory or another place. */
static void memory_that_goes_takes_its_own_rings_only(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	uint64_t at = USER_BASE + 64 * MIB;
	struct vhost_user_mem_reg reg = { 0, { 64 * MIB, MIB, at, 0 } };
	struct vhost_user_vring_addr addr = { 0, 0, at, at + 0x4000, at + 0x8000, 0 };
	int fd = memfd_create("more", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, MIB), 0);
	assert_true(fe_ack(r, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg), fd));
	fe_start_ring(r, 0, 0);
	fe_start_ring(r, 2, 0);
	assert_true(fe_ack(r, VHOST_USER_SET_VRING_ADDR, &addr, sizeof(addr), -1));
	assert_int_equal(r->body->starts[0], 2);
	assert_false(fe_ack(r, VHOST_USER_REM_MEM_REG, &reg, sizeof(reg), -1));
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->starts[2], 2);
	assert_true(fe_ack(r, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg), fd));
	assert_int_equal(r->body->starts[0], 3);
	assert_int_equal(r->body->starts[2], 3);
	fd_close(fd);
}

/* VIRTIO 1.2 §2.7: a power of two. Which format it has may be told after its size. */
static void a_split_ring_of_an_odd_size_does_not_start(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_NUM, 0, 24));
	assert_true(fe_set_addr(r, 0));
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
	assert_false(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(r->body->starts[0], 0);
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_NUM, 0, 16));
	assert_int_equal(r->body->starts[0], 1);
	assert_int_equal(r->body->setup[0].size, 16);
}

/* The protocol's way to say no is an answer without anything. */
static void a_broken_question_for_the_configuration_gets_nothing(void **state)
{
	struct rig *r = *state;
	uint8_t c[512] = { 0 };
	int fd = -1;
	go_live(r, V1);
	fe_send(r, VHOST_USER_GET_CONFIG, VHOST_USER_VERSION, c, 8, NULL, 0);
	assert_int_equal(fe_recv(r, VHOST_USER_GET_CONFIG, c, sizeof(c), &fd), 0);
	fe_send(r, VHOST_USER_GET_CONFIG, VHOST_USER_VERSION, c, 12 + 8, &r->kick[0], 1);
	assert_int_equal(fe_recv(r, VHOST_USER_GET_CONFIG, c, sizeof(c), &fd), 0);
	assert_int_equal(fd, -1);
}

static void calls_go_to_the_descriptor_given_last(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	fe_start_ring(r, 0, 0);
	struct notifier *n = r->body->setup[0].call;
	int number = n->fd;
	assert_int_equal(drain(r->call[0]), 0); /* fresh: none can have been lost */
	notifier_signal(n);
	assert_int_equal(drain(r->call[0]), 1);
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_CALL, 0, r->call[1]));
	assert_int_equal(drain(r->call[1]), 1); /* one may have gone to the other */
	notifier_signal(n);
	assert_int_equal(drain(r->call[0]), 0);
	assert_int_equal(drain(r->call[1]), 1);
	assert_int_equal(n->fd, number);
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_CALL, 0, -1));
	notifier_signal(n);
	assert_int_equal(drain(r->call[1]), 0);
	fe_start_ring(r, 1, 7); /* goes on: one may have been lost by whoever had it */
	assert_int_equal(drain(r->call[1]), 1);
}

/* The server's own channel to the frontend; returns the frontend's end. */
static int open_backend_channel(struct rig *r)
{
	int pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(fe_ack(r, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, pair[1]));
	fd_close(pair[1]);
	return pair[0];
}

/* One message that the configuration has changed, and no more. */
static void expect_one_change(struct rig *r, int channel)
{
	struct vhost_user_header h;
	struct pollfd p = { channel, POLLIN, 0 };
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(recv(channel, &h, sizeof(h), MSG_WAITALL), sizeof(h));
	assert_int_equal(h.request, VHOST_USER_BACKEND_CONFIG_CHANGE_MSG);
	assert_int_equal(h.flags, VHOST_USER_VERSION);
	assert_int_equal(h.size, 0);
	(void)fe_get(r, VHOST_USER_GET_FEATURES);
	assert_int_equal(poll(&p, 1, 0), 0);
}

static void configuration_is_read_written_and_announced(void **state)
{
	struct rig *r = *state;
	struct vhost_user_config_space c = { 4, 8, 0, { 0 } };
	go_live(r, V1);
	/* what is written before the first ring is not lost when that starts */
	c = (struct vhost_user_config_space){ 0, 1, 0, { 0x55 } };
	assert_true(fe_ack(r, VHOST_USER_SET_CONFIG, &c, 12 + 1, -1));
	unsigned resets = r->body->resets;
	fe_start_ring(r, 0, 0);
	assert_int_equal(r->body->resets, resets);
	assert_int_equal(r->body->config[0], 0x55);
	c = (struct vhost_user_config_space){ 4, 8, 0, { 0 } };
	for (unsigned i = 0; i < BODY_CONFIG; i++)
		r->body->config[i] = (uint8_t)(i + 1);
	fe_send(r, VHOST_USER_GET_CONFIG, VHOST_USER_VERSION, &c, 12 + 8, NULL, 0);
	assert_int_equal(fe_recv(r, VHOST_USER_GET_CONFIG, &c, sizeof(c), NULL), 12 + 8);
	assert_memory_equal(c.data, "\5\6\7\10\11\12\13\14", 8);
	c = (struct vhost_user_config_space){ 0, 2, 0, { 0xaa, 0xbb } };
	assert_true(fe_ack(r, VHOST_USER_SET_CONFIG, &c, 12 + 2, -1));
	assert_memory_equal(r->body->config, "\xaa\xbb\3", 3);
	/* longer than the message: an empty answer */
	c = (struct vhost_user_config_space){ 0, 100, 0, { 0 } };
	fe_send(r, VHOST_USER_GET_CONFIG, VHOST_USER_VERSION, &c, 12 + 8, NULL, 0);
	assert_int_equal(fe_recv(r, VHOST_USER_GET_CONFIG, &c, sizeof(c), NULL), 0);
	int channel = open_backend_channel(r);
	vdev_config_begin(&r->body->dev);
	vdev_config_end(&r->body->dev, true);
	expect_one_change(r, channel);
	fd_close(channel);
}

/* It may change whatever the server is busy with. */
static void a_change_while_a_ring_stops_is_announced(void **state)
{
	struct rig *r = *state;
	struct vhost_user_vring_state s = { 0, 0 };
	go_live(r, V1);
	int channel = open_backend_channel(r);
	fe_start_ring(r, 0, 0);
	r->body->is_held = true;
	fe_send(r, VHOST_USER_GET_VRING_BASE, VHOST_USER_VERSION, &s, sizeof(s), NULL, 0);
	wait_for(&r->body->stops[0], 1);
	vdev_config_begin(&r->body->dev);
	vdev_config_end(&r->body->dev, true);
	(void)usleep(20000); /* it hears of it while it waits */
	r->body->is_held = false;
	(void)fe_recv(r, VHOST_USER_GET_VRING_BASE, &s, sizeof(s), NULL);
	expect_one_change(r, channel);
	fd_close(channel);
}

/* A frontend that does not listen for a while hears of it afterwards. */
static void a_change_that_could_not_be_told_is_told_later(void **state)
{
	struct rig *r = *state;
	struct vhost_user_header h;
	int pair[2];
	unsigned nr = 0;
	go_live(r, V1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(fe_ack(r, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, pair[1]));
	fe_start_ring(r, 0, 0);
	while (send(pair[1], &h, sizeof(h), MSG_DONTWAIT) == sizeof(h))
		nr++;
	vdev_config_begin(&r->body->dev);
	vdev_config_end(&r->body->dev, true);
	(void)fe_get(r, VHOST_USER_GET_FEATURES);
	while (nr--)
		assert_int_equal(recv(pair[0], &h, sizeof(h), MSG_WAITALL), sizeof(h));
	(void)fe_get(r, VHOST_USER_GET_FEATURES);
	expect_one_change(r, pair[0]);
	fd_close(pair[0]);
	fd_close(pair[1]);
}

static void status_reads_back_and_zero_resets(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	assert_true(fe_set(r, VHOST_USER_SET_STATUS, 3));
	assert_true(fe_set(r, VHOST_USER_SET_STATUS, 11));
	assert_int_equal(fe_get(r, VHOST_USER_GET_STATUS), 11);
	fe_start_ring(r, 0, 0);
	unsigned resets = r->body->resets;
	assert_true(fe_set(r, VHOST_USER_SET_STATUS, 0));
	assert_int_equal(fe_get(r, VHOST_USER_GET_STATUS), 0);
	assert_int_equal(r->body->stops[0], 1);
	assert_int_equal(r->body->resets, resets + 1);
	/* rings are back to the start, features and memory stay */
	fe_start_ring(r, 0, 0);
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->setup[0].next, 0);
}

/* QEMU 7.2 stops a device by status 0, and asks afterwards where its rings were. */
static void a_reset_leaves_the_base_to_be_asked_for(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	fe_start_ring(r, 0, 5);
	r->body->next[0] = 77;
	assert_true(fe_set(r, VHOST_USER_SET_STATUS, 0));
	assert_int_equal(fe_get_base(r, 0), 77);
	/* who does not say where to start starts anew */
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_NUM, 0, 16));
	assert_true(fe_set_addr(r, 0));
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(r->body->setup[0].next, 0);
	assert_int_equal(fe_get_base(r, 0), 0);
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_BASE, 0, 9));
	assert_int_equal(fe_get_base(r, 0), 9);
	assert_int_equal(rig_hang_up(r), 0);
	rig_connect(r);
	fe_negotiate(r, V1);
	assert_int_equal(fe_get_base(r, 0), 0);
}

static void a_broken_device_says_so_and_recovers_by_a_reset(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	fe_start_ring(r, 0, 0);
	fe_start_ring(r, 1, 0);
	vdev_needs_reset(&r->body->dev, "test");
	wait_for(&r->body->stops[1], 1);
	uint64_t told = 0;
	for (unsigned i = 0; i < 10000 && !told; i++) {
		told = drain(r->err[0]);
		(void)usleep(100);
	}
	assert_int_equal(told, 1);
	assert_int_equal(fe_get(r, VHOST_USER_GET_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET,
			 VIRTIO_CONFIG_S_NEEDS_RESET);
	vdev_config_begin(&r->body->dev);
	vdev_config_end(&r->body->dev, true);
	(void)fe_get(r, VHOST_USER_GET_FEATURES);
	assert_int_equal(drain(r->err[0]), 0); /* once is enough */
	assert_int_equal(drain(r->err[1]), 1);
	(void)fe_get_base(r, 0);
	(void)fe_get_base(r, 1);
	fe_start_ring(r, 0, 0);
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(fe_get(r, VHOST_USER_GET_STATUS), 0);
	assert_int_equal(drain(r->err[0]), 0);
	vdev_needs_reset(&r->body->dev, "test"); /* another time, and another word */
	(void)fe_get(r, VHOST_USER_GET_FEATURES);
	assert_int_equal(drain(r->err[0]), 1);
}

static void the_log_of_requests_in_flight_reaches_the_device(void **state)
{
	struct rig *r = *state;
	struct vhost_user_inflight in = { 0, 0, BODY_QUEUES, 16, 0 };
	int fd;
	go_live(r, V1);
	fe_send(r, VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_VERSION, &in, sizeof(in), NULL, 0);
	assert_int_equal(fe_recv(r, VHOST_USER_GET_INFLIGHT_FD, &in, sizeof(in), &fd), sizeof(in));
	assert_true(fd >= 0 && in.bytes >= BODY_QUEUES * (16 + 16 * 16));
	assert_int_equal(ftruncate(fd, 0), -1); /* nobody can pull it from under the worker */
	assert_true(fe_ack(r, VHOST_USER_SET_INFLIGHT_FD, &in, sizeof(in), fd));
	fe_start_ring(r, 2, 0);
	uint8_t *log = r->body->setup[2].log;
	assert_non_null(log);
	uint8_t *ours = mmap(NULL, in.bytes, PROT_READ, MAP_SHARED, fd, 0);
	log[5] = 77;
	assert_int_equal(ours[2 * (in.bytes / BODY_QUEUES) + 5], 77);
	(void)munmap(ours, in.bytes);
	/* not while a ring uses it */
	assert_false(fe_ack(r, VHOST_USER_SET_INFLIGHT_FD, &in, sizeof(in), fd));
	fd_close(fd);
}

static void features_change_only_while_all_rings_stand(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	fe_start_ring(r, 0, 0);
	assert_true(fe_set(r, VHOST_USER_SET_FEATURES, V1 | PROTO));
	assert_false(fe_set(r, VHOST_USER_SET_FEATURES, V1 | PROTO | BODY_BIT));
	(void)fe_get_base(r, 0);
	assert_true(fe_set(r, VHOST_USER_SET_FEATURES, V1 | PROTO | BODY_BIT));
	fe_start_ring(r, 0, 0);
	assert_int_equal(r->body->setup[0].features, V1 | BODY_BIT);
}

static void after_a_hang_up_the_next_frontend_finds_all_fresh(void **state)
{
	struct rig *r = *state;
	go_live(r, V1 | BODY_BIT);
	fe_start_ring(r, 0, 3);
	assert_int_equal(rig_hang_up(r), 0);
	assert_int_equal(r->body->stops[0], 1);
	assert_int_equal(vdev_status(&r->body->dev), 0);
	assert_null(r->body->dev.mem);
	rig_connect(r);
	go_live(r, V1);
	fe_start_ring(r, 0, 0);
	assert_int_equal(r->body->setup[0].next, 0);
	assert_int_equal(r->body->setup[0].features, V1);
}

/* Not what was agreed with the one before, so no ring starts by that. */
static void the_next_frontend_has_agreed_to_nothing(void **state)
{
	struct rig *r = *state;
	go_live(r, V1 | BODY_BIT);
	fe_start_ring(r, 0, 0);
	assert_int_equal(rig_hang_up(r), 0);
	rig_connect(r);
	uint32_t flags = VHOST_USER_VERSION | VHOST_USER_NEED_REPLY;
	struct vhost_user_vring_state s = { 0, 16 };
	fe_send(r, VHOST_USER_SET_VRING_NUM, flags, &s, sizeof(s), NULL, 0);
	assert_false(fe_has_answer(r, 20)); /* no REPLY_ACK */
	uint64_t ack = REPLY_ACK;
	fe_send(r, VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_VERSION, &ack, sizeof(ack), NULL,
		0);
	assert_true(fe_set_mem(r));
	assert_true(fe_set_addr(r, 0));
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(r->body->starts[0], 1);
	assert_true(fe_set(r, VHOST_USER_SET_FEATURES, V1));
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->setup[0].features, V1);
}

static void send_part(struct rig *r, const void *message, size_t len, int fd)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)message, len };
	struct msghdr hdr = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&hdr);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(fd));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	assert_int_equal(sendmsg(r->sock, &hdr, MSG_NOSIGNAL), len);
}

/* Of a message that never became whole nothing stays. */
static void half_a_message_leaves_no_descriptor(void **state)
{
	struct rig *r = *state;
	const struct {
		struct vhost_user_header h;
		uint32_t index[2];
	} whole = { { VHOST_USER_SET_VRING_KICK, VHOST_USER_VERSION, 8 }, { 0 } };
	assert_int_equal(rig_hang_up(r), 0);
	unsigned before = open_fds();
	for (size_t len = 1; len < sizeof(whole); len += 5) {
		rig_connect(r);
		send_part(r, &whole, len, r->kick[0]);
		(void)usleep(5000); /* it is in the middle of it */
		assert_int_equal(rig_hang_up(r), 0);
		assert_int_equal(open_fds(), before);
	}
}

static void a_stop_ends_the_service_after_what_is_in_flight(void **state)
{
	struct rig *r = *state;
	go_live(r, V1);
	fe_start_ring(r, 0, 3);
	r->body->is_held = true;
	notifier_signal(&r->stop);
	wait_for(&r->body->stops[0], 1);
	assert_int_equal(r->result, 1);
	r->body->is_held = false;
	assert_int_equal(rig_wait_end(r), -ECANCELED);
}

static void a_message_may_come_in_pieces(void **state)
{
	struct rig *r = *state;
	struct vhost_user_header h = { VHOST_USER_GET_QUEUE_NUM, VHOST_USER_VERSION, 0 };
	uint64_t nr = 0;
	for (size_t i = 0; i < sizeof(h); i++) {
		assert_int_equal(send(r->sock, (char *)&h + i, 1, 0), 1);
		(void)usleep(500);
	}
	assert_int_equal(fe_recv(r, VHOST_USER_GET_QUEUE_NUM, &nr, sizeof(nr), NULL), sizeof(nr));
	assert_int_equal(nr, BODY_QUEUES);
}

static void asks_for_signs_of_life_while_rings_run(void **state)
{
	struct rig *r = *state;
	r->server->beat_ms = 1;
	go_live(r, V1);
	assert_int_equal(r->body->beats, 0);
	fe_start_ring(r, 0, 0);
	while (r->body->beats < 20)
		(void)usleep(500);
	assert_int_equal(r->result, 1);
	/* also while it waits for a ring to stop */
	r->body->is_held = true;
	unsigned before = r->body->beats;
	fe_send(r, VHOST_USER_RESET_DEVICE, VHOST_USER_VERSION, NULL, 0, NULL, 0);
	while (r->body->beats < before + 3)
		(void)usleep(500);
	r->body->is_held = false;
}

struct watched {
	int fd;
	_Atomic unsigned calls, ends;
};

static bool on_watched(void *ctx)
{
	struct watched *w = ctx;
	char b;
	bool goes_on = read(w->fd, &b, 1) == 1;
	w->calls++;
	w->ends += !goes_on;
	return goes_on;
}

/* Somebody else may have a word with it too, with or without a frontend's request. */
static void another_descriptor_is_looked_after(void **state)
{
	struct rig *r = *state;
	int p[2];
	assert_int_equal(rig_hang_up(r), 0);
	assert_int_equal(pipe(p), 0);
	struct watched w = { .fd = p[0] };
	vhost_user_server_watch(r->server, p[0], on_watched, &w);
	rig_connect(r);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(write(p[1], "x", 1), 1);
		wait_for(&w.calls, i);
		(void)fe_get(r, VHOST_USER_GET_FEATURES);
	}
	close(p[1]); /* says no more: it is left alone, and the frontend served */
	wait_for(&w.ends, 1);
	(void)fe_get(r, VHOST_USER_GET_FEATURES);
	assert_int_equal(rig_hang_up(r), 0);
	rig_connect(r);
	(void)fe_get(r, VHOST_USER_GET_FEATURES);
	assert_int_equal(w.calls, 4);
	close(p[0]);
}

static void hang_for_good(void)
{
	void *state;
	(void)signal(SIGABRT, SIG_DFL);
	(void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
	(void)rig_setup(&state);
	struct rig *r = state;
	r->server->beat_ms = 1;
	r->body->is_stuck = true;
	go_live(r, V1);
	fe_start_ring(r, 0, 0);
	for (;;)
		(void)pause();
}

static void ends_the_process_of_a_worker_that_hangs(void **state)
{
	int status = 0;
	(void)state;
	pid_t pid = fork();
	if (!pid)
		hang_for_good();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(offers_what_the_device_has_and_the_protocol_can),
		TEST(a_ring_starts_when_nothing_is_missing),
		TEST(the_device_gets_the_ring_as_the_frontend_said),
		TEST(get_base_waits_for_what_is_in_flight),
		cmocka_unit_test_setup_teardown(packed_bases_carry_the_wrap_counter,
						rig_setup_packed, rig_teardown),
		TEST(disabling_stops_and_enabling_goes_on),
		TEST(without_protocol_features_rings_start_enabled),
		TEST(new_memory_stops_the_rings_and_lets_them_go_on),
		TEST(memory_that_goes_takes_its_own_rings_only),
		TEST(a_split_ring_of_an_odd_size_does_not_start),
		TEST(a_broken_question_for_the_configuration_gets_nothing),
		TEST(calls_go_to_the_descriptor_given_last),
		TEST(configuration_is_read_written_and_announced),
		TEST(a_change_while_a_ring_stops_is_announced),
		TEST(a_change_that_could_not_be_told_is_told_later),
		TEST(status_reads_back_and_zero_resets),
		TEST(a_reset_leaves_the_base_to_be_asked_for),
		TEST(a_broken_device_says_so_and_recovers_by_a_reset),
		TEST(the_log_of_requests_in_flight_reaches_the_device),
		TEST(features_change_only_while_all_rings_stand),
		TEST(after_a_hang_up_the_next_frontend_finds_all_fresh),
		TEST(the_next_frontend_has_agreed_to_nothing),
		TEST(half_a_message_leaves_no_descriptor),
		TEST(a_stop_ends_the_service_after_what_is_in_flight),
		TEST(a_message_may_come_in_pieces),
		TEST(asks_for_signs_of_life_while_rings_run),
		TEST(another_descriptor_is_looked_after),
		cmocka_unit_test(ends_the_process_of_a_worker_that_hangs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
