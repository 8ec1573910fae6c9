/* test_board.c - windows and devices that never meet, for any amount of RAM. */
#include <string.h>
#include "kernels.h"

static void ram_is_placed_around_the_hole(void **state)
{
	(void)state;
	struct gmem_extent e[2];
	assert_int_equal(machine_ram_extents(64 * MIB, e), 1);
	assert_int_equal(e[0].len, 64 * MIB);
	assert_int_equal(machine_ram_extents(3 * GIB, e), 1);
	assert_int_equal(machine_ram_extents(3 * GIB + 4096, e), 2);
	assert_int_equal(e[0].len, 3 * GIB);
	assert_int_equal(e[1].start, 4 * GIB);
	assert_int_equal(e[1].len, 4096);
}

static void windows_lie_clear_of_ram_and_each_other(void **state)
{
	(void)state;
	for (unsigned bits = 36; bits <= 52; bits++) {
		const uint64_t sizes[] = { 64 * MIB, 3 * GIB, 5 * GIB + MIB,
					   machine_max_ram(bits) };
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			struct gmem_extent e[2] = { { 0, 0 }, { 0, 0 } };
			struct pci_windows w;
			(void)machine_ram_extents(sizes[i], e);
			machine_pci_windows(sizes[i], bits, &w);
			assert_int_equal(w.mmio64_base % GIB, 0);
			assert_true(w.mmio64_base >= 4 * GIB);
			assert_true(w.mmio64_base >= e[1].start + e[1].len);
			assert_true(w.mmio64_len >= 4 * GIB);
			assert_true(w.mmio64_base + w.mmio64_len <= 1ull << bits);
			assert_int_equal(w.mmio32_base + w.mmio32_len, LAYOUT_ECAM_START);
			assert_true(bits < 40 || w.mmio64_len >= 64 * GIB);
		}
	}
}

static void most_ram_follows_the_address_width(void **state)
{
	(void)state;
	assert_int_equal(machine_max_ram(32), 3 * GIB);
	assert_int_equal(machine_max_ram(36), 59 * GIB); /* 64 less the hole and 4 of BARs */
	assert_int_equal(machine_max_ram(40), 959 * GIB);
	assert_true(machine_max_ram(52) < 1ull << 52);
	assert_int_equal(machine_max_ram(64), machine_max_ram(52));
}

static void devices_do_not_overlap(void **state)
{
	(void)state;
	for (unsigned i = 0; i < machine_nr_devs; i++)
		for (unsigned j = 0; j < i; j++) {
			const struct machine_dev *a = &machine_devs[i], *b = &machine_devs[j];
			assert_false(a->space == b->space &&
				     ranges_overlap(a->base, a->len, b->base, b->len));
		}
}

static void there_are_four_serial_ports_and_one_of_the_rest(void **state)
{
	(void)state;
	unsigned count[MACHINE_DEV_PCI_ECAM + 1] = { 0 };
	for (unsigned i = 0; i < machine_nr_devs; i++) {
		if (machine_devs[i].kind == MACHINE_DEV_SERIAL)
			assert_int_equal(machine_devs[i].index, count[MACHINE_DEV_SERIAL]);
		count[machine_devs[i].kind]++;
	}
	for (unsigned kind = 0; kind <= MACHINE_DEV_PCI_ECAM; kind++)
		assert_int_equal(count[kind], kind == MACHINE_DEV_SERIAL ? 4 : 1);
	assert_string_equal(machine_serial_tty(3), "ttyS3");
	assert_string_equal(machine_serial_earlycon(0), "uart8250,io,0x3f8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ram_is_placed_around_the_hole),
		cmocka_unit_test(windows_lie_clear_of_ram_and_each_other),
		cmocka_unit_test(most_ram_follows_the_address_width),
		cmocka_unit_test(devices_do_not_overlap),
		cmocka_unit_test(there_are_four_serial_ports_and_one_of_the_rest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
