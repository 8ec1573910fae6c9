/*
 * threads.h - for tests of what threads share: run a function on several, watch the clock.
 *
 * Layer:   tests
 * Threads: the test's; the function runs on the new ones.
 * Errors:  asserted.
 * Spec:    none.
 */
#ifndef TESTS_SUPPORT_THREADS_H
#define TESTS_SUPPORT_THREADS_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <time.h>
#include "sync/thread.h"

#define MS 1000000ull

static UNUSED uint64_t now_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static UNUSED void sleep_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };
	nanosleep(&ts, NULL);
}

static UNUSED struct thread *start(void (*fn)(void *), void *arg)
{
	struct thread_attr attr = { .name = "test" };
	struct thread *t;
	assert_int_equal(thread_create(&t, &attr, fn, arg), 0);
	return t;
}

/* Run fn(arg) on @nr threads (at most 16) and wait for all. */
static UNUSED void run_on(unsigned nr, void (*fn)(void *), void *arg)
{
	struct thread *t[16];
	assert_true(nr <= 16);
	for (unsigned i = 0; i < nr; i++)
		t[i] = start(fn, arg);
	for (unsigned i = 0; i < nr; i++)
		thread_join(t[i]);
}

#endif
