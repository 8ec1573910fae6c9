/* ring_engine.c - operations on io_uring. See reactor_priv.h. */
#include "reactor_priv.h"
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <time.h>

/* Lowest bit of a completion's user data: it answers a cancel request for that operation. */
#define RING_OF_CANCEL 1ull

/* The kernel reads the time of a timeout where the operation keeps it. */
static_assert(offsetof(struct reactor_op, off) ==
			      offsetof(struct reactor_op, addr) + sizeof(uint64_t) &&
		      sizeof(struct __kernel_timespec) == 2 * sizeof(uint64_t),
	      "addr and off are a timespec");

/* The kernel takes the two halves the other way round on big-endian machines. */
static uint32_t ring_poll_mask(uint32_t events)
{
#if __BYTE_ORDER == __BIG_ENDIAN
	events = events << 16 | events >> 16;
#endif
	return events;
}

static NOINLINE void ring_fill_special(struct io_uring_sqe *sqe, struct reactor_op *op)
{
	if (op->state & OP_ASYNC)
		sqe->flags |= IOSQE_ASYNC;
	if (op->state & OP_POLLING) {
		bool is_read = op->code == IORING_OP_READ || op->code == IORING_OP_READV;
		*sqe = (struct io_uring_sqe){
			.opcode = IORING_OP_POLL_ADD,
			.fd = op->fd,
			.poll32_events = ring_poll_mask(is_read ? POLLIN : POLLOUT),
			.user_data = (uintptr_t)op,
		};
	} else if (op->code == IORING_OP_POLL_ADD) {
		sqe->poll32_events = ring_poll_mask(op->flags);
	} else if (op->code == IORING_OP_TIMEOUT) {
		sqe->addr = (uintptr_t)&op->addr;
		sqe->len = 1;
		sqe->off = 0; /* on time alone, whatever completes meanwhile */
	}
}

bool ring_start(struct reactor *r, struct reactor_op *op)
{
	struct io_uring_sqe *sqe = uring_sqe(&r->ring);
	if (unlikely(!sqe))
		return false;
	*sqe = (struct io_uring_sqe){
		.opcode = op->code,
		.fd = op->fd,
		.off = op->off,
		.addr = op->addr,
		.len = op->len,
		.rw_flags = (int)op->flags,
		.user_data = (uintptr_t)op,
	};
	if (op->fd == r->kept_fd) {
		sqe->fd = 0;
		sqe->flags = IOSQE_FIXED_FILE;
	}
	if (unlikely(op->state))
		ring_fill_special(sqe, op);
	return true;
}

static void ring_start_cancels(struct reactor *r)
{
	list_for_each (l, &r->waits) {
		struct reactor_op *op = container_of(l, struct reactor_op, link);
		if (!(op->state & OP_CANCEL_WANTED))
			continue;
		struct io_uring_sqe *sqe = uring_sqe(&r->ring);
		if (!sqe)
			return;
		*sqe = (struct io_uring_sqe){
			.opcode = IORING_OP_ASYNC_CANCEL,
			.fd = -1,
			.addr = (uintptr_t)op,
			.user_data = (uintptr_t)op | RING_OF_CANCEL,
		};
		op->state ^= OP_CANCEL_WANTED | OP_CANCELLED;
		r->cancels_wanted--;
		r->cancels_out++;
	}
}

/*
 * "No such request" about one that still waits: it was on its way from one queue of the kernel to
 * another. Ask again. @op may be gone by now, so it is looked up before it is touched; one that was
 * started anew at the same address has not been cancelled.
 */
static void ring_cancel_answered(struct reactor *r, const struct reactor_op *gone, int32_t res)
{
	r->cancels_out--;
	if (res != -ENOENT)
		return;
	list_for_each (l, &r->waits) {
		struct reactor_op *op = container_of(l, struct reactor_op, link);
		if (op != gone || !(op->state & OP_CANCELLED))
			continue;
		op->state ^= OP_CANCEL_WANTED | OP_CANCELLED;
		r->cancels_wanted++;
	}
}

void ring_enter(struct reactor *r, bool wait)
{
	int err = 0;
	bool has_more;
	do {
		op_start_backlog(r);
		if (unlikely(r->cancels_wanted))
			ring_start_cancels(r);
		if (!wait && !uring_has_queued(&r->ring) && !uring_wants_enter(&r->ring))
			return;
		reactor_count(&r->stats.enters);
		/* what found no entry has to be submitted before we may sleep */
		has_more = !list_is_empty(&r->backlog) || r->cancels_wanted;
		err = uring_enter(&r->ring, wait && !has_more);
	} while (!err && has_more);
	if (unlikely(err == -EAGAIN && !uring_has_completion(&r->ring))) {
		struct timespec ts = { .tv_nsec = 100000 }; /* let the kernel find memory */
		(void)nanosleep(&ts, NULL);
	}
}

bool ring_reap(struct reactor *r)
{
	uint64_t user_data;
	int32_t res;
	unsigned budget = r->ring.io.cq.ring_entries;
	bool any = false;
	while (budget-- && uring_pop_completion(&r->ring, &user_data, &res)) {
		uintptr_t whose = user_data & ~RING_OF_CANCEL;
		struct reactor_op *op = (struct reactor_op *)whose;
		any = true;
		if (unlikely(user_data & RING_OF_CANCEL))
			ring_cancel_answered(r, op, res);
		else
			op_answered(r, op, res);
	}
	return any;
}

bool ring_has_news(struct reactor *r)
{
	return uring_has_completion(&r->ring) || uring_wants_enter(&r->ring);
}
