/*
 * clock.h - the monotonic clock as a number.
 *
 * Layer:   base
 * Threads: no state; safe anywhere.
 * Errors:  none.
 * Spec:    clock_gettime(2), CLOCK_MONOTONIC.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H
#include <stdint.h>
#include <time.h>
#include "base/num.h"

static inline uint64_t timespec_ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * NSEC_PER_SEC + (uint64_t)ts->tv_nsec;
}

/* Nanoseconds since some moment in the past; no system call, some 20 ns. */
static inline uint64_t clock_ns(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail for this clock */
	return timespec_ns(&ts);
}

#endif
