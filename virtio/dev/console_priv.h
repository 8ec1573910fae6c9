/*
 * console_priv.h - the console device from inside: ports, their input and output, control messages.
 *
 * Layer:   dev
 * Threads: all queues of one console live on one worker; the fields say who else may come.
 * Errors:  what cannot be written is dropped, what cannot be read is not there; no error leaves.
 * Spec:    VIRTIO 1.2 §5.3.
 */
#ifndef DEV_CONSOLE_PRIV_H
#define DEV_CONSOLE_PRIV_H
#include <linux/virtio_console.h>
#include <semaphore.h>
#include <stdatomic.h>
#include "base/compiler.h"
#include "dev/virtio_devs.h"

#define CONSOLE_CTRL_RX     2 /* queues of a device with MULTIPORT: VIRTIO 1.2 §5.3.2 */
#define CONSOLE_CTRL_TX     3
#define CONSOLE_MAX_PORTS   ((VDEV_MAX_QUEUES - 2) / 2)
#define CONSOLE_QUEUE_SIZE  128
#define CONSOLE_EMERG_BYTES 256u /* a power of two */

struct console;

/* Output of one run of bytes to a descriptor that may take them slowly. Worker thread. */
struct console_out {
	struct reactor_op op;
	struct reactor *reactor;
	int fd;
	struct console_run *run; /* keeps account of how far it is; NULL: nobody does */
	/*
	 * A terminal that would block whoever writes to it, the kernel on our behalf included: one
	 * byte at a time, when it is ready for one.
	 */
	bool is_blocking;
	bool may_be_left; /* a terminal that nobody may have open: dev/pty.h */
	struct iovec *iov;
	unsigned nr;
	struct iovec byte;
	bool is_busy;
	bool is_closing; /* write no more */
	void (*finished)(struct console_out *o);
};

/* What the driver still has to be told about a port, in this order. */
enum console_news {
	CONSOLE_NEWS_ADD,
	CONSOLE_NEWS_CONSOLE,
	CONSOLE_NEWS_NAME,
	CONSOLE_NEWS_OPEN,
	CONSOLE_NEWS_RESIZE,
	CONSOLE_NR_NEWS,
};

/* The state of a port: a bit for each message owed (enum console_news), and these. */
#define CONSOLE_NEWS     ((1u << CONSOLE_NR_NEWS) - 1)
#define CONSOLE_IS_ADDED (1u << 8)  /* the driver was told of it, */
#define CONSOLE_IS_READY (1u << 9)  /* has answered, */
#define CONSOLE_IS_OPEN  (1u << 10) /* and opened it */
#define CONSOLE_STATES   (CONSOLE_NEWS | CONSOLE_IS_ADDED | CONSOLE_IS_READY | CONSOLE_IS_OPEN)

/* How far the request is that moves bytes: at most one for each queue has begun and not ended. */
struct console_run {
	uint32_t is_begun;
	uint32_t done; /* bytes, as far as their move was noted */
	int64_t place; /* of the file when it began, which knows better; -1: there is none */
};

/*
 * What outlives the process (console_config.keep): written by the worker of one console after the
 * other, one store for each change, so that a successor finds it before a change or after it.
 */
struct console_keep {
	uint32_t version; /* 0: nothing yet */
	uint32_t telling; /* the message that is being handed to the driver; 0: none */
	struct console_kept_port {
		uint32_t state;
		/* where the queue goes on whose next request @out tells of; 0: it is in flight */
		uint32_t out_cut;
		struct console_run out, in;
	} ports[CONSOLE_MAX_PORTS];
};

struct console_port {
	/* immutable */
	struct console *con;
	struct console_port_config cfg;
	struct console_kept_port *kept;
	bool in_may_be_left; /* as in console_out */
	int own_fd; /* cfg.out_fd opened again, not to block; -1: not needed, or not possible */
	/* worker thread */
	struct vworker_queue rx, tx;
	struct reactor_op in_op;
	bool is_waiting;  /* in_op is in flight */
	bool is_readable; /* in_fd said so, and was not read since */
	bool is_at_end;   /* of the input */
	struct console_out out;
	struct vq_chain *out_chain;
	bool is_out_old;              /* a predecessor took it, so it cannot be put back */
	bool resumes_out, resumes_in; /* the next request is one that a predecessor had begun */
};

