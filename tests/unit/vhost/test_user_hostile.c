/* test_user_hostile.c - the vhost-user server against frontends that do not keep to the protocol.
 */
#include "frontend.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "support/open_fds.h"

#define NEED (VHOST_USER_VERSION | VHOST_USER_NEED_REPLY)
#define V    VHOST_USER_VERSION

/* Words of payload, and how many descriptors (of a 1 MiB memory file) go with them. */
static const struct {
	const char *what;
	uint32_t request, flags, len;
	uint64_t p[5];
	unsigned fds;
} rows[] = {
	{ "no version", VHOST_USER_GET_FEATURES, 0, 0, { 0 }, 0 },
	{ "another version", VHOST_USER_GET_FEATURES, 2, 0, { 0 }, 0 },
	{ "a reply", VHOST_USER_GET_FEATURES, V | VHOST_USER_REPLY, 0, { 0 }, 0 },
	{ "request 0", 0, V, 0, { 0 }, 0 },
	{ "request past the table", VHOST_USER_NR_REQUESTS, V, 0, { 0 }, 0 },
	{ "request 2^32-1", UINT32_MAX, V, 0, { 0 }, 0 },
	{ "request not offered", 28 /* POSTCOPY_ADVISE */, V, 8, { 0 }, 0 },
	{ "payload where none goes", VHOST_USER_GET_FEATURES, V, 8, { 0 }, 0 },
	{ "no payload where one goes", VHOST_USER_SET_FEATURES, V, 0, { 0 }, 0 },
	{ "a descriptor where none goes", VHOST_USER_SET_FEATURES, V, 8, { V1 }, 1 },
	{ "features not offered", VHOST_USER_SET_FEATURES, V, 8, { V1 | 1ull << 63 }, 0 },
	{ "a legacy driver", VHOST_USER_SET_FEATURES, V, 8, { BODY_BIT }, 0 },
	{ "protocol features not offered", VHOST_USER_SET_PROTOCOL_FEATURES, V, 8, { 1 << 14 }, 0 },
	{ "no status", VHOST_USER_SET_STATUS, V, 0, { 0 }, 0 },
	{ "status of 9 bits", VHOST_USER_SET_STATUS, V, 8, { 0x100 }, 0 },
	{ "ring past the last", VHOST_USER_SET_VRING_NUM, V, 8, { BODY_QUEUES | 16ull << 32 }, 0 },
	{ "ring of 0", VHOST_USER_SET_VRING_NUM, V, 8, { 0 }, 0 },
	{ "ring too large", VHOST_USER_SET_VRING_NUM, V, 8, { 65536ull << 32 }, 0 },
	{ "base too large", VHOST_USER_SET_VRING_BASE, V, 8, { 65536ull << 32 }, 0 },
	{ "base of no ring", VHOST_USER_GET_VRING_BASE, V, 8, { 200 }, 0 },
	{ "address of no ring", VHOST_USER_SET_VRING_ADDR, V, 40, { 200 }, 0 },
	{ "address with unknown flags", VHOST_USER_SET_VRING_ADDR, V, 40, { 2ull << 32 }, 0 },
	{ "enable of no ring", VHOST_USER_SET_VRING_ENABLE, V, 8, { 200 | 1ull << 32 }, 0 },
	{ "enable of the ring after the last",
	  VHOST_USER_SET_VRING_ENABLE,
	  V,
	  8,
	  { BODY_QUEUES | 1ull << 32 },
	  0 },
	{ "enable by 2", VHOST_USER_SET_VRING_ENABLE, V, 8, { 2ull << 32 }, 0 },
	{ "kick without descriptor", VHOST_USER_SET_VRING_KICK, V, 8, { 0 }, 0 },
	{ "kick by polling", VHOST_USER_SET_VRING_KICK, V, 8, { VHOST_USER_NO_FD }, 0 },
	{ "kick that is a file", VHOST_USER_SET_VRING_KICK, V, 8, { 0 }, 1 },
	{ "call that is a file", VHOST_USER_SET_VRING_CALL, V, 8, { 0 }, 1 },
	{ "call with one too many", VHOST_USER_SET_VRING_CALL, V, 8, { 0 }, 2 },
	{ "call with one that is not announced",
	  VHOST_USER_SET_VRING_CALL,
	  V,
	  8,
	  { VHOST_USER_NO_FD },
	  1 },
	{ "call of no ring", VHOST_USER_SET_VRING_CALL, V, 8, { 200 | VHOST_USER_NO_FD }, 0 },
	{ "err with unknown bits", VHOST_USER_SET_VRING_ERR, V, 8, { 1ull << 40 | 0x100 }, 0 },
	{ "no backend channel", VHOST_USER_SET_BACKEND_REQ_FD, V, 0, { 0 }, 0 },
	{ "9 regions", VHOST_USER_SET_MEM_TABLE, V, 8, { 9 }, 8 },
	{ "regions without descriptors", VHOST_USER_SET_MEM_TABLE, V, 40, { 1, 0, MIB, 0, 0 }, 0 },
	{ "descriptors without regions", VHOST_USER_SET_MEM_TABLE, V, 8, { 0 }, 2 },
	{ "fewer regions than said", VHOST_USER_SET_MEM_TABLE, V, 40, { 2, 0, MIB, 0, 0 }, 2 },
	{ "region behind the end", VHOST_USER_SET_MEM_TABLE, V, 40, { 1, 0, 2 * MIB, 0, 0 }, 1 },
	{ "region that wraps in the file",
	  VHOST_USER_SET_MEM_TABLE,
	  V,
	  40,
	  { 1, 0, MIB, 0, UINT64_MAX - 4095 },
	  1 },
	{ "region that wraps in the guest",
	  VHOST_USER_SET_MEM_TABLE,
	  V,
	  40,
	  { 1, UINT64_MAX - 4095, MIB, 0, 0 },
	  1 },
	{ "region that wraps in the frontend",
	  VHOST_USER_SET_MEM_TABLE,
	  V,
	  40,
	  { 1, 0, MIB, UINT64_MAX - 4095, 0 },
	  1 },
	{ "region of nothing", VHOST_USER_SET_MEM_TABLE, V, 40, { 1, 0, 0, 0, 0 }, 1 },
	{ "region at an odd address", VHOST_USER_SET_MEM_TABLE, V, 40, { 1, 17, 4096, 0, 0 }, 1 },
	{ "region far away", VHOST_USER_SET_MEM_TABLE, V, 40, { 1, 1ull << 60, 4096, 0, 0 }, 1 },
	{ "no region to add", VHOST_USER_ADD_MEM_REG, V, 40, { 0, 0, MIB, 0, 0 }, 0 },
	{ "no region to remove", VHOST_USER_REM_MEM_REG, V, 40, { 0, 0, MIB, 0, 0 }, 0 },
	{ "config of nothing", VHOST_USER_SET_CONFIG, V, 12, { 0 }, 0 },
	{ "config longer than it is", VHOST_USER_SET_CONFIG, V, 16, { 100ull << 32 }, 0 },
	{ "config whose end wraps", VHOST_USER_SET_CONFIG, V, 12, { 0xfffffff8ull << 32 }, 0 },
	{ "log of no queues", VHOST_USER_GET_INFLIGHT_FD, V, 24, { 0, 0, 16ull << 16 }, 0 },
	{ "log of too many queues",
	  VHOST_USER_GET_INFLIGHT_FD,
	  V,
	  24,
	  { 0, 0, 200 | 16 << 16 },
	  0 },
	{ "log of too long queues",
	  VHOST_USER_GET_INFLIGHT_FD,
	  V,
	  24,
	  { 0, 0, 1 | 4096 << 16 },
	  0 },
	{ "log without descriptor",
	  VHOST_USER_SET_INFLIGHT_FD,
	  V,
	  24,
	  { 4096, 0, 1 | 16 << 16 },
	  0 },
	{ "log behind the end",
	  VHOST_USER_SET_INFLIGHT_FD,
	  V,
	  24,
	  { 2 * MIB, 0, 1 | 16 << 16 },
	  1 },
	{ "log at an odd offset", VHOST_USER_SET_INFLIGHT_FD, V, 24, { 4096, 8, 1 | 16 << 16 }, 1 },
	{ "log of an odd size", VHOST_USER_SET_INFLIGHT_FD, V, 24, { 4099, 0, 1 | 16 << 16 }, 1 },
	{ "log that wraps",
	  VHOST_USER_SET_INFLIGHT_FD,
	  V,
	  24,
	  { 4096, UINT64_MAX - 4095, 1 | 16 << 16 },
	  1 },
	{ "dirty log by address", VHOST_USER_SET_LOG_BASE, V, 8, { USER_BASE }, 0 },
	{ "dirty log without descriptor", VHOST_USER_SET_LOG_BASE, V, 16, { 4096, 0 }, 0 },
	{ "dirty log of two descriptors", VHOST_USER_SET_LOG_BASE, V, 16, { 4096, 0 }, 2 },
	{ "dirty log of nothing", VHOST_USER_SET_LOG_BASE, V, 16, { 0, 0 }, 1 },
	{ "dirty log behind the end", VHOST_USER_SET_LOG_BASE, V, 16, { 4096, MIB }, 1 },
	{ "dirty log at an odd offset", VHOST_USER_SET_LOG_BASE, V, 16, { 4096, 8 }, 1 },
	{ "dirty log that wraps", VHOST_USER_SET_LOG_BASE, V, 16, { 8192, UINT64_MAX - 4095 }, 1 },
	{ "dirty log's call that is a file", VHOST_USER_SET_LOG_FD, V, 0, { 0 }, 1 },
	{ "dirty log's call without descriptor", VHOST_USER_SET_LOG_FD, V, 8, { 0 }, 0 },
};

