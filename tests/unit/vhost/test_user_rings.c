/* test_user_rings.c - rings at work: what stops them, what they do not take, what starts them. */
#include "frontend.h"
#include <errno.h>

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

/* Nobody works on memory that is about to go. */
static void a_new_table_stops_rings_and_lets_them_go_on(void **state)
{
	struct rig *r = *state;
	go_live(r);
	r->body->next[0] = 7;
	assert_true(fe_set_mem(r));
	assert_int_equal(r->body->stops[0], 1);
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->setup[0].next, 7);
}

/* The worker that waits for the old one must not go on doing so. */
static void another_kick_stops_the_ring_and_lets_it_go_on(void **state)
{
	struct rig *r = *state;
	go_live(r);
	r->body->next[0] = 7;
	assert_true(fe_set_fd(r, VHOST_USER_SET_VRING_KICK, 0, r->kick[1]));
	assert_int_equal(r->body->stops[0], 1);
	assert_int_equal(r->body->starts[0], 2);
	assert_int_equal(r->body->setup[0].next, 7);
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

#define TEST(f) cmocka_unit_test_setup_teardown(f, rig_setup, rig_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_ring_at_work_keeps_its_size_and_its_place),
		TEST(a_new_table_stops_rings_and_lets_them_go_on),
		TEST(another_kick_stops_the_ring_and_lets_it_go_on),
		TEST(who_gives_the_device_up_stops_and_disables_its_rings),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
