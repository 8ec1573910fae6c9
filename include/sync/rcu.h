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
#define URCU_INLINE_SMALL_FUNCTIONS
#include <urcu/urcu-memb.h>
#include "base/compiler.h"

/* Register, deregister the calling thread; nests not. */
void rcu_enter_thread(void);
void rcu_leave_thread(void);

static inline void rcu_lock(void)
{
	urcu_memb_read_lock();
}

static inline void rcu_unlock(void)
{
	urcu_memb_read_unlock();
}

#define rcu_deref(p)      __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define rcu_publish(p, v) __atomic_store_n(&(p), (v), __ATOMIC_RELEASE)

/* Wait until every reader that was inside a section has left it. */
void rcu_synchronize(void);

/* Call fn(arg) after a grace period, on a thread of the module's own. */
void rcu_defer(void (*fn)(void *), void *arg);

/* Wait until everything deferred so far has run (teardown, tests). */
void rcu_drain(void);

#endif
