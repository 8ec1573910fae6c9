/* test_serial.c - 16550A: registers, interrupts, loopback, and no byte lost on either side. */
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/serial_reg.h>
#include "unit/platform/board.h"

#define PORT      0x3f8
#define OUT_BYTES 16384 /* what the transmitter takes while the host takes nothing */
#define SECOND    NSEC_PER_SEC

struct fixture {
	struct board board;
	struct serial *s;
	int in[2], out[2]; /* pipes: test -> in[1], in[0] -> UART -> out[1], out[0] -> test */
};

static void start(struct fixture *f, int in_fd, int out_fd)
{
	struct serial_config cfg = { .reactor = f->board.reactor,
				     .in_fd = in_fd,
				     .out_fd = out_fd,
				     .irq = board_line(&f->board) };
	assert_int_equal(serial_create(&f->s, &cfg), 0);
	assert_int_equal(bus_add(f->board.pio, PORT, 8, &serial_bus_ops, f->s), 0);
	serial_start(f->s);
}

static int setup_idle(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	board_init(&f->board);
	board_make_reactor(&f->board);
	assert_int_equal(pipe2(f->in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(f->out, O_CLOEXEC), 0);
	start(f, f->in[0], f->out[1]);
	*state = f;
	return 0;
}

static int setup(void **state)
{
	int err = setup_idle(state);
	struct fixture *f = *state;
	board_run_reactor(&f->board);
	return err;
}

static void stop(struct fixture *f, uint64_t timeout_ns)
{
	serial_stop(f->s, timeout_ns);
	assert_int_equal(bus_remove(f->board.pio, PORT, 8), 0);
	serial_destroy(f->s);
	f->s = NULL;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	if (f->s)
		stop(f, 20 * SECOND);
	board_end_reactor(&f->board);
	for (unsigned i = 0; i < 2; i++) {
		close(f->in[i]);
		close(f->out[i]);
	}
	board_fini(&f->board);
	free(f);
	return 0;
}

static uint8_t get(struct fixture *f, unsigned reg)
{
	return in8(&f->board, (uint16_t)(PORT + reg));
}

static void put(struct fixture *f, unsigned reg, uint8_t v)
{
	out8(&f->board, (uint16_t)(PORT + reg), v);
}

static void host_sends(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->in[1], text, strlen(text)), strlen(text));
}

static void host_receives(struct fixture *f, const char *text)
{
	size_t len = strlen(text);
	char buf[256];
	for (size_t n = 0; n < len;) {
		struct pollfd p = { .fd = f->out[0], .events = POLLIN };
		assert_int_equal(poll(&p, 1, BOARD_WAIT_MS), 1);
		ssize_t got = read(f->out[0], buf + n, len - n);
		assert_true(got > 0);
		n += (size_t)got;
	}
	assert_memory_equal(buf, text, len);
}

static int unread_input(struct fixture *f)
{
	int n = -1;
	assert_int_equal(ioctl(f->in[0], FIONREAD, &n), 0);
	return n;
}

/* The driver's way to read: wait for the interrupt, then take all there is. */
static size_t take_all(struct fixture *f, char *buf, size_t size)
{
	size_t n = 0;
	eventually(f->board.level);
	while (n < size && get(f, UART_LSR) & UART_LSR_DR)
		buf[n++] = (char)get(f, UART_RX);
	return n;
}

/* --- registers --- */

static const struct {
	const char *what;
	unsigned reg;
	uint8_t reset, wrote, reads;
} registers[] = {
	{ "receiver", UART_RX, 0x00, 0x00, 0x00 },
	{ "interrupt identity", UART_IIR, 0x01, 0x00, 0x01 },
	{ "modem control", UART_MCR, 0x00, 0xef, 0x0f },
	{ "line status", UART_LSR, 0x60, 0xff, 0x60 },
	{ "modem status", UART_MSR, 0xb0, 0xff, 0xb0 },
	{ "scratch", UART_SCR, 0x00, 0xa5, 0xa5 },
	{ "line control", UART_LCR, 0x00, 0x7f, 0x7f },
	{ "interrupt enable", UART_IER, 0x00, 0xfd, 0x0d },
};

