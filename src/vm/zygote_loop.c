/* zygote_loop.c - see zygote.h: the zygote's side. One thread, nothing that waits but poll(). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "zygote_priv.h"

#define LOCK_WAIT_NS (2 * NSEC_PER_SEC) /* for the I/O that a dead process left behind */
#define LOCK_TICK_MS 2
#define PARTING_NS   (5 * NSEC_PER_SEC) /* for devices to end by themselves */

enum slot_state {
	SLOT_EMPTY,
	SLOT_ENDING, /* the old process is killed, a new one wanted */
	SLOT_OPENING,
	SLOT_STARTING, /* made, and not ready yet */
	SLOT_SERVING,
};

struct slot {
	enum slot_state state;
	int ctl; /* -1: main closed it */
	bool is_wanted;
	pid_t pid; /* 0: none */
	int ready; /* the child's word comes here */
	int sock;  /* main's end, until it is sent */
	uint64_t give_up_ns;
	struct zygote_gift gift;
};

struct loop {
	const struct zygote_config *cfg;
	int life, signals;
	unsigned ns;
	struct slot slots[ZYGOTE_MAX_DEVICES];
};

static uint64_t loop_now_ns(void)
{
	struct timespec ts;
	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail */
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* --- answers --- */

static void slot_reply(struct slot *s, struct zygote_reply *r, int fd)
{
	r->pid = s->pid;
	if (s->ctl >= 0)
		ignore(zygote_send(s->ctl, r, sizeof(*r), &fd, fd >= 0)); /* main is gone */
}

static void slot_drop_gift(struct slot *s)
{
	for (unsigned i = 0; i < s->gift.nr_fds; i++)
		fd_close(s->gift.fds[i]);
	fd_close(s->gift.binary);
	s->gift = (struct zygote_gift){ .binary = -1 };
}

/* The spawn that main waits for has failed. */
static void slot_fail(struct slot *s, int err, int status)
{
	struct zygote_reply r = { .news = ZYGOTE_FAILED, .err = err, .status = status };
	fd_close(take_fd(s->ready));
	fd_close(take_fd(s->sock));
	slot_drop_gift(s);
	slot_reply(s, &r, -1);
	s->is_wanted = false;
	s->state = SLOT_EMPTY;
}

/* --- a new process --- */

/* Nothing of the zygote's, least of all what belongs to other devices. */
static void child_close_rest(const struct zygote_child *c)
{
	int keep[ZYGOTE_MAX_FDS + 8] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, c->sock,
					 c->file,      c->ready,      c->gift.binary };
	unsigned nr = 7;
	for (unsigned i = 0; i < c->gift.nr_fds; i++)
		keep[nr++] = c->gift.fds[i];
	zygote_close_others(keep, nr);
}

NORETURN static void loop_be_child(struct loop *l, struct zygote_child *c)
{
	child_close_rest(c);
	char name[16] = "";
	sigset_t none;
	/* before whatever changes credentials, which would undo it: the jail does it again */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	strncpy(name, l->cfg->names[c->dev], sizeof(name) - 1);
	(void)prctl(PR_SET_NAME, name); /* a nicety */
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL); /* a good mask */
	_exit(l->cfg->ops->serve(l->cfg->ctx, c));
}

static int loop_clone(struct loop *l, struct slot *s, int file)
{
	int p[2], sv[2];
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv)) {
		int err = -errno;
		fd_close(p[0]);
		fd_close(p[1]);
		return err;
	}
	struct zygote_child c = { .dev = (unsigned)(s - l->slots),
				  .sock = sv[1],
				  .file = file,
				  .ready = p[1],
				  .ns = l->ns,
				  .gift = s->gift };
	pid_t pid = zygote_clone(l->cfg, &c);
	if (!pid)
		loop_be_child(l, &c);
	fd_close(p[1]);
	fd_close(sv[1]);
	s->ready = p[0];
	s->sock = sv[0];
	s->pid = pid > 0 ? pid : 0;
	return pid < 0 ? pid : 0;
}

static void slot_open(struct loop *l, struct slot *s)
{
	int file = -1;
	int err = l->cfg->ops->open(l->cfg->ctx, (unsigned)(s - l->slots), &file);
	if (err == -EAGAIN && loop_now_ns() < s->give_up_ns)
		return;
	if (!err)
		err = loop_clone(l, s, file);
	fd_close(file); /* the child alone holds it, and with it the lock */
	if (err) {
		slot_fail(s, err, 0);
		return;
	}
	slot_drop_gift(s);
	s->is_wanted = false;
	s->state = SLOT_STARTING;
}

static void slot_begin(struct loop *l, struct slot *s)
{
	s->give_up_ns = loop_now_ns() + LOCK_WAIT_NS;
	s->state = SLOT_OPENING;
	slot_open(l, s);
}

/* The child says that it is ready; the end of its pipe is told by its end. */
static void slot_on_ready(struct slot *s)
{
	struct zygote_word w;
	ssize_t n = read(s->ready, &w, sizeof(w)); /* one write, smaller than a pipe */
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	fd_close(take_fd(s->ready));
	if (n != sizeof(w))
		return;
	struct zygote_reply r = { .news = ZYGOTE_SPAWNED, .lacks = w.lacks };
	memcpy(r.about, w.about, sizeof(r.about));
	slot_reply(s, &r, s->sock);
	fd_close(take_fd(s->sock));
	s->state = SLOT_SERVING;
}

