/* test_acpi_pm.c - ACPI fixed hardware: registers of any width, timer, power. */
#include "unit/platform/board.h"

#define BASE    0x600
#define STATUS  (BASE + 0)
#define ENABLE  (BASE + 2)
#define CONTROL (BASE + 4)
#define TIMER   (BASE + 8)
#define PWRBTN  0x0100
#define SLP_EN  0x2000

struct fixture {
	struct board board;
	struct acpi_pm *p;
	uint64_t now;
};

static uint64_t fixture_now(void *ctx)
{
	return ((struct fixture *)ctx)->now;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	board_init(&f->board);
	struct acpi_pm_config cfg = { .sink = f->board.sink,
				      .sci = board_line(&f->board),
				      .s5_slp_typ = 5,
				      .now_ns = fixture_now,
				      .now_ctx = f };
	assert_int_equal(acpi_pm_create(&f->p, &cfg), 0);
	assert_int_equal(bus_add(f->board.pio, BASE, 16, &acpi_pm_bus_ops, f->p), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	acpi_pm_destroy(f->p);
	board_fini(&f->board);
	free(f);
	return 0;
}

/* Every register: what it reads at first, and after ones were written. */
static const struct {
	uint16_t port, len;
	uint32_t before, after;
} registers[] = {
	{ STATUS, 2, 0, 0 },
	{ ENABLE, 2, 0, 0x0721 },
	{ CONTROL, 2, 1, 0x1c03 },
	{ BASE + 6, 2, 0, 0 },
	{ TIMER, 4, 0, 0 },
	{ BASE + 12, 4, 0, 0 },
	{ CONTROL + 1, 1, 0x1c, 0x1c },
	{ ENABLE + 1, 1, 7, 7 },
	{ STATUS, 4, 0x07210000, 0x07210000 },
};

static void registers_keep_the_bits_they_have(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		assert_int_equal(in_n(&f->board, registers[i].port, registers[i].len),
				 registers[i].before);
		out_n(&f->board, registers[i].port, 0xffffdfff, registers[i].len);
		assert_int_equal(in_n(&f->board, registers[i].port, registers[i].len),
				 registers[i].after);
	}
	assert_int_equal(f->board.poweroffs, 0);
}

static void s5_powers_off_and_other_states_do_not(void **state)
{
	struct fixture *f = *state;
	out_n(&f->board, CONTROL, 5 << 10, 2); /* type without enable, as ACPICA does first */
	assert_int_equal(f->board.poweroffs, 0);
	out_n(&f->board, CONTROL, SLP_EN | 1 << 10, 2);
	assert_int_equal(f->board.poweroffs, 0);
	out_n(&f->board, CONTROL, SLP_EN | 5 << 10, 2);
	assert_int_equal(f->board.poweroffs, 1);
	assert_int_equal(in_n(&f->board, CONTROL, 2) & SLP_EN, 0);
}

static void a_byte_write_powers_off_too(void **state)
{
	struct fixture *f = *state;
	out8(&f->board, CONTROL + 1, (SLP_EN | 5 << 10) >> 8);
	assert_int_equal(f->board.poweroffs, 1);
}

static void the_power_button_raises_sci_until_its_status_is_cleared(void **state)
{
	struct fixture *f = *state;
	acpi_pm_press_power(f->p);
	assert_false(f->board.level);
	out_n(&f->board, ENABLE, PWRBTN, 2);
	assert_true(f->board.level);
	assert_int_equal(in_n(&f->board, STATUS, 2), PWRBTN);
	out_n(&f->board, STATUS, 0x0001, 2); /* another bit: nothing changes */
	assert_true(f->board.level);
	out_n(&f->board, STATUS, PWRBTN, 2);
	assert_false(f->board.level);
	assert_int_equal(in_n(&f->board, STATUS, 2), 0);
}

/* Time in nanoseconds, and the counter then. */
static const struct {
	uint64_t ns;
	uint32_t ticks;
} times[] = {
	{ 0, 0 },
	{ 279, 0 },
	{ 280, 1 },
	{ NSEC_PER_SEC, 3579545 },
	{ 10 * NSEC_PER_SEC, 35795450 },
	{ 1200 * NSEC_PER_SEC, 486704 }, /* 4295454000 - 2^32 + what 32 bits wrap */
	{ 365ull * 86400 * NSEC_PER_SEC, 0 },
};

static void the_timer_counts_at_its_rate_and_wraps_at_32_bits(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		f->now = times[i].ns;
		__extension__ typedef unsigned __int128 u128;
		uint32_t expect = (uint32_t)((u128)times[i].ns * 3579545 / NSEC_PER_SEC);
		assert_int_equal(in_n(&f->board, TIMER, 4), expect);
		if (times[i].ns <= 1200 * NSEC_PER_SEC)
			assert_int_equal(expect, times[i].ticks);
	}
}

static void the_top_bit_of_the_timer_sets_its_status(void **state)
{
	struct fixture *f = *state;
	f->now = 599 * NSEC_PER_SEC; /* 2^31 ticks take 599.9 s */
	assert_int_equal(in_n(&f->board, STATUS, 2), 0);
	f->now = 600 * NSEC_PER_SEC;
	assert_int_equal(in_n(&f->board, STATUS, 2), 1);
	out_n(&f->board, STATUS, 1, 2);
	assert_int_equal(in_n(&f->board, STATUS, 2), 0);
	f->now = 1200 * NSEC_PER_SEC;
	assert_int_equal(in_n(&f->board, STATUS, 2), 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(registers_keep_the_bits_they_have),
		T(s5_powers_off_and_other_states_do_not),
		T(a_byte_write_powers_off_too),
		T(the_power_button_raises_sci_until_its_status_is_cleared),
		T(the_timer_counts_at_its_rate_and_wraps_at_32_bits),
		T(the_top_bit_of_the_timer_sets_its_status),
	};
	return cmocka_run_group_tests(tests, board_group_setup, board_group_teardown);
}
