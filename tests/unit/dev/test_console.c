/* test_console.c - the console device on pipes: nothing lost, nothing blocked, no driver believed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_console.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <termios.h>
#include <unistd.h>
#include "base/le.h"
#include "dev/virtio_devs.h"
#include "drive.h"
#include "fake_reactor.h"

#define DATA DRIVE_DATA
#define RX   0
#define TX   1
#define CRX  2
#define CTX  3

struct fixture {
	struct drive v;
	struct vworker *worker;
	int in[2], out[2]; /* pipes: the test writes in[1] and reads out[0] */
};

static void step(void *ctx)
{
	(void)ctx;
	fake_pass();
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	const struct vworker_config wc = { .name = "console", .entries = 64 };
	assert_non_null(f);
	fake_forget();
	drive_init(&f->v);
	f->v.step = step;
	f->v.destroy_waits = true;
	assert_int_equal(pipe2(f->in, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pipe2(f->out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(vworker_create(&f->worker, &wc), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	drive_fini(&f->v);
	vworker_destroy(f->worker);
	for (unsigned i = 0; i < 2; i++) {
		(void)close(f->in[i]);
		(void)close(f->out[i]);
	}
	free(f);
	return 0;
}

static void start(struct fixture *f, const struct console_port_config *ports, unsigned nr)
{
	struct vdev *d;
	const struct console_config cfg = {
		.ports = ports, .nr_ports = nr, .cols = 80, .rows = 25
	};
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &cfg), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, ~0ull);
}

static void start_single(struct fixture *f)
{
	const struct console_port_config p = { .in_fd = f->in[0],
					       .out_fd = f->out[1],
					       .is_console = true };
	start(f, &p, 1);
	assert_int_equal(f->v.nr_queues, 2);
}

static void passes(unsigned n)
{
	while (n--)
		fake_pass();
}

static void give_buffer(struct fixture *f, uint64_t addr, uint32_t len)
{
	drive_offer(&f->v, RX, &(struct drive_seg){ addr, len }, 0, 1);
	drive_kick(&f->v, RX);
}

static void put(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->in[1], text, strlen(text)), strlen(text));
}

static void send(struct fixture *f, uint64_t addr, uint32_t len)
{
	drive_offer(&f->v, TX, &(struct drive_seg){ addr, len }, 1, 0);
	drive_kick(&f->v, TX);
}

static bool nothing_used(struct fixture *f, uint16_t q)
{
	uint16_t head;
	uint32_t len;
	return !drive_used(&f->v, q, &head, &len);
}

/* --- one port --- */

static void input_waits_for_a_buffer_and_comes_whole(void **state)
{
	struct fixture *f = *state;
	char rest[16];
	start_single(f);
	put(f, "hello world");
	passes(5);
	give_buffer(f, DATA, 5);
	assert_int_equal(drive_wait(&f->v, RX, NULL), 5);
	give_buffer(f, DATA + 100, 64);
	assert_int_equal(drive_wait(&f->v, RX, NULL), 6);
	assert_memory_equal(f->v.ram + DATA, "hello", 5);
	assert_memory_equal(f->v.ram + DATA + 100, " world\0", 7);
	/* the other way round */
	give_buffer(f, DATA, 64);
	passes(5);
	assert_true(nothing_used(f, RX));
	put(f, "later");
	assert_int_equal(drive_wait(&f->v, RX, NULL), 5);
	put(f, "kept");
	passes(5);
	assert_int_equal(read(f->in[0], rest, sizeof(rest)), 4); /* nobody took it */
}

static void an_idle_console_does_not_spin(void **state)
{
	struct fixture *f = *state;
	start_single(f);
	for (unsigned i = 0; i < 16; i++)
		give_buffer(f, DATA, 64);
	passes(50);
	assert_int_equal(fake_asked(FAKE_POLL), 1);
	assert_int_equal(fake_waiting(FAKE_POLL), 1);
}

static void a_stop_leaves_input_for_the_next_driver(void **state)
{
	struct fixture *f = *state;
	start_single(f);
	for (unsigned i = 0; i < 20; i++) {
		give_buffer(f, DATA, 64);
		passes(i % 5);
		drive_reset(&f->v);
		assert_int_equal(fake_waiting(FAKE_POLL), 0);
		put(f, "x");
		drive_up(&f->v, ~0ull);
		give_buffer(f, DATA, 64);
		assert_int_equal(drive_wait(&f->v, RX, NULL), 1);
	}
}

