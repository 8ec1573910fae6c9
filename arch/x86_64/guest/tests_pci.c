/*
 * tests_pci.c - configuration space: both roads, BARs, the command register, capabilities.
 */
#include <linux/pci_regs.h>
#include "io.h"
#include "mem.h"
#include "pci.h"
#include "test.h"
#include "virtio.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CLASS_HOST     0x0600
#define FREE_WINDOW    0xd8000000ul /* nothing is placed here */

#define FOR_EACH_DEVICE(d)                                                                         \
	for (struct pci_dev *d = pci_nth(0), *end_ = d + pci_count(); d < end_; d++)

static enum verdict host_bridge(void)
{
	CHECK(pci_count() > 0);
	const struct pci_dev *d = pci_nth(0);
	CHECK_EQ(d->slot, 0);
	CHECK_EQ(pci_read16(d, PCI_CLASS_DEVICE), CLASS_HOST);
	FOR_EACH_DEVICE(e)
	print("info pci %02x.%u %04x:%04x class %04x msix %u\n", e->slot, e->fn, e->vendor,
	      e->device, pci_read16(e, PCI_CLASS_DEVICE), e->msix_vectors);
	return PASS;
}

static enum verdict compare_roads(const struct pci_dev *d, unsigned offset)
{
	uint64_t at = pci_ecam_at(d->bus, d->slot, d->fn, offset);
	CHECK_EQ(mmio_read32(at), pci_port_read32(d->bus, d->slot, d->fn, offset));
	CHECK_EQ(mmio_read16(at), pci_port_read16(d->bus, d->slot, d->fn, offset));
	CHECK_EQ(mmio_read16(at + 2), pci_port_read16(d->bus, d->slot, d->fn, offset + 2));
	for (unsigned i = 0; i < 4 && offset < PCI_STD_HEADER_SIZEOF; i++)
		CHECK_EQ(mmio_read8(at + i), pci_port_read8(d->bus, d->slot, d->fn, offset + i));
	return PASS;
}

/* The virtio configuration window (PCI_CFG) reads registers as a side effect: left out. */
static bool is_window(const struct pci_dev *d, unsigned offset)
{
	for (uint8_t c = pci_capability(d, PCI_CAP_ID_VNDR, 0); c;
	     c = pci_capability(d, PCI_CAP_ID_VNDR, c))
		if (pci_read8(d, c + 3u) == VIRTIO_PCI_CAP_PCI_CFG && offset >= c + 16u &&
		    offset < c + 20u)
			return true;
	return false;
}

static enum verdict roads_agree(void)
{
	if (!pci_ecam_at(0, 0, 0, 0))
		return test_skip("no ECAM");
	FOR_EACH_DEVICE(d)
	for (unsigned offset = 0; offset < 0x100; offset += 4)
		if (offset < 0x40 || !is_window(d, offset))
			CHECK_PASS(compare_roads(d, offset));
	return PASS;
}

static bool is_known(uint8_t slot)
{
	FOR_EACH_DEVICE(d)
	if (d->slot == slot)
		return true;
	return false;
}

static enum verdict absent(void)
{
	for (uint8_t slot = 0; slot < 32; slot++) {
		if (is_known(slot))
			continue;
		CHECK_EQ(pci_port_read32(0, slot, 0, 0), 0xffffffff);
		CHECK_EQ(pci_port_read8(0, slot, 7, 0xff), 0xff);
		if (pci_ecam_at(0, slot, 0, 0))
			CHECK_EQ(mmio_read32(pci_ecam_at(0, slot, 0, 0)), 0xffffffff);
	}
	CHECK_EQ(pci_port_read32(200, 0, 0, 0), 0xffffffff);
	return PASS;
}

static enum verdict address_port(void)
{
	out32(CONFIG_ADDRESS, 0x80000008);
	CHECK_EQ(in32(CONFIG_ADDRESS), 0x80000008);
	out8(CONFIG_ADDRESS, 0); /* narrow: not for us */
	CHECK_EQ(in32(CONFIG_ADDRESS), 0x80000008);
	out32(CONFIG_ADDRESS, 0x00000000); /* enable bit off */
	CHECK_EQ(in32(CONFIG_DATA), 0xffffffff);
	return PASS;
}

