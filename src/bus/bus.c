/*
 * bus.c - see bus/bus.h.
 *
 * A table has two roads to the range that answers an address. The first goes through two levels:
 * root[] names a leaf for a chunk of 512 cells (a port, or a page of 4 KiB), the leaf's cell names
 * the range: no search, four dependent loads. Memory below 4 GiB has an entry of root for each of
 * its chunks. All that lies above shares as many entries again, by the address modulo 4 GiB: what
 * is found there is a guess, and right unless ranges lie exactly so far apart. A guess that does
 * not contain the address, and a cell that several ranges share, send the access the second way,
 * a binary search in the sorted bases.
 *
 * A change copies root and bases and rebuilds only the leaves it touches: other readers' cache
 * lines stay warm while devices come and go.
 */
#include "bus/bus.h"
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"
#include "sync/mutex.h"
#include "sync/rcu.h"

#define BUS_LEAF_BITS  9
#define BUS_LEAF_CELLS (1u << BUS_LEAF_BITS)
#define BUS_PAGE_BITS  12 /* of memory; ports have a cell each */
#define BUS_PIO_END    (1ull << 16)
#define BUS_LOW_END    (1ull << 32) /* of memory whose chunks have an entry of root each */

/* Immutable while published. */
struct bus_range {
	uint64_t base, len;
	void (*read)(void *ctx, uint64_t offset, void *data, unsigned len);
	void (*write)(void *ctx, uint64_t offset, const void *data, unsigned len);
	void *ctx;
	struct bus_leaf *whole; /* what chunks share that it fills; NULL: it fills none */
};

/* One chunk: 512 ports, or 512 pages. Of high memory: what of it goes by the same entry. */
struct bus_leaf {
	const struct bus_range *cell[BUS_LEAF_CELLS];
	/* control side */
	bool is_shared;        /* bus_empty, or some range's whole: not the table's to free */
	struct bus_leaf *next; /* on a list of leaves to free */
};

struct bus_table {
	/* RCU: immutable while published */
	unsigned nr;                     /* entries, the sentinel at 0 included */
	uint64_t *bases;                 /* sorted */
	const struct bus_range **ranges; /* in the order of bases */
	/* control side, once replaced: what goes with it */
	struct rcu_deferred deferred;
	struct bus_leaf *dead_leaves;
	struct bus_range *dead_range;
	/* RCU */
	struct bus_leaf *root[];
};

struct bus {
	/* RCU; written under lock */
	struct bus_table *table;
	/* immutable after create */
	uint64_t last; /* address there is */
	unsigned cell_bits,
		nr_low; /* nr_low: entries of root for low chunks, then as many for high */
	struct mutex lock;
};

/* Nothing answers: its length is 0, so that no access fits. */
static const struct bus_range bus_nothing;
/* In a cell: several ranges meet this page, search. */
static const struct bus_range bus_several;

static struct bus_leaf bus_empty = {
	.cell = { [0 ... BUS_LEAF_CELLS - 1] = &bus_nothing },
	.is_shared = true,
};

/* --- readers --- */

/* The last range that begins at or before @addr, without a branch to mispredict but the loop's. */
static const struct bus_range *bus_search(const struct bus_table *t, uint64_t addr)
{
	const uint64_t *at = t->bases;
	for (unsigned n = t->nr; n > 1;) {
		unsigned half = n / 2;
		at += at[half] <= addr ? half : 0;
		n -= half;
	}
	return t->ranges[at - t->bases];
}

/* The entry of root that @chunk goes by. */
static ALWAYS_INLINE uint64_t bus_slot(const struct bus *b, uint64_t chunk)
{
	return (chunk & (b->nr_low - 1)) + (chunk < b->nr_low ? 0 : b->nr_low);
}

static ALWAYS_INLINE const struct bus_range *bus_find(const struct bus *b, uint64_t addr)
{
	const struct bus_table *t = rcu_deref(b->table);
	uint64_t cell = addr >> b->cell_bits;
	const struct bus_leaf *leaf = t->root[bus_slot(b, cell >> BUS_LEAF_BITS)];
	const struct bus_range *r = leaf->cell[cell % BUS_LEAF_CELLS];
	return likely(addr - r->base < r->len) ? r : bus_search(t, addr);
}

