/* user_ring.c - from what a frontend says of a ring to a queue the device serves, and back. */
#include <errno.h>
#include <fcntl.h>
#include <linux/vhost_types.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "user_priv.h"

#define RING_PATIENCE_MS 5000 /* between two complaints about I/O that does not end */

/* --- what the device calls --- */

static void user_on_config_changed(void *host)
{
	struct vhost_user_server *s = host;
	notifier_signal(&s->wake);
}

static void user_on_queue_stopped(void *host, uint16_t idx)
{
	(void)idx;
	user_on_config_changed(host);
}

static int user_queue_wires(void *host, uint16_t idx, int *kick_fd, struct notifier **call)
{
	struct vhost_user_server *s = host;
	*kick_fd = s->rings[idx].kick_fd;
	*call = &s->rings[idx].call;
	return 0;
}

static void user_on_reset_done(void *host)
{
	(void)host; /* only the server resets, and waits for it */
}

const struct vdev_host_ops user_host_ops = {
	.config_changed = user_on_config_changed,
	.queue_wires = user_queue_wires,
	.reset_done = user_on_reset_done,
	.queue_stopped = user_on_queue_stopped,
};

/* --- interrupts --- */

void user_signal_nobody(void *ctx)
{
	(void)ctx;
}

/*
 * A worker may be about to write to the notifier's descriptor: that number stays what it is, and
 * only what it refers to is exchanged. Spurious calls are harmless, lost ones are not.
 */
int user_notifier_set(struct vhost_user_server *s, struct notifier *n, int fd)
{
	if (fd < 0) {
		notifier_set_fn(n, user_signal_nobody, s);
		return 0;
	}
	while (dup3(fd, n->fd, O_CLOEXEC) < 0)
		if (errno != EINTR && errno != EBUSY)
			return -errno;
	notifier_set_fn(n, NULL, NULL);
	return 0;
}

int user_ring_set_call(struct vhost_user_server *s, uint16_t idx, int fd)
{
	struct user_ring *r = &s->rings[idx];
	int err = user_notifier_set(s, &r->call, fd);
	if (!err && fd >= 0 && r->is_running)
		notifier_signal_shared(&r->call);
	return err;
}

/* --- life --- */

void user_rings_reset(struct vhost_user_server *s)
{
	for (uint16_t i = 0; i < s->dev->nr_queues; i++) {
		struct user_ring *r = &s->rings[i];
		BUG_ON(r->is_running);
		fd_close(r->kick_fd);
		fd_close(r->err_fd);
		r->kick_fd = r->err_fd = -1;
		notifier_set_fn(&r->call, user_signal_nobody, s);
		r->size = r->next = 0;
		r->has_addr = r->is_enabled = r->has_log = false;
	}
}

int user_rings_init(struct vhost_user_server *s)
{
	for (uint16_t i = 0; i < s->dev->nr_queues; i++)
		s->rings[i].kick_fd = s->rings[i].err_fd = -1;
	for (uint16_t i = 0; i < s->dev->nr_queues; i++) {
		int err = notifier_init(&s->rings[i].call);
		if (err)
			return err;
	}
	user_rings_reset(s);
	return 0;
}

void user_rings_fini(struct vhost_user_server *s)
{
	for (uint16_t i = 0; i < s->dev->nr_queues; i++)
		notifier_fini(&s->rings[i].call);
}

bool user_rings_any_running(const struct vhost_user_server *s)
{
	for (uint16_t i = 0; i < s->dev->nr_queues; i++)
		if (s->rings[i].is_running)
			return true;
	return false;
}

/* --- are the device's threads alive? --- */

int user_beat(struct vhost_user_server *s)
{
	uint64_t now = clock_ns(), pause = s->beat_ms * NSEC_PER_MSEC;
	if (!s->dev->ops->beat || !user_rings_any_running(s))
		return -1;
	if (now >= s->next_beat_ns) {
		bool is_alive = s->dev->ops->beat(s->dev);
		s->next_beat_ns = now + pause;
		if (!is_alive)
			log_error("%s: a worker hangs", s->dev->id);
		BUG_ON(!is_alive);
	}
	return (int)((s->next_beat_ns - now) / NSEC_PER_MSEC) + 1;
}

/* --- stop --- */

static void user_ring_wait(struct vhost_user_server *s, uint16_t idx)
{
	struct pollfd p = { .fd = s->wake.fd, .events = POLLIN };
	uint64_t complain_ns = clock_ns() + RING_PATIENCE_MS * NSEC_PER_MSEC;
	while (!vdev_queue_is_off(s->dev, idx)) {
		int ms = user_beat(s);
		if (!poll(&p, 1, ms < 0 ? RING_PATIENCE_MS : ms) && clock_ns() > complain_ns) {
			log_warn("%s: still waiting for I/O in flight", s->dev->id);
			complain_ns = clock_ns() + RING_PATIENCE_MS * NSEC_PER_MSEC;
		}
		(void)notifier_consume(&s->wake); /* what else it means is looked up anyway */
	}
	s->rings[idx].is_running = false;
	s->rings[idx].next = s->rings[idx].base = vdev_queue_next(s->dev, idx);
}

