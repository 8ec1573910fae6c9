/* notifier.c - see sync/notifier.h. */
#include "sync/notifier.h"
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>
#include "base/err.h"
#include "sync/thread.h"

int notifier_init(struct notifier *n)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	n->fd = fd;
	n->owns_fd = true;
	n->ctx = NULL;
	atomic_init(&n->fn, NULL);
	atomic_init(&n->has_roads, false);
	return 0;
}

void notifier_init_fn(struct notifier *n, void (*fn)(void *), void *ctx)
{
	n->fd = -1;
	n->owns_fd = false;
	n->ctx = ctx;
	atomic_init(&n->fn, fn);
	atomic_init(&n->has_roads, false);
}

void notifier_fini(struct notifier *n)
{
	if (!n)
		return;
	if (n->owns_fd)
		fd_close(n->fd);
	n->fd = -1;
	n->owns_fd = false;
}

void notifier_set_fn(struct notifier *n, void (*fn)(void *), void *ctx)
{
	if (fn) {
		BUG_ON(n->ctx && n->ctx != ctx);
		if (!n->ctx)
			n->ctx = ctx;
	}
	/* relaxed: no signal is under way at the first call */
	atomic_store_explicit(&n->has_roads, true, memory_order_relaxed);
	/* release: pairs with the acquire in notifier_send(), which then sees ctx */
	atomic_store_explicit(&n->fn, fn, memory_order_release);
	/* pairs with that in notifier_send(): it sees fn, or we now see its signal */
	atomic_thread_fence(memory_order_seq_cst);
}

bool notifier_has_fn(const struct notifier *n)
{
	/* acquire: pairs with the release in notifier_set_fn() */
	return atomic_load_explicit(&n->fn, memory_order_acquire);
}

static void notifier_go(struct notifier *n, void (*fn)(void *), void (*put)(int fd))
{
	if (fn)
		fn(n->ctx);
	else
		put(n->fd);
}

/* Twice is enough: whoever changes the road again finds the signal on one that is taken already. */
static void notifier_send(struct notifier *n, void (*put)(int fd))
{
	/* acquire: pairs with the release in notifier_set_fn() */
	void (*fn)(void *) = atomic_load_explicit(&n->fn, memory_order_acquire);
	bool has_roads = atomic_load_explicit(&n->has_roads, memory_order_relaxed);
	notifier_go(n, fn, put);
	if (!has_roads)
		return;                            /* it may be gone */
	atomic_thread_fence(memory_order_seq_cst); /* pairs with that in notifier_set_fn() */
	void (*now)(void *) = atomic_load_explicit(&n->fn, memory_order_acquire);
	if (now != fn)
		notifier_go(n, now, put);
}

static void notifier_put(int fd)
{
	uint64_t one = 1;
	ssize_t put;
	do {
		put = write(fd, &one, sizeof(one));
	} while (put < 0 && errno == EINTR);
	/* EAGAIN: the counter is full, hence pending, which is all that was asked */
}

void notifier_signal(struct notifier *n)
{
	notifier_send(n, notifier_put);
}

void notifier_signal_fd(int fd)
{
	struct thread_hurry h;
	uint64_t one = 1;
	thread_hurry_begin(&h);
	/* EINTR is as good as EAGAIN: a write that need not wait does not look for signals */
	ignore(write(fd, &one, sizeof(one)) < 0);
	thread_hurry_end(&h);
}

void notifier_signal_shared(struct notifier *n)
{
	notifier_send(n, notifier_signal_fd);
}

/* Another process that shares the eventfd can make it a blocking one: so say each time. */
uint64_t notifier_consume(struct notifier *n)
{
	uint64_t count;
	struct iovec iov = { &count, sizeof(count) };
	ssize_t got;
#ifdef COMPILER_TSAN
	/* it sees what follows from a read(), not from the call below */
	if (!notifier_is_pending(n))
		return 0;
	return read(n->fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
#endif
	do {
		got = preadv2(n->fd, &iov, 1, -1, RWF_NOWAIT);
	} while (got < 0 && errno == EINTR);
	return got == sizeof(count) ? count : 0;
}

bool notifier_is_pending(const struct notifier *n)
{
	struct pollfd p = { .fd = n->fd, .events = POLLIN };
	int ready;
	do {
		ready = poll(&p, 1, 0);
	} while (ready < 0 && errno == EINTR);
	return ready > 0 && (p.revents & POLLIN);
}
