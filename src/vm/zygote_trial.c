/*
 * zygote_trial.c - see zygote_priv.h: a program is made to begin, as it would for a device, while
 * the device still has its old one. What cannot even do that never replaces anything.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/num.h"
#include "zygote_priv.h"

#define TRIAL_NS (10 * NSEC_PER_SEC)

/* Some file systems call every file a program. */
static bool trial_is_image(const struct zygote_config *cfg, const struct stat *st)
{
	int fds[ZYGOTE_MAX_DEVICES];
	struct stat image;
	unsigned nr = cfg->ops->keep ? cfg->ops->keep(cfg->ctx, fds, ZYGOTE_MAX_DEVICES) : 0;
	for (unsigned i = 0; i < nr; i++)
		if (!fstat(fds[i], &image) && image.st_dev == st->st_dev &&
		    image.st_ino == st->st_ino)
			return true;
	return false;
}

/*
 * Main has files that the guest fills, and can make some in memory. None of them is a program: one
 * has a name in a file system and the right to be executed, which main can give to nothing, and
 * comes from somebody who does not write to it.
 */
static int trial_check_file(const struct zygote_config *cfg, int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);
	if (flags < 0 || fstat(fd, &st))
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	bool is_program = S_ISREG(st.st_mode) && st.st_nlink && (st.st_mode & 0111);
	bool is_ours = (flags & O_ACCMODE) != O_RDONLY || trial_is_image(cfg, &st);
	return is_program && !is_ours ? 0 : -EACCES;
}

int zygote_trial_begin(struct zygote_trial *t, const struct zygote_config *cfg,
		       const struct zygote_program *program, unsigned dev, unsigned ns)
{
	int p[2];
	int err = t->pid ? -EBUSY : trial_check_file(cfg, program->fd);
	if (err)
		return err;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, p))
		return -errno;
	struct zygote_child c = { .dev = dev,
				  .sock = -1,
				  .file = -1,
				  .ready = p[1],
				  .ns = ns,
				  .binary = program->fd,
				  .gift = { .counters = -1 },
				  .is_trial = true };
	pid_t pid = zygote_clone(cfg, &c);
	if (!pid)
		zygote_be_child(cfg, &c);
	fd_close(p[1]);
	if (pid < 0) {
		fd_close(p[0]);
		return pid;
	}
	*t = (struct zygote_trial){ .pid = pid, .verdict = -1, .ready = p[0], .program = *program };
	t->end_ns = clock_ns() + TRIAL_NS;
	return 0;
}

static void trial_hear(struct zygote_trial *t)
{
	struct zygote_word w;
	int err = t->ready < 0 ? -EPIPE : zygote_hear(t->ready, &w);
	if (err == -EPIPE)
		fd_close(take_fd(t->ready)); /* its end tells more */
	if (err == -EAGAIN || err == -EPIPE)
		return;
	t->is_told = true;
	t->answer.err = err;
	t->answer.handover = w.handover;
	t->answer.lacks = w.lacks;
	memcpy(t->answer.version, w.version, sizeof(t->answer.version));
}

void zygote_trial_look(struct zygote_trial *t, uint64_t now_ns)
{
	if (!t->pid)
		return;
	if (!t->is_told)
		trial_hear(t);
	if (now_ns < t->end_ns)
		return;
	if (!t->is_told || !t->answer.err)
		t->answer.err = -ETIMEDOUT;
	t->is_told = true;
	t->end_ns = UINT64_MAX;
	(void)kill(t->pid, SIGKILL); /* ours until it is reaped */
}

void zygote_trial_end(struct zygote_trial *t, int status)
{
	if (!t->is_told)
		trial_hear(t); /* it may have spoken since */
	if (!t->is_told || (!t->answer.err && status))
		t->answer.err = -ECANCELED;
	t->answer.status = status;
	t->pid = 0;
	fd_close(take_fd(t->ready));
}
