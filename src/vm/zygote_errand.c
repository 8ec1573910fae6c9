/* zygote_errand.c - see zygote_loop.h: orders and programs, which main waits for one at a time. */
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "base/err.h"
#include "base/num.h"
#include "zygote_loop.h"

/* The answer to main's errand. False: it is gone. */
static bool loop_answer(struct loop *l, const struct zygote_answer *a)
{
	return !zygote_send(l->life, a, sizeof(*a), NULL, 0);
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

/* @fd is a program that comes with the errand; what becomes of it is told at the trial's end. */
static bool loop_try(struct loop *l, const struct zygote_errand *e, int fd)
{
	struct zygote_program p = { .fd = fd };
	struct zygote_answer a = { .err = -EINVAL };
	memcpy(p.path, e->arg, min_u32(e->len, sizeof(p.path) - 1));
	if (e->dev < l->cfg->nr_devices)
		a.err = zygote_trial_begin(&l->trial, l->cfg, &p, e->dev, l->ns);
	if (!a.err)
		return true;
	fd_close(fd);
	return loop_answer(l, &a);
}

void loop_on_trial(struct loop *l, int status)
{
	struct zygote_trial *t = &l->trial;
	struct slot *s = &l->slots[t->dev];
	zygote_trial_end(t, status);
	t->answer.lacks &= ~s->lacks;
	if (!t->answer.err && t->answer.lacks)
		t->answer.err = -EPERM;
	if (t->answer.err)
		fd_close(t->program.fd);
	else
		slot_upgrade(s, &t->program);
	ignore(!loop_answer(l, &t->answer)); /* its silence is noticed elsewhere */
}

void loop_hurry(struct loop *l)
{
	zygote_trial_look(&l->trial, loop_now_ns());
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
	if (err)
		return loop_answer(l, &a);
	a.err = -EINVAL;
	if (l->cfg->ops->order && e.dev < l->cfg->nr_devices && e.len <= sizeof(e.arg))
		a.err = l->cfg->ops->order(l->cfg->ctx, e.dev, e.what, e.arg, e.len);
	return loop_answer(l, &a);
}
