/* vdev_queue.c - see virtio/vdev.h: the registers and the life of each queue. */
#include <errno.h>
#include <linux/virtio_config.h>
#include "base/num.h"
#include "vdev_priv.h"
#include "virtio/vdev.h"

/* --- life --- */

static bool vdev_queue_is_busy(const struct vdev_queue *q)
{
	return q->state == VDEV_Q_RUNNING || q->state == VDEV_Q_STOPPING;
}

static int vdev_queue_start(struct vdev *d, uint16_t idx)
{
	const struct vdev_queue *q = &d->q[idx];
	struct vq_setup s = {
		.size = q->size,
		.desc = q->desc,
		.driver = q->driver,
		.device = q->device,
		.features = d->accepted,
		.mem = d->mem,
		.kick_fd = -1,
		.next = q->next,
		.goes_on = q->has_run,
		.log = q->log,
		.log_bytes = q->log_bytes,
		.dirty = q->dirty,
		.dirty_device = q->dirty_device,
	};
	int err = d->mem ? vq_check(&s) : -EFAULT;
	if (!err && d->host_ops)
		err = d->host_ops->queue_wires(d->host, idx, &s.kick_fd, &s.call);
	return err ? err : d->ops->start(d, idx, &s);
}

void vdev_queue_start_locked(struct vdev *d, uint16_t idx)
{
	uint8_t live = VIRTIO_CONFIG_S_DRIVER_OK;
	if (d->q[idx].state != VDEV_Q_ENABLED || d->is_resetting || d->holds)
		return;
	if ((d->status & (live | VIRTIO_CONFIG_S_NEEDS_RESET)) != live)
		return;
	if (vdev_queue_start(d, idx))
		vdev_break_locked(d, "a queue cannot start");
	else
		d->q[idx].state = VDEV_Q_RUNNING;
}

static void vdev_queue_stop_locked(struct vdev *d, uint16_t idx) MUST_HOLD(&d->lock)
{
	if (d->q[idx].state != VDEV_Q_RUNNING)
		return;
	d->q[idx].state = VDEV_Q_STOPPING;
	d->ops->stop(d, idx);
}

void vdev_queues_stop_locked(struct vdev *d)
{
	for (uint16_t i = 0; i < d->nr_queues; i++)
		vdev_queue_stop_locked(d, i);
}

bool vdev_queues_stopped_locked(struct vdev *d)
{
	for (uint16_t i = 0; i < d->nr_queues; i++)
		if (vdev_queue_is_busy(&d->q[i]))
			return false;
	return true;
}

void vdev_queue_clear_locked(struct vdev *d, uint16_t idx)
{
	uint16_t max = d->q[idx].max_size;
	d->q[idx] = (struct vdev_queue){ .max_size = max, .size = max, .state = VDEV_Q_OFF };
}

/* Off, with nothing but the place where to go on. */
static void vdev_queue_off_locked(struct vdev *d, uint16_t idx) MUST_HOLD(&d->lock)
{
	uint16_t next = d->q[idx].next;
	vdev_queue_clear_locked(d, idx);
	d->q[idx].next = next;
}

void vdev_queue_stopped_at(struct vdev *d, uint16_t idx, uint16_t next)
{
	mutex_lock(&d->lock);
	struct vdev_queue *q = &d->q[idx];
	BUG_ON(idx >= d->nr_queues || q->state != VDEV_Q_STOPPING);
	q->state = VDEV_Q_ENABLED; /* as its register goes on to say until a reset */
	q->next = next;
	q->has_run = true;
	if (q->is_halting)
		vdev_queue_off_locked(d, idx);
	else if (q->is_resetting)
		vdev_queue_clear_locked(d, idx);
	else
		vdev_queue_start_locked(d, idx); /* nothing holds it any more */
	if (d->host_ops && d->host_ops->queue_stopped)
		d->host_ops->queue_stopped(d->host, idx);
	vdev_unlock(d);
}

void vdev_queue_stopped(struct vdev *d, uint16_t idx)
{
	vdev_queue_stopped_at(d, idx, 0);
}

void vdev_queue_halt(struct vdev *d, uint16_t idx)
{
	mutex_lock(&d->lock);
	vdev_queue_stop_locked(d, idx);
	if (vdev_queue_is_busy(&d->q[idx]))
		d->q[idx].is_halting = true;
	else
		vdev_queue_off_locked(d, idx);
	vdev_unlock(d);
}

bool vdev_queue_is_off(struct vdev *d, uint16_t idx)
{
	mutex_lock(&d->lock);
	bool is_off = d->q[idx].state == VDEV_Q_OFF;
	mutex_unlock(&d->lock);
	return is_off;
}

void vdev_set_mem(struct vdev *d, struct gmem *mem)
{
	mutex_lock(&d->lock);
	BUG_ON(!vdev_queues_stopped_locked(d));
	d->mem = mem;
	mutex_unlock(&d->lock);
}

bool vdev_queue_stats(struct vdev *d, uint16_t idx, struct vq_stats *out)
{
	*out = (struct vq_stats){ 0 };
	return idx < d->nr_queues && d->ops->queue_stats && d->ops->queue_stats(d, idx, out);
}

void vdev_count_in(struct vdev *d, struct vq_counters *c)
{
	for (uint16_t i = 0; d->ops->count_in && i < d->nr_queues; i++)
		d->ops->count_in(d, i, &c[i]);
}