static void registers_read_as_after_reset_and_keep_their_bits(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		uint8_t before = get(f, registers[i].reg);
		put(f, registers[i].reg, registers[i].wrote);
		uint8_t after = get(f, registers[i].reg);
		if (before != registers[i].reset || after != registers[i].reads)
			fail_msg("%s: %x, then %x", registers[i].what, before, after);
	}
}

static void the_divisor_latch_hides_data_and_interrupt_enable(void **state)
{
	struct fixture *f = *state;
	put(f, UART_IER, 0x01);
	put(f, UART_LCR, UART_LCR_DLAB | 3);
	assert_int_equal(get(f, UART_DLL), 1);
	put(f, UART_DLL, 0x0c);
	put(f, UART_DLM, 0x34);
	assert_int_equal(get(f, UART_DLL), 0x0c);
	assert_int_equal(get(f, UART_DLM), 0x34);
	assert_int_equal(get(f, UART_LSR), 0x60);
	put(f, UART_LCR, 3);
	assert_int_equal(get(f, UART_IER), 0x01);
}

static void fifo_control_shows_in_the_identity_register(void **state)
{
	struct fixture *f = *state;
	put(f, UART_FCR, UART_FCR_ENABLE_FIFO);
	assert_int_equal(get(f, UART_IIR), 0xc1);
	put(f, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR7_64BYTE); /* we are no 16750 */
	assert_int_equal(get(f, UART_IIR), 0xc1);
	put(f, UART_FCR, 0);
	assert_int_equal(get(f, UART_IIR), 0x01);
}

static void a_wide_access_reaches_register_after_register(void **state)
{
	struct fixture *f = *state;
	out_n(&f->board, PORT + UART_MCR + 3, 0x77, 1);
	assert_int_equal(in_n(&f->board, PORT + UART_MSR, 2), 0x77b0);
	out_n(&f->board, PORT, 0x0158, 2); /* 'X' and IER */
	host_receives(f, "X");
	assert_int_equal(get(f, UART_IER), 1);
}

/* --- output --- */

static void what_the_guest_writes_reaches_the_host_in_order(void **state)
{
	struct fixture *f = *state;
	for (const char *p = "hello, world\n"; *p; p++)
		put(f, UART_TX, (uint8_t)*p);
	host_receives(f, "hello, world\n");
}

static void a_host_that_takes_nothing_stops_the_guest_and_loses_nothing(void **state)
{
	struct fixture *f = *state; /* the reactor does not run yet */
	uint32_t sent = 0;
	while (get(f, UART_LSR) & UART_LSR_THRE && sent < 10 * OUT_BYTES) {
		for (unsigned i = 0; i < 16; i++) /* a driver fills the FIFO without looking */
			put(f, UART_TX, (uint8_t)(sent++ * 7));
	}
	assert_int_equal(sent, OUT_BYTES);
	put(f, UART_TX, 0xee); /* nobody may: lost, as on any UART */
	assert_int_equal(get(f, UART_LSR) & UART_LSR_TEMT, 0);
	board_run_reactor(&f->board);
	for (uint32_t n = 0; n < sent; n++) {
		uint8_t v;
		assert_int_equal(read(f->out[0], &v, 1), 1);
		assert_int_equal(v, (uint8_t)(n * 7));
	}
	eventually(get(f, UART_LSR) & UART_LSR_THRE);
	put(f, UART_TX, '!');
	host_receives(f, "!");
}

