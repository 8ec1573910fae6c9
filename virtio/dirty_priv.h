/*
 * dirty_priv.h - queues that mark the pages they write: kind VQ_DIRTY.
 *
 * Layer:   virtio
 * Threads: the owner of the queue; whoever reads the log, at any moment.
 * Errors:  as queue.h.
 * Spec:    QEMU docs/interop/vhost-user.rst, "Migration".
 *
 * A wrapper around the other kinds, so that these know nothing of it. The order in which things
 * happen is drawn in docs/vhost-user.md, "Migration".
 *
 * A device may change the segments of a chain while it works through them. So their writable part
 * is copied when the chain is taken, and marked from that copy when it is given back.
 */
#ifndef VIRTIO_DIRTY_PRIV_H
#define VIRTIO_DIRTY_PRIV_H
#include "queue_priv.h"
#include "virtio/dirty_log.h"

struct vq_dirty {
	/* immutable after open */
	const struct dirty_log *log;
	uint64_t desc, device; /* of the descriptor area, and where the log has the device area */
	size_t map_bytes;
	struct iovec *few, *many; /* by head: VQ_INLINE_SEGS or VQ_LARGE_SEGS, the latter untouched
				   * until needed */
	/* owner */
	uint16_t nr[VQ_MAX_SIZE]; /* by head: writable segments */
};

/* @q is otherwise complete. Marks its ring: a queue that goes on may have written there. */
MUST_CHECK int vq_dirty_open(struct vq *q, const struct vq_setup *s);
void vq_dirty_close(struct vq *q);

/* As queue.h says of the functions without "dirty". */
int vq_dirty_pop(struct vq *q, struct vq_chain **out, unsigned max);
void vq_dirty_push(struct vq *q, struct vq_slot *s, uint32_t written);
bool vq_dirty_publish(struct vq *q);
void vq_dirty_spoiled(struct vq *q, const struct vq_chain *c);

/* We have asked the driver for notifications, or for none. */
void vq_dirty_event(struct vq *q);

#endif
