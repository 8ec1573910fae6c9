/* test_pci.c - pci.h: what a driver finds in configuration space, and what its writes do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <linux/pci_regs.h>
#include "base/num.h"
#include "bus/pci.h"
#include "sync/rcu.h"
#include "unit/bus/fake_chip.h"

#define COMMAND_ON (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER)

static const struct pci_windows windows = {
	.mmio32_base = 0xc0000000,
	.mmio32_len = 0x20000000,
	.mmio64_base = 0x4000000000,
	.mmio64_len = 0x1000000000,
	.io_base = 0xc000,
	.io_len = 0x1000,
	.intx_gsi_base = 16,
	.intx_gsi_count = 8,
};

/* A device with a BAR of each kind; BAR handlers answer with their number. */
struct dev {
	struct pci_func func;
	uint8_t bar_tag[PCI_NR_BARS];
	struct {
		unsigned bar;
		uint64_t addr;
		bool is_on;
	} mapped[32];
	unsigned nr_mapped, mode_changes, written, reading;
	uint16_t last_off;
};

struct fixture {
	struct fake_chip chip;
	struct bus *pio, *mmio;
	struct pci_bus *bus;
	struct dev a, b;
};

static void tag_read(void *ctx, uint64_t offset, void *data, unsigned len)
{
	(void)offset;
	memset(data, *(uint8_t *)ctx, len);
}

static void tag_write(void *ctx, uint64_t offset, const void *data, unsigned len)
{
	(void)offset;
	(void)len;
	memcpy(ctx, data, 1);
}

static const struct bus_ops tag_ops = { .name = "tag", .read = tag_read, .write = tag_write };

static void on_mapped(struct pci_func *f, unsigned bar, uint64_t addr, bool is_on)
{
	struct dev *d = container_of(f, struct dev, func);
	d->mapped[d->nr_mapped].bar = bar;
	d->mapped[d->nr_mapped].addr = addr;
	d->mapped[d->nr_mapped].is_on = is_on;
	d->nr_mapped = (d->nr_mapped + 1) % ARRAY_SIZE(d->mapped);
}

/* The callbacks below come without the function's lock: setting INTx would wait for it. */
static void on_mode(struct pci_func *f)
{
	struct dev *d = container_of(f, struct dev, func);
	d->mode_changes++;
	pci_func_set_intx(f, f->intx_level);
}

static void on_written(struct pci_func *f, uint16_t off, unsigned len)
{
	struct dev *d = container_of(f, struct dev, func);
	(void)len;
	d->written++;
	d->last_off = off;
	pci_func_set_intx(f, f->intx_level);
}

static void on_reading(struct pci_func *f, uint16_t off, unsigned len)
{
	struct dev *d = container_of(f, struct dev, func);
	(void)len;
	d->reading++;
	d->last_off = off;
	pci_func_set_intx(f, f->intx_level);
}

static const struct pci_func_ops dev_ops = {
	.bar_mapped = on_mapped,
	.irq_mode_changed = on_mode,
	.config_written = on_written,
	.config_reading = on_reading,
};

static const struct pci_ident ident = {
	.vendor = 0x1af4,
	.device = 0x1042,
	.subvendor = 0x1af4,
	.subdevice = 0x1100,
	.class_code = 0x018000,
	.revision = 1,
	.has_intx = true,
};

static void dev_init(struct dev *d)
{
	assert_int_equal(pci_func_init(&d->func, &ident, &dev_ops), 0);
	for (unsigned i = 0; i < PCI_NR_BARS; i++)
		d->bar_tag[i] = (uint8_t)(0xb0 + i);
	assert_int_equal(
		pci_func_add_bar(&d->func, 0, PCI_BAR_MEM32, 0x8000, &tag_ops, &d->bar_tag[0]), 0);
	assert_int_equal(pci_func_add_bar(&d->func, 1, PCI_BAR_IO, 32, &tag_ops, &d->bar_tag[1]),
			 0);
	assert_int_equal(pci_func_add_bar(&d->func, 2, PCI_BAR_MEM64_PREFETCH, 1ull << 33, &tag_ops,
					  &d->bar_tag[2]),
			 0);
	assert_int_equal(pci_func_add_bar(&d->func, 4, PCI_BAR_MEM32, 16, &tag_ops, &d->bar_tag[4]),
			 0);
	assert_true(pci_func_add_msix(&d->func, 3, 0, 0x6000, 0x7000) > 0);
}

