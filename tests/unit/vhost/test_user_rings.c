/* test_user_rings.c - rings at work: what stops them, what they do not take, what starts them. */
#include "frontend.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>

static void go_live(struct rig *r)
{
	fe_negotiate(r, V1);
	assert_true(fe_set_mem(r));
	fe_start_ring(r, 0, 0);
	assert_int_equal(r->body->starts[0], 1);
}

static void a_ring_at_work_keeps_its_size_and_its_place(void **state)
{
	struct rig *r = *state;
	go_live(r);
	r->body->next[0] = 7;
	assert_false(fe_set_state(r, VHOST_USER_SET_VRING_NUM, 0, r->gq[0].size / 2));
	assert_false(fe_set_state(r, VHOST_USER_SET_VRING_BASE, 0, 3));
	assert_int_equal(r->body->stops[0], 0);
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 0));
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->setup[0].size, r->gq[0].size);
	assert_int_equal(r->body->setup[0].next, 7);
}

/* It stopped once, and began again where it was. */
static void check_went_on(const struct rig *r)
{
	assert_int_equal(r->body->stops[0], 1);
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->setup[0].next, 7);
}

/* Nobody works on memory that is about to go. */
static void a_new_table_stops_rings_and_lets_them_go_on(void **state)
{
	struct rig *r = *state;
	go_live(r);
	r->body->next[0] = 7;
	assert_true(fe_set_mem(r));
	check_went_on(r);
}

/* The worker that waits for the old one must not go on doing so. */
static void another_kick_stops_the_ring_and_lets_it_go_on(void **state)
{
	struct rig *r = *state;
	go_live(r);
	r->body->next[0] = 7;
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[1]));
	check_went_on(r);
}

static void who_gives_the_device_up_stops_and_disables_its_rings(void **state)
{
	struct rig *r = *state;
	go_live(r);
	assert_true(fe_ack(r, VHOST_USER_RESET_OWNER, NULL, 0, -1));
	assert_int_equal(r->body->stops[0], 1);
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
	assert_int_equal(r->body->starts[0], 1);
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(r->body->starts[0], 2);
}

static void a_ring_that_runs_is_not_started_again(void **state)
{
	struct rig *r = *state;
	go_live(r);
	assert_true(fe_set_state(r, VHOST_USER_SET_VRING_ENABLE, 0, 1));
	assert_int_equal(r->body->starts[0], 1);
}

static void break_and_wait_to_be_told(struct rig *r)
{
	struct pollfd p = { .fd = r->err[0], .events = POLLIN };
	eventfd_t told;
	vdev_needs_reset(&r->body->dev, "test");
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(eventfd_read(r->err[0], &told), 0);
}

/* A reset while one ring still runs would take its queue from under it. */
static void a_broken_device_waits_until_all_rings_stand(void **state)
{
	struct rig *r = *state;
	go_live(r);
	fe_start_ring(r, 1, 0);
	break_and_wait_to_be_told(r);
	unsigned resets = r->body->resets;
	(void)fe_get_base(r, 1);
	assert_false(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 1, r->kick[1]));
	assert_int_equal(r->body->resets, resets);
	(void)fe_get_base(r, 0);
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[0]));
	assert_int_equal(r->body->starts[0], 2);
	break_and_wait_to_be_told(r); /* it is the next fault, not the same one */
}

static unsigned open_fds(void)
{
	unsigned nr = 0;
	for (int fd = 0; fd < 512; fd++)
		nr += fcntl(fd, F_GETFD) >= 0;
	return nr;
}

static void a_reset_closes_the_descriptors_of_rings(void **state)
{
	struct rig *r = *state;
	go_live(r);
	assert_true(fe_ack(r, VHOST_USER_RESET_DEVICE, NULL, 0, -1));
	unsigned before = open_fds();
	for (uint32_t i = 0; i < BODY_QUEUES; i++)
		fe_start_ring(r, i, 0);
	assert_true(fe_ack(r, VHOST_USER_RESET_DEVICE, NULL, 0, -1));
	assert_int_equal(open_fds(), before);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_ring_at_work_keeps_its_size_and_its_place),
		TEST(a_new_table_stops_rings_and_lets_them_go_on),
		TEST(another_kick_stops_the_ring_and_lets_it_go_on),
		TEST(who_gives_the_device_up_stops_and_disables_its_rings),
		TEST(a_ring_that_runs_is_not_started_again),
		TEST(a_broken_device_waits_until_all_rings_stand),
		TEST(a_reset_closes_the_descriptors_of_rings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
