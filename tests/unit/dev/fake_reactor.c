/* fake_reactor.c - see fake_reactor.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/err.h"
#include "base/num.h"
#include "fake_reactor.h"
#include "iouring/afile.h"

struct reactor {
	struct list link;
	struct mpsc inbox;
	struct list sources, ops;
	struct reactor_stats stats;
};

unsigned fake_held;
bool fake_is_busy;
bool (*fake_hook)(const struct fake_op *o, int32_t *res, uint64_t *max);
struct fake_op fake_last;
unsigned fake_max_created;
static unsigned fake_nr_created;
static unsigned fake_counts[FAKE_TIMEOUT + 1];
static struct list fake_all = LIST_INIT(fake_all);

int reactor_create(struct reactor **out, const struct reactor_config *cfg)
{
	(void)cfg;
	if (fake_max_created && fake_nr_created == fake_max_created)
		return -ENOSYS;
	fake_nr_created++;
	struct reactor *r = zalloc_aligned(align_up(sizeof(*r), CACHE_ALIGN));
	if (!r)
		return -ENOMEM;
	mpsc_init(&r->inbox);
	list_init(&r->sources);
	list_init(&r->ops);
	list_push_back(&fake_all, &r->link);
	*out = r;
	return 0;
}

void reactor_destroy(struct reactor *r)
{
	if (!r)
		return;
	assert_true(list_is_empty(&r->ops));
	assert_true(list_is_empty(&r->sources));
	list_remove(&r->link);
	free(r);
}

int reactor_begin(struct reactor *r)
{
	(void)r;
	return 0;
}

void reactor_run(struct reactor *r)
{
	(void)r; /* the test's thread does the work */
}

void reactor_stop(struct reactor *r)
{
	(void)r;
}

void reactor_post(struct reactor *r, struct reactor_msg *m)
{
	mpsc_push(&r->inbox, &m->node);
}

void reactor_add_source(struct reactor *r, struct reactor_source *s)
{
	list_push_back(&r->sources, &s->link);
}

void reactor_del_source(struct reactor *r, struct reactor_source *s)
{
	(void)r;
	list_remove(&s->link);
}

static void fake_ask(struct reactor *r, struct reactor_op *op, const struct fake_op *what)
{
	struct fake_op *o = calloc(1, sizeof(*o));
	assert_non_null(o);
	*o = *what;
	if (o->kind == FAKE_TIMEOUT)
		o->off = (int64_t)(clock_ns() + o->len);
	o->reactor = r;
	o->op = op;
	list_push_back(&r->ops, &o->link);
	if (o->kind == FAKE_READ && o->off == -1)
		return; /* a doorbell */
	fake_counts[o->kind]++;
	fake_last = *o;
}

void reactor_readv(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		   unsigned nr, int64_t off)
{
	fake_ask(
		r, op,
		&(struct fake_op){ .kind = FAKE_READ, .fd = fd, .iov = iov, .nr = nr, .off = off });
}

void reactor_writev(struct reactor *r, struct reactor_op *op, int fd, const struct iovec *iov,
		    unsigned nr, int64_t off, int rwf_flags)
{
	fake_ask(r, op,
		 &(struct fake_op){ .kind = FAKE_WRITE,
				    .fd = fd,
				    .iov = iov,
				    .nr = nr,
				    .off = off,
				    .flags = rwf_flags });
}

void reactor_writev_cached(struct reactor *r, struct reactor_op *op, int fd,
			   const struct iovec *iov, unsigned nr, int64_t off)
{
	reactor_writev(r, op, fd, iov, nr, off, 0);
}

void reactor_fdatasync(struct reactor *r, struct reactor_op *op, int fd)
{
	fake_ask(r, op, &(struct fake_op){ .kind = FAKE_SYNC, .fd = fd });
}

void reactor_fallocate(struct reactor *r, struct reactor_op *op, int fd, int mode, uint64_t off,
		       uint64_t len)
{
	fake_ask(r, op,
		 &(struct fake_op){ .kind = FAKE_ALLOC,
				    .fd = fd,
				    .flags = mode,
				    .off = (int64_t)off,
				    .len = len });
}

void reactor_poll_fd(struct reactor *r, struct reactor_op *op, int fd, uint32_t events)
{
	fake_ask(r, op, &(struct fake_op){ .kind = FAKE_POLL, .fd = fd, .flags = (int)events });
}

void reactor_timeout(struct reactor *r, struct reactor_op *op, uint64_t ns)
{
	fake_ask(r, op, &(struct fake_op){ .kind = FAKE_TIMEOUT, .len = ns });
}

void reactor_cancel(struct reactor *r, struct reactor_op *op)
{
	list_for_each (n, &r->ops) {
		struct fake_op *o = container_of(n, struct fake_op, link);
		if (o->op == op)
			o->is_cancelled = true;
	}
}

const char *reactor_engine_name(const struct reactor *r)
{
	(void)r;
	return "fake";
}

bool fake_is_writing;

bool reactor_is_writing(const struct reactor *r)
{
	(void)r;
	return fake_is_writing;
}

const struct reactor_stats *reactor_stats_of(const struct reactor *r)
{
	return &r->stats;
}

static int32_t fake_poll(const struct fake_op *o, short events)
{
	struct pollfd p = { .fd = o->fd, .events = events };
	return poll(&p, 1, 0) == 1 ? p.revents : -EAGAIN;
}

