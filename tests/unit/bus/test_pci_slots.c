/* test_pci_slots.c - pci.h: BARs that come and go, slots, windows. */
#include "unit/bus/pci_fixture.h"

/* --- BARs --- */

static void bars_answer_where_the_windows_put_them(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, -1), 0);
	assert_int_equal(get(f, 0, PCI_BASE_ADDRESS_0, 4), 0xc0000000);
	assert_int_equal(get(f, 0, PCI_BASE_ADDRESS_1, 4), 0xc001);
	assert_int_equal(get(f, 0, PCI_BASE_ADDRESS_2, 4), 0xc);
	assert_int_equal(get(f, 0, PCI_BASE_ADDRESS_3, 4), 0x40);
	assert_int_equal(get(f, 0, PCI_BASE_ADDRESS_4, 4), 0xc0008000);
	assert_int_equal(who(f->mmio, 0xc0007fff), 0xb0);
	assert_int_equal(who(f->pio, 0xc01f), 0xb1);
	assert_int_equal(who(f->mmio, 0x4000000000), 0xb2);
	assert_int_equal(who(f->mmio, 0x41ffffffff), 0xb2);
	assert_int_equal(who(f->mmio, 0xc0008008), 0xb4);
	assert_int_equal(who(f->mmio, 0xc0008010), 0);
	assert_int_equal(f->a.nr_mapped, 4);
}

static void the_command_register_switches_bars(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 0), 0);
	put(f, 0, PCI_COMMAND, PCI_COMMAND_IO, 2);
	assert_int_equal(who(f->mmio, 0xc0000000), 0);
	assert_int_equal(who(f->pio, 0xc000), 0xb1);
	put(f, 0, PCI_COMMAND, PCI_COMMAND_MEMORY, 1);
	assert_int_equal(who(f->mmio, 0xc0000000), 0xb0);
	assert_int_equal(who(f->pio, 0xc000), 0);
	assert_int_equal(f->a.mode_changes, 0);
}

static void a_bar_moves_and_its_owner_is_told(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 0), 0);
	f->a.nr_mapped = 0;
	put(f, 0, PCI_BASE_ADDRESS_0, 0xd0000000, 4);
	assert_int_equal(who(f->mmio, 0xc0000000), 0);
	assert_int_equal(who(f->mmio, 0xd0000000), 0xb0);
	assert_int_equal(f->a.nr_mapped, 2);
	assert_false(f->a.mapped[0].is_on);
	assert_true(f->a.mapped[0].addr == 0xc0000000);
	assert_true(f->a.mapped[1].is_on);
	assert_true(f->a.mapped[1].addr == 0xd0000000);
	put(f, 0, PCI_BASE_ADDRESS_0, 0xd0000000, 4); /* the same again: nothing moves */
	assert_int_equal(f->a.nr_mapped, 2);
}

static void sizing_with_decoding_on_ends_where_it_began(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 0), 0);
	for (unsigned bar = 0; bar < PCI_NR_BARS; bar++) {
		unsigned off = PCI_BASE_ADDRESS_0 + 4 * bar;
		uint32_t was = get(f, 0, off, 4);
		put(f, 0, off, 0xffffffff, 4);
		put(f, 0, off, was, 4);
	}
	assert_int_equal(who(f->mmio, 0xc0000000), 0xb0);
	assert_int_equal(who(f->pio, 0xc000), 0xb1);
	assert_int_equal(who(f->mmio, 0x4000000000), 0xb2);
	assert_int_equal(who(f->mmio, 0xc0008000), 0xb4);
}

static void a_bar_at_zero_or_on_a_taken_place_answers_nowhere(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 0), 0);
	assert_int_equal(pci_bus_add(f->bus, &f->b.func, 1), 1);
	f->b.bar_tag[0] = 0x77;
	put(f, 0, PCI_BASE_ADDRESS_0, 0, 4);
	assert_int_equal(who(f->mmio, 0), 0);
	put(f, 1, PCI_BASE_ADDRESS_0, 0xd0000000, 4);
	put(f, 0, PCI_BASE_ADDRESS_0, 0xd0000000, 4);
	assert_int_equal(who(f->mmio, 0xd0000000), 0x77);
	put(f, 1, PCI_BASE_ADDRESS_0, 0xd8000000, 4); /* leaves the place to who was given it */
	assert_int_equal(who(f->mmio, 0xd0000000), 0xb0);
	assert_int_equal(who(f->mmio, 0xd8000000), 0x77);
}

