/*
 * pci.c - see pci.h. PCI Local Bus 3.0 §6, PCI Express Base 3.0 §7.2.2, MSI-X: PCI 3.0 §6.8.2.
 */
#include "pci.h"
#include <linux/pci_regs.h>
#include "acpi.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"

#define CONFIG_ADDRESS  0xcf8
#define CONFIG_DATA     0xcfc
#define WINDOW_START    0xc0000000ul /* for BARs that nobody has placed */
#define MSI_ADDRESS     0xfee00000u
#define MSIX_TABLE_MASK 0xfffffff8u

static struct pci_dev devices[PCI_MAX_DEVICES];
static unsigned ndevices;
static uint64_t ecam, window = WINDOW_START;

static void port_select(uint8_t bus, uint8_t slot, uint8_t fn, unsigned offset)
{
	out32(CONFIG_ADDRESS, 1u << 31 | (uint32_t)bus << 16 | (uint32_t)slot << 11 |
				      (uint32_t)fn << 8 | (offset & 0xfc));
}

uint32_t pci_port_read32(uint8_t bus, uint8_t slot, uint8_t fn, unsigned offset)
{
	port_select(bus, slot, fn, offset);
	return in32(CONFIG_DATA);
}

uint16_t pci_port_read16(uint8_t bus, uint8_t slot, uint8_t fn, unsigned offset)
{
	port_select(bus, slot, fn, offset);
	return in16((uint16_t)(CONFIG_DATA + (offset & 2)));
}

uint8_t pci_port_read8(uint8_t bus, uint8_t slot, uint8_t fn, unsigned offset)
{
	port_select(bus, slot, fn, offset);
	return in8((uint16_t)(CONFIG_DATA + (offset & 3)));
}

uint64_t pci_ecam_at(uint8_t bus, uint8_t slot, uint8_t fn, unsigned offset)
{
	if (!ecam)
		return 0;
	return ecam + ((uint64_t)bus << 20 | (uint64_t)slot << 15 | (uint64_t)fn << 12 | offset);
}

static uint64_t dev_ecam(const struct pci_dev *d, unsigned offset)
{
	return pci_ecam_at(d->bus, d->slot, d->fn, offset);
}

uint32_t pci_read32(const struct pci_dev *d, unsigned offset)
{
	if (ecam)
		return mmio_read32(dev_ecam(d, offset));
	return pci_port_read32(d->bus, d->slot, d->fn, offset);
}

uint16_t pci_read16(const struct pci_dev *d, unsigned offset)
{
	if (ecam)
		return mmio_read16(dev_ecam(d, offset));
	return pci_port_read16(d->bus, d->slot, d->fn, offset);
}

uint8_t pci_read8(const struct pci_dev *d, unsigned offset)
{
	if (ecam)
		return mmio_read8(dev_ecam(d, offset));
	return pci_port_read8(d->bus, d->slot, d->fn, offset);
}

void pci_write32(const struct pci_dev *d, unsigned offset, uint32_t v)
{
	if (ecam) {
		mmio_write32(dev_ecam(d, offset), v);
		return;
	}
	port_select(d->bus, d->slot, d->fn, offset);
	out32(CONFIG_DATA, v);
}

void pci_write16(const struct pci_dev *d, unsigned offset, uint16_t v)
{
	if (ecam) {
		mmio_write16(dev_ecam(d, offset), v);
		return;
	}
	port_select(d->bus, d->slot, d->fn, offset);
	out16((uint16_t)(CONFIG_DATA + (offset & 2)), v);
}

void pci_write8(const struct pci_dev *d, unsigned offset, uint8_t v)
{
	if (ecam) {
		mmio_write8(dev_ecam(d, offset), v);
		return;
	}
	port_select(d->bus, d->slot, d->fn, offset);
	out8((uint16_t)(CONFIG_DATA + (offset & 3)), v);
}

uint8_t pci_capability(const struct pci_dev *d, uint8_t id, uint8_t from)
{
	if (!(pci_read16(d, PCI_STATUS) & PCI_STATUS_CAP_LIST))
		return 0;
	uint8_t at = pci_read8(d, from ? from + 1u : PCI_CAPABILITY_LIST);
	for (unsigned steps = 48; steps && at >= 0x40; steps--) {
		if (pci_read8(d, at) == id)
			return at;
		at = pci_read8(d, at + 1u);
	}
	return 0;
}

struct pci_bar pci_bar_probe(const struct pci_dev *d, unsigned n)
{
	unsigned at = PCI_BASE_ADDRESS_0 + 4 * n;
	uint16_t command = pci_read16(d, PCI_COMMAND);
	uint32_t low = pci_read32(d, at), high = 0;
	struct pci_bar bar = { .is_io = low & 1, .is_wide = (low & 7) == 4 };
	pci_write16(d, PCI_COMMAND, (uint16_t)(command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY)));
	pci_write32(d, at, ~0u);
	uint64_t mask = pci_read32(d, at) & (bar.is_io ? ~3u : ~15u);
	bool is_there = mask != 0;
	pci_write32(d, at, low);
	if (bar.is_wide) {
		high = pci_read32(d, at + 4);
		pci_write32(d, at + 4, ~0u);
		mask |= (uint64_t)pci_read32(d, at + 4) << 32;
		pci_write32(d, at + 4, high);
	} else {
		mask |= ~0ul << 32;
	}
	pci_write16(d, PCI_COMMAND, command);
	if (!is_there)
		return (struct pci_bar){ 0 };
	bar.at = (low & (bar.is_io ? ~3u : ~15u)) | (uint64_t)high << 32;
	bar.bytes = ~mask + 1;
	if (bar.is_io)
		bar.bytes &= 0xffff;
	return bar;
}

