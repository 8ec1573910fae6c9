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

/* Main to zygote. The descriptors are those of the gift that are there, then the binary. */
struct zygote_request {
	uint32_t op;
	uint32_t fd_map; /* bit n: fds[n] is there; bit ZYGOTE_MAX_FDS: a binary is */
	uint16_t cols, rows;
	uint32_t nr_fds;
};

enum zygote_news { ZYGOTE_SPAWNED = 1, ZYGOTE_FAILED, ZYGOTE_ENDED };

/* Zygote to main: SPAWNED comes with the socket. */
struct zygote_reply {
	uint32_t news;
	int32_t err;    /* FAILED: negative errno */
	int32_t status; /* FAILED with -ECANCELED, ENDED: as zygote_status() */
	int32_t pid;
	uint32_t lacks;
	uint8_t about[ZYGOTE_ABOUT_BYTES];
};

/* What a process says when it is ready. */
struct zygote_word {
	uint32_t lacks;
	uint8_t about[ZYGOTE_ABOUT_BYTES];
};

/* Main to zygote on the socket that tells of main's life; the answer is an int32_t. */
struct zygote_errand {
	uint32_t dev, what, len;
	uint8_t arg[ZYGOTE_ORDER_BYTES];
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

/* The zygote's process: @life hangs up when main is gone, @ctl are the devices' sockets. */
NORETURN void zygote_main(const struct zygote_config *cfg, int life, const int *ctl);

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
