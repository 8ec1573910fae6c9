/* ring.c - see ring_priv.h. */
#include "ring_priv.h"
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include "base/err.h"
#include "iouring/reactor.h"

/* Not in the headers of every liburing we build with. */
#ifndef IORING_ENTER_REGISTERED_RING
#define IORING_ENTER_REGISTERED_RING (1u << 4)
#endif

static int uring_sys_setup(unsigned entries, struct io_uring *io, struct io_uring_params *p)
{
	return io_uring_queue_init_params(entries, io, p);
}

static int uring_sys_enter(unsigned fd, unsigned submit, unsigned wait_for, unsigned flags)
{
	return io_uring_enter(fd, submit, wait_for, flags, NULL);
}

static int uring_sys_register(unsigned fd, unsigned op, void *arg, unsigned nr)
{
	return io_uring_register(fd, op, arg, nr);
}

const struct uring_sys uring_sys_real = {
	.setup = uring_sys_setup,
	.enter = uring_sys_enter,
	.reg = uring_sys_register,
	.writev = pwritev2,
};

#define URING_SIZES (IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP)
static const unsigned uring_rung_flags[URING_NR_RUNGS] = {
	/* disabled: the ring belongs to the thread that enables it, not to the one that made it */
	[URING_DEFER] = URING_SIZES | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_SINGLE_ISSUER |
			IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
			IORING_SETUP_R_DISABLED,
	[URING_COOP] = URING_SIZES | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_COOP_TASKRUN |
		       IORING_SETUP_TASKRUN_FLAG,
	[URING_PLAIN] = URING_SIZES,
};

/* All the reactor uses; the youngest is 5.6's READ. */
static const uint8_t uring_opcodes[] = {
	IORING_OP_READ,     IORING_OP_WRITE,   IORING_OP_READV,
	IORING_OP_WRITEV,   IORING_OP_FSYNC,   IORING_OP_FALLOCATE,
	IORING_OP_POLL_ADD, IORING_OP_TIMEOUT, IORING_OP_ASYNC_CANCEL,
};

/* What uring_enable() and uring_disable() call. */
static const uint8_t uring_registers[] = {
	IORING_REGISTER_IOWQ_MAX_WORKERS, IORING_REGISTER_IOWQ_AFF, IORING_REGISTER_RING_FDS,
	IORING_UNREGISTER_RING_FDS,       IORING_UNREGISTER_FILES,
};

const struct reactor_restrict reactor_restrict = {
	.opcodes = uring_opcodes,
	.nr_opcodes = ARRAY_SIZE(uring_opcodes),
	.registers = uring_registers,
	.nr_registers = ARRAY_SIZE(uring_registers),
};

static int uring_check_opcodes(struct uring *u)
{
	enum { NR = 64 };
	CLEANUP(free_cleanup)
	struct io_uring_probe *p = calloc(1, sizeof(*p) + NR * sizeof(p->ops[0]));
	if (!p)
		return -ENOMEM;
	int err = u->sys->reg((unsigned)u->io.ring_fd, IORING_REGISTER_PROBE, p, NR);
	if (err < 0)
		return err == -EINVAL ? -ENOSYS : err; /* before 5.6 */
	for (size_t i = 0; i < ARRAY_SIZE(uring_opcodes); i++)
		if (!io_uring_opcode_supported(p, uring_opcodes[i]))
			return -ENOSYS;
	/* without it completions beyond the ring's size would be lost (before 5.5) */
	return u->io.features & IORING_FEAT_NODROP ? 0 : -ENOSYS;
}

/*
 * Holds from the moment the ring is enabled. A ring that is made enabled, on the lower rungs,
 * cannot be restricted any more.
 */
static int uring_restrict(struct uring *u)
{
	struct io_uring_restriction r[ARRAY_SIZE(uring_opcodes) + ARRAY_SIZE(uring_registers) + 1];
	unsigned nr = 0;
	memset(r, 0, sizeof(r));
	for (size_t i = 0; i < ARRAY_SIZE(uring_opcodes); i++, nr++) {
		r[nr].opcode = IORING_RESTRICTION_SQE_OP;
		r[nr].sqe_op = uring_opcodes[i];
	}
	for (size_t i = 0; i < ARRAY_SIZE(uring_registers); i++, nr++) {
		r[nr].opcode = IORING_RESTRICTION_REGISTER_OP;
		r[nr].register_op = uring_registers[i];
	}
	r[nr].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	r[nr++].sqe_flags = IOSQE_ASYNC | IOSQE_FIXED_FILE;
	int err = u->sys->reg((unsigned)u->io.ring_fd, IORING_REGISTER_RESTRICTIONS, r, nr);
	u->is_restricted = err >= 0;
	return err < 0 && err != -EINVAL ? err : 0; /* a kernel that does not know them */
}

static int uring_setup(struct uring *u, unsigned entries)
{
	int err = -ENOSYS;
	for (unsigned rung = 0; rung < URING_NR_RUNGS; rung++) {
		struct io_uring_params p = {
			.flags = uring_rung_flags[rung],
			.cq_entries = 2 * entries,
		};
		u->rung = (enum uring_rung)rung;
		err = u->sys->setup(entries, &u->io, &p);
		if (err != -EINVAL)
			break;
	}
	return err;
}

