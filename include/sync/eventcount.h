/*
 * eventcount.h - sleep until a condition that lock-free code keeps may have changed.
 *
 * Layer:   sync
 * Threads: any.
 * Errors:  eventcount_wait_until: -ETIMEDOUT.
 * Spec:    docs/concurrency.md, "Event count"; tests/models/notify.pml.
 *
 *	waiter:                               notifier:
 *	  while (!condition()) {                make condition() true
 *	    key = eventcount_prepare(e);        eventcount_notify(e)
 *	    if (condition()) {
 *	      eventcount_cancel(e);
 *	      break;
 *	    }
 *	    eventcount_wait(e, key);
 *	  }
 *
 * Together?  everything with everything: freely.
 * Order:     what preceded a notify is visible after the wait it ended; a condition made true
 *            before the notify is seen by the look after the prepare, or the wait does not sleep.
 * Progress:  notify: without waiters a fence and a load; prepare, cancel wait-free.
 * Lifetime:  nobody waits and all notifies have returned.
 */
#ifndef SYNC_EVENTCOUNT_H
#define SYNC_EVENTCOUNT_H
#include <stdatomic.h>
#include <stdint.h>
#include "base/compiler.h"

struct eventcount {
	_Atomic uint32_t epoch;   /* of the last notify that found waiters */
	_Atomic uint32_t waiters; /* prepared, not yet back */
} CACHE_ALIGNED;
static_assert(sizeof(struct eventcount) == CACHE_ALIGN, "an event count stands on its own unit");

void eventcount_init(struct eventcount *e);
/* Announce that we may sleep; ended by exactly one cancel or wait. */
MUST_CHECK uint32_t eventcount_prepare(struct eventcount *e);
void eventcount_cancel(struct eventcount *e);
/* Sleep unless there was a notify since @key was given. */
void eventcount_wait(struct eventcount *e, uint32_t key);
/* The same, 0, or -ETIMEDOUT when CLOCK_MONOTONIC reaches @deadline_ns. */
MUST_CHECK int eventcount_wait_until(struct eventcount *e, uint32_t key, uint64_t deadline_ns);
/* Wake all that prepared before. */
void eventcount_notify(struct eventcount *e);

#endif