struct console {
	struct vdev dev;
	/* immutable */
	struct vworker *worker;
	unsigned nr_ports;
	bool is_multiport;
	struct console_port *ports;
	struct console_keep *keep;
	/* worker thread */
	struct console_keep own_keep; /* where nobody provides one */
	struct vworker_queue ctrl_rx, ctrl_tx;
	uint32_t seen_resets;
	struct console_out emerg;
	struct iovec emerg_iov;
	uint8_t emerg_buf[CONSOLE_EMERG_BYTES];
	bool is_leaving;
	/* any thread: control, vCPUs, worker */
	_Atomic uint32_t size;   /* cols << 16 | rows */
	_Atomic uint32_t resets; /* so many the driver has made */
	bool has_started;        /* since then, a queue; whoever resets it */
	_Atomic bool is_resize_posted, is_emerg_posted;
	struct reactor_msg resize_msg, emerg_msg, leave_msg;
	sem_t has_left;
	/* emergency output: vCPUs put (under the device's lock), the worker takes */
	_Atomic uint32_t emerg_put, emerg_taken;
	_Atomic uint8_t emerg_ring[CONSOLE_EMERG_BYTES];
};

/* --- console.c --- */
/* Did the driver accept MULTIPORT, for the life of this queue? */
static inline bool console_has_multiport(const struct vworker_queue *wq)
{
	return wq->setup.features >> VIRTIO_CONSOLE_F_MULTIPORT & 1;
}
/* Forget what the last driver said, if there was a reset since. */
void console_follow_resets(struct console *con);

/* --- console_port.c: input and output --- */
int console_rx_serve(struct vworker_queue *wq, struct vq *q);
void console_rx_started(struct vworker_queue *wq);
void console_rx_stopping(struct vworker_queue *wq);
int console_tx_serve(struct vworker_queue *wq, struct vq *q);
void console_tx_started(struct vworker_queue *wq);
void console_tx_stopping(struct vworker_queue *wq);
/* Everything but the queues; afterwards console_port_fini() is due. */
void console_port_init(struct console_port *p, struct console *con,
		       const struct console_port_config *cfg);
void console_port_fini(struct console_port *p);
/* Put out what is behind the first @skip bytes of @iov, which it changes; ends with finished(). */
void console_out_start(struct console_out *o, struct iovec *iov, unsigned nr, uint32_t skip);
void console_out_close(struct console_out *o);
/* The queue is to stop: what a predecessor had taken, and nothing came for, goes back empty. */
int console_give_back(struct vq *q);

/* --- console_ctrl.c: the conversation about ports --- */
int console_ctrl_rx_serve(struct vworker_queue *wq, struct vq *q);
int console_ctrl_tx_serve(struct vworker_queue *wq, struct vq *q);
void console_ctrl_rx_started(struct vworker_queue *wq);
void console_ctrl_rx_stopping(struct vworker_queue *wq);
void console_ctrl_tx_started(struct vworker_queue *wq);
void console_tell_size(struct console *con);

/* --- console_keep.c: what a successor finds; worker thread but for the first two --- */
void console_keep_open(struct console *con, void *mem);
uint32_t console_state(const struct console_port *p);
void console_set_state(struct console_port *p, uint32_t state);
/* @p owes @news no more: the driver is about to get it, and now has. */
void console_keep_telling(struct console_port *p, enum console_news news);
void console_keep_told(struct console *con);
/* A predecessor died in between: it is owed again. */
void console_keep_tell_again(struct console *con);
/* @fd: a file whose place is moved by this run alone, or -1. */
void console_run_begin(struct console_run *r, int fd);
void console_run_note(struct console_run *r, uint32_t done);
/* Somebody else is about to move the place. */
void console_run_lose_place(struct console_run *r);
/* Its request is given back, and the driver sees that. */
void console_run_end(struct console_run *r);
/* Queue @q starts: is its first request the one that a predecessor had begun? */
bool console_run_resumes(struct console_run *r, const struct vq *q);
/* Output stops in the middle of the request that queue @q takes next, as far as its run tells. */
void console_keep_cut(struct console_port *p, const struct vq *q);
/* The queue starts: is that the request it begins with? */
bool console_keep_is_cut(const struct console_port *p, const struct vq *q);
void console_keep_uncut(struct console_port *p);
/* The same where the driver begins the queue anew; others see to that in memory of theirs. */
void console_keep_follow(struct console_port *p, bool goes_on);
/* How much of a request of @max bytes a predecessor has moved from or to @fd. */
uint32_t console_run_progress(const struct console_run *r, int fd, uint32_t max);

#endif
