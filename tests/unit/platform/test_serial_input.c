/* test_serial_input.c - 16550A: input from the host, of which no byte is lost. */
#include "unit/platform/serial_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(input_comes_with_an_interrupt_when_enabled),
		T(the_trigger_level_tells_data_from_timeout),
		T(input_is_left_with_the_host_until_the_guest_listens),
		T(clearing_the_fifo_loses_no_input),
		T(a_guest_that_polls_is_heard),
		T(a_flood_of_input_arrives_whole),
		T(input_that_ends_leaves_what_came_before),
		T(input_that_would_block_is_waited_for),
	};
	return cmocka_run_group_tests(tests, board_group_setup, board_group_teardown);
}
