/*
 * pool.c - operations where io_uring is missing or forbidden: file I/O by threads that may block,
 * everything that waits by poll(2) on the reactor's own thread. See reactor_priv.h.
 */
#include "reactor_priv.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/num.h"
#include "sync/condvar.h"
#include "sync/mutex.h"
#include "sync/thread.h"

struct pool {
	/* immutable after create */
	int news_fd; /* a count for every result put into an empty list */
	unsigned nr_threads;
	struct thread **threads;
	/* reactor's thread */
	struct pollfd *fds; /* of the waits, in their order; the first is news_fd */
	size_t nr_fds_max;
	/* the fields under lock */
	SYNC_UNIT(mutex, lock, struct list todo; struct list answered; bool is_over;);
	struct condvar more; /* something to do */
	/* set under lock, looked at without */
	_Atomic bool has_answers;
};

/* --- the threads --- */

static ssize_t pool_rw(const struct reactor_op *op)
{
	void *buf = (void *)(uintptr_t)op->addr;
	struct iovec one = { buf, op->len };
	bool is_one = op->code == IORING_OP_READ || op->code == IORING_OP_WRITE;
	bool is_write = op->code == IORING_OP_WRITE || op->code == IORING_OP_WRITEV;
	const struct iovec *iov = is_one ? &one : buf;
	int nr = is_one ? 1 : (int)op->len;
	return is_write ? pwritev2(op->fd, iov, nr, (off_t)op->off, (int)op->flags)
			: preadv2(op->fd, iov, nr, (off_t)op->off, (int)op->flags);
}

static int32_t pool_perform(const struct reactor_op *op)
{
	ssize_t res;
	do {
		if (op->code == IORING_OP_FSYNC)
			res = fdatasync(op->fd);
		else if (op->code == IORING_OP_FALLOCATE)
			res = fallocate(op->fd, (int)op->len, (off_t)op->off, (off_t)op->addr);
		else
			res = pool_rw(op);
	} while (res < 0 && errno == EINTR);
	return res < 0 ? -errno : (int32_t)res;
}

static void pool_answer(struct pool *p, struct reactor_op *op, int32_t res)
{
	op->len = (uint32_t)res;
	bool is_first = list_is_empty(&p->answered);
	list_push_back(&p->answered, &op->link);
	/* release: pairs with the acquire in pool_has_news(); the list itself is under the lock */
	atomic_store_explicit(&p->has_answers, true, memory_order_release);
	if (is_first)
		(void)eventfd_write(p->news_fd, 1); /* full means pending */
}

static void pool_work(void *arg)
{
	struct pool *p = arg;
	mutex_lock(&p->lock);
	for (;;) {
		struct list *l = list_pop_front(&p->todo);
		if (!l && p->is_over)
			break;
		if (!l) {
			condvar_wait(&p->more, &p->lock);
			continue;
		}
		mutex_unlock(&p->lock);
		struct reactor_op *op = container_of(l, struct reactor_op, link);
		int32_t res = pool_perform(op);
		mutex_lock(&p->lock);
		pool_answer(p, op, res);
	}
	mutex_unlock(&p->lock);
}

static void pool_cleanup(struct pool **p)
{
	pool_destroy(*p);
}

int pool_create(struct pool **out, unsigned nr_threads)
{
	CLEANUP(pool_cleanup) struct pool *p = aligned_alloc(CACHE_ALIGN, sizeof(*p));
	if (!p)
		return -ENOMEM;
	memset(p, 0, sizeof(*p));
	mutex_init(&p->lock);
	condvar_init(&p->more);
	list_init(&p->todo);
	list_init(&p->answered);
	p->news_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->news_fd < 0)
		return -errno;
	p->threads = calloc(nr_threads, sizeof(struct thread *));
	if (!p->threads)
		return -ENOMEM;
	for (; p->nr_threads < nr_threads; p->nr_threads++) {
		struct thread_attr attr = { .name = "io-pool" };
		int err = thread_create(&p->threads[p->nr_threads], &attr, pool_work, p);
		if (err)
			return err;
	}
	*out = take(p);
	return 0;
}

