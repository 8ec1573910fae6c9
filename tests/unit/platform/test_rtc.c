/* test_rtc.c - MC146818: time in its formats, setting it, flags, interrupts, memory sizes. */
#include "unit/platform/board.h"

#define INDEX 0x70
#define DATA  0x71
#define A     0x0a
#define B     0x0b
#define C     0x0c

struct fixture {
	struct board board;
	struct rtc *r;
	_Atomic uint64_t now; /* ns */
};

static uint64_t fixture_now(void *ctx)
{
	return atomic_load(&((struct fixture *)ctx)->now);
}

static void set_utc(struct fixture *f, int year, int mon, int day, int hour, int min, int sec)
{
	struct tm tm = { .tm_year = year - 1900,
			 .tm_mon = mon - 1,
			 .tm_mday = day,
			 .tm_hour = hour,
			 .tm_min = min,
			 .tm_sec = sec };
	atomic_store(&f->now, (uint64_t)timegm(&tm) * NSEC_PER_SEC);
}

static void pass(struct fixture *f, uint64_t ns)
{
	atomic_fetch_add(&f->now, ns);
}

static struct fixture *make(bool has_reactor)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	board_init(&f->board);
	set_utc(f, 2024, 2, 29, 23, 59, 58);
	if (has_reactor) {
		board_make_reactor(&f->board);
		board_run_reactor(&f->board);
	}
	struct rtc_config cfg = { .low_ram_bytes = 3 * GIB,
				  .high_ram_bytes = 5 * GIB,
				  .irq = board_line(&f->board),
				  .reactor = f->board.reactor,
				  .now_ns = has_reactor ? NULL : fixture_now,
				  .now_ctx = f };
	assert_int_equal(rtc_create(&f->r, &cfg), 0);
	assert_int_equal(bus_add(f->board.pio, INDEX, 2, &rtc_bus_ops, f->r), 0);
	return f;
}

static int setup(void **state)
{
	*state = make(false);
	return 0;
}

static int setup_reactor(void **state)
{
	*state = make(true);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	rtc_destroy(f->r);
	if (f->board.reactor)
		board_end_reactor(&f->board);
	board_fini(&f->board);
	free(f);
	return 0;
}

static uint8_t get(struct fixture *f, uint8_t reg)
{
	out8(&f->board, INDEX, reg);
	return in8(&f->board, DATA);
}

static void put(struct fixture *f, uint8_t reg, uint8_t v)
{
	out8(&f->board, INDEX, reg);
	out8(&f->board, DATA, v);
}

/* Seconds, minutes, hours, weekday, day, month, year, century as the guest reads them. */
static const uint8_t time_regs[] = { 0, 2, 4, 6, 7, 8, 9, 0x32 };

static void assert_time(struct fixture *f, const uint8_t expect[8])
{
	for (unsigned i = 0; i < 8; i++)
		if (get(f, time_regs[i]) != expect[i])
			fail_msg("register %x: %x, not %x", time_regs[i], get(f, time_regs[i]),
				 expect[i]);
}

static const struct {
	const char *what;
	uint8_t b;
	int hour;
	uint8_t shown[8];
} formats[] = {
	{ "BCD, 24 h", 0x02, 23, { 0x58, 0x59, 0x23, 5, 0x29, 2, 0x24, 0x20 } },
	{ "binary, 24 h", 0x06, 23, { 58, 59, 23, 5, 29, 2, 24, 20 } },
	{ "BCD, 12 h, evening", 0x00, 23, { 0x58, 0x59, 0x91, 5, 0x29, 2, 0x24, 0x20 } },
	{ "binary, 12 h, evening", 0x04, 23, { 58, 59, 0x8b, 5, 29, 2, 24, 20 } },
	{ "BCD, 12 h, midnight", 0x00, 0, { 0x58, 0x59, 0x12, 5, 0x29, 2, 0x24, 0x20 } },
	{ "BCD, 12 h, noon", 0x00, 12, { 0x58, 0x59, 0x92, 5, 0x29, 2, 0x24, 0x20 } },
	{ "BCD, 12 h, morning", 0x00, 9, { 0x58, 0x59, 0x09, 5, 0x29, 2, 0x24, 0x20 } },
};

static void shows_the_time_in_every_format(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		set_utc(f, 2024, 2, 29, formats[i].hour, 59, 58);
		put(f, B, formats[i].b);
		assert_time(f, formats[i].shown);
	}
}

