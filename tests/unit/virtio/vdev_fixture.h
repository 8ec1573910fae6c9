/* vdev_fixture.h - a device whose body stops when told to, and what its transport hears. */
#ifndef TESTS_UNIT_VIRTIO_VDEV_FIXTURE_H
#define TESTS_UNIT_VIRTIO_VDEV_FIXTURE_H
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "base/num.h"
#include "support/fake_vdev.h"
#include "support/guest.h"

#define ACK        VIRTIO_CONFIG_S_ACKNOWLEDGE
#define DRV        VIRTIO_CONFIG_S_DRIVER
#define FOK        VIRTIO_CONFIG_S_FEATURES_OK
#define DOK        VIRTIO_CONFIG_S_DRIVER_OK
#define BROKEN     VIRTIO_CONFIG_S_NEEDS_RESET
#define LIVE       (ACK | DRV | FOK | DOK)
#define V1         (1ull << VIRTIO_F_VERSION_1)
#define RESETTABLE (V1 | 1ull << VIRTIO_F_RING_RESET)

struct fixture {
	struct guest guest;
	struct guest_queue gq[FAKE_QUEUES];
	struct fake_vdev fake;
	struct vdev *d;
	struct notifier call;
	unsigned config_irqs, resets_done;
	unsigned stopped[FAKE_QUEUES];
	uint8_t status_at_reset_done;
	bool is_quiet_at_reset_done;
	bool no_wires;
};

static inline void on_config_changed(void *host)
{
	((struct fixture *)host)->config_irqs++;
}

static inline int on_queue_wires(void *host, uint16_t idx, int *kick_fd, struct notifier **call)
{
	struct fixture *f = host;
	*kick_fd = 100 + idx;
	*call = &f->call;
	return f->no_wires ? -EMFILE : 0;
}

static inline void on_reset_done(void *host)
{
	struct fixture *f = host;
	f->resets_done++;
	f->status_at_reset_done = vdev_status(f->d);
	f->is_quiet_at_reset_done = vdev_is_quiet(f->d);
}

static inline void on_queue_stopped(void *host, uint16_t idx)
{
	((struct fixture *)host)->stopped[idx]++;
}

static const struct vdev_host_ops host_ops = {
	.config_changed = on_config_changed,
	.queue_wires = on_queue_wires,
	.reset_done = on_reset_done,
	.queue_stopped = on_queue_stopped,
};

static inline int setup(void **state)
{
	struct fixture *f = aligned_alloc(CACHE_ALIGN, align_up(sizeof(*f), CACHE_ALIGN));
	memset(f, 0, sizeof(*f));
	guest_init(&f->guest, MIB);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		guest_queue_init(&f->gq[i], &f->guest, 16, GUEST_FEATURES);
	fake_vdev_init(&f->fake, f->guest.mem);
	f->d = &f->fake.dev;
	vdev_attach(f->d, &host_ops, f);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;
	vdev_destroy(f->d);
	assert_int_equal(f->fake.destroys, 1);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		guest_queue_fini(&f->gq[i]);
	guest_fini(&f->guest);
	free(f);
	return 0;
}

static inline void accept_bits(struct fixture *f, uint64_t features)
{
	vdev_accept(f->d, 0, (uint32_t)features);
	vdev_accept(f->d, 1, (uint32_t)(features >> 32));
}

static inline void set_up_queue(struct fixture *f, uint16_t idx)
{
	const struct guest_queue *q = &f->gq[idx];
	vdev_queue_set_size(f->d, idx, q->size);
	vdev_queue_set_area(f->d, idx, VDEV_DESC, q->desc_gpa);
	vdev_queue_set_area(f->d, idx, VDEV_DRIVER, q->driver_gpa);
	vdev_queue_set_area(f->d, idx, VDEV_DEVICE, q->device_gpa);
}

static inline void enable_queue(struct fixture *f, uint16_t idx)
{
	set_up_queue(f, idx);
	vdev_queue_enable(f->d, idx);
}

/* Up to FEATURES_OK. */
static inline void negotiate(struct fixture *f, uint64_t features)
{
	vdev_set_status(f->d, ACK);
	vdev_set_status(f->d, ACK | DRV);
	accept_bits(f, features);
	vdev_set_status(f->d, ACK | DRV | FOK);
	assert_int_equal(vdev_status(f->d), ACK | DRV | FOK);
}

/* Live, with queues 0 and 1. */
static inline void go_live(struct fixture *f, uint64_t features)
{
	negotiate(f, features);
	enable_queue(f, 0);
	enable_queue(f, 1);
	vdev_set_status(f->d, LIVE);
	assert_int_equal(vdev_status(f->d), LIVE);
}

#endif