void pool_destroy(struct pool *p)
{
	if (!p)
		return;
	mutex_lock(&p->lock);
	p->is_over = true;
	condvar_broadcast(&p->more);
	mutex_unlock(&p->lock);
	for (unsigned i = 0; i < p->nr_threads; i++)
		thread_join(p->threads[i]);
	mutex_fini(&p->lock);
	condvar_fini(&p->more);
	fd_close(p->news_fd);
	free(p->threads);
	free(p->fds);
	free(p);
}

/* --- the reactor's side --- */

bool pool_start(struct reactor *r, struct reactor_op *op)
{
	struct pool *p = r->pool;
	if (op->code == IORING_OP_TIMEOUT) {
		uint64_t ns = op->addr * NSEC_PER_SEC + op->off;
		op->off = clock_ns() + ns; /* from here on: when */
	}
	if (op->state & OP_WAIT)
		return true; /* the list of waits is all there is to it */
	mutex_lock(&p->lock);
	list_push_back(&p->todo, &op->link);
	condvar_signal(&p->more);
	mutex_unlock(&p->lock);
	return true;
}

static short pool_events(const struct reactor_op *op)
{
	switch (op->code) {
	case IORING_OP_POLL_ADD:
		return (short)op->flags;
	case IORING_OP_WRITE:
	case IORING_OP_WRITEV:
		return POLLOUT;
	default:
		return POLLIN;
	}
}

/* Cancel requests first: here they cannot fail, and nobody else has the operation. */
static void pool_cancel(struct reactor *r)
{
	list_for_each_safe (l, &r->waits) {
		struct reactor_op *op = container_of(l, struct reactor_op, link);
		if (!(op->state & OP_CANCEL_WANTED))
			continue;
		op->state &= (uint8_t)~OP_CANCEL_WANTED;
		r->cancels_wanted--;
		list_remove(l);
		op_resolve(r, op, -ECANCELED);
	}
}

/* One pollfd for each wait but the timeouts (fd -1, which poll skips). Count, or -ENOMEM. */
static int pool_list_fds(struct reactor *r, uint64_t *deadline_ns)
{
	struct pool *p = r->pool;
	size_t nr = 1;
	list_for_each (l, &r->waits)
		nr++;
	if (nr > p->nr_fds_max) {
		struct pollfd *fds = realloc(p->fds, 2 * nr * sizeof(*fds));
		if (!fds)
			return -ENOMEM;
		p->fds = fds;
		p->nr_fds_max = 2 * nr;
	}
	p->fds[0] = (struct pollfd){ .fd = p->news_fd, .events = POLLIN };
	nr = 1;
	*deadline_ns = UINT64_MAX;
	list_for_each (l, &r->waits) {
		const struct reactor_op *op = container_of(l, struct reactor_op, link);
		p->fds[nr++] = (struct pollfd){ .fd = op->fd, .events = pool_events(op) };
		if (op->code == IORING_OP_TIMEOUT)
			*deadline_ns = min_u64(*deadline_ns, op->off);
	}
	return (int)nr;
}

/*
 * Ready a moment ago. Whoever shares an eventfd with us may have taken the count since, and made it
 * a blocking one: so say each time not to wait. Terminals do not know that, but are not shared so.
 */
static ssize_t pool_read(int fd, const struct iovec *iov, int nr)
{
	ssize_t res = preadv2(fd, iov, nr, -1, RWF_NOWAIT);
	return res < 0 && errno == EOPNOTSUPP ? readv(fd, iov, nr) : res;
}

