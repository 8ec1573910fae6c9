/*
 * attacks_msix.c - MSI-X tables of rubbish, vectors that cannot be, masks that flap under I/O.
 * PCI Local Bus 3.0 §6.8.2, VIRTIO 1.2 §4.1.5.1.2.
 */
#include <linux/pci_regs.h>
#include "attack.h"
#include "boot.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "mem.h"
#include "pci.h"

#define TABLE_BYTES 0x1000u

static enum verdict victim(struct probe *p)
{
	CHECK_PASS(probe_open(p, 0, SCENE_QUEUE));
	if (!p->dev.pci->msix_cap)
		return test_skip("no MSI-X");
	return PASS;
}

/* As virtio_begin() leaves it. */
static void table_repair(const struct probe *p)
{
	msix_mask_all(p->dev.pci, false);
	for (unsigned n = 0; n < p->dev.pci->msix_vectors; n++)
		msix_route(p->dev.pci, n, cpu_this()->apic_id);
	msix_enable(p->dev.pci, true);
}

/* One request, of which an interrupt tells. */
static enum verdict interrupts_again(struct probe *p)
{
	table_repair(p);
	uint32_t written;
	while (ring_take_wait(&p->ring, &written, 5) >= 0)
		;
	ring_want_irq(&p->ring, true);
	uint8_t vector = (uint8_t)(VEC_MSI + p->ring.vector);
	unsigned before = irq_count(vector);
	CHECK_PASS(probe_once(p, false));
	CHECK(irq_wait(vector, before, CLOCK_PATIENCE_MS));
	return PASS;
}

/* All of the table and the array of pending bits, with one width, the function enabled. */
static enum verdict table_rubbish(uint64_t width)
{
	struct probe p;
	struct rand r = { boot_param_number("seed", 1) + width };
	CHECK_PASS(victim(&p));
	const uint64_t areas[] = { p.dev.pci->msix_table, p.dev.pci->msix_pba };
	for (unsigned a = 0; a < 2; a++)
		for (unsigned at = 0; at + width <= TABLE_BYTES; at += at < 128 ? 1 : 37) {
			uint64_t v = rand_next(&r);
			if (width == 1)
				mmio_write8(areas[a] + at, (uint8_t)v);
			else if (width == 2)
				mmio_write16(areas[a] + at, (uint16_t)v);
			else if (width == 4)
				mmio_write32(areas[a] + at, (uint32_t)v);
			else
				mmio_write64(areas[a] + at, v);
			(void)mmio_read64(areas[a] + (at & ~7u));
		}
	msix_mask_all(p.dev.pci, true);
	return interrupts_again(&p);
}

/*
 * Messages that go nowhere: RAM, other chips, wild vectors, while requests complete. Some KVMs take
 * any address for the interrupt controllers', so the messages are ones that do no harm there.
 */
static enum verdict messages_anywhere(uint64_t arg)
{
	static const uint64_t places[] = { 0,          0x100000,   0xfec00000, 0xe0000000,
					   0xfeefffff, 0xfee00000, ~0ul,       0xfee0100c };
	struct probe p;
	(void)arg;
	CHECK_PASS(victim(&p));
	ring_want_irq(&p.ring, true);
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++)
		for (uint32_t data = 0; data < 0x10000; data = data * 2 + 0xfe) {
			uint64_t entry = p.dev.pci->msix_table +
					 p.ring.vector * PCI_MSIX_ENTRY_SIZE;
			msix_mask(p.dev.pci, p.ring.vector, true);
			mmio_write32(entry + PCI_MSIX_ENTRY_LOWER_ADDR, (uint32_t)places[i]);
			mmio_write32(entry + PCI_MSIX_ENTRY_UPPER_ADDR,
				     (uint32_t)(places[i] >> 32));
			mmio_write32(entry + PCI_MSIX_ENTRY_DATA, (data & 0xc0ff) | 0x20);
			msix_mask(p.dev.pci, p.ring.vector, false);
			CHECK_PASS(probe_once(&p, false));
		}
	return interrupts_again(&p);
}

/* Enabled, masked and disabled all the time, with completions in between. */
static enum verdict masks_flap(uint64_t arg)
{
	struct probe p;
	(void)arg;
	CHECK_PASS(victim(&p));
	ring_want_irq(&p.ring, true);
	for (unsigned i = 0; i < 200; i++) {
		msix_enable(p.dev.pci, i & 1);
		msix_mask_all(p.dev.pci, i & 2);
		msix_mask(p.dev.pci, p.ring.vector, i & 4);
		CHECK_PASS(probe_once(&p, false));
		(void)mmio_read8(p.dev.isr);
	}
	return interrupts_again(&p);
}

/* Every vector, those that are not there too, taken and left while requests complete. */
static enum verdict vectors_change(uint64_t arg)
{
	struct probe p;
	(void)arg;
	CHECK_PASS(victim(&p));
	for (unsigned i = 0; i < 200; i++) {
		COMMON_WRITE16(&p.dev, queue_msix_vector, (uint16_t)(i % 3 ? i % 9 : 0xffff - i));
		COMMON_WRITE16(&p.dev, msix_config, (uint16_t)(i % 5));
		CHECK_PASS(probe_once(&p, false));
	}
	COMMON_WRITE16(&p.dev, msix_config, 0);
	COMMON_WRITE16(&p.dev, queue_msix_vector, p.ring.vector);
	return interrupts_again(&p);
}

/* INTx: the status register is read and written under a level that nobody takes. */
static enum verdict intx_unanswered(uint64_t arg)
{
	struct probe p;
	(void)arg;
	CHECK_PASS(probe_find(&p));
	p.dev.has_no_msix = true;
	CHECK_PASS(probe_start(&p, 0, SCENE_QUEUE));
	ring_want_irq(&p.ring, true);
	for (unsigned i = 0; i < 200; i++) {
		CHECK_PASS(probe_once(&p, false));
		if (i & 1)
			(void)mmio_read32(p.dev.isr);
		mmio_write32(p.dev.isr, i);
		pci_write16(p.dev.pci, PCI_COMMAND,
			    (uint16_t)(PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				       (i & 2 ? PCI_COMMAND_INTX_DISABLE : 0)));
	}
	pci_write16(p.dev.pci, PCI_COMMAND,
		    PCI_COMMAND_MEMORY | PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	return PASS;
}

const struct attack attacks_msix[] = {
	ATTACK_ACT("msix.table-by-1", "rubbish in the MSI-X table in bytes", table_rubbish, 1),
	ATTACK_ACT("msix.table-by-2", "rubbish in the MSI-X table in two bytes", table_rubbish, 2),
	ATTACK_ACT("msix.table-by-4", "rubbish in the MSI-X table in four bytes", table_rubbish, 4),
	ATTACK_ACT("msix.table-by-8", "rubbish in the MSI-X table in eight bytes", table_rubbish,
		   8),
	ATTACK_ACT("msix.messages-anywhere", "interrupts sent to RAM and chips", messages_anywhere,
		   0),
	ATTACK_ACT("msix.masks-flap", "masks that flap under I/O", masks_flap, 0),
	ATTACK_ACT("msix.vectors-change", "vectors changed under I/O", vectors_change, 0),
	ATTACK_ACT("msix.intx-unanswered", "INTx that nobody answers", intx_unanswered, 0),
	ATTACK_END,
};
