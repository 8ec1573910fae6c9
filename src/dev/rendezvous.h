/*
 * rendezvous.h - wait for a reactor's thread to have done with a device.
 *
 * Layer:   dev, private
 * Threads: rendezvous_wait() on any thread but the reactor's.
 * Errors:  none.
 * Spec:    poll(2).
 */
#ifndef DEV_RENDEZVOUS_H
#define DEV_RENDEZVOUS_H
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <time.h>
#include "base/clock.h"
#include "base/num.h"
#include "sync/notifier.h"

#define RENDEZVOUS_FOREVER UINT64_MAX

/* Wait until @n was signalled; false: @timeout_ns passed without. */
static inline bool rendezvous_wait(struct notifier *n, uint64_t timeout_ns)
{
	uint64_t start_ns = clock_ns();
	for (uint64_t passed = 0; !notifier_consume(n);) {
		if (passed >= timeout_ns)
			return false;
		uint64_t left = min_u64(timeout_ns - passed, NSEC_PER_SEC);
		struct timespec ts = { .tv_sec = (time_t)(left / NSEC_PER_SEC),
				       .tv_nsec = (long)(left % NSEC_PER_SEC) };
		(void)ppoll(&(struct pollfd){ .fd = n->fd, .events = POLLIN }, 1, &ts, NULL);
		passed = clock_ns() - start_ns; /* whatever ppoll() said, look again */
	}
	return true;
}

#endif
