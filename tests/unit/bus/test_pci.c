/* test_pci.c - pci.h: the header, capabilities and interrupts, as a driver finds them. */
#include "unit/bus/pci_fixture.h"

/* --- the header --- */

/* Every register: what it reads after plug, and what after all ones were written. */
static const struct {
	const char *what;
	unsigned off, len;
	uint32_t before, after;
} registers[] = {
	{ "vendor", PCI_VENDOR_ID, 2, 0x1af4, 0x1af4 },
	{ "device", PCI_DEVICE_ID, 2, 0x1042, 0x1042 },
	{ "command", PCI_COMMAND, 2, 0x0007, 0x0547 },
	{ "status", PCI_STATUS, 2, 0x0010, 0x0010 },
	{ "revision", PCI_REVISION_ID, 1, 1, 1 },
	{ "class", PCI_CLASS_PROG, 2, 0x8000, 0x8000 },
	{ "base class", PCI_CLASS_DEVICE + 1, 1, 1, 1 },
	{ "cache line", PCI_CACHE_LINE_SIZE, 1, 0, 0xff },
	{ "latency", PCI_LATENCY_TIMER, 1, 0, 0xff },
	{ "header type", PCI_HEADER_TYPE, 1, 0, 0 },
	{ "BIST", PCI_BIST, 1, 0, 0 },
	{ "BAR 5", PCI_BASE_ADDRESS_5, 4, 0, 0 },
	{ "CardBus", PCI_CARDBUS_CIS, 4, 0, 0 },
	{ "subsystem vendor", PCI_SUBSYSTEM_VENDOR_ID, 2, 0x1af4, 0x1af4 },
	{ "subsystem", PCI_SUBSYSTEM_ID, 2, 0x1100, 0x1100 },
	{ "ROM", PCI_ROM_ADDRESS, 4, 0, 0 },
	{ "capabilities", PCI_CAPABILITY_LIST, 1, 0x40, 0x40 },
	{ "interrupt line", PCI_INTERRUPT_LINE, 1, 0, 0xff },
	{ "interrupt pin", PCI_INTERRUPT_PIN, 1, 1, 1 },
	{ "grant and latency", PCI_MIN_GNT, 2, 0, 0 },
	{ "extended space", 0x100, 4, 0, 0 },
	{ "its end", 0xffc, 4, 0, 0 },
};

static void the_header_reads_and_writes_as_specified(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 3), 3);
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++) {
		uint32_t before = get(f, 3, registers[i].off, registers[i].len);
		put(f, 3, registers[i].off, 0xffffffff, registers[i].len);
		uint32_t after = get(f, 3, registers[i].off, registers[i].len);
		if (before != registers[i].before || after != registers[i].after)
			fail_msg("%s: %x, then %x", registers[i].what, before, after);
	}
}

static const struct {
	const char *what;
	unsigned bar, upper;
	uint32_t flags, size_mask, upper_mask;
} sizings[] = {
	{ "memory, 32 bits", 0, 0, 0x0, 0xffff8000, 0 },
	{ "ports", 1, 0, 0x1, 0xffffffe0, 0 },
	{ "memory, 64 bits", 2, 3, 0xc, 0x00000000, 0xfffffffe },
	{ "memory, 16 bytes", 4, 0, 0x0, 0xfffffff0, 0 },
};

static void bars_tell_their_size(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 0), 0);
	put(f, 0, PCI_COMMAND, 0, 2);
	for (size_t i = 0; i < ARRAY_SIZE(sizings); i++) {
		unsigned off = PCI_BASE_ADDRESS_0 + 4 * sizings[i].bar;
		uint32_t was = get(f, 0, off, 4);
		put(f, 0, off, 0xffffffff, 4);
		assert_int_equal(get(f, 0, off, 4), sizings[i].size_mask | sizings[i].flags);
		put(f, 0, off, was, 4);
		assert_int_equal(get(f, 0, off, 4), was);
		if (!sizings[i].upper)
			continue;
		off = PCI_BASE_ADDRESS_0 + 4 * sizings[i].upper;
		put(f, 0, off, 0xffffffff, 4);
		assert_int_equal(get(f, 0, off, 4), sizings[i].upper_mask);
	}
}

