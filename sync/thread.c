/* thread.c - see sync/thread.h. */
#include "sync/thread.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "sync/rcu.h"

/* Sent by thread_signal(): ignored by default, sent by no shell, not real-time (those queue up). */
#define THREAD_SIGNAL SIGURG

#define HURRY_NS NSEC_PER_MSEC

#ifndef sigev_notify_thread_id /* older C libraries have no name for it */
#define sigev_notify_thread_id _sigev_un._tid
#endif

struct thread {
	/* immutable after create */
	pthread_t id;
	char name[16];
	bool has_cpus;
	cpu_set_t cpus;
	int rr_priority;
	int (*begin)(void *arg);
	void (*fn)(void *arg);
	void *arg;
	/* written by the new thread before it posts started */
	int tid, err;
	sem_t started;
};

static void (*_Atomic thread_prologue)(void);

void thread_set_prologue(void (*prologue)(void))
{
	atomic_store_explicit(&thread_prologue, prologue, memory_order_release);
}

static void thread_on_signal(int sig)
{
	(void)sig; /* its arrival was the message */
}

static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static void thread_install_handler(void)
{
	struct sigaction sa = { .sa_handler = thread_on_signal }; /* no SA_RESTART: calls end */
	int err = sigaction(THREAD_SIGNAL, &sa, NULL);
	BUG_ON(err);
}

/* Faults of the thread's own must reach their handlers, or the kernel just kills. */
static void thread_block_signals(sigset_t *before)
{
	static const int faults[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT };
	sigset_t set;
	sigfillset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		sigdelset(&set, faults[i]);
	int err = pthread_sigmask(SIG_SETMASK, &set, before);
	BUG_ON(err);
}

/* The kernel drops CPUs it does not have, or that our cpuset denies, without a word: compare. */
static int thread_apply_cpus(const struct thread *t)
{
	if (!t->has_cpus)
		return 0;
	cpu_set_t now;
	if (sched_setaffinity(0, sizeof(t->cpus), &t->cpus) ||
	    sched_getaffinity(0, sizeof(now), &now))
		return -errno;
	return CPU_EQUAL(&now, &t->cpus) ? 0 : -EINVAL;
}

static int thread_apply_attr(const struct thread *t)
{
	sigset_t wake;
	sigemptyset(&wake);
	sigaddset(&wake, THREAD_SIGNAL);
	(void)pthread_setname_np(pthread_self(), t->name); /* fits: a nicety at worst */
	int err = -pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
	if (!err)
		err = thread_apply_cpus(t);
	if (!err && t->rr_priority) {
		struct sched_param p = { .sched_priority = t->rr_priority };
		if (sched_setscheduler(0, SCHED_RR, &p))
			err = -errno;
	}
	return err;
}

static void *thread_main(void *self)
{
	struct thread *t = self;
	t->tid = gettid();
	t->err = thread_apply_attr(t);
	/* acquire: pairs with the release in thread_set_prologue() */
	void (*prologue)(void) = atomic_load_explicit(&thread_prologue, memory_order_acquire);
	if (prologue && !t->err)
		prologue();
	if (t->begin && !t->err)
		t->err = t->begin(t->arg);
	bool is_fit = !t->err; /* once started is posted t is the creator's again */
	sem_post(&t->started);
	if (is_fit) {
		rcu_enter_thread();
		t->fn(t->arg);
		rcu_leave_thread();
	}
	return NULL;
}

static int thread_start(struct thread *t)
{
	sigset_t before;
	thread_block_signals(&before);
	int err = -pthread_create(&t->id, NULL, thread_main, t);
	int restore = pthread_sigmask(SIG_SETMASK, &before, NULL);
	BUG_ON(restore);
	if (err)
		return err;
	while (sem_wait(&t->started))
		BUG_ON(errno != EINTR);
	if (t->err)
		pthread_join(t->id, NULL);
	return t->err;
}

int thread_create(struct thread **out, const struct thread_attr *attr, void (*fn)(void *),
		  void *arg)
{
	pthread_once(&thread_once, thread_install_handler);
	struct thread *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	strncpy(t->name, attr->name ? attr->name : "", sizeof(t->name) - 1);
	t->has_cpus = attr->cpus;
	if (attr->cpus)
		t->cpus = *attr->cpus;
	t->rr_priority = attr->rr_priority;
	t->begin = attr->begin;
	t->fn = fn;
	t->arg = arg;
	sem_init(&t->started, 0, 0);
	int err = thread_start(t);
	if (err) {
		sem_destroy(&t->started);
		free(t);
		return err;
	}
	*out = t;
	return 0;
}

void thread_join(struct thread *t)
{
	if (!t)
		return;
	int err = pthread_join(t->id, NULL);
	BUG_ON(err);
	sem_destroy(&t->started);
	free(t);
}

void thread_signal(struct thread *t)
{
	(void)pthread_kill(t->id, THREAD_SIGNAL); /* ESRCH: it has left already, nothing to end */
}

void thread_hurry_begin(struct thread_hurry *h)
{
	struct sigevent e = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = THREAD_SIGNAL };
	/* again and again: the first may come before the call has begun */
	const struct itimerspec often = { { 0, HURRY_NS }, { 0, HURRY_NS } };
	pthread_once(&thread_once, thread_install_handler);
	e.sigev_notify_thread_id = gettid();
	h->is_on = !timer_create(CLOCK_MONOTONIC, &e, &h->timer);
	if (h->is_on)
		(void)timer_settime(h->timer, 0, &often, NULL); /* ours, and good values */
}

void thread_hurry_end(struct thread_hurry *h)
{
	if (h->is_on)
		(void)timer_delete(h->timer); /* ours */
}

uint64_t thread_cpu_ns(const struct thread *t)
{
	struct timespec ts;
	clockid_t clock;
	if (pthread_getcpuclockid(t->id, &clock) || clock_gettime(clock, &ts))
		return 0;
	return timespec_ns(&ts);
}

int thread_tid(const struct thread *t)
{
	return t->tid;
}
