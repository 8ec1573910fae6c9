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

#define CONSOLE_MAX_PORTS   ((VDEV_MAX_QUEUES - 2) / 2)
#define CONSOLE_QUEUE_SIZE  128
#define CONSOLE_EMERG_BYTES 256u /* a power of two */

struct console;

/* Output of one run of bytes to a descriptor that may take them slowly. Worker thread. */
struct console_out {
	struct reactor_op op;
	struct reactor *reactor;
	int fd;
	/*
	 * A terminal that would block whoever writes to it, the kernel on our behalf included: one
	 * byte at a time, when it is ready for one.
	 */
	bool is_blocking;
	struct iovec *iov;
	unsigned nr;
	struct iovec byte;
	bool is_busy;
	bool is_closing; /* write no more: what is left is dropped */
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

struct console_port {
	/* immutable */
	struct console *con;
	struct console_port_config cfg;
	int own_fd; /* cfg.out_fd opened again, not to block; -1: not needed, or not possible */
	/* worker thread */
	struct vworker_queue rx, tx;
	struct reactor_op in_op;
	bool is_waiting;  /* in_op is in flight */
	bool is_readable; /* in_fd said so, and was not read since */
	bool is_at_end;   /* of the input */
	struct console_out out;
	struct vq_chain *out_chain;
	uint32_t news;                    /* bit mask of enum console_news */
	bool is_added, is_ready, is_open; /* told, answered, opened by the driver */
};

struct console {
	struct vdev dev;
	/* immutable */
	struct vworker *worker;
	unsigned nr_ports;
	bool is_multiport;
	struct console_port *ports;
	/* worker thread */
	struct vworker_queue ctrl_rx, ctrl_tx;
	uint32_t seen_resets;
	struct console_out emerg;
	struct iovec emerg_iov;
	uint8_t emerg_buf[CONSOLE_EMERG_BYTES];
	bool is_leaving;
	/* any thread: control, vCPUs, worker */
	_Atomic uint32_t size;   /* cols << 16 | rows */
	_Atomic uint32_t resets; /* so many the driver has made */
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
void console_out_start(struct console_out *o, struct iovec *iov, unsigned nr);
void console_out_close(struct console_out *o);

/* --- console_ctrl.c: the conversation about ports --- */
int console_ctrl_rx_serve(struct vworker_queue *wq, struct vq *q);
int console_ctrl_tx_serve(struct vworker_queue *wq, struct vq *q);
void console_ctrl_started(struct vworker_queue *wq);
void console_tell_size(struct console *con);

#endif
