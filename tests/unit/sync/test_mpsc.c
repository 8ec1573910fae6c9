/* test_mpsc.c - the unbounded queue: order, emptiness, reuse, many producers. */
#include "sync/mpsc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <sched.h>
#include "sync/thread.h"

struct item {
	struct mpsc_node node;
	unsigned who, nr;
};

static struct item *pop(struct mpsc *q)
{
	struct mpsc_node *n = mpsc_pop(q);
	return n ? container_of(n, struct item, node) : NULL;
}

static void an_empty_queue_yields_nothing(void **state)
{
	(void)state;
	struct mpsc q;
	mpsc_init(&q);
	assert_null(mpsc_pop(&q));
	assert_null(mpsc_pop(&q));
}

static void nodes_come_out_in_order_and_may_go_in_again(void **state)
{
	(void)state;
	struct mpsc q;
	struct item items[5] = { { .nr = 0 } };
	mpsc_init(&q);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 5; i++) {
			items[i].nr = i;
			mpsc_push(&q, &items[i].node);
		}
		for (unsigned i = 0; i < 5; i++)
			assert_ptr_equal(pop(&q), &items[i]);
		assert_null(mpsc_pop(&q));
	}
}

static void a_node_popped_alone_may_be_pushed_at_once(void **state)
{
	(void)state;
	struct mpsc q;
	struct item it = { .nr = 0 };
	mpsc_init(&q);
	for (unsigned i = 0; i < 10; i++) {
		mpsc_push(&q, &it.node);
		assert_ptr_equal(pop(&q), &it);
	}
	assert_null(mpsc_pop(&q));
}

#define PRODUCERS    3
#define PER_PRODUCER 20000
struct producer {
	struct mpsc *q;
	unsigned who;
	struct item items[PER_PRODUCER];
};

static void produce(void *arg)
{
	struct producer *p = arg;
	for (unsigned i = 0; i < PER_PRODUCER; i++) {
		p->items[i].who = p->who;
		p->items[i].nr = i;
		mpsc_push(p->q, &p->items[i].node);
	}
}

static void each_producer_keeps_its_order_and_nothing_is_lost(void **state)
{
	(void)state;
	static struct mpsc q;
	static struct producer prod[PRODUCERS];
	struct thread *t[PRODUCERS];
	unsigned next[PRODUCERS] = { 0 };
	mpsc_init(&q);
	for (unsigned i = 0; i < PRODUCERS; i++) {
		prod[i].q = &q;
		prod[i].who = i;
		struct thread_attr attr = { .name = "producer" };
		assert_int_equal(thread_create(&t[i], &attr, produce, &prod[i]), 0);
	}
	for (unsigned left = PRODUCERS * PER_PRODUCER; left;) {
		struct item *it = pop(&q);
		if (!it) {
			sched_yield();
			continue;
		}
		assert_int_equal(it->nr, next[it->who]);
		next[it->who]++;
		left--;
	}
	for (unsigned i = 0; i < PRODUCERS; i++)
		thread_join(t[i]);
	assert_null(mpsc_pop(&q));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_queue_yields_nothing),
		cmocka_unit_test(nodes_come_out_in_order_and_may_go_in_again),
		cmocka_unit_test(a_node_popped_alone_may_be_pushed_at_once),
		cmocka_unit_test(each_producer_keeps_its_order_and_nothing_is_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
