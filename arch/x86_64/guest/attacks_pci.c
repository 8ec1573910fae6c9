/*
 * attacks_pci.c - configuration space written all over, BARs moved to where they cannot be and
 * under I/O, MSI-X tables of rubbish. PCI Local Bus 3.0 §6.
 *
 * Whatever was done, the function is put back by the old ports, which no BAR can hide.
 */
#include <linux/pci_regs.h>
#include "attack.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define CONFIG_BYTES   0x100u
#define EXTENDED_BYTES 0x1000u

/* What the firmware and we have set in a function. */
struct saved {
	const struct pci_dev *dev;
	uint32_t header[16], msix;
};

static void port_write32(const struct pci_dev *d, unsigned offset, uint32_t v)
{
	out32(CONFIG_ADDRESS, 1u << 31 | (uint32_t)d->slot << 11 | (uint32_t)d->fn << 8 | offset);
	out32(CONFIG_DATA, v);
}

static struct saved save(const struct pci_dev *d)
{
	struct saved s = { .dev = d };
	for (unsigned i = 0; i < 16; i++)
		s.header[i] = pci_port_read32(d->bus, d->slot, d->fn, 4 * i);
	s.msix = pci_port_read32(d->bus, d->slot, d->fn, d->msix_cap);
	return s;
}

/* BARs may only be moved while they answer nowhere. */
static void restore(const struct saved *s)
{
	port_write32(s->dev, PCI_COMMAND, 0);
	for (unsigned i = 3; i < 16; i++)
		port_write32(s->dev, 4 * i, s->header[i]);
	port_write32(s->dev, s->dev->msix_cap, s->msix);
	port_write32(s->dev, PCI_COMMAND, s->header[1] & 0xffff);
}

static enum verdict victim(struct probe *p, struct saved *s)
{
	CHECK_PASS(probe_open(p, 0, SCENE_QUEUE));
	if (!p->dev.pci->msix_cap)
		return test_skip("no MSI-X");
	CHECK_PASS(probe_once(p, false));
	*s = save(p->dev.pci);
	return PASS;
}

/* Where it was kept from memory meanwhile, the device waits for its driver. */
static void restore_device(const struct probe *p, const struct saved *s)
{
	restore(s);
	virtio_add_status(&p->dev, VSTATUS_DRIVER_OK);
}

/* Back again, the device must be as it was: its queue goes on. */
static enum verdict back_and_serving(struct probe *p, const struct saved *s)
{
	restore_device(p, s);
	struct saved now = save(s->dev);
	for (unsigned i = 0; i < 16; i++)
		if (i != 1 && i != 3) /* status and BIST may say other things */
			CHECK_EQ(now.header[i], s->header[i]);
	return probe_once(p, false);
}

static void ecam_write(uint64_t at, uint64_t v, unsigned width)
{
	if (width == 1)
		mmio_write8(at, (uint8_t)v);
	else if (width == 2)
		mmio_write16(at, (uint16_t)v);
	else if (width == 4)
		mmio_write32(at, (uint32_t)v);
	else
		mmio_write64(at, v);
}

/* Every offset of the function with one width: ones, zeroes, anything. */
static enum verdict sweep_by_ecam(uint64_t width)
{
	struct probe p;
	struct saved s;
	struct rand r = { boot_param_number("seed", 1) + width };
	CHECK_PASS(victim(&p, &s));
	uint64_t base = pci_ecam_at(s.dev->bus, s.dev->slot, s.dev->fn, 0);
	if (!base)
		return test_skip("no ECAM");
	for (unsigned at = 0; at < EXTENDED_BYTES; at += at < CONFIG_BYTES ? 1 : 61) {
		ecam_write(base + at, ~0ul, (unsigned)width);
		ecam_write(base + at, 0, (unsigned)width);
		ecam_write(base + at, rand_next(&r), (unsigned)width);
		(void)mmio_read64(base + (at & ~7u));
	}
	return back_and_serving(&p, &s);
}

