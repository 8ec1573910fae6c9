/*
 * vhost_client.c - measures a vhost-user-blk server, or checks that it keeps what it is given.
 *
 * The loop is the driver of a guest with nothing else to do: it keeps every queue filled to the
 * depth asked for, and between completions either polls the used rings or sleeps on the call
 * descriptors. The server's CPU time is what its process's clock says before and after; io_uring's
 * kernel workers are threads of the process, and in it.
 */
#include "vhost_client.h"
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define SECTOR      512u
#define STUCK_NS    20000000000ull /* without any completion */
#define CHECK_NS    1000000ull     /* between two looks whether the server is there */
#define BUCKET_BITS 5
#define NR_BUCKETS  (64u << BUCKET_BITS)

/* Counters of the measured part. */
struct run {
	uint64_t done, flushes, errors, verified;
	uint64_t latency[NR_BUCKETS]; /* logarithmic, 32 steps an octave */
	uint64_t blocks;              /* of o->bs in the span */
	uint64_t cursor;              /* sequential */
	uint64_t since_flush, last_done_ns;
	uint32_t *seq; /* verify: what a block holds; 0: not known */
	uint8_t *is_busy;
	uint32_t next_seq;
	uint64_t rng;
};

void client_die(const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	(void)fprintf(stderr, "vhost_client: ");
	(void)vfprintf(stderr, fmt, ap);
	(void)fprintf(stderr, "\n");
	va_end(ap);
	exit(1);
}

