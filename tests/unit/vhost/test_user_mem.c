/* test_user_mem.c - the memory that a frontend gives, and its descriptors. */
#include "frontend.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "support/open_fds.h"

#define REPLY_PLEASE (VHOST_USER_VERSION | VHOST_USER_NEED_REPLY)

static int memory_file(uint64_t bytes)
{
	int fd = memfd_create("memory", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static struct vhost_user_mem_reg region(uint64_t start)
{
	return (struct vhost_user_mem_reg){ 0, { start, MIB, USER_BASE + start, 0 } };
}

static bool set_two(struct rig *r, const struct vhost_user_region *a, int fd_a,
		    const struct vhost_user_region *b, int fd_b)
{
	struct vhost_user_mem_table t = { .nr = 2, .r = { *a, *b } };
	int fds[] = { fd_a, fd_b };
	uint64_t failed = 1;
	fe_send(r, VHOST_USER_SET_MEM_TABLE, REPLY_PLEASE, &t, 8 + 2 * sizeof(t.r[0]), fds, 2);
	assert_int_equal(fe_recv(r, VHOST_USER_SET_MEM_TABLE, &failed, sizeof(failed), NULL), 8);
	return !failed;
}

static void regions_may_come_in_any_order(void **state)
{
	struct rig *r = *state;
	int ram = gmem_region_at(r->guest.mem, 0)->fd, high = memory_file(MIB);
	const struct vhost_user_region low = { 0, r->guest.bytes, USER_BASE, 0 };
	const struct vhost_user_mem_reg other = region(64 * MIB);
	fe_negotiate(r, V1);
	assert_true(set_two(r, &other.r, high, &low, ram));
	assert_int_equal(pwrite(high, "high", 4, 0), 4);
	fe_start_ring(r, 0, 0);
	const struct gmem *mem = r->body->setup[0].mem;
	assert_memory_equal(gmem_host(mem, gpa(64 * MIB), 4), "high", 4);
	assert_memory_equal(gmem_host(mem, gpa(0), 64), r->guest.ram, 64);
	fd_close(high);
}

static void more_regions_than_there_is_room_for_are_refused(void **state)
{
	struct rig *r = *state;
	int fd = memory_file(MIB);
	fe_negotiate(r, V1);
	assert_true(fe_set_mem(r));
	for (unsigned i = 1; i < GMEM_MAX_REGIONS; i++) {
		struct vhost_user_mem_reg reg = region(i * 64 * MIB);
		assert_true(fe_ack(r, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg), fd));
	}
	struct vhost_user_mem_reg last = region(GMEM_MAX_REGIONS * 64 * MIB);
	assert_false(fe_ack(r, VHOST_USER_ADD_MEM_REG, &last, sizeof(last), fd));
	fe_start_ring(r, 0, 0);
	assert_non_null(
		gmem_host(r->body->setup[0].mem, gpa((GMEM_MAX_REGIONS - 1) * 64 * MIB), MIB));
	fd_close(fd);
}

static void a_region_goes_only_as_it_came(void **state)
{
	struct rig *r = *state;
	struct vhost_user_mem_reg reg = region(64 * MIB), odd[3] = { reg, reg, reg };
	int fd = memory_file(MIB);
	odd[0].r.start += MIB;
	odd[1].r.len -= 4096;
	odd[2].r.user += MIB;
	fe_negotiate(r, V1);
	assert_true(fe_set_mem(r));
	assert_true(fe_ack(r, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg), fd));
	for (unsigned i = 0; i < ARRAY_SIZE(odd); i++)
		assert_false(fe_ack(r, VHOST_USER_REM_MEM_REG, &odd[i], sizeof(odd[i]), -1));
	assert_true(fe_ack(r, VHOST_USER_REM_MEM_REG, &reg, sizeof(reg), -1));
	fd_close(fd);
}

