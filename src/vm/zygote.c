/* zygote.c - see zygote.h: main's side. */
#include "zygote.h"
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/err.h"
#include "base/log.h"
#include "sync/mutex.h"
#include "zygote_priv.h"

struct zygote_device {
	/* immutable after create */
	char name[16];
	int ctl;
	/* the thread that asks */
	bool is_asked; /* a spawn has no answer yet */
	bool is_distrusted;
	struct zygote_gift gift;
	int status;
	/* written by it, read by any */
	_Atomic uint32_t lacks;
	_Atomic int pid;
	/* under lock: of the process that was ready last */
	struct mutex lock;
	uint8_t about[ZYGOTE_ABOUT_BYTES];
	char version[ZYGOTE_VERSION_BYTES], path[ZYGOTE_PATH_BYTES];
};

struct zygote {
	/* immutable after create */
	unsigned nr_devices;
	struct zygote_device *devices;
	pid_t pid;
	int life;
};

static void zygote_cleanup(struct zygote **z)
{
	zygote_destroy(*z);
}

static struct zygote *zygote_alloc(const struct zygote_config *cfg)
{
	struct zygote *z = calloc(1, sizeof(*z));
	if (!z)
		return NULL;
	z->life = -1;
	z->devices = zalloc_aligned((cfg->nr_devices ? cfg->nr_devices : 1) * sizeof(*z->devices));
	if (!z->devices) {
		free(z);
		return NULL;
	}
	for (unsigned i = 0; i < cfg->nr_devices; i++) {
		strncpy(z->devices[i].name, cfg->names[i], sizeof(z->devices[i].name) - 1);
		z->devices[i].ctl = z->devices[i].gift.counters = -1;
		mutex_init(&z->devices[i].lock);
	}
	z->nr_devices = cfg->nr_devices;
	return z;
}

static int zygote_pair(int kind, int *mine, int *its)
{
	int p[2];
	if (socketpair(AF_UNIX, kind | SOCK_CLOEXEC, 0, p))
		return -errno;
	*mine = p[0];
	*its = p[1];
	return 0;
}

static int zygote_fork(struct zygote *z, const struct zygote_config *cfg, int life, const int *ctl)
{
	pid_t main_pid = getpid();
	z->pid = fork();
	if (z->pid < 0) {
		z->pid = 0;
		return -errno;
	}
	if (z->pid)
		return 0;
	/* main may have gone in between, and then nobody signals */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != main_pid)
		_exit(1);
	fd_close(z->life);
	for (unsigned i = 0; i < z->nr_devices; i++)
		fd_close(z->devices[i].ctl);
	zygote_main(cfg, life, ctl);
}

int zygote_create(struct zygote **out, const struct zygote_config *cfg)
{
	int ctl[ZYGOTE_MAX_DEVICES] = { 0 };
	unsigned nr = 0;
	if (cfg->nr_devices > ZYGOTE_MAX_DEVICES)
		return -EINVAL;
	CLEANUP(zygote_cleanup) struct zygote *z = zygote_alloc(cfg);
	if (!z)
		return -ENOMEM;
	CLEANUP(fd_cleanup) int life = -1;
	int err = zygote_pair(SOCK_SEQPACKET, &z->life, &life);
	for (; !err && nr < cfg->nr_devices; nr += !err)
		err = zygote_pair(SOCK_SEQPACKET, &z->devices[nr].ctl, &ctl[nr]);
	if (!err)
		err = zygote_fork(z, cfg, life, ctl);
	while (nr)
		fd_close(ctl[--nr]);
	if (err)
		return err;
	*out = take(z);
	return 0;
}

void zygote_destroy(struct zygote *z)
{
	if (!z)
		return;
	fd_close(z->life);
	for (unsigned i = 0; i < z->nr_devices; i++) {
		fd_close(z->devices[i].ctl);
		mutex_fini(&z->devices[i].lock);
	}
	if (z->pid)
		while (waitpid(z->pid, NULL, 0) < 0 && errno == EINTR)
			;
	free(z->devices);
	free(z);
}

