/*
 * vdev.h - the contract between a virtio transport and a device, whatever body the device has.
 *
 * Layer:   virtio
 * Threads: ops are called under the device's lock and never block, mostly by vCPU and control
 *          threads; an upcall may call start, stop and reset from the body's own thread. Queues
 *          are served by whatever threads the body owns. Upcalls (vdev_queue_stopped() and so on)
 *          from any thread, never from inside an op, and without the device's lock.
 * Errors:  negative errno from start only; a body that fails later says vdev_needs_reset().
 * Spec:    VIRTIO 1.2 §2.1 (status), §2.2 (features), §3 (initialisation), §2.6.1 (queue reset).
 *
 * Behind the contract stands a device of ours in this process, a vhost-user frontend, or a kernel
 * vhost device. Stopping is asynchronous: the driver polls the status (or queue_reset) register, so
 * no vCPU ever waits for I/O in flight.
 *
 *     driver          transport            vdev.c                     body
 *       DRIVER_OK  -> vdev_set_status() -> ops->start(q) for each  -> worker takes the queue
 *       status = 0 -> vdev_set_status() -> ops->stop(q)  for each  -> worker drains it ...
 *       reads != 0    vdev_status()                                   ... vdev_queue_stopped(q)
 *       reads 0                            ops->reset(), status 0  <-
 *
 * While a reset is pending the driver's writes are ignored and the old status stands. Whatever
 * else stops a queue (queue_reset, DEVICE_NEEDS_RESET, vdev_hold()) goes the same way.
 */
#ifndef VIRTIO_VDEV_H
#define VIRTIO_VDEV_H
#include <stdbool.h>
#include <stdint.h>
#include "base/compiler.h"
#include "base/log.h"
#include "mem/gmem.h"
#include "sync/mutex.h"
#include "sync/notifier.h"
#include "virtio/queue.h"

#define VDEV_MAX_QUEUES 64

struct vdev;

/* The body. Members may be NULL where it says so. */
struct vdev_ops {
	const char *name; /* "block" */
	uint32_t id;      /* VIRTIO_ID_* */
	/* Device configuration space; ranges past its end were cut off before. NULL: none/ignored.
	 */
	void (*config_read)(struct vdev *d, uint32_t off, void *buf, uint32_t len);
	void (*config_write)(struct vdev *d, uint32_t off, const void *buf, uint32_t len);
	/* May this set be accepted at FEATURES_OK? Dependencies only: it is a subset of the offer.
	 * NULL: yes. */
	bool (*accept_features)(struct vdev *d, uint64_t features);
	/* Serve queue @idx from now on; @s passed vq_check(). Failure: the device needs a reset. */
	int (*start)(struct vdev *d, uint16_t idx, const struct vq_setup *s);
	/* Take no more requests from @idx, finish those in flight, then vdev_queue_stopped(). */
	void (*stop)(struct vdev *d, uint16_t idx);
	/*
	 * What queue @idx has done since the device was made, restarts included; any thread,
	 * without the lock. False: it is not known here. NULL: never.
	 */
	bool (*queue_stats)(struct vdev *d, uint16_t idx, struct vq_stats *out);
	/*
	 * Count what queue @idx does in @c, on top of what is there; @c outlives the device. Before
	 * its first start. NULL: it does not count.
	 */
	void (*count_in)(struct vdev *d, uint16_t idx, struct vq_counters *c);
	/*
	 * Ask every thread that serves queues for a sign of life, without waiting. False: one of
	 * them hangs; one that only gets no CPU does not. One thread calls it, at most a few times
	 * a second. NULL: no such threads.
	 */
	bool (*beat)(struct vdev *d);
	/*
	 * The transport's notifiers go another way than before: notifier_has_fn(). Any thread,
	 * without the lock. NULL: the body signals through notifier_signal() alone, which knows.
	 */
	void (*wires_changed)(struct vdev *d);
	/* All queues have stopped: forget what the driver set. NULL: nothing to forget. */
	void (*reset)(struct vdev *d);
	/* Free. All queues have stopped and the transport is gone. */
	void (*destroy)(struct vdev *d);
};

