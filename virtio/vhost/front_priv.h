/*
 * front_priv.h - inside the vhost-user frontend: the connection, what is said over it, the rings.
 *
 * Layer:   virtio
 * Threads: the frontend's own but for what stands under lock: there the device's ops leave wishes,
 *          and the thread looks them up when wake is signalled. During create the creator's thread
 *          stands in for it. Lock order: the device's, then ours.
 * Errors:  negative errno: the connection is of no use any more. -ECONNRESET: the server hung up.
 *          -EPROTO: it broke the protocol. -ETIMEDOUT: it does not answer. -EREMOTEIO: it refused.
 * Spec:    QEMU docs/interop/vhost-user.rst.
 */
#ifndef VIRTIO_VHOST_FRONT_PRIV_H
#define VIRTIO_VHOST_FRONT_PRIV_H
#include <linux/virtio_blk.h>
#include <poll.h>
#include "base/clock.h"
#include "sync/notifier.h"
#include "sync/thread.h"
#include "user_msg.h"
#include "virtio/vhost_front.h"

#define FRONT_WCE     offsetof(struct virtio_blk_config, wce) /* switch of the write cache */
#define FRONT_STOP_MS 30000 /* a ring may take this long to finish what is in flight */

enum front_wish { FRONT_OFF, FRONT_RUN, FRONT_STOP };

/* Ring positions are kept as SET_VRING_BASE has them: packed with the wrap counter in bit 15. */
struct front_queue {
	/* under lock; setup stands still while the wish is not FRONT_OFF */
	enum front_wish wish;
	bool has_begun; /* the wish to run has not been looked at yet */
	struct vq_setup setup;
	/* front thread */
	bool is_begun;  /* some server had it since it was started: it may have left something */
	bool is_live;   /* the server we are connected to has it */
	bool is_logged; /* whoever had it last kept account of what is in flight */
	bool is_left;   /* stopped by us alone: what is in flight is still to be done */
	bool has_base;  /* a server stopped it in order: nothing is in flight, and ... */
	uint16_t base;  /* ... it goes on here */
	uint16_t seen;  /* where its results were when last looked at */
};

/* What the ops want, all at one moment. */
struct front_wishes {
	enum front_wish q[VDEV_MAX_QUEUES];
	bool wants_stop; /* one of them at least */
	bool is_over, reset, restart;
};

/* The account of requests in flight: ours, so no server can shrink it under us. */
struct front_log {
	int fd; /* -1: none yet */
	uint8_t *mem;
	uint64_t bytes;
	size_t stride; /* bytes for each queue */
};

/* What holds for one connection. */
struct front_link {
	int sock;       /* -1: not connected */
	int backend_fd; /* our end of the server's own channel; -1: none */
	uint64_t features, protocol;
	bool is_introduced;             /* knows features, memory and log */
	bool is_settled;                /* has got every ring that was to run at some time */
	bool owes_config;               /* said that the configuration changed */
	struct user_msg in, backend_in; /* half-received messages */
};

struct front {
	struct vdev dev;
	/* immutable after create */
	struct vdev_ops ops;
	struct vhost_front_config cfg;
	char name[16];
	struct thread *thread;
	struct notifier broken; /* what servers signal when a ring is broken */
	/* any thread */
	struct notifier wake;
	/* under lock */
	struct mutex lock;
	struct front_queue q[VDEV_MAX_QUEUES];
	bool is_over, wants_reset, wants_restart;
	bool has_choice;   /* the driver of a disk has set config[FRONT_WCE] ... */
	uint8_t first_wce; /* ... which was this before */
	uint8_t config[VHOST_USER_MAX_CONFIG];
	uint8_t wanted[VHOST_USER_MAX_CONFIG]; /* config as the driver wants it ... */
	uint32_t dirty_from, dirty_to;         /* ... in these bytes */
	struct vhost_front_info info;
	/* front thread */
	struct front_link link;
	struct front_log log;
	bool has_news;    /* wake was consumed: look at the wishes */
	bool is_broken;   /* the server said that a ring is */
	bool is_quiet;    /* not connected, and no I/O of the last server is under way */
	bool is_hopeless; /* no more servers until the driver resets the device ... */
	bool is_given_up; /* ... and the last one's I/O has ended */
	bool has_had;     /* a server that was introduced */
	/* since there was progress, or quiet; deaths: those that count */
	unsigned deaths, losses;
	uint64_t last_loss_ns; /* by cfg.clock_ns */
	unsigned pause_ms, look_ms;
	uint64_t last_try_ns, next_try_ns, next_look_ns;
	uint64_t lost_ns; /* when the outage began; 0: there is none */
};