/* A stream that is ready. A pipe takes PIPE_BUF bytes then without blocking; more might block. */
static int32_t pool_stream(const struct reactor_op *op)
{
	struct iovec one = { (void *)(uintptr_t)op->addr, op->len };
	const struct iovec *iov = &one;
	int nr = 1;
	if (op->code == IORING_OP_READV || op->code == IORING_OP_WRITEV) {
		iov = (const struct iovec *)(uintptr_t)op->addr;
		nr = (int)op->len;
	}
	ssize_t res;
	if (op->code == IORING_OP_READ || op->code == IORING_OP_READV) {
		res = pool_read(op->fd, iov, nr);
	} else {
		while (nr > 1 && !iov->iov_len)
			iov++, nr--;
		res = nr ? write(op->fd, iov->iov_base, min_size(iov->iov_len, PIPE_BUF)) : 0;
	}
	return res < 0 ? -errno : (int32_t)res;
}

/* The wait @op after a poll that said @revents: resolved, or still waiting. */
static void pool_look(struct reactor *r, struct reactor_op *op, short revents, uint64_t now_ns)
{
	int32_t res;
	if (op->code == IORING_OP_TIMEOUT) {
		if (op->off > now_ns)
			return;
		res = -ETIME;
	} else if (!revents) {
		return;
	} else if (revents & POLLNVAL) {
		res = -EBADF;
	} else if (op->code == IORING_OP_POLL_ADD) {
		res = revents;
	} else {
		res = pool_stream(op);
		if (res == -EAGAIN || res == -EINTR)
			return; /* somebody was faster, or later: the next poll tells */
	}
	list_remove(&op->link);
	op_resolve(r, op, res);
}

/* poll(2) counts in milliseconds: round up, or we would spin through the last one. */
static int pool_timeout_ms(const struct reactor *r, bool wait, uint64_t deadline_ns)
{
	if (!wait || !list_is_empty(&r->ready))
		return 0;
	if (deadline_ns == UINT64_MAX)
		return -1;
	uint64_t now_ns = clock_ns();
	if (deadline_ns <= now_ns)
		return 0;
	return (int)min_u64((deadline_ns - now_ns) / 1000000 + 1, INT_MAX);
}

void pool_enter(struct reactor *r, bool wait)
{
	struct pool *p = r->pool;
	uint64_t deadline_ns;
	op_start_backlog(r);
	pool_cancel(r);
	int nr = pool_list_fds(r, &deadline_ns);
	if (nr < 0)
		return; /* no memory to wait with: come again */
	reactor_count(&r->stats.enters);
	int ready = poll(p->fds, (nfds_t)nr, pool_timeout_ms(r, wait, deadline_ns));
	if (ready <= 0 && deadline_ns == UINT64_MAX)
		return;
	uint64_t now_ns = deadline_ns == UINT64_MAX ? 0 : clock_ns();
	size_t at = 1;
	list_for_each_safe (l, &r->waits) {
		short revents = ready > 0 ? p->fds[at].revents : 0;
		pool_look(r, container_of(l, struct reactor_op, link), revents, now_ns);
		at++;
	}
}

bool pool_reap(struct reactor *r)
{
	struct pool *p = r->pool;
	bool any = false;
	/* acquire: as in pool_has_news() */
	if (!atomic_load_explicit(&p->has_answers, memory_order_acquire))
		return false;
	mutex_lock(&p->lock);
	struct list got;
	list_init(&got);
	for (struct list *l; (l = list_pop_front(&p->answered));)
		list_push_back(&got, l);
	eventfd_t ignored;
	(void)eventfd_read(p->news_fd, &ignored); /* EAGAIN: nothing to take back */
	atomic_store_explicit(&p->has_answers, false, memory_order_relaxed);
	mutex_unlock(&p->lock);
	for (struct list *l; (l = list_pop_front(&got)); any = true) {
		struct reactor_op *op = container_of(l, struct reactor_op, link);
		op_done(r, op, (int32_t)op->len);
	}
	return any;
}

bool pool_has_news(struct reactor *r)
{
	/* acquire: pairs with the release in pool_answer() */
	return atomic_load_explicit(&r->pool->has_answers, memory_order_acquire);
}