/* The same by ports, where the width and the place within four bytes are free. */
static enum verdict sweep_by_ports(uint64_t width)
{
	struct probe p;
	struct saved s;
	struct rand r = { boot_param_number("seed", 1) + width };
	CHECK_PASS(victim(&p, &s));
	for (unsigned at = 0; at < CONFIG_BYTES; at++) {
		uint16_t data = (uint16_t)(CONFIG_DATA + (at & 3));
		out32(CONFIG_ADDRESS, 1u << 31 | (uint32_t)s.dev->slot << 11 | at);
		for (unsigned i = 0; i < 3; i++) {
			uint64_t v = i == 0 ? ~0ul : i == 1 ? 0 : rand_next(&r);
			if (width == 1)
				out8(data, (uint8_t)v);
			else if (width == 2)
				out16(data, (uint16_t)v);
			else
				out32(data, (uint32_t)v);
		}
	}
	return back_and_serving(&p, &s);
}

/* Functions, slots and buses that are not there, and the host bridge. */
static enum verdict absent_functions(uint64_t arg)
{
	struct rand r = { boot_param_number("seed", 1) };
	(void)arg;
	for (unsigned slot = 0; slot < 32; slot++)
		for (unsigned fn = slot ? 1 : 0; fn < 8; fn++) {
			uint64_t at = pci_ecam_at(0, (uint8_t)slot, (uint8_t)fn, 0);
			if (!at)
				return test_skip("no ECAM");
			for (unsigned off = 0; off < 0x40; off += 4)
				mmio_write32(at + off, (uint32_t)rand_next(&r));
			(void)mmio_read64(at + 8 * (slot & 7));
		}
	for (unsigned i = 0; i < 500; i++) {
		out32(CONFIG_ADDRESS, (uint32_t)rand_next(&r) | 1u << 31 | 1u << 23);
		out32(CONFIG_DATA, (uint32_t)rand_next(&r));
		(void)in32(CONFIG_DATA);
	}
	return PASS;
}

/* The address register itself, by parts and without the enable bit; 0xcf9 resets the machine. */
static enum verdict address_register(uint64_t arg)
{
	(void)arg;
	for (unsigned i = 0; i < 256; i++) {
		out8(CONFIG_ADDRESS, (uint8_t)i);
		out8(CONFIG_ADDRESS + 2, (uint8_t)i);
		out8(CONFIG_ADDRESS + 3, (uint8_t)i);
		out16(CONFIG_ADDRESS + 2, (uint16_t)(i << 8));
		(void)in8(CONFIG_ADDRESS + 3);
		(void)in16(CONFIG_ADDRESS + 1);
		out32(CONFIG_ADDRESS, i << 16);
		out32(CONFIG_DATA, ~0u);
	}
	return PASS;
}

static void bar_set(const struct saved *s, uint64_t at)
{
	port_write32(s->dev, PCI_BASE_ADDRESS_0, (uint32_t)at);
	port_write32(s->dev, PCI_BASE_ADDRESS_1, (uint32_t)(at >> 32));
}

/* The BAR on top of RAM, chips, other devices and nothing. */
static enum verdict bar_anywhere(uint64_t is_decoding)
{
	struct probe p;
	struct saved s;
	struct virtio other;
	CHECK_PASS(victim(&p, &s));
	uint64_t rng = virtio_find(&other, VIRTIO_ID_RNG, 0) ? other.common & ~0xffful : 0;
	const uint64_t places[] = { 0,          0x100000,     0xe0000,       0xe0000000,
				    0xe0008000, 0xfec00000,   0xfee00000,    0xfffff000,
				    rng,        rng + 0x1000, 0x100000000,   0xfffff00000000000,
				    ~0ul,       1ul << 39,    0xffffffe000ul };
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		if (!is_decoding)
			port_write32(s.dev, PCI_COMMAND, 0);
		bar_set(&s, places[i]);
		port_write32(s.dev, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
		if (places[i] >= 0xc0000000 && places[i] < 0x100000000 - 0x1000)
			(void)mmio_read32(places[i]);
		(void)pci_port_read32(0, s.dev->slot, 0, PCI_BASE_ADDRESS_0);
	}
	return back_and_serving(&p, &s);
}

/* Half an address at a time, while requests are under way and the doorbell is rung where it was. */
static enum verdict bar_under_io(uint64_t arg)
{
	struct probe p;
	struct saved s;
	(void)arg;
	CHECK_PASS(victim(&p, &s));
	for (unsigned i = 0; i < 24; i++) {
		uint32_t written;
		(void)probe_put(&p, i % 4, false);
		bar_set(&s, s.dev->bars[0].at + ((uint64_t)(i & 7) << 20));
		mmio_write16(p.ring.notify, 0);
		port_write32(s.dev, PCI_COMMAND, i & 1 ? 0 : PCI_COMMAND_MEMORY);
		mmio_write16(p.ring.notify, 0);
		restore_device(&p, &s);
		ring_kick_always(&p.ring);
		while (ring_take(&p.ring, &written) >= 0)
			;
	}
	uint32_t written;
	while (ring_take_wait(&p.ring, &written, 20) >= 0)
		;
	return back_and_serving(&p, &s);
}

