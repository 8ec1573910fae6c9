/*
 * pci_bus.c - the slots behind the host bridge; see bus/pci.h.
 *
 * Each slot is one pointer published by RCU: a vCPU finds a function without a lock, and a function
 * that was taken out is left alone only after a grace period.
 */
#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include "base/num.h"
#include "bus/pci.h"
#include "sync/rcu.h"

#define PCI_NR_SLOTS  32
#define PCI_MAX_PARTS (PCI_NR_SLOTS * PCI_NR_BARS)
#define PCI_BAR_ALIGN 4096 /* of memory: BARs share no page, so dispatch need not search */

/* What a window has handed out, sorted by address. */
struct pci_window {
	uint64_t base, len;
	unsigned nr;
	struct pci_part {
		uint64_t addr, size;
		const struct pci_func *owner;
	} parts[PCI_MAX_PARTS];
};

enum pci_space { PCI_SPACE_MMIO32, PCI_SPACE_MMIO64, PCI_SPACE_IO, PCI_NR_SPACES };

struct pci_bus {
	/* RCU; written under lock */
	struct pci_func *slots[PCI_NR_SLOTS];
	/* immutable after create */
	struct pci_host host;
	struct irq_share *intx; /* slots share inputs */
	uint32_t gsi_base, gsi_count;
	struct mutex lock;
	/* under lock */
	struct pci_window windows[PCI_NR_SPACES];
};

/* --- windows --- */

static void pci_window_insert(struct pci_window *w, unsigned at, struct pci_part part)
{
	memmove(w->parts + at + 1, w->parts + at, (w->nr - at) * sizeof(part));
	w->parts[at] = part;
	w->nr++;
}

/* The lowest aligned gap of @size bytes. Never at 0: that is a BAR without a place. */
static int pci_window_take(struct pci_window *w, uint64_t size, const struct pci_func *owner,
			   uint64_t *addr)
{
	uint64_t at = w->base ? w->base : size, end;
	if (w->nr == PCI_MAX_PARTS)
		return -ENOSPC;
	for (unsigned i = 0; i <= w->nr; i++) {
		uint64_t limit = i < w->nr ? w->parts[i].addr : w->base + w->len;
		at = align_up(at, size);
		if (add_ok(at, size, &end) && end <= limit && at >= w->base) {
			pci_window_insert(w, i, (struct pci_part){ at, size, owner });
			*addr = at;
			return 0;
		}
		if (i < w->nr)
			at = w->parts[i].addr + w->parts[i].size;
	}
	return -ENOSPC;
}

static void pci_window_release(struct pci_window *w, const struct pci_func *owner)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < w->nr; i++)
		if (w->parts[i].owner != owner)
			w->parts[kept++] = w->parts[i];
	w->nr = kept;
}

/* The window that BAR @b goes into. */
static struct pci_window *pci_window_of(struct pci_bus *b, const struct pci_bar *bar)
{
	if (bar->kind == PCI_BAR_IO)
		return &b->windows[PCI_SPACE_IO];
	bool is_64 = bar->kind == PCI_BAR_MEM64 || bar->kind == PCI_BAR_MEM64_PREFETCH;
	bool has_64 = b->windows[PCI_SPACE_MMIO64].len;
	return &b->windows[is_64 && has_64 ? PCI_SPACE_MMIO64 : PCI_SPACE_MMIO32];
}

/* --- the bus --- */

static bool pci_windows_ok(const struct pci_windows *w)
{
	uint64_t end;
	return w->intx_gsi_count && add_ok(w->mmio32_base, w->mmio32_len, &end) &&
	       end <= 1ull << 32 && add_ok(w->mmio64_base, w->mmio64_len, &end) &&
	       w->io_base + w->io_len <= 1 << 16;
}

int pci_bus_create(struct pci_bus **out, const struct pci_host *host, const struct pci_windows *w)
{
	if (!pci_windows_ok(w))
		return -EINVAL;
	struct pci_bus *b = aligned_alloc(alignof(struct pci_bus), sizeof(*b));
	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	int err = irq_share_create(&b->intx, host->irq);
	if (err) {
		free(b);
		return err;
	}
	b->host = *host;
	b->gsi_base = w->intx_gsi_base;
	b->gsi_count = w->intx_gsi_count;
	b->windows[PCI_SPACE_MMIO32].base = w->mmio32_base;
	b->windows[PCI_SPACE_MMIO32].len = w->mmio32_len;
	b->windows[PCI_SPACE_MMIO64].base = w->mmio64_base;
	b->windows[PCI_SPACE_MMIO64].len = w->mmio64_len;
	b->windows[PCI_SPACE_IO].base = w->io_base;
	b->windows[PCI_SPACE_IO].len = w->io_len;
	mutex_init(&b->lock);
	*out = b;
	return 0;
}

void pci_bus_destroy(struct pci_bus *b)
{
	if (!b)
		return;
	for (unsigned s = 0; s < PCI_NR_SLOTS; s++)
		BUG_ON(b->slots[s]);
	irq_share_destroy(b->intx);
	mutex_fini(&b->lock);
	free(b);
}

