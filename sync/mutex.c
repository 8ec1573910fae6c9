/*
 * mutex.c - see sync/mutex.h. Who cannot have the lock queues up and sleeps on a word of its own.
 * An unlock that finds waiters wakes one writer or all readers, which then compete with whoever is
 * running; until one of them has run, MUTEX_WAKING keeps further unlocks from waking more.
 */
#include "sync/mutex.h"
#include "futex_priv.h"
#include "waiter_priv.h"

#define MUTEX_READERS (~0xffu)

static const struct mutex_mode {
	uint32_t add;         /* to the bits, once it is ours */
	uint32_t blocked_by;  /* bits that keep a newcomer out */
	uint32_t when_queued; /* bits set along with queueing */
} mutex_modes[] = {
	[false] = { MUTEX_LOCKED, MUTEX_LOCKED | MUTEX_READERS | MUTEX_LONG_WAIT,
		    MUTEX_WRITER_WAITING },
	[true] = { MUTEX_READER, MUTEX_LOCKED | MUTEX_WRITER_WAITING | MUTEX_LONG_WAIT, 0 },
};

void mutex_init(struct mutex *m)
{
	atomic_init(&m->s.bits, 0);
	m->s.nr_writers = 0;
	list_init(&m->s.queue);
}

void mutex_fini(struct mutex *m)
{
	BUG_ON(atomic_load_explicit(&m->s.bits, memory_order_relaxed));
}

/* --- the queue --- */

/* Take MUTEX_SPIN, if the bits allow: @must all set, @must_not all clear. False: they do not. */
static bool mutex_open_queue(struct mutex *m, uint32_t must, uint32_t must_not, uint32_t set)
{
	uint32_t old = atomic_load_explicit(&m->s.bits, memory_order_relaxed);
	for (unsigned round = 0;;) {
		if ((old & must) != must || (old & must_not))
			return false;
		if (old & MUTEX_SPIN) {
			futex_relax(round++);
			old = atomic_load_explicit(&m->s.bits, memory_order_relaxed);
		} else if (atomic_compare_exchange_weak_explicit(
				   /* acquire: pairs with the release in mutex_close_queue() */
				   &m->s.bits, &old, old | MUTEX_SPIN | set, memory_order_acquire,
				   memory_order_relaxed)) {
			return true;
		}
	}
}

/* Bring the bits in line with the queue, drop @clear and MUTEX_SPIN. */
static void mutex_close_queue(struct mutex *m, uint32_t clear)
{
	clear |= MUTEX_SPIN;
	if (list_is_empty(&m->s.queue))
		clear |= MUTEX_HAS_WAITERS;
	if (!m->s.nr_writers)
		clear |= MUTEX_WRITER_WAITING;
	/* nothing here is ever set anew: who queues itself sets its own bits */
	atomic_fetch_and_explicit(&m->s.bits, ~clear, memory_order_release);
}

static void mutex_unqueue(struct mutex *m, struct waiter *w)
{
	list_remove(&w->link);
	w->is_queued = false;
	if (!w->is_shared)
		m->s.nr_writers--;
}

/* Can one who waits have it: is it free, or held by readers with only readers in the queue? */
static bool mutex_admits(uint32_t bits)
{
	if (!(bits & MUTEX_HAS_WAITERS) || (bits & MUTEX_LOCKED))
		return false;
	return !(bits & MUTEX_READERS) || !(bits & (MUTEX_WRITER_WAITING | MUTEX_LONG_WAIT));
}

/* Somebody waits and can have it: wake the first, and if it is a reader all readers. */
static NOINLINE void mutex_wake_next(struct mutex *m)
{
	if (!mutex_open_queue(m, MUTEX_HAS_WAITERS, MUTEX_WAKING, MUTEX_WAKING))
		return;
	struct list woken;
	list_init(&woken);
	struct waiter *first = waiter_of(m->s.queue.next);
	bool is_shared = first->is_shared;
	list_for_each_safe (l, &m->s.queue) {
		struct waiter *w = waiter_of(l);
		if (w != first && (!is_shared || !w->is_shared))
			continue;
		mutex_unqueue(m, w);
		list_push_back(&woken, &w->link);
		if (!is_shared)
			break;
	}
	mutex_close_queue(m, 0);
	waiter_wake_all(&woken);
}

/* --- lock --- */

/* One who gave up takes its marks back, and passes on a wake-up that it will not use. */
static void mutex_give_up(struct mutex *m, uint32_t clear)
{
	uint32_t old = atomic_fetch_and_explicit(&m->s.bits, ~clear, memory_order_relaxed);
	if (mutex_admits(old & ~clear))
		mutex_wake_next(m);
}