static void a_full_pipe_holds_the_guest_up_and_loses_nothing(void **state)
{
	struct fixture *f = *state;
	uint32_t sent = 0, got = 0, total = 1 << 20;
	uint8_t buf[4096];
	assert_int_equal(fcntl(f->out[0], F_SETFL, O_NONBLOCK), 0);
	while (got < total) {
		while (sent < total && get(f, UART_LSR) & UART_LSR_THRE)
			put(f, UART_TX, (uint8_t)(sent++ % 251));
		ssize_t n = read(f->out[0], buf, sizeof(buf));
		for (ssize_t i = 0; i < n; i++)
			assert_int_equal(buf[i], got++ % 251);
	}
	assert_int_equal(got, total);
}

static void without_a_host_output_goes_nowhere_and_the_guest_goes_on(void **state)
{
	struct fixture *f = *state;
	stop(f, SECOND);
	start(f, -1, -1);
	for (unsigned i = 0; i < 4 * OUT_BYTES; i++) {
		eventually(get(f, UART_LSR) & UART_LSR_THRE);
		put(f, UART_TX, 'x');
	}
}

static void a_host_that_fails_does_not_hang_the_guest(void **state)
{
	struct fixture *f = *state;
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	assert_true(full >= 0);
	stop(f, SECOND);
	start(f, -1, full);
	for (unsigned i = 0; i < 2 * OUT_BYTES; i++) {
		eventually(get(f, UART_LSR) & UART_LSR_THRE);
		put(f, UART_TX, 'x');
	}
	stop(f, 20 * SECOND);
	close(full);
}

/* --- transmitter interrupt --- */

static void the_transmitter_interrupt_comes_whenever_it_is_enabled(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 2; i++) { /* as drivers test for it */
		put(f, UART_IER, UART_IER_THRI);
		assert_true(f->board.level);
		assert_int_equal(get(f, UART_IIR), UART_IIR_THRI);
		assert_false(f->board.level); /* reading it cleared it */
		assert_int_equal(get(f, UART_IIR), UART_IIR_NO_INT);
		put(f, UART_IER, 0);
	}
}

static void the_transmitter_interrupt_comes_again_after_output(void **state)
{
	struct fixture *f = *state;
	put(f, UART_IER, UART_IER_THRI);
	for (unsigned i = 0; i < 50; i++) {
		eventually(f->board.level);
		assert_int_equal(get(f, UART_IIR), UART_IIR_THRI);
		put(f, UART_TX, 'a');
	}
	eventually(f->board.level);
}

static void a_whole_text_goes_out_by_interrupts(void **state)
{
	struct fixture *f = *state;
	char text[201] = { 0 };
	for (unsigned i = 0; i < 200; i++)
		text[i] = (char)('a' + i % 26);
	put(f, UART_FCR, UART_FCR_ENABLE_FIFO);
	put(f, UART_IER, UART_IER_THRI);
	for (unsigned sent = 0; sent < 200;) {
		eventually(f->board.level);
		(void)get(f, UART_IIR);
		for (unsigned i = 0; i < 16 && sent < 200; i++)
			put(f, UART_TX, (uint8_t)text[sent++]);
	}
	host_receives(f, text);
}

/* --- input --- */

static void input_comes_with_an_interrupt_when_enabled(void **state)
{
	struct fixture *f = *state;
	char buf[16];
	put(f, UART_FCR, UART_FCR_ENABLE_FIFO);
	put(f, UART_IER, UART_IER_RDI);
	host_sends(f, "abc");
	assert_int_equal(take_all(f, buf, sizeof(buf)), 3);
	assert_memory_equal(buf, "abc", 3);
	assert_false(f->board.level);
	assert_int_equal(get(f, UART_LSR), 0x60);
}

