/* serial_fixture.h - a 16550A between two pipes. */
#ifndef TESTS_UNIT_PLATFORM_SERIAL_FIXTURE_H
#define TESTS_UNIT_PLATFORM_SERIAL_FIXTURE_H
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <termios.h>
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

static inline void start(struct fixture *f, int in_fd, int out_fd)
{
	struct serial_config cfg = { .reactor = f->board.reactor,
				     .in_fd = in_fd,
				     .out_fd = out_fd,
				     .irq = board_line(&f->board) };
	assert_int_equal(serial_create(&f->s, &cfg), 0);
	assert_int_equal(bus_add(f->board.pio, PORT, 8, &serial_bus_ops, f->s), 0);
	serial_start(f->s);
}

static inline int setup_idle(void **state)
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

static inline int setup(void **state)
{
	int err = setup_idle(state);
	struct fixture *f = *state;
	board_run_reactor(&f->board);
	return err;
}

static inline void stop(struct fixture *f, uint64_t timeout_ns)
{
	assert_true(serial_stop(f->s, timeout_ns, 20 * SECOND));
	assert_int_equal(bus_remove(f->board.pio, PORT, 8), 0);
	serial_destroy(f->s);
	f->s = NULL;
}

static inline int teardown(void **state)
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

static inline uint8_t get(struct fixture *f, unsigned reg)
{
	return in8(&f->board, (uint16_t)(PORT + reg));
}

static inline void put(struct fixture *f, unsigned reg, uint8_t v)
{
	out8(&f->board, (uint16_t)(PORT + reg), v);
}

static inline void host_sends(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->in[1], text, strlen(text)), strlen(text));
}

static inline void host_receives(struct fixture *f, const char *text)
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

static inline int unread_input(struct fixture *f)
{
	int n = -1;
	assert_int_equal(ioctl(f->in[0], FIONREAD, &n), 0);
	return n;
}

/* The driver's way to read: wait for the interrupt, then take all there is. */
static inline size_t take_all(struct fixture *f, char *buf, size_t size)
{
	size_t n = 0;
	eventually(f->board.level);
	while (n < size && get(f, UART_LSR) & UART_LSR_DR)
		buf[n++] = (char)get(f, UART_RX);
	return n;
}

#define T(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TI(f) cmocka_unit_test_setup_teardown(f, setup_idle, teardown)

#endif
