/* test_virtio_pci.c - the PCI transport: identity, registers, the life of a device, kicks. */
#include "unit/virtio/pci_fixture.h"

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

/* PCI 3.0 §6.2.2: bit 2 of the command register. */
static void without_bus_mastering_nothing_runs(void **state)
{
	struct fixture *f = *state;
	go_live(f);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY, 2);
	assert_int_equal(f->fake.stops[0], 0);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEMORY, 1);
	assert_int_equal(f->fake.stops[0], 1);
	assert_int_equal(get(f, R_STATUS, 1), LIVE & ~VIRTIO_CONFIG_S_DRIVER_OK);
	vdev_queue_stopped_at(&f->fake.dev, 0, 3);
	vdev_queue_stopped_at(&f->fake.dev, 1, 3);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	assert_int_equal(f->fake.starts[0], 1);
	put(f, R_STATUS, LIVE, 1);
	assert_int_equal(f->fake.starts[0], 2);
	assert_int_equal(f->fake.setup[0].next, 3);
	config_put(f, PCI_COMMAND, 0, 2);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	put(f, R_STATUS, LIVE, 1);
	vdev_queue_stopped_at(&f->fake.dev, 0, 4);
	assert_int_equal(f->fake.starts[0], 2);
	config_put(f, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	assert_int_equal(f->fake.starts[0], 3);
	vdev_queue_stopped_at(&f->fake.dev, 1, 4);
	assert_int_equal(f->fake.starts[1], 3);
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
		T(without_bus_mastering_nothing_runs),
		T(device_configuration_is_behind_its_part),
		T(doorbells_follow_the_bar),
		T(kicks_that_reach_us_count_as_well),
		T(no_access_anywhere_does_harm),
	};
	int failed = cmocka_run_group_tests_name("virtio/pci", tests, NULL, NULL);
	rcu_leave_thread();
	return failed;
}
