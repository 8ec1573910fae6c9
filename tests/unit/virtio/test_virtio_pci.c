/* test_virtio_pci.c - the PCI transport: a real PCI function and MSI-X, a chip and doorbells that
 * record, a body that stops when told to. */
#include <stdarg.h>
#include <setjmp.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/le.h"
#include "base/num.h"
#include "support/fake_vdev.h"
#include "support/guest.h"
#include "sync/rcu.h"
#include "unit/bus/fake_chip.h"
#include "virtio/virtio_pci.h"

#define BAR_AT     0xc0000000ull
#define COMMON     0x0000
#define ISR        0x1000
#define DEVCFG     0x2000
#define NOTIFY     0x3000
#define TABLE      0x6000
#define PBA        0x7000
#define NR_VECTORS (FAKE_QUEUES + 1)
#define INTX_GSI   10

#define R_DEVICE_SELECT  0x00
#define R_DEVICE_FEATURE 0x04
#define R_DRIVER_SELECT  0x08
#define R_DRIVER_FEATURE 0x0c
#define R_CONFIG_VECTOR  0x10
#define R_STATUS         0x14
#define R_QUEUE_SELECT   0x16
#define R_QUEUE_SIZE     0x18
#define R_QUEUE_VECTOR   0x1a
#define R_QUEUE_ENABLE   0x1c
#define R_QUEUE_DESC     0x20
#define R_QUEUE_RESET    0x3a

#define LIVE                                                                                       \
	(VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |      \
	 VIRTIO_CONFIG_S_DRIVER_OK)

/* --- doorbells that record --- */

struct fake_bells {
	struct doorbell_chip chip;
	struct {
		uint64_t addr;
		int fd;
	} bell[16];
	unsigned nr, adds, room;
};

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

static int bell_at(const struct fake_bells *b, uint64_t addr)
{
	for (unsigned i = 0; i < b->nr; i++)
		if (b->bell[i].addr == addr)
			return b->bell[i].fd;
	return -1;
}

/* --- fixture --- */

struct fixture {
	struct guest guest;
	struct guest_queue gq[FAKE_QUEUES];
	struct fake_vdev fake;
	struct fake_chip chip;
	struct fake_bells bells;
	struct pci_host host;
	struct virtio_pci *v;
	struct pci_func *func;
};

static int setup(void **state)
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

