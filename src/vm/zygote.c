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
#include "zygote_priv.h"

struct zygote_device {
	/* immutable after create */
	char name[16];
	int ctl;
	/* the thread that asks */
	bool is_asked; /* a spawn has no answer yet */
	struct zygote_gift gift;
	int status;
	/* written by it, read by any */
	_Atomic uint32_t lacks;
	_Atomic int pid;
	/* written before lacks is, of the first process only */
	uint8_t about[ZYGOTE_ABOUT_BYTES];
	bool has_about;
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
	z->devices = calloc(cfg->nr_devices ? cfg->nr_devices : 1, sizeof(*z->devices));
	if (!z->devices) {
		free(z);
		return NULL;
	}
	for (unsigned i = 0; i < cfg->nr_devices; i++) {
		strncpy(z->devices[i].name, cfg->names[i], sizeof(z->devices[i].name) - 1);
		z->devices[i].ctl = -1;
		z->devices[i].gift.binary = -1;
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
	for (unsigned i = 0; i < z->nr_devices; i++)
		fd_close(z->devices[i].ctl);
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
				    .nr_fds = d->gift.nr_fds };
	int fds[ZYGOTE_REQUEST_FDS];
	unsigned nr = 0;
	for (unsigned i = 0; i < d->gift.nr_fds; i++) {
		if (d->gift.fds[i] < 0)
			continue;
		r.fd_map |= 1u << i;
		fds[nr++] = d->gift.fds[i];
	}
	if (d->gift.binary >= 0) {
		r.fd_map |= 1u << ZYGOTE_MAX_FDS;
		fds[nr++] = d->gift.binary;
	}
	int err = zygote_send(d->ctl, &r, sizeof(r), fds, nr);
	d->is_asked = !err;
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
			if (!d->has_about)
				memcpy(d->about, r.about, sizeof(d->about));
			d->has_about = true;
			atomic_store_explicit(&d->pid, r.pid, memory_order_relaxed);
			atomic_store_explicit(&d->lacks, r.lacks, memory_order_relaxed);
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

void zygote_about(const struct zygote_device *d, void *about, size_t len)
{
	BUG_ON(len > sizeof(d->about));
	memcpy(about, d->about, len);
}

int zygote_order(struct zygote *z, unsigned dev, unsigned what, const void *arg, size_t len)
{
	struct zygote_errand e = { .dev = dev, .what = what, .len = (uint32_t)len };
	int fds[ZYGOTE_REQUEST_FDS];
	unsigned nr;
	int32_t answer;
	if (len > sizeof(e.arg))
		return -EMSGSIZE;
	memcpy(e.arg, arg, len);
	int err = zygote_send(z->life, &e, sizeof(e), NULL, 0);
	if (!err)
		err = zygote_recv(z->life, &answer, sizeof(answer), fds, &nr, true);
	return err ? err : answer;
}

pid_t zygote_pid(const struct zygote_device *d)
{
	return atomic_load_explicit(&d->pid, memory_order_relaxed);
}
