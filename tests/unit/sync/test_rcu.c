/* test_rcu.c - a grace period outlasts the readers before it; deferred calls come once and late. */
#include "sync/rcu.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "sync/thread.h"

static bool is_without_threads;

int __real_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg);
int __wrap_pthread_create(pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *), void *arg)
{
	return is_without_threads ? EAGAIN : __real_pthread_create(t, a, fn, arg);
}

static unsigned calls;

static void count_call(struct rcu_deferred *d)
{
	(void)d;
	calls++;
}

/* Before any other test: later there is a thread. */
static void without_a_thread_deferred_calls_wait_for_one(void **state)
{
	(void)state;
	struct rcu_deferred a, b, c;
	is_without_threads = true;
	rcu_lock();
	rcu_defer(&a, count_call); /* a reader must not wait for it */
	rcu_unlock();
	assert_int_equal(calls, 0);
	rcu_drain();
	assert_int_equal(calls, 1);
	rcu_defer(&b, count_call);
	is_without_threads = false;
	rcu_defer(&c, count_call); /* now there is one */
	rcu_drain();
	assert_int_equal(calls, 3);
}

struct snapshot {
	int a, b;
	struct rcu_deferred deferred;
};

static struct snapshot *current;
static _Atomic bool is_over;

static void read_snapshots(void *arg)
{
	unsigned *torn = arg;
	while (!atomic_load(&is_over)) {
		rcu_lock();
		const struct snapshot *s = rcu_deref(current);
		*torn += s->a != s->b;
		rcu_unlock();
	}
}

static struct snapshot *snapshot_of(int v)
{
	struct snapshot *s = malloc(sizeof(*s));
	assert_non_null(s);
	s->a = s->b = v;
	return s;
}

static void free_snapshot(struct rcu_deferred *d)
{
	free(container_of(d, struct snapshot, deferred));
}

static void readers_see_whole_snapshots_while_they_change(void **state)
{
	(void)state;
	unsigned torn[2] = { 0 };
	struct thread *t[2];
	atomic_store(&is_over, false);
	rcu_publish(current, snapshot_of(0));
	for (unsigned i = 0; i < 2; i++) {
		struct thread_attr attr = { .name = "reader" };
		assert_int_equal(thread_create(&t[i], &attr, read_snapshots, &torn[i]), 0);
	}
	for (int i = 1; i <= 400; i++) {
		struct snapshot *old = current;
		rcu_publish(current, snapshot_of(i));
		if (i % 2) {
			rcu_synchronize();
			old->a = -1; /* a reader still there would see it torn */
			free(old);
		} else {
			rcu_defer(&old->deferred, free_snapshot);
		}
	}
	atomic_store(&is_over, true);
	for (unsigned i = 0; i < 2; i++) {
		thread_join(t[i]);
		assert_int_equal(torn[i], 0);
	}
	rcu_drain();
	free(current);
}

struct stay {
	struct rcu_deferred deferred;
	sem_t entered, leave;
	_Atomic bool has_left;
};

static void stay_inside(void *arg)
{
	struct stay *s = arg;
	rcu_lock();
	sem_post(&s->entered);
	sem_wait(&s->leave);
	atomic_store(&s->has_left, true);
	rcu_unlock();
}

static void note_call(struct rcu_deferred *d)
{
	struct stay *s = container_of(d, struct stay, deferred);
	assert_true(atomic_load(&s->has_left));
	sem_post(&s->entered);
}

static void a_deferred_call_waits_for_the_reader_inside(void **state)
{
	(void)state;
	static struct stay s;
	struct thread *t;
	struct thread_attr attr = { .name = "reader" };
	sem_init(&s.entered, 0, 0);
	sem_init(&s.leave, 0, 0);
	assert_int_equal(thread_create(&t, &attr, stay_inside, &s), 0);
	sem_wait(&s.entered);
	rcu_defer(&s.deferred, note_call);
	assert_int_equal(sem_trywait(&s.entered), -1);
	sem_post(&s.leave);
	rcu_drain();
	assert_int_equal(sem_trywait(&s.entered), 0); /* ran, once */
	assert_int_equal(sem_trywait(&s.entered), -1);
	thread_join(t);
	sem_destroy(&s.entered);
	sem_destroy(&s.leave);
}

/* A vCPU that moves a BAR defers from within the section its access is dispatched in. */
static void a_reader_may_defer(void **state)
{
	(void)state;
	struct snapshot *old = snapshot_of(1);
	rcu_lock();
	rcu_defer(&old->deferred, free_snapshot);
	assert_int_equal(old->a, 1); /* still there */
	rcu_unlock();
	rcu_drain();
}

static void sections_nest(void **state)
{
	(void)state;
	rcu_lock();
	rcu_lock();
	rcu_unlock();
	rcu_unlock();
	rcu_synchronize(); /* would abort if one were still open */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_thread_deferred_calls_wait_for_one),
		cmocka_unit_test(readers_see_whole_snapshots_while_they_change),
		cmocka_unit_test(a_deferred_call_waits_for_the_reader_inside),
		cmocka_unit_test(a_reader_may_defer),
		cmocka_unit_test(sections_nest),
	};
	rcu_enter_thread();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
