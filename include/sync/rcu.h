/*
 * rcu.h - read-copy-update over liburcu (memb flavour): readers never wait, writers publish copies.
 *
 * Layer:   sync
 * Threads: readers are registered threads (thread_create() does it; main calls
 *          rcu_enter_thread()). rcu_synchronize() never inside a read section and never on a vCPU
 *          thread; rcu_defer() from any registered thread.
 * Errors:  none.
 * Spec:    docs/concurrency.md, "RCU".
 *
 * Together?  everything with everything: freely. Writers of one pointer exclude each other.
 * Order:     what preceded rcu_publish() is visible through the rcu_deref() that sees the pointer.
 * Progress:  read side wait-free, no shared line written.
 * Lifetime:  a reader may use what it dereferenced until its rcu_read_unlock().
 */
#ifndef SYNC_RCU_H
#define SYNC_RCU_H
#include "base/compiler.h"
/*
 * liburcu offers its read side as inline functions to code whose licence is compatible with the
 * (L)GPL, as ours (BSD) is; called through the library a section costs ten times as much. They are
 * small, and LGPL 2.1 §5 leaves those who use small ones their own licence. TSan gets the calls: it
 * would take liburcu's own flags for races.
 */
#if !defined(COMPILER_TSAN) && !defined(_LGPL_SOURCE)
#define _LGPL_SOURCE
#endif
#include <urcu/urcu-memb.h>

/* TSan does not see into liburcu: tell it that a grace period follows the sections it waited for.
 */
#ifdef COMPILER_TSAN
#include <sanitizer/tsan_interface.h>
extern char rcu_tsan_grace;
#define RCU_TSAN_ACQUIRE(p) __tsan_acquire(p)
#define RCU_TSAN_RELEASE(p) __tsan_release(p)
#else
#define RCU_TSAN_ACQUIRE(p) ((void)0)
#define RCU_TSAN_RELEASE(p) ((void)0)
#endif

/* Register, deregister the calling thread; nests not. */
void rcu_enter_thread(void);
void rcu_leave_thread(void);

static inline void rcu_lock(void)
{
	urcu_memb_read_lock();
}

static inline void rcu_unlock(void)
{
	RCU_TSAN_RELEASE(&rcu_tsan_grace);
	urcu_memb_read_unlock();
}

#define rcu_deref(p)      __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define rcu_publish(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)

/* Wait until every reader that was inside a section has left it. */
void rcu_synchronize(void);

/* Embedded in what is freed later: deferring needs no memory, so it cannot fail on a reader. */
struct rcu_deferred {
	struct rcu_deferred *next;
	void (*fn)(struct rcu_deferred *d);
};

/*
 * Call fn(d) after a grace period, on a thread of the module's own; @d is its until then. On a host
 * that has no thread to give it stays until one has come, or rcu_drain().
 */
void rcu_defer(struct rcu_deferred *d, void (*fn)(struct rcu_deferred *d));

/* Wait until everything deferred so far has run (teardown, tests). */
void rcu_drain(void);

#endif
