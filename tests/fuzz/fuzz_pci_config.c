/*
 * fuzz_pci_config.c - a guest that writes anything anywhere in configuration space, by both roads,
 * while functions come and go; after each step the machine must still make sense.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <linux/pci_regs.h>
#include "bus/pci.h"
#include "dev/platform.h"
#include "sync/rcu.h"
#include "unit/bus/fake_chip.h"

#define NR_DEVS    3
#define NR_VECTORS 3
#define ECAM       0xe0000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct dev {
	struct pci_func func;
	struct notifier n[NR_VECTORS];
	uint64_t told[PCI_NR_BARS]; /* where bar_mapped said the BAR is; 0: nowhere */
	bool is_in;
};

struct machine {
	struct fake_chip chip;
	struct bus *pio, *mmio;
	struct pci_bus *bus;
	struct pci_root *root;
	struct dev devs[NR_DEVS];
};

static const uint8_t *fuzz_at, *fuzz_end;

static uint64_t take_bytes(unsigned bytes)
{
	uint64_t v = 0;
	for (; bytes && fuzz_at < fuzz_end; bytes--)
		v = v << 8 | *fuzz_at++;
	return v;
}

/* BAR 0 has the MSI-X structures; the others answer with who they are. */
static void bar_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	struct dev *d = ctx;
	if (offset < 0x800)
		msix_table_read(d->func.msix, offset, data, len);
	else if (offset < 0xc00)
		msix_pba_read(d->func.msix, offset - 0x800, data, len);
	else
		memset(data, 0x5a, len);
}

static void bar_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	struct dev *d = ctx;
	if (offset < 0x800)
		msix_table_write(d->func.msix, offset, data, len);
	else
		pci_func_set_intx(&d->func, *(const uint8_t *)data & 1);
}

static const struct bus_ops bar_ops = { .name = "bar", .read = bar_read, .write = bar_write };

static void on_mapped(struct pci_func *f, unsigned bar, uint64_t addr, bool is_on)
{
	struct dev *d = container_of(f, struct dev, func);
	BUG_ON(is_on == (d->told[bar] != 0)); /* on and off take turns */
	BUG_ON(!is_on && d->told[bar] != addr);
	d->told[bar] = is_on ? addr : 0;
}

static const struct pci_func_ops dev_ops = { .bar_mapped = on_mapped };

static void dev_init(struct dev *d)
{
	static const struct pci_ident id = { .vendor = 0x1af4, .device = 0x1042, .has_intx = true };
	static const uint8_t body[6], bits[6] = { 0xff, 0x0f, 0, 0, 0xff, 0xff };
	int err = pci_func_init(&d->func, &id, &dev_ops);
	err |= pci_func_add_bar(&d->func, 0, PCI_BAR_MEM32, 0x1000, &bar_ops, d);
	err |= pci_func_add_bar(&d->func, 1, PCI_BAR_IO, 16, &bar_ops, d);
	err |= pci_func_add_bar(&d->func, 2, PCI_BAR_MEM64, 0x10000, &bar_ops, d);
	err |= pci_func_add_bar(&d->func, 4, PCI_BAR_MEM64_PREFETCH, 1ull << 30, &bar_ops, d);
	BUG_ON(err);
	BUG_ON(pci_func_add_msix(&d->func, NR_VECTORS, 0, 0, 0x800) < 0);
	BUG_ON(pci_func_add_cap(&d->func, PCI_CAP_ID_VNDR, body, bits, sizeof(body)) < 0);
}

static void plug(struct machine *m, struct dev *d)
{
	BUG_ON(pci_bus_add(m->bus, &d->func, (int)(1 + (d - m->devs))) < 0);
	for (uint16_t i = 0; i < NR_VECTORS; i++)
		BUG_ON(msix_attach(d->func.msix, i, &d->n[i]));
	d->is_in = true;
}

static void unplug(struct machine *m, struct dev *d)
{
	pci_bus_remove(m->bus, &d->func);
	for (uint16_t i = 0; i < NR_VECTORS; i++)
		msix_detach(d->func.msix, &d->n[i]);
	for (unsigned i = 0; i < PCI_NR_BARS; i++)
		BUG_ON(d->told[i]);
	d->is_in = false;
}

/* --- what must hold after every step --- */