/* A place for every BAR of @f; what was taken goes back with pci_bus_release(). */
static int pci_bus_place(struct pci_bus *b, const struct pci_func *f, uint64_t addr[PCI_NR_BARS])
	MUST_HOLD(&b->lock)
{
	for (unsigned i = 0; i < PCI_NR_BARS; i++) {
		const struct pci_bar *bar = &f->bars[i];
		if (!bar->size)
			continue;
		bool is_io = bar->kind == PCI_BAR_IO;
		uint64_t size = is_io ? bar->size : max_u64(bar->size, PCI_BAR_ALIGN);
		int err = pci_window_take(pci_window_of(b, bar), size, f, &addr[i]);
		if (err)
			return err;
	}
	return 0;
}

static void pci_bus_release(struct pci_bus *b, const struct pci_func *f) MUST_HOLD(&b->lock)
{
	for (unsigned i = 0; i < PCI_NR_SPACES; i++)
		pci_window_release(&b->windows[i], f);
}

static int pci_bus_pick_slot(const struct pci_bus *b, int slot)
{
	if (slot >= PCI_NR_SLOTS)
		return -EINVAL;
	if (slot >= 0)
		return b->slots[slot] ? -EBUSY : slot;
	for (slot = 0; slot < PCI_NR_SLOTS; slot++)
		if (!b->slots[slot])
			return slot;
	return -ENOSPC;
}

static int pci_bus_plug(struct pci_bus *b, struct pci_func *f, unsigned slot) MUST_HOLD(&b->lock)
{
	uint64_t addr[PCI_NR_BARS] = { 0 };
	struct irq_line intx = { irq_share_chip(b->intx), b->gsi_base + slot % b->gsi_count };
	int err = pci_bus_place(b, f, addr);
	if (!err)
		err = pci_func_plug(f, &b->host, (uint16_t)(slot << 3), &intx);
	if (err) {
		pci_bus_release(b, f);
		return err;
	}
	for (unsigned i = 0; i < PCI_NR_BARS; i++)
		if (f->bars[i].size)
			pci_func_set_bar(f, i, addr[i]);
	pci_func_enable(f);
	rcu_publish(b->slots[slot], f);
	return (int)slot;
}

int pci_bus_add(struct pci_bus *b, struct pci_func *f, int slot)
{
	mutex_lock(&b->lock);
	int got = pci_bus_pick_slot(b, slot);
	if (got >= 0)
		got = pci_bus_plug(b, f, (unsigned)got);
	mutex_unlock(&b->lock);
	return got;
}

/* A place may have become free that some BAR was given before it was. */
static void pci_bus_retry_bars(struct pci_bus *b)
{
	for (unsigned s = 0; s < PCI_NR_SLOTS; s++) {
		struct pci_func *f = rcu_deref(b->slots[s]);
		if (f)
			pci_func_retry_bars(f);
	}
}

bool pci_bus_retry_irqs(struct pci_bus *b)
{
	bool is_refused = false;
	rcu_lock();
	for (unsigned s = 0; s < PCI_NR_SLOTS; s++) {
		struct pci_func *f = rcu_deref(b->slots[s]);
		if (f && f->msix)
			is_refused |= msix_retry(f->msix);
	}
	rcu_unlock();
	return is_refused;
}

void pci_bus_remove(struct pci_bus *b, struct pci_func *f)
{
	mutex_lock(&b->lock);
	unsigned slot = f->bdf >> 3;
	BUG_ON(slot >= PCI_NR_SLOTS || b->slots[slot] != f);
	rcu_publish(b->slots[slot], (struct pci_func *)NULL);
	mutex_unlock(&b->lock);
	pci_func_unplug(f); /* waits until no vCPU is inside */
	mutex_lock(&b->lock);
	pci_bus_release(b, f);
	pci_bus_retry_bars(b);
	mutex_unlock(&b->lock);
}

/* The function that answers for @bdf and has [off, off+len); inside a read section. */
static struct pci_func *pci_bus_find(struct pci_bus *b, uint16_t bdf, uint16_t off, unsigned len)
{
	if (bdf & 7 || bdf >> 3 >= PCI_NR_SLOTS || off + len > PCI_CONFIG_BYTES || len > 4)
		return NULL;
	return rcu_deref(b->slots[bdf >> 3]);
}

void pci_bus_config_read(struct pci_bus *b, uint16_t bdf, uint16_t off, void *data, unsigned len)
{
	rcu_lock();
	struct pci_func *f = pci_bus_find(b, bdf, off, len);
	if (f)
		pci_func_config_read(f, off, data, len);
	else
		memset(data, 0xff, len);
	rcu_unlock();
}

void pci_bus_config_write(struct pci_bus *b, uint16_t bdf, uint16_t off, const void *data,
			  unsigned len)
{
	rcu_lock();
	struct pci_func *f = pci_bus_find(b, bdf, off, len);
	if (f)
		pci_func_config_write(f, off, data, len);
	if (f && pci_moves_bars(off, len))
		pci_bus_retry_bars(b);
	rcu_unlock();
}
