/*
 * serial.c - 16550A UART, the guest's side; see dev/platform.h and serial_priv.h.
 *
 * What a real line would take time for takes none here: the transmitter is empty as long as the
 * ring has room for a whole FIFO, and a byte below the trigger level is reported as a timeout at
 * once. The THRE interrupt alone waits until the host took the bytes, so that a driver fills the
 * FIFO before it is interrupted again. Baud rate and line format are kept but mean nothing.
 */
#include "serial_priv.h"
#include <errno.h>
#include <linux/serial_reg.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include "byte_io.h"

#define SERIAL_IER_BITS  0x0f
#define SERIAL_MCR_BITS  0x1f
#define SERIAL_FCR_BITS  (UART_FCR_ENABLE_FIFO | UART_FCR_DMA_SELECT | UART_FCR_TRIGGER_MASK)
#define SERIAL_IIR_FIFOS 0xc0 /* FIFOs are on */
#define SERIAL_LINES_UP  (UART_MSR_DCD | UART_MSR_DSR | UART_MSR_CTS)
#define SERIAL_DIVISOR   1 /* 115200 */
#define SERIAL_POLLS     4 /* idle reads of LSR in a row, of which Linux's start-up does two */

/* --- receiver --- */

static bool serial_has_fifo(const struct serial *s)
{
	return s->fcr & UART_FCR_ENABLE_FIFO;
}

static uint32_t serial_fifo_bytes(const struct serial *s)
{
	return serial_has_fifo(s) ? SERIAL_FIFO_BYTES : 1;
}

/* Bytes the guest may read now. */
static uint32_t serial_rx_count(const struct serial *s)
{
	uint32_t looped = s->loop_head - s->loop_tail;
	return looped ? looped : s->in_shown;
}

uint32_t serial_in_room(const struct serial *s)
{
	return SERIAL_IN_BYTES - (s->in_head - s->in_tail);
}

/*
 * Does the guest take input? It says so by enabling the receive interrupt, or by asking for data
 * again and again. Before that, bytes would meet a driver that is still clearing FIFOs and get
 * lost.
 */
static bool serial_is_listening(const struct serial *s)
{
	return !(s->mcr & UART_MCR_LOOP) && (s->ier & UART_IER_RDI || s->lsr_polls >= SERIAL_POLLS);
}

void serial_feed(struct serial *s)
{
	uint32_t have = s->in_head - s->in_tail, fifo = serial_fifo_bytes(s);
	if (!serial_is_listening(s))
		return;
	s->in_shown = have < fifo ? have : fifo;
	serial_in_want(s);
}

static void serial_loop_put(struct serial *s, uint8_t v)
{
	if (s->loop_head - s->loop_tail >= serial_fifo_bytes(s)) {
		s->lsr_errors |= UART_LSR_OE;
		return;
	}
	s->loop[s->loop_head++ % SERIAL_FIFO_BYTES] = v;
}

static uint8_t serial_rx_take(struct serial *s) MUST_HOLD(&s->lock)
{
	if (s->loop_head != s->loop_tail)
		return s->loop[s->loop_tail++ % SERIAL_FIFO_BYTES];
	if (!s->in_shown)
		return 0;
	s->in_shown--;
	return s->in[s->in_tail++ % SERIAL_IN_BYTES];
}

/* --- interrupts --- */

static bool serial_is_thr_empty(const struct serial *s)
{
	return serial_out_room(s) >= SERIAL_FIFO_BYTES;
}

static uint32_t serial_trigger(const struct serial *s)
{
	static const uint8_t levels[] = { 1, 4, 8, 14 };
	return serial_has_fifo(s) ? levels[s->fcr >> 6] : 1;
}

/* The pending interrupt of the highest priority (data sheet, table IV). */
static uint8_t serial_iir(const struct serial *s)
{
	uint32_t rx = serial_rx_count(s);
	if (s->ier & UART_IER_RLSI && s->lsr_errors)
		return UART_IIR_RLSI;
	if (s->ier & UART_IER_RDI && rx)
		return rx >= serial_trigger(s) ? UART_IIR_RDI : UART_IIR_RX_TIMEOUT;
	if (s->ier & UART_IER_THRI && s->thre_pending)
		return UART_IIR_THRI;
	if (s->ier & UART_IER_MSI && s->msr_deltas)
		return UART_IIR_MSI;
	return UART_IIR_NO_INT;
}

static void serial_update_irq(struct serial *s) MUST_HOLD(&s->lock)
{
	bool level = serial_iir(s) != UART_IIR_NO_INT;
	if (level == s->irq_level)
		return;
	s->irq_level = level;
	irq_line_set(&s->cfg.irq, level);
}

/* --- what the host's side calls --- */