static int teardown(void **state)
{
	struct fixture *f = *state;
	vdev_quiesce(&f->fake.dev);
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

static uint64_t get(struct fixture *f, uint64_t off, unsigned len)
{
	uint8_t buf[8] = { 0 };
	assert_true(bus_read(f->host.mmio, BAR_AT + off, buf, len));
	return le_load(buf, len);
}

static void put(struct fixture *f, uint64_t off, uint64_t value, unsigned len)
{
	uint8_t buf[8];
	le_store(buf, value, 8);
	assert_true(bus_write(f->host.mmio, BAR_AT + off, buf, len));
}

static uint32_t config_get(struct fixture *f, unsigned off, unsigned len)
{
	uint8_t buf[4] = { 0 };
	pci_func_config_read(f->func, (uint16_t)off, buf, len);
	return (uint32_t)le_load(buf, len);
}

static void config_put(struct fixture *f, unsigned off, uint32_t value, unsigned len)
{
	uint8_t buf[4];
	le_store(buf, value, 4);
	pci_func_config_write(f->func, (uint16_t)off, buf, len);
}

/* Offset of the capability with @id (and virtio type @type), 0: none. */
static unsigned find_cap(struct fixture *f, unsigned id, unsigned type)
{
	for (unsigned at = config_get(f, PCI_CAPABILITY_LIST, 1); at; at = config_get(f, at + 1, 1))
		if (config_get(f, at, 1) == id && (!type || config_get(f, at + 3, 1) == type))
			return at;
	return 0;
}

static void enable_msix(struct fixture *f)
{
	for (unsigned i = 0; i < NR_VECTORS; i++) {
		put(f, TABLE + 16 * i, 0xfee00000, 4);
		put(f, TABLE + 16 * i + 8, 0x40 + i, 4);
		put(f, TABLE + 16 * i + 12, 0, 4);
	}
	config_put(f, find_cap(f, PCI_CAP_ID_MSIX, 0) + 2, PCI_MSIX_FLAGS_ENABLE, 2);
}

static void set_up_queue(struct fixture *f, uint16_t idx)
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

static void negotiate(struct fixture *f)
{
	put(f, R_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER, 1);
	put(f, R_DRIVER_SELECT, 1, 4);
	put(f, R_DRIVER_FEATURE, 1 | 1u << (VIRTIO_F_RING_RESET - 32), 4);
	put(f, R_STATUS, LIVE & ~VIRTIO_CONFIG_S_DRIVER_OK, 1);
}

static void go_live(struct fixture *f)
{
	negotiate(f);
	set_up_queue(f, 0);
	set_up_queue(f, 1);
	put(f, R_STATUS, LIVE, 1);
	assert_int_equal(get(f, R_STATUS, 1), LIVE);
}

static bool has_count(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	return poll(&p, 1, 0) == 1;
}

/* --- identity --- */

static void it_is_a_modern_device_with_all_capabilities(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned type;
		uint32_t off, len;
	} caps[] = {
		{ VIRTIO_PCI_CAP_COMMON_CFG, COMMON, 0x3c },
		{ VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY, 4 * FAKE_QUEUES },
		{ VIRTIO_PCI_CAP_ISR_CFG, ISR, 1 },
		{ VIRTIO_PCI_CAP_DEVICE_CFG, DEVCFG, FAKE_CONFIG },
		{ VIRTIO_PCI_CAP_PCI_CFG, 0, 0 },
	};
	assert_int_equal(config_get(f, PCI_VENDOR_ID, 2), 0x1af4);
	assert_int_equal(config_get(f, PCI_DEVICE_ID, 2), 0x1044);
	assert_int_equal(config_get(f, PCI_REVISION_ID, 1), 1);
	assert_true(config_get(f, PCI_SUBSYSTEM_ID, 2) >= 0x40);
	for (unsigned i = 0; i < ARRAY_SIZE(caps); i++) {
		unsigned at = find_cap(f, 0x09, caps[i].type);
		assert_int_not_equal(at, 0);
		assert_int_equal(config_get(f, at + 4, 1), 0); /* bar */
		assert_int_equal(config_get(f, at + 8, 4), caps[i].off);
		assert_int_equal(config_get(f, at + 12, 4), caps[i].len);
	}
	unsigned notify = find_cap(f, 0x09, VIRTIO_PCI_CAP_NOTIFY_CFG);
	assert_int_equal(config_get(f, notify + 2, 1), 20);
	assert_int_equal(config_get(f, notify + 16, 4), 4);
	unsigned msix = find_cap(f, PCI_CAP_ID_MSIX, 0);
	assert_int_equal(config_get(f, msix + 2, 2) & PCI_MSIX_FLAGS_QSIZE, NR_VECTORS - 1);
	assert_int_equal(config_get(f, msix + 4, 4), TABLE);
	assert_int_equal(config_get(f, msix + 8, 4), PBA);
}

/* --- the register table --- */

static const struct {
	const char *name;
	unsigned off, width;
	uint32_t at_reset; /* with queue 0 selected */
	bool is_plain;     /* keeps what is written, all bits */
} regs[] = {
	{ "device_feature_select", 0x00, 4, 0, true },
	{ "device_feature", 0x04, 4, (uint32_t)(FAKE_BIT | FAKE_NEEDS | 3u << 28), false },
	{ "driver_feature_select", 0x08, 4, 0, true },
	{ "driver_feature", 0x0c, 4, 0, true },
	{ "config_msix_vector", 0x10, 2, 0xffff, false },
	{ "num_queues", 0x12, 2, FAKE_QUEUES, false },
	{ "device_status", 0x14, 1, 0, false },
	{ "config_generation", 0x15, 1, 0, false },
	{ "queue_select", 0x16, 2, 0, true },
	{ "queue_size", 0x18, 2, FAKE_SIZE, false },
	{ "queue_msix_vector", 0x1a, 2, 0xffff, false },
	{ "queue_enable", 0x1c, 2, 0, false },
	{ "queue_notify_off", 0x1e, 2, 0, false },
	{ "queue_desc low", 0x20, 4, 0, true },
	{ "queue_desc high", 0x24, 4, 0, true },
	{ "queue_driver low", 0x28, 4, 0, true },
	{ "queue_driver high", 0x2c, 4, 0, true },
	{ "queue_device low", 0x30, 4, 0, true },
	{ "queue_device high", 0x34, 4, 0, true },
	{ "queue_notify_data", 0x38, 2, 0, false },
	{ "queue_reset", 0x3a, 2, 0, false },
};