static void bar_place(const struct pci_dev *d, unsigned n, struct pci_bar *bar)
{
	if (bar->at || bar->is_io || !bar->bytes)
		return;
	window = (window + bar->bytes - 1) & ~(bar->bytes - 1);
	bar->at = window;
	window += bar->bytes;
	pci_write32(d, PCI_BASE_ADDRESS_0 + 4 * n, (uint32_t)bar->at);
	if (bar->is_wide)
		pci_write32(d, PCI_BASE_ADDRESS_0 + 4 * n + 4, (uint32_t)(bar->at >> 32));
}

static void find_msix(struct pci_dev *d)
{
	d->msix_cap = pci_capability(d, PCI_CAP_ID_MSIX, 0);
	if (!d->msix_cap)
		return;
	uint32_t table = pci_read32(d, d->msix_cap + PCI_MSIX_TABLE);
	uint32_t pba = pci_read32(d, d->msix_cap + PCI_MSIX_PBA);
	d->msix_vectors = (pci_read16(d, d->msix_cap + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1u;
	if ((table & 7) < PCI_BARS)
		d->msix_table = d->bars[table & 7].at + (table & MSIX_TABLE_MASK);
	if ((pba & 7) < PCI_BARS)
		d->msix_pba = d->bars[pba & 7].at + (pba & MSIX_TABLE_MASK);
}

static void add(uint8_t slot, uint8_t fn, uint32_t id)
{
	if (ndevices == PCI_MAX_DEVICES)
		return;
	struct pci_dev *d = &devices[ndevices++];
	*d = (struct pci_dev){ .slot = slot, .fn = fn };
	d->vendor = (uint16_t)id;
	d->device = (uint16_t)(id >> 16);
	if ((pci_read8(d, PCI_HEADER_TYPE) & 0x7f) != PCI_HEADER_TYPE_NORMAL)
		return;
	for (unsigned n = 0; n < PCI_BARS; n++) {
		struct pci_bar *bar = &d->bars[n];
		*bar = pci_bar_probe(d, n);
		bar_place(d, n, bar);
		if (bar->bytes && !bar->is_io)
			mem_map(bar->at, bar->bytes);
		n += bar->is_wide;
	}
	pci_write16(d, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	find_msix(d);
}

void pci_init(void)
{
	ecam = acpi_ecam();
	if (ecam)
		mem_map(ecam, 1u << 20); /* bus 0 */
	for (uint8_t slot = 0; slot < 32; slot++) {
		struct pci_dev probe = { .slot = slot };
		if (pci_read16(&probe, PCI_VENDOR_ID) == 0xffff)
			continue;
		bool is_multi = pci_read8(&probe, PCI_HEADER_TYPE) & 0x80;
		for (uint8_t fn = 0; fn < (is_multi ? 8 : 1); fn++) {
			probe.fn = fn;
			uint32_t id = pci_read32(&probe, PCI_VENDOR_ID);
			if ((id & 0xffff) != 0xffff)
				add(slot, fn, id);
		}
	}
}

unsigned pci_count(void)
{
	return ndevices;
}

struct pci_dev *pci_nth(unsigned n)
{
	return n < ndevices ? &devices[n] : NULL;
}

static void msix_flag(const struct pci_dev *d, uint16_t flag, bool is_on)
{
	uint16_t v = pci_read16(d, d->msix_cap + PCI_MSIX_FLAGS);
	v = (uint16_t)(is_on ? v | flag : v & ~flag);
	pci_write16(d, d->msix_cap + PCI_MSIX_FLAGS, v);
}

void msix_enable(const struct pci_dev *d, bool is_on)
{
	if (d->msix_cap)
		msix_flag(d, PCI_MSIX_FLAGS_ENABLE, is_on);
}

void msix_mask_all(const struct pci_dev *d, bool is_masked)
{
	msix_flag(d, PCI_MSIX_FLAGS_MASKALL, is_masked);
}

void msix_route(const struct pci_dev *d, unsigned n, uint32_t apic_id)
{
	uint64_t entry = d->msix_table + n * PCI_MSIX_ENTRY_SIZE;
	msix_mask(d, n, true); /* only a masked entry may change */
	mmio_write32(entry + PCI_MSIX_ENTRY_LOWER_ADDR, MSI_ADDRESS | apic_id << 12);
	mmio_write32(entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
	mmio_write32(entry + PCI_MSIX_ENTRY_DATA, VEC_MSI + n);
	msix_mask(d, n, false);
}

void msix_mask(const struct pci_dev *d, unsigned n, bool is_masked)
{
	mmio_write32(d->msix_table + n * PCI_MSIX_ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL,
		     is_masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
}

bool msix_is_pending(const struct pci_dev *d, unsigned n)
{
	return mmio_read64(d->msix_pba + n / 64 * 8) >> (n % 64) & 1;
}
