/* vworker.c - worker threads: each owns a reactor and the virtqueues that were handed to it. */
#include "dev/vworker.h"
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "pulse_priv.h"
#include "sync/thread.h"

struct vworker {
	struct reactor *reactor;
	struct thread *thread;
	struct reactor_msg beat_msg;
	_Atomic bool is_beat_out; /* beat_msg is on its way */
	struct pulse pulse;       /* whoever asks for beats */
};

static int vworker_begin(void *arg)
{
	struct vworker *w = arg;
	return reactor_begin(w->reactor);
}

static void vworker_main(void *arg)
{
	struct vworker *w = arg;
	reactor_run(w->reactor);
}

static void vworker_cleanup(struct vworker **w)
{
	vworker_destroy(*w);
}

int vworker_create(struct vworker **out, const struct vworker_config *cfg)
{
	CLEANUP(vworker_cleanup) struct vworker *w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	struct reactor_config rc = { .entries = cfg->entries,
				     .engine = cfg->engine,
				     .has_file = cfg->has_file,
				     .file_fd = cfg->file_fd,
				     .spin_ns = cfg->spin_ns };
	int err = reactor_create(&w->reactor, &rc);
	if (err)
		return err;
	struct thread_attr attr = { .name = cfg->name, .cpus = cfg->cpus, .begin = vworker_begin };
	err = thread_create(&w->thread, &attr, vworker_main, w);
	if (err)
		return err;
	*out = take(w);
	return 0;
}

void vworker_destroy(struct vworker *w)
{
	if (!w)
		return;
	if (w->thread) {
		reactor_stop(w->reactor);
		thread_join(w->thread);
	}
	reactor_destroy(w->reactor);
	free(w);
}

struct reactor *vworker_reactor(struct vworker *w)
{
	return w->reactor;
}

struct vworker_mark {
	struct reactor_msg msg;
	sem_t is_reached;
};

static void vworker_on_mark(struct reactor_msg *m)
{
	(void)sem_post(
		&container_of(m, struct vworker_mark, msg)->is_reached); /* once: no overflow */
}

void vworker_sync(struct vworker *w)
{
	struct vworker_mark mark = { .msg.fn = vworker_on_mark };
	(void)sem_init(&mark.is_reached, 0, 0); /* fails for a huge count only */
	reactor_post(w->reactor, &mark.msg);
	while (sem_wait(&mark.is_reached))
		BUG_ON(errno != EINTR);
	(void)sem_destroy(&mark.is_reached); /* nobody waits */
}

static void vworker_on_beat(struct reactor_msg *m)
{
	struct vworker *w = container_of(m, struct vworker, beat_msg);
	/* release: pairs with the exchange in vworker_beat(), whose the message is again */
	atomic_store_explicit(&w->is_beat_out, false, memory_order_release);
}

bool vworker_beat(struct vworker *w)
{
	if (atomic_exchange_explicit(&w->is_beat_out, true, memory_order_acquire)) {
		if (reactor_is_writing(w->reactor))
			return true; /* the disk's fault, not its own */
		bool is_lost = pulse_is_lost(&w->pulse, thread_cpu_ns(w->thread));
		thread_signal(w->thread); /* if it sleeps, it runs a moment before the next look */
		return !is_lost;
	}
	pulse_ask(&w->pulse, thread_cpu_ns(w->thread));
	w->beat_msg.fn = vworker_on_beat;
	reactor_post(w->reactor, &w->beat_msg);
	return true;
}

/*
 * Once nothing of the queue is in flight any more, come back through the mailbox: what frees the
 * queue must not run inside the reactor's walk over its sources.
 */
static void vworker_check_stopped(struct vworker_queue *wq)
{
	if (!wq->is_stopping || wq->is_finishing || wq->kick_armed || wq->holds)
		return;
	/* nobody serves the backlog of a dead queue: its requests end with the reset */
	if (wq->q && (vq_in_flight(wq->q) || (!wq->is_dead && vq_has_backlog(wq->q))))
		return;
	wq->is_finishing = true;
	reactor_post(wq->worker->reactor, &wq->stop_msg);
}

/* Relaxed: each counter by itself, for people. */
static void vworker_show(struct vworker_queue *wq)
{
	const struct vq_stats *now = vq_stats_of(wq->q), *old = &wq->before;
	struct vq_stats *to = wq->shown ? &wq->shown->stats : &wq->own.stats;
	__atomic_store_n(&to->requests, old->requests + now->requests, __ATOMIC_RELAXED);
	__atomic_store_n(&to->kicks, old->kicks + now->kicks, __ATOMIC_RELAXED);
	__atomic_store_n(&to->interrupts, old->interrupts + now->interrupts, __ATOMIC_RELAXED);
	__atomic_store_n(&to->passes, old->passes + now->passes, __ATOMIC_RELAXED);
	__atomic_store_n(&to->errors, old->errors + now->errors, __ATOMIC_RELAXED);
}

void vworker_queue_stats(const struct vworker_queue *wq, struct vq_stats *out)
{
	*out = vq_counters_read(wq->shown ? wq->shown : &wq->own);
}

void vworker_count_in(struct vworker_queue *wq, struct vq_counters *c)
{
	wq->before = vq_counters_read(c);
	wq->shown = c;
}

static void vworker_finish(struct vworker_queue *wq)
{
	uint16_t next = wq->setup.next;
	if (wq->q) {
		vq_signal(wq->q);
		next = vq_next(wq->q);
		reactor_del_source(wq->worker->reactor, &wq->source);
		vworker_show(wq);
		/* what we wrote there: others may write too, but then it is shown only */
		vworker_queue_stats(wq, &wq->before);
		if (wq->stopped)
			wq->stopped(wq);
		vq_destroy(wq->q);
		wq->q = NULL;
	}
	/* from here on the device may restart it, or be gone */
	vdev_queue_stopped_at(wq->dev, wq->idx, next);
}