struct zygote_device *zygote_device(struct zygote *z, unsigned dev)
{
	BUG_ON(dev >= z->nr_devices);
	return &z->devices[dev];
}

void zygote_set_gift(struct zygote_device *d, const struct zygote_gift *g)
{
	BUG_ON(g->nr_fds > ZYGOTE_MAX_FDS);
	d->gift = *g;
}

/* --- requests --- */

static int zygote_ask(struct zygote_device *d)
{
	struct zygote_request r = { .op = ZYGOTE_SPAWN,
				    .cols = d->gift.cols,
				    .rows = d->gift.rows,
				    .nr_fds = d->gift.nr_fds,
				    .is_distrusted = d->is_distrusted };
	int fds[ZYGOTE_REQUEST_FDS];
	unsigned nr = 0;
	for (unsigned i = 0; i < d->gift.nr_fds; i++) {
		if (d->gift.fds[i] < 0)
			continue;
		r.fd_map |= 1u << i;
		fds[nr++] = d->gift.fds[i];
	}
	if (d->gift.counters >= 0) {
		r.fd_map |= 1u << ZYGOTE_MAX_FDS;
		fds[nr++] = d->gift.counters;
	}
	int err = zygote_send(d->ctl, &r, sizeof(r), fds, nr);
	d->is_asked = !err;
	d->is_distrusted = d->is_distrusted && err;
	return err;
}

void zygote_start(struct zygote_device *d)
{
	if (!d->is_asked)
		ignore(zygote_ask(d)); /* zygote_connect() asks again, and says what is wrong */
}

void zygote_kill(struct zygote_device *d)
{
	struct zygote_request r = { .op = ZYGOTE_KILL };
	ignore(zygote_send(d->ctl, &r, sizeof(r), NULL, 0)); /* gone: so is the device */
}

static void zygote_note_end(struct zygote_device *d, const struct zygote_reply *r)
{
	atomic_store_explicit(&d->pid, 0, memory_order_relaxed);
	if (r->status > 128)
		log_warn("%s: its process %d was ended by signal %d (%s)", d->name, r->pid,
			 r->status - 128, strsignal(r->status - 128));
	else if (r->status)
		log_warn("%s: its process %d ended with status %d", d->name, r->pid, r->status);
	else
		log_debug("%s: its process %d ended", d->name, r->pid);
}

static void zygote_note_spawn(struct zygote_device *d, const struct zygote_reply *r)
{
	mutex_lock(&d->lock);
	memcpy(d->about, r->about, sizeof(d->about));
	memcpy(d->version, r->version, sizeof(d->version));
	memcpy(d->path, r->path, sizeof(d->path));
	mutex_unlock(&d->lock);
	atomic_store_explicit(&d->pid, r->pid, memory_order_relaxed);
	atomic_store_explicit(&d->lacks, r->lacks, memory_order_relaxed);
}

/* The answer to a spawn; ends of earlier processes come before it. */
static int zygote_await(struct zygote_device *d, int *sock)
{
	for (;;) {
		struct zygote_reply r;
		int fds[ZYGOTE_REQUEST_FDS];
		unsigned nr = 0;
		int err = zygote_recv(d->ctl, &r, sizeof(r), fds, &nr, true);
		if (err)
			return err;
		if (r.news == ZYGOTE_SPAWNED && nr == 1) {
			zygote_note_spawn(d, &r);
			*sock = fds[0];
			return 0;
		}
		while (nr)
			fd_close(fds[--nr]);
		if (r.news == ZYGOTE_ENDED) {
			zygote_note_end(d, &r);
		} else {
			d->status = r.status;
			return r.news == ZYGOTE_FAILED && r.err < 0 ? r.err : -EPROTO;
		}
	}
}

