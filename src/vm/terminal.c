/* terminal.c - see terminal.h. */
#include "terminal.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <termios.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "sync/thread.h"

#define KEY_ESCAPE        0x01 /* Ctrl-A */
#define TERMINAL_PAUSE_MS 100

struct terminal {
	/* immutable after open */
	bool is_tty;
	int pipe_rd, pipe_wr, stop_fd;
	void (*quit)(void *ctx);
	void *quit_ctx;
	struct thread *thread;
	/* its thread */
	bool saw_escape;
};

/* For the handlers of fatal signals, which can be handed nothing. */
static struct termios terminal_saved; /* as it was before the first time */
static pid_t terminal_group;          /* ours: who is in the foreground may have the terminal */
static volatile sig_atomic_t terminal_is_raw;
static struct sigaction terminal_before[NSIG];
static bool terminal_has_begun; /* the two above are filled in */

static bool terminal_is_ours(void)
{
	return tcgetpgrp(STDIN_FILENO) == terminal_group;
}

/* In the background it is somebody else's, who has set it up anew, and to touch it would stop us.
 */
static void terminal_restore(void)
{
	if (terminal_is_raw && terminal_is_ours())
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal_saved); /* nothing left to try */
	terminal_is_raw = 0;
}

static void terminal_on_fatal(int sig)
{
	terminal_restore();
	(void)sigaction(sig, &terminal_before[sig], NULL); /* cannot fail: it was in force */
	(void)raise(sig);
}

/* Every signal that ends a process and that nobody else here takes, unless it was ignored before.
 */
static void terminal_guard(void)
{
	static const int fatal[] = { SIGSEGV, SIGBUS,    SIGABRT, SIGILL,  SIGFPE,   SIGQUIT,
				     SIGTRAP, SIGSYS,    SIGUSR1, SIGUSR2, SIGALRM,  SIGXCPU,
				     SIGPROF, SIGVTALRM, SIGPOLL, SIGPWR,  SIGSTKFLT };
	const struct sigaction sa = { .sa_handler = terminal_on_fatal, .sa_flags = SA_NODEFER };
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++) {
		struct sigaction *old = &terminal_before[fatal[i]];
		if (!sigaction(fatal[i], NULL, old) && old->sa_handler != SIG_IGN)
			(void)sigaction(fatal[i], &sa, NULL); /* cannot fail for these */
	}
}

/* Take the escape sequences out of @n bytes; returns how many are left. */
static size_t terminal_filter(struct terminal *t, char *buf, size_t n)
{
	size_t kept = 0;
	for (size_t i = 0; i < n; i++) {
		bool escaped = t->saw_escape;
		t->saw_escape = !escaped && buf[i] == KEY_ESCAPE;
		if (t->saw_escape)
			continue;
		if (escaped && (buf[i] == 'x' || buf[i] == 'X'))
			t->quit(t->quit_ctx);
		else
			buf[kept++] = buf[i];
	}
	return kept;
}

/* Wait until @fd is ready for @events; false: asked to stop. */
static bool terminal_wait(const struct terminal *t, int fd, short events)
{
	struct pollfd p[2] = { { fd, events, 0 }, { t->stop_fd, POLLIN, 0 } };
	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	return !p[1].revents;
}

/* Until we may be in the foreground again, which nothing tells. False: asked to stop. */
static bool terminal_pause(const struct terminal *t)
{
	struct pollfd p = { t->stop_fd, POLLIN, 0 };
	return poll(&p, 1, TERMINAL_PAUSE_MS) <= 0;
}

static void terminal_pump(void *arg)
{
	struct terminal *t = arg;
	char buf[512];
	while (terminal_wait(t, STDIN_FILENO, POLLIN)) {
		ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));
		/* in the background; as this thread has SIGTTIN blocked, that is an error */
		if (n < 0 && errno == EIO && terminal_pause(t))
			continue;
		if (!n || (n < 0 && errno != EINTR && errno != EAGAIN))
			break;
		size_t len = n > 0 ? terminal_filter(t, buf, (size_t)n) : 0;
		for (size_t at = 0; at < len && terminal_wait(t, t->pipe_wr, POLLOUT);) {
			ssize_t w = write(t->pipe_wr, buf + at, len - at);
			at += w > 0 ? (size_t)w : 0;
		}
	}
}

static void terminal_cleanup(struct terminal **t)
{
	terminal_close(*t);
}

static int terminal_open_tty(struct terminal *t)
{
	int p[2];
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	t->pipe_rd = p[0];
	t->pipe_wr = p[1];
	t->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (t->stop_fd < 0)
		return -errno;
	struct thread_attr attr = { .name = "vmm-terminal" };
	return thread_create(&t->thread, &attr, terminal_pump, t);
}

int terminal_open(struct terminal **out, void (*quit)(void *ctx), void *ctx)
{
	CLEANUP(terminal_cleanup) struct terminal *t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->pipe_rd = t->pipe_wr = t->stop_fd = -1;
	t->quit = quit;
	t->quit_ctx = ctx;
	t->is_tty = isatty(STDIN_FILENO);
	terminal_group = getpgrp();
	int err = t->is_tty ? terminal_open_tty(t) : 0;
	if (err)
		return err;
	*out = take(t);
	return 0;
}

int terminal_fd(const struct terminal *t)
{
	return t->is_tty ? t->pipe_rd : STDIN_FILENO;
}

/* Once, when there is something to give back. */
static bool terminal_begin(void)
{
	if (terminal_has_begun)
		return true;
	if (tcgetattr(STDIN_FILENO, &terminal_saved) < 0)
		return false;
	terminal_guard();
	terminal_has_begun = true;
	log_info("press Ctrl-A x to stop the VM");
	return true;
}

void terminal_raw(struct terminal *t)
{
	struct termios raw;
	if (!t->is_tty || !terminal_is_ours() || !terminal_begin())
		return;
	raw = terminal_saved;
	raw.c_iflag &= (tcflag_t) ~(ICRNL | IXON | INLCR | IGNCR | ISTRIP | BRKINT);
	raw.c_lflag &= (tcflag_t) ~(ICANON | ECHO | ISIG | IEXTEN);
	raw.c_cc[VMIN] = 1;
	raw.c_cc[VTIME] = 0;
	terminal_is_raw = 1; /* before it is: a signal may come in between */
	if (tcsetattr(STDIN_FILENO, TCSANOW, &raw))
		terminal_is_raw = 0;
}

void terminal_close(struct terminal *t)
{
	if (!t)
		return;
	terminal_restore();
	if (t->thread) {
		uint64_t one = 1;
		ssize_t n = write(t->stop_fd, &one, sizeof(one));
		BUG_ON(n != sizeof(one)); /* an eventfd of ours takes a one */
		thread_join(t->thread);
	}
	fd_close(t->pipe_rd);
	fd_close(t->pipe_wr);
	fd_close(t->stop_fd);
	free(t);
}
