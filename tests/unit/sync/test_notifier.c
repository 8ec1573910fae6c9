/* test_notifier.c - signals that add up, never block, and can be turned into calls. */
#include "sync/notifier.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

static void count_call(void *ctx)
{
	(*(unsigned *)ctx)++;
}

static void signals_add_up_until_taken(void **state)
{
	(void)state;
	struct notifier n;
	assert_int_equal(notifier_init(&n), 0);
	assert_false(notifier_is_pending(&n));
	assert_int_equal(notifier_consume(&n), 0);
	notifier_signal(&n);
	notifier_signal(&n);
	assert_true(notifier_is_pending(&n));
	assert_true(notifier_is_pending(&n)); /* looking does not take */
	assert_int_equal(notifier_consume(&n), 2);
	assert_false(notifier_is_pending(&n));
	notifier_fini(&n);
}

static void a_full_counter_does_not_block_the_signaller(void **state)
{
	(void)state;
	struct notifier n;
	assert_int_equal(notifier_init(&n), 0);
	uint64_t full = UINT64_MAX - 1;
	assert_int_equal(write(n.fd, &full, sizeof(full)), sizeof(full));
	notifier_signal(&n);
	assert_true(notifier_is_pending(&n));
	notifier_fini(&n);
}

/* Who shares the eventfd makes it a blocking one: if these waited, the test would never end. */
static void who_shares_it_cannot_hold_the_signaller_up(void **state)
{
	(void)state;
	struct notifier n;
	uint64_t full = UINT64_MAX - 1;
	assert_int_equal(notifier_init(&n), 0);
	notifier_signal_shared(&n);
	notifier_signal_fd(n.fd);
	assert_int_equal(notifier_consume(&n), 2);
	assert_int_equal(write(n.fd, &full, sizeof(full)), sizeof(full));
	assert_int_equal(fcntl(n.fd, F_SETFL, 0), 0);
	notifier_signal_shared(&n);
	notifier_signal_fd(n.fd);
	assert_int_equal(notifier_consume(&n), full);
	assert_int_equal(notifier_consume(&n), 0);
	notifier_fini(&n);
}

static void the_descriptor_is_closed_on_exec(void **state)
{
	(void)state;
	struct notifier n;
	assert_int_equal(notifier_init(&n), 0);
	assert_true(fcntl(n.fd, F_GETFD) & FD_CLOEXEC);
	int fd = n.fd;
	notifier_fini(&n);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void a_function_takes_the_signals_over_and_gives_them_back(void **state)
{
	(void)state;
	struct notifier n;
	unsigned calls = 0;
	assert_int_equal(notifier_init(&n), 0);
	notifier_set_fn(&n, count_call, &calls);
	notifier_signal(&n);
	assert_int_equal(calls, 1);
	assert_false(notifier_is_pending(&n));
	notifier_set_fn(&n, NULL, NULL);
	notifier_signal(&n);
	assert_int_equal(calls, 1);
	assert_true(notifier_is_pending(&n));
	notifier_fini(&n);
}

/* Somebody changes the road while a signal is on the old one. */
static void change_to_eventfd(void *ctx)
{
	notifier_set_fn(ctx, NULL, NULL);
}

static void a_signal_that_meets_a_change_takes_the_new_road_too(void **state)
{
	(void)state;
	struct notifier n;
	assert_int_equal(notifier_init(&n), 0);
	notifier_set_fn(&n, change_to_eventfd, &n);
	notifier_signal(&n);
	assert_int_equal(notifier_consume(&n), 1);
	notifier_set_fn(&n, change_to_eventfd, &n);
	notifier_signal_shared(&n);
	assert_int_equal(notifier_consume(&n), 1);
	notifier_signal(&n);
	assert_int_equal(notifier_consume(&n), 1); /* nothing changed: once */
	notifier_fini(&n);
}

static void one_of_a_function_has_no_descriptor(void **state)
{
	(void)state;
	struct notifier n;
	unsigned calls = 0;
	notifier_init_fn(&n, count_call, &calls);
	assert_int_equal(n.fd, -1);
	notifier_signal(&n);
	assert_int_equal(calls, 1);
	notifier_signal_shared(&n);
	assert_int_equal(calls, 2);
	notifier_fini(&n);
}

static void fini_of_a_zeroed_one_closes_nothing(void **state)
{
	(void)state;
	struct notifier n = { .fd = 0 };
	int before = fcntl(0, F_GETFD);
	notifier_fini(&n);
	notifier_fini(NULL);
	assert_int_equal(fcntl(0, F_GETFD), before);
}

static void running_out_of_descriptors_is_reported(void **state)
{
	(void)state;
	struct rlimit before, none = { 0 };
	struct notifier n;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	int err = notifier_init(&n);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(err, -EMFILE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signals_add_up_until_taken),
		cmocka_unit_test(a_full_counter_does_not_block_the_signaller),
		cmocka_unit_test(who_shares_it_cannot_hold_the_signaller_up),
		cmocka_unit_test(the_descriptor_is_closed_on_exec),
		cmocka_unit_test(a_function_takes_the_signals_over_and_gives_them_back),
		cmocka_unit_test(a_signal_that_meets_a_change_takes_the_new_road_too),
		cmocka_unit_test(one_of_a_function_has_no_descriptor),
		cmocka_unit_test(fini_of_a_zeroed_one_closes_nothing),
		cmocka_unit_test(running_out_of_descriptors_is_reported),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