/* Runs twice for each stop: when it is asked for, and when nothing is in flight any more. */
static void vworker_on_stop(struct reactor_msg *m)
{
	struct vworker_queue *wq = container_of(m, struct vworker_queue, stop_msg);
	if (wq->is_finishing) {
		vworker_finish(wq);
		return;
	}
	wq->is_stopping = true;
	if (wq->q && wq->stopping)
		wq->stopping(wq);
	if (wq->kick_armed)
		reactor_cancel(wq->worker->reactor, &wq->kick_op);
	vworker_check_stopped(wq);
}

static void vworker_kill(struct vworker_queue *wq, const char *why)
{
	wq->is_dead = true;
	vdev_needs_reset(wq->dev, why);
}

static bool vworker_is_parked(struct vworker_queue *wq)
{
	if (wq->is_parked && vq_in_flight(wq->q) < wq->parked_at)
		wq->is_parked = false;
	return wq->is_parked;
}

static bool vworker_poll(struct reactor_source *s)
{
	struct vworker_queue *wq = container_of(s, struct vworker_queue, source);
	if (wq->is_dead || vworker_is_parked(wq) || !vq_has_work(wq->q))
		return false;
	if (wq->is_stopping && !vq_has_backlog(wq->q))
		return false;
	int got = wq->serve(wq, wq->q);
	if (got == -ENOBUFS) {
		wq->is_parked = true;
		wq->parked_at = vq_in_flight(wq->q);
	} else if (got < 0) {
		vworker_kill(wq, "the driver broke the format of a queue");
	}
	return true; /* results may wait for the flush */
}

static void vworker_send(struct vworker_queue *wq)
{
	wq->source.is_holding = false;
	vq_signal(wq->q);
	coalesce_sent(&wq->coalesce, vq_stats_of(wq->q)->requests);
}

static void vworker_settle(struct reactor_source *s)
{
	vworker_send(container_of(s, struct vworker_queue, source));
}

static void vworker_flush(struct reactor_source *s)
{
	struct vworker_queue *wq = container_of(s, struct vworker_queue, source);
	if (vq_show(wq->q)) {
		uint64_t shown = vq_stats_of(wq->q)->requests;
		s->is_holding = coalesce_holds(&wq->coalesce, shown, clock_ns());
		if (!s->is_holding)
			vworker_send(wq);
	}
	vworker_show(wq);
	vworker_check_stopped(wq);
}

static void vworker_wait_kick(struct vworker_queue *wq)
{
	wq->kick_armed = true;
	reactor_readv(wq->worker->reactor, &wq->kick_op, wq->setup.kick_fd, &wq->kick_iov, 1, -1);
}

static bool vworker_arm(struct reactor_source *s)
{
	struct vworker_queue *wq = container_of(s, struct vworker_queue, source);
	if (wq->is_dead || wq->is_stopping)
		return false;
	if (!vworker_is_parked(wq) && vq_arm(wq->q))
		return true;
	if (!wq->kick_armed)
		vworker_wait_kick(wq);
	return false;
}

static void vworker_disarm(struct reactor_source *s)
{
	struct vworker_queue *wq = container_of(s, struct vworker_queue, source);
	vq_disarm(wq->q);
}

static void vworker_kicked(struct reactor_op *op, int32_t res)
{
	struct vworker_queue *wq = container_of(op, struct vworker_queue, kick_op);
	wq->kick_armed = false;
	if (res > 0)
		vq_count_kick(wq->q);
	else if (res < 0 && res != -ECANCELED)
		vworker_kill(wq, "its doorbell cannot be read");
	vworker_check_stopped(wq);
}

static void vworker_on_start(struct reactor_msg *m)
{
	struct vworker_queue *wq = container_of(m, struct vworker_queue, start_msg);
	wq->is_dead = wq->is_parked = wq->is_stopping = wq->is_finishing = false;
	int err = vq_create(&wq->q, &wq->setup);
	if (err) {
		wq->q = NULL;
		log_debug("%s: queue %u: cannot start: error %d", wq->dev->id, wq->idx, -err);
		vworker_kill(wq, "a queue has a size or an address that cannot be");
		return;
	}
	wq->coalesce = (struct coalesce){ 0 }; /* results are counted anew */
	wq->kick_iov = (struct iovec){ &wq->kick_count, sizeof(wq->kick_count) };
	wq->kick_op.done = vworker_kicked;
	if (wq->started)
		wq->started(wq);
	reactor_add_source(wq->worker->reactor, &wq->source);
}

void vworker_start_queue(struct vworker_queue *wq, const struct vq_setup *s)
{
	wq->setup = *s;
	wq->source = (struct reactor_source){ .poll = vworker_poll,
					      .flush = vworker_flush,
					      .arm = vworker_arm,
					      .disarm = vworker_disarm,
					      .settle = vworker_settle };
	wq->start_msg.fn = vworker_on_start;
	wq->stop_msg.fn = vworker_on_stop;
	reactor_post(wq->worker->reactor, &wq->start_msg);
}

void vworker_stop_queue(struct vworker_queue *wq)
{
	reactor_post(wq->worker->reactor, &wq->stop_msg);
}

void vworker_wake(struct vworker_queue *wq)
{
	wq->is_parked = false;
}

void vworker_hold(struct vworker_queue *wq)
{
	wq->holds++;
}

void vworker_release(struct vworker_queue *wq)
{
	BUG_ON(!wq->holds);
	wq->holds--;
	vworker_check_stopped(wq);
}
