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
#include "iouring/reactor.h"
#include "virtio/queue.h"
#include "virtio/vdev.h"

struct vworker; /* from vworker_create() to vworker_destroy() */

struct vworker_config {
	const char *name;      /* of the thread, at most 15 bytes */
	const cpu_set_t *cpus; /* NULL: anywhere */
	unsigned entries;      /* of its ring */
};

MUST_CHECK int vworker_create(struct vworker **out, const struct vworker_config *cfg);
/* All queues have been stopped. Joins the thread. NULL is fine. */
void vworker_destroy(struct vworker *w);
struct reactor *vworker_reactor(struct vworker *w);

/*
 * A queue on a worker, embedded in the device. The device fills in the first group; the rest is
 * the worker's.
 */
struct vworker_queue {
	/* immutable */
	struct vdev *dev;
	uint16_t idx;
	struct vworker *worker;
	/*
	 * Pop and start at most VQ_BATCH requests; completions may come later through vq_push() on
	 * this thread. 1: budget spent, come again; 0: queue empty; -EBADMSG: driver fault;
	 * -ENOBUFS: come again after a completion.
	 */
	int (*serve)(struct vworker_queue *wq, struct vq *q);
	/* The queue starts (q is set) or has stopped (before it is freed). May be NULL. */
	void (*started)(struct vworker_queue *wq);
	void (*stopped)(struct vworker_queue *wq);
	/* worker thread */
	struct vq *q;           /* NULL: not running */
	struct vq_setup setup;
	bool is_dead;           /* driver fault: nothing more is popped */
	bool is_stopping;
	bool kick_armed, kick_cancelled;
	uint64_t kick_count;
	struct iovec kick_iov;
	struct reactor_op kick_op;
	struct reactor_source source;
	/* messages in flight, one of each kind at most */
	struct reactor_msg start_msg, stop_msg;
};

/* From vdev_ops.start: validates nothing, copies @s, posts. */
void vworker_start_queue(struct vworker_queue *wq, const struct vq_setup *s);
/* From vdev_ops.stop: ends with vdev_queue_stopped(wq->dev, wq->idx). */
void vworker_stop_queue(struct vworker_queue *wq);

#endif
