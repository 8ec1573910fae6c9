/* stress_serial.c - two vCPUs on one UART, input and output at once: every byte once. */
#include <fcntl.h>
#include <unistd.h>
#include <linux/serial_reg.h>
#include "unit/platform/board.h"

#define PORT     0x3f8
#define NR_VCPUS 2
#define PER_VCPU 60000
#define NR_INPUT 20000

struct stress {
	struct board board;
	struct serial *s;
	int in[2], out[2];
	_Atomic uint32_t received;
	atomic_uint next_vcpu;
};

/* Writes its own letter and takes what input there is, as an interrupt handler on any vCPU may. */
static void vcpu(void *arg)
{
	struct stress *t = arg;
	uint8_t letter = (uint8_t)('A' + atomic_fetch_add(&t->next_vcpu, 1));
	uint32_t sent = 0;
	while (sent < PER_VCPU || atomic_load(&t->received) < NR_INPUT) {
		uint8_t lsr = in8(&t->board, PORT + UART_LSR);
		if (lsr & UART_LSR_DR && in8(&t->board, PORT + UART_RX) == 'i')
			atomic_fetch_add(&t->received, 1);
		/* two of them see room for 16 at once: one byte each never overflows */
		if (lsr & UART_LSR_THRE && sent < PER_VCPU) {
			out8(&t->board, PORT + UART_TX, letter);
			sent++;
		}
		if (sent % 64 == 0) {
			out8(&t->board, PORT + UART_IER, 0);
			out8(&t->board, PORT + UART_IER, UART_IER_RDI | UART_IER_THRI);
			(void)in8(&t->board, PORT + UART_IIR);
		}
	}
}

/* The host: sends as fast as it is read, takes what comes. */
static void run_host(struct stress *t, uint32_t count[NR_VCPUS])
{
	static const char input[] = "iiiiiiiiiiiiiiii";
	uint8_t buf[1024];
	uint32_t sent = 0, got = 0;
	assert_int_equal(fcntl(t->in[1], F_SETFL, O_NONBLOCK), 0);
	while (got < NR_VCPUS * PER_VCPU) {
		ssize_t n = sent < NR_INPUT ? write(t->in[1], input, 16) : 0;
		sent += n > 0 ? (uint32_t)n : 0;
		n = read(t->out[0], buf, sizeof(buf));
		assert_true(n > 0);
		got += (uint32_t)n;
		for (ssize_t i = 0; i < n; i++) {
			assert_in_range(buf[i], 'A', 'A' + NR_VCPUS - 1);
			count[buf[i] - 'A']++;
		}
	}
	while (sent < NR_INPUT) {
		ssize_t n = write(t->in[1], input, 16);
		sent += n > 0 ? (uint32_t)n : 0;
	}
}

static void every_byte_passes_once(void **state)
{
	(void)state;
	static struct stress t;
	struct thread *v[NR_VCPUS];
	uint32_t count[NR_VCPUS] = { 0 };
	board_init(&t.board);
	t.board.chip = (struct irq_chip){ 0 };
	board_make_reactor(&t.board);
	board_run_reactor(&t.board);
	assert_int_equal(pipe2(t.in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(t.out, O_CLOEXEC), 0);
	struct serial_config cfg = { .reactor = t.board.reactor,
				     .in_fd = t.in[0],
				     .out_fd = t.out[1] };
	assert_int_equal(serial_create(&t.s, &cfg), 0);
	assert_int_equal(bus_add(t.board.pio, PORT, 8, &serial_bus_ops, t.s), 0);
	serial_start(t.s);
	for (unsigned i = 0; i < NR_VCPUS; i++)
		assert_int_equal(
			thread_create(&v[i], &(struct thread_attr){ .name = "vcpu" }, vcpu, &t), 0);
	run_host(&t, count);
	for (unsigned i = 0; i < NR_VCPUS; i++) {
		thread_join(v[i]);
		assert_int_equal(count[i], PER_VCPU);
	}
	assert_int_equal(t.received, NR_INPUT);
	assert_true(serial_stop(t.s, 20 * NSEC_PER_SEC, 20 * NSEC_PER_SEC));
	assert_int_equal(bus_remove(t.board.pio, PORT, 8), 0);
	serial_destroy(t.s);
	board_end_reactor(&t.board);
	board_fini(&t.board);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(every_byte_passes_once) };
	return cmocka_run_group_tests(tests, board_group_setup, board_group_teardown);
}