static void the_end_of_input_is_quiet(void **state)
{
	struct fixture *f = *state;
	start_single(f);
	put(f, "bye");
	(void)close(f->in[1]);
	f->in[1] = -1;
	give_buffer(f, DATA, 64);
	assert_int_equal(drive_wait(&f->v, RX, NULL), 3);
	give_buffer(f, DATA, 64);
	passes(50);
	assert_true(nothing_used(f, RX));
	assert_true(fake_asked(FAKE_POLL) <= 3);
	assert_false(drive_needs_reset(&f->v));
}

static void output_comes_out_in_order(void **state)
{
	struct fixture *f = *state;
	char got[64];
	start_single(f);
	memcpy(f->v.ram + DATA, "abcdefghij", 10);
	const struct drive_seg s[] = { { DATA, 3 }, { DATA + 3, 1 }, { DATA + 4, 2 } };
	drive_offer(&f->v, TX, s, 3, 0);
	send(f, DATA + 6, 4);
	assert_int_equal(drive_wait(&f->v, TX, NULL), 0);
	assert_int_equal(drive_wait(&f->v, TX, NULL), 0);
	assert_int_equal(read(f->out[0], got, sizeof(got)), 10);
	assert_memory_equal(got, "abcdefghij", 10);
}

static void slow_output_keeps_everything_and_blocks_nobody(void **state)
{
	struct fixture *f = *state;
	const uint32_t len = 300000; /* more than a pipe holds */
	uint8_t *got = malloc(len + 1);
	uint32_t n = 0;
	start_single(f);
	for (uint32_t i = 0; i < len; i++)
		f->v.ram[DATA + 4096 + i] = (uint8_t)(i * 7 + i / 1000);
	send(f, DATA + 4096, len);
	send(f, DATA, 1);
	passes(20);
	assert_true(nothing_used(f, TX));
	put(f, "in"); /* input goes on meanwhile */
	give_buffer(f, DATA, 64);
	assert_int_equal(drive_wait(&f->v, RX, NULL), 2);
	for (unsigned i = 0; i < 1000 && n < len + 1; i++) {
		ssize_t k = read(f->out[0], got + n, len + 1 - n);
		if (k > 0)
			n += (uint32_t)k;
		passes(2);
	}
	assert_int_equal(n, len + 1);
	assert_memory_equal(got, f->v.ram + DATA + 4096, len);
	(void)drive_wait(&f->v, TX, NULL);
	(void)drive_wait(&f->v, TX, NULL);
	free(got);
}

static void a_reset_does_not_wait_for_a_reader(void **state)
{
	struct fixture *f = *state;
	char sink[65536];
	start_single(f);
	for (unsigned i = 0; i < 5; i++) {
		send(f, DATA, 1u << 20);
		passes(3);
		drive_reset(&f->v);
		drive_up(&f->v, ~0ull);
	}
	while (read(f->out[0], sink, sizeof(sink)) > 0)
		;
	send(f, DATA, 1);
	(void)drive_wait(&f->v, TX, NULL);
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
	struct fixture *f = *state;
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
	start(f, &p, 1);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	fake_hook = only_single_bytes;
	for (unsigned i = 0; i < 300; i++)
		f->v.ram[DATA + i] = (uint8_t)i;
	send(f, DATA, 300);
	(void)drive_wait(&f->v, TX, NULL);
	assert_int_equal(fake_asked(FAKE_WRITE), 300);
	for (unsigned n = 0; n < 300;) { /* they come through when the kernel finds the time */
		ssize_t k = read(master, got + n, 300 - n);
		assert_true(k > 0);
		n += (unsigned)k;
	}
	assert_memory_equal(got, f->v.ram + DATA, 300);
	send(f, DATA, 1u << 20); /* nobody reads: the poll waits, and a reset goes through */
	passes(100000);
	assert_int_equal(fake_waiting(FAKE_POLL), 1);
	drive_reset(&f->v);
	(void)close(slave);
	(void)close(master);
}

static bool refuse(const struct fake_op *o, int32_t *res, uint64_t *max)
{
	(void)max;
	*res = -EIO;
	return o->kind == FAKE_WRITE;
}

