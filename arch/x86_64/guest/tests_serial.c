/*
 * tests_serial.c - the registers of a 16550, on COM1 between two lines of output.
 */
#include "clock.h"
#include "cpu.h"
#include "io.h"
#include "test.h"

/* Offsets from the base port. */
#define UART_DATA 0
#define UART_IER  1
#define UART_IIR  2
#define UART_FCR  2
#define UART_LCR  3
#define UART_MCR  4
#define UART_LSR  5
#define UART_MSR  6
#define UART_SCR  7

#define LCR_DLAB  0x80
#define LCR_8N1   0x03
#define MCR_LOOP  0x10
#define MCR_OUT2  0x08
#define LSR_READY 0x01
#define LSR_EMPTY 0x60
#define IER_THR   0x02
#define IIR_NONE  0x01
#define COM1_PIN  4
#define COM3      0x3e8

#define PIC_COMMAND  0x20
#define PIC_READ_IRR 0x0a
#define PIC_ELCR     0x4d0 /* a bit for each input: by level */

static const uint16_t ports[] = { 0x3f8, 0x2f8, 0x3e8, 0x2e8 };

static bool is_there(uint16_t base)
{
	return in8((uint16_t)(base + UART_LSR)) != 0xff;
}

static enum verdict one_port(uint16_t base)
{
	static const uint8_t values[] = { 0x00, 0x55, 0xaa, 0xff };
	uint16_t lcr = (uint16_t)(base + UART_LCR), scr = (uint16_t)(base + UART_SCR);
	uint16_t ier = (uint16_t)(base + UART_IER);
	for (unsigned i = 0; i < sizeof(values); i++) {
		out8(scr, values[i]);
		CHECK_EQ(in8(scr), values[i]);
	}
	CHECK_EQ(in8((uint16_t)(base + UART_LSR)) & LSR_EMPTY, LSR_EMPTY);
	out8(lcr, LCR_DLAB | LCR_8N1);
	out8(base, 0x0c);
	out8(ier, 0x01);
	uint8_t low = in8(base), high = in8(ier);
	out8(base, 0x01);
	out8(ier, 0x00);
	out8(lcr, LCR_8N1);
	CHECK_EQ(low, 0x0c);
	CHECK_EQ(high, 0x01);
	CHECK_EQ(in8(lcr), LCR_8N1);
	CHECK_EQ(in8(ier) & 0xf0, 0); /* upper bits are always 0 */
	return PASS;
}

static enum verdict registers(void)
{
	CHECK(is_there(COM1));
	for (unsigned i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
		if (is_there(ports[i]))
			CHECK_PASS(one_port(ports[i]));
	return PASS;
}

static enum verdict loopback(void)
{
	uint8_t lines = 0, got = 0, lsr = 0;
	out8(COM1 + UART_MCR, MCR_LOOP | 0x0f);
	lines = in8(COM1 + UART_MSR) >> 4;
	for (unsigned i = 0; i < 16 && (in8(COM1 + UART_LSR) & LSR_READY); i++)
		(void)in8(COM1); /* what the host sent stays out of the way */
	out8(COM1, 'x');
	for (unsigned i = 0; i < 1000 && !((lsr = in8(COM1 + UART_LSR)) & LSR_READY); i++)
		;
	got = in8(COM1);
	out8(COM1 + UART_MCR, MCR_OUT2 | 0x03);
	CHECK(lsr & LSR_READY);
	CHECK_EQ(got, 'x');
	CHECK_EQ(lines, 0x0f);
	return PASS;
}

/* Transmitter empty: an interrupt when it is enabled, gone when IIR was read. */
static enum verdict interrupt(void)
{
	uint8_t vector = VEC_PIC + COM1_PIN;
	unsigned before = irq_count(vector);
	ioapic_open(COM1_PIN, false);
	out8(COM1 + UART_MCR, MCR_OUT2 | 0x03);
	out8(COM1 + UART_IER, IER_THR);
	bool is_taken = irq_wait(vector, before, CLOCK_PATIENCE_MS);
	uint8_t reason = in8(COM1 + UART_IIR), after = in8(COM1 + UART_IIR);
	out8(COM1 + UART_IER, 0);
	ioapic_close(COM1_PIN);
	CHECK(is_taken);
	CHECK_EQ(reason & 0x0f, 0x02);
	CHECK_EQ(after & IIR_NONE, IIR_NONE);
	return PASS;
}

/* The level of COM1's input, as the masked interrupt controller of old sees it. */
static bool is_line_up(void)
{
	out8(PIC_COMMAND, PIC_READ_IRR);
	return in8(PIC_COMMAND) >> COM1_PIN & 1;
}

static bool reads_thr_empty(uint16_t base)
{
	return (in8((uint16_t)(base + UART_IIR)) & 0x0f) == 0x02; /* which takes it back */
}

/* COM1 and COM3 drive one input: it falls when the last of them lets go. */
static enum verdict shared_line(void)
{
	static const uint16_t both[] = { COM1, COM3 };
	if (!is_there(COM3))
		return test_skip("no COM3");
	for (uint64_t end = clock_after_ms(CLOCK_PATIENCE_MS); !clock_passed(end);)
		if ((in8(COM1 + UART_LSR) & LSR_EMPTY) == LSR_EMPTY)
			break; /* all that was printed is out */
	uint8_t elcr = in8(PIC_ELCR);
	out8(PIC_ELCR, (uint8_t)(elcr | 1u << COM1_PIN));
	for (unsigned i = 0; i < 2; i++) {
		out8((uint16_t)(both[i] + UART_MCR), MCR_OUT2 | 0x03);
		out8((uint16_t)(both[i] + UART_IER), IER_THR);
	}
	bool both_up = is_line_up(), com1 = reads_thr_empty(COM1), one_up = is_line_up();
	bool com3 = reads_thr_empty(COM3), none_up = is_line_up();
	for (unsigned i = 0; i < 2; i++)
		out8((uint16_t)(both[i] + UART_IER), 0);
	out8(PIC_ELCR, elcr);
	CHECK(com1 && com3);
	CHECK(both_up);
	CHECK(one_up);
	CHECK(!none_up);
	return PASS;
}

const struct test serial_tests[] = {
	{ "serial.registers", registers },
	{ "serial.loopback", loopback },
	{ "serial.interrupt", interrupt },
	{ "serial.shared-line", shared_line },
	{ NULL, NULL },
};