static void check_dev(const struct machine *m, struct dev *d)
{
	const struct pci_func *f = &d->func;
	uint16_t command = (uint16_t)(f->config[PCI_COMMAND] | f->config[PCI_COMMAND + 1] << 8);
	BUG_ON(memcmp(f->config, "\xf4\x1a\x42\x10", 4));
	BUG_ON(f->config[PCI_INTERRUPT_PIN] != 1);
	for (unsigned i = 0; i < PCI_NR_BARS; i++) {
		const struct pci_bar *b = &f->bars[i];
		if (!b->size)
			continue;
		BUG_ON(b->is_mapped != (d->told[i] != 0) ||
		       (b->is_mapped && d->told[i] != b->addr));
		bool is_on = command &
			     (b->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
		BUG_ON(b->is_mapped && !is_on);
		uint8_t v = 0;
		if (b->is_mapped)
			BUG_ON(!bus_read(b->kind == PCI_BAR_IO ? m->pio : m->mmio,
					 b->addr + b->size - 1, &v, 1));
	}
}

static void check(struct machine *m)
{
	bool level[8] = { 0 };
	for (unsigned i = 0; i < NR_DEVS; i++) {
		struct dev *d = &m->devs[i];
		if (!d->is_in)
			continue;
		check_dev(m, d);
		level[(1 + i) % 2] |= d->func.intx_level && !(d->func.config[PCI_COMMAND + 1] &
							      PCI_COMMAND_INTX_DISABLE >> 8);
	}
	for (unsigned i = 0; i < 2; i++)
		BUG_ON(m->chip.level[16 + i] != level[i]);
	for (unsigned i = 0; i < FAKE_GSIS; i++)
		BUG_ON(m->chip.wires[i] < 0 || m->chip.wires[i] > 1);
}

/* --- steps --- */

static void step_config(struct machine *m, uint8_t how)
{
	uint32_t bdf = (uint32_t)take_bytes(1) % 5 << 3, reg = (uint32_t)take_bytes(1);
	uint32_t len = 1u << how / 4 % 3, v = (uint32_t)take_bytes(len);
	if (how & 1) {
		uint64_t at = ECAM + bdf * 4096ull + reg;
		(void)(how & 2 ? bus_write(m->mmio, at, &v, len) : bus_read(m->mmio, at, &v, len));
		return;
	}
	uint32_t address = 1u << 31 | bdf << 8 | reg;
	bus_write(m->pio, 0xcf8, &address, 4);
	uint64_t at = 0xcfc + (reg & 3);
	(void)(how & 2 ? bus_write(m->pio, at, &v, len) : bus_read(m->pio, at, &v, len));
}

static void step_bar(struct machine *m, uint8_t how)
{
	uint64_t at = 0xc0000000 + take_bytes(1) % 4 * 0x1000 + take_bytes(2) % 0x1000;
	uint32_t len = 1u << how % 4;
	uint64_t v = take_bytes(len);
	(void)(how & 4 ? bus_write(m->mmio, at, &v, len) : bus_read(m->mmio, at, &v, len));
}

static void step(struct machine *m)
{
	uint8_t what = (uint8_t)take_bytes(1), how = (uint8_t)take_bytes(1);
	struct dev *d = &m->devs[how % NR_DEVS];
	if (what < 170)
		step_config(m, how);
	else if (what < 230)
		step_bar(m, how);
	else if (what < 240)
		pci_func_set_intx(&d->func, how & 4);
	else if (what < 250)
		notifier_signal(&d->n[how / 4 % NR_VECTORS]);
	else if (d->is_in)
		unplug(m, d);
	else
		plug(m, d);
}

static void on_event(void *ctx, enum machine_event ev)
{
	(void)ctx;
	(void)ev;
}

static void machine_init(struct machine *m)
{
	static const struct pci_windows w = { .mmio32_base = 0xc0000000,
					      .mmio32_len = 0x20000000,
					      .mmio64_base = 0x100000000,
					      .mmio64_len = 0x1000000000,
					      .io_base = 0xd000,
					      .io_len = 0x1000,
					      .intx_gsi_base = 16,
					      .intx_gsi_count = 2 };
	fake_chip_init(&m->chip);
	int err = bus_create(&m->pio, BUS_PIO) | bus_create(&m->mmio, BUS_MMIO);
	struct pci_host host = { .mmio = m->mmio, .pio = m->pio, .irq = &m->chip.chip };
	struct machine_sink sink = { on_event, m };
	err |= pci_bus_create(&m->bus, &host, &w);
	err |= pci_root_create(&m->root, m->bus, &sink);
	err |= bus_add(m->pio, 0xcf8, 8, &pci_root_cf8_bus_ops, m->root);
	err |= bus_add(m->mmio, ECAM, 1ull << 28, &pci_root_ecam_bus_ops, m->root);
	BUG_ON(err);
	for (unsigned i = 0; i < NR_DEVS; i++) {
		for (unsigned k = 0; k < NR_VECTORS; k++)
			BUG_ON(notifier_init(&m->devs[i].n[k]));
		dev_init(&m->devs[i]);
		plug(m, &m->devs[i]);
	}
}

static void machine_fini(struct machine *m)
{
	for (unsigned i = 0; i < NR_DEVS; i++) {
		struct dev *d = &m->devs[i];
		if (d->is_in)
			unplug(m, d);
		pci_func_fini(&d->func);
		for (unsigned k = 0; k < NR_VECTORS; k++)
			notifier_fini(&d->n[k]);
	}
	pci_root_destroy(m->root);
	pci_bus_destroy(m->bus);
	bus_destroy(m->pio);
	bus_destroy(m->mmio);
	for (unsigned i = 0; i < FAKE_GSIS; i++)
		BUG_ON(m->chip.wires[i] || m->chip.used[i] || m->chip.level[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned nr_runs;
	static struct machine m;
	if (!nr_runs)
		rcu_enter_thread();
	memset(&m, 0, sizeof(m));
	fuzz_at = data;
	fuzz_end = data + size;
	machine_init(&m);
	for (unsigned n = 0; fuzz_at < fuzz_end && n < 512; n++) {
		step(&m);
		check(&m);
	}
	machine_fini(&m);
	if (++nr_runs % 64 == 0) /* it waits for a thread that looks up every 10 ms */
		rcu_drain();
	return 0;
}
