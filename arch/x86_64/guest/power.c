/*
 * power.c - see power.h.
 */
#include "power.h"
#include "acpi.h"
#include "cpu.h"
#include "io.h"
#include "print.h"

#define RESET_PORT  0xcf9
#define I8042_PORT  0x64
#define I8042_RESET 0xfe
#define PM1_SLP_EN  (1u << 13)
#define PM1_PWRBTN  (1u << 8)

void power_off(void)
{
	out16(acpi_pm1a_control(), (uint16_t)(PM1_SLP_EN | acpi_s5_type() << 10));
	power_hang();
}

void power_reset(void)
{
	out8(RESET_PORT, 0x06);
	power_hang();
}

void power_reset_i8042(void)
{
	out8(I8042_PORT, I8042_RESET);
	power_hang();
}

/* As Linux does: what it tries next comes before the machine has stopped. */
void power_reset_and_fault(void)
{
	out8(RESET_PORT, 0x06);
	power_triple_fault();
}

/* No handler, no double fault handler. */
void power_triple_fault(void)
{
	static const struct PACKED {
		uint16_t limit;
		uint64_t base;
	} none;
	__asm__ volatile("lidt %0; ud2" : : "m"(none));
	power_hang();
}

void power_button(void)
{
	uint16_t status = acpi_pm1a_event();
	print("info waiting for the power button\n");
	while (!(in16(status) & PM1_PWRBTN))
		cpu_pause();
	out16(status, PM1_PWRBTN); /* one to clear */
	if (in16(status) & PM1_PWRBTN)
		power_reset();
	power_off();
}

void power_hang(void)
{
	irq_off();
	for (;;)
		cpu_pause();
}