/* Memory decoding and bus mastering off while requests are under way. */
static enum verdict command_under_io(uint64_t arg)
{
	struct probe p;
	struct saved s;
	uint32_t written;
	(void)arg;
	CHECK_PASS(victim(&p, &s));
	for (uint32_t command = 0; command < 0x800; command += 17) {
		(void)probe_put(&p, 0, false);
		ring_kick_always(&p.ring);
		port_write32(s.dev, PCI_COMMAND, command | 0xffff0000);
	}
	restore_device(&p, &s);
	ring_kick_always(&p.ring);
	while (ring_take_wait(&p.ring, &written, 20) >= 0)
		;
	return back_and_serving(&p, &s);
}

/* VIRTIO 1.2 §4.1.4.9: the window to the BAR in configuration space, pointed anywhere. */
static enum verdict window_anywhere(uint64_t arg)
{
	struct probe p;
	struct saved s;
	struct rand r = { boot_param_number("seed", 1) };
	(void)arg;
	CHECK_PASS(victim(&p, &s));
	uint8_t cap = pci_capability(s.dev, PCI_CAP_ID_VNDR, 0);
	while (cap && pci_read8(s.dev, cap + 3u) != VIRTIO_PCI_CAP_PCI_CFG)
		cap = pci_capability(s.dev, PCI_CAP_ID_VNDR, cap);
	if (!cap)
		return test_skip("no window");
	for (unsigned i = 0; i < 600; i++) {
		static const uint32_t lengths[] = { 1, 2, 4, 0, 3, 8, ~0u };
		uint32_t offset = i & 1 ? (uint32_t)rand_next(&r) & 0x7fff
					: (uint32_t)rand_next(&r);
		if ((offset & ~0xfffu) == (s.dev->msix_table - s.dev->bars[0].at))
			continue;
		pci_write8(s.dev, cap + 4u, i % 5 ? 0 : (uint8_t)i);
		pci_write32(s.dev, cap + 8u, offset);
		pci_write32(s.dev, cap + 12u, lengths[i % 7]);
		pci_write32(s.dev, cap + 16u, (uint32_t)rand_next(&r));
		(void)pci_read32(s.dev, cap + 16u);
	}
	pci_write32(s.dev, cap + 12u, 0);
	restore(&s);
	return PASS;
}

const struct attack attacks_pci[] = {
	ATTACK_ACT("pci.ecam-by-1", "configuration space by ECAM in bytes", sweep_by_ecam, 1),
	ATTACK_ACT("pci.ecam-by-2", "configuration space by ECAM in two bytes", sweep_by_ecam, 2),
	ATTACK_ACT("pci.ecam-by-4", "configuration space by ECAM in four bytes", sweep_by_ecam, 4),
	ATTACK_ACT("pci.ecam-by-8", "configuration space by ECAM in eight bytes", sweep_by_ecam, 8),
	ATTACK_ACT("pci.ports-by-1", "configuration space by ports in bytes", sweep_by_ports, 1),
	ATTACK_ACT("pci.ports-by-2", "configuration space by ports in two bytes", sweep_by_ports,
		   2),
	ATTACK_ACT("pci.ports-by-4", "configuration space by ports in four bytes", sweep_by_ports,
		   4),
	ATTACK_ACT("pci.absent-functions", "functions and buses that are not there",
		   absent_functions, 0),
	ATTACK_ACT("pci.address-register", "the address register by parts", address_register, 0),
	ATTACK_ACT("pci.bar-anywhere", "the BAR on RAM, chips and other BARs", bar_anywhere, 0),
	ATTACK_ACT("pci.bar-anywhere-decoding", "the same while it answers", bar_anywhere, 1),
	ATTACK_ACT("pci.bar-under-io", "the BAR moved under I/O", bar_under_io, 0),
	ATTACK_ACT("pci.command-under-io", "every command under I/O", command_under_io, 0),
	ATTACK_ACT("pci.window-anywhere", "the window to the BAR pointed anywhere", window_anywhere,
		   0),
	ATTACK_END,
};
