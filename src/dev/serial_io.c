/* serial_io.c - 16550A UART, the host's side; see serial_priv.h. */
#include <errno.h>
#include <poll.h>
#include "dev/pty.h"
#include "rendezvous.h"
#include "serial_priv.h"

/* --- ring --- */

uint32_t serial_out_room(const struct serial *s)
{
	uint32_t head = atomic_load_explicit(&s->out.head, memory_order_relaxed);
	/* acquire: pairs with the release in serial_out_taken(); the room is free to be written */
	uint32_t tail = atomic_load_explicit(&s->out.tail, memory_order_acquire);
	return SERIAL_OUT_BYTES - (head - tail);
}

void serial_out_put(struct serial *s, uint8_t v)
{
	uint32_t head = atomic_load_explicit(&s->out.head, memory_order_relaxed);
	s->out.bytes[head % SERIAL_OUT_BYTES] = v;
	/* release: pairs with the acquire in serial_out_pending() */
	atomic_store_explicit(&s->out.head, head + 1, memory_order_release);
	/* acq_rel: pairs with the exchange in serial_out_rest(): it sees head, or we see it rest */
	if (!atomic_exchange_explicit(&s->out_busy, true, memory_order_acq_rel))
		reactor_post(s->cfg.reactor, &s->out_msg);
}

static uint32_t serial_out_pending(const struct serial *s)
{
	return atomic_load_explicit(&s->out.head, memory_order_acquire) -
	       atomic_load_explicit(&s->out.tail, memory_order_relaxed);
}

/* @n bytes have gone; let the guest send more. */
static void serial_out_taken(struct serial *s, uint32_t n)
{
	uint32_t tail = atomic_load_explicit(&s->out.tail, memory_order_relaxed);
	atomic_store_explicit(&s->out.tail, tail + n, memory_order_release);
	serial_sent(s);
}

/* Nothing to write: rest. False: something came in between, go on. */
static bool serial_out_rest(struct serial *s)
{
	(void)atomic_exchange_explicit(&s->out_busy, false, memory_order_acq_rel);
	return !serial_out_pending(s) ||
	       atomic_exchange_explicit(&s->out_busy, true, memory_order_acq_rel);
}

/* --- reactor's thread: output --- */

/* Everything has come to rest that serial_stop() waits for. */
static void serial_check_end(struct serial *s)
{
	if (!s->is_ending || s->has_ended || s->in_flight || s->out_flight ||
	    atomic_load_explicit(&s->out_busy, memory_order_relaxed))
		return;
	s->has_ended = true;
	notifier_signal(&s->stopped);
}

/* What is pending as one or two runs of the ring. */
static unsigned serial_out_runs(struct serial *s, uint32_t pending)
{
	uint32_t at = atomic_load_explicit(&s->out.tail, memory_order_relaxed) % SERIAL_OUT_BYTES;
	uint32_t first = min_u32(pending, SERIAL_OUT_BYTES - at);
	s->out_iov[0] = (struct iovec){ s->out.bytes + at, first };
	s->out_iov[1] = (struct iovec){ s->out.bytes, pending - first };
	return pending > first ? 2 : 1;
}

static void serial_out_write(struct serial *s)
{
	unsigned nr = serial_out_runs(s, serial_out_pending(s));
	s->out_flight = true;
	reactor_writev(s->cfg.reactor, &s->out_op, s->cfg.out_fd, s->out_iov, nr, -1, 0);
}

static void serial_out_wait(struct serial *s)
{
	s->out_flight = s->out_waits = true;
	reactor_poll_fd(s->cfg.reactor, &s->out_op, s->cfg.out_fd, POLLOUT);
}

static void serial_drain(struct serial *s)
{
	while (!s->out_flight) {
		uint32_t pending = serial_out_pending(s);
		if (!pending && serial_out_rest(s))
			break;
		if (s->is_aborting || s->cfg.out_fd < 0) {
			serial_out_taken(s, pending);
			continue;
		}
		if (!pending)
			continue;
		if (s->may_be_left)
			serial_out_wait(s);
		else
			serial_out_write(s);
	}
	serial_check_end(s);
}

/* The host would not take it: what is pending is dropped, or the guest would hang on a full disk.
 */
static void serial_out_failed(struct serial *s, int32_t res)
{
	if (res == -ECANCELED)
		s->is_aborting = true;
	serial_out_taken(s, serial_out_pending(s));
}

/* A terminal, and this is what poll says of it: what nobody is there to take is dropped. */
static void serial_out_ready(struct serial *s, int32_t events)
{
	if (!(events & POLLHUP)) {
		serial_out_write(s);
		return;
	}
	uint32_t pending = serial_out_pending(s);
	ssize_t n = pty_leave(s->cfg.out_fd, s->out_iov, serial_out_runs(s, pending));
	serial_out_taken(s, n ? (uint32_t)n : pending);
	serial_drain(s);
}

