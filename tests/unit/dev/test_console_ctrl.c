/* test_console_ctrl.c - the conversation about ports, and drivers that make no sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <linux/virtio_console.h>
#include <string.h>
#include <unistd.h>
#include "base/le.h"
#include "term.h"

struct ctrl {
	uint32_t id;
	uint16_t event, value;
	char body[33];
	uint32_t len;
};

static void ctrl_buffer(struct term *f, unsigned slot, uint32_t len)
{
	drive_offer(&f->v, TERM_CRX, &(struct drive_seg){ TERM_DATA + 0x8000 + slot * 64, len }, 0,
		    1);
	drive_kick(&f->v, TERM_CRX);
}

/* Offer one buffer and take the message that comes. */
static struct ctrl hear(struct term *f)
{
	const uint8_t *p = f->v.ram + TERM_DATA + 0x8000;
	struct ctrl c = { 0 };
	memset(f->v.ram + TERM_DATA + 0x8000, 0xee, 64);
	ctrl_buffer(f, 0, 64);
	c.len = drive_wait(&f->v, TERM_CRX, NULL);
	assert_in_range(c.len, 8, 40);
	c.id = (uint32_t)le_load(p, 4);
	c.event = (uint16_t)le_load(p + 4, 2);
	c.value = (uint16_t)le_load(p + 6, 2);
	memcpy(c.body, p + 8, c.len - 8);
	return c;
}

static void hear_that(struct term *f, uint32_t id, uint16_t event)
{
	struct ctrl c = hear(f);
	assert_int_equal(c.id, id);
	assert_int_equal(c.event, event);
	assert_int_equal(c.value, 1);
}

static void start_two(struct term *f)
{
	const struct console_port_config p[] = {
		{ .in_fd = -1, .out_fd = -1, .is_console = true },
		{ .in_fd = f->in[0], .out_fd = f->out[1], .name = "org.example.0" },
	};
	term_up(f, p, 2);
	assert_int_equal(f->v.nr_queues, 6);
}

static void ports_are_introduced(void **state)
{
	struct term *f = *state;
	struct virtio_console_config cfg;
	start_two(f);
	vdev_config_read(f->v.dev, 0, &cfg, sizeof(cfg));
	assert_int_equal(cfg.max_nr_ports, 2);
	term_say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	term_say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1); /* once is enough */
	hear_that(f, 0, VIRTIO_CONSOLE_PORT_ADD);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_ADD);
	term_say(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	hear_that(f, 0, VIRTIO_CONSOLE_CONSOLE_PORT);
	hear_that(f, 0, VIRTIO_CONSOLE_PORT_OPEN);
	struct ctrl c = hear(f);
	assert_int_equal(c.event, VIRTIO_CONSOLE_RESIZE);
	assert_int_equal(c.len, 12);
	assert_int_equal(le_load(c.body, 2), 25); /* rows first, as Linux reads it */
	assert_int_equal(le_load(c.body + 2, 2), 80);
	term_say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
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
	fake_passes(10);
	assert_true(term_nothing_used(f, TERM_CRX));
}

static void a_closed_port_gets_no_input(void **state)
{
	struct term *f = *state;
	start_two(f);
	term_put(f, "data");
	drive_offer(&f->v, 4, &(struct drive_seg){ TERM_DATA, 64 }, 0, 1);
	drive_kick(&f->v, 4);
	term_say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
	term_say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	fake_passes(5);
	assert_true(term_nothing_used(f, 4));
	term_say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	assert_int_equal(drive_wait(&f->v, 4, NULL), 4);
	drive_offer(&f->v, 5, &(struct drive_seg){ TERM_DATA, 4 }, 1, 0);
	drive_kick(&f->v, 5);
	(void)drive_wait(&f->v, 5, NULL);
	char got[8];
	assert_int_equal(read(f->out[0], got, sizeof(got)), 4);
	/* a reset closes it */
	drive_reset(&f->v);
	drive_up(&f->v, ~0ull);
	term_put(f, "more");
	drive_offer(&f->v, 4, &(struct drive_seg){ TERM_DATA, 64 }, 0, 1);
	drive_kick(&f->v, 4);
	fake_passes(5);
	assert_true(term_nothing_used(f, 4));
}

static void nonsense_is_not_heard(void **state)
{
	struct term *f = *state;
	start_two(f);
	term_say(f, 0, VIRTIO_CONSOLE_PORT_READY, 1); /* of a port not added yet */
	term_say(f, 1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	term_say(f, 2, VIRTIO_CONSOLE_PORT_READY, 1);
	term_say(f, UINT32_MAX, VIRTIO_CONSOLE_PORT_OPEN, 1);
	term_say(f, 0, 0xffff, 0xffff);
	term_say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 0);
	drive_offer(&f->v, TERM_CTX, &(struct drive_seg){ TERM_DATA, 7 }, 1, 0); /* short */
	drive_kick(&f->v, TERM_CTX);
	(void)drive_wait(&f->v, TERM_CTX, NULL);
	ctrl_buffer(f, 0, 64);
	fake_passes(10);
	assert_true(term_nothing_used(f, TERM_CRX));
	for (unsigned i = 0; i < 500; i++) { /* asks and never listens: nothing grows */
		term_say(f, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
		term_say(f, 1, VIRTIO_CONSOLE_PORT_READY, 1);
	}
	(void)drive_wait(&f->v, TERM_CRX, NULL);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_ADD);
	(void)hear(f);
	hear_that(f, 1, VIRTIO_CONSOLE_PORT_OPEN);
	/* a buffer too small for its message gets what fits */
	term_say(f, 0, VIRTIO_CONSOLE_PORT_READY, 1);
	f->v.ram[TERM_DATA + 0x8003] = 0xee;
	ctrl_buffer(f, 0, 3);
	assert_int_equal(drive_wait(&f->v, TERM_CRX, NULL), 3);
	assert_int_equal(f->v.ram[TERM_DATA + 0x8003], 0xee);
	assert_false(drive_needs_reset(&f->v));
}

static void without_multiport_there_is_one_port(void **state)
{
	struct term *f = *state;
	const struct console_port_config p[] = {
		{ .in_fd = f->in[0], .out_fd = f->out[1], .is_console = true },
		{ .in_fd = -1, .out_fd = -1 },
	};
	const struct console_config cfg = { .ports = p, .nr_ports = 2 };
	struct vdev *d;
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &cfg), 0);
	drive_attach(&f->v, d);
	drive_up(&f->v, ~(1ull << VIRTIO_CONSOLE_F_MULTIPORT));
	term_put(f, "hi");
	term_give_buffer(f, TERM_DATA, 64); /* nobody opens it: there is no way to say so */
	assert_int_equal(drive_wait(&f->v, TERM_RX, NULL), 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, term_setup, term_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ports_are_introduced),
		T(a_closed_port_gets_no_input),
		T(nonsense_is_not_heard),
		T(without_multiport_there_is_one_port),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