/* Is [addr, addr+len) inside @r, and @len a size that handlers know? */
static ALWAYS_INLINE bool bus_fits(const struct bus_range *r, uint64_t addr, unsigned len)
{
	uint64_t offset = addr - r->base; /* huge if it begins before */
	return offset < r->len && len <= r->len - offset && len <= 8 && is_pow2(len);
}

bool bus_read(struct bus *b, uint64_t addr, void *data, unsigned len)
{
	rcu_lock();
	const struct bus_range *r = bus_find(b, addr);
	bool fits = bus_fits(r, addr, len);
	if (likely(fits))
		r->read(r->ctx, addr - r->base, data, len);
	rcu_unlock();
	if (unlikely(!fits))
		memset(data, 0xff, len);
	return fits;
}

bool bus_write(struct bus *b, uint64_t addr, const void *data, unsigned len)
{
	rcu_lock();
	const struct bus_range *r = bus_find(b, addr);
	bool fits = bus_fits(r, addr, len);
	if (likely(fits))
		r->write(r->ctx, addr - r->base, data, len);
	rcu_unlock();
	return fits;
}

/* --- making tables --- */

static void bus_range_free(struct bus_range *r)
{
	if (r)
		free(r->whole);
	free(r);
}

static void bus_leaves_free(struct bus_leaf *l)
{
	while (l) {
		struct bus_leaf *next = l->next;
		free(l);
		l = next;
	}
}

/* A replaced table, with what only it used. */
static void bus_table_free(struct rcu_deferred *d)
{
	struct bus_table *t = container_of(d, struct bus_table, deferred);
	bus_leaves_free(t->dead_leaves);
	bus_range_free(t->dead_range);
	free(t);
}

static uint64_t bus_chunk_bits(const struct bus *b)
{
	return b->cell_bits + BUS_LEAF_BITS;
}

static uint64_t bus_last(const struct bus_range *r)
{
	return r->base + (r->len - 1);
}

/* Room for @nr entries; root is left to fill in. */
static struct bus_table *bus_table_alloc(const struct bus *b, unsigned nr)
{
	size_t head = sizeof(struct bus_table) + 2 * b->nr_low * sizeof(struct bus_leaf *);
	struct bus_table *t = malloc(head + nr * (sizeof(uint64_t) + sizeof(void *)));
	if (!t)
		return NULL;
	memset(t, 0, sizeof(*t));
	t->bases = (uint64_t *)(void *)((char *)t + head);
	t->ranges = (const struct bus_range **)(void *)(t->bases + nr);
	t->nr = nr;
	return t;
}

static void bus_table_put(struct bus_table *t, unsigned at, const struct bus_range *r)
{
	t->bases[at] = r->base;
	t->ranges[at] = r;
}

