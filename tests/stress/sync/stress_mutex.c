/*
 * stress_mutex.c - every way to take and not to get the mutex, at random, by more threads than
 * there are CPUs, with waits on a condition variable in between. What it protects is plain memory,
 * so that TSan sees each failure of exclusion.
 */
#include "sync/mutex.h"
#include <stdio.h>
#include "support/threads.h"
#include "sync/condvar.h"

#define THREADS   5
#define STRESS_NS (2500 * MS)

struct arena {
	SYNC_UNIT(mutex, lock, uint64_t a; uint64_t b; unsigned writers;);
	struct condvar changed;
	uint64_t end_ns;
	_Atomic unsigned next, faults;
	_Atomic uint64_t writes, reads, missed;
};

static uint32_t draw(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

static void dawdle(uint32_t n)
{
	for (uint32_t i = n % 300; i; i--)
		cpu_relax();
}

static void change(struct arena *s, uint32_t n)
{
	if (s->writers++ || s->a != s->b)
		atomic_fetch_add(&s->faults, 1);
	s->a++;
	dawdle(n);
	s->b++;
	s->writers--;
	atomic_fetch_add(&s->writes, 1);
}

static void check(struct arena *s, uint32_t n)
{
	uint64_t a = s->a;
	dawdle(n);
	if (s->writers || a != s->b || a != s->a)
		atomic_fetch_add(&s->faults, 1);
	atomic_fetch_add(&s->reads, 1);
}

static void write_somehow(struct arena *s, uint32_t n) NO_THREAD_SAFETY
{
	switch (n % 4) {
	case 0:
		if (!mutex_try_lock(&s->lock)) {
			atomic_fetch_add(&s->missed, 1);
			return;
		}
		break;
	case 1:
		if (!mutex_lock_until(&s->lock, now_ns() + n % 60000)) {
			atomic_fetch_add(&s->missed, 1);
			return;
		}
		break;
	default:
		mutex_lock(&s->lock);
	}
	change(s, n / 4);
	mutex_unlock(&s->lock);
}

static void read_somehow(struct arena *s, uint32_t n) NO_THREAD_SAFETY
{
	switch (n % 4) {
	case 0:
		if (!mutex_try_lock_shared(&s->lock)) {
			atomic_fetch_add(&s->missed, 1);
			return;
		}
		break;
	case 1:
		if (!mutex_lock_shared_until(&s->lock, now_ns() + n % 60000)) {
			atomic_fetch_add(&s->missed, 1);
			return;
		}
		break;
	default:
		mutex_lock_shared(&s->lock);
	}
	check(s, n / 4);
	mutex_unlock_shared(&s->lock);
}

/* The wait ends by a signal or by its deadline, with the mutex held either way. */
static void wait_somehow(struct arena *s, uint32_t n)
{
	uint64_t deadline_ns = now_ns() + n % 200000;
	if (n % 2) {
		mutex_lock(&s->lock);
		if (condvar_wait_until(&s->changed, &s->lock, deadline_ns))
			atomic_fetch_add(&s->missed, 1);
		change(s, n);
		mutex_unlock(&s->lock);
	} else {
		mutex_lock_shared(&s->lock);
		if (condvar_wait_shared_until(&s->changed, &s->lock, deadline_ns))
			atomic_fetch_add(&s->missed, 1);
		check(s, n);
		mutex_unlock_shared(&s->lock);
	}
}

static void take_part(void *arg)
{
	struct arena *s = arg;
	uint32_t seed = atomic_fetch_add(&s->next, 1) * 7919 + 1;
	while (now_ns() < s->end_ns) {
		uint32_t what = draw(&seed) % 16;
		if (what < 7)
			write_somehow(s, draw(&seed));
		else if (what < 13)
			read_somehow(s, draw(&seed));
		else if (what < 14)
			wait_somehow(s, draw(&seed));
		else if (what < 15)
			condvar_signal(&s->changed);
		else
			condvar_broadcast(&s->changed);
	}
}

static void nobody_is_let_in_wrongly_or_left_out_for_ever(void **state)
{
	(void)state;
	static struct arena s;
	mutex_init(&s.lock);
	condvar_init(&s.changed);
	s.end_ns = now_ns() + STRESS_NS;
	run_on(THREADS, take_part, &s);
	assert_int_equal(atomic_load(&s.faults), 0);
	assert_int_equal(s.a, atomic_load(&s.writes));
	printf("%lu writes, %lu reads, %lu given up\n", s.writes, s.reads, s.missed);
	condvar_fini(&s.changed);
	mutex_fini(&s.lock); /* asserts that no bit is left */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nobody_is_let_in_wrongly_or_left_out_for_ever),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