/* --- registers --- */

/* The queue the driver means, if it may be set up now. */
static struct vdev_queue *vdev_queue_open_locked(struct vdev *d, uint16_t idx) MUST_HOLD(&d->lock)
{
	if (idx >= d->nr_queues || d->is_resetting || d->q[idx].state != VDEV_Q_OFF)
		return NULL;
	return &d->q[idx];
}

uint16_t vdev_queue_max(struct vdev *d, uint16_t idx)
{
	mutex_lock(&d->lock);
	uint16_t max = idx < d->nr_queues ? d->q[idx].max_size : 0;
	mutex_unlock(&d->lock);
	return max;
}

uint16_t vdev_queue_size(struct vdev *d, uint16_t idx)
{
	mutex_lock(&d->lock);
	uint16_t size = idx < d->nr_queues ? d->q[idx].size : 0;
	mutex_unlock(&d->lock);
	return size;
}

void vdev_queue_set_size(struct vdev *d, uint16_t idx, uint16_t size)
{
	mutex_lock(&d->lock);
	struct vdev_queue *q = vdev_queue_open_locked(d, idx);
	bool may_be_any = d->accepted &
			  (1ull << VIRTIO_F_RING_PACKED); /* VIRTIO 1.2 §2.7, §2.8.10.1 */
	if (q && size && size <= q->max_size && (may_be_any || is_pow2(size)))
		q->size = size;
	mutex_unlock(&d->lock);
}

static gpa_t *vdev_queue_area_of(struct vdev_queue *q, enum vdev_area a)
{
	return a == VDEV_DESC ? &q->desc : a == VDEV_DRIVER ? &q->driver : &q->device;
}

uint64_t vdev_queue_area(struct vdev *d, uint16_t idx, enum vdev_area a)
{
	mutex_lock(&d->lock);
	uint64_t addr = idx < d->nr_queues ? vdev_queue_area_of(&d->q[idx], a)->raw : 0;
	mutex_unlock(&d->lock);
	return addr;
}

void vdev_queue_set_area(struct vdev *d, uint16_t idx, enum vdev_area a, uint64_t addr)
{
	mutex_lock(&d->lock);
	struct vdev_queue *q = vdev_queue_open_locked(d, idx);
	if (q)
		*vdev_queue_area_of(q, a) = gpa(addr);
	mutex_unlock(&d->lock);
}

uint16_t vdev_queue_next(struct vdev *d, uint16_t idx)
{
	mutex_lock(&d->lock);
	uint16_t next = d->q[idx].next;
	mutex_unlock(&d->lock);
	return next;
}

void vdev_queue_set_next(struct vdev *d, uint16_t idx, uint16_t next)
{
	mutex_lock(&d->lock);
	struct vdev_queue *q = vdev_queue_open_locked(d, idx);
	if (q)
		q->next = next;
	mutex_unlock(&d->lock);
}

void vdev_queue_set_log(struct vdev *d, uint16_t idx, void *log, size_t bytes)
{
	mutex_lock(&d->lock);
	struct vdev_queue *q = vdev_queue_open_locked(d, idx);
	if (q) {
		q->log = log;
		q->log_bytes = bytes;
	}
	mutex_unlock(&d->lock);
}

void vdev_queue_set_dirty(struct vdev *d, uint16_t idx, const struct dirty_log *log,
			  uint64_t device)
{
	mutex_lock(&d->lock);
	struct vdev_queue *q = vdev_queue_open_locked(d, idx);
	if (q) {
		q->dirty = log;
		q->dirty_device = device;
	}
	mutex_unlock(&d->lock);
}

bool vdev_queue_enabled(struct vdev *d, uint16_t idx)
{
	mutex_lock(&d->lock);
	bool is_enabled = idx < d->nr_queues && d->q[idx].state != VDEV_Q_OFF;
	mutex_unlock(&d->lock);
	return is_enabled;
}

void vdev_queue_enable(struct vdev *d, uint16_t idx)
{
	mutex_lock(&d->lock);
	struct vdev_queue *q = vdev_queue_open_locked(d, idx);
	if (q) {
		q->state = VDEV_Q_ENABLED;
		vdev_queue_start_locked(d, idx);
	}
	vdev_unlock(d);
}

bool vdev_queue_resetting(struct vdev *d, uint16_t idx)
{
	mutex_lock(&d->lock);
	bool is_resetting = idx < d->nr_queues && d->q[idx].is_resetting;
	mutex_unlock(&d->lock);
	return is_resetting;
}

/* VIRTIO 1.2 §2.6.1, §4.1.4.3.1: reads 1 until the queue has stopped, then 0 and disabled. */
void vdev_queue_reset(struct vdev *d, uint16_t idx)
{
	uint64_t ring_reset = 1ull << VIRTIO_F_RING_RESET;
	mutex_lock(&d->lock);
	bool may = idx < d->nr_queues && !d->is_resetting && (d->accepted & ring_reset) &&
		   (d->status & VIRTIO_CONFIG_S_FEATURES_OK);
	if (may) {
		vdev_queue_stop_locked(d, idx);
		if (vdev_queue_is_busy(&d->q[idx]))
			d->q[idx].is_resetting = true;
		else
			vdev_queue_clear_locked(d, idx);
	}
	vdev_unlock(d);
}
