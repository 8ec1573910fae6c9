/* test_front_hold.c - rings of the vhost-user frontend that are held, and go on. */
#include "backend.h"
#include <errno.h>
#include <unistd.h>
#include "base/log.h"

static void hold(struct backend *b)
{
	vdev_hold(b->d, VDEV_HOLD_OWNER);
	drive_until(&b->v, vdev_is_quiet(b->d));
}

static void let_go(struct backend *b)
{
	unsigned before = b->counts[VHOST_USER_SET_VRING_ENABLE];
	vdev_let_go(b->d, VDEV_HOLD_OWNER);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, before + BACKEND_QUEUES);
}

/* It dies, and there is no other until refuse is 0 again. */
static void end_server_for_now(struct backend *b)
{
	b->refuse = -EAGAIN;
	unsigned tries = b->tries;
	backend_die(b);
	drive_until(&b->v, b->tries > tries);
}

static void rings_come_back_and_go_on(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	for (unsigned i = 1; i < 6; i++) {
		backend_works(b);
		hold(b);
		assert_int_equal(b->counts[VHOST_USER_GET_VRING_BASE], i * BACKEND_QUEUES);
		b->ring[0].base = 999; /* it is told anew */
		let_go(b);
		assert_int_equal(b->ring[0].base, i);
		assert_int_equal(b->ring[1].base, 0);
	}
	backend_works(b);
	assert_int_equal(b->connects, 1);
	assert_int_equal(info_of(b).restarts, 0);
}

/* What was asked for while it was held is done afterwards. */
static void requests_wait_meanwhile(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	backend_works(b);
	hold(b);
	(void)backend_ask(b, 0);
	let_go(b);
	backend_serve(b, 0, 1, 1);
	(void)drive_wait(&b->v, 0, NULL);
	backend_works(b);
}

static void a_death_while_held_is_no_matter(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	for (unsigned i = 1; i < 12; i++) { /* more than are taken in a row of one that has work */
		backend_works(b);
		hold(b);
		backend_die(b);
		drive_until(&b->v, b->connects == i + 1 && info_of(b).is_connected);
		let_go(b);
		assert_int_equal(b->ring[0].base, i);
	}
	backend_works(b);
}

/* The account of queue 0, which the server keeps: here a mark that is there or not. */
static void mark_account(struct backend *b)
{
	assert_int_equal(pwrite(b->log_fd, "x", 1, 100), 1);
}

static bool is_account_marked(struct backend *b)
{
	char c = 0;
	assert_int_equal(pread(b->log_fd, &c, 1, 100), 1);
	return c == 'x';
}

/* Where it stopped it said itself, in whatever order it had given back. */
static void who_stopped_in_order_needs_no_account(void **state)
{
	struct backend *b = *state;
	b->protocol &= ~PROTOCOL(INFLIGHT_SHMFD);
	backend_up(b);
	uint16_t first = backend_ask(b, 0);
	(void)backend_ask(b, 0);
	(void)backend_ask(b, 0);
	backend_serve(b, 0, 3, 6);
	backend_give_late(b, 0, first);
	for (unsigned i = 0; i < 3; i++)
		(void)drive_wait(&b->v, 0, NULL);
	hold(b);
	(void)backend_ask(b, 0);
	end_server_for_now(b);
	vdev_let_go(b->d, VDEV_HOLD_OWNER); /* nobody takes it before it is held again */
	hold(b);
	b->refuse = 0;
	let_go(b);
	assert_int_equal(b->ring[0].base, 3);
	assert_false(drive_needs_reset(&b->v));
	backend_serve(b, 0, 1, 1);
	(void)drive_wait(&b->v, 0, NULL);
}

/* Begun anew while there was no server, and held before there is one. */
static void what_never_began_begins_at_its_start(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	backend_works(b);
	hold(b);
	end_server_for_now(b);
	vdev_let_go(b->d, VDEV_HOLD_OWNER);
	drive_reset(&b->v);
	drive_up(&b->v, ~0ull);
	hold(b);
	b->refuse = 0;
	let_go(b);
	assert_int_equal(b->ring[0].base, 0);
	backend_works(b);
}

/* It dies with requests in flight, and nobody comes until the device is held and let go. */
static void what_was_in_flight_is_done_by_the_next(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	backend_works(b);
	for (unsigned i = 0; i < 3; i++)
		(void)backend_ask(b, 0);
	backend_serve(b, 0, 3, 2); /* the second of three */
	(void)drive_wait(&b->v, 0, NULL);
	mark_account(b);
	end_server_for_now(b);
	hold(b); /* no I/O is under way: that is enough */
	b->refuse = 0;
	drive_until(&b->v, info_of(b).is_connected && b->connects == 2);
	let_go(b);
	assert_int_equal(b->ring[0].base,
			 2); /* results have come so far; the account has the rest */
	assert_false(drive_needs_reset(&b->v));
	assert_int_equal(b->counts[VHOST_USER_SET_INFLIGHT_FD], 2);
	assert_true(is_account_marked(b));
}