static void refuses_odd_bars(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned bar;
		enum pci_bar_kind kind;
		uint64_t size;
	} bad[] = {
		{ 0, PCI_BAR_MEM32, 0x1000 },   { 3, PCI_BAR_MEM32, 0x1000 },
		{ 5, PCI_BAR_MEM64, 0x1000 },   { 6, PCI_BAR_MEM32, 0x1000 },
		{ 5, PCI_BAR_MEM32, 0 },        { 5, PCI_BAR_MEM32, 8 },
		{ 5, PCI_BAR_MEM32, 0x1800 },   { 5, PCI_BAR_MEM32, 1ull << 32 },
		{ 5, PCI_BAR_IO, 2 },           { 5, PCI_BAR_IO, 512 },
		{ UINT32_MAX, PCI_BAR_IO, 16 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pci_func_add_bar(&f->a.func, bad[i].bar, bad[i].kind, bad[i].size,
						  &tag_ops, NULL),
				 -EINVAL);
}

/* --- capabilities --- */

static void capabilities_form_a_chain_with_their_own_writable_bits(void **state)
{
	struct fixture *f = *state;
	static const uint8_t body[5] = { 1, 2, 3, 4, 5 }, bits[5] = { 0, 0xf0, 0, 0, 0xff };
	assert_true(pci_func_add_cap(&f->a.func, 0x09, body, bits, sizeof(body)) > 0);
	assert_true(pci_func_add_cap(&f->a.func, 0x0a, body, NULL, sizeof(body)) > 0);
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 1), 1);
	unsigned msix = find_cap(f, 1, PCI_CAP_ID_MSIX), cap = find_cap(f, 1, 0x09);
	assert_int_equal(msix, 0x40);
	assert_int_equal(get(f, 1, msix + 2, 2), 2); /* three vectors */
	assert_int_equal(get(f, 1, msix + 4, 4), 0x6000);
	assert_int_equal(get(f, 1, msix + 8, 4), 0x7000);
	assert_int_equal(find_cap(f, 1, 0x0a), cap + 8);
	put(f, 1, cap + 3, 0xffffffff, 4);
	assert_int_equal(get(f, 1, cap + 3, 4), 0xff0403f2);
	put(f, 1, cap + 8 + 4, 0xffffffff, 4);
	assert_int_equal(get(f, 1, cap + 8 + 4, 4), 0x00050403);
}

static void a_full_space_takes_no_more_capabilities(void **state)
{
	struct fixture *f = *state;
	static const uint8_t body[254];
	int err = 0;
	assert_int_equal(pci_func_add_cap(&f->a.func, 9, body, NULL, 254), -ENOSPC);
	for (unsigned n = 0; n < 64 && err >= 0; n++)
		err = pci_func_add_cap(&f->a.func, 9, body, NULL, 14);
	assert_int_equal(err, -ENOSPC);
	assert_int_equal(pci_func_add_msix(&f->b.func, 2, 0, 0, 8), -EINVAL); /* a second one */
}

static void capability_accesses_are_reported_without_the_lock(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 1), 1);
	(void)get(f, 1, PCI_COMMAND, 2);
	put(f, 1, PCI_INTERRUPT_LINE, 5, 1);
	assert_int_equal(f->a.written + f->a.reading, 0);
	(void)get(f, 1, 0x44, 4);
	assert_int_equal(f->a.reading, 1);
	put(f, 1, 0x48, 0, 4);
	assert_int_equal(f->a.written, 1);
	assert_int_equal(f->a.last_off, 0x48);
}

/* --- interrupts --- */

static void intx_honours_its_disable_bit_and_shows_in_status(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 3), 3);
	pci_func_set_intx(&f->a.func, true);
	assert_true(f->chip.level[19]);
	assert_int_equal(get(f, 3, PCI_STATUS, 2) & 8, 8);
	put(f, 3, PCI_COMMAND, COMMAND_ON | PCI_COMMAND_INTX_DISABLE, 2);
	assert_false(f->chip.level[19]);
	assert_int_equal(get(f, 3, PCI_STATUS, 2) & 8, 8);
	assert_int_equal(f->a.mode_changes, 1);
	put(f, 3, PCI_COMMAND, COMMAND_ON, 2);
	assert_true(f->chip.level[19]);
	pci_func_set_intx(&f->a.func, false);
	assert_false(f->chip.level[19]);
	assert_int_equal(get(f, 3, PCI_STATUS, 2) & 8, 0);
}

