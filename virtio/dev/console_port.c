/* console_port.c - bytes in and out of a port. VIRTIO 1.2 §5.3.6. */
#include "console_priv.h"
#include <errno.h>
#include <poll.h>
#include <sys/uio.h>

/* --- output: one chain at a time, so that bytes stay in order --- */

static void console_out_step(struct console_out *o);

static void console_out_end(struct console_out *o)
{
	o->is_busy = false;
	o->finished(o);
}

static void console_out_advance(struct console_out *o, size_t len)
{
	while (o->nr && len >= o->iov->iov_len) {
		len -= o->iov->iov_len;
		o->iov++;
		o->nr--;
	}
	if (len) {
		o->iov->iov_base = (uint8_t *)o->iov->iov_base + len;
		o->iov->iov_len -= len;
	}
}

static void console_out_ready(struct reactor_op *op, int32_t res)
{
	struct console_out *o = container_of(op, struct console_out, op);
	if (res < 0 || o->is_closing)
		console_out_end(o);
	else
		console_out_step(o);
}

static void console_out_written(struct reactor_op *op, int32_t res)
{
	struct console_out *o = container_of(op, struct console_out, op);
	if (res > 0)
		console_out_advance(o, (size_t)res);
	if (o->is_closing || !o->nr || (res <= 0 && res != -EAGAIN && res != -EINTR)) {
		console_out_end(o);
		return;
	}
	if (res == -EAGAIN) {
		op->done = console_out_ready;
		reactor_poll_fd(o->reactor, op, o->fd, POLLOUT);
		return;
	}
	console_out_step(o);
}

static void console_out_step(struct console_out *o)
{
	o->op.done = console_out_written;
	reactor_writev(o->reactor, &o->op, o->fd, o->iov, o->nr, -1, 0);
}

void console_out_start(struct console_out *o, struct iovec *iov, unsigned nr)
{
	o->iov = iov;
	o->nr = nr;
	o->is_busy = true;
	console_out_step(o);
}

void console_out_close(struct console_out *o)
{
	o->is_closing = true;
	if (o->is_busy)
		reactor_cancel(o->reactor, &o->op);
}

static void console_tx_finished(struct console_out *o)
{
	struct console_port *p = container_of(o, struct console_port, out);
	struct vq_chain *c = p->out_chain;
	p->out_chain = NULL;
	vq_push(p->tx.q, c, 0);
}

int console_tx_serve(struct vworker_queue *wq, struct vq *q)
{
	struct console_port *p = container_of(wq, struct console_port, tx);
	struct vq_chain *c;
	for (unsigned budget = VQ_BATCH; budget; budget--) {
		if (p->out_chain)
			return -ENOBUFS; /* until it is pushed */
		int got = vq_pop(q, &c);
		if (got <= 0)
			return got;
		if (p->cfg.out_fd < 0 || !c->out_bytes) {
			vq_push(q, c, 0);
			continue;
		}
		p->out_chain = c;
		console_out_start(&p->out, c->iov, c->nr_out);
	}
	return 1;
}

void console_tx_started(struct vworker_queue *wq)
{
	struct console_port *p = container_of(wq, struct console_port, tx);
	console_follow_resets(p->con);
	p->out.is_closing = false;
}

void console_tx_stopping(struct vworker_queue *wq)
{
	console_out_close(&container_of(wq, struct console_port, tx)->out);
}

/* --- input: nothing is read before there is a buffer for it, so nothing is lost --- */

static void console_in_ready(struct reactor_op *op, int32_t res)
{
	struct console_port *p = container_of(op, struct console_port, in_op);
	p->is_waiting = false;
	if (res != -ECANCELED)
		p->is_readable = true; /* also after an error: the read will tell */
	vworker_wake(&p->rx);
	vworker_release(&p->rx);
}

/* Is there something to read? If not, be woken when there is. */
static bool console_may_read(struct console_port *p)
{
	if (p->cfg.in_fd < 0 || p->is_at_end)
		return false;
	if (console_has_multiport(&p->rx) && !p->is_open)
		return false;
	if (p->is_readable || p->is_waiting)
		return p->is_readable;
	p->is_waiting = true;
	vworker_hold(&p->rx);
	reactor_poll_fd(p->out.reactor, &p->in_op, p->cfg.in_fd, POLLIN);
	return false;
}

static void console_read(struct console_port *p, struct vq *q, struct vq_chain *c)
{
	if (!c->in_bytes) {
		vq_push(q, c, 0); /* a buffer without room */
		return;
	}
	/* one read for each time the descriptor was readable: so it may be a blocking one */
	ssize_t n = readv(p->cfg.in_fd, c->iov + c->nr_out, c->nr_in);
	int err = n < 0 ? errno : 0;
	p->is_readable = false;
	if (n > 0) {
		vq_push(q, c, (uint32_t)n);
		return;
	}
	vq_unpop(q, c);
	p->is_at_end = err != EAGAIN && err != EINTR;
}

int console_rx_serve(struct vworker_queue *wq, struct vq *q)
{
	struct console_port *p = container_of(wq, struct console_port, rx);
	struct vq_chain *c;
	for (unsigned budget = VQ_BATCH; budget; budget--) {
		if (!console_may_read(p))
			return -ENOBUFS;
		int got = vq_pop(q, &c);
		if (got <= 0)
			return got;
		console_read(p, q, c);
	}
	return 1;
}

void console_rx_started(struct vworker_queue *wq)
{
	struct console_port *p = container_of(wq, struct console_port, rx);
	console_follow_resets(p->con);
	p->is_at_end = false;
}

void console_rx_stopping(struct vworker_queue *wq)
{
	struct console_port *p = container_of(wq, struct console_port, rx);
	if (p->is_waiting)
		reactor_cancel(p->out.reactor, &p->in_op);
}

void console_port_init_ops(struct console_port *p)
{
	p->in_op.done = console_in_ready;
	p->out.reactor = vworker_reactor(p->con->worker);
	p->out.fd = p->cfg.out_fd;
	p->out.finished = console_tx_finished;
}
