/*
 * ioapic.c - pins to vectors, for the tests that want one; the 8259s are only silenced.
 */
#include "acpi.h"
#include "cpu.h"
#include "io.h"

#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK  0xa1

#define IOAPIC_WINDOW   0x10 /* data, behind the index register at 0 */
#define IOAPIC_VERSION  0x01
#define IOAPIC_REDIRECT 0x10 /* two registers a pin */
#define REDIRECT_LEVEL  (1u << 15)
#define REDIRECT_MASKED (1u << 16)

void pic_disable(void)
{
	out8(PIC_MASTER_MASK, 0xff);
	out8(PIC_SLAVE_MASK, 0xff);
}

static uint32_t ioapic_read(unsigned reg)
{
	mmio_write32(acpi_ioapic(), reg);
	return mmio_read32(acpi_ioapic() + IOAPIC_WINDOW);
}

static void ioapic_write(unsigned reg, uint32_t v)
{
	mmio_write32(acpi_ioapic(), reg);
	mmio_write32(acpi_ioapic() + IOAPIC_WINDOW, v);
}

unsigned ioapic_pins(void)
{
	return (ioapic_read(IOAPIC_VERSION) >> 16 & 0xff) + 1;
}

void ioapic_open(unsigned pin, bool is_level)
{
	ioapic_write(IOAPIC_REDIRECT + 2 * pin + 1, cpu_this()->apic_id << 24);
	ioapic_write(IOAPIC_REDIRECT + 2 * pin, (VEC_PIC + pin) | (is_level ? REDIRECT_LEVEL : 0));
}

void ioapic_close(unsigned pin)
{
	ioapic_write(IOAPIC_REDIRECT + 2 * pin, REDIRECT_MASKED);
}