/* Whatever it is: the connection ends, nothing leaks, and the next frontend is served. */
static void what_breaks_the_protocol_ends_the_connection(void **state)
{
	struct rig *r = *state;
	int fds[8];
	fe_negotiate(r, V1);
	assert_int_equal(rig_hang_up(r), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = memfd_create("ram", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fds[i], MIB), 0);
	}
	unsigned before = open_fds();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		rig_connect(r);
		fe_send(r, rows[i].request, rows[i].flags, rows[i].p, rows[i].len, fds,
			rows[i].fds);
		int result = rig_wait_end(r);
		if (result != -EPROTO || open_fds() != before)
			fail_msg("%s: %d, %u descriptors more", rows[i].what, result,
				 open_fds() - before);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fd_close(fds[i]);
	rig_connect(r);
	fe_negotiate(r, V1);
	assert_true(fe_set_mem(r));
	fe_start_ring(r, 0, 0);
	assert_int_equal(r->body->starts[0], 1);
}

/* The same mistakes, where the frontend wants to know: it is told, and may go on. */
static void who_asks_for_a_reply_is_told(void **state)
{
	struct rig *r = *state;
	int fds[8];
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = memfd_create("ram", MFD_CLOEXEC);
		assert_int_equal(ftruncate(fds[i], MIB), 0);
	}
	fe_negotiate(r, V1);
	unsigned before = open_fds();
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t failed = 0;
		bool has_answer = rows[i].request == VHOST_USER_GET_FEATURES ||
				  rows[i].request == VHOST_USER_GET_VRING_BASE ||
				  rows[i].request == VHOST_USER_GET_INFLIGHT_FD;
		if (rows[i].flags != V || has_answer)
			continue;
		fe_send(r, rows[i].request, NEED, rows[i].p, rows[i].len, fds, rows[i].fds);
		(void)fe_recv(r, rows[i].request, &failed, sizeof(failed), NULL);
		if (!failed)
			fail_msg("%s: accepted", rows[i].what);
	}
	assert_int_equal(open_fds(), before);
	assert_true(fe_set_mem(r));
	fe_start_ring(r, 0, 0);
	assert_int_equal(r->body->starts[0], 1);
	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fd_close(fds[i]);
}

