/*
 * fake_vdev.h - a device body that records what it is told and stops queues when the test says so.
 *
 * Layer:   tests
 * Threads: the test's own.
 * Errors:  start fails with start_err.
 * Spec:    virtio/vdev.h.
 */
#ifndef TESTS_SUPPORT_FAKE_VDEV_H
#define TESTS_SUPPORT_FAKE_VDEV_H
#include <string.h>
#include "virtio/vdev.h"

#define FAKE_QUEUES 3
#define FAKE_SIZE   64
#define FAKE_CONFIG 12
#define FAKE_BIT    (1ull << 5) /* a feature of its own */
#define FAKE_NEEDS  (1ull << 6) /* one that depends on FAKE_BIT */

struct fake_vdev {
	struct vdev dev;
	unsigned starts[FAKE_QUEUES], stops[FAKE_QUEUES];
	struct vq_setup setup[FAKE_QUEUES];
	unsigned resets, destroys, wires_changes;
	int start_err;
	uint8_t config[FAKE_CONFIG];
};

static inline struct fake_vdev *fake_of(struct vdev *d)
{
	return container_of(d, struct fake_vdev, dev);
}

static inline void fake_config_read(struct vdev *d, uint32_t off, void *buf, uint32_t len)
{
	BUG_ON(off + len > FAKE_CONFIG);
	memcpy(buf, fake_of(d)->config + off, len);
}

static inline void fake_config_write(struct vdev *d, uint32_t off, const void *buf, uint32_t len)
{
	BUG_ON(off + len > FAKE_CONFIG);
	memcpy(fake_of(d)->config + off, buf, len);
}

static inline bool fake_accept(struct vdev *d, uint64_t features)
{
	(void)d;
	return !(features & FAKE_NEEDS) || (features & FAKE_BIT);
}

static inline int fake_start(struct vdev *d, uint16_t idx, const struct vq_setup *s)
{
	struct fake_vdev *f = fake_of(d);
	if (f->start_err)
		return f->start_err;
	f->starts[idx]++;
	f->setup[idx] = *s;
	return 0;
}

static inline void fake_stop(struct vdev *d, uint16_t idx)
{
	fake_of(d)->stops[idx]++;
}

static inline void fake_reset(struct vdev *d)
{
	fake_of(d)->resets++;
}

static inline void fake_wires_changed(struct vdev *d)
{
	fake_of(d)->wires_changes++;
}

static inline void fake_destroy(struct vdev *d)
{
	fake_of(d)->destroys++;
	vdev_fini(d);
}

static const struct vdev_ops fake_vdev_ops = {
	.name = "fake",
	.id = 4,
	.config_read = fake_config_read,
	.config_write = fake_config_write,
	.accept_features = fake_accept,
	.start = fake_start,
	.stop = fake_stop,
	.wires_changed = fake_wires_changed,
	.reset = fake_reset,
	.destroy = fake_destroy,
};

static inline void fake_vdev_init(struct fake_vdev *f, struct gmem *mem)
{
	memset(f, 0, sizeof(*f));
	BUG_ON(vdev_init(&f->dev, &fake_vdev_ops, mem, FAKE_QUEUES, FAKE_SIZE, FAKE_CONFIG,
			 FAKE_BIT | FAKE_NEEDS));
	strcpy(f->dev.id, "fake0");
}

#endif