static void serial_out_done(struct reactor_op *op, int32_t res)
{
	struct serial *s = container_of(op, struct serial, out_op);
	bool was_wait = s->out_waits;
	s->out_flight = s->out_waits = false;
	if (res == -EAGAIN) {
		serial_out_wait(s);
		return;
	}
	if (res > 0 && was_wait && s->may_be_left) {
		serial_out_ready(s, res);
		return;
	}
	if (res <= 0)
		serial_out_failed(s, res);
	else if (!was_wait)
		serial_out_taken(s, (uint32_t)res);
	serial_drain(s);
}

static void serial_on_out(struct reactor_msg *m)
{
	serial_drain(container_of(m, struct serial, out_msg));
}

/* --- input --- */

void serial_in_want(struct serial *s)
{
	if (!s->is_started || s->is_stopping || s->in_busy || s->cfg.in_fd < 0 ||
	    !serial_in_room(s))
		return;
	s->in_busy = true;
	reactor_post(s->cfg.reactor, &s->in_msg);
}

static void serial_in_read(struct serial *s)
{
	mutex_lock(&s->lock);
	uint32_t room = serial_in_room(s); /* it can only grow until we deliver */
	bool is_stopping = s->is_stopping;
	mutex_unlock(&s->lock);
	if (is_stopping)
		return;
	s->in_flight = true;
	s->in_iov = (struct iovec){ s->in_buf, room };
	reactor_readv(s->cfg.reactor, &s->in_op, s->cfg.in_fd, &s->in_iov, 1, -1);
}

/* Nothing there, or nobody: look again when there may be. */
static void serial_in_wait(struct serial *s, int32_t res)
{
	s->in_flight = s->in_waits = true;
	if (res == -EAGAIN)
		reactor_poll_fd(s->cfg.reactor, &s->in_op, s->cfg.in_fd, POLLIN);
	else
		reactor_timeout(s->cfg.reactor, &s->in_op, PTY_LOOK_NS);
}

/* At the end of file, and after errors that will not go away, in_busy stays: no more reads. */
static void serial_in_done(struct reactor_op *op, int32_t res)
{
	struct serial *s = container_of(op, struct serial, in_op);
	bool was_wait = s->in_waits;
	s->in_flight = s->in_waits = false;
	if (was_wait && res != -ECANCELED)
		serial_in_read(s);
	else if (res > 0)
		serial_received(s, s->in_buf, (uint32_t)res);
	else if ((res == -EAGAIN || res == -EIO) && !s->is_ending)
		serial_in_wait(s, res);
	serial_check_end(s);
}

static void serial_on_in(struct reactor_msg *m)
{
	serial_in_read(container_of(m, struct serial, in_msg));
}

/* --- start and stop --- */

static void serial_on_stop(struct reactor_msg *m)
{
	struct serial *s = container_of(m, struct serial, stop_msg);
	s->is_ending = true;
	if (s->in_flight)
		reactor_cancel(s->cfg.reactor, &s->in_op);
	serial_check_end(s);
}

static void serial_on_abort(struct reactor_msg *m)
{
	struct serial *s = container_of(m, struct serial, abort_msg);
	s->is_aborting = true;
	if (s->out_flight)
		reactor_cancel(s->cfg.reactor, &s->out_op);
	notifier_signal(&s->aborted);
}

void serial_io_init(struct serial *s)
{
	s->may_be_left = pty_may_be_left(s->cfg.out_fd);
	s->in_op.done = serial_in_done;
	s->out_op.done = serial_out_done;
	s->in_msg.fn = serial_on_in;
	s->out_msg.fn = serial_on_out;
	s->stop_msg.fn = serial_on_stop;
	s->abort_msg.fn = serial_on_abort;
}

void serial_start(struct serial *s)
{
	mutex_lock(&s->lock);
	s->is_started = true;
	serial_feed(s);
	mutex_unlock(&s->lock);
}

bool serial_stop(struct serial *s, uint64_t drain_ns, uint64_t abort_ns)
{
	mutex_lock(&s->lock);
	s->is_stopping = true;
	mutex_unlock(&s->lock);
	reactor_post(s->cfg.reactor, &s->stop_msg);
	if (rendezvous_wait(&s->stopped, drain_ns))
		return true;
	reactor_post(s->cfg.reactor, &s->abort_msg);
	/* both: s may not be freed under a message that is under way */
	return rendezvous_wait(&s->aborted, abort_ns) && rendezvous_wait(&s->stopped, abort_ns);
}
