/* test_front_budget.c - how many deaths of its server the frontend takes, and how it replaces one.
 */
#include "backend.h"
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include "base/log.h"
#include "base/num.h"

#define DEATHS 8 /* in a row: then it gives up */

static _Atomic uint64_t now_ns;

static uint64_t fake_clock(void)
{
	return now_ns;
}

/* The server dies with a request pending, and the next one is there. */
static void die_and_be_replaced(struct backend *b)
{
	unsigned before = b->counts[VHOST_USER_SET_VRING_ENABLE];
	backend_die(b);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, before + BACKEND_QUEUES);
}

static void a_quiet_minute_fills_the_budget(void **state)
{
	struct backend *b = *state;
	now_ns = NSEC_PER_SEC;
	b->cfg.clock_ns = fake_clock;
	backend_up(b);
	(void)backend_ask(b, 0); /* and nobody ever does it */
	for (unsigned rounds = 0; rounds < 3; rounds++) {
		for (unsigned i = 1; i < DEATHS; i++) {
			die_and_be_replaced(b);
			drive_until(&b->v, info_of(b).deaths == i);
		}
		assert_false(drive_needs_reset(&b->v));
		now_ns += 61 * NSEC_PER_SEC;
	}
	/* half a minute is too little */
	for (unsigned i = 1; i <= DEATHS; i++) {
		now_ns += 30 * NSEC_PER_SEC;
		if (i < DEATHS)
			die_and_be_replaced(b);
		else
			backend_die(b);
	}
	drive_until(&b->v, drive_needs_reset(&b->v));
	assert_int_equal(info_of(b).deaths, DEATHS);
	drive_reset(&b->v);
}

/* What the operator puts in its place did not die. */
static void a_restart_fills_the_budget(void **state)
{
	struct backend *b = *state;
	b->cfg.has_no_stop = true;
	backend_up(b);
	(void)backend_ask(b, 0);
	for (unsigned rounds = 0; rounds < 3; rounds++) {
		for (unsigned i = 1; i < DEATHS; i++) {
			die_and_be_replaced(b);
			drive_until(&b->v, info_of(b).deaths == i);
		}
		unsigned before = b->counts[VHOST_USER_SET_VRING_ENABLE];
		vhost_front_restart(b->d);
		backend_until(b, VHOST_USER_SET_VRING_ENABLE, before + BACKEND_QUEUES);
		assert_int_equal(info_of(b).deaths, 0);
	}
	assert_false(drive_needs_reset(&b->v));
}

/* What is shown follows the time, without another death. */
static void the_count_is_forgiven_by_itself(void **state)
{
	struct backend *b = *state;
	now_ns = NSEC_PER_SEC;
	b->cfg.clock_ns = fake_clock;
	backend_up(b);
	(void)backend_ask(b, 0);
	die_and_be_replaced(b);
	drive_until(&b->v, info_of(b).deaths == 1);
	now_ns += 61 * NSEC_PER_SEC;
	drive_until(&b->v, !info_of(b).deaths);
	assert_int_equal(info_of(b).restarts, 1);
}

/* A console that nobody types at has buffers for input, and nothing to do. */
static void buffers_for_input_are_no_work(void **state)
{
	struct backend *b = *state;
	b->cfg.id = VIRTIO_ID_CONSOLE;
	backend_up(b);
	for (unsigned i = 0; i < 4; i++)
		(void)backend_ask(b, 0);
	for (unsigned i = 0; i < DEATHS + 1; i++)
		die_and_be_replaced(b);
	assert_int_equal(info_of(b).deaths, 0);
	assert_false(drive_needs_reset(&b->v));
	/* output is work */
	(void)backend_ask(b, 1);
	die_and_be_replaced(b);
	drive_until(&b->v, info_of(b).deaths == 1);
}

/* To stop a console in order would drop what its reader has not taken yet. */
static void a_server_without_a_stop_is_killed(void **state)
{
	struct backend *b = *state;
	b->cfg.has_no_stop = true;
	backend_up(b);
	backend_works(b);
	(void)backend_ask(b, 0);
	vhost_front_restart(b->d);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	assert_int_equal(b->counts[VHOST_USER_GET_VRING_BASE], 0);
	assert_true(b->kills > 0);
	assert_int_equal(b->ring[0].base, 1);
	backend_serve(b, 0, 1, 1);
	(void)drive_wait(&b->v, 0, NULL);
	assert_int_equal(info_of(b).deaths, 0);
}

static void without_an_account_it_is_stopped_all_the_same(void **state)
{
	struct backend *b = *state;
	b->cfg.has_no_stop = true;
	b->protocol &= ~PROTOCOL(INFLIGHT_SHMFD);
	backend_up(b);
	vhost_front_restart(b->d);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2 * BACKEND_QUEUES);
	assert_int_equal(b->counts[VHOST_USER_GET_VRING_BASE], BACKEND_QUEUES);
}

static _Atomic unsigned forgotten;

static void on_forget(void *ctx)
{
	*(_Atomic unsigned *)ctx += 1;
}

/* Also one that comes while no server is there to be told. */
static void a_reset_reaches_what_is_kept_for_successors(void **state)
{
	struct backend *b = *state;
	forgotten = 0;
	b->cfg.forget = on_forget;
	b->cfg.forget_ctx = &forgotten;
	backend_up(b);
	die_and_be_replaced(b);
	assert_int_equal(forgotten, 0);
	drive_reset(&b->v);
	drive_until(&b->v, forgotten == 1);
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 3 * BACKEND_QUEUES);
	b->refuse = -EAGAIN;
	backend_die(b);
	drive_until(&b->v, !info_of(b).is_connected);
	drive_reset(&b->v);
	drive_until(&b->v, forgotten == 2);
	b->refuse = 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, backend_setup, backend_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_quiet_minute_fills_the_budget),
		T(a_restart_fills_the_budget),
		T(the_count_is_forgiven_by_itself),
		T(buffers_for_input_are_no_work),
		T(a_server_without_a_stop_is_killed),
		T(without_an_account_it_is_stopped_all_the_same),
		T(a_reset_reaches_what_is_kept_for_successors),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