static void output_that_fails_is_dropped(void **state)
{
	struct fixture *f = *state;
	start_single(f);
	fake_hook = refuse;
	send(f, DATA, 10);
	(void)drive_wait(&f->v, TX, NULL);
	fake_hook = NULL;
	send(f, DATA, 10);
	(void)drive_wait(&f->v, TX, NULL);
	assert_int_equal(read(f->out[0], f->v.ram, 64), 10);
}

static void a_port_without_descriptors_is_a_sink(void **state)
{
	struct fixture *f = *state;
	const struct console_port_config p = { .in_fd = -1, .out_fd = -1, .is_console = true };
	start(f, &p, 1);
	give_buffer(f, DATA, 64);
	send(f, DATA, 10);
	(void)drive_wait(&f->v, TX, NULL);
	passes(20);
	assert_true(nothing_used(f, RX));
	assert_int_equal(fake_asked(FAKE_POLL) + fake_asked(FAKE_WRITE), 0);
}

static const struct {
	const char *what;
	uint16_t q;
	struct drive_seg seg;
	unsigned nr_out, nr_in;
	bool is_fatal, is_used;
} hostile[] = {
	{ "input buffer past RAM", RX, { DRIVE_RAM_BYTES, 1 }, 0, 1, true, false },
	{ "output past RAM", TX, { DRIVE_RAM_BYTES - 1, 2 }, 1, 0, true, false },
	{ "output that wraps", TX, { UINT64_MAX, 2 }, 1, 0, true, false },
	{ "input buffer without room", RX, { DATA, 0 }, 0, 1, false, true },
	{ "input buffer to be read", RX, { DATA, 16 }, 1, 0, false, true },
	{ "output without bytes", TX, { DATA, 0 }, 1, 0, false, true },
	{ "output to be written", TX, { DATA, 16 }, 0, 1, false, true },
};

static void survives_a_hostile_driver(void **state)
{
	struct fixture *f = *state;
	start_single(f);
	for (unsigned i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		char got[8];
		put(f, "k"); /* something to read, so that the buffer is looked at */
		drive_offer(&f->v, hostile[i].q, &hostile[i].seg, hostile[i].nr_out,
			    hostile[i].nr_in);
		drive_kick(&f->v, hostile[i].q);
		passes(6);
		if (drive_needs_reset(&f->v) != hostile[i].is_fatal)
			fail_msg("%s", hostile[i].what);
		if (nothing_used(f, hostile[i].q) == hostile[i].is_used)
			fail_msg("%s: not as expected", hostile[i].what);
		assert_int_equal(read(f->in[0], got, sizeof(got)), 1); /* not lost */
		drive_reset(&f->v);
		drive_up(&f->v, ~0ull);
	}
}

/* --- size, emergency output --- */

static void the_size_is_told(void **state)
{
	struct fixture *f = *state;
	struct virtio_console_config c;
	start_single(f);
	vdev_config_read(f->v.dev, 0, &c, sizeof(c));
	assert_int_equal(c.cols, 80);
	assert_int_equal(c.rows, 25);
	assert_int_equal(f->v.config_changes, 0);
	console_resize(f->v.dev, 132, 50);
	assert_int_equal(f->v.config_changes, 1);
	vdev_config_read(f->v.dev, 0, &c, sizeof(c));
	assert_int_equal(c.cols, 132);
	assert_int_equal(c.rows, 50);
}

static void emergency_output_needs_no_driver(void **state)
{
	struct fixture *f = *state;
	const struct console_port_config p = { .in_fd = -1, .out_fd = f->out[1] };
	const struct console_config cfg = { .ports = &p, .nr_ports = 1 };
	const char *text = "panic!\n";
	char got[1024];
	struct vdev *d;
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &cfg), 0);
	drive_attach(&f->v, d);
	for (const char *c = text; *c; c++)
		vdev_config_write(d, 8, &(uint32_t){ (uint8_t)*c }, 4);
	passes(3);
	assert_int_equal(read(f->out[0], got, sizeof(got)), 7);
	assert_memory_equal(got, text, 7);
	/* faster than it can be written: bounded */
	fake_held = 1u << FAKE_WRITE;
	for (unsigned i = 0; i < 2000; i++)
		vdev_config_write(d, 8, &(uint32_t){ 'x' }, 4);
	passes(3);
	for (unsigned i = 0; i < 2000; i++)
		vdev_config_write(d, 8, &(uint32_t){ 'y' }, 4);
	fake_held = 0;
	passes(6);
	ssize_t n = read(f->out[0], got, sizeof(got));
	assert_in_range(n, 256, 512);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(got[i], 'x');
	vdev_config_write(d, 0, &(uint32_t){ 'x' }, 4); /* not a register to write */
	vdev_config_write(d, 9, &(uint32_t){ 'x' }, 1);
	passes(3);
	assert_int_equal(read(f->out[0], got, sizeof(got)), -1);
}