/* As an operating system hands out addresses anew: registers first to last, decoding on. */
static void bars_that_trade_places_all_answer_in_the_end(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 0), 0);
	assert_int_equal(pci_bus_add(f->bus, &f->b.func, 1), 1);
	f->b.bar_tag[0] = 0x77;
	uint32_t a = get(f, 0, PCI_BASE_ADDRESS_0, 4), b = get(f, 1, PCI_BASE_ADDRESS_0, 4);
	put(f, 0, PCI_BASE_ADDRESS_0, b, 4);
	put(f, 1, PCI_BASE_ADDRESS_0, a, 4);
	assert_int_equal(who(f->mmio, b), 0xb0);
	assert_int_equal(who(f->mmio, a), 0x77);
	put(f, 0, PCI_BASE_ADDRESS_0, a, 4);
	assert_int_equal(who(f->mmio, a), 0x77); /* the first comes first */
	put(f, 1, PCI_COMMAND, 0, 2);
	assert_int_equal(who(f->mmio, a), 0xb0);
	put(f, 1, PCI_COMMAND, COMMAND_ON, 2);
	put(f, 1, PCI_BASE_ADDRESS_0, b, 4);
	put(f, 0, PCI_BASE_ADDRESS_0, b, 4);
	pci_bus_remove(f->bus, &f->b.func);
	assert_int_equal(who(f->mmio, b), 0xb0);
	uint32_t small = get(f, 0, PCI_BASE_ADDRESS_4, 4);
	put(f, 0, PCI_BASE_ADDRESS_0, small, 4); /* within a function, too */
	assert_int_equal(who(f->mmio, small), 0xb4);
	put(f, 0, PCI_BASE_ADDRESS_4, a, 4);
	assert_int_equal(who(f->mmio, small), 0xb0);
	assert_int_equal(who(f->mmio, a), 0xb4);
}

/* --- slots and windows --- */

static void absent_functions_read_as_ones(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 1), 1);
	static const uint16_t bdfs[] = { 0, 2 << 3, 31 << 3, 1 << 3 | 1, 1 << 8, 0xffff };
	for (size_t i = 0; i < ARRAY_SIZE(bdfs); i++) {
		uint32_t v = 0;
		pci_bus_config_read(f->bus, bdfs[i], 0, &v, 4);
		assert_int_equal(v, 0xffffffff);
		pci_bus_config_write(f->bus, bdfs[i], 0, &v, 4);
	}
	uint32_t v = 0;
	pci_bus_config_read(f->bus, 1 << 3, 0xffe, &v, 4); /* over the end */
	assert_int_equal(v, 0xffffffff);
	pci_bus_remove(f->bus, &f->a.func);
	assert_int_equal(get(f, 1, 0, 4), 0xffffffff);
}

static void removal_gives_slot_and_addresses_back(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, -1), 0);
	assert_int_equal(pci_bus_add(f->bus, &f->b.func, 0), -EBUSY);
	assert_int_equal(pci_bus_add(f->bus, &f->b.func, 32), -EINVAL);
	assert_int_equal(pci_bus_add(f->bus, &f->b.func, -1), 1);
	assert_int_equal(get(f, 1, PCI_BASE_ADDRESS_0, 4), 0xc0010000);
	assert_int_equal(get(f, 1, PCI_BASE_ADDRESS_4, 4), 0xc0009000);
	pci_bus_remove(f->bus, &f->a.func);
	assert_int_equal(who(f->mmio, 0xc0000000), 0);
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, -1), 0);
	assert_int_equal(get(f, 0, PCI_BASE_ADDRESS_0, 4), 0xc0000000);
	assert_int_equal(who(f->mmio, 0xc0000000), 0xb0);
}

static void a_full_window_refuses_and_keeps_nothing(void **state)
{
	struct fixture *f = *state;
	struct pci_host host = { .mmio = f->mmio, .pio = f->pio, .irq = &f->chip.chip };
	struct pci_windows small = windows;
	struct pci_bus *bus;
	small.io_len = 32;
	small.mmio64_len = 0;
	assert_int_equal(pci_bus_create(&bus, &host, &small), 0);
	assert_int_equal(pci_bus_add(bus, &f->a.func, 0), -ENOSPC); /* 8 GiB below 4 GiB */
	pci_bus_destroy(bus);
	small.mmio64_len = windows.mmio64_len;
	assert_int_equal(pci_bus_create(&bus, &host, &small), 0);
	assert_int_equal(pci_bus_add(bus, &f->a.func, 0), 0);
	assert_int_equal(pci_bus_add(bus, &f->b.func, 1), -ENOSPC); /* ports */
	pci_bus_remove(bus, &f->a.func);
	assert_int_equal(pci_bus_add(bus, &f->b.func, 1), 1);
	assert_true(f->b.func.bars[0].addr == 0xc0000000);
	pci_bus_remove(bus, &f->b.func);
	pci_bus_destroy(bus);
}

static void refuses_windows_that_cannot_be(void **state)
{
	struct fixture *f = *state;
	struct pci_host host = { .mmio = f->mmio, .pio = f->pio, .irq = &f->chip.chip };
	struct pci_windows bad[4] = { windows, windows, windows, windows };
	struct pci_bus *bus;
	bad[0].mmio32_len = 0x50000000;
	bad[1].mmio64_base = UINT64_MAX;
	bad[2].io_base = 0xf001;
	bad[3].intx_gsi_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pci_bus_create(&bus, &host, &bad[i]), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(bars_answer_where_the_windows_put_them),
		T(the_command_register_switches_bars),
		T(a_bar_moves_and_its_owner_is_told),
		T(sizing_with_decoding_on_ends_where_it_began),
		T(a_bar_at_zero_or_on_a_taken_place_answers_nowhere),
		T(bars_that_trade_places_all_answer_in_the_end),
		T(absent_functions_read_as_ones),
		T(removal_gives_slot_and_addresses_back),
		T(a_full_window_refuses_and_keeps_nothing),
		T(refuses_windows_that_cannot_be),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
