/* drive.c - see drive.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <linux/virtio_config.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>
#include "drive.h"

#define RING(i) (0x10000u + (i)*0x60000u) /* of each queue, and room for it */

static void drive_config_changed(void *host)
{
	struct drive *v = host;
	atomic_fetch_add(&v->config_changes, 1);
}

static int drive_wires(void *host, uint16_t idx, int *kick_fd, struct notifier **call)
{
	struct drive *v = host;
	*kick_fd = v->q[idx].kick_fd;
	*call = &v->q[idx].call;
	return 0;
}

static void drive_reset_done(void *host)
{
	struct drive *v = host;
	atomic_fetch_add(&v->resets_done, 1);
}

static const struct vdev_host_ops drive_host_ops = {
	.config_changed = drive_config_changed,
	.queue_wires = drive_wires,
	.reset_done = drive_reset_done,
};

void drive_init(struct drive *v)
{
	memset(v, 0, sizeof(*v));
	guest_init(&v->guest, DRIVE_RAM_BYTES);
	v->mem = v->guest.mem;
	v->ram = v->guest.ram;
	memset(v->ram + DRIVE_DATA, 0, DRIVE_RAM_BYTES - DRIVE_DATA);
	for (unsigned i = 0; i < DRIVE_MAX_QUEUES; i++) {
		v->q[i].kick_fd = eventfd(0, EFD_CLOEXEC);
		assert_true(v->q[i].kick_fd >= 0);
		assert_int_equal(notifier_init(&v->q[i].call), 0);
	}
}

static void *drive_destroy(void *arg)
{
	struct drive *v = arg;
	vdev_destroy(v->dev);
	atomic_store(&v->is_destroyed, true);
	return NULL;
}

static void drive_destroy_stepping(struct drive *v)
{
	pthread_t t;
	assert_int_equal(pthread_create(&t, NULL, drive_destroy, v), 0);
	while (!atomic_load(&v->is_destroyed)) {
		drive_idle(v);
		(void)sched_yield();
	}
	assert_int_equal(pthread_join(t, NULL), 0);
}

void drive_unplug(struct drive *v)
{
	if (v->dev) {
		vdev_hold(v->dev, VDEV_HOLD_END);
		drive_until(v, vdev_is_quiet(v->dev));
		if (v->destroy_waits)
			drive_destroy_stepping(v);
		else
			vdev_destroy(v->dev);
	}
	v->dev = NULL;
	for (unsigned i = 0; i < DRIVE_MAX_QUEUES; i++) {
		if (v->q[i].is_up)
			guest_queue_fini(&v->q[i].ring);
		v->q[i].is_up = false;
	}
}

void drive_fini(struct drive *v)
{
	drive_unplug(v);
	for (unsigned i = 0; i < DRIVE_MAX_QUEUES; i++) {
		(void)close(v->q[i].kick_fd);
		notifier_fini(&v->q[i].call);
	}
	guest_fini(&v->guest);
}

void drive_attach(struct drive *v, struct vdev *d)
{
	v->dev = d;
	v->nr_queues = d->nr_queues;
	assert_true(v->nr_queues <= DRIVE_MAX_QUEUES);
	vdev_attach(d, &drive_host_ops, v);
}

void drive_queue_up(struct drive *v, uint16_t idx)
{
	struct drive_queue *q = &v->q[idx];
	uint16_t max = vdev_queue_max(v->dev, idx);
	if (q->is_up)
		guest_queue_fini(&q->ring);
	v->guest.next = RING(idx);
	guest_queue_init(&q->ring, &v->guest, max < DRIVE_QUEUE_SIZE ? max : DRIVE_QUEUE_SIZE,
			 v->features);
	assert_true(v->guest.next <= RING(idx + 1u));
	q->is_up = true;
	vdev_queue_set_size(v->dev, idx, q->ring.size);
	vdev_queue_set_area(v->dev, idx, VDEV_DESC, q->ring.desc_gpa);
	vdev_queue_set_area(v->dev, idx, VDEV_DRIVER, q->ring.driver_gpa);
	vdev_queue_set_area(v->dev, idx, VDEV_DEVICE, q->ring.device_gpa);
	vdev_queue_enable(v->dev, idx);
}