static int setup(void **state)
{
	struct fixture *f = aligned_alloc(CACHE_ALIGN, align_up(sizeof(*f), CACHE_ALIGN));
	assert_non_null(f);
	memset(f, 0, sizeof(*f));
	fake_chip_init(&f->chip);
	assert_int_equal(bus_create(&f->pio, BUS_PIO), 0);
	assert_int_equal(bus_create(&f->mmio, BUS_MMIO), 0);
	struct pci_host host = { .mmio = f->mmio, .pio = f->pio, .irq = &f->chip.chip };
	assert_int_equal(pci_bus_create(&f->bus, &host, &windows), 0);
	dev_init(&f->a);
	dev_init(&f->b);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	if (f->a.func.is_plugged)
		pci_bus_remove(f->bus, &f->a.func);
	if (f->b.func.is_plugged)
		pci_bus_remove(f->bus, &f->b.func);
	pci_func_fini(&f->a.func);
	pci_func_fini(&f->b.func);
	pci_bus_destroy(f->bus);
	bus_destroy(f->pio);
	bus_destroy(f->mmio);
	for (unsigned i = 0; i < FAKE_GSIS; i++)
		assert_false(f->chip.level[i]);
	free(f);
	return 0;
}

static uint32_t get(struct fixture *f, unsigned slot, unsigned off, unsigned len)
{
	uint32_t v = 0;
	pci_bus_config_read(f->bus, (uint16_t)(slot << 3), (uint16_t)off, &v, len);
	return v;
}

static void put(struct fixture *f, unsigned slot, unsigned off, uint32_t v, unsigned len)
{
	pci_bus_config_write(f->bus, (uint16_t)(slot << 3), (uint16_t)off, &v, len);
}

static unsigned find_cap(struct fixture *f, unsigned slot, uint8_t id)
{
	unsigned off = get(f, slot, PCI_CAPABILITY_LIST, 1);
	for (unsigned n = 0; off && n < 48; n++) {
		assert_int_equal(off % 4, 0);
		if (get(f, slot, off, 1) == id)
			return off;
		off = get(f, slot, off + 1, 1);
	}
	return 0;
}

/* The tag of whoever answers at @addr, 0: nobody. */
static unsigned who(struct bus *b, uint64_t addr)
{
	uint8_t v;
	return bus_read(b, addr, &v, 1) ? v : 0;
}

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
	put(f, 1, PCI_BASE_ADDRESS_0, 0xd8000000, 4);
	put(f, 0, PCI_COMMAND, COMMAND_ON, 2); /* any change tries again */
	assert_int_equal(who(f->mmio, 0xd0000000), 0xb0);
	assert_int_equal(who(f->mmio, 0xd8000000), 0x77);
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

static int group_setup(void **state)
{
	(void)state;
	rcu_enter_thread();
	return 0;
}

static int group_teardown(void **state)
{
	(void)state;
	rcu_drain();
	rcu_leave_thread();
	return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_header_reads_and_writes_as_specified),
		T(bars_tell_their_size),
		T(refuses_odd_bars),
		T(capabilities_form_a_chain_with_their_own_writable_bits),
		T(a_full_space_takes_no_more_capabilities),
		T(capability_accesses_are_reported_without_the_lock),
		T(bars_answer_where_the_windows_put_them),
		T(the_command_register_switches_bars),
		T(a_bar_moves_and_its_owner_is_told),
		T(sizing_with_decoding_on_ends_where_it_began),
		T(a_bar_at_zero_or_on_a_taken_place_answers_nowhere),
		T(intx_honours_its_disable_bit_and_shows_in_status),
		T(slots_that_share_an_input_do_not_lower_each_other),
		T(intx_raised_while_unplugged_shows_once_plugged),
		T(message_control_reaches_the_vectors),
		T(absent_functions_read_as_ones),
		T(removal_gives_slot_and_addresses_back),
		T(a_full_window_refuses_and_keeps_nothing),
		T(refuses_windows_that_cannot_be),
	};
	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
