/* zygote_loop.c - see zygote.h: the zygote's side. One thread, nothing that waits but poll(). */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "zygote_loop.h"

#define LOCK_WAIT_NS  (2 * NSEC_PER_SEC) /* for the I/O that a dead process left behind */
#define LOCK_TICK_MS  2
#define BEGIN_NS      (30 * NSEC_PER_SEC) /* for another program to be ready */
#define BEGIN_TICK_MS 100
#define BEGIN_KILLS   3 /* from outside, before it is ready: whoever is to blame, it will not do */
#define PARTING_NS    (5 * NSEC_PER_SEC) /* for devices to end by themselves */

static const char *slot_name(const struct loop *l, const struct slot *s)
{
	return l->cfg->names[s - l->slots];
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
	fd_close(s->gift.counters);
	s->gift = (struct zygote_gift){ .counters = -1 };
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

static void slot_kill(struct slot *s)
{
	if (s->pid)
		(void)kill(s->pid, SIGKILL); /* ours until it is reaped */
}

static void slot_condemn(struct slot *s)
{
	s->is_condemned = true;
	slot_kill(s);
}

/* --- a new process --- */

static int loop_clone(struct loop *l, struct slot *s, int file)
{
	int p[2], sv[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p))
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
				  .binary = s->program.fd,
				  .gift = s->gift };
	pid_t pid = zygote_clone(l->cfg, &c);
	if (!pid)
		zygote_be_child(l->cfg, &c);
	fd_close(p[1]);
	fd_close(sv[1]);
	s->ready = p[0];
	s->sock = sv[0];
	s->pid = pid > 0 ? pid : 0;
	s->is_condemned = false;
	s->owed = 0;
	return pid < 0 ? pid : 0;
}

static void slot_open(struct loop *l, struct slot *s)
{
	int file = -1;
	int err = l->cfg->ops->open(l->cfg->ctx, (unsigned)(s - l->slots), &file);
	if (err == -EAGAIN && clock_ns() < s->give_up_ns)
		return;
	if (!err)
		err = loop_clone(l, s, file);
	fd_close(file); /* the child alone holds it, and with it the lock */
	if (err) {
		slot_fail(s, err, 0);
		return;
	}
	s->is_wanted = false;
	s->give_up_ns = clock_ns() + BEGIN_NS;
	s->state = SLOT_STARTING;
}

static void slot_begin(struct loop *l, struct slot *s)
{
	s->give_up_ns = clock_ns() + LOCK_WAIT_NS;
	s->state = SLOT_OPENING;
	slot_open(l, s);
}

