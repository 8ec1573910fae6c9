/*
 * bench_reactor.c - what the reactor costs for an operation, a wake-up, a message.
 *
 * The reactor has a thread of its own, as in the product; times are those of the clock and of all
 * threads of the process. "nothing" is a read of /dev/null: all that remains is the way into the
 * kernel and back, and the reactor; "file" reads 4 KiB from the page cache; both keep so many
 * operations in flight as the number says, and "pread" does the same with one thread and no
 * reactor. They would disprove that batches make an operation cheaper than a system call of its
 * own. "wake" and "post" measure one at a time, there and back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "bench/cases.h"
#include "iouring/reactor.h"
#include "sync/eventcount.h"
#include "sync/thread.h"

#define MAX_DEPTH  32u
#define FILE_BYTES (64 * MIB)
#define IO_BYTES   4096u

struct bench_reactor;

struct bench_op {
	struct reactor_op op;
	struct bench_reactor *b;
	struct iovec iov;
	char buf[IO_BYTES] __attribute__((aligned(4096)));
};

struct bench_reactor {
	struct reactor *reactor;
	struct thread *thread;
	unsigned depth;
	int fd, event_fd; /* what is read; what the reactor waits for */
	uint64_t seed;
	/* a run: the reactor's thread, begun by a message */
	uint64_t left, in_flight;
	struct bench_op ops[MAX_DEPTH];
	uint64_t event_value;
	/* its end, and single answers */
	struct reactor_msg msg CACHE_ALIGNED;
	struct eventcount ended;
	_Atomic uint64_t answers;
};

/* --- answers --- */

static void answer(struct bench_reactor *b)
{
	/* release: pairs with the acquire in wait_for_answer() */
	atomic_fetch_add_explicit(&b->answers, 1, memory_order_release);
	eventcount_notify(&b->ended);
}

static void wait_for_answer(struct bench_reactor *b, uint64_t nr)
{
	for (;;) {
		uint32_t key = eventcount_prepare(&b->ended);
		if (atomic_load_explicit(&b->answers, memory_order_acquire) >= nr) {
			eventcount_cancel(&b->ended);
			return;
		}
		eventcount_wait(&b->ended, key);
	}
}

/* --- operations --- */

static void op_start(struct bench_op *o);

static void op_done(struct reactor_op *op, int32_t res)
{
	struct bench_op *o = container_of(op, struct bench_op, op);
	BUG_ON(res < 0);
	o->b->in_flight--;
	if (o->b->left)
		op_start(o);
	else if (!o->b->in_flight)
		answer(o->b);
}

static void op_start(struct bench_op *o)
{
	struct bench_reactor *b = o->b;
	b->seed = b->seed * 6364136223846793005ull + 1;
	uint64_t block = (b->seed >> 33) % (FILE_BYTES / IO_BYTES);
	b->left--;
	b->in_flight++;
	reactor_readv(b->reactor, &o->op, b->fd, &o->iov, 1, (int64_t)(block * IO_BYTES));
}

static void begin(struct reactor_msg *m)
{
	struct bench_reactor *b = container_of(m, struct bench_reactor, msg);
	for (unsigned i = 0; i < b->depth && b->left; i++)
		op_start(&b->ops[i]);
}

static void run(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_reactor *b = ctx;
	(void)thread;
	uint64_t nr = atomic_load_explicit(&b->answers, memory_order_relaxed) + 1;
	b->left = n;
	b->msg.fn = begin;
	reactor_post(b->reactor, &b->msg);
	wait_for_answer(b, nr);
}

static void run_pread(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_reactor *b = ctx;
	(void)thread;
	for (uint64_t i = 0; i < n; i++) {
		b->seed = b->seed * 6364136223846793005ull + 1;
		uint64_t block = (b->seed >> 33) % (FILE_BYTES / IO_BYTES);
		BUG_ON(pread(b->fd, b->ops[0].buf, IO_BYTES, (off_t)(block * IO_BYTES)) < 0);
	}
}

/* --- wake-ups and messages --- */

static void woken(struct reactor_op *op, int32_t res)
{
	struct bench_op *o = container_of(op, struct bench_op, op);
	if (res < 0)
		return; /* the end */
	reactor_readv(o->b->reactor, &o->op, o->b->event_fd, &o->iov, 1, -1);
	answer(o->b);
}

static void listen_for_event(struct reactor_msg *m)
{
	struct bench_reactor *b = container_of(m, struct bench_reactor, msg);
	struct bench_op *o = &b->ops[0];
	o->op.done = woken;
	o->iov = (struct iovec){ &b->event_value, sizeof(b->event_value) };
	reactor_readv(b->reactor, &o->op, b->event_fd, &o->iov, 1, -1);
	answer(b);
}

static void run_wake(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_reactor *b = ctx;
	(void)thread;
	uint64_t nr = atomic_load_explicit(&b->answers, memory_order_relaxed);
	for (uint64_t i = 0; i < n; i++) {
		BUG_ON(eventfd_write(b->event_fd, 1));
		wait_for_answer(b, ++nr);
	}
}

