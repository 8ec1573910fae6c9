/*
 * user_priv.h - inside the vhost-user server: one frontend's memory, its rings, the log.
 *
 * Layer:   virtio
 * Threads: the server's; host operations of the device come from others and touch only wake.
 * Errors:  negative errno; the message that asked is answered with a failure.
 * Spec:    QEMU docs/interop/vhost-user.rst.
 */
#ifndef VIRTIO_VHOST_USER_PRIV_H
#define VIRTIO_VHOST_USER_PRIV_H
#include "mem/gmem.h"
#include "sync/notifier.h"
#include "user_msg.h"
#include "virtio/vhost_user.h"

/* Are pages that a ring's device writes marked, and where does the log have its device area? */
struct user_logging {
	bool is_on;
	uint64_t device;
};

/* A ring as the frontend describes it. The device's own state of it is in struct vdev_queue. */
struct user_ring {
	uint16_t size, next; /* next: as in struct vq_setup */
	uint16_t base;       /* the same to tell the frontend: a reset leaves it */
	bool has_addr, is_enabled;
	bool is_running;             /* handed to the device */
	bool has_log;                /* asks for marks on its own account, */
	uint64_t log;                /* ... where the log has @used here */
	uint64_t desc, avail, used;  /* in the frontend's memory */
	struct user_logging logging; /* since it was started */
	int kick_fd, err_fd;
	struct notifier call; /* its descriptor stays; what lies behind it is exchanged by dup3() */
};

/* The frontend's memory. */
struct user_mem {
	struct vhost_user_region r[GMEM_MAX_REGIONS]; /* ascending */
	int fds[GMEM_MAX_REGIONS];
	unsigned nr;
	struct gmem *gmem; /* NULL: none */
};

/* The account of requests in flight, in memory the frontend keeps for our successor. */
struct user_log {
	void *mem; /* NULL: none */
	size_t bytes, stride;
	uint16_t nr_queues, queue_size;
};

struct vhost_user_server {
	struct vdev *dev; /* immutable */
	int sock, backend_fd;
	uint64_t features; /* what the frontend accepted, VHOST_USER_F_PROTOCOL_FEATURES included */
	uint64_t protocol;
	uint8_t status;     /* as the frontend wrote it */
	uint8_t generation; /* of the configuration space the frontend knows */
	bool has_told_error;
	_Atomic unsigned beat_ms; /* user_beat(): how often; tests change it */
	uint64_t next_beat_ns;
	int watch_fd; /* vhost_user_server_watch(); -1: none */
	bool (*watch)(void *ctx);
	void *watch_ctx;
	struct user_mem mem;
	struct user_log log;
	struct dirty_log dirty; /* of a migration; no bits: none */
	struct user_ring rings[VDEV_MAX_QUEUES];
	struct log_rate log_rate;
	/* any thread */
	struct notifier wake;
	struct notifier dirty_call; /* as those of rings */
};

/* --- user_mem.c --- */
/*
 * Map @bytes from @off on of @fd, which the frontend gave, to be shared with it. -EBADF: there is
 * no descriptor. -EINVAL: no regular file, or not all of it is there.
 */
MUST_CHECK int user_file_map(void **out, int fd, uint64_t off, uint64_t bytes);
/* Make the memory of @nr regions; takes @fds on success only. No ring runs. */
MUST_CHECK int user_mem_set(struct user_mem *m, const struct vhost_user_region *r, const int *fds,
			    unsigned nr);
MUST_CHECK int user_mem_add(struct user_mem *m, const struct vhost_user_region *r, int fd);
/* -ENOENT: there is no such region. */
MUST_CHECK int user_mem_remove(struct user_mem *m, const struct vhost_user_region *r);
void user_mem_fini(struct user_mem *m);
/* Guest-physical address of what the frontend sees at @user. -EFAULT: none. */
MUST_CHECK int user_mem_translate(const struct user_mem *m, uint64_t user, gpa_t *out);

