/* vdev.c - see virtio/vdev.h: status, features, reset. */
#include "virtio/vdev.h"
#include <errno.h>
#include <linux/virtio_config.h>
#include <string.h>
#include "base/num.h"
#include "vdev_priv.h"

/* What a driver may set; DEVICE_NEEDS_RESET is ours. */
#define VDEV_DRIVER_STATUS                                                                         \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |      \
	 VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED)

int vdev_init(struct vdev *d, const struct vdev_ops *ops, struct gmem *mem, uint16_t nr_queues,
	      uint16_t queue_size, uint32_t config_bytes, uint64_t features)
{
	memset(d, 0, sizeof(*d));
	if (!nr_queues || nr_queues > VDEV_MAX_QUEUES || !is_pow2(queue_size) ||
	    queue_size > VQ_MAX_SIZE)
		return -EINVAL;
	d->ops = ops;
	d->mem = mem;
	d->nr_queues = nr_queues;
	d->config_bytes = config_bytes;
	d->offered = features | VDEV_TRANSPORT_FEATURES;
	for (uint16_t i = 0; i < nr_queues; i++)
		d->q[i].max_size = d->q[i].size = queue_size;
	mutex_init(&d->lock);
	return 0;
}

void vdev_fini(struct vdev *d)
{
	if (d->ops)
		mutex_fini(&d->lock);
	d->ops = NULL;
}

void vdev_destroy(struct vdev *d)
{
	if (d)
		d->ops->destroy(d);
}

void vdev_attach(struct vdev *d, const struct vdev_host_ops *ops, void *host)
{
	d->host_ops = ops;
	d->host = host;
}

void vdev_wires_changed(struct vdev *d)
{
	if (d->ops->wires_changed)
		d->ops->wires_changed(d);
}

/* --- reset --- */

/* All queues have stopped, and is_finishing keeps everybody else out. */
static void vdev_finish_reset(struct vdev *d)
{
	if (d->host_ops)
		d->host_ops->reset_done(d->host);
	mutex_lock(&d->lock);
	if (d->ops->reset)
		d->ops->reset(d);
	for (uint16_t i = 0; i < d->nr_queues; i++)
		vdev_queue_clear_locked(d, i);
	d->accepted = 0;
	d->status = 0;
	d->owes_irq = false;
	d->is_resetting = d->is_finishing = false;
	mutex_unlock(&d->lock);
}

void vdev_unlock(struct vdev *d)
{
	bool finish = d->is_resetting && !d->is_finishing && vdev_queues_stopped_locked(d);
	bool raise = d->owes_irq && !d->is_resetting;
	d->owes_irq = false;
	d->is_finishing |= finish;
	mutex_unlock(&d->lock);
	if (raise && d->host_ops)
		d->host_ops->config_changed(d->host);
	if (finish)
		vdev_finish_reset(d);
}

void vdev_break_locked(struct vdev *d, const char *why)
{
	if (d->is_resetting || !d->status || (d->status & VIRTIO_CONFIG_S_NEEDS_RESET))
		return;
	log_guest(&d->log_rate, "%s: %s: the device needs a reset", d->id, why);
	d->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	d->owes_irq |= !!(d->status & VIRTIO_CONFIG_S_DRIVER_OK);
	vdev_queues_stop_locked(d);
}

void vdev_needs_reset(struct vdev *d, const char *why)
{
	mutex_lock(&d->lock);
	vdev_break_locked(d, why);
	vdev_unlock(d);
}

static void vdev_hold_locked(struct vdev *d, enum vdev_hold why) MUST_HOLD(&d->lock)
{
	d->holds |= why;
	vdev_queues_stop_locked(d);
}

/* Those that are still stopping start when they have stopped. */
static void vdev_let_go_locked(struct vdev *d, enum vdev_hold why) MUST_HOLD(&d->lock)
{
	d->holds &= ~(unsigned)why;
	for (uint16_t i = 0; i < d->nr_queues; i++)
		vdev_queue_start_locked(d, i);
}

void vdev_hold(struct vdev *d, enum vdev_hold why)
{
	mutex_lock(&d->lock);
	vdev_hold_locked(d, why);
	vdev_unlock(d);
}

void vdev_let_go(struct vdev *d, enum vdev_hold why)
{
	mutex_lock(&d->lock);
	vdev_let_go_locked(d, why);
	vdev_unlock(d);
}

