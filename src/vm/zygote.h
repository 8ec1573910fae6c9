/*
 * zygote.h - a small process that makes the device processes, and makes them again when they die.
 *
 * Layer:   vm
 * Threads: create and destroy on the control thread; for each device one thread at a time may ask.
 * Errors:  negative errno. -EPIPE: the zygote is gone, no device can be made any more.
 * Spec:    docs/isolation.md, "Processes" and "Death of a device".
 *
 *     main                              zygote                              device process
 *       zygote_start(dev)  ── SPAWN ──►  ops->open() until it may (a lock)
 *                                        clone ──────────────────────────►  ops->serve()
 *                                        ◄────────── "ready" (a pipe) ────    says zygote_ready()
 *       zygote_connect()  ◄── socket ──
 *       zygote_kill(dev)   ── KILL ───►  SIGKILL
 *                         ◄── ENDED ───  reaped
 *       zygote_try(dev) ─ file ───────►  clone ──── trial ──────────────►  ops->serve()
 *       zygote_verdict()  ◄── verdict ─  "ready" or its end               exec, say so, end
 *
 * Each device has a socket pair of its own for this, so frontends on threads of their own need no
 * lock. The zygote ends when main does, however main ends, and all devices end with it.
 *
 * A device may run another program than ours. One that ends before it is ready gives way to the one
 * before it, without a word to main but a message to people.
 */
#ifndef VM_ZYGOTE_H
#define VM_ZYGOTE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include "base/compiler.h"

#define ZYGOTE_MAX_DEVICES   64
#define ZYGOTE_MAX_FDS       17 /* handed over by main with each spawn */
#define ZYGOTE_ABOUT_BYTES   192
#define ZYGOTE_ORDER_BYTES   512
#define ZYGOTE_VERSION_BYTES 24
#define ZYGOTE_PATH_BYTES    256 /* of a program, for people; longer ones lose their beginning */

/*
 * What a process is told, what it says when it is ready and the system calls it may need of those
 * that the zygote's list lets pass have this version; other programs know the one that they were
 * built with. Counts up with every change of these.
 */
#define ZYGOTE_HANDOVER 4

struct zygote; /* from zygote_create() to zygote_destroy() */

/* What main gives to a device each time it is made. */
struct zygote_gift {
	int fds[ZYGOTE_MAX_FDS]; /* main's; the device has duplicates in the same places; -1: none
				  */
	unsigned nr_fds;
	uint16_t cols, rows; /* of the terminal; 0: unknown */
	int counters;        /* memory that it counts in (struct vq_counters); -1: none */
};

/* What a device process starts with. */
struct zygote_child {
	unsigned dev;
	int sock;      /* connected to the frontend; -1: this is a trial */
	int file;      /* from ops->open; -1: none */
	int ready;     /* zygote_ready() writes here, then zygote_next_order() reads */
	unsigned ns;   /* enum zygote_ns it was made with */
	int binary;    /* exec() this file, which does the rest; -1: go on as you are */
	bool is_trial; /* say that you are ready as soon as you can tell, and end */
	struct zygote_gift gift;
};

/* The kinds of namespaces a device process is in; a host may refuse some. */
enum zygote_ns {
	ZYGOTE_NS_USER = 1 << 0,
	ZYGOTE_NS_OTHERS = 1 << 1, /* pid, mount, ipc, uts, cgroup */
	ZYGOTE_NS_NET = 1 << 2,    /* an empty network, one for all devices */
	ZYGOTE_NS_ROOT = 1 << 3,   /* an empty root, one for all devices: nothing left to make */
};

struct zygote_ops {
	/* Zygote: before the first device; may confine the zygote itself. NULL: nothing. */
	void (*begin)(void *ctx);
	/*
	 * Zygote: open the file of @dev for a new process, or -1 in *fd. -EAGAIN: the last one
	 * still holds it; asked again for two seconds.
	 */
	int (*open)(void *ctx, unsigned dev, int *fd);
	/* The new process: serve, or become c->binary; return the exit status. */
	int (*serve)(void *ctx, const struct zygote_child *c);
	/* Zygote: carry out what main ordered by zygote_order(): 0 or negative errno. NULL: none.
	 */
	int (*order)(void *ctx, unsigned dev, unsigned what, const void *arg, size_t len);
	/* Zygote: put main's descriptors that open() needs into @fds, at most @max. NULL: none. */
	unsigned (*keep)(void *ctx, int *fds, unsigned max);
};

struct zygote_config {
	const struct zygote_ops *ops;
	void *ctx;
	unsigned nr_devices;
	const char *const *names; /* of the devices, for messages */
	bool is_jailed;           /* namespaces wanted */
};

