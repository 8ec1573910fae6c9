/*
 * bus.c - see bus/bus.h.
 *
 * A table has two roads to the range that answers an address. Ports, and the first 4 GiB of memory
 * by 4 KiB pages, go through two levels: root[] names a leaf, the leaf's cell names the range: no
 * comparison, four dependent loads. Higher addresses, and pages that several ranges share, go by
 * binary search in the sorted bases.
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
#define BUS_PAGED_END  (1ull << 32) /* of memory that goes by pages */

/* Immutable while published. */
struct bus_range {
	uint64_t base, len;
	void (*read)(void *ctx, uint64_t offset, void *data, unsigned len);
	void (*write)(void *ctx, uint64_t offset, const void *data, unsigned len);
	void *ctx;
	struct bus_leaf *whole; /* what chunks share that it fills; NULL: it fills none */
};

/* One chunk of the paged part: 512 ports, or 512 pages. */
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
	struct bus_leaf *dead_leaves;
	struct bus_range *dead_range;
	/* RCU */
	struct bus_leaf *root[];
};

struct bus {
	/* RCU; written under lock */
	struct bus_table *table;
	/* immutable after create */
	uint64_t paged_end, last; /* paged below; last address there is */
	unsigned cell_bits, nr_root;
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

static ALWAYS_INLINE const struct bus_range *bus_find(const struct bus *b, uint64_t addr)
{
	const struct bus_table *t = rcu_deref(b->table);
	if (likely(addr < b->paged_end)) {
		uint64_t page = addr >> b->cell_bits;
		const struct bus_leaf *leaf = t->root[page >> BUS_LEAF_BITS];
		const struct bus_range *r = leaf->cell[page % BUS_LEAF_CELLS];
		if (likely(r != &bus_several))
			return r;
	}
	return bus_search(t, addr);
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
static void bus_table_free(void *table)
{
	struct bus_table *t = table;
	if (!t)
		return;
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
	size_t head = sizeof(struct bus_table) + b->nr_root * sizeof(struct bus_leaf *);
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

static struct bus_leaf *bus_leaf_new(void)
{
	struct bus_leaf *l = malloc(sizeof(*l));
	if (!l)
		return NULL;
	memcpy(l->cell, bus_empty.cell, sizeof(l->cell));
	l->is_shared = false;
	l->next = NULL;
	return l;
}

/* Enter @r, whose part of the chunk is [first, last] from the chunk's start. */
static void bus_leaf_enter(struct bus_leaf *l, const struct bus *b, const struct bus_range *r,
			   uint64_t first, uint64_t last)
{
	for (uint64_t p = first >> b->cell_bits; p <= last >> b->cell_bits; p++)
		l->cell[p] = l->cell[p] == &bus_nothing ? r : &bus_several;
}

/* What chunk @c of @t consists of: a leaf of its own, one that is shared, or NULL: no memory. */
static struct bus_leaf *bus_leaf_make(const struct bus *b, const struct bus_table *t, uint64_t c)
{
	uint64_t first = c << bus_chunk_bits(b), last = first + (1ull << bus_chunk_bits(b)) - 1;
	unsigned end = bus_upper(t, last);
	struct bus_leaf *l = NULL;
	for (unsigned i = bus_upper(t, first) - 1; i < end; i++) {
		const struct bus_range *r = t->ranges[i];
		if (!r->len || bus_last(r) < first)
			continue;
		if (r->base <= first && bus_last(r) >= last)
			return r->whole;
		if (!l && !(l = bus_leaf_new()))
			return NULL;
		bus_leaf_enter(l, b, r, max_u64(r->base, first) - first,
			       min_u64(bus_last(r), last) - first);
	}
	return l ? l : &bus_empty;
}

/* Chunks [*c, *end) of the paged part are those that @r meets. */
static void bus_chunks_of(const struct bus *b, const struct bus_range *r, uint64_t *c,
			  uint64_t *end)
{
	*c = *end = 0;
	if (r->base >= b->paged_end)
		return;
	*c = r->base >> bus_chunk_bits(b);
	*end = (min_u64(bus_last(r), b->paged_end - 1) >> bus_chunk_bits(b)) + 1;
}

/* Fill in the root of @t, which differs from @old by @r only; what @t makes idle dies with @old. */
static int bus_table_root(const struct bus *b, struct bus_table *t, struct bus_table *old,
			  const struct bus_range *r)
{
	uint64_t from, end;
	memcpy(t->root, old->root, b->nr_root * sizeof(t->root[0]));
	bus_chunks_of(b, r, &from, &end);
	for (uint64_t c = from; c < end; c++) {
		t->root[c] = bus_leaf_make(b, t, c);
		if (t->root[c])
			continue;
		while (c-- > from)
			if (!t->root[c]->is_shared)
				free(t->root[c]);
		return -ENOMEM;
	}
	for (uint64_t c = from; c < end; c++) {
		if (old->root[c]->is_shared)
			continue;
		old->root[c]->next = old->dead_leaves;
		old->dead_leaves = old->root[c];
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
	if (base < b->paged_end && len >= chunk) {
		r->whole = bus_leaf_new();
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
	rcu_defer(bus_table_free, old);
}

/* --- changes --- */

int bus_create(struct bus **out, enum bus_space space)
{
	struct bus *b = aligned_alloc(alignof(struct bus), sizeof(*b));
	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	bool is_pio = space == BUS_PIO;
	b->paged_end = is_pio ? BUS_PIO_END : BUS_PAGED_END;
	b->last = is_pio ? BUS_PIO_END - 1 : UINT64_MAX;
	b->cell_bits = is_pio ? 0 : BUS_PAGE_BITS;
	b->nr_root = (unsigned)(b->paged_end >> bus_chunk_bits(b));
	b->table = bus_table_alloc(b, 1);
	if (!b->table) {
		free(b);
		return -ENOMEM;
	}
	bus_table_put(b->table, 0, &bus_nothing);
	for (unsigned c = 0; c < b->nr_root; c++)
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
	for (unsigned c = 0; c < b->nr_root; c++)
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