static void slots_that_share_an_input_do_not_lower_each_other(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 2), 2);
	assert_int_equal(pci_bus_add(f->bus, &f->b.func, 10), 10);
	pci_func_set_intx(&f->a.func, true);
	pci_func_set_intx(&f->b.func, true);
	pci_func_set_intx(&f->a.func, true); /* said twice, meant once */
	pci_func_set_intx(&f->a.func, false);
	assert_true(f->chip.level[18]);
	pci_bus_remove(f->bus, &f->b.func); /* a removed function lets go */
	assert_false(f->chip.level[18]);
}

static void intx_raised_while_unplugged_shows_once_plugged(void **state)
{
	struct fixture *f = *state;
	pci_func_set_intx(&f->a.func, true);
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 1), 1);
	assert_true(f->chip.level[17]);
	pci_bus_remove(f->bus, &f->a.func);
	assert_false(f->chip.level[17]);
}

static void message_control_reaches_the_vectors(void **state)
{
	struct fixture *f = *state;
	struct notifier n;
	assert_int_equal(notifier_init(&n), 0);
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 1), 1);
	unsigned cap = find_cap(f, 1, PCI_CAP_ID_MSIX);
	assert_int_equal(msix_nr_vectors(f->a.func.msix), 3);
	assert_int_equal(msix_attach(f->a.func.msix, 1, &n), 0);
	msix_table_write(f->a.func.msix, 16 + 12, &(uint32_t){ 0 }, 4);
	put(f, 1, cap + 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL, 2);
	assert_true(msix_is_enabled(f->a.func.msix));
	assert_int_equal(f->chip.wires[FAKE_MSI], 0);
	put(f, 1, cap + 3, PCI_MSIX_FLAGS_ENABLE >> 8, 1); /* the upper byte alone */
	assert_int_equal(f->chip.wires[FAKE_MSI], 1);
	assert_int_equal(f->a.mode_changes, 2);
	pci_bus_remove(f->bus, &f->a.func);
	assert_int_equal(f->chip.wires[FAKE_MSI], 0);
	msix_detach(f->a.func.msix, &n); /* still there */
	notifier_fini(&n);
}

static void interrupts_that_the_host_refused_are_tried_again(void **state)
{
	struct fixture *f = *state;
	struct notifier n;
	assert_int_equal(notifier_init(&n), 0);
	assert_false(pci_bus_retry_irqs(f->bus));
	assert_int_equal(pci_bus_add(f->bus, &f->a.func, 1), 1);
	assert_int_equal(msix_attach(f->a.func.msix, 1, &n), 0);
	msix_table_write(f->a.func.msix, 16 + 12, &(uint32_t){ 0 }, 4);
	f->chip.fail_next = ENOMEM;
	put(f, 1, find_cap(f, 1, PCI_CAP_ID_MSIX) + 2, PCI_MSIX_FLAGS_ENABLE, 2);
	assert_int_equal(f->chip.wires[FAKE_MSI], 0);
	f->chip.fail_next = ENOMEM;
	assert_true(pci_bus_retry_irqs(f->bus));
	assert_int_equal(f->chip.wires[FAKE_MSI], 0);
	assert_false(pci_bus_retry_irqs(f->bus));
	assert_int_equal(f->chip.wires[FAKE_MSI], 1);
	pci_bus_remove(f->bus, &f->a.func);
	msix_detach(f->a.func.msix, &n);
	notifier_fini(&n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_header_reads_and_writes_as_specified),
		T(bars_tell_their_size),
		T(refuses_odd_bars),
		T(capabilities_form_a_chain_with_their_own_writable_bits),
		T(a_full_space_takes_no_more_capabilities),
		T(capability_accesses_are_reported_without_the_lock),
		T(intx_honours_its_disable_bit_and_shows_in_status),
		T(slots_that_share_an_input_do_not_lower_each_other),
		T(intx_raised_while_unplugged_shows_once_plugged),
		T(message_control_reaches_the_vectors),
		T(interrupts_that_the_host_refused_are_tried_again),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
