/* test_user_dirty.c - the log of pages written: how a frontend switches it on and off, and tries to
 * harm us by it. */
#include "frontend.h"
#include <errno.h>
#include <linux/vhost_types.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "virtio/dirty_log.h"

#define LOG_ALL    (1ull << VHOST_F_LOG_ALL)
#define LOG_NAME   "pages-written"
#define LOG_BYTES  (MIB / 4096 / 8) /* just enough for the guest's memory */
#define FILE_BYTES (4 * 4096u)

static int log_file(void)
{
	int fd = memfd_create(LOG_NAME, MFD_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	return fd;
}

/* True: accepted. It is always answered. */
static bool set_log(struct rig *r, uint64_t bytes, uint64_t offset, int fd)
{
	struct vhost_user_log l = { bytes, offset };
	uint64_t failed = 2;
	fe_send(r, VHOST_USER_SET_LOG_BASE, VHOST_USER_VERSION, &l, sizeof(l), &fd, fd >= 0);
	assert_int_equal(fe_recv(r, VHOST_USER_SET_LOG_BASE, &failed, sizeof(failed), NULL),
			 sizeof(failed));
	assert_true(failed <= 1);
	return !failed;
}

static bool set_addr(struct rig *r, uint32_t idx, uint32_t flags, uint64_t log)
{
	const struct guest_queue *q = &r->gq[idx];
	struct vhost_user_vring_addr a = { idx,
					   flags,
					   USER_BASE + q->desc_gpa,
					   USER_BASE + q->device_gpa,
					   USER_BASE + q->driver_gpa,
					   log };
	return fe_ack(r, VHOST_USER_SET_VRING_ADDR, &a, sizeof(a), -1);
}

static bool set_features(struct rig *r, uint64_t features)
{
	return fe_set(r, VHOST_USER_SET_FEATURES, features | V1 | PROTO);
}

static void go_live(struct rig *r)
{
	fe_negotiate(r, V1);
	assert_true(fe_set_mem(r));
	fe_start_ring(r, 0, 0);
}

static const struct vq_setup *setup_of(const struct rig *r, uint32_t idx)
{
	return &r->body->setup[idx];
}

/* How often this process has the log mapped. */
static unsigned log_mappings(void)
{
	char line[512];
	unsigned nr = 0;
	FILE *f = fopen("/proc/self/maps", "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		nr += strstr(line, LOG_NAME) != NULL;
	(void)fclose(f);
	return nr;
}

static void a_log_comes_and_goes_while_rings_run(void **state)
{
	struct rig *r = *state;
	int fd = log_file();
	uint8_t *bits = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	go_live(r);
	assert_null(setup_of(r, 0)->dirty);
	assert_true(set_log(r, LOG_BYTES, 4096, fd));
	assert_int_equal(r->body->starts[0], 1); /* nobody wants it yet */
	r->body->next[0] = 7;
	assert_true(set_features(r, LOG_ALL));
	assert_int_equal(r->body->starts[0], 2);
	const struct vq_setup *s = setup_of(r, 0);
	assert_int_equal(s->next, 7);
	assert_int_equal(s->features, V1); /* the device does not see the transport's bits */
	assert_int_equal(s->dirty->bytes, LOG_BYTES);
	assert_int_equal(s->dirty_device, r->gq[0].device_gpa);
	dirty_log_mark(s->dirty, 0x9000, 1);
	assert_int_equal(bits[4096 + 1], 2);
	/* what QEMU says next changes nothing: the ring is logged as it lies in memory */
	assert_true(set_addr(r, 0, 1, r->gq[0].device_gpa));
	assert_int_equal(r->body->starts[0], 2);
	assert_true(set_addr(r, 0, 1, 0x4000));
	assert_int_equal(r->body->starts[0], 3);
	assert_int_equal(s->dirty_device, 0x4000);
	/* off: first for all, but this ring still asks for itself */
	assert_true(set_features(r, 0));
	assert_int_equal(r->body->starts[0], 3);
	assert_non_null(s->dirty);
	assert_true(set_addr(r, 0, 0, 0));
	assert_int_equal(r->body->starts[0], 4);
	assert_null(s->dirty);
	assert_int_equal(s->next, 7);
	assert_true(set_features(r, LOG_ALL));
	assert_true(set_features(r, 0));
	assert_int_equal(r->body->starts[0], 6);
	assert_null(s->dirty);
	(void)munmap(bits, FILE_BYTES);
	fd_close(fd);
}

/* What is in flight belongs to the old state: the answer comes when it is done. */
static void a_switch_waits_for_what_is_in_flight(void **state)
{
	struct rig *r = *state;
	int fd = log_file();
	go_live(r);
	assert_true(set_log(r, LOG_BYTES, 0, fd));
	for (unsigned turn = 1; turn <= 4; turn++) {
		uint64_t f = V1 | PROTO | (turn % 2 ? LOG_ALL : 0), failed = 2;
		r->body->is_held = true;
		fe_send(r, VHOST_USER_SET_FEATURES, VHOST_USER_VERSION | VHOST_USER_NEED_REPLY, &f,
			sizeof(f), NULL, 0);
		wait_for(&r->body->stops[0], turn);
		assert_false(fe_has_answer(r, 20));
		assert_int_equal(r->body->starts[0], turn);
		r->body->next[0] = (uint16_t)(100 * turn);
		r->body->is_held = false;
		assert_int_equal(fe_recv(r, VHOST_USER_SET_FEATURES, &failed, sizeof(failed), NULL),
				 8);
		assert_int_equal(failed, 0);
		assert_int_equal(r->body->starts[0], turn + 1);
		assert_int_equal(setup_of(r, 0)->next, 100 * turn);
		assert_int_equal(setup_of(r, 0)->dirty != NULL, turn % 2);
	}
	fd_close(fd);
}

/* As QEMU does it where the driver starts the device in the middle of a migration. */
static void a_ring_that_is_to_be_logged_waits_for_a_log(void **state)
{
	struct rig *r = *state;
	int fd = log_file();
	fe_negotiate(r, V1 | LOG_ALL);
	assert_true(fe_set_mem(r));
	fe_start_ring(r, 0, 0);
	assert_true(set_addr(r, 1, 1, r->gq[1].device_gpa));
	assert_int_equal(r->body->starts[0], 0);
	assert_true(set_log(r, LOG_BYTES, 0, fd));
	assert_int_equal(r->body->starts[0], 1);
	assert_non_null(setup_of(r, 0)->dirty);
	fd_close(fd);
}

static void a_log_that_is_too_small_is_refused(void **state)
{
	struct rig *r = *state;
	int fd = log_file();
	go_live(r);
	assert_false(set_features(r, LOG_ALL)); /* there is none at all */
	assert_false(set_log(r, LOG_BYTES - 1, 0, fd));
	assert_false(set_features(r, LOG_ALL));
	assert_false(set_addr(r, 0, 1, r->gq[0].device_gpa));
	assert_int_equal(r->body->starts[0], 1);
	assert_null(setup_of(r, 0)->dirty);
	assert_int_equal(log_mappings(), 0);
	assert_true(set_log(r, LOG_BYTES, 0, fd));
	assert_true(set_features(r, LOG_ALL));
	assert_int_equal(r->body->starts[0], 2);
	/* the one in use stays when the next is no good */
	const struct dirty_log *l = setup_of(r, 0)->dirty;
	assert_false(set_log(r, LOG_BYTES / 2, 0, fd));
	assert_int_equal(l->bytes, LOG_BYTES);
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(log_mappings(), 1);
	fd_close(fd);
}

static void features_that_were_refused_are_forgotten(void **state)
{
	struct rig *r = *state;
	go_live(r);
	assert_false(set_features(r, LOG_ALL));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 0));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(r->body->starts[0], 2); /* it does not wait for a log */
}

