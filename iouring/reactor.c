/* reactor.c - the loop, the mailbox and the sources. See iouring/reactor.h. */
#include "reactor_priv.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include "base/clock.h"
#include "base/err.h"

#define REACTOR_MAIL_BUDGET  256  /* messages a pass */
#define REACTOR_SPIN_ROUNDS  16   /* between two looks at the clock */
#define REACTOR_HOLD_NS      5000 /* without news, until sources settle */
#define REACTOR_POOL_THREADS 4

static_assert(offsetof(struct reactor, is_asleep) - offsetof(struct reactor, mail) >= CACHE_ALIGN,
	      "posters that only look whether we sleep stay off the mailbox");

/* --- what differs between the engines --- */

static void reactor_enter(struct reactor *r, bool wait)
{
	if (likely(!r->pool))
		ring_enter(r, wait);
	else
		pool_enter(r, wait);
}

static bool reactor_reap(struct reactor *r)
{
	bool any = likely(!r->pool) ? ring_reap(r) : pool_reap(r);
	if (unlikely(!list_is_empty(&r->ready)))
		any |= op_tell_ready(r);
	return any;
}

static bool reactor_has_news(struct reactor *r)
{
	return (likely(!r->pool) ? ring_has_news(r) : pool_has_news(r)) ||
	       !list_is_empty(&r->ready);
}

const char *reactor_engine_name(const struct reactor *r)
{
	static const char *const rungs[URING_NR_RUNGS] = {
		[URING_DEFER] = "io_uring",
		[URING_COOP] = "io_uring (before 6.1)",
		[URING_PLAIN] = "io_uring (before 5.19)",
	};
	if (r->pool)
		return r->has_no_memory ? "pool (out of memory)" : "pool";
	return rungs[r->ring.rung];
}

/* --- mailbox --- */

static void reactor_wake(struct reactor *r)
{
	/* pairs with the fence in reactor_sleep(): we see it asleep, or it sees what we left */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&r->is_asleep, memory_order_relaxed) &&
	    atomic_exchange_explicit(&r->is_asleep, false, memory_order_relaxed)) {
		int err = eventfd_write(r->mail_fd, 1);
		BUG_ON(err); /* the counter cannot be full: one write a sleep */
	}
}

void reactor_post(struct reactor *r, struct reactor_msg *m)
{
	mpsc_push(&r->mail, &m->node);
	reactor_wake(r);
}

void reactor_stop(struct reactor *r)
{
	/* release: pairs with the acquire in reactor_pass(), messages posted before are there */
	atomic_store_explicit(&r->stop_wanted, true, memory_order_release);
	reactor_wake(r);
}

static bool reactor_take_mail(struct reactor *r)
{
	bool any = false;
	for (unsigned budget = REACTOR_MAIL_BUDGET; budget; budget--) {
		struct mpsc_node *n = mpsc_pop(&r->mail);
		if (!n)
			break;
		struct reactor_msg *m = container_of(n, struct reactor_msg, node);
		m->fn(m);
		any = true;
	}
	return any;
}

static void reactor_listen(struct reactor *r)
{
	reactor_readv(r, &r->mail_op, r->mail_fd, &r->mail_iov, 1, -1);
}

/* The read only wakes us: every pass looks into the mailbox anyway. */
static void reactor_on_mail(struct reactor_op *op, int32_t res)
{
	struct reactor *r = container_of(op, struct reactor, mail_op);
	BUG_ON(res < 0 && res != -ECANCELED);
	if (!r->is_stopping)
		reactor_listen(r);
}

/* --- sources --- */

void reactor_add_source(struct reactor *r, struct reactor_source *s)
{
	list_push_back(&r->sources, &s->link);
}

void reactor_del_source(struct reactor *r, struct reactor_source *s)
{
	if (r->next_source == &s->link)
		r->next_source = s->link.next;
	list_remove(&s->link);
}

/* Walk the sources while any of them may be added or removed; only one walk at a time. */
static struct reactor_source *reactor_walk(struct reactor *r, struct list *at)
{
	if (at == &r->sources)
		return NULL;
	r->next_source = at->next;
	return container_of(at, struct reactor_source, link);
}
#define reactor_for_each_source(s, r)                                                              \
	for (struct reactor_source *s = reactor_walk(r, (r)->sources.next); s;                     \
	     s = reactor_walk(r, (r)->next_source))