static void answer_message(struct reactor_msg *m)
{
	answer(container_of(m, struct bench_reactor, msg));
}

static void run_post(void *ctx, unsigned thread, uint64_t n)
{
	struct bench_reactor *b = ctx;
	(void)thread;
	uint64_t nr = atomic_load_explicit(&b->answers, memory_order_relaxed);
	b->msg.fn = answer_message;
	for (uint64_t i = 0; i < n; i++) {
		reactor_post(b->reactor, &b->msg);
		wait_for_answer(b, ++nr);
	}
}

/* --- setting up --- */

static int take_over(void *ctx)
{
	return reactor_begin(((struct bench_reactor *)ctx)->reactor);
}

static void loop(void *ctx)
{
	reactor_run(((struct bench_reactor *)ctx)->reactor);
}

static int start(struct bench_reactor *b, uint64_t spin_ns)
{
	struct reactor_config cfg = { .entries = 64, .spin_ns = spin_ns };
	eventcount_init(&b->ended);
	for (unsigned i = 0; i < MAX_DEPTH; i++) {
		b->ops[i].b = b;
		b->ops[i].op.done = op_done;
		b->ops[i].iov = (struct iovec){ b->ops[i].buf, IO_BYTES };
	}
	int err = reactor_create(&b->reactor, &cfg);
	if (err)
		return err;
	struct thread_attr attr = { .name = "reactor", .begin = take_over };
	return thread_create(&b->thread, &attr, loop, b);
}

static int make(void **out, int64_t depth)
{
	struct bench_reactor *b = aligned_alloc(4096, align_up(sizeof(*b), 4096));
	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	b->depth = (unsigned)depth;
	b->fd = b->event_fd = -1;
	*out = b;
	return 0;
}

static void teardown(void *ctx)
{
	struct bench_reactor *b = ctx;
	if (b->thread)
		reactor_stop(b->reactor);
	thread_join(b->thread);
	reactor_destroy(b->reactor);
	fd_close(b->fd);
	fd_close(b->event_fd);
	free(b);
}

/* A file without a name in the working folder, in the page cache. */
static int make_file(void)
{
	static char block[MIB];
	int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	memset(block, 0x5a, sizeof(block));
	for (uint64_t at = 0; fd >= 0 && at < FILE_BYTES; at += sizeof(block)) {
		if (pwrite(fd, block, sizeof(block), (off_t)at) == (ssize_t)sizeof(block))
			continue;
		fd_close(fd);
		return -ENOSPC;
	}
	return fd < 0 ? -errno : fd;
}

/* Ends what @err says failed. */
static int made(struct bench_reactor *b, int err)
{
	if (err)
		teardown(b);
	return err;
}

static int setup_nothing(void **out, int64_t depth)
{
	int err = make(out, depth);
	if (err)
		return err;
	struct bench_reactor *b = *out;
	b->fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	return made(b, b->fd < 0 ? -errno : start(b, 0));
}

static int setup_file(void **out, int64_t depth)
{
	int err = make(out, depth);
	if (err)
		return err;
	struct bench_reactor *b = *out;
	b->fd = make_file();
	return made(b, b->fd < 0 ? b->fd : start(b, 0));
}

static int setup_spin(void **out, uint64_t spin_ns)
{
	int err = make(out, 1);
	if (err)
		return err;
	struct bench_reactor *b = *out;
	b->event_fd = eventfd(0, EFD_CLOEXEC);
	err = b->event_fd < 0 ? -errno : start(b, spin_ns);
	if (err)
		return made(b, err);
	b->msg.fn = listen_for_event;
	reactor_post(b->reactor, &b->msg);
	wait_for_answer(b, 1);
	return 0;
}

static int setup_asleep(void **out, int64_t arg)
{
	(void)arg;
	return setup_spin(out, 0);
}

static int setup_awake(void **out, int64_t arg)
{
	(void)arg;
	return setup_spin(out, REACTOR_SPIN_ALWAYS);
}

#define CASE(ident, title, make_it, run_it, ...)                                                   \
	const struct bench_case bench_reactor_##ident = {                                          \
		.name = "iouring/reactor: " title,                                                 \
		.setup = make_it,                                                                  \
		.run = run_it,                                                                     \
		.teardown = teardown,                                                              \
		.args = { __VA_ARGS__ },                                                           \
		.is_elsewhere = true,                                                              \
	}

CASE(nothing, "nothing, in flight", setup_nothing, run, 1, 8, 32);
CASE(file, "file 4 KiB, in flight", setup_file, run, 1, 8, 32);
CASE(pread, "file 4 KiB, pread", setup_file, run_pread, 0);
CASE(wake, "eventfd to a sleeper and back", setup_asleep, run_wake, 0);
CASE(post_asleep, "post to a sleeper and back", setup_asleep, run_post, 0);
CASE(post_awake, "post to one awake and back", setup_awake, run_post, 0);
