/*
 * ring_priv.h - one io_uring: the best set-up this kernel has, and one way into it.
 *
 * Layer:   iouring, private
 * Threads: uring_init, uring_fini from the creator; all else from the one thread that enabled it.
 * Errors:  negative errno. -ENOSYS, -EPERM: this host has no io_uring or forbids it.
 * Spec:    io_uring_setup(2), io_uring_enter(2); liburing from 2.3 on.
 */
#ifndef IOURING_RING_PRIV_H
#define IOURING_RING_PRIV_H
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/compiler.h"

/* The system calls, so that a test can script them. Each returns its result or negative errno. */
struct uring_sys {
	int (*setup)(unsigned entries, struct io_uring *io, struct io_uring_params *p);
	int (*enter)(unsigned fd, unsigned submit, unsigned wait_for, unsigned flags);
	int (*reg)(unsigned fd, unsigned op, void *arg, unsigned nr);
	ssize_t (*writev)(int fd, const struct iovec *iov, int nr, off_t off, int flags);
};
extern const struct uring_sys uring_sys_real;

/* Sets of set-up flags, best first. A kernel that refuses one with -EINVAL is offered the next. */
enum uring_rung {
	URING_DEFER, /* 6.1: one submitter, completions run when that one enters */
	URING_COOP,  /* 5.19: completions do not interrupt the submitter */
	URING_PLAIN, /* 5.6 */
	URING_NR_RUNGS,
};

struct uring {
	struct io_uring io;
	const struct uring_sys *sys;
	enum uring_rung rung;
	unsigned enter_fd, enter_flags; /* the registered descriptor once there is one */
	bool is_open, is_fd_registered;
	bool is_restricted; /* to what reactor_restrict lists */
	bool has_file;      /* uring_keep_file() */
};

/* @entries a power of two. */
MUST_CHECK int uring_init(struct uring *u, unsigned entries, const struct uring_sys *sys);
void uring_fini(struct uring *u);

/* Have the ring keep @fd as file 0, before it is enabled. False: not possible here, use @fd. */
bool uring_keep_file(struct uring *u, int fd);

/*
 * Make the calling thread the ring's own; at most @max_workers (0: the kernel's choice) kernel
 * threads of each kind then work for it, on the CPUs this thread may use. After an error there is
 * only uring_fini(), from any thread.
 */
MUST_CHECK int uring_enable(struct uring *u, unsigned max_workers);
void uring_disable(struct uring *u); /* same thread, at the end */

/*
 * Submit what is queued; with @wait, sleep until there is a completion. 0, or -EINTR (a signal
 * came), -EAGAIN (the kernel is out of memory: later), -EBUSY (completions must be taken first).
 */
MUST_CHECK int uring_enter(struct uring *u, bool wait);

/* Next free submission entry, or NULL when all are taken until the next uring_enter(). */
static inline struct io_uring_sqe *uring_sqe(struct uring *u)
{
	struct io_uring_sq *sq = &u->io.sq;
	/* acquire: the kernel has read the entry it released by moving the head */
	unsigned head = __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
	if (unlikely(sq->sqe_tail - head >= sq->ring_entries))
		return NULL;
	return &sq->sqes[sq->sqe_tail++ & sq->ring_mask];
}

static inline bool uring_has_queued(const struct uring *u)
{
	return u->io.sq.sqe_tail != *u->io.sq.khead;
}

/* Is there a completion, or kernel work that will post one as soon as we enter? */
static inline bool uring_wants_enter(const struct uring *u)
{
	return __atomic_load_n(u->io.sq.kflags, __ATOMIC_RELAXED) &
	       (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN);
}

static inline bool uring_has_completion(const struct uring *u)
{
	/* acquire: pairs with the kernel's release of the tail, the entry is written */
	return __atomic_load_n(u->io.cq.ktail, __ATOMIC_ACQUIRE) != *u->io.cq.khead;
}

/* Take the oldest completion. False: there is none. */
static inline bool uring_pop_completion(struct uring *u, uint64_t *user_data, int32_t *res)
{
	struct io_uring_cq *cq = &u->io.cq;
	unsigned head = *cq->khead;
	if (head == __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE)) /* acquire: as above */
		return false;
	const struct io_uring_cqe *cqe = &cq->cqes[head & cq->ring_mask];
	*user_data = cqe->user_data;
	*res = cqe->res;
	/* release: we have read the entry, the kernel may write it anew */
	__atomic_store_n(cq->khead, head + 1, __ATOMIC_RELEASE);
	return true;
}

#endif
