/* rcu.c - see sync/rcu.h. */
#include "sync/rcu.h"
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

static pthread_once_t rcu_once = PTHREAD_ONCE_INIT;
#ifdef RCU_TSAN
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

/* liburcu's thread inherits the signal mask of whoever makes it: ours takes no signal. */
static void rcu_start_thread(void)
{
	sigset_t all, before;
	sigfillset(&all);
	BUG_ON(pthread_sigmask(SIG_SETMASK, &all, &before));
	(void)urcu_memb_get_default_call_rcu_data(); /* made on first use */
	BUG_ON(pthread_sigmask(SIG_SETMASK, &before, NULL));
}

static void rcu_run_deferred(struct rcu_head *head)
{
	struct rcu_deferred *d = container_of(head, struct rcu_deferred, head);
	RCU_TSAN_ACQUIRE(&rcu_tsan_grace);
	RCU_TSAN_ACQUIRE(d);
	d->fn(d);
}

void rcu_defer(struct rcu_deferred *d, void (*fn)(struct rcu_deferred *d))
{
	pthread_once(&rcu_once, rcu_start_thread);
	d->fn = fn;
	RCU_TSAN_RELEASE(d);
	urcu_memb_call_rcu(&d->head, rcu_run_deferred);
}

struct rcu_marker {
	struct rcu_head head;
	sem_t reached;
};

static void rcu_reach_marker(struct rcu_head *head)
{
	struct rcu_marker *m = container_of(head, struct rcu_marker, head);
	sem_post(&m->reached);
}

/* There is one thread for all that is deferred, and it keeps the order. */
void rcu_drain(void)
{
	struct rcu_marker m;
	BUG_ON(urcu_memb_read_ongoing());
	pthread_once(&rcu_once, rcu_start_thread);
	sem_init(&m.reached, 0, 0);
	urcu_memb_call_rcu(&m.head, rcu_reach_marker);
	while (sem_wait(&m.reached))
		BUG_ON(errno != EINTR);
	sem_destroy(&m.reached);
}
