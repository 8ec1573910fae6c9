/*
 * vhost_front.h - a device whose body is a vhost-user server in another process.
 *
 * Layer:   virtio
 * Threads: create and destroy on the control thread; a thread of the frontend's own does all
 * talking after that. connect() and kill() run on the creator's thread during create, later on the
 *          frontend's; both may block, but a stop of the device waits for them.
 * Errors:  negative errno from create. -EPROTO: the server breaks the protocol, or cannot do what
 *          the configuration asks for. -ENODATA: it has no configuration space, and such a device
 *          needs one. -ETIMEDOUT: it does not answer. -E2BIG: guest memory has more separate parts
 *          than VHOST_FRONT_REGIONS. What connect() returned.
 * Spec:    QEMU docs/interop/vhost-user.rst, front end; docs/isolation.md, docs/vhost-user.md.
 *
 * What comes out is a struct vdev like any other. A server that dies, hangs or breaks the protocol
 * is replaced through connect(), and goes on where the one before it was; the guest sees a pause.
 * What a server says is never trusted: the worst it can do is to lose its connection.
 */
#ifndef VIRTIO_VHOST_FRONT_H
#define VIRTIO_VHOST_FRONT_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "mem/gmem.h"
#include "virtio/vdev.h"

#define VHOST_FRONT_ANSWER_MS 5000 /* when the configuration says 0 */
#define VHOST_FRONT_REGIONS   8    /* of guest memory; parts beside each other are one */

struct vhost_front_config {
	const char *name;    /* "block0": of the thread, the device and messages. Copied. */
	uint32_t id;         /* VIRTIO_ID_* */
	uint16_t nr_queues;  /* 0: as many as the server says (MQ), else one */
	uint16_t queue_size; /* the largest the driver may choose; a power of two */
	/*
	 * Features of the server that the driver is not to see, and those that it sees though the
	 * server does not know them (they are kept from it). What no frontend can do is hidden
	 * anyway.
	 */
	uint64_t hidden, own;
	/* Configuration space: these @config_bytes if @config is set (copied), else the server's
	 * CONFIG; of @config_bytes bytes then, or with 0 of as many as devices of this id have. */
	const void *config;
	uint32_t config_bytes;
	/*
	 * A connected stream socket (the frontend's from then on) to a server that is alone with
	 * the device, no I/O of its predecessor being under way.
	 *
	 * -EAGAIN: nobody is there, and no I/O is under way; ask again later.
	 *
	 * -EBUSY: I/O of the predecessor is under way, guest memory may still change; ask again.
	 *
	 * Any other error: do not ask again before the driver resets the device. But where the
	 * server belongs to somebody else, who may start another (no kill()), it is as -EAGAIN.
	 */
	int (*connect)(void *ctx);
	/*
	 * The server did not answer, broke the protocol, or is to be replaced: end it, before
	 * connect() is called again. Its socket is closed already. May be called for one that has
	 * ended. NULL: it belongs to somebody else, hanging up must do.
	 */
	void (*kill)(void *ctx);
	/*
	 * The driver has reset the device, and no queue runs: what is kept for servers to come,
	 * besides the account of requests, is void. NULL: nothing is.
	 */
	void (*forget)(void *forget_ctx);
	/* The same of queue @idx alone, which its driver begins anew. */
	void (*forget_queue)(void *forget_ctx, uint16_t idx);
	void *forget_ctx;
	void *ctx;
	/*
	 * A server that is to be replaced is ended by kill() where it keeps an account, not asked
	 * to stop its queues: that would cut short what it cannot finish.
	 */
	bool has_no_stop;
	/*
	 * Where the servers count, one for each queue (VDEV_MAX_QUEUES), and nobody else writes;
	 * outlives the device. NULL: it is not known.
	 */
	const struct vq_counters *counters;
	unsigned answer_ms; /* how long it may take to answer; 0: VHOST_FRONT_ANSWER_MS */
	/* Of the budget of deaths, monotonic; any thread. NULL: CLOCK_MONOTONIC. */
	uint64_t (*clock_ns)(void);
};

/* Connect, negotiate, and only then return. @mem outlives the device; it is shared with the server.
 */
MUST_CHECK int vhost_front_create(struct vdev **out, struct gmem *mem,
				  const struct vhost_front_config *cfg);

struct vhost_front_info {
	bool is_connected; /* to a server that was told everything */
	bool is_given_up;  /* until the driver resets the device */
	unsigned restarts; /* servers that took over from another */
	unsigned deaths;   /* in a row: without a completed request, or a minute, in between */
	uint64_t outages;  /* times without a server while a queue ran ... */
	uint64_t last_ns;  /* ... how long the last one was, from the loss to the rings' start */
	uint64_t longest_ns;
	uint64_t features, protocol; /* of the server */
};
/* @d is the device of vhost_front_create(). Any thread. */
void vhost_front_info(struct vdev *d, struct vhost_front_info *out);
/*
 * Replace the server now: it may finish what is in flight, is ended with kill(), and connect()
 * brings the next one, which has the whole budget of deaths. Any thread; returns at once.
 */
void vhost_front_restart(struct vdev *d);

#endif
