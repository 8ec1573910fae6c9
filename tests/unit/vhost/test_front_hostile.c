/*
 * test_front_hostile.c - the vhost-user frontend against servers that do not keep to the protocol:
 * they lose their connection, and the device goes on with the next one.
 */
#include "backend.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "support/open_fds.h"

#define R         (VHOST_USER_VERSION | VHOST_USER_REPLY)
#define V1        BIT(VIRTIO_F_VERSION_1)
#define PROTO     BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define ANSWER_MS 1500 /* only servers that keep silent should come to feel it */

/* While the frontend is made: it says so, and nothing stays. */
static const struct lie at_create[] = {
	{ "no version", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, VHOST_USER_REPLY, 8, { V1 }, 0 },
	{ "another version", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, 6, 8, { V1 }, 0 },
	{ "no reply", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, 1, 8, { V1 }, 0 },
	{ "reply to another", VHOST_USER_GET_FEATURES, LIE_ANSWER, 15, R, 8, { V1 }, 0 },
	{ "reply too short", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, R, 4, { V1 }, 0 },
	{ "empty reply", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, R, 0, { V1 }, 0 },
	{ "reply too long", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, R, 16, { V1 }, 0 },
	{ "reply of 4 GiB", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, R, UINT32_MAX, { V1 }, 0 },
	{ "reply cut off", VHOST_USER_GET_CONFIG, LIE_ANSWER, 0, R, 268, { 0 }, 0 },
	{ "a legacy device", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, R, 8, { PROTO }, 0 },
	{ "no features at all", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, R, 8, { 0 }, 0 },
	{ "no answer", VHOST_USER_GET_FEATURES, LIE_SILENCE, 0, 0, 0, { 0 }, 0 },
	{ "hangs up", VHOST_USER_GET_FEATURES, LIE_HANG_UP, 0, 0, 0, { 0 }, 0 },
	{ "hangs up later", VHOST_USER_GET_QUEUE_NUM, LIE_HANG_UP, 0, 0, 0, { 0 }, 0 },
	{ "two answers", VHOST_USER_GET_FEATURES, LIE_EXTRA, 0, R, 8, { V1 | PROTO }, 0 },
	{ "no queues", VHOST_USER_GET_QUEUE_NUM, LIE_ANSWER, 0, R, 8, { 0 }, 0 },
	{ "config of another length",
	  VHOST_USER_GET_CONFIG,
	  LIE_ANSWER,
	  0,
	  R,
	  72,
	  { 0x3b00000000 },
	  0 },
	{ "config at another offset",
	  VHOST_USER_GET_CONFIG,
	  LIE_ANSWER,
	  0,
	  R,
	  72,
	  { 0x3c00000001 },
	  0 },
	{ "config refused", VHOST_USER_GET_CONFIG, LIE_ANSWER, 0, R, 0, { 0 }, 0 },
};

static void nothing_comes_of_a_bad_first_impression(void **state)
{
	struct backend *b = *state;
	b->cfg.answer_ms = ANSWER_MS;
	for (unsigned i = 0; i < sizeof(at_create) / sizeof(at_create[0]); i++) {
		struct vdev *d = NULL;
		unsigned connects = b->connects;
		b->lie = &at_create[i];
		int err = vhost_front_create(&d, b->v.mem, &b->cfg);
		if (!err || d)
			fail_msg("%s: made a device", at_create[i].what);
		if (b->lie || b->connects != connects + 1)
			fail_msg("%s: was not asked", at_create[i].what);
	}
	backend_up(b);
	backend_works(b);
}