/* Fork it. The caller has no other thread, and nothing that a device must not see. */
MUST_CHECK int zygote_create(struct zygote **out, const struct zygote_config *cfg);
/* Close, and wait until the zygote and all devices are gone. NULL is fine. */
void zygote_destroy(struct zygote *z);

/* What a frontend is handed as its context. */
struct zygote_device;
struct zygote_device *zygote_device(struct zygote *z, unsigned dev);

/* What goes to the device with each spawn from now on; the descriptors stay the caller's. */
void zygote_set_gift(struct zygote_device *d, const struct zygote_gift *g);
/* Ask for a new process, without waiting; the present one is killed. */
void zygote_start(struct zygote_device *d);
/*
 * A socket connected to a new process, which has said that it is ready; asks for one unless
 * zygote_start() has. -ECANCELED: it ended before (zygote_status()); else the errno of open().
 */
MUST_CHECK int zygote_connect(struct zygote_device *d);
/* End the present process. */
void zygote_kill(struct zygote_device *d);
/* Exit status of the last process that ended before it was ready; a signal: 128 + number. */
int zygote_status(const struct zygote_device *d);
/* What the present process said that it lacks (zygote_ready()). */
uint32_t zygote_lacks(const struct zygote_device *d);
/* What it told of itself, zeroes beyond that. Any thread. */
void zygote_about(struct zygote_device *d, void *about, size_t len);
/* The program it runs: its version, and the path given to zygote_try() (empty: ours). Any
 * thread. */
void zygote_program(struct zygote_device *d, char version[ZYGOTE_VERSION_BYTES],
		    char path[ZYGOTE_PATH_BYTES]);
/* Its program, which has served, is no good: the next process runs the one before it. The thread
 * that asks. */
void zygote_distrust(struct zygote_device *d);
/* Of the present process, for people. 0: none. */
pid_t zygote_pid(const struct zygote_device *d);

/*
 * Have ops->order() run in the zygote, for processes that are made from now on; and tell the
 * present one, which has two seconds: *is_done says if it has carried it out. Control thread. The
 * result of ops->order(); -EMSGSIZE: @len is beyond ZYGOTE_ORDER_BYTES.
 */
MUST_CHECK int zygote_order(struct zygote *z, unsigned dev, unsigned what, const void *arg,
			    size_t len, bool *is_done);

/* Why a program was not taken. */
struct zygote_verdict {
	int status;        /* -ECANCELED: as zygote_status() */
	unsigned handover; /* -EPROTONOSUPPORT: the version it knows */
	uint32_t lacks;    /* -EPERM: what its jail lacks, and that of the present process has */
	char version[ZYGOTE_VERSION_BYTES];
};

/*
 * Try the program @fd (may be O_PATH) for @dev; @path is its name for people. Control thread; does
 * not wait for the trial: *trial, the caller's, is readable when zygote_verdict() can tell, after
 * ten seconds at most. -EISDIR, -EACCES: no file that may be executed, or an image. -EBUSY: another
 * one is being tried for @dev.
 */
MUST_CHECK int zygote_try(struct zygote *z, unsigned dev, int fd, const char *path, int *trial);

/*
 * 0: the processes of the device run it from the next one on. -EAGAIN: the trial is not over.
 * Otherwise it is not taken, and neither when *trial is closed early. -ENOEXEC, -ENOENT: no program
 * of this machine, or a script. -ECANCELED: it ended before it was ready. -EPROTONOSUPPORT: another
 * ZYGOTE_HANDOVER. -EPROTO: it is none of ours. -EPERM: it would have less of a jail. -ETIMEDOUT.
 */
MUST_CHECK int zygote_verdict(int trial, struct zygote_verdict *why);

/*
 * Device process: ready to serve; @lacks: what its jail had to do without. @about, at most
 * ZYGOTE_ABOUT_BYTES: whatever main may want to know.
 */
void zygote_ready(const struct zygote_child *c, uint32_t lacks, const void *about, size_t len);
/* Device process, when c->ready is readable: what main orders. -EAGAIN: nothing, -EPIPE: no more.
 */
struct zygote_order {
	uint32_t seq, what, len;
	uint8_t arg[ZYGOTE_ORDER_BYTES];
};
MUST_CHECK int zygote_next_order(const struct zygote_child *c, struct zygote_order *o);
/* What became of it: 0, or negative errno. */
void zygote_order_done(const struct zygote_child *c, const struct zygote_order *o, int err);
/* Device process: it cannot become c->binary; @err: negative errno. */
void zygote_unfit(const struct zygote_child *c, int err);

#endif
