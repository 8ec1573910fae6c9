/*
 * refcount.h - how many still use an object; on a unit of its own, away from what they use.
 *
 * Layer:   sync
 * Threads: any.
 * Errors:  none. More than REFCOUNT_MAX, or a put too many, is a mistake of ours.
 * Spec:    docs/concurrency.md, "Reference count".
 *
 * Together?  everything with everything: freely; get only by one who holds a reference.
 * Order:     all uses of the object happen before the refcount_put() that returns true returns.
 * Progress:  wait-free; get_unless_zero lock-free.
 * Lifetime:  ends with the put that returned true.
 */
#ifndef SYNC_REFCOUNT_H
#define SYNC_REFCOUNT_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"

#define REFCOUNT_MAX INT32_MAX

struct refcount {
	_Atomic uint32_t n;
} CACHE_ALIGNED;
static_assert(sizeof(struct refcount) == CACHE_ALIGN, "a count shares its unit with nothing");

/* One reference, the caller's. */
static inline void refcount_init(struct refcount *r)
{
	atomic_init(&r->n, 1);
}

static inline void refcount_get(struct refcount *r)
{
	/* relaxed: who hands the reference on orders it */
	uint32_t before = atomic_fetch_add_explicit(&r->n, 1, memory_order_relaxed);
	BUG_ON(before == 0 || before >= REFCOUNT_MAX);
}

/* For one who found the object without holding it (under RCU, say). False: it is on its way out. */
MUST_CHECK static inline bool refcount_get_unless_zero(struct refcount *r)
{
	uint32_t n = atomic_load_explicit(&r->n, memory_order_relaxed);
	do {
		if (!n)
			return false;
		BUG_ON(n >= REFCOUNT_MAX);
	} while (!atomic_compare_exchange_weak_explicit(&r->n, &n, n + 1, memory_order_acquire,
							memory_order_relaxed));
	return true;
}

/* True: that was the last one, the object is the caller's to free. */
MUST_CHECK static inline bool refcount_put(struct refcount *r)
{
	/* release: our uses come before the last put; acquire: the last put comes after all uses */
	uint32_t before = atomic_fetch_sub_explicit(&r->n, 1, memory_order_acq_rel);
	BUG_ON(before == 0);
	return before == 1;
}

#endif