void drive_up(struct drive *v, uint64_t features)
{
	uint64_t accept = features & vdev_offered(v->dev);
	v->features = accept;
	uint8_t s = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	vdev_set_status(v->dev, s);
	vdev_accept(v->dev, 0, (uint32_t)accept);
	vdev_accept(v->dev, 1, (uint32_t)(accept >> 32));
	vdev_set_status(v->dev, s |= VIRTIO_CONFIG_S_FEATURES_OK);
	assert_true(vdev_status(v->dev) & VIRTIO_CONFIG_S_FEATURES_OK);
	for (uint16_t i = 0; i < v->nr_queues; i++)
		drive_queue_up(v, i);
	vdev_set_status(v->dev, s |= VIRTIO_CONFIG_S_DRIVER_OK);
}

void drive_reset(struct drive *v)
{
	vdev_set_status(v->dev, 0);
	drive_until(v, vdev_status(v->dev) == 0);
}

void drive_queue_reset(struct drive *v, uint16_t idx)
{
	vdev_queue_reset(v->dev, idx);
	drive_until(v, !vdev_queue_resetting(v->dev, idx));
}

uint16_t drive_offer(struct drive *v, uint16_t idx, const struct drive_seg *segs, unsigned nr_out,
		     unsigned nr_in)
{
	struct guest_buf b[GUEST_TABLE];
	assert_in_range(nr_out + nr_in, 1, GUEST_TABLE);
	for (unsigned i = 0; i < nr_out + nr_in; i++)
		b[i] = (struct guest_buf){ segs[i].addr, segs[i].len, i >= nr_out };
	int head = guest_add(&v->q[idx].ring, b, nr_out + nr_in, v->use_indirect);
	assert_true(head >= 0);
	guest_show(&v->q[idx].ring);
	return (uint16_t)head;
}

void drive_kick(struct drive *v, uint16_t idx)
{
	const uint64_t one = 1;
	if (guest_wants_kick(&v->q[idx].ring))
		assert_int_equal(write(v->q[idx].kick_fd, &one, sizeof(one)), sizeof(one));
}

bool drive_used(struct drive *v, uint16_t idx, uint16_t *head, uint32_t *len)
{
	return guest_take(&v->q[idx].ring, head, len);
}

uint32_t drive_wait(struct drive *v, uint16_t idx, uint16_t *head)
{
	uint32_t len = 0;
	uint16_t h = 0;
	drive_until(v, drive_used(v, idx, &h, &len));
	if (head)
		*head = h;
	return len;
}

void drive_idle(struct drive *v)
{
	if (v->step) {
		v->step(v->step_ctx);
	} else {
		const struct timespec nap = { .tv_nsec = 100000 };
		(void)nanosleep(&nap, NULL);
	}
}

bool drive_sees_half(struct drive *v, void *(*change)(void *arg), void *arg)
{
	const struct timespec tick = { 0, 1000000 };
	struct vdev *d = v->dev;
	uint8_t before[256], now[sizeof(before)];
	bool is_same = true;
	pthread_t thread;
	assert_in_range(d->config_bytes, 1, sizeof(now));
	mutex_lock(&d->lock);
	d->ops->config_read(d, 0, before, d->config_bytes);
	assert_int_equal(pthread_create(&thread, NULL, change, arg), 0);
	for (unsigned i = 0; i < 50 && is_same; i++) { /* what is not seen soon is not seen */
		(void)nanosleep(&tick, NULL);
		d->ops->config_read(d, 0, now, d->config_bytes);
		is_same = !memcmp(before, now, d->config_bytes);
	}
	mutex_unlock(&d->lock);
	pthread_join(thread, NULL);
	return !is_same;
}