static void every_register_reads_right_after_reset(void **state)
{
	struct fixture *f = *state;
	unsigned end = 0;
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
		assert_int_equal(regs[i].off, end); /* no gaps */
		end += regs[i].width;
		uint32_t whole = (uint32_t)get(f, regs[i].off, regs[i].width);
		if (whole != regs[i].at_reset)
			fail_msg("%s: %#x", regs[i].name, whole);
		for (unsigned b = 0; b < regs[i].width; b++)
			assert_int_equal(get(f, regs[i].off + b, 1), whole >> 8 * b & 0xff);
	}
	assert_int_equal(end, 0x3c);
	for (unsigned off = end; off < 0x1000; off += 4)
		assert_int_equal(get(f, off, 4), 0);
}

static void plain_registers_keep_what_is_written(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
		unsigned off = regs[i].off, w = regs[i].width;
		uint32_t all = w == 4 ? ~0u : (1u << 8 * w) - 1;
		if (!regs[i].is_plain)
			continue;
		put(f, off, 0x5a3c9617 & all, w);
		if (get(f, off, w) != (0x5a3c9617 & all))
			fail_msg("%s", regs[i].name);
		put(f, off + 1, 0xaa, 1); /* a part keeps the rest */
		assert_int_equal(get(f, off, w), (0x5a3caa17 & all));
		put(f, off, regs[i].at_reset, w);
	}
}

static void read_only_registers_ignore_writes(void **state)
{
	struct fixture *f = *state;
	static const unsigned offs[][2] = {
		{ 0x04, 4 }, { 0x12, 2 }, { 0x15, 1 }, { 0x1e, 2 }, { 0x38, 2 }
	};
	for (unsigned i = 0; i < ARRAY_SIZE(offs); i++) {
		uint64_t before = get(f, offs[i][0], offs[i][1]);
		put(f, offs[i][0], 0x77777777, offs[i][1]);
		assert_int_equal(get(f, offs[i][0], offs[i][1]), before);
	}
}

static void wide_accesses_reach_both_halves(void **state)
{
	struct fixture *f = *state;
	put(f, R_QUEUE_DESC, 0x123456789abcdef0, 8);
	assert_int_equal(get(f, R_QUEUE_DESC, 4), 0x9abcdef0);
	assert_int_equal(get(f, R_QUEUE_DESC + 4, 4), 0x12345678);
	assert_true(get(f, R_QUEUE_DESC, 8) == 0x123456789abcdef0);
}

static void features_show_in_two_words(void **state)
{
	struct fixture *f = *state;
	uint64_t all = FAKE_BIT | FAKE_NEEDS | VDEV_TRANSPORT_FEATURES;
	for (uint32_t word = 0; word < 4; word++) {
		put(f, R_DEVICE_SELECT, word, 4);
		assert_int_equal(get(f, R_DEVICE_FEATURE, 4),
				 word < 2 ? (uint32_t)(all >> 32 * word) : 0);
		put(f, R_DRIVER_SELECT, word, 4);
		put(f, R_DRIVER_FEATURE, 0x100u << word, 4);
		assert_int_equal(get(f, R_DRIVER_FEATURE, 4), word < 2 ? 0x100u << word : 0);
	}
}

