/* test_front_death.c - servers of the vhost-user frontend that die, hang or do not come. */
#include "backend.h"
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/log.h"

#define ANSWER_MS 1500 /* only servers that keep silent should come to feel it */

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
	backend_die(b); /* what that one said is not where this one was */
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 3 * BACKEND_QUEUES);
	assert_int_equal(b->ring[0].base, 2);
}

/* Where it stopped it said itself, so it does not matter in what order it had given back. */
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
	b->refuse = -EAGAIN;
	unsigned tries = b->tries;
	vhost_front_restart(b->d);
	drive_until(&b->v, b->tries > tries);
	(void)backend_ask(b, 0);
	b->refuse = 0;
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	assert_int_equal(b->ring[0].base, 3);
	backend_serve(b, 0, 1, 1);
	(void)drive_wait(&b->v, 0, NULL);
	assert_false(drive_needs_reset(&b->v));
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
	assert_int_equal(b->connects, 3); /* the last one did nothing wrong */
	drive_up(&b->v, ~0ull);
	backend_works(b);
}

/* Between two that keep it there was one that did not: what stands in it is old. */
static void an_old_account_is_cleared(void **state)
{
	struct backend *b = *state;
	char c = 'x';
	backend_up(b);
	backend_works(b);
	b->protocol &= ~PROTOCOL(INFLIGHT_SHMFD);
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	backend_works(b);
	assert_int_equal(pwrite(b->log_fd, &c, 1, 100), 1);
	b->protocol |= PROTOCOL(INFLIGHT_SHMFD);
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 3 * BACKEND_QUEUES);
	assert_int_equal(pread(b->log_fd, &c, 1, 100), 1);
	assert_int_equal(c, 0);
	backend_works(b);
}

static bool is_kicked(const struct backend *b, uint16_t idx)
{
	eventfd_t n;
	struct pollfd p = { b->v.q[idx].kick_fd, POLLIN, 0 };
	return poll(&p, 1, 0) == 1 && !eventfd_read(p.fd, &n);
}

/* A kick that the one before had taken is not lost with it. */
static void a_successor_is_kicked(void **state)
{
	struct backend *b = *state;
	backend_up(b);
	(void)backend_ask(b, 0);
	while (is_kicked(b, 0) || is_kicked(b, 1))
		;
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	drive_until(&b->v, is_kicked(b, 0));
	drive_until(&b->v, is_kicked(b, 1));
}

/* Whatever I/O of the last server is under way, it is none of a ring that no server had. */
static void a_ring_that_nobody_had_stops_at_once(void **state)
{
	struct backend *b = *state;
	backend_plug(b);
	b->refuse = -EBUSY;
	backend_die(b);
	drive_until(&b->v, b->tries > 2);
	drive_up(&b->v, ~0ull);
	drive_reset(&b->v);
	b->refuse = 0;
	drive_up(&b->v, ~0ull);
	drive_until(&b->v, info_of(b).is_connected);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, BACKEND_QUEUES);
	backend_works(b);
}

/* Both have to keep it: the one that died, or nothing is in it, and the next, or nobody reads it.
 */
static void half_an_account_is_none(void **state)
{
	struct backend *b = *state;
	for (unsigned round = 0; round < 2; round++) {
		bool was_kept = round;
		uint64_t with = b->protocol | PROTOCOL(INFLIGHT_SHMFD);
		uint64_t without = with & ~PROTOCOL(INFLIGHT_SHMFD);
		b->protocol = was_kept ? with : without;
		if (round)
			backend_die(b);
		else
			backend_plug(b);
		drive_until(&b->v, b->connects == 1 + 2 * round && info_of(b).is_connected);
		drive_up(&b->v, ~0ull);
		backend_works(b);
		for (unsigned i = 0; i < 3; i++)
			(void)backend_ask(b, 0);
		backend_serve(b, 0, 3, 2); /* the second of three */
		b->protocol = was_kept ? without : with;
		backend_die(b);
		drive_until(&b->v, drive_needs_reset(&b->v));
		drive_reset(&b->v);
		drive_until(&b->v, b->connects == 2 + 2 * round);
	}
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
	assert_int_equal(info_of(b).outages, 0); /* nobody waited for it any more */
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

/* Whoever serves a socket of somebody else's may be replaced there, whatever is wrong with it now.
 */
static void for_a_server_of_others_any_error_may_pass(void **state)
{
	static const int errors[] = { -EMFILE, -EACCES, -ENOENT, -EPERM };
	struct backend *b = *state;
	b->cfg.kill = NULL;
	backend_up(b);
	for (unsigned i = 0; i < ARRAY_SIZE(errors); i++) {
		unsigned tries = b->tries;
		b->refuse = errors[i];
		backend_die(b);
		drive_until(&b->v, b->tries > tries + 2);
		b->refuse = 0;
		backend_works(b);
		assert_false(info_of(b).is_given_up);
	}
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
		T(the_next_goes_on_where_one_was),
		T(an_operator_changes_servers_in_order),
		T(who_stopped_in_order_needs_no_account),
		T(without_an_account_it_must_be_in_order),
		T(half_an_account_is_none),
		T(an_old_account_is_cleared),
		T(a_successor_is_kicked),
		T(a_ring_that_nobody_had_stops_at_once),
		T(gives_up_after_eight_in_a_row),
		T(progress_makes_up_for_deaths),
		T(idle_deaths_do_not_count),
		T(a_successor_must_be_able_to_do_as_much),
		T(stops_wait_for_io_but_not_for_servers),
		T(a_stop_does_not_wait_for_who_keeps_silent),
		T(an_owner_may_say_never),
		T(waits_for_who_is_not_there_yet),
		T(for_a_server_of_others_any_error_may_pass),
		T(a_reset_ends_in_every_state),
		T(who_does_not_answer_is_ended),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