static void rings_outside_memory_do_not_start(void **state)
{
	struct rig *r = *state;
	static const struct {
		const char *what;
		uint64_t desc, avail, used;
	} places[] = {
		{ "nowhere", 0, 0x2000, 0x3000 },
		{ "table past the end", USER_BASE + MIB - 16, 0x2000, 0x3000 },
		{ "odd table", USER_BASE + 8, 0x2000, 0x3000 },
		{ "avail past the end", USER_BASE, USER_BASE + MIB - 4, 0x3000 },
		{ "used past the end", USER_BASE, USER_BASE + 0x2000, USER_BASE + MIB - 4 },
	};
	fe_negotiate(r, V1);
	assert_true(fe_set_mem(r));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_NUM, 0, 16));
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct vhost_user_vring_addr a = {
			0, 0, places[i].desc, places[i].used, places[i].avail, 0
		};
		(void)fe_ack(r, VHOST_USER_SET_VRING_ADDR, &a, sizeof(a), -1);
		assert_int_equal(r->body->starts[0], 0);
	}
	assert_true(fe_ack(r, VHOST_USER_RESET_DEVICE, NULL, 0, -1));
	fe_start_ring(r, 0, 0);
	assert_int_equal(r->body->starts[0], 1);
}

static void half_a_message_and_a_hang_up_is_a_hang_up(void **state)
{
	struct rig *r = *state;
	struct vhost_user_header h = { VHOST_USER_SET_MEM_TABLE, V, 40 };
	assert_int_equal(send(r->sock, &h, sizeof(h), 0), sizeof(h));
	assert_int_equal(rig_hang_up(r), 0);
	rig_connect(r);
	assert_int_equal(send(r->sock, &h, 5, 0), 5);
	assert_int_equal(rig_hang_up(r), 0);
}

