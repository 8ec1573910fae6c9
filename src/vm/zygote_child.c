/* zygote_child.c - see zygote_priv.h: the first and the last that a new process has of the zygote.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "zygote_priv.h"

/* Nothing of the zygote's, least of all what belongs to other devices. */
static void child_close_rest(const struct zygote_child *c)
{
	int keep[ZYGOTE_MAX_FDS + 8] = { STDIN_FILENO, STDOUT_FILENO,   STDERR_FILENO,
					 c->sock,      c->file,         c->ready,
					 c->binary,    c->gift.counters };
	unsigned nr = 8;
	for (unsigned i = 0; i < c->gift.nr_fds; i++)
		keep[nr++] = c->gift.fds[i];
	zygote_close_others(keep, nr);
}

void zygote_set_signals(void)
{
	static const int theirs[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGXFSZ };
	for (size_t i = 0; i < ARRAY_SIZE(theirs); i++)
		(void)signal(theirs[i], SIG_IGN); /* cannot fail for these */
	(void)signal(SIGCHLD, SIG_DFL);
}

/* A terminal is open for reading too, mostly: what is typed there is not for devices. */
static void child_only_write(void)
{
	CLEANUP(fd_cleanup) int fd = -1;
	if (isatty(STDERR_FILENO))
		fd = open("/proc/self/fd/2", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		(void)dup2(fd, STDERR_FILENO); /* both are good */
}

int zygote_only_speak(void)
{
	int null = open("/dev/null", O_RDWR); /* may get one of the two numbers */
	if (null < 0)
		return -errno;
	bool is_ok = dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0;
	int err = is_ok ? 0 : -errno;
	if (null > STDOUT_FILENO)
		fd_close(null);
	child_only_write();
	return err;
}

void zygote_be_child(const struct zygote_config *cfg, const struct zygote_child *c)
{
	child_close_rest(c);
	char name[16] = "";
	sigset_t none;
	/* before whatever changes credentials, which would undo it: the jail does it again */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	strncpy(name, cfg->names[c->dev], sizeof(name) - 1);
	zygote_set_signals();           /* before the mask is lifted */
	(void)prctl(PR_SET_NAME, name); /* a nicety */
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL); /* a good mask */
	_exit(cfg->ops->serve(cfg->ctx, c));
}

static void child_say(const struct zygote_child *c, struct zygote_word *w)
{
	w->handover = ZYGOTE_MAGIC | ZYGOTE_HANDOVER;
	strncpy(w->version, VMM_VERSION, sizeof(w->version) - 1);
	ignore(write(c->ready, w, sizeof(*w)) < 0); /* the zygote is gone: so are we soon */
}

void zygote_ready(const struct zygote_child *c, uint32_t lacks, const void *about, size_t len)
{
	struct zygote_word w = { .lacks = lacks };
	BUG_ON(len > sizeof(w.about));
	if (len)
		memcpy(w.about, about, len);
	child_say(c, &w);
}

void zygote_unfit(const struct zygote_child *c, int err)
{
	struct zygote_word w = { .err = err };
	child_say(c, &w);
}

int zygote_next_order(const struct zygote_child *c, struct zygote_order *o)
{
	ssize_t n = read(c->ready, o, sizeof(*o)); /* a message, and all of it */
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return n == sizeof(*o) && o->len <= sizeof(o->arg) ? 0 : -EPIPE;
}

void zygote_order_done(const struct zygote_child *c, const struct zygote_order *o, int err)
{
	struct zygote_done d = { .seq = o->seq, .err = err };
	ignore(write(c->ready, &d, sizeof(d)) < 0); /* then it is as if we had not done it */
}

/* Whatever was there is a string of letters for people, and for JSON. */
static void hear_version(char *version, size_t size)
{
	version[size - 1] = 0;
	for (char *c = version; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

int zygote_hear(int ready, struct zygote_word *w)
{
	*w = (struct zygote_word){ 0 };
	ssize_t n = read(ready, w, sizeof(*w)); /* a message, or nothing */
	if (n < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	if (!n)
		return -EPIPE;
	hear_version(w->version, sizeof(w->version));
	if ((size_t)n < sizeof(w->handover) || (w->handover & 0xffff0000u) != ZYGOTE_MAGIC)
		return -EPROTO;
	w->handover &= 0xffff;
	if (w->handover != ZYGOTE_HANDOVER)
		return -EPROTONOSUPPORT;
	return n != sizeof(*w) || w->err > 0 ? -EPROTO : w->err;
}