/* Index of the first entry that begins after @addr; at least 1, for the sentinel begins at 0. */
static unsigned bus_upper(const struct bus_table *t, uint64_t addr)
{
	unsigned lo = 0, hi = t->nr;
	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;
		if (t->bases[mid] <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* @l itself, or a copy of it if it is shared; NULL: no memory. */
static struct bus_leaf *bus_leaf_own(struct bus_leaf *l)
{
	if (!l->is_shared)
		return l;
	struct bus_leaf *own = malloc(sizeof(*own));
	if (!own)
		return NULL;
	memcpy(own->cell, l->cell, sizeof(own->cell));
	own->is_shared = false;
	own->next = NULL;
	return own;
}

/* Chunks [*first, *last] are those that @r meets. False: too many for root; searched for. */
static bool bus_chunks_of(const struct bus *b, const struct bus_range *r, uint64_t *first,
			  uint64_t *last)
{
	*first = r->base >> bus_chunk_bits(b);
	*last = bus_last(r) >> bus_chunk_bits(b);
	return r->len && *last - *first < b->nr_low;
}

/* The chunk of @r that goes by entry @slot. False: none does. */
static bool bus_chunk_in(const struct bus *b, const struct bus_range *r, uint64_t slot,
			 uint64_t *chunk)
{
	uint64_t first, last;
	if (!bus_chunks_of(b, r, &first, &last))
		return false;
	*chunk = first + ((slot - first) & (b->nr_low - 1));
	return *chunk <= last && bus_slot(b, *chunk) == slot;
}

/* Enter the part of @r that is in @chunk. */
static void bus_leaf_enter(struct bus_leaf *l, const struct bus *b, const struct bus_range *r,
			   uint64_t chunk)
{
	uint64_t start = chunk << bus_chunk_bits(b), end = start + (1ull << bus_chunk_bits(b)) - 1;
	uint64_t first = max_u64(r->base, start) - start;
	uint64_t last = min_u64(bus_last(r), end) - start;
	for (uint64_t p = first >> b->cell_bits; p <= last >> b->cell_bits; p++)
		l->cell[p] = l->cell[p] == &bus_nothing ? r : &bus_several;
}

/* Does @r fill @chunk? */
static bool bus_fills(const struct bus *b, const struct bus_range *r, uint64_t chunk)
{
	uint64_t start = chunk << bus_chunk_bits(b);
	return r->base <= start && bus_last(r) - start >= (1ull << bus_chunk_bits(b)) - 1;
}

/* Entries of @t that may go by @slot: [*from, *to). */
static void bus_candidates(const struct bus *b, const struct bus_table *t, uint64_t slot,
			   unsigned *from, unsigned *to)
{
	uint64_t low_end = (uint64_t)b->nr_low << bus_chunk_bits(b);
	uint64_t start = slot < b->nr_low ? slot << bus_chunk_bits(b) : low_end;
	*from = bus_upper(t, start) - 1;
	*to = slot < b->nr_low ? bus_upper(t, start + (1ull << bus_chunk_bits(b)) - 1) : t->nr;
}

/* What goes by @slot of @t: a leaf of its own, one that is shared, or NULL: no memory. */
static struct bus_leaf *bus_leaf_make(const struct bus *b, const struct bus_table *t, uint64_t slot)
{
	struct bus_leaf *l = &bus_empty;
	unsigned from, to;
	uint64_t chunk;
	bus_candidates(b, t, slot, &from, &to);
	for (unsigned i = from; i < to && l; i++) {
		const struct bus_range *r = t->ranges[i];
		if (!bus_chunk_in(b, r, slot, &chunk))
			continue;
		if (l == &bus_empty && bus_fills(b, r, chunk)) {
			l = r->whole;
			continue;
		}
		l = bus_leaf_own(l);
		if (l)
			bus_leaf_enter(l, b, r, chunk);
	}
	return l;
}

/* Fill in the root of @t, which differs from @old by @r only; what @t makes idle dies with @old. */
static int bus_table_root(const struct bus *b, struct bus_table *t, struct bus_table *old,
			  const struct bus_range *r)
{
	uint64_t first, last;
	memcpy(t->root, old->root, 2 * b->nr_low * sizeof(t->root[0]));
	if (!bus_chunks_of(b, r, &first, &last))
		return 0;
	for (uint64_t c = first; c <= last; c++) {
		uint64_t slot = bus_slot(b, c);
		t->root[slot] = bus_leaf_make(b, t, slot);
		if (t->root[slot])
			continue;
		while (c-- > first)
			if (!t->root[bus_slot(b, c)]->is_shared)
				free(t->root[bus_slot(b, c)]);
		return -ENOMEM;
	}
	for (uint64_t c = first; c <= last; c++) {
		struct bus_leaf *l = old->root[bus_slot(b, c)];
		if (l->is_shared)
			continue;
		l->next = old->dead_leaves;
		old->dead_leaves = l;
	}
	return 0;
}

/* @r with the leaf for chunks that it fills. */
static int bus_range_new(struct bus_range **out, const struct bus *b, uint64_t base, uint64_t len,
			 const struct bus_ops *ops, void *ctx)
{
	struct bus_range *r = malloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	*r = (struct bus_range){ base, len, ops->read, ops->write, ctx, NULL };
	uint64_t chunk = 1ull << bus_chunk_bits(b);
	if (len >= chunk) {
		r->whole = bus_leaf_own(&bus_empty);
		if (!r->whole) {
			free(r);
			return -ENOMEM;
		}
		for (unsigned i = 0; i < BUS_LEAF_CELLS; i++)
			r->whole->cell[i] = r;
		r->whole->is_shared = true;
	}
	*out = r;
	return 0;
}

/* Publish @t in place of @old, which goes when its readers have left. */
static void bus_publish(struct bus *b, struct bus_table *t, struct bus_table *old)
	MUST_HOLD(&b->lock)
{
	rcu_publish(b->table, t);
	rcu_defer(&old->deferred, bus_table_free);
}

/* --- changes --- */

int bus_create(struct bus **out, enum bus_space space)
{
	struct bus *b = aligned_alloc(alignof(struct bus), sizeof(*b));
	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	bool is_pio = space == BUS_PIO;
	b->last = is_pio ? BUS_PIO_END - 1 : UINT64_MAX;
	b->cell_bits = is_pio ? 0 : BUS_PAGE_BITS;
	b->nr_low = (unsigned)((is_pio ? BUS_PIO_END : BUS_LOW_END) >> bus_chunk_bits(b));
	b->table = bus_table_alloc(b, 1);
	if (!b->table) {
		free(b);
		return -ENOMEM;
	}
	bus_table_put(b->table, 0, &bus_nothing);
	for (unsigned c = 0; c < 2 * b->nr_low; c++)
		b->table->root[c] = &bus_empty;
	mutex_init(&b->lock);
	*out = b;
	return 0;
}

void bus_destroy(struct bus *b)
{
	if (!b)
		return;
	struct bus_table *t = b->table;
	for (unsigned c = 0; c < 2 * b->nr_low; c++)
		if (!t->root[c]->is_shared)
			free(t->root[c]);
	for (unsigned i = 1; i < t->nr; i++)
		bus_range_free((struct bus_range *)t->ranges[i]);
	free(t);
	mutex_fini(&b->lock);
	free(b);
}

/* Is [base, base+len) of @t free? @at: the entry that it would become. */
static bool bus_is_free(const struct bus_table *t, uint64_t base, uint64_t len, unsigned at)
{
	const struct bus_range *before = t->ranges[at - 1];
	if (before->len && bus_last(before) >= base)
		return false;
	return at == t->nr || t->bases[at] - base >= len;
}

static int bus_insert_locked(struct bus *b, struct bus_range *r) MUST_HOLD(&b->lock)
{
	struct bus_table *old = b->table;
	unsigned at = bus_upper(old, r->base);
	if (!bus_is_free(old, r->base, r->len, at))
		return -EEXIST;
	struct bus_table *t = bus_table_alloc(b, old->nr + 1);
	if (!t)
		return -ENOMEM;
	for (unsigned i = 0; i < old->nr; i++)
		bus_table_put(t, i + (i >= at), old->ranges[i]);
	bus_table_put(t, at, r);
	int err = bus_table_root(b, t, old, r);
	if (err) {
		free(t);
		return err;
	}
	bus_publish(b, t, old);
	return 0;
}

int bus_add(struct bus *b, uint64_t base, uint64_t len, const struct bus_ops *ops, void *ctx)
{
	if (!len || base > b->last || len - 1 > b->last - base)
		return -EINVAL;
	struct bus_range *r;
	int err = bus_range_new(&r, b, base, len, ops, ctx);
	if (err)
		return err;
	mutex_lock(&b->lock);
	err = bus_insert_locked(b, r);
	mutex_unlock(&b->lock);
	if (err)
		bus_range_free(r);
	return err;
}

static int bus_hide_locked(struct bus *b, uint64_t base, uint64_t len) MUST_HOLD(&b->lock)
{
	struct bus_table *old = b->table;
	unsigned at = bus_upper(old, base) - 1;
	const struct bus_range *r = old->ranges[at];
	if (!len || r->base != base || r->len != len)
		return -ENOENT;
	struct bus_table *t = bus_table_alloc(b, old->nr - 1);
	if (!t)
		return -ENOMEM;
	for (unsigned i = 0; i < t->nr; i++)
		bus_table_put(t, i, old->ranges[i + (i >= at)]);
	int err = bus_table_root(b, t, old, r);
	if (err) {
		free(t);
		return err;
	}
	old->dead_range = (struct bus_range *)r;
	bus_publish(b, t, old);
	return 0;
}

int bus_hide(struct bus *b, uint64_t base, uint64_t len)
{
	mutex_lock(&b->lock);
	int err = bus_hide_locked(b, base, len);
	mutex_unlock(&b->lock);
	return err;
}

int bus_remove(struct bus *b, uint64_t base, uint64_t len)
{
	int err = bus_hide(b, base, len);
	if (!err)
		rcu_synchronize();
	return err;
}
