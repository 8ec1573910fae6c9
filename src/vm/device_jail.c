/*
 * device_jail.c - see device_serve.h. This process has the names of socket and image and talks to
 * nobody; the process that it makes has a device, a jail and the frontends.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/num.h"
#include "children.h"
#include "device_serve.h"
#include "zygote_priv.h"

#define LOCK_WAIT_NS   (2 * NSEC_PER_SEC) /* for the I/O that a dead process left behind */
#define LOCK_TICK_NS   2000000
#define MAX_DEATHS     8 /* in a row, each within: */
#define LONG_LIFE_NS   (2 * NSEC_PER_SEC)
#define FIRST_PAUSE_MS 10 /* after a death; twice as long after each further one */

struct device_jail {
	struct vm *vm;
	const struct device_socket *socket;
	int stop_fd;
	struct zygote_config zygote;
	unsigned ns;     /* what all processes share */
	int here;        /* our working folder, which names are below */
	unsigned deaths; /* in a row */
	/* of the present process */
	pid_t pid;
	int life;  /* it stops when this is closed, and this hangs up when it ends */
	int ready; /* it tells here what its jail lacks */
};

/* --- in the process with the device --- */

static int jailed_serve(void *ctx, const struct zygote_child *c)
{
	struct device_jail *j = ctx;
	struct device_socket mine = { c->gift.fds[0], j->socket->is_listening };
	struct vhost_user_server *s = NULL;
	uint32_t lacks;
	enum vm_status st = child_begin_service(j->vm, c, SANDBOX_LISTENER, &s, &lacks);
	if (st)
		return (int)st;
	zygote_ready(c, lacks, NULL, 0);
	st = device_serve_socket(s, &mine, c->sock);
	vhost_user_server_destroy(s);
	return (int)st;
}

/* --- in the one that made it --- */

static int jail_open_image(const struct device_jail *j, int *file)
{
	const struct timespec tick = { 0, LOCK_TICK_NS };
	uint64_t end_ns = clock_ns() + LOCK_WAIT_NS;
	int err;
	while ((err = child_ops.open(j->vm, 0, file)) == -EAGAIN && clock_ns() < end_ns)
		(void)nanosleep(&tick, NULL); /* a short sleep is as good */
	return err;
}

/* Whoever visits another root finds itself in "/". */
static void jail_go_home(const struct device_jail *j)
{
	if (j->here >= 0 && fchdir(j->here))
		log_debug("cannot come back to the working folder");
}

static int jail_clone(struct device_jail *j, int file)
{
	int ready[2], life[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ready))
		return -errno;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, life)) {
		int err = -errno;
		fd_close(ready[0]);
		fd_close(ready[1]);
		return err;
	}
	struct zygote_child c = { .sock = life[1],
				  .file = file,
				  .ready = ready[1],
				  .ns = j->ns,
				  .binary = -1,
				  .gift = { .fds = { j->socket->fd }, .nr_fds = 1 } };
	c.gift.counters = -1;
	pid_t pid = zygote_clone(&j->zygote, &c);
	if (!pid)
		zygote_be_child(&j->zygote, &c);
	jail_go_home(j);
	fd_close(ready[1]);
	fd_close(life[1]);
	j->ready = ready[0];
	j->life = life[0];
	j->pid = pid > 0 ? pid : 0;
	return pid < 0 ? pid : 0;
}

static enum vm_status jail_start(struct device_jail *j)
{
	int file = -1;
	int err = jail_open_image(j, &file);
	if (err == -ESTALE)
		return vm_fail(VM_EXIT_HOST, "block0: its image was inherited, and is given to one "
					     "process only; name it by its path");
	if (err)
		return vm_fail_errno(err, "block0: opening its image again");
	err = jail_clone(j, file);
	fd_close(file); /* the process alone holds it, and with it the lock */
	return err ? vm_fail_errno(err, "block0: making its process") : VM_EXIT_OK;
}

