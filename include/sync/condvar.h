/*
 * condvar.h - sleep with a mutex released until somebody says that the world changed.
 *
 * Layer:   sync
 * Threads: any. All that wait at one time use the same mutex.
 * Errors:  the timed waits return -ETIMEDOUT.
 * Spec:    docs/concurrency.md, "Condition variable".
 *
 * Together?  everything with everything: freely.
 * Order:     what preceded condvar_signal() under the mutex is visible after the wait it ends.
 * Progress:  wait: blocking; may also end for no reason, so it stands in a loop. signal: never
 *            blocks for longer than another signal or the start of a wait.
 * Lifetime:  nobody waits at condvar_fini(), and all signals have returned.
 */
#ifndef SYNC_CONDVAR_H
#define SYNC_CONDVAR_H
#include "base/compiler.h"
#include "sync/mutex.h"

struct condvar {
	_Atomic uint32_t bits; /* CONDVAR_* in condvar.c */
	struct list queue;     /* under its spin bit */
	struct mutex *mutex;   /* of those in the queue; under the spin bit */
} CACHE_ALIGNED;

void condvar_init(struct condvar *c);
void condvar_fini(struct condvar *c);

/* Release @m, sleep, take it again; @m is held exclusively (shared), and is again on return. */
void condvar_wait(struct condvar *c, struct mutex *m) MUST_HOLD(m);
void condvar_wait_shared(struct condvar *c, struct mutex *m) MUST_HOLD_SHARED(m);
/* The same, until CLOCK_MONOTONIC reaches @deadline_ns: 0 or -ETIMEDOUT. */
MUST_CHECK int condvar_wait_until(struct condvar *c, struct mutex *m, uint64_t deadline_ns)
	MUST_HOLD(m);
MUST_CHECK int condvar_wait_shared_until(struct condvar *c, struct mutex *m, uint64_t deadline_ns)
	MUST_HOLD_SHARED(m);

/* Wake one that waits; if the first waits shared, all that do, and one that does not. */
void condvar_signal(struct condvar *c);
/* Wake all that wait. */
void condvar_broadcast(struct condvar *c);

#endif
