/* heir.c - see heir.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include "../../../virtio/inflight_wire.h"
#include "heir.h"

#define LOG_BYTES 8192

union heir_keep heir_keep;
static uint64_t logs[DRIVE_MAX_QUEUES][LOG_BYTES / sizeof(uint64_t)];
static const struct console_port_config *ports;
static unsigned nr_ports;

static struct {
	uint8_t *ram, keep[sizeof(heir_keep)], logs[sizeof(logs)];
} saved;

void heir_clear_logs(void)
{
	memset(logs, 0, sizeof(logs));
}

void heir_set_log(struct term *f, uint16_t q)
{
	vdev_queue_set_log(f->v.dev, q, logs[q], LOG_BYTES);
}

void heir_attach(struct term *f, const struct console_port_config *p, unsigned nr)
{
	struct vdev *d;
	const struct console_config cfg = {
		.ports = p, .nr_ports = nr, .cols = 80, .rows = 25, .keep = &heir_keep
	};
	ports = p;
	nr_ports = nr;
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &cfg), 0);
	drive_attach(&f->v, d);
	vdev_set_status(d, 0); /* a frontend's hello */
	for (uint16_t i = 0; i < f->v.nr_queues; i++)
		heir_set_log(f, i);
}

void heir_up(struct term *f, const struct console_port_config *p, unsigned nr)
{
	memset(&heir_keep, 0, sizeof(heir_keep));
	heir_clear_logs();
	heir_attach(f, p, nr);
	drive_up(&f->v, ~0ull);
	fake_passes(1);
}

void heir_remember(struct term *f)
{
	saved.ram = malloc(DRIVE_RAM_BYTES);
	assert_non_null(saved.ram);
	memcpy(saved.ram, f->v.ram, DRIVE_RAM_BYTES);
	memcpy(saved.keep, &heir_keep, sizeof(heir_keep));
	memcpy(saved.logs, logs, sizeof(logs));
}

void heir_die(struct term *f)
{
	struct drive_queue q[DRIVE_MAX_QUEUES];
	memcpy(q, f->v.q, sizeof(q));
	for (unsigned i = 0; i < DRIVE_MAX_QUEUES; i++)
		f->v.q[i].is_up = false; /* the driver's side stays */
	drive_unplug(&f->v);
	f->v.is_destroyed = false;
	memcpy(f->v.q, q, sizeof(q));
	memcpy(f->v.ram, saved.ram, DRIVE_RAM_BYTES);
	memcpy(&heir_keep, saved.keep, sizeof(heir_keep));
	memcpy(logs, saved.logs, sizeof(logs));
	free(saved.ram);
	fake_held = 0;
}

void heir_take_over(struct term *f)
{
	struct drive *v = &f->v;
	uint8_t s = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	heir_attach(f, ports, nr_ports);
	vdev_set_status(v->dev, s);
	vdev_accept(v->dev, 0, (uint32_t)v->features);
	vdev_accept(v->dev, 1, (uint32_t)(v->features >> 32));
	vdev_set_status(v->dev, s |= VIRTIO_CONFIG_S_FEATURES_OK);
	for (uint16_t i = 0; i < v->nr_queues; i++) {
		const struct guest_queue *q = &v->q[i].ring;
		vdev_queue_set_size(v->dev, i, q->size);
		vdev_queue_set_area(v->dev, i, VDEV_DESC, q->desc_gpa);
		vdev_queue_set_area(v->dev, i, VDEV_DRIVER, q->driver_gpa);
		vdev_queue_set_area(v->dev, i, VDEV_DEVICE, q->device_gpa);
		vdev_queue_enable(v->dev, i);
	}
	vdev_set_status(v->dev, s | VIRTIO_CONFIG_S_DRIVER_OK);
}

void heir_killed(struct term *f)
{
	heir_remember(f);
	heir_die(f);
	heir_take_over(f);
	fake_passes(3);
}

void heir_had_taken(uint16_t q, uint16_t head)
{
	struct inflight_split *s = (struct inflight_split *)(void *)logs[q];
	s->desc[head].is_inflight = 1;
}