/* The transport side. */
struct vdev_host_ops {
	/* Raise the configuration interrupt (any thread). */
	void (*config_changed)(void *host);
	/* The eventfd a kick of queue @idx signals (a blocking one: read it through io_uring or
	 * after poll), and the notifier of its interrupts. Called under the device's lock. */
	int (*queue_wires)(void *host, uint16_t idx, int *kick_fd, struct notifier **call);
	/* A reset the driver asked for is complete, and will read so when this returns (any
	 * thread): forget what the driver set on the transport's side. */
	void (*reset_done)(void *host);
	/* Queue @idx runs no more; called under the device's lock, from any thread. NULL: nobody
	 * waits. */
	void (*queue_stopped)(void *host, uint16_t idx);
};

enum vdev_queue_state { VDEV_Q_OFF, VDEV_Q_ENABLED, VDEV_Q_RUNNING, VDEV_Q_STOPPING };

struct vdev_queue {
	uint16_t max_size, size;
	enum vdev_queue_state state;
	bool is_resetting; /* queue_reset was written; reads 1 until stopped */
	bool is_halting;   /* vdev_queue_halt() */
	bool has_run;      /* since the driver enabled it: vq_setup.goes_on */
	gpa_t desc, driver, device;
	uint16_t next; /* where to start, and where it stopped (vq_setup) */
	void *log;     /* vq_setup */
	size_t log_bytes;
	const struct dirty_log *dirty;
	uint64_t dirty_device;
};

/* Embedded in the body; reached back through container_of(). */
struct vdev {
	/* immutable once plugged */
	const struct vdev_ops *ops;
	uint64_t offered;      /* feature bits, transport bits included */
	uint32_t config_bytes; /* size of the configuration space */
	uint16_t nr_queues;
	struct gmem *mem; /* but for vdev_set_mem() */
	const struct vdev_host_ops *host_ops;
	void *host;
	char id[32]; /* the user's name for it, or "block0" */
	/* under lock */
	struct mutex lock;
	uint64_t accepted; /* what the driver selected */
	uint8_t status;    /* VIRTIO_CONFIG_S_*, as the driver reads it */
	bool is_resetting; /* the driver wrote 0 and still reads another value */
	bool is_finishing; /* ... all queues have stopped, one thread ends it */
	unsigned holds;    /* enum vdev_hold: why no queue runs; 0: they may */
	bool owes_irq;     /* whoever unlocks next raises the configuration interrupt */
	uint8_t generation;
	struct vdev_queue q[VDEV_MAX_QUEUES];
	struct log_rate log_rate;
};

/* Feature bits every device of ours offers on top of its own. */
#define VDEV_TRANSPORT_FEATURES                                                                    \
	((1ull << 32 /* VERSION_1 */) | (1ull << 28 /* INDIRECT */) |                              \
	 (1ull << 29 /* EVENT_IDX */) | (1ull << 40 /* RING_RESET */))

/* What every body's create fills in. @queue_size: the largest size of each queue. */
MUST_CHECK int vdev_init(struct vdev *d, const struct vdev_ops *ops, struct gmem *mem,
			 uint16_t nr_queues, uint16_t queue_size, uint32_t config_bytes,
			 uint64_t features);
void vdev_fini(struct vdev *d);
/* ops->destroy(); NULL is fine. */
void vdev_destroy(struct vdev *d);

/* --- for transports: driver-visible state. All lock inside. --- */
void vdev_attach(struct vdev *d, const struct vdev_host_ops *ops, void *host);
/* The notifiers of queue_wires() were switched between eventfd and function. */
void vdev_wires_changed(struct vdev *d);
uint64_t vdev_offered(struct vdev *d);
void vdev_accept(struct vdev *d, unsigned word, uint32_t value); /* 32 bits at @word */
uint32_t vdev_accepted(struct vdev *d, unsigned word);
uint8_t vdev_status(struct vdev *d);
/* A write to the status register; 0 starts a reset, which may complete later. */
void vdev_set_status(struct vdev *d, uint8_t status);
uint8_t vdev_generation(struct vdev *d);
void vdev_config_read(struct vdev *d, uint32_t off, void *buf, uint32_t len);
void vdev_config_write(struct vdev *d, uint32_t off, const void *buf, uint32_t len);

