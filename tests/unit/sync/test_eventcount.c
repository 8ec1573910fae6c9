/* test_eventcount.c - sleeping on conditions that no lock protects. */
#include "sync/eventcount.h"
#include <errno.h>
#include "support/threads.h"

static void a_notify_after_the_prepare_is_not_slept_through(void **state)
{
	(void)state;
	struct eventcount e;
	eventcount_init(&e);
	uint32_t key = eventcount_prepare(&e);
	eventcount_notify(&e);
	eventcount_wait(&e, key); /* returns at once */
	assert_int_equal(atomic_load(&e.waiters), 0);
}

static void one_before_it_does_not_count(void **state)
{
	(void)state;
	struct eventcount e;
	eventcount_init(&e);
	eventcount_notify(&e);
	uint32_t key = eventcount_prepare(&e);
	uint64_t before_ns = now_ns();
	assert_int_equal(eventcount_wait_until(&e, key, before_ns + 3 * MS), -ETIMEDOUT);
	assert_true(now_ns() >= before_ns + 3 * MS);
	key = eventcount_prepare(&e);
	(void)key;
	eventcount_cancel(&e);
	assert_int_equal(atomic_load(&e.waiters), 0);
}

#define TURNS 5000
struct pingpong {
	struct eventcount e;
	_Atomic unsigned turn;
};

static void play(struct pingpong *p, unsigned mine)
{
	for (unsigned i = mine; i < TURNS; i += 2) {
		while (atomic_load_explicit(&p->turn, memory_order_acquire) != i) {
			uint32_t key = eventcount_prepare(&p->e);
			if (atomic_load_explicit(&p->turn, memory_order_acquire) == i) {
				eventcount_cancel(&p->e);
				break;
			}
			eventcount_wait(&p->e, key);
		}
		atomic_store_explicit(&p->turn, i + 1, memory_order_release);
		eventcount_notify(&p->e);
	}
}

static void play_odd(void *arg)
{
	play(arg, 1);
}

static void two_threads_take_turns(void **state)
{
	(void)state;
	static struct pingpong p;
	eventcount_init(&p.e);
	struct thread *t = start(play_odd, &p);
	play(&p, 0);
	thread_join(t);
	assert_int_equal(atomic_load(&p.turn), TURNS);
	assert_int_equal(atomic_load(&p.e.waiters), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_notify_after_the_prepare_is_not_slept_through),
		cmocka_unit_test(one_before_it_does_not_count),
		cmocka_unit_test(two_threads_take_turns),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