static inline struct front *front_of(struct vdev *d)
{
	return container_of(d, struct front, dev);
}

static inline bool front_has(const struct front *f, enum vhost_user_protocol_feature bit)
{
	return f->link.protocol >> bit & 1;
}

static inline bool front_is_connected(const struct front *f)
{
	return f->link.sock >= 0;
}

/* --- user_front_link.c: messages and waiting --- */

void front_link_init(struct front_link *l);
/* Hang up. */
void front_link_close(struct front *f);

/* One request; @fds go with it. */
struct front_request {
	uint32_t id;
	const void *payload;
	uint32_t len;
	const int *fds;
	unsigned nr_fds;
};

/* Send and go on. */
MUST_CHECK int front_tell(struct front *f, const struct front_request *r);
/* Send, and wait until the server has done it, if it can say so (REPLY_ACK). */
MUST_CHECK int front_demand(struct front *f, const struct front_request *r);
/* Send, and wait for the answer of @len bytes at least @ms: it is in f->link.in until the next. */
MUST_CHECK int front_ask(struct front *f, const struct front_request *r, uint32_t len, unsigned ms);
MUST_CHECK int front_get_u64(struct front *f, uint32_t id, uint64_t *out);
MUST_CHECK int front_tell_u64(struct front *f, uint32_t id, uint64_t value);
MUST_CHECK int front_tell_state(struct front *f, uint32_t id, uint32_t idx, uint32_t num);
MUST_CHECK int front_tell_fd(struct front *f, uint32_t id, uint32_t idx, int fd);

/*
 * Sleep until something happens, @ms at most (-1: no limit); what does not need the server's answer
 * is done at once: interrupts are moved on, its own channel is read.
 */
MUST_CHECK int front_sleep(struct front *f, int ms);

/* --- user_front_hello.c: what is said before and between rings --- */

/* -E2BIG: a server cannot be told of @mem. */
MUST_CHECK int front_check_memory(const struct gmem *mem);
/* The first words on a new connection: who we are, what the server can. */
MUST_CHECK int front_hello(struct front *f);
/* Tell it @features of the driver, memory and log, once for each connection and reset. */
MUST_CHECK int front_introduce(struct front *f, uint64_t features);
/* The driver reset the device. */
MUST_CHECK int front_reset_server(struct front *f);
/* How many queues there are to be. */
MUST_CHECK int front_count_queues(struct front *f, uint16_t *out);
/* What the driver is offered. */
uint64_t front_offer(const struct front *f);
MUST_CHECK int front_read_config(struct front *f, uint32_t bytes, uint8_t *out);
MUST_CHECK int front_write_config(struct front *f, uint32_t off, const uint8_t *data, uint32_t len);
/* Bytes of configuration space that devices of @id have; 0: unknown, or none. */
uint32_t front_config_bytes(uint32_t id);

/* --- user_front_ring.c --- */

/* Hand ring @idx to the server. -ENOTRECOVERABLE: nobody knows what was in flight. */
MUST_CHECK int front_ring_start(struct front *f, uint16_t idx);
/* Take it back; what is in flight is complete then. */
MUST_CHECK int front_ring_halt(struct front *f, uint16_t idx);
/* It stops: so far as it takes a server, with what the last one left in flight. */
MUST_CHECK int front_ring_finish(struct front *f, uint16_t idx);
/* Tell the device that it has stopped. */
void front_ring_done(struct front *f, uint16_t idx);
/* Did results come since the last call? *is_waiting: some ring has requests that are not done. */
bool front_rings_moved(struct front *f, bool *is_waiting);
/* The same of rings whose requests can be done at once: buffers that wait for input are none. */
bool front_rings_owe(struct front *f);

/* --- user_front_log.c --- */

/* -EPROTO: the server wants an odd size. */
MUST_CHECK int front_log_make(struct front_log *l, uint64_t bytes, uint16_t nr_queues);
void front_log_fini(struct front_log *l);
/* Queue @idx begins anew. */
void front_log_clear(struct front_log *l, uint16_t idx);
/* Where the results of a packed ring have come to; false: its account has not begun. */
bool front_log_packed_base(const struct front_log *l, uint16_t idx, uint16_t *out);

/* --- user_front_life.c: servers come and go --- */

/* Take the connection @sock to a server; negotiate. */
MUST_CHECK int front_take_server(struct front *f, int sock);
/* One turn of the thread's loop, up to the next sleep; how long that may be in ms (-1: any). */
int front_turn(struct front *f, struct front_wishes *w);
/* The connection broke with @err. */
void front_lost(struct front *f, int err);

#endif
