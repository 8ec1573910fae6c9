/*
 * vworker.h - a pinned thread with a reactor, and the virtqueues it owns.
 *
 * Layer:   dev
 * Threads: create, destroy on the control thread. vworker_start_queue/stop_queue from any thread:
 *          they post a message, the worker acts. serve() and the completions run on the worker.
 * Errors:  negative errno from create; see thread.h and reactor.h.
 * Spec:    docs/io.md, "Worker loop".
 */
#ifndef DEV_VWORKER_H
#define DEV_VWORKER_H
#include <sched.h>
#include "base/compiler.h"
#include "dev/coalesce.h"
#include "iouring/reactor.h"
#include "virtio/queue.h"
#include "virtio/vdev.h"

struct vworker; /* from vworker_create() to vworker_destroy() */

struct vworker_config {
	const char *name;      /* of the thread, at most 15 bytes */
	const cpu_set_t *cpus; /* NULL: anywhere */
	unsigned entries;      /* of its ring */
	bool has_file;         /* reactor_config: the file that most operations are on */
	int file_fd;
	uint64_t spin_ns; /* reactor_config: how long to look out before it sleeps */
	enum reactor_engine engine;
};

MUST_CHECK int vworker_create(struct vworker **out, const struct vworker_config *cfg);
/* All queues have been stopped. Joins the thread. NULL is fine. */
void vworker_destroy(struct vworker *w);
struct reactor *vworker_reactor(struct vworker *w);
/*
 * Wait until the worker has left everything that was posted before. A device on a worker it shares
 * calls it when it is destroyed: the upcall that told of the last stop may not have returned yet.
 */
void vworker_sync(struct vworker *w);

/*
 * vdev_ops.beat for one worker: it answers from its loop, however long its I/O takes; a write that
 * it does itself and that takes long is answer enough. False: it hangs (pulse_priv.h). From one
 * thread, at most a few times a second.
 */
bool vworker_beat(struct vworker *w);

/*
 * A queue on a worker, embedded in the device. The device fills in the first group; the rest is
 * the worker's. All functions run on the worker's thread; the last three may be NULL.
 */
struct vworker_queue {
	/* immutable */
	struct vdev *dev;
	uint16_t idx;
	struct vworker *worker;
	/*
	 * Pop and start at most VQ_BATCH requests; completions may come later through vq_push().
	 * 1: budget spent, come again. 0: queue empty. -EBADMSG: driver fault, the queue is dead.
	 * -ENOBUFS: there may be more, but come again only after a vq_push() or vworker_wake().
	 */
	int (*serve)(struct vworker_queue *wq, struct vq *q);
	void (*started)(struct vworker_queue *wq);  /* q is set */
	void (*stopping)(struct vworker_queue *wq); /* cancel what would not end by itself */
	void (*stopped)(struct vworker_queue *wq);  /* nothing in flight; q is still set */
	/* worker thread */
	struct vq *q;       /* NULL: not running */
	bool is_dead;       /* driver fault: nothing more is popped */
	bool is_parked;     /* serve() said -ENOBUFS ... */
	uint16_t parked_at; /* ... with so many in flight */
	bool is_stopping, is_finishing;
	bool kick_armed; /* kick_op is in flight */
	unsigned holds;
	uint64_t kick_count;
	struct iovec kick_iov;
	struct reactor_op kick_op;
	struct reactor_source source;
	struct coalesce coalesce;
	struct vq_stats before; /* of the queue's earlier lives */
	/* written by the worker after each pass, read by anybody: vworker_queue_stats() */
	struct vq_counters own;
	struct vq_counters *shown; /* where they are; NULL: own */
	/* written by start, read by the worker: the message in between orders them */
	struct vq_setup setup;
	struct reactor_msg start_msg, stop_msg; /* one of each in flight at most */
};

/* From vdev_ops.start: validates nothing, copies @s, posts. */
void vworker_start_queue(struct vworker_queue *wq, const struct vq_setup *s);
/* From vdev_ops.stop: ends with vdev_queue_stopped(wq->dev, wq->idx). */
void vworker_stop_queue(struct vworker_queue *wq);

/* What the queue has done as of its last pass, earlier lives included. Any thread. */
void vworker_queue_stats(const struct vworker_queue *wq, struct vq_stats *out);
/* vdev_ops.count_in for one queue. */
void vworker_count_in(struct vworker_queue *wq, struct vq_counters *c);

/* Look at a parked queue again. Worker thread; fine when it does not run. */
void vworker_wake(struct vworker_queue *wq);

/*
 * An operation on behalf of @wq that is no request in flight keeps it from being stopped until it
 * is released. Worker thread.
 */
void vworker_hold(struct vworker_queue *wq);
void vworker_release(struct vworker_queue *wq);

#endif