static void emergency_output_does_not_outlive_the_device(void **state)
{
	struct fixture *f = *state;
	start_single(f);
	fake_held = 1u << FAKE_WRITE; /* and the teardown destroys the device */
	vdev_config_write(f->v.dev, 8, &(uint32_t){ 'x' }, 4);
	passes(3);
	assert_int_equal(fake_waiting(FAKE_WRITE), 1);
}

/* --- several ports --- */

struct ctrl {
	uint32_t id;
	uint16_t event, value;
	char body[33];
	uint32_t len;
};

static void ctrl_buffer(struct fixture *f, unsigned slot, uint32_t len)
{
	drive_offer(&f->v, CRX, &(struct drive_seg){ DATA + 0x8000 + slot * 64, len }, 0, 1);
	drive_kick(&f->v, CRX);
}

/* Offer one buffer and take the message that comes. */
static struct ctrl hear(struct fixture *f)
{
	const uint8_t *p = f->v.ram + DATA + 0x8000;
	struct ctrl c = { 0 };
	memset(f->v.ram + DATA + 0x8000, 0xee, 64);
	ctrl_buffer(f, 0, 64);
	c.len = drive_wait(&f->v, CRX, NULL);
	assert_in_range(c.len, 8, 40);
	c.id = (uint32_t)le_load(p, 4);
	c.event = (uint16_t)le_load(p + 4, 2);
	c.value = (uint16_t)le_load(p + 6, 2);
	memcpy(c.body, p + 8, c.len - 8);
	return c;
}

static void hear_that(struct fixture *f, uint32_t id, uint16_t event)
{
	struct ctrl c = hear(f);
	assert_int_equal(c.id, id);
	assert_int_equal(c.event, event);
	assert_int_equal(c.value, 1);
}

static void say(struct fixture *f, uint32_t id, uint16_t event, uint16_t value)
{
	le_store(f->v.ram + DATA + 0x9000, id, 4);
	le_store(f->v.ram + DATA + 0x9004, event, 2);
	le_store(f->v.ram + DATA + 0x9006, value, 2);
	drive_offer(&f->v, CTX, &(struct drive_seg){ DATA + 0x9000, 8 }, 1, 0);
	drive_kick(&f->v, CTX);
	(void)drive_wait(&f->v, CTX, NULL);
}

static void start_two(struct fixture *f)
{
	const struct console_port_config p[] = {
		{ .in_fd = -1, .out_fd = -1, .is_console = true },
		{ .in_fd = f->in[0], .out_fd = f->out[1], .name = "org.example.0" },
	};
	start(f, p, 2);
	assert_int_equal(f->v.nr_queues, 6);
}

static void ports_are_introduced(void **state)
{
	struct fixture *f = *state;
	struct virtio_console_config cfg;
	start_two(f);
	vdev_config_read(f->v.dev, 0, &cfg, sizeof(cfg));
	assert_int_equal(cfg.max_nr_ports, 2);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1); /* once is enough */
	hear_that(f, 0, VIRTIO_CONSOLE_PORT_ADD);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_ADD);
	say(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	hear_that(f, 0, VIRTIO_CONSOLE_CONSOLE_PORT);
	hear_that(f, 0, VIRTIO_CONSOLE_PORT_OPEN);
	struct ctrl c = hear(f);
	assert_int_equal(c.event, VIRTIO_CONSOLE_RESIZE);
	assert_int_equal(c.len, 12);
	assert_int_equal(le_load(c.body, 2), 25); /* rows first, as Linux reads it */
	assert_int_equal(le_load(c.body + 2, 2), 80);
	say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	c = hear(f);
	assert_int_equal(c.event, VIRTIO_CONSOLE_PORT_NAME);
	assert_int_equal(c.id, 1);
	assert_string_equal(c.body, "org.example.0");
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_OPEN);
	console_resize(f->v.dev, 100, 40);
	c = hear(f);
	assert_int_equal(c.event, VIRTIO_CONSOLE_RESIZE);
	assert_int_equal(c.id, 0);
	assert_int_equal(le_load(c.body, 2), 40);
	ctrl_buffer(f, 0, 64);
	passes(10);
	assert_true(nothing_used(f, CRX));
}