void user_ring_halt(struct vhost_user_server *s, uint16_t idx)
{
	if (!s->rings[idx].is_running)
		return;
	vdev_queue_halt(s->dev, idx);
	user_ring_wait(s, idx);
}

void user_rings_halt_if(struct vhost_user_server *s,
			bool (*is)(const struct vhost_user_server *s, const struct user_ring *r))
{
	uint64_t which = 0;
	static_assert(VDEV_MAX_QUEUES <= 64, "a bit for each");
	for (uint16_t i = 0; i < s->dev->nr_queues; i++)
		if (s->rings[i].is_running && is(s, &s->rings[i])) {
			vdev_queue_halt(s->dev, i);
			which |= 1ull << i;
		}
	for (uint16_t i = 0; i < s->dev->nr_queues; i++)
		if (which >> i & 1)
			user_ring_wait(s, i);
}

static bool user_ring_is_any(const struct vhost_user_server *s, const struct user_ring *r)
{
	return s && r;
}

void user_rings_halt(struct vhost_user_server *s)
{
	user_rings_halt_if(s, user_ring_is_any);
}

/* --- start --- */

int user_go_live(struct vhost_user_server *s)
{
	struct vdev *d = s->dev;
	/* the transport's own */
	uint64_t ours = 1ull << VHOST_USER_F_PROTOCOL_FEATURES | 1ull << VHOST_F_LOG_ALL;
	uint64_t features = s->features & ~ours;
	uint64_t accepted = vdev_accepted(d, 0) | (uint64_t)vdev_accepted(d, 1) << 32;
	uint8_t status = vdev_status(d), ok = VIRTIO_CONFIG_S_FEATURES_OK;
	if (accepted == features && (status & VIRTIO_CONFIG_S_DRIVER_OK) &&
	    !(status & VIRTIO_CONFIG_S_NEEDS_RESET))
		return 0;
	if (user_rings_any_running(s))
		return -EIO; /* broken: waits for the frontend to stop all rings */
	vdev_set_status(d, 0);
	s->has_told_error = false;
	vdev_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	vdev_accept(d, 0, (uint32_t)features);
	vdev_accept(d, 1, (uint32_t)(features >> 32));
	vdev_set_status(d, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | ok);
	if (!(vdev_status(d) & ok))
		return -EPROTO;
	vdev_set_status(d, vdev_status(d) | VIRTIO_CONFIG_S_DRIVER_OK);
	return 0;
}

static bool user_ring_is_ready(const struct vhost_user_server *s, const struct user_ring *r)
{
	bool starts_enabled = !(s->features >> VHOST_USER_F_PROTOCOL_FEATURES & 1);
	return !r->is_running && r->size && r->has_addr && r->kick_fd >= 0 && s->mem.gmem &&
	       s->features && (r->is_enabled || starts_enabled) && user_ring_can_log(s, r);
}

int user_ring_try_start(struct vhost_user_server *s, uint16_t idx)
{
	struct user_ring *r = &s->rings[idx];
	gpa_t desc, driver, device;
	if (!user_ring_is_ready(s, r))
		return 0;
	int err = user_mem_translate(&s->mem, r->desc, &desc);
	if (!err)
		err = user_mem_translate(&s->mem, r->avail, &driver);
	if (!err)
		err = user_mem_translate(&s->mem, r->used, &device);
	if (!err)
		err = user_go_live(s);
	if (err)
		return err;
	vdev_queue_set_size(s->dev, idx, r->size);
	if (vdev_queue_size(s->dev, idx) != r->size)
		return -EINVAL; /* VIRTIO 1.2 §2.7: not a power of two */
	vdev_queue_set_area(s->dev, idx, VDEV_DESC, desc.raw);
	vdev_queue_set_area(s->dev, idx, VDEV_DRIVER, driver.raw);
	vdev_queue_set_area(s->dev, idx, VDEV_DEVICE, device.raw);
	vdev_queue_set_next(s->dev, idx, r->next);
	vdev_queue_set_log(s->dev, idx, user_log_of(&s->log, idx), s->log.stride);
	r->logging = user_ring_logging(s, r);
	vdev_queue_set_dirty(s->dev, idx, r->logging.is_on ? &s->dirty : NULL, r->logging.device);
	r->is_running = true;
	if (r->next) /* whoever had it before us may not have come to that */
		notifier_signal_shared(&r->call);
	vdev_queue_enable(s->dev,
			  idx); /* that it cannot start is the driver's fault, told by error */
	return 0;
}

int user_rings_try_start(struct vhost_user_server *s)
{
	int first = 0;
	for (uint16_t i = 0; i < s->dev->nr_queues; i++) {
		int err = user_ring_try_start(s, i);
		first = first ? first : err;
	}
	return first;
}

int user_rings_follow_log(struct vhost_user_server *s)
{
	user_rings_halt_if(s, user_ring_logs_wrongly);
	return user_rings_try_start(s);
}