static enum verdict bar_sizes(void)
{
	FOR_EACH_DEVICE(d)
	{
		if ((pci_read8(d, PCI_HEADER_TYPE) & 0x7f) != PCI_HEADER_TYPE_NORMAL)
			continue;
		for (unsigned n = 0; n < PCI_BARS; n++) {
			struct pci_bar bar = pci_bar_probe(d, n);
			CHECK_EQ(bar.at, d->bars[n].at);
			CHECK_EQ(bar.bytes, d->bars[n].bytes);
			CHECK_EQ(bar.bytes & (bar.bytes - 1), 0);
			if (bar.bytes)
				CHECK_EQ(bar.at & (bar.bytes - 1), 0);
			n += bar.is_wide;
		}
	}
	return PASS;
}

static enum verdict any_virtio(struct virtio *v)
{
	for (uint16_t type = 1; type < 64; type++)
		if (virtio_find(v, type, 0))
			return PASS;
	return test_skip("no virtio device");
}

static unsigned bar_of(const struct virtio *v)
{
	unsigned n = 0;
	while (n < PCI_BARS && !(v->pci->bars[n].bytes && v->common >= v->pci->bars[n].at &&
				 v->common - v->pci->bars[n].at < v->pci->bars[n].bytes))
		n++;
	return n;
}

static void bar_write(const struct pci_dev *d, unsigned n, uint64_t at)
{
	pci_write32(d, PCI_BASE_ADDRESS_0 + 4 * n, (uint32_t)at);
	if (d->bars[n].is_wide)
		pci_write32(d, PCI_BASE_ADDRESS_0 + 4 * n + 4, (uint32_t)(at >> 32));
}

/* Where no device answers, reads give all ones; some machines give zero. */
static bool is_nobody(uint8_t got)
{
	return got == 0xff || (got == 0 && !is_strict());
}