static void a_closed_port_gets_no_input(void **state)
{
	struct fixture *f = *state;
	start_two(f);
	put(f, "data");
	drive_offer(&f->v, 4, &(struct drive_seg){ DATA, 64 }, 0, 1);
	drive_kick(&f->v, 4);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	passes(5);
	assert_true(nothing_used(f, 4));
	say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(drive_wait(&f->v, 4, NULL), 4);
	drive_offer(&f->v, 5, &(struct drive_seg){ DATA, 4 }, 1, 0);
	drive_kick(&f->v, 5);
	(void)drive_wait(&f->v, 5, NULL);
	char got[8];
	assert_int_equal(read(f->out[0], got, sizeof(got)), 4);
	/* a reset closes it */
	drive_reset(&f->v);
	drive_up(&f->v, ~0ull);
	put(f, "more");
	drive_offer(&f->v, 4, &(struct drive_seg){ DATA, 64 }, 0, 1);
	drive_kick(&f->v, 4);
	passes(5);
	assert_true(nothing_used(f, 4));
}

static void nonsense_is_not_heard(void **state)
{
	struct fixture *f = *state;
	start_two(f);
	say(f, 0, VIRTIO_CONSOLE_PORT_READY, 1); /* of a port not added yet */
	say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(f, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	say(f, UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
	say(f, 0, 0xffff, 0xffff);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 0);
	drive_offer(&f->v, CTX, &(struct drive_seg){ DATA, 7 }, 1, 0); /* short */
	drive_kick(&f->v, CTX);
	(void)drive_wait(&f->v, CTX, NULL);
	ctrl_buffer(f, 0, 64);
	passes(10);
	assert_true(nothing_used(f, CRX));
	for (unsigned i = 0; i < 500; i++) { /* asks and never listens: nothing grows */
		say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
		say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	}
	(void)drive_wait(&f->v, CRX, NULL);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_ADD);
	(void)hear(f);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_OPEN);
	/* a buffer too small for its message gets what fits */
	say(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	f->v.ram[DATA + 0x8003] = 0xee;
	ctrl_buffer(f, 0, 3);
	assert_int_equal(drive_wait(&f->v, CRX, NULL), 3);
	assert_int_equal(f->v.ram[DATA + 0x8003], 0xee);
	assert_false(drive_needs_reset(&f->v));
}

static void too_many_ports_are_refused(void **state)
{
	struct fixture *f = *state;
	struct console_port_config p[40] = { 0 };
	const struct console_config none = { .ports = p, .nr_ports = 0 };
	const struct console_config many = { .ports = p, .nr_ports = 40 };
	struct vdev *d = NULL;
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &none), -EINVAL);
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &many), -EINVAL);
	assert_null(d);
}

static void without_multiport_there_is_one_port(void **state)
{
	struct fixture *f = *state;
	const struct console_port_config p[] = {
		{ .in_fd = f->in[0], .out_fd = f->out[1], .is_console = true },
		{ .in_fd = -1, .out_fd = -1 },
	};
	const struct console_config cfg = { .ports = p, .nr_ports = 2 };
	struct vdev *d;
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &cfg), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, ~(1ull << VIRTIO_CONSOLE_F_MULTIPORT));
	put(f, "hi");
	give_buffer(f, DATA, 64); /* nobody opens it: there is no way to say so */
	assert_int_equal(drive_wait(&f->v, RX, NULL), 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
		T(a_terminal_of_somebody_else),
		T(output_that_fails_is_dropped),
		T(a_port_without_descriptors_is_a_sink),
		T(survives_a_hostile_driver),
		T(the_size_is_told),
		T(emergency_output_needs_no_driver),
		T(emergency_output_does_not_outlive_the_device),
		T(ports_are_introduced),
		T(a_closed_port_gets_no_input),
		T(nonsense_is_not_heard),
		T(too_many_ports_are_refused),
		T(without_multiport_there_is_one_port),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
