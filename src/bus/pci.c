/*
 * pci.c - one PCI function; see bus/pci.h. The bus of slots is in pci_bus.c.
 *
 * A driver's write is applied by masks alone; what it means (BARs that move, interrupt modes that
 * change) is derived afterwards from what configuration space then says.
 */
#include "bus/pci.h"
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include "base/le.h"
#include "base/num.h"
#include "sync/rcu.h"

#define PCI_COMMAND_WRITABLE                                                                       \
	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |           \
	 PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE)
#define PCI_STATUS_INTERRUPT 0x08 /* PCI 3.0 §6.2.3: the function asks for INTx */
#define PCI_STATUS_CLEARABLE 0xf900
#define PCI_HEADER_BYTES     64
#define PCI_LEGACY_BYTES     256 /* capabilities lie below */
#define PCI_MIN_IO_BAR       4
#define PCI_MIN_MEM_BAR      16
#define PCI_INTX_PIN_A       1

/* --- building --- */

static void pci_put(struct pci_func *f, unsigned off, uint32_t v, unsigned len)
{
	le_store(f->config + off, v, len);
}

static uint32_t pci_get(const struct pci_func *f, unsigned off, unsigned len)
{
	return (uint32_t)le_load(f->config + off, len);
}

int pci_func_init(struct pci_func *f, const struct pci_ident *id, const struct pci_func_ops *ops)
{
	if (id->class_code > 0xffffff)
		return -EINVAL;
	memset(f, 0, sizeof(*f));
	mutex_init(&f->lock);
	f->ops = ops;
	f->next_cap = PCI_HEADER_BYTES;
	pci_put(f, PCI_VENDOR_ID, id->vendor, 2);
	pci_put(f, PCI_DEVICE_ID, id->device, 2);
	pci_put(f, PCI_REVISION_ID, id->revision, 1);
	pci_put(f, PCI_CLASS_PROG, id->class_code, 3);
	pci_put(f, PCI_SUBSYSTEM_VENDOR_ID, id->subvendor, 2);
	pci_put(f, PCI_SUBSYSTEM_ID, id->subdevice, 2);
	pci_put(f, PCI_INTERRUPT_PIN, id->has_intx ? PCI_INTX_PIN_A : 0, 1);
	le_store(f->writable + PCI_COMMAND, PCI_COMMAND_WRITABLE, 2);
	f->writable[PCI_CACHE_LINE_SIZE] = 0xff;
	f->writable[PCI_LATENCY_TIMER] = 0xff;
	f->writable[PCI_INTERRUPT_LINE] = 0xff;
	le_store(f->write_clear + PCI_STATUS, PCI_STATUS_CLEARABLE, 2);
	return 0;
}

void pci_func_fini(struct pci_func *f)
{
	BUG_ON(f->is_plugged);
	msix_destroy(f->msix);
	f->msix = NULL;
	mutex_fini(&f->lock);
}

static unsigned pci_bar_reg(unsigned bar)
{
	return PCI_BASE_ADDRESS_0 + 4 * bar;
}

static bool pci_bar_is_64(const struct pci_bar *b)
{
	return b->kind == PCI_BAR_MEM64 || b->kind == PCI_BAR_MEM64_PREFETCH;
}

/* The low bits of the register: what the BAR is. */
static uint32_t pci_bar_flags(enum pci_bar_kind kind)
{
	static const uint32_t flags[] = {
		[PCI_BAR_MEM32] = PCI_BASE_ADDRESS_MEM_TYPE_32,
		[PCI_BAR_MEM64] = PCI_BASE_ADDRESS_MEM_TYPE_64,
		[PCI_BAR_MEM64_PREFETCH] = PCI_BASE_ADDRESS_MEM_TYPE_64 |
					   PCI_BASE_ADDRESS_MEM_PREFETCH,
		[PCI_BAR_IO] = PCI_BASE_ADDRESS_SPACE_IO,
	};
	return flags[kind];
}

