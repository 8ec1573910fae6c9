/* test_console_port.c - bytes in and out: nothing lost, nothing blocked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>
#include "term.h"

static void input_waits_for_a_buffer_and_comes_whole(void **state)
{
	struct term *f = *state;
	char rest[16];
	term_up_single(f);
	term_put(f, "hello world");
	fake_passes(5);
	term_give_buffer(f, TERM_DATA, 5);
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 5);
	term_give_buffer(f, TERM_DATA + 100, 64);
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 6);
	assert_memory_equal(f->v.ram + TERM_DATA, "hello", 5);
	assert_memory_equal(f->v.ram + TERM_DATA + 100, " world\0", 7);
	/* the other way round */
	term_give_buffer(f, TERM_DATA, 64);
	fake_passes(5);
	assert_true(term_nothing_used(f, TERM_RX));
	term_put(f, "later");
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 5);
	term_put(f, "kept");
	fake_passes(5);
	assert_int_equal(read(f->in[0], rest, sizeof(rest)), 4); /* nobody took it */
}

static void an_idle_console_does_not_spin(void **state)
{
	struct term *f = *state;
	term_up_single(f);
	for (unsigned i = 0; i < 16; i++)
		term_give_buffer(f, TERM_DATA, 64);
	fake_passes(50);
	assert_int_equal(fake_asked(FAKE_POLL), 1);
	assert_int_equal(fake_waiting(FAKE_POLL), 1);
}

static void a_stop_leaves_input_for_the_next_driver(void **state)
{
	struct term *f = *state;
	term_up_single(f);
	for (unsigned i = 0; i < 20; i++) {
		term_give_buffer(f, TERM_DATA, 64);
		fake_passes(i % 5);
		drive_reset(&f->v);
		assert_int_equal(fake_waiting(FAKE_POLL), 0);
		term_put(f, "x");
		drive_up(&f->v, ~0ull);
		term_give_buffer(f, TERM_DATA, 64);
		assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 1);
	}
}

static void the_end_of_input_is_quiet(void **state)
{
	struct term *f = *state;
	term_up_single(f);
	term_put(f, "bye");
	(void)close(f->in[1]);
	f->in[1] = -1;
	term_give_buffer(f, TERM_DATA, 64);
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 3);
	term_give_buffer(f, TERM_DATA, 64);
	fake_passes(50);
	assert_true(term_nothing_used(f, TERM_RX));
	assert_true(fake_asked(FAKE_POLL) <= 3);
	assert_false(drive_needs_reset(&f->v));
}

static void output_comes_out_in_order(void **state)
{
	struct term *f = *state;
	char got[64];
	term_up_single(f);
	memcpy(f->v.ram + TERM_DATA, "abcdefghij", 10);
	const struct drive_seg s[] = { { TERM_DATA, 3 },
				       { TERM_DATA + 3, 1 },
				       { TERM_DATA + 4, 2 } };
	drive_offer(&f->v, TERM_TX, s, 3, 0);
	term_send(f, TERM_DATA + 6, 4);
	assert_int_equal(drive_wait(&f->v, TERM_TX, NULL), 0);
	assert_int_equal(drive_wait(&f->v, TERM_TX, NULL), 0);
	assert_int_equal(read(f->out[0], got, sizeof(got)), 10);
	assert_memory_equal(got, "abcdefghij", 10);
}

static void slow_output_keeps_everything_and_blocks_nobody(void **state)
{
	struct term *f = *state;
	const uint32_t len = 300000; /* more than a pipe holds */
	uint8_t *got = malloc(len + 1);
	uint32_t n = 0;
	term_up_single(f);
	for (uint32_t i = 0; i < len; i++)
		f->v.ram[TERM_DATA + 4096 + i] = (uint8_t)(i * 7 + i / 1000);
	term_send(f, TERM_DATA + 4096, len);
	term_send(f, TERM_DATA, 1);
	fake_passes(20);
	assert_true(term_nothing_used(f, TERM_TX));
	term_put(f, "in"); /* input goes on meanwhile */
	term_give_buffer(f, TERM_DATA, 64);
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 2);
	for (unsigned i = 0; i < 1000 && n < len + 1; i++) {
		ssize_t k = read(f->out[0], got + n, len + 1 - n);
		if (k > 0)
			n += (uint32_t)k;
		fake_passes(2);
	}
	assert_int_equal(n, len + 1);
	assert_memory_equal(got, f->v.ram + TERM_DATA + 4096, len);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	free(got);
}