/* But what a driver has begun anew meanwhile has nothing in flight. */
static void a_reset_while_held_forgets_it(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	(void)backend_ask(b, 0);
	mark_account(b);
	end_server_for_now(b);
	hold(b);
	drive_reset(&b->v);
	b->refuse = 0;
	drive_until(&b->v, info_of(b).is_connected);
	vdev_let_go(b->d, VDEV_HOLD_OWNER);
	unsigned before = b->counts[VHOST_USER_SET_VRING_ENABLE];
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, before + BACKEND_QUEUES);
	assert_int_equal(b->ring[0].base, 0);
	assert_false(is_account_marked(b));
	backend_works(b);
}

static void what_nobody_knows_needs_a_reset(void **state)
{
	struct backend *b = *state;
	b->protocol &= ~PROTOCOL(INFLIGHT_SHMFD);
	backend_up(b);
	for (unsigned i = 0; i < 3; i++)
		(void)backend_ask(b, 0);
	backend_serve(b, 0, 3, 2); /* the second of three: out of order, and no account */
	end_server_for_now(b);
	hold(b);
	b->refuse = 0;
	vdev_let_go(b->d, VDEV_HOLD_OWNER);
	drive_until(&b->v, drive_needs_reset(&b->v));
	drive_reset(&b->v);
	drive_up(&b->v, ~0ull);
	backend_works(b);
}

/* Holds at every step of a frontend's life: each request is done once. */
static void a_hold_ends_in_every_state(void **state)
{
	struct backend *b = *state;
	uint16_t head;
	uint32_t len;
	backend_up(b);
	for (unsigned i = 0; i < 60; i++) {
		if (i % 4 == 1)
			backend_die(b);
		if (i % 5 == 1)
			vhost_front_restart(b->d);
		if (i % 6 == 1)
			b->die_first = 1;
		if (i % 7 < 3)
			drive_idle(&b->v);
		vdev_hold(b->d, VDEV_HOLD_OWNER);
		if (i % 3)
			drive_until(&b->v, vdev_is_quiet(b->d));
		if (i % 3 == 2)
			(void)backend_ask(b, 0);
		vdev_let_go(b->d, VDEV_HOLD_OWNER);
		if (i % 3 == 2) {
			hold(b); /* everything said so far has been heard */
			let_go(b);
			drive_until(&b->v, b->ring[0].is_up);
			backend_serve(b, 0, 1, 1);
			(void)drive_wait(&b->v, 0, NULL);
		}
		assert_false(drive_needs_reset(&b->v));
	}
	assert_false(drive_used(&b->v, 0, &head, &len));
	hold(b);
	let_go(b);
	backend_works(b);
}

static void on_forget_queue(void *ctx, uint16_t idx)
{
	_Atomic unsigned *forgotten = ctx;
	assert_true(idx < BACKEND_QUEUES);
	forgotten[idx]++;
}

/* What else is kept for servers to come is void with it, and with nothing less. */
static void only_what_begins_anew_is_forgotten(void **state)
{
	struct backend *b = *state;
	static _Atomic unsigned forgotten[BACKEND_QUEUES];
	b->cfg.forget_queue = on_forget_queue;
	b->cfg.forget_ctx = forgotten;
	backend_up(b);
	backend_works(b);
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	hold(b);
	let_go(b);
	(void)backend_ask(b, 0);
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 4 * BACKEND_QUEUES);
	end_server_for_now(b);
	hold(b);
	b->refuse = 0;
	drive_until(&b->v, info_of(b).is_connected);
	let_go(b);
	assert_int_equal(forgotten[0], 1);
	assert_int_equal(forgotten[1], 1);
	unsigned before = b->counts[VHOST_USER_SET_VRING_ENABLE];
	drive_queue_reset(&b->v, 0);
	drive_queue_up(&b->v, 0);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, before + 1);
	assert_int_equal(forgotten[0], 2);
	assert_int_equal(forgotten[1], 1);
	backend_works(b);
}

#define T(f) cmocka_unit_test_setup_teardown(f, backend_setup, backend_teardown)

int main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	const struct CMUnitTest tests[] = {
		T(rings_come_back_and_go_on),
		T(requests_wait_meanwhile),
		T(a_death_while_held_is_no_matter),
		T(what_was_in_flight_is_done_by_the_next),
		T(a_reset_while_held_forgets_it),
		T(what_nobody_knows_needs_a_reset),
		T(who_stopped_in_order_needs_no_account),
		T(what_never_began_begins_at_its_start),
		T(a_hold_ends_in_every_state),
		T(only_what_begins_anew_is_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
