/* test_thread.c - names, CPUs, priorities, signals and failures of threads. */
#include "sync/thread.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "sync/rcu.h"

struct seen {
	char name[16];
	cpu_set_t cpus;
	int tid, policy;
	sigset_t blocked;
};

static void look_around(void *arg)
{
	struct seen *s = arg;
	pthread_getname_np(pthread_self(), s->name, sizeof(s->name));
	sched_getaffinity(0, sizeof(s->cpus), &s->cpus);
	s->tid = gettid();
	s->policy = sched_getscheduler(0);
	pthread_sigmask(SIG_BLOCK, NULL, &s->blocked);
	rcu_lock(); /* is registered, or liburcu aborts */
	rcu_unlock();
}

static unsigned last_cpu(void)
{
	cpu_set_t all;
	unsigned last = 0;
	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	for (unsigned i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &all))
			last = i;
	return last;
}

static void has_the_name_the_cpus_and_the_mask_it_was_given(void **state)
{
	(void)state;
	struct seen s = { 0 };
	struct thread *t;
	cpu_set_t one;
	CPU_ZERO(&one);
	CPU_SET(last_cpu(), &one);
	struct thread_attr attr = { .name = "a-name-that-is-too-long", .cpus = &one };
	assert_int_equal(thread_create(&t, &attr, look_around, &s), 0);
	int tid = thread_tid(t);
	thread_join(t);
	assert_string_equal(s.name, "a-name-that-is-");
	assert_true(CPU_EQUAL(&s.cpus, &one));
	assert_int_equal(s.tid, tid);
	assert_int_equal(s.policy, SCHED_OTHER);
	assert_true(sigismember(&s.blocked, SIGINT));
	assert_true(sigismember(&s.blocked, SIGTERM));
	assert_false(sigismember(&s.blocked, SIGSEGV));
	assert_false(sigismember(&s.blocked, SIGURG));
}

static void creating_leaves_the_callers_mask_alone(void **state)
{
	(void)state;
	struct seen s;
	struct thread *t;
	sigset_t before, after;
	struct thread_attr attr = { 0 };
	pthread_sigmask(SIG_BLOCK, NULL, &before);
	assert_int_equal(thread_create(&t, &attr, look_around, &s), 0);
	pthread_sigmask(SIG_BLOCK, NULL, &after);
	thread_join(t);
	for (int sig = 1; sig < SIGRTMAX; sig++)
		assert_int_equal(sigismember(&before, sig), sigismember(&after, sig));
}

static void a_cpu_that_does_not_exist_is_refused(void **state)
{
	(void)state;
	struct seen s;
	struct thread *t = NULL;
	cpu_set_t set;
	struct thread_attr attr = { .cpus = &set };
	CPU_ZERO(&set);
	CPU_SET(CPU_SETSIZE - 1, &set);
	assert_int_equal(thread_create(&t, &attr, look_around, &s), -EINVAL);
	CPU_SET(last_cpu(), &set); /* one of two is missing: the kernel alone would not tell */
	assert_int_equal(thread_create(&t, &attr, look_around, &s), -EINVAL);
	assert_null(t);
}

static void a_priority_is_in_force_or_refused(void **state)
{
	(void)state;
	struct seen s = { 0 };
	struct thread *t = NULL;
	struct thread_attr attr = { .rr_priority = 1 };
	int err = thread_create(&t, &attr, look_around, &s);
	if (err) {
		assert_int_equal(err, -EPERM);
		return;
	}
	thread_join(t);
	assert_int_equal(s.policy, SCHED_RR);
	attr.rr_priority = 1000;
	assert_int_equal(thread_create(&t, &attr, look_around, &s), -EINVAL);
}

struct begun {
	int answer, tid_begun, tid_ran;
};

static int begin(void *arg)
{
	struct begun *b = arg;
	b->tid_begun = gettid();
	return b->answer;
}

static void note_run(void *arg)
{
	((struct begun *)arg)->tid_ran = gettid();
}