/* Moved, the registers answer at the new place and only there; and again at the old one. */
static enum verdict bar_moves(void)
{
	struct virtio v;
	CHECK_PASS(any_virtio(&v));
	unsigned n = bar_of(&v);
	CHECK(n < PCI_BARS);
	uint64_t old = v.pci->bars[n].at,
		 status = v.common - old + FREE_WINDOW + COMMON_AT(device_status);
	virtio_add_status(&v, VSTATUS_ACK);
	for (unsigned i = 0; i < 20; i++) {
		pci_write16(v.pci, PCI_COMMAND, PCI_COMMAND_MASTER);
		bar_write(v.pci, n, FREE_WINDOW);
		pci_write16(v.pci, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
		uint8_t there = mmio_read8(status), here = virtio_status(&v);
		pci_write16(v.pci, PCI_COMMAND, PCI_COMMAND_MASTER);
		bar_write(v.pci, n, old);
		pci_write16(v.pci, PCI_COMMAND, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
		CHECK_EQ(there, VSTATUS_ACK);
		CHECK(is_nobody(here));
		CHECK_EQ(virtio_status(&v), VSTATUS_ACK);
		CHECK(is_nobody(mmio_read8(status)));
	}
	CHECK(virtio_reset(&v));
	return PASS;
}

static enum verdict command_memory(void)
{
	struct virtio v;
	CHECK_PASS(any_virtio(&v));
	uint16_t command = pci_read16(v.pci, PCI_COMMAND);
	virtio_add_status(&v, VSTATUS_ACK);
	CHECK(command & PCI_COMMAND_MEMORY);
	pci_write16(v.pci, PCI_COMMAND, (uint16_t)(command & ~PCI_COMMAND_MEMORY));
	uint8_t off = virtio_status(&v);
	uint16_t read = pci_read16(v.pci, PCI_COMMAND);
	pci_write16(v.pci, PCI_COMMAND, command);
	CHECK(is_nobody(off));
	CHECK_EQ(read & PCI_COMMAND_MEMORY, 0);
	CHECK_EQ(virtio_status(&v), VSTATUS_ACK);
	CHECK(virtio_reset(&v));
	return PASS;
}

static enum verdict read_only(void)
{
	static const uint8_t fixed[] = { PCI_VENDOR_ID, PCI_CLASS_REVISION, PCI_SUBSYSTEM_VENDOR_ID,
					 PCI_CAPABILITY_LIST };
	FOR_EACH_DEVICE(d)
	for (unsigned i = 0; i < sizeof(fixed); i++) {
		uint32_t before = pci_read32(d, fixed[i]);
		pci_write32(d, fixed[i], ~before);
		uint32_t after = pci_read32(d, fixed[i]);
		CHECK_EQ(after, before);
	}
	return PASS;
}

static enum verdict capabilities(void)
{
	FOR_EACH_DEVICE(d)
	{
		if (!(pci_read16(d, PCI_STATUS) & PCI_STATUS_CAP_LIST))
			continue;
		uint64_t seen = 0; /* one bit a dword */
		for (uint8_t at = pci_read8(d, PCI_CAPABILITY_LIST); at;
		     at = pci_read8(d, at + 1u)) {
			CHECK(at >= 0x40 && (at & 3) == 0);
			CHECK(!(seen >> (at / 4) & 1));
			seen |= 1ul << (at / 4);
		}
	}
	return PASS;
}

/* Every structure a virtio capability names lies inside its BAR; the five kinds are there. */
static enum verdict virtio_capabilities(void)
{
	struct virtio v;
	CHECK_PASS(any_virtio(&v));
	unsigned kinds = 0;
	for (uint8_t c = pci_capability(v.pci, PCI_CAP_ID_VNDR, 0); c;
	     c = pci_capability(v.pci, PCI_CAP_ID_VNDR, c)) {
		uint8_t kind = pci_read8(v.pci, c + 3u), bar = pci_read8(v.pci, c + 4u);
		uint32_t offset = pci_read32(v.pci, c + 8u), bytes = pci_read32(v.pci, c + 12u);
		CHECK(pci_read8(v.pci, c + 2u) >= 16);
		kinds |= 1u << kind;
		if (kind == VIRTIO_PCI_CAP_PCI_CFG)
			continue;
		CHECK(bar < PCI_BARS && bytes > 0);
		CHECK((uint64_t)offset + bytes <= v.pci->bars[bar].bytes);
	}
	CHECK_EQ(kinds & 0x3e, v.config ? 0x3e : 0x2e);
	CHECK(v.common_bytes >= sizeof(struct virtio_pci_common_cfg));
	return PASS;
}

/* VIRTIO 1.2 §4.1.4.9: any register is reachable through configuration space alone. */
static enum verdict config_window(void)
{
	struct virtio v;
	CHECK_PASS(any_virtio(&v));
	uint8_t c = pci_capability(v.pci, PCI_CAP_ID_VNDR, 0);
	while (c && pci_read8(v.pci, c + 3u) != VIRTIO_PCI_CAP_PCI_CFG)
		c = pci_capability(v.pci, PCI_CAP_ID_VNDR, c);
	CHECK(c);
	unsigned n = bar_of(&v);
	uint32_t offset = (uint32_t)(v.common - v.pci->bars[n].at + COMMON_AT(device_status));
	pci_write8(v.pci, c + 4u, (uint8_t)n);
	pci_write32(v.pci, c + 8u, offset);
	pci_write32(v.pci, c + 12u, 1);
	pci_write8(v.pci, c + 16u, VSTATUS_ACK);
	CHECK_EQ(virtio_status(&v), VSTATUS_ACK);
	CHECK_EQ(pci_read8(v.pci, c + 16u), VSTATUS_ACK);
	pci_write32(v.pci, c + 8u, 0xfffffff0); /* outside: nothing happens */
	(void)pci_read8(v.pci, c + 16u);
	pci_write8(v.pci, c + 16u, 0xff);
	CHECK_EQ(virtio_status(&v), VSTATUS_ACK);
	CHECK(virtio_reset(&v));
	return PASS;
}

const struct test pci_tests[] = {
	{ "pci.host-bridge", host_bridge },
	{ "pci.roads-agree", roads_agree },
	{ "pci.absent", absent },
	{ "pci.address-port", address_port },
	{ "pci.bar-sizes", bar_sizes },
	{ "pci.bar-moves", bar_moves },
	{ "pci.command-memory", command_memory },
	{ "pci.read-only", read_only },
	{ "pci.capabilities", capabilities },
	{ "pci.virtio-capabilities", virtio_capabilities },
	{ "pci.config-window", config_window },
	{ NULL, NULL },
};
