/*
 * serial_priv.h - inside a UART: registers in serial.c, the host's side in serial_io.c.
 *
 * Layer:   dev, private
 * Threads: as the groups of fields say.
 * Errors:  none.
 * Spec:    National PC16550D data sheet.
 *
 *     vCPU  -> THR -> out ring -> reactor -> out_fd        no lock between vCPU and reactor
 *     vCPU  <- RBR <- receive queue (under lock) <- reactor <- in_fd
 *
 * The host is read only while the guest listens and there is room: what was read is never dropped.
 */
#ifndef DEV_SERIAL_PRIV_H
#define DEV_SERIAL_PRIV_H
#include <stdatomic.h>
#include "dev/platform.h"
#include "sync/mutex.h"

#define SERIAL_FIFO_BYTES 16
#define SERIAL_IN_BYTES   64    /* read ahead; a power of two */
#define SERIAL_OUT_BYTES  16384 /* a power of two */

/* Bytes from the guest to the host: one writer (under the UART's lock), one reader (the reactor).
 */
struct serial_ring {
	uint8_t bytes[SERIAL_OUT_BYTES];
	_Atomic uint32_t head CACHE_ALIGNED; /* writer */
	_Atomic uint32_t tail CACHE_ALIGNED; /* reader */
};

struct serial {
	/* immutable after create */
	struct serial_config cfg;
	struct notifier stopped, aborted; /* for serial_stop() */
	bool may_be_left;                 /* out_fd: a terminal that nobody may have open */
	struct mutex lock;
	/* under lock: registers */
	uint8_t ier, lcr, mcr, lsr_errors, msr_lines, msr_deltas, scratch, fcr;
	uint16_t divisor;
	bool thre_pending; /* THR became empty and nobody has looked yet */
	bool thr_written;  /* ... and has been written since that was last said */
	uint8_t lsr_polls; /* reads of LSR in a row that found nothing, up to SERIAL_POLLS */
	bool irq_level;
	/* under lock: receiver. in[] holds what the host sent; the guest sees the first in_shown.
	 */
	uint8_t in[SERIAL_IN_BYTES];
	uint32_t in_head, in_tail, in_shown;
	uint8_t loop[SERIAL_FIFO_BYTES]; /* what loopback mode received; read before in[] */
	uint32_t loop_head, loop_tail;
	bool is_started, is_stopping, in_busy; /* in_busy: the reactor is reading, or told to */
	/* output, see the struct */
	struct serial_ring out;
	_Atomic bool out_busy; /* the reactor drains, or is told to */
	struct reactor_msg in_msg, out_msg, stop_msg, abort_msg;
	/* reactor's thread */
	struct reactor_op in_op, out_op;
	struct iovec in_iov, out_iov[2];
	uint8_t in_buf[SERIAL_IN_BYTES];
	bool in_flight, out_flight, in_waits, out_waits, is_ending, is_aborting, has_ended;
};

/* --- serial_io.c --- */

void serial_io_init(struct serial *s);
/* Bytes that fit into the ring. Under lock. */
uint32_t serial_out_room(const struct serial *s);
/* Send @v: there is room. Under lock. */
void serial_out_put(struct serial *s, uint8_t v);
/* The guest listens and there is room: have the host read. Under lock. */
void serial_in_want(struct serial *s) MUST_HOLD(&s->lock);

/* --- serial.c, called by serial_io.c --- */

/* Show the guest what it may see, and fetch more if it listens. */
void serial_feed(struct serial *s) MUST_HOLD(&s->lock);
/* Room in in[]. */
uint32_t serial_in_room(const struct serial *s);
/* @len bytes came, for which there was room; takes the lock. */
void serial_received(struct serial *s, const uint8_t *bytes, uint32_t len);
/* Output went out; takes the lock. */
void serial_sent(struct serial *s);

#endif
