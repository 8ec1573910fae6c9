/* test_console.c - the life of a console, its size, emergency output. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <string.h>
#include <unistd.h>
#include "term.h"

static void the_size_is_told(void **state)
{
	struct term *f = *state;
	struct virtio_console_config c;
	term_up_single(f);
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

static void *make_it_larger(void *arg)
{
	console_resize(arg, 132, 50);
	return NULL;
}

static void the_size_changes_as_a_whole(void **state)
{
	struct term *f = *state;
	term_up_single(f);
	uint8_t generation = vdev_generation(f->v.dev);
	assert_false(drive_sees_half(&f->v, make_it_larger, f->v.dev));
	assert_int_equal(vdev_generation(f->v.dev), (uint8_t)(generation + 1));
}

static void emergency_output_needs_no_driver(void **state)
{
	struct term *f = *state;
	const struct console_port_config p = { .in_fd = -1, .out_fd = f->out[1] };
	const struct console_config cfg = { .ports = &p, .nr_ports = 1 };
	const char *text = "panic!\n";
	char got[1024];
	struct vdev *d;
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &cfg), 0);
	drive_attach(&f->v, d);
	for (const char *c = text; *c; c++)
		vdev_config_write(d, 8, &(uint32_t){ (uint8_t)*c }, 4);
	fake_passes(3);
	assert_int_equal(read(f->out[0], got, sizeof(got)), 7);
	assert_memory_equal(got, text, 7);
	/* faster than it can be written: bounded */
	fake_held = 1u << FAKE_WRITE;
	for (unsigned i = 0; i < 2000; i++)
		vdev_config_write(d, 8, &(uint32_t){ 'x' }, 4);
	fake_passes(3);
	for (unsigned i = 0; i < 2000; i++)
		vdev_config_write(d, 8, &(uint32_t){ 'y' }, 4);
	fake_held = 0;
	fake_passes(6);
	ssize_t n = read(f->out[0], got, sizeof(got));
	assert_in_range(n, 256, 512);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(got[i], 'x');
	vdev_config_write(d, 0, &(uint32_t){ 'x' }, 4); /* not a register to write */
	vdev_config_write(d, 9, &(uint32_t){ 'x' }, 1);
	fake_passes(3);
	assert_int_equal(read(f->out[0], got, sizeof(got)), -1);
}

static void emergency_output_does_not_outlive_the_device(void **state)
{
	struct term *f = *state;
	term_up_single(f);
	fake_held = 1u << FAKE_WRITE; /* and the teardown destroys the device */
	vdev_config_write(f->v.dev, 8, &(uint32_t){ 'x' }, 4);
	fake_passes(3);
	assert_int_equal(fake_waiting(FAKE_WRITE), 1);
}

static void too_many_ports_are_refused(void **state)
{
	struct term *f = *state;
	struct console_port_config p[40] = { 0 };
	const struct console_config none = { .ports = p, .nr_ports = 0 };
	const struct console_config many = { .ports = p, .nr_ports = 40 };
	struct vdev *d = NULL;
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &none), -EINVAL);
	assert_int_equal(console_create(&d, f->v.mem, f->worker, &many), -EINVAL);
	assert_null(d);
}

#define T(f) cmocka_unit_test_setup_teardown(f, term_setup, term_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_size_is_told),
		T(the_size_changes_as_a_whole),
		T(emergency_output_needs_no_driver),
		T(emergency_output_does_not_outlive_the_device),
		T(too_many_ports_are_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
