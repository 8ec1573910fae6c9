/*
 * drive.h - a driver of one device in plain memory: registers in front of guest.h's rings.
 *
 * Layer:   tests
 * Threads: the test's thread; config_changes and needs_reset are counted by any.
 * Errors:  cmocka assertions.
 * Spec:    VIRTIO 1.2 §3.1.1 (initialisation), §2.6.1 (queue reset).
 */
#ifndef TESTS_UNIT_DEV_DRIVE_H
#define TESTS_UNIT_DEV_DRIVE_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "support/guest.h"
#include "sync/notifier.h"
#include "virtio/vdev.h"

#define DRIVE_RAM_BYTES  (12u << 20)
#define DRIVE_DATA       0x400000u /* the tests' own from here on */
#define DRIVE_MAX_QUEUES 8
#define DRIVE_QUEUE_SIZE 128

struct drive_queue {
	int kick_fd;
	struct notifier call;
	struct guest_queue ring;
	bool is_up;
};

struct drive {
	struct guest guest;
	struct gmem *mem; /* of the guest */
	uint8_t *ram;
	struct vdev *dev;
	uint64_t features; /* accepted */
	bool use_indirect;
	/* lets a device without threads of its own go on; NULL: it has them */
	void (*step)(void *ctx);
	void *step_ctx;
	bool destroy_waits; /* for its worker, that is: for steps */
	struct drive_queue q[DRIVE_MAX_QUEUES];
	uint16_t nr_queues;
	_Atomic unsigned config_changes, resets_done;
	_Atomic bool is_destroyed;
};

/* One buffer of a request: @len bytes at guest address @addr. */
struct drive_seg {
	uint64_t addr;
	uint32_t len;
};

void drive_init(struct drive *v);
void drive_fini(struct drive *v); /* drive_unplug(), too */
/* Plug @d in; then drive_up() makes it run with those of its features that are in @features. */
void drive_attach(struct drive *v, struct vdev *d);
/* Stop and destroy the device; another one may follow. */
void drive_unplug(struct drive *v);
void drive_up(struct drive *v, uint64_t features);
/* Write 0 to the status register and wait until it reads 0. */
void drive_reset(struct drive *v);
/* One queue: VIRTIO 1.2 §2.6.1, and enabled again. */
void drive_queue_reset(struct drive *v, uint16_t idx);
void drive_queue_up(struct drive *v, uint16_t idx);

/* Offer @nr_out readable and then @nr_in writable buffers; returns the head. No kick. */
uint16_t drive_offer(struct drive *v, uint16_t idx, const struct drive_seg *segs, unsigned nr_out,
		     unsigned nr_in);
/* Notify the device, if it wants to be. */
void drive_kick(struct drive *v, uint16_t idx);
/* Next result, or false. */
bool drive_used(struct drive *v, uint16_t idx, uint16_t *head, uint32_t *len);
/* The same, but there will be one: waits. */
uint32_t drive_wait(struct drive *v, uint16_t idx, uint16_t *head);
/* Let things happen for a moment: a step, or a nap. */
void drive_idle(struct drive *v);
/*
 * While @change(@arg) runs on another thread a driver is in the middle of its configuration space.
 * Does it read anything of the change there? That would be half of it, under the old generation.
 */
bool drive_sees_half(struct drive *v, void *(*change)(void *arg), void *arg);
/* Go on until @cond; fails the test after a minute or two. */
#define drive_until(v, cond)                                                                       \
	do {                                                                                       \
		for (unsigned drive_n_ = 0; !(cond); drive_n_++) {                                 \
			assert_true(drive_n_ < 600000);                                            \
			drive_idle(v);                                                             \
		}                                                                                  \
	} while (0)

static inline bool drive_needs_reset(struct drive *v)
{
	return vdev_status(v->dev) & 0x40;
}

#endif