static const struct {
	const char *what, *sent;
	uint8_t fcr, iir;
} triggers[] = {
	{ "no FIFO", "a", 0, UART_IIR_RDI },
	{ "trigger 1", "a", UART_FCR_TRIGGER_1, 0xc0 | UART_IIR_RDI },
	{ "below 4: timeout", "abc", UART_FCR_TRIGGER_4, 0xc0 | UART_IIR_RX_TIMEOUT },
	{ "at 4", "abcd", UART_FCR_TRIGGER_4, 0xc0 | UART_IIR_RDI },
	{ "below 8: timeout", "abcdefg", UART_FCR_TRIGGER_8, 0xc0 | UART_IIR_RX_TIMEOUT },
	{ "at 14", "abcdefghijklmn", UART_FCR_TRIGGER_14, 0xc0 | UART_IIR_RDI },
	{ "full", "abcdefghijklmnopqrstuvw", UART_FCR_TRIGGER_14, 0xc0 | UART_IIR_RDI },
};

static void the_trigger_level_tells_data_from_timeout(void **state)
{
	struct fixture *f = *state;
	char buf[32];
	for (size_t i = 0; i < ARRAY_SIZE(triggers); i++) {
		size_t len = strlen(triggers[i].sent);
		put(f, UART_FCR, triggers[i].fcr ? triggers[i].fcr | 1 : 0);
		if (i == 1) /* level 1 is bits 00 */
			put(f, UART_FCR, UART_FCR_ENABLE_FIFO);
		host_sends(f, triggers[i].sent);
		put(f, UART_IER, UART_IER_RDI);
		eventually(f->board.level);
		if (get(f, UART_IIR) != triggers[i].iir)
			fail_msg("%s: %x", triggers[i].what, get(f, UART_IIR));
		assert_int_equal(take_all(f, buf, sizeof(buf)), len);
		put(f, UART_IER, 0);
	}
}

static void input_is_left_with_the_host_until_the_guest_listens(void **state)
{
	struct fixture *f = *state;
	char buf[16];
	host_sends(f, "typed early");
	/* What a driver does first: probe, clear, read everything once. */
	put(f, UART_IER, 0);
	put(f, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR | UART_FCR_CLEAR_XMIT);
	assert_int_equal(get(f, UART_LSR), 0x60);
	assert_int_equal(get(f, UART_RX), 0);
	assert_int_equal(get(f, UART_LSR), 0x60); /* is it there at all? */
	assert_int_equal(get(f, UART_LSR), 0x60); /* and empty? */
	assert_int_equal(get(f, UART_RX), 0);
	put(f, UART_TX, '.'); /* when this has come back, the reactor would have read, too */
	host_receives(f, ".");
	assert_int_equal(unread_input(f), 11);
	put(f, UART_IER, UART_IER_RDI);
	assert_int_equal(take_all(f, buf, sizeof(buf)), 11);
	assert_memory_equal(buf, "typed early", 11);
}

