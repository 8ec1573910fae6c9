/*
 * fuzz_serial.c - a guest that does anything to a UART, and a host that takes and gives as it
 * likes: output arrives in order, input is seen in order, nothing comes twice and nothing is lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <linux/serial_reg.h>
#include "base/num.h"
#include "dev/platform.h"
#include "sync/rcu.h"
#include "unit/dev/fake_reactor.h"

#define PORT   0x3f8
#define IN_FD  1000 /* never opened: the hook answers for them */
#define OUT_FD 1001

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Both directions carry a count, so that a byte that is lost, repeated or misplaced shows. */
static struct {
	struct bus *pio;
	struct serial *s;
	const uint8_t *at, *end;
	uint8_t next_in, expect_in, next_out, expect_out;
	bool level;
} fuzz;

static uint8_t take_byte(void)
{
	return fuzz.at < fuzz.end ? *fuzz.at++ : 0;
}

/* --- the host --- */

static int32_t host_gives(const struct fake_op *o)
{
	uint8_t n = (uint8_t)(1 + take_byte() % 20), *to = o->iov[0].iov_base;
	uint32_t len = min_u32(n, (uint32_t)o->iov[0].iov_len);
	BUG_ON(!o->iov[0].iov_len || o->nr != 1); /* reads only when there is room */
	for (uint32_t i = 0; i < len; i++)
		to[i] = fuzz.next_in++;
	return (int32_t)len;
}

static int32_t host_takes(const struct fake_op *o)
{
	uint32_t max = 1u + take_byte(), len = 0;
	for (unsigned i = 0; i < o->nr; i++)
		for (size_t k = 0; k < o->iov[i].iov_len && len < max; k++, len++)
			BUG_ON(((const uint8_t *)o->iov[i].iov_base)[k] != fuzz.expect_out++);
	return (int32_t)len;
}

static bool host_answers(const struct fake_op *o, int32_t *res, uint64_t *max)
{
	(void)max;
	uint8_t how = fuzz.at < fuzz.end ? take_byte() : 0xff;
	if (o->kind == FAKE_POLL)
		*res = 1;
	else if (how < 20)
		*res = -EAGAIN;
	else
		*res = o->kind == FAKE_READ ? host_gives(o) : host_takes(o);
	return true;
}

static void on_level(void *ctx, uint32_t gsi, bool level)
{
	(void)ctx;
	(void)gsi;
	BUG_ON(level == fuzz.level);
	fuzz.level = level;
}

/* --- the guest --- */

static uint8_t in(unsigned reg)
{
	uint8_t v;
	BUG_ON(!bus_read(fuzz.pio, PORT + reg, &v, 1));
	return v;
}

static void out(unsigned reg, uint8_t v)
{
	BUG_ON(!bus_write(fuzz.pio, PORT + reg, &v, 1));
}

/* What a guest writes to the transmitter has to be the next of the count; in loopback mode, or as
 * divisor, it is anything. */
static void step_write(unsigned reg)
{
	bool is_latch = in(UART_LCR)&UART_LCR_DLAB, is_loop = in(UART_MCR)&UART_MCR_LOOP;
	if (reg != UART_TX || is_latch)
		out(reg, take_byte());
	else if (!is_loop && in(UART_LSR)&UART_LSR_THRE)
		out(UART_TX, fuzz.next_out++);
}

static void step_read(unsigned reg)
{
	bool is_latch = in(UART_LCR)&UART_LCR_DLAB;
	if (reg != UART_RX || is_latch)
		(void)in(reg);
	else if (in(UART_LSR)&UART_LSR_DR)
		BUG_ON(in(UART_RX) != fuzz.expect_in++);
}

static void step(void)
{
	uint8_t what = take_byte();
	if (what < 100)
		step_write(what % 8);
	else if (what < 190)
		step_read(what % 8);
	else if (what < 200)
		for (unsigned n = 0; n < 5; n++) /* asks for input */
			(void)in(UART_LSR);
	else
		fake_pass();
	BUG_ON(fuzz.level && !(in(UART_LCR)&UART_LCR_DLAB) && !in(UART_IER));
}

/* The guest reads on until all that the host gave has come. */
static void finish_input(void)
{
	out(UART_LCR, 3);
	out(UART_MCR, 0);
	out(UART_IER, UART_IER_RDI);
	fake_held = 1u << FAKE_READ | 1u << FAKE_POLL;
	for (unsigned n = 0; fuzz.expect_in != fuzz.next_in; n++) {
		BUG_ON(n > 100000);
		fake_pass();
		step_read(UART_RX);
	}
}

/* serial_stop() waits for the reactor: this thread is it. */
static void *run_passes(void *stop)
{
	while (!atomic_load((atomic_bool *)stop))
		fake_pass();
	return NULL;
}

static void finish_output(void)
{
	atomic_bool stop = false;
	pthread_t t;
	BUG_ON(pthread_create(&t, NULL, run_passes, &stop));
	fake_held = 0;
	BUG_ON(!serial_stop(fuzz.s, 100 * NSEC_PER_SEC, 0));
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	BUG_ON(fuzz.expect_out != fuzz.next_out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct irq_chip_ops ops = { .set_level = on_level };
	static const struct irq_chip chip = { &ops, NULL };
	static unsigned nr_runs;
	struct reactor *r;
	if (!nr_runs)
		rcu_enter_thread();
	memset(&fuzz, 0, sizeof(fuzz));
	fuzz.at = data;
	fuzz.end = data + size;
	fake_hook = host_answers;
	BUG_ON(reactor_create(&r, &(struct reactor_config){ .entries = 8 }));
	struct serial_config cfg = { .reactor = r, .in_fd = IN_FD, .out_fd = OUT_FD };
	cfg.irq = (struct irq_line){ &chip, 4 };
	BUG_ON(serial_create(&fuzz.s, &cfg) || bus_create(&fuzz.pio, BUS_PIO));
	BUG_ON(bus_add(fuzz.pio, PORT, 8, &serial_bus_ops, fuzz.s));
	serial_start(fuzz.s);
	while (fuzz.at < fuzz.end)
		step();
	finish_input();
	finish_output();
	bus_destroy(fuzz.pio);
	serial_destroy(fuzz.s);
	reactor_destroy(r);
	fake_hook = NULL;
	if (++nr_runs % 256 == 0)
		rcu_drain();
	return 0;
}