int zygote_connect(struct zygote_device *d)
{
	int sock = -1;
	int err = d->is_asked ? 0 : zygote_ask(d);
	if (!err)
		err = zygote_await(d, &sock);
	d->is_asked = false;
	return err ? err : sock;
}

int zygote_status(const struct zygote_device *d)
{
	return d->status;
}

uint32_t zygote_lacks(const struct zygote_device *d)
{
	return atomic_load_explicit(&d->lacks, memory_order_relaxed);
}

void zygote_about(struct zygote_device *d, void *about, size_t len)
{
	BUG_ON(len > sizeof(d->about));
	mutex_lock(&d->lock);
	memcpy(about, d->about, len);
	mutex_unlock(&d->lock);
}

void zygote_program(struct zygote_device *d, char version[ZYGOTE_VERSION_BYTES],
		    char path[ZYGOTE_PATH_BYTES])
{
	mutex_lock(&d->lock);
	memcpy(version, d->version, ZYGOTE_VERSION_BYTES);
	memcpy(path, d->path, ZYGOTE_PATH_BYTES);
	mutex_unlock(&d->lock);
}

void zygote_distrust(struct zygote_device *d)
{
	d->is_distrusted = true;
}

pid_t zygote_pid(const struct zygote_device *d)
{
	return atomic_load_explicit(&d->pid, memory_order_relaxed);
}

/* --- errands --- */

/* With @fd (-1: none); *got is the descriptor that comes with the answer, or -1. */
static int zygote_run_errand(struct zygote *z, const struct zygote_errand *e, int fd,
			     struct zygote_answer *a, int *got)
{
	int fds[ZYGOTE_REQUEST_FDS];
	unsigned nr;
	*got = -1;
	int err = zygote_send(z->life, e, sizeof(*e), &fd, fd >= 0);
	if (!err)
		err = zygote_recv(z->life, a, sizeof(*a), fds, &nr, true);
	if (err)
		return err;
	while (nr > 1)
		fd_close(fds[--nr]);
	if (nr)
		*got = fds[0];
	return a->err;
}

int zygote_order(struct zygote *z, unsigned dev, unsigned what, const void *arg, size_t len,
		 bool *is_done)
{
	struct zygote_errand e = { .dev = dev, .what = what, .len = (uint32_t)len };
	struct zygote_answer a;
	if (len > sizeof(e.arg))
		return -EMSGSIZE;
	memcpy(e.arg, arg, len);
	CLEANUP(fd_cleanup) int none = -1;
	int err = zygote_run_errand(z, &e, -1, &a, &none);
	*is_done = !err && a.is_done;
	return err;
}

int zygote_try(struct zygote *z, unsigned dev, int fd, const char *path, int *trial)
{
	size_t len = strlen(path), most = ZYGOTE_PATH_BYTES - 1;
	struct zygote_errand e = { .dev = dev };
	struct zygote_answer a;
	CLEANUP(fd_cleanup) int verdict = -1;
	if (len > most)
		path += len - most;
	while (len > most && ((unsigned char)*path & 0xc0) == 0x80)
		path++; /* within a letter of UTF-8 */
	len = strlen(path);
	e.len = (uint32_t)len;
	memcpy(e.arg, path, len);
	int err = zygote_run_errand(z, &e, fd, &a, &verdict);
	if (!err && verdict < 0)
		err = -EPROTO;
	if (!err)
		*trial = take_fd(verdict);
	return err;
}

int zygote_verdict(int trial, struct zygote_verdict *why)
{
	int fds[ZYGOTE_REQUEST_FDS];
	unsigned nr;
	struct zygote_answer a = { 0 };
	int err = zygote_recv(trial, &a, sizeof(a), fds, &nr, false);
	while (nr)
		fd_close(fds[--nr]);
	*why = (struct zygote_verdict){ .status = a.status,
					.handover = a.handover,
					.lacks = a.lacks };
	memcpy(why->version, a.version, sizeof(why->version));
	return err ? err : a.err;
}