int uring_init(struct uring *u, unsigned entries, const struct uring_sys *sys)
{
	*u = (struct uring){ .sys = sys };
	int err = uring_setup(u, entries);
	if (err < 0)
		return err;
	u->is_open = true;
	u->enter_fd = (unsigned)u->io.ring_fd;
	err = uring_check_opcodes(u);
	if (!err && u->rung == URING_DEFER)
		err = uring_restrict(u);
	if (err)
		uring_fini(u);
	return err;
}

bool uring_keep_file(struct uring *u, int fd)
{
	u->has_file = u->sys->reg((unsigned)u->io.ring_fd, IORING_REGISTER_FILES, &fd, 1) >= 0;
	return u->has_file;
}

/*
 * A ring goes some time after its descriptor is closed, and the file with it. Nobody shall find an
 * image locked by a device that is gone.
 */
static void uring_let_go_of_file(struct uring *u)
{
	if (u->has_file)
		(void)u->sys->reg((unsigned)u->io.ring_fd, IORING_UNREGISTER_FILES, NULL, 0);
	u->has_file = false;
}

void uring_fini(struct uring *u)
{
	if (u->is_open)
		uring_let_go_of_file(u);
	if (u->is_open)
		io_uring_queue_exit(&u->io);
	u->is_open = false;
}

/* All of these only make it faster or tidier: a kernel without them serves as well. */
static void uring_tune(struct uring *u, unsigned max_workers)
{
	cpu_set_t cpus;
	unsigned workers[2] = { max_workers, max_workers }; /* bounded, unbounded */
	if (max_workers)
		(void)u->sys->reg(u->enter_fd, IORING_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
	if (!sched_getaffinity(0, sizeof(cpus), &cpus))
		(void)u->sys->reg(u->enter_fd, IORING_REGISTER_IOWQ_AFF, &cpus, sizeof(cpus));
	struct io_uring_rsrc_update up = { .offset = -1u, .data = (unsigned)u->io.ring_fd };
	if (u->sys->reg(u->enter_fd, IORING_REGISTER_RING_FDS, &up, 1) != 1)
		return;
	u->is_fd_registered = true;
	u->enter_fd = up.offset;
	u->enter_flags = IORING_ENTER_REGISTERED_RING;
}

int uring_enable(struct uring *u, unsigned max_workers)
{
	if (u->rung == URING_DEFER) {
		int err = u->sys->reg(u->enter_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
		BUG_ON(err == -EBADFD); /* enabled twice */
		if (err < 0)
			return err;
	}
	uring_tune(u, max_workers);
	return 0;
}

void uring_disable(struct uring *u)
{
	uring_let_go_of_file(u);
	if (!u->is_fd_registered)
		return;
	struct io_uring_rsrc_update up = { .offset = u->enter_fd };
	(void)u->sys->reg((unsigned)u->io.ring_fd, IORING_UNREGISTER_RING_FDS, &up, 1);
	u->is_fd_registered = false;
	u->enter_fd = (unsigned)u->io.ring_fd;
	u->enter_flags = 0;
}

/* Show the kernel what was queued; how many entries that leaves for it to take. */
static unsigned uring_publish(struct uring *u)
{
	struct io_uring_sq *sq = &u->io.sq;
	/* release: the entries are written before the kernel sees the tail */
	__atomic_store_n(sq->ktail, sq->sqe_tail, __ATOMIC_RELEASE);
	sq->sqe_head = sq->sqe_tail; /* liburing's idea of the same */
	return sq->sqe_tail - *sq->khead;
}

/*
 * Whoever completes something for us queues the work first and raises the flag then. If we enter in
 * between, the work is done and the flag comes up afterwards, with nothing left that would take it
 * down again: each look would find "work" and each enter nothing. What is queued when we enter is
 * done whether the flag is up or not, so take it down before.
 */
static void uring_lower_taskrun(struct uring *u)
{
	unsigned *flags = u->io.sq.kflags;
	if (__atomic_load_n(flags, __ATOMIC_RELAXED) & IORING_SQ_TASKRUN)
		(void)__atomic_fetch_and(flags, ~IORING_SQ_TASKRUN, __ATOMIC_SEQ_CST);
}

int uring_enter(struct uring *u, bool wait)
{
	uring_lower_taskrun(u);
	for (;;) {
		unsigned queued = uring_publish(u);
		int got = u->sys->enter(u->enter_fd, queued, wait ? 1 : 0,
					IORING_ENTER_GETEVENTS | u->enter_flags);
		if (got == -EINTR && !wait)
			continue;
		if (got < 0) {
			/* anything else is a wrong call; -EBADR: the kernel lost completions */
			BUG_ON(got != -EINTR && got != -EAGAIN && got != -ENOMEM && got != -EBUSY);
			return got == -ENOMEM ? -EAGAIN : got;
		}
		if ((unsigned)got >= queued)
			return 0;
		if (!got)
			return -EAGAIN;
		/* it stopped behind an entry it refused: that one's completion tells, go on */
	}
}
