/* test_mutex.c - exclusion between writers, and between writers and readers. */
#include "sync/mutex.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <semaphore.h>
#include "sync/thread.h"

#define ROUNDS 20000
struct shared {
	struct mutex lock;
	unsigned a, b; /* under lock */
	unsigned torn[4];
};

static void write_both(void *arg)
{
	struct shared *s = arg;
	for (unsigned i = 0; i < ROUNDS; i++) {
		mutex_lock(&s->lock);
		s->a++;
		s->b++;
		mutex_unlock(&s->lock);
	}
}

static void read_both(void *arg)
{
	struct shared *s = arg;
	unsigned torn = 0;
	for (unsigned i = 0; i < ROUNDS; i++) {
		mutex_lock_shared(&s->lock);
		torn += s->a != s->b;
		mutex_unlock_shared(&s->lock);
	}
	mutex_lock(&s->lock);
	s->torn[0] += torn;
	mutex_unlock(&s->lock);
}

static void writers_exclude_writers_and_readers(void **state)
{
	(void)state;
	static struct shared s;
	struct thread *t[4];
	mutex_init(&s.lock);
	for (unsigned i = 0; i < 4; i++) {
		struct thread_attr attr = { .name = i < 2 ? "writer" : "reader" };
		assert_int_equal(
			thread_create(&t[i], &attr, i < 2 ? write_both : read_both, &s), 0);
	}
	for (unsigned i = 0; i < 4; i++)
		thread_join(t[i]);
	mutex_lock(&s.lock);
	assert_int_equal(s.a, 2 * ROUNDS);
	assert_int_equal(s.torn[0], 0);
	mutex_unlock(&s.lock);
	mutex_fini(&s.lock);
}

struct meeting {
	struct mutex lock;
	sem_t mine, yours;
};

static void hold_shared(void *arg)
{
	struct meeting *m = arg;
	mutex_lock_shared(&m->lock);
	sem_post(&m->yours);
	sem_wait(&m->mine);
	mutex_unlock_shared(&m->lock);
}

static void two_readers_hold_it_at_once(void **state)
{
	(void)state;
	static struct meeting m;
	struct thread *t;
	mutex_init(&m.lock);
	sem_init(&m.mine, 0, 0);
	sem_init(&m.yours, 0, 0);
	struct thread_attr attr = { .name = "reader" };
	assert_int_equal(thread_create(&t, &attr, hold_shared, &m), 0);
	sem_wait(&m.yours);
	mutex_lock_shared(&m.lock); /* would hang if it excluded */
	mutex_unlock_shared(&m.lock);
	sem_post(&m.mine);
	thread_join(t);
	mutex_fini(&m.lock);
	sem_destroy(&m.mine);
	sem_destroy(&m.yours);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writers_exclude_writers_and_readers),
		cmocka_unit_test(two_readers_hold_it_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