void vdev_set_master(struct vdev *d, bool may)
{
	mutex_lock(&d->lock);
	if (may) {
		vdev_let_go_locked(d, VDEV_HOLD_BUS);
	} else {
		/* a reset that is pending goes on to show the status it found */
		if (!d->is_resetting)
			d->status &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
		vdev_hold_locked(d, VDEV_HOLD_BUS);
	}
	vdev_unlock(d);
}

bool vdev_is_quiet(struct vdev *d)
{
	mutex_lock(&d->lock);
	bool is_quiet = !d->is_resetting && vdev_queues_stopped_locked(d);
	mutex_unlock(&d->lock);
	return is_quiet;
}

/* --- status and features --- */

uint8_t vdev_status(struct vdev *d)
{
	mutex_lock(&d->lock);
	uint8_t status = d->status;
	mutex_unlock(&d->lock);
	return status;
}

/* VIRTIO 1.2 §2.2.2, §3.1.1 step 5; §6.1: no driver without VERSION_1. */
static bool vdev_features_ok_locked(struct vdev *d) MUST_HOLD(&d->lock)
{
	if (d->accepted & ~d->offered)
		return false;
	if (!(d->accepted & (1ull << VIRTIO_F_VERSION_1)))
		return false;
	return !d->ops->accept_features || d->ops->accept_features(d, d->accepted);
}

/* Bits only ever come: VIRTIO 1.2 §2.1.1, "the driver MUST NOT clear a bit". */
static void vdev_raise_status_locked(struct vdev *d, uint8_t status) MUST_HOLD(&d->lock)
{
	uint8_t fresh = status & VDEV_DRIVER_STATUS & (uint8_t)~d->status;
	if ((fresh & VIRTIO_CONFIG_S_FEATURES_OK) && !vdev_features_ok_locked(d))
		fresh &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
	if (!((d->status | fresh) & VIRTIO_CONFIG_S_FEATURES_OK))
		fresh &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
	d->status |= fresh;
	if (fresh & VIRTIO_CONFIG_S_DRIVER_OK)
		for (uint16_t i = 0; i < d->nr_queues; i++)
			vdev_queue_start_locked(d, i);
}

void vdev_set_status(struct vdev *d, uint8_t status)
{
	mutex_lock(&d->lock);
	if (!status && !d->is_resetting) {
		d->is_resetting = true;
		vdev_queues_stop_locked(d);
	} else if (!d->is_resetting) {
		vdev_raise_status_locked(d, status);
	}
	vdev_unlock(d);
}

uint64_t vdev_offered(struct vdev *d)
{
	return d->offered;
}

void vdev_accept(struct vdev *d, unsigned word, uint32_t value)
{
	if (word > 1)
		return;
	unsigned shift = word * 32;
	mutex_lock(&d->lock);
	if (!d->is_resetting && !(d->status & VIRTIO_CONFIG_S_FEATURES_OK))
		d->accepted = (d->accepted & ~(0xffffffffull << shift)) | (uint64_t)value << shift;
	mutex_unlock(&d->lock);
}

uint32_t vdev_accepted(struct vdev *d, unsigned word)
{
	mutex_lock(&d->lock);
	uint64_t accepted = d->accepted;
	mutex_unlock(&d->lock);
	return word > 1 ? 0 : (uint32_t)(accepted >> (word * 32));
}

/* --- configuration space --- */

uint8_t vdev_generation(struct vdev *d)
{
	mutex_lock(&d->lock);
	uint8_t generation = d->generation;
	mutex_unlock(&d->lock);
	return generation;
}

void vdev_config_begin(struct vdev *d)
{
	mutex_lock(&d->lock);
}

void vdev_config_end(struct vdev *d, bool is_other)
{
	d->generation += is_other;
	/* VIRTIO 1.2 §2.1.2: no notification before DRIVER_OK */
	d->owes_irq |= is_other && (d->status & VIRTIO_CONFIG_S_DRIVER_OK);
	vdev_unlock(d);
}

void vdev_config_read(struct vdev *d, uint32_t off, void *buf, uint32_t len)
{
	memset(buf, 0, len);
	if (off >= d->config_bytes || !d->ops->config_read)
		return;
	mutex_lock(&d->lock);
	d->ops->config_read(d, off, buf, min_u32(len, d->config_bytes - off));
	mutex_unlock(&d->lock);
}

void vdev_config_write(struct vdev *d, uint32_t off, const void *buf, uint32_t len)
{
	if (off >= d->config_bytes || !d->ops->config_write)
		return;
	mutex_lock(&d->lock);
	if (!d->is_resetting)
		d->ops->config_write(d, off, buf, min_u32(len, d->config_bytes - off));
	vdev_unlock(d);
}
