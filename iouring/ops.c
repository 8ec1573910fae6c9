/* ops.c - the operations of a reactor: from the caller to the engine and back. */
#include "reactor_priv.h"
#include <errno.h>
#include "base/num.h"

/* Most that one read or write moves (MAX_RW_COUNT of the kernel): the rest is a short count. */
#define OP_MAX_BYTES 0x7ffff000u

static void op_start(struct reactor *r, struct reactor_op *op)
{
	bool is_started = list_is_empty(&r->backlog) &&
			  (likely(!r->pool) ? ring_start(r, op) : pool_start(r, op));
	if (unlikely(!is_started)) {
		op->state |= OP_QUEUED;
		list_push_back(&r->backlog, &op->link);
	} else if (op->state & OP_WAIT) {
		list_push_back(&r->waits, &op->link);
	}
}

static void op_issue(struct reactor *r, struct reactor_op *op)
{
	r->in_flight++;
	if (op->state & OP_WAIT)
		r->nr_waits++;
	if (unlikely(r->is_stopping && (op->state & OP_WAIT)))
		op_resolve(r, op, -ECANCELED);
	else
		op_start(r, op);
}

void op_start_backlog(struct reactor *r)
{
	while (!list_is_empty(&r->backlog)) {
		struct reactor_op *op = container_of(r->backlog.next, struct reactor_op, link);
		if (!(r->pool ? pool_start(r, op) : ring_start(r, op)))
			return;
		list_remove(&op->link);
		op->state &= (uint8_t)~OP_QUEUED;
		if (op->state & OP_WAIT)
			list_push_back(&r->waits, &op->link);
	}
}

void op_resolve(struct reactor *r, struct reactor_op *op, int32_t res)
{
	op->state |= OP_READY;
	op->len = (uint32_t)res;
	list_push_back(&r->ready, &op->link);
}

void op_done(struct reactor *r, struct reactor_op *op, int32_t res)
{
	if (op->state & OP_WAIT) {
		list_remove(&op->link);
		r->nr_waits--;
		if (op->state & OP_CANCEL_WANTED)
			r->cancels_wanted--;
	}
	op->state = 0;
	r->in_flight--;
	reactor_count(&r->stats.completions);
	op->done(op, res);
}

bool op_tell_ready(struct reactor *r)
{
	/* only those of now: one that is told may start another that is refused at once */
	struct list *last = r->ready.prev;
	if (last == &r->ready)
		return false;
	for (bool is_last = false; !is_last;) {
		struct list *l = list_pop_front(&r->ready);
		struct reactor_op *op = container_of(l, struct reactor_op, link);
		is_last = l == last;
		op_done(r, op, (int32_t)op->len);
	}
	return true;
}

/* The file cannot do it now and did not wait: how to make it. False: the caller wants to know. */
static bool op_plan_retry(struct reactor_op *op)
{
	bool is_rw = op->code == IORING_OP_READ || op->code == IORING_OP_READV ||
		     op->code == IORING_OP_WRITE || op->code == IORING_OP_WRITEV;
	if (!is_rw || (op->flags & (uint32_t)RWF_NOWAIT))
		return false;
	uint8_t plan = op->state & OP_WAIT ? OP_POLLING : OP_ASYNC;
	if (op->state & OP_ASYNC)
		return false;
	op->state |= plan;
	return true;
}

void op_answered(struct reactor *r, struct reactor_op *op, int32_t res)
{
	bool again = false;
	if (unlikely(op->state & OP_POLLING)) {
		op->state &= (uint8_t)~OP_POLLING;
		again = res >= 0 || res == -EINTR;
	} else if (unlikely(res == -EAGAIN)) {
		again = op_plan_retry(op);
	} else if (unlikely(res == -EINTR)) {
		again = true;
	}
	if (likely(!again)) {
		op_done(r, op, res);
	} else if (op->state & (OP_CANCEL_WANTED | OP_CANCELLED)) {
		op_done(r, op, -ECANCELED);
	} else {
		if (op->state & OP_WAIT)
			list_remove(&op->link);
		op_start(r, op);
	}
}

