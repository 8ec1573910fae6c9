/* pci_fixture.c - see pci_fixture.h. */
#include "unit/virtio/pci_fixture.h"

/* --- doorbells that record --- */

static int bells_add(void *ctx, enum bus_space space, uint64_t addr, int fd)
{
	struct fake_bells *b = ctx;
	assert_int_equal(space, BUS_MMIO);
	if (b->nr == b->room)
		return -ENOSPC;
	b->bell[b->nr].addr = addr;
	b->bell[b->nr++].fd = fd;
	b->adds++;
	return 0;
}

static void bells_del(void *ctx, enum bus_space space, uint64_t addr, int fd)
{
	struct fake_bells *b = ctx;
	(void)space;
	for (unsigned i = 0; i < b->nr; i++) {
		if (b->bell[i].addr != addr || b->bell[i].fd != fd)
			continue;
		b->bell[i] = b->bell[--b->nr];
		return;
	}
	fail_msg("no doorbell at %#lx", addr);
}

static const struct doorbell_ops bells_ops = { .add = bells_add, .del = bells_del };

int bell_at(const struct fake_bells *b, uint64_t addr)
{
	for (unsigned i = 0; i < b->nr; i++)
		if (b->bell[i].addr == addr)
			return b->bell[i].fd;
	return -1;
}

/* --- fixture --- */

int setup(void **state)
{
	struct fixture *f = aligned_alloc(CACHE_ALIGN, align_up(sizeof(*f), CACHE_ALIGN));
	memset(f, 0, sizeof(*f));
	guest_init(&f->guest, MIB);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		guest_queue_init(&f->gq[i], &f->guest, 16, GUEST_FEATURES);
	fake_chip_init(&f->chip);
	f->bells = (struct fake_bells){ .chip = { &bells_ops, &f->bells }, .room = 16 };
	f->host = (struct pci_host){ .irq = &f->chip.chip, .doorbell = &f->bells.chip };
	assert_int_equal(bus_create(&f->host.mmio, BUS_MMIO), 0);
	assert_int_equal(bus_create(&f->host.pio, BUS_PIO), 0);
	fake_vdev_init(&f->fake, f->guest.mem);
	assert_int_equal(virtio_pci_create(&f->v, &f->fake.dev), 0);
	f->func = virtio_pci_func(f->v);
	struct irq_line intx = { &f->chip.chip, INTX_GSI };
	assert_int_equal(pci_func_plug(f->func, &f->host, 3 << 3, &intx), 0);
	pci_func_set_bar(f->func, 0, BAR_AT);
	pci_func_enable(f->func);
	*state = f;
	return 0;
}

int teardown(void **state)
{
	struct fixture *f = *state;
	vdev_hold(&f->fake.dev, VDEV_HOLD_END);
	for (uint16_t i = 0; i < FAKE_QUEUES; i++)
		if (f->fake.dev.q[i].state == VDEV_Q_STOPPING)
			vdev_queue_stopped(&f->fake.dev, i);
	assert_true(vdev_is_quiet(&f->fake.dev));
	pci_func_unplug(f->func);
	assert_int_equal(f->bells.nr, 0);
	virtio_pci_destroy(f->v);
	assert_int_equal(f->fake.destroys, 1);
	for (unsigned i = 0; i < FAKE_GSIS; i++) {
		assert_int_equal(f->chip.wires[i], 0);
		assert_false(f->chip.used[i]);
	}
	bus_destroy(f->host.mmio);
	bus_destroy(f->host.pio);
	for (unsigned i = 0; i < FAKE_QUEUES; i++)
		guest_queue_fini(&f->gq[i]);
	guest_fini(&f->guest);
	free(f);
	return 0;
}

uint64_t get(struct fixture *f, uint64_t off, unsigned len)
{
	uint8_t buf[8] = { 0 };
	assert_true(bus_read(f->host.mmio, BAR_AT + off, buf, len));
	return le_load(buf, len);
}

void put(struct fixture *f, uint64_t off, uint64_t value, unsigned len)
{
	uint8_t buf[8];
	le_store(buf, value, 8);
	assert_true(bus_write(f->host.mmio, BAR_AT + off, buf, len));
}

uint32_t config_get(struct fixture *f, unsigned off, unsigned len)
{
	uint8_t buf[4] = { 0 };
	pci_func_config_read(f->func, (uint16_t)off, buf, len);
	return (uint32_t)le_load(buf, len);
}

void config_put(struct fixture *f, unsigned off, uint32_t value, unsigned len)
{
	uint8_t buf[4];
	le_store(buf, value, 4);
	pci_func_config_write(f->func, (uint16_t)off, buf, len);
}

unsigned find_cap(struct fixture *f, unsigned id, unsigned type)
{
	for (unsigned at = config_get(f, PCI_CAPABILITY_LIST, 1); at; at = config_get(f, at + 1, 1))
		if (config_get(f, at, 1) == id && (!type || config_get(f, at + 3, 1) == type))
			return at;
	return 0;
}

void enable_msix(struct fixture *f)
{
	for (unsigned i = 0; i < NR_VECTORS; i++) {
		put(f, TABLE + 16 * i, 0xfee00000, 4);
		put(f, TABLE + 16 * i + 8, 0x40 + i, 4);
		put(f, TABLE + 16 * i + 12, 0, 4);
	}
	config_put(f, find_cap(f, PCI_CAP_ID_MSIX, 0) + 2, PCI_MSIX_FLAGS_ENABLE, 2);
}

void set_up_queue(struct fixture *f, uint16_t idx)
{
	const uint64_t area[] = { f->gq[idx].desc_gpa, f->gq[idx].driver_gpa,
				  f->gq[idx].device_gpa };
	put(f, R_QUEUE_SELECT, idx, 2);
	put(f, R_QUEUE_SIZE, 16, 2);
	for (unsigned a = 0; a < 3; a++) {
		put(f, R_QUEUE_DESC + 8 * a, (uint32_t)area[a], 4);
		put(f, R_QUEUE_DESC + 8 * a + 4, area[a] >> 32, 4);
	}
	put(f, R_QUEUE_ENABLE, 1, 2);
}

void negotiate(struct fixture *f)
{
	put(f, R_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, 1);
	put(f, R_DRIVER_SELECT, 1, 4);
	put(f, R_DRIVER_FEATURE, 1 | 1u << (VIRTIO_F_RING_RESET - 32), 4);
	put(f, R_STATUS, LIVE & ~VIRTIO_CONFIG_S_DRIVER_OK, 1);
}

void go_live(struct fixture *f)
{
	negotiate(f);
	set_up_queue(f, 0);
	set_up_queue(f, 1);
	put(f, R_STATUS, LIVE, 1);
	assert_int_equal(get(f, R_STATUS, 1), LIVE);
}

bool has_count(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, 0) == 1;
}