static bool reactor_poll_sources(struct reactor *r)
{
	bool any = false;
	reactor_for_each_source(s, r) any |= s->poll(s);
	return any;
}

static void reactor_flush_sources(struct reactor *r)
{
	reactor_for_each_source(s, r) if (s->flush) s->flush(s);
}

static bool reactor_arm_sources(struct reactor *r)
{
	bool any = false;
	reactor_for_each_source(s, r) if (s->arm) any |= s->arm(s);
	return any;
}

static void reactor_disarm_sources(struct reactor *r)
{
	reactor_for_each_source(s, r) if (s->disarm) s->disarm(s);
}

/* --- the loop --- */

static bool reactor_pass(struct reactor *r)
{
	reactor_count(&r->stats.passes);
	/* acquire: pairs with the release in reactor_stop() */
	if (unlikely(!r->is_stopping &&
		     atomic_load_explicit(&r->stop_wanted, memory_order_acquire))) {
		r->is_stopping = true;
		op_cancel_waits(r);
	}
	bool any = reactor_take_mail(r);
	if (likely(!r->is_stopping))
		any |= reactor_poll_sources(r);
	reactor_enter(r, false);
	any |= reactor_reap(r);
	reactor_flush_sources(r);
	return any;
}

static bool reactor_look(struct reactor *r)
{
	return reactor_has_news(r) || reactor_take_mail(r) || reactor_poll_sources(r) ||
	       atomic_load_explicit(&r->stop_wanted, memory_order_relaxed);
}

/* True: something came up. */
static bool reactor_look_out(struct reactor *r)
{
	for (unsigned i = 0; i < REACTOR_SPIN_ROUNDS; i++) {
		if (reactor_look(r))
			return true;
		cpu_relax();
	}
	if (unlikely(r->pool))
		pool_enter(r, false); /* nobody else tells that a wait is over */
	return false;
}

static bool reactor_is_holding(struct reactor *r)
{
	bool any = false;
	reactor_for_each_source(s, r) any |= s->is_holding;
	return any;
}

/* Somebody holds back what the driver waits for: not for long. True: something came up. */
static bool reactor_hold(struct reactor *r)
{
	if (likely(!reactor_is_holding(r)))
		return false;
	bool may_wait = !r->is_stopping && spin_may_hold(&r->spin);
	uint64_t until_ns = may_wait ? clock_ns() + REACTOR_HOLD_NS : 0;
	while (clock_ns() < until_ns)
		if (reactor_look_out(r))
			return true;
	reactor_for_each_source(s, r) if (s->is_holding) s->settle(s);
	return false;
}

/* True: something came up. */
static bool reactor_spin(struct reactor *r)
{
	if (reactor_hold(r))
		return true;
	if (r->is_stopping || !spin_begin(&r->spin, r->in_flight > r->nr_waits))
		return false;
	reactor_count(&r->stats.spins);
	do {
		if (reactor_look_out(r)) {
			reactor_count(&r->stats.spin_hits);
			spin_hit(&r->spin);
			return true;
		}
	} while (!spin_is_over(&r->spin));
	spin_miss(&r->spin);
	return false;
}

static void reactor_sleep(struct reactor *r)
{
	bool is_running = !r->is_stopping;
	spin_sleeps(&r->spin);
	bool any = is_running && reactor_arm_sources(r);
	atomic_store_explicit(&r->is_asleep, true, memory_order_relaxed);
	/* pairs with the fence in reactor_wake() */
	atomic_thread_fence(memory_order_seq_cst);
	any |= reactor_take_mail(r);
	any |= is_running && atomic_load_explicit(&r->stop_wanted, memory_order_relaxed);
	if (!any && !reactor_has_news(r)) {
		reactor_count(&r->stats.sleeps);
		reactor_enter(r, true);
		spin_slept(&r->spin);
	}
	atomic_store_explicit(&r->is_asleep, false, memory_order_relaxed);
	if (is_running)
		reactor_disarm_sources(r);
}