/*
 * The kernel maps whole pages, whatever was asked for, and gives back whole ones only. On a host
 * that has no huge pages there is nothing to map.
 */
static void part_of_a_huge_page_is_no_piece_of_memory(void **state)
{
	struct rig *r = *state;
	struct vhost_user_mem_reg reg = { 0, { 64 * MIB, 4096, USER_BASE + 64 * MIB, 0 } };
	int fd = memfd_create(LOG_NAME, MFD_CLOEXEC | MFD_HUGETLB | 21u << 26);
	void *mem = MAP_FAILED;
	if (fd >= 0 && !ftruncate(fd, 2 * MIB))
		mem = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED) {
		fd_close(fd);
		skip();
	}
	(void)munmap(mem, 2 * MIB);
	go_live(r);
	assert_false(fe_ack(r, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg), fd));
	assert_false(set_log(r, LOG_BYTES, 0, fd));
	assert_int_equal(log_mappings(), 0);
	assert_true(set_log(r, 2 * MIB, 0, fd));
	assert_int_equal(log_mappings(), 1);
	assert_int_equal(rig_hang_up(r), 0);
	assert_int_equal(log_mappings(), 0);
	fd_close(fd);
}

/* More memory than the log has bits for: nothing runs until there is a larger one. */
static void memory_outside_of_the_log_stops_the_rings(void **state)
{
	struct rig *r = *state;
	struct vhost_user_mem_reg reg = { 0, { 64 * MIB, MIB, USER_BASE + 64 * MIB, 0 } };
	int fd = log_file(), ram = memfd_create("more", MFD_CLOEXEC);
	assert_int_equal(ftruncate(ram, MIB), 0);
	go_live(r);
	assert_true(set_log(r, LOG_BYTES, 0, fd));
	assert_true(set_features(r, LOG_ALL));
	assert_true(fe_ack(r, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg), ram));
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->stops[0], 2);
	assert_true(set_log(r, 65 * LOG_BYTES, 0, fd));
	assert_int_equal(r->body->starts[0], 3);
	assert_int_equal(setup_of(r, 0)->dirty->bytes, 65 * LOG_BYTES);
	fd_close(fd);
	fd_close(ram);
}

