/* test_pci_root.c - host bridge: both roads into configuration space, and reset control. */
#include "unit/platform/board.h"

#define ADDRESS 0xcf8
#define RESET   0xcf9
#define DATA    0xcfc
#define ENABLE  0x80000000u
#define ECAM    0xe0000000ull

struct fixture {
	struct board board;
	struct bus *mmio;
	struct pci_bus *bus;
	struct pci_root *root;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	board_init(&f->board);
	assert_int_equal(bus_create(&f->mmio, BUS_MMIO), 0);
	struct pci_host host = { .mmio = f->mmio, .pio = f->board.pio, .irq = &f->board.chip };
	struct pci_windows w = { .mmio32_base = 0xc0000000,
				 .mmio32_len = 0x20000000,
				 .intx_gsi_base = 16,
				 .intx_gsi_count = 8 };
	assert_int_equal(pci_bus_create(&f->bus, &host, &w), 0);
	assert_int_equal(pci_root_create(&f->root, f->bus, &f->board.sink), 0);
	assert_int_equal(bus_add(f->board.pio, ADDRESS, 8, &pci_root_cf8_bus_ops, f->root), 0);
	assert_int_equal(bus_add(f->mmio, ECAM, 256 * MIB, &pci_root_ecam_bus_ops, f->root), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	pci_root_destroy(f->root);
	pci_bus_destroy(f->bus);
	bus_destroy(f->mmio);
	board_fini(&f->board);
	free(f);
	return 0;
}

static uint32_t ecam(struct fixture *f, uint64_t off, unsigned len)
{
	uint32_t v = 0;
	bus_read(f->mmio, ECAM + off, &v, len);
	return v;
}

static const struct {
	const char *what;
	uint32_t address;
	uint16_t port;
	unsigned len;
	uint32_t value;
} reads[] = {
	{ "identity", ENABLE, DATA, 4, 0x0d578086 },
	{ "vendor", ENABLE, DATA, 2, 0x8086 },
	{ "device", ENABLE, DATA + 2, 2, 0x0d57 },
	{ "a byte", ENABLE, DATA + 1, 1, 0x80 },
	{ "class", ENABLE | 8, DATA, 4, 0x06000000 },
	{ "low address bits", ENABLE | 3, DATA, 4, 0x0d578086 },
	{ "not enabled", 0, DATA, 4, 0xffffffff },
	{ "absent slot", ENABLE | 5 << 11, DATA, 4, 0xffffffff },
	{ "absent function", ENABLE | 1 << 8, DATA, 2, 0xffff },
	{ "absent bus", ENABLE | 1 << 16, DATA, 1, 0xff },
};

static void mechanism_1_reads_dwords_words_and_bytes(void **state)
{
	struct fixture *f = *state;
	for (size_t i = 0; i < ARRAY_SIZE(reads); i++) {
		out_n(&f->board, ADDRESS, reads[i].address, 4);
		uint32_t v = in_n(&f->board, reads[i].port, reads[i].len);
		if (v != reads[i].value)
			fail_msg("%s: %x", reads[i].what, v);
	}
}

static void the_address_register_takes_only_dwords(void **state)
{
	struct fixture *f = *state;
	out_n(&f->board, ADDRESS, 0xffffffff, 4);
	assert_int_equal(in_n(&f->board, ADDRESS, 4), 0x80fffffc);
	out_n(&f->board, ADDRESS, 0, 2);
	out8(&f->board, ADDRESS, 0);
	assert_int_equal(in_n(&f->board, ADDRESS, 4), 0x80fffffc);
	assert_int_equal(in_n(&f->board, ADDRESS, 2), 0xffff);
}

static void mechanism_1_writes(void **state)
{
	struct fixture *f = *state;
	out_n(&f->board, ADDRESS, ENABLE | 0x3c, 4);
	out8(&f->board, DATA, 11);
	assert_int_equal(in8(&f->board, DATA), 11);
	assert_int_equal(ecam(f, 0x3c, 1), 11);
	out_n(&f->board, ADDRESS, 0x3c, 4);
	out8(&f->board, DATA, 12); /* not enabled */
	assert_int_equal(ecam(f, 0x3c, 1), 11);
}

static void ecam_reaches_all_of_a_function(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(ecam(f, 0, 4), 0x0d578086);
	assert_int_equal(ecam(f, 2, 2), 0x0d57);
	assert_int_equal(ecam(f, 0xffc, 4), 0);
	assert_int_equal(ecam(f, 0xffe, 4), 0xffffffff);
	assert_int_equal(ecam(f, 1 << 15, 4), 0xffffffff);
	assert_int_equal(ecam(f, 256 * MIB - 4, 4), 0xffffffff);
	uint8_t v = 9;
	bus_write(f->mmio, ECAM + 0x3c, &v, 1);
	assert_int_equal(ecam(f, 0x3c, 1), 9);
}

static void reset_control_resets_with_its_cpu_bit(void **state)
{
	struct fixture *f = *state;
	out8(&f->board, RESET, 0x02);
	assert_int_equal(f->board.resets, 0);
	assert_int_equal(in8(&f->board, RESET), 0x02);
	out8(&f->board, RESET, 0x06);
	assert_int_equal(f->board.resets, 1);
	out_n(&f->board, ADDRESS, ENABLE | 0x0600, 4); /* 0x06 passes 0xcf9 in a dword: no reset */
	assert_int_equal(f->board.resets, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(mechanism_1_reads_dwords_words_and_bytes),
		T(the_address_register_takes_only_dwords),
		T(mechanism_1_writes),
		T(ecam_reaches_all_of_a_function),
		T(reset_control_resets_with_its_cpu_bit),
	};
	return cmocka_run_group_tests(tests, board_group_setup, board_group_teardown);
}