void serial_received(struct serial *s, const uint8_t *bytes, uint32_t len)
{
	mutex_lock(&s->lock);
	BUG_ON(len > serial_in_room(s));
	s->in_busy = false;
	for (uint32_t i = 0; i < len; i++)
		s->in[s->in_head++ % SERIAL_IN_BYTES] = bytes[i];
	serial_feed(s);
	serial_update_irq(s);
	mutex_unlock(&s->lock);
}

/* Once for each time that THR was filled: what is still on its way to the host says no more. */
static void serial_say_thr_empty(struct serial *s) MUST_HOLD(&s->lock)
{
	s->thre_pending = true;
	s->thr_written = false;
}

void serial_sent(struct serial *s)
{
	mutex_lock(&s->lock);
	if (s->ier & UART_IER_THRI && s->thr_written && serial_is_thr_empty(s))
		serial_say_thr_empty(s);
	serial_update_irq(s);
	mutex_unlock(&s->lock);
}

/* --- registers; all under lock --- */

static uint8_t serial_read_rbr(struct serial *s) MUST_HOLD(&s->lock)
{
	uint8_t v = serial_rx_take(s);
	serial_feed(s);
	return v;
}

static void serial_write_thr(struct serial *s, uint8_t v) MUST_HOLD(&s->lock)
{
	s->thre_pending = false;
	s->thr_written = true;
	if (s->mcr & UART_MCR_LOOP) {
		serial_loop_put(s, v);
		serial_say_thr_empty(s);
	} else if (serial_out_room(s)) {
		serial_out_put(s, v);
	} /* else: written while LSR said no; a real UART would lose it too */
}

static uint8_t serial_read_ier(struct serial *s) MUST_HOLD(&s->lock)
{
	return s->ier;
}

/* Enabling the THRE interrupt with the transmitter empty raises it: drivers test for that. */
static void serial_write_ier(struct serial *s, uint8_t v) MUST_HOLD(&s->lock)
{
	uint8_t rising = v & (uint8_t)~s->ier;
	s->ier = v & SERIAL_IER_BITS;
	if (rising & UART_IER_THRI) {
		s->thre_pending = false;
		if (serial_is_thr_empty(s))
			serial_say_thr_empty(s);
	}
	serial_feed(s);
}

static uint8_t serial_read_iir(struct serial *s) MUST_HOLD(&s->lock)
{
	uint8_t v = serial_iir(s);
	if (v == UART_IIR_THRI)
		s->thre_pending = false;
	return serial_has_fifo(s) ? v | SERIAL_IIR_FIFOS : v;
}

/* Clearing the receive FIFO hides what the host sent, but does not lose it: the line has flow
 * control. It comes again once the guest listens. */
static void serial_write_fcr(struct serial *s, uint8_t v) MUST_HOLD(&s->lock)
{
	bool has_switched = (v ^ s->fcr) & UART_FCR_ENABLE_FIFO;
	s->fcr = v & UART_FCR_ENABLE_FIFO ? v & SERIAL_FCR_BITS : 0;
	if (has_switched || v & UART_FCR_CLEAR_RCVR) {
		s->in_shown = 0;
		s->loop_tail = s->loop_head;
	}
	if (s->ier & UART_IER_RDI)
		serial_feed(s);
}

static uint8_t serial_read_lcr(struct serial *s) MUST_HOLD(&s->lock)
{
	return s->lcr;
}

static void serial_write_lcr(struct serial *s, uint8_t v) MUST_HOLD(&s->lock)
{
	s->lcr = v;
}

static uint8_t serial_read_mcr(struct serial *s) MUST_HOLD(&s->lock)
{
	return s->mcr;
}

/* In loopback mode the four outputs are the four inputs; else a cable holds three of them up. */
static uint8_t serial_lines(const struct serial *s)
{
	if (!(s->mcr & UART_MCR_LOOP))
		return SERIAL_LINES_UP;
	return (uint8_t)((s->mcr & UART_MCR_RTS ? UART_MSR_CTS : 0) |
			 (s->mcr & UART_MCR_DTR ? UART_MSR_DSR : 0) |
			 (s->mcr & UART_MCR_OUT1 ? UART_MSR_RI : 0) |
			 (s->mcr & UART_MCR_OUT2 ? UART_MSR_DCD : 0));
}

static void serial_write_mcr(struct serial *s, uint8_t v) MUST_HOLD(&s->lock)
{
	s->mcr = v & SERIAL_MCR_BITS;
	uint8_t lines = serial_lines(s), changed = lines ^ s->msr_lines;
	changed &= (uint8_t) ~(lines & UART_MSR_RI); /* of RI only the trailing edge counts */
	s->msr_deltas |= changed >> 4;
	s->msr_lines = lines;
	serial_feed(s);
}