static void a_new_log_takes_the_place_of_the_old_one(void **state)
{
	struct rig *r = *state;
	int old = log_file(), new = log_file();
	uint8_t *bits = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, new, 0);
	go_live(r);
	assert_int_equal(log_mappings(), 1); /* ours */
	assert_true(set_log(r, LOG_BYTES, 0, old));
	assert_true(set_features(r, LOG_ALL));
	assert_true(set_log(r, 2 * LOG_BYTES, 0, new));
	assert_int_equal(r->body->starts[0], 3); /* nothing in flight may mark the old one */
	assert_int_equal(log_mappings(), 2);
	dirty_log_mark(setup_of(r, 0)->dirty, 0, 4096);
	assert_int_equal(bits[0], 1);
	/* rings that stand keep nobody waiting, and those that start get the new one */
	(void)fe_get_base(r, 0);
	assert_true(set_log(r, LOG_BYTES, 0, old));
	fe_start_ring(r, 0, 0);
	assert_int_equal(setup_of(r, 0)->dirty->bytes, LOG_BYTES);
	(void)fe_get_base(r, 0); /* the server has heard of us after our look at it */
	assert_int_equal(rig_hang_up(r), 0);
	assert_int_equal(log_mappings(), 1);
	(void)munmap(bits, FILE_BYTES);
	fd_close(old);
	fd_close(new);
	/* the next frontend starts without */
	rig_connect(r);
	go_live(r);
	assert_null(setup_of(r, 0)->dirty);
	assert_false(set_features(r, LOG_ALL));
}

static void rings_are_logged_inside_of_the_log_only(void **state)
{
	struct rig *r = *state;
	int fd = log_file();
	static const uint64_t bad[] = { MIB, MIB - 8, UINT64_MAX, UINT64_MAX - 4, 1ull << 63 };
	go_live(r);
	assert_true(set_log(r, LOG_BYTES, 0, fd));
	assert_true(set_features(r, LOG_ALL));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_false(set_addr(r, 0, 1, bad[i]));
		assert_int_equal(r->body->starts[0], 2);
		assert_int_equal(setup_of(r, 0)->dirty_device, r->gq[0].device_gpa);
	}
	assert_false(set_addr(r, 0, 2, 0));
	assert_false(set_addr(r, 0, 3, 0));
	/* 16 entries: the last place where the ring fits */
	assert_true(set_addr(r, 0, 1, MIB - 6 - 8 * 16));
	assert_int_equal(r->body->starts[0], 3);
	/* one that the next log does not have: it waits */
	assert_true(set_log(r, LOG_BYTES + 1, 0, fd));
	assert_int_equal(r->body->starts[0], 4);
	assert_true(set_addr(r, 0, 1, MIB + 8));
	assert_true(set_log(r, LOG_BYTES, 0, fd));
	assert_int_equal(r->body->starts[0], 5);
	assert_int_equal(r->body->stops[0], 5);
	assert_true(set_log(r, 2 * LOG_BYTES, 0, fd));
	assert_int_equal(r->body->starts[0], 6);
	fd_close(fd);
}

static void a_packed_ring_has_only_its_event_there(void **state)
{
	struct rig *r = *state;
	int fd = log_file();
	fe_negotiate(r, V1 | GUEST_PACKED);
	assert_true(fe_set_mem(r));
	fe_start_ring(r, 0, 0x80008000);
	assert_true(set_log(r, LOG_BYTES, 0, fd));
	assert_true(fe_set(r, VHOST_USER_SET_FEATURES, V1 | PROTO | GUEST_PACKED | LOG_ALL));
	assert_false(set_addr(r, 0, 1, MIB - 3));
	assert_true(set_addr(r, 0, 1, MIB - 4));
	assert_int_equal(setup_of(r, 0)->dirty_device, MIB - 4);
	assert_int_equal(setup_of(r, 0)->features, V1 | GUEST_PACKED);
	fd_close(fd);
}