/* --- requests --- */

static void slot_take_gift(struct slot *s, const struct zygote_request *r, const int *fds)
{
	unsigned at = 0;
	slot_drop_gift(s);
	s->gift.nr_fds = min_u32(r->nr_fds, ZYGOTE_MAX_FDS);
	s->gift.cols = r->cols;
	s->gift.rows = r->rows;
	for (unsigned i = 0; i < s->gift.nr_fds; i++)
		s->gift.fds[i] = r->fd_map & 1u << i ? fds[at++] : -1;
	if (r->fd_map & 1u << ZYGOTE_MAX_FDS)
		s->gift.binary = fds[at];
}

static bool request_is_sane(const struct zygote_request *r, unsigned nr)
{
	uint32_t known = (1u << min_u32(r->nr_fds, ZYGOTE_MAX_FDS)) - 1;
	return r->nr_fds <= ZYGOTE_MAX_FDS && !(r->fd_map & ~(known | 1u << ZYGOTE_MAX_FDS)) &&
	       (unsigned)__builtin_popcount(r->fd_map) == nr;
}

static void slot_kill(struct slot *s)
{
	if (s->pid)
		(void)kill(s->pid, SIGKILL); /* ours until it is reaped */
}

static void slot_on_request(struct loop *l, struct slot *s)
{
	struct zygote_request r;
	int fds[ZYGOTE_REQUEST_FDS];
	unsigned nr;
	int err = zygote_recv(s->ctl, &r, sizeof(r), fds, &nr, false);
	if (err == -EAGAIN)
		return;
	if (err == -EMFILE) {
		slot_kill(s);
		slot_fail(s, err, 0);
		return;
	}
	if (err || !request_is_sane(&r, nr)) {
		while (nr)
			fd_close(fds[--nr]);
		fd_close(take_fd(s->ctl)); /* closed, or not main's words: deaf from now on */
		return;
	}
	slot_kill(s);
	if (r.op != ZYGOTE_SPAWN) {
		while (nr)
			fd_close(fds[--nr]);
		return;
	}
	slot_take_gift(s, &r, fds);
	s->is_wanted = true;
	if (!s->pid) {
		slot_begin(l, s);
		return;
	}
	fd_close(take_fd(s->ready)); /* whatever it still says, it is not what is wanted */
	fd_close(take_fd(s->sock));
	s->state = SLOT_ENDING;
}

/* Main's other words, and its silence. False: it is gone. */
static bool loop_on_life(struct loop *l)
{
	struct zygote_errand e;
	int fds[ZYGOTE_REQUEST_FDS];
	unsigned nr;
	int err = zygote_recv(l->life, &e, sizeof(e), fds, &nr, false);
	if (err == -EAGAIN)
		return true;
	while (nr)
		fd_close(fds[--nr]); /* none belongs here */
	if (err)
		return false;
	int32_t answer = -EINVAL;
	if (l->cfg->ops->order && e.dev < l->cfg->nr_devices && e.len <= sizeof(e.arg))
		answer = l->cfg->ops->order(l->cfg->ctx, e.dev, e.what, e.arg, e.len);
	return !zygote_send(l->life, &answer, sizeof(answer), NULL, 0);
}

/* --- ends --- */

static int loop_exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void slot_on_end(struct loop *l, struct slot *s, int status)
{
	if (s->state == SLOT_STARTING) {
		slot_fail(s, -ECANCELED, status);
	} else {
		struct zygote_reply r = { .news = ZYGOTE_ENDED, .status = status };
		fd_close(take_fd(s->ready));
		fd_close(take_fd(s->sock));
		slot_reply(s, &r, -1);
		s->state = SLOT_EMPTY;
	}
	s->pid = 0;
	if (s->is_wanted)
		slot_begin(l, s);
}

static void loop_reap(struct loop *l)
{
	struct signalfd_siginfo si;
	while (read(l->signals, &si, sizeof(si)) == sizeof(si))
		; /* several ends may be one signal */
	int status;
	pid_t pid;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < l->cfg->nr_devices; i++)
			if (l->slots[i].pid == pid)
				slot_on_end(l, &l->slots[i], loop_exit_status(status));
}

static bool loop_has_children(const struct loop *l)
{
	for (unsigned i = 0; i < l->cfg->nr_devices; i++)
		if (l->slots[i].pid)
			return true;
	return false;
}

/* Main has let go. The devices have lost their frontends and end, or are ended. */
NORETURN static void loop_leave(struct loop *l)
{
	uint64_t end_ns = loop_now_ns() + PARTING_NS;
	for (unsigned i = 0; i < l->cfg->nr_devices; i++) {
		l->slots[i].is_wanted = false;
		fd_close(take_fd(l->slots[i].sock));
		if (l->slots[i].state == SLOT_STARTING)
			slot_kill(&l->slots[i]);
	}
	while (loop_has_children(l) && loop_now_ns() < end_ns) {
		struct pollfd p = { l->signals, POLLIN, 0 };
		(void)poll(&p, 1, LOCK_TICK_MS); /* whatever it says, look */
		loop_reap(l);
	}
	for (unsigned i = 0; i < l->cfg->nr_devices; i++)
		slot_kill(&l->slots[i]);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	_exit(0);
}

