/* pci_fixture.c - see pci_fixture.h. */
#include "unit/bus/pci_fixture.h"

const struct pci_windows windows = {
	.mmio32_base = 0xc0000000,
	.mmio32_len = 0x20000000,
	.mmio64_base = 0x4000000000,
	.mmio64_len = 0x1000000000,
	.io_base = 0xc000,
	.io_len = 0x1000,
	.intx_gsi_base = 16,
	.intx_gsi_count = 8,
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

const struct bus_ops tag_ops = { .name = "tag", .read = tag_read, .write = tag_write };

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

int setup(void **state)
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

int teardown(void **state)
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

uint32_t get(struct fixture *f, unsigned slot, unsigned off, unsigned len)
{
	uint32_t v = 0;
	pci_bus_config_read(f->bus, (uint16_t)(slot << 3), (uint16_t)off, &v, len);
	return v;
}

void put(struct fixture *f, unsigned slot, unsigned off, uint32_t v, unsigned len)
{
	pci_bus_config_write(f->bus, (uint16_t)(slot << 3), (uint16_t)off, &v, len);
}

unsigned find_cap(struct fixture *f, unsigned slot, uint8_t id)
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

unsigned who(struct bus *b, uint64_t addr)
{
	uint8_t v;
	return bus_read(b, addr, &v, 1) ? v : 0;
}

int group_setup(void **state)
{
	(void)state;
	rcu_enter_thread();
	return 0;
}

int group_teardown(void **state)
{
	(void)state;
	rcu_drain();
	rcu_leave_thread();
	return 0;
}
