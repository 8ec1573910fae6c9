/*
 * bench_sync_queue.c - nanoseconds for an item to go through a queue of sync/.
 *
 * "alone": one thread pushes and pops in turn, which shows the instructions. "across": the first
 * half of the threads push, the others pop, which shows the lines that move between CPUs; who finds
 * the queue full or empty pauses, and soon yields. It would disprove the claim that an item costs
 * less than two uncontended mutex sections.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "bench/cases.h"
#include "sync/mpmc.h"
#include "sync/mpsc.h"
#include "sync/spsc.h"

#define CAPACITY      1024u
#define NODES         1024u /* of each producer of the mpsc */
#define MAX_PRODUCERS 3u

struct node {
	struct mpsc_node link;
	atomic_bool is_out;
};

struct bench_sync_queue {
	struct spsc *spsc;
	struct mpmc *mpmc;
	struct mpsc mpsc;
	unsigned nr_producers; /* across; the others consume */
	struct node nodes[MAX_PRODUCERS][NODES];
};

static int setup(void **out, int64_t producers)
{
	struct bench_sync_queue *b = aligned_alloc(CACHE_ALIGN, sizeof(*b));
	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	b->nr_producers = (unsigned)producers;
	mpsc_init(&b->mpsc);
	*out = b;
	int err = spsc_create(&b->spsc, CAPACITY);
	return err ? err : mpmc_create(&b->mpmc, CAPACITY);
}

static void teardown(void *ctx)
{
	struct bench_sync_queue *b = ctx;
	spsc_destroy(b->spsc);
	mpmc_destroy(b->mpmc);
	free(b);
}

/* The other side has to do something first, and may be off its CPU. */
static void relax(unsigned *round)
{
	if (++*round % 64)
		cpu_relax();
	else
		(void)sched_yield();
}

/* --- alone --- */

static void run_spsc_alone(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_sync_queue *b = ctx;
	(void)thread;
	for (uint64_t i = 0; i < n; i++) {
		BUG_ON(!spsc_push(b->spsc, b));
		BUG_ON(!spsc_pop(b->spsc));
	}
}

static void run_mpmc_alone(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_sync_queue *b = ctx;
	(void)thread;
	for (uint64_t i = 0; i < n; i++) {
		BUG_ON(!mpmc_push(b->mpmc, b));
		BUG_ON(!mpmc_pop(b->mpmc));
	}
}

static void run_mpsc_alone(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_sync_queue *b = ctx;
	(void)thread;
	for (uint64_t i = 0; i < n; i++) {
		mpsc_push(&b->mpsc, &b->nodes[0][i % NODES].link);
		BUG_ON(!mpsc_pop(&b->mpsc));
	}
}

/* --- across --- */

static void run_spsc(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_sync_queue *b = ctx;
	unsigned round = 0;
	for (uint64_t i = 0; i < n; i++)
		while (thread ? !spsc_pop(b->spsc) : !spsc_push(b->spsc, b))
			relax(&round);
}

static void run_mpmc(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_sync_queue *b = ctx;
	unsigned round = 0;
	for (uint64_t i = 0; i < n; i++)
		while (thread < b->nr_producers ? !mpmc_push(b->mpmc, b) : !mpmc_pop(b->mpmc))
			relax(&round);
}

static void mpsc_produce(struct bench_sync_queue *b, struct node *nodes, uint64_t n)
{
	unsigned round = 0;
	for (uint64_t i = 0; i < n; i++) {
		struct node *x = &nodes[i % NODES];
		while (atomic_load_explicit(&x->is_out, memory_order_acquire))
			relax(&round);
		atomic_store_explicit(&x->is_out, true, memory_order_relaxed);
		mpsc_push(&b->mpsc, &x->link);
	}
}

/* The last thread takes what all others push. */
static void run_mpsc(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_sync_queue *b = ctx;
	unsigned round = 0;
	if (thread < b->nr_producers) {
		mpsc_produce(b, b->nodes[thread], n);
		return;
	}
	for (uint64_t i = 0; i < n * b->nr_producers; i++) {
		struct mpsc_node *x;
		while (!(x = mpsc_pop(&b->mpsc)))
			relax(&round);
		atomic_store_explicit(&container_of(x, struct node, link)->is_out, false,
				      memory_order_release);
	}
}

#define CASE(ident, title, function, producers, threads)                                           \
	const struct bench_case bench_sync_queue_##ident = {                                       \
		.name = "sync/" title,                                                             \
		.setup = setup,                                                                    \
		.run = function,                                                                   \
		.teardown = teardown,                                                              \
		.args = { producers },                                                             \
		.min_threads = threads,                                                            \
		.max_threads = threads,                                                            \
	}

CASE(spsc_alone, "spsc alone, producers", run_spsc_alone, 1, 1);
CASE(mpsc_alone, "mpsc alone, producers", run_mpsc_alone, 1, 1);
CASE(mpmc_alone, "mpmc alone, producers", run_mpmc_alone, 1, 1);
CASE(spsc, "spsc across, producers", run_spsc, 1, 2);
CASE(mpsc_1, "mpsc across, producers", run_mpsc, 1, 2);
CASE(mpsc_3, "mpsc across, producers", run_mpsc, 3, 4);
CASE(mpmc_1, "mpmc across, producers", run_mpmc, 1, 2);
CASE(mpmc_2, "mpmc across, producers", run_mpmc, 2, 4);