/* --- user_log.c --- */
/* A log for @in->nr_queues rings of @in->queue_size: its descriptor, and where it lies in it. */
MUST_CHECK int user_log_make(struct vhost_user_inflight *in, int *fd);
/* Map what @in describes of @fd. */
MUST_CHECK int user_log_map(struct user_log *l, const struct vhost_user_inflight *in, int fd);
void user_log_fini(struct user_log *l);
/* The part of ring @idx; NULL: none. */
void *user_log_of(const struct user_log *l, uint16_t idx);

/* --- user_dirty.c --- */
MUST_CHECK int user_dirty_init(struct vhost_user_server *s);
void user_dirty_fini(struct vhost_user_server *s);
/* Unmap the log. No ring runs. */
void user_dirty_forget(struct vhost_user_server *s);
/* How the frontend wants @r to be logged. */
struct user_logging user_ring_logging(const struct vhost_user_server *s, const struct user_ring *r);
/* Is there a log that is large enough, or none needed? */
bool user_ring_can_log(const struct vhost_user_server *s, const struct user_ring *r);
/* ... for all rings that run? */
bool user_rings_could_log(const struct vhost_user_server *s);
/* Does @r, which runs, log in another way than it should? */
bool user_ring_logs_wrongly(const struct vhost_user_server *s, const struct user_ring *r);
/* Has the frontend said that it knows of logs in shared memory? */
bool user_has_log_shm(const struct vhost_user_server *s);
/* What @a says of a log for @r. Without one the ring may wait for it; a place outside is a mistake.
 */
MUST_CHECK int user_ring_set_log(struct vhost_user_server *s, struct user_ring *r,
				 const struct vhost_user_vring_addr *a);
MUST_CHECK int user_set_log_base(struct vhost_user_server *s, struct user_msg *m);
MUST_CHECK int user_set_log_fd(struct vhost_user_server *s, struct user_msg *m);

/* --- user_ring.c --- */
MUST_CHECK int user_rings_init(struct vhost_user_server *s);
void user_rings_fini(struct vhost_user_server *s);
/* As after a connect: all rings are halted. */
void user_rings_reset(struct vhost_user_server *s);
/* Start ring @idx if nothing is missing any more. What the guest did wrong is no error here. */
MUST_CHECK int user_ring_try_start(struct vhost_user_server *s, uint16_t idx);
/* Each of them, whatever becomes of others; the first error. */
MUST_CHECK int user_rings_try_start(struct vhost_user_server *s);
/* Rings that log in another way than they should are started again; so is what else can start. */
MUST_CHECK int user_rings_follow_log(struct vhost_user_server *s);
/* Take the device through a driver's initialisation, unless it is there already. */
MUST_CHECK int user_go_live(struct vhost_user_server *s);
/* Stop ring @idx (all rings) and wait for what is in flight. Keeps what the frontend said. */
void user_ring_halt(struct vhost_user_server *s, uint16_t idx);
void user_rings_halt(struct vhost_user_server *s);
/* Those that run and for which @is says yes. */
void user_rings_halt_if(struct vhost_user_server *s,
			bool (*is)(const struct vhost_user_server *s, const struct user_ring *r));
bool user_rings_any_running(const struct vhost_user_server *s);
MUST_CHECK int user_ring_set_call(struct vhost_user_server *s, uint16_t idx, int fd);
/* Exchange what lies behind the descriptor of @n, which others signal meanwhile. -1: nobody. */
MUST_CHECK int user_notifier_set(struct vhost_user_server *s, struct notifier *n, int fd);
/* For notifiers nobody listens to. */
void user_signal_nobody(void *ctx);
extern const struct vdev_host_ops user_host_ops;

#define USER_BEAT_MS 1000
/*
 * While rings run: ask the device's threads for a sign of life when it is time to. One that hangs
 * is a bug of ours, and the end of this process. Returns the ms until the next time, -1: none.
 */
int user_beat(struct vhost_user_server *s);

/* --- user_request.c --- */
/* Do what @m says and answer it. An error ends the connection. */
MUST_CHECK int user_request(struct vhost_user_server *s, struct user_msg *m);
/* The features we show: the device's, less what only other transports can do. */
uint64_t user_offered(const struct vhost_user_server *s);
/* Forget rings and features, as the driver's reset does; memory and log stay. */
void user_reset_device(struct vhost_user_server *s);

#endif