static void counts_over_month_and_day(void **state)
{
	struct fixture *f = *state;
	pass(f, 2 * NSEC_PER_SEC);
	assert_time(f, (const uint8_t[]){ 0, 0, 0, 6, 1, 3, 0x24, 0x20 });
}

/* As Linux does it: SET, fields in any order, SET off. */
static void a_guest_sets_the_time_and_it_runs_on(void **state)
{
	struct fixture *f = *state;
	static const uint8_t wanted[] = { 0x30, 0x15, 0x08, 1, 0x05, 0x02, 0x99, 0x19 };
	set_utc(f, 2024, 1, 31, 10, 0, 0); /* February has no 31st: nothing may carry */
	put(f, B, 0x80 | 0x02);
	for (unsigned i = 8; i-- > 0;)
		put(f, time_regs[i], wanted[i]);
	pass(f, 3 * NSEC_PER_SEC); /* the clock stands meanwhile */
	assert_int_equal(get(f, 0), 0x30);
	put(f, B, 0x02);
	pass(f, 4 * NSEC_PER_SEC);
	assert_time(f, (const uint8_t[]){ 0x34, 0x15, 0x08, 6, 0x05, 0x02, 0x99, 0x19 });
}

static void a_field_written_without_set_counts_at_once(void **state)
{
	struct fixture *f = *state;
	put(f, 4, 0x11);
	pass(f, NSEC_PER_SEC);
	assert_int_equal(get(f, 4), 0x11);
	assert_int_equal(get(f, 0), 0x59);
}

static void nonsense_is_some_time(void **state)
{
	struct fixture *f = *state;
	for (unsigned b = 0; b < 8; b += 2) {
		put(f, B, (uint8_t)(0x80 | b));
		for (unsigned i = 0; i < 8; i++)
			put(f, time_regs[i], b & 4 ? 0xff : 0x00);
		put(f, B, (uint8_t)b);
		for (unsigned i = 0; i < 8; i++)
			(void)get(f, time_regs[i]);
		(void)get(f, C);
	}
}

static void announces_an_update_just_before_the_second(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(get(f, A), 0x26);
	pass(f, NSEC_PER_SEC - 300000);
	assert_int_equal(get(f, A), 0x26);
	pass(f, 100000);
	assert_int_equal(get(f, A), 0xa6);
	pass(f, 200000);
	assert_int_equal(get(f, A), 0x26);
	put(f, A, 0xff);
	assert_int_equal(get(f, A), 0x7f);
}

static void register_d_says_valid_and_port_0_is_not_read(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(get(f, 0x0d), 0x80);
	put(f, 0x0d, 0);
	assert_int_equal(get(f, 0x0d), 0x80);
	assert_int_equal(get(f, 0x80 | 0x0d), 0x80); /* bit 7 is the NMI mask */
	assert_int_equal(in8(&f->board, INDEX), 0xff);
	out_n(&f->board, INDEX, 0x5a00 | 0x40, 2); /* a word writes both ports */
	assert_int_equal(get(f, 0x40), 0x5a);
}

static void flags_show_without_interrupts(void **state)
{
	struct fixture *f = *state;
	(void)get(f, C);
	assert_int_equal(get(f, C), 0);
	pass(f, 2000000);
	assert_int_equal(get(f, C), 0x40); /* periodic, 1024 Hz */
	pass(f, NSEC_PER_SEC);
	assert_int_equal(get(f, C), 0x50);
	assert_int_equal(get(f, C), 0);
	assert_false(f->board.level);
}

static const struct {
	const char *what;
	uint8_t sec, min, hour;
	unsigned pass_s;
	bool matches;
} alarms[] = {
	{ "to the second", 0x00, 0x00, 0x00, 2, true },
	{ "not yet", 0x00, 0x00, 0x00, 1, false },
	{ "missed by late reading", 0x01, 0x00, 0x00, 100, true },
	{ "every minute", 0x30, 0xff, 0xff, 32, true },
	{ "every hour", 0x00, 0x05, 0xc0, 302, true },
	{ "every second", 0xff, 0xff, 0xff, 1, true },
	{ "never", 0x61, 0xff, 0xff, 100000, false },
	{ "a whole day", 0x57, 0x59, 0x23, 86400, true },
};