/* While it introduces itself to a second server, and while rings run. */
static const struct lie in_life[] = {
	{ "reply to another", VHOST_USER_GET_FEATURES, LIE_ANSWER, 3, R, 8, { V1 }, 0 },
	{ "fewer features", VHOST_USER_GET_FEATURES, LIE_ANSWER, 0, R, 8, { V1 | PROTO }, 0 },
	{ "memory refused", VHOST_USER_SET_MEM_TABLE, LIE_ANSWER, 0, R, 8, { 1 }, 0 },
	{ "memory acknowledged twice", VHOST_USER_SET_MEM_TABLE, LIE_EXTRA, 0, R, 8, { 0 }, 0 },
	{ "short acknowledgement", VHOST_USER_SET_MEM_TABLE, LIE_ANSWER, 0, R, 4, { 0 }, 0 },
	{ "no acknowledgement", VHOST_USER_SET_MEM_TABLE, LIE_SILENCE, 0, 0, 0, { 0 }, 0 },
	{ "descriptors that nobody wants", VHOST_USER_GET_FEATURES, LIE_EXTRA, 0, R, 8, { V1 }, 8 },
	{ "log refused", VHOST_USER_SET_INFLIGHT_FD, LIE_ANSWER, 0, R, 8, { 1 }, 0 },
	{ "ring refused", VHOST_USER_SET_VRING_ENABLE, LIE_ANSWER, 0, R, 8, { 2 }, 0 },
	{ "hangs up on a ring", VHOST_USER_SET_VRING_KICK, LIE_HANG_UP, 0, 0, 0, { 0 }, 0 },
	{ "hangs up on the owner", VHOST_USER_SET_OWNER, LIE_HANG_UP, 0, 0, 0, { 0 }, 0 },
	{ "speaks unasked", VHOST_USER_SET_OWNER, LIE_EXTRA, 7, R, 8, { 0 }, 0 },
	{ "asks back", VHOST_USER_SET_VRING_CALL, LIE_EXTRA, 0, 1, 8, { 0 }, 0 },
	{ "config of another length",
	  VHOST_USER_GET_CONFIG,
	  LIE_ANSWER,
	  0,
	  R,
	  72,
	  { 0x3b00000000 },
	  0 },
};

static void the_next_one_is_asked(void **state)
{
	struct backend *b = *state;
	b->cfg.answer_ms = ANSWER_MS;
	backend_up(b);
	unsigned fds = 0;
	for (unsigned i = 0; i < sizeof(in_life) / sizeof(in_life[0]); i++) {
		struct vhost_front_info info = { 0 };
		unsigned connects = b->connects;
		b->lie_after = connects; /* not the one that dies: it may be probed just now */
		b->lie = &in_life[i];
		backend_die(b);
		drive_until(&b->v, b->connects >= connects + 2);
		drive_until(&b->v, b->ring[0].is_up && b->ring[1].is_up);
		drive_until(&b->v, (vhost_front_info(b->d, &info), info.is_connected));
		if (b->lie)
			fail_msg("%s: was not asked", in_life[i].what);
		backend_works(b);
		if (!i)
			fds = open_fds();
		assert_int_equal(open_fds(), fds);
	}
}

static const struct lie at_first_ring[] = {
	{ "a log of nothing", VHOST_USER_GET_INFLIGHT_FD, LIE_ANSWER, 0, R, 24, { 0 }, 1 },
	{ "a log too small", VHOST_USER_GET_INFLIGHT_FD, LIE_ANSWER, 0, R, 24, { 100 }, 1 },
	{ "a log too large", VHOST_USER_GET_INFLIGHT_FD, LIE_ANSWER, 0, R, 24, { 1ull << 40 }, 1 },
	{ "an odd log", VHOST_USER_GET_INFLIGHT_FD, LIE_ANSWER, 0, R, 24, { 8195 * 2 }, 1 },
	{ "a short description", VHOST_USER_GET_INFLIGHT_FD, LIE_ANSWER, 0, R, 16, { 16384 }, 1 },
};

static void a_bad_log_is_not_taken(void **state)
{
	struct backend *b = *state;
	backend_plug(b);
	for (unsigned i = 0; i < sizeof(at_first_ring) / sizeof(at_first_ring[0]); i++) {
		unsigned connects = b->connects;
		if (i) { /* a frontend keeps the log of the first server for good */
			vdev_destroy(b->d);
			backend_plug(b);
			connects++;
		}
		b->lie = &at_first_ring[i];
		drive_up(&b->v, ~0ull);
		drive_until(&b->v, b->connects == connects + 1);
		backend_works(b);
		drive_reset(&b->v);
	}
}

