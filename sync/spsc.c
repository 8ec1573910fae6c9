/* spsc.c - see sync/spsc.h. Head and tail count without wrapping to the ring's size. */
#include "sync/spsc.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

#define SPSC_MAX (1u << 30)

int spsc_create(struct spsc **out, uint32_t capacity)
{
	if (!is_pow2(capacity) || capacity > SPSC_MAX)
		return -EINVAL;
	struct spsc *q = aligned_alloc(CACHE_ALIGN, sizeof(*q));
	void **items = calloc(capacity, sizeof(void *));
	if (!q || !items) {
		free(q);
		free(items);
		return -ENOMEM;
	}
	memset(q, 0, sizeof(*q));
	q->items = items;
	q->mask = capacity - 1;
	*out = q;
	return 0;
}

void spsc_destroy(struct spsc *q)
{
	if (!q)
		return;
	free(q->items);
	free(q);
}

bool spsc_push(struct spsc *q, void *item)
{
	uint32_t tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	if (tail - q->head_seen > q->mask) {
		/* acquire: pairs with the release in spsc_pop(), the place has been read */
		q->head_seen = atomic_load_explicit(&q->head, memory_order_acquire);
		if (tail - q->head_seen > q->mask)
			return false;
	}
	q->items[tail & q->mask] = item;
	/* release: pairs with the acquire in spsc_pop() */
	atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
	return true;
}

void *spsc_pop(struct spsc *q)
{
	uint32_t head = atomic_load_explicit(&q->head, memory_order_relaxed);
	if (head == q->tail_seen) {
		/* acquire: pairs with the release in spsc_push(), the item is written */
		q->tail_seen = atomic_load_explicit(&q->tail, memory_order_acquire);
		if (head == q->tail_seen)
			return NULL;
	}
	void *item = q->items[head & q->mask];
	/* release: pairs with the acquire in spsc_push() */
	atomic_store_explicit(&q->head, head + 1, memory_order_release);
	return item;
}

uint32_t spsc_len(const struct spsc *q)
{
	/* acquire: the head is looked at first, so the tail is not behind it */
	uint32_t head = atomic_load_explicit(&q->head, memory_order_acquire);
	uint32_t len = atomic_load_explicit(&q->tail, memory_order_relaxed) - head;
	return min_u32(len, q->mask + 1); /* pops between the two looks let it look longer */
}
