/*
 * mpsc.h - unbounded intrusive queue, many producers, one consumer.
 *
 * Layer:   sync
 * Threads: mpsc_push from any; mpsc_pop from the one consumer.
 * Errors:  none: nodes are the caller's, so a push cannot fail.
 * Spec:    docs/concurrency.md, "Queues".
 *
 * Together?  push  pop              X: never at once    -: freely
 *     push    -     -
 *     pop     -     X
 * Order:     what preceded mpsc_push() is visible after the mpsc_pop() that returns the node;
 *            nodes of one producer come out in order.
 * Progress:  push wait-free; pop lock-free, may answer "empty" while a push is half done, and the
 *            producer's wake-up that follows its push then brings the consumer back.
 *            A node of another producer behind it waits as long.
 * Lifetime:  producers have left before mpsc_fini() of the consumer's memory.
 */
#ifndef SYNC_MPSC_H
#define SYNC_MPSC_H
#include <stdatomic.h>
#include "base/compiler.h"

struct mpsc_node {
	_Atomic(struct mpsc_node *) next;
};

struct mpsc {
	_Atomic(struct mpsc_node *) head CACHE_ALIGNED; /* producers */
	struct mpsc_node *tail CACHE_ALIGNED;           /* consumer */
	struct mpsc_node stub;
};

void mpsc_init(struct mpsc *q);
void mpsc_push(struct mpsc *q, struct mpsc_node *n);
struct mpsc_node *mpsc_pop(struct mpsc *q);
/* Consumer. True: all that was pushed came out, and no push is half done. */
bool mpsc_is_empty(const struct mpsc *q);

#endif
