/* console_port.c - bytes in and out of a port. VIRTIO 1.2 §5.3.6. */
#include "console_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/err.h"
#include "dev/pty.h"

/* --- output: one chain at a time, so that bytes stay in order --- */

static void console_out_write(struct console_out *o);
static void console_out_wait(struct console_out *o);
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

static void console_out_written(struct reactor_op *op, int32_t res);

static void console_out_ready(struct reactor_op *op, int32_t res)
{
	struct console_out *o = container_of(op, struct console_out, op);
	ssize_t left = 0;
	if (res < 0 || o->is_closing)
		console_out_end(o);
	else if (o->may_be_left && (res & POLLHUP) && !(left = pty_leave(o->fd, o->iov, o->nr)))
		console_out_end(o); /* dropped: nobody is there to take it */
	else if (left)
		console_out_written(op, (int32_t)left);
	else
		console_out_write(o);
}

static void console_out_written(struct reactor_op *op, int32_t res)
{
	struct console_out *o = container_of(op, struct console_out, op);
	if (res > 0 && o->run)
		console_run_note(o->run, o->run->done + (uint32_t)res);
	if (res > 0)
		console_out_advance(o, (size_t)res);
	if (o->is_closing || !o->nr || (res <= 0 && res != -EAGAIN && res != -EINTR)) {
		console_out_end(o);
		return;
	}
	if (res == -EAGAIN)
		console_out_wait(o);
	else
		console_out_step(o);
}

static void console_out_write(struct console_out *o)
{
	const struct iovec *iov = o->iov;
	unsigned nr = o->nr;
	if (o->is_blocking) {
		o->byte = (struct iovec){ o->iov->iov_base, 1 };
		iov = &o->byte;
		nr = 1;
	}
	o->op.done = console_out_written;
	reactor_writev(o->reactor, &o->op, o->fd, iov, nr, -1, 0);
}

static void console_out_wait(struct console_out *o)
{
	o->op.done = console_out_ready;
	reactor_poll_fd(o->reactor, &o->op, o->fd, POLLOUT);
}

static void console_out_step(struct console_out *o)
{
	if (o->is_blocking || o->may_be_left)
		console_out_wait(o);
	else
		console_out_write(o);
}

void console_out_start(struct console_out *o, struct iovec *iov, unsigned nr, uint32_t skip)
{
	o->iov = iov;
	o->nr = nr;
	o->is_busy = true;
	console_out_advance(o, skip);
	if (o->nr && !o->is_closing)
		console_out_step(o);
	else
		console_out_end(o);
}

void console_out_close(struct console_out *o)
{
	o->is_closing = true;
	if (o->is_busy)
		reactor_cancel(o->reactor, &o->op);
}

/* Put out half-way when the queue stops: the rest is for whoever goes on with it. */
static bool console_tx_is_cut(const struct console_port *p)
{
	return p->out.is_closing && p->out.nr && !p->is_out_old;
}

static void console_tx_finished(struct console_out *o)
{
	struct console_port *p = container_of(o, struct console_port, out);
	struct vq_chain *c = p->out_chain;
	p->out_chain = NULL;
	if (console_tx_is_cut(p)) {
		vq_unpop(p->tx.q, c);
		console_keep_cut(p, p->tx.q);
		return;
	}
	vq_push(p->tx.q, c, 0);
	vq_signal(p->tx.q); /* before the next begins: there is one account for both */
	console_run_end(&p->kept->out);
}

/* All of @c; or, if it is the one that a predecessor was at, the rest of it. */
static void console_tx_begin(struct console_port *p, struct vq_chain *c)
{
	struct console_run *run = &p->kept->out;
	bool has_place = p->cfg.owns_out && !(p == p->con->ports && p->con->emerg.is_busy);
	uint32_t done = 0;
	if (p->resumes_out) {
		done = console_run_progress(run, p->out.fd, c->out_bytes);
		console_run_note(run, done);
	} else {
		console_run_begin(run, has_place ? p->out.fd : -1);
	}
	console_keep_uncut(p);
	p->resumes_out = false;
	p->out_chain = c;
	console_out_start(&p->out, c->iov, c->nr_out, done);
}

int console_tx_serve(struct vworker_queue *wq, struct vq *q)
{
	struct console_port *p = container_of(wq, struct console_port, tx);
	struct vq_chain *c;
	for (unsigned budget = VQ_BATCH; budget; budget--) {
		if (p->out_chain)
			return -ENOBUFS; /* until it is pushed */
		p->is_out_old = vq_has_backlog(q);
		int got = vq_pop(q, &c);
		if (got <= 0)
			return got;
		if (p->cfg.out_fd < 0 || !c->out_bytes) {
			vq_push(q, c, 0);
			continue;
		}
		console_tx_begin(p, c);
	}
	return 1;
}