static void a_reset_does_not_wait_for_a_reader(void **state)
{
	struct term *f = *state;
	char sink[65536];
	term_up_single(f);
	for (unsigned i = 0; i < 5; i++) {
		term_send(f, TERM_DATA, 1u << 20);
		fake_passes(3);
		drive_reset(&f->v);
		drive_up(&f->v, ~0ull);
	}
	while (read(f->out[0], sink, sizeof(sink)) > 0)
		;
	term_send(f, TERM_DATA, 1);
	(void)drive_wait(&f->v, TERM_TX, NULL);
}

/* Stopped by others in the midst of a request, it goes on with the next byte. */
static void output_that_is_held_goes_on(void **state)
{
	struct term *f = *state;
	const uint32_t len = 300000;
	uint8_t *got = malloc(len + 8192);
	uint32_t n = 0;
	term_up_single(f);
	for (uint32_t i = 0; i < len; i++)
		f->v.ram[TERM_DATA + i] = (uint8_t)(i * 7 + i / 1000);
	term_send(f, TERM_DATA, len);
	term_send(f, TERM_DATA, 1);
	for (unsigned i = 0; i < 1000 && n <= len; i++) {
		fake_passes(i % 4);
		vdev_hold(f->v.dev, VDEV_HOLD_OWNER);
		drive_until(&f->v, vdev_is_quiet(f->v.dev));
		assert_true(n > len - 65536 || term_nothing_used(f, TERM_TX));
		ssize_t k = read(f->out[0], got + n, i % 3 ? 4096 : 1);
		n += k > 0 ? (uint32_t)k : 0;
		fake_passes(3);
		vdev_let_go(f->v.dev, VDEV_HOLD_OWNER);
	}
	assert_int_equal(n, len + 1);
	assert_memory_equal(got, f->v.ram + TERM_DATA, len);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	assert_true(term_nothing_used(f, TERM_TX));
	free(got);
}

/* Begun anew by its driver, a queue has no request that was half-way. */
static void a_queue_reset_ends_what_was_half_way(void **state)
{
	struct term *f = *state;
	char sink[65536];
	term_up_single(f);
	for (unsigned i = 0; i < 3; i++) {
		term_send(f, TERM_DATA, 300000);
		fake_passes(3);
		if (i == 1) { /* also if it was held first */
			vdev_hold(f->v.dev, VDEV_HOLD_OWNER);
			drive_until(&f->v, vdev_is_quiet(f->v.dev));
		}
		drive_queue_reset(&f->v, TERM_TX);
		vdev_let_go(f->v.dev, VDEV_HOLD_OWNER);
		while (read(f->out[0], sink, sizeof(sink)) > 0)
			;
		drive_queue_up(&f->v, TERM_TX);
		memcpy(f->v.ram + TERM_DATA, "new", 3);
		term_send(f, TERM_DATA, 3);
		(void)drive_wait(&f->v, TERM_TX, NULL);
		assert_int_equal(read(f->out[0], sink, sizeof(sink)), 3);
		assert_memory_equal(sink, "new", 3);
		drive_reset(&f->v);
		drive_up(&f->v, ~0ull);
	}
}

static bool only_single_bytes(const struct fake_op *o, int32_t *res, uint64_t *max)
{
	(void)res;
	(void)max;
	assert_true(o->kind != FAKE_WRITE || (o->nr == 1 && o->iov->iov_len == 1));
	return false;
}

/* It cannot be opened again: then byte by byte, as it is ready, for the write itself would block.
 */