/* Sleep in the queue. True: woken (and off the queue); false: the deadline came first. */
static bool mutex_sleep(struct mutex *m, struct waiter *w, uint64_t deadline_ns, uint32_t marks)
{
	if (waiter_sleep(w, deadline_ns))
		return true;
	(void)mutex_open_queue(m, 0, 0, 0); /* without conditions it succeeds */
	bool was_queued = w->is_queued;
	if (was_queued)
		mutex_unqueue(m, w);
	mutex_close_queue(m, was_queued ? marks : 0);
	if (!was_queued) {
		(void)waiter_sleep(w, FUTEX_FOREVER); /* it is on its way, and writes to @w */
		return true;
	}
	mutex_give_up(m, 0); /* others may have been held off by us alone */
	return false;
}

struct mutex_try {
	const struct mutex_mode *mode;
	uint32_t blocked_by, clear; /* clear: marks that are ours to remove */
	unsigned wakes;
	struct waiter w;
};

/* Queue up if the bits are still @old and the queue can be opened. */
static bool mutex_enqueue(struct mutex *m, struct mutex_try *t, uint32_t old)
{
	bool is_long = t->wakes >= MUTEX_PATIENCE;
	uint32_t set = MUTEX_SPIN | MUTEX_HAS_WAITERS | t->mode->when_queued |
		       (is_long ? MUTEX_LONG_WAIT : 0);
	if ((old & MUTEX_SPIN) ||
	    !atomic_compare_exchange_weak_explicit(&m->s.bits, &old, (old & ~t->clear) | set,
						   /* acquire: as in mutex_open_queue() */
						   memory_order_acquire, memory_order_relaxed))
		return false;
	waiter_ready(&t->w);
	if (is_long)
		list_push_front(&m->s.queue, &t->w.link);
	else
		list_push_back(&m->s.queue, &t->w.link);
	if (!t->w.is_shared)
		m->s.nr_writers++;
	mutex_close_queue(m, 0);
	/* a woken one stands for all: readers in front of it count, writers in the queue do not */
	t->clear = MUTEX_WAKING | (is_long ? MUTEX_LONG_WAIT : 0);
	t->blocked_by &= ~(MUTEX_WRITER_WAITING | (is_long ? MUTEX_LONG_WAIT : 0));
	return true;
}

/* Take it if the bits are still @old. */
static bool mutex_take(struct mutex *m, const struct mutex_try *t, uint32_t old)
{
	uint32_t mine = (old + t->mode->add) & ~t->clear;
	if (!atomic_compare_exchange_weak_explicit(&m->s.bits, &old, mine, memory_order_acquire,
						   memory_order_relaxed))
		return false;
	if (mutex_admits(mine)) /* readers that came too late to be woken with us */
		mutex_wake_next(m);
	return true;
}

bool mutex_lock_slow(struct mutex *m, bool is_shared, uint64_t deadline_ns)
{
	struct mutex_try t = {
		.mode = &mutex_modes[is_shared],
		.blocked_by = mutex_modes[is_shared].blocked_by,
		.w.is_shared = is_shared,
	};
	for (unsigned round = 0;;) {
		uint32_t old = atomic_load_explicit(&m->s.bits, memory_order_relaxed);
		if (!(old & t.blocked_by)) {
			if (mutex_take(m, &t, old))
				return true;
		} else if (t.wakes && futex_is_late(deadline_ns)) {
			mutex_give_up(m, t.clear);
			return false;
		} else if (!mutex_enqueue(m, &t, old)) {
			futex_relax(round++);
		} else if (mutex_sleep(m, &t.w, deadline_ns, t.clear & MUTEX_LONG_WAIT)) {
			t.wakes++;
			round = 0;
		} else {
			return false;
		}
	}
}

/* --- unlock --- */

static void mutex_after_unlock(struct mutex *m, uint32_t before)
{
	if ((before & (MUTEX_HAS_WAITERS | MUTEX_WAKING)) == MUTEX_HAS_WAITERS)
		mutex_wake_next(m);
}

void mutex_unlock_slow(struct mutex *m)
{
	/* release: as in mutex_unlock() */
	uint32_t before = atomic_fetch_sub_explicit(&m->s.bits, MUTEX_LOCKED, memory_order_release);
	BUG_ON(!(before & MUTEX_LOCKED));
	mutex_after_unlock(m, before);
}

void mutex_unlock_shared_slow(struct mutex *m, uint32_t before)
{
	BUG_ON(before < MUTEX_READER);
	if ((before & MUTEX_READERS) == MUTEX_READER)
		mutex_after_unlock(m, before);
}