/* Queue registers; @idx past the end reads as zero and ignores writes. */
bool vdev_queue_stats(struct vdev *d, uint16_t idx, struct vq_stats *out);
/* vdev_ops.count_in for all queues; @c: one for each. */
void vdev_count_in(struct vdev *d, struct vq_counters *c);
uint16_t vdev_queue_max(struct vdev *d, uint16_t idx);
uint16_t vdev_queue_size(struct vdev *d, uint16_t idx);
void vdev_queue_set_size(struct vdev *d, uint16_t idx, uint16_t size);
enum vdev_area { VDEV_DESC, VDEV_DRIVER, VDEV_DEVICE };
uint64_t vdev_queue_area(struct vdev *d, uint16_t idx, enum vdev_area a);
void vdev_queue_set_area(struct vdev *d, uint16_t idx, enum vdev_area a, uint64_t addr);
bool vdev_queue_enabled(struct vdev *d, uint16_t idx);
void vdev_queue_enable(struct vdev *d, uint16_t idx);
bool vdev_queue_resetting(struct vdev *d, uint16_t idx);
void vdev_queue_reset(struct vdev *d, uint16_t idx);

/*
 * For transports that stop a queue and go on where it was. Halt is a reset of the queue that no
 * feature forbids and that keeps vdev_queue_next(); it is over when vdev_queue_is_off().
 */
void vdev_queue_halt(struct vdev *d, uint16_t idx);
bool vdev_queue_is_off(struct vdev *d, uint16_t idx);
uint16_t vdev_queue_next(struct vdev *d, uint16_t idx);
void vdev_queue_set_next(struct vdev *d, uint16_t idx, uint16_t next);
/* Keep account of what is in flight in @log, which outlives the queue. */
void vdev_queue_set_log(struct vdev *d, uint16_t idx, void *log, size_t bytes);
/* Mark what is written in @log (NULL: nowhere), which outlives the queue: vq_setup. */
void vdev_queue_set_dirty(struct vdev *d, uint16_t idx, const struct dirty_log *log,
			  uint64_t device);
/* Other guest RAM from now on. All queues are off. */
void vdev_set_mem(struct vdev *d, struct gmem *mem);

/*
 * Why no queue of a device runs, whatever its driver set. All stop as for a reset, but the driver
 * sees nothing of it; when nothing holds them any more, each that the driver has enabled goes on
 * where it was, or begins.
 */
enum vdev_hold {
	VDEV_HOLD_OWNER = 1, /* the machine is suspended */
	VDEV_HOLD_BUS = 2,   /* the device may not reach memory: vdev_set_master() */
	VDEV_HOLD_END = 4,   /* machine stop or unplug: for good */
};
void vdev_hold(struct vdev *d, enum vdev_hold why);
void vdev_let_go(struct vdev *d, enum vdev_hold why);
/* None runs, and no reset is pending. */
bool vdev_is_quiet(struct vdev *d);

/*
 * May the device reach memory? At first it may. Taking that away ends DRIVER_OK too: whoever gives
 * it back may be the driver of another kernel, which does not know the rings that are still there.
 * A driver that does sets DRIVER_OK again, and the queues go on where they were.
 */
void vdev_set_master(struct vdev *d, bool may);

/* --- upcalls of bodies; any thread --- */
void vdev_queue_stopped(struct vdev *d, uint16_t idx);
/* The same for a body that knows where it, or another, would go on: vq_next(). */
void vdev_queue_stopped_at(struct vdev *d, uint16_t idx, uint16_t next);
/*
 * The configuration space changes between these two, and nobody reads it meanwhile: a driver that
 * is in the middle of it finds another generation behind the first byte of the change (VIRTIO 1.2
 * §2.5.2). @is_other: it did change; generation + interrupt.
 */
void vdev_config_begin(struct vdev *d) ACQUIRES(&d->lock);
void vdev_config_end(struct vdev *d, bool is_other) RELEASES(&d->lock);
/* The driver (or we) broke it: DEVICE_NEEDS_RESET + interrupt; queues take no more requests. */
void vdev_needs_reset(struct vdev *d, const char *why);

#endif