static uint8_t serial_read_lsr(struct serial *s) MUST_HOLD(&s->lock)
{
	uint8_t v = s->lsr_errors;
	s->lsr_errors = 0;
	if (serial_is_thr_empty(s))
		v |= UART_LSR_THRE | UART_LSR_TEMT;
	if (s->lsr_polls >= SERIAL_POLLS)
		serial_feed(s);
	if (serial_rx_count(s))
		v |= UART_LSR_DR;
	/* whoever waits for the transmitter stops reading when it is empty */
	if (v != (UART_LSR_THRE | UART_LSR_TEMT))
		s->lsr_polls = 0;
	else if (s->lsr_polls < SERIAL_POLLS)
		s->lsr_polls++;
	return v;
}

static uint8_t serial_read_msr(struct serial *s) MUST_HOLD(&s->lock)
{
	uint8_t v = s->msr_lines | s->msr_deltas;
	s->msr_deltas = 0;
	return v;
}

static uint8_t serial_read_scratch(struct serial *s) MUST_HOLD(&s->lock)
{
	return s->scratch;
}

static void serial_write_scratch(struct serial *s, uint8_t v) MUST_HOLD(&s->lock)
{
	s->scratch = v;
}

static uint8_t serial_read_dll(struct serial *s) MUST_HOLD(&s->lock)
{
	return (uint8_t)s->divisor;
}

static void serial_write_dll(struct serial *s, uint8_t v) MUST_HOLD(&s->lock)
{
	s->divisor = (uint16_t)((s->divisor & 0xff00) | v);
}

static uint8_t serial_read_dlm(struct serial *s) MUST_HOLD(&s->lock)
{
	return (uint8_t)(s->divisor >> 8);
}

static void serial_write_dlm(struct serial *s, uint8_t v) MUST_HOLD(&s->lock)
{
	s->divisor = (uint16_t)((s->divisor & 0x00ff) | v << 8);
}

static void serial_write_nothing(struct serial *s, uint8_t v)
{
	(void)s;
	(void)v;
}

struct serial_reg {
	uint8_t (*read)(struct serial *s);
	void (*write)(struct serial *s, uint8_t v);
};

static const struct serial_reg serial_regs[8] = {
	[UART_RX] = { serial_read_rbr, serial_write_thr },
	[UART_IER] = { serial_read_ier, serial_write_ier },
	[UART_IIR] = { serial_read_iir, serial_write_fcr },
	[UART_LCR] = { serial_read_lcr, serial_write_lcr },
	[UART_MCR] = { serial_read_mcr, serial_write_mcr },
	[UART_LSR] = { serial_read_lsr, serial_write_nothing },
	[UART_MSR] = { serial_read_msr, serial_write_nothing },
	[UART_SCR] = { serial_read_scratch, serial_write_scratch },
};

/* While LCR says DLAB, the first two are the divisor latch. */
static const struct serial_reg serial_latch[2] = {
	[UART_DLL] = { serial_read_dll, serial_write_dll },
	[UART_DLM] = { serial_read_dlm, serial_write_dlm },
};

static const struct serial_reg *serial_reg_of(const struct serial *s, unsigned reg)
{
	bool is_latch = s->lcr & UART_LCR_DLAB && reg < ARRAY_SIZE(serial_latch);
	return is_latch ? &serial_latch[reg] : &serial_regs[reg % ARRAY_SIZE(serial_regs)];
}

static uint8_t serial_read_port(void *ctx, unsigned reg)
{
	struct serial *s = ctx;
	mutex_lock(&s->lock);
	if (reg != UART_LSR)
		s->lsr_polls = 0;
	uint8_t v = serial_reg_of(s, reg)->read(s);
	serial_update_irq(s);
	mutex_unlock(&s->lock);
	return v;
}

static void serial_write_port(void *ctx, unsigned reg, uint8_t v)
{
	struct serial *s = ctx;
	mutex_lock(&s->lock);
	s->lsr_polls = 0;
	serial_reg_of(s, reg)->write(s, v);
	serial_update_irq(s);
	mutex_unlock(&s->lock);
}

static void serial_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	byte_io_read(ctx, offset, data, len, serial_read_port);
}

static void serial_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	byte_io_write(ctx, offset, data, len, serial_write_port);
}

const struct bus_ops serial_bus_ops = {
	.name = "serial",
	.read = serial_read,
	.write = serial_write,
};

int serial_create(struct serial **out, const struct serial_config *cfg)
{
	struct serial *s = aligned_alloc(alignof(struct serial), sizeof(*s));
	if (!s)
		return -ENOMEM;
	memset(s, 0, sizeof(*s));
	int err = notifier_init(&s->stopped);
	if (!err)
		err = notifier_init(&s->aborted);
	if (err) {
		notifier_fini(&s->stopped);
		free(s);
		return err;
	}
	s->cfg = *cfg;
	s->divisor = SERIAL_DIVISOR;
	s->msr_lines = SERIAL_LINES_UP;
	mutex_init(&s->lock);
	serial_io_init(s);
	*out = s;
	return 0;
}

void serial_destroy(struct serial *s)
{
	if (!s)
		return;
	notifier_fini(&s->stopped);
	notifier_fini(&s->aborted);
	mutex_fini(&s->lock);
	free(s);
}
