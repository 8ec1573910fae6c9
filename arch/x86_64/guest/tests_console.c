/*
 * tests_console.c - the console device, port 0. VIRTIO 1.2 §5.3.
 */
#include <linux/virtio_console.h>
#include "boot.h"
#include "clock.h"
#include "io.h"
#include "mem.h"
#include "ring.h"
#include "test.h"
#include "virtio.h"

#define WAIT_MS   5000
#define QUEUE_IN  0
#define QUEUE_OUT 1
#define BIG       65536u

static const char line[] = "hello from the guest\n";

struct console {
	struct virtio dev;
	struct ring in, out;
};

static enum verdict open(struct console *c, uint64_t features)
{
	if (!virtio_find(&c->dev, VIRTIO_ID_CONSOLE, 0))
		return test_skip("no console device");
	CHECK(virtio_begin(&c->dev, features & ~(1ul << VIRTIO_CONSOLE_F_MULTIPORT)));
	CHECK(ring_setup(&c->in, &c->dev, QUEUE_IN, 0));
	CHECK(ring_setup(&c->out, &c->dev, QUEUE_OUT, 0));
	virtio_go(&c->dev);
	return PASS;
}

static enum verdict say(struct console *c, const struct seg *segs, unsigned n)
{
	uint32_t written;
	int head = ring_put(&c->out, segs, n, false);
	CHECK(head >= 0);
	ring_offer(&c->out, (uint16_t)head);
	ring_kick(&c->out);
	CHECK(ring_take_wait(&c->out, &written, WAIT_MS) == head);
	CHECK_EQ(written, 0);
	return PASS;
}

/* The host finds this line in the port's output. */
static enum verdict output(void)
{
	struct console c;
	CHECK_PASS(open(&c, ~0ul));
	struct seg whole = { line, sizeof(line) - 1, false };
	struct seg parts[] = { { line, 5, false },
			       { line + 5, 1, false },
			       { line + 6, sizeof(line) - 7, false } };
	CHECK_PASS(say(&c, &whole, 1));
	CHECK_PASS(say(&c, parts, 3));
	CHECK(virtio_reset(&c.dev));
	return PASS;
}

/* More than any pipe or terminal takes at once; all of it arrives, or the host's test says what
 * not. */
static enum verdict big_output(void)
{
	struct console c;
	CHECK_PASS(open(&c, 0));
	char *buf = heap_alloc(BIG, 16);
	mem_fill(buf, 'z', BIG);
	buf[BIG - 1] = '\n';
	struct seg s = { buf, BIG, false };
	for (unsigned i = 0; i < 4; i++)
		CHECK_PASS(say(&c, &s, 1));
	CHECK(virtio_reset(&c.dev));
	return PASS;
}

static enum verdict size(void)
{
	struct console c;
	CHECK_PASS(open(&c, ~0ul));
	if (!(c.dev.features & 1ul << VIRTIO_CONSOLE_F_SIZE))
		return test_skip("not offered");
	uint16_t cols = mmio_read16(c.dev.config), rows = mmio_read16(c.dev.config + 2);
	print("info console %u x %u\n", cols, rows);
	CHECK(cols < 10000 && rows < 10000);
	CHECK(virtio_reset(&c.dev));
	return PASS;
}

/* `columns=N`: what the terminal will have, after the host is told that this waits for it. */
static enum verdict new_size(void)
{
	struct console c;
	uint64_t expected = boot_param_number("columns", 0);
	if (!expected)
		return test_skip("no columns=");
	CHECK_PASS(open(&c, ~0ul));
	CHECK(mmio_read16(c.dev.config) != expected);
	uint8_t before = COMMON_READ8(&c.dev, config_generation);
	print("info console awaits %lu columns\n", expected);
	uint64_t late = clock_after_ms(CLOCK_PATIENCE_MS);
	while (mmio_read16(c.dev.config) != expected)
		CHECK(!clock_passed(late));
	CHECK(COMMON_READ8(&c.dev, config_generation) != before);
	CHECK(virtio_reset(&c.dev));
	return PASS;
}

/* `input=TEXT`: what the host has put into the port's input; read in pieces of 4 bytes. */
static enum verdict input(void)
{
	struct console c;
	char expected[64], got[64] = { 0 };
	if (!boot_param("input", expected, sizeof(expected)))
		return test_skip("no input=");
	CHECK_PASS(open(&c, 0));
	size_t len = 0;
	while (len < str_len(expected)) {
		uint32_t written = 0;
		struct seg s = { got + len, 4, true };
		int head = ring_put(&c.in, &s, 1, false);
		CHECK(head >= 0 && len + 4 < sizeof(got));
		ring_offer(&c.in, (uint16_t)head);
		ring_kick(&c.in);
		CHECK(ring_take_wait(&c.in, &written, WAIT_MS) == head);
		CHECK(written > 0 && written <= 4);
		len += written;
	}
	if (!str_starts(got, expected))
		return test_fail("got '%s'", got);
	CHECK(virtio_reset(&c.dev));
	return PASS;
}

/* Buffers wait for input that never comes; reset takes them back. */
static enum verdict reset_while_waiting(void)
{
	struct console c;
	for (unsigned i = 0; i < 50; i++) {
		heap_empty();
		CHECK_PASS(open(&c, 0));
		struct seg s = { heap_alloc(64, 16), 64, true };
		int head = ring_put(&c.in, &s, 1, false);
		CHECK(head >= 0);
		ring_offer(&c.in, (uint16_t)head);
		ring_kick(&c.in);
		CHECK(virtio_reset(&c.dev));
	}
	return PASS;
}

const struct test console_tests[] = {
	{ "console.output", output },
	{ "console.big-output", big_output },
	{ "console.size", size },
	{ "console.new-size", new_size },
	{ "console.input", input },
	{ "console.reset-while-waiting", reset_while_waiting },
	{ NULL, NULL },
};
