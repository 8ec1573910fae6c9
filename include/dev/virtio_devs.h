/*
 * virtio_devs.h - how each virtio device is made; what comes out is a struct vdev like any other.
 *
 * Layer:   dev
 * Threads: control thread.
 * Errors:  negative errno; nothing is kept on failure.
 * Spec:    VIRTIO 1.2 §5.2 (block), §5.3 (console), §5.4 (entropy).
 */
#ifndef DEV_VIRTIO_DEVS_H
#define DEV_VIRTIO_DEVS_H
#include "base/compiler.h"
#include "dev/vworker.h"
#include "iouring/afile.h"
#include "virtio/vdev.h"

/* --- block (virtio/dev/blk.c) --- */

/* Of a whole device, all queues together. Rates 0: unlimited; bursts 0: a tenth of a second's
 * worth. */
struct blk_limits {
	uint64_t ops_per_s, burst_ops;
	uint64_t bytes_per_s, burst_bytes;
};

struct blk_config {
	const char *name;    /* of threads and messages: "block0" */
	struct afile *file;  /* copied on success, and file->fd set to -1; NULL: null back end */
	uint64_t null_bytes; /* of the null back end: completes at once, data is not touched */
	uint16_t nr_queues, queue_size;
	uint32_t block_bytes; /* logical block size told to the guest: 512 to 4096 */
	bool is_readonly;
	bool has_discard;
	bool has_packed;       /* offer packed rings too */
	bool is_write_through; /* until the driver switches the cache on, and after each reset */
	char serial[20];       /* GET_ID answer, zero-padded, not terminated when full */
	const cpu_set_t *cpus; /* of the workers; NULL: anywhere */
	uint64_t spin_ns;      /* of the workers: see vworker.h */
	uint16_t nr_workers;   /* threads; 0: one for each queue */
	struct blk_limits limits;
};
/*
 * Queue q is served by thread q % nr_workers. -EINVAL: a count or a size out of range, or O_DIRECT
 * on an image whose io_align is larger than block_bytes: smaller writes would have to read and
 * rewrite a block that another queue may be writing, so they are not offered.
 */
MUST_CHECK int blk_create(struct vdev **out, struct gmem *mem, const struct blk_config *cfg);
/* The image has another size now: tell the driver. Control thread. -EINVAL: null back end. */
MUST_CHECK int blk_resize(struct vdev *d);
/*
 * Make the image @bytes large, if it is a regular file of another size, and tell the driver; a
 * block device must have that size already (else -EINVAL), as must one that is read-only (-EROFS).
 * The unit is the logical block (-EINVAL). Requests in flight beyond a smaller size may make the
 * file larger again, which the driver does not see.
 */
MUST_CHECK int blk_set_size(struct vdev *d, uint64_t bytes);
uint64_t blk_size(const struct vdev *d);
/* From the next request on; a queue that is held back notices within a tenth of a second. */
void blk_set_limits(struct vdev *d, const struct blk_limits *l);

/* What the device made of its configuration, for people. Strings are static. */
struct blk_info {
	const char *engine; /* of its rings: reactor_engine_name() */
	const char *file;   /* "file", "block device", "null" */
	bool is_direct, is_readonly, is_write_through, has_discard, has_packed;
	uint32_t block_bytes;
	uint16_t nr_queues, queue_size, nr_workers;
	uint64_t size_bytes, spin_ns;
};
void blk_info(struct vdev *d, struct blk_info *out);

/* Times the workers entered their rings so far. Any thread. */
uint64_t blk_enters(const struct vdev *d);

/* --- entropy (virtio/dev/rng.c) --- */
struct rng_source {
	int (*fill)(void *ctx, void *buf, size_t len); /* 0, or negative errno: dry */
	void *ctx;
};
/* Runs on @worker, which outlives it. @src NULL: getrandom(2). */
MUST_CHECK int rng_create(struct vdev **out, struct gmem *mem, struct vworker *worker,
			  const struct rng_source *src);

/* --- console (virtio/dev/console.c): ports, size, input and output on descriptors --- */
struct console_port_config {
	/*
	 * Not owned; -1: none. Blocking or not. Input that ended, or failed, is not looked at again
	 * before the next start of the queue.
	 */
	int in_fd, out_fd;
	/* An open file of which nobody else moves the position: it tells what was read, written. */
	bool owns_in, owns_out;
	char name[32];   /* shown in the guest as /dev/virtio-ports/NAME; empty: none */
	bool is_console; /* an hvc terminal rather than a plain port */
};
struct console_config {
	const struct console_port_config *ports;
	unsigned nr_ports;   /* 1 and no name: single port without MULTIPORT */
	uint16_t cols, rows; /* 0: unknown */
	/*
	 * CONSOLE_KEEP_BYTES, zeroed at first, that outlive the console: one that takes over its
	 * queues gets them too, and knows what the driver was told, which ports it has opened and
	 * how far the bytes under way were (docs/isolation.md). NULL: nobody takes over.
	 */
	void *keep;
};
#define CONSOLE_KEEP_BYTES 4096
/* The driver has reset the console, whose queues are all stopped, if there is one at the moment. */
void console_keep_forget(void *keep);
/* It begins queue @idx anew, which does not run. */
void console_keep_forget_queue(void *keep, uint16_t idx);
MUST_CHECK int console_create(struct vdev **out, struct gmem *mem, struct vworker *worker,
			      const struct console_config *cfg);
/*
 * The terminal changed: tell the driver. Any thread, and not at once with the device's destruction.
 */
void console_resize(struct vdev *d, uint16_t cols, uint16_t rows);

#endif