static void clearing_the_fifo_loses_no_input(void **state)
{
	struct fixture *f = *state;
	char buf[16];
	put(f, UART_IER, UART_IER_RDI); /* a probe of the register */
	host_sends(f, "0123");
	eventually(f->board.level);
	put(f, UART_IER, 0);
	put(f, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(get(f, UART_LSR) & UART_LSR_DR, 0);
	assert_int_equal(get(f, UART_RX), 0);
	put(f, UART_IER, UART_IER_RDI);
	assert_int_equal(take_all(f, buf, sizeof(buf)), 4);
	assert_memory_equal(buf, "0123", 4);
}

static void a_guest_that_polls_is_heard(void **state)
{
	struct fixture *f = *state;
	host_sends(f, "ok");
	eventually(get(f, UART_LSR) & UART_LSR_DR);
	assert_int_equal(get(f, UART_RX), 'o');
	eventually(get(f, UART_LSR) & UART_LSR_DR);
	assert_int_equal(get(f, UART_RX), 'k');
	assert_int_equal(f->board.rises, 0);
}

static void a_flood_of_input_arrives_whole(void **state)
{
	struct fixture *f = *state;
	uint8_t block[8192];
	char buf[64];
	unsigned got = 0;
	for (unsigned i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i % 253);
	assert_int_equal(write(f->in[1], block, sizeof(block)), sizeof(block));
	put(f, UART_FCR, UART_FCR_ENABLE_FIFO);
	put(f, UART_IER, UART_IER_RDI);
	while (got < sizeof(block)) {
		size_t n = take_all(f, buf, sizeof(buf));
		for (size_t i = 0; i < n; i++)
			assert_int_equal((uint8_t)buf[i], block[got++]);
		if (got % 5 == 0) /* whatever a driver does in between */
			put(f, UART_FCR, UART_FCR_ENABLE_FIFO | UART_FCR_CLEAR_RCVR);
	}
	assert_int_equal(unread_input(f), 0);
}

static void input_that_ends_leaves_what_came_before(void **state)
{
	struct fixture *f = *state;
	char buf[16];
	host_sends(f, "bye");
	close(f->in[1]);
	f->in[1] = -1;
	put(f, UART_IER, UART_IER_RDI);
	assert_int_equal(take_all(f, buf, sizeof(buf)), 3);
}

static void input_that_would_block_is_waited_for(void **state)
{
	struct fixture *f = *state;
	char buf[16];
	assert_int_equal(fcntl(f->in[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(fcntl(f->out[1], F_SETFL, O_NONBLOCK), 0);
	put(f, UART_IER, UART_IER_RDI);
	put(f, UART_TX, '.');
	host_receives(f, ".");
	host_sends(f, "now");
	size_t n = take_all(f, buf, sizeof(buf));
	while (n < 3)
		n += take_all(f, buf + n, sizeof(buf) - n);
	assert_memory_equal(buf, "now", 3);
}

/* --- loopback, modem lines, priorities --- */

static void loopback_returns_data_and_keeps_it_from_the_host(void **state)
{
	struct fixture *f = *state;
	put(f, UART_MCR, UART_MCR_LOOP);
	put(f, UART_IER, UART_IER_RDI);
	put(f, UART_TX, 0x42);
	assert_true(f->board.level);
	assert_int_equal(get(f, UART_LSR), 0x61);
	assert_int_equal(get(f, UART_RX), 0x42);
	assert_int_equal(get(f, UART_LSR), 0x60);
	put(f, UART_MCR, 0);
	put(f, UART_TX, '!');
	host_receives(f, "!");
}

static const struct {
	uint8_t fcr;
	unsigned fits;
} overruns[] = { { 0, 1 }, { UART_FCR_ENABLE_FIFO, 16 } };

static void loopback_overruns_when_nobody_reads(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(overruns); i++) {
		put(f, UART_FCR, overruns[i].fcr);
		put(f, UART_MCR, UART_MCR_LOOP);
		for (unsigned n = 0; n < overruns[i].fits; n++)
			put(f, UART_TX, (uint8_t)n);
		assert_int_equal(get(f, UART_LSR) & UART_LSR_OE, 0);
		put(f, UART_TX, 0xff);
		assert_int_equal(get(f, UART_LSR) & UART_LSR_OE, UART_LSR_OE);
		assert_int_equal(get(f, UART_LSR) & UART_LSR_OE, 0); /* reading clears it */
		for (unsigned n = 0; n < overruns[i].fits; n++)
			assert_int_equal(get(f, UART_RX), n);
	}
}

static const struct {
	uint8_t mcr, msr; /* lines, then what changed since the row before */
} lines[] = {
	{ UART_MCR_LOOP, 0x0b },
	{ UART_MCR_LOOP | UART_MCR_OUT2 | UART_MCR_RTS, 0x99 }, /* Linux's probe */
	{ UART_MCR_LOOP | UART_MCR_DTR, 0x2b },
	{ UART_MCR_LOOP | UART_MCR_OUT1, 0x42 }, /* RI rises: no delta */
	{ UART_MCR_LOOP, 0x04 },                 /* RI falls: one */
	{ 0, 0xbb },
};

static void loopback_returns_modem_lines_and_their_changes(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		put(f, UART_MCR, lines[i].mcr);
		if (get(f, UART_MSR) != lines[i].msr)
			fail_msg("row %zu", i);
		assert_int_equal(get(f, UART_MSR) & 0x0f, 0);
	}
}

static void the_identity_names_the_highest_priority_first(void **state)
{
	struct fixture *f = *state;
	put(f, UART_MCR, UART_MCR_LOOP);
	put(f, UART_IER, 0x0f);
	put(f, UART_TX, 1);
	put(f, UART_TX, 2); /* overrun: no FIFO */
	assert_int_equal(get(f, UART_IIR), UART_IIR_RLSI);
	assert_int_equal(get(f, UART_LSR) & UART_LSR_OE, UART_LSR_OE);
	assert_int_equal(get(f, UART_IIR), UART_IIR_RDI);
	assert_int_equal(get(f, UART_RX), 1);
	assert_int_equal(get(f, UART_IIR), UART_IIR_THRI);
	assert_int_equal(get(f, UART_IIR), UART_IIR_MSI);
	assert_true(f->board.level);
	(void)get(f, UART_MSR);
	assert_int_equal(get(f, UART_IIR), UART_IIR_NO_INT);
	assert_false(f->board.level);
}

/* --- stop --- */

static void stop_waits_for_what_was_written(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < 100; i++)
		put(f, UART_TX, (uint8_t)('a' + i % 26));
	stop(f, 20 * SECOND);
	assert_int_equal(fcntl(f->out[0], F_SETFL, O_NONBLOCK), 0);
	char buf[101];
	assert_int_equal(read(f->out[0], buf, sizeof(buf)), 100);
}

static void stop_gives_up_on_a_host_that_takes_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned held = 0;
	while (held < 3000) { /* until neither pipe nor ring take more */
		bool is_full = !(get(f, UART_LSR) & UART_LSR_THRE);
		held = is_full ? held + 1 : 0;
		if (!is_full)
			put(f, UART_TX, 'x');
	}
	stop(f, SECOND / 20);
}

