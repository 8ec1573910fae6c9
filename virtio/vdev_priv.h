/*
 * vdev_priv.h - what the two halves of a device's core share: status here, queues there.
 *
 * Layer:   virtio
 * Threads: any, under the device's lock.
 * Errors:  as vdev.h.
 * Spec:    VIRTIO 1.2 §2.1, §2.6.
 */
#ifndef VIRTIO_VDEV_PRIV_H
#define VIRTIO_VDEV_PRIV_H
#include "virtio/vdev.h"

/*
 * Unlock, and do what must not be done under the lock: raise the configuration interrupt that is
 * owed, end a reset whose last queue has stopped.
 */
void vdev_unlock(struct vdev *d) RELEASES(&d->lock);

/* Set DEVICE_NEEDS_RESET and stop the queues. */
void vdev_break_locked(struct vdev *d, const char *why) MUST_HOLD(&d->lock);

/* Start queue @idx if it is enabled and the device is live. */
void vdev_queue_start_locked(struct vdev *d, uint16_t idx) MUST_HOLD(&d->lock);
/* Stop all queues that run. */
void vdev_queues_stop_locked(struct vdev *d) MUST_HOLD(&d->lock);
bool vdev_queues_stopped_locked(struct vdev *d) MUST_HOLD(&d->lock);
/* As after power-on. */
void vdev_queue_clear_locked(struct vdev *d, uint16_t idx) MUST_HOLD(&d->lock);

#endif