static void each_queue_has_its_own_registers(void **state)
{
	struct fixture *f = *state;
	for (uint16_t i = 0; i < FAKE_QUEUES; i++) {
		put(f, R_QUEUE_SELECT, i, 2);
		assert_int_equal(get(f, 0x1e, 2), i); /* notify_off */
		put(f, R_QUEUE_SIZE, 8u << i, 2);
		put(f, R_QUEUE_DESC, 0x1000 * (i + 1u), 4);
	}
	for (uint16_t i = 0; i < FAKE_QUEUES; i++) {
		put(f, R_QUEUE_SELECT, i, 2);
		assert_int_equal(get(f, R_QUEUE_SIZE, 2), 8u << i);
		assert_int_equal(get(f, R_QUEUE_DESC, 4), 0x1000 * (i + 1u));
	}
	static const uint16_t absent[] = { FAKE_QUEUES, 64, 0xffff };
	for (unsigned i = 0; i < ARRAY_SIZE(absent); i++) {
		put(f, R_QUEUE_SELECT, absent[i], 2);
		put(f, R_QUEUE_SIZE, 8, 2);
		put(f, R_QUEUE_VECTOR, 0, 2);
		put(f, R_QUEUE_ENABLE, 1, 2);
		assert_int_equal(get(f, R_QUEUE_SIZE, 2), 0); /* §4.1.4.3: not available */
		assert_int_equal(get(f, R_QUEUE_VECTOR, 2), 0xffff);
		assert_int_equal(get(f, R_QUEUE_ENABLE, 2), 0);
	}
}

static void queue_enable_takes_only_one(void **state)
{
	struct fixture *f = *state;
	negotiate(f);
	put(f, R_QUEUE_ENABLE, 0, 2);
	put(f, R_QUEUE_ENABLE, 2, 2);
	assert_int_equal(get(f, R_QUEUE_ENABLE, 2), 0);
	put(f, R_QUEUE_ENABLE, 1, 2);
	assert_int_equal(get(f, R_QUEUE_ENABLE, 2), 1);
	put(f, R_QUEUE_ENABLE, 0, 2);
	assert_int_equal(get(f, R_QUEUE_ENABLE, 2), 1);
}

/* --- life --- */

static void a_driver_brings_it_up_and_resets_it(void **state)
{
	struct fixture *f = *state;
	for (unsigned round = 1; round <= 2; round++) {
		enable_msix(f);
		put(f, R_CONFIG_VECTOR, 0, 2);
		go_live(f);
		put(f, R_QUEUE_SELECT, 1, 2);
		put(f, R_QUEUE_VECTOR, 2, 2);
		assert_int_equal(f->fake.starts[1], round);
		assert_int_equal(f->fake.setup[1].device.raw, f->gq[1].device_gpa);
		put(f, R_STATUS, 0, 1);
		assert_int_equal(get(f, R_STATUS, 1), LIVE);
		assert_int_equal(get(f, R_QUEUE_VECTOR, 2), 2);
		vdev_queue_stopped(&f->fake.dev, 0);
		vdev_queue_stopped(&f->fake.dev, 1);
		for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
			if (get(f, regs[i].off, regs[i].width) != regs[i].at_reset)
				fail_msg("%s", regs[i].name);
		assert_int_equal(f->bells.nr, FAKE_QUEUES); /* doorbells stay */
	}
}

static void one_queue_resets_by_its_register(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	put(f, R_QUEUE_SELECT, 0, 2);
	put(f, R_QUEUE_RESET, 1, 2);
	assert_int_equal(get(f, R_QUEUE_RESET, 2), 1);
	assert_int_equal(get(f, R_QUEUE_ENABLE, 2), 1);
	vdev_queue_stopped(&f->fake.dev, 0);
	assert_int_equal(get(f, R_QUEUE_RESET, 2), 0);
	assert_int_equal(get(f, R_QUEUE_ENABLE, 2), 0);
	assert_int_equal(get(f, R_QUEUE_SIZE, 2), FAKE_SIZE);
	set_up_queue(f, 0);
	assert_int_equal(f->fake.starts[0], 2);
}

static void device_configuration_is_behind_its_part(void **state)
{
	struct fixture *f = *state;
	memcpy(f->fake.config, "abcdefghijkl", FAKE_CONFIG);
	assert_int_equal(get(f, DEVCFG, 4), 0x64636261);
	assert_int_equal(get(f, DEVCFG + 10, 2), 0x6c6b);
	assert_int_equal(get(f, DEVCFG + 10, 4), 0x6c6b);
	assert_int_equal(get(f, DEVCFG + 0xffc, 4), 0);
	put(f, DEVCFG + 1, 'Z', 1);
	assert_memory_equal(f->fake.config, "aZcd", 4);
}