/* --- the loop --- */

static bool loop_is_opening(const struct loop *l)
{
	for (unsigned i = 0; i < l->cfg->nr_devices; i++)
		if (l->slots[i].state == SLOT_OPENING)
			return true;
	return false;
}

static void slot_look(struct loop *l, struct slot *s, const struct pollfd p[2])
{
	if (s->ready >= 0 && p[1].revents)
		slot_on_ready(s);
	if (s->ctl >= 0 && p[0].revents)
		slot_on_request(l, s);
	if (s->state == SLOT_OPENING)
		slot_open(l, s);
}

NORETURN static void loop_run(struct loop *l)
{
	struct pollfd p[2 + 2 * ZYGOTE_MAX_DEVICES];
	unsigned nr = l->cfg->nr_devices;
	for (;;) {
		p[0] = (struct pollfd){ l->life, POLLIN, 0 };
		p[1] = (struct pollfd){ l->signals, POLLIN, 0 };
		for (unsigned i = 0; i < nr; i++) {
			p[2 + 2 * i] = (struct pollfd){ l->slots[i].ctl, POLLIN, 0 };
			p[3 + 2 * i] = (struct pollfd){ l->slots[i].ready, POLLIN, 0 };
		}
		if (poll(p, 2 + 2 * nr, loop_is_opening(l) ? LOCK_TICK_MS : -1) < 0)
			continue; /* EINTR; nothing else can happen to good descriptors */
		for (unsigned i = 0; i < nr; i++)
			slot_look(l, &l->slots[i], &p[2 + 2 * i]);
		if (p[1].revents)
			loop_reap(l);
		if (p[0].revents && !loop_on_life(l))
			loop_leave(l);
	}
}

/* --- the beginning --- */

/* What main has open is none of ours, and the terminal neither. */
static void loop_close_rest(const struct loop *l)
{
	int keep[4 + 2 * ZYGOTE_MAX_DEVICES] = { STDERR_FILENO, l->life, l->signals };
	unsigned nr = 3;
	for (unsigned i = 0; i < l->cfg->nr_devices; i++)
		keep[nr++] = l->slots[i].ctl;
	if (l->cfg->ops->keep)
		nr += l->cfg->ops->keep(l->cfg->ctx, keep + nr, ZYGOTE_MAX_DEVICES);
	zygote_close_others(keep, nr);
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
		if (open("/dev/null", O_RDWR) != fd) /* the lowest free number */
			_exit(1);
}

/* A terminal is open for reading too, mostly: what is typed there is not for devices. */
static void loop_only_write(void)
{
	CLEANUP(fd_cleanup) int fd = -1;
	if (isatty(STDERR_FILENO))
		fd = open("/proc/self/fd/2", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		(void)dup2(fd, STDERR_FILENO); /* both are good */
}

/* Terminals and supervisors send these to everybody; main alone decides what they mean. */
static void loop_ignore_signals(void)
{
	static const int theirs[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGXFSZ };
	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
		(void)signal(theirs[i], SIG_IGN); /* cannot fail for these */
	(void)setsid();                           /* away from the terminal */
}

static void loop_init(struct loop *l, const int *ctl)
{
	sigset_t ends;
	sigemptyset(&ends);
	sigaddset(&ends, SIGCHLD);
	loop_ignore_signals();
	(void)prctl(PR_SET_NAME, "vmm-zygote"); /* a nicety */
	if (sigprocmask(SIG_SETMASK, &ends, NULL))
		_exit(1);
	l->signals = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signals < 0)
		_exit(1); /* main is told by the end of the sockets */
	for (unsigned i = 0; i < l->cfg->nr_devices; i++)
		l->slots[i] = (struct slot){
			.ctl = ctl[i], .ready = -1, .sock = -1, .gift = { .binary = -1 }
		};
	loop_close_rest(l);
	loop_only_write();
	if (l->cfg->is_jailed)
		l->ns = zygote_enter_net();
	if (l->cfg->ops->begin)
		l->cfg->ops->begin(l->cfg->ctx);
}

void zygote_main(const struct zygote_config *cfg, int life, const int *ctl)
{
	static struct loop loop; /* one zygote in a process */
	loop.cfg = cfg;
	loop.life = life;
	loop_init(&loop, ctl);
	loop_run(&loop);
}

/* --- the child's word --- */

void zygote_ready(const struct zygote_child *c, uint32_t lacks, const void *about, size_t len)
{
	struct zygote_word w = { .lacks = lacks };
	BUG_ON(len > sizeof(w.about));
	if (len)
		memcpy(w.about, about, len);
	ignore(write(c->ready, &w, sizeof(w)) < 0); /* the zygote is gone: so are we soon */
	fd_close(c->ready);
}