static int32_t fake_move(const struct fake_op *o, uint64_t max)
{
	struct iovec part[IOV_MAX];
	unsigned nr = 0;
	for (; nr < o->nr && max; nr++) {
		part[nr] = o->iov[nr];
		part[nr].iov_len = min_size(part[nr].iov_len, max);
		max -= part[nr].iov_len;
	}
	ssize_t n = o->kind == FAKE_READ ? preadv2(o->fd, part, (int)nr, o->off, o->flags)
					 : pwritev2(o->fd, part, (int)nr, o->off, o->flags);
	return n < 0 ? -errno : (int32_t)n;
}

/* Carry @o out. False: it has to wait. */
static bool fake_carry_out(const struct fake_op *o, int32_t *res)
{
	uint64_t max = UINT64_MAX;
	bool may_wait = o->kind == FAKE_POLL || (o->kind != FAKE_SYNC && o->off == -1);
	if (o->is_cancelled && (may_wait || o->kind == FAKE_TIMEOUT)) {
		*res = -ECANCELED;
		return true;
	}
	if (fake_held >> o->kind & 1)
		return false;
	if (o->kind == FAKE_TIMEOUT) {
		*res = -ETIME;
		return clock_ns() >= (uint64_t)o->off;
	}
	if (fake_hook && fake_hook(o, res, &max))
		return true;
	if (o->kind == FAKE_POLL) {
		*res = fake_poll(o, (short)o->flags);
		return *res != -EAGAIN;
	}
	if (o->kind == FAKE_READ && o->off == -1 && fake_poll(o, POLLIN) < 0)
		return false; /* with O_NONBLOCK, too */
	if (o->kind == FAKE_SYNC)
		*res = fdatasync(o->fd) ? -errno : 0;
	else if (o->kind == FAKE_ALLOC)
		*res = fallocate(o->fd, o->flags, o->off, (off_t)o->len) ? -errno : 0;
	else
		*res = fake_move(o, max);
	return true;
}

static void fake_reap(struct reactor *r)
{
	struct list now = LIST_INIT(now), *n;
	while ((n = list_pop_front(&r->ops)))
		list_push_back(&now, n);
	while ((n = list_pop_front(&now))) {
		struct fake_op *o = container_of(n, struct fake_op, link);
		int32_t res = 0;
		if (!fake_carry_out(o, &res)) {
			list_push_back(&r->ops, n);
			continue;
		}
		struct reactor_op *op = o->op;
		free(o);
		op->done(op, res);
	}
}

static void fake_pass_one(struct reactor *r)
{
	struct mpsc_node *m;
	while ((m = mpsc_pop(&r->inbox))) {
		struct reactor_msg *msg = container_of(m, struct reactor_msg, node);
		msg->fn(msg);
	}
	list_for_each (n, &r->sources) {
		struct reactor_source *s = container_of(n, struct reactor_source, link);
		(void)s->poll(s);
	}
	fake_reap(r);
	list_for_each (n, &r->sources) {
		struct reactor_source *s = container_of(n, struct reactor_source, link);
		s->flush(s);
		if (s->is_holding && !fake_is_busy)
			s->settle(s);
		(void)s->arm(s);
	}
}

void fake_pass(void)
{
	list_for_each (n, &fake_all)
		fake_pass_one(container_of(n, struct reactor, link));
}

void fake_passes(unsigned n)
{
	while (n--)
		fake_pass();
}

void fake_step(void *ctx)
{
	(void)ctx;
	fake_pass();
}

unsigned fake_waiting(enum fake_kind kind)
{
	unsigned nr = 0;
	list_for_each (n, &fake_all) {
		struct reactor *r = container_of(n, struct reactor, link);
		list_for_each (m, &r->ops)
			nr += container_of(m, struct fake_op, link)->kind == kind;
	}
	return nr;
}

unsigned fake_asked(enum fake_kind kind)
{
	return fake_counts[kind];
}

void fake_forget(void)
{
	memset(fake_counts, 0, sizeof(fake_counts));
	memset(&fake_last, 0, sizeof(fake_last));
	fake_held = fake_nr_created = fake_max_created = 0;
	fake_is_busy = false;
	fake_hook = NULL;
}

void afile_close(struct afile *f)
{
	fd_close(f->fd);
	f->fd = -1;
}

int afile_size(const struct afile *f, uint64_t *out)
{
	struct stat st;
	if (fstat(f->fd, &st))
		return -errno;
	*out = (uint64_t)st.st_size;
	return 0;
}

static int32_t fake_script[256];
static unsigned fake_script_len, fake_script_at;
static enum fake_kind fake_script_kind;

/* Answers of the host in order; after them it works. */
static bool fake_play(const struct fake_op *o, int32_t *res, uint64_t *max)
{
	if (o->kind != fake_script_kind || (o->kind == FAKE_READ && o->off == -1))
		return false;
	if (fake_script_at >= fake_script_len)
		return false;
	int32_t r = fake_script[fake_script_at++];
	if (r > 0) {
		*max = (uint64_t)r; /* so many bytes only */
		return false;
	}
	*res = r;
	return true;
}

void fake_plan(enum fake_kind kind, const int32_t *res, unsigned nr)
{
	memcpy(fake_script, res, nr * sizeof(*res));
	fake_script_kind = kind;
	fake_script_len = nr;
	fake_script_at = 0;
	fake_hook = fake_play;
}