/* --- kicks --- */

static void doorbells_follow_the_bar(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	for (uint16_t i = 0; i < 2; i++)
		assert_int_equal(bell_at(&f->bells, BAR_AT + NOTIFY + 4 * i),
				 f->fake.setup[i].kick_fd);
	assert_int_equal(f->bells.nr, FAKE_QUEUES);
	pci_func_set_bar(f->func, 0, BAR_AT + 0x100000);
	assert_int_equal(f->bells.nr, FAKE_QUEUES);
	assert_int_equal(bell_at(&f->bells, BAR_AT + NOTIFY), -1);
	assert_int_equal(bell_at(&f->bells, BAR_AT + 0x100000 + NOTIFY + 4),
			 f->fake.setup[1].kick_fd);
	config_put(f, PCI_COMMAND, 0, 2);
	assert_int_equal(f->bells.nr, 0);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(f->bells.nr, FAKE_QUEUES);
}

static void kicks_that_reach_us_count_as_well(void **state)
{
	struct fixture *f = *state;
	static const struct {
		unsigned off, len;
	} writes[] = { { 4, 2 }, { 4, 4 }, { 6, 2 }, { 5, 1 }, { 4, 1 } };
	f->bells.room = 1; /* the others cannot be had */
	pci_func_set_bar(f->func, 0, BAR_AT + 0x100000);
	pci_func_set_bar(f->func, 0, BAR_AT);
	assert_int_equal(f->bells.nr, 1);
	go_live(f);
	int kick[2] = { f->fake.setup[0].kick_fd, f->fake.setup[1].kick_fd };
	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++) {
		uint64_t count;
		put(f, NOTIFY + writes[i].off, 1, writes[i].len);
		assert_false(has_count(kick[0]));
		assert_true(has_count(kick[1]));
		assert_int_equal(read(kick[1], &count, 8), 8);
		assert_int_equal(count, 1);
	}
	put(f, NOTIFY + 4 * FAKE_QUEUES, 0, 2); /* no such queue */
	put(f, NOTIFY + 0xffc, 0, 4);
	assert_false(has_count(kick[0]));
	assert_int_equal(get(f, NOTIFY, 4), 0);
}

/* --- interrupts --- */

static void vectors_that_do_not_exist_read_back_as_none(void **state)
{
	struct fixture *f = *state;
	enable_msix(f);
	put(f, R_CONFIG_VECTOR, NR_VECTORS - 1, 2);
	assert_int_equal(get(f, R_CONFIG_VECTOR, 2), NR_VECTORS - 1);
	put(f, R_CONFIG_VECTOR, NR_VECTORS, 2);
	assert_int_equal(get(f, R_CONFIG_VECTOR, 2), 0xffff);
	put(f, R_QUEUE_VECTOR, 0x8000, 2);
	assert_int_equal(get(f, R_QUEUE_VECTOR, 2), 0xffff);
	f->chip.max_routes = 1; /* vector 3 has the only one */
	put(f, R_QUEUE_VECTOR, 1, 2);
	assert_int_equal(get(f, R_QUEUE_VECTOR, 2), 0xffff);
	put(f, R_QUEUE_VECTOR, NR_VECTORS - 1, 2); /* sharing needs no more */
	assert_int_equal(get(f, R_QUEUE_VECTOR, 2), NR_VECTORS - 1);
}

static void msix_vectors_carry_the_signals(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(f->fake.wires_changes, 0);
	enable_msix(f);
	assert_true(f->fake.wires_changes);
	put(f, R_CONFIG_VECTOR, 0, 2);
	go_live(f);
	assert_false(notifier_has_fn(f->fake.setup[0].call));
	for (uint16_t i = 0; i < 2; i++) {
		put(f, R_QUEUE_SELECT, i, 2);
		put(f, R_QUEUE_VECTOR, i + 1u, 2);
	}
	unsigned wired = 0;
	for (unsigned gsi = 0; gsi < FAKE_GSIS; gsi++)
		wired += (unsigned)f->chip.wires[gsi];
	assert_int_equal(wired, 3);
	struct notifier *call = f->fake.setup[0].call;
	notifier_signal(call);
	assert_true(notifier_is_pending(call)); /* in the eventfd: the kernel would take it */
	assert_int_equal(get(f, ISR, 1), 0);
	assert_false(f->chip.level[INTX_GSI]);
	(void)notifier_consume(call);
	put(f, R_QUEUE_SELECT, 0, 2);
	put(f, R_QUEUE_VECTOR, MSIX_NO_VECTOR, 2);
	notifier_signal(call);
	put(f, R_QUEUE_VECTOR, 1, 2);
	assert_false(notifier_is_pending(call)); /* said to nobody, not kept for later */
}

