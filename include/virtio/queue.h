/*
 * queue.h - the device side of one virtqueue: take requests, give back results, notify.
 *
 * Layer:   virtio
 * Threads: one owner (a worker) between vq_init() and vq_fini(); no locks inside.
 * Errors:  -EBADMSG: the driver broke the format; the queue is dead until reset. -ENOBUFS: out of
 *          room for long chains, come back after a vq_push().
 * Spec:    VIRTIO 1.2 §2.6 to §2.8.
 *
 * Ring addresses are resolved to host pointers once. Each descriptor is copied once, checked, and
 * only the copy is used. Every chain that vq_pop() returned is given back exactly once.
 */
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/compiler.h"
#include "mem/gmem.h"
#include "sync/notifier.h"
#include "virtio/dirty_log.h"

#define VQ_MAX_SIZE    1024 /* entries */
#define VQ_INLINE_SEGS 6
#define VQ_BATCH       32 /* requests a device takes from one queue in one pass */

/* What a driver told about a queue, and what the transport adds. Plain values: copied at start. */
struct vq_setup {
	uint16_t size;              /* entries; a power of two unless packed */
	uint16_t next;              /* where to go on (0 after reset): split: available index;
				     * packed: descriptor, and the inverted wrap counter in bit 15 */
	bool goes_on;               /* the driver has not begun it anew since it stopped at @next */
	gpa_t desc, driver, device; /* descriptor area, driver area, device area */
	uint64_t features;          /* negotiated: INDIRECT, EVENT_IDX, PACKED, ... */
	struct gmem *mem;
	int kick_fd;           /* eventfd the driver's notification signals */
	struct notifier *call; /* where to signal used buffers; outlives the queue */
	void *log;             /* what is in flight, to survive us (vhost-user); NULL: none */
	size_t log_bytes;
	const struct dirty_log *dirty; /* what is written is marked there; outlives the queue; NULL:
					* nowhere */
	uint64_t dirty_device;         /* where the device area lies in that log */
};

/* One request of the driver: copied, checked, translated. Empty buffers are left out. */
struct vq_chain {
	uint16_t head;          /* identity until vq_push(): below the queue size */
	uint16_t nr_out, nr_in; /* segments the device reads, then those it writes */
	uint32_t out_bytes, in_bytes;
	struct iovec *iov; /* nr_out + nr_in host ranges, in order; never NULL until vq_push() */
	struct iovec small[VQ_INLINE_SEGS];
};

/* Counters of one queue, written by its owner only, read by anybody (relaxed). */
struct vq_stats {
	uint64_t requests;   /* whose results were published */
	uint64_t kicks;      /* vq_count_kick() */
	uint64_t interrupts; /* sent by vq_signal() */
	uint64_t passes;     /* publications that held something */
	uint64_t errors;     /* faults of the driver */
};

/*
 * Counters in memory of their own, which may be shared with other processes: whoever reads them
 * must expect any value. One for each queue, apart, because each has another writer.
 */
struct vq_counters {
	struct vq_stats stats CACHE_ALIGNED;
};
/* A copy, each counter by itself. */
static inline struct vq_stats vq_counters_read(const struct vq_counters *c)
{
	return (struct vq_stats){
		.requests = __atomic_load_n(&c->stats.requests, __ATOMIC_RELAXED),
		.kicks = __atomic_load_n(&c->stats.kicks, __ATOMIC_RELAXED),
		.interrupts = __atomic_load_n(&c->stats.interrupts, __ATOMIC_RELAXED),
		.passes = __atomic_load_n(&c->stats.passes, __ATOMIC_RELAXED),
		.errors = __atomic_load_n(&c->stats.errors, __ATOMIC_RELAXED),
	};
}

struct vq; /* layout in virtio/queue_priv.h, for the ring engine and its benchmarks */

/*
 * Would vq_create() accept this? -EINVAL: size or alignment the specification forbids. -EFAULT: an
 * area outside guest RAM. The wires are not looked at.
 */
MUST_CHECK int vq_check(const struct vq_setup *setup);

/* Errors of vq_check(), and -ENOMEM. */
MUST_CHECK int vq_create(struct vq **out, const struct vq_setup *setup);
void vq_destroy(struct vq *q);

/*
 * Next request: 1 and *out (owned by the queue, valid until vq_push), 0: none, or an error. Never
 * touches the notification state.
 */
MUST_CHECK int vq_pop(struct vq *q, struct vq_chain **out);

/*
 * Up to @max (at most VQ_BATCH) requests at once: how many, 0: none, or an error. Fewer than @max
 * does not mean that there are no more, nor that nothing is wrong: call again to know.
 */
MUST_CHECK int vq_pop_batch(struct vq *q, struct vq_chain **out, unsigned max);

/* Put the request taken last back, as if never popped. Only directly after it was taken. */
void vq_unpop(struct vq *q, struct vq_chain *c);

/*
 * Complete @c: @written bytes were stored in its writable part, of which the last may have gone to
 * the last byte (a status). The driver sees it at publish.
 */
void vq_push(struct vq *q, struct vq_chain *c, uint32_t written);

/* More may have been stored than vq_push() will be told, as by I/O that failed half way. Before it.
 */
void vq_spoiled(struct vq *q, struct vq_chain *c);

/* Show all pushed results to the driver: one index store. True: it wants an interrupt. */
bool vq_publish(struct vq *q);

/* vq_publish(), and put off the interrupt until vq_signal(). True: one is owed. */
bool vq_show(struct vq *q);

/* vq_show(), and signal the driver if that is owed. */
void vq_signal(struct vq *q);

/* Is something there to pop? One acquire load. */
bool vq_has_work(struct vq *q);

/* Ask the driver for a notification from the next request on. True: there is one already, so do
 * not sleep. */
MUST_CHECK bool vq_arm(struct vq *q);
/* No more notifications, please: we are awake. */
void vq_disarm(struct vq *q);

uint16_t vq_size(const struct vq *q);
uint16_t vq_in_flight(const struct vq *q);
/* Are there requests in the log that whoever had the queue before us took, and that are still to be
 * popped? They are served even by a queue that is to stop. */
bool vq_has_backlog(const struct vq *q);
/* Where a successor would go on; meaningful with nothing in flight. */
uint16_t vq_next(const struct vq *q);
const struct vq_stats *vq_stats_of(const struct vq *q);
void vq_count_kick(struct vq *q);

/* Copy @len bytes from byte @off of the readable part; false: the part is shorter. */
MUST_CHECK bool vq_chain_read(const struct vq_chain *c, uint32_t off, void *dst, uint32_t len);
/* Copy @len bytes to byte @off of the writable part; false: the part is shorter. */
MUST_CHECK bool vq_chain_write(const struct vq_chain *c, uint32_t off, const void *src,
			       uint32_t len);

#endif
