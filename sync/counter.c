/* counter.c - see sync/counter.h. */
#include "sync/counter.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/num.h"

struct counter_shard {
	_Atomic int64_t n;
} CACHE_ALIGNED;
static_assert(sizeof(struct counter_shard) == CACHE_ALIGN, "a shard shares its unit with nothing");

struct counter {
	/* immutable after create */
	unsigned mask;
	struct counter_shard shards[];
};

/* Threads are dealt out to the shards in turn: cheaper than to ask for the CPU each time. */
static _Atomic unsigned counter_next;
static _Thread_local unsigned counter_mine; /* 0: not dealt yet */

int counter_create(struct counter **out)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	unsigned nr = 1;
	while (nr < 256 && (long)nr < cpus)
		nr *= 2;
	size_t bytes = sizeof(struct counter) + nr * sizeof(struct counter_shard);
	struct counter *c = aligned_alloc(CACHE_ALIGN, align_up(bytes, CACHE_ALIGN));
	if (!c)
		return -ENOMEM;
	c->mask = nr - 1;
	for (unsigned i = 0; i < nr; i++)
		atomic_init(&c->shards[i].n, 0);
	*out = c;
	return 0;
}

void counter_destroy(struct counter *c)
{
	free(c);
}

void counter_add(struct counter *c, int64_t n)
{
	if (unlikely(!counter_mine))
		counter_mine = atomic_fetch_add_explicit(&counter_next, 1, memory_order_relaxed) +
			       1;
	atomic_fetch_add_explicit(&c->shards[counter_mine & c->mask].n, n, memory_order_relaxed);
}

int64_t counter_sum(const struct counter *c)
{
	int64_t sum = 0;
	for (unsigned i = 0; i <= c->mask; i++)
		sum += atomic_load_explicit(&c->shards[i].n, memory_order_relaxed);
	return sum;
}
