/* test_i8042.c - keyboard controller: what it answers without devices, and how it resets. */
#include "unit/platform/board.h"

#define DATA    0x60
#define COMMAND 0x64

struct fixture {
	struct board board;
	struct i8042 *k;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	board_init(&f->board);
	assert_int_equal(i8042_create(&f->k, &f->board.sink), 0);
	assert_int_equal(bus_add(f->board.pio, DATA, 1, &i8042_data_bus_ops, f->k), 0);
	assert_int_equal(bus_add(f->board.pio, COMMAND, 1, &i8042_command_bus_ops, f->k), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	i8042_destroy(f->k);
	board_fini(&f->board);
	free(f);
	return 0;
}

/* Commands that answer: what comes out, and with which status. */
static const struct {
	const char *what;
	uint8_t command;
	int data; /* byte written after it, -1: none */
	uint8_t answer, status;
} answers[] = {
	{ "configuration", 0x20, -1, 0x24, 0x1d },
	{ "self test", 0xaa, -1, 0x55, 0x1d },
	{ "keyboard port test", 0xab, -1, 0x00, 0x1d },
	{ "mouse port test: absent", 0xa9, -1, 0x02, 0x1d },
	{ "output port", 0xd0, -1, 0x03, 0x1d },
	{ "keyboard loop", 0xd2, 0x5a, 0x5a, 0x15 },
	{ "mouse loop is not the mouse's", 0xd3, 0x5a, 0x5a, 0x15 },
	{ "to the mouse: nobody answers", 0xd4, 0xff, 0xfe, 0x75 },
};

static void answers_as_a_controller_without_devices(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		out8(&f->board, COMMAND, answers[i].command);
		if (answers[i].data >= 0)
			out8(&f->board, DATA, (uint8_t)answers[i].data);
		uint8_t status = in8(&f->board, COMMAND), answer = in8(&f->board, DATA);
		if (status != answers[i].status || answer != answers[i].answer)
			fail_msg("%s: %x, status %x", answers[i].what, answer, status);
		assert_int_equal(in8(&f->board, COMMAND) & 1, 0);
	}
}

static void a_byte_to_the_keyboard_times_out(void **state)
{
	struct fixture *f = *state;
	out8(&f->board, DATA, 0xf2);
	assert_int_equal(in8(&f->board, COMMAND) & 0x41, 0x41);
	assert_int_equal(in8(&f->board, DATA), 0xfe);
}

static void keeps_its_configuration(void **state)
{
	struct fixture *f = *state;
	out8(&f->board, COMMAND, 0x60);
	out8(&f->board, DATA, 0x47);
	out8(&f->board, COMMAND, 0xad);
	out8(&f->board, COMMAND, 0x20);
	assert_int_equal(in8(&f->board, DATA), 0x57);
	out8(&f->board, COMMAND, 0xae);
	out8(&f->board, COMMAND, 0xa7);
	out8(&f->board, COMMAND, 0x20);
	assert_int_equal(in8(&f->board, DATA), 0x67);
}

static void resets_when_the_reset_line_goes_low(void **state)
{
	struct fixture *f = *state;
	out8(&f->board, COMMAND, 0xff); /* pulses nothing */
	out8(&f->board, COMMAND, 0xd1);
	out8(&f->board, DATA, 0xdf); /* A20 on, no reset */
	assert_int_equal(f->board.resets, 0);
	out8(&f->board, COMMAND, 0xfe);
	assert_int_equal(f->board.resets, 1);
	out8(&f->board, COMMAND, 0xd1);
	out8(&f->board, DATA, 0xde);
	assert_int_equal(f->board.resets, 2);
}

static void a_new_command_forgets_the_one_that_waits(void **state)
{
	struct fixture *f = *state;
	out8(&f->board, COMMAND, 0xd1);
	out8(&f->board, COMMAND, 0x00); /* unknown */
	out8(&f->board, DATA, 0x00);
	assert_int_equal(f->board.resets, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(answers_as_a_controller_without_devices),
		T(a_byte_to_the_keyboard_times_out),
		T(keeps_its_configuration),
		T(resets_when_the_reset_line_goes_low),
		T(a_new_command_forgets_the_one_that_waits),
	};
	return cmocka_run_group_tests(tests, board_group_setup, board_group_teardown);
}