/* Is register @bar free: neither a BAR nor the upper half of one? */
static bool pci_bar_is_free(const struct pci_func *f, unsigned bar)
{
	return bar < PCI_NR_BARS && !f->bars[bar].size &&
	       !(bar && f->bars[bar - 1].size && pci_bar_is_64(&f->bars[bar - 1]));
}

static bool pci_bar_size_ok(const struct pci_bar *b)
{
	if (!is_pow2(b->size))
		return false;
	if (b->kind == PCI_BAR_IO)
		return b->size >= PCI_MIN_IO_BAR && b->size <= 256;
	return b->size >= PCI_MIN_MEM_BAR && (pci_bar_is_64(b) || b->size <= 1ull << 31);
}

int pci_func_add_bar(struct pci_func *f, unsigned bar, enum pci_bar_kind kind, uint64_t size,
		     const struct bus_ops *ops, void *ctx)
{
	struct pci_bar b = { .size = size, .kind = kind, .ops = ops, .ctx = ctx };
	if (!pci_bar_is_free(f, bar) || (pci_bar_is_64(&b) && !pci_bar_is_free(f, bar + 1)))
		return -EINVAL;
	if (!pci_bar_size_ok(&b))
		return -EINVAL;
	f->bars[bar] = b;
	pci_put(f, pci_bar_reg(bar), pci_bar_flags(kind), 4);
	/* the address bits that size leaves are the writable ones: sizing needs no more */
	le_store(f->writable + pci_bar_reg(bar), ~(size - 1), pci_bar_is_64(&b) ? 8 : 4);
	return 0;
}

int pci_func_add_cap(struct pci_func *f, uint8_t id, const void *body, const void *writable,
		     uint8_t len)
{
	unsigned off = f->next_cap, size = 2u + len;
	if (off + size > PCI_LEGACY_BYTES)
		return -ENOSPC;
	f->config[off] = id;
	memcpy(f->config + off + 2, body, len);
	if (writable)
		memcpy(f->writable + off + 2, writable, len);
	f->config[f->last_cap ? f->last_cap + 1u : PCI_CAPABILITY_LIST] = (uint8_t)off;
	f->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->last_cap = (uint16_t)off;
	f->next_cap = (uint16_t)align_up(off + size, 4);
	return (int)off;
}

