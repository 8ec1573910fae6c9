/*
 * reactor.h - one completion loop per I/O thread, over one io_uring of its own.
 *
 * Layer:   iouring
 * Threads: create and destroy from the creator; reactor_post, reactor_stop from any thread;
 *          everything else on the reactor's, which is the one that calls reactor_begin().
 * Errors:  negative errno. -ENOSYS, -EPERM: this host forbids io_uring; -ENOMEM: it has no memory
 *          for a ring. Operations report through their completion, always exactly once, never from
 *          inside the call that started them.
 * Spec:    io_uring(7); docs/io.md, "Worker loop".
 *
 * One pass: poll every source -> submit and reap with at most one system call -> flush every
 * source. With nothing to do: arm every source, look once more, sleep in the ring.
 */
#ifndef IOURING_REACTOR_H
#define IOURING_REACTOR_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>
#include "base/compiler.h"
#include "base/list.h"
#include "sync/mpsc.h"

struct reactor; /* from reactor_create() to reactor_destroy() */

/* Who performs the operations. */
enum reactor_engine {
	REACTOR_AUTO, /* io_uring, or the pool where that is missing, forbidden or gets no memory */
	REACTOR_URING, /* io_uring or fail */
	REACTOR_POOL,  /* threads that call pread and pwrite: slow, everywhere */
};

#define REACTOR_SPIN_ALWAYS UINT64_MAX
#define REACTOR_SPIN_AUTO   (UINT64_MAX - 1)

struct reactor_config {
	unsigned entries; /* submission queue entries, a power of two; completions get twice that */
	enum reactor_engine engine;
	/*
	 * A file most operations are on: the kernel keeps hold of it for the ring, which saves
	 * looking it up each time. Stays open until reactor_destroy().
	 */
	bool has_file;
	int file_fd;
	unsigned max_workers; /* threads (the kernel's, the pool's) that may block; 0: a default */
	/*
	 * Longest look-out for new work before it sleeps, when experience says that work comes
	 * sooner; 0: sleep at once, REACTOR_SPIN_ALWAYS: never sleep. REACTOR_SPIN_AUTO: as long
	 * as a sleep costs on this host; measured once in the life of the process, beside the
	 * work, when the first such reactor has slept a few times. So start-up is free of it.
	 */
	uint64_t spin_ns;
};

/*
 * All that a reactor ever asks of its ring: the operations it submits, and the calls of
 * io_uring_register(2) it makes on its own thread. Each ring is bound to them, for good, where the
 * kernel can do that to a ring that is made disabled (6.1): a filter of system calls does not see
 * what is submitted.
 */
struct reactor_restrict {
	const uint8_t *opcodes; /* IORING_OP_* */
	unsigned nr_opcodes;
	const uint8_t *registers; /* IORING_REGISTER_* */
	unsigned nr_registers;
};
extern const struct reactor_restrict reactor_restrict;

/* What to sleep costs on this host, in time: the wake-up of who sleeps and of who waits for it.
 * Measured: about a millisecond's work. */
uint64_t reactor_measure_sleep_ns(void);

/* One operation in flight; embedded in the caller's request, untouched until done. */
struct reactor_op {
	/* caller: result or negative errno. May start operations, this one too. */
	void (*done)(struct reactor_op *op, int32_t res);
	/* reactor */
	struct list link;
	uint8_t code, state;
	int32_t fd;
	uint32_t len, flags;
	uint64_t addr, off;
};

/* Work that is found by looking: a virtqueue in guest memory. Embedded in its owner. */
struct reactor_source {
	struct list link;
	/* Take up what is there, at most a budget. True: did something, or more is waiting. */
	bool (*poll)(struct reactor_source *s);
	/* After the completions of this pass: publish results, signal. May be NULL. */
	void (*flush)(struct reactor_source *s);
	/* About to sleep: ask for notifications. True: work came in meanwhile. May be NULL. */
	bool (*arm)(struct reactor_source *s);
	/* Awake again. May be NULL. */
	void (*disarm)(struct reactor_source *s);
	/*
	 * flush() may hold back what it has to tell, and say so here. When nothing new came for a
	 * few microseconds settle() tells it.
	 */
	bool is_holding;
	void (*settle)(struct reactor_source *s);
};

/* A function to run on the reactor's thread. The caller's memory, its own again when fn runs. */
struct reactor_msg {
	struct mpsc_node node;
	void (*fn)(struct reactor_msg *m);
};

MUST_CHECK int reactor_create(struct reactor **out, const struct reactor_config *cfg);
/* Nothing in flight, thread has left reactor_run(). NULL is fine. */
void reactor_destroy(struct reactor *r);

/*
 * Make the calling thread the reactor's: once, before anything else but posts. As reactor_create():
 * where io_uring is refused only now the pool may take its place. After an error there is only
 * reactor_destroy().
 */
MUST_CHECK int reactor_begin(struct reactor *r);
/*
 * Loop until reactor_stop(), then until all that is in flight is done: waits (streams, polls,
 * timeouts) are cancelled and new ones refused with -ECANCELED, file I/O is carried out. Sources
 * are no longer polled, but flushed. Messages posted before the stop are run. Once per reactor.
 */
void reactor_run(struct reactor *r);
void reactor_stop(struct reactor *r);
void reactor_post(struct reactor *r, struct reactor_msg *m);

void reactor_add_source(struct reactor *r, struct reactor_source *s);
void reactor_del_source(struct reactor *r, struct reactor_source *s);

/*
 * Operations. Buffers and iovecs stay valid until done(). @off -1: a stream (pipe, terminal,
 * eventfd), which waits until it is ready. -EINTR is retried, and so is -EAGAIN as far as that
 * makes sense; a short count is the caller's to deal with.
 */
void reactor_readv(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		   unsigned nr, int64_t off);
void reactor_writev(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		    unsigned nr, int64_t off, int rwf_flags);
/*
 * As reactor_writev() without flags, for a regular file that is not O_DIRECT. Where the kernel
 * would have another thread do such a write the reactor's own may do it instead, inside this call,
 * while experience says that it will not block. All such writes of a reactor go to one file.
 */
void reactor_writev_cached(struct reactor *r, struct reactor_op *op, int fd,
			   const struct iovec *iov, unsigned nr, int64_t off);
void reactor_fdatasync(struct reactor *r, struct reactor_op *op, int fd);
void reactor_fallocate(struct reactor *r, struct reactor_op *op, int fd, int mode, uint64_t off,
		       uint64_t len);
/* done(op, revents) once @fd is ready for @events (poll(2) bits). */
void reactor_poll_fd(struct reactor *r, struct reactor_op *op, int fd, uint32_t events);
/* done(op, -ETIME) after @ns nanoseconds, or -ECANCELED. */
void reactor_timeout(struct reactor *r, struct reactor_op *op, uint64_t ns);
/* Ask a wait to end early: -ECANCELED unless it was faster. File I/O is not interrupted. */
void reactor_cancel(struct reactor *r, struct reactor_op *op);

/* So far. Written by the reactor's thread only, readable from any. */
struct reactor_stats {
	_Atomic uint64_t passes, enters, completions, sleeps;
	_Atomic uint64_t spins, spin_hits; /* look-outs, and those that saw work */
};
const struct reactor_stats *reactor_stats_of(const struct reactor *r);
/*
 * Is its thread inside a write of reactor_writev_cached()? Then it answers no message before the
 * disk has room. Any thread.
 */
bool reactor_is_writing(const struct reactor *r);
/* For people: "io_uring", "pool", "pool (out of memory)", ... At most 23 bytes. */
const char *reactor_engine_name(const struct reactor *r);

#endif
