/* eventcount.c - see sync/eventcount.h. */
#include "sync/eventcount.h"
#include <errno.h>
#include <limits.h>
#include "futex_priv.h"

void eventcount_init(struct eventcount *e)
{
	atomic_init(&e->epoch, 0);
	atomic_init(&e->waiters, 0);
}

uint32_t eventcount_prepare(struct eventcount *e)
{
	atomic_fetch_add_explicit(&e->waiters, 1, memory_order_relaxed);
	/* acquire: pairs with the release in eventcount_notify() */
	uint32_t key = atomic_load_explicit(&e->epoch, memory_order_acquire);
	/* pairs with the fence in eventcount_notify(): it sees us, or we see its condition */
	atomic_thread_fence(memory_order_seq_cst);
	return key;
}

void eventcount_cancel(struct eventcount *e)
{
	atomic_fetch_sub_explicit(&e->waiters, 1, memory_order_relaxed);
}

int eventcount_wait_until(struct eventcount *e, uint32_t key, uint64_t deadline_ns)
{
	int err = 0;
	/* acquire: pairs with the release in eventcount_notify() */
	while (!err && atomic_load_explicit(&e->epoch, memory_order_acquire) == key)
		err = futex_wait(&e->epoch, key, deadline_ns);
	if (err && atomic_load_explicit(&e->epoch, memory_order_acquire) != key)
		err = 0;
	eventcount_cancel(e);
	return err;
}

void eventcount_wait(struct eventcount *e, uint32_t key)
{
	int err = eventcount_wait_until(e, key, FUTEX_FOREVER);
	BUG_ON(err); /* no deadline, no time-out */
}

void eventcount_notify(struct eventcount *e)
{
	/* pairs with the fence in eventcount_prepare() */
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&e->waiters, memory_order_relaxed))
		return;
	/* release: pairs with the acquire of the epoch in eventcount_wait_until() */
	atomic_fetch_add_explicit(&e->epoch, 1, memory_order_release);
	futex_wake(&e->epoch, INT_MAX);
}
