/*
 * mutex.h - exclusive and shared lock for control paths.
 *
 * Layer:   sync
 * Threads: any; not in signal handlers. No data-path code takes one.
 * Errors:  none. Unlocking what one does not hold is a mistake of ours.
 * Spec:    docs/concurrency.md, "Mutex"; tests/models/mutex.pml.
 *
 * Together?  lock excludes everything; lock_shared excludes lock only.
 * Order:     an unlock happens before every later lock that it let succeed.
 * Progress:  blocking. Not fair, but nobody starves: who was woken MUTEX_PATIENCE times in vain
 *            goes to the head of the queue and holds off all that come new.
 * Lifetime:  at mutex_fini() nobody holds it, waits for it, or is still inside an unlock: a holder
 *            may not free what the lock stands in unless it knows that the others have left.
 *
 * Not recursive; a thread that holds it shared must not take it shared again, since a writer that
 * waits holds off new readers.
 */
#ifndef SYNC_MUTEX_H
#define SYNC_MUTEX_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/list.h"
#include "sync/unit.h"

#define MUTEX_PATIENCE 19

#define MUTEX_LOCKED         0x01u  /* held exclusively */
#define MUTEX_HAS_WAITERS    0x02u  /* the queue is not empty */
#define MUTEX_WAKING         0x04u  /* one that was woken has not run yet: wake no more */
#define MUTEX_SPIN           0x08u  /* the queue is being changed */
#define MUTEX_WRITER_WAITING 0x10u  /* one is in the queue: no new readers */
#define MUTEX_LONG_WAIT      0x20u  /* one lost its patience: nobody new at all */
#define MUTEX_READER         0x100u /* unit of the count of shared holders */

struct mutex_state {
	_Atomic uint32_t bits;
	uint32_t nr_writers; /* in the queue; under MUTEX_SPIN */
	struct list queue;   /* under MUTEX_SPIN */
};

struct CAPABILITY("mutex") mutex {
	struct mutex_state s;
} CACHE_ALIGNED;
SYNC_UNIT_ASSERT(mutex);

void mutex_init(struct mutex *m);
void mutex_fini(struct mutex *m);

/* When the short way does not do it. @deadline_ns: CLOCK_MONOTONIC, UINT64_MAX for ever. */
bool mutex_lock_slow(struct mutex *m, bool is_shared, uint64_t deadline_ns);
void mutex_unlock_slow(struct mutex *m);
void mutex_unlock_shared_slow(struct mutex *m, uint32_t before);

/* True: locked. */
static inline bool mutex_try_lock(struct mutex *m) TRY_ACQUIRES(true, m) NO_THREAD_SAFETY
{
	uint32_t idle = 0;
	/* acquire: pairs with the release of the unlock, here and wherever a lock is taken */
	return atomic_compare_exchange_strong_explicit(&m->s.bits, &idle, MUTEX_LOCKED,
						       memory_order_acquire, memory_order_relaxed);
}

/* True: locked shared. */
static inline bool mutex_try_lock_shared(struct mutex *m)
	TRY_ACQUIRES_SHARED(true, m) NO_THREAD_SAFETY
{
	uint32_t old = atomic_load_explicit(&m->s.bits, memory_order_relaxed);
	while (!(old & (MUTEX_LOCKED | MUTEX_WRITER_WAITING | MUTEX_LONG_WAIT)))
		if (atomic_compare_exchange_weak_explicit(&m->s.bits, &old, old + MUTEX_READER,
							  memory_order_acquire,
							  memory_order_relaxed))
			return true;
	return false;
}

static inline void mutex_lock(struct mutex *m) ACQUIRES(m) NO_THREAD_SAFETY
{
	if (unlikely(!mutex_try_lock(m)))
		(void)mutex_lock_slow(m, false, UINT64_MAX); /* without deadline it succeeds */
}

static inline void mutex_lock_shared(struct mutex *m) ACQUIRES_SHARED(m) NO_THREAD_SAFETY
{
	if (unlikely(!mutex_try_lock_shared(m)))
		(void)mutex_lock_slow(m, true, UINT64_MAX);
}

/* True: locked before CLOCK_MONOTONIC reached @deadline_ns. */
static inline bool mutex_lock_until(struct mutex *m, uint64_t deadline_ns)
	TRY_ACQUIRES(true, m) NO_THREAD_SAFETY
{
	return mutex_try_lock(m) || mutex_lock_slow(m, false, deadline_ns);
}

static inline bool mutex_lock_shared_until(struct mutex *m, uint64_t deadline_ns)
	TRY_ACQUIRES_SHARED(true, m) NO_THREAD_SAFETY
{
	return mutex_try_lock_shared(m) || mutex_lock_slow(m, true, deadline_ns);
}

static inline void mutex_unlock(struct mutex *m) RELEASES(m) NO_THREAD_SAFETY
{
	uint32_t held = MUTEX_LOCKED;
	/* release: what we did under the lock is visible to the next holder */
	if (unlikely(!atomic_compare_exchange_strong_explicit(
		    &m->s.bits, &held, 0, memory_order_release, memory_order_relaxed)))
		mutex_unlock_slow(m);
}

static inline void mutex_unlock_shared(struct mutex *m) RELEASES_SHARED(m) NO_THREAD_SAFETY
{
	/* release: what we read under the lock was read before the next writer writes */
	uint32_t before = atomic_fetch_sub_explicit(&m->s.bits, MUTEX_READER, memory_order_release);
	if (unlikely((before & 0xffu) || before < MUTEX_READER))
		mutex_unlock_shared_slow(m, before);
}

#endif