/* The exit status of the process, 128 + the signal that ended it. */
static int jail_reap(struct device_jail *j)
{
	int status = 0;
	fd_close(take_fd(j->ready));
	fd_close(take_fd(j->life)); /* it stops, if it has not ended */
	while (j->pid && waitpid(j->pid, &status, 0) < 0 && errno == EINTR)
		;
	j->pid = 0;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* Wait for the end of the process, or ask for it when we are to stop: then *is_told. */
static int jail_await(struct device_jail *j, bool *is_told)
{
	struct pollfd p[2] = { { j->stop_fd, POLLIN, 0 }, { j->life, POLLIN, 0 } };
	while (poll(p, ARRAY_SIZE(p), -1) < 0)
		; /* EINTR; nothing else can happen to good descriptors */
	*is_told = p[0].revents;
	return jail_reap(j);
}

/*
 * Its process was ended by a signal, which is no failure where another one may take over. Killed in
 * the moment in which it was to stop it is as killed just before: what it had in flight is left to
 * the next server. A crash on the way out nobody would hear of.
 */
static enum vm_status jail_mourn(struct device_jail *j, int sig, uint64_t lived_ns, bool *is_told)
{
	j->deaths = lived_ns < LONG_LIFE_NS ? j->deaths + 1 : 1;
	if (*is_told && j->socket->is_listening && sig == SIGKILL) {
		log_warn("block0: its process was killed before it had stopped");
		return VM_EXIT_OK;
	}
	if (*is_told || !j->socket->is_listening || j->deaths >= MAX_DEATHS)
		return vm_fail(VM_EXIT_HOST, "block0: its process was ended by signal %d (%s)", sig,
			       strsignal(sig));
	log_warn("block0: its process was ended by signal %d (%s); another one takes over", sig,
		 strsignal(sig));
	struct pollfd p = { j->stop_fd, POLLIN, 0 };
	*is_told = poll(&p, 1, FIRST_PAUSE_MS << (j->deaths - 1)) > 0;
	return VM_EXIT_OK;
}

/* One process, from its beginning to its end. *is_over: there is to be no other. */
static enum vm_status jail_live(struct device_jail *j, bool *is_over)
{
	struct zygote_word w;
	*is_over = true;
	enum vm_status st = jail_start(j);
	uint64_t since_ns = clock_ns(); /* the wait for its predecessor's lock is no life */
	/* one that ends without a word has said why itself, or was killed */
	if (!st && !zygote_hear(j->ready, &w))
		st = child_check_jail(j->vm->c, w.lacks);
	if (st) {
		(void)jail_reap(j);
		return st;
	}
	bool is_told;
	int status = jail_await(j, &is_told);
	if (status <= 128)
		return (enum vm_status)status;
	st = jail_mourn(j, status - 128, clock_ns() - since_ns, &is_told);
	*is_over = st || is_told;
	return st;
}

enum vm_status device_serve_jailed(struct vm *vm, const struct device_socket *socket, int stop_fd)
{
	static const struct zygote_ops ops = { .serve = jailed_serve };
	static const char *const names[] = { "block0" };
	struct device_jail j = {
		.vm = vm, .socket = socket, .stop_fd = stop_fd, .life = -1, .ready = -1
	};
	j.zygote = (struct zygote_config){
		.ops = &ops, .ctx = &j, .nr_devices = 1, .names = names, .is_jailed = true
	};
	/* further arenas read a setting of the host when they shrink, which no list allows */
	(void)mallopt(M_ARENA_MAX, 1);
	int err = zygote_only_speak();
	if (err)
		return vm_fail_errno(err, "leaving standard input and output");
	CLEANUP(fd_cleanup) int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	j.here = here;
	(void)signal(SIGCHLD, SIG_DFL); /* ignored, as who started us may have it, none is reaped */
	vm->has_lists = sandbox_is_possible();
	j.ns = zygote_enter_net();
	jail_go_home(&j);
	bool is_over = false;
	enum vm_status st = VM_EXIT_OK;
	while (!is_over)
		st = jail_live(&j, &is_over);
	return st;
}
