/*
 * mpsc.c - see sync/mpsc.h. Nodes form a list from the oldest (tail) to the newest (head); the stub
 * stands in whenever the queue would be without a node, so that neither end is ever NULL.
 */
#include "sync/mpsc.h"

static_assert(offsetof(struct mpsc, tail) - offsetof(struct mpsc, head) >= CACHE_ALIGN,
	      "producers and consumer share no unit");

void mpsc_init(struct mpsc *q)
{
	atomic_init(&q->stub.next, NULL);
	atomic_init(&q->head, &q->stub);
	q->tail = &q->stub;
}

void mpsc_push(struct mpsc *q, struct mpsc_node *n)
{
	atomic_store_explicit(&n->next, NULL, memory_order_relaxed);
	/* acq_rel: release publishes n->next and the caller's data to the next producer's exchange,
	 * acquire sees that of the previous one; between the two steps the queue looks cut here */
	struct mpsc_node *prev = atomic_exchange_explicit(&q->head, n, memory_order_acq_rel);
	/* release: pairs with the acquire of next in mpsc_pop() */
	atomic_store_explicit(&prev->next, n, memory_order_release);
}

struct mpsc_node *mpsc_pop(struct mpsc *q)
{
	struct mpsc_node *tail = q->tail;
	/* acquire: pairs with the release in mpsc_push(); so do the two below */
	struct mpsc_node *next = atomic_load_explicit(&tail->next, memory_order_acquire);
	if (tail == &q->stub) {
		if (!next)
			return NULL;
		q->tail = tail = next;
		next = atomic_load_explicit(&tail->next, memory_order_acquire);
	}
	if (next) {
		q->tail = next;
		return tail;
	}
	if (tail != atomic_load_explicit(&q->head, memory_order_acquire))
		return NULL; /* a push is half done behind tail */
	mpsc_push(q, &q->stub);
	next = atomic_load_explicit(&tail->next, memory_order_acquire);
	if (!next)
		return NULL; /* another push got in between and is half done */
	q->tail = next;
	return tail;
}

bool mpsc_is_empty(const struct mpsc *q)
{
	return q->tail == &q->stub &&
	       atomic_load_explicit(&q->head, memory_order_acquire) == &q->stub;
}
