/*
 * tests_irq.c - MSI-X table, pending bits and masks; INTx with the ISR register.
 */
#include <linux/pci_regs.h>
#include "acpi.h"
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "pci.h"
#include "probe.h"

#define WAIT_MS    CLOCK_PATIENCE_MS
#define INTX_FIRST 16 /* IOAPIC pins of PCI interrupts */

static enum verdict open_msix(struct probe *p)
{
	CHECK_PASS(probe_open(p, 0, 0));
	return p->dev.pci->msix_cap ? PASS : test_skip("no MSI-X");
}

/* Serve one request to its end in the ring; whatever the interrupt does. */
static enum verdict serve(struct probe *p)
{
	CHECK_PASS(probe_once(p, false));
	return PASS;
}

static enum verdict table(void)
{
	struct probe p;
	CHECK_PASS(open_msix(&p));
	const struct pci_dev *d = p.dev.pci;
	for (unsigned n = 0; n < d->msix_vectors; n++) {
		uint64_t entry = d->msix_table + n * PCI_MSIX_ENTRY_SIZE;
		mmio_write32(entry + PCI_MSIX_ENTRY_VECTOR_CTRL, PCI_MSIX_ENTRY_CTRL_MASKBIT);
		mmio_write32(entry, 0xfee00000 | n << 4);
		mmio_write32(entry + PCI_MSIX_ENTRY_DATA, 0x4000 + n);
	}
	for (unsigned n = 0; n < d->msix_vectors; n++) {
		uint64_t entry = d->msix_table + n * PCI_MSIX_ENTRY_SIZE;
		CHECK_EQ(mmio_read32(entry) & ~3u, (0xfee00000 | n << 4) & ~3u);
		CHECK_EQ(mmio_read32(entry + PCI_MSIX_ENTRY_DATA), 0x4000 + n);
		CHECK_EQ(mmio_read32(entry + PCI_MSIX_ENTRY_VECTOR_CTRL) & 1, 1);
		CHECK_EQ(mmio_read64(entry) >> 32, 0);
		msix_route(d, n, cpu_this()->apic_id);
		CHECK_EQ(mmio_read32(entry + PCI_MSIX_ENTRY_VECTOR_CTRL) & 1, 0);
	}
	mmio_write32(d->msix_pba, 0xffffffff); /* read-only */
	CHECK_EQ(mmio_read32(d->msix_pba), 0);
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

/* The capability's flags: table size fixed, enable and function mask writable. */
static enum verdict flags(void)
{
	struct probe p;
	CHECK_PASS(open_msix(&p));
	const struct pci_dev *d = p.dev.pci;
	unsigned at = d->msix_cap + PCI_MSIX_FLAGS;
	pci_write16(d, at, 0xffff);
	uint16_t all = pci_read16(d, at);
	pci_write16(d, at, 0);
	uint16_t none = pci_read16(d, at);
	CHECK_EQ(all, 0xc000 | (d->msix_vectors - 1));
	CHECK_EQ(none, d->msix_vectors - 1);
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static enum verdict pends_and_delivers(struct probe *p, void (*mask)(const struct probe *, bool))
{
	uint8_t vector = (uint8_t)(VEC_MSI + p->ring.vector);
	for (unsigned i = 0; i < 20; i++) {
		unsigned before = irq_count(vector);
		mask(p, true);
		CHECK_PASS(serve(p));
		for (uint64_t end = clock_after_ms(WAIT_MS);
		     !msix_is_pending(p->dev.pci, p->ring.vector);)
			if (clock_passed(end))
				return test_fail("no pending bit, round %u", i);
		CHECK_EQ(irq_count(vector), before);
		mask(p, false);
		CHECK(irq_wait(vector, before, WAIT_MS));
		CHECK(!msix_is_pending(p->dev.pci, p->ring.vector));
		clock_delay_us(100);
		CHECK_EQ(irq_count(vector), before + 1);
	}
	CHECK(virtio_reset(&p->dev));
	return PASS;
}

static void mask_vector(const struct probe *p, bool is_masked)
{
	msix_mask(p->dev.pci, p->ring.vector, is_masked);
}

static void mask_function(const struct probe *p, bool is_masked)
{
	msix_mask_all(p->dev.pci, is_masked);
}

static enum verdict mask_one(void)
{
	struct probe p;
	CHECK_PASS(open_msix(&p));
	return pends_and_delivers(&p, mask_vector);
}

static enum verdict mask_all(void)
{
	struct probe p;
	CHECK_PASS(open_msix(&p));
	return pends_and_delivers(&p, mask_function);
}

/*
 * Two requests while masked are one interrupt afterwards. The host may hold the device up between
 * the second completion and its message, so one round of several has to show it; three never come.
 */
static enum verdict mask_merges(void)
{
	struct probe p;
	CHECK_PASS(open_msix(&p));
	uint8_t vector = (uint8_t)(VEC_MSI + p.ring.vector);
	bool is_merged = false;
	for (unsigned round = 0; round < 8 && !is_merged; round++) {
		unsigned before = irq_count(vector);
		mask_vector(&p, true);
		CHECK_PASS(serve(&p));
		CHECK_PASS(serve(&p));
		clock_delay_us(1000u << round);
		mask_vector(&p, false);
		CHECK(irq_wait(vector, before, WAIT_MS));
		clock_delay_us(1000u << round);
		is_merged = irq_count(vector) == before + 1;
		CHECK(irq_count(vector) <= before + 2);
	}
	CHECK(is_merged);
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

/* Data of an entry changed: the next interrupt has the new vector, the old one stays silent. */
static enum verdict retarget(void)
{
	struct probe p;
	CHECK_PASS(open_msix(&p));
	const struct pci_dev *d = p.dev.pci;
	uint64_t entry = d->msix_table + p.ring.vector * PCI_MSIX_ENTRY_SIZE;
	for (unsigned i = 0; i < 50; i++) {
		uint8_t vector = (uint8_t)(VEC_MSI + 32 + i % 16);
		mask_vector(&p, true);
		mmio_write32(entry + PCI_MSIX_ENTRY_DATA, vector);
		mask_vector(&p, false);
		unsigned before = irq_count(vector);
		CHECK_PASS(serve(&p));
		CHECK(irq_wait(vector, before, WAIT_MS));
	}
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static void spin(void *arg)
{
	bool *is_over = arg;
	while (!__atomic_load_n(is_over, __ATOMIC_ACQUIRE)) /* pairs with to_second_cpu() */
		cpu_pause();
}

static enum verdict deliver_to(struct probe *p, uint32_t apic_id, unsigned cpu)
{
	uint8_t vector = (uint8_t)(VEC_MSI + p->ring.vector);
	msix_route(p->dev.pci, p->ring.vector, apic_id);
	for (unsigned i = 0; i < 20; i++) {
		unsigned before = irq_count(vector);
		CHECK_PASS(serve(p));
		CHECK(irq_wait(vector, before, WAIT_MS));
		CHECK_EQ(irq_last_cpu(vector), cpu);
	}
	return PASS;
}

static enum verdict to_second_cpu(void)
{
	static bool is_over;
	struct probe p;
	if (acpi_cpus() < 2)
		return test_skip("one processor");
	is_over = false;
	CHECK_PASS(open_msix(&p));
	CHECK(smp_run(spin, &is_over));
	enum verdict v = deliver_to(&p, (uint32_t)acpi_second_cpu(cpu_this()->apic_id), 1);
	if (v == PASS)
		v = deliver_to(&p, cpu_this()->apic_id, 0);
	__atomic_store_n(&is_over, true, __ATOMIC_RELEASE);
	CHECK(smp_wait(WAIT_MS));
	CHECK(virtio_reset(&p.dev));
	return v;
}

/* NO_VECTOR: completions, no interrupt. */
static enum verdict no_vector(void)
{
	struct probe p;
	CHECK_PASS(probe_find(&p));
	p.dev.has_no_vectors = true;
	CHECK_PASS(probe_start(&p, 0, 0));
	uint8_t vector = (uint8_t)(VEC_MSI + p.ring.vector);
	unsigned before = irq_count(vector);
	CHECK_PASS(serve(&p));
	clock_delay_us(2000);
	CHECK_EQ(irq_count(vector), before);
	CHECK(virtio_reset(&p.dev));
	return PASS;
}

static unsigned intx_sum(unsigned pins)
{
	unsigned sum = 0;
	for (unsigned pin = INTX_FIRST; pin < pins; pin++)
		sum += irq_count((uint8_t)(VEC_PIC + pin));
	return sum;
}

/*
 * The line is level: raised with ISR bit 0, lowered by reading ISR. The handler cannot know the
 * device, so the line is edge-triggered for the controller here and ISR is read by the test.
 */
static enum verdict intx_rounds(struct probe *p, unsigned pins)
{
	for (unsigned i = 0; i < 20; i++) {
		unsigned before = intx_sum(pins);
		CHECK_PASS(serve(p));
		for (uint64_t end = clock_after_ms(WAIT_MS); intx_sum(pins) == before;)
			if (clock_passed(end))
				return test_fail("no interrupt, round %u", i);
		CHECK(pci_read16(p->dev.pci, PCI_STATUS) & PCI_STATUS_INTERRUPT);
		CHECK_EQ(mmio_read8(p->dev.isr), 1);
		CHECK_EQ(mmio_read8(p->dev.isr), 0);
		CHECK(!(pci_read16(p->dev.pci, PCI_STATUS) & PCI_STATUS_INTERRUPT));
	}
	return PASS;
}

static enum verdict intx_disable(struct probe *p, unsigned pins)
{
	uint16_t command = pci_read16(p->dev.pci, PCI_COMMAND);
	unsigned before = intx_sum(pins);
	pci_write16(p->dev.pci, PCI_COMMAND, command | PCI_COMMAND_INTX_DISABLE);
	CHECK_PASS(serve(p));
	clock_delay_us(2000);
	CHECK_EQ(intx_sum(pins), before);
	pci_write16(p->dev.pci, PCI_COMMAND, command); /* still asserted: comes now */
	for (uint64_t end = clock_after_ms(WAIT_MS); intx_sum(pins) == before;)
		if (clock_passed(end))
			return test_fail("nothing after INTx was enabled again");
	(void)mmio_read8(p->dev.isr);
	return PASS;
}

static enum verdict intx(void)
{
	struct probe p;
	unsigned pins = ioapic_pins();
	CHECK_PASS(probe_find(&p));
	if (!pci_read8(p.dev.pci, PCI_INTERRUPT_PIN))
		return test_skip("no interrupt pin");
	p.dev.has_no_msix = true;
	CHECK_PASS(probe_start(&p, 0, 0));
	(void)mmio_read8(p.dev.isr);
	for (unsigned pin = INTX_FIRST; pin < pins; pin++)
		ioapic_open(pin, false);
	enum verdict v = intx_rounds(&p, pins);
	if (v == PASS)
		v = intx_disable(&p, pins);
	for (unsigned pin = INTX_FIRST; pin < pins; pin++) {
		ioapic_close(pin);
		if (irq_count((uint8_t)(VEC_PIC + pin)))
			print("info INTx of slot %u at pin %u\n", p.dev.pci->slot, pin);
	}
	CHECK(virtio_reset(&p.dev));
	return v;
}

const struct test irq_tests[] = {
	{ "msix.table", table },
	{ "msix.flags", flags },
	{ "msix.mask-vector", mask_one },
	{ "msix.mask-function", mask_all },
	{ "msix.mask-merges", mask_merges },
	{ "msix.retarget", retarget },
	{ "msix.to-second-cpu", to_second_cpu },
	{ "msix.no-vector", no_vector },
	{ "intx.line", intx },
	{ NULL, NULL },
};