/* A stop that is answered wrongly: the next server is to do it. */
static void a_stop_comes_from_the_next(void **state)
{
	static const struct lie rows[] = {
		{ "another ring", VHOST_USER_GET_VRING_BASE, LIE_ANSWER, 0, R, 8, { 7 }, 0 },
		{ "short", VHOST_USER_GET_VRING_BASE, LIE_ANSWER, 0, R, 4, { 0 }, 0 },
		{ "hangs up", VHOST_USER_GET_VRING_BASE, LIE_HANG_UP, 0, 0, 0, { 0 }, 0 },
	};
	struct backend *b = *state;
	backend_plug(b);
	for (unsigned i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned connects = b->connects;
		drive_up(&b->v, ~0ull);
		backend_works(b);
		drive_until(&b->v, b->ring[1].is_up);
		/* of the first ring, or of the second when the first has stopped already */
		b->lie_from = b->counts[VHOST_USER_GET_VRING_BASE] + i % 2;
		b->lie = &rows[i / 2];
		drive_reset(&b->v);
		drive_until(&b->v, b->connects == connects + 1);
		assert_null(b->lie);
	}
}

/* On the channel of its own. */
static void rubbish_on_the_other_channel(void **state)
{
	static const struct {
		struct vhost_user_header h;
		uint32_t bytes;
	} rows[] = { { { 2, 0, 0 }, 12 },
		     { { 2, 1 | VHOST_USER_REPLY, 0 }, 12 },
		     { { 99, 1, 0 }, 12 },
		     { { 2, 1, 100000 }, 12 },
		     { { 0, 1, 8 }, 12 + 8 } };
	struct backend *b = *state;
	uint8_t bytes[64] = { 0 };
	backend_up(b);
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned connects = b->connects;
		backend_works(b);
		b->ring[0].is_up = false;
		memcpy(bytes, &rows[i].h, sizeof(rows[i].h));
		assert_int_equal(send(b->backend_fd, bytes, rows[i].bytes, MSG_NOSIGNAL),
				 rows[i].bytes);
		drive_until(&b->v, b->connects == connects + 1);
	}
	backend_works(b);
	/* one that only closes it may go on */
	(void)shutdown(b->backend_fd, SHUT_RDWR);
	for (unsigned i = 0; i < 3; i++)
		backend_works(b);
	assert_int_equal(b->connects, sizeof(rows) / sizeof(rows[0]) + 1);
}

static void fill_up(int fd)
{
	struct pollfd p = { fd, POLLIN, 0 };
	eventfd_t n;
	if (poll(&p, 1, 0) > 0)
		assert_int_equal(eventfd_read(fd, &n), 0);
	assert_int_equal(eventfd_write(fd, UINT64_MAX - 1), 0);
}

/* Eventfds are shared with it: full ones, and made to block. */
static void full_eventfds_block_nobody(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	for (unsigned i = 0; i < 2; i++) {
		struct backend_ring *r = &b->ring[i];
		assert_int_equal(fcntl(r->call, F_SETFL, 0), 0);
		assert_int_equal(fcntl(r->kick, F_SETFL, 0), 0);
		fill_up(r->call);
		fill_up(r->kick);
	}
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	assert_true(notifier_consume(&b->v.q[0].call));
	assert_int_equal(notifier_consume(&b->v.q[0].call), 0); /* and does not wait for more */
	drive_reset(&b->v);
}

/* What it writes to the account and the rings only misleads itself. */
static void a_scribbled_account_hurts_nobody(void **state)
{
	struct backend *b = *state;
	b->features |= BIT(VIRTIO_F_RING_PACKED);
	backend_up(b);
	assert_true(b->v.features & BIT(VIRTIO_F_RING_PACKED));
	void *log = mmap(NULL, b->inflight.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b->log_fd, 0);
	assert_ptr_not_equal(log, MAP_FAILED);
	assert_int_equal(ftruncate(b->log_fd, 0), -1);
	memset(log, 0xff, b->inflight.bytes);
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	drive_reset(&b->v);
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 3 * BACKEND_QUEUES);
	for (unsigned i = 0; i < 10; i++) /* the head of the account is fresh again */
		assert_int_equal(((uint8_t *)log)[i], 0);
	(void)munmap(log, b->inflight.bytes);
}

#define T(f) cmocka_unit_test_setup_teardown(f, backend_setup, backend_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nothing_comes_of_a_bad_first_impression),
		T(the_next_one_is_asked),
		T(a_bad_log_is_not_taken),
		T(a_stop_comes_from_the_next),
		T(rubbish_on_the_other_channel),
		T(full_eventfds_block_nobody),
		T(a_scribbled_account_hurts_nobody),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
