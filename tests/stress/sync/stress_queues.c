/*
 * stress_queues.c - the queues with consumers that sleep when they are empty (and producers when
 * they are full): what is in a queue must arrive once, and nobody may sleep through it.
 */
#include <stdio.h>
#include <stdlib.h>
#include "support/threads.h"
#include "sync/eventcount.h"
#include "sync/mpmc.h"
#include "sync/mpsc.h"
#include "sync/spsc.h"

#define STRESS_NS (1500 * MS)
#define SIDES     3
#define P(n)      ((void *)(uintptr_t)(n))
#define LAST      1 /* an item that ends its consumer; the others are larger */

struct post {
	struct mpsc_node node;
	uint64_t value;
};

struct line {
	bool (*push)(struct line *l, uint64_t value);
	uint64_t (*pop)(struct line *l);
	struct spsc *spsc;
	struct mpmc *mpmc;
	struct mpsc mpsc;
	struct eventcount filled, drained;
	uint64_t end_ns;
	_Atomic uint64_t pushed_sum, popped_sum, pushed;
};

static void put(struct line *l, uint64_t value)
{
	while (!l->push(l, value)) {
		uint32_t key = eventcount_prepare(&l->drained);
		if (l->push(l, value)) {
			eventcount_cancel(&l->drained);
			break;
		}
		eventcount_wait(&l->drained, key);
	}
	eventcount_notify(&l->filled);
}

static uint64_t get(struct line *l)
{
	uint64_t value;
	while (!(value = l->pop(l))) {
		uint32_t key = eventcount_prepare(&l->filled);
		value = l->pop(l);
		if (value) {
			eventcount_cancel(&l->filled);
			break;
		}
		eventcount_wait(&l->filled, key);
	}
	eventcount_notify(&l->drained);
	return value;
}

static void produce(void *arg)
{
	struct line *l = arg;
	uint64_t sum = 0, n = 0;
	for (; now_ns() < l->end_ns; n++) {
		put(l, LAST + 1 + n);
		sum += LAST + 1 + n;
		if (n % 1000 == 999)
			sleep_ms(1); /* so that the others do fall asleep */
	}
	atomic_fetch_add(&l->pushed_sum, sum);
	atomic_fetch_add(&l->pushed, n);
}

static void consume(void *arg)
{
	struct line *l = arg;
	uint64_t sum = 0, value;
	while ((value = get(l)) != LAST)
		sum += value;
	atomic_fetch_add(&l->popped_sum, sum);
}

static void run_line(struct line *l, unsigned producers, unsigned consumers)
{
	struct thread *in[SIDES], *out[SIDES];
	eventcount_init(&l->filled);
	eventcount_init(&l->drained);
	l->end_ns = now_ns() + STRESS_NS;
	for (unsigned i = 0; i < consumers; i++)
		out[i] = start(consume, l);
	for (unsigned i = 0; i < producers; i++)
		in[i] = start(produce, l);
	for (unsigned i = 0; i < producers; i++)
		thread_join(in[i]);
	for (unsigned i = 0; i < consumers; i++)
		put(l, LAST);
	for (unsigned i = 0; i < consumers; i++)
		thread_join(out[i]);
	assert_int_equal(l->popped_sum, l->pushed_sum);
	printf("%lu items\n", l->pushed);
}

static bool push_spsc(struct line *l, uint64_t value)
{
	return spsc_push(l->spsc, P(value));
}

static uint64_t pop_spsc(struct line *l)
{
	return (uintptr_t)spsc_pop(l->spsc);
}

static void one_to_one(void **state)
{
	(void)state;
	static struct line l = { .push = push_spsc, .pop = pop_spsc };
	assert_int_equal(spsc_create(&l.spsc, 4), 0);
	run_line(&l, 1, 1);
	spsc_destroy(l.spsc);
}

static bool push_mpmc(struct line *l, uint64_t value)
{
	return mpmc_push(l->mpmc, P(value));
}

static uint64_t pop_mpmc(struct line *l)
{
	return (uintptr_t)mpmc_pop(l->mpmc);
}

static void many_to_many(void **state)
{
	(void)state;
	static struct line l = { .push = push_mpmc, .pop = pop_mpmc };
	assert_int_equal(mpmc_create(&l.mpmc, 4), 0);
	run_line(&l, SIDES, SIDES);
	mpmc_destroy(l.mpmc);
}

static bool push_mpsc(struct line *l, uint64_t value)
{
	struct post *p = malloc(sizeof(*p));
	p->value = value;
	mpsc_push(&l->mpsc, &p->node);
	return true;
}

static uint64_t pop_mpsc(struct line *l)
{
	struct mpsc_node *n = mpsc_pop(&l->mpsc);
	if (!n)
		return 0;
	struct post *p = container_of(n, struct post, node);
	uint64_t value = p->value;
	free(p);
	return value;
}

static void many_to_one(void **state)
{
	(void)state;
	static struct line l = { .push = push_mpsc, .pop = pop_mpsc };
	mpsc_init(&l.mpsc);
	run_line(&l, SIDES, 1);
	assert_true(mpsc_is_empty(&l.mpsc));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_to_one),
		cmocka_unit_test(many_to_many),
		cmocka_unit_test(many_to_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