void reactor_cancel(struct reactor *r, struct reactor_op *op)
{
	if (!(op->state & OP_WAIT) || (op->state & (OP_READY | OP_CANCEL_WANTED | OP_CANCELLED)))
		return;
	if (op->state & OP_QUEUED) {
		list_remove(&op->link);
		op->state &= (uint8_t)~OP_QUEUED;
		op_resolve(r, op, -ECANCELED);
		return;
	}
	op->state |= OP_CANCEL_WANTED;
	r->cancels_wanted++;
}

void op_cancel_waits(struct reactor *r)
{
	list_for_each (l, &r->waits)
		reactor_cancel(r, container_of(l, struct reactor_op, link));
	list_for_each_safe (l, &r->backlog)
		reactor_cancel(r, container_of(l, struct reactor_op, link));
}

static void op_rw(struct reactor *r, struct reactor_op *op, bool is_write, int fd,
		  const struct iovec *iov, unsigned nr, int64_t off, int rwf_flags)
{
	op->state = off < 0 ? OP_WAIT : 0;
	op->fd = fd;
	op->off = (uint64_t)off;
	op->flags = (uint32_t)rwf_flags;
	if (likely(nr == 1)) {
		op->code = is_write ? IORING_OP_WRITE : IORING_OP_READ;
		op->addr = (uintptr_t)iov->iov_base;
		op->len = (uint32_t)min_u64(iov->iov_len, OP_MAX_BYTES);
	} else {
		op->code = is_write ? IORING_OP_WRITEV : IORING_OP_READV;
		op->addr = (uintptr_t)iov;
		op->len = nr;
	}
	op_issue(r, op);
}

void reactor_readv(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		   unsigned nr, int64_t off)
{
	op_rw(r, op, false, fd, iov, nr, off, 0);
}

void reactor_writev(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		    unsigned nr, int64_t off, int rwf_flags)
{
	op_rw(r, op, true, fd, iov, nr, off, rwf_flags);
}

void reactor_writev_cached(struct reactor *r, struct reactor_op *op, int fd,
			   const struct iovec *iov, unsigned nr, int64_t off)
{
	int32_t res;
	if (r->pool || !inline_write(&r->inline_writes, r->sys, fd, iov, nr, off, &res)) {
		op_rw(r, op, true, fd, iov, nr, off, 0);
		return;
	}
	op->state = 0;
	r->in_flight++;
	op_resolve(r, op, res);
}

static void op_other(struct reactor *r, struct reactor_op *op, const struct reactor_op *what)
{
	op->code = what->code;
	op->state = what->state;
	op->fd = what->fd;
	op->len = what->len;
	op->flags = what->flags;
	op->addr = what->addr;
	op->off = what->off;
	op_issue(r, op);
}

void reactor_fdatasync(struct reactor *r, struct reactor_op *op, int fd)
{
	op_other(r, op,
		 &(struct reactor_op){
			 .code = IORING_OP_FSYNC, .fd = fd, .flags = IORING_FSYNC_DATASYNC });
}

void reactor_fallocate(struct reactor *r, struct reactor_op *op, int fd, int mode, uint64_t off,
		       uint64_t len)
{
	op_other(r, op,
		 &(struct reactor_op){ .code = IORING_OP_FALLOCATE,
				       .fd = fd,
				       .len = (uint32_t)mode,
				       .addr = len,
				       .off = off });
}

void reactor_poll_fd(struct reactor *r, struct reactor_op *op, int fd, uint32_t events)
{
	op_other(r, op,
		 &(struct reactor_op){
			 .code = IORING_OP_POLL_ADD, .state = OP_WAIT, .fd = fd, .flags = events });
}

void reactor_timeout(struct reactor *r, struct reactor_op *op, uint64_t ns)
{
	op_other(r, op,
		 &(struct reactor_op){ .code = IORING_OP_TIMEOUT,
				       .state = OP_WAIT,
				       .fd = -1,
				       .addr = ns / NSEC_PER_SEC,
				       .off = ns % NSEC_PER_SEC });
}
