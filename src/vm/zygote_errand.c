/* zygote_errand.c - see zygote_loop.h: orders and programs. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/num.h"
#include "zygote_loop.h"

#define ORDER_NS (2 * NSEC_PER_SEC) /* for a process to carry out an order */

/* The answer to main's errand, with @fd (-1: none). False: it is gone. */
static bool loop_answer(struct loop *l, const struct zygote_answer *a, int fd)
{
	return !zygote_send(l->life, a, sizeof(*a), &fd, fd >= 0);
}

/* --- programs --- */

void slot_fall_back(struct slot *s)
{
	fd_close(s->program.fd);
	s->program = s->former;
	s->former = (struct zygote_program){ .fd = -1 };
}

static void slot_upgrade(struct slot *s, const struct zygote_program *p)
{
	fd_close(s->former.fd);
	s->former = s->program;
	s->program = *p;
}

/* *fd is main's end of a socket for the verdict, and the program is the trial's, on success. */
static int slot_try(struct loop *l, struct slot *s, const struct zygote_program *program, int *fd)
{
	int p[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, p))
		return -errno;
	int err = zygote_trial_begin(&s->trial, l->cfg, program, (unsigned)(s - l->slots), l->ns);
	if (err) {
		fd_close(p[0]);
		fd_close(p[1]);
		return err;
	}
	s->trial.verdict = p[0];
	*fd = p[1];
	return 0;
}

/* @fd is a program that comes with the errand. */
static bool loop_try(struct loop *l, const struct zygote_errand *e, int fd)
{
	struct zygote_program p = { .fd = fd };
	struct zygote_answer a = { .err = -EINVAL };
	CLEANUP(fd_cleanup) int verdict = -1;
	memcpy(p.path, e->arg, min_u32(e->len, sizeof(p.path) - 1));
	if (e->dev < l->cfg->nr_devices)
		a.err = slot_try(l, &l->slots[e->dev], &p, &verdict);
	if (a.err)
		fd_close(fd);
	return loop_answer(l, &a, verdict);
}

/* A program is taken only if main hears of it. */
void slot_on_trial(struct slot *s, int status)
{
	struct zygote_trial *t = &s->trial;
	zygote_trial_end(t, status);
	t->answer.lacks &= ~s->lacks;
	if (!t->answer.err && t->answer.lacks)
		t->answer.err = -EPERM;
	int err = zygote_send(t->verdict, &t->answer, sizeof(t->answer), NULL, 0);
	fd_close(take_fd(t->verdict));
	if (err || t->answer.err)
		fd_close(t->program.fd);
	else
		slot_upgrade(s, &t->program);
}

/* --- orders: the next process has them from us, the present one is told --- */

static void loop_end_order(struct loop *l, bool is_done)
{
	struct zygote_answer a = { .is_done = is_done };
	l->order.slot = NULL;
	ignore(!loop_answer(l, &a, -1)); /* its silence is noticed elsewhere */
}

/* False: it is not there, or does not listen. */
static bool slot_tell(struct loop *l, struct slot *s, const struct zygote_errand *e)
{
	struct zygote_order o = { .seq = l->order.seq + 1, .what = e->what, .len = e->len };
	memcpy(o.arg, e->arg, e->len);
	if (s->state != SLOT_SERVING || s->ready < 0 || l->order.slot ||
	    zygote_send(s->ready, &o, sizeof(o), NULL, 0))
		return false;
	s->owed++;
	l->order = (struct slot_order){ s, o.seq, clock_ns() + ORDER_NS };
	return true;
}

static bool loop_order(struct loop *l, const struct zygote_errand *e)
{
	struct zygote_answer a = { .err = -EINVAL };
	if (l->cfg->ops->order && e->dev < l->cfg->nr_devices && e->len <= sizeof(e->arg))
		a.err = l->cfg->ops->order(l->cfg->ctx, e->dev, e->what, e->arg, e->len);
	if (!a.err && slot_tell(l, &l->slots[e->dev], e))
		return true;
	return loop_answer(l, &a, -1);
}

void slot_on_done(struct loop *l, struct slot *s)
{
	struct zygote_done d;
	ssize_t n = read(s->ready, &d, sizeof(d));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(d) || !s->owed) {
		fd_close(take_fd(s->ready)); /* it will say no more that makes sense */
		loop_drop_order(l, s);
		return;
	}
	s->owed--;
	if (l->order.slot == s && d.seq == l->order.seq)
		loop_end_order(l, !d.err);
}

void loop_drop_order(struct loop *l, const struct slot *s)
{
	if (l->order.slot == s)
		loop_end_order(l, false);
}

void loop_hurry(struct loop *l)
{
	uint64_t now = clock_ns();
	for (unsigned i = 0; i < l->cfg->nr_devices; i++)
		zygote_trial_look(&l->slots[i].trial, now);
	if (l->order.slot && now >= l->order.end_ns)
		loop_end_order(l, false);
}

bool loop_on_life(struct loop *l)
{
	struct zygote_errand e;
	int fds[ZYGOTE_REQUEST_FDS];
	unsigned nr;
	int err = zygote_recv(l->life, &e, sizeof(e), fds, &nr, false);
	if (err == -EAGAIN)
		return true;
	while (nr > 1 || (err && nr))
		fd_close(fds[--nr]);
	if (err && err != -EMFILE) /* no room for a program: main is told */
		return false;
	if (nr)
		return loop_try(l, &e, fds[0]);
	struct zygote_answer a = { .err = err };
	return err ? loop_answer(l, &a, -1) : loop_order(l, &e);
}
