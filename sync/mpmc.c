/*
 * mpmc.c - see sync/mpmc.h. Each cell carries the number of the turn it is ready for: n for the
 * push that takes ticket n, n + 1 for the pop with that ticket, n + capacity for the next push.
 */
#include "sync/mpmc.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"

#define MPMC_MAX (1u << 30)

struct mpmc_cell {
	_Atomic uint32_t turn;
	void *item; /* of whoever has the turn */
};

int mpmc_create(struct mpmc **out, uint32_t capacity)
{
	if (!is_pow2(capacity) || capacity < 2 || capacity > MPMC_MAX)
		return -EINVAL; /* with one cell, "popped" and "pushed" would be the same turn */
	struct mpmc *q = aligned_alloc(CACHE_ALIGN, sizeof(*q));
	struct mpmc_cell *cells = calloc(capacity, sizeof(*cells));
	if (!q || !cells) {
		free(q);
		free(cells);
		return -ENOMEM;
	}
	memset(q, 0, sizeof(*q));
	for (uint32_t i = 0; i < capacity; i++)
		atomic_init(&cells[i].turn, i);
	q->cells = cells;
	q->mask = capacity - 1;
	*out = q;
	return 0;
}

void mpmc_destroy(struct mpmc *q)
{
	if (!q)
		return;
	free(q->cells);
	free(q);
}

/* Draw the next ticket of @counter whose cell has reached turn ticket + @offset; NULL: not yet. */
static struct mpmc_cell *mpmc_draw(struct mpmc *q, _Atomic uint32_t *counter, uint32_t offset,
				   uint32_t *ticket)
{
	uint32_t at = atomic_load_explicit(counter, memory_order_relaxed);
	for (;;) {
		struct mpmc_cell *c = &q->cells[at & q->mask];
		/* acquire: pairs with the release in push and pop, the cell is theirs no more */
		uint32_t turn = atomic_load_explicit(&c->turn, memory_order_acquire);
		int32_t ahead = (int32_t)(turn - (at + offset));
		if (ahead < 0)
			return NULL;
		if (ahead > 0) { /* somebody drew this ticket already */
			at = atomic_load_explicit(counter, memory_order_relaxed);
		} else if (atomic_compare_exchange_weak_explicit(counter, &at, at + 1,
								 memory_order_relaxed,
								 memory_order_relaxed)) {
			*ticket = at;
			return c;
		}
	}
}

bool mpmc_push(struct mpmc *q, void *item)
{
	uint32_t ticket;
	struct mpmc_cell *c = mpmc_draw(q, &q->tail, 0, &ticket);
	if (!c)
		return false;
	c->item = item;
	/* release: pairs with the acquire in mpmc_draw() of the pop */
	atomic_store_explicit(&c->turn, ticket + 1, memory_order_release);
	return true;
}

void *mpmc_pop(struct mpmc *q)
{
	uint32_t ticket;
	struct mpmc_cell *c = mpmc_draw(q, &q->head, 1, &ticket);
	if (!c)
		return NULL;
	void *item = c->item;
	/* release: pairs with the acquire in mpmc_draw() of the push one round later */
	atomic_store_explicit(&c->turn, ticket + q->mask + 1, memory_order_release);
	return item;
}
