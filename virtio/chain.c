/* chain.c - room for long chains, and copies between a chain and host memory. */
#include <string.h>
#include "base/num.h"
#include "queue_priv.h"

int vq_break(struct vq *q)
{
	if (!q->is_dead)
		vq_count(&q->stats.errors, 1);
	q->is_dead = true;
	return -EBADMSG;
}

void *vq_translate_slow(struct vq *q, uint64_t addr, uint64_t len)
{
	void *host = gmem_map_host(q->map, gpa(addr), len);
	if (!host)
		return NULL;
	for (unsigned i = 0; i < q->map->nr; i++) {
		if (addr >= q->map->r[i].start && addr < q->map->r[i].end) {
			q->other_start = q->hit_start;
			q->other_len = q->hit_len;
			q->hit_start = q->map->r[i].start;
			q->hit_len = q->map->r[i].end - q->map->r[i].start;
		}
	}
	return host;
}

static struct iovec *vq_pool_get(struct vq_pool *p, uint16_t *block)
{
	if (p->freed != VQ_NIL) {
		struct iovec *b = p->mem + (size_t)p->freed * p->segs;
		*block = p->freed;
		p->freed = (uint16_t)b->iov_len;
		return b;
	}
	if (p->fresh == p->nr)
		return NULL;
	*block = p->fresh++;
	return p->mem + (size_t)*block * p->segs;
}

static void vq_pool_put(struct vq_pool *p, uint16_t block)
{
	p->mem[(size_t)block * p->segs].iov_len = p->freed;
	p->freed = block;
}

struct iovec *vq_grow(struct vq *q, struct vq_slot *s, uint32_t nr)
{
	uint16_t block;
	struct vq_pool *p = nr == VQ_INLINE_SEGS ? &q->medium : &q->large;
	struct iovec *to = vq_pool_get(p, &block);
	if (!to)
		return NULL;
	memcpy(to, s->c.iov, nr * sizeof(*to));
	if (s->c.iov != s->c.small)
		vq_shrink(q, s);
	s->c.iov = to;
	s->block = block;
	return to;
}

void vq_shrink(struct vq *q, struct vq_slot *s)
{
	vq_pool_put(s->c.iov >= q->large.mem ? &q->large : &q->medium, s->block);
	s->c.iov = s->c.small;
}

/* Copy @len bytes between @buf and byte @off of @nr segments; false: they are shorter. */
static bool chain_copy(const struct iovec *iov, unsigned nr, uint32_t off, void *buf, uint32_t len,
		       bool is_write)
{
	uint8_t *host = buf;
	for (unsigned i = 0; i < nr && len; i++) {
		if (off >= iov[i].iov_len) {
			off -= (uint32_t)iov[i].iov_len;
			continue;
		}
		uint32_t n = min_u32(len, (uint32_t)iov[i].iov_len - off);
		uint8_t *guest = (uint8_t *)iov[i].iov_base + off;
		memcpy(is_write ? guest : host, is_write ? host : guest, n);
		host += n;
		len -= n;
		off = 0;
	}
	return !len;
}

bool vq_chain_read(const struct vq_chain *c, uint32_t off, void *dst, uint32_t len)
{
	if (off > c->out_bytes || len > c->out_bytes - off)
		return false;
	return chain_copy(c->iov, c->nr_out, off, dst, len, false);
}

bool vq_chain_write(const struct vq_chain *c, uint32_t off, const void *src, uint32_t len)
{
	if (off > c->in_bytes || len > c->in_bytes - off)
		return false;
	/* chain_copy() only reads @src when it writes to the guest */
	return chain_copy(c->iov + c->nr_out, c->nr_in, off, (void *)(uintptr_t)src, len, true);
}