uint64_t client_now_ns(void)
{
	struct timespec t;
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* --- figures --- */

static unsigned bucket_of(uint64_t ns)
{
	if (ns < 1u << BUCKET_BITS)
		return (unsigned)ns;
	unsigned top = 63u - (unsigned)__builtin_clzll(ns), shift = top - BUCKET_BITS;
	return (shift << BUCKET_BITS) + (unsigned)(ns >> shift);
}

static double percentile_us(const struct run *r, double share)
{
	uint64_t want = (uint64_t)((double)r->done * share), seen = 0;
	for (unsigned i = 0; i < NR_BUCKETS; i++) {
		seen += r->latency[i];
		if (seen <= want)
			continue;
		if (i < 2u << BUCKET_BITS)
			return i / 1e3;
		unsigned shift = (i >> BUCKET_BITS) - 1;
		return (double)((uint64_t)(i - (shift << BUCKET_BITS)) << shift) / 1e3;
	}
	return 0;
}

/* CPU time of @pid in ns: all its threads, the kernel's workers and those that ended included. */
static uint64_t process_cpu_ns(int pid)
{
	clockid_t clock;
	struct timespec t;
	if (!pid)
		return 0;
	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
		client_die("process %d: no CPU clock", pid);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* --- what a block holds --- */

static uint64_t rng_next(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	*s ^= *s << 17;
	return *s;
}

static void block_fill(uint64_t *data, unsigned bs, uint64_t block, uint32_t seq)
{
	uint64_t s = (block + 1) * 0x9e3779b97f4a7c15ull ^ (uint64_t)seq << 32 ^ seq;
	data[0] = block;
	data[1] = seq;
	for (unsigned i = 2; i < bs / 8; i++)
		data[i] = rng_next(&s);
}

static void block_check(const struct client *c, const struct client_req *q, uint32_t seq)
{
	static uint64_t want[CLIENT_MAX_BS / 8];
	const uint64_t *got = (const uint64_t *)(const void *)q->data;
	block_fill(want, c->o.bs, q->block, seq);
	if (memcmp(want, got, c->o.bs) != 0)
		client_die("block %llu: wrote %u, read block %llu number %llu",
			   (unsigned long long)q->block, seq, (unsigned long long)got[0],
			   (unsigned long long)got[1]);
}

/* --- requests --- */

static uint64_t pick_block(struct client *c, struct run *r)
{
	for (;;) {
		uint64_t b = c->o.is_sequential ? r->cursor++ % r->blocks
						: rng_next(&r->rng) % r->blocks;
		if (!r->is_busy || !r->is_busy[b])
			return b;
	}
}

static void begin(struct client *c, struct client_queue *q, struct run *r, uint64_t now)
{
	struct client_req *x = &q->req[q->free[--q->nr_free]];
	bool flush = c->o.flush_every && ++r->since_flush >= c->o.flush_every;
	x->start_ns = now;
	x->is_out = true;
	*x->status = 0xff;
	if (flush) {
		r->since_flush = 0;
		x->type = VIRTIO_BLK_T_FLUSH;
		x->block = UINT64_MAX;
	} else {
		bool write = c->o.write_percent && rng_next(&r->rng) % 100 < c->o.write_percent;
		x->type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
		x->block = pick_block(c, r);
		if (r->is_busy)
			r->is_busy[x->block] = 1;
		if (write && r->seq) {
			r->seq[x->block] = ++r->next_seq;
			block_fill((uint64_t *)(void *)x->data, c->o.bs, x->block, r->next_seq);
		}
	}
	*x->hdr = (struct virtio_blk_outhdr){ htole32(x->type), 0,
					      htole64(flush ? 0 : x->block * (c->o.bs / SECTOR)) };
	client_ring_add(c, q, x);
	q->out++;
}

static void end(struct client *c, struct client_queue *q, struct run *r, struct client_req *x,
		uint64_t now)
{
	if (!x->is_out)
		client_die("request %u of a queue completed twice", x->slot);
	if (*x->status != VIRTIO_BLK_S_OK)
		client_die("request of type %u: status %u", x->type, *x->status);
	x->is_out = false;
	r->done++;
	r->latency[bucket_of(now - x->start_ns)]++;
	if (x->type == VIRTIO_BLK_T_FLUSH)
		r->flushes++;
	else if (r->is_busy)
		r->is_busy[x->block] = 0;
	if (r->seq && x->type == VIRTIO_BLK_T_IN && r->seq[x->block]) {
		block_check(c, x, r->seq[x->block]);
		r->verified++;
	}
	q->free[q->nr_free++] = x->slot;
	q->out--;
}

/* --- the loop --- */

/* Take what is complete, and fill up. True: something was complete. */
static bool turn(struct client *c, struct run *r, bool may_begin)
{
	bool any = false;
	for (unsigned i = 0; i < c->o.queues; i++) {
		struct client_queue *q = &c->q[i];
		struct client_req *x;
		uint64_t now = 0;
		while ((x = client_ring_take(c, q))) {
			now = now ? now : client_now_ns();
			end(c, q, r, x, now);
			any = true;
		}
		if (!now && q->nr_free && may_begin)
			now = client_now_ns();
		if (now)
			r->last_done_ns = now;
		while (may_begin && q->nr_free)
			begin(c, q, r, now);
		client_ring_kick(c, q);
	}
	return any;
}

static void sleep_until_called(struct client *c)
{
	struct pollfd p[CLIENT_MAX_QUEUES + 1];
	bool any = false;
	for (unsigned i = 0; i < c->o.queues; i++) {
		p[i] = (struct pollfd){ c->q[i].call, POLLIN, 0 };
		any |= client_ring_arm(c, &c->q[i]);
	}
	p[c->o.queues] = (struct pollfd){ c->sock, POLLIN, 0 };
	if (!any)
		(void)poll(p, c->o.queues + 1, 1000);
	for (unsigned i = 0; i < c->o.queues; i++) {
		eventfd_t n;
		if (!any && p[i].revents && !eventfd_read(c->q[i].call, &n))
			c->calls += n;
		client_ring_disarm(c, &c->q[i]);
	}
}

static bool any_out(const struct client *c)
{
	for (unsigned i = 0; i < c->o.queues; i++)
		if (c->q[i].out)
			return true;
	return false;
}

/* Nothing was complete: wait a moment, look after the server. */
static void idle(struct client *c, struct run *r, uint64_t *checked)
{
	if (c->o.is_sleeping)
		sleep_until_called(c);
	else
		__builtin_ia32_pause();
	uint64_t now = client_now_ns();
	if (now - *checked < CHECK_NS)
		return;
	*checked = now;
	if (client_is_cut_off(c)) {
		if (!c->o.has_reconnect)
			client_die("the server hung up");
		client_reconnect(c);
		r->last_done_ns = client_now_ns();
	}
	if (now > r->last_done_ns && now - r->last_done_ns > STUCK_NS)
		client_die("no request completed for %llu s", STUCK_NS / 1000000000ull);
}

static void run_for(struct client *c, struct run *r, double seconds)
{
	uint64_t start = client_now_ns(), stop = start + (uint64_t)(seconds * 1e9), checked = start;
	r->last_done_ns = start;
	for (;;) {
		bool may_begin = r->last_done_ns < stop && client_now_ns() < stop;
		if (!turn(c, r, may_begin)) {
			if (!may_begin && !any_out(c))
				return;
			idle(c, r, &checked);
		}
	}
}

/* --- main --- */

static void report(const struct client *c, const struct run *r, double seconds, uint64_t cpu_ns,
		   uint64_t own_ns)
{
	double n = r->done ? (double)r->done : 1;
	(void)printf(
		"{\"requests\": %llu, \"seconds\": %.6f, \"iops\": %.1f, \"server_cpu_ns\": %.2f, "
		"\"client_cpu_ns\": %.2f, \"kicks\": %.5f, \"interrupts\": %.5f, \"flushes\": "
		"%llu, "
		"\"p50_us\": %.3f, \"p90_us\": %.3f, \"p99_us\": %.3f, \"p999_us\": %.3f, "
		"\"verified\": %llu, \"reconnects\": %llu}\n",
		(unsigned long long)r->done, seconds, n / seconds, (double)cpu_ns / n,
		(double)own_ns / n, (double)c->kicks / n, (double)c->calls / n,
		(unsigned long long)r->flushes, percentile_us(r, 0.5), percentile_us(r, 0.9),
		percentile_us(r, 0.99), percentile_us(r, 0.999), (unsigned long long)r->verified,
		(unsigned long long)c->reconnects);
}

/* A second pass over all that was ever written: nothing may have come later than it should. */
static void verify_all(struct client *c, struct run *r)
{
	c->o.write_percent = c->o.flush_every = 0;
	c->o.is_sequential = true;
	r->cursor = 0;
	uint64_t checked = client_now_ns();
	r->last_done_ns = checked;
	while (r->cursor < r->blocks)
		if (!turn(c, r, true))
			idle(c, r, &checked);
	while (any_out(c))
		if (!turn(c, r, false))
			idle(c, r, &checked);
}

static unsigned number(const char *text, unsigned long max)
{
	char *e;
	unsigned long v = strtoul(text, &e, 10);
	if (*e || e == text || v > max)
		client_die("'%s': give a number up to %lu", text, max);
	return (unsigned)v;
}

enum kind { TEXT, FLAG, NUMBER, MIB, SECONDS };

static const struct client_option {
	const char *name;
	enum kind kind;
	size_t at; /* in struct client_options */
	unsigned long max;
} client_options[] = {
#define AT(field) offsetof(struct client_options, field)
	{ "socket", TEXT, AT(socket), 0 },
	{ "queues", NUMBER, AT(queues), CLIENT_MAX_QUEUES },
	{ "depth", NUMBER, AT(depth), CLIENT_MAX_DEPTH },
	{ "bs", NUMBER, AT(bs), CLIENT_MAX_BS },
	{ "write", NUMBER, AT(write_percent), 100 },
	{ "flush-every", NUMBER, AT(flush_every), 1u << 30 },
	{ "span-mib", MIB, AT(span), 1u << 24 },
	{ "seconds", SECONDS, AT(seconds), 0 },
	{ "packed", FLAG, AT(is_packed), 0 },
	{ "indirect", FLAG, AT(is_indirect), 0 },
	{ "sleep", FLAG, AT(is_sleeping), 0 },
	{ "sequential", FLAG, AT(is_sequential), 0 },
	{ "verify", FLAG, AT(is_verifying), 0 },
	{ "reconnect", FLAG, AT(has_reconnect), 0 },
	{ "pid", NUMBER, AT(server_pid), INT32_MAX },
	{ "cpu", NUMBER, AT(cpu), CPU_SETSIZE - 1 },
	{ "seed", NUMBER, AT(seed), UINT32_MAX },
#undef AT
};
#define NR_OPTIONS (sizeof(client_options) / sizeof(client_options[0]))

static void set_option(struct client_options *o, const struct client_option *what, const char *text)
{
	void *to = (char *)o + what->at;
	switch (what->kind) {
	case TEXT:
		*(const char **)to = text;
		break;
	case FLAG:
		*(bool *)to = true;
		break;
	case NUMBER:
		*(unsigned *)to = number(text, what->max);
		break;
	case MIB:
		*(uint64_t *)to = (uint64_t)number(text, what->max) << 20;
		break;
	case SECONDS:
		*(double *)to = strtod(text, NULL);
		break;
	}
}

static void parse(struct client_options *o, int argc, char **argv)
{
	struct option longs[NR_OPTIONS + 1] = { 0 };
	for (unsigned i = 0; i < NR_OPTIONS; i++)
		longs[i] = (struct option){ client_options[i].name, client_options[i].kind != FLAG,
					    NULL, (int)i };
	for (int i; (i = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		if (i == '?')
			client_die("unknown option");
		set_option(o, &client_options[i], optarg);
	}
	if (!o->socket || !o->queues || !o->depth || !o->bs || o->bs % SECTOR)
		client_die("--socket PATH, and counts that are not 0");
	if (!o->is_indirect && 3 * o->depth > CLIENT_RING)
		client_die("a ring of %u has no room for that depth without --indirect",
			   CLIENT_RING);
}

static void prepare(struct client *c, struct run *r)
{
	if (c->o.cpu >= 0) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET((size_t)c->o.cpu, &set);
		if (sched_setaffinity(0, sizeof(set), &set))
			client_die("CPU %d: %s", c->o.cpu, strerror(errno));
	}
	client_make_memory(c);
	for (unsigned i = 0; i < c->o.queues; i++)
		client_ring_disarm(c, &c->q[i]);
	client_connect(c);
	uint64_t span = c->o.span && c->o.span < c->capacity_bytes ? c->o.span : c->capacity_bytes;
	r->blocks = span / c->o.bs;
	r->rng = 0x9e3779b97f4a7c15ull ^ ((uint64_t)c->o.seed << 17 | 1);
	if (!r->blocks)
		client_die("the disk is smaller than a block");
	if (!c->o.is_verifying)
		return;
	r->seq = calloc(r->blocks, sizeof(*r->seq));
	r->is_busy = calloc(r->blocks, 1);
	if (!r->seq || !r->is_busy || r->blocks < 2ull * c->o.queues * c->o.depth)
		client_die("verifying wants a span of more blocks than are in flight, and memory");
}

int main(int argc, char **argv)
{
	static struct client c = {
		.o = { .queues = 1, .depth = 1, .bs = 4096, .seconds = 1, .cpu = -1 }
	};
	static struct run r;
	struct timespec own0, own1;
	parse(&c.o, argc, argv);
	prepare(&c, &r);
	run_for(&c, &r, c.o.seconds / 10); /* warm up */
	r.done = r.flushes = c.kicks = c.calls = 0;
	memset(r.latency, 0, sizeof(r.latency));
	uint64_t cpu = process_cpu_ns(c.o.server_pid), start = client_now_ns();
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own0);
	run_for(&c, &r, c.o.seconds);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own1);
	double seconds = (double)(client_now_ns() - start) / 1e9;
	cpu = process_cpu_ns(c.o.server_pid) - cpu;
	struct run shown = r;
	if (c.o.is_verifying)
		verify_all(&c, &r);
	shown.verified = r.verified;
	report(&c, &shown, seconds, cpu,
	       (uint64_t)((own1.tv_sec - own0.tv_sec) * 1000000000ll + own1.tv_nsec -
			  own0.tv_nsec));
	return 0;
}
