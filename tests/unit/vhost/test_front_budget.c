/* test_front_budget.c - how many deaths of its server the frontend takes, and how it replaces one.
 */
#include "backend.h"
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

static struct vhost_front_info info_of(struct backend *b)
{
	struct vhost_front_info i;
	vhost_front_info(b->d, &i);
	return i;
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

#define T(f) cmocka_unit_test_setup_teardown(f, backend_setup, backend_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_quiet_minute_fills_the_budget),
		T(the_count_is_forgiven_by_itself),
		T(buffers_for_input_are_no_work),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