static void a_terminal_of_somebody_else(void **state)
{
	struct term *f = *state;
	struct rlimit old, none;
	struct termios raw;
	char got[512];
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(master >= 0 && !grantpt(master) && !unlockpt(master));
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0 && !tcgetattr(slave, &raw));
	cfmakeraw(&raw);
	assert_int_equal(tcsetattr(slave, TCSANOW, &raw), 0);
	const struct console_port_config p = { .in_fd = -1, .out_fd = slave, .is_console = true };
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	none = (struct rlimit){ 0, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	term_up(f, &p, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	fake_hook = only_single_bytes;
	for (unsigned i = 0; i < 300; i++)
		f->v.ram[TERM_DATA + i] = (uint8_t)i;
	const struct drive_seg s[] = { { TERM_DATA, 100 }, { TERM_DATA + 100, 200 } };
	drive_offer(&f->v, TERM_TX, s, 2, 0);
	drive_kick(&f->v, TERM_TX);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	assert_int_equal(fake_asked(FAKE_WRITE), 300);
	for (unsigned n = 0; n < 300;) { /* they come through when the kernel finds the time */
		ssize_t k = read(master, got + n, 300 - n);
		assert_true(k > 0);
		n += (unsigned)k;
	}
	assert_memory_equal(got, f->v.ram + TERM_DATA, 300);
	term_send(f, TERM_DATA,
		  1u << 20); /* nobody reads: the poll waits, and a reset goes through */
	fake_passes(100000);
	assert_int_equal(fake_waiting(FAKE_POLL), 1);
	drive_reset(&f->v);
	(void)close(slave);
	(void)close(master);
}

/* The host's end of type=pty is not to be opened again, which would make another terminal. */
static void a_pseudo_terminal_of_our_own(void **state)
{
	struct term *f = *state;
	char got[16];
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(master >= 0 && !grantpt(master) && !unlockpt(master));
	int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(slave >= 0);
	const struct console_port_config p = { .in_fd = -1, .out_fd = master, .is_console = true };
	term_up(f, &p, 1);
	memcpy(f->v.ram + TERM_DATA, "hello\n", 6);
	term_send(f, TERM_DATA, 6);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	assert_int_equal(read(slave, got, sizeof(got)), 6);
	assert_memory_equal(got, "hello\n", 6);
	drive_reset(&f->v);
	(void)close(slave);
	(void)close(master);
}

/* As type=pty makes it: not to block. @name: of the far end, which nobody has open. */
static int near_end(char *name, size_t len)
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
	struct term *f = *state;
	char name[64], got[4096];
	int near = near_end(name, sizeof(name));
	const struct console_port_config p = { .in_fd = -1, .out_fd = near, .is_console = true };
	term_up(f, &p, 1);
	memset(f->v.ram + TERM_DATA, 'x', 1 << 18);
	for (unsigned i = 0; i < 3; i++) {
		term_send(f, TERM_DATA, 1 << 18);
		(void)drive_wait(&f->v, TERM_TX, NULL);
	}
	/* what is there of it is for who comes, and from then on nothing is lost */
	int far = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	assert_true(far >= 0 && read(far, got, sizeof(got)) > 0 && got[0] == 'x');
	for (unsigned i = 0; i < 1 << 18; i++)
		f->v.ram[TERM_DATA + i] = (uint8_t)(i % 100); /* below 'x' */
	term_send(f, TERM_DATA, 1 << 18);
	fake_passes(100);
	assert_true(term_nothing_used(f, TERM_TX));
	for (unsigned n = 0; n < 1 << 18; fake_passes(1)) {
		ssize_t k = read(far, got, 1000);
		for (ssize_t i = 0; i < k; i++)
			if (n || got[i] != 'x') /* the kernel takes its time with those */
				assert_int_equal(got[i], n++ % 100);
	}
	(void)drive_wait(&f->v, TERM_TX, NULL);
	term_send(f, TERM_DATA, 1 << 18);
	fake_passes(100);
	assert_true(term_nothing_used(f, TERM_TX));
	close(far); /* it goes in the middle */
	(void)drive_wait(&f->v, TERM_TX, NULL);
	drive_reset(&f->v);
	close(near);
}

static void input_of_a_terminal_begins_when_somebody_comes(void **state)
{
	struct term *f = *state;
	char name[64];
	int near = near_end(name, sizeof(name));
	const struct console_port_config p = { .in_fd = near, .out_fd = -1, .is_console = true };
	term_up(f, &p, 1);
	for (unsigned i = 0; i < 3; i++) {
		fake_held = 1u << FAKE_TIMEOUT;
		term_give_buffer(f, TERM_DATA, 64);
		fake_passes(100);
		assert_int_equal(fake_waiting(FAKE_TIMEOUT), 1); /* no spinning */
		assert_int_equal(fake_waiting(FAKE_POLL), 0);
		int far = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
		assert_true(far >= 0);
		assert_int_equal(write(far, "ls\n", 3), 3);
		fake_held = 0;
		assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 3);
		close(far);
	}
	term_give_buffer(f, TERM_DATA, 64);
	fake_held = 1u << FAKE_TIMEOUT;
	fake_passes(100);
	drive_reset(&f->v); /* which does not wait for the time */
	fake_held = 0;
	close(near);
}