void console_tx_started(struct vworker_queue *wq)
{
	struct console_port *p = container_of(wq, struct console_port, tx);
	console_follow_resets(p->con);
	p->out.is_closing = false;
	console_keep_follow(p, wq->setup.goes_on);
	p->resumes_out = console_keep_is_cut(p, wq->q) || console_run_resumes(&p->kept->out, wq->q);
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
	if (console_has_multiport(&p->rx) && !(console_state(p) & CONSOLE_IS_OPEN))
		return false;
	if (p->is_readable || p->is_waiting)
		return p->is_readable;
	p->is_waiting = true;
	vworker_hold(&p->rx);
	reactor_poll_fd(p->out.reactor, &p->in_op, p->cfg.in_fd, POLLIN);
	return false;
}

/* @len bytes are in @c: the driver sees them before more is read. */
static void console_read_done(struct console_port *p, struct vq_chain *c, uint32_t len)
{
	vq_push(p->rx.q, c, len);
	vq_signal(p->rx.q);
	console_run_end(&p->kept->in);
}

/* Nobody has the terminal open, which no poll waits for. */
static void console_look_later(struct console_port *p)
{
	p->is_waiting = true;
	vworker_hold(&p->rx);
	reactor_timeout(p->out.reactor, &p->in_op, PTY_LOOK_NS);
}

static void console_read(struct console_port *p, struct vq *q, struct vq_chain *c)
{
	if (!c->in_bytes) {
		vq_push(q, c, 0); /* a buffer without room */
		return;
	}
	console_run_begin(&p->kept->in, p->cfg.owns_in ? p->cfg.in_fd : -1);
	/* one read for each time the descriptor was readable: so it may be a blocking one */
	ssize_t n = readv(p->cfg.in_fd, c->iov + c->nr_out, c->nr_in);
	int err = n < 0 ? errno : 0;
	p->is_readable = false;
	if (n > 0) {
		console_run_note(&p->kept->in, (uint32_t)n);
		console_read_done(p, c, (uint32_t)n);
		return;
	}
	console_run_end(&p->kept->in);
	vq_unpop(q, c);
	if (err == EIO && p->in_may_be_left)
		console_look_later(p);
	else
		p->is_at_end = err != EAGAIN && err != EINTR;
}

/* A predecessor was about to read into the first buffer: what it got is there. */
static int console_read_again(struct console_port *p, struct vq *q)
{
	struct vq_chain *c;
	p->resumes_in = false;
	int got = vq_pop(q, &c);
	if (got <= 0)
		return got;
	uint32_t n = console_run_progress(&p->kept->in, p->cfg.in_fd, c->in_bytes);
	if (n) {
		console_read_done(p, c, n);
		return 1;
	}
	console_run_end(&p->kept->in);
	vq_unpop(q, c);
	return 1;
}

int console_give_back(struct vq *q)
{
	struct vq_chain *c;
	int got = vq_pop(q, &c);
	if (got > 0)
		vq_push(q, c, 0);
	return got;
}

int console_rx_serve(struct vworker_queue *wq, struct vq *q)
{
	struct console_port *p = container_of(wq, struct console_port, rx);
	struct vq_chain *c;
	if (p->resumes_in)
		return console_read_again(p, q);
	if (wq->is_stopping)
		return console_give_back(q);
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
	p->resumes_in = console_run_resumes(&p->kept->in, wq->q);
}

void console_rx_stopping(struct vworker_queue *wq)
{
	struct console_port *p = container_of(wq, struct console_port, rx);
	vworker_wake(wq); /* a buffer that a predecessor took has to go back */
	if (p->is_waiting)
		reactor_cancel(p->out.reactor, &p->in_op);
}

/*
 * A terminal is usually shared with the shell we were started from: switching the description to
 * non-blocking would reach that one, too. So one of our own is opened.
 */
static int console_open_own(int fd)
{
	char path[32];
	int flags = fd >= 0 ? fcntl(fd, F_GETFL) : -1;
	if (flags < 0 || (flags & O_NONBLOCK) || !isatty(fd) || pty_is_near_end(fd))
		return -1;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* has room for any int */
	return open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

void console_port_init(struct console_port *p, struct console *con,
		       const struct console_port_config *cfg)
{
	p->con = con;
	p->cfg = *cfg;
	p->kept = &con->keep->ports[p - con->ports];
	p->own_fd = console_open_own(cfg->out_fd);
	p->in_op.done = console_in_ready;
	p->out = (struct console_out){ .reactor = vworker_reactor(con->worker),
				       .fd = p->own_fd >= 0 ? p->own_fd : cfg->out_fd,
				       .run = &p->kept->out,
				       .finished = console_tx_finished };
	p->out.may_be_left = pty_may_be_left(p->out.fd);
	p->in_may_be_left = pty_may_be_left(cfg->in_fd);
	p->out.is_blocking = p->out.fd >= 0 && isatty(p->out.fd) &&
			     !(fcntl(p->out.fd, F_GETFL) & O_NONBLOCK);
}

void console_port_fini(struct console_port *p)
{
	fd_close(p->own_fd);
}
