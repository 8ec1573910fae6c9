/* rcu.c - see sync/rcu.h. */
#include "sync/rcu.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>

/*
 * Not liburcu's call_rcu(): that ends the process when there can be no thread for it. Whatever is
 * deferred is rare, so a lock does.
 */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* under lock */
	struct rcu_deferred *first, **last;
	bool has_thread;
} rcu_queue = { .lock = PTHREAD_MUTEX_INITIALIZER,
		.wake = PTHREAD_COND_INITIALIZER,
		.last = &rcu_queue.first };
#ifdef COMPILER_TSAN
char rcu_tsan_grace;
#endif

void rcu_enter_thread(void)
{
	urcu_memb_register_thread();
}

void rcu_leave_thread(void)
{
	urcu_memb_unregister_thread();
}

void rcu_synchronize(void)
{
	BUG_ON(urcu_memb_read_ongoing());
	urcu_memb_synchronize_rcu();
	RCU_TSAN_ACQUIRE(&rcu_tsan_grace);
}

static struct rcu_deferred *rcu_take_locked(void)
{
	struct rcu_deferred *d = rcu_queue.first;
	rcu_queue.first = NULL;
	rcu_queue.last = &rcu_queue.first;
	return d;
}

/* In the order they were deferred in; each may free itself. */
static void rcu_run_deferred(struct rcu_deferred *d)
{
	rcu_synchronize();
	while (d) {
		struct rcu_deferred *next = d->next;
		d->fn(d);
		d = next;
	}
}

static void *rcu_thread(void *unused)
{
	(void)unused;
	rcu_enter_thread(); /* for what the deferred functions read */
	for (;;) {
		pthread_mutex_lock(&rcu_queue.lock);
		while (!rcu_queue.first)
			pthread_cond_wait(&rcu_queue.wake, &rcu_queue.lock);
		struct rcu_deferred *d = rcu_take_locked();
		pthread_mutex_unlock(&rcu_queue.lock);
		rcu_run_deferred(d);
	}
	return NULL;
}

/* The thread inherits the signal mask of whoever makes it: ours takes no signal. */
static void rcu_start_thread_locked(void)
{
	pthread_t t;
	sigset_t all, before;
	if (rcu_queue.has_thread)
		return;
	sigfillset(&all);
	BUG_ON(pthread_sigmask(SIG_SETMASK, &all, &before));
	if (!pthread_create(&t, NULL, rcu_thread, NULL)) {
		pthread_detach(t);
		rcu_queue.has_thread = true;
	}
	BUG_ON(pthread_sigmask(SIG_SETMASK, &before, NULL));
}

/* Where no thread can be made, the next call tries again; at the latest rcu_drain() does it all. */
void rcu_defer(struct rcu_deferred *d, void (*fn)(struct rcu_deferred *d))
{
	d->fn = fn;
	d->next = NULL;
	pthread_mutex_lock(&rcu_queue.lock);
	rcu_start_thread_locked();
	*rcu_queue.last = d;
	rcu_queue.last = &d->next;
	pthread_cond_signal(&rcu_queue.wake);
	pthread_mutex_unlock(&rcu_queue.lock);
}

struct rcu_marker {
	struct rcu_deferred deferred;
	sem_t reached;
};

static void rcu_reach_marker(struct rcu_deferred *d)
{
	sem_post(&container_of(d, struct rcu_marker, deferred)->reached);
}

/* There is one thread for all that is deferred, and it keeps the order. */
void rcu_drain(void)
{
	struct rcu_marker m;
	BUG_ON(urcu_memb_read_ongoing());
	sem_init(&m.reached, 0, 0);
	rcu_defer(&m.deferred, rcu_reach_marker);
	pthread_mutex_lock(&rcu_queue.lock);
	struct rcu_deferred *d = rcu_queue.has_thread ? NULL : rcu_take_locked();
	pthread_mutex_unlock(&rcu_queue.lock);
	if (d)
		rcu_run_deferred(d);
	while (sem_wait(&m.reached))
		BUG_ON(errno != EINTR);
	sem_destroy(&m.reached);
}
