/*
 * waiter_priv.h - one thread in the queue of a mutex or a condition variable, on its own stack.
 *
 * Layer:   sync, private
 * Threads: the sleeper; whoever took the waiter off its queue.
 * Errors:  none.
 * Spec:    docs/concurrency.md, "Mutex".
 */
#ifndef SYNC_WAITER_PRIV_H
#define SYNC_WAITER_PRIV_H
#include "base/list.h"
#include "futex_priv.h"

struct waiter {
	struct list link; /* under the spin bit of the queue; then the waker's */
	bool is_queued;   /* under the spin bit */
	bool is_shared;   /* immutable while queued */
	_Atomic uint32_t is_woken;
};

#define waiter_of(l) container_of(l, struct waiter, link)

/* Before it is queued, under the spin bit. */
static inline void waiter_ready(struct waiter *w)
{
	atomic_store_explicit(&w->is_woken, 0, memory_order_relaxed);
	w->is_queued = true;
}

/* True: woken; false: @deadline_ns passed first. */
static inline bool waiter_sleep(struct waiter *w, uint64_t deadline_ns)
{
	/* acquire: pairs with the release in waiter_wake_all(), the waker is done with @w */
	while (!atomic_load_explicit(&w->is_woken, memory_order_acquire))
		if (futex_wait(&w->is_woken, 0, deadline_ns))
			return atomic_load_explicit(&w->is_woken, memory_order_acquire);
	return true;
}

/* Wake all on @woken, which are off every queue. Each is gone as soon as it is told. */
static inline void waiter_wake_all(struct list *woken)
{
	for (struct list *l; (l = list_pop_front(woken));) {
		struct waiter *w = waiter_of(l);
		/* release: pairs with the acquire in waiter_sleep() */
		atomic_store_explicit(&w->is_woken, 1, memory_order_release);
		futex_wake(&w->is_woken, 1);
	}
}

#endif
