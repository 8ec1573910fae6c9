/*
 * spinlock.h - exclusion for a few instructions.
 *
 * Layer:   sync
 * Threads: any; the holder does not sleep, and makes no system call.
 * Errors:  none.
 * Spec:    docs/concurrency.md, "Spin lock".
 *
 * Together?  holders exclude each other.
 * Order:     an unlock happens before the next lock.
 * Progress:  blocking, unfair. A waiter gives its CPU away once the holder has surely lost its.
 * Lifetime:  nobody holds it or waits for it at the end; nothing to release.
 */
#ifndef SYNC_SPINLOCK_H
#define SYNC_SPINLOCK_H
#include <stdatomic.h>
#include <stdbool.h>
#include "base/compiler.h"
#include "sync/unit.h"

struct spinlock_state {
	_Atomic bool is_held;
};

struct CAPABILITY("spinlock") spinlock {
	struct spinlock_state s;
} CACHE_ALIGNED;
SYNC_UNIT_ASSERT(spinlock);

static inline void spinlock_init(struct spinlock *l)
{
	atomic_init(&l->s.is_held, false);
}

/* Wait until it is free and take it. */
void spinlock_lock_slow(struct spinlock *l);

/* True: locked. */
static inline bool spinlock_try_lock(struct spinlock *l) TRY_ACQUIRES(true, l) NO_THREAD_SAFETY
{
	/* acquire: pairs with the release in spinlock_unlock() */
	return !atomic_exchange_explicit(&l->s.is_held, true, memory_order_acquire);
}

static inline void spinlock_lock(struct spinlock *l) ACQUIRES(l) NO_THREAD_SAFETY
{
	if (unlikely(!spinlock_try_lock(l)))
		spinlock_lock_slow(l);
}

static inline void spinlock_unlock(struct spinlock *l) RELEASES(l) NO_THREAD_SAFETY
{
	atomic_store_explicit(&l->s.is_held, false, memory_order_release);
}

#endif
