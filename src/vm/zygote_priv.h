/*
 * zygote_priv.h - the messages between main and the zygote, shared by their two sides.
 *
 * Layer:   vm
 * Threads: see zygote.h.
 * Errors:  negative errno.
 * Spec:    zygote.h.
 */
#ifndef VM_ZYGOTE_PRIV_H
#define VM_ZYGOTE_PRIV_H
#include "zygote.h"

enum zygote_op { ZYGOTE_SPAWN = 1, ZYGOTE_KILL };

/* Main to zygote. The descriptors are those of the gift that are there. */
struct zygote_request {
	uint32_t op;
	uint32_t fd_map; /* bit n: fds[n] is there; bit ZYGOTE_MAX_FDS: counters are, the last */
	uint16_t cols, rows;
	uint32_t nr_fds;
	uint32_t is_distrusted; /* SPAWN: not the program that ran last, but the one before it */
};

enum zygote_news { ZYGOTE_SPAWNED = 1, ZYGOTE_FAILED, ZYGOTE_ENDED };

/* Zygote to main: SPAWNED comes with the socket. */
struct zygote_reply {
	uint32_t news;
	int32_t err;    /* FAILED: negative errno */
	int32_t status; /* FAILED with -ECANCELED, ENDED: as zygote_status() */
	int32_t pid;
	uint32_t lacks;
	char version[ZYGOTE_VERSION_BYTES];
	char path[ZYGOTE_PATH_BYTES]; /* of its program; empty: ours */
	uint8_t about[ZYGOTE_ABOUT_BYTES];
};

#define ZYGOTE_MAGIC 0x766d0000u /* above the version: this is a program of ours */

/* Zygote to a process that serves, and its answer. */
struct zygote_done {
	uint32_t seq;
	int32_t err;
};

/* What a process says when it is ready. The first member is the first in every version. */
struct zygote_word {
	uint32_t handover; /* ZYGOTE_MAGIC | ZYGOTE_HANDOVER of the program */
	int32_t err;       /* zygote_unfit() */
	uint32_t lacks;
	char version[ZYGOTE_VERSION_BYTES];
	uint8_t about[ZYGOTE_ABOUT_BYTES];
};

/* Main to zygote on the socket that tells of main's life: an order, or, with a file, an upgrade. */
struct zygote_errand {
	uint32_t dev, what, len;
	uint8_t arg[ZYGOTE_ORDER_BYTES]; /* upgrade: the path */
};

/* The answer, and, on a socket that comes with the answer to an upgrade, the verdict. */
struct zygote_answer {
	int32_t err;
	uint32_t is_done; /* an order: the present process has carried it out */
	int32_t status;
	uint32_t handover, lacks;
	char version[ZYGOTE_VERSION_BYTES];
};

/* A program that a device's processes run. */
struct zygote_program {
	int fd; /* -1: ours */
	char path[ZYGOTE_PATH_BYTES];
	bool has_served; /* a process of it was ready */
	unsigned kills;  /* of its processes from outside, before one was */
};

/* A program is tried out for a device. */
struct zygote_trial {
	pid_t pid;   /* 0: none is */
	int verdict; /* to main */
	int ready;
	uint64_t end_ns; /* it is ended then */
	bool is_told;    /* the answer is there */
	struct zygote_program program;
	struct zygote_answer answer;
};

#define ZYGOTE_REQUEST_FDS (ZYGOTE_MAX_FDS + 1)

/* One message with at most ZYGOTE_REQUEST_FDS descriptors. Never waits to send. */
MUST_CHECK int zygote_send(int sock, const void *msg, size_t len, const int *fds, unsigned nr);
/*
 * 0 and *nr descriptors (close-on-exec), -EPIPE at the end, -EAGAIN when there is none and @wait is
 * false, -EPROTO: not of @len bytes, -EMFILE: the descriptors are beyond RLIMIT_NOFILE.
 */
MUST_CHECK int zygote_recv(int sock, void *msg, size_t len, int fds[ZYGOTE_REQUEST_FDS],
			   unsigned *nr, bool wait);

/* Does it tell how many descriptors it has, as many as came? */
bool zygote_request_is_sane(const struct zygote_request *r, unsigned nr);

/* The zygote's process: @life hangs up when main is gone, @ctl are the devices' sockets. */
NORETURN void zygote_main(const struct zygote_config *cfg, int life, const int *ctl);

/* --- zygote_child.c --- */

/*
 * Terminals and supervisors send some signals to everybody: only main decides what they mean. And
 * children are waited for, though whoever started us may ignore the ends of its own.
 */
void zygote_set_signals(void);
/* Nothing is read from or written to the standard descriptors but messages. Negative errno. */
MUST_CHECK int zygote_only_speak(void);

/* The new process: close what is not its own, and serve. */
NORETURN void zygote_be_child(const struct zygote_config *cfg, const struct zygote_child *c);
/*
 * What a process said on @ready. -EAGAIN: nothing yet, -EPIPE: nothing, and it never will, -EPROTO:
 * nonsense, -EPROTONOSUPPORT: w->handover is not ours; what it said is wrong (zygote_unfit()).
 * w->version is printable in any case.
 */
MUST_CHECK int zygote_hear(int ready, struct zygote_word *w);

/* --- zygote_trial.c --- */

/*
 * Try @program of @dev, whose descriptor is the trial's on success; @ns: as for zygote_clone().
 * t->verdict is the caller's to set then.
 */
MUST_CHECK int zygote_trial_begin(struct zygote_trial *t, const struct zygote_config *cfg,
				  const struct zygote_program *program, unsigned dev, unsigned ns);
/* Hear what it says; end it when its time is over. Nothing when none is on. */
void zygote_trial_look(struct zygote_trial *t, uint64_t now_ns);
/* Its process has ended: t->answer stands, the program and t->verdict are the caller's. */
void zygote_trial_end(struct zygote_trial *t, int status);

/* --- zygote_clone.c --- */

/* A new process that runs cfg->ops->serve(); *ns (in: what to try) says what it got. Its pid. */
MUST_CHECK pid_t zygote_clone(const struct zygote_config *cfg, struct zygote_child *c);
/*
 * Make what all devices share, as far as this host lets us: network, ipc, uts and cgroup
 * namespaces, in which the zygote lives from now on, and one with the empty root. Its working
 * folder is "/" then. Before there is a list of system calls. Returns enum zygote_ns: NET, ROOT.
 */
unsigned zygote_enter_net(void);

/* Close all descriptors but these @nr, in any order, negative ones ignored; sorts them. */
void zygote_close_others(int *keep, unsigned nr);

#endif