static void the_alarm_matches_bytes_and_wildcards(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(alarms); i++) {
		set_utc(f, 2024, 2, 29, 23, 59, 58);
		put(f, 1, alarms[i].sec);
		put(f, 3, alarms[i].min);
		put(f, 5, alarms[i].hour);
		(void)get(f, C);
		pass(f, alarms[i].pass_s * NSEC_PER_SEC);
		if (!!(get(f, C) & 0x20) != alarms[i].matches)
			fail_msg("%s", alarms[i].what);
	}
}

/* The seconds before it did not happen by the new time: they match no alarm. */
static void setting_the_time_past_an_alarm_does_not_raise_it(void **state)
{
	struct fixture *f = *state;
	put(f, 1, 0x00);
	put(f, 3, 0x05);
	put(f, 5, 0x00);
	(void)get(f, C);
	pass(f, 10 * NSEC_PER_SEC);
	put(f, 2, 0x05); /* 00:00:08 becomes 00:05:08 */
	assert_int_equal(get(f, C) & 0x20, 0);
	put(f, 2, 0x04);
	pass(f, 52 * NSEC_PER_SEC);
	assert_int_equal(get(f, C) & 0x20, 0x20);
}

static void an_enabled_flag_raises_the_line_until_c_is_read(void **state)
{
	struct fixture *f = *state;
	put(f, B, 0x02 | 0x10);
	pass(f, NSEC_PER_SEC);
	put(f, B, 0x02 | 0x10); /* looks, as the timer would */
	assert_true(f->board.level);
	assert_int_equal(get(f, C) & 0x90, 0x90);
	assert_false(f->board.level);
}

static void the_timer_delivers_periodic_interrupts(void **state)
{
	struct fixture *f = *state;
	put(f, A, 0x26);
	put(f, B, 0x02 | 0x40);
	for (unsigned i = 1; i <= 20; i++) {
		eventually(f->board.level);
		assert_int_equal(f->board.rises, i);
		assert_int_equal(get(f, C) & 0xc0, 0xc0);
	}
	put(f, B, 0x02);
}

static void the_timer_delivers_update_and_alarm(void **state)
{
	struct fixture *f = *state;
	put(f, 1, 0xff);
	put(f, 3, 0xff);
	put(f, 5, 0xff);
	put(f, B, 0x02 | 0x30);
	eventually(f->board.level);
	assert_int_equal(get(f, C) & 0xb0, 0xb0);
	put(f, B, 0x02 | 0x40); /* a shorter timer replaces the one that runs */
	eventually(f->board.level);
}

static const struct {
	const char *what;
	uint8_t reg, value;
} memory[] = {
	{ "640 KiB", 0x15, 0x80 },
	{ "", 0x16, 0x02 },
	{ "64 MiB at most", 0x17, 0xff },
	{ "", 0x18, 0xff },
	{ "again", 0x30, 0xff },
	{ "", 0x31, 0xff },
	{ "3 GiB - 16 MiB", 0x34, 0x00 },
	{ "", 0x35, 0xbf },
	{ "5 GiB above", 0x5b, 0x00 },
	{ "", 0x5c, 0x40 },
	{ "", 0x5d, 0x01 },
	{ "FPU", 0x14, 0x02 },
};

static void memory_sizes_are_where_firmware_looks(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(memory); i++)
		assert_int_equal(get(f, memory[i].reg), memory[i].value);
	for (unsigned reg = 0x0e; reg < 0x80; reg++) {
		put(f, (uint8_t)reg, 0x11);
		assert_int_equal(get(f, (uint8_t)reg), 0x11);
	}
}

#define T(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)
#define TR(f) cmocka_unit_test_setup_teardown(f, setup_reactor, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(shows_the_time_in_every_format),
		T(counts_over_month_and_day),
		T(a_guest_sets_the_time_and_it_runs_on),
		T(a_field_written_without_set_counts_at_once),
		T(nonsense_is_some_time),
		T(announces_an_update_just_before_the_second),
		T(register_d_says_valid_and_port_0_is_not_read),
		T(flags_show_without_interrupts),
		T(the_alarm_matches_bytes_and_wildcards),
		T(setting_the_time_past_an_alarm_does_not_raise_it),
		T(an_enabled_flag_raises_the_line_until_c_is_read),
		TR(the_timer_delivers_periodic_interrupts),
		TR(the_timer_delivers_update_and_alarm),
		T(memory_sizes_are_where_firmware_looks),
	};
	return cmocka_run_group_tests(tests, board_group_setup, board_group_teardown);
}