/* The child says that it is ready; the end of its pipe is told by its end. */
static void slot_on_ready(struct slot *s)
{
	struct zygote_word w;
	int err = zygote_hear(s->ready, &w);
	if (err == -EAGAIN)
		return;
	if (err)
		fd_close(take_fd(s->ready));
	if (err == -EPROTO || err == -EPROTONOSUPPORT)
		slot_condemn(s); /* none of ours after all: its end tells */
	if (err)
		return;
	struct zygote_reply r = { .news = ZYGOTE_SPAWNED, .lacks = w.lacks };
	memcpy(r.about, w.about, sizeof(r.about));
	memcpy(r.version, w.version, sizeof(r.version));
	memcpy(r.path, s->program.path, sizeof(r.path));
	s->lacks = w.lacks;
	s->program.has_served = true;
	s->program.kills = 0;
	slot_drop_gift(s);
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
	s->gift.counters = r->fd_map & 1u << ZYGOTE_MAX_FDS ? fds[at] : -1;
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
	if (err || !zygote_request_is_sane(&r, nr)) {
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
	/* one that has not served yet is not the one that is meant */
	if (r.is_distrusted && s->program.fd >= 0 && s->program.has_served) {
		log_warn("%s: %s dies before it has done anything: the program before it goes on",
			 slot_name(l, s), s->program.path);
		slot_fall_back(s);
	}
	s->is_wanted = true;
	if (!s->pid) {
		slot_begin(l, s);
		return;
	}
	fd_close(take_fd(s->ready)); /* whatever it still says, it is not what is wanted */
	fd_close(take_fd(s->sock));
	s->state = SLOT_ENDING;
}

/* --- ends --- */

static int loop_exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* It was never ready: another program gives way to the one before it, ours fails. */
static void slot_on_false_start(struct loop *l, struct slot *s, int status)
{
	/* who was killed from outside is hardly to blame: main asks again */
	bool is_faulty = s->is_condemned || status != 128 + SIGKILL ||
			 ++s->program.kills >= BEGIN_KILLS;
	if (s->program.fd < 0 || l->is_leaving || !is_faulty) {
		slot_fail(s, -ECANCELED, status);
		return;
	}
	log_warn("%s: %s ended before it was ready (status %d): the program before it goes on",
		 slot_name(l, s), s->program.path, status);
	slot_fall_back(s);
	s->is_wanted = true;
}

static void slot_on_end(struct loop *l, struct slot *s, int status)
{
	bool was_ready = s->state != SLOT_STARTING;
	loop_drop_order(l, s);
	fd_close(take_fd(s->ready));
	fd_close(take_fd(s->sock));
	s->state = SLOT_EMPTY;
	if (was_ready) {
		struct zygote_reply r = { .news = ZYGOTE_ENDED, .status = status };
		slot_reply(s, &r, -1);
	} else {
		slot_on_false_start(l, s, status);
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
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (unsigned i = 0; i < l->cfg->nr_devices; i++) {
			if (l->slots[i].trial.pid == pid)
				slot_on_trial(&l->slots[i], loop_exit_status(status));
			if (l->slots[i].pid == pid)
				slot_on_end(l, &l->slots[i], loop_exit_status(status));
		}
	}
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
	uint64_t end_ns = clock_ns() + PARTING_NS;
	l->is_leaving = true;
	for (unsigned i = 0; i < l->cfg->nr_devices; i++) {
		if (l->slots[i].trial.pid)
			(void)kill(l->slots[i].trial.pid, SIGKILL); /* ours until it is reaped */
		l->slots[i].is_wanted = false;
		fd_close(take_fd(l->slots[i].sock));
		if (l->slots[i].state == SLOT_STARTING)
			slot_kill(&l->slots[i]);
	}
	while (loop_has_children(l) && clock_ns() < end_ns) {
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

/* How long to sleep at most: a lock is waited for, or somebody may take too long. */
static int loop_timeout_ms(const struct loop *l)
{
	int ms = l->order.slot ? BEGIN_TICK_MS : -1;
	for (unsigned i = 0; i < l->cfg->nr_devices; i++) {
		const struct slot *s = &l->slots[i];
		if (s->state == SLOT_OPENING)
			return LOCK_TICK_MS;
		if (s->trial.pid || (s->state == SLOT_STARTING && s->program.fd >= 0))
			ms = BEGIN_TICK_MS;
	}
	return ms;
}

static void slot_look(struct loop *l, struct slot *s, const struct pollfd p[2])
{
	if (s->ready >= 0 && p[1].revents && s->state == SLOT_SERVING)
		slot_on_done(l, s);
	else if (s->ready >= 0 && p[1].revents)
		slot_on_ready(s);
	if (s->ctl >= 0 && p[0].revents)
		slot_on_request(l, s);
	if (s->state == SLOT_OPENING)
		slot_open(l, s);
	/* ours is trusted to come to an end of its beginning */
	if (s->state == SLOT_STARTING && s->program.fd >= 0 && clock_ns() >= s->give_up_ns)
		slot_condemn(s);
}

enum { POLL_LIFE, POLL_SIGNALS, POLL_FIRST_SLOT };

/* Fill in what is waited for; how many. */
static nfds_t loop_poll_fill(const struct loop *l, struct pollfd *p)
{
	nfds_t nr = POLL_FIRST_SLOT;
	p[POLL_LIFE] = (struct pollfd){ l->life, POLLIN, 0 };
	p[POLL_SIGNALS] = (struct pollfd){ l->signals, POLLIN, 0 };
	for (unsigned i = 0; i < l->cfg->nr_devices; i++) {
		p[nr++] = (struct pollfd){ l->slots[i].ctl, POLLIN, 0 };
		p[nr++] = (struct pollfd){ l->slots[i].ready, POLLIN, 0 };
	}
	/* no more than there are descriptors: RLIMIT_NOFILE bounds poll(), too */
	for (unsigned i = 0; i < l->cfg->nr_devices; i++)
		if (l->slots[i].trial.pid && !l->slots[i].trial.is_told)
			p[nr++] = (struct pollfd){ l->slots[i].trial.ready, POLLIN, 0 };
	return nr;
}

NORETURN static void loop_run(struct loop *l)
{
	struct pollfd p[POLL_FIRST_SLOT + 3 * ZYGOTE_MAX_DEVICES];
	for (;;) {
		if (poll(p, loop_poll_fill(l, p), loop_timeout_ms(l)) < 0)
			continue; /* EINTR; nothing else can happen to good descriptors */
		for (unsigned i = 0; i < l->cfg->nr_devices; i++)
			slot_look(l, &l->slots[i], &p[POLL_FIRST_SLOT + 2 * i]);
		loop_hurry(l);
		if (p[POLL_SIGNALS].revents)
			loop_reap(l);
		if (p[POLL_LIFE].revents && !loop_on_life(l))
			loop_leave(l);
	}
}

/* --- the beginning --- */

/* What main has open is none of ours, and the terminal neither. */
static void loop_close_rest(const struct loop *l)
{
	int keep[4 + 3 * ZYGOTE_MAX_DEVICES] = { STDERR_FILENO, l->life, l->signals };
	unsigned nr = 3;
	for (unsigned i = 0; i < l->cfg->nr_devices; i++)
		keep[nr++] = l->slots[i].ctl;
	if (l->cfg->ops->keep)
		nr += l->cfg->ops->keep(l->cfg->ctx, keep + nr, 2 * ZYGOTE_MAX_DEVICES);
	zygote_close_others(keep, nr);
	if (zygote_only_speak())
		_exit(1);
}

/*
 * Away from the terminal, but not into a session of its own: a scheduler that shares the CPUs out
 * among sessions (autogroups) has nobody yield to a thread of another one (docs/io.md, "Sharing a
 * CPU").
 */
static void loop_leave_terminal(void)
{
	(void)setpgid(0, 0); /* cannot fail for a child */
	CLEANUP(fd_cleanup) int fd = open("/dev/tty", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		(void)ioctl(fd, TIOCNOTTY); /* it is ours, or could not be opened */
}

static void loop_init(struct loop *l, const int *ctl)
{
	sigset_t ends;
	sigemptyset(&ends);
	sigaddset(&ends, SIGCHLD);
	zygote_set_signals();
	(void)prctl(PR_SET_NAME, "vmm-zygote"); /* a nicety */
	if (sigprocmask(SIG_SETMASK, &ends, NULL))
		_exit(1);
	l->signals = signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signals < 0)
		_exit(1); /* main is told by the end of the sockets */
	for (unsigned i = 0; i < l->cfg->nr_devices; i++)
		l->slots[i] = (struct slot){ .ctl = ctl[i],
					     .ready = -1,
					     .sock = -1,
					     .gift = { .counters = -1 },
					     .program = { .fd = -1 },
					     .former = { .fd = -1 } };
	loop_close_rest(l);
	loop_leave_terminal();
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
