/* console_keep.c - see console_priv.h: what a console leaves to the one that takes over from it. */
#include "console_priv.h"
#include <string.h>
#include <unistd.h>
#include "base/num.h"

#define KEEP_VERSION 1u
#define KEEP_TELLING (1u << 31)
#define KEEP_CUT     (1u << 16)

static_assert(sizeof(struct console_keep) <= CONSOLE_KEEP_BYTES, "what the owner provides");

/* One store that stays before the ones after it: the reader is whoever comes after our death. */
#define keep_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

void console_keep_open(struct console *con, void *mem)
{
	struct console_keep *k = mem ? mem : &con->own_keep;
	con->keep = k;
	if (k->version == KEEP_VERSION)
		return;
	memset(k, 0, sizeof(*k));
	keep_store(&k->version, KEEP_VERSION);
}

/* The layout stays: whoever uses it may be there, and goes on with it. */
void console_keep_forget(void *mem)
{
	struct console_keep *k = mem;
	memset(k->ports, 0, sizeof(k->ports));
	keep_store(&k->telling, 0);
}

/* All that is kept of a queue and not void without its account: where output was cut. */
void console_keep_forget_queue(void *mem, uint16_t idx)
{
	struct console_keep *k = mem;
	unsigned port = idx < 2 ? 0 : (idx - 2u) / 2;
	if (idx % 2 && idx != CONSOLE_CTRL_TX && port < CONSOLE_MAX_PORTS)
		keep_store(&k->ports[port].out_cut, 0);
}

/* --- ports --- */

uint32_t console_state(const struct console_port *p)
{
	return __atomic_load_n(&p->kept->state, __ATOMIC_RELAXED) & CONSOLE_STATES;
}

void console_set_state(struct console_port *p, uint32_t state)
{
	keep_store(&p->kept->state, state);
}

/* --- messages to the driver --- */

void console_keep_telling(struct console_port *p, enum console_news news)
{
	struct console *con = p->con;
	keep_store(&con->keep->telling, KEEP_TELLING | (uint32_t)(p - con->ports) << 8 | news);
	console_set_state(p, console_state(p) & ~(1u << news));
}

void console_keep_told(struct console *con)
{
	keep_store(&con->keep->telling, 0);
}

void console_keep_tell_again(struct console *con)
{
	uint32_t t = con->keep->telling, id = (t & ~KEEP_TELLING) >> 8, news = t & 0xff;
	if ((t & KEEP_TELLING) && id < con->nr_ports && news < CONSOLE_NR_NEWS) {
		struct console_port *p = &con->ports[id];
		console_set_state(p, console_state(p) | 1u << news);
	}
	console_keep_told(con);
}

/* --- requests that move bytes --- */

void console_run_begin(struct console_run *r, int fd)
{
	off_t at = fd >= 0 ? lseek(fd, 0, SEEK_CUR) : -1;
	keep_store(&r->done, 0);
	keep_store(&r->place, at); /* -1: cannot be known, or there is no such thing */
	keep_store(&r->is_begun, 1);
}

void console_run_note(struct console_run *r, uint32_t done)
{
	keep_store(&r->done, done);
}

void console_run_lose_place(struct console_run *r)
{
	keep_store(&r->place, -1);
}

void console_run_end(struct console_run *r)
{
	keep_store(&r->is_begun, 0);
}

bool console_run_resumes(struct console_run *r, const struct vq *q)
{
	bool is_open = r->is_begun && vq_has_backlog(q);
	if (!is_open)
		console_run_end(r); /* given back, though that was not noted */
	return is_open;
}

/* Who dies before this is noted has a successor that puts out some bytes twice. */
void console_keep_cut(struct console_port *p, const struct vq *q)
{
	keep_store(&p->kept->out_cut, KEEP_CUT | vq_next(q));
}

bool console_keep_is_cut(const struct console_port *p, const struct vq *q)
{
	return p->kept->out.is_begun && p->kept->out_cut == (KEEP_CUT | vq_next(q)) &&
	       !vq_has_backlog(q);
}

void console_keep_uncut(struct console_port *p)
{
	keep_store(&p->kept->out_cut, 0);
}

void console_keep_follow(struct console_port *p, bool goes_on)
{
	bool is_ours = p->con->keep == &p->con->own_keep;
	if (is_ours && !goes_on)
		console_keep_uncut(p);
}

uint32_t console_run_progress(const struct console_run *r, int fd, uint32_t max)
{
	off_t at = r->place >= 0 ? lseek(fd, 0, SEEK_CUR) : -1;
	if (at < 0)
		return min_u32(r->done, max);
	if (at == r->place)
		return 0;
	/* beyond reason: somebody else made the file longer or shorter before a write of ours */
	return at > r->place && at - r->place <= max ? (uint32_t)(at - r->place) : max;
}