/* What lies side by side in the guest need not do so in the frontend. */
static void a_ring_begins_within_a_region(void **state)
{
	struct rig *r = *state;
	int ram = gmem_region_at(r->guest.mem, 0)->fd, next = memory_file(MIB);
	uint64_t end = r->guest.bytes;
	const struct vhost_user_region a = { 0, end, USER_BASE, 0 };
	const struct vhost_user_region b = { end, MIB, USER_BASE + GIB, 0 };
	struct vhost_user_vring_addr at = { .desc = USER_BASE + end,
					    .used = USER_BASE + 0x2000,
					    .avail = USER_BASE + 0x1000 };
	fe_negotiate(r, V1);
	assert_true(set_two(r, &a, ram, &b, next));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_NUM, 0, 16));
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_false(fe_ack(r, VHOST_USER_SET_VRING_ADDR, &at, sizeof(at), -1));
	assert_int_equal(r->body->starts[0], 0);
	fd_close(next);
}

/* --- what is said again replaces what was said before --- */

/* Of files only: a sanitizer maps what it needs when it likes. */
static unsigned mappings(void)
{
	unsigned nr = 0;
	char line[512];
	FILE *f = fopen("/proc/self/maps", "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		nr += strstr(line, "memfd:") != NULL;
	(void)fclose(f);
	return nr;
}

static void say_it_all(struct rig *r, int memory)
{
	struct vhost_user_inflight in = { 0, 0, BODY_QUEUES, 16, 0 };
	struct vhost_user_mem_reg reg = region(64 * MIB);
	int log, pair[2];
	assert_true(fe_set_mem(r));
	assert_true(fe_ack(r, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg), memory));
	assert_true(fe_ack(r, VHOST_USER_REM_MEM_REG, &reg, sizeof(reg), -1));
	for (uint32_t i = 0; i < BODY_QUEUES; i++) {
		assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_CALL, i, r->call[i]));
		assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_ERR, i, r->err[i]));
		assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, i, r->kick[i]));
	}
	fe_send(r, VHOST_USER_GET_INFLIGHT_FD, VHOST_USER_VERSION, &in, sizeof(in), NULL, 0);
	assert_int_equal(fe_recv(r, VHOST_USER_GET_INFLIGHT_FD, &in, sizeof(in), &log), sizeof(in));
	assert_true(fe_ack(r, VHOST_USER_SET_INFLIGHT_FD, &in, sizeof(in), log));
	fd_close(log);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_true(fe_ack(r, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, pair[1]));
	fd_close(pair[0]);
	fd_close(pair[1]);
}

static void saying_it_again_costs_nothing(void **state)
{
	struct rig *r = *state;
	int memory = memory_file(MIB);
	fe_negotiate(r, V1);
	say_it_all(r, memory);
	unsigned fds = open_fds(), maps = mappings();
	for (unsigned i = 0; i < 3; i++)
		say_it_all(r, memory);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(mappings(), maps);
	fd_close(memory);
}

static void nothing_is_left_of_a_frontend(void **state)
{
	struct rig *r = *state;
	int memory = memory_file(MIB);
	struct vhost_user_log log = { 4096, 0 };
	fe_negotiate(r, V1); /* one that says nothing more: the threads have their stacks */
	assert_int_equal(rig_hang_up(r), 0);
	unsigned fds = open_fds(), maps = mappings();
	rig_connect(r);
	fe_negotiate(r, V1);
	say_it_all(r, memory);
	assert_true(fe_ack(r, VHOST_USER_SET_LOG_BASE, &log, sizeof(log), memory));
	assert_int_equal(rig_hang_up(r), 0);
	assert_int_equal(open_fds(), fds);
	assert_int_equal(mappings(), maps);
	fd_close(memory);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(regions_may_come_in_any_order),
		TEST(more_regions_than_there_is_room_for_are_refused),
		TEST(a_region_goes_only_as_it_came),
		TEST(a_ring_begins_within_a_region),
		TEST(saying_it_again_costs_nothing),
		TEST(nothing_is_left_of_a_frontend),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