static bool refuse(const struct fake_op *o, int32_t *res, uint64_t *max)
{
	(void)max;
	*res = -EIO;
	return o->kind == FAKE_WRITE;
}

static void output_that_fails_is_dropped(void **state)
{
	struct term *f = *state;
	term_up_single(f);
	fake_hook = refuse;
	term_send(f, TERM_DATA, 10);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	fake_hook = NULL;
	term_send(f, TERM_DATA, 10);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	assert_int_equal(read(f->out[0], f->v.ram, 64), 10);
}

static void a_port_without_descriptors_is_a_sink(void **state)
{
	struct term *f = *state;
	const struct console_port_config p = { .in_fd = -1, .out_fd = -1, .is_console = true };
	term_up(f, &p, 1);
	term_give_buffer(f, TERM_DATA, 64);
	term_send(f, TERM_DATA, 10);
	(void)drive_wait(&f->v, TERM_TX, NULL);
	fake_passes(20);
	assert_true(term_nothing_used(f, TERM_RX));
	assert_int_equal(fake_asked(FAKE_POLL) + fake_asked(FAKE_WRITE), 0);
}

static const struct {
	const char *what;
	uint16_t q;
	struct drive_seg seg;
	unsigned nr_out, nr_in;
	bool is_fatal, is_used;
} hostile[] = {
	{ "input buffer past RAM", TERM_RX, { DRIVE_RAM_BYTES, 1 }, 0, 1, true, false },
	{ "output past RAM", TERM_TX, { DRIVE_RAM_BYTES - 1, 2 }, 1, 0, true, false },
	{ "output that wraps", TERM_TX, { UINT64_MAX, 2 }, 1, 0, true, false },
	{ "input buffer without room", TERM_RX, { TERM_DATA, 0 }, 0, 1, false, true },
	{ "input buffer to be read", TERM_RX, { TERM_DATA, 16 }, 1, 0, false, true },
	{ "output without bytes", TERM_TX, { TERM_DATA, 0 }, 1, 0, false, true },
	{ "output to be written", TERM_TX, { TERM_DATA, 16 }, 0, 1, false, true },
};

static void survives_a_hostile_driver(void **state)
{
	struct term *f = *state;
	term_up_single(f);
	for (unsigned i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		char got[8];
		term_put(f, "k"); /* something to read, so that the buffer is looked at */
		drive_offer(&f->v, hostile[i].q, &hostile[i].seg, hostile[i].nr_out,
			    hostile[i].nr_in);
		drive_kick(&f->v, hostile[i].q);
		fake_passes(6);
		if (drive_needs_reset(&f->v) != hostile[i].is_fatal)
			fail_msg("%s", hostile[i].what);
		if (term_nothing_used(f, hostile[i].q) == hostile[i].is_used)
			fail_msg("%s: not as expected", hostile[i].what);
		assert_int_equal(read(f->in[0], got, sizeof(got)), 1); /* not lost */
		drive_reset(&f->v);
		drive_up(&f->v, ~0ull);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, term_setup, term_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(input_waits_for_a_buffer_and_comes_whole),
		T(an_idle_console_does_not_spin),
		T(a_stop_leaves_input_for_the_next_driver),
		T(the_end_of_input_is_quiet),
		T(output_comes_out_in_order),
		T(slow_output_keeps_everything_and_blocks_nobody),
		T(a_reset_does_not_wait_for_a_reader),
		T(output_that_is_held_goes_on),
		T(a_queue_reset_ends_what_was_half_way),
		T(a_terminal_of_somebody_else),
		T(a_pseudo_terminal_of_our_own),
		T(a_terminal_that_nobody_has_open_does_not_hold_the_guest_up),
		T(input_of_a_terminal_begins_when_somebody_comes),
		T(output_that_fails_is_dropped),
		T(a_port_without_descriptors_is_a_sink),
		T(survives_a_hostile_driver),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