static void a_masked_vector_stays_pending(void **state)
{
	struct fixture *f = *state;
	enable_msix(f);
	go_live(f);
	put(f, R_QUEUE_SELECT, 0, 2);
	put(f, R_QUEUE_VECTOR, 1, 2);
	put(f, TABLE + 16 + 12, 1, 4);
	notifier_signal(f->fake.setup[0].call);
	assert_int_equal(get(f, PBA, 8), 2);
	put(f, TABLE + 16 + 12, 0, 4);
	assert_int_equal(get(f, PBA, 8), 0);
}

static void without_msix_the_line_and_isr_speak(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	notifier_signal(f->fake.setup[0].call);
	assert_true(f->chip.level[INTX_GSI]);
	notifier_signal(f->fake.setup[1].call);
	assert_int_equal(get(f, ISR, 1), 1);
	assert_false(f->chip.level[INTX_GSI]);
	assert_int_equal(get(f, ISR, 1), 0);
	vdev_config_changed(&f->fake.dev);
	assert_true(f->chip.level[INTX_GSI]);
	notifier_signal(f->fake.setup[0].call);
	assert_int_equal(get(f, ISR, 4), 3);
	assert_false(f->chip.level[INTX_GSI]);
	vdev_needs_reset(&f->fake.dev, "scripted");
	assert_int_equal(get(f, ISR, 1), 2);
	assert_int_equal(get(f, R_STATUS, 1), LIVE | VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void switching_to_msix_silences_the_line(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	notifier_signal(f->fake.setup[0].call);
	assert_true(f->chip.level[INTX_GSI]);
	enable_msix(f);
	assert_false(f->chip.level[INTX_GSI]);
	notifier_signal(f->fake.setup[0].call);
	assert_false(f->chip.level[INTX_GSI]);
	config_put(f, find_cap(f, PCI_CAP_ID_MSIX, 0) + 2, 0, 2);
	assert_true(f->chip.level[INTX_GSI]); /* what ISR still says */
	assert_int_equal(get(f, ISR, 1), 1);
	notifier_signal(f->fake.setup[0].call);
	assert_int_equal(get(f, ISR, 1), 1);
}

static void a_reset_lowers_the_line(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	notifier_signal(f->fake.setup[0].call);
	put(f, R_STATUS, 0, 1);
	vdev_queue_stopped(&f->fake.dev, 0);
	vdev_queue_stopped(&f->fake.dev, 1);
	assert_int_equal(get(f, R_STATUS, 1), 0);
	assert_false(f->chip.level[INTX_GSI]);
	assert_int_equal(get(f, ISR, 1), 0);
}

/* --- the window in configuration space --- */

static void window(struct fixture *f, unsigned cap, uint32_t bar, uint32_t off, uint32_t len)
{
	config_put(f, cap + 4, bar, 1);
	config_put(f, cap + 8, off, 4);
	config_put(f, cap + 12, len, 4);
}

static void the_window_reaches_every_part(void **state)
{
	struct fixture *f = *state;
	unsigned cap = find_cap(f, 0x09, VIRTIO_PCI_CAP_PCI_CFG), data = cap + 16;
	memcpy(f->fake.config, "abcd", 4);
	window(f, cap, 0, DEVCFG, 4);
	assert_int_equal(config_get(f, data, 4), 0x64636261);
	window(f, cap, 0, DEVCFG + 2, 2);
	assert_int_equal(config_get(f, data, 2), 0x6463);
	window(f, cap, 0, DEVCFG + 1, 1);
	config_put(f, data, 'Y', 1);
	assert_memory_equal(f->fake.config, "aYcd", 4);
	window(f, cap, 0, R_STATUS, 1);
	config_put(f, data, VIRTIO_CONFIG_S_ACKNOWLEDGE, 1);
	assert_int_equal(get(f, R_STATUS, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(config_get(f, data, 1), VIRTIO_CONFIG_S_ACKNOWLEDGE);
	put(f, R_STATUS, 0, 1);
	go_live(f);
	notifier_signal(f->fake.setup[0].call);
	window(f, cap, 0, ISR, 1);
	assert_int_equal(config_get(f, data, 1), 1); /* and lowers the line */
	assert_false(f->chip.level[INTX_GSI]);
	window(f, cap, 0, NOTIFY + 4, 2);
	config_put(f, data, 1, 2);
	assert_true(has_count(f->fake.setup[1].kick_fd));
}

static void a_window_to_nowhere_does_nothing(void **state)
{
	struct fixture *f = *state;
	unsigned cap = find_cap(f, 0x09, VIRTIO_PCI_CAP_PCI_CFG), data = cap + 16;
	static const struct {
		uint32_t bar, off, len;
	} rows[] = {
		{ 1, DEVCFG, 4 },     { 255, DEVCFG, 4 },   { 0, DEVCFG, 0 },
		{ 0, DEVCFG, 3 },     { 0, DEVCFG, 8 },     { 0, DEVCFG, ~0u },
		{ 0, DEVCFG + 1, 4 }, { 0, DEVCFG + 2, 4 }, { 0, DEVCFG + 1, 2 },
		{ 0, 0x8000, 4 },     { 0, 0xfffffffc, 4 }, { 0, ~0u, 1 },
	};
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(f->fake.config, 0x55, FAKE_CONFIG);
		window(f, cap, rows[i].bar, rows[i].off, rows[i].len);
		config_put(f, data, 0x12345678, 4);
		assert_int_equal(config_get(f, data, 4), 0x12345678); /* just bytes */
		for (unsigned b = 0; b < FAKE_CONFIG; b++)
			assert_int_equal(f->fake.config[b], 0x55);
	}
}

/* --- odd accesses, everywhere --- */

static void no_access_anywhere_does_harm(void **state)
{
	struct fixture *f = *state;
	uint32_t seed = 1;
	go_live(f);
	for (unsigned i = 0; i < 200000; i++) {
		seed = seed * 1664525 + 1013904223;
		unsigned len = 1u << (seed >> 30);
		uint64_t off = (seed >> 8) & 0x7fff;
		if (off + len > 0x8000)
			continue;
		if (i % 3)
			put(f, off, (uint64_t)seed * 0x100000001ull, len);
		else
			(void)get(f, off, len);
		for (uint16_t q = 0; q < FAKE_QUEUES; q++)
			if (f->fake.dev.q[q].state == VDEV_Q_STOPPING && i % 7 == q)
				vdev_queue_stopped(&f->fake.dev, q);
	}
}

int main(void)
{
	log_set_level(LOG_LEVEL_ERROR);
	rcu_enter_thread();
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(it_is_a_modern_device_with_all_capabilities),
		T(every_register_reads_right_after_reset),
		T(plain_registers_keep_what_is_written),
		T(read_only_registers_ignore_writes),
		T(wide_accesses_reach_both_halves),
		T(features_show_in_two_words),
		T(each_queue_has_its_own_registers),
		T(queue_enable_takes_only_one),
		T(a_driver_brings_it_up_and_resets_it),
		T(one_queue_resets_by_its_register),
		T(device_configuration_is_behind_its_part),
		T(doorbells_follow_the_bar),
		T(kicks_that_reach_us_count_as_well),
		T(vectors_that_do_not_exist_read_back_as_none),
		T(msix_vectors_carry_the_signals),
		T(a_masked_vector_stays_pending),
		T(without_msix_the_line_and_isr_speak),
		T(switching_to_msix_silences_the_line),
		T(a_reset_lowers_the_line),
		T(the_window_reaches_every_part),
		T(a_window_to_nowhere_does_nothing),
		T(no_access_anywhere_does_harm),
	};
	int failed = cmocka_run_group_tests_name("virtio/pci", tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
