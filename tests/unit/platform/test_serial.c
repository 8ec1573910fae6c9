/* test_serial.c - 16550A: registers, output, interrupts, loopback, and the end. */
#include "unit/platform/serial_fixture.h"

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

/* As type=pty makes it: not to block, and the far end in raw mode. */
static int make_pty(char *name, size_t len)
{
	struct termios raw;
	int near = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(near >= 0 && !grantpt(near) && !unlockpt(near));
	assert_int_equal(ptsname_r(near, name, len), 0);
	int far = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(far >= 0 && !tcgetattr(far, &raw));
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(far, TCSANOW, &raw), 0);
	close(far);
	return near;
}

static void a_terminal_that_nobody_has_open_does_not_hold_the_guest_up(void **state)
{
	struct fixture *f = *state;
	char name[64], buf[4096];
	int near = make_pty(name, sizeof(name));
	stop(f, SECOND);
	start(f, near, near);
	for (unsigned i = 0; i < 8 * OUT_BYTES; i++) {
		eventually(get(f, UART_LSR) & UART_LSR_THRE);
		put(f, UART_TX, 'x');
	}
	eventually(get(f, UART_LSR) & UART_LSR_TEMT);
	/* what is there of it is for who comes, and from then on nothing is lost */
	int far = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(far >= 0 && read(far, buf, sizeof(buf)) > 0 && buf[0] == 'x');
	uint32_t sent = 0, total = 1 << 18;
	for (uint32_t got = 0; got < total;) {
		while (sent < total && get(f, UART_LSR) & UART_LSR_THRE)
			put(f, UART_TX, (uint8_t)(sent++ % 100)); /* below 'x' */
		ssize_t n = read(far, buf, 1000);
		for (ssize_t i = 0; i < n; i++)
			if (got || buf[i] != 'x') /* the kernel takes its time with those */
				assert_int_equal(buf[i], got++ % 100);
	}
	/* and it goes while the guest is held up */
	for (unsigned held = 0; held < 3000;) {
		bool is_full = !(get(f, UART_LSR) & UART_LSR_THRE);
		held = is_full ? held + 1 : 0;
		if (!is_full)
			put(f, UART_TX, 'y');
	}
	close(far);
	eventually(get(f, UART_LSR) & UART_LSR_TEMT);
	stop(f, 20 * SECOND);
	close(near);
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

struct mark {
	struct reactor_msg msg;
	atomic_bool is_reached;
};

static void mark_reached(struct reactor_msg *m)
{
	container_of(m, struct mark, msg)->is_reached = true;
}

/* Wait until the reactor has done what it had to do. */
static void settle(struct fixture *f)
{
	for (unsigned i = 0; i < 2; i++) {
		struct mark mark = { .msg.fn = mark_reached };
		reactor_post(f->board.reactor, &mark.msg);
		eventually(mark.is_reached);
	}
}

static void the_transmitter_interrupt_comes_once_for_what_was_written(void **state)
{
	struct fixture *f = *state; /* the reactor does not run yet */
	put(f, UART_TX, 'x');
	put(f, UART_IER, UART_IER_THRI);
	assert_int_equal(get(f, UART_IIR), UART_IIR_THRI); /* room for more */
	board_run_reactor(&f->board);
	host_receives(f, "x");
	settle(f);
	assert_int_equal(get(f, UART_IIR), UART_IIR_NO_INT);
	put(f, UART_TX, 'y');
	eventually(f->board.level);
	assert_int_equal(get(f, UART_IIR), UART_IIR_THRI);
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

/* No answer from the reactor's thread, as where it is inside a write. */
static void stop_gives_up_on_a_write_that_hangs(void **state)
{
	struct fixture *f = *state;
	put(f, UART_TX, 'x');
	assert_false(serial_stop(f->s, SECOND / 100, SECOND / 100));
	assert_int_equal(bus_remove(f->board.pio, PORT, 8), 0);
	board_run_reactor(&f->board);
	board_end_reactor(&f->board);
	serial_destroy(f->s);
	f->s = NULL;
	board_make_reactor(&f->board); /* for the end of the test */
	board_run_reactor(&f->board);
}

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
		T(a_terminal_that_nobody_has_open_does_not_hold_the_guest_up),
		T(a_host_that_fails_does_not_hang_the_guest),
		T(the_transmitter_interrupt_comes_whenever_it_is_enabled),
		T(the_transmitter_interrupt_comes_again_after_output),
		TI(the_transmitter_interrupt_comes_once_for_what_was_written),
		T(a_whole_text_goes_out_by_interrupts),
		T(loopback_returns_data_and_keeps_it_from_the_host),
		T(loopback_overruns_when_nobody_reads),
		T(loopback_returns_modem_lines_and_their_changes),
		T(the_identity_names_the_highest_priority_first),
		T(stop_waits_for_what_was_written),
		T(stop_gives_up_on_a_host_that_takes_nothing),
		T(stop_ends_a_read_that_waits),
		TI(stop_gives_up_on_a_write_that_hangs),
	};
	return cmocka_run_group_tests(tests, board_group_setup, board_group_teardown);
}