/* A frontend that asks and never listens fills its own socket, not our time. */
static void answers_that_nobody_reads_end_the_connection(void **state)
{
	struct rig *r = *state;
	struct vhost_user_header h = { VHOST_USER_GET_FEATURES, V, 0 };
	unsigned sent = 0;
	while (sent < 100000 && send(r->sock, &h, sizeof(h), MSG_NOSIGNAL) == sizeof(h))
		sent++;
	assert_true(sent < 100000);
	assert_int_equal(rig_wait_end(r), -EPROTO);
}

/* Calls and errors are told by eventfds of the frontend: full ones, and made to block. */
static void eventfds_of_a_frontend_do_not_hold_the_server_up(void **state)
{
	struct rig *r = *state;
	int fds[] = { r->call[0], r->err[0] };
	fe_negotiate(r, V1);
	assert_true(fe_set_mem(r));
	fe_start_ring(r, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
		while (!eventfd_write(fds[i], UINT64_MAX - 1) || !eventfd_write(fds[i], 1))
			;
		assert_int_equal(fcntl(fds[i], F_SETFL, 0), 0);
	}
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_CALL, 0, r->call[0]));
	(void)fe_get_base(r, 0);
	fe_start_ring(r, 0, 3);
	vdev_needs_reset(&r->body->dev, "test"); /* which it has to tell */
	assert_int_equal(fe_get(r, VHOST_USER_GET_FEATURES) & V1, V1);
	assert_int_equal(rig_hang_up(r), 0);
	rig_connect(r);
	fe_negotiate(r, V1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_breaks_the_protocol_ends_the_connection),
		TEST(who_asks_for_a_reply_is_told),
		TEST(rings_outside_memory_do_not_start),
		TEST(half_a_message_and_a_hang_up_is_a_hang_up),
		TEST(answers_that_nobody_reads_end_the_connection),
		TEST(eventfds_of_a_frontend_do_not_hold_the_server_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