static void who_asks_is_told_of_marks(void **state)
{
	struct rig *r = *state;
	int fd = log_file(), event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	eventfd_t v;
	go_live(r);
	assert_true(set_log(r, LOG_BYTES, 0, fd));
	assert_true(set_features(r, LOG_ALL));
	notifier_signal(setup_of(r, 0)->dirty->call); /* nobody listens */
	assert_false(fe_ack(r, VHOST_USER_SET_LOG_FD, NULL, 0, fd));
	assert_false(fe_ack(r, VHOST_USER_SET_LOG_FD, NULL, 0, -1));
	assert_true(fe_ack(r, VHOST_USER_SET_LOG_FD, NULL, 0, event));
	notifier_signal(setup_of(r, 0)->dirty->call);
	assert_int_equal(eventfd_read(event, &v), 0);
	assert_int_equal(v, 1);
	fd_close(fd);
	fd_close(event);
}

static void descriptors_that_are_no_log_are_refused(void **state)
{
	struct rig *r = *state;
	int fd = log_file(), pair[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	const struct {
		const char *what;
		uint64_t bytes, offset;
		int fd;
	} rows[] = {
		{ "none", LOG_BYTES, 0, -1 },
		{ "a socket", LOG_BYTES, 0, pair[0] },
		{ "an eventfd", LOG_BYTES, 0, r->kick[0] },
		{ "nothing of it", 0, 0, fd },
		{ "behind the end", LOG_BYTES, FILE_BYTES, fd },
		{ "over the end", FILE_BYTES, 4096, fd },
		{ "all there is", UINT64_MAX, 0, fd },
		{ "one that wraps", 8192, UINT64_MAX - 4095, fd },
		{ "an odd place", LOG_BYTES, 8, fd },
	};
	go_live(r);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (set_log(r, rows[i].bytes, rows[i].offset, rows[i].fd))
			fail_msg("%s: accepted", rows[i].what);
	assert_int_equal(log_mappings(), 0);
	assert_int_equal(r->body->starts[0], 1);
	assert_true(set_log(r, FILE_BYTES - 4096, 4096, fd));
	fd_close(fd);
	fd_close(pair[0]);
	fd_close(pair[1]);
}

static void without_shared_memory_there_is_no_log(void **state)
{
	struct rig *r = *state;
	struct vhost_user_log l = { LOG_BYTES, 0 };
	uint64_t proto = 1ull << VHOST_USER_PROTOCOL_F_REPLY_ACK;
	int fd = log_file();
	fe_send(r, VHOST_USER_SET_PROTOCOL_FEATURES, VHOST_USER_VERSION, &proto, sizeof(proto),
		NULL, 0);
	assert_false(fe_ack(r, VHOST_USER_SET_LOG_BASE, &l, sizeof(l), fd));
	assert_false(set_features(r, LOG_ALL));
	assert_false(set_addr(r, 0, 1, 0));
	assert_true(set_addr(r, 0, 0, 0));
	fe_send(r, VHOST_USER_SET_LOG_BASE, VHOST_USER_VERSION, &l, sizeof(l), &fd, 1);
	assert_int_equal(rig_wait_end(r), -EPROTO);
	assert_int_equal(log_mappings(), 0);
	fd_close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_log_comes_and_goes_while_rings_run),
		TEST(a_switch_waits_for_what_is_in_flight),
		TEST(a_ring_that_is_to_be_logged_waits_for_a_log),
		TEST(a_log_that_is_too_small_is_refused),
		TEST(features_that_were_refused_are_forgotten),
		TEST(part_of_a_huge_page_is_no_piece_of_memory),
		TEST(memory_outside_of_the_log_stops_the_rings),
		TEST(a_new_log_takes_the_place_of_the_old_one),
		TEST(rings_are_logged_inside_of_the_log_only),
		cmocka_unit_test_setup_teardown(a_packed_ring_has_only_its_event_there,
						rig_setup_packed, rig_teardown),
		TEST(who_asks_is_told_of_marks),
		TEST(descriptors_that_are_no_log_are_refused),
		TEST(without_shared_memory_there_is_no_log),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
