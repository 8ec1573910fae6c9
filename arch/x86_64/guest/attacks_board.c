/*
 * attacks_board.c - ports and memory of the board swept: serial ports, clock, keyboard controller,
 * power management, everything where nothing is. Writes that end the machine by design are left
 * out: reset by 0xcf9 or the keyboard controller, sleep.
 */
#include "acpi.h"
#include "attack.h"
#include "boot.h"
#include "image.h"
#include "io.h"
#include "mem.h"

#define RTC_INDEX    0x70
#define RTC_DATA     0x71
#define RTC_CENTURY  0x32
#define KBD_DATA     0x60
#define KBD_COMMAND  0x64
#define KBD_OUTPUT   0xd1 /* the next byte may reset */
#define KBD_PULSE    0xf0 /* from here on: may reset */
#define RESET_PORT   0xcf9
#define PM1_SLP_EN   (1u << 13)
#define UART_REGS    8
#define STRING_BYTES 2048
#define UART_LCR     3
#define UART_8N1     0x03
#define COM1_REG(n)  ((uint16_t)(COM1 + (n)))
#define PORTS_PCI    0xcf8

static void port_write(uint16_t port, uint32_t v, unsigned width)
{
	if (width == 1)
		out8(port, (uint8_t)v);
	else if (width == 2)
		out16(port, (uint16_t)v);
	else
		out32(port, v);
}

static void port_read(uint16_t port, unsigned width)
{
	if (width == 1)
		(void)in8(port);
	else if (width == 2)
		(void)in16(port);
	else
		(void)in32(port);
}

/* The ports nobody listens to but the host's sinks; COM1 is our voice. */
static enum verdict serial_ports(uint64_t width)
{
	static const uint16_t ports[] = { 0x2f8, 0x3e8, 0x2e8 };
	struct rand r = { boot_param_number("seed", 1) };
	for (unsigned i = 0; i < 3; i++)
		for (unsigned round = 0; round < 64; round++)
			for (uint16_t reg = 0; reg < UART_REGS; reg++) {
				port_write((uint16_t)(ports[i] + reg), (uint32_t)rand_next(&r),
					   (unsigned)width);
				port_read((uint16_t)(ports[i] + reg), (unsigned)width);
			}
	return PASS;
}

/* All of COM1 but what is sent, and it still speaks. */
static enum verdict serial_console(uint64_t arg)
{
	struct rand r = { boot_param_number("seed", 1) };
	(void)arg;
	for (unsigned round = 0; round < 100; round++)
		for (uint16_t reg = 1; reg < UART_REGS; reg++) {
			out8(COM1_REG(reg), (uint8_t)rand_next(&r));
			(void)in8(COM1_REG(reg));
			(void)in32(COM1_REG(reg));
		}
	out8(COM1_REG(UART_LCR), UART_8N1);
	for (uint16_t reg = 1; reg < UART_REGS; reg++)
		if (reg != UART_LCR)
			out8(COM1_REG(reg), 0);
	print("info COM1 still speaks\n");
	return PASS;
}

/* Strings of output as long as they get, to ports that listen and that do not. */
static enum verdict strings(uint64_t arg)
{
	(void)arg;
	char *big = heap_alloc(STRING_BYTES, 4096);
	mem_fill(big, 'a', STRING_BYTES);
	static const uint16_t ports[] = { 0x2f8, 0x80, 0xe9, RTC_INDEX, 0xcfc, 0x600, 0x1000 };
	out32(PORTS_PCI, 0);
	for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		if (ports[i] != 0x600)
			out8_string(ports[i], big, STRING_BYTES);
	return PASS;
}

/* Every register of the clock, then the time of day is put back. */
static enum verdict clock_registers(uint64_t arg)
{
	static const uint8_t time[] = { 0, 2, 4, 6, 7, 8, 9, RTC_CENTURY };
	struct rand r = { boot_param_number("seed", 1) };
	uint8_t kept[128];
	(void)arg;
	for (unsigned i = 0; i < 128; i++) {
		out8(RTC_INDEX, (uint8_t)i);
		kept[i] = in8(RTC_DATA);
	}
	for (unsigned round = 0; round < 4; round++)
		for (unsigned i = 0; i < 256; i++) {
			out8(RTC_INDEX, (uint8_t)i);
			out8(RTC_DATA, (uint8_t)rand_next(&r));
			(void)in8(RTC_DATA);
			out16(RTC_INDEX, (uint16_t)rand_next(&r));
			(void)in32(RTC_INDEX);
		}
	out8(RTC_INDEX, 10);
	out8(RTC_DATA, kept[10]);
	out8(RTC_INDEX, 11);
	out8(RTC_DATA, kept[11] & 0x0f);
	for (unsigned i = 0; i < sizeof(time); i++) {
		out8(RTC_INDEX, time[i]);
		out8(RTC_DATA, kept[time[i]]);
	}
	return PASS;
}