int pci_func_add_msix(struct pci_func *f, uint16_t nr_vectors, unsigned bar, uint32_t table_off,
		      uint32_t pba_off)
{
	uint8_t body[PCI_CAP_MSIX_SIZEOF - 2], writable[sizeof(body)] = { 0 };
	if (!nr_vectors || nr_vectors > PCI_MSIX_FLAGS_QSIZE + 1 || bar >= PCI_NR_BARS ||
	    f->msix_cap || !is_aligned(table_off | pba_off, 8))
		return -EINVAL;
	le_store(body, nr_vectors - 1u, 2);
	le_store(body + PCI_MSIX_TABLE - 2, table_off | bar, 4);
	le_store(body + PCI_MSIX_PBA - 2, pba_off | bar, 4);
	le_store(writable, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	int off = pci_func_add_cap(f, PCI_CAP_ID_MSIX, body, writable, sizeof(body));
	if (off < 0)
		return off;
	f->msix_cap = (uint16_t)off;
	return off;
}

/* --- from configuration space to the machine; under the function's lock --- */

/* Where the registers put BAR @i. */
static uint64_t pci_bar_addr(const struct pci_func *f, unsigned i)
{
	uint64_t v = le_load(f->config + pci_bar_reg(i), pci_bar_is_64(&f->bars[i]) ? 8 : 4);
	return v & ~(f->bars[i].size - 1);
}

/* Address 0 is where a BAR stands that nobody placed: it answers nowhere. */
static bool pci_bar_wanted(const struct pci_func *f, unsigned i)
{
	uint32_t command = pci_get(f, PCI_COMMAND, 2);
	bool is_io = f->bars[i].kind == PCI_BAR_IO;
	return f->is_plugged && pci_bar_addr(f, i) &&
	       command & (is_io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
}

static struct bus *pci_bar_bus(const struct pci_func *f, const struct pci_bar *b)
{
	return b->kind == PCI_BAR_IO ? f->host->pio : f->host->mmio;
}

static void pci_bar_told(struct pci_func *f, unsigned i, bool is_on)
{
	f->bars[i].is_mapped = is_on;
	if (f->ops && f->ops->bar_mapped)
		f->ops->bar_mapped(f, i, f->bars[i].addr, is_on);
}

/* Let BAR @i answer where the registers put it, or not at all. A place that is taken, as in the
 * middle of a driver's reshuffle, is tried again at the next change on the bus. */
static void pci_bar_update(struct pci_func *f, unsigned i) MUST_HOLD(&f->lock)
{
	struct pci_bar *b = &f->bars[i];
	uint64_t addr = pci_bar_addr(f, i);
	bool is_wanted = pci_bar_wanted(f, i);
	if (b->is_mapped && (!is_wanted || b->addr != addr)) {
		if (bus_hide(pci_bar_bus(f, b), b->addr, b->size))
			return; /* no memory: it stays where it was */
		pci_bar_told(f, i, false);
	}
	if (b->is_mapped)
		return;
	b->addr = addr;
	if (is_wanted && !bus_add(pci_bar_bus(f, b), addr, b->size, b->ops, b->ctx))
		pci_bar_told(f, i, true);
}

static void pci_update_bars(struct pci_func *f) MUST_HOLD(&f->lock)
{
	for (unsigned i = 0; i < PCI_NR_BARS; i++)
		if (f->bars[i].size)
			pci_bar_update(f, i);
}

static void pci_update_intx(struct pci_func *f) MUST_HOLD(&f->lock)
{
	bool is_disabled = pci_get(f, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE;
	bool level = f->is_plugged && f->intx_level && !is_disabled;
	f->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (f->intx_level)
		f->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	if (level == f->intx_driven)
		return;
	f->intx_driven = level;
	irq_line_set(&f->intx, level);
}

static void pci_update_msix(struct pci_func *f) MUST_HOLD(&f->lock)
{
	uint32_t flags = pci_get(f, f->msix_cap + PCI_MSIX_FLAGS, 2);
	msix_control(f->msix, flags & PCI_MSIX_FLAGS_ENABLE, flags & PCI_MSIX_FLAGS_MASKALL);
}

void pci_func_set_intx(struct pci_func *f, bool level)
{
	mutex_lock(&f->lock);
	f->intx_level = level;
	pci_update_intx(f);
	mutex_unlock(&f->lock);
}

bool pci_func_is_master(struct pci_func *f)
{
	mutex_lock_shared(&f->lock);
	bool is_master = pci_get(f, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
	mutex_unlock_shared(&f->lock);
	return is_master;
}

/* --- plug --- */

int pci_func_plug(struct pci_func *f, const struct pci_host *host, uint16_t bdf,
		  const struct irq_line *intx)
{
	BUG_ON(f->is_plugged);
	if (f->msix_cap && !f->msix) {
		uint32_t flags = pci_get(f, f->msix_cap + PCI_MSIX_FLAGS, 2);
		uint16_t nr = (uint16_t)((flags & PCI_MSIX_FLAGS_QSIZE) + 1);
		int err = msix_create(&f->msix, host->irq, nr);
		if (err)
			return err;
		msix_watch(f->msix, host->irq_refused, host->ctx);
	}
	mutex_lock(&f->lock);
	f->host = host;
	f->bdf = bdf;
	f->intx = *intx;
	f->is_plugged = true;
	pci_update_intx(f); /* raised before it had a line */
	mutex_unlock(&f->lock);
	return 0;
}

void pci_func_set_bar(struct pci_func *f, unsigned bar, uint64_t addr)
{
	mutex_lock(&f->lock);
	struct pci_bar *b = &f->bars[bar];
	le_store(f->config + pci_bar_reg(bar), addr | pci_bar_flags(b->kind),
		 pci_bar_is_64(b) ? 8 : 4);
	pci_bar_update(f, bar);
	mutex_unlock(&f->lock);
}

void pci_func_enable(struct pci_func *f)
{
	mutex_lock(&f->lock);
	f->config[PCI_COMMAND] |= PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	pci_update_bars(f);
	mutex_unlock(&f->lock);
}

void pci_func_retry_bars(struct pci_func *f)
{
	mutex_lock(&f->lock);
	pci_update_bars(f);
	mutex_unlock(&f->lock);
}

void pci_func_unplug(struct pci_func *f)
{
	mutex_lock(&f->lock);
	f->is_plugged = false;
	pci_put(f, PCI_COMMAND, 0, 2);
	pci_update_bars(f);
	pci_update_intx(f);
	if (f->msix) {
		f->config[f->msix_cap + PCI_MSIX_FLAGS + 1] &= PCI_MSIX_FLAGS_QSIZE >> 8;
		msix_reset(f->msix);
	}
	mutex_unlock(&f->lock);
	rcu_synchronize(); /* not under the lock: a handler may wait for it */
}

/* --- the driver's accesses --- */

/* Does [off, off+len) meet [start, start+size)? */
static bool pci_touches(unsigned off, unsigned len, unsigned start, unsigned size)
{
	return off < start + size && start < off + len;
}

bool pci_moves_bars(uint16_t off, unsigned len)
{
	return pci_touches(off, len, PCI_COMMAND, 2) ||
	       pci_touches(off, len, PCI_BASE_ADDRESS_0, 4 * PCI_NR_BARS);
}

void pci_func_config_read(struct pci_func *f, uint16_t off, void *data, unsigned len)
{
	BUG_ON(off + len > PCI_CONFIG_BYTES);
	if (off >= PCI_HEADER_BYTES && f->ops && f->ops->config_reading)
		f->ops->config_reading(f, off, len);
	mutex_lock_shared(&f->lock);
	memcpy(data, f->config + off, len);
	mutex_unlock_shared(&f->lock);
}

static void pci_apply_masks(struct pci_func *f, unsigned off, const uint8_t *data, unsigned len)
	MUST_HOLD(&f->lock)
{
	for (unsigned i = off; i < off + len; i++) {
		uint8_t v = data[i - off], w = f->writable[i];
		uint8_t clear = i < sizeof(f->write_clear) ? v & f->write_clear[i] : 0;
		f->config[i] = (uint8_t)(((f->config[i] & ~w) | (v & w)) & ~clear);
	}
}

/* True: an interrupt mode changed. */
static bool pci_act_locked(struct pci_func *f, unsigned off, unsigned len, uint32_t command)
	MUST_HOLD(&f->lock)
{
	bool has_changed = false;
	if (!f->is_plugged)
		return false;
	if (pci_moves_bars((uint16_t)off, len))
		pci_update_bars(f);
	if ((pci_get(f, PCI_COMMAND, 2) ^ command) & PCI_COMMAND_INTX_DISABLE) {
		pci_update_intx(f);
		has_changed = true;
	}
	if (f->msix && pci_touches(off, len, f->msix_cap + PCI_MSIX_FLAGS, 2)) {
		pci_update_msix(f);
		has_changed = true;
	}
	return has_changed;
}

void pci_func_config_write(struct pci_func *f, uint16_t off, const void *data, unsigned len)
{
	BUG_ON(off + len > PCI_CONFIG_BYTES);
	mutex_lock(&f->lock);
	uint32_t command = pci_get(f, PCI_COMMAND, 2);
	pci_apply_masks(f, off, data, len);
	bool has_changed = pci_act_locked(f, off, len, command);
	bool is_other_master = (pci_get(f, PCI_COMMAND, 2) ^ command) & PCI_COMMAND_MASTER;
	mutex_unlock(&f->lock);
	if (has_changed && f->ops && f->ops->irq_mode_changed)
		f->ops->irq_mode_changed(f);
	if (is_other_master && f->ops && f->ops->master_changed)
		f->ops->master_changed(f);
	if (off >= PCI_HEADER_BYTES && f->ops && f->ops->config_written)
		f->ops->config_written(f, off, len);
}
