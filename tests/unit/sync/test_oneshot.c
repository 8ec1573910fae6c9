/* test_oneshot.c - an event that happens once. */
#include "sync/oneshot.h"
#include <errno.h>
#include "support/threads.h"

struct news {
	struct oneshot o;
	int value; /* written before o is set */
	_Atomic unsigned saw;
};

static void wait_for_it(void *arg)
{
	struct news *n = arg;
	oneshot_wait(&n->o);
	if (n->value == 42)
		atomic_fetch_add(&n->saw, 1);
}

static void all_who_wait_see_what_came_before(void **state)
{
	(void)state;
	static struct news n;
	struct thread *t[3];
	oneshot_init(&n.o);
	for (unsigned i = 0; i < 3; i++)
		t[i] = start(wait_for_it, &n);
	sleep_ms(3);
	n.value = 42;
	oneshot_set(&n.o);
	oneshot_set(&n.o); /* twice is fine */
	for (unsigned i = 0; i < 3; i++)
		thread_join(t[i]);
	assert_int_equal(atomic_load(&n.saw), 3);
	wait_for_it(&n); /* late ones do not wait */
	assert_true(oneshot_is_set(&n.o));
}

static void a_deadline_ends_the_wait(void **state)
{
	(void)state;
	struct oneshot o;
	oneshot_init(&o);
	assert_false(oneshot_is_set(&o));
	uint64_t before_ns = now_ns();
	assert_int_equal(oneshot_wait_until(&o, before_ns + 3 * MS), -ETIMEDOUT);
	assert_true(now_ns() >= before_ns + 3 * MS);
	oneshot_set(&o);
	assert_int_equal(oneshot_wait_until(&o, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_who_wait_see_what_came_before),
		cmocka_unit_test(a_deadline_ends_the_wait),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
