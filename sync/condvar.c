/* condvar.c - see sync/condvar.h. */
#include "sync/condvar.h"
#include <errno.h>
#include "waiter_priv.h"

#define CONDVAR_SPIN        1u
#define CONDVAR_HAS_WAITERS 2u

static_assert(sizeof(struct condvar) == CACHE_ALIGN, "a condition variable stands on its own unit");

void condvar_init(struct condvar *c)
{
	atomic_init(&c->bits, 0);
	list_init(&c->queue);
	c->mutex = NULL;
}

void condvar_fini(struct condvar *c)
{
	BUG_ON(atomic_load_explicit(&c->bits, memory_order_relaxed));
}

static void condvar_open_queue(struct condvar *c)
{
	/* acquire: pairs with the release in condvar_close_queue() */
	for (unsigned round = 0;
	     atomic_fetch_or_explicit(&c->bits, CONDVAR_SPIN, memory_order_acquire) & CONDVAR_SPIN;)
		futex_relax(round++);
}

static void condvar_close_queue(struct condvar *c)
{
	atomic_store_explicit(&c->bits, list_is_empty(&c->queue) ? 0 : CONDVAR_HAS_WAITERS,
			      memory_order_release);
}

static void condvar_enqueue(struct condvar *c, struct mutex *m, struct waiter *w)
{
	condvar_open_queue(c);
	BUG_ON(!list_is_empty(&c->queue) && c->mutex != m);
	c->mutex = m;
	waiter_ready(w);
	list_push_back(&c->queue, &w->link);
	condvar_close_queue(c);
}

/* The deadline passed: off the queue, unless a signal was faster, which then counts. */
static bool condvar_leave(struct condvar *c, struct waiter *w)
{
	condvar_open_queue(c);
	bool was_queued = w->is_queued;
	if (was_queued)
		list_remove(&w->link);
	condvar_close_queue(c);
	if (!was_queued)
		(void)waiter_sleep(w, FUTEX_FOREVER); /* its waker still writes to @w */
	return was_queued;
}

static int condvar_sleep(struct condvar *c, struct waiter *w, uint64_t deadline_ns)
{
	if (waiter_sleep(w, deadline_ns))
		return 0;
	return condvar_leave(c, w) ? -ETIMEDOUT : 0;
}

int condvar_wait_until(struct condvar *c, struct mutex *m, uint64_t deadline_ns)
{
	struct waiter w = { .is_shared = false };
	condvar_enqueue(c, m, &w); /* before the unlock: no signal in between is missed */
	mutex_unlock(m);
	int err = condvar_sleep(c, &w, deadline_ns);
	mutex_lock(m);
	return err;
}

int condvar_wait_shared_until(struct condvar *c, struct mutex *m, uint64_t deadline_ns)
{
	struct waiter w = { .is_shared = true };
	condvar_enqueue(c, m, &w);
	mutex_unlock_shared(m);
	int err = condvar_sleep(c, &w, deadline_ns);
	mutex_lock_shared(m);
	return err;
}

void condvar_wait(struct condvar *c, struct mutex *m)
{
	int err = condvar_wait_until(c, m, FUTEX_FOREVER);
	BUG_ON(err); /* no deadline, no time-out */
}

void condvar_wait_shared(struct condvar *c, struct mutex *m)
{
	int err = condvar_wait_shared_until(c, m, FUTEX_FOREVER);
	BUG_ON(err);
}

/* Does the signal take @w along? */
static bool condvar_picks(const struct waiter *w, bool is_all, bool is_shared, bool *has_writer)
{
	if (is_all || (is_shared && w->is_shared))
		return true;
	if (w->is_shared || *has_writer)
		return false;
	*has_writer = true;
	return true;
}

static void condvar_wake(struct condvar *c, bool is_all)
{
	/* relaxed: who waits enqueued itself under the mutex, before we changed the world */
	if (!(atomic_load_explicit(&c->bits, memory_order_relaxed)))
		return;
	struct list woken;
	list_init(&woken);
	condvar_open_queue(c);
	bool is_shared = !list_is_empty(&c->queue) && waiter_of(c->queue.next)->is_shared;
	bool has_writer = false;
	list_for_each_safe (l, &c->queue) {
		struct waiter *w = waiter_of(l);
		if (!condvar_picks(w, is_all, is_shared, &has_writer))
			continue;
		w->is_queued = false;
		list_remove(l);
		list_push_back(&woken, l);
	}
	condvar_close_queue(c);
	waiter_wake_all(&woken);
}

void condvar_signal(struct condvar *c)
{
	condvar_wake(c, false);
}

void condvar_broadcast(struct condvar *c)
{
	condvar_wake(c, true);
}