static enum verdict keyboard(uint64_t arg)
{
	struct rand r = { boot_param_number("seed", 1) };
	(void)arg;
	for (unsigned command = 0; command < KBD_PULSE; command++) {
		if (command == KBD_OUTPUT)
			continue;
		out8(KBD_COMMAND, (uint8_t)command);
		for (unsigned i = 0; i < 4; i++)
			out8(KBD_DATA, (uint8_t)rand_next(&r));
		(void)in8(KBD_DATA);
		(void)in32(KBD_DATA);
		(void)in16(KBD_COMMAND);
	}
	out8(KBD_COMMAND, KBD_OUTPUT);
	out8(KBD_DATA, 0xff); /* as long as bit 0 is set */
	return PASS;
}

/* The power management block, without the one bit that sleeps. */
static enum verdict power_management(uint64_t width)
{
	struct rand r = { boot_param_number("seed", 1) };
	uint16_t control = acpi_pm1a_control(), base = (uint16_t)(control - 4);
	if (!control)
		return test_skip("no ACPI");
	for (unsigned round = 0; round < 200; round++)
		for (uint16_t at = 0; at < 16; at++) {
			uint16_t port = (uint16_t)(base + at);
			port_read(port, (unsigned)width);
			if (port + width > control && port < control + 2)
				continue;
			port_write(port, (uint32_t)rand_next(&r), (unsigned)width);
		}
	for (unsigned v = 0; v < 0x10000; v += 0x101)
		out16(control, (uint16_t)(v & ~PM1_SLP_EN));
	/* sleep types that are not soft-off */
	for (unsigned type = 0; type < 8; type++)
		if (type != acpi_s5_type())
			out16(control, (uint16_t)(PM1_SLP_EN | type << 10));
	out16(base, 0xffff);
	out16((uint16_t)(base + 2), 0);
	out16(control, 1);
	return PASS;
}

/* The reset port with every value that does not reset. */
static enum verdict reset_port(uint64_t arg)
{
	(void)arg;
	for (unsigned v = 0; v < 256; v++)
		if (!(v & 4))
			out8(RESET_PORT, (uint8_t)v);
	return PASS;
}

/* Reads of all ports; @width: and of the step from one to the next. */
static enum verdict all_ports_read(uint64_t width)
{
	const uint64_t step = width == 1 ? 7 : width * 3;
	for (uint64_t port = 0; port < 0x10000; port += step)
		port_read((uint16_t)port, (unsigned)width);
	return PASS;
}

/* Writes to ports where nothing is. */
static enum verdict empty_ports_written(uint64_t width)
{
	for (uint32_t port = 0x1000; port < 0x10000; port += 23)
		port_write((uint16_t)port, port * 0x01010101u, (unsigned)width);
	port_write(0xffff, ~0u, (unsigned)width);
	return PASS;
}

/* Memory where neither RAM nor a device is, and over the ends of what there is. */
static enum verdict empty_memory(uint64_t arg)
{
	struct rand r = { boot_param_number("seed", 1) };
	const uint64_t ends[] = { 0xe0000000 - 3, 0xf0000000 - 3, 0xfec00000 - 3, 0xfec01000 - 3,
				  0xfee00000 - 3, 0xfee01000 + 1, 0xfed40000,     0xfffffff0 };
	(void)arg;
	for (unsigned i = 0; i < 500; i++) {
		uint64_t at = 0xd0000000 + (rand_next(&r) & 0xfffffff);
		mmio_write32(at, i);
		(void)mmio_read64(at);
		(void)mmio_read8(at);
	}
	for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		mmio_write64(ends[i], ~0ul);
		(void)mmio_read64(ends[i]);
		(void)mmio_read16(ends[i]);
	}
	return PASS;
}

const struct attack attacks_board[] = {
	ATTACK_ACT("board.serial-by-1", "serial ports in bytes", serial_ports, 1),
	ATTACK_ACT("board.serial-by-2", "serial ports in two bytes", serial_ports, 2),
	ATTACK_ACT("board.serial-by-4", "serial ports in four bytes", serial_ports, 4),
	ATTACK_ACT("board.serial-console", "the registers of COM1", serial_console, 0),
	ATTACK_ACT("board.strings", "long strings of output to any port", strings, 0),
	ATTACK_ACT("board.clock", "every register of the clock", clock_registers, 0),
	ATTACK_ACT("board.keyboard", "every command of the keyboard controller", keyboard, 0),
	ATTACK_ACT("board.power-by-1", "power management in bytes", power_management, 1),
	ATTACK_ACT("board.power-by-2", "power management in two bytes", power_management, 2),
	ATTACK_ACT("board.power-by-4", "power management in four bytes", power_management, 4),
	ATTACK_ACT("board.reset-port", "the reset port without a reset", reset_port, 0),
	ATTACK_ACT("board.ports-read-by-1", "ports read in bytes", all_ports_read, 1),
	ATTACK_ACT("board.ports-read-by-2", "ports read in two bytes", all_ports_read, 2),
	ATTACK_ACT("board.ports-read-by-4", "ports read in four bytes", all_ports_read, 4),
	ATTACK_ACT("board.empty-ports-by-1", "empty ports written in bytes", empty_ports_written,
		   1),
	ATTACK_ACT("board.empty-ports-by-4", "empty ports written in four bytes",
		   empty_ports_written, 4),
	ATTACK_ACT("board.empty-memory", "memory where nothing is", empty_memory, 0),
	ATTACK_END,
};
