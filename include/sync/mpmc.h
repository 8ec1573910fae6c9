/*
 * mpmc.h - bounded queue of pointers, many producers, many consumers.
 *
 * Layer:   sync
 * Threads: any.
 * Errors:  mpmc_create: -ENOMEM, -EINVAL (capacity no power of two, or 1).
 * Spec:    docs/concurrency.md, "Queues"; tests/models/mpmc.pml.
 *
 * Together?  everything with everything: freely.
 * Order:     what preceded mpmc_push() is visible after the mpmc_pop() that returns the item; items
 *            of one producer come out in order.
 * Progress:  no locks, but a thread stopped in the middle of a push (pop) lets the queue look empty
 *            (full) to the others once they have come round to its place.
 * Lifetime:  all threads have left before mpmc_destroy().
 */
#ifndef SYNC_MPMC_H
#define SYNC_MPMC_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

struct mpmc_cell;

struct mpmc {
	/* immutable after create */
	struct mpmc_cell *cells;
	uint32_t mask;
	/* producers */
	_Atomic uint32_t tail CACHE_ALIGNED;
	/* consumers */
	_Atomic uint32_t head CACHE_ALIGNED;
};
static_assert(offsetof(struct mpmc, tail) == CACHE_ALIGN &&
		      offsetof(struct mpmc, head) == 2 * CACHE_ALIGN,
	      "producers and consumers have a unit each");

/* @capacity: a power of two, 2 or more. */
MUST_CHECK int mpmc_create(struct mpmc **out, uint32_t capacity);
void mpmc_destroy(struct mpmc *q);
/* False: full. @item is not NULL. */
MUST_CHECK bool mpmc_push(struct mpmc *q, void *item);
/* An item, or NULL. */
void *mpmc_pop(struct mpmc *q);

#endif