static void stop_ends_a_read_that_waits(void **state)
{
	struct fixture *f = *state;
	put(f, UART_IER, UART_IER_RDI);
	stop(f, 20 * SECOND);
}

#define T(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TI(f) cmocka_unit_test_setup_teardown(f, setup_idle, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(registers_read_as_after_reset_and_keep_their_bits),
		T(the_divisor_latch_hides_data_and_interrupt_enable),
		T(fifo_control_shows_in_the_identity_register),
		T(a_wide_access_reaches_register_after_register),
		T(what_the_guest_writes_reaches_the_host_in_order),
		TI(a_host_that_takes_nothing_stops_the_guest_and_loses_nothing),
		T(a_full_pipe_holds_the_guest_up_and_loses_nothing),
		T(without_a_host_output_goes_nowhere_and_the_guest_goes_on),
		T(a_host_that_fails_does_not_hang_the_guest),
		T(the_transmitter_interrupt_comes_whenever_it_is_enabled),
		T(the_transmitter_interrupt_comes_again_after_output),
		T(a_whole_text_goes_out_by_interrupts),
		T(input_comes_with_an_interrupt_when_enabled),
		T(the_trigger_level_tells_data_from_timeout),
		T(input_is_left_with_the_host_until_the_guest_listens),
		T(clearing_the_fifo_loses_no_input),
		T(a_guest_that_polls_is_heard),
		T(a_flood_of_input_arrives_whole),
		T(input_that_ends_leaves_what_came_before),
		T(input_that_would_block_is_waited_for),
		T(loopback_returns_data_and_keeps_it_from_the_host),
		T(loopback_overruns_when_nobody_reads),
		T(loopback_returns_modem_lines_and_their_changes),
		T(the_identity_names_the_highest_priority_first),
		T(stop_waits_for_what_was_written),
		T(stop_gives_up_on_a_host_that_takes_nothing),
		T(stop_ends_a_read_that_waits),
	};
	return cmocka_run_group_tests(tests, board_group_setup, board_group_teardown);
}
