/*
 * spsc.h - bounded queue of pointers, one producer, one consumer.
 *
 * Layer:   sync
 * Threads: spsc_push from the one producer, spsc_pop from the one consumer, spsc_len from any.
 * Errors:  spsc_create: -ENOMEM, -EINVAL (capacity no power of two).
 * Spec:    docs/concurrency.md, "Queues"; tests/models/spsc.pml.
 *
 * Together?  push  pop  len        X: never at once    -: freely
 *     push    X     -    -
 *     pop     -     X    -
 *     len     -     -    -
 * Order:     what preceded spsc_push() is visible after the spsc_pop() that returns the item.
 * Progress:  wait-free on both sides.
 * Lifetime:  both threads have left before spsc_destroy().
 */
#ifndef SYNC_SPSC_H
#define SYNC_SPSC_H
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include "base/compiler.h"

struct spsc {
	/* immutable after create */
	void **items;
	uint32_t mask;
	/* producer */
	_Atomic uint32_t tail CACHE_ALIGNED;
	uint32_t head_seen; /* as the producer last saw it: asks only when that says full */
	/* consumer */
	_Atomic uint32_t head CACHE_ALIGNED;
	uint32_t tail_seen;
};
static_assert(offsetof(struct spsc, tail) == CACHE_ALIGN &&
		      offsetof(struct spsc, head) == 2 * CACHE_ALIGN,
	      "each side has a unit of its own");

/* @capacity: a power of two. */
MUST_CHECK int spsc_create(struct spsc **out, uint32_t capacity);
void spsc_destroy(struct spsc *q);
/* False: full. @item is not NULL. */
MUST_CHECK bool spsc_push(struct spsc *q, void *item);
/* The oldest item, or NULL. */
void *spsc_pop(struct spsc *q);
/* A count that was true at some moment. */
uint32_t spsc_len(const struct spsc *q);

#endif
