/* test_spinlock.c - exclusion, and the data beside the lock. */
#include "sync/spinlock.h"
#include "support/threads.h"

#define ROUNDS 30000
struct pair {
	SYNC_UNIT(spinlock, lock, uint64_t a; uint64_t b;);
};
static_assert(sizeof(struct pair) == CACHE_ALIGN, "lock and data on one unit");

static void add(void *arg)
{
	struct pair *p = arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		spinlock_lock(&p->lock);
		p->a++;
		p->b += 2;
		spinlock_unlock(&p->lock);
	}
}

static void holders_exclude_each_other(void **state)
{
	(void)state;
	static struct pair p;
	spinlock_init(&p.lock);
	run_on(4, add, &p);
	assert_int_equal(p.a, 4 * ROUNDS);
	assert_int_equal(p.b, 8 * ROUNDS);
}

static void trying_fails_while_it_is_held(void **state) NO_THREAD_SAFETY
{
	(void)state;
	struct spinlock l;
	spinlock_init(&l);
	assert_true(spinlock_try_lock(&l));
	assert_false(spinlock_try_lock(&l));
	spinlock_unlock(&l);
	assert_true(spinlock_try_lock(&l));
	spinlock_unlock(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holders_exclude_each_other),
		cmocka_unit_test(trying_fails_while_it_is_held),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