static bool reactor_is_drained(const struct reactor *r)
{
	return r->is_stopping && !r->in_flight && !r->cancels_out && mpsc_is_empty(&r->mail);
}

void reactor_run(struct reactor *r)
{
	reactor_listen(r);
	for (;;) {
		bool any = reactor_pass(r);
		if (reactor_is_drained(r))
			break;
		if (!any && !reactor_spin(r))
			reactor_sleep(r);
	}
	if (!r->pool)
		uring_disable(&r->ring);
}

/* --- life --- */

static int reactor_init_ring(struct reactor *r, const struct uring_sys *sys)
{
	int err = uring_init(&r->ring, r->cfg.entries, sys);
	if (!err && r->cfg.has_file && uring_keep_file(&r->ring, r->cfg.file_fd))
		r->kept_fd = r->cfg.file_fd;
	return err;
}

/*
 * Can the pool stand in? Also where a ring gets no memory: kernels before 5.12 lock it, which a
 * limit of the user may forbid altogether (RLIMIT_MEMLOCK).
 */
static bool reactor_may_use_pool(int err)
{
	return err == -ENOSYS || err == -EPERM || err == -EACCES || err == -ENOMEM;
}

static int reactor_init_pool(struct reactor *r)
{
	return pool_create(&r->pool,
			   r->cfg.max_workers ? r->cfg.max_workers : REACTOR_POOL_THREADS);
}

/* The ring failed with @err: the pool, or an error. */
static int reactor_do_without_ring(struct reactor *r, int err)
{
	if (r->cfg.engine == REACTOR_URING || !reactor_may_use_pool(err))
		return err;
	uring_fini(&r->ring);
	r->kept_fd = NO_FD;
	r->has_no_memory = err == -ENOMEM;
	return reactor_init_pool(r);
}

static int reactor_init_engine(struct reactor *r, const struct uring_sys *sys)
{
	if (r->cfg.engine == REACTOR_POOL)
		return reactor_init_pool(r);
	int err = reactor_init_ring(r, sys);
	return err ? reactor_do_without_ring(r, err) : 0;
}

int reactor_begin(struct reactor *r)
{
	if (r->pool)
		return 0;
	int err = uring_enable(&r->ring, r->cfg.max_workers);
	return err ? reactor_do_without_ring(r, err) : 0;
}

static void reactor_cleanup(struct reactor **r)
{
	reactor_destroy(*r);
}

int reactor_create_with(struct reactor **out, const struct reactor_config *cfg,
			const struct uring_sys *sys)
{
	CLEANUP(reactor_cleanup) struct reactor *r = aligned_alloc(CACHE_ALIGN, sizeof(*r));
	if (!r)
		return -ENOMEM;
	memset(r, 0, sizeof(*r));
	r->cfg = *cfg;
	r->sys = sys;
	list_init(&r->sources);
	list_init(&r->waits);
	list_init(&r->backlog);
	list_init(&r->ready);
	mpsc_init(&r->mail);
	spin_init(&r->spin, cfg->spin_ns);
	r->mail_op.done = reactor_on_mail;
	r->mail_iov = (struct iovec){ &r->mail_count, sizeof(r->mail_count) };
	r->kept_fd = NO_FD;
	r->mail_fd = eventfd(0, EFD_CLOEXEC);
	if (r->mail_fd < 0)
		return -errno;
	int err = reactor_init_engine(r, sys);
	if (err)
		return err;
	*out = take(r);
	return 0;
}

int reactor_create(struct reactor **out, const struct reactor_config *cfg)
{
	return reactor_create_with(out, cfg, &uring_sys_real);
}

void reactor_destroy(struct reactor *r)
{
	if (!r)
		return;
	BUG_ON(r->in_flight);
	spin_fini(&r->spin);
	pool_destroy(r->pool);
	uring_fini(&r->ring);
	fd_close(r->mail_fd);
	free(r);
}

const struct reactor_stats *reactor_stats_of(const struct reactor *r)
{
	return &r->stats;
}

bool reactor_is_writing(const struct reactor *r)
{
	return atomic_load_explicit(&r->inline_writes.is_busy, memory_order_relaxed);
}