static void what_it_begins_with_succeeds_or_there_is_no_thread(void **state)
{
	(void)state;
	struct thread_attr attr = { .begin = begin };
	struct begun b = { 0 };
	struct thread *t = NULL;
	assert_int_equal(thread_create(&t, &attr, note_run, &b), 0);
	thread_join(t);
	assert_int_not_equal(b.tid_begun, gettid());
	assert_int_equal(b.tid_ran, b.tid_begun);
	b = (struct begun){ .answer = -EIO };
	t = NULL;
	assert_int_equal(thread_create(&t, &attr, note_run, &b), -EIO);
	assert_null(t);
	assert_int_not_equal(b.tid_begun, 0);
	assert_int_equal(b.tid_ran, 0);
}

static _Atomic int woken;

static void sleep_long(void *arg)
{
	(void)arg;
	struct timespec ts = { .tv_sec = 60 };
	if (nanosleep(&ts, NULL) < 0 && errno == EINTR)
		atomic_store(&woken, 1);
}

static void a_signal_ends_a_system_call(void **state)
{
	(void)state;
	struct thread *t;
	struct thread_attr attr = { .name = "sleeper" };
	atomic_store(&woken, 0);
	assert_int_equal(thread_create(&t, &attr, sleep_long, NULL), 0);
	while (!atomic_load(&woken)) { /* it may not have fallen asleep yet: again */
		thread_signal(t);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	thread_join(t);
}

static _Atomic bool is_idle;

static void spin(void *arg)
{
	(void)arg;
	while (!atomic_load(&is_idle))
		;
}

static uint64_t own_cpu_ns(void)
{
	struct timespec ts;
	assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts), 0);
	return timespec_ns(&ts);
}

static void tells_the_cpu_time_of_the_thread_and_no_other(void **state)
{
	(void)state;
	struct thread *t;
	struct thread_attr attr = { .name = "spinner" };
	atomic_store(&is_idle, false);
	assert_int_equal(thread_create(&t, &attr, spin, NULL), 0);
	uint64_t before = thread_cpu_ns(t);
	while (thread_cpu_ns(t) < before + 5000000) /* as it gets a CPU */
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	atomic_store(&is_idle, true);
	thread_join(t);
	atomic_store(&woken, 0);
	assert_int_equal(thread_create(&t, &attr, sleep_long, NULL), 0);
	for (uint64_t start = own_cpu_ns(); own_cpu_ns() < start + 100000000;)
		;
	assert_true(thread_cpu_ns(t) < 100000000);
	while (!atomic_load(&woken)) {
		thread_signal(t);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	thread_join(t);
}

static int prologues;
static int prologues_before_fn;

static void prologue(void)
{
	prologues++;
}

static void count_prologues(void *arg)
{
	(void)arg;
	prologues_before_fn = prologues;
}

static void new_threads_begin_with_the_prologue(void **state)
{
	struct thread_attr attr = { .name = "begins" };
	struct thread *t = NULL;
	(void)state;
	thread_set_prologue(prologue);
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(thread_create(&t, &attr, count_prologues, NULL), 0);
		thread_join(t);
		assert_int_equal(prologues_before_fn, i);
	}
	thread_set_prologue(NULL);
	assert_int_equal(thread_create(&t, &attr, count_prologues, NULL), 0);
	thread_join(t);
	assert_int_equal(prologues, 2);
}

static void joining_nothing_is_fine(void **state)
{
	(void)state;
	thread_join(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(has_the_name_the_cpus_and_the_mask_it_was_given),
		cmocka_unit_test(creating_leaves_the_callers_mask_alone),
		cmocka_unit_test(a_cpu_that_does_not_exist_is_refused),
		cmocka_unit_test(a_priority_is_in_force_or_refused),
		cmocka_unit_test(what_it_begins_with_succeeds_or_there_is_no_thread),
		cmocka_unit_test(a_signal_ends_a_system_call),
		cmocka_unit_test(tells_the_cpu_time_of_the_thread_and_no_other),
		cmocka_unit_test(new_threads_begin_with_the_prologue),
		cmocka_unit_test(joining_nothing_is_fine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
